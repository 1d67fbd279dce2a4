/**
 * Mail ring: messages of any length from one thread to another, in order.
 *
 * One thread posts, one takes: positions are counts of bytes that only their own side moves. A message is
 * published by moving the end behind it, so it is seen whole or not at all, whatever becomes of the thread that
 * posts. A message that does not fit before the end of the buffer begins at its start. An empty ring whose
 * buffer is too short for a message grows.
 *
 * Cost: a copy on each side and two atomic stores a message.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";

/** The buffers of a ring; may be posted to other threads. */
export interface MailRingBuffers {
  /** Positions. */
  readonly words: SharedArrayBuffer;
  /** Messages. */
  readonly bytes: SharedArrayBuffer;
}

const HEAD_BYTES = 8;
const SKIP = -1;
const BYTES_START = 2 ** 16;
const HOLD_MS = 1000;
/** Largest ring, and so largest message, in bytes. */
export const MAIL_BYTES_MAX: number = 2 ** 28;
// Words: positions stand on cache lines of their own.
const W_TAKEN = 0, W_POSTED = 16, W_CAPACITY = 17;

/** One side of a ring. */
export class MailRing {
  /** The buffers, for the other side. */
  readonly buffers: MailRingBuffers;
  readonly #words: Int32Array;

  /** Makes a ring, or one side of a ring that is there. */
  constructor(buffers: MailRingBuffers = newBuffers()) {
    this.buffers = buffers;
    this.#words = new Int32Array(buffers.words);
  }

  /** Whether nothing waits to be taken. */
  get isEmpty(): boolean {
    return Atomics.load(this.#words, W_TAKEN) === Atomics.load(this.#words, W_POSTED);
  }

  /**
   * Posts a message.
   *
   * @param length Its bytes.
   * @param write Writes them, all zero or old before.
   * @returns Whether there was room.
   * @throws {MmsbError} `limit` for a message that no ring can hold, `allocation` where memory is short.
   */
  post(length: number, write: (bytes: Uint8Array) => void): boolean {
    const words = this.#words, needed = HEAD_BYTES + (length + 7 & ~7);
    // Its own length and the rest of the buffer that it may have to skip.
    if (2 * needed > MAIL_BYTES_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot send ${length} bytes to another thread at once: make it smaller`,
        { values: { length, bytesMax: MAIL_BYTES_MAX / 2 - HEAD_BYTES } },
      );
    }
    let capacity = words[W_CAPACITY];
    if (2 * needed > capacity) {
      if (!this.isEmpty) return false;
      capacity = 2 ** Math.ceil(Math.log2(2 * needed));
      this.#grow(capacity);
      words[W_CAPACITY] = capacity;
      // Both positions are at the same place, so they may move there together.
    }
    const posted = words[W_POSTED];
    const at = (posted >>> 0) & capacity - 1, left = capacity - at;
    const skipped = left < needed ? left : 0;
    const used = posted - Atomics.load(words, W_TAKEN) >>> 0;
    if (used + skipped + needed > capacity) return false;
    const { bytes } = this.buffers;
    if (skipped > 0) new Int32Array(bytes, at, 1)[0] = SKIP;
    const start = at + skipped & capacity - 1;
    new Int32Array(bytes, start, 1)[0] = length;
    write(new Uint8Array(bytes, start + HEAD_BYTES, length));
    Atomics.store(words, W_POSTED, posted + skipped + needed | 0);
    Atomics.notify(words, W_POSTED);
    return true;
  }

  /**
   * Takes the oldest message.
   *
   * @param read Reads it; its bytes are good only inside.
   * @returns What `read` gives; `undefined` where there is no message.
   */
  take<T>(read: (bytes: Uint8Array) => T): T | undefined {
    const words = this.#words, { bytes } = this.buffers;
    let taken = words[W_TAKEN];
    if (taken === Atomics.load(words, W_POSTED)) return undefined;
    const capacity = words[W_CAPACITY];
    let at = (taken >>> 0) & capacity - 1;
    let length = new Int32Array(bytes, at, 1)[0];
    if (length === SKIP) {
      taken = taken + capacity - at | 0;
      at = 0;
      length = new Int32Array(bytes, 0, 1)[0];
    }
    try {
      return read(new Uint8Array(bytes, at + HEAD_BYTES, length));
    } finally {
      Atomics.store(words, W_TAKEN, taken + HEAD_BYTES + (length + 7 & ~7) | 0);
      Atomics.notify(words, W_TAKEN);
    }
  }

  /** Settles when something was posted, or after some time. */
  async whenPosted(timeoutMs: number): Promise<void> {
    const seen = Atomics.load(this.#words, W_POSTED);
    if (!this.isEmpty) return;
    const waiting = Atomics.waitAsync(this.#words, W_POSTED, seen, timeoutMs);
    if (!waiting.async) return;
    // The promise by itself keeps no event loop alive.
    const hold = setInterval(() => {}, HOLD_MS);
    try {
      await waiting.value;
    } finally {
      clearInterval(hold);
    }
  }

  #grow(capacity: number): void {
    try {
      if (this.buffers.bytes.byteLength < capacity) this.buffers.bytes.grow(capacity);
    } catch (cause) {
      throw new MmsbError("allocation", "Cannot send so much to another thread: free memory", {
        values: { bytes: capacity },
        cause,
      });
    }
  }
}

function newBuffers(): MailRingBuffers {
  const words = new SharedArrayBuffer(32 * 4);
  new Int32Array(words)[W_CAPACITY] = BYTES_START;
  return {
    words,
    bytes: new SharedArrayBuffer(BYTES_START, { maxByteLength: MAIL_BYTES_MAX }),
  };
}
