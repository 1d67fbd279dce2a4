/**
 * Subject `clock`: hybrid timestamps beside @consento/hlc, readings of sources beside the bare call, and many threads that take
 * timestamps at once.
 */

import HLC from "@consento/hlc";
import { CachedClock } from "../src/temporal/sources/cached_clock.ts";
import { HybridLogicalClock, SHARED_CLOCK_BYTES } from "../src/temporal/mod.ts";
import {
  ClockReading,
  ClockSelector,
  systemCalls,
  SystemClock,
} from "../src/temporal/sources/mod.ts";
import { besidePeer, type Comparison } from "./_comparison.ts";
import { interleave, millions, type Row, seconds } from "./_harness.ts";
import type { StampWork } from "./_stamp_worker.ts";
import { bounds, footprint, readings, syncs } from "./_subjects_clock_sources.ts";
import { comparing, receiving, taking } from "./_work_clock.ts";

/**
 * Calls of a round, and how many rounds for each that is asked for: many short ones, of which a busy machine disturbs the fewest.
 * The loops stand where they are timed, so that each is compiled for its own work.
 */
const CALLS = 50_000, TIMES = 4;
const PEER_CALLS = 200_000;
const STAMPS = 10_000_000;

/** Clocks. */
export async function clock(rounds: number): Promise<Row[]> {
  // First, while timestamps have one physical clock, as in a program: code that has seen many is 5 ns slower.
  const rows = await fromPage(rounds);
  rows.push(...await besideHlc(rounds));
  rows.push(...await precise(rounds));
  rows.push(...await readings(rounds), await selected(rounds));
  rows.push(...await syncs(), ...await bounds(), await footprint());
  for (const [threads, isShared] of [[8, false], [8, true], [100, true]] as const) {
    rows.push(await contended(threads, isShared));
  }
  return rows;
}

/** Ours beside the peer's, at the same readings: what both come to is compared. */
async function besideHlc(rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  const cases: readonly (readonly [Comparison, string, string, number])[] = [
    [taking, "HybridLogicalClock", "now, readings from memory", 50],
    [receiving, "HybridLogicalClock", "update", 70],
    [comparing, "compare", "compare", 5],
  ];
  for (const [work, ours, name, nsMax] of cases) {
    // Many times at once, so that a round takes some ms.
    const wide = { ...work, size: PEER_CALLS };
    const measured = await besidePeer(wide, ours, "@consento/hlc", rounds);
    const { ratio, spread } = measured, ns = measured.ours / PEER_CALLS * 1e9;
    rows.push({
      subject: `clock: ${name}`,
      ours: nanoseconds(ns),
      peer: `@consento/hlc ${nanoseconds(measured.peer / PEER_CALLS * 1e9)}`,
      ratio,
      spread,
      target: `< ${nsMax} ns, > 1`,
      met: measured.same && ns < nsMax && ratio > 1,
      hash: measured.hash,
    });
  }
  return rows;
}

/** Timestamps and readings from the cached page. */
async function fromPage(rounds: number): Promise<Row[]> {
  const cached = new CachedClock(new SystemClock());
  await cached.start();
  try {
    const own = new HybridLogicalClock({ nowUs: () => cached.nowUs() });
    const peer = new HLC({ wallTime: () => BigInt(Math.floor(cached.nowUs())) });
    const stamps = await interleave(
      () =>
        seconds(() => {
          for (let i = 0; i < CALLS; i++) own.now();
        }),
      () =>
        seconds(() => {
          for (let i = 0; i < CALLS; i++) peer.now();
        }),
      TIMES * rounds,
      4 * TIMES,
    );
    const reading = new ClockReading();
    let us = 0;
    const reads = await interleave(
      () =>
        seconds(() => {
          let sum = 0;
          for (let i = 0; i < CALLS; i++) sum += cached.nowUs();
          us = sum / CALLS;
        }),
      () =>
        seconds(() => {
          for (let i = 0; i < CALLS; i++) cached.read(reading);
        }),
      TIMES * rounds,
      4 * TIMES,
    );
    if (!(us > 1e15)) throw new Error(`${us} µs is no time`);
    return [
      {
        subject: "clock: now, from the cached page",
        ours: `${millions(CALLS, stamps.ours)}, ${nanoseconds(stamps.ours / CALLS * 1e9)}`,
        peer: `@consento/hlc ${millions(CALLS, stamps.peer)}`,
        ratio: stamps.ratio,
        spread: stamps.spread,
        target: "≥ 20 M/s, > 1",
        met: CALLS / stamps.ours >= 20e6 && stamps.ratio > 1,
        hash: "-",
      },
      {
        subject: "clock: reading the cached page, time",
        ours: `${millions(CALLS, reads.ours)}`,
        peer: `with its bound ${millions(CALLS, reads.peer)}`,
        ratio: reads.ratio,
        spread: reads.spread,
        target: "≥ 50 M/s",
        met: CALLS / reads.ours >= 50e6,
        hash: "-",
      },
    ];
  } finally {
    await cached.close();
  }
}

/** The system's clock beside the call that it makes; and timestamps from it. */
async function precise(rounds: number): Promise<Row[]> {
  const calls = systemCalls();
  if (calls === undefined) return [];
  const { clockGettime, clocks: { realtime } } = calls;
  const system = new SystemClock();
  const own = new HybridLogicalClock({ nowUs: () => system.nowUs() });
  const reads = await interleave(
    () =>
      seconds(() => {
        for (let i = 0; i < CALLS; i++) system.nowUs();
      }),
    () =>
      seconds(() => {
        for (let i = 0; i < CALLS; i++) clockGettime(realtime);
      }),
    TIMES * rounds,
    4 * TIMES,
  );
  const stamps = await interleave(
    () =>
      seconds(() => {
        for (let i = 0; i < CALLS; i++) own.now();
      }),
    () =>
      seconds(() => {
        for (let i = 0; i < CALLS; i++) system.nowUs();
      }),
    TIMES * rounds,
    4 * TIMES,
  );
  const moreNs = (stamps.ours - stamps.peer) / CALLS * 1e9;
  return [{
    subject: "clock: the system's clock, reading time alone",
    ours: nanoseconds(reads.ours / CALLS * 1e9),
    peer: `clock_gettime by FFI ${nanoseconds(reads.peer / CALLS * 1e9)}`,
    ratio: reads.ratio,
    spread: reads.spread,
    target: "≥ 0.67",
    met: reads.ratio >= 1 / 1.5,
    hash: "-",
  }, {
    subject: "clock: now, from the system's clock",
    ours: nanoseconds(stamps.ours / CALLS * 1e9),
    peer: `its reading alone ${nanoseconds(stamps.peer / CALLS * 1e9)}`,
    ratio: stamps.ratio,
    spread: stamps.spread,
    target: "< 50 ns more",
    met: moreNs < 50,
    hash: "-",
  }];
}

/** A selector beside the source that it has selected. */
async function selected(rounds: number): Promise<Row> {
  const source = new SystemClock(), other = new SystemClock({ name: "other" });
  const selector = new ClockSelector({ sources: [source, other] });
  const reading = new ClockReading();
  const { ours, peer, ratio, spread } = await interleave(
    () =>
      seconds(() => {
        for (let i = 0; i < CALLS; i++) selector.read(reading);
      }),
    () =>
      seconds(() => {
        for (let i = 0; i < CALLS; i++) source.read(reading);
      }),
    TIMES * rounds,
    4 * TIMES,
  );
  await selector.close();
  return {
    subject: "clock: reading through a selector",
    ours: nanoseconds(ours / CALLS * 1e9),
    peer: `the source ${nanoseconds(peer / CALLS * 1e9)}`,
    ratio,
    spread,
    target: "≥ 0.9",
    met: ratio >= 0.9,
    hash: "-",
  };
}

/** Many threads take timestamps at once; none may be given twice. */
async function contended(threads: number, isShared: boolean): Promise<Row> {
  const count = STAMPS / threads;
  const taken = new SharedArrayBuffer(8 * STAMPS), gate = new SharedArrayBuffer(4);
  const clock = isShared ? new SharedArrayBuffer(SHARED_CLOCK_BYTES) : undefined;
  const workers = Array.from(
    { length: threads },
    () => new Worker(new URL("./_stamp_worker.ts", import.meta.url), { type: "module" }),
  );
  let time: number;
  try {
    await Promise.all(workers.map((worker, node) => {
      const work: StampWork = { clock, node, taken, first: node * count, count, gate };
      const ready = nextMessage(worker);
      worker.postMessage(work);
      return ready;
    }));
    const done = Promise.all(workers.map(nextMessage)), start = performance.now();
    Atomics.store(new Int32Array(gate), 0, 1);
    Atomics.notify(new Int32Array(gate), 0);
    await done;
    time = (performance.now() - start) / 1000;
  } finally {
    for (const worker of workers) worker.terminate();
  }
  const twice = doublesIn(new BigUint64Array(taken), threads, isShared);
  return {
    subject: `clock: ${STAMPS / 1e6} M timestamps by ${threads} threads, ${
      isShared ? "one clock" : "a clock each"
    }`,
    ours: `${millions(STAMPS, time)}, ${twice} twice`,
    peer: "",
    ratio: twice,
    spread: [twice, twice],
    target: "none twice",
    met: twice === 0,
    hash: "-",
  };
}

/** Timestamps that do not rise in their thread, or that two of one node have; of all threads, where they share a clock. */
function doublesIn(words: BigUint64Array, threads: number, isShared: boolean): number {
  const count = words.length / threads;
  let twice = 0;
  for (let at = 0; at < words.length; at++) {
    if (words[at] === 0n || at % count > 0 && words[at] <= words[at - 1]) twice++;
  }
  // Of clocks with node ids of their own the words may be the same: the node tells them apart.
  if (!isShared) return twice;
  const sorted = new BigUint64Array(words).sort();
  for (let at = 1; at < sorted.length; at++) if (sorted[at] === sorted[at - 1]) twice++;
  return twice;
}

function nextMessage(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(`A thread failed: ${event.message}`));
  });
}

function nanoseconds(ns: number): string {
  return `${ns.toFixed(1)} ns`;
}
