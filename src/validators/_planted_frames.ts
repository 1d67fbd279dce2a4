/**
 * Faults planted in frames whose checksums, digests and positions are right: what a program that writes logs can
 * get wrong, and what somebody can do who knows the format.
 */

import { type MemoryStorage, ROW_KIND } from "../log/mod.ts";
import {
  type ForgedFrame,
  type ForgedLog,
  type ForgedTick,
  putTogether,
  reseal,
  takeApart,
} from "./_forge.ts";
import { type PlantedFault, plantedFault } from "./_planted_fault.ts";
import { SAMPLE_SHARDS } from "./_sample_log.ts";

/** Where a frame stands in the list of ticks; without an index its tick's first one. */
export interface ForgedPlace {
  /** Index of its tick. */
  readonly tickIndex: number;
  /** Index of the frame in it; behind the last one stands the commit row. */
  readonly index?: number;
}

/** Changes the ticks of a log; gives the frame at which the fault must be found. */
export type ForgedEdit = (ticks: ForgedTick[]) => ForgedPlace;

/** Plants a fault in ticks, and puts them together as a log that is whole. */
export function plantInTicks(sample: MemoryStorage, id: string, edit: ForgedEdit): PlantedFault {
  const ticks = takeApart(sample), { tickIndex, index = 0 } = edit(ticks);
  const log = putTogether(ticks, SAMPLE_SHARDS);
  const { tick } = ticks[tickIndex];
  return plantedFault(id, log.storage, {
    file: log.path,
    offset: placeOf(log, tickIndex, index).at,
    tick,
  });
}

/** All of them. */
export function plantInFrames(sample: MemoryStorage): PlantedFault[] {
  const plant = (id: string, edit: ForgedEdit) => plantInTicks(sample, id, edit);
  return [
    ...plantInHeaders(sample),
    ...plantInCommits(sample),
    plant("tick-twice", (ticks) => {
      ticks.splice(ticks.length - 5, 0, structuredClone(ticks[10]));
      return { tickIndex: ticks.length - 6 };
    }),
    plant("tick-missing", (ticks) => {
      const at = ticks.length >> 1;
      ticks.splice(at, 1);
      return { tickIndex: at };
    }),
    plant("time-back", (ticks) => {
      const found = dataFrame(ticks, ticks.length >> 1);
      found.frame.hlc -= 10_000_000_000n;
      return found;
    }),
    plant("time-overlap", (ticks) => {
      const found = dataFrame(ticks, ticks.length >> 1), { tickIndex, index } = found;
      const before = ticks[tickIndex].frames[index - 1];
      found.frame.hlc = before.hlc + BigInt(before.rows.length - 1);
      return found;
    }),
    plant("sequence-back", (ticks) => {
      const found = dataFrame(ticks, ticks.length >> 2);
      found.frame.sequence -= 1;
      return found;
    }),
    plant("sequence-left-out", (ticks) => {
      const isOwn = ({ rowKind, producer }: ForgedFrame) =>
        rowKind === ROW_KIND.data && producer === 0;
      const from = ticks.length >> 1;
      const tickIndex = ticks.findIndex(({ frames }, at) => at > from && frames.some(isOwn));
      const index = ticks[tickIndex].frames.findIndex(isOwn);
      for (const { frames } of ticks.slice(tickIndex)) {
        for (const frame of frames.filter(isOwn)) frame.sequence++;
      }
      return { tickIndex, index };
    }),
    plant("graph-version-back", (ticks) => {
      const tickIndex = ticks.findIndex(({ graphVersion }) => graphVersion > 0) + 1;
      ticks[tickIndex].about = { graphVersion: 0 };
      return { tickIndex };
    }),
    plant("page-id-again", (ticks) => {
      const tickIndex = ticks.length >> 1;
      ticks[tickIndex].nextPageId = 2;
      return { tickIndex, index: ticks[tickIndex].frames.length };
    }),
    plant("rule-number-again", (ticks) => {
      const tickIndex = ticks.length >> 1;
      ticks[tickIndex].nextRule = 1;
      return { tickIndex, index: ticks[tickIndex].frames.length };
    }),
  ];
}

/** Faults of what a frame's header says. */
function plantInHeaders(sample: MemoryStorage): PlantedFault[] {
  const inTick = (id: string, about: ForgedTick["about"], ofCommit = false) =>
    plantInTicks(sample, id, (ticks) => {
      const tickIndex = ticks.length >> 1;
      ticks[tickIndex].about = about;
      return { tickIndex, index: ofCommit ? ticks[tickIndex].frames.length : 0 };
    });
  const patched = (id: string, edit: (view: DataView, at: number) => void) =>
    resealed(sample, id, (ticks) => dataFrame(ticks, ticks.length >> 1), edit);
  const lanes = new Uint8Array(32);
  lanes[0] = 0b11;
  return [
    inTick("frame-of-another-lane", { lane: 1 }),
    inTick("frame-of-another-writer", { incarnation: 7 }),
    inTick("participants-wrong", { participants: lanes }, true),
    inTick("synced-too-far", { syncedPosition: 2 ** 40 }),
    patched("row-kind-unknown", (view, at) => view.setUint8(at + 26, 9)),
    patched("rows-too-many", (view, at) => {
      const rows = view.getUint32(at + 28, true) + 100;
      view.setUint32(at + 28, rows, true);
      const first = view.getBigUint64(at + 72, true);
      view.setBigUint64(at + 80, first + BigInt(rows - 1), true);
    }),
    patched("time-range", (view, at) => {
      view.setBigUint64(at + 80, view.getBigUint64(at + 80, true) + 5n, true);
    }),
  ];
}

/** Faults of commit rows. */
function plantInCommits(sample: MemoryStorage): PlantedFault[] {
  const inCommit = (id: string, edit: (view: DataView, row: number) => void) =>
    resealed(sample, id, (ticks) => {
      const tickIndex = ticks.length >> 1;
      return { tickIndex, index: ticks[tickIndex].frames.length };
    }, (view, at) => {
      // One section stands behind the header and its one entry.
      edit(view, at + view.getUint16(at + 10, true));
    });
  return [
    inCommit("commit-digest", (view, row) => view.setUint8(row + 4, view.getUint8(row + 4) ^ 1)),
    inCommit("commit-frames", (view, row) => {
      view.setUint32(row, view.getUint32(row, true) + 1, true);
    }),
    inCommit("commit-rows", (view, row) => {
      view.setFloat64(row + 8, view.getFloat64(row + 8, true) + 1, true);
    }),
    withoutCommit(sample),
  ];
}

function withoutCommit(sample: MemoryStorage): PlantedFault {
  const ticks = takeApart(sample), tickIndex = ticks.length >> 1;
  const log = putTogether(ticks, SAMPLE_SHARDS), { storage, path: file } = log;
  const { at, length } = placeOf(log, tickIndex, ticks[tickIndex].frames.length);
  const bytes = storage.readAll(file)!;
  bytes.copyWithin(at, at + length);
  storage.replace(file, bytes.slice(0, bytes.length - length));
  // It shows where the next tick begins.
  return plantedFault("commit-missing", storage, { file, offset: at, tick: ticks[tickIndex].tick });
}

/** Plants a fault in the bytes of one frame, whose checksums are made to fit. */
function resealed(
  sample: MemoryStorage,
  id: string,
  find: ForgedEdit,
  edit: (view: DataView, at: number) => void,
): PlantedFault {
  const ticks = takeApart(sample), { tickIndex, index = 0 } = find(ticks);
  const log = putTogether(ticks, SAMPLE_SHARDS), place = placeOf(log, tickIndex, index);
  reseal(log, place, edit);
  const { tick } = ticks[tickIndex];
  return plantedFault(id, log.storage, { file: log.path, offset: place.at, tick });
}

function placeOf({ places }: ForgedLog, tickIndex: number, index: number) {
  return places.find((place) => place.tickIndex === tickIndex && place.index === index)!;
}

/** The last data frame at or after a tick, which has more than one row and another frame before it. */
export function dataFrame(
  ticks: readonly ForgedTick[],
  from: number,
): Required<ForgedPlace> & { readonly frame: ForgedFrame } {
  for (let tickIndex = from;; tickIndex++) {
    const { frames } = ticks[tickIndex];
    const index = frames.findLastIndex(({ rowKind, rows }) => {
      return rowKind === ROW_KIND.data && rows.length > 1;
    });
    if (index >= 1) return { tickIndex, index, frame: frames[index] };
  }
}
