/**
 * Validator 9, stability: a coupled system on the bus itself stays near its way when it is pushed.
 *
 * A grid of heat and oscillators runs as rules (see `_stability_system.ts`), undisturbed and disturbed in
 * four ways: one cell at the start, all cells halfway, noise in every step, a stronger source. Step by step the
 * distance from the undisturbed run is compared with what was put in so far, every value is looked at, and the
 * second difference of every value in time is bounded: a trajectory that jumps has a large one. The undisturbed
 * run must have the bytes of the same system in plain arrays.
 *
 * Each figure is the worst over all disturbances, steps and cells.
 */

import { SeededRandom } from "../log/seeded_random.ts";
import { text } from "./_figures.ts";
import {
  cellsOf,
  type Drive,
  PlainSystem,
  STABLE,
  SystemOnBus,
  type SystemPlan,
} from "./_stability_system.ts";
import { plantedNotes, plantedResults } from "./catalogue.ts";
import type { Measured, PlantedResult, Validator, ValidatorContext } from "./validator.ts";

/** How much is done. */
export interface StabilityPlan extends SystemPlan {
  /** Steps of a run. */
  readonly steps: number;
  /** Seed of everything random. */
  readonly seed: number;
}

const STEPS = 500;
const STEPS_QUICK = 100;
/** Heat that the source gives in a step at most, and that a disturbance adds. */
const SOURCE = 0.1;
const PUSH = 0.0001;

/** The validator. */
export const stabilityValidator: Validator = {
  id: 9,
  name: "Stability",
  needsWorkload:
    "it disturbs a system of its own and compares runs: which of your values must stay bounded only you know; say it with bus.invariant()",
  run: runStability,
};

async function runStability({ quick, seed, progress }: ValidatorContext): Promise<Measured> {
  const plan = { ...STABLE, steps: quick ? STEPS_QUICK : STEPS, seed };
  const outcome = await measureStability(plan, progress);
  const planted = plantedResults(9, [...outcome.planted, await plantDrift(seed)]);
  return {
    metrics: stabilityMetrics(outcome),
    samples: outcome.values,
    notes: [...notesOf(plan, outcome), ...plantedNotes(planted)],
    durability: "memory",
    planted,
  };
}

/** Does a small part of the work with a diffusion that is none of a stable system: errors must be seen to grow. */
async function plantDrift(seed: number): Promise<PlantedResult> {
  const plan = { ...STABLE, width: 8, rows: 3, strips: 3, steps: 60, seed };
  const grown = stabilityMetrics(await measureStability({ ...plan, diffusion: 0.35 }, () => {}));
  return { id: "stability-drift", found: grown.errorGrowth > 10 && grown.wrongSteps === 0 };
}

/** What one disturbance did. */
export interface Disturbed {
  /** What it was. */
  readonly name: string;
  /** Largest distance from the undisturbed run, over what was put in until then. */
  readonly errorGrowth: number;
  /** Largest second difference, over that of the undisturbed run. */
  readonly secondDifferenceGrowth: number;
  /** Distance at the end over the largest one: what is left of it. */
  readonly left: number;
}

/** What was measured. */
export interface StabilityOutcome {
  /** Values that were looked at. */
  readonly values: number;
  /** Values that are NaN or infinite. */
  readonly nonFinite: number;
  /** Steps of the undisturbed run with other bytes than plain arrays have. */
  readonly wrongSteps: number;
  /** Largest value of the undisturbed run. */
  readonly largest: number;
  /** The disturbances. */
  readonly disturbed: readonly Disturbed[];
  /** Faults that were planted in a step of the undisturbed run, and whether they were told. */
  readonly planted: readonly PlantedResult[];
}

/** What is put into the cells beside what the source gives; says how much at most a cell got so far. */
type Disturbance = (step: number, heat: Float64Array) => number;

/** Does the work. */
export async function measureStability(
  plan: StabilityPlan,
  progress: (text: string) => void,
): Promise<StabilityOutcome> {
  const findings = { values: 0, nonFinite: 0 };
  const plain = new PlainSystem(plan), drive = driveOf(plan);
  const way: Float64Array[] = [];
  let wrongSteps = 0, largest = 0;
  progress("the undisturbed run");
  await runSystem(plan, drive, (values) => {
    look(values, findings);
    for (const value of values) largest = Math.max(largest, Math.abs(value));
    if (!isSame(values, plain.advance(drive))) wrongSteps++;
    way.push(values);
  });
  const smoothness = largestSecondDifference(way), planted = plantInWay(way, smoothness);
  const disturbed: Disturbed[] = [];
  for (const [name, disturb] of Object.entries(disturbancesOf(plan))) {
    progress(name);
    disturbed.push({ name, ...await runDisturbed(plan, disturb, way, smoothness, findings) });
  }
  return { ...findings, wrongSteps, largest, disturbed, planted };
}

/** Plants values in a copy of one step: whoever looks at steps must tell them. */
function plantInWay(way: readonly Float64Array[], smoothness: number): PlantedResult[] {
  const half = way.length >> 1, step = way[half], cell = step.length >> 2;
  const planted = (value: number) => step.with(cell, value);
  const nonFinite = (values: Float64Array) => {
    const findings = { values: 0, nonFinite: 0 };
    look(values, findings);
    return findings.nonFinite;
  };
  const kicked = planted(step[cell] + 100 * smoothness), other = planted(step[cell] + 1e-12);
  const growth = largestSecondDifference(way.with(half, kicked)) / smoothness;
  return [
    { id: "stability-nan", found: nonFinite(step) === 0 && nonFinite(planted(NaN)) === 1 },
    { id: "stability-infinite", found: nonFinite(planted(-Infinity)) === 1 },
    { id: "stability-kick", found: growth > 10 },
    { id: "stability-step", found: isSame(step, step.slice()) && !isSame(step, other) },
  ];
}

async function runDisturbed(
  plan: StabilityPlan,
  disturb: Disturbance,
  way: readonly Float64Array[],
  smoothness: number,
  findings: { values: number; nonFinite: number },
): Promise<Omit<Disturbed, "name">> {
  const drive = driveOf(plan), own: Float64Array[] = [];
  let put = 0, errorGrowth = 0, largest = 0, error = 0;
  await runSystem(plan, (step, heat) => {
    drive(step, heat);
    put = disturb(step, heat);
  }, (values, step) => {
    look(values, findings);
    own.push(values);
    error = distance(values, way[step]);
    largest = Math.max(largest, error);
    if (put > 0) errorGrowth = Math.max(errorGrowth, error / put);
    else if (error > 0) errorGrowth = Infinity;
  });
  return {
    errorGrowth,
    secondDifferenceGrowth: largestSecondDifference(own) / smoothness,
    left: largest === 0 ? 0 : error / largest,
  };
}

async function runSystem(
  plan: StabilityPlan,
  drive: Drive,
  see: (values: Float64Array, step: number) => void,
): Promise<void> {
  const system = await SystemOnBus.open(plan);
  try {
    for (let step = 0; step < plan.steps; step++) see(await system.advance(drive), step);
  } finally {
    await system.close();
  }
}

/** A source of heat that swells and ebbs, in the middle of the first strip. */
function driveOf(plan: StabilityPlan): Drive {
  const cell = plan.width * (plan.rows >> 1) + (plan.width >> 1);
  return (step, heat) => {
    heat[cell] += SOURCE * (1 - Math.cos(step / 20)) / 2;
  };
}

function disturbancesOf(plan: StabilityPlan): Record<string, Disturbance> {
  const cells = cellsOf(plan), half = plan.steps >> 1, random = new SeededRandom(plan.seed);
  const hit = random.below(cells), source = plan.width * (plan.rows >> 1) + (plan.width >> 1);
  let noise = 0, stronger = 0;
  return {
    "one cell is pushed at the start": (step, heat) => {
      if (step === 0) heat[hit] += PUSH;
      return PUSH;
    },
    "all cells are pushed halfway": (step, heat) => {
      if (step !== half) return step > half ? PUSH : 0;
      for (let i = 0; i < cells; i++) heat[i] += PUSH * (2 * random.next() / 2 ** 32 - 1);
      return PUSH;
    },
    "noise in every step": (_, heat) => {
      for (let i = 0; i < cells; i++) heat[i] += PUSH / 10 * (2 * random.next() / 2 ** 32 - 1);
      return noise += PUSH / 10;
    },
    "a source that is stronger from halfway on": (step, heat) => {
      if (step < half) return 0;
      const more = heat[source] / 1000;
      heat[source] += more;
      return stronger += more;
    },
  };
}

function look(values: Float64Array, findings: { values: number; nonFinite: number }): void {
  findings.values += values.length;
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) findings.nonFinite++;
}

function isSame(a: Float64Array, b: Float64Array): boolean {
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return true;
}

/** Infinite where there is nothing to tell. */
function distance(a: Float64Array, b: Float64Array): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const one = Math.abs(a[i] - b[i]);
    if (!(one <= largest)) largest = Number.isNaN(one) ? Infinity : one;
  }
  return largest;
}

/** Of any value in time. */
function largestSecondDifference(way: readonly Float64Array[]): number {
  let largest = 0;
  for (let step = 2; step < way.length; step++) {
    const a = way[step - 2], b = way[step - 1], c = way[step];
    for (let i = 0; i < c.length; i++) {
      const one = Math.abs(a[i] - 2 * b[i] + c[i]);
      if (!(one <= largest)) largest = Number.isNaN(one) ? Infinity : one;
    }
  }
  return largest;
}

/** The figures of an outcome. */
export function stabilityMetrics(
  { nonFinite, wrongSteps, disturbed }: StabilityOutcome,
): Record<string, number> {
  return {
    nonFinite,
    errorGrowth: Math.max(...disturbed.map(({ errorGrowth }) => errorGrowth)),
    secondDifferenceGrowth: Math.max(
      ...disturbed.map(({ secondDifferenceGrowth }) => secondDifferenceGrowth),
    ),
    wrongSteps,
  };
}

function notesOf(plan: StabilityPlan, outcome: StabilityOutcome): string[] {
  return [
    `${text(cellsOf(plan))} cells of heat and as many oscillators in ${
      2 * plan.strips
    } rules with state, ${
      text(plan.steps)
    } steps undisturbed and as many for each of ${outcome.disturbed.length} disturbances; ${
      text(outcome.values)
    } values looked at, the largest ${outcome.largest.toFixed(3)}`,
    ...outcome.disturbed.map(({ name, errorGrowth, secondDifferenceGrowth, left }) =>
      `${name}: error at most ${errorGrowth.toFixed(3)} of what was put in, ${
        (100 * left).toFixed(1)
      } % of it left at the end, second difference ${
        secondDifferenceGrowth.toFixed(3)
      } of the undisturbed one`
    ),
    outcome.wrongSteps === 0
      ? "the undisturbed run has the bytes of the same sums in plain arrays, in every step"
      : `${text(outcome.wrongSteps)} steps of the undisturbed run differ from plain arrays`,
  ];
}
