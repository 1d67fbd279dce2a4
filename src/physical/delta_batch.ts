/**
 * Delta batch: many deltas in columns, the unit that is queued, logged, applied and replicated.
 *
 * One shared buffer holds the columns, the scratch columns that the bus resolves rows into, and
 * the payload pool, so a batch moves between threads without a copy and is written to the log
 * column by column. Sources and intents are strings told apart by a number; 0 is "none".
 *
 * Cost: 33 bytes a row plus its payload; a push of 16 bytes some 20 ns; nothing is allocated per
 * row. A row becomes an object only when somebody looks at it ({@linkcode DeltaBatch.at}).
 *
 * @module
 */

import {
  alignUp,
  BATCH_PAYLOAD_BYTES_MAX,
  BATCH_ROWS_MAX,
  checkBytes,
  checkInteger,
  checkIterable,
  checkNumber,
  checkType,
  DICTIONARY_STRINGS_MAX,
  encodeUtf8,
  MmsbError,
  SHARDS_MAX,
  STRING_BYTES_MAX,
} from "../base/mod.ts";
import { checkAligned, checkMask, isUint32, refuseLength, refusePayload } from "./_delta_checks.ts";
import {
  combineKind,
  type CombineOperation,
  type CombineType,
  elementBytes,
  isKind,
  KIND_MASKED,
  KIND_SET,
} from "./kind.ts";
import {
  type KernelColumns,
  kernelColumns,
  maskedPayloadBytes,
  ROW_BYTES,
} from "./kernel_columns.ts";

/** Options of {@linkcode DeltaBatch}. */
export interface DeltaBatchOptions {
  /** Most rows; at most 16,777,216. */
  readonly rows: number;
  /** Bytes for payloads; at most 1 GiB. Each payload starts at a multiple of 4. */
  readonly payloadBytes: number;
  /** Whether a full batch grows (by doubling) instead of refusing the row. Default false. */
  readonly growable?: boolean;
}

/** What a row may say beside its bytes. */
export interface DeltaOptions {
  /** Number of an interned source, from {@linkcode DeltaBatch.source}. */
  readonly source?: number;
  /** Number of an interned intent, from {@linkcode DeltaBatch.intent}. */
  readonly intent?: number;
  /** The page's epoch before the batch; the whole batch is refused where it differs. */
  readonly expectedEpoch?: number;
  /** The source's own time in µs since the Unix epoch; without it the bus's time stands. */
  readonly timeUs?: number;
}

/**
 * The columns, for filling without a call a row; then call {@linkcode DeltaBatch.setLength}. New
 * columns are zero; {@linkcode DeltaBatch.clear} leaves what was in them.
 */
export interface DeltaColumns {
  /** Page id. */
  readonly page: Uint32Array;
  /** First byte of the span in the page. */
  readonly offset: Uint32Array;
  /** Bytes of the span. */
  readonly length: Uint32Array;
  /** First byte of the row's payload in the pool. */
  readonly payloadStart: Uint32Array;
  /** Kind: 0 set, 1 masked, others from {@linkcode combineKind}. */
  readonly kind: Uint8Array;
  /** Number of the interned source, 0 for none. */
  readonly source: Uint16Array;
  /** Number of the interned intent, 0 for none. */
  readonly intent: Uint16Array;
}

/** One row as an object. */
export interface DeltaRow {
  /** Page id. */
  readonly page: number;
  /** First byte of the span. */
  readonly offset: number;
  /** Bytes of the span. */
  readonly length: number;
  /** Kind byte. */
  readonly kind: number;
  /** A copy of the payload: the bytes; the mask and the packed bytes; or the operands. */
  readonly payload: Uint8Array;
  /** Source, "" for none. */
  readonly source: string;
  /** Intent, "" for none. */
  readonly intent: string;
  /** The page's epoch that the row expects, if it does. */
  readonly expectedEpoch?: number;
  /** The source's own time in µs since the Unix epoch, if stated. */
  readonly timeUs?: number;
}

/**
 * A batch of deltas in columns.
 *
 * @example Push rows, look at one
 * ```ts
 * import assert from "node:assert/strict";
 * import { DeltaBatch } from "@mmsb/mmsb";
 *
 * const batch = new DeltaBatch({ rows: 1000, payloadBytes: 16_000 });
 * const feed = batch.source("feed-b");
 * batch.push(7, 32, new Uint8Array([1, 2, 3, 4]), feed);
 * batch.combine(7, "f64", "add", 40, 1.5, { source: feed });
 * assert.equal(batch.length, 2);
 * assert.deepEqual([...batch.at(0).payload], [1, 2, 3, 4]);
 * ```
 */
export class DeltaBatch {
  /** The columns, as long as the batch has room for rows. */
  columns!: DeltaColumns;
  /** The payload pool. */
  payload!: Uint8Array;
  /** The pages each row expects an epoch of: the epoch, or NaN for none. Absent if no row does. */
  expectedEpochs: Float64Array | undefined = undefined;
  /** Times stated by sources in µs since the Unix epoch, NaN for none. Absent if no row has one. */
  timesUs: Float64Array | undefined = undefined;
  /** @ignore The columns and scratch columns as the kernels see them. */
  kernel!: KernelColumns;

  #rowsMax: number;
  #payloadMax: number;
  readonly #growable: boolean;
  #length = 0;
  #payloadLength = 0;
  #strings: string[] = [""];
  #numbers = new Map<string, number>([["", 0]]);
  /** @ignore Set by the bus while the batch is in its hands. */
  submitted = false;

  /**
   * Makes an empty batch.
   *
   * @throws {MmsbError} `usage` for options that are no such numbers, `limit` past the limits,
   * `allocation` where memory is short.
   */
  constructor(options: DeltaBatchOptions) {
    const { rows, payloadBytes, growable = false } = checkType("options", options, "object") as
      & object
      & DeltaBatchOptions;
    this.#rowsMax = checkInteger("rows", rows, 1, BATCH_ROWS_MAX, "limit");
    this.#payloadMax = alignUp(
      checkInteger("payloadBytes", payloadBytes, 0, BATCH_PAYLOAD_BYTES_MAX, "limit"),
      8,
    );
    this.#growable = checkType("growable", growable, "boolean");
    this.#layOut(this.#rowsMax, this.#payloadMax);
  }

  /** Rows in the batch. */
  get length(): number {
    return this.#length;
  }

  /** Bytes of the payload pool in use. */
  get payloadLength(): number {
    return this.#payloadLength;
  }

  /** Rows there is room for. */
  get rowsMax(): number {
    return this.#rowsMax;
  }

  /** The interned strings; a row's source and intent are indices into them. */
  get strings(): readonly string[] {
    return this.#strings;
  }

  /**
   * Interns a source.
   *
   * @param name Who makes deltas; at most 65,535 bytes of UTF-8.
   * @returns Its number in this batch, kept by {@linkcode DeltaBatch.clear}.
   * @throws {MmsbError} `usage` if it is no string, `limit` if too long or one too many.
   */
  source(name: string): number {
    return this.#numbers.get(name) ?? this.#intern("source", name);
  }

  /** Interns an intent: why a delta is made, free text or JSON; otherwise as {@linkcode DeltaBatch.source}. */
  intent(text: string): number {
    return this.#numbers.get(text) ?? this.#intern("intent", text);
  }

  /**
   * Adds a row that sets bytes.
   *
   * @param page Page id.
   * @param offset First byte in the page.
   * @param payload The bytes; copied.
   * @param source Number of an interned source, or options.
   * @returns The row's index.
   * @throws {MmsbError} `usage` for wrong types, `out-of-bounds` for numbers that are no page or
   * offset, `limit` where the batch is full. The batch is then as it was.
   */
  push(
    page: number,
    offset: number,
    payload: Uint8Array,
    source: number | DeltaOptions = 0,
  ): number {
    // As isBytes, written out: a push is 20 ns, and a call of it one more.
    const isReal = payload instanceof Uint8Array && ArrayBuffer.isView(payload);
    if (!isReal || payload.length === 0) refusePayload(payload);
    const length = payload.length;
    const row = this.#add(page, offset, length, length, KIND_SET, source);
    const bytes = this.payload, start = this.#payloadLength;
    if (length <= 64) {
      for (let i = 0; i < length; i++) bytes[start + i] = payload[i];
    } else {
      bytes.set(payload, start);
    }
    this.#payloadLength = start + length;
    return row;
  }

  /**
   * Adds a row that sets the bytes whose bit in a mask is set.
   *
   * @param page Page id.
   * @param offset First byte of the span.
   * @param length Bytes of the span.
   * @param mask A bit a byte of the span, lowest bit first; `ceil(length / 8)` bytes.
   * @param packed One byte for each set bit.
   * @param options Source, intent, expected epoch, time.
   * @returns The row's index.
   * @throws {MmsbError} as {@linkcode DeltaBatch.push}; `usage` where mask and bytes disagree.
   */
  pushMasked(
    page: number,
    offset: number,
    length: number,
    mask: Uint8Array,
    packed: Uint8Array,
    options: number | DeltaOptions = 0,
  ): number {
    checkBytes("mask", mask);
    checkBytes("packed bytes", packed);
    checkInteger("length", length, 1, 2 ** 31 - 1);
    checkMask(mask, packed.length, length);
    const maskBytes = mask.length;
    const total = maskBytes + packed.length;
    const row = this.#add(page, offset, length, total, KIND_MASKED, options);
    this.payload.set(mask, this.#payloadLength);
    this.payload.set(packed, this.#payloadLength + maskBytes);
    this.#payloadLength += total;
    return row;
  }

  /**
   * Adds a row that folds a value into what is there.
   *
   * @param page Page id.
   * @param type Element type.
   * @param operation What to do; `or`, `and`, `xor` on integers only.
   * @param offset Byte of the element, a multiple of its width.
   * @param value The operand. Integers are taken modulo 2^32.
   * @param options Source, intent, expected epoch, time.
   * @returns The row's index.
   * @throws {MmsbError} as {@linkcode DeltaBatch.push}; `usage` for a value that is none.
   */
  combine(
    page: number,
    type: CombineType,
    operation: CombineOperation,
    offset: number,
    value: number,
    options: number | DeltaOptions = 0,
  ): number {
    const kind = combineKind(type, operation);
    const width = elementBytes(kind);
    if (typeof value !== "number" || kind >>> 4 <= 2 && !Number.isSafeInteger(value)) {
      const given = typeof value === "number" ? value : `a value of type ${typeof value}`;
      throw new MmsbError(
        "usage",
        `Cannot use ${given} as operand: give a number of type ${type}`,
        {
          values: { value, type },
        },
      );
    }
    checkAligned(offset, width);
    const row = this.#add(page, offset, width, width, kind, options);
    if (type === "f64") operand.setFloat64(0, value, true);
    else if (type === "f32") operand.setFloat32(0, value, true);
    else operand.setInt32(0, value, true);
    for (let i = 0; i < width; i++) this.payload[this.#payloadLength + i] = operand.getUint8(i);
    this.#payloadLength += width;
    return row;
  }

  /**
   * States how much of the columns and the pool was filled directly.
   *
   * @param rows Rows.
   * @param payloadBytes Bytes of the pool.
   * @throws {MmsbError} `limit` past the room of the batch.
   */
  setLength(rows: number, payloadBytes: number): void {
    this.#checkFree();
    checkInteger("rows", rows, 0, this.#rowsMax, "limit");
    this.#payloadLength = checkInteger("payloadBytes", payloadBytes, 0, this.#payloadMax, "limit");
    this.#length = rows;
  }

  /**
   * Makes room for rows to come, in one step: a batch that grows row by row doubles, and copies what
   * it has each time.
   *
   * @param rows Rows to be added.
   * @param payloadBytes Bytes of their payloads, each rounded up to a multiple of 4.
   * @throws {MmsbError} `limit` where the batch cannot hold so much, `allocation` where memory is
   * short. The batch is then as it was.
   */
  reserve(rows: number, payloadBytes: number): void {
    checkInteger("rows", rows, 0, BATCH_ROWS_MAX, "limit");
    checkInteger("payloadBytes", payloadBytes, 0, BATCH_PAYLOAD_BYTES_MAX, "limit");
    const rowsNeeded = this.#length + rows;
    const payloadNeeded = (this.#payloadLength + 3 & ~3) + payloadBytes;
    if (rowsNeeded > this.#rowsMax || payloadNeeded > this.#payloadMax) {
      this.#makeRoom(rowsNeeded, payloadNeeded);
    }
  }

  /** Makes room for optional columns, so that they can be filled directly: NaN says "none". */
  expectEpochs(): Float64Array {
    return this.expectedEpochs ??= new Float64Array(this.#rowsMax).fill(NaN);
  }

  /** Makes room for the sources' own times, µs since the Unix epoch, NaN for none. */
  stateTimes(): Float64Array {
    return this.timesUs ??= new Float64Array(this.#rowsMax).fill(NaN);
  }

  /** Empties the batch for reuse; interned strings keep their numbers. */
  clear(): void {
    this.#checkFree();
    this.#length = 0;
    this.#payloadLength = 0;
    this.expectedEpochs = undefined;
    this.timesUs = undefined;
  }

  /** Forgets interned strings; only an empty batch can. */
  clearStrings(): void {
    this.#checkFree();
    if (this.#length !== 0) {
      throw new MmsbError(
        "usage",
        "Cannot forget the strings of a batch with rows: clear it first",
      );
    }
    this.#strings = [""];
    this.#numbers = new Map([["", 0]]);
  }

  /** Row `index` as an object with a copy of its payload. */
  at(index: number): DeltaRow {
    checkInteger("row", index, 0, this.#length - 1);
    const { columns } = this;
    const start = columns.payloadStart[index];
    const bytes = this.payloadBytesOf(index);
    const expected = this.expectedEpochs?.[index], timeUs = this.timesUs?.[index];
    return {
      page: columns.page[index],
      offset: columns.offset[index],
      length: columns.length[index],
      kind: columns.kind[index],
      payload: this.payload.slice(start, start + bytes),
      source: this.#strings[columns.source[index]] ?? "",
      intent: this.#strings[columns.intent[index]] ?? "",
      ...(expected === undefined || Number.isNaN(expected) ? {} : { expectedEpoch: expected }),
      ...(timeUs === undefined || Number.isNaN(timeUs) ? {} : { timeUs }),
    };
  }

  /** Bytes of row `index`'s payload: the span, or mask and packed bytes. */
  payloadBytesOf(index: number): number {
    const length = this.columns.length[index];
    if (this.columns.kind[index] !== KIND_MASKED) return length;
    return maskedPayloadBytes(this.payload, this.columns.payloadStart[index], length);
  }

  /** The rows as objects, one at a time. */
  *[Symbol.iterator](): Generator<DeltaRow> {
    for (let index = 0; index < this.#length; index++) yield this.at(index);
  }

  /** The rows as an array of objects. */
  toRows(): DeltaRow[] {
    return [...this];
  }

  /** A growable batch of `rows`. */
  static from(rows: Iterable<DeltaRow>): DeltaBatch {
    const batch = new DeltaBatch({ rows: 16, payloadBytes: 256, growable: true });
    for (const row of checkIterable("rows", rows)) batch.append(row);
    return batch;
  }

  /** Adds one row given as an object. */
  append(row: DeltaRow): number {
    checkType("row", row, "object");
    checkBytes("payload", row.payload);
    const options: DeltaOptions = {
      source: this.source(row.source),
      intent: this.intent(row.intent),
      expectedEpoch: row.expectedEpoch,
      timeUs: row.timeUs,
    };
    if (row.kind === KIND_SET) {
      if (row.payload.length !== row.length) refuseLength(row);
      return this.push(row.page, row.offset, row.payload, options);
    }
    if (row.kind === KIND_MASKED) {
      const maskBytes = row.length + 7 >>> 3;
      const mask = row.payload.subarray(0, maskBytes), packed = row.payload.subarray(maskBytes);
      return this.pushMasked(row.page, row.offset, row.length, mask, packed, options);
    }
    checkInteger("kind", row.kind, 0, 255);
    if (!isKind(row.kind)) {
      throw new MmsbError("usage", `Cannot use ${row.kind} as kind: there is no such kind`, {
        values: { kind: row.kind },
      });
    }
    if (row.payload.length !== row.length || row.length === 0) refuseLength(row);
    const index = this.#add(row.page, row.offset, row.length, row.length, row.kind, options);
    this.payload.set(row.payload, this.#payloadLength);
    this.#payloadLength += row.length;
    return index;
  }

  /**
   * Adds all rows of another batch, or of this one a second time.
   *
   * @throws {MmsbError} as {@linkcode DeltaBatch.push}; the batch then has the rows that it had.
   */
  extend(other: DeltaBatch): void {
    if (!(other instanceof DeltaBatch)) {
      throw new MmsbError("usage", "Cannot extend by what is no batch: give a DeltaBatch");
    }
    const length = this.#length, payloadLength = this.#payloadLength, rows = other.length;
    try {
      for (let index = 0; index < rows; index++) this.append(other.at(index));
    } catch (error) {
      this.#length = length;
      this.#payloadLength = payloadLength;
      throw error;
    }
  }

  /** Indices of the rows for one page, in order. */
  rowsOf(page: number): number[] {
    const found: number[] = [];
    const column = this.columns.page;
    for (let row = 0; row < this.#length; row++) if (column[row] === page) found.push(row);
    return found;
  }

  /** Indices of the rows that expect an epoch in `[min, max]`. */
  rowsExpecting(min: number, max: number): number[] {
    const found: number[] = [];
    const column = this.expectedEpochs;
    if (column === undefined) return found;
    for (let row = 0; row < this.#length; row++) {
      if (column[row] >= min && column[row] <= max) found.push(row);
    }
    return found;
  }

  /**
   * Rows by shard: a stable counting sort of the row indices.
   *
   * @param shards Number of shards, at most 256.
   * @param shardOf The shard of a page.
   * @returns `order`, the row indices grouped by shard, and `starts`, where each group begins
   * (`shards + 1` entries).
   */
  partition(
    shards: number,
    shardOf: (page: number) => number,
  ): { order: Uint32Array; starts: Uint32Array } {
    checkInteger("shards", shards, 1, SHARDS_MAX, "limit");
    const starts = new Uint32Array(shards + 1), order = new Uint32Array(this.#length);
    const shardOfRow = new Uint8Array(this.#length);
    for (let row = 0; row < this.#length; row++) {
      const shard = checkInteger("shard", shardOf(this.columns.page[row]), 0, shards - 1);
      shardOfRow[row] = shard;
      starts[shard + 1]++;
    }
    for (let shard = 0; shard < shards; shard++) starts[shard + 1] += starts[shard];
    const next = starts.slice();
    for (let row = 0; row < this.#length; row++) order[next[shardOfRow[row]]++] = row;
    return { order, starts };
  }

  #add(
    page: number,
    offset: number,
    length: number,
    payloadBytes: number,
    kind: number,
    options: number | DeltaOptions,
  ): number {
    const row = this.#length;
    if (!isUint32(page) || page === 0) checkInteger("page", page, 1, 0xffff_ffff);
    if (!isUint32(offset)) checkInteger("offset", offset, 0, 0xffff_ffff);
    const start = this.#payloadLength + 3 & ~3;
    if (this.submitted || row === this.#rowsMax || start + payloadBytes > this.#payloadMax) {
      this.#makeRoom(row + 1, start + payloadBytes);
    }
    const { kernel } = this;
    if (typeof options === "number") {
      if (!isUint32(options) || options >= this.#strings.length) {
        this.#checkString("source", options);
      }
      kernel.source[row] = options;
      kernel.intent[row] = 0;
    } else {
      this.#setOptions(row, options);
    }
    kernel.page[row] = page;
    kernel.offset[row] = offset;
    kernel.length[row] = length;
    kernel.start[row] = start;
    kernel.kind[row] = kind;
    if (this.expectedEpochs !== undefined && typeof options === "number") {
      this.expectedEpochs[row] = NaN;
    }
    if (this.timesUs !== undefined && typeof options === "number") this.timesUs[row] = NaN;
    this.#payloadLength = start;
    this.#length = row + 1;
    return row;
  }

  #setOptions(row: number, options: DeltaOptions): void {
    const { source = 0, intent = 0, expectedEpoch, timeUs } = checkType(
      "options",
      options,
      "object",
    ) as object & DeltaOptions;
    this.kernel.source[row] = this.#checkString("source", source);
    this.kernel.intent[row] = this.#checkString("intent", intent);
    if (expectedEpoch !== undefined) {
      checkInteger("expectedEpoch", expectedEpoch, 0, Number.MAX_SAFE_INTEGER);
    }
    if (timeUs !== undefined) checkNumber("timeUs", timeUs, -(2 ** 52), 2 ** 52);
    // Nothing is refused from here on, so a refused row leaves no column behind.
    if (expectedEpoch !== undefined) this.expectEpochs();
    if (timeUs !== undefined) this.stateTimes();
    if (this.expectedEpochs !== undefined) this.expectedEpochs[row] = expectedEpoch ?? NaN;
    if (this.timesUs !== undefined) this.timesUs[row] = timeUs ?? NaN;
  }

  #checkString(name: string, number: number): number {
    return checkInteger(`${name} (from batch.${name}())`, number, 0, this.#strings.length - 1);
  }

  #checkFree(): void {
    if (this.submitted) {
      throw new MmsbError(
        "usage",
        "Cannot change a batch while the bus holds it: await its receipt first",
      );
    }
  }

  #makeRoom(rows: number, payloadBytes: number): void {
    this.#checkFree();
    if (!this.#growable || rows > BATCH_ROWS_MAX || payloadBytes > BATCH_PAYLOAD_BYTES_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot add a row to a batch of ${this.#rowsMax} rows and ${this.#payloadMax} payload bytes: submit it, or make it larger`,
        { values: { rows: this.#rowsMax, payloadBytes: this.#payloadMax } },
      );
    }
    const old = this.kernel, oldPayload = this.payload;
    let rowsMax = this.#rowsMax, payloadMax = this.#payloadMax;
    if (rows > rowsMax) rowsMax = Math.min(BATCH_ROWS_MAX, Math.max(2 * rowsMax, rows));
    if (payloadBytes > payloadMax) {
      const doubled = Math.max(256, 2 * payloadMax, alignUp(payloadBytes, 8));
      payloadMax = Math.min(BATCH_PAYLOAD_BYTES_MAX, doubled);
    }
    this.#layOut(rowsMax, payloadMax);
    this.#rowsMax = rowsMax;
    this.#payloadMax = payloadMax;
    for (const name of ["page", "offset", "length", "start", "kind", "source", "intent"] as const) {
      this.kernel[name].set(old[name].subarray(0, this.#length));
    }
    this.payload.set(oldPayload.subarray(0, this.#payloadLength));
    this.expectedEpochs = lengthened(this.expectedEpochs, this.#rowsMax);
    this.timesUs = lengthened(this.timesUs, this.#rowsMax);
  }

  /** Makes new columns; where memory is short it throws before anything has changed. */
  #layOut(rowsMax: number, payloadMax: number): void {
    const rows = alignUp(rowsMax, 8);
    const bytes = rows * ROW_BYTES + payloadMax;
    let buffer: SharedArrayBuffer;
    try {
      buffer = new SharedArrayBuffer(bytes);
    } catch (cause) {
      throw new MmsbError(
        "allocation",
        `Cannot allocate a batch of ${bytes} bytes: make it smaller`,
        {
          values: { rows, bytes },
          cause,
        },
      );
    }
    const halves = 4 * rows * 7, kindStart = halves + 4 * rows, payloadStart = kindStart + rows;
    this.payload = new Uint8Array(buffer, payloadStart, payloadMax);
    this.kernel = kernelColumns(buffer, rows, this.payload);
    this.columns = {
      page: new Uint32Array(buffer, 0, rowsMax),
      offset: new Uint32Array(buffer, 4 * rows, rowsMax),
      length: new Uint32Array(buffer, 8 * rows, rowsMax),
      payloadStart: new Uint32Array(buffer, 12 * rows, rowsMax),
      kind: new Uint8Array(buffer, kindStart, rowsMax),
      source: new Uint16Array(buffer, halves, rowsMax),
      intent: new Uint16Array(buffer, halves + 2 * rows, rowsMax),
    };
  }

  #intern(what: string, text: string): number {
    checkType(what, text, "string");
    this.#checkFree();
    encodeUtf8(what, text, STRING_BYTES_MAX);
    if (this.#strings.length >= DICTIONARY_STRINGS_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot intern more than ${DICTIONARY_STRINGS_MAX} strings in one batch: submit it first`,
        { values: { strings: this.#strings.length } },
      );
    }
    const number = this.#strings.push(text) - 1;
    this.#numbers.set(text, number);
    return number;
  }
}

const operand = new DataView(new ArrayBuffer(8));

function lengthened(column: Float64Array | undefined, rows: number): Float64Array | undefined {
  if (column === undefined || column.length === rows) return column;
  const longer = new Float64Array(rows).fill(NaN);
  longer.set(column);
  return longer;
}
