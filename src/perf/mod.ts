/**
 * Running the validators: targets, judging, and reports for people, programs and CI.
 *
 * ```ts
 * import assert from "node:assert/strict";
 * import { loadTargets, runBenchmarks, terminalReport } from "./mod.ts";
 *
 * const targets = await loadTargets();
 * const report = await runBenchmarks({
 *   validators: [],
 *   targets,
 *   only: [3],
 *   startedAt: new Date(0),
 * });
 * assert.equal(terminalReport(report).split("\n")[1], "– #3:  Graph – not built");
 * ```
 *
 * @module
 */

export * from "./baseline.ts";
export * from "./comparable.ts";
export * from "./compare.ts";
export * from "./compare_figure.ts";
export * from "./device.ts";
export * from "./exit_codes.ts";
export * from "./figures.ts";
export * from "./history.ts";
export * from "./judge.ts";
export * from "./machine.ts";
export * from "./noise.ts";
export * from "./progress.ts";
export * from "./report_json.ts";
export * from "./report_compare.ts";
export * from "./report_html.ts";
export * from "./report_junit.ts";
export * from "./report_markdown.ts";
export * from "./report_terminal.ts";
export * from "./read_side.ts";
export * from "./results.ts";
export * from "./runner.ts";
export * from "./series.ts";
export * from "./statistics.ts";
export * from "./stored_result.ts";
export * from "./suggest.ts";
export * from "./targets.ts";
export * from "./version.ts";
export type {
  DeviceCounts,
  Measured,
  MeasuredDevice,
  MeasuredDurability,
  RunDevice,
  Validator,
  ValidatorContext,
  ValidatorResult,
  ValidatorStatus,
} from "../validators/validator.ts";
