/**
 * Subject `spill`: what it costs that pages go to a file and come back, and how long the longest call took.
 *
 * Each call is timed whole, eviction and all, by the clock and by the processor time of this thread: other processes lend
 * it to each other, and a pause of theirs is none of ours. Collections of V8 run on this thread, too; the longest one
 * is told, as it may be what the longest call met. Every page that is read is compared with what was written.
 */

import assert from "node:assert/strict";
import { GCProfiler } from "node:v8";
import { DeltaBatch, type OpenOptions, StateBus } from "../mod.ts";
import { threadClock } from "../src/validators/thread_clock.ts";
import { collect, hash, median, numbers, type Row } from "./_harness.ts";
import { SEED } from "./_work.ts";

const LIMIT_BYTES = 2 ** 26;
const KIB = 1024;
/** Sizes with as much data as memory has room for, so many times. */
const SIZES = [[64, 2], [KIB, 4], [64 * KIB, 4]] as const;
const LARGE_BYTES = 4 * KIB * KIB;
const READS_MAX = 50_000;
const COLD_PAGES = 10_000;
/** What one call may take of this thread's time. */
const PAUSE_MS = 3;

/** Durations of calls, by both clocks. */
class Calls {
  readonly ownMs: Float64Array;
  readonly clockMs: Float64Array;
  count = 0;

  constructor(room: number) {
    this.ownMs = new Float64Array(room);
    this.clockMs = new Float64Array(room);
  }

  get own(): Float64Array {
    return this.ownMs.slice(0, this.count).sort();
  }

  get clock(): Float64Array {
    return this.clockMs.slice(0, this.count).sort();
  }
}

const { usedMs } = threadClock();

function timed(calls: Calls, work: () => void): void {
  const began = performance.now(), used = usedMs();
  work();
  calls.ownMs[calls.count] = usedMs() - used;
  calls.clockMs[calls.count++] = performance.now() - began;
}

const at = (sorted: Float64Array, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];

const ms = (value: number): string => value.toFixed(value < 0.1 ? 3 : 2);

async function onSpillingBus<T>(
  limitBytes: number,
  use: (bus: StateBus) => Promise<T>,
): Promise<T> {
  const dir = Deno.makeTempDirSync({ prefix: "mmsb-anchors-" });
  try {
    await using bus = await StateBus.open({ memoryLimitBytes: limitBytes, spill: { dir } });
    return await use(bus);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

/** The longest collection while something runs. */
function watchCollections(): () => number {
  collect();
  const profiler = new GCProfiler();
  profiler.start();
  return () => Math.max(0, ...profiler.stop()!.statistics.map(({ cost }) => cost / 1e6));
}

function pauseRow(
  what: string,
  moved: number,
  calls: Calls,
  collectionMs: number,
  result: string,
): Row {
  const { own, clock } = calls, total = own.reduce((sum, value) => sum + value, 0);
  const longest = own[own.length - 1];
  return {
    subject: `spill: ${what}`,
    ours: `${(1000 * total / moved).toFixed(1)} µs each of ${moved}; of this thread's time p99 ` +
      `${ms(at(own, 0.99))}, p99.9 ${ms(at(own, 0.999))}, longest ${
        ms(longest)
      } ms; by the clock p99 ` +
      `${ms(at(clock, 0.99))}, longest ${ms(clock[clock.length - 1])} ms; ` +
      `longest collection ${ms(collectionMs)} ms`,
    peer: "",
    ratio: longest,
    spread: [at(own, 0.5), longest],
    target: what.includes("MiB") ? "" : `99.9 % below ${PAUSE_MS} ms`,
    met: what.includes("MiB") || at(own, 0.999) < PAUSE_MS,
    hash: result,
  };
}

/** The first bytes of a page follow from its number. */
function stamp(bytes: Uint8Array, index: number): Uint8Array {
  new DataView(bytes.buffer).setUint32(0, index * 2654435761 >>> 0);
  return bytes;
}

/** Makes pages until memory was full some times over, then reads some at random. */
async function single(size: number, limitBytes: number, times: number): Promise<Row[]> {
  return await onSpillingBus(limitBytes, async (bus) => {
    const count = times * limitBytes / size, ids = new Uint32Array(count);
    const births = Math.max(1, Math.min(2048, limitBytes / 32 / size | 0));
    const made = new Calls(count), bytes = new Uint8Array(8);
    let ended = watchCollections();
    for (let i = 0; i < count;) {
      for (const end = Math.min(count, i + births); i < end; i++) {
        timed(made, () => ids[i] = bus.createPage({ size }).id);
        bus.page(ids[i]).write(0, stamp(bytes, i));
      }
      await bus.tick();
    }
    let collectionMs = ended();
    const { evictions } = bus.memory().spilled!;
    const name = size < KIB ? `${size} B` : size < KIB * KIB ? `${size / KIB} KiB` : "4 MiB";
    const rows = [
      pauseRow(`pages of ${name} made, others go`, evictions, made, collectionMs, ""),
    ];
    const reads = Math.min(READS_MAX, 4 * count), next = numbers(SEED), read = new Calls(reads);
    const target = new Uint8Array(8), expected = new Uint8Array(8), before = bus.memory().spilled!;
    ended = watchCollections();
    for (let k = 0; k < reads; k++) {
      const index = next() % count, page = bus.page(ids[index]);
      timed(read, () => page.readInto(target));
      assert.deepEqual(target, stamp(expected, index));
    }
    collectionMs = ended();
    const returns = bus.memory().spilled!.returns - before.returns;
    const result = hash(target);
    rows.push(pauseRow(`pages of ${name} read at random`, returns, read, collectionMs, result));
    return rows.map((row) => ({ ...row, hash: result }));
  });
}

/** Batches of this many pages, all of them cold. */
async function together(order: "side by side" | "at random", rounds: number): Promise<Row> {
  const size = KIB, count = 4 * LIMIT_BYTES / size;
  return await onSpillingBus(LIMIT_BYTES, async (bus) => {
    const ids: number[] = [];
    while (ids.length < count) {
      for (let i = 0; i < 2048; i++) ids.push(bus.createPage({ size }).id);
      await bus.tick();
    }
    const calls = new Calls(2 * rounds), next = numbers(SEED), value = new Uint8Array(8);
    let returned = 0;
    for (let round = 0; round < 2 * rounds; round++) {
      const batch = new DeltaBatch({ rows: COLD_PAGES, payloadBytes: 8 * COLD_PAGES });
      const first = round * 3 * COLD_PAGES;
      for (let i = 0; i < COLD_PAGES; i++) {
        const index = order === "at random" ? next() : first + i;
        batch.push(ids[index % count], 0, value);
      }
      const before = bus.memory().spilled!.returns, receipt = bus.submit(batch);
      const began = performance.now(), used = usedMs();
      await bus.tick();
      calls.ownMs[round] = usedMs() - used;
      calls.clockMs[round] = performance.now() - began;
      calls.count++;
      await receipt;
      returned += bus.memory().spilled!.returns - before;
    }
    const { own, clock } = calls, each = returned / calls.count;
    return {
      subject: `spill: a tick of ${COLD_PAGES} pages of 1 KiB, ${
        each.toFixed(0)
      } of them cold, ${order}`,
      ours: `${ms(median([...own]))} ms of this thread's time (${
        (1000 * median([...own]) / each).toFixed(1)
      } µs a page), ${ms(median([...clock]))} by the clock`,
      peer: "",
      ratio: median([...own]),
      spread: [own[0], own[own.length - 1]],
      target: "",
      met: true,
      hash: hash(new TextEncoder().encode(bus.digest())),
    };
  });
}

const TICKS = 300;
const TICK_ROWS = 1000;

/** Ticks whose pages are half as much as memory has room for, of data of 8 times; 1 % of the rows go elsewhere. */
async function workingSet(options: OpenOptions): Promise<{ calls: Calls; digest: string }> {
  const size = 4096, count = 8 * LIMIT_BYTES / size, hot = LIMIT_BYTES / 2 / size;
  await using bus = await StateBus.open(options);
  const ids: number[] = [];
  while (ids.length < count) {
    for (let i = 0; i < 256; i++) ids.push(bus.createPage({ size }).id);
    await bus.tick();
  }
  const next = numbers(SEED), calls = new Calls(TICKS), bytes = new Uint8Array(16);
  const batch = new DeltaBatch({ rows: TICK_ROWS, payloadBytes: 16 * TICK_ROWS });
  for (let tick = 0; tick < TICKS; tick++) {
    batch.clear();
    for (let i = 0; i < TICK_ROWS; i++) {
      bytes[0] = i;
      batch.push(ids[next() % 100 === 0 ? next() % count : next() % hot], 0, bytes);
    }
    const receipt = bus.submit(batch), began = performance.now(), used = usedMs();
    await bus.tick();
    calls.ownMs[tick] = usedMs() - used;
    calls.clockMs[tick] = performance.now() - began;
    calls.count++;
    await receipt;
  }
  return { calls, digest: bus.digest() };
}

const ticks = ({ own, clock }: Calls): string =>
  `p50 ${ms(at(own, 0.5))}, p99 ${ms(at(own, 0.99))}, longest ${ms(at(own, 1))} ms ` +
  `(by the clock ${ms(at(clock, 0.5))}, ${ms(at(clock, 0.99))}, ${ms(at(clock, 1))})`;

async function workingSetRow(rounds: number): Promise<Row> {
  const ratios: number[] = [];
  let ours = "", peer = "", result = "";
  for (let round = 0; round < rounds; round++) {
    const dir = Deno.makeTempDirSync({ prefix: "mmsb-anchors-" });
    try {
      const whole = await workingSet({ memoryLimitBytes: 12 * LIMIT_BYTES });
      const spilling = await workingSet({ memoryLimitBytes: LIMIT_BYTES, spill: { dir } });
      assert.equal(spilling.digest, whole.digest);
      ratios.push(at(whole.calls.own, 1) / at(spilling.calls.own, 1));
      ours = ticks(spilling.calls);
      peer = `all in memory: ${ticks(whole.calls)}`;
      result = hash(new TextEncoder().encode(whole.digest));
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  }
  return {
    subject:
      `spill: ${TICKS} ticks of ${TICK_ROWS} rows over half of the memory, 1 % of them over ` +
      "8 times of it; the longest tick",
    ours,
    peer,
    ratio: median(ratios),
    spread: [Math.min(...ratios), Math.max(...ratios)],
    target: "longest tick at most 3 times as long",
    met: median(ratios) > 1 / 3,
    hash: result,
  };
}

/** All of it. */
export async function spill(rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [size, times] of SIZES) rows.push(...await single(size, LIMIT_BYTES, times));
  rows.push(...await single(LARGE_BYTES, 4 * LIMIT_BYTES, 3));
  rows.push(await together("side by side", rounds), await together("at random", rounds));
  rows.push(await workingSetRow(Math.min(rounds, 3)));
  return rows;
}
