/**
 * A row: one delta of a batch, as a plain object. What makes a row bad, and what a good one does to
 * bytes, each as a pure function of the row and its page.
 */

import { canCombine, combine, isValueOf, WIDTHS } from "./combine.ts";
import type { CombineOp, CombineType } from "./combine.ts";
import type { PageState } from "./state.ts";

/** What every row may carry beside its change. */
export interface RowOptions {
  /** Who made the delta. */
  readonly source?: string;
  /** Why. */
  readonly intent?: string;
  /** The page's epoch before this batch's first row for the page. */
  readonly expectedEpoch?: number;
  /** Hybrid logical time, as a 64-bit word; kept, never looked at. */
  readonly time?: bigint;
  /** How many rows a merged row stands for: 1 where absent. */
  readonly advance?: number;
}

/** One delta; a mask has bit `i` of the span at bit `i % 8` (lowest first) of byte `i >> 3`. */
export type Row =
  & RowOptions
  & { readonly page: number; readonly offset: number }
  & (
    | { readonly kind: "set"; readonly length: number; readonly payload: Uint8Array }
    | {
      readonly kind: "mask";
      readonly length: number;
      readonly mask: Uint8Array;
      /** One byte a set bit, in order. */
      readonly payload: Uint8Array;
    }
    | {
      readonly kind: "combine";
      readonly type: CombineType;
      readonly op: CombineOp;
      readonly value: number;
    }
  );

/** Why a batch was refused. */
export type RefusalCode = "invalid-handle" | "out-of-bounds" | "usage" | "stale-epoch";

/** A row that shares no bytes with `row`. */
export function copyRow(row: Row): Row {
  if (row.kind === "combine") return { ...row };
  const payload = new Uint8Array(row.payload);
  return row.kind === "set"
    ? { ...row, payload }
    : { ...row, payload, mask: new Uint8Array(row.mask) };
}

/** What is wrong with a row, first fault first; `page` is as it stands before the row's batch. */
export function faultOf(row: Row, page: PageState | undefined): RefusalCode | undefined {
  if (page === undefined) return "invalid-handle";
  // Before the span, as only a known type gives a combining row its length.
  if (row.kind === "combine" && !canCombine(row.type, row.op)) return "usage";
  const length = lengthOf(row);
  if (!isSpan(row.offset, length, page.bytes.length)) return "out-of-bounds";
  if (length === 0 || !isWellFormed(row)) return "usage";
  if (row.advance !== undefined && !(isNatural(row.advance) && row.advance > 0)) return "usage";
  if (row.expectedEpoch !== undefined && row.expectedEpoch !== page.epoch) return "stale-epoch";
  return undefined;
}

/** Bytes of the page that the row's span covers. */
export function lengthOf(row: Row): number {
  return row.kind === "combine" ? WIDTHS[row.type] : row.length;
}

/** The span's new bytes, given its old ones. */
export function spanAfter(row: Row, before: Uint8Array): Uint8Array<ArrayBuffer> {
  if (row.kind === "set") return new Uint8Array(row.payload);
  if (row.kind === "combine") return combine(row.type, row.op, before, row.value);
  const after = new Uint8Array(before);
  setBits(row.mask).forEach((bit, index) => after[bit] = row.payload[index]);
  return after;
}

function isWellFormed(row: Row): boolean {
  switch (row.kind) {
    case "set":
      return row.payload.length === row.length;
    case "mask": {
      const bits = setBits(row.mask);
      return row.mask.length === Math.ceil(row.length / 8) &&
        bits.every((bit) => bit < row.length) && row.payload.length === bits.length;
    }
    case "combine":
      return row.offset % WIDTHS[row.type] === 0 && isValueOf(row.type, row.value);
  }
}

function setBits(mask: Uint8Array): number[] {
  const bits: number[] = [];
  for (let bit = 0; bit < mask.length * 8; bit++) {
    if ((mask[bit >> 3] >> (bit & 7)) & 1) bits.push(bit);
  }
  return bits;
}

function isSpan(offset: number, length: number, size: number): boolean {
  return isNatural(offset) && isNatural(length) && offset + length <= size;
}

/** Whether `value` is an integer of 0 or more. */
export function isNatural(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
