/**
 * A bus from a pool against opening and preparing another one: 100 pages of 4 KiB with names, each
 * written once, of which the work then changes ten.
 */

import { StateBus, StateBusPool } from "@mmsb/mmsb";

const PAGES = 100;
const CHANGED = 10;
const BYTES = new Uint8Array(64).fill(7);

async function prepare(bus: StateBus): Promise<void> {
  for (let i = 0; i < PAGES; i++) {
    bus.createPage({ name: `page ${i}` }).write(0, BYTES);
  }
  await bus.tick();
}

async function work(bus: StateBus): Promise<void> {
  for (let i = 0; i < CHANGED; i++) bus.find(`page ${i}`)!.write(8, BYTES);
  await bus.tick();
}

const pool = new StateBusPool({ size: 1, prepare });
const kept = await StateBus.open();

Deno.bench("open, prepare, work, close", { group: "pool", baseline: true }, async () => {
  await using bus = await StateBus.open();
  await prepare(bus);
  await work(bus);
});

Deno.bench("reset, prepare, work", { group: "pool" }, async () => {
  kept.reset();
  await prepare(kept);
  await work(kept);
});

Deno.bench("acquire, work, release", { group: "pool" }, async () => {
  using lease = await pool.acquire();
  await work(lease.bus);
});

Deno.bench("acquire and release alone", { group: "pool" }, async () => {
  (await pool.acquire()).release();
});
