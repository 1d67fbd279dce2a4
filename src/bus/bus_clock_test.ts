/** The time of a bus: what its ticks and frames are stamped with, from each kind of clock, good and bad. */

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type FrameHeader,
  inspectLog,
  LogReader,
  MemoryStorage,
  readMeta,
  type Storage,
} from "../log/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { ClockSelector } from "../temporal/sources/clock_selector.ts";
import { physicalUs } from "../temporal/mod.ts";
import {
  ClockReading,
  type ClockSource,
  SimulatedClock,
  SystemClock,
} from "../temporal/sources/mod.ts";
import { SMALL } from "./_past_test.ts";
import { type BusClock, StateBus } from "./mod.ts";

const START_US = 1_767_225_600_000_000;
const HOUR_NS = 3_600_000_000_000;
const UNKNOWN_US = 2 ** 32 - 1;

/** Frames of each tick, the commit's last. */
function framesOf(storage: Storage): FrameHeader[][] {
  const reader = new LogReader(storage, readMeta(storage));
  const ticks: FrameHeader[][] = [];
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    ticks.push(tick.lanes.flatMap(({ frames, commitFrame }) => [...frames, commitFrame]));
  }
  return ticks;
}

/** Asserts that timestamps rise strictly from frame to frame. */
function assertRising(ticks: readonly FrameHeader[][]): void {
  let last = 0n;
  for (const { hlcFirst, hlcLast } of ticks.flat()) {
    assert(
      hlcFirst > last && hlcLast >= hlcFirst,
      `${hlcFirst} to ${hlcLast} is not after ${last}`,
    );
    last = hlcLast;
  }
}

/** Ticks with rows of all kinds of frames, as many as moves of the clock. */
async function runTicks(clock: BusClock, moves: readonly (() => void)[], more = {}) {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ ...SMALL, storage, clock, ...more });
  const page = bus.createPage({ size: 64 });
  const reports = [await bus.tick()];
  for (const [i, move] of moves.entries()) {
    move();
    page.write(0, Uint8Array.of(i + 1));
    const batch = new DeltaBatch({ rows: 1, payloadBytes: 8 });
    batch.push(page.id, 8, Uint8Array.of(i + 1));
    bus.submit(batch, { producer: 7 });
    reports.push(await bus.commit(() => {}));
  }
  const stats = bus.stats();
  await bus.close();
  return { ticks: framesOf(storage), reports, clock: stats.clock!, opened: bus.opened.clock };
}

Deno.test("a bus takes its time from the system's clock, says so, and every frame carries the bound", async () => {
  const system = new SystemClock(), reading = new ClockReading();
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ ...SMALL, storage });
  const { clock } = bus.opened;
  assert(clock !== undefined);
  assert.equal(clock.source, "system");
  assert.equal(clock.kind, "system");
  assert.equal(clock.synchronised, system.isSynchronised);
  assert.equal(clock.reason === "", clock.synchronised);
  assert.equal(clock.aheadMs, 0);
  const page = bus.createPage({ size: 8 });
  system.read(reading);
  const before = Math.floor(reading.us);
  const { hlc, clockErrorUs } = await bus.commit(() => page.write(0, Uint8Array.of(1)));
  system.read(reading);
  assert(physicalUs(hlc) >= before && physicalUs(hlc) <= reading.us);
  // A kernel that vouches says less than its 500 ppm can make of it meanwhile.
  assert(clockErrorUs > 0 && clockErrorUs <= Math.max(100_000, 2 * clock.errorUs + 1e6));
  await bus.close();
  const [frames] = framesOf(storage);
  assert(frames.length >= 3);
  for (const frame of frames) assert.equal(frame.clockErrorUs, clockErrorUs);
});

Deno.test("frames carry the range of a simulated source and a bound that holds true time", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        seed: fc.nat(),
        skewPpm: fc.integer({ min: -100, max: 100 }),
        jitterNs: fc.nat(5000),
        syncErrorNs: fc.nat(50_000),
      }),
      fc.array(fc.nat(600), { minLength: 1, maxLength: 8 }),
      async (options, seconds) => {
        const clock = new SimulatedClock({ ...options, growthPpm: 200 });
        const truths = [clock.trueNs];
        const moves = seconds.map((s) => () => {
          clock.advance(s * 1e9);
          truths.push(clock.trueNs);
        });
        const { ticks, reports } = await runTicks(clock, moves);
        assertRising(ticks);
        assert.equal(ticks.length, truths.length);
        for (const [i, frames] of ticks.entries()) {
          for (const { hlcFirst, hlcLast, clockErrorUs } of frames) {
            assert.equal(clockErrorUs, reports[i].clockErrorUs);
            const boundNs = BigInt(clockErrorUs) * 1000n;
            for (const hlc of [hlcFirst, hlcLast]) {
              const stampNs = (hlc >> 12n) * 1000n;
              // A timestamp is a whole microsecond, so true time may be in it.
              assert(truths[i] >= stampNs - boundNs && truths[i] < stampNs + boundNs + 1000n);
            }
          }
          assert.equal(frames[frames.length - 1].hlcLast, reports[i].hlc);
        }
      },
    ),
    { numRuns: 40 },
  );
});

Deno.test("a bus over a selector that fails over in the middle goes on rising, with the bound of each source", async () => {
  const good = new SimulatedClock({ name: "good", syncErrorNs: 2000 });
  const poor = new SimulatedClock({ name: "poor", syncErrorNs: 900_000 });
  await using clock = new ClockSelector({
    sources: [good, poor],
    holdMs: 0,
    failBackMs: 0,
    timer: { every: () => () => {} },
  });
  const advance = () => [good, poor].forEach((source) => source.advance(1e6));
  const lose = () => {
    advance();
    good.isLost = true;
    clock.check();
  };
  const { ticks, reports, ...seen } = await runTicks(clock, [advance, lose, advance]);
  assertRising(ticks);
  const bounds = reports.map(({ clockErrorUs }) => clockErrorUs);
  assert(bounds[0] < 10 && bounds[1] < 10, `${bounds}`);
  assert(bounds[2] >= 900 && bounds[3] >= 900 && bounds[3] < 2000, `${bounds}`);
  assert.deepEqual(ticks.map((frames) => frames[0].clockErrorUs), bounds);
  assert.equal(seen.opened?.source, "good");
  assert.equal(seen.clock.source, "poor");
});

Deno.test("inspectLog() sums up the bounds of a log, and a compaction says that those of merged ticks are unknown", async () => {
  const dir = Deno.makeTempDirSync({ prefix: "mmsb-clock-" });
  try {
    const clock = new SimulatedClock({ syncErrorNs: 5000 });
    const bus = await StateBus.open({ dir, clock, segmentBytes: 512, segmentBytesMax: 512 });
    const page = bus.createPage({ size: 64 });
    const bounds: number[] = [];
    for (let tick = 0; tick < 12; tick++) {
      clock.advance(60e9);
      const write = () => page.write(0, new Uint8Array(64).fill(tick));
      bounds.push((await bus.commit(write)).clockErrorUs);
    }
    clock.isLost = true;
    await bus.commit(() => page.write(0, Uint8Array.of(99)));
    const [least, most] = [Math.min(...bounds), Math.max(...bounds)];
    assert(least < most);
    assert.deepEqual((await inspectLog(dir)).clockErrorUs, { least, most, unknown: 1 });
    await bus.compact();
    await bus.close();
    const after = (await inspectLog(dir)).clockErrorUs!;
    assert(after.unknown >= 2 && after.most === most && after.least! > least);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("a source that loses its time: frames say that nothing is known, and ticks go on", async () => {
  const clock = new SimulatedClock();
  const lose = () => void (clock.isLost = true);
  const { ticks, reports, ...seen } = await runTicks(clock, [lose]);
  assertRising(ticks);
  assert(reports[0].clockErrorUs < 10_000);
  assert.equal(reports[1].clockErrorUs, UNKNOWN_US);
  assert(ticks[1].every(({ clockErrorUs }) => clockErrorUs === UNKNOWN_US));
  assert.equal(seen.clock.errorUs, Infinity);
});

Deno.test("a clock that is set back or ahead by an hour: timestamps rise, and the bound says how far they are ahead", async () => {
  const clock = new SimulatedClock({ noticesJumps: false, syncErrorNs: 0 });
  const back = () => clock.jump(-HOUR_NS), ahead = () => clock.jump(HOUR_NS);
  const second = () => clock.advance(1e9);
  const { ticks, reports, ...seen } = await runTicks(clock, [second, back, second, ahead, second]);
  assertRising(ticks);
  const us = reports.map(({ hlc }) => physicalUs(hlc) - START_US);
  assert.deepEqual(us.map((value) => Math.round(value / 1e6)), [0, 1, 1, 1, 2, 3]);
  const bounds = reports.map(({ clockErrorUs }) => clockErrorUs);
  assert(bounds[1] < 100_000 && bounds[5] < 100_000, `${bounds}`);
  // Where the clock was right and is set back, it cannot be known which of the two is true.
  assert(bounds[2] > 3_600_000_000 - 10 && bounds[3] > 3_599_000_000 - 10, `${bounds}`);
  const { jumps } = seen.clock;
  assert.equal(jumps.backward, 1);
  // The seconds that the test lets pass come at once, too.
  assert.equal(jumps.forward, 4);
  assert(Math.abs(jumps.lastMs - 1000) < 200);
  assert.equal(seen.clock.aheadMs, 0);
});

Deno.test("a bus tells how far the log is ahead of a clock that was set back before it was opened", async () => {
  const storage = new MemoryStorage(), clock = new SimulatedClock();
  {
    await using bus = await StateBus.open({ ...SMALL, storage, clock });
    await bus.commit(() => void bus.createPage({ size: 8 }));
  }
  clock.jump(-HOUR_NS);
  await using bus = await StateBus.open({ ...SMALL, storage, clock });
  assert(Math.abs(bus.opened.clock!.aheadMs - 3_600_000) < 1);
  await bus.commit(() => void bus.createPage({ size: 8 }));
  assert(Math.abs(bus.stats().clock!.aheadMs - 3_600_000) < 1);
  clock.advance(HOUR_NS + 1e9);
  await bus.commit(() => void bus.createPage({ size: 8 }));
  assert.equal(bus.stats().clock!.aheadMs, 0);
});

Deno.test("readings that are no time let timestamps count on, with an unknown bound, and are counted", async () => {
  const bad = [NaN, Infinity, -Infinity, -1, 5n, "5", undefined, null, {}] as unknown as number[];
  let reading = START_US, bound: () => unknown = () => 7;
  const clock = { nowUs: () => reading, errorUs: () => bound() as number };
  const moves = bad.map((value) => () => void (reading = value));
  const { ticks, reports, clock: seen } = await runTicks(clock, [...moves, () => {
    reading = START_US + 5;
    bound = () => 8;
  }]);
  assertRising(ticks);
  const bounds = reports.map(({ clockErrorUs }) => clockErrorUs);
  assert.deepEqual(bounds, [7, ...bad.map(() => UNKNOWN_US), 8]);
  assert.deepEqual(ticks.map((frames) => frames[0].clockErrorUs), bounds);
  assert.equal(seen.ignoredReadings, bad.length);
  assert.deepEqual(seen.jumps, { forward: 0, backward: 0, lastMs: 0 });
  assert.equal(seen.source, "given");
});

Deno.test("a bound that is none is unknown, and does not hinder a tick", async () => {
  const throwing = () => {
    throw new Error("no bound");
  };
  const bounds: [() => unknown, number][] = [
    [() => 0, 0],
    [() => 0.2, 1],
    [() => 4.0, 4],
    [() => 2 ** 32, UNKNOWN_US],
    [() => NaN, UNKNOWN_US],
    [() => Infinity, UNKNOWN_US],
    [() => -1, UNKNOWN_US],
    [() => 5n, UNKNOWN_US],
    [() => "5", UNKNOWN_US],
    [() => undefined, UNKNOWN_US],
    [throwing, UNKNOWN_US],
  ];
  let bound: () => unknown = () => 1;
  const clock = { nowUs: () => START_US, errorUs: () => bound() as number };
  const { ticks } = await runTicks(clock, bounds.map(([give]) => () => void (bound = give)));
  assert.deepEqual(
    ticks.map((frames) => frames[0].clockErrorUs),
    [1, ...bounds.map(([, expected]) => expected)],
  );
});

Deno.test("a clock that throws, or counts in the wrong unit, is named, and the tick was not", async () => {
  let read = () => START_US;
  const clock = { nowUs: () => read(), errorUs: () => 1 };
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage(), clock });
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  const cause = new TypeError("no such device");
  for (
    const [give, code] of [[() => {
      throw cause;
    }, "clock"], [() => START_US * 1000, "limit"]] as const
  ) {
    read = give;
    await assert.rejects(bus.commit(() => page.write(0, Uint8Array.of(1))), { code });
    assert.equal(bus.tickNumber, 1);
    assert.equal(page.read(0, 1)[0], 0);
  }
  read = () => {
    throw cause;
  };
  page.write(0, Uint8Array.of(2));
  await assert.rejects(bus.tick(), { code: "clock", cause, message: /no such device/ });
  read = () => START_US;
  await bus.commit(() => page.write(0, Uint8Array.of(3)));
  assert.equal((await bus.verify()).ok, true);
});

Deno.test("more rows than a microsecond has timestamps widen the bound by the microseconds they reach into", async () => {
  const clock = { nowUs: () => START_US, errorUs: () => 3 };
  await using bus = await StateBus.open({ ...SMALL, clock });
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  const batch = new DeltaBatch({ rows: 10_000, payloadBytes: 80_000 });
  for (let i = 0; i < 10_000; i++) batch.push(page.id, 0, Uint8Array.of(1));
  bus.submit(batch);
  assert.equal((await bus.tick()).clockErrorUs, 3 + 2);
});

Deno.test("only the thread of the bus asks the clock, once a tick", async () => {
  for (const workers of [0, 2]) {
    for (const storage of [undefined, new MemoryStorage()]) {
      let asked = 0;
      const clock = { nowUs: () => START_US + asked++, errorUs: () => 1 };
      await using bus = await StateBus.open({ ...SMALL, storage, clock, workers });
      const page = bus.createPage({ size: 64 });
      const other = bus.createPage({ size: 64 });
      await bus.tick();
      const batch = new DeltaBatch({ rows: 20_000, payloadBytes: 160_000 });
      for (let tick = 2; tick < 4; tick++) {
        batch.clear();
        for (let i = 0; i < 20_000; i++) {
          batch.push(i % 2 ? page.id : other.id, 8 * (i % 8), Uint8Array.of(tick));
        }
        const receipt = bus.submit(batch);
        await bus.tick();
        await receipt;
        assert.equal(asked, tick);
      }
    }
  }
});

Deno.test("a bus neither starts nor closes the source that it was given", async () => {
  const calls: string[] = [];
  const inner = new SimulatedClock();
  const clock: ClockSource = {
    name: "watched",
    kind: "simulated",
    isSynchronised: true,
    read: (out) => inner.read(out),
    nowUs: () => inner.nowUs(),
    errorUs: () => inner.errorUs(),
    status: () => inner.status(),
    sync: async () => void calls.push("sync"),
    start: async () => void calls.push("start"),
    close: async () => void calls.push("close"),
  };
  for (const storage of [undefined, new MemoryStorage()]) {
    await using bus = await StateBus.open({ ...SMALL, storage, clock });
    await bus.commit(() => void bus.createPage({ size: 8 }));
    assert.equal(bus.stats().clock!.source, "watched");
  }
  assert.deepEqual(calls, []);
});

Deno.test("one source serves several buses, and a closed one leaves the bound unknown", async () => {
  const clock = new SimulatedClock();
  await using one = await StateBus.open({ ...SMALL, clock });
  await using other = await StateBus.open({ ...SMALL, clock });
  for (const bus of [one, other]) await bus.commit(() => void bus.createPage({ size: 8 }));
  await clock.close();
  const { clockErrorUs } = await one.commit(() => void one.createPage({ size: 8 }));
  assert.equal(clockErrorUs, UNKNOWN_US);
});

Deno.test("a bus that only reads has no clock of its own", async () => {
  const storage = new MemoryStorage();
  const writer = await StateBus.open({ ...SMALL, storage });
  await writer.commit(() => void writer.createPage({ size: 8 }));
  await using past = await writer.at({ tick: 1 });
  assert.equal(past.stats().clock, undefined);
  await writer.close();
  await using reader = await StateBus.open({ ...SMALL, storage, readOnly: true });
  assert.equal(reader.opened.clock, undefined);
  assert.equal(reader.stats().clock, undefined);
});

Deno.test("StateBus.open() names what its clock lacks", async () => {
  for (const clock of [null, 5, {}, { nowUs: () => 1 }, { nowUs: 1, errorUs: () => 1 }]) {
    await assert.rejects(StateBus.open({ clock: clock as never }), { code: "usage" });
  }
});
