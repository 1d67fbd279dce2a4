/** The flights: read, loaded in parts, and equal to the file. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { MemoryStorage } from "../log/mod.ts";
import {
  clockText,
  decodeTotals,
  flightsIn,
  type HourTotals,
  loadFlights,
  minuteOf,
  readFlights,
  recordsName,
  totalsIn,
  totalsName,
  totalsOf,
  wrongRecords,
} from "./flights.ts";

const flights = await readFlights();

Deno.test("readFlights() gives 200,000 flights in order of their time of day", () => {
  assert.equal(flights.count, 200_000);
  for (let i = 1; i < flights.count; i++) assert(flights.time[i - 1] <= flights.time[i]);
  const minutes = Float32Array.from(flights.time, (time, i) => minuteOf(flights, i) / 60 - time);
  assert(minutes.every((off) => Math.abs(off) < 1e-5), "times are whole minutes");
  assert.equal(clockText(minuteOf(flights, 199_999)), "23:59");
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
    assert.equal(wrongRecords(bus, flights, stopAfter), 0);
  }
  assert.deepEqual(steps, [700, 1400, 2100, 2500, 2501, 2502, 2503, 7503, 9000]);

  await using bus = await StateBus.open({ storage });
  const entries = await Array.fromAsync(bus.history(bus.find(recordsName(0))!));
  assert.equal(entries.length, totalsOf(flights, 9000)[0].flights);
  const [{ source, intent, before, kind }] = entries;
  assert.deepEqual([source, intent, kind], ["bts", "departed 00:00 local time", "set"]);
  assert(before.every((byte) => byte === 0));
  const totals = await Array.fromAsync(bus.history(bus.find(totalsName(1))!));
  assert.deepEqual(totals.slice(0, 2).map(({ kind }) => kind), ["add i32", "max i32"]);
});

Deno.test("wrongRecords() finds a record that differs", async () => {
  await using bus = await StateBus.open();
  for await (const _ of loadFlights(bus, flights, { stopAfter: 500 }));
  const page = bus.find(recordsName(0))!;
  await bus.commit(() => page.combine("u32", "xor", 8, 1));
  assert.equal(wrongRecords(bus, flights, 500), 1);
  assert.notDeepEqual(decodeTotals(bus.find(totalsName(0))!.read()), totalsOf(flights, 499)[0]);
});

Deno.test("loadFlights() refuses a bus with other pages", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ size: 16 });
  await bus.tick();
  await assert.rejects(Array.fromAsync(loadFlights(bus, flights)), { code: "usage" });
  page.delete();
  bus.createPage({ size: 8, name: "progress" });
  await bus.tick();
  assert.throws(() => flightsIn(bus), { code: "usage", message: /another page "progress"/ });
});
