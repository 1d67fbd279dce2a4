/**
 * A queue with backpressure between any number of threads: whoever puts an item into a full queue waits, or is
 * refused with `memory-pressure`, by the choice of the thread that puts. Nothing is ever dropped.
 *
 * It is an {@linkcode MpmcRing} with that choice made once, and with counts of what happened; the ring does the rest.
 *
 * Cost: that of the ring, and a count.
 */

import { checkKeys, checkOneOf } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";
import type { RingWords } from "./_ring_calls.ts";
import type { RingHandle, RingOptions } from "./ring_memory.ts";
import { checkTimeout, type WaitOptions } from "./_waiting.ts";
import { MpmcRing } from "./mpmc_ring.ts";

/** What a thread's puts do where the queue is full. */
export interface QueuePolicy {
  /** `"wait"` (the default) until there is room or time is up, or `"refuse"` at once. */
  readonly whenFull?: "wait" | "refuse";
  /** Most milliseconds that a put waits for room; for ever if left out. */
  readonly timeoutMs?: number;
}

/** How to make a queue. */
export interface QueueOptions extends RingOptions, QueuePolicy {}

/** What went through one thread's handle of a queue. */
export interface QueueStatistics {
  /** Items put. */
  readonly put: number;
  /** Items taken. */
  readonly taken: number;
  /** Puts that found the queue full, and waited. */
  readonly waited: number;
  /** Puts that were refused, at once or after their time. */
  readonly refused: number;
}

/**
 * A bounded queue of items of a fixed number of 32-bit words, which pushes back where it is full.
 *
 * @example Refused, then taken
 * ```ts
 * import assert from "node:assert/strict";
 * import { SharedQueue } from "@mmsb/mmsb";
 *
 * const queue = SharedQueue.create({ capacity: 2, itemWords: 2, whenFull: "refuse" });
 * queue.put(Int32Array.of(1, 10));
 * queue.put(Int32Array.of(2, 20));
 * assert.throws(() => queue.put(Int32Array.of(3, 30)), { code: "memory-pressure" });
 *
 * assert.deepEqual(await queue.takeAsync(), Int32Array.of(1, 10));
 * assert.deepEqual(queue.statistics, { put: 2, taken: 1, waited: 0, refused: 1 });
 * ```
 *
 * @example A writer that waits, and a reader that ends with the queue
 * ```ts
 * import assert from "node:assert/strict";
 * import { SharedQueue } from "@mmsb/mmsb";
 *
 * const queue = SharedQueue.create({ capacity: 2 });
 * const writing = (async () => {
 *   for (const word of [1, 2, 3]) await queue.putAsync(Int32Array.of(word));
 *   queue.close();
 * })();
 * let sum = 0;
 * for await (const [word] of queue) sum += word;
 * await writing;
 * assert.equal(sum, 6);
 * ```
 */
export class SharedQueue {
  readonly #ring: MpmcRing;
  readonly #refuses: boolean;
  readonly #timeoutMs: number | undefined;
  #put = 0;
  #taken = 0;
  #waited = 0;
  #refused = 0;

  private constructor(ring: MpmcRing, policy: QueuePolicy) {
    const { whenFull = "wait", timeoutMs } = policy;
    checkTimeout(timeoutMs);
    this.#ring = ring;
    this.#refuses = checkOneOf("whenFull", whenFull, ["wait", "refuse"]) === "refuse";
    this.#timeoutMs = this.#refuses ? 0 : timeoutMs;
  }

  /**
   * Makes an empty queue.
   *
   * @param options Capacity, words of an item, and what puts of this thread do where it is full.
   * @returns The queue.
   * @throws {MmsbError} `usage` or `limit` for options that cannot be, `allocation` where there is no memory.
   */
  static create(options: QueueOptions): SharedQueue {
    checkKeys("SharedQueue", options, ["capacity", "itemWords", "spins", "whenFull", "timeoutMs"]);
    const { whenFull, timeoutMs, ...ring } = options ?? {};
    return new SharedQueue(MpmcRing.create(ring), { whenFull, timeoutMs });
  }

  /**
   * Attaches a queue of another thread.
   *
   * @param handle What {@linkcode share} gave.
   * @param policy What puts of this thread do where it is full.
   * @returns The queue, as this thread sees it.
   * @throws {MmsbError} `usage` where it is no such handle, or no such policy.
   */
  static attach(handle: RingHandle, policy: QueuePolicy = {}): SharedQueue {
    checkKeys("SharedQueue.attach", policy, ["whenFull", "timeoutMs"]);
    return new SharedQueue(MpmcRing.attach(handle), policy);
  }

  /** Gives what another thread attaches, for `postMessage`. */
  share(): RingHandle {
    return this.#ring.share();
  }

  /** Most items that the queue holds. */
  get capacity(): number {
    return this.#ring.capacity;
  }

  /** Items in the queue now; other threads may change that at once. */
  get length(): number {
    return this.#ring.length;
  }

  /** Whether it was closed, in any thread. */
  get closed(): boolean {
    return this.#ring.closed;
  }

  /** What went through this thread's handle. */
  get statistics(): QueueStatistics {
    return {
      put: this.#put,
      taken: this.#taken,
      waited: this.#waited,
      refused: this.#refused,
    };
  }

  /**
   * Puts an item; where the queue is full, blocks this thread or refuses, by its policy.
   *
   * @param item Its words, as many as an item has.
   * @throws {MmsbError} `memory-pressure` where it is full (and stays so): the item is not in; `closed`; `usage` for
   * words that are no item.
   */
  put(item: RingWords): void {
    if (this.#putAtOnce(item)) return;
    this.#count(() => this.#ring.push(item, { timeoutMs: this.#timeoutMs }));
  }

  /**
   * Puts an item; where the queue is full, waits without blocking or refuses, by its policy.
   *
   * @param item Its words, which must stay as they are until the promise settles.
   * @returns Settles when it is in; rejects as {@linkcode put} throws.
   */
  async putAsync(item: RingWords): Promise<void> {
    if (this.#putAtOnce(item)) return;
    const waiting = this.#ring.pushAsync(item, { timeoutMs: this.#timeoutMs });
    const error = await waiting.then(() => undefined, (reason) => ({ reason }));
    this.#count(() => {
      if (error !== undefined) throw error.reason;
    });
  }

  /**
   * Takes an item, and blocks this thread while there is none.
   *
   * @param options How long to wait.
   * @returns A copy of its words; nothing where time is up.
   * @throws {MmsbError} `closed` where the queue is closed and empty.
   */
  take(options: WaitOptions = {}): Int32Array | undefined {
    const item = new Int32Array(this.#ring.itemWords);
    return this.#takenItem(item, this.#ring.pop(item, options));
  }

  /**
   * Takes an item, and waits without blocking while there is none. The process stays alive meanwhile.
   *
   * @param options How long to wait.
   * @returns A copy of its words; nothing where time is up. Rejects as {@linkcode take} throws.
   */
  async takeAsync(options: WaitOptions = {}): Promise<Int32Array | undefined> {
    const item = new Int32Array(this.#ring.itemWords);
    return this.#takenItem(item, await this.#ring.popAsync(item, options));
  }

  /** Closes the queue for all: puts throw `closed`, what is in can still be taken, whoever waits wakes. */
  close(): void {
    this.#ring.close();
  }

  /** Takes items until the queue is closed and empty. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Int32Array, void, void> {
    for (;;) {
      let item: Int32Array | undefined;
      try {
        item = await this.takeAsync();
      } catch (error) {
        if (error instanceof MmsbError && error.code === "closed") return;
        throw error;
      }
      if (item !== undefined) yield item;
    }
  }

  #putAtOnce(item: RingWords): boolean {
    const { itemWords } = this.#ring;
    if (item?.length !== itemWords) {
      throw new MmsbError("usage", `Cannot put an item: give an Int32Array of ${itemWords} words`, {
        values: { itemWords, length: item?.length },
      });
    }
    if (this.#ring.tryPush(item) === 0) {
      if (!this.#refuses) this.#waited++;
      return false;
    }
    this.#put++;
    return true;
  }

  #count(put: () => void): void {
    try {
      put();
    } catch (error) {
      this.#refused++;
      throw error;
    }
    this.#put++;
  }

  #takenItem(item: Int32Array, items: number): Int32Array | undefined {
    this.#taken += items;
    return items === 0 ? undefined : item;
  }
}
