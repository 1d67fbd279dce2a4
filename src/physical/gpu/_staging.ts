/**
 * Staging memory: where jobs for the GPU thread and their results stand.
 *
 * It is a growable SharedArrayBuffer, so that a view once made stays good while it grows, for both threads. It never
 * shrinks; what was far too large for long is given up for new memory.
 *
 * Cost: 60 µs and 1 GiB of address space, of which 64 KiB are memory; growing is a system call a doubling.
 */

import { MmsbError } from "../../base/mod.ts";

/** Most bytes of a job, or of its result: byte views past that lose the fast path of the engine. */
export const STAGING_BYTES_MAX: number = 2 ** 30;
const STAGING_BYTES = 65_536;
/** Memory that is far too large for so many jobs in a row is given back, if it is larger than this. */
const WASTE_JOBS = 64, WASTE_BYTES_MIN: number = 2 ** 24;

/** Memory in which jobs or results stand. */
export class Staging {
  /** The memory; it grows in its place. */
  readonly buffer: SharedArrayBuffer;
  #words: Int32Array<SharedArrayBuffer>;
  #wasted = 0;

  /** Over memory of another thread, or over new memory. */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ??
      new SharedArrayBuffer(STAGING_BYTES, { maxByteLength: STAGING_BYTES_MAX });
    this.#words = this.#view();
  }

  /** All of it as words; replaced when it grows. */
  get words(): Int32Array<SharedArrayBuffer> {
    if (this.#words.byteLength !== this.buffer.byteLength) this.#words = this.#view();
    return this.#words;
  }

  /**
   * Makes room.
   *
   * @throws {MmsbError} `limit` past 1 GiB, `allocation` where the system gives no more.
   */
  reserve(words: number): void {
    const bytes = 4 * words;
    if (bytes <= this.buffer.byteLength) return;
    if (bytes > STAGING_BYTES_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot hand ${bytes} bytes to the GPU at once: the limit is ${STAGING_BYTES_MAX}; split the work`,
        { values: { bytes, limitBytes: STAGING_BYTES_MAX } },
      );
    }
    const target = Math.min(STAGING_BYTES_MAX, 2 ** Math.ceil(Math.log2(bytes)));
    try {
      this.buffer.grow(target);
    } catch (cause) {
      throw new MmsbError(
        "allocation",
        `Cannot grow staging memory to ${target} bytes: free some`,
        {
          values: { bytes: target },
          cause,
        },
      );
    }
  }

  /** Whether it has been far too large for what was in it, for long. */
  isWasteful(usedWords: number): boolean {
    const bytes = this.buffer.byteLength;
    if (bytes <= WASTE_BYTES_MIN || 4 * usedWords > bytes / 8) this.#wasted = 0;
    else this.#wasted++;
    return this.#wasted >= WASTE_JOBS;
  }

  #view(): Int32Array<SharedArrayBuffer> {
    return new Int32Array(this.buffer, 0, this.buffer.byteLength >> 2);
  }
}
