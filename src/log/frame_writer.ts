/**
 * Frame writer: turns the batches of one tick into frames, ready to be appended to a lane.
 *
 * Headers and columns go into one buffer that is reused from tick to tick; a large payload pool is
 * not copied at all but handed on as it stands, between two parts of the buffer. The digest in
 * the commit row covers the header of every frame of the tick, each of which covers its body, so a
 * lost, doubled or swapped frame shows.
 *
 * Cost: some 10 ns a row of 16 bytes (finding the columns' forms and narrowing them), the checksum
 * at memory speed; nothing is allocated per row.
 *
 * @module
 */

import {
  alignUp,
  crc32,
  encodeUtf8,
  MmsbError,
  STRING_BYTES_MAX,
  TICK_ROWS_MAX,
} from "../base/mod.ts";
import type { KernelColumns } from "../physical/mod.ts";
import {
  type ColumnPlan,
  planColumn,
  planTimes,
  type WholeColumn,
  writeColumn,
  writeTimes,
} from "./column_codec.ts";
import {
  ENCODING,
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
  /** Bytes of the payload pool in use. */
  readonly payloadLength: number;
}

/** Payload pools from this size on are written as they stand. */
const PAYLOAD_DIRECT_MIN = 32 * 1024;
const BUFFER_BYTES_START = 64 * 1024;

/** Builds the frames of one tick on one lane. */
export class FrameWriter {
  #buffer = new ArrayBuffer(BUFFER_BYTES_START);
  #bytes = new Uint8Array(this.#buffer);
  #view = new DataView(this.#buffer);
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
    const { rows, columns } = frame;
    if (rows > TICK_ROWS_MAX) {
      throw new MmsbError("limit", `Cannot log more than ${TICK_ROWS_MAX} rows in one frame`, {
        values: { rows, rowsMax: TICK_ROWS_MAX },
      });
    }
    const sections: Section[] = [];
    const add = (id: number, column: WholeColumn, isMark = false) => {
      if (rows === 0) return;
      const plan = planColumn(column, rows);
      if (isMark || plan.encoding !== ENCODING.constant || plan.base !== 0) {
        sections.push({ id, bytes: plan.bytes, plan, column });
      }
    };
    add(SECTION.page, columns.page);
    add(SECTION.offset, columns.offset);
    add(SECTION.length, columns.length);
    add(SECTION.start, columns.start);
    add(SECTION.kind, columns.kind);
    add(SECTION.source, columns.source);
    add(SECTION.intent, columns.intent);
    if (frame.epochs) add(SECTION.epoch, columns.epoch);
    if (frame.advance !== undefined) add(SECTION.advance, frame.advance);
    if (frame.shards !== undefined) add(SECTION.shard, frame.shards);
    if (frame.rules !== undefined) add(SECTION.rule, frame.rules);
    if (frame.imported !== undefined) {
      // Stored even where all is 0, as its presence says that the rows were imported.
      add(SECTION.importedIdLow, frame.imported.idLow, true);
      add(SECTION.importedIdHigh, frame.imported.idHigh);
      add(SECTION.importedEpoch, frame.imported.epoch);
    }
    const times = frame.timesUs === undefined ? undefined : planTimes(frame.timesUs, rows);
    if (times !== undefined) {
      sections.push({ id: SECTION.timeUs, bytes: times.bytes, plan: times, times: frame.timesUs });
    }
    if (frame.strings.length > 1) {
      const raw = encodeStrings(frame.strings);
      sections.push({ id: SECTION.strings, bytes: raw.length, raw });
    }
    if (frame.payloadLength > 0) {
      const raw = columns.payloadBytes.subarray(0, frame.payloadLength);
      sections.push({ id: SECTION.payload, bytes: raw.length, raw });
    }
    this.#frame(frame.rowKind, rows, frame, sections);
    this.#rows += rows;
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
    this.#frame(ROW_KIND.commit, 1, about, [{ id: SECTION.commit, bytes: raw.length, raw }]);
  }

  /** Adds a mark without content: the lane goes on in the next segment. */
  addMark(): void {
    this.#frame(ROW_KIND.mark, 0, { producer: 0, sequence: 0, hlcHi: 0, hlcLo: 0 }, []);
  }

  /** The frames as parts to be written one after the other; good until the next `begin`. */
  finish(): readonly Uint8Array[] {
    this.#endPart();
    return this.#parts;
  }

  #frame(
    rowKind: number,
    rows: number,
    about: Pick<RowFrame, "producer" | "sequence" | "hlcHi" | "hlcLo">,
    sections: readonly Section[],
  ): void {
    const header = this.#header!;
    const headerLength = FRAME_HEADER_BYTES + SECTION_ENTRY_BYTES * sections.length;
    const last = sections.at(-1);
    const direct = last?.id === SECTION.payload && last.bytes >= PAYLOAD_DIRECT_MIN
      ? last.raw
      : undefined;
    let inBuffer = headerLength, length = headerLength;
    for (const section of sections) {
      length += alignUp(section.bytes, 8);
      inBuffer += section.raw === direct && direct ? 0 : alignUp(section.bytes, 8);
    }
    const at = this.#room(inBuffer + 8);
    const bodyEnd = this.#writeSections(sections, at + headerLength, direct);
    let check = crc32(this.#bytes.subarray(at + headerLength, bodyEnd));
    if (direct !== undefined) {
      check = crc32(direct, check);
      check = crc32(ZEROS.subarray(0, alignUp(direct.length, 8) - direct.length), check);
    }
    const view = this.#view;
    this.#bytes.fill(0, at, at + FRAME_HEADER_BYTES);
    view.setUint32(at, FRAME_MAGIC, true);
    view.setUint16(at + 8, FORMAT, true);
    view.setUint16(at + 10, headerLength, true);
    view.setUint32(at + 12, length, true);
    setU64(view, at + 16, header.tick);
    view.setUint16(at + 24, header.lane, true);
    view.setUint8(at + 26, rowKind);
    view.setUint8(at + 27, sections.length);
    view.setUint32(at + 28, rows, true);
    this.#bytes.set(header.participants, at + 32);
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
    const headerCheck = crc32(this.#bytes.subarray(at + 8, at + headerLength));
    view.setUint32(at + 4, headerCheck, true);
    this.#used = bodyEnd;
    if (direct !== undefined) {
      this.#endPart();
      this.#parts.push(direct);
      this.#total += direct.length;
      // The next part begins with the padding, so that the next frame is aligned in the buffer too.
      const padding = alignUp(direct.length, 8) - direct.length;
      if (padding > 0) {
        this.#bytes.fill(0, this.#used, this.#used + 8);
        this.#partStart = this.#used + 8 - padding;
        this.#used += 8;
      }
    }
    this.#frames++;
    this.#digest = digestOf(this.#digest, headerCheck);
  }

  #writeSections(sections: readonly Section[], start: number, direct?: Uint8Array): number {
    let at = start, entry = start - SECTION_ENTRY_BYTES * sections.length;
    for (const section of sections) {
      this.#view.setUint8(entry, section.id);
      this.#view.setUint8(entry + 1, section.plan?.encoding ?? ENCODING.raw);
      this.#view.setUint16(entry + 2, 0, true);
      this.#view.setUint32(entry + 4, section.bytes, true);
      entry += SECTION_ENTRY_BYTES;
      if (section.raw !== undefined && section.raw === direct) continue;
      const end = at + alignUp(section.bytes, 8);
      this.#view.setFloat64(end - 8, 0, true);
      if (section.raw !== undefined) this.#bytes.set(section.raw, at);
      else if (section.times !== undefined) {
        writeTimes(section.plan!, section.times, this.#rowsOf(section), this.#buffer, at);
      } else writeColumn(section.plan!, section.column!, this.#rowsOf(section), this.#buffer, at);
      at = end;
    }
    return at;
  }

  /** Rows of a column: from its length in bytes, so that sections carry no count of their own. */
  #rowsOf(section: Section): number {
    const { encoding, bytes } = section.plan!;
    if (encoding === ENCODING.narrow8) return bytes - 8;
    if (encoding === ENCODING.narrow16) return (bytes - 8) / 2;
    if (encoding === ENCODING.narrow32) return (bytes - 8) / 4;
    if (encoding === ENCODING.raw) return bytes / (section.times === undefined ? 4 : 8);
    return 0;
  }

  #endPart(): void {
    if (this.#used > this.#partStart) {
      this.#parts.push(this.#bytes.subarray(this.#partStart, this.#used));
      this.#total += this.#used - this.#partStart;
    }
    this.#partStart = this.#used;
  }

  /** Makes room; parts already ended keep the buffer they were written to. */
  #room(bytes: number): number {
    if (this.#used + bytes > this.#buffer.byteLength) {
      const open = this.#bytes.subarray(this.#partStart, this.#used);
      const start = this.#partStart & 7;
      const size = Math.max(
        2 * this.#buffer.byteLength,
        alignUp(start + open.length + bytes, 4096),
      );
      this.#buffer = new ArrayBuffer(size);
      this.#bytes = new Uint8Array(this.#buffer);
      this.#view = new DataView(this.#buffer);
      this.#bytes.set(open, start);
      this.#used = start + open.length;
      this.#partStart = start;
    }
    return this.#used;
  }
}

interface Section {
  readonly id: number;
  readonly bytes: number;
  readonly plan?: ColumnPlan;
  readonly column?: WholeColumn;
  readonly times?: Float64Array;
  readonly raw?: Uint8Array;
}

const ZEROS = new Uint8Array(8);

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

/** Bytes that the section of strings takes, at most. */
export function stringsBytes(strings: readonly string[]): number {
  let bytes = 4;
  for (const text of strings) bytes += 4 + 3 * text.length;
  return bytes;
}

function encodeStrings(strings: readonly string[]): Uint8Array {
  const encoded = strings.map((text) => encodeUtf8("string", text, STRING_BYTES_MAX));
  const size = encoded.reduce((sum, bytes) => sum + 4 + bytes.length, 4);
  const out = new Uint8Array(size), view = new DataView(out.buffer);
  view.setUint32(0, strings.length, true);
  let at = 4;
  for (const bytes of encoded) {
    view.setUint32(at, bytes.length, true);
    out.set(bytes, at + 4);
    at += 4 + bytes.length;
  }
  return out;
}
