/**
 * Event hub: gathers what a tick did for those who want to hear of it, and shows it when it is durable.
 *
 * Nothing is looked at row by row unless somebody wants events of deltas or of changed pages. Notes that
 * come up inside a tick (stale pages, devices to be synchronised) are kept until the tick is real, and
 * forgotten where it is taken back.
 *
 * Callbacks run after the tick, in a turn of their own, so they may read and stage; one that throws is
 * counted and called again with the next event.
 *
 * Cost: a test of a bit where nobody listens; one pass over the tick's rows where somebody wants changed pages.
 */

import { checkKeys, checkOneOf, checkType, EVENT_SUBSCRIBERS_MAX, MmsbError } from "../base/mod.ts";
import type { KernelColumns, PageStore } from "../physical/mod.ts";
import {
  bitOf,
  type BusEvent,
  type BusEventKind,
  EVENT_KINDS,
  type EventFilter,
  type EventSource,
  Subscription,
} from "./events.ts";
import type { RefusedBatch } from "./reports.ts";
import type { Staging } from "./staging.ts";

/** The subscribers of a bus, and what they missed. */
export interface EventStatistics {
  /** Subscribers. */
  readonly subscribers: number;
  /** Events that wait to be read. */
  readonly buffered: number;
  /** Events lost because a buffer was full, since the bus was opened. */
  readonly lost: number;
  /** Callbacks that threw. */
  readonly failed: number;
  /** What the last of them threw, `undefined` for none. */
  readonly lastError: unknown;
}

/** Rows of a batch as events see them. */
export interface EventRows {
  /** The columns. */
  readonly columns: KernelColumns;
  /** Rows. */
  readonly rows: number;
  /** Strings that sources and intents number. */
  readonly strings: readonly string[];
}

/** What a tick did. */
export interface PublishedWork {
  /** Its number. */
  readonly tick: number;
  /** Batches applied. */
  readonly batches: readonly {
    readonly batch: {
      readonly kernel: KernelColumns;
      readonly length: number;
      readonly strings: readonly string[];
    };
    readonly producer: number;
  }[];
  /** Births and deaths, if there were any. */
  readonly staging: Staging | undefined;
  /** Batches refused. */
  readonly refused: readonly RefusedBatch[];
}

/** What is said of a page inside a tick. */
interface Note {
  readonly kind: BusEventKind;
  readonly page: number;
}

/** Producer of the batches that record events in a page. */
export const EVENT_PRODUCER = 0xffff_ffff;

const EMIT_KEYS = ["page", "detail"];
const ROW = bitOf("delta-applied"), CHANGED = bitOf("page-changed"), TICK = bitOf("tick");
const REFUSED = bitOf("refused");
const PLAIN = { epoch: 0, rows: 0, offset: 0, length: 0, source: "", intent: "" };

/** Brings events to their subscribers. */
export class EventHub implements EventSource {
  /** Ticks up to this one may be shown to those who wait for durable ones. */
  durableTick: number;
  /** Whether the bus was closed. */
  isEnded = false;
  readonly #store: PageStore;
  readonly #isGroup: boolean;
  readonly #subscriptions = new Set<Subscription>();
  /** Subscriptions that do not hear of ticks that only record events. */
  readonly #recorders = new Set<Subscription>();
  #mask = 0;
  #tick: number;
  #notes: Note[] = [];
  #derived: EventRows[] = [];
  /** Rows of the tick by page-table row, and the rows of the page table that are not 0 there. */
  #counts = new Uint32Array(0);
  #lost = 0;
  #failed = 0;
  #lastError: unknown;

  /** Nobody listens yet. */
  constructor(store: PageStore, tick: number, isGroup: boolean) {
    this.#store = store;
    this.#isGroup = isGroup;
    this.#tick = this.durableTick = tick;
  }

  /** Whether somebody wants events of a kind. */
  wants(kind: BusEventKind): boolean {
    return this.#mask !== 0 && (this.#mask & bitOf(kind)) !== 0;
  }

  /** Whether somebody wants events that single rows lead to. */
  get wantsRows(): boolean {
    return (this.#mask & (ROW | CHANGED)) !== 0;
  }

  /**
   * Begins to gather events for a filter.
   *
   * @throws {MmsbError} `usage` for a wrong filter, `limit` where too many listen.
   */
  add(filter: EventFilter | undefined, isRecorder = false): Subscription {
    if (this.#subscriptions.size >= EVENT_SUBSCRIBERS_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot have more than ${EVENT_SUBSCRIBERS_MAX} subscribers: end some`,
        { values: { subscribers: this.#subscriptions.size } },
      );
    }
    const subscription = new Subscription(filter);
    this.#subscriptions.add(subscription);
    if (isRecorder) this.#recorders.add(subscription);
    this.#mask |= subscription.mask;
    return subscription;
  }

  /** Forgets a subscription. */
  remove(subscription: Subscription): void {
    if (!this.#subscriptions.delete(subscription)) return;
    this.#recorders.delete(subscription);
    this.#lost += subscription.lost;
    this.#mask = 0;
    for (const { mask } of this.#subscriptions) this.#mask |= mask;
  }

  /**
   * Calls back with each event.
   *
   * @returns Ends it.
   * @throws {MmsbError} `usage` for a wrong filter or callback.
   */
  on(
    filter: EventFilter,
    call: (event: BusEvent) => unknown,
    isRecorder = false,
  ): () => void {
    checkType("callback", call, "function");
    if (filter?.overflow === "error") {
      throw new MmsbError(
        "usage",
        'Cannot end a callback with an error where its buffer is full: use "oldest" or "newest", or bus.events',
      );
    }
    const subscription = this.add(filter, isRecorder);
    let isScheduled = false, isOver = false;
    const drain = (): void => {
      isScheduled = false;
      // Those that the callbacks lead to come after what others have, so that who tells more each time he
      // hears of something does not have the thread for himself.
      for (let left = subscription.size; left > 0 && !isOver; left--) {
        const event = subscription.take(this.durableTick);
        if (event === undefined) return;
        this.#call(call, event);
      }
      if (subscription.size > 0 && !isOver) subscription.wake?.();
    };
    subscription.wake = () => {
      if (isScheduled) return;
      isScheduled = true;
      queueMicrotask(drain);
    };
    return () => {
      isOver = true;
      this.remove(subscription);
      subscription.clear();
    };
  }

  /** Notes something about a page inside a tick; callers ask {@linkcode EventHub.wants} first. */
  note(kind: BusEventKind, page: number): void {
    this.#notes.push({ kind, page });
  }

  /** Notes derived rows of a tick; callers ask {@linkcode EventHub.wantsRows} first. */
  noteRows(rows: EventRows): void {
    this.#derived.push(rows);
  }

  /** Forgets what was noted of a tick that was taken back. */
  drop(): void {
    if (this.#notes.length > 0) this.#notes = [];
    if (this.#derived.length > 0) this.#derived = [];
  }

  /**
   * Tells of something that the bus does not see by itself.
   *
   * @throws {MmsbError} `usage` for what is no event.
   */
  emit(kind: BusEventKind, options: { readonly page?: unknown; readonly detail?: unknown }): void {
    checkOneOf("kind", kind, EVENT_KINDS.slice(EVENT_KINDS.indexOf("gpu-sync-needed")));
    checkKeys("emit", options, EMIT_KEYS);
    const { page: given, detail } = options;
    const id = typeof given === "object" && given !== null && "id" in given ? given.id : given;
    const page = Number.isInteger(id) ? id as number : 0;
    const row = page === 0 ? 0 : this.#store.table.rowOf(page);
    if (given !== undefined && row === 0) {
      throw new MmsbError("invalid-handle", "Cannot emit an event about a page that is not there", {
        values: { page: id },
      });
    }
    const epoch = row === 0 ? 0 : this.#store.table.epoch(row);
    const event: BusEvent = { ...PLAIN, kind, tick: this.#tick, page, epoch, detail };
    const bit = bitOf(kind);
    for (const subscription of this.#subscriptions) {
      if (subscription.wants(bit, page)) subscription.offer(1, () => event);
    }
    this.#wake();
  }

  /** Takes what a tick did; it is applied, and its deaths are still there. */
  publish(work: PublishedWork): void {
    this.#tick = work.tick;
    if (this.#mask === 0) return;
    const structural = work.staging?.structural ?? 0;
    const isRecord = structural === 0 && work.batches.length > 0 && work.refused.length === 0 &&
      work.batches.every(({ producer }) => producer === EVENT_PRODUCER);
    const rows: EventRows[] = work.batches.map(({ batch }) => ({
      columns: batch.kernel,
      rows: batch.length,
      strings: batch.strings,
    }));
    rows.push(...this.#derived);
    const touched = (this.#mask & CHANGED) === 0 ? NO_PAGES : this.#count(rows);
    const isEmpty = work.batches.length === 0 && structural === 0;
    for (const subscription of this.#subscriptions) {
      if (isRecord && this.#recorders.has(subscription)) continue;
      if (!isEmpty) this.#offerWork(subscription, work, rows, touched);
      this.#offerRefused(subscription, work);
    }
    for (const row of touched) this.#counts[row] = 0;
    this.drop();
  }

  /** Shows a tick to those who wait for durable ones, when it is. */
  settle(tick: number, durable: Promise<unknown>): void {
    if (!this.#isGroup) this.durableTick = tick;
    if (this.#subscriptions.size === 0) {
      if (this.#isGroup) durable.then(() => this.#reach(tick), ignore);
      return;
    }
    this.#wake();
    if (this.#isGroup) durable.then(() => this.#reach(tick), (error) => this.fail(error));
  }

  /** Ends all streams with an error: what they wait for will never be durable. */
  fail(error: unknown): void {
    const cause = error instanceof MmsbError ? error : undefined;
    for (const subscription of this.#subscriptions) {
      subscription.failure ??= new MmsbError(
        "read-only",
        "Cannot hear of further ticks as the log failed and the bus is read-only now",
        { values: { tick: this.durableTick, code: cause?.code }, cause },
      );
    }
    this.#wake();
  }

  /** Ends all streams, after what they have. */
  end(): void {
    this.isEnded = true;
    this.#wake();
  }

  /** Goes on with tick 0 of a bus that was reset. */
  reset(): void {
    this.drop();
    for (const subscription of this.#subscriptions) subscription.clear();
    this.#tick = this.durableTick = 0;
  }

  /** Who listens. */
  statistics(): EventStatistics {
    let lost = this.#lost, buffered = 0;
    for (const subscription of this.#subscriptions) {
      lost += subscription.lost;
      buffered += subscription.size;
    }
    const { size: subscribers } = this.#subscriptions;
    return { subscribers, buffered, lost, failed: this.#failed, lastError: this.#lastError };
  }

  #reach(tick: number): void {
    if (tick <= this.durableTick) return;
    this.durableTick = tick;
    this.#wake();
  }

  #wake(): void {
    for (const subscription of this.#subscriptions) {
      if (subscription.size > 0 || subscription.failure !== undefined || this.isEnded) {
        subscription.wake?.();
      }
    }
  }

  #call(call: (event: BusEvent) => unknown, event: BusEvent): void {
    const fail = (error: unknown): void => {
      this.#failed++;
      this.#lastError = error;
    };
    try {
      const result = call(event);
      if (result instanceof Promise) result.catch(fail);
    } catch (error) {
      fail(error);
    }
  }

  /** Counts the tick's rows by page; gives the rows of the page table that have any. */
  #count(all: readonly EventRows[]): number[] {
    const { table } = this.#store, touched: number[] = [];
    if (this.#counts.length < table.ids.length) this.#counts = new Uint32Array(table.ids.length);
    const counts = this.#counts;
    for (const { columns: { page }, rows } of all) {
      for (let i = 0; i < rows; i++) {
        const row = table.rowOf(page[i] >>> 0);
        if (counts[row]++ === 0) touched.push(row);
      }
    }
    return touched;
  }

  #offerWork(
    subscription: Subscription,
    { tick, staging }: PublishedWork,
    rows: readonly EventRows[],
    touched: readonly number[],
  ): void {
    const { table } = this.#store;
    const offerPages = (kind: BusEventKind, pages: Iterable<number>): void => {
      const bit = bitOf(kind);
      if ((subscription.mask & bit) === 0) return;
      const wanted = [...pages].filter((page) => subscription.wants(bit, page));
      subscription.offer(wanted.length, (index) => {
        const page = wanted[index], epoch = table.epoch(table.rowOf(page));
        return { ...PLAIN, kind, tick, page, epoch };
      });
    };
    if (staging !== undefined) offerPages("page-created", staging.births);
    if ((subscription.mask & ROW) !== 0) {
      for (const some of rows) this.#offerRows(subscription, tick, some);
    }
    for (const { kind, page } of this.#notes) offerPages(kind, [page]);
    if ((subscription.mask & CHANGED) !== 0) {
      const { pages } = subscription, { ids } = table;
      const wanted = pages === undefined ? touched : touched.filter((row) => pages.has(ids[row]));
      subscription.offer(wanted.length, (index) => {
        const row = wanted[index], page = ids[row], epoch = table.epoch(row);
        return { ...PLAIN, kind: "page-changed", tick, page, epoch, rows: this.#counts[row] };
      });
    }
    if (staging !== undefined) offerPages("page-deleted", staging.deaths);
    if (subscription.wants(TICK, 0)) {
      const sum = rows.reduce((count, some) => count + some.rows, 0);
      subscription.offer(1, () => ({ ...PLAIN, kind: "tick", tick, page: 0, rows: sum }));
    }
  }

  #offerRows(subscription: Subscription, tick: number, { columns, rows, strings }: EventRows) {
    const { table } = this.#store, { pages } = subscription;
    const make = (row: number): BusEvent => {
      const page = columns.page[row] >>> 0;
      return {
        kind: "delta-applied",
        tick,
        page,
        epoch: table.epoch(table.rowOf(page)),
        rows: 1,
        offset: columns.offset[row] >>> 0,
        length: columns.length[row] >>> 0,
        source: strings[columns.source[row]] ?? "",
        intent: strings[columns.intent[row]] ?? "",
      };
    };
    if (pages === undefined) return subscription.offer(rows, make);
    const wanted: number[] = [];
    for (let row = 0; row < rows; row++) if (pages.has(columns.page[row] >>> 0)) wanted.push(row);
    subscription.offer(wanted.length, (index) => make(wanted[index]));
  }

  #offerRefused(subscription: Subscription, { tick, refused }: PublishedWork): void {
    if (!subscription.wants(REFUSED, 0)) return;
    subscription.offer(refused.length, (index) => {
      const { error } = refused[index];
      return { ...PLAIN, kind: "refused", tick, page: 0, error };
    });
  }
}

const NO_PAGES: readonly number[] = [];

function ignore(): void {}
