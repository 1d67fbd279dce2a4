/** Page tick: what a tick tells of pages that have copies on the device. */

/**
 * What the pages of a tick held before it; `ChangeLog` is one. A record has the row, the first word of the
 * span in the page, the number of words, the record of the same page before it, and the old words.
 */
export interface TickRecords {
  /** Records one behind the other. */
  readonly words: Int32Array;
  /** Words in use. */
  readonly used: number;
  /** Newest record of each row, 0 for none. */
  readonly heads: Int32Array;
  /** Rows with records. */
  readonly touched: Int32Array;
  /** Number of rows with records. */
  readonly count: number;
}

/** What a job does with pages that it takes. */
export interface TakeOptions {
  /** The records of the tick that runs; none between ticks. */
  readonly log?: TickRecords | undefined;
  /** Places in the list of the pages whose copies the job writes. */
  readonly writes?: Iterable<number> | undefined;
}

/** How a tick ended. */
export interface TickEnd {
  /** Its records, where it has any. */
  readonly log?: TickRecords | undefined;
  /** Whether it counts; otherwise the pages are as they were before it, or will be at once. */
  readonly isCommitted: boolean;
  /** Whether all rows are in the records, or were told by `PageLocations.noteRows`. */
  readonly isComplete: boolean;
}
