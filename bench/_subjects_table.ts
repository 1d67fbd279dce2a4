/** Subjects of structs and tables: typed reads and sets, column scans, and bulk appends to a disk. */

import { MmsbError, StateBus, struct, type Table, table } from "../mod.ts";
import { hash, interleave, median, numbers, type Row, seconds } from "./_harness.ts";
import { SEED } from "./_work.ts";

const ROWS = 1_000_000;
/** The flights of the data that the examples load, in six columns. */
export const Flights = table({
  delay: "i16",
  distance: "u16",
  hour: "u8",
  carrier: "u8",
  departure: "f64",
  flight: "u32",
});
/** A table of flights. */
export type FlightTable = Table<typeof Flights.definition>;

/** The columns of flights. */
export interface FlightColumns {
  readonly delay: Int16Array;
  readonly distance: Uint16Array;
  readonly hour: Uint8Array;
  readonly carrier: Uint8Array;
  readonly departure: Float64Array;
  readonly flight: Uint32Array;
}

/** Six columns of random values. */
export function flightColumns(rows = ROWS): FlightColumns {
  const next = numbers(SEED);
  return {
    delay: Int16Array.from({ length: rows }, () => next() % 400 - 60),
    distance: Uint16Array.from({ length: rows }, () => next() % 5000),
    hour: Uint8Array.from({ length: rows }, () => next() % 24),
    carrier: Uint8Array.from({ length: rows }, () => next() % 20),
    departure: Float64Array.from({ length: rows }, () => 978_307_200 + next() % 31_536_000),
    flight: Uint32Array.from({ length: rows }, next),
  };
}

/** The bytes of a column. */
export function bytesOf(column: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(column.buffer as ArrayBuffer, column.byteOffset, column.byteLength);
}

/** The columns of a table as they come back from it, from a row on. */
export function readBack(flights: FlightTable, columns: FlightColumns, from: number): Uint8Array[] {
  return (Object.keys(columns) as (keyof FlightColumns)[]).map((name) => {
    const target = columns[name].slice().fill(0);
    flights.columnInto(target as never, name, from);
    return bytesOf(target);
  });
}

/** Structs and tables: reads, sets, scans, appends. */
export async function tables(rounds: number): Promise<Row[]> {
  return [...await fields(rounds), ...await scans(rounds), ...await appends(rounds)];
}

const SOURCE = { source: "feed-a" };

/** Single fields through the handles. */
async function fields(rounds: number): Promise<Row[]> {
  await using bus = await StateBus.open({ memoryLimitBytes: 2 ** 28 });
  const Quote = struct({ bid: "f64", ask: "f64", size: "u32", hour: "i16" });
  const quotes = Array.from({ length: 64 }, () => bus.create(Quote));
  const columns = flightColumns(), flights = bus.createTable(Flights);
  flights.append(columns);
  quotes.forEach((quote, i) => quote.set({ bid: i, ask: i + 1, size: i, hour: -i }));
  await bus.commit();
  const calls = 65_536;
  let sum = 0, expected = 0;
  const rows: Row[] = [];
  // Each loop is a function of its own: a loop that calls one of many functions measures the call too.
  const add = async (
    subject: string,
    limit: number,
    loop: () => number,
    wanted: (i: number) => number,
    ticks = false,
  ) => {
    const times: number[] = [];
    for (let round = -3; round < rounds; round++) {
      expected = 0;
      const spent = seconds(() => sum = loop());
      if (ticks) await bus.tick();
      for (let i = 0; i < calls; i++) expected += wanted(i);
      if (round >= 0) times.push(spent / calls * 1e9);
    }
    const ns = median(times), same = sum === expected;
    rows.push({
      subject,
      ours: `${ns.toFixed(0)} ns`,
      peer: "",
      ratio: ns,
      spread: [Math.min(...times), Math.max(...times)],
      target: limit === 0 ? "" : `< ${limit} ns`,
      met: (limit === 0 || ns < limit) && same,
      hash: same ? hash(new Uint8Array(Float64Array.of(sum).buffer)) : `${sum} is not ${expected}`,
    });
  };
  await add("struct.get of a f64", 20, () => {
    let sum = 0;
    for (let i = 0; i < calls; i++) sum += quotes[i & 63].get("bid");
    return sum;
  }, (i) => i & 63);
  await add("struct.get of an i16", 20, () => {
    let sum = 0;
    for (let i = 0; i < calls; i++) sum += quotes[i & 63].get("hour");
    return sum;
  }, (i) => -(i & 63));
  await add("table.get of an i16", 0, () => {
    let sum = 0;
    for (let i = 0; i < calls; i++) sum += flights.get(i * 15, "delay");
    return sum;
  }, (i) => columns.delay[i * 15]);
  await add("table.get of a f64", 0, () => {
    let sum = 0;
    for (let i = 0; i < calls; i++) sum += flights.get(i * 15, "departure");
    return sum;
  }, (i) => columns.departure[i * 15]);
  await add(
    "struct.set of one field, staged",
    250,
    () => {
      for (let i = 0; i < calls; i++) quotes[i & 63].set({ ask: i });
      return 0;
    },
    () => 0,
    true,
  );
  await add(
    "struct.set with a source, staged",
    250,
    () => {
      for (let i = 0; i < calls; i++) quotes[i & 63].set({ ask: i }, SOURCE);
      return 0;
    },
    () => 0,
    true,
  );
  for (let i = 0; i < 64; i++) {
    const ask = quotes[i].get("ask"), last = calls - 64 + i;
    if (ask !== last) throw new MmsbError("usage", `Cannot trust the times: ${ask} is not ${last}`);
  }
  return rows;
}

type Arrays = Iterable<ArrayLike<number>>;

/**
 * A function for each side of each column, all of them one text: no loop meets arrays of two kinds, and
 * none runs in a form that was compiled for the calls of the other side. A function that sums one chunk and
 * is called for each would measure that: it takes two to six times as long over pieces of 65,536 values of
 * a plain array too, as the engine leaves it half compiled.
 */
const sums = {
  delay: {
    ours(arrays: Arrays): number {
      let sum = 0;
      for (const array of arrays) for (let i = 0; i < array.length; i++) sum += array[i];
      return sum;
    },
    peer(arrays: Arrays): number {
      let sum = 0;
      for (const array of arrays) for (let i = 0; i < array.length; i++) sum += array[i];
      return sum;
    },
  },
  departure: {
    ours(arrays: Arrays): number {
      let sum = 0;
      for (const array of arrays) for (let i = 0; i < array.length; i++) sum += array[i];
      return sum;
    },
    peer(arrays: Arrays): number {
      let sum = 0;
      for (const array of arrays) for (let i = 0; i < array.length; i++) sum += array[i];
      return sum;
    },
  },
};

/** Sums of columns against sums of plain typed arrays. */
async function scans(rounds: number): Promise<Row[]> {
  await using bus = await StateBus.open({ memoryLimitBytes: 2 ** 28 });
  const columns = flightColumns(), flights = bus.createTable(Flights);
  await bus.commit(() => flights.append(columns));
  const rows: Row[] = [];
  for (const name of ["delay", "departure"] as const) {
    const sum = sums[name], plain = [columns[name]];
    let ours = 0, peer = 0;
    const repeat = (work: () => void) => () =>
      seconds(() => {
        for (let k = 0; k < 4; k++) work();
      });
    const measured = await interleave(
      repeat(() => ours = sum.ours(flights.column(name))),
      repeat(() => peer = sum.peer(plain)),
      rounds,
      4,
    );
    rows.push({
      subject: `scan of a column of 1 M ${name === "delay" ? "i16" : "f64"}, against a typed array`,
      ours: `${(measured.ours / 4 / ROWS * 1e9).toFixed(2)} ns a row`,
      peer: `${(measured.peer / 4 / ROWS * 1e9).toFixed(2)} ns a row`,
      ratio: measured.ratio,
      spread: measured.spread,
      target: ">= 0.9",
      met: measured.ratio >= 0.9 && ours === peer,
      hash: ours === peer
        ? hash(new Uint8Array(Float64Array.of(ours).buffer))
        : `${ours} is not ${peer}`,
    });
  }
  return rows;
}

/** Appending and awaiting the acknowledgement, against writing the columns to a file and syncing it. */
async function appends(rounds: number): Promise<Row[]> {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-anchors-" });
  try {
    await using bus = await StateBus.open({ dir: `${folder}/bus` });
    const columns = flightColumns();
    const flights = bus.createTable(Flights, { name: "flights" });
    await bus.commit();
    let first = 0;
    const append = async () => {
      const start = performance.now();
      first = flights.append(columns, SOURCE);
      const report = await bus.tick();
      await report.durable;
      return (performance.now() - start) / 1000;
    };
    const parts = Object.values(columns).map(bytesOf);
    let file = 0;
    const raw = () => {
      const start = performance.now();
      const out = Deno.openSync(`${folder}/raw-${file++}`, { write: true, create: true });
      for (const part of parts) {
        for (let done = 0; done < part.length;) done += out.writeSync(part.subarray(done));
      }
      out.syncDataSync();
      out.close();
      return (performance.now() - start) / 1000;
    };
    const measured = await interleave(append, raw, Math.min(rounds, 9));
    const ours = hash(...readBack(flights, columns, first)), peer = hash(...parts);
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    const rate = (time: number) => `${(bytes / time / 1e6).toFixed(0)} MB/s`;
    return [{
      subject: "append of 1 M rows of 6 columns, durable, against raw write + sync of the columns",
      ours: rate(measured.ours),
      peer: rate(measured.peer),
      ratio: measured.ratio,
      spread: measured.spread,
      target: ">= 0.5",
      met: measured.ratio >= 0.5 && ours === peer,
      hash: ours === peer ? ours : `${ours} differs from ${peer}`,
    }];
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
