import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError, toHex } from "../base/mod.ts";
import { fieldsOf } from "./_fields_test.ts";
import { bytes, decodeSchema, encodeSchema, struct, table, utf8 } from "./mod.ts";

Deno.test("the stored form of a schema is these bytes", () => {
  const form = encodeSchema(struct({ bid: "f64", id: bytes(16), größe: utf8(300) }));
  const expected = "01010300" + "0a030000626964" + "0c0210006964" + "0d072c01" + "6772c3b6c39f65";
  assert.equal(toHex(form), expected);
  assert.equal(toHex(encodeSchema(table({ a: "i8" }))), "01020100" + "0101000061");
});

Deno.test("schemas come back from their stored form", () => {
  fc.assert(fc.property(fieldsOf(20), fc.boolean(), (fields, isStruct) => {
    const schema = isStruct ? struct(fields) : table(fields);
    const back = decodeSchema(encodeSchema(schema));
    assert.equal(back.kind, schema.kind);
    assert.deepEqual(back.fields, schema.fields);
    assert.deepEqual(back.definition, schema.definition);
  }));
});

Deno.test("decodeSchema() refuses every other bytes, or gives a schema of just that form", () => {
  const form = encodeSchema(struct({ bid: "f64", id: bytes(16), größe: utf8(300) }));
  const check = (bytes: Uint8Array) => {
    let schema;
    try {
      schema = decodeSchema(bytes);
    } catch (error) {
      assert(isMmsbError(error) && ["corrupt-log", "version"].includes(error.code), String(error));
      return;
    }
    assert.deepEqual(encodeSchema(schema), bytes);
  };
  for (let length = 0; length < form.length; length++) {
    assert.throws(() => decodeSchema(form.subarray(0, length)), { code: "corrupt-log" });
  }
  assert.throws(() => decodeSchema(Uint8Array.of(...form, 0)), { code: "corrupt-log" });
  assert.throws(() => decodeSchema(Uint8Array.of(2)), { code: "version" });
  for (let at = 0; at < form.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = form.slice();
      flipped[at] ^= 1 << bit;
      check(flipped);
    }
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), check));
});
