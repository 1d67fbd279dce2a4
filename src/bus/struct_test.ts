import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryStorage } from "../log/mod.ts";
import { bytes, SCHEMA_KEY, struct, table, utf8 } from "../schema/mod.ts";
import { assertRefused, NO_OPTIONS, NO_STRINGS } from "./_seen_test.ts";
import { StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 22 };
const Quote = struct({ bid: "f64", ask: "f64", size: "u32", ticker: utf8(8), open: "bool" });
const any = (value: unknown) => value as never;

async function busWithQuote() {
  const bus = await StateBus.open(SMALL);
  const quote = bus.create(Quote, { name: "AAPL" });
  await bus.commit(() => quote.set({ bid: 1.5, ask: 2.5, size: 7, ticker: "AAPL", open: true }));
  return { bus, quote };
}

Deno.test("Struct.get() shows the last tick, zero before the first", async () => {
  const bus = await StateBus.open(SMALL);
  const quote = bus.create(Quote, {
    name: "AAPL",
    shard: 3,
    metadata: { unit: new Uint8Array(1) },
  });
  const zero = { bid: 0, ask: 0, size: 0, ticker: "", open: false };
  quote.set({ bid: 187.2, ticker: "größe", open: true });
  assert.deepEqual(quote.get(), zero);
  assert.equal(quote.state, "allocated");
  await bus.tick();
  assert.deepEqual(quote.get(), { ...zero, bid: 187.2, ticker: "größe", open: true });
  assert.deepEqual([quote.get("bid"), quote.get("ticker")], [187.2, "größe"]);
  assert.deepEqual([quote.name, quote.id, quote.page.shard], ["AAPL", quote.page.id, 3]);
  assert.deepEqual([...quote.page.metadata.keys()], ["unit", SCHEMA_KEY]);
  await bus.close();
});

Deno.test("Struct.set() writes the bytes of the given fields only, neighbours in one delta", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ ...SMALL, storage });
  const quote = bus.create(struct({ a: "u8", b: "u32", c: "u16", d: "u16", e: "u8" }));
  const rows = async (values: Parameters<typeof quote.set>[0]) => {
    const before = quote.epoch;
    await bus.commit(() => quote.set(values, { source: "feed", intent: "test", timeUs: 5 }));
    const rows: unknown[] = [];
    for await (const delta of bus.history(quote.page)) {
      assert.deepEqual([delta.source, delta.intent], ["feed", "test"]);
      if (delta.epoch > before) rows.push([delta.offset, [...delta.after]]);
    }
    return rows;
  };
  assert.deepEqual(await rows({ b: 7 }), [[4, [7, 0, 0, 0]]]);
  assert.deepEqual(await rows({ e: 1, c: 2 }), [[8, [2, 0]], [12, [1]]]);
  assert.deepEqual(await rows({ d: 3, c: 4 }), [[8, [4, 0, 3, 0]]]);
  assert.deepEqual(await rows({ b: 5, a: 6 }), [[0, [6, 0, 0, 0, 5, 0, 0, 0]]]);
  assert.deepEqual(await rows({ a: 1, b: 2, c: 3, d: 4, e: 5 }), [
    [0, [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 4, 0, 5]],
  ]);
  assert.deepEqual(quote.get(), { a: 1, b: 2, c: 3, d: 4, e: 5 });
  await bus.close();
});

Deno.test("Struct.set() leaves fields alone that it was not given, whoever wrote them", async () => {
  const { bus, quote } = await busWithQuote();
  const other = bus.struct(Quote, "AAPL");
  quote.set({ bid: 3 });
  other.set({ ask: 4 });
  quote.combine("size", "add", 5);
  quote.set({});
  await bus.tick();
  assert.deepEqual(other.get(), { bid: 3, ask: 4, size: 12, ticker: "AAPL", open: true });
  await bus.close();
});

Deno.test("Struct.set() refuses wrong values by the field's name, and stages nothing", async () => {
  const { bus, quote } = await busWithQuote();
  const refusals: [object, "usage" | "out-of-bounds" | "limit", RegExp][] = [
    [{ bid: "1" }, "usage", /"bid"/],
    [{ bid: undefined }, "usage", /"bid"/],
    [{ size: -1 }, "out-of-bounds", /"size"/],
    [{ bid: 1, size: 1.5 }, "usage", /"size"/],
    [{ bid: 1, ticker: "AAPL.LONG" }, "limit", /"ticker"/],
    [{ bid: 1, price: 2 }, "usage", /"price".*bid, ask, size, ticker, open/],
    [{ price: 2 }, "usage", /"price"/],
    [{ open: 1 }, "usage", /"open"/],
  ];
  for (const [values, code, message] of refusals) {
    await assertRefused(bus, code, () => quote.set(any(values)), JSON.stringify(values));
    assert.throws(() => quote.set(any(values)), message);
  }
  for (const bad of [undefined, null, 1, "a", 4n]) {
    await assertRefused(bus, "usage", () => quote.set(any(bad)));
  }
  for (const bad of NO_OPTIONS) {
    await assertRefused(bus, "usage", () => quote.set({ bid: 1 }, any(bad)));
    await assertRefused(bus, "usage", () => quote.set({ bid: 1, size: 2 }, any(bad)));
  }
  await assertRefused(bus, "usage", () => quote.set({ bid: 1, size: 2 }, { timeUs: NaN }));
  for (const bad of NO_STRINGS) await assertRefused(bus, "usage", () => quote.get(any(bad)));
  await assertRefused(bus, "usage", () => quote.combine(any("ticker"), "add", 1));
  await assertRefused(bus, "usage", () => quote.combine(any("open"), "or", 1));
  await assertRefused(bus, "usage", () => quote.combine("bid", any("or"), 1));
  await assertRefused(bus, "usage", () => quote.combine(any("price"), "add", 1));
  await bus.close();
});

Deno.test("Struct.set() with an expected epoch is refused where the page has another", async () => {
  const { bus, quote } = await busWithQuote();
  const { epoch } = quote;
  quote.set({ bid: 2, size: 3 }, { expectedEpoch: epoch });
  await bus.tick();
  quote.set({ bid: 3, size: 4 }, { expectedEpoch: epoch });
  await assert.rejects(bus.tick(), { code: "stale-epoch" });
  assert.deepEqual([quote.get("bid"), quote.get("size")], [2, 3]);
  await bus.close();
});

Deno.test("values of a struct may run code that uses the bus", async () => {
  const { bus, quote } = await busWithQuote();
  quote.set({
    get bid() {
      quote.set({ ask: 9, size: 9 });
      return 8;
    },
    size: 10,
  });
  await bus.tick();
  assert.deepEqual([quote.get("bid"), quote.get("ask"), quote.get("size")], [8, 9, 10]);
  await bus.close();
});

Deno.test("bus.create() opens the struct of that name, and refuses what is no such struct", async () => {
  const { bus, quote } = await busWithQuote();
  assert.equal(bus.create(Quote, { name: "AAPL" }).id, quote.id);
  bus.createPage({ size: 64, name: "plain" });
  bus.createTable(table({ bid: "f64" }), { name: "table" });
  await bus.tick();
  const wrong = struct({ bid: "f64", ask: "f32" });
  for (
    const open of [
      (schema: typeof Quote, name: string) => bus.create(schema, { name }),
      (schema: typeof Quote, name: string) => bus.struct(schema, name),
    ]
  ) {
    await assertRefused(bus, "usage", () => open(any(wrong), "AAPL"));
    await assertRefused(bus, "usage", () => open(Quote, "plain"));
    await assertRefused(bus, "usage", () => open(Quote, "table"));
    for (const bad of [undefined, null, {}, table({ a: "u8" }), { kind: "struct" }]) {
      await assertRefused(bus, "usage", () => open(any(bad), "AAPL"));
    }
  }
  await assertRefused(bus, "usage", () => bus.create(Quote, any({ nam: "x" })));
  await assertRefused(bus, "out-of-bounds", () => bus.create(Quote, { shard: 24 }));
  for (const bad of NO_STRINGS) {
    await assertRefused(bus, "usage", () => bus.create(Quote, { name: any(bad) }));
    await assertRefused(bus, "usage", () => bus.struct(Quote, any(bad)));
  }
  await assertRefused(bus, "invalid-handle", () => bus.struct(Quote, "none"));
  await assertRefused(bus, "usage", () => bus.table(any(Quote), "AAPL"));
  await bus.close();
});

Deno.test("the key of schemas cannot be set by hand", async () => {
  const { bus, quote } = await busWithQuote();
  const metadata = { [SCHEMA_KEY]: new Uint8Array(4) };
  await assertRefused(bus, "usage", () => bus.createPage({ metadata }));
  await assertRefused(bus, "usage", () => bus.create(Quote, { metadata }));
  await assertRefused(bus, "usage", () => quote.page.setMetadata(metadata));
  quote.page.setMetadata({ unit: new Uint8Array(1) });
  await bus.tick();
  assert.deepEqual(bus.struct(Quote, "AAPL").get(), quote.get());
  await bus.close();
});

Deno.test("a struct that is gone, or on a closed bus, refuses", async () => {
  const { bus, quote } = await busWithQuote();
  quote.delete();
  await assertRefused(bus, "invalid-handle", () => bus.create(Quote, { name: "AAPL" }));
  await bus.tick();
  for (
    const call of [
      () => quote.get(),
      () => quote.get("bid"),
      () => quote.set({ bid: 1 }),
      () => quote.set({ bid: 1, size: 1 }),
      () => quote.set({}),
      () => quote.combine("bid", "add", 1),
      () => quote.delete(),
      () => quote.epoch,
    ]
  ) await assertRefused(bus, "invalid-handle", call);
  assert.equal(quote.state, "deleted");
  const again = bus.create(Quote, { name: "AAPL" });
  await bus.tick();
  await bus.close();
  for (const call of [() => again.get(), () => again.set({ bid: 1 }), () => bus.create(Quote)]) {
    assert.throws(call, { code: "closed" });
  }
});

Deno.test("structs come back from the log, for reading too", async () => {
  const storage = new MemoryStorage();
  const expected = { bid: 187.2, ask: 0, size: 4, ticker: "AAPL", open: false };
  {
    await using bus = await StateBus.open({ ...SMALL, storage });
    const quote = bus.create(Quote, { name: "AAPL" });
    await bus.commit(() => quote.set({ bid: 187.2, size: 4, ticker: "AAPL" }));
    assert((await bus.verify()).ok);
  }
  {
    await using bus = await StateBus.open({ ...SMALL, storage, readOnly: true });
    const quote = bus.struct(Quote, "AAPL");
    assert.deepEqual(quote.get(), expected);
    assert.throws(() => quote.set({ bid: 1 }), { code: "read-only" });
    assert.throws(() => bus.create(Quote, { name: "AAPL" }), { code: "read-only" });
    const Longer = struct({ ...Quote.definition, note: utf8(20), id: bytes(2) });
    const longer = { ...expected, note: "", id: new Uint8Array(2) };
    assert.deepEqual(bus.struct(Longer, "AAPL").get(), longer);
  }
  await using bus = await StateBus.open({ ...SMALL, storage });
  assert.deepEqual(bus.create(Quote, { name: "AAPL" }).get(), expected);
});

Deno.test("a struct gets the fields that a longer schema adds, over a reopening", async () => {
  const storage = new MemoryStorage();
  const Short = struct({ a: "u8", b: "u16" });
  const Near = struct({ ...Short.definition, c: "u32" });
  const Far = struct({ ...Near.definition, d: utf8(100), e: "f64" });
  {
    await using bus = await StateBus.open({ ...SMALL, storage });
    const short = bus.create(Short, { name: "s" });
    await bus.commit(() => short.set({ a: 1, b: 2 }));
    const near = bus.create(Near, { name: "s" });
    // There is room beside them in the page, so an added field can be set at once.
    near.set({ c: 3 });
    await bus.tick();
    assert.deepEqual(near.get(), { a: 1, b: 2, c: 3 });
    assert.deepEqual(short.get(), { a: 1, b: 2 });
    short.set({ a: 4 });
    await bus.tick();
    assert.throws(() => bus.create(Short, { name: "s" }), /"c"|missing|fields/);
    const far = bus.create(Far, { name: "s" });
    assert.throws(() => far.set({ d: "early" }), { code: "usage", message: /tick first/ });
    far.set({ b: 5 });
    await bus.tick();
    assert.deepEqual(far.get(), { a: 4, b: 5, c: 3, d: "", e: 0 });
    await bus.commit(() => far.set({ d: "later", e: 1.5 }));
    assert.deepEqual(near.get(), { a: 4, b: 5, c: 3 });
    assert((await bus.verify()).ok);
  }
  await using bus = await StateBus.open({ ...SMALL, storage });
  assert.deepEqual(bus.struct(Far, "s").get(), { a: 4, b: 5, c: 3, d: "later", e: 1.5 });
});

Deno.test("an added field that was refused is added again by the next write to it", async () => {
  const bus = await StateBus.open(SMALL);
  const Short = struct({ a: "u8" }), Long = struct({ a: "u8", b: "u8" });
  const short = bus.create(Short, { name: "s" });
  await bus.commit(() => short.set({ a: 1 }));
  const long = bus.create(Long, { name: "s" });
  long.set({ b: 2 });
  bus.page(short.id).write(0, new Uint8Array(1), { expectedEpoch: 99 });
  await assert.rejects(bus.tick(), { code: "stale-epoch" });
  assert.deepEqual(long.get(), { a: 1, b: 0 });
  await assert.rejects(bus.commit(() => {
    long.set({ b: 3 });
    throw new Error("no");
  }));
  await bus.tick();
  assert.equal(bus.create(Short, { name: "s" }).get("a"), 1, "nothing was added");
  const other = bus.struct(struct({ a: "u8", x: "u8" }), "s");
  assert.deepEqual(other.get(), { a: 1, x: 0 });
  await bus.commit(() => long.set({ b: 4 }));
  assert.deepEqual(long.get(), { a: 1, b: 4 });
  assert.throws(() => other.get("x"), { code: "usage", message: /"b" is missing/ });
  assert.throws(() => other.set({ x: 1 }), { code: "usage", message: /"b" is missing/ });
  assert.equal(other.get("a"), 1);
  await bus.close();
});

Deno.test("a clone of a struct is a struct, with its schema", async () => {
  const { bus, quote } = await busWithQuote();
  quote.page.clone({ name: "copy" });
  await bus.tick();
  assert.deepEqual(bus.struct(Quote, "copy").get(), quote.get());
  await bus.close();
});

Deno.test("restoring a struct keeps the schema that it has, and refuses other fields", async () => {
  const bus = await StateBus.open();
  const short = bus.create(struct({ a: "f64", b: "i16" }), { name: "s" });
  await bus.commit(() => short.set({ a: 1, b: 2 }));
  const before = short.page.snapshot();
  const long = bus.create(struct({ a: "f64", b: "i16", c: "u32" }), { name: "s" });
  await bus.commit(() => long.set({ b: 3, c: 4 }));
  const after = long.page.snapshot();
  await bus.commit(() => long.page.restore(before));
  assert.deepEqual(long.get(), { a: 1, b: 2, c: 0 });
  await bus.commit(() => long.set({ c: 5 }));
  assert.throws(() => bus.create(struct({ a: "f64", b: "i16", d: "f32" }), { name: "s" }), {
    code: "usage",
    message: /"c" is missing/,
  });
  const other = bus.create(struct({ a: "f64", b: "u16" }), { name: "other" });
  const plain = bus.createPage({ size: long.page.size });
  await bus.tick();
  for (const snapshot of [other.page.snapshot(), plain.snapshot()]) {
    assert.throws(() => long.page.restore(snapshot), {
      code: "usage",
      message: /fields are others/,
    });
  }
  assert.throws(() => other.page.restore(after), { code: "usage" });
  assert.equal(bus.stats().staged, 0);
  await bus.commit(() => plain.restore(after));
  assert.deepEqual(long.get(), { a: 1, b: 2, c: 5 });
  await bus.close();
});

Deno.test("struct fields have the types of their schema", async () => {
  const { bus, quote } = await busWithQuote();
  const bid: number = quote.get("bid"), ticker: string = quote.get().ticker;
  assert.deepEqual([bid, ticker], [1.5, "AAPL"]);
  // @ts-expect-error there is no such field
  assert.throws(() => quote.get("price"));
  // @ts-expect-error a number is no string
  assert.throws(() => quote.set({ ticker: 5 }));
  // @ts-expect-error text cannot be combined
  assert.throws(() => quote.combine("ticker", "add", 1));
  await bus.close();
});

Deno.test("sets and combines in any order agree with a plain object", async () => {
  const Point = struct({ a: "i8", b: "f64", c: "u16", d: "i32", e: "u32" });
  const set = fc.record({
    a: fc.integer({ min: -128, max: 127 }),
    b: fc.double(),
    c: fc.nat({ max: 65_535 }),
    d: fc.integer(),
    e: fc.nat({ max: 2 ** 32 - 1 }),
  }, { requiredKeys: [] });
  const step = fc.oneof(
    set.map((values) => ({ set: values })),
    fc.integer({ min: -1000, max: 1000 }).map((add) => ({ add })),
    fc.constant({ tick: true }),
    fc.constant({ refuse: true }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const storage = new MemoryStorage();
      const open = () => StateBus.open({ ...SMALL, storage, durability: "buffered" });
      let bus = await open();
      const point = bus.create(Point, { name: "p" });
      await bus.tick();
      let real = { a: 0, b: 0, c: 0, d: 0, e: 0 }, staged = { ...real };
      for (const step of steps) {
        if ("set" in step) {
          point.set(step.set);
          staged = { ...staged, ...step.set };
        } else if ("add" in step) {
          point.combine("d", "add", step.add);
          staged.d = staged.d + step.add | 0;
        } else if ("tick" in step) {
          await bus.tick();
          real = { ...staged };
        } else {
          point.page.write(0, new Uint8Array(1), { expectedEpoch: 2 ** 40 });
          await assert.rejects(bus.tick(), { code: "stale-epoch" });
          staged = { ...real };
        }
        assert.deepEqual(point.get(), real);
      }
      await bus.close();
      bus = await open();
      assert.deepEqual(bus.struct(Point, "p").get(), real);
      await bus.close();
    }),
    { numRuns: 60 },
  );
});
