/**
 * Row columns: rows of one frame as they come from elsewhere, in columns that grow.
 *
 * A batch of the bus refuses what the bus would not make; rows from a log carry more: their epochs,
 * how many rows each stands for, where they were imported from. So they have columns of their own.
 *
 * Cost: some 60 bytes a row and its payload, kept for reuse by {@linkcode RowColumns.clear}.
 *
 * @module
 */

import {
  alignUp,
  BATCH_PAYLOAD_BYTES_MAX,
  BATCH_ROWS_MAX,
  DICTIONARY_STRINGS_MAX,
  MmsbError,
} from "../base/mod.ts";
import { type KernelColumns, kernelColumns, ROW_BYTES } from "../physical/mod.ts";
import type { RowFrame } from "./frame_writer.ts";

/** Where an imported row comes from. */
export interface ImportedFrom {
  /** Low half of the id that it had there. */
  readonly idLow: number;
  /** High half. */
  readonly idHigh: number;
  /** Its epoch there. */
  readonly epoch: number;
}

/** One row of a log as it is written. */
export interface LogRow {
  /** Page id. */
  readonly page: number;
  /** First byte of the span; of births and resizes the page's size. */
  readonly offset: number;
  /** Bytes of the span; of structural rows those of the payload. */
  readonly length: number;
  /** Kind byte; of structural rows the operation. */
  readonly kind: number;
  /** Payload: bytes, operands, or a mask and its packed bytes. */
  readonly payload: Uint8Array;
  /** The page's epoch after the row; its low half is written. */
  readonly epoch?: number;
  /** Source. */
  readonly source?: string;
  /** Intent. */
  readonly intent?: string;
  /** The source's own time in µs since the Unix epoch. */
  readonly timeUs?: number;
  /** Rows that it stands for. Default 1. */
  readonly advance?: number;
  /** Shard; of structural rows. Type; of edges. */
  readonly shard?: number;
  /** Number of the rule that made it. */
  readonly rule?: number;
  /** Where it was imported from. */
  readonly imported?: ImportedFrom;
}

/** What {@linkcode RowColumns} gives of a frame. */
export type FrameColumns = Pick<
  RowFrame,
  | "rows"
  | "columns"
  | "timesUs"
  | "shards"
  | "rules"
  | "advance"
  | "imported"
  | "strings"
  | "payloadLength"
>;

const ROWS_START = 256;
const PAYLOAD_BYTES_START = 16 * 1024;

/** Rows of one frame. */
export class RowColumns {
  #rowsMax = ROWS_START;
  #payload = new Uint8Array(PAYLOAD_BYTES_START);
  #columns: KernelColumns = kernelColumns(
    new ArrayBuffer(ROWS_START * ROW_BYTES),
    ROWS_START,
    this.#payload,
  );
  #timesUs = new Float64Array(ROWS_START);
  #shards = new Uint8Array(ROWS_START);
  #rules = new Int32Array(ROWS_START);
  #advance = new Int32Array(ROWS_START);
  #idLow = new Int32Array(ROWS_START);
  #idHigh = new Int32Array(ROWS_START);
  #importedEpoch = new Int32Array(ROWS_START);
  #strings: string[] = [""];
  #numbers = new Map<string, number>([["", 0]]);
  #stringBytes = 0;
  #rows = 0;
  #payloadLength = 0;
  #hasTimes = false;
  #hasShards = false;
  #hasRules = false;
  #hasAdvance = false;
  #hasImported = false;

  /** Rows so far. */
  get rows(): number {
    return this.#rows;
  }

  /** Bytes of payload and strings so far, about. */
  get byteLength(): number {
    return this.#payloadLength + this.#stringBytes;
  }

  /** Whether the next row may need a frame of its own. */
  get isFull(): boolean {
    return this.#rows >= BATCH_ROWS_MAX || this.#strings.length > DICTIONARY_STRINGS_MAX - 2;
  }

  /** Forgets all rows and strings. */
  clear(): void {
    this.#strings = [""];
    this.#numbers = new Map([["", 0]]);
    this.#stringBytes = this.#rows = this.#payloadLength = 0;
    this.#hasTimes =
      this.#hasShards =
      this.#hasRules =
      this.#hasAdvance =
      this.#hasImported =
        false;
  }

  /**
   * Adds a row.
   *
   * @throws {MmsbError} `limit` where one frame cannot hold so much.
   */
  push(row: LogRow): void {
    const index = this.#rows, start = alignUp(this.#payloadLength, 4);
    const end = start + row.payload.length;
    if (this.isFull || end > BATCH_PAYLOAD_BYTES_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot put more than ${index} rows and ${this.#payloadLength} bytes in one batch: split it`,
        { values: { rows: index, payloadBytes: this.#payloadLength } },
      );
    }
    if (index === this.#rowsMax) this.#growRows();
    if (end > this.#payload.length) this.#growPayload(end);
    const columns = this.#columns;
    columns.page[index] = row.page;
    columns.offset[index] = row.offset;
    columns.length[index] = row.length;
    columns.start[index] = start;
    columns.kind[index] = row.kind;
    columns.epoch[index] = lowHalf(row.epoch ?? 0);
    columns.source[index] = this.#intern(row.source ?? "");
    columns.intent[index] = this.#intern(row.intent ?? "");
    this.#payload.fill(0, this.#payloadLength, start);
    this.#payload.set(row.payload, start);
    this.#timesUs[index] = row.timeUs ?? NaN;
    this.#shards[index] = row.shard ?? 0;
    this.#rules[index] = row.rule ?? 0;
    this.#advance[index] = row.advance ?? 1;
    this.#idLow[index] = row.imported?.idLow ?? 0;
    this.#idHigh[index] = row.imported?.idHigh ?? 0;
    this.#importedEpoch[index] = row.imported?.epoch ?? 0;
    this.#hasTimes ||= row.timeUs !== undefined;
    this.#hasShards ||= (row.shard ?? 0) !== 0;
    this.#hasRules ||= (row.rule ?? 0) !== 0;
    this.#hasAdvance ||= (row.advance ?? 1) !== 1;
    this.#hasImported ||= row.imported !== undefined;
    this.#payloadLength = end;
    this.#rows = index + 1;
  }

  /** The rows as a frame has them; good until the next row. */
  frame(): FrameColumns {
    return {
      rows: this.#rows,
      columns: this.#columns,
      ...(this.#hasTimes ? { timesUs: this.#timesUs } : {}),
      ...(this.#hasShards ? { shards: this.#shards } : {}),
      ...(this.#hasRules ? { rules: this.#rules } : {}),
      ...(this.#hasAdvance ? { advance: this.#advance } : {}),
      ...(this.#hasImported
        ? { imported: { idLow: this.#idLow, idHigh: this.#idHigh, epoch: this.#importedEpoch } }
        : {}),
      strings: this.#strings,
      payloadLength: this.#payloadLength,
    };
  }

  #intern(text: string): number {
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    const number = this.#strings.push(text) - 1;
    this.#numbers.set(text, number);
    this.#stringBytes += 8 + 3 * text.length;
    return number;
  }

  #growRows(): void {
    const old = this.#columns, rows = 2 * this.#rowsMax;
    this.#rowsMax = rows;
    this.#columns = kernelColumns(new ArrayBuffer(rows * ROW_BYTES), rows, this.#payload);
    for (
      const name of [
        "page",
        "offset",
        "length",
        "start",
        "kind",
        "epoch",
        "source",
        "intent",
      ] as const
    ) this.#columns[name].set(old[name]);
    this.#timesUs = copied(new Float64Array(rows), this.#timesUs);
    this.#shards = copied(new Uint8Array(rows), this.#shards);
    this.#rules = copied(new Int32Array(rows), this.#rules);
    this.#advance = copied(new Int32Array(rows), this.#advance);
    this.#idLow = copied(new Int32Array(rows), this.#idLow);
    this.#idHigh = copied(new Int32Array(rows), this.#idHigh);
    this.#importedEpoch = copied(new Int32Array(rows), this.#importedEpoch);
  }

  #growPayload(needed: number): void {
    let size = this.#payload.length;
    while (size < needed) size *= 2;
    this.#payload = copied(new Uint8Array(size), this.#payload);
    this.#columns = {
      ...this.#columns,
      payloadBytes: this.#payload,
      payloadWords: new Int32Array(this.#payload.buffer, 0, size >>> 2),
    };
  }
}

/** The low 32 bits of a whole number below 2^53, signed. */
export function lowHalf(value: number): number {
  return value % 2 ** 32 | 0;
}

function copied<T extends { set(source: T): void }>(target: T, source: T): T {
  target.set(source);
  return target;
}
