/** Validator 5 on small work, and on buses that lose, change or delay something. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { ReferenceFold, ThroughputBatches } from "./_throughput_work.ts";
import { FORMS, measureThroughput, throughputMetrics } from "./throughput.ts";

const SMALL = { pages: 500, batches: 2, rows: 20_000, warmUp: 0, rounds: 2, seed: 1 };

async function measure() {
  return await measureThroughput(SMALL, () => {});
}

/** Measures with `submit` replaced, and puts it back. */
async function planted(fault: (batch: DeltaBatch, count: number) => void) {
  const { submit } = StateBus.prototype;
  let count = 0;
  StateBus.prototype.submit = function (batch, options) {
    fault(batch, count++);
    return submit.call(this, batch, options);
  };
  try {
    return throughputMetrics(await measure());
  } finally {
    StateBus.prototype.submit = submit;
  }
}

Deno.test("measureThroughput() measures each form and finds the pages as they should be", async () => {
  const outcome = await measure(), metrics = throughputMetrics(outcome);
  assert.deepEqual([metrics.wrongPages, metrics.deltas], [0, 80_000]);
  FORMS.forEach((form, i) => {
    const { rows, seconds, workers } = outcome.forms[i];
    assert.equal(metrics[form], rows / seconds);
    assert.equal(workers > 0, form.startsWith("workers"));
  });
  assert(outcome.forms[1].rowsOfWorkers > 0);
});

Deno.test("ReferenceFold is what rows do one after the other", () => {
  const fold = new ReferenceFold(3), batch = new DeltaBatch({ rows: 3, payloadBytes: 48 });
  const bytes = (value: number) => new Uint8Array(16).fill(value);
  batch.push(2, 16, bytes(1));
  batch.push(2, 16, bytes(2));
  batch.push(3, 0, bytes(3));
  fold.add(batch);
  assert.deepEqual([...fold.epochs], [0, 2, 1]);
  const expected = new Uint8Array(192);
  expected.fill(2, 80, 96).fill(3, 128, 144);
  assert.deepEqual(new Uint8Array(fold.words.buffer), expected);
});

Deno.test("ThroughputBatches.fill() gives the same rows for a round again, and others for another", () => {
  const batches = new ThroughputBatches(SMALL), [, second] = batches.batches;
  batches.fill(1);
  const pages = second.columns.page.slice(), payload = second.payload.slice();
  batches.fill(0);
  assert.notDeepEqual(second.columns.page, pages);
  batches.fill(1);
  assert.deepEqual([second.columns.page, second.payload], [pages, payload]);
  assert(pages.every((page) => page >= 1 && page <= SMALL.pages));
});

Deno.test("measureThroughput() finds a changed byte, a lost row and a row too many", async () => {
  const changed = await planted((batch, count) => {
    if (count === 3) batch.payload[16 * SMALL.rows - 1] ^= 1;
  });
  assert.equal(changed.wrongPages, 1);
  const lost = await planted((batch, count) => {
    if (count === 3) batch.setLength(SMALL.rows - 1, 16 * SMALL.rows);
    else batch.setLength(SMALL.rows, 16 * SMALL.rows);
  });
  assert.equal(lost.wrongPages, 1);
  assert.equal(lost.deltas, 79_999);
  const moved = await planted((batch, count) => {
    if (count === 0) batch.columns.page[0] = batch.columns.page[0] % SMALL.pages + 1;
  });
  assert(moved.wrongPages >= 2);
});

Deno.test("measureThroughput() times what ticks take", async () => {
  const { tick } = StateBus.prototype;
  StateBus.prototype.tick = async function () {
    const report = await tick.call(this);
    if (report.rows > 0) await new Promise((resolve) => setTimeout(resolve, 60));
    return report;
  };
  try {
    const metrics = throughputMetrics(await measure());
    for (const form of FORMS) assert(metrics[form] < 1_000_000, `${form}: ${metrics[form]}`);
  } finally {
    StateBus.prototype.tick = tick;
  }
});

/** Measures with the workers' rows hidden as often as said when they are asked for. */
async function withHiddenWorkers(times: number) {
  const { stats } = StateBus.prototype;
  let hidden = 0;
  StateBus.prototype.stats = function () {
    const found = stats.call(this);
    if (found.workers === undefined || hidden === times) return found;
    hidden++;
    return { ...found, workers: found.workers.map((worker) => ({ ...worker, checked: 0 })) };
  };
  try {
    return await measure();
  } finally {
    StateBus.prototype.stats = stats;
  }
}

Deno.test("measureThroughput() goes on until workers take part, and compares all of it", async () => {
  const { forms, ...rest } = await withHiddenWorkers(3), [oneThread, workers] = forms;
  assert(workers.rows >= 80_000 + 3 * 40_000, `${workers.rows} rows`);
  assert(workers.rowsOfWorkers > 0);
  assert.equal(oneThread.rows, 80_000);
  const metrics = throughputMetrics({ forms, ...rest });
  assert.deepEqual([metrics.wrongPages, metrics.deltas], [0, 80_000]);
});

Deno.test("measureThroughput() refuses workers that leave all rows to one thread", async () => {
  await assert.rejects(withHiddenWorkers(Infinity), /workers that checked none of the rows/);
});
