/** Logs whose beginning was dropped behind a checkpoint: what they still give, damaged or cut off. */

import assert from "node:assert/strict";
import { auditLog, listCheckpoints, MemoryStorage, readMeta, salvageStorage } from "../log/mod.ts";
import { type OpenOptions, StateBus } from "./mod.ts";

const OPTIONS: OpenOptions = {
  segmentBytes: 4096,
  segmentBytesMax: 4096,
  memoryLimitBytes: 2 ** 24,
  checkpoints: { keep: 3, log: "drop", everyBytes: Infinity },
};

/** A dropped log: `states[t]` is the digest after tick t, checkpoints are at 20, 40, 60. */
async function droppedLog(): Promise<{ storage: MemoryStorage; states: string[] }> {
  const storage = new MemoryStorage(), states: string[] = [""];
  const bus = await StateBus.open({ ...OPTIONS, storage });
  const pages = [bus.createPage({ size: 600, name: "old" })];
  for (let tick = 1; tick <= 60; tick++) {
    if (tick % 9 === 0) pages.push(bus.createPage({ size: 300 }));
    // The last one is written to for some ticks only, and one grows while nothing else tells of it.
    const last = pages.at(-1)!;
    if (tick % 9 < 4) last.write(tick % 50, new Uint8Array(200).fill(tick));
    pages[0].write(0, new Uint8Array(500).fill(tick), { source: "feed" });
    if (tick % 13 === 0) last.resize(300 + tick);
    await bus.tick();
    states[tick] = bus.digest();
    if (tick % 20 === 0) await bus.checkpoint();
  }
  assert.equal(bus.horizon, 20);
  await bus.close();
  return { storage, states };
}

/** The segment that a tick stands in. */
async function segmentOf(storage: MemoryStorage, tick: number): Promise<string> {
  await using bus = await StateBus.open({ ...OPTIONS, storage, readOnly: true });
  const names = storage.list("lane-00").filter((name) => name.endsWith(".log")).reverse();
  for (const name of names) {
    const copy = storage.clone();
    copy.remove(`lane-00/${name}`);
    const { lastTick, ticksLost } = await salvageStorage(copy, new MemoryStorage());
    const isLost = ticksLost.some(({ first, last }) => first <= tick && tick <= last);
    if (isLost || lastTick < tick) return `lane-00/${name}`;
  }
  throw new Error(`no segment has tick ${tick} of ${bus.tickNumber}`);
}

Deno.test("salvageStorage() gives a dropped log what a checkpoint behind the damage has", async () => {
  const { storage, states } = await droppedLog();
  for (const tick of [25, 33, 39, 45, 52, 58]) {
    const damaged = storage.clone();
    damaged.remove(await segmentOf(storage, tick));
    const target = new MemoryStorage(), report = await salvageStorage(damaged, target);
    assert.equal(report.ok, false);
    assert.ok(report.ticksLost.some(({ first, last }) => first <= tick && tick <= last));
    const bus = await StateBus.open({ ...OPTIONS, storage: target });
    assert.deepEqual([bus.tickNumber, bus.horizon], [60, 20]);
    assert.equal(bus.digest(), states[60], `damage at tick ${tick}`);
    await using past = await bus.at({ tick: 20 });
    assert.equal(past.digest(), states[20]);
    await bus.close();
    assert.deepEqual(auditLog(target).problems, []);
  }
});

Deno.test("salvageStorage() keeps pages that were born before the checkpoint that is left", async () => {
  const { storage, states } = await droppedLog();
  storage.remove("checkpoints/000000000020.ckpt");
  const target = new MemoryStorage();
  assert.equal((await salvageStorage(storage, target)).lastTick, 60);
  const bus = await StateBus.open({ ...OPTIONS, storage: target });
  assert.deepEqual([bus.digest(), bus.horizon], [states[60], 40]);
  await bus.close();
});

Deno.test("StateBus.horizon is the oldest checkpoint there is, where the log before it was dropped", async () => {
  const { storage, states } = await droppedLog();
  // A crash may come when a checkpoint was removed and the metadata still begins with it.
  storage.remove("checkpoints/000000000020.ckpt");
  assert.equal(readMeta(storage)!.base!.horizon, 20);
  for (const readOnly of [true, false]) {
    const bus = await StateBus.open({ ...OPTIONS, storage, readOnly });
    assert.equal(bus.horizon, 40);
    await assert.rejects(bus.at({ tick: 39 }), { code: "out-of-bounds" });
    await using past = await bus.at({ tick: 40 });
    assert.equal(past.digest(), states[40]);
    const [image, next] = await Array.fromAsync(bus.history(1, { lifetime: true }));
    assert.deepEqual([image.kind, image.tick, next.tick], ["image", 40, 41]);
    assert.equal((await bus.verify()).ok, true);
    await bus.close();
  }
});

Deno.test("auditLog() names a good checkpoint before whose tick the log ends", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ storage });
  const page = bus.createPage({ size: 64 });
  for (let tick = 1; tick <= 9; tick++) await bus.commit(() => page.write(0, Uint8Array.of(tick)));
  await bus.checkpoint();
  // Nobody closed it, so that no later frame and no metadata tells how far it went.
  const killed = storage.clone();
  await bus.close();
  const path = "lane-00/0000000001.log";
  const file = killed.open(path, "write");
  file.truncate(600);
  file.close();
  assert.deepEqual(listCheckpoints(killed), [9]);
  const { problems, checkpoints } = auditLog(killed);
  const found = problems.find(({ fault }) => fault === "checkpoint");
  assert.equal(checkpoints, 0);
  assert.deepEqual([found?.file, found?.tick], ["checkpoints/000000000009.ckpt", 9]);
  assert.match(found!.message, /the log ends at tick/);
});
