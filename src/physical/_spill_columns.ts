/**
 * Spill columns: by row, where a spilled page stands, its checksum, and what keeps a page in memory.
 *
 * They stand in memory that grows in place, as the page table's do: copied at each doubling, a million pages
 * more would be a pause of 40 ms in the middle of some call.
 *
 * Cost: 9 bytes a row.
 */

import type { PageTable } from "./page_table.ts";
import { SharedBlock } from "./table_memory.ts";

/** The page was used since the hand came by last. */
export const USED = 1;
/** The tick under way needs it. */
export const HELD = 2;
/** Its live bytes were given out. */
export const VIEWED = 4;
/** A rule reads or writes it. */
export const RULE = 8;
/** What keeps a page in memory, whatever happens. */
export const PINNED: number = HELD | VIEWED | RULE;

const HELD_START = 1024;

/** What is known of the pages of one table. */
export class SpillColumns {
  /** Where a spilled page stands in the file; see spill_file.ts. */
  places!: Uint32Array;
  /** The checksum of its bytes there. */
  checks!: Int32Array;
  /** What is said of a page: {@linkcode USED} and its sisters. */
  marks!: Uint8Array;
  /** Rows that are held: the first {@linkcode SpillColumns.heldCount} of these. */
  held: Int32Array = new Int32Array(HELD_START);
  /** How many are held. */
  heldCount = 0;
  readonly #table: PageTable;
  readonly #places: SharedBlock;
  readonly #checks: SharedBlock;
  readonly #marks: SharedBlock;

  /** Makes columns for as many rows as the table has room for, and may come to have. */
  constructor(table: PageTable) {
    const rows = table.ids.length, { rowsMax } = table;
    this.#table = table;
    this.#places = new SharedBlock(4 * rows, 4 * rowsMax);
    this.#checks = new SharedBlock(4 * rows, 4 * rowsMax);
    this.#marks = new SharedBlock(rows, rowsMax);
    this.#view(rows);
  }

  /** Has room for all rows that the table has room for. */
  grow(): void {
    const rows = this.#table.ids.length;
    if (rows <= this.marks.length) return;
    this.#places.grow(4 * rows);
    this.#checks.grow(4 * rows);
    this.#marks.grow(rows);
    this.#view(rows);
  }

  /** Holds a row that is not held. */
  hold(row: number): void {
    if (this.heldCount === this.held.length) {
      const longer = new Int32Array(2 * this.held.length);
      longer.set(this.held);
      this.held = longer;
    }
    this.held[this.heldCount++] = row;
    this.marks[row] |= HELD;
  }

  /** Lets go of all rows that were held after the first `count`. */
  letGo(count: number): void {
    const { marks, held } = this;
    for (let i = count; i < this.heldCount; i++) marks[held[i]] &= ~HELD;
    this.heldCount = count;
  }

  /** Nothing is said of any page. */
  clear(): void {
    this.marks.fill(0);
    this.heldCount = 0;
  }

  #view(rows: number): void {
    this.places = new Uint32Array(this.#places.buffer, 0, rows);
    this.checks = new Int32Array(this.#checks.buffer, 0, rows);
    this.marks = new Uint8Array(this.#marks.buffer, 0, rows);
  }
}
