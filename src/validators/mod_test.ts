/** The list of validators beside the targets: all ten are there, and measure what the targets ask for. */

import assert from "node:assert/strict";
import { STABLE } from "./_stability_system.ts";
import {
  graphMetrics,
  invariantMetrics,
  measureGraph,
  measureInvariants,
  measurePurity,
  measureStability,
  measureThroughput,
  measureTicks,
  purityMetrics,
  stabilityMetrics,
  throughputMetrics,
  tickMetrics,
  validators,
} from "./mod.ts";

interface TargetNames {
  readonly benchmarks: readonly {
    readonly id: number;
    readonly name: string;
    readonly metrics: readonly { readonly name: string }[];
  }[];
}

const seed = 1, silent = () => {};
const pages = 64;

/** Small work of the validators that have it in this process. */
const MEASURED: Readonly<Record<number, () => Promise<Record<string, number>>>> = {
  3: async () => graphMetrics(await measureGraph({ pages, resolved: 5, seed }, silent)),
  4: async () => purityMetrics(await measurePurity({ rounds: 2, seed }, silent, [], [])),
  5: async () => {
    // Workers leave smaller ticks to one thread.
    const plan = { pages, batches: 1, rows: 20_000, warmUp: 1, rounds: 1, seed };
    return throughputMetrics(await measureThroughput(plan, silent));
  },
  6: async () => {
    const plan = { pages: 200, derived: 100, rows: 50, warmUp: 1, ticks: 3, seed };
    return tickMetrics(await measureTicks(plan, silent));
  },
  8: async () => invariantMetrics(await measureInvariants({ cycles: 10, every: 5, seed }, silent)),
  9: async () => {
    const plan = { ...STABLE, width: 8, rows: 2, strips: 2, steps: 10, seed };
    return stabilityMetrics(await measureStability(plan, silent));
  },
};

async function targets(): Promise<TargetNames> {
  const path = new URL("../../benchmarks_targets.json", import.meta.url);
  return JSON.parse(await Deno.readTextFile(path));
}

Deno.test("validators are all ten, in order, by the names of the targets", async () => {
  const named = (await targets()).benchmarks.map(({ id, name }) => ({ id, name }));
  assert.deepEqual(validators.map(({ id, name }) => ({ id, name })), named);
});

Deno.test("validators measure every metric that the targets ask for", async () => {
  const { benchmarks } = await targets();
  for (const [id, measure] of Object.entries(MEASURED)) {
    const metrics = await measure();
    for (const { name } of benchmarks[Number(id) - 1].metrics) {
      assert(Number.isFinite(metrics[name]), `#${id} ${name}: ${metrics[name]}`);
    }
  }
});
