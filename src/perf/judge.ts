/**
 * Judging: one figure against its target and goal.
 *
 * A figure that is missing, NaN or infinite fails whatever the comparison says: a rate of infinity
 * means that the clock did not move, and `Infinity >= 1000000` is true. The figure kept in the
 * verdict is the one that was compared; reports print that one.
 */

import type { Comparison, Goal, MetricTarget, Unit } from "./targets.ts";

/** How a figure stands to its target. */
export type Verdict = "met" | "missed" | "not measured";

/** A figure, what it was compared with, and the outcome. */
export interface MetricVerdict {
  /** Name of the metric. */
  readonly name: string;
  /** The metric in words. */
  readonly label: string;
  /** What the figure counts. */
  readonly unit: Unit;
  /** How it was compared. */
  readonly comparison: Comparison;
  /** With what: the quick target in a quick run, where there is one. */
  readonly target: number;
  /** The project's own aim. */
  readonly goal: Goal;
  /** The figure; absent where there was none. */
  readonly value?: number;
  /** The outcome; `not measured` is no failure only where a reason is given. */
  readonly verdict: Verdict;
  /** Whether the goal is met too. */
  readonly goalMet: boolean;
  /** Why the figure means nothing here, where that is so. */
  readonly reason?: string;
}

/** Options of {@linkcode judge}. */
export interface JudgeOptions {
  /** Whether the run was a quick one. */
  readonly quick?: boolean;
  /** Why the metric means nothing on this input: then its absence is no failure. */
  readonly unmeasured?: string;
}

/**
 * Compares a figure with a number.
 *
 * @param value The figure.
 * @param comparison How.
 * @param target With what.
 * @returns Whether it holds; never for NaN or an infinite figure.
 */
export function holds(value: number, comparison: Comparison, target: number): boolean {
  if (!Number.isFinite(value)) return false;
  switch (comparison) {
    case "<":
      return value < target;
    case "<=":
      return value <= target;
    case "==":
      return value === target;
    case ">=":
      return value >= target;
    case ">":
      return value > target;
  }
}

/**
 * Judges one figure.
 *
 * @param metric The metric and its target.
 * @param value The figure; nothing where it was not measured.
 * @param options Quick or not, and why it may be absent.
 * @returns The verdict, with the figure that was compared.
 *
 * @example A figure that misses
 * ```ts
 * import assert from "node:assert/strict";
 * import { loadTargets } from "./targets.ts";
 *
 * const [, , , , throughput] = (await loadTargets()).benchmarks;
 * assert.equal(judge(throughput.metrics[0], 782_345).verdict, "missed");
 * assert.equal(judge(throughput.metrics[0], Infinity).verdict, "missed");
 * assert.equal(judge(throughput.metrics[0], undefined).verdict, "not measured");
 * ```
 */
export function judge(
  metric: MetricTarget,
  value: number | undefined,
  options: JudgeOptions = {},
): MetricVerdict {
  const { name, label, unit, comparison, goal } = metric;
  const target = (options.quick ? metric.quickTarget : undefined) ?? metric.target;
  const subject = { name, label, unit, comparison, target, goal };
  if (value === undefined) {
    const reason = options.unmeasured;
    return {
      ...subject,
      verdict: "not measured",
      goalMet: false,
      ...(reason === undefined ? {} : { reason }),
    };
  }
  return {
    ...subject,
    value,
    verdict: holds(value, comparison, target) ? "met" : "missed",
    goalMet: holds(value, goal.comparison, goal.value),
  };
}

/**
 * Whether a verdict fails its benchmark.
 *
 * @param verdict The verdict.
 * @returns Whether it was missed, or not measured without a reason.
 */
export function isFailure(verdict: MetricVerdict): boolean {
  return verdict.verdict === "missed" ||
    (verdict.verdict === "not measured" && verdict.reason === undefined);
}
