/** The algorithms on whole graphs against the obvious ones: reachability by search from every page. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { edgeMask, EdgeTable } from "../physical/mod.ts";
import { closureOf } from "./closure.ts";
import { cyclicComponents } from "./components.ts";
import { cycleOf, GRAPH_EDGES, topologyOf } from "./topology.ts";
import { reachedFrom, reversePostOrder, wayBetween } from "./traversal.ts";

const ROWS = 12;
const ALL_ROWS = Array.from({ length: ROWS }, (_, row) => row + 1);
type Triple = readonly [from: number, to: number, type: number];

/** Any graph, or one whose edges lead to larger rows only and so has no cycle. */
const row = fc.integer({ min: 1, max: ROWS });
const triples = fc.array(fc.tuple(row, row, fc.integer({ min: 0, max: 3 })), { maxLength: 30 });
const graph: fc.Arbitrary<readonly Triple[]> = fc.oneof(
  triples,
  triples.map((edges) =>
    edges.map(([a, b, type]) => [Math.min(a, b), Math.max(a, b), type] as const)
  ),
);

function tableOf(triples: readonly Triple[]): EdgeTable {
  const edges = new EdgeTable();
  for (const [from, to, type] of triples) {
    if (from !== to && edges.find(from, to, type) === 0) edges.add(from, to, type);
  }
  return edges;
}

/** For each row the rows that a way of one edge or more leads to. */
function reachable(triples: readonly Triple[]): Map<number, Set<number>> {
  const reach = new Map(ALL_ROWS.map((row) => [row, new Set<number>()]));
  for (let round = 0; round < ROWS; round++) {
    for (const [from, to] of triples) {
      if (from === to) continue;
      reach.get(from)!.add(to);
      for (const further of reach.get(to)!) reach.get(from)!.add(further);
    }
  }
  return reach;
}

function sorted(rows: Iterable<number>): number[] {
  return [...rows].sort((a, b) => a - b);
}

Deno.test("topologyOf(), cycleOf() and cyclicComponents() agree with reachability", () => {
  fc.assert(
    fc.property(graph, (triples) => {
      const edges = tableOf(triples), reach = reachable(triples);
      const isAcyclic = ALL_ROWS.every((row) => !reach.get(row)!.has(row));
      const { rows, levels, isAcyclic: found } = topologyOf(edges);
      assert.equal(found, isAcyclic);
      const cycle = cycleOf(edges);
      assert.equal(cycle.length === 0, isAcyclic);
      cycle.forEach((row, at) => {
        const next = cycle[(at + 1) % cycle.length];
        assert([0, 1, 2, 3].some((type) => edges.find(row, next, type) !== 0), `${row} → ${next}`);
      });
      assert.equal(new Set(cycle).size, cycle.length);
      const components = cyclicComponents(edges).map(sorted).sort((a, b) => a[0] - b[0]);
      const expected = new Map<number, number[]>();
      for (const row of ALL_ROWS) {
        const mates = ALL_ROWS.filter((other) =>
          reach.get(row)!.has(other) && reach.get(other)!.has(row)
        );
        if (mates.length > 0) expected.set(mates[0], mates);
      }
      assert.deepEqual(components, sorted(expected.keys()).map((first) => expected.get(first)));
      if (!isAcyclic) return;
      const withEdges = ALL_ROWS.filter((row) =>
        triples.some(([a, b]) => a !== b && (a === row || b === row))
      );
      assert.deepEqual(sorted(rows), withEdges);
      // A level is the longest way from a row that nothing leads to.
      const level = new Map<number, number>();
      for (let at = 0; at + 1 < levels.length; at++) {
        for (const row of rows.subarray(levels[at], levels[at + 1])) level.set(row, at);
      }
      for (const row of withEdges) {
        const before = triples.filter(([a, b]) => a !== b && b === row).map(([a]) => level.get(a)!);
        assert.equal(level.get(row), before.length === 0 ? 0 : Math.max(...before) + 1);
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("reachedFrom(), wayBetween(), closureOf() and reversePostOrder() agree with reachability", () => {
  fc.assert(
    fc.property(graph, fc.integer({ min: 1, max: 15 }), (triples, types) => {
      const edges = tableOf(triples);
      const some = triples.filter(([, , type]) => (types >> type & 1) === 1),
        reach = reachable(some);
      const mask = edgeMask({
        types: (["data", "control", "gpu", "compiler"] as const).filter((_, type) =>
          types >> type & 1
        ),
      });
      for (const row of ALL_ROWS) {
        const out = reach.get(row)!;
        const into = ALL_ROWS.filter((other) => other !== row && reach.get(other)!.has(row));
        assert.deepEqual(
          sorted(reachedFrom(edges, [row], "out", mask)),
          sorted(out).filter((other) => other !== row),
        );
        assert.deepEqual(sorted(reachedFrom(edges, [row], "in", mask)), into);
        for (const other of ALL_ROWS) {
          const way = wayBetween(edges, row, other, mask);
          assert.equal(way.length > 0, row === other || out.has(other));
          if (way.length === 0) continue;
          assert.deepEqual([way[0], way[way.length - 1]], [row, other]);
          for (let depth = 0; depth < way.length - 1; depth++) {
            assert(
              !reachedFrom(edges, [row], "out", mask, depth).includes(other),
              "it is a shortest one",
            );
          }
          assert(
            row === other || reachedFrom(edges, [row], "out", mask, way.length - 1).includes(other),
          );
        }
      }
      if (ALL_ROWS.some((row) => reach.get(row)!.has(row))) {
        assert.throws(() => closureOf(edges, mask), { code: "cycle" });
        return;
      }
      const closure = closureOf(edges, mask), pairs = new Set([...closure.pairs()].map(String));
      for (const from of ALL_ROWS) {
        for (const to of ALL_ROWS) {
          assert.equal(closure.has(from, to), reach.get(from)!.has(to));
          assert.equal(pairs.has(`${from},${to}`), reach.get(from)!.has(to));
        }
      }
      const order = reversePostOrder(edges, ALL_ROWS, mask);
      assert.deepEqual(sorted(order), ALL_ROWS);
      for (const [from, to] of some) assert(from === to || order.indexOf(from) < order.indexOf(to));
    }),
    { numRuns: 200 },
  );
});

Deno.test("staged edges are walked only where a choice says so, leaving ones unless it says not", () => {
  const edges = tableOf([[1, 2, 0], [2, 3, 1]]);
  edges.add(3, 4, 0, true);
  edges.setLeaving(edges.find(1, 2, 0), true);
  assert.deepEqual(reachedFrom(edges, [1], "out", GRAPH_EDGES), [2, 3]);
  assert.deepEqual(reachedFrom(edges, [2], "out", edgeMask({ staged: true })), [3, 4]);
  assert.deepEqual(reachedFrom(edges, [1], "out", edgeMask({ leaving: false })), []);
  assert.deepEqual(reachedFrom(edges, [1], "out", edgeMask({ types: ["data"] })), [2]);
});

Deno.test("a chain of 1,000,000 pages is a graph like any other", () => {
  const edges = new EdgeTable(), count = 1_000_000;
  for (let row = count - 1; row > 0; row--) edges.add(row, row + 1, 0);
  const { rows, levels, isAcyclic } = topologyOf(edges);
  assert(isAcyclic && rows.length === count && levels.length === count + 1);
  assert.equal(rows.every((row, at) => row === at + 1), true);
  assert.equal(reachedFrom(edges, [1], "out").length, count - 1);
  assert.equal(reachedFrom(edges, [count], "in").length, count - 1);
  assert.equal(wayBetween(edges, 1, count).length, count);
  assert.equal(reversePostOrder(edges, [1]).every((row, at) => row === at + 1), true);
  assert.deepEqual(cyclicComponents(edges), []);
  assert.throws(() => closureOf(edges), { code: "limit" });
  edges.add(count, 1, 0);
  assert.equal(cycleOf(edges).length, count);
  assert.equal(cyclicComponents(edges)[0].length, count);
});
