/**
 * Page census: the pages of a table counted by size class, in one pass over its rows.
 *
 * Nothing is counted as pages come and go: what a monitor wants to know every second would cost each page a few
 * ns twice, and would have to be right in images, adopted files and other threads' tables. The pass needs none of
 * that, and the same pass counts what another thread's table holds.
 *
 * Cost: 3 ns a row.
 *
 * @module
 */

import { RECORD_LIMIT, RECORD_SLOT, RECORD_WORDS } from "./page_table.ts";
import type { PageTable } from "./page_table.ts";
import { SIZE_CLASSES, sizeClassOf } from "./size_class.ts";

/** Pages counted. */
export interface PageCensus {
  /** By size class: pages whose bytes are in memory. */
  readonly pages: Float64Array;
  /** By size class: their own bytes. */
  readonly bytes: Float64Array;
  /** Pages whose bytes are not in memory. */
  readonly spilledPages: number;
  /** Their own bytes. */
  readonly spilledBytes: number;
}

/**
 * Counts the pages of a table.
 *
 * @param activeOnly Whether pages that take no deltas are left out: those that are staged.
 */
export function countPages(table: PageTable, activeOnly = false): PageCensus {
  const pages = new Float64Array(SIZE_CLASSES), bytes = new Float64Array(SIZE_CLASSES);
  const { ids, records, rowsEnd } = table;
  let spilledPages = 0, spilledBytes = 0, lastSize = 0, sizeClass = 0;
  for (let row = 1; row < rowsEnd; row++) {
    if (ids[row] === 0) continue;
    const limit = records[row * RECORD_WORDS + RECORD_LIMIT], size = limit < 0 ? ~limit : limit;
    if (activeOnly && limit <= 0) continue;
    if (records[row * RECORD_WORDS + RECORD_SLOT] === 0) {
      spilledPages++;
      spilledBytes += size;
      continue;
    }
    // Neighbours are mostly of one size.
    if (size !== lastSize) sizeClass = sizeClassOf(lastSize = size);
    pages[sizeClass]++;
    bytes[sizeClass] += size;
  }
  return { pages, bytes, spilledPages, spilledBytes };
}
