/**
 * Collectives: results of many threads put together in shared memory, the same in each of them.
 *
 * Each participant writes its values into a place of its own, all meet at a barrier, and each puts all together for
 * itself, in the order of ranks: so the results are equal to the bit, floats too, however the threads ran. There
 * are two sets of places, used in turn: who is ahead writes the other one while the slowest still reads, and
 * nobody can be two ahead, so one barrier a call is enough.
 *
 * Cost: a barrier, and participants × length values read by each.
 */

import { checkInteger, checkKeys, checkOneOf } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";
import { RING_WORDS_MAX } from "../base/limits.ts";
import type { WaitOptions } from "./_waiting.ts";
import { type BarrierHandle, type BarrierOptions, SharedBarrier } from "./shared_barrier.ts";

/** How values are put together. */
export type Reduction = "sum" | "product" | "min" | "max";

const REDUCTIONS: Readonly<Record<Reduction, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  product: (a, b) => a * b,
  min: Math.min,
  max: Math.max,
};

/** How to make a group. */
export interface GroupOptions extends BarrierOptions {
  /** Most values of one participant in a call; 1 if left out. */
  readonly length?: number;
}

/** What another thread needs to attach a group, for `postMessage`. */
export interface GroupHandle {
  /** Always `"group"`. */
  readonly kind: "group";
  /** The values' memory. */
  readonly memory: SharedArrayBuffer;
  /** The barrier. */
  readonly barrier: BarrierHandle;
}

/**
 * A group of threads that put 64-bit floats together. Integers up to 2⁵³ are exact.
 *
 * All participants make the same calls in the same order, each with a rank of its own. `min` and `max` of a NaN are NaN.
 *
 * @example The only one of a group
 * ```ts
 * import assert from "node:assert/strict";
 * import { SharedGroup } from "@mmsb/mmsb";
 *
 * const handle = SharedGroup.create({ participants: 1, length: 2 });
 * const group = SharedGroup.attach(handle, 0); // in a worker, with its rank
 * assert.deepEqual(group.allReduce("sum", [1, 2]), Float64Array.of(1, 2));
 * assert.deepEqual(group.allGather([3]), Float64Array.of(3));
 * ```
 */
export class SharedGroup {
  /** This thread's rank, from 0. */
  readonly rank: number;
  /** Threads of the group. */
  readonly participants: number;
  /** Most values of one participant in a call. */
  readonly length: number;
  readonly #barrier: SharedBarrier;
  readonly #values: Float64Array<SharedArrayBuffer>;
  #set = 0;

  private constructor(handle: GroupHandle, rank: number) {
    this.#barrier = SharedBarrier.attach(handle.barrier);
    this.#values = new Float64Array(handle.memory);
    this.participants = this.#barrier.participants;
    this.length = this.#values.length / (2 * this.participants);
    this.rank = checkInteger("rank", rank, 0, this.participants - 1);
    if (!Number.isInteger(this.length)) {
      throw new MmsbError("usage", "Cannot attach a group: give the handle that create() gave");
    }
  }

  /**
   * Makes the memory of a group.
   *
   * @param options Threads, values a call, and how long threads look before they sleep.
   * @returns What each thread attaches, with its rank.
   * @throws {MmsbError} `usage` or `limit` for options that cannot be.
   */
  static create(options: GroupOptions): GroupHandle {
    checkKeys("SharedGroup", options, ["participants", "spins", "length"]);
    const { participants, spins, length = 1 } = options ?? {};
    const barrier = SharedBarrier.create({ participants, spins });
    const lengthMax = Math.floor(RING_WORDS_MAX / 4 / participants);
    checkInteger("length", length, 1, lengthMax, "limit");
    const memory = new SharedArrayBuffer(8 * 2 * participants * length);
    return { kind: "group", memory, barrier: barrier.share() };
  }

  /**
   * Joins a group, once in each of its threads, before the first call.
   *
   * @param handle What {@linkcode create} gave.
   * @param rank This thread's rank, from 0; no other has it.
   * @returns The group, as this thread sees it.
   * @throws {MmsbError} `usage` where it is no such handle, `out-of-bounds` for a rank that the group has not.
   */
  static attach(handle: GroupHandle, rank: number): SharedGroup {
    if (handle?.kind !== "group" || !(handle.memory instanceof SharedArrayBuffer)) {
      throw new MmsbError("usage", "Cannot attach a group: give the handle that create() gave");
    }
    return new SharedGroup(handle, rank);
  }

  /**
   * Puts the values of all participants together, place by place, and blocks this thread until all have given theirs.
   *
   * @param how What is made of them.
   * @param values This participant's, as many as the others'.
   * @param options How long to wait; the group is broken where that is too long.
   * @returns The results, the same to the bit in every thread.
   * @throws {MmsbError} `worker` where a participant did not come; `usage` or `out-of-bounds` for values that cannot be.
   */
  allReduce(how: Reduction, values: ArrayLike<number>, options: WaitOptions = {}): Float64Array {
    const reduce = REDUCTIONS[checkOneOf("reduction", how, Object.keys(REDUCTIONS) as Reduction[])];
    const first = this.#exchange(values, options);
    const { length } = values;
    const results = this.#values.slice(first, first + length);
    for (let rank = 1; rank < this.participants; rank++) {
      const from = first + rank * this.length;
      for (let i = 0; i < length; i++) results[i] = reduce(results[i], this.#values[from + i]);
    }
    return new Float64Array(results);
  }

  /**
   * Gives each participant the values of all, by rank, and blocks this thread until all have given theirs.
   *
   * @param values This participant's, as many as the others'.
   * @param options How long to wait; the group is broken where that is too long.
   * @returns All values, those of rank 0 first.
   * @throws {MmsbError} As {@linkcode allReduce}.
   */
  allGather(values: ArrayLike<number>, options: WaitOptions = {}): Float64Array {
    const first = this.#exchange(values, options);
    const { length } = values;
    const all = new Float64Array(this.participants * length);
    for (let rank = 0; rank < this.participants; rank++) {
      const from = first + rank * this.length;
      for (let i = 0; i < length; i++) all[rank * length + i] = this.#values[from + i];
    }
    return all;
  }

  /** Breaks the group for all: for one who knows that a participant has died. */
  break(): void {
    this.#barrier.break();
  }

  /** Writes this participant's values and meets the others; gives the place of rank 0's. */
  #exchange(values: ArrayLike<number>, options: WaitOptions): number {
    const length = checkInteger("length of values", values?.length, 0, this.length);
    for (let i = 0; i < length; i++) {
      if (typeof values[i] === "number") continue;
      throw new MmsbError("usage", `Cannot put value ${i} together with others: give a number`, {
        values: { index: i },
      });
    }
    const first = this.#set * this.participants * this.length;
    this.#set = 1 - this.#set;
    const own = first + this.rank * this.length;
    for (let i = 0; i < length; i++) this.#values[own + i] = values[i];
    this.#barrier.arrive(options);
    return first;
  }
}
