/**
 * Event page: events kept in a page, as a ring of records of 32 bytes behind a header of 32.
 *
 * They go the way of all deltas, so they are in the log, in the past and in every copy of the state. A tick's
 * events are written by the tick after it. The page's own changes, and ticks that do nothing but record, are not
 * recorded, so that recording comes to rest.
 *
 * Cost: a batch a tick while there are events, of a row for the header and one or two for the records.
 *
 * @module
 */

import { checkType, MmsbError } from "../base/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { EVENT_PRODUCER, type EventHub } from "./_events.ts";
import { type BusEvent, type BusEventKind, EVENT_KINDS, type EventFilter } from "./events.ts";
import { Page } from "./page.ts";

/** One event as a page keeps it. */
export interface EventRecord {
  /** Its number, from 0 on; where some are missing, more came between two ticks than the page holds. */
  readonly number: number;
  /** What happened. */
  readonly kind: BusEventKind;
  /** The tick in which it did. */
  readonly tick: number;
  /** The page that it is about, 0 for none. */
  readonly page: number;
  /** The page's epoch after the tick, 0 for none. */
  readonly epoch: number;
  /** Deltas. */
  readonly rows: number;
  /** Of `delta-applied` the first byte of the span. */
  readonly offset: number;
}

/** What recording needs of its bus. */
export interface RecordingBus {
  /** Who hears of what happens. */
  readonly events: EventHub;
  /** Queues a batch. */
  submit(batch: DeltaBatch, producer: number): Promise<unknown>;
}

const HEADER_BYTES = 32;
const RECORD_BYTES = 32;
const SOURCE = "events";

/**
 * Keeps events in a page until that is ended.
 *
 * @returns Ends it.
 * @throws {MmsbError} as `StateBus.recordEvents`.
 */
export function recordEvents(bus: RecordingBus, page: Page, filter: EventFilter): () => void {
  const places = placesOf(page);
  const batch = new DeltaBatch({ rows: 4, payloadBytes: 1024, growable: true });
  const source = batch.source(SOURCE);
  let count = page.state === "allocated" ? 0 : headerOf(page.read());
  let pending: BusEvent[] = [], isQueued = false, isScheduled = false;
  let end: (() => void) | undefined;
  const write = (): void => {
    if (isQueued || pending.length === 0) return;
    const some = pending.slice(-places);
    pending = [];
    batch.clear();
    pushRecords(batch, page.id, some, count, places, source);
    isQueued = true;
    bus.submit(batch, EVENT_PRODUCER).then(() => {
      isQueued = false;
      writeAll();
    }, () => end?.());
  };
  const writeAll = (): void => {
    isScheduled = false;
    try {
      write();
    } catch {
      // The bus takes no more writes.
      end?.();
    }
  };
  return end = bus.events.on(filter, (event) => {
    if (event.page === page.id) return;
    count++;
    pending.push(event);
    if (pending.length === 2 * places) pending = pending.slice(-places);
    // One batch for all events of a tick.
    if (!isScheduled) queueMicrotask(writeAll);
    isScheduled = true;
  }, true);
}

/**
 * The events that a page keeps, oldest first.
 *
 * @param page A page that {@linkcode StateBus.recordEvents} was given.
 * @throws {MmsbError} `usage` where it keeps none, `invalid-handle` where it was deleted.
 */
export function eventRecords(page: Page): EventRecord[] {
  const places = placesOf(page), bytes = page.read(), count = headerOf(bytes);
  const view = new DataView(bytes.buffer);
  const records: EventRecord[] = [];
  for (let number = Math.max(0, count - places); number < count; number++) {
    const at = HEADER_BYTES + number % places * RECORD_BYTES;
    const kind = EVENT_KINDS[view.getUint32(at, true) - 1];
    if (kind === undefined) continue;
    records.push({
      number,
      kind,
      tick: view.getFloat64(at + 8, true),
      page: view.getUint32(at + 4, true),
      epoch: view.getFloat64(at + 16, true),
      rows: view.getUint32(at + 24, true),
      offset: view.getUint32(at + 28, true),
    });
  }
  return records;
}

/** Adds the rows that write events into the ring; `count` is what it has come to with them. */
function pushRecords(
  batch: DeltaBatch,
  page: number,
  events: readonly BusEvent[],
  count: number,
  places: number,
  source: number,
): void {
  const bytes = new Uint8Array(events.length * RECORD_BYTES), view = new DataView(bytes.buffer);
  events.forEach((event, index) => {
    const at = index * RECORD_BYTES;
    view.setUint32(at, EVENT_KINDS.indexOf(event.kind) + 1, true);
    view.setUint32(at + 4, event.page, true);
    view.setFloat64(at + 8, event.tick, true);
    view.setFloat64(at + 16, event.epoch, true);
    view.setUint32(at + 24, event.rows, true);
    view.setUint32(at + 28, event.offset, true);
  });
  const first = (count - events.length) % places, fit = Math.min(events.length, places - first);
  batch.push(
    page,
    HEADER_BYTES + first * RECORD_BYTES,
    bytes.subarray(0, fit * RECORD_BYTES),
    source,
  );
  if (fit < events.length) {
    batch.push(page, HEADER_BYTES, bytes.subarray(fit * RECORD_BYTES), source);
  }
  batch.push(page, 0, new Uint8Array(Float64Array.of(count).buffer), source);
}

function placesOf(page: Page): number {
  if (!(checkType("page", page, "object") instanceof Page)) {
    throw new MmsbError("usage", "Cannot keep events in what is no page: give its handle");
  }
  const places = Math.floor((page.size - HEADER_BYTES) / RECORD_BYTES);
  if (places >= 1) return places;
  throw new MmsbError(
    "out-of-bounds",
    `Cannot keep events in page ${page.id} of ${page.size} bytes: it needs ${HEADER_BYTES} and ${RECORD_BYTES} an event`,
    { values: { page: page.id, size: page.size } },
  );
}

/** Events that the page has taken in all. */
function headerOf(bytes: Uint8Array<ArrayBuffer>): number {
  const count = new DataView(bytes.buffer).getFloat64(0, true);
  if (Number.isSafeInteger(count) && count >= 0) return count;
  throw new MmsbError(
    "usage",
    "Cannot read events of a page that keeps something else: give one that was created for them",
  );
}
