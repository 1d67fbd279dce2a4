import assert from "node:assert/strict";
import fc from "fast-check";
import {
  COMBINE_KINDS,
  drafts,
  fit,
  type Flavour,
  flavours,
  fold,
  maskedPayload,
} from "./_rows_test.ts";
import { DeltaBatch, type DeltaRow } from "./delta_batch.ts";
import { combineKind, KIND_MASKED, KIND_SET, kindName } from "./kind.ts";
import { mergeBatch, type MergedBatch, mergeDeltas } from "./merge.ts";

/** Small pages, so that rows meet, and one that is not. */
const SIZES: readonly (readonly [number, number])[] = [[3, 24], [7, 8], [9, 40], [11, 3000]];

const abouts = fc.array(
  fc.record({
    source: fc.constantFrom("", "feed-a", "feed-b"),
    intent: fc.constantFrom("", "open", "close"),
    timeUs: fc.option(fc.integer({ min: -50, max: 50 }), { nil: undefined }),
    advance: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 0xffff_ffff })),
  }),
  { minLength: 1, maxLength: 9 },
);

/** Few kinds meet each other more often than many. */
const anyFlavour: fc.Arbitrary<Flavour> = fc.oneof(
  flavours,
  fc.record({
    kinds: fc.uniqueArray(fc.constantFrom(KIND_SET, KIND_MASKED, ...COMBINE_KINDS), {
      minLength: 1,
      maxLength: 3,
    }),
    align: fc.constantFrom(1, 4),
    uniform: fc.constantFrom(0, 8, 4),
    lengthMax: fc.constantFrom(8, 24),
  }),
);

function apply(pages: ReadonlyMap<number, Uint8Array>, rows: Iterable<DeltaRow>): void {
  for (const row of rows) fold(pages, row);
}

function copyOf(pages: ReadonlyMap<number, Uint8Array>): Map<number, Uint8Array> {
  return new Map([...pages].map(([page, bytes]) => [page, bytes.slice()]));
}

/** What every merge keeps, whatever the rows. */
function checkKept(rows: readonly DeltaRow[], advance: readonly number[], merged: MergedBatch) {
  const results = merged.batch.toRows();
  assert.ok(results.length <= rows.length);
  assert.equal(merged.advance.length, results.length);
  for (const [page] of SIZES) {
    const ins = rows.map((row, i) => ({ row, advance: advance[i] }))
      .filter(({ row }) => row.page === page);
    const outs = results.map((row, i) => ({ row, advance: merged.advance[i] }))
      .filter(({ row }) => row.page === page);
    assert.ok(outs.length <= ins.length && outs.length > 0 === ins.length > 0);
    const sum = (list: typeof ins) => list.reduce((sum, one) => sum + one.advance, 0);
    assert.equal(sum(outs), sum(ins));
    for (const { advance } of outs) assert.ok(advance >= 1);
    if (ins.length === 0) continue;
    const last = outs.at(-1)!.row;
    const latest = (key: "source" | "intent") =>
      ins.findLast(({ row }) => row[key] !== "")?.row[key] ?? "";
    // With one row of each the last one says all; otherwise a row of an earlier layer may.
    for (const key of ["source", "intent"] as const) {
      const said = outs.findLast(({ row }) => row[key] !== "")?.row[key] ?? "";
      assert.equal(said, latest(key));
      if (outs.length === 1) assert.equal(last[key], latest(key));
    }
    const times = (list: typeof ins) => list.map(({ row }) => row.timeUs ?? -Infinity);
    assert.equal(Math.max(...times(outs)), Math.max(...times(ins)));
  }
}

Deno.test("mergeBatch() changes pages just as its rows one by one, whatever was there before", () => {
  let merged = 0, all = 0;
  const met = new Set<string>();
  fc.assert(
    fc.property(
      drafts,
      anyFlavour,
      abouts,
      fc.uint8Array({ minLength: 8, maxLength: 64 }),
      fc.boolean(),
      (some, flavour, about, base, zeros) => {
        const rows = fit(some, SIZES, flavour).map((row, i) => {
          const { source, intent, timeUs } = about[i % about.length];
          return { ...row, source, intent, ...(timeUs === undefined ? {} : { timeUs }) };
        });
        const advance = rows.map((_, i) => about[i % about.length].advance);
        const pages = new Map(SIZES.map(([page, size]) => [
          page,
          zeros ? new Uint8Array(size) : Uint8Array.from({ length: size }, (_, i) => base[i % 64]),
        ]));
        const expected = copyOf(pages), found = copyOf(pages);
        const result = mergeBatch(DeltaBatch.from(rows), { advance, isNew: () => zeros });
        apply(expected, rows);
        apply(found, result.batch);
        for (const [page] of SIZES) assert.deepEqual(found.get(page), expected.get(page));
        checkKept(rows, advance, result);
        if (rows.length > 0) all += rows.length;
        merged += result.batch.length;
        for (const { kind } of result.batch) met.add(kindName(kind));
      },
    ),
    { numRuns: 2000 },
  );
  assert.ok(merged < 0.8 * all, `${merged} of ${all} rows are left`);
  assert.ok(met.size > 10, [...met].join());
});

Deno.test("mergeBatch() of integer, bit, min and max operations does not depend on their order", () => {
  const kinds = COMBINE_KINDS.filter((kind) => !["add f32", "add f64"].includes(kindName(kind)));
  fc.assert(
    fc.property(
      drafts,
      fc.constantFrom(...kinds),
      fc.infiniteStream(fc.nat()),
      fc.boolean(),
      (some, kind, order, zeros) => {
        const rows = fit(some, SIZES, { kinds: [kind], align: 4, uniform: 0, lengthMax: 16 });
        const shuffled = rows.map((row) => ({ row, key: order.next().value! }))
          .sort((a, b) => a.key - b.key).map(({ row }) => row);
        const states = [rows, shuffled].map((rows) => {
          const pages = new Map(SIZES.map(([page, size]) => [page, new Uint8Array(size)]));
          apply(pages, mergeBatch(DeltaBatch.from(rows), { isNew: () => zeros }).batch);
          return pages;
        });
        assert.deepEqual(states[0], states[1]);
      },
    ),
    { numRuns: 500 },
  );
});

const row = (rest: Partial<DeltaRow>): DeltaRow => ({
  page: 7,
  offset: 0,
  kind: KIND_SET,
  length: rest.payload?.length ?? 0,
  payload: new Uint8Array(0),
  source: "",
  intent: "",
  ...rest,
});

Deno.test("mergeDeltas() lets later bytes win and unites masks", () => {
  const masked = (length: number, ...bits: number[]) => {
    const payload = maskedPayload(length, Uint8Array.of(0));
    bits.forEach((bit) => payload[bit >> 3] |= 1 << bit % 8);
    return row({ kind: KIND_MASKED, length, payload: Uint8Array.of(...payload, ...bits) });
  };
  const [united, ...none] = mergeDeltas(masked(40, 1, 20), masked(40, 20, 39));
  assert.equal(none.length, 0);
  assert.deepEqual([united.kind, united.offset, united.length, united.advance], [1, 1, 39, 2]);
  assert.deepEqual([...united.payload], [0b1, 0, 0b1000, 0, 0b0100_0000, 1, 20, 39]);
  // Two spans far apart are fewer bytes as two rows.
  const far = [
    row({ payload: Uint8Array.of(1) }),
    row({ offset: 9000, payload: Uint8Array.of(2) }),
  ];
  assert.deepEqual(mergeDeltas(far[0], far[1]).map(({ offset }) => offset), [0, 9000]);
});

Deno.test("mergeDeltas() folds an operation onto bytes that it knows, a float add too", () => {
  const f64 = (value: number) => new Uint8Array(new Float64Array([value]).buffer);
  const add = row({ kind: combineKind("f64", "add"), payload: f64(0.2) });
  const [sum, ...none] = mergeDeltas(row({ payload: f64(0.1) }), add);
  assert.deepEqual([sum.kind, none.length], [KIND_SET, 0]);
  assert.deepEqual(sum.payload, f64(0.1 + 0.2));
  assert.deepEqual(mergeDeltas(add, add).map(({ advance, payload }) => [advance, payload]), [
    [1, f64(0.2)],
    [1, f64(0.2)],
  ]);
  // What an operation changed is covered by a set of all of it.
  const [set, ...nothing] = mergeDeltas(add, row({ payload: f64(3) }));
  assert.deepEqual([set.kind, set.advance, nothing.length], [KIND_SET, 2, 0]);
});

Deno.test("mergeDeltas() and mergeBatch() refuse what is no two deltas of a page", () => {
  const one = row({ payload: Uint8Array.of(1) });
  assert.throws(() => mergeDeltas(one, { ...one, page: 8 }), { code: "usage" });
  assert.throws(() => mergeDeltas(undefined as never, one), { code: "usage" });
  assert.throws(() => mergeDeltas({ ...one, advance: 0 }, one), { code: "out-of-bounds" });
  assert.throws(() => mergeDeltas({ ...one, advance: 1n as never }, one), { code: "usage" });
  const batch = DeltaBatch.from([one, one]);
  batch.columns.payloadStart[1] = 99;
  assert.throws(() => mergeBatch(batch), { code: "usage", message: /row 1/ });
  const odd = DeltaBatch.from([row({ kind: 0x11, length: 4, payload: new Uint8Array(4) })]);
  odd.columns.offset[0] = 2;
  assert.throws(() => mergeBatch(odd), { code: "usage", message: /multiples of 4/ });
  assert.throws(() => mergeBatch({} as never), { code: "usage" });
});

Deno.test("mergeBatch() never lets an advance pass 32 bits", () => {
  const batch = DeltaBatch.from([1, 2, 3].map((byte) => row({ payload: Uint8Array.of(byte) })));
  const merged = mergeBatch(batch, { advance: [0xffff_fffe, 1, 1] });
  assert.deepEqual([...merged.advance], [0xffff_ffff, 1]);
  assert.deepEqual(merged.batch.toRows().map(({ payload }) => payload[0]), [2, 3]);
});
