/**
 * Flights: 200,000 real flights, as deltas through the bus.
 *
 * The data is a sample of the on-time reports of the U.S. Bureau of Transportation Statistics, from
 * the package `vega-datasets`: minutes of delay on arrival, miles flown, and the local time of
 * departure as a fraction of the day's hours. The file names no day, so no delta states a time in
 * µs; the time of departure is each delta's intent, and the record's third field.
 *
 * Three deltas a flight, and 49 pages:
 *
 * | page | bytes | what a flight does to it |
 * | --- | --- | --- |
 * | `flights 00h` … `flights 23h` | 8 a flight | sets its record: i16 delay, i16 distance, f32 time |
 * | `totals 00h` … `totals 23h` | 24 | adds 1, its lateness, its delay, its miles (i32 each); raises the two maxima |
 * | `progress` | 16 | (once a tick) sets how many flights are in, and the layout's version |
 *
 * Records and totals of one flight are in one tick with the progress, so whatever survives a crash
 * is a whole number of ticks, and loading goes on right behind it.
 *
 * Cost: reading the file takes some 20 ms and 1.6 MB; loading some 1 µs a delta.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import type { Page, StateBus } from "../bus/mod.ts";
import { combineKind, DeltaBatch, KIND_SET } from "../physical/mod.ts";

/** The flights of the file, column by column, in the file's order: by time of day. */
export interface Flights {
  /** Number of flights. */
  readonly count: number;
  /** Minutes late on arrival; negative where early. */
  readonly delay: Int16Array;
  /** Miles flown. */
  readonly distance: Int16Array;
  /** Local time of departure in hours: 6.5 is half past six. */
  readonly time: Float32Array;
  /** Where they were read. */
  readonly url: URL;
}

/** Sums over the flights of one hour of the day. */
export interface HourTotals {
  /** Flights. */
  readonly flights: number;
  /** Flights at least 15 minutes late, the bureau's own measure. */
  readonly late: number;
  /** Minutes of delay, early arrivals taken off. */
  readonly delay: number;
  /** Miles. */
  readonly miles: number;
  /** The longest delay in minutes; 0 if none was late. */
  readonly latest: number;
  /** The earliest arrival, in minutes before its time; 0 if none was early. */
  readonly earliest: number;
}

/** Where loading stands. */
export interface LoadStep {
  /** Tick that is durable. */
  readonly tick: number;
  /** Flights in the bus after it. */
  readonly flights: number;
  /** Deltas of the tick. */
  readonly deltas: number;
}

/** Options of {@linkcode loadFlights}. */
export interface LoadOptions {
  /** Flights a tick, at most 100,000. Default 2000. */
  readonly flightsPerTick?: number;
  /** Flights after which to stop. Default: all. */
  readonly stopAfter?: number;
}

/** Who made the deltas. */
export const FLIGHTS_SOURCE = "bts";
/** Hours of the day. */
export const HOURS = 24;
/** Minutes from which on the bureau calls a flight late. */
export const LATE_MINUTES = 15;
/** Deltas of one flight. */
export const DELTAS_PER_FLIGHT = 3;

const RECORD_BYTES = 8;
const ADDED_BYTES = 16;
const RAISED_BYTES = 8;
const TOTALS_BYTES = ADDED_BYTES + RAISED_BYTES;
const PROGRESS_BYTES = 16;
const LAYOUT_VERSION = 1;
const FLIGHTS_PER_TICK = 2000;

/**
 * Reads the flights.
 *
 * @returns The flights.
 * @throws {MmsbError} `io` where the data is not installed or cannot be read.
 */
export async function readFlights(): Promise<Flights> {
  const url = flightsUrl();
  const bytes = await fileBytes(url);
  // Loaded here only, so that whoever uses the bus never loads it.
  const { tableFromIPC } = await import("apache-arrow");
  const table = tableFromIPC(bytes);
  const column = (name: string): unknown => table.getChild(name)?.toArray();
  const delay = column("delay"), distance = column("distance"), time = column("time");
  if (
    !(delay instanceof Int16Array && distance instanceof Int16Array && time instanceof Float32Array)
  ) {
    throw new MmsbError("io", `Cannot use ${url.href}: it has no columns delay, distance and time`);
  }
  return { count: table.numRows, delay, distance, time, url };
}

/** Hour of the day of a flight, 0 to 23. */
export function hourOf(flights: Flights, index: number): number {
  return Math.floor(flights.time[index]) % HOURS;
}

/** Minute of the day of a flight: the file has minutes as fractions of an hour. */
export function minuteOf(flights: Flights, index: number): number {
  return Math.round(flights.time[index] * 60) % (60 * HOURS);
}

/** The sums of each hour over the first `count` flights, straight from the columns. */
export function totalsOf(flights: Flights, count = flights.count): HourTotals[] {
  return Array.from({ length: HOURS }, (_, hour) => {
    let number = 0, late = 0, delay = 0, miles = 0, latest = 0, earliest = 0;
    for (let i = 0; i < count; i++) {
      if (hourOf(flights, i) !== hour) continue;
      number++;
      if (flights.delay[i] >= LATE_MINUTES) late++;
      delay += flights.delay[i];
      miles += flights.distance[i];
      latest = Math.max(latest, flights.delay[i]);
      earliest = Math.max(earliest, -flights.delay[i]);
    }
    return { flights: number, late, delay, miles, latest, earliest };
  });
}

/** Name of the page with the records of an hour. */
export function recordsName(hour: number): string {
  return `flights ${String(hour).padStart(2, "0")}h`;
}

/** Name of the page with the totals of an hour. */
export function totalsName(hour: number): string {
  return `totals ${String(hour).padStart(2, "0")}h`;
}

/** Flights that a bus has; 0 where it has none of them. */
export function flightsIn(bus: StateBus): number {
  const page = bus.find("progress");
  if (page === undefined) return 0;
  const view = new DataView(page.read().buffer);
  if (page.size !== PROGRESS_BYTES || view.getUint32(8, true) !== LAYOUT_VERSION) {
    throw new MmsbError("usage", `Cannot load flights into a bus with another page "progress"`);
  }
  return view.getUint32(0, true);
}

/** The totals of an hour, from the bytes of its page. */
export function decodeTotals(bytes: Uint8Array): HourTotals {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [flights, late, delay, miles, latest, earliest] = [0, 4, 8, 12, 16, 20]
    .map((at) => view.getInt32(at, true));
  return { flights, late, delay, miles, latest, earliest };
}

/** The totals that a bus has. */
export function totalsIn(bus: StateBus): HourTotals[] {
  return Array.from(
    { length: HOURS },
    (_, hour) => decodeTotals(pageOf(bus, totalsName(hour)).read()),
  );
}

/** Records of a bus that differ from the first `count` flights of the file. */
export function wrongRecords(bus: StateBus, flights: Flights, count = flights.count): number {
  const views = Array.from(
    { length: HOURS },
    (_, hour) => new DataView(pageOf(bus, recordsName(hour)).read().buffer),
  );
  const next = new Uint32Array(HOURS);
  let wrong = 0;
  for (let i = 0; i < count; i++) {
    const hour = hourOf(flights, i), at = RECORD_BYTES * next[hour]++, view = views[hour];
    const isSame = view.getInt16(at, true) === flights.delay[i] &&
      view.getInt16(at + 2, true) === flights.distance[i] &&
      view.getFloat32(at + 4, true) === flights.time[i];
    if (!isSame) wrong++;
  }
  return wrong;
}

/**
 * Loads flights into a bus, from where it stands.
 *
 * @param bus The bus; its pages are made in its first tick.
 * @param flights The flights.
 * @param options How many, and how many a tick.
 * @returns Each tick when it has the bus's durability; while one is on its way to the disk, the next
 * is made.
 * @throws {MmsbError} what the bus says.
 */
export async function* loadFlights(
  bus: StateBus,
  flights: Flights,
  options: LoadOptions = {},
): AsyncGenerator<LoadStep> {
  const { flightsPerTick = FLIGHTS_PER_TICK, stopAfter = flights.count } = options;
  const first = flightsIn(bus);
  if (bus.find("progress") === undefined) await layOut(bus, flights);
  const last = Math.min(stopAfter, flights.count);
  const places = placesOf(flights);
  const records = new DeltaBatch({
    rows: flightsPerTick,
    payloadBytes: RECORD_BYTES * flightsPerTick,
  });
  const totals = new DeltaBatch({
    rows: 2 * flightsPerTick,
    payloadBytes: TOTALS_BYTES * flightsPerTick,
  });
  const pages = new FlightPages(bus);
  let waiting: { durable: Promise<unknown>; step: LoadStep } | undefined;
  for (let from = first; from < last; from += flightsPerTick) {
    const to = Math.min(last, from + flightsPerTick);
    fillRecords(records, pages, flights, places, from, to);
    fillTotals(totals, pages, flights, from, to);
    bus.submit(records, { producer: 1 });
    bus.submit(totals, { producer: 2 });
    pages.progress.write(0, progressBytes(to), { source: "loader" });
    const { tick, durable, rows, refused } = await bus.tick();
    for (const { error } of refused) throw error;
    if (waiting !== undefined) {
      await waiting.durable;
      yield waiting.step;
    }
    waiting = { durable, step: { tick, flights: to, deltas: rows } };
  }
  if (waiting === undefined) return;
  await waiting.durable;
  yield waiting.step;
}

/** Ids of the pages, by hour. */
class FlightPages {
  readonly records: number[];
  readonly totals: number[];
  readonly progress: Page;

  constructor(bus: StateBus) {
    const ids = (name: (hour: number) => string) =>
      Array.from({ length: HOURS }, (_, hour) => pageOf(bus, name(hour)).id);
    this.records = ids(recordsName);
    this.totals = ids(totalsName);
    this.progress = pageOf(bus, "progress");
  }
}

/** Makes the pages, in a tick of their own. */
async function layOut(bus: StateBus, flights: Flights): Promise<void> {
  if (bus.tickNumber > 0) {
    throw new MmsbError("usage", "Cannot load flights into a bus with other pages: use a new dir");
  }
  const totals = totalsOf(flights);
  const text = (value: string) => new TextEncoder().encode(value);
  await bus.commit(() => {
    for (let hour = 0; hour < HOURS; hour++) {
      bus.createPage({
        size: RECORD_BYTES * Math.max(1, totals[hour].flights),
        name: recordsName(hour),
        metadata: { record: text("i16 delay in min, i16 distance in miles, f32 time in hours") },
      });
      bus.createPage({
        size: TOTALS_BYTES,
        name: totalsName(hour),
        metadata: { fields: text("i32 flights, late, delay, miles, latest, earliest") },
      });
    }
    const progress = bus.createPage({ size: PROGRESS_BYTES, name: "progress" });
    progress.write(0, progressBytes(0), { source: "loader", intent: "nothing loaded yet" });
  });
}

function fillRecords(
  batch: DeltaBatch,
  pages: FlightPages,
  flights: Flights,
  places: Uint32Array,
  from: number,
  to: number,
): void {
  batch.clear();
  batch.clearStrings();
  const { columns } = batch;
  const view = new DataView(batch.payload.buffer, batch.payload.byteOffset);
  const source = batch.source(FLIGHTS_SOURCE);
  // Flights are in order of time, so a tick has few different minutes.
  const intents = new Map<number, number>();
  for (let i = from; i < to; i++) {
    const row = i - from, at = RECORD_BYTES * row, minute = minuteOf(flights, i);
    let intent = intents.get(minute);
    if (intent === undefined) {
      intents.set(minute, intent = batch.intent(`departed ${clockText(minute)} local time`));
    }
    view.setInt16(at, flights.delay[i], true);
    view.setInt16(at + 2, flights.distance[i], true);
    view.setFloat32(at + 4, flights.time[i], true);
    columns.page[row] = pages.records[hourOf(flights, i)];
    columns.offset[row] = RECORD_BYTES * places[i];
    columns.length[row] = RECORD_BYTES;
    columns.payloadStart[row] = at;
    columns.kind[row] = KIND_SET;
    columns.source[row] = source;
    columns.intent[row] = intent;
  }
  batch.setLength(to - from, RECORD_BYTES * (to - from));
}

function fillTotals(
  batch: DeltaBatch,
  pages: FlightPages,
  flights: Flights,
  from: number,
  to: number,
): void {
  batch.clear();
  batch.clearStrings();
  const { columns } = batch;
  const words = new Int32Array(batch.payload.buffer, batch.payload.byteOffset);
  const source = batch.source(FLIGHTS_SOURCE);
  const counted = batch.intent("count into the hour's totals");
  const raised = batch.intent("raise the hour's extremes");
  const add = combineKind("i32", "add"), max = combineKind("i32", "max");
  for (let i = from; i < to; i++) {
    const delay = flights.delay[i], page = pages.totals[hourOf(flights, i)];
    const row = 2 * (i - from), start = TOTALS_BYTES * (i - from);
    words.set([1, delay >= LATE_MINUTES ? 1 : 0, delay, flights.distance[i]], start / 4);
    words.set([delay, -delay], (start + ADDED_BYTES) / 4);
    columns.page.fill(page, row, row + 2);
    columns.source.fill(source, row, row + 2);
    columns.offset[row] = 0;
    columns.length[row] = ADDED_BYTES;
    columns.payloadStart[row] = start;
    columns.kind[row] = add;
    columns.intent[row] = counted;
    columns.offset[row + 1] = ADDED_BYTES;
    columns.length[row + 1] = RAISED_BYTES;
    columns.payloadStart[row + 1] = start + ADDED_BYTES;
    columns.kind[row + 1] = max;
    columns.intent[row + 1] = raised;
  }
  batch.setLength(2 * (to - from), TOTALS_BYTES * (to - from));
}

/** Place of each flight among those of its hour. */
function placesOf(flights: Flights): Uint32Array {
  const next = new Uint32Array(HOURS), places = new Uint32Array(flights.count);
  for (let i = 0; i < flights.count; i++) places[i] = next[hourOf(flights, i)]++;
  return places;
}

/** A minute of the day as `06:30`. */
export function clockText(minute: number): string {
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
}

function progressBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(PROGRESS_BYTES), view = new DataView(bytes.buffer);
  view.setUint32(0, count, true);
  view.setUint32(8, LAYOUT_VERSION, true);
  return bytes;
}

function pageOf(bus: StateBus, name: string): Page {
  const page = bus.find(name);
  if (page !== undefined) return page;
  throw new MmsbError("invalid-handle", `Cannot find page "${name}": load the flights first`);
}

function flightsUrl(): URL {
  let entry: string;
  try {
    // The package names no data among its exports; its files lie beside its entry.
    entry = import.meta.resolve("vega-datasets");
  } catch (cause) {
    throw notInstalled(cause);
  }
  if (!entry.startsWith("file:")) throw notInstalled(undefined);
  return new URL("../data/flights-200k.arrow", entry);
}

async function fileBytes(url: URL): Promise<Uint8Array> {
  try {
    return await Deno.readFile(url);
  } catch (cause) {
    throw notInstalled(cause);
  }
}

function notInstalled(cause: unknown): MmsbError {
  return new MmsbError(
    "io",
    "Cannot read the flights as the package vega-datasets is not installed: run from a checkout of MMSB with -A",
    { cause },
  );
}
