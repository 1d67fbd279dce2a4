/**
 * Recovery: open a directory, keep its whole ticks, and begin to write behind them.
 *
 * Order matters, because a crash may come between any two steps: make durable what is kept; state
 * where each lane ends; cut, durably; then store a new incarnation; then write. A segment is known
 * to the metadata only after its name is durable and never longer than it exists, so a missing file
 * always means damage.
 *
 * What is kept is made durable first because a killed process leaves bytes that are in the system's
 * memory only: new ticks must not stand on them. A sync alone would not do where one failed before,
 * as the system then takes the bytes for written (Rebello et al., "Can Applications Recover from
 * fsync Failures?", USENIX ATC 2020), so they are written once more.
 *
 * @module
 */

import {
  MmsbError,
  SEGMENT_BYTES_MAX,
  SEGMENT_BYTES_MIN,
  UNSYNCED_BYTES_MAX,
} from "../base/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import { RecoverySearch } from "./_recovery_search.ts";
import { isHeader, segmentHeaderOf, segmentNumbers } from "./_segment_files.ts";
import { FORMAT, laneFolder, segmentPath } from "./format.ts";
import type { LaneEnd } from "./lane_reader.ts";
import { LaneSet } from "./lane_set.ts";
import type { LaneStart } from "./lane_writer.ts";
import type { LogEnd } from "./log_reader.ts";
import { type DirectoryMeta, type LanePlace, writeMeta } from "./meta.ts";
import type { Storage, StorageFile } from "./storage.ts";

/** A checkpoint that recovery used, or passed over. */
export interface RecoveredCheckpoint {
  /** Its file, relative to the directory. */
  readonly path: string;
  /** Its tick. */
  readonly tick: number;
  /** Its pages; only of one that was used. */
  readonly pages?: number;
  /** Bytes of the file; only of one that was used. */
  readonly bytes?: number;
  /** The places from which the log was replayed; only of one that was used. */
  readonly lanes?: readonly LanePlace[];
  /** Why it was passed over. */
  readonly reason?: string;
}

/** What recovery found. */
export interface Recovery {
  /** Last whole tick, 0 for none. */
  readonly tick: number;
  /** Largest HLC in it, 0 for none. */
  readonly hlcLast: bigint;
  /** Rows replayed. */
  readonly rows: number;
  /** How the log ended. */
  readonly end: LogEnd;
  /** The checkpoint that it began with, if any. */
  readonly checkpoint?: RecoveredCheckpoint;
  /** Checkpoints that could not be used. */
  readonly passedOver?: readonly RecoveredCheckpoint[];
}

/** Where recovery begins: with the `newest` checkpoint that is good, or as early as the log goes. */
export type RecoveryStart = "newest" | "earliest";

/**
 * Fills a store with the state of a tick: the newest good checkpoint, then the log after it, or the
 * whole log.
 *
 * @param storage The directory.
 * @param meta Its metadata.
 * @param store Where the pages go; empty.
 * @param tickMax Last tick wanted.
 * @param start Where to begin. Default `newest`.
 * @throws {MmsbError} `corrupt-log` where a checked tick does not fit the pages, or the log's beginning
 * was dropped and no checkpoint is good; `version` for a newer format, `io` where files cannot be
 * read, `allocation` where memory is short.
 */
export function recover(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  store: PageStore,
  tickMax = Infinity,
  start: RecoveryStart = "newest",
): Recovery {
  const search = new RecoverySearch(storage, meta, store, tickMax, start === "newest");
  for (const candidate of search.candidates()) {
    using checkpoint = candidate;
    try {
      return search.over(checkpoint, checkpoint.load(store));
    } catch (error) {
      search.passOver(checkpoint, error);
    }
  }
  return search.fromLog();
}

/** The same, with other threads to help where a checkpoint is large. */
export async function recoverBeside(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  store: PageStore,
  tickMax = Infinity,
): Promise<Recovery> {
  const search = new RecoverySearch(storage, meta, store, tickMax, true);
  for (const candidate of search.candidates()) {
    using checkpoint = candidate;
    try {
      return search.over(checkpoint, await checkpoint.loadBeside(store));
    } catch (error) {
      search.passOver(checkpoint, error);
    }
  }
  return search.fromLog();
}

/**
 * Throws where synced bytes of a log are lost.
 *
 * @throws {MmsbError} `corrupt-log` with file, offset and tick.
 */
export function checkUndamaged(storage: Storage, end: LogEnd): void {
  if (end.state !== "damaged") return;
  const lane = end.lanes.find((lane) => lane.state === "damaged");
  throw new MmsbError(
    "corrupt-log",
    `Cannot open ${storage.location} for writing as its log is damaged after tick ${end.tick}: ${end.reason}; open it with readOnly, or restore the file`,
    {
      values: {
        location: storage.location,
        path: lane?.badPath,
        offset: lane?.badOffset,
        tick: end.tick + 1,
        reason: lane?.reason ?? end.reason,
      },
    },
  );
}

/** Sizes of segments. */
export interface SegmentSizes {
  /** Bytes of the first segment. */
  readonly segmentBytes?: number;
  /** Bytes up to which segments grow. */
  readonly segmentBytesMax?: number;
}

/** How a directory is written. */
export interface WritingOptions extends SegmentSizes {
  /** Lanes to be written; others that the directory has stay as they are. Default 1. */
  readonly lanes?: number;
}

/**
 * Cuts what is not whole and begins a new incarnation with lanes 0, 1, 2 …
 *
 * @returns The writer, and the metadata as it now stands: written lanes first, then those that an
 * earlier writer had and this one has not.
 * @throws {MmsbError} what the storage says.
 */
export function beginWriting(
  storage: Storage,
  meta: DirectoryMeta,
  end: LogEnd,
  options: WritingOptions = {},
): { writer: LaneSet; meta: DirectoryMeta } {
  const { lanes = 1 } = options;
  if (meta.closed === null) end.lanes.forEach((lane) => makeDurable(storage, lane));
  const leftovers = end.lanes.map((lane) => segmentsAfter(storage, lane));
  if (end.state !== "whole" || leftovers.some((numbers) => numbers.length > 0)) {
    writeMeta(storage, { ...meta, lanes: end.lanes.map(laneMeta), closed: null });
    end.lanes.forEach((lane, index) => cut(storage, lane, leftovers[index]));
  }
  const incarnation = meta.incarnation + 1;
  const starts = Array.from(
    { length: lanes },
    (_, lane) => startOf(lane, end.lanes.find((each) => each.lane === lane), incarnation, options),
  );
  const writer = new LaneSet(storage, starts);
  try {
    const others = end.lanes.filter((lane) => lane.lane >= lanes).map(laneMeta);
    const next: DirectoryMeta = {
      format: FORMAT,
      shards: meta.shards,
      incarnation,
      lanes: [
        ...starts.map(({ lane, number, position }) => ({ lane, segment: number, position })),
        ...others,
      ],
      closed: null,
      base: meta.base,
    };
    writeMeta(storage, next);
    return { writer, meta: next };
  } catch (error) {
    writer.abandon();
    throw error;
  }
}

/** Where the writer of a lane begins: with a new segment behind the lane's end. */
function startOf(
  lane: number,
  end: LaneEnd | undefined,
  incarnation: number,
  { segmentBytes, segmentBytesMax = SEGMENT_BYTES_MAX }: SegmentSizes,
): LaneStart {
  const position = end?.position ?? 0, number = (end?.number ?? 0) + 1;
  const hasTicks = end !== undefined && end.number > 0;
  return {
    lane,
    number,
    position,
    incarnation,
    place: hasTicks ? { lane, segment: end.number, offset: end.offset, position } : undefined,
    segmentBytes: segmentBytes === undefined
      ? undefined
      : Math.max(SEGMENT_BYTES_MIN, segmentBytes),
    segmentBytesMax: Math.min(SEGMENT_BYTES_MAX, segmentBytesMax),
  };
}

/** Ends writing: closes the lanes and records that the directory was closed whole. */
export async function endWriting(
  storage: Storage,
  meta: DirectoryMeta,
  writer: LaneSet,
  tick: number,
  hlcLast: bigint,
): Promise<void> {
  await writer.close();
  if (writer.failure !== undefined) return;
  writeMeta(storage, {
    ...meta,
    lanes: meta.lanes.map((known) => {
      const { lane } = known;
      if (lane >= writer.size) return known;
      return { lane, segment: writer.segmentOf(lane), position: writer.positionOf(lane) };
    }),
    closed: { tick, hlc: String(hlcLast) },
  });
}

/** Bytes at the end of a lane that are written again; all that may have met a failed sync. */
const REWRITTEN_BYTES_MAX = 2 * UNSYNCED_BYTES_MAX;
const PIECE_BYTES = 1024 * 1024;

/** Makes the kept part of a lane durable, from where it is known to have been synced. */
function makeDurable(storage: Storage, lane: LaneEnd): void {
  const from = Math.max(lane.synced, lane.position - REWRITTEN_BYTES_MAX);
  let { number, position: end } = lane, start = lane.position - lane.offset;
  while (number > 0 && end > lane.synced) {
    const file = storage.open(segmentPath(lane.lane, number), "write");
    try {
      rewrite(file, Math.max(0, from - start), end - start);
      file.sync();
    } finally {
      file.close();
    }
    number--;
    end = start;
    // The segment before may be gone, where all of it was durable long ago.
    start = number === 0 || end <= lane.synced ? 0 : positionOf(storage, lane.lane, number);
  }
  if (storage.exists(laneFolder(lane.lane))) storage.syncFolder(laneFolder(lane.lane));
}

function rewrite(file: StorageFile, from: number, to: number): void {
  const piece = new Uint8Array(Math.max(0, Math.min(PIECE_BYTES, to - from)));
  for (let at = from; at < to; at += piece.length) {
    const bytes = piece.subarray(0, to - at);
    file.read(bytes, at);
    file.write(bytes, at);
  }
}

/** The position at which a segment begins that was read as whole. */
function positionOf(storage: Storage, lane: number, number: number): number {
  const path = segmentPath(lane, number), header = segmentHeaderOf(storage, path);
  if (!isHeader(header)) {
    throw new MmsbError("io", `Cannot read "${path}" again: its header has changed`, {
      values: { path },
    });
  }
  return header.position;
}

function laneMeta(lane: LaneEnd): DirectoryMeta["lanes"][number] {
  return { lane: lane.lane, segment: lane.number, position: lane.position };
}

function segmentsAfter(storage: Storage, lane: LaneEnd): number[] {
  return segmentNumbers(storage, lane.lane).filter((number) => number > lane.number);
}

function cut(storage: Storage, lane: LaneEnd, later: readonly number[]): void {
  if (lane.number > 0) {
    const file = storage.open(segmentPath(lane.lane, lane.number), "write");
    try {
      if (file.size() > lane.offset) {
        file.truncate(lane.offset);
        file.sync();
      }
    } finally {
      file.close();
    }
  }
  for (const number of later) storage.remove(segmentPath(lane.lane, number));
  if (storage.exists(laneFolder(lane.lane))) storage.syncFolder(laneFolder(lane.lane));
}
