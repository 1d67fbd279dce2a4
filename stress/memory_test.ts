import assert from "node:assert/strict";
import { StateBus } from "../src/bus/mod.ts";
import { SizedPages } from "./_sized_pages.ts";
import { runMemory } from "./memory.ts";

const SEED = 7;

Deno.test(`stress memory, short form, seed ${SEED}: every byte as written, refused where full`, async () => {
  const report = await runMemory({ scale: 0.005, seed: SEED, minutes: 0, progress: () => {} });
  const refused = report.steps.find(({ figures }) => figures.refused !== undefined);
  assert(refused !== undefined && refused.figures.refused >= 20);
});

Deno.test("SizedPages finds a byte that was changed, and a page that is missing", async () => {
  await using bus = await StateBus.open({ memoryLimitBytes: 2 ** 20 });
  const work = new SizedPages(bus, 4096);
  await work.create([1, 64, 1000, 4096]);
  assert.equal(work.check(), 4);
  const [, id] = work.sizes.keys();
  (bus.page(id).view() as Uint8Array)[7] ^= 1;
  assert.throws(() => work.check(), new RegExp(`byte 7 of page ${id} is`));
  (bus.page(id).view() as Uint8Array)[7] ^= 1;
  await bus.commit(() => bus.page(id).delete());
  assert.throws(() => work.check(), /number of pages/);
});
