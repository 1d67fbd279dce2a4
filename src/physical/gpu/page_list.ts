/**
 * Page list: the pages that a job on the device works on, as words that cross to the GPU thread.
 *
 * For each page it says where its bytes stand in the arena, which version of the page's copy the listed ranges
 * bring into step, and the version that the copy has afterwards. So who writes the list need not know what the
 * device still holds: a copy that was evicted, or was left in another state by a job that failed, has another version and is
 * sent whole.
 *
 * Cost: 28 bytes a page and 8 a range.
 */

import { checkInteger, MmsbError } from "../../base/mod.ts";
import { ADDRESS_BYTES } from "../arena.ts";

/** Rows of one arena are below this. */
export const PAGE_ROWS_MAX: number = 2 ** 26;

/** Words of a page's head. */
export const HEAD_WORDS = 7;
/** Of a head: row of the page table; copies are kept by it. */
export const HEAD_ROW = 0;
/** Of a head: the slot's address, in units of 16 bytes. */
export const HEAD_SLOT = 1;
/** Of a head: bytes of the copy, a multiple of 4. */
export const HEAD_BYTES = 2;
/** Of a head: version of the copy that lacks no more than the ranges; 0 where none does. */
export const HEAD_BASE = 3;
/** Of a head: version of the copy when it is in step. */
export const HEAD_VERSION = 4;
/** Of a head: {@linkcode PAGE_WRITTEN} and {@linkcode PAGE_KEPT}. */
export const HEAD_FLAGS = 5;
/** Of a head: number of its ranges; they follow those of the page before. */
export const HEAD_RANGES = 6;

/** Flag: the job writes the copy. */
export const PAGE_WRITTEN = 1;
/** Flag: the copy is not evicted. */
export const PAGE_KEPT = 2;

/** Pages of one job; the columns may be longer than what is in use. */
export interface PageList {
  /** Pages. */
  readonly count: number;
  /** {@linkcode HEAD_WORDS} words a page. */
  readonly heads: Int32Array;
  /** Ranges in use. */
  readonly rangeCount: number;
  /** Start and end of each range, in bytes of the page. */
  readonly ranges: Int32Array;
  /** Rows whose copies nobody wants any more, from before the pages of the list. */
  readonly gone: Int32Array;
}

/** What writes a job; `JobWriter` does. */
export interface WordWriter {
  /** Adds words, which the caller fills in. */
  words(count: number): Int32Array;
}

/** What reads a job; `JobReader` does. */
export interface WordReader {
  /** The next words. */
  words(): Int32Array;
}

/** Writes a list into a job. */
export function writePages(job: WordWriter, list: PageList): void {
  const { count, heads, rangeCount, ranges, gone } = list;
  job.words(HEAD_WORDS * count).set(heads.subarray(0, HEAD_WORDS * count));
  job.words(2 * rangeCount).set(ranges.subarray(0, 2 * rangeCount));
  job.words(gone.length).set(gone);
}

/** Reads a list out of a job; it is good as long as the job's words are. */
export function readPages(job: WordReader): PageList {
  const heads = job.words(), ranges = job.words(), gone = job.words();
  return {
    count: Math.floor(heads.length / HEAD_WORDS),
    heads,
    rangeCount: ranges.length >> 1,
    ranges,
    gone,
  };
}

/**
 * Checks a list before anything is done for it: a range outside of a buffer or of the arena would end the process.
 *
 * @param byteLength Bytes of the arena.
 * @param list The list.
 * @throws {MmsbError} `out-of-bounds`, `usage` where it is none.
 */
export function checkPages(byteLength: number, list: PageList): void {
  const { count, heads, rangeCount, ranges } = list;
  checkInteger("pages of a list", count, 0, Math.floor(heads.length / HEAD_WORDS));
  checkInteger("ranges of a list", rangeCount, 0, ranges.length >> 1);
  let range = 0;
  for (let i = 0; i < count; i++) {
    const at = HEAD_WORDS * i, bytes = heads[at + HEAD_BYTES];
    checkInteger("row", heads[at + HEAD_ROW], 1, PAGE_ROWS_MAX - 1);
    checkWords("bytes of a page", bytes, 4, byteLength);
    const slotsMax = Math.floor((byteLength - bytes) / ADDRESS_BYTES);
    checkInteger("slot", heads[at + HEAD_SLOT], 1, slotsMax);
    checkInteger("version", heads[at + HEAD_VERSION], 1, 2 ** 31 - 1);
    checkInteger("ranges of a page", heads[at + HEAD_RANGES], 0, rangeCount - range);
    for (const end = range + heads[at + HEAD_RANGES]; range < end; range++) {
      checkWords("start of a range", ranges[2 * range], 0, bytes - 4);
      checkWords("end of a range", ranges[2 * range + 1], ranges[2 * range] + 4, bytes);
    }
  }
}

function checkWords(name: string, value: number, min: number, max: number): void {
  checkInteger(name, value, min, max);
  if (value % 4 !== 0) {
    throw new MmsbError("usage", `Cannot use ${value} as ${name}: give a multiple of 4`, {
      values: { name, value },
    });
  }
}
