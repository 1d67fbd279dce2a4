/** The incremental order against reachability by search, and in the orders that are worst for it. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { EdgeTable } from "../physical/mod.ts";
import { IncrementalOrder } from "./incremental_order.ts";
import { COMING_EDGES } from "./topology.ts";
import { wayBetween } from "./traversal.ts";

/** Adds edges between rows 1 to n in the order of a list of sources; each leads to the next row. */
function chain(sources: Iterable<number>): { edges: EdgeTable; order: IncrementalOrder } {
  const edges = new EdgeTable(), order = new IncrementalOrder(edges);
  for (const row of sources) assert.notEqual(order.add(row, row + 1, 0, false), 0);
  return { edges, order };
}

/** 0 to n − 1, each once, in an order that looks random. */
function* scattered(count: number): Generator<number> {
  let room = 1;
  while (room < count) room *= 2;
  for (let i = 0, at = 0; i < room; i++, at = (5 * at + 12_345) % room) if (at < count) yield at;
}

Deno.test("IncrementalOrder.add() refuses just the edges that close a cycle", () => {
  const rows = 6, row = fc.integer({ min: 1, max: rows });
  const what = fc.constantFrom(
    "add",
    "add",
    "add",
    "add",
    "remove",
    "leave",
    "stay",
    "keep",
    "other",
    "row",
  );
  fc.assert(
    fc.property(
      fc.array(fc.tuple(what, row, row, fc.integer({ min: 0, max: 1 }), fc.boolean()), {
        maxLength: 150,
        size: "max",
      }),
      (steps) => {
        const edges = new EdgeTable(), order = new IncrementalOrder(edges);
        for (const [what, from, to, type, staged] of steps) {
          const edge = edges.find(from, to, type);
          const closes = wayBetween(edges, to, from, COMING_EDGES).length > 0;
          if (what === "remove" && edge !== 0) edges.remove(edge);
          else if (what === "row") edges.removeRow(from);
          else if (what === "leave" && edge !== 0) edges.setLeaving(edge, true);
          else if (what === "stay" && edge !== 0 && !closes) edges.setLeaving(edge, false);
          else if (what === "keep" && edge !== 0 && edges.isLeaving(edge)) {
            assert.equal(order.keep(edge), !closes);
            assert.equal(edges.isLeaving(edge), closes);
            assert(closes || order.isCurrent);
          } else if (what === "other" && edge === 0 && !closes) edges.add(from, to, type, staged);
          else if (what === "add" && edge === 0 && from !== to) {
            assert.equal(order.add(from, to, type, staged) === 0, closes, `${from} → ${to}`);
            assert.equal(edges.find(from, to, type) === 0, closes);
          }
          order.checkInvariants();
        }
        edges.checkInvariants();
      },
    ),
    { numRuns: 400 },
  );
});

Deno.test("IncrementalOrder.add() keeps up with 100,000 pages in a chain, built from either end or at random", () => {
  const count = 100_000;
  const forwards = Array.from({ length: count }, (_, row) => row + 1);
  const random = [...scattered(count)].map((at) => at + 1);
  for (const sources of [forwards, forwards.toReversed(), random]) {
    const { edges, order } = chain(sources);
    order.checkInvariants();
    assert.equal(edges.size, count);
    assert.equal(order.add(count + 1, 1, 0, false), 0);
    assert.equal(edges.size, count, "nothing changed");
    order.checkInvariants();
  }
});

Deno.test("IncrementalOrder.add() does not walk a long chain for each pair that is put before it", () => {
  // Here Pearce and Kelly's walks the chain for each pair: n²/4 steps, some 400 million for these 80,000 pages.
  const edges = new EdgeTable(), order = new IncrementalOrder(edges), half = 40_000;
  for (let row = 1; row < half; row++) order.add(row, row + 1, 0, false);
  let head = 1;
  for (let row = half + 1; row + 1 <= 2 * half; row += 2) {
    order.add(row, row + 1, 0, false);
    assert.notEqual(order.add(row + 1, head, 0, false), 0);
    head = row;
  }
  order.checkInvariants();
});

Deno.test("IncrementalOrder takes a place for a row that another page has now", () => {
  const edges = new EdgeTable(), order = new IncrementalOrder(edges);
  order.add(1, 2, 0, false);
  order.add(2, 3, 0, false);
  edges.removeRow(3);
  assert.notEqual(order.add(3, 1, 0, false), 0);
  assert.equal(order.add(2, 3, 0, false), 0);
  order.checkInvariants();
});
