/**
 * A benchmark on the page: what must hold, how it ended, charts, every metric beside its target, and
 * how the figures were got.
 */

import { isDrawable } from "./_html_axis.ts";
import { type Bar, runChart } from "./_html_bars.ts";
import { historyChart } from "./_html_charts.ts";
import { type BenchmarkView, classOf, type MetricView, reachedText } from "./_html_overview.ts";
import { figureCell, signOf, trendMarkup } from "./_html_overview.ts";
import type { Pen } from "./_html_plot.ts";
import { isGraded, type Series, spreadOf } from "./_html_runs.ts";
import { type Markup, markup } from "./_html_text.ts";
import { dateText, durationText, exactText, labelOfName, limitText } from "./_html_words.ts";
import { goalText, measuredText, outcomeText, targetText } from "./_words.ts";
import { formatFigure } from "./figures.ts";
import { isFailure, type MetricVerdict } from "./judge.ts";
import type { BenchmarkResult } from "./runner.ts";
import type { Unit } from "./targets.ts";

/** Units of which a chart of one run says something: figures of a kind, on one axis. */
const RUN_UNITS: readonly Unit[] = ["/sec", "ms"];

/** The section of a benchmark. */
export function sectionOf(pen: Pen, view: BenchmarkView, series: readonly Series[]): Markup {
  const { result, metrics } = view;
  const { id, name, status, description } = result;
  const hasHistory = series.some(({ points }) => points.length > 1);
  const charts = [
    ...RUN_UNITS.flatMap((unit) => runFigure(pen, result, unit)),
    ...series.flatMap((one, index) => historyFigure(pen, one, metrics[index])),
  ];
  const outcome = markup`<p class="outcome-line text">${outcomeText(result)}</p>\n`;
  return markup`<section class="card benchmark ${
    classOf(status)
  }" id="b${id}" aria-labelledby="h${id}">
<header>${signOf(status)}<div>
<h2 id="h${id}"><span class="number">#${id}</span> <span class="text">${name}</span></h2>
<p class="description text">${description}</p>
</div></header>
${status === "passed" ? "" : outcome}${
    charts.length === 0 ? "" : markup`<div class="charts">${charts}</div>\n`
  }${metrics.length === 0 ? "" : metricsTable(result, metrics, hasHistory)}${howOf(result)}${
    hasHistory ? runsTable(series) : ""
  }</section>
`;
}

/** Several figures of one unit in this run; one alone is told by the table. */
function runFigure(pen: Pen, result: BenchmarkResult, unit: Unit): Markup[] {
  const bars = barsOf(result, unit);
  if (bars.length < 2) return [];
  const label = `This run: ${
    bars.map((bar) =>
      `${bar.label} ${bar.text}${
        bar.limit === undefined
          ? ""
          : `, target ${limitText(bar.limit.comparison, formatFigure(bar.limit.target, unit))}`
      }`
    ).join("; ")
  }`;
  const caption = markup`<b>This run</b>
<span class="muted">(the upright line is the target)</span>`;
  return [figureOf("this-run", caption, runChart(pen, bars, unit, label))];
}

function figureOf(kind: "this-run" | "history", caption: Markup, chart: Markup): Markup {
  return markup`<figure class="${kind}"><figcaption>${caption}</figcaption>${chart}</figure>\n`;
}

function barsOf(result: BenchmarkResult, unit: Unit): Bar[] {
  const judged = result.verdicts.flatMap((verdict): Bar[] => {
    const { name, label, value, comparison, target } = verdict;
    if (verdict.unit !== unit || value === undefined || !isDrawable(value)) return [];
    const spread = spreadOf(result, name);
    return [{
      label,
      text: measuredText(verdict),
      value,
      limit: { comparison, target, isMet: verdict.verdict === "met" },
      ...(spread === undefined ? {} : { spread }),
    }];
  });
  if (unit !== "ms") return judged;
  // What a validator measures besides has its unit in its name.
  const names = new Set(result.verdicts.map(({ name }) => name));
  const others = Object.entries(result.metrics).flatMap(([name, value]): Bar[] =>
    names.has(name) || !/[a-z0-9]Ms$/.test(name) || !isDrawable(value)
      ? []
      : [{ label: labelOfName(name), text: formatFigure(value, "ms"), value }]
  );
  return [...judged, ...others].sort((a, b) => others.length === 0 ? 0 : a.value - b.value);
}

function historyFigure(pen: Pen, series: Series, { verdict, trend }: MetricView): Markup[] {
  const { points } = series;
  const values = points.flatMap(({ value }) =>
    value !== undefined && isDrawable(value) ? [value] : []
  );
  if (!isGraded(verdict) || points.length < 2 || values.length === 0) return [];
  const { unit, comparison } = verdict;
  const label = `${verdict.label} over ${points.length} runs, from ${
    formatFigure(Math.min(...values), unit)
  } to ${formatFigure(Math.max(...values), unit)}; this run ${measuredText(verdict)}, target ${
    limitText(comparison, targetText(verdict))
  }, goal ${limitText(verdict.goal.comparison, goalText(verdict))}; ${trend.text}`;
  const caption = markup`<b class="text">${verdict.label}</b> ${measuredText(verdict)}
${trendMarkup(trend)}`;
  return [figureOf("history", caption, historyChart(pen, series, label))];
}

function metricsTable(
  result: BenchmarkResult,
  metrics: readonly MetricView[],
  hasHistory: boolean,
): Markup {
  const hasSpread = result.runs.length > 1;
  const heads = [
    "Metric",
    "Measured",
    ...(hasSpread ? ["Repeats"] : []),
    "Target",
    "Goal",
    "Outcome",
    ...(hasHistory ? ["History"] : []),
  ];
  return markup`<h3>All metrics</h3>
<table class="rows" role="table">
<thead role="rowgroup"><tr role="row">${
    heads.map((head) => markup`<th role="columnheader" scope="col">${head}</th>`)
  }</tr></thead>
<tbody role="rowgroup">
${metrics.map((metric) => metricRow(result, metric, hasSpread, hasHistory))}</tbody>
</table>
`;
}

function metricRow(
  result: BenchmarkResult,
  { verdict, spark }: MetricView,
  hasSpread: boolean,
  hasHistory: boolean,
): Markup {
  const { label, comparison, goal } = verdict;
  const missed = isFailure(verdict) ? "missed" : "";
  return markup`<tr role="row"><th role="rowheader" scope="row" class="text">${label}</th>
${figureCell("Measured", measuredText(verdict), missed)}
${hasSpread ? figureCell("Repeats", spreadText(result, verdict)) : ""}
${figureCell("Target", limitText(comparison, targetText(verdict)))}
${figureCell("Goal", limitText(goal.comparison, goalText(verdict)))}
<td role="cell" class="text ${missed}">${verdictText(verdict)}</td>
${hasHistory ? markup`<td role="cell" class="spark-cell">${spark}</td>` : ""}</tr>
`;
}

function spreadText(result: BenchmarkResult, { name, unit }: MetricVerdict): string {
  const spread = spreadOf(result, name);
  if (spread === undefined) return "–";
  const [least, most] = spread.map((value) => formatFigure(value, unit));
  return least === most ? `all ${least}` : `${least} to ${most}`;
}

/** The outcome as the Markdown report says it, and how far the target is. */
function verdictText(verdict: MetricVerdict): string {
  const reached = reachedText(verdict);
  return [
    `${verdict.verdict}${verdict.goalMet ? ", goal too" : ""}`,
    ...(reached === verdict.verdict ? [] : [`: ${reached}`]),
    ...(verdict.reason === undefined ? [] : [`: ${verdict.reason}`]),
  ].join("");
}

/** How the figures were got: amount of work, mode, repeats, and the validator's own remarks. */
function howOf(result: BenchmarkResult): Markup {
  const { notes, samples, durability, durationMs, runs, status } = result;
  if (status === "not built" || (status === "skipped" && notes.length === 0)) return markup``;
  const work = [
    `${samples.toLocaleString("en-US")} ${samples === 1 ? "thing" : "things"} looked at in ${
      durationText(durationMs)
    }`,
    ...(durability === undefined ? [] : [`durability ${durability}`]),
    ...(runs.length > 1
      ? [
        `${runs.length} repeats, of which times, rates and sizes are the median, all else the worst`,
      ]
      : []),
  ].join("; ");
  return markup`<h3>How the figures were got</h3>
<ul class="remarks"><li>${work}</li>
${notes.map((note) => markup`<li class="text">${note}</li>\n`)}</ul>
`;
}

/** The figures of the charts: a row a run, the newest first. */
function runsTable(series: readonly Series[]): Markup {
  const runs = new Map(
    series.flatMap(({ points }) => points.map(({ index, run }) => [index, run] as const)),
  );
  const rows = [...runs].sort(([a], [b]) => b - a).map(([index, { startedAt }]) => {
    const time = markup`<time datetime="${startedAt.toISOString()}">${dateText(startedAt)}</time>`;
    return markup`<tr><th scope="row">${time}</th>${
      series.map((one) => runCell(one, index))
    }</tr>\n`;
  });
  const heads = series.map(({ verdict }) => markup`<th scope="col">${verdict.label}</th>`);
  return markup`<details><summary>Figures of ${rows.length} runs</summary>
<div class="scroll" role="region" aria-label="Figures of the runs" tabindex="0"><table>
<thead><tr><th scope="col">Run</th>${heads}</tr></thead>
<tbody>
${rows}</tbody></table></div></details>
`;
}

function runCell({ verdict, points }: Series, index: number): Markup {
  const point = points.find((one) => one.index === index);
  if (point === undefined) return markup`<td>–</td>`;
  const text = point.value === undefined ? "failed" : exactText(point.value, verdict.unit);
  return markup`<td class="${point.isMet ? "" : "missed"}">${text}</td>`;
}
