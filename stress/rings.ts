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
import { SeededRandom } from "../src/log/seeded_random.ts";
import { count, perSecond, StressLog, type StressOptions, type StressReport } from "./_report.ts";

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

/** Most states and seconds of one scenario's exploration, at scale 1. */
const STATES_MAX = 6_000_000;
const SECONDS_MAX = 90;

/**
 * Explores the large scenarios, each until every order of steps was met or its bound is reached; the verdict
 * says which. Where a bound ended it, what was met lies scattered over all orders, another part for another seed.
 */
export async function exploreRings(options: StressOptions): Promise<StressReport> {
  const { scale, seed, progress } = options, log = new StressLog("ring-interleavings", options);
  for (const [name, scenario] of Object.entries(LARGE)) {
    const states = Math.round(STATES_MAX * scale), random = new SeededRandom(seed);
    progress(`${name}: at most ${count(states)} states`);
    // The exploration does not wait for anything: say what it does before it does.
    await new Promise((resolve) => setTimeout(resolve, 0));
    const start = performance.now();
    const found = explore(scenario({ SpscRing, MpmcRing }), {
      states,
      isOver: () => performance.now() - start > 1000 * SECONDS_MAX * scale,
      random: () => random.next() / 2 ** 32,
    });
    const seconds = (performance.now() - start) / 1000;
    log.add({
      what: `${name}: ${found.complete ? "every order of steps" : "a part of the orders"}`,
      amount: `${count(found.states)} states, ${count(found.ends)} ends`,
      rate: perSecond(found.states, seconds),
      checked: "results, no lost wake-up, no deadlock, no data race",
      figures: { ...found, complete: found.complete ? 1 : 0, seconds },
    });
  }
  const parts = log.steps.filter(({ figures }) => figures.complete === 0).length;
  log.notes.push(
    parts === 0
      ? "Verdict: every order of every scenario was met, and none is wrong."
      : `Verdict: nothing wrong in what was met; ${parts} of ${log.steps.length} scenarios have more orders than ` +
        "the bound: a larger --scale goes further, another --seed elsewhere.",
  );
  return log.report();
}
