/**
 * Mapped file: a file's bytes as memory, shared with every process that maps it.
 *
 * The file has its full length from the start and is mapped once: address space, not memory and not
 * disk, because nothing has been written to it. So it grows without ever moving: what another range is
 * to be used, its space is taken from the disk first. Without that, a write to a hole of a file on
 * a full disk ends the process (SIGBUS), and nothing could be said or undone.
 *
 * All views are made from one buffer, so that as long as anybody holds any view the buffer lives.
 * Only when the engine's collector finds it unreachable is the mapping taken away: no view can ever
 * point at nothing. Closing gives up the file and its lock; the bytes stay readable through views.
 *
 * Cost: two system calls to make, one each time a range is taken; nothing to read or write.
 *
 * @module
 */

import { assert, MmsbError } from "../base/mod.ts";
import * as platform from "./_platform.ts";

/** Mappings whose buffers are gone can be taken away. */
const UNREACHABLE = new FinalizationRegistry<{ address: platform.Address; bytes: number }>(
  ({ address, bytes }) => platform.unmap(address, bytes),
);

/** Files of openings that were forgotten without being closed. */
const FORGOTTEN = new FinalizationRegistry<number>(closeFile);

/** Bytes of the unit of mappings. */
export const MAP_PAGE_BYTES = 4096;

/** Why files cannot be mapped here, in words; `undefined` where they can. */
export function mappingUnavailable(): string | undefined {
  return platform.unavailable();
}

/** A name that no other file has. */
export function uniqueFileName(): string {
  return `mmsb-${platform.uniqueName()}`;
}

/** A file in memory. */
export class MappedFile {
  /** Its path. */
  readonly path: string;
  /** Its bytes; taken ranges only may be written. */
  readonly buffer: ArrayBuffer;
  readonly #address: platform.Address;
  #file: number;

  private constructor(path: string, file: number, bytes: number, writable: boolean) {
    this.path = path;
    this.#file = file;
    this.#address = platform.mapFile(file, path, bytes, writable);
    this.buffer = platform.bufferAt(this.#address, bytes);
    UNREACHABLE.register(this.buffer, { address: this.#address, bytes });
    FORGOTTEN.register(this, file, this);
  }

  /**
   * Makes a file of holes. It must not exist.
   *
   * @throws {MmsbError} `disk-full`, `read-only` or `io` where the system refuses; no file is left.
   */
  static create(path: string, bytes: number): MappedFile {
    const file = platform.openFile(path, "create");
    try {
      platform.setFileSize(file, path, bytes);
      return new MappedFile(path, file, bytes, true);
    } catch (error) {
      platform.closeFile(file);
      platform.removeFile(path);
      throw error;
    }
  }

  /**
   * Maps a file that is there.
   *
   * @throws {MmsbError} `io` where it is missing, or shorter than `bytesMin`, `read-only` where it
   * may not be opened.
   */
  static open(path: string, mode: "read" | "write", bytesMin: number): MappedFile {
    const file = platform.openFile(path, mode);
    try {
      const bytes = platform.fileSize(file, path);
      if (bytes < bytesMin || bytes % MAP_PAGE_BYTES !== 0) {
        throw new MmsbError(
          "io",
          `Cannot map ${JSON.stringify(path)}: it has only ${bytes} bytes`,
          {
            values: { path, bytes },
          },
        );
      }
      return new MappedFile(path, file, bytes, mode === "write");
    } catch (error) {
      platform.closeFile(file);
      throw error;
    }
  }

  /**
   * Takes disk space for a range, which may then be written.
   *
   * @throws {MmsbError} `disk-full`, or `io` where the file system cannot do it.
   */
  take(offset: number, bytes: number): void {
    assert(this.#file >= 0, "the mapped file is open");
    platform.takeSpace(this.#file, this.path, offset, bytes);
  }

  /** Writes what changed in a range to the disk. */
  sync(offset: number, bytes: number): void {
    if (bytes > 0) platform.syncMapped(this.#address, this.path, offset, bytes);
  }

  /** Writes the file's length and blocks to the disk. */
  syncBlocks(): void {
    platform.syncFile(this.#file, this.path);
  }

  /** Takes the writer's lock, which ends with the file or the process; false where it is taken. */
  lock(): boolean {
    return platform.lockFile(this.#file);
  }

  /** Whether another opening of the file holds the writer's lock. */
  isLocked(): boolean {
    return this.#file >= 0 && platform.isLocked(this.#file);
  }

  /** Asks the writer for a moment without a tick, or stops asking. */
  askForQuiet(asks: boolean): void {
    if (this.#file >= 0) platform.askForQuiet(this.#file, asks);
  }

  /** Whether a reader asks for a moment without a tick. */
  isAskedForQuiet(): boolean {
    return this.#file >= 0 && platform.isAskedForQuiet(this.#file);
  }

  /** Gives the file another name. */
  static rename(path: string, newPath: string): void {
    platform.renameFile(path, newPath);
  }

  /** Makes a name that leads to another one. */
  static link(target: string, path: string): void {
    platform.linkFile(target, path);
  }

  /** Removes a name; mappings of the file stay good. */
  static remove(path: string): void {
    platform.removeFile(path);
  }

  /** Closes the file; views of it stay good. */
  close(): void {
    if (this.#file < 0) return;
    FORGOTTEN.unregister(this);
    closeFile(this.#file);
    this.#file = -1;
  }
}

function closeFile(file: number): void {
  platform.unlockFile(file);
  platform.closeFile(file);
}
