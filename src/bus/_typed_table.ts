/**
 * Table core: where the rows of one table are, shared by all its handles.
 *
 * A table is ordinary pages and deltas, so log, replay and crash safety need to know nothing of it:
 *
 * - the root page, which has the table's name and schema, counts, and the ids of directory pages;
 * - directory pages, which say which page holds which chunk of which column (`schema/table_layout.ts`);
 * - a page for each chunk of each column. A chunk that no page holds is all zeros: an added column has
 *   chunks only from the first row on that was written with it.
 *
 * What is staged is remembered here as well and is taken back with the open batch: by the staging's
 * effects where it is rolled back, and by reading the root again where its generation has changed.
 *
 * @module
 */

import {
  assert,
  BATCH_PAYLOAD_BYTES_MAX,
  MmsbError,
  NAME_BYTES_MAX,
  PAGE_BYTES_MAX,
  TABLE_ROWS_MAX,
} from "../base/mod.ts";
import { type DeltaOptions, type PageTable, RECORD_SHIFT, RECORD_SLOT } from "../physical/mod.ts";
import {
  chunkOf,
  type ChunkPlan,
  chunkPlan,
  chunkRows,
  chunkStart,
  countsBytes,
  DIRECTORIES_MAX,
  directoriesFor,
  directoryBytes,
  directoryOf,
  directoryStart,
  ENTRIES_MAX,
  entriesBytes,
  ENTRY_BYTES,
  ENTRY_WORDS,
  type Field,
  readValue,
  ROOT_BYTES,
  ROOT_DIRECTORIES,
  ROOT_ENTRIES,
  ROOT_SELF,
  ROOT_SHARD,
  type TableEntry,
  zeroValue,
} from "../schema/mod.ts";
import { stageBirth } from "./_births.ts";
import { deltaOptions } from "./_delta_options.ts";
import type { PageHost, WriteOptions } from "./page.ts";

/** Most bytes of UTF-8 for a code unit of a string. */
const UTF8_BYTES_PER_UNIT = 3;

interface Column {
  readonly plan: ChunkPlan;
  readonly width: number;
  /** Page of each chunk, 0 for none. */
  readonly pages: number[];
  /** Rows of these pages in the page table, which they keep while they live. */
  readonly rows: number[];
}

/** A part of an append: rows of one column that go to one chunk. */
interface Piece {
  readonly page: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Where the rows of a table are. */
export class TableCore {
  /** Id of the root page. */
  readonly root: number;
  readonly #host: PageHost;
  /** Row of the root page in the page table. */
  #rootRow: number;
  readonly #columns: Column[] = [];
  /** Entries of the directory, those that are staged behind the others. */
  readonly #entries: TableEntry[] = [];
  /** Ids of the directory pages, likewise. */
  readonly #directories: number[] = [];
  /** Entries that the last tick left. */
  #committed = 0;
  /** Rows with the staged ones. */
  #staged = 0;
  #generation: number;
  /** The shard of all its pages, if it was given one. */
  #shard: number | undefined;

  /** Reads a table that is there, or begins one whose root was just staged with a shard. */
  constructor(host: PageHost, root: number, shard?: number) {
    this.#host = host;
    this.root = root;
    this.#rootRow = host.store.table.rowOf(root);
    this.#shard = shard;
    this.#generation = host.staging.generation;
    this.#read();
  }

  /** Rows as of the last tick. */
  get length(): number {
    return this.#host.store.arena.doubles[this.#rootSlot() << 1];
  }

  /** Rows with the staged ones. */
  get stagedLength(): number {
    this.follow();
    return this.#staged;
  }

  /** Slot of the page that holds a chunk, 0 where none does. */
  chunkSlot(field: Field, chunk: number): number {
    this.follow();
    const { pages, rows } = this.#column(field), page = pages[chunk];
    if (page === undefined || page === 0) return 0;
    const { table } = this.#host.store;
    if (table.ids[rows[chunk]] !== page) this.#findChunk(field, chunk);
    return slotOf(table, rows[chunk]);
  }

  /**
   * A value as of the last tick.
   *
   * @returns `undefined` where there is no such row.
   */
  value(field: Field, row: number): unknown {
    const { store: { table, arena }, staging } = this.#host;
    const root = this.#rootSlot();
    if (typeof row !== "number" || (row >>> 0) !== row || !(row < arena.doubles[root << 1])) {
      return undefined;
    }
    const entries = arena.words[(root << 2) + (ROOT_ENTRIES >>> 2)];
    if (staging.generation !== this.#generation || entries !== this.#committed) this.follow();
    const known = this.#columns[field.index];
    const { plan, width, pages, rows } = known?.width === field.width ? known : this.#column(field);
    const chunk = chunkOf(plan, row), page = pages[chunk];
    if (page === undefined || page === 0) return zeroValue(field);
    if (table.ids[rows[chunk]] !== page) this.#findChunk(field, chunk);
    const offset = (row - chunkStart(plan, chunk)) * width;
    return readValue(field, arena, slotOf(table, rows[chunk]), offset);
  }

  /** Where a value stands, staged rows included; page 0 where no page holds it and it is zero. */
  placeOf(field: Field, row: number): { readonly page: number; readonly offset: number } {
    this.follow();
    const { plan, width } = this.#column(field), chunk = chunkOf(plan, row);
    return { page: this.#pageOf(field, chunk), offset: (row - chunkStart(plan, chunk)) * width };
  }

  /** How a column is cut. */
  planOf(field: Field): ChunkPlan {
    return this.#column(field).plan;
  }

  /** All pages of the table, staged ones too, the root last. */
  pages(): number[] {
    this.follow();
    return [...this.#entries.map(({ page }) => page), ...this.#directories, this.root];
  }

  /**
   * Stages rows behind all others.
   *
   * @param fields The columns.
   * @param bytes The bytes of each column's new values.
   * @param count New rows, at least 1.
   * @param options Options of the write; the expected epoch is the root's.
   * @returns The first new row.
   * @throws {MmsbError} what staging refuses; the caller takes back what was staged then.
   */
  append(
    fields: readonly Field[],
    bytes: readonly Uint8Array[],
    count: number,
    options: WriteOptions | undefined,
  ): number {
    const { staging } = this.#host;
    const first = this.stagedLength, length = first + count;
    if (length > TABLE_ROWS_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot append ${count} rows to ${first}: a table has at most ${TABLE_ROWS_MAX}`,
        { values: { rows: count, length: first, rowsMax: TABLE_ROWS_MAX } },
      );
    }
    const inRoot = options === undefined ? 0 : deltaOptions(staging.batch, options);
    const inChunks = withoutEpoch(inRoot);
    const entries = this.#entries.length;
    this.#remember();
    const pieces: Piece[] = [];
    let payload = 0;
    fields.forEach((field, index) => {
      this.#cut(field, bytes[index], first, length, pieces);
      payload += bytes[index].length;
    });
    if (payload > BATCH_PAYLOAD_BYTES_MAX - staging.batch.payloadLength) {
      throw new MmsbError(
        "limit",
        `Cannot stage ${payload} bytes of rows: tick first, or append fewer rows at a time`,
        { values: { bytes: payload, staged: staging.batch.payloadLength } },
      );
    }
    const added = this.#entries.length - entries;
    const rows = pieces.length + DIRECTORIES_MAX + 2;
    staging.batch.reserve(rows, payload + added * ENTRY_BYTES + ROOT_BYTES + 4 * rows);
    for (const { page, offset, bytes } of pieces) {
      staging.batch.push(page, offset, bytes, inChunks);
    }
    if (added > 0) this.#pushEntries(entries, inChunks);
    this.#staged = length;
    this.#pushRoot(inRoot);
    return first;
  }

  /** Stages the bytes of one value. */
  write(
    field: Field,
    row: number,
    bytes: Uint8Array,
    delta: DeltaOptions | number,
  ): void {
    const { plan, width } = this.#column(field);
    const chunk = chunkOf(plan, row), entries = this.#entries.length;
    if (this.#pageOf(field, chunk) === 0) {
      this.#remember();
      this.#addChunk(field, chunk);
    }
    const offset = (row - chunkStart(plan, chunk)) * width;
    this.#host.staging.batch.push(this.#pageOf(field, chunk), offset, bytes, delta);
    if (this.#entries.length > entries) {
      this.#pushEntries(entries, delta);
      this.#pushRoot(delta);
    }
  }

  /** Takes back what handles staged since, if the staging was taken back to before it. */
  restore(entries: number, staged: number): void {
    while (this.#entries.length > entries) {
      const { column, chunk } = this.#entries.pop()!;
      const known = this.#columns[column];
      if (known !== undefined) known.pages[chunk] = 0;
    }
    this.#directories.length = Math.min(this.#directories.length, directoriesFor(entries));
    this.#staged = staged;
  }

  /** Checks that root, directory and the chunks of some columns agree. */
  checkInvariants(fields: readonly Field[]): void {
    this.follow();
    for (const field of fields) this.#column(field);
    const { table } = this.#host.store;
    assert(this.#staged >= this.length, "staged rows are behind the others");
    assert(this.#directories.length === directoriesFor(this.#entries.length), "directory is full");
    const seen = new Set<number>([this.root, ...this.#directories]);
    assert(seen.size === this.#directories.length + 1, "directory pages are different ones");
    for (const { column, chunk, page } of this.#entries) {
      assert(!seen.has(page), `page ${page} is one chunk's own`);
      seen.add(page);
      const known = this.#columns[column];
      if (known === undefined) continue;
      const { pages, plan, width } = known;
      assert(pages[chunk] === page, `chunk ${chunk} of column ${column} is page ${page}`);
      const size = table.sizeOf(table.rowOf(page));
      assert(size === chunkRows(plan, chunk) * width, `page ${page} has the size of its chunk`);
      assert(chunkStart(plan, chunk) < this.#staged, `chunk ${chunk} has rows`);
    }
  }

  #rootSlot(): number {
    const { table } = this.#host.store;
    if (table.ids[this.#rootRow] !== this.root) {
      this.#rootRow = table.rowOf(this.root);
      if (this.#rootRow === 0) this.#refuseGone();
    }
    return slotOf(table, this.#rootRow);
  }

  /**
   * Catches up with ticks, and with refusals of what was staged.
   *
   * @throws {MmsbError} `invalid-handle` where the table is gone, `usage` where the page is a copy.
   */
  follow(): void {
    const slot = this.#rootSlot();
    const { generation } = this.#host.staging;
    const entries = this.#host.store.arena.words[(slot << 2) + (ROOT_ENTRIES >>> 2)] >>> 0;
    if (generation === this.#generation && entries === this.#committed) return;
    this.#read();
    this.#generation = generation;
  }

  /** Reads the root, and the entries of the directory that are not known yet. */
  #read(): void {
    const { words } = this.#host.store.arena;
    const root = this.#rootSlot() << 2;
    const self = words[root + (ROOT_SELF >>> 2)] >>> 0;
    if (self !== 0) {
      if (self !== this.root) this.#refuseCopy(self);
      const shard = words[root + (ROOT_SHARD >>> 2)];
      this.#shard = shard === 0 ? undefined : shard - 1;
    }
    const entries = words[root + (ROOT_ENTRIES >>> 2)] >>> 0;
    this.restore(Math.min(this.#committed, entries), this.length);
    this.#directories.length = 0;
    for (let k = 0; k < directoriesFor(entries); k++) {
      this.#directories.push(words[root + (ROOT_DIRECTORIES >>> 2) + k] >>> 0);
    }
    for (let index = this.#entries.length; index < entries; index++) {
      const at = this.#entryWord(index);
      const column = words[at] >>> 0, chunk = words[at + 1] >>> 0, page = words[at + 2] >>> 0;
      this.#entries.push({ column, chunk, page });
      const known = this.#columns[column];
      if (known !== undefined) this.#setChunk(known, chunk, page);
    }
    this.#committed = entries;
  }

  /** Word of the arena at which an entry of the directory begins. */
  #entryWord(index: number): number {
    const { table } = this.#host.store;
    const directory = directoryOf(index), page = this.#directories[directory];
    const row = table.rowOf(page);
    if (row === 0) this.#refuseDamaged(`page ${page}, a part of its directory, is not there`);
    return (table.slot(row) << 2) + (index - directoryStart(directory)) * ENTRY_WORDS;
  }

  /** The chunks of a column; found in the directory when the first handle that knows it asks. */
  #column(field: Field): Column {
    let column = this.#columns[field.index];
    // A batch that was refused may have been about to make another column of this one.
    if (column?.width !== field.width) {
      column = { plan: chunkPlan(field.width), width: field.width, pages: [], rows: [] };
      this.#columns[field.index] = column;
      for (const entry of this.#entries) {
        if (entry.column === field.index) this.#setChunk(column, entry.chunk, entry.page);
      }
    }
    return column;
  }

  #setChunk({ pages, rows }: Column, chunk: number, page: number): void {
    // Chunks that no page holds are 0 and not holes, which are slower to read.
    while (pages.length < chunk) rows[pages.push(0) - 1] = 0;
    pages[chunk] = page;
    rows[chunk] = this.#host.store.table.rowOf(page);
  }

  #pageOf(field: Field, chunk: number): number {
    return this.#column(field).pages[chunk] ?? 0;
  }

  /** Cuts the new values of a column at the ends of its chunks, and makes the chunks. */
  #cut(field: Field, bytes: Uint8Array, first: number, end: number, pieces: Piece[]): void {
    const { plan, width } = this.#column(field);
    for (let row = first; row < end;) {
      const chunk = chunkOf(plan, row), start = chunkStart(plan, chunk);
      const next = Math.min(end, start + chunkRows(plan, chunk));
      if (this.#pageOf(field, chunk) === 0) this.#addChunk(field, chunk);
      pieces.push({
        page: this.#pageOf(field, chunk),
        offset: (row - start) * width,
        bytes: bytes.subarray((row - first) * width, (next - first) * width),
      });
      row = next;
    }
  }

  #addChunk(field: Field, chunk: number): void {
    const column = this.#column(field);
    if (this.#entries.length >= ENTRIES_MAX) {
      throw new MmsbError("limit", `Cannot make more than ${ENTRIES_MAX} chunks of one table`, {
        values: { table: this.root, chunksMax: ENTRIES_MAX },
      });
    }
    if (directoriesFor(this.#entries.length + 1) > this.#directories.length) {
      const directory = this.#directories.length;
      this.#directories.push(this.#birth(directoryBytes(directory), `[directory ${directory}]`));
    }
    const size = chunkRows(column.plan, chunk) * column.width;
    const page = this.#birth(size, `.${field.name}[${chunk}]`);
    this.#entries.push({ column: field.index, chunk, page });
    this.#setChunk(column, chunk, page);
  }

  /** Pages of a table that has a name have one, too, so that logs and graphs say more than numbers. */
  #birth(size: number, part: string): number {
    assert(size <= PAGE_BYTES_MAX, "a chunk fits in a page");
    const { store } = this.#host, table = store.nameOf(this.root), name = table + part;
    // Nothing finds them by it, so one that is taken or too long is done without.
    const isFree = table !== "" && store.find(name) === 0 &&
      UTF8_BYTES_PER_UNIT * name.length <= NAME_BYTES_MAX;
    return stageBirth(this.#host, size, { name: isFree ? name : "", shard: this.#shard }).id;
  }

  /** Stages the directory's entries from `first` on. */
  #pushEntries(first: number, delta: DeltaOptions | number): void {
    const { batch } = this.#host.staging;
    for (let index = first; index < this.#entries.length;) {
      const directory = directoryOf(index), start = directoryStart(directory);
      const end = Math.min(this.#entries.length, directoryStart(directory + 1));
      const bytes = entriesBytes(this.#entries.slice(index, end));
      batch.push(this.#directories[directory], (index - start) * ENTRY_BYTES, bytes, delta);
      index = end;
    }
    const known = directoriesFor(first);
    if (known === this.#directories.length) return;
    const added = Uint32Array.from(this.#directories.slice(known));
    batch.push(this.root, ROOT_DIRECTORIES + 4 * known, new Uint8Array(added.buffer), delta);
  }

  /** Stages the root's counts. */
  #pushRoot(delta: DeltaOptions | number): void {
    const bytes = countsBytes(this.#staged, this.#entries.length);
    const { staging, store } = this.#host;
    // Rows and entries follow those that the root counts now.
    staging.expect(store, this.root);
    staging.batch.push(this.root, 0, bytes, delta);
  }

  /** Has the staging take back what comes, if it is rolled back to here. */
  #remember(): void {
    const entries = this.#entries.length, staged = this.#staged;
    this.#host.staging.effects.push({ undo: () => this.restore(entries, staged) });
  }

  #refuseCopy(self: number): never {
    throw new MmsbError(
      "usage",
      `Cannot open page ${this.root} as a table as it is a copy of the root page of table ${self}: append the rows to a new table`,
      { values: { page: this.root, table: self } },
    );
  }

  #refuseGone(): never {
    throw new MmsbError(
      "invalid-handle",
      `Cannot use the table of page ${this.root} as it is not there: it was deleted, or the batch that created it was refused`,
      { values: { page: this.root } },
    );
  }

  /** A page keeps its row while it lives, unless its bus follows a writer that was started again. */
  #findChunk(field: Field, chunk: number): void {
    const { pages, rows } = this.#column(field), page = pages[chunk];
    rows[chunk] = this.#host.store.table.rowOf(page);
    if (rows[chunk] !== 0) return;
    this.#refuseDamaged(`page ${page}, a chunk of "${field.name}", is not there`);
  }

  #refuseDamaged(reason: string): never {
    throw new MmsbError(
      "invalid-handle",
      `Cannot use the table of page ${this.root} as ${reason}: it was deleted by itself`,
      { values: { table: this.root } },
    );
  }
}

/** Stages what a new root page holds. */
export function stageRoot(host: PageHost, root: number, shard: number | undefined): void {
  const words = Uint32Array.of(root, shard === undefined ? 0 : shard + 1);
  host.staging.batch.push(root, ROOT_SELF, new Uint8Array(words.buffer));
}

function slotOf(table: PageTable, row: number): number {
  const slot = table.records[(row << RECORD_SHIFT) + RECORD_SLOT];
  return slot !== 0 ? slot : table.slot(row);
}

function withoutEpoch(delta: DeltaOptions | number): DeltaOptions | number {
  return typeof delta === "number" ? delta : { ...delta, expectedEpoch: undefined };
}
