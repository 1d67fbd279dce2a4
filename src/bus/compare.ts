/**
 * Compare: the difference of two page stores, byte by byte.
 *
 * Divergence is the root of the sum of squared byte differences over pages that both have; pages
 * that only one has, and pages of different size or epoch, are counted apart, because no sum of
 * bytes shows them.
 *
 * @module
 */

import { equalBytes } from "../base/mod.ts";
import { structureDifference } from "../log/mod.ts";
import { encodeMetadata, type PageStore } from "../physical/mod.ts";

/** How two stores differ. */
export interface StoreDifference {
  /** Root of the sum of squared byte differences. */
  readonly divergence: number;
  /** Pages compared. */
  readonly pages: number;
  /** Bytes compared. */
  readonly bytes: number;
  /** Pages only the first has. */
  readonly missing: readonly number[];
  /** Pages only the second has. */
  readonly extra: readonly number[];
  /** Pages whose size, epoch, name, shard or metadata differs. */
  readonly different: readonly number[];
  /** What of edges, rules and marks differs, in words; absent where nothing does. */
  readonly structure?: string;
  /** Whether nothing differs at all. */
  readonly same: boolean;
}

/** Compares a store with another one that should equal it. */
export function compareStores(expected: PageStore, actual: PageStore): StoreDifference {
  const missing: number[] = [], extra: number[] = [], different: number[] = [];
  let squares = 0, pages = 0, bytes = 0;
  for (const row of expected.table.rows()) {
    const page = expected.table.ids[row];
    const other = actual.table.rowOf(page);
    if (other === 0) {
      missing.push(page);
      continue;
    }
    const size = expected.table.sizeOf(row);
    if (
      size !== actual.table.sizeOf(other) ||
      expected.table.epoch(row) !== actual.table.epoch(other) ||
      expected.nameOf(page) !== actual.nameOf(page) ||
      expected.table.shards[row] !== actual.table.shards[other] ||
      !sameMetadata(expected, actual, page)
    ) different.push(page);
    pages++;
    bytes += size;
    squares += squaredDifference(expected.view(row), actual.view(other));
  }
  for (const row of actual.table.rows()) {
    if (expected.table.rowOf(actual.table.ids[row]) === 0) extra.push(actual.table.ids[row]);
  }
  const divergence = Math.sqrt(squares);
  const structure = structureDifference(expected, actual);
  const same = divergence === 0 && missing.length + extra.length + different.length === 0 &&
    structure === undefined;
  return {
    divergence,
    pages,
    bytes,
    missing,
    extra,
    different,
    ...(structure === undefined ? {} : { structure: `${structure} not alike` }),
    same,
  };
}

function sameMetadata(expected: PageStore, actual: PageStore, page: number): boolean {
  const a = expected.metadataOf(page), b = actual.metadataOf(page);
  return a.size === b.size && (a.size === 0 || equalBytes(encodeMetadata(a), encodeMetadata(b)));
}

function squaredDifference(a: Uint8Array, b: Uint8Array): number {
  let squares = 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    if (a[i] !== b[i]) squares += (a[i] - b[i]) * (a[i] - b[i]);
  }
  return squares;
}
