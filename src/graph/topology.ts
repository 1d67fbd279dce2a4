/**
 * Topology of a whole graph: levels and topological order by Kahn's algorithm, and the cycle check.
 *
 * A level holds the pages whose longest way from a page without edges into it has the same length, so
 * all its edges come from levels before. What is left over where no page without open edges is found
 * lies on cycles or behind them; one cycle is then named.
 *
 * Cost: O(pages + edges), 12 bytes a row. Pages without any edge are not looked at: they are no matter here.
 *
 * @module
 */

import { edgeMask, type EdgeTable } from "../physical/mod.ts";

/** Rows in topological order, level by level. */
export interface Topology {
  /** Rows that have an edge, each behind all that lead to it; without those on or behind a cycle. */
  readonly rows: Int32Array;
  /** Where each level begins in `rows`, and where the last one ends. */
  readonly levels: Int32Array;
  /** Whether there is no cycle. */
  readonly isAcyclic: boolean;
}

/** All edges of the graph as the last tick left it. */
export const GRAPH_EDGES: number = edgeMask();
/** The edges of the graph as the next tick will leave it. */
export const COMING_EDGES: number = edgeMask({ staged: true, leaving: false });

/**
 * Works out levels.
 *
 * @param edges The edges.
 * @param mask Which of them count; see {@linkcode edgeMask}.
 */
export function topologyOf(edges: EdgeTable, mask: number = GRAPH_EDGES): Topology {
  const rowsMax = edges.rowsMax, open = new Int32Array(rowsMax);
  const rows = new Int32Array(rowsMax), starts: number[] = [0];
  let count = 0, vertices = 0;
  for (let row = 1; row < rowsMax; row++) {
    let into = 0, out = 0;
    for (let edge = edges.firstIn(row); edge !== 0; edge = edges.nextIn(edge)) {
      into += mask >>> edges.kind(edge) & 1;
    }
    if (into === 0) {
      for (let edge = edges.firstOut(row); edge !== 0 && out === 0; edge = edges.nextOut(edge)) {
        out = mask >>> edges.kind(edge) & 1;
      }
      if (out === 0) continue;
      rows[count++] = row;
    }
    open[row] = into;
    vertices++;
  }
  for (let first = 0; first < count;) {
    const end = count;
    starts.push(end);
    for (; first < end; first++) {
      for (let edge = edges.firstOut(rows[first]); edge !== 0; edge = edges.nextOut(edge)) {
        if ((mask >>> edges.kind(edge) & 1) === 0) continue;
        const target = edges.to(edge);
        if (--open[target] === 0) rows[count++] = target;
      }
    }
  }
  return {
    rows: rows.subarray(0, count),
    levels: Int32Array.from(starts),
    isAcyclic: count === vertices,
  };
}

/**
 * One cycle of a graph.
 *
 * @returns Its rows, each with an edge to the next one and the last with one to the first; empty where there
 * is no cycle.
 */
export function cycleOf(edges: EdgeTable, mask: number = GRAPH_EDGES): Int32Array {
  const { rows, isAcyclic } = topologyOf(edges, mask);
  if (isAcyclic) return new Int32Array(0);
  const done = new Uint8Array(edges.rowsMax);
  for (const row of rows) done[row] = 1;
  // Each row left over has an edge from one that is left over too: going back must come round.
  const seen = new Int32Array(edges.rowsMax), way: number[] = [];
  let row = firstLeft(edges, done, mask);
  while (seen[row] === 0) {
    seen[row] = way.push(row);
    row = sourceLeft(edges, done, row, mask);
  }
  return Int32Array.from(way.slice(seen[row] - 1).reverse());
}

function firstLeft(edges: EdgeTable, done: Uint8Array, mask: number): number {
  for (let row = 1; row < done.length; row++) {
    if (done[row] === 0 && sourceLeft(edges, done, row, mask) !== 0) return row;
  }
  return 0;
}

/** A row that is left over and has an edge to this one, 0 where there is none. */
function sourceLeft(edges: EdgeTable, done: Uint8Array, row: number, mask: number): number {
  for (let edge = edges.firstIn(row); edge !== 0; edge = edges.nextIn(edge)) {
    if ((mask >>> edges.kind(edge) & 1) !== 0 && done[edges.from(edge)] === 0) {
      return edges.from(edge);
    }
  }
  return 0;
}
