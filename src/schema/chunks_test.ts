import assert from "node:assert/strict";
import fc from "fast-check";
import { chunkOf, chunkPlan, chunkRows, chunkStart } from "./mod.ts";

const PAGE = 16 * 2 ** 20;

Deno.test("chunks grow from 256 rows to 65,536", () => {
  const plan = chunkPlan(8);
  const rows = Array.from({ length: 12 }, (_, chunk) => chunkRows(plan, chunk));
  const expected = [256, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 65536, 65536];
  assert.deepEqual(rows, expected);
});

Deno.test("chunks of every width lie one behind the other, and fit in a page", () => {
  for (const width of [1, 2, 3, 8, 255, 256, 257, 1000, 4097, 30_000, 65_535, 65_538, PAGE]) {
    const plan = chunkPlan(width);
    let start = 0;
    for (let chunk = 0; chunk < 30; chunk++) {
      const rows = chunkRows(plan, chunk);
      assert(rows >= 1 && rows * width <= PAGE, `width ${width}`);
      assert.equal(chunkStart(plan, chunk), start);
      assert.equal(chunkOf(plan, start), chunk);
      assert.equal(chunkOf(plan, start + rows - 1), chunk);
      start += rows;
    }
  }
});

Deno.test("every row below 2^32 is in its chunk", () => {
  const row = fc.oneof(fc.nat({ max: 2 ** 20 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
  fc.assert(fc.property(fc.integer({ min: 1, max: 65_538 }), row, (width, row) => {
    const plan = chunkPlan(width), chunk = chunkOf(plan, row), start = chunkStart(plan, chunk);
    assert(start <= row && row < start + chunkRows(plan, chunk));
  }));
});
