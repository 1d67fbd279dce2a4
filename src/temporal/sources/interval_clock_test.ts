/** Intervals against a simulated clock whose truth the test knows, and once against the machine's own timers. */
import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import fc from "fast-check";
import { COMMIT_WAIT_MS_MAX } from "../../base/mod.ts";
import type { ClockReading, ClockSource } from "./clock_source.ts";
import { compareIntervals, IntervalClock, type TimeInterval } from "./interval_clock.ts";
import { SimulatedClock, type SimulatedClockOptions } from "./simulated_clock.ts";
import { SystemClock } from "./system_clock.ts";

/** An interval clock whose sleeping lets simulated time pass. */
function simulate(
  options: SimulatedClockOptions,
): { source: SimulatedClock; clock: IntervalClock } {
  const source = new SimulatedClock(options);
  const sleep = async (ms: number) => source.advance(Math.ceil(ms * 1e6));
  return { source, clock: new IntervalClock(source, { steady: source.steady, sleep }) };
}

const FAULTS = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  skewPpm: fc.double({ min: -90, max: 90, noNaN: true }),
  wanderPpm: fc.double({ min: 0, max: 10, noNaN: true }),
  jitterNs: fc.integer({ min: 0, max: 100_000 }),
  syncErrorNs: fc.integer({ min: 0, max: 20_000_000 }),
  syncEveryS: fc.constantFrom(undefined, 0.01, 1),
});

Deno.test("IntervalClock.now() contains true time, and after() and before() are never wrong", () => {
  fc.assert(fc.property(
    FAULTS,
    fc.array(fc.tuple(fc.integer({ min: 0, max: 1e11 }), fc.integer({ min: -1e8, max: 1e8 }))),
    (options, steps) => {
      const { source, clock } = simulate(options);
      for (const [ns, away] of steps) {
        source.advance(ns);
        const now = source.trueNs;
        const { earliest, latest } = clock.now();
        ok(earliest <= now && now <= latest, `${now} is not in ${earliest} to ${latest}`);
        const t = now + BigInt(away);
        if (clock.after(t)) ok(now > t);
        if (clock.before(t)) ok(now < t);
        // True time is known to a ns only, so the ends are certain a ns further.
        ok(clock.after(now - BigInt(Math.ceil(4e3 * source.errorUs())) - 1n));
        ok(clock.before(now + BigInt(Math.ceil(4e3 * source.errorUs())) + 1n));
      }
    },
  ));
});

Deno.test("IntervalClock.commitWait() never returns before the moment has passed, nor long after", async () => {
  await fc.assert(fc.asyncProperty(
    FAULTS,
    fc.integer({ min: -1e6, max: 1e9 }),
    async (options, aheadNs) => {
      const { source, clock } = simulate(options);
      const t = clock.now().latest + BigInt(aheadNs);
      const started = source.trueNs;
      await clock.commitWait(t);
      ok(source.trueNs > t, `${t - source.trueNs} ns early`);
      const waited = Number(source.trueNs - started);
      ok(waited <= Math.max(aheadNs, 0) + 5 * source.errorUs() * 1e3 + 1e8);
    },
  ));
});

Deno.test("two events with a commit wait between them have ordered intervals, on clocks that differ", async () => {
  await fc.assert(fc.asyncProperty(FAULTS, FAULTS, async (one, other) => {
    const a = simulate(one), b = simulate({ ...other, syncEveryS: undefined });
    const first = a.clock.now();
    const begun = a.source.trueNs;
    await a.clock.commitWait(first.latest);
    b.source.advance(a.source.trueNs - begun);
    // The timestamp of the first is certainly before any time that the other's clock then takes to be the latest.
    ok(first.latest < b.clock.now().latest);
  }));
});

Deno.test("compareIntervals() orders intervals that do not touch, and is the same the other way round", () => {
  const interval = fc.tuple(fc.bigInt({ min: 0n, max: 50n }), fc.bigInt({ min: 0n, max: 20n }))
    .map(([earliest, length]): TimeInterval => ({ earliest, latest: earliest + length }));
  const opposite = { before: "after", after: "before", uncertain: "uncertain" };
  fc.assert(fc.property(interval, interval, (a, b) => {
    const order = compareIntervals(a, b);
    equal(compareIntervals(b, a), opposite[order]);
    const moments = ({ earliest, latest }: TimeInterval) =>
      Array.from({ length: Number(latest - earliest) + 1 }, (_, i) => earliest + BigInt(i));
    const all = (test: (x: bigint, y: bigint) => boolean) =>
      moments(a).every((x) => moments(b).every((y) => test(x, y)));
    equal(order, all((x, y) => x < y) ? "before" : all((x, y) => x > y) ? "after" : "uncertain");
  }));
});

Deno.test("IntervalClock.commitWait() waits for a clock that is set back, and for one that comes back", async () => {
  const { source, clock } = simulate({ syncErrorNs: 1000 });
  let sleeps = 0;
  const sleep = async (ms: number) => {
    source.advance(Math.ceil(ms * 1e6));
    if (++sleeps === 2) source.jump(-2e9);
    if (sleeps === 5) source.isLost = true;
    if (sleeps === 9) {
      source.isLost = false;
      await source.sync();
    }
  };
  const steady = source.steady;
  const t = clock.now().latest + 1_000_000_000n;
  await new IntervalClock(source, { steady, sleep }).commitWait(t);
  ok(sleeps >= 9);
  ok(source.trueNs > t);
});

Deno.test("IntervalClock.commitWait() gives up at its limit, and at once where it is hopeless", async () => {
  const { source, clock } = simulate({ syncErrorNs: 5e9 });
  const started = source.trueNs;
  await rejects(clock.commitWait(started - 4_000_000_000n, { limitMs: 2000 }), { code: "clock" });
  ok(source.trueNs - started >= 2_000_000_000n && source.trueNs - started < 2_010_000_000n);
  const before = source.trueNs;
  await rejects(clock.commitWait(before + 3_600_000_000_000n), { code: "limit" });
  equal(source.trueNs, before);
  source.isLost = true;
  await rejects(clock.commitWait(before), { code: "clock" });
  ok(Math.abs(Number(source.trueNs - before) / 1e6 - COMMIT_WAIT_MS_MAX) < 1000);
  throws(() => clock.now(), { code: "clock" });
  deepEqual([clock.after(0n), clock.before(1n << 62n)], [false, false]);
});

Deno.test("IntervalClock.commitWait() waits by the machine's timers, and ends with its signal", async () => {
  const system = new SystemClock();
  const source: ClockSource = Object.assign(Object.create(null) as ClockSource, {
    name: "system within 2 ms",
    read: (out: Parameters<ClockSource["read"]>[0]) => {
      system.read(out);
      out.set(out.seconds, out.nanoseconds, 2e6);
    },
  });
  const clock = new IntervalClock(source);
  const t = clock.now().latest;
  await clock.commitWait(t);
  ok(clock.after(t));
  const stop = new AbortController();
  const waiting = clock.commitWait(clock.now().latest + 30_000_000_000n, { signal: stop.signal });
  const reason = new Error("no longer wanted");
  stop.abort(reason);
  await rejects(waiting, reason);
  await rejects(clock.commitWait(0n, { signal: stop.signal }), reason);
});

Deno.test("IntervalClock refuses what is no moment, no source, no limit", async () => {
  const { clock } = simulate({});
  throws(() => clock.after(5 as unknown as bigint), { code: "usage" });
  throws(() => clock.before(NaN as unknown as bigint), { code: "usage" });
  await rejects(clock.commitWait("1" as unknown as bigint), { code: "usage" });
  await rejects(clock.commitWait(0n, { limitMs: NaN }), { code: "usage" });
  await rejects(clock.commitWait(0n, { limitMs: 1e9 }), { code: "out-of-bounds" });
  await rejects(clock.commitWait(0n, { signal: {} as AbortSignal }), { code: "usage" });
  await rejects(clock.commitWait(0n, { patience: 1 } as never), { code: "usage" });
  throws(() => new IntervalClock({} as ClockSource), { code: "usage" });
});

Deno.test("IntervalClock takes what is no time for none, and is never sure by it", async () => {
  const bad: [number, number, number][] = [
    [NaN, 0, 5],
    [0, NaN, 5],
    [Infinity, 0, 5],
    [0, 0.5, 5],
    [5e9, 0, NaN],
    [5e9, 0, -1],
    [5e9, 0, -Infinity],
  ];
  const broken = () => {
    throw new Error("burnt");
  };
  const reads = [...bad.map((values) => (out: ClockReading) => out.set(...values)), broken];
  let ns = 0;
  const time = {
    steady: { nowNs: () => ns },
    sleep: async (ms: number) => void (ns += ms * 1e6),
  };
  for (const read of reads) {
    const clock = new IntervalClock({ name: "bad", read } as unknown as ClockSource, time);
    throws(() => clock.now(), { code: "clock" });
    deepEqual([clock.after(0n), clock.before(1n << 62n)], [false, false]);
    await rejects(clock.commitWait(0n, { limitMs: 600 }), {
      code: "clock",
      message: /no time now/,
    });
  }
});

Deno.test("IntervalClock holds at the ends: a huge bound, before 1970, the year 2112", async () => {
  let now: [number, number, number] = [0, 0, 0];
  const source = { name: "ends", read: (out: ClockReading) => out.set(...now) };
  const clock = new IntervalClock(source as unknown as ClockSource);
  const NS = 1_000_000_000n;
  now = [1e9, 0, Number.MAX_VALUE];
  const { earliest, latest } = clock.now();
  ok(earliest < -(10n ** 300n) && latest > 10n ** 300n);
  deepEqual([clock.after(0n), clock.before(1n << 80n)], [false, false]);
  now = [-5, 999_999_999, 3];
  deepEqual(clock.now(), { earliest: -4n * NS - 4n, latest: -4n * NS + 2n });
  equal(clock.after(-4n * NS - 5n), true);
  equal(clock.after(-4n * NS - 4n), false);
  now = [4_480_000_000, 1, 0];
  await clock.commitWait(4_480_000_000n * NS);
  equal(clock.after(4_480_000_000n * NS + 1n), false);
  // A moment that no clock reaches is refused at once, or waited for by nobody.
  await rejects(clock.commitWait(1n << 200n), { code: "limit" });
  await clock.commitWait(-(1n << 200n));
});
