/** Rows for the tests of this folder: random good ones, two ways into a batch, and their fold. */

import fc from "fast-check";
import { combine } from "../model/combine.ts";
import type { DeltaBatch, DeltaRow } from "./delta_batch.ts";
import {
  COMBINE_OPERATIONS,
  COMBINE_TYPES,
  combineKind,
  elementBytes,
  KIND_MASKED,
  KIND_SET,
} from "./kind.ts";

/** All combining kinds. */
export const COMBINE_KINDS: readonly number[] = COMBINE_TYPES.flatMap((type) =>
  COMBINE_OPERATIONS.slice(0, type.startsWith("f") ? 3 : 6)
    .map((operation) => combineKind(type, operation))
);

/** A row before it is fitted into a page. */
export interface Draft {
  readonly page: number;
  readonly kind: number;
  readonly offset: number;
  readonly length: number;
  readonly bytes: Uint8Array;
}

/** What the rows of a batch have in common. */
export interface Flavour {
  /** Kinds that rows may have. */
  readonly kinds: readonly number[];
  /** Offsets and lengths are multiples of it. */
  readonly align: number;
  /** Length of every row, 0 for any. */
  readonly uniform: number;
  /** Largest length. */
  readonly lengthMax: number;
}

/** Random drafts; a flavour fits them. */
export const drafts: fc.Arbitrary<Draft[]> = fc.array(
  fc.record({
    page: fc.nat(100),
    kind: fc.nat(100),
    offset: fc.nat(),
    length: fc.nat(),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 24, size: "max" }),
  }),
  { maxLength: 40, size: "max" },
);

/** Random flavours, among them those of every kernel. */
export const flavours: fc.Arbitrary<Flavour> = fc.record({
  kinds: fc.constantFrom(
    [KIND_SET],
    [KIND_SET],
    [KIND_MASKED],
    COMBINE_KINDS,
    [KIND_SET, KIND_MASKED, ...COMBINE_KINDS],
  ),
  align: fc.constantFrom(1, 4),
  uniform: fc.constantFrom(0, 0, 4, 8, 16, 12, 5),
  lengthMax: fc.constantFrom(8, 100, 2000, 2 ** 24),
});

/** Fits drafts into pages: good rows, in order; those that fit nowhere are left out. */
export function fit(
  drafts: readonly Draft[],
  sizes: readonly (readonly [number, number])[],
  { kinds, align, uniform, lengthMax }: Flavour,
): DeltaRow[] {
  return drafts.flatMap((draft) => {
    const [page, size] = sizes[draft.page % sizes.length];
    const kind = kinds[draft.kind % kinds.length];
    const step = kind > KIND_MASKED ? elementBytes(kind) : align;
    const least = uniform === 0 ? step : Math.ceil(uniform / step) * step;
    if (size < least) return [];
    const room = size - least, offset = draft.offset % (room + 1);
    const start = offset - offset % step;
    const longest = Math.max(least, Math.min(size - start, lengthMax));
    const length = uniform !== 0 ? least : step * (1 + draft.length % Math.floor(longest / step));
    const payload = kind === KIND_MASKED
      ? maskedPayload(length, draft.bytes)
      : repeated(draft.bytes, length);
    return [{ page, offset: start, length, kind, payload, source: "", intent: "" }];
  });
}

/** As many bytes as asked for, no two stretches alike. */
export function repeated(bytes: Uint8Array, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => bytes[i % bytes.length] + (i / 24 | 0));
}

/** A mask for a span with random bits, and a byte for each set bit. */
export function maskedPayload(length: number, bytes: Uint8Array): Uint8Array {
  const mask = repeated(bytes, length + 7 >>> 3);
  if (length % 8 !== 0) mask[mask.length - 1] &= (1 << length % 8) - 1;
  let set = 0;
  for (let bit = 0; bit < length; bit++) set += mask[bit >> 3] >> (bit & 7) & 1;
  const payload = new Uint8Array(mask.length + set);
  payload.set(mask);
  payload.set(repeated(bytes.map((byte) => ~byte), set), mask.length);
  return payload;
}

/** How rows are laid into columns by hand. */
export interface Layout {
  /** Bytes between payloads, taken in turn. */
  readonly gaps: readonly number[];
  /** Whether the last row's payload comes first in the pool. */
  readonly reversed: boolean;
}

/** Fills the columns of an empty batch by hand, payloads anywhere in the pool. */
export function fill(
  batch: DeltaBatch,
  rows: readonly DeltaRow[],
  { gaps, reversed }: Layout,
): void {
  const { columns } = batch;
  let end = 0;
  for (let i = 0; i < rows.length; i++) {
    const index = reversed ? rows.length - 1 - i : i, row = rows[index];
    end += gaps[i % gaps.length];
    columns.page[index] = row.page;
    columns.offset[index] = row.offset;
    columns.length[index] = row.length;
    columns.kind[index] = row.kind;
    columns.source[index] = columns.intent[index] = 0;
    columns.payloadStart[index] = end;
    batch.payload.set(row.payload, end);
    end += row.payload.length;
  }
  batch.setLength(rows.length, end);
}

/** Pool that {@linkcode fill} needs. */
export function poolBytes(rows: readonly DeltaRow[]): number {
  return rows.reduce((sum, { payload }) => sum + payload.length + 16, 0);
}

/** The obvious apply: one row into a map of pages. */
export function fold(pages: ReadonlyMap<number, Uint8Array>, row: DeltaRow): void {
  const span = pages.get(row.page)!.subarray(row.offset, row.offset + row.length);
  if (row.kind === KIND_SET) {
    span.set(row.payload);
  } else if (row.kind === KIND_MASKED) {
    let next = Math.ceil(row.length / 8);
    for (let i = 0; i < row.length; i++) {
      if (row.payload[i >> 3] & 1 << i % 8) span[i] = row.payload[next++];
    }
  } else {
    const type = COMBINE_TYPES[(row.kind >> 4) - 1];
    const operation = COMBINE_OPERATIONS[(row.kind & 15) - 1];
    const operands = new DataView(row.payload.slice().buffer), width = type === "f64" ? 8 : 4;
    for (let at = 0; at < row.length; at += width) {
      const element = span.subarray(at, at + width);
      const value = {
        i32: () => operands.getInt32(at, true),
        u32: () => operands.getUint32(at, true),
        f32: () => operands.getFloat32(at, true),
        f64: () => operands.getFloat64(at, true),
      }[type]();
      element.set(combine(type, operation, element, value));
    }
  }
}
