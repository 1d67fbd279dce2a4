/** The line against sums of bigints. */
import { equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { ClockLine } from "./clock_line.ts";
import { ClockReading } from "./clock_source.ts";

Deno.test("a line without a beginning has no time", () => {
  const line = new ClockLine();
  const reading = new ClockReading();
  line.read(5, reading);
  equal(line.isSet, false);
  equal(reading.errorNs, Infinity);
});

Deno.test("a line gives the time that whole numbers give, carries seconds, and its bound grows both ways", () => {
  const line = new ClockLine();
  const reading = new ClockReading();
  fc.assert(fc.property(
    fc.record({
      seconds: fc.integer({ min: 0, max: 4_000_000_000 }),
      nanoseconds: fc.integer({ min: 0, max: 999_999_999 }),
      ratePpm: fc.integer({ min: -500, max: 500 }),
      growthPpm: fc.integer({ min: 0, max: 1000 }),
      errorNs: fc.integer({ min: 0, max: 1e9 }),
      steadyNs: fc.integer({ min: 0, max: 2 ** 50 }),
    }),
    fc.integer({ min: -1e12, max: 1e12 }),
    (start, passedNs) => {
      line.set(start);
      line.read(start.steadyNs + passedNs, reading);
      const exact = BigInt(start.seconds) * 1_000_000_000n + BigInt(start.nanoseconds) +
        BigInt(passedNs) + BigInt(passedNs) * BigInt(start.ratePpm) / 1_000_000n;
      // The quotient of bigints is cut towards 0, the line's time towards the past, by a rate of 53 bits.
      const away = reading.ns - exact;
      ok(away >= -2n && away <= 1n, `${away} ns away`);
      ok(reading.nanoseconds >= 0 && reading.nanoseconds < 1e9);
      const growthNs = Math.abs(passedNs) * start.growthPpm * 1e-6;
      ok(Math.abs(reading.errorNs - (start.errorNs + growthNs)) < 1e-3);
    },
  ));
});
