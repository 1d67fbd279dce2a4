/**
 * Structure rows: births, edges, rules and marks as the columns of one frame.
 *
 * Such rows are few and of many kinds, so they are made as objects and put into columns together.
 * Births, deaths and edges are structural frames; rules and marks have frames of their own:
 *
 * | row | row kind | page | operation | size | shard | payload |
 * | --- | --- | --- | --- | --- | --- | --- |
 * | edge | structural | target | `addEdge`, `removeEdge` | source | type | |
 * | rule | rule | first output | `bind`, `unbind` | number of the rule | | its binding |
 * | mark | mark | page | the mark | 1 set, 0 taken off | | |
 *
 * Cost: an object and 40 bytes a row.
 *
 * @module
 */

import { alignUp } from "../base/mod.ts";
import {
  kernelColumns,
  type Mark,
  type PageStore,
  ROW_BYTES,
  type RuleBinding,
} from "../physical/mod.ts";
import { ROW_KIND, RULE_ROW, STRUCTURAL } from "./format.ts";
import type { RowFrame } from "./frame_writer.ts";
import { edgesOf } from "./structure_image.ts";

/** A row of a structural, rule or mark frame. */
export interface StructureRow {
  /** Page. */
  readonly page: number;
  /** What is done to it. */
  readonly operation: number;
  /** Size of the page; source of an edge; number of a rule; 1 or 0 of a mark. */
  readonly size: number;
  /** Shard; type of an edge. */
  readonly shard: number;
  /** Payload. */
  readonly payload: Uint8Array;
}

const EMPTY = new Uint8Array(0);

/** The row that adds an edge, or removes one. */
export function edgeRow(source: number, target: number, type: number, adds: boolean): StructureRow {
  const operation = adds ? STRUCTURAL.addEdge : STRUCTURAL.removeEdge;
  return { page: target, operation, size: source, shard: type, payload: EMPTY };
}

/** The row that binds a rule. */
export function bindRow({ number, page, payload }: RuleBinding): StructureRow {
  return { page, operation: RULE_ROW.bind, size: number, shard: 0, payload };
}

/** The row that unbinds a rule. */
export function unbindRow({ number, page }: Pick<RuleBinding, "number" | "page">): StructureRow {
  return { page, operation: RULE_ROW.unbind, size: number, shard: 0, payload: EMPTY };
}

/** The row that sets a mark on a page, or takes it off. */
export function markRow(page: number, mark: Mark, isSet: boolean): StructureRow {
  return { page, operation: mark, size: isSet ? 1 : 0, shard: 0, payload: EMPTY };
}

/** The rows that make the structure of a store, by row kind: edges, rules, marks. */
export function structureRows(
  store: PageStore,
): { readonly rowKind: number; readonly rows: StructureRow[] }[] {
  const edges = edgesOf(store).map(({ source, target, type }) =>
    edgeRow(source, target, type, true)
  );
  const marks = store.marks.list().map(({ page, mark }) => markRow(page, mark, true));
  return [
    { rowKind: ROW_KIND.structural, rows: edges },
    { rowKind: ROW_KIND.rule, rows: store.bindings.list().map(bindRow) },
    { rowKind: ROW_KIND.mark, rows: marks },
  ];
}

const NONE: ReadonlySet<number> = new Set();

/**
 * The frame of some rows, without its time.
 *
 * @param rows The rows.
 * @param rowKind Their kind.
 * @param deaths Pages whose deaths come behind them: perhaps a million, for which no objects are made.
 */
export function structureFrame(
  rows: readonly StructureRow[],
  rowKind: number = ROW_KIND.structural,
  deaths: ReadonlySet<number> = NONE,
): Omit<RowFrame, "hlcHi" | "hlcLo"> {
  const count = rows.length + deaths.size, capacity = alignUp(count, 8);
  const payloadLength = rows.reduce((sum, row) => sum + alignUp(row.payload.length, 4), 0);
  const payload = new Uint8Array(alignUp(payloadLength, 8));
  const columns = kernelColumns(new ArrayBuffer(capacity * ROW_BYTES), capacity, payload);
  const shards = new Uint8Array(count);
  let at = 0, next = rows.length;
  rows.forEach((row, index) => {
    columns.page[index] = row.page;
    columns.offset[index] = row.size;
    columns.length[index] = row.payload.length;
    columns.start[index] = at;
    columns.kind[index] = row.operation;
    shards[index] = row.shard;
    payload.set(row.payload, at);
    at += alignUp(row.payload.length, 4);
  });
  for (const page of deaths) {
    columns.page[next] = page;
    columns.start[next] = at;
    columns.kind[next++] = STRUCTURAL.deletePage;
  }
  return {
    rowKind,
    rows: count,
    producer: 0,
    sequence: 0,
    columns,
    epochs: false,
    shards,
    strings: [""],
    payloadLength,
  };
}
