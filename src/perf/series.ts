/**
 * A side of a comparison: the figures of one file, or of all files of a folder, as series by name.
 *
 * A folder may hold runs of several machines, quick and full ones. Figures of different kinds are
 * never mixed: each kind of run is a group of its own, and a comparison takes the groups that fit.
 */

import { machineKind, workText } from "./comparable.ts";
import type { StoredResult } from "./stored_result.ts";
import { type Goal, isTimed, type MetricTarget, type Unit } from "./targets.ts";

/** Which way a figure gets better: up, down, or towards one value; `unknown` where nobody said. */
export type Direction = "more" | "less" | "unknown" | { readonly exactly: number };

/** How often a figure comes out otherwise: never but for a change of the work, or from run to run. */
export type Steadiness = "exact" | "noisy";

/** One figure over some runs. */
export interface Series {
  /** Name that no other figure of the side has: `5.oneThread`. */
  readonly key: string;
  /** What it belongs to: `#5 Throughput`. */
  readonly group: string;
  /** The figure in words. */
  readonly label: string;
  /** What it counts. */
  readonly unit: Unit;
  /** Which way it gets better. */
  readonly direction: Direction;
  /** Whether it differs from run to run. */
  readonly steadiness: Steadiness;
  /** Whether it means something on its own kind of machine only: times and rates. */
  readonly machineBound: boolean;
  /** The figures, one a run. */
  readonly figures: readonly number[];
  /** Least and largest over all rounds, where each figure is a median of rounds that are not kept. */
  readonly range?: readonly [number, number];
  /** How many rounds that range is of. */
  readonly rounds?: number;
  /** Whether it is exact and misses its target in the newest run: news where A lacks it. */
  readonly isMissed?: boolean;
  /** The project's own aim, where it has one. */
  readonly goal?: Goal;
}

/** Runs that can be pooled: of one kind of machine, and one kind of work. */
export interface RunGroup {
  /** The machine, in words. */
  readonly machine: string;
  /** The work, in words. */
  readonly work: string;
  /** How many files it has. */
  readonly files: number;
  /** The figures, by key, in the order of reports. */
  readonly series: ReadonlyMap<string, Series>;
  /** Percent of all cores' time that others took in the busiest of the runs; absent where not known. */
  readonly othersPercent?: number;
  /** Benchmarks by id that failed for another reason than a figure, with that reason. */
  readonly failures: ReadonlyMap<number, string>;
}

/** What a side was made of; sides of two kinds have no figure in common. */
export type SideKind = "validation" | "anchors";

/** What fails a comparison; see {@linkcode compareSides}. */
export interface FailRules {
  /** Change for the worse, in percent, past which a figure that is not exact fails. */
  readonly thresholdPercent: number;
  /**
   * Where given, a time or rate fails only if it has become so many times as bad, is one of the same
   * kind of machine, and misses the project's goal: for machines that other work makes slow.
   */
  readonly timesFactor?: number;
  /**
   * Where given, a time or rate fails only if other processes took at most so much of all cores' time,
   * in percent, while B ran, and that is known.
   */
  readonly othersPercentMax?: number;
  /** Whether a figure of A that a benchmark of B no longer has fails, so that none is lost unseen. */
  readonly everyFigure?: boolean;
}

/** One side of a comparison. */
export interface Side {
  /** What was given: a file or a folder. */
  readonly path: string;
  /** What it was made of. */
  readonly kind: SideKind;
  /** What fails a comparison with it, where it says so itself: a baseline. */
  readonly rules?: FailRules;
  /** The runs, by kind; the kind of the newest run first. */
  readonly groups: readonly RunGroup[];
}

/**
 * Pools results by kind.
 *
 * @param path What was given.
 * @param results The results, oldest first.
 * @returns The side.
 */
export function sideOfResults(path: string, results: readonly StoredResult[]): Side {
  const kinds = new Map<string, StoredResult[]>();
  for (const result of results.toReversed()) {
    const kind = `${machineKind(result.machine)}|${workText(result)}`;
    if (kinds.has(kind)) kinds.get(kind)!.unshift(result);
    else kinds.set(kind, [result]);
  }
  return { path, kind: "validation", groups: [...kinds.values()].map(groupOf) };
}

function groupOf(results: readonly StoredResult[]): RunGroup {
  const newest = results[results.length - 1];
  const series = new Map<string, Series>();
  const failures = new Map<number, string>();
  const others = results.map(({ othersPercent }) => othersPercent);
  for (const { benchmarks } of results) {
    for (const { id, name, status, reason, verdicts, runs } of benchmarks) {
      if (status === "failed" && reason !== undefined) failures.set(id, reason);
      for (const verdict of verdicts) {
        const figures = runs.flatMap((run) => run[verdict.name] ?? []);
        if (figures.length === 0) continue;
        const known = series.get(`${id}.${verdict.name}`);
        const added = seriesOf(`#${id} ${name}`, id, verdict, figures);
        series.set(added.key, {
          ...added,
          figures: [...known?.figures ?? [], ...figures],
          isMissed: added.steadiness === "exact" && verdict.verdict === "missed",
        });
      }
    }
  }
  return {
    machine: machineKind(newest.machine),
    work: workText(newest),
    files: results.length,
    series,
    ...(others.some((percent) => percent === undefined)
      ? {}
      : { othersPercent: Math.max(...others as number[]) }),
    failures,
  };
}

/** The figures of one metric as a series. */
export function seriesOf(
  group: string,
  id: number,
  metric: Omit<MetricTarget, "quickTarget">,
  figures: readonly number[],
): Series {
  const { name, label, unit, comparison, target, goal } = metric;
  return {
    key: `${id}.${name}`,
    group,
    label,
    unit,
    direction: comparison === "=="
      ? { exactly: target }
      : comparison.startsWith(">")
      ? "more"
      : "less",
    steadiness: isTimed(metric) ? "noisy" : "exact",
    machineBound: isTimed(metric) && unit !== "bytes",
    figures,
    goal,
  };
}
