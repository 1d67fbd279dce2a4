/**
 * Strongly connected components: which pages lie on common cycles.
 *
 * A bus never lets a cycle come up; a log that was damaged, or written by something else, may hold one,
 * and a report should say which pages it runs through. The algorithm is Tarjan's ("Depth-First Search and
 * Linear Graph Algorithms", SIAM Journal on Computing 1(2), 1972), with its recursion as a stack.
 *
 * Cost: O(rows + edges), 13 bytes a row of the table of edges.
 *
 * @module
 */

import type { EdgeTable } from "../physical/mod.ts";
import { GRAPH_EDGES } from "./topology.ts";

/**
 * The components of more than one row.
 *
 * @param edges The edges.
 * @param mask Which of them count.
 * @returns For each component its rows; of two components the one that leads to the other comes later.
 */
export function cyclicComponents(edges: EdgeTable, mask: number = GRAPH_EDGES): number[][] {
  const rowsMax = edges.rowsMax, components: number[][] = [];
  const index = new Int32Array(rowsMax), low = new Int32Array(rowsMax);
  const next = new Int32Array(rowsMax), isOpen = new Uint8Array(rowsMax);
  const open: number[] = [], stack: number[] = [];
  let count = 0;
  const enter = (row: number) => {
    index[row] = low[row] = ++count;
    next[row] = edges.firstOut(row);
    isOpen[row] = 1;
    open.push(row);
    stack.push(row);
  };
  const leave = (row: number) => {
    stack.pop();
    const parent = stack[stack.length - 1] ?? 0;
    if (parent !== 0 && low[row] < low[parent]) low[parent] = low[row];
    if (low[row] !== index[row]) return;
    const members = open.splice(open.lastIndexOf(row));
    for (const member of members) isOpen[member] = 0;
    if (members.length > 1) components.push(members);
  };
  for (let start = 1; start < rowsMax; start++) {
    if (index[start] !== 0 || edges.firstOut(start) === 0) continue;
    enter(start);
    while (stack.length > 0) {
      const row = stack[stack.length - 1], edge = next[row];
      if (edge === 0) {
        leave(row);
        continue;
      }
      next[row] = edges.nextOut(edge);
      if ((mask >>> edges.kind(edge) & 1) === 0) continue;
      const target = edges.to(edge);
      if (index[target] === 0) enter(target);
      else if (isOpen[target] === 1 && index[target] < low[row]) low[row] = index[target];
    }
  }
  return components;
}
