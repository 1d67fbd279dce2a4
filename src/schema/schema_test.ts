import assert from "node:assert/strict";
import fc from "fast-check";
import { fieldsOf } from "./_fields_test.ts";
import { bytes, type RowOf, struct, table, typeName, utf8 } from "./mod.ts";

const any = (value: unknown) => value as never;

Deno.test("struct() puts each field at the next multiple of its width", () => {
  const { fields, byteLength } = struct({
    a: "u8",
    b: "f64",
    c: "bool",
    d: "u16",
    e: utf8(4),
    f: bytes(3),
    g: "i64",
    h: "i8",
  });
  assert.deepEqual(fields.map(({ offset }) => offset), [0, 8, 16, 18, 20, 26, 32, 40]);
  assert.deepEqual(fields.map(({ width }) => width), [1, 8, 1, 2, 6, 3, 8, 1]);
  assert.equal(byteLength, 41, "no padding behind the last field");
});

Deno.test("struct() moves no field where others are added behind it", () => {
  fc.assert(fc.property(fieldsOf(12), fc.nat(), (definition, at) => {
    const entries = Object.entries(definition);
    const some = entries.slice(0, 1 + at % entries.length);
    const long = struct(definition), short = struct(Object.fromEntries(some));
    assert.deepEqual(long.fields.slice(0, some.length), short.fields);
    let end = 0;
    for (const { offset, width, type } of long.fields) {
      assert(offset >= end && offset - end < 8, "fields neither overlap nor leave room");
      end = offset + width;
      if (typeof type === "string") assert.equal(offset % width, 0, "aligned");
    }
    assert.equal(long.byteLength, end);
  }));
});

Deno.test("struct() and table() refuse what is no schema", () => {
  for (const make of [struct, table]) {
    for (const bad of [undefined, null, 1, "f64", () => 1, {}, []]) {
      assert.throws(() => make(any(bad)), { code: "usage" }, String(bad));
    }
    for (const name of ["", "0", "1a", "a\n", "\ud800", "__proto__"]) {
      assert.throws(() => make(any(Object.fromEntries([[name, "u8"]]))), { code: "usage" }, name);
    }
    for (const type of ["f16", "F64", "", 1, null, undefined, {}, { type: "f64" }, [], 4n]) {
      assert.throws(() => make(any({ bid: type })), { code: "usage", message: /"bid"/ });
    }
    for (const length of [0, -1, 65_536]) {
      assert.throws(() => make(any({ a: { type: "bytes", length } })), { code: "out-of-bounds" });
      assert.throws(() => make(any({ a: { type: "utf8", bytesMax: length } })), {
        code: "out-of-bounds",
      });
    }
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, "u8"]));
    assert.equal(make(any(many(1024))).fields.length, 1024);
    assert.throws(() => make(any(many(1025))), { code: "limit" });
    assert.equal(make(any({ ["x".repeat(255)]: "u8" })).fields.length, 1);
    assert.throws(() => make(any({ ["x".repeat(256)]: "u8" })), { code: "limit" });
  }
  const wide = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, bytes(65_535)]));
  assert.equal(struct(wide(256)).byteLength, 256 * 65_535);
  assert.throws(() => struct(wide(257)), { code: "limit" });
  assert.equal(table(wide(257)).fields.length, 257, "a table's columns have a page each");
});

Deno.test("bytes() and utf8() refuse lengths that are none", () => {
  for (const make of [bytes, utf8]) {
    for (const bad of [0, -1, 65_536]) assert.throws(() => make(bad), { code: "out-of-bounds" });
    for (const bad of [NaN, 1.5, "4", 4n, null, undefined]) {
      assert.throws(() => make(any(bad)), { code: "usage" });
    }
  }
  assert.deepEqual([typeName("f64"), typeName(bytes(3)), typeName(utf8(4))], [
    "f64",
    "bytes(3)",
    "utf8(4)",
  ]);
});

Deno.test("a schema does not change with what it was made from", () => {
  const id = { type: "bytes" as const, length: 4 };
  const fields: Record<string, typeof id | "u8"> = { id };
  const schema = struct(fields);
  fields.other = "u8";
  id.length = 9;
  assert.deepEqual(Object.keys(schema.definition), ["id"]);
  assert.deepEqual(schema.definition.id, { type: "bytes", length: 4 });
  assert(Object.isFrozen(schema.definition) && Object.isFrozen(schema.fields));
});

Deno.test("rows have the types of their schema", () => {
  const schema = struct({ a: "f32", b: "u64", c: "bool", d: utf8(3), e: bytes(2) });
  type Row = RowOf<typeof schema.definition>;
  const row: Row = { a: 1, b: 2n, c: true, d: "x", e: new Uint8Array(2) };
  // @ts-expect-error a u64 is a bigint
  const wrong: Row = { ...row, b: 2 };
  // @ts-expect-error a field is missing
  const short: Row = { a: 1, b: 2n, c: true, d: "x" };
  // @ts-expect-error there is no such type
  assert.throws(() => struct({ a: "f16" }));
  assert(wrong.b !== row.b && short.a === row.a);
});
