/**
 * What goes into the model and what it tells, as plain objects: births, batches, the log of ticks,
 * refusals, and the deltas of a page's history. The log is all that recovery reads.
 */

import type { RefusalCode, Row } from "./row.ts";
import type { StructureStep } from "./structure.ts";

/** What a page is born with. */
export interface CreatePageOptions {
  /** Bytes: 1 … 16 MiB, 4096 where absent. */
  readonly size?: number;
  /** Unique among live and staged pages. */
  readonly name?: string;
  /** Empty where absent; copied. */
  readonly metadata?: Readonly<Record<string, Uint8Array>>;
  /** `(id - 1) % shards` where absent. */
  readonly shard?: number;
}

/** A page's birth in the log. */
export interface Create {
  /** Never reused. */
  readonly id: number;
  /** In bytes. */
  readonly size: number;
  /** Unique among live pages. */
  readonly name: string | undefined;
  /** Empty where none was given. */
  readonly metadata: Readonly<Record<string, Uint8Array>>;
  /** 0 … shards − 1. */
  readonly shard: number;
}

/** A change of a page in the log, made at the end of its tick. */
export interface Change {
  /** Of a live page. */
  readonly page: number;
  /** New size in bytes: leading bytes stay, new ones are zero. */
  readonly size?: number;
  /** New shard. */
  readonly shard?: number;
  /** New metadata, in place of all that was there. */
  readonly metadata?: Readonly<Record<string, Uint8Array>>;
}

/** Rows that are accepted or refused together. */
export interface Batch {
  /** 0 is the caller's own open batch. */
  readonly producer: number;
  /** Rises within the producer; gaps are allowed. */
  readonly sequence: number;
  /** In the order they are applied in. */
  readonly rows: readonly Row[];
}

/**
 * One tick in the log: creates, then batches in order, then what rules made of them, then changes, then
 * edges, rules and marks, then deletes.
 */
export interface TickRecord {
  /** 1, 2, 3 … without gaps. */
  readonly tick: number;
  /** First id not yet given away, so that ids of refused creates stay used up after recovery. */
  readonly nextId: number;
  /** In order of id. */
  readonly creates: readonly Create[];
  /** Accepted batches with rows, by producer, then sequence. */
  readonly batches: readonly Batch[];
  /** Rows made by rules, in the order they are applied in; nothing stands for none. */
  readonly derived?: readonly Row[];
  /** Edges, rules and marks, in the order they take effect; nothing stands for none. */
  readonly structure?: readonly StructureStep[];
  /** In the order they were staged in. */
  readonly changes: readonly Change[];
  /** Ids, in the order they were staged in. */
  readonly deletes: readonly number[];
}

/** A batch that left no trace, and its first bad row. */
export interface Refusal {
  /** 0 is the open batch. */
  readonly producer: number;
  /** The sequence of the refused batch. */
  readonly sequence: number;
  /** Index of the first bad row. */
  readonly row: number;
  /** The first fault of that row. */
  readonly code: RefusalCode;
}

/** The outcome of one tick. */
export interface TickReport {
  /** Number of this tick, or of the last one where nothing was accepted. */
  readonly tick: number;
  /** Accepted rows; creates and deletes are not counted. */
  readonly rows: number;
  /** By producer, then sequence. */
  readonly refused: readonly Refusal[];
}

/** One applied row of a page's history. */
export interface HistoryEntry {
  /** The tick it was applied in. */
  readonly tick: number;
  /** First byte of the span. */
  readonly offset: number;
  /** The whole span, also where a mask touched less of it. */
  readonly before: Uint8Array;
  /** As long as `before`. */
  readonly after: Uint8Array;
  /** Who made the delta. */
  readonly source: string | undefined;
  /** Why. */
  readonly intent: string | undefined;
  /** Hybrid logical time, as a 64-bit word. */
  readonly time: bigint | undefined;
  /** The page's epoch after the row. */
  readonly epoch: number;
}
