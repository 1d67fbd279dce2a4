/**
 * Several runs of one validator made into one measurement.
 *
 * A time, a rate or a size in memory differs from run to run with the machine's other work; the median
 * says what is typical, and a single run that was disturbed does not decide. Everything else is a
 * count or a share of things that went right: there one bad run is the truth, so the worst of them
 * counts. A figure is judged after that, once, so what is printed is what was compared.
 */

import type { Measured, PlantedResult } from "../validators/validator.ts";
import { formatFigure } from "./figures.ts";
import { medianOf, rangeOf } from "./statistics.ts";
import { type BenchmarkTarget, isTimed, type MetricTarget } from "./targets.ts";

/** Makes one measurement of at least one. */
export function poolRepeats(
  benchmark: BenchmarkTarget,
  repeats: readonly Measured[],
): Measured {
  if (repeats.length === 1) return repeats[0];
  const last = repeats[repeats.length - 1];
  const planted = poolPlanted(repeats);
  const damage = repeats.find((repeat) => repeat.damage !== undefined)?.damage;
  return {
    ...last,
    metrics: poolMetrics(benchmark, repeats),
    samples: poolSamples(repeats),
    notes: [...spreads(benchmark, repeats), ...(last.notes ?? [])],
    ...(planted === undefined ? {} : { planted }),
    ...(damage === undefined ? {} : { damage }),
  };
}

/** A figure that one run left out is left out: it was not measured. */
function poolMetrics(
  { metrics }: BenchmarkTarget,
  repeats: readonly Measured[],
): Record<string, number> {
  const pooled: Record<string, number> = {};
  for (const name of Object.keys(repeats[0].metrics)) {
    const figures = repeats.map((repeat) => repeat.metrics[name]);
    if (figures.some((figure) => figure === undefined)) continue;
    const target = metrics.find((metric) => metric.name === name);
    pooled[name] = target === undefined || isTimed(target)
      ? medianOf(figures)
      : worstOf(figures, target);
  }
  return pooled;
}

/** The figure that is furthest on the wrong side; one that is no number is worse than any. */
function worstOf(figures: readonly number[], { comparison, target }: MetricTarget): number {
  const broken = figures.find((figure) => !Number.isFinite(figure));
  if (broken !== undefined) return broken;
  if (comparison === "==") {
    return figures.toSorted((a, b) => Math.abs(b - target) - Math.abs(a - target))[0];
  }
  return comparison.startsWith(">") ? Math.min(...figures) : Math.max(...figures);
}

/** All that was looked at; a run that looked at nothing makes it nothing. */
function poolSamples(repeats: readonly Measured[]): number {
  const empty = repeats.find(({ samples }) => !(Number.isSafeInteger(samples) && samples >= 1));
  return empty?.samples ?? repeats.reduce((sum, { samples }) => sum + samples, 0);
}

/** A fault counts as found only where each run that planted it found it. */
function poolPlanted(repeats: readonly Measured[]): PlantedResult[] | undefined {
  const found = new Map<string, boolean>();
  for (const { planted = [] } of repeats) {
    for (const fault of planted) {
      found.set(fault.id, (found.get(fault.id) ?? true) && fault.found);
    }
  }
  if (repeats.every(({ planted }) => planted === undefined)) return undefined;
  return [...found].map(([id, isFound]) => ({ id, found: isFound }));
}

/** A remark on each timed figure: how far its runs lie apart. */
function spreads({ metrics }: BenchmarkTarget, repeats: readonly Measured[]): string[] {
  const texts = metrics.filter(isTimed).flatMap(({ name, label, unit }) => {
    const figures = repeats.map((repeat) => repeat.metrics[name]);
    if (figures.some((figure) => !Number.isFinite(figure))) return [];
    const [least, most] = rangeOf(figures).map((figure) => formatFigure(figure, unit));
    return [`${label} ${least} to ${most}`];
  });
  const head = `${repeats.length} repeats: medians of what is timed, the worst of all else`;
  return [texts.length === 0 ? head : `${head}; ${texts.join(", ")}`];
}
