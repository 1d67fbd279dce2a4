/**
 * Mapped layout: where everything of a bus stands in its mapped file.
 *
 * One file holds all that a reader in another process needs: a control block, the columns of the page
 * table, two halves for names and metadata (one in use, the other to tidy up into), and the arena.
 * Every part has room for the largest it can become, so nothing ever moves, and the memory limit
 * alone gives all offsets: writer and reader need not agree on anything else.
 *
 * Cost: address space of about 1.5 times the limit, and up to 3 GiB more; parts not in use are holes.
 *
 * @module
 */

import { alignUp } from "../base/mod.ts";
import { ADDRESS_BYTES } from "./arena.ts";
import { MAP_PAGE_BYTES } from "./mapped_file.ts";
import { tablePartBytesMax } from "./page_table.ts";
import { TABLE_PARTS } from "./table_memory.ts";

/** Version of everything in a mapped file; another one is not read. */
export const IMAGE_FORMAT = 1;
/** Bytes of the control block. */
export const CONTROL_BYTES = 16_384;

const DIRECTORY_HALF_BYTES_MIN = 2 ** 24;
const DIRECTORY_HALF_BYTES_MAX = 2 ** 30;
const ARENA_ALIGNMENT = 2 ** 21;

/** Parts of a mapped file that grow, in the order of the control block's lengths. */
export const GROWING_PARTS = [...TABLE_PARTS, "directory0", "directory1", "arena"] as const;

/** A part of a mapped file that grows. */
export type GrowingPart = typeof GROWING_PARTS[number];

/** Where a part stands. */
export interface PartPlace {
  /** Byte of the file at which it begins. */
  readonly start: number;
  /** Most bytes it can have. */
  readonly bytesMax: number;
}

/** Where everything stands. */
export interface MappedLayout {
  /** Bytes that pages may take. */
  readonly limitBytes: number;
  /** The parts. */
  readonly parts: Readonly<Record<GrowingPart, PartPlace>>;
  /** Bytes of the whole file. */
  readonly totalBytes: number;
}

/** Pages that a memory limit can hold. */
export function pagesMaxOf(limitBytes: number): number {
  return Math.floor(limitBytes / ADDRESS_BYTES);
}

/** The layout for a memory limit. */
export function layoutOf(limitBytes: number): MappedLayout {
  let end = CONTROL_BYTES;
  const place = (bytes: number, alignment = MAP_PAGE_BYTES): PartPlace => {
    const start = alignUp(end, alignment), bytesMax = alignUp(bytes, MAP_PAGE_BYTES);
    end = start + bytesMax;
    return { start, bytesMax };
  };
  const half = Math.min(
    DIRECTORY_HALF_BYTES_MAX,
    Math.max(DIRECTORY_HALF_BYTES_MIN, limitBytes / 4),
  );
  const parts = Object.fromEntries(GROWING_PARTS.map((part) => {
    if (part === "arena") return [part, place(limitBytes, ARENA_ALIGNMENT)];
    if (part === "directory0" || part === "directory1") return [part, place(half)];
    return [part, place(tablePartBytesMax(part, pagesMaxOf(limitBytes)))];
  })) as Record<GrowingPart, PartPlace>;
  return { limitBytes, parts, totalBytes: end };
}
