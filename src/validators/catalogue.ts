/**
 * The fault catalogue: all that the validators are known to find, each fault by an id that stays the same.
 *
 * A check that finds nothing proves nothing unless it can find something. So each fault here is planted by a
 * validator in work of its own, in every run, and must be found by its own name and at its place; one that is not is
 * a failure of the validator. What is planted in logs and checkpoints is bytes in a copy; what is planted in rules,
 * graphs and figures is done to the very objects that were measured, by the checks that measured them, after the clock
 * has stopped.
 *
 * Cost: a list.
 */

import { LOG_CATALOGUE } from "./_catalogue_log.ts";
import { CHECKPOINT_CATALOGUE, WORK_CATALOGUE } from "./_catalogue_work.ts";
import type { PlantedResult } from "./validator.ts";

/** One fault that is known to be found. */
export interface CatalogueFault {
  /** Its id, which stays the same. */
  readonly id: string;
  /** What is done, in a few words. */
  readonly title: string;
  /** What it is, in one sentence without its end. */
  readonly about: string;
  /** The validators that plant it, by number. */
  readonly validators: readonly number[];
  /** The name by which it must be found: of logs that of a log's fault, else what is said. */
  readonly finding: string;
  /** The place that must be named with it. */
  readonly place: string;
}

/** All faults. */
export const CATALOGUE: readonly CatalogueFault[] = [
  ...LOG_CATALOGUE,
  ...CHECKPOINT_CATALOGUE,
  ...WORK_CATALOGUE,
];

const BY_ID: ReadonlyMap<string, CatalogueFault> = new Map(
  CATALOGUE.map((fault) => [fault.id, fault]),
);

/**
 * The fault of an id.
 *
 * @param id The id.
 * @throws {RangeError} Where the catalogue has none of that id: whoever plants it must add it.
 */
export function catalogueFault(id: string): CatalogueFault {
  const fault = BY_ID.get(id);
  if (fault === undefined) throw new RangeError(`the fault catalogue has no "${id}"`);
  return fault;
}

/**
 * What a validator says of the faults that it planted: in the order of the catalogue, each of its faults once,
 * and found only if it was found wherever it was planted.
 *
 * @param validator The validator's number.
 * @param planted What it planted; a fault of the catalogue that it should have and did not counts as not found.
 */
export function plantedResults(
  validator: number,
  planted: readonly PlantedResult[],
): PlantedResult[] {
  const found = new Map<string, boolean>();
  for (const { id, found: isFound } of planted) {
    if (!catalogueFault(id).validators.includes(validator)) {
      throw new RangeError(`the fault "${id}" is none of validator ${validator}`);
    }
    found.set(id, isFound && (found.get(id) ?? true));
  }
  return CATALOGUE.filter(({ validators }) => validators.includes(validator))
    .map(({ id }) => ({ id, found: found.get(id) ?? false }));
}

/** How many of some results were found, as people read it; the titles of those that were not follow. */
export function plantedNotes(results: readonly PlantedResult[]): string[] {
  const missed = results.filter(({ found }) => !found).map(({ id }) => catalogueFault(id).title);
  return [
    `${results.length - missed.length} of ${results.length} planted faults found`,
    ...(missed.length === 0 ? [] : [`not found: ${missed.join(", ")}`]),
  ];
}
