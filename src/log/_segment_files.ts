/**
 * Segment files: which a lane has, their headers by themselves, and reading one after the other whole
 * into one buffer.
 */

import { alignUp } from "../base/mod.ts";
import { FRAME_HEADER_BYTES, FRAME_MAGIC, laneFolder, SEGMENT_HEADER_BYTES } from "./format.ts";
import {
  type FrameHeader,
  readFrameHeader,
  readSegmentHeader,
  type SegmentBytes,
  segmentBytes,
  type SegmentHeader,
} from "./frame_reader.ts";
import type { Storage } from "./storage.ts";

/** Numbers of the segments that are there, rising. */
export function segmentNumbers(storage: Storage, lane: number): number[] {
  return storage.list(laneFolder(lane))
    .flatMap((name) => /^(\d{10})\.log$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/** Header of a segment that is there, as {@linkcode readSegmentHeader} gives it. */
export function segmentHeaderOf(
  storage: Storage,
  path: string,
): SegmentHeader | "unused" | { fault: string } {
  const bytes = new ArrayBuffer(SEGMENT_HEADER_BYTES), file = storage.open(path, "read");
  try {
    const read = file.read(new Uint8Array(bytes), 0);
    return readSegmentHeader(segmentBytes(bytes, read), path);
  } finally {
    file.close();
  }
}

/** Whether a header is one. */
export function isHeader(
  header: SegmentHeader | "unused" | { fault: string },
): header is SegmentHeader {
  return header !== "unused" && !("fault" in header);
}

/** Headers of frames that are whole, from a place on; what stands in such a frame is data. */
export function* wholeHeaders(
  segment: SegmentBytes,
  offset: number,
  path: string,
): Generator<FrameHeader, undefined> {
  const words = new Int32Array(segment.buffer, 0, segment.length >>> 2);
  for (let at = alignUp(offset, 8); at + FRAME_HEADER_BYTES <= segment.length; at += 8) {
    if (words[at >>> 2] !== FRAME_MAGIC) continue;
    const frame = readFrameHeader(segment, at, path);
    if ("fault" in frame) continue;
    yield frame;
    at += frame.length - 8;
  }
}

/** A buffer that one segment after the other is read into. */
export class SegmentBuffer {
  /** What was read last; good until the next one is. */
  last: SegmentBytes = segmentBytes(new ArrayBuffer(0), 0);

  /** Reads a segment whole. */
  load(storage: Storage, path: string): SegmentBytes {
    const file = storage.open(path, "read");
    try {
      const size = file.size();
      const { buffer } = this.last;
      const room = size > buffer.byteLength ? new ArrayBuffer(alignUp(size, 4096)) : buffer;
      const bytes = segmentBytes(room, size);
      const read = file.read(bytes.bytes.subarray(0, size), 0);
      return this.last = read === size ? bytes : segmentBytes(room, read);
    } finally {
      file.close();
    }
  }
}
