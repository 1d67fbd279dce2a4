/**
 * Column codec: the shortest of five plain forms for each column of a frame.
 *
 * A page of a hot set needs 2 bytes instead of 4, a length that never changes none at all, so that a
 * delta of 16 bytes takes some 22 bytes of log. The forms are ones that a loop without branches
 * reads and writes; nothing here is entropy coding.
 *
 * Cost: 1 to 1.5 ns a value to find the form and write it, 0.5 ns to read.
 *
 * @module
 */

import { ENCODING } from "./format.ts";

/** A column of whole numbers; all arithmetic is modulo 2^32. */
export type WholeColumn = Int32Array | Uint16Array | Uint8Array;

/** What {@linkcode planColumn} found. */
export interface ColumnPlan {
  /** One of {@linkcode ENCODING}. */
  readonly encoding: number;
  /** Smallest value, the constant, or the first value. */
  readonly base: number;
  /** Step of a delta column. */
  readonly step: number;
  /** Bytes of the section. */
  readonly bytes: number;
}

/**
 * Finds the shortest form of a column.
 *
 * The loops are written once for each width of column, because a loop that meets typed arrays of
 * several kinds dispatches on the kind at every element (measured: 3 to 5 times slower).
 *
 * @param column The column.
 * @param rows Its length, at least 1.
 */
export function planColumn(column: WholeColumn, rows: number): ColumnPlan {
  const constant = column instanceof Int32Array
    ? isConstant32(column, rows)
    : column instanceof Uint16Array
    ? isConstant16(column, rows)
    : isConstant8(column, rows);
  if (constant) return { encoding: ENCODING.constant, base: column[0], step: 0, bytes: 8 };
  return planWide(
    column instanceof Int32Array ? column : Int32Array.from(column.subarray(0, rows)),
    rows,
  );
}

function isConstant32(column: Int32Array, rows: number): boolean {
  const first = column[0];
  for (let i = 1; i < rows; i++) if (column[i] !== first) return false;
  return true;
}

function isConstant16(column: Uint16Array, rows: number): boolean {
  const first = column[0];
  for (let i = 1; i < rows; i++) if (column[i] !== first) return false;
  return true;
}

function isConstant8(column: Uint8Array, rows: number): boolean {
  const first = column[0];
  for (let i = 1; i < rows; i++) if (column[i] !== first) return false;
  return true;
}

function planWide(column: Int32Array, rows: number): ColumnPlan {
  const first = column[0], step = column[1] - first | 0;
  let regular = 1;
  while (regular < rows && (column[regular] - column[regular - 1] | 0) === step) regular++;
  if (regular === rows) return { encoding: ENCODING.delta, base: first, step, bytes: 8 };
  let min = first, max = first;
  for (let i = 1; i < rows; i++) {
    // Twice as fast as comparing: the engine has an instruction for each.
    min = Math.min(min, column[i]);
    max = Math.max(max, column[i]);
  }
  const range = max - min;
  if (range <= 0xff) return { encoding: ENCODING.narrow8, base: min, step: 0, bytes: 8 + rows };
  if (range <= 0xffff) {
    return { encoding: ENCODING.narrow16, base: min, step: 0, bytes: 8 + 2 * rows };
  }
  return { encoding: ENCODING.raw, base: 0, step: 0, bytes: 4 * rows };
}

/**
 * Writes a column in the planned form.
 *
 * @param plan The plan of this column.
 * @param column The column.
 * @param rows Its length.
 * @param buffer Where to write.
 * @param at First byte, a multiple of 8.
 */
export function writeColumn(
  plan: ColumnPlan,
  column: WholeColumn,
  rows: number,
  buffer: ArrayBufferLike,
  at: number,
): void {
  if (plan.encoding === ENCODING.raw) {
    new Int32Array(buffer, at, rows).set(column.subarray(0, rows));
    return;
  }
  const head = new Int32Array(buffer, at, 2);
  head[0] = plan.base;
  head[1] = plan.step;
  if (plan.encoding === ENCODING.narrow8) {
    const out = new Uint8Array(buffer, at + 8, rows);
    narrow8(
      column instanceof Int32Array ? column : Int32Array.from(column.subarray(0, rows)),
      rows,
      plan.base,
      out,
    );
  } else if (plan.encoding === ENCODING.narrow16) {
    const out = new Uint16Array(buffer, at + 8, rows);
    narrow16(
      column instanceof Int32Array ? column : Int32Array.from(column.subarray(0, rows)),
      rows,
      plan.base,
      out,
    );
  }
}

function narrow8(column: Int32Array, rows: number, base: number, out: Uint8Array): void {
  for (let i = 0; i < rows; i++) out[i] = column[i] - base;
}

function narrow16(column: Int32Array, rows: number, base: number, out: Uint16Array): void {
  for (let i = 0; i < rows; i++) out[i] = column[i] - base;
}

/** Whether a section of `length` bytes holds `rows` values in an encoding. */
export function fitsRows(encoding: number, length: number, rows: number): boolean {
  switch (encoding) {
    case ENCODING.raw:
      return length === 4 * rows;
    case ENCODING.constant:
    case ENCODING.delta:
      return length === 8;
    case ENCODING.narrow8:
      return length === 8 + rows;
    case ENCODING.narrow16:
      return length === 8 + 2 * rows;
    default:
      return false;
  }
}

/**
 * Reads a column.
 *
 * @param encoding One of {@linkcode ENCODING}.
 * @param buffer Bytes of the frame's segment.
 * @param at First byte of the section, a multiple of 8 of the buffer.
 * @param length Bytes of the section.
 * @param rows Rows of the frame.
 * @param target Where the values go.
 * @returns Whether the section fits its form and the rows.
 */
export function readColumn(
  encoding: number,
  buffer: ArrayBuffer,
  at: number,
  length: number,
  rows: number,
  target: WholeColumn,
): boolean {
  if (!fitsRows(encoding, length, rows)) return false;
  if (encoding === ENCODING.constant) {
    target.fill(new Int32Array(buffer, at, 1)[0], 0, rows);
  } else if (target instanceof Int32Array) {
    readWide(encoding, buffer, at, rows, target);
  } else {
    const wide = new Int32Array(rows);
    readWide(encoding, buffer, at, rows, wide);
    target.set(wide);
  }
  return true;
}

function readWide(
  encoding: number,
  buffer: ArrayBuffer,
  at: number,
  rows: number,
  target: Int32Array,
): void {
  if (encoding === ENCODING.raw) {
    target.set(new Int32Array(buffer, at, rows));
    return;
  }
  const head = new Int32Array(buffer, at, 2);
  if (encoding === ENCODING.narrow8) {
    widen8(new Uint8Array(buffer, at + 8, rows), head[0], rows, target);
  } else if (encoding === ENCODING.narrow16) {
    widen16(new Uint16Array(buffer, at + 8, rows), head[0], rows, target);
  } else {
    countUp(head[0], head[1], rows, target);
  }
}

function widen8(values: Uint8Array, base: number, rows: number, target: Int32Array): void {
  for (let i = 0; i < rows; i++) target[i] = values[i] + base;
}

function widen16(values: Uint16Array, base: number, rows: number, target: Int32Array): void {
  for (let i = 0; i < rows; i++) target[i] = values[i] + base;
}

function countUp(first: number, step: number, rows: number, target: Int32Array): void {
  let value = first;
  for (let i = 0; i < rows; i++) {
    target[i] = value;
    value = value + step | 0;
  }
}

/**
 * Reads one value of a column whose section fits its form and rows ({@linkcode fitsRows}).
 *
 * @param encoding One of {@linkcode ENCODING}.
 * @param view The buffer that the column is in.
 * @param at First byte of the section.
 * @param row The row.
 * @returns The value modulo 2^32, signed.
 */
export function valueAt(
  encoding: number,
  view: DataView<ArrayBuffer>,
  at: number,
  row: number,
): number {
  switch (encoding) {
    case ENCODING.raw:
      return view.getInt32(at + 4 * row, true);
    case ENCODING.constant:
      return view.getInt32(at, true);
    case ENCODING.narrow8:
      return view.getInt32(at, true) + view.getUint8(at + 8 + row) | 0;
    case ENCODING.narrow16:
      return view.getInt32(at, true) + view.getUint16(at + 8 + 2 * row, true) | 0;
    default:
      return view.getInt32(at, true) + Math.imul(view.getInt32(at + 4, true), row) | 0;
  }
}

const NONE_32 = 0xffff_ffff;

/** The form of a column of times; `undefined` where every one is "none" (NaN). */
export function planTimes(column: Float64Array, rows: number): ColumnPlan | undefined {
  let min = Infinity, max = -Infinity, whole = true;
  for (let i = 0; i < rows; i++) {
    const value = column[i];
    if (Number.isNaN(value)) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
    whole = whole && Number.isInteger(value) && !Object.is(value, -0);
  }
  if (min > max) return undefined;
  if (whole && max - min < NONE_32) {
    return { encoding: ENCODING.narrow32, base: min, step: 0, bytes: 8 + 4 * rows };
  }
  return { encoding: ENCODING.raw, base: 0, step: 0, bytes: 8 * rows };
}

/** Writes a column of times in the planned form. */
export function writeTimes(
  plan: ColumnPlan,
  column: Float64Array,
  rows: number,
  buffer: ArrayBufferLike,
  at: number,
): void {
  if (plan.encoding === ENCODING.raw) {
    new Float64Array(buffer, at, rows).set(column.subarray(0, rows));
    return;
  }
  new Float64Array(buffer, at, 1)[0] = plan.base;
  const out = new Uint32Array(buffer, at + 8, rows);
  for (let i = 0; i < rows; i++) {
    out[i] = Number.isNaN(column[i]) ? NONE_32 : column[i] - plan.base;
  }
}

/** Reads a column of times; `undefined` where the section does not fit. */
export function readTimes(
  encoding: number,
  buffer: ArrayBuffer,
  at: number,
  length: number,
  rows: number,
): Float64Array | undefined {
  if (encoding === ENCODING.raw && length === 8 * rows) {
    return new Float64Array(buffer, at, rows).slice();
  }
  if (encoding !== ENCODING.narrow32 || length !== 8 + 4 * rows) return undefined;
  const times = new Float64Array(rows);
  const base = new Float64Array(buffer, at, 1)[0];
  const values = new Uint32Array(buffer, at + 8, rows);
  for (let i = 0; i < rows; i++) times[i] = values[i] === NONE_32 ? NaN : base + values[i];
  return times;
}

/** Whether a section of `length` bytes holds `rows` times in an encoding. */
export function fitsTimes(encoding: number, length: number, rows: number): boolean {
  if (encoding === ENCODING.raw) return length === 8 * rows;
  return encoding === ENCODING.narrow32 && length === 8 + 4 * rows;
}

/** Reads one time of a column whose section fits; NaN for none. */
export function timeAt(
  encoding: number,
  view: DataView<ArrayBuffer>,
  at: number,
  row: number,
): number {
  if (encoding === ENCODING.raw) return view.getFloat64(at + 8 * row, true);
  const value = view.getUint32(at + 8 + 4 * row, true);
  return value === NONE_32 ? NaN : view.getFloat64(at, true) + value;
}
