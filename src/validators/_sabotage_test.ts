/**
 * Sabotage for the tests of validators: a method of the bus, the log or the graph that does something else for as long as a
 * validator works, and what the targets say of its figures then.
 */

import assert from "node:assert/strict";
import type { Measured } from "./validator.ts";

/** A metric as the targets file has it. */
export interface MetricTarget {
  readonly name: string;
  readonly comparison: "<" | "<=" | "==" | ">=" | ">";
  readonly target: number;
  readonly quickTarget?: number;
}

/** The metrics of each validator, by number. */
export function metricsOfTargets(): ReadonlyMap<number, readonly MetricTarget[]> {
  const url = new URL("../../benchmarks_targets.json", import.meta.url);
  const { benchmarks } = JSON.parse(Deno.readTextFileSync(url));
  return new Map(
    benchmarks.map((one: { id: number; metrics: MetricTarget[] }) => [one.id, one.metrics]),
  );
}

/** Whether a figure misses its target; one that is no number does. */
export function misses(metric: MetricTarget, value: number, quick: boolean): boolean {
  const target = (quick ? metric.quickTarget : undefined) ?? metric.target;
  if (!Number.isFinite(value)) return true;
  switch (metric.comparison) {
    case "<":
      return value >= target;
    case "<=":
      return value > target;
    case "==":
      return value !== target;
    case ">=":
      return value < target;
    case ">":
      return value <= target;
  }
}

/** Replaces a method while something is done, and puts it back. */
export async function sabotaged<T extends object, K extends keyof T, R>(
  owner: T,
  method: K,
  fault: (original: T[K]) => T[K],
  run: () => Promise<R>,
): Promise<R> {
  const original = owner[method];
  owner[method] = fault(original);
  try {
    return await run();
  } finally {
    owner[method] = original;
  }
}

/**
 * A validator must fail, and for a reason that is named: a metric whose figure misses its target, or words of
 * the damage that it tells.
 */
export async function assertFails(
  id: number,
  expected: string | RegExp,
  measure: () => Promise<Partial<Measured>>,
): Promise<void> {
  const { metrics = {}, damage = "" } = await measure();
  if (typeof expected !== "string") return assert.match(damage, expected);
  const metric = metricsOfTargets().get(id)!.find(({ name }) => name === expected);
  assert(metric !== undefined, `validator ${id} has no metric ${expected}`);
  const value = metrics[expected];
  assert(value !== undefined, `validator ${id} did not measure ${expected}`);
  assert(misses(metric, value, true), `${expected} should have missed, and is ${value}`);
}
