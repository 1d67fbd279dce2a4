/**
 * Query ticks: which ticks of a log a query has to look at.
 *
 * Without an index that is every tick. With one, a query for a page needs only the ticks that have rows
 * of it: all that is told of a page (its name, shard and epoch) comes from its own rows. Indices are
 * used where they are stored for most of the log; to make them first would cost more than to read it.
 *
 * Cost: reading and checking the ticks that are given; the rest of a log is not looked at, but for what
 * comes after the last index.
 */

import { decodeBirth } from "./birth.ts";
import { lanesOf } from "./_directory.ts";
import { laneFolder, ROW_KIND, SEGMENT_HEADER_BYTES, segmentPath, STRUCTURAL } from "./format.ts";
import { type IndexedSegment, LogIndex } from "./log_index.ts";
import { LogReader, type LogTick } from "./log_reader.ts";
import { LogTail } from "./log_tail.ts";
import type { DirectoryMeta, LogPlace } from "./meta.ts";
import { findSummary } from "./segment_index.ts";
import type { Storage } from "./storage.ts";
import type { TailFault } from "./tail.ts";

/** The ticks of a query, and what is to be known about the rest of the log. */
export interface QueryTicks {
  /** The ticks, in order. */
  readonly ticks: Iterable<LogTick>;
  /** From where on the log was not looked at; from its beginning if left out. */
  readonly rest?: LogPlace;
  /** What ended the ticks, once they have ended, if that was damage. */
  fault(): TailFault | undefined;
}

/** Part of a log's bytes that must be indexed for the indices to be used. */
const INDEXED_MIN = 0.5;
/** Structural frames that are looked through for names at once. */
const FRAMES_AT_ONCE = 64;

/** The ticks that a query for a page, or for anything, has to look at. */
export function ticksFor(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  page: number | string | undefined,
): QueryTicks {
  if (page === undefined || !isIndexed(storage)) return { ticks: allTicks(storage, meta), fault };
  const index = new LogIndex(storage, meta);
  index.update(Infinity);
  const found = { fault: undefined as TailFault | undefined };
  return {
    ticks: ticksOf(storage, meta, index, ticksWith(index, page), found),
    rest: index.placeBefore(index.tick + 1),
    fault: () => found.fault,
  };
}

function fault(): undefined {}

function* allTicks(storage: Storage, meta: DirectoryMeta | undefined): Generator<LogTick> {
  const reader = new LogReader(storage, meta);
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) yield tick;
}

/** Whether most of a log has indices that can be believed. */
function isIndexed(storage: Storage): boolean {
  let bytes = 0, indexed = 0;
  for (const lane of lanesOf(storage)) {
    for (const name of storage.list(laneFolder(lane))) {
      const number = Number(/^(\d{10})\.idx$/.exec(name)?.[1] ?? 0);
      if (number > 0) indexed += findSummary(storage, lane, number)?.end ?? 0;
      if (/^\d{10}\.log$/.test(name)) {
        const file = storage.open(segmentPath(lane, Number(name.slice(0, 10))), "read");
        bytes += Math.max(0, file.size() - SEGMENT_HEADER_BYTES);
        file.close();
      }
    }
  }
  return indexed > INDEXED_MIN * bytes;
}

/** Ticks that have rows of a page, in order. */
function ticksWith(index: LogIndex, page: number | string): number[] {
  const pages = typeof page === "number" ? [page] : pagesNamed(index, page);
  const wanted = new Set<number>();
  for (const segment of segmentsOf(index)) {
    const { frameRows, frameTicks, ticks } = segment.columns;
    for (const id of pages) {
      let frame = 0;
      for (const row of segment.rowsOf(id)) {
        while (frame + 1 < frameRows.length && frameRows[frame + 1] <= row) frame++;
        wanted.add(ticks[frameTicks[frame]]);
      }
    }
  }
  return [...wanted].sort((a, b) => a - b);
}

function* ticksOf(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  index: LogIndex,
  wanted: readonly number[],
  found: { fault: TailFault | undefined },
): Generator<LogTick> {
  let tail: LogTail | undefined;
  for (const number of wanted) {
    let tick = tail?.tick === number - 1 ? tail.next({ tickMax: number }) : undefined;
    if (tick === undefined) {
      tail = new LogTail(storage, meta, index.placeBefore(number));
      tick = tail.next({ tickMax: number });
    }
    if (tick === undefined) {
      const reason = `tick ${number} cannot be read`;
      found.fault = tail?.fault ?? { path: segmentPath(0, 1), offset: 0, reason };
      return;
    }
    yield tick;
  }
}

function* segmentsOf(index: LogIndex): Generator<IndexedSegment> {
  for (const lane of index.lanes) yield* index.segments(lane);
}

/** Ids of all pages that ever had a name; only births are looked at. */
function pagesNamed(index: LogIndex, name: string): number[] {
  const pages = new Set<number>();
  for (const segment of segmentsOf(index)) {
    const { frameKinds } = segment.columns;
    const frames = [...frameKinds.keys()].filter((at) => frameKinds[at] === ROW_KIND.structural);
    for (let some = 0; some < frames.length; some += FRAMES_AT_ONCE) {
      for (const rows of index.frames.load(segment, frames.slice(some, some + FRAMES_AT_ONCE))) {
        for (let row = 0; row < rows.frame.rows; row++) {
          if (rows.kind(row) !== STRUCTURAL.createPage) continue;
          const start = rows.start(row), length = rows.length(row);
          const payload = length === 0 ? NO_BYTES : rows.bytes.subarray(start, start + length);
          if (decodeBirth(payload).name === name) pages.add(rows.page(row));
        }
      }
    }
  }
  return [...pages];
}

const NO_BYTES = new Uint8Array(0);
