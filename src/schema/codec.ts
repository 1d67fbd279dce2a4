/**
 * Codec: one value of a field, checked and as bytes, and back out of a page.
 *
 * Encoding fills one scratch cell and hands out a view of it, decoding reads the arena's words, so
 * neither allocates for numbers. A value of the wrong type or out of range is refused, never
 * wrapped, cut or rounded to something else; single floats are rounded, as that is what they are.
 *
 * Cost: a few nanoseconds for numbers; fixed bytes and text allocate their array or string.
 *
 * @module
 */

import { checkInteger, decodeUtf8, encodeUtf8, isBytes, MmsbError } from "../base/mod.ts";
import { ADDRESS_BYTES, type Arena, REGION_SHIFT } from "../physical/mod.ts";
import { TYPE_CODE, typeName, UTF8_LENGTH_BYTES } from "./field_type.ts";
import type { Field } from "./schema.ts";

const cell = new ArrayBuffer(8);
const cellBytes = new Uint8Array(cell);
const cell1 = new Uint8Array(cell, 0, 1);
const cell2 = new Uint8Array(cell, 0, 2);
const cell4 = new Uint8Array(cell, 0, 4);
const int32 = new Int32Array(cell);
const uint16 = new Uint16Array(cell);
const float32 = new Float32Array(cell);
const float64 = new Float64Array(cell);
const int64 = new BigInt64Array(cell);
const uint64 = new BigUint64Array(cell);

/** Smallest values of the integer types, by code. */
const INTEGER_MIN: readonly number[] = [0, -128, 0, -32_768, 0, -(2 ** 31), 0];
/** Largest values of the integer types, by code. */
const INTEGER_MAX: readonly number[] = [
  0,
  127,
  255,
  32_767,
  65_535,
  2 ** 31 - 1,
  2 ** 32 - 1,
];

/** What a value is, for messages: `"bid"`, or `"bid" of row 3`. */
function what(field: Field, row: number): string {
  return row < 0 ? `"${field.name}"` : `"${field.name}" of row ${row}`;
}

/**
 * A number, bigint or bool as its column's array holds it.
 *
 * @param field The field; not of bytes or text.
 * @param value The value; checked.
 * @param row Index of the value in a column, for messages; −1 for none.
 * @throws {MmsbError} `usage` for a value of another type, `out-of-bounds` for one out of range.
 */
export function checkScalar(field: Field, value: unknown, row = -1): number | bigint {
  const { code } = field;
  if (code <= TYPE_CODE.u32) return checkWhole(field, value, row);
  switch (code) {
    case TYPE_CODE.f64:
      if (typeof value !== "number") refuseType(field, value, row, "a number");
      return value;
    case TYPE_CODE.f32:
      return checkSingle(field, value, row);
    case TYPE_CODE.i64:
      return checkBig(field, value, row, -(2n ** 63n), 2n ** 63n - 1n);
    case TYPE_CODE.u64:
      return checkBig(field, value, row, 0n, 2n ** 64n - 1n);
    default:
      if (typeof value !== "boolean") refuseType(field, value, row, "true or false");
      return value ? 1 : 0;
  }
}

/**
 * A value's bytes, good until the next call.
 *
 * @param field The field.
 * @param value The value; checked.
 * @param row Index of the value in a column, for messages; −1 for none.
 * @throws {MmsbError} `usage` for a value of another type, `out-of-bounds` for a number out of
 * range, `limit` for text that is too long.
 */
export function encodeValue(field: Field, value: unknown, row = -1): Uint8Array {
  const { code, width } = field;
  if (code === TYPE_CODE.bytes) return checkFixed(field, value, row);
  if (code === TYPE_CODE.utf8) return encodeText(field, value, row);
  const scalar = checkScalar(field, value, row);
  if (typeof scalar === "bigint") uint64[0] = scalar;
  else if (code === TYPE_CODE.f64) float64[0] = scalar;
  else if (code === TYPE_CODE.f32) float32[0] = scalar;
  else int32[0] = scalar; // The low bytes are the same, signed or not.
  return width === 8 ? cellBytes : width === 4 ? cell4 : width === 2 ? cell2 : cell1;
}

function checkWhole(field: Field, value: unknown, row: number): number {
  const { code } = field;
  const isInteger = typeof value === "number" && Math.floor(value) === value;
  if (!isInteger || value < INTEGER_MIN[code] || value > INTEGER_MAX[code]) {
    return checkInteger(what(field, row), value, INTEGER_MIN[code], INTEGER_MAX[code]);
  }
  return value;
}

function checkSingle(field: Field, value: unknown, row: number): number {
  if (typeof value !== "number") refuseType(field, value, row, "a number");
  if (Number.isFinite(value) && !Number.isFinite(Math.fround(value))) {
    throw new MmsbError(
      "out-of-bounds",
      `Cannot use ${value} as ${what(field, row)}: it is past what f32 can hold`,
      { values: { field: field.name, value } },
    );
  }
  return value;
}

function checkBig(field: Field, value: unknown, row: number, min: bigint, max: bigint): bigint {
  if (typeof value !== "bigint") refuseType(field, value, row, "a bigint");
  if (value < min || value > max) {
    throw new MmsbError(
      "out-of-bounds",
      `Cannot use a bigint past ${typeName(field.type)} as ${
        what(field, row)
      }: give ${min} to ${max}`,
      { values: { field: field.name, min, max } },
    );
  }
  return value;
}

function checkFixed(field: Field, value: unknown, row: number): Uint8Array {
  if (!isBytes(value)) refuseType(field, value, row, "a Uint8Array");
  if (value.length !== field.bound) {
    throw new MmsbError(
      "usage",
      `Cannot use ${value.length} bytes as ${what(field, row)}: it is ${typeName(field.type)}`,
      { values: { field: field.name, bytes: value.length, length: field.bound } },
    );
  }
  return value;
}

function encodeText(field: Field, value: unknown, row: number): Uint8Array {
  if (typeof value !== "string") refuseType(field, value, row, "a string");
  const text = encodeUtf8(what(field, row), value, field.bound);
  const bytes = new Uint8Array(field.width);
  uint16[0] = text.length;
  bytes.set(cell2);
  bytes.set(text, UTF8_LENGTH_BYTES);
  return bytes;
}

function refuseType(field: Field, value: unknown, row: number, wanted: string): never {
  const given = typeof value === "object" && value !== null
    ? `an object (${value.constructor?.name ?? "no prototype"})`
    : value === null || value === undefined
    ? String(value)
    : `a value of type ${typeof value}`;
  throw new MmsbError(
    "usage",
    `Cannot use ${given} as ${what(field, row)}: it is ${typeName(field.type)}, give ${wanted}`,
    { values: { field: field.name, value } },
  );
}

/** The value of a field that was never set. */
export function zeroValue(field: Field): unknown {
  switch (field.code) {
    case TYPE_CODE.i64:
    case TYPE_CODE.u64:
      return 0n;
    case TYPE_CODE.bool:
      return false;
    case TYPE_CODE.bytes:
      return new Uint8Array(field.bound);
    case TYPE_CODE.utf8:
      return "";
    default:
      return 0;
  }
}

/** What of an arena a value is read from. */
export type ReadableArena = Pick<Arena, "words" | "doubles" | "region">;

/**
 * Reads a value out of a slot; the span was checked.
 *
 * @param field The field.
 * @param arena The pages.
 * @param slot Address of the page's slot.
 * @param offset First byte of the value in the page.
 * @throws {MmsbError} `usage` where bytes that were written past the schema are no text.
 */
export function readValue(
  field: Field,
  arena: ReadableArena,
  slot: number,
  offset: number,
): unknown {
  const { code } = field;
  if (code === TYPE_CODE.f64) return arena.doubles[(slot << 1) + (offset >>> 3)];
  if (code > TYPE_CODE.u32) return readOther(field, arena, slot, offset);
  // Up to the top of the word and down again; the codes of the signed types are odd.
  const rest = 32 - (field.width << 3);
  const high = arena.words[(slot << 2) + (offset >>> 2)] << rest - ((offset & 3) << 3);
  return (code & 1) === 1 ? high >> rest : high >>> rest;
}

/** All types but f64 and the small integers; apart, so that reading those is compiled into its callers. */
function readOther(field: Field, arena: ReadableArena, slot: number, offset: number): unknown {
  const { code } = field, at = (slot << 2) + (offset >>> 2);
  switch (code) {
    case TYPE_CODE.f32:
      int32[0] = arena.words[at];
      return float32[0];
    case TYPE_CODE.bool:
      return (arena.words[at] >>> ((offset & 3) << 3) & 0xff) !== 0;
    case TYPE_CODE.i64:
    case TYPE_CODE.u64:
      int32[0] = arena.words[at];
      int32[1] = arena.words[at + 1];
      return code === TYPE_CODE.i64 ? int64[0] : uint64[0];
    default:
      return readBytes(field, arena, slot, offset);
  }
}

function readBytes(field: Field, arena: ReadableArena, slot: number, offset: number): unknown {
  const region = arena.region(slot >>> REGION_SHIFT);
  const first = (slot & (1 << REGION_SHIFT) - 1) * ADDRESS_BYTES + offset;
  if (field.code === TYPE_CODE.bytes) return region.slice(first, first + field.bound);
  const length = region[first] | region[first + 1] << 8;
  if (length === 0) return "";
  const start = first + UTF8_LENGTH_BYTES;
  if (length > field.bound) {
    throw new MmsbError(
      "usage",
      `Cannot read "${field.name}" as its length is ${length}: it was not written as ${
        typeName(field.type)
      }`,
      { values: { field: field.name, length, bound: field.bound } },
    );
  }
  return decodeUtf8(`text of "${field.name}"`, region.slice(start, start + length));
}
