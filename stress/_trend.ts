/**
 * Trends over time, judged so that a busy machine does not fail them and a leak does not pass: medians where a mean
 * would follow one bad moment, and a verdict only on what stands above the noise of the samples themselves.
 */

/** A line through samples. */
export interface Trend {
  /** Units that it rises in a unit of time: the median of the slopes between all pairs (Theil–Sen). */
  readonly slope: number;
  /** Its rise from the first sample to the last. */
  readonly growth: number;
  /** Three standard errors of the rise, by the spread of the samples about the line. */
  readonly noise: number;
  /** Median of the samples. */
  readonly median: number;
}

/** Samples that pairs are made of, at most: a day's worth is thinned. */
const SAMPLES_MAX = 500;

/** The line through samples at times; both of one length, times rising. */
export function trendOf(times: readonly number[], values: readonly number[]): Trend {
  const step = Math.max(1, Math.ceil(times.length / SAMPLES_MAX));
  const at = times.map((_, i) => i).filter((i) => i % step === 0);
  const slopes: number[] = [];
  for (let i = 0; i < at.length; i++) {
    for (let k = i + 1; k < at.length; k++) {
      const span = times[at[k]] - times[at[i]];
      if (span > 0) slopes.push((values[at[k]] - values[at[i]]) / span);
    }
  }
  const slope = slopes.length === 0 ? 0 : median(slopes), middle = median(values);
  const centre = median(values.map((value, i) => value - slope * times[i]));
  const spread = spreadOf(values.map((value, i) => value - slope * times[i] - centre));
  const length = times.length < 2 ? 0 : times[times.length - 1] - times[0];
  // Of evenly spaced samples the standard error of the slope is spread·√12/(length·√n).
  const noise = 3 * spread * Math.sqrt(12 / Math.max(1, values.length));
  return { slope, growth: slope * length, noise, median: middle };
}

/** The middle of numbers. */
export function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >>> 1;
  if (sorted.length === 0) return NaN;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** The standard deviation as the median of distances tells it: one bad moment does not widen it. */
export function spreadOf(values: readonly number[]): number {
  const middle = median(values);
  return 1.4826 * median(values.map((value) => Math.abs(value - middle)));
}

/** A quantile: the smallest of which at least that share is no larger. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** What came of a look at two ends of a run. */
export interface Drift {
  readonly first: number;
  readonly last: number;
  /** Share by which the last third lies above the first: 0.1 for a tenth. */
  readonly drift: number;
  /** Three standard errors of it. */
  readonly noise: number;
}

/** The median of the last third beside that of the first. */
export function driftOf(values: readonly number[]): Drift {
  const third = Math.max(1, Math.floor(values.length / 3));
  const head = values.slice(0, third), tail = values.slice(-third);
  const first = median(head), last = median(tail);
  // 1.253: the standard error of a median is so much larger than that of a mean.
  const error = 1.253 * Math.hypot(spreadOf(head), spreadOf(tail)) / Math.sqrt(third);
  return { first, last, drift: (last - first) / first, noise: 3 * error / first };
}
