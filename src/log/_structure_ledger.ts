/**
 * Structure ledger: what the rows of a log claim of edges, rules and marks, checked against what the rows
 * before them said.
 *
 * It knows pages by their ids and needs no bytes of them, so it serves those who only look at a log: the
 * verification, an import, a salvage. What does not fit is told and left out. Where rows were lost, what
 * was taken away or added in them is not known, and nobody is blamed for it.
 *
 * Cost: 36 bytes an edge and an entry of a map a page that ever had one; the payload a rule.
 */

import { MmsbError } from "../base/mod.ts";
import {
  EDGE_TYPES,
  EdgeTable,
  isMark,
  type PageStore,
  type RuleBinding,
} from "../physical/mod.ts";
import { EdgeOrder } from "./_edge_order.ts";
import { bindingOf } from "./binding.ts";
import { isEdgeRow, ROW_KIND, RULE_ROW, STRUCTURAL } from "./format.ts";
import {
  type DecodedRows,
  type FrameHeader,
  isLaneMark,
  type SegmentBytes,
} from "./frame_reader.ts";
import type { LogRow } from "./import_columns.ts";
import { bindRow, edgeRow, markRow, type StructureRow, unbindRow } from "./structure_rows.ts";

/** A row of an edge, a rule or a mark. */
export interface StructureChange {
  /** Row kind of its frame. */
  readonly rowKind: number;
  /** Target of an edge, first output of a rule, page of a mark. */
  readonly page: number;
  /** What is done; of marks, which. */
  readonly operation: number;
  /** Source of an edge, number of a rule, 1 or 0 of a mark. */
  readonly value: number;
  /** Type of an edge. */
  readonly type: number;
  /** Binding of a rule, copied. */
  readonly payload: Uint8Array;
}

const EMPTY = new Uint8Array(0);

/** Whether a frame can have such rows. */
export function mayHaveStructure(frame: FrameHeader): boolean {
  return frame.rowKind === ROW_KIND.structural || frame.rowKind === ROW_KIND.rule ||
    frame.rowKind === ROW_KIND.mark && !isLaneMark(frame);
}

/** The rows of edges, rules and marks of a frame. */
export function structureChanges(
  { bytes }: SegmentBytes,
  { rowKind }: FrameHeader,
  { columns, rows, shards, payloadEnd }: DecodedRows,
): StructureChange[] {
  const changes: StructureChange[] = [];
  for (let row = 0; row < rows; row++) {
    const operation = columns.kind[row];
    if (rowKind === ROW_KIND.structural && !isEdgeRow(operation)) continue;
    const start = columns.start[row], end = start + columns.length[row];
    const hasPayload = rowKind === ROW_KIND.rule && start >= 0 && start < end && end <= payloadEnd;
    changes.push({
      rowKind,
      page: columns.page[row] >>> 0,
      operation,
      value: columns.offset[row] >>> 0,
      type: shards?.[row] ?? 0,
      payload: hasPayload ? bytes.slice(start, end) : EMPTY,
    });
  }
  return changes;
}

/** A row as it is written. */
export function structureLogRow(
  { page, operation, value, type, payload }: StructureChange,
): LogRow {
  return { page, kind: operation, offset: value, shard: type, length: payload.length, payload };
}

/** Edges, rules and marks as a log's rows tell of them. */
export class StructureLedger {
  readonly #lives: (page: number) => boolean;
  readonly #edges = new EdgeTable();
  readonly #order = new EdgeOrder(this.#edges);
  readonly #vertices = new Map<number, number>();
  readonly #pages: number[] = [0];
  readonly #bindings = new Map<number, RuleBinding>();
  readonly #names = new Map<string, number>();
  /** Numbers of the rules that write a page or keep their state in it. */
  readonly #writers = new Map<number, number>();
  /** Marks that are set: the page times 4, plus the mark. */
  readonly #marks = new Set<number>();
  #isUnsure = false;
  #ruleMax = 0;

  /** @param lives Whether a page is there. */
  constructor(lives: (page: number) => boolean) {
    this.#lives = lives;
  }

  /** Largest number of a rule so far. */
  get ruleMax(): number {
    return this.#ruleMax;
  }

  /** The types of all edges, the bindings by number, and all marks. */
  contents(): {
    readonly edges: readonly number[];
    readonly bindings: readonly RuleBinding[];
    readonly marks: readonly number[];
  } {
    return {
      edges: Array.from(this.#edges.edges(), (edge) => this.#edges.type(edge)),
      bindings: [...this.#bindings.values()].sort((a, b) => a.number - b.number),
      marks: Array.from(this.#marks, (key) => key % 4),
    };
  }

  /** Numbers of the rules that are bound. */
  numbers(): Iterable<number> {
    return this.#bindings.keys();
  }

  /** Says that rows were lost. */
  lose(): void {
    this.#isUnsure = true;
  }

  /** Whether a rule is bound, or may be. */
  mayBeBound(number: number): boolean {
    return this.#isUnsure || this.#bindings.has(number);
  }

  /**
   * Takes the rows of one tick, in the order in which they take effect.
   *
   * @param changes The rows as they stand in the log.
   * @param tell Told of each row that does not fit, which has no effect then; may throw.
   * @returns The rows that fit, in that order.
   */
  apply<T extends StructureChange>(
    changes: readonly T[],
    tell: (change: T, message: string) => void,
  ): T[] {
    const fit: T[] = [];
    const each = (some: readonly T[], apply: (change: T) => string | undefined) => {
      for (const change of some) {
        const fault = apply(change);
        if (fault === undefined) fit.push(change);
        else tell(change, fault);
      }
    };
    const of = (rowKind: number, operation: number) =>
      changes.filter((change) => change.rowKind === rowKind && change.operation === operation);
    each(of(ROW_KIND.rule, RULE_ROW.unbind), (change) => this.#unbind(change));
    each(of(ROW_KIND.structural, STRUCTURAL.removeEdge), (change) => this.#removeEdge(change));
    const added: number[] = [];
    each(of(ROW_KIND.structural, STRUCTURAL.addEdge), (change) => this.#addEdge(change, added));
    this.#breakCycles(changes, added, fit, tell);
    each(of(ROW_KIND.rule, RULE_ROW.bind), (change) => this.#bind(change));
    each(
      changes.filter(({ rowKind }) => rowKind === ROW_KIND.mark),
      (change) => this.#mark(change),
    );
    for (const change of changes) {
      const isKnown = change.rowKind !== ROW_KIND.rule ||
        change.operation === RULE_ROW.bind || change.operation === RULE_ROW.unbind;
      if (!isKnown) tell(change, `operation ${change.operation} on a rule is not known`);
    }
    return fit;
  }

  /** Takes the death of a page, which takes its edges, rules and marks along. */
  removePage(page: number): void {
    const vertex = this.#vertices.get(page);
    if (vertex !== undefined) this.#edges.removeRow(vertex);
    for (const { number, inputs, outputs, state } of this.#bindings.values()) {
      if (![...inputs, ...outputs, ...state].includes(page)) continue;
      this.#drop(number);
    }
    for (let mark = 1; mark < 4; mark++) this.#marks.delete(4 * page + mark);
  }

  /**
   * The rows that lead from what is here to the structure of a store, by row kind. What goes with a page
   * that the store does not have needs none.
   */
  rowsTo(store: PageStore): StructureChange[] {
    const changes: StructureChange[] = [];
    const add = (rowKind: number, { page, operation, size, shard, payload }: StructureRow) => {
      changes.push({ rowKind, page, operation, value: size, type: shard, payload });
    };
    const { table, edges, bindings, marks } = store;
    for (const edge of this.#edges.edges()) {
      const source = this.#pages[this.#edges.from(edge)],
        target = this.#pages[this.#edges.to(edge)];
      const type = this.#edges.type(edge), from = table.rowOf(source), to = table.rowOf(target);
      const isOver = from !== 0 && to !== 0 && edges.find(from, to, type) === 0;
      if (isOver) add(ROW_KIND.structural, edgeRow(source, target, type, false));
    }
    for (const edge of edges.edges()) {
      const source = table.ids[edges.from(edge)], target = table.ids[edges.to(edge)];
      const type = edges.type(edge);
      if (this.#find({ page: target, value: source, type }) !== 0) continue;
      add(ROW_KIND.structural, edgeRow(source, target, type, true));
    }
    for (const binding of this.#bindings.values()) {
      const { inputs, outputs, state } = binding;
      const isThere = [...inputs, ...outputs, ...state].every((page) => table.rowOf(page) !== 0);
      if (isThere && bindings.get(binding.number) === undefined) {
        add(ROW_KIND.rule, unbindRow(binding));
      }
    }
    for (const binding of bindings.list()) {
      if (!this.#bindings.has(binding.number)) add(ROW_KIND.rule, bindRow(binding));
    }
    for (const key of this.#marks) {
      const page = Math.floor(key / 4), mark = key % 4;
      const isOver = table.rowOf(page) !== 0 && isMark(mark) && !marks.has(page, mark);
      if (isOver) add(ROW_KIND.mark, markRow(page, mark, false));
    }
    for (const { page, mark } of marks.list()) {
      if (!this.#marks.has(4 * page + mark)) add(ROW_KIND.mark, markRow(page, mark, true));
    }
    return changes;
  }

  #unbind({ page, value }: StructureChange): string | undefined {
    const binding = this.#bindings.get(value);
    if (binding === undefined) {
      return this.#isUnsure ? undefined : `rule ${value} is unbound and was not bound`;
    }
    if (binding.page !== page) return `rule ${value} writes page ${binding.page}, not page ${page}`;
    this.#drop(value);
    return undefined;
  }

  #bind({ page, value, payload }: StructureChange): string | undefined {
    let binding: RuleBinding;
    try {
      binding = bindingOf(value, payload);
    } catch (error) {
      if (!(error instanceof MmsbError)) throw error;
      return error.message;
    }
    const { name, inputs, outputs, state } = binding;
    if (value === 0) return "a rule has the number 0";
    if (this.#bindings.has(value)) {
      return this.#isUnsure ? undefined : `rule ${value} is bound twice`;
    }
    const other = this.#names.get(name);
    if (other !== undefined && !this.#isUnsure) {
      return `rule ${other} is named "${name}", and so is rule ${value}`;
    }
    if (binding.page !== page) return `rule ${value} writes page ${binding.page}, not page ${page}`;
    const gone = [...inputs, ...outputs, ...state].find((id) => !this.#lives(id));
    if (gone !== undefined) return `page ${gone} of rule "${name}" is not there`;
    for (const id of [...outputs, ...state]) {
      const writer = this.#writers.get(id);
      if (writer === undefined) continue;
      if (!this.#isUnsure) {
        return `rules "${this.#bindings.get(writer)!.name}" and "${name}" write page ${id}`;
      }
      this.#drop(writer);
    }
    this.#bindings.set(value, binding);
    this.#names.set(name, value);
    for (const id of [...outputs, ...state]) this.#writers.set(id, value);
    this.#ruleMax = Math.max(this.#ruleMax, value);
    return undefined;
  }

  #drop(number: number): void {
    const { name, outputs, state } = this.#bindings.get(number)!;
    this.#bindings.delete(number);
    if (this.#names.get(name) === number) this.#names.delete(name);
    for (const page of [...outputs, ...state]) this.#writers.delete(page);
  }

  #removeEdge(change: StructureChange): string | undefined {
    const edge = this.#find(change);
    if (edge === 0) {
      return this.#isUnsure ? undefined : `${textOf(change)} is removed and was not there`;
    }
    this.#edges.remove(edge);
    return undefined;
  }

  #addEdge(change: StructureChange, added: number[]): string | undefined {
    const { page, value, type } = change;
    if (EDGE_TYPES[type] === undefined) return `type ${type} of an edge is not known`;
    if (page === value) return `page ${page} has an edge to itself`;
    const gone = [value, page].find((id) => !this.#lives(id));
    if (gone !== undefined) return `${textOf(change)} is added and page ${gone} is not there`;
    if (this.#find(change) !== 0) {
      return this.#isUnsure ? undefined : `${textOf(change)} is added and was there`;
    }
    added.push(this.#edges.add(this.#vertexOf(value), this.#vertexOf(page), type));
    return undefined;
  }

  /** Takes edges out again that close a cycle. */
  #breakCycles<T extends StructureChange>(
    changes: readonly T[],
    added: readonly number[],
    fit: T[],
    tell: (change: T, message: string) => void,
  ): void {
    let left = added, closing = this.#order.place(left);
    while (closing !== 0) {
      const page = this.#pages[this.#edges.to(closing)], type = this.#edges.type(closing);
      const value = this.#pages[this.#edges.from(closing)];
      const change = changes.find((change) =>
        change.operation === STRUCTURAL.addEdge && change.page === page &&
        change.value === value && change.type === type
      )!;
      this.#edges.remove(closing);
      fit.splice(fit.indexOf(change), 1);
      if (!this.#isUnsure) tell(change, `${textOf(change)} closes a cycle`);
      left = left.slice(left.indexOf(closing) + 1);
      closing = this.#order.place(left);
    }
  }

  #mark({ page, operation, value }: StructureChange): string | undefined {
    if (!this.#lives(page)) return `page ${page} is marked and is not there`;
    if (!isMark(operation)) return `mark ${operation} of page ${page} is not known`;
    if (value > 1) return `mark ${operation} of page ${page} is neither set nor taken off`;
    if (value === 1) this.#marks.add(4 * page + operation);
    else this.#marks.delete(4 * page + operation);
    return undefined;
  }

  #find({ page, value, type }: Pick<StructureChange, "page" | "value" | "type">): number {
    const from = this.#vertices.get(value), to = this.#vertices.get(page);
    return from === undefined || to === undefined ? 0 : this.#edges.find(from, to, type);
  }

  #vertexOf(page: number): number {
    let vertex = this.#vertices.get(page);
    if (vertex === undefined) this.#vertices.set(page, vertex = this.#pages.push(page) - 1);
    return vertex;
  }
}

/** An edge in words that go on. */
function textOf({ page, value, type }: StructureChange): string {
  return `the ${EDGE_TYPES[type] ?? type} edge from page ${value} to page ${page}`;
}
