/**
 * What the charts show: which runs of a history can stand beside this one, what each measured, and
 * whether this run is better or worse than what was usual.
 *
 * A figure of another machine, or of a quick run, says nothing about this one, so such runs are left
 * out and counted. Earlier figures are judged by the targets of this run, as a chart has one line.
 * "Better" and "worse" are said only outside the middle 80 % of the earlier figures: a run in ten on
 * either side is noise by that measure, and a verdict of noise costs more trust than none.
 *
 * Cost: a pass over the history for each metric.
 */

import { isComparable, workOf } from "./comparable.ts";
import { formatFigure } from "./figures.ts";
import { holds, type MetricVerdict } from "./judge.ts";
import type { BenchmarkResult } from "./runner.ts";
import { medianOf, rangeOf } from "./statistics.ts";
import type { StoredResult } from "./stored_result.ts";

/** Most runs that a chart shows, this one included: more than this are points without room. */
export const RUNS_MAX = 60;
/** Earlier figures below which nothing is said of better or worse. */
const TREND_MIN = 5;
/** A change smaller than this part is not worth a word, however quiet the history is. */
const CHANGE_MIN = 0.02;

/** The runs that stand beside this one. */
export interface ComparableRuns {
  /** Oldest first, at most {@linkcode RUNS_MAX}; this run is the last. */
  readonly runs: readonly StoredResult[];
  /** How many of the history were left out, by the reason. */
  readonly leftOut: ReadonlyMap<string, number>;
}

/** Chooses the runs of a history that can be compared with one. */
export function comparableRuns(
  run: StoredResult,
  history: readonly StoredResult[],
): ComparableRuns {
  const leftOut = new Map<string, number>();
  const earlier: StoredResult[] = [];
  for (const past of history) {
    if (past.startedAt.getTime() === run.startedAt.getTime()) continue;
    const reason = whyNot(run, past);
    if (reason === undefined) earlier.push(past);
    else leftOut.set(reason, (leftOut.get(reason) ?? 0) + 1);
  }
  earlier.sort((a, b) => a.startedAt.getTime() - b.startedAt.getTime());
  const surplus = Math.max(0, earlier.length - (RUNS_MAX - 1));
  if (surplus > 0) leftOut.set(`older than the last ${RUNS_MAX}`, surplus);
  return { runs: [...earlier.slice(surplus), run], leftOut };
}

function whyNot(run: StoredResult, past: StoredResult): string | undefined {
  if (past.startedAt.getTime() > run.startedAt.getTime()) return "later than this run";
  if (past.quick !== run.quick) return past.quick ? "quick" : "full, while this one is quick";
  if (past.directory !== run.directory) return "of other data";
  if (workOf(past) !== workOf(run)) return "with another device";
  return isComparable(past, run) ? undefined : "of another machine";
}

/** A metric in one run. */
export interface Point {
  /** Place on the axis: 0 is the oldest run. */
  readonly index: number;
  /** The run. */
  readonly run: StoredResult;
  /** The figure; none where the benchmark ran without giving it. */
  readonly value?: number;
  /** Whether it reaches the target that this run has. */
  readonly isMet: boolean;
  /** The lowest and highest of the repeats, where there were several. */
  readonly spread?: readonly [number, number];
}

/** A metric over the runs. */
export interface Series {
  /** The metric, as this run was judged. */
  readonly verdict: MetricVerdict;
  /** The runs in which its benchmark ran, oldest first. */
  readonly points: readonly Point[];
  /** How many runs the axis has. */
  readonly length: number;
}

/** Follows a metric of a benchmark through the runs. */
export function seriesOf(
  id: number,
  verdict: MetricVerdict,
  runs: readonly StoredResult[],
): Series {
  const points = runs.flatMap((run, index): Point[] => {
    const result = run.benchmarks.find((benchmark) => benchmark.id === id);
    if (result === undefined || result.status === "skipped" || result.status === "not built") {
      return [];
    }
    const value = result.metrics[verdict.name];
    if (value === undefined) {
      // A metric that is newer than the run is no failure of the run.
      return result.verdicts.length > 0 ? [] : [{ index, run, isMet: false }];
    }
    const isMet = holds(value, verdict.comparison, verdict.target);
    const spread = spreadOf(result, verdict.name);
    return [{ index, run, value, isMet, ...(spread === undefined ? {} : { spread }) }];
  });
  return { verdict, points, length: runs.length };
}

/** The lowest and highest figure of a metric among the repeats of a run. */
export function spreadOf(
  result: BenchmarkResult,
  name: string,
): readonly [number, number] | undefined {
  const values = result.runs.map((metrics) => metrics[name]).filter(Number.isFinite);
  return values.length < 2 ? undefined : rangeOf(values);
}

/**
 * Whether a metric has room between good and good enough, as times and rates have. The others are
 * checks: a count that must be 0, a share that must be whole, an amount of work that must be done.
 */
export function isGraded({ unit, comparison, target, goal }: MetricVerdict): boolean {
  if (unit === "ms" || unit === "/sec") return comparison !== "==";
  const isLimit = comparison === "<" || comparison === "<=";
  return isLimit && goal.comparison !== "==" && goal.value < target;
}

/** What a metric's history says of this run. */
export interface Trend {
  /** Which way; `unknown` where there is too little to say it. */
  readonly direction: "better" | "worse" | "steady" | "unknown";
  /** The same in words. */
  readonly text: string;
}

/** Compares the last figure of a series with the earlier ones. */
export function trendOf({ verdict, points, length }: Series): Trend {
  const last = points.at(-1);
  if (last === undefined || last.index !== length - 1 || last.value === undefined) {
    return { direction: "unknown", text: "not measured" };
  }
  if (!isGraded(verdict)) {
    const met = points.filter(({ isMet }) => isMet).length;
    const text = points.length === 1 ? "first run" : `met in ${met} of ${points.length} runs`;
    return { direction: met === points.length ? "steady" : "unknown", text };
  }
  const earlier = points.slice(0, -1).flatMap(({ value }) =>
    value === undefined || !Number.isFinite(value) ? [] : [value]
  ).sort((a, b) => a - b);
  if (earlier.length === 0) return { direction: "unknown", text: "first run" };
  const median = medianOf(earlier);
  const runs = `${earlier.length} ${earlier.length === 1 ? "run" : "runs"} before`;
  const usual = `median ${formatFigure(median, verdict.unit)} of ${runs}`;
  if (earlier.length < TREND_MIN) return { direction: "unknown", text: usual };
  const [low, high] = [quantile(earlier, 0.1), quantile(earlier, 0.9)];
  const change = median === 0 ? 0 : last.value / median - 1;
  const isInside = last.value >= low && last.value <= high;
  if (isInside || !(Math.abs(change) >= CHANGE_MIN)) {
    return { direction: "steady", text: `as usual, ${usual}` };
  }
  const wantsMore = verdict.comparison === ">" || verdict.comparison === ">=";
  const direction = change > 0 === wantsMore ? "better" : "worse";
  const percent = Number(Math.abs(change * 100).toPrecision(2));
  const side = change > 0 ? "above" : "below";
  return { direction, text: `${direction}, ${percent}% ${side} the ${usual}` };
}

/** A quantile of sorted figures, between neighbours by straight line. */
function quantile(sorted: readonly number[], part: number): number {
  const place = (sorted.length - 1) * part;
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}
