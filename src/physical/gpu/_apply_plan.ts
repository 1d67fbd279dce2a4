/**
 * The plan of a batch for the device: which of three orders its rows need, how many lanes a row gets, and the chunks that
 * rows and packed memory are cut into.
 *
 * A chunk of rows takes its payloads along: where they are in a row that is a part of the pool, else the whole pool as long as
 * one binding holds it, else the stretch from the first payload to the end of the last.
 *
 * Cost: nothing a row for rows that set whole words; a look at the kinds for one kind; a pass where a pool is larger than a binding.
 */

import { MmsbError } from "../../base/mod.ts";
import { KIND_MASKED, KIND_SET } from "../kind.ts";
import type { BatchShape } from "../resolve.ts";
import { isAtomic } from "./kernels/combine.ts";
import { applyRefusal } from "./kernels/refusal.ts";

/** Rows of a batch, their targets in packed memory. Views on shared memory are fine; nothing is written into them. */
export interface ApplyRows {
  /** Rows. */
  readonly rows: number;
  /** First word of each span in the packed memory. */
  readonly target: Int32Array;
  /** First byte of each span; only its place in the word counts, so that of the page will do. */
  readonly offset: Int32Array;
  /** Bytes of each span. */
  readonly length: Int32Array;
  /** First byte of each payload. */
  readonly start: Int32Array;
  /** Kind of each row. */
  readonly kind: Uint8Array;
  /** Payload pool, in use to its end. */
  readonly payload: Uint8Array;
  /** What resolving found. */
  readonly shape: BatchShape;
}

/**
 * How the order of rows is kept: `resolve`, the last row of a word is found before anything is written; `atomic`, any order
 * gives the same bytes; `grouped`, the rows of a block of memory one after the other.
 */
export type ApplyScheme = "resolve" | "atomic" | "grouped";

/** Rows of a batch that are worked on together. */
export interface RowChunk {
  /** First row, a multiple of 4. */
  readonly from: number;
  /** Behind the last row. */
  readonly to: number;
  /** First byte of their payloads, a multiple of 4. */
  readonly payloadFrom: number;
  /** Behind their last byte. */
  readonly payloadTo: number;
}

/** Bounds of a chunk. */
export interface ChunkBounds {
  /** Most rows, a multiple of 4. */
  readonly rowsMax: number;
  /** Bytes of payloads at which a chunk is closed where they are in a row; one row may have more. */
  readonly payloadBytes: number;
  /** Most bytes of payloads that one binding holds. */
  readonly bindingBytes: number;
}

/** Most chunks of a batch: payloads that lie so far apart are quicker on the CPU. */
const CHUNKS_MAX = 4096;
/** Lanes of a row, as a shift, at most: a row of 64 KiB and more has 1,024 that go along it. */
const LANE_SHIFT_MAX = 10;

/**
 * Which order the rows of a batch need.
 *
 * @param rows The rows.
 * @returns The scheme.
 * @throws {MmsbError} `usage` where the batch is one for the CPU, with the reason.
 */
export function schemeOf({ rows, kind, shape }: ApplyRows): ApplyScheme {
  const reason = applyRefusal(shape.kinds);
  if (reason !== undefined) {
    throw new MmsbError("usage", `Cannot apply the batch on the GPU as ${reason}: use the CPU`, {
      values: { kinds: shape.kinds, reason },
    });
  }
  if (shape.kinds === KIND_SET) return shape.aligned ? "resolve" : "grouped";
  if (rows === 0 || kind[0] !== shape.kinds || !isAtomic(kind[0])) return "grouped";
  let differs = 0;
  for (let row = 0; row < rows; row++) differs |= kind[row] ^ kind[0];
  return differs === 0 ? "atomic" : "grouped";
}

/** Lanes of a row, as a shift: about one a word. */
export function laneShiftOf({ rows, shape, payload }: ApplyRows): number {
  const bytes = shape.uniformLength !== 0 ? shape.uniformLength : payload.length / (rows || 1);
  return Math.min(LANE_SHIFT_MAX, Math.max(0, Math.ceil(Math.log2(bytes / 4))));
}

/**
 * Cuts the rows of a batch into chunks.
 *
 * @param rows The rows.
 * @param bounds Bounds of a chunk.
 * @returns The chunks, in row order; none where there are no rows.
 * @throws {MmsbError} `limit` where its payloads lie so far apart that there would be thousands of chunks.
 */
export function cutRows(rows: ApplyRows, bounds: ChunkBounds): RowChunk[] {
  const chunks = rows.shape.sequential ? sequentialChunks(rows, bounds) : chunksOf(rows, bounds);
  if (chunks.length > CHUNKS_MAX) {
    throw new MmsbError(
      "limit",
      `Cannot apply ${rows.rows} rows on the GPU: their payloads lie so far apart that they are ${chunks.length} chunks; use the CPU`,
      { values: { rows: rows.rows, chunks: chunks.length, chunksMax: CHUNKS_MAX } },
    );
  }
  return chunks;
}

function sequentialChunks(
  { rows, start, shape }: ApplyRows,
  { rowsMax, payloadBytes }: ChunkBounds,
): RowChunk[] {
  const stride = strideOf(shape), chunks: RowChunk[] = [];
  const each = Math.min(rowsMax, Math.max(4, Math.floor(payloadBytes / stride) & ~3));
  for (let from = 0; from < rows; from += each) {
    const to = Math.min(rows, from + each);
    const payloadFrom = start[0] + from * stride;
    const payloadTo = start[0] + (to - 1) * stride + shape.uniformLength;
    chunks.push({ from, to, payloadFrom, payloadTo });
  }
  return chunks;
}

/** Bytes from one payload to the next of a batch whose payloads are in a row. */
export function strideOf({ uniformLength }: BatchShape): number {
  return uniformLength + 3 & ~3;
}

function chunksOf(rows: ApplyRows, { rowsMax, bindingBytes }: ChunkBounds): RowChunk[] {
  const chunks: RowChunk[] = [], bytes = rows.payload.length;
  for (let from = 0; from < rows.rows;) {
    let to = Math.min(rows.rows, from + rowsMax), payloadFrom = 0, payloadTo = bytes;
    if (bytes > bindingBytes) {
      ({ to, payloadFrom, payloadTo } = stretch(rows, from, to, bindingBytes));
    }
    chunks.push({ from, to, payloadFrom, payloadTo });
    from = to;
  }
  return chunks;
}

/** As many rows from `from` on, in fours, as have their payloads within so many bytes; four at least. */
function stretch(rows: ApplyRows, from: number, end: number, bytesMax: number): RowChunk {
  let payloadFrom = Infinity, payloadTo = 0, to = from;
  while (to < end) {
    let first = payloadFrom, last = payloadTo;
    const next = Math.min(to + 4, end);
    for (let row = to; row < next; row++) {
      first = Math.min(first, rows.start[row] & ~3);
      last = Math.max(last, payloadEnd(rows, row));
    }
    if (last - first > bytesMax) {
      if (to > from) break;
      throw new MmsbError(
        "limit",
        `Cannot apply rows ${to} to ${next} on the GPU: their payloads lie ${
          last - first
        } bytes apart and it binds ${bytesMax}; use the CPU`,
        { values: { row: to, bytes: last - first, bytesMax } },
      );
    }
    payloadFrom = first;
    payloadTo = last;
    to = next;
  }
  return { from, to, payloadFrom, payloadTo };
}

/** A byte behind the payload of a row; for a masked one a bound, as its set bits are not counted. */
function payloadEnd({ start, length, kind, payload }: ApplyRows, row: number): number {
  if (kind[row] !== KIND_MASKED) return start[row] + length[row];
  return Math.min(payload.length, start[row] + (length[row] + 7 >>> 3) + length[row]);
}
