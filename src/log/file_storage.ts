/**
 * The byte store on real files.
 *
 * Why two handles a file: a sync on another thread takes milliseconds, and the writer must not
 * share a handle, and so a file position, with it. Why `allocate` writes zeros instead of asking for a
 * sparse file: a write inside a file whose blocks exist changes no metadata, so that its
 * `fdatasync` takes about half the time, and it cannot meet a full disk.
 *
 * A file whose sync failed refuses every later sync: the system drops the dirty pages and forgets,
 * so that the next `fdatasync` would succeed with nothing done (Rebello et al., "Can Applications
 * Recover from fsync Failures?", USENIX ATC 2020).
 *
 * Cost: two file descriptors a file open to write. A write is a seek and a write; `replace` and
 * `allocate` are a sync, a rename and a folder sync.
 */

import { dirname, join, resolve } from "node:path";
import { checkBytes, checkInteger, checkOneOf, checkType, MmsbError } from "../base/mod.ts";
import {
  checkFolder,
  checkPath,
  checkUsable,
  LOCK_PATH,
  type Storage,
  type StorageFile,
  temporaryPath,
} from "./storage.ts";
import * as platform from "./_platform.ts";

/** Zeros are written in pieces of this size: few, because each needs a turn of a busy loop. */
const ALLOCATE_PIECE_BYTES = 8 * 1024 * 1024;

/**
 * A {@linkcode Storage} in a directory of the file system. The directory is made by
 * `makeFolder("")`, not by the constructor.
 *
 * @example Write, sync, read
 * ```ts
 * import assert from "node:assert/strict";
 * import { FileStorage } from "@mmsb/mmsb";
 *
 * const directory = Deno.makeTempDirSync();
 * const storage = new FileStorage(directory);
 * const file = storage.open("a", "create");
 * file.write(Uint8Array.of(1, 2), 0);
 * file.sync();
 * file.close();
 * assert.deepEqual([...storage.readAll("a")!], [1, 2]);
 * Deno.removeSync(directory, { recursive: true });
 * ```
 */
export class FileStorage implements Storage {
  /** Always `"files"`. */
  readonly kind = "files";
  /** The absolute path of the directory. */
  readonly location: string;
  /** Full paths of the allocations under way, whose temporary files are taken. */
  readonly #allocating = new Set<string>();

  /**
   * Names a directory; nothing is touched yet.
   *
   * @param directory Its path, absolute or from the current directory.
   */
  constructor(directory: string) {
    this.location = resolve(checkType("directory", directory, "string"));
  }

  list(folder: string): string[] {
    return (platform.listFolder(this.#folder(folder)) ?? []).sort();
  }

  makeFolder(folder: string): void {
    const target = this.#folder(folder);
    const missing: string[] = [];
    for (let path = target; platform.pathKind(path) !== "folder"; path = dirname(path)) {
      missing.push(path);
      if (dirname(path) === path) break;
    }
    for (const path of missing.reverse()) platform.makeFolder(path);
    // A folder that was there may be one whose maker died before this sync: so sync every name
    // from the location down, and above it those that are new.
    const synced = new Set(missing.map((path) => dirname(path)));
    for (let path = target; path !== this.location; path = dirname(path)) synced.add(dirname(path));
    for (const path of synced) platform.syncFolder(path);
  }

  exists(path: string): boolean {
    return platform.pathKind(this.#path(path)) !== undefined;
  }

  open(path: string, mode: "read" | "write" | "create"): StorageFile {
    checkOneOf("mode", mode, ["read", "write", "create"]);
    const full = this.#path(path);
    const handle = platform.openHandle(full, mode);
    if (mode === "read") return new File(path, full, handle, undefined);
    try {
      return new File(path, full, handle, platform.openHandle(full, "write"));
    } catch (error) {
      platform.closeHandle(handle);
      throw error;
    }
  }

  async allocate(path: string, size: number): Promise<void> {
    const { full, handle, temporary } = this.#beginAllocation(path, size);
    this.#allocating.add(full);
    try {
      try {
        for (const zeros of zeroPieces(size)) await platform.appendAsync(handle, full, zeros);
        await platform.syncHandleAsync(handle, full);
      } finally {
        platform.closeHandle(handle);
      }
      this.#refuseExisting(full);
      platform.renameFile(temporary, full);
    } catch (error) {
      removeQuietly(temporary);
      throw error;
    } finally {
      this.#allocating.delete(full);
    }
    await platform.syncFolderAsync(dirname(full));
  }

  allocateNow(path: string, size: number): void {
    const { full, handle, temporary } = this.#beginAllocation(path, size);
    try {
      try {
        let position = 0;
        for (const zeros of zeroPieces(size)) {
          platform.writeAt(handle, full, zeros, position);
          position += zeros.length;
        }
        platform.syncHandle(handle, full);
      } finally {
        platform.closeHandle(handle);
      }
      platform.renameFile(temporary, full);
    } catch (error) {
      removeQuietly(temporary);
      throw error;
    }
    platform.syncFolder(dirname(full));
  }

  readAll(path: string): Uint8Array | undefined {
    return platform.readFile(this.#path(path));
  }

  replace(path: string, bytes: Uint8Array): void {
    checkBytes("bytes", bytes);
    const full = this.#path(path);
    const temporary = this.#path(temporaryPath(path));
    platform.removeFile(temporary);
    const handle = platform.openHandle(temporary, "create");
    try {
      try {
        platform.writeAt(handle, full, bytes, 0);
        platform.syncHandle(handle, full);
      } finally {
        platform.closeHandle(handle);
      }
      platform.renameFile(temporary, full);
    } catch (error) {
      removeQuietly(temporary);
      throw error;
    }
    platform.syncFolder(dirname(full));
  }

  remove(path: string): void {
    platform.removeFile(this.#path(path));
  }

  async removeAsync(path: string): Promise<void> {
    await platform.removeFileAsync(this.#path(path));
  }

  rename(source: string, target: string): void {
    const from = this.#path(source), to = this.#path(target);
    // The system renames folders too, and says nothing of a name that is given to itself.
    if (platform.pathKind(from) === "folder" || platform.pathKind(to) === "folder") {
      throw new MmsbError(
        "io",
        `Cannot rename ${JSON.stringify(source)} to ${
          JSON.stringify(target)
        } as one is a folder: ` +
          "check the paths",
        { values: { path: source, target } },
      );
    }
    platform.renameFile(from, to);
  }

  syncFolder(folder: string): void {
    platform.syncFolder(this.#folder(folder));
  }

  async syncFolderAsync(folder: string): Promise<void> {
    await platform.syncFolderAsync(this.#folder(folder));
  }

  lock(): () => void {
    const full = this.#path(LOCK_PATH);
    const handle = platform.openHandle(full, "open-or-create");
    let locked = false;
    try {
      locked = platform.tryLockHandle(handle, full);
      if (!locked) throw this.#lockedError();
    } finally {
      if (!locked) platform.closeHandle(handle);
    }
    writeHolder(handle, full, `${platform.processId()}\n`);
    return () => {
      if (!locked) return;
      locked = false;
      writeHolder(handle, full, "");
      try {
        platform.unlockHandle(handle, full);
      } finally {
        platform.closeHandle(handle);
      }
    };
  }

  #path(path: string): string {
    return join(this.location, checkPath(path));
  }

  #folder(folder: string): string {
    return join(this.location, checkFolder(folder));
  }

  #beginAllocation(path: string, size: number): Allocation {
    checkInteger("size", size, 0, Number.MAX_SAFE_INTEGER, "usage");
    const full = this.#path(path);
    this.#refuseExisting(full);
    const temporary = this.#path(temporaryPath(path));
    if (this.#allocating.has(full)) throw existsError(full);
    platform.removeFile(temporary);
    return { full, temporary, handle: platform.openHandle(temporary, "create") };
  }

  /** The rename would replace what is there without a word. The lock keeps other writers away. */
  #refuseExisting(full: string): void {
    if (platform.pathKind(full) !== undefined) throw existsError(full);
  }

  #lockedError(): MmsbError {
    const text = platform.readFile(join(this.location, LOCK_PATH)) ?? new Uint8Array();
    const holder = /^\d+/.exec(new TextDecoder().decode(text))?.[0] ?? "unknown";
    return new MmsbError(
      "locked",
      `Cannot lock ${JSON.stringify(this.location)} as another writer holds it: ` +
        `close it (process ${holder}), or open the directory read-only`,
      { values: { path: this.location, holder } },
    );
  }
}

interface Allocation {
  readonly full: string;
  readonly temporary: string;
  readonly handle: platform.Handle;
}

class File implements StorageFile {
  readonly path: string;
  readonly #full: string;
  readonly #handle: platform.Handle;
  readonly #syncHandle: platform.Handle | undefined;
  #open = true;
  #syncFailure: unknown;

  /** `syncHandle` is the second handle; without it the file is open to be read only. */
  constructor(
    path: string,
    full: string,
    handle: platform.Handle,
    syncHandle: platform.Handle | undefined,
  ) {
    this.path = path;
    this.#full = full;
    this.#handle = handle;
    this.#syncHandle = syncHandle;
  }

  size(): number {
    checkUsable(this.path, this.#open);
    return platform.handleSize(this.#handle, this.#full);
  }

  read(target: Uint8Array, position: number): number {
    checkUsable(this.path, this.#open);
    checkBytes("target", target);
    checkInteger("position", position, 0, Number.MAX_SAFE_INTEGER, "usage");
    return platform.readAt(this.#handle, this.#full, target, position);
  }

  write(bytes: Uint8Array, position: number): void {
    this.#checkWritable();
    checkBytes("bytes", bytes);
    checkInteger("position", position, 0, Number.MAX_SAFE_INTEGER, "usage");
    platform.writeAt(this.#handle, this.#full, bytes, position);
  }

  async writeAsync(bytes: Uint8Array, position: number): Promise<void> {
    this.#checkWritable();
    checkBytes("bytes", bytes);
    checkInteger("position", position, 0, Number.MAX_SAFE_INTEGER, "usage");
    await platform.writeAtAsync(this.#handle, this.#full, bytes, position);
  }

  truncate(size: number): void {
    this.#checkWritable();
    checkInteger("size", size, 0, Number.MAX_SAFE_INTEGER, "usage");
    platform.truncateHandle(this.#handle, this.#full, size);
  }

  sync(): void {
    this.#checkSync();
    try {
      platform.syncHandle(this.#handle, this.#full);
    } catch (error) {
      this.#syncFailure = error;
      throw error;
    }
  }

  async syncAsync(): Promise<void> {
    const handle = this.#checkSync();
    try {
      await platform.syncHandleAsync(handle, this.#full);
    } catch (error) {
      this.#syncFailure = error;
      throw error;
    }
    // Another sync may have met, and so used up, the one report of a failure.
    if (this.#syncFailure !== undefined) throw this.#syncFailure;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    platform.closeHandle(this.#handle);
    if (this.#syncHandle !== undefined) platform.closeHandle(this.#syncHandle);
  }

  #checkWritable(): void {
    checkUsable(this.path, this.#open, this.#syncHandle !== undefined);
  }

  #checkSync(): platform.Handle {
    this.#checkWritable();
    if (this.#syncFailure !== undefined) throw this.#syncFailure;
    return this.#syncHandle!;
  }
}

function* zeroPieces(size: number): Generator<Uint8Array> {
  const zeros = new Uint8Array(Math.min(size, ALLOCATE_PIECE_BYTES));
  for (let left = size; left > 0; left -= zeros.length) {
    yield left < zeros.length ? zeros.subarray(0, left) : zeros;
  }
}

/** Clears up after a failure; that is what the caller must hear of. */
function removeQuietly(path: string): void {
  try {
    platform.removeFile(path);
  } catch { /* The name is temporary, so it may stay. */ }
}

/** Writes who holds the lock, for people. A full disk must not keep anybody from opening. */
function writeHolder(handle: platform.Handle, path: string, text: string): void {
  try {
    platform.truncateHandle(handle, path, 0);
    platform.writeAt(handle, path, new TextEncoder().encode(text), 0);
  } catch { /* The lock holds without the text. */ }
}

function existsError(path: string): MmsbError {
  return new MmsbError(
    "io",
    `Cannot create ${JSON.stringify(path)} as it exists already: use another name, or move it away`,
    { values: { path } },
  );
}
