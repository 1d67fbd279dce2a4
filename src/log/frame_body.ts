/**
 * Frame body: the sections of a frame, built without the header.
 *
 * A header depends on what comes before in the tick: on which batches were refused, on the frames' number,
 * on time. A body depends on its rows alone, and is nearly all of the work; so any thread may build it, and
 * the writer puts the header in front. Both stand together: the room begins with the header's, which is left as it is.
 *
 * Cost: some 10 ns a row of 16 bytes (finding the columns' forms and narrowing them), the checksum at memory
 * speed.
 *
 * @module
 */

import { alignUp, crc32, encodeUtf8, STRING_BYTES_MAX } from "../base/mod.ts";
import {
  type ColumnPlan,
  planColumn,
  planTimes,
  type WholeColumn,
  writeColumn,
  writeTimes,
} from "./column_codec.ts";
import { ENCODING, FRAME_HEADER_BYTES, SECTION, SECTION_ENTRY_BYTES } from "./format.ts";
import type { RowFrame } from "./frame_writer.ts";

/** One section of a frame. */
export interface Section {
  /** One of {@linkcode SECTION}. */
  readonly id: number;
  /** Its bytes, without padding. */
  readonly bytes: number;
  /** How its column is written. */
  readonly plan?: ColumnPlan;
  /** The column. */
  readonly column?: WholeColumn;
  /** The column, of times. */
  readonly times?: Float64Array;
  /** The section as it is. */
  readonly raw?: Uint8Array;
}

/** The rows of a frame, without what its header says of them. */
export type BodyRows = Pick<
  RowFrame,
  | "rows"
  | "columns"
  | "epochs"
  | "timesUs"
  | "shards"
  | "rules"
  | "advance"
  | "imported"
  | "payloadLength"
>;

/** The sections of a frame, and where they go. */
export interface FrameBody {
  /** The sections in order. */
  readonly sections: readonly Section[];
  /** A payload pool that is written as it stands, behind all else. */
  readonly direct: Uint8Array | undefined;
  /** Bytes of header and section table. */
  readonly headerLength: number;
  /** Bytes of the frame but for `direct`: header, table and sections. */
  readonly bytes: number;
  /** Bytes of the whole frame. */
  readonly length: number;
}

/** Where a body is written. */
export interface BodyRoom {
  /** The buffer. */
  readonly buffer: ArrayBufferLike;
  /** All of it. */
  readonly bytes: Uint8Array;
  /** All of it. */
  readonly view: DataView;
}

/** Payload pools from this size on are written as they stand. */
export const PAYLOAD_DIRECT_MIN: number = 32 * 1024;
const ZEROS = new Uint8Array(8);

/** Lays a buffer out as room for bodies. */
export function bodyRoom(buffer: ArrayBufferLike): BodyRoom {
  return { buffer, bytes: new Uint8Array(buffer), view: new DataView(buffer) };
}

/**
 * Finds the sections of rows, each in its shortest form.
 *
 * @param frame The rows.
 * @param stringBytes Their interned strings as {@linkcode encodeStrings} has them, if there are any but "".
 */
export function planRows(frame: BodyRows, stringBytes: Uint8Array | undefined): FrameBody {
  const { rows, columns } = frame;
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
  if (stringBytes !== undefined) {
    sections.push({ id: SECTION.strings, bytes: stringBytes.length, raw: stringBytes });
  }
  if (frame.payloadLength > 0) {
    const raw = columns.payloadBytes.subarray(0, frame.payloadLength);
    sections.push({ id: SECTION.payload, bytes: raw.length, raw });
  }
  return bodyOf(sections);
}

/** Lays sections out. */
export function bodyOf(sections: readonly Section[]): FrameBody {
  const headerLength = FRAME_HEADER_BYTES + SECTION_ENTRY_BYTES * sections.length;
  const last = sections.at(-1);
  const direct = last?.id === SECTION.payload && last.bytes >= PAYLOAD_DIRECT_MIN
    ? last.raw
    : undefined;
  let length = headerLength;
  for (const section of sections) length += alignUp(section.bytes, 8);
  const bytes = direct === undefined ? length : length - alignUp(direct.length, 8);
  return { sections, direct, headerLength, bytes, length };
}

/**
 * Writes the table and the sections of a body behind the room of its header.
 *
 * @param body The body.
 * @param room Where to.
 * @param at First byte of the header, a multiple of 8.
 * @returns The checksum over the sections, those of `direct` included.
 */
export function writeBody(body: FrameBody, room: BodyRoom, at: number): number {
  const { sections, direct } = body, { view } = room;
  let entry = at + FRAME_HEADER_BYTES, next = at + body.headerLength;
  for (const section of sections) {
    view.setUint8(entry, section.id);
    view.setUint8(entry + 1, section.plan?.encoding ?? ENCODING.raw);
    view.setUint16(entry + 2, 0, true);
    view.setUint32(entry + 4, section.bytes, true);
    entry += SECTION_ENTRY_BYTES;
    if (section.raw !== undefined && section.raw === direct) continue;
    const end = next + alignUp(section.bytes, 8);
    view.setFloat64(end - 8, 0, true);
    if (section.raw !== undefined) room.bytes.set(section.raw, next);
    else if (section.times !== undefined) {
      writeTimes(section.plan!, section.times, rowsOf(section), room.buffer, next);
    } else writeColumn(section.plan!, section.column!, rowsOf(section), room.buffer, next);
    next = end;
  }
  const check = crc32(room.bytes.subarray(at + body.headerLength, next));
  if (direct === undefined) return check;
  return crc32(ZEROS.subarray(0, alignUp(direct.length, 8) - direct.length), crc32(direct, check));
}

/** Rows of a column: from its length in bytes, so that sections carry no count of their own. */
function rowsOf(section: Section): number {
  const { encoding, bytes } = section.plan!;
  if (encoding === ENCODING.narrow8) return bytes - 8;
  if (encoding === ENCODING.narrow16) return (bytes - 8) / 2;
  if (encoding === ENCODING.narrow32) return (bytes - 8) / 4;
  if (encoding === ENCODING.raw) return bytes / (section.times === undefined ? 4 : 8);
  return 0;
}

/** Bytes that the section of strings takes, at most. */
export function stringsBytes(strings: readonly string[]): number {
  let bytes = 4;
  for (const text of strings) bytes += 4 + 3 * text.length;
  return bytes;
}

/** The section of strings; nothing where there is none but "". */
export function encodeStrings(strings: readonly string[]): Uint8Array | undefined {
  if (strings.length <= 1) return undefined;
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
