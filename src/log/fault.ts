/**
 * Faults: what can be wrong with a log, each by a name that a program can decide by, a place and a
 * sentence for people.
 *
 * The names tell what was found, not what caused it: a lost write and a flipped byte can look the
 * same.
 *
 * @module
 */

/** What each fault means, by its name. */
export const LOG_FAULTS = {
  /** `meta.json` cannot be used, or says other things than the lanes do. */
  "meta": "the directory's metadata is wrong",
  /** A segment that must be there is not. */
  "segment-missing": "a segment is missing",
  /** A segment's header is unreadable, or belongs elsewhere. */
  "segment-header": "a segment's header is wrong",
  /** No readable header where a frame is due. */
  "frame-header": "a frame's header is wrong",
  /** The body does not match its checksum. */
  "frame-body": "a frame's body is wrong",
  /** The file ends inside a frame. */
  "frame-cut": "a frame is cut",
  /** A whole frame stands where another one is due. */
  "frame-order": "frames are out of order",
  /** A whole frame stands there twice. */
  "frame-twice": "a frame is there twice",
  /** A whole frame says that it belongs to another lane, writer, tick or set of lanes. */
  "frame-place": "a frame belongs elsewhere",
  /** The commit row is missing or does not fit the frames of its tick. */
  "commit": "a commit row is wrong",
  /** Ticks are missing. */
  "tick-missing": "ticks are missing",
  /** A tick comes again. */
  "tick-twice": "a tick comes again",
  /** Hybrid logical time does not rise. */
  "time": "time does not rise",
  /** A producer's sequence does not rise, or the caller's own leaves a number out. */
  "sequence": "a sequence is broken",
  /** The columns of a frame cannot be decoded. */
  "columns": "columns cannot be decoded",
  /** A birth, death or change of metadata that cannot be. */
  "structure": "a structural change cannot be",
  /** A delta for a page that was never born. */
  "page-unborn": "a delta has a page that was never born",
  /** A delta for a page that was deleted in an earlier tick. */
  "page-dead": "a delta has a page that was deleted",
  /** A delta that is malformed: span, kind, payload, source or intent. */
  "row": "a delta is malformed",
  /** A checkpoint cannot be used, or leads elsewhere than the log. */
  "checkpoint": "a checkpoint is wrong",
  /** A page's epoch does not rise by one for each delta. */
  "epoch": "epochs do not rise by one",
} as const;

/** Name of a fault. */
export type LogFaultName = keyof typeof LOG_FAULTS;

/** One fault of a log. */
export interface LogFault {
  /** `damage`: synced bytes are lost or wrong. `torn`: a tail that the next open cuts. */
  readonly kind: "damage" | "torn";
  /** What it is. */
  readonly fault: LogFaultName;
  /** File, relative to the directory. */
  readonly file: string;
  /** Byte in the file at which the part begins that is at fault: a segment, frame or header. */
  readonly offset: number;
  /** Tick, where it is known. */
  readonly tick?: number;
  /** What was found, in one sentence. */
  readonly message: string;
}

/** A fault's place as text: the same fault of two readings has the same. */
export function faultKey(fault: LogFault): string {
  return `${fault.fault} ${fault.file} ${fault.offset}`;
}
