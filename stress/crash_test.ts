import assert from "node:assert/strict";
import { StateBus } from "../src/bus/mod.ts";
import { MemoryStorage, salvageStorage } from "../src/log/mod.ts";
import { checkDamagePattern, checkSalvaged, writePattern } from "./_damage_pattern.ts";
import { runCrash } from "./crash.ts";

const SEED = 7;

Deno.test(`stress crash, short form, seed ${SEED}: nothing acknowledged lost, no wrong byte`, async () => {
  const report = await runCrash({ scale: 0.01, seed: SEED, minutes: 0, progress: () => {} });
  const damages = report.steps.find(({ figures }) => figures.damages !== undefined)!.figures;
  assert(damages.damages >= 40 && damages.refused > 0 && damages.pagesWhole > 0);
});

Deno.test("the damage pattern is checked byte by byte, and so is what a salvage leaves unnamed", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ storage, memoryLimitBytes: 2 ** 22 });
  await writePattern(bus, 30);
  checkDamagePattern(bus);
  const page = bus.find("page 4")!.view() as Uint8Array;
  page[100] ^= 1;
  assert.throws(() => checkDamagePattern(bus), /byte 100 of page 4 after tick 30/);
  page[100] ^= 1;
  await bus.close();
  const target = new MemoryStorage();
  const report = await salvageStorage(storage, target);
  await using saved = await StateBus.open({ storage: target, memoryLimitBytes: 2 ** 22 });
  assert.equal(checkSalvaged(saved, report), 13);
  (saved.find("page 5")!.view() as Uint8Array)[0] ^= 1;
  assert.throws(() => checkSalvaged(saved, report), /page 5, which is not named as hurt/);
});

Deno.test("a salvage without meta.json does not say that all is there where the last segment is damaged", async () => {
  const small = { memoryLimitBytes: 2 ** 22, segmentBytes: 65_536, segmentBytesMax: 65_536 };
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ ...small, storage });
  await writePattern(bus, 60);
  await bus.close();
  const image = new Map(storage.image()),
    last = [...image.keys()].filter((path) => path.endsWith(".log")).sort().at(-1)!;
  image.delete("lock");
  image.set("meta.json", Uint8Array.of(1, 2, 3));
  const whole = await salvageStorage(new MemoryStorage({ image }), new MemoryStorage());
  assert.deepEqual([whole.ok, whole.lastTick], [true, 60]);
  image.set(last, image.get("lane-00/0000000001.log")!);
  const report = await salvageStorage(new MemoryStorage({ image }), new MemoryStorage());
  assert(report.lastTick < 60);
  assert.equal(report.ok, false);
});
