/**
 * Validator 8, invariants: 10,000 cycles of 100 random deltas with structural changes, and everything that must
 * hold looked at every 100 cycles.
 *
 * Each cycle is a tick, logged with group commit in memory. Pages are created, deleted with what depends on them and
 * resized, edges come and go, and some are tried that would close a cycle: each must be refused with the pages of one. Some ticks
 * would break an invariant of the user's and must be taken back.
 *
 * A check looks at epochs (one more a row, never back), at all bytes beside a model, at the graph by an algorithm of
 * its own, at the slots, at the user's invariants, and has `bus.verify` replay the log behind the last checkpoint; then it makes another
 * one. At the end the log is opened again.
 */

import { text } from "./_figures.ts";
import { InvariantCycles, type InvariantOutcome, type InvariantPlan } from "./_invariant_cycles.ts";
import { plantedNotes, plantedResults } from "./catalogue.ts";
import { invariantsOf, invariantsOfBus } from "./_own_invariants.ts";
import type { Measured, Validator, ValidatorContext } from "./validator.ts";

const CYCLES = 10_000;
const CYCLES_QUICK = 500;
const EVERY = 100;

/** The validator. */
export const invariantsValidator: Validator = {
  id: 8,
  name: "Invariants",
  run: (context) =>
    context.directory !== undefined
      ? invariantsOf(context.directory, context)
      : context.bus !== undefined
      ? Promise.resolve(invariantsOfBus(context.bus))
      : runInvariants(context),
};

async function runInvariants({ quick, seed, progress }: ValidatorContext): Promise<Measured> {
  const plan = { cycles: quick ? CYCLES_QUICK : CYCLES, every: EVERY, seed };
  const outcome = await measureInvariants(plan, progress);
  const planted = plantedResults(8, outcome.planted);
  return {
    metrics: invariantMetrics(outcome),
    samples: outcome.rows,
    notes: [...notesOf(outcome), ...plantedNotes(planted)],
    durability: "group",
    planted,
  };
}

/** Does the work. */
export async function measureInvariants(
  { cycles, every, seed }: InvariantPlan,
  progress: (text: string) => void,
): Promise<InvariantOutcome> {
  const work = await InvariantCycles.open(seed);
  try {
    for (let cycle = 1; cycle <= cycles; cycle++) {
      await work.run();
      if (cycle % every !== 0) continue;
      await work.check();
      progress(`cycle ${text(cycle)} of ${text(cycles)}`);
    }
    await work.plant();
  } catch (error) {
    // A bus that is not like the model any more refuses what it should take: that is a failure, and the end.
    work.failures.push(`the work ended: ${error}`);
  }
  return await work.end();
}

/** The figures of an outcome. */
export function invariantMetrics(
  { failures, cycles, checks, closing }: InvariantOutcome,
): Record<string, number> {
  return { failures: failures.length, cycles, checks, closingEdges: closing };
}

function notesOf(outcome: InvariantOutcome): string[] {
  const { rows, created, deleted, resized, added, removed, closing, violations } = outcome;
  return [
    `${text(outcome.cycles)} ticks, ${text(rows)} deltas; pages: ${text(created)} created, ${
      text(deleted)
    } deleted, ${text(resized)} resized; edges: ${text(added)} added, ${text(removed)} removed`,
    `${text(closing)} edges that would have closed a cycle refused with its pages, ${
      text(violations)
    } ticks that would have broken an invariant taken back`,
    `${
      text(outcome.checks)
    } checks of epochs, bytes beside a model, edges and cycles, slots, the user's invariants, and a replay of the log by bus.verify; at the end also once opened again`,
    ...outcome.failures.slice(0, 5),
  ];
}
