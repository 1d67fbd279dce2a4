/**
 * The streams of a selector's events: each reader has a queue with a fixed number of places; who reads too slowly
 * loses the oldest, and can see how many.
 */
import {
  checkInteger,
  checkKeys,
  EVENT_BUFFER_MAX,
  EVENT_SUBSCRIBERS_MAX,
} from "../../base/mod.ts";
import { MmsbError } from "../../base/mod.ts";
import type { ClockEvent, ClockEventStream } from "./clock_event.ts";

const KEYS = ["buffer"];
const BUFFER_DEFAULT = 256;

/** All streams of one selector. */
export class ClockEventHub {
  readonly #streams = new Set<Stream>();
  #isOver = false;

  /** Whether nobody listens. */
  get isIdle(): boolean {
    return this.#streams.size === 0;
  }

  /**
   * Opens a stream.
   *
   * @throws {MmsbError} `closed` after {@linkcode ClockEventHub.end}, `usage` or `limit` for wrong options.
   */
  open(options: { readonly buffer?: number } = {}): ClockEventStream {
    checkKeys("events", options, KEYS);
    const { buffer = BUFFER_DEFAULT } = options;
    checkInteger("buffer", buffer, 1, EVENT_BUFFER_MAX, "limit");
    if (this.#isOver) {
      throw new MmsbError("closed", "Cannot hear of a clock selector that is closed: open one");
    }
    if (this.#streams.size >= EVENT_SUBSCRIBERS_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot have more than ${EVENT_SUBSCRIBERS_MAX} streams of events: end some`,
        { values: { streams: this.#streams.size } },
      );
    }
    const stream = new Stream(buffer, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream;
  }

  /** Tells all readers. */
  emit(event: ClockEvent): void {
    for (const stream of this.#streams) stream.offer(event);
  }

  /** Ends all streams, each after what it holds. */
  end(): void {
    this.#isOver = true;
    for (const stream of this.#streams) stream.finish();
  }
}

class Stream implements ClockEventStream {
  readonly #places: number;
  readonly #leave: () => void;
  #events: ClockEvent[] = [];
  #waiting: (() => void)[] = [];
  #lost = 0;
  #isFinished = false;
  #isOver = false;

  constructor(places: number, leave: () => void) {
    this.#places = places;
    this.#leave = leave;
  }

  get lost(): number {
    return this.#lost;
  }

  get buffered(): number {
    return this.#events.length;
  }

  offer(event: ClockEvent): void {
    if (this.#events.length >= this.#places) {
      this.#events.shift();
      this.#lost++;
    }
    this.#events.push(event);
    this.#wake();
  }

  finish(): void {
    this.#isFinished = true;
    this.#wake();
  }

  async next(): Promise<IteratorResult<ClockEvent, undefined>> {
    for (;;) {
      if (this.#isOver) return { done: true, value: undefined };
      const event = this.#events.shift();
      if (event !== undefined) return { done: false, value: event };
      if (this.#isFinished) this.#end();
      else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  return(): Promise<IteratorResult<ClockEvent, undefined>> {
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#end();
    return Promise.resolve();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #end(): void {
    this.#isOver = true;
    this.#events = [];
    this.#leave();
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
