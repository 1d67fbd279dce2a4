/**
 * Lane walk: every byte of one lane, for those who want to know all that is wrong with it.
 *
 * The lane reader stops at the first bad byte, as what comes after it must not count. This walk is
 * written apart from it, so that it can find what the reader would miss, and goes on behind damage:
 * it looks for the next frame that is whole, and says which ticks were hit. Where bytes are bad
 * that no evidence shows to have been synced, the rest is a torn tail, and it ends there as the
 * reader does.
 *
 * Cost: a segment is read whole and checked once; a second pass, for evidence, only where a fault
 * was found.
 */

import { isZero } from "./_lane_evidence.ts";
import { isHeader, SegmentBuffer, segmentNumbers, wholeHeaders } from "./_segment_files.ts";
import type { LogFault, LogFaultName } from "./fault.ts";
import {
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  ROW_KIND,
  SEGMENT_HEADER_BYTES,
  segmentPath,
} from "./format.ts";
import {
  bodyFault,
  type CommitRow,
  type FrameHeader,
  isDeltas,
  isLaneMark,
  readCommit,
  readFrameHeader,
  readSegmentHeader,
  type SegmentBytes,
  type SegmentHeader,
} from "./frame_reader.ts";
import { digestOf } from "./frame_writer.ts";
import type { LaneKnown } from "./lane_reader.ts";
import type { LanePlace } from "./meta.ts";
import type { Storage } from "./storage.ts";

/** A tick on one lane as it was found; its bytes are good until the next one is asked for. */
export interface WalkedTick {
  /** Lane. */
  readonly lane: number;
  /** Tick. */
  readonly tick: number;
  /** Frames of rows whose checksums fit, in the order of their index. */
  readonly frames: readonly FrameHeader[];
  /** Rows of data in frames whose body is lost. */
  readonly rowsLost: number;
  /** The commit row and its frame, where they were found. */
  readonly commit?: CommitRow & { readonly frame: FrameHeader };
  /** Whether anything was lost in it, or between it and the tick before. */
  readonly isLossy: boolean;
  /** Segment that it stands in. */
  readonly segment: SegmentBytes;
  /** Its path. */
  readonly path: string;
  /** Its position in the lane. */
  readonly position: number;
}

/** Reads one lane whole. */
export class LaneWalk {
  /** Lane. */
  readonly lane: number;
  /** Bytes of the files read. */
  bytes = 0;
  /** Frames whose checksums fit, in ticks that are not a torn tail. */
  frames = 0;
  /** Whether it ended in a torn tail. */
  isTorn = false;
  /** Largest incarnation of a segment. */
  incarnation = 0;

  readonly #storage: Storage;
  readonly #known: LaneKnown;
  readonly #begin: LanePlace | undefined;
  readonly #report: (fault: LogFault) => void;
  readonly #numbers: readonly number[];
  readonly #buffer = new SegmentBuffer();
  #next = 0;
  /** Number that the next segment must have. */
  #due: number;
  #segment: SegmentBytes | undefined;
  #header: SegmentHeader | undefined;
  #path = "";
  #offset = 0;
  #goesOn = false;
  /** Whether bytes were lost or added, so that positions say nothing up to the next segment. */
  #isShifted = false;
  /** Position up to which the lane was read without loss; the next segment starts there. */
  #position: number;
  #lastTick = 0;
  #repeatedTick = 0;
  #proven: number | undefined;
  #lost = false;
  #open = newTick();

  /**
   * @param storage Where the lane is.
   * @param lane Lane.
   * @param known What the directory knows of it, if anything.
   * @param report Told of every fault.
   * @param begin Where the lane begins, if not with segment 1.
   */
  constructor(
    storage: Storage,
    lane: number,
    known: LaneKnown | undefined,
    report: (fault: LogFault) => void,
    begin?: LanePlace,
  ) {
    this.#storage = storage;
    this.lane = lane;
    this.#known = known ?? { position: 0, segment: 0 };
    this.#report = report;
    this.#begin = begin;
    this.#due = begin?.segment ?? 1;
    this.#position = begin === undefined ? 0 : begin.position - begin.offset;
    // A lane that is known to be empty: recovery was about to remove what stands there.
    this.#numbers = known?.segment === 0
      ? []
      : segmentNumbers(storage, lane).filter((number) => number >= this.#due);
  }

  /** Number of segments. */
  get segments(): number {
    return this.#numbers.length;
  }

  /** The next tick, also one that is not whole, or `undefined` at the end. */
  next(): WalkedTick | undefined {
    while (!this.isTorn) {
      if (this.#segment === undefined) {
        if (this.#open.tick !== 0) {
          const tick = this.#close(undefined);
          // What else stood behind it in the segment is lost with it.
          this.#lost = true;
          return tick;
        }
        if (!this.#openNext()) return undefined;
        continue;
      }
      const tick = this.#step();
      if (tick !== undefined) return tick;
    }
    return undefined;
  }

  /** Takes one frame, or what stands in its place. */
  #step(): WalkedTick | undefined {
    const segment = this.#segment!, offset = this.#offset;
    const frame = readFrameHeader(segment, offset, this.#path);
    if ("fault" in frame) return this.#noFrame(frame.fault);
    const body = bodyFault(segment, frame);
    if (body !== undefined) {
      const isCut = frame.at + frame.length > segment.length;
      const name = isCut ? "frame-cut" : "frame-body";
      if (!this.#fault(name, offset, `a frame of tick ${frame.tick}: ${body}`, frame.tick)) return;
      this.#lost = this.#open.isBroken = true;
      if (isDeltas(frame.rowKind)) {
        this.#open.rowsLost += frame.rows;
      }
      if (this.#open.tick === 0) this.#open.tick = frame.tick;
      return isCut ? this.#endSegment() : void (this.#offset += frame.length);
    }
    return this.#take(frame);
  }

  /** Takes a frame whose checksums fit. */
  #take(frame: FrameHeader): WalkedTick | undefined {
    const place = this.#misplaced(frame);
    if (place !== undefined) {
      this.#misfit("frame-place", frame.at, place, frame.tick);
      this.#lost = true;
      return void (this.#offset += frame.length);
    }
    this.#checkSynced(frame);
    const open = this.#open;
    const isMark = isLaneMark(frame);
    if (open.tick !== 0 && (isMark || frame.tick !== open.tick)) {
      const message = `tick ${open.tick} has no commit row`;
      if (!open.isBroken) this.#misfit("commit", frame.at, message, open.tick);
      open.isBroken = this.#lost = true;
      return this.#close(undefined);
    }
    this.#offset += frame.length;
    if (isMark) {
      this.frames++;
      this.#goesOn = true;
      this.#position = this.#header!.position + this.#offset;
      return this.#endSegment();
    }
    if (frame.tick <= this.#lastTick && open.tick === 0) return this.#again(frame);
    if (open.frames.some(({ index, check }) => index === frame.index && check === frame.check)) {
      const message = `frame ${frame.index} of tick ${frame.tick} stands there twice`;
      return this.#misfit("frame-twice", frame.at, message, frame.tick);
    }
    open.tick = frame.tick;
    if (frame.index !== open.frames.length && !open.isBroken && !this.#lost && !open.isMixed) {
      const due = open.frames.length;
      const message = `frame ${frame.index} of tick ${frame.tick} stands where frame ${due} is due`;
      this.#misfit("frame-order", frame.at, message, frame.tick);
      open.isMixed = true;
    }
    if (frame.rowKind === ROW_KIND.commit) return this.#close(frame);
    return void open.frames.push(frame);
  }

  /** A frame of a tick that was committed before. */
  #again(frame: FrameHeader): undefined {
    const { tick } = frame;
    if (frame.index === 0) {
      const message = `tick ${tick} comes again after tick ${this.#lastTick}`;
      this.#misfit("tick-twice", frame.at, message, tick);
    } else if (tick !== this.#repeatedTick) {
      const message = `a frame of tick ${tick} comes after the end of tick ${this.#lastTick}`;
      this.#misfit("frame-order", frame.at, message, tick);
    }
    // One fault a tick: its other frames follow.
    this.#repeatedTick = tick;
  }

  /** Ends the open tick, with its commit frame if there is one. */
  #close(commitFrame: FrameHeader | undefined): WalkedTick | undefined {
    const open = this.#open;
    this.#open = newTick();
    open.frames.sort((a, b) => a.index - b.index);
    const isComplete = commitFrame !== undefined && !open.isBroken &&
      commitFrame.index === open.frames.length &&
      open.frames.every(({ index }, at) => index === at);
    if (!isComplete) this.#lost = true;
    let commit: WalkedTick["commit"];
    if (commitFrame !== undefined) {
      const row = readCommit(this.#segment!, commitFrame);
      const message = row === undefined
        ? "it cannot be read"
        : isComplete
        ? commitFault(row, open.frames)
        : undefined;
      if (message !== undefined) {
        const text = `the commit row of tick ${open.tick} does not fit: ${message}`;
        this.#misfit("commit", commitFrame.at, text, open.tick);
      }
      if (row !== undefined) commit = { ...row, frame: commitFrame };
      this.#position = this.#header!.position + this.#offset;
    }
    this.frames += open.frames.length + (commitFrame === undefined ? 0 : 1);
    this.#lastTick = Math.max(this.#lastTick, open.tick);
    const isLossy = this.#lost;
    this.#lost = false;
    const { tick, frames, rowsLost } = open;
    const [segment, path] = [this.#segment ?? this.#buffer.last, this.#path];
    const { position } = this.#header!;
    return {
      lane: this.lane,
      tick,
      frames,
      rowsLost,
      commit,
      isLossy,
      segment,
      path,
      position,
    };
  }

  #misplaced(frame: FrameHeader): string | undefined {
    const header = this.#header!;
    if (frame.lane !== this.lane) {
      return `a frame of lane ${frame.lane} stands in lane ${this.lane}`;
    }
    if (frame.incarnation !== header.incarnation) {
      return `a frame of incarnation ${frame.incarnation} stands in a segment of ${header.incarnation}`;
    }
    return undefined;
  }

  /** No frame can know more of the lane to be synced than there was when it was made. */
  #checkSynced({ at, tick, syncedPosition }: FrameHeader): void {
    const position = this.#header!.position + at;
    if (syncedPosition <= position || this.#isShifted) return;
    const message = `a frame at position ${position} knows the lane synced up to ${syncedPosition}`;
    this.#misfit("frame-place", at, message, tick);
  }

  /** What stands where a frame is due is none: the end, a torn tail, or damage. */
  #noFrame(reason: string): undefined {
    const segment = this.#segment!, offset = this.#offset;
    if (isZero(segment.bytes.subarray(offset, segment.length))) return this.#endSegment();
    const isCut = endsInHeader(segment, offset);
    const message = isCut ? "the file ends in a frame's header" : reason;
    const tick = this.#open.tick || undefined;
    if (!this.#fault(isCut ? "frame-cut" : "frame-header", offset, message, tick)) return;
    this.#lost = true;
    if (this.#open.tick !== 0) this.#open.isBroken = true;
    const next = wholeHeaders(segment, offset + 8, this.#path).next().value;
    if (next === undefined) return this.#endSegment();
    this.#offset = next.at;
  }

  #endSegment(): undefined {
    if (this.#open.tick !== 0 && !this.#open.isBroken) {
      const { tick } = this.#open;
      const message = `tick ${tick} is not whole: the segment ends`;
      if (!this.#fault("commit", this.#offset, message, tick)) return;
      this.#open.isBroken = this.#lost = true;
    }
    this.#segment = undefined;
  }

  /** Opens the next segment; `false` at the end of the lane. */
  #openNext(): boolean {
    const number = this.#numbers[this.#next++];
    if (number === undefined) return this.#end();
    if (this.#known.mayBeCut === true && this.#isCutHere()) return this.#endAtCut(number);
    const path = segmentPath(this.lane, number), due = this.#due;
    const segment = this.#buffer.load(this.#storage, path);
    this.bytes += segment.length;
    const header = readSegmentHeader(segment, path);
    const isMissing = number !== due && !(isHeader(header) && header.position === 0);
    if (isMissing) {
      if (this.#isCutHere()) return false;
      this.#lost = this.#isShifted = true;
      this.#damage("segment-missing", segmentPath(this.lane, due), 0, "the segment is missing");
    }
    // A segment is prepared before it is written.
    const isLast = this.#next >= this.#numbers.length;
    if (header === "unused" && isLast && isZero(segment.bytes.subarray(0, segment.length))) {
      this.#goesOn = false;
      this.#due = number + 1;
      return this.#end();
    }
    const fault = header === "unused"
      ? "it holds nothing"
      : "fault" in header
      ? header.fault
      : header.lane !== this.lane || header.number !== number
      ? `it is segment ${header.number} of lane ${header.lane}`
      : undefined;
    this.#goesOn = false;
    this.#due = number + 1;
    if (isHeader(header) && fault === undefined) return this.#follow(segment, header, path);
    this.#lost = this.#isShifted = true;
    if (!isHeader(header)) {
      return this.#faultAt("segment-header", path, 0, this.#position, fault ?? "it is unreadable");
    }
    this.#damage("segment-header", path, 0, `it does not belong here: ${fault}`);
    return true;
  }

  /** Ends the lane: is all there that is known of? */
  #end(): false {
    const known = this.#known;
    if ((this.#goesOn && !this.#isCutHere()) || known.segment >= this.#due) {
      const path = segmentPath(this.lane, this.#due);
      this.#damage("segment-missing", path, 0, "the segment is missing");
    } else if (known.position > this.#position && !this.#lost) {
      const message =
        `the lane was written up to position ${known.position} and ends at ${this.#position}`;
      const path = this.#path || segmentPath(this.lane, 1);
      this.#faultAt("frame-header", path, this.#offset, this.#position, message);
    }
    return false;
  }

  /** Goes on in a segment whose header is whole. */
  #follow(segment: SegmentBytes, header: SegmentHeader, path: string): boolean {
    // The mark at the end of a segment says nothing that the next one does not: it may be lost.
    const follows = header.position === this.#position ||
      header.position === this.#position + FRAME_HEADER_BYTES;
    if (!follows && !this.#isShifted) {
      const message =
        `it starts at position ${header.position}, the lane ends at ${this.#position}`;
      this.#lost = true;
      if (!this.#faultAt("segment-header", path, 0, this.#position, message)) return false;
    }
    if (header.incarnation < this.incarnation) {
      const message = `incarnation ${header.incarnation} follows ${this.incarnation}`;
      this.#damage("segment-header", path, 0, message);
    }
    this.incarnation = Math.max(this.incarnation, header.incarnation);
    this.#isShifted = false;
    this.#segment = segment;
    this.#header = header;
    this.#path = path;
    this.#offset = header.number === this.#begin?.segment
      ? this.#begin.offset
      : SEGMENT_HEADER_BYTES;
    this.#position = header.position + this.#offset;
    return true;
  }

  /** Ends the lane where recovery was about to cut it and was cut off itself. */
  #endAtCut(number: number): false {
    const file = segmentPath(this.lane, number);
    const message = "recovery had not yet removed the segment";
    this.#report({ kind: "torn", fault: "segment-header", file, offset: 0, message });
    this.isTorn = true;
    return false;
  }

  /** Whether recovery was about to cut the lane here, and may have removed any of what follows. */
  #isCutHere(): boolean {
    const { segment, position } = this.#known;
    return segment === this.#header?.number && position === this.#position;
  }

  /** Whether the segment after this one was there and is not: a crash takes none away. */
  #isNextMissing(): boolean {
    const number = this.#header?.number ?? 0;
    const last = Math.max(this.#numbers.at(-1) ?? 0, this.#known.segment);
    return last > number && !this.#numbers.includes(number + 1) && !this.#isCutHere();
  }

  /** Reports a frame that is whole and cannot stand where it does: no crash leaves such a one. */
  #misfit(name: LogFaultName, offset: number, message: string, tick: number): undefined {
    this.#isShifted = true;
    this.#damage(name, this.#path, offset, message, tick);
  }

  /** Reports a fault of bytes in the open segment; `false` where it is a torn tail and all ends. */
  #fault(name: LogFaultName, offset: number, message: string, tick?: number): boolean {
    const position = this.#header!.position + offset;
    return this.#faultAt(name, this.#path, offset, position, message, tick);
  }

  #faultAt(
    name: LogFaultName,
    file: string,
    offset: number,
    position: number,
    message: string,
    tick?: number,
  ): boolean {
    if (this.#isNextMissing() || this.#provenPosition() > position) {
      this.#isShifted = true;
      this.#damage(name, file, offset, message, tick);
      return true;
    }
    this.#report({ kind: "torn", fault: name, file, offset, tick, message });
    this.isTorn = true;
    return false;
  }

  #damage(name: LogFaultName, file: string, offset: number, message: string, tick?: number): void {
    this.#report({ kind: "damage", fault: name, file, offset, tick, message });
  }

  /** Position up to which something in the directory shows the lane to have been synced. */
  #provenPosition(): number {
    if (this.#proven !== undefined) return this.#proven;
    const { position, segment: began } = this.#known;
    const isLost = began >= (this.#begin?.segment ?? 1) && !this.#numbers.includes(began);
    let proven = isLost ? Infinity : position;
    let incarnation = -1;
    const buffer = new SegmentBuffer();
    for (const number of this.#numbers) {
      const path = segmentPath(this.lane, number);
      const segment = buffer.load(this.#storage, path);
      const header = readSegmentHeader(segment, path);
      if (typeof header === "object" && !("fault" in header)) {
        // A later writer begins where recovery cut, so all before its first byte was kept.
        if (incarnation >= 0 && header.incarnation > incarnation) {
          proven = Math.max(proven, header.position);
        }
        incarnation = header.incarnation;
      } else {
        // The next one may not be its writer's first.
        incarnation = -1;
      }
      for (const frame of wholeHeaders(segment, SEGMENT_HEADER_BYTES, path)) {
        if (frame.lane === this.lane) proven = Math.max(proven, frame.syncedPosition);
      }
    }
    return this.#proven = proven;
  }
}

interface OpenTick {
  tick: number;
  readonly frames: FrameHeader[];
  rowsLost: number;
  /** Frames of it are lost. */
  isBroken: boolean;
  /** A fault of order was told already. */
  isMixed: boolean;
}

function newTick(): OpenTick {
  return { tick: 0, frames: [], rowsLost: 0, isBroken: false, isMixed: false };
}

function commitFault(commit: CommitRow, frames: readonly FrameHeader[]): string | undefined {
  if (commit.frames !== frames.length) {
    return `it counts ${commit.frames} of ${frames.length} frames`;
  }
  const digest = frames.reduce((sum, { check }) => digestOf(sum, check), 0);
  if (commit.digest !== digest) return "its digest is another";
  const rows = frames.reduce((sum, frame) => sum + frame.rows, 0);
  return commit.rows === rows ? undefined : `it counts ${commit.rows} of ${rows} rows`;
}

function endsInHeader({ view, length }: SegmentBytes, at: number): boolean {
  if (at + 4 > length || view.getUint32(at, true) !== FRAME_MAGIC) return false;
  return at + FRAME_HEADER_BYTES > length || at + view.getUint16(at + 10, true) > length;
}
