/** Lanes for the tests of this folder: written with gates on their syncs, and read to their end. */

import { FaultyStorage } from "./faulty_storage.ts";
import { SEGMENT_HEADER_BYTES } from "./format.ts";
import { joined, tickBytes, tickParts, type TickSpec } from "./_frames_test.ts";
import { segmentHeader } from "./frame_writer.ts";
import { type LaneEnd, type LaneKnown, LaneReader } from "./lane_reader.ts";
import { LaneSet } from "./lane_set.ts";
import { type LaneStart, LaneWriter } from "./lane_writer.ts";
import { MemoryStorage } from "./memory_storage.ts";
import type { Storage, StorageFile } from "./storage.ts";

/** A sync that was asked for and waits for the test. */
export interface HeldSync {
  readonly path: string;
  /** Lets it go on; it covers what was written before it was asked for. */
  release(): void;
}

/**
 * A faulty storage that counts syncs of files and, while `hold` is set, keeps those on other threads
 * until the test lets them go.
 */
export class GatedStorage extends FaultyStorage {
  /** Whether `syncAsync` waits. */
  hold = false;
  /** Those that wait, oldest first. */
  readonly held: HeldSync[] = [];
  /** Paths of all file syncs that were asked for. */
  readonly syncs: string[] = [];

  override open(path: string, mode: "read" | "write" | "create"): StorageFile {
    const file = super.open(path, mode);
    const sync = file.sync.bind(file), syncAsync = file.syncAsync.bind(file);
    file.sync = () => {
      this.syncs.push(path);
      sync();
    };
    file.syncAsync = async () => {
      this.syncs.push(path);
      const done = syncAsync();
      if (!this.hold) return await done;
      done.catch(() => {});
      const { promise, resolve } = Promise.withResolvers<void>();
      this.held.push({ path, release: resolve });
      await promise;
      return await done;
    };
    return file;
  }
}

/** A writer on lane 0 with segments of 1 KiB, then of 4 KiB. */
export function smallWriter(storage: Storage, start: Partial<LaneStart> = {}): LaneWriter {
  return new LaneWriter(storage, {
    lane: 0,
    number: 1,
    position: 0,
    incarnation: 1,
    segmentBytes: 1024,
    segmentBytesMax: 1024,
    ...start,
  });
}

/** Appends ticks, each with room made for it first. */
export async function appendTicks(
  writer: LaneWriter | LaneSet,
  first: number,
  last: number,
  spec: Partial<TickSpec> = {},
): Promise<void> {
  for (let tick = first; tick <= last; tick++) {
    const parts = tickParts({ tick, synced: writer.syncedPosition, ...spec });
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    if (writer instanceof LaneSet) {
      await writer.reserve([bytes]);
      writer.append([parts]);
    } else {
      await writer.reserve(bytes);
      writer.append(parts);
    }
  }
}

/** A lane read to its end. */
export interface LaneContent {
  readonly ticks: readonly number[];
  readonly end: LaneEnd;
}

/** Reads a lane. */
export function readLane(
  storage: Storage,
  { lane = 0, known }: { lane?: number; known?: LaneKnown } = {},
): LaneContent {
  const reader = new LaneReader(storage, lane, known);
  const ticks: number[] = [];
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) ticks.push(tick.tick);
  return { ticks, end: reader.end! };
}

/** Numbers from `first` to `last`. */
export function range(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
}

/** A segment laid down by hand. */
export interface SegmentSpec {
  readonly lane?: number;
  readonly number?: number;
  readonly position?: number;
  readonly incarnation?: number;
  /** Ticks, or bytes as they are. */
  readonly content: readonly (TickSpec | Uint8Array)[];
  /** Zeros after them. */
  readonly padding?: number;
}

/** The bytes of a segment; ticks get its lane and incarnation where they name none. */
export function segmentOf(spec: SegmentSpec): Uint8Array {
  const { lane = 0, number = 1, position = 0, incarnation = 1 } = spec;
  return joined([
    segmentHeader(lane, number, position, incarnation),
    ...spec.content.map((part) =>
      part instanceof Uint8Array ? part : tickBytes({ lane, incarnation, ...part })
    ),
    new Uint8Array(spec.padding ?? 0),
  ]);
}

/** A storage with these segments; each one's position follows from those before, if not stated. */
export function lanesOf(segments: readonly SegmentSpec[]): MemoryStorage {
  const image = new Map<string, Uint8Array>();
  const ends = new Map<number, { number: number; position: number }>();
  for (const segment of segments) {
    const lane = segment.lane ?? 0;
    const before = ends.get(lane) ?? { number: 0, position: 0 };
    const number = segment.number ?? before.number + 1;
    const position = segment.position ?? before.position;
    const bytes = segmentOf({ ...segment, lane, number, position });
    ends.set(lane, { number, position: position + bytes.length - (segment.padding ?? 0) });
    image.set(pathOf(lane, number), bytes);
  }
  return new MemoryStorage({ image });
}

/** Path of a segment. */
export function pathOf(lane: number, number: number): string {
  return `lane-${String(lane).padStart(2, "0")}/${String(number).padStart(10, "0")}.log`;
}

/** Bytes of a lane's first segment up to the end of its n-th tick, all with the same spec. */
export function endOf(ticks: readonly TickSpec[]): number {
  return ticks.reduce((sum, tick) => sum + tickBytes(tick).length, SEGMENT_HEADER_BYTES);
}
