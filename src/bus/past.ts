/**
 * Past: what one bus asks of its log beside writing it: histories of pages, states at earlier ticks,
 * which tick it was at a time.
 *
 * The index is made at the first question and goes on from there. A bus that only reads looks at the
 * directory's metadata again each time, because another process may have dropped or merged early
 * ticks since.
 *
 * What counts as past is all that is applied: the log has every applied tick, also those whose
 * sync is still under way.
 *
 * @module
 */

import { checkInteger, checkKeys, checkType, MmsbError } from "../base/mod.ts";
import {
  beginningOf,
  damagedAt,
  type DirectoryMeta,
  horizonOf,
  type LogEnd,
  LogIndex,
  type LogPlace,
  LogTail,
  readMeta,
  readSettled,
  recover,
  type Recovery,
  settledView,
  type Storage,
  type TailFault,
} from "../log/mod.ts";
import { PageStore, type SpillPlan } from "../physical/mod.ts";
import { PHYSICAL_US_MAX, physicalUs } from "../temporal/mod.ts";
import {
  historyEntries,
  type HistoryEntry,
  type HistoryOptions,
  type HistoryRange,
  type HistorySource,
  PageHistory,
} from "./history.ts";
import type { FollowedDelta } from "./follow.ts";
import { type PageMoment, PagePast, pageSteps } from "./page_past.ts";
import { replaySome } from "./what_if.ts";

/** A moment of a log: a tick; a time; or when a page had come to an epoch. */
export interface Moment {
  /** The state after this tick. */
  readonly tick?: number;
  /**
   * The state after the last tick that was committed at or before this time: a Date, ISO 8601 text
   * with its offset (`2026-01-31T08:15:00.000001Z`), or µs since the Unix epoch; the last tick for a
   * time still to come, however late.
   */
  readonly time?: Date | string | number;
  /** Id of the page whose epoch is meant. */
  readonly page?: number;
  /** The state after the tick that brought `page` to this epoch. */
  readonly epoch?: number;
}

/** A state of the past, and what it was made from. */
export interface PastState {
  /** The pages. */
  readonly store: PageStore;
  /** How it was read. */
  readonly recovery: Recovery;
  /** The directory's metadata at that. */
  readonly meta: DirectoryMeta | undefined;
}

/** What of its bus the past needs. */
export interface PastHost {
  /** The directory. */
  readonly storage: Storage;
  /** Whether the bus is the directory's writer. */
  readonly isWriter: boolean;
  /** Bytes that pages of a past state may take. */
  readonly memoryLimitBytes: number;
  /** Where pages go for which there is no room in it. */
  readonly spill?: SpillPlan;
  /** The directory's metadata as the bus knows it. */
  meta(): DirectoryMeta | undefined;
  /** The bus's last tick. */
  tick(): number;
  /** The next id to be given to a page. */
  nextPageId(): number;
}

/** Times that a history is begun whose log loses its beginning. */
const READINGS_MAX = 4;
const HISTORY_KEYS = ["fromTick", "toTick", "reverse", "limit", "lifetime"];
const MOMENT_KEYS = ["tick", "time", "page", "epoch"];

/** The past of one bus. */
export class Past {
  readonly #host: PastHost;
  readonly #parent: Past | undefined;
  #index: LogIndex | undefined;
  #base = "";
  #fault: TailFault | undefined;
  #horizon: { readonly key: string; readonly store: PageStore } | undefined;

  /**
   * Nothing is read yet.
   *
   * @param host The bus.
   * @param parent The past that the bus is a state of; its index serves both.
   */
  constructor(host: PastHost, parent?: Past) {
    this.#host = host;
    this.#parent = parent;
  }

  /** Whether the bus is a state of another one's past. */
  get isPast(): boolean {
    return this.#parent !== undefined;
  }

  /** The first tick whose state can be had; 0 where all can. */
  get horizon(): number {
    return horizonOf(this.#host.storage, this.meta());
  }

  /** The horizon, and text that changes when the log gets another beginning. */
  beginning(): { readonly horizon: number; readonly text: string } {
    const meta = this.meta();
    return { horizon: horizonOf(this.#host.storage, meta), text: beginningOf(meta) };
  }

  /** The directory's metadata as it is now. */
  meta(): DirectoryMeta | undefined {
    const { storage, isWriter } = this.#host;
    const known = this.#host.meta();
    if (isWriter) return known;
    try {
      return readMeta(storage) ?? known;
    } catch (error) {
      if (error instanceof MmsbError && error.code === "corrupt-log") return known;
      throw error;
    }
  }

  /** The index, as far as the log goes or is whole. */
  index(): LogIndex {
    if (this.#parent !== undefined) {
      const index = this.#parent.index();
      this.#fault = this.#parent.#fault;
      this.#base = this.#parent.#base;
      return index;
    }
    const { isWriter } = this.#host;
    this.#fault = this.#settled((storage, meta) => {
      const base = beginningOf(meta);
      if (this.#index === undefined || base !== this.#base) {
        this.#index = new LogIndex(storage, meta, { writes: isWriter });
        this.#base = base;
      }
      return this.#index.update(this.#host.tick());
    }, (fault) => fault === undefined);
    return this.#index!;
  }

  /** Reads the directory as its metadata means it, again where the log's beginning moves meanwhile. */
  #settled<T>(
    read: (storage: Storage, meta: DirectoryMeta | undefined) => T,
    isGood?: (reading: T) => boolean,
  ): T {
    return readSettled(this.#host.storage, () => this.meta(), read, isGood);
  }

  /**
   * The log from a tick on, or from a place.
   *
   * @throws {MmsbError} `out-of-bounds` where that tick is not in the log any more.
   */
  tail(fromTick: number | undefined, end: LogPlace): LogTail {
    const storage = settledView(this.#host.storage, this.meta());
    if (fromTick === undefined || fromTick > end.tick) {
      return new LogTail(storage, this.meta(), end);
    }
    const index = this.index(), first = Math.max(1, fromTick);
    if (first > index.tickBase) return new LogTail(storage, this.meta(), index.placeBefore(first));
    throw new MmsbError(
      "out-of-bounds",
      `Cannot follow from tick ${first}: ticks up to ${index.tickBase} were dropped`,
      { values: { tick: first, base: index.tickBase } },
    );
  }

  /** Waits until nothing is written beside the log any more. */
  async close(): Promise<void> {
    await this.#index?.flush();
    this.#horizon?.store.close();
    this.#horizon = undefined;
  }

  /** The history of a page that was checked to be an id. */
  history(page: () => number, options: HistoryOptions): PageHistory {
    return new PageHistory(() => {
      const id = page();
      const range = checkRange(options, this.#host.tick());
      if (id >= this.#host.nextPageId()) {
        throw new MmsbError(
          "invalid-handle",
          `Cannot read the history of page ${id}: it never was`,
          { values: { page: id } },
        );
      }
      const begin = beginningOf(this.meta()), source = this.#source();
      return { source, entries: this.#entries(source, id, range, begin), limit: range.limit };
    });
  }

  /** Who walks a history does so in pieces, and the log may lose its beginning between them. */
  *#entries(
    source: HistorySource,
    page: number,
    range: HistoryRange,
    begin: string,
  ): Generator<HistoryEntry> {
    let given = 0;
    for (let readings = 1;; readings++) {
      try {
        for (const entry of historyEntries(source, page, range)) {
          given++;
          yield entry;
        }
        return;
      } catch (error) {
        const meta = this.meta(), begins = beginningOf(meta);
        if (!(error instanceof MmsbError) || begins === begin) throw error;
        begin = begins;
        if (given > 0 || readings >= READINGS_MAX) {
          const horizon = meta?.base?.horizon ?? 0;
          throw new MmsbError(
            "out-of-bounds",
            `Cannot read the history of page ${page} on: ticks up to ${horizon} were merged or dropped meanwhile; ask again`,
            { values: { page, horizon }, cause: error },
          );
        }
      }
      source = this.#source();
    }
  }

  /**
   * One page as it was, without the others.
   *
   * @throws {MmsbError} as `tickOf`; `invalid-handle` where the page was not there.
   */
  pageAt(page: number, moment: Moment): PageMoment & { readonly tick: number } {
    const at = checkMoment(moment);
    return this.#settled(() => this.#pageAt(page, at));
  }

  #pageAt(page: number, at: Moment): PageMoment & { readonly tick: number } {
    const tick = this.tickOf(at);
    const source = this.#source(), { index, horizon } = source;
    if (tick > horizon && index.tick >= tick) checkThere(tick, index);
    const epoch = at.page === page ? at.epoch : undefined;
    const begin = this.#beginOf(page, index, horizon);
    const past = new PagePast(page, begin?.image);
    for (const step of pageSteps(index, page, (begin?.tick ?? 0) + 1, tick)) {
      if (epoch !== undefined && past.isThere && past.epoch >= epoch) break;
      past.skip(step.rows, step.row, step.isStructural);
    }
    if (source.fault !== undefined && index.tick < tick) {
      throw damagedAt(source.fault, index.tick + 1, page);
    }
    if (!past.isThere) {
      throw new MmsbError(
        "invalid-handle",
        `Cannot read page ${page} as of tick ${tick}: it was not there`,
        {
          values: { page, tick },
        },
      );
    }
    return { bytes: past.bytes, epoch: past.epoch, tick };
  }

  /**
   * The tick that a moment means.
   *
   * @throws {MmsbError} `usage` for what is no moment; `out-of-bounds` for a tick that is not there
   * yet, one below the horizon, or an epoch that the page does not have; `corrupt-log` where damage
   * hides the answer.
   */
  tickOf(moment: Moment): number {
    const at = checkMoment(moment);
    return this.#settled(() => this.#tickOf(at));
  }

  #tickOf({ tick, time, page, epoch }: Moment): number {
    const last = this.#host.tick();
    let found: number;
    if (tick !== undefined) {
      found = checkInteger("tick", tick, 0, Number.MAX_SAFE_INTEGER);
      if (found > last) {
        throw new MmsbError(
          "out-of-bounds",
          `Cannot go to tick ${found}: the last one is ${last}`,
          {
            values: { tick: found, last },
          },
        );
      }
    } else if (time !== undefined) {
      found = Math.min(last, this.#tickAt(timeUsOf(time)));
    } else {
      found = this.#tickOfEpoch(page!, epoch!);
    }
    const asked = tick === undefined ? `${JSON.stringify(time ?? epoch)}, ` : "";
    checkHorizon(found, this.horizon, asked);
    return found;
  }

  /**
   * The whole state after a tick, in a store of its own.
   *
   * @throws {MmsbError} `out-of-bounds` where it is gone meanwhile, `corrupt-log` where damage hides it.
   */
  stateAt(tick: number): PastState {
    return this.#settled((storage, meta) => {
      checkHorizon(tick, horizonOf(storage, meta));
      const store = this.#newStore();
      try {
        const recovery = recover(storage, meta, store, tick);
        if (recovery.tick !== tick) this.#refuse(recovery.end, tick);
        return { store, recovery, meta };
      } catch (error) {
        store.close();
        throw error;
      }
    });
  }

  #newStore(): PageStore {
    return new PageStore(this.#host.memoryLimitBytes, undefined, this.#host.spill);
  }

  #refuse(end: LogEnd, tick: number): never {
    if (end.state !== "damaged") {
      const index = this.index();
      if (index.tick >= tick) checkThere(tick, index);
    }
    const lane = end.lanes.find(({ state }) => state === "damaged") ?? end.lanes[0];
    throw damagedAt(
      {
        path: lane?.badPath ?? "",
        offset: lane?.badOffset ?? 0,
        reason: lane?.reason ?? end.reason,
      },
      end.tick + 1,
    );
  }

  /**
   * The state that only some deltas lead to.
   *
   * @throws {MmsbError} `corrupt-log` where damage hides it, and what `keep` throws.
   */
  stateOf(tick: number, keep: (delta: FollowedDelta) => boolean): PastState {
    const { horizon } = this, meta = this.meta(), storage = settledView(this.#host.storage, meta);
    // Merged ticks before the horizon are still deltas that can be asked about; dropped ones are not.
    const isDropped = (meta?.base?.tick ?? 0) > 0;
    const { store, recovery } = isDropped
      ? this.stateAt(horizon)
      : { store: this.#newStore(), recovery: undefined };
    const from = isDropped ? horizon : 0;
    try {
      const found = replaySome(storage, meta, store, { from, to: tick, keep });
      if (found.end.tick !== tick) this.#refuse(found.end, tick);
      return { store, recovery: { ...recovery, ...found }, meta };
    } catch (error) {
      store.close();
      throw error;
    }
  }

  /**
   * What histories are made from, as it is now.
   *
   * @throws {MmsbError} `out-of-bounds` on a reader that stays at a tick which is gone, `version`, `io`.
   */
  source(): HistorySource {
    return this.#source();
  }

  /** The first state that can be had; only to be read, and kept. */
  stateAtHorizon(): PageStore {
    const { horizon } = this, key = `${this.#base} ${horizon}`;
    if (this.#horizon?.key !== key) {
      const { store } = this.stateAt(horizon);
      this.#horizon?.store.close();
      this.#horizon = { key, store };
    }
    return this.#horizon.store;
  }

  #source(): HistorySource {
    const index = this.index(), { horizon } = this;
    // A bus that only reads may stay at a tick that is gone.
    checkHorizon(this.#host.tick(), horizon);
    return {
      index,
      tickLast: this.#host.tick(),
      fault: this.#fault,
      horizon,
      imageAtHorizon: (page) => this.#imageAtHorizon(page),
    };
  }

  /** Pages at the horizon are asked for one after the other, so the state is kept. */
  #imageAtHorizon(page: number): PageMoment | undefined {
    const store = this.stateAtHorizon();
    const row = store.table.rowOf(page);
    if (row === 0) return undefined;
    const bytes = new Uint8Array(store.table.sizeOf(row));
    store.copyOut(row, 0, bytes, bytes.length);
    return { bytes, epoch: store.table.epoch(row) };
  }

  #tickAt(timeUs: number): number {
    const index = this.index(), found = index.tickAt(timeUs), { horizon } = this;
    // Behind damage there may be ticks that are nearer.
    if (this.#fault !== undefined && found >= index.tick) {
      throw damagedAt(this.#fault, index.tick + 1);
    }
    if (found > index.tickBase || found < horizon || found === 0) return found;
    // The last tick before the log begins: only the checkpoint knows when that was.
    const { hlcLast } = this.stateAt(found).recovery;
    return physicalUs(hlcLast) <= timeUs ? found : found - 1;
  }

  #tickOfEpoch(page: number, epoch: number): number {
    const { index, horizon, fault } = this.#source();
    const begin = this.#beginOf(page, index, horizon);
    const past = new PagePast(page, begin?.image);
    if (begin !== undefined && past.epoch >= epoch) return begin.tick;
    for (const step of pageSteps(index, page, (begin?.tick ?? 0) + 1, this.#host.tick())) {
      past.skip(step.rows, step.row, step.isStructural);
      if (past.isThere && past.epoch >= epoch) return step.tick;
    }
    if (fault !== undefined) throw damagedAt(fault, index.tick + 1, page);
    throw new MmsbError(
      "out-of-bounds",
      `Cannot go to epoch ${epoch} of page ${page}: it came to ${past.epoch}`,
      { values: { page, epoch, last: past.epoch } },
    );
  }

  /** The image that a page's past begins with, where its birth is not in the log. */
  #beginOf(
    page: number,
    index: LogIndex,
    horizon: number,
  ): { tick: number; image: PageMoment } | undefined {
    const first = pageSteps(index, page, index.tickBase + 1, Infinity).next().value;
    if (index.tickBase === 0 || first?.isStructural && first.rows.kind(first.row) === 1) return;
    const image = this.#imageAtHorizon(page);
    return image && { tick: horizon, image };
  }
}

/** Throws where a state is gone. */
function checkHorizon(tick: number, horizon: number, asked = ""): void {
  if (tick >= horizon) return;
  throw new MmsbError(
    "out-of-bounds",
    `Cannot go to ${asked}tick ${tick}: ` +
      `states before tick ${horizon} are gone, as their ticks were dropped or merged`,
    { values: { tick, horizon } },
  );
}

/** Throws where a later tick stands for this one, which was lost or merged. */
function checkThere(tick: number, index: LogIndex): void {
  const { before, after } = index.around(tick);
  if (after === tick || after === undefined) return;
  const near = before === undefined
    ? `the first one that is there is ${after}`
    : `before it is tick ${before}, after it tick ${after}`;
  throw new MmsbError(
    "out-of-bounds",
    `Cannot go to tick ${tick} as it is not in the log, where it was lost or merged: ${near}`,
    { values: { tick, before, after } },
  );
}

function checkRange(options: HistoryOptions, tickLast: number): HistoryRange {
  checkKeys("history", options, HISTORY_KEYS);
  const { fromTick = 0, toTick, reverse = false, limit = Infinity, lifetime = false } = options;
  const max = Number.MAX_SAFE_INTEGER;
  return {
    fromTick: checkInteger("fromTick", fromTick, 0, max),
    toTick: toTick === undefined
      ? tickLast
      : Math.min(tickLast, checkInteger("toTick", toTick, 0, max)),
    reverse: checkType("reverse", reverse, "boolean"),
    limit: limit === Infinity ? limit : checkInteger("limit", limit, 0, max),
    lifetime: checkType("lifetime", lifetime, "boolean"),
  };
}

function checkMoment(moment: Moment): Moment {
  checkKeys("a moment", checkType("moment", moment, "object"), MOMENT_KEYS);
  const { tick, time, page, epoch } = moment;
  const given = [tick, time, epoch].filter((value) => value !== undefined).length;
  if (given !== 1 || (page === undefined) !== (epoch === undefined)) {
    throw new MmsbError(
      "usage",
      "Cannot tell which moment is meant: give tick, time, or page and epoch",
    );
  }
  if (page !== undefined) checkInteger("page", page, 1, 2 ** 32 - 1);
  if (epoch !== undefined) checkInteger("epoch", epoch, 0, Number.MAX_SAFE_INTEGER);
  return moment;
}

const TIME_TEXT_MAX = 60;

/** ISO 8601 with a time that can mean one moment only. */
const ISO = /^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2})(?:\.(\d{1,6}))?(Z|[+-]\d{2}:\d{2})$/;

function timeUsOf(time: Date | string | number): number {
  let us = NaN;
  if (typeof time === "number") us = time;
  else if (time instanceof Date) us = time.getTime() * 1000;
  else if (typeof time === "string") {
    const [, date, second, fraction = "", offset] = ISO.exec(time) ?? [];
    us = Date.parse(`${date}T${second}${offset}`) * 1000 + Number(fraction.padEnd(6, "0"));
  }
  // What is later than any timestamp is later than the last tick.
  if (us >= 0 && us < Infinity) return Math.min(us, PHYSICAL_US_MAX);
  throw new MmsbError(
    "usage",
    `Cannot use ${timeText(time)} as a time: ` +
      "give a Date, an ISO text with its offset, or µs since 1970",
    { values: { time } },
  );
}

/** What was given in place of a time, which may be anything. */
function timeText(time: unknown): string {
  if (typeof time === "string") return JSON.stringify(time.slice(0, TIME_TEXT_MAX));
  if (typeof time === "bigint") return `${time}n`;
  if (typeof time === "function") return "a function";
  return typeof time === "object" && time !== null ? "an object" : String(time);
}
