/**
 * Planted faults: what can be wrong with a log, one at a time, in a copy of a small one. Those that a
 * checksum finds are planted in bytes (`_planted_bytes.ts`), the others in frames that are whole (`_planted_frames.ts`,
 * `_planted_rows.ts`, `_planted_structure.ts`), some in a log of several lanes (`_planted_lanes.ts`); the catalogue says by which name
 * each must be found, the plant at which place.
 *
 * A check that finds nothing proves nothing: this is the proof that it can find.
 */

import type { MemoryStorage } from "../log/mod.ts";
import { plantInBytes } from "./_planted_bytes.ts";
import type { PlantedFault } from "./_planted_fault.ts";
import { plantInFrames } from "./_planted_frames.ts";
import { plantInLanes } from "./_planted_lanes.ts";
import { plantInRows } from "./_planted_rows.ts";
import { plantInStructure } from "./_planted_structure.ts";

/**
 * All faults planted in logs.
 *
 * @param sample The log of which copies are damaged.
 * @param other Another one, of which parts are put in its place.
 */
export async function plantAll(
  sample: MemoryStorage,
  other: MemoryStorage,
): Promise<PlantedFault[]> {
  return [
    ...plantInBytes(sample, other),
    ...plantInFrames(sample),
    ...plantInRows(sample),
    ...plantInStructure(sample),
    ...await plantInLanes(),
  ];
}
