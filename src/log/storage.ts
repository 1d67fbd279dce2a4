/**
 * The byte store under the log: what the log, the checkpoints and recovery ask of a directory, and
 * nothing more.
 *
 * Why an interface: a log is only as good as the crashes it was tried with, and a real disk does
 * not crash on request. So three stores stand behind one interface and pass one conformance suite:
 * files, memory, and a faulty store that loses, tears and refuses as disks do.
 *
 * The contract is the weak one that POSIX gives, made explicit. Bytes are durable after `sync`, a
 * name is durable after `syncFolder`, and before that a crash may keep any part of either. A failed
 * sync is final: what was not durable by then may never be, and a later sync that succeeds proves
 * nothing. Two operations are stronger: `replace` and `allocate` leave the old state or the whole
 * new one, never a part. They go through a temporary name (see {@linkcode temporaryPath}); after a
 * crash such a name may be left over and can be removed.
 *
 * Cost: `read` and `write` are one system call each where the system takes all bytes at once;
 * paths are checked where they come in, not on reads and writes.
 */

import { checkType, MmsbError } from "../base/mod.ts";

/**
 * One open file. Positions and sizes are in bytes; every method but `close` throws `closed` after
 * `close`, and what changes the file throws `usage` where it was opened to be read.
 */
export interface StorageFile {
  /** The path that it was opened by, relative to the storage's location. */
  readonly path: string;
  /** The size, in bytes. */
  size(): number;
  /**
   * Reads bytes into `target`.
   *
   * @param target Where the bytes go; any kind of buffer underneath.
   * @param position Where to start in the file.
   * @returns How many bytes were read; fewer than `target` holds only at the end of the file.
   */
  read(target: Uint8Array, position: number): number;
  /**
   * Writes all bytes, or throws; a failed write may leave any prefix behind. Past the end the file
   * grows, and a gap reads as zeros.
   */
  write(bytes: Uint8Array, position: number): void;
  /**
   * The same on another thread, which reads `bytes` until the promise resolves. One at a time, and
   * no `write` meanwhile; `close` waits for nothing.
   */
  writeAsync(bytes: Uint8Array, position: number): Promise<void>;
  /** Cuts the file, or grows it by zeros that take no room on the disk yet. */
  truncate(size: number): void;
  /** Returns when data written so far, and the size, are durable (`fdatasync`). */
  sync(): void;
  /**
   * The same on another thread; writes may go on meanwhile. What was written before the call is
   * durable when the promise resolves. `close` does not take back one that is under way.
   */
  syncAsync(): Promise<void>;
  /** Closes the file; a second call does nothing. It does not sync. */
  close(): void;
}

/**
 * A directory for one log. Paths are relative to the location, with `/` between their parts; `""`
 * is the location itself where a folder is meant.
 *
 * Codes of errors: `usage` for a wrong call, `disk-full`, `read-only` where the system forbids a
 * change, `io` for the rest: what is absent, in the way, or broken.
 */
export interface Storage {
  /** What stands behind it. */
  readonly kind: "files" | "memory" | "faulty";
  /** Where it is, for messages. */
  readonly location: string;
  /** The names in a folder, sorted by UTF-16 units; none if the folder is absent. */
  list(folder: string): string[];
  /** Makes a folder and its parents; durable on return, and no error if it is there. */
  makeFolder(folder: string): void;
  /** Whether a file or folder has this path. */
  exists(path: string): boolean;
  /**
   * Opens a file: `read` to read it, `write` also to change it, `create` to change one that must
   * not exist yet. The new name is durable after `syncFolder`. Its folder must exist.
   */
  open(path: string, mode: "read" | "write" | "create"): StorageFile;
  /**
   * Makes a new file of `size` zero bytes, really written, in pieces and off the main thread, so
   * that later writes inside it need no room and their syncs no metadata. The path appears with the
   * whole file; both are durable when the promise resolves.
   */
  allocate(path: string, size: number): Promise<void>;
  /** The same, blocking. */
  allocateNow(path: string, size: number): void;
  /** A file's bytes; `undefined` if it is absent. */
  readAll(path: string): Uint8Array | undefined;
  /** Makes or replaces a file, atomic and durable: temporary name, sync, rename, sync folder. */
  replace(path: string, bytes: Uint8Array): void;
  /** Removes a file; no error if it is absent. Durable after `syncFolder`. */
  remove(path: string): void;
  /** The same on another thread: the room of a large file takes the system a while to free. */
  removeAsync(path: string): Promise<void>;
  /**
   * Gives a file another name, in place of a file that has it: at any moment that name leads to the
   * one or the other. Its folder must exist. Durable after `syncFolder` of the folders of both
   * names; a crash before may leave the file under either name, both or none.
   */
  rename(source: string, target: string): void;
  /** Returns when the names in a folder are durable. */
  syncFolder(folder: string): void;
  /** The same on another thread. */
  syncFolderAsync(folder: string): Promise<void>;
  /**
   * Takes the exclusive lock for writers, on the file `lock`, which stays. It is gone when the
   * process dies.
   *
   * @returns What releases it; a second call does nothing.
   * @throws {MmsbError} `locked` where another writer holds it, in this process or another.
   */
  lock(): () => void;
}

/** The path of the file that {@linkcode Storage.lock} locks. */
export const LOCK_PATH = "lock";

/** The end of a name under which a file is written before it gets its real one. */
export const TEMPORARY_SUFFIX = ".tmp";

/**
 * The path under which `replace` and `allocate` write a file first.
 *
 * @param path The path that it gets in the end.
 * @returns The temporary path, in the same folder.
 */
export function temporaryPath(path: string): string {
  return path + TEMPORARY_SUFFIX;
}

/**
 * The folder that a path is in.
 *
 * @param path A checked path.
 * @returns The folder; `""` for the location itself.
 */
export function parentFolder(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/**
 * Checks a file's path: parts between `/`, none of them empty, `.` or `..`, so that no path leads
 * out of the location and no file has two paths.
 *
 * @param path The path.
 * @returns The same path.
 * @throws {MmsbError} `usage` where it is something else.
 *
 * @example What is a path
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(checkPath("lane-00/1.log"), "lane-00/1.log");
 * assert.throws(() => checkPath("../1.log"), { code: "usage" });
 * assert.throws(() => checkPath("/1.log"), { code: "usage" });
 * ```
 */
export function checkPath(path: string): string {
  for (const part of checkType("path", path, "string").split("/")) {
    if (part === "" || part === "." || part === ".." || /[\0\\]/.test(part)) {
      throw new MmsbError(
        "usage",
        `Cannot use ${JSON.stringify(path)} as a path: give names with "/" between them`,
        { values: { path } },
      );
    }
  }
  return path;
}

/**
 * Checks a folder's path: as {@linkcode checkPath}, and `""` is the location itself.
 *
 * @param folder The folder.
 * @returns The same path.
 * @throws {MmsbError} `usage` where it is no path.
 */
export function checkFolder(folder: string): string {
  return folder === "" ? folder : checkPath(folder);
}

/**
 * Checks that a file may still be used, and changed where that is asked.
 *
 * @param path The file's path, for the message.
 * @param open Whether it is open.
 * @param writable Whether it may be changed; leave out where it is only read.
 * @throws {MmsbError} `closed`, or `usage` where the file was opened to be read.
 */
export function checkUsable(path: string, open: boolean, writable = true): void {
  if (!open) {
    throw new MmsbError("closed", `Cannot use ${JSON.stringify(path)} as it is closed: open it`, {
      values: { path },
    });
  }
  if (!writable) {
    throw new MmsbError(
      "usage",
      `Cannot change ${JSON.stringify(path)} as it is open to be read: open it to write`,
      { values: { path } },
    );
  }
}
