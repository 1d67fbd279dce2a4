/** The report as a Markdown table, a row a metric, for pull requests and release notes. */

import {
  deviceText,
  faultsText,
  goalText,
  measuredText,
  oneLine,
  outcomeText,
  QUICK_TEXT,
  resultText,
  targetText,
} from "./_words.ts";
import type { BenchmarkResult, RunReport } from "./runner.ts";

const SIGNS = { passed: "✓", failed: "✗", "not built": "–", skipped: "–" } as const;

/**
 * Writes the report as Markdown.
 *
 * @param report The run.
 * @returns A heading, a table, the remarks and the closing line.
 */
export function markdownReport(report: RunReport): string {
  const faults = faultsText(report), device = deviceText(report);
  return [
    "# MMSB Benchmark Validation",
    "",
    "| # | Benchmark | Metric | Measured | Target | Goal | Outcome |",
    "| --: | --- | --- | --: | --: | --: | --- |",
    ...report.benchmarks.flatMap(rows),
    "",
    ...report.benchmarks.flatMap(({ id, notes }) =>
      notes.map((note) => `- #${id}: ${escape(oneLine(note))}`)
    ),
    ...(report.benchmarks.some(({ notes }) => notes.length > 0) ? [""] : []),
    ...(faults === undefined ? [] : [escape(faults), ""]),
    ...(device === undefined ? [] : [`Device: ${escape(device)}`, ""]),
    `**${escape(resultText(report))}**`,
    "",
    ...(report.quick ? [QUICK_TEXT, ""] : []),
    `Run of ${report.startedAt.toISOString()}, seed ${report.seed}${
      report.repeats === 1 ? "" : `, ${report.repeats} repeats`
    }${report.directory === undefined ? "" : `, of the data in ${escape(report.directory)}`}.`,
    "",
  ].join("\n");
}

function rows(result: BenchmarkResult): string[] {
  const { id, name, status, verdicts, reason } = result;
  const title = [`${SIGNS[status]} ${id}`, name];
  const lines = verdicts.map((verdict) =>
    row([
      ...title,
      verdict.label,
      measuredText(verdict),
      `${verdict.comparison} ${targetText(verdict)}`,
      `${verdict.goal.comparison} ${goalText(verdict)}`,
      `${verdict.verdict}${verdict.goalMet ? ", goal too" : ""}${
        verdict.reason === undefined ? "" : `: ${verdict.reason}`
      }`,
    ])
  );
  // What no metric tells has a row of its own.
  if (lines.length > 0 && reason === undefined) return lines;
  return [row([...title, "", "", "", "", reason ?? outcomeText(result)]), ...lines];
}

function row(cells: readonly string[]): string {
  return `| ${cells.map(escape).join(" | ")} |`;
}

/** Keeps a cell in its cell, and its text from being read as markup. */
function escape(text: string): string {
  return text
    .replace(/[\\`*_[\]|~]/g, "\\$&")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replace(/\s*[\r\n]+\s*/g, "<br>");
}
