/**
 * What validator 7 looks at beside its churn: that the bus's own monitor tells the truth about cold pages and slots,
 * and that a tick which deletes every page leaves no pause behind it.
 *
 * Cold pages: some ticks write a few pages that are known here; all others must be told as cold, and none else. The
 * deletion: all pages go in one tick, whose time is told by itself, as it grows with the pages; then the room comes back in
 * slices, each timed whole. Garbage collections are told by V8 meanwhile, apart from all that.
 */

import type { CollectionPauses, MemoryReport, StateBus } from "../bus/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import type { Pause } from "./_memory_work.ts";
import { threadClock } from "./thread_clock.ts";

/** What was seen. */
export interface ReclaimOutcome {
  /** Pages that the monitor told as cold or as warm, and that were not. */
  readonly coldPagesWrong: number;
  /** Slots of which the monitor did not know whose they were: live, waiting and free ones are all there are. */
  readonly slotsUnknown: number;
  /** Pages deleted in one tick. */
  readonly pages: number;
  /** Staging their deletion. */
  readonly stageMs: number;
  /** The tick that deleted them, with the slice behind it. */
  readonly tickMs: number;
  /** The slices of reclaiming. */
  readonly slices: readonly Pause[];
  /** V8's pauses from before the deletion to the last slice; absent where V8 did not tell. */
  readonly collections?: CollectionPauses;
  /** Why V8 did not tell. */
  readonly reason: string;
}

/** Pages written while all others rest. */
const WARM = 64;
/** Pages count as cold from this age on, and the others rest for twice as long. */
const COLD_TICKS = 32;

/** Looks at a bus whose pages were all written, and deletes them. */
export async function reclaimAll(
  bus: StateBus,
  ids: Uint32Array,
  progress: (text: string) => void,
): Promise<ReclaimOutcome> {
  progress("telling cold pages from warm ones");
  await bus.trackMemory();
  const coldPagesWrong = await countWrongAges(bus, ids);
  let slotsUnknown = unknownSlots(bus.memory(), ids.length);
  progress(`deleting ${ids.length.toLocaleString("en")} pages in one tick`);
  const started = performance.now();
  for (const id of ids) bus.page(id).delete();
  const staged = performance.now();
  await bus.tick();
  const tickMs = performance.now() - staged, slices: Pause[] = [];
  slotsUnknown += unknownSlots(bus.memory(), 0);
  const { usedMs, close } = threadClock();
  for (let pending = bus.memory().pendingReclaim!.slots; pending > 0;) {
    const used = usedMs(), began = performance.now();
    const { pendingSlots } = bus.reclaim();
    const clockMs = performance.now() - began;
    slices.push({ clockMs, ownMs: Math.min(clockMs, usedMs() - used) });
    // Slots that do not come back are told, not waited for.
    if (pendingSlots >= pending) break;
    pending = pendingSlots;
  }
  close();
  const report = bus.memory(), { collection, collectionReason: reason } = report.pauses;
  slotsUnknown += unknownSlots(report, 0) + report.pendingReclaim!.slots;
  const { length: pages } = ids, stageMs = staged - started;
  const told = { coldPagesWrong, slotsUnknown, pages, stageMs, tickMs, slices, reason };
  return collection === undefined ? told : { ...told, collections: collection };
}

/** Writes the same few pages in each of some ticks, and compares what the monitor tells with that. */
async function countWrongAges(bus: StateBus, ids: Uint32Array): Promise<number> {
  const warm = Math.min(WARM, ids.length >> 1);
  const batch = new DeltaBatch({ rows: warm, payloadBytes: 16 * warm });
  // What was written last: the pages stay as they were.
  for (let i = 0; i < warm; i++) batch.push(ids[i], 0, bus.page(ids[i]).read(0, 16));
  const from = bus.tickNumber;
  while (bus.tickNumber < from + 2 * COLD_TICKS) {
    const receipt = bus.submit(batch);
    await bus.tick();
    await receipt;
  }
  let cold = 0, all = 0;
  for (const { fromTicks, pages } of bus.memory().cold!.ages) {
    all += pages;
    if (fromTicks >= COLD_TICKS) cold += pages;
  }
  return Math.abs(cold - (ids.length - warm)) + Math.abs(all - ids.length);
}

/** By how much what the monitor tells of slots does not add up. */
function unknownSlots({ classes, pages }: MemoryReport, expectedPages: number): number {
  let unknown = Math.abs(pages - expectedPages), slots = 0;
  for (const { live, pending, free, carved } of classes) {
    unknown += Math.abs(carved! - live - pending! - free!);
    slots += live;
  }
  return unknown + Math.abs(slots - expectedPages);
}
