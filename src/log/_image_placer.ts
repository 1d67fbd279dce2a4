/**
 * Image placer: puts the images of a checkpoint into a store.
 *
 * Cost: some 0.3 µs a page, and a copy of its bytes where they are not read in place.
 */

import { alignUp } from "../base/mod.ts";
import { ADDRESS_BYTES, type PageBirth, type PageStore, REGION_SHIFT } from "../physical/mod.ts";
import type { ChunkColumns } from "./_chunk_columns.ts";
import { IMAGE_ALIGN_BYTES } from "./checkpoint_format.ts";

/** A birth that is written over for each page, so that a million pages make no million objects. */
type Birth = { -readonly [key in keyof PageBirth]: PageBirth[key] };

/** Fills one store. */
export class ImagePlacer {
  /** The store. */
  readonly store: PageStore;
  /** Pages so far. */
  pages = 0;
  readonly #plain: Birth = { size: 0, shard: 0, name: "" };
  /** Tick at which the image in a row was made, and 1; 0 for none. */
  #ticks = new Float64Array(1024);

  /** Begins with an empty store. */
  constructor(store: PageStore) {
    this.store = store;
  }

  /** Tick at which a page's image was made. */
  tickOf(page: number): number | undefined {
    const tick = this.#ticks[this.store.table.rowOf(page)];
    return tick > 0 ? tick - 1 : undefined;
  }

  /**
   * Creates the pages of a chunk.
   *
   * @returns Their slots.
   */
  create(columns: ChunkColumns, tick: number): Uint32Array {
    return this.#createSome(columns, tick, 0, columns.pages);
  }

  #createSome(columns: ChunkColumns, tick: number, first: number, end: number): Uint32Array {
    const { store } = this, { table } = store, { ids, sizes, low, high, texts } = columns;
    const slots = new Uint32Array(end - first);
    const hasTexts = texts.size > 0;
    for (let i = first; i < end; i++) {
      const text = hasTexts ? texts.get(i) : undefined;
      this.#plain.size = sizes[i];
      this.#plain.shard = columns.shards[i];
      const birth = text === undefined ? this.#plain : { ...this.#plain, ...text };
      const row = store.create(ids[i] >>> 0, birth);
      table.setActive(row, true);
      if (low[i] !== 0 || high[i] !== 0) {
        table.epochs.low[row] = low[i];
        table.epochs.high[row] = high[i];
        table.markClean(row);
      }
      this.#setTick(row, tick);
      slots[i - first] = table.slotInMemory(row);
    }
    this.pages += end - first;
    return slots;
  }

  /** Creates the pages of a chunk and fills them, one after the other: those before may have to go meanwhile. */
  place(columns: ChunkColumns, tick: number, data: Uint8Array): void {
    const { pages, sizes } = columns;
    let at = 0;
    for (let i = 0; i < pages; i++) {
      const [slot] = this.#createSome(columns, tick, i, i + 1);
      const bytes = alignUp(sizes[i], IMAGE_ALIGN_BYTES);
      this.store.arena.bytes(slot, bytes).set(data.subarray(at, at + bytes));
      at += bytes;
    }
  }

  /** The memory of a chunk's pages, in as few spans as follow each other there as in the data. */
  spans({ pages, sizes }: ChunkColumns, slots: Uint32Array): Uint8Array[] {
    const spans: Uint8Array[] = [], { arena } = this.store;
    let from = slots[0], bytes = 0;
    for (let i = 0; i < pages; i++) {
      const slot = slots[i];
      const isNext = slot === from + bytes / ADDRESS_BYTES &&
        slot >>> REGION_SHIFT === from >>> REGION_SHIFT;
      if (!isNext) {
        spans.push(arena.bytes(from, bytes));
        from = slot;
        bytes = 0;
      }
      bytes += alignUp(sizes[i], IMAGE_ALIGN_BYTES);
    }
    spans.push(arena.bytes(from, bytes));
    return spans;
  }

  /** Copies a chunk's data to its pages. */
  fill(columns: ChunkColumns, slots: Uint32Array, data: Uint8Array): void {
    let at = 0;
    for (const span of this.spans(columns, slots)) {
      span.set(data.subarray(at, at + span.length));
      at += span.length;
    }
  }

  #setTick(row: number, tick: number): void {
    if (row >= this.#ticks.length) {
      const ticks = new Float64Array(2 * row);
      ticks.set(this.#ticks);
      this.#ticks = ticks;
    }
    this.#ticks[row] = tick + 1;
  }
}
