/** The flights: read, loaded in parts, and equal to the file. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { MemoryStorage } from "../log/mod.ts";
import { table } from "../schema/mod.ts";
import {
  clockText,
  decodeTotals,
  FLIGHTS_SCHEMA,
  FLIGHTS_TABLE,
  flightsIn,
  type HourTotals,
  loadFlights,
  minuteOf,
  readFlights,
  sumsIn,
  sumsOf,
  totalsIn,
  totalsName,
  totalsOf,
  unlikeFile,
  wrongRows,
} from "./flights.ts";

const flights = await readFlights();

Deno.test("readFlights() gives 200,000 flights in order of their time of day", () => {
  assert.equal(flights.count, 200_000);
  for (let i = 1; i < flights.count; i++) assert(flights.time[i - 1] <= flights.time[i]);
  const minutes = Float32Array.from(flights.time, (time, i) => minuteOf(flights, i) / 60 - time);
  assert(minutes.every((off) => Math.abs(off) < 1e-5), "times are whole minutes");
  assert.equal(clockText(minuteOf(flights, 199_999)), "23:59");
  assert(flights.hour.every((hour, i) => hour === Math.trunc(flights.time[i])));
});

Deno.test("totalsOf() adds up to sums over the columns", () => {
  const all = totalsOf(flights);
  const sum = (of: (totals: HourTotals) => number) => all.reduce((sum, one) => sum + of(one), 0);
  assert.equal(sum(({ flights }) => flights), 200_000);
  assert.equal(sum(({ delay }) => delay), flights.delay.reduce((sum, one) => sum + one, 0));
  assert.equal(sum(({ miles }) => miles), flights.distance.reduce((sum, one) => sum + one, 0));
  assert.equal(
    Math.max(...all.map(({ latest }) => latest)),
    flights.delay.reduce((a, b) => a > b ? a : b),
  );
});

Deno.test("sumsOf() sums each column of the first flights", () => {
  assert.deepEqual(sumsOf(flights, 0), { rows: 0, delay: 0, distance: 0, time: 0, hour: 0 });
  const { rows, delay, distance, hour, time } = sumsOf(flights, 1000);
  assert.equal(rows, 1000);
  assert.equal(delay, flights.delay.slice(0, 1000).reduce((a, b) => a + b, 0));
  assert.equal(distance, Array.from(flights.distance.slice(0, 1000)).reduce((a, b) => a + b, 0));
  assert(hour <= time && time < hour + 1000);
});

Deno.test("loadFlights() goes on where a bus stands, with any number of flights a tick", async () => {
  const storage = new MemoryStorage();
  const steps: number[] = [];
  for (const [flightsPerTick, stopAfter] of [[700, 2500], [1, 2503], [5000, 9000], [10, 9000]]) {
    await using bus = await StateBus.open({ storage, durability: "group" });
    for await (const step of loadFlights(bus, flights, { flightsPerTick, stopAfter })) {
      steps.push(step.flights);
    }
    assert.equal(flightsIn(bus), stopAfter);
    assert.deepEqual(totalsIn(bus), totalsOf(flights, stopAfter));
    assert.deepEqual(sumsIn(bus), sumsOf(flights, stopAfter));
    assert.equal(wrongRows(bus, flights, stopAfter), 0);
    assert.deepEqual(unlikeFile(bus, flights, stopAfter), { sums: 0, totals: 0, rows: 0 });
    assert.equal(unlikeFile(bus, flights, stopAfter - 1).totals, 1);
  }
  assert.deepEqual(steps, [700, 1400, 2100, 2500, 2501, 2502, 2503, 7503, 9000]);

  await using bus = await StateBus.open({ storage });
  const rows = bus.table(FLIGHTS_SCHEMA, FLIGHTS_TABLE);
  const said = await Array.fromAsync(bus.history(rows.page), ({ source, intent }) => {
    return `${source}, ${intent}`;
  });
  // The first one is of the page's birth.
  assert.equal(said[1], "bts, departed 00:00 local time");
  const totals = await Array.fromAsync(bus.history(bus.find(totalsName(1))!));
  assert.deepEqual(totals.slice(0, 2).map(({ kind }) => kind), ["add i32", "max i32"]);
});

Deno.test("wrongRows() finds a row that differs, is missing or is one too many", async () => {
  await using bus = await StateBus.open();
  for await (const _ of loadFlights(bus, flights, { stopAfter: 500 }));
  const rows = bus.table(FLIGHTS_SCHEMA, FLIGHTS_TABLE);
  for (const [row, change] of [[7, { delay: 999 }], [8, { time: 1 }], [8, { hour: 5 }]] as const) {
    await bus.commit(() => rows.set(row, change));
  }
  assert.equal(wrongRows(bus, flights, 500), 2);
  assert.deepEqual(unlikeFile(bus, flights, 500), { sums: 3, totals: 0, rows: 2 });
  assert.notDeepEqual(sumsIn(bus), sumsOf(flights, 500));
  assert(wrongRows(bus, flights, 499) > 0 && wrongRows(bus, flights, 501) > 0);
  assert.notDeepEqual(decodeTotals(bus.find(totalsName(0))!.read()), totalsOf(flights, 499)[0]);
});

Deno.test("loadFlights() refuses a bus with other pages", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ size: 16 });
  await bus.tick();
  await assert.rejects(Array.fromAsync(loadFlights(bus, flights)), { code: "usage" });
  page.delete();
  bus.createTable(table({ other: "u8" }), { name: FLIGHTS_TABLE });
  await bus.tick();
  assert.throws(() => flightsIn(bus), { code: "usage" });
});
