/** Submit and tick, in memory and logged: `deno bench -A bench/tick_bench.ts`. */

import { MemoryStorage, StateBus } from "../mod.ts";
import { memoryBus } from "./_subjects_memory.ts";
import { filledBatch, PAGES, SEED } from "./_work.ts";

const group = "tick of 65,536 rows of 16 bytes, 64-byte pages";
const batch = filledBatch(64, SEED);
const inMemory = await memoryBus(64);
const logged = await StateBus.open({
  storage: new MemoryStorage(),
  memoryLimitBytes: 2 ** 26,
  durability: "buffered",
  segmentBytesMax: 2 ** 20,
});
for (let i = 0; i < PAGES; i++) logged.createPage({ size: 64 });
await logged.tick();

Deno.bench("in memory", { group, baseline: true }, async () => {
  const receipt = inMemory.submit(batch);
  await inMemory.tick();
  await receipt;
});
// A log in memory grows without end, so this one is short; disks are measured by `deno task anchors`.
Deno.bench("logged to memory", { group, n: 50, warmup: 5 }, async () => {
  const receipt = logged.submit(batch);
  await logged.tick();
  await receipt;
});
