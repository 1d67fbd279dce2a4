/**
 * Subject `tick`: whole ticks as a program has them that computes things all day.
 *
 * 10,000 pages of 64 bytes, a tenth of them derived in three levels from 1 to 25 others each, 10,000 rows of
 * 16 bytes a tick, in a file, with group commit. A tick is timed from `submit` to the report: checks, epochs,
 * pages, rules, frames of all rows, derived ones too, written to the file; the disk is waited for beside
 * the next ticks, as group commit does, and at the end. All pages are compared with plain arrays then, and
 * once more after a recovery from the log.
 */

import { defineRule, DeltaBatch, type Page, StateBus } from "../mod.ts";
import { hash, numbers, type Row } from "./_harness.ts";
import { SEED } from "./_work.ts";

const PAGES = 10_000;
const DERIVED = 1000;
const SOURCES: number = PAGES - DERIVED;
const ROWS = 10_000;
const WORDS = 16;
const ROW_WORDS = 4;
const BATCHES = 16;
const WARM_UP = 60;
const TICKS_A_ROUND = 60;
/** Where the levels of derived pages begin, by index of the page. */
const LEVELS: readonly number[] = [0, SOURCES, SOURCES + 900, SOURCES + 990, PAGES];
const FAN_INS: readonly number[] = [1, 1, 2, 2, 4, 4, 8, 25];
const P99_MS_MAX = 4;

const sum = defineRule({
  compute(ctx) {
    const output = ctx.output(0), count = ctx.params as number;
    for (let at = 0; at < 4 * WORDS; at += 4) {
      let sum = 0;
      for (let i = 0; i < count; i++) sum = sum + ctx.input(i).getInt32(at) | 0;
      output.setInt32(at, sum);
    }
  },
});

/** Runs the subject. */
export async function ticks(rounds: number): Promise<Row[]> {
  const dir = Deno.makeTempDirSync();
  try {
    return [await measure(dir, Math.max(1, rounds) * TICKS_A_ROUND)];
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

async function measure(dir: string, count: number): Promise<Row> {
  const next = numbers(SEED), reads = readsOf(next);
  const bus = await StateBus.open({ dir, durability: "group", tickBudgetMs: 1000 });
  const pages = Array.from({ length: PAGES }, () => bus.createPage({ size: 4 * WORDS }));
  reads.forEach((inputs, i) => {
    bus.rule(sum, {
      name: `sum ${i}`,
      inputs: inputs.map((input) => pages[input]),
      outputs: [pages[SOURCES + i]],
      params: inputs.length,
    });
  });
  await bus.commit();
  const batches = Array.from({ length: BATCHES }, () => batchOf(pages, next));
  const model = new Int32Array(PAGES * WORDS), times: number[] = [];
  let fired = 0;
  for (let tick = -WARM_UP; tick < count; tick++) {
    const batch = batches[(tick + WARM_UP) % BATCHES];
    // Rows that come again and change nothing would wake nobody.
    renew(batch, tick);
    const start = performance.now();
    const receipt = bus.submit(batch);
    const report = await bus.tick();
    if (tick >= 0) times.push(performance.now() - start);
    receipt.catch(() => {});
    fired += report.fired;
    if (report.rows !== ROWS) throw new Error(`${report.rows} rows in a tick`);
    addTo(model, batch, pages[0].id);
    // What is on its way to the disk must stay below what a bus lets wait.
    if (tick % BATCHES === 0) await report.durable;
  }
  await bus.commit();
  derive(model, reads);
  compare(model, pages);
  await bus.close();
  const again = await StateBus.open({ dir });
  compare(model, pages.map(({ id }) => again.page(id)));
  await again.close();
  return rowOf(times, fired / (count + WARM_UP), model);
}

function rowOf(times: number[], fired: number, model: Int32Array): Row {
  times.sort((a, b) => a - b);
  const at = (share: number) =>
    times[Math.min(times.length - 1, Math.ceil(share * times.length) - 1)];
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  const p99 = at(0.99), ratio = P99_MS_MAX / p99;
  const ms = (value: number) => `${value.toFixed(2)} ms`;
  return {
    subject: `tick of ${PAGES} pages, ${DERIVED} derived, ${ROWS} deltas, group commit`,
    ours: `mean ${ms(mean)}, p50 ${ms(at(0.5))}, p99 ${ms(p99)}, ${fired.toFixed(0)} rules fired`,
    peer: "",
    ratio,
    spread: [P99_MS_MAX / times[times.length - 1], P99_MS_MAX / times[0]],
    target: "p99 under 4 ms, goal 2 ms",
    met: p99 < P99_MS_MAX,
    hash: hash(new Uint8Array(model.buffer)),
  };
}

/** For each derived page the pages that it is the sum of, by index: others of the level before. */
function readsOf(next: () => number): number[][] {
  return Array.from({ length: DERIVED }, (_, i) => {
    const page = SOURCES + i, level = LEVELS.findIndex((start) => start > page) - 1;
    const first = LEVELS[level - 1], count = LEVELS[level] - first;
    const wanted = Math.min(count, FAN_INS[next() % FAN_INS.length]), inputs = new Set<number>();
    while (inputs.size < wanted) inputs.add(first + next() % count);
    return [...inputs];
  });
}

function batchOf(pages: readonly Page[], next: () => number): DeltaBatch {
  const batch = new DeltaBatch({ rows: ROWS, payloadBytes: 4 * ROW_WORDS * ROWS });
  const { page, offset, length, payloadStart } = batch.columns;
  for (let i = 0; i < ROWS; i++) {
    page[i] = pages[next() % SOURCES].id;
    offset[i] = 4 * ROW_WORDS * (next() % (WORDS / ROW_WORDS));
    payloadStart[i] = 4 * ROW_WORDS * i;
  }
  length.fill(4 * ROW_WORDS);
  batch.setLength(ROWS, 4 * ROW_WORDS * ROWS);
  return batch;
}

function payloadOf({ payload }: DeltaBatch): Int32Array {
  return new Int32Array(payload.buffer, payload.byteOffset, ROW_WORDS * ROWS);
}

function renew(batch: DeltaBatch, tick: number): void {
  const words = payloadOf(batch);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, tick + 1000);
}

/** The same work with plain arrays. */
function addTo(model: Int32Array, batch: DeltaBatch, idOfFirst: number): void {
  const { page, offset } = batch.columns, words = payloadOf(batch);
  for (let i = 0; i < ROWS; i++) {
    const to = (page[i] - idOfFirst) * WORDS + (offset[i] >>> 2);
    for (let k = 0; k < ROW_WORDS; k++) model[to + k] = words[ROW_WORDS * i + k];
  }
}

function derive(model: Int32Array, reads: readonly (readonly number[])[]): void {
  reads.forEach((inputs, i) => {
    for (let word = 0; word < WORDS; word++) {
      let sum = 0;
      for (const input of inputs) sum = sum + model[input * WORDS + word] | 0;
      model[(SOURCES + i) * WORDS + word] = sum;
    }
  });
}

function compare(model: Int32Array, pages: readonly Page[]): void {
  const bytes = new Uint8Array(4 * WORDS), words = new Int32Array(bytes.buffer);
  pages.forEach((page, index) => {
    page.readInto(bytes);
    for (let word = 0; word < WORDS; word++) {
      if (words[word] !== model[index * WORDS + word]) throw new Error(`page ${index} differs`);
    }
  });
}
