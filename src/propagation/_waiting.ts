/**
 * Sleeping until another thread has changed something, without ever missing the change.
 *
 * The one who sleeps and the one who wakes meet in two steps each, in opposite order: the sleeper says that it
 * sleeps and then looks once more; the waker changes and then looks whether anybody sleeps. All four are sequentially
 * consistent, so at least one of them sees the other (Dekker's pattern). Where the sleeper is seen between its look and its
 * sleep, the word that it would sleep on has another value by then and `Atomics.wait` returns at once.
 *
 * So a wake-up costs the waker one load where nobody sleeps, and a system call (1 to 5 µs) only where somebody does.
 *
 * In the main thread `Atomics.wait` would stop everything else there: the asynchronous form takes
 * `Atomics.waitAsync`, whose promise keeps no process alive. A timer that does nothing holds it until the wait is over.
 */

import { MmsbError } from "../base/errors.ts";
import { monotonicNowMs } from "../temporal/mod.ts";

/** How long to wait. */
export interface WaitOptions {
  /** Most milliseconds to wait, 0 or more; for ever if left out. */
  readonly timeoutMs?: number;
}

/** One side of a condition in shared memory: the words that a sleeper writes and looks at. */
export interface Sleepers {
  readonly words: Int32Array<SharedArrayBuffer>;
  /** Word slept on. */
  readonly signalAt: number;
  /** Before the first sleep of one wait. */
  enter(): void;
  /** Before each look; gives the value to sleep on. */
  arm(): number;
  /** After the last one, whatever came of it. */
  leave(): void;
}

/** At most one thread sleeps: a flag, that the waker takes back, so that it wakes once a sleep. */
export class OneSleeper implements Sleepers {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly signalAt: number;

  constructor(words: Int32Array<SharedArrayBuffer>, wantedAt: number) {
    this.words = words;
    this.signalAt = wantedAt;
  }

  enter(): void {}

  arm(): number {
    Atomics.store(this.words, this.signalAt, 1);
    return 1;
  }

  leave(): void {
    Atomics.store(this.words, this.signalAt, 0);
  }
}

/** Wakes the one that may sleep; called where the flag was seen. */
export function wakeOne(words: Int32Array<SharedArrayBuffer>, wantedAt: number): void {
  Atomics.store(words, wantedAt, 0);
  Atomics.notify(words, wantedAt);
}

/** Any number of threads sleep: their number, and a signal that changes with every wake-up. */
export class ManySleepers implements Sleepers {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly signalAt: number;
  readonly #countAt: number;

  constructor(words: Int32Array<SharedArrayBuffer>, countAt: number, signalAt: number) {
    this.words = words;
    this.signalAt = signalAt;
    this.#countAt = countAt;
  }

  enter(): void {
    Atomics.add(this.words, this.#countAt, 1);
  }

  arm(): number {
    return Atomics.load(this.words, this.signalAt);
  }

  leave(): void {
    Atomics.sub(this.words, this.#countAt, 1);
  }
}

/** Wakes as many as there is something for; called where the number of sleepers was not 0. */
export function wakeMany(
  words: Int32Array<SharedArrayBuffer>,
  signalAt: number,
  count: number,
): void {
  Atomics.add(words, signalAt, 1);
  Atomics.notify(words, signalAt, count);
}

/**
 * Blocks this thread until an attempt succeeds.
 *
 * @param sleepers Where to say so.
 * @param attempt Tries; may throw, which ends the wait.
 * @param timeoutMs Most milliseconds in all; 0 only tries once.
 * @param spins Tries before the first sleep.
 * @returns Whether it succeeded.
 */
export function waitUntil(
  sleepers: Sleepers,
  attempt: () => boolean,
  timeoutMs: number,
  spins: number,
): boolean {
  if (attempt()) return true;
  if (timeoutMs === 0) return false;
  for (let i = 0; i < spins; i++) {
    pause();
    if (attempt()) return true;
  }
  const deadline = new Deadline(timeoutMs);
  sleepers.enter();
  try {
    for (;;) {
      const seen = sleepers.arm();
      if (attempt()) return true;
      const { words, signalAt } = sleepers;
      const outcome = Atomics.wait(words, signalAt, seen, deadline.leftMs());
      if (outcome === "timed-out") return attempt();
    }
  } finally {
    sleepers.leave();
  }
}

/** The same without blocking: the promise settles when an attempt has succeeded or time is up. */
export async function waitUntilAsync(
  sleepers: Sleepers,
  attempt: () => boolean,
  timeoutMs: number,
): Promise<boolean> {
  if (attempt()) return true;
  if (timeoutMs === 0) return false;
  const deadline = new Deadline(timeoutMs);
  const hold = setInterval(() => {}, HOLD_MS);
  sleepers.enter();
  try {
    for (;;) {
      const seen = sleepers.arm();
      if (attempt()) return true;
      const { words, signalAt } = sleepers;
      const waiting = Atomics.waitAsync(words, signalAt, seen, deadline.leftMs());
      const outcome = waiting.async ? await waiting.value : waiting.value;
      if (outcome === "timed-out") return attempt();
    }
  } finally {
    sleepers.leave();
    clearInterval(hold);
  }
}

/** Checks a time to wait. */
export function checkTimeout(timeoutMs: unknown): number {
  if (timeoutMs === undefined) return Infinity;
  if (typeof timeoutMs !== "number" || !(timeoutMs >= 0)) {
    throw new MmsbError(
      "usage",
      `Cannot wait ${String(timeoutMs)} ms: give a number from 0, or nothing to wait for ever`,
      { values: { timeoutMs } },
    );
  }
  return timeoutMs;
}

/** When a wait ends; reads no clock where it never does. */
export class Deadline {
  readonly #atMs: number;

  constructor(timeoutMs: number) {
    this.#atMs = timeoutMs === Infinity ? Infinity : monotonicNowMs() + timeoutMs;
  }

  leftMs(): number {
    return this.#atMs === Infinity ? Infinity : Math.max(0, this.#atMs - monotonicNowMs());
  }
}

/** Longest period of a timer. */
export const HOLD_MS = 2 ** 31 - 1;

/** Gives the core a moment between two looks, where the engine can. */
export const pause: () => void = (Atomics as { pause?: () => void }).pause ?? (() => {});
