/**
 * Subject `clock`, the sources of time: what a reading costs beside the bare call, how soon SNTP has the time of a chronyd on
 * this machine, how honest and how tight its bounds are, and what an instance holds.
 */

import { HybridLogicalClock } from "../src/temporal/mod.ts";
import {
  CachedClock,
  ChronyClock,
  ClockReading,
  ClockSelector,
  type ClockSource,
  PtpClock,
  SimulatedClock,
  SntpClock,
  type SystemCalls,
  systemCalls,
  SystemClock,
} from "../src/temporal/sources/mod.ts";
import { Chronyd, chronydPath } from "../src/temporal/sources/testdata/chronyd.ts";
import { measureSntpModel, SNTP_MODELS } from "../src/temporal/sources/testdata/sntp_models.ts";
import { compareWithTrueTime } from "../src/temporal/sources/testdata/true_time.ts";
import { collect, interleave, median, type Row, seconds } from "./_harness.ts";

/** Calls of a round, and rounds for each that is asked for: many short ones, of which a busy machine disturbs the fewest. */
const CALLS = 50_000, TIMES = 4;
const INSTANCES = 50;
const INSTANCE_BYTES_MAX = 200_000;
const FIRST_SYNCS = 5, SYNCS = 50;
/** Nobody answers there. */
const NOBODY = "127.0.0.1:9";

/** A hardware clock that shows the system's time, in place of one that few machines have; all counters are real. */
function withDevice(calls: SystemCalls): SystemCalls {
  const file = 9, device = (~file << 3) | 3, capabilities = 0x8050_3d01, notSupported = -95;
  const { clockGettime, clocks } = calls;
  return {
    ...calls,
    clockGettime: (clock) => clockGettime(clock === device ? clocks.realtime : clock),
    open: () => file,
    close: () => 0,
    ioctl: (_, request) => request === capabilities ? 0 : notSupported,
  };
}

/** Readings of time and bound beside the bare call. Each source has a loop of its own: one that all share would know none of them. */
export async function readings(rounds: number): Promise<Row[]> {
  const calls = systemCalls();
  if (calls === undefined) return [];
  const { clockGettime, clocks: { realtime } } = calls;
  const reading = new ClockReading();
  const system = new SystemClock();
  const chrony = new ChronyClock({ port: 9, via: "socket", timeoutMs: 20 });
  const device = { calls: withDevice(calls), disciplined: true, timescale: "utc" } as const;
  const ptp = new PtpClock(device);
  const sntp = new SntpClock({ servers: [NOBODY], timeoutMs: 20 });
  const works: readonly (readonly [ClockSource, () => void])[] = [
    [system, () => {
      for (let i = 0; i < CALLS; i++) system.read(reading);
    }],
    [chrony, () => {
      for (let i = 0; i < CALLS; i++) chrony.read(reading);
    }],
    [sntp, () => {
      for (let i = 0; i < CALLS; i++) sntp.read(reading);
    }],
    // The last, as its library is another, and from then on code that all sources share knows two.
    [ptp, () => {
      for (let i = 0; i < CALLS; i++) ptp.read(reading);
    }],
  ];
  const rows: Row[] = [];
  for (const [source, work] of works) {
    const { ours, peer, ratio, spread } = await interleave(
      async () => {
        // Who was not compared lately takes a longer way.
        if (source === ptp) await ptp.sync();
        return seconds(work);
      },
      () =>
        seconds(() => {
          for (let i = 0; i < CALLS; i++) clockGettime(realtime);
        }),
      TIMES * rounds,
      4 * TIMES,
    );
    await source.close();
    const ns = ours / CALLS * 1e9;
    rows.push({
      subject: `clock: reading time and bound, ${source.kind}`,
      ours: `${ns.toFixed(1)} ns`,
      peer: `clock_gettime by FFI ${(peer / CALLS * 1e9).toFixed(1)} ns`,
      ratio,
      spread,
      target: "≥ 0.67, < 100 ns",
      met: ratio >= 1 / 1.5 && ns < 100,
      hash: "-",
    });
  }
  return rows;
}

/** SNTP with a chronyd on this machine; nothing where none is installed. */
export async function syncs(): Promise<Row[]> {
  if (chronydPath === undefined) return [];
  await using server = await Chronyd.start();
  const firstMs: number[] = [];
  for (let i = 0; i < FIRST_SYNCS; i++) {
    const began = performance.now();
    const clock = new SntpClock({ servers: [server.address] });
    await clock.sync();
    firstMs.push(performance.now() - began);
    await clock.close();
  }
  const clock = new SntpClock({ servers: [server.address] });
  const nextMs: number[] = [];
  for (let i = 0; i < SYNCS; i++) {
    const began = performance.now();
    await clock.sync();
    nextMs.push(performance.now() - began);
  }
  const figures = await compareWithTrueTime(clock, { syncs: SYNCS, readings: 200 });
  await clock.close();
  const rows = [timeRow("first sync", firstMs, 500), timeRow("sync on loopback", nextMs, 50)];
  if (figures === undefined) return rows;
  rows.push({
    subject: `clock: SNTP, ${figures.readings} readings beside the server's own clock`,
    ours: `${percent(figures.contained)} within the bound of ${figures.boundUs.toFixed(0)} µs`,
    peer: "",
    ratio: figures.contained,
    spread: [figures.contained, figures.contained],
    target: "≥ 99.9 %",
    met: figures.contained >= 0.999,
    hash: "-",
  });
  return rows;
}

function timeRow(name: string, ms: readonly number[], msMax: number): Row {
  const middle = median(ms), spread = [Math.min(...ms), Math.max(...ms)] as const;
  return {
    subject: `clock: SNTP, ${name}`,
    ours: `${middle.toFixed(1)} ms`,
    peer: "",
    ratio: middle,
    spread,
    target: `< ${msMax} ms`,
    met: middle < msMax,
    hash: "-",
  };
}

/** Bounds in simulated networks: how many hold, and by how much wider they are than the smallest that would. */
export async function bounds(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const model of SNTP_MODELS) {
    const { readings, contained, tightness, boundMs } = await measureSntpModel(model);
    const times = 1 / tightness;
    rows.push({
      subject: `clock: SNTP, ${model.name}, ${readings} readings`,
      ours: `${percent(contained)} within the bound of ${boundMs.toFixed(2)} ms`,
      peer: `${times.toFixed(2)} times the least bound of 99.9 %`,
      ratio: contained,
      spread: [contained, contained],
      target: model.isTightPossible ? "≥ 99.9 %, ≤ 2 times" : "≥ 99.9 %",
      met: contained >= 0.999 && (times <= 2 || !model.isTightPossible),
      hash: "-",
    });
  }
  return rows;
}

/** Memory of each kind of source, and of a clock: the largest counts. */
export async function footprint(): Promise<Row> {
  const kinds: Readonly<Record<string, () => ClockSource | HybridLogicalClock>> = {
    HybridLogicalClock: () => new HybridLogicalClock({ nowUs: () => 0 }),
    SystemClock: () => new SystemClock(),
    ChronyClock: () => new ChronyClock(),
    PtpClock: () => new PtpClock(),
    SntpClock: () => new SntpClock({ servers: ["a", "b", "c", "d"] }),
    SimulatedClock: () => new SimulatedClock({ seed: 1 }),
    // Its memory is shared, which no figure of the heap tells: 10.5 KB more.
    CachedClock: () => new CachedClock(new SystemClock()),
    "ClockSelector over all": () =>
      new ClockSelector({
        sources: [
          new PtpClock(),
          new ChronyClock(),
          new SntpClock({ servers: ["a", "b", "c", "d"] }),
          new SystemClock(),
        ],
      }),
  };
  const found: [string, number][] = [];
  for (const [name, make] of Object.entries(kinds)) {
    // Twice: the first time code is compiled, too.
    await heldBy(make);
    found.push([name, await heldBy(make)]);
  }
  found.sort((a, b) => b[1] - a[1]);
  const [[, bytes]] = found;
  return {
    subject: "clock: memory of an instance",
    ours: found.map(([name, bytes]) => `${name} ${(bytes / 1000).toFixed(1)} KB`).join(", "),
    peer: "",
    ratio: bytes,
    spread: [found[found.length - 1][1], bytes],
    target: "< 200 KB",
    met: bytes < INSTANCE_BYTES_MAX,
    hash: "-",
  };
}

/** What one of many instances holds. */
async function heldBy(make: () => ClockSource | HybridLogicalClock): Promise<number> {
  const before = bytesInUse();
  const made = Array.from({ length: INSTANCES }, make);
  const held = bytesInUse() - before;
  for (const one of made.splice(0)) if ("close" in one) await one.close();
  return held / INSTANCES;
}

function bytesInUse(): number {
  collect();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

function percent(part: number): string {
  return `${(part * 100).toFixed(2)} %`;
}
