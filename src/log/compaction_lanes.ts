/**
 * Compaction of several lanes: old ticks of all lanes become few merged ones in a lane of their own.
 *
 * The lanes' segments end at different ticks, and the state at the horizon may be larger than what any one
 * lane gives up, so merged segments take no other's place: they go to the last lane there can be, which no
 * writer has, behind those of an earlier compaction. Each other lane begins behind its last tick up to
 * the horizon from then on, in the middle of a segment if need be; its segments before that one go.
 *
 * The switch is that of one lane (see compaction_switch.ts): merged segments under names of their own, one
 * replacement of the metadata, then the rest is carried out.
 *
 * Cost: as with one lane, a replay of the merged ticks into memory of their own. The segment in which a
 * lane stands at the horizon stays until a later compaction.
 *
 * @module
 */

import { LANES_MAX, MmsbError, SEGMENT_BYTES_MAX } from "../base/mod.ts";
import type { SpillPlan } from "../physical/mod.ts";
import { CompactionState } from "./_compaction_state.ts";
import { CompactionWriter } from "./_compaction_writer.ts";
import { lanesOf } from "./_directory.ts";
import { nextTurn } from "./_platform.ts";
import { segmentNumbers } from "./_segment_files.ts";
import type { CompactionHost, CompactionReport } from "./compaction.ts";
import { removeMerged } from "./compaction_switch.ts";
import { laneFolder, SEGMENT_HEADER_BYTES } from "./format.ts";
import { LogReader } from "./log_reader.ts";
import type { DirectoryMeta, LanePlace, LogBase, LogSwitch } from "./meta.ts";
import type { Storage } from "./storage.ts";

/** The lane of merged ticks, where a log has several; no writer has it. */
export const MERGED_LANE: number = LANES_MAX - 1;

/** Bytes of log replayed before others go on. */
const TURN_BYTES = 64 * 1024;

/** How far several lanes are merged. */
export interface LanesCompaction {
  /** Merge only ticks before this one. */
  readonly beforeTick: number;
  /** Bytes that the pages at the horizon may take. */
  readonly memoryLimitBytes: number;
  /** Where those go for which there is no room in it. */
  readonly spill?: SpillPlan;
  /** Bytes of pages that one merged tick holds, about. */
  readonly tickBytes: number;
  /** First tick of a lane's segment; `undefined` where it has none yet, or is not there. */
  readonly firstTick: (lane: number, segment: number) => number | undefined;
  /** Makes merged segments the log's beginning. */
  readonly switchOver: (meta: DirectoryMeta, pending: LogSwitch) => Promise<void>;
}

/** Where lanes stand at a horizon. */
type Places = ReadonlyMap<number, LanePlace>;

/**
 * Merges the old ticks of a log of several lanes.
 *
 * @throws {MmsbError} as `compactLog`.
 */
export async function compactLanes(
  storage: Storage,
  host: CompactionHost,
  options: LanesCompaction,
): Promise<CompactionReport> {
  const meta = host.meta(), { base } = meta;
  const horizonOld = base?.horizon ?? 0;
  const horizon = findHorizon(storage, host, options);
  if (horizon <= horizonOld) return unchanged(horizonOld, 0);
  using state = new CompactionState(options.memoryLimitBytes, options.spill);
  const places = await replay(state, storage, meta, horizon);
  const before = bytesBefore(meta, places);
  if (before === 0 || state.ticks <= 1) return unchanged(horizonOld, before);
  const merged = meta.lanes.find(({ lane }) => lane === MERGED_LANE);
  const numbers = segmentNumbers(storage, MERGED_LANE);
  const first = (numbers.at(-1) ?? 0) + 1, start = merged?.position ?? 0;
  storage.makeFolder(laneFolder(MERGED_LANE));
  removeMerged(storage, MERGED_LANE);
  const writer = new CompactionWriter(storage, {
    lane: MERGED_LANE,
    incarnation: meta.incarnation,
    segmentsMax: Infinity,
    segmentBytes: SEGMENT_BYTES_MAX / 4,
    tickBytes: options.tickBytes,
    tickBefore: 0,
  }, nextTurn);
  let isKept = false;
  try {
    await writer.write(state);
    isKept = writer.byteLength < before;
    if (isKept) {
      await writer.finish(first + writer.segments - 1, start + writer.byteLength);
      storage.syncFolder(laneFolder(MERGED_LANE));
    }
  } catch (error) {
    isKept = false;
    throw error;
  } finally {
    writer.close();
    if (!isKept) removeMerged(storage, MERGED_LANE);
  }
  if (!isKept) return unchanged(horizonOld, before);
  const next: LogBase = {
    tick: 0,
    horizon: state.tick,
    lanes: [...places.values(), placeOf(first, start)].sort((a, b) => a.lane - b.lane),
  };
  const last = { segment: first + writer.segments - 1, position: start + writer.byteLength };
  const now = host.meta();
  const lanes = [
    ...now.lanes.filter(({ lane }) => lane !== MERGED_LANE),
    { lane: MERGED_LANE, ...last },
  ];
  const pending = { lane: MERGED_LANE, first, count: writer.segments };
  await options.switchOver({ ...now, lanes, base: next, pending }, pending);
  return {
    merged: true,
    horizon: state.tick,
    ticks: { before: state.ticks, after: writer.ticks },
    rows: { before: state.rows, after: writer.rows },
    bytes: { before, after: writer.byteLength },
  };
}

function unchanged(horizon: number, bytes: number): CompactionReport {
  const none = { before: 0, after: 0 };
  return {
    merged: false,
    horizon,
    ticks: none,
    rows: none,
    bytes: { before: bytes, after: bytes },
  };
}

function placeOf(segment: number, start: number): LanePlace {
  const offset = SEGMENT_HEADER_BYTES;
  return { lane: MERGED_LANE, segment, offset, position: start + offset };
}

/** The last tick up to which some lane has closed segments only. */
function findHorizon(
  storage: Storage,
  host: CompactionHost,
  { beforeTick, firstTick }: LanesCompaction,
): number {
  const tickLast = host.tickLast ?? host.meta().closed?.tick ?? 0;
  let horizon = 0;
  for (const lane of lanesOf(storage)) {
    const numbers = segmentNumbers(storage, lane), open = host.segmentOpen(lane);
    if (lane === MERGED_LANE || !numbers.some((number) => number < open)) continue;
    const first = numbers.includes(open) ? firstTick(lane, open) : undefined;
    horizon = Math.max(horizon, first === undefined ? tickLast : first - 1);
  }
  return Math.min(horizon, tickLast, beforeTick - 1);
}

/** Replays the log up to a horizon, in slices; all of it must be whole. */
async function replay(
  state: CompactionState,
  storage: Storage,
  meta: DirectoryMeta,
  horizon: number,
): Promise<Places> {
  const places = new Map(
    (meta.base?.lanes ?? []).map((place) => [place.lane, place] as const)
      .filter(([lane]) => lane !== MERGED_LANE),
  );
  const reader = new LogReader(storage, meta, { tickMax: horizon });
  let bytes = 0;
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    state.take(tick);
    for (const { lane, number: segment, position, commitFrame, frames } of tick.lanes) {
      const offset = commitFrame.at + commitFrame.length;
      bytes += offset - (frames[0] ?? commitFrame).at;
      if (lane !== MERGED_LANE) {
        places.set(lane, { lane, segment, offset, position: position + offset });
      }
    }
    if (bytes < TURN_BYTES) continue;
    bytes = 0;
    await nextTurn();
  }
  if (state.tick === horizon) return places;
  const { reason, lanes } = reader.end();
  const path = lanes.find((lane) => lane.state !== "whole")?.badPath;
  throw new MmsbError(
    "corrupt-log",
    `Cannot compact ${storage.location} as its log is damaged after tick ${state.tick}: ${reason}`,
    { values: { location: storage.location, tick: state.tick, path } },
  );
}

/** Bytes of the segments that go where lanes begin at places. */
function bytesBefore(meta: DirectoryMeta, places: ReadonlyMap<number, LanePlace>): number {
  const began = (lane: number) => {
    const place = meta.base?.lanes.find((place) => place.lane === lane);
    return place === undefined ? 0 : place.position - place.offset;
  };
  let bytes = 0;
  for (const { lane, position, offset } of places.values()) {
    bytes += position - offset - began(lane);
  }
  const merged = meta.lanes.find(({ lane }) => lane === MERGED_LANE);
  return merged === undefined ? bytes : bytes + merged.position - began(MERGED_LANE);
}
