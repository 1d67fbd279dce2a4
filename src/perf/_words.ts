/** What the reports say in the same words: figures beside their targets, and the closing line. */

import { CATALOGUE } from "../validators/catalogue.ts";
import { EXIT } from "./exit_codes.ts";
import { formatFigure } from "./figures.ts";
import { holds, isFailure, type MetricVerdict } from "./judge.ts";
import type { DeviceCounts } from "../validators/validator.ts";
import { isDeviceIdle } from "./device.ts";
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
export function resultText({ counts, benchmarks, exitCode, device }: RunReport): string {
  const head = `Result: ${counts.passed}/${benchmarks.length} PASS`;
  const rest = [
    counts.failed > 0 ? `${counts.failed} failed` : "",
    counts["not built"] > 0 ? `${counts["not built"]} not built (not counted as passed)` : "",
    counts.skipped > 0 ? `${counts.skipped} skipped (not counted as passed)` : "",
    counts.passed === 0 && counts.failed === 0 ? "nothing was checked" : "",
    isDeviceIdle(device) && exitCode === EXIT.failed
      ? `nothing ran on the GPU, so exit code ${exitCode}`
      : "",
    exitCode === EXIT.damaged ? `data is damaged, so exit code ${exitCode}` : "",
    counts.passed > 0 && counts.passed < benchmarks.length && exitCode === 0
      ? `every validator that ran passed, so exit code 0`
      : "",
  ].filter((part) => part !== "");
  return rest.length === 0 ? head : `${head} – ${rest.join(", ")}`;
}

/**
 * How many faults of the catalogue the validators planted and found; nothing where none was planted. A
 * fault that two validators plant counts once, and as found only if both found it.
 */
export function faultsText({ benchmarks }: Pick<RunReport, "benchmarks">): string | undefined {
  const found = new Map<string, boolean>();
  for (const { planted = [] } of benchmarks) {
    for (const fault of planted) {
      found.set(fault.id, (found.get(fault.id) ?? true) && fault.found);
    }
  }
  if (found.size === 0) return undefined;
  const missed = [...found].filter(([, isFound]) => !isFound).map(([id]) => oneLine(id));
  const count = `Faults: ${found.size - missed.length} of ${found.size}`;
  const line = found.size === CATALOGUE.length
    ? `${count} of the catalogue planted and found`
    : `${count} planted and found (the catalogue has ${CATALOGUE.length})`;
  return missed.length === 0 ? line : `${line}; not found: ${missed.join(", ")}`;
}

/** Counts of what ran on a GPU, in words. */
export function countsText({ batches, rows, rules }: DeviceCounts): string {
  const one = (count: number, what: string) =>
    `${count.toLocaleString("en")} ${what}${count === 1 ? "" : what.endsWith("ch") ? "es" : "s"}`;
  return `${one(rows, "row")} in ${one(batches, "batch")}, ${one(rules, "run")} of rules`;
}

/** The device of a run, and what ran on it; nothing where none was asked for. */
export function deviceText({ device }: Pick<RunReport, "device">): string | undefined {
  if (device === undefined) return undefined;
  const { asked, state, reason, adapter, counts } = device;
  const why = reason === "" ? state : oneLine(reason);
  if (adapter === undefined) return `${asked} asked for, everything ran on the CPU: ${why}`;
  const { name, driver, isSoftware } = adapter;
  const kind = isSoftware ? "software, no figures of a GPU" : "hardware";
  // Some drivers give a number, which tells nobody anything.
  const about = /[a-z]/i.test(driver) ? `${kind}; ${oneLine(driver)}` : kind;
  const ran = isDeviceIdle(device)
    ? "NOTHING ran on it, so the GPU was not checked"
    : `on it ran ${countsText(counts)}`;
  return `${asked}, ${oneLine(name)} (${about}): ${ran}${
    state === "ready" ? "" : `; in the end ${state}: ${why}`
  }`;
}

/** What stands under a quick run, so that nobody takes its figures for those of a full one. */
export const QUICK_TEXT =
  "Quick run: less work, and lower targets where it cannot reach the full ones";

/** Text on one line, without what could steer a terminal. */
export function oneLine(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]+/g, " ").trim();
}
