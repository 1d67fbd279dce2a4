import assert from "node:assert/strict";
import { FaultyStorage, MemoryStorage } from "../log/mod.ts";
import { struct } from "../schema/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { Page, type PageSnapshot, StateBus } from "./mod.ts";

const bytesOf = (length: number, first = 1) =>
  Uint8Array.from({ length }, (_, i) => (first + i) % 256);

Deno.test("Page.resize() takes effect at the end of its tick, behind writes checked against the old size", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ storage });
  const page = bus.createPage({ size: 100, name: "board", metadata: { unit: Uint8Array.of(1) } });
  await bus.commit(() => page.write(0, bytesOf(100)));
  page.resize(40);
  page.write(90, Uint8Array.of(7));
  assert.throws(() => page.write(100, Uint8Array.of(7)), { code: "out-of-bounds" });
  assert.equal(page.size, 100);
  page.resize(4000);
  // The last size counts, and nothing was cut in between.
  await bus.tick();
  assert.deepEqual([page.size, page.epoch, page.name], [4000, 2, "board"]);
  const expected = new Uint8Array(4000);
  expected.set(bytesOf(100));
  expected[90] = 7;
  assert.deepEqual(page.read(), expected);
  assert.deepEqual([...page.metadata.keys()], ["unit"]);
  // Shrunk and grown inside one size class: what was cut off is gone.
  await bus.commit(() => page.write(0, bytesOf(4000, 3)));
  await bus.commit(() => page.resize(3990));
  await bus.commit(() => page.resize(4000));
  assert.deepEqual(page.read(3990), new Uint8Array(10));
  await bus.commit(() => page.resize(50));
  const other = bus.createPage({ size: 8 });
  other.resize(16);
  await bus.tick();
  assert.deepEqual([page.read(), other.size], [bytesOf(50, 3), 16]);
  assert.equal((await bus.verify()).ok, true);
  await bus.close();
  const again = await StateBus.open({ storage });
  assert.deepEqual(again.find("board")!.read(), bytesOf(50, 3));
  assert.equal(again.find("board")!.epoch, 3);
  await again.close();
});

Deno.test("Page.resize() that finds no memory refuses its batch whole and leaves nothing behind", async () => {
  await using bus = await StateBus.open({ memoryLimitBytes: 2 ** 20 });
  const page = bus.createPage({ size: 64 });
  await bus.commit(() => page.write(0, bytesOf(64)));
  const { allocator } = bus.stats();
  page.write(0, Uint8Array.of(9));
  const small = bus.createPage({ size: 64 });
  small.resize(100_000);
  page.resize(2 ** 21);
  const batch = new DeltaBatch({ rows: 1, payloadBytes: 4 });
  batch.push(page.id, 1, Uint8Array.of(8));
  const receipt = bus.submit(batch);
  await assert.rejects(bus.tick(), { code: "allocation" });
  // Other batches of the tick went on.
  assert.equal((await receipt).tick, 2);
  assert.deepEqual([page.size, page.epoch, page.read(0, 2)], [64, 2, Uint8Array.of(1, 8)]);
  assert.equal(small.state, "deleted");
  assert.equal(bus.stats().allocator.live, allocator.live);
  assert.equal(bus.stats().allocator.liveBytes, allocator.liveBytes);
  assert.equal((await bus.verify()).ok, true);
  page.resize(128);
  await bus.tick();
  assert.equal(page.size, 128);
});

Deno.test("Page.resize() in a tick that the log cannot have never was", async () => {
  const storage = new FaultyStorage();
  const bus = await StateBus.open({ storage });
  const page = bus.createPage({ size: 64 });
  await bus.commit(() => page.write(0, bytesOf(64)));
  const { liveBytes } = bus.stats().allocator;
  page.resize(5000);
  page.migrate({ shard: 3 });
  storage.failWrites({ after: 0, error: "disk-full" });
  await assert.rejects(bus.tick(), { code: "disk-full" });
  assert.deepEqual([page.size, page.shard, page.read()], [64, 0, bytesOf(64)]);
  assert.equal(bus.stats().allocator.liveBytes, liveBytes);
  await bus.tick();
  assert.equal(page.size, 64);
  await bus.close();
});

Deno.test("Page.resize() and migrate() of a page that dies in the tick are just its death", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ storage });
  const page = bus.createPage({ size: 64 });
  await bus.commit(() => page.write(0, bytesOf(64)));
  page.resize(100);
  page.migrate({ shard: 2 });
  page.delete();
  assert.throws(() => page.resize(10), { code: "invalid-handle" });
  assert.throws(() => page.migrate({ shard: 1 }), { code: "invalid-handle" });
  await bus.tick();
  assert.equal(page.state, "deleted");
  assert.throws(() => page.resize(10), { code: "invalid-handle" });
  await bus.close();
  const again = await StateBus.open({ storage });
  assert.equal(again.opened.state, "whole");
  assert.equal(again.stats().pages, 0);
  await again.close();
});

Deno.test("StateBus.commit() that throws takes staged sizes and shards back", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ size: 64 });
  await bus.commit();
  page.resize(70);
  const stage = () => {
    page.resize(90);
    page.migrate({ shard: 5 });
    throw new Error("no");
  };
  await assert.rejects(bus.commit(stage), { message: "no" });
  await bus.tick();
  assert.deepEqual([page.size, page.shard], [70, 0]);
});

Deno.test("Page.resize(), migrate(), clone() and restore() refuse what is none", async () => {
  await using bus = await StateBus.open({ shards: 2 });
  const page = bus.createPage({ size: 8, name: "board" });
  await bus.commit();
  const staged = bus.stats();
  for (const size of [0, -1, 2 ** 24 + 1]) {
    assert.throws(() => page.resize(size), { code: "out-of-bounds" });
  }
  for (const size of [NaN, "8", 8n, 1.5, undefined, null]) {
    assert.throws(() => page.resize(size as number), { code: "usage" });
  }
  assert.throws(() => page.migrate({ shard: 2 }), { code: "out-of-bounds" });
  for (const options of [undefined, null, {}, { shard: "1" }, { to: 1 }, 3]) {
    assert.throws(() => page.migrate(options as unknown as { shard: number }), { code: "usage" });
  }
  for (
    const options of [null, { size: 3 }, { name: "board" }, { name: 3 }, { source: 3 }, {
      metadata: 3,
    }]
  ) {
    assert.throws(() => page.clone(options as object), { code: "usage" }, JSON.stringify(options));
  }
  assert.throws(() => page.clone({ shard: 7 }), { code: "out-of-bounds" });
  for (const snapshot of [undefined, null, { bytes: new Uint8Array(8) }, "x"]) {
    assert.throws(() => page.restore(snapshot as unknown as PageSnapshot), { code: "usage" });
  }
  const other = bus.createPage({ size: 9 });
  assert.throws(() => page.restore(other.snapshot()), { code: "out-of-bounds" });
  assert.throws(() => page.restore(page.snapshot(), { sauce: "x" } as object), { code: "usage" });
  assert.deepEqual(bus.stats().staged, staged.staged + 1);
});

Deno.test("what only looks like bytes is refused with an error of ours", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ size: 8 });
  await bus.commit();
  const proxy = new Proxy(new Uint8Array(1), {}), shaped = Object.create(Uint8Array.prototype);
  const likeness = { BYTES_PER_ELEMENT: 1, length: 1, 0: 7 } as unknown as Uint8Array;
  for (const bytes of [proxy, shaped, likeness, new Int8Array(1) as unknown as Uint8Array]) {
    assert.throws(() => page.write(0, bytes), { code: "usage" });
    assert.throws(() => page.readInto(bytes), { code: "usage" });
    assert.throws(() => page.writeMasked(0, 8, bytes, new Uint8Array(0)), { code: "usage" });
    assert.throws(() => page.writeMasked(0, 8, new Uint8Array(1), bytes), { code: "usage" });
    assert.throws(() => page.setMetadata({ key: bytes }), { code: "usage" });
  }
  assert.equal(bus.stats().staged, 0);
});

Deno.test("a snapshot is over when its function is", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ name: "board" });
  await bus.commit();
  const at = bus.snapshot((at) => at);
  assert.throws(() => at.read(page), { code: "usage" });
  assert.throws(() => at.find("board"), { code: "usage" });
  const looked = () =>
    bus.snapshot((at) => {
      page.write(0, Uint8Array.of(1));
      bus.tick();
      return at.read(page);
    });
  assert.throws(looked, { code: "usage", message: /a tick was run inside/ });
  await bus.tick();
  await using other = await StateBus.open();
  const foreign = other.createPage({ name: "board" });
  await other.commit();
  assert.throws(() => bus.snapshot((at) => at.read(foreign)), {
    code: "usage",
    message: /of another bus/,
  });
  assert.deepEqual(bus.snapshot((at) => at.read(foreign.id, 0, 1)), Uint8Array.of(1));
});

Deno.test("Page.clone() keeps bytes, metadata and schema; what is staged is not in it", async () => {
  await using bus = await StateBus.open();
  const quote = bus.create(struct({ bid: "f64", ask: "f64" }), { name: "AAPL" });
  await bus.commit(() => quote.set({ bid: 187.2 }));
  const page = bus.find("AAPL")!;
  page.write(8, bytesOf(4));
  const clone = page.clone({ name: "copy", metadata: { note: Uint8Array.of(1) }, source: "who" });
  assert.ok(clone instanceof Page);
  await bus.tick();
  assert.deepEqual([...clone.metadata.keys()].sort(), [...page.metadata.keys(), "note"].sort());
  assert.deepEqual(clone.read(0, 8), page.read(0, 8));
  assert.deepEqual(clone.read(8, 4), new Uint8Array(4));
  assert.deepEqual([clone.epoch, clone.name], [1, "copy"]);
  const plain = page.clone();
  await bus.tick();
  assert.deepEqual([plain.read(), plain.name], [page.read(), ""]);
});

Deno.test("Page.restore() writes what differs, over what is staged, in the smaller form", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ storage });
  const page = bus.createPage({ size: 4096 });
  await bus.commit(() => page.write(0, bytesOf(4096)));
  const snapshot = page.snapshot();
  await bus.commit(() => page.restore(snapshot));
  assert.equal(page.epoch, 1, "nothing differs");
  for (let at = 0; at < 4096; at += 64) page.write(at, Uint8Array.of(0));
  page.setMetadata({ k: Uint8Array.of(1) });
  await bus.tick();
  assert.notDeepEqual(page.read(), snapshot.bytes);
  page.write(5, Uint8Array.of(200));
  page.writeMasked(8, 8, Uint8Array.of(0b11), Uint8Array.of(1, 1));
  page.combine("u32", "add", 40, 3);
  page.restore(snapshot, { source: "undo" });
  await bus.tick();
  assert.deepEqual(page.read(), snapshot.bytes);
  assert.equal(page.metadata.size, 0);
  const rows = await Array.fromAsync(bus.history(page));
  const undone = rows.filter(({ source }) => source === "undo");
  assert.deepEqual(undone.map(({ kind }) => kind), ["masked"]);
  // A snapshot outlives its page, and is nobody's to change.
  snapshot.bytes.fill(0);
  page.delete();
  await bus.tick();
  assert.deepEqual(snapshot.read(0, 3), Uint8Array.of(1, 2, 3));
  assert.throws(() => snapshot.read(4000, 97), { code: "out-of-bounds" });
  assert.throws(() => page.restore(snapshot), { code: "invalid-handle" });
  await bus.close();
});
