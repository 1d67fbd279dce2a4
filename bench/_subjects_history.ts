/** Subjects of the past: the history of one page by index and by scan, and a state of the past. */

import { type DeltaBatch, StateBus } from "../mod.ts";
import { readMeta, recover } from "../src/log/mod.ts";
import { FileStorage } from "../src/log/mod.ts";
import { scanHistory } from "../src/model/history_scan.ts";
import { PageStore } from "../src/physical/mod.ts";
import { hash, interleave, numbers, type Row } from "./_harness.ts";
import {
  emptyBatch,
  fillColumns,
  PAGES,
  randomOffsets,
  randomPages,
  randomPayload,
  ROWS,
  SEED,
} from "./_work.ts";

const PAGE_BYTES = 256;
const DELTAS = 1_000_000;
const TICKS = Math.ceil(DELTAS / ROWS);
const MEMORY_BYTES = PAGES * PAGE_BYTES + 2 ** 24;

/** A directory with 1,000,000 deltas of 16 bytes over some pages, and the bus that wrote it. */
export async function written(
  dir: string,
  pages: number,
  ticks = TICKS,
  rows = ROWS,
): Promise<StateBus> {
  const bus = await StateBus.open({ dir, memoryLimitBytes: MEMORY_BYTES });
  for (let i = 0; i < pages; i++) bus.createPage({ size: PAGE_BYTES });
  await bus.commit();
  const batch = emptyBatch(rows), next = numbers(SEED);
  for (let tick = 0; tick < ticks; tick++) {
    fill(batch, next, pages);
    bus.submit(batch);
    await (await bus.tick()).durable;
    batch.clear();
  }
  return bus;
}

function fill(batch: DeltaBatch, next: () => number, pages: number): void {
  const rows = batch.rowsMax;
  fillColumns(
    batch,
    randomPages(next, rows, pages),
    randomOffsets(next, PAGE_BYTES, rows),
    randomPayload(next, rows),
    batch.source("bench"),
  );
}

function milliseconds(time: number): string {
  return `${(time * 1000).toFixed(time < 0.01 ? 2 : 0)} ms`;
}

/** The history of one page among 1,000,000 deltas, warm, against a scan; and `bus.at`. */
export async function history(rounds: number): Promise<Row[]> {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-anchors-" });
  const rows: Row[] = [];
  try {
    for (const pages of [PAGES, 100]) {
      await using bus = await written(`${folder}/${pages}`, pages);
      rows.push(...await pageRows(bus, `${folder}/${pages}`, pages, rounds));
      if (pages === PAGES) rows.push(await atRow(bus, `${folder}/${pages}`, rounds));
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  return rows;
}

async function pageRows(
  bus: StateBus,
  dir: string,
  pages: number,
  rounds: number,
): Promise<Row[]> {
  const storage = new FileStorage(dir), meta = readMeta(storage);
  const page = pages >> 1;
  let ours = "", theirs = "", deltas = 0;
  const byIndex = async () => {
    const parts: Uint8Array[] = [];
    const start = performance.now();
    for await (const { before, after } of bus.history(page)) parts.push(before, after);
    const spent = (performance.now() - start) / 1000;
    deltas = parts.length / 2;
    ours = hash(...parts);
    return spent;
  };
  const byScan = () => {
    const start = performance.now();
    const found = scanHistory(storage, meta, page, bus.tickNumber);
    const spent = (performance.now() - start) / 1000;
    theirs = hash(...found.flatMap(({ before, after }) => [before, after]));
    return spent;
  };
  const first = await byIndex();
  const measured = await interleave(byIndex, byScan, Math.min(rounds, 5), 1);
  const same = ours === theirs;
  const wanted = pages === PAGES;
  return [{
    subject: `history of one page, ${deltas} of ${
      (TICKS * ROWS / 1e6).toFixed(2)
    } M deltas, ${pages} pages, warm, against a scan (first look ${milliseconds(first)})`,
    ours: milliseconds(measured.ours),
    peer: milliseconds(measured.peer),
    ratio: measured.ratio,
    spread: measured.spread,
    target: wanted ? "< 5 ms" : "",
    met: same && (!wanted || measured.ours < 0.005),
    hash: same ? ours : `${ours} differs from ${theirs}`,
  }];
}

/** A state of the past against a replay of the ticks that lead to it. */
async function atRow(bus: StateBus, dir: string, rounds: number): Promise<Row> {
  const storage = new FileStorage(dir), meta = readMeta(storage);
  const tick = bus.tickNumber - 1;
  let ours = "", theirs = "";
  const measured = await interleave(
    async () => {
      const start = performance.now();
      await using past = await bus.at({ tick });
      const spent = (performance.now() - start) / 1000;
      ours = past.digest();
      return spent;
    },
    async () => {
      const store = new PageStore(MEMORY_BYTES);
      const start = performance.now();
      recover(storage, meta, store, tick);
      const spent = (performance.now() - start) / 1000;
      await using same = await bus.at({ tick });
      theirs = same.digest();
      return spent;
    },
    Math.min(rounds, 5),
    1,
  );
  const times = 1 / measured.ratio;
  const met = ours === theirs && times < 2;
  return {
    subject: "bus.at within one checkpoint interval: time against a replay of it",
    ours: milliseconds(measured.ours),
    peer: milliseconds(measured.peer),
    ratio: times,
    spread: [1 / measured.spread[1], 1 / measured.spread[0]],
    target: "< 2",
    met,
    hash: ours.slice(0, 8),
  };
}
