import assert from "node:assert/strict";
import fc from "fast-check";
import {
  accumulate,
  boolean,
  checkSemiring,
  foldProduct,
  foldSum,
  registerSemiring,
  type Semiring,
  semiring,
  tropical,
} from "./semiring.ts";

const counting: Semiring = {
  name: "counting",
  zero: 0,
  one: 1,
  plus: (a, b) => a + b,
  times: (a, b) => a * b,
};

Deno.test("tropical and boolean keep the laws of a semiring", () => {
  const whole = fc.array(fc.oneof(fc.integer(), fc.constant(Infinity)), { maxLength: 6 });
  fc.assert(fc.property(whole, (samples) => {
    // Sums of 32-bit integers are exact.
    assert.equal(checkSemiring(tropical, samples), undefined);
  }));
  assert.equal(checkSemiring(boolean, [0, 1]), undefined);
  assert.deepEqual([tropical.zero, tropical.one, boolean.zero, boolean.one], [Infinity, 0, 0, 1]);
});

Deno.test("boolean takes every number but 0 for 1", () => {
  const numbers = [0, -0, 1, -1, 0.5, Infinity, NaN];
  for (const a of numbers) {
    for (const b of numbers) {
      assert.equal(boolean.plus(a, b), a !== 0 || b !== 0 ? 1 : 0);
      assert.equal(boolean.times(a, b), a !== 0 && b !== 0 ? 1 : 0);
    }
  }
});

Deno.test("checkSemiring() says which law fails", () => {
  const product = (other: (a: number, b: number) => number) => (a: number, b: number) =>
    a === 0 || b === 0 ? 0 : a === 1 || b === 1 ? a * b : other(a, b);
  const broken: [Partial<Semiring>, RegExp, number[]][] = [
    [{ zero: 1 }, /^2 plus zero is 3$/, [2]],
    [{ one: 2 }, /^2 times one is 4$/, [2]],
    [{ times: (a, b) => b === 1 ? a : 0 }, /^one times 2 is 0$/, [2]],
    [{ times: (a, b) => a === 1 || b === 1 ? a * b : 5 }, /^2 times zero is 5$/, [2]],
    [{ times: (a, b) => a === 1 || b < 2 ? a * b : 5 }, /^zero times 2 is 5$/, [2]],
    [{ plus: (a, b) => b === 0 ? a : a === 0 ? b : a - b }, /^2 plus 3 depends on the order$/, [
      2,
      3,
    ]],
    [{ plus: (a, b) => a * b === 0 ? a + b : (a + b) / 2 }, /^plus of .* the grouping$/, [1, 2, 3]],
    [{ times: product((a, b) => a + 2 * b) }, /^times of 2, 2, 2 depends on the grouping$/, [2]],
    [{ times: product((a, b) => a + b - 1) }, /^times does not distribute over plus: 2/, [2, 3]],
  ];
  for (const [change, expected, samples] of broken) {
    assert.match(String(checkSemiring({ ...counting, ...change }, samples)), expected);
  }
  assert.equal(checkSemiring(counting, [0, 1, 2, 3, 5]), undefined);
  const steps = { ...counting, plus: Math.max, times: product((a, b) => a + b - 1) };
  assert.equal(checkSemiring(steps, [0, 1, 2, 3, 5]), undefined);
  assert.equal(checkSemiring({ ...counting, zero: 1 }, []), undefined);
});

Deno.test("foldSum(), foldProduct() and accumulate() fold a column as reduce does", () => {
  const column = fc.array(fc.integer({ min: -9, max: 9 }), { maxLength: 12 });
  fc.assert(fc.property(column, fc.constantFrom(tropical, boolean, counting), (values, ring) => {
    const sum = values.reduce((a, b) => ring.plus(a, b), ring.zero);
    const product = values.reduce((a, b) => ring.times(a, b), ring.one);
    for (const column of [values, Float64Array.from(values), Int32Array.from(values)]) {
      assert.equal(foldSum(ring, column), sum);
      assert.equal(foldProduct(ring, column), product);
      assert.deepEqual(accumulate(ring, column), { sum, product });
    }
  }));
  assert.deepEqual(accumulate(tropical, []), { sum: Infinity, product: 0 });
});

Deno.test("registerSemiring() makes a semiring known by its name, once", () => {
  assert.equal(semiring("tropical"), tropical);
  assert.equal(semiring("boolean"), boolean);
  assert.throws(() => semiring("counting"), {
    code: "usage",
    message: 'Cannot find semiring "counting": registered are tropical, boolean',
  });
  registerSemiring(counting);
  assert.equal(semiring("counting"), counting);
  for (const taken of [counting, { ...counting }, { ...counting, name: "boolean" }]) {
    assert.throws(() => registerSemiring(taken), { code: "usage" });
  }
  assert.equal(semiring("boolean"), boolean);
});

Deno.test("registerSemiring() refuses what is no semiring", () => {
  const bad: unknown[] = [null, undefined, "ring", {}, { ...counting, name: 5 }].concat(
    [{ zero: "0" }, { zero: NaN }, { one: undefined }, { one: 1n }, { plus: "+" }, { times: 1 }]
      .map((change) => ({ ...counting, name: "bad", ...change })),
  );
  for (const given of bad) {
    assert.throws(() => registerSemiring(given as Semiring), { code: "usage" });
  }
  assert.throws(() => semiring("bad"), { code: "usage" });
});

Deno.test("what is no semiring, or no column, is refused", () => {
  const any = (value: unknown) => value as never;
  for (
    const ring of [undefined, null, 1, "x", {}, { ...tropical, plus: 1 }, {
      ...tropical,
      zero: "0",
    }]
  ) {
    for (const fold of [foldSum, foldProduct, accumulate, checkSemiring]) {
      assert.throws(() => fold(any(ring), [1]), { code: "usage" });
      assert.throws(() => fold(tropical, any(ring)), { code: "usage" });
    }
  }
  for (const name of [undefined, null, Symbol("x"), {}]) {
    assert.throws(() => semiring(any(name)), { code: "usage" });
  }
});
