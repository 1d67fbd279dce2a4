/** What the reports say in the same words: figures beside their targets, and the closing line. */

import { formatFigure } from "./figures.ts";
import { holds, isFailure, type MetricVerdict } from "./judge.ts";
import type { BenchmarkResult, RunReport } from "./runner.ts";

/** Metrics that one line of the terminal shows of a benchmark that passed. */
const SHOWN_MAX = 2;

/** The figure of a verdict, never rounded to the other side of its target or goal. */
export function measuredText(verdict: MetricVerdict): string {
  const { value, unit, comparison, target, goal } = verdict;
  if (value === undefined) return "not measured";
  return formatFigure(
    value,
    unit,
    (rounded) =>
      holds(rounded, comparison, target) === holds(value, comparison, target) &&
      holds(rounded, goal.comparison, goal.value) === holds(value, goal.comparison, goal.value),
  );
}

/** A target, exactly as it was compared. */
export function targetText({ target, unit }: MetricVerdict): string {
  return formatFigure(target, unit, (rounded) => rounded === target);
}

/** A goal, exactly as it was compared. */
export function goalText({ goal, unit }: MetricVerdict): string {
  return formatFigure(goal.value, unit, (rounded) => rounded === goal.value);
}

/** What stands in brackets behind a benchmark that ran, or why it did not. */
export function outcomeText(result: BenchmarkResult): string {
  const { status, reason, verdicts } = result;
  if (status === "not built") return "not built";
  if (status === "skipped") return `skipped: ${oneLine(reason ?? "")}`;
  const missed = verdicts.filter(isFailure).map((verdict) => {
    // The first metric is what the benchmark is about; the others say which they are.
    const label = verdict === verdicts[0] && verdict.value !== undefined
      ? ""
      : `${verdict.label}: `;
    return `${label}${measuredText(verdict)}, target: ${targetText(verdict)}`;
  });
  if (reason !== undefined) missed.unshift(oneLine(reason));
  if (status === "failed") return missed.join("; ");
  return verdicts.filter(({ value }) => value !== undefined).slice(0, SHOWN_MAX)
    .map((verdict) => `${verdict.label}: ${measuredText(verdict)}`).join(", ");
}

/** The closing line: what passed, and plainly what did not count. */
export function resultText({ counts, benchmarks, exitCode }: RunReport): string {
  const head = `Result: ${counts.passed}/${benchmarks.length} PASS`;
  const rest = [
    counts.failed > 0 ? `${counts.failed} failed` : "",
    counts["not built"] > 0 ? `${counts["not built"]} not built (not counted as passed)` : "",
    counts.skipped > 0 ? `${counts.skipped} skipped (not counted as passed)` : "",
    counts.passed === 0 && counts.failed === 0 ? "nothing was checked" : "",
    counts.passed > 0 && counts.passed < benchmarks.length && exitCode === 0
      ? `every validator that ran passed, so exit code 0`
      : "",
  ].filter((part) => part !== "");
  return rest.length === 0 ? head : `${head} – ${rest.join(", ")}`;
}

/** Text on one line, without what could steer a terminal. */
export function oneLine(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]+/g, " ").trim();
}
