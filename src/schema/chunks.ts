/**
 * Chunks: how a column's rows are dealt to pages.
 *
 * The first chunk has 256 rows, each next one as many as all before it, up to chunks of 65,536 rows:
 * a small table is small, and a large one has few pages. Where a value is so wide that a full chunk
 * would not fit in a page, the column's chunks stay smaller. The formula depends on the width alone, so a
 * row's place is computed and never looked up, and an added column changes nothing for the others.
 *
 * @module
 */

import { assert, CHUNK_ROWS_MAX, CHUNK_ROWS_MIN, PAGE_BYTES_MAX } from "../base/mod.ts";

/** How a column of one width is cut. */
export interface ChunkPlan {
  /** Rows of the first chunk, as a shift. */
  readonly firstShift: number;
  /** Rows of a full-grown chunk, as a shift. */
  readonly fullShift: number;
}

/** The plan for values of a width. */
export function chunkPlan(width: number): ChunkPlan {
  assert(width >= 1 && width <= PAGE_BYTES_MAX, "a value fits in a page");
  const fits = 31 - Math.clz32(Math.floor(PAGE_BYTES_MAX / width));
  const fullShift = Math.min(31 - Math.clz32(CHUNK_ROWS_MAX), fits);
  return { firstShift: Math.min(31 - Math.clz32(CHUNK_ROWS_MIN), fullShift), fullShift };
}

/** The chunk that holds a row below 2^32. */
export function chunkOf({ firstShift, fullShift }: ChunkPlan, row: number): number {
  const full = row >>> fullShift;
  if (full > 0) return full + fullShift - firstShift;
  return 32 - Math.clz32(row >>> firstShift);
}

/** First row of a chunk; by shifts, as a power costs as much as all else of reading a value. */
export function chunkStart({ firstShift, fullShift }: ChunkPlan, chunk: number): number {
  const growing = fullShift - firstShift;
  if (chunk > growing) return (chunk - growing << fullShift) >>> 0;
  return chunk === 0 ? 0 : 1 << firstShift + chunk - 1;
}

/** Rows of a chunk. */
export function chunkRows({ firstShift, fullShift }: ChunkPlan, chunk: number): number {
  if (chunk > fullShift - firstShift) return 1 << fullShift;
  return chunk === 0 ? 1 << firstShift : 1 << firstShift + chunk - 1;
}
