import assert from "node:assert/strict";
import { StateBus } from "../src/bus/mod.ts";
import { DeltaBatch } from "../src/physical/mod.ts";
import { batchFor, KINDS, SIZES, Xorshift } from "./_delta_streams.ts";
import { Fold } from "./_fold.ts";
import { runThroughput } from "./throughput.ts";

const SEED = 7;

Deno.test(`stress throughput, short form, seed ${SEED}: every form equals its fold`, async () => {
  const report = await runThroughput({ scale: 0.0002, seed: SEED, minutes: 0, progress: () => {} });
  assert.equal(report.steps.length, 17);
  for (const { what, figures } of report.steps) {
    if (figures.deltas !== undefined) assert(figures.deltas >= 1000, what);
  }
});

Deno.test("the fold finds a wrong byte, a row too few and a page too many", async () => {
  const batch = new DeltaBatch({ rows: 2, payloadBytes: 8 });
  batch.push(1, 0, Uint8Array.of(1, 2));
  batch.push(2, 4, Uint8Array.of(3));
  const run = async (rows: [number, number, number][], pages = 2) => {
    await using bus = await StateBus.open({ memoryLimitBytes: 2 ** 20 });
    for (let i = 0; i < pages; i++) bus.createPage({ size: 8 });
    await bus.commit();
    for (const [page, offset, byte] of rows) {
      await bus.commit(() => bus.page(page).write(offset, Uint8Array.of(byte)));
    }
    const fold = new Fold(2, 8);
    fold.add(batch);
    fold.check(bus, "the bus");
  };
  await assert.rejects(run([[1, 0, 1], [2, 4, 3]]), /byte 1 of page 1 of the bus is 0, not 2/);
  await assert.rejects(run([[1, 0, 1]]), /byte 1 of page 1/);
  await assert.rejects(
    run([[1, 0, 1], [1, 1, 2], [2, 4, 3]]),
    /epoch of page 1 of the bus is 2, not 1/,
  );
  await assert.rejects(run([], 3), /pages of the bus/);
});

Deno.test("the streams of kinds and sizes hold every kind, and rows from 1 B to 64 KiB", () => {
  const kinds = new Set<number>(), random = new Xorshift(1), batch = batchFor(KINDS);
  KINDS.fill(batch, KINDS.rows, random);
  for (let i = 0; i < batch.length; i++) kinds.add(batch.columns.kind[i]);
  assert.equal(kinds.size, 20);
  const sizes = batchFor(SIZES);
  let least = Infinity, most = 0;
  for (let round = 0; round < 6; round++) {
    sizes.clear();
    SIZES.fill(sizes, SIZES.rows, random);
    for (let i = 0; i < sizes.length; i++) {
      least = Math.min(least, sizes.columns.length[i]);
      most = Math.max(most, sizes.columns.length[i]);
    }
  }
  assert.deepEqual([least, most], [1, 65_536]);
});
