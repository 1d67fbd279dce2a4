import assert from "node:assert/strict";
import { MemoryStorage } from "../log/mod.ts";
import { combineKind, DeltaBatch, KIND_MASKED } from "../physical/mod.ts";
import { jumpingClock } from "./_twin_test.ts";
import { type HistoryEntry, StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 22 };

Deno.test("StateBus.history() shows each delta of a page with all that it said, oldest first", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const other = bus.createPage({ size: 8 });
  const page = bus.createPage({ size: 16, name: "page" });
  page.write(4, Uint8Array.of(1, 2), { source: "feed", intent: "open", timeUs: 1.5 });
  other.write(0, Uint8Array.of(9));
  await bus.tick();
  page.writeMasked(4, 3, Uint8Array.of(0b101), Uint8Array.of(7, 8), { timeUs: -3 });
  await bus.tick();
  const batch = new DeltaBatch({ rows: 4, payloadBytes: 64 });
  batch.combine(page.id, "u32", "add", 4, 256, { source: batch.source("größe 😀") });
  batch.combine(page.id, "f64", "min", 8, -2);
  await Promise.all([bus.submit(batch), bus.tick()]);
  page.delete();
  await bus.tick();

  const found = await Array.fromAsync(bus.history(page.id));
  const nothing = { timeUs: undefined, source: "", intent: "", rule: undefined, advance: 1 };
  const expected: Omit<HistoryEntry, "hlc">[] = [
    {
      ...nothing,
      tick: 1,
      epoch: 1,
      offset: 4,
      length: 2,
      before: Uint8Array.of(0, 0),
      after: Uint8Array.of(1, 2),
      kind: "set",
      source: "feed",
      intent: "open",
      timeUs: 1.5,
    },
    {
      ...nothing,
      tick: 2,
      epoch: 2,
      offset: 4,
      length: 3,
      before: Uint8Array.of(1, 2, 0),
      after: Uint8Array.of(7, 2, 8),
      kind: "masked",
      timeUs: -3,
    },
    {
      ...nothing,
      tick: 3,
      epoch: 3,
      offset: 4,
      length: 4,
      before: Uint8Array.of(7, 2, 8, 0),
      after: Uint8Array.of(7, 3, 8, 0),
      kind: "add u32",
      source: "größe 😀",
    },
    {
      ...nothing,
      tick: 3,
      epoch: 4,
      offset: 8,
      length: 8,
      before: new Uint8Array(8),
      after: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0xc0),
      kind: "min f64",
    },
  ];
  assert.deepEqual(found.map(({ hlc: _hlc, ...entry }) => entry), expected);
  assert.equal((await Array.fromAsync(bus.history(page))).length, 4, "a deleted page's handle");
});

Deno.test("StateBus.history() goes on while ticks come, over segments and openings", async () => {
  const storage = new MemoryStorage();
  const options = { ...SMALL, storage, segmentBytesMax: 4096 };
  let bus = await StateBus.open(options);
  const page = bus.createPage({ size: 600 });
  for (let i = 1; i <= 40; i++) {
    await bus.commit(() => bus.page(page.id).write(0, new Uint8Array(600).fill(i)));
    if (i % 15 !== 0) continue;
    await bus.close();
    bus = await StateBus.open(options);
  }
  const history = bus.history(page.id);
  let last = 0;
  for await (const { tick, epoch, before, after } of history) {
    assert.deepEqual([tick, epoch, before[0], after[599]], [last + 1, last + 1, last, last + 1]);
    last++;
    if (last === 10) {
      for (let i = 41; i <= 60; i++) {
        await bus.commit(() => bus.page(page.id).write(0, new Uint8Array(600).fill(i)));
      }
    }
  }
  assert(last >= 40, `${last} deltas`);
  await bus.close();
});

Deno.test("HistoryEntry.hlc is each row's own and rises, though the clock jumps back and the bus is reopened", async () => {
  const storage = new MemoryStorage(), clock = jumpingClock();
  const stamps: bigint[] = [];
  const ids = [1, 2, 3];
  for (let opening = 0; opening < 4; opening++) {
    const bus = await StateBus.open({ ...SMALL, storage, clock });
    if (opening === 0) { for (const _ of ids) bus.createPage({ size: 64 }); }
    for (let i = 0; i < 5; i++) {
      const batches = [2, 1].map((producer) => {
        const batch = new DeltaBatch({ rows: 16, payloadBytes: 256 });
        for (const id of ids) batch.combine(id, "u32", "add", 4 * producer, 1);
        return bus.submit(batch, { producer });
      });
      for (const id of ids) bus.page(id).write(60, Uint8Array.of(i));
      const report = await bus.tick();
      await Promise.all(batches);
      stamps.push(report.hlc);
    }
    await bus.close();
  }
  assert.deepEqual(stamps, stamps.toSorted((a, b) => a < b ? -1 : 1));
  await using bus = await StateBus.open({ ...SMALL, storage, clock });
  const rows: HistoryEntry[] = [];
  for (const id of ids) rows.push(...await Array.fromAsync(bus.history(id)));
  assert.equal(rows.length, 4 * 5 * 9);
  assert.equal(new Set([...stamps, ...rows.map(({ hlc }) => hlc)]).size, 20 + rows.length);
  rows.sort((a, b) => a.hlc < b.hlc ? -1 : 1);
  rows.forEach(({ tick, hlc }, index) => {
    assert.equal(tick, 1 + Math.floor(index / 9), "rows of a tick lie between its neighbours'");
    assert(hlc < stamps[tick - 1], "the commit comes last");
  });
  const offsets = rows.slice(0, 9).map(({ offset }) => offset);
  assert.deepEqual(offsets, [60, 60, 60, 4, 4, 4, 8, 8, 8], "in order of producers");
});

Deno.test("StateBus.history() reads times that sources stated directly in columns", async () => {
  const storage = new MemoryStorage();
  const times = [NaN, 0, -0, Infinity, -Infinity, 1e300, -(2 ** 60), 0.1, 2 ** 33, NaN];
  const bus = await StateBus.open({ ...SMALL, storage });
  const page = bus.createPage({ size: 64 });
  const batch = new DeltaBatch({ rows: times.length, payloadBytes: 64 });
  times.forEach((time, row) => {
    batch.push(page.id, row, Uint8Array.of(row));
    batch.stateTimes()[row] = time;
  });
  await Promise.all([bus.submit(batch), bus.tick()]);
  await bus.close();
  await using again = await StateBus.open({ ...SMALL, storage });
  const found = (await Array.fromAsync(again.history(page.id))).map(({ timeUs }) => timeUs);
  assert.deepEqual(found, times.map((time) => Number.isNaN(time) ? undefined : time));
});

Deno.test("StateBus.history() reads rows filled by hand as those that were pushed", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const page = bus.createPage({ size: 16 });
  const batch = new DeltaBatch({ rows: 3, payloadBytes: 32 });
  const { columns } = batch;
  columns.page.fill(page.id, 0, 3);
  columns.kind.set([combineKind("u32", "xor"), KIND_MASKED, 0]);
  columns.offset.set([0, 5, 9]);
  columns.length.set([8, 3, 2]);
  columns.payloadStart.set([13, 9, 3]);
  batch.payload.set([0, 0, 0, 31, 32, 0, 0, 0, 0, 0b110, 21, 22, 0, 11, 0, 0, 0, 12], 0);
  batch.setLength(3, 21);
  await Promise.all([bus.submit(batch), bus.tick()]);
  const expected = [11, 0, 0, 0, 12, 0, 21, 22, 0, 31, 32, 0, 0, 0, 0, 0];
  assert.deepEqual([...page.read()], expected);
  const after = (await Array.fromAsync(bus.history(page))).map(({ after }) => [...after]);
  assert.deepEqual(after, [[11, 0, 0, 0, 12, 0, 0, 0], [0, 21, 22], [31, 32]]);
});

Deno.test("StateBus keeps names and metadata larger than a segment", async () => {
  const storage = new MemoryStorage();
  const options = { ...SMALL, storage, segmentBytesMax: 4096 };
  const bus = await StateBus.open(options);
  const big = Uint8Array.from({ length: 200_000 }, (_, i) => i >> 8);
  const names = Array.from({ length: 40 }, (_, i) => `${i} `.padEnd(1024, "x"));
  for (const name of names) {
    bus.createPage({ size: 1, name, metadata: { name: big.slice(0, 500) } });
  }
  await bus.commit();
  await bus.commit(() => bus.find(names[7])!.setMetadata({ big }));
  await bus.commit(() => bus.find(names[7])!.write(0, Uint8Array.of(1)));
  assert.equal((await bus.verify()).ok, true);
  await bus.close();
  await using again = await StateBus.open(options);
  assert.deepEqual(again.find(names[7])?.metadata.get("big"), big);
  for (const name of names) assert.equal(again.find(name)?.metadata.get("name")?.length, 500);
  assert.equal((await again.verify()).ok, true);
});
