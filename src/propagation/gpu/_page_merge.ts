/**
 * Page merge: puts a page that a shader has written into the arena, as the writes of a rule.
 *
 * A page comes back whole, or as the blocks of it that changed; what is compared are the host's own words: a span of
 * words that differ is a record, with the old words in the change log, as if the twin had written it, also where it goes
 * on from one block to the next. So the log, history and early cutoff are those of any rule.
 *
 * Cost: a load and a comparison a word that came back, and 3 ns more a word that differs.
 */

import { BLOCK_HEAD_WORDS, BLOCK_WORDS } from "../../physical/gpu/kernels/changed_blocks.ts";
import type { PageStore } from "../../physical/mod.ts";
import { type ChangeLog, RECORD_HEAD } from "../change_log.ts";

/** What came back of a page: words, some of which may belong elsewhere. */
export interface PageBlocks {
  /** The words. */
  readonly words: Int32Array;
  /** Words of the page. */
  readonly pageWords: number;
  /** For each block of the page that counts its number and its first word in `words`, by rising numbers. */
  readonly blocks: readonly (readonly [block: number, at: number])[];
}

/** The blocks of a whole page that differ from the host's. */
export function wholePage({ table, arena }: PageStore, row: number, words: Int32Array): PageBlocks {
  const pages = arena.words, base = table.slot(row) << 2, pageWords = words.length;
  const blocks: [number, number][] = [];
  for (let block = 0, from = 0; from < pageWords; block++, from += BLOCK_WORDS) {
    const end = Math.min(from + BLOCK_WORDS, pageWords), even = end - (end - from & 3);
    let k = from, differs = 0;
    for (; k < even && differs === 0; k += 4) {
      const at = base + k;
      differs = words[k] ^ pages[at] | words[k + 1] ^ pages[at + 1] |
        words[k + 2] ^ pages[at + 2] | words[k + 3] ^ pages[at + 3];
    }
    for (; k < end; k++) differs |= words[k] ^ pages[base + k];
    if (differs !== 0) blocks.push([block, from]);
  }
  return { words, pageWords, blocks };
}

/** The blocks that the device found, as they stand packed; `undefined` where there was no room for all. */
export function packedPage(
  list: Int32Array,
  words: Int32Array,
  capacity: number,
  pageWords: number,
): PageBlocks | undefined {
  const [count] = list;
  if (count > capacity) return undefined;
  const blocks = Array.from(
    list.subarray(BLOCK_HEAD_WORDS, BLOCK_HEAD_WORDS + count),
    (block, place): [number, number] => [block, BLOCK_WORDS * place],
  );
  return { words, pageWords, blocks: blocks.sort(([a], [b]) => a - b) };
}

/**
 * Puts a page.
 *
 * @param row Its row in the page table.
 * @param page What it is to be, as far as it changed.
 * @throws {MmsbError} `allocation`, `limit` where there is no room for the old words; the page is as it was then.
 */
export function putPage(
  { table, arena }: PageStore,
  log: ChangeLog,
  row: number,
  { words, pageWords, blocks }: PageBlocks,
): void {
  const pages = arena.words, base = table.slot(row) << 2;
  let changed = 0, spans = 0, next = -1;
  for (const [block, start] of blocks) {
    const from = BLOCK_WORDS * block, end = Math.min(from + BLOCK_WORDS, pageWords);
    const shift = start - from;
    for (let k = from; k < end; k++) {
      if (words[shift + k] === pages[base + k]) continue;
      changed++;
      if (k !== next) spans++;
      next = k + 1;
    }
  }
  if (changed === 0) return;
  log.reserve(changed + RECORD_HEAD * spans);
  const { words: old, heads } = log;
  let head = heads[row], at = log.used;
  next = -1;
  if (head === 0) log.touched[log.count++] = row;
  for (const [block, start] of blocks) {
    const from = BLOCK_WORDS * block, end = Math.min(from + BLOCK_WORDS, pageWords);
    const shift = start - from;
    for (let k = from; k < end; k++) {
      const before = pages[base + k], now = words[shift + k];
      if (before === now) continue;
      if (k !== next) {
        old[at] = row;
        old[at + 1] = k;
        old[at + 2] = 0;
        old[at + 3] = head;
        head = at;
        at += RECORD_HEAD;
      }
      old[head + 2]++;
      old[at++] = before;
      pages[base + k] = now;
      next = k + 1;
    }
  }
  heads[row] = head;
  log.used = at;
}
