/**
 * Tick log: a tick's births, batches and deaths as frames.
 *
 * One frame for births (which come first), one a batch, one for metadata, sizes, shards and deaths (which come
 * last), one for the commit row; a single batch of small writes is three frames in one write.
 *
 * @module
 */

import { alignUp } from "../base/mod.ts";
import {
  encodeBirth,
  type FrameWriter,
  participantsOf,
  ROW_KIND,
  type RowFrame,
  stringsBytes,
  STRUCTURAL,
  type TickHeader,
} from "../log/mod.ts";
import {
  type DeltaBatch,
  encodeMetadata,
  kernelColumns,
  type PageStore,
  ROW_BYTES,
} from "../physical/mod.ts";
import { addToHi, addToLo } from "../temporal/mod.ts";
import type { Staging } from "./staging.ts";

/** A batch that the tick takes. */
export interface AcceptedBatch {
  /** The batch. */
  readonly batch: DeltaBatch;
  /** Producer. */
  readonly producer: number;
  /** The producer's sequence number. */
  readonly sequence: number;
}

/** All that a tick writes. */
export interface TickContent {
  /** What the frames share. */
  readonly header: TickHeader;
  /** Structural changes, if they were accepted. */
  readonly staging: Staging | undefined;
  /** Batches in order. */
  readonly batches: readonly AcceptedBatch[];
  /** HLC of the tick's first row: high half. */
  readonly hlcHi: number;
  /** HLC of the tick's first row: low half. */
  readonly hlcLo: number;
}

/** Lane 0 alone takes part in ticks of this version. */
export const INLINE_LANES: Uint8Array = participantsOf([0]);

/** Builds the frames of a tick. */
export function writeTick(writer: FrameWriter, store: PageStore, content: TickContent): void {
  const { staging } = content;
  let row = 0;
  const hlc = () => ({
    hlcHi: addToHi(content.hlcHi, content.hlcLo, row),
    hlcLo: addToLo(content.hlcLo, row),
  });
  const structural = (rows: readonly StructuralRow[]) => {
    if (rows.length === 0) return;
    writer.addRows({ ...structuralFrame(rows), ...hlc() });
    row += rows.length;
  };
  writer.begin(content.header);
  if (staging !== undefined) {
    const { births } = staging;
    for (let first = 0; first < births.length; first += BIRTH_ROWS_MAX) {
      const some = births.slice(first, first + BIRTH_ROWS_MAX);
      structural(some.map((page) => birthRow(store, page)));
    }
  }
  for (const { batch, producer, sequence } of content.batches) {
    writer.addRows({
      rowKind: ROW_KIND.data,
      rows: batch.length,
      producer,
      sequence,
      ...hlc(),
      ...columnsAndStrings(batch),
      epochs: true,
      timesUs: batch.timesUs,
      payloadLength: batch.payloadLength,
    });
    row += batch.length;
  }
  if (staging !== undefined) {
    structural([
      ...staging.metadata.map(({ page, metadata }) => {
        const payload = encodeMetadata(metadata);
        return { page, operation: STRUCTURAL.setMetadata, size: 0, shard: 0, payload };
      }),
      ...staging.living(staging.sizes).map(([page, size]) => {
        return { page, operation: STRUCTURAL.resizePage, size, shard: 0, payload: EMPTY };
      }),
      ...staging.living(staging.shards).map(([page, shard]) => {
        return { page, operation: STRUCTURAL.migratePage, size: 0, shard, payload: EMPTY };
      }),
      ...[...staging.deaths].map((page) => ({
        page,
        operation: STRUCTURAL.deletePage,
        size: 0,
        shard: 0,
        payload: EMPTY,
      })),
    ]);
  }
  const { hlcHi, hlcLo } = hlc();
  writer.addCommit(hlcHi, hlcLo, store.nextPageId);
}

/** Bytes that the frames of a batch take, at most. */
export function batchBytesMax(batch: DeltaBatch): number {
  return batch.length * (ROW_BYTES + 8) + batch.payloadLength + stringsBytes(batch.strings) + 1024;
}

interface StructuralRow {
  readonly page: number;
  readonly operation: number;
  readonly size: number;
  readonly shard: number;
  readonly payload: Uint8Array;
}

const EMPTY = new Uint8Array(0);
/** Births of one frame, so that a million pages in one tick need no million objects at once. */
const BIRTH_ROWS_MAX = 8192;
/** Strings up to which a batch's dictionary is written as it is. */
const STRINGS_WHOLE_MAX = 64;

/** A batch that was reused may know many more strings than its rows name: only those are written. */
function columnsAndStrings(batch: DeltaBatch): Pick<RowFrame, "columns" | "strings"> {
  const { kernel, length, strings } = batch;
  if (strings.length <= Math.max(STRINGS_WHOLE_MAX, length)) return { columns: kernel, strings };
  const numbers = new Map<number, number>([[0, 0]]);
  const used = [""];
  const renumber = (column: Uint16Array) =>
    column.slice(0, length).map((old) => {
      const known = numbers.get(old);
      if (known !== undefined) return known;
      numbers.set(old, used.length);
      return used.push(strings[old]) - 1;
    });
  const columns = { ...kernel, source: renumber(kernel.source), intent: renumber(kernel.intent) };
  return { columns, strings: used };
}

function birthRow(store: PageStore, page: number): StructuralRow {
  const row = store.table.rowOf(page);
  return {
    page,
    operation: STRUCTURAL.createPage,
    size: store.table.sizeOf(row),
    shard: store.table.shards[row],
    payload: encodeBirth(store.nameOf(page), store.metadataOf(page)),
  };
}

function structuralFrame(rows: readonly StructuralRow[]) {
  const capacity = alignUp(rows.length, 8);
  const payloadLength = rows.reduce((sum, row) => sum + alignUp(row.payload.length, 4), 0);
  const payload = new Uint8Array(alignUp(payloadLength, 8));
  const columns = kernelColumns(new ArrayBuffer(capacity * ROW_BYTES), capacity, payload);
  const shards = new Uint8Array(rows.length);
  let at = 0;
  rows.forEach((row, index) => {
    columns.page[index] = row.page;
    columns.offset[index] = row.size;
    columns.length[index] = row.payload.length;
    columns.start[index] = at;
    columns.kind[index] = row.operation;
    shards[index] = row.shard;
    payload.set(row.payload, at);
    at += alignUp(row.payload.length, 4);
  });
  return {
    rowKind: ROW_KIND.structural,
    rows: rows.length,
    producer: 0,
    sequence: 0,
    columns,
    epochs: false,
    shards,
    strings: [""],
    payloadLength,
  };
}
