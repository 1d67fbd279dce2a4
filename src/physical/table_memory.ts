/**
 * Table memory: where the columns of a page table stand.
 *
 * The table is one implementation over blocks of memory that grow in place. By default they are
 * SharedArrayBuffers with room reserved for the largest table; in a mapped file they are parts of it
 * that other processes see. A block is only asked for when the table is made and when it doubles, so
 * the choice costs nothing afterwards.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";

/** The blocks of a page table. Each column by row, the directory's entries, and its first level. */
export const TABLE_PARTS = [
  "records",
  "epochsLow",
  "epochsHigh",
  "clean",
  "shards",
  "ids",
  "entries",
  "blocks",
] as const;

/** One block of a page table. */
export type TablePart = typeof TABLE_PARTS[number];

/** Memory that grows in place. */
export interface TableBlock {
  /** The buffer that holds it. */
  readonly buffer: ArrayBufferLike;
  /** Its first byte in the buffer. */
  readonly start: number;
  /** Bytes it has now. */
  readonly byteLength: number;
  /**
   * Makes it at least `byteLength` bytes long; new bytes are zero.
   *
   * @throws {MmsbError} `allocation` or `disk-full` where the system gives no more.
   */
  grow(byteLength: number): void;
}

/** Gives a table its blocks. */
export interface TableMemory {
  /**
   * A block of at least `bytes` bytes that can grow to `bytesMax`; longer, and filled, where the
   * memory holds a table already.
   */
  block(part: TablePart, bytes: number, bytesMax: number): TableBlock;
}

/** Blocks that every thread of this process sees. */
export const SHARED_TABLE_MEMORY: TableMemory = {
  block: (_part, bytes, bytesMax) => new SharedBlock(bytes, bytesMax),
};

/** A block that every thread of this process sees; it grows in place, up to a limit for which room is reserved. */
export class SharedBlock implements TableBlock {
  /** The memory. */
  readonly buffer: SharedArrayBuffer;
  /** It is a buffer of its own. */
  readonly start = 0;

  /** Makes it, zeroed. */
  constructor(bytes: number, bytesMax: number) {
    this.buffer = new SharedArrayBuffer(bytes, { maxByteLength: bytesMax });
  }

  /** Bytes it has now. */
  get byteLength(): number {
    return this.buffer.byteLength;
  }

  /** Makes it at least so long; see {@linkcode TableBlock.grow}. */
  grow(byteLength: number): void {
    if (byteLength <= this.buffer.byteLength) return;
    try {
      this.buffer.grow(byteLength);
    } catch (cause) {
      throw new MmsbError(
        "allocation",
        `Cannot grow the page table to ${byteLength} bytes a column: free memory`,
        { values: { byteLength }, cause },
      );
    }
  }
}
