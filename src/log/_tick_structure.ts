/**
 * Tick structure: what the rows of one tick do to edges, rules and marks.
 *
 * The rows are gathered while a tick is read and take effect when it commits: first what is taken away, then
 * what is added, so that a tick may replace an edge or a rule; then marks. Each is checked as if it
 * were new, and refused with the place of its frame.
 */

import { MmsbError } from "../base/mod.ts";
import { EDGE_TYPES, isMark, type PageStore } from "../physical/mod.ts";
import type { EdgeOrder } from "./_edge_order.ts";
import { bindingOf } from "./binding.ts";
import { ROW_KIND, RULE_ROW, STRUCTURAL } from "./format.ts";
import type { DecodedRows, FrameHeader } from "./frame_reader.ts";
import type { LaneTick } from "./lane_reader.ts";

/** Where a row stands, for those who refuse it. */
export interface RowPlace {
  /** The tick on its lane. */
  readonly lane: LaneTick;
  /** The frame. */
  readonly frame: FrameHeader;
}

interface Change extends RowPlace {
  readonly page: number;
  readonly operation: number;
  /** Source of an edge; number of a rule; 1 or 0 of a mark. */
  readonly value: number;
  /** Type of an edge. */
  readonly type: number;
  readonly payload: Uint8Array;
}

const EMPTY = new Uint8Array(0);

/** Whether the rows of a frame are about rules or marks. */
export function isRuleOrMark({ rowKind, rows }: FrameHeader): boolean {
  return rows > 0 && (rowKind === ROW_KIND.rule || rowKind === ROW_KIND.mark);
}

/** The payload of a row of structure, copied. */
export function payloadOf(place: RowPlace, decoded: DecodedRows, row: number): Uint8Array {
  const start = decoded.columns.start[row], end = start + decoded.columns.length[row];
  if (end === start) return EMPTY;
  if (start < 0 || end < start || end > decoded.payloadEnd) {
    throw new MmsbError("corrupt-log", `the payload of row ${row} is not in its frame`);
  }
  return place.lane.segment.bytes.slice(start, end);
}

/** What one tick does to edges, rules and marks. */
export class TickStructure {
  #removed: Change[] = [];
  #added: Change[] = [];
  #unbound: Change[] = [];
  #bound: Change[] = [];
  #marks: Change[] = [];

  /** Takes a row of an edge, a rule or a mark. */
  take(place: RowPlace, decoded: DecodedRows, row: number): void {
    const { columns, shards } = decoded, { rowKind } = place.frame;
    const change: Change = {
      ...place,
      page: columns.page[row] >>> 0,
      operation: columns.kind[row],
      value: columns.offset[row] >>> 0,
      type: shards?.[row] ?? 0,
      payload: rowKind === ROW_KIND.rule ? payloadOf(place, decoded, row) : EMPTY,
    };
    const { operation } = change;
    if (rowKind === ROW_KIND.mark) this.#marks.push(change);
    else if (rowKind === ROW_KIND.structural) {
      (operation === STRUCTURAL.addEdge ? this.#added : this.#removed).push(change);
    } else if (operation === RULE_ROW.bind) this.#bound.push(change);
    else if (operation === RULE_ROW.unbind) this.#unbound.push(change);
    else throw new MmsbError("corrupt-log", `operation ${operation} on a rule is not known`);
  }

  /**
   * Changes a store.
   *
   * @param store The store.
   * @param order The order of its edges.
   * @param refuse Throws, at a row's place.
   */
  apply(
    store: PageStore,
    order: EdgeOrder,
    refuse: (place: RowPlace, cause: unknown) => never,
  ): void {
    const each = (changes: readonly Change[], apply: (change: Change) => void) => {
      for (const change of changes) {
        try {
          apply(change);
        } catch (cause) {
          refuse(change, cause);
        }
      }
    };
    each(this.#unbound, (change) => unbind(store, change));
    each(this.#removed, (change) => removeEdge(store, change));
    const edges: number[] = [];
    each(this.#added, (change) => edges.push(addEdge(store, change)));
    const closing = order.place(edges);
    if (closing !== 0) {
      const change = this.#added[edges.indexOf(closing)];
      refuse(change, fault(`the ${textOf(change)} closes a cycle`));
    }
    each(this.#bound, (change) => bind(store, change));
    each(this.#marks, (change) => mark(store, change));
  }
}

function unbind(store: PageStore, { page, value }: Change): void {
  const binding = store.bindings.get(value);
  if (binding === undefined) throw fault(`rule ${value} is unbound and was not bound`);
  if (binding.page !== page) throw fault(`rule ${value} writes page ${binding.page}, not ${page}`);
  store.bindings.remove(value);
}

function bind(store: PageStore, { page, value, payload }: Change): void {
  const binding = bindingOf(value, payload), { bindings, table } = store;
  if (value === 0 || bindings.get(value) !== undefined) throw fault(`rule ${value} is bound twice`);
  if (bindings.find(binding.name) !== undefined) {
    throw fault(`a rule named "${binding.name}" is bound already`);
  }
  if (binding.page !== page) throw fault(`rule ${value} writes page ${binding.page}, not ${page}`);
  for (const id of [...binding.inputs, ...binding.outputs, ...binding.state]) {
    if (table.rowOf(id) === 0) throw fault(`page ${id} of rule "${binding.name}" is not there`);
  }
  for (const id of [...binding.outputs, ...binding.state]) {
    const other = bindings.writerOf(id);
    if (other !== undefined) {
      throw fault(`rules "${other.name}" and "${binding.name}" write page ${id}`);
    }
  }
  bindings.add(binding);
  store.nextRule = Math.max(store.nextRule, value + 1);
}

function removeEdge(store: PageStore, change: Change): void {
  const edge = store.edges.find(rowOf(store, change.value), rowOf(store, change.page), change.type);
  if (edge === 0) throw fault(`the ${textOf(change)} is removed and was not there`);
  store.edges.remove(edge);
}

function addEdge(store: PageStore, change: Change): number {
  const from = rowOf(store, change.value), to = rowOf(store, change.page), { type } = change;
  if (EDGE_TYPES[type] === undefined) throw fault(`type ${type} of an edge is not known`);
  if (from === to) throw fault(`page ${change.page} has an edge to itself`);
  if (store.edges.find(from, to, type) !== 0) {
    throw fault(`the ${textOf(change)} is added and was there`);
  }
  return store.edges.add(from, to, type);
}

function mark(store: PageStore, { page, operation, value }: Change): void {
  rowOf(store, page);
  if (!isMark(operation)) throw fault(`mark ${operation} is not known`);
  if (value > 1) throw fault(`mark ${operation} of page ${page} is neither set nor taken off`);
  store.marks.set(page, operation, value === 1);
}

function rowOf(store: PageStore, page: number): number {
  const row = store.table.rowOf(page);
  if (row === 0) throw fault(`page ${page} is not there`);
  return row;
}

function textOf({ page, value, type }: Change): string {
  return `${EDGE_TYPES[type] ?? type} edge from page ${value} to page ${page}`;
}

function fault(message: string): MmsbError {
  return new MmsbError("corrupt-log", message);
}
