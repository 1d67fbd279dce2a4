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
 * @param column The column.
 * @param rows Its length, at least 1.
 */
export function planColumn(column: WholeColumn, rows: number): ColumnPlan {
  const first = column[0];
  const step = rows > 1 ? column[1] - first | 0 : 0;
  let regular = 1;
  while (regular < rows && (column[regular] - column[regular - 1] | 0) === step) regular++;
  if (regular === rows) {
    return step === 0
      ? { encoding: ENCODING.constant, base: first, step: 0, bytes: 8 }
      : { encoding: ENCODING.delta, base: first, step, bytes: 8 };
  }
  let min = first, max = first;
  for (let i = 1; i < rows; i++) {
    const value = column[i];
    min = value < min ? value : min;
    max = value > max ? value : max;
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
  buffer: ArrayBuffer,
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
    narrow(column, rows, plan.base, new Uint8Array(buffer, at + 8, rows));
  } else if (plan.encoding === ENCODING.narrow16) {
    narrow(column, rows, plan.base, new Uint16Array(buffer, at + 8, rows));
  }
}

function narrow(column: WholeColumn, rows: number, base: number, out: Uint8Array | Uint16Array) {
  for (let i = 0; i < rows; i++) out[i] = column[i] - base;
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
  if (encoding === ENCODING.raw) {
    if (length !== 4 * rows) return false;
    const values = new Int32Array(buffer, at, rows);
    for (let i = 0; i < rows; i++) target[i] = values[i];
    return true;
  }
  if (length < 8) return false;
  const head = new Int32Array(buffer, at, 2);
  const base = head[0], step = head[1];
  switch (encoding) {
    case ENCODING.constant:
      target.fill(base, 0, rows);
      return length === 8;
    case ENCODING.narrow8:
      if (length !== 8 + rows) return false;
      widen(new Uint8Array(buffer, at + 8, rows), base, rows, target);
      return true;
    case ENCODING.narrow16:
      if (length !== 8 + 2 * rows) return false;
      widen(new Uint16Array(buffer, at + 8, rows), base, rows, target);
      return true;
    case ENCODING.delta: {
      let value = base;
      for (let i = 0; i < rows; i++) {
        target[i] = value;
        value = value + step | 0;
      }
      return length === 8;
    }
    default:
      return false;
  }
}

function widen(values: Uint8Array | Uint16Array, base: number, rows: number, target: WholeColumn) {
  for (let i = 0; i < rows; i++) target[i] = values[i] + base;
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
  buffer: ArrayBuffer,
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
  const times = new Float64Array(rows);
  if (encoding === ENCODING.raw && length === 8 * rows) {
    times.set(new Float64Array(buffer, at, rows));
    return times;
  }
  if (encoding !== ENCODING.narrow32 || length !== 8 + 4 * rows) return undefined;
  const base = new Float64Array(buffer, at, 1)[0];
  const values = new Uint32Array(buffer, at + 8, rows);
  for (let i = 0; i < rows; i++) times[i] = values[i] === NONE_32 ? NaN : base + values[i];
  return times;
}
