/**
 * A storage that forgets the log written to it: what a salvage would save can be told without a second copy of
 * it.
 *
 * Cost: `meta.json` is kept, of all other files the size.
 */

import { MmsbError } from "../base/mod.ts";
import { META_PATH, type Storage, type StorageFile } from "../log/mod.ts";

/** Takes what is written, keeps nothing of it. */
export class SinkStorage implements Storage {
  readonly kind = "memory";
  readonly location = "nowhere";
  readonly #sizes = new Map<string, number>();
  #meta: Uint8Array | undefined;

  list(folder: string): string[] {
    const start = folder === "" ? "" : `${folder}/`;
    const names = [...this.#sizes.keys()].filter((path) => path.startsWith(start))
      .map((path) => path.slice(start.length).split("/")[0]);
    return [...new Set(names)].sort();
  }

  makeFolder(): void {}

  exists(path: string): boolean {
    return this.#sizes.has(path);
  }

  open(path: string, mode: "read" | "write" | "create"): StorageFile {
    if (mode === "create") this.#sizes.set(path, 0);
    return this.#file(path);
  }

  async allocate(path: string, size: number): Promise<void> {
    this.allocateNow(path, size);
  }

  allocateNow(path: string, size: number): void {
    this.#sizes.set(path, size);
  }

  readAll(path: string): Uint8Array | undefined {
    if (path === META_PATH) return this.#meta;
    const size = this.#sizes.get(path);
    return size === undefined ? undefined : new Uint8Array(size);
  }

  replace(path: string, bytes: Uint8Array): void {
    if (path === META_PATH) this.#meta = bytes.slice();
    this.#sizes.set(path, bytes.length);
  }

  remove(path: string): void {
    this.#sizes.delete(path);
  }

  async removeAsync(path: string): Promise<void> {
    this.remove(path);
  }

  rename(source: string, target: string): void {
    this.#sizes.set(target, this.#sizes.get(source) ?? 0);
    this.#sizes.delete(source);
  }

  syncFolder(): void {}

  async syncFolderAsync(): Promise<void> {}

  lock(): () => void {
    return () => {};
  }

  #file(path: string): StorageFile {
    const sizes = this.#sizes;
    const size = () => {
      const known = sizes.get(path);
      if (known === undefined) throw new MmsbError("io", `Cannot open "${path}": it is not there`);
      return known;
    };
    size();
    const write = (bytes: Uint8Array, position: number) => {
      sizes.set(path, Math.max(size(), position + bytes.length));
    };
    return {
      path,
      size,
      read: (target, position) => {
        const count = Math.max(0, Math.min(target.length, size() - position));
        target.fill(0, 0, count);
        return count;
      },
      write,
      writeAsync: async (bytes, position) => write(bytes, position),
      truncate: (bytes) => void sizes.set(path, bytes),
      sync: () => {},
      syncAsync: async () => {},
      close: () => {},
    };
  }
}
