/**
 * Traversal: descendants, ancestors, ways from one page to another, reverse post-order.
 *
 * All of it by loops over rows with arrays as their stack, so that a chain of a million pages is no
 * deeper than any other graph.
 *
 * Cost: O(rows and edges reached), and a byte or a word a row of the table of edges.
 *
 * @module
 */

import type { EdgeTable } from "../physical/mod.ts";
import { GRAPH_EDGES } from "./topology.ts";

/** Which way edges are walked. */
export type Direction = "out" | "in";

/**
 * Rows that can be reached from some rows, level by level, without the rows themselves.
 *
 * @param edges The edges.
 * @param starts Where to begin.
 * @param direction `out`: descendants; `in`: ancestors.
 * @param mask Which edges count.
 * @param depthMax Edges that a way may have, at most.
 */
export function reachedFrom(
  edges: EdgeTable,
  starts: Iterable<number>,
  direction: Direction,
  mask: number = GRAPH_EDGES,
  depthMax: number = Infinity,
): number[] {
  const seen = new Uint8Array(edges.rowsMax), rows: number[] = [];
  for (const row of starts) {
    if (row >= seen.length || seen[row] === 1) continue;
    seen[row] = 1;
    rows.push(row);
  }
  const count = rows.length, isOut = direction === "out";
  let at = 0, depth = 0;
  for (let end = rows.length; at < end && depth < depthMax; end = rows.length, depth++) {
    for (; at < end; at++) {
      const row = rows[at];
      let edge = isOut ? edges.firstOut(row) : edges.firstIn(row);
      while (edge !== 0) {
        const other = isOut ? edges.to(edge) : edges.from(edge);
        if (seen[other] === 0 && (mask >>> edges.kind(edge) & 1) !== 0) {
          seen[other] = 1;
          rows.push(other);
        }
        edge = isOut ? edges.nextOut(edge) : edges.nextIn(edge);
      }
    }
  }
  return rows.slice(count);
}

/**
 * A shortest way from one row to another.
 *
 * @returns The rows on it, both ends among them; empty where there is none.
 */
export function wayBetween(
  edges: EdgeTable,
  from: number,
  to: number,
  mask: number = GRAPH_EDGES,
): number[] {
  if (from === to) return [from];
  const before = new Int32Array(edges.rowsMax), rows = [from];
  if (from >= before.length || to >= before.length) return [];
  before[from] = from;
  for (let at = 0; at < rows.length && before[to] === 0; at++) {
    for (let edge = edges.firstOut(rows[at]); edge !== 0; edge = edges.nextOut(edge)) {
      const target = edges.to(edge);
      if (before[target] !== 0 || (mask >>> edges.kind(edge) & 1) === 0) continue;
      before[target] = rows[at];
      rows.push(target);
    }
  }
  if (before[to] === 0) return [];
  const way = [to];
  for (let row = to; row !== from; way.push(row)) row = before[row];
  return way.reverse();
}

/**
 * Rows in reverse post-order of a depth-first walk: where there is no cycle, a topological order.
 *
 * @param edges The edges.
 * @param starts Where to begin, in this order; the rows reached from the first one come last.
 * @param mask Which edges count.
 */
export function reversePostOrder(
  edges: EdgeTable,
  starts: Iterable<number>,
  mask: number = GRAPH_EDGES,
): number[] {
  const seen = new Uint8Array(edges.rowsMax), next = new Int32Array(edges.rowsMax);
  const order: number[] = [], stack: number[] = [];
  const enter = (row: number) => {
    seen[row] = 1;
    next[row] = edges.firstOut(row);
    stack.push(row);
  };
  for (const start of starts) {
    if (start >= seen.length) order.push(start);
    else if (seen[start] === 0) enter(start);
    while (stack.length > 0) {
      const row = stack[stack.length - 1], edge = next[row];
      if (edge === 0) {
        order.push(row);
        stack.pop();
        continue;
      }
      next[row] = edges.nextOut(edge);
      const target = edges.to(edge);
      if (seen[target] === 0 && (mask >>> edges.kind(edge) & 1) !== 0) enter(target);
    }
  }
  return order.reverse();
}
