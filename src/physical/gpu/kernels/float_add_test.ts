/** Float add and order with integers, against the language's own floats. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { addFloatBits } from "./float_add.ts";
import { floatOrder } from "./float_order.ts";

const bits = new Uint32Array(1), float = new Float32Array(bits.buffer);

function floatOf(word: number): number {
  bits[0] = word;
  return float[0];
}

function bitsOf(value: number): number {
  float[0] = value;
  return Number.isNaN(value) ? 0x7fc0_0000 : bits[0];
}

/** Any bits; exponents close to each other, where sums cancel and round; the ends of ranges. */
const anyBits = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 2 ** 23 - 1 }), fc.boolean())
    .map(([exponent, fraction, sign]) => ((sign ? 256 : 0) + exponent) * 2 ** 23 + fraction),
  fc.tuple(
    fc.constantFrom(0, 1, 2, 24, 25, 253, 254, 255),
    fc.constantFrom(0, 1, 2, 0x7ffffe, 0x7fffff),
    fc.boolean(),
  )
    .map(([exponent, fraction, sign]) => ((sign ? 256 : 0) + exponent) * 2 ** 23 + fraction),
);

Deno.test("addFloatBits() gives the bits that Math.fround() gives of a sum", () => {
  fc.assert(
    fc.property(anyBits, anyBits, (a, b) => {
      assert.equal(addFloatBits(a, b), bitsOf(Math.fround(floatOf(a) + floatOf(b))), `${a} + ${b}`);
      assert.equal(addFloatBits(a | 0, b | 0), addFloatBits(a, b));
    }),
    { numRuns: 20_000 },
  );
});

Deno.test("addFloatBits() is right where the exponents are any distance apart", () => {
  for (let distance = 0; distance < 32; distance++) {
    for (const fraction of [0, 1, 3, 0x40_0000, 0x7f_fffe, 0x7f_ffff]) {
      for (const other of [0, 1, 0x20_0000, 0x40_0000, 0x7f_ffff]) {
        for (const sign of [0, 2 ** 31]) {
          const a = 40 * 2 ** 23 + fraction, b = sign + (40 - distance) * 2 ** 23 + other;
          const expected = bitsOf(Math.fround(floatOf(a) + floatOf(b)));
          assert.equal(addFloatBits(a, b), expected);
          assert.equal(addFloatBits(b, a), expected);
        }
      }
    }
  }
});

Deno.test("floatOrder() orders as floats do, −0 below +0", () => {
  fc.assert(
    fc.property(anyBits, anyBits, (a, b) => {
      const [x, y] = [floatOf(a), floatOf(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return;
      const expected = x < y || Object.is(x, -0) && Object.is(y, 0);
      assert.equal(floatOrder(a) < floatOrder(b), expected);
      assert.equal(floatOrder(a | 0), floatOrder(a));
    }),
    { numRuns: 3000 },
  );
});
