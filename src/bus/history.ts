/**
 * History: the deltas of one page, read back from the log, each with the bytes before and after.
 *
 * The log's index names the page's rows, so what it costs depends on the page and not on the log.
 * Oldest first, rows are applied one after the other. Newest first, they are applied twice: once to
 * note the page's bytes every thousand rows or so, and then stretch by stretch from the end.
 *
 * Where early ticks were dropped, history begins with the image of the page at the horizon, the
 * first tick whose state can still be had; where they were merged, a row says how many it stands for.
 *
 * Cost: an object and two small arrays a delta (`deno task anchors history`); the first look at a log also what its index costs.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import {
  damagedAt,
  type FrameRows,
  type LogIndex,
  ROW_KIND,
  STRUCTURAL,
  type TailFault,
} from "../log/mod.ts";
import { addTo, timestampHi, timestampLo } from "../temporal/mod.ts";
import { copy, type PageMoment, PagePast, pageSteps, pageVisits, stepName } from "./page_past.ts";

/** Which part of a page's past to give. */
export interface HistoryOptions {
  /** First tick. Default: the first there is. */
  readonly fromTick?: number;
  /** Last tick. Default: the bus's last. */
  readonly toTick?: number;
  /** Newest first. Default: oldest first. */
  readonly reverse?: boolean;
  /** Most entries. Default: all. */
  readonly limit?: number;
  /**
   * Give the page's life as entries too: `create`, `resize`, `metadata`, `migrate`, `delete`, and
   * `image` where the log begins in the middle of it. Default: deltas only.
   */
  readonly lifetime?: boolean;
}

/** One delta of a page's past. */
export interface HistoryEntry {
  /** Tick that applied it. */
  readonly tick: number;
  /** Hybrid logical timestamp; 0 of an image. */
  readonly hlc: bigint;
  /** The source's own time in µs since the Unix epoch, if it stated one. */
  readonly timeUs: number | undefined;
  /** The page's epoch after it. */
  readonly epoch: number;
  /** First byte of the span. */
  readonly offset: number;
  /** Bytes of the span. */
  readonly length: number;
  /** Bytes of the span before; none of a birth, and of bytes that a page grew by. */
  readonly before: Uint8Array;
  /** Bytes of the span after; none of a death, and of bytes that a page shrank by. */
  readonly after: Uint8Array;
  /** What it did: `set`, `masked`, `add f64` …; with `lifetime` also `create`, `resize` … */
  readonly kind: string;
  /** Who made it, "" if not said. */
  readonly source: string;
  /** Why, "" if not said. */
  readonly intent: string;
  /** Name of the rule that made it, if one did. */
  readonly rule: string | undefined;
  /** Deltas that it stands for: 1, or more where older ones were merged into one. */
  readonly advance: number;
}

/** What history is made from. */
export interface HistorySource {
  /** The index, updated to `tickLast` as far as the log is whole. */
  readonly index: LogIndex;
  /** Last tick that can be asked for. */
  readonly tickLast: number;
  /** Why the index ends before that tick, if it does. */
  readonly fault: TailFault | undefined;
  /** The first tick whose state can be had. */
  readonly horizon: number;
  /** A page as it was at the horizon, if it was there then. */
  readonly imageAtHorizon: (page: number) => PageMoment | undefined;
}

/** What of a page's history is wanted, checked and complete. */
export type HistoryRange = Required<HistoryOptions>;

/** Rows between two images of a page that is read backwards. */
const STRETCH_ROWS = 1024;
/** Bytes of such images, at most; large pages have fewer. */
const IMAGES_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Walks the history of one page.
 *
 * @throws {MmsbError} `corrupt-log` where the log is damaged or a row does not fit the page, after
 * all that is whole before (oldest first).
 */
export function historyEntries(
  source: HistorySource,
  page: number,
  range: HistoryRange,
): Generator<HistoryEntry> {
  return range.reverse ? backwards(source, page, range) : forwards(source, page, range);
}

function* forwards(
  source: HistorySource,
  page: number,
  { fromTick, toTick, lifetime }: HistoryRange,
): Generator<HistoryEntry> {
  const begin = beginOf(source, page);
  const past = new PagePast(page, begin.image);
  if (begin.image !== undefined && lifetime && begin.tick >= fromTick && begin.tick <= toTick) {
    yield imageEntry(begin.tick, begin.image);
  }
  for (const visit of pageVisits(source.index, page, begin.tick + 1, toTick)) {
    const { rows, numbers, first, isStructural } = visit;
    const isWanted = visit.tick >= fromTick && (lifetime || !isStructural);
    for (let i = 0; i < numbers.length; i++) {
      const row = numbers[i] - first;
      if (isWanted) yield takeRow(past, rows, row, isStructural);
      else past.skip(rows, row, isStructural);
    }
  }
  checkReached(source, page, toTick);
}

/** A stretch of a page's past: its last tick, and the page before its first. */
interface Stretch {
  readonly tickBefore: number;
  readonly moment: PageMoment | undefined;
}

function* backwards(
  source: HistorySource,
  page: number,
  { fromTick, toTick, lifetime }: HistoryRange,
): Generator<HistoryEntry> {
  checkReached(source, page, toTick);
  const begin = beginOf(source, page);
  const stretches = stretchesOf(source, page, begin, Math.max(fromTick, begin.tick + 1), toTick);
  let last = toTick;
  for (const { tickBefore, moment } of stretches.reverse()) {
    const past = new PagePast(page, moment);
    const entries: HistoryEntry[] = [];
    for (const visit of pageVisits(source.index, page, tickBefore + 1, last)) {
      const { rows, numbers, first, isStructural } = visit;
      for (const number of numbers) {
        const entry = takeRow(past, rows, number - first, isStructural);
        if (lifetime || !isStructural) entries.push(entry);
      }
    }
    yield* entries.reverse();
    last = tickBefore;
  }
  const { tick, image } = begin;
  if (image !== undefined && lifetime && tick >= fromTick && tick <= toTick) {
    yield imageEntry(tick, image);
  }
}

/** Cuts a page's past into stretches of whole ticks, oldest first. */
function stretchesOf(
  source: HistorySource,
  page: number,
  begin: Begin,
  fromTick: number,
  toTick: number,
): Stretch[] {
  const past = new PagePast(page, begin.image);
  const stretches: Stretch[] = [];
  let rows = 0, bytes = 0, tick = 0;
  for (const visit of pageVisits(source.index, page, begin.tick + 1, toTick)) {
    if (visit.tick >= fromTick && visit.tick !== tick) {
      const due = Math.max(STRETCH_ROWS, rows * bytes / IMAGES_BYTES_MAX);
      if (stretches.length === 0 || rows >= due) {
        const moment = past.isThere ? past.moment() : undefined;
        stretches.push({ tickBefore: visit.tick - 1, moment });
        bytes += past.bytes.length;
        rows = 0;
      }
      tick = visit.tick;
    }
    rows += visit.numbers.length;
    for (const number of visit.numbers) {
      past.skip(visit.rows, number - visit.first, visit.isStructural);
    }
  }
  return stretches;
}

/** Where the past of a page begins. */
interface Begin {
  /** The tick before. */
  readonly tick: number;
  /** The page then, if it was there. */
  readonly image: PageMoment | undefined;
}

/** A page whose birth the log has lost has its image at the horizon. */
function beginOf(source: HistorySource, page: number): Begin {
  const { index, horizon } = source;
  const tick = index.tickBase;
  if (tick === 0) return { tick, image: undefined };
  const first = pageSteps(index, page, tick + 1, Infinity).next().value;
  const isBorn = first?.isStructural === true &&
    first.rows.kind(first.row) === STRUCTURAL.createPage;
  if (isBorn) return { tick, image: undefined };
  return { tick: Math.max(tick, horizon), image: source.imageAtHorizon(page) };
}

/** Applies a row and says what it did. */
function takeRow(
  past: PagePast,
  rows: FrameRows,
  row: number,
  isStructural: boolean,
): HistoryEntry {
  if (isStructural) {
    const { bytes } = past;
    past.live(rows, row);
    return entryOf(rows, row, true, past.epoch, ...changeOf(bytes, past.bytes));
  }
  const offset = rows.offset(row), length = rows.length(row);
  const before = piece(past.bytes, offset, length);
  past.apply(rows, row, offset, length);
  return entryOf(rows, row, false, past.epoch, offset, before, piece(past.bytes, offset, length));
}

/** The bytes that a page lost, or got, at its end. */
function changeOf(
  before: Uint8Array,
  after: Uint8Array,
): [offset: number, before: Uint8Array, after: Uint8Array] {
  const offset = Math.min(before.length, after.length);
  return [offset, before.slice(offset), after.slice(offset)];
}

function piece(bytes: Uint8Array, offset: number, length: number): Uint8Array {
  const copied = new Uint8Array(Math.max(0, Math.min(length, bytes.length - offset)));
  copy(bytes, offset, copied, 0, copied.length);
  return copied;
}

function entryOf(
  rows: FrameRows,
  row: number,
  isStructural: boolean,
  epoch: number,
  offset: number,
  before: Uint8Array,
  after: Uint8Array,
): HistoryEntry {
  const { hlcFirst, tick } = rows.frame;
  return {
    tick,
    hlc: addTo(timestampHi(hlcFirst), timestampLo(hlcFirst), row),
    timeUs: isStructural ? undefined : rows.timeUs(row),
    epoch,
    offset,
    length: Math.max(before.length, after.length),
    before,
    after,
    kind: stepName(rows, row, isStructural),
    source: rows.source(row),
    intent: rows.intent(row),
    rule: rows.frame.rowKind === ROW_KIND.derived ? rows.source(row) : undefined,
    advance: isStructural ? 1 : rows.advance(row),
  };
}

function imageEntry(tick: number, { bytes, epoch }: PageMoment): HistoryEntry {
  return {
    tick,
    hlc: 0n,
    timeUs: undefined,
    epoch,
    offset: 0,
    length: bytes.length,
    before: new Uint8Array(0),
    after: bytes.slice(),
    kind: "image",
    source: "",
    intent: "",
    rule: undefined,
    advance: 1,
  };
}

/** A log that ends before a tick that the bus was told of has lost what is there. */
function checkReached(source: HistorySource, page: number, toTick: number): void {
  const { index, fault } = source;
  if (fault !== undefined && index.tick < toTick) throw damagedAt(fault, index.tick + 1, page);
}

/** A history that was asked for. */
export interface BegunHistory {
  /** What it is made from. */
  readonly source: HistorySource;
  /** Its entries. */
  readonly entries: Iterator<HistoryEntry>;
  /** How many are wanted. */
  readonly limit: number;
}

/** The deltas of a page, one by one; leave the loop whenever you like. */
export class PageHistory implements AsyncIterableIterator<HistoryEntry> {
  readonly #begin: () => BegunHistory;
  #begun: BegunHistory | undefined;
  #isDone = false;
  #given = 0;

  /** @ignore Made by the bus; `begin` throws where nothing can be read. */
  constructor(begin: () => BegunHistory) {
    this.#begin = begin;
  }

  /**
   * The first tick whose state can be had; entries before it are merged, or gone. 0 where all is
   * there.
   *
   * @throws {MmsbError} where the history cannot be read at all.
   */
  get horizon(): number {
    return this.#start().source.horizon;
  }

  /** The next entry. */
  next(): Promise<IteratorResult<HistoryEntry, undefined>> {
    if (this.#isDone) return Promise.resolve({ done: true, value: undefined });
    try {
      const { entries, limit } = this.#start();
      if (this.#given++ < limit) {
        const result = entries.next();
        if (!result.done) return Promise.resolve(result);
      }
      this.#isDone = true;
      return Promise.resolve({ done: true, value: undefined });
    } catch (error) {
      this.#isDone = true;
      return Promise.reject(error);
    }
  }

  /** Ends it. */
  return(): Promise<IteratorResult<HistoryEntry, undefined>> {
    this.#isDone = true;
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  #start(): BegunHistory {
    return this.#begun ??= this.#begin();
  }
}

/** The error for what is asked of a bus without a log. */
export function noLog(what: string): MmsbError {
  return new MmsbError("usage", `Cannot ${what} in memory: open the bus with a dir`);
}
