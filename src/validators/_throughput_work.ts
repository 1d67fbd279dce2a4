/**
 * The work of validator 5: rows of 16 bytes for random pages in batches whose columns were filled before the
 * clock starts, and the fold of the same rows over plain memory that tells what must come out.
 *
 * The rows are those of a seed, so each form of the work is given the same ones without all of them being kept.
 */

import { type OpenOptions, StateBus } from "../bus/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { openBus } from "./device_run.ts";
import type { PlantedResult } from "./validator.ts";

/** How much is done. */
export interface ThroughputPlan {
  /** Pages. */
  readonly pages: number;
  /** Batches that are filled at a time, then submitted together. */
  readonly batches: number;
  /** Rows of a batch. */
  readonly rows: number;
  /** How often that is done before the clock counts: code is compiled, files are made. */
  readonly warmUp: number;
  /** How often it is timed. */
  readonly rounds: number;
  /** Seed of everything random. */
  readonly seed: number;
}

/** Bytes of a page. */
export const PAGE_BYTES = 64;
/** Bytes of a row. */
export const PAYLOAD_BYTES = 16;
const PAGE_WORDS: number = PAGE_BYTES / 4;
const PAYLOAD_WORDS: number = PAYLOAD_BYTES / 4;
const MEMORY_BYTES = 64 * 2 ** 20;
/**
 * Rows that workers are given beyond those of the plan, round by round and timed as all others, until they take part.
 * Where other programs keep the cores busy, the thread of the bus can be done with a small plan before a worker is
 * given a core; workers that leave this many to it are idle.
 */
const MORE_ROWS_MAX: number = 2 ** 24;

/** What one form took. */
export interface ThroughputTimes {
  /** Seconds from the first batch submitted to the last one acknowledged, without filling. */
  readonly seconds: number;
  /** Ticks. */
  readonly ticks: number;
  /** Rows that were applied meanwhile. */
  readonly rows: number;
  /** Pages unlike the reference. */
  readonly wrongPages: number;
  /** Threads beside that of the bus. */
  readonly workers: number;
  /** Rows that those threads checked. */
  readonly rowsOfWorkers: number;
}

/** Batches that are filled again and again. */
export class ThroughputBatches {
  readonly batches: readonly DeltaBatch[];
  readonly #plan: ThroughputPlan;

  constructor(plan: ThroughputPlan) {
    this.#plan = plan;
    this.batches = Array.from({ length: plan.batches }, () => {
      const batch = new DeltaBatch({ rows: plan.rows, payloadBytes: PAYLOAD_BYTES * plan.rows });
      const { length, payloadStart, source } = batch.columns;
      length.fill(PAYLOAD_BYTES);
      source.fill(batch.source("validate"));
      for (let i = 0; i < plan.rows; i++) payloadStart[i] = i * PAYLOAD_BYTES;
      batch.setLength(plan.rows, PAYLOAD_BYTES * plan.rows);
      return batch;
    });
  }

  /** Fills pages, offsets and bytes with what belongs to a round. */
  fill(round: number): void {
    const { pages, rows, seed } = this.#plan;
    // Xorshift (Marsaglia, "Xorshift RNGs", 2003): quick, and good enough to scatter.
    let state = Math.imul(seed + 1, 0x9e37_79b1) ^ Math.imul(round + 1, 0x85eb_ca6b) | 1;
    for (const { columns: { page, offset }, payload } of this.batches) {
      const words = new Int32Array(payload.buffer, payload.byteOffset, PAYLOAD_WORDS * rows);
      for (let i = 0; i < rows; i++) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        page[i] = 1 + (state >>> 0) % pages;
        offset[i] = (state >>> 28 & 3) * PAYLOAD_BYTES;
        const at = PAYLOAD_WORDS * i;
        words[at] = state;
        words[at + 1] = ~state;
        words[at + 2] = round;
        words[at + 3] = i;
      }
    }
  }
}

/** What must come out: each row's bytes over the earlier ones, and a count of rows by page. */
export class ReferenceFold {
  /** Words of all pages. */
  readonly words: Int32Array;
  /** Rows by page. */
  readonly epochs: Uint32Array;

  constructor(pages: number) {
    this.words = new Int32Array(pages * PAGE_WORDS);
    this.epochs = new Uint32Array(pages);
  }

  /** Folds a batch in. */
  add({ columns: { page, offset }, payload, length }: DeltaBatch): void {
    const { words, epochs } = this;
    const from = new Int32Array(payload.buffer, payload.byteOffset, PAYLOAD_WORDS * length);
    for (let i = 0; i < length; i++) {
      const index = page[i] - 1, to = index * PAGE_WORDS + (offset[i] >>> 2);
      for (let k = 0; k < PAYLOAD_WORDS; k++) words[to + k] = from[PAYLOAD_WORDS * i + k];
      epochs[index]++;
    }
  }

  /** Pages of a bus with other bytes or another epoch than here. */
  wrongPages(bus: StateBus): number {
    const bytes = new Uint8Array(PAGE_BYTES), found = new Int32Array(bytes.buffer);
    const { words, epochs } = this;
    let wrong = Math.abs(bus.stats().pages - epochs.length);
    for (let index = 0; index < epochs.length; index++) {
      const page = bus.page(index + 1);
      page.readInto(bytes);
      let bits = page.epoch ^ epochs[index];
      for (let k = 0; k < PAGE_WORDS; k++) bits |= found[k] ^ words[index * PAGE_WORDS + k];
      if (bits !== 0) wrong++;
    }
    return wrong;
  }
}

/** The fold of a plan's rows. */
export function foldOf(plan: ThroughputPlan, batches: ThroughputBatches): ReferenceFold {
  const fold = new ReferenceFold(plan.pages);
  for (let round = 0; round < plan.warmUp + plan.rounds; round++) {
    batches.fill(round);
    for (const batch of batches.batches) fold.add(batch);
  }
  return fold;
}

/**
 * Has a bus do the work of a plan, and compares what came out; with a log also once more from there.
 *
 * @param planted Where it is noted whether faults are found that are planted in the bus afterwards.
 */
export async function runForm(
  plan: ThroughputPlan,
  batches: ThroughputBatches,
  fold: ReferenceFold,
  options: OpenOptions,
  progress: (round: number) => void,
  planted?: PlantedResult[],
): Promise<ThroughputTimes> {
  const all = { memoryLimitBytes: MEMORY_BYTES, ...options };
  const bus = await openBus(all);
  let times: Omit<ThroughputTimes, "wrongPages">, wrongPages: number;
  let expected = fold;
  try {
    for (let i = 0; i < plan.pages; i++) bus.createPage({ size: PAGE_BYTES });
    await bus.tick();
    const { rounds, ...taken } = await timeRounds(bus, plan, batches, progress);
    times = taken;
    if (rounds > plan.rounds) expected = foldOf({ ...plan, rounds }, batches);
    wrongPages = expected.wrongPages(bus);
    if (planted !== undefined) planted.push(...await plantIn(bus, expected, wrongPages));
  } finally {
    await bus.close();
  }
  if (options.dir !== undefined) {
    await using again = await StateBus.open({ ...all, workers: 0, readOnly: true });
    wrongPages = Math.max(wrongPages, expected.wrongPages(again));
  }
  return { ...times, wrongPages };
}

async function timeRounds(
  bus: StateBus,
  plan: ThroughputPlan,
  batches: ThroughputBatches,
  progress: (round: number) => void,
): Promise<Omit<ThroughputTimes, "wrongPages"> & { readonly rounds: number }> {
  let seconds = 0, rows = 0, ticks = 0, round = 0;
  const rowsMax = plan.rounds * plan.batches * plan.rows + MORE_ROWS_MAX;
  const goesOn = () =>
    round < plan.warmUp + plan.rounds || rows < rowsMax && rowsOfWorkers(bus) === 0;
  for (; goesOn(); round++) {
    batches.fill(round);
    progress(round);
    const started = performance.now();
    const receipts = batches.batches.map((batch) => bus.submit(batch));
    const before = bus.tickNumber;
    let done = 0;
    while (done < plan.batches) done += (await bus.tick()).batches;
    const durable = await Promise.all(receipts);
    if (round < plan.warmUp) continue;
    seconds += (performance.now() - started) / 1000;
    ticks += bus.tickNumber - before;
    for (const receipt of durable) rows += receipt.rows;
  }
  return {
    seconds,
    rows,
    ticks,
    rounds: round - plan.warmUp,
    workers: bus.stats().workers?.length ?? 0,
    rowsOfWorkers: rowsOfWorkers(bus) ?? 0,
  };
}

/** Rows that the workers of a bus checked; `undefined` where it has none. */
function rowsOfWorkers(bus: StateBus): number | undefined {
  return bus.stats().workers?.reduce((sum, { checked }) => sum + checked, 0);
}

/** Plants faults in a bus whose pages were compared with a fold: each must be seen as one page more. */
async function plantIn(
  bus: StateBus,
  fold: ReferenceFold,
  wrongPages: number,
): Promise<PlantedResult[]> {
  const isSeen = () => fold.wrongPages(bus) === wrongPages + 1;
  const index = fold.epochs.length >> 1, live = bus.page(index + 1).view() as unknown as Uint8Array;
  live[PAGE_BYTES - 1] ^= 1;
  const byte = { id: "throughput-byte", found: isSeen() };
  live[PAGE_BYTES - 1] ^= 1;
  // As if one more had been submitted.
  fold.epochs[index]++;
  const delta = { id: "throughput-delta-lost", found: isSeen() };
  fold.epochs[index]--;
  bus.createPage({ size: PAGE_BYTES });
  await bus.tick();
  return [byte, delta, { id: "throughput-page-extra", found: isSeen() }];
}
