/**
 * Rows back: the rows of a page from the newest to the oldest, and reading many rows at once.
 *
 * Where a row stands is said by the index alone, without a look at the log; its frame tells what kind of
 * row it is and in which tick. Rows of many pages are then read together, in the order in which they lie
 * in the log, so that frames that are close are one read.
 *
 * Pages are asked about as of many ticks, so what the index says of a page is kept as long as one
 * explanation is made.
 *
 * Cost: a look into each segment's index once a page, and for each row some binary searches, together some
 * 200 ns.
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

/** Rows of a page in one segment. */
interface SegmentRows {
  readonly segment: IndexedSegment;
  /** Its rows, numbered through the segment; at least one. */
  readonly numbers: Uint32Array;
}

/** Rows of a page on one lane by segments, newest first, looked up as they are asked for. */
class LaneRows {
  readonly page: number;
  readonly #found: SegmentRows[] = [];
  readonly #rest: Generator<IndexedSegment>;

  constructor(index: LogIndex, lane: number, page: number, tickMax: number) {
    this.page = page;
    this.#rest = index.segmentsBack(lane, tickMax);
  }

  /** A segment that has rows of the page by its place from the end, `undefined` where there are no more. */
  at(place: number): SegmentRows | undefined {
    while (this.#found.length <= place) {
      const next = this.#rest.next();
      if (next.done) return undefined;
      const segment = next.value, numbers = segment.rowsOf(this.page);
      if (numbers.length > 0) this.#found.push({ segment, numbers });
    }
    return this.#found[place];
  }
}

/** Goes back through the rows of a page on one lane. */
class LaneCursor {
  readonly #rows: LaneRows;
  readonly #tickMax: number;
  #place = 0;
  #current: SegmentRows | undefined;
  /** Index of the next row among the segment's. */
  #at = -1;
  /** Frame of the last row. */
  #frame = -1;

  constructor(rows: LaneRows, tickMax: number) {
    this.#rows = rows;
    this.#tickMax = tickMax;
  }

  next(): RowPlace | undefined {
    for (;;) {
      if (this.#at < 0) {
        this.#current = this.#rows.at(this.#place++);
        if (this.#current === undefined) {
          this.#place--;
          return undefined;
        }
        this.#at = lastUpTo(this.#current, this.#tickMax);
        this.#frame = -1;
        continue;
      }
      const { segment, numbers } = this.#current!, number = numbers[this.#at--];
      const { ticks, frameRows, frameTicks, frameKinds } = segment.columns;
      let frame = this.#frame;
      if (frame < 0 || number < frameRows[frame]) frame = countUpTo(frameRows, number) - 1;
      this.#frame = frame;
      const rowKind = frameKinds[frame];
      // The rows of rules and marks stand at pages, and change none.
      if (rowKind > ROW_KIND.derived) continue;
      const tick = ticks[frameTicks[frame]], row = number - frameRows[frame];
      return { page: this.#rows.page, segment, frame, row, tick, rowKind };
    }
  }
}

/** Index of the last of a segment's rows up to a tick, −1 for none. */
function lastUpTo({ segment, numbers }: SegmentRows, tickMax: number): number {
  const { summary: { tickBefore, tickLast }, columns } = segment;
  if (tickBefore >= tickMax) return -1;
  if (tickLast <= tickMax) return numbers.length - 1;
  const { ticks, frameRows, frameTicks } = columns;
  const frame = countUpTo(frameTicks, countUpTo(ticks, tickMax) - 1);
  const end = frame < frameRows.length ? countUpTo(numbers, frameRows[frame] - 1) : numbers.length;
  return end - 1;
}

/** Finds rows of pages, and keeps what it has looked up. */
export class RowFinder {
  readonly #index: LogIndex;
  readonly #tickMax: number;
  readonly #pages = new Map<number, LaneRows[]>();

  /** Finds rows up to a tick; the index stays as it is meanwhile. */
  constructor(index: LogIndex, tickMax: number) {
    this.#index = index;
    this.#tickMax = tickMax;
  }

  /** Rows of a page up to a tick that is not after the finder's. */
  rows(page: number, tickMax: number = this.#tickMax): PageRows {
    let lanes = this.#pages.get(page);
    if (lanes === undefined) {
      lanes = this.#index.lanes.map((lane) => new LaneRows(this.#index, lane, page, this.#tickMax));
      this.#pages.set(page, lanes);
    }
    return new PageRows(page, lanes, tickMax);
  }
}

/**
 * Rows of a page up to a tick, newest first, found as they are asked for: exactly so for deltas; rows that
 * change the page's life stand somewhere in their tick.
 */
export class PageRows {
  /** The page. */
  readonly page: number;
  readonly #places: RowPlace[] = [];
  readonly #cursors: readonly LaneCursor[];
  /** The next row of each lane, where there are several. */
  #heads: (RowPlace | undefined)[] | undefined;

  /** @ignore Made by a {@linkcode RowFinder}. */
  constructor(page: number, lanes: readonly LaneRows[], tickMax: number) {
    this.page = page;
    this.#cursors = lanes.map((lane) => new LaneCursor(lane, tickMax));
  }

  /** A row by its place from the end, `undefined` where there are no more. */
  at(place: number): RowPlace | undefined {
    while (this.#places.length <= place) {
      const next = this.#cursors.length === 1 ? this.#cursors[0].next() : this.#nextOfAll();
      if (next === undefined) return undefined;
      this.#places.push(next);
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

  /** In a tick a page's own deltas come before those that rules make of it, whichever lanes they are on. */
  #nextOfAll(): RowPlace | undefined {
    const heads = this.#heads ??= this.#cursors.map((cursor) => cursor.next());
    let newest = -1;
    for (let at = 0; at < heads.length; at++) {
      const head = heads[at], best = newest < 0 ? undefined : heads[newest];
      if (head === undefined) continue;
      if (best === undefined || head.tick > best.tick || isLater(head, best)) newest = at;
    }
    if (newest < 0) return undefined;
    const found = heads[newest];
    heads[newest] = this.#cursors[newest].next();
    return found;
  }
}

/** Whether a row changes bytes of its page. */
export function isDelta({ rowKind }: RowPlace): boolean {
  return rowKind !== ROW_KIND.structural;
}

function isLater(a: RowPlace, b: RowPlace): boolean {
  return a.tick === b.tick && a.rowKind === ROW_KIND.derived && b.rowKind === ROW_KIND.data;
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
  for (const { segment, some } of bySegment(items)) {
    const { frameLengths } = segment.columns;
    some.sort((a, b) => a.place.frame - b.place.frame);
    for (let at = 0, end = 0; at < some.length;) {
      const frames: number[] = [];
      for (let bytes = 0, last = -1; end < some.length; end++) {
        const { frame } = some[end].place, length = frameLengths[frame];
        if (frame === last) continue;
        if (frames.length >= FRAMES_AT_ONCE || bytes > 0 && bytes + length > BYTES_AT_ONCE) break;
        frames.push(last = frame);
        bytes += length;
      }
      const loaded = index.frames.load(segment, frames);
      for (let place = 0; at < end; at++) {
        if (some[at].place.frame !== frames[place]) place++;
        take(some[at], loaded[place]);
      }
    }
  }
}

interface SegmentItems<T> {
  readonly segment: IndexedSegment;
  readonly some: T[];
}

function bySegment<T extends PlacedRow>(items: readonly T[]): SegmentItems<T>[] {
  const segments = new Map<unknown, SegmentItems<T>>();
  let last: SegmentItems<T> | undefined;
  for (const item of items) {
    const { segment } = item.place;
    if (last?.segment.summary !== segment.summary) {
      last = segments.get(segment.summary);
      if (last === undefined) segments.set(segment.summary, last = { segment, some: [] });
    }
    last.some.push(item);
  }
  return [...segments.values()].sort(({ segment: { summary: a } }, { segment: { summary: b } }) =>
    a.lane - b.lane || a.number - b.number
  );
}
