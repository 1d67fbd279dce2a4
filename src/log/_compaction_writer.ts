/**
 * Compaction writer: the state at a horizon as merged ticks, in segments that wait for their place.
 *
 * A large state is split by pages over several ticks, the last of which is the horizon; the first one
 * stands for all ticks before them. Edges, rules and marks come with the last one. Where the segments begin in the lane follows from where they end,
 * so their headers are written last.
 *
 * Cost: one tick in memory; a write of the merged bytes in pieces, others going on
 * between two of them.
 */

import { addTo, timestampHi, timestampLo } from "../temporal/mod.ts";
import type { CompactionState } from "./_compaction_state.ts";
import { encodeBirth } from "./birth.ts";
import { mergedPath } from "./compaction_switch.ts";
import { ROW_KIND, SEGMENT_HEADER_BYTES, STRUCTURAL } from "./format.ts";
import { isDeltas } from "./frame_reader.ts";
import { FrameWriter, segmentHeader } from "./frame_writer.ts";
import { RowColumns } from "./import_columns.ts";
import { structuralRow } from "./log_builder.ts";
import { participantsOf } from "./log_reader.ts";
import type { Storage, StorageFile } from "./storage.ts";
import { structureFrame, type StructureRow, structureRows } from "./structure_rows.ts";

/** Bytes of a page in the log beside its contents, about. */
const PAGE_BYTES = 64;
/** Bytes of rows gathered before others go on. */
const TURN_BYTES = 512 * 1024;
/** Rows of edges, rules or marks in one frame. */
const STRUCTURE_ROWS_MAX = 8192;

/** What merged segments are to fit between. */
export interface MergedPlace {
  /** Lane. */
  readonly lane: number;
  /** Incarnation of the segments that they replace. */
  readonly incarnation: number;
  /** Most segments. */
  readonly segmentsMax: number;
  /** Bytes of a segment, about. */
  readonly segmentBytes: number;
  /** Bytes of pages that one merged tick holds, about. */
  readonly tickBytes: number;
  /** Last tick before those that are merged. */
  readonly tickBefore: number;
}

/** Writes merged segments under names of their own. */
export class CompactionWriter {
  /** Merged ticks written. */
  ticks = 0;
  /** Rows of deltas written. */
  rows = 0;
  readonly #storage: Storage;
  readonly #place: MergedPlace;
  readonly #turn: () => Promise<void>;
  readonly #frames = new FrameWriter();
  readonly #files: { readonly file: StorageFile; size: number }[] = [];

  /** Writes to a storage that holds no other merged segments. */
  constructor(storage: Storage, place: MergedPlace, turn: () => Promise<void>) {
    this.#storage = storage;
    this.#place = place;
    this.#turn = turn;
  }

  /** Segments written. */
  get segments(): number {
    return this.#files.length;
  }

  /** Bytes of all segments. */
  get byteLength(): number {
    return this.#files.reduce((sum, { size }) => sum + size, 0);
  }

  /** Writes a state, tick by tick. */
  async write(state: CompactionState): Promise<void> {
    const { table } = state.store;
    const pages = [...table.rows()].sort((a, b) => table.ids[a] - table.ids[b]);
    const { tickBytes, tickBefore } = this.#place;
    const sizeOf = (row: number) => table.sizeOf(row);
    const groups = grouped(pages, sizeOf, tickBytes, state.tick - tickBefore);
    let stamps = groups.length + pages.length;
    for (const row of pages) stamps += state.rowsOf(row);
    const structure = structureRows(state.store);
    for (const { rows } of structure) stamps += rows.length;
    // Ends with the time of the last row that it stands for, so that time goes on rising.
    const stamp = new Stamps(state.hlcLast - BigInt(stamps - 1));
    for (const [index, group] of groups.entries()) {
      const tick = state.tick - groups.length + 1 + index;
      const isLast = index === groups.length - 1;
      await this.#tick(state, group, tick, stamp, isLast ? state.store.graphVersion : 0);
      if (isLast) {
        for (const { rows, rowKind } of structure) this.#structure(rows, rowKind, stamp);
      }
      const { hi, lo } = isLast ? halves(state.hlcLast) : stamp.take(1);
      this.#frames.addCommit(hi, lo, state.store.nextPageId, state.store.nextRule);
      await this.#append(this.#frames.finish());
      this.ticks++;
    }
  }

  /** Builds one tick, up to its commit row. */
  async #tick(
    state: CompactionState,
    pages: readonly number[],
    tick: number,
    stamp: Stamps,
    graphVersion: number,
  ): Promise<void> {
    const { store } = state, { lane, incarnation, tickBefore } = this.#place;
    this.#frames.begin({
      tick,
      lane,
      participants: participantsOf([lane]),
      incarnation,
      graphVersion,
      // Their rows come from many ticks, whose times are gone.
      clockErrorUs: 0xffff_ffff,
      syncedPosition: 0,
      span: this.ticks === 0 ? tick - tickBefore - 1 : 0,
    });
    const births = new RowColumns();
    for (const row of pages) {
      const id = store.table.ids[row];
      const size = store.table.sizeOf(row), shard = store.table.shards[row];
      const payload = encodeBirth(store.nameOf(id), store.metadataOf(id));
      births.push(structuralRow(id, STRUCTURAL.createPage, { size, shard, payload }));
    }
    this.#frame(births, ROW_KIND.structural, stamp);
    await this.#deltas(state, pages.filter((row) => !state.isDerived(row)), ROW_KIND.data, stamp);
    await this.#deltas(state, pages.filter((row) => state.isDerived(row)), ROW_KIND.derived, stamp);
  }

  async #deltas(
    state: CompactionState,
    pages: readonly number[],
    rowKind: number,
    stamp: Stamps,
  ): Promise<void> {
    let rows = new RowColumns(), gathered = 0;
    for (const page of pages) {
      for (const row of state.mergedRows(page)) {
        if (rows.isFull) {
          this.#frame(rows, rowKind, stamp);
          rows = new RowColumns();
        }
        rows.push(row);
        gathered += row.payload.length + PAGE_BYTES;
        this.rows++;
      }
      if (gathered < TURN_BYTES) continue;
      gathered = 0;
      await this.#turn();
    }
    this.#frame(rows, rowKind, stamp);
  }

  #structure(rows: readonly StructureRow[], rowKind: number, stamp: Stamps): void {
    for (let first = 0; first < rows.length; first += STRUCTURE_ROWS_MAX) {
      const some = rows.slice(first, first + STRUCTURE_ROWS_MAX);
      const { hi: hlcHi, lo: hlcLo } = stamp.take(some.length);
      this.#frames.addRows({ ...structureFrame(some, rowKind), hlcHi, hlcLo });
    }
  }

  #frame(rows: RowColumns, rowKind: number, stamp: Stamps): void {
    if (rows.rows === 0) return;
    const { hi: hlcHi, lo: hlcLo } = stamp.take(rows.rows);
    const epochs = isDeltas(rowKind);
    const about = { rowKind, producer: 0, sequence: 0, hlcHi, hlcLo, epochs };
    this.#frames.addRows({ ...rows.frame(), ...about });
  }

  async #append(parts: readonly Uint8Array[]): Promise<void> {
    const { segmentsMax, segmentBytes, lane } = this.#place;
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    const last = this.#files.at(-1);
    const isFull = last === undefined || last.size + bytes > segmentBytes;
    if (isFull && this.#files.length < segmentsMax) {
      const file = this.#storage.open(mergedPath(lane, this.#files.length), "create");
      this.#files.push({ file, size: SEGMENT_HEADER_BYTES });
    }
    const target = this.#files[this.#files.length - 1];
    for (const part of parts) {
      await target.file.writeAsync(part, target.size);
      target.size += part.length;
    }
  }

  /**
   * Writes the headers and makes all durable.
   *
   * @param numberLast Number of the last segment.
   * @param end Position at which it ends.
   */
  async finish(numberLast: number, end: number): Promise<void> {
    const { lane, incarnation } = this.#place;
    let position = end - this.byteLength, number = numberLast - this.#files.length + 1;
    for (const { file, size } of this.#files) {
      file.write(segmentHeader(lane, number, position, incarnation), 0);
      await file.syncAsync();
      position += size;
      number++;
    }
  }

  /** Closes the files. */
  close(): void {
    for (const { file } of this.#files) file.close();
  }
}

/** Times in order. */
class Stamps {
  #next: bigint;

  constructor(first: bigint) {
    this.#next = first;
  }

  take(rows: number) {
    const first = this.#next;
    this.#next = addTo(timestampHi(first), timestampLo(first), rows);
    return halves(first);
  }
}

function halves(hlc: bigint) {
  return { hi: timestampHi(hlc), lo: timestampLo(hlc) };
}

/** Pages in groups of about so many bytes, at most so many groups, at least one. */
function grouped(
  pages: readonly number[],
  sizeOf: (page: number) => number,
  tickBytes: number,
  groupsMax: number,
): number[][] {
  const groups: number[][] = [[]];
  let bytes = 0;
  for (const page of pages) {
    const size = sizeOf(page) + PAGE_BYTES;
    if (bytes > 0 && bytes + size > tickBytes && groups.length < groupsMax) {
      groups.push([]);
      bytes = 0;
    }
    groups[groups.length - 1].push(page);
    bytes += size;
  }
  return groups;
}
