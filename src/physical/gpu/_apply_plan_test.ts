/** Plans of an apply: schemes, chunks and groups, without a device. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { COMBINE_OPERATIONS, COMBINE_TYPES, combineKind, KIND_MASKED, KIND_SET } from "../kind.ts";
import { groupRows } from "./_apply_groups.ts";
import { type ApplyRows, cutRows, laneShiftOf, schemeOf } from "./_apply_plan.ts";

/** Rows with these kinds; the rest is the same for all. */
function rowsOf(kinds: readonly number[], about: Partial<ApplyRows["shape"]> = {}): ApplyRows {
  const rows = kinds.length, column = (): Int32Array => new Int32Array(rows).fill(4);
  return {
    rows,
    target: column(),
    offset: column(),
    length: column(),
    start: Int32Array.from(kinds, (_, row) => 4 * row),
    kind: Uint8Array.from(kinds),
    payload: new Uint8Array(4 * rows),
    shape: {
      uniformLength: 0,
      sequential: false,
      aligned: true,
      kinds: kinds.reduce((or, kind) => or | kind, 0),
      ...about,
    },
  };
}

Deno.test("schemeOf() resolves whole words, has atomics where any order will do, and groups the rest", () => {
  assert.equal(schemeOf(rowsOf([KIND_SET, KIND_SET])), "resolve");
  assert.equal(schemeOf(rowsOf([KIND_SET], { aligned: false })), "grouped");
  assert.equal(schemeOf(rowsOf([KIND_SET, KIND_MASKED])), "grouped");
  for (const type of COMBINE_TYPES.slice(0, 3)) {
    for (const operation of COMBINE_OPERATIONS.slice(0, type === "f32" ? 3 : 6)) {
      const kind = combineKind(type, operation);
      const expected = type === "f32" && operation === "add" ? "grouped" : "atomic";
      assert.equal(schemeOf(rowsOf([kind, kind])), expected, `${operation} ${type}`);
      assert.equal(schemeOf(rowsOf([kind, kind, KIND_SET])), "grouped");
    }
  }
  // or-ed together the kinds look like one that none of them is, or like one of them.
  assert.equal(schemeOf(rowsOf([0x11, 0x12])), "grouped");
  assert.equal(schemeOf(rowsOf([0x13, 0x11])), "grouped");
});

Deno.test("schemeOf() refuses f64 with a reason", () => {
  for (const operation of COMBINE_OPERATIONS.slice(0, 3)) {
    const rows = rowsOf([KIND_SET, combineKind("f64", operation), 0x11]);
    assert.throws(() => schemeOf(rows), { code: "usage", message: /f64.*use the CPU/ });
  }
});

const spans = fc.array(
  fc.record({
    target: fc.nat(300),
    offset: fc.nat(3),
    length: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 700 })),
    start: fc.nat(60),
    isMasked: fc.boolean(),
  }),
  { maxLength: 30 },
);

Deno.test("groupRows() lists each row in each block that it hits, in order, with its bits counted", () => {
  const payload = Uint8Array.from({ length: 1000 }, (_, i) => i * 37 ^ i >> 3);
  const bit = (start: number, k: number): number => payload[start + (k >> 3)] >> (k & 7) & 1;
  fc.assert(
    fc.property(spans, fc.nat(200), fc.integer({ min: 1, max: 300 }), (list, from, words) => {
      const column = (of: (row: typeof list[number]) => number): Int32Array =>
        Int32Array.from(list, of);
      const rows: ApplyRows = {
        ...rowsOf(list.map(({ isMasked }) => isMasked ? KIND_MASKED : KIND_SET)),
        target: column(({ target }) => target),
        offset: column(({ offset }) => offset + 8),
        length: column(({ length }) => length),
        start: column(({ start }) => start),
        payload,
      };
      const first = list.length >> 2;
      const { entries, blocks } = groupRows(rows, first, list.length, { from, words }, 1e6);
      const found: string[] = [];
      for (let at = 0; at < blocks.length; at += 4) {
        assert(blocks[at] < blocks[at + 1], "no block is empty");
        for (let entry = blocks[at]; entry < blocks[at + 1]; entry++) {
          found.push(`${blocks[at + 2]} ${entries[2 * entry]} ${entries[2 * entry + 1]}`);
        }
      }
      const size = 2 ** Math.max(4, Math.min(6, groupedLaneShift(rows, first) + 2));
      const expected: string[] = [];
      for (let block = 0; block < words; block += size) {
        for (let row = first; row < list.length; row++) {
          const { target, offset, length, start, isMasked } = list[row];
          const begin = 4 * (target - from) + offset;
          let isHit = false, before = 0;
          for (let k = 0; k < length; k++) {
            const word = begin + k >> 2;
            if (word >= block && word < Math.min(words, block + size)) isHit = true;
            else if (word < block && isMasked) before += bit(start, k);
          }
          if (isHit) expected.push(`${block} ${row - first} ${before}`);
        }
      }
      assert.deepEqual(found, expected);
    }),
    { numRuns: 200 },
  );
});

/** Lanes as the average row has them. */
function groupedLaneShift({ length, rows }: ApplyRows, from: number): number {
  const bytes = length.subarray(from).reduce((sum, one) => sum + one, 0);
  const words = bytes / 4 / Math.max(1, rows - from);
  return Math.max(0, Math.ceil(Math.log2(words)));
}

Deno.test("groupRows() refuses what would be more entries than are bound", () => {
  const rows = { ...rowsOf([KIND_MASKED, KIND_MASKED]), length: new Int32Array(2).fill(2 ** 24) };
  assert.throws(() => groupRows(rows, 0, 2, { from: 0, words: 2 ** 22 }, 1000), { code: "limit" });
});

Deno.test("cutRows() gives all rows in order, and each its payload", () => {
  const gap = fc.constantFrom(0, 4, 1, 5000);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), gap, fc.boolean()), { maxLength: 60 }),
      fc.boolean(),
      fc.constantFrom(4, 8, 40),
      fc.constantFrom(64, 400),
      fc.constantFrom(24_000, 40_000, 1e6),
      (list, isSequential, rowsMax, payloadBytes, bindingBytes) => {
        let end = 8;
        const starts = list.map(([length, gap]) => {
          const start = end + (isSequential ? 0 : gap);
          end = isSequential ? start + 12 : start + length;
          return start;
        });
        const rows: ApplyRows = {
          ...rowsOf(
            list.map(() => KIND_SET),
            isSequential ? { uniformLength: 10, sequential: true } : {},
          ),
          length: Int32Array.from(list, ([length]) => isSequential ? 10 : length),
          start: Int32Array.from(starts),
          payload: new Uint8Array(end),
        };
        if (!isSequential) rows.start.reverse(), rows.length.reverse();
        const chunks = cutRows(rows, { rowsMax, payloadBytes, bindingBytes });
        let next = 0;
        for (const { from, to, payloadFrom, payloadTo } of chunks) {
          assert.equal(from, next);
          assert(from % 4 === 0 && to > from && to - from <= rowsMax && payloadFrom % 4 === 0);
          assert(payloadTo - payloadFrom <= Math.max(bindingBytes, 4 * 12));
          for (let row = from; row < to; row++) {
            assert(rows.start[row] >= payloadFrom);
            assert(rows.start[row] + rows.length[row] <= payloadTo && payloadTo <= end);
          }
          next = to;
        }
        assert.equal(next, list.length);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("cutRows() refuses payloads that lie too far apart", () => {
  const rows = { ...rowsOf(Array(20_000).fill(KIND_SET)), payload: new Uint8Array(1_000_000) };
  for (let row = 0; row < 20_000; row++) rows.start[row] = row & 4 ? 900_000 : 0;
  const bounds = { rowsMax: 1000, payloadBytes: 64, bindingBytes: 100_000 };
  assert.throws(() => cutRows(rows, bounds), { code: "limit", message: /chunks; use the CPU/ });
  rows.start.forEach((_, row) => rows.start[row] = row & 1 ? 900_000 : 0);
  assert.throws(() => cutRows(rows, bounds), { code: "limit", message: /apart and it binds/ });
});

Deno.test("laneShiftOf() gives about a lane a word", () => {
  for (const [bytes, shift] of [[4, 0], [8, 1], [12, 2], [16, 2], [1024, 8], [1 << 20, 10]]) {
    assert.equal(laneShiftOf(rowsOf([0], { uniformLength: bytes })), shift);
  }
  assert.equal(laneShiftOf({ ...rowsOf([]), payload: new Uint8Array(0) }), 0);
});
