/**
 * Export order: the rows of a tick as they were logged, or as the canonical form has them: by shard,
 * and there births, deltas by producer and sequence, deltas of rules by page, other changes by page.
 *
 * Cost: in the canonical order a number a row of the tick.
 */

import { MmsbError } from "../base/mod.ts";
import { isBirth, isStructural, type Part } from "./export_rows.ts";
import { isEdgeRow, ROW_KIND, STRUCTURAL } from "./format.ts";

/** A page that lives, as an export knows it. */
export interface ExportedPage {
  /** Its shard. */
  shard: number;
  /** Its epoch after the last delta that was given. */
  epoch: number;
}

/** Pages that live, by id. */
export type ExportedPages = Map<number, ExportedPage>;

/** Rows of a tick come in this order. */
export type Phase = "births" | "deltas" | "derived" | "changes";

const PHASES: readonly Phase[] = ["births", "deltas", "derived", "changes"];

/** A row of a tick. */
export type PlacedRow = readonly [part: Part, row: number, phase: Phase];

/** More rows than a frame can have: a place is a part's index times this, plus the row. */
const PLACE_ROWS = 2 ** 27;

/** Rows in the order of the log. */
export function* rowsAsLogged(parts: readonly Part[]): Generator<PlacedRow> {
  for (const phase of PHASES) {
    for (const part of parts) {
      const ofPart = deltaPhase(part);
      if (ofPart === undefined ? phase === "deltas" || phase === "derived" : ofPart !== phase) {
        continue;
      }
      for (let row = 0; row < part.decoded.rows; row++) {
        if (ofPart === undefined && isBirth(part, row) !== (phase === "births")) continue;
        yield [part, row, phase];
      }
    }
  }
}

/** Rows in the canonical order; the pages that they bear are in `pages` before the first is given. */
export function* sortedRows(parts: readonly Part[], pages: ExportedPages): Generator<PlacedRow> {
  const byProducer = [...parts].sort(({ frame: a }, { frame: b }) =>
    a.producer - b.producer || a.sequence - b.sequence || a.lane - b.lane || a.index - b.index
  );
  const shards = byShard(byProducer, pages);
  for (const shard of [...shards.keys()].sort((a, b) => a - b)) {
    const places = shards.get(shard)!;
    for (const phase of PHASES) {
      for (const place of places[phase]) {
        yield [byProducer[Math.floor(place / PLACE_ROWS)], place % PLACE_ROWS, phase];
      }
    }
  }
}

/** Takes migrations and deaths, once all rows of a tick were given. */
export function moveAndDelete(parts: readonly Part[], pages: ExportedPages): void {
  for (const { decoded: { columns, rows, shards } } of parts.filter(isStructural)) {
    for (let row = 0; row < rows; row++) {
      const page = columns.page[row] >>> 0;
      if (columns.kind[row] === STRUCTURAL.deletePage) pages.delete(page);
      const moved = columns.kind[row] === STRUCTURAL.migratePage ? pages.get(page) : undefined;
      if (moved !== undefined) moved.shard = shards?.[row] ?? 0;
    }
  }
}

/** Takes a birth. */
export function bearPage(
  pages: ExportedPages,
  { decoded: { columns, shards } }: Part,
  row: number,
): ExportedPage {
  const page = { shard: shards?.[row] ?? 0, epoch: 0 };
  pages.set(columns.page[row] >>> 0, page);
  return page;
}

/** What is wrong with a row whose page does not live. */
export function unknownPage(page: number): MmsbError {
  return new MmsbError("corrupt-log", `page ${page} is not there`);
}

/** The phase of all rows of a frame of deltas. */
function deltaPhase({ frame: { rowKind } }: Part): Phase | undefined {
  return rowKind === ROW_KIND.data
    ? "deltas"
    : rowKind === ROW_KIND.derived
    ? "derived"
    : undefined;
}

/** The places of a tick's rows by shard and phase. */
function byShard(
  parts: readonly Part[],
  pages: ExportedPages,
): Map<number, Record<Phase, number[]>> {
  for (const part of parts.filter(isStructural)) {
    for (let row = 0; row < part.decoded.rows; row++) {
      if (isBirth(part, row)) bearPage(pages, part, row);
    }
  }
  const shards = new Map<number, Record<Phase, number[]>>();
  parts.forEach((part, index) => {
    const { columns, rows } = part.decoded;
    const ofPart = deltaPhase(part);
    for (let row = 0; row < rows; row++) {
      const page = pages.get(columns.page[row] >>> 0);
      if (page === undefined) throw unknownPage(columns.page[row] >>> 0);
      let places = shards.get(page.shard);
      if (places === undefined) {
        shards.set(page.shard, places = { births: [], deltas: [], derived: [], changes: [] });
      }
      const phase = ofPart ?? (isBirth(part, row) ? "births" : "changes");
      places[phase].push(index * PLACE_ROWS + row);
    }
  });
  const page = (place: number) => {
    return parts[Math.floor(place / PLACE_ROWS)].decoded.columns.page[place % PLACE_ROWS] >>> 0;
  };
  for (const { births, derived, changes } of shards.values()) {
    births.sort((a, b) => page(a) - page(b));
    derived.sort((a, b) => page(a) - page(b) || a - b);
    changes.sort((a, b) => page(a) - page(b) || byStructure(parts, a, b) || a - b);
  }
  return shards;
}

/** Edges before rules before marks before all else, those of one page by what they are. */
function byStructure(parts: readonly Part[], a: number, b: number): number {
  const one = structureKey(parts, a), other = structureKey(parts, b);
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return one[i] - other[i];
  return 0;
}

function structureKey(parts: readonly Part[], place: number): readonly number[] {
  const { frame, decoded: { columns, shards } } = parts[Math.floor(place / PLACE_ROWS)];
  const row = place % PLACE_ROWS, operation = columns.kind[row], value = columns.offset[row] >>> 0;
  if (frame.rowKind === ROW_KIND.rule) return [1, -operation, value, 0];
  // Set and taken off in one tick: the last one counts.
  if (frame.rowKind === ROW_KIND.mark) return [2, operation, 0, 0];
  return isEdgeRow(operation) ? [0, -operation, value, shards?.[row] ?? 0] : [3, 0, 0, 0];
}
