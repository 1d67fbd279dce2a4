/**
 * Packing: where a log is replayed, pages are moved together so that all free room is one piece behind them.
 *
 * A bus that is nearly full has its pages where its own births, deaths and resizes, in that order and with those taken
 * back among them, have left room for them. A replay has other ones, and what fitted there need not fit here:
 * there may be enough room, and no run of it that is long enough. As nobody has seen the pages of a store that
 * is being filled, they may be moved, and so a directory opens under any limit that its bus had.
 *
 * Cost: a sort of the pages by their slots and a copy of what stands behind the first gap, paid only where
 * opening would otherwise be refused.
 *
 * @module
 */

import { ADDRESS_BYTES, type Arena, REGION_SHIFT } from "./arena.ts";
import { type PageTable, RECORD_SLOT, RECORD_WORDS } from "./page_table.ts";
import { sizeClassOf, sizeOfClass } from "./size_class.ts";

/** Where the pages stand afterwards. */
export interface Packed {
  /** Address behind the last page. */
  readonly end: number;
  /** Room before it that no page has, at the ends of regions: address and end of each. */
  readonly gaps: readonly number[];
}

/**
 * Moves all pages of a table together.
 *
 * @param first Address from which on they may stand; none stands before it.
 */
export function packPages(table: PageTable, arena: Arena, first: number): Packed {
  const rows = Uint32Array.from(table.rows()), { records } = table, gaps: number[] = [];
  const slotOf = (row: number): number => records[row * RECORD_WORDS + RECORD_SLOT];
  rows.sort((a, b) => slotOf(a) - slotOf(b));
  const words = ADDRESS_BYTES / 4;
  let end = first;
  for (const row of rows) {
    const from = slotOf(row), units = sizeOfClass(sizeClassOf(table.sizeOf(row))) / ADDRESS_BYTES;
    // No slot crosses from one region to the next; this one stands there already, or behind it.
    const last = end + units - 1 >>> REGION_SHIFT;
    if (end >>> REGION_SHIFT !== last) {
      gaps.push(end, last << REGION_SHIFT);
      end = last << REGION_SHIFT;
    }
    if (from !== end) {
      arena.words.copyWithin(end * words, from * words, (from + units) * words);
      records[row * RECORD_WORDS + RECORD_SLOT] = end;
    }
    end += units;
  }
  table.moves++;
  return { end, gaps };
}
