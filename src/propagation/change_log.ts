/**
 * Change log: what the pages of a tick held before it.
 *
 * One growing column of words in shared memory. A record is the page's row, the first word of the span
 * in the page, its words, the record of the same page before it, and then the old words themselves; so a
 * page's records are a chain from the newest to the oldest, and `heads` has the newest by row. Spans
 * are whole words, since every slot is, and a span that was written with what stood there already has
 * no record: a page has changed if and only if it has one.
 *
 * One log serves four readers: taking a tick back (newest first, so that the oldest bytes win), the old
 * bytes that incremental rules see, early cutoff, and the derived rows of the log, whose new bytes
 * are the pages' own.
 *
 * Cost: 16 bytes a record and the old words; clearing costs a word a page touched. The room that an
 * unusually large tick took is given back after it.
 *
 * @module
 */

import { assert, MmsbError } from "../base/mod.ts";
import type { PageStore, PageTable } from "../physical/mod.ts";

/** Words of a record before its old words. */
export const RECORD_HEAD = 4;

const WORDS_START = 16 * 1024;
const TOUCHED_START = 1024;
/** Words that a log keeps from tick to tick. */
const WORDS_KEPT = 4 * 1024 * 1024;
/** 8 GiB in words, where indices leave 31 bits. */
const WORDS_MAX: number = 2 ** 31 - 1;

/** Old words of the pages that a tick has changed so far. */
export class ChangeLog {
  /** Records one behind the other; word 0 is unused, so that 0 says "none". Replaced when it grows. */
  words: Int32Array = shared(WORDS_START);
  /** Words in use. */
  used = 1;
  /** Newest record of each row of the page table, 0 for none; replaced when it grows. */
  heads: Int32Array = shared(TOUCHED_START);
  /** Rows with records, each once, in the order in which they got their first; as long as `heads`. */
  touched: Int32Array = shared(TOUCHED_START);
  /** Number of rows touched. */
  count = 0;

  readonly #wordsMax: number;

  /** Empty; it may grow to so many words. */
  constructor(wordsMax: number = WORDS_MAX) {
    this.#wordsMax = wordsMax;
  }

  /** Makes room for rows of the page table. */
  reserveRows(table: PageTable): void {
    const rows = table.ids.length;
    if (rows <= this.heads.length) return;
    const touched = longer(this.touched, rows);
    this.heads = longer(this.heads, rows);
    this.touched = touched;
  }

  /**
   * Makes room for records to come.
   *
   * @param words Words of all of them, heads included.
   * @throws {MmsbError} `allocation` where memory is short; nothing is changed then.
   */
  reserve(words: number): void {
    const needed = this.used + words;
    if (needed > this.words.length) {
      this.words = longer(this.words, roomFor(needed, this.#wordsMax));
    }
  }

  /** Whether a row has changed. */
  has(row: number): boolean {
    return row < this.heads.length && this.heads[row] !== 0;
  }

  /** Number of records of a row. */
  records(row: number): number {
    let count = 0;
    for (let at = this.heads[row]; at !== 0; at = this.words[at + 3]) count++;
    return count;
  }

  /** Puts all pages back to how they were; the log stays. */
  undo(store: PageStore): void {
    const { words, heads, touched, count } = this;
    const { table, arena } = store;
    const pages = arena.words;
    for (let i = 0; i < count; i++) {
      const base = table.slot(touched[i]) << 2;
      for (let at = heads[touched[i]]; at !== 0; at = words[at + 3]) {
        const to = base + words[at + 1], length = words[at + 2], from = at + RECORD_HEAD;
        for (let k = 0; k < length; k++) pages[to + k] = words[from + k];
      }
    }
  }

  /** Forgets everything. */
  clear(): void {
    const { heads, touched, count } = this;
    for (let i = 0; i < count; i++) heads[touched[i]] = 0;
    this.count = 0;
    this.used = 1;
    if (this.words.length > WORDS_KEPT) this.words = shared(WORDS_START);
  }

  /** Bytes that it takes. */
  bookkeepingBytes(): number {
    return 4 * (this.words.length + this.heads.length + this.touched.length);
  }

  /** Walks all chains: records lie inside the log, belong to their row, and lead backwards. */
  checkInvariants(): void {
    const seen = new Set<number>();
    for (let i = 0; i < this.count; i++) {
      const row = this.touched[i];
      assert(!seen.has(row), `row ${row} is touched once`);
      seen.add(row);
      let before = this.used;
      for (let at = this.heads[row]; at !== 0; at = this.words[at + 3]) {
        assert(this.words[at] === row && at < before, `record ${at} is of row ${row}`);
        const end = at + RECORD_HEAD + this.words[at + 2];
        assert(this.words[at + 2] > 0 && end <= this.used, `record ${at} has its words`);
        before = at;
      }
    }
    for (let row = 0; row < this.heads.length; row++) {
      assert(this.heads[row] === 0 || seen.has(row), `row ${row} is in the list`);
    }
  }
}

function shared(words: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * words));
}

/** A power of two, so that growing is rare. */
function roomFor(words: number, wordsMax: number): number {
  if (words > wordsMax) {
    throw new MmsbError("limit", "Cannot keep the old bytes of so large a tick: make it smaller", {
      values: { words },
    });
  }
  return Math.min(wordsMax, 2 ** (32 - Math.clz32(words - 1)));
}

function longer(column: Int32Array, words: number): Int32Array {
  try {
    const copy = shared(words);
    copy.set(column);
    return copy;
  } catch (cause) {
    throw new MmsbError(
      "allocation",
      "Cannot keep the old bytes of a tick: make ticks smaller, or free memory",
      { values: { words }, cause },
    );
  }
}
