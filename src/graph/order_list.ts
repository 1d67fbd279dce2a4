/**
 * Order list: rows in a line, where any two can be compared and any row can be put before any other.
 *
 * A doubly linked list whose rows have labels that rise along it. A row gets a label between those of its
 * neighbours; where there is none left, the smallest aligned range around it that is thin enough is
 * spread evenly (Bender, Cole, Demaine, Farach-Colton, Zito, "Two Simplified Algorithms for
 * Maintaining Order in a List", ESA 2002). Labels are whole numbers below 2^52, so doubles hold them.
 *
 * Cost: comparing is one subtraction; putting a row somewhere takes O(log n) amortised, at an end of
 * the list O(1). 16 bytes a row.
 *
 * @module
 */

import { assert } from "../base/mod.ts";

const GAP = 2 ** 24;
const LABEL_MAX = 2 ** 52;
/** A range of 2^i labels is thin enough with (2 / 1.4)^i rows: the paper's T between 1 and 2. */
const THINNING = 2 / 1.4;
/** Row 0 is no page: it stands before the first row and behind the last. */
const ENDS = 0;

/** Rows in a line. */
export class OrderList {
  /** Labels by row; rows that are not in the list have 0. */
  labels: Float64Array = new Float64Array(1);
  #next = new Int32Array(1);
  #prev = new Int32Array(1);
  #isIn = new Uint8Array(1);
  #size = 0;

  /** Rows in the list. */
  get size(): number {
    return this.#size;
  }

  /** Whether a row is in the list. */
  has(row: number): boolean {
    return row < this.#isIn.length && this.#isIn[row] === 1;
  }

  /** Makes room for rows below a number. */
  reserve(rows: number): void {
    if (rows <= this.#isIn.length) return;
    const room = Math.max(64, rows, Math.min(2 * rows, 2 * this.#isIn.length));
    const { labels } = this, next = this.#next, prev = this.#prev, isIn = this.#isIn;
    (this.labels = new Float64Array(room)).set(labels);
    (this.#next = new Int32Array(room)).set(next);
    (this.#prev = new Int32Array(room)).set(prev);
    (this.#isIn = new Uint8Array(room)).set(isIn);
  }

  /** Takes all rows out. */
  clear(): void {
    this.#isIn.fill(0);
    this.#next[ENDS] = this.#prev[ENDS] = ENDS;
    this.#size = 0;
  }

  /** Puts a row that is not in the list at its end; there is room for it. */
  append(row: number): void {
    this.#insert(row, this.#prev[ENDS]);
  }

  /** Puts a row that is not in the list at its start; there is room for it. */
  prepend(row: number): void {
    this.#insert(row, ENDS);
  }

  /** Moves a row right before another one. */
  moveBefore(row: number, other: number): void {
    this.#take(row);
    this.#insert(row, this.#prev[other]);
  }

  /** Moves a row right behind another one. */
  moveBehind(row: number, other: number): void {
    this.#take(row);
    this.#insert(row, other);
  }

  /** The rows, in order. */
  *rows(): Generator<number> {
    for (let row = this.#next[ENDS]; row !== ENDS; row = this.#next[row]) yield row;
  }

  /** Bytes of the columns. */
  bookkeepingBytes(): number {
    return this.#isIn.length * 17;
  }

  /** Labels rise, links lead to and fro, rows are counted. */
  checkInvariants(): void {
    let count = 0, before = ENDS;
    for (const row of this.rows()) {
      assert(this.#isIn[row] === 1 && ++count <= this.#size, `row ${row} is in the list once`);
      assert(this.#prev[row] === before, `row ${row} knows the row before it`);
      assert(before === ENDS || this.labels[before] < this.labels[row], "labels rise");
      assert(Number.isInteger(this.labels[row]), "labels are whole numbers");
      before = row;
    }
    assert(count === this.#size && this.#prev[ENDS] === before, "rows are counted");
  }

  #take(row: number): void {
    const next = this.#next[row], prev = this.#prev[row];
    this.#next[prev] = next;
    this.#prev[next] = prev;
    this.#isIn[row] = 0;
    this.#size--;
  }

  #insert(row: number, prev: number): void {
    let label = this.#labelBehind(prev);
    if (Number.isNaN(label)) {
      this.#spread(prev);
      label = this.#labelBehind(prev);
    }
    const next = this.#next[prev];
    this.labels[row] = label;
    this.#next[row] = next;
    this.#prev[row] = prev;
    this.#next[prev] = row;
    this.#prev[next] = row;
    this.#isIn[row] = 1;
    this.#size++;
  }

  /** A label between a row and the next one, NaN where there is none. */
  #labelBehind(prev: number): number {
    const next = this.#next[prev], { labels } = this;
    if (prev === ENDS && next === ENDS) return 0;
    if (prev === ENDS) return labels[next] - GAP > -LABEL_MAX ? labels[next] - GAP : NaN;
    if (next === ENDS) return labels[prev] + GAP < LABEL_MAX ? labels[prev] + GAP : NaN;
    const room = labels[next] - labels[prev];
    return room < 2 ? NaN : labels[prev] + Math.floor(room / 2);
  }

  /** Spreads the rows around a place so that there is a label behind `prev`. */
  #spread(prev: number): void {
    const near = prev === ENDS ? this.#next[ENDS] : prev;
    const isAtEnd = prev === ENDS || this.#next[prev] === ENDS;
    const { labels } = this;
    let first = near, last = near, count = 1, rowsMax = 1;
    // At an end the labels have run out, not the room between two of them: then all are spread anew.
    for (let width = 2; !isAtEnd && width < LABEL_MAX; width *= 2) {
      rowsMax *= THINNING;
      const low = Math.floor(labels[near] / width) * width, high = low + width;
      for (; this.#prev[first] !== ENDS && labels[this.#prev[first]] >= low; count++) {
        first = this.#prev[first];
      }
      for (; this.#next[last] !== ENDS && labels[this.#next[last]] < high; count++) {
        last = this.#next[last];
      }
      const step = Math.floor(width / count);
      if (count > rowsMax || step < 2) continue;
      this.#relabel(first, count, low, step);
      return;
    }
    const step = Math.min(GAP, Math.floor(LABEL_MAX / this.#size));
    this.#relabel(this.#next[ENDS], this.#size, -step * Math.floor(this.#size / 2), step);
  }

  #relabel(first: number, count: number, low: number, step: number): void {
    let row = first, label = low;
    for (let i = 0; i < count; i++, row = this.#next[row], label += step) this.labels[row] = label;
  }
}
