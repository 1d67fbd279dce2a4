import assert from "node:assert/strict";
import fc from "fast-check";
import {
  BATCH_PAYLOAD_BYTES_MAX,
  BATCH_ROWS_MAX,
  DICTIONARY_STRINGS_MAX,
  isMmsbError,
  type MmsbErrorCode,
  STRING_BYTES_MAX,
} from "../base/mod.ts";
import { DeltaBatch, type DeltaBatchOptions, type DeltaRow } from "./delta_batch.ts";
import { maskedPayloadBytes, ROW_BYTES } from "./kernel_columns.ts";
import {
  combineKind,
  type CombineOperation,
  type CombineType,
  KIND_MASKED,
  KIND_SET,
  kindName,
} from "./kind.ts";
import { COMBINE_KINDS, maskedPayload, repeated } from "./_rows_test.ts";

/** All that a caller sees of a batch. */
function seen(batch: DeltaBatch): unknown {
  return {
    rows: batch.toRows(),
    length: batch.length,
    payloadLength: batch.payloadLength,
    payload: batch.payload.slice(0, batch.payloadLength),
    strings: [...batch.strings],
    expectsEpochs: batch.expectedEpochs !== undefined,
    statesTimes: batch.timesUs !== undefined,
  };
}

/** The call refuses with one of the codes and leaves the batch as it was. */
function assertRefused(
  batch: DeltaBatch,
  call: () => unknown,
  codes: MmsbErrorCode | readonly MmsbErrorCode[],
  what = "",
): void {
  const before = seen(batch);
  assert.throws(call, (error) => {
    assert.ok(isMmsbError(error), `${what}: ${error}`);
    assert.ok(codes.includes(error.code), `${what}: ${error.code}: ${error.message}`);
    return true;
  }, what);
  assert.deepEqual(seen(batch), before, what);
}

/** What is no integer at all. */
const NO_INTEGERS: unknown[] = [
  "1",
  "",
  1n,
  NaN,
  Infinity,
  -Infinity,
  1.5,
  2 ** 53,
  null,
  true,
  Symbol("1"),
  [1],
  () => 1,
  Object.create(null),
  { valueOf: () => 1 },
];

/** Integers that are no page and no offset. */
const NO_UINT32: unknown[] = [-1, 2 ** 32, -(2 ** 31), 2 ** 53 - 1];

const NO_BYTES: unknown[] = [
  null,
  undefined,
  5,
  "bytes",
  [1, 2],
  {},
  new ArrayBuffer(4),
  new Uint16Array(4),
  new Int8Array(4),
  new DataView(new ArrayBuffer(4)),
  Uint8Array,
  { BYTES_PER_ELEMENT: 1, length: 1.5 },
];

const NO_OPTIONS: unknown[] = [
  "feed",
  null,
  1n,
  NaN,
  0.5,
  -1,
  3,
  2 ** 32,
  true,
  Symbol("feed"),
  ...[-1, 3, 0.5, NaN, "feed", null, 1n].flatMap((source) => [{ source }, { intent: source }]),
  ...[-1, 0.5, NaN, "1", null, 1n, 2 ** 53].map((expectedEpoch) => ({ expectedEpoch, timeUs: 1 })),
  ...[NaN, Infinity, "1", null, 1n, 2 ** 60].map((timeUs) => ({ timeUs, expectedEpoch: 1 })),
];

const CODES: readonly MmsbErrorCode[] = ["usage", "out-of-bounds"];

/** A batch with some rows of each sort, and two interned strings. */
function sample(): DeltaBatch {
  const batch = new DeltaBatch({ rows: 8, payloadBytes: 64 });
  const feed = batch.source("feed-a");
  batch.push(7, 32, Uint8Array.of(1, 2, 3), feed);
  batch.combine(7, "f64", "add", 40, 1.5);
  batch.pushMasked(9, 1, 9, Uint8Array.of(3, 1), Uint8Array.of(4, 5, 6), {
    source: batch.intent("why"),
  });
  return batch;
}

Deno.test("DeltaBatch.push() refuses each bad argument and leaves the batch as it was", () => {
  const batch = sample(), bytes = Uint8Array.of(1);
  const push = batch.push.bind(batch) as (...given: unknown[]) => number;
  for (const bad of [...NO_INTEGERS, undefined]) {
    assertRefused(batch, () => push(bad, 0, bytes), "usage", "page");
    assertRefused(batch, () => push(1, bad, bytes), "usage", "offset");
  }
  for (const bad of [...NO_UINT32, 0, -0]) {
    assertRefused(batch, () => push(bad, 0, bytes), "out-of-bounds", "page");
  }
  for (const bad of NO_UINT32) {
    assertRefused(batch, () => push(1, bad, bytes), "out-of-bounds", "offset");
  }
  for (const bad of [...NO_BYTES, new Uint8Array(0)]) {
    assertRefused(batch, () => push(1, 0, bad), "usage", "payload");
  }
  for (const bad of NO_OPTIONS) {
    assertRefused(batch, () => push(1, 0, bytes, bad), CODES, "options");
  }
  assertRefused(batch, () => push(1, 0, new Uint8Array(65)), "limit", "too long");
  assert.equal(push(1, -0, bytes), 3);
  assert.equal(batch.at(3).offset, 0);
});

Deno.test("DeltaBatch.combine() refuses each bad argument and leaves the batch as it was", () => {
  const batch = sample();
  const combine = batch.combine.bind(batch) as (...given: unknown[]) => number;
  for (const bad of [...NO_INTEGERS, undefined]) {
    assertRefused(batch, () => combine(bad, "i32", "add", 0, 1), "usage", "page");
    assertRefused(batch, () => combine(1, "i32", "add", bad, 1), "usage", "offset");
    assertRefused(batch, () => combine(1, "u32", "xor", 0, bad), "usage", "value");
    if (typeof bad === "number") continue;
    assertRefused(batch, () => combine(1, "f32", "min", 0, bad), "usage", "value");
  }
  for (const bad of NO_UINT32) {
    assertRefused(batch, () => combine(bad, "f64", "add", 0, 1), "out-of-bounds", "page");
    assertRefused(batch, () => combine(1, "f32", "add", bad, 1), CODES, "offset");
  }
  for (const [type, operation] of [["f64", "xor"], ["i64", "add"], ["i32", "mul"], [1, 1], []]) {
    assertRefused(batch, () => combine(1, type, operation, 0, 1), "usage", "kind");
  }
  for (const [type, offset] of [["i32", 2], ["f32", 41], ["f64", 4], ["f64", 2 ** 32 - 4]]) {
    assertRefused(batch, () => combine(1, type, "add", offset, 1), "usage", "alignment");
  }
  for (const bad of NO_OPTIONS) {
    assertRefused(batch, () => combine(1, "i32", "add", 0, 1, bad), CODES, "options");
  }
});

Deno.test("DeltaBatch.pushMasked() refuses each bad argument and leaves the batch as it was", () => {
  const batch = sample(), mask = Uint8Array.of(0b101), packed = Uint8Array.of(8, 9);
  const pushMasked = batch.pushMasked.bind(batch) as (...given: unknown[]) => number;
  for (const bad of [...NO_INTEGERS, undefined]) {
    assertRefused(batch, () => pushMasked(bad, 0, 3, mask, packed), "usage", "page");
    assertRefused(batch, () => pushMasked(1, bad, 3, mask, packed), "usage", "offset");
    assertRefused(batch, () => pushMasked(1, 0, bad, mask, packed), "usage", "length");
  }
  for (const bad of NO_UINT32) {
    assertRefused(batch, () => pushMasked(bad, 0, 3, mask, packed), "out-of-bounds", "page");
    assertRefused(batch, () => pushMasked(1, bad, 3, mask, packed), "out-of-bounds", "offset");
  }
  for (const bad of [0, -1, 2 ** 31, 2 ** 32]) {
    assertRefused(batch, () => pushMasked(1, 0, bad, mask, packed), "out-of-bounds", "length");
  }
  for (const bad of NO_BYTES) {
    assertRefused(batch, () => pushMasked(1, 0, 3, bad, packed), "usage", "mask");
    assertRefused(batch, () => pushMasked(1, 0, 3, mask, bad), "usage", "packed");
  }
  for (const bad of NO_OPTIONS) {
    assertRefused(batch, () => pushMasked(1, 0, 3, mask, packed, bad), CODES, "options");
  }
  // Mask and span, mask and bytes disagree.
  assertRefused(batch, () => pushMasked(1, 0, 9, mask, packed), "usage");
  assertRefused(batch, () => pushMasked(1, 0, 3, Uint8Array.of(5, 0), packed), "usage");
  assertRefused(batch, () => pushMasked(1, 0, 2, mask, packed), "usage");
  assertRefused(batch, () => pushMasked(1, 0, 3, mask, packed.subarray(1)), "usage");
  assertRefused(batch, () => pushMasked(1, 0, 3, mask, Uint8Array.of(7, 8, 9)), "usage");
  assertRefused(batch, () => pushMasked(1, 0, 3, new Uint8Array(0), packed), "usage");
  assertRefused(batch, () => pushMasked(1, 0, 512, new Uint8Array(64), new Uint8Array(0)), "limit");
  assert.equal(pushMasked(1, 0, 3, mask, packed), 3);
  assert.equal(pushMasked(1, 0, 3, Uint8Array.of(0), new Uint8Array(0)), 4);
});

Deno.test("DeltaBatch.setLength() refuses each bad argument and leaves the batch as it was", () => {
  const batch = sample();
  const setLength = batch.setLength.bind(batch) as (...given: unknown[]) => void;
  for (const bad of [...NO_INTEGERS, undefined]) {
    assertRefused(batch, () => setLength(bad, 0), "usage");
    assertRefused(batch, () => setLength(1, bad), "usage");
  }
  for (const bad of [-1, 9, 2 ** 32]) assertRefused(batch, () => setLength(bad, 0), "limit");
  for (const bad of [-1, 65, 2 ** 32]) assertRefused(batch, () => setLength(1, bad), "limit");
  setLength(8, 64);
  assert.deepEqual([batch.length, batch.payloadLength], [8, 64]);
  setLength(0, 0);
  assert.deepEqual([batch.length, batch.payloadLength], [0, 0]);
});

Deno.test("DeltaBatch refuses options that are none", () => {
  const make = (options: unknown) => new DeltaBatch(options as DeltaBatchOptions);
  const rows = 4, payloadBytes = 64;
  for (const bad of [undefined, null, 5, "rows", {}, { rows }, { payloadBytes }]) {
    assert.throws(() => make(bad), { code: "usage" });
  }
  for (const bad of NO_INTEGERS) {
    assert.throws(() => make({ rows: bad, payloadBytes }), { code: "usage" });
    assert.throws(() => make({ rows, payloadBytes: bad }), { code: "usage" });
  }
  for (const bad of [0, -1, BATCH_ROWS_MAX + 1]) {
    assert.throws(() => make({ rows: bad, payloadBytes }), { code: "limit" });
  }
  for (const bad of [-1, BATCH_PAYLOAD_BYTES_MAX + 1]) {
    assert.throws(() => make({ rows, payloadBytes: bad }), { code: "limit" });
  }
  for (const growable of [null, 1, "yes"]) {
    assert.throws(() => make({ rows, payloadBytes, growable }), { code: "usage" });
  }
});

Deno.test("DeltaBatch.source() and intent() give a string one number, and refuse others", () => {
  const batch = new DeltaBatch({ rows: 1, payloadBytes: 4 });
  assert.deepEqual([batch.source(""), batch.intent("")], [0, 0]);
  assert.deepEqual(["a", "b", "a", "😀"].map((name) => batch.source(name)), [1, 2, 1, 3]);
  assert.deepEqual(["a", "c", "constructor"].map((text) => batch.intent(text)), [1, 4, 5]);
  assert.deepEqual(batch.strings, ["", "a", "b", "😀", "c", "constructor"]);
  for (const bad of [undefined, null, 5, 5n, {}, ["a"], Symbol("a")]) {
    assertRefused(batch, () => batch.source(bad as string), "usage");
    assertRefused(batch, () => batch.intent(bad as string), "usage");
  }
  assertRefused(batch, () => batch.source("\ud800"), "usage");
  assertRefused(batch, () => batch.intent("x".repeat(STRING_BYTES_MAX + 1)), "limit");
  assertRefused(batch, () => batch.intent("é".repeat(STRING_BYTES_MAX / 2 + 1)), "limit");
  assert.equal(batch.intent("x".repeat(STRING_BYTES_MAX)), 6);
});

Deno.test("DeltaBatch.source() refuses one string too many", () => {
  const batch = new DeltaBatch({ rows: 1, payloadBytes: 4 });
  for (let i = 1; i < DICTIONARY_STRINGS_MAX; i++) assert.equal(batch.source(`s${i}`), i);
  assert.throws(() => batch.source("one more"), { code: "limit" });
  assert.equal(batch.source("s65535"), 65_535);
  batch.push(1, 0, Uint8Array.of(1), 65_535);
  assert.equal(batch.at(0).source, "s65535");
});

const someString = fc.constantFrom("", "feed-a", "feed-b", "größe");
const anyRow: fc.Arbitrary<DeltaRow> = fc.record({
  page: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
  offset: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  length: fc.integer({ min: 1, max: 90 }),
  kind: fc.constantFrom(KIND_SET, KIND_MASKED, ...COMBINE_KINDS),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }),
  source: someString,
  intent: someString,
  expectedEpoch: fc.option(fc.maxSafeNat(), { freq: 2, nil: undefined }),
  timeUs: fc.option(fc.integer({ min: -(2 ** 52), max: 2 ** 52 }), { freq: 2, nil: undefined }),
}).map(({ bytes, expectedEpoch, timeUs, ...row }) => ({
  ...row,
  payload: row.kind === KIND_MASKED
    ? maskedPayload(row.length, bytes)
    : repeated(bytes, row.length),
  ...(expectedEpoch === undefined ? {} : { expectedEpoch }),
  ...(timeUs === undefined ? {} : { timeUs }),
}));
const someRows = fc.array(anyRow, { maxLength: 12 });

Deno.test("DeltaBatch gives back as rows what was appended, and at() copies", () => {
  fc.assert(fc.property(someRows, (rows) => {
    const batch = DeltaBatch.from(rows);
    assert.deepEqual(batch.toRows(), rows);
    assert.deepEqual([...batch], rows);
    assert.equal(batch.length, rows.length);
    assert.deepEqual(DeltaBatch.from(batch).toRows(), rows);
    rows.forEach((row, index) => {
      assert.equal(batch.payloadBytesOf(index), row.payload.length);
      assert.equal(batch.columns.payloadStart[index] % 4, 0);
      batch.at(index).payload.fill(0);
    });
    assert.deepEqual(batch.toRows(), rows);
  }));
});

Deno.test("DeltaBatch does as an array of rows does, whatever is done to it", () => {
  type Step = (batch: DeltaBatch, model: DeltaRow[]) => void;
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 90, size: "max" });
  const step: fc.Arbitrary<Step> = fc.oneof(
    anyRow.map((row): Step => (batch, model) => {
      assert.equal(batch.append(row), model.length);
      model.push(row);
    }),
    fc.tuple(bytes, someString).map(([payload, source]): Step => (batch, model) => {
      assert.equal(batch.push(3, 5, payload, batch.source(source)), model.length);
      model.push({
        page: 3,
        offset: 5,
        length: payload.length,
        kind: 0,
        payload: payload.slice(),
        source,
        intent: "",
      });
    }),
    someRows.map((rows): Step => (batch, model) => {
      batch.extend(DeltaBatch.from(rows));
      model.push(...rows);
    }),
    fc.constant<Step>((batch, model) => {
      if (model.length > 50) return;
      batch.extend(batch);
      model.push(...model);
    }),
    fc.constant<Step>((batch, model) => {
      batch.clear();
      model.length = 0;
    }),
    fc.nat().map((nat): Step => (batch, model) => {
      const count = nat % (model.length + 1);
      batch.setLength(count, batch.payloadLength);
      model.length = count;
    }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 15, size: "max" }), (steps) => {
      const batch = new DeltaBatch({ rows: 1, payloadBytes: 0, growable: true });
      const model: DeltaRow[] = [];
      for (const run of steps) {
        run(batch, model);
        assert.deepEqual(batch.toRows(), model);
        assert.ok(batch.length <= batch.rowsMax && batch.payloadLength <= batch.payload.length);
      }
      for (const page of [3, ...model.slice(0, 2).map((row) => row.page)]) {
        const rows = model.flatMap((row, index) => row.page === page ? [index] : []);
        assert.deepEqual(batch.rowsOf(page), rows);
      }
    }),
    { numRuns: 80 },
  );
});

Deno.test("DeltaBatch.reserve() makes room in one step, or refuses and changes nothing", () => {
  const batch = new DeltaBatch({ rows: 1, payloadBytes: 8, growable: true });
  batch.push(7, 0, new Uint8Array([1, 2, 3]), { source: batch.source("a"), expectedEpoch: 5 });
  batch.reserve(1000, 4000);
  const { payload } = batch, { page } = batch.columns;
  assert(batch.rowsMax >= 1001 && payload.length >= 4004);
  const rows = [batch.at(0)];
  for (let i = 0; i < 1000; i++) batch.push(8, i, new Uint8Array([i, 1, 1, 1]));
  assert(batch.payload === payload && batch.columns.page === page, "nothing was moved");
  assert.deepEqual([batch.at(0)], rows);
  assert.deepEqual([batch.length, batch.at(1000).payload[0]], [1001, 999 & 255]);
  const before = batch.rowsMax;
  for (const [rows, bytes] of [[2 ** 24, 0], [0, 2 ** 30], [2 ** 24 + 1, 0], [0, 2 ** 30 + 1]]) {
    assert.throws(() => batch.reserve(rows, bytes), { code: "limit" });
  }
  for (const bad of [-1, NaN, 1.5, "1", 1n]) {
    assert.throws(() => batch.reserve(bad as number, 0), isMmsbError);
    assert.throws(() => batch.reserve(0, bad as number), isMmsbError);
  }
  assert.deepEqual([batch.rowsMax, batch.length], [before, 1001]);
  const fixed = new DeltaBatch({ rows: 2, payloadBytes: 16 });
  fixed.reserve(2, 16);
  assert.throws(() => fixed.reserve(3, 0), { code: "limit" });
});

Deno.test("DeltaBatch.combine() writes operands little endian, integers modulo 2^32", () => {
  const batch = new DeltaBatch({ rows: 16, payloadBytes: 128 });
  const cases: [CombineType, CombineOperation, number, string][] = [
    ["i32", "add", -2, "feffffff"],
    ["u32", "max", 2 ** 32 - 1, "ffffffff"],
    ["u32", "add", -1, "ffffffff"],
    ["i32", "xor", 2 ** 32 + 5, "05000000"],
    ["i32", "or", 2 ** 53 - 1, "ffffffff"],
    ["u32", "and", -(2 ** 53) + 1, "01000000"],
    ["i32", "min", -0, "00000000"],
    ["f32", "add", 1.5, "0000c03f"],
    ["f32", "max", -0, "00000080"],
    ["f32", "min", -Infinity, "000080ff"],
    ["f64", "add", 1.5, "000000000000f83f"],
    ["f64", "max", Infinity, "000000000000f07f"],
  ];
  for (const [type, operation, value, hex] of cases) {
    const row = batch.at(batch.combine(6, type, operation, 16, value));
    assert.equal(row.payload.toHex(), hex, `${type} ${value}`);
    assert.deepEqual(
      [row.page, row.offset, row.length, row.kind],
      [6, 16, hex.length / 2, combineKind(type, operation)],
    );
  }
  for (const type of ["f32", "f64"] as const) {
    const { payload } = batch.at(batch.combine(6, type, "min", 0, NaN));
    const view = new DataView(payload.buffer);
    assert.ok(Number.isNaN(type === "f32" ? view.getFloat32(0, true) : view.getFloat64(0, true)));
  }
});

Deno.test("DeltaBatch keeps what a row says beside its bytes, and NaN for rows that say nothing", () => {
  const batch = new DeltaBatch({ rows: 8, payloadBytes: 64 }), byte = Uint8Array.of(1);
  batch.push(1, 0, byte);
  assert.deepEqual([batch.expectedEpochs, batch.timesUs], [undefined, undefined]);
  batch.push(1, 0, byte, {});
  assert.deepEqual([batch.expectedEpochs, batch.timesUs], [undefined, undefined]);
  batch.push(1, 0, byte, { expectedEpoch: 0, timeUs: -2.5 });
  batch.push(1, 0, byte, batch.source("a"));
  batch.push(1, 0, byte, { source: 1, intent: batch.intent("b"), expectedEpoch: 2 ** 53 - 1 });
  assert.deepEqual([...batch.expectedEpochs!.slice(0, 5)], [NaN, NaN, 0, NaN, 2 ** 53 - 1]);
  assert.deepEqual([...batch.timesUs!.slice(0, 5)], [NaN, NaN, -2.5, NaN, NaN]);
  const said = batch.toRows().map((
    { source, intent, expectedEpoch, timeUs },
  ) => [source, intent, expectedEpoch, timeUs]);
  assert.deepEqual(said, [
    ["", "", undefined, undefined],
    ["", "", undefined, undefined],
    ["", "", 0, -2.5],
    ["a", "", undefined, undefined],
    ["a", "b", 2 ** 53 - 1, undefined],
  ]);
  assert.deepEqual(batch.rowsExpecting(0, 100), [2]);
  assert.deepEqual(batch.rowsExpecting(1, Infinity), [4]);
  // A row that is taken back and written again without options says nothing.
  batch.setLength(2, 8);
  batch.push(1, 0, byte, 1);
  assert.deepEqual(Object.keys(batch.at(2)).includes("expectedEpoch"), false);
  batch.clear();
  assert.deepEqual([batch.expectedEpochs, batch.timesUs], [undefined, undefined]);
  assert.deepEqual(batch.rowsExpecting(0, Infinity), []);
});

Deno.test("DeltaBatch.clear() empties the batch and keeps numbers of strings; clearStrings() ends them", () => {
  const batch = sample(), { payload } = batch;
  assertRefused(batch, () => batch.clearStrings(), "usage");
  batch.clear();
  assert.deepEqual([batch.length, batch.payloadLength, batch.toRows()], [0, 0, []]);
  assert.equal(batch.payload, payload);
  assert.equal(batch.source("why"), 2);
  batch.push(4, 0, Uint8Array.of(9), 2);
  assert.deepEqual(batch.at(0), {
    page: 4,
    offset: 0,
    length: 1,
    kind: KIND_SET,
    payload: Uint8Array.of(9),
    source: "why",
    intent: "",
  });
  batch.clear();
  batch.clearStrings();
  assert.deepEqual(batch.strings, [""]);
  assertRefused(batch, () => batch.push(4, 0, Uint8Array.of(9), 2), "out-of-bounds");
  assert.equal(batch.source("why"), 1);
});

Deno.test("DeltaBatch refuses a row where it is full, and takes one after clear()", () => {
  const batch = new DeltaBatch({ rows: 2, payloadBytes: 13 }), four = new Uint8Array(4);
  assert.equal(batch.rowsMax, 2);
  for (const text of sample().strings) batch.source(text);
  batch.push(1, 0, four);
  assertRefused(batch, () => batch.push(1, 0, new Uint8Array(13)), "limit", "payload");
  batch.push(1, 0, four);
  for (let round = 0; round < 2; round++) {
    assertRefused(batch, () => batch.push(1, 0, four), "limit", "rows");
    assertRefused(batch, () => batch.combine(1, "i32", "add", 0, 1), "limit", "rows");
    assertRefused(batch, () => batch.append(batch.at(0)), "limit", "rows");
    assertRefused(batch, () => batch.extend(sample()), "limit", "rows");
  }
  batch.clear();
  assertRefused(batch, () => batch.extend(sample()), "limit", "extended in part");
  batch.push(1, 0, four);
});

Deno.test("DeltaBatch grows by doubling and keeps rows, options and strings", () => {
  const batch = new DeltaBatch({ rows: 1, payloadBytes: 0, growable: true });
  const rows = Array.from({ length: 1000 }, (_, i): DeltaRow => ({
    page: i + 1,
    offset: 8 * i,
    length: i % 70 + 1,
    kind: KIND_SET,
    payload: repeated(Uint8Array.of(i), i % 70 + 1),
    source: `source ${i % 7}`,
    intent: `intent ${i % 11}`,
    ...(i === 700 ? { expectedEpoch: 5 } : {}),
    ...(i === 5 ? { timeUs: 7 } : {}),
  }));
  for (const row of rows) batch.append(row);
  assert.deepEqual(batch.toRows(), rows);
  assert.equal(batch.rowsMax, 1024);
  assert.equal(batch.expectedEpochs!.length, 1024);
});

Deno.test("DeltaBatch that cannot grow for want of memory stays as it was, and grows later", () => {
  const whole = globalThis.SharedArrayBuffer;
  const batch = new DeltaBatch({ rows: 1, payloadBytes: 8, growable: true });
  batch.push(1, 0, Uint8Array.of(1, 2, 3), { expectedEpoch: 3 });
  class Refusing {
    constructor() {
      throw new RangeError("Array buffer allocation failed");
    }
  }
  globalThis.SharedArrayBuffer = Refusing as unknown as SharedArrayBufferConstructor;
  try {
    for (let round = 0; round < 2; round++) {
      assertRefused(batch, () => batch.push(1, 0, new Uint8Array(100)), "allocation");
      assert.deepEqual([batch.rowsMax, batch.payload.length], [1, 8]);
    }
    assert.throws(() => new DeltaBatch({ rows: 1, payloadBytes: 8 }), { code: "allocation" });
  } finally {
    globalThis.SharedArrayBuffer = whole;
  }
  batch.push(1, 0, new Uint8Array(100).fill(7));
  assert.deepEqual(batch.at(1).payload, new Uint8Array(100).fill(7));
  assert.deepEqual(batch.at(0).expectedEpoch, 3);
});

Deno.test("DeltaBatch cannot be changed while the bus holds it", () => {
  const batch = sample();
  batch.submitted = true;
  const changes: (() => unknown)[] = [
    () => batch.push(1, 0, Uint8Array.of(1)),
    () => batch.combine(1, "i32", "add", 0, 1),
    () => batch.pushMasked(1, 0, 1, Uint8Array.of(1), Uint8Array.of(1)),
    () => batch.append(batch.at(0)),
    () => batch.extend(sample()),
    () => batch.setLength(1, 4),
    () => batch.clear(),
    () => batch.clearStrings(),
    () => batch.source("new"),
  ];
  for (const change of changes) assertRefused(batch, change, "usage", String(change));
  assert.equal(batch.source("feed-a"), 1);
  batch.submitted = false;
  batch.clear();
});

Deno.test("DeltaBatch.columns can be filled by hand, as the same rows pushed", () => {
  const batch = new DeltaBatch({ rows: 3, payloadBytes: 16 }), { columns } = batch;
  columns.page.set([2 ** 32 - 1, 5, 5]);
  columns.offset.set([16, 1, 8]);
  columns.length.set([4, 9, 4]);
  columns.payloadStart.set([0, 4, 12]);
  columns.kind.set([KIND_SET, KIND_MASKED, combineKind("i32", "add")]);
  columns.source[2] = batch.source("a");
  columns.intent[0] = batch.source("b");
  batch.payload.set([1, 2, 3, 4, 0b10, 1, 7, 8, 0, 0, 0, 0, 5, 0, 0, 0]);
  batch.setLength(3, 16);
  const pushed = new DeltaBatch({ rows: 3, payloadBytes: 16 });
  pushed.source("a");
  pushed.push(2 ** 32 - 1, 16, Uint8Array.of(1, 2, 3, 4), { intent: pushed.source("b") });
  pushed.pushMasked(5, 1, 9, Uint8Array.of(2, 1), Uint8Array.of(7, 8));
  pushed.combine(5, "i32", "add", 8, 5, 1);
  assert.deepEqual(batch.toRows(), pushed.toRows());
});

Deno.test("DeltaBatch.columns and the kernels' columns are one shared buffer", () => {
  for (const rows of [1, 7, 8, 9, 100]) {
    const batch = new DeltaBatch({ rows, payloadBytes: 13 }), { columns, kernel } = batch;
    const { buffer } = batch.payload;
    assert.ok(buffer instanceof SharedArrayBuffer);
    assert.equal(buffer.byteLength, Math.ceil(rows / 8) * 8 * ROW_BYTES + 16);
    for (const column of [...Object.values(columns), ...Object.values(kernel)]) {
      assert.equal(column.buffer, buffer);
    }
    for (const column of Object.values(columns)) assert.equal(column.length, rows);
    const last = rows - 1, word = 0xfeed_beef;
    for (const [name, other] of [["page", "page"], ["payloadStart", "start"]] as const) {
      columns[name][last] = word;
      assert.equal(kernel[other][last], word | 0);
    }
    columns.kind[last] = 3;
    assert.equal(kernel.kinds[last >> 2], 3 << 8 * (last & 3));
    columns.source[last] = 5;
    columns.intent[last] = 6;
    const half = 16 * (last & 1), intents = kernel.source.length >> 1;
    assert.equal(kernel.strings[last >> 1], 5 << half);
    assert.equal(kernel.strings[intents + (last >> 1)], 6 << half);
    batch.payload[12] = 9;
    assert.equal(kernel.payloadWords[3], 9);
  }
});

Deno.test("DeltaBatch.at() refuses rows that are not there", () => {
  const batch = sample();
  for (const bad of NO_INTEGERS) assert.throws(() => batch.at(bad as number), { code: "usage" });
  for (const bad of [-1, 3, 8]) assert.throws(() => batch.at(bad), { code: "out-of-bounds" });
  batch.clear();
  assert.throws(() => batch.at(0), { code: "out-of-bounds" });
});

Deno.test("DeltaBatch.append() refuses rows that are none and leaves the batch as it was", () => {
  const batch = sample();
  const good: DeltaRow = { ...batch.at(1) };
  const changes: Record<string, unknown>[] = [
    { page: 0 },
    { offset: -1 },
    { length: 7 },
    { length: 0, payload: new Uint8Array(0) },
    { length: NaN },
    { payload: new Uint8Array(9) },
    { payload: [...good.payload] },
    { payload: undefined },
    { source: 5 },
    { source: undefined },
    { intent: null },
    { expectedEpoch: -1 },
    { timeUs: NaN },
    ...[2, 0x44, 255, 256, -1, 0.5, NaN, "set", undefined].map((kind) => ({ kind })),
    { kind: KIND_SET, length: 7 },
    { kind: KIND_MASKED, length: 8, payload: Uint8Array.of(3, 1) },
    { kind: KIND_MASKED, length: 9, payload: Uint8Array.of(3) },
    { kind: KIND_MASKED, length: NaN, payload: Uint8Array.of(1, 1) },
  ];
  for (const change of changes) {
    const row = { ...good, ...change } as DeltaRow;
    assertRefused(batch, () => batch.append(row), CODES, JSON.stringify(change));
  }
  assert.equal(batch.append(good), 3);
});

Deno.test("DeltaBatch.partition() groups rows by shard and keeps their order", () => {
  const pages = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 50, size: "max" });
  fc.assert(fc.property(pages, fc.integer({ min: 1, max: 256 }), (pages, shards) => {
    const batch = new DeltaBatch({ rows: 50, payloadBytes: 200 });
    for (const page of pages) batch.push(page, 0, Uint8Array.of(1));
    const shardOf = (page: number) => (page * 37) % shards;
    const { order, starts } = batch.partition(shards, shardOf);
    const rows = [...pages.keys()];
    assert.equal(starts.length, shards + 1);
    assert.equal(starts[shards], pages.length);
    for (let shard = 0; shard < shards; shard++) {
      assert.deepEqual(
        [...order.subarray(starts[shard], starts[shard + 1])],
        rows.filter((row) => shardOf(pages[row]) === shard),
      );
    }
  }));
});

Deno.test("DeltaBatch.partition() refuses shards that are none", () => {
  const batch = sample();
  for (const shards of [0, -1, 257]) {
    assert.throws(() => batch.partition(shards, () => 0), { code: "limit" });
  }
  for (const shards of NO_INTEGERS) {
    assert.throws(() => batch.partition(shards as number, () => 0), { code: "usage" });
  }
  for (const shard of [-1, 4, 256]) {
    assert.throws(() => batch.partition(4, () => shard), { code: "out-of-bounds" });
  }
  assert.throws(() => batch.partition(4, () => NaN), { code: "usage" });
});

Deno.test("maskedPayloadBytes() counts the mask and its set bits", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(5), fc.uint8Array({ minLength: 1 }), (
      length,
      start,
      bytes,
    ) => {
      const payload = maskedPayload(length, bytes);
      const pool = new Uint8Array(start + payload.length + 4).fill(0xff);
      pool.set(payload, start);
      assert.equal(maskedPayloadBytes(pool, start, length), payload.length);
    }),
  );
});

Deno.test("DeltaBatch.from(), append() and extend() refuse what is no row and no batch", () => {
  const any = (value: unknown) => value as never;
  const batch = new DeltaBatch({ rows: 2, payloadBytes: 16 });
  for (const value of [undefined, null, 1, "x", {}, [], [null], Symbol("x")]) {
    if (!Array.isArray(value) || value.length > 0) {
      assert.throws(() => DeltaBatch.from(any(value)), { code: "usage" });
    }
    assert.throws(() => batch.append(any(value)), { code: "usage" });
    assert.throws(() => batch.extend(any(value)), { code: "usage" });
  }
  const proxy = new Proxy(new Uint8Array(1), {});
  assert.throws(() => batch.push(1, 0, proxy), { code: "usage" });
  assert.throws(() => kindName(any(null)), { code: "usage" });
  assert.equal(batch.length, 0);
});
