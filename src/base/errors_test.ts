import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError, MMSB_ERROR_CODES, MmsbError, type MmsbErrorCode } from "./errors.ts";

const codes = Object.keys(MMSB_ERROR_CODES) as MmsbErrorCode[];

Deno.test("MMSB_ERROR_CODES gives each code one sentence without a full stop", () => {
  assert.equal(codes.length, 24);
  for (const code of codes) {
    const { meaning } = MMSB_ERROR_CODES[code];
    assert.match(meaning, /^[A-Z][^.]+[^.\s]$/, code);
    assert(meaning.length <= 100, code);
  }
  assert.deepEqual(codes, codes.toSorted());
});

Deno.test("MMSB_ERROR_CODES cannot be changed", () => {
  assert(Object.isFrozen(MMSB_ERROR_CODES));
  assert(Object.isFrozen(MMSB_ERROR_CODES.io));
});

Deno.test("MMSB_ERROR_CODES says that a retry helps only where the world can change by itself", () => {
  const retryable = codes.filter((code) => MMSB_ERROR_CODES[code].retryable);
  assert.deepEqual(retryable, [
    "clock",
    "gpu",
    "locked",
    "memory-pressure",
    "network",
    "stale-epoch",
    "transaction-conflict",
    "worker",
  ]);
});

Deno.test("MmsbError is an Error with name, code, message, values and cause", () => {
  const cause = new Error("EIO");
  const error = new MmsbError("io", "Cannot write the log: see the cause", {
    values: { path: "lane-00" },
    cause,
  });
  assert(error instanceof Error);
  assert.equal(error.name, "MmsbError");
  assert.equal(error.code, "io");
  assert.equal(error.retryable, false);
  assert.equal(error.cause, cause);
  assert.deepEqual(error.values, { path: "lane-00" });
  assert.match(error.stack ?? "", /MmsbError: Cannot write the log/);
});

Deno.test("MmsbError has no cause where none was given", () => {
  const error = new MmsbError("usage", "Cannot do that");
  assert(!("cause" in error));
  assert.deepEqual(error.values, {});
  assert(!("cause" in error.toJSON()));
});

Deno.test("MmsbError copies and freezes its values", () => {
  const values = { page: 7 };
  const error = new MmsbError("usage", "Cannot do that", { values });
  values.page = 8;
  assert.equal(error.values.page, 7);
  assert.throws(() => {
    (error.values as { page: number }).page = 9;
  }, TypeError);
});

Deno.test("MmsbError.toJSON() writes what JSON cannot say as text", () => {
  const deep: unknown[] = [];
  deep.push(deep);
  const error = new MmsbError("usage", "Cannot do that", {
    values: {
      big: 2n ** 63n,
      nan: NaN,
      infinite: -Infinity,
      bytes: new Uint8Array(4096),
      shared: new Float64Array(new SharedArrayBuffer(16)),
      nothing: null,
      missing: undefined,
      url: new URL("file:///a"),
      map: new Map([[1, 2n]]),
      set: new Set(["a"]),
      error: new RangeError("too far"),
      symbol: Symbol("s"),
      fn: codes.filter,
      nested: { list: [1n, "x", true] },
      deep,
    },
  });
  assert.deepEqual(error.toJSON().values, {
    big: "9223372036854775808",
    nan: "NaN",
    infinite: "-Infinity",
    bytes: "Uint8Array(4096 B)",
    shared: "Float64Array(16 B)",
    nothing: null,
    missing: undefined,
    url: "file:///a",
    map: { "1": "2" },
    set: ["a"],
    error: "RangeError: too far",
    symbol: "Symbol(s)",
    fn: "function filter",
    nested: { list: ["1", "x", true] },
    deep: [[[["…"]]]],
  });
});

Deno.test("MmsbError.fromJSON() restores what toJSON gave, through JSON and structuredClone", () => {
  fc.assert(fc.property(
    fc.constantFrom(...codes),
    fc.string(),
    fc.dictionary(fc.string(), fc.oneof(fc.integer(), fc.string(), fc.boolean()), {
      noNullPrototype: true,
    }),
    (code, message, values) => {
      const inner = new MmsbError("network", "Cannot reach the peer: no answer");
      const error = new MmsbError(code, message, { values, cause: inner });
      for (const copy of [JSON.parse(JSON.stringify(error)), structuredClone(error.toJSON())]) {
        const restored = MmsbError.fromJSON(copy);
        assert.equal(restored.code, code);
        assert.equal(restored.message, message);
        assert.deepEqual(Object.entries(restored.values), Object.entries(error.values));
        assert(isMmsbError(restored.cause, "network"));
      }
    },
  ));
});

Deno.test("MmsbError.fromJSON() keeps a code that it does not know as a value", () => {
  for (const code of ["from-the-future", "toString", "__proto__"]) {
    const json = { ...new MmsbError("io", "Cannot read").toJSON(), code: code as MmsbErrorCode };
    const error = MmsbError.fromJSON(json);
    assert.equal(error.code, "usage");
    assert.equal(error.values.code, code);
    assert.equal(error.retryable, false);
  }
});

Deno.test("isMmsbError() tells errors, and codes, apart", () => {
  const error: unknown = new MmsbError("closed", "Cannot write: the bus is closed");
  assert(isMmsbError(error));
  assert(isMmsbError(error, "closed"));
  assert(!isMmsbError(error, "io"));
  for (const other of [new Error("x"), null, undefined, "closed", { code: "closed" }]) {
    assert(!isMmsbError(other));
  }
});
