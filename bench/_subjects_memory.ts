/** Subjects without a disk: the apply kernel, submit and tick, page handles, heap and residency. */

import { DeltaBatch, StateBus } from "../mod.ts";
import { applyRows, countEpochs, PageStore, resolve } from "../src/physical/mod.ts";
import { collect, hash, interleave, median, millions, type Row, seconds } from "./_harness.ts";
import {
  bareApply,
  bareMemory,
  emptyBatch,
  fillColumns,
  filledBatch,
  PAGES,
  PAYLOAD,
  ROWS,
  SEED,
  signed,
} from "./_work.ts";

const BATCHES = 8;

function bareRun(pageBytes: number, batches: readonly DeltaBatch[]) {
  const words = bareMemory(pageBytes);
  const views = batches.map(signed);
  const run = () =>
    seconds(() => {
      for (const { page, offset, start, payload } of views) {
        bareApply(words, payload, page, offset, start, ROWS, pageBytes >> 2);
      }
    });
  return { words, run };
}

/** The apply kernel against the bare loop. */
export async function apply(rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [pageBytes, target] of [[4096, 0.9], [64, 0.55]] as const) {
    const batches = Array.from({ length: BATCHES }, (_, i) => filledBatch(pageBytes, SEED + i));
    const bare = bareRun(pageBytes, batches);
    const store = new PageStore(PAGES * pageBytes + 2 ** 24);
    for (let id = 1; id <= PAGES; id++) {
      store.table.setActive(store.create(id, { size: pageBytes, shard: 0, name: "" }), true);
    }
    const shapes = batches.map((batch) => {
      return resolve({
        columns: batch.kernel,
        rows: ROWS,
        payloadLength: batch.payloadLength,
        strings: 2,
      }, store.table);
    });
    const kernel = () =>
      seconds(() => {
        batches.forEach((batch, i) => applyRows(batch.kernel, ROWS, shapes[i], store.arena));
      });
    const whole = () =>
      seconds(() => {
        for (const batch of batches) {
          const shape = resolve({
            columns: batch.kernel,
            rows: ROWS,
            payloadLength: batch.payloadLength,
            strings: 2,
          }, store.table);
          countEpochs(batch.kernel, ROWS, store.table.epochs);
          applyRows(batch.kernel, ROWS, shape, store.arena);
        }
      });
    for (
      const [name, run, wanted] of [["apply", kernel, target], [
        "check + epochs + apply",
        whole,
        0,
      ]] as const
    ) {
      const measured = await interleave(run, bare.run, rounds);
      const ours = hash(
        ...Array.from({ length: 64 }, (_, i) => store.view(store.table.rowOf(1 + i * 1024))),
      );
      const peer = hash(
        ...Array.from(
          { length: 64 },
          (_, i) => new Uint8Array(bare.words.buffer, i * 1024 * pageBytes, pageBytes),
        ),
      );
      rows.push({
        subject: `${name}, ${pageBytes}-byte pages, against the bare loop`,
        ours: millions(BATCHES * ROWS, measured.ours),
        peer: millions(BATCHES * ROWS, measured.peer),
        ratio: measured.ratio,
        spread: measured.spread,
        target: wanted ? `>= ${wanted}` : "",
        met: measured.ratio >= wanted && ours === peer,
        hash: ours === peer ? ours : `${ours} differs from ${peer}`,
      });
    }
  }
  return rows;
}

/** A bus in memory with all pages. */
export async function memoryBus(pageBytes: number): Promise<StateBus> {
  const bus = await StateBus.open({ memoryLimitBytes: PAGES * pageBytes + 2 ** 24 });
  for (let i = 0; i < PAGES; i++) bus.createPage({ size: pageBytes });
  await bus.tick();
  return bus;
}

/** Filling or pushing, submitting and ticking, against the bare apply loop. */
export async function submit(rounds: number): Promise<Row[]> {
  const pageBytes = 4096;
  const sources = Array.from({ length: BATCHES }, (_, i) => filledBatch(pageBytes, SEED + i));
  const bare = bareRun(pageBytes, sources);
  await using bus = await memoryBus(pageBytes);
  const batch = emptyBatch();
  const source = batch.source("bench");
  const rows: Row[] = [];
  const fill = (from: DeltaBatch) => {
    const { page, offset } = from.columns;
    fillColumns(batch, page, offset, from.payload, source);
  };
  const scratch = new Uint8Array(PAYLOAD), words = new Int32Array(scratch.buffer);
  const push = (from: DeltaBatch) => {
    const { page, offset } = from.columns, { payload } = signed(from);
    for (let i = 0; i < ROWS; i++) {
      for (let k = 0; k < 4; k++) words[k] = payload[4 * i + k];
      batch.push(page[i], offset[i], scratch, source);
    }
  };
  const variants = [
    ["filled columns, submit + tick", fill, 0.45],
    ["push, submit + tick", push, 0.3],
  ] as const;
  for (const [name, stage, target] of variants) {
    const run = async () => {
      const start = performance.now();
      for (const from of sources) {
        batch.clear();
        stage(from);
        const receipt = bus.submit(batch);
        await bus.tick();
        await receipt;
      }
      return (performance.now() - start) / 1000;
    };
    const measured = await interleave(run, bare.run, rounds);
    const ours = hash(...Array.from({ length: 64 }, (_, i) => bus.page(1 + i * 1024).read()));
    const peer = hash(
      ...Array.from(
        { length: 64 },
        (_, i) => new Uint8Array(bare.words.buffer, i * 1024 * pageBytes, pageBytes),
      ),
    );
    rows.push({
      subject: `${name}, 4 KiB pages, in memory, against the bare loop`,
      ours: millions(BATCHES * ROWS, measured.ours),
      peer: millions(BATCHES * ROWS, measured.peer),
      ratio: measured.ratio,
      spread: measured.spread,
      target: `>= ${target}`,
      met: measured.ratio >= target && ours === peer,
      hash: ours === peer ? ours : `${ours} differs from ${peer}`,
    });
  }
  return rows;
}

/** Single calls through a page handle. */
export async function handle(rounds: number): Promise<Row[]> {
  await using bus = await StateBus.open({ memoryLimitBytes: 2 ** 26 });
  const pages = Array.from({ length: 64 }, () => bus.createPage({ size: 4096 }));
  await bus.tick();
  const calls = 65_536;
  const target = new Uint8Array(64), bytes = new Uint8Array(8).fill(7);
  let sum = 0;
  const time = async (body: (page: typeof pages[number], i: number) => void, ticks: boolean) => {
    const times: number[] = [];
    for (let round = 0; round < rounds + 3; round++) {
      const spent = seconds(() => {
        for (let i = 0; i < calls; i++) body(pages[i & 63], i);
      });
      if (ticks) await bus.tick();
      if (round >= 3) times.push(spent / calls * 1e9);
    }
    return times;
  };
  const rows: Row[] = [];
  const add = async (
    subject: string,
    limit: number,
    body: (page: typeof pages[number], i: number) => void,
    ticks = false,
  ) => {
    const times = await time(body, ticks);
    const ns = median(times);
    rows.push({
      subject,
      ours: `${ns.toFixed(0)} ns`,
      peer: "",
      ratio: ns,
      spread: [Math.min(...times), Math.max(...times)],
      target: `< ${limit} ns`,
      met: ns < limit,
      hash: hash(target),
    });
  };
  await add("page.readInto of 64 bytes", 60, (page, i) => {
    page.readInto(target, (i & 63) << 4);
    sum += target[0];
  });
  await add("page.read of 64 bytes", 250, (page, i) => {
    sum += page.read((i & 63) << 4, 64)[0];
  });
  await add(
    "page.write of 8 bytes, staged",
    150,
    (page, i) => page.write((i & 255) << 3, bytes),
    true,
  );
  await add("page.write of 8 bytes with a source, staged", 150, (page, i) => {
    page.write((i & 255) << 3, bytes, SOURCE);
  }, true);
  if (sum === -1) throw new Error("unreachable");
  return rows;
}

const SOURCE = { source: "feed-a" };

/** Heap growth over 10,000,000 deltas through fill, submit and tick. */
export async function heap(): Promise<Row[]> {
  await using bus = await memoryBus(64);
  const batch = filledBatch(64, SEED);
  const once = async () => {
    const receipt = bus.submit(batch);
    await bus.tick();
    await receipt;
  };
  for (let i = 0; i < 40; i++) await once();
  collect();
  const batches = Math.ceil(10_000_000 / ROWS);
  const before = Deno.memoryUsage().heapUsed;
  for (let i = 0; i < batches; i++) await once();
  // Without a collector to call, garbage of ticks counts too: a bound from above.
  collect();
  const grown = Deno.memoryUsage().heapUsed - before;
  const each = grown / (batches * ROWS);
  return [{
    subject: "heap growth a delta over 10 M deltas, submit + tick",
    ours: `${each.toFixed(4)} B (${(grown / 1024).toFixed(0)} KiB in all)`,
    peer: "",
    ratio: each,
    spread: [each, each],
    target: "< 0.05 B",
    met: each < 0.05,
    hash: hash(bus.page(1).read()),
  }];
}

/** Resident growth of one million touched pages of 1 KiB. */
export async function memory(): Promise<Row[]> {
  const count = 1_000_000, size = 1024;
  await using bus = await StateBus.open({ memoryLimitBytes: 2 ** 31 });
  const warm = bus.createPage({ size });
  await bus.commit(() => warm.write(0, new Uint8Array(size).fill(1)));
  collect();
  const before = Deno.memoryUsage().rss;
  const batch = new DeltaBatch({ rows: 8192, payloadBytes: 8192 * 4 });
  const word = new Uint8Array(4).fill(1);
  for (let i = 0; i < count; i += 8192) {
    batch.clear();
    for (let k = i; k < Math.min(count, i + 8192); k++) {
      const { id } = bus.createPage({ size });
      batch.push(id, k % (size / 4) * 4, word);
    }
    const receipt = bus.submit(batch);
    await bus.tick();
    await receipt;
  }
  collect();
  const grown = Deno.memoryUsage().rss - before;
  const stats = bus.stats();
  return [{
    subject: "resident growth of 1,000,000 touched pages of 1 KiB",
    ours: `${(grown / count).toFixed(1)} B a page (bookkeeping ${
      (stats.bookkeepingBytes / stats.pages).toFixed(1)
    } B)`,
    peer: "",
    ratio: grown / 2 ** 30,
    spread: [grown / 2 ** 30, grown / 2 ** 30],
    target: "<= 1 (2^30 bytes)",
    met: grown <= 2 ** 30,
    hash: hash(bus.page(count).read()),
  }];
}
