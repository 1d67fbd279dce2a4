/** Dirty ranges: they cover what was added, and not much more, against an array of flags. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { DirtyRanges } from "./dirty_ranges.ts";

const PAGE_BYTES = 2048;

function listed(ranges: DirtyRanges): number[][] {
  const words = new Int32Array(2 * ranges.count + 1);
  ranges.writeTo(words, 1);
  const list = [];
  for (let i = 0; i < ranges.count; i++) {
    assert.deepEqual([ranges.start(i), ranges.end(i)], [words[1 + 2 * i], words[2 + 2 * i]]);
    list.push([ranges.start(i), ranges.end(i)]);
  }
  return list;
}

Deno.test("DirtyRanges cover all that was added, and exactly that where there is room and no gap is joined", () => {
  const span = fc.tuple(fc.nat(PAGE_BYTES - 1), fc.nat(100)).map(([start, length]) => ({
    start,
    end: Math.min(PAGE_BYTES, start + length),
  }));
  fc.assert(
    fc.property(
      fc.array(span, { maxLength: 40, size: "max" }),
      fc.constantFrom(1, 2, 5, 600),
      fc.constantFrom(0, 4, 64),
      (spans, rangesMax, gapBytes) => {
        const ranges = new DirtyRanges(rangesMax, gapBytes);
        const words = new Uint8Array(PAGE_BYTES / 4);
        for (const { start, end } of spans) {
          ranges.add(start, end);
          if (end > start) words.fill(1, start >> 2, end + 3 >> 2);
          ranges.checkInvariants();
        }
        const covered = new Uint8Array(PAGE_BYTES / 4);
        for (const [start, end] of listed(ranges)) covered.fill(1, start / 4, end / 4);
        assert.equal(covered.reduce((sum, one) => sum + 4 * one, 0), ranges.bytes);
        for (let i = 0; i < words.length; i++) assert(words[i] <= covered[i], `word ${i}`);
        // Both ends of a range are bytes that were added.
        for (const [start, end] of listed(ranges)) {
          assert(words[start / 4] === 1 && words[end / 4 - 1] === 1);
        }
        if (rangesMax === 600 && gapBytes === 0) assert.deepEqual(covered, words);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("DirtyRanges.add() joins the nearest two where the list is full", () => {
  const ranges = new DirtyRanges(3, 0);
  for (const at of [0, 100, 140, 400]) ranges.add(at, at + 4);
  assert.deepEqual(listed(ranges), [[0, 4], [100, 144], [400, 404]]);
  ranges.add(8, 12);
  assert.deepEqual(listed(ranges), [[0, 12], [100, 144], [400, 404]]);
  ranges.add(0, 404);
  assert.deepEqual(listed(ranges), [[0, 404]]);
});

Deno.test("DirtyRanges.add() rounds outwards to words, joins gaps up to its bound, and ignores nothing", () => {
  const ranges = new DirtyRanges(8, 8);
  ranges.add(5, 5);
  ranges.add(9, 6);
  assert.equal(ranges.count, 0);
  ranges.add(5, 6);
  ranges.add(16, 17);
  ranges.add(32, 33);
  assert.deepEqual(listed(ranges), [[4, 20], [32, 36]]);
  ranges.clear();
  assert.deepEqual([ranges.count, ranges.bytes], [0, 0]);
  ranges.add(32, 36);
  assert.deepEqual(listed(ranges), [[32, 36]]);
});
