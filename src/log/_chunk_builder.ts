/**
 * Chunk builder: copies some pages, as they stand between two ticks, into a chunk of a checkpoint.
 *
 * It is the part of a checkpoint during which ticks wait, so it does nothing but copy: columns in their
 * shortest form, and the bytes of pages in as few copies as their slots allow. A chunk is 1 MiB of pages, or one page
 * that is larger.
 *
 * Cost: some 0.3 ms for 1 MiB of pages of 4 KiB, twice that for pages of 64 bytes.
 */

import { alignUp, crc32 } from "../base/mod.ts";
import { ADDRESS_BYTES, type PageStore, REGION_SHIFT } from "../physical/mod.ts";
import { encodeBirth } from "./birth.ts";
import { CHUNK_COLUMNS, CHUNK_HEADER_BYTES, IMAGE_ALIGN_BYTES } from "./checkpoint_format.ts";
import { planColumn, type WholeColumn, writeColumn } from "./column_codec.ts";

/** Bytes of pages in a chunk: small enough for a pause, large enough for a write. */
const DATA_BYTES = 1024 * 1024;
/** Pages in a chunk. */
const PAGES_MAX = 16_384;
/** Bytes of names and metadata in a chunk. */
const TEXT_BYTES = 128 * 1024;
/** Bytes of a chunk's columns without texts, at most. */
const COLUMNS_BYTES_MAX = 16 * CHUNK_COLUMNS + CHUNK_COLUMNS * 4 * PAGES_MAX;

/** Bytes that hold any chunk but one of a page that is larger by itself. */
export const CHUNK_BYTES: number = CHUNK_HEADER_BYTES +
  alignUp(COLUMNS_BYTES_MAX + 8 + TEXT_BYTES, 4096) + DATA_BYTES;

/** A chunk that was copied and waits to be packed. */
export interface BuiltChunk {
  /** Shared memory: room for the header, the columns, the data. */
  readonly buffer: Uint8Array;
  /** Pages. */
  readonly ids: Uint32Array;
  /** Low halves of their epochs. */
  readonly epochsLow: Int32Array;
  /** Bytes of the columns. */
  readonly columnBytes: number;
  /** CRC-32 of them. */
  readonly columnCheck: number;
  /** Bytes of the data. */
  readonly dataBytes: number;
  /** Bytes of the pages. */
  readonly pageBytes: number;
}

interface Text {
  readonly index: number;
  readonly bytes: Uint8Array;
}

/** Builds the chunks of one checkpoint, one after the other. */
export class ChunkBuilder {
  readonly #store: PageStore;
  /** The pages that were there when the first image was made. */
  readonly #pages: Uint32Array;
  /** Of them, those that died before their images were made. */
  readonly gone: number[] = [];
  readonly #ids = new Int32Array(PAGES_MAX);
  readonly #sizes = new Int32Array(PAGES_MAX);
  readonly #low = new Int32Array(PAGES_MAX);
  readonly #high = new Int32Array(PAGES_MAX);
  readonly #shards = new Uint8Array(PAGES_MAX);
  readonly #slots = new Uint32Array(PAGES_MAX);
  readonly #rows = new Uint32Array(PAGES_MAX);
  #scratch = new Uint8Array(COLUMNS_BYTES_MAX + 8 + TEXT_BYTES);
  #next = 0;
  #count = 0;
  #dataBytes = 0;
  #texts: Text[] = [];

  /** Begins between two ticks. */
  constructor(store: PageStore) {
    this.#store = store;
    this.#pages = livePages(store);
  }

  /** Whether all pages have their images, or died. */
  get isDone(): boolean {
    return this.#next === this.#pages.length;
  }

  /**
   * Copies the next pages.
   *
   * @param take Gives shared memory for a chunk of so many bytes.
   * @returns `undefined` where no page is left.
   */
  build(take: (bytes: number) => Uint8Array): BuiltChunk | undefined {
    this.#choose();
    const pages = this.#count;
    if (pages === 0) return undefined;
    const columnBytes = this.#writeColumns();
    const columns = this.#scratch.subarray(0, columnBytes);
    const buffer = take(CHUNK_HEADER_BYTES + columnBytes + this.#dataBytes);
    buffer.set(columns, CHUNK_HEADER_BYTES);
    this.#copyPages(buffer, CHUNK_HEADER_BYTES + columnBytes);
    let pageBytes = 0;
    for (let i = 0; i < pages; i++) pageBytes += this.#sizes[i];
    return {
      buffer,
      ids: Uint32Array.from(this.#ids.subarray(0, pages)),
      epochsLow: this.#low.slice(0, pages),
      columnBytes,
      columnCheck: crc32(columns),
      dataBytes: this.#dataBytes,
      pageBytes,
    };
  }

  /** Reads the columns of the pages that come next. */
  #choose(): void {
    const { table, hasTexts } = this.#store;
    let textBytes = 0;
    this.#count = this.#dataBytes = 0;
    this.#texts = [];
    for (; this.#next < this.#pages.length && this.#count < PAGES_MAX; this.#next++) {
      const id = this.#pages[this.#next], row = table.rowOf(id);
      if (row === 0) {
        this.gone.push(id);
        continue;
      }
      const size = table.sizeOf(row), bytes = alignUp(size, IMAGE_ALIGN_BYTES);
      const text = hasTexts
        ? encodeBirth(this.#store.nameOf(id), this.#store.metadataOf(id))
        : NO_TEXT;
      const index = this.#count;
      const isFull = this.#dataBytes + bytes > DATA_BYTES || textBytes + text.length > TEXT_BYTES;
      if (index > 0 && isFull) return;
      if (text.length > 0) this.#texts.push({ index, bytes: text });
      textBytes += text.length + 16;
      this.#ids[index] = id;
      this.#sizes[index] = size;
      this.#low[index] = table.epochs.low[row];
      this.#high[index] = table.epochs.high[row];
      this.#shards[index] = table.shards[row];
      this.#slots[index] = table.slotInMemory(row);
      this.#rows[index] = row;
      this.#dataBytes += bytes;
      this.#count++;
    }
  }

  /** Writes the columns to the scratch; gives their bytes. */
  #writeColumns(): number {
    const pages = this.#count;
    const columns: WholeColumn[] = [this.#ids, this.#sizes, this.#low, this.#high, this.#shards];
    const plans = columns.map((column) => planColumn(column, pages));
    let bytes = 8 * CHUNK_COLUMNS + 8;
    for (const plan of plans) bytes += alignUp(plan.bytes, 8);
    for (const text of this.#texts) bytes += 8 + alignUp(text.bytes.length, 8);
    bytes = alignUp(bytes, IMAGE_ALIGN_BYTES);
    if (bytes > this.#scratch.length) this.#scratch = new Uint8Array(bytes);
    const { buffer } = this.#scratch, view = new DataView(buffer);
    this.#scratch.fill(0, 0, bytes);
    let at = 8 * CHUNK_COLUMNS;
    plans.forEach((plan, index) => {
      view.setUint32(8 * index, plan.encoding, true);
      view.setUint32(8 * index + 4, plan.bytes, true);
      writeColumn(plan, columns[index], pages, buffer, at);
      at += alignUp(plan.bytes, 8);
    });
    view.setUint32(at, this.#texts.length, true);
    at += 8;
    const first = at;
    for (const { index, bytes } of this.#texts) {
      view.setUint32(at, index, true);
      view.setUint32(at + 4, bytes.length, true);
      this.#scratch.set(bytes, at + 8);
      at += 8 + alignUp(bytes.length, 8);
    }
    view.setUint32(first - 4, at - first, true);
    return bytes;
  }

  /** Copies the bytes of the pages, those of neighbours in one go. */
  #copyPages(target: Uint8Array, start: number): void {
    const { arena } = this.#store;
    if (this.#store.residency !== undefined) return this.#copyEach(target, start);
    let at = start, from = this.#slots[0], length = 0;
    for (let i = 0; i < this.#count; i++) {
      const slot = this.#slots[i];
      const isNext = slot === from + length / ADDRESS_BYTES &&
        slot >>> REGION_SHIFT === from >>> REGION_SHIFT;
      if (!isNext) {
        target.set(arena.bytes(from, length), at);
        at += length;
        from = slot;
        length = 0;
      }
      length += alignUp(this.#sizes[i], IMAGE_ALIGN_BYTES);
    }
    target.set(arena.bytes(from, length), at);
  }

  /** The same where some are not in memory: they are copied from where they are and stay there. */
  #copyEach(target: Uint8Array, start: number): void {
    let at = start;
    for (let i = 0; i < this.#count; i++) {
      const end = at + alignUp(this.#sizes[i], IMAGE_ALIGN_BYTES);
      target.set(this.#store.view(this.#rows[i]), at);
      target.fill(0, at + this.#sizes[i], end);
      at = end;
    }
  }
}

const NO_TEXT = new Uint8Array(0);

/** Ids of the pages that take deltas: what is staged has no image. */
function livePages({ table }: PageStore): Uint32Array {
  const { ids } = table, pages = new Uint32Array(table.size);
  let count = 0;
  for (let row = 1; row < ids.length; row++) {
    if (ids[row] !== 0 && table.isActive(row)) pages[count++] = ids[row];
  }
  return pages.subarray(0, count);
}
