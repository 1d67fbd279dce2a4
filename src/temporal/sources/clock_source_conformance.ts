/**
 * Conformance suite of sources of time: what the selector, the bus and interval clocks rely on, whoever keeps the time.
 *
 * A function of the tests' runner, so that each source's own test file runs it. What it cannot know of a source, true time
 * above all, the source's test tells it.
 *
 * @module
 */
import assert from "node:assert/strict";
import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { MmsbError } from "../../base/mod.ts";
import { ClockReading, type ClockSource, type ClockStatus } from "./clock_source.ts";

/** What the suite needs to know of a source. */
export interface ClockSourceSubject<T extends ClockSource = ClockSource> {
  /** Its name, for the names of the tests. */
  readonly name: string;
  /** Makes a source that was not started yet; the suite closes it. */
  make(): T | Promise<T>;
  /** True time in ns, where the test knows it: each reading must contain it. */
  trueNs?(source: T): bigint;
  /** Lets time pass in a simulation. Left out: the suite waits. */
  pass?(source: T, ns: number): void;
  /** Sources that are made, started and kept at the same time to see what one of them holds. Default 16. */
  readonly instances?: number;
}

const READS = 2000;
/** Rounds of reads, of which the median counts: in one or the other the collector comes by, which tells nothing. */
const ROUNDS = 9;
/** Tries of so many rounds, of which one must allocate nothing: the first ones run before the compiler is done. */
const ROUNDS_TRIES = 60;
/** Bytes of a round that are somebody else's; one object a read would be 24,000 and more. */
const ROUND_BYTES_MAX = 15_000;
const INSTANCE_BYTES_MAX = 200_000;
/** What passes for the bound to grow, in ns. */
const PASSED_NS = 20_000_000;
/** µs are in steps of 0.25, and come from two divisions. */
const US_STEP = 0.25;
const TRIES = 200;

/**
 * Hands all tests of the suite to a runner.
 *
 * @typeParam T The source's own type.
 * @param subject The source.
 * @param test Takes a test's name and body.
 */
export function testClockSource<T extends ClockSource>(
  subject: ClockSourceSubject<T>,
  test: (name: string, body: () => Promise<void>) => void,
): void {
  for (const [criterion, check] of Object.entries(CRITERIA)) {
    test(`${subject.name} ${criterion}`, async () => {
      const source = await subject.make();
      try {
        await check(source, subject as unknown as ClockSourceSubject);
      } finally {
        await source.close();
      }
    });
  }
}

type Criterion = (source: ClockSource, subject: ClockSourceSubject) => void | Promise<void>;

const CRITERIA: Readonly<Record<string, Criterion>> = {
  "reads before it is started, and after": async (source, subject) => {
    checkReading(source, subject);
    await source.start();
    for (let i = 0; i < 100; i++) checkReading(source, subject);
  },

  "says the same time in all forms": async (source) => {
    await source.start();
    const before = new ClockReading();
    const after = new ClockReading();
    let agreed = 0;
    for (let i = 0; i < TRIES; i++) {
      source.read(before);
      const us = source.nowUs();
      source.read(after);
      const low = Math.min(before.us, after.us) - 2 * US_STEP;
      const high = Math.max(before.us, after.us) + 2 * US_STEP;
      if (us >= low && us <= high) agreed++;
    }
    // Now and then a sync or a fresher page comes between the readings.
    assert.ok(agreed >= 0.9 * TRIES, `${TRIES - agreed} of ${TRIES} times differ`);
    const errorUs = source.errorUs();
    source.read(after);
    if (after.errorNs < Infinity) {
      assert.ok(Math.abs(errorUs * 1e3 - after.errorNs) <= 1e3 + after.errorNs / 4);
    } else assert.equal(errorUs, Infinity);
  },

  "has a bound that grows while nobody confirms the time": async (source, subject) => {
    await source.start();
    const reading = new ClockReading();
    const syncs = source.status().syncs;
    source.read(reading);
    const errorNs = reading.errorNs;
    await pass(source, subject);
    source.read(reading);
    // A sync in between may shrink it.
    if (source.status().syncs === syncs) assert.ok(reading.errorNs >= errorNs);
    checkReading(source, subject);
  },

  "allocates nothing for a reading": async (source) => {
    await source.start();
    const reading = new ClockReading();
    let least = Infinity;
    for (let i = 0; i < ROUNDS_TRIES && least > ROUND_BYTES_MAX; i++) {
      least = Math.min(
        least,
        medianBytes(() => {
          for (let read = 0; read < READS; read++) source.read(reading);
        }),
      );
      await Promise.resolve();
    }
    assert.ok(least <= ROUND_BYTES_MAX, `${READS} readings took ${least} bytes`);
  },

  "explains its bound by parts that add up": async (source) => {
    checkStatus(source, source.status());
    await source.start();
    for (let i = 0; i < 3; i++) checkStatus(source, source.status());
  },

  "starts twice and syncs twice at once": async (source) => {
    await Promise.all([source.start(), source.start()]);
    await source.start();
    const results = await Promise.allSettled([source.sync(), source.sync()]);
    assert.equal(results[0].status, results[1].status, "Two syncs at once end alike");
    for (const result of results) {
      if (result.status === "fulfilled") continue;
      assert.ok(result.reason instanceof MmsbError, `${result.reason}`);
      assert.equal(result.reason.code, "clock");
    }
    checkStatus(source, source.status());
  },

  "has no time once it is closed, and closes twice": async (source) => {
    await source.start();
    await Promise.all([source.close(), source.close()]);
    await source.close();
    const reading = new ClockReading();
    source.read(reading);
    assert.equal(reading.errorNs, Infinity);
    assert.equal(source.errorUs(), Infinity);
    assert.ok(Number.isFinite(source.nowUs()));
    assert.equal(source.isSynchronised, false);
    checkStatus(source, source.status());
    await source.start();
    await assert.rejects(source.sync(), { name: "MmsbError" });
    source.read(reading);
    assert.equal(reading.errorNs, Infinity, "Starting does not open it again");
  },

  "closes while it starts": async (source) => {
    const started = source.start();
    await source.close();
    await started;
    assert.equal(source.errorUs(), Infinity);
  },

  "holds less than 200 KB": async (_, subject) => {
    const { instances = 16 } = subject;
    const sources: ClockSource[] = [];
    const before = await heldBytes();
    try {
      for (let i = 0; i < instances; i++) {
        const source = await subject.make();
        sources.push(source);
        await source.start();
      }
      const bytes = (await heldBytes() - before) / instances;
      assert.ok(bytes < INSTANCE_BYTES_MAX, `One instance holds ${bytes} bytes`);
    } finally {
      for (const source of sources) await source.close();
    }
  },
};

function medianBytes(round: () => void): number {
  const bytes = Array.from({ length: ROUNDS }, () => {
    const before = process.memoryUsage().heapUsed;
    round();
    return process.memoryUsage().heapUsed - before;
  });
  return bytes.sort((a, b) => a - b)[ROUNDS >> 1];
}

/** What is held, without what was thrown away: a socket of the runtime leaves 64 KB behind with each question. */
async function heldBytes(): Promise<number> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function pass(source: ClockSource, subject: ClockSourceSubject): Promise<void> {
  if (subject.pass !== undefined) return subject.pass(source, PASSED_NS);
  await new Promise((resolve) => setTimeout(resolve, PASSED_NS / 1e6));
}

function checkReading(source: ClockSource, subject: ClockSourceSubject): void {
  const reading = new ClockReading();
  const before = subject.trueNs?.(source);
  source.read(reading);
  const after = subject.trueNs?.(source);
  const { seconds, nanoseconds, errorNs } = reading;
  assert.ok(Number.isSafeInteger(seconds), `${seconds} s`);
  assert.ok(
    Number.isInteger(nanoseconds) && nanoseconds >= 0 && nanoseconds < 1e9,
    `${nanoseconds} ns`,
  );
  assert.ok(errorNs >= 0, `A bound of ${errorNs} ns`);
  assert.equal(reading.ns, BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds));
  assert.ok(Math.abs(reading.us - Number(reading.ns) / 1e3) <= 2 * US_STEP);
  assert.ok(source.errorUs() >= 0);
  if (before === undefined || after === undefined || errorNs === Infinity) return;
  const boundNs = BigInt(Math.ceil(errorNs));
  const early = reading.ns - boundNs > after;
  const late = reading.ns + boundNs < before;
  assert.ok(!early && !late, `${before} to ${after} is not in ${reading.ns} ± ${errorNs} ns`);
}

function checkStatus(source: ClockSource, status: ClockStatus): void {
  assert.equal(status.name, source.name);
  assert.equal(status.kind, source.kind);
  assert.equal(typeof status.synchronised, "boolean");
  if (status.synchronised) assert.equal(status.reason, undefined);
  else assert.ok((status.reason ?? "").length > 5, "Unsynchronised, and nobody says why");
  assert.equal(typeof status.nowNs, "bigint");
  assert.ok(status.errorNs >= 0, `A bound of ${status.errorNs} ns`);
  if (status.errorNs === Infinity) {
    assert.equal(status.bound.length, 0);
    assert.equal(status.synchronised, false, "Synchronised, and has no time");
  } else {
    const sum = status.bound.reduce((total, { ns }) => total + ns, 0);
    assert.ok(Math.abs(sum - status.errorNs) <= 1, `Parts of ${sum} ns of ${status.errorNs} ns`);
  }
  for (const { name, ns, meaning } of status.bound) {
    assert.ok(ns >= 0 && ns < Infinity, `The part ${name} is ${ns} ns`);
    assert.ok(name.length > 0 && meaning.length > 10, `The part ${name} explains nothing`);
  }
  assert.equal(typeof status.offsetNs, "number");
  assert.equal(typeof status.driftPpm, "number");
  assert.ok(status.lastSyncAgeS >= 0, `${status.lastSyncAgeS} s`);
  assert.ok(Number.isSafeInteger(status.syncs) && status.syncs >= 0);
  assert.ok(Number.isSafeInteger(status.failures) && status.failures >= 0);
  for (const value of Object.values(status.details)) {
    assert.ok(["string", "number", "boolean"].includes(typeof value));
  }
}
