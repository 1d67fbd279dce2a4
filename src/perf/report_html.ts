/**
 * The report as one HTML page: what the terminal shows, and charts of this run against the history.
 *
 * The page stands alone. It has no script, loads nothing, and forbids itself to (its policy lets in
 * nothing but its own style), so it can be kept, mailed and attached to a run of CI, and opened years
 * later. Everything that came from outside, names of metrics, reasons, remarks, paths, is escaped by
 * the template that it is put into.
 *
 * Cost: a second and 150 to 600 KB for ten benchmarks with their history.
 */

import { sectionOf } from "./_html_benchmark.ts";
import { sparkChart } from "./_html_charts.ts";
import { type BenchmarkView, headOf, overviewOf } from "./_html_overview.ts";
import { loadPen } from "./_html_plot.ts";
import { type ComparableRuns, comparableRuns, seriesOf, trendOf } from "./_html_runs.ts";
import { type Markup, markup, trusted } from "./_html_text.ts";
import { STYLE } from "./_html_style.ts";
import { dateText } from "./_html_words.ts";
import { measuredText } from "./_words.ts";
import type { StoredResult } from "./stored_result.ts";

/** What stands beside the run on the page. */
export interface HtmlReportOptions {
  /** Earlier runs, in any order, as `readHistory` gives them; the run itself may be among them. */
  readonly history?: readonly StoredResult[];
  /** What was passed over in reading them, a sentence each. */
  readonly warnings?: readonly string[];
}

/** Passed-over files that are named; the rest is counted. */
const WARNINGS_MAX = 5;

/**
 * Writes the report as an HTML page.
 *
 * @param result The run, as `parseResult` gives it.
 * @param options The history.
 * @returns The page.
 *
 * @example A run without a history
 * ```ts
 * import assert from "node:assert/strict";
 * import { describeMachine, jsonReport, parseResult, runBenchmarks } from "./mod.ts";
 *
 * const targets = { format: 1, benchmarks: [] } as const;
 * const report = await runBenchmarks({ validators: [], targets, startedAt: new Date(0) });
 * const result = parseResult(jsonReport(report, describeMachine()), "latest.json");
 * const page = await htmlReport(result);
 * assert.match(page, /^<!doctype html>/);
 * assert.match(page, /Nothing was checked/);
 * ```
 */
export async function htmlReport(
  result: StoredResult,
  options: HtmlReportOptions = {},
): Promise<string> {
  const { history = [], warnings = [] } = options;
  const pen = await loadPen();
  const comparable = comparableRuns(result, history);
  const hasHistory = comparable.runs.length > 1;
  const benchmarks = result.benchmarks.map((benchmark) => {
    const series = benchmark.verdicts.map((verdict) =>
      seriesOf(benchmark.id, verdict, comparable.runs)
    );
    const metrics = series.map((one) => {
      const { verdict, points } = one;
      const trend = trendOf(one);
      const label = `${verdict.label}: ${measuredText(verdict)}, ${trend.text}`;
      const spark = points.length < 2 ? undefined : sparkChart(pen, one, label);
      return { verdict, trend, ...(spark === undefined ? {} : { spark }) };
    });
    return { series, view: { result: benchmark, metrics } satisfies BenchmarkView };
  });
  const views = benchmarks.map(({ view }) => view);
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>MMSB validation of ${dateText(result.startedAt)}</title>
<style>${trusted(STYLE)}</style>
</head>
<body>
<div class="page">
${headOf(result, views, comparable)}
<main>
${views.length === 0 ? "" : overviewOf(views, hasHistory)}
${benchmarks.map(({ view, series }) => sectionOf(pen, view, series))}</main>
${footerOf(comparable, warnings)}
</div>
</body>
</html>
`.text;
}

/** How to read the charts. */
const LEGEND = "The full line is the target, its failing side is shaded, the dashed line is the " +
  "goal that the project sets itself; a cross is a figure that misses the target, or a run that " +
  'ended without one. "Better" and "worse" are said of figures outside the middle 80% of at least ' +
  "5 earlier ones.";

/** Which runs the charts show, which not, and how to read them. */
function footerOf({ runs, leftOut }: ComparableRuns, warnings: readonly string[]): Markup {
  const earlier = runs.length - 1;
  const shown = earlier === 0
    ? "There is no earlier run to show."
    : `The charts show this run and ${earlier} earlier ${earlier === 1 ? "one" : "ones"} on the ` +
      "same kind of machine with the same work, in order of time, judged by the targets of this run.";
  const left = [...leftOut].map(([reason, count]) => `${count} ${reason}`);
  const more = warnings.length - WARNINGS_MAX;
  const passedOver = [
    ...warnings.slice(0, WARNINGS_MAX),
    ...(more > 0 ? [`${more} more`] : []),
  ];
  return markup`<footer class="card">
<p>${shown}${left.length === 0 ? "" : ` Left out of the history: ${left.join(", ")}.`}</p>
${earlier === 0 ? "" : markup`<p>${LEGEND}</p>\n`}${
    passedOver.map((warning) => markup`<p class="text">Passed over: ${warning}</p>\n`)
  }</footer>`;
}
