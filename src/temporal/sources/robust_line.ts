/**
 * A line through points of which some are wrong: Siegel's repeated medians ("Robust Regression Using Repeated Medians",
 * Biometrika 69, 1982).
 *
 * The slope is the median over all points of the median slope from that point to the others. Nearly half of the points
 * can be anything (a congested network, a step of a server) without carrying the line away; least squares follows a
 * single one.
 *
 * Cost: n²/2 slopes and their medians, so points are few: 64 points take some 0.2 ms.
 */
import { checkInteger } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";

/** Most points of a fit: memory and time grow with their square. */
export const ROBUST_LINE_POINTS_MAX = 1024;

/** From the median of absolute deviations to a standard deviation of normally distributed ones. */
const DEVIATION_PER_MEDIAN = 1.4826;

/** A line, and how well the points lie on it. */
export interface RobustLine {
  /** Rise of y a unit of x. */
  readonly slope: number;
  /** y at x = 0. */
  readonly intercept: number;
  /** Standard deviation of the slope, as far as the points' scatter tells; Infinity below 3 points. */
  readonly slopeError: number;
  /** Standard deviation of the points from the line, by the median of absolute deviations. */
  readonly residual: number;
}

/**
 * Fits a line.
 *
 * @param x Where the points are; at least two different values.
 * @param y What they are.
 * @param count How many of them count, from the first on; all if left out.
 * @returns The line.
 * @throws {MmsbError} `usage` if there are not two different finite x, more than {@linkcode ROBUST_LINE_POINTS_MAX} points, or a number is not finite.
 *
 * @example One point of five is far away
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const line = fitRobustLine([0, 1, 2, 3, 4], [10, 12, 900, 16, 18]);
 *
 * equal(line.slope, 2);
 * equal(line.intercept, 10);
 * ```
 */
export function fitRobustLine(
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  count: number = x.length,
): RobustLine {
  checkInteger("count of points", count, 2, ROBUST_LINE_POINTS_MAX, "usage");
  checkPoints(x, y, count);
  const slopes: number[] = [];
  const across: number[] = [];
  for (let i = 0; i < count; i++) {
    across.length = 0;
    for (let j = 0; j < count; j++) {
      if (x[i] !== x[j]) across.push((y[j] - y[i]) / (x[j] - x[i]));
    }
    if (across.length > 0) slopes.push(medianOf(across));
  }
  if (slopes.length === 0) {
    throw new MmsbError("usage", "Cannot fit a line as all points have the same x: give others");
  }
  const slope = medianOf(slopes);
  const rests = Array.from({ length: count }, (_, i) => y[i] - slope * x[i]);
  const intercept = medianOf(rests);
  const residual = DEVIATION_PER_MEDIAN * medianOf(rests.map((rest) => Math.abs(rest - intercept)));
  return { slope, intercept, residual, slopeError: slopeErrorOf(x, count, residual) };
}

/**
 * That of least squares, widened to what repeated medians reach: with normally distributed scatter their variance is about
 * a half larger.
 */
function slopeErrorOf(x: ArrayLike<number>, count: number, residual: number): number {
  if (count < 3) return Infinity;
  let mean = 0;
  for (let i = 0; i < count; i++) mean += x[i] / count;
  let squares = 0;
  for (let i = 0; i < count; i++) squares += (x[i] - mean) ** 2;
  return Math.sqrt(1.5 / squares) * residual;
}

function checkPoints(x: ArrayLike<number>, y: ArrayLike<number>, count: number): void {
  if (!(x?.length >= count && y?.length >= count)) {
    throw new MmsbError("usage", `Cannot fit a line through ${count} points: give x and y of each`);
  }
  for (let i = 0; i < count; i++) {
    if (Number.isFinite(x[i]) && Number.isFinite(y[i])) continue;
    throw new MmsbError(
      "usage",
      `Cannot fit a line as point ${i} is (${String(x[i])}, ${String(y[i])}): give finite numbers`,
      { values: { index: i, x: x[i], y: y[i] } },
    );
  }
}

/** The median; orders the array. */
function medianOf(values: number[]): number {
  values.sort((a, b) => a - b);
  const middle = values.length >> 1;
  return values.length % 2 === 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}
