/**
 * Throughput: 10,000,000 deltas in one thread, in workers, logged with each durability; all kinds and sizes, hot
 * pages, many producers, small and huge ticks, and a source that 10,000 rules read.
 *
 * Each form ends with a comparison: all bytes and epochs of the bus with a plain fold of the same rows, of a logged
 * form also of the directory opened again, and the counts of receipts, bus and log with each other. Rates are told and
 * not judged; beside each stands its ratio to the fold, which did the same rows in the same run without a bus.
 *
 * `deno run -A stress/throughput.ts --scale 0.1`
 */

import assert from "node:assert/strict";
import { type OpenOptions, StateBus } from "../src/bus/mod.ts";
import { auditLog, FileStorage } from "../src/log/mod.ts";
import type { DeltaBatch } from "../src/physical/mod.ts";
import {
  batchFor,
  type DeltaStream,
  hot,
  KINDS,
  ONE_PAGE,
  producerStream,
  SIZES,
  small,
  Xorshift,
} from "./_delta_streams.ts";
import { runFanOut } from "./_fan_out.ts";
import { Fold } from "./_fold.ts";
import type { ProducerAnswer, ProducerTask } from "./_producer_worker.ts";
import { isProgram, programOf, type StressSuite } from "./_program.ts";
import {
  count,
  inFolder,
  perSecond,
  scaled,
  StressLog,
  type StressOptions,
  type StressReport,
} from "./_report.ts";

/** Deltas of a form, at scale 1. */
const DELTAS = 10_000_000;
/** Rows that are filled at a time, and then given to the bus. */
const ROUND_ROWS = 1_000_000;
const PAGES = 65_536;
const PAGES_SHORT = 2048;
const SMALL_TICKS = 50_000;
const PRODUCERS = 4;
const OPEN = { memoryLimitBytes: 2 ** 30 } as const;

interface Form {
  readonly what: string;
  readonly stream: DeltaStream;
  readonly open?: OpenOptions;
  /** Rows, at scale 1. */
  readonly deltas?: number;
  /** Rows of a batch, in place of the stream's. */
  readonly batchRows?: number;
  /** Rows of a round, all of which the bus has before its next tick. */
  readonly roundRows?: number;
}

const WORKERS: OpenOptions = { workers: Math.max(2, navigator.hardwareConcurrency) };

/** The forms over so many pages. */
function formsOf(pages: number): readonly Form[] {
  const everywhere = small(pages), hotPages = hot(pages);
  return [
    { what: "one thread, in memory", stream: everywhere },
    { what: "workers, in memory", stream: everywhere, open: WORKERS },
    ...(["memory", "buffered", "group", "always"] as const).map((durability) => ({
      what: `one thread, logged, durability ${durability}`,
      stream: everywhere,
      open: { durability },
    })),
    {
      what: "workers, logged, durability group",
      stream: everywhere,
      open: { ...WORKERS, durability: "group" },
    },
    { what: "all kinds, logged", stream: KINDS, open: { durability: "group" } },
    {
      what: "all kinds, workers, logged",
      stream: KINDS,
      open: { ...WORKERS, durability: "group" },
    },
    { what: "all sizes, logged", stream: SIZES, open: { durability: "group" } },
    { what: "one hot page, logged", stream: ONE_PAGE, open: { durability: "group" } },
    { what: "one hot page, workers", stream: ONE_PAGE, open: WORKERS },
    { what: "hot pages, logged", stream: hotPages, open: { durability: "group" } },
    {
      what: "ticks of one row, logged",
      stream: everywhere,
      open: { durability: "group" },
      deltas: SMALL_TICKS,
      batchRows: 1,
      roundRows: 1,
    },
    {
      what: "one tick of all rows, logged",
      stream: everywhere,
      open: { durability: "group", tickRowsMax: DELTAS },
      batchRows: DELTAS / 4,
      roundRows: DELTAS,
    },
  ];
}

/** Runs all forms. */
export async function runThroughput(options: StressOptions): Promise<StressReport> {
  const log = new StressLog("throughput", options);
  // A short run is not to spend its time on pages.
  for (const form of formsOf(options.scale < 0.01 ? PAGES_SHORT : PAGES)) {
    options.progress(`${form.what} …`);
    if (form.open?.durability === undefined) await runForm(form, options, log, form.open ?? {});
    else {
      await inFolder("throughput", (dir) => runForm(form, options, log, { ...form.open, dir }));
    }
  }
  options.progress("many producers …");
  await inFolder("throughput", (dir) => runProducers(dir, options, log));
  options.progress("wide fan-out …");
  await inFolder("throughput", (dir) => runFanOut(dir, options, log));
  log.notes.push(
    "Rates count from the submission of rows that are there to the acknowledgement of the last one, all rounds. The fold's " +
      "time is that of a plain loop over the same rows; 0.5 of it means that the bus took twice as long.",
  );
  return log.report();
}

async function runForm(
  form: Form,
  { scale, seed }: StressOptions,
  log: StressLog,
  open: OpenOptions,
): Promise<void> {
  const { stream } = form, deltas = scaled(form.deltas ?? DELTAS, scale, 1000);
  const batchRows = Math.min(
    deltas,
    form.batchRows === undefined ? stream.rows : scaledRows(form.batchRows, scale),
  );
  const roundRows = Math.min(
    deltas,
    form.roundRows === undefined ? ROUND_ROWS : scaledRows(form.roundRows, scale),
  );
  const fold = new Fold(stream.pages, stream.pageBytes), random = new Xorshift(seed);
  const batches = Array.from(
    { length: Math.ceil(roundRows / batchRows) },
    () => batchFor(stream, batchRows),
  );
  const options = { ...OPEN, ...open };
  const bus = await StateBus.open(options);
  let seconds = 0, acknowledged = 0, ticks: number;
  try {
    if (options.workers) assert.equal(bus.opened.workers?.count, options.workers, "workers");
    for (let i = 0; i < stream.pages; i++) bus.createPage({ size: stream.pageBytes });
    await bus.commit();
    const first = bus.tickNumber;
    for (let left = deltas; left > 0;) {
      const filled: DeltaBatch[] = [];
      for (const batch of batches) {
        const rows = Math.min(left, batchRows);
        if (rows === 0) break;
        batch.clear();
        stream.fill(batch, rows, random);
        fold.add(batch);
        filled.push(batch);
        left -= rows;
      }
      const start = performance.now();
      const receipts = filled.map((batch) => bus.submit(batch));
      for (let done = 0; done < filled.length;) done += (await bus.tick()).batches;
      for (const { rows } of await Promise.all(receipts)) acknowledged += rows;
      seconds += (performance.now() - start) / 1000;
    }
    ticks = bus.tickNumber - first;
    fold.check(bus, "the bus");
    assert.equal(acknowledged, deltas, "rows that receipts acknowledged");
    assert.equal(bus.stats().rows, deltas, "rows that the bus counted");
    assert.equal(bus.stats().refused, 0, "batches refused");
  } finally {
    await bus.close();
  }
  const checked = [`${count(fold.pages)} pages beside a fold, counts`];
  if (options.dir !== undefined) {
    await checkLog(options.dir, fold);
    checked.push("opened again, log audited");
  }
  log.add({
    what: form.what,
    amount: `${count(deltas)} deltas (${stream.what}) in ${count(ticks)} ticks`,
    rate: `${perSecond(deltas, seconds)}, ${(fold.seconds / seconds).toFixed(2)} of the fold`,
    checked: checked.join("; "),
    figures: { deltas, ticks, seconds, foldSeconds: fold.seconds, perSecond: deltas / seconds },
  });
}

/** The share of rows that must divide into whole batches. */
function scaledRows(rows: number, scale: number): number {
  return rows === 1 ? 1 : scaled(rows, scale, 250);
}

/** Opens a directory again, compares it, and has every byte of its log checked. */
async function checkLog(dir: string, fold: Fold): Promise<void> {
  {
    await using again = await StateBus.open({ dir, readOnly: true });
    fold.check(again, "the directory opened again");
  }
  const audit = auditLog(new FileStorage(dir));
  assert.deepEqual(audit.problems, []);
  assert.equal(audit.validDeltas, fold.rows, "deltas in the log");
}

/** Threads that are attached to the bus, all sending at once, and the bus's own thread beside them. */
async function runProducers(
  dir: string,
  { scale, seed }: StressOptions,
  log: StressLog,
): Promise<void> {
  const perBatch = producerStream(0, PRODUCERS).rows;
  const batches = scaled(DELTAS / perBatch / PRODUCERS, scale);
  const deltas = PRODUCERS * batches * perBatch;
  const { pages, pageBytes } = producerStream(0, PRODUCERS), fold = new Fold(pages, pageBytes);
  const bus = await StateBus.open({ ...OPEN, dir });
  const workers: Worker[] = [];
  let seconds: number, ticks: number;
  try {
    for (let i = 0; i < pages; i++) bus.createPage({ size: pageBytes });
    await bus.commit();
    const first = bus.tickNumber, start = performance.now();
    const shared = bus.share();
    let ended = 0;
    const ends = Array.from({ length: PRODUCERS }, async (_, producer) => {
      try {
        return await produce(workers, {
          shared,
          producer,
          producers: PRODUCERS,
          batches,
          seed: seed + producer,
        });
      } finally {
        ended++;
      }
    });
    while (ended < PRODUCERS) {
      const { rows } = await bus.tick();
      await new Promise((resolve) => setTimeout(resolve, rows === 0 ? 1 : 0));
    }
    const rows = (await Promise.all(ends)).reduce((sum, each) => sum + each, 0);
    seconds = (performance.now() - start) / 1000;
    ticks = bus.tickNumber - first;
    assert.equal(rows, deltas, "rows that the producers' receipts acknowledged");
    assert.equal(bus.stats().rows, deltas, "rows that the bus counted");
    for (let producer = 0; producer < PRODUCERS; producer++) {
      const stream = producerStream(producer, PRODUCERS), random = new Xorshift(seed + producer);
      const batch = batchFor(stream);
      for (let i = 0; i < batches; i++) {
        batch.clear();
        stream.fill(batch, stream.rows, random);
        fold.add(batch);
      }
    }
    fold.check(bus, "the bus");
  } finally {
    for (const worker of workers) worker.terminate();
    await bus.close();
  }
  await checkLog(dir, fold);
  log.add({
    what: `${PRODUCERS} attached threads, logged`,
    amount: `${count(deltas)} deltas in ${count(ticks)} ticks`,
    rate: `${perSecond(deltas, seconds)} with filling, ${
      (fold.seconds / seconds).toFixed(2)
    } of the fold`,
    checked: `${count(pages)} pages beside a fold, counts; opened again, log audited`,
    figures: { deltas, ticks, seconds, foldSeconds: fold.seconds, perSecond: deltas / seconds },
  });
}

/** One producer's thread; gives the rows that were acknowledged to it. */
function produce(workers: Worker[], task: ProducerTask): Promise<number> {
  const worker = new Worker(new URL("./_producer_worker.ts", import.meta.url), { type: "module" });
  workers.push(worker);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  worker.onmessage = ({ data }: MessageEvent<ProducerAnswer>) => {
    if ("rows" in data) resolve(data.rows);
    else reject(new Error(data.error));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  worker.postMessage(task);
  return promise;
}

/** The suite. */
export const throughputSuite: StressSuite = {
  name: "throughput",
  summary:
    "10 M deltas in each of 15 forms: threads, durability, kinds, sizes, hot pages; fan-out, small ticks",
  run: runThroughput,
};

if (isProgram(import.meta)) Deno.exit(await programOf(throughputSuite, Deno.args));
