/**
 * Checkpoints: a state of 1 GiB written beside ticks, and read back, against the bare disk.
 *
 * Twice: with random bytes, which are stored as they are, and with rows of prices and counters, which
 * shrink some 3 times. What the disk is asked for are the bytes as stored; reading is from a warm cache on
 * both sides, into memory that was not touched before.
 *
 * Ticks meanwhile are measured twice: as many as go, where the log alone asks all that the disk has, so
 * that single ticks wait for it with or without a checkpoint; and paced, where a pause is the
 * checkpoint's own.
 */

import { DeltaBatch, StateBus } from "../mod.ts";
import { hash, interleave, median, numbers, type Row } from "./_harness.ts";

const PAGE_BYTES = 4096;
const PAGES = 2 ** 18;
const BATCH_PAGES = 4096;
const TICK_ROWS = 4096;
const PAYLOAD = 16;
/** A paced program ticks this often, as a game or a board does. */
const PACE_MS = 4;
const BATCHES = 8;
const SEED = 20_261_122;
/** A state of 1 GiB takes seconds a round. */
const ROUNDS_MAX = 3;
const OPTIONS = {
  durability: "group",
  memoryLimitBytes: PAGES * PAGE_BYTES + 2 ** 26,
  checkpoints: { everyBytes: Infinity, keep: 1, log: "drop" },
} as const;

type Fill = (words: Uint32Array, next: () => number) => void;

const STATES: Readonly<Record<string, Fill>> = {
  "random bytes": (words, next) => {
    for (let i = 0; i < words.length; i++) words[i] = next();
  },
  "prices and counters": (words, next) => {
    const prices = new Float64Array(words.buffer, 0, words.length >>> 1);
    let cents = 10_000;
    for (let row = 0; row < words.length / 4; row++) {
      cents += next() % 21 - 10;
      prices[2 * row] = cents / 100;
      words[4 * row + 2] = row;
      words[4 * row + 3] = next() % 100;
    }
  },
};

/** Writing, ticks meanwhile, and opening, of both states. */
export async function checkpoint(rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [name, fill] of Object.entries(STATES)) {
    const folder = await Deno.makeTempDir({ prefix: "mmsb-anchors-" });
    try {
      rows.push(...await measure(folder, name, fill, Math.min(rounds, ROUNDS_MAX)));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }
  return rows;
}

async function measure(folder: string, name: string, fill: Fill, rounds: number): Promise<Row[]> {
  const dir = `${folder}/bus`;
  const bus = await StateBus.open({ dir, ...OPTIONS });
  await fillPages(bus, fill);
  let { storedBytes } = await bus.checkpoint();
  const written = await interleave(
    async () => {
      const start = performance.now();
      ({ storedBytes } = await bus.checkpoint());
      return (performance.now() - start) / 1000;
    },
    () => writeRaw(`${folder}/raw`, storedBytes),
    rounds,
    1,
  );
  const shrinks = PAGES * PAGE_BYTES / storedBytes;
  const state = `1 GiB of ${name}, stored ${shrinks.toFixed(1)} : 1`;
  const rows: Row[] = [{
    subject: `checkpoint of ${state}: against a raw write and sync of the stored bytes`,
    ours: rate(storedBytes, written.ours),
    peer: rate(storedBytes, written.peer),
    ratio: written.ratio,
    spread: written.spread,
    target: ">= 0.5",
    met: written.ratio >= 0.5,
    hash: hash(bus.page(1).read(), bus.page(PAGES).read()),
  }];
  rows.push(...await ticksMeanwhile(bus, state, rounds));
  const made = await bus.checkpoint();
  const expected = hash(bus.page(1).read(), bus.page(PAGES).read());
  await bus.close();
  let found = "";
  const opened = await interleave(
    async () => {
      const start = performance.now();
      const again = await StateBus.open({ dir, ...OPTIONS, readOnly: true });
      const time = (performance.now() - start) / 1000;
      found = hash(again.page(1).read(), again.page(PAGES).read());
      if (again.opened.checkpoint?.tick !== made.tick) found = "not from the checkpoint";
      await again.close();
      return time;
    },
    () => readRaw(`${dir}/${made.path}`),
    rounds,
    1,
  );
  rows.push({
    subject: `opening from a checkpoint of ${state}: against a read of the file`,
    ours: rate(made.storedBytes, opened.ours),
    peer: rate(made.storedBytes, opened.peer),
    ratio: opened.ratio,
    spread: opened.spread,
    target: ">= 0.5",
    met: opened.ratio >= 0.5 && found === expected,
    hash: found === expected ? found : `${found} differs from ${expected}`,
  });
  return rows;
}

/** Every byte of every page by a delta. */
async function fillPages(bus: StateBus, fill: Fill): Promise<void> {
  for (let i = 0; i < PAGES; i++) bus.createPage({ size: PAGE_BYTES });
  await bus.commit();
  const payloadBytes = BATCH_PAGES * PAGE_BYTES;
  const batch = new DeltaBatch({ rows: BATCH_PAGES, payloadBytes });
  const next = numbers(SEED), words = new Uint32Array(payloadBytes / 4);
  const payload = new Uint8Array(words.buffer);
  for (let first = 1; first <= PAGES; first += BATCH_PAGES) {
    fill(words, next);
    batch.clear();
    for (let i = 0; i < BATCH_PAGES; i++) {
      batch.push(first + i, 0, payload.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES));
    }
    bus.submit(batch);
    await (await bus.tick()).durable;
  }
}

/** Ticks while a checkpoint is made, against the same number of ticks alone: as many as go, and paced. */
async function ticksMeanwhile(bus: StateBus, state: string, rounds: number): Promise<Row[]> {
  const ticker = new Ticker(bus);
  const flatOut = await ticksBeside(bus, rounds, () => ticker.tickAndWait());
  const slower = flatOut.map(({ beside, alone }) => beside.time / alone.time);
  const longest = (side: "beside" | "alone") =>
    flatOut.map((round) => round[side].longestMs.toFixed(0)).join(" ");
  const last = flatOut[flatOut.length - 1];
  const paced = await ticksBeside(bus, rounds, () => ticker.tickWhenDue());
  const pauses = paced.map(({ beside }) => beside.longestMs);
  const ends = hash(bus.page(ticker.pages[0]).read());
  return [{
    subject: `ticks of ${TICK_ROWS} rows in group mode beside the checkpoint of ${state}: time; ` +
      `longest tick ${longest("beside")} ms, alone ${longest("alone")} ms`,
    ours: `${last.beside.rate.toFixed(0)} ticks/s`,
    peer: `${last.alone.rate.toFixed(0)} ticks/s`,
    ratio: median(slower),
    spread: spread(slower),
    target: "<= 1.3",
    met: median(slower) <= 1.3,
    hash: ends,
  }, {
    subject: `the same, one tick each ${PACE_MS} ms: longest in ms from when it is due to its end`,
    ours: `${median(pauses).toFixed(1)} ms`,
    peer: `${median(paced.map(({ alone }) => alone.longestMs)).toFixed(1)} ms alone`,
    ratio: median(pauses),
    spread: spread(pauses),
    target: "<= 16 ms",
    met: median(pauses) <= 16,
    hash: ends,
  }];
}

/** Ticks of one stretch of time. */
interface Stretch {
  readonly ticks: number;
  readonly time: number;
  /** Ticks a second. */
  readonly rate: number;
  readonly longestMs: number;
}

/** Rounds of ticks beside a checkpoint, and then as many alone. */
async function ticksBeside(
  bus: StateBus,
  rounds: number,
  tick: () => Promise<number>,
): Promise<{ readonly beside: Stretch; readonly alone: Stretch }[]> {
  const stretch = async (goesOn: (ticks: number) => boolean): Promise<Stretch> => {
    let ticks = 0, longestMs = 0;
    const start = performance.now();
    for (; goesOn(ticks); ticks++) longestMs = Math.max(longestMs, await tick());
    const time = (performance.now() - start) / 1000;
    return { ticks, time, rate: ticks / time, longestMs };
  };
  const measured = [];
  for (let round = 0; round < rounds; round++) {
    let isDone = false;
    const made = bus.checkpoint().finally(() => void (isDone = true));
    const beside = await stretch(() => !isDone);
    await made;
    measured.push({ beside, alone: await stretch((ticks) => ticks < beside.ticks) });
  }
  return measured;
}

/** Makes ticks of small changes all over the pages. */
class Ticker {
  readonly pages: Uint32Array;
  readonly #bus: StateBus;
  readonly #offsets: Uint32Array;
  readonly #payload = new Uint8Array(PAYLOAD);
  /** Each is free again with its tick's receipt; a paced program does not wait for that. */
  readonly #batches = Array.from({ length: BATCHES }, () =>
    new DeltaBatch({
      rows: TICK_ROWS,
      payloadBytes: TICK_ROWS * PAYLOAD,
    }));
  #dueMs = 0;

  constructor(bus: StateBus) {
    const next = numbers(SEED);
    this.#bus = bus;
    this.pages = Uint32Array.from({ length: TICK_ROWS }, () => 1 + next() % PAGES);
    this.#offsets = Uint32Array.from({ length: TICK_ROWS }, () => next() % 255 * PAYLOAD);
  }

  /** One tick at once; gives the milliseconds that it took. */
  async tick(): Promise<number> {
    const start = performance.now();
    const batch = await this.#free();
    batch.clear();
    this.#payload[0]++;
    for (let i = 0; i < TICK_ROWS; i++) {
      batch.push(this.pages[i], this.#offsets[i], this.#payload);
    }
    this.#bus.submit(batch);
    await this.#bus.tick();
    return performance.now() - start;
  }

  /** The same, and waits for its receipt, which does not count. */
  async tickAndWait(): Promise<number> {
    const timeMs = await this.tick();
    while (this.#batches.some(({ submitted }) => submitted)) await nextTimer();
    return timeMs;
  }

  /** One tick when it is due; gives the milliseconds from then to its end. */
  async tickWhenDue(): Promise<number> {
    const nowMs = performance.now();
    // The first one, and one after a pause, which has counted once.
    if (nowMs - this.#dueMs > PACE_MS) this.#dueMs = nowMs;
    const dueMs = this.#dueMs += PACE_MS;
    await new Promise((resolve) => void setTimeout(resolve, Math.max(0, dueMs - nowMs)));
    await this.tick();
    return performance.now() - dueMs;
  }

  async #free(): Promise<DeltaBatch> {
    for (;;) {
      const batch = this.#batches.find(({ submitted }) => !submitted);
      if (batch !== undefined) return batch;
      await nextTimer();
    }
  }
}

function nextTimer(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, 0));
}

function spread(values: readonly number[]): [number, number] {
  return [Math.min(...values), Math.max(...values)];
}

function writeRaw(path: string, bytes: number): number {
  const piece = new Uint8Array(2 ** 20).fill(7);
  const start = performance.now();
  const file = Deno.openSync(path, { write: true, create: true, truncate: true });
  for (let at = 0; at < bytes; at += piece.length) {
    file.writeSync(piece.subarray(0, Math.min(piece.length, bytes - at)));
  }
  file.syncDataSync();
  file.close();
  const time = (performance.now() - start) / 1000;
  Deno.removeSync(path);
  return time;
}

function readRaw(path: string): number {
  const start = performance.now();
  const file = Deno.openSync(path, { read: true });
  const target = new Uint8Array(file.statSync().size);
  let at = 0;
  while (at < target.length) at += file.readSync(target.subarray(at)) ?? Infinity;
  file.close();
  return (performance.now() - start) / 1000;
}

function rate(bytes: number, time: number): string {
  return `${(bytes / time / 1e9).toFixed(2)} GB/s`;
}
