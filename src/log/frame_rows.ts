/**
 * Frame rows: single rows of a frame, read from its columns where they stand.
 *
 * Decoding a frame of 65,536 rows to look at one of them is wasteful; each column's form lets one
 * value be read by itself. The forms are checked once a frame.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { fitsRows, fitsTimes, timeAt, valueAt } from "./column_codec.ts";
import { SECTION } from "./format.ts";
import { type FrameHeader, readStrings, type SegmentBytes, WHOLE_COLUMNS } from "./frame_reader.ts";

/** A column as it stands in a frame; absent ones are all 0. */
interface Column {
  readonly encoding: number;
  readonly at: number;
}

/** Rows of one frame whose checksums fit. */
export class FrameRows {
  /** The frame. */
  readonly frame: FrameHeader;
  /** The bytes that its payloads are in. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** First byte behind its payload. */
  readonly payloadEnd: number;
  readonly #segment: SegmentBytes;
  readonly #view: DataView<ArrayBuffer>;
  readonly #page: Column | undefined;
  readonly #offset: Column | undefined;
  readonly #length: Column | undefined;
  readonly #start: Column | undefined;
  readonly #kind: Column | undefined;
  readonly #source: Column | undefined;
  readonly #intent: Column | undefined;
  readonly #epoch: Column | undefined;
  readonly #advance: Column | undefined;
  readonly #shard: Column | undefined;
  readonly #rule: Column | undefined;
  readonly #time: Column | undefined;
  readonly #payload: number;
  #strings: readonly string[] | undefined;

  /**
   * Checks the columns' forms.
   *
   * @throws {MmsbError} `corrupt-log` where one does not fit the rows.
   */
  constructor(segment: SegmentBytes, frame: FrameHeader) {
    const { sections, rows } = frame;
    for (const id of WHOLE_COLUMNS) {
      const section = sections.get(id);
      if (section !== undefined && !fitsRows(section.encoding, section.length, rows)) {
        refuse(frame, id);
      }
    }
    const time = sections.get(SECTION.timeUs);
    if (time !== undefined && !fitsTimes(time.encoding, time.length, rows)) {
      refuse(frame, SECTION.timeUs);
    }
    this.frame = frame;
    this.#segment = segment;
    this.#view = segment.view;
    this.bytes = segment.bytes;
    const payload = sections.get(SECTION.payload);
    this.#payload = payload?.at ?? 0;
    this.payloadEnd = payload === undefined ? 0 : payload.at + payload.length;
    this.#page = sections.get(SECTION.page);
    this.#offset = sections.get(SECTION.offset);
    this.#length = sections.get(SECTION.length);
    this.#start = sections.get(SECTION.start);
    this.#kind = sections.get(SECTION.kind);
    this.#source = sections.get(SECTION.source);
    this.#intent = sections.get(SECTION.intent);
    this.#epoch = sections.get(SECTION.epoch);
    this.#advance = sections.get(SECTION.advance);
    this.#shard = sections.get(SECTION.shard);
    this.#rule = sections.get(SECTION.rule);
    this.#time = time;
  }

  /** Page of a row. */
  page(row: number): number {
    return this.#value(this.#page, row) >>> 0;
  }

  /** First byte of a row's span; of births and changes of size the size. */
  offset(row: number): number {
    return this.#value(this.#offset, row) >>> 0;
  }

  /** Bytes of a row's span. */
  length(row: number): number {
    return this.#value(this.#length, row) >>> 0;
  }

  /** First byte of a row's payload in {@linkcode FrameRows.bytes}. */
  start(row: number): number {
    return this.#payload + (this.#value(this.#start, row) >>> 0);
  }

  /** Kind of a row's delta, or its structural operation. */
  kind(row: number): number {
    return this.#value(this.#kind, row) & 0xff;
  }

  /** Source of a row, "" for none. */
  source(row: number): string {
    return this.#text(this.#source, row);
  }

  /** Intent of a row, "" for none. */
  intent(row: number): string {
    return this.#text(this.#intent, row);
  }

  /** Low 32 bits of the page's epoch after a row, where the frame has epochs. */
  epoch(row: number): number {
    return this.#value(this.#epoch, row) >>> 0;
  }

  /** Rows that a row stands for. */
  advance(row: number): number {
    return this.#advance === undefined ? 1 : this.#value(this.#advance, row) >>> 0;
  }

  /** Shard of a row; of edges the type. */
  shard(row: number): number {
    return this.#value(this.#shard, row) & 0xff;
  }

  /** Number of the rule that made a row, 0 where none did. */
  rule(row: number): number {
    return this.#value(this.#rule, row) >>> 0;
  }

  /** The source's own time in µs, `undefined` where it stated none. */
  timeUs(row: number): number | undefined {
    if (this.#time === undefined) return undefined;
    const time = timeAt(this.#time.encoding, this.#view, this.#time.at, row);
    return Number.isNaN(time) ? undefined : time;
  }

  #value(column: Column | undefined, row: number): number {
    return column === undefined ? 0 : valueAt(column.encoding, this.#view, column.at, row);
  }

  #text(column: Column | undefined, row: number): string {
    if (column === undefined) return "";
    this.#strings ??= readStrings(this.#segment, this.frame);
    return this.#strings[this.#value(column, row) & 0xffff] ?? "";
  }
}

function refuse(frame: FrameHeader, section: number): never {
  const name = Object.keys(SECTION).find((key) => SECTION[key as keyof typeof SECTION] === section);
  throw new MmsbError(
    "corrupt-log",
    `Cannot read column ${name} of a frame of tick ${frame.tick}: it does not fit its ${frame.rows} rows`,
    { values: { tick: frame.tick, offset: frame.at, column: name, rows: frame.rows } },
  );
}
