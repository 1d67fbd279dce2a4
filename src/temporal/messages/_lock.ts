/**
 * A lock between threads: one word, 0 free, 1 held, 2 held and somebody may sleep (Drepper, "Futexes Are Tricky",
 * 2011). The word behind it names the last holder, so that a thread that waits too long can say for whom.
 *
 * A thread that dies while it holds the lock leaves the structure half changed, and nobody can take it over
 * safely: the others get an error after a limit in place of hanging, each call anew. Locked parts
 * are short (some 50 µs for a thousand messages) and run no code of a caller, so only a killed thread can do that.
 *
 * Cost: one compare-and-swap and one exchange where nobody else is there, some 25 ns together.
 */
import { MmsbError } from "../../base/errors.ts";
import { LOCK, LOCK_HOLDER } from "./_queue_layout.ts";

/** How long a thread waits for the lock before it takes the holder for dead, in ms. */
export const LOCK_WAIT_MS = 10_000;

/** Takes the lock. */
export function lock(words: Int32Array, handle: number, spins: number, waitMs: number): void {
  if (Atomics.compareExchange(words, LOCK, 0, 1) !== 0) lockSlowly(words, spins, waitMs);
  words[LOCK_HOLDER] = handle;
}

/** Gives it back. */
export function unlock(words: Int32Array): void {
  if (Atomics.exchange(words, LOCK, 0) !== 1) Atomics.notify(words, LOCK, 1);
}

function lockSlowly(words: Int32Array, spins: number, waitMs: number): void {
  for (let i = 0; i < spins; i++) {
    pause();
    if (Atomics.load(words, LOCK) === 0 && Atomics.compareExchange(words, LOCK, 0, 1) === 0) return;
  }
  while (Atomics.exchange(words, LOCK, 2) !== 0) {
    // Whoever wakes finds the lock free or in another's hands; only a whole wait without either counts.
    if (Atomics.wait(words, LOCK, 2, waitMs) === "timed-out") {
      if (Atomics.exchange(words, LOCK, 2) === 0) return;
      refuseDead(words[LOCK_HOLDER], waitMs);
    }
  }
}

function refuseDead(holder: number, waitMs: number): never {
  throw new MmsbError(
    "worker",
    `Cannot use the queue as handle ${holder} has held its lock for ${waitMs} ms: ` +
      "its thread was ended in the middle of a call; make a new queue",
    { values: { holder, waitMs } },
  );
}

/** Gives the core a moment between two looks, where the engine can. */
const pause: () => void = (Atomics as { pause?: () => void }).pause ?? (() => {});
