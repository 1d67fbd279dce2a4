/**
 * The top of the page: what a stranger must see in five seconds. Did it pass; on what, when, how; what
 * was measured against which target; better or worse than before.
 */

import { type Markup, markup } from "./_html_text.ts";
import { type ComparableRuns, isGraded, type Trend } from "./_html_runs.ts";
import { dateText, durationText, limitText, marginOf } from "./_html_words.ts";
import {
  deviceText,
  faultsText,
  measuredText,
  outcomeText,
  QUICK_TEXT,
  resultText,
  targetText,
} from "./_words.ts";
import { isDeviceIdle } from "./device.ts";
import { EXIT } from "./exit_codes.ts";
import { formatFigure } from "./figures.ts";
import { isFailure, type MetricVerdict } from "./judge.ts";
import type { Machine } from "./machine.ts";
import type { BenchmarkResult } from "./runner.ts";
import type { StoredResult } from "./stored_result.ts";

/** A metric with its history, drawn and in words. */
export interface MetricView {
  /** The metric, as it was judged. */
  readonly verdict: MetricVerdict;
  /** What its history says. */
  readonly trend: Trend;
  /** The history in the space of a word; nothing where there is none. */
  readonly spark?: Markup;
}

/** A benchmark with its metrics. */
export interface BenchmarkView {
  /** How it ended. */
  readonly result: BenchmarkResult;
  /** Its metrics, in the order of the targets. */
  readonly metrics: readonly MetricView[];
}

const SIGNS = { passed: "✓", failed: "✗", "not built": "–", skipped: "–" } as const;
const ARROWS = { better: "▲ ", worse: "▼ ", steady: "", unknown: "" } as const;

/** The sign of a benchmark; the word is for those who do not see it. */
export function signOf(status: BenchmarkResult["status"]): Markup {
  return markup`<span class="sign" role="img" aria-label="${status}">${SIGNS[status]}</span>`;
}

/** A status as a class of the style. */
export function classOf(status: BenchmarkResult["status"]): string {
  return status.replace(" ", "-");
}

/** A trend; the arrow tells what the colour tells. */
export function trendMarkup({ direction, text }: Trend): Markup {
  return markup`<span class="trend ${
    direction === "better" || direction === "worse" ? direction : "muted"
  }">${ARROWS[direction]}${text}</span>`;
}

/** The head: verdict, closing line, what it ran on. */
export function headOf(
  result: StoredResult,
  views: readonly BenchmarkView[],
  comparable: ComparableRuns,
): Markup {
  const { exitCode } = result;
  const outcome = exitCode === EXIT.done
    ? "passed"
    : exitCode === EXIT.usage
    ? "skipped"
    : "failed";
  const facts = factsOf(result).map(([term, value]) =>
    markup`<div><dt>${term}</dt><dd class="text">${value}</dd></div>\n`
  );
  const notices = [
    faultsText(result),
    result.quick ? QUICK_TEXT : undefined,
    changes(views, comparable),
  ].filter((notice) => notice !== undefined);
  return markup`<header class="card ${outcome}">
<h1>MMSB Benchmark Validation</h1>
<div class="verdict">
<span class="sign" aria-hidden="true">${SIGNS[outcome]}</span>
<p><strong class="outcome">${headline(result)}</strong>
<span class="text">${resultText(result)}</span></p>
</div>
${notices.map((notice) => markup`<p class="notice">${notice}</p>\n`)}
<dl class="facts">
${facts}</dl>
</header>`;
}

function headline({ exitCode, counts, benchmarks, device }: StoredResult): string {
  if (exitCode === EXIT.damaged) return "Damaged data";
  if (counts.failed > 0) return `Failed: ${counts.failed} of ${benchmarks.length}`;
  if (isDeviceIdle(device)) return "Nothing ran on the GPU";
  if (counts.passed === 0) return "Nothing was checked";
  return counts.passed === benchmarks.length
    ? `Passed: ${counts.passed} of ${benchmarks.length}`
    : `Passed: all ${counts.passed} that ran`;
}

/** How many metrics are better or worse than before, and where. */
function changes(views: readonly BenchmarkView[], { runs }: ComparableRuns): Markup {
  const earlier = runs.length - 1;
  if (earlier === 0) {
    return markup`No earlier run to compare with: each run adds itself to the history, and the next page has charts.`;
  }
  const graded = views.flatMap(({ result, metrics }) =>
    metrics.filter(({ verdict }) => isGraded(verdict)).map((metric) => ({ result, metric }))
  );
  const named = (direction: Trend["direction"]): Markup => {
    const found = graded.filter(({ metric }) => metric.trend.direction === direction);
    if (found.length === 0) return markup`none ${direction}`;
    const names = found.map(({ result, metric }, index) =>
      markup`${
        index === 0 ? "" : ", "
      }<a class="text" href="#b${result.id}">${result.name}: ${metric.verdict.label}</a>`
    );
    return markup`<span class="${direction}">${
      ARROWS[direction]
    }${found.length} ${direction}</span> (${names})`;
  };
  const steady = graded.filter(({ metric }) => metric.trend.direction === "steady").length;
  return markup`Of ${graded.length} times, rates and sizes, against ${earlier} earlier ${
    earlier === 1 ? "run" : "runs"
  } on such a machine: ${named("better")}, ${named("worse")}, ${steady} as usual.`;
}

function factsOf(result: StoredResult): [string, Content][] {
  const { machine, startedAt, durationMs, quick, repeats, seed, directory } = result;
  const device = deviceText(result);
  const durabilities = [
    ...new Set(result.benchmarks.flatMap(({ durability }) => durability ?? [])),
  ];
  return [
    [
      "Run",
      markup`<time datetime="${startedAt.toISOString()}">${dateText(startedAt)}</time>, ${
        durationText(durationMs)
      }`,
    ],
    ["Machine", machineText(machine)],
    ["System", [machine.os, machine.osRelease, machine.arch].filter(Boolean).join(" ")],
    [
      "Versions",
      `MMSB ${machine.versions.mmsb}, Deno ${machine.versions.deno}, V8 ${machine.versions.v8}`,
    ],
    [
      "Work",
      `${quick ? "quick" : "full"}, ${
        repeats === 1 ? "each validator once" : `each validator ${repeats} times`
      }, seed ${seed}`,
    ],
    ...(durabilities.length === 0
      ? []
      : [["Durability", durabilities.join(", ")] as [string, Content]]),
    ...(directory === undefined ? [] : [["Data", directory] as [string, Content]]),
    ...(device === undefined ? [] : [["Device", device] as [string, Content]]),
  ];
}

function machineText({ processor, cores, memoryBytes }: Machine): string {
  return [
    processor ?? "unknown processor",
    `${cores} ${cores === 1 ? "core" : "cores"}`,
    ...(memoryBytes === undefined ? [] : [`${formatFigure(memoryBytes, "bytes")} of memory`]),
  ].join(", ");
}

/** The table of the benchmarks: a row each, with the metric that decides. */
export function overviewOf(views: readonly BenchmarkView[], hasHistory: boolean): Markup {
  const names = ["Validator", "Measured", "Target", "Reached"];
  const heads = names.map((name) => markup`<th role="columnheader" scope="col">${name}</th>`);
  const past = markup`<th role="columnheader" scope="col" colspan="2">History</th>`;
  return markup`<section class="card" aria-labelledby="overview">
<h2 id="overview" class="hidden">Overview</h2>
<table class="rows overview" role="table">
<thead role="rowgroup"><tr role="row">${heads}${hasHistory ? past : ""}</tr></thead>
<tbody role="rowgroup">
${views.map((view) => overviewRow(view, hasHistory))}</tbody>
</table>
</section>`;
}

function overviewRow({ result, metrics }: BenchmarkView, hasHistory: boolean): Markup {
  const { status, reason } = result;
  const metric = metrics.find(({ verdict }) => isFailure(verdict)) ?? metrics[0];
  const kind = classOf(status);
  // What no metric tells stands in their place.
  if (metric === undefined || reason !== undefined) {
    const columns = hasHistory ? 5 : 3;
    const tone = status === "failed" ? "missed" : "muted";
    return markup`<tr role="row" class="${kind}">${rowTitle(result, "")}
<td role="cell" class="wide text ${tone}" colspan="${columns}">${outcomeText(result)}</td></tr>\n`;
  }
  const { verdict, trend, spark } = metric;
  const measured = `measured ${isFailure(verdict) ? "missed" : ""}`;
  const past = markup`<td role="cell" class="spark-cell">${spark}</td>
<td role="cell" class="wide-more">${trendMarkup(trend)}</td>`;
  return markup`<tr role="row" class="${kind}">${rowTitle(result, verdict.label)}
${figureCell("Measured", measuredText(verdict), measured)}
${figureCell("Target", limitText(verdict.comparison, targetText(verdict)))}
${figureCell("Reached", reachedText(verdict))}
${hasHistory ? past : ""}</tr>\n`;
}

function rowTitle({ id, name, status }: BenchmarkResult, detail: string): Markup {
  const link = markup`<a href="#b${id}"><span class="number">#${id}\u00a0</span>${name}</a>`;
  return markup`<th role="rowheader" scope="row"><span class="name">${signOf(status)}
<span>${link}<span class="text">${detail}</span></span></span></th>`;
}

/** A cell that knows its column's name, for a page too narrow for columns. */
export function figureCell(head: string, figure: string, kind = ""): Markup {
  return markup`<td role="cell" data-head="${head}" class="figure ${kind}">${figure}</td>`;
}

/** How far a figure is from its target, in words; checks are met or not. */
export function reachedText(verdict: MetricVerdict): string {
  const margin = isGraded(verdict) ? marginOf(verdict) : undefined;
  return margin?.text ?? verdict.verdict;
}

type Content = string | Markup;
