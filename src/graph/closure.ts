/**
 * Transitive closure: for each page all that it leads to, directly or not.
 *
 * The closure of n pages can have n² pairs, so it is given as rows of bits over the pages that have edges,
 * each row the sum of those of its targets, made from the end of the topological order; and it is
 * refused before it takes more than `CLOSURE_BYTES_MAX`.
 *
 * Cost: n² / 8 bytes, edges × n / 32 steps.
 *
 * @module
 */

import { CLOSURE_BYTES_MAX, MmsbError } from "../base/mod.ts";
import type { EdgeTable } from "../physical/mod.ts";
import { GRAPH_EDGES, topologyOf } from "./topology.ts";

/** The closure of a graph without cycles. */
export class Closure {
  /** Rows of the page table, in topological order. */
  readonly rows: Int32Array;
  /** Place of each row in `rows`, from 1; 0 where it has no edge. */
  readonly #places: Int32Array;
  readonly #words: number;
  readonly #bits: Uint32Array;

  /** @ignore Made by {@linkcode closureOf}. */
  constructor(rows: Int32Array, places: Int32Array, words: number, bits: Uint32Array) {
    this.rows = rows;
    this.#places = places;
    this.#words = words;
    this.#bits = bits;
  }

  /** Whether a way of at least one edge leads from one row to another. */
  has(from: number, to: number): boolean {
    const at = this.#placeOf(from), target = this.#placeOf(to);
    if (at < 0 || target < 0) return false;
    return (this.#bits[at * this.#words + (target >>> 5)] >>> (target & 31) & 1) === 1;
  }

  /** All pairs, by the order of their sources. */
  *pairs(): Generator<readonly [from: number, to: number]> {
    for (let at = 0; at < this.rows.length; at++) {
      for (let word = 0; word < this.#words; word++) {
        for (let rest = this.#bits[at * this.#words + word]; rest !== 0; rest &= rest - 1) {
          yield [this.rows[at], this.rows[32 * word + 31 - Math.clz32(rest & -rest)]];
        }
      }
    }
  }

  #placeOf(row: number): number {
    return row < this.#places.length ? this.#places[row] - 1 : -1;
  }
}

/**
 * Works out the closure.
 *
 * @throws {MmsbError} `limit` where it would take too much memory, `cycle` where the graph has a cycle.
 */
export function closureOf(edges: EdgeTable, mask: number = GRAPH_EDGES): Closure {
  const { rows, isAcyclic } = topologyOf(edges, mask);
  if (!isAcyclic) {
    throw new MmsbError(
      "cycle",
      "Cannot work out the closure of a graph with a cycle: see check()",
    );
  }
  const words = rows.length + 31 >>> 5, bytes = 4 * words * rows.length;
  if (bytes > CLOSURE_BYTES_MAX) {
    throw new MmsbError(
      "limit",
      `Cannot work out the closure of ${rows.length} pages as it takes ${bytes} bytes, at most ${CLOSURE_BYTES_MAX} are allowed: ask for descendants of single pages`,
      { values: { pages: rows.length, bytes, bytesMax: CLOSURE_BYTES_MAX } },
    );
  }
  const places = new Int32Array(edges.rowsMax), bits = new Uint32Array(words * rows.length);
  rows.forEach((row, at) => places[row] = at + 1);
  for (let at = rows.length - 1; at >= 0; at--) {
    const own = at * words;
    for (let edge = edges.firstOut(rows[at]); edge !== 0; edge = edges.nextOut(edge)) {
      if ((mask >>> edges.kind(edge) & 1) === 0) continue;
      const target = places[edges.to(edge)] - 1, other = target * words;
      bits[own + (target >>> 5)] |= 1 << (target & 31);
      // All that a row leads to comes behind it.
      for (let word = target >>> 5; word < words; word++) bits[own + word] |= bits[other + word];
    }
  }
  return new Closure(rows, places, words, bits);
}
