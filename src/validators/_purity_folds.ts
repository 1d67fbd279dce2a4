/**
 * Semirings put to the test: the same folds again, in parts, and their laws on samples.
 */

import { accumulate, checkSemiring, foldSum, type Semiring } from "../physical/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";

/** A column of small integers, whose sums are exact. */
export function columnOf(ring: Semiring, seed: number, length = 500): Float64Array {
  const random = new SeededRandom(seed), isBoolean = ring.name === "boolean";
  return Float64Array.from({ length }, () => random.below(isBoolean ? 2 : 1000));
}

/** Both folds of a column, as text. */
export function foldText(ring: Semiring, column: Float64Array): string {
  const { sum, product } = accumulate(ring, column);
  return `${sum} ${product}`;
}

/** The folds of both halves folded, as text. */
export function foldTextInParts(ring: Semiring, column: Float64Array): string {
  const half = column.length >> 1, parts = [column.subarray(0, half), column.subarray(half)];
  const folded = parts.map((part) => accumulate(ring, part));
  const product = folded.reduce((all, part) => ring.times(all, part.product), ring.one);
  return `${foldSum(ring, folded.map(({ sum }) => sum))} ${product}`;
}

/** The law that fails on some samples, if one does. */
export function brokenLaw(ring: Semiring): string | undefined {
  const samples = ring.name === "boolean" ? [0, 1] : [0, 1, 5, 17, 900];
  return checkSemiring(ring, [ring.zero, ring.one, ...samples]);
}
