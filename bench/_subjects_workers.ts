/**
 * Subject `workers`: the same ten million deltas with no worker, and with several.
 *
 * Columns are filled beforehand, as producers do. All batches go into one tick; what comes out is compared
 * with a bare loop before a time counts. On a machine with more than two cores there is a line for each
 * power of two of workers, and for all cores.
 */

import { type DeltaBatch, StateBus } from "../mod.ts";
import { hash, interleave, millions, type Row } from "./_harness.ts";
import {
  bareApply,
  bareMemory,
  emptyBatch,
  filledBatch,
  PAGES,
  ROWS,
  SEED,
  signed,
} from "./_work.ts";

const BATCHES = 153;
const LOGGED_BATCHES = 32;
/** Bytes of a page. */
export const PAGE_BYTES = 64;

/** A bus, and its run. */
export interface WorkersSide {
  readonly bus: StateBus;
  readonly run: () => Promise<number>;
}

/** Runs the subject. */
export async function workers(rounds: number): Promise<Row[]> {
  const batches = Array.from(
    { length: BATCHES },
    (_, index) => filledBatch(PAGE_BYTES, SEED + index, emptyBatch()),
  );
  const expected = reference(batches);
  const rows: Row[] = [], ratios = new Map<number, number>();
  const cores = navigator.hardwareConcurrency;
  const tried = [...new Set([2, ...powersBelow(cores), cores, 8, 24])].sort((a, b) => a - b);
  for (const count of tried.filter((count) => count > 1)) {
    const row = await compare(batches, count, rounds, expected, {});
    ratios.set(count, row.ratio);
    const target = count === 2 ? 1.6 : undefined;
    rows.push(rowOf(`${count} workers, in memory, against one thread`, row, target));
  }
  const few = [...ratios.keys()].filter((count) => count < 8);
  const best = few.reduce((best, count) => ratios.get(count)! > ratios.get(best)! ? count : best);
  for (const count of [8, 24]) {
    // In the same rounds: the machine may be another one minutes later.
    const row = await compare(batches, count, rounds, expected, { against: best });
    rows.push(rowOf(`${count} workers on ${cores} cores, against ${best}`, row, 0.9));
  }
  const some = batches.slice(0, LOGGED_BATCHES);
  const logged = await compare(some, 2, rounds, reference(some), { isLogged: true });
  rows.push(rowOf("2 workers, logged with group commit, against one thread", logged, 1));
  return rows;
}

async function compare(
  batches: readonly DeltaBatch[],
  workers: number,
  rounds: number,
  expected: string,
  { isLogged = false, against = 0 }: { readonly isLogged?: boolean; readonly against?: number },
) {
  const dirs = isLogged ? [Deno.makeTempDirSync(), Deno.makeTempDirSync()] : [];
  const ours = await sideOf(batches, workers, dirs[0]);
  const peer = await sideOf(batches, against, dirs[1]);
  try {
    const { ours: time, peer: peerTime, ratio, spread } = await interleave(
      ours.run,
      peer.run,
      rounds,
    );
    for (const { bus } of [ours, peer]) {
      if (stateOf(bus) !== expected) throw new Error(`${workers} workers: another result`);
    }
    const count = batches.length * ROWS;
    return { count, time, peerTime, ratio, spread, expected };
  } finally {
    await ours.bus.close();
    await peer.bus.close();
    for (const dir of dirs) Deno.removeSync(dir, { recursive: true });
  }
}

/** A bus with pages whose run makes all batches one tick. */
export async function sideOf(
  batches: readonly DeltaBatch[],
  workers: number,
  dir: string | undefined,
): Promise<WorkersSide> {
  const bus = await StateBus.open({
    workers,
    tickRowsMax: 2 ** 25,
    ...(dir === undefined ? {} : { dir, checkpoints: { everyBytes: Infinity } }),
  });
  for (let i = 0; i < PAGES; i++) bus.createPage({ size: PAGE_BYTES });
  await bus.tick();
  return {
    bus,
    run: async () => {
      const receipts = batches.map((batch) => bus.submit(batch));
      const started = performance.now();
      const report = await bus.tick();
      await report.durable;
      const time = (performance.now() - started) / 1000;
      await Promise.all(receipts);
      return time;
    },
  };
}

function rowOf(
  what: string,
  measured: Awaited<ReturnType<typeof compare>>,
  target: number | undefined,
): Row {
  const { count, time, peerTime, ratio, spread, expected } = measured;
  const isBound = target !== undefined && navigator.hardwareConcurrency >= 2;
  return {
    subject: `workers: ${what}`,
    ours: millions(count, time),
    peer: millions(count, peerTime),
    ratio,
    spread,
    target: isBound ? `≥ ${target}` : "",
    met: !isBound || ratio >= target,
    hash: expected,
  };
}

/** Hash of all pages as a bare loop leaves them. */
export function reference(batches: readonly DeltaBatch[]): string {
  const words = bareMemory(PAGE_BYTES);
  for (const batch of batches) {
    const { page, offset, start, payload } = signed(batch);
    bareApply(words, payload, page, offset, start, ROWS, PAGE_BYTES / 4);
  }
  return hash(new Uint8Array(words.buffer));
}

/** Hash of all pages. */
export function stateOf(bus: StateBus): string {
  const bytes = new Uint8Array(PAGES * PAGE_BYTES);
  for (let i = 0; i < PAGES; i++) {
    bus.page(i + 1).readInto(bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES));
  }
  return hash(bytes);
}

function powersBelow(cores: number): number[] {
  const powers: number[] = [];
  for (let power = 2; power < cores; power *= 2) powers.push(power);
  return powers;
}
