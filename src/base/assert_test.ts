import nodeAssert from "node:assert/strict";
import fc from "fast-check";
import {
  assert,
  checkBytes,
  checkInteger,
  checkIterable,
  checkKeys,
  checkNumber,
  checkOneOf,
  checkType,
  isBytes,
  MmsbAssertionError,
} from "./assert.ts";
import { MmsbError, type MmsbErrorCode } from "./errors.ts";

/** Calls `fn`, and holds what it throws to a code, a message and the name among the values. */
function refuses(fn: () => unknown, code: MmsbErrorCode, message: RegExp): void {
  nodeAssert.throws(fn, (error) => {
    nodeAssert(error instanceof MmsbError);
    nodeAssert.equal(error.code, code);
    nodeAssert.match(error.message, message);
    nodeAssert.match(error.message, /^[A-Z].*[^.]$/s);
    nodeAssert("value" in error.values || "key" in error.values || "offset" in error.values);
    return true;
  });
}

const notIntegers = [NaN, Infinity, -Infinity, 0.5, "4", "", 4n, null, undefined, true, [4], {}];

Deno.test("assert() lets truth pass and stops at anything else", () => {
  for (const value of [true, 1, "x", {}]) assert(value, "never");
  for (const value of [false, 0, "", null, undefined, NaN]) {
    nodeAssert.throws(() => assert(value, "Rows are sorted"), (error) => {
      nodeAssert(error instanceof MmsbAssertionError);
      nodeAssert(!(error instanceof MmsbError), "no caller is meant to handle it");
      nodeAssert.equal(error.name, "MmsbAssertionError");
      nodeAssert.match(error.message, /report it: Rows are sorted$/);
      return true;
    });
  }
});

Deno.test("checkInteger() returns integers in the range, bounds included", () => {
  fc.assert(fc.property(fc.maxSafeInteger(), fc.maxSafeInteger(), (a, b) => {
    const [min, max] = a < b ? [a, b] : [b, a];
    nodeAssert.equal(checkInteger("n", min, min, max), min);
    nodeAssert.equal(checkInteger("n", max, min, max), max);
  }));
});

Deno.test("checkInteger() refuses what is no integer, without converting it", () => {
  for (const value of [...notIntegers, 2 ** 53, Symbol("4"), () => 4, new Number(4)]) {
    refuses(() => checkInteger("offset", value, 0, 10), "usage", /as offset: give an integer$/);
  }
});

Deno.test("checkInteger() refuses integers outside the range with the code asked for", () => {
  refuses(() => checkInteger("offset", -1, 0, 10), "out-of-bounds", /-1 as offset.* 0 to 10$/);
  refuses(() => checkInteger("offset", 11, 0, 10), "out-of-bounds", /11 as offset/);
  refuses(() => checkInteger("rows", 11, 0, 10, "limit"), "limit", /11 as rows/);
});

Deno.test("checkInteger() turns -0 into 0", () => {
  nodeAssert(Object.is(checkInteger("n", -0, 0, 10), 0));
});

Deno.test("checkNumber() takes fractions, and refuses what is no finite number", () => {
  nodeAssert.equal(checkNumber("budget", 0.5, 0, 1), 0.5);
  for (const value of notIntegers.filter((value) => value !== 0.5)) {
    refuses(() => checkNumber("budget", value, 0, 1), "usage", /give a finite number$/);
  }
  refuses(() => checkNumber("budget", 1.5, 0, 1), "out-of-bounds", /a number from 0 to 1$/);
  refuses(() => checkNumber("budget", -0.1, 0, 1, "limit"), "limit", /-0.1 as budget/);
});

Deno.test("checkType() goes by typeof, and null is no object", () => {
  nodeAssert.equal(checkType("s", "x", "string"), "x");
  nodeAssert.equal(checkType("b", false, "boolean"), false);
  nodeAssert.equal(checkType("n", 3n, "bigint"), 3n);
  nodeAssert.equal(checkType("f", refuses, "function"), refuses);
  nodeAssert.deepEqual(checkType("o", { a: 1 }, "object"), { a: 1 });
  refuses(() => checkType("options", null, "object"), "usage", /null as options: give an object/);
  refuses(() => checkType("name", 4, "string"), "usage", /4 as name: give a string/);
  refuses(() => checkType("name", new String("x"), "string"), "usage", /an object \(String\)/);
});

Deno.test("checkBytes() takes Uint8Array over any buffer, and nothing else", () => {
  for (const buffer of [new ArrayBuffer(4), new SharedArrayBuffer(4)]) {
    nodeAssert.equal(checkBytes("b", new Uint8Array(buffer)).length, 4);
    refuses(() => checkBytes("b", buffer), "usage", /give a Uint8Array/);
  }
  for (
    const value of [[1], "x", null, undefined, new Int8Array(1), new DataView(new ArrayBuffer(1))]
  ) {
    refuses(() => checkBytes("b", value), "usage", /as b: give a Uint8Array/);
  }
});

Deno.test("checkOneOf() lists the choices", () => {
  nodeAssert.equal(checkOneOf("device", "gpu", ["cpu", "gpu"]), "gpu");
  refuses(() => checkOneOf("device", "GPU", ["cpu", "gpu"]), "usage", /one of "cpu", "gpu"$/);
  refuses(() => checkOneOf("device", 0, ["cpu", "gpu"]), "usage", /Cannot use 0/);
});

Deno.test("checkKeys() refuses a misspelt option by name", () => {
  checkKeys("open", undefined, ["dir"]);
  checkKeys("open", { dir: undefined }, ["dir"]);
  refuses(() => checkKeys("open", { dri: "x" }, ["dir"]), "usage", /"dri" of open.* are dir$/);
  refuses(() => checkKeys("open", "dir", ["dir"]), "usage", /options of open/);
  refuses(() => checkKeys("open", null, ["dir"]), "usage", /options of open/);
});

Deno.test("checks cut a long text in their message, and name odd values", () => {
  refuses(() => checkInteger("n", "x".repeat(1e6), 0, 1), "usage", /^.{0,120}$/);
  refuses(() => checkInteger("n", Object.create(null), 0, 1), "usage", /no prototype/);
  refuses(() => checkInteger("n", () => 1, 0, 1), "usage", /a function/);
});

Deno.test("isBytes() and checkBytes() take only what is a view, not what looks like one", () => {
  for (const bytes of [new Uint8Array(1), new Uint8Array(new SharedArrayBuffer(1))]) {
    nodeAssert.equal(isBytes(bytes), true);
  }
  const proxy = new Proxy(new Uint8Array(1), {}), shaped = Object.create(Uint8Array.prototype);
  for (const value of [proxy, shaped, new Int8Array(1), new ArrayBuffer(1), [1], null, undefined]) {
    nodeAssert.equal(isBytes(value), false);
    refuses(() => checkBytes("value", value), "usage", /give a Uint8Array/);
  }
});

Deno.test("checkIterable() takes what can be walked", () => {
  nodeAssert.deepEqual([...checkIterable("rows", new Set([1]))], [1]);
  for (const value of [undefined, null, 1, {}]) {
    refuses(() => checkIterable("rows", value as never), "usage", /give an array/);
  }
});
