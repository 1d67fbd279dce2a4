/**
 * Page table: for each page its slot, room, epoch, shard and state, 29 bytes a page.
 *
 * Ids are never reused, rows are. A directory of two levels maps id → row: blocks of 65,536 ids
 * are made as ids come into use and given back when their last page dies. What checking a delta needs
 * of a page stands in one record of 8 bytes (slot and limit), so that a random page costs one cache
 * line. `limit` is the page's size while it takes deltas and the complement of its size (negative)
 * while it does not, so that one subtraction checks state and span together, without a branch.
 *
 * Epochs are counts up to 2^53 in two columns of 32-bit halves, of which a delta touches the low one.
 * Measured (65,536 pages of 4 KiB, random rows): raising an epoch costs 1.3 ns so, 3 to 5 ns as a
 * double beside the record, because the smaller columns stay in the processor's cache; looking
 * rows up and checking them in two short loops costs 5 ns a delta, one fused loop 6.5 ns, because the
 * chain of dependent loads then fills the processor's window.
 *
 * @module
 */

import { assert, MmsbError, PAGE_ID_MAX } from "../base/mod.ts";
import { RowStack } from "./_row_stack.ts";
import {
  SHARED_TABLE_MEMORY,
  type TableBlock,
  type TableMemory,
  type TablePart,
} from "./table_memory.ts";

/** 32-bit words of one record. */
export const RECORD_WORDS = 2;
/** The same as a shift. */
export const RECORD_SHIFT = 1;
/** Word of a record that holds the slot's address. */
export const RECORD_SLOT = 0;
/** Word of a record that holds the limit: size while active, complement of the size otherwise. */
export const RECORD_LIMIT = 1;

const BLOCK_IDS = 65_536;
const ROWS_START = 1024;
const ROWS_MAX = 2 ** 26;
const BLOCKS_MAX = 4096;
/** Rows looked up in one loop, so that the processor fetches many at a time. */
const ROWS_TOGETHER = 4096;

/** Bytes of each column by row. */
const COLUMN_BYTES = {
  records: 4 * RECORD_WORDS,
  epochsLow: 4,
  epochsHigh: 4,
  clean: 4,
  shards: 1,
  // Last, as it tells how many rows all columns have room for.
  ids: 4,
} as const;
type Column = keyof typeof COLUMN_BYTES;
const COLUMNS = Object.keys(COLUMN_BYTES) as Column[];

/** Most bytes that a part of a table of `pagesMax` pages can have. */
export function tablePartBytesMax(part: TablePart, pagesMax: number): number {
  if (part === "blocks") return 4 * BLOCK_IDS;
  if (part === "entries") return 4 * BLOCK_IDS * BLOCKS_MAX;
  return COLUMN_BYTES[part] * rowsMaxOf(pagesMax);
}

function rowsMaxOf(pagesMax: number): number {
  return Math.min(ROWS_MAX, pagesMax + 1);
}

/** Life of a page: `allocated` until its tick commits, then `active`, then `deleted`. */
export type PageState = "allocated" | "active" | "deleted";

/** Epochs of pages by row, in two halves. */
export interface EpochColumns {
  /** Low 32 bits. */
  readonly low: Int32Array;
  /** High 21 bits. */
  readonly high: Int32Array;
}

/** A table as it stood, so that it can be put back; see {@linkcode PageTable.restore}. */
export interface TableImage {
  /** Rows ever used, row 0 among them; as many entries has each column. */
  readonly rows: number;
  /** Records. */
  readonly records: Int32Array;
  /** Epochs. */
  readonly epochs: EpochColumns;
  /** Low halves of the epochs at the last checkpoint. */
  readonly clean: Int32Array;
  /** Page ids. */
  readonly ids: Uint32Array;
  /** Shards. */
  readonly shards: Uint8Array;
  /** Free rows, the next one to be used last. */
  readonly freeRows: Int32Array;
}

/** The page table of one bus, on the coordinating thread; its columns are shared memory. */
export class PageTable {
  /** Records of {@linkcode RECORD_WORDS} words, by row; replaced when the table grows. */
  records!: Int32Array;
  /** Epochs by row; replaced when the table grows. */
  epochs!: EpochColumns;
  /** Page id by row, 0 where the row is free. */
  ids!: Uint32Array;
  /** Shard by row. */
  shards!: Uint8Array;
  /** First level: for each block of ids the start of its entries in the second level. */
  readonly blocks: Int32Array;
  /** Second level: the row of each id of a block, 0 where there is none. */
  entries!: Int32Array;

  /** Grows when the slot or the size of a page that is in use may have become another one. */
  moves = 0;

  /** Brings back the page of a row whose bytes are elsewhere, and gives its slot; where pages never leave memory, none. */
  absent: ((row: number) => number) | undefined;

  readonly #columns: Readonly<Record<Column, TableBlock>>;
  readonly #entryBlock: TableBlock;
  /** Low 32 bits of the epoch at the last checkpoint; a page is dirty where they differ. */
  #clean!: Int32Array;
  readonly #rowsMax: number;
  #rows = 1;
  #pages = 0;
  readonly #freeRows = new RowStack();
  /** Live ids of each block, and blocks whose last id died. Block 0 is the "none" of level one. */
  #blockLive: number[] = [0];
  #freeBlocks: number[] = [];

  /**
   * Makes a table: an empty one, or the one that its memory holds.
   *
   * @param pagesMax Most pages it may hold at one time.
   * @param memory Where its columns stand.
   */
  constructor(pagesMax: number, memory: TableMemory = SHARED_TABLE_MEMORY) {
    this.#rowsMax = rowsMaxOf(pagesMax);
    const rows = Math.min(ROWS_START, this.#rowsMax);
    const block = (part: TablePart, bytes: number): TableBlock =>
      memory.block(part, bytes, tablePartBytesMax(part, pagesMax));
    this.#columns = Object.fromEntries(
      COLUMNS.map((column) => [column, block(column, COLUMN_BYTES[column] * rows)]),
    ) as Record<Column, TableBlock>;
    this.#entryBlock = block("entries", 4 * BLOCK_IDS);
    const blocks = block("blocks", 4 * BLOCK_IDS);
    this.blocks = new Int32Array(blocks.buffer, blocks.start, BLOCK_IDS);
    this.#remake();
    this.#count();
  }

  /** Most rows it can come to have. */
  get rowsMax(): number {
    return this.#rowsMax;
  }

  /** Number of pages, whatever their state. */
  get size(): number {
    return this.#pages;
  }

  /**
   * Adds a page that does not take deltas yet.
   *
   * @returns Its row.
   * @throws {MmsbError} `limit` where the table is full.
   */
  add(id: number, slot: number, size: number, shard: number): number {
    assert(id >= 1 && id <= PAGE_ID_MAX && this.rowOf(id) === 0, `page ${id} is new`);
    if (this.#freeRows.length === 0) this.#makeRoom();
    const entry = this.#entryFor(id);
    // Both may refuse, so nothing is taken before here.
    const row = this.#freeRows.pop() ?? this.#rows++;
    const record = row * RECORD_WORDS;
    this.records[record + RECORD_SLOT] = slot;
    this.records[record + RECORD_LIMIT] = ~size;
    // Epoch and clean mark are zero: a column that nobody writes takes no memory.
    this.ids[row] = id;
    this.shards[row] = shard;
    this.entries[entry] = row;
    this.#blockLive[entry / BLOCK_IDS | 0]++;
    this.#pages++;
    return row;
  }

  /** Takes a page out; its row is reused, its id is not. */
  remove(id: number): void {
    const row = this.rowOf(id);
    assert(row !== 0, `page ${id} is in the table`);
    const start = this.blocks[id >>> 16], entry = start + (id & 0xffff);
    this.entries[entry] = 0;
    const record = row * RECORD_WORDS;
    this.records[record + RECORD_SLOT] = this.records[record + RECORD_LIMIT] = 0;
    this.ids[row] = 0;
    this.setEpoch(row, 0);
    this.#clean[row] = 0;
    this.#freeRows.push(row);
    this.#pages--;
    const block = start / BLOCK_IDS;
    if (--this.#blockLive[block] === 0) {
      this.blocks[id >>> 16] = 0;
      this.#freeBlocks.push(block);
    }
  }

  /**
   * Takes many pages out, as {@linkcode PageTable.remove} would one after the other.
   *
   * One column after the other: where the rows lie scattered, the processor then fetches many at a time.
   *
   * @param ids Pages that are there, each once.
   * @param rows Their rows.
   * @param count How many of them.
   */
  removeRows(ids: Uint32Array, rows: Int32Array, count: number): void {
    const { entries, blocks, records } = this, { low, high } = this.epochs, clean = this.#clean;
    for (let i = 0; i < count; i++) entries[blocks[ids[i] >>> 16] + (ids[i] & 0xffff)] = 0;
    for (let i = 0; i < count; i++) {
      const record = rows[i] * RECORD_WORDS;
      records[record + RECORD_SLOT] = records[record + RECORD_LIMIT] = 0;
    }
    for (let i = 0; i < count; i++) this.ids[rows[i]] = 0;
    for (let i = 0; i < count; i++) low[rows[i]] = 0;
    // Memory that nobody has written so far is not there: it is asked for by writing zeros, too.
    for (let i = 0; i < count; i++) if (high[rows[i]] !== 0) high[rows[i]] = 0;
    for (let i = 0; i < count; i++) if (clean[rows[i]] !== 0) clean[rows[i]] = 0;
    this.#pages -= count;
    for (let i = 0; i < count; i++) {
      this.#freeRows.push(rows[i]);
      const block = blocks[ids[i] >>> 16] / BLOCK_IDS;
      if (--this.#blockLive[block] > 0) continue;
      blocks[ids[i] >>> 16] = 0;
      this.#freeBlocks.push(block);
    }
  }

  /** The row of a page, 0 where there is no such page. */
  rowOf(id: number): number {
    return this.entries[this.blocks[id >>> 16] + (id & 0xffff)];
  }

  /**
   * Slot address of a row, for those who are about to read it: a page that was spilled is brought back.
   *
   * @throws {MmsbError} where its bytes cannot be had; see residency.ts.
   */
  slot(row: number): number {
    const slot = this.records[row * RECORD_WORDS + RECORD_SLOT];
    return slot !== 0 || this.absent === undefined ? slot : this.absent(row);
  }

  /** Slot address of a row as it stands: 0 where its page was spilled. */
  slotInMemory(row: number): number {
    return this.records[row * RECORD_WORDS + RECORD_SLOT];
  }

  /** Whether the page of a row is there and its bytes are not in memory. */
  isSpilled(row: number): boolean {
    return this.records[row * RECORD_WORDS + RECORD_SLOT] === 0 && this.ids[row] !== 0;
  }

  /** Takes the slot of an active page: the checks of deltas refuse the page until it has one again. */
  setSpilled(row: number): void {
    const size = this.sizeOf(row);
    this.records[row * RECORD_WORDS + RECORD_SLOT] = 0;
    this.records[row * RECORD_WORDS + RECORD_LIMIT] = ~size;
  }

  /** Gives a page that was spilled a slot. */
  setReturned(row: number, slot: number): void {
    const size = this.sizeOf(row);
    this.records[row * RECORD_WORDS + RECORD_SLOT] = slot;
    this.records[row * RECORD_WORDS + RECORD_LIMIT] = size;
  }

  /** Behind the last row that was ever used. */
  get rowsEnd(): number {
    return this.#rows;
  }

  /** Bytes of the page in a row. */
  sizeOf(row: number): number {
    const limit = this.records[row * RECORD_WORDS + RECORD_LIMIT];
    return limit < 0 ? ~limit : limit;
  }

  /** Epoch of the page in a row. */
  epoch(row: number): number {
    return this.epochs.high[row] * 2 ** 32 + (this.epochs.low[row] >>> 0);
  }

  /** Sets the epoch of the page in a row, a count below 2^53. */
  setEpoch(row: number, epoch: number): void {
    this.epochs.low[row] = epoch;
    this.epochs.high[row] = Math.floor(epoch / 2 ** 32);
  }

  /** Whether the page in a row takes deltas; a page that was spilled does, once it is back. */
  isActive(row: number): boolean {
    const limit = this.records[row * RECORD_WORDS + RECORD_LIMIT];
    return limit > 0 || limit < 0 && this.records[row * RECORD_WORDS + RECORD_SLOT] === 0;
  }

  /** Lets the page in a row take deltas, or stops that. */
  setActive(row: number, active: boolean): void {
    const size = this.sizeOf(row);
    this.records[row * RECORD_WORDS + RECORD_LIMIT] = active ? size : ~size;
  }

  /** Whether all of these pages are there and take deltas; many are looked up at a time. */
  areActive(ids: ReadonlySet<number>): boolean {
    const rows = new Int32Array(Math.min(ids.size, ROWS_TOGETHER)), { records } = this;
    let count = 0, left = ids.size;
    for (const id of ids) {
      rows[count++] = id;
      left--;
      if (count < rows.length && left > 0) continue;
      for (let i = 0; i < count; i++) rows[i] = this.rowOf(rows[i] >>> 0);
      // Row 0 has the limit 0: what is not there takes no deltas.
      let limit = 1;
      for (let i = 0; i < count; i++) {
        limit = Math.min(limit, records[rows[i] * RECORD_WORDS + RECORD_LIMIT]);
      }
      if (limit <= 0) return false;
      count = 0;
    }
    return true;
  }

  /** Gives the page in a row another slot and size; whether it takes deltas stays as it is. */
  setSlot(row: number, slot: number, size: number): void {
    const record = row * RECORD_WORDS;
    const active = this.records[record + RECORD_LIMIT] > 0;
    this.records[record + RECORD_SLOT] = slot;
    this.records[record + RECORD_LIMIT] = active ? size : ~size;
    this.moves++;
  }

  /** Whether the page has changed since it was last marked clean (since its birth, if never). */
  isDirty(row: number): boolean {
    return this.epochs.low[row] !== this.#clean[row];
  }

  /** Marks a page clean: its image at an epoch is stored, of which the low half counts. */
  markClean(row: number, epochLow: number = this.epochs.low[row]): void {
    this.#clean[row] = epochLow;
  }

  /** Rows in use, in row order. */
  *rows(): Generator<number> {
    for (let row = 1; row < this.#rows; row++) if (this.ids[row] !== 0) yield row;
  }

  /** Copies what the table holds. */
  image(): TableImage {
    const rows = this.#rows, { low, high } = this.epochs;
    return {
      rows,
      records: this.records.slice(0, rows * RECORD_WORDS),
      epochs: { low: low.slice(0, rows), high: high.slice(0, rows) },
      clean: this.#clean.slice(0, rows),
      ids: this.ids.slice(0, rows),
      shards: this.shards.slice(0, rows),
      freeRows: this.#freeRows.toArray(),
    };
  }

  /**
   * Puts the table back to an image, of this table or of another one; every page has its row again.
   *
   * @throws {MmsbError} `limit` where the table cannot hold as many rows; nothing is changed then.
   */
  restore(image: TableImage): void {
    const { rows } = image;
    if (rows > this.ids.length) this.#growRows(rows);
    this.clear();
    this.records.set(image.records);
    this.epochs.low.set(image.epochs.low);
    this.epochs.high.set(image.epochs.high);
    this.#clean.set(image.clean);
    this.ids.set(image.ids);
    this.shards.set(image.shards);
    this.#freeRows.set(image.freeRows);
    this.#rows = rows;
    for (let row = 1; row < rows; row++) {
      const id = image.ids[row];
      if (id === 0) continue;
      const entry = this.#entryFor(id);
      this.entries[entry] = row;
      this.#blockLive[entry / BLOCK_IDS | 0]++;
      this.#pages++;
    }
  }

  /** Takes all pages out at once. The columns keep their room. */
  clear(): void {
    for (const row of this.rows()) {
      const id = this.ids[row];
      this.entries[this.blocks[id >>> 16] + (id & 0xffff)] = 0;
    }
    // Not before: each page is found through its block.
    for (const row of this.rows()) this.blocks[this.ids[row] >>> 16] = 0;
    const rows = this.#rows;
    this.records.fill(0, 0, rows * RECORD_WORDS);
    this.moves++;
    this.epochs.low.fill(0, 0, rows);
    this.epochs.high.fill(0, 0, rows);
    this.#clean.fill(0, 0, rows);
    this.ids.fill(0, 0, rows);
    this.shards.fill(0, 0, rows);
    this.#rows = 1;
    this.#pages = 0;
    this.#freeRows.set([]);
    this.#blockLive.fill(0);
    this.#freeBlocks = [];
    for (let block = this.#blockLive.length - 1; block > 0; block--) this.#freeBlocks.push(block);
  }

  /** Bytes of the table's columns in use: bookkeeping, not pages. */
  bookkeepingBytes(): number {
    const blocks = this.#blockLive.length - this.#freeBlocks.length - 1;
    return this.#rows * (4 * RECORD_WORDS + 8 + 4 + 4 + 1) + 4 * blocks * BLOCK_IDS;
  }

  /** Walks all rows: ids lead to their rows and back, counts agree, free blocks lead nowhere. */
  checkInvariants(): void {
    let pages = 0;
    const live = new Array<number>(this.#blockLive.length).fill(0);
    for (const row of this.rows()) {
      pages++;
      live[this.blocks[this.ids[row] >>> 16] / BLOCK_IDS]++;
      assert(this.rowOf(this.ids[row]) === row, `page ${this.ids[row]} leads to row ${row}`);
      const hasSlot = this.slotInMemory(row) > 0 || this.absent !== undefined;
      assert(hasSlot && this.sizeOf(row) > 0, `row ${row} has a slot and a size`);
      assert(Number.isSafeInteger(this.epoch(row)) && this.epoch(row) >= 0, "epoch is a count");
    }
    assert(pages === this.#pages, "rows in use equal pages");
    assert(isZero(this.entries, BLOCK_IDS), "block 0 leads nowhere");
    assert(isZero(this.records, RECORD_WORDS), "row 0 is no page");
    assert(pages + this.#freeRows.length === this.#rows - 1, "each row is used or free");
    assert(
      live.every((count, block) => count === this.#blockLive[block]),
      "blocks count their ids",
    );
    const used = live.filter((count) => count > 0).length;
    assert(used === live.length - 1 - this.#freeBlocks.length, "each block is used or free");
  }

  #makeRoom(): void {
    if (this.#rows < this.ids.length) return;
    if (this.#rows >= this.#rowsMax) {
      throw new MmsbError(
        "limit",
        `Cannot hold more than ${this.#rowsMax - 1} pages: delete pages first`,
        { values: { pages: this.#pages, pagesMax: this.#rowsMax - 1 } },
      );
    }
    this.#growRows(Math.min(this.#rowsMax, this.#rows * 2));
  }

  #growRows(rows: number): void {
    if (rows > this.#rowsMax) {
      throw new MmsbError("limit", `Cannot hold ${rows - 1} pages: at most ${this.#rowsMax - 1}`, {
        values: { pages: rows - 1, pagesMax: this.#rowsMax - 1 },
      });
    }
    for (const column of COLUMNS) this.#columns[column].grow(COLUMN_BYTES[column] * rows);
    this.#remake();
  }

  #entryFor(id: number): number {
    let start = this.blocks[id >>> 16];
    if (start === 0) {
      let block = this.#freeBlocks.pop();
      if (block === undefined) {
        block = this.#blockLive.length;
        if (block >= BLOCKS_MAX) {
          throw new MmsbError(
            "limit",
            `Cannot spread pages over more than ${BLOCKS_MAX} id blocks`,
            {
              values: { id, blocksMax: BLOCKS_MAX },
            },
          );
        }
        this.#entryBlock.grow(4 * BLOCK_IDS * (block + 1));
        this.#blockLive.push(0);
        this.entries = new Int32Array(
          this.#entryBlock.buffer,
          this.#entryBlock.start,
          BLOCK_IDS * (block + 1),
        );
      }
      start = block * BLOCK_IDS;
      this.blocks[id >>> 16] = start;
    }
    return start + (id & 0xffff);
  }

  /** The buffer of one of its parts, for other threads. */
  bufferOf(part: TablePart): ArrayBufferLike {
    if (part === "blocks") return this.blocks.buffer;
    return (part === "entries" ? this.#entryBlock : this.#columns[part]).buffer;
  }

  /** Makes the views anew where another thread has made the columns longer; counts are then not kept up. */
  catchUp(): void {
    const { ids } = this.#columns;
    if (
      ids.byteLength !== this.ids.byteLength ||
      this.#entryBlock.byteLength !== this.entries.byteLength
    ) this.#remake();
  }

  /** Looks at the columns again, which another process has made longer or filled. */
  refresh(): void {
    this.#remake();
    this.#count();
  }

  #remake(): void {
    const rows = this.#columns.ids.byteLength / COLUMN_BYTES.ids;
    const { records, epochsLow, epochsHigh, clean, shards, ids } = this.#columns;
    this.records = new Int32Array(records.buffer, records.start, rows * RECORD_WORDS);
    this.epochs = {
      low: new Int32Array(epochsLow.buffer, epochsLow.start, rows),
      high: new Int32Array(epochsHigh.buffer, epochsHigh.start, rows),
    };
    this.ids = new Uint32Array(ids.buffer, ids.start, rows);
    this.#clean = new Int32Array(clean.buffer, clean.start, rows);
    this.shards = new Uint8Array(shards.buffer, shards.start, rows);
    const { buffer, start, byteLength } = this.#entryBlock;
    this.entries = new Int32Array(buffer, start, byteLength / 4);
  }

  /** Finds the used and free rows and blocks of a table that was there before. */
  #count(): void {
    const { ids } = this;
    let last = 0;
    for (let row = 1; row < ids.length; row++) if (ids[row] !== 0) last = row;
    this.#rows = last + 1;
    this.#pages = 0;
    this.#freeRows.set([]);
    this.#blockLive = new Array<number>(this.entries.length / BLOCK_IDS).fill(0);
    for (let row = last; row > 0; row--) {
      if (ids[row] === 0) {
        this.#freeRows.push(row);
      } else {
        this.#pages++;
        this.#blockLive[this.blocks[ids[row] >>> 16] / BLOCK_IDS]++;
      }
    }
    this.#freeBlocks = [];
    for (let block = this.#blockLive.length - 1; block > 0; block--) {
      if (this.#blockLive[block] === 0) this.#freeBlocks.push(block);
    }
  }
}

function isZero(words: Int32Array, count: number): boolean {
  for (let i = 0; i < count; i++) if (words[i] !== 0) return false;
  return true;
}
