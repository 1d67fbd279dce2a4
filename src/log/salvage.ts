/**
 * Salvage: whatever can be read of a damaged directory, written to a new, whole one; and what cannot,
 * named by file, tick and page.
 *
 * Ticks are taken where they are whole, also behind damage, with their numbers and times. Ticks that
 * are lost stay numbers without rows: the tick behind them stands for them as well. A page that lost
 * deltas keeps its later ones, and its epoch is the true one; its bytes are those that the kept deltas
 * lead to. Where rows of a batch are left out, the times of those behind move up.
 *
 * The source is only read. A torn tail, which recovery would cut, is no loss and is not taken.
 *
 * Cost: two passes over the log; one tick in memory, and some entries of maps a page.
 *
 * @module
 */

import { resolve } from "node:path";
import { MmsbError, SHARDS_DEFAULT } from "../base/mod.ts";
import { findMeta, holderOf, type MetaFound, openDirectory } from "./_directory.ts";
import { checkPlace, checkSalvage } from "./_transfer_options.ts";
import { settledView } from "./compaction_switch.ts";
import type { LogFault } from "./fault.ts";
import { buildDirectory, checkTarget } from "./import_target.ts";
import { LogBuilder } from "./log_builder.ts";
import { LogReader } from "./log_reader.ts";
import { META_PATH } from "./meta.ts";
import { planSalvage, type SalvagePlan } from "./salvage_plan.ts";
import { findImages, type SalvageImages } from "./salvage_images.ts";
import type {
  SalvagedPage,
  SalvageOptions,
  SalvageRange,
  SalvageReport,
} from "./salvage_report.ts";
import { SalvageWriter } from "./salvage_writer.ts";
import type { Storage } from "./storage.ts";

/**
 * Salvages a directory that nobody is writing.
 *
 * @param directory The damaged directory; it is only read.
 * @param target The new directory, which is not there yet or is empty; it appears when all is durable.
 * @param options Progress.
 * @returns What was saved and what is lost; losses are given, not thrown.
 * @throws {MmsbError} `usage` where the one is no data directory or the other is not empty, `version`
 * where a newer MMSB wrote it, `disk-full`, `read-only` or `io` where the system refuses.
 *
 * @example A segment with a flipped bit
 * ```ts
 * import assert from "node:assert/strict";
 * import { salvageLog, StateBus } from "@mmsb/mmsb";
 *
 * const folder = await Deno.makeTempDir(), dir = `${folder}/data`;
 * {
 *   await using bus = await StateBus.open({ dir });
 *   const page = bus.createPage({ size: 8, name: "board" });
 *   for (const text of ["first", "second", "third"]) {
 *     await bus.commit(() => page.write(0, new TextEncoder().encode(text)));
 *   }
 * }
 * const path = `${dir}/lane-00/0000000001.log`;
 * const segment = await Deno.readFile(path);
 * segment[new TextDecoder("latin1").decode(segment).indexOf("second")] ^= 1;
 * await Deno.writeFile(path, segment);
 * await assert.rejects(StateBus.open({ dir }), { code: "corrupt-log" });
 * const { ticksLost } = await salvageLog(dir, `${folder}/saved`);
 * assert.deepEqual(ticksLost, [{ first: 2, last: 2 }]);
 * const saved = await StateBus.open({ dir: `${folder}/saved`, readOnly: true });
 * assert.equal(new TextDecoder().decode(saved.find("board")!.read(0, 5)), "third");
 * await saved.close();
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function salvageLog(
  directory: string,
  target: string,
  options: SalvageOptions = {},
): Promise<SalvageReport> {
  checkPlace("directory", directory);
  checkPlace("target", target);
  checkSalvage(options);
  checkTarget(target);
  const storage = openDirectory(directory);
  if (`${resolve(target)}/`.startsWith(`${storage.location}/`)) {
    throw new MmsbError(
      "usage",
      `Cannot salvage ${JSON.stringify(storage.location)} into itself: name another directory`,
      { values: { directory: storage.location, target } },
    );
  }
  return await buildDirectory(target, (into) => salvageStorage(storage, into, options));
}

/**
 * Salvages a storage into another one.
 *
 * @param storage The damaged one; it is only read.
 * @param target An empty one; if this throws, nobody should open it.
 * @param options Progress.
 * @returns What was saved and what is lost.
 * @throws {MmsbError} as {@linkcode salvageLog}.
 */
export async function salvageStorage(
  storage: Storage,
  target: Storage,
  options: SalvageOptions = {},
): Promise<SalvageReport> {
  return await salvageSettled(settledView(storage), target, options);
}

async function salvageSettled(
  storage: Storage,
  target: Storage,
  options: SalvageOptions,
): Promise<SalvageReport> {
  const { progress = () => {} } = options;
  const found = findMeta(storage), { meta } = found;
  const end = endOf(storage, found);
  const plan = planSalvage(storage, meta, end.tickMax, progress);
  const shards = meta?.shards ?? Math.max(SHARDS_DEFAULT, plan.shardMax + 1);
  const builder = new LogBuilder(target, { shards });
  const passedOver: string[] = [];
  const base = meta?.base?.tick ?? 0;
  const isHurt = plan.gaps.size > 0 || plan.tail !== undefined ||
    (meta?.closed?.tick ?? 0) > plan.lastTick || plan.lastTick === 0;
  const note = (text: string) => {
    if (!passedOver.includes(text)) passedOver.push(text);
  };
  const begin = base > 0 ? findImages(storage, meta, "oldest", note) : undefined;
  const newest = isHurt && !end.isTorn ? findImages(storage, meta, "newest", note) : undefined;
  const repair = newest !== undefined && newest.tick > (begin?.tick ?? 0) ? newest : undefined;
  const writer = new SalvageWriter(builder, plan, { begin, repair }, progress);
  try {
    await writer.run(storage, meta);
    await builder.close({
      incarnation: meta?.incarnation,
      horizon: base > 0 ? begin?.tick : meta?.base?.horizon,
    });
  } catch (error) {
    await builder.abandon();
    throw error;
  }
  const pagesLost = writer.pages.end();
  const { hurt, deltasLost, size } = writer.pages;
  const ticksLost = lostTicks(plan, meta?.closed?.tick ?? 0, end.isTorn);
  const isCut = plan.faults.at(-1)?.fault === "segment-missing" && ticksLost.length === 0;
  // Without meta.json nobody knows the last tick, so damage that seems to hurt none may have.
  const isBlind = meta === undefined && plan.faults.some(({ kind }) => kind === "damage");
  const isComplete = !isCut && !isBlind && ticksLost.length === 0 && deltasLost === 0 &&
    hurt.length === 0 &&
    pagesLost.length === 0 && !end.isUnsure;
  return {
    ok: isComplete,
    faults: faultsOf(found, plan, end.isTorn),
    ticks: writer.ticks,
    lastTick: builder.tick,
    deltas: builder.deltas,
    pages: size,
    ticksLost,
    deltasLost,
    pagesHurt: hurt.map((page) => withRepair(page, repair)).sort((a, b) => a.page - b.page),
    pagesLost,
    notes: [
      ...notesOf(storage, found, shards),
      ...(begin === undefined ? [] : [
        `the log begins with the checkpoint of tick ${begin.tick}: earlier ticks are one state`,
      ]),
      ...(base === 0 || begin !== undefined ? [] : [
        `the log begins behind tick ${base}, and no checkpoint of what was before can be read: pages ` +
        "that were not written since are lost without being listed",
      ]),
      ...(repair === undefined ? [] : [
        `the checkpoint of tick ${repair.tick} gave the pages back what they lost before it`,
      ]),
      ...passedOver,
      ...unlistedNotes(ticksLost, plan, writer.pages.rowsUnplaced, repair),
      ...writer.notes,
    ],
  };
}

/** Damage that leaves the frames beside it to tell what was written there. */
const TELLS: ReadonlySet<string> = new Set(["frame-body", "commit"]);

/** Whether pages may miss deltas without being listed: no later delta of theirs shows it. */
function unlistedNotes(
  ticksLost: readonly SalvageRange[],
  { faults }: SalvagePlan,
  rowsUnplaced: number,
  repair: SalvageImages | undefined,
): string[] {
  const [first] = ticksLost, last = ticksLost.at(-1);
  if (first === undefined || last === undefined) return [];
  const told = new Set(faults.map(({ tick }) => tick));
  const lost = ticksLost.reduce((sum, range) => sum + range.last - range.first + 1, 0);
  const isLost = (tick = 0) => ticksLost.some((range) => range.first <= tick && tick <= range.last);
  const isKnown = rowsUnplaced === 0 && faults.every(({ fault }) => TELLS.has(fault)) &&
    [...told].filter(isLost).length === lost;
  if (isKnown || repair !== undefined && repair.tick >= last.last) return [];
  return [
    "not all that was lost can be told: a page that was not written again behind tick " +
    `${first.first} may miss deltas too, or be lost, without being listed`,
  ];
}

/** A page that lost deltas, with the tick of the checkpoint that makes up for them. */
function withRepair(page: SalvagedPage, images: SalvageImages | undefined): SalvagedPage {
  const isRepaired = images !== undefined && page.ticks.last <= images.tick &&
    images.store.table.rowOf(page.page) !== 0;
  return isRepaired ? { ...page, repaired: images.tick } : page;
}

/** How the log ends, as recovery sees it. */
interface EndFound {
  /** Last tick that counts. */
  readonly tickMax: number;
  /** Whether what follows is a torn tail. */
  readonly isTorn: boolean;
  /** Whether nobody can say if what follows was acknowledged. */
  readonly isUnsure: boolean;
}

function endOf(storage: Storage, { meta }: MetaFound): EndFound {
  const reader = new LogReader(storage, meta);
  while (reader.next() !== undefined);
  const { state, tick } = reader.end();
  if (state === "damaged") return { tickMax: Infinity, isTorn: false, isUnsure: false };
  if (meta === undefined) {
    return { tickMax: Infinity, isTorn: false, isUnsure: state === "torn" };
  }
  return { tickMax: tick, isTorn: state === "torn", isUnsure: false };
}

function lostTicks(plan: SalvagePlan, closed: number, isTorn: boolean): SalvageRange[] {
  const ranges = [...plan.gaps.values()].map(({ ticks }) => ticks);
  if (isTorn) return ranges;
  const last = Math.max(closed, plan.tail?.last ?? 0);
  if (last > plan.lastTick) ranges.push({ first: plan.lastTick + 1, last });
  return ranges;
}

function faultsOf({ fault }: MetaFound, plan: SalvagePlan, isTorn: boolean): LogFault[] {
  const kind = isTorn ? "torn" as const : "damage" as const;
  return [
    ...(fault === undefined ? [] : [{
      kind: "damage" as const,
      fault: "meta" as const,
      file: META_PATH,
      offset: 0,
      message: fault,
    }]),
    ...plan.faults.map((one) => ({ ...one, kind })),
  ];
}

function notesOf(storage: Storage, { meta }: MetaFound, shards: number): string[] {
  const holder = holderOf(storage);
  return [
    ...(meta === undefined
      ? [
        `the number of shards was lost with ${META_PATH}: the new directory has ${shards}`,
        "without it nobody can say whether the log went on behind its last tick",
      ]
      : []),
    ...(holder === undefined ? [] : [`process ${holder} has it open, or was killed`]),
  ];
}
