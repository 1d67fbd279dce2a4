/**
 * The charts of a history: a metric over the runs, at its full size and in the space of a word.
 *
 * They are drawn at the width of a telephone and laid out side by side where there is room, so that
 * their letters never shrink. All share one language: measured figures in the accent colour, this run
 * as the large point, the target as a full line with its failing side shaded, the goal as a dashed
 * line, and a missed figure as a cross, so that nothing is told by colour alone.
 */

import type { Pen } from "./_html_plot.ts";
import type { Markup } from "./_html_text.ts";
import { clean } from "./_html_text.ts";
import { type Axis, axisOf, isDrawable, ticksOf } from "./_html_axis.ts";
import type { Point, Series } from "./_html_runs.ts";
import { dateText, exactText } from "./_html_words.ts";
import { formatFigure } from "./figures.ts";
import type { Unit } from "./targets.ts";

/** Width of a chart: what a telephone of 390 pixels leaves between its margins. */
export const WIDTH = 340;
const HEIGHT = 168;

/** A run in which the metric has a figure. */
type Measured = Point & { readonly value: number };

/**
 * Draws a metric over the runs, with its target and goal.
 *
 * @param pen What draws.
 * @param series The metric.
 * @param label What the chart shows, for those who do not see it.
 */
export function historyChart(pen: Pen, series: Series, label: string): Markup {
  const { verdict, points, length } = series;
  const { unit, target, goal } = verdict;
  const measured = points.filter(hasFigure);
  const axis = axisOf([
    target,
    goal.value,
    ...measured.flatMap(({ value, spread = [] }) => [value, ...spread]),
  ]);
  const x = [-0.5, length - 0.5] as const;
  return pen.draw(label, "chart", {
    width: WIDTH,
    height: HEIGHT,
    marginTop: 12,
    marginRight: 10,
    marginBottom: 24,
    marginLeft: 54,
    x: { domain: x, axis: null },
    y: { ...axis, label: null },
    marks: [
      ...limitMarks(pen, series, axis, x),
      pen.ruleX(measured.filter(({ spread }) => spread !== undefined), {
        x: "index",
        y1: (point: Point) => point.spread![0],
        y2: (point: Point) => point.spread![1],
        stroke: "var(--accent)",
        strokeOpacity: 0.5,
        strokeWidth: 2,
      }),
      ...figureMarks(pen, series, measured),
      // Wide and unseen, so that a pointer finds the figure.
      pen.dot(points.map((point) => ({ ...point, ...shownAt(point, axis) })), {
        x: "index",
        y: "y",
        r: 9,
        fill: "transparent",
        title: (point: Point) => titleOf(point, unit, point.index === length - 1),
      }),
      ...points.slice(0, 1).map(({ run, index }) =>
        pen.text([dateText(run.startedAt).slice(0, 10)], {
          frameAnchor: "bottom-left",
          dy: 17,
          fill: "var(--muted)",
          filter: () => index < length - 1,
        })
      ),
      pen.text(["this run"], { frameAnchor: "bottom-right", dy: 17, fill: "var(--muted)" }),
    ],
  });
}

/** Grid, the failing side, target and goal: what the figures stand before. */
function limitMarks(
  pen: Pen,
  { verdict: { unit, comparison, target, goal } }: Series,
  axis: Axis,
  [start, end]: readonly [number, number],
): unknown[] {
  const [bottom, top] = axis.domain;
  const failsAbove = comparison === "<" || comparison === "<=";
  const lines = goal.value === target
    ? [{ y: target, text: "target and goal" }]
    : [{ y: target, text: "target" }, { y: goal.value, text: "goal" }];
  return [
    pen.rect([{ y1: target, y2: failsAbove ? top : bottom }], {
      x1: start,
      x2: end,
      y1: "y1",
      y2: "y2",
      fill: "var(--fail-area)",
    }),
    pen.gridY({ ticks: ticksOf(axis), stroke: "var(--rule)", strokeOpacity: 1 }),
    pen.axisY({
      ticks: ticksOf(axis),
      tickSize: 0,
      tickPadding: 8,
      tickFormat: (value: number) => formatFigure(value, unit),
      fill: "var(--muted)",
      label: null,
    }),
    pen.ruleY([goal.value], { stroke: "var(--muted)", strokeDasharray: "4,3" }),
    pen.ruleY([target], { stroke: "var(--ink)", strokeWidth: 1.25 }),
    pen.text(lines, {
      x: start,
      y: "y",
      text: "text",
      textAnchor: "start",
      dx: 3,
      lineAnchor: "bottom",
      dy: -3,
      fill: "var(--muted)",
      stroke: "var(--paper)",
      strokeWidth: 3,
    }),
  ];
}

/** The figures, joined where nothing is missing between them. */
function figureMarks(pen: Pen, series: Series, measured: readonly Measured[]): unknown[] {
  const { points, length } = series;
  const isLast = (point: Point): boolean => point.index === length - 1;
  const cross = { symbol: "times", r: 4, stroke: "var(--bad)", strokeWidth: 2 };
  return [
    pen.line(withGaps(measured, length), {
      x: "index",
      y: "value",
      stroke: "var(--accent)",
      strokeOpacity: 0.5,
      strokeWidth: 1.25,
    }),
    pen.dot(measured.filter((point) => point.isMet && !isLast(point)), {
      x: "index",
      y: "value",
      r: length > 30 ? 1.75 : 2.25,
      fill: "var(--accent)",
    }),
    pen.dot(measured.filter((point) => point.isMet && isLast(point)), {
      x: "index",
      y: "value",
      r: 5,
      fill: "var(--accent)",
      stroke: "var(--paper)",
      strokeWidth: 2,
    }),
    pen.dot(measured.filter(({ isMet }) => !isMet), { ...cross, x: "index", y: "value" }),
    // A run that ended without a figure has its cross on the axis.
    pen.dot(points.filter((point) => !hasFigure(point)), {
      ...cross,
      x: "index",
      frameAnchor: "bottom",
    }),
  ];
}

/**
 * Draws a metric over the runs in the space of a word.
 *
 * @param pen What draws.
 * @param series The metric.
 * @param label What the chart shows, for those who do not see it.
 */
export function sparkChart(pen: Pen, series: Series, label: string): Markup {
  const { points, length } = series;
  const measured = points.filter(hasFigure);
  const values = measured.map(({ value }) => value);
  const isFlat = new Set(values).size === 1;
  // A figure that never changed is a line through the middle.
  const axis = isFlat ? { domain: [values[0] - 1, values[0] + 1] } : axisOf(values);
  const cross = { symbol: "times", r: 3, stroke: "var(--bad)", strokeWidth: 1.75, x: "index" };
  return pen.draw(label, "spark", {
    width: 112,
    height: 26,
    margin: 5,
    axis: null,
    x: { domain: [0, Math.max(length - 1, 1)] },
    y: axis,
    marks: [
      pen.line(withGaps(measured, length), {
        x: "index",
        y: "value",
        stroke: "var(--accent)",
        strokeWidth: 1.25,
        strokeOpacity: 0.75,
      }),
      pen.dot(measured.filter(({ isMet }) => !isMet), { ...cross, y: "value" }),
      pen.dot(points.filter((point) => !hasFigure(point)), { ...cross, frameAnchor: "bottom" }),
      pen.dot(measured.slice(-1).filter(({ isMet, index }) => isMet && index === length - 1), {
        x: "index",
        y: "value",
        r: 3,
        fill: "var(--accent)",
      }),
    ],
  });
}

function hasFigure(point: Point): point is Measured {
  return point.value !== undefined && isDrawable(point.value);
}

/** Where a point is found by a pointer: at its figure, or on the axis. */
function shownAt(point: Point, { domain }: Axis): { y: number } {
  return { y: hasFigure(point) ? point.value : domain[0] };
}

/** One entry a run, NaN where there is no figure: there the line is broken. */
function withGaps(
  measured: readonly Measured[],
  length: number,
): { index: number; value: number }[] {
  const values = new Map(measured.map(({ index, value }) => [index, value]));
  return Array.from({ length }, (_, index) => ({ index, value: values.get(index) ?? NaN }));
}

function titleOf({ run, value, spread, isMet }: Point, unit: Unit, isThis: boolean): string {
  const figure = value === undefined ? "failed without a figure" : exactText(value, unit);
  return [
    isThis ? `this run, ${dateText(run.startedAt)}` : dateText(run.startedAt),
    value !== undefined && !isMet ? `${figure} (misses the target)` : figure,
    ...(spread === undefined
      ? []
      : [`repeats from ${exactText(spread[0], unit)} to ${exactText(spread[1], unit)}`]),
    `MMSB ${run.machine.versions.mmsb}, Deno ${run.machine.versions.deno}`,
  ].map(clean).join("\n");
}
