/** Ranges cut into tiles: each word once, and nothing that 32 bits do not address. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { cutRanges, TILE_WORDS, type WordRange } from "./ranges.ts";

/** The words of the tiles, as the kernels read them. */
function wordsOf(table: Uint32Array): string[] {
  const found: string[] = [];
  for (let tile = 1; tile <= table[0]; tile++) {
    const [source, target, packed, range] = table.subarray(4 * tile, 4 * tile + 4);
    const words = (packed & TILE_WORDS - 1) + 1, within = (packed >>> 10) * TILE_WORDS;
    for (let k = 0; k < words; k++) {
      found.push(`${range}: ${within + k} ${source + k} ${target + k}`);
    }
  }
  return found;
}

Deno.test("cutRanges() gives each word of each range once, in order", () => {
  const place = fc.nat(100_000);
  const words = fc.oneof(fc.nat(3), fc.nat(5000), fc.constantFrom(1023, 1024, 1025, 4096));
  const range = fc.record({ source: place, target: place, words });
  fc.assert(
    fc.property(fc.array(range, { maxLength: 6 }), (ranges: WordRange[]) => {
      const { table, count, sourceEnd, targetEnd } = cutRanges(ranges);
      const expected = ranges.flatMap(({ source, target, words }, number) =>
        Array.from({ length: words }, (_, k) => `${number}: ${k} ${source + k} ${target + k}`)
      );
      assert.deepEqual(wordsOf(table), expected);
      assert.equal(table.length, 4 * (count + 1));
      const filled = ranges.filter(({ words }) => words > 0);
      assert.equal(sourceEnd, Math.max(0, ...filled.map((range) => range.source + range.words)));
      assert.equal(targetEnd, Math.max(0, ...filled.map((range) => range.target + range.words)));
    }),
    { numRuns: 100 },
  );
});

Deno.test("cutRanges() refuses what are no ranges, by code", () => {
  const range = { source: 0, target: 0, words: 1 };
  for (const value of [NaN, 1.5, "1", 1n, undefined]) {
    for (const key of ["source", "target", "words"]) {
      const bad = { ...range, [key]: value } as unknown as WordRange;
      assert.throws(() => cutRanges([bad]), { code: "usage" }, `${key} ${String(value)}`);
    }
  }
  for (const bad of [{ words: -1 }, { words: 2 ** 30 + 1 }, { source: 2 ** 30 }, { target: -1 }]) {
    assert.throws(() => cutRanges([{ ...range, ...bad }]), { code: "out-of-bounds" });
  }
  const large = { source: 0, target: 0, words: 2 ** 30 };
  assert.throws(() => cutRanges(Array(65).fill(large)), { code: "limit" });
});
