/** Every metric of `benchmarks_targets.json` is one that can miss: each has a work that makes it miss, or a figure that does. */

import assert from "node:assert/strict";
import { metricsOfTargets, misses } from "./_sabotage_test.ts";
import { graphMetrics } from "./graph.ts";
import { invariantMetrics } from "./invariants.ts";
import { metricsOf } from "./memory.ts";
import { purityMetrics } from "./purity.ts";
import { stabilityMetrics } from "./stability.ts";
import { throughputMetrics } from "./throughput.ts";
import { tickMetrics } from "./tick.ts";

type Figures = Readonly<Record<string, number>>;

/** Metrics that the sabotage of their validators makes miss, as the real figures of the real work. */
const SABOTAGED: Readonly<Record<number, readonly string[]>> = {
  // sabotage_log_test.ts; of rows, sums and totals unlike the file's: flights_test.ts; of cycles: judged below.
  1: ["divergence", "formsAgreed", "lostTicks", "wrongTotals", "wrongSums", "wrongRows"],
  2: ["validPercent", "orphans", "plantedFound"],
  // sabotage_work_test.ts
  10: ["coldMsMax", "cachedMsMax", "pastMsMax", "depthMax", "resolvedPercent"],
};

const planted = [{ id: "rule-clock", found: false }];
const pause = { clockMs: 3.5, ownMs: 3.5 };
const times = { seconds: 10, ticks: 1, rows: 1000, wrongPages: 1, workers: 0, rowsOfWorkers: 0 };
const verdict = {
  compared: 2,
  agreed: 1,
  found: ["x"],
  effects: 1,
  runs: 1,
  incremental: 0,
  shaders: 0,
};

/** What each validator says of an outcome in which everything is wrong, and nothing is infinite. */
const WRONG: Readonly<Record<number, () => Figures>> = {
  1: () => ({ cycles: 49 }),
  3: () =>
    graphMetrics([{
      shape: "",
      pages: 1,
      edges: 0,
      levels: 1,
      edgeUs: 1,
      levelsMs: 2,
      ancestorsMs: 2,
      checkMs: 11,
      answers: 1,
      wrong: ["x"],
      planted,
      missed: ["x"],
    }]),
  4: () => purityMetrics({ verdict, planted }),
  5: () =>
    throughputMetrics({
      plan: { pages: 1, batches: 1, rows: 1, warmUp: 0, rounds: 1, seed: 1 },
      forms: [times, times, times, times],
      planted: [],
    }),
  6: () =>
    tickMetrics({
      ms: [17, 17],
      phasesMs: {} as never,
      durableMs: 0,
      derivedRows: 0,
      fired: [1, 2],
      carriedOver: 0,
      wrongPages: 1,
      planted: [],
    }),
  7: () =>
    metricsOf({
      pages: 1000,
      residentBytes: 2 ** 31,
      dataBytes: 1025 * 1000,
      bookkeepingBytes: 33 * 1000,
      residentRegrownBytes: 0,
      regrownBytes: 1,
      fragmentation: 0.26,
      mixedBytes: 1,
      wrongPages: 1,
      wrongReuses: 1,
      created: 1,
      deleted: 1,
      pauses: [[pause], [pause]],
      mixedPauses: [pause],
      reclaim: {
        slices: [pause],
        coldPagesWrong: 1,
        slotsUnknown: 1,
        collections: { all: { maxMs: 1e6 } },
      },
      planted: [],
    } as never),
  8: () =>
    invariantMetrics({
      cycles: 499,
      checks: 4,
      rows: 1,
      created: 0,
      deleted: 0,
      resized: 0,
      added: 0,
      removed: 0,
      closing: 249,
      violations: 0,
      failures: ["x"],
      planted: [],
    }),
  9: () =>
    stabilityMetrics({
      values: 1,
      nonFinite: 1,
      wrongSteps: 1,
      largest: 1,
      disturbed: [{ name: "", errorGrowth: 11, secondDifferenceGrowth: 11, left: 1 }],
      planted: [],
    }),
};

Deno.test("no metric of the targets is one that cannot miss", () => {
  for (const [id, metrics] of metricsOfTargets()) {
    const wrong = WRONG[id]?.() ?? {};
    for (const metric of metrics) {
      const { name } = metric, isSabotaged = SABOTAGED[id]?.includes(name) ?? false;
      if (isSabotaged) continue;
      assert.notEqual(wrong[name], undefined, `#${id} ${name}: nothing makes it miss`);
      for (const quick of [false, true]) {
        assert(misses(metric, wrong[name], quick), `#${id} ${name}`);
      }
    }
  }
});
