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
import { packPages } from "./_pack.ts";
import { type AllocatorImage, FIRST_SPAN, SlotAllocator } from "./allocator.ts";
import { ADDRESS_BYTES, type Arena, REGION_SHIFT } from "./arena.ts";
import { type EdgeImage, EdgeTable } from "./edge_table.ts";
import type { DirectoryRecord, PageDirectory } from "./mapped_directory.ts";
import type { Metadata } from "./metadata.ts";
import { PageAges } from "./page_ages.ts";
import { PageMarks } from "./page_marks.ts";
import { type PageMemory, sharedMemory } from "./page_memory.ts";
import {
  type PageState,
  PageTable,
  RECORD_LIMIT,
  RECORD_SLOT,
  RECORD_WORDS,
  type TableImage,
} from "./page_table.ts";
import { Residency } from "./residency.ts";
import { ResidentSlots } from "./residency_slots.ts";
import { type RuleBinding, RuleBindings } from "./rule_bindings.ts";
import { sizeClassOf } from "./size_class.ts";
import { openSpillDisk, type SpillDisk, SpillFile } from "./spill_file.ts";

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

/** How a store spills pages for which there is no room in memory. */
export interface SpillPlan {
  /** Makes the file that they go to. */
  readonly open: () => SpillDisk;
  /** Most bytes of it. */
  readonly limitBytes?: number;
  /** Ticks from which on a page that was not used goes before room is needed. */
  readonly coldAfterTicks?: number;
}

/** A plan whose files stand in a folder, one for each store. */
export function spillTo(
  folder: string,
  options: { readonly limitBytes?: number; readonly coldAfterTicks?: number } = {},
): SpillPlan {
  return { ...options, open: () => openSpillDisk(folder) };
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
/** Pages removed one by one, where room for more would cost as much as it saves. */
const REMOVED_ALONE = 32;
/** Pages removed in one go. */
const REMOVED_TOGETHER = 4096;

/** Pages, their bytes, names and metadata. */
export class PageStore {
  /** The memory. */
  readonly arena: Arena;
  /** The table. */
  readonly table: PageTable;
  /** The slots. */
  readonly allocator: SlotAllocator;
  /** Which pages are in memory, where some may not be. */
  readonly residency: Residency | undefined;
  /** The edges between pages, by their rows. */
  readonly edges: EdgeTable = new EdgeTable();
  /** The next id to be given out. */
  nextPageId = 1;
  /** The next number of a rule to be given out. */
  nextRule = 1;
  /** The bound rules. */
  readonly bindings: RuleBindings = new RuleBindings();
  /** Whether pages may be moved to make room: while a log is replayed, and nobody has seen where they stand. */
  isMovable = false;
  /** Whether live bytes of pages were given out: then they cannot be moved any more. */
  isSeen = false;
  /** Ages of pages, once somebody has asked for them. */
  ages: PageAges | undefined;
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
   * @param given Where they stand. Default: memory that threads share.
   * @param spill Where pages go for which there is no room; close the store then.
   * @throws {MmsbError} `allocation` where the room cannot be reserved; `disk-full`, `read-only` or `io` where
   * there can be no spill file.
   */
  constructor(
    memoryLimitBytes: number,
    given?: PageMemory,
    spill?: SpillPlan,
  ) {
    const memory = given ?? sharedMemory(memoryLimitBytes);
    this.arena = memory.arena;
    // Pages that are spilled have rows and no room.
    const pagesMax = spill === undefined ? this.arena.limitBytes / ADDRESS_BYTES : Infinity;
    this.table = new PageTable(Math.floor(pagesMax), memory.table);
    this.#directory = memory.directory;
    if (spill === undefined) {
      this.allocator = new SlotAllocator(this.arena);
    } else {
      const { table, arena } = this, slots = new ResidentSlots(arena);
      this.allocator = slots;
      const ages = this.ages = new PageAges(table);
      const file = new SpillFile(spill.open(), spill.limitBytes);
      const { coldAfterTicks } = spill;
      this.residency = new Residency({ table, slots, arena, file, ages, coldAfterTicks });
    }
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
    const slot = this.#allocate(birth.size);
    let row: number;
    try {
      row = this.table.add(id, slot, birth.size, birth.shard);
    } catch (error) {
      this.allocator.free(slot, birth.size);
      throw error;
    }
    this.residency?.begin(row, slot);
    if (hasRecord) this.#directory!.add(record);
    if (birth.name !== "") {
      this.#idsByName.set(birth.name, id);
      this.#names.set(id, birth.name);
    }
    if (birth.metadata !== undefined && birth.metadata.size > 0) {
      this.#metadata.set(id, birth.metadata);
    }
    if (id >= this.nextPageId) this.nextPageId = id + 1;
    this.ages?.begin(row);
    return row;
  }

  /** Removes a page: its slot, row, edges, name, metadata and marks, and the bindings that name it. */
  remove(id: number): void {
    const row = this.table.rowOf(id);
    assert(row !== 0, `page ${id} is there`);
    this.marks.removePage(id);
    this.bindings.removePage(id);
    this.#retireRow(row);
    this.edges.removeRow(row);
    this.table.remove(id);
    const name = this.#names.get(id);
    if (name !== undefined) {
      this.#names.delete(id);
      this.#idsByName.delete(name);
    }
    this.#metadata.delete(id);
  }

  /**
   * Removes many pages, as {@linkcode PageStore.remove} would one after the other: in order, with the same
   * rows free in the end.
   *
   * @param ids Pages that are there.
   */
  removeAll(ids: ReadonlySet<number>): void {
    if (ids.size < REMOVED_ALONE) {
      for (const id of ids) this.remove(id);
      return;
    }
    const room = Math.min(ids.size, REMOVED_TOGETHER);
    const some = new Uint32Array(room), rows = new Int32Array(room);
    let count = 0;
    for (const id of ids) {
      some[count++] = id;
      if (count < room) continue;
      this.#removeSome(some, rows, count);
      count = 0;
    }
    this.#removeSome(some, rows, count);
  }

  #removeSome(ids: Uint32Array, rows: Int32Array, count: number): void {
    const { table, allocator, edges, marks, bindings } = this;
    for (let i = 0; i < count; i++) rows[i] = table.rowOf(ids[i]);
    for (let i = 0; i < count; i++) if (rows[i] === 0) assert(false, `page ${ids[i]} is there`);
    if (this.residency !== undefined) { for (let i = 0; i < count; i++) this.#retireRow(rows[i]); }
    else {
      for (let i = 0; i < count; i++) {
        allocator.retire(table.slotInMemory(rows[i]), table.sizeOf(rows[i]));
      }
    }
    if (marks.size > 0) { for (let i = 0; i < count; i++) marks.removePage(ids[i]); }
    if (bindings.size > 0) { for (let i = 0; i < count; i++) bindings.removePage(ids[i]); }
    for (let i = 0; i < count && edges.size > 0; i++) edges.removeRow(rows[i]);
    table.removeRows(ids, rows, count);
    if (this.#names.size + this.#metadata.size === 0) return;
    for (let i = 0; i < count; i++) this.#forget(ids[i]);
  }

  /** Notes ages of pages from a tick on, if that is not done already. */
  trackAges(tick: number): PageAges {
    return this.ages ??= new PageAges(this.table, tick);
  }

  /** Gives back what the bytes of a page take, in memory or not. */
  #retireRow(row: number): void {
    const slot = this.table.slotInMemory(row);
    this.residency?.forget(row);
    if (slot !== 0) this.allocator.retire(slot, this.table.sizeOf(row));
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

  /** Names and metadata of the pages that have any. */
  get texts(): {
    readonly names: ReadonlyMap<number, string>;
    readonly metadata: ReadonlyMap<number, Metadata>;
  } {
    return { names: this.#names, metadata: this.#metadata };
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
    // It is read when nothing may fail any more.
    this.residency?.holdRow(row);
    return stays ? 0 : this.#allocate(size);
  }

  /** Takes a slot; pages that may be moved are, where there is room in pieces only. */
  #allocate(size: number): number {
    try {
      return this.allocator.allocate(size);
    } catch (error) {
      const isFull = error instanceof MmsbError && error.code === "allocation";
      if (!isFull || !this.isMovable || this.residency !== undefined) throw error;
    }
    const { end, gaps } = packPages(this.table, this.arena, FIRST_SPAN);
    this.allocator.packed(end, gaps);
    return this.allocator.allocate(size);
  }

  /** Gives back what `reserveResize` took. */
  cancelResize(size: number, slot: number): void {
    if (slot !== 0) this.allocator.free(slot, size);
  }

  /** Resizes a page with the room that `reserveResize` took for just this. */
  finishResize(id: number, size: number, slot: number): void {
    const { table } = this;
    this.#base = undefined;
    const row = table.rowOf(id), before = table.sizeOf(row), old = table.slotInMemory(row);
    if (slot === 0) {
      // A page that shrank earlier left its bytes behind its end.
      if (size > before) this.arena.bytes(old, size).fill(0, before);
      table.setSlot(row, old, size);
      return;
    }
    this.arena.bytes(slot, size).set(this.arena.bytes(old, Math.min(size, before)));
    table.setSlot(row, slot, size);
    this.residency?.moved(row, slot);
    this.allocator.retire(old, before);
  }

  /** Gives a page to another shard. */
  migrate(id: number, shard: number): void {
    const row = this.table.rowOf(id);
    assert(row !== 0, `page ${id} is there`);
    this.table.shards[row] = shard;
  }

  /** Takes all pages out at once; ids begin at 1 again. The memory is kept, pages come back zeroed. */
  clear(): void {
    this.residency?.clear();
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
    this.ages?.clear(0);
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
    const bytes = new Uint8Array(words.buffer);
    for (const row of this.table.rows()) {
      if (this.table.isSpilled(row)) {
        bytes.set(this.residency!.copyOf(row), starts[row] * 4);
        // As it will be when it is put back.
        table.records[row * RECORD_WORDS + RECORD_LIMIT] = this.table.sizeOf(row);
        continue;
      }
      const from = this.table.slotInMemory(row) * ADDRESS_WORDS;
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
   * @throws {MmsbError} `allocation` or `limit` where there is no room; nothing is changed then. Where pages are
   * spilled also what the spill file says; the store is then only to be closed.
   */
  restore(image: StoreImage): Restored {
    if (this.residency !== undefined) this.#base = undefined;
    const rows = this.#changedSince(image);
    this.#directory?.rewrite(recordsOf(image.names, image.metadata));
    this.allocator.restore(image.allocator);
    this.residency?.clear();
    this.table.restore(image.table);
    this.edges.restore(image.edges);
    this.bindings.restore(image.bindings);
    this.marks.restore(image.marks);
    this.nextRule = image.nextRule;
    this.graphVersion = image.graphVersion;
    let bytes = 0;
    for (const row of rows) {
      const from = image.starts[row], to = image.starts[row + 1];
      if (this.residency !== undefined) this.#placeAnew(row);
      this.arena.words.set(
        image.words.subarray(from, to),
        this.table.slotInMemory(row) * ADDRESS_WORDS,
      );
      bytes += this.table.sizeOf(row);
    }
    this.#names = new Map(image.names);
    this.#idsByName = new Map([...image.names].map(([id, name]) => [name, id]));
    this.#metadata = new Map(image.metadata);
    this.nextPageId = image.nextPageId;
    this.#base = image;
    this.ages?.clear();
    return { pages: rows.length, bytes };
  }

  /** Gives a page of an image a slot; others go where there is none. */
  #placeAnew(row: number): void {
    const slot = this.allocator.allocate(this.table.sizeOf(row));
    this.table.records[row * RECORD_WORDS + RECORD_SLOT] = slot;
    this.residency!.begin(row, slot);
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

  /** Bytes of a row's page, to be read at once: the live ones, or a copy where they are not in memory. */
  view(row: number): Uint8Array {
    const slot = this.table.slotInMemory(row);
    if (slot === 0 && this.residency !== undefined) return this.residency.copyOf(row);
    return this.arena.bytes(slot, this.table.sizeOf(row));
  }

  /** Live bytes of a row's page, to be kept: it stays in memory as long as it lives. */
  liveView(row: number): Uint8Array {
    this.residency?.pinView(row);
    this.isSeen = true;
    return this.view(row);
  }

  /** Bytes of a row's page that pages made meanwhile do not take the place of. */
  stableView(row: number): Uint8Array {
    return this.residency === undefined ? this.view(row) : this.view(row).slice();
  }

  /** Removes the spill file, if there is one; spilled pages cannot be read any more. */
  close(): void {
    this.residency?.close();
  }

  /** Copies bytes of a row's page; the span was checked. */
  copyOut(row: number, offset: number, target: Uint8Array, length: number): void {
    const slot = this.table.slot(row);
    if (this.residency !== undefined) this.residency.use(row);
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
      if (this.table.isSpilled(row)) continue;
      spans.push([
        this.table.slotInMemory(row),
        this.table.slotInMemory(row) + this.table.sizeOf(row) / ADDRESS_BYTES,
      ]);
    }
    spans.sort((a, b) => a[0] - b[0]);
    for (let i = 1; i < spans.length; i++) {
      assert(spans[i][0] >= spans[i - 1][1], `slot ${spans[i][0]} is one page's own`);
    }
    const inMemory = this.table.size - (this.residency?.spilled ?? 0);
    assert(this.allocator.statistics().live === inMemory, "each page in memory has one slot");
    this.residency?.checkInvariants();
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
