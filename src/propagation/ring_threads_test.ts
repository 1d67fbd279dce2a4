/** Rings between real threads: nothing lost, doubled or out of order; short here, long in the stress run. */

import assert from "node:assert/strict";
import { type RingRun, runRing } from "./testdata/ring_threads.ts";

const seed = 1;
const RUNS: readonly RingRun[] = [
  { kind: "spsc-ring", producers: 1, consumers: 1, capacity: 2, count: 20_000, batchMax: 5, seed },
  {
    kind: "spsc-ring",
    producers: 1,
    consumers: 1,
    capacity: 1024,
    count: 400_000,
    batchMax: 200,
    seed,
  },
  { kind: "mpmc-ring", producers: 1, consumers: 1, capacity: 2, count: 10_000, batchMax: 3, seed },
  { kind: "mpmc-ring", producers: 2, consumers: 2, capacity: 4, count: 10_000, batchMax: 6, seed },
  {
    kind: "mpmc-ring",
    producers: 4,
    consumers: 4,
    capacity: 64,
    count: 30_000,
    batchMax: 20,
    seed,
  },
];

for (const run of RUNS) {
  const { kind, producers, consumers, capacity } = run;
  Deno.test(`Ring ${kind} ${producers}x${consumers} of ${capacity} items loses nothing`, async () => {
    assert.equal(await runRing(run), run.count * producers);
  });
}
