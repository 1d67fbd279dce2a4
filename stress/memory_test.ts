import assert from "node:assert/strict";
import { StateBus } from "../src/bus/mod.ts";
import { SizedPages } from "./_sized_pages.ts";
import { SpillPattern } from "./_spill_pattern.ts";
import { runMemory } from "./memory.ts";

const SEED = 7;

Deno.test(`stress memory, short form, seed ${SEED}: every byte as written, refused where full`, async () => {
  const report = await runMemory({ scale: 0.005, seed: SEED, minutes: 0, progress: () => {} });
  const refused = report.steps.find(({ figures }) => figures.refused !== undefined);
  assert(refused !== undefined && refused.figures.refused >= 20);
  const spilled = report.steps.find(({ figures }) => figures.evictions !== undefined);
  assert(spilled !== undefined && spilled.figures.returns > 100, "pages that came back");
  assert(report.steps.some(({ figures }) => figures.whileSpilling > 0), "kills while it spilled");
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

Deno.test("SpillPattern finds a byte that was changed, a page that is missing, and a report that lies", async () => {
  const limit = 2 ** 18, dir = await Deno.makeTempDir();
  try {
    await using bus = await StateBus.open({ memoryLimitBytes: limit, spill: { dir } });
    const pattern = new SpillPattern(limit, SEED);
    while (!pattern.isFull) {
      pattern.step(bus);
      await bus.tick();
    }
    pattern.check(bus);
    const report = bus.memory(), [first] = report.classes;
    pattern.checkReport(report);
    const lies = [
      { ...report, pages: report.pages - 1 },
      { ...report, spilled: { ...report.spilled!, bytes: report.spilled!.bytes >>> 1 } },
      { ...report, classes: [{ ...first, free: first.free! + 1 }, ...report.classes.slice(1)] },
    ];
    for (const lie of lies) {
      assert.throws(() => pattern.checkReport(lie), { code: "ERR_ASSERTION" });
    }
    const [page] = bus.pages(), [byte] = page.read(0, 1);
    // In the pattern's place of a tick: it knows nothing of it.
    pattern.step();
    await bus.commit(() => page.write(0, Uint8Array.of(byte ^ 1)));
    assert.throws(() => pattern.check(bus), /epoch of|byte \d+ of|number of pages/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
