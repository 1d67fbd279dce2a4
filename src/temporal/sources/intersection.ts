/**
 * What several servers agree on, and which of them lie: Marzullo's algorithm as RFC 5905 section 11.2.1 uses it.
 *
 * Each server gives an interval that holds true time if the server is right. If at most f of n are wrong, true time lies
 * where at least n − f intervals overlap; with no more than f below n / 2 the others are a majority. f is taken as large as
 * a majority allows: (n − 1) / 2, rounded down. So a server that lies by a little, with an interval that still touches the
 * others', can't pull the result out of the truth either, which the smallest overlap of all would allow.
 *
 * RFC 5905 asks besides that the middles of a majority lie inside. That is not asked here: where paths are asymmetric, an
 * honest server that is far away has its middle outside, though its interval is right.
 *
 * A server is called wrong (a falseticker) if its interval does not touch the result.
 *
 * Cost: a sort of 2n numbers.
 */

/** The result: an interval, in the unit of the edges, and who takes part. */
export interface Intersection {
  /** Lower end. */
  readonly low: number;
  /** Upper end. */
  readonly high: number;
  /** For each interval, whether it touches the result. */
  readonly agrees: readonly boolean[];
}

/**
 * Finds where a majority overlaps.
 *
 * @param lows Lower ends.
 * @param highs Upper ends, none below its lower end.
 * @returns The interval; undefined where no majority overlaps anywhere (or there are no intervals).
 *
 * @example One of three is wrong
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 *
 * const found = intersect([1, 2, 50], [4, 6, 51]);
 *
 * deepEqual(found, { low: 2, high: 4, agrees: [true, true, false] });
 * ```
 */
export function intersect(
  lows: readonly number[],
  highs: readonly number[],
): Intersection | undefined {
  const count = lows.length;
  const needed = count - Math.floor((count - 1) / 2);
  if (count === 0) return undefined;
  const edges = [
    ...lows.map((at) => ({ at, step: 1 })),
    ...highs.map((at) => ({ at, step: -1 })),
  ].sort((a, b) => a.at - b.at || b.step - a.step); // an interval's end still belongs to it
  let depth = 0, low = NaN, high = NaN;
  for (const { at, step } of edges) {
    if (step < 0 && depth >= needed) high = at;
    depth += step;
    if (step > 0 && depth >= needed && Number.isNaN(low)) low = at;
  }
  if (Number.isNaN(low)) return undefined;
  return { low, high, agrees: lows.map((from, i) => from <= high && highs[i] >= low) };
}
