/** Examples of every rule of the bus, by hand, and recovery of random runs at every prefix. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MmsbError } from "../base/errors.ts";
import { difference, equals, Model } from "./mod.ts";
import type { CombineOp, CombineType, Row, RowOptions, State } from "./mod.ts";

function bytes(...values: number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(values);
}

function set(page: number, offset: number, payload: number[], options: RowOptions = {}): Row {
  const { length } = payload;
  return { kind: "set", page, offset, length, payload: bytes(...payload), ...options };
}

function bytesOf(model: Model, page: number): number[] {
  return [...model.state().get(page)!.bytes];
}

function epochOf(model: Model, page: number): number {
  return model.state().get(page)!.epoch;
}

/** A model with pages 1 … `count` of 16 bytes, created in tick 1. */
function modelWithPages(count: number): Model {
  const model = new Model();
  for (let i = 0; i < count; i++) model.createPage({ size: 16 });
  assert.deepEqual(model.tick(), { tick: 1, rows: 0, refused: [] });
  return model;
}

function throwsCode(code: string, call: () => unknown): void {
  assert.throws(call, (error) => error instanceof MmsbError && error.code === code);
}

/** Submits rows as one batch, and says why it was refused. */
function refusalOf(model: Model, sequence: number, rows: Row[]): [number, string] | undefined {
  model.submit(rows, { producer: 1, sequence });
  const before = model.state();
  const { refused } = model.tick();
  if (refused.length === 0) return undefined;
  assert.equal(difference(before, model.state()), undefined);
  assert.equal(refused[0].producer, 1);
  assert.equal(refused[0].sequence, sequence);
  return [refused[0].row, refused[0].code];
}

Deno.test("Model.createPage() gives ids 1, 2, 3 at once and pages at the tick", () => {
  const model = new Model({ shards: 2 });
  const unit = bytes(107, 103);
  assert.equal(model.createPage({ size: 3, name: "a", metadata: { unit } }), 1);
  assert.equal(model.createPage(), 2);
  assert.equal(model.createPage({ size: 1, shard: 1 }), 3);
  unit[0] = 0;
  assert.equal(model.state().size, 0);
  model.tick();
  const state = model.state();
  const metadata = { unit: bytes(107, 103) };
  assert.deepEqual(state.get(1), {
    bytes: bytes(0, 0, 0),
    epoch: 0,
    name: "a",
    metadata,
    shard: 0,
  });
  assert.equal(state.get(2)!.bytes.length, 4096);
  assert.ok(state.get(2)!.bytes.every((byte) => byte === 0));
  assert.deepEqual([1, 2, 3].map((id) => state.get(id)!.shard), [0, 1, 1]);
});

Deno.test("Model.createPage() counts 24 shards round from page 1 by default", () => {
  const model = new Model();
  for (let i = 0; i < 25; i++) model.createPage({ size: 1 });
  model.tick();
  assert.deepEqual([1, 2, 24, 25].map((id) => model.state().get(id)!.shard), [0, 1, 23, 0]);
});

Deno.test("Model.createPage() refuses bad sizes, shards and taken names at once, using up no id", () => {
  const model = new Model({ shards: 2 });
  for (const size of [0, -1, 1.5, NaN, 2 ** 24 + 1]) {
    throwsCode("usage", () => model.createPage({ size }));
  }
  for (const shard of [-1, 2, 0.5]) throwsCode("usage", () => model.createPage({ shard }));
  assert.equal(model.createPage({ size: 2 ** 24, name: "a" }), 1);
  throwsCode("usage", () => model.createPage({ name: "a" })); // staged
  model.tick();
  throwsCode("usage", () => model.createPage({ name: "a" })); // live
  model.deletePage(1);
  throwsCode("usage", () => model.createPage({ name: "a" })); // live until the end of the tick
  model.tick();
  assert.equal(model.createPage({ name: "a" }), 2); // free again
});

Deno.test("Model.tick() refuses the open batch with its creates and deletes, but the ids are used up", () => {
  const model = modelWithPages(1);
  const before = model.state();
  assert.equal(model.createPage({ name: "a" }), 2);
  model.deletePage(1);
  model.write(1, 0, bytes(1));
  model.write(1, 16, bytes(1));
  model.submit([set(2, 0, [1])], { producer: 1, sequence: 0 });
  model.submit([set(2, 0, [1])], { producer: 1, sequence: 1 });
  assert.deepEqual(model.tick(), {
    tick: 1,
    rows: 0,
    refused: [
      { producer: 0, sequence: 2, row: 1, code: "out-of-bounds" },
      { producer: 1, sequence: 0, row: 0, code: "invalid-handle" },
      { producer: 1, sequence: 1, row: 0, code: "invalid-handle" },
    ],
  });
  assert.ok(equals(before, model.state()));
  assert.equal(model.ticks.length, 1);
  assert.deepEqual(model.history(1), []);
  throwsCode("invalid-handle", () => model.history(2));
  assert.equal(model.createPage({ name: "a" }), 3);
  model.tick();
  assert.deepEqual([...model.state().keys()], [1, 3]);
});

Deno.test("Model.recover() gives away no id that a refused create used up before the last tick", () => {
  const model = modelWithPages(1);
  model.createPage();
  model.write(9, 0, bytes(1));
  model.tick(); // refused: id 2 is used up
  model.write(1, 0, bytes(1));
  model.tick();
  assert.equal(Model.recover(model.ticks).createPage(), 3);
});

Deno.test("Model.tick() lets rows of all batches use a page created in the tick", () => {
  const model = new Model();
  model.submit([set(1, 1, [7])], { producer: 3, sequence: 0 });
  const page = model.createPage({ size: 2 });
  model.write(page, 0, bytes(6), { expectedEpoch: 0 });
  assert.deepEqual(model.tick(), { tick: 1, rows: 2, refused: [] });
  assert.deepEqual(bytesOf(model, page), [6, 7]);
});

Deno.test("Model.deletePage() takes effect after all rows of all batches", () => {
  const model = modelWithPages(2);
  model.deletePage(1);
  model.write(1, 0, bytes(1));
  model.submit([set(1, 1, [2])], { producer: 1, sequence: 0 });
  assert.deepEqual(model.state().size, 2);
  assert.deepEqual(model.tick(), { tick: 2, rows: 2, refused: [] });
  assert.deepEqual([...model.state().keys()], [2]);
  assert.deepEqual(model.history(1).map((entry) => entry.epoch), [1, 2]);
  assert.deepEqual(refusalOf(model, 1, [set(1, 0, [1])]), [0, "invalid-handle"]);
});

Deno.test("Model.deletePage() takes a page that is created in the same tick, and no unknown or deleted one", () => {
  const model = modelWithPages(1);
  throwsCode("invalid-handle", () => model.deletePage(2));
  const page = model.createPage({ size: 1 });
  model.deletePage(page);
  throwsCode("invalid-handle", () => model.deletePage(page));
  assert.deepEqual(model.tick(), { tick: 2, rows: 0, refused: [] });
  throwsCode("invalid-handle", () => model.deletePage(page));
  assert.deepEqual([...model.state().keys()], [1]);
  assert.equal(model.createPage(), 3);
});

Deno.test("Model.write() is staged, copied, and made real by the tick", () => {
  const model = modelWithPages(1);
  const payload = bytes(1, 2, 3);
  model.write(1, 13, payload);
  payload.fill(9);
  assert.equal(bytesOf(model, 1)[13], 0);
  model.tick();
  assert.deepEqual(bytesOf(model, 1).slice(12), [0, 1, 2, 3]);
});

Deno.test("Model.writeMasked() sets the bytes whose bit is set, lowest bit first", () => {
  const model = modelWithPages(1);
  model.write(1, 0, new Uint8Array(16).fill(255));
  model.writeMasked(1, 2, 10, bytes(0b1000_0101, 0b10), bytes(1, 2, 3, 4));
  model.tick();
  const x = 255;
  assert.deepEqual(bytesOf(model, 1), [x, x, 1, x, 2, x, x, x, x, 3, x, 4, x, x, x, x]);
  assert.equal(epochOf(model, 1), 2);
});

Deno.test("Model.combine() adds integers with wrap-around, little endian", () => {
  const model = modelWithPages(1);
  model.combine(1, "i32", "add", 0, 2 ** 31 - 1);
  model.combine(1, "i32", "add", 0, 1);
  model.combine(1, "u32", "add", 4, 2 ** 32 - 1);
  model.combine(1, "u32", "add", 4, 3);
  model.combine(1, "u32", "add", 8, -1);
  model.tick();
  assert.deepEqual(bytesOf(model, 1).slice(0, 12), [0, 0, 0, 128, 2, 0, 0, 0, 255, 255, 255, 255]);
});

Deno.test("Model.combine() orders i32 with sign and u32 without", () => {
  const model = modelWithPages(1);
  model.combine(1, "i32", "min", 0, -1);
  model.combine(1, "i32", "max", 4, -1);
  model.combine(1, "u32", "max", 8, 0xffffffff);
  model.combine(1, "u32", "min", 12, 0xffffffff);
  model.tick();
  const ones = [255, 255, 255, 255];
  assert.deepEqual(bytesOf(model, 1), [...ones, 0, 0, 0, 0, ...ones, 0, 0, 0, 0]);
});

Deno.test("Model.combine() does or, and, xor bit by bit", () => {
  const model = modelWithPages(1);
  model.write(1, 0, bytes(0b1100, 0, 0, 0x80, 0b1100, 0, 0, 0x80, 0b1100, 0, 0, 0x80));
  model.combine(1, "u32", "or", 0, 0b1010);
  model.combine(1, "i32", "and", 4, 0b1010);
  model.combine(1, "u32", "xor", 8, 0x8000_000a);
  model.tick();
  const expected = [0b1110, 0, 0, 0x80, 0b1000, 0, 0, 0, 0b0110, 0, 0, 0];
  assert.deepEqual(bytesOf(model, 1).slice(0, 12), expected);
});

Deno.test("Model.combine() on floats: a number beats NaN and −0 is below +0", () => {
  const cases: [number, CombineOp, number, number][] = [
    [NaN, "min", 5, 5],
    [5, "min", NaN, 5],
    [NaN, "max", -Infinity, -Infinity],
    [-5, "max", NaN, -5],
    [0, "min", -0, -0],
    [-0, "min", 0, -0],
    [0, "max", -0, 0],
    [-0, "max", 0, 0],
    [1.5, "add", 2.25, 3.75],
    [NaN, "min", NaN, NaN],
    [Infinity, "add", -Infinity, NaN],
  ];
  for (const [old, op, value, expected] of cases) {
    const model = modelWithPages(1);
    const start = new DataView(new ArrayBuffer(16));
    start.setFloat32(4, old, true);
    start.setFloat64(8, old, true);
    model.write(1, 0, new Uint8Array(start.buffer));
    model.combine(1, "f32", op, 4, value);
    model.combine(1, "f64", op, 8, value);
    model.tick();
    const view = new DataView(Uint8Array.from(bytesOf(model, 1)).buffer);
    assert.ok(Object.is(view.getFloat32(4, true), expected), `f32 ${old} ${op} ${value}`);
    assert.ok(Object.is(view.getFloat64(8, true), expected), `f64 ${old} ${op} ${value}`);
  }
});

Deno.test("Model.combine() rounds f32 values and results to f32", () => {
  const model = modelWithPages(1);
  model.combine(1, "f32", "add", 0, 0.1);
  model.combine(1, "f32", "add", 0, 0.2);
  model.combine(1, "f32", "max", 4, 0.1);
  model.combine(1, "f32", "add", 8, 1);
  model.combine(1, "f32", "add", 8, 2 ** -24 + 2 ** -50); // in f32 2 ** -24: a tie, to even
  model.tick();
  const view = new DataView(Uint8Array.from(bytesOf(model, 1)).buffer);
  assert.equal(view.getFloat32(0, true), Math.fround(Math.fround(0.1) + Math.fround(0.2)));
  assert.equal(view.getFloat32(4, true), Math.fround(0.1));
  assert.equal(view.getFloat32(8, true), 1);
});

Deno.test("Model.combine() stores one NaN only, whatever the bits of the old one", () => {
  const model = modelWithPages(1);
  model.write(1, 0, bytes(1, 2, 0xc0, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0xf8, 0xff));
  model.combine(1, "f32", "add", 0, 1);
  model.combine(1, "f64", "add", 8, 1);
  model.tick();
  const expected = [0, 0, 0xc0, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f];
  assert.deepEqual(bytesOf(model, 1), expected);
});

Deno.test("Model.combine() gives the same bytes in any order, but for float add", () => {
  const word = fc.oneof(
    fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 }),
    fc.constantFrom(0, 1, -1, 2 ** 31, -(2 ** 31), 2 ** 32 - 1),
  );
  const float = fc.oneof(fc.double(), fc.constantFrom(NaN, 0, -0, Infinity, -Infinity));
  const integers = fc.tuple(
    fc.constantFrom<CombineType>("i32", "u32"),
    fc.constantFrom<CombineOp>("add", "min", "max", "or", "and", "xor"),
    fc.array(word, { maxLength: 6 }),
  );
  const floats = fc.tuple(
    fc.constantFrom<CombineType>("f32", "f64"),
    fc.constantFrom<CombineOp>("min", "max"),
    fc.array(float, { maxLength: 6 }),
  );
  const start = fc.uint8Array({ minLength: 8, maxLength: 8 });
  const seed = fc.oneof(start, fc.constant(bytes(1, 0, 0xf0, 0x7f, 1, 0, 0xf0, 0x7f)));
  fc.assert(fc.property(fc.oneof(integers, floats), seed, ([type, op, values], old) => {
    const run = (order: number[]): number[] => {
      const model = modelWithPages(1);
      model.write(1, 0, old);
      for (const value of order) model.combine(1, type, op, 0, value);
      model.tick();
      return bytesOf(model, 1);
    };
    const sorted = values.toSorted((a, b) => a - b);
    assert.deepEqual(run(values.toReversed()), run(values));
    assert.deepEqual(run(sorted), run(values));
  }));
});

Deno.test("Model.tick() refuses rows of unknown pages", () => {
  const model = modelWithPages(1);
  assert.deepEqual(refusalOf(model, 0, [set(2, 0, [1])]), [0, "invalid-handle"]);
  assert.deepEqual(refusalOf(model, 1, [set(0, 0, [1])]), [0, "invalid-handle"]);
});

Deno.test("Model.tick() refuses spans outside the page", () => {
  const model = modelWithPages(1);
  assert.equal(refusalOf(model, 0, [set(1, 15, [1])]), undefined);
  assert.deepEqual(refusalOf(model, 1, [set(1, 15, [1, 2])]), [0, "out-of-bounds"]);
  assert.deepEqual(refusalOf(model, 2, [set(1, 16, [1])]), [0, "out-of-bounds"]);
  assert.deepEqual(refusalOf(model, 3, [set(1, -1, [1])]), [0, "out-of-bounds"]);
  const add = { kind: "combine", page: 1, op: "add", value: 1 } as const;
  assert.equal(refusalOf(model, 4, [{ ...add, type: "f64", offset: 8 }]), undefined);
  assert.deepEqual(refusalOf(model, 5, [{ ...add, type: "f64", offset: 16 }]), [
    0,
    "out-of-bounds",
  ]);
  const mask = { kind: "mask", page: 1, mask: bytes(1), payload: bytes(1) } as const;
  assert.equal(refusalOf(model, 6, [{ ...mask, offset: 12, length: 4 }]), undefined);
  assert.deepEqual(refusalOf(model, 7, [{ ...mask, offset: 12, length: 5 }]), [
    0,
    "out-of-bounds",
  ]);
});

Deno.test("Model.tick() refuses payloads that do not fit span or mask, and empty spans", () => {
  const model = modelWithPages(1);
  const mask = { kind: "mask", page: 1, offset: 0, length: 9 } as const;
  const bad: Row[] = [
    { ...set(1, 0, [1, 2]), kind: "set", length: 1, payload: bytes(1, 2) },
    { ...set(1, 0, [1, 2]), kind: "set", length: 3, payload: bytes(1, 2) },
    set(1, 0, []),
    set(1, 16, []),
    { ...mask, mask: bytes(3, 0), payload: bytes(1) },
    { ...mask, mask: bytes(3, 0), payload: bytes(1, 2, 3) },
    { ...mask, mask: bytes(3), payload: bytes(1, 2) },
    { ...mask, mask: bytes(3, 0, 0), payload: bytes(1, 2) },
    { ...mask, mask: bytes(1, 2), payload: bytes(1, 2) }, // a bit behind the span
    { ...mask, length: 0, mask: bytes(), payload: bytes() },
  ];
  bad.forEach((row, index) => assert.deepEqual(refusalOf(model, index, [row]), [0, "usage"]));
  const nothing: Row = { ...mask, mask: bytes(0, 0), payload: bytes() };
  assert.equal(refusalOf(model, bad.length, [nothing]), undefined);
  assert.equal(epochOf(model, 1), 1);
});

Deno.test("Model.tick() refuses combining rows that are misaligned or of no such type", () => {
  const model = modelWithPages(1);
  const row = { kind: "combine", page: 1, offset: 0, type: "i32", op: "add", value: 1 } as const;
  const bad: Row[] = [
    { ...row, offset: 2 },
    { ...row, type: "f64", offset: 4 },
    { ...row, type: "f32", op: "or" },
    { ...row, type: "f64", op: "xor" },
    { ...row, type: "f32", op: "and" },
    { ...row, type: "i16" as CombineType },
    { ...row, op: "mul" as CombineOp },
    { ...row, op: "toString" as CombineOp },
    { ...row, value: 1.5 },
    { ...row, type: "u32", value: NaN },
  ];
  bad.forEach((row, index) => assert.deepEqual(refusalOf(model, index, [row]), [0, "usage"]));
});

Deno.test("Model.tick() names the first bad row and applies nothing of its batch", () => {
  const model = modelWithPages(1);
  const rows = [set(1, 0, [1]), set(1, 99, [1]), set(7, 0, [1])];
  assert.deepEqual(refusalOf(model, 0, rows), [1, "out-of-bounds"]);
  assert.equal(epochOf(model, 1), 0);
});

Deno.test("Model.tick() goes on with the other batches after a refused one", () => {
  const model = modelWithPages(1);
  model.write(1, 0, bytes(1));
  model.submit([set(1, 1, [2]), set(1, 99, [2])], { producer: 1, sequence: 0 });
  model.submit([set(1, 2, [3])], { producer: 1, sequence: 1 });
  assert.deepEqual(model.tick(), {
    tick: 2,
    rows: 2,
    refused: [{ producer: 1, sequence: 0, row: 1, code: "out-of-bounds" }],
  });
  assert.deepEqual(bytesOf(model, 1).slice(0, 3), [1, 0, 3]);
});

Deno.test("Model.tick() compares every expectation with the epoch before the batch's first row", () => {
  const model = modelWithPages(2);
  assert.equal(
    refusalOf(model, 0, [
      set(1, 0, [1], { expectedEpoch: 0 }),
      set(2, 0, [1], { expectedEpoch: 0 }),
      set(1, 0, [2], { expectedEpoch: 0 }),
      set(1, 0, [3]),
    ]),
    undefined,
  );
  assert.equal(epochOf(model, 1), 3);
  const later = [set(1, 0, [1], { expectedEpoch: 3 }), set(1, 0, [2], { expectedEpoch: 4 })];
  assert.deepEqual(refusalOf(model, 1, later), [1, "stale-epoch"]);
  assert.deepEqual(refusalOf(model, 2, [set(1, 0, [1], { expectedEpoch: 2 })]), [0, "stale-epoch"]);
});

Deno.test("Model.tick() compares expectations after the earlier batches of the tick", () => {
  const model = modelWithPages(1);
  model.submit([set(1, 0, [3], { expectedEpoch: 1 })], { producer: 2, sequence: 0 });
  model.submit([set(1, 0, [2], { expectedEpoch: 1 })], { producer: 1, sequence: 0 });
  model.write(1, 0, bytes(1), { expectedEpoch: 0 });
  assert.deepEqual(model.tick().refused, [
    { producer: 2, sequence: 0, row: 0, code: "stale-epoch" },
  ]);
  assert.deepEqual(bytesOf(model, 1)[0], 2);
});

Deno.test("Model.tick() raises the epoch by each row's advance, 1 where it has none", () => {
  const model = modelWithPages(1);
  const rows = [set(1, 0, [1]), set(1, 0, [1], { advance: 5 }), set(1, 0, [1], { advance: 1 })];
  assert.equal(refusalOf(model, 0, rows), undefined);
  assert.equal(epochOf(model, 1), 7);
  for (const [index, advance] of [0, -1, 1.5].entries()) {
    assert.deepEqual(refusalOf(model, index + 1, [set(1, 0, [1], { advance })]), [0, "usage"]);
  }
});

Deno.test("Model.tick() runs batches by producer, then sequence, the open batch first", () => {
  const model = modelWithPages(1);
  const submit = (producer: number, sequence: number, mark: number): void =>
    model.submit([set(1, 0, [mark])], { producer, sequence });
  submit(10, 0, 5);
  submit(2, 10, 4);
  submit(2, 9, 3);
  submit(1, 77, 2);
  model.write(1, 0, bytes(1));
  model.tick();
  assert.deepEqual(model.history(1).map((entry) => entry.after[0]), [1, 2, 3, 4, 5]);
  assert.deepEqual(
    model.ticks[1].batches.map(({ producer, sequence }) => [producer, sequence]),
    [[0, 2], [1, 77], [2, 9], [2, 10], [10, 0]],
  );
});

Deno.test("Model.submit() copies its rows and refuses bad producers and repeated sequences", () => {
  const model = modelWithPages(1);
  const row = set(1, 0, [1]) as Row & { payload: Uint8Array };
  model.submit([row], { producer: 1, sequence: 4 });
  row.payload[0] = 9;
  throwsCode("usage", () => model.submit([], { producer: 1, sequence: 4 }));
  throwsCode("usage", () => model.submit([], { producer: 0, sequence: 1 }));
  throwsCode("usage", () => model.submit([], { producer: 1.5, sequence: 1 }));
  throwsCode("usage", () => model.submit([], { producer: 1, sequence: -1 }));
  model.tick();
  throwsCode("usage", () => model.submit([], { producer: 1, sequence: 4 }));
  throwsCode("usage", () => model.submit([], { producer: 1, sequence: 3 }));
  assert.equal(bytesOf(model, 1)[0], 1);
});

Deno.test("Model.tick() uses up no number where nothing was accepted", () => {
  const model = new Model();
  assert.deepEqual(model.tick(), { tick: 0, rows: 0, refused: [] });
  model.createPage({ size: 4 });
  assert.equal(model.tick().tick, 1);
  model.submit([], { producer: 1, sequence: 0 });
  model.submit([set(2, 0, [1])], { producer: 1, sequence: 1 });
  assert.equal(model.tick().tick, 1);
  assert.equal(model.ticks.length, 1);
  model.write(1, 0, bytes(1));
  assert.equal(model.tick().tick, 2);
  model.deletePage(1);
  assert.equal(model.tick().tick, 3);
  assert.deepEqual(model.ticks.map(({ tick }) => tick), [1, 2, 3]);
});

Deno.test("Model.history() shows each delta with the bytes of its span before and after", () => {
  const model = modelWithPages(1);
  model.write(1, 1, bytes(1, 2), { source: "a", intent: "open", time: 7n });
  model.writeMasked(1, 1, 2, bytes(2), bytes(3), { source: "b" });
  model.tick();
  model.combine(1, "u32", "add", 0, 256, { advance: 2 });
  model.tick();
  const none = { source: undefined, intent: undefined, time: undefined };
  assert.deepEqual(model.history(1), [
    {
      tick: 2,
      offset: 1,
      before: bytes(0, 0),
      after: bytes(1, 2),
      source: "a",
      intent: "open",
      time: 7n,
      epoch: 1,
    },
    { ...none, tick: 2, offset: 1, before: bytes(1, 2), after: bytes(1, 3), source: "b", epoch: 2 },
    { ...none, tick: 3, offset: 0, before: bytes(0, 1, 3, 0), after: bytes(0, 2, 3, 0), epoch: 4 },
  ]);
});

Deno.test("Model.history() and state() give copies", () => {
  const model = modelWithPages(1);
  model.write(1, 0, bytes(1));
  model.tick();
  model.state().get(1)!.bytes[0] = 9;
  model.history(1)[0].after[0] = 9;
  assert.equal(bytesOf(model, 1)[0], 1);
  assert.equal(model.history(1)[0].after[0], 1);
});

Deno.test("Model.recover() refuses a count that the log does not have", () => {
  const { ticks } = modelWithPages(1);
  for (const count of [-1, 0.5, 2]) throwsCode("usage", () => Model.recover(ticks, count));
  assert.equal(Model.recover(ticks, 0).state().size, 0);
});

Deno.test("difference() describes the first difference by page id", () => {
  const page = { bytes: bytes(1, 2), epoch: 1, name: "a", metadata: { k: bytes(1) }, shard: 0 };
  const one = new Map([[1, page]]);
  const cases: [State, string | undefined][] = [
    [new Map([[1, { ...page, bytes: bytes(1, 2), metadata: { k: bytes(1) } }]]), undefined],
    [new Map(), "page 1: present, absent"],
    [new Map([[2, page], [1, page]]), "page 2: absent, present"],
    [new Map([[1, { ...page, epoch: 2 }]]), "page 1: epoch 1, 2"],
    [new Map([[1, { ...page, name: "b" }]]), 'page 1: name "a", "b"'],
    [new Map([[1, { ...page, shard: 3 }]]), "page 1: shard 0, 3"],
    [new Map([[1, { ...page, bytes: bytes(1) }]]), "page 1: size 2, 1"],
    [new Map([[1, { ...page, bytes: bytes(1, 3) }]]), "page 1: byte 1 is 2, 3"],
    [
      new Map([[1, { ...page, metadata: {} as typeof page.metadata }]]),
      'page 1: metadata "k": present, absent',
    ],
    [
      new Map([[1, { ...page, metadata: { k: bytes(2) } }]]),
      'page 1: metadata "k": byte 0 is 1, 2',
    ],
  ];
  for (const [other, expected] of cases) {
    assert.equal(difference(one, other), expected);
    assert.equal(equals(one, other), expected === undefined);
  }
});

// Random runs start with three pages and mostly use them well, as a batch is refused for one bad
// row; ids, spans and epochs are drawn a little too wide, so that every refusal happens too.

const pageArbitrary = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 1, max: 3 }) },
  { weight: 1, arbitrary: fc.integer({ min: 4, max: 9 }) },
);

const offsetArbitrary = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(0, 4, 8) },
  { weight: 1, arbitrary: fc.nat(16) },
);

const optionsArbitrary: fc.Arbitrary<RowOptions> = fc.record({
  source: fc.constantFrom("a", "b", undefined),
  advance: fc.constantFrom(1, 2, 3, undefined),
  expectedEpoch: fc.oneof(
    { weight: 9, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.nat(3) },
  ),
});

const rowArbitrary: fc.Arbitrary<Row> = fc.tuple(
  pageArbitrary,
  offsetArbitrary,
  optionsArbitrary,
  fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 4, size: "max" })
      .map((payload) => ({ kind: "set" as const, length: payload.length, payload })),
    fc.uint8Array({ max: 3, minLength: 1, maxLength: 4, size: "max" }).map((values) => ({
      kind: "mask" as const,
      length: values.length,
      mask: bytes(values.reduce((mask, value, bit) => mask | (value ? 1 << bit : 0), 0)),
      payload: values.filter((value) => value !== 0),
    })),
    fc.record({
      kind: fc.constant("combine" as const),
      type: fc.constantFrom<CombineType>("i32", "i32", "u32", "u32", "f32", "f64"),
      op: fc.constantFrom<CombineOp>("add", "min", "max", "or", "and", "xor"),
      value: fc.integer(),
    }),
  ),
).map(([page, offset, options, change]) => ({ ...options, page, offset, ...change }));

type Command =
  | { do: "create"; size: number; name: string | undefined }
  | { do: "delete"; page: number }
  | { do: "stage"; row: Row }
  | { do: "submit"; producer: number; rows: Row[] }
  | { do: "tick" };

const commandArbitrary: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("create" as const),
      size: fc.integer({ min: 1, max: 16 }),
      name: fc.constantFrom("x", "y", undefined),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("delete" as const), page: pageArbitrary }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("stage" as const), row: rowArbitrary }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("submit" as const),
      producer: fc.integer({ min: 1, max: 3 }),
      rows: fc.array(rowArbitrary, { maxLength: 3, size: "max" }),
    }),
  },
  { weight: 5, arbitrary: fc.constant({ do: "tick" as const }) },
);

const commandsArbitrary = fc.array(commandArbitrary, { maxLength: 60, size: "max" });

/** Runs one command; a call that throws must have left nothing behind, so the run goes on. */
function run(model: Model, command: Command, sequence: number): void {
  try {
    if (command.do === "tick") model.tick();
    else if (command.do === "create") model.createPage({ size: command.size, name: command.name });
    else if (command.do === "delete") model.deletePage(command.page);
    else if (command.do === "submit") {
      model.submit(command.rows, { producer: command.producer, sequence });
    } else if (command.do === "stage") stage(model, command.row);
  } catch (error) {
    assert.ok(error instanceof MmsbError);
  }
}

function stage(model: Model, row: Row): void {
  if (row.kind === "set") model.write(row.page, row.offset, row.payload, row);
  else if (row.kind === "mask") {
    model.writeMasked(row.page, row.offset, row.length, row.mask, row.payload, row);
  } else model.combine(row.page, row.type, row.op, row.offset, row.value, row);
}

Deno.test("Model.recover() of any prefix equals the state remembered at that tick", () => {
  const seen = new Map<string, number>();
  const count = (what: string, by: number): unknown => seen.set(what, (seen.get(what) ?? 0) + by);
  fc.assert(
    fc.property(commandsArbitrary, (commands) => {
      const model = modelWithPages(3);
      const remembered: State[] = [new Map(), model.state()];
      commands.forEach((command, index) => {
        if (command.do !== "tick") return run(model, command, index);
        const before = model.state();
        const { tick, rows, refused } = model.tick();
        count("rows", rows);
        for (const { code } of refused) count(code, 1);
        if (tick === remembered.length) remembered.push(model.state());
        else assert.equal(difference(before, model.state()), undefined);
      });
      const log = structuredClone(model.ticks);
      assert.equal(log.length, remembered.length - 1);
      remembered.forEach((state, count) => {
        assert.equal(difference(Model.recover(log, count).state(), state), undefined);
      });
    }),
    { numRuns: 300 },
  );
  // A run that refuses all or nothing would prove little.
  assert.ok(seen.get("rows")! > 1000, JSON.stringify([...seen]));
  for (const code of ["invalid-handle", "out-of-bounds", "usage", "stale-epoch"]) {
    assert.ok(seen.get(code)! > 20, JSON.stringify([...seen]));
  }
});

Deno.test("Model.recover() goes on as the model that never stopped", () => {
  fc.assert(fc.property(commandsArbitrary, commandsArbitrary, (first, second) => {
    const whole = modelWithPages(3);
    first.forEach((command, index) => run(whole, command, index));
    whole.tick();
    // A last accepted tick, so that the log knows of every id that was given away.
    whole.createPage();
    whole.tick();
    const again = Model.recover(structuredClone(whole.ticks));
    for (const model of [whole, again]) {
      second.forEach((command, index) => run(model, command, first.length + index));
      model.tick();
    }
    assert.equal(difference(again.state(), whole.state()), undefined);
    for (const id of whole.state().keys()) assert.deepEqual(again.history(id), whole.history(id));
  }));
});

Deno.test("Model.history() chains: a page's bytes and epoch follow from its deltas alone", () => {
  fc.assert(fc.property(commandsArbitrary, (commands) => {
    const model = modelWithPages(3);
    commands.forEach((command, index) => run(model, command, index));
    model.tick();
    for (const [id, page] of model.state()) {
      const folded = new Uint8Array(page.bytes.length);
      let epoch = 0;
      for (const delta of model.history(id)) {
        const span = folded.slice(delta.offset, delta.offset + delta.before.length);
        assert.deepEqual(span, delta.before);
        folded.set(delta.after, delta.offset);
        assert.ok(delta.epoch > epoch);
        epoch = delta.epoch;
      }
      assert.deepEqual(folded, page.bytes);
      assert.equal(epoch, page.epoch);
    }
  }));
});
