/**
 * The child of the allocation test: sends deltas through one path of the bus and tells what the JavaScript heap
 * did. Started with `--v8-flags=--expose-gc` and a nursery that is never full, so that what the heap grows by
 * between two readings is exactly what was allocated: nothing is collected before it is counted.
 *
 * `deno run -A --v8-flags=… bench/_heap_process.ts PATH TICKS` writes one line of JSON to stderr.
 *
 * A tick may allocate: a report, a promise, a receipt. Whether a delta does, is seen by comparing as many ticks
 * of few rows and of many.
 */

import { defineRule, type DeltaBatch, type StateBus } from "../mod.ts";
import { collect, hash } from "./_harness.ts";
import {
  busOfPages,
  emptyBatch,
  fillColumns,
  filledBatch,
  PAYLOAD,
  SEED,
  stateHash,
  tickOf,
} from "./_work.ts";

/** What the heap did in some ticks. */
export interface HeapUse {
  /** Deltas sent. */
  readonly deltas: number;
  /** Bytes allocated meanwhile. */
  readonly allocatedBytes: number;
  /** Bytes more in use afterwards, collected. */
  readonly grownBytes: number;
  /** Rules run meanwhile. */
  readonly fired: number;
}

/** What the child tells. */
export interface HeapReport {
  /** Ticks of few rows. */
  readonly few: HeapUse;
  /** As many ticks of many rows. */
  readonly many: HeapUse;
  /** Hash of all pages. */
  readonly hash: string;
}

const PAGE_BYTES = 64;
const PAGES = 4096;
const FEW = 1024;
const MANY = 65_536;
/** Ticks before measuring: code is compiled, tables and buffers have their size. */
const WARM_UP_TICKS = 24;

/** Stages a tick's rows in a batch. */
type Stage = (batch: DeltaBatch, from: DeltaBatch) => void;

function fill(batch: DeltaBatch, from: DeltaBatch): void {
  fillColumns(batch, from.columns.page, from.columns.offset, from.payload, 0);
}

const bytes = new Uint8Array(PAYLOAD);

function push(batch: DeltaBatch, from: DeltaBatch): void {
  const { page, offset } = from.columns, { payload } = from;
  for (let i = 0; i < from.length; i++) {
    for (let k = 0; k < PAYLOAD; k++) bytes[k] = payload[PAYLOAD * i + k];
    batch.push(page[i], offset[i], bytes);
  }
}

/** One allocation a delta, to show that it would be seen. */
const leaked: number[][] = [];
function planted(batch: DeltaBatch, from: DeltaBatch): void {
  fill(batch, from);
  leaked.length = 0;
  for (let i = 0; i < from.length; i++) leaked[i & 1023] = [i];
}

const total = defineRule({
  compute(ctx) {
    let sum = 0;
    for (let i = 0; i < 16; i++) sum = sum + ctx.input(i).getInt32(0) | 0;
    ctx.output(0).setInt32(0, sum);
  },
});

/** The first pages, in sixteens, are inputs of rules. */
function bindRules(bus: StateBus): void {
  for (let i = 0; i < 64; i++) {
    const inputs = Array.from({ length: 16 }, (_, k) => bus.page(1 + 16 * i + k));
    const output = bus.createPage({ size: 16 });
    bus.rule(total, { name: `total ${i}`, inputs, outputs: [output] });
  }
}

/** Ways of a delta: how it is staged, whether there are rules, whether there is a log. */
const PATHS: Readonly<Record<string, { stage: Stage; rules?: boolean; isLogged?: boolean }>> = {
  fill: { stage: fill },
  push: { stage: push },
  rules: { stage: fill, rules: true },
  logged: { stage: fill, isLogged: true },
  "rules, logged": { stage: push, rules: true, isLogged: true },
  planted: { stage: planted },
};

async function report(path: string, ticks: number): Promise<HeapReport> {
  const { stage, rules = false, isLogged = false } = PATHS[path];
  const folder = isLogged ? Deno.makeTempDirSync({ prefix: "mmsb-heap-" }) : undefined;
  try {
    const options = folder === undefined ? {} : { dir: folder };
    await using bus = await busOfPages(PAGES, PAGE_BYTES, {
      memoryLimitBytes: 2 ** 24,
      ...options,
    });
    if (rules) bindRules(bus);
    await bus.commit();
    const few = new Ticks(bus, stage, FEW), many = new Ticks(bus, stage, MANY);
    await few.run(2 * WARM_UP_TICKS);
    await many.run(WARM_UP_TICKS);
    const uses = { few: await few.measure(ticks), many: await many.measure(ticks) };
    return { ...uses, hash: hash(new TextEncoder().encode(stateHash(bus))) };
  } finally {
    if (folder !== undefined) Deno.removeSync(folder, { recursive: true });
  }
}

/** Ticks of one size. */
class Ticks {
  readonly #bus: StateBus;
  readonly #stage: Stage;
  readonly #batch: DeltaBatch;
  readonly #sources: readonly DeltaBatch[];
  #next = 0;

  constructor(bus: StateBus, stage: Stage, rows: number) {
    this.#bus = bus;
    this.#stage = stage;
    this.#batch = emptyBatch(rows);
    this.#sources = [0, 1].map((i) => filledBatch(PAGE_BYTES, SEED + i, emptyBatch(rows), PAGES));
  }

  async run(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      this.#batch.clear();
      this.#stage(this.#batch, this.#sources[this.#next++ & 1]);
      await tickOf(this.#bus, this.#batch);
    }
    // What waits for the disk is no part of what is counted afterwards.
    await this.#bus.commit();
  }

  async measure(count: number): Promise<HeapUse> {
    // Asking for handles makes them, so that is done where it is collected before the heap is read.
    const fired = firedBy(this.#bus);
    await settled();
    const before = Deno.memoryUsage().heapUsed;
    await this.run(count);
    const allocatedBytes = Deno.memoryUsage().heapUsed - before;
    await settled();
    const grownBytes = Deno.memoryUsage().heapUsed - before;
    const deltas = count * this.#batch.rowsMax;
    return { deltas, allocatedBytes, grownBytes, fired: firedBy(this.#bus) - fired };
  }
}

/** Collects until nothing more goes: code that was not used for some collections goes, too. */
async function settled(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => void setTimeout(resolve, 5));
  }
}

/** Epochs of the rules' outputs: one for each run that changed something. */
function firedBy(bus: StateBus): number {
  let fired = 0;
  for (const { id, epoch } of bus.pages()) if (id > PAGES) fired += epoch;
  return fired;
}

if (import.meta.main) {
  const [path, ticks] = Deno.args;
  // V8 traces its collections on the other stream.
  console.error(JSON.stringify(await report(path, Number(ticks))));
}
