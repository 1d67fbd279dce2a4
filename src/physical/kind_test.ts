import assert from "node:assert/strict";
import {
  COMBINE_OPERATIONS,
  COMBINE_TYPES,
  combineKind,
  type CombineOperation,
  type CombineType,
  elementBytes,
  isKind,
  KIND_MASKED,
  KIND_SET,
  kindName,
} from "./kind.ts";

const PAIRS: [CombineType, CombineOperation][] = COMBINE_TYPES.flatMap((type) =>
  COMBINE_OPERATIONS.slice(0, type.startsWith("f") ? 3 : 6)
    .map((operation): [CombineType, CombineOperation] => [type, operation])
);

Deno.test("combineKind() gives each pair of type and operation its own byte, for good", () => {
  const kinds = PAIRS.map(([type, operation]) => combineKind(type, operation));
  // These bytes stand in logs.
  assert.deepEqual(
    kinds.map((kind) => kind.toString(16)).join(" "),
    [
      "11 12 13 14 15 16",
      "21 22 23 24 25 26",
      "31 32 33",
      "41 42 43",
    ].join(" "),
  );
  assert.deepEqual(
    kinds.map(elementBytes),
    PAIRS.map(([type]) => type === "f64" ? 8 : 4),
  );
});

Deno.test("isKind() knows the kinds of this format and no other byte", () => {
  const kinds = [KIND_SET, KIND_MASKED, ...PAIRS.map((pair) => combineKind(...pair))];
  for (let byte = 0; byte < 256; byte++) {
    assert.equal(isKind(byte), kinds.includes(byte), `byte ${byte}`);
  }
});

Deno.test("kindName() names every byte", () => {
  assert.equal(kindName(KIND_SET), "set");
  assert.equal(kindName(KIND_MASKED), "masked");
  for (const [type, operation] of PAIRS) {
    assert.equal(kindName(combineKind(type, operation)), `${operation} ${type}`);
  }
  for (const byte of [2, 15, 16, 23, 0x34, 0x50, 255]) {
    assert.equal(kindName(byte), `unknown kind ${byte}`);
  }
});

Deno.test("combineKind() refuses what does not exist, and bit operations on floats", () => {
  const bad: unknown[][] = [
    ["f64", "xor"],
    ["f32", "or"],
    ["f32", "and"],
    ["i64", "add"],
    ["i32", "mul"],
    ["toString", "add"],
    [undefined, "add"],
    ["i32", null],
    [1, 1],
    [1n, {}],
    ["", ""],
  ];
  for (const [type, operation] of bad) {
    assert.throws(() => combineKind(type as CombineType, operation as CombineOperation), {
      code: "usage",
    });
  }
});
