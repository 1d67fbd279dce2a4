/**
 * Layout: where each tick of an undamaged log stands, and so what damage at a place must lead to.
 *
 * The rule is stated here from the outside: damage must be refused if anything that is left shows that
 * the hit bytes had been synced, and must not be refused otherwise.
 */

import assert from "node:assert/strict";
import {
  type DirectoryMeta,
  FRAME_HEADER_BYTES,
  LaneReader,
  type MemoryStorage,
  readFrameHeader,
  readSegmentHeader,
  ROW_KIND,
  SEGMENT_HEADER_BYTES,
  type SegmentBytes,
  segmentBytes,
  segmentPath,
} from "../src/log/mod.ts";

/** Where frames stand. */
interface Place {
  readonly start: number;
  readonly end: number;
  /** What they knew of the lane to be synced. */
  readonly synced: number;
}

interface TickPlace extends Place {
  readonly tick: number;
}

/** One file of the log. */
export interface FilePlace {
  readonly path: string;
  readonly number: number;
  readonly size: number;
  /** Position of its first byte in the lane. */
  readonly position: number;
  readonly ticks: readonly TickPlace[];
  /** The mark that the lane goes on in the next file, if it does. */
  readonly mark: Place | undefined;
  /** End of what was written; what follows are zeros. */
  readonly end: number;
}

/** What must come of damage. */
export interface Expected {
  /** The last tick that is kept. */
  readonly tick: number;
  /** Whether writing must be refused; either will do where it is `undefined`. */
  readonly refused: boolean | undefined;
}

/** Where everything of a log of one lane stands. */
export class Layout {
  /** The files, in order. */
  readonly files: readonly FilePlace[];
  /** Number of the last tick. */
  readonly lastTick: number;
  readonly #known: number;

  /** Reads an undamaged directory. */
  constructor(storage: MemoryStorage, meta: DirectoryMeta) {
    const known = meta.lanes.find(({ lane }) => lane === 0)!;
    this.#known = known.position;
    const reader = new LaneReader(storage, 0, known);
    const ticks = new Map<number, TickPlace[]>();
    for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
      const { commitFrame, frames, number } = tick;
      const start = (frames[0] ?? commitFrame).at, end = commitFrame.at + commitFrame.length;
      const place = { tick: tick.tick, start, end, synced: commitFrame.syncedPosition };
      ticks.set(number, [...ticks.get(number) ?? [], place]);
    }
    assert.equal(reader.end!.state, "whole", reader.end!.reason);
    this.lastTick = reader.end!.lastTick;
    this.files = reader.segments.map((number) => placeOf(storage, number, ticks.get(number) ?? []));
  }

  /** What must come of bytes `from` to `to` of a file being other than they were. */
  expect(file: FilePlace, from: number, to: number): Expected {
    const { ticks, position } = file;
    const hit = ticks.filter(({ start, end }) => start < to && end > from);
    const headerHit = ticks.length > 0 && from < SEGMENT_HEADER_BYTES;
    const firstLost = headerHit ? ticks[0] : hit[0];
    if (firstLost === undefined) {
      // Marks and zeros say nothing that is not said elsewhere, but a mark at the very end.
      const zeros = from >= file.end;
      return { tick: this.lastTick, refused: zeros || this.#goesOn(file) ? false : undefined };
    }
    const evidence = this.files.flatMap((each) =>
      [...each.ticks, ...each.mark ? [each.mark] : []]
        .filter(({ start, end }) => each !== file || start >= to || end <= from)
        .map(({ synced }) => synced)
    );
    const synced = Math.max(this.#known, ...evidence);
    const bad = headerHit ? position : position + firstLost.start;
    return { tick: firstLost.tick - 1, refused: synced > bad };
  }

  /** What must come of a file that is missing. */
  expectWithout(file: FilePlace): Expected {
    const first = file.ticks.at(0);
    if (first === undefined) return { tick: this.lastTick, refused: undefined };
    return { tick: first.tick - 1, refused: true };
  }

  #goesOn(file: FilePlace): boolean {
    return this.files.some(({ number, ticks }) => number > file.number && ticks.length > 0);
  }
}

function placeOf(storage: MemoryStorage, number: number, ticks: readonly TickPlace[]): FilePlace {
  const path = segmentPath(0, number), bytes = storage.readAll(path)!;
  const segment = segmentBytes(new Uint8Array(bytes).buffer, bytes.length);
  const header = readSegmentHeader(segment, path);
  const position = header === "unused" || "fault" in header ? 0 : header.position;
  const mark = markAt(segment, ticks.at(-1)?.end ?? 0, path);
  const end = mark?.end ?? ticks.at(-1)?.end ?? 0;
  assert(bytes.subarray(end).every((byte) => byte === 0), "zeros follow what was written");
  return { path, number, size: bytes.length, position, ticks, mark, end };
}

function markAt(segment: SegmentBytes, start: number, path: string): Place | undefined {
  if (start === 0 || start + FRAME_HEADER_BYTES > segment.length) return undefined;
  const frame = readFrameHeader(segment, start, path);
  if ("fault" in frame || frame.rowKind !== ROW_KIND.mark) return undefined;
  return { start, end: start + frame.length, synced: frame.syncedPosition };
}
