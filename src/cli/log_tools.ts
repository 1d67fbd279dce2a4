/**
 * What the `log` commands need of something that reads a log: three functions. The shapes of what they
 * give are the log layer's own; a test can stand in for the functions.
 */

import type { DeltaQuery, LogAudit, LoggedDelta, LogInspection, LogState } from "../log/mod.ts";

/** What a data directory's log holds. */
export type LogSummary = LogInspection;
/** How a log ends. */
export type LogEnding = LogState;
/** Which deltas to give. */
export type LogQuery = DeltaQuery;
/** One delta of a log. */
export type LogDelta = LoggedDelta;
/** Outcome of checking everything. */
export type LogVerification = LogAudit;

/**
 * What reads a log. Nothing of it writes to the directory. Each throws an `MmsbError`: `usage` where
 * the folder is no data directory, `version` where it is a newer one, `invalid-handle` where a page
 * that was asked for never lived, `corrupt-log` where damage ends the reading.
 */
export interface LogTools {
  /** Throws where a folder is no data directory. */
  requireDirectory(directory: string): void;
  /** Sums a log up. */
  inspectLog(directory: string, options?: { readonly pages?: number }): Promise<LogSummary>;
  /** Gives deltas by tick, then shard, then as they were applied. */
  queryLog(directory: string, query: LogQuery): AsyncIterable<LogDelta>;
  /** Reads and checks everything; faults are given, not thrown. */
  verifyLog(
    directory: string,
    options: { readonly progress: (text: string) => void },
  ): Promise<LogVerification>;
}
