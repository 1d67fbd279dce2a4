/**
 * Follow: the deltas of a log as they come, from any tick on, without end until somebody ends it.
 *
 * The writing bus's own followers get a tick when it has the bus's durability, and are woken by it. In
 * another process a follower cannot know what the writer has synced; it gets whole ticks as soon as
 * the system has their bytes (what survives `kill -9` of the writer), and looks for them at intervals.
 * No tick is lost or given twice: a follower's place in the log is the end of the last tick it gave,
 * over the ends of segments, writers that restart, and ticks that a killed writer left half written.
 *
 * A follower that waits in another process keeps the process alive, as reading a socket would; end it
 * by leaving the loop, by its signal, or by closing the bus.
 *
 * Cost: a look for nothing new is one file opened and 4 KiB read; a delta an object and a copy of its bytes.
 *
 * @module
 */

import {
  checkInteger,
  checkKeys,
  checkType,
  FOLLOW_POLL_MS_MAX,
  MmsbError,
  PAGE_ID_MAX,
} from "../base/mod.ts";
import {
  damagedAt,
  type DecodedRows,
  type FrameHeader,
  framesOf,
  isEdgeRow,
  type LaneTick,
  type LogTail,
  type LogTick,
  payloadLength,
  ROW_KIND,
  RowDecoder,
  STRUCTURAL,
  STRUCTURAL_NAMES,
} from "../log/mod.ts";
import { EDGE_TYPES, type EdgeType, kindName } from "../physical/mod.ts";
import { addTo, timestampHi, timestampLo } from "../temporal/mod.ts";
import type { Page } from "./page.ts";

/** What to follow. */
export interface FollowOptions {
  /** First tick. Default: the one after the bus's last. */
  readonly fromTick?: number;
  /** Deltas of this page only: a handle or an id. */
  readonly page?: Page | number;
  /** Deltas of this source only. */
  readonly source?: string;
  /** Deltas of this intent only. */
  readonly intent?: string;
  /**
   * Give the life of pages too: `create`, `resize`, `metadata`, `migrate`, `delete`, and `add edge` and
   * `remove edge` at the page that the edge leads to.
   */
  readonly lifetime?: boolean;
  /** Ends the follower, without an error. */
  readonly signal?: AbortSignal;
  /** Milliseconds between two looks at the log of another process, 1 to 60,000. Default 50. */
  readonly pollMs?: number;
}

/** One delta as it stands in the log. */
export interface FollowedDelta {
  /** Its tick. */
  readonly tick: number;
  /** Hybrid logical timestamp. */
  readonly hlc: bigint;
  /** Page. */
  readonly page: number;
  /** The page's epoch after it, modulo 2^32 as the log has it; 0 of what is no delta. */
  readonly epoch: number;
  /** What it does: `set`, `masked`, `add f64` …; with `lifetime` also `create`, `resize` … */
  readonly kind: string;
  /** First byte of the span; of `create` and `resize` 0. */
  readonly offset: number;
  /** Bytes of the span; of `create` and `resize` the page's size. */
  readonly length: number;
  /** Payload as it stands in the log; a copy. */
  readonly payload: Uint8Array;
  /** Who made it, "" if not said. */
  readonly source: string;
  /** Why, "" if not said. */
  readonly intent: string;
  /** The source's own time in µs since the Unix epoch, if it stated one. */
  readonly timeUs: number | undefined;
  /** Deltas that it stands for: 1, or more where older ones were merged into one. */
  readonly advance: number;
  /** Name of the rule that made it, if one did. */
  readonly rule?: string;
  /** Page that an edge leads from. */
  readonly from?: number;
  /** Type of an edge. */
  readonly edge?: EdgeType;
}

/** What of its bus a follower needs. */
export interface FollowHost {
  /** Whether the bus is closed. */
  isClosed(): boolean;
  /** What made the log unusable, if anything did. */
  failure(): MmsbError | undefined;
  /** Position up to which ticks may be given; none where nobody knows. */
  positionMax(): ((lane: number) => number) | undefined;
  /** Calls back once there may be more, or the bus is closed; gives what takes that back. */
  whenMore(call: () => void, pollMs: number): () => void;
}

const KEYS = ["fromTick", "page", "source", "intent", "lifetime", "signal", "pollMs"];
const POLL_MS_DEFAULT = 50;

/** What is wanted, checked and complete. */
export interface FollowFilter extends Omit<FollowOptions, "page" | "fromTick"> {
  /** First tick, if one was given. */
  readonly fromTick: number | undefined;
  /** Page id, 0 for all. */
  readonly page: number;
  /** Milliseconds between two looks. */
  readonly pollMs: number;
}

/**
 * Checks options.
 *
 * @throws {MmsbError} `usage` or `out-of-bounds`, naming the option.
 */
export function checkFollow(options: FollowOptions): FollowFilter {
  checkKeys("follow", options, KEYS);
  const { fromTick, page, source, intent, lifetime = false, signal } = options;
  if (source !== undefined) checkType("source", source, "string");
  if (intent !== undefined) checkType("intent", intent, "string");
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new MmsbError("usage", "Cannot use that as signal: give an AbortSignal");
  }
  const id = typeof page === "object" && page !== null ? page.id : page;
  return {
    fromTick: fromTick === undefined
      ? undefined
      : checkInteger("fromTick", fromTick, 0, Number.MAX_SAFE_INTEGER),
    page: id === undefined ? 0 : checkInteger("page id", id, 1, PAGE_ID_MAX),
    source,
    intent,
    lifetime: checkType("lifetime", lifetime, "boolean"),
    signal,
    pollMs: checkInteger("pollMs", options.pollMs ?? POLL_MS_DEFAULT, 1, FOLLOW_POLL_MS_MAX),
  };
}

/** Deltas as they come; see {@linkcode FollowOptions}. */
export class Follower implements AsyncIterableIterator<FollowedDelta> {
  readonly #host: FollowHost;
  readonly #tail: LogTail;
  readonly #filter: FollowFilter;
  #rows: Iterator<FollowedDelta> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #isDone = false;
  #wake: (() => void) | undefined;

  /** @ignore Made by the bus. */
  constructor(host: FollowHost, tail: LogTail, filter: FollowFilter) {
    this.#host = host;
    this.#tail = tail;
    this.#filter = filter;
  }

  /** The next delta; it waits for one. */
  next(): Promise<IteratorResult<FollowedDelta, undefined>> {
    const result = this.#turn.then(() => this.#next());
    this.#turn = result.catch(() => {});
    return result;
  }

  /** Ends it, also one that waits. */
  return(): Promise<IteratorResult<FollowedDelta, undefined>> {
    this.#isDone = true;
    this.#wake?.();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  async #next(): Promise<IteratorResult<FollowedDelta, undefined>> {
    const tail = this.#tail, filter = this.#filter;
    try {
      while (!this.#isDone) {
        if (filter.signal?.aborted) break;
        const row = this.#rows?.next();
        if (row !== undefined && !row.done) return { done: false, value: row.value };
        // Asked before the look, so that what a closing bus still wrote is given.
        const isClosed = this.#host.isClosed();
        const positionMax = this.#host.positionMax();
        const tick = tail.next(positionMax === undefined ? {} : { positionMax });
        const isWanted = tick !== undefined && tick.tick >= (filter.fromTick ?? 0);
        this.#rows = isWanted ? deltasOf(tick, filter) : undefined;
        if (tick !== undefined) continue;
        tail.release();
        this.#checkStopped(tail);
        if (isClosed) break;
        await this.#wait(filter);
      }
    } catch (error) {
      this.#isDone = true;
      throw error;
    }
    this.#isDone = true;
    return { done: true, value: undefined };
  }

  #checkStopped(tail: LogTail): void {
    if (tail.fault !== undefined) throw damagedAt(tail.fault, tail.tick + 1);
    const failure = this.#host.failure();
    if (failure !== undefined) {
      throw new MmsbError(
        "read-only",
        `Cannot follow further than tick ${tail.tick} as the log failed: ${failure.message}`,
        { values: { tick: tail.tick, code: failure.code }, cause: failure },
      );
    }
  }

  /** Nothing comes between the look that found nothing and this, so no wake-up is lost. */
  async #wait({ signal, pollMs }: FollowFilter): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const forget = this.#host.whenMore(resolve, pollMs);
    this.#wake = resolve;
    signal?.addEventListener("abort", this.#wake);
    try {
      await promise;
    } finally {
      forget();
      signal?.removeEventListener("abort", this.#wake);
      this.#wake = undefined;
    }
  }
}

/** The rows of a tick that are wanted, in the order in which they were applied. */
export function* deltasOf(tick: LogTick, filter: FollowFilter): Generator<FollowedDelta> {
  const decoder = new RowDecoder(), frames = framesOf(tick.lanes);
  const isStructural = ({ rowKind }: FrameHeader) => rowKind === ROW_KIND.structural;
  const hasLife = filter.lifetime && filter.source === undefined && filter.intent === undefined;
  for (const phase of ["births", "deltas", "ends"] as const) {
    if (phase !== "deltas" && !hasLife) continue;
    for (const { lane, frame } of frames) {
      if (frame.rowKind > ROW_KIND.derived) continue;
      if (isStructural(frame) !== (phase !== "deltas")) continue;
      const decoded = decoder.decode(lane.segment, frame);
      yield* rowsOf(lane, frame, decoded, filter, phase);
    }
  }
}

function* rowsOf(
  lane: LaneTick,
  frame: FrameHeader,
  decoded: DecodedRows,
  { page, source, intent }: FollowFilter,
  phase: "births" | "deltas" | "ends",
): Generator<FollowedDelta> {
  const { columns, rows, strings } = decoded;
  const sourceNumber = source === undefined ? -1 : strings.indexOf(source);
  const intentNumber = intent === undefined ? -1 : strings.indexOf(intent);
  if (source !== undefined && sourceNumber < 0) return;
  if (intent !== undefined && intentNumber < 0) return;
  for (let row = 0; row < rows; row++) {
    if (page !== 0 && columns.page[row] >>> 0 !== page) continue;
    if (sourceNumber >= 0 && columns.source[row] !== sourceNumber) continue;
    if (intentNumber >= 0 && columns.intent[row] !== intentNumber) continue;
    const isBirth = columns.kind[row] === STRUCTURAL.createPage;
    if (phase !== "deltas" && isBirth !== (phase === "births")) continue;
    yield deltaOf(lane, frame, decoded, row);
  }
}

/** One row of a frame as an object. */
export function deltaOf(
  lane: LaneTick,
  frame: FrameHeader,
  decoded: DecodedRows,
  row: number,
): FollowedDelta {
  const { columns, strings, advance, timesUs, hasEpochs } = decoded;
  const isStructural = frame.rowKind === ROW_KIND.structural;
  const { hlcFirst } = frame, kind = columns.kind[row];
  const start = columns.start[row], length = columns.length[row] >>> 0;
  const { bytes } = lane.segment, size = payloadLength(lane.segment, frame, decoded, row);
  const timeUs = timesUs?.[row] ?? NaN;
  const isEdge = isStructural && isEdgeRow(kind);
  return {
    tick: frame.tick,
    hlc: addTo(timestampHi(hlcFirst), timestampLo(hlcFirst), row),
    page: columns.page[row] >>> 0,
    epoch: hasEpochs ? columns.epoch[row] >>> 0 : 0,
    kind: isStructural ? STRUCTURAL_NAMES[kind] ?? `operation ${kind}` : kindName(kind),
    offset: isStructural ? 0 : columns.offset[row] >>> 0,
    length: isEdge ? 0 : (isStructural ? columns.offset[row] : length) >>> 0,
    payload: bytes.slice(start, start + size),
    source: strings[columns.source[row]] ?? "",
    intent: strings[columns.intent[row]] ?? "",
    timeUs: Number.isNaN(timeUs) ? undefined : timeUs,
    advance: isStructural ? 1 : advance?.[row] ?? 1,
    ...(frame.rowKind === ROW_KIND.derived ? { rule: strings[columns.source[row]] ?? "" } : {}),
    ...(isEdge
      ? { from: columns.offset[row] >>> 0, edge: EDGE_TYPES[decoded.shards?.[row] ?? 0] }
      : {}),
  };
}
