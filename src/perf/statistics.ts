/**
 * Medians and ranges of a few figures.
 *
 * Medians and not means, because what disturbs a timed run (another process, a sync of the disk) only
 * ever makes it slower, and sometimes much slower: one such run moves a mean, and not a median.
 */

/**
 * The middle of some figures.
 *
 * @param figures At least one, in any order.
 * @returns The middle one, the mean of the middle two where they are even in number; NaN where one of
 * them is.
 *
 * @example Odd and even
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(medianOf([9, 1, 2]), 2);
 * assert.equal(medianOf([9, 1, 2, 4]), 3);
 * ```
 */
export function medianOf(figures: readonly number[]): number {
  if (figures.some(Number.isNaN)) return NaN;
  const sorted = figures.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The least and the largest of some figures.
 *
 * @param figures At least one.
 * @returns Both.
 */
export function rangeOf(figures: readonly number[]): readonly [number, number] {
  return [Math.min(...figures), Math.max(...figures)];
}
