/**
 * Faults planted in a log of several lanes: of which a tick counts only if all have it.
 */

import { openLanes } from "../bus/open_lanes.ts";
import {
  FRAME_HEADER_BYTES,
  laneFolder,
  MemoryStorage,
  readFrameHeader,
  ROW_KIND,
  SEGMENT_HEADER_BYTES,
  segmentBytes,
  segmentPath,
} from "../log/mod.ts";
import { type PlantedFault, plantedFault } from "./_planted_fault.ts";

const LANES = 3;
const TICKS = 12;
const LOST_TICK = 7;

/** A log of three lanes, all of which take part in every tick but the first. */
async function logOfLanes(): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const bus = await openLanes({ storage, shards: LANES, memoryLimitBytes: 2 ** 22 }, LANES);
  const pages = Array.from({ length: 2 * LANES }, () => bus.createPage({ size: 64 }));
  await bus.tick();
  for (let tick = 0; tick < TICKS; tick++) {
    await bus.commit(() => {
      for (const page of pages) page.combine("u32", "add", 4 * (tick % 16), tick);
    });
  }
  await bus.close();
  return storage;
}

/** All of them. */
export async function plantInLanes(): Promise<PlantedFault[]> {
  const storage = await logOfLanes();
  return [withoutLane(storage), withoutTick(storage)];
}

function withoutLane(log: MemoryStorage): PlantedFault {
  const image = log.image(), file = segmentPath(1, 1);
  for (const path of image.keys()) if (path.startsWith(laneFolder(1))) image.delete(path);
  return plantedFault("lane-missing", new MemoryStorage({ image }), { file, offset: 0 });
}

/** Takes a tick's frames out of one lane, where the others still have theirs. */
function withoutTick(log: MemoryStorage): PlantedFault {
  const image = log.image(), path = segmentPath(1, 1), bytes = image.get(path)!;
  const [from, to] = spanOf(bytes, LOST_TICK);
  const other = segmentPath(0, 1), [, , offset] = spanOf(image.get(other)!, LOST_TICK);
  image.set(path, Uint8Array.of(...bytes.subarray(0, from), ...bytes.subarray(to)));
  const place = { file: other, offset, tick: LOST_TICK };
  return plantedFault("lane-tick-lost", new MemoryStorage({ image }), place);
}

/** First byte of a tick in a segment, the one behind its last, and that of its commit frame. */
function spanOf(bytes: Uint8Array<ArrayBuffer>, wanted: number): [number, number, number] {
  const segment = segmentBytes(bytes.buffer, bytes.length);
  let from = 0, commit = 0;
  for (let at = SEGMENT_HEADER_BYTES; at + FRAME_HEADER_BYTES <= bytes.length;) {
    const frame = readFrameHeader(segment, at, "");
    if ("fault" in frame || frame.tick > wanted) return [from, at, commit];
    if (frame.tick === wanted && from === 0) from = at;
    if (frame.tick === wanted && frame.rowKind === ROW_KIND.commit) commit = at;
    at += frame.length;
  }
  throw new Error(`tick ${wanted} is the last one`);
}
