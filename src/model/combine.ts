/**
 * Combining operations, one number at a time: read the old number, combine, write the new one.
 * All but float `add` give the same bytes in any order, so NaN may have one form only: a result that
 * is NaN is stored as the canonical quiet NaN (7fc00000, 7ff8000000000000), whatever NaNs went in.
 */

/** Number types of a combining operation; all are little endian. */
export type CombineType = "i32" | "u32" | "f32" | "f64";

/** Combining operations; `or`, `and` and `xor` take integer types only. */
export type CombineOp = "add" | "min" | "max" | "or" | "and" | "xor";

/** Bytes of each type: also its alignment. */
export const WIDTHS: Readonly<Record<CombineType, number>> = {
  i32: 4,
  u32: 4,
  f32: 4,
  f64: 8,
};

const INTEGER_OPS: readonly string[] = ["add", "min", "max", "or", "and", "xor"];
const FLOAT_OPS: readonly string[] = ["add", "min", "max"];

/** Whether type and operation exist and fit each other. */
export function canCombine(type: string, op: string): boolean {
  if (type === "i32" || type === "u32") return INTEGER_OPS.includes(op);
  if (type === "f32" || type === "f64") return FLOAT_OPS.includes(op);
  return false;
}

/** Whether `value` is of the type: an integer type takes integers, modulo 2³²; a float type any number. */
export function isValueOf(type: CombineType, value: number): boolean {
  if (type === "i32" || type === "u32") return Number.isSafeInteger(value);
  return typeof value === "number";
}

/** The bytes that stand where `before` stood, after `value` was combined into them. */
export function combine(
  type: CombineType,
  op: CombineOp,
  before: Uint8Array,
  value: number,
): Uint8Array<ArrayBuffer> {
  const after = new Uint8Array(before);
  const view = new DataView(after.buffer);
  if (type === "i32") {
    view.setInt32(0, integer(op, view.getInt32(0, true), value | 0) | 0, true);
  } else if (type === "u32") {
    view.setUint32(0, integer(op, view.getUint32(0, true), value >>> 0) >>> 0, true);
  } else if (type === "f32") {
    const result = float(op, view.getFloat32(0, true), Math.fround(value));
    if (Number.isNaN(result)) view.setUint32(0, 0x7fc00000, true);
    else view.setFloat32(0, result, true);
  } else {
    const result = float(op, view.getFloat64(0, true), value);
    if (Number.isNaN(result)) view.setBigUint64(0, 0x7ff8000000000000n, true);
    else view.setFloat64(0, result, true);
  }
  return after;
}

function integer(op: CombineOp, a: number, b: number): number {
  switch (op) {
    case "add":
      return a + b;
    case "min":
      return Math.min(a, b);
    case "max":
      return Math.max(a, b);
    case "or":
      return a | b;
    case "and":
      return a & b;
    case "xor":
      return a ^ b;
  }
}

function float(op: CombineOp, a: number, b: number): number {
  if (op === "add") return a + b;
  if (Number.isNaN(a)) return b;
  if (Number.isNaN(b)) return a;
  // ECMA-262: Math.min and Math.max order −0 below +0.
  return op === "min" ? Math.min(a, b) : Math.max(a, b);
}
