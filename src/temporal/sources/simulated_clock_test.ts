/** The simulated source: its faults are as large as it was told, and its bound is honest where it says so. */
import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import fc from "fast-check";
import { ClockReading } from "./clock_source.ts";
import { testClockSource } from "./clock_source_conformance.ts";
import { SimulatedClock } from "./simulated_clock.ts";

testClockSource({
  name: "SimulatedClock",
  make: () => new SimulatedClock({ seed: 5, skewPpm: 20, wanderPpm: 5, jitterNs: 30 }),
  trueNs: (clock) => clock.trueNs,
  pass: (clock, ns) => clock.advance(ns),
}, (name, body) => Deno.test(name, body));

/** Faults that the bound knows of: the rate stays within 100 ppm for the hours that the tests take. */
const HONEST = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  startNs: fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }),
  skewPpm: fc.double({ min: -60, max: 60, noNaN: true }),
  driftPpmPerHour: fc.double({ min: -10, max: 10, noNaN: true }),
  wanderPpm: fc.double({ min: 0, max: 10, noNaN: true }),
  jitterNs: fc.integer({ min: 0, max: 1_000_000 }),
  syncErrorNs: fc.integer({ min: 0, max: 10_000_000 }),
  syncEveryS: fc.constantFrom(undefined, 1, 16, 300),
  jumps: fc.constantFrom(undefined, { everyS: 100, max: 3_600_000_000_000 }),
  outages: fc.constantFrom(undefined, { everyS: 60, max: 600 }),
});

Deno.test("SimulatedClock states intervals that contain true time, whatever the seed", () => {
  const reading = new ClockReading();
  fc.assert(fc.property(
    HONEST,
    fc.array(fc.integer({ min: 0, max: 1_000_000_000_000 }), { maxLength: 10 }),
    (options, steps) => {
      const clock = new SimulatedClock(options);
      for (const ns of steps) {
        clock.advance(ns);
        clock.read(reading);
        const away = reading.ns - clock.trueNs;
        ok(Math.abs(Number(away)) <= reading.errorNs, `${away} ns away`);
        clock.checkInvariants();
      }
    },
  ));
});

Deno.test("SimulatedClock lies where it is told to: beyond the growth it states, or by jumps unnoticed", () => {
  const reading = new ClockReading();
  const fast = new SimulatedClock({ skewPpm: 150 });
  fast.advance(1_000_000_000_000n);
  fast.read(reading);
  ok(Number(reading.ns - fast.trueNs) > reading.errorNs);
  const set = new SimulatedClock({ noticesJumps: false });
  set.jump(-3.6e12);
  set.read(reading);
  equal(Math.round(Number(reading.ns - set.trueNs) / 1e9), -3600);
  ok(reading.errorNs < 1e6);
});

Deno.test("SimulatedClock gives the same for the same seed, and other times for another", () => {
  const run = (seed: number) => {
    const clock = new SimulatedClock({ seed, wanderPpm: 5, jitterNs: 100, syncEveryS: 10 });
    const reading = new ClockReading();
    return Array.from({ length: 50 }, () => {
      clock.advance(3_000_000_000);
      clock.read(reading);
      return reading.ns;
    });
  };
  deepEqual(run(1), run(1));
  ok(run(1).some((ns, index) => ns !== run(2)[index]));
});

Deno.test("SimulatedClock is as wrong as its skew says, and its steady counter is never set", () => {
  const clock = new SimulatedClock({ skewPpm: 10, syncErrorNs: 0 });
  clock.advance(1_000_000_000_000n);
  ok(Math.abs(clock.trueErrorNs - 10_000_000) < 1);
  clock.jump(-5e9);
  ok(Math.abs(clock.steady.nowNs() - 1_000_010_000_000) < 10);
});

Deno.test("SimulatedClock has outages, loses its device, and comes back", async () => {
  const clock = new SimulatedClock({ errorNsMax: 1e6 });
  clock.isReachable = false;
  clock.advance(100_000_000_000n);
  equal(clock.isSynchronised, false);
  await rejects(clock.sync(), { code: "clock" });
  equal(clock.status().failures, 1);
  clock.isReachable = true;
  await clock.sync();
  equal(clock.isSynchronised, true);
  clock.isLost = true;
  equal(clock.errorUs(), Infinity);
  await rejects(clock.sync(), { code: "clock" });
  clock.isLost = false;
  ok(clock.errorUs() < 10);
});

Deno.test("SimulatedClock refuses what it cannot simulate", () => {
  throws(() => new SimulatedClock({ seed: NaN }), { code: "usage" });
  throws(() => new SimulatedClock({ seed: -1 }), { code: "out-of-bounds" });
  throws(() => new SimulatedClock({ startNs: 5 as unknown as bigint }), { code: "usage" });
  throws(() => new SimulatedClock({ skew: 5 } as Record<string, number>), { code: "usage" });
  const clock = new SimulatedClock();
  throws(() => clock.advance(-1), { code: "out-of-bounds" });
  throws(() => clock.advance(NaN), { code: "usage" });
  throws(() => clock.jump("1" as unknown as number), { code: "usage" });
});
