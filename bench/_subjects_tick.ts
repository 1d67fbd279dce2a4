/**
 * Subject `tick`: whole ticks as a program has them that computes things all day.
 *
 * 10,000 pages of 64 bytes, a tenth of them derived in three levels from 1 to 25 others each, 10,000 rows of
 * 16 bytes a tick, in a file, with group commit. A tick is timed from `submit` to the report: checks, epochs,
 * pages, rules, frames of all rows, derived ones too, written to the file; the disk is waited for beside
 * the next ticks, as group commit does, and at the end. All pages are compared with plain arrays then, and
 * once more after a recovery from the log.
 */

import { StateBus } from "../mod.ts";
import { hash, numbers, type Row } from "./_harness.ts";
import { SEED } from "./_work.ts";
import {
  addTo,
  BATCHES,
  batchOf,
  busOfSums,
  compare,
  derive,
  DERIVED,
  PAGES,
  readsOf,
  renew,
  ROWS,
  WORDS,
} from "./_work_tick.ts";

const WARM_UP = 60;
const TICKS_A_ROUND = 60;
const P99_MS_MAX = 4;

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
  const { bus, pages } = await busOfSums(reads, { dir, durability: "group" });
  const batches = Array.from({ length: BATCHES }, () => batchOf(pages, next));
  const model = new Int32Array(PAGES * WORDS), times: number[] = [];
  let fired = 0;
  for (let tick = -WARM_UP; tick < count; tick++) {
    const batch = batches[(tick + WARM_UP) % BATCHES];
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
