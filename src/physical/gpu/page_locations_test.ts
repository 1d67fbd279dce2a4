/** Page locations: where pages are, and what lists of them say; device_pages_test.ts has what that adds up to. */

import assert from "node:assert/strict";
import { PageStore } from "../page_store.ts";
import {
  HEAD_BASE,
  HEAD_FLAGS,
  HEAD_RANGES,
  HEAD_VERSION,
  PAGE_KEPT,
  PAGE_WRITTEN,
  type PageList,
} from "./page_list.ts";
import { PageLocations, type TickRecords } from "./page_locations.ts";

const RECORDS = { used: 1, count: 0, touched: new Int32Array(8), heads: new Int32Array(8) };

/** Records of one page: first word and words of each. */
function recordsOf(row: number, ...spans: [number, number][]): TickRecords {
  const words = [0], heads = new Int32Array(8);
  for (const [word, length] of spans) {
    const at = words.length;
    words.push(row, word, length, heads[row], ...new Array(length).fill(0));
    heads[row] = at;
  }
  const touched = Int32Array.of(row), count = spans.length > 0 ? 1 : 0;
  return { words: Int32Array.from(words), used: words.length, heads, touched, count };
}

function open(pages = 3) {
  const store = new PageStore(2 ** 20), { table } = store;
  for (let id = 1; id <= pages; id++) store.create(id, { size: 100_000, shard: 0, name: "" });
  return { store, table, locations: new PageLocations(table) };
}

/** What the only page of a list has to be sent: `whole`, or ranges. */
function sent({ count, heads, ranges, rangeCount }: PageList): "whole" | number[] {
  assert.equal(count, 1);
  assert.equal(rangeCount, heads[HEAD_RANGES]);
  return heads[HEAD_BASE] === 0 ? "whole" : [...ranges.subarray(0, 2 * rangeCount)];
}

Deno.test("PageLocations.location() is cpu, unified or gpu as was asked for", () => {
  const { store, locations } = open();
  assert.equal(locations.location(1), "cpu");
  locations.take([1, 2]);
  locations.keep(2);
  locations.keep(3);
  assert.deepEqual([1, 2, 3].map((id) => locations.location(id)), ["unified", "gpu", "gpu"]);
  locations.share(3);
  locations.drop(1);
  assert.deepEqual([1, 2, 3].map((id) => locations.location(id)), ["cpu", "gpu", "unified"]);
  const list = locations.take([2, 3]);
  assert.deepEqual([list.heads[HEAD_FLAGS], list.heads[7 + HEAD_FLAGS]], [PAGE_KEPT, 0]);
  assert.deepEqual([...list.gone], [1]);
  assert.deepEqual([...locations.take([]).gone], []);
  locations.evicted([2, 3, 7]);
  assert.deepEqual([1, 2, 3].map((id) => locations.location(id)), ["cpu", "gpu", "cpu"]);
  assert.equal(sent(locations.take([2])), "whole");
  store.remove(2);
  assert.equal(locations.location(2), "cpu");
  assert.deepEqual(locations.rows(), []);
  assert.throws(() => locations.keep(2));
  locations.checkInvariants();
});

Deno.test("PageLocations.take() lists a page whole, then what changed, and versions follow each other", () => {
  const { locations } = open();
  assert.equal(sent(locations.take([1])), "whole");
  const first = locations.take([1]), version = first.heads[HEAD_VERSION];
  assert.deepEqual(sent(first), []);
  assert.equal(first.heads[HEAD_BASE], version);
  locations.endTick({ log: recordsOf(1, [5, 1], [4, 3]), isCommitted: true, isComplete: true });
  assert.equal(locations.statistics().dirtyBytes, 12);
  assert.deepEqual(locations.rows("dirty"), [1]);
  const list = locations.take([1]);
  assert.deepEqual(sent(list), [16, 28]);
  assert.equal(list.heads[HEAD_BASE], version);
  assert.notEqual(list.heads[HEAD_VERSION], version);
  assert.deepEqual(locations.rows("dirty"), []);
});

Deno.test("PageLocations.take() in a tick takes each record once", () => {
  const { table, locations } = open();
  locations.take([1]);
  assert.deepEqual(sent(locations.take([1], { log: recordsOf(1, [0, 1]) })), [0, 4]);
  assert.deepEqual(sent(locations.take([1], { log: recordsOf(1, [0, 1]) })), []);
  const log = recordsOf(1, [0, 1], [9000, 2]);
  assert.deepEqual(sent(locations.take([1], { log })), [36_000, 36_008]);
  locations.endTick({ log, isCommitted: true, isComplete: true });
  assert.deepEqual(sent(locations.take([1])), []);
  // Where an epoch has risen and nothing was changed, once is enough.
  locations.take([2]);
  const none = recordsOf(1);
  table.setEpoch(2, 1);
  assert.equal(sent(locations.take([2], { log: none })), "whole");
  assert.deepEqual(sent(locations.take([2], { log: none })), []);
  // The next tick's records begin anew.
  assert.deepEqual(sent(locations.take([1], { log: recordsOf(1, [0, 1]) })), [0, 4]);
});

Deno.test("PageLocations.inStep() keeps what a job wrote from being sent again, and nothing else does", () => {
  const { locations } = open();
  locations.take([1]);
  const list = locations.take([1], { log: recordsOf(1), writes: [0] });
  assert.equal(list.heads[HEAD_FLAGS], PAGE_WRITTEN);
  const log = recordsOf(1, [7, 1]);
  locations.inStep(1, log);
  locations.endTick({ log, isCommitted: true, isComplete: true });
  assert.deepEqual(sent(locations.take([1])), []);
  locations.take([1], { log: recordsOf(1), writes: [0] });
  locations.endTick({ log, isCommitted: true, isComplete: true });
  assert.equal(sent(locations.take([1])), "whole");
});

Deno.test("PageLocations send a page whole that a tick changed which does not count", () => {
  for (const then of ["between", "records", "untold"]) {
    const { table, locations } = open();
    locations.take([1]);
    locations.beginTick();
    table.setEpoch(1, 1);
    const log = recordsOf(1, [7, 1]);
    locations.take([1], { log });
    locations.endTick({ log, isCommitted: false, isComplete: true });
    table.setEpoch(1, 0);
    if (then === "records") {
      table.setEpoch(1, 1);
      assert.equal(sent(locations.take([1], { log: recordsOf(1, [90, 1]) })), "whole");
      continue;
    }
    if (then === "untold") table.setEpoch(1, 1);
    assert.equal(sent(locations.take([1])), "whole");
  }
  // Of another tick that reaches the same epoch nothing is known, either.
  const { table, locations } = open();
  locations.beginTick();
  table.setEpoch(1, 1);
  locations.take([1], { log: recordsOf(1) });
  locations.endTick({ isCommitted: false, isComplete: true });
  locations.take([1], { log: recordsOf(1) });
  table.setEpoch(1, 1);
  locations.endTick({ isCommitted: true, isComplete: false });
  assert.equal(sent(locations.take([1])), "whole");
});

Deno.test("PageLocations send a page whole that changed in another way", () => {
  const { store, table, locations } = open();
  const all = [1, 2, 3];
  const dirty = () => {
    const { heads } = locations.take(all);
    return all.filter((_, i) => heads[7 * i + HEAD_BASE] === 0);
  };
  assert.deepEqual(dirty(), all);
  assert.deepEqual(dirty(), []);
  table.setEpoch(2, 5);
  assert.deepEqual(dirty(), [2]);
  // A tick of which not everything was told.
  table.setEpoch(3, 1);
  locations.endTick({ isCommitted: true, isComplete: false });
  assert.deepEqual(dirty(), [3]);
  table.setEpoch(3, 2);
  locations.endTick({ isCommitted: true, isComplete: true });
  assert.deepEqual(dirty(), []);
  // Between ticks, and then by a tick that says all that it does.
  table.setEpoch(3, 3);
  locations.beginTick();
  table.setEpoch(3, 4);
  locations.endTick({ isCommitted: true, isComplete: true });
  assert.deepEqual(dirty(), [3]);
  // Its tail is zero, and it is as long as it was.
  store.resize(1, 50);
  store.resize(1, 100_000);
  assert.deepEqual(dirty(), all);
  // Epochs are as they were.
  const image = store.image();
  table.setEpoch(1, 1);
  assert.deepEqual(dirty(), [1]);
  store.restore(image);
  table.setEpoch(1, 1);
  assert.deepEqual(dirty(), all);
  // Another page of the same size in the same row, at the same epoch.
  store.remove(2);
  assert.equal(store.create(9, { size: 100_000, shard: 0, name: "" }), 2);
  table.setEpoch(2, 5);
  assert.deepEqual(dirty(), [2]);
  assert.equal(locations.location(9), "unified");
  locations.clear();
  assert.equal(locations.size, 0);
  assert.deepEqual([...locations.take([]).gone].sort(), all);
});

Deno.test("PageLocations keep a page that was resized, and forget one whose row has another", () => {
  const { store, locations } = open();
  locations.keep(1);
  locations.keep(2);
  locations.take([1, 2]);
  store.resize(1, 10);
  store.remove(2);
  store.create(9, { size: 100_000, shard: 0, name: "" });
  locations.take([1, 2]);
  assert.deepEqual([1, 2, 9].map((id) => locations.location(id)), ["gpu", "cpu", "unified"]);
  assert.deepEqual(locations.statistics(), { pages: 2, bytes: 100_012, kept: 1, dirtyBytes: 0 });
  store.remove(9);
  locations.endTick({ isCommitted: true, isComplete: true });
  assert.equal(locations.size, 1);
  assert.deepEqual([...locations.take([]).gone], [2]);
  locations.checkInvariants();
});

Deno.test("PageLocations.deviceGone() leaves the pages that are kept, to be sent whole", () => {
  const { locations } = open();
  locations.keep(1);
  locations.take([1, 2, 3]);
  locations.drop(3);
  locations.deviceGone();
  assert.deepEqual([locations.rows("kept"), locations.rows()], [[1], [1]]);
  const list = locations.take([1]);
  assert.equal(sent(list), "whole");
  assert.deepEqual([...list.gone], []);
});

Deno.test("PageLocations.noteRows() notes rows of pages with copies, and rows of new pages do no harm", () => {
  const { store, locations } = open();
  locations.take([2]);
  for (let id = 4; id < 2000; id++) store.create(id, { size: 16, shard: 0, name: "" });
  const columns = {
    record: Int32Array.of(1 << 1, 2 << 1, 1999 << 1),
    offset: Int32Array.of(0, 5, 0),
    length: Int32Array.of(4, 2, 4),
  };
  locations.noteRows(columns, 3);
  locations.endTick({
    log: { ...RECORDS, words: Int32Array.of(0) },
    isCommitted: true,
    isComplete: true,
  });
  assert.deepEqual(sent(locations.take([2])), [4, 8]);
  assert.equal(sent(locations.take([1999])), "whole");
});

Deno.test("PageLocations.noteRows() joins what it notes of a small page", () => {
  const store = new PageStore(2 ** 20), locations = new PageLocations(store.table);
  for (let id = 1; id <= 2; id++) store.create(id, { size: 2000, shard: 0, name: "" });
  locations.take([1, 2]);
  const spans = [[500, 10], [101, 3], [800, 6], [400, 4]];
  locations.noteRows({
    record: Int32Array.from(spans, () => 1 << 1),
    offset: Int32Array.from(spans, ([offset]) => offset),
    length: Int32Array.from(spans, ([, length]) => length),
  }, spans.length);
  assert.deepEqual(locations.rows("dirty"), [1]);
  assert.equal(locations.statistics().dirtyBytes, 708);
  const columns = { offset: Int32Array.of(4), length: Int32Array.of(4) };
  locations.noteRows({ ...columns, record: Int32Array.of(1 << 1) }, 1);
  locations.noteRows({ ...columns, record: Int32Array.of(2 << 1) }, 1);
  assert.deepEqual(sent(locations.take([1])), [4, 808]);
  assert.deepEqual(sent(locations.take([1])), []);
  assert.deepEqual(sent(locations.take([2])), [4, 8]);
  locations.checkInvariants();
});
