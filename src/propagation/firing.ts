/**
 * Firing: runs rules of one level, one after the other, on one thread.
 *
 * It is the context that rules are given, too: `input(i)` points a cursor at the page and hands it out, so
 * that nothing is made for a run. What a rule changes goes straight into its pages, the old words into
 * the change log. After a run the words of an output that were noted twice, or that are as they were
 * after all, are sorted out; so an output has records if and only if its bytes differ.
 *
 * A firing needs nothing but the store, a change log and the rules, so each thread can have its own.
 *
 * Cost: 10 to 20 ns a run beside the rule's own work.
 *
 * @module
 */

import { MmsbError, reasonOf } from "../base/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import { NEEDS_FULL } from "./bound_rule.ts";
import { type ChangeLog, RECORD_HEAD } from "./change_log.ts";
import { type CursorOwner, InputCursor, OutputCursor } from "./page_cursor.ts";
import type { RuleProgram } from "./program.ts";
import {
  refuseIndex,
  type RuleContext,
  type RuleInput,
  type RuleOutput,
  type RuleTable,
} from "./rule.ts";
import { Changes } from "./rule_changes.ts";
import type { TableChanges } from "./table_changes.ts";
import type { TableRegion } from "./table_region.ts";

/** A table that rules read, and what of it has changed. */
export interface TableVertex {
  /** Its pages. */
  readonly region: TableRegion;
  /** Rows, in the page table, of its pages that have records. */
  readonly dirty: number[];
  /** Its changed rows, for one rule at a time. */
  readonly changes: TableChanges;
}

/** Finds the table of a root page, by its row. */
export type FindTable = (row: number) => TableVertex | undefined;

const NO_ROWS = new Int32Array(0);

/** Runs rules. */
export class Firing implements RuleContext, CursorOwner {
  /** The tick. */
  tick = 0;
  /** What was wrong with what the rule did. */
  fault: unknown = undefined;
  /** Rules run in this tick. */
  fired = 0;
  /** Flags that runs of this tick have taken off their rules. */
  readonly taken: Map<number, number> = new Map();
  /** @ignore Index of the rule that runs, 0 while none does. */
  rule = 0;
  /** @ignore The rules. */
  program!: RuleProgram;
  readonly #store: PageStore;
  readonly #log: ChangeLog;
  readonly #findTable: FindTable = (row) => this.program.tables.get(row);
  readonly #inputs: InputCursor[] = [];
  readonly #outputs: OutputCursor[] = [];
  readonly #changes: Changes;
  #records: Int32Array;
  /** The columns that the cursors know. */
  #words: Int32Array | undefined;
  #ids: Uint32Array | undefined;
  #inputRows: Int32Array = NO_ROWS;
  #writtenRows: Int32Array = NO_ROWS;
  #isUnordered = false;
  /** Outputs that the rule that runs has asked for are below. */
  #handed = 0;
  /** For each word of an output its oldest noted value's place in the log. */
  #places = new Int32Array(64);

  /** Runs rules over a store. */
  constructor(store: PageStore, log: ChangeLog) {
    this.#store = store;
    this.#log = log;
    this.#records = store.table.records;
    this.#changes = new Changes(this, store, log, this.#findTable);
  }

  /** Begins a tick. */
  begin(tick: number, program: RuleProgram): void {
    if (this.program !== program) this.#take(program);
    this.tick = tick;
    this.fired = 0;
    // Whoever used a page that he kept from an earlier run has heard of it.
    this.fault = undefined;
    this.#records = this.#store.table.records;
    if (this.#words === this.#store.arena.words && this.#ids === this.#store.table.ids) return;
    this.#words = this.#store.arena.words;
    this.#ids = this.#store.table.ids;
    for (const cursor of this.#inputs) this.#lay(cursor);
    for (const cursor of this.#outputs) this.#lay(cursor);
    this.#changes.lay((cursor) => this.#lay(cursor));
  }

  /** Ends a tick: no cursor points at a page any more. */
  end(): void {
    this.rule = 0;
    if (this.taken.size > 0) this.taken.clear();
    for (let i = 0; i < this.#inputs.length; i++) this.#inputs[i].size = 0;
    for (let i = 0; i < this.#outputs.length; i++) {
      this.#outputs[i].size = 0;
      this.#outputs[i].firing = -1;
    }
    this.#handed = 0;
  }

  /**
   * Runs rules that do not depend on each other.
   *
   * @param queue Indices of rules in the program.
   * @param start First of them.
   * @param end One behind the last.
   * @throws {MmsbError} `rule` where one fails, with the rule, its first output and the tick.
   */
  run(queue: Int32Array, start: number, end: number): void {
    let i = start;
    try {
      for (; i < end; i++) this.#run(queue[i]);
      this.fired += end - start;
    } catch (cause) {
      // The one that failed is counted: it has its count to be put back, too.
      this.fired += i + 1 - start;
      this.#changes.end();
      throw this.#failed(cause);
    }
  }

  /** The parameters of the rule that runs. */
  get params(): unknown {
    return this.program.params[this.rule];
  }

  /** {@inheritDoc RuleContext.input} */
  input(index: number): RuleInput {
    const { rule } = this, { inputStart } = this.program, at = inputStart[rule] + index;
    if (index >>> 0 !== index || at >= inputStart[rule + 1]) return this.#refuse("input", index);
    const cursor = index < this.#inputs.length ? this.#inputs[index] : this.#newInput(index);
    const row = this.#inputRows[at], records = this.#records;
    cursor.row = row;
    cursor.slot = records[row << 1];
    const limit = records[(row << 1) + 1];
    cursor.size = limit < 0 ? ~limit : limit;
    return cursor;
  }

  /** {@inheritDoc RuleContext.output} */
  output(index: number): RuleOutput {
    if (index >>> 0 !== index || index >= this.program.outputCount[this.rule]) {
      return this.#refuse("output", index);
    }
    return this.#written(index);
  }

  /** {@inheritDoc RuleContext.state} */
  state(index: number): RuleOutput {
    if (index >>> 0 !== index || index >= this.#stateCount) return this.#refuse("state", index);
    return this.#written(this.program.outputCount[this.rule] + index);
  }

  /** @ignore Number of inputs of the rule that runs. */
  get inputs(): number {
    const { inputStart } = this.program;
    return inputStart[this.rule + 1] - inputStart[this.rule];
  }

  get #stateCount(): number {
    const { writtenStart, outputCount } = this.program, { rule } = this;
    return writtenStart[rule + 1] - writtenStart[rule] - outputCount[rule];
  }

  /** @ignore Row of an input of the rule that runs. */
  inputRow(index: number): number {
    return this.#inputRows[this.program.inputStart[this.rule] + index];
  }

  /** @ignore Points a cursor at an input. */
  point(cursor: InputCursor, index: number): void {
    const row = this.inputRow(index), limit = this.#records[(row << 1) + 1];
    cursor.row = row;
    cursor.slot = this.#records[row << 1];
    cursor.size = limit < 0 ? ~limit : limit;
  }

  /** @ignore The table whose root the page in a row is. */
  tableOf(row: number): RuleTable {
    const table = this.#findTable(row);
    if (table !== undefined) return table.region;
    const page = this.#store.table.ids[row];
    throw this.fault = new MmsbError("usage", `Cannot use page ${page} as a table: it is none`, {
      values: { page },
    });
  }

  #written(index: number): OutputCursor {
    const cursor = index < this.#outputs.length ? this.#outputs[index] : this.#newOutput(index);
    const { rule } = this;
    // A rule runs once in a wave, so its index tells its run from others.
    if (cursor.firing === rule) return cursor;
    const row = this.#writtenRows[this.program.writtenStart[rule] + index];
    const records = this.#records, limit = records[(row << 1) + 1];
    if (index >= this.#handed) this.#handed = index + 1;
    cursor.firing = rule;
    cursor.row = row;
    cursor.slot = records[row << 1];
    cursor.size = limit < 0 ? ~limit : limit;
    cursor.finite = this.program.isFinite[rule] !== 0;
    cursor.begin();
    return cursor;
  }

  #run(rule: number): void {
    const { program } = this, code = program.code[rule]!, flags = program.flags[rule];
    this.rule = rule;
    program.fired[rule]++;
    if (flags !== 0) {
      // A tick that is taken back puts them back.
      this.taken.set(rule, flags);
      program.flags[rule] = 0;
    }
    let result: unknown;
    if (code.fromDeltas === undefined || (flags & NEEDS_FULL) !== 0) {
      result = code.compute(this);
    } else {
      this.#changes.begin();
      result = code.fromDeltas(this, this.#changes);
      this.#changes.end();
      if (result === "full") result = code.compute(this);
    }
    if (result !== undefined) this.#checkResult(result);
    if (this.fault !== undefined) throw this.fault;
    if (this.#isUnordered) this.#tidyAll(rule);
    // A rule that kept one must not write while another runs: its level's epochs are counted by then.
    for (let i = this.#handed; i > 0;) this.#outputs[--i].size = 0;
    this.#handed = 0;
  }

  #tidyAll(rule: number): void {
    this.#isUnordered = false;
    for (const cursor of this.#outputs) {
      if (cursor.firing === rule && cursor.unordered) this.#tidy(cursor);
    }
  }

  /** Rewrites the records of a page: each word once, rising, and only those that differ. */
  #tidy(cursor: OutputCursor): void {
    const log = this.#log, { row, size, slot } = cursor;
    const pages = this.#store.arena.words, base = slot << 2, count = size + 3 >>> 2;
    if (count > this.#places.length) {
      this.#places = new Int32Array(2 ** Math.ceil(Math.log2(count)));
    }
    const places = this.#places;
    const changed: number[] = [];
    for (let at = log.heads[row]; at !== 0; at = log.words[at + 3]) {
      for (let k = 0; k < log.words[at + 2]; k++) {
        const word = log.words[at + 1] + k;
        if (places[word] === 0) changed.push(word);
        places[word] = at + RECORD_HEAD + k;
      }
    }
    const sorted = Int32Array.from(changed).sort();
    log.reserve(sorted.length * (RECORD_HEAD + 1), 0);
    const { words } = log;
    let head = 0, next = -1, at = log.used;
    for (const word of sorted) {
      const old = words[places[word]];
      places[word] = 0;
      if (old === pages[base + word]) continue;
      if (word === next) {
        words[head + 2]++;
      } else {
        words[at] = row;
        words[at + 1] = word;
        words[at + 2] = 1;
        words[at + 3] = head;
        head = at;
        at += RECORD_HEAD;
      }
      words[at++] = old;
      next = word + 1;
    }
    log.used = at;
    log.heads[row] = head;
    // A page that is as it was stays in the list of those touched, with no records.
  }

  #newInput(index: number): InputCursor {
    while (this.#inputs.length <= index) {
      const cursor = new InputCursor(this);
      this.#lay(cursor);
      this.#inputs.push(cursor);
    }
    return this.#inputs[index];
  }

  #newOutput(index: number): OutputCursor {
    while (this.#outputs.length <= index) {
      const cursor = new OutputCursor(this);
      cursor.log = this.#log;
      this.#lay(cursor);
      this.#outputs.push(cursor);
    }
    return this.#outputs[index];
  }

  #take(program: RuleProgram): void {
    this.program = program;
    this.#inputRows = program.inputRows;
    this.#writtenRows = program.writtenRows;
  }

  /** @ignore An output has words that may be noted twice. */
  tidyLater(): void {
    this.#isUnordered = true;
  }

  #lay(cursor: InputCursor): void {
    const { arena, table } = this.#store;
    cursor.arena = arena;
    cursor.words = arena.words;
    cursor.doubles = arena.doubles;
    cursor.ids = table.ids;
  }

  #checkResult(result: unknown): void {
    if (result instanceof Promise) result.catch(() => {});
    throw new MmsbError(
      "usage",
      result instanceof Promise
        ? "it is asynchronous, and a rule must be done when it returns"
        : `it returned a value of type ${typeof result} where only "full" of fromDeltas says anything`,
    );
  }

  #refuse(what: string, index: unknown): never {
    const count = what === "input"
      ? this.inputs
      : what === "output"
      ? this.program.outputCount[this.rule]
      : this.#stateCount;
    try {
      refuseIndex(what, index, count);
    } catch (error) {
      throw this.fault = error;
    }
  }

  #failed(thrown: unknown): unknown {
    const cause = this.fault ?? thrown, rule = this.rule;
    this.fault = undefined;
    this.#isUnordered = false;
    if (rule === 0) return cause;
    const { name, parts } = this.program.rules[rule];
    return ruleError(name, parts.outputIds[0], this.tick, cause);
  }
}

/** What a tick is refused with whose rule failed. */
export function ruleError(rule: string, page: number, tick: number, cause: unknown): MmsbError {
  return new MmsbError(
    "rule",
    `Cannot finish tick ${tick} as rule "${rule}" of page ${page} failed: ${reasonOf(cause)}`,
    { values: { rule, page, tick }, cause },
  );
}
