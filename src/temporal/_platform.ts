/**
 * The one place of this folder that reads the machine's wall clock.
 *
 * Everything else takes its clock as a parameter, so that a test can steer it and the same inputs
 * give the same bytes.
 *
 * The wall clock is read once, when the thread starts, as `performance.timeOrigin`; after that
 * `performance.now()`, which is monotonic, counts on from it. So the result never goes back within
 * a thread, and neither follows when the system's clock is set or slewed later; each thread has an
 * origin of its own. How wrong this is nobody has told us: the bound is the 100 ms that a machine
 * without a synchronisation report gets.
 *
 * Cost: one call into the runtime, about 100 ns.
 */

/** The thread's start, whole µs since the Unix epoch; rounded once so that the sum stays exact. */
const originUs = Math.round(performance.timeOrigin * 1000);

/** Bound of the error where nothing reports one, in µs. */
const UNKNOWN_ERROR_US = 100_000;

/**
 * The system's time.
 *
 * @returns Whole µs since the Unix epoch; never less than the result before, in one thread.
 *
 * @example A clock that runs on it
 * ```ts
 * import { ok } from "node:assert/strict";
 *
 * const before = systemNowUs();
 *
 * ok(Number.isSafeInteger(before));
 * ok(systemNowUs() >= before);
 * ```
 */
export function systemNowUs(): number {
  return originUs + Math.floor(performance.now() * 1000);
}

/**
 * How far {@linkcode systemNowUs} may be from true time, either way.
 *
 * @returns µs; 100,000 as long as no synchronisation service is asked.
 *
 * @example Not better than the clock
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(systemClockErrorUs(), 100_000);
 * ```
 */
export function systemClockErrorUs(): number {
  return UNKNOWN_ERROR_US;
}

/**
 * Milliseconds from an arbitrary start; never goes back. For durations only.
 *
 * @returns Milliseconds, with fractions.
 */
export function monotonicNowMs(): number {
  return performance.now();
}
