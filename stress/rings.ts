/**
 * Rings between real threads, long, and in every order of steps where that takes minutes.
 *
 * Real threads meet what a model leaves out (the machine, the engine's code, the scheduler), the exploration
 * meets every order. Each run is from a seed; a failure names it.
 */

import { MpmcRing, SpscRing } from "../src/propagation/mod.ts";
import { explore } from "../src/propagation/testdata/interleavings.ts";
import { LARGE } from "../src/propagation/testdata/ring_scenarios.ts";
import { runRing } from "../src/propagation/testdata/ring_threads.ts";

const SIDES = [1, 2, 4];
const CAPACITIES = [2, 4, 16, 1024, 65_536];

/** Items of a run's producers together, at scale 1. */
const ITEMS = 4_000_000;

/** Runs rings of all kinds, capacities and numbers of threads; gives what went through. */
export async function runRings(
  { scale, seed }: { readonly scale: number; readonly seed: number },
): Promise<{ runs: number; items: number }> {
  let runs = 0, items = 0;
  for (const capacity of CAPACITIES) {
    for (const sides of SIDES) {
      for (const kind of ["spsc-ring", "mpmc-ring"] as const) {
        if (kind === "spsc-ring" && sides > 1) continue;
        // Small rings sleep and wake at almost every item, some µs each.
        const share = capacity <= 16 ? 0.1 : 1;
        items += await runRing({
          kind,
          producers: sides,
          consumers: sides,
          capacity,
          count: Math.max(100, Math.min(2 ** 26, Math.round(ITEMS * scale * share / sides))),
          batchMax: Math.min(2 * capacity, 300),
          seed: seed + runs,
        });
        runs++;
      }
    }
  }
  return { runs, items };
}

/** Explores the large scenarios; gives the states met. */
export function exploreRings(): { scenarios: number; states: number } {
  const scenarios = Object.values(LARGE);
  let states = 0;
  for (const scenario of scenarios) states += explore(scenario({ SpscRing, MpmcRing })).states;
  return { scenarios: scenarios.length, states };
}
