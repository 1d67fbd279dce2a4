/** The filter of one server, the rate and the poll interval. */
import { equal, match, ok } from "node:assert/strict";
import fc from "fast-check";
import type { SntpSample } from "./sntp_check.ts";
import { ClockFilter } from "./clock_filter.ts";
import { PollInterval, rateOf, WANDER_PPM } from "./discipline.ts";

const STILL = { ratePpm: 0, growthPpm: 0 };

/** What an exchange says whose ways took so long; true time less the counter is 0. */
function sample(thereNs: number, backNs: number, steadyNs = 0, rootNs = 0): SntpSample {
  return {
    steadyNs,
    offsetNs: (thereNs - backNs) / 2,
    delayNs: thereNs + backNs,
    rootNs,
    rootDelayNs: rootNs,
    rootDispersionNs: 0,
    precisionNs: 0,
    stratum: 1,
    referenceId: "GPS",
    leap: 0,
  };
}

Deno.test("ClockFilter.interval() reaches from the quickest answer to the quickest question", () => {
  const way = fc.integer({ min: 0, max: 1e6 });
  fc.assert(fc.property(
    fc.array(fc.array(fc.tuple(way, way), { minLength: 1, maxLength: 8 }), {
      minLength: 1,
      maxLength: 8,
    }),
    (bursts) => {
      const filter = new ClockFilter();
      for (const burst of bursts) {
        equal(filter.add(burst.map(([there, back]) => sample(there, back)), STILL), undefined);
      }
      const all = bursts.flat();
      const found = filter.interval(0, STILL);
      equal((found?.low.ns ?? NaN) + 0, -Math.min(...all.map(([, back]) => back)) + 0);
      equal(found?.high.ns, Math.min(...all.map(([there]) => there)));
    },
  ));
});

Deno.test("ClockFilter.interval() moves older stages along the rate and widens them", () => {
  const filter = new ClockFilter();
  filter.add([sample(100, 100, 0)], STILL);
  const found = filter.interval(1e9, { ratePpm: 10, growthPpm: 2 });
  ok(Math.abs((found?.low.ns ?? 0) - (-100 + 10_000 - 2000)) < 1);
  ok(Math.abs((found?.high.ns ?? 0) - (100 + 10_000 + 2000)) < 1);
});

Deno.test("ClockFilter.add() refuses answers that contradict each other, and forgets what a newer burst contradicts", () => {
  const filter = new ClockFilter();
  filter.add([sample(100, 100)], STILL);
  const apart = { ...sample(100, 100), offsetNs: 1e6 };
  match(filter.add([sample(100, 100), apart], STILL) ?? "", /jumped/);
  equal(filter.restarts, 0);
  equal(filter.add([apart], STILL), undefined);
  equal(filter.restarts, 1);
  equal(filter.interval(0, STILL)?.low.ns, 1e6 - 100);
});

Deno.test("ClockFilter.fit tells the rate once there are points enough", () => {
  const filter = new ClockFilter();
  for (let i = 0; i < 40; i++) {
    const moved = { ...sample(1000, 1000, i * 16e9), offsetNs: i * 16 * 5000 };
    filter.add([moved], { ratePpm: 5, growthPpm: 1 });
    equal(filter.fit === undefined, i < 7);
  }
  ok(Math.abs((filter.fit?.slope ?? 0) - 5000) < 1e-6);
  const rate = rateOf([undefined, filter.fit], 50);
  ok(Math.abs(rate.ratePpm - 5) < 1e-6);
  ok(rate.growthPpm >= WANDER_PPM && rate.growthPpm < WANDER_PPM + 0.1);
  equal(rateOf([undefined], 50).growthPpm, 50);
});

Deno.test("PollInterval doubles when all is as foretold, halves when not, and keeps its ends", () => {
  const poll = new PollInterval(16, 1024);
  for (let i = 0; i < 100; i++) poll.synced(1, 2);
  equal(poll.seconds, 1024);
  poll.synced(3, 2);
  equal(poll.seconds, 512);
  for (let i = 0; i < 20; i++) poll.synced(-3, 2);
  equal(poll.seconds, 16);
  for (let i = 0; i < 20; i++) poll.failed();
  equal(poll.seconds, 1024);
  poll.restart();
  equal(poll.seconds, 16);
});
