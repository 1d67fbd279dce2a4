/**
 * The byte store in memory: the same contract as files, at the speed of a copy, gone with the
 * process.
 *
 * Why: it carries a bus that needs no disk, makes tests fast, and is what a simulated crash leaves
 * behind (see `FaultyStorage`), so that recovery runs on exactly those bytes. A sync does nothing,
 * as nothing here is ever less durable than the rest.
 *
 * It keeps what POSIX promises and tests like to forget: an open file lives on when its name is
 * removed or replaced, a gap reads as zeros, and so does what was cut and grown again.
 *
 * Cost: a file takes up to twice its size, as it grows by doubling.
 */

import {
  checkBytes,
  checkInteger,
  checkKeys,
  checkOneOf,
  MmsbError,
  type MmsbErrorCode,
} from "../base/mod.ts";
import {
  checkFolder,
  checkPath,
  checkUsable,
  LOCK_PATH,
  parentFolder,
  type Storage,
  type StorageFile,
  temporaryPath,
} from "./storage.ts";

/** Options of {@linkcode MemoryStorage}. */
export interface MemoryStorageOptions {
  /** Files to start with, by path; their bytes are copied, and their folders exist. */
  readonly image?: ReadonlyMap<string, Uint8Array>;
}

/**
 * A {@linkcode Storage} in memory.
 *
 * @example Start from an image, and look at the result
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const storage = new MemoryStorage({ image: new Map([["lane-00/1.log", Uint8Array.of(1, 2)]]) });
 * const file = storage.open("lane-00/1.log", "write");
 * file.write(Uint8Array.of(7), 3);
 * assert.deepEqual([...storage.image().get("lane-00/1.log")!], [1, 2, 0, 7]);
 * ```
 */
export class MemoryStorage implements Storage {
  /** Always `"memory"`. */
  readonly kind = "memory";
  /** Always `"memory"`. */
  readonly location = "memory";
  readonly #files = new Map<string, Content>();
  readonly #folders = new Set<string>([""]);
  #locked = false;

  /**
   * Makes a store.
   *
   * @param options What to start with; nothing if left out.
   */
  constructor(options: MemoryStorageOptions = {}) {
    checkKeys("MemoryStorage", options, ["image"]);
    for (const [path, bytes] of options.image ?? []) {
      this.makeFolder(parentFolder(checkPath(path)));
      this.replace(path, bytes);
    }
  }

  list(folder: string): string[] {
    for (let path = checkFolder(folder); path !== ""; path = parentFolder(path)) {
      if (this.#files.has(path)) {
        throw failure("io", "list folder", folder, `${path} is a file: check the path`);
      }
    }
    const names: string[] = [];
    for (const paths of [this.#files.keys(), this.#folders]) {
      for (const path of paths) {
        if (path !== "" && parentFolder(path) === folder) {
          names.push(path.slice(path.lastIndexOf("/") + 1));
        }
      }
    }
    return names.sort();
  }

  makeFolder(folder: string): void {
    checkFolder(folder);
    const missing: string[] = [];
    for (let path = folder; !this.#folders.has(path); path = parentFolder(path)) {
      if (this.#files.has(path)) {
        throw failure("io", "make folder", folder, `${path} is a file: move it away`);
      }
      missing.push(path);
    }
    for (const path of missing) this.#folders.add(path);
  }

  exists(path: string): boolean {
    checkPath(path);
    return this.#files.has(path) || this.#folders.has(path);
  }

  open(path: string, mode: "read" | "write" | "create"): StorageFile {
    checkOneOf("mode", mode, ["read", "write", "create"]);
    checkPath(path);
    const content = mode === "create" ? this.#create(path) : this.#content(path, "open");
    return new File(path, content, mode !== "read");
  }

  async allocate(path: string, size: number): Promise<void> {
    this.allocateNow(path, size);
  }

  allocateNow(path: string, size: number): void {
    checkInteger("size", size, 0, Number.MAX_SAFE_INTEGER, "usage");
    checkPath(path);
    this.#checkPlace(path);
    this.remove(temporaryPath(path));
    const content = new Content();
    content.resize(size, path);
    this.#files.set(path, content);
  }

  readAll(path: string): Uint8Array | undefined {
    checkPath(path);
    if (this.#folders.has(path)) {
      throw failure("io", "read", path, "it is a folder: check the path");
    }
    return this.#files.get(path)?.copy();
  }

  replace(path: string, bytes: Uint8Array): void {
    checkBytes("bytes", bytes);
    checkPath(path);
    this.#checkPlace(path, true);
    this.remove(temporaryPath(path));
    const content = new Content();
    content.write(bytes, 0, path);
    this.#files.set(path, content);
  }

  remove(path: string): void {
    checkPath(path);
    if (this.#folders.has(path)) {
      throw failure("io", "remove", path, "it is a folder: check the path");
    }
    this.#files.delete(path);
  }

  async removeAsync(path: string): Promise<void> {
    this.remove(path);
  }

  rename(source: string, target: string): void {
    const content = this.#content(checkPath(source), "rename");
    this.#checkPlace(checkPath(target), true);
    this.#files.delete(source);
    this.#files.set(target, content);
  }

  syncFolder(folder: string): void {
    checkFolder(folder);
    if (!this.#folders.has(folder)) {
      throw failure("io", "sync folder", folder, "it does not exist: check the path");
    }
  }

  async syncFolderAsync(folder: string): Promise<void> {
    this.syncFolder(folder);
  }

  lock(): () => void {
    if (this.#locked) {
      throw failure("locked", "lock", this.location, "another writer holds it: close that one");
    }
    if (!this.#files.has(LOCK_PATH)) this.#create(LOCK_PATH);
    this.#locked = true;
    let held = true;
    return () => {
      if (held) this.#locked = held = false;
    };
  }

  /**
   * All files.
   *
   * @returns A copy of each file's bytes, by path, in order of the paths.
   */
  image(): Map<string, Uint8Array<ArrayBuffer>> {
    const paths = [...this.#files.keys()].sort();
    return new Map(paths.map((path) => [path, this.#files.get(path)!.copy()]));
  }

  /**
   * A store of its own with the same files and folders, and no lock.
   *
   * @returns The copy.
   */
  clone(): MemoryStorage {
    const copy = new MemoryStorage({ image: this.image() });
    for (const folder of this.#folders) copy.#folders.add(folder);
    return copy;
  }

  #create(path: string): Content {
    this.#checkPlace(path);
    const content = new Content();
    this.#files.set(path, content);
    return content;
  }

  #content(path: string, action: string): Content {
    const content = this.#files.get(path);
    if (content !== undefined) return content;
    const state = this.#folders.has(path) ? "it is a folder" : "it does not exist";
    throw failure("io", action, path, `${state}: check the path`);
  }

  /** Checks that a file may stand at the path; `over` where it may take a file's place. */
  #checkPlace(path: string, over = false): void {
    const state = !this.#folders.has(parentFolder(path))
      ? "its folder does not exist: make it first"
      : this.#folders.has(path)
      ? "a folder is in the way: use another name"
      : !over && this.#files.has(path)
      ? "it exists already: use another name, or remove it"
      : undefined;
    if (state !== undefined) throw failure("io", "create", path, state);
  }
}

/** A file's bytes, apart from its names. What lies between size and room is always zero. */
class Content {
  size = 0;
  #room = new Uint8Array(0);

  read(target: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(target.length, this.size - position));
    target.set(this.#room.subarray(position, position + count));
    return count;
  }

  write(bytes: Uint8Array, position: number, path: string): void {
    if (bytes.length === 0) return;
    this.#grow(position + bytes.length, path);
    this.#room.set(bytes, position);
    this.size = Math.max(this.size, position + bytes.length);
  }

  resize(size: number, path: string): void {
    this.#grow(size, path);
    this.#room.fill(0, size, Math.max(size, this.size));
    this.size = size;
  }

  copy(): Uint8Array<ArrayBuffer> {
    return this.#room.slice(0, this.size);
  }

  #grow(size: number, path: string): void {
    if (size <= this.#room.length) return;
    // A file made in one piece (allocate, replace) stays at its size.
    const bytes = this.size === 0 ? size : Math.max(size, 2 * this.size);
    try {
      const room = new Uint8Array(bytes);
      room.set(this.#room.subarray(0, this.size));
      this.#room = room;
    } catch (cause) {
      throw failure("disk-full", "write", path, "memory is full: use smaller files", cause);
    }
  }
}

class File implements StorageFile {
  readonly path: string;
  readonly #content: Content;
  readonly #writable: boolean;
  #open = true;

  constructor(path: string, content: Content, writable: boolean) {
    this.path = path;
    this.#content = content;
    this.#writable = writable;
  }

  size(): number {
    checkUsable(this.path, this.#open);
    return this.#content.size;
  }

  read(target: Uint8Array, position: number): number {
    checkUsable(this.path, this.#open);
    checkBytes("target", target);
    checkInteger("position", position, 0, Number.MAX_SAFE_INTEGER, "usage");
    return this.#content.read(target, position);
  }

  write(bytes: Uint8Array, position: number): void {
    checkUsable(this.path, this.#open, this.#writable);
    checkBytes("bytes", bytes);
    checkInteger("position", position, 0, Number.MAX_SAFE_INTEGER, "usage");
    this.#content.write(bytes, position, this.path);
  }

  async writeAsync(bytes: Uint8Array, position: number): Promise<void> {
    this.write(bytes, position);
  }

  truncate(size: number): void {
    checkUsable(this.path, this.#open, this.#writable);
    checkInteger("size", size, 0, Number.MAX_SAFE_INTEGER, "usage");
    this.#content.resize(size, this.path);
  }

  sync(): void {
    checkUsable(this.path, this.#open, this.#writable);
  }

  async syncAsync(): Promise<void> {
    this.sync();
  }

  close(): void {
    this.#open = false;
  }
}

function failure(
  code: MmsbErrorCode,
  action: string,
  path: string,
  state: string,
  cause?: unknown,
): MmsbError {
  return new MmsbError(code, `Cannot ${action} ${JSON.stringify(path)} as ${state}`, {
    values: { path },
    cause,
  });
}
