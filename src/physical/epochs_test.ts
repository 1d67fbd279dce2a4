import assert from "node:assert/strict";
import fc from "fast-check";
import { DeltaBatch } from "./delta_batch.ts";
import { countEpochs, lowerEpochs, raiseEpochs, raiseEpochsAs } from "./epochs.ts";
import { Pages } from "./_pages_test.ts";

/** A batch with a row for each of the pages, resolved. */
function batchOf(pages: Pages, ids: readonly number[]): DeltaBatch {
  const batch = new DeltaBatch({ rows: ids.length + 1, payloadBytes: 4 * ids.length });
  for (const id of ids) batch.push(id, 0, Uint8Array.of(1));
  pages.resolve(batch);
  return batch;
}

Deno.test("raiseEpochs() and its kin count as plain numbers do, on both sides of 2^32 and 2^31", () => {
  const start = fc.oneof(
    fc.integer({ min: 0, max: 20 }),
    fc.tuple(
      fc.constantFrom(2 ** 31, 2 ** 32, 2 ** 33, 2 ** 40 + 2 ** 31, 2 ** 53 - 2 ** 40),
      fc.integer({ min: -20, max: 20 }),
    ).map(([power, by]) => power + by),
  );
  const ids = fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 40, size: "max" });
  const advances = fc.array(fc.constantFrom(1, 2, 7, 2 ** 31 - 1), {
    minLength: 40,
    maxLength: 40,
  });
  const starts = fc.tuple(start, start, start);
  fc.assert(fc.property(starts, ids, advances, (starts, ids, advances) => {
    const pages = new Pages([[1, 16], [2, 16], [3, 16]]), { table } = pages;
    const batch = batchOf(pages, ids), { kernel } = batch, rows = ids.length;
    const reset = () => starts.forEach((epoch, i) => table.setEpoch(table.rowOf(i + 1), epoch));
    /** Counts on from the starts; gives the epoch after each row. */
    const count = (by: (row: number) => number) => {
      const epochs = [...starts];
      return ids.map((id, row) => epochs[id - 1] += by(row));
    };
    const check = (after: readonly number[]) => {
      for (const id of [1, 2, 3]) {
        assert.equal(pages.epoch(id), after[ids.lastIndexOf(id)] ?? starts[id - 1]);
      }
    };
    reset();
    const one = count(() => 1);
    raiseEpochs(kernel, rows, table.epochs);
    check(one);
    assert.deepEqual([...kernel.epoch.subarray(0, rows)], one.map((epoch) => epoch | 0));
    lowerEpochs(kernel, rows, table.epochs);
    check([]);
    assert.ok(raiseEpochsAs(kernel, rows, table.epochs));
    check(one);
    lowerEpochs(kernel, rows, table.epochs);
    countEpochs(kernel, rows, table.epochs);
    check(one);
    reset();
    const many = count((row) => advances[row]);
    kernel.epoch.set(many);
    assert.ok(raiseEpochsAs(kernel, rows, table.epochs, Int32Array.from(advances)));
    check(many);
    if (rows > 0) {
      reset();
      kernel.epoch[rows - 1]++;
      assert.ok(!raiseEpochsAs(kernel, rows, table.epochs, Int32Array.from(advances)));
    }
    pages.checkInvariants();
  }));
});

Deno.test("raiseEpochs() counts past 2^32 and notes the low 32 bits; lowerEpochs() undoes it", () => {
  const pages = new Pages([[1, 16], [2, 16]]);
  const first = 2 ** 32 - 2;
  pages.table.setEpoch(pages.table.rowOf(2), first);
  const batch = new DeltaBatch({ rows: 8, payloadBytes: 64 });
  for (const page of [2, 1, 2, 2, 1]) batch.push(page, 0, Uint8Array.of(1));
  pages.resolve(batch);
  raiseEpochs(batch.kernel, 5, pages.table.epochs);
  assert.deepEqual([pages.epoch(1), pages.epoch(2)], [2, first + 3]);
  assert.deepEqual([...batch.kernel.epoch.subarray(0, 5)], [-1, 1, 0, 1, 2]);
  lowerEpochs(batch.kernel, 5, pages.table.epochs);
  assert.deepEqual([pages.epoch(1), pages.epoch(2)], [0, first]);
  pages.checkInvariants();
});

Deno.test("countEpochs() raises epochs as raiseEpochs() does and notes none", () => {
  const pages = new Pages([[1, 16], [2, 16]]);
  const batch = new DeltaBatch({ rows: 8, payloadBytes: 64 });
  for (const page of [2, 1, 2, 2]) batch.push(page, 0, Uint8Array.of(1));
  pages.resolve(batch);
  batch.kernel.epoch.fill(77);
  countEpochs(batch.kernel, 4, pages.table.epochs);
  assert.deepEqual([pages.epoch(1), pages.epoch(2)], [1, 3]);
  assert.ok(batch.kernel.epoch.every((epoch) => epoch === 77));
  lowerEpochs(batch.kernel, 4, pages.table.epochs);
  assert.deepEqual([pages.epoch(1), pages.epoch(2)], [0, 0]);
  pages.checkInvariants();
});

Deno.test("raiseEpochsAs() raises by the rows that a row stands for, and finds what differs", () => {
  const first = 2 ** 32 - 2;
  const cases: [number[] | undefined, number[], boolean][] = [
    [undefined, [-1, 1, 0], true],
    [undefined, [-1, 1, 1], false],
    [undefined, [0, 1, 0], false],
    [[1, 1, 1], [-1, 1, 0], true],
    [[5, 1, 2 ** 31 - 1], [3, 1, -(2 ** 31) + 2], true],
    [[5, 1, 2 ** 31 - 1], [3, 1, -(2 ** 31) + 3], false],
    [[5, 2, 1], [3, 1, 4], false],
  ];
  for (const [advance, carried, agree] of cases) {
    const pages = new Pages([[1, 16], [2, 16]]), { epochs } = pages.table;
    pages.table.setEpoch(pages.table.rowOf(2), first);
    const batch = new DeltaBatch({ rows: 8, payloadBytes: 64 });
    for (const page of [2, 1, 2]) batch.push(page, 0, Uint8Array.of(1));
    pages.resolve(batch);
    batch.kernel.epoch.set(carried);
    assert.equal(
      raiseEpochsAs(batch.kernel, 3, epochs, advance && Int32Array.from(advance)),
      agree,
    );
    const [a, b, c] = advance ?? [1, 1, 1];
    assert.deepEqual([pages.epoch(1), pages.epoch(2)], [b, first + a + c]);
    assert.deepEqual([...batch.kernel.epoch.subarray(0, 3)], carried);
    pages.checkInvariants();
  }
});
