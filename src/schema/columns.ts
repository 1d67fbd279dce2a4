/**
 * Columns: many values of one field at once.
 *
 * A typed array of the column's own kind is used as it stands, without a copy and without a look at
 * its values, as every bit pattern is one; anything else is checked value by value and copied.
 *
 * @module
 */

import { BATCH_PAYLOAD_BYTES_MAX, MmsbError } from "../base/mod.ts";
import { checkScalar, encodeValue } from "./codec.ts";
import { type FieldType, type ScalarType, TYPE_CODE, typeName } from "./field_type.ts";
import type { Field, Fields } from "./schema.ts";

/** The typed array of a numeric column; bools are bytes of 0 and 1. */
export type ColumnOf<T> = T extends "i8" ? Int8Array
  : T extends "u8" | "bool" ? Uint8Array
  : T extends "i16" ? Int16Array
  : T extends "u16" ? Uint16Array
  : T extends "i32" ? Int32Array
  : T extends "u32" ? Uint32Array
  : T extends "i64" ? BigInt64Array
  : T extends "u64" ? BigUint64Array
  : T extends "f32" ? Float32Array
  : T extends "f64" ? Float64Array
  : never;

/** What a column's new values may come in. */
export type ColumnInput<T extends FieldType> =
  | ColumnOf<T>
  | (T extends "i64" | "u64" ? readonly bigint[] | BigInt64Array | BigUint64Array
    : T extends "bool" ? readonly boolean[]
    : T extends { readonly type: "bytes" } ? readonly Uint8Array[]
    : T extends { readonly type: "utf8" } ? readonly string[]
    : readonly number[] | NumberArray);

/** Typed arrays of numbers. */
export type NumberArray =
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array;

/** New rows, column by column. */
export type ColumnsInput<F extends Fields> = { readonly [K in keyof F]: ColumnInput<F[K]> };

/** Names of the columns that are typed arrays. */
export type NumericKey<F extends Fields> =
  & { [K in keyof F]: Extract<F[K], ScalarType> extends never ? never : K }[keyof F]
  & string;

/** Any typed array of a column. */
export type ColumnArray = ColumnOf<FieldType>;

type ColumnConstructor = {
  new (length: number): ColumnArray;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): ColumnArray;
};

const CONSTRUCTORS: readonly (ColumnConstructor | undefined)[] = [
  undefined,
  Int8Array,
  Uint8Array,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  BigInt64Array,
  BigUint64Array,
  Float32Array,
  Float64Array,
  Uint8Array,
];

/** The typed array of a column, `undefined` for bytes and text. */
export function columnConstructor(field: Field): ColumnConstructor | undefined {
  return CONSTRUCTORS[field.code];
}

/**
 * The bytes of many values, one after the other.
 *
 * @param field The column.
 * @param values A typed array of the column's kind, or an array (of any kind) of values.
 * @returns The bytes; those of a typed array of the column's kind are its own.
 * @throws {MmsbError} `usage` for what is no array, or one whose buffer was transferred; `limit` for more
 * than a batch takes; otherwise as {@linkcode encodeValue}.
 */
export function encodeColumn(field: Field, values: unknown): Uint8Array {
  const own = columnConstructor(field);
  const isTyped = ArrayBuffer.isView(values) && !(values instanceof DataView);
  if (isTyped && (values.buffer as ArrayBuffer).detached) refuseDetached(field);
  if (isTyped && own !== undefined && field.code !== TYPE_CODE.bool && values instanceof own) {
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  }
  if (!Array.isArray(values) && !isTyped) {
    throw new MmsbError(
      "usage",
      `Cannot use the values of column "${field.name}" as they are no array: it is ${
        typeName(field.type)
      }, give ${own === undefined ? "an array" : `a ${own.name} or an array`}`,
      { values: { column: field.name } },
    );
  }
  const list = values as ArrayLike<unknown>, count = list.length;
  if (count * field.width > BATCH_PAYLOAD_BYTES_MAX) refuseMany(field, count);
  if (field.code === TYPE_CODE.bool && values instanceof Uint8Array) {
    return checkBits(field, values);
  }
  if (own !== undefined) {
    const column = new own(count);
    for (let row = 0; row < count; row++) column[row] = checkScalar(field, list[row], row);
    return new Uint8Array(column.buffer);
  }
  const target = new Uint8Array(count * field.width);
  for (let row = 0; row < count; row++) {
    target.set(encodeValue(field, list[row], row), row * field.width);
  }
  return target;
}

/** An array whose buffer went elsewhere has no values any more, which must not pass for no rows. */
function refuseDetached(field: Field): never {
  throw new MmsbError(
    "usage",
    `Cannot use the values of column "${field.name}" as their buffer was transferred: give a copy`,
    { values: { column: field.name } },
  );
}

/** More than a batch takes is refused before memory is asked for. */
function refuseMany(field: Field, count: number): never {
  throw new MmsbError(
    "limit",
    `Cannot use ${count} values of column "${field.name}" at once: append fewer rows at a time`,
    { values: { column: field.name, count, bytesMax: BATCH_PAYLOAD_BYTES_MAX } },
  );
}

/** Bools as bytes must be 0 or 1, as no other byte would come back as it was. */
function checkBits(field: Field, values: Uint8Array): Uint8Array {
  for (let row = 0; row < values.length; row++) {
    if (values[row] > 1) {
      throw new MmsbError(
        "usage",
        `Cannot use ${values[row]} as "${field.name}" of row ${row}: give 0 or 1, or booleans`,
        { values: { column: field.name, row, value: values[row] } },
      );
    }
  }
  return values;
}
