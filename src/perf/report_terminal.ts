/**
 * The report on a terminal: a line a benchmark with its remarks indented below, and a closing line.
 * The form is fixed, as people and scripts read it; the sign in the first column is that of a
 * benchmark, and of nothing else:
 *
 * ```text
 * === MMSB Benchmark Validation ===
 * ✓ #1:  Replay (divergence: 0, cycles: 1000)
 *        1000 random logs: 3932 ticks, 38118 deltas
 * ✗ #5:  Throughput (782K/sec, target: 1M/sec)  ← NEEDS WORK
 * – #3:  Graph – not built
 * Faults: 61 of 61 of the catalogue planted and found
 * Result: 1/3 PASS – …
 * ```
 */

import { deviceText, faultsText, oneLine, outcomeText, QUICK_TEXT, resultText } from "./_words.ts";
import { isDeviceIdle } from "./device.ts";
import type { BenchmarkResult, RunReport } from "./runner.ts";

/** Options of {@linkcode terminalReport}. */
export interface TerminalReportOptions {
  /** Whether to colour; only where the terminal takes it and `NO_COLOR` is unset. No if left out. */
  readonly colour?: boolean;
  /** Columns of the terminal, at which remarks are broken; they stay on one line if left out. */
  readonly columns?: number;
}

/** Remarks begin where the names of the benchmarks do. */
const INDENT = " ".repeat("✓ #1:  ".length);

/** Escape sequences of "Select Graphic Rendition", ECMA-48 8.3.117. */
const CODES = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 } as const;

/**
 * Writes the report.
 *
 * @param report The run.
 * @param options Colour or not.
 * @returns Lines, each with its line break.
 */
export function terminalReport(report: RunReport, options: TerminalReportOptions = {}): string {
  const paint = (text: string, colour: keyof typeof CODES): string =>
    options.colour ? `\x1b[${CODES[colour]}m${text}\x1b[0m` : text;
  const lines = [paint("=== MMSB Benchmark Validation ===", "bold")];
  if (report.directory !== undefined) lines.push(`Data: ${oneLine(report.directory)}`);
  const device = deviceText(report);
  if (device !== undefined) {
    lines.push(paint(`Device: ${device}`, isDeviceIdle(report.device) ? "red" : "dim"));
  }
  for (const result of report.benchmarks) {
    lines.push(line(result, paint));
    for (const note of result.notes) {
      for (const text of broken(oneLine(note), options.columns)) {
        lines.push(paint(`${INDENT}${text}`, "dim"));
      }
    }
  }
  const faults = faultsText(report);
  if (faults !== undefined) lines.push(faults);
  lines.push(paint(resultText(report), report.exitCode === 0 ? "green" : "red"));
  if (report.quick) {
    lines.push(QUICK_TEXT);
  }
  return lines.map((text) => `${text}\n`).join("");
}

function line(
  result: BenchmarkResult,
  paint: (text: string, colour: keyof typeof CODES) => string,
): string {
  const title = `${`#${result.id}:`.padEnd(4)} ${result.name}`;
  const outcome = outcomeText(result);
  switch (result.status) {
    case "passed":
      return `${paint("✓", "green")} ${title} (${outcome})`;
    case "failed":
      return `${paint("✗", "red")} ${title} (${outcome})  ${
        paint(result.damaged ? "← DAMAGED" : "← NEEDS WORK", "yellow")
      }`;
    case "not built":
    case "skipped":
      return paint(`– ${title} – ${outcome}`, "dim");
  }
}

/** A remark in lines that fit between the indent and the edge; a word longer than that stands alone. */
function broken(text: string, columns = Infinity): string[] {
  const width = Math.max(columns - INDENT.length, 20);
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.length - 1;
    if (lines[last] === "") lines[last] = word;
    else if (lines[last].length + 1 + word.length <= width) lines[last] += ` ${word}`;
    else lines.push(word);
  }
  return lines;
}
