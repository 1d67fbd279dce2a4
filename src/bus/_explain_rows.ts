/**
 * Rows back: the rows of a page from the newest to the oldest, and reading many rows at once.
 *
 * Where a row stands is said by the index alone, without a look at the log; its frame tells what kind of
 * row it is and in which tick. Rows of many pages are then read together, in the order in which they lie
 * in the log, so that frames that are close are one read.
 *
 * Cost: some binary searches a row for its place, some 100 ns each.
 */

import { type FrameRows, type IndexedSegment, type LogIndex, ROW_KIND } from "../log/mod.ts";

/** Where a row of a page stands. */
export interface RowPlace {
  /** Page. */
  readonly page: number;
  /** Segment. */
  readonly segment: IndexedSegment;
  /** Index of the frame in the segment. */
  readonly frame: number;
  /** Row of the frame. */
  readonly row: number;
  /** Tick. */
  readonly tick: number;
  /** Row kind of the frame: data, derived or structural. */
  readonly rowKind: number;
}

/** Frames that are read at once, and their bytes. */
const FRAMES_AT_ONCE = 1024;
const BYTES_AT_ONCE = 32 * 1024 * 1024;

/** Rows of a page up to a tick, newest first, found as they are asked for. */
export class PageRows {
  /** The page. */
  readonly page: number;
  readonly #places: RowPlace[] = [];
  readonly #rest: Generator<RowPlace>;

  /** Nothing is looked up yet. */
  constructor(index: LogIndex, page: number, tickMax: number) {
    this.page = page;
    this.#rest = rowsBack(index, page, tickMax);
  }

  /** A row by its place from the end, `undefined` where there are no more. */
  at(place: number): RowPlace | undefined {
    while (this.#places.length <= place) {
      const next = this.#rest.next();
      if (next.done) return undefined;
      this.#places.push(next.value);
    }
    return this.#places[place];
  }

  /** The newest delta. */
  get newest(): RowPlace | undefined {
    for (let at = 0;; at++) {
      const place = this.at(at);
      if (place === undefined || isDelta(place)) return place;
    }
  }
}

/** Whether a row changes bytes of its page. */
export function isDelta({ rowKind }: RowPlace): boolean {
  return rowKind !== ROW_KIND.structural;
}

/**
 * Rows of a page up to a tick, newest first: exactly so for deltas; rows that change the page's life stand
 * somewhere in their tick.
 */
export function rowsBack(index: LogIndex, page: number, tickMax: number): Generator<RowPlace> {
  const { lanes } = index;
  return lanes.length === 1
    ? laneRowsBack(index, lanes[0], page, tickMax)
    : merged(lanes.map((lane) => laneRowsBack(index, lane, page, tickMax)));
}

/** In a tick a page's own deltas come before those that rules make of it, whichever lanes they are on. */
function* merged(lanes: Generator<RowPlace>[]): Generator<RowPlace> {
  const heads = lanes.map((lane) => lane.next().value as RowPlace | undefined);
  for (;;) {
    let newest = -1;
    for (let at = 0; at < heads.length; at++) {
      const head = heads[at], best = newest < 0 ? undefined : heads[newest];
      if (head === undefined) continue;
      if (best === undefined || head.tick > best.tick || isLater(head, best)) newest = at;
    }
    if (newest < 0) return;
    yield heads[newest]!;
    heads[newest] = lanes[newest].next().value as RowPlace | undefined;
  }
}

function isLater(a: RowPlace, b: RowPlace): boolean {
  return a.tick === b.tick && a.rowKind === ROW_KIND.derived && b.rowKind === ROW_KIND.data;
}

function* laneRowsBack(
  index: LogIndex,
  lane: number,
  page: number,
  tickMax: number,
): Generator<RowPlace> {
  for (const segment of index.segmentsBack(lane, tickMax)) {
    const numbers = segment.rowsOf(page);
    if (numbers.length === 0) continue;
    const { ticks, frameRows, frameTicks, frameKinds } = segment.columns;
    let at = numbers.length;
    if (segment.summary.tickLast > tickMax) {
      const tick = countUpTo(ticks, tickMax), frame = countUpTo(frameTicks, tick - 1);
      at = frame < frameRows.length ? countUpTo(numbers, frameRows[frame] - 1) : at;
    }
    let frame = -1;
    for (at--; at >= 0; at--) {
      const number = numbers[at];
      if (frame < 0 || number < frameRows[frame]) frame = countUpTo(frameRows, number) - 1;
      const rowKind = frameKinds[frame];
      if (rowKind > ROW_KIND.derived) continue;
      const tick = ticks[frameTicks[frame]];
      yield { page, segment, frame, row: number - frameRows[frame], tick, rowKind };
    }
  }
}

/** How many of rising numbers are at most `limit`. */
function countUpTo(numbers: Uint32Array | Float64Array, limit: number): number {
  let low = 0, high = numbers.length;
  while (low < high) {
    const middle = low + high >>> 1;
    if (numbers[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Something that is to be read of a row. */
export interface PlacedRow {
  /** Where the row stands. */
  readonly place: RowPlace;
}

/**
 * Reads rows, in the order in which their frames lie in the log.
 *
 * @param items Where they stand; a row may be asked for twice.
 * @param take Called for each; the rows of its frame are good until it returns.
 * @throws {MmsbError} `corrupt-log` where a frame is damaged.
 */
export function readRows<T extends PlacedRow>(
  index: LogIndex,
  items: readonly T[],
  take: (item: T, rows: FrameRows) => void,
): void {
  for (const { segment, byFrame } of bySegment(items)) {
    const { frameLengths } = segment.columns;
    let frames: number[] = [], bytes = 0;
    const read = () => {
      const loaded = index.frames.load(segment, frames);
      frames.forEach((frame, at) => {
        for (const item of byFrame.get(frame)!) take(item, loaded[at]);
      });
      frames = [];
      bytes = 0;
    };
    for (const frame of Uint32Array.from(byFrame.keys()).sort()) {
      const length = frameLengths[frame];
      if (frames.length >= FRAMES_AT_ONCE || bytes > 0 && bytes + length > BYTES_AT_ONCE) read();
      frames.push(frame);
      bytes += length;
    }
    read();
  }
}

interface SegmentItems<T> {
  readonly segment: IndexedSegment;
  readonly byFrame: Map<number, T[]>;
}

function bySegment<T extends PlacedRow>(items: readonly T[]): SegmentItems<T>[] {
  const segments = new Map<unknown, SegmentItems<T>>();
  for (const item of items) {
    const { segment, frame } = item.place;
    let found = segments.get(segment.summary);
    if (found === undefined) {
      found = { segment, byFrame: new Map() };
      segments.set(segment.summary, found);
    }
    const some = found.byFrame.get(frame);
    if (some === undefined) found.byFrame.set(frame, [item]);
    else some.push(item);
  }
  return [...segments.values()].sort(({ segment: { summary: a } }, { segment: { summary: b } }) =>
    a.lane - b.lane || a.number - b.number
  );
}
