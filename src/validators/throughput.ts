/**
 * Validator 5, throughput: 10,000,000 real deltas, in one thread and in workers, in memory and logged with group
 * commit to a directory; the pages afterwards equal a fold of the same rows over plain memory.
 *
 * Each figure is the rows over the seconds that all of them took, from each batch's submission until
 * the last one is acknowledged; nothing is multiplied. Filling the columns is the producer's work and not in it. A
 * logged form ends with the bytes on the disk, and is opened once more to be compared as well.
 */

import type { OpenOptions } from "../bus/mod.ts";
import { text, withFolder } from "./_figures.ts";
import {
  foldOf,
  PAGE_BYTES,
  runForm,
  ThroughputBatches,
  type ThroughputPlan,
  type ThroughputTimes,
} from "./_throughput_work.ts";
import { plantedNotes, plantedResults } from "./catalogue.ts";
import type { Measured, PlantedResult, Validator, ValidatorContext } from "./validator.ts";

/** 16 batches of 62,500 rows, ten times, after one time that is not timed. */
const PLAN: Omit<ThroughputPlan, "seed"> = {
  pages: 65_536,
  batches: 16,
  rows: 62_500,
  warmUp: 1,
  rounds: 10,
};
const ROUNDS_QUICK = 1;

/** The validator. */
export const throughputValidator: Validator = {
  id: 5,
  name: "Throughput",
  needsWorkload:
    "it times a workload of its own: how fast your program writes is not stored in its data; see bus.stats()",
  run: runThroughput,
};

async function runThroughput({ quick, seed, progress }: ValidatorContext): Promise<Measured> {
  const rounds = quick ? ROUNDS_QUICK : PLAN.rounds;
  const outcome = await measureThroughput({ ...PLAN, rounds, seed }, progress);
  const planted = plantedResults(5, outcome.planted);
  return {
    metrics: throughputMetrics(outcome),
    samples: outcome.forms.reduce((sum, { rows }) => sum + rows, 0),
    notes: [...notesOf(outcome), ...plantedNotes(planted)],
    durability: "group",
    planted,
  };
}

/** What was measured. */
export interface ThroughputOutcome {
  /** What was to be done. */
  readonly plan: ThroughputPlan;
  /** The forms, in the order of {@linkcode FORMS}. */
  readonly forms: readonly ThroughputTimes[];
  /** Faults that were planted in the pages of the first form once they were compared. */
  readonly planted: readonly PlantedResult[];
}

/** Names of the forms: their metrics. */
export const FORMS = ["oneThread", "workers", "oneThreadLogged", "workersLogged"] as const;

/** Measures each form after the other. */
export async function measureThroughput(
  plan: ThroughputPlan,
  progress: (text: string) => void,
): Promise<ThroughputOutcome> {
  const batches = new ThroughputBatches(plan), fold = foldOf(plan, batches);
  const workers = Math.max(2, navigator.hardwareConcurrency);
  const forms: ThroughputTimes[] = [], planted: PlantedResult[] = [];
  for (const form of FORMS) {
    const options = form.startsWith("workers") ? { workers } : {};
    const told = (round: number) =>
      progress(`${wordsOf(form)}: ${text(round * plan.batches * plan.rows)} deltas`);
    const run = async (more: OpenOptions) =>
      await runForm(
        plan,
        batches,
        fold,
        { ...options, ...more },
        told,
        forms.length === 0 ? planted : undefined,
      );
    const times = form.endsWith("Logged")
      ? await withFolder("throughput", (dir) => run({ dir, durability: "group" }))
      : await run({});
    if (times.workers !== (options.workers ?? 0)) {
      throw new Error(`Cannot measure ${workers} workers as ${times.workers} are there`);
    }
    if (times.workers > 0 && times.rowsOfWorkers === 0) {
      throw new Error("Cannot measure workers that checked none of the rows: one thread did all");
    }
    forms.push(times);
  }
  return { plan, forms, planted };
}

/** The figures of an outcome. */
export function throughputMetrics({ forms }: ThroughputOutcome): Record<string, number> {
  return {
    ...Object.fromEntries(FORMS.map((form, i) => [form, forms[i].rows / forms[i].seconds])),
    deltas: Math.min(...forms.map(({ rows }) => rows)),
    wrongPages: forms.reduce((sum, { wrongPages }) => sum + wrongPages, 0),
  };
}

function notesOf({ plan, forms }: ThroughputOutcome): string[] {
  const { pages, batches, warmUp } = plan, once = batches * plan.rows;
  return [
    `${
      text(once * plan.rounds)
    } deltas of 16 bytes for each form, in columns filled beforehand, after ${
      text(once * warmUp)
    } that were not timed, over ${
      text(pages)
    } pages of ${PAGE_BYTES} bytes, which afterwards equal a plain fold of them, bytes and epochs; logged ones also once opened again`,
    ...FORMS.map((form, i) => {
      const { seconds, ticks, rows, workers, rowsOfWorkers } = forms[i];
      const share = workers === 0
        ? ""
        : `; ${workers} workers, which checked ${text(rowsOfWorkers)} of the rows${
          rows > once * plan.rounds ? `, ${text(rows)} as they came late` : ""
        }`;
      return `${wordsOf(form)}: ${seconds.toFixed(2)} s, ${text(ticks)} ticks${share}`;
    }),
  ];
}

function wordsOf(form: typeof FORMS[number]): string {
  const threads = form.startsWith("workers") ? "workers" : "one thread";
  return form.endsWith("Logged") ? `${threads}, logged with group commit` : `${threads}, in memory`;
}
