/**
 * Checkpoints: a state of 1 GiB written beside ticks, and read back, against the bare disk.
 *
 * Twice: with random bytes, which are stored as they are, and with rows of prices and counters, which
 * shrink some 3 times. What the disk is asked for are the bytes as stored; reading is from a warm cache on
 * both sides, into memory that was not touched before.
 */

import { DeltaBatch, StateBus } from "../mod.ts";
import { hash, interleave, median, numbers, type Row } from "./_harness.ts";

const PAGE_BYTES = 4096;
const PAGES = 2 ** 18;
const BATCH_PAGES = 4096;
const TICK_ROWS = 4096;
const PAYLOAD = 16;
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

/** Ticks while a checkpoint is made, against the same number of ticks alone. */
async function ticksMeanwhile(bus: StateBus, state: string, rounds: number): Promise<Row[]> {
  const batch = new DeltaBatch({ rows: TICK_ROWS, payloadBytes: TICK_ROWS * PAYLOAD });
  const next = numbers(SEED), payload = new Uint8Array(PAYLOAD);
  const pages = Uint32Array.from({ length: TICK_ROWS }, () => 1 + next() % PAGES);
  const offsets = Uint32Array.from({ length: TICK_ROWS }, () => next() % 255 * PAYLOAD);
  const tick = async (): Promise<number> => {
    const start = performance.now();
    batch.clear();
    payload[0]++;
    for (let i = 0; i < TICK_ROWS; i++) batch.push(pages[i], offsets[i], payload);
    bus.submit(batch);
    await bus.tick();
    // Its receipt: the batch is free again.
    const time = performance.now() - start;
    while (batch.submitted) await new Promise((resolve) => void setTimeout(resolve, 0));
    return time;
  };
  const slower: number[] = [], longest: number[] = [], alone: number[] = [];
  let rate = "", rateAlone = "";
  for (let round = 0; round < rounds; round++) {
    const meanwhile: number[] = [];
    let isDone = false;
    const made = bus.checkpoint().finally(() => void (isDone = true));
    const start = performance.now();
    while (!isDone) meanwhile.push(await tick());
    const time = performance.now() - start;
    await made;
    const bare: number[] = [];
    const startAlone = performance.now();
    for (let i = 0; i < meanwhile.length; i++) bare.push(await tick());
    const timeAlone = performance.now() - startAlone;
    slower.push(time / timeAlone);
    longest.push(Math.max(...meanwhile));
    alone.push(Math.max(...bare));
    rate = `${(meanwhile.length / time * 1000).toFixed(0)} ticks/s`;
    rateAlone = `${(meanwhile.length / timeAlone * 1000).toFixed(0)} ticks/s`;
  }
  const spread = (values: readonly number[]): [number, number] => [
    Math.min(...values),
    Math.max(...values),
  ];
  const ends = hash(bus.page(pages[0]).read());
  return [{
    subject: `ticks of ${TICK_ROWS} rows in group mode beside the checkpoint of ${state}: time`,
    ours: rate,
    peer: rateAlone,
    ratio: median(slower),
    spread: spread(slower),
    target: "<= 1.3",
    met: median(slower) <= 1.3,
    hash: ends,
  }, {
    subject: `longest tick in ms meanwhile; alone ${median(alone).toFixed(1)}`,
    ours: `${median(longest).toFixed(1)} ms`,
    peer: "",
    ratio: median(longest),
    spread: spread(longest),
    target: "<= 16 ms",
    met: median(longest) <= 16,
    hash: ends,
  }];
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
