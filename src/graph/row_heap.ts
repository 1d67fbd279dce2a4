/**
 * Row heap: rows by their place in an order, the first one (or the last one) on top.
 *
 * A binary heap over the labels of an {@linkcode OrderList}, which do not change while it is used.
 *
 * Cost: O(log n) a call, 4 bytes a row.
 *
 * @module
 */

/** A heap of rows. */
export class RowHeap {
  #rows = new Int32Array(64);
  #length = 0;
  /** 1 where the smallest label is on top, −1 where the largest is. */
  readonly #sign: 1 | -1;

  /** Makes an empty one. */
  constructor(sign: 1 | -1) {
    this.#sign = sign;
  }

  /** Rows in it. */
  get length(): number {
    return this.#length;
  }

  /** The row on top; there is one. */
  get top(): number {
    return this.#rows[0];
  }

  /** Takes all rows out. */
  clear(): void {
    this.#length = 0;
  }

  /** Adds a row. */
  push(row: number, labels: Float64Array): void {
    if (this.#length === this.#rows.length) {
      const rows = this.#rows;
      (this.#rows = new Int32Array(2 * rows.length)).set(rows);
    }
    const rows = this.#rows, sign = this.#sign, key = sign * labels[row];
    let at = this.#length++;
    while (at > 0) {
      const up = at - 1 >> 1;
      if (sign * labels[rows[up]] <= key) break;
      rows[at] = rows[up];
      at = up;
    }
    rows[at] = row;
  }

  /** Takes the row on top out. */
  pop(labels: Float64Array): void {
    const rows = this.#rows, sign = this.#sign, length = --this.#length;
    const row = rows[length], key = sign * labels[row];
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= length) break;
      if (down + 1 < length && sign * labels[rows[down + 1]] < sign * labels[rows[down]]) down++;
      if (sign * labels[rows[down]] >= key) break;
      rows[at] = rows[down];
      at = down;
    }
    rows[at] = row;
  }
}
