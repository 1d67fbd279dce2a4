import assert from "node:assert/strict";
import fc from "fast-check";
import {
  combineKind,
  CPU_APPLY,
  DeltaBatch,
  KIND_MASKED,
  KIND_SET,
  PageStore,
  resolve,
} from "../physical/mod.ts";
import { captureRows } from "./capture.ts";
import { ChangeLog, RECORD_HEAD } from "./change_log.ts";
import { noteRows } from "./note_rows.ts";

const SIZES = [16, 16, 40, 100];

/** Pages with small numbers, so that rows often write what stands there. */
function newStore(): PageStore {
  const store = new PageStore(1 << 20);
  for (const [index, size] of SIZES.entries()) {
    const row = store.create(index + 1, { size, shard: 0, name: "" });
    store.table.setActive(row, true);
    store.arena.bytes(store.table.slot(row), size).fill(1);
  }
  return store;
}

interface Draft {
  readonly page: number;
  readonly kind: number;
  readonly offset: number;
  readonly length: number;
  readonly value: number;
}

const KINDS = [
  KIND_SET,
  KIND_SET,
  KIND_MASKED,
  combineKind("i32", "add"),
  combineKind("u32", "max"),
];

const programs: fc.Arbitrary<{ drafts: Draft[]; isAligned: boolean; isPlain: boolean }> = fc.record(
  {
    drafts: fc.array(
      fc.record({
        page: fc.nat(SIZES.length - 1),
        kind: fc.nat(KINDS.length - 1),
        offset: fc.nat(1000),
        length: fc.nat(1000),
        value: fc.constantFrom(0, 1, 1, 2),
      }),
      { maxLength: 30 },
    ),
    isAligned: fc.boolean(),
    isPlain: fc.boolean(),
  },
);

function batchOf(
  { drafts, isAligned, isPlain }: { drafts: Draft[]; isAligned: boolean; isPlain: boolean },
) {
  const batch = new DeltaBatch({ rows: 32, payloadBytes: 16_384 });
  for (const { page, kind: chosen, offset, length, value } of drafts) {
    const kind = isPlain ? KIND_SET : KINDS[chosen], size = SIZES[page];
    const step = isAligned || kind > KIND_MASKED ? 4 : 1;
    const at = offset % (size - 3), start = at - at % step;
    const bytes = step * (1 + length % Math.min(12, Math.floor((size - start) / step)));
    const payload = new Uint8Array(bytes).fill(value);
    if (kind === KIND_SET) batch.push(page + 1, start, payload);
    else if (kind === KIND_MASKED) {
      const mask = Uint8Array.from({ length: bytes + 7 >> 3 }, (_, i) => {
        return 0x55 & (1 << Math.min(8, bytes - 8 * i)) - 1;
      });
      const set = Math.ceil(bytes / 2);
      batch.pushMasked(page + 1, start, bytes, mask, payload.subarray(0, set));
    } else {
      const [type, operation] = kind === KINDS[3]
        ? ["i32", "add"] as const
        : ["u32", "max"] as const;
      batch.combine(page + 1, type, operation, start, value * 0x0101_0101);
    }
  }
  return batch;
}

/** For each page with records the words that they keep, as they were, and the pages in their order. */
function kept(log: ChangeLog) {
  return Array.from(log.touched.subarray(0, log.count), (row) => {
    const words = new Map<number, number>();
    for (let at = log.heads[row]; at !== 0; at = log.words[at + 3]) {
      for (let k = 0; k < log.words[at + 2]; k++) {
        words.set(log.words[at + 1] + k, log.words[at + RECORD_HEAD + k]);
      }
    }
    return [row, words] as const;
  });
}

Deno.test("noteRows() names the pages that captureRows() names, in its order, and leaves them as they are", () => {
  let silent = 0;
  fc.assert(
    fc.property(programs, (program) => {
      const batch = batchOf(program), stores = [newStore(), newStore()];
      const logs = stores.map((store) => {
        const log = new ChangeLog();
        log.reserveRows(store.table);
        return log;
      });
      const [shape] = stores.map((store) =>
        resolve({
          columns: batch.kernel,
          rows: batch.length,
          payloadLength: batch.payloadLength,
          strings: 1,
        }, store.table)
      );
      const before = stores[0].arena.words.slice();
      captureRows(batch.kernel, batch.length, shape, stores[0].arena, logs[0]);
      noteRows(batch.kernel, batch.length, shape, stores[1].arena, logs[1]);
      assert.deepEqual(stores[1].arena.words, before, "nothing is written");
      CPU_APPLY.apply(batch.kernel, batch.length, shape, stores[1]);
      assert.deepEqual(stores[1].arena.words, stores[0].arena.words);
      logs.forEach((log) => log.checkInvariants());
      const [captured, noted] = logs.map(kept);
      assert.deepEqual(noted.map(([row]) => row), captured.map(([row]) => row));
      if (batch.length > 0 && noted.length === 0) silent++;
      for (const [index, [row, words]] of captured.entries()) {
        const slot = stores[0].table.slot(row) << 2;
        for (const [word, old] of words) {
          // A word that is as before again may have no record.
          if (stores[0].arena.words[slot + word] === old) continue;
          assert.equal(noted[index][1].get(word), old, `word ${word} of row ${row}`);
        }
      }
      for (const [index, store] of stores.entries()) {
        logs[index].undo(store);
        assert.deepEqual(store.arena.words, before, "all of it can be taken back");
      }
    }),
    { numRuns: 500 },
  );
  assert.ok(silent > 0, "some batches write what stands there");
});
