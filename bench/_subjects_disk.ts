/** Subjects with a disk: logged ticks, recovery, and the embedded databases that wait for the same sync. */

import { type DeltaBatch, StateBus } from "../mod.ts";
import { hash, interleave, millions, type Row } from "./_harness.ts";
import { besidePeer } from "./_comparison.ts";
import { memoryBus } from "./_subjects_memory.ts";
import {
  bareApply,
  bareMemory,
  emptyBatch,
  fillColumns,
  filledBatch,
  PAGES,
  ROWS,
  SEED,
  signed,
} from "./_work.ts";
import { OURS, TRANSACTION_ROWS, transactions } from "./_work_databases.ts";

const PAGE_BYTES = 4096;
const TICKS = 16;

async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-anchors-" });
  try {
    return await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function makePages(bus: StateBus, pageBytes: number): Promise<void> {
  for (let i = 0; i < PAGES; i++) bus.createPage({ size: pageBytes });
  await bus.commit();
}

async function runTicks(
  bus: StateBus,
  batch: DeltaBatch,
  sources: readonly DeltaBatch[],
  source: number,
) {
  const start = performance.now();
  let durable: Promise<unknown> = Promise.resolve();
  for (let tick = 0; tick < TICKS; tick++) {
    const from = sources[tick % sources.length];
    batch.clear();
    fillColumns(batch, from.columns.page, from.columns.offset, from.payload, source);
    bus.submit(batch);
    const report = await bus.tick();
    durable = report.durable;
  }
  await durable;
  return (performance.now() - start) / 1000;
}

/** Logged ticks in group mode against the same ticks in memory plus the raw write and sync. */
export function logged(rounds: number): Promise<Row[]> {
  return withFolder(async (folder) => {
    await using bus = await StateBus.open({
      dir: `${folder}/bus`,
      memoryLimitBytes: PAGES * PAGE_BYTES + 2 ** 24,
    });
    await makePages(bus, PAGE_BYTES);
    await using inMemory = await memoryBus(PAGE_BYTES);
    const sources = Array.from({ length: 8 }, (_, i) => filledBatch(PAGE_BYTES, SEED + i));
    const batch = emptyBatch(), memoryBatch = emptyBatch();
    const source = batch.source("bench"), memorySource = memoryBatch.source("bench");
    // Warm: segments at full size, code compiled.
    for (let i = 0; i < 6; i++) await runTicks(bus, batch, sources, source);
    const before = bus.stats().logBytes;
    await runTicks(bus, batch, sources, source);
    const bytesPerTick = Math.round((bus.stats().logBytes - before) / TICKS);
    const raw = Deno.openSync(`${folder}/raw`, { write: true, create: true });
    const chunk = new Uint8Array(bytesPerTick).fill(7);
    for (let i = 0; i < TICKS; i++) raw.writeSync(chunk);
    raw.syncSync();
    const writeRaw = () => {
      const start = performance.now();
      raw.seekSync(0, Deno.SeekMode.Start);
      for (let i = 0; i < TICKS; i++) raw.writeSync(chunk);
      raw.syncDataSync();
      return (performance.now() - start) / 1000;
    };
    const peer = async () =>
      await runTicks(inMemory, memoryBatch, sources, memorySource) + writeRaw();
    const measured = await interleave(() => runTicks(bus, batch, sources, source), peer, rounds);
    raw.close();
    const ours = hash(bus.page(1).read(), bus.page(PAGES).read());
    const theirs = hash(inMemory.page(1).read(), inMemory.page(PAGES).read());
    const slower = 1 / measured.ratio;
    const each = bytesPerTick / ROWS;
    return [{
      subject: "logged in group mode, 4 KiB pages: time against memory run + raw write and sync",
      ours: millions(TICKS * ROWS, measured.ours),
      peer: millions(TICKS * ROWS, measured.peer),
      ratio: slower,
      spread: [1 / measured.spread[1], 1 / measured.spread[0]],
      target: "<= 1.25",
      met: slower <= 1.25 && ours === theirs,
      hash: ours === theirs ? ours : `${ours} differs from ${theirs}`,
    }, {
      subject: "log bytes of a delta of 16 bytes, on average",
      ours: `${each.toFixed(1)} B`,
      peer: "",
      ratio: each,
      spread: [each, each],
      target: "<= 40 B",
      met: each <= 40,
      hash: ours,
    }];
  });
}

/** Opening a directory with 10 M deltas against the bare apply loop over the same rows. */
export function recovery(rounds: number): Promise<Row[]> {
  const ticks = Math.ceil(10_000_000 / ROWS);
  const some = Math.min(rounds, 3);
  return withFolder(async (folder) => {
    const rows: Row[] = [];
    for (const [pageBytes, wanted] of [[4096, 0.5], [64, 0]] as const) {
      const dir = `${folder}/bus-${pageBytes}`;
      const options = { dir, memoryLimitBytes: PAGES * pageBytes + 2 ** 24 };
      const sources = Array.from({ length: 8 }, (_, i) => filledBatch(pageBytes, SEED + i));
      {
        await using bus = await StateBus.open(options);
        await makePages(bus, pageBytes);
        for (let tick = 0; tick < ticks; tick++) {
          bus.submit(sources[tick % 8]);
          await bus.tick();
        }
      }
      const words = bareMemory(pageBytes), views = sources.map(signed);
      const bare = () => {
        const start = performance.now();
        for (let tick = 0; tick < ticks; tick++) {
          const { page, offset, start, payload } = views[tick % 8];
          bareApply(words, payload, page, offset, start, ROWS, pageBytes >> 2);
        }
        return (performance.now() - start) / 1000;
      };
      let ours = "";
      const open = async () => {
        const start = performance.now();
        await using bus = await StateBus.open({ ...options, readOnly: true });
        const spent = (performance.now() - start) / 1000;
        ours = hash(bus.page(1).read(), bus.page(PAGES).read());
        return spent;
      };
      const measured = await interleave(open, bare, some, 1);
      const view = new Uint8Array(words.buffer);
      const theirs = hash(
        view.subarray(0, pageBytes),
        view.subarray((PAGES - 1) * pageBytes, PAGES * pageBytes),
      );
      rows.push({
        subject: `recovery of ${
          (ticks * ROWS / 1e6).toFixed(1)
        } M deltas, ${pageBytes}-byte pages, against the bare loop`,
        ours: millions(ticks * ROWS, measured.ours),
        peer: millions(ticks * ROWS, measured.peer),
        ratio: measured.ratio,
        spread: measured.spread,
        target: wanted ? `>= ${wanted}` : "",
        met: measured.ratio >= wanted && ours === theirs,
        hash: ours === theirs ? ours : `${ours} differs from ${theirs}`,
      });
    }
    return rows;
  });
}

async function databaseRow(name: string, target: number, rounds: number): Promise<Row[]> {
  const measured = await besidePeer(transactions, OURS, name, rounds), { same } = measured;
  const rows = transactions.size * TRANSACTION_ROWS;
  return [{
    subject: `${TRANSACTION_ROWS} rows of 16 bytes a durable transaction, against ${name}`,
    ours: millions(rows, measured.ours),
    peer: millions(rows, measured.peer),
    ratio: measured.ratio,
    spread: measured.spread,
    target: `>= ${target}`,
    met: measured.ratio >= target && same,
    hash: measured.hash,
  }];
}

/** node:sqlite, WAL, synchronous FULL, 1000 rows a transaction. */
export function sqlite(rounds: number): Promise<Row[]> {
  return databaseRow("node:sqlite (WAL, FULL)", 5, rounds);
}

/** lmdb, durable puts of the same rows. */
export function lmdb(rounds: number): Promise<Row[]> {
  return databaseRow("lmdb (durable)", 3, rounds);
}
