/**
 * Arena: the one block of shared memory in which every page has its slot.
 *
 * Every thread sees the same bytes, so a page is never copied to be read. The block reserves room
 * for its limit at once (address space, not memory) and grows in place, so addresses stay good for
 * ever. Views are of fixed length and remade when the arena grows: a view that tracks the length
 * of a growable buffer runs 8 to 26 times slower. Addresses count 16-byte words, so 32 bits reach
 * 64 GiB; kernels index 32-bit words, and single bytes are read through regions of 1 GiB, because
 * indices past 2^31 leave the fast path of the engine.
 *
 * Cost: growing is one system call per doubling; memory becomes resident when it is touched.
 *
 * @module
 */

import { alignUp, assert, checkInteger, MEMORY_LIMIT_BYTES_MAX, MmsbError } from "../base/mod.ts";

/** Bytes of one address unit: slots start at multiples of it. */
export const ADDRESS_BYTES = 16;
/** Bytes of one region: the reach of one byte view. A slot never crosses from one to the next. */
export const REGION_BYTES: number = 2 ** 30;
/** Address units in one region, as a shift. */
export const REGION_SHIFT = 26;
/** Most bytes that one arena can hold: 32-bit words have 31-bit indices. */
export const ARENA_BYTES_MAX: number = MEMORY_LIMIT_BYTES_MAX;
/** The arena grows in steps of this many bytes; slots of a size class are carved from such spans. */
export const SPAN_BYTES = 65_536;

/** Memory that pages live in. Implementations share one conformance suite. */
export interface Arena {
  /** `shared`: a growable SharedArrayBuffer. `mmap`: a mapped file. */
  readonly kind: "shared" | "mmap";
  /** Bytes the arena may grow to. */
  readonly limitBytes: number;
  /** Bytes it has now. */
  readonly byteLength: number;
  /** All of it as 32-bit words; replaced by {@linkcode Arena.grow}, so never keep it. */
  readonly words: Int32Array;
  /** All of it as doubles; replaced by {@linkcode Arena.grow}. */
  readonly doubles: Float64Array;
  /**
   * Makes the arena at least `byteLength` bytes long; the new bytes are zero.
   *
   * @throws {MmsbError} `allocation` past the limit, or where the system gives no more.
   */
  grow(byteLength: number): void;
  /** The bytes of region `index`, at most {@linkcode REGION_BYTES} of them. */
  region(index: number): Uint8Array;
  /** A view of `length` bytes at an address; it stays good as long as the arena. */
  bytes(address: number, length: number): Uint8Array;
  /** Checks the structure's own rules. */
  checkInvariants(): void;
}

/**
 * The default arena: a SharedArrayBuffer with room reserved for its limit.
 *
 * @example Grow, and keep what was there
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const arena = new SharedArena(1 << 20);
 * arena.words[3] = 7;
 * arena.grow(1 << 19);
 * assert.equal(arena.words[3], 7);
 * ```
 */
export class SharedArena implements Arena {
  /** Always `shared`. */
  readonly kind = "shared";
  /** Bytes the arena may grow to. */
  readonly limitBytes: number;
  /** All of it as 32-bit words. */
  words: Int32Array;
  /** All of it as doubles. */
  doubles: Float64Array;
  readonly #buffer: SharedArrayBuffer;
  #regions: Uint8Array[] = [];

  /**
   * Reserves the room.
   *
   * @param limitBytes Bytes it may grow to, 64 KiB to 8 GiB.
   * @param buffer The buffer of another thread's arena of the same limit, to look at the same bytes.
   * @throws {MmsbError} `allocation` where the system reserves no such room, `limit` past 8 GiB.
   */
  constructor(limitBytes: number, buffer?: SharedArrayBuffer) {
    checkInteger("memoryLimitBytes", limitBytes, SPAN_BYTES, ARENA_BYTES_MAX, "limit");
    this.limitBytes = limitBytes - limitBytes % SPAN_BYTES;
    try {
      this.#buffer = buffer ??
        new SharedArrayBuffer(SPAN_BYTES, { maxByteLength: this.limitBytes });
    } catch (cause) {
      throw new MmsbError(
        "allocation",
        `Cannot reserve ${this.limitBytes} bytes of address space: give a smaller memoryLimitBytes`,
        { values: { limitBytes: this.limitBytes }, cause },
      );
    }
    this.words = new Int32Array(this.#buffer, 0, SPAN_BYTES / 4);
    this.doubles = new Float64Array(this.#buffer, 0, SPAN_BYTES / 8);
    this.#remake();
  }

  /** The buffer, for other threads. */
  get buffer(): SharedArrayBuffer {
    return this.#buffer;
  }

  /** Bytes it has now. */
  get byteLength(): number {
    return this.#buffer.byteLength;
  }

  /** Makes the views anew where another thread has made the arena longer. */
  catchUp(): void {
    if (this.words.byteLength !== this.#buffer.byteLength) this.#remake();
  }

  /** {@inheritDoc Arena.grow} */
  grow(byteLength: number): void {
    if (byteLength <= this.byteLength) return;
    if (byteLength > this.limitBytes) {
      throw new MmsbError(
        "allocation",
        `Cannot grow the arena to ${byteLength} bytes: its limit is ${this.limitBytes}; delete pages or open the bus with a larger memoryLimitBytes`,
        { values: { byteLength, limitBytes: this.limitBytes } },
      );
    }
    const doubled = this.byteLength + Math.min(this.byteLength, REGION_BYTES / 4);
    const target = Math.min(this.limitBytes, alignUp(Math.max(byteLength, doubled), SPAN_BYTES));
    try {
      this.#buffer.grow(target);
    } catch (cause) {
      throw new MmsbError("allocation", `Cannot grow the arena to ${target} bytes: free memory`, {
        values: { byteLength: target, limitBytes: this.limitBytes },
        cause,
      });
    }
    this.#remake();
  }

  /** {@inheritDoc Arena.region} */
  region(index: number): Uint8Array {
    return this.#regions[index];
  }

  /** {@inheritDoc Arena.bytes} */
  bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.#buffer, address * ADDRESS_BYTES, length);
  }

  /** {@inheritDoc Arena.checkInvariants} */
  checkInvariants(): void {
    assert(this.words.byteLength === this.byteLength, "words cover the arena");
    assert(this.doubles.byteLength === this.byteLength, "doubles cover the arena");
    assert(this.byteLength <= this.limitBytes, "the arena keeps its limit");
    let covered = 0;
    for (const region of this.#regions) covered += region.byteLength;
    assert(covered === this.byteLength, "regions cover the arena");
  }

  #remake(): void {
    const bytes = this.byteLength;
    this.words = new Int32Array(this.#buffer, 0, bytes / 4);
    this.doubles = new Float64Array(this.#buffer, 0, bytes / 8);
    this.#regions = [];
    for (let start = 0; start < bytes; start += REGION_BYTES) {
      this.#regions.push(
        new Uint8Array(this.#buffer, start, Math.min(REGION_BYTES, bytes - start)),
      );
    }
  }
}
