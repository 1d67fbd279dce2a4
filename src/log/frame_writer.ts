/**
 * Frame writer: turns the batches of one tick into frames, ready to be appended to a lane.
 *
 * Headers and columns go into one buffer that is reused from tick to tick; a large payload pool is
 * not copied at all but handed on as it stands, between two parts of the buffer. The digest in
 * the commit row covers the header of every frame of the tick, each of which covers its body, so a
 * lost, doubled or swapped frame shows.
 *
 * Cost: that of the bodies (frame_body.ts); nothing is allocated per row.
 *
 * @module
 */

import { alignUp, crc32, MmsbError, TICK_ROWS_MAX } from "../base/mod.ts";
import type { KernelColumns } from "../physical/mod.ts";
import {
  bodyOf,
  type BodyRoom,
  bodyRoom,
  encodeStrings,
  type FrameBody,
  planRows,
  writeBody,
} from "./frame_body.ts";
import {
  FORMAT,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  ROW_KIND,
  SECTION,
  SECTION_ENTRY_BYTES,
  SEGMENT_HEADER_BYTES,
  SEGMENT_MAGIC,
} from "./format.ts";

/** What all frames of a tick share. */
export interface TickHeader {
  /** Tick number. */
  readonly tick: number;
  /** Lane. */
  readonly lane: number;
  /** Lanes taking part in the tick, one bit each: 32 bytes. */
  readonly participants: Uint8Array;
  /** Writer's incarnation. */
  readonly incarnation: number;
  /** Graph version. */
  readonly graphVersion: number;
  /** Error bound of the clock in µs. */
  readonly clockErrorUs: number;
  /** Position of the lane known to be synced. */
  readonly syncedPosition: number;
  /** Earlier ticks that a merged tick stands for beside itself. Default 0. */
  readonly span?: number;
}

/** Where imported rows come from, by row. */
export interface ImportedColumns {
  /** Low halves of the ids that the deltas had. */
  readonly idLow: Int32Array;
  /** High halves. */
  readonly idHigh: Int32Array;
  /** The epochs that they had. */
  readonly epoch: Int32Array;
}

/** What one frame of rows has beside its columns. */
export interface RowFrame {
  /** Row kind. */
  readonly rowKind: number;
  /** Rows. */
  readonly rows: number;
  /** Producer. */
  readonly producer: number;
  /** The producer's sequence number. */
  readonly sequence: number;
  /** HLC of the first row: high half. */
  readonly hlcHi: number;
  /** HLC of the first row: low half. */
  readonly hlcLo: number;
  /** The columns. */
  readonly columns: KernelColumns;
  /** Whether the `epoch` column is to be stored. */
  readonly epochs: boolean;
  /** Times stated by sources. */
  readonly timesUs?: Float64Array;
  /** Shards; of births. Types; of edges. */
  readonly shards?: Uint8Array;
  /** Numbers of the rules that made the rows; of derived ones. */
  readonly rules?: Int32Array;
  /** Rows each row stands for, where not 1. */
  readonly advance?: Int32Array;
  /** Ids and epochs of imported rows in the log that they come from. */
  readonly imported?: ImportedColumns;
  /** Interned strings; the first is "". */
  readonly strings: readonly string[];
  /** The same as {@linkcode encodeStrings} has them, where somebody keeps them so. */
  readonly stringBytes?: Uint8Array;
  /** Bytes of the payload pool in use. */
  readonly payloadLength: number;
}

/** What a header says of its frame beside the rows. */
type FrameAbout = Pick<RowFrame, "producer" | "sequence" | "hlcHi" | "hlcLo">;

/** A frame whose body another thread has built. */
export interface BuiltFrame {
  /** Where it stands. */
  readonly room: BodyRoom;
  /** First byte of the header, which is still to be written. */
  readonly at: number;
  /** Bytes of header, section table and sections but for `direct`; a multiple of 8. */
  readonly bytes: number;
  /** A payload pool that is written as it stands, behind them. */
  readonly direct: Uint8Array | undefined;
  /** Sections. */
  readonly sections: number;
  /** The checksum over all of them. */
  readonly check: number;
}

const BUFFER_BYTES_START = 64 * 1024;
const ZEROS = new Uint8Array(8);

/** Builds the frames of one tick on one lane. */
export class FrameWriter {
  #buffer: BodyRoom = bodyRoom(new ArrayBuffer(BUFFER_BYTES_START));
  #used = 0;
  #partStart = 0;
  #parts: Uint8Array[] = [];
  #total = 0;
  #header: TickHeader | undefined;
  #frames = 0;
  #rows = 0;
  #digest = 0;

  /** Bytes of the frames so far. */
  get byteLength(): number {
    return this.#total + this.#used - this.#partStart;
  }

  /** Bytes of the room that frames are built in. */
  get roomBytes(): number {
    return this.#buffer.bytes.length;
  }

  /** Starts a tick; what was built before is forgotten. */
  begin(header: TickHeader): void {
    this.#used = 0;
    this.#partStart = 0;
    this.#parts = [];
    this.#total = 0;
    this.#header = header;
    this.#frames = 0;
    this.#rows = 0;
    this.#digest = 0;
  }

  /**
   * Adds a frame of rows.
   *
   * @throws {MmsbError} `limit` where there are more rows than a reader takes.
   */
  addRows(frame: RowFrame): void {
    const { rows } = frame;
    if (rows > TICK_ROWS_MAX) {
      throw new MmsbError("limit", `Cannot log more than ${TICK_ROWS_MAX} rows in one frame`, {
        values: { rows, rowsMax: TICK_ROWS_MAX },
      });
    }
    const body = planRows(frame, frame.stringBytes ?? encodeStrings(frame.strings));
    this.#frame(frame.rowKind, rows, frame, body);
    this.#rows += rows;
  }

  /** Adds a frame of rows of which the body is built; its bytes must stay as they are until it is written. */
  addBuilt(frame: Pick<RowFrame, "rowKind" | "rows"> & FrameAbout, built: BuiltFrame): void {
    const { room, at, bytes, direct, sections, check } = built;
    const directBytes = direct === undefined ? 0 : alignUp(direct.length, 8);
    const length = bytes + directBytes;
    this.#endPart();
    this.#head(room, at, frame.rowKind, frame.rows, frame, sections, length, check);
    this.#parts.push(room.bytes.subarray(at, at + bytes));
    if (direct !== undefined) {
      this.#parts.push(direct);
      const padding = directBytes - direct.length;
      if (padding > 0) this.#parts.push(ZEROS.subarray(0, padding));
    }
    this.#total += length;
    this.#rows += frame.rows;
  }

  /** Adds the commit row, after which the tick is whole on this lane. */
  addCommit(hlcHi: number, hlcLo: number, nextPageId: number, nextRule = 1): void {
    const raw = new Uint8Array(24), view = new DataView(raw.buffer);
    view.setUint32(0, this.#frames, true);
    view.setUint32(4, this.#digest, true);
    view.setFloat64(8, this.#rows, true);
    view.setUint32(16, nextPageId >>> 0, true);
    // 0 says that no rule was ever bound, as in logs of before there were rules.
    if (nextRule > 1) view.setUint32(20, nextRule, true);
    const about = { producer: 0, sequence: 0, hlcHi, hlcLo };
    this.#frame(
      ROW_KIND.commit,
      1,
      about,
      bodyOf([{ id: SECTION.commit, bytes: raw.length, raw }]),
    );
  }

  /** Adds a mark without content: the lane goes on in the next segment. */
  addMark(): void {
    this.#frame(ROW_KIND.mark, 0, { producer: 0, sequence: 0, hlcHi: 0, hlcLo: 0 }, bodyOf([]));
  }

  /** The frames as parts to be written one after the other; good until the next `begin`. */
  finish(): readonly Uint8Array[] {
    this.#endPart();
    return this.#parts;
  }

  #frame(rowKind: number, rows: number, about: FrameAbout, body: FrameBody): void {
    const at = this.#room(body.bytes + 8), { direct } = body;
    const check = writeBody(body, this.#buffer, at);
    this.#head(this.#buffer, at, rowKind, rows, about, body.sections.length, body.length, check);
    this.#used = at + body.bytes;
    if (direct === undefined) return;
    this.#endPart();
    this.#parts.push(direct);
    this.#total += direct.length;
    // The next part begins with the padding, so that the next frame is aligned in the buffer too.
    const padding = alignUp(direct.length, 8) - direct.length;
    if (padding > 0) {
      this.#buffer.bytes.fill(0, this.#used, this.#used + 8);
      this.#partStart = this.#used + 8 - padding;
      this.#used += 8;
    }
  }

  /** Writes a header, whose table stands behind it already. */
  #head(
    { bytes, view }: BodyRoom,
    at: number,
    rowKind: number,
    rows: number,
    about: FrameAbout,
    sections: number,
    length: number,
    check: number,
  ): void {
    const header = this.#header!;
    const headerLength = FRAME_HEADER_BYTES + SECTION_ENTRY_BYTES * sections;
    bytes.fill(0, at, at + FRAME_HEADER_BYTES);
    view.setUint32(at, FRAME_MAGIC, true);
    view.setUint16(at + 8, FORMAT, true);
    view.setUint16(at + 10, headerLength, true);
    view.setUint32(at + 12, length, true);
    setU64(view, at + 16, header.tick);
    view.setUint16(at + 24, header.lane, true);
    view.setUint8(at + 26, rowKind);
    view.setUint8(at + 27, sections);
    view.setUint32(at + 28, rows, true);
    bytes.set(header.participants, at + 32);
    setU64(view, at + 64, header.graphVersion);
    view.setUint32(at + 72, about.hlcLo, true);
    view.setUint32(at + 76, about.hlcHi, true);
    const lastLo = about.hlcLo + Math.max(0, rows - 1);
    view.setUint32(at + 80, lastLo >>> 0, true);
    view.setUint32(at + 84, about.hlcHi + (lastLo > 0xffff_ffff ? 1 : 0), true);
    view.setUint32(at + 88, header.clockErrorUs, true);
    view.setUint32(at + 92, about.producer, true);
    setU64(view, at + 96, about.sequence);
    setU64(view, at + 104, header.syncedPosition);
    view.setUint32(at + 112, header.incarnation, true);
    view.setUint32(at + 116, check, true);
    view.setUint32(at + 120, this.#frames, true);
    view.setUint32(at + 124, header.span ?? 0, true);
    const headerCheck = crc32(bytes.subarray(at + 8, at + headerLength));
    view.setUint32(at + 4, headerCheck, true);
    this.#frames++;
    this.#digest = digestOf(this.#digest, headerCheck);
  }

  #endPart(): void {
    if (this.#used > this.#partStart) {
      this.#parts.push(this.#buffer.bytes.subarray(this.#partStart, this.#used));
      this.#total += this.#used - this.#partStart;
    }
    this.#partStart = this.#used;
  }

  /** Makes room; parts already ended keep the buffer they were written to. */
  #room(bytes: number): number {
    const { length } = this.#buffer.bytes;
    if (this.#used + bytes > length) {
      const open = this.#buffer.bytes.subarray(this.#partStart, this.#used);
      const start = this.#partStart & 7;
      const size = Math.max(2 * length, alignUp(start + open.length + bytes, 4096));
      this.#buffer = bodyRoom(new ArrayBuffer(size));
      this.#buffer.bytes.set(open, start);
      this.#used = start + open.length;
      this.#partStart = start;
    }
    return this.#used;
  }
}

/** The digest of a tick after one more frame, from the frame's header checksum. */
export function digestOf(digest: number, headerCheck: number): number {
  return (Math.imul(digest, 0x0100_0193) ^ headerCheck) >>> 0;
}

/** Writes a whole number below 2^53 as u64. */
export function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

/** Bytes of a segment header. */
export function segmentHeader(
  lane: number,
  number: number,
  position: number,
  incarnation: number,
): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES), view = new DataView(bytes.buffer);
  view.setUint32(0, SEGMENT_MAGIC, true);
  view.setUint16(8, FORMAT, true);
  view.setUint16(10, lane, true);
  view.setUint32(12, number, true);
  setU64(view, 16, position);
  view.setUint32(24, incarnation, true);
  view.setUint32(4, crc32(bytes.subarray(8)), true);
  return bytes;
}
