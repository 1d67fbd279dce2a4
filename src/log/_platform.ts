/**
 * The system calls under the log. Nothing else in this folder knows Deno, so that another runtime
 * needs another copy of this file only.
 *
 * It is thin: each function is one call, or one loop where a call may do a part, and turns what the
 * system says into an `MmsbError`: `disk-full`, `read-only`, else `io`. The message says what to
 * do; the path and the system's own words stand in `values`, its error in `cause`.
 *
 * Cost: that of the call. Opening a folder to sync it is three calls.
 */

import { setImmediate } from "node:timers";
import { MmsbError, type MmsbErrorCode } from "../base/mod.ts";

/** An open file of the system. */
export type Handle = Deno.FsFile;

/** How to open a file. */
export type HandleMode = "read" | "write" | "create" | "open-or-create";

const OPEN_OPTIONS: Readonly<Record<HandleMode, Deno.OpenOptions>> = {
  "read": { read: true },
  "write": { read: true, write: true },
  "create": { read: true, write: true, createNew: true },
  "open-or-create": { read: true, write: true, create: true },
};

export function openHandle(path: string, mode: HandleMode): Handle {
  const action = mode === "create" ? "create" : mode === "read" ? "open" : "open to write";
  return attempt(action, path, () => {
    const handle = Deno.openSync(path, OPEN_OPTIONS[mode]);
    // The system opens a folder to read without a word; only a later read would fail.
    if (mode !== "read" || !handle.statSync().isDirectory) return handle;
    handle.close();
    throw Object.assign(new Error("Is a directory"), { code: "EISDIR" });
  });
}

export function closeHandle(handle: Handle): void {
  handle.close();
}

export function handleSize(handle: Handle, path: string): number {
  return attempt("read the size of", path, () => handle.statSync().size);
}

/** Reads until `target` is full or the file ends; returns the number of bytes. */
export function readAt(
  handle: Handle,
  path: string,
  target: Uint8Array,
  position: number,
): number {
  return attempt("read", path, () => {
    handle.seekSync(position, Deno.SeekMode.Start);
    let done = 0;
    while (done < target.length) {
      const count = handle.readSync(done === 0 ? target : target.subarray(done));
      if (count === null || count === 0) break;
      done += count;
    }
    return done;
  });
}

/** Writes all bytes; a failure may leave a prefix of them. */
export function writeAt(handle: Handle, path: string, bytes: Uint8Array, position: number): void {
  attempt("write", path, () => {
    handle.seekSync(position, Deno.SeekMode.Start);
    let done = 0;
    while (done < bytes.length) {
      done += handle.writeSync(done === 0 ? bytes : bytes.subarray(done));
    }
  });
}

/** The same on another thread. */
export async function writeAtAsync(
  handle: Handle,
  path: string,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  attempt("write", path, () => handle.seekSync(position, Deno.SeekMode.Start));
  await appendAsync(handle, path, bytes);
}

/** Writes all bytes where the handle stands, on another thread. */
export async function appendAsync(handle: Handle, path: string, bytes: Uint8Array): Promise<void> {
  await attemptAsync("write", path, async () => {
    let done = 0;
    while (done < bytes.length) done += await handle.write(bytes.subarray(done));
  });
}

export function truncateHandle(handle: Handle, path: string, size: number): void {
  attempt("change the size of", path, () => handle.truncateSync(size));
}

export function syncHandle(handle: Handle, path: string): void {
  attempt("sync", path, () => handle.syncDataSync());
}

export function syncHandleAsync(handle: Handle, path: string): Promise<void> {
  return attemptAsync("sync", path, () => handle.syncData());
}

/** Takes an exclusive lock that dies with the process (`flock`); `false` where another has it. */
export function tryLockHandle(handle: Handle, path: string): boolean {
  return attempt("lock", path, () => handle.tryLockSync(true));
}

/**
 * Gives the lock back. Closing the handle is not enough: a child process that another thread starts
 * just then holds a copy of it until it becomes its own program, and the lock with it.
 */
export function unlockHandle(handle: Handle, path: string): void {
  attempt("unlock", path, () => handle.unlockSync());
}

/** Makes the names in a folder durable: on POSIX a folder is a file that can be synced. */
export function syncFolder(path: string): void {
  attempt("sync folder", path, () => {
    using folder = Deno.openSync(path, { read: true });
    folder.syncSync();
  });
}

/** The same on another thread. */
export async function syncFolderAsync(path: string): Promise<void> {
  await attemptAsync("sync folder", path, async () => {
    using folder = await Deno.open(path, { read: true });
    await folder.sync();
  });
}

export function makeFolder(path: string): void {
  attempt("make folder", path, () => Deno.mkdirSync(path));
}

/** The names in a folder, in no order; `undefined` where it is absent. */
export function listFolder(path: string): string[] | undefined {
  return attemptOr("list folder", path, () => [...Deno.readDirSync(path)].map(({ name }) => name));
}

/** What a path leads to; `undefined` where that is nothing. */
export function pathKind(path: string): "file" | "folder" | undefined {
  return attemptOr("look at", path, () => Deno.statSync(path).isDirectory ? "folder" : "file");
}

/** A file's bytes; `undefined` where it is absent. */
export function readFile(path: string): Uint8Array<ArrayBuffer> | undefined {
  return attemptOr("read", path, () => Deno.readFileSync(path));
}

export function renameFile(source: string, target: string): void {
  attempt("rename to", target, () => Deno.renameSync(source, target));
}

/** Removes a file; nothing happens where it is absent. */
export function removeFile(path: string): void {
  attemptOr("remove", path, () => {
    refuseFolder(path);
    Deno.removeSync(path);
  });
}

/** The same on another thread. */
export async function removeFileAsync(path: string): Promise<void> {
  try {
    refuseFolder(path);
    await Deno.remove(path);
  } catch (cause) {
    attemptOr("remove", path, () => {
      throw cause;
    });
  }
}

/** The system call that removes a file removes an empty folder too. */
function refuseFolder(path: string): void {
  if (Deno.lstatSync(path).isDirectory) {
    throw Object.assign(new Error("Is a directory"), { code: "EISDIR" });
  }
}

/** Removes a folder and all in it. */
export function removeFolder(path: string): void {
  attempt("remove", path, () => Deno.removeSync(path, { recursive: true }));
}

/** This process, as people know it. */
export function processId(): number {
  return Deno.pid;
}

function attempt<T>(action: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    throw systemError(action, path, cause);
  }
}

async function attemptAsync<T>(action: string, path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    throw systemError(action, path, cause);
  }
}

/** As `attempt`, but what is absent gives `undefined`. A parent that is a file makes it absent. */
function attemptOr<T>(action: string, path: string, call: () => T): T | undefined {
  try {
    return call();
  } catch (cause) {
    const code = systemCode(cause);
    if (code === "ENOENT" || (code === "ENOTDIR" && action !== "list folder")) return undefined;
    throw systemError(action, path, cause);
  }
}

/** What only reads is not `read-only` where it is refused. */
const READING_ACTIONS = new Set(["open", "read", "read the size of", "look at", "list folder"]);

const ADVICE: Readonly<Record<string, readonly [code: MmsbErrorCode, advice: string]>> = {
  ENOSPC: ["disk-full", "as the disk is full: free some space, then open the bus again"],
  EDQUOT: ["disk-full", "as the disk quota is used up: free some space, then open the bus again"],
  EROFS: ["read-only", "as its file system is read-only: mount it for writing, or only read"],
  EACCES: ["read-only", "as this user may not: change its owner or mode, or use another directory"],
  EPERM: ["read-only", "as this user may not: change its owner or mode, or use another directory"],
  NotCapable: [
    "read-only",
    "as this process may not: run it with --allow-read and --allow-write for the directory",
  ],
  ENOENT: ["io", "as it or its folder does not exist: check the path, or restore it from a copy"],
  ENOTDIR: ["io", "as a file stands where a folder should be: check the path, or move that file"],
  EISDIR: ["io", "as it is a folder: check the path, or move that folder away"],
  EEXIST: ["io", "as it exists already: use another name, or move it away"],
  EFBIG: ["io", "as the file would be too large for the file system: use smaller segments"],
  EMFILE: ["io", "as too many files are open: raise the limit of open files"],
  ENFILE: ["io", "as too many files are open: raise the limit of open files"],
  EIO: ["io", "as the device failed: check the disk, then open the bus again"],
};

const OTHER_ADVICE = "as the system refused: see the cause, then open the bus again";

function systemError(action: string, path: string, cause: unknown): MmsbError {
  if (cause instanceof MmsbError) return cause;
  const systemMessage = cause instanceof Error ? cause.message : String(cause);
  const name = systemCode(cause);
  const [code, advice] = (name && ADVICE[name]) || (["io", OTHER_ADVICE] as const);
  return new MmsbError(
    code === "read-only" && READING_ACTIONS.has(action) ? "io" : code,
    `Cannot ${action} ${JSON.stringify(path)} ${advice} (${systemMessage})`,
    { values: { path, action, systemCode: name, systemMessage }, cause },
  );
}

/** Numbers that come without a name on Linux: Deno names the errors that Rust has a kind for. */
const LINUX_ERRORS: Readonly<Record<string, string>> = {
  "1": "EPERM",
  "5": "EIO",
  "23": "ENFILE",
  "24": "EMFILE",
  "27": "EFBIG",
  "28": "ENOSPC",
  "30": "EROFS",
  "122": "EDQUOT",
};

function systemCode(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined;
  if (cause instanceof Deno.errors.NotCapable) return "NotCapable";
  const { code } = cause as { code?: unknown };
  if (typeof code === "string") return code;
  const number = /\(os error (\d+)\)/.exec(cause.message)?.[1];
  return number && Deno.build.os === "linux" ? LINUX_ERRORS[number] : undefined;
}

/** Whether this process may load a module that stands in a file, as a worker does at run time. */
export function mayLoad(url: URL): boolean {
  if (url.protocol !== "file:") return true;
  return Deno.permissions.querySync({ name: "read", path: url }).state === "granted";
}

/** Lets the event loop turn once, so that what other threads have finished is heard of. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(() => resolve()));
}
