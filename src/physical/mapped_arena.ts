/**
 * Mapped arena: pages in a mapped file, seen by every process that maps it.
 *
 * It is one part of the file. Growing takes disk space and makes longer views of the same memory, so
 * views of earlier lengths stay good. It grows in smaller steps than the shared arena, because space
 * that is taken is used, whether it was touched or not.
 *
 * @module
 */

import { alignUp, assert, MmsbError } from "../base/mod.ts";
import { ADDRESS_BYTES, type Arena, REGION_BYTES, SPAN_BYTES } from "./arena.ts";
import type { MappedParts } from "./mapped_parts.ts";

const GROW_BYTES_MAX = 2 ** 26;

/**
 * An arena in a mapped file.
 *
 * @example Only where the system can map files
 * ```ts
 * import assert from "node:assert/strict";
 * import { mappingUnavailable } from "./mapped_file.ts";
 * import { MappedImage } from "./mapped_image.ts";
 *
 * if (mappingUnavailable() === undefined) {
 *   const path = `${Deno.makeTempDirSync()}/arena`;
 *   using image = MappedImage.create(path, { limitBytes: 1 << 20, shards: 1 });
 *   const arena = image.arena;
 *   arena.words[3] = 7;
 *   arena.grow(1 << 19);
 *   assert.equal(arena.words[3], 7);
 *   Deno.removeSync(path);
 * }
 * ```
 */
export class MappedArena implements Arena {
  /** Always `mmap`. */
  readonly kind = "mmap";
  /** Bytes the arena may grow to. */
  readonly limitBytes: number;
  /** All of it as 32-bit words. */
  words!: Int32Array;
  /** All of it as doubles. */
  doubles!: Float64Array;
  readonly #parts: MappedParts;
  readonly #start: number;
  #byteLength = 0;
  #regions: Uint8Array[] = [];

  /**
   * The arena of a mapped file.
   *
   * @throws {MmsbError} `disk-full` where there is no room for its first bytes.
   */
  constructor(parts: MappedParts) {
    this.#parts = parts;
    this.limitBytes = parts.layout.limitBytes;
    this.#start = parts.layout.parts.arena.start;
    if (parts.writable) parts.grow("arena", SPAN_BYTES);
    this.refresh();
  }

  /** Bytes it has now. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** {@inheritDoc Arena.grow} */
  grow(byteLength: number): void {
    const has = this.#byteLength;
    if (byteLength <= has) return;
    if (byteLength > this.limitBytes) {
      throw new MmsbError(
        "allocation",
        `Cannot grow the arena to ${byteLength} bytes: its limit is ${this.limitBytes}; delete pages or open the bus with a larger memoryLimitBytes`,
        { values: { byteLength, limitBytes: this.limitBytes } },
      );
    }
    const least = Math.min(this.limitBytes, alignUp(byteLength, SPAN_BYTES));
    const wanted = Math.min(this.limitBytes, Math.max(least, has + Math.min(has, GROW_BYTES_MAX)));
    try {
      this.#parts.grow("arena", wanted);
    } catch (error) {
      // The disk may have room for what is needed, if not for what would be good.
      if (wanted === least) throw error;
      this.#parts.grow("arena", least);
    }
    this.refresh();
  }

  /** {@inheritDoc Arena.region} */
  region(index: number): Uint8Array {
    return this.#regions[index];
  }

  /** {@inheritDoc Arena.bytes} */
  bytes(address: number, length: number): Uint8Array {
    const start = address * ADDRESS_BYTES;
    if (start + length > this.#byteLength) {
      throw new RangeError(`Cannot view bytes ${start} to ${start + length} of the arena`);
    }
    return new Uint8Array(this.#parts.file.buffer, this.#start + start, length);
  }

  /** Makes the views anew where the arena has become longer, here or in another process. */
  refresh(): void {
    const bytes = this.#parts.control.length("arena"), { buffer } = this.#parts.file;
    if (bytes === this.#byteLength) return;
    this.#byteLength = bytes;
    this.words = new Int32Array(buffer, this.#start, bytes / 4);
    this.doubles = new Float64Array(buffer, this.#start, bytes / 8);
    this.#regions = [];
    for (let start = 0; start < bytes; start += REGION_BYTES) {
      const length = Math.min(REGION_BYTES, bytes - start);
      this.#regions.push(new Uint8Array(buffer, this.#start + start, length));
    }
  }

  /** {@inheritDoc Arena.checkInvariants} */
  checkInvariants(): void {
    assert(this.words.byteLength === this.byteLength, "words cover the arena");
    assert(this.doubles.byteLength === this.byteLength, "doubles cover the arena");
    assert(this.byteLength <= this.limitBytes, "the arena keeps its limit");
    assert(this.byteLength <= this.#parts.control.length("arena"), "its space is taken");
    let covered = 0;
    for (const region of this.#regions) covered += region.byteLength;
    assert(covered === this.byteLength, "regions cover the arena");
  }
}
