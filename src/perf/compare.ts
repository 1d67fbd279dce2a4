/**
 * Comparing two sides: what got better, what got worse, and what lies within noise.
 *
 * Each figure is compared on its own. A noisy one (times, rates, sizes in memory) counts as changed
 * only past the noise of both sides (see `noise.ts`); an exact one (counts, shares, errors of a seeded
 * run) counts as changed when it differs at all. Times and rates of another kind of machine are not
 * compared, and nothing of another kind of work is: the verdict says why.
 *
 * A change for the worse is a regression where it is past the threshold; a figure that must be exactly
 * something, and a validator that broke off, need none.
 */

import {
  type ChangeVerdict,
  compareSeries,
  type FigureComparison,
  type Pair,
} from "./compare_figure.ts";
import type { FailRules, RunGroup, Side } from "./series.ts";

/** A side as it was compared. */
export interface SideSummary {
  /** What was given. */
  readonly path: string;
  /** The machine, in words. */
  readonly machine: string;
  /** The work, in words. */
  readonly work: string;
  /** Files that were pooled. */
  readonly files: number;
  /** Percent of the cores' time that other processes took meanwhile; absent where not known. */
  readonly othersPercent?: number;
  /** Files of other kinds of run, left out. */
  readonly filesLeftOut: number;
}

/** The outcome. */
export interface ComparisonReport {
  /** The side before. */
  readonly a: SideSummary;
  /** The side after. */
  readonly b: SideSummary;
  /** What fails. */
  readonly rules: FailRules;
  /** All figures of both sides, in the order of reports. */
  readonly figures: readonly FigureComparison[];
  /** How many of them are of the same work on both sides, so that they could be compared. */
  readonly compared: number;
  /** How many of them fail it. */
  readonly regressions: number;
}

/** Verdicts of figures that were compared. */
const COMPARED: ReadonlySet<ChangeVerdict> = new Set(
  ["better", "worse", "changed", "within noise", "equal"] as const,
);

/** Change for the worse, in percent, that fails if nothing else is said. */
export const THRESHOLD_PERCENT_DEFAULT = 10;

/**
 * Compares two sides.
 *
 * @param a The side before; a baseline brings rules of its own.
 * @param b The side after.
 * @param rules What fails; of A or 10 % if left out.
 * @returns Every figure of both, with its verdict.
 *
 * @example A rate that fell by a fifth
 * ```ts
 * import assert from "node:assert/strict";
 * import type { Side } from "./series.ts";
 *
 * const side = (path: string, figures: number[]): Side => ({
 *   path,
 *   kind: "validation",
 *   groups: [{
 *     machine: "P",
 *     work: "full run",
 *     files: 1,
 *     failures: new Map(),
 *     series: new Map([["5.workers", {
 *       key: "5.workers",
 *       group: "#5 Throughput",
 *       label: "workers",
 *       unit: "/sec",
 *       direction: "more",
 *       steadiness: "noisy",
 *       machineBound: true,
 *       figures,
 *     }]]),
 *   }],
 * });
 * const before = side("before.json", [100, 101, 99, 100, 102]);
 * const { figures: [workers], regressions } = compareSides(before, side("b", [80, 81, 79, 80, 82]));
 * assert.equal(workers.verdict, "worse");
 * assert.equal(workers.changePercent, -20);
 * assert.equal(regressions, 1);
 * ```
 */
export function compareSides(
  a: Side,
  b: Side,
  rules: FailRules = a.rules ?? { thresholdPercent: THRESHOLD_PERCENT_DEFAULT },
): ComparisonReport {
  const [groupA, groupB] = bestPair(a, b);
  const pair: Pair = {
    isSameMachine: groupA.machine === groupB.machine,
    isSameWork: groupA.work === groupB.work,
    works: `${groupA.work} against ${groupB.work}`,
    rules,
    excuse: excuseOf(groupB, rules),
    ranInB: new Set([...groupB.series.values()].map(({ group }) => group)),
  };
  const figures: FigureComparison[] = [];
  for (const key of new Set([...groupA.series.keys(), ...groupB.series.keys()])) {
    figures.push(compareSeries(groupA.series.get(key), groupB.series.get(key), pair));
  }
  figures.push(...breakages(groupA, groupB));
  return {
    a: summaryOfSide(a, groupA),
    b: summaryOfSide(b, groupB),
    rules,
    figures: inOrder(figures),
    compared: figures.filter(({ verdict }) => COMPARED.has(verdict)).length,
    regressions: figures.filter(({ isRegression }) => isRegression).length,
  };
}

/** The groups that have most in common; of equals the newest. */
function bestPair(a: Side, b: Side): readonly [RunGroup, RunGroup] {
  let best: readonly [RunGroup, RunGroup] = [a.groups[0], b.groups[0]];
  let scoreMax = -1;
  for (const groupA of a.groups) {
    for (const groupB of b.groups) {
      const score = (groupA.work === groupB.work ? 2 : 0) +
        (groupA.machine === groupB.machine ? 1 : 0);
      if (score > scoreMax) [best, scoreMax] = [[groupA, groupB], score];
    }
  }
  return best;
}

function excuseOf({ othersPercent }: RunGroup, rules: FailRules): string | undefined {
  if (rules.othersPercentMax === undefined) return undefined;
  if (othersPercent === undefined) return "it is not known how busy the machine was";
  return othersPercent > rules.othersPercentMax
    ? "the machine was busy with other things"
    : undefined;
}

/** Validators that failed in B and not in A, for a reason that no figure shows. */
function breakages(a: RunGroup, b: RunGroup): FigureComparison[] {
  return [...b.failures].filter(([id]) => !a.failures.has(id)).map(([id, reason]) => ({
    key: `${id}.`,
    group: `#${id}`,
    label: "the validator itself",
    unit: "number",
    verdict: "worse",
    reason: `failed: ${reason}`,
    isRegression: true,
  }));
}

function summaryOfSide({ path, groups }: Side, group: RunGroup): SideSummary {
  const { machine, work, files, othersPercent } = group;
  const filesAll = groups.reduce((sum, one) => sum + one.files, 0);
  return {
    path,
    machine,
    work,
    files,
    ...(othersPercent === undefined ? {} : { othersPercent }),
    filesLeftOut: filesAll - files,
  };
}

/** By benchmark, each with its figures in the order of its targets. */
function inOrder(figures: readonly FigureComparison[]): FigureComparison[] {
  return figures.toSorted((a, b) => numberOf(a) - numberOf(b));
}

function numberOf({ key }: FigureComparison): number {
  return Number(/^(\d+)\./.exec(key)?.[1] ?? 0);
}
