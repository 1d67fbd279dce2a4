/**
 * Kinds: what a delta does to its span, as one byte of a column.
 *
 * `set` puts its bytes there, `masked` puts only those bytes whose bit in a mask is set, and a
 * combining kind folds its operand into what is there: high four bits the element type, low four
 * the operation. Integer add wraps; min and max prefer a number to NaN and order −0 below +0
 * (IEEE 754-2019 minimumNumber and maximumNumber); a NaN result is stored as the canonical quiet
 * NaN, so that the bytes do not depend on the order. Integer and bit operations and min and max
 * give the same bytes in any order; float add does not and is applied in order.
 *
 * @module
 */

import { checkInteger, checkOneOf } from "../base/mod.ts";

/** Puts the payload's bytes on the span. */
export const KIND_SET = 0;
/** Puts the payload's packed bytes where the mask in front of them has a set bit. */
export const KIND_MASKED = 1;

/** Element types that deltas can combine. */
export type CombineType = "i32" | "u32" | "f32" | "f64";
/** Operations that deltas can combine with; `or`, `and`, `xor` on integers only. */
export type CombineOperation = "add" | "min" | "max" | "or" | "and" | "xor";

/** Element types in the order of their codes, which start at 1. */
export const COMBINE_TYPES: readonly CombineType[] = ["i32", "u32", "f32", "f64"];
/** Operations in the order of their codes, which start at 1. */
export const COMBINE_OPERATIONS: readonly CombineOperation[] = [
  "add",
  "min",
  "max",
  "or",
  "and",
  "xor",
];

/**
 * The kind byte of a combining delta.
 *
 * @throws {MmsbError} `usage` for an unknown type or operation, or a bit operation on floats.
 */
export function combineKind(type: CombineType, operation: CombineOperation): number {
  const typeCode = COMBINE_TYPES.indexOf(type) + 1;
  const operationCode = COMBINE_OPERATIONS.indexOf(operation) + 1;
  if (typeCode === 0) checkOneOf("element type", type, COMBINE_TYPES);
  if (operationCode === 0) checkOneOf("combining operation", operation, COMBINE_OPERATIONS);
  if (typeCode > 2 && operationCode > 3) {
    checkOneOf(`combining operation on ${type}`, operation, COMBINE_OPERATIONS.slice(0, 3));
  }
  return typeCode << 4 | operationCode;
}

/** Bytes of one element of a combining kind: 4 or 8. */
export function elementBytes(kind: number): number {
  return kind >>> 4 === 4 ? 8 : 4;
}

/** Whether a byte names a kind of this format. */
export function isKind(kind: number): boolean {
  if (kind <= KIND_MASKED) return true;
  const type = kind >>> 4, operation = kind & 15;
  return type >= 1 && type <= 4 && operation >= 1 && operation <= (type <= 2 ? 6 : 3);
}

/** A kind in words: `set`, `masked`, `add f64`. */
export function kindName(kind: number): string {
  checkInteger("kind", kind, 0, 2 ** 32 - 1);
  if (kind === KIND_SET) return "set";
  if (kind === KIND_MASKED) return "masked";
  if (!isKind(kind)) return `unknown kind ${kind}`;
  return `${COMBINE_OPERATIONS[(kind & 15) - 1]} ${COMBINE_TYPES[(kind >>> 4) - 1]}`;
}
