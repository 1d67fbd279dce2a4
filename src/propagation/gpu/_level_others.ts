/**
 * Level others: the rules of a level that the device does not run, beside those that it does.
 *
 * They are handed on as a level of their own, in front of the queue, to whoever would run them without a device. At the end
 * the list of pages touched is put into the order of the queue, whoever ran which rule, since the order of
 * the next level follows from it.
 */

import { isMmsbError } from "../../base/mod.ts";
import type { ChangeLog } from "../change_log.ts";
import type { Firing } from "../firing.ts";
import type { RuleProgram } from "../program.ts";
import type { LevelHelpers } from "../waves.ts";

/** Rules of a level. */
export interface ShaderLevel {
  readonly program: RuleProgram;
  readonly log: ChangeLog;
  readonly firing: Firing;
  /** First of them in the program's image. */
  readonly start: number;
  /** One behind the last. */
  readonly end: number;
  /** Places in the queue of those that the device runs, rising. */
  readonly places: readonly number[];
}

/** A rule that failed. */
export interface RunFailure {
  /** Its place in the queue. */
  readonly place: number;
  /** What the tick is refused with. */
  readonly error: unknown;
}

/**
 * Runs the others.
 *
 * @returns The first that failed.
 * @throws {MmsbError} what is no rule's fault.
 */
export function runOthers(
  level: ShaderLevel,
  next: LevelHelpers | undefined,
): RunFailure | undefined {
  const { program, firing, start, end, places } = level, { image } = program;
  const isShader = new Set(places);
  const others: number[] = [];
  for (let place = start; place < end; place++) if (!isShader.has(place)) others.push(place);
  if (others.length === 0) return undefined;
  if (next !== undefined) {
    const outcome = handOn(level, others, next);
    if (outcome !== "here") return outcome;
  }
  for (const place of others) {
    const failure = runHere(firing, image[place], place);
    if (failure !== undefined) return failure;
  }
  return undefined;
}

/** Runs one rule on this thread. */
export function runHere(firing: Firing, rule: number, place: number): RunFailure | undefined {
  try {
    firing.fire(rule);
    return undefined;
  } catch (thrown) {
    return { place, error: firing.failed(thrown) };
  }
}

/** Has others run them, if they want to; the queue is as it was afterwards. */
function handOn(
  { program, log, firing, start, end }: ShaderLevel,
  others: readonly number[],
  next: LevelHelpers,
): RunFailure | undefined | "here" {
  const { image, rules } = program, queue = image.slice(start, end);
  const indices = others.map((place) => image[place]);
  image.set(indices, start);
  try {
    return next.run(program, log, firing, start, start + indices.length) ? undefined : "here";
  } catch (error) {
    if (!isMmsbError(error, "rule")) throw error;
    const failed = indices.findIndex((rule) => rules[rule].name === error.values.rule);
    if (failed < 0) throw error;
    return { place: others[failed], error };
  } finally {
    image.set(queue, start);
  }
}

/** Puts the pages touched since then into the order of the rules that write them. */
export function orderTouched({ program, log, start, end }: ShaderLevel, before: number): void {
  if (log.count - before < 2) return;
  const { image } = program, placeOf = new Map<number, number>();
  for (let place = start; place < end; place++) placeOf.set(image[place], place);
  const touched = log.touched.subarray(before, log.count);
  const places = Array.from(touched, (row) => placeOf.get(program.writerAt(row)) ?? end);
  if (places.every((place, i) => i === 0 || places[i - 1] <= place)) return;
  // Sorting is stable: pages of one rule stay in the order in which it touched them.
  const order = [...places.keys()].sort((a, b) => places[a] - places[b]);
  const rows = order.map((i) => touched[i]);
  touched.set(rows);
}
