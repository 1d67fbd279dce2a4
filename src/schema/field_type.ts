/**
 * Field types: what one field of a struct or one column of a table holds, and how wide it is.
 *
 * Numbers stand as the machine has them, little endian, at multiples of their width, so that a
 * column is a typed array. Text is bounded and carries its length, so that every string up to the
 * bound comes back as it was; what is left of its room is zero, so equal values are equal bytes.
 *
 * @module
 */

import { checkInteger, FIELD_BYTES_MAX, MmsbError } from "../base/mod.ts";

/** Types of fixed width that are named by a word. */
export type ScalarType =
  | "i8"
  | "u8"
  | "i16"
  | "u16"
  | "i32"
  | "u32"
  | "i64"
  | "u64"
  | "f32"
  | "f64"
  | "bool";

/** Fixed bytes; made by {@linkcode bytes}. */
export interface BytesType {
  /** Always `bytes`. */
  readonly type: "bytes";
  /** Bytes of every value. */
  readonly length: number;
}

/** Bounded text; made by {@linkcode utf8}. */
export interface Utf8Type {
  /** Always `utf8`. */
  readonly type: "utf8";
  /** Most bytes of UTF-8 of a value. */
  readonly bytesMax: number;
}

/** Type of a field. */
export type FieldType = ScalarType | BytesType | Utf8Type;

/** The JavaScript value of a field type: `bigint` for 64-bit integers. */
export type ValueOf<T> = T extends "i64" | "u64" ? bigint
  : T extends "bool" ? boolean
  : T extends ScalarType ? number
  : T extends BytesType ? Uint8Array
  : T extends Utf8Type ? string
  : never;

/** Codes of the types, as schemas store them. */
export const TYPE_CODE = {
  /** 8 bits, signed. */
  i8: 1,
  /** 8 bits. */
  u8: 2,
  /** 16 bits, signed. */
  i16: 3,
  /** 16 bits. */
  u16: 4,
  /** 32 bits, signed. */
  i32: 5,
  /** 32 bits. */
  u32: 6,
  /** 64 bits, signed; a bigint. */
  i64: 7,
  /** 64 bits; a bigint. */
  u64: 8,
  /** IEEE 754 single. */
  f32: 9,
  /** IEEE 754 double. */
  f64: 10,
  /** One byte, 0 or 1. */
  bool: 11,
  /** Fixed bytes. */
  bytes: 12,
  /** u16 length, then UTF-8, then zeros. */
  utf8: 13,
} as const;

/** Scalar types in the order of their codes, which start at 1. */
export const SCALAR_TYPES: readonly ScalarType[] = [
  "i8",
  "u8",
  "i16",
  "u16",
  "i32",
  "u32",
  "i64",
  "u64",
  "f32",
  "f64",
  "bool",
];

const SCALAR_WIDTHS: readonly number[] = [1, 1, 2, 2, 4, 4, 8, 8, 4, 8, 1];
/** Bytes of the length in front of text. */
export const UTF8_LENGTH_BYTES = 2;

/**
 * A field of fixed bytes, as an id or a digest.
 *
 * @param length Bytes of every value, 1 to 65,535.
 * @returns The type.
 * @throws {MmsbError} `usage` where it is no integer, `out-of-bounds` where it is out of range.
 *
 * @example An id of 16 bytes
 * ```ts
 * import assert from "node:assert/strict";
 * import { bytes, struct } from "@mmsb/mmsb";
 *
 * const Order = struct({ id: bytes(16), size: "u32" });
 * assert.equal(Order.byteLength, 20);
 * ```
 */
export function bytes(length: number): BytesType {
  checkInteger("length of a field of bytes", length, 1, FIELD_BYTES_MAX);
  return Object.freeze({ type: "bytes", length });
}

/**
 * A field of text of at most so many bytes of UTF-8.
 *
 * @param bytesMax Most bytes of a value, 1 to 65,535; each value takes that room and two bytes more.
 * @returns The type.
 * @throws {MmsbError} `usage` where it is no integer, `out-of-bounds` where it is out of range.
 *
 * @example A ticker of at most 8 bytes
 * ```ts
 * import assert from "node:assert/strict";
 * import { StateBus, struct, utf8 } from "@mmsb/mmsb";
 *
 * await using bus = await StateBus.open();
 * const quote = bus.create(struct({ ticker: utf8(8) }));
 * await bus.commit(() => quote.set({ ticker: "größer" }));
 * assert.equal(quote.get("ticker"), "größer");
 * assert.throws(() => quote.set({ ticker: "zu lange" + "!" }), { code: "limit" });
 * ```
 */
export function utf8(bytesMax: number): Utf8Type {
  checkInteger("bound of a field of text", bytesMax, 1, FIELD_BYTES_MAX);
  return Object.freeze({ type: "utf8", bytesMax });
}

/** A type taken apart. */
export interface TypeParts {
  /** Code. */
  readonly code: number;
  /** Length of fixed bytes, bound of text, otherwise 0. */
  readonly bound: number;
  /** Bytes of a value. */
  readonly width: number;
  /** What the offset of a value is a multiple of. */
  readonly alignment: number;
}

/**
 * Takes a type apart.
 *
 * @param what The field, for messages.
 * @param type What was given as its type.
 * @throws {MmsbError} `usage` where it is no type, `out-of-bounds` for a length out of range.
 */
export function typeParts(what: string, type: unknown): TypeParts {
  if (typeof type === "string") {
    const index = SCALAR_TYPES.indexOf(type as ScalarType);
    if (index < 0) refuseType(what, type);
    const width = SCALAR_WIDTHS[index];
    return { code: index + 1, bound: 0, width, alignment: width };
  }
  if (typeof type !== "object" || type === null) refuseType(what, type);
  const { type: word, length, bytesMax } = type as Record<string, unknown>;
  if (word === "bytes") {
    const bound = checkInteger(`length of ${what}`, length, 1, FIELD_BYTES_MAX);
    return { code: TYPE_CODE.bytes, bound, width: bound, alignment: 1 };
  }
  if (word === "utf8") {
    const bound = checkInteger(`bound of ${what}`, bytesMax, 1, FIELD_BYTES_MAX);
    const width = UTF8_LENGTH_BYTES + bound + (bound & 1);
    return { code: TYPE_CODE.utf8, bound, width, alignment: UTF8_LENGTH_BYTES };
  }
  refuseType(what, type);
}

/** The type of a code and bound; `undefined` where there is none. */
export function typeOfCode(code: number, bound: number): FieldType | undefined {
  if (code === TYPE_CODE.bytes) return bound > 0 ? bytes(bound) : undefined;
  if (code === TYPE_CODE.utf8) return bound > 0 ? utf8(bound) : undefined;
  return bound === 0 ? SCALAR_TYPES[code - 1] : undefined;
}

/** A type in words: `f64`, `bytes(16)`, `utf8(32)`. */
export function typeName(type: FieldType): string {
  if (typeof type === "string") return type;
  return type.type === "bytes" ? `bytes(${type.length})` : `utf8(${type.bytesMax})`;
}

function refuseType(what: string, type: unknown): never {
  const given = typeof type === "string"
    ? `"${type.slice(0, 40)}"`
    : `a value of type ${typeof type}`;
  throw new MmsbError(
    "usage",
    `Cannot use ${given} as type of ${what}: the types are ${
      SCALAR_TYPES.join(", ")
    }, bytes(length), utf8(bytesMax)`,
    { values: { what, type } },
  );
}
