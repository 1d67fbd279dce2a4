/**
 * Which ticks and pages a damaged place concerns.
 *
 * Of a byte that is known with what was written, they are read from the log as it was written: the frame that it
 * stands in, its tick, and all pages that the tick has rows of. Of a part in which more is wrong they are those that a
 * salvage finds missing, and those that the segment's index names.
 *
 * Cost: a replay and a pass over the log for each place.
 */

import { MEMORY_LIMIT_BYTES_DEFAULT, MmsbError } from "../base/mod.ts";
import {
  Checkpoint,
  findIndex,
  findSummary,
  type FrameHeader,
  isDeltas,
  type LogFault,
  LogReader,
  META_PATH,
  metaOf,
  readFrameHeader,
  recover,
  ROW_KIND_NAMES,
  RowDecoder,
  type SalvageRange,
  type SalvageReport,
  SEGMENT_HEADER_BYTES,
  segmentBytes,
  type Storage,
} from "../log/mod.ts";
import { PageStore } from "../physical/mod.ts";
import type { WrongByte } from "./_own_bytes.ts";

/** A page that damage concerns. */
export interface ConcernedPage {
  /** Its id. */
  readonly page: number;
  /** Its name, "" for none. */
  readonly name: string;
}

/** What a place concerns. */
export interface Concerned {
  /** Ticks that it concerns; absent where none is known. */
  readonly ticks?: SalvageRange;
  /** Pages that it concerns. */
  readonly pages: readonly ConcernedPage[];
  /** What the part is, in words. */
  readonly part?: string;
}

const NO_PAGES: readonly ConcernedPage[] = [];

/** What a byte is part of, read from the log as it was written. */
export function aboutByte(
  whole: Storage,
  { file, offset }: WrongByte,
  problem: LogFault,
): Concerned {
  if (file === META_PATH) {
    return { pages: NO_PAGES, part: "what the directory says of itself; no page is stored in it" };
  }
  if (problem.fault === "checkpoint") return aboutCheckpoint(whole, offset, problem);
  const frame = frameAt(whole, file, offset);
  if (frame === undefined) {
    return { pages: NO_PAGES, part: "the header of the segment; no delta is stored in it" };
  }
  const kind = ROW_KIND_NAMES[frame.rowKind] ?? "unknown";
  const inHeader = offset < frame.at + frame.headerLength ? "the header of " : "";
  const { rows } = frame, what = isDeltas(frame.rowKind) ? "delta" : "row";
  const part = `${inHeader}the frame at byte ${frame.at}: ${rows} ${kind} ${what}${
    rows === 1 ? "" : "s"
  } of tick ${frame.tick}`;
  const ticks = { first: frame.tick - frame.span, last: frame.tick };
  return { ticks, pages: pagesOfTick(whole, frame.tick), part };
}

function aboutCheckpoint(whole: Storage, offset: number, { tick = 0 }: LogFault): Concerned {
  const ticks = { first: tick, last: tick };
  try {
    using checkpoint = Checkpoint.open(whole, tick);
    const chunk = checkpoint.chunks.find(({ at, bytes }) => offset >= at && offset < at + bytes);
    if (chunk === undefined) return { ticks, pages: NO_PAGES, part: "what lies around the images" };
    const { idMin, idMax, pages } = chunk, names = namesAt(whole, tick);
    const part = `images of ${pages} pages, ids ${idMin} to ${idMax}, of tick ${chunk.tick}`;
    const concerned = [...names].filter(([page]) => page >= idMin && page <= idMax);
    return { ticks, part, pages: concerned.map(([page, name]) => ({ page, name })) };
  } catch (error) {
    if (error instanceof MmsbError) return { ticks, pages: NO_PAGES };
    throw error;
  }
}

/** The frame that a byte stands in. */
function frameAt(storage: Storage, file: string, offset: number): FrameHeader | undefined {
  const bytes = storage.readAll(file);
  if (bytes === undefined || offset < SEGMENT_HEADER_BYTES) return undefined;
  const copy = Uint8Array.from(bytes), segment = segmentBytes(copy.buffer, copy.length);
  for (let at = SEGMENT_HEADER_BYTES; at < copy.length;) {
    const frame = readFrameHeader(segment, at, file);
    if ("fault" in frame) return undefined;
    if (offset < at + frame.length) return frame;
    at += frame.length;
  }
  return undefined;
}

/** Pages that a tick had rows of. */
function pagesOfTick(storage: Storage, wanted: number): ConcernedPage[] {
  const meta = metaOf(storage.readAll(META_PATH)), decoder = new RowDecoder();
  const reader = new LogReader(storage, meta, { tickMax: wanted }), pages = new Set<number>();
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    if (tick.tick !== wanted) continue;
    for (const { frames, segment } of tick.lanes) {
      for (const frame of frames) {
        const { columns, rows } = decoder.decode(segment, frame, false);
        for (let row = 0; row < rows; row++) pages.add(columns.page[row] >>> 0);
      }
    }
  }
  return named([...pages], namesAt(storage, wanted));
}

/** Names of the pages that lived after a tick, as far as they can be had. */
function namesAt(storage: Storage, tick: number): Map<number, string> {
  const store = new PageStore(MEMORY_LIMIT_BYTES_DEFAULT), names = new Map<number, string>();
  try {
    recover(storage, metaOf(storage.readAll(META_PATH)), store, tick);
  } catch (error) {
    // What was replayed until then has its names.
    if (!(error instanceof MmsbError)) throw error;
  }
  for (const row of store.table.rows()) {
    const id = store.table.ids[row];
    names.set(id, store.nameOf(id));
  }
  return names;
}

function named(pages: readonly number[], names: ReadonlyMap<number, string>): ConcernedPage[] {
  return pages.toSorted((a, b) => a - b).map((page) => ({ page, name: names.get(page) ?? "" }));
}

/** What is known of a part of which more than a byte is wrong. */
export function aboutPart(
  storage: Storage,
  { file, offset, tick, fault }: LogFault,
  salvage: SalvageReport | undefined,
): Concerned {
  if (fault === "checkpoint") {
    return {
      pages: NO_PAGES,
      ...(tick === undefined ? {} : { ticks: { first: tick, last: tick } }),
    };
  }
  const lost = salvage?.ticksLost ?? [];
  const at = tick === undefined
    ? lost[0]
    : lost.find(({ first, last }) => first <= tick && tick <= last) ?? { first: tick, last: tick };
  if (at === undefined) return { pages: NO_PAGES };
  const hurt = (salvage?.pagesHurt ?? []).filter(({ ticks }) => {
    return ticks.first <= at.last && ticks.last >= at.first;
  });
  const gone = (salvage?.pagesLost ?? []).map(({ page }) => page);
  const names = safeNames(storage);
  for (const { page, name = "" } of hurt) names.set(page, name);
  const indexed = pagesInIndex(storage, file, offset, at, names.keys());
  const pages = new Set([...hurt.map(({ page }) => page), ...gone, ...indexed]);
  return { ticks: at, pages: named([...pages], names) };
}

function safeNames(storage: Storage): Map<number, string> {
  try {
    return namesAt(storage, Infinity);
  } catch (error) {
    if (error instanceof MmsbError) return new Map();
    throw error;
  }
}

/** Pages with rows in some ticks of a segment, if its index is there and can be believed. */
function pagesInIndex(
  storage: Storage,
  file: string,
  offset: number,
  { first, last }: SalvageRange,
  known: Iterable<number>,
): number[] {
  const [, lane, number] = /^lane-(\d+)\/(\d+)\.log$/.exec(file) ?? [];
  if (lane === undefined || !storage.exists(file)) return [];
  const summary = findSummary(storage, Number(lane), Number(number));
  const index = summary === undefined ? undefined : findIndex(storage, summary);
  if (index === undefined) return [];
  const { frameAts, frameRows, frameTicks, ticks } = index;
  const isIn = (frame: number) => {
    const tick = ticks[frameTicks[frame]];
    return tick >= first && tick <= last || frameAts[frame] === offset;
  };
  const pages: number[] = [];
  for (const page of known) {
    const isConcerned = index.rowsOf(page).some((row) => {
      let frame = frameRows.length - 1;
      while (frame > 0 && frameRows[frame] > row) frame--;
      return isIn(frame);
    });
    if (isConcerned) pages.push(page);
  }
  return pages;
}
