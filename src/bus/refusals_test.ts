import assert from "node:assert/strict";
import type { MmsbErrorCode } from "../base/mod.ts";
import { MemoryStorage } from "../log/mod.ts";
import { combineKind, DeltaBatch, type DeltaColumns, KIND_MASKED } from "../physical/mod.ts";
import {
  assertRefused,
  isRefusal,
  NO_BYTES,
  NO_INTEGERS,
  NO_OFFSETS,
  NO_OPTIONS,
  NO_STRINGS,
  seen,
} from "./_seen_test.ts";
import { type Page, StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 22 };

function batchOf(page: number, ...bytes: number[]): DeltaBatch {
  const batch = new DeltaBatch({ rows: 8, payloadBytes: 128 });
  batch.push(page, 0, Uint8Array.from(bytes));
  return batch;
}

Deno.test("StateBus.createPage() refuses wrong options, and makes nothing of them", async () => {
  await using bus = await StateBus.open({ ...SMALL, shards: 4 });
  const create = (options: unknown) => () => bus.createPage(options as never);
  for (const wrong of NO_OPTIONS) await assertRefused(bus, "usage", create(wrong));
  for (const wrong of NO_INTEGERS) {
    await assertRefused(bus, "usage", create({ size: wrong }));
    await assertRefused(bus, "usage", create({ shard: wrong }));
  }
  for (const wrong of [...NO_OFFSETS, 0, 2 ** 24 + 1]) {
    await assertRefused(bus, "out-of-bounds", create({ size: wrong }));
  }
  for (const wrong of [...NO_OFFSETS, 4]) {
    await assertRefused(bus, "out-of-bounds", create({ size: 8, shard: wrong }));
  }
  for (const wrong of NO_STRINGS) await assertRefused(bus, "usage", create({ name: wrong }));
  await assertRefused(bus, "usage", create({ name: "half \udc00" }));
  await assertRefused(bus, "limit", create({ name: "x".repeat(1025) }));
  await assertRefused(bus, "limit", create({ name: "ß".repeat(513) }));
  for (const wrong of [null, 1, "a", true, 1n, () => ({})]) {
    await assertRefused(bus, "usage", create({ metadata: wrong }));
  }
  for (const wrong of NO_BYTES) {
    await assertRefused(bus, "usage", create({ metadata: { a: wrong } }));
  }
  await assertRefused(bus, "usage", create({ metadata: { "\ud800": Uint8Array.of(1) } }));
  await assertRefused(bus, "limit", create({ metadata: { big: new Uint8Array(2 ** 20) } }));
  assert.equal(bus.createPage({ name: "ß".repeat(512) }).id, 1, "no id was used up");
});

Deno.test("StateBus.createPage() refuses a name that is taken until its page is deleted", async () => {
  await using bus = await StateBus.open(SMALL);
  const first = bus.createPage({ size: 8, name: "name" });
  await assertRefused(bus, "usage", () => bus.createPage({ name: "name" }));
  await bus.tick();
  await assertRefused(bus, "usage", () => bus.createPage({ name: "name" }));
  first.delete();
  await assertRefused(bus, "usage", () => bus.createPage({ name: "name" }));
  await bus.tick();
  const second = bus.createPage({ size: 8, name: "name" });
  assert.equal(bus.find("name")?.id, second.id);
  bus.createPage({ size: 8, name: "" });
  bus.createPage({ size: 8, name: "" });
});

Deno.test("StateBus.createPage() refuses a page that memory has no room for, and harms no other", async () => {
  await using bus = await StateBus.open({
    memoryLimitBytes: 2 ** 18,
    storage: new MemoryStorage(),
  });
  await assertRefused(bus, "allocation", () => bus.createPage({ size: 2 ** 24 }));
  const pages: Page[] = [];
  const refusal = () => {
    for (;;) pages.push(bus.createPage({ size: 65_536, name: `page ${pages.length}` }));
  };
  assert.throws(refusal, (error) => isRefusal(error, "allocation", "full"));
  assert.equal(pages.length, 3, "one span of 64 KiB is the arena's own");
  await assertRefused(bus, "allocation", () => bus.createPage({ size: 65_536 }));
  pages.forEach((page, index) => page.write(65_535, Uint8Array.of(index)));
  await bus.commit();
  await assertRefused(bus, "allocation", () => bus.createPage({ size: 1 }));
  pages.forEach((page, index) => assert.equal(page.read(65_535)[0], index));
  await bus.commit(() => pages[2].delete());
  const again = bus.createPage({ size: 65_536, name: "page 2" });
  assert.deepEqual(again.read(), new Uint8Array(65_536));
  await bus.tick();
  assert.equal((await bus.verify()).ok, true);
});

Deno.test("StateBus.page(), find() and history() refuse what is no id or name", async () => {
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ ...SMALL, storage });
  const page = bus.createPage({ size: 8, name: "page" });
  const refused = bus.createPage({ size: 8 });
  await bus.commit(() => refused.delete());
  const history = (page: unknown) => async () => {
    for await (const _ of bus.history(page as Page));
  };
  for (const wrong of [undefined, ...NO_INTEGERS]) {
    await assertRefused(bus, "usage", () => bus.page(wrong as never));
    await assertRefused(bus, "usage", history(wrong));
  }
  for (const wrong of [0, -1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    await assertRefused(bus, "out-of-bounds", () => bus.page(wrong));
    await assertRefused(bus, "out-of-bounds", history(wrong));
  }
  for (const wrong of [3, 65_536, 2 ** 31, 2 ** 32 - 1]) {
    await assertRefused(bus, "invalid-handle", () => bus.page(wrong));
    await assertRefused(bus, "invalid-handle", history(wrong));
  }
  await assertRefused(bus, "invalid-handle", () => bus.page(refused.id));
  await history(refused)();
  for (const wrong of [undefined, ...NO_STRINGS]) {
    await assertRefused(bus, "usage", () => bus.find(wrong as never));
  }
  assert.equal(bus.page(page.id).name, "page");
  assert.equal(bus.find("page")?.id, page.id);
  assert.equal(bus.find("pag"), undefined);
  assert.equal(bus.find(""), undefined);
});

Deno.test("StateBus.pages() gives every page once, staged ones too", async () => {
  await using bus = await StateBus.open(SMALL);
  const ids = new Set<number>();
  for (let i = 0; i < 2500; i++) ids.add(bus.createPage({ size: 1 }).id);
  assert.deepEqual(new Set([...bus.pages()].map(({ id }) => id)), ids);
  await bus.tick();
  for (const page of bus.pages()) {
    if (page.id % 3 !== 0) continue;
    page.delete();
    ids.delete(page.id);
  }
  await bus.tick();
  const found = [...bus.pages()];
  assert.equal(found.length, ids.size);
  assert.deepEqual(new Set(found.map(({ id }) => id)), ids);
});

Deno.test("StateBus.submit() refuses what is no batch, and options that are none", async () => {
  await using bus = await StateBus.open(SMALL);
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  const submit = (batch: unknown, options?: unknown) => () =>
    bus.submit(batch as never, options as never);
  for (const wrong of [undefined, null, 1, "a", {}, [], [batchOf(1, 1)], { length: 1 }]) {
    await assertRefused(bus, "usage", submit(wrong));
  }
  const batch = batchOf(page.id, 1);
  for (const wrong of NO_OPTIONS) await assertRefused(bus, "usage", submit(batch, wrong));
  for (const wrong of NO_INTEGERS) {
    await assertRefused(bus, "usage", submit(batch, { producer: wrong }));
  }
  for (const wrong of [0, -1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    await assertRefused(bus, "out-of-bounds", submit(batch, { producer: wrong }));
  }
  await assertRefused(bus, "usage", submit(new DeltaBatch({ rows: 1, payloadBytes: 8 })));
  const receipt = bus.submit(batch);
  await assertRefused(bus, "usage", submit(batch));
  await bus.tick();
  const { tick, rows, producer, sequence } = await receipt;
  assert.deepEqual({ tick, rows, producer, sequence }, {
    tick: 2,
    rows: 1,
    producer: 1,
    sequence: 1,
  }, "no sequence number was used up");
});

Deno.test("StateBus.submit() refuses more batches than may wait", async () => {
  await using bus = await StateBus.open(SMALL);
  const page = bus.createPage({ size: 8 });
  for (let i = 0; i < 65_536; i++) {
    const batch = new DeltaBatch({ rows: 1, payloadBytes: 8 });
    batch.combine(page.id, "u32", "add", 0, 1);
    bus.submit(batch);
  }
  const last = batchOf(page.id, 1);
  await assertRefused(bus, "limit", () => bus.submit(last));
  assert.equal((await bus.tick()).batches, 65_536);
  assert.deepEqual([...page.read(0, 4)], [0, 0, 1, 0]);
  last.clear();
});

Deno.test("StateBus.commit() refuses what is no function", async () => {
  await using bus = await StateBus.open(SMALL);
  bus.createPage({ size: 8 });
  for (const wrong of [null, 1, "a", {}, Promise.resolve()]) {
    await assertRefused(bus, "usage", () => bus.commit(wrong as never));
  }
});

/** A batch of three rows, of which the second is spoilt by hand. */
const SPOILT: readonly [
  MmsbErrorCode,
  string,
  (columns: DeltaColumns, batch: DeltaBatch) => void,
][] = [
  ["invalid-handle", "page 0", (columns) => columns.page[1] = 0],
  ["invalid-handle", "an unknown page", (columns) => columns.page[1] = 99],
  ["invalid-handle", "the last id", (columns) => columns.page[1] = 2 ** 32 - 1],
  ["out-of-bounds", "an offset at the end", (columns) => columns.offset[1] = 64],
  ["out-of-bounds", "a span past the end", (columns) => columns.offset[1] = 61],
  ["out-of-bounds", "an offset past 2^31", (columns) => columns.offset[1] = 2 ** 31],
  ["out-of-bounds", "the last offset", (columns) => columns.offset[1] = 2 ** 32 - 1],
  ["out-of-bounds", "a length past the page", (columns) => columns.length[1] = 65],
  ["out-of-bounds", "a length past 2^31", (columns) => columns.length[1] = 2 ** 31],
  ["out-of-bounds", "the last length", (columns) => columns.length[1] = 2 ** 32 - 1],
  ["usage", "no length", (columns) => columns.length[1] = 0],
  ["usage", "a payload past the pool", (columns) => columns.payloadStart[1] = 12],
  ["usage", "a payload at 2^31", (columns) => columns.payloadStart[1] = 2 ** 31],
  ["usage", "a payload at the last start", (columns) => columns.payloadStart[1] = 2 ** 32 - 1],
  ["usage", "an unknown kind", (columns) => columns.kind[1] = 2],
  ["usage", "an unknown operation", (columns) => columns.kind[1] = 0x17],
  ["usage", "a bit operation on floats", (columns) => columns.kind[1] = 0x34],
  ["usage", "the last kind", (columns) => columns.kind[1] = 255],
  ["usage", "an unknown source", (columns) => columns.source[1] = 2],
  ["usage", "the last source", (columns) => columns.source[1] = 65_535],
  ["usage", "an unknown intent", (columns) => columns.intent[1] = 2],
  ["usage", "a misaligned element", (columns) => {
    columns.kind[1] = combineKind("u32", "add");
    columns.offset[1] = 6;
  }],
  ["usage", "a part of an element", (columns) => columns.kind[1] = combineKind("f64", "add")],
  ["usage", "a mask past the pool", (columns, batch) => {
    columns.kind[1] = KIND_MASKED;
    columns.payloadStart[1] = batch.payloadLength;
  }],
  ["usage", "a mask with more bits than bytes", (columns, batch) => {
    columns.kind[1] = KIND_MASKED;
    columns.length[1] = 8;
    columns.payloadStart[1] = batch.payloadLength - 4;
    batch.payload[batch.payloadLength - 4] = 0xff;
  }],
  ["usage", "a mask past its span", (columns, batch) => {
    columns.kind[1] = KIND_MASKED;
    batch.payload[columns.payloadStart[1]] = 0x1f;
  }],
  ["stale-epoch", "a later epoch", (_, batch) => batch.expectEpochs()[1] = 7],
  ["stale-epoch", "no whole epoch", (_, batch) => batch.expectEpochs()[1] = 0.5],
  ["stale-epoch", "a negative epoch", (_, batch) => batch.expectEpochs()[1] = -1],
  ["stale-epoch", "an infinite epoch", (_, batch) => batch.expectEpochs()[1] = Infinity],
];

Deno.test("StateBus.tick() refuses filled columns that disagree, and takes the other batches", async () => {
  for (const [code, what, spoil] of SPOILT) {
    await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
    const page = bus.createPage({ size: 64 });
    await bus.tick();
    const batch = new DeltaBatch({ rows: 3, payloadBytes: 16 });
    batch.source("feed");
    for (const offset of [0, 4, 8]) batch.push(page.id, offset, Uint8Array.of(1, 2, 3, 4), 1);
    spoil(batch.columns, batch);
    const bad = bus.submit(batch), good = bus.submit(batchOf(page.id, 9, 9), { producer: 2 });
    page.write(62, Uint8Array.of(8));
    const report = await bus.tick();
    await assert.rejects(bad, (error: { values: { row: number } }) => {
      return isRefusal(error, code, what) && error.values.row === 1;
    }, what);
    assert.equal((await good).rows, 1);
    assert.deepEqual(
      report.refused.map(({ producer, sequence, error }) => [producer, sequence, error.code]),
      [[1, 1, code]],
      what,
    );
    const expected = new Uint8Array(64);
    expected.set([9, 9]);
    expected[62] = 8;
    assert.deepEqual(page.read(), expected, what);
    assert.equal(page.epoch, 2, what);
    assert.equal(bus.stats().refused, 1);
    assert.equal((await bus.verify()).ok, true, what);
    batch.clear();
  }
});

Deno.test("StateBus.tick() refuses a stale open batch whole, and takes the others", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const page = bus.createPage({ size: 8, name: "page", metadata: { a: Uint8Array.of(1) } });
  const victim = bus.createPage({ size: 8 });
  await bus.tick();
  page.write(0, Uint8Array.of(1), { expectedEpoch: 0 });
  page.write(1, Uint8Array.of(2), { expectedEpoch: 0 });
  await bus.tick();
  assert.equal(page.epoch, 2, "the epoch is that before the batch");
  const before = seen(bus) as { pages: unknown };
  bus.createPage({ size: 8, name: "born" });
  page.setMetadata({ a: Uint8Array.of(2) });
  victim.delete();
  page.write(0, Uint8Array.of(5));
  page.write(0, Uint8Array.of(6), { expectedEpoch: 1 });
  const other = bus.submit(batchOf(victim.id, 4));
  await assert.rejects(bus.tick(), (error: { values: unknown }) => {
    assert.deepEqual(error.values, {
      row: 1,
      page: page.id,
      epoch: 2,
      expectedEpoch: 1,
    });
    return isRefusal(error, "stale-epoch", "open batch");
  });
  assert.equal((await other).tick, 3);
  assert.equal(victim.read(0, 1)[0], 4, "it was not deleted");
  const after = seen(bus) as { pages: { id: number }[] };
  const others = (one: { pages: unknown }) =>
    (one.pages as { id: number }[]).filter(({ id }) => id !== victim.id);
  assert.deepEqual(others(after), others(before));
  assert.equal(bus.find("born"), undefined);
  assert.equal((await bus.verify()).ok, true);
});

Deno.test("StateBus takes 65,535 sources in one tick, and refuses one more until the next", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const page = bus.createPage({ size: 8 });
  for (let i = 1; i < 65_536; i++) page.combine("u32", "add", 0, 1, { source: String(i) });
  await assertRefused(bus, "limit", () => page.write(4, Uint8Array.of(1), { source: "one more" }));
  await bus.tick();
  await bus.commit(() => page.write(4, Uint8Array.of(1), { source: "one more" }));
  assert.deepEqual([...page.read()], [255, 255, 0, 0, 1, 0, 0, 0]);
  assert.equal((await bus.verify()).ok, true);
});

Deno.test("StateBus refuses every use after close(), which can be called again", async () => {
  for (const storage of [undefined, new MemoryStorage()]) {
    const bus = await StateBus.open({ ...SMALL, storage });
    const page = bus.createPage({ size: 8, name: "page" });
    await bus.tick();
    const bytes = Uint8Array.of(1), waiting = bus.submit(batchOf(page.id, 1));
    page.write(0, bytes);
    const closing = bus.close();
    assert.equal(bus.close(), closing);
    assert.equal(bus.closed, true);
    const uses: (() => unknown)[] = [
      () => bus.createPage(),
      () => bus.page(1),
      () => bus.find("page"),
      () => [...bus.pages()],
      () => bus.submit(batchOf(1, 1)),
      () => bus.tick(),
      () => bus.commit(),
      () => bus.history(page).next(),
      () => bus.verify(),
      () => bus.stats(),
      () => page.name,
      () => page.size,
      () => page.epoch,
      () => page.shard,
      () => page.dirty,
      () => page.location,
      () => page.metadata,
      () => page.read(),
      () => page.readInto(bytes),
      () => page.view(),
      () => page.write(0, bytes),
      () => page.writeMasked(0, 1, bytes, bytes),
      () => page.combine("i32", "add", 0, 1),
      () => page.setMetadata({}),
      () => page.delete(),
    ];
    for (const when of ["while closing", "when closed"]) {
      for (const use of uses) {
        const what = `${use} ${when}`;
        await assert.rejects(async () => await use(), (error) => isRefusal(error, "closed", what));
      }
      await closing;
    }
    await assert.rejects(waiting, { code: "closed" });
    await bus.close();
    await bus[Symbol.asyncDispose]();
    assert.equal(bus.tickNumber, 1);
    assert.equal(bus.durability, storage === undefined ? "memory" : "group");
    assert.equal(bus.readOnly, false);
    if (storage === undefined) continue;
    await using again = await StateBus.open({ ...SMALL, storage });
    assert.deepEqual(again.opened, {
      tick: 1,
      rows: 0,
      state: "whole",
      reason: again.opened.reason,
      clock: again.opened.clock,
    });
    assert.deepEqual(again.find("page")?.read(), new Uint8Array(8), "what was staged is forgotten");
  }
});

Deno.test("StateBus opened with readOnly reads, and refuses to write", async () => {
  const storage = new MemoryStorage();
  const writer = await StateBus.open({ ...SMALL, storage });
  const written = writer.createPage({ size: 8, name: "page", metadata: { a: Uint8Array.of(1) } });
  await writer.commit(() => written.write(0, Uint8Array.of(1), { source: "feed" }));
  await writer.close();
  const before = storage.image();
  const bus = await StateBus.open({ ...SMALL, storage, readOnly: true });
  const page = bus.find("page")!, bytes = Uint8Array.of(1), batch = batchOf(page.id, 1);
  assert.equal(bus.readOnly, true);
  for (
    const write of [
      () => bus.createPage(),
      () => bus.submit(batch),
      () => bus.tick(),
      () => bus.commit(),
      () => bus.commit(() => page.write(0, bytes)),
      () => page.write(0, bytes),
      () => page.writeMasked(0, 1, bytes, bytes),
      () => page.combine("i32", "add", 0, 1),
      () => page.setMetadata({ a: bytes }),
      () => page.delete(),
    ]
  ) await assertRefused(bus, "read-only", write);
  assert.equal(page.read()[0], 1);
  assert.equal(page.epoch, 1);
  assert.deepEqual([...page.metadata], [["a", Uint8Array.of(1)]]);
  const history = await Array.fromAsync(bus.history(page));
  assert.deepEqual(history.map(({ source, tick }) => [source, tick]), [["feed", 1]]);
  assert.equal((await bus.verify()).ok, true);
  await bus.close();
  assert.deepEqual(storage.image(), before);
});
