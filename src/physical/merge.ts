/**
 * Merge: many deltas of a page become few that do the same.
 *
 * All deltas of a page are merged, in order, however many of other pages stand between them: later
 * bytes win, masks unite, a combining operation is folded where the bytes before it are known, and
 * two of the same kind are folded into one where they are not. What cannot be folded (a float add
 * onto unknown bytes, which depends on the order; an operation on a value that another one changes)
 * stays a row of its own, in its place. A merged row says how many rows it stands for (`advance`), so
 * that epochs come out as if each had been applied; never are there more rows than came in.
 *
 * A merged row has the source and the intent of the latest row that has one, and the latest time.
 *
 * Cost: a pass over the rows of each page and one over its bytes that were touched; two bytes of scratch a byte of the largest page.
 *
 * @module
 */

import {
  checkInteger,
  checkKeys,
  checkType,
  joinBytes,
  MmsbError,
  PAGE_BYTES_MAX,
} from "../base/mod.ts";
import { type Layer, PageFold } from "./_page_fold.ts";
import { DeltaBatch, type DeltaRow } from "./delta_batch.ts";
import { KIND_MASKED, KIND_SET } from "./kind.ts";
import { isMaskSmaller, setBits } from "./mask.ts";
import { rowFault } from "./resolve.ts";

/** A delta that may stand for several. */
export interface MergedDelta extends DeltaRow {
  /** Rows that it stands for; 1 where absent. */
  readonly advance?: number;
}

/** Rows merged. */
export interface MergedBatch {
  /** The rows. A bus takes no merged rows from callers; the log holds them. */
  readonly batch: DeltaBatch;
  /** Rows that each of them stands for. */
  readonly advance: Uint32Array<ArrayBuffer>;
}

/** Options of {@linkcode mergeBatch}. */
export interface MergeOptions {
  /** Rows that each row stands for, where they are merged ones. */
  readonly advance?: ArrayLike<number>;
  /** Whether a page held zeros before its first row: it was born with the batch. Default: none. */
  readonly isNew?: (page: number) => boolean;
}

const ADVANCE_MAX = 0xffff_ffff;

/**
 * Merges two deltas of one page.
 *
 * @param earlier The first one.
 * @param later The one after it.
 * @returns One delta where they can be one in fewer bytes, otherwise two, in order.
 * @throws {MmsbError} `usage` for deltas of two pages or that are none.
 *
 * @example The later bytes win
 * ```ts
 * import assert from "node:assert/strict";
 * import { mergeDeltas } from "@mmsb/mmsb";
 *
 * const row = { page: 7, kind: 0, intent: "" };
 * const [merged, ...rest] = mergeDeltas(
 *   { ...row, offset: 0, length: 3, payload: Uint8Array.of(1, 2, 3), source: "feed-a" },
 *   { ...row, offset: 2, length: 2, payload: Uint8Array.of(8, 9), source: "" },
 * );
 * assert.deepEqual([...merged.payload], [1, 2, 8, 9]);
 * assert.deepEqual([merged.advance, merged.source, rest.length], [2, "feed-a", 0]);
 * ```
 */
export function mergeDeltas(earlier: MergedDelta, later: MergedDelta): MergedDelta[] {
  checkType("earlier delta", earlier, "object");
  checkType("later delta", later, "object");
  if (earlier.page !== later.page) {
    throw new MmsbError(
      "usage",
      `Cannot merge deltas of pages ${earlier.page} and ${later.page}: give two of one page`,
      { values: { earlier: earlier.page, later: later.page } },
    );
  }
  const advance = [earlier.advance ?? 1, later.advance ?? 1];
  const merged = mergeBatch(DeltaBatch.from([earlier, later]), { advance });
  return merged.batch.toRows().map((row, index) => ({ ...row, advance: merged.advance[index] }));
}

/**
 * Merges all rows of a batch, page by page.
 *
 * @param batch The rows; it is left as it is.
 * @param options What is known of the rows and of their pages.
 * @returns The merged rows, pages in the order of their first rows.
 * @throws {MmsbError} `usage` for columns that disagree, `out-of-bounds` for an advance that is none.
 *
 * @example Ten writes of a counter become one
 * ```ts
 * import assert from "node:assert/strict";
 * import { DeltaBatch, mergeBatch } from "@mmsb/mmsb";
 *
 * const batch = new DeltaBatch({ rows: 10, payloadBytes: 40 });
 * for (let i = 0; i < 10; i++) batch.combine(7, "u32", "add", 0, i);
 * const merged = mergeBatch(batch);
 * assert.deepEqual([...merged.advance], [10]);
 * assert.deepEqual([...merged.batch.at(0).payload], [45, 0, 0, 0]);
 * ```
 */
export function mergeBatch(batch: DeltaBatch, options: MergeOptions = {}): MergedBatch {
  if (!(batch instanceof DeltaBatch)) {
    throw new MmsbError("usage", "Cannot merge: give a DeltaBatch");
  }
  checkKeys("mergeBatch", options, ["advance", "isNew"]);
  const { advance, isNew = () => false } = options;
  checkType("isNew", isNew, "function");
  for (let row = 0; row < batch.length; row++) checkRow(batch, row, advance);
  const merger = new Merger(batch, advance);
  const { order, starts, pages } = groupByPage(batch);
  for (let group = 0; group < pages.length; group++) {
    merger.page(order.subarray(starts[group], starts[group + 1]), isNew(pages[group]));
  }
  return { batch: merger.merged, advance: Uint32Array.from(merger.advances) };
}

/** Rows by page, in order; pages in the order of their first rows. */
function groupByPage(batch: DeltaBatch) {
  const groups = new Map<number, number>(), counts: number[] = [];
  const { page } = batch.columns, groupOf = new Int32Array(batch.length);
  for (let row = 0; row < batch.length; row++) {
    let group = groups.get(page[row]);
    if (group === undefined) {
      group = counts.push(0) - 1;
      groups.set(page[row], group);
    }
    groupOf[row] = group;
    counts[group]++;
  }
  const starts = new Int32Array(counts.length + 1);
  for (let group = 0; group < counts.length; group++) {
    starts[group + 1] = starts[group] + counts[group];
  }
  const order = new Int32Array(batch.length), next = starts.slice();
  for (let row = 0; row < batch.length; row++) order[next[groupOf[row]]++] = row;
  return { order, starts, pages: [...groups.keys()] };
}

/** Merges the rows of one batch, a page after the other. */
class Merger {
  readonly merged: DeltaBatch;
  readonly advances: number[] = [];
  readonly #batch: DeltaBatch;
  readonly #advance: ArrayLike<number> | undefined;
  readonly #fold = new PageFold();

  constructor(batch: DeltaBatch, advance: ArrayLike<number> | undefined) {
    this.#batch = batch;
    this.#advance = advance;
    const rows = Math.max(1, Math.min(batch.length, 1024));
    this.merged = new DeltaBatch({ rows, payloadBytes: 16 * rows, growable: true });
  }

  page(rows: Int32Array, zeros: boolean): void {
    const { columns, payload } = this.#batch;
    const { kind, offset, length, payloadStart } = columns;
    const fold = this.#fold;
    let first = 0, sum = 0;
    fold.begin(zeros);
    for (let index = 0; index < rows.length; index++) {
      const row = rows[index], advance = this.#advanceOf(row);
      const isRoom = sum + advance <= ADVANCE_MAX;
      if (!isRoom || !fold.fold(kind[row], offset[row], length[row], payload, payloadStart[row])) {
        this.#give(rows.subarray(first, index), sum);
        fold.next();
        fold.fold(kind[row], offset[row], length[row], payload, payloadStart[row]);
        first = index;
        sum = 0;
      }
      sum += advance;
    }
    this.#give(rows.subarray(first), sum);
    fold.next();
  }

  #advanceOf(row: number): number {
    return this.#advance === undefined ? 1 : this.#advance[row];
  }

  /** Gives out a layer: as merged rows where they are no more than its rows. */
  #give(rows: Int32Array, sum: number): void {
    const layer = rows.length === 1 ? undefined : this.#fold.end();
    const place = layer === undefined ? undefined : placeOf(layer, rows.length);
    if (layer === undefined || place === undefined) {
      for (const row of rows) {
        this.merged.append(this.#batch.at(row));
        this.advances.push(this.#advanceOf(row));
      }
      return;
    }
    const about = this.#about(rows);
    const add = (row: Pick<DeltaRow, "kind" | "offset" | "length" | "payload">) => {
      this.merged.append({ ...about, ...row });
      this.advances.push(1);
    };
    const before = this.advances.length;
    const { values } = this.#fold;
    if (place === "masked") add(this.#maskedRow(layer));
    else {
      for (const { offset, length } of layer.written) {
        add({ kind: KIND_SET, offset, length, payload: values.slice(offset, offset + length) });
      }
    }
    for (const { kind, offset, length } of layer.waiting) {
      add({ kind, offset, length, payload: values.slice(offset, offset + length) });
    }
    // A mask without a bit still counts.
    if (this.advances.length === before) {
      const { kind, offset, length, payload } = this.#batch.at(rows[0]);
      add({ kind, offset, length, payload });
    }
    this.advances[this.advances.length - 1] += sum - (this.advances.length - before);
  }

  #maskedRow({ written }: Layer) {
    const offset = written[0].offset, last = written.at(-1)!;
    const length = last.offset + last.length - offset;
    const mask = new Uint8Array(length + 7 >>> 3);
    const parts: Uint8Array[] = [mask];
    for (const run of written) {
      setBits(mask, run.offset - offset, run.length);
      parts.push(this.#fold.values.subarray(run.offset, run.offset + run.length));
    }
    return { kind: KIND_MASKED, offset, length, payload: joinBytes(parts) };
  }

  /** Source and intent of the latest rows that have one, the latest time, the first expectation. */
  #about(rows: Int32Array) {
    const { columns, strings, timesUs, expectedEpochs } = this.#batch;
    let source = 0, intent = 0, timeUs = NaN;
    for (const row of rows) {
      source = columns.source[row] || source;
      intent = columns.intent[row] || intent;
      const time = timesUs?.[row] ?? NaN;
      if (!(time <= timeUs) && !Number.isNaN(time)) timeUs = time;
    }
    const expected = expectedEpochs?.[rows[0]] ?? NaN;
    return {
      page: columns.page[rows[0]],
      source: strings[source] ?? "",
      intent: strings[intent] ?? "",
      ...(Number.isNaN(timeUs) ? {} : { timeUs }),
      ...(Number.isNaN(expected) ? {} : { expectedEpoch: expected }),
    };
  }
}

/** How the written bytes of a layer are given; `undefined` where its own rows are fewer. */
function placeOf(layer: Layer, rowsMax: number): "sets" | "masked" | undefined {
  const room = rowsMax - layer.waiting.length;
  if (room < 0 || room === 0 && layer.written.length > 0) return undefined;
  if (layer.written.length === 0) return "sets";
  return layer.written.length > room || isMaskSmaller(layer.written) ? "masked" : "sets";
}

/** Refuses a row whose columns disagree: what is folded must be what would be applied. */
function checkRow(batch: DeltaBatch, row: number, advance: ArrayLike<number> | undefined): void {
  const { columns } = batch;
  const offset = columns.offset[row], length = columns.length[row];
  const fault = rowFault(batch.kernel, row, batch.payloadLength) ??
    (offset + length > PAGE_BYTES_MAX ? `its span ends at ${offset + length}` : undefined);
  if (fault !== undefined) {
    throw new MmsbError("usage", `Cannot merge row ${row}: ${fault}`, {
      values: { row, page: columns.page[row], kind: columns.kind[row], offset, length },
    });
  }
  if (advance !== undefined) checkInteger("advance", advance[row], 1, ADVANCE_MAX);
}
