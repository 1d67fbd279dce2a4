/**
 * Page memory: what a page store keeps its pages in.
 *
 * By default memory that the threads of this process share; a mapped file where other processes look
 * at it, or where it outlives its process.
 *
 * @module
 */

import { type Arena, SharedArena } from "./arena.ts";
import type { DirectoryRecord, PageDirectory } from "./mapped_directory.ts";
import { SHARED_TABLE_MEMORY, type TableMemory } from "./table_memory.ts";

/** Memory of one page store. */
export interface PageMemory {
  /** The pages' bytes. */
  readonly arena: Arena;
  /** The table's columns. */
  readonly table: TableMemory;
  /** Where names and metadata are written for others to read, if there are others. */
  readonly directory?: PageDirectory;
  /** What the memory holds already, where it is to be taken over. */
  readonly found?: FoundStore;
}

/** What a memory holds that was a page store's before. */
export interface FoundStore {
  /** The state of the slot allocator. */
  readonly allocator: Uint8Array;
  /** Names and metadata, oldest first; also of pages that are gone. */
  readonly records: readonly DirectoryRecord[];
  /** The next page id. */
  readonly nextPageId: number;
}

/**
 * Memory that the threads of this process share.
 *
 * @throws {MmsbError} `allocation` where the room cannot be reserved.
 */
export function sharedMemory(limitBytes: number): PageMemory {
  return { arena: new SharedArena(limitBytes), table: SHARED_TABLE_MEMORY };
}
