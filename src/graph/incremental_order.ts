/**
 * Incremental order: a topological order of the pages that have edges, kept up edge by edge, so that an
 * edge that would close a cycle is found when it is asked for, without a search of the whole graph.
 *
 * It is the two-way search of Haeupler, Kavitha, Mathew, Sen and Tarjan ("Incremental Cycle Detection,
 * Topological Ordering, and Strong Component Maintenance", ACM Transactions on Algorithms 8(1), 2012,
 * sections 2 and 3), in the ordered form with two heaps. Where an edge source → target goes against the
 * order, the search walks forward from the target and backward from the source by turns, an edge on each side,
 * until one side has nothing left between the two; so it costs what the smaller side costs. (Pearce and
 * Kelly, "A Dynamic Topological Sort Algorithm for Directed Acyclic Graphs", ACM JEA 11, 2006, walk both
 * sides to the end: a chain of n pages that grows by pairs at the wrong end then takes n² steps.) A page comes
 * into the order with its first edge, at the end that needs no search.
 *
 * Cost: O(√m log n) amortised an edge at worst for m edges; an edge that goes with the order takes some
 * ten ns. 25 bytes a row, nothing while there are no edges. Removing an edge changes nothing here.
 *
 * @module
 */

import { assert } from "../base/mod.ts";
import type { EdgeTable } from "../physical/mod.ts";
import { OrderList } from "./order_list.ts";
import { RowHeap } from "./row_heap.ts";
import { COMING_EDGES, topologyOf } from "./topology.ts";

const FORWARD = 1;
const BACKWARD = 2;

/** A topological order of the rows that have edges. */
export class IncrementalOrder {
  readonly #edges: EdgeTable;
  readonly #list: OrderList = new OrderList();
  readonly #forward: RowHeap = new RowHeap(1);
  readonly #backward: RowHeap = new RowHeap(-1);
  /** Side of each row that the search has reached. */
  #side = new Uint8Array(0);
  /** The next edge of each row that the search has not walked. */
  #cursor = new Int32Array(0);
  #reached: number[] = [];
  /** {@linkcode EdgeTable.arrivals} that the order knows of; no edges have arrived in a new table. */
  #known = -1;

  /** Makes one over a table, which may have edges already. */
  constructor(edges: EdgeTable) {
    this.#edges = edges;
  }

  /**
   * Adds an edge that is not there, if it closes no cycle.
   *
   * @param from Row of its source.
   * @param to Row of its target.
   * @param type Number of its type.
   * @param staged Whether it is only staged.
   * @returns Its number; 0, with nothing changed, where it would close a cycle.
   * @throws {MmsbError} `limit` where there are too many edges.
   */
  add(from: number, to: number, type: number, staged: boolean): number {
    if (!this.isCurrent && !this.#rebuild()) return 0;
    if (!this.#place(from, to)) return 0;
    const edge = this.#edges.add(from, to, type, staged);
    this.#known = this.#edges.arrivals;
    return edge;
  }

  /**
   * Lets an edge stay that was leaving, if it closes no cycle with those that came meanwhile.
   *
   * @returns Whether it stays; nothing is changed where it does not.
   */
  keep(edge: number): boolean {
    const edges = this.#edges;
    if (!this.isCurrent && !this.#rebuild()) return false;
    if (!this.#place(edges.from(edge), edges.to(edge))) return false;
    edges.setLeaving(edge, false);
    this.#known = edges.arrivals;
    return true;
  }

  /** Whether the order knows all edges; the next `add` makes it anew where it does not. */
  get isCurrent(): boolean {
    return this.#known === this.#edges.arrivals;
  }

  /** Bytes that it takes. */
  bookkeepingBytes(): number {
    return this.#list.bookkeepingBytes() + 5 * this.#side.length;
  }

  /** Every edge that is not leaving goes with the order, if the order knows all edges. */
  checkInvariants(): void {
    this.#list.checkInvariants();
    if (!this.isCurrent) return;
    const edges = this.#edges, { labels } = this.#list;
    for (const edge of edges.edges()) {
      if (edges.isLeaving(edge)) continue;
      const from = edges.from(edge), to = edges.to(edge);
      assert(this.#list.has(from) && this.#list.has(to), `rows ${from} and ${to} have places`);
      assert(labels[from] < labels[to], `edge ${from} → ${to} goes with the order`);
    }
    assert(this.#side.every((side) => side === 0), "no search is under way");
  }

  /** Makes the order of the edges that there are; false where they have a cycle. */
  #rebuild(): boolean {
    const { rows, isAcyclic } = topologyOf(this.#edges, COMING_EDGES);
    if (!isAcyclic) return false;
    this.#list.clear();
    this.#reserve(this.#edges.rowsMax);
    for (const row of rows) this.#list.append(row);
    this.#known = this.#edges.arrivals;
    return true;
  }

  /** Makes the source stand before the target; false where a way leads from the target to the source. */
  #place(from: number, to: number): boolean {
    const list = this.#list;
    this.#reserve(Math.max(from, to) + 1);
    const hasFrom = list.has(from), hasTo = list.has(to);
    if (hasFrom && hasTo) {
      if (list.labels[from] < list.labels[to]) return true;
      const closes = !this.#search(from, to);
      if (!closes) this.#reorder(from);
      this.#forget();
      return !closes;
    }
    // A row that had edges once may have kept its place; one without a place has none.
    if (!hasFrom && !hasTo) list.append(from);
    else if (!hasFrom) list.prepend(from);
    if (!hasTo) list.append(to);
    return true;
  }

  /** Walks both ways; false where they meet. */
  #search(from: number, to: number): boolean {
    const { labels } = this.#list, forward = this.#forward, backward = this.#backward;
    forward.clear();
    backward.clear();
    this.#reach(to, FORWARD);
    this.#reach(from, BACKWARD);
    while (
      forward.length > 0 && backward.length > 0 && labels[forward.top] < labels[backward.top]
    ) {
      const ahead = forward.top, behind = backward.top;
      const out = this.#cursor[ahead], into = this.#cursor[behind];
      const nextOut = this.#skipOut(this.#edges.nextOut(out));
      const nextIn = this.#skipIn(this.#edges.nextIn(into));
      this.#cursor[ahead] = nextOut;
      this.#cursor[behind] = nextIn;
      if (nextOut === 0) forward.pop(labels);
      if (nextIn === 0) backward.pop(labels);
      const target = this.#edges.to(out), source = this.#edges.from(into);
      if (this.#side[target] === BACKWARD) return false;
      if (this.#side[target] === 0) this.#reach(target, FORWARD);
      if (this.#side[source] === FORWARD) return false;
      if (this.#side[source] === 0) this.#reach(source, BACKWARD);
    }
    return true;
  }

  #reach(row: number, side: number): void {
    this.#side[row] = side;
    this.#reached.push(row);
    const { labels } = this.#list;
    if (side === FORWARD) {
      const edge = this.#skipOut(this.#edges.firstOut(row));
      this.#cursor[row] = edge;
      if (edge !== 0) this.#forward.push(row, labels);
    } else {
      const edge = this.#skipIn(this.#edges.firstIn(row));
      this.#cursor[row] = edge;
      if (edge !== 0) this.#backward.push(row, labels);
    }
  }

  /**
   * Moves what the search has reached. The first row ahead that was not walked to its end (or the edge's
   * source, where there is none before it) stays where it is: all rows ahead of the search that stand before
   * it are closed under their edges, and so are all rows behind the search that stand after it.
   */
  #reorder(from: number): void {
    const list = this.#list, { labels } = list;
    const isOpen = this.#forward.length > 0 && labels[this.#forward.top] < labels[from];
    const pivot = isOpen ? this.#forward.top : from, at = labels[pivot];
    const ahead: number[] = [], behind: number[] = [];
    for (const row of this.#reached) {
      if (this.#side[row] === FORWARD && labels[row] < at) ahead.push(row);
      if (this.#side[row] === BACKWARD && labels[row] > at) behind.push(row);
    }
    ahead.sort((a, b) => labels[a] - labels[b]);
    behind.sort((a, b) => labels[a] - labels[b]);
    if (!isOpen) {
      for (let i = ahead.length - 1; i >= 0; i--) list.moveBehind(ahead[i], pivot);
      return;
    }
    for (const row of behind) list.moveBefore(row, pivot);
    for (const row of ahead) list.moveBefore(row, pivot);
  }

  #forget(): void {
    for (const row of this.#reached) this.#side[row] = 0;
    this.#reached.length = 0;
  }

  #skipOut(edge: number): number {
    const edges = this.#edges;
    while (edge !== 0 && edges.isLeaving(edge)) edge = edges.nextOut(edge);
    return edge;
  }

  #skipIn(edge: number): number {
    const edges = this.#edges;
    while (edge !== 0 && edges.isLeaving(edge)) edge = edges.nextIn(edge);
    return edge;
  }

  #reserve(rows: number): void {
    this.#list.reserve(rows);
    if (rows <= this.#side.length) return;
    const room = Math.max(64, rows, Math.min(2 * rows, 2 * this.#side.length));
    this.#side = new Uint8Array(room);
    this.#cursor = new Int32Array(room);
  }
}
