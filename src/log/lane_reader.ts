/**
 * Lane reader: walks one lane's segments and hands out whole ticks, checked.
 *
 * A tick counts only if all its frames are there in order, every checksum fits and its commit row
 * agrees. Where that ends, the question is whether the rest was lost before it was synced (a torn
 * tail: cut it) or after (damage: refuse). The bytes before the end cannot tell; evidence is a
 * later frame that knew more of the lane to be synced, a later segment begun past this place, or
 * the record of a clean close. So is what no crash leaves: a whole frame or segment in a place that
 * is not its own, and a segment that is not there, as its name is durable before it is used. Without
 * evidence it is a torn tail, because an unsynced write may be lost in any part and any order.
 *
 * Cost: a segment is read whole, at the speed of the file cache, and checked at 9 GB/s or more.
 *
 * @module
 */

import { FOREIGN, isZero, LaneEvidence, type LaneState, UNKNOWN, worse } from "./_lane_evidence.ts";
import { SegmentBuffer, segmentNumbers } from "./_segment_files.ts";
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
  type SegmentHeader,
} from "./frame_reader.ts";
import { digestOf } from "./frame_writer.ts";
import type { LanePlace } from "./meta.ts";
import type { Storage } from "./storage.ts";

/** A tick on one lane; its bytes are good until the next one is read. */
export interface LaneTick {
  /** Lane. */
  readonly lane: number;
  /** Tick. */
  readonly tick: number;
  /** Frames of rows, in order. */
  readonly frames: readonly FrameHeader[];
  /** The commit row. */
  readonly commit: CommitRow;
  /** Header of the commit frame. */
  readonly commitFrame: FrameHeader;
  /** The segment. */
  readonly segment: SegmentBytes;
  /** Path of the segment. */
  readonly path: string;
  /** Position of the segment in the lane. */
  readonly position: number;
  /** Number of the segment. */
  readonly number: number;
  /** Earlier ticks that a merged tick stands for beside itself. */
  readonly span: number;
}

/** Where a lane's whole ticks end. */
export interface LaneEnd {
  /** Lane. */
  readonly lane: number;
  /** Segment in which they end; 0 where the lane has none. */
  readonly number: number;
  /** Path of that segment. */
  readonly path: string;
  /** Byte of the segment after the last whole tick. */
  readonly offset: number;
  /** The same as a position in the lane. */
  readonly position: number;
  /** `whole`: nothing follows. `torn`: an unsynced tail follows. `damaged`: synced bytes are lost. */
  readonly state: "whole" | "torn" | "damaged";
  /** What was found there, in words. */
  readonly reason: string;
  /** File in which the first bad byte stands. */
  readonly badPath: string;
  /** Its offset. */
  readonly badOffset: number;
  /** Last whole tick, 0 for none. */
  readonly lastTick: number;
  /** Position up to which the lane is known to have been synced. */
  readonly synced: number;
}

/** What a directory's metadata says of a lane. */
export interface LaneKnown {
  /** Position up to which the lane is known to be synced; 0 for none. */
  readonly position: number;
  /**
   * Segment that was made durable; 0 where the lane was known to be empty, so that what stands there
   * does not count.
   */
  readonly segment: number;
  /**
   * Whether the position may be where recovery was about to cut the lane: a crash may have left any of
   * what stood behind it, and with several lanes that may have been synced. Default no.
   */
  readonly mayBeCut?: boolean;
}

/** Where to begin in a lane, if not at its first segment. */
export interface LaneBegin extends LanePlace {
  /** The last tick before the place. */
  readonly tick: number;
}

/** Reads one lane from its first segment, or from a place between two ticks. */
export class LaneReader {
  readonly #storage: Storage;
  readonly #lane: number;
  readonly #known: LaneKnown;
  /** Whether all that stands in the lane was to be removed when the power failed. */
  readonly #emptied: boolean;
  readonly #numbers: number[];
  readonly #evidence: LaneEvidence;
  readonly #begin: LaneBegin | undefined;
  readonly #buffer = new SegmentBuffer();
  #segment: SegmentBytes = this.#buffer.last;
  #header: SegmentHeader | undefined;
  #offset = 0;
  #frameOffset = 0;
  #wholeNumber = 0;
  #wholeOffset = 0;
  #wholePosition = 0;
  #lastTick = 0;
  #synced: number;
  #end: LaneEnd | undefined;

  /**
   * @param storage Where the lane is.
   * @param lane Lane.
   * @param known What the directory knows of the lane beside its segments.
   * @param begin Where to begin; nothing before it is looked at.
   */
  constructor(storage: Storage, lane: number, known?: LaneKnown, begin?: LaneBegin) {
    this.#storage = storage;
    this.#lane = lane;
    this.#known = known ?? { position: 0, segment: 0 };
    this.#emptied = known?.segment === 0;
    this.#synced = this.#known.position;
    this.#begin = begin;
    this.#lastTick = begin?.tick ?? 0;
    this.#numbers = segmentNumbers(storage, lane)
      .filter((number) => number >= (begin?.segment ?? 0));
    this.#evidence = new LaneEvidence(lane, this.#numbers, (path) => this.#load(path));
  }

  /** Where the whole ticks end; known once {@linkcode LaneReader.next} has given `undefined`. */
  get end(): LaneEnd | undefined {
    return this.#end;
  }

  /** Segments there are. */
  get segments(): readonly number[] {
    return this.#numbers;
  }

  /**
   * The next whole tick.
   *
   * @throws {MmsbError} `version` for a newer format, `io` where a file cannot be read.
   */
  next(): LaneTick | undefined {
    if (this.#end !== undefined) return undefined;
    if (this.#header === undefined && !this.#openFirst()) return undefined;
    const frames: FrameHeader[] = [];
    let digest = 0;
    this.#frameOffset = this.#offset;
    for (;;) {
      const frame = this.#frame();
      if ("fault" in frame) {
        if (frames.length === 0 && this.#advance()) {
          this.#frameOffset = this.#offset;
          continue;
        }
        return this.#finish(
          frames.length === 0 ? frame.fault : `tick ${frames[0].tick} is not whole: ${frame.fault}`,
        );
      }
      const fault = this.#misplaced(frame, frames);
      if (fault !== undefined) return this.#finish(fault, true);
      this.#synced = Math.max(this.#synced, frame.syncedPosition);
      this.#frameOffset += frame.length;
      if (isLaneMark(frame)) {
        this.#wholeOffset = this.#offset = this.#frameOffset;
        this.#wholePosition = this.#header!.position + this.#offset;
        if (!this.#advance()) return this.#missingNext();
        this.#frameOffset = this.#offset;
        continue;
      }
      if (frame.rowKind !== ROW_KIND.commit) {
        frames.push(frame);
        digest = digestOf(digest, frame.check);
        continue;
      }
      const commit = readCommit(this.#segment, frame);
      if (commit === undefined || commit.frames !== frames.length || commit.digest !== digest) {
        this.#frameOffset -= frame.length;
        return this.#finish(`the commit row of tick ${frame.tick} does not fit its frames`, true);
      }
      this.#offset = this.#frameOffset;
      this.#wholeNumber = this.#header!.number;
      this.#wholeOffset = this.#offset;
      this.#wholePosition = this.#header!.position + this.#offset;
      this.#lastTick = frame.tick;
      return {
        lane: this.#lane,
        tick: frame.tick,
        frames,
        commit,
        commitFrame: frame,
        segment: this.#segment,
        path: segmentPath(this.#lane, this.#header!.number),
        position: this.#header!.position,
        number: this.#header!.number,
        span: frame.span,
      };
    }
  }

  #frame(): FrameHeader | { fault: string } {
    const path = segmentPath(this.#lane, this.#header!.number);
    const frame = readFrameHeader(this.#segment, this.#frameOffset, path);
    if ("fault" in frame) return frame;
    const fault = bodyFault(this.#segment, frame);
    return fault === undefined ? frame : { fault };
  }

  #misplaced(frame: FrameHeader, frames: readonly FrameHeader[]): string | undefined {
    const header = this.#header!;
    if (frame.lane !== this.#lane) {
      return `a frame of lane ${frame.lane} stands in lane ${this.#lane}`;
    }
    if (frame.incarnation !== header.incarnation) {
      return `a frame of incarnation ${frame.incarnation} stands in a segment of ${header.incarnation}`;
    }
    if (isLaneMark(frame)) {
      return frames.length === 0 ? undefined : `tick ${frames[0].tick} has no commit row`;
    }
    if (frame.index !== frames.length) {
      return `frame ${frame.index} of tick ${frame.tick} stands where ${frames.length} is due`;
    }
    if (frame.tick <= this.#lastTick) {
      return `tick ${frame.tick} comes after tick ${this.#lastTick}`;
    }
    if (frames.length > 0 && frame.tick !== frames[0].tick) {
      return `a frame of tick ${frame.tick} stands in tick ${frames[0].tick}`;
    }
    return undefined;
  }

  #openFirst(): boolean {
    if (this.#numbers.length === 0 || this.#emptied) {
      const missing = this.#known.segment > 0 || this.#begin !== undefined;
      this.#setEnd(
        missing ? "damaged" : "whole",
        missing ? "its segments are missing" : "the lane is empty",
        segmentPath(this.#lane, this.#firstNumber),
        0,
      );
      return false;
    }
    return this.#open(this.#numbers[0]);
  }

  get #firstNumber(): number {
    return this.#begin?.segment ?? 1;
  }

  /** Opens a segment; sets the end and says `false` where it cannot go on there. */
  #open(number: number): boolean {
    const path = segmentPath(this.#lane, number);
    const segment = this.#load(path);
    const header = readSegmentHeader(segment, path);
    if (header === "unused" || "fault" in header || this.#evidence.isForeign(header, number)) {
      if (this.#header === undefined) this.#endAtFirst(number, segment, header);
      return false;
    }
    const continues = this.#header === undefined || header.position === this.#wholePosition ||
      header.position === this.#wholePosition + FRAME_HEADER_BYTES;
    if (!continues) return false;
    const begin = this.#header === undefined ? this.#begin : undefined;
    const first = begin === undefined ? 0 : begin.position - begin.offset;
    if (this.#header === undefined && header.position !== first) {
      this.#setEnd("damaged", `segments before "${path}" are missing`, path, 0);
      return false;
    }
    if (begin !== undefined && begin.offset > segment.length) {
      // Nothing gets a name that begins here before the lane is durable up to here.
      const reason = `"${path}" has ${segment.length} bytes and was durable up to ${begin.offset}`;
      this.#setEnd("damaged", reason, path, segment.length);
      return false;
    }
    this.#segment = segment;
    this.#header = header;
    this.#offset = begin?.offset ?? SEGMENT_HEADER_BYTES;
    this.#wholeNumber = number;
    this.#wholeOffset = this.#offset;
    this.#wholePosition = header.position + this.#offset;
    return true;
  }

  /** Ends the walk at a first segment that cannot be read. */
  #endAtFirst(
    number: number,
    segment: SegmentBytes,
    header: SegmentHeader | "unused" | { fault: string },
  ): void {
    const path = segmentPath(this.#lane, number);
    const blank = header === "unused" && isZero(segment.bytes.subarray(0, segment.length));
    let state: LaneState = blank ? "whole" : "torn";
    let reason = "the segment is empty";
    if (header !== "unused") reason = "fault" in header ? `${path}: ${header.fault}` : FOREIGN;
    if (number !== this.#firstNumber) reason = `segments before "${path}" are missing`;
    const foreign = header !== "unused" && !("fault" in header);
    if (
      number !== 1 || foreign || this.#isKnownPast(0) ||
      this.#evidence.inSegment(segment, 0, 0, UNKNOWN)
    ) {
      state = "damaged";
    } else {
      state = worse(state, this.#evidence.inLater(number, 0, UNKNOWN));
    }
    this.#setEnd(state, reason, path, 0);
  }

  /** Goes to the next segment if the lane goes on there. */
  #advance(): boolean {
    const next = this.#header!.number + 1;
    if (!this.#numbers.includes(next)) return false;
    const [segment, header, offset] = [this.#segment, this.#header, this.#offset];
    const [number, wholeOffset, position] = [
      this.#wholeNumber,
      this.#wholeOffset,
      this.#wholePosition,
    ];
    if (this.#open(next)) return true;
    // The buffer was read over; take the segment back.
    this.#segment = segment.length === 0
      ? segment
      : this.#load(segmentPath(this.#lane, header!.number));
    [this.#header, this.#offset] = [header, offset];
    [this.#wholeNumber, this.#wholeOffset, this.#wholePosition] = [number, wholeOffset, position];
    return false;
  }

  #missingNext(): undefined {
    const next = this.#header!.number + 1;
    const path = segmentPath(this.#lane, next);
    if (!this.#numbers.includes(next)) {
      this.#setEnd(
        this.#isCutHere() ? "whole" : "damaged",
        `segment "${path}" is missing`,
        path,
        0,
      );
      return undefined;
    }
    // A prepared segment that was not written to, or whose first write was lost, is a normal end.
    const segment = this.#load(path);
    const header = readSegmentHeader(segment, path);
    const blank = header === "unused" && isZero(segment.bytes.subarray(0, segment.length));
    const foreign = header !== "unused" && !("fault" in header) &&
      this.#evidence.isForeign(header, next);
    let reason = "it does not follow";
    if (header === "unused") reason = "it holds nothing yet";
    else if ("fault" in header) reason = header.fault;
    else if (foreign) reason = FOREIGN;
    const { incarnation } = this.#header!;
    let state: LaneState = blank ? "whole" : "torn";
    if (
      foreign || this.#isKnownPast(this.#wholePosition) ||
      this.#evidence.inSegment(segment, 0, this.#wholePosition, incarnation)
    ) {
      state = "damaged";
    } else if (this.#isLeftOver()) {
      state = "torn";
    } else {
      state = worse(state, this.#evidence.inLater(next, this.#wholePosition, incarnation));
    }
    this.#setEnd(state, `segment "${path}": ${reason}`, path, 0);
    return undefined;
  }

  /** Whether the directory's metadata knows that the lane was synced past a position. */
  #isKnownPast(position: number): boolean {
    const { segment } = this.#known;
    const isMissing = segment >= this.#firstNumber && !this.#numbers.includes(segment);
    return this.#known.position > position || isMissing;
  }

  /**
   * Whether recovery was about to cut the lane here and was cut off itself: it may have removed any
   * of the segments that follow.
   */
  #isCutHere(): boolean {
    return this.#known.segment === this.#header!.number &&
      this.#known.position === this.#wholePosition;
  }

  /** Whether all that follows was to be removed by a recovery that was cut off: it proves nothing. */
  #isLeftOver(): boolean {
    return this.#known.mayBeCut === true && this.#isCutHere() &&
      this.#numbers.some((number) => number > this.#header!.number);
  }

  /**
   * Ends the walk at a bad frame and finds out whether what is lost was synced; `misplaced` where
   * the frame is whole, but not one that can stand there.
   */
  #finish(reason: string, misplaced = false): undefined {
    const header = this.#header!;
    const badOffset = this.#frameOffset;
    const badPosition = header.position + badOffset;
    const path = segmentPath(this.#lane, header.number);
    let state: LaneState = "torn";
    const rest = this.#segment.bytes.subarray(badOffset, this.#segment.length);
    const later = this.#numbers.filter((number) => number > header.number);
    const last = Math.max(later.at(-1) ?? 0, this.#known.segment);
    const absent = last > header.number && !this.#numbers.includes(header.number + 1) &&
      !this.#isCutHere();
    if (misplaced || absent || this.#isKnownPast(badPosition)) state = "damaged";
    else if (this.#evidence.inSegment(this.#segment, badOffset, badPosition, header.incarnation)) {
      state = "damaged";
    } else if (badOffset === this.#wholeOffset && isZero(rest)) {
      state = "whole";
    }
    if (state !== "damaged" && this.#isLeftOver()) state = "torn";
    else if (state !== "damaged") {
      state = worse(state, this.#evidence.inLater(header.number, badPosition, header.incarnation));
    }
    const missing = segmentPath(this.#lane, header.number + 1);
    this.#setEnd(
      state,
      state === "whole" ? "the lane ends" : absent ? `segment "${missing}" is missing` : reason,
      absent ? missing : path,
      absent ? 0 : badOffset,
    );
    return undefined;
  }

  #setEnd(state: LaneState, reason: string, badPath: string, badOffset: number): void {
    this.#end = {
      lane: this.#lane,
      number: this.#wholeNumber,
      path: segmentPath(this.#lane, Math.max(1, this.#wholeNumber)),
      offset: this.#wholeOffset,
      position: this.#wholePosition,
      state,
      reason,
      badPath,
      badOffset,
      lastTick: this.#lastTick,
      synced: this.#synced,
    };
  }

  #load(path: string): SegmentBytes {
    return this.#buffer.load(this.#storage, path);
  }
}
