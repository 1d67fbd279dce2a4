/**
 * A comparison for people and for programs. On the terminal a table by benchmark: figures that are
 * equal are only counted, as they are most of a good comparison, and a closing line says how it ended.
 *
 * ```text
 * A  before.json  full run on AMD EPYC, 2 cores, linux x86_64
 * B  after.json   full run on AMD EPYC, 2 cores, linux x86_64
 *
 * #5 Throughput                A           B   change  noise
 * ✗ workers           16.1M/sec   12.8M/sec     -20%   ±3%   worse, past 10%
 *   one thread         7.2M/sec    7.3M/sec      +1%   ±4%   within noise
 *   4 equal
 *
 * Result: 1 regression – 1 worse, 1 within noise, 4 equal
 * ```
 */

import { oneLine } from "./_words.ts";
import type { ComparisonReport, SideSummary } from "./compare.ts";
import type { FigureComparison, FigureSummary } from "./compare_figure.ts";
import { formatFigure } from "./figures.ts";
import type { Unit } from "./targets.ts";

/** Options of {@linkcode comparisonText}. */
export interface ComparisonTextOptions {
  /** Whether to colour; only where the terminal takes it. No if left out. */
  readonly colour?: boolean;
}

/** Version of the form of {@linkcode comparisonJson}. */
export const COMPARISON_FORMAT = 1;

/** Escape sequences of "Select Graphic Rendition", ECMA-48 8.3.117. */
const CODES = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 } as const;

/** Larger percentages say no more. */
const PERCENT_SHOWN_MAX = 1000;

/** From this share on a machine's other work is worth a word. */
const OTHERS_PERCENT_SHOWN_MIN = 10;

type Paint = (text: string, colour: keyof typeof CODES) => string;

/**
 * Writes a comparison for a terminal.
 *
 * @param report The comparison.
 * @param options Colour or not.
 * @returns Lines, each with its line break.
 */
export function comparisonText(
  report: ComparisonReport,
  options: ComparisonTextOptions = {},
): string {
  const paint: Paint = (text, colour) =>
    options.colour ? `\x1b[${CODES[colour]}m${text}\x1b[0m` : text;
  const lines = [...sides(report), ""];
  const rows = report.figures.filter(({ verdict }) => verdict !== "equal");
  const width = Math.max(12, ...rows.map(({ label }) => label.length));
  let isFirst = true;
  for (const group of new Set(report.figures.map((figure) => figure.group))) {
    const members = report.figures.filter((figure) => figure.group === group);
    const shown = members.filter(({ verdict }) => verdict !== "equal");
    const title = isFirst
      ? `${group.padEnd(width + 2)}${heads("A", "B", "change", "noise")}`
      : group;
    isFirst = false;
    lines.push(paint(title.trimEnd(), "bold"));
    const [{ verdict }] = members;
    if (members.every((figure) => figure.verdict === verdict) && /only/.test(verdict)) {
      const regressions = members.filter(({ isRegression }) => isRegression);
      for (const figure of regressions) lines.push(row(figure, width, report, paint));
      lines.push(paint(`  all ${members.length} ${verdict}`, "dim"));
      continue;
    }
    for (const figure of shown) lines.push(row(figure, width, report, paint));
    const equal = members.length - shown.length;
    if (equal > 0) lines.push(paint(`  ${equal} equal`, "dim"));
  }
  lines.push(
    "",
    paint(resultLine(report), report.regressions > 0 || report.compared === 0 ? "red" : "green"),
  );
  return lines.map((line) => `${line}\n`).join("");
}

/**
 * Writes a comparison as JSON.
 *
 * @param report The comparison.
 * @returns JSON, indented, with a line break at its end. What is no number is written by its name.
 */
export function comparisonJson(report: ComparisonReport): string {
  const text = JSON.stringify(
    { kind: "mmsb-comparison", format: COMPARISON_FORMAT, ...report, counts: countsOf(report) },
    (_key, value) => typeof value === "number" && !Number.isFinite(value) ? String(value) : value,
    2,
  );
  return `${text}\n`;
}

function sides({ a, b }: ComparisonReport): string[] {
  const width = Math.max(a.path.length, b.path.length);
  return [side("A", a, width), side("B", b, width)];
}

function side(name: string, summary: SideSummary, width: number): string {
  const { path, machine, work, files, othersPercent = 0, filesLeftOut } = summary;
  const pooled = files === 1 ? "" : `, ${files} files pooled`;
  const left = filesLeftOut === 0
    ? ""
    : `, ${filesLeftOut} left out (another machine or other work)`;
  const busy = othersPercent < OTHERS_PERCENT_SHOWN_MIN
    ? ""
    : `, ${Math.round(othersPercent)}% of it busy with other things`;
  return oneLine(`${name}  ${path.padEnd(width)}  ${work} on ${machine}${busy}${pooled}${left}`);
}

function heads(a: string, b: string, change: string, noise: string): string {
  return `${a.padStart(12)}${b.padStart(12)}${change.padStart(9)}${noise.padStart(9)}  `;
}

function row(
  figure: FigureComparison,
  width: number,
  report: ComparisonReport,
  paint: Paint,
): string {
  const { label, unit, a, b, changePercent, noisePercent, verdict, isRegression } = figure;
  const [textA, textB] = texts(a, b, unit);
  const change = changePercent === undefined
    ? a?.figure === 0 && b !== undefined && b.figure !== 0 ? "from 0" : ""
    : percent(changePercent, true);
  const noise = noisePercent === undefined ? "" : `±${percent(noisePercent)}`.replace("±>", ">");
  const sign = isRegression ? "✗" : verdict === "better" ? "✓" : " ";
  const line = `${sign} ${oneLine(label).padEnd(width)}${heads(textA, textB, change, noise)}` +
    outcome(figure, report);
  if (isRegression) return paint(line.trimEnd(), "red");
  if (verdict === "better") return paint(line.trimEnd(), "green");
  if (verdict === "worse" || verdict === "changed") return paint(line.trimEnd(), "yellow");
  return paint(line.trimEnd(), "dim");
}

/** Both figures, with as many digits as it takes to tell them apart. */
function texts(
  a: FigureSummary | undefined,
  b: FigureSummary | undefined,
  unit: Unit,
): [string, string] {
  const other = (x?: FigureSummary, y?: FigureSummary): string =>
    x === undefined
      ? ""
      : formatFigure(x.figure, unit, (rounded) =>
        y === undefined || x.figure === y.figure || Math.sign(rounded - y.figure) ===
          Math.sign(x.figure - y.figure));
  return [other(a, b), other(b, a)];
}

function outcome({ verdict, reason, isRegression }: FigureComparison, report: ComparisonReport) {
  const why = reason === undefined ? "" : ` (${oneLine(reason)})`;
  if (verdict !== "worse") return `${verdict}${why}`;
  if (isRegression) return `worse${why}`;
  const { timesFactor, thresholdPercent } = report.rules;
  if (timesFactor !== undefined) return `worse, does not fail${why}`;
  return `worse, not past ${thresholdPercent}%${why}`;
}

function percent(value: number, signed = false): string {
  if (Math.abs(value) >= PERCENT_SHOWN_MAX) return `${value < 0 ? "-" : ""}>${PERCENT_SHOWN_MAX}%`;
  const digits = Math.abs(value) < 10 ? 1 : 0;
  const text = `${Number(Math.abs(value).toFixed(digits))}%`;
  return signed && text !== "0%" ? `${value < 0 ? "-" : "+"}${text}` : text;
}

function countsOf({ figures }: ComparisonReport): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { verdict } of figures) counts[verdict] = (counts[verdict] ?? 0) + 1;
  return counts;
}

function resultLine(report: ComparisonReport): string {
  const counts = Object.entries(countsOf(report)).map(([verdict, count]) => `${count} ${verdict}`);
  const { regressions, compared } = report;
  const head = regressions === 0 && compared === 0
    ? "nothing could be compared"
    : regressions === 0
    ? "no regression"
    : `${regressions} ${regressions === 1 ? "regression" : "regressions"}`;
  return `Result: ${head} – ${counts.join(", ") || "no figures"}`;
}
