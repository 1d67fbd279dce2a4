/**
 * Retry: do it again, later and later, where that can help.
 *
 * The wait before try n is drawn evenly from 0 to min(delayMsMax, delayMsMin × 2ⁿ): exponential
 * backoff with full jitter, which of the ways compared in "Exponential Backoff And Jitter" (AWS
 * Architecture Blog, 2015) ends the work of many clients with the fewest calls. Only errors whose
 * code says that a retry can help are tried again; everything else goes straight to the caller.
 *
 * Chance and time come in as parameters, so that a test can steer both. Where no `random` is given
 * each wait is half of its bound: the same in every run, and no help where many clients failed
 * together; those pass `Math.random`.
 *
 * Cost: nothing where the first try succeeds.
 */

import { checkInteger, checkNumber, checkType } from "./assert.ts";
import { isMmsbError } from "./errors.ts";

/** Options of {@linkcode retry}. */
export interface RetryOptions {
  /** Most calls of the function, the first included; 5 if left out. */
  readonly attempts?: number | undefined;
  /** Upper bound of the first wait, in milliseconds, doubled for each further one; 10 if left out. */
  readonly delayMsMin?: number | undefined;
  /** Upper bound of every wait, in milliseconds; 1000 if left out. */
  readonly delayMsMax?: number | undefined;
  /** Gives a number from 0 up to 1, 1 excluded; always 0.5 if left out. */
  readonly random?: (() => number) | undefined;
  /** Waits; by `setTimeout` if left out. Settles early where the signal aborts. */
  readonly sleep?: ((delayMs: number, signal?: AbortSignal) => Promise<void>) | undefined;
  /** Ends the tries, and a wait in progress, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Most calls of a function under {@linkcode retry}: past this a retry hides an outage. */
export const RETRY_ATTEMPTS_MAX = 1000;

/** Longest bound of a wait under {@linkcode retry}, in milliseconds: one hour. */
export const RETRY_DELAY_MS_MAX = 3_600_000;

/**
 * Calls a function until it succeeds, fails for good, or the attempts are spent.
 *
 * @typeParam T What the function gives.
 * @param fn The function; it gets the number of the attempt, from 1. A write that depends on what
 * was read reads inside it, so that each attempt starts from the present state.
 * @param options How often, how long, and by which chance.
 * @returns What the first successful call gave.
 * @throws The error of the last call, unchanged; the signal's reason where it aborted.
 *
 * @example The second try succeeds
 * ```ts
 * import { MmsbError, retry } from "@mmsb/mmsb";
 * import assert from "node:assert/strict";
 *
 * const result = await retry((attempt) => {
 *   if (attempt === 1) throw new MmsbError("network", "Cannot reach the server: no answer");
 *   return attempt;
 * }, { delayMsMin: 1 });
 * assert.equal(result, 2);
 * ```
 */
export async function retry<T>(
  fn: (attempt: number) => T | Promise<T>,
  options: RetryOptions = {},
): Promise<T> {
  checkType("fn", fn, "function");
  const { attempts = 5, delayMsMin = 10, delayMsMax = 1000, signal } = options;
  const { random = half, sleep = sleepByTimer } = options;
  checkInteger("attempts", attempts, 1, RETRY_ATTEMPTS_MAX);
  checkNumber("delayMsMin", delayMsMin, 0, RETRY_DELAY_MS_MAX);
  checkNumber("delayMsMax", delayMsMax, delayMsMin, RETRY_DELAY_MS_MAX);

  for (let attempt = 1;; attempt++) {
    signal?.throwIfAborted();
    try {
      return await fn(attempt);
    } catch (error) {
      if (attempt === attempts || !isMmsbError(error) || !error.retryable) throw error;
    }
    signal?.throwIfAborted();
    const delayMsBound = Math.min(delayMsMax, delayMsMin * 2 ** (attempt - 1));
    await sleep(random() * delayMsBound, signal);
  }
}

function half(): number {
  return 0.5;
}

function sleepByTimer(delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, delayMs);
    signal?.addEventListener("abort", done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
  });
}
