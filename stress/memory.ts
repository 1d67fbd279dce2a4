/**
 * Memory: a million pages of 1 KiB, pages of mixed sizes that come and go, memory that is full, and memory given back.
 *
 * The bytes of every page are checked, at each step and not only at the end. When memory is full, each way of asking for
 * more must be refused with a typed error and leave everything as it is; the bus goes on, and takes pages again when others
 * are deleted. What was full is opened again from its log. Pages of eight times the memory are spilled (`spill.ts`).
 *
 * `deno run -A stress/memory.ts --scale 0.1`
 */

import assert from "node:assert/strict";
import { isMmsbError } from "../src/base/mod.ts";
import { StateBus } from "../src/bus/mod.ts";
import { SeededRandom } from "../src/log/seeded_random.ts";
import { SIZE_CLASSES, sizeOfClass } from "../src/physical/mod.ts";
import { struct, table } from "../src/schema/mod.ts";
import { isProgram, programOf, type StressSuite } from "./_program.ts";
import { collector, ThreadClock } from "./_process_state.ts";
import {
  count,
  inFolder,
  mebibytes,
  perSecond,
  scaled,
  StressLog,
  type StressOptions,
  type StressReport,
} from "./_report.ts";
import { SizedPages } from "./_sized_pages.ts";
import { checkClasses } from "./_spill_pattern.ts";
import { runSpill } from "./spill.ts";

const MIB = 2 ** 20;
const PAGES = 1_000_000;
const PAGE_BYTES = 1024;
const CHURN_ROUNDS = 100;
const CHURN_BYTES = 64 * MIB;
/** Rounds after which the memory cut for pages must stop to grow. */
const SETTLED = 0.5;
/** By how much it may grow after that, as a share. */
const GROWTH_MAX = 0.1;
/** Room that may be lost between pages of sizes drawn at random, as a share of the room that pages take. */
const LOST_MAX = 0.5;
/** What a slice of reclaiming may take that was asked to take 1 ms. */
const SLICE_MS_MAX = 3;
const LIMIT_BYTES = 8 * MIB;
/** The sizes of slots that there are, up to 64 KiB, largest first. */
const CLASS_SIZES: readonly number[] = Array.from(
  { length: SIZE_CLASSES },
  (_, i) => sizeOfClass(i),
)
  .filter((size) => size <= 65_536).reverse();
const SHIFT_SIZES: readonly number[] = [64, 65_536, 1024, MIB, 300, 4096];
/** Share of the limit that pages of one size must get. */
const FILLED_MIN = 0.7;

/** Runs it. */
export async function runMemory(options: StressOptions): Promise<StressReport> {
  const log = new StressLog("memory", options);
  await runMany(options, log);
  await runChurn(options, log);
  await inFolder("memory", (dir) => runShift(dir, options, log));
  await inFolder("memory", (dir) => runLimit(dir, options, log));
  await runSpill(options, log);
  return log.report();
}

/** A million pages, every byte written and read; half deleted at random and made anew; all deleted in one tick. */
async function runMany(options: StressOptions, log: StressLog): Promise<void> {
  const { scale, seed, progress } = options, pages = scaled(PAGES, scale, 1000);
  const random = new SeededRandom(seed), collect = collector();
  collect();
  const before = Deno.memoryUsage().rss;
  const limit = Math.max(4 * MIB, Math.ceil(1.25 * pages * PAGE_BYTES));
  // Most of what a tick frees waits for slices that are timed here.
  await using bus = await StateBus.open({ memoryLimitBytes: limit, reclaimBudgetMs: 0.1 });
  const work = new SizedPages(bus, PAGE_BYTES);
  let start = performance.now();
  const lap = () => {
    const now = performance.now(), seconds = (now - start) / 1000;
    start = now;
    return seconds;
  };
  await work.create(new Array(pages).fill(PAGE_BYTES));
  const created = lap();
  collect();
  const bytes = Deno.memoryUsage().rss - before;
  work.check();
  log.add({
    what: "pages of 1 KiB created and written",
    amount: `${count(pages)} pages, ${mebibytes(pages * PAGE_BYTES)}`,
    rate: `${perSecond(pages, created)}, ${(bytes / pages).toFixed(0)} B a page of the process`,
    checked: "zeros before, every byte afterwards, ids never used twice",
    figures: { pages, seconds: created, residentBytes: bytes },
  });
  progress(`deleting half of ${count(pages)} pages, and creating as many …`);
  lap();
  const half = [...work.sizes.keys()].filter(() => random.chance(0.5));
  await work.delete(half);
  const carved = bus.stats().allocator.carvedBytes;
  await work.create(new Array(half.length).fill(PAGE_BYTES));
  const churned = lap();
  assert.equal(
    bus.stats().allocator.carvedBytes,
    carved,
    "memory cut for pages when slots come back",
  );
  work.check();
  log.add({
    what: "half deleted at random, as many created",
    amount: `${count(half.length)} of each`,
    rate: perSecond(2 * half.length, churned),
    checked: "every byte; not a byte more cut for pages",
    figures: { pages: half.length, seconds: churned, carvedBytes: carved },
  });
  lap();
  const all = [...work.sizes.keys()];
  await work.delete(all, all.length);
  const seconds = lap();
  assert.equal(bus.stats().pages, 0);
  assert.equal(bus.stats().allocator.liveBytes, 0, "bytes of pages that are gone");
  checkSlots(bus, 0, all.length);
  const slices = reclaimAll(bus);
  checkSlots(bus, 0, 0);
  const longest = Math.max(0, ...slices);
  await work.create(new Array(1000).fill(PAGE_BYTES));
  checkSlots(bus, 1000, 0);
  work.check();
  log.add({
    what: "all deleted in one tick",
    amount: `${count(all.length)} pages`,
    rate: `${perSecond(all.length, seconds)}; room given back in ${
      count(slices.length)
    } slices, the longest ${longest.toFixed(2)} ms of this thread`,
    checked:
      "none left, no bytes left, new ones begin with zeros; live, waiting and free slots add up",
    figures: { pages: all.length, seconds, slices: slices.length, sliceMsMax: longest },
  });
  assert(longest <= SLICE_MS_MAX, `a slice of reclaiming took ${longest} ms of this thread`);
}

/** Has all slots that wait given back; gives the milliseconds of this thread that each slice took. */
function reclaimAll(bus: StateBus): number[] {
  using clock = new ThreadClock();
  const slices: number[] = [];
  for (let pending = bus.memory().pendingReclaim!.slots; pending > 0;) {
    const used = clock.usedMs(), began = performance.now();
    const { slots, pendingSlots } = bus.reclaim({ budgetMs: 1 });
    const clockMs = performance.now() - began;
    // Where the system does not tell of one thread, others' work is in it.
    slices.push(Math.min(clockMs, clock.usedMs() - used));
    assert(slots > 0, "a slice that gives nothing back");
    assert.equal(pendingSlots, pending - slots, "slots that still wait");
    pending = pendingSlots;
  }
  return slices;
}

/** Holds the slots that a memory report tells against the pages that there are, and those that wait at most. */
function checkSlots(bus: StateBus, pages: number, waiting: number): void {
  const report = bus.memory(), live = report.classes.reduce((sum, one) => sum + one.live, 0);
  checkClasses(report);
  assert.equal(report.pages, pages, "pages that are told");
  assert.equal(live, pages, "slots of pages that are told");
  assert.equal(report.pageBytes, pages * PAGE_BYTES, "bytes of pages that are told");
  assert(report.pendingReclaim!.slots <= waiting, "slots that wait");
}

/** Pages of 1 B to 64 KiB, three in ten of which are replaced in each round. */
async function runChurn({ scale, seed, progress }: StressOptions, log: StressLog): Promise<void> {
  const random = new SeededRandom(seed + 1);
  const rounds = scaled(CHURN_ROUNDS, scale, 10),
    target = scaled(CHURN_BYTES, Math.sqrt(scale), 4 * MIB);
  await using bus = await StateBus.open({ memoryLimitBytes: 4 * target });
  const work = new SizedPages(bus, 65_536), start = performance.now();
  let settled = 0, most = 0;
  for (let round = 0; round < rounds; round++) {
    await work.delete([...work.sizes.keys()].filter(() => random.chance(0.3)));
    const sizes: number[] = [];
    for (let bytes = work.bytes; bytes < target;) {
      const size = sizeOf(random);
      sizes.push(size);
      bytes += size;
    }
    await work.create(sizes);
    const { carvedBytes } = bus.stats().allocator;
    if (round < SETTLED * rounds) settled = Math.max(settled, carvedBytes);
    most = Math.max(most, carvedBytes);
    if (round % 10 === 9) {
      work.check();
      progress(
        `round ${round + 1} of ${rounds}: ${count(work.sizes.size)} pages, ${
          mebibytes(carvedBytes)
        } cut`,
      );
    }
  }
  work.check();
  const seconds = (performance.now() - start) / 1000, { allocator } = bus.stats();
  // A class of large pages has few of them, whose number varies the more.
  const growthMax = GROWTH_MAX + 16 * 65_536 / target;
  assert(most <= (1 + growthMax) * settled, `memory cut grew from ${settled} to ${most} bytes`);
  const lost = 1 - work.bytes / allocator.carvedBytes;
  assert(lost <= LOST_MAX, `${lost} of the memory cut for pages holds none`);
  log.add({
    what: "pages of 1 B to 64 KiB come and go",
    amount: `${count(rounds)} rounds, ${count(work.created)} created, ${
      count(work.deleted)
    } deleted`,
    rate: `${perSecond(work.created + work.deleted, seconds)}, ${
      (100 * lost).toFixed(1)
    } % of the room lost`,
    checked: `every byte each 10 rounds; room cut grew by ${
      (100 * (most / settled - 1)).toFixed(1)
    } % after ${count(SETTLED * rounds)} rounds`,
    figures: { rounds, created: work.created, deleted: work.deleted, seconds, lost, settled, most },
  });
}

/** A size from 1 B to 64 KiB, each power of two as often as another. */
function sizeOf(random: SeededRandom): number {
  const power = 2 ** random.below(16);
  return 1 + random.below(2 * power);
}

/** Memory full of pages of one size, all deleted, then of the same, then of another: each gets its room. */
async function runShift(
  dir: string,
  { scale, progress }: StressOptions,
  log: StressLog,
): Promise<void> {
  const limit = scaled(8 * LIMIT_BYTES, scale, MIB / 2), start = performance.now();
  let created = 0, least = 1, shared = 1;
  const sizes = SHIFT_SIZES.filter((size) => size <= limit / 8);
  for (const size of sizes) {
    const pages = Math.floor(limit / size);
    progress(`memory of ${mebibytes(limit)}, all of it in pages of ${count(size)} B …`);
    const bus = await StateBus.open({ dir, memoryLimitBytes: limit });
    try {
      assert.equal(bus.stats().pages, 0, "pages that were deleted");
      const work = new SizedPages(bus, MIB), other = new SizedPages(bus, MIB);
      await fill(work, size, pages);
      work.check();
      const { bytes } = work;
      least = Math.min(least, bytes / limit);
      await work.delete([...work.sizes.keys()], 50_000);
      assert.equal(bus.stats().allocator.liveBytes, 0);
      // The same size gets all of it again.
      await fill(work, size, pages);
      assert.equal(work.bytes, bytes, "bytes that pages of the same size get again");
      await work.delete([...work.sizes.keys()], 50_000);
      const otherSize = size === 4096 ? 1024 : 4096;
      await fill(other, otherSize, Math.floor(limit / otherSize));
      shared = Math.min(shared, other.bytes / limit);
      created += work.created + other.created;
      await other.delete([...other.sizes.keys()], 50_000);
      // Pages are born anew when the log is replayed; from a checkpoint there are none to begin with.
      await bus.checkpoint();
    } finally {
      await bus.close();
    }
  }
  assert(least > FILLED_MIN, `only ${least} of the limit went to pages`);
  assert(shared > FILLED_MIN, `only ${shared} of the limit went to pages of another size`);
  log.add({
    what: "memory full of pages of one size, then of another, logged",
    amount: `${sizes.length} sizes, ${mebibytes(limit)} each, ${count(created)} pages`,
    rate: perSecond(created, (performance.now() - start) / 1000),
    checked: `every byte; ${
      (100 * least).toFixed(0)
    } % of the limit or more went to pages, of another size ${(100 * shared).toFixed(0)} %`,
    figures: { least, created, otherSize: shared },
  });
}

/** Creates pages of one size, as many as there is room for or so many. */
async function fill(
  work: SizedPages,
  size: number,
  pages: number,
  most = 4096,
): Promise<void> {
  for (let left = pages, each = Math.min(most, Math.max(1, pages >>> 3)); each >= 1 && left > 0;) {
    try {
      const now = Math.min(each, left);
      await work.create(new Array(now).fill(size));
      left -= now;
    } catch (error) {
      if (!isMmsbError(error, "allocation")) throw error;
      each = each > 64 ? each >>> 3 : each - 1 >>> 1;
    }
  }
}

const Pair = struct({ a: "f64", b: "f64" });
const Wide = table({ a: "f64", b: "f64", c: "f64", d: "f64" });

/** Memory that is full: each way of asking for more is refused, and leaves everything as it is. */
async function runLimit(
  dir: string,
  { scale, seed, progress }: StressOptions,
  log: StressLog,
): Promise<void> {
  const rounds = scaled(20, scale, 2), random = new SeededRandom(seed + 2);
  const limit = scaled(LIMIT_BYTES, Math.sqrt(scale), MIB);
  const options = { dir, memoryLimitBytes: limit };
  const bus = await StateBus.open(options);
  let refused = 0, digest: string;
  const ways = new Set<string>();
  const work = new SizedPages(bus, 65_536);
  try {
    const readings = bus.createTable(Wide, { name: "readings" });
    const counter = bus.createPage({ size: 64, name: "counter" });
    await bus.commit(() => readings.append({ a: [1], b: [2], c: [3], d: [4] }));
    for (let round = 0; round < rounds; round++) {
      progress(`memory full, round ${round + 1} of ${rounds}: ${refused} requests refused so far`);
      // Each class of sizes has spans of its own: all of them are to be full.
      if (round === 0) { for (const size of [64, 4096, 300]) await fill(work, size, 400); }
      for (const size of CLASS_SIZES) await fill(work, size, 100_000, 64);
      const some = [...work.sizes.keys()];
      const page = bus.page(some[random.below(some.length)]);
      const asked: Record<string, () => unknown> = {
        "a page of 1 B": () => bus.createPage({ size: 1 }),
        "a page of 16 MiB": () => bus.createPage({ size: 16 * MIB }),
        "a page with a name": () => bus.createPage({ size: 4096, name: `page ${round}` }),
        "a struct": () => bus.create(Pair, { name: `pair ${round}` }),
        "a table": () => bus.createTable(Wide, { name: `table ${round}` }),
        "rows of a table": () => {
          const column = new Float64Array(200_000);
          readings.append({ a: column, b: column, c: column, d: column });
        },
        "another size": () => page.resize(2 * MIB),
        "a clone": () => page.clone({ name: `clone ${round}` }),
        "pages of a list": () =>
          bus.changeGraph(
            Array.from({ length: 10 }, (_, i) => ({
              do: "add-page" as const,
              name: `listed ${round} ${i}`,
              size: 65_536,
            })),
          ),
        "pages of a transaction": () =>
          bus.transaction((tx) => void tx.createPage({ size: 65_536 })),
      };
      const was = bus.digest(), pages = bus.stats().pages;
      for (const [what, ask] of Object.entries(asked)) {
        const error = await refusalOf(bus, ask);
        assert(error !== undefined, `${what} was taken with memory full`);
        if (!isMmsbError(error)) throw error;
        assert(
          ["allocation", "limit", "memory-pressure"].includes(error.code),
          `${what}: ${error}`,
        );
        assert.equal(bus.digest(), was, `the state after ${what} was refused`);
        assert.equal(bus.stats().pages, pages, `pages after ${what} was refused`);
        ways.add(what);
        refused++;
      }
      // The bus goes on.
      const before = counter.epoch;
      await bus.commit(() => counter.combine("u32", "add", 0, 1));
      assert.equal(counter.epoch, before + 1);
      // What is deleted can be had again.
      const dead = some.filter(() => random.chance(0.3));
      const sizes = dead.map((id) => work.sizes.get(id)!), pagesNow = work.sizes.size;
      await work.delete(dead);
      await work.create(sizes);
      assert.equal(work.sizes.size, pagesNow, "pages that were deleted and made again");
      await work.delete([...work.sizes.keys()].filter(() => random.chance(0.2)));
    }
    const others = bus.stats().pages - work.sizes.size;
    work.check(bus, others);
    assert.deepEqual(readings.row(0), { a: 1, b: 2, c: 3, d: 4 });
    assert.equal(new DataView(counter.read().buffer).getUint32(0, true), rounds);
    digest = bus.digest();
    assert.equal((await bus.verify()).ok, true);
  } finally {
    await bus.close();
  }
  await using again = await StateBus.open({ ...options, readOnly: true });
  assert.equal(again.digest(), digest, "the directory opened again");
  log.add({
    what: "memory that is full, logged",
    amount: `${rounds} times ${mebibytes(limit)}, ${ways.size} ways of asking for more`,
    rate: "",
    checked:
      `${refused} requests refused by type, state as before each; ticks go on; room after deletes; opened again`,
    figures: { rounds, refused },
  });
}

/** What a request is refused with, at once or by its tick; nothing where it is taken. */
async function refusalOf(bus: StateBus, ask: () => unknown): Promise<unknown> {
  try {
    await ask();
    await bus.commit();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** The suite. */
export const memorySuite: StressSuite = {
  name: "memory",
  summary:
    "1,000,000 pages, sizes that come and go, memory full, given back, spilled; every byte checked",
  run: runMemory,
};

if (isProgram(import.meta)) Deno.exit(await programOf(memorySuite, Deno.args));
