/**
 * When a change is more than noise.
 *
 * The rule: the medians of the two sides must differ by more than `t · 1.253 · σ · √(1/nA + 1/nB)`.
 * σ is the spread of a single run, taken from both sides together as 1.4826 × the median absolute
 * deviation of each run from its side's median (for a normal distribution that is the standard
 * deviation, and a run that was disturbed does not move it); 1.253 is what the median of a few runs
 * varies more than their mean; t is Student's t at 99.9 % for nA + nB − 2 degrees of freedom, which is
 * large for few runs, as their spread is hardly known. Measured over 3,000 trials each (normal,
 * log-normal, heavy tails, a seventh of the runs disturbed): of two sides with the same distribution
 * fewer than 1 in 100 lie further apart; of a true 20 % with a noise of 2 % half are found with 3 runs a
 * side and all with 5; with a noise of 5 %, 2 in 5 with 5 runs and nearly all with 10.
 *
 * One run says nothing of its own noise. With one run on either side a change counts only past
 * {@linkcode ONE_RUN_TOLERANCE} of the figure ({@linkcode ONE_RUN_TOLERANCE_BYTES} of a size), and past the rule above where the other side has runs
 * enough to say. That a machine is slower today than it was yesterday no rule over one session can see:
 * pool runs of several sessions, or compare ratios.
 */

import { medianOf } from "./statistics.ts";

/** A change of a time or rate of a single run up to this part of it is taken for noise. */
export const ONE_RUN_TOLERANCE = 0.25;

/** The same for a size in memory, which differs little from run to run. */
export const ONE_RUN_TOLERANCE_BYTES = 0.05;

/** Fewest rounds whose range says how they vary. */
const ROUNDS_MIN = 5;

/** How far two figures may lie apart by chance. */
export interface Noise {
  /** The distance, in the figures' unit. */
  readonly distance: number;
  /** Whether both sides have runs enough to say; if not, the tolerance for one run is in it. */
  readonly isKnown: boolean;
}

/** σ of a normal distribution through its median absolute deviation. */
const SIGMA_OF_MAD = 1.4826;
/** Standard error of a median through that of a mean, √(π/2). */
const MEDIAN_OF_MEAN = 1.2533;

/** Student's t, two-sided at 99.9 %, by degrees of freedom; between two, the one below is taken. */
const STUDENT: readonly (readonly [number, number])[] = [
  [1, 636.6],
  [2, 31.6],
  [3, 12.92],
  [4, 8.61],
  [5, 6.87],
  [6, 5.96],
  [7, 5.41],
  [8, 5.04],
  [9, 4.78],
  [10, 4.59],
  [12, 4.32],
  [15, 4.07],
  [20, 3.85],
  [30, 3.65],
  [60, 3.46],
  [120, 3.37],
];

/**
 * The noise of two sides.
 *
 * @param a Figures of one side, at least one.
 * @param b Figures of the other, at least one.
 * @param tolerance The part of a figure that is noise where a side has one run only.
 * @returns How far their medians may lie apart by chance.
 *
 * @example Five runs a side
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const { distance, isKnown } = noiseOf([100, 103, 98, 101, 97], [121, 118, 123, 120, 119]);
 * assert(isKnown && distance < 20);
 * assert(!noiseOf([100], [120]).isKnown);
 * ```
 */
export function noiseOf(
  a: readonly number[],
  b: readonly number[],
  tolerance: number = ONE_RUN_TOLERANCE,
): Noise {
  const freedom = a.length + b.length - 2;
  const least = tolerance * Math.abs(medianOf(a));
  if (freedom === 0) return { distance: least, isKnown: false };
  const sigma = SIGMA_OF_MAD * medianOf([...deviations(a), ...deviations(b)]);
  const error = MEDIAN_OF_MEAN * sigma * Math.sqrt(1 / a.length + 1 / b.length);
  const distance = student(freedom) * error;
  if (a.length > 1 && b.length > 1) return { distance, isKnown: true };
  return { distance: Math.max(distance, least), isKnown: false };
}

/**
 * The noise of two sides of which only medians and ranges are known: whatever lies between two ranges
 * that do not overlap is no noise. Two times seven rounds of one distribution have such ranges once in
 * 1,700 times, two times five once in 126; of fewer than five the ranges are taken twice as wide.
 *
 * @param a Median, least and largest of one side.
 * @param b The same of the other.
 * @returns How far their medians may lie apart by chance; not known where a range is a point, or
 * has few rounds.
 */
export function noiseOfRanges(a: Ranged, b: Ranged): Noise {
  const [below, above] = a.median <= b.median ? [a, b] : [b, a];
  const distance = (below.most - below.median) + (above.median - above.least);
  const rounds = Math.min(a.rounds, b.rounds);
  if (a.least < a.most && b.least < b.most && rounds >= ROUNDS_MIN) {
    return { distance, isKnown: true };
  }
  return {
    distance: Math.max(2 * distance, ONE_RUN_TOLERANCE * Math.abs(a.median)),
    isKnown: false,
  };
}

/** A median and its range over some rounds. */
export interface Ranged {
  /** How many rounds; the fewer, the less their range says. */
  readonly rounds: number;
  /** The median. */
  readonly median: number;
  /** The least. */
  readonly least: number;
  /** The largest. */
  readonly most: number;
}

/** Distances from the median; of an odd number the median's own, always 0, says nothing. */
function deviations(figures: readonly number[]): number[] {
  const median = medianOf(figures);
  const distances = figures.map((figure) => Math.abs(figure - median)).sort((x, y) => x - y);
  return figures.length % 2 === 1 ? distances.slice(1) : distances;
}

function student(freedom: number): number {
  return STUDENT.findLast(([degrees]) => degrees <= freedom)![1];
}
