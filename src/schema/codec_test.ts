import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError } from "../base/mod.ts";
import { SharedArena } from "../physical/mod.ts";
import { fieldsOf, fieldType, valueOf } from "./_fields_test.ts";
import {
  bytes,
  encodeColumn,
  encodeValue,
  type FieldType,
  readValue,
  struct,
  utf8,
  zeroValue,
} from "./mod.ts";

const arena = new SharedArena(2 ** 17);
const SLOT = 5;

const fieldOf = (type: FieldType) => struct({ x: type }).fields[0];

Deno.test("values of every schema come back from their bytes", () => {
  const values = fieldsOf(8).map((fields) => struct(fields)).chain((schema) =>
    fc.tuple(fc.constant(schema), fc.tuple(...schema.fields.map(valueOf)))
  );
  fc.assert(fc.property(values, ([schema, row]) => {
    const page = arena.bytes(SLOT, schema.byteLength).fill(0);
    for (const field of schema.fields) {
      assert.deepEqual(readValue(field, arena, SLOT, field.offset), zeroValue(field));
    }
    schema.fields.forEach((field, i) => page.set(encodeValue(field, row[i]), field.offset));
    schema.fields.forEach((field, i) => {
      assert.deepEqual(readValue(field, arena, SLOT, field.offset), row[i], field.name);
    });
  }));
});

Deno.test("encodeColumn() gives the bytes of encodeValue(), one behind the other", () => {
  const columns = fieldType.map(fieldOf).chain((field) =>
    fc.tuple(fc.constant(field), fc.array(valueOf(field), { maxLength: 20 }))
  );
  fc.assert(fc.property(columns, ([field, values]) => {
    const expected = values.flatMap((value) => [...encodeValue(field, value)]);
    assert.deepEqual([...encodeColumn(field, values)], expected);
  }));
});

Deno.test("encodeColumn() takes typed arrays of the column's kind as they are, others by value", () => {
  const own = Int16Array.of(1, -2, 3).subarray(1);
  const taken = encodeColumn(fieldOf("i16"), own);
  assert(taken.buffer === own.buffer && taken.byteOffset === 2 && taken.byteLength === 4);
  assert.deepEqual([...encodeColumn(fieldOf("i16"), Float64Array.of(1, -2))], [1, 0, 254, 255]);
  assert.deepEqual([...encodeColumn(fieldOf("u64"), BigInt64Array.of(3n))], [
    3,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
  ]);
  assert.deepEqual([...encodeColumn(fieldOf("bool"), Uint8Array.of(1, 0))], [1, 0]);
  assert.deepEqual([...encodeColumn(fieldOf("bool"), [true, false])], [1, 0]);
  for (const bad of [undefined, null, 5, "abc", {}, { length: 2 }, new ArrayBuffer(8)]) {
    assert.throws(() => encodeColumn(fieldOf("u8"), bad), { code: "usage" });
  }
  assert.throws(() => encodeColumn(fieldOf("u8"), new DataView(new ArrayBuffer(8))), {
    code: "usage",
  });
  assert.throws(() => encodeColumn(fieldOf("u8"), Int16Array.of(1, -1)), {
    code: "out-of-bounds",
    message: /"x" of row 1/,
  });
  assert.throws(() => encodeColumn(fieldOf("bool"), Uint8Array.of(1, 2)), /row 1: give 0 or 1/);
  assert.throws(() => encodeColumn(fieldOf("i64"), [1n, 2]), /row 1: it is i64, give a bigint/);
  assert.throws(() => encodeColumn(fieldOf("f64"), [1, , 2]), /row 1/);
});

Deno.test("values out of range, or of other types, are refused by the field's name", () => {
  const out: [FieldType, unknown[]][] = [
    ["i8", [-129, 128]],
    ["u8", [-1, 256]],
    ["i16", [-32_769, 32_768]],
    ["u16", [-1, 65_536]],
    ["i32", [-(2 ** 31) - 1, 2 ** 31]],
    ["u32", [-1, 2 ** 32]],
    ["i64", [-(2n ** 63n) - 1n, 2n ** 63n]],
    ["u64", [-1n, 2n ** 64n]],
    ["f32", [1e39, -1e39, Number.MAX_VALUE]],
  ];
  for (const [type, values] of out) {
    for (const value of values) {
      assert.throws(() => encodeValue(fieldOf(type), value), {
        code: "out-of-bounds",
        message: /"x"/,
      });
    }
  }
  const strange = [undefined, null, "1", {}, [], [1], Symbol("1"), () => 1, new Date(0)];
  const wrong: [FieldType, unknown[]][] = [
    ["u8", [...strange, 1n, true, NaN, Infinity, -Infinity, 1.5]],
    ["i32", [...strange, 1n, true, NaN, Infinity, 0.1]],
    ["i64", [...strange, 1, true, NaN]],
    ["f32", [...strange, 1n, true]],
    ["f64", [...strange, 1n, true]],
    ["bool", [...strange, 1n, 1, 0]],
    [bytes(2), [...strange, 1, 1n, true, new Uint8Array(1), new Uint8Array(3), new Int8Array(2)]],
    [utf8(2), [undefined, null, {}, [], 1, 1n, true, Symbol("1"), "\ud800"]],
  ];
  for (const [type, values] of wrong) {
    for (const value of values) {
      assert.throws(
        () => encodeValue(fieldOf(type), value),
        (error) => isMmsbError(error) && error.code === "usage" && /"x"/.test(error.message),
      );
    }
  }
  assert.throws(() => encodeValue(fieldOf(utf8(4)), "ööö"), { code: "limit", message: /"x"/ });
  for (const value of [NaN, Infinity, -Infinity, -0]) encodeValue(fieldOf("f32"), value);
});

Deno.test("readValue() refuses text that was not written as text", () => {
  const field = fieldOf(utf8(4)), page = arena.bytes(SLOT, 6);
  page.set([5, 0, 65, 65, 65, 65]);
  assert.throws(() => readValue(field, arena, SLOT, 0), { code: "usage", message: /length is 5/ });
  page.set([1, 0, 0xff]);
  assert.throws(() => readValue(field, arena, SLOT, 0), { code: "usage", message: /not UTF-8/ });
  page.set([2, 0, 0xc3, 0xa4]);
  assert.equal(readValue(field, arena, SLOT, 0), "ä");
});
