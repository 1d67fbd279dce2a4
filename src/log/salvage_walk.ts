/**
 * Salvage walk: all ticks that can still be found in a damaged log, whole ones and what is left of
 * others.
 *
 * The reader stops where recovery must; this goes on: behind bad bytes it looks for the next frame
 * whose checksums fit, behind a missing or unreadable segment it takes the next one. What it finds is
 * safe to believe, as each frame has a checksum over its header and one over its body, and a commit
 * row counts and digests all frames of its tick.
 *
 * Cost: each segment is read whole and checked once, at the speed of the file cache.
 *
 * @module
 */

import { isZero } from "./_lane_evidence.ts";
import { SegmentBuffer, segmentNumbers, wholeHeaders } from "./_segment_files.ts";
import type { LogFault, LogFaultName } from "./fault.ts";
import { FRAME_HEADER_BYTES, ROW_KIND, SEGMENT_HEADER_BYTES, segmentPath } from "./format.ts";
import {
  bodyFault,
  type CommitRow,
  type FrameHeader,
  isLaneMark,
  readCommit,
  readFrameHeader,
  readSegmentHeader,
  type SegmentBytes,
} from "./frame_reader.ts";
import { digestOf } from "./frame_writer.ts";
import type { LanePlace } from "./meta.ts";
import type { Storage } from "./storage.ts";

/** A tick on one lane as it was found; its bytes are good until the next one is asked for. */
export interface FoundTick {
  /** Lane. */
  readonly lane: number;
  /** Tick. */
  readonly tick: number;
  /** Frames of rows whose checksums fit, in order. */
  readonly frames: readonly FrameHeader[];
  /** Rows of deltas in frames that are lost. */
  readonly rowsLost: number;
  /** Frames whose headers are whole and whose bodies are not. */
  readonly framesLost: readonly FrameHeader[];
  /** The commit row and its frame; only where all frames of the tick are there. */
  readonly commit?: CommitRow & { readonly frame: FrameHeader };
  /** Segment that it stands in. */
  readonly segment: SegmentBytes;
}

/** Finds the ticks of one lane. */
export class SalvageWalk {
  readonly #storage: Storage;
  readonly #lane: number;
  readonly #report: (fault: LogFault) => void;
  readonly #begin: LanePlace | undefined;
  readonly #buffer = new SegmentBuffer();
  /** Position in the lane at which the next segment should begin, if that is known. */
  #position: number | undefined = 0;
  #path = "";
  #end = 0;
  /** Whether the lane goes on behind what was read. */
  #goesOn = false;

  /**
   * @param storage The directory; it is only read.
   * @param lane Lane.
   * @param begin Where the log begins, if not with the first segment.
   * @param report Told of every fault.
   */
  constructor(
    storage: Storage,
    lane: number,
    begin: LanePlace | undefined,
    report: (fault: LogFault) => void,
  ) {
    this.#storage = storage;
    this.#lane = lane;
    this.#begin = begin;
    this.#report = report;
  }

  /** The ticks, in order, each once. */
  *ticks(): Generator<FoundTick> {
    let due = this.#begin?.segment ?? 1, tickLast = 0;
    const numbers = segmentNumbers(this.#storage, this.#lane).filter((number) => number >= due);
    for (const number of numbers) {
      const isLast = number === numbers.at(-1);
      for (; due < number; due++) {
        this.#fault("segment-missing", segmentPath(this.#lane, due), 0, "the segment is missing");
        this.#position = undefined;
      }
      due = number + 1;
      const from = number === this.#begin?.segment ? this.#begin.offset : SEGMENT_HEADER_BYTES;
      for (const tick of this.#segment(number, from, isLast)) {
        if (tick.tick <= tickLast) {
          const [{ at }] = [...tick.frames, ...(tick.commit ? [tick.commit.frame] : []), { at: 0 }];
          this.#fault("tick-twice", this.#path, at, `tick ${tick.tick} comes again`, tick.tick);
          continue;
        }
        // What is left of a tick says that it is lost; another part of it may follow.
        if (tick.commit !== undefined) tickLast = tick.tick;
        yield tick;
      }
    }
    if (!this.#goesOn) return;
    this.#fault("segment-missing", segmentPath(this.#lane, due), 0, "the segment is missing");
  }

  *#segment(number: number, from: number, isLast: boolean): Generator<FoundTick> {
    const path = segmentPath(this.#lane, number);
    const segment = this.#buffer.load(this.#storage, path);
    const header = readSegmentHeader(segment, path);
    const isBlank = isZero(segment.bytes.subarray(0, segment.length));
    this.#goesOn = false;
    if (header === "unused" && isBlank && isLast) return;
    let incarnation: number | undefined;
    if (header === "unused" || "fault" in header) {
      const what = header === "unused" ? "it holds nothing" : header.fault;
      this.#fault("segment-header", path, 0, what);
      this.#position = undefined;
    } else if (header.lane !== this.#lane || header.number !== number) {
      const what = `it is segment ${header.number} of lane ${header.lane}`;
      this.#fault("segment-header", path, 0, what);
      this.#position = undefined;
      return;
    } else {
      incarnation = header.incarnation;
      this.#checkPosition(header.position);
      this.#position = header.position;
    }
    this.#path = path;
    yield* this.#frames(segment, path, from, incarnation);
    if (this.#position !== undefined) this.#position += this.#end;
  }

  /** A segment that begins later than the one before ends was preceded by more. */
  #checkPosition(position: number): void {
    if (this.#position === undefined || this.#path === "") return;
    const missing = position - this.#position;
    // The mark at a segment's end says nothing that the next one does not.
    if (missing === 0 || missing === FRAME_HEADER_BYTES) return;
    const what = missing > 0
      ? `${missing} bytes are missing up to the next segment`
      : `the next segment begins ${-missing} bytes before its end`;
    this.#fault("frame-cut", this.#path, this.#end, what);
  }

  *#frames(
    segment: SegmentBytes,
    path: string,
    from: number,
    incarnation: number | undefined,
  ): Generator<FoundTick> {
    const group = new FrameGroup(this.#lane, segment);
    let at = from;
    while (at < segment.length) {
      const frame = readFrameHeader(segment, at, path);
      if ("fault" in frame) {
        if (isZero(segment.bytes.subarray(at, segment.length))) break;
        group.isBroken = true;
        this.#fault("frame-header", path, at, frame.fault, group.tick || undefined);
        at = nextFrame(segment, at + 8, path);
        continue;
      }
      const body = bodyFault(segment, frame);
      const isOurs = frame.lane === this.#lane &&
        (incarnation === undefined || frame.incarnation === incarnation);
      at += frame.length;
      if (!isOurs) {
        const what = `a frame of lane ${frame.lane}, incarnation ${frame.incarnation} stands there`;
        this.#fault("frame-place", path, frame.at, what, frame.tick);
        continue;
      }
      if (group.tick !== 0 && (isLaneMark(frame) || frame.tick !== group.tick)) {
        const whatIsLeft = group.end();
        if (!group.isBroken) {
          this.#fault("commit", path, frame.at, "it has no commit row", whatIsLeft.tick);
        }
        yield whatIsLeft;
        group.clear();
      }
      this.#goesOn = isLaneMark(frame);
      if (this.#goesOn) continue;
      if (body !== undefined) {
        const name = at > segment.length ? "frame-cut" : "frame-body";
        this.#fault(name, path, frame.at, body, frame.tick);
        group.lose(frame);
        if (at > segment.length) at = nextFrame(segment, frame.at + frame.headerLength, path);
        continue;
      }
      if (frame.rowKind !== ROW_KIND.commit) {
        group.add(frame);
        continue;
      }
      const found = group.end(frame);
      if (found.commit === undefined && !group.isBroken) {
        const what = "the commit row does not fit the frames of its tick";
        this.#fault("commit", path, frame.at, what, frame.tick);
      }
      yield found;
      group.clear();
    }
    this.#end = Math.min(at, segment.length);
    if (group.tick === 0) return;
    if (!group.isBroken) this.#fault("commit", path, at, "the file ends in the tick", group.tick);
    yield group.end();
  }

  #fault(fault: LogFaultName, file: string, offset: number, message: string, tick?: number): void {
    const place = { kind: "damage" as const, fault, file, offset, message };
    this.#report(tick === undefined ? place : { ...place, tick });
  }
}

/** The frames of the tick at hand. */
class FrameGroup {
  /** The tick, 0 for none. */
  tick = 0;
  /** Whether it is known that frames of it are bad. */
  isBroken = false;
  readonly #lane: number;
  readonly #segment: SegmentBytes;
  #frames: FrameHeader[] = [];
  #framesLost: FrameHeader[] = [];
  #rowsLost = 0;

  constructor(lane: number, segment: SegmentBytes) {
    this.#lane = lane;
    this.#segment = segment;
  }

  add(frame: FrameHeader): void {
    this.tick = frame.tick;
    this.#frames.push(frame);
  }

  /** Notes a frame of which only the header is whole. */
  lose(frame: FrameHeader): void {
    this.tick = frame.tick;
    this.isBroken = true;
    const { data, derived } = ROW_KIND;
    if (frame.rowKind === data || frame.rowKind === derived) this.#rowsLost += frame.rows;
    this.#framesLost.push(frame);
  }

  /** The tick; with its commit row only where that fits all frames. */
  end(commitFrame?: FrameHeader): FoundTick {
    const [frames, segment, framesLost] = [this.#frames, this.#segment, this.#framesLost];
    const tick = commitFrame?.tick ?? this.tick;
    const about = { lane: this.#lane, tick, frames, rowsLost: this.#rowsLost, framesLost, segment };
    if (commitFrame === undefined) return about;
    const row = readCommit(segment, commitFrame);
    const digest = frames.reduce((sum, { check }) => digestOf(sum, check), 0);
    const fits = row !== undefined && row.frames === frames.length && row.digest === digest;
    return fits ? { ...about, commit: { ...row, frame: commitFrame } } : about;
  }

  clear(): void {
    this.tick = this.#rowsLost = 0;
    this.isBroken = false;
    this.#frames = [];
    this.#framesLost = [];
  }
}

/** Where the next whole header of a frame stands; the segment's end where none does. */
function nextFrame(segment: SegmentBytes, from: number, path: string): number {
  return wholeHeaders(segment, from, path).next().value?.at ?? segment.length;
}
