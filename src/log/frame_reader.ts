/**
 * Frame reader: checks frames in a segment's bytes and decodes their columns.
 *
 * Nothing is trusted before its checksum fits: first the header's, which covers every length and
 * offset, then the body's. What does not fit is described, not thrown, because only the lane knows
 * whether it is a torn tail or damage.
 *
 * @module
 */

import { alignUp, crc32, decodeUtf8, MmsbError, TICK_ROWS_MAX, toHex } from "../base/mod.ts";
import {
  type KernelColumns,
  kernelColumns,
  KIND_MASKED,
  maskedPayloadBytes,
  ROW_BYTES,
} from "../physical/mod.ts";
import { fitsRows, readColumn, readTimes, type WholeColumn } from "./column_codec.ts";
import {
  FORMAT,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  ROW_KIND,
  ROW_KIND_NAMES,
  SECTION,
  SECTION_ENTRY_BYTES,
  SECTIONS_MAX,
  SEGMENT_HEADER_BYTES,
  SEGMENT_MAGIC,
} from "./format.ts";
import type { ImportedColumns } from "./frame_writer.ts";

/** A segment's bytes with views over them. */
export interface SegmentBytes {
  /** The buffer. */
  readonly buffer: ArrayBuffer;
  /** The buffer as bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The buffer for reading numbers. */
  readonly view: DataView<ArrayBuffer>;
  /** Bytes of the file in it. */
  readonly length: number;
}

/** Lays views over a buffer that holds a segment. */
export function segmentBytes(buffer: ArrayBuffer, length: number): SegmentBytes {
  return { buffer, bytes: new Uint8Array(buffer), view: new DataView(buffer), length };
}

/** A segment's header. */
export interface SegmentHeader {
  /** Lane. */
  readonly lane: number;
  /** Segment number. */
  readonly number: number;
  /** Position of the segment's first byte in the lane. */
  readonly position: number;
  /** Incarnation of its writer. */
  readonly incarnation: number;
}

/** A frame's header. */
export interface FrameHeader {
  /** First byte in the segment. */
  readonly at: number;
  /** Bytes. */
  readonly length: number;
  /** Bytes of the header with its directory. */
  readonly headerLength: number;
  /** Tick. */
  readonly tick: number;
  /** Lane. */
  readonly lane: number;
  /** Row kind. */
  readonly rowKind: number;
  /** Rows. */
  readonly rows: number;
  /** Lanes taking part in the tick, as 64 hexadecimal digits. */
  readonly participants: string;
  /** Graph version. */
  readonly graphVersion: number;
  /** HLC of the first row. */
  readonly hlcFirst: bigint;
  /** HLC of the last row. */
  readonly hlcLast: bigint;
  /** Error bound of the clock in µs. */
  readonly clockErrorUs: number;
  /** Producer. */
  readonly producer: number;
  /** The producer's sequence number. */
  readonly sequence: number;
  /** Position known to be synced when the frame was made. */
  readonly syncedPosition: number;
  /** Incarnation of the writer. */
  readonly incarnation: number;
  /** Index of the frame in its tick, on its lane. */
  readonly index: number;
  /** Earlier ticks that a merged tick stands for beside itself. */
  readonly span: number;
  /** Checksum of the header. */
  readonly check: number;
  /** Sections by id. */
  readonly sections: ReadonlyMap<number, FrameSection>;
}

/** Where a section stands. */
export interface FrameSection {
  /** Encoding. */
  readonly encoding: number;
  /** First byte in the segment. */
  readonly at: number;
  /** Bytes. */
  readonly length: number;
}

/** The commit row of a tick on one lane. */
export interface CommitRow {
  /** Frames of the tick, this one not counted. */
  readonly frames: number;
  /** Digest over their header checksums. */
  readonly digest: number;
  /** Rows in them. */
  readonly rows: number;
  /** Next page id to be given out. */
  readonly nextPageId: number;
  /** Next number of a rule to be given out. */
  readonly nextRule: number;
}

/** Rows of a frame, decoded; the payload is not copied. */
export interface DecodedRows {
  /** The columns; `start` counts from the segment's first byte. */
  readonly columns: KernelColumns;
  /** Rows. */
  readonly rows: number;
  /** Bytes of the segment up to the payload's end. */
  readonly payloadEnd: number;
  /** Interned strings. */
  readonly strings: readonly string[];
  /** Whether the frame stores epochs (then `columns.epoch` holds them). */
  readonly hasEpochs: boolean;
  /** Rows each row stands for, where not 1. */
  readonly advance?: Int32Array;
  /** Shards; of births. Types; of edges. */
  readonly shards?: Uint8Array;
  /** Numbers of the rules that made the rows, where the frame has them. */
  readonly rules?: Int32Array;
  /** Times stated by sources. */
  readonly timesUs?: Float64Array;
  /** Ids and epochs of imported rows in the log that they come from. */
  readonly imported?: ImportedColumns;
}

/** Whether the rows of a frame change bytes of pages. */
export function isDeltas(rowKind: number): boolean {
  return rowKind === ROW_KIND.data || rowKind === ROW_KIND.derived;
}

/** Whether a frame says that the lane goes on in the next segment. */
export function isLaneMark({ rowKind, rows }: FrameHeader): boolean {
  return rowKind === ROW_KIND.mark && rows === 0;
}

/** Bytes that a row's payload takes in its frame: of a masked delta the mask and the bytes it sets. */
export function payloadLength(
  { bytes }: SegmentBytes,
  { rowKind }: FrameHeader,
  { columns }: DecodedRows,
  row: number,
): number {
  const length = columns.length[row] >>> 0;
  const isMasked = isDeltas(rowKind) && columns.kind[row] === KIND_MASKED;
  return isMasked ? maskedPayloadBytes(bytes, columns.start[row], length) : length;
}

/** The id that a page of an imported delta had in the log it comes from. */
export function importedId({ idLow, idHigh }: ImportedColumns, row: number): bigint {
  return BigInt(idHigh[row] >>> 0) << 32n | BigInt(idLow[row] >>> 0);
}

/**
 * Reads a segment's header.
 *
 * @returns The header; `"unused"` where the file was prepared and never written; a fault in words.
 * @throws {MmsbError} `version` where a newer MMSB wrote it.
 */
export function readSegmentHeader(
  segment: SegmentBytes,
  path: string,
): SegmentHeader | "unused" | { fault: string } {
  const { view } = segment;
  if (segment.length < SEGMENT_HEADER_BYTES) {
    const blank = segment.bytes.subarray(0, segment.length).every((byte) => byte === 0);
    return blank ? "unused" : { fault: `the file has only ${segment.length} bytes` };
  }
  if (view.getUint32(0, true) === 0 && view.getUint32(4, true) === 0) {
    const blank = segment.bytes.subarray(0, SEGMENT_HEADER_BYTES).every((byte) => byte === 0);
    return blank ? "unused" : { fault: "its header has no magic" };
  }
  if (view.getUint32(0, true) !== SEGMENT_MAGIC) return { fault: "its header has no magic" };
  const check = crc32(segment.bytes.subarray(8, SEGMENT_HEADER_BYTES));
  if (check !== view.getUint32(4, true)) return { fault: "its header's checksum is wrong" };
  checkFormat(view.getUint16(8, true), path);
  return {
    lane: view.getUint16(10, true),
    number: view.getUint32(12, true),
    position: getU64(view, 16),
    incarnation: view.getUint32(24, true),
  };
}

/**
 * Reads and checks a frame's header.
 *
 * @returns The header, or a fault in words.
 * @throws {MmsbError} `version` where a newer MMSB wrote it.
 */
export function readFrameHeader(
  segment: SegmentBytes,
  at: number,
  path: string,
): FrameHeader | { fault: string } {
  const { view, bytes } = segment;
  if (at + FRAME_HEADER_BYTES > segment.length) return { fault: "the file ends" };
  if (view.getUint32(at, true) !== FRAME_MAGIC) return { fault: "there is no frame" };
  const headerLength = view.getUint16(at + 10, true);
  const count = view.getUint8(at + 27);
  if (
    headerLength < FRAME_HEADER_BYTES ||
    headerLength > FRAME_HEADER_BYTES + SECTION_ENTRY_BYTES * SECTIONS_MAX ||
    at + headerLength > segment.length
  ) return { fault: `its header length is ${headerLength}` };
  const check = crc32(bytes.subarray(at + 8, at + headerLength));
  if (check !== view.getUint32(at + 4, true)) return { fault: "its header's checksum is wrong" };
  checkFormat(view.getUint16(at + 8, true), path);
  if (headerLength !== FRAME_HEADER_BYTES + SECTION_ENTRY_BYTES * count) {
    return { fault: `its header of ${headerLength} bytes does not hold ${count} sections` };
  }
  const length = view.getUint32(at + 12, true);
  const sections = new Map<number, FrameSection>();
  let next = at + headerLength;
  for (let entry = 0; entry < count; entry++) {
    const from = at + FRAME_HEADER_BYTES + SECTION_ENTRY_BYTES * entry;
    const size = view.getUint32(from + 4, true);
    sections.set(view.getUint8(from), {
      encoding: view.getUint8(from + 1),
      at: next,
      length: size,
    });
    next += alignUp(size, 8);
  }
  if (next !== at + length || sections.size !== count) {
    return { fault: "its sections do not fill it" };
  }
  return {
    at,
    length,
    headerLength,
    tick: getU64(view, at + 16),
    lane: view.getUint16(at + 24, true),
    rowKind: view.getUint8(at + 26),
    rows: view.getUint32(at + 28, true),
    participants: toHex(bytes.subarray(at + 32, at + 64)),
    graphVersion: getU64(view, at + 64),
    hlcFirst: view.getBigUint64(at + 72, true),
    hlcLast: view.getBigUint64(at + 80, true),
    clockErrorUs: view.getUint32(at + 88, true),
    producer: view.getUint32(at + 92, true),
    sequence: getU64(view, at + 96),
    syncedPosition: getU64(view, at + 104),
    incarnation: view.getUint32(at + 112, true),
    index: view.getUint32(at + 120, true),
    span: view.getUint32(at + 124, true),
    check,
    sections,
  };
}

/** What is wrong with a frame's body, if anything. */
export function bodyFault(segment: SegmentBytes, frame: FrameHeader): string | undefined {
  const end = frame.at + frame.length;
  if (end > segment.length) return "the file ends in it";
  const check = crc32(segment.bytes.subarray(frame.at + frame.headerLength, end));
  return check === segment.view.getUint32(frame.at + 116, true)
    ? undefined
    : "its body's checksum is wrong";
}

/** Reads the commit row of a commit frame whose body was checked. */
export function readCommit(segment: SegmentBytes, frame: FrameHeader): CommitRow | undefined {
  const section = frame.sections.get(SECTION.commit);
  if (section === undefined || section.length !== 24) return undefined;
  const { view } = segment;
  return {
    frames: view.getUint32(section.at, true),
    digest: view.getUint32(section.at + 4, true),
    rows: view.getFloat64(section.at + 8, true),
    nextPageId: view.getUint32(section.at + 16, true),
    nextRule: Math.max(1, view.getUint32(section.at + 20, true)),
  };
}

/** Columns of whole numbers: those of batches, and those that only some frames have. */
export const WHOLE_COLUMNS: readonly number[] = [
  SECTION.page,
  SECTION.offset,
  SECTION.length,
  SECTION.start,
  SECTION.kind,
  SECTION.source,
  SECTION.intent,
  SECTION.epoch,
  SECTION.advance,
  SECTION.shard,
  SECTION.rule,
];

/** Columns of imported rows. */
const IMPORTED = [SECTION.importedIdLow, SECTION.importedIdHigh, SECTION.importedEpoch];

const COLUMNS = [...WHOLE_COLUMNS, ...IMPORTED];

const NO_STRINGS: readonly string[] = [""];

/** Decodes the columns of frames; one scratch serves all frames, the largest sets its size. */
export class RowDecoder {
  #rows = 0;
  #columns: KernelColumns | undefined;
  #buffer: ArrayBuffer | undefined;
  #scratch = new ArrayBuffer(0);

  /**
   * Decodes a frame whose body was checked.
   *
   * @param segment The segment.
   * @param frame The frame.
   * @param withStrings Whether sources and intents are wanted; replay needs none.
   * @returns The rows; good until the next call.
   * @throws {MmsbError} `corrupt-log` where the columns do not fit the rows.
   */
  decode(segment: SegmentBytes, frame: FrameHeader, withStrings = true): DecodedRows {
    // A lie is found before room is made for it.
    const { rows } = frame;
    if (rows > TICK_ROWS_MAX) refuseRows(frame);
    for (const id of COLUMNS) {
      const section = frame.sections.get(id);
      if (section !== undefined && !fitsRows(section.encoding, section.length, rows)) {
        refuseColumn(frame, id);
      }
    }
    const columns = this.#columnsFor(segment, rows);
    const read = (id: number, target: WholeColumn): boolean => {
      const section = frame.sections.get(id);
      if (section === undefined) {
        target.fill(0, 0, rows);
        return false;
      }
      const { encoding, at, length } = section;
      if (!readColumn(encoding, segment.buffer, at, length, rows, target)) {
        refuseColumn(frame, id);
      }
      return true;
    };
    read(SECTION.page, columns.page);
    read(SECTION.offset, columns.offset);
    read(SECTION.length, columns.length);
    read(SECTION.start, columns.start);
    read(SECTION.kind, columns.kind);
    if (withStrings) {
      read(SECTION.source, columns.source);
      read(SECTION.intent, columns.intent);
    }
    const hasEpochs = read(SECTION.epoch, columns.epoch);
    const payload = frame.sections.get(SECTION.payload);
    const base = payload?.at ?? 0;
    if (base !== 0) shift(columns.start, base, rows);
    const advance = new Int32Array(frame.sections.has(SECTION.advance) ? rows : 0);
    const shards = new Uint8Array(frame.sections.has(SECTION.shard) ? rows : 0);
    if (advance.length > 0) read(SECTION.advance, advance);
    if (shards.length > 0) read(SECTION.shard, shards);
    const rules = new Int32Array(withStrings && frame.sections.has(SECTION.rule) ? rows : 0);
    if (rules.length > 0) read(SECTION.rule, rules);
    const { sections } = frame;
    const isImported = IMPORTED.some((id) => sections.has(id));
    const importedColumn = (id: number) => {
      const column = new Int32Array(rows);
      read(id, column);
      return column;
    };
    return {
      columns,
      rows,
      payloadEnd: payload === undefined ? 0 : payload.at + payload.length,
      strings: withStrings ? readStrings(segment, frame) : NO_STRINGS,
      hasEpochs,
      ...(advance.length > 0 ? { advance } : {}),
      ...(frame.rowKind === ROW_KIND.structural
        ? { shards: shards.length ? shards : new Uint8Array(rows) }
        : {}),
      ...(rules.length > 0 ? { rules } : {}),
      ...readTimesOf(segment, frame),
      ...(isImported
        ? {
          imported: {
            idLow: importedColumn(SECTION.importedIdLow),
            idHigh: importedColumn(SECTION.importedIdHigh),
            epoch: importedColumn(SECTION.importedEpoch),
          },
        }
        : {}),
    };
  }

  #columnsFor(segment: SegmentBytes, rows: number): KernelColumns {
    if (rows > this.#rows || this.#columns === undefined || this.#buffer !== segment.buffer) {
      if (rows > this.#rows) {
        this.#rows = alignUp(Math.max(rows, 1024), 8);
        this.#scratch = new ArrayBuffer(this.#rows * ROW_BYTES);
      }
      this.#buffer = segment.buffer;
      this.#columns = kernelColumns(this.#scratch, this.#rows, segment.bytes);
    }
    return this.#columns;
  }
}

/** The strings of a frame; [""] where it has none. */
export function readStrings(segment: SegmentBytes, frame: FrameHeader): string[] {
  const section = frame.sections.get(SECTION.strings);
  if (section === undefined) return [""];
  const { view, bytes } = segment;
  const strings: string[] = [];
  const end = section.at + section.length;
  let at = section.at + 4;
  if (section.length < 4) refuseColumn(frame, SECTION.strings);
  const count = view.getUint32(section.at, true);
  for (let index = 0; index < count; index++) {
    const length = at + 4 <= end ? view.getUint32(at, true) : Infinity;
    if (at + 4 + length > end) refuseColumn(frame, SECTION.strings);
    strings.push(
      decodeUtf8("source or intent", bytes.subarray(at + 4, at + 4 + length), "corrupt-log"),
    );
    at += 4 + length;
  }
  return strings;
}

/** Reads a u64 below 2^53; above it the nearest double, which no check accepts. */
export function getU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

function readTimesOf(segment: SegmentBytes, frame: FrameHeader): { timesUs?: Float64Array } {
  const section = frame.sections.get(SECTION.timeUs);
  if (section === undefined) return {};
  const { encoding, at, length } = section;
  const timesUs = readTimes(encoding, segment.buffer, at, length, frame.rows);
  if (timesUs === undefined) refuseColumn(frame, SECTION.timeUs);
  return { timesUs };
}

function shift(column: Int32Array, base: number, rows: number): void {
  for (let i = 0; i < rows; i++) column[i] += base;
}

function refuseRows(frame: FrameHeader): never {
  throw new MmsbError(
    "corrupt-log",
    `Cannot decode a frame of tick ${frame.tick} with ${frame.rows} rows: at most ${TICK_ROWS_MAX} are written`,
    { values: { tick: frame.tick, offset: frame.at, rows: frame.rows, rowsMax: TICK_ROWS_MAX } },
  );
}

function refuseColumn(frame: FrameHeader, section: number): never {
  const name = Object.keys(SECTION).find((key) => SECTION[key as keyof typeof SECTION] === section);
  throw new MmsbError(
    "corrupt-log",
    `Cannot decode column ${name} of a ${
      ROW_KIND_NAMES[frame.rowKind]
    } frame of tick ${frame.tick}: it does not fit its ${frame.rows} rows`,
    { values: { tick: frame.tick, offset: frame.at, column: name, rows: frame.rows } },
  );
}

function checkFormat(format: number, path: string): void {
  if (format > FORMAT) {
    throw new MmsbError(
      "version",
      `Cannot read "${path}" as its format is ${format}: this MMSB reads up to ${FORMAT}, use a newer one`,
      { values: { path, format, formatMax: FORMAT } },
    );
  }
}
