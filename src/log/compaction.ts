/**
 * Compaction: old ticks of a log become few merged ones that lead to the same state.
 *
 * All whole segments from the log's beginning up to a horizon are replaced by the state at the horizon:
 * each living page's birth and the rows that make its bytes, each saying how many rows it stands for.
 * From the horizon on every state, epoch and tick number is as it was; states before it cannot be had
 * any more, nor what pages were that had died by then. A merged row has the source and intent of the
 * latest row of its page that had one, and the latest time that a source stated.
 *
 * Ticks go on meanwhile: nothing but closed segments is read, in slices, and a crash at any moment
 * leaves the old log or the new one (see compaction_switch.ts).
 *
 * Cost: a replay of the closed segments into memory of their own, as large as all pages; their state
 * is written twice.
 *
 * @module
 */

import {
  checkInteger,
  checkKeys,
  checkType,
  MEMORY_LIMIT_BYTES_DEFAULT,
  MmsbError,
  SEGMENT_BYTES_MAX,
  SEGMENT_BYTES_MIN,
} from "../base/mod.ts";
import type { SpillPlan } from "../physical/mod.ts";
import { CompactionState } from "./_compaction_state.ts";
import { CompactionWriter } from "./_compaction_writer.ts";
import { lanesOf } from "./_directory.ts";
import { nextTurn } from "./_platform.ts";
import { segmentNumbers } from "./_segment_files.ts";
import { compactLanes } from "./compaction_lanes.ts";
import { carryOut, finishSwitch, removeMerged } from "./compaction_switch.ts";
import {
  FRAME_HEADER_BYTES,
  laneFolder,
  SECTION_ENTRY_BYTES,
  SECTIONS_MAX,
  SEGMENT_HEADER_BYTES,
  segmentPath,
} from "./format.ts";
import {
  readFrameHeader,
  readSegmentHeader,
  segmentBytes,
  type SegmentHeader,
} from "./frame_reader.ts";
import { LogReader } from "./log_reader.ts";
import { type DirectoryMeta, type LogBase, type LogSwitch, readMeta, writeMeta } from "./meta.ts";
import type { Storage } from "./storage.ts";

/** What a compaction may do. */
export interface CompactionOptions {
  /** Merge only ticks before this one. Default: all ticks in segments that are closed. */
  readonly beforeTick?: number;
  /** Bytes that the pages at the horizon may take. Default 8 GiB. */
  readonly memoryLimitBytes?: number;
  /** Bytes of pages that one merged tick holds, about. Default 4 MiB. */
  readonly tickBytes?: number;
}

/** What a compaction did. */
export interface CompactionReport {
  /** Whether the log was changed: not where it would not have become smaller. */
  readonly merged: boolean;
  /** The last tick that was merged: states before it cannot be had any more. 0 for none. */
  readonly horizon: number;
  /** Ticks that were merged, and ticks that stand for them. */
  readonly ticks: { readonly before: number; readonly after: number };
  /** Rows of deltas in them. */
  readonly rows: { readonly before: number; readonly after: number };
  /** Bytes of log. */
  readonly bytes: { readonly before: number; readonly after: number };
}

/** A log whose writer goes on. */
export interface CompactionHost {
  /** The metadata as it stands; asked again after each wait. */
  meta(): DirectoryMeta;
  /** Takes the metadata that was stored. */
  stored(meta: DirectoryMeta): void;
  /** The segment of a lane that is being written: it and later ones are not touched. */
  segmentOpen(lane: number): number;
  /** The last tick that is durable; that at which the directory was closed if left out. */
  readonly tickLast?: number;
  /** Where pages go for which there is no room in memory. */
  readonly spill?: SpillPlan;
}

/** Bytes of pages that one merged tick holds, about. */
const TICK_BYTES = 4 * 1024 * 1024;
/** Bytes of log replayed before others go on. */
const TURN_BYTES = 64 * 1024;
const LANE = 0;

/**
 * Merges the old ticks of a directory that no bus has open.
 *
 * @param storage The directory, closed cleanly.
 * @param options How far.
 * @returns What was merged.
 * @throws {MmsbError} `locked` where a writer has it, `usage` where it is no directory or was not
 * closed cleanly, `corrupt-log` where it is damaged, `allocation` where memory is short, `disk-full`
 * or `io` where it cannot be written. The log is then as it was, or merged if that was durable already;
 * the next opening or compaction carries on.
 *
 * @example A counter, and a log that forgets its way
 * ```ts
 * import assert from "node:assert/strict";
 * import { compactDirectory, MemoryStorage, StateBus } from "@mmsb/mmsb";
 *
 * const storage = new MemoryStorage(); // or new FileStorage(dir)
 * const bus = await StateBus.open({ storage });
 * const page = bus.createPage({ size: 8 });
 * for (let i = 0; i < 50; i++) await bus.commit(() => page.combine("u32", "add", 0, 2));
 * await bus.close();
 * const { horizon, rows } = await compactDirectory(storage);
 * assert.deepEqual([horizon, rows], [50, { before: 50, after: 1 }]);
 * const again = await StateBus.open({ storage });
 * assert.deepEqual([again.page(1).read(0, 1)[0], again.page(1).epoch], [100, 50]);
 * await again.close();
 * ```
 */
export async function compactDirectory(
  storage: Storage,
  options: CompactionOptions = {},
): Promise<CompactionReport> {
  checkKeys("compactDirectory", options, ["beforeTick", "memoryLimitBytes", "tickBytes"]);
  checkType("storage.lock", (checkType("storage", storage, "object") as Storage).lock, "function");
  const unlock = storage.lock();
  try {
    const found = readMeta(storage);
    if (found === undefined || found.closed === null) {
      throw new MmsbError(
        "usage",
        `Cannot compact ${storage.location} as it was not closed cleanly: open it, then close it`,
        { values: { location: storage.location } },
      );
    }
    let meta = finishSwitch(storage, found);
    const segmentOpen = () => Infinity;
    const host = { segmentOpen, meta: () => meta, stored: (next: DirectoryMeta) => meta = next };
    return await compactLog(storage, host, options);
  } finally {
    unlock();
  }
}

/**
 * Merges the old ticks of a log that may be written to meanwhile, by this process only.
 *
 * @param storage The directory.
 * @param host Who writes to it.
 * @param options How far.
 * @throws {MmsbError} as {@linkcode compactDirectory}.
 */
export async function compactLog(
  storage: Storage,
  host: CompactionHost,
  options: CompactionOptions = {},
): Promise<CompactionReport> {
  const { memoryLimitBytes = MEMORY_LIMIT_BYTES_DEFAULT } = options;
  const { beforeTick = Infinity, tickBytes = TICK_BYTES } = options;
  const meta = host.meta();
  if (beforeTick !== Infinity) checkInteger("beforeTick", beforeTick, 1, Number.MAX_SAFE_INTEGER);
  checkInteger("tickBytes", tickBytes, 1, SEGMENT_BYTES_MAX);
  if ((meta.base?.tick ?? 0) > 0) {
    throw new MmsbError(
      "usage",
      `Cannot compact ${storage.location}: its log must begin with its first tick`,
      { values: { location: storage.location, base: meta.base?.tick ?? 0 } },
    );
  }
  // What an earlier one decided and could not carry out.
  if (meta.pending !== undefined) await settle(storage, host, meta.pending);
  // An error may have hidden that it was stored: what it speaks of goes only once it does not count.
  else if (readMeta(storage)?.pending !== undefined) writeMeta(storage, meta);
  if (lanesOf(storage).some((lane) => lane !== LANE)) {
    return await compactLanes(storage, host, {
      beforeTick,
      memoryLimitBytes,
      spill: host.spill,
      tickBytes,
      firstTick: (lane, segment) => headOf(storage, segment, lane).tick,
      switchOver: async (next, pending) => {
        store(storage, host, next);
        await settle(storage, host, pending);
      },
    });
  }
  const range = findRange(storage, host.meta(), host.segmentOpen(LANE), beforeTick);
  if (range === undefined) return unchanged(meta, 0);
  const before = range.end - range.position;
  using state = new CompactionState(memoryLimitBytes, host.spill);
  await replay(state, storage, host.meta(), range);
  if (state.ticks <= 1) return unchanged(meta, before);
  removeMerged(storage, LANE);
  const writer = new CompactionWriter(storage, {
    lane: LANE,
    incarnation: range.incarnation,
    segmentsMax: range.last - range.first + 1,
    segmentBytes: Math.max(
      Math.min(tickBytes, SEGMENT_BYTES_MIN),
      Math.ceil(before / (range.last - range.first + 1)),
    ),
    tickBytes,
    tickBefore: 0,
  }, nextTurn);
  try {
    await writer.write(state);
    const after = writer.byteLength;
    if (after >= before) {
      writer.close();
      removeMerged(storage, LANE);
      return unchanged(meta, before);
    }
    await writer.finish(range.last, range.end);
    storage.syncFolder(laneFolder(LANE));
  } catch (error) {
    writer.close();
    removeMerged(storage, LANE);
    throw error;
  }
  writer.close();
  await switchOver(storage, host, range, writer, state.tick);
  return {
    merged: true,
    horizon: state.tick,
    ticks: { before: state.ticks, after: writer.ticks },
    rows: { before: state.rows, after: writer.rows },
    bytes: { before, after: writer.byteLength },
  };
}

/** The segments that are to be merged. */
interface Range {
  /** Number of the first. */
  readonly first: number;
  /** Its position. */
  readonly position: number;
  /** Number of the last. */
  readonly last: number;
  /** Position at which it ends and the next one begins. */
  readonly end: number;
  /** Incarnation of the last. */
  readonly incarnation: number;
}

function unchanged(meta: DirectoryMeta, bytes: number): CompactionReport {
  const none = { before: 0, after: 0 };
  const horizon = meta.base?.horizon ?? 0;
  return {
    merged: false,
    horizon,
    ticks: none,
    rows: none,
    bytes: { before: bytes, after: bytes },
  };
}

/** The whole segments that hold only ticks before one, if there are any. */
function findRange(
  storage: Storage,
  meta: DirectoryMeta,
  segmentOpen: number,
  beforeTick: number,
): Range | undefined {
  const from = meta.base?.lanes.find(({ lane }) => lane === LANE)?.segment ?? 1;
  const numbers = segmentNumbers(storage, LANE)
    .filter((number) => number >= from && number < segmentOpen);
  const first = numbers[0];
  if (first !== from) return undefined;
  const { position } = headOf(storage, first).header ?? {};
  if (position === undefined) return undefined;
  for (const last of numbers.toReversed()) {
    const { header } = headOf(storage, last);
    const end = endOf(storage, meta, last, beforeTick);
    if (header === undefined || end === undefined) continue;
    return { first, position, last, end, incarnation: header.incarnation };
  }
  return undefined;
}

/** Position at which a segment ends, if all that follows begins at `beforeTick` or later. */
function endOf(
  storage: Storage,
  meta: DirectoryMeta,
  number: number,
  beforeTick: number,
): number | undefined {
  const next = headOf(storage, number + 1);
  const known = meta.lanes.find(({ lane }) => lane === LANE);
  const nextPosition = known?.segment === number + 1 ? known.position : undefined;
  if (next.exists) {
    if (beforeTick !== Infinity && !(next.tick !== undefined && next.tick <= beforeTick)) {
      return undefined;
    }
    return next.header?.position ?? nextPosition;
  }
  // The last segment of a directory that was closed.
  const { closed } = meta;
  if (closed === null || known?.segment !== number || closed.tick >= beforeTick) return undefined;
  return known.position;
}

/** What the first bytes of a segment say. */
function headOf(
  storage: Storage,
  number: number,
  lane: number = LANE,
): { exists: boolean; header?: SegmentHeader; tick?: number } {
  const path = segmentPath(lane, number);
  if (!storage.exists(path)) return { exists: false };
  const buffer = new ArrayBuffer(
    SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + SECTION_ENTRY_BYTES * SECTIONS_MAX,
  );
  const file = storage.open(path, "read");
  let size: number;
  try {
    size = file.read(new Uint8Array(buffer), 0);
  } finally {
    file.close();
  }
  const segment = segmentBytes(buffer, size);
  const header = readSegmentHeader(segment, path);
  if (header === "unused" || "fault" in header) return { exists: true };
  const frame = readFrameHeader(segment, SEGMENT_HEADER_BYTES, path);
  if ("fault" in frame || frame.tick === 0) return { exists: true, header };
  return { exists: true, header, tick: frame.tick - frame.span };
}

/** Replays the segments, in slices; all of them must be whole. */
async function replay(
  state: CompactionState,
  storage: Storage,
  meta: DirectoryMeta,
  range: Range,
): Promise<void> {
  const reader = new LogReader(storage, meta);
  let turnAt = range.position + TURN_BYTES, tick = reader.next();
  for (; tick !== undefined && tick.lanes[0].number <= range.last; tick = reader.next()) {
    state.take(tick);
    const position = tick.lanes[0].position + tick.lanes[0].commitFrame.at;
    if (position < turnAt) continue;
    turnAt = position + TURN_BYTES;
    await nextTurn();
  }
  if (tick !== undefined) return;
  const { state: ending, lanes: [end], reason } = reader.end();
  // A segment may end with the mark that the lane goes on in the next one.
  if (ending === "damaged" || end.position < range.end - FRAME_HEADER_BYTES) {
    throw new MmsbError(
      "corrupt-log",
      `Cannot compact ${storage.location} as its log is damaged after tick ${state.tick}: ${reason}`,
      { values: { location: storage.location, tick: state.tick, path: end.badPath } },
    );
  }
}

/** Makes the merged segments the log's beginning. */
async function switchOver(
  storage: Storage,
  host: CompactionHost,
  range: Range,
  writer: CompactionWriter,
  horizon: number,
): Promise<void> {
  const count = writer.segments, first = range.last - count + 1;
  const offset = SEGMENT_HEADER_BYTES, position = range.end - writer.byteLength + offset;
  const base: LogBase = {
    tick: 0,
    horizon,
    lanes: [{ lane: LANE, segment: first, offset, position }],
  };
  const pending = { lane: LANE, first, count };
  // All up to here is durable, so that what was known of the lane before need not be known any more.
  const next = { lane: LANE, segment: range.last + 1, position: range.end };
  const lanes = host.meta().lanes.map((lane) =>
    lane.lane === LANE && lane.segment <= range.last && host.meta().closed === null ? next : lane
  );
  store(storage, host, { ...host.meta(), lanes, base, pending });
  await settle(storage, host, pending);
}

/** Carries a switch out that the metadata says is pending. */
async function settle(storage: Storage, host: CompactionHost, pending: LogSwitch): Promise<void> {
  await carryOut(storage, pending, () => {
    const { pending: _, ...settled } = host.meta();
    store(storage, host, settled);
  }, nextTurn);
}

function store(storage: Storage, host: CompactionHost, meta: DirectoryMeta): void {
  writeMeta(storage, meta);
  host.stored(meta);
}
