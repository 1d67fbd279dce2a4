/**
 * Structure lines: edges, rules and marks of an import as rows, checked when their tick is whole.
 *
 * @module
 */

import { MmsbError, PAGE_ID_MAX } from "../base/mod.ts";
import { EDGE, type EdgeType, MARK, type MarkName } from "../physical/mod.ts";
import { type StructureChange, StructureLedger, structureLogRow } from "./_structure_ledger.ts";
import { bindingFault, type BindingText, encodeBinding } from "./binding.ts";
import { ROW_KIND, RULE_ROW, STRUCTURAL } from "./format.ts";
import type { LogRow } from "./import_columns.ts";
import type { ImportLedger } from "./import_ledger.ts";
import type { ImportLine } from "./import_lines.ts";

const RULE_MAX = 0xffff_fffe;
/** Longest name of an edge's type or of a mark. */
const WORD_BYTES_MAX = 16;
const EMPTY = new Uint8Array(0);

/** A line that is to take effect at the end of its tick. */
interface LineChange extends StructureChange {
  readonly line: ImportLine;
}

/** A row with its row kind. */
export interface KindRow {
  /** Row kind of its frame. */
  readonly rowKind: number;
  /** The row. */
  readonly row: LogRow;
}

/** Whether lines of a type are about edges, rules or marks. */
export function isStructureLine(type: string): boolean {
  return type === "edge" || type === "bind" || type === "unbind" || type === "mark";
}

/** Edges, rules and marks as the lines of an import tell of them. */
export class ImportStructure {
  readonly #ledger: ImportLedger;
  readonly #structure: StructureLedger;
  #changes: LineChange[] = [];
  /** The first line of each rule that made deltas of this tick and was not bound before it. */
  readonly #rules = new Map<number, ImportLine>();

  /** @param ledger The pages. */
  constructor(ledger: ImportLedger) {
    this.#ledger = ledger;
    this.#structure = new StructureLedger((page) => ledger.isThere(page));
  }

  /** The next number of a rule that is not taken. */
  get nextRule(): number {
    return this.#structure.ruleMax + 1;
  }

  /** The row of a line. */
  row(line: ImportLine): KindRow {
    const page = line.integer("page", 1, PAGE_ID_MAX);
    this.#ledger.living(line, page);
    const change = { page, line, ...changeOf(line) };
    this.#changes.push(change);
    return { rowKind: change.rowKind, row: structureLogRow(change) };
  }

  /** Notes the rule of a delta: it must be bound before the tick or in it. */
  madeBy(line: ImportLine, number: number): void {
    const isKnown = number === 0 || this.#structure.mayBeBound(number) || this.#rules.has(number);
    if (!isKnown) this.#rules.set(number, line);
  }

  /** Ends a tick, before its deaths. */
  endTick(dead: Iterable<number>): void {
    if (this.#changes.length > 0) {
      this.#structure.apply(
        this.#changes,
        ({ line }, message) => line.refuse(fieldOf(line), message),
      );
    }
    for (const [number, line] of this.#rules) {
      if (!this.#structure.mayBeBound(number)) line.refuse("rule", `rule ${number} is not bound`);
    }
    for (const page of dead) this.#structure.removePage(page);
    this.#changes = [];
    this.#rules.clear();
  }
}

/** The field that most likely is wrong. */
function fieldOf({ type }: ImportLine): string {
  return type === "edge" ? "from" : type === "mark" ? "mark" : "rule";
}

function changeOf(line: ImportLine): Omit<StructureChange, "page"> {
  if (line.type === "edge") return edgeOf(line);
  if (line.type === "mark") {
    const name = line.text("mark", WORD_BYTES_MAX);
    if (!Object.hasOwn(MARK, name)) line.refuse("mark", `there is no mark ${JSON.stringify(name)}`);
    const value = line.boolean("set") ? 1 : 0;
    const operation = MARK[name as MarkName];
    return { rowKind: ROW_KIND.mark, operation, value, type: 0, payload: EMPTY };
  }
  const value = line.integer("rule", 1, RULE_MAX), rowKind = ROW_KIND.rule;
  if (line.type === "unbind") {
    if (line.has("binding")) line.refuse("binding", "only bind lines have one");
    return { rowKind, operation: RULE_ROW.unbind, value, type: 0, payload: EMPTY };
  }
  const binding = line.part("binding");
  const fault = bindingFault(binding);
  if (fault !== undefined) line.refuse("binding", fault);
  let payload: Uint8Array;
  try {
    payload = encodeBinding(binding as unknown as BindingText);
  } catch (cause) {
    if (!(cause instanceof MmsbError)) throw cause;
    line.refuse("binding", cause.message, cause);
  }
  return { rowKind, operation: RULE_ROW.bind, value, type: 0, payload };
}

function edgeOf(line: ImportLine): Omit<StructureChange, "page"> {
  const name = line.text("edge", WORD_BYTES_MAX), change = line.text("change", WORD_BYTES_MAX);
  if (!Object.hasOwn(EDGE, name)) {
    line.refuse("edge", `there is no edge of type ${JSON.stringify(name)}`);
  }
  if (change !== "add" && change !== "remove") {
    line.refuse("change", `it is ${JSON.stringify(change)}, neither "add" nor "remove"`);
  }
  return {
    rowKind: ROW_KIND.structural,
    operation: change === "add" ? STRUCTURAL.addEdge : STRUCTURAL.removeEdge,
    value: line.integer("from", 1, PAGE_ID_MAX),
    type: EDGE[name as EdgeType],
    payload: EMPTY,
  };
}
