/**
 * Frame cache: frames of the past by their places, checked once and kept as long as there is room.
 *
 * Single rows are wanted of frames that lie all over the log. Frames that lie close together are read
 * in one piece; each one's checksums are checked when it is first used, so that what an index says is
 * never believed of bytes that are damaged. What was read first goes first when the room is used up.
 *
 * Cost: a look-up in a map; a miss a few system calls, and the checksum of what is read.
 *
 * @module
 */

import { FRAME_CACHE_BYTES_MAX, MmsbError } from "../base/mod.ts";
import { segmentPath } from "./format.ts";
import { bodyFault, readFrameHeader, segmentBytes } from "./frame_reader.ts";
import { FrameRows } from "./frame_rows.ts";
import { readPiece, type SegmentColumns, type SegmentSummary } from "./segment_index.ts";
import type { Storage, StorageFile } from "./storage.ts";

/** Frames with less than this between them are read in one piece. */
const GAP_BYTES_MAX = 16 * 1024;
/** Most bytes of such a piece, if it is more than one frame. */
const PIECE_BYTES_MAX = 4 * 1024 * 1024;

/** A segment with its frames. */
export interface IndexedFrames {
  /** The segment. */
  readonly summary: SegmentSummary;
  /** Its ticks and frames. */
  readonly columns: SegmentColumns;
}

interface Piece {
  readonly path: string;
  readonly ats: readonly number[];
  readonly bytes: number;
}

/** Keeps frames of one log. */
export class FrameCache {
  readonly #storage: Storage;
  readonly #bytesMax: number;
  readonly #segments = new Map<string, Map<number, FrameRows>>();
  readonly #pieces = new Set<Piece>();
  #bytes = 0;

  /** Begins empty; `bytesMax` is the room. */
  constructor(storage: Storage, bytesMax: number = FRAME_CACHE_BYTES_MAX) {
    this.#storage = storage;
    this.#bytesMax = bytesMax;
  }

  /** Bytes kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Gives frames of one segment, in the order asked for. The caller holds them all at once, so it
   * asks for some at a time.
   *
   * @param segment The segment.
   * @param frames Indices of the frames wanted, rising.
   * @throws {MmsbError} `corrupt-log` where one is damaged, with path, offset and tick.
   */
  load(segment: IndexedFrames, frames: readonly number[]): FrameRows[] {
    const { frameAts } = segment.columns;
    const known = this.#knownOf(segment);
    const missing = frames.filter((frame) => !known.has(frameAts[frame]));
    if (missing.length > 0) this.#readAll(segment, missing, known);
    const found = frames.map((frame) => known.get(frameAts[frame])!);
    // Only now, so that nothing is dropped that is given.
    this.#makeRoom();
    return found;
  }

  #knownOf(segment: IndexedFrames): Map<number, FrameRows> {
    const path = pathOf(segment);
    let known = this.#segments.get(path);
    if (known === undefined) this.#segments.set(path, known = new Map());
    return known;
  }

  /** Reads frames in as few pieces as are good. */
  #readAll(
    segment: IndexedFrames,
    frames: readonly number[],
    known: Map<number, FrameRows>,
  ): void {
    const { frameAts, frameLengths } = segment.columns;
    const file = this.#storage.open(pathOf(segment), "read");
    try {
      let begin = 0;
      for (let at = 1; at <= frames.length; at++) {
        if (at < frames.length) {
          const frame = frames[at], last = frames[at - 1];
          const gap = frameAts[frame] - frameAts[last] - frameLengths[last];
          const length = frameAts[frame] + frameLengths[frame] - frameAts[frames[begin]];
          if (gap <= GAP_BYTES_MAX && length <= PIECE_BYTES_MAX) continue;
        }
        this.#read(file, segment, frames.slice(begin, at), known);
        begin = at;
      }
    } finally {
      file.close();
    }
  }

  #read(
    file: StorageFile,
    segment: IndexedFrames,
    frames: readonly number[],
    known: Map<number, FrameRows>,
  ): void {
    const { frameAts, frameLengths, frameTicks, ticks } = segment.columns;
    const path = pathOf(segment);
    const first = frameAts[frames[0]], last = frames[frames.length - 1];
    const length = frameAts[last] + frameLengths[last] - first;
    const bytes = readPiece(file, first, length);
    const piece = segmentBytes(bytes.buffer, bytes.length);
    const ats: number[] = [];
    for (const frame of frames) {
      const at = frameAts[frame], tick = ticks[frameTicks[frame]];
      const header = readFrameHeader(piece, at - first, path);
      const fault = "fault" in header ? header.fault : bodyFault(piece, header) ??
        (header.tick === tick ? undefined : `it is a frame of tick ${header.tick}`);
      if (fault !== undefined || "fault" in header) throw damaged(path, at, tick, fault!);
      known.set(at, new FrameRows(piece, header));
      ats.push(at);
    }
    const size = bytes.buffer.byteLength;
    this.#pieces.add({ path, ats, bytes: size });
    this.#bytes += size;
  }

  #makeRoom(): void {
    for (const piece of this.#pieces) {
      if (this.#bytes <= this.#bytesMax) return;
      this.#pieces.delete(piece);
      this.#bytes -= piece.bytes;
      const known = this.#segments.get(piece.path);
      for (const at of piece.ats) known?.delete(at);
    }
  }
}

function pathOf({ summary: { lane, number } }: IndexedFrames): string {
  return segmentPath(lane, number);
}

function damaged(path: string, offset: number, tick: number, reason: string): MmsbError {
  return new MmsbError(
    "corrupt-log",
    `Cannot read tick ${tick} from "${path}", byte ${offset}: ${reason}; restore the file from a copy`,
    { values: { path, offset, tick, reason } },
  );
}
