/**
 * Log index: the indices of all segments of a log, and with them its past by page, tick and time.
 *
 * Closed segments have their index in a file beside them. Where it is missing or wrong it is made
 * from the segment, and stored if this process is the directory's writer. The segment that is being
 * written is indexed in memory and goes on from where the last look ended. Indices are kept in memory
 * as long as there is room; of the others the summaries stay.
 *
 * Cost: the first look at a log reads 400 bytes a segment that has its index; at one that has none
 * it is a pass over the log.
 *
 * @module
 */

import { INDEX_CACHE_BYTES_MAX, LANES_MAX, MmsbError } from "../base/mod.ts";
import { physicalUs } from "../temporal/mod.ts";
import { FRAME_HEADER_BYTES, laneFolder, SEGMENT_HEADER_BYTES, segmentPath } from "./format.ts";
import { FrameCache } from "./frame_cache.ts";
import type { LaneTick } from "./lane_reader.ts";
import type { DirectoryMeta, LanePlace, LogPlace } from "./meta.ts";
import {
  findIndex,
  findSummary,
  type SegmentColumns,
  type SegmentIndex,
  segmentIndexPath,
  type SegmentSummary,
} from "./segment_index.ts";
import { SegmentIndexBuilder } from "./segment_index_builder.ts";
import { type Storage, temporaryPath } from "./storage.ts";
import { LaneTail, type TailFault } from "./tail.ts";

/** One segment as the index knows it. */
export interface IndexedSegment {
  /** The segment. */
  readonly summary: SegmentSummary;
  /** Its ticks and frames. */
  readonly columns: SegmentColumns;
  /** Rows of a page, in order, numbered through the segment. */
  rowsOf(page: number): Uint32Array;
}

/** How a log is indexed. */
export interface LogIndexOptions {
  /** Whether indices are stored: only by the directory's writer. Default no. */
  readonly writes?: boolean;
  /** Bytes of indices kept in memory. */
  readonly bytesMax?: number;
}

interface IndexedLane {
  readonly lane: number;
  readonly closed: SegmentSummary[];
  tail: LaneTail;
  open: SegmentIndexBuilder | undefined;
}

/** Indexes one log. */
export class LogIndex {
  /** Frames of the log. */
  readonly frames: FrameCache;
  /** Ticks up to this one are not in the log: it began later, or they were dropped. */
  readonly tickBase: number;
  readonly #storage: Storage;
  readonly #writes: boolean;
  readonly #bytesMax: number;
  readonly #base: DirectoryMeta["base"];
  readonly #lanes = new Map<number, IndexedLane>();
  /** Indices in memory, the one used last at the end. */
  readonly #loaded = new Map<SegmentSummary, SegmentIndex>();
  #loadedBytes = 0;
  #tick: number;
  #writing: Promise<void> = Promise.resolve();

  /**
   * Begins; nothing is read yet.
   *
   * @param storage The directory.
   * @param meta Its metadata.
   * @param options Whether indices are stored, and how many are kept.
   */
  constructor(
    storage: Storage,
    meta: DirectoryMeta | undefined,
    options: LogIndexOptions = {},
  ) {
    this.#storage = storage;
    this.#base = meta?.base;
    this.#writes = options.writes ?? false;
    this.#bytesMax = options.bytesMax ?? INDEX_CACHE_BYTES_MAX;
    this.frames = new FrameCache(storage);
    this.tickBase = meta?.base?.tick ?? 0;
    this.#tick = this.tickBase;
  }

  /** The last tick that is indexed. */
  get tick(): number {
    return this.#tick;
  }

  /** Bytes of the indices in memory. */
  get bytes(): number {
    return this.#loadedBytes;
  }

  /** Lanes that have ticks. */
  get lanes(): number[] {
    return [...this.#lanes.keys()];
  }

  /**
   * Takes in what has come.
   *
   * @param tickMax The last tick wanted; it is known to be whole.
   * @returns Why it ends before that tick, if it does: the log is damaged there.
   * @throws {MmsbError} `version` for a newer format, `io` where files cannot be read.
   */
  update(tickMax: number): TailFault | undefined {
    if (this.#tick >= tickMax) return undefined;
    this.#findLanes();
    for (const lane of this.#lanes.values()) {
      // What could not be read is looked at again: a file may have been restored.
      if (lane.tail.fault !== undefined) {
        const { place, tick } = lane.tail;
        lane.tail = new LaneTail(this.#storage, lane.lane, { ...place, tick });
      }
      for (
        let tick = lane.tail.next({ tickMax });
        tick !== undefined;
        tick = lane.tail.next({ tickMax })
      ) {
        this.#add(lane, tick);
        this.#tick = Math.max(this.#tick, tick.tick);
      }
      lane.tail.release();
    }
    if (this.#tick >= tickMax) return undefined;
    const seen = [...this.#lanes.values()].map(({ tail }) => tail.seen);
    return seen.find((fault) => fault !== undefined) ??
      { path: segmentPath(0, 1), offset: 0, reason: "the log has no segment" };
  }

  /** The segments of a lane with ticks from one to another, in order. */
  *segments(lane: number, tickFrom = 0, tickTo = Infinity): Generator<IndexedSegment> {
    const indexed = this.#lanes.get(lane);
    if (indexed === undefined) return;
    for (const summary of indexed.closed) {
      if (summary.tickLast < tickFrom) continue;
      if (summary.tickBefore >= tickTo) return;
      const index = this.#load(summary);
      yield { summary, columns: index, rowsOf: (page) => index.rowsOf(page) };
    }
    const { open } = indexed;
    if (open === undefined || open.summary.tickLast < tickFrom) return;
    if (open.summary.tickBefore >= tickTo) return;
    yield {
      summary: open.summary,
      columns: open.columns,
      rowsOf: (page) => open.rowsOf(page),
    };
  }

  /** The same from the newest to the oldest, for who may stop before the end. */
  *segmentsBack(lane: number, tickTo = Infinity): Generator<IndexedSegment> {
    const indexed = this.#lanes.get(lane);
    if (indexed === undefined) return;
    const { open, closed } = indexed;
    if (open !== undefined && open.summary.tickBefore < tickTo) {
      const { summary, columns } = open;
      yield { summary, columns, rowsOf: (page) => open.rowsOf(page) };
    }
    for (let at = closed.length - 1; at >= 0; at--) {
      const summary = closed[at];
      if (summary.tickBefore >= tickTo) continue;
      const index = this.#load(summary);
      yield { summary, columns: index, rowsOf: (page) => index.rowsOf(page) };
    }
  }

  /** The last tick whose commit is at or before a time in µs; the base's where all are later. */
  tickAt(timeUs: number): number {
    let last = this.tickBase;
    for (const { lane, closed, open } of this.#lanes.values()) {
      const summaries = [...closed, ...(open === undefined ? [] : [open.summary])];
      const at = summaries.findLastIndex(({ hlcFirst }) => physicalUs(hlcFirst) <= timeUs);
      if (at < 0) continue;
      const { tickLast, tickBefore, hlcLast } = summaries[at];
      if (physicalUs(hlcLast) <= timeUs) {
        last = Math.max(last, tickLast);
        continue;
      }
      for (const { columns } of this.segments(lane, tickBefore + 1, tickLast)) {
        last = Math.max(last, lastTickAt(columns, timeUs));
      }
    }
    return last;
  }

  /** Where to begin reading with a tick that is indexed, or with the one after. */
  placeBefore(tick: number): LogPlace {
    let before = this.tickBase;
    const lanes: LanePlace[] = [];
    for (const { lane, tail } of this.#lanes.values()) {
      let place = tail.place;
      for (const { summary, columns } of this.segments(lane, tick)) {
        const at = columns.ticks.findIndex((each) => each >= tick);
        if (at < 0) continue;
        const { number, position } = summary, offset = columns.tickAts[at];
        place = { lane, segment: number, offset, position: position + offset };
        break;
      }
      lanes.push(place);
      for (const { summary, columns } of this.segments(lane, tick - 1)) {
        const last = columns.ticks.findLast((each) => each < tick) ?? summary.tickBefore;
        before = Math.max(before, Math.min(last, tick - 1));
        break;
      }
      if (tail.tick < tick) before = Math.max(before, tail.tick);
    }
    return { tick: before, lanes };
  }

  /**
   * The last tick before another one, and the first at or after it; `undefined` where there is none,
   * as far as the log is indexed.
   */
  around(tick: number): { readonly before?: number; readonly after?: number } {
    let before = this.tickBase, after = Infinity;
    for (const { lane, closed, open } of this.#lanes.values()) {
      const last = open?.summary.tickLast ?? closed.at(-1)?.tickLast ?? this.tickBase;
      if (last < tick) before = Math.max(before, last);
      for (const { summary, columns } of this.segments(lane, tick)) {
        before = Math.max(
          before,
          columns.ticks.findLast((each) => each < tick) ?? summary.tickBefore,
        );
        after = Math.min(after, columns.ticks.find((each) => each >= tick) ?? Infinity);
        break;
      }
    }
    return {
      ...(before === 0 ? {} : { before }),
      ...(after === Infinity ? {} : { after }),
    };
  }

  /** Waits until indices that are being stored are. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  #findLanes(): void {
    const numbers = new Set(this.#base?.lanes.map(({ lane }) => lane));
    for (const name of this.#storage.list("")) {
      const lane = Number(/^lane-(\d{2,3})$/.exec(name)?.[1] ?? NaN);
      if (lane < LANES_MAX && laneFolder(lane) === name) numbers.add(lane);
    }
    for (const lane of [...numbers].sort((a, b) => a - b)) {
      if (!this.#lanes.has(lane)) this.#lanes.set(lane, this.#begin(lane));
    }
  }

  /** Takes the indices of a lane that are there and right; the tail goes on behind them. */
  #begin(lane: number): IndexedLane {
    const begin = this.#base?.lanes.find((place) => place.lane === lane);
    let place: LanePlace = begin ??
      { lane, segment: 1, offset: SEGMENT_HEADER_BYTES, position: SEGMENT_HEADER_BYTES };
    let tick = this.tickBase;
    const closed: SegmentSummary[] = [];
    if (this.#writes) this.#removeOrphans(lane);
    for (let number = place.segment;; number++) {
      const summary = findSummary(this.#storage, lane, number);
      if (summary === undefined || !continues(summary, place, closed.length === 0)) break;
      closed.push(summary);
      tick = summary.tickLast;
      const { end, position } = summary;
      place = { lane, segment: number, offset: end, position: position + end };
    }
    this.#tick = Math.max(this.#tick, tick);
    return {
      lane,
      closed,
      tail: new LaneTail(this.#storage, lane, { ...place, tick }),
      open: undefined,
    };
  }

  /** Removes indices whose segments are gone. */
  #removeOrphans(lane: number): void {
    const names = new Set(this.#storage.list(laneFolder(lane)));
    for (const name of names) {
      const digits = /^(\d{10})\.idx$/.exec(name)?.[1];
      if (digits === undefined || names.has(`${digits}.log`)) continue;
      this.#storage.remove(`${laneFolder(lane)}/${name}`);
    }
  }

  #add(lane: IndexedLane, tick: LaneTick): void {
    if (lane.open !== undefined && lane.open.summary.number !== tick.number) this.#close(lane);
    const before = lane.open?.summary.tickLast ?? lane.closed.at(-1)?.tickLast ?? this.tickBase;
    lane.open ??= new SegmentIndexBuilder(tick, before);
    lane.open.add(tick);
  }

  /** Keeps the index of a segment that is full. */
  #close(lane: IndexedLane): void {
    const { bytes, index } = lane.open!.finish();
    lane.open = undefined;
    lane.closed.push(index.summary);
    this.#keep(index.summary, index);
    if (this.#writes) this.#store(index.summary, bytes);
  }

  #load(summary: SegmentSummary): SegmentIndex {
    const known = this.#loaded.get(summary);
    if (known !== undefined) {
      this.#loaded.delete(summary);
      this.#loaded.set(summary, known);
      return known;
    }
    const index = findIndex(this.#storage, summary) ?? this.#rebuild(summary);
    this.#keep(summary, index);
    return index;
  }

  #keep(summary: SegmentSummary, index: SegmentIndex): void {
    this.#loaded.set(summary, index);
    this.#loadedBytes += index.bytes;
    for (const [old, { bytes }] of this.#loaded) {
      if (this.#loadedBytes <= this.#bytesMax || old === summary) return;
      this.#loaded.delete(old);
      this.#loadedBytes -= bytes;
    }
  }

  /** Makes an index again whose file is not there, or not what it was. */
  #rebuild(summary: SegmentSummary): SegmentIndex {
    const { lane, number, first, position, tickBefore, end } = summary;
    const place = { lane, segment: number, offset: first, position: position + first };
    const tail = new LaneTail(this.#storage, lane, { ...place, tick: tickBefore });
    const limit = { tickMax: summary.tickLast, positionMax: position + end };
    let builder: SegmentIndexBuilder | undefined;
    for (let tick = tail.next(limit); tick !== undefined; tick = tail.next(limit)) {
      if (tick.number !== number) break;
      builder ??= new SegmentIndexBuilder(tick, tickBefore);
      builder.add(tick);
    }
    if (builder?.summary.tickLast === summary.tickLast) {
      const { bytes, index } = builder.finish();
      if (this.#writes) this.#store(summary, bytes);
      return index;
    }
    const { path, offset, reason } = tail.seen ??
      { path: segmentPath(lane, number), offset: first, reason: "it has changed" };
    throw damagedAt({ path, offset, reason }, tail.tick + 1);
  }

  /** Stores an index on another thread; it may fail, as it can be made again. */
  #store(summary: SegmentSummary, bytes: Uint8Array): void {
    const path = segmentIndexPath(summary.lane, summary.number), temporary = temporaryPath(path);
    this.#writing = this.#writing.then(async () => {
      this.#storage.remove(temporary);
      const file = this.#storage.open(temporary, "create");
      try {
        await file.writeAsync(bytes, 0);
      } finally {
        file.close();
      }
      if (!this.#storage.exists(segmentPath(summary.lane, summary.number))) {
        this.#storage.remove(temporary);
      } else {
        this.#storage.rename(temporary, path);
      }
    }).catch(() => {});
  }
}

/** The error of a log that cannot be read on. */
export function damagedAt(fault: TailFault, tick: number, page?: number): MmsbError {
  const { path, offset, reason } = fault;
  const what = page === undefined ? "the log" : `the history of page ${page}`;
  return new MmsbError(
    "corrupt-log",
    `Cannot read ${what} from tick ${tick} on as the log is damaged: ${reason} ("${path}", byte ${offset})`,
    { values: { path, offset, tick, reason, ...(page === undefined ? {} : { page }) } },
  );
}

/** Whether a segment goes on at a place; the first one may be begun before it. */
function continues(summary: SegmentSummary, place: LanePlace, isFirst: boolean): boolean {
  if (isFirst) {
    return summary.position === place.position - place.offset && summary.first <= place.offset;
  }
  return summary.position === place.position ||
    summary.position === place.position + FRAME_HEADER_BYTES;
}

function lastTickAt(columns: SegmentColumns, timeUs: number): number {
  const { ticks, tickHlcs } = columns;
  let low = 0, high = ticks.length;
  while (low < high) {
    const middle = low + high >>> 1;
    if (physicalUs(tickHlcs[middle]) <= timeUs) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? 0 : ticks[low - 1];
}
