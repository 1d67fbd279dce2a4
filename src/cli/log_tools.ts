/**
 * What the `log` commands need of something that reads a log: three functions, and the shapes of what
 * they give. The commands know no more of logs than this, so that each side can be tested without the
 * other; a layer below fits by shape and need not import this file.
 */

/** One lane of a log. */
export interface LogLane {
  /** Its number. */
  readonly lane: number;
  /** Files. */
  readonly segments: number;
  /** Frames of whole ticks. */
  readonly frames: number;
  /** Bytes of its files. */
  readonly bytes: number;
}

/** What one source did. */
export interface LogSource {
  /** The source; absent for deltas that name none. */
  readonly source?: string;
  /** Its deltas. */
  readonly deltas: number;
  /** Bytes of their payload. */
  readonly payloadBytes: number;
}

/** How a log ends, and where, if it does not end well. */
export interface LogEnding {
  /** `whole`; `torn`: a tail that the next open cuts; `damaged`: synced bytes are lost. */
  readonly state: "whole" | "torn" | "damaged";
  /** File of the first bad byte, relative to the data directory. */
  readonly file?: string;
  /** Its place in the file. */
  readonly offset?: number;
  /** First tick that is not whole. */
  readonly tick?: number;
  /** What was found, in words. */
  readonly reason?: string;
}

/** A page and how far it has come. */
export interface LogPageEpoch {
  /** Its id. */
  readonly page: number;
  /** Its name, if it has one. */
  readonly name?: string;
  /** Its bytes. */
  readonly size: number;
  /** Its epoch after the last tick. */
  readonly epoch: number;
}

/** What a data directory's log holds. */
export interface LogSummary {
  /** Format version of the directory. */
  readonly format: number;
  /** Incarnation: how often it was opened for writing. */
  readonly incarnation: number;
  /** Shards, fixed at its creation; absent where the metadata is lost. */
  readonly shards?: number;
  /** How the log ends; what is behind damage is not counted. */
  readonly state: LogEnding;
  /** First and last whole tick; absent where there is none. */
  readonly ticks?: { readonly first: number; readonly last: number };
  /** First and last hybrid logical timestamp; absent where there is none. */
  readonly hlc?: { readonly first: bigint; readonly last: bigint };
  /** Deltas, derived ones included. */
  readonly deltas: number;
  /** Bytes of their payload. */
  readonly payloadBytes: number;
  /** Deltas by what they do (`set`, `add i32`), the most frequent first. */
  readonly kinds: readonly { readonly kind: string; readonly deltas: number }[];
  /** Frames and rows by row kind (`data`, `structural`, `commit`). */
  readonly rows: readonly {
    readonly kind: string;
    readonly frames: number;
    readonly rows: number;
  }[];
  /** Pages that live after the last tick. */
  readonly pages: number;
  /** Their bytes. */
  readonly pageBytes: number;
  /** Pages that were ever born. */
  readonly pagesBorn: number;
  /** Some pages with the highest epochs, those first. */
  readonly epochs: readonly LogPageEpoch[];
  /** Lanes, by number. */
  readonly lanes: readonly LogLane[];
  /** Checkpoints, oldest first. */
  readonly checkpoints: readonly { readonly tick: number; readonly bytes: number }[];
  /** Sources, those with the most deltas first. */
  readonly sources: readonly LogSource[];
  /** Remarks in one line each: a torn tail, a directory that another process has open. */
  readonly notes: readonly string[];
}

/** Which deltas to give; one that lacks what is asked for is left out. */
export interface LogQuery {
  /** A page by its id, or by its name (then also of pages that have since been deleted). */
  readonly page?: number | string;
  /** Physical time of a delta at or after this, in µs since the Unix epoch. */
  readonly sinceUs?: number;
  /** Physical time before this, in µs since the Unix epoch. */
  readonly untilUs?: number;
  /** Tick of a delta, at or after this. */
  readonly tickFrom?: number;
  /** Tick of a delta, at or before this. */
  readonly tickTo?: number;
  /** Source, exactly. */
  readonly source?: string;
  /** Intent, exactly. */
  readonly intent?: string;
}

/** One delta of a log. */
export interface LogDelta {
  /** Its tick. */
  readonly tick: number;
  /** Its hybrid logical timestamp, a 64-bit word. */
  readonly hlc: bigint;
  /** Its page's id. */
  readonly page: number;
  /** Its page's name, if it has one. */
  readonly name?: string;
  /** Its page's epoch after it. */
  readonly epoch: number;
  /** Kind in words: `set`, `masked`, `add f64`, `create`, `delete`, `metadata`. */
  readonly kind: string;
  /** First byte in the page. */
  readonly offset: number;
  /** Bytes of its span. */
  readonly length: number;
  /** Payload as it stands in the log. */
  readonly payload: Uint8Array;
  /** Who made it. */
  readonly source?: string;
  /** Why. */
  readonly intent?: string;
  /** The rule that derived it. */
  readonly rule?: string;
  /** The source's own time in µs since the Unix epoch, if it stated one. */
  readonly timeUs?: number;
}

/** One fault of a log. */
export interface LogProblem {
  /** What it is, as a word for programs: `frame-body`, `epoch`. */
  readonly fault: string;
  /** `damage` below the synced position; `torn` for a tail that the next open cuts. */
  readonly kind: "damage" | "torn";
  /** File, relative to the data directory. */
  readonly file: string;
  /** Byte in the file. */
  readonly offset: number;
  /** Tick, where it is known. */
  readonly tick?: number;
  /** What is wrong, in one sentence. */
  readonly message: string;
}

/** Outcome of checking everything. */
export interface LogVerification {
  /** Frames that were read whole. */
  readonly frames: number;
  /** Deltas in them. */
  readonly deltas: number;
  /** Bytes that were read. */
  readonly bytes: number;
  /** Last whole tick; 0 where there is none. */
  readonly lastTick: number;
  /** What is wrong, in the order of lanes and files. */
  readonly problems: readonly LogProblem[];
}

/**
 * What reads a log. Nothing of it writes to the directory. Each throws an `MmsbError`: `usage` where
 * the folder is no data directory, `version` where it is a newer one, `invalid-handle` where a page
 * that was asked for never lived, `corrupt-log` where damage ends the reading.
 */
export interface LogTools {
  /** Throws where a folder is no data directory. */
  requireDirectory(directory: string): void;
  /** Sums a log up. */
  inspectLog(directory: string): Promise<LogSummary>;
  /** Gives deltas in the order of the canonical log: tick, then shard, producer, sequence. */
  queryLog(directory: string, query: LogQuery): AsyncIterable<LogDelta>;
  /** Reads and checks everything; faults are given, not thrown. */
  verifyLog(
    directory: string,
    options: { readonly progress: (text: string) => void },
  ): Promise<LogVerification>;
}
