/**
 * The system calls under mapped memory: the C library, called by FFI. Nothing else in this folder
 * knows Deno.
 *
 * The library is opened at the first use, and only where FFI is granted already, so that importing
 * MMSB asks for nothing and nobody is prompted. Only the addresses of the functions are taken from it
 * and it is closed again at once: the process holds its C library anyway, the addresses stay good
 * for its life, and no open library stays behind that a test's leak check would find.
 *
 * Constants are those of Linux on x86-64 and ARM64, where they agree. A call takes about 1 µs.
 */

import { MmsbError } from "../base/mod.ts";

/** An address, as FFI gives it. */
export type Address = Deno.PointerObject;

/** Why mapped memory is not to be had, in words. */
export interface Unavailable {
  /** The reason. */
  readonly reason: string;
}

const LIBRARIES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

const SYMBOLS = {
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  posix_fallocate: { parameters: ["i32", "i64", "i64"], result: "i32" },
  fsync: { parameters: ["i32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  msync: { parameters: ["pointer", "usize", "i32"], result: "i32" },
  rename: { parameters: ["buffer", "buffer"], result: "i32" },
  unlink: { parameters: ["buffer"], result: "i32" },
  symlink: { parameters: ["buffer", "buffer"], result: "i32" },
  usleep: { parameters: ["u32"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Record<string, Deno.ForeignFunction>;

type Functions = {
  readonly [Name in keyof typeof SYMBOLS]: Deno.UnsafeFnPointer<typeof SYMBOLS[Name]>["call"];
};

const O_RDONLY = 0, O_RDWR = 2, O_CREAT = 0o100, O_EXCL = 0o200, O_CLOEXEC = 0o2000000;
/** So that opening something that is no file, a pipe say, does not wait. */
const O_NONBLOCK = 0o4000;
const PROT_READ = 1, PROT_WRITE = 2;
const MAP_SHARED = 1, MAP_NORESERVE = 0x4000;
const MS_SYNC = 4;
const SEEK_END = 2;
/** Locks of an open file: they die with it, and readers ask for them without taking them. */
const F_OFD_GETLK = 36, F_OFD_SETLK = 37;
const F_RDLCK = 0, F_WRLCK = 1, F_UNLCK = 2;
const FLOCK_BYTES = 32;
/** Bytes of a file that are locked, whatever they hold: the writer's, and the one readers ask by. */
const WRITER_BYTE = 0, READER_BYTE = 1;

const EINTR = 4, EACCES = 13, ENOSPC = 28, EROFS = 30, EDQUOT = 122;
/** Names and meanings of the errors that people meet here. */
const ERRORS: Readonly<Record<number, string>> = {
  1: "operation not permitted",
  2: "no such file or folder",
  11: "another process holds a lock on it",
  12: "no memory or address space left",
  13: "permission denied",
  17: "it exists already",
  19: "this file system cannot be mapped",
  20: "not a folder",
  22: "this file system does not support it",
  24: "too many open files",
  27: "the file would be too large for this file system",
  28: "no space left",
  30: "read-only file system",
  95: "this file system does not support it",
  122: "the quota is used up",
};

let loaded: Functions | Unavailable | undefined;

/** Why there is no mapped memory here; `undefined` where there is. */
export function unavailable(): string | undefined {
  const found = functions();
  return "reason" in found ? found.reason : undefined;
}

function functions(): Functions | Unavailable {
  // Permission may be granted later, so only a success is remembered.
  if (loaded !== undefined && !("reason" in loaded)) return loaded;
  return loaded = load();
}

function load(): Functions | Unavailable {
  if (Deno.build.os !== "linux") return { reason: `it is for Linux, and this is ${Deno.build.os}` };
  if (!["x86_64", "aarch64"].includes(Deno.build.arch)) {
    return { reason: `it is for x86_64 and aarch64, and this is ${Deno.build.arch}` };
  }
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    return { reason: "it needs --allow-ffi" };
  }
  const names = Object.keys(SYMBOLS) as (keyof typeof SYMBOLS)[];
  let first: unknown;
  for (const library of LIBRARIES) {
    try {
      const opened = Deno.dlopen(
        library,
        Object.fromEntries(names.map((name) => [name, { type: "pointer" } as const])),
      );
      const bound = names.map((name) => {
        const pointer = new Deno.UnsafeFnPointer(
          opened.symbols[name] as unknown as Deno.PointerObject<Deno.ForeignFunction>,
          SYMBOLS[name] as Deno.ForeignFunction,
        );
        return [name, pointer.call.bind(pointer)];
      });
      opened.close();
      return Object.fromEntries(bound);
    } catch (error) {
      first ??= error;
    }
  }
  return { reason: `the C library does not answer (${messageOf(first)})` };
}

function system(): Functions {
  const found = functions();
  if (!("reason" in found)) return found;
  throw new MmsbError("io", `Cannot map memory: ${found.reason}`, { values: { ...found } });
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0];
}

/** Opens a file; `create` fails where it exists. */
export function openFile(path: string, mode: "read" | "write" | "create"): number {
  const { open } = system();
  const flags = mode === "read" ? O_RDONLY : mode === "write" ? O_RDWR : O_RDWR | O_CREAT | O_EXCL;
  const file = open(cString(path), flags | O_CLOEXEC | O_NONBLOCK, 0o644);
  if (file < 0) refuse("open", path);
  return file;
}

/** Closes a file. */
export function closeFile(file: number): void {
  system().close(file);
}

/** Bytes of a file. */
export function fileSize(file: number, path: string): number {
  const size = Number(system().lseek(file, 0n, SEEK_END));
  if (size < 0) refuse("read the size of", path);
  return size;
}

/** Sets a file's length; what is new is a hole that takes no space. */
export function setFileSize(file: number, path: string, bytes: number): void {
  if (system().ftruncate(file, BigInt(bytes)) !== 0) refuse("size", path);
}

/** Takes disk space for a range of a file, so that writing to it later cannot find the disk full. */
export function takeSpace(file: number, path: string, offset: number, bytes: number): void {
  const { posix_fallocate: allocate } = system();
  let error: number;
  do error = allocate(file, BigInt(offset), BigInt(bytes)); while (error === EINTR);
  if (error !== 0) refuse(`take ${bytes} bytes of space for`, path, error);
}

/** Maps a file from its beginning. */
export function mapFile(file: number, path: string, bytes: number, writable: boolean): Address {
  const protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  const address = system().mmap(
    null,
    BigInt(bytes),
    protection,
    MAP_SHARED | MAP_NORESERVE,
    file,
    0n,
  );
  // A failed map is the address −1.
  if (address === null || Deno.UnsafePointer.value(address) === 0xffff_ffff_ffff_ffffn) {
    refuse("map", path);
  }
  return address;
}

/** The mapped bytes as one buffer; it does not own them. */
export function bufferAt(address: Address, bytes: number): ArrayBuffer {
  return Deno.UnsafePointerView.getArrayBuffer(address, bytes);
}

/** Takes a mapping away; nothing may look at it any more. */
export function unmap(address: Address, bytes: number): void {
  system().munmap(address, BigInt(bytes));
}

/** Writes the changed bytes of a mapped range to the disk. */
export function syncMapped(address: Address, path: string, offset: number, bytes: number): void {
  const { msync } = system();
  const start = Deno.UnsafePointer.create(Deno.UnsafePointer.value(address) + BigInt(offset));
  if (msync(start, BigInt(bytes), MS_SYNC) !== 0) refuse("sync", path);
}

/** Writes a file's length and blocks to the disk. */
export function syncFile(file: number, path: string): void {
  if (system().fsync(file) !== 0) refuse("sync", path);
}

/** Takes the writer's lock of an open file; false where another open file has it. */
export function lockFile(file: number): boolean {
  return system().fcntl(file, F_OFD_SETLK, lockOf(F_WRLCK, WRITER_BYTE)) === 0;
}

/** Gives all locks back: closing does not, as long as the file is mapped. */
export function unlockFile(file: number): void {
  system().fcntl(file, F_OFD_SETLK, lockOf(F_UNLCK, WRITER_BYTE));
  system().fcntl(file, F_OFD_SETLK, lockOf(F_UNLCK, READER_BYTE));
}

/** Whether another open file has the writer's lock; asks without taking it. */
export function isLocked(file: number): boolean {
  return isHeld(file, WRITER_BYTE);
}

/** Asks the writer for a moment without a tick, or stops asking; readers do not hinder each other. */
export function askForQuiet(file: number, asks: boolean): void {
  system().fcntl(file, F_OFD_SETLK, lockOf(asks ? F_RDLCK : F_UNLCK, READER_BYTE));
}

/** Whether a reader asks for a moment without a tick. */
export function isAskedForQuiet(file: number): boolean {
  return isHeld(file, READER_BYTE);
}

function isHeld(file: number, byte: number): boolean {
  const lock = lockOf(F_WRLCK, byte);
  return system().fcntl(file, F_OFD_GETLK, lock) === 0 &&
    new Int16Array(lock.buffer)[0] !== F_UNLCK;
}

/** The system's `struct flock` for one byte: type, whence, start, length, process. */
function lockOf(type: number, byte: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FLOCK_BYTES), view = new DataView(bytes.buffer);
  view.setInt16(0, type, true);
  view.setBigInt64(8, BigInt(byte), true);
  view.setBigInt64(16, 1n, true);
  return bytes;
}

/** Gives a file another name, replacing what has it. */
export function renameFile(path: string, newPath: string): void {
  if (system().rename(cString(path), cString(newPath)) !== 0) refuse("rename", path);
}

/** Removes a name; nothing happens where it is not there. */
export function removeFile(path: string): void {
  system().unlink(cString(path));
}

/** Makes a name that leads to another one. */
export function linkFile(target: string, path: string): void {
  if (system().symlink(cString(target), cString(path)) !== 0) refuse("link", path);
}

/** Holds this thread for some microseconds. */
export function pause(microseconds: number): void {
  system().usleep(microseconds);
}

/** Number of this process. */
export function processId(): number {
  return Deno.pid;
}

/** A name that nobody else uses. */
export function uniqueName(): string {
  return crypto.randomUUID();
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) {
    throw new MmsbError("usage", "Cannot use a path with a NUL character: leave it out");
  }
  return new TextEncoder().encode(`${text}\0`);
}

function refuse(action: string, path: string, error: number = lastError()): never {
  const code = error === ENOSPC || error === EDQUOT
    ? "disk-full"
    : error === EROFS || error === EACCES
    ? "read-only"
    : "io";
  const advice = code === "disk-full" ? "; free some, or choose another arenaDir" : "";
  throw new MmsbError(
    code,
    `Cannot ${action} ${JSON.stringify(path)}: ${
      ERRORS[error] ?? `system error ${error}`
    }${advice}`,
    { values: { path, systemError: error } },
  );
}

function lastError(): number {
  const address = system().__errno_location();
  return address === null ? 0 : new Deno.UnsafePointerView(address).getInt32();
}

/** A file that belongs to this process while it is open. */
export interface OwnFile {
  /** Its path. */
  readonly path: string;
  /** Reads from a position on, until `target` is full or the file ends; gives the number of bytes. */
  read(target: Uint8Array, position: number): number;
  /** Writes all bytes; a failure may leave some of them. */
  write(bytes: Uint8Array, position: number): void;
  /** Cuts it, or makes it longer. */
  truncate(size: number): void;
  /** Closes and removes it. */
  close(): void;
}

/** Openings that find their file taken away by another process that took it for left over. */
const OWN_FILE_ATTEMPTS = 8;

/**
 * Makes a file in a folder, which is made where it is absent, and removes what processes that ended left there: a lock
 * that dies with its process says whose file is whose.
 *
 * @param folder The folder.
 * @param prefix What the names of such files begin with.
 * @param suffix What they end with.
 * @throws {MmsbError} `disk-full`, `read-only` or `io`.
 */
export function makeOwnFile(folder: string, prefix: string, suffix: string): OwnFile {
  guarded("make the folder", folder, () => Deno.mkdirSync(folder, { recursive: true }));
  removeLeftOver(folder, prefix, suffix);
  for (let attempt = 0; attempt < OWN_FILE_ATTEMPTS; attempt++) {
    const path = `${folder}/${prefix}${Deno.pid}-${crypto.randomUUID()}${suffix}`;
    const file = guarded("make the file", path, () => {
      return Deno.openSync(path, { read: true, write: true, createNew: true });
    });
    // Another process may have looked at it before it was locked.
    if (file.tryLockSync(true) && isThere(path)) return ownFile(file, path);
    file.close();
  }
  throw new MmsbError("io", `Cannot make a file in ${JSON.stringify(folder)}: others remove it`, {
    values: { path: folder },
  });
}

function removeLeftOver(folder: string, prefix: string, suffix: string): void {
  const names = guarded("list the folder", folder, () => [...Deno.readDirSync(folder)]);
  for (const { name, isFile } of names) {
    if (!isFile || !name.startsWith(prefix) || !name.endsWith(suffix)) continue;
    const path = `${folder}/${name}`;
    try {
      const file = Deno.openSync(path, { read: true, write: true });
      try {
        if (file.tryLockSync(true)) Deno.removeSync(path);
      } finally {
        file.close();
      }
    } catch {
      // Gone meanwhile, or another user's: it is nobody's loss that it stays.
    }
  }
}

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function ownFile(file: Deno.FsFile, path: string): OwnFile {
  return {
    path,
    read: (target, position) =>
      guarded("read", path, () => {
        file.seekSync(position, Deno.SeekMode.Start);
        let done = 0;
        while (done < target.length) {
          const count = file.readSync(done === 0 ? target : target.subarray(done));
          if (count === null || count === 0) break;
          done += count;
        }
        return done;
      }),
    write: (bytes, position) =>
      guarded("write", path, () => {
        file.seekSync(position, Deno.SeekMode.Start);
        let done = 0;
        while (done < bytes.length) {
          done += file.writeSync(done === 0 ? bytes : bytes.subarray(done));
        }
      }),
    truncate: (size) => guarded("change the size of", path, () => file.truncateSync(size)),
    close: () => {
      try {
        Deno.removeSync(path);
      } catch {
        // It is of use to nobody, and the next opening removes it.
      }
      try {
        file.unlockSync();
      } finally {
        file.close();
      }
    },
  };
}

function guarded<T>(action: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    const name = codeOf(cause);
    const code = name === "ENOSPC" || name === "EDQUOT"
      ? "disk-full"
      : name === "EROFS" || name === "EACCES" || name === "EPERM" || name === "NotCapable"
      ? "read-only"
      : "io";
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MmsbError(code, `Cannot ${action} ${JSON.stringify(path)}: ${reason}`, {
      values: { path, systemCode: name },
      cause,
    });
  }
}

function codeOf(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined;
  if ("code" in cause && typeof cause.code === "string") return cause.code;
  return cause.name === "NotCapable" ? cause.name : undefined;
}
