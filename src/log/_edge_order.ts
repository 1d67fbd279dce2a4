/**
 * Edge order: whether edges that are read from a log close a cycle.
 *
 * Each vertex has a place, and every edge leads from a smaller place to a larger one. An edge that does
 * not is looked into: only vertices between its two places can be on a cycle with it, and if there is
 * none they change places among themselves (Pearce and Kelly, "A dynamic topological sort algorithm for
 * directed acyclic graphs", 2006). Many edges at once are sorted anew instead.
 *
 * The graph that a bus runs on has an order of its own; this one checks what that one wrote.
 *
 * Cost: 4 bytes a vertex; an edge that fits is one comparison, others walk what lies between its ends.
 */

import type { EdgeTable } from "../physical/mod.ts";

/** Edges at once from which on sorting anew is worth a look. */
const MANY = 32;
const NOTHING = new Int32Array(0);

/** An order of the vertices of one table. */
export class EdgeOrder {
  readonly #edges: EdgeTable;
  /** Place of each vertex; behind the end, each has its own number. */
  #places: Int32Array = NOTHING;

  /** Begins with a table whose edges, if it has any, are still to be given to `place`. */
  constructor(edges: EdgeTable) {
    this.#edges = edges;
  }

  /**
   * Takes edges that were added to the table.
   *
   * @returns The first of them that closes a cycle with those before it, 0 where none does. The order is
   * then good for nothing as long as that edge is there.
   */
  place(added: readonly number[]): number {
    const { size } = this.#edges;
    if (added.length >= MANY && MANY * added.length > size && this.#sort()) return 0;
    if (added.length < 2) return added.length === 0 || this.#fits(added[0]) ? 0 : added[0];
    // One by one, so that the first is found: the others must not be there yet.
    const later = new Set(added);
    for (const edge of added) {
      later.delete(edge);
      if (!this.#fits(edge, later)) return edge;
    }
    return 0;
  }

  #placeOf(vertex: number): number {
    return vertex < this.#places.length ? this.#places[vertex] : vertex;
  }

  /** Whether an edge closes no cycle; the vertices then have their new places. */
  #fits(edge: number, without?: ReadonlySet<number>): boolean {
    const from = this.#edges.from(edge), to = this.#edges.to(edge);
    const lower = this.#placeOf(to), upper = this.#placeOf(from);
    if (lower > upper) return true;
    const behind = this.#walk(to, lower, upper, true, without);
    if (behind.includes(from)) return false;
    const before = this.#walk(from, lower, upper, false, without);
    this.#swap(before, behind);
    return true;
  }

  /** The vertices that an edge's end reaches between two places, itself among them. */
  #walk(
    start: number,
    lower: number,
    upper: number,
    forward: boolean,
    without: ReadonlySet<number> | undefined,
  ): number[] {
    const edges = this.#edges, found = [start], seen = new Set(found);
    for (let at = 0; at < found.length; at++) {
      let edge = forward ? edges.firstOut(found[at]) : edges.firstIn(found[at]);
      while (edge !== 0) {
        const next = forward ? edges.to(edge) : edges.from(edge), place = this.#placeOf(next);
        if (place >= lower && place <= upper && !seen.has(next) && without?.has(edge) !== true) {
          seen.add(next);
          found.push(next);
        }
        edge = forward ? edges.nextOut(edge) : edges.nextIn(edge);
      }
    }
    return found;
  }

  /** Deals the places of both groups out again: first those before the edge, then those behind it. */
  #swap(before: number[], behind: number[]): void {
    this.#makeRoom(this.#edges.rowsMax);
    const byPlace = (a: number, b: number) => this.#placeOf(a) - this.#placeOf(b);
    const vertices = [...before.sort(byPlace), ...behind.sort(byPlace)];
    const places = vertices.map((vertex) => this.#placeOf(vertex)).sort((a, b) => a - b);
    vertices.forEach((vertex, index) => this.#places[vertex] = places[index]);
  }

  #makeRoom(rows: number): void {
    const before = this.#places;
    if (rows <= before.length) return;
    this.#places = new Int32Array(Math.max(rows, 2 * before.length));
    this.#places.set(before);
    for (let row = before.length; row < this.#places.length; row++) this.#places[row] = row;
  }

  /** Sorts all vertices anew; `false`, and nothing is changed, where there is a cycle. */
  #sort(): boolean {
    const edges = this.#edges, rows = edges.rowsMax, waiting = new Int32Array(rows);
    const order: number[] = [];
    for (const edge of edges.edges()) waiting[edges.to(edge)]++;
    for (let row = 0; row < rows; row++) if (waiting[row] === 0) order.push(row);
    for (let at = 0; at < order.length; at++) {
      for (let edge = edges.firstOut(order[at]); edge !== 0; edge = edges.nextOut(edge)) {
        if (--waiting[edges.to(edge)] === 0) order.push(edges.to(edge));
      }
    }
    if (order.length < rows) return false;
    this.#makeRoom(rows);
    // The places that these vertices had are dealt out again, so that no other vertex has one of them.
    const places = this.#places.slice(0, rows).sort();
    order.forEach((row, index) => this.#places[row] = places[index]);
    return true;
  }
}
