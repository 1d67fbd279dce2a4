/**
 * Row stack: free rows of a table, the last freed on top.
 *
 * It grows by blocks of 64 KiB. An array that doubles would copy megabytes in the one tick that frees
 * the row too many, and leave them to the collector: a pause of several ms where a million pages die.
 *
 * Cost: 4 bytes a row, a few ns a call.
 */

const BLOCK_ROWS = 16_384;
const BLOCK_SHIFT = 14;

/** A stack of rows. */
export class RowStack {
  #blocks: Int32Array[] = [];
  #length = 0;

  /** Rows on the stack. */
  get length(): number {
    return this.#length;
  }

  /** Puts a row on top. */
  push(row: number): void {
    const at = this.#length++, block = at >>> BLOCK_SHIFT;
    if (block === this.#blocks.length) this.#blocks.push(new Int32Array(BLOCK_ROWS));
    this.#blocks[block][at & BLOCK_ROWS - 1] = row;
  }

  /** Takes the top row, `undefined` where there is none. */
  pop(): number | undefined {
    if (this.#length === 0) return undefined;
    const at = --this.#length, block = at >>> BLOCK_SHIFT;
    // One block stays spare, so that a stack at a border makes none again and again.
    if (block + 2 < this.#blocks.length) this.#blocks.pop();
    return this.#blocks[block][at & BLOCK_ROWS - 1];
  }

  /** The rows, the top one last. */
  toArray(): Int32Array<ArrayBuffer> {
    const rows = new Int32Array(this.#length);
    for (let at = 0; at < rows.length; at++) {
      rows[at] = this.#blocks[at >>> BLOCK_SHIFT][at & BLOCK_ROWS - 1];
    }
    return rows;
  }

  /** Replaces all rows; the last one is then on top. */
  set(rows: Iterable<number>): void {
    this.#blocks = [];
    this.#length = 0;
    for (const row of rows) this.push(row);
  }
}
