/**
 * Page store: the pages of one bus with their slots, names and metadata.
 *
 * It is what a log is replayed into and what a bus changes tick by tick. A page is created
 * `allocated`: it has its id, row and zeroed slot, but takes no deltas until its tick commits and
 * makes it `active`. Names and metadata cost memory only for the pages that have them.
 *
 * @module
 */

import { assert, MmsbError, PAGE_ID_MAX } from "../base/mod.ts";
import { type AllocatorImage, SlotAllocator } from "./allocator.ts";
import { ADDRESS_BYTES, type Arena, REGION_SHIFT } from "./arena.ts";
import { type EdgeImage, EdgeTable } from "./edge_table.ts";
import type { DirectoryRecord, PageDirectory } from "./mapped_directory.ts";
import type { Metadata } from "./metadata.ts";
import { PageMarks } from "./page_marks.ts";
import { type PageMemory, sharedMemory } from "./page_memory.ts";
import { type PageState, PageTable, RECORD_WORDS, type TableImage } from "./page_table.ts";
import { type RuleBinding, RuleBindings } from "./rule_bindings.ts";
import { sizeClassOf } from "./size_class.ts";

/** What a page is born with. */
export interface PageBirth {
  /** Bytes. */
  readonly size: number;
  /** Shard. */
  readonly shard: number;
  /** Name, "" for none. */
  readonly name: string;
  /** Metadata, if any. */
  readonly metadata?: Metadata;
}

/** A store as it stood, so that it can be put back there; made by {@linkcode PageStore.image}. */
export interface StoreImage {
  /** The table. */
  readonly table: TableImage;
  /** The slots. */
  readonly allocator: AllocatorImage;
  /** The pages' bytes in row order, each page from a whole word on. */
  readonly words: Int32Array;
  /** For each row the word at which its bytes begin. */
  readonly starts: Float64Array;
  /** Names by page. */
  readonly names: ReadonlyMap<number, string>;
  /** Metadata by page. */
  readonly metadata: ReadonlyMap<number, Metadata>;
  /** The next id to be given out. */
  readonly nextPageId: number;
  /** The edges. */
  readonly edges: EdgeImage;
  /** The graph's version. */
  readonly graphVersion: number;
  /** The bound rules. */
  readonly bindings: readonly RuleBinding[];
  /** The marks. */
  readonly marks: ReadonlyMap<number, number>;
  /** The next number of a rule to be given out. */
  readonly nextRule: number;
}

/** What {@linkcode PageStore.restore} copied. */
export interface Restored {
  /** Pages whose bytes were copied. */
  readonly pages: number;
  /** Bytes copied. */
  readonly bytes: number;
}

const NO_METADATA: Metadata = new Map();
const ADDRESS_WORDS: number = ADDRESS_BYTES / 4;

/** Pages, their bytes, names and metadata. */
export class PageStore {
  /** The memory. */
  readonly arena: Arena;
  /** The table. */
  readonly table: PageTable;
  /** The slots. */
  readonly allocator: SlotAllocator;
  /** The edges between pages, by their rows. */
  readonly edges: EdgeTable = new EdgeTable();
  /** The next id to be given out. */
  nextPageId = 1;
  /** The next number of a rule to be given out. */
  nextRule = 1;
  /** The bound rules. */
  readonly bindings: RuleBindings = new RuleBindings();
  /** The marks on pages. */
  readonly marks: PageMarks = new PageMarks();
  #idsByName = new Map<string, number>();
  #names = new Map<number, string>();
  #metadata = new Map<number, Metadata>();
  /** What the graph's version is ahead of the changes that its parts have counted. */
  #graphVersionBase = 0;
  /** The image at which the store stood last, while epochs tell what has changed since. */
  #base: StoreImage | undefined;

  /** Where names and metadata are written for other processes or threads, if at all. */
  #directory: PageDirectory | undefined;

  /**
   * Makes an empty store, or takes over what its memory holds.
   *
   * @param memoryLimitBytes Bytes that pages may take.
   * @param memory Where they stand. Default: memory that threads share.
   * @throws {MmsbError} `allocation` where the room cannot be reserved.
   */
  constructor(memoryLimitBytes: number, memory: PageMemory = sharedMemory(memoryLimitBytes)) {
    this.arena = memory.arena;
    this.table = new PageTable(Math.floor(this.arena.limitBytes / ADDRESS_BYTES), memory.table);
    this.allocator = new SlotAllocator(this.arena);
    this.#directory = memory.directory;
    if (memory.found === undefined) return;
    this.allocator.load(memory.found.allocator);
    this.nextPageId = memory.found.nextPageId;
    this.learn(memory.found.records, true);
    for (const id of this.#names.keys()) if (this.table.rowOf(id) === 0) this.#forget(id);
    for (const id of this.#metadata.keys()) if (this.table.rowOf(id) === 0) this.#forget(id);
    // What was staged and never ticked: its id will be given to another page.
    const { nextPageId, records } = memory.found;
    if (records.some(({ page }) => page >= nextPageId)) this.#directory?.rewrite(this.#records());
  }

  /** Version of the graph: grows by 1 for every edge added or removed and rule bound or unbound. */
  get graphVersion(): number {
    return this.#graphVersionBase + this.edges.changes + this.bindings.changes;
  }

  /** Sets the version where what is read says what it was. */
  set graphVersion(version: number) {
    this.#graphVersionBase = version - this.edges.changes - this.bindings.changes;
  }

  /**
   * Creates a page that takes no deltas yet.
   *
   * @returns Its row.
   * @throws {MmsbError} `allocation` or `limit` where memory or the table is full (nothing is then
   * changed), `usage` where the name is taken.
   */
  create(id: number, birth: PageBirth): number {
    if (birth.name !== "" && this.#idsByName.has(birth.name)) {
      throw new MmsbError(
        "usage",
        `Cannot name a page "${birth.name}": page ${this.#idsByName.get(birth.name)} has that name`,
        { values: { name: birth.name, page: this.#idsByName.get(birth.name) } },
      );
    }
    if (id > PAGE_ID_MAX) {
      throw new MmsbError("limit", `Cannot create more than ${PAGE_ID_MAX} pages in one directory`);
    }
    const hasRecord = this.#directory !== undefined &&
      (birth.name !== "" || (birth.metadata?.size ?? 0) > 0);
    const record = { page: id, name: birth.name, metadata: birth.metadata ?? NO_METADATA };
    if (hasRecord) this.#directory!.reserve([record], () => this.#records());
    const slot = this.allocator.allocate(birth.size);
    let row: number;
    try {
      row = this.table.add(id, slot, birth.size, birth.shard);
    } catch (error) {
      this.allocator.free(slot, birth.size);
      throw error;
    }
    if (hasRecord) this.#directory!.add(record);
    if (birth.name !== "") {
      this.#idsByName.set(birth.name, id);
      this.#names.set(id, birth.name);
    }
    if (birth.metadata !== undefined && birth.metadata.size > 0) {
      this.#metadata.set(id, birth.metadata);
    }
    if (id >= this.nextPageId) this.nextPageId = id + 1;
    return row;
  }

  /** Removes a page: its slot, row, edges, name, metadata and marks, and the bindings that name it. */
  remove(id: number): void {
    const row = this.table.rowOf(id);
    assert(row !== 0, `page ${id} is there`);
    this.marks.removePage(id);
    this.bindings.removePage(id);
    this.allocator.free(this.table.slot(row), this.table.sizeOf(row));
    this.edges.removeRow(row);
    this.table.remove(id);
    const name = this.#names.get(id);
    if (name !== undefined) {
      this.#names.delete(id);
      this.#idsByName.delete(name);
    }
    this.#metadata.delete(id);
  }

  /** State of a page; `deleted` for ids that are not there. */
  state(id: number): PageState {
    const row = this.table.rowOf(id);
    return row === 0 ? "deleted" : this.table.isActive(row) ? "active" : "allocated";
  }

  /** Id of the page with a name, 0 where there is none. */
  find(name: string): number {
    return this.#idsByName.get(name) ?? 0;
  }

  /** Whether any page has a name or metadata. */
  get hasTexts(): boolean {
    return this.#names.size > 0 || this.#metadata.size > 0;
  }

  /** Name of a page, "" for none. */
  nameOf(id: number): string {
    return this.#names.get(id) ?? "";
  }

  /** Metadata of a page. */
  metadataOf(id: number): Metadata {
    return this.#metadata.get(id) ?? NO_METADATA;
  }

  /**
   * Makes sure that {@linkcode PageStore.setMetadata} will not be refused.
   *
   * @throws {MmsbError} `disk-full` or `limit` where a mapped file has no room for it.
   */
  reserveMetadata(
    changes: readonly { readonly page: number; readonly metadata: Metadata }[],
  ): void {
    if (changes.length === 0) return;
    const records = changes.map(({ page, metadata }) => ({ page, name: undefined, metadata }));
    this.#directory?.reserve(records, () => this.#records());
  }

  /**
   * Replaces a page's metadata.
   *
   * @throws {MmsbError} as {@linkcode PageStore.reserveMetadata}, if that was not asked before.
   */
  setMetadata(id: number, metadata: Metadata): void {
    if (this.#directory !== undefined) {
      this.reserveMetadata([{ page: id, metadata }]);
      this.#directory.add({ page: id, name: undefined, metadata });
    }
    if (metadata.size === 0) this.#metadata.delete(id);
    else this.#metadata.set(id, metadata);
  }

  /**
   * Gives a page another size: its leading bytes stay, what is added is zero. Its id, epoch, name and
   * metadata stay as well; the bytes move only where the size class changes.
   *
   * @throws {MmsbError} `allocation` where the memory is full; nothing is changed then.
   */
  resize(id: number, size: number): void {
    this.finishResize(id, size, this.reserveResize(id, size));
  }

  /**
   * Takes the room that {@linkcode PageStore.resize} needs, so that it cannot fail later.
   *
   * @returns What to give to `finishResize` or `cancelResize`: the slot, 0 where the page's own will do.
   * @throws {MmsbError} `allocation` where the memory is full; nothing is changed then.
   */
  reserveResize(id: number, size: number): number {
    const row = this.table.rowOf(id);
    assert(row !== 0, `page ${id} is there`);
    const stays = sizeClassOf(size) === sizeClassOf(this.table.sizeOf(row));
    return stays ? 0 : this.allocator.allocate(size);
  }

  /** Gives back what `reserveResize` took. */
  cancelResize(size: number, slot: number): void {
    if (slot !== 0) this.allocator.free(slot, size);
  }

  /** Resizes a page with the room that `reserveResize` took for just this. */
  finishResize(id: number, size: number, slot: number): void {
    const { table } = this;
    this.#base = undefined;
    const row = table.rowOf(id), before = table.sizeOf(row), old = table.slot(row);
    if (slot === 0) {
      // A page that shrank earlier left its bytes behind its end.
      if (size > before) this.arena.bytes(old, size).fill(0, before);
      table.setSlot(row, old, size);
      return;
    }
    this.arena.bytes(slot, size).set(this.arena.bytes(old, Math.min(size, before)));
    table.setSlot(row, slot, size);
    this.allocator.free(old, before);
  }

  /** Gives a page to another shard. */
  migrate(id: number, shard: number): void {
    const row = this.table.rowOf(id);
    assert(row !== 0, `page ${id} is there`);
    this.table.shards[row] = shard;
  }

  /** Takes all pages out at once; ids begin at 1 again. The memory is kept, pages come back zeroed. */
  clear(): void {
    this.allocator.clear();
    this.table.clear();
    this.edges.clear();
    this.bindings.clear();
    this.marks.clear();
    this.graphVersion = 0;
    this.nextRule = 1;
    this.#idsByName.clear();
    this.#names.clear();
    this.#metadata.clear();
    this.nextPageId = 1;
    this.#base = undefined;
    this.#directory?.rewrite([]);
  }

  /**
   * Writes names and metadata to a directory from now on, beginning with those that there are.
   *
   * @throws {MmsbError} `limit` where they have no room there; nothing is changed then.
   */
  keepDirectory(directory: PageDirectory): void {
    directory.rewrite(this.#records());
    this.#directory = directory;
  }

  /** Takes over names and metadata that stand in the directory of a mapped file, oldest first. */
  learn(records: readonly DirectoryRecord[], isNew: boolean): void {
    if (isNew) {
      this.#idsByName.clear();
      this.#names.clear();
      this.#metadata.clear();
    }
    for (const { page, name = "", metadata } of records) {
      if (name !== "") {
        this.#idsByName.set(name, page);
        this.#names.set(page, name);
      }
      if (metadata.size > 0) this.#metadata.set(page, metadata);
      else this.#metadata.delete(page);
    }
  }

  /** Copies all that the store holds. */
  image(): StoreImage {
    const table = this.table.image();
    const starts = new Float64Array(table.rows + 1);
    for (let row = 0; row < table.rows; row++) {
      starts[row + 1] = starts[row] + wordsOf(this.table.sizeOf(row));
    }
    const words = new Int32Array(starts[table.rows]);
    for (const row of this.table.rows()) {
      const from = this.table.slot(row) * ADDRESS_WORDS;
      const to = from + wordsOf(this.table.sizeOf(row));
      words.set(this.arena.words.subarray(from, to), starts[row]);
    }
    this.#base = {
      table,
      allocator: this.allocator.image(),
      words,
      starts,
      names: new Map(this.#names),
      metadata: new Map(this.#metadata),
      nextPageId: this.nextPageId,
      edges: this.edges.image(),
      graphVersion: this.graphVersion,
      bindings: this.bindings.image(),
      marks: this.marks.image(),
      nextRule: this.nextRule,
    };
    return this.#base;
  }

  /**
   * Puts the store back to an image, of this store or of another one with the same room: ids, rows,
   * slots and counters too. Where the store stood at the image before, only pages are copied that have
   * changed since, as their epochs tell.
   *
   * @throws {MmsbError} `allocation` or `limit` where there is no room; nothing is changed then.
   */
  restore(image: StoreImage): Restored {
    const rows = this.#changedSince(image);
    this.#directory?.rewrite(recordsOf(image.names, image.metadata));
    this.allocator.restore(image.allocator);
    this.table.restore(image.table);
    this.edges.restore(image.edges);
    this.bindings.restore(image.bindings);
    this.marks.restore(image.marks);
    this.nextRule = image.nextRule;
    this.graphVersion = image.graphVersion;
    let bytes = 0;
    for (const row of rows) {
      const from = image.starts[row], to = image.starts[row + 1];
      this.arena.words.set(image.words.subarray(from, to), this.table.slot(row) * ADDRESS_WORDS);
      bytes += this.table.sizeOf(row);
    }
    this.#names = new Map(image.names);
    this.#idsByName = new Map([...image.names].map(([id, name]) => [name, id]));
    this.#metadata = new Map(image.metadata);
    this.nextPageId = image.nextPageId;
    this.#base = image;
    return { pages: rows.length, bytes };
  }

  /** Rows of an image whose bytes this store may not have. */
  #changedSince({ table }: StoreImage): number[] {
    const isKnown = this.#base?.table === table, { ids, records, epochs } = this.table;
    const rows: number[] = [];
    for (let row = 1; row < table.rows; row++) {
      if (table.ids[row] === 0) continue;
      // Ids are never used twice, so the same page with the same epoch has the same bytes.
      const isSame = isKnown && ids[row] === table.ids[row] &&
        records[row * RECORD_WORDS] === table.records[row * RECORD_WORDS] &&
        epochs.low[row] === table.epochs.low[row] && epochs.high[row] === table.epochs.high[row];
      if (!isSame) rows.push(row);
    }
    return rows;
  }

  #records(): Generator<DirectoryRecord> {
    return recordsOf(this.#names, this.#metadata);
  }

  #forget(id: number): void {
    const name = this.#names.get(id);
    // Another page may have the name by now.
    if (name !== undefined && this.#idsByName.get(name) === id) this.#idsByName.delete(name);
    this.#names.delete(id);
    this.#metadata.delete(id);
  }

  /** Live bytes of a row's page. */
  view(row: number): Uint8Array {
    return this.arena.bytes(this.table.slot(row), this.table.sizeOf(row));
  }

  /** Copies bytes of a row's page; the span was checked. */
  copyOut(row: number, offset: number, target: Uint8Array, length: number): void {
    const slot = this.table.slot(row);
    const region = this.arena.region(slot >>> REGION_SHIFT);
    const from = (slot & (1 << REGION_SHIFT) - 1) * ADDRESS_BYTES + offset;
    if (length <= 96) {
      for (let i = 0; i < length; i++) target[i] = region[from + i];
    } else {
      target.set(region.subarray(from, from + length));
    }
  }

  /** Checks all structures, and that no two pages share bytes. */
  checkInvariants(): void {
    this.arena.checkInvariants();
    this.allocator.checkInvariants();
    this.table.checkInvariants();
    this.edges.checkInvariants();
    for (const edge of this.edges.edges()) {
      const { ids } = this.table, from = this.edges.from(edge), to = this.edges.to(edge);
      assert(ids[from] > 0 && ids[to] > 0, `edge ${from} → ${to} is between pages`);
    }
    const spans: [number, number][] = [];
    for (const row of this.table.rows()) {
      spans.push([
        this.table.slot(row),
        this.table.slot(row) + this.table.sizeOf(row) / ADDRESS_BYTES,
      ]);
    }
    spans.sort((a, b) => a[0] - b[0]);
    for (let i = 1; i < spans.length; i++) {
      assert(spans[i][0] >= spans[i - 1][1], `slot ${spans[i][0]} is one page's own`);
    }
    assert(this.allocator.statistics().live === this.table.size, "each page has one slot");
    const hasPage = (page: number) => this.table.rowOf(page) !== 0;
    this.bindings.checkInvariants(hasPage);
    this.marks.checkInvariants(hasPage);
    for (const [name, id] of this.#idsByName) {
      assert(
        this.table.rowOf(id) !== 0 && this.#names.get(id) === name,
        `name "${name}" has a page`,
      );
    }
  }
}

function wordsOf(bytes: number): number {
  return bytes + 3 >>> 2;
}

/** The names and metadata of all pages that have any. */
function* recordsOf(
  names: ReadonlyMap<number, string>,
  metadata: ReadonlyMap<number, Metadata>,
): Generator<DirectoryRecord> {
  for (const [page, name] of names) {
    yield { page, name, metadata: metadata.get(page) ?? NO_METADATA };
  }
  for (const [page, entries] of metadata) {
    if (!names.has(page)) yield { page, name: "", metadata: entries };
  }
}
