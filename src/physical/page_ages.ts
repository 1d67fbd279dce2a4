/**
 * Page ages: for each page the tick that last wrote it, and, while that is noted, read it.
 *
 * A page's epoch says whether it was written, so nothing is noted per delta: after each tick a bounded
 * part of the rows is looked at, and a page whose epoch differs from the one seen last is as young as that
 * look. An age is therefore too small by at most one round over the table. Who knows better (a tick that
 * brought a page back, a reader) says so with `touch`.
 *
 * The columns are made when somebody asks for ages, and not before; they grow in place, as copying them would be a pause.
 *
 * Cost: 8 bytes a row, and some 2 ns for each row looked at.
 *
 * @module
 */

import { assert } from "../base/mod.ts";
import type { PageTable } from "./page_table.ts";
import { SharedBlock } from "./table_memory.ts";

/** Rows that one call of {@linkcode PageAges.advance} looks at, where it is not told. */
export const AGED_ROWS = 65_536;

/** Ages of the pages of one table. */
export class PageAges {
  /** The tick that pages are as young as at most, modulo 2^32. */
  tick: number;
  readonly #table: PageTable;
  readonly #tickBlock: SharedBlock;
  readonly #seenBlock: SharedBlock;
  #ticks: Uint32Array = new Uint32Array(0);
  /** Low half of the epoch that was seen last. */
  #seen: Int32Array = new Int32Array(0);
  #next = 1;

  /** The tick since which ages are noted. */
  sinceTick: number;

  /** Begins at a tick, at which all pages count as just used. */
  constructor(table: PageTable, tick = 0) {
    this.#table = table;
    this.sinceTick = tick;
    this.tick = tick >>> 0;
    const rows = table.ids.length;
    const bytes = 4 * rows, bytesMax = 4 * Math.max(rows, table.rowsMax);
    this.#tickBlock = new SharedBlock(bytes, bytesMax);
    this.#seenBlock = new SharedBlock(bytes, bytesMax);
    this.#grow();
  }

  /** A row has got a page, or another one. */
  begin(row: number): void {
    if (row >= this.#ticks.length) this.#grow();
    this.#ticks[row] = this.tick;
    this.#seen[row] = this.#table.epochs.low[row];
  }

  /** The page of a row is used. */
  touch(row: number): void {
    if (row >= this.#ticks.length) this.#grow();
    this.#ticks[row] = this.tick;
  }

  /**
   * A tick has come: some rows are looked at, those that were looked at longest ago.
   *
   * @returns Whether the end of the table was reached: all pages were looked at since it last was.
   */
  advance(tick: number, rows: number = AGED_ROWS): boolean {
    this.tick = tick >>> 0;
    const { epochs: { low }, rowsEnd } = this.#table;
    if (rowsEnd > this.#ticks.length) this.#grow();
    const end = Math.min(rowsEnd, this.#next + rows), ticks = this.#ticks, seen = this.#seen;
    for (let row = this.#next; row < end; row++) {
      if (low[row] === seen[row]) continue;
      seen[row] = low[row];
      ticks[row] = this.tick;
    }
    const isRound = end >= rowsEnd;
    this.#next = isRound ? 1 : end;
    return isRound;
  }

  /** Ticks since the page of a row was used. */
  ageOf(row: number): number {
    const used = row < this.#ticks.length ? this.#ticks[row] : this.tick;
    return this.tick - used >>> 0;
  }

  /**
   * Counts pages by age.
   *
   * @param bounds Ages in ticks, rising.
   * @returns For each bound the pages and bytes younger than it and not younger than the one before; then the rest.
   */
  byAge(bounds: readonly number[]): { readonly pages: number; readonly bytes: number }[] {
    const counts = Array.from({ length: bounds.length + 1 }, () => ({ pages: 0, bytes: 0 }));
    const { ids, rowsEnd } = this.#table;
    for (let row = 1; row < rowsEnd; row++) {
      if (ids[row] === 0) continue;
      const age = this.ageOf(row);
      let at = 0;
      while (at < bounds.length && age >= bounds[at]) at++;
      counts[at].pages++;
      counts[at].bytes += this.#table.sizeOf(row);
    }
    return counts;
  }

  /** Forgets all pages: the table was emptied or put somewhere else. All count as just used. */
  clear(tick: number = this.tick): void {
    this.#next = 1;
    this.sinceTick = tick;
    this.tick = tick >>> 0;
    if (this.#table.rowsEnd > this.#ticks.length) this.#grow();
    this.#ticks.fill(this.tick, 0, this.#table.rowsEnd);
    this.#seen.set(this.#table.epochs.low.subarray(0, this.#table.rowsEnd));
  }

  /** Bytes of the columns. */
  bookkeepingBytes(): number {
    return this.#ticks.byteLength + this.#seen.byteLength;
  }

  /** Checks that no page is older than time itself. */
  checkInvariants(): void {
    assert(this.#ticks.length === this.#seen.length, "ages have one column length");
    assert(this.#next >= 1, "rows are looked at from the first on");
  }

  #grow(): void {
    const { ids, epochs, rowsEnd } = this.#table, rows = ids.length, before = this.#ticks.length;
    if (rows <= before) return;
    this.#tickBlock.grow(4 * rows);
    this.#seenBlock.grow(4 * rows);
    this.#ticks = new Uint32Array(this.#tickBlock.buffer, 0, rows);
    this.#seen = new Int32Array(this.#seenBlock.buffer, 0, rows);
    // Rows that nobody has used yet say so when they begin.
    if (rowsEnd <= before) return;
    this.#ticks.fill(this.tick, before, rowsEnd);
    this.#seen.set(epochs.low.subarray(before, rowsEnd), before);
  }
}
