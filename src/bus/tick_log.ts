/**
 * Tick log: a tick's births, batches and deaths as frames.
 *
 * One frame for births (which come first), one a batch, one for metadata, sizes, shards and deaths (which come
 * last), one for the commit row; a single batch of small writes is three frames in one write.
 *
 * @module
 */

import {
  encodeBirth,
  markRow,
  participantsOf,
  ROW_KIND,
  type RowFrame,
  stringsBytes,
  STRUCTURAL,
  structureFrame,
  type StructureRow,
  type TickHeader,
} from "../log/mod.ts";
import { type DeltaBatch, encodeMetadata, type PageStore, ROW_BYTES } from "../physical/mod.ts";
import type { MarkChange } from "../propagation/mod.ts";
import { addToHi, addToLo } from "../temporal/mod.ts";
import type { DerivedRows } from "./_derived_rows.ts";
import type { LaneFrames } from "./_lane_frames.ts";
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
  /** What rules changed, if they did. */
  readonly derived?: DerivedRows;
  /** Marks set and taken off. */
  readonly marks?: readonly MarkChange[];
  /** HLC of the tick's first row: high half. */
  readonly hlcHi: number;
  /** HLC of the tick's first row: low half. */
  readonly hlcLo: number;
}

/** Lane 0 alone takes part in ticks of this version. */
export const INLINE_LANES: Uint8Array = participantsOf([0]);

/** Builds the frames of a tick. */
export function writeTick(writer: LaneFrames, store: PageStore, content: TickContent): void {
  const { staging } = content;
  let row = 0;
  const hlc = () => ({
    hlcHi: addToHi(content.hlcHi, content.hlcLo, row),
    hlcLo: addToLo(content.hlcLo, row),
  });
  const structural = (
    rows: readonly StructureRow[],
    rowKind: number = ROW_KIND.structural,
    deaths: ReadonlySet<number> = NO_PAGES,
  ) => {
    if (rows.length + deaths.size === 0) return;
    const frame = structureFrame(rows, rowKind, deaths);
    writer.addRows({ ...frame, ...hlc() });
    row += frame.rows;
  };
  writer.begin(content.header);
  if (staging !== undefined) {
    const { births } = staging;
    for (let first = 0; first < births.length; first += STRUCTURE_ROWS_MAX) {
      const some = births.slice(first, first + STRUCTURE_ROWS_MAX);
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
  const { derived, marks = [] } = content;
  if (derived !== undefined) {
    writer.addRows({ ...derived.frame(), ...hlc() });
    row += derived.rows;
  }
  const markRows = marks.map(({ page, mark, isSet }) => markRow(page, mark, isSet));
  structural(markRows, ROW_KIND.mark);
  if (staging !== undefined) {
    const edges = staging.edges.rows();
    for (let first = 0; first < edges.length; first += STRUCTURE_ROWS_MAX) {
      structural(edges.slice(first, first + STRUCTURE_ROWS_MAX));
    }
    structural(staging.rules.rows(), ROW_KIND.rule);
    structural(
      [
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
      ],
      ROW_KIND.structural,
      staging.deaths,
    );
  }
  const { hlcHi, hlcLo } = hlc();
  writer.addCommit(
    hlcHi,
    hlcLo,
    store.nextPageId,
    staging?.rules.nextRule(store) ?? store.nextRule,
  );
}

/** Bytes that the frames of a batch take, at most. */
export function batchBytesMax(batch: DeltaBatch): number {
  return batch.length * (ROW_BYTES + 8) + batch.payloadLength + stringsBytes(batch.strings) + 1024;
}

const EMPTY = new Uint8Array(0);
const NO_PAGES: ReadonlySet<number> = new Set();
/** Births or edges of one frame, so that a million in one tick need not stand in one. */
const STRUCTURE_ROWS_MAX = 8192;
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

function birthRow(store: PageStore, page: number): StructureRow {
  const row = store.table.rowOf(page);
  return {
    page,
    operation: STRUCTURAL.createPage,
    size: store.table.sizeOf(row),
    shard: store.table.shards[row],
    payload: encodeBirth(store.nameOf(page), store.metadataOf(page)),
  };
}
