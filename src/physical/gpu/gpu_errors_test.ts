import assert from "node:assert/strict";
import { MmsbError } from "../../base/mod.ts";
import { clip, deviceLost, gpuFailure, noDevice, shaderRefused, textOf } from "./gpu_errors.ts";

Deno.test("gpuFailure() tells out of memory from what else the driver refuses", () => {
  const memory = new GPUOutOfMemoryError("Not enough memory left");
  assert.equal(gpuFailure("create a buffer", memory).code, "allocation");
  assert.equal(gpuFailure("create a buffer", new Error("Device out of memory")).code, "allocation");
  const refused = gpuFailure("copy", new GPUValidationError("Buffer is\n too small"));
  assert.equal(refused.code, "gpu");
  assert.equal(refused.message, "Cannot copy on the GPU: Buffer is too small");
  assert(refused.retryable);
  const ours = new MmsbError("usage", "Cannot do that");
  assert.equal(gpuFailure("copy", ours), ours);
});

Deno.test("textOf() finds words in whatever is thrown", () => {
  assert.equal(textOf(new GPUValidationError("no")), "no");
  assert.equal(textOf({ message: "plain" }), "plain");
  for (const thrown of [undefined, null, 7, Symbol("s"), Object.create(null), () => 1]) {
    assert.equal(typeof textOf(thrown), "string");
  }
  const hostile = {
    get message(): string {
      throw new Error("no");
    },
    toString(): string {
      throw new Error("no");
    },
  };
  assert.equal(typeof textOf(hostile), "string");
});

Deno.test("shaderRefused() names the first error, in lines of the user's own text", () => {
  const error = shaderRefused("mine", [
    { type: "warning", line: 3, column: 1, text: "unused" },
    { type: "error", line: 12, column: 5, text: "no such name" },
  ], 10);
  assert.equal(error.code, "usage");
  assert.equal(error.message, 'Cannot compile shader "mine" at line 2, column 5: no such name');
  assert.deepEqual([error.values.line, error.values.column], [2, 5]);
  const ofPrelude = shaderRefused("mine", [{ type: "error", line: 4, column: 5, text: "x" }], 10);
  assert.equal(ofPrelude.message, 'Cannot compile shader "mine": x');
  assert.match(shaderRefused("mine", []).message, /does not say why/);
});

Deno.test("The errors of a device survive postMessage", () => {
  for (
    const error of [
      deviceLost("read", "it fell off the bus"),
      noDevice("no adapter", new DOMException("x", "OperationError")),
      shaderRefused("mine", [{ type: "error", line: 1, column: 1, text: "x" }]),
    ]
  ) {
    const copy = MmsbError.fromJSON(structuredClone(error.toJSON()));
    assert.deepEqual([copy.code, copy.message], [error.code, error.message]);
    assert.deepEqual(Object.keys(copy.values), Object.keys(error.values));
  }
});

Deno.test("clip() folds white space and cuts what is long", () => {
  assert.equal(clip("\n a\n\tb  "), "a b");
  assert(clip("x".repeat(100_000)).length < 1000);
});
