/**
 * The work that most subjects share: 65,536 pages, batches of 65,536 rows of 16 bytes, random pages.
 */

import { DeltaBatch, type OpenOptions, StateBus } from "../mod.ts";
import { hash, numbers } from "./_harness.ts";

/** Pages. */
export const PAGES = 65_536;
/** Rows of a batch. */
export const ROWS = 65_536;
/** Bytes of a payload. */
export const PAYLOAD = 16;
/** Seed of all workloads. */
export const SEED = 20_261_122;

/** A batch with its columns filled directly: as many rows as it takes, over so many pages. */
export function filledBatch(
  pageBytes: number,
  seed: number,
  batch = emptyBatch(),
  pages = PAGES,
): DeltaBatch {
  const next = numbers(seed), rows = batch.rowsMax;
  const source = batch.source("bench");
  fillColumns(
    batch,
    randomPages(next, rows, pages),
    randomOffsets(next, pageBytes, rows),
    randomPayload(next, rows),
    source,
  );
  return batch;
}

/** An empty batch of the right size. */
export function emptyBatch(rows = ROWS): DeltaBatch {
  return new DeltaBatch({ rows, payloadBytes: rows * PAYLOAD });
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
  const rows = batch.rowsMax;
  page.set(pages);
  offset.set(offsets);
  length.fill(PAYLOAD, 0, rows);
  for (let i = 0; i < rows; i++) payloadStart[i] = i * PAYLOAD;
  kind.fill(0, 0, rows);
  sources.fill(source, 0, rows);
  intent.fill(0, 0, rows);
  batch.payload.set(payload);
  batch.setLength(rows, rows * PAYLOAD);
}

/** Random page ids from 1. */
export function randomPages(next: () => number, rows = ROWS, pages = PAGES): Uint32Array {
  return Uint32Array.from({ length: rows }, () => 1 + next() % pages);
}

/** Random multiples of 16 inside a page. */
export function randomOffsets(next: () => number, pageBytes: number, rows = ROWS): Uint32Array {
  return Uint32Array.from({ length: rows }, () => next() % (pageBytes / PAYLOAD) * PAYLOAD);
}

/** Random payloads. */
export function randomPayload(next: () => number, rows = ROWS): Uint8Array {
  return new Uint8Array(Uint32Array.from({ length: rows * PAYLOAD / 4 }, next).buffer);
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
export function bareMemory(pageBytes: number, pages = PAGES): Int32Array {
  return new Int32Array(new SharedArrayBuffer(pages * pageBytes));
}

/** A bus with that many pages of one size, ids from 1. */
export async function busOfPages(
  pages: number,
  pageBytes: number,
  options: OpenOptions = {},
): Promise<StateBus> {
  const bus = await StateBus.open({ memoryLimitBytes: pages * pageBytes + 2 ** 24, ...options });
  for (let page = 0; page < pages; page++) bus.createPage({ size: pageBytes });
  await bus.commit();
  return bus;
}

/** Submits a batch, ticks, and waits for the receipt. */
export async function tickOf(bus: StateBus, batch: DeltaBatch): Promise<void> {
  const receipt = bus.submit(batch);
  await bus.tick();
  await receipt;
}

/** Hash of all pages, as their bytes stand side by side. */
export function stateHash(bus: StateBus): string {
  return hash(...[...bus.pages()].sort((a, b) => a.id - b.id).map((page) => page.read()));
}
