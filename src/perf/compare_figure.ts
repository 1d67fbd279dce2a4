/**
 * One figure on two sides: how far apart, whether that is more than noise, and whether it fails. The
 * rules stand at the head of `compare.ts`.
 */

import { holds } from "./judge.ts";
import {
  type Noise,
  noiseOf,
  noiseOfRanges,
  ONE_RUN_TOLERANCE,
  ONE_RUN_TOLERANCE_BYTES,
} from "./noise.ts";
import type { Direction, FailRules, Series } from "./series.ts";
import { medianOf, rangeOf } from "./statistics.ts";
import type { Unit } from "./targets.ts";

/** What became of one figure from A to B. `changed` is one of which nobody said what is better. */
export type ChangeVerdict =
  | "better"
  | "worse"
  | "changed"
  | "within noise"
  | "equal"
  | "only in A"
  | "only in B"
  | "not comparable";

/** One side of one figure. */
export interface FigureSummary {
  /** The figure that was compared: the median where it is noisy, the worst where it is exact. */
  readonly figure: number;
  /** The least of the runs. */
  readonly least: number;
  /** The largest of the runs. */
  readonly most: number;
  /** How many runs. */
  readonly runs: number;
}

/** One figure on both sides. */
export interface FigureComparison {
  /** Name of the figure: `5.oneThread`. */
  readonly key: string;
  /** What it belongs to: `#5 Throughput`. */
  readonly group: string;
  /** The figure in words. */
  readonly label: string;
  /** What it counts. */
  readonly unit: Unit;
  /** The figure in A, if it is there. */
  readonly a?: FigureSummary;
  /** The figure in B, if it is there. */
  readonly b?: FigureSummary;
  /** Change from A to B in percent of A; absent where A is 0 or a side is missing. */
  readonly changePercent?: number;
  /** Change in percent of A up to which it is noise; absent for exact figures. */
  readonly noisePercent?: number;
  /** What became of it. */
  readonly verdict: ChangeVerdict;
  /** Why it cannot be compared, or what the verdict stands on. */
  readonly reason?: string;
  /** Whether it fails the comparison. */
  readonly isRegression: boolean;
}

/** What holds for all figures of two groups. */
export interface Pair {
  readonly isSameMachine: boolean;
  readonly isSameWork: boolean;
  readonly works: string;
  readonly rules: FailRules;
  /** Why times of B cannot fail: its machine was busy with other things, or that is not known. */
  readonly excuse?: string;
  /** Benchmarks of which B has figures. */
  readonly ranInB: ReadonlySet<string>;
}

/** Compares one figure, of which at least one side is there. */
export function compareSeries(
  a: Series | undefined,
  b: Series | undefined,
  pair: Pair,
): FigureComparison {
  const { key, group, label, unit } = (b ?? a)!;
  const summaryA = a && summaryOf(a);
  const summaryB = b && summaryOf(b);
  const subject = { key, group, label, unit, a: summaryA, b: summaryB, isRegression: false };
  if (a === undefined || b === undefined || !summaryA || !summaryB) {
    return { ...subject, ...absence(a, b, pair) };
  }
  const obstacle = obstacleOf(a, b, pair);
  if (obstacle !== undefined) return { ...subject, verdict: "not comparable", reason: obstacle };

  const change = summaryB.figure - summaryA.figure;
  const percent = (distance: number) => 100 * distance / Math.abs(summaryA.figure);
  const noise = b.steadiness === "exact" ? undefined : noiseBetween(a, b, summaryA, summaryB);
  const compared = {
    ...subject,
    ...(summaryA.figure === 0 ? {} : { changePercent: percent(change) }),
    ...(noise === undefined || summaryA.figure === 0
      ? {}
      : { noisePercent: percent(noise.distance) }),
    ...(noise?.isKnown === false ? { reason: unknownNoise(b) } : {}),
  };
  if (change === 0 && rangesAreEqual(summaryA, summaryB)) {
    return { ...compared, verdict: "equal", reason: undefined };
  }
  if (noise !== undefined && Math.abs(change) <= noise.distance) {
    return { ...compared, verdict: "within noise" };
  }
  const loss = lossOf(b.direction, summaryA.figure, summaryB.figure);
  const verdict = b.direction === "unknown"
    ? "changed"
    : loss > 0
    ? "worse"
    : loss < 0
    ? "better"
    : "equal";
  const isExcused = verdict === "worse" && b.machineBound && pair.excuse !== undefined;
  return {
    ...compared,
    ...(isExcused ? { reason: pair.excuse } : {}),
    verdict,
    isRegression: verdict === "worse" && fails(b, summaryA.figure, summaryB.figure, pair),
  };
}

/** What a figure means that one side lacks. */
function absence(
  a: Series | undefined,
  b: Series | undefined,
  pair: Pair,
): Pick<FigureComparison, "verdict" | "reason" | "isRegression"> {
  if (a === undefined) {
    const isMissed = b?.isMissed === true;
    return {
      verdict: "only in B",
      isRegression: isMissed,
      ...(isMissed ? { reason: "misses its target" } : {}),
    };
  }
  const isLost = pair.rules.everyFigure === true && pair.ranInB.has(a.group);
  return {
    verdict: "only in A",
    isRegression: isLost,
    ...(isLost ? { reason: "no longer measured: if that is meant, renew the baseline" } : {}),
  };
}

function obstacleOf(a: Series, b: Series, pair: Pair): string | undefined {
  if (!pair.isSameWork) return pair.works;
  if (b.machineBound && !pair.isSameMachine) return "another kind of machine";
  if (a.unit !== b.unit) return `${a.unit} against ${b.unit}`;
  const [wasNumber, isNumber] = [a, b].map(({ figures }) => figures.every(Number.isFinite));
  return !wasNumber && !isNumber ? "no number on either side" : undefined;
}

function noiseBetween(a: Series, b: Series, sumA: FigureSummary, sumB: FigureSummary): Noise {
  if (a.range === undefined || b.range === undefined) {
    return noiseOf(
      a.figures,
      b.figures,
      a.unit === "bytes" ? ONE_RUN_TOLERANCE_BYTES : ONE_RUN_TOLERANCE,
    );
  }
  return noiseOfRanges(
    { ...sumA, median: sumA.figure, rounds: a.rounds ?? 1 },
    { ...sumB, median: sumB.figure, rounds: b.rounds ?? 1 },
  );
}

function unknownNoise({ range }: Series): string {
  return range === undefined ? "one run: noise unknown" : "few rounds: noise unknown";
}

function rangesAreEqual(a: FigureSummary, b: FigureSummary): boolean {
  return a.least === b.least && a.most === b.most;
}

/** Above 0 where B is worse than A. A figure that is no number is worse than any. */
function lossOf(direction: Direction, a: number, b: number): number {
  if (!Number.isFinite(b)) return 1;
  if (!Number.isFinite(a)) return -1;
  if (direction === "more") return a - b;
  if (direction === "less") return b - a;
  if (direction === "unknown") return 0;
  return Math.abs(b - direction.exactly) - Math.abs(a - direction.exactly);
}

/** Whether a change for the worse fails the comparison. */
function fails(series: Series, a: number, b: number, { rules, excuse }: Pair): boolean {
  const { direction, machineBound, goal } = series;
  if (typeof direction === "object" || !Number.isFinite(b)) return true;
  if (machineBound && excuse !== undefined) return false;
  if (machineBound && rules.timesFactor !== undefined) {
    const factor = direction === "more" ? a / b : b / a;
    const isAimed = goal !== undefined && holds(b, goal.comparison, goal.value);
    return factor > rules.timesFactor && !isAimed;
  }
  // From 0 every change is infinite, and past every threshold.
  return 100 * Math.abs(b - a) / Math.abs(a) > rules.thresholdPercent;
}

function summaryOf({ figures, steadiness, direction, range }: Series): FigureSummary {
  const [least, most] = range ?? rangeOf(figures);
  return {
    figure: steadiness === "noisy" ? medianOf(figures) : worstOf(figures, direction),
    least,
    most,
    runs: figures.length,
  };
}

function worstOf(figures: readonly number[], direction: Direction): number {
  return figures.reduce((worst, figure) => lossOf(direction, worst, figure) > 0 ? figure : worst);
}
