import assert from "node:assert/strict";
import fc from "fast-check";
import { fieldsOf } from "./_fields_test.ts";
import { addedFields, bytes, type FieldType, struct, table, utf8 } from "./mod.ts";

const compare = (stored: Record<string, FieldType>, wanted: Record<string, FieldType>) =>
  addedFields(`"AAPL"`, table(stored), table(wanted));

Deno.test("addedFields() counts what is added at the end", () => {
  fc.assert(fc.property(fieldsOf(12), fc.nat(), (fields, at) => {
    const entries = Object.entries(fields), some = entries.slice(0, 1 + at % entries.length);
    assert.equal(compare(Object.fromEntries(some), fields), entries.length - some.length);
  }));
});

Deno.test("addedFields() refuses every other difference by the field's name", () => {
  const stored = { a: "u8", b: "f64", c: utf8(4), d: bytes(4) } as const;
  const refusals: [Record<string, FieldType>, RegExp][] = [
    [{ b: "f64", c: utf8(4), d: bytes(4) }, /"a" is missing/],
    [{ a: "u8", b: "f64", c: utf8(4) }, /"d" is missing/],
    [{ a: "u8", x: "f64", c: utf8(4), d: bytes(4) }, /"b" is missing/],
    [{ a: "u8", c: utf8(4), b: "f64", d: bytes(4) }, /"b" is field 1 there/],
    [{ a: "u8", b: "f32", c: utf8(4), d: bytes(4) }, /"b" is f64 there and f32 here/],
    [{ a: "u8", b: "f64", c: utf8(5), d: bytes(4) }, /"c" is utf8\(4\) there and utf8\(5\)/],
    [{ a: "u8", b: "f64", c: utf8(4), d: bytes(3) }, /"d" is bytes\(4\) there/],
    [{ a: "u8", b: "f64", c: bytes(4), d: bytes(4) }, /"c" is utf8\(4\) there and bytes\(4\)/],
    [{ a: "u8", new: "u8", b: "f64", c: utf8(4), d: bytes(4) }, /"new" is new before "b"/],
    [{ new: "u8", a: "u8", b: "f64", c: utf8(4), d: bytes(4) }, /"new" is new before "a"/],
  ];
  for (const [wanted, message] of refusals) {
    assert.throws(() => compare(stored, wanted), { code: "usage", message });
  }
  assert.throws(() => addedFields("x", struct(stored), table(stored)), {
    code: "usage",
    message: /as a table: it is a struct/,
  });
});
