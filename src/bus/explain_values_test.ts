/** Tests of what explanations tell of fields, and of the names that pages of tables have. */

import assert from "node:assert/strict";
import { MemoryStorage } from "../log/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import { bytes, struct, table, utf8 } from "../schema/mod.ts";
import { StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 22, segmentBytesMax: 65_536 };
const Quote = struct({ bid: "f64", ask: "f64", by: utf8(8), id: "u64" });
const Mid = struct({ value: "f64" });
const middle = defineRule({
  compute(ctx) {
    const quote = ctx.input(0).struct(Quote);
    ctx.output(0).struct(Mid).set("value", (quote.get("bid") + quote.get("ask")) / 2);
  },
});

async function board(storage: MemoryStorage | undefined) {
  const bus = await StateBus.open(storage === undefined ? SMALL : { ...SMALL, storage });
  const quote = bus.create(Quote, { name: "quote" }), mid = bus.create(Mid, { name: "mid" });
  bus.rule(middle, { name: "mid", inputs: [quote], outputs: [mid] });
  await bus.commit(() => quote.set({ bid: 1, ask: 2, by: "a", id: 7n }, { source: "feed" }));
  return { bus, quote, mid };
}

Deno.test("StateBus.explain() with values tells fields as they were then", async () => {
  const { bus, quote, mid } = await board(new MemoryStorage());
  await using _ = bus;
  const then = { bid: 1, ask: 2, by: "a", id: 7n };
  const explained = await bus.explain(mid, { values: true });
  assert.deepEqual(explained.root.value, { value: 1.5 });
  assert.deepEqual(explained.root.parents[0].value, then);
  const text = explained.toText();
  assert.match(text, /page 2 "mid", epoch 1, tick 1, by rule 1 "mid" .* = \{ value: 1.5 \}$/m);
  assert.match(text, /page 1 "quote", .* = \{ bid: 1, ask: 2, by: "a", id: 7 \}$/m);
  const json = JSON.parse(JSON.stringify(explained));
  assert.deepEqual(json.pages[1].value, { bid: 1, ask: 2, by: "a", id: "7" });
  // The quote goes on, and comes to the same middle: the old one is what the value was made from.
  await bus.commit(() => quote.set({ bid: 0, ask: 3 }));
  assert.deepEqual((await bus.explain(mid, { values: true })).root.parents[0].value, then);
  const one = await bus.explain(quote, { values: true, tick: 1 });
  assert.deepEqual(one.root.value, then);
  // Bytes that are no text leave the other fields.
  await bus.commit(() => quote.page.write(16, Uint8Array.of(2, 0, 0xff, 0xfe)));
  const broken = (await bus.explain(quote, { values: true })).root.value!;
  assert.deepEqual([broken.ask, broken.by], [3, undefined]);
  assert.equal((await bus.explain(mid)).root.value, undefined);
  await assert.rejects(bus.explain(mid, { values: 1 as never }), { code: "usage" });
});

Deno.test("StateBus.explain() with values in memory, of pages never written, and of raw pages", async () => {
  const { bus, mid } = await board(undefined);
  await using _ = bus;
  const { root } = await bus.explain(mid, { values: true });
  assert.deepEqual([root.value?.value, root.parents[0].value?.ask], [1.5, 2]);
  await using logged = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const empty = logged.create(struct({ id: bytes(2), n: "i32" }), { name: "empty" });
  const raw = logged.createPage({ size: 8 });
  await logged.tick();
  await logged.commit(() => empty.set({ n: 1 }));
  const before = await logged.explain(empty, { values: true, tick: 1 });
  assert.deepEqual(before.root.value, { id: new Uint8Array(2), n: 0 });
  assert.equal((await logged.explain(raw, { values: true })).root.value, undefined);
});

Deno.test("HistoryEntry.length is the length of its span", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const page = bus.createPage({ size: 16 });
  await bus.commit(() => page.write(4, Uint8Array.of(1, 2, 3)));
  page.resize(64);
  await bus.tick();
  const all = await Array.fromAsync(bus.history(page, { lifetime: true }));
  assert.deepEqual(all.map(({ kind, offset, length }) => [kind, offset, length]), [
    ["create", 0, 16],
    ["set", 4, 3],
    ["resize", 16, 48],
  ]);
});

Deno.test("Pages of a table with a name say whose they are, and those without have none", async () => {
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ ...SMALL, storage });
  bus.createPage({ size: 8, name: "flights.hour[0]" }); // somebody's own
  const schema = table({ delay: "i16", hour: "u8" });
  const flights = bus.createTable(schema, { name: "flights" }), other = bus.createTable(schema);
  const rows = { delay: new Int16Array(300), hour: new Uint8Array(300) };
  await bus.commit(() => flights.append(rows));
  await bus.commit(() => other.append(rows));
  assert.deepEqual([...bus.pages()].map(({ name }) => name).filter((name) => name !== ""), [
    "flights.hour[0]",
    "flights",
    "flights[directory 0]",
    "flights.delay[0]",
    "flights.delay[1]",
    "flights.hour[1]",
  ]);
  const named = await Array.fromAsync(bus.history(bus.find("flights.delay[1]")!));
  assert.equal(named[0].length, 2 * (300 - 256));
  assert.deepEqual(flights.row(299), { delay: 0, hour: 0 });
  flights.delete();
  await bus.tick();
  assert.equal(bus.find("flights.delay[0]"), undefined);
  assert.equal((await bus.verify()).ok, true);
});
