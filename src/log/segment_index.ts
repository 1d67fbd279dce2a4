/**
 * Segment index: what stands where in one segment: its ticks, its frames of rows, and for each page
 * the rows that changed it. With it history is a look at a few places and not a pass over the log.
 *
 * It is a file of its own beside the segment (`0000000001.idx`) and not the segment's end. The log's
 * proofs against crashes then stay as they are, an index costs the way of a delta nothing, and it
 * may be lost, torn or stale at any time: it is made again from its segment. So it is written without
 * a sync. To be believed it must have its checksums and name its segment's incarnation, position and
 * length, and the last frame in it by its checksum, which covers all that stands before in its tick.
 *
 * Layout, little endian: a header of 128 bytes (below), then the columns, each at a multiple of 8:
 * of ticks the number (f64), the last HLC (u64), the offset of the first frame (u32); of frames with
 * rows the offset, the length, the first row and the index of the tick (u32 each) and the row kind
 * (u8); the pages, where their rows start, and the rows (u32 each).
 *
 * | at | type | meaning |
 * | --- | --- | --- |
 * | 0 | u32 | magic "MMSI" |
 * | 4 | u32 | CRC-32 of bytes 8 … 128 |
 * | 8 | u32 | format |
 * | 12 | u32 | CRC-32 of the columns |
 * | 16 | u32 × 4 | lane, segment, incarnation, offset of the first tick |
 * | 32 | u64 | position of the segment |
 * | 40 | u32 × 3 | offset behind the last tick, offset of its commit frame, that frame's checksum |
 * | 56 | f64 × 2 | the last tick before, the last tick |
 * | 72 | u64 × 2 | smallest and largest HLC of a commit |
 * | 88 | u32 × 4 | ticks, frames, rows, pages |
 *
 * Cost: 20 bytes a tick, 17 a frame, 4 a row, 8 a page: 18 % of a log of 16-byte deltas.
 *
 * @module
 */

import { alignUp, crc32 } from "../base/mod.ts";
import { type PageRun, rowsIn } from "./_page_rows.ts";
import { FRAME_HEADER_BYTES, laneFolder } from "./format.ts";
import { getU64, readFrameHeader, readSegmentHeader, segmentBytes } from "./frame_reader.ts";
import { setU64 } from "./frame_writer.ts";
import type { Storage, StorageFile } from "./storage.ts";
import { SECTION_ENTRY_BYTES, SECTIONS_MAX, SEGMENT_HEADER_BYTES, segmentPath } from "./format.ts";

/** "MMSI". */
const MAGIC = 0x49534d4d;
const INDEX_FORMAT = 1;
const HEADER_BYTES = 128;

/** Path of a segment's index. */
export function segmentIndexPath(lane: number, number: number): string {
  return `${laneFolder(lane)}/${String(number).padStart(10, "0")}.idx`;
}

/** What an index says of its segment as a whole. */
export interface SegmentSummary {
  /** Lane. */
  readonly lane: number;
  /** Segment. */
  readonly number: number;
  /** Incarnation of its writer. */
  readonly incarnation: number;
  /** Position of its first byte. */
  readonly position: number;
  /** Offset of the first tick that is indexed. */
  readonly first: number;
  /** Offset behind the last. */
  readonly end: number;
  /** Offset of the last tick's commit frame. */
  readonly lastAt: number;
  /** Checksum of that frame's header. */
  readonly lastCheck: number;
  /** The last tick before. */
  readonly tickBefore: number;
  /** The last tick. */
  readonly tickLast: number;
  /** Smallest HLC of a commit. */
  readonly hlcFirst: bigint;
  /** Largest HLC of a commit. */
  readonly hlcLast: bigint;
}

/** Ticks and frames of a segment, in columns. */
export interface SegmentColumns {
  /** Tick numbers. */
  readonly ticks: Float64Array;
  /** HLC of each tick's commit. */
  readonly tickHlcs: BigUint64Array;
  /** Offset of each tick's first frame. */
  readonly tickAts: Uint32Array;
  /** Offsets of the frames with rows. */
  readonly frameAts: Uint32Array;
  /** Their lengths. */
  readonly frameLengths: Uint32Array;
  /** The number of each one's first row, counted through the segment. */
  readonly frameRows: Uint32Array;
  /** Index of each one's tick. */
  readonly frameTicks: Uint32Array;
  /** Row kinds of the frames. */
  readonly frameKinds: Uint8Array;
}

/** The index of a segment that is not written any more. */
export interface SegmentIndex extends SegmentColumns {
  /** The segment. */
  readonly summary: SegmentSummary;
  /** Bytes that it takes. */
  readonly bytes: number;
  /** Rows of a page, in order. */
  rowsOf(page: number): Uint32Array;
}

/** Lays an index out as the bytes of its file. */
export function encodeIndex(
  summary: SegmentSummary,
  columns: SegmentColumns,
  run: PageRun,
): Uint8Array<ArrayBuffer> {
  const parts = [
    columns.ticks,
    columns.tickHlcs,
    columns.tickAts,
    columns.frameAts,
    columns.frameLengths,
    columns.frameRows,
    columns.frameTicks,
    columns.frameKinds,
    run.pages,
    run.starts,
    run.rows,
  ];
  const size = parts.reduce((sum, { byteLength }) => sum + alignUp(byteLength, 8), HEADER_BYTES);
  const bytes = new Uint8Array(size), view = new DataView(bytes.buffer);
  let at = HEADER_BYTES;
  for (const part of parts) {
    bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += alignUp(part.byteLength, 8);
  }
  const { lane, number, incarnation, position, first, end, lastAt, lastCheck } = summary;
  const words = [MAGIC, 0, INDEX_FORMAT, crc32(bytes.subarray(HEADER_BYTES))];
  words.push(lane, number, incarnation, first);
  words.forEach((word, index) => view.setUint32(4 * index, word, true));
  setU64(view, 32, position);
  [end, lastAt, lastCheck].forEach((word, index) => view.setUint32(40 + 4 * index, word, true));
  view.setFloat64(56, summary.tickBefore, true);
  view.setFloat64(64, summary.tickLast, true);
  view.setBigUint64(72, summary.hlcFirst, true);
  view.setBigUint64(80, summary.hlcLast, true);
  [columns.ticks.length, columns.frameAts.length, run.rows.length, run.pages.length]
    .forEach((count, index) => view.setUint32(88 + 4 * index, count, true));
  view.setUint32(4, crc32(bytes.subarray(8, HEADER_BYTES)), true);
  return bytes;
}

/** Lays views over the bytes of an index; `undefined` where they are none that can be believed. */
export function decodeIndex(bytes: Uint8Array<ArrayBuffer>): SegmentIndex | undefined {
  const summary = decodeSummary(bytes);
  if (summary === undefined) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (crc32(bytes.subarray(HEADER_BYTES)) !== view.getUint32(12, true)) return undefined;
  const [ticks, frames, rows, pages] = [88, 92, 96, 100].map((at) => view.getUint32(at, true));
  const { buffer } = bytes;
  let at = bytes.byteOffset + HEADER_BYTES;
  const place = (count: number, width: number) => {
    const start = at;
    at += alignUp(count * width, 8);
    return start;
  };
  const u32 = (count: number) => new Uint32Array(buffer, place(count, 4), count);
  const total = HEADER_BYTES + 16 * ticks + alignUp(4 * ticks, 8) + 4 * alignUp(4 * frames, 8) +
    alignUp(frames, 8) + alignUp(4 * pages, 8) + alignUp(4 * pages + 4, 8) + alignUp(4 * rows, 8);
  if (total !== bytes.length) return undefined;
  const columns: SegmentColumns = {
    ticks: new Float64Array(buffer, place(ticks, 8), ticks),
    tickHlcs: new BigUint64Array(buffer, place(ticks, 8), ticks),
    tickAts: u32(ticks),
    frameAts: u32(frames),
    frameLengths: u32(frames),
    frameRows: u32(frames),
    frameTicks: u32(frames),
    frameKinds: new Uint8Array(buffer, place(frames, 1), frames),
  };
  const run: PageRun = { pages: u32(pages), starts: u32(pages + 1), rows: u32(rows) };
  return { summary, ...columns, bytes: bytes.length, rowsOf: (page) => rowsIn(run, page) };
}

/** The summary at the head of an index; `undefined` where there is none. */
export function decodeSummary(bytes: Uint8Array<ArrayBuffer>): SegmentSummary | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  if (view.getUint32(0, true) !== MAGIC || view.getUint32(8, true) !== INDEX_FORMAT) return;
  if (crc32(bytes.subarray(8, HEADER_BYTES)) !== view.getUint32(4, true)) return undefined;
  return {
    lane: view.getUint32(16, true),
    number: view.getUint32(20, true),
    incarnation: view.getUint32(24, true),
    first: view.getUint32(28, true),
    position: getU64(view, 32),
    end: view.getUint32(40, true),
    lastAt: view.getUint32(44, true),
    lastCheck: view.getUint32(48, true),
    tickBefore: view.getFloat64(56, true),
    tickLast: view.getFloat64(64, true),
    hlcFirst: view.getBigUint64(72, true),
    hlcLast: view.getBigUint64(80, true),
  };
}

/**
 * Reads the summary of a segment's index, if there is one and the segment is the one it was made of.
 */
export function findSummary(
  storage: Storage,
  lane: number,
  number: number,
): SegmentSummary | undefined {
  const path = segmentIndexPath(lane, number);
  if (!storage.exists(path)) return undefined;
  const summary = decodeSummary(readSome(storage, path, 0, HEADER_BYTES));
  if (summary === undefined || summary.lane !== lane || summary.number !== number) return undefined;
  return isOf(storage, summary) ? summary : undefined;
}

/** Reads a segment's index whole, if it can be believed. */
export function findIndex(storage: Storage, summary: SegmentSummary): SegmentIndex | undefined {
  const bytes = storage.readAll(segmentIndexPath(summary.lane, summary.number));
  if (bytes === undefined) return undefined;
  const index = decodeIndex(Uint8Array.from(bytes));
  const found = index?.summary;
  const isSame = found?.lastCheck === summary.lastCheck && found.end === summary.end &&
    found.incarnation === summary.incarnation && found.position === summary.position;
  return isSame ? index : undefined;
}

/** Whether the segment is still what it was when it was indexed. */
function isOf(storage: Storage, summary: SegmentSummary): boolean {
  const { lane, number, lastAt, end } = summary;
  const path = segmentPath(lane, number);
  if (!storage.exists(path)) return false;
  const file = storage.open(path, "read");
  try {
    if (file.size() < end) return false;
    const head = readPiece(file, 0, SEGMENT_HEADER_BYTES);
    const header = readSegmentHeader(segmentBytes(head.buffer, head.length), path);
    if (header === "unused" || "fault" in header) return false;
    if (
      header.lane !== lane || header.number !== number ||
      header.incarnation !== summary.incarnation || header.position !== summary.position
    ) return false;
    const last = readPiece(file, lastAt, FRAME_HEADER_BYTES + SECTION_ENTRY_BYTES * SECTIONS_MAX);
    const frame = readFrameHeader(segmentBytes(last.buffer, last.length), 0, path);
    return !("fault" in frame) && frame.check === summary.lastCheck &&
      frame.tick === summary.tickLast && lastAt + frame.length === end;
  } finally {
    file.close();
  }
}

/** Reads a piece of a file; shorter where the file ends. */
export function readSome(
  storage: Storage,
  path: string,
  at: number,
  length: number,
): Uint8Array<ArrayBuffer> {
  const file = storage.open(path, "read");
  try {
    return readPiece(file, at, length);
  } finally {
    file.close();
  }
}

/** Reads a piece of an open file; shorter where the file ends. */
export function readPiece(file: StorageFile, at: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(alignUp(length, 8));
  return bytes.subarray(0, file.read(bytes.subarray(0, length), at));
}
