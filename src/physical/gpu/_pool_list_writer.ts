/** Page list writer: the columns of a {@linkcode PageList}, used again from list to list. */

import type { WatchedPage } from "./_pool_watched_page.ts";
import {
  HEAD_BASE,
  HEAD_BYTES,
  HEAD_FLAGS,
  HEAD_RANGES,
  HEAD_ROW,
  HEAD_SLOT,
  HEAD_VERSION,
  HEAD_WORDS,
  PAGE_KEPT,
  PAGE_WRITTEN,
  type PageList,
} from "./page_list.ts";

const NONE = new Int32Array(0);

/** Writes one list after the other. */
export class PageListWriter {
  #heads = new Int32Array(16 * HEAD_WORDS);
  #ranges = new Int32Array(64);
  #gone: Int32Array = NONE;
  #count = 0;
  #rangeCount = 0;

  /** Begins a list of so many pages. */
  begin(count: number, gone: ReadonlySet<number>): void {
    const words = HEAD_WORDS * count;
    if (words > this.#heads.length) this.#heads = new Int32Array(2 * words);
    this.#heads.fill(0, 0, words);
    this.#count = count;
    this.#rangeCount = 0;
    this.#gone = gone.size === 0 ? NONE : Int32Array.from(gone);
  }

  /** The job writes the copy of the page at a place. */
  setWritten(place: number): void {
    this.#heads[HEAD_WORDS * place + HEAD_FLAGS] = PAGE_WRITTEN;
  }

  /** Whether the job writes it. */
  isWritten(place: number): boolean {
    return (this.#heads[HEAD_WORDS * place + HEAD_FLAGS] & PAGE_WRITTEN) !== 0;
  }

  /** Fills a place. */
  add(place: number, slot: number, page: WatchedPage, base: number): void {
    const at = HEAD_WORDS * place, heads = this.#heads;
    const count = base === 0 ? 0 : page.ranges.count;
    heads[at + HEAD_ROW] = page.row;
    heads[at + HEAD_SLOT] = slot;
    heads[at + HEAD_BYTES] = page.bytes;
    heads[at + HEAD_BASE] = base;
    heads[at + HEAD_VERSION] = page.version;
    heads[at + HEAD_FLAGS] |= page.isKept ? PAGE_KEPT : 0;
    heads[at + HEAD_RANGES] = count;
    const end = this.#rangeCount + count;
    if (2 * end > this.#ranges.length) {
      const ranges = new Int32Array(4 * end);
      ranges.set(this.#ranges);
      this.#ranges = ranges;
    }
    if (count > 0) page.ranges.writeTo(this.#ranges, 2 * this.#rangeCount);
    this.#rangeCount = end;
  }

  /** The list, good until the next one begins. */
  end(): PageList {
    return {
      count: this.#count,
      heads: this.#heads,
      rangeCount: this.#rangeCount,
      ranges: this.#ranges,
      gone: this.#gone,
    };
  }
}
