/**
 * Page past: the rows of one page by index, in the order in which they were applied, and the bytes
 * that they led to.
 *
 * The index names the frames and rows; each is read where it stands. The page is rebuilt row by row
 * in an array of its own, so each step shows real bytes, and the epochs that come out must be those
 * that the log carries.
 *
 * Cost: reading and applying the rows of the page, whatever the size of the log.
 *
 * @module
 */

import { MmsbError, PAGE_BYTES_MAX, PAGE_BYTES_MIN } from "../base/mod.ts";
import {
  type FrameRows,
  type IndexedSegment,
  isEdgeRow,
  type LogIndex,
  ROW_KIND,
  SECTION,
  segmentPath,
  STRUCTURAL,
  STRUCTURAL_NAMES,
} from "../log/mod.ts";
import {
  combineElement,
  elementBytes,
  isKind,
  KIND_MASKED,
  KIND_SET,
  kindName,
  maskedPayloadBytes,
} from "../physical/mod.ts";

/** One row of a page. */
export interface PageStep {
  /** Tick. */
  readonly tick: number;
  /** The frame's rows. */
  readonly rows: FrameRows;
  /** The row. */
  readonly row: number;
  /** Whether it changes the page's life and not its bytes: birth, death, size, shard, metadata. */
  readonly isStructural: boolean;
}

/** A page's bytes at one moment. */
export interface PageMoment {
  /** The bytes; replaced where the size changes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The epoch. */
  readonly epoch: number;
}

/** Frames that are held at once. */
const FRAMES_AT_ONCE = 64;

/** Rows of one frame that belong to the page, to be applied one after the other. */
export interface PageVisit {
  /** Tick. */
  readonly tick: number;
  /** Lane. */
  readonly lane: number;
  /** The frame's rows. */
  readonly rows: FrameRows;
  /** The page's rows, numbered through the segment. */
  readonly numbers: Uint32Array;
  /** Number of the frame's first row. */
  readonly first: number;
  /** Whether they change the page's life and not its bytes. */
  readonly isStructural: boolean;
}

/**
 * The rows of a page in ticks from one to another, as they were applied: births first in a tick, then
 * deltas, those of rules behind the others, then what takes effect at its end. Edges, rules and marks
 * change no page and are left out.
 *
 * @param index The index, updated to the last tick wanted.
 * @throws {MmsbError} `corrupt-log` where a frame is damaged, with path, offset, tick and page.
 */
export function* pageVisits(
  index: LogIndex,
  page: number,
  tickFrom: number,
  tickTo: number,
): Generator<PageVisit> {
  let group: PageVisit[] = [];
  const found = foundVisits(index, page, tickFrom, tickTo);
  for (;;) {
    let next: IteratorResult<PageVisit, void>;
    try {
      next = found.next();
    } catch (error) {
      // The tick before the damaged one is whole.
      const { tick } = error instanceof MmsbError ? error.values : {};
      if (group.length > 0 && group[0].tick !== tick) yield* inOrder(group);
      throw error;
    }
    if (next.done) break;
    if (group.length > 0 && group[0].tick !== next.value.tick) {
      const isPlain = group.every(({ rows }) => rows.frame.rowKind === ROW_KIND.data);
      yield* isPlain ? group : inOrder(group);
      group = [];
    }
    group.push(next.value);
  }
  yield* inOrder(group);
}

/** The same one by one, where few are wanted. */
export function* pageSteps(
  index: LogIndex,
  page: number,
  tickFrom: number,
  tickTo: number,
): Generator<PageStep> {
  for (const visit of pageVisits(index, page, tickFrom, tickTo)) {
    const { tick, rows, numbers, first, isStructural } = visit;
    for (let i = 0; i < numbers.length; i++) {
      yield { tick, rows, row: numbers[i] - first, isStructural };
    }
  }
}

/** The visits of one tick in the order of replay. */
function inOrder(visits: readonly PageVisit[]): PageVisit[] {
  const structural = visits.filter(({ isStructural }) => isStructural);
  const some = (isWanted: (operation: number) => boolean): PageVisit[] =>
    structural.map((visit) => {
      const { rows, numbers, first } = visit;
      return { ...visit, numbers: numbers.filter((number) => isWanted(rows.kind(number - first))) };
    });
  const { createPage, deletePage } = STRUCTURAL;
  return [
    ...some((operation) => operation === createPage),
    ...visits.filter(({ rows }) => rows.frame.rowKind === ROW_KIND.data),
    ...visits.filter(({ rows }) => rows.frame.rowKind === ROW_KIND.derived),
    // What changes a page takes effect before what ends it.
    ...some((operation) =>
      operation !== createPage && operation !== deletePage && !isEdgeRow(operation)
    ),
    ...some((operation) => operation === deletePage),
  ];
}

function* foundVisits(
  index: LogIndex,
  page: number,
  tickFrom: number,
  tickTo: number,
): Generator<PageVisit> {
  const { lanes } = index;
  if (lanes.length === 1) {
    for (const segment of index.segments(lanes[0], tickFrom, tickTo)) {
      yield* segmentVisits(index, segment, page, tickFrom, tickTo);
    }
    return;
  }
  // A page has one lane at a time, and ticks tell which was first.
  const visits: PageVisit[] = [];
  for (const lane of lanes) {
    for (const segment of index.segments(lane, tickFrom, tickTo)) {
      visits.push(...segmentVisits(index, segment, page, tickFrom, tickTo));
    }
  }
  yield* visits.sort((a, b) => a.tick - b.tick || a.lane - b.lane);
}

function* segmentVisits(
  index: LogIndex,
  segment: IndexedSegment,
  page: number,
  tickFrom: number,
  tickTo: number,
): Generator<PageVisit> {
  const numbers = segment.rowsOf(page);
  const { frameRows, frameTicks, frameKinds, ticks } = segment.columns;
  const frames: number[] = [], starts: number[] = [];
  for (let at = 0; at < numbers.length;) {
    const frame = frameOf(frameRows, numbers[at]);
    const tick = ticks[frameTicks[frame]];
    if (tick > tickTo) break;
    const end = endOf(numbers, at, frame + 1 < frameRows.length ? frameRows[frame + 1] : Infinity);
    // The rows of rules and marks stand at pages, and change none.
    if (tick >= tickFrom && frameKinds[frame] <= ROW_KIND.derived) {
      frames.push(frame);
      starts.push(at, end);
    }
    at = end;
  }
  for (let some = 0; some < frames.length;) {
    const loaded = load(index, segment, page, frames.slice(some, some + FRAMES_AT_ONCE));
    for (let i = 0; i < loaded.length; i++) {
      const frame = frames[some + i], rows = loaded[i];
      yield {
        tick: ticks[frameTicks[frame]],
        lane: segment.summary.lane,
        rows,
        numbers: numbers.subarray(starts[2 * (some + i)], starts[2 * (some + i) + 1]),
        first: frameRows[frame],
        isStructural: rows.frame.rowKind === ROW_KIND.structural,
      };
    }
    some += loaded.length;
  }
}

/** Loads frames: all that are asked for, or the first alone where one of them is damaged. */
function load(
  index: LogIndex,
  segment: IndexedSegment,
  page: number,
  frames: readonly number[],
): FrameRows[] {
  try {
    return index.frames.load(segment, frames);
  } catch (cause) {
    if (!(cause instanceof MmsbError) || cause.code !== "corrupt-log") throw cause;
    // What is whole before the damage is given.
    if (frames.length > 1) return load(index, segment, page, frames.slice(0, 1));
    throw new MmsbError(
      "corrupt-log",
      `Cannot read the history of page ${page} further: ${cause.message}`,
      { values: { path: segmentPathOf(segment), ...cause.values, page }, cause },
    );
  }
}

function segmentPathOf({ summary }: IndexedSegment): string {
  return segmentPath(summary.lane, summary.number);
}

/** Index of the frame that a row is in. */
function frameOf(frameRows: Uint32Array, number: number): number {
  let low = 0, high = frameRows.length;
  while (low < high) {
    const middle = low + high >>> 1;
    if (frameRows[middle] <= number) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Index of the first of rising numbers, from `at` on, that is not below `end`. */
function endOf(numbers: Uint32Array, at: number, end: number): number {
  let low = at, high = numbers.length;
  while (low < high) {
    const middle = low + high >>> 1;
    if (numbers[middle] < end) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A page being rebuilt. */
export class PagePast {
  /** Page. */
  readonly page: number;
  /** Its bytes; empty while it is not there. */
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Its epoch. */
  epoch = 0;
  /** Whether it is there. */
  isThere = false;

  /** Begins before the page's birth, or at a moment of its life. */
  constructor(page: number, moment?: PageMoment) {
    this.page = page;
    if (moment !== undefined) this.set(moment);
  }

  /** Applies a row that nobody looks at. */
  skip(rows: FrameRows, row: number, isStructural: boolean): void {
    if (isStructural) this.live(rows, row);
    else this.apply(rows, row, rows.offset(row), rows.length(row));
  }

  /** Goes to a moment of the page's life. */
  set({ bytes, epoch }: PageMoment): void {
    this.bytes = bytes.slice();
    this.epoch = epoch;
    this.isThere = true;
  }

  /** The present moment; a copy. */
  moment(): PageMoment {
    return { bytes: this.bytes.slice(), epoch: this.epoch };
  }

  /**
   * Applies a delta.
   *
   * @throws {MmsbError} `corrupt-log` where it does not fit the page.
   */
  apply(rows: FrameRows, row: number, offset: number, length: number): void {
    const kind = rows.kind(row), start = rows.start(row), { bytes } = this;
    if (!this.isThere || length === 0 || offset + length > bytes.length || !isKind(kind)) {
      this.#refuse(rows, `its span is ${offset} to ${offset + length} of ${bytes.length} bytes`);
    }
    const payload = rows.bytes, end = rows.payloadEnd;
    if (kind === KIND_SET) {
      if (start + length > end) this.#refuse(rows, "its payload leaves its frame");
      copy(payload, start, bytes, offset, length);
    } else if (kind === KIND_MASKED) {
      const mask = length + 7 >>> 3;
      if (start + mask > end || start + maskedPayloadBytes(payload, start, length) > end) {
        this.#refuse(rows, "its masked payload leaves its frame");
      }
      let from = start + mask;
      for (let i = 0; i < length; i++) {
        if (payload[start + (i >>> 3)] >>> (i & 7) & 1) bytes[offset + i] = payload[from++];
      }
    } else {
      const width = elementBytes(kind);
      if (start + length > end || length % width !== 0) {
        this.#refuse(rows, "its operands leave their frame");
      }
      for (let i = 0; i < length; i += width) {
        combineElement(kind, bytes, offset + i, payload, start + i);
      }
    }
    this.epoch += rows.advance(row);
    if (rows.frame.sections.has(SECTION.epoch) && this.epoch % 2 ** 32 !== rows.epoch(row)) {
      this.#refuse(rows, `it leads to epoch ${this.epoch}, the log says ${rows.epoch(row)}`);
    }
  }

  /**
   * Applies what changes the page's life.
   *
   * @throws {MmsbError} `corrupt-log` where it cannot be.
   */
  live(rows: FrameRows, row: number): void {
    const operation = rows.kind(row), size = rows.offset(row);
    const isBirth = operation === STRUCTURAL.createPage;
    if (isBirth === this.isThere) {
      this.#refuse(rows, isBirth ? "it is born twice" : "it is not there");
    }
    if (isBirth || operation === STRUCTURAL.resizePage) {
      if (size < PAGE_BYTES_MIN || size > PAGE_BYTES_MAX) {
        this.#refuse(rows, `it cannot have ${size} bytes`);
      }
      const bytes = new Uint8Array(size);
      bytes.set(this.bytes.subarray(0, size));
      this.bytes = bytes;
      this.isThere = true;
    } else if (operation === STRUCTURAL.deletePage) {
      this.bytes = new Uint8Array(0);
      this.isThere = false;
    }
  }

  #refuse({ frame }: FrameRows, reason: string): never {
    const { tick, lane } = frame;
    throw new MmsbError(
      "corrupt-log",
      `Cannot replay tick ${tick} for page ${this.page}: ${reason}`,
      { values: { page: this.page, tick, lane, reason } },
    );
  }
}

/** Copies few bytes in a loop, many in one move. */
export function copy(
  source: Uint8Array,
  from: number,
  target: Uint8Array,
  to: number,
  length: number,
): void {
  if (length <= 96) { for (let i = 0; i < length; i++) target[to + i] = source[from + i]; }
  else target.set(source.subarray(from, from + length), to);
}

/** What a step did, in words. */
export function stepName(rows: FrameRows, row: number, isStructural: boolean): string {
  const kind = rows.kind(row);
  if (!isStructural) return kindName(kind);
  return STRUCTURAL_NAMES[kind] ?? `operation ${kind}`;
}
