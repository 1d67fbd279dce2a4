import assert from "node:assert/strict";
import { MemoryStorage } from "../log/mod.ts";
import { mappingUnavailable } from "../physical/mod.ts";
import { bytes, struct, table, utf8 } from "../schema/mod.ts";
import { assertRefused, NO_OFFSETS, NO_OPTIONS, NO_STRINGS } from "./_seen_test.ts";
import { StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 26 };
const Flights = table({ delay: "i16", distance: "u16", carrier: utf8(2) });
const UNAVAILABLE = mappingUnavailable();
const SKIPPED = UNAVAILABLE === undefined ? "" : ` (skipped: ${UNAVAILABLE})`;
const any = (value: unknown) => value as never;

/** Rows of which every value is known from the row's number. */
function flights(first: number, count: number) {
  const rows = Array.from({ length: count }, (_, i) => first + i);
  return {
    delay: Int16Array.from(rows, (row) => row * 7),
    distance: Uint16Array.from(rows, (row) => row * 3),
    carrier: rows.map((row) => row.toString(36).slice(-2)),
  };
}

function flight(row: number) {
  const { delay, distance, carrier } = flights(row, 1);
  return { delay: delay[0], distance: distance[0], carrier: carrier[0] };
}

async function busWithFlights(count: number) {
  const bus = await StateBus.open(SMALL);
  const table = bus.createTable(Flights, { name: "flights" });
  await bus.commit(() => table.append(flights(0, count)));
  return { bus, table };
}

Deno.test("Table.append() and row() over the ends of all small chunks", async () => {
  const { bus, table } = await busWithFlights(0);
  let length = 0;
  for (const count of [1, 254, 1, 1, 255, 300, 0, 40_000, 65_536 * 2, 5]) {
    assert.equal(table.append(flights(length, count), { source: "bts" }), length);
    length += count;
    assert.equal(table.stagedLength, length);
    if (count % 2 === 0) await bus.tick();
    table.checkInvariants();
  }
  await bus.tick();
  assert.equal(table.length, length);
  for (const row of [0, 1, 255, 256, 511, 512, 1023, 1024, 40_000, 65_535, 65_536, length - 1]) {
    assert.deepEqual(table.row(row), flight(row));
    assert.equal(table.get(row, "distance"), flight(row).distance);
  }
  assert((await bus.verify()).ok);
  await bus.close();
});

Deno.test("Table.column() gives typed arrays over the pages, columnInto() copies", async () => {
  const count = 70_001;
  const { bus, table } = await busWithFlights(count);
  const expected = flights(0, count);
  const chunks = [...table.column("delay")];
  assert.deepEqual(chunks.map((chunk) => chunk.length), [
    256,
    256,
    512,
    1024,
    2048,
    4096,
    8192,
    16384,
    32768,
    4465,
  ]);
  assert(chunks.every((chunk) => chunk instanceof Int16Array));
  assert.deepEqual(Int16Array.from(chunks.flatMap((chunk) => [...chunk])), expected.delay);
  await bus.commit(() => table.set(70_000, { delay: -5 }));
  assert.equal(chunks[9][4464], -5, "live");
  for (const [from, length] of [[0, 10], [250, 20], [0, count], [69_990, 11], [60_000, 10_000]]) {
    const target = new Uint16Array(length);
    assert.equal(table.columnInto(target, "distance", from), length);
    assert.deepEqual(target, expected.distance.slice(from, from + length));
  }
  const longer = new Uint16Array(20).fill(9);
  assert.equal(table.columnInto(longer, "distance", count - 5), 5);
  assert.deepEqual(longer.subarray(0, 5), expected.distance.slice(-5));
  assert(longer.subarray(5).every((value) => value === 9));
  assert.equal(table.columnInto(longer, "distance", count), 0);
  await assertRefused(bus, "usage", () => table.columnInto(any(new Int16Array(4)), "distance"));
  await assertRefused(bus, "usage", () => table.columnInto(any([0]), "distance"));
  await assertRefused(bus, "out-of-bounds", () => table.columnInto(longer, "distance", count + 1));
  for (const name of ["carrier", "none", undefined, 5]) {
    await assertRefused(bus, "usage", () => table.column(any(name)));
    await assertRefused(bus, "usage", () => table.columnInto(any(longer), any(name)));
  }
  await bus.close();
});

Deno.test("columns of every type are appended, read and viewed", async () => {
  const All = table({
    a: "i8",
    b: "u8",
    c: "i16",
    d: "u16",
    e: "i32",
    f: "u32",
    g: "i64",
    h: "u64",
    i: "f32",
    j: "f64",
    k: "bool",
    l: bytes(3),
    m: utf8(7),
  });
  const bus = await StateBus.open(SMALL);
  const all = bus.createTable(All);
  all.append({
    a: Int8Array.of(-1, 2),
    b: [3, 4],
    c: Float64Array.of(-5, 6),
    d: Uint16Array.of(7, 8),
    e: [-9, 10],
    f: Uint32Array.of(2 ** 32 - 1, 12),
    g: [-13n, 14n],
    h: BigUint64Array.of(15n, 16n),
    i: [0.5, NaN],
    j: [1e300, -0],
    k: [true, false],
    l: [Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5, 6)],
    m: ["", "größe"],
  });
  await bus.tick();
  assert.deepEqual(all.row(0), {
    a: -1,
    b: 3,
    c: -5,
    d: 7,
    e: -9,
    f: 2 ** 32 - 1,
    g: -13n,
    h: 15n,
    i: 0.5,
    j: 1e300,
    k: true,
    l: Uint8Array.of(1, 2, 3),
    m: "",
  });
  assert.deepEqual(all.row(1), {
    a: 2,
    b: 4,
    c: 6,
    d: 8,
    e: 10,
    f: 12,
    g: 14n,
    h: 16n,
    i: NaN,
    j: -0,
    k: false,
    l: Uint8Array.of(4, 5, 6),
    m: "größe",
  });
  assert.deepEqual([...all.column("g")], [BigInt64Array.of(-13n, 14n)]);
  assert.deepEqual([...all.column("k")], [Uint8Array.of(1, 0)]);
  const carriers: string = all.get(1, "m"), big: bigint = all.get(0, "h");
  assert.deepEqual([carriers, big], ["größe", 15n]);
  // @ts-expect-error text is no array of numbers
  assert.throws(() => all.column("m"));
  // @ts-expect-error a column is missing
  assert.throws(() => all.append({ a: [1] }));
  await bus.close();
});

Deno.test("Table.append() refuses columns that are none, and stages nothing", async () => {
  const { bus, table } = await busWithFlights(10);
  const good = flights(10, 3);
  const refusals: [object, "usage" | "out-of-bounds" | "limit", RegExp][] = [
    [{ ...good, delay: undefined }, "usage", /"delay"/],
    [{ delay: good.delay, distance: good.distance }, "usage", /"carrier"/],
    [{ ...good, other: [1, 2, 3] }, "usage", /"other"/],
    [
      { ...good, distance: new Uint16Array(2) },
      "usage",
      /2 values of "distance" beside 3 of "delay"/,
    ],
    [{ ...good, distance: [1, 2, -3] }, "out-of-bounds", /"distance" of row 2/],
    [{ ...good, carrier: ["a", "abc", "b"] }, "limit", /"carrier" of row 1/],
    [{ ...good, carrier: "abc" }, "usage", /"carrier"/],
  ];
  for (const [columns, code, message] of refusals) {
    await assertRefused(bus, code, () => table.append(any(columns)));
    assert.throws(() => table.append(any(columns)), message);
  }
  for (const bad of [undefined, null, 1, "a", [], [good]]) {
    await assertRefused(bus, "usage", () => table.append(any(bad)));
  }
  for (const bad of NO_OPTIONS) {
    await assertRefused(bus, "usage", () => table.append(good, any(bad)));
  }
  await assertRefused(bus, "usage", () => table.append(good, { timeUs: NaN }));
  // Seen only when its chunks are made already: they are taken back.
  const pages = [...bus.pages()].length;
  assert.throws(() => table.append(flights(10, 400), { expectedEpoch: 1.5 }), { code: "usage" });
  assert.deepEqual([[...bus.pages()].length, bus.stats().staged], [pages, 0]);
  assert.equal(table.stagedLength, 10);
  table.checkInvariants();
  await bus.close();
});

Deno.test("Table.set(), get() and row() refuse rows and columns that there are not", async () => {
  const { bus, table } = await busWithFlights(10);
  for (const row of [...NO_OFFSETS, 10]) {
    await assertRefused(bus, "out-of-bounds", () => table.set(any(row), { delay: 1 }));
    await assertRefused(bus, "out-of-bounds", () => table.get(any(row), "delay"));
    await assertRefused(bus, "out-of-bounds", () => table.row(any(row)));
  }
  for (const row of [undefined, null, "1", 1.5, NaN, 4n, {}, Symbol("1")]) {
    await assertRefused(bus, "usage", () => table.set(any(row), { delay: 1 }));
    await assertRefused(bus, "usage", () => table.get(any(row), "delay"));
    await assertRefused(bus, "usage", () => table.row(any(row)));
  }
  for (const name of NO_STRINGS) await assertRefused(bus, "usage", () => table.get(0, any(name)));
  await assertRefused(bus, "usage", () => table.set(0, any({ other: 1 })));
  await assertRefused(bus, "out-of-bounds", () => table.set(0, { delay: 40_000 }));
  await assertRefused(bus, "usage", () => table.set(0, { delay: 1 }, any({ expectedEpoch: 1 })));
  await bus.close();
});

Deno.test("a refused, rolled back or forgotten batch leaves tables as they were", async () => {
  const { bus, table } = await busWithFlights(10);
  const other = bus.createTable(Flights, { name: "other" });
  const check = (rows: number, otherRows: number) => {
    assert.deepEqual([table.length, table.stagedLength], [rows, rows]);
    assert.deepEqual([other.length, other.stagedLength], [otherRows, otherRows]);
    for (const one of [table, other]) one.checkInvariants();
    assert.deepEqual(table.row(9), flight(9));
  };
  await bus.tick();
  const pages = () => [...bus.pages()].length;
  const before = pages();
  // A tick that refuses the open batch.
  table.append(flights(10, 1000));
  other.append(flights(0, 500));
  table.page.write(40, new Uint8Array(1), { expectedEpoch: 99 });
  await assert.rejects(bus.tick(), { code: "stale-epoch" });
  check(10, 0);
  // A stage that throws, over what was staged before it.
  table.append(flights(10, 3));
  await assert.rejects(
    bus.commit(() => {
      table.append(flights(13, 1000));
      other.append(flights(0, 400));
      assert.deepEqual([table.stagedLength, other.stagedLength], [1013, 400]);
      throw new Error("no");
    }),
    /no/,
  );
  assert.deepEqual([table.stagedLength, other.stagedLength], [13, 0]);
  table.append(flights(13, 2));
  await bus.tick();
  assert.deepEqual(table.row(14), flight(14));
  check(15, 0);
  assert.equal(pages(), before, "no pages are left of what was refused");
  // Appending again makes the same chunks.
  other.append(flights(0, 500));
  await bus.tick();
  check(15, 500);
  assert.deepEqual(other.row(499), flight(499));
  assert((await bus.verify()).ok);
  await bus.close();
});

Deno.test("Table.append() with an expected epoch is refused where somebody else appended", async () => {
  const { bus, table } = await busWithFlights(10);
  const { epoch } = table;
  table.append(flights(10, 300), { expectedEpoch: epoch });
  await bus.tick();
  table.append(flights(310, 1), { expectedEpoch: epoch });
  await assert.rejects(bus.tick(), { code: "stale-epoch" });
  assert.equal(table.stagedLength, 310);
  await bus.close();
});

Deno.test("two handles of a table agree about what is staged", async () => {
  const { bus, table } = await busWithFlights(10);
  const other = bus.table(Flights, "flights");
  assert.equal(table.append(flights(10, 300)), 10);
  assert.equal(other.append(flights(310, 300)), 310);
  other.set(309, { delay: -1 });
  await bus.tick();
  for (const handle of [table, other]) {
    assert.equal(handle.length, 610);
    assert.deepEqual(handle.row(309), { ...flight(309), delay: -1 });
    assert.deepEqual(handle.row(609), flight(609));
  }
  await bus.close();
});

Deno.test("Table.delete() deletes all its pages, and nothing is appended to it any more", async () => {
  const { bus, table } = await busWithFlights(1000);
  const plain = bus.createPage({ size: 8 });
  await bus.tick();
  table.append(flights(1000, 5000));
  await assert.rejects(bus.commit(() => {
    table.delete();
    throw new Error("no");
  }));
  table.delete();
  await assertRefused(bus, "invalid-handle", () => table.append(flights(0, 1)));
  await assertRefused(bus, "invalid-handle", () => table.set(0, { delay: 1 }));
  await assertRefused(bus, "invalid-handle", () => table.delete());
  await assertRefused(bus, "invalid-handle", () => bus.createTable(Flights, { name: "flights" }));
  await bus.tick();
  assert.deepEqual([...bus.pages()].map(({ id }) => id), [plain.id]);
  for (
    const call of [
      () => table.length,
      () => table.row(0),
      () => table.get(0, "delay"),
      () => [...table.column("delay")],
      () => table.append(flights(0, 1)),
      () => table.delete(),
    ]
  ) await assertRefused(bus, "invalid-handle", call);
  assert.equal(table.state, "deleted");
  const again = bus.createTable(Flights, { name: "flights" });
  await bus.tick();
  assert.equal(again.length, 0);
  await bus.close();
  assert.throws(() => again.length, { code: "closed" });
  assert.throws(() => again.append(flights(0, 1)), { code: "closed" });
});

Deno.test("bus.createTable() refuses what is no such table", async () => {
  const { bus } = await busWithFlights(10);
  bus.createPage({ size: 64, name: "plain" });
  bus.create(struct({ delay: "i16" }), { name: "struct" });
  await bus.tick();
  const wrong = table({ delay: "i32", distance: "u16", carrier: utf8(2) });
  for (
    const open of [
      (schema: typeof Flights, name: string) => bus.createTable(schema, { name }),
      (schema: typeof Flights, name: string) => bus.table(schema, name),
    ]
  ) {
    await assertRefused(bus, "usage", () => open(any(wrong), "flights"));
    await assertRefused(bus, "usage", () => open(any(table({ delay: "i16" })), "flights"));
    await assertRefused(bus, "usage", () => open(Flights, "plain"));
    await assertRefused(bus, "usage", () => open(Flights, "struct"));
    for (const bad of [undefined, null, {}, struct({ a: "u8" })]) {
      await assertRefused(bus, "usage", () => open(any(bad), "flights"));
    }
  }
  await assertRefused(bus, "invalid-handle", () => bus.table(Flights, "none"));
  await assertRefused(bus, "usage", () => bus.create(any(Flights), { name: "flights" }));
  await bus.close();
});

Deno.test("Table.append() refuses what only looks like a column, and what has no values any more", async () => {
  const bus = await StateBus.open(SMALL);
  const rows = bus.createTable(table({ a: "i8", b: bytes(2) }));
  await bus.tick();
  const gone = new Int8Array(4);
  structuredClone(gone.buffer, { transfer: [gone.buffer] });
  const proxy = new Proxy(new Int8Array(1), {}), shaped = Object.create(Int8Array.prototype);
  for (const a of [gone, proxy, shaped]) {
    await assertRefused(bus, "usage", () => rows.append({ a, b: [new Uint8Array(2)] }));
  }
  for (const b of [[proxy], [shaped]]) {
    await assertRefused(bus, "usage", () => rows.append({ a: [1], b: any(b) }));
  }
  const long: number[] = [];
  long.length = 2 ** 32 - 1;
  await assertRefused(bus, "limit", () => rows.append({ a: long, b: [] }));
  await assertRefused(bus, "usage", () => rows.columnInto(proxy, "a"));
  await bus.close();
});

Deno.test("a table's root page is not cloned, restored, resized or deleted without its rows", async () => {
  const bus = await StateBus.open();
  const table = bus.createTable(Flights, { name: "flights" });
  const before = table.page.snapshot(),
    refused = { code: "usage", message: /root page of a table/ };
  assert.throws(() => table.page.clone(), refused);
  await bus.commit(() => table.append(flights(0, 10)));
  const plain = bus.createPage({ size: table.page.size });
  await bus.tick();
  for (const page of [table.page, plain]) assert.throws(() => page.restore(before), refused);
  assert.throws(() => table.page.restore(plain.snapshot()), refused);
  assert.throws(() => table.page.resize(8), refused);
  assert.throws(() => table.page.delete(), refused);
  assert.throws(() => table.page.clone({ name: "copy" }), refused);
  assert.equal(bus.stats().staged, 0);
  assert.equal(table.length, 10);
  await bus.close();
});

Deno.test("a table whose chunk was deleted by itself says so", async () => {
  const { bus, table } = await busWithFlights(10);
  const [chunk] = [...bus.pages()].filter((page) => page.size === 512);
  chunk.delete();
  await bus.tick();
  await assertRefused(bus, "invalid-handle", () => table.get(0, "delay"));
  assert.throws(() => table.get(0, "delay"), /"delay"/);
  await bus.close();
});

Deno.test("all pages of a table are in its shard, if it was given one", async () => {
  const bus = await StateBus.open(SMALL);
  const one = bus.createTable(Flights, { shard: 5 }), spread = bus.createTable(Flights);
  await bus.commit(() => one.append(flights(0, 2000)));
  assert.deepEqual(new Set([...bus.pages()].map(({ shard }) => shard).slice(2)), new Set([5]));
  await bus.commit(() => spread.append(flights(0, 2000)));
  assert(new Set([...bus.pages()].map(({ shard }) => shard)).size > 5);
  await bus.close();
});

Deno.test("a table has at most 2^32 - 1 rows", async () => {
  const { bus, table } = await busWithFlights(10);
  const rows = new Uint8Array(new Float64Array([2 ** 32 - 2]).buffer);
  await bus.commit(() => table.page.write(0, rows));
  await assertRefused(bus, "limit", () => table.append(flights(0, 2)));
  await bus.close();
});

Deno.test("tables come back from the log, for reading too, and columns are added", async () => {
  const storage = new MemoryStorage();
  const Longer = table({ ...Flights.definition, gate: "u8", note: utf8(4) });
  {
    await using bus = await StateBus.open({ ...SMALL, storage });
    const flightTable = bus.createTable(Flights, { name: "flights" });
    await bus.commit(() => flightTable.append(flights(0, 700)));
  }
  {
    await using bus = await StateBus.open({ ...SMALL, storage, readOnly: true });
    const seen = bus.table(Flights, "flights");
    assert.deepEqual([seen.length, seen.stagedLength], [700, 700]);
    assert.deepEqual(seen.row(699), flight(699));
    assert.throws(() => seen.append(flights(0, 1)), { code: "read-only" });
    assert.throws(() => bus.createTable(Flights, { name: "flights" }), { code: "read-only" });
    const longer = bus.table(Longer, "flights");
    assert.deepEqual(longer.row(0), { ...flight(0), gate: 0, note: "" });
    assert.deepEqual([...longer.column("gate")].map(({ length }) => length), [256, 256, 188]);
  }
  {
    await using bus = await StateBus.open({ ...SMALL, storage });
    const old = bus.table(Flights, "flights");
    const longer = bus.createTable(Longer, { name: "flights" });
    // Refused: the column is not there, and is added again by the next write to it.
    longer.append({
      ...flights(700, 100),
      gate: new Uint8Array(100).fill(9),
      note: Array(100).fill("x"),
    });
    longer.page.write(0, new Uint8Array(8), { expectedEpoch: 99 });
    await assert.rejects(bus.tick(), { code: "stale-epoch" });
    assert.equal(bus.table(Flights, "flights").length, 700);
    longer.append({
      ...flights(700, 100),
      gate: new Uint8Array(100).fill(5),
      note: Array(100).fill("y"),
    });
    longer.set(3, { gate: 7 });
    await bus.tick();
    assert.deepEqual(longer.row(3), { ...flight(3), gate: 7, note: "" });
    assert.deepEqual(longer.row(300), { ...flight(300), gate: 0, note: "" });
    assert.deepEqual(longer.row(700), { ...flight(700), gate: 5, note: "y" });
    // A handle from before goes on; what it does not know is zero.
    old.append(flights(800, 400));
    await bus.tick();
    assert.deepEqual(longer.row(1100), { ...flight(1100), gate: 0, note: "" });
    longer.checkInvariants();
    assert.throws(() => bus.createTable(Flights, { name: "flights" }), /"gate"|fields|missing/);
    assert((await bus.verify()).ok);
  }
  await using bus = await StateBus.open({ ...SMALL, storage });
  const longer = bus.table(Longer, "flights");
  assert.equal(longer.length, 1200);
  assert.deepEqual(longer.row(3), { ...flight(3), gate: 7, note: "" });
  assert.deepEqual(longer.row(799), { ...flight(799), gate: 5, note: "y" });
  const gates = [...longer.column("gate")].flatMap((chunk) => [...chunk]);
  assert.equal(gates.filter((gate) => gate === 5).length, 100);
  longer.checkInvariants();
});

Deno.test(`tables and structs of another writer are read at its ticks${SKIPPED}`, {
  ignore: UNAVAILABLE !== undefined,
}, async () => {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-table-" });
  const mapped = { arena: "mmap", memoryLimitBytes: 2 ** 24, dir } as const;
  {
    await using writer = await StateBus.open({ ...mapped, durability: "buffered" });
    const written = writer.createTable(Flights, { name: "flights" });
    const Quote = struct({ bid: "f64", ask: "f64" });
    const quote = writer.create(Quote, { name: "AAPL" });
    await writer.commit(() => written.append(flights(0, 10)));
    await using reader = await StateBus.open({ ...mapped, readOnly: true });
    const seen = reader.table(Flights, "flights"), seenQuote = reader.struct(Quote, "AAPL");
    let length = 10;
    for (const count of [5, 300, 2000]) {
      written.append(flights(length, count));
      quote.set({ bid: count });
      await writer.tick();
      length += count;
      assert.deepEqual([seen.length, seen.row(length - 1)], [length, flight(length - 1)]);
      assert.equal(seen.get(length - 2, "delay"), flight(length - 2).delay);
      const delays = [...seen.column("delay")].flatMap((chunk) => [...chunk]);
      assert.deepEqual(delays, [...flights(0, length).delay]);
      const target = new Uint16Array(length);
      assert.equal(seen.columnInto(target, "distance"), length);
      assert.deepEqual(target, flights(0, length).distance);
      assert.deepEqual(seenQuote.get(), { bid: count, ask: 0 });
      assert.deepEqual([seenQuote.get("bid"), seenQuote.epoch], [count, quote.epoch]);
    }
    assert.throws(() => seen.append(flights(0, 1)), { code: "read-only" });
    assert.throws(() => seenQuote.set({ bid: 1 }), { code: "read-only" });
    assert.throws(() => reader.table(Flights, "none"), { code: "invalid-handle" });
    written.delete();
    await writer.tick();
    assert.throws(() => seen.row(0), { code: "invalid-handle" });
    assert.throws(() => seen.length, { code: "invalid-handle" });
  }
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a column is cut as its type asks, though a refused batch was to make another of it", async () => {
  await using bus = await StateBus.open();
  bus.createTable(table({ x: "f64" }), { name: "t" });
  const page = bus.createPage({ size: 8 });
  await bus.commit(() => bus.table(table({ x: "f64" }), "t").append({ x: [1] }));
  const narrow = bus.table(table({ x: "f64", y: "u8" }), "t");
  narrow.append({ x: [2], y: [3] });
  page.write(0, Uint8Array.of(1), { expectedEpoch: 9 });
  await assert.rejects(bus.tick(), { code: "stale-epoch" });
  const wide = bus.table(table({ x: "f64", y: "f64" }), "t");
  await bus.commit(() => wide.append({ x: [2, 3], y: [0.5, 0.25] }));
  assert.deepEqual([wide.row(1), wide.row(2), wide.get(2, "y")], [
    { x: 2, y: 0.5 },
    { x: 3, y: 0.25 },
    0.25,
  ]);
  assert.throws(() => narrow.set(1, { y: 1 }), { code: "usage" });
});
