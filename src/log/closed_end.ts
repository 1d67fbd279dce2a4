/**
 * Closed end: where a log ends that was closed cleanly, without reading it.
 *
 * A clean close cuts each lane's last segment to size, syncs it and states in the metadata where it
 * ends. Who has the state of that tick from elsewhere needs no more than that to write on: the
 * segment's header and its length must agree with the metadata, and nothing may stand behind it but a
 * segment that was prepared and never begun.
 *
 * Cost: one small read a lane. Damage further up is not looked for.
 *
 * @module
 */

import type { LogEnd } from "./log_reader.ts";
import { lanesOf } from "./_directory.ts";
import { segmentHeaderOf } from "./_segment_files.ts";
import { SEGMENT_HEADER_BYTES, segmentPath } from "./format.ts";
import { readSegmentHeader, segmentBytes } from "./frame_reader.ts";
import type { LaneEnd } from "./lane_reader.ts";
import type { DirectoryMeta, LaneMeta } from "./meta.ts";
import type { Storage } from "./storage.ts";

/**
 * Where a log ends.
 *
 * @returns `undefined` where it was not closed cleanly, is empty, or is not as its metadata says.
 */
export function closedEnd(storage: Storage, meta: DirectoryMeta): LogEnd | undefined {
  const { closed } = meta;
  if (closed === null || closed.tick === 0) return undefined;
  if (lanesOf(storage).length !== meta.lanes.length) return undefined;
  const lanes: LaneEnd[] = [];
  for (const lane of meta.lanes) {
    const end = laneEnd(storage, lane, closed.tick);
    if (end === undefined) return undefined;
    lanes.push(end);
  }
  return { tick: closed.tick, state: "whole", lanes, reason: "" };
}

function laneEnd(
  storage: Storage,
  { lane, segment, position }: LaneMeta,
  lastTick: number,
): LaneEnd | undefined {
  if (!isUnused(storage, segmentPath(lane, segment + 1))) return undefined;
  for (let number = segment; number > 0; number--) {
    const path = segmentPath(lane, number);
    if (!storage.exists(path)) return undefined;
    const { offset, start } = boundsOf(storage, path, number);
    // A writer that never ticked leaves a segment of nothing behind the one where the log ends.
    if (offset === 0) continue;
    if (start === undefined || start + offset !== position) return undefined;
    const end = { lane, number, path, offset, position, badPath: path, badOffset: offset };
    return { ...end, state: "whole", reason: "the lane ends", lastTick, synced: position };
  }
  if (position > 0) return undefined;
  // No tick ever took part in it.
  const path = segmentPath(lane, 1), end = { lane, number: 0, path, offset: 0, position };
  const about = { badPath: path, badOffset: 0, lastTick: 0, synced: 0 };
  return { ...end, ...about, state: "whole", reason: "the lane is empty" };
}

/** Whether a segment is not there, or was prepared only: who takes it away may have been cut off. */
function isUnused(storage: Storage, path: string): boolean {
  return !storage.exists(path) || segmentHeaderOf(storage, path) === "unused";
}

/** Length of a segment, and the position in the lane at which it starts if its header is good. */
function boundsOf(storage: Storage, path: string, number: number): Bounds {
  const bytes = new ArrayBuffer(SEGMENT_HEADER_BYTES);
  const file = storage.open(path, "read");
  try {
    file.read(new Uint8Array(bytes), 0);
    const offset = file.size();
    const header = readSegmentHeader(segmentBytes(bytes, SEGMENT_HEADER_BYTES), path);
    const isGood = header !== "unused" && !("fault" in header) && header.number === number;
    return { offset, start: isGood ? header.position : undefined };
  } finally {
    file.close();
  }
}

interface Bounds {
  readonly offset: number;
  readonly start: number | undefined;
}
