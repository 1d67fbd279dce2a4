/**
 * Events: what happened on a bus, for those who asked to hear of it.
 *
 * Each subscriber has a buffer of its own with a fixed number of places. Who reads too slowly, or never, loses
 * what its buffer has no place for, by the policy that it chose; the loss is counted, and neither the bus nor
 * other subscribers feel it. Events of a tick stay hidden until it has the bus's durability, unless a
 * subscriber asks for applied ones.
 *
 * Cost: an object an event and subscriber that wants it, at most as many a tick as its buffer has places.
 *
 * @module
 */

import {
  checkInteger,
  checkIterable,
  checkKeys,
  checkOneOf,
  checkType,
  EVENT_BUFFER_MAX,
  MmsbError,
  PAGE_ID_MAX,
} from "../base/mod.ts";

/** The kinds of events. A kind's place in this list is its number in an event page. */
export const EVENT_KINDS = [
  "tick",
  "refused",
  "page-created",
  "page-deleted",
  "page-changed",
  "page-invalidated",
  "page-stale",
  "delta-applied",
  "gpu-sync-needed",
  "gpu-sync-complete",
  "compiler-invalidated",
  "inference-start",
  "inference-complete",
  "optimisation-start",
  "optimisation-complete",
] as const;

/** Name of a kind of event. */
export type BusEventKind = typeof EVENT_KINDS[number];

/** One event. */
export interface BusEvent {
  /** What happened. */
  readonly kind: BusEventKind;
  /** The tick in which it did; the last one for what happens between ticks. */
  readonly tick: number;
  /** The page that it is about, 0 for none. */
  readonly page: number;
  /** The page's epoch after the tick, 0 for none. */
  readonly epoch: number;
  /** Deltas: those of the tick, of `page-changed` those of the page, of `delta-applied` 1. */
  readonly rows: number;
  /** Of `delta-applied` the first byte of the span, else 0. */
  readonly offset: number;
  /** Of `delta-applied` the bytes of the span, else 0. */
  readonly length: number;
  /** Of `delta-applied` who made it, of a derived one the rule; "" where that was not said. */
  readonly source: string;
  /** Of `delta-applied` why it was made, "" where that was not said. */
  readonly intent: string;
  /** Of `refused` why. */
  readonly error?: MmsbError;
  /** What {@linkcode StateBus.emit} was given. */
  readonly detail?: unknown;
}

/** What a full buffer does: lose its oldest event, lose the new one, or end with an error. */
export type EventOverflow = "oldest" | "newest" | "error";

/** What to hear of. */
export interface EventFilter {
  /** Kinds. Default: all but `delta-applied`. */
  readonly kinds?: readonly BusEventKind[];
  /**
   * Events about these pages only: handles of pages, structs and tables, or ids. Of a table its root page,
   * which every append changes, and no chunk of a column.
   */
  readonly pages?: readonly (number | { readonly id: number })[];
  /** Hear of ticks as soon as they are applied, and not when they have the bus's durability. Default false. */
  readonly applied?: boolean;
  /** Places in the buffer, 1 to 1,048,576. Default 1024. */
  readonly buffer?: number;
  /** What happens where it is full. Default `oldest`. */
  readonly overflow?: EventOverflow;
}

const KEYS = ["kinds", "pages", "applied", "buffer", "overflow"];
const BUFFER_DEFAULT = 1024;
/** Read places at the front of a buffer that are given back at once. */
const READ_KEPT = 1024;

/** The bit of a kind. */
export function bitOf(kind: BusEventKind): number {
  return 1 << EVENT_KINDS.indexOf(kind);
}

const DEFAULT_MASK: number = (1 << EVENT_KINDS.length) - 1 & ~bitOf("delta-applied");

/** One subscriber's filter and buffer. */
export class Subscription {
  /** Kinds that it wants, as bits. */
  readonly mask: number;
  /** Pages that it wants, `undefined` for all. */
  readonly pages: ReadonlySet<number> | undefined;
  /** Whether it sees ticks before they are durable. */
  readonly applied: boolean;
  /** Called when there is something new; set by who reads. */
  wake: (() => void) | undefined;
  /** Events lost. */
  lost = 0;
  /** Why it ended, if not by its user. */
  failure: MmsbError | undefined;
  readonly #places: number;
  readonly #overflow: EventOverflow;
  /** Events from `#first` on wait to be read. */
  #events: BusEvent[] = [];
  #first = 0;

  /**
   * Checks a filter.
   *
   * @throws {MmsbError} `usage` or `out-of-bounds`, naming what is wrong.
   */
  constructor(filter: EventFilter = {}) {
    checkKeys("events", filter, KEYS);
    const { kinds, pages, applied = false, buffer = BUFFER_DEFAULT, overflow = "oldest" } = filter;
    this.mask = kinds === undefined ? DEFAULT_MASK : maskOf(kinds);
    this.pages = pages === undefined ? undefined : new Set([...checkIterable("pages", pages)].map(
      (page) =>
        checkInteger(
          "page id",
          typeof page === "object" && page !== null ? page.id : page,
          1,
          PAGE_ID_MAX,
        ),
    ));
    this.applied = checkType("applied", applied, "boolean");
    this.#places = checkInteger("buffer", buffer, 1, EVENT_BUFFER_MAX, "limit");
    this.#overflow = checkOneOf("overflow", overflow, ["oldest", "newest", "error"]);
  }

  /** Events that wait to be read, hidden ones too. */
  get size(): number {
    return this.#events.length - this.#first;
  }

  /** Whether an event of a kind about a page is wanted; 0 is about no page. */
  wants(bit: number, page: number): boolean {
    return (this.mask & bit) !== 0 && (this.pages === undefined || this.pages.has(page));
  }

  /**
   * Takes events, as far as there are places.
   *
   * @param count Events.
   * @param make Makes one of them; called only for those that stay.
   */
  offer(count: number, make: (index: number) => BusEvent): void {
    if (this.failure !== undefined) return;
    const free = this.#places - this.size;
    let first = 0, end = count;
    if (count > free) {
      if (this.#overflow === "error") {
        this.lost += count;
        this.failure = overflowError(this.#places);
        return;
      }
      this.lost += count - free;
      if (this.#overflow === "newest") end = free;
      else {
        first = Math.max(0, count - this.#places);
        this.#drop(Math.min(this.size, count - first - free));
      }
    }
    for (let index = first; index < end; index++) this.#events.push(make(index));
  }

  /** The next event of a tick up to `tick`, `undefined` where there is none. */
  take(tick: number): BusEvent | undefined {
    const event = this.#events[this.#first];
    if (event === undefined || event.tick > tick && !this.applied) return undefined;
    this.#drop(1);
    return event;
  }

  /** Whether it hides events of a tick that is not durable yet. */
  get isWaiting(): boolean {
    return !this.applied && this.size > 0;
  }

  /** Forgets what waits. */
  clear(): void {
    this.#events = [];
    this.#first = 0;
  }

  #drop(count: number): void {
    this.#first += count;
    if (this.#first < READ_KEPT && this.#first < this.#events.length) return;
    if (this.#first * 2 < this.#events.length) return;
    this.#events = this.#events.slice(this.#first);
    this.#first = 0;
  }
}

/** What an event stream needs of its bus. */
export interface EventSource {
  /** Ticks up to this one may be shown to those who wait for durable ones. */
  readonly durableTick: number;
  /** Whether nothing will come any more. */
  readonly isEnded: boolean;
  /** Forgets a subscription. */
  remove(subscription: Subscription): void;
}

/**
 * Events as they come, for `for await`; made by {@linkcode StateBus.events}. Leaving the loop ends it.
 */
export class EventStream implements AsyncIterableIterator<BusEvent, undefined> {
  readonly #source: EventSource;
  readonly #subscription: Subscription;
  #waiting: (() => void)[] = [];
  #isOver = false;

  /** @ignore Made by the bus. */
  constructor(source: EventSource, subscription: Subscription) {
    this.#source = source;
    this.#subscription = subscription;
    subscription.wake = () => this.#wake();
  }

  /** Events lost because the buffer was full. */
  get lost(): number {
    return this.#subscription.lost;
  }

  /** Events that wait to be read, those of ticks that are not durable yet included. */
  get buffered(): number {
    return this.#subscription.size;
  }

  /**
   * The next event; it waits for one.
   *
   * @throws {MmsbError} `limit` where the buffer was full and `overflow` is `error`, `read-only` where the
   * log failed; both after what was there before.
   */
  async next(): Promise<IteratorResult<BusEvent, undefined>> {
    const source = this.#source, subscription = this.#subscription;
    for (;;) {
      if (this.#isOver) return { done: true, value: undefined };
      const event = subscription.take(source.durableTick);
      if (event !== undefined) return { done: false, value: event };
      if (subscription.failure !== undefined) {
        this.#end();
        throw subscription.failure;
      }
      if (source.isEnded) {
        this.#end();
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Ends it, also where it waits. */
  return(): Promise<IteratorResult<BusEvent, undefined>> {
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends it. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#end();
    return Promise.resolve();
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  #end(): void {
    this.#isOver = true;
    this.#source.remove(this.#subscription);
    this.#subscription.clear();
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function maskOf(kinds: readonly BusEventKind[]): number {
  let mask = 0;
  for (const kind of checkIterable("kinds", kinds)) {
    mask |= bitOf(checkOneOf("kind", kind, EVENT_KINDS));
  }
  return mask;
}

function overflowError(places: number): MmsbError {
  return new MmsbError(
    "limit",
    `Cannot keep more than ${places} events that nobody reads: read faster, or give a larger buffer`,
    { values: { buffer: places } },
  );
}
