/** A bus in memory taken back to its beginning. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryStorage } from "../log/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { struct, table } from "../schema/mod.ts";
import { assertSamePlace, steps, use } from "./_random_use_test.ts";
import { type BusClock, StateBus } from "./mod.ts";

const clock: BusClock = { nowUs: () => 1_000_000, errorUs: () => 1 };
const memoryLimitBytes = 2 ** 24;

Deno.test("StateBus.reset() leaves a bus that goes on as a new one does, whatever was done with it", async () => {
  await using bus = await StateBus.open({ clock, memoryLimitBytes });
  await fc.assert(
    fc.asyncProperty(steps, steps, async (before, after) => {
      await using fresh = await StateBus.open({ clock, memoryLimitBytes });
      await use(bus, before);
      bus.reset();
      assertSamePlace(bus, fresh);
      await use(bus, after);
      await use(fresh, after);
      assertSamePlace(bus, fresh);
    }),
    { numRuns: 150 },
  );
});

Deno.test("StateBus.reset() ends the handles of old pages, also where their ids are used again", async () => {
  await using bus = await StateBus.open();
  const old = bus.createPage({ size: 16, name: "state" });
  await bus.commit(() => old.write(0, Uint8Array.of(7)));
  const staged = bus.createPage({ size: 16 });
  const quote = bus.create(struct({ bid: "f64" }), { name: "quote" });
  const rows = bus.createTable(table({ delay: "i16" }), { name: "rows" });
  const view = bus.snapshot((at) => at.read(old));
  assert.equal(view[0], 7);
  bus.reset();
  assert.equal(bus.find("state"), undefined);
  assert.deepEqual([...bus.pages()], []);
  const page = bus.createPage({ size: 16, name: "state" });
  assert.deepEqual([page.id, page.read(0, 1)[0]], [old.id, 0]);
  await bus.tick();
  assert.equal(bus.tickNumber, 1);
  const calls = [
    () => old.read(),
    () => old.readInto(new Uint8Array(1)),
    () => old.view(),
    () => old.write(0, Uint8Array.of(1)),
    () => old.combine("u32", "add", 0, 1),
    () => old.setMetadata({}),
    () => old.delete(),
    () => [old.size, old.epoch],
    () => old.name,
    () => staged.write(0, Uint8Array.of(1)),
    () => old.clone(),
    () => old.resize(32),
    () => old.migrate({ shard: 1 }),
    () => old.snapshot(),
    () => quote.get(),
    () => quote.set({ bid: 1 }),
    () => rows.append({ delay: [1] }),
    () => rows.row(0),
    () => rows.length,
    () => rows.column("delay"),
  ];
  for (const call of calls) assert.throws(call, { code: "invalid-handle", message: /was reset/ });
  assert.deepEqual([old.state, staged.state, page.state], ["deleted", "deleted", "active"]);
  assert.equal(bus.stats().staged, 0);
});

Deno.test("StateBus.reset() refuses batches that wait, and begins their sequences again", async () => {
  await using bus = await StateBus.open();
  const batch = new DeltaBatch({ rows: 1, payloadBytes: 8 });
  const submit = () => {
    batch.clear();
    batch.push(bus.createPage({ size: 16 }).id, 0, Uint8Array.of(1));
    return bus.submit(batch, { producer: 3 });
  };
  const taken = submit();
  await bus.tick();
  const waiting = submit();
  bus.reset();
  await assert.rejects(waiting, { code: "closed", message: /was reset before a tick/ });
  const again = submit();
  await bus.tick();
  assert.deepEqual(await again, await taken);
  assert.deepEqual([(await again).tick, (await again).sequence], [1, 1]);
});

Deno.test("StateBus.reset() is refused with a directory, inside a tick and after the close", async () => {
  const storage = new MemoryStorage();
  const logged = await StateBus.open({ storage });
  assert.throws(() => logged.reset(), { code: "usage", message: /with a directory as its log/ });
  await logged.close();
  assert.throws(() => logged.reset(), { code: "closed" });
  const reader = await StateBus.open({ storage, readOnly: true });
  assert.throws(() => reader.reset(), { code: "usage" });
  await reader.close();

  let inTick = () => {};
  const asked: BusClock = { nowUs: () => (inTick(), 1), errorUs: () => 1 };
  const bus = await StateBus.open({ clock: asked });
  bus.createPage();
  inTick = () => {
    inTick = () => {};
    assert.throws(() => bus.reset(), { code: "usage", message: /inside a tick/ });
  };
  await bus.tick();
  await bus.close();
});

Deno.test("StateBus.reset() keeps the memory and gives it out as zeros", async () => {
  await using bus = await StateBus.open();
  const ones = new Uint8Array(1000).fill(1);
  for (let round = 0; round < 3; round++) {
    const pages = Array.from({ length: 500 }, () => bus.createPage({ size: 1000 }));
    assert(pages.every((page) => page.read().every((byte) => byte === 0)), `round ${round}`);
    for (const page of pages) page.write(0, ones);
    await bus.tick();
    assert.equal(bus.stats().allocator.live, 500);
    bus.reset();
    assert.deepEqual([bus.stats().pages, bus.stats().allocator.carvedBytes], [0, 0]);
  }
});
