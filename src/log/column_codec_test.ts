import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type ColumnPlan,
  planColumn,
  planTimes,
  readColumn,
  readTimes,
  type WholeColumn,
  writeColumn,
  writeTimes,
} from "./column_codec.ts";
import { ENCODING } from "./format.ts";

const NONE = NaN;
const GUARD = 16;

type Make = (length: number) => WholeColumn;
const MAKES: readonly Make[] = [
  (length) => new Int32Array(length),
  (length) => new Uint16Array(length),
  (length) => new Uint8Array(length),
];

/** Whole numbers of every form: constant, steps (that wrap too), narrow ranges, anything. */
const values: fc.Arbitrary<number[]> = fc.record({
  form: fc.constantFrom("constant", "step", "range", "any"),
  base: fc.oneof(
    fc.integer(),
    fc.constantFrom(0, 1, -1, 255, 256, 65_535, 0x7fff_ffff, -0x8000_0000),
  ),
  step: fc.oneof(
    fc.integer(),
    fc.constantFrom(0, 1, 4, -4, 255, 256, 65_536, 0x7fff_ffff, -0x8000_0000),
  ),
  range: fc.constantFrom(1, 2, 0xff, 0x100, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff),
  draws: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), {
    minLength: 1,
    maxLength: 40,
    size: "max",
  }),
  ends: fc.boolean(),
}).map(({ form, base, step, range, draws, ends }) =>
  draws.map((draw, i) => {
    if (form === "constant") return base;
    if (form === "step") return base + Math.imul(step, i);
    // The two ends of a range decide which form it needs.
    const offset = ends && i < 2 ? i * range : Math.round(draw * range);
    return form === "range" ? base + offset : Math.round((draw - 0.5) * 2 ** 32);
  })
);

const columns: fc.Arbitrary<WholeColumn> = fc.tuple(values, fc.constantFrom(...MAKES))
  .map(([list, make]) => {
    const column = make(list.length);
    list.forEach((value, i) => column[i] = value);
    return column;
  });

/** What a frame's writer does: room in whole words, written among other things. */
function written(plan: ColumnPlan, column: WholeColumn, rows: number): ArrayBuffer {
  const room = Math.ceil(plan.bytes / 8) * 8;
  const buffer = new ArrayBuffer(GUARD + room + GUARD);
  new Uint8Array(buffer).fill(0xaa);
  writeColumn(plan, column, rows, buffer, GUARD);
  const around = new Uint8Array(buffer);
  const outside = [...around.subarray(0, GUARD), ...around.subarray(GUARD + room)];
  assert(outside.every((byte) => byte === 0xaa), "nothing is written beside the section");
  return buffer;
}

function sameKind(column: WholeColumn, length: number): WholeColumn {
  return new (column.constructor as new (length: number) => WholeColumn)(length);
}

Deno.test("column codec reads back every column that it wrote", () => {
  const seen = new Set<number>();
  fc.assert(
    fc.property(columns, fc.nat(3), (column, spare) => {
      const rows = column.length;
      const plan = planColumn(column, rows);
      seen.add(plan.encoding);
      const target = sameKind(column, rows + spare).fill(7);
      const buffer = written(plan, column, rows);
      assert(readColumn(plan.encoding, buffer, GUARD, plan.bytes, rows, target));
      assert.deepEqual(target.subarray(0, rows), column);
      assert(target.subarray(rows).every((value) => value === 7), "rows behind stay");
    }),
    { numRuns: 3000 },
  );
  assert.deepEqual([...seen].sort((a, b) => a - b), [
    ENCODING.raw,
    ENCODING.constant,
    ENCODING.narrow8,
    ENCODING.narrow16,
    ENCODING.delta,
  ]);
});

Deno.test("column codec reads only the rows that it is told of, of a longer column", () => {
  const column = Int32Array.of(5, 6, 9, 1_000_000);
  const plan = planColumn(column, 3);
  assert.equal(plan.encoding, ENCODING.narrow8);
  const target = new Int32Array(4);
  assert(readColumn(plan.encoding, written(plan, column, 3), GUARD, plan.bytes, 3, target));
  assert.deepEqual([...target], [5, 6, 9, 0]);
});

const FORMS: readonly [string, WholeColumn, Omit<ColumnPlan, "step"> & { step?: number }][] = [
  ["one value", Int32Array.of(-3), { encoding: ENCODING.constant, base: -3, bytes: 8 }],
  ["one value many times", Uint8Array.of(9, 9, 9), {
    encoding: ENCODING.constant,
    base: 9,
    bytes: 8,
  }],
  ["a step", Int32Array.of(0, 16, 32), { encoding: ENCODING.delta, base: 0, step: 16, bytes: 8 }],
  ["a step down", Int32Array.of(5, 3, 1), {
    encoding: ENCODING.delta,
    base: 5,
    step: -2,
    bytes: 8,
  }],
  ["a step over the end of 32 bits", Int32Array.of(0x7fff_fffe, 0x7fff_ffff, -0x8000_0000), {
    encoding: ENCODING.delta,
    base: 0x7fff_fffe,
    step: 1,
    bytes: 8,
  }],
  ["a range of 255", Int32Array.of(-1, 254, 3), {
    encoding: ENCODING.narrow8,
    base: -1,
    bytes: 11,
  }],
  ["a range of 256", Int32Array.of(-1, 255, 3), {
    encoding: ENCODING.narrow16,
    base: -1,
    bytes: 14,
  }],
  ["a range of 65,535", Int32Array.of(65_536, 1, 3), {
    encoding: ENCODING.narrow16,
    base: 1,
    bytes: 14,
  }],
  ["a range of 65,536", Int32Array.of(65_537, 1, 3), {
    encoding: ENCODING.raw,
    base: 0,
    bytes: 12,
  }],
  ["a range past 2^31", Int32Array.of(-0x8000_0000, 0x7fff_ffff, 0), {
    encoding: ENCODING.raw,
    base: 0,
    bytes: 12,
  }],
];

for (const [what, column, expected] of FORMS) {
  Deno.test(`planColumn() finds the form of ${what}`, () => {
    assert.deepEqual(planColumn(column, column.length), { step: 0, ...expected });
  });
}

Deno.test("readColumn() refuses a section that does not fit its form and the rows", () => {
  const buffer = new ArrayBuffer(64), target = new Int32Array(16);
  for (let length = 0; length <= 64; length++) {
    for (let rows = 0; rows <= 16; rows++) {
      const fits = (encoding: number) => readColumn(encoding, buffer, 0, length, rows, target);
      assert.equal(fits(ENCODING.raw), length === 4 * rows);
      assert.equal(fits(ENCODING.constant), length === 8);
      assert.equal(fits(ENCODING.delta), length === 8);
      assert.equal(fits(ENCODING.narrow8), length === 8 + rows);
      assert.equal(fits(ENCODING.narrow16), length === 8 + 2 * rows);
      for (const unknown of [ENCODING.narrow32, 6, 255]) assert.equal(fits(unknown), false);
    }
  }
});

const times: fc.Arbitrary<number[]> = fc.tuple(
  fc.array(
    fc.oneof(
      fc.constant(NONE),
      fc.double(),
      fc.maxSafeInteger(),
      fc.nat(0xffff_ffff),
      fc.constantFrom(0, -0, Infinity, -Infinity, 2 ** 60, 2 ** 60 + 256, 0xffff_fffe, 0xffff_ffff),
    ),
    { maxLength: 12 },
  ),
  fc.array(fc.oneof(fc.constant(NONE), fc.nat(0xffff_fffe)), { maxLength: 12 }),
  fc.constantFrom(0, 1_700_000_000_000_000, -5, 2 ** 52),
  fc.boolean(),
).map(([any, near, base, wild]) => wild ? any : near.map((offset) => base + offset));

Deno.test("column codec reads back every column of times that it wrote, bit for bit", () => {
  const seen = new Set<number>();
  fc.assert(
    fc.property(times, (list) => {
      const column = Float64Array.from(list), rows = column.length;
      const plan = planTimes(column, rows);
      if (plan === undefined) {
        assert(list.every((time) => Number.isNaN(time)));
        return;
      }
      seen.add(plan.encoding);
      const room = Math.ceil(plan.bytes / 8) * 8;
      const buffer = new ArrayBuffer(GUARD + room + GUARD);
      writeTimes(plan, column, rows, buffer, GUARD);
      const found = readTimes(plan.encoding, buffer, GUARD, plan.bytes, rows)!;
      assert.equal(found.length, rows);
      list.forEach((time, i) => assert(Object.is(found[i], time), `${found[i]} is ${time}`));
    }),
    { numRuns: 2000 },
  );
  assert.deepEqual([...seen].sort((a, b) => a - b), [ENCODING.raw, ENCODING.narrow32]);
});

Deno.test("planTimes() takes the short form for whole times within 2^32 − 2 only", () => {
  const form = (...list: number[]) => planTimes(Float64Array.from(list), list.length)?.encoding;
  assert.equal(form(), undefined);
  assert.equal(form(NONE, NONE), undefined);
  assert.equal(form(NONE, 7), ENCODING.narrow32);
  assert.equal(form(0, 0xffff_fffe), ENCODING.narrow32);
  assert.equal(form(0, 0xffff_ffff), ENCODING.raw);
  assert.equal(form(-0, 1), ENCODING.raw);
  assert.equal(form(0.5), ENCODING.raw);
  assert.equal(form(Infinity), ENCODING.raw);
});

Deno.test("readTimes() refuses a section that does not fit its form and the rows", () => {
  const buffer = new ArrayBuffer(64);
  for (let length = 0; length <= 64; length++) {
    for (let rows = 0; rows <= 8; rows++) {
      const fits = (encoding: number) => readTimes(encoding, buffer, 0, length, rows) !== undefined;
      assert.equal(fits(ENCODING.raw), length === 8 * rows);
      assert.equal(fits(ENCODING.narrow32), length === 8 + 4 * rows);
      assert.equal(fits(ENCODING.narrow8), false);
    }
  }
});
