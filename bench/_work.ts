/**
 * The work that most subjects share: 65,536 pages, batches of 65,536 rows of 16 bytes, random pages.
 */

import { DeltaBatch } from "../mod.ts";
import { numbers } from "./_harness.ts";

/** Pages. */
export const PAGES = 65_536;
/** Rows of a batch. */
export const ROWS = 65_536;
/** Bytes of a payload. */
export const PAYLOAD = 16;
/** Seed of all workloads. */
export const SEED = 20_261_122;

/** A batch with its columns filled directly. */
export function filledBatch(pageBytes: number, seed: number, batch = emptyBatch()): DeltaBatch {
  const next = numbers(seed);
  const source = batch.source("bench");
  fillColumns(
    batch,
    randomPages(next),
    randomOffsets(next, pageBytes),
    randomPayload(next),
    source,
  );
  return batch;
}

/** An empty batch of the right size. */
export function emptyBatch(): DeltaBatch {
  return new DeltaBatch({ rows: ROWS, payloadBytes: ROWS * PAYLOAD });
}

/** Fills the columns of a batch as a program that has its data in columns would. */
export function fillColumns(
  batch: DeltaBatch,
  pages: Uint32Array,
  offsets: Uint32Array,
  payload: Uint8Array,
  source: number,
): void {
  const { page, offset, length, payloadStart, kind, source: sources, intent } = batch.columns;
  page.set(pages);
  offset.set(offsets);
  length.fill(PAYLOAD, 0, ROWS);
  for (let i = 0; i < ROWS; i++) payloadStart[i] = i * PAYLOAD;
  kind.fill(0, 0, ROWS);
  sources.fill(source, 0, ROWS);
  intent.fill(0, 0, ROWS);
  batch.payload.set(payload);
  batch.setLength(ROWS, ROWS * PAYLOAD);
}

/** Random page ids, 1 to {@linkcode PAGES}. */
export function randomPages(next: () => number): Uint32Array {
  return Uint32Array.from({ length: ROWS }, () => 1 + next() % PAGES);
}

/** Random multiples of 16 inside a page. */
export function randomOffsets(next: () => number, pageBytes: number): Uint32Array {
  return Uint32Array.from({ length: ROWS }, () => next() % (pageBytes / PAYLOAD) * PAYLOAD);
}

/** Random payloads. */
export function randomPayload(next: () => number): Uint8Array {
  return new Uint8Array(Uint32Array.from({ length: ROWS * PAYLOAD / 4 }, next).buffer);
}

/** The bare loop: no table, no checks, no epochs; pages stand side by side in id order. */
export function bareApply(
  words: Int32Array,
  payload: Int32Array,
  page: Int32Array,
  offset: Int32Array,
  start: Int32Array,
  rows: number,
  pageWords: number,
): void {
  for (let i = 0; i < rows; i++) {
    const to = Math.imul(page[i] - 1, pageWords) + (offset[i] >>> 2);
    const from = start[i] >>> 2;
    words[to] = payload[from];
    words[to + 1] = payload[from + 1];
    words[to + 2] = payload[from + 2];
    words[to + 3] = payload[from + 3];
  }
}

/** Signed views of a batch's columns and payload, for the bare loop. */
export function signed(batch: DeltaBatch): {
  page: Int32Array;
  offset: Int32Array;
  start: Int32Array;
  payload: Int32Array;
} {
  const view = (column: Uint32Array | Uint8Array) =>
    new Int32Array(column.buffer, column.byteOffset, column.byteLength >>> 2);
  const { page, offset, payloadStart } = batch.columns;
  return {
    page: view(page),
    offset: view(offset),
    start: view(payloadStart),
    payload: view(batch.payload),
  };
}

/** Memory for the bare loop's pages. */
export function bareMemory(pageBytes: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(PAGES * pageBytes));
}
