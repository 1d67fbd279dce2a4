/**
 * Tail: reads a log on from a place between two ticks, also while it is being written, and only the
 * bytes that are new.
 *
 * Where no whole tick stands yet it gives nothing and can be asked again; what it read there is read
 * anew, because a writer may have been in the middle of it. It goes on over the end of a segment, and
 * over writers that were killed and started again: the next one begins just where recovery cut the
 * lane. Unlike {@linkcode LogReader} it never cuts and looks for no evidence: bytes that no tick can
 * stand on are a fault only once the lane is known to go on behind them, and then it says where.
 *
 * Cost: asked in vain, it opens one file and reads 4 KiB; each further piece is twice as long, up to
 * 4 MiB. The buffer has room for a segment, of which only what is read takes memory.
 *
 * @module
 */

import { alignUp } from "../base/mod.ts";
import { isHeader, segmentHeaderOf, segmentNumbers } from "./_segment_files.ts";
import { FRAME_HEADER_BYTES, ROW_KIND, SEGMENT_HEADER_BYTES, segmentPath } from "./format.ts";
import {
  bodyFault,
  type FrameHeader,
  isLaneMark,
  readCommit,
  readFrameHeader,
  type SegmentBytes,
  segmentBytes,
  type SegmentHeader,
} from "./frame_reader.ts";
import { digestOf } from "./frame_writer.ts";
import type { LaneTick } from "./lane_reader.ts";
import type { LanePlace } from "./meta.ts";
import type { Storage } from "./storage.ts";

/** Why a lane cannot be read on, though it goes on. */
export interface TailFault {
  /** File, relative to the directory. */
  readonly path: string;
  /** First bad byte. */
  readonly offset: number;
  /** What was found, in words. */
  readonly reason: string;
}

/** How far to read. */
export interface TailLimit {
  /** Last tick wanted. Default: all there are. */
  readonly tickMax?: number;
  /** Position of the lane behind which no tick may end. Default: wherever the bytes end. */
  readonly positionMax?: number;
}

const PIECE_BYTES_MIN = 4096;
const PIECE_BYTES_MAX = 4 * 1024 * 1024;

/** What one attempt to read a tick found. */
type Found = LaneTick | "mark" | "limit" | TailFault;

/** Reads one lane on. */
export class LaneTail {
  /** Lane. */
  readonly lane: number;
  readonly #storage: Storage;
  #number: number;
  #offset: number;
  #position: number;
  #tick: number;
  #header: SegmentHeader | undefined;
  #buffer = new ArrayBuffer(0);
  #segment: SegmentBytes = segmentBytes(this.#buffer, 0);
  /** Bytes of the segment that were read and may be believed to be there. */
  #filled = 0;
  #piece = PIECE_BYTES_MIN;
  #isMarked = false;
  #fault: TailFault | undefined;
  #seen: TailFault | undefined;

  /**
   * Stands at a place; nothing is read yet.
   *
   * @param storage The directory.
   * @param lane Lane.
   * @param place Where to begin, and the last tick before; nothing for the lane's beginning.
   */
  constructor(storage: Storage, lane: number, place?: LanePlace & { readonly tick: number }) {
    this.#storage = storage;
    this.lane = lane;
    this.#number = place?.segment ?? 1;
    this.#offset = place?.offset ?? SEGMENT_HEADER_BYTES;
    this.#position = place?.position ?? SEGMENT_HEADER_BYTES;
    this.#tick = place?.tick ?? 0;
  }

  /** Where the last tick that was given ends. */
  get place(): LanePlace {
    const { lane } = this;
    return { lane, segment: this.#number, offset: this.#offset, position: this.#position };
  }

  /** Why it cannot go on, though the lane does; it never will. */
  get fault(): TailFault | undefined {
    return this.#fault;
  }

  /** What stood behind the last tick when it was looked at: perhaps nothing yet. */
  get seen(): TailFault | undefined {
    return this.#fault ?? this.#seen;
  }

  /** The last tick given, or the last before the place where it began. */
  get tick(): number {
    return this.#tick;
  }

  /** Incarnation of the writer of the segment at hand; 0 before the first. */
  get incarnation(): number {
    return this.#header?.incarnation ?? 0;
  }

  /**
   * The next whole tick, if there is one yet; its bytes are good until the next call.
   *
   * @throws {MmsbError} `version` for a newer format, `io` where a file cannot be read.
   */
  next(limit: TailLimit = {}): LaneTick | undefined {
    if (this.#fault !== undefined) return undefined;
    if (this.#header === undefined && !this.#open()) return undefined;
    for (;;) {
      const isRead = this.#filled > this.#offset;
      let found: Found = this.#isMarked ? "mark" : this.#find(limit);
      if (typeof found === "object" && "reason" in found) {
        this.#seen = found;
        this.#forget();
        // What was read in an earlier call may have been written since.
        if (isRead) continue;
        const next = this.#nextHeader();
        if (next === undefined) return this.#checkMissing(found);
        // The writer may have gone on between the two looks, so look again before it is a fault.
        found = this.#find(limit);
        if (typeof found === "object" && "reason" in found) {
          if (!this.#follow(next)) return this.#give(this.#behind(next) ?? found);
          continue;
        }
      }
      if (found === "limit") return undefined;
      if (found !== "mark") return found;
      this.#isMarked = true;
      const next = this.#nextHeader();
      if (next === undefined) {
        return this.#checkMissing({
          path: segmentPath(this.lane, this.#number + 1),
          offset: 0,
          reason: "the segment is missing",
        });
      }
      if (!this.#follow(next)) {
        return this.#give(
          this.#behind(next) ?? {
            path: segmentPath(this.lane, this.#number + 1),
            offset: 0,
            reason: `it starts at position ${next.position}, the lane ends at ${this.#position}`,
          },
        );
      }
    }
  }

  /** Gives the memory back that was needed to read; the bytes of ticks that were given stay good. */
  release(): void {
    this.#filled = 0;
    this.#buffer = new ArrayBuffer(0);
    this.#segment = segmentBytes(this.#buffer, 0);
    this.#piece = PIECE_BYTES_MIN;
  }

  /** Tries to read a tick, or a mark, at the place. */
  #find(limit: TailLimit): Found {
    const { tickMax = Infinity, positionMax = Infinity } = limit;
    const frames: FrameHeader[] = [];
    const path = segmentPath(this.lane, this.#number);
    let digest = 0, at = this.#offset;
    for (;;) {
      const frame = this.#frame(at, path);
      if ("fault" in frame) return { path, offset: at, reason: frame.fault };
      if (!isLaneMark(frame) && frame.tick > tickMax) return "limit";
      const end = this.#header!.position + at + frame.length;
      if (end > positionMax) return "limit";
      const reason = this.#misplaced(frame, frames);
      if (reason !== undefined) return { path, offset: at, reason };
      at += frame.length;
      if (isLaneMark(frame)) {
        this.#moveTo(at);
        return "mark";
      }
      if (frame.rowKind !== ROW_KIND.commit) {
        frames.push(frame);
        digest = digestOf(digest, frame.check);
        continue;
      }
      const commit = readCommit(this.#segment, frame);
      if (commit === undefined || commit.frames !== frames.length || commit.digest !== digest) {
        const reason = `the commit row of tick ${frame.tick} does not fit its frames`;
        return { path, offset: frame.at, reason };
      }
      this.#moveTo(at);
      this.#tick = frame.tick;
      const { lane } = this, { number, position } = this.#header!;
      const { tick, span } = frame, segment = this.#segment;
      return {
        lane,
        tick,
        frames,
        commit,
        commitFrame: frame,
        segment,
        path,
        position,
        number,
        span,
      };
    }
  }

  #moveTo(offset: number): void {
    this.#offset = offset;
    this.#position = this.#header!.position + offset;
  }

  #misplaced(frame: FrameHeader, frames: readonly FrameHeader[]): string | undefined {
    const { incarnation } = this.#header!;
    if (frame.lane !== this.lane) {
      return `a frame of lane ${frame.lane} stands in lane ${this.lane}`;
    }
    if (frame.incarnation !== incarnation) {
      return `a frame of incarnation ${frame.incarnation} stands in a segment of ${incarnation}`;
    }
    if (isLaneMark(frame)) {
      return frames.length === 0 ? undefined : `tick ${frames[0].tick} has no commit row`;
    }
    if (frame.index !== frames.length || frames.length > 0 && frame.tick !== frames[0].tick) {
      return `frame ${frame.index} of tick ${frame.tick} stands where ${frames.length} is due`;
    }
    if (frame.tick <= this.#tick) return `tick ${frame.tick} comes after tick ${this.#tick}`;
    return undefined;
  }

  #frame(at: number, path: string): FrameHeader | { fault: string } {
    this.#fill(at + FRAME_HEADER_BYTES);
    let frame = readFrameHeader(this.#segment, at, path);
    if ("fault" in frame && this.#fill(at + 2 * FRAME_HEADER_BYTES + 256)) {
      frame = readFrameHeader(this.#segment, at, path);
    }
    if ("fault" in frame) return frame;
    this.#fill(at + frame.length);
    const fault = bodyFault(this.#segment, frame);
    return fault === undefined ? frame : { fault };
  }

  /** Reads up to a byte of the segment at least, if there is so much; whether anything was read. */
  #fill(to: number): boolean {
    if (to <= this.#filled) return false;
    const from = Math.max(this.#filled, this.#offset);
    const file = this.#storage.open(segmentPath(this.lane, this.#number), "read");
    let read = 0;
    try {
      const end = Math.min(file.size(), Math.max(to, from + this.#piece));
      if (end <= from) return false;
      this.#reserve(end, file.size());
      read = file.read(new Uint8Array(this.#buffer, from, end - from), from);
    } finally {
      file.close();
    }
    this.#piece = Math.min(PIECE_BYTES_MAX, 2 * this.#piece);
    this.#filled = from + read;
    this.#segment = { ...this.#segment, length: this.#filled };
    return read > 0;
  }

  #reserve(bytes: number, size: number): void {
    if (bytes <= this.#buffer.byteLength) return;
    const buffer = new ArrayBuffer(alignUp(Math.max(bytes, size), 4096));
    const [from, to] = [Math.min(this.#offset, this.#filled), this.#filled];
    new Uint8Array(buffer).set(new Uint8Array(this.#buffer, from, to - from), from);
    this.#buffer = buffer;
    this.#segment = segmentBytes(buffer, this.#filled);
  }

  /** What was read behind the last tick may have been half written. */
  #forget(): void {
    this.#filled = Math.min(this.#filled, this.#offset);
    this.#segment = { ...this.#segment, length: this.#filled };
    this.#piece = PIECE_BYTES_MIN;
  }

  /** Opens the segment of the place. */
  #open(): boolean {
    const path = segmentPath(this.lane, this.#number);
    const header = this.#headerOf(this.#number);
    if (header === undefined) {
      this.#checkMissing({ path, offset: 0, reason: "the segment is missing, or has no header" });
      return false;
    }
    if (header.position !== this.#position - this.#offset) {
      const due = this.#position - this.#offset;
      this.#give({
        path,
        offset: 0,
        reason: `it starts at position ${header.position}, not ${due}`,
      });
      return false;
    }
    this.#header = header;
    return true;
  }

  /** Goes into the next segment, if the lane goes on there. */
  #follow(next: SegmentHeader): boolean {
    // A mark is as long as a frame's header; it may be lost, as the next segment says the same.
    const isNext = next.position === this.#position ||
      next.position === this.#position + FRAME_HEADER_BYTES;
    if (!isNext) return false;
    this.#header = next;
    this.#number = next.number;
    this.#filled = 0;
    this.#isMarked = false;
    this.#piece = PIECE_BYTES_MIN;
    this.#segment = { ...this.#segment, length: 0 };
    this.#moveTo(SEGMENT_HEADER_BYTES);
    return true;
  }

  #nextHeader(): SegmentHeader | undefined {
    return this.#headerOf(this.#number + 1);
  }

  /** Header of a segment that is there and was begun. */
  #headerOf(number: number): SegmentHeader | undefined {
    const path = segmentPath(this.lane, number);
    if (!this.#storage.exists(path)) return undefined;
    const header = segmentHeaderOf(this.#storage, path);
    if (!isHeader(header)) return undefined;
    return header.lane === this.lane && header.number === number ? header : undefined;
  }

  /** A segment may be absent for a moment; that a later one is there shows that it is lost. */
  #checkMissing(fault: TailFault): undefined {
    this.#seen = fault;
    const goesOn = segmentNumbers(this.#storage, this.lane)
      .some((number) => number > this.#number + 1 && this.#headerOf(number) !== undefined);
    if (!goesOn) return undefined;
    const next = this.#number + 1;
    // It may have come meanwhile.
    if (this.#headerOf(next) !== undefined) return undefined;
    const isHere = this.#header !== undefined && !this.#isMarked && fault.offset > 0 &&
      fault.reason !== "there is no frame" && fault.reason !== "the file ends";
    if (isHere || this.#header === undefined) return this.#give(fault);
    const path = segmentPath(this.lane, next);
    const what = this.#storage.exists(path)
      ? "its header is not readable"
      : "the segment is missing";
    return this.#give({ path, offset: 0, reason: what });
  }

  /** A writer that began before this place took back what was given. */
  #behind(next: SegmentHeader): TailFault | undefined {
    if (next.position >= this.#position) return undefined;
    const reason = `ticks up to ${this.#tick} were taken back: it starts at position ` +
      `${next.position}, before ${this.#position}`;
    return { path: segmentPath(this.lane, next.number), offset: 0, reason };
  }

  #give(fault: TailFault): undefined {
    this.#fault = fault;
    return undefined;
  }
}
