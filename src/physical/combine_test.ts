import assert from "node:assert/strict";
import fc from "fast-check";
import { applyRows } from "./apply.ts";
import { DeltaBatch, type DeltaRow } from "./delta_batch.ts";
import {
  COMBINE_OPERATIONS,
  combineKind,
  type CombineOperation,
  type CombineType,
  elementBytes,
  kindName,
} from "./kind.ts";
import { Pages } from "./_pages_test.ts";
import { COMBINE_KINDS, fold } from "./_rows_test.ts";

const CANONICAL = { f32: "0000c07f", f64: "000000000000f87f" } as const;

/** One page for all folds of this file: making a table costs more than a fold. */
const pages = new Pages([[1, 16]]);

/** The element of a page after some operands, as hex; the page starts with `before`. */
function folded(kind: number, before: Uint8Array, operands: readonly Uint8Array[]): string {
  const width = elementBytes(kind);
  pages.bytes(1).fill(0);
  pages.bytes(1).set(before, 8);
  const batch = DeltaBatch.from(operands.map((payload) => row(kind, payload)));
  applyRows(batch.kernel, batch.length, pages.resolve(batch), pages.arena);
  assert.deepEqual([...pages.bytes(1).subarray(0, 8)], Array(8).fill(0), "bytes in front");
  return pages.bytes(1).slice(8, 8 + width).toHex();
}

function row(kind: number, payload: Uint8Array): DeltaRow {
  return { page: 1, offset: 8, length: payload.length, kind, payload, source: "", intent: "" };
}

function bytesOf(type: CombineType, value: number): Uint8Array {
  const arrays = {
    i32: Int32Array,
    u32: Uint32Array,
    f32: Float32Array,
    f64: Float64Array,
  } as const;
  return new Uint8Array(arrays[type].of(value).buffer);
}

/** Bytes of an element: any bits, and the ones that go wrong. */
function elementOf(kind: number): fc.Arbitrary<Uint8Array> {
  const width = elementBytes(kind), isFloat = kind >> 4 > 2;
  const any = fc.uint8Array({ minLength: width, maxLength: width });
  const special = fc.constantFrom(
    ...[0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, 2 ** 32 - 1]
      .map((value) => bytesOf(width === 8 ? "f64" : kind >> 4 === 3 ? "f32" : "i32", value)),
  );
  if (!isFloat) return fc.oneof(any, special);
  const type = width === 8 ? "f64" : "f32";
  const float = fc.constantFrom(
    ...[-0, Infinity, -Infinity, NaN, 1e-45, 5e-324, 3.4028234663852886e38, 1.5]
      .map((value) => bytesOf(type, value)),
    // A signalling NaN, and a negative quiet one with a payload.
    Uint8Array.fromHex(type === "f32" ? "010080ff" : "010000000000f07f"),
    Uint8Array.fromHex(type === "f32" ? "efbeffff" : "efbeadde0000ffff"),
  );
  return fc.oneof(any, special, float);
}

for (const kind of COMBINE_KINDS) {
  Deno.test(`applyRows() folds ${kindName(kind)} as one number at a time does`, () => {
    const element = elementOf(kind), operands = fc.array(element, { maxLength: 5 });
    fc.assert(fc.property(element, operands, (before, operands) => {
      const page = new Map([[1, new Uint8Array(16)]]);
      page.get(1)!.set(before, 8);
      for (const payload of operands) fold(page, row(kind, payload));
      const expected = page.get(1)!.slice(8, 8 + elementBytes(kind)).toHex();
      assert.equal(folded(kind, before, operands), expected);
    }));
  });
}

const ANY_ORDER = COMBINE_KINDS.filter((kind) =>
  kind !== combineKind("f32", "add") && kind !== combineKind("f64", "add")
);

for (const kind of ANY_ORDER) {
  Deno.test(`applyRows() folds ${kindName(kind)} to the same bytes in any order`, () => {
    const element = elementOf(kind);
    const operands = fc.array(element, { minLength: 2, maxLength: 6 })
      .chain((list) =>
        fc.tuple(
          fc.constant(list),
          fc.shuffledSubarray(list, {
            minLength: list.length,
          }),
        )
      );
    fc.assert(fc.property(element, operands, (before, [list, shuffled]) => {
      assert.equal(folded(kind, before, list), folded(kind, before, shuffled));
    }));
  });
}

Deno.test("applyRows() gives the results that the kinds promise", () => {
  const cases: [CombineType, CombineOperation, number, number, number][] = [
    ["i32", "add", 2 ** 31 - 1, 1, -(2 ** 31)],
    ["i32", "add", -(2 ** 31), -1, 2 ** 31 - 1],
    ["u32", "add", 2 ** 32 - 1, 2, 1],
    ["i32", "min", -1, 1, -1],
    ["u32", "min", 2 ** 32 - 1, 1, 1],
    ["i32", "max", -1, 1, 1],
    ["u32", "max", 2 ** 32 - 1, 1, 2 ** 32 - 1],
    ["u32", "min", 2 ** 31, 2 ** 31 - 1, 2 ** 31 - 1],
    ["i32", "or", 0b1100, -(2 ** 31), -(2 ** 31) + 12],
    ["u32", "and", 2 ** 32 - 1, 2 ** 31 + 1, 2 ** 31 + 1],
    ["u32", "xor", 2 ** 32 - 1, 1, 2 ** 32 - 2],
    ["f32", "add", 2 ** 24, 1, 2 ** 24],
    ["f32", "add", 0.1, 0.2, 0.1 + 0.2],
    ["f32", "add", 3e38, 3e38, Infinity],
    ["f64", "add", 0.1, 0.2, 0.30000000000000004],
    ["f64", "add", -0, -0, -0],
    ["f64", "add", -0, 0, 0],
    ["f64", "min", 0, -0, -0],
    ["f64", "max", -0, 0, 0],
    ["f32", "min", 0, -0, -0],
    ["f32", "max", 0, -0, 0],
    ["f64", "min", NaN, Infinity, Infinity],
    ["f64", "max", -Infinity, NaN, -Infinity],
    ["f32", "min", NaN, 3, 3],
    ["f32", "max", 3, NaN, 3],
    ["f64", "min", -Infinity, Infinity, -Infinity],
    ["f64", "max", -Infinity, Infinity, Infinity],
  ];
  for (const [type, operation, before, value, after] of cases) {
    const batch = new DeltaBatch({ rows: 1, payloadBytes: 8 });
    pages.bytes(1).fill(0);
    pages.bytes(1).set(bytesOf(type, before), 8);
    batch.combine(1, type, operation, 8, value);
    applyRows(batch.kernel, 1, pages.resolve(batch), pages.arena);
    const expected = bytesOf(type, after);
    assert.equal(
      pages.bytes(1).slice(8, 8 + expected.length).toHex(),
      expected.toHex(),
      `${operation} ${type} of ${before} and ${value}`,
    );
  }
});

Deno.test("applyRows() stores the canonical quiet NaN, whatever NaNs went in", () => {
  for (const type of ["f32", "f64"] as const) {
    const nans = type === "f32"
      ? ["010080ff", "0000817f", "ffffffff", CANONICAL.f32]
      : ["010000000000f07f", "ffffffffffffffff", "efbeadde0000ffff", CANONICAL.f64];
    for (const operation of COMBINE_OPERATIONS.slice(0, 3)) {
      const kind = combineKind(type, operation);
      for (const old of nans.map((hex) => Uint8Array.fromHex(hex))) {
        for (const value of nans.map((hex) => Uint8Array.fromHex(hex))) {
          assert.equal(folded(kind, old, [value]), CANONICAL[type]);
        }
      }
    }
    const add = combineKind(type, "add"), infinity = bytesOf(type, Infinity);
    assert.equal(folded(add, infinity, [bytesOf(type, -Infinity)]), CANONICAL[type]);
    assert.equal(folded(add, Uint8Array.fromHex(nans[0]), [infinity]), CANONICAL[type]);
    assert.equal(folded(add, infinity, [Uint8Array.fromHex(nans[0])]), CANONICAL[type]);
  }
});

Deno.test("applyRows() adds floats in row order", () => {
  const add = combineKind("f64", "add"), zero = bytesOf("f64", 0);
  const sum = (...values: number[]) => folded(add, zero, values.map((v) => bytesOf("f64", v)));
  assert.equal(sum(1e100, 1, -1e100), bytesOf("f64", 0).toHex());
  assert.equal(sum(1e100, -1e100, 1), bytesOf("f64", 1).toHex());
});

Deno.test("applyRows() folds a row of many elements as rows of one element each", () => {
  const bytes = fc.uint8Array({ minLength: 48, maxLength: 48 });
  fc.assert(
    fc.property(fc.constantFrom(...COMBINE_KINDS), bytes, bytes, (kind, before, operands) => {
      const width = elementBytes(kind);
      const rows = Array.from({ length: 48 / width }, (_, i): DeltaRow => ({
        ...row(kind, operands.slice(i * width, (i + 1) * width)),
        offset: 16 + i * width,
      }));
      const results = [[{ ...row(kind, operands), offset: 16 }], rows].map((rows) => {
        const pages = new Pages([[1, 80]]), batch = DeltaBatch.from(rows);
        pages.bytes(1).set(before, 16);
        applyRows(batch.kernel, batch.length, pages.resolve(batch), pages.arena);
        return pages.bytes(1).toHex();
      });
      assert.equal(results[0], results[1]);
    }),
    { numRuns: 60 },
  );
});
