/** A queue between real threads: nothing lost, doubled, changed or out of order; a dead holder of the lock. */

import assert from "node:assert/strict";
import { lock, unlock } from "./_lock.ts";
import { QueueMemory } from "./_queue_memory.ts";
import { type QueueRun, runQueue } from "./testdata/queue_threads.ts";

const RUNS: readonly QueueRun[] = [
  {
    producers: 1,
    consumers: 1,
    capacity: 64,
    count: 20_000,
    batchMax: 7,
    priorities: 1,
    isMixed: false,
  },
  {
    producers: 1,
    consumers: 1,
    capacity: 4096,
    count: 100_000,
    batchMax: 300,
    priorities: 4,
    isMixed: false,
  },
  {
    producers: 2,
    consumers: 2,
    capacity: 512,
    count: 60_000,
    batchMax: 100,
    priorities: 4,
    isMixed: true,
  },
  {
    producers: 3,
    consumers: 1,
    capacity: 32,
    count: 5_000,
    batchMax: 9,
    priorities: 3,
    isMixed: false,
  },
];

for (const run of RUNS) {
  const { producers, consumers, capacity, isMixed } = run;
  Deno.test(`TemporalQueue ${producers}x${consumers} of ${capacity}${isMixed ? ", mixed" : ""} loses nothing`, async () => {
    await runQueue(run);
  });
}

Deno.test("a lock whose holder died is refused after its time, in words", () => {
  const memory = QueueMemory.create({ capacity: 1 });
  lock(memory.words, 7, 10, 20);
  assert.throws(() => lock(memory.words, 8, 10, 20), { code: "worker", message: /handle 7/ });
  unlock(memory.words);
  lock(memory.words, 8, 10, 20);
  unlock(memory.words);
});
