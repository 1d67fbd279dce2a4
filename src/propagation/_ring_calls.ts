/**
 * What the calls of both rings have in common: spans of words, copies around the end, and refusals.
 *
 * Copies of up to some dozen words are loops, longer ones `set`, which takes as long for one word as a loop for
 * some thirty but then moves several words a step.
 */

import { checkInteger } from "../base/assert.ts";
import { isMmsbError, MmsbError } from "../base/errors.ts";
import type { WaitOptions } from "./_waiting.ts";

/** RingWords of items on a caller's side. */
export type RingWords = Int32Array | Uint32Array;

/** Which items to push, and how long to wait for room. */
export interface PushOptions extends WaitOptions {
  /** First word of the first item; 0 if left out. */
  readonly start?: number;
  /** Items; all whole ones behind `start` if left out. */
  readonly count?: number;
}

/** Where popped items go, and how long to wait for one. */
export interface PopOptions extends WaitOptions {
  /** Where the first item's words go; 0 if left out. */
  readonly start?: number;
  /** Most items; as many as fit behind `start` if left out. */
  readonly count?: number;
}

/** A call that may wait. */
export interface Call {
  readonly timeoutMs: number;
  /** Tries; says whether nothing is left to do. */
  readonly attempt: () => boolean;
  /** Items done so far. */
  readonly done: () => number;
}

/** From how many words on `set` is quicker than a loop. */
const SET_WORDS_MIN = 48;

/** Checks a span of a caller's words; gives its items. */
export function checkSpan(
  what: "push" | "pop",
  words: RingWords,
  start: number,
  count: number | undefined,
  itemWords: number,
): number {
  if (!(words instanceof Int32Array) && !(words instanceof Uint32Array)) {
    throw new MmsbError("usage", `Cannot ${what} items: give an Int32Array or a Uint32Array`, {
      values: { words },
    });
  }
  // The common case in three comparisons; the others are told apart behind it.
  const left = words.length - start;
  const items = count ?? (itemWords === 1 ? left : Math.floor(left / itemWords));
  if (
    typeof items === "number" && items >= 0 && (items | 0) === items && start >= 0 &&
    (start | 0) === start && items * itemWords <= left
  ) return items;
  checkInteger("start", start, 0, words.length);
  checkInteger("count", count, 0, Math.floor((words.length - start) / itemWords));
  return items;
}

/** Checks a number of items that lie in the ring. */
export function checkCount(count: number, max: number): void {
  if (!(count >= 0 && count <= max && (count | 0) === count)) checkInteger("count", count, 0, max);
}

/** Copies items into a ring, from a slot on and around its end. */
export function copyIn(
  source: RingWords,
  start: number,
  data: Int32Array,
  slot: number,
  items: number,
  itemWords: number,
  capacity: number,
): void {
  const first = Math.min(items, capacity - slot) * itemWords;
  const all = items * itemWords;
  copyWords(source, start, data, slot * itemWords, first);
  if (first < all) copyWords(source, start + first, data, 0, all - first);
}

/** Copies items out of a ring, from a slot on and around its end. */
export function copyOut(
  data: Int32Array,
  slot: number,
  target: RingWords,
  start: number,
  items: number,
  itemWords: number,
  capacity: number,
): void {
  const first = Math.min(items, capacity - slot) * itemWords;
  const all = items * itemWords;
  copyWords(data, slot * itemWords, target, start, first);
  if (first < all) copyWords(data, 0, target, start + first, all - first);
}

function copyWords(
  source: RingWords,
  from: number,
  target: RingWords,
  to: number,
  count: number,
): void {
  if (from === 0 && count === source.length && count >= SET_WORDS_MIN / 2) {
    target.set(source, to);
  } else if (count >= SET_WORDS_MIN) {
    target.set(source.subarray(from, from + count), to);
  } else {
    for (let i = 0; i < count; i++) target[to + i] = source[from + i];
  }
}

/** Refuses a word that is none, or one where items have more. */
export function refuseWord(value: unknown, itemWords = 1): never {
  throw new MmsbError(
    "usage",
    itemWords === 1
      ? `Cannot push ${String(value)}: give an integer of 32 bits`
      : `Cannot push or pop single words as items have ${itemWords}: use tryPush and tryPop`,
    { values: { value, itemWords } },
  );
}

/** Says that a ring is closed. */
export function refuseClosed(what: "push" | "pop", pushed = 0): never {
  throw new MmsbError(
    "closed",
    what === "push"
      ? `Cannot push as the ring is closed: ${pushed} items of this call are in, the others are not`
      : "Cannot pop as the ring is closed and empty: nothing will come any more",
    { values: { pushed } },
  );
}

/** Goes on with an error of a push of which some items are in already. */
export function withPushed(error: unknown, pushed: number): unknown {
  if (!isMmsbError(error, "closed")) return error;
  try {
    refuseClosed("push", pushed);
  } catch (closed) {
    return closed;
  }
}

/** Says that a ring stayed full. */
export function refuseFull(capacity: number, timeoutMs: number, pushed: number): never {
  throw new MmsbError(
    "memory-pressure",
    `Cannot push as the ring of ${capacity} items stayed full for ${timeoutMs} ms: ` +
      `${pushed} items of this call are in, see whether the consumer is alive`,
    { values: { capacity, timeoutMs, pushed } },
  );
}

/** Says that a side which one thread holds was used twice. */
export function refuseSecond(what: "push" | "pop"): never {
  throw new MmsbError(
    "usage",
    `Cannot ${what} as another ${what} of a ring for one ${what}ing thread is under way: ` +
      "wait for it, or use an MpmcRing",
  );
}
