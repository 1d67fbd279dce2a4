/**
 * Faults planted in single rows of frames that are whole: deltas, births, deaths, and what else becomes of pages.
 */

import { type MemoryStorage, ROW_KIND, STRUCTURAL } from "../log/mod.ts";
import { KIND_MASKED } from "../physical/mod.ts";
import type { ForgedFrame, ForgedRow, ForgedTick } from "./_forge.ts";
import type { PlantedFault } from "./_planted_fault.ts";
import { dataFrame, type ForgedEdit, type ForgedPlace, plantInTicks } from "./_planted_frames.ts";

type RowEdit = (row: ForgedRow, frame: ForgedFrame, ticks: readonly ForgedTick[]) => void;

/** All of them. */
export function plantInRows(sample: MemoryStorage): PlantedFault[] {
  const plant = (id: string, edit: ForgedEdit) => plantInTicks(sample, id, edit);
  return [...plantInDeltas(plant), ...plantInBirths(plant), ...plantInChanges(plant)];
}

type Plant = (id: string, edit: ForgedEdit) => PlantedFault;

function plantInDeltas(plant: Plant): PlantedFault[] {
  const inRow = (id: string, edit: RowEdit) =>
    plant(id, (ticks) => {
      const found = dataFrame(ticks, ticks.length >> 1), { frame } = found;
      edit(frame.rows[frame.rows.length >> 1], frame, ticks);
      return found;
    });
  return [
    plant("page-unborn", (ticks) => {
      const { page } = dataFrame(ticks, ticks.length >> 1).frame.rows[0];
      for (const { frames } of ticks) {
        for (const frame of frames.filter(isStructural)) {
          frame.rows = frame.rows.filter((row) => row.page !== page);
        }
      }
      const hasPage = ({ rows }: ForgedFrame) => rows.some((row) => row.page === page);
      const tickIndex = ticks.findIndex(({ frames }) => frames.some(hasPage));
      return { tickIndex, index: ticks[tickIndex].frames.findIndex(hasPage) };
    }),
    inRow("page-dead", (row, _frame, ticks) => {
      row.page = deadPage(ticks, ticks.length >> 1);
    }),
    inRow("epoch-gap", (row) => void (row.epoch += 1)),
    inRow("epoch-back", (row) => void (row.epoch -= 3)),
    inRow("epoch-twice", (row) => void (row.epoch -= 1)),
    plant("row-lost", (ticks) => {
      const found = dataFrame(ticks, ticks.length >> 1), { rows } = found.frame;
      // One whose page has another row behind it, in the same frame.
      const lost = rows.findIndex(({ page }, at) => {
        return rows.some((row, behind) => behind > at && row.page === page);
      });
      rows.splice(lost, 1);
      return found;
    }),
    inRow("span-outside", (row) => void (row.offset = 1_000_000)),
    inRow("span-empty", (row) => void (row.length = 0)),
    inRow("kind-unknown", (row) => void (row.kind = 0x7f)),
    plant("combine-askew", (ticks) => {
      const found = dataFrame(ticks, ticks.length >> 1);
      const row = found.frame.rows.find(({ kind, length }) => kind > KIND_MASKED && length === 4)!;
      row.offset += row.offset >= 2 ? -2 : 2;
      return found;
    }),
    inRow("source-unknown", (row, frame) => void (row.source = frame.strings.length)),
    inRow("intent-unknown", (row, frame) => void (row.intent = frame.strings.length)),
    inRow("payload-outside", (row, frame) => void (row.start = frame.payload.length)),
  ];
}

function plantInBirths(plant: Plant): PlantedFault[] {
  /** Changes the first birth behind the first ticks, in a frame of births. */
  const inBirth = (
    id: string,
    edit: (row: ForgedRow, frame: ForgedFrame, ticks: readonly ForgedTick[]) => void,
  ) =>
    plant(id, (ticks) => {
      const place = lateBirth(ticks), frame = ticks[place.tickIndex].frames[place.index];
      edit(frame.rows.find(({ kind }) => kind === STRUCTURAL.createPage)!, frame, ticks);
      return place;
    });
  return [
    inBirth("page-born-twice", (row, _frame, [{ frames }]) => {
      row.page = frames.find(isBirth)!.rows[0].page;
    }),
    inBirth("page-id-zero", (row) => void (row.page = 0)),
    inBirth("page-size-zero", (row) => void (row.offset = 0)),
    inBirth("page-shard-unknown", (row) => void (row.shard = 200)),
    inBirth("name-twice", (row, frame, [{ frames }]) => {
      const births = frames.find(isBirth)!, named = births.rows.find(({ length }) => length > 0)!;
      const bytes = births.payload.subarray(named.start, named.start + named.length);
      const start = frame.payload.length;
      frame.payload = Uint8Array.of(...frame.payload, ...bytes);
      row.start = start;
      row.length = bytes.length;
    }),
    inBirth("birth-unreadable", (row, frame) => {
      frame.payload.fill(0xff, row.start, row.start + row.length);
    }),
  ];
}

function plantInChanges(plant: Plant): PlantedFault[] {
  /** Adds a structural row of its own at the end of a tick. */
  const change = (
    id: string,
    edit: (about: { living: number; dead: number }) => Partial<ForgedRow>,
  ) =>
    plant(id, (ticks) => {
      const { tickIndex, frame } = dataFrame(ticks, ticks.length >> 1);
      const about = { living: frame.rows[0].page, dead: deadPage(ticks, tickIndex) };
      return addFrame(ticks, tickIndex, ROW_KIND.structural, [{ ...PLAIN, ...edit(about) }]);
    });
  return [
    change("page-deleted-twice", ({ dead }) => ({ page: dead, kind: STRUCTURAL.deletePage })),
    change("resize-dead", ({ dead }) => {
      return { page: dead, kind: STRUCTURAL.resizePage, offset: 64 };
    }),
    change("resize-to-nothing", ({ living }) => {
      return { page: living, kind: STRUCTURAL.resizePage };
    }),
    change("migrate-nowhere", ({ living }) => {
      return { page: living, kind: STRUCTURAL.migratePage, shard: 200 };
    }),
    change("operation-unknown", ({ living }) => ({ page: living, kind: 99 })),
  ];
}

/** A row without anything. */
export const PLAIN: ForgedRow = {
  page: 0,
  offset: 0,
  length: 0,
  start: 0,
  kind: 0,
  source: 0,
  intent: 0,
  epoch: 0,
  shard: 0,
};

/** Adds a frame of rows at the end of a tick. */
export function addFrame(
  ticks: readonly ForgedTick[],
  tickIndex: number,
  rowKind: number,
  rows: ForgedRow[],
  payload: Uint8Array<ArrayBuffer> = new Uint8Array(0),
): ForgedPlace {
  const tick = ticks[tickIndex], hlc = tick.commitHlc;
  tick.commitHlc += BigInt(rows.length);
  const about = { producer: 0, sequence: 0, hlc, strings: [""] };
  return { tickIndex, index: tick.frames.push({ ...about, rowKind, rows, payload }) - 1 };
}

/** A page that died before a tick. */
export function deadPage(ticks: readonly ForgedTick[], before: number): number {
  for (const { frames } of ticks.slice(0, before)) {
    for (const { rows } of frames.filter(isStructural)) {
      for (const row of rows) if (row.kind === STRUCTURAL.deletePage) return row.page;
    }
  }
  throw new Error("no page of the sample died");
}

function lateBirth(ticks: readonly ForgedTick[]): Required<ForgedPlace> {
  const tickIndex = ticks.findIndex(({ frames }, at) => at > 5 && frames.some(isBirth));
  return { tickIndex, index: ticks[tickIndex].frames.findIndex(isBirth) };
}

function isStructural({ rowKind }: ForgedFrame): boolean {
  return rowKind === ROW_KIND.structural;
}

function isBirth(frame: ForgedFrame): boolean {
  return isStructural(frame) && frame.rows.some(({ kind }) => kind === STRUCTURAL.createPage);
}
