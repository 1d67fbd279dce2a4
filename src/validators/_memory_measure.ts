/**
 * What validator 7 measures, in the process that it is measured in.
 *
 * First a million pages of 1 KiB, every byte written; then, some times over, an eighth of them, chosen at
 * random, deleted and as many created again; then, on another bus, rounds of pages of mixed sizes, at whose end the very
 * sizes that were there come back in another order.
 */

import { SeededRandom } from "../log/seeded_random.ts";
import { plantInMemory } from "./_memory_planted.ts";
import { reclaimAll, type ReclaimOutcome } from "./_memory_reclaim.ts";
import {
  MemoryFindings,
  MemoryWork,
  MIXED_BYTES_MAX,
  mixedSizes,
  type Pause,
  shuffle,
} from "./_memory_work.ts";
import { openBus } from "./device_run.ts";
import type { PlantedResult } from "./validator.ts";

/** What to do. */
export interface MemoryPlan {
  /** Pages of 1 KiB. */
  readonly pages: number;
  /** Pages of mixed sizes. */
  readonly mixedPages: number;
  /** Rounds in which half of these are replaced. */
  readonly rounds: number;
  /** Seed of everything random. */
  readonly seed: number;
}

/** What was measured. */
export interface MemoryOutcome {
  /** Pages of 1 KiB that were there. */
  readonly pages: number;
  /** Bytes by which the resident set of the process grew from before the bus to all pages written. */
  readonly residentBytes: number;
  /** Bytes of the pages' slots. */
  readonly dataBytes: number;
  /** Bytes of the page table. */
  readonly bookkeepingBytes: number;
  /** Bytes by which the resident set grew when pages were deleted and created again. */
  readonly residentRegrownBytes: number;
  /** Bytes that were cut from the arena though the same sizes had been there before. */
  readonly regrownBytes: number;
  /** Share of the arena's cut bytes that no slot in use has, after the mixed rounds, with all pages there. */
  readonly fragmentation: number;
  /** Share of them that stands in these slots behind their pages. */
  readonly internalFragmentation: number;
  /** Bytes of the mixed pages' slots. */
  readonly mixedBytes: number;
  /** Pages unlike what was written. */
  readonly wrongPages: number;
  /** New pages that did not begin as new ones. */
  readonly wrongReuses: number;
  /** Pages created in all. */
  readonly created: number;
  /** Pages deleted in all. */
  readonly deleted: number;
  /** The ticks that deleted pages of 1 KiB, for each time that it was done. */
  readonly pauses: readonly (readonly Pause[])[];
  /** The ticks that deleted pages of mixed sizes. */
  readonly mixedPauses: readonly Pause[];
  /** What the monitor told, and what all pages left when they went in one tick. */
  readonly reclaim: ReclaimOutcome;
  /** Faults that were planted in pages of a small bus, and whether the work told them. */
  readonly planted: readonly PlantedResult[];
}

/** How a process is looked at. */
export interface MemoryProbe {
  /** Bytes of its resident set. */
  residentBytes(): number;
  /** Collects garbage, so that none is counted. */
  collect(): void;
  /** Told how far the work is. */
  progress(text: string): void;
}

const PAGE_BYTES = 1024;
/** How often pages of 1 KiB are deleted and created again. */
const TIMES = 5;
/** Bytes of one tick's births: they are resident too while they wait. */
const PAYLOAD_BYTES: number = 4 * 2 ** 20;
const MEMORY_LIMIT_BYTES: number = 2 * 2 ** 30;

/** Does the work. */
export async function measureMemory(plan: MemoryPlan, probe: MemoryProbe): Promise<MemoryOutcome> {
  const findings = new MemoryFindings();
  const full = await fillAndReplace(plan, probe, findings);
  const mixed = await churn(plan, probe, findings);
  const { wrongPages, wrongReuses, created, deleted } = findings;
  probe.progress("planting faults");
  const planted = await plantInMemory();
  return {
    pages: plan.pages,
    ...full,
    regrownBytes: full.regrownBytes + mixed.regrownBytes,
    fragmentation: mixed.fragmentation,
    internalFragmentation: mixed.internalFragmentation,
    mixedBytes: mixed.bytes,
    mixedPauses: mixed.pauses,
    wrongPages,
    wrongReuses,
    created,
    deleted,
    planted,
  };
}

/** Pages of 1 KiB: all of them, then some of them once more, and again. */
async function fillAndReplace(plan: MemoryPlan, probe: MemoryProbe, findings: MemoryFindings) {
  const sizes = new Uint16Array(plan.pages).fill(PAGE_BYTES);
  // What this work notes for itself is no memory of the bus: it is there, and resident, before.
  const ids = new Uint32Array(plan.pages).fill(1);
  const told = (what: string) => (pages: number) => probe.progress(`${text(pages)} pages ${what}`);
  probe.collect();
  const before = probe.residentBytes();
  await using bus = await openBus({ memoryLimitBytes: MEMORY_LIMIT_BYTES });
  const work = new MemoryWork(bus, PAGE_BYTES, PAYLOAD_BYTES, findings);
  await work.create(sizes, told("created and written"), ids);
  probe.collect();
  const filled = probe.residentBytes();
  const { allocator, bookkeepingBytes } = bus.stats();
  checkAll(work, ids, sizes, probe);

  const random = new SeededRandom(plan.seed), pauses: Pause[][] = [];
  const some = sizes.subarray(0, plan.pages >> 3);
  for (let time = 1; time <= TIMES; time++) {
    probe.progress(`deleting ${text(some.length)} pages, time ${time} of ${TIMES}`);
    pauses.push(await work.delete(shuffle(random, ids).subarray(0, some.length)));
    ids.set(await work.create(some, told("created in freed slots")));
  }
  checkAll(work, ids, sizes, probe);
  probe.collect();
  const residentRegrownBytes = probe.residentBytes() - filled;
  const regrownBytes = bus.stats().allocator.carvedBytes - allocator.carvedBytes;
  return {
    residentBytes: filled - before,
    dataBytes: allocator.liveBytes,
    bookkeepingBytes,
    residentRegrownBytes,
    regrownBytes,
    pauses,
    reclaim: await reclaimAll(bus, ids, probe.progress),
  };
}

/** Pages of mixed sizes: in each round half of them go, and others of other sizes come. */
async function churn(plan: MemoryPlan, probe: MemoryProbe, findings: MemoryFindings) {
  const { mixedPages, rounds, seed } = plan;
  const random = new SeededRandom(seed);
  await using bus = await openBus({ memoryLimitBytes: MEMORY_LIMIT_BYTES });
  const sizes = mixedSizes(random, mixedPages);
  const work = new MemoryWork(bus, MIXED_BYTES_MAX, PAYLOAD_BYTES, findings);
  const ids = await work.create(sizes);
  const pauses: Pause[] = [];
  const half = mixedPages >> 1, order = Uint32Array.from(ids.keys());
  for (let round = 1; round <= rounds; round++) {
    probe.progress(`churn, round ${round} of ${rounds}`);
    const replaced = shuffle(random, order).subarray(0, half);
    pauses.push(...await work.delete(replaced.map((index) => ids[index])));
    const fresh = mixedSizes(random, half), born = await work.create(fresh);
    replaced.forEach((index, i) => {
      ids[index] = born[i];
      sizes[index] = fresh[i];
    });
  }
  checkAll(work, ids, sizes, probe);
  const { carvedBytes, liveBytes } = bus.stats().allocator;
  const { external, internal } = bus.memory().fragmentation!;

  // All go, and just these sizes come back, in another order.
  pauses.push(...await work.delete(ids));
  const again = await work.create(shuffle(random, sizes));
  checkAll(work, again, sizes, probe);
  const regrownBytes = bus.stats().allocator.carvedBytes - carvedBytes;
  return {
    fragmentation: external,
    internalFragmentation: internal,
    bytes: liveBytes,
    regrownBytes,
    pauses,
  };
}

function checkAll(
  work: MemoryWork,
  ids: Uint32Array,
  sizes: ArrayLike<number>,
  { progress }: MemoryProbe,
): void {
  progress(`reading ${text(ids.length)} pages back`);
  for (let i = 0; i < ids.length; i++) work.check(ids[i], sizes[i]);
}

/** A number as people read it. */
function text(value: number): string {
  return value.toLocaleString("en");
}
