/**
 * Apply jobs: a batch of rows goes to the GPU thread, and what its pages then hold comes back.
 *
 * Of each page only the words from the first to the last that a row touches take part. The spans are packed one behind
 * the other, and the rows' targets are told in words of that, so the GPU knows nothing of pages. The thread
 * reads the spans out of the arena by itself and writes what became of them into the result; only when all of it is
 * there does the thread of the bus put it into the pages. A job that fails, whenever that is, has changed nothing.
 *
 * Cost: for the thread of the bus two passes over the rows' targets and a copy of the spans; columns and payload of a
 * large batch are handed over where they stand.
 *
 * @module
 */

import { assert } from "../../base/mod.ts";
import type { ApplyPages } from "../apply_backend.ts";
import type { KernelColumns } from "../kernel_columns.ts";
import { KIND_MASKED } from "../kind.ts";
import { RECORD_SHIFT } from "../page_table.ts";
import type { BatchShape } from "../resolve.ts";
import type { JobReader, JobWriter } from "./_channel.ts";
import type { GpuEngine } from "./gpu_engine.ts";

/** Buffers that the device keeps for use again. */
export interface ApplyPool {
  /** Buffers that were there when one was wanted. */
  readonly hits: number;
  /** Buffers that had to be made. */
  readonly misses: number;
  /** Buffers that wait. */
  readonly cached: number;
  /** Their bytes. */
  readonly cachedBytes: number;
}

/** What a job cost. */
export interface ApplyTraffic {
  /** Bytes that went to the device. */
  readonly uploadedBytes: number;
  /** Bytes that came back. */
  readonly readBytes: number;
  /** Buffers of the device. */
  readonly pool: ApplyPool;
}

/** Rows from which on columns are handed over where they stand: telling the thread of memory costs more than a small copy. */
const NAMED_ROWS_MIN = 4096;
/** Words from which a block move is faster than a loop. */
const MOVE_WORDS_MIN = 96;
const SPANS_START = 1024;
const COPIED = 0, NAMED = 1;

/** The words of pages that the rows of a batch touch, packed one behind the other. */
export class ApplySpans {
  /** Spans: one for each page that has rows. */
  count = 0;
  /** Words of all of them. */
  words = 0;
  /** First word of each span in the arena. */
  first = new Int32Array(SPANS_START);
  /** The word behind its last one. */
  end = new Int32Array(SPANS_START);
  /** Where it begins among the packed words. */
  packed = new Int32Array(SPANS_START);
  /** For each row of the page table its span in this batch, by a number that no earlier batch gave. */
  #spanOf = new Int32Array(SPANS_START);
  #given = 0;

  /** Finds the spans of a batch. */
  gather(columns: KernelColumns, rows: number, { table }: ApplyPages): void {
    this.#begin(table.ids.length);
    const { record, offset, length, target } = columns;
    const spanOf = this.#spanOf, base = this.#given;
    let count = 0;
    for (let i = 0; i < rows; i++) {
      const row = record[i] >> RECORD_SHIFT, from = target[i];
      const to = from + ((offset[i] & 3) + length[i] + 3 >>> 2);
      const span = spanOf[row] - base;
      if (span <= 0) {
        if (count === this.first.length) this.#grow();
        spanOf[row] = base + count + 1;
        this.first[count] = from;
        this.end[count++] = to;
        continue;
      }
      if (from < this.first[span - 1]) this.first[span - 1] = from;
      if (to > this.end[span - 1]) this.end[span - 1] = to;
    }
    let words = 0;
    for (let span = 0; span < count; span++) {
      this.packed[span] = words;
      words += this.end[span] - this.first[span];
    }
    this.count = count;
    this.words = words;
  }

  /** Writes the rows' targets in packed words. */
  rebase({ record, target }: KernelColumns, rows: number, packed: Int32Array): void {
    const spanOf = this.#spanOf, base = this.#given + 1;
    const { first, packed: starts } = this;
    for (let i = 0; i < rows; i++) {
      const span = spanOf[record[i] >> RECORD_SHIFT] - base;
      packed[i] = target[i] - first[span] + starts[span];
    }
  }

  /** Puts packed words into the arena. */
  put(packed: Int32Array, pages: Int32Array): void {
    assert(packed.length === this.words, "all words came back");
    const { first, end, packed: starts, count } = this;
    for (let span = 0; span < count; span++) {
      const to = first[span], words = end[span] - to, from = starts[span];
      if (words < MOVE_WORDS_MIN) {
        for (let k = 0; k < words; k++) pages[to + k] = packed[from + k];
      } else {
        pages.set(packed.subarray(from, from + words), to);
      }
    }
  }

  #begin(tableRows: number): void {
    this.#given += this.count;
    if (tableRows <= this.#spanOf.length && this.#given < 2 ** 30) return;
    this.#spanOf = new Int32Array(Math.max(tableRows, this.#spanOf.length));
    this.#given = 0;
  }

  #grow(): void {
    const longer = (column: Int32Array): Int32Array<ArrayBuffer> => {
      const copy = new Int32Array(2 * column.length);
      copy.set(column);
      return copy;
    };
    this.first = longer(this.first);
    this.end = longer(this.end);
    this.packed = longer(this.packed);
  }
}

/** Writes a job: the rows of a batch over the spans that were gathered from it. */
export function writeApply(
  job: JobWriter,
  arena: number,
  spans: ApplySpans,
  columns: KernelColumns,
  rows: number,
  shape: BatchShape,
): void {
  const { count } = spans;
  job.word(arena);
  job.word(rows);
  job.word(shape.uniformLength);
  job.word((shape.sequential ? 1 : 0) | (shape.aligned ? 2 : 0));
  job.word(shape.kinds);
  job.word(spans.words);
  job.words(count).set(spans.first.subarray(0, count));
  job.words(count).set(spans.end.subarray(0, count));
  spans.rebase(columns, rows, job.words(rows));
  const payloadBytes = payloadEnd(columns, rows, shape);
  const { offset, length, start, kind, payloadBytes: pool } = columns;
  const { buffer } = offset;
  const isOne = [length, start, kind, pool].every((view) => view.buffer === buffer);
  if (rows >= NAMED_ROWS_MIN && isOne && buffer instanceof SharedArrayBuffer) {
    job.word(NAMED);
    job.buffer(buffer);
    for (const view of [offset, length, start, kind, pool]) job.word(view.byteOffset);
    job.word(payloadBytes);
    return;
  }
  job.word(COPIED);
  for (const column of [offset, length, start]) job.words(rows).set(column.subarray(0, rows));
  job.bytes(rows).set(kind.subarray(0, rows));
  job.bytes(payloadBytes).set(pool.subarray(0, payloadBytes));
}

/** Bytes of the payload pool that rows use; of masked ones it may be some more. */
function payloadEnd(columns: KernelColumns, rows: number, shape: BatchShape): number {
  const { start, length, kind, payloadBytes } = columns;
  if (rows === 0) return 0;
  if (shape.sequential) return start[rows - 1] + length[rows - 1];
  let end = 0;
  for (let i = 0; i < rows; i++) {
    const mask = kind[i] === KIND_MASKED ? length[i] + 7 >>> 3 : 0;
    const after = start[i] + mask + length[i];
    if (after > end) end = after;
  }
  return Math.min(end, payloadBytes.length);
}

/** Runs a job in the GPU thread. */
export async function applyJob(
  engine: GpuEngine,
  job: JobReader,
  result: JobWriter,
): Promise<void> {
  const arena = job.arena(job.word()), rows = job.word();
  const uniformLength = job.word(), flags = job.word(), kinds = job.word(), total = job.word();
  const first = job.words(), end = job.words(), target = job.words();
  const shape = {
    uniformLength,
    sequential: (flags & 1) !== 0,
    aligned: (flags & 2) !== 0,
    kinds,
  };
  const columns = job.word() === NAMED ? namedColumns(job, rows) : {
    offset: job.words(),
    length: job.words(),
    start: job.words(),
    kind: job.bytes(),
    payload: job.bytes(),
  };
  const words = result.words(total);
  pack(arena.words, first, end, words);
  const figures = await engine.apply.apply({
    rows,
    target,
    ...columns,
    shape,
    words,
    results: words,
  }, { goesOn: () => job.goesOn() });
  result.double(figures.uploadedBytes);
  result.double(figures.readBytes);
  const { hits, misses, cached, cachedBytes } = engine.pool.statistics();
  result.doubles(4).set([hits, misses, cached, cachedBytes]);
}

function namedColumns(job: JobReader, rows: number) {
  const buffer = job.buffer();
  const words = (): Int32Array => new Int32Array(buffer, job.word(), rows);
  const offset = words(), length = words(), start = words();
  const kind = new Uint8Array(buffer, job.word(), rows);
  const at = job.word();
  return { offset, length, start, kind, payload: new Uint8Array(buffer, at, job.word()) };
}

function pack(pages: Int32Array, first: Int32Array, end: Int32Array, packed: Int32Array): void {
  let at = 0;
  for (let span = 0; span < first.length; span++) {
    const from = first[span], words = end[span] - from;
    if (words < MOVE_WORDS_MIN) {
      for (let k = 0; k < words; k++) packed[at + k] = pages[from + k];
    } else {
      packed.set(pages.subarray(from, from + words), at);
    }
    at += words;
  }
}

/** Reads what a job gave, and puts it into the pages. */
export function putApplied(
  result: JobReader,
  spans: ApplySpans,
  pages: Int32Array,
): ApplyTraffic {
  const packed = result.words(), uploadedBytes = result.double(), readBytes = result.double();
  const [hits, misses, cached, cachedBytes] = result.doubles();
  spans.put(packed, pages);
  return { uploadedBytes, readBytes, pool: { hits, misses, cached, cachedBytes } };
}
