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
import { SlotAllocator } from "./allocator.ts";
import { ADDRESS_BYTES, type Arena, REGION_SHIFT, SharedArena } from "./arena.ts";
import type { Metadata } from "./metadata.ts";
import { type PageState, PageTable } from "./page_table.ts";
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

const NO_METADATA: Metadata = new Map();

/** Pages, their bytes, names and metadata. */
export class PageStore {
  /** The memory. */
  readonly arena: Arena;
  /** The table. */
  readonly table: PageTable;
  /** The slots. */
  readonly allocator: SlotAllocator;
  /** The next id to be given out. */
  nextPageId = 1;
  #idsByName = new Map<string, number>();
  #names = new Map<number, string>();
  #metadata = new Map<number, Metadata>();

  /**
   * Makes an empty store.
   *
   * @param memoryLimitBytes Bytes that pages may take.
   * @throws {MmsbError} `allocation` where the room cannot be reserved.
   */
  constructor(memoryLimitBytes: number) {
    this.arena = new SharedArena(memoryLimitBytes);
    this.table = new PageTable(Math.floor(memoryLimitBytes / ADDRESS_BYTES));
    this.allocator = new SlotAllocator(this.arena);
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
    const slot = this.allocator.allocate(birth.size);
    let row: number;
    try {
      row = this.table.add(id, slot, birth.size, birth.shard);
    } catch (error) {
      this.allocator.free(slot, birth.size);
      throw error;
    }
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

  /** Removes a page: its slot, row, name and metadata. */
  remove(id: number): void {
    const row = this.table.rowOf(id);
    assert(row !== 0, `page ${id} is there`);
    this.allocator.free(this.table.slot(row), this.table.sizeOf(row));
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

  /** Name of a page, "" for none. */
  nameOf(id: number): string {
    return this.#names.get(id) ?? "";
  }

  /** Metadata of a page. */
  metadataOf(id: number): Metadata {
    return this.#metadata.get(id) ?? NO_METADATA;
  }

  /** Replaces a page's metadata. */
  setMetadata(id: number, metadata: Metadata): void {
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
    for (const [name, id] of this.#idsByName) {
      assert(
        this.table.rowOf(id) !== 0 && this.#names.get(id) === name,
        `name "${name}" has a page`,
      );
    }
  }
}
