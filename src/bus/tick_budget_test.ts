/** Tests of the enforced budget: what a tick takes, what it leaves, under a clock that the test moves. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryStorage } from "../log/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import type { BusClock } from "./options.ts";
import { StateBus } from "./state_bus.ts";

function batchOf(page: number, rows: number, byte: number): DeltaBatch {
  const batch = new DeltaBatch({ rows, payloadBytes: 4 * rows });
  for (let row = 0; row < rows; row++) batch.push(page, row % 8, Uint8Array.of(byte));
  return batch;
}

/** A clock on which every look takes some time, so that ticks take what the test wants. */
class SteeredClock implements BusClock {
  lookMs = 0;
  #ms = 0;
  nowUs(): number {
    return 1_767_225_600_000_000 + this.#ms * 1000;
  }
  errorUs(): number {
    return 0;
  }
  monotonicMs(): number {
    return this.#ms += this.lookMs;
  }
}

Deno.test("StateBus.tick() with tickRowsMax takes the same batches in every run, whole and in order", async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 20 });
  await fc.assert(fc.asyncProperty(sizes, fc.integer({ min: 1, max: 12 }), async (rows, most) => {
    await using bus = await StateBus.open({ tickRowsMax: most });
    const page = bus.createPage({ size: 8 });
    await bus.tick();
    const receipts = rows.map((count, index) => bus.submit(batchOf(page.id, count, index)));
    // The model: batches in order while they fit, at least one.
    const left = [...rows];
    while (left.length > 0) {
      let taken = left.shift()!;
      while (left.length > 0 && taken + left[0] <= most) taken += left.shift()!;
      const report = await bus.tick();
      assert.deepEqual(
        [report.rows, report.carriedOver, report.carriedOverRows],
        [taken, left.length, left.reduce((sum, count) => sum + count, 0)],
      );
    }
    const ticks = (await Promise.all(receipts)).map(({ tick }) => tick);
    assert.deepEqual(ticks, [...ticks].sort((a, b) => a - b));
    const { ticks: counted } = bus.stats();
    assert.deepEqual([counted.carriedOverBatches, counted.carriedOverRows], [0, 0]);
    assert.equal(counted.rows, rows.reduce((sum, count) => sum + count, 0));
  }));
});

Deno.test("StateBus.tick() learns what rows cost and leaves what would pass its budget", async () => {
  const clock = new SteeredClock();
  await using bus = await StateBus.open({ clock, tickBudgetMs: 16 });
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  // Ticks of 10,000 rows that take some 40 ms.
  clock.lookMs = 10;
  for (let i = 0; i < 20; i++) {
    bus.submit(batchOf(page.id, 10_000, i));
    assert((await bus.tick()).overBudgetMs > 0);
  }
  clock.lookMs = 0;
  for (let i = 0; i < 30; i++) bus.submit(batchOf(page.id, 10_000, i));
  const report = await bus.tick();
  assert.deepEqual([report.batches, report.carriedOver, report.carriedOverRows], [1, 29, 290_000]);
  assert.equal(bus.stats().ticks.carriedOverRows, 290_000);
  // Fast ticks make it take more again.
  let ticks = 0;
  while (bus.stats().queued > 0) {
    await bus.tick();
    ticks++;
  }
  assert(ticks < 20, `${ticks} ticks`);
  assert(bus.stats().cost.nsPerRow > 0);
});

Deno.test("StateBus.tick(): one batch above the budget runs alone and is reported", async () => {
  const clock = new SteeredClock();
  clock.lookMs = 1;
  await using bus = await StateBus.open({ clock, tickBudgetMs: 0 });
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  const receipts = [1, 2, 3].map((byte) => bus.submit(batchOf(page.id, 100, byte)));
  for (const left of [2, 1, 0]) {
    const { batches, carriedOver, overBudgetMs } = await bus.tick();
    assert.deepEqual([batches, carriedOver], [1, left]);
    assert(overBudgetMs > 0);
  }
  assert.deepEqual((await Promise.all(receipts)).map(({ tick }) => tick), [2, 3, 4]);
  assert(bus.stats().ticks.overBudget >= 3);
});

Deno.test("StateBus.tick(): one batch goes beside an open batch that is above the budget", async () => {
  await using bus = await StateBus.open({ tickRowsMax: 1 });
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  const receipts = [1, 2, 3].map((byte) => bus.submit(batchOf(page.id, 5, byte)));
  const batches: number[] = [];
  for (let i = 0; i < 4; i++) {
    page.write(0, Uint8Array.of(i));
    page.write(1, Uint8Array.of(i));
    batches.push((await bus.tick()).batches);
  }
  assert.deepEqual(batches, [2, 2, 2, 1]);
  await Promise.all(receipts);
});

Deno.test("StateBus.stats() has the phases of all ticks, each with its percentiles", async () => {
  const clock = new SteeredClock();
  await using bus = await StateBus.open({ clock, storage: new MemoryStorage() });
  const page = bus.createPage({ size: 8 });
  clock.lookMs = 2;
  for (let i = 0; i < 100; i++) await bus.commit(() => page.write(0, Uint8Array.of(i)));
  const { phases, ticks } = bus.stats();
  assert.deepEqual(Object.keys(phases), [
    "ingest",
    "log",
    "apply",
    "propagate",
    "check",
    "publish",
    "maintain",
    "tick",
  ]);
  for (const phase of [phases.ingest, phases.log, phases.apply, phases.tick]) {
    assert.equal(phase.count, 100);
    assert(phase.p50Ms >= 2 && phase.p50Ms <= phase.p99Ms && phase.p99Ms <= phase.maxMs);
  }
  assert.deepEqual([ticks.ticks, ticks.rows, ticks.overBudget], [100, 100, 0]);
  const perSecond = 100 / phases.tick.totalMs * 1000;
  assert(Math.abs(ticks.rowsPerSecond - perSecond) < 1e-6);
});

Deno.test("StateBus.open() checks tickRowsMax and the clock's monotonicMs", async () => {
  for (const tickRowsMax of [0, -1, 1.5, NaN, "7", 1n, 1e12]) {
    await assert.rejects(StateBus.open({ tickRowsMax: tickRowsMax as number }), {
      name: "MmsbError",
    });
  }
  const clock = { nowUs: () => 1, errorUs: () => 0, monotonicMs: 7 as unknown as () => number };
  await assert.rejects(StateBus.open({ clock }), { code: "usage" });
});
