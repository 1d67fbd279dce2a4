/**
 * A barrier: a fixed number of threads, none of which goes on before all have arrived; again and again.
 *
 * Two words in shared memory: how many have arrived, and the phase, which the last one to arrive moves on after it has set
 * the first back (so a thread that runs ahead into the next phase counts for that one). The others look at
 * the phase for a while and then sleep on it. The phase's top bit says that the barrier is broken: a thread
 * that waited too long, or whoever knows that one has died, breaks it for all, and for good.
 *
 * Looking before sleeping pays only where there are no more threads than cores; otherwise the thread waited for
 * may need the core.
 *
 * Cost: some 6 µs for 2 threads that sleep, below 1 µs where both look.
 */

import { checkInteger, checkKeys } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";
import { CLOSED, POSITION } from "./ring_memory.ts";
import { checkTimeout, Deadline, HOLD_MS, pause, type WaitOptions } from "./_waiting.ts";

/** Most threads of a barrier. */
const PARTICIPANTS_MAX = 1024;

const PARTICIPANTS = 0;
const SPINS = 1;
const ARRIVED = 32;
const PHASE = 64;
const WORDS = 96;

/** How to make a barrier. */
export interface BarrierOptions {
  /** Threads that it waits for. */
  readonly participants: number;
  /** Looks before a sleep; give some thousand where there are no more threads than cores. 0 if left out. */
  readonly spins?: number;
}

/** What another thread needs to attach a barrier, for `postMessage`. */
export interface BarrierHandle {
  /** Always `"barrier"`. */
  readonly kind: "barrier";
  /** Its memory. */
  readonly memory: SharedArrayBuffer;
}

/**
 * A barrier between threads, for any number of phases.
 *
 * @example Of two, the second to arrive lets both go on
 * ```ts
 * import assert from "node:assert/strict";
 * import { SharedBarrier } from "@mmsb/mmsb";
 *
 * const barrier = SharedBarrier.create({ participants: 2 });
 * const there = SharedBarrier.attach(barrier.share()); // in another thread: postMessage(barrier.share())
 * const first = barrier.arriveAsync();
 * assert.equal(there.arrive(), 1);
 * assert.equal(await first, 1);
 * ```
 */
export class SharedBarrier {
  /** Threads that it waits for. */
  readonly participants: number;
  readonly #memory: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #spins: number;

  private constructor(memory: SharedArrayBuffer) {
    this.#memory = memory;
    this.#words = new Int32Array(memory, 0, WORDS);
    this.participants = this.#words[PARTICIPANTS];
    this.#spins = this.#words[SPINS];
  }

  /**
   * Makes a barrier.
   *
   * @param options How many threads, and how long they look before they sleep.
   * @returns The barrier, in phase 0.
   * @throws {MmsbError} `usage` or `limit` for options that cannot be.
   */
  static create(options: BarrierOptions): SharedBarrier {
    checkKeys("SharedBarrier", options, ["participants", "spins"]);
    const { participants, spins = 0 } = options ?? {};
    const memory = new SharedArrayBuffer(4 * WORDS);
    const words = new Int32Array(memory);
    words[PARTICIPANTS] = checkInteger("participants", participants, 1, PARTICIPANTS_MAX, "limit");
    words[SPINS] = checkInteger("spins", spins, 0, 1_000_000_000, "limit");
    return new SharedBarrier(memory);
  }

  /**
   * Attaches a barrier of another thread.
   *
   * @param handle What {@linkcode share} gave.
   * @returns The barrier, as this thread sees it.
   * @throws {MmsbError} `usage` where it is no such handle.
   */
  static attach(handle: BarrierHandle): SharedBarrier {
    const memory = handle?.memory;
    if (
      handle?.kind !== "barrier" || !(memory instanceof SharedArrayBuffer) ||
      memory.byteLength !== 4 * WORDS
    ) {
      throw new MmsbError("usage", "Cannot attach a barrier: give the handle that share() gave");
    }
    return new SharedBarrier(memory);
  }

  /** Gives what another thread attaches, for `postMessage`. */
  share(): BarrierHandle {
    return { kind: "barrier", memory: this.#memory };
  }

  /** Whether it was broken: it never lets anybody go on again. */
  get broken(): boolean {
    return Atomics.load(this.#words, PHASE) < 0;
  }

  /**
   * Arrives, and blocks this thread until all have.
   *
   * @param options How long to wait; the barrier is broken where that is too long.
   * @returns The phase that begins now, from 1.
   * @throws {MmsbError} `worker` where not all arrived in time, or where the barrier was broken.
   */
  arrive(options: WaitOptions = {}): number {
    const deadline = new Deadline(checkTimeout(options.timeoutMs));
    const phase = this.#arrive();
    if (phase < 0) return phase & POSITION;
    for (let i = 0; i < this.#spins; i++) {
      if (Atomics.load(this.#words, PHASE) !== phase) return this.#begun();
      pause();
    }
    // Woken is not enough: the wake-up of the phase before may come so late that it finds us in this one.
    do {
      const outcome = Atomics.wait(this.#words, PHASE, phase, deadline.leftMs());
      if (outcome === "timed-out") this.#giveUp(phase);
    } while (Atomics.load(this.#words, PHASE) === phase);
    return this.#begun();
  }

  /**
   * Arrives, and waits without blocking until all have. The process stays alive meanwhile.
   *
   * @param options How long to wait; the barrier is broken where that is too long.
   * @returns The phase that begins then. Rejects as {@linkcode arrive} throws.
   */
  async arriveAsync(options: WaitOptions = {}): Promise<number> {
    const deadline = new Deadline(checkTimeout(options.timeoutMs));
    const phase = this.#arrive();
    if (phase < 0) return phase & POSITION;
    const hold = setInterval(() => {}, HOLD_MS);
    try {
      do {
        const waiting = Atomics.waitAsync(this.#words, PHASE, phase, deadline.leftMs());
        const outcome = waiting.async ? await waiting.value : waiting.value;
        if (outcome === "timed-out") this.#giveUp(phase);
      } while (Atomics.load(this.#words, PHASE) === phase);
      return this.#begun();
    } finally {
      clearInterval(hold);
    }
  }

  /** Breaks the barrier for all, for good: for one who knows that a thread will never arrive. */
  break(): void {
    Atomics.or(this.#words, PHASE, CLOSED);
    Atomics.notify(this.#words, PHASE);
  }

  /** Counts this thread in; gives the phase to wait out, or the next one with the top bit if all are here. */
  #arrive(): number {
    const phase = Atomics.load(this.#words, PHASE);
    if (phase < 0) this.#refuse();
    if (Atomics.add(this.#words, ARRIVED, 1) + 1 < this.participants) return phase;
    Atomics.store(this.#words, ARRIVED, 0);
    const next = (phase + 1) & POSITION;
    if (Atomics.compareExchange(this.#words, PHASE, phase, next) !== phase) this.#refuse();
    Atomics.notify(this.#words, PHASE);
    return next | CLOSED;
  }

  /** Time is up: breaks a phase that has not begun; if it just has, all is well. */
  #giveUp(phase: number): void {
    const found = Atomics.compareExchange(this.#words, PHASE, phase, phase | CLOSED);
    if (found === phase) Atomics.notify(this.#words, PHASE);
  }

  #begun(): number {
    const phase = Atomics.load(this.#words, PHASE);
    if (phase < 0) this.#refuse();
    return phase;
  }

  #refuse(): never {
    throw new MmsbError(
      "worker",
      `Cannot pass a barrier of ${this.participants} threads as it is broken: one did not arrive in ` +
        "time, or was known to be dead",
      { values: { participants: this.participants } },
    );
  }
}
