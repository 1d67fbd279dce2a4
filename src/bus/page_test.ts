import assert from "node:assert/strict";
import fc from "fast-check";
import {
  assertRefused,
  NO_BYTES,
  NO_INTEGERS,
  NO_OFFSETS,
  NO_OPTIONS,
  NO_STRINGS,
} from "./_seen_test.ts";
import { type Page, StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 22 };

/** A bus with one page, whose bytes are known. */
async function busWithPage(
  size: number,
): Promise<{ bus: StateBus; page: Page; bytes: Uint8Array }> {
  const bus = await StateBus.open(SMALL);
  const page = bus.createPage({ size, name: "page" });
  const bytes = Uint8Array.from({ length: size }, (_, i) => i * 7 + 1);
  await bus.commit(() => page.write(0, bytes));
  return { bus, page, bytes };
}

Deno.test("Page.read() and readInto() give the bytes of every span of a small page", async () => {
  const { bus, page, bytes } = await busWithPage(21);
  for (let offset = 0; offset <= 21; offset++) {
    assert.deepEqual(page.read(offset), bytes.slice(offset));
    for (let length = 0; length <= 21 - offset; length++) {
      const expected = bytes.slice(offset, offset + length);
      assert.deepEqual(page.read(offset, length), expected);
      assert.deepEqual(page.readInto(new Uint8Array(length), offset), expected);
    }
  }
  await bus.close();
});

Deno.test("Page.read() and readInto() give the bytes of any span of a large page", async () => {
  const { bus, page, bytes } = await busWithPage(5000);
  fc.assert(fc.property(fc.nat(5000), fc.nat(5000), (a, b) => {
    const offset = Math.min(a, b), end = Math.max(a, b);
    const expected = bytes.slice(offset, end);
    assert.deepEqual(page.read(offset, end - offset), expected);
    const target = new Uint8Array(new SharedArrayBuffer(end - offset + 9), 5, end - offset);
    assert.equal(page.readInto(target, offset), target);
    assert.deepEqual([...target], [...expected]);
    assert(new Uint8Array(target.buffer).subarray(end - offset + 5).every((byte) => byte === 0));
  }));
  assert.deepEqual(page.read(), bytes);
  await bus.close();
});

Deno.test("Page.read() is a copy, Page.view() is live", async () => {
  const { bus, page, bytes } = await busWithPage(200);
  const copy = page.read(), view = page.view();
  copy[0] = 99;
  assert.deepEqual(page.read(), bytes);
  assert.deepEqual([...view], [...bytes]);
  page.write(1, Uint8Array.of(0));
  assert.equal(view[1], bytes[1], "staged bytes are not there yet");
  await bus.tick();
  assert.equal(view[1], 0);
  assert.equal(view.length, 200);
  await bus.close();
});

Deno.test("Page.read(), readInto() and view() refuse what is no span of the page", async () => {
  const { bus, page } = await busWithPage(64);
  const target = new Uint8Array(8);
  for (const wrong of NO_INTEGERS as never[]) {
    await assertRefused(bus, "usage", () => page.read(wrong));
    await assertRefused(bus, "usage", () => page.read(0, wrong));
    await assertRefused(bus, "usage", () => page.readInto(target, wrong));
  }
  for (const wrong of [...NO_OFFSETS, 65] as never[]) {
    await assertRefused(bus, "out-of-bounds", () => page.read(wrong));
    await assertRefused(bus, "out-of-bounds", () => page.read(0, wrong));
    await assertRefused(bus, "out-of-bounds", () => page.readInto(target, wrong));
  }
  await assertRefused(bus, "out-of-bounds", () => page.read(60, 5));
  await assertRefused(bus, "out-of-bounds", () => page.readInto(target, 57));
  await assertRefused(bus, "out-of-bounds", () => page.readInto(new Uint8Array(65)));
  for (const wrong of NO_BYTES as never[]) {
    await assertRefused(bus, "usage", () => page.readInto(wrong));
  }
  assert.deepEqual(target, new Uint8Array(8));
  await bus.close();
});

Deno.test("Page.write() refuses wrong types and spans, and stages nothing of them", async () => {
  const { bus, page } = await busWithPage(64);
  const bytes = Uint8Array.of(1, 2, 3, 4);
  page.write(0, Uint8Array.of(9), { source: "kept" });
  for (const wrong of [undefined, ...NO_INTEGERS] as never[]) {
    await assertRefused(bus, "usage", () => page.write(wrong, bytes));
  }
  for (const wrong of [...NO_OFFSETS, 61, 64] as never[]) {
    await assertRefused(bus, "out-of-bounds", () => page.write(wrong, bytes));
  }
  await assertRefused(bus, "out-of-bounds", () => page.write(0, new Uint8Array(65)));
  for (const wrong of [...NO_BYTES, new Uint8Array(0)] as never[]) {
    await assertRefused(bus, "usage", () => page.write(0, wrong));
  }
  await assertWriteOptions(bus, (options) => page.write(0, bytes, options));
  assert.equal((await bus.tick()).rows, 1);
  assert.equal(page.epoch, 2);
  assert.deepEqual([...page.read(0, 2)], [9, 8]);
  await bus.close();
});

Deno.test("Page.writeMasked() refuses wrong types, spans and masks", async () => {
  const { bus, page } = await busWithPage(64);
  const mask = Uint8Array.of(0b101, 1), packed = Uint8Array.of(1, 2, 3);
  for (const wrong of [undefined, ...NO_INTEGERS] as never[]) {
    await assertRefused(bus, "usage", () => page.writeMasked(wrong, 9, mask, packed));
    await assertRefused(bus, "usage", () => page.writeMasked(0, wrong, mask, packed));
  }
  for (const wrong of NO_OFFSETS as never[]) {
    await assertRefused(bus, "out-of-bounds", () => page.writeMasked(wrong, 9, mask, packed));
    await assertRefused(bus, "out-of-bounds", () => page.writeMasked(0, wrong, mask, packed));
  }
  await assertRefused(bus, "out-of-bounds", () => page.writeMasked(56, 9, mask, packed));
  const none = new Uint8Array(0);
  await assertRefused(bus, "out-of-bounds", () => page.writeMasked(0, 0, none, none));
  for (const wrong of NO_BYTES as never[]) {
    await assertRefused(bus, "usage", () => page.writeMasked(0, 9, wrong, packed));
    await assertRefused(bus, "usage", () => page.writeMasked(0, 9, mask, wrong));
  }
  const tooLong = Uint8Array.of(0b101, 1, 0), pastSpan = Uint8Array.of(0b101, 2);
  await assertRefused(bus, "usage", () => page.writeMasked(0, 9, tooLong, packed));
  await assertRefused(bus, "usage", () => page.writeMasked(0, 9, pastSpan, packed));
  await assertRefused(bus, "usage", () => page.writeMasked(0, 17, mask, packed));
  await assertRefused(bus, "usage", () => page.writeMasked(0, 9, mask, Uint8Array.of(1, 2)));
  await assertRefused(bus, "usage", () => page.writeMasked(0, 9, mask, new Uint8Array(4)));
  await assertWriteOptions(bus, (options) => page.writeMasked(0, 9, mask, packed, options));
  await bus.close();
});

Deno.test("Page.combine() refuses wrong types, operations, places and operands", async () => {
  const { bus, page } = await busWithPage(64);
  for (const wrong of [undefined, null, 1, "", "i64", "F32", {}, Symbol("i32")] as never[]) {
    await assertRefused(bus, "usage", () => page.combine(wrong, "add", 0, 1));
    await assertRefused(bus, "usage", () => page.combine("i32", wrong, 0, 1));
  }
  for (const operation of ["or", "and", "xor"] as const) {
    await assertRefused(bus, "usage", () => page.combine("f64", operation, 0, 1));
    await assertRefused(bus, "usage", () => page.combine("f32", operation, 0, 1));
  }
  for (const wrong of [undefined, ...NO_INTEGERS] as never[]) {
    await assertRefused(bus, "usage", () => page.combine("i32", "add", wrong, 1));
    await assertRefused(bus, "usage", () => page.combine("u32", "add", 0, wrong));
  }
  for (const wrong of [undefined, null, "1", 1n, true, {}, Symbol("1")] as never[]) {
    await assertRefused(bus, "usage", () => page.combine("f64", "add", 0, wrong));
  }
  for (const wrong of [...NO_OFFSETS, 64] as never[]) {
    await assertRefused(bus, "out-of-bounds", () => page.combine("i32", "add", wrong, 1));
  }
  await assertRefused(bus, "out-of-bounds", () => page.combine("f64", "add", 60, 1));
  await assertRefused(bus, "usage", () => page.combine("i32", "add", 2, 1));
  await assertRefused(bus, "usage", () => page.combine("f64", "add", 4, 1));
  await assertWriteOptions(bus, (options) => page.combine("i32", "add", 0, 1, options));
  await bus.close();
});

/** Wrong options of a write, of all kinds. */
async function assertWriteOptions(bus: StateBus, write: (options: never) => void): Promise<void> {
  const refused = async (code: "usage" | "limit" | "out-of-bounds", options: unknown) =>
    await assertRefused(bus, code, () => write(options as never), JSON.stringify(options, text));
  for (const wrong of NO_OPTIONS) await refused("usage", wrong);
  for (const wrong of NO_STRINGS) {
    await refused("usage", { source: wrong });
    await refused("usage", { intent: wrong });
  }
  await refused("usage", { source: "half \ud83d" });
  await refused("usage", { intent: "half \ude00" });
  await refused("limit", { source: "x".repeat(65_536) });
  await refused("limit", { intent: "ß".repeat(32_768) });
  for (const wrong of NO_INTEGERS) await refused("usage", { expectedEpoch: wrong });
  await refused("out-of-bounds", { expectedEpoch: -1 });
  for (const wrong of NO_INTEGERS.filter((value) => value !== 1.5)) {
    await refused("usage", { timeUs: wrong });
  }
  await refused("out-of-bounds", { timeUs: 2 ** 53 });
}

function text(_key: string, value: unknown): unknown {
  return typeof value === "object" && value !== null ? value : String(value).slice(0, 20);
}

Deno.test("Page.setMetadata() merges, keeps the order of first insertion, and shows it after the tick", async () => {
  const bus = await StateBus.open(SMALL);
  const metadata = { unit: Uint8Array.of(1), scale: Uint8Array.of(2) };
  const page = bus.createPage({ size: 8, metadata });
  metadata.unit[0] = 99;
  assert.deepEqual([...page.metadata], [["unit", Uint8Array.of(1)], ["scale", Uint8Array.of(2)]]);
  await bus.tick();
  page.setMetadata({ more: Uint8Array.of(3) });
  page.setMetadata(new Map([["unit", new Uint8Array(0)]]));
  assert.equal(page.metadata.size, 2, "staged metadata are not there yet");
  await bus.tick();
  const expected = [["unit", new Uint8Array(0)], ["scale", Uint8Array.of(2)], [
    "more",
    Uint8Array.of(3),
  ]];
  assert.deepEqual([...page.metadata], expected);
  page.metadata.get("scale")![0] = 7;
  page.metadata.clear();
  assert.deepEqual([...page.metadata], expected, "what is given out is a copy");
  assert.equal(page.epoch, 0);
  await bus.close();
});

Deno.test("Page.setMetadata() refuses what is no metadata", async () => {
  const { bus, page } = await busWithPage(8);
  const set = (entries: unknown) => () => page.setMetadata(entries as never);
  for (const wrong of [undefined, null, 1, "a", true, 1n]) {
    await assertRefused(bus, "usage", set(wrong));
  }
  for (const wrong of NO_BYTES) await assertRefused(bus, "usage", set({ unit: wrong }));
  await assertRefused(bus, "usage", set(new Map<unknown, unknown>([[1, Uint8Array.of(1)]])));
  await assertRefused(bus, "usage", set({ "half \ud83d": Uint8Array.of(1) }));
  await assertRefused(bus, "limit", set({ ["k".repeat(1025)]: Uint8Array.of(1) }));
  await assertRefused(bus, "limit", set({ big: new Uint8Array(2 ** 20) }));
  page.setMetadata({ big: new Uint8Array(2 ** 20 - 100) });
  await assertRefused(bus, "limit", set({ more: new Uint8Array(100) }));
  await bus.close();
});

Deno.test("Page.delete() takes effect at the end of the tick, once", async () => {
  const { bus, page } = await busWithPage(8);
  for (const wrong of NO_OPTIONS as never[]) {
    await assertRefused(bus, "usage", () => page.delete(wrong));
  }
  for (const wrong of [null, 1, "true", 0n] as never[]) {
    await assertRefused(bus, "usage", () => page.delete({ cascade: wrong }));
  }
  page.delete({ cascade: true });
  await assertRefused(bus, "invalid-handle", () => page.delete());
  page.write(0, Uint8Array.of(5));
  assert.equal(page.state, "active");
  assert.equal((await bus.tick()).rows, 1);
  assert.equal(page.state, "deleted");
  assert.equal(bus.stats().pages, 0);
  await bus.close();
});

Deno.test("Page refuses everything after its deletion, and its row may be another page's", async () => {
  const { bus, page } = await busWithPage(64);
  const view = page.view();
  await bus.commit(() => page.delete());
  const other = bus.createPage({ size: 64, name: "page" });
  assert.notEqual(other.id, page.id);
  assert.deepEqual(other.read(), new Uint8Array(64), "a slot comes back zeroed");
  assert.equal(other.epoch, 0);
  await bus.commit(() => other.write(0, Uint8Array.of(7)));
  assert.equal(view[0], 7, "the row and the slot are used again");
  const bytes = Uint8Array.of(1);
  for (
    const call of [
      () => page.read(),
      () => page.readInto(bytes),
      () => page.view(),
      () => page.name,
      () => page.size,
      () => page.epoch,
      () => page.shard,
      () => page.dirty,
      () => page.location,
      () => page.metadata,
      () => page.write(0, bytes),
      () => page.writeMasked(0, 1, bytes, bytes),
      () => page.combine("i32", "add", 0, 1),
      () => page.setMetadata({}),
      () => page.delete(),
    ]
  ) await assertRefused(bus, "invalid-handle", call);
  assert.equal(page.state, "deleted");
  assert.equal(bus.find("page")?.id, other.id);
  await bus.close();
});

Deno.test("Page of a refused batch never was", async () => {
  const { bus, page } = await busWithPage(8);
  const born = bus.createPage({ size: 8, name: "born" });
  page.write(0, Uint8Array.of(1), { expectedEpoch: 7 });
  await assert.rejects(bus.tick(), { code: "stale-epoch" });
  assert.equal(born.state, "deleted");
  await assertRefused(bus, "invalid-handle", () => born.read());
  assert.equal(bus.find("born"), undefined);
  assert.equal(bus.createPage({ size: 8, name: "born" }).name, "born");
  await bus.close();
});

Deno.test("Page says what it was made with, and how it stands", async () => {
  const bus = await StateBus.open({ ...SMALL, shards: 5 });
  const page = bus.createPage({ size: 3, name: "größe 😀", shard: 4 });
  assert.equal(page.state, "allocated");
  assert.equal(page.dirty, false);
  page.write(0, Uint8Array.of(1));
  page.write(1, Uint8Array.of(2));
  assert.equal(page.epoch, 0);
  await bus.tick();
  const { id, name, size, epoch, shard, state, dirty, location } = page;
  assert.deepEqual({ id, name, size, epoch, shard, state, dirty, location }, {
    id: 1,
    name: "größe 😀",
    size: 3,
    epoch: 2,
    shard: 4,
    state: "active",
    dirty: true,
    location: "cpu",
  });
  await bus.close();
});
