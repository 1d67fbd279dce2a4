/**
 * The report for programs: everything that was measured, with what it was measured on. It is also
 * the form of `results/latest.json`, so it has a format number: fields are added under the same
 * number, and a change of meaning raises it.
 *
 * JSON has no NaN and no infinity; a figure that is one is written as its name in quotes, so that
 * it cannot be taken for an absent one.
 */

import type { Machine } from "./machine.ts";
import type { RunReport } from "./runner.ts";

/** Version of the form of {@linkcode jsonReport}. */
export const RESULT_FORMAT = 1;

/** Tells a result from other JSON. */
export const RESULT_KIND = "mmsb-validation";

/**
 * Writes the report as JSON.
 *
 * @param report The run.
 * @param machine What it ran on.
 * @returns JSON, indented, with a line break at its end.
 *
 * @example An empty run
 * ```ts
 * import assert from "node:assert/strict";
 * import { describeMachine } from "./machine.ts";
 * import { runBenchmarks } from "./runner.ts";
 *
 * const targets = { format: 1, benchmarks: [] } as const;
 * const report = await runBenchmarks({ validators: [], targets, startedAt: new Date(0) });
 * const result = JSON.parse(jsonReport(report, describeMachine()));
 * assert.equal(result.format, 1);
 * assert.equal(result.startedAt, "1970-01-01T00:00:00.000Z");
 * ```
 */
export function jsonReport(report: RunReport, machine: Machine): string {
  const { startedAt, durationMs, quick, seed, repeats, directory, counts, exitCode } = report;
  const result = {
    kind: RESULT_KIND,
    format: RESULT_FORMAT,
    startedAt: startedAt.toISOString(),
    durationMs,
    machine,
    quick,
    seed,
    repeats,
    othersPercent: report.othersPercent,
    directory,
    device: report.device,
    durability: [...new Set(report.benchmarks.flatMap(({ durability }) => durability ?? []))],
    counts: {
      total: report.benchmarks.length,
      passed: counts.passed,
      failed: counts.failed,
      notBuilt: counts["not built"],
      skipped: counts.skipped,
    },
    exitCode,
    benchmarks: report.benchmarks,
  };
  const text = JSON.stringify(
    result,
    (_key, value) => typeof value === "number" && !Number.isFinite(value) ? String(value) : value,
    2,
  );
  return `${text}\n`;
}
