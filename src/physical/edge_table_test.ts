/** The edge table against a set of texts. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { EdgeTable } from "./edge_table.ts";
import { EDGE, EDGE_TYPES } from "./edge_type.ts";
import { PageStore } from "./page_store.ts";

/** What the table must hold: each edge with "staged", "leaving" or neither. */
type Model = Map<string, { staged: boolean; leaving: boolean }>;

const ROWS = 70;

function keyOf(edges: EdgeTable, edge: number): string {
  return `${edges.from(edge)} ${edges.to(edge)} ${edges.type(edge)}`;
}

function holds(edges: EdgeTable, model: Model): void {
  edges.checkInvariants();
  assert.equal(edges.size, model.size);
  const all = [...edges.edges()];
  assert.deepEqual(all.map((edge) => keyOf(edges, edge)).toSorted(), [...model.keys()].toSorted());
  for (const edge of all) {
    const flags = model.get(keyOf(edges, edge));
    assert.deepEqual({ staged: edges.isStaged(edge), leaving: edges.isLeaving(edge) }, flags);
  }
  for (let row = 1; row <= ROWS; row++) {
    const out: string[] = [], into: string[] = [];
    for (let edge = edges.firstOut(row); edge !== 0; edge = edges.nextOut(edge)) {
      out.push(keyOf(edges, edge));
    }
    for (let edge = edges.firstIn(row); edge !== 0; edge = edges.nextIn(edge)) {
      into.push(keyOf(edges, edge));
    }
    const keys = [...model.keys()].map((key) => [key, ...key.split(" ").map(Number)] as const);
    const expectedOut = keys.filter(([, from]) => from === row).map(([key]) => key);
    const expectedIn = keys.filter(([, , to]) => to === row).map(([key]) => key);
    assert.deepEqual(out.toSorted(), expectedOut.toSorted());
    assert.deepEqual(into.toSorted(), expectedIn.toSorted());
  }
}

const row = fc.integer({ min: 1, max: ROWS });
const type = fc.integer({ min: 0, max: 3 });
const flag = fc.boolean();
const step = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.constant("edge" as const), row, row, type, flag) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("active" as const), row, row, type, flag) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("row" as const), row, row, type, flag) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("image" as const), row, row, type, flag) },
);

Deno.test("EdgeTable holds what a set holds, whatever is done to it", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
      const edges = new EdgeTable(), model: Model = new Map();
      let kept = { image: edges.image(), model: new Map(model), changes: 0 }, changes = 0;
      for (const [what, from, to, type, flag] of steps) {
        const key = `${from} ${to} ${type}`, edge = edges.find(from, to, type);
        assert.equal(edge !== 0, model.has(key), key);
        if (what === "row") {
          edges.removeRow(from);
          for (const [other, { staged }] of model) {
            const [a, b] = other.split(" ").map(Number);
            if (a !== from && b !== from) continue;
            model.delete(other);
            if (!staged) changes++;
          }
        } else if (what === "image" && flag) {
          kept = { image: edges.image(), model: structuredClone(model), changes };
        } else if (what === "image") {
          edges.restore(kept.image);
          model.clear();
          for (const [key, flags] of structuredClone(kept.model)) model.set(key, flags);
          changes = kept.changes;
        } else if (from === to) {
          continue;
        } else if (what === "active") {
          const flags = model.get(key);
          if (flags === undefined) continue;
          if (flags.staged) changes++;
          edges.setActive(edge);
          edges.setLeaving(edge, flag);
          model.set(key, { staged: false, leaving: flag });
        } else if (edge === 0) {
          const added = edges.add(from, to, type, flag);
          assert.equal(keyOf(edges, added), key);
          model.set(key, { staged: flag, leaving: false });
          if (!flag) changes++;
        } else {
          if (!edges.isStaged(edge)) changes++;
          edges.remove(edge);
          model.delete(key);
        }
        assert.equal(edges.changes, changes);
      }
      holds(edges, model);
      const again = new EdgeTable();
      again.restore(edges.image());
      holds(again, model);
      assert.deepEqual(again.image(), edges.image());
    }),
    { numRuns: 60 },
  );
});

Deno.test("EdgeTable costs nothing while there are no edges, and nothing once they are cleared", () => {
  const edges = new EdgeTable();
  assert.equal(edges.bookkeepingBytes(), 0);
  assert.deepEqual([edges.firstOut(9), edges.firstIn(9), edges.find(1, 2, 0)], [0, 0, 0]);
  edges.removeRow(3);
  edges.add(1, 2, 0);
  assert(edges.bookkeepingBytes() > 0);
  edges.clear();
  assert.deepEqual([edges.bookkeepingBytes(), edges.size, edges.firstOut(1)], [0, 0, 0]);
});

Deno.test("EdgeTable.add() refuses to have an edge twice, or from a page to itself", () => {
  const edges = new EdgeTable();
  edges.add(1, 2, 3);
  edges.add(1, 2, 2);
  edges.add(2, 1, 3);
  assert.throws(() => edges.add(1, 2, 3), /is new/);
  assert.throws(() => edges.add(1, 1, 0), /two ends/);
  assert.throws(() => edges.add(0, 1, 0), /two ends/);
  assert.throws(() => edges.add(2, 1, 4), /two ends/);
  assert.throws(() => edges.remove(9), /is there/);
  edges.checkInvariants();
});

Deno.test("EdgeTable takes 100,000 edges of one page and gives them back", () => {
  const edges = new EdgeTable(), count = 100_000;
  for (let row = 2; row <= count; row++) edges.add(1, row, row & 3);
  edges.checkInvariants();
  edges.removeRow(1);
  assert.equal(edges.size, 0);
  edges.checkInvariants();
  for (let row = 2; row <= count; row++) edges.add(row, 1, 0);
  assert.equal(edges.numbersMax, count, "numbers are used again");
  edges.checkInvariants();
});

Deno.test("EDGE_TYPES are in the order of their numbers", () => {
  assert.deepEqual(EDGE_TYPES.map((type) => EDGE[type]), [0, 1, 2, 3]);
  assert.deepEqual(EDGE_TYPES, ["data", "control", "gpu", "compiler"]);
});

function storeOf(pages: number): PageStore {
  const store = new PageStore(2 ** 20);
  for (let id = 1; id <= pages; id++) store.create(id, { size: 8, shard: 0, name: "" });
  return store;
}

Deno.test("PageStore.remove() takes the page's edges with it, and counts them", () => {
  const store = storeOf(4), row = (id: number) => store.table.rowOf(id);
  store.edges.add(row(1), row(2), 0);
  store.edges.add(row(2), row(3), 1);
  store.edges.add(row(3), row(4), 2);
  assert.equal(store.graphVersion, 3);
  store.remove(2);
  assert.equal(store.edges.size, 1);
  assert.equal(store.graphVersion, 5);
  store.create(5, { size: 8, shard: 0, name: "" });
  assert.equal(store.edges.firstOut(row(5)), 0);
  store.checkInvariants();
});

Deno.test("PageStore.restore() and clear() carry edges and graph version", () => {
  const store = storeOf(4), row = (id: number) => store.table.rowOf(id);
  store.graphVersion = 40;
  store.edges.add(row(1), row(2), 0);
  const image = store.image();
  store.edges.add(row(2), row(3), 0);
  store.remove(1);
  assert.equal(store.graphVersion, 43);
  store.restore(image);
  assert.equal(store.graphVersion, 41);
  assert.notEqual(store.edges.find(row(1), row(2), 0), 0);
  store.checkInvariants();
  const other = new PageStore(2 ** 20);
  other.restore(image);
  assert.deepEqual(other.image(), image);
  store.clear();
  assert.deepEqual([store.edges.size, store.graphVersion], [0, 0]);
  store.checkInvariants();
});
