/**
 * Evidence: what the rest of a lane shows of bytes that are bad: lost before they were synced, or after.
 *
 * The bytes before cannot tell. What comes after can: a frame that knew more of the lane to be
 * synced, a segment of a later writer, who began where the lane was cut and so kept all before. And
 * what stands where no crash can put it shows that the storage is at fault.
 *
 * Cost: the later segments are read whole and looked through word by word, 1 ns a byte; only after a
 * crash, or where something is wrong.
 */

import { alignUp } from "../base/mod.ts";
import { FRAME_HEADER_BYTES, FRAME_MAGIC, SEGMENT_HEADER_BYTES, segmentPath } from "./format.ts";
import {
  type FrameHeader,
  readFrameHeader,
  readSegmentHeader,
  type SegmentBytes,
  type SegmentHeader,
} from "./frame_reader.ts";

/** How a lane ends: nothing follows, an unsynced tail follows, or synced bytes are lost. */
export type LaneState = "whole" | "torn" | "damaged";

/** Incarnation of bytes whose segment's header cannot be read: below all others. */
export const UNKNOWN = -1;

/** What is said of a segment that is whole and not the one that is due. */
export const FOREIGN = "it belongs elsewhere";

/** Looks through the segments of one lane. */
export class LaneEvidence {
  readonly #lane: number;
  readonly #numbers: readonly number[];
  readonly #load: (path: string) => SegmentBytes;

  /** `load` reads a segment; its bytes need be good until the next call only. */
  constructor(lane: number, numbers: readonly number[], load: (path: string) => SegmentBytes) {
    this.#lane = lane;
    this.#numbers = numbers;
    this.#load = load;
  }

  /** Whether a segment's header says that it is another one. */
  isForeign(header: SegmentHeader, number: number): boolean {
    return header.lane !== this.#lane || header.number !== number;
  }

  /** What the segments after `number` show of bytes of an incarnation that are bad at `position`. */
  inLater(number: number, position: number, incarnation: number): LaneState {
    let state: LaneState = "whole";
    // The incarnation of the segment before, where that is known: only a writer's first segment tells where it began.
    let before: number | undefined = incarnation;
    for (const later of this.#numbers) {
      if (later <= number) continue;
      const path = segmentPath(this.#lane, later);
      const segment = this.#load(path);
      if (this.inSegment(segment, SEGMENT_HEADER_BYTES, position, incarnation)) return "damaged";
      const found = readSegmentHeader(segment, path), last = before;
      before = undefined;
      if (found === "unused") continue;
      state = "torn";
      if ("fault" in found) continue;
      before = found.incarnation;
      const begunPast = incarnation !== UNKNOWN && last !== undefined &&
        found.incarnation > last && found.position > position;
      if (begunPast || this.isForeign(found, later)) return "damaged";
    }
    return state;
  }

  /** Whether a frame behind `from` knew more than `position` of the lane to be synced. */
  inSegment(segment: SegmentBytes, from: number, position: number, incarnation: number): boolean {
    const words = new Int32Array(segment.buffer, 0, segment.length >>> 2);
    for (let at = alignUp(from, 8); at + FRAME_HEADER_BYTES <= segment.length; at += 8) {
      if (words[at >>> 2] !== FRAME_MAGIC) continue;
      let frame: FrameHeader | { fault: string };
      try {
        frame = readFrameHeader(segment, at, "");
      } catch {
        // A newer format, and so a later writer.
        return true;
      }
      if ("fault" in frame) continue;
      const isOurs = frame.lane === this.#lane && frame.incarnation >= incarnation;
      if (isOurs && frame.syncedPosition > position) return true;
      // What stands in the frame is data, even where it looks like a frame.
      at += frame.length - 8;
    }
    return false;
  }
}

/** The worse of two ends. */
export function worse(a: LaneState, b: LaneState): LaneState {
  if (a === "damaged" || b === "damaged") return "damaged";
  return a === "torn" || b === "torn" ? "torn" : "whole";
}

/** Whether all bytes are zero, as a prepared segment's are. */
export function isZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}
