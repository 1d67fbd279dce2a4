/**
 * Memory report: where the bytes of a bus are, what of them is of no use, and how long looking after them took.
 *
 * What nobody knows is `undefined`, never 0: the free slots of another process's bus, the ages of pages while nobody
 * notes them, the pauses of a garbage collector that nobody watches.
 *
 * @module
 */

import type { SpillStatistics } from "../physical/mod.ts";
import type { DurationSummary } from "../propagation/mod.ts";
import type { CollectionPauses } from "./_memory_collections.ts";

/** The pages of one size class. */
export interface ClassMemory {
  /** Bytes of a slot. */
  readonly slotBytes: number;
  /** Slots that pages have, those of staged births and of resizes under way among them. */
  readonly live: number;
  /** The pages' own bytes in these slots. */
  readonly pageBytes: number;
  /** Slots of deleted pages that wait to be reclaimed; new pages get them, too. */
  readonly pending: number | undefined;
  /** Slots that are free. */
  readonly free: number | undefined;
  /** Slots ever cut from the arena: `live + pending + free`. */
  readonly carved: number | undefined;
}

/**
 * Room without page bytes, as shares of the room that was handed to size classes, from 0 to 1. With that room C, the
 * slots that pages have S and the pages' own bytes P, all in bytes:
 */
export interface Fragmentation {
  /** `(C − P) / C`: all of it; the sum of the next two. */
  readonly share: number;
  /** `(S − P) / C`: in slots that are larger than their pages. */
  readonly internal: number;
  /** `(C − S) / C`: in free slots, in those that wait, and in room that no slot was cut from so far. */
  readonly external: number;
}

/**
 * Bytes beside the pages. `pageTable`, `edges` and `ages` are the room of their columns, some of which the system need
 * not have given so far; the others are estimates from counts and lengths, within a quarter as measured.
 */
export interface BookkeepingMemory {
  /** All of them. */
  readonly totalBytes: number;
  /** 25 bytes a row, and 4 an id in use, by blocks of 65,536. */
  readonly pageTableBytes: number;
  /** Names: both ways, with their text. */
  readonly namesBytes: number;
  /** Metadata. */
  readonly metadataBytes: number;
  /** Edges. */
  readonly edgesBytes: number;
  /** Rules bound to pages. */
  readonly bindingsBytes: number;
  /** Marks on pages. */
  readonly marksBytes: number;
  /** Ages of pages; 0 while nobody notes them. */
  readonly agesBytes: number;
}

/** Pages of one range of ages. */
export interface ColdPages {
  /** Ticks since they were last written (or read, where that is noted): at least so many. */
  readonly fromTicks: number;
  /** And fewer than so many. */
  readonly toTicks: number;
  /** Pages. */
  readonly pages: number;
  /** Their own bytes. */
  readonly bytes: number;
}

/** Pages by age. */
export interface ColdReport {
  /** The tick since which ages are noted: no page can be known to be older. */
  readonly sinceTick: number;
  /** By powers of two: 0, 1, 2 and 3, 4 to 7, and so on; ranges without pages are left out. */
  readonly ages: readonly ColdPages[];
}

/** Pauses that memory made. */
export interface MemoryPauses {
  /** Slices of reclaiming, each timed whole. */
  readonly reclaim: DurationSummary;
  /** Pages coming back and room being made for pages, each timed whole; `undefined` where none are spilled. */
  readonly spill: DurationSummary | undefined;
  /** V8's garbage collections in this thread; `undefined` while nobody counts them. */
  readonly collection: CollectionPauses | undefined;
  /** Why nobody counts them; "" where somebody does. */
  readonly collectionReason: string;
}

/** Where the bytes of a bus are; from `bus.memory()`. */
export interface MemoryReport {
  /** The last tick. */
  readonly tick: number;
  /** Bytes that pages may take. */
  readonly limitBytes: number;
  /** Bytes of the arena: how far pages have reached so far. */
  readonly arenaBytes: number;
  /** Bytes of the arena that were handed to size classes. */
  readonly carvedBytes: number | undefined;
  /** Bytes of this process in the machine's memory, whoever uses them; `undefined` where the system does not tell. */
  readonly residentBytes: number | undefined;
  /** Bytes that this thread's JavaScript objects take. */
  readonly heapUsedBytes: number | undefined;
  /** Pages in memory. */
  readonly pages: number;
  /** Their own bytes. */
  readonly pageBytes: number;
  /** The size classes in use, smallest first. */
  readonly classes: readonly ClassMemory[];
  /** Room without page bytes. */
  readonly fragmentation: Fragmentation | undefined;
  /** Bytes beside the pages. */
  readonly bookkeeping: BookkeepingMemory;
  /** Slots of deleted pages that wait to be reclaimed. */
  readonly pendingReclaim: { readonly slots: number; readonly bytes: number } | undefined;
  /** What went to the spill file and came back; `undefined` where pages are not spilled. */
  readonly spilled: SpillStatistics | undefined;
  /** Pages by age; `undefined` while nobody notes ages. */
  readonly cold: ColdReport | undefined;
  /** Bytes of the room that frames of the log are built in. */
  readonly logBufferBytes: number;
  /** Bytes of the log that are not known to be durable. */
  readonly unsyncedBytes: number;
  /** Bytes of the room of the open batch. */
  readonly openBatchBytes: number;
  /** Bytes of the rooms of batches that wait for a tick. */
  readonly queuedBatchBytes: number;
  /** Pauses. */
  readonly pauses: MemoryPauses;
}

/** What {@linkcode MemoryReport} can be told to note. */
export interface MemoryTracking {
  /** Ages of pages: 8 bytes a row of the page table, and 0.1 ms a tick at most. Default true. */
  readonly ages?: boolean;
  /** Pauses of V8's garbage collector: some 50 µs a collection. Default true. */
  readonly collections?: boolean;
}
