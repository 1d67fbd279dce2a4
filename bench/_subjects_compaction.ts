/** Subject: a log in which every byte was overwritten ten times, merged. */

import { DeltaBatch, StateBus } from "../mod.ts";
import { median, numbers, type Row } from "./_harness.ts";
import { stateHash } from "./_work.ts";

const PAGES = 1024;
const PAGE_BYTES = 4096;
const CELL = 16;
const OVERWRITES = 10;
const ROWS = 65_536;
/** Small segments, as the log is small. */
export const OPTIONS = { memoryLimitBytes: 2 ** 26, segmentBytesMax: 8 * 2 ** 20 };

/** Writes the log: cells in random order, ten times each; its last segment is small. */
export async function fill(dir: string, pages = PAGES): Promise<void> {
  await using bus = await StateBus.open({ dir, ...OPTIONS });
  for (let i = 0; i < pages; i++) bus.createPage({ size: PAGE_BYTES });
  await bus.commit();
  const random = numbers(7), cells = pages * PAGE_BYTES / CELL, cell = new Uint8Array(CELL);
  const order = Uint32Array.from({ length: OVERWRITES * cells }, (_, i) => i % cells);
  for (let i = order.length - 1; i > 0; i--) {
    const other = random() % (i + 1);
    [order[i], order[other]] = [order[other], order[i]];
  }
  const batch = new DeltaBatch({ rows: ROWS, payloadBytes: ROWS * CELL });
  const source = batch.source("bench");
  for (let at = 0; at < order.length;) {
    batch.clear();
    for (let i = 0; i < ROWS && at < order.length; i++, at++) {
      for (let k = 0; k < CELL; k++) cell[k] = random();
      const page = 1 + Math.floor(order[at] * CELL / PAGE_BYTES);
      batch.push(page, order[at] * CELL % PAGE_BYTES, cell, source);
    }
    const receipt = bus.submit(batch);
    await bus.tick();
    await receipt;
  }
}

/** Copies a folder. */
export function copy(source: string, target: string): void {
  Deno.mkdirSync(target, { recursive: true });
  for (const { name, isDirectory } of Deno.readDirSync(source)) {
    if (isDirectory) copy(`${source}/${name}`, `${target}/${name}`);
    else Deno.copyFileSync(`${source}/${name}`, `${target}/${name}`);
  }
}

/** How much smaller the log becomes, against how long opening it takes, and how long ticks wait. */
export async function compaction(rounds: number): Promise<Row[]> {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-anchors-" });
  try {
    const origin = `${folder}/origin`;
    await fill(origin);
    const times: number[] = [], opens: number[] = [], pauses: number[] = [], factors: number[] = [];
    let before = "", after = "", bytes = { before: 0, after: 0 };
    for (let round = 0; round < Math.min(rounds, 5); round++) {
      const dir = `${folder}/round`;
      copy(origin, dir);
      let start = performance.now();
      const bus = await StateBus.open({ dir, ...OPTIONS });
      opens.push(performance.now() - start);
      before = stateHash(bus);
      const small = bus.createPage({ size: 16 });
      await bus.commit();
      start = performance.now();
      let last = start, pause = 0, done = false;
      const merging = bus.compact().finally(() => done = true);
      while (!done) {
        small.write(0, new Uint8Array(16));
        await bus.tick();
        await new Promise((resolve) => setTimeout(resolve, 0));
        const now = performance.now();
        pause = Math.max(pause, now - last);
        last = now;
      }
      const report = await merging;
      times.push(performance.now() - start);
      pauses.push(pause);
      ({ bytes } = report);
      factors.push(bytes.before / bytes.after);
      small.delete();
      await bus.commit();
      await bus.close();
      const again = await StateBus.open({ dir, ...OPTIONS });
      after = stateHash(again);
      if (before !== after) throw new Error(`merged log leads to ${after}, not to ${before}`);
      await again.close();
      await Deno.remove(dir, { recursive: true });
    }
    const mb = (count: number) => `${(count / 2 ** 20).toFixed(1)} MiB`;
    const ms = (values: readonly number[]) => `${median(values).toFixed(0)} ms`;
    const spread = (values: readonly number[]): readonly [number, number] => [
      Math.min(...values),
      Math.max(...values),
    ];
    const factor = median(factors), slower = opens.map((open, i) => open / times[i]);
    return [
      {
        subject: `compaction: ${OVERWRITES} overwrites a byte, log bytes`,
        ours: mb(bytes.after),
        peer: `as written ${mb(bytes.before)}`,
        ratio: factor,
        spread: spread(factors),
        target: "≥ 5",
        met: factor >= 5,
        hash: after,
      },
      {
        subject: "compaction: the same, time, ticks going on",
        ours: ms(times),
        peer: `opening the log ${ms(opens)}`,
        ratio: median(slower),
        spread: spread(slower),
        target: "",
        met: true,
        hash: after,
      },
      {
        subject: "compaction: the same, longest time between two ticks in ms",
        ours: ms(pauses),
        peer: "",
        ratio: median(pauses),
        spread: spread(pauses),
        target: "",
        met: true,
        hash: after,
      },
    ];
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
