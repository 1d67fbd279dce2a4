import assert from "node:assert/strict";
import fc from "fast-check";
import { PAGE_ID_MAX } from "../base/mod.ts";
import { PageTable, RECORD_LIMIT, RECORD_SLOT, RECORD_WORDS } from "./page_table.ts";

interface Page {
  readonly slot: number;
  readonly size: number;
  readonly shard: number;
  active: boolean;
  epoch: number;
  cleanEpoch: number;
}

type Step = (table: PageTable, model: Map<number, Page>) => void;

/** Few ids and few blocks of ids, so that ids meet again; both ends of the range among them. */
const someId = fc.oneof(
  fc.integer({ min: 1, max: 12 }),
  fc.integer({ min: PAGE_ID_MAX - 12, max: PAGE_ID_MAX }),
  fc.integer({ min: 65_530, max: 65_542 }),
  fc.integer({ min: 2 ** 31 - 4, max: 2 ** 31 + 4 }),
  fc.integer({ min: 1, max: 6 }).map((block) => block * 65_536 * 1001),
);

const add = fc.tuple(
  someId,
  fc.integer({ min: 1, max: 2 ** 29 - 1 }),
  fc.constantFrom(1, 16, 4096, 2 ** 24),
  fc.integer({ min: 0, max: 255 }),
).map(([id, slot, size, shard]): Step => (table, model) => {
  if (model.has(id)) {
    assert.throws(() => table.add(id, slot, size, shard), { name: "MmsbAssertionError" });
    return;
  }
  const row = table.add(id, slot, size, shard);
  assert.equal(table.rowOf(id), row);
  model.set(id, { slot, size, shard, active: false, epoch: 0, cleanEpoch: 0 });
});

const remove = someId.map((id): Step => (table, model) => {
  if (model.delete(id)) table.remove(id);
  else assert.throws(() => table.remove(id), { name: "MmsbAssertionError" });
});

// No sum of these is a multiple of 2^32: marks are kept modulo 2^32.
const someAdvance = fc.constantFrom(1, 7, 2 ** 31 + 1, 2 ** 40 + 3);

const change = fc.tuple(someId, fc.boolean(), fc.boolean(), someAdvance)
  .map(([id, active, clean, rows]): Step => (table, model) => {
    const page = model.get(id), row = table.rowOf(id);
    if (page === undefined) return;
    table.setActive(row, page.active = active);
    table.setEpoch(row, page.epoch += rows);
    if (clean) table.markClean(row);
    if (clean) page.cleanEpoch = page.epoch;
  });

const look = someId.map((id): Step => (table, model) => {
  const page = model.get(id), row = table.rowOf(id);
  assert.equal(row !== 0, page !== undefined, `page ${id}`);
  if (page === undefined) return;
  assert.deepEqual(
    [table.slot(row), table.sizeOf(row), table.shards[row], table.isActive(row), table.epoch(row)],
    [page.slot, page.size, page.shard, page.active, page.epoch],
  );
  assert.equal(table.isDirty(row), page.epoch !== page.cleanEpoch);
  assert.equal(table.ids[row], id);
});

Deno.test("PageTable finds, changes and forgets pages as a map does", () => {
  const step = fc.oneof(add, add, remove, change, look);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => {
      const table = new PageTable(1000), model = new Map<number, Page>();
      for (const run of steps) {
        run(table, model);
        table.checkInvariants();
        assert.equal(table.size, model.size);
      }
      const ids = [...table.rows()].map((row) => table.ids[row]);
      assert.deepEqual(ids.toSorted(), [...model.keys()].toSorted());
    }),
    { numRuns: 60 },
  );
});

Deno.test("PageTable reuses rows, and gives a reused row no trace of its last page", () => {
  const table = new PageTable(100);
  table.add(1, 10, 16, 3);
  const row = table.add(2, 20, 32, 4);
  table.setActive(row, true);
  table.setEpoch(row, 9);
  table.markClean(row);
  table.remove(2);
  table.checkInvariants();
  assert.equal(table.rowOf(2), 0);
  assert.equal(table.isActive(row), false);
  assert.equal(table.add(70_000, 30, 48, 5), row);
  table.checkInvariants();
  assert.deepEqual(
    [table.slot(row), table.sizeOf(row), table.epoch(row), table.shards[row]],
    [30, 48, 0, 5],
  );
  assert.deepEqual([table.isActive(row), table.isDirty(row), table.size], [false, false, 2]);
});

Deno.test("PageTable.records hold slot and size so that one subtraction checks a span", () => {
  const table = new PageTable(100);
  const row = table.add(5, 77, 4096, 0), record = row * RECORD_WORDS;
  assert.equal(table.records[record + RECORD_SLOT], 77);
  assert.equal(table.records[record + RECORD_LIMIT], ~4096);
  table.setActive(row, true);
  table.setActive(row, true);
  assert.equal(table.records[record + RECORD_LIMIT], 4096);
  table.setActive(row, false);
  table.setActive(row, false);
  assert.equal(table.records[record + RECORD_LIMIT], ~4096);
  assert.equal(table.sizeOf(row), 4096);
  assert.ok(table.epochs.low.buffer instanceof SharedArrayBuffer);
  assert.ok(table.records.buffer instanceof SharedArrayBuffer);
});

Deno.test("PageTable grows past its first rows and keeps all pages", () => {
  const table = new PageTable(5000), id = (index: number) => 1 + index * 300;
  for (let index = 0; index < 5000; index++) {
    const row = table.add(id(index), index + 1, index % 100 + 1, index & 255);
    table.setEpoch(row, index);
    if (index % 900 === 0) table.checkInvariants();
  }
  table.checkInvariants();
  for (let index = 0; index < 5000; index++) {
    const row = table.rowOf(id(index));
    assert.deepEqual(
      [table.slot(row), table.sizeOf(row), table.shards[row], table.epoch(row), table.ids[row]],
      [index + 1, index % 100 + 1, index & 255, index, id(index)],
    );
    assert.equal(table.rowOf(id(index) + 1), 0);
  }
});

Deno.test("PageTable.add() refuses one page too many, whatever the size, and changes nothing", () => {
  for (const pagesMax of [1, 10, 1023, 1024, 1500]) {
    const table = new PageTable(pagesMax);
    for (let id = 1; id <= pagesMax; id++) table.add(id, id, 16, 0);
    const bytes = table.bookkeepingBytes();
    // Each in a block of ids of its own, so that a block left behind would show.
    for (const id of [pagesMax + 1, 65_536, 10 * 65_536, PAGE_ID_MAX]) {
      assert.throws(() => table.add(id, 1, 16, 0), {
        code: "limit",
        values: { pages: pagesMax, pagesMax },
      });
      table.checkInvariants();
      assert.deepEqual([table.rowOf(id), table.size], [0, pagesMax]);
    }
    assert.equal(table.bookkeepingBytes(), bytes);
    table.remove(1);
    table.add(65_536, 9, 16, 0);
    table.checkInvariants();
  }
});

Deno.test("PageTable gives blocks of ids back when their last page dies, and reuses them", () => {
  const table = new PageTable(100);
  const empty = table.bookkeepingBytes();
  for (let round = 0; round < 3; round++) {
    for (let block = 0; block < 8; block++) {
      const first = (round * 8 + block) * 65_536;
      table.add(first + 1, 1, 16, 0);
      table.add(first + 65_535, 2, 16, 0);
    }
    assert.equal(table.entries.length, 9 * 65_536, "blocks are reused, not added");
    for (let block = 7; block >= 0; block--) {
      const first = (round * 8 + block) * 65_536;
      table.remove(first + 1);
      assert.equal(table.slot(table.rowOf(first + 65_535)), 2);
      table.remove(first + 65_535);
      assert.equal(table.rowOf(first + 1), 0);
      table.checkInvariants();
    }
    assert.ok(table.bookkeepingBytes() <= empty + 16 * 25, "only rows stay");
  }
});

Deno.test("PageTable.add() refuses ids that are none", () => {
  const table = new PageTable(10);
  for (const id of [0, -1, PAGE_ID_MAX + 1, NaN]) {
    assert.throws(() => table.add(id, 1, 16, 0), { name: "MmsbAssertionError" });
  }
  table.checkInvariants();
  assert.equal(table.size, 0);
  assert.equal(table.rowOf(0), 0);
});

Deno.test("PageTable.isDirty() follows epochs past 2^32", () => {
  const table = new PageTable(10), row = table.add(1, 1, 16, 0);
  for (const epoch of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 45 + 3]) {
    table.setEpoch(row, epoch);
    table.markClean(row);
    assert.equal(table.isDirty(row), false, `clean at ${epoch}`);
    table.setEpoch(row, epoch + 1);
    assert.equal(table.isDirty(row), true, `dirty at ${epoch + 1}`);
  }
});

Deno.test("PageTable.bookkeepingBytes() stays below 32 bytes a page", () => {
  const table = new PageTable(100_000);
  for (let id = 1; id <= 65_535; id++) table.add(id, id, 16, 0);
  assert.ok(table.bookkeepingBytes() / 65_535 <= 30);
});

Deno.test("PageTable.checkInvariants() finds an id that leads to another page's row", () => {
  const table = new PageTable(10);
  table.add(1, 1, 16, 0);
  table.add(2, 2, 16, 0);
  table.ids[1] = 2;
  assert.throws(() => table.checkInvariants(), { name: "MmsbAssertionError" });
});
