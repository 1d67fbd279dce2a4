/** Tests of events: what is heard, when, by whom, and what becomes of those who do not listen. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MmsbError } from "../base/mod.ts";
import { FaultyStorage, MemoryStorage } from "../log/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import { EVENT_KINDS, eventRecords, StateBus } from "./mod.ts";

/** Lets callbacks run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

Deno.test("StateBus.events() tells in order what a tick did", async () => {
  await using bus = await StateBus.open();
  const stream = bus.events({ kinds: EVENT_KINDS });
  const [a, b] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
  a.write(0, Uint8Array.of(1, 2), { source: "feed", intent: "open" });
  await bus.tick();
  const batch = new DeltaBatch({ rows: 4, payloadBytes: 64 });
  batch.push(b.id, 4, Uint8Array.of(1));
  batch.push(b.id, 5, Uint8Array.of(1));
  const bad = new DeltaBatch({ rows: 4, payloadBytes: 64 });
  bad.push(99, 0, Uint8Array.of(1));
  bus.submit(batch);
  bus.submit(bad).catch(() => {});
  a.delete();
  await bus.tick();
  await bus.tick();
  bus.emit("inference-start", { page: b, detail: { model: "m" } });
  await bus.close();
  const told: string[] = [];
  for await (const { kind, tick, page, epoch, rows, error, detail } of stream) {
    told.push([kind, tick, page, epoch, rows, error?.code ?? detail ?? ""].join(" ").trim());
  }
  assert.deepEqual(told, [
    "page-created 1 1 1 0",
    "page-created 1 2 0 0",
    "delta-applied 1 1 1 1",
    "page-changed 1 1 1 1",
    "tick 1 0 0 1",
    "delta-applied 2 2 2 1",
    "delta-applied 2 2 2 1",
    "page-changed 2 2 2 2",
    "page-deleted 2 1 1 0",
    "tick 2 0 0 2",
    "refused 2 0 0 0 invalid-handle",
    "inference-start 2 2 2 0 [object Object]",
  ]);
});

Deno.test("StateBus.events() gives of each tick what its filter wants, as a model says", async () => {
  const kinds = fc.subarray(["page-changed", "delta-applied", "tick", "page-created"] as const, {
    minLength: 1,
  });
  const ticks = fc.array(fc.array(fc.nat(4), { maxLength: 6 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(
      kinds,
      fc.option(fc.subarray([0, 1, 2, 3, 4])),
      ticks,
      async (kinds, some, all) => {
        await using bus = await StateBus.open({ storage: new MemoryStorage() });
        const pages = Array.from({ length: 5 }, () => bus.createPage({ size: 8 }));
        const wanted = some?.map((index) => pages[index]);
        const stream = bus.events({ kinds, ...(wanted === undefined ? {} : { pages: wanted }) });
        const expected: string[] = [];
        const expect = (kind: string, tick: number, page: number) => {
          if (!kinds.includes(kind as never)) return;
          if (wanted === undefined || wanted.some(({ id }) => id === page)) {
            expected.push(`${kind} ${tick} ${page}`);
          }
        };
        let tick = 0;
        for (const rows of [[], ...all]) {
          for (const index of rows) pages[index].write(index, Uint8Array.of(1));
          await bus.commit();
          if (tick > 0 && rows.length === 0) continue;
          tick++;
          if (tick === 1) { for (const { id } of pages) expect("page-created", 1, id); }
          for (const index of rows) expect("delta-applied", tick, pages[index].id);
          for (const index of new Set(rows)) expect("page-changed", tick, pages[index].id);
          expect("tick", tick, 0);
        }
        await bus.close();
        const told = (await Array.fromAsync(stream)).map(({ kind, tick, page }) =>
          `${kind} ${tick} ${page}`
        );
        assert.deepEqual(told, expected);
      },
    ),
  );
});

Deno.test("StateBus.events() tells of derived pages, and of nothing that was taken back", async () => {
  await using bus = await StateBus.open({ storage: new MemoryStorage() });
  const [source, twice] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
  const rule = defineRule({
    version: 1,
    compute: (ctx) => ctx.output(0).setInt32(0, 2 * ctx.input(0).getInt32(0)),
  });
  bus.rule(rule, { name: "twice", inputs: [source], outputs: [twice] });
  await bus.commit();
  bus.invariant("small", (at) => at.read(twice, 0, 1)[0] < 10);
  const stream = bus.events({ kinds: ["page-changed", "delta-applied"], pages: [twice] });
  await bus.commit(() => source.write(0, Uint8Array.of(2)));
  await assert.rejects(bus.commit(() => source.write(0, Uint8Array.of(9))), { code: "rule" });
  await bus.commit(() => source.write(0, Uint8Array.of(3)));
  await bus.close();
  const told = (await Array.fromAsync(stream)).map(({ kind, tick, epoch, source }) =>
    `${kind} ${tick} ${epoch} ${source}`.trim()
  );
  assert.deepEqual(told, [
    "delta-applied 2 1 twice",
    "page-changed 2 1",
    "delta-applied 3 2 twice",
    "page-changed 3 2",
  ]);
});

Deno.test("StateBus.events() shows ticks when they are durable, and applied ones to who asks", async () => {
  const storage = new FaultyStorage();
  await using bus = await StateBus.open({ storage, durability: "group" });
  const page = bus.createPage({ size: 8 });
  await bus.commit();
  const seen: string[] = [];
  const durable = bus.on({ kinds: ["tick"] }, ({ tick }) => seen.push(`durable ${tick}`));
  const applied = bus.on({ kinds: ["tick"], applied: true }, ({ tick }) => {
    seen.push(`applied ${tick}`);
  });
  page.write(0, Uint8Array.of(1));
  const report = await bus.tick();
  await Promise.resolve();
  assert.deepEqual(seen, ["applied 2"]);
  await report.durable;
  await turn();
  assert.deepEqual(seen, ["applied 2", "durable 2"]);
  durable();
  applied();
  assert.equal(bus.stats().events.subscribers, 0);
});

Deno.test("StateBus.events() never shows what a failed sync lost", async () => {
  const storage = new FaultyStorage();
  const bus = await StateBus.open({ storage, durability: "group" });
  const page = bus.createPage({ size: 8 });
  await bus.commit();
  const stream = bus.events({ kinds: ["tick"] });
  page.write(0, Uint8Array.of(1));
  storage.failSyncs({ after: 0 });
  const report = await bus.tick();
  await assert.rejects(report.durable, { code: "io" });
  await assert.rejects(stream.next(), { code: "read-only" });
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
  await bus.close();
});

Deno.test("StateBus.events(): who never reads keeps its places and loses the rest by its policy", async () => {
  for (const overflow of ["oldest", "newest", "error"] as const) {
    await using bus = await StateBus.open();
    const page = bus.createPage({ size: 8 });
    await bus.tick();
    const stream = bus.events({ kinds: ["delta-applied"], buffer: 10, overflow });
    const other = bus.events({ kinds: ["tick"] });
    for (let tick = 0; tick < 9; tick++) {
      for (let i = 0; i < 7; i++) page.write(i, Uint8Array.of(tick));
      await bus.tick();
      assert(stream.buffered <= 10);
    }
    assert.deepEqual([other.buffered, other.lost], [9, 0]);
    const [kept, lost] = overflow === "error" ? [7, 7] : [10, 53];
    assert.deepEqual([stream.buffered, stream.lost], [kept, lost]);
    const ticks: number[] = [];
    const readAll = async () => {
      for await (const { tick } of stream) if (ticks.push(tick) === 10) break;
    };
    if (overflow === "error") await assert.rejects(readAll(), { code: "limit" });
    else await readAll();
    const first = overflow === "oldest" ? 9 : 2;
    assert.deepEqual([ticks[0], ticks.length], [first, kept]);
    assert.equal(bus.stats().events.subscribers, 1);
    assert.equal(bus.stats().events.lost, lost);
  }
});

Deno.test("StateBus.events(): a large tick makes no more objects than a buffer has places", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  const stream = bus.events({ kinds: ["delta-applied"], buffer: 3 });
  const batch = new DeltaBatch({ rows: 100_000, payloadBytes: 400_000 });
  for (let row = 0; row < 100_000; row++) batch.push(page.id, row % 8, Uint8Array.of(row));
  bus.submit(batch);
  await bus.tick();
  assert.deepEqual([stream.buffered, stream.lost], [3, 99_997]);
  const offsets = [];
  for await (const { offset } of stream) if (offsets.push(offset) === 3) break;
  assert.deepEqual(offsets, [5, 6, 7]);
});

Deno.test("StateBus.on(): a callback may stage and tick; one that throws hurts neither tick nor others", async () => {
  await using bus = await StateBus.open();
  const [a, b] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
  await bus.tick();
  const seen: number[] = [];
  bus.on({ kinds: ["page-changed"], pages: [a] }, async ({ tick }) => {
    await bus.commit(() => b.write(0, Uint8Array.of(tick)));
  });
  bus.on({ kinds: ["page-changed"] }, () => {
    throw new Error("no");
  });
  bus.on({ kinds: ["page-changed"] }, async () => {
    await Promise.resolve();
    throw new Error("later");
  });
  const stop = bus.on({ kinds: ["page-changed"], pages: [b] }, ({ epoch }) => seen.push(epoch));
  for (let i = 1; i <= 3; i++) {
    await bus.commit(() => a.write(0, Uint8Array.of(i)));
    await turn();
  }
  assert.deepEqual([seen, b.read(0, 1)[0]], [[1, 2, 3], 6]);
  const { failed, lastError } = bus.stats().events;
  assert.deepEqual([failed, (lastError as Error).message], [12, "later"]);
  stop();
  stop();
  await bus.commit(() => b.write(0, Uint8Array.of(1)));
  await turn();
  assert.equal(seen.length, 3);
});

Deno.test("StateBus.recordEvents() keeps the last events in a page, over restarts, and comes to rest", async () => {
  const storage = new MemoryStorage();
  {
    await using bus = await StateBus.open({ storage });
    const page = bus.createPage({ size: 8 });
    const ring = bus.createPage({ size: 32 + 4 * 32, name: "events" });
    await bus.commit();
    bus.recordEvents(ring, { kinds: ["page-changed", "tick", "page-created"], applied: true });
    for (let i = 0; i < 6; i++) {
      page.write(0, Uint8Array.of(i));
      await bus.tick();
      await turn();
    }
    for (let i = 0; i < 5; i++) {
      await bus.commit();
      await turn();
    }
    const tick = bus.tickNumber;
    await bus.commit();
    assert.equal(bus.tickNumber, tick, "it comes to rest");
    const records = eventRecords(ring);
    assert.deepEqual(records.map(({ number }) => number), [8, 9, 10, 11]);
    assert.deepEqual(
      records.slice(-2).map(({ kind, tick, page, epoch }) => [kind, tick, page, epoch]),
      [
        ["page-changed", 7, page.id, 6],
        ["tick", 7, 0, 0],
      ],
    );
  }
  await using bus = await StateBus.open({ storage });
  const ring = bus.find("events")!;
  const stop = bus.recordEvents(ring, { kinds: ["page-created"] });
  bus.createPage({ size: 8 });
  await bus.commit();
  await turn();
  await bus.commit();
  assert.deepEqual(eventRecords(ring).map(({ number, kind }) => [number, kind]).at(-1), [
    12,
    "page-created",
  ]);
  stop();
  assert.equal((await bus.verify()).ok, true);
});

Deno.test("StateBus.recordEvents() of more than the page holds keeps the last; of a page that goes it ends", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ size: 8 }), ring = bus.createPage({ size: 32 + 3 * 32 });
  await bus.tick();
  bus.recordEvents(ring, { kinds: ["delta-applied"] });
  for (let i = 0; i < 8; i++) page.write(i, Uint8Array.of(1));
  await bus.tick();
  await turn();
  await bus.tick();
  assert.deepEqual(eventRecords(ring).map(({ number, offset }) => [number, offset]), [
    [5, 5],
    [6, 6],
    [7, 7],
  ]);
  await bus.commit(() => ring.delete());
  await bus.commit(() => page.write(0, Uint8Array.of(1)));
  await turn();
  await bus.tick();
  await turn();
  assert.equal(bus.stats().events.subscribers, 0);
});

Deno.test("Events: bad filters, kinds, pages and times are refused by name", async () => {
  const bus = await StateBus.open();
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  const bad = (value: unknown) => value as never;
  for (
    const filter of [
      7,
      null,
      { kind: ["tick"] },
      { kinds: ["ticks"] },
      { kinds: 7 },
      { pages: [0] },
      { pages: ["a"] },
      { pages: [null] },
      { pages: 7 },
      { applied: 1 },
      { buffer: 0 },
      { buffer: 1e9 },
      { buffer: 1n },
      { overflow: "block" },
    ]
  ) {
    assert.throws(
      () => bus.events(bad(filter)),
      MmsbError,
      JSON.stringify(filter, (_, v) => String(v)),
    );
    assert.throws(() => bus.on(bad(filter), () => {}), MmsbError);
  }
  assert.throws(() => bus.on({}, bad(7)), { code: "usage" });
  assert.throws(() => bus.on({ overflow: "error" }, () => {}), { code: "usage" });
  assert.throws(() => bus.emit("tick"), { code: "usage" });
  assert.throws(() => bus.emit(bad("nothing")), { code: "usage" });
  assert.throws(() => bus.emit("inference-start", { page: 99 }), { code: "invalid-handle" });
  assert.throws(() => bus.emit("inference-start", bad({ pages: 1 })), { code: "usage" });
  assert.throws(() => bus.recordEvents(page, {}), { code: "out-of-bounds" });
  assert.throws(() => bus.recordEvents(bad({}), {}), { code: "usage" });
  assert.throws(() => eventRecords(bad(7)), { code: "usage" });
  assert.equal(bus.stats().events.subscribers, 0);
  const waiting = bus.events().next();
  const left = bus.events();
  await bus.close();
  assert.deepEqual(await waiting, { done: true, value: undefined });
  assert.deepEqual(await left.next(), { done: true, value: undefined });
  assert.throws(() => bus.events(), { code: "closed" });
});
