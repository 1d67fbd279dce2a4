/**
 * Flights: 200,000 real flights, as deltas through the bus.
 *
 * The data is a sample of the on-time reports of the U.S. Bureau of Transportation Statistics, from
 * the package `vega-datasets`: minutes of delay on arrival, miles flown, and the local time of
 * departure as a fraction of the day's hours. The file names no day, so no delta states a time in
 * µs; the time of departure is the intent of each append, and a column.
 *
 * A table, and 24 pages beside it:
 *
 * | what | holds | what a flight does to it |
 * | --- | --- | --- |
 * | table `flights` | i16 delay, u16 distance, f32 time, u8 hour | is a row; those of one minute are appended together |
 * | `totals 00h` … `totals 23h` | 6 × i32 | adds 1, its lateness, its delay, its miles; raises the two maxima |
 *
 * Rows and totals of one flight are in one tick, so whatever survives a crash is a whole number of
 * ticks, and loading goes on right behind it: the length of the table says where.
 *
 * Cost: reading the file takes some 20 ms and 1.6 MB; loading some 1 µs a delta.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import type { Page, StateBus, Table } from "../bus/mod.ts";
import { combineKind, DeltaBatch } from "../physical/mod.ts";
import { table, type TableSchema } from "../schema/mod.ts";

/** The flights of the file, column by column, in the file's order: by time of day. */
export interface Flights {
  /** Number of flights. */
  readonly count: number;
  /** Minutes late on arrival; negative where early. */
  readonly delay: Int16Array;
  /** Miles flown. */
  readonly distance: Uint16Array;
  /** Local time of departure in hours: 6.5 is half past six. */
  readonly time: Float32Array;
  /** Hour of the day, 0 to 23: the whole hours of `time`. */
  readonly hour: Uint8Array;
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

/** Sums of the table's columns, each in row order. */
export interface ColumnSums {
  /** Rows. */
  readonly rows: number;
  /** Minutes of delay. */
  readonly delay: number;
  /** Miles. */
  readonly distance: number;
  /** Hours of the day of departure. */
  readonly time: number;
  /** The same, whole ones. */
  readonly hour: number;
}

/** The columns of the table. */
export type FlightFields = { delay: "i16"; distance: "u16"; time: "f32"; hour: "u8" };

/** What holds flights: a bus, now or as it was at an earlier tick. */
export type FlightsHolder = Pick<StateBus, "find" | "table">;

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
/** Name of the table. */
export const FLIGHTS_TABLE = "flights";
/** Its columns. */
export const FLIGHTS_SCHEMA: TableSchema<FlightFields> = table({
  delay: "i16",
  distance: "u16",
  time: "f32",
  hour: "u8",
});

const ADDED_BYTES = 16;
const RAISED_BYTES = 8;
const TOTALS_BYTES: number = ADDED_BYTES + RAISED_BYTES;
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
  const file = tableFromIPC(bytes);
  const column = (name: string): unknown => file.getChild(name)?.toArray();
  const delay = column("delay"), miles = column("distance"), time = column("time");
  const isAsKnown = delay instanceof Int16Array && miles instanceof Int16Array &&
    time instanceof Float32Array;
  if (!isAsKnown || !miles.every((value) => value >= 0)) {
    throw new MmsbError("io", `Cannot use ${url.href}: it has no columns delay, distance and time`);
  }
  const hour = Uint8Array.from(time, (value) => Math.floor(value) % HOURS);
  return { count: file.numRows, delay, distance: Uint16Array.from(miles), time, hour, url };
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
      if (flights.hour[i] !== hour) continue;
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

/** The sums of each column over the first `count` flights, straight from the file's columns. */
export function sumsOf(flights: Flights, count = flights.count): ColumnSums {
  const sum = (column: ArrayLike<number>) => {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += column[i];
    return sum;
  };
  const { delay, distance, time, hour } = flights;
  return {
    rows: count,
    delay: sum(delay),
    distance: sum(distance),
    time: sum(time),
    hour: sum(hour),
  };
}

/** Name of the page with the totals of an hour. */
export function totalsName(hour: number): string {
  return `totals ${String(hour).padStart(2, "0")}h`;
}

/** Flights that a bus has; 0 where it has none of them. */
export function flightsIn(bus: FlightsHolder): number {
  return bus.find(FLIGHTS_TABLE) === undefined
    ? 0
    : bus.table(FLIGHTS_SCHEMA, FLIGHTS_TABLE).length;
}

/** The sums of each column of the table that a bus has. */
export function sumsIn(bus: FlightsHolder): ColumnSums {
  const flights = bus.table(FLIGHTS_SCHEMA, FLIGHTS_TABLE);
  const sum = (column: keyof FlightFields) => {
    let sum = 0;
    for (const chunk of flights.column(column)) for (const value of chunk) sum += value;
    return sum;
  };
  return {
    rows: flights.length,
    delay: sum("delay"),
    distance: sum("distance"),
    time: sum("time"),
    hour: sum("hour"),
  };
}

/** The totals of an hour, from the bytes of its page. */
export function decodeTotals(bytes: Uint8Array): HourTotals {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [flights, late, delay, miles, latest, earliest] = [0, 4, 8, 12, 16, 20]
    .map((at) => view.getInt32(at, true));
  return { flights, late, delay, miles, latest, earliest };
}

/** The totals that a bus has. */
export function totalsIn(bus: FlightsHolder): HourTotals[] {
  return Array.from(
    { length: HOURS },
    (_, hour) => decodeTotals(pageOf(bus, totalsName(hour)).read()),
  );
}

/** Rows of a bus's table that differ from the first `count` flights of the file. */
export function wrongRows(bus: FlightsHolder, flights: Flights, count = flights.count): number {
  const rows = bus.table(FLIGHTS_SCHEMA, FLIGHTS_TABLE);
  const wrong = new Uint8Array(count);
  for (const name of ["delay", "distance", "time", "hour"] as const) {
    let row = 0;
    for (const chunk of rows.column(name)) {
      for (let i = 0; i < chunk.length && row < count; i++, row++) {
        if (chunk[i] !== flights[name][row]) wrong[row] = 1;
      }
    }
    wrong.fill(1, row);
  }
  return Math.abs(rows.length - count) + wrong.reduce((sum, one) => sum + one, 0);
}

/** What a bus has otherwise than the first `count` flights of the file. */
export function unlikeFile(
  bus: FlightsHolder,
  flights: Flights,
  count = flights.count,
): { readonly sums: number; readonly totals: number; readonly rows: number } {
  const inFile = sumsOf(flights, count), inBus = sumsIn(bus);
  const columns = Object.keys(inFile) as (keyof ColumnSums)[];
  const hours = totalsOf(flights, count), found = totalsIn(bus);
  return {
    sums: columns.filter((column) => inBus[column] !== inFile[column]).length,
    totals: hours.filter((hour, i) => JSON.stringify(hour) !== JSON.stringify(found[i])).length,
    rows: wrongRows(bus, flights, count),
  };
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
  if (bus.find(FLIGHTS_TABLE) === undefined) await layOut(bus);
  const last = Math.min(stopAfter, flights.count);
  const rows = bus.table(FLIGHTS_SCHEMA, FLIGHTS_TABLE);
  const pages = Array.from({ length: HOURS }, (_, hour) => pageOf(bus, totalsName(hour)).id);
  const totals = new DeltaBatch({
    rows: 2 * flightsPerTick,
    payloadBytes: TOTALS_BYTES * flightsPerTick,
  });
  let waiting: { durable: Promise<unknown>; step: LoadStep } | undefined;
  for (let from = first; from < last; from += flightsPerTick) {
    const to = Math.min(last, from + flightsPerTick);
    stageRows(rows, flights, from, to);
    fillTotals(totals, pages, flights, from, to);
    bus.submit(totals);
    const { tick, durable, rows: deltas, refused } = await bus.tick();
    for (const { error } of refused) throw error;
    if (waiting !== undefined) {
      await waiting.durable;
      yield waiting.step;
    }
    waiting = { durable, step: { tick, flights: to, deltas } };
  }
  if (waiting === undefined) return;
  await waiting.durable;
  yield waiting.step;
}

/** Makes the table and the pages, in a tick of their own. */
async function layOut(bus: StateBus): Promise<void> {
  if (bus.tickNumber > 0) {
    throw new MmsbError("usage", "Cannot load flights into a bus with other pages: use a new dir");
  }
  const fields = new TextEncoder().encode("i32 flights, late, delay, miles, latest, earliest");
  await bus.commit(() => {
    bus.createTable(FLIGHTS_SCHEMA, { name: FLIGHTS_TABLE });
    for (let hour = 0; hour < HOURS; hour++) {
      bus.createPage({ size: TOTALS_BYTES, name: totalsName(hour), metadata: { fields } });
    }
  });
}

/** Appends flights: those of one minute, which stand together in the file, in one go. */
function stageRows(rows: Table<FlightFields>, flights: Flights, from: number, to: number): void {
  const { delay, distance, time, hour } = flights;
  for (let first = from, end = from; first < to; first = end) {
    const minute = minuteOf(flights, first);
    while (end < to && minuteOf(flights, end) === minute) end++;
    rows.append({
      delay: delay.subarray(first, end),
      distance: distance.subarray(first, end),
      time: time.subarray(first, end),
      hour: hour.subarray(first, end),
    }, { source: FLIGHTS_SOURCE, intent: `departed ${clockText(minute)} local time` });
  }
}

function fillTotals(
  batch: DeltaBatch,
  pages: readonly number[],
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
    const delay = flights.delay[i], page = pages[flights.hour[i]];
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

/** A minute of the day as `06:30`. */
export function clockText(minute: number): string {
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
}

function pageOf(bus: FlightsHolder, name: string): Page {
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
