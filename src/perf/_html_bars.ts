/**
 * The chart of one run: several metrics of one unit, each a bar with its point beside its target, so that
 * forms of the same work (one thread, workers) and places of a distribution (median, 99th percentile)
 * stand on one axis. It speaks the language of the other charts.
 */

import { type Axis, axisOf, placeOn, ticksOf } from "./_html_axis.ts";
import { WIDTH } from "./_html_charts.ts";
import type { Pen } from "./_html_plot.ts";
import { clean, type Markup } from "./_html_text.ts";
import { formatFigure } from "./figures.ts";
import type { Comparison, Unit } from "./targets.ts";

/** Height of a bar and its label. */
const ROW_HEIGHT = 42;

/** A row of {@linkcode runChart}. */
export interface Bar {
  /** What was measured. */
  readonly label: string;
  /** The figure as the report shows it. */
  readonly text: string;
  /** The figure; finite. */
  readonly value: number;
  /** The target; none for a figure that is told but not judged. */
  readonly limit?: {
    readonly comparison: Comparison;
    readonly target: number;
    readonly isMet: boolean;
  };
  /** The lowest and highest of the repeats. */
  readonly spread?: readonly [number, number];
}

/**
 * Draws metrics of one unit in this run, each beside its target.
 *
 * @param pen What draws.
 * @param bars The metrics.
 * @param unit Their unit.
 * @param label What the chart shows, for those who do not see it.
 */
export function runChart(pen: Pen, bars: readonly Bar[], unit: Unit, label: string): Markup {
  const axis = axisOf(
    bars.flatMap(({ value, limit, spread = [] }) => [
      value,
      ...spread,
      ...(limit === undefined ? [] : [limit.target]),
    ]),
  );
  const height = bars.length * ROW_HEIGHT + 26;
  const rows = bars.map((bar, row) => ({ ...bar, row, isMissed: bar.limit?.isMet === false }));
  return pen.draw(label, "chart", {
    width: WIDTH,
    height,
    marginTop: 0,
    marginRight: 8,
    marginBottom: 24,
    marginLeft: 2,
    x: { ...axis, label: null },
    y: { domain: [-0.5, bars.length - 0.5], range: [2, height - 24], axis: null },
    marks: [
      pen.gridX({ ticks: ticksOf(axis), stroke: "var(--rule)", strokeOpacity: 1 }),
      ...barAxis(pen, axis, unit),
      ...barMarks(pen, rows, axis),
      ...barTexts(pen, rows, axis),
    ],
  });
}

/** The figures under the bars; those at an end begin or end there, as there is no room beside it. */
function barAxis(pen: Pen, axis: Axis, unit: Unit): unknown[] {
  const ticks = ticksOf(axis);
  const between = (low: number, high: number): readonly number[] =>
    ticks.filter((tick) => placeOn(axis, tick) >= low && placeOn(axis, tick) < high);
  const ends = [["start", between(0, 0.07)], ["middle", between(0.07, 0.93)], [
    "end",
    between(0.93, 2),
  ]] as const;
  return ends.filter(([, shown]) => shown.length > 0).map(([textAnchor, shown]) =>
    pen.axisX({
      ticks: shown,
      textAnchor,
      tickSize: 0,
      tickPadding: 7,
      tickFormat: (value: number) => formatFigure(value, unit),
      fill: "var(--muted)",
      label: null,
    })
  );
}

type Row = Bar & { readonly row: number; readonly isMissed: boolean };

function barMarks(pen: Pen, rows: readonly Row[], axis: Axis): unknown[] {
  const judged = rows.filter(({ limit }) => limit !== undefined);
  return [
    pen.link(rows, {
      x1: axis.domain[0],
      x2: "value",
      y: "row",
      dy: 8,
      stroke: "var(--accent)",
      strokeOpacity: 0.25,
      strokeWidth: 6,
    }),
    pen.link(rows.filter(({ spread }) => spread !== undefined), {
      x1: (row: Row) => row.spread![0],
      x2: (row: Row) => row.spread![1],
      y: "row",
      dy: 8,
      stroke: "var(--accent)",
      strokeWidth: 2,
    }),
    pen.link(judged, {
      x: (row: Row) => row.limit!.target,
      y1: (row: Row) => row.row + 0.02,
      y2: (row: Row) => row.row + 0.36,
      stroke: "var(--ink)",
      strokeWidth: 1.5,
    }),
    pen.dot(rows.filter(({ isMissed }) => !isMissed), {
      x: "value",
      y: "row",
      dy: 8,
      r: 5,
      fill: "var(--accent)",
      stroke: "var(--paper)",
      strokeWidth: 2,
    }),
    pen.dot(rows.filter(({ isMissed }) => isMissed), {
      x: "value",
      y: "row",
      dy: 8,
      r: 4.5,
      symbol: "times",
      stroke: "var(--bad)",
      strokeWidth: 2.5,
    }),
  ];
}

function barTexts(pen: Pen, rows: readonly Row[], { domain }: Axis): unknown[] {
  const text = { y: "row", dy: -7, stroke: "var(--paper)", strokeWidth: 3 };
  return [
    pen.text(rows, {
      ...text,
      x: domain[0],
      text: (row: Row) => cut(clean(row.label).replace(/\s+/g, " ")),
      textAnchor: "start",
      fill: "var(--ink)",
    }),
    pen.text(rows, {
      ...text,
      x: domain[1],
      text: (row: Row) => row.limit === undefined ? `${row.text}, not judged` : row.text,
      textAnchor: "end",
      fill: "var(--muted)",
    }),
  ];
}

/** A label that leaves room for its figure. */
function cut(label: string): string {
  const characters = [...label];
  return characters.length <= 36 ? label : `${characters.slice(0, 35).join("")}…`;
}
