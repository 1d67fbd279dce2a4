/**
 * Edge table: the edges between pages, by the rows that the pages have in the page table.
 *
 * Eight columns of 32-bit words: source, target, type with two flags, and five links. Each edge hangs in
 * two doubly linked lists, the edges out of its source and the edges into its target, so that a page's
 * edges are walked in both directions and taken out without a search; a hash over (source, target, type)
 * says whether an edge is there. Edges are numbered from 1, numbers are reused, 0 is "none". A list
 * begins with the edge that was added last; nothing may depend on that order, as a table that was
 * read from a log has another one.
 *
 * An edge that is staged is in the lists at once, so that a cycle is found where it is asked for; it
 * counts as part of the graph once {@linkcode EdgeTable.setActive} says so. An edge whose removal is
 * staged is `leaving`: part of the graph still, but no obstacle to new edges.
 *
 * Cost: 36 bytes an edge (room doubles), 8 bytes a row up to the largest row that has an edge; nothing
 * while there are none. Adding, finding and removing take some ten to hundred ns.
 *
 * @module
 */

import { assert, EDGES_MAX, MmsbError } from "../base/mod.ts";
import { LEAVING, STAGED, TYPE_MASK } from "./edge_type.ts";

/** A table of edges as it stood, so that it can be put back; see {@linkcode EdgeTable.restore}. */
export interface EdgeImage {
  /** Edges ever numbered, number 0 among them; as many entries has each column. */
  readonly count: number;
  /** Edges there are. */
  readonly size: number;
  /** First free number; the others are linked behind it. */
  readonly free: number;
  /** The columns one behind the other, without the hash. */
  readonly columns: readonly Int32Array[];
  /** First edge out of each row. */
  readonly headOut: Int32Array;
  /** First edge into each row. */
  readonly headIn: Int32Array;
  /** Edges added and removed so far. */
  readonly changes: number;
}

const EDGES_START = 64;
const ROWS_START = 64;
const NOTHING = new Int32Array(0);

/** The edges of one bus, on the coordinating thread. */
export class EdgeTable {
  /** Edges added and removed so far, without those that are only staged. */
  changes = 0;
  /**
   * Grows whenever an edge comes in, staged or not, and whenever all edges are replaced: what was worked
   * out from the edges holds while this stays, but for what only removals change.
   */
  arrivals = 0;
  #size = 0;
  #staged = 0;
  #leaving = 0;
  /** Numbers given out, 0 among them. */
  #count = 1;
  /** First free number; the next one stands in `#nextOut`. */
  #free = 0;
  /** Source row, 0 where the number is free. */
  #from: Int32Array = NOTHING;
  #to: Int32Array = NOTHING;
  #kind: Int32Array = NOTHING;
  #nextOut: Int32Array = NOTHING;
  #prevOut: Int32Array = NOTHING;
  #nextIn: Int32Array = NOTHING;
  #prevIn: Int32Array = NOTHING;
  /** Next edge of the same bucket. */
  #nextHash: Int32Array = NOTHING;
  /** First edge of each bucket; as many as the columns have room for edges, a power of two. */
  #buckets: Int32Array = NOTHING;
  #headOut: Int32Array = NOTHING;
  #headIn: Int32Array = NOTHING;

  /** Edges there are, with those that are staged or leaving. */
  get size(): number {
    return this.#size;
  }

  /** Edges that are staged. */
  get staged(): number {
    return this.#staged;
  }

  /** Edges whose removal is staged. */
  get leaving(): number {
    return this.#leaving;
  }

  /** One more than the largest row that ever had an edge, at most twice that. */
  get rowsMax(): number {
    return this.#headOut.length;
  }

  /** One more than the largest number of an edge. */
  get numbersMax(): number {
    return this.#count;
  }

  /**
   * Adds an edge that is not there.
   *
   * @param from Row of its source.
   * @param to Row of its target.
   * @param type Number of its type.
   * @param staged Whether it is only staged. Default: no.
   * @returns Its number.
   * @throws {MmsbError} `limit` where there are too many; nothing is changed then.
   */
  add(from: number, to: number, type: number, staged = false): number {
    assert(
      from > 0 && to > 0 && from !== to && (type & TYPE_MASK) === type,
      "an edge has two ends",
    );
    assert(this.find(from, to, type) === 0, `edge ${from} → ${to} of type ${type} is new`);
    if (this.#free === 0 && this.#count >= this.#from.length) this.#growEdges();
    const last = from > to ? from : to;
    if (last >= this.#headOut.length) this.#growRows(last + 1);
    let edge = this.#free;
    if (edge !== 0) this.#free = this.#nextOut[edge];
    else edge = this.#count++;
    this.#from[edge] = from;
    this.#to[edge] = to;
    this.#kind[edge] = staged ? type | STAGED : type;
    this.#link(edge);
    this.#linkHash(edge);
    this.#size++;
    this.arrivals++;
    if (staged) this.#staged++;
    else this.changes++;
    return edge;
  }

  /** Number of an edge, 0 where there is none; staged and leaving ones are found too. */
  find(from: number, to: number, type: number): number {
    if (this.#size === 0) return 0;
    let edge = this.#buckets[hash(from, to, type) & this.#buckets.length - 1];
    while (
      edge !== 0 && (this.#from[edge] !== from || this.#to[edge] !== to ||
        (this.#kind[edge] & TYPE_MASK) !== type)
    ) edge = this.#nextHash[edge];
    return edge;
  }

  /** Makes a staged edge part of the graph; nothing happens to one that is. */
  setActive(edge: number): void {
    if (!this.isStaged(edge)) return;
    this.#kind[edge] &= ~STAGED;
    this.#staged--;
    this.changes++;
  }

  /** Whether an edge is only staged. */
  isStaged(edge: number): boolean {
    return (this.#kind[edge] & STAGED) !== 0;
  }

  /** Says that an edge's removal is staged, or that it is not after all. */
  setLeaving(edge: number, leaving: boolean): void {
    if (this.isLeaving(edge) === leaving) return;
    this.#kind[edge] ^= LEAVING;
    this.#leaving += leaving ? 1 : -1;
    // An edge that stays after all is in the way of others again.
    if (!leaving) this.arrivals++;
  }

  /** Whether an edge's removal is staged. */
  isLeaving(edge: number): boolean {
    return (this.#kind[edge] & LEAVING) !== 0;
  }

  /** Removes an edge; its number is used again. */
  remove(edge: number): void {
    assert(edge > 0 && edge < this.#count && this.#from[edge] !== 0, `edge ${edge} is there`);
    if (this.isStaged(edge)) this.#staged--;
    else this.changes++;
    if (this.isLeaving(edge)) this.#leaving--;
    this.#unlinkHash(edge);
    this.#unlink(edge);
    this.#from[edge] = 0;
    this.#to[edge] = 0;
    this.#kind[edge] = 0;
    this.#nextOut[edge] = this.#free;
    this.#free = edge;
    this.#size--;
  }

  /** Removes all edges of a row. */
  removeRow(row: number): void {
    if (this.#size === 0) return;
    for (let edge = this.firstOut(row); edge !== 0; edge = this.firstOut(row)) this.remove(edge);
    for (let edge = this.firstIn(row); edge !== 0; edge = this.firstIn(row)) this.remove(edge);
  }

  /** First edge out of a row, 0 where there is none. */
  firstOut(row: number): number {
    return row < this.#headOut.length ? this.#headOut[row] : 0;
  }

  /** The edge behind one out of the same row, 0 where it is the last. */
  nextOut(edge: number): number {
    return this.#nextOut[edge];
  }

  /** First edge into a row, 0 where there is none. */
  firstIn(row: number): number {
    return row < this.#headIn.length ? this.#headIn[row] : 0;
  }

  /** The edge behind one into the same row, 0 where it is the last. */
  nextIn(edge: number): number {
    return this.#nextIn[edge];
  }

  /** Row of an edge's source. */
  from(edge: number): number {
    return this.#from[edge];
  }

  /** Row of an edge's target. */
  to(edge: number): number {
    return this.#to[edge];
  }

  /** Number of an edge's type. */
  type(edge: number): number {
    return this.#kind[edge] & TYPE_MASK;
  }

  /** An edge's type, + 4 where it is staged, + 8 where it is leaving; for {@linkcode edgeMask}. */
  kind(edge: number): number {
    return this.#kind[edge];
  }

  /** The numbers of all edges, rising; with those that are staged or leaving. */
  *edges(): Generator<number> {
    for (let edge = 1; edge < this.#count; edge++) if (this.#from[edge] !== 0) yield edge;
  }

  /** Removes all edges and gives their memory back. */
  clear(): void {
    this.#size =
      this.#staged =
      this.#leaving =
      this.#free =
      this.changes =
        0;
    this.#count = 1;
    this.#from =
      this.#to =
      this.#kind =
      this.#nextHash =
      this.#buckets =
        NOTHING;
    this.#nextOut =
      this.#prevOut =
      this.#nextIn =
      this.#prevIn =
        NOTHING;
    this.#headOut = this.#headIn = NOTHING;
    this.arrivals++;
  }

  /** Copies what the table holds. */
  image(): EdgeImage {
    const count = this.#size === 0 ? 1 : this.#count;
    return {
      count,
      size: this.#size,
      free: count === 1 ? 0 : this.#free,
      columns: this.#columns().map((column) => column.slice(0, count === 1 ? 0 : count)),
      headOut: count === 1 ? NOTHING : this.#headOut.slice(),
      headIn: count === 1 ? NOTHING : this.#headIn.slice(),
      changes: this.changes,
    };
  }

  /** Puts the table back to an image, of this table or of another one; every edge has its number again. */
  restore(image: EdgeImage): void {
    this.clear();
    this.changes = image.changes;
    if (image.size === 0) return;
    let room = EDGES_START;
    while (room < image.count) room *= 2;
    this.#setColumns(image.columns.map((column) => longer(column, room)));
    this.#count = image.count;
    this.#size = image.size;
    this.#free = image.free;
    this.#headOut = image.headOut.slice();
    this.#headIn = image.headIn.slice();
    this.#rehash(room);
    for (const edge of this.edges()) {
      if (this.isStaged(edge)) this.#staged++;
      if (this.isLeaving(edge)) this.#leaving++;
    }
  }

  /** Bytes of the columns, the lists' heads and the hash. */
  bookkeepingBytes(): number {
    return 4 * (8 * this.#from.length + this.#buckets.length + 2 * this.#headOut.length);
  }

  /** Walks all edges: lists lead to and fro, each edge is found, counts agree, free numbers are free. */
  checkInvariants(): void {
    let size = 0, staged = 0, leaving = 0, out = 0, into = 0;
    for (const edge of this.edges()) {
      size++;
      if (this.isStaged(edge)) staged++;
      if (this.isLeaving(edge)) leaving++;
      const from = this.#from[edge], to = this.#to[edge];
      assert(from > 0 && to > 0 && from !== to, `edge ${edge} has two ends`);
      assert(this.find(from, to, this.type(edge)) === edge, `edge ${edge} is found`);
      const prevOut = this.#prevOut[edge], prevIn = this.#prevIn[edge];
      const beforeOut = prevOut === 0 ? this.#headOut[from] : this.#nextOut[prevOut];
      const beforeIn = prevIn === 0 ? this.#headIn[to] : this.#nextIn[prevIn];
      assert(beforeOut === edge && beforeIn === edge, `edge ${edge} is where it is said to be`);
    }
    for (let row = 0; row < this.#headOut.length; row++) {
      for (let edge = this.#headOut[row]; edge !== 0; edge = this.#nextOut[edge]) {
        assert(this.#from[edge] === row && ++out <= size, `row ${row} has its own edges out`);
      }
      for (let edge = this.#headIn[row]; edge !== 0; edge = this.#nextIn[edge]) {
        assert(this.#to[edge] === row && ++into <= size, `row ${row} has its own edges in`);
      }
    }
    assert(size === this.#size && out === size && into === size, "edges are counted");
    assert(staged === this.#staged && leaving === this.#leaving, "staged edges are counted");
    let free = 0;
    for (let edge = this.#free; edge !== 0; edge = this.#nextOut[edge]) {
      assert(this.#from[edge] === 0 && ++free < this.#count, `number ${edge} is free`);
    }
    assert(size + free === this.#count - 1, "each number is used or free");
  }

  #link(edge: number): void {
    const from = this.#from[edge], to = this.#to[edge];
    const firstOut = this.#headOut[from], firstIn = this.#headIn[to];
    this.#nextOut[edge] = firstOut;
    this.#prevOut[edge] = 0;
    if (firstOut !== 0) this.#prevOut[firstOut] = edge;
    this.#headOut[from] = edge;
    this.#nextIn[edge] = firstIn;
    this.#prevIn[edge] = 0;
    if (firstIn !== 0) this.#prevIn[firstIn] = edge;
    this.#headIn[to] = edge;
  }

  #unlink(edge: number): void {
    const nextOut = this.#nextOut[edge], prevOut = this.#prevOut[edge];
    if (nextOut !== 0) this.#prevOut[nextOut] = prevOut;
    if (prevOut !== 0) this.#nextOut[prevOut] = nextOut;
    else this.#headOut[this.#from[edge]] = nextOut;
    const nextIn = this.#nextIn[edge], prevIn = this.#prevIn[edge];
    if (nextIn !== 0) this.#prevIn[nextIn] = prevIn;
    if (prevIn !== 0) this.#nextIn[prevIn] = nextIn;
    else this.#headIn[this.#to[edge]] = nextIn;
  }

  #linkHash(edge: number): void {
    const bucket = this.#bucketOf(edge);
    this.#nextHash[edge] = this.#buckets[bucket];
    this.#buckets[bucket] = edge;
  }

  #unlinkHash(edge: number): void {
    const bucket = this.#bucketOf(edge), next = this.#nextHash[edge];
    let at = this.#buckets[bucket];
    if (at === edge) {
      this.#buckets[bucket] = next;
      return;
    }
    while (this.#nextHash[at] !== edge) at = this.#nextHash[at];
    this.#nextHash[at] = next;
  }

  #bucketOf(edge: number): number {
    const key = hash(this.#from[edge], this.#to[edge], this.#kind[edge] & TYPE_MASK);
    return key & this.#buckets.length - 1;
  }

  #rehash(room: number): void {
    this.#buckets = new Int32Array(room);
    for (let edge = 1; edge < this.#count; edge++) {
      if (this.#from[edge] !== 0) this.#linkHash(edge);
    }
  }

  #growEdges(): void {
    if (this.#count > EDGES_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot hold more than ${EDGES_MAX} edges: remove edges first`,
        { values: { edges: this.#size, edgesMax: EDGES_MAX } },
      );
    }
    const room = Math.max(EDGES_START, 2 * this.#from.length);
    this.#setColumns(this.#columns().map((column) => longer(column, room)));
    this.#rehash(room);
  }

  #growRows(rows: number): void {
    const room = Math.max(ROWS_START, rows, Math.min(2 * this.#headOut.length, 2 * rows));
    this.#headOut = longer(this.#headOut, room);
    this.#headIn = longer(this.#headIn, room);
  }

  /** The columns, all but the hash's own one, which is made anew wherever they move. */
  #columns(): Int32Array[] {
    return [
      this.#from,
      this.#to,
      this.#kind,
      this.#nextOut,
      this.#prevOut,
      this.#nextIn,
      this.#prevIn,
    ];
  }

  #setColumns(columns: readonly Int32Array[]): void {
    [
      this.#from,
      this.#to,
      this.#kind,
      this.#nextOut,
      this.#prevOut,
      this.#nextIn,
      this.#prevIn,
    ] = columns;
    this.#nextHash = new Int32Array(this.#from.length);
  }
}

function longer(column: Int32Array, room: number): Int32Array {
  const copy = new Int32Array(room);
  copy.set(column);
  return copy;
}

function hash(from: number, to: number, type: number): number {
  let key = Math.imul(from, 0x9e37_79b1) ^ Math.imul(to + type * 0x1000_0000, 0x85eb_ca6b);
  key = Math.imul(key ^ key >>> 15, 0x2c1b_3c6d);
  return key ^ key >>> 13;
}
