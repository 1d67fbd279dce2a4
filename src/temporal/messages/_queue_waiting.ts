/**
 * Sleeping until a queue has a message, or room for one.
 *
 * Who sleeps says so, and then looks once more under the lock; who changes something looks under the lock whether anybody
 * sleeps. One of them comes second and sees the other; what is done between the look and the sleep changes the word
 * that is slept on. As time alone can make a message ready, a
 * sleeper also wakes when the next timer of the queue is due by its clock, and every 50 ms while there are any: a clock
 * may be set forward.
 *
 * `Atomics.waitAsync` keeps no process alive: a timer that does nothing holds it until the wait is over.
 */
import { MmsbError } from "../../base/errors.ts";

/** Longest sleep while timers are set, in ms. */
const LOOK_MS = 50;
/** Longest period of a timer. */
const HOLD_MS = 2 ** 31 - 1;

/** What a thread sleeps for: where it is signalled and where sleepers are counted. */
export interface SleepPlace {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly signalAt: number;
  readonly sleepersAt: number;
  /** Longest sleep in ms. */
  readonly lookMs: number;
}

/** Tries; gives 0 or more when the wait is over, or −1 less the ms until something is due (−Infinity: nothing is). */
export type Attempt = () => number;

/** Blocks this thread until an attempt is over or time is up; gives its last result, −1 where it was not over. */
export function sleepUntil(place: SleepPlace, attempt: Attempt, waitMs: number): number {
  const { words, signalAt, sleepersAt, lookMs } = place;
  const endMs = performance.now() + waitMs;
  Atomics.add(words, sleepersAt, 1);
  try {
    for (;;) {
      const seen = Atomics.load(words, signalAt);
      const result = attempt();
      if (result >= 0) return result;
      const leftMs = endMs - performance.now();
      if (!(leftMs > 0)) return -1;
      Atomics.wait(words, signalAt, seen, sleepMs(result, Math.min(leftMs, lookMs)));
    }
  } finally {
    Atomics.sub(words, sleepersAt, 1);
  }
}

/** The same without blocking. */
export async function sleepUntilAsync(
  place: SleepPlace,
  attempt: Attempt,
  waitMs: number,
): Promise<number> {
  const { words, signalAt, sleepersAt, lookMs } = place;
  const endMs = performance.now() + waitMs;
  const hold = setInterval(() => {}, HOLD_MS);
  Atomics.add(words, sleepersAt, 1);
  try {
    for (;;) {
      const seen = Atomics.load(words, signalAt);
      const result = attempt();
      if (result >= 0) return result;
      const leftMs = endMs - performance.now();
      if (!(leftMs > 0)) return -1;
      const waiting = Atomics.waitAsync(
        words,
        signalAt,
        seen,
        sleepMs(result, Math.min(leftMs, lookMs)),
      );
      if (waiting.async) await waiting.value;
    }
  } finally {
    Atomics.sub(words, sleepersAt, 1);
    clearInterval(hold);
  }
}

/** Wakes sleepers; called where some were seen. */
export function wake({ words, signalAt }: SleepPlace, count: number): void {
  Atomics.add(words, signalAt, 1);
  Atomics.notify(words, signalAt, count);
}

/** Checks a time to wait. */
export function checkWait(waitMs: unknown, otherwise: number): number {
  if (waitMs === undefined) return otherwise;
  if (typeof waitMs === "number" && waitMs >= 0) return waitMs;
  throw new MmsbError(
    "usage",
    `Cannot wait ${
      typeof waitMs === "number" ? waitMs : typeof waitMs
    } ms: give a number from 0, Infinity to wait for ever`,
    { values: { waitMs } },
  );
}

function sleepMs(result: number, leftMs: number): number {
  const dueMs = -1 - result;
  return dueMs === Infinity ? leftMs : Math.min(leftMs, LOOK_MS, Math.max(1, Math.ceil(dueMs)));
}
