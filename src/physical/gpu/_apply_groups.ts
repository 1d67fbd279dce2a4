/**
 * Grouping: for each block of packed memory the rows that hit it, in order, as the kernel of grouped.ts takes them.
 *
 * A counting sort over blocks in two passes over the rows. For a masked row the bits that are set before a block are counted
 * on the way, since the place of its bytes depends on them.
 *
 * Cost: 5 to 10 ns a row and pass; a count a block of the window.
 */

import { MmsbError } from "../../base/mod.ts";
import { KIND_MASKED } from "../kind.ts";
import type { ApplyRows } from "./_apply_plan.ts";
import { BLOCK_SHIFT_MAX } from "./kernels/grouped.ts";

/** Lists of rows by block. */
export interface RowGroups {
  /** Row of the chunk, and set bits of its mask in front of the block: two words an entry. */
  readonly entries: Uint32Array<ArrayBuffer>;
  /** First entry, entry behind the last, first word, word behind the last: four words a block. */
  readonly blocks: Uint32Array<ArrayBuffer>;
  /** Lanes of a block, as a shift. */
  readonly laneShift: number;
}

/** Smallest block, as a shift: 16 words. */
const BLOCK_SHIFT_MIN = 4;

/** A window of packed memory. */
export interface PackedWindow {
  /** First word. */
  readonly from: number;
  /** Words. */
  readonly words: number;
}

/**
 * Groups rows by block.
 *
 * @param rows The rows.
 * @param from First row.
 * @param to Behind the last row.
 * @param window The window; what rows have outside of it is left out.
 * @param entriesMax Most entries that the device binds.
 * @returns The lists, without blocks that no row hits.
 * @throws {MmsbError} `limit` where there may be more entries.
 */
export function groupRows(
  rows: ApplyRows,
  from: number,
  to: number,
  window: PackedWindow,
  entriesMax: number,
): RowGroups {
  const bytes = spanBytes(rows, from, to), laneShift = laneShiftOf(bytes, to - from);
  const shift = Math.max(BLOCK_SHIFT_MIN, Math.min(BLOCK_SHIFT_MAX, laneShift + 2));
  const entriesBound = bytes / (4 << shift) + 2 * (to - from);
  if (entriesBound > entriesMax) {
    throw new MmsbError(
      "limit",
      `Cannot apply rows ${from} to ${to} on the GPU: their spans have ${bytes} bytes, too many to be grouped at once; use the CPU`,
      { values: { from, to, bytes, entriesMax } },
    );
  }
  const next = countBlocks(rows, from, to, window, shift);
  const { blocks, total } = listBlocks(next, window.words, shift);
  return { entries: listEntries(rows, from, to, window, shift, next, total), blocks, laneShift };
}

function spanBytes({ length }: ApplyRows, from: number, to: number): number {
  let bytes = 0;
  for (let row = from; row < to; row++) bytes += length[row];
  return bytes;
}

/** About one lane for each word of an average row. */
function laneShiftOf(bytes: number, rows: number): number {
  const words = bytes / 4 / Math.max(1, rows);
  return Math.min(BLOCK_SHIFT_MAX, Math.max(0, Math.ceil(Math.log2(words))));
}

/** Counts, one place on, of the rows that hit each block. */
function countBlocks(
  { target, offset, length }: ApplyRows,
  from: number,
  to: number,
  window: PackedWindow,
  shift: number,
): Uint32Array<ArrayBuffer> {
  const counts = new Uint32Array((window.words + 2 ** shift - 1 >>> shift) + 1);
  for (let row = from; row < to; row++) {
    const first = target[row] - window.from;
    const last = first + ((offset[row] & 3) + length[row] - 1 >>> 2);
    if (first >= window.words) continue;
    const end = Math.min(last, window.words - 1) >> shift;
    for (let block = Math.max(first, 0) >> shift; block <= end; block++) counts[block + 1]++;
  }
  return counts;
}

/** Turns counts into the place of each block's first entry, and lists the blocks that have some. */
function listBlocks(
  counts: Uint32Array<ArrayBuffer>,
  words: number,
  shift: number,
): { blocks: Uint32Array<ArrayBuffer>; total: number } {
  let hit = 0, total = 0;
  for (let block = 1; block < counts.length; block++) hit += counts[block] === 0 ? 0 : 1;
  const blocks = new Uint32Array(4 * hit);
  for (let block = 0, at = 0; block + 1 < counts.length; block++) {
    const count = counts[block + 1];
    counts[block] = total;
    if (count === 0) continue;
    blocks[at] = total;
    blocks[at + 1] = total += count;
    blocks[at + 2] = block << shift;
    blocks[at + 3] = Math.min(words, block + 1 << shift);
    at += 4;
  }
  return { blocks, total };
}

function listEntries(
  rows: ApplyRows,
  from: number,
  to: number,
  window: PackedWindow,
  shift: number,
  next: Uint32Array,
  total: number,
): Uint32Array<ArrayBuffer> {
  const { target, offset, length, start, kind, payload } = rows;
  const entries = new Uint32Array(2 * total);
  for (let row = from; row < to; row++) {
    const first = target[row] - window.from, inWord = offset[row] & 3;
    const last = first + (inWord + length[row] - 1 >>> 2);
    if (first >= window.words) continue;
    const end = Math.min(last, window.words - 1) >> shift, isMasked = kind[row] === KIND_MASKED;
    let counted = 0, set = 0;
    for (let block = Math.max(first, 0) >> shift; block <= end; block++) {
      const at = 2 * next[block]++;
      entries[at] = row - from;
      if (!isMasked) continue;
      const bit = Math.max(0, 4 * (Math.max(block << shift, 0) - first) - inWord);
      set += setBits(payload, start[row], counted, bit);
      counted = bit;
      entries[at + 1] = set;
    }
  }
  return entries;
}

/** Bits of a mask that are set from one to another. */
function setBits(payload: Uint8Array, mask: number, from: number, to: number): number {
  let set = 0;
  for (let bit = from; bit < to;) {
    const end = Math.min(to, (bit | 7) + 1);
    let byte = payload[mask + (bit >>> 3)] >>> (bit & 7) & (1 << end - bit) - 1;
    for (; byte !== 0; byte &= byte - 1) set++;
    bit = end;
  }
  return set;
}
