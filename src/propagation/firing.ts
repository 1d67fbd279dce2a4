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
 * Cost: 15 to 20 ns a run beside the rule's own work, of which the old words take 7.
 *
 * @module
 */

import { MmsbError, reasonOf } from "../base/mod.ts";
import type { Arena, PageStore } from "../physical/mod.ts";
import { NEEDS_FULL } from "./bound_rule.ts";
import { type ChangeLog, RECORD_HEAD } from "./change_log.ts";
import { type CursorOwner, InputCursor, OutputCursor } from "./page_cursor.ts";
import { BY_WORDS, INCREMENTAL, LASTING } from "./program.ts";
import {
  refuseIndex,
  type Rule,
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

/** What of a program running its rules needs; by index of the rule, as there. */
export interface FiringProgram {
  /** Records by rule, and the rows that they name; only flags are written. */
  readonly image: Int32Array;
  /** Its code. */
  readonly code: readonly (Rule | undefined)[];
  /** Its parameters. */
  readonly params: readonly unknown[];
  /** Tables by the row of their root. */
  readonly tables: ReadonlyMap<number, TableVertex>;
  /** Its name and its outputs. */
  readonly rules: readonly {
    readonly name: string;
    readonly parts: { readonly outputIds: readonly number[] };
  }[];
}

/** The pages that rules read and write. */
export type FiringPages = Pick<PageStore, "arena" | "table">;

/** Finds the table of a root page, by its row. */
export type FindTable = (row: number) => TableVertex | undefined;

const NO_ROWS = new Int32Array(0);
/** Words of a page for each that was noted, up to which all of them are looked at in place of sorting those. */
const DENSE_WORDS = 16;

/** Runs rules. */
export class Firing implements RuleContext, CursorOwner {
  /** The tick. */
  tick = 0;
  /** Flags that runs of this tick have taken off their rules. */
  readonly taken: Map<number, number> = new Map();
  /** @ignore Where the record of the rule that runs stands in the program's image; 0 while none runs. */
  at = 0;
  /** @ignore The rules. */
  program!: FiringProgram;
  readonly #store: FiringPages;
  readonly #log: ChangeLog;
  readonly #findTable: FindTable = (row) => this.program.tables.get(row);
  readonly #inputs: InputCursor[] = [];
  readonly #outputs: OutputCursor[] = [];
  /** The first of each, which most rules need alone: a field costs less than an element. */
  readonly #input: InputCursor;
  readonly #output: OutputCursor;
  readonly #changes: Changes;
  /** The columns that the cursors know. */
  #words: Int32Array | undefined;
  #ids: Uint32Array | undefined;
  #image: Int32Array = NO_ROWS;
  /**
   * 1 where something is to be seen to after the run: a fault, or an output with words that may be noted
   * twice. A number, as each run asks for it.
   */
  #attention = 0;
  #fault: unknown = undefined;
  /** Outputs that the rule that runs has asked for are below. */
  #handed = 0;
  /** For each word of an output its oldest noted value's place in the log. */
  #places = new Int32Array(64);

  /**
   * Runs rules over pages.
   *
   * @param log Where old words of what they write go.
   * @param before Where old words of what they read are, if not there.
   */
  constructor(store: FiringPages, log: ChangeLog, before: ChangeLog = log) {
    this.#store = store;
    this.#log = log;
    this.#changes = new Changes(this, store, before, this.#findTable);
    this.#input = this.#newInput(0);
    this.#output = this.#newOutput(0);
  }

  /** What was wrong with what the rule did. */
  get fault(): unknown {
    return this.#fault;
  }

  /** Fails the run, whatever the rule makes of it. */
  set fault(fault: unknown) {
    this.#fault = fault;
    this.#attention = 1;
  }

  /** Begins a tick. */
  begin(tick: number, program: FiringProgram): void {
    if (this.program !== program) this.#take(program);
    this.tick = tick;
    // Whoever used a page that he kept from an earlier run has heard of it.
    this.#fault = undefined;
    this.#attention = 0;
    if (this.#words === this.#store.arena.words && this.#ids === this.#store.table.ids) return;
    this.#words = this.#store.arena.words;
    this.#ids = this.#store.table.ids;
    for (const cursor of this.#inputs) this.#lay(cursor);
    for (const cursor of this.#outputs) this.#lay(cursor);
    this.#changes.lay((cursor) => this.#lay(cursor));
  }

  /** Ends a tick: no cursor points at a page any more. */
  end(): void {
    this.at = 0;
    if (this.taken.size > 0) this.taken.clear();
    for (let i = 0; i < this.#inputs.length; i++) this.#inputs[i].size = 0;
    for (let i = 0; i < this.#outputs.length; i++) {
      this.#outputs[i].size = 0;
      this.#outputs[i].firing = -1;
    }
    this.#handed = 0;
  }

  /** The parameters of the rule that runs. */
  get params(): unknown {
    return this.program.params[this.at >> 4];
  }

  /** {@inheritDoc RuleContext.input} */
  input(index: number): RuleInput {
    const { at } = this, image = this.#image;
    if (index >>> 0 !== index || index >= image[at | 1]) return this.#refuse("input", index);
    const cursor = index === 0 ? this.#input : this.#inputs[index] ?? this.#newInput(index);
    const place = image[at] + 3 * index;
    cursor.row = image[place];
    cursor.slot = image[place + 1];
    cursor.size = image[place + 2];
    return cursor;
  }

  /** {@inheritDoc RuleContext.output} */
  output(index: number): RuleOutput {
    if (index >>> 0 !== index || index >= this.#image[this.at | 3]) {
      return this.#refuse("output", index);
    }
    return this.#written(index);
  }

  /** {@inheritDoc RuleContext.state} */
  state(index: number): RuleOutput {
    const { at } = this, image = this.#image;
    if (index >>> 0 !== index || index >= image[at | 9] >> 1) return this.#refuse("state", index);
    return this.#written(image[at | 3] + index);
  }

  /** @ignore Number of inputs of the rule that runs. */
  get inputs(): number {
    return this.#image[this.at | 1];
  }

  /** @ignore Whether the rule that runs may write finite numbers only. */
  get isFinite(): boolean {
    return (this.#image[this.at | 9] & 1) !== 0;
  }

  /** @ignore Row of an input of the rule that runs. */
  inputRow(index: number): number {
    return this.#image[this.#image[this.at] + 3 * index];
  }

  /** @ignore Points a cursor at an input. */
  point(cursor: InputCursor, index: number): void {
    const image = this.#image, place = image[this.at] + 3 * index;
    cursor.row = image[place];
    cursor.slot = image[place + 1];
    cursor.size = image[place + 2];
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
    const cursor = index === 0 ? this.#output : this.#outputs[index] ?? this.#newOutput(index);
    const { at } = this;
    // A rule runs once in a wave, so its record tells its run from others.
    if (cursor.firing === at) return cursor;
    const image = this.#image, place = image[at | 2] + 3 * index;
    if (index >= this.#handed) this.#handed = index + 1 | 0;
    cursor.firing = at;
    cursor.row = image[place];
    cursor.slot = image[place + 1];
    cursor.size = image[place + 2];
    cursor.end = -1;
    return cursor;
  }

  /** @ignore Has the rule that runs next write into a copy of one of its pages, in another arena. */
  redirect(rule: number, index: number, copies: Arena, slot: number): void {
    const cursor = index < this.#outputs.length ? this.#outputs[index] : this.#newOutput(index);
    cursor.firing = -1;
    this.at = rule << 4;
    this.#written(index);
    cursor.slot = slot;
    cursor.arena = copies;
    cursor.words = copies.words;
    cursor.doubles = copies.doubles;
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
    try {
      for (let i = start; i < end; i++) this.fire(queue[i]);
    } catch (cause) {
      throw this.failed(cause);
    }
  }

  /**
   * Runs a rule.
   *
   * @throws whatever it throws; {@linkcode Firing.failed} says what that is for the tick.
   */
  fire(rule: number): void {
    const at = rule << 4, flags = this.#image[at | 8];
    this.at = at;
    const result: unknown = flags === 0
      ? this.program.code[rule]!.compute(this)
      : this.#fireFlagged(rule, flags);
    if (result !== undefined || this.#attention !== 0) this.#settle(result);
    // A rule that kept an output must not write it while another runs.
    const handed = this.#handed;
    this.#handed = 0;
    if (handed === 1) this.#output.size = 0;
    else if (handed > 1) this.#retract(handed);
  }

  #retract(handed: number): void {
    for (let i = 0; i < handed; i++) this.#outputs[i].size = 0;
  }

  /** Runs a rule that takes deltas, or is told what to do. */
  #fireFlagged(rule: number, flags: number): unknown {
    const code = this.program.code[rule]!;
    if ((flags & ~LASTING) !== 0) {
      // A tick that is taken back puts them back.
      this.taken.set(rule, flags & 0xff);
      this.#image[rule << 4 | 8] = flags & LASTING;
    }
    if ((flags & BY_WORDS) !== 0) {
      const result: unknown = code.compute(this);
      for (let i = 0; i < this.#handed; i++) {
        // What was written in another order is seen to after the run, as of any rule.
        if (!this.#outputs[i].unordered) this.#splitByWords(this.#outputs[i]);
      }
      return result;
    }
    if ((flags & (INCREMENTAL | NEEDS_FULL)) !== INCREMENTAL) return code.compute(this);
    this.#changes.begin();
    const result: unknown = code.fromDeltas!(this, this.#changes);
    this.#changes.end();
    return result === "full" ? code.compute(this) : result;
  }

  /** Looks at a run that was not like most. */
  #settle(result: unknown): void {
    if (result !== undefined) this.#checkResult(result);
    this.#attention = 0;
    if (this.#fault !== undefined) throw this.#fault;
    for (const cursor of this.#outputs) {
      if (!cursor.unordered) continue;
      cursor.unordered = false;
      this.#tidy(cursor);
    }
  }

  /** Rewrites the records of a page: each word once, rising, and only those that differ. */
  #tidy(cursor: OutputCursor): void {
    const log = this.#log, { row, size, slot } = cursor;
    const pages = cursor.words, base = slot << 2, count = size + 3 >>> 2;
    if (log.heads[row] === 0) return;
    if (count > this.#places.length) {
      this.#places = new Int32Array(2 ** Math.ceil(Math.log2(count)));
    }
    const places = this.#places, changed = this.#noted(row);
    log.reserve(changed.length * (RECORD_HEAD + 1));
    const { words } = log;
    let head = 0, next = -1, at = log.used;
    for (let i = 0; i < changed.length; i++) {
      const word = changed[i], old = words[places[word]];
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
    if (head !== 0) return;
    // As it was after all. Its rule alone writes it, so it is one of the last in the list.
    const { touched } = log, last = --log.count;
    touched[touched.lastIndexOf(row, last)] = touched[last];
  }

  /** Rewrites the records of a page that was written upwards: a record for each span of words that differ. */
  #splitByWords({ row, slot, words: pages }: OutputCursor): void {
    const log = this.#log, base = slot << 2, records: number[] = [];
    let equal = 0, touching = 0, spans = 0, count = 0, next = -1;
    for (let at = log.heads[row]; at !== 0; at = log.words[at + 3]) {
      const { words } = log, from = words[at + 1], length = words[at + 2];
      records.push(at);
      count += length;
      if (from + length === next) touching++;
      next = from;
      let wasEqual = 1;
      for (let k = 0; k < length; k++) {
        const isEqual = words[at + RECORD_HEAD + k] === pages[base + from + k] ? 1 : 0;
        equal += isEqual;
        spans += wasEqual & ~isEqual;
        wasEqual = isEqual;
      }
    }
    if (equal + touching === 0) return;
    log.reserve(RECORD_HEAD * spans + count - equal);
    const { words } = log;
    let head = 0, end = -1, to = log.used;
    for (let i = records.length - 1; i >= 0; i--) {
      const at = records[i], first = words[at + 1], last = first + words[at + 2];
      for (let word = first, from = at + RECORD_HEAD; word < last; word++, from++) {
        const old = words[from];
        if (old === pages[base + word]) continue;
        if (word !== end) {
          words[to] = row;
          words[to + 1] = word;
          words[to + 2] = 0;
          words[to + 3] = head;
          head = to;
          to += RECORD_HEAD;
        }
        words[head + 2]++;
        words[to++] = old;
        end = word + 1;
      }
    }
    log.used = to;
    log.heads[row] = head;
  }

  /** Words of a page that were noted, each once and rising; the places of their oldest values are noted. */
  #noted(row: number): Int32Array {
    const { words, heads } = this.#log, places = this.#places;
    let count = 0, first = places.length, end = 0;
    for (let at = heads[row]; at !== 0; at = words[at + 3]) {
      const from = words[at + 1], length = words[at + 2];
      first = Math.min(first, from);
      end = Math.max(end, from + length);
      for (let k = 0; k < length; k++) {
        if (places[from + k] === 0) count++;
        places[from + k] = at + RECORD_HEAD + k;
      }
    }
    const found = new Int32Array(count);
    let next = 0;
    if (end - first <= DENSE_WORDS * count) {
      for (let word = first; word < end; word++) if (places[word] !== 0) found[next++] = word;
      return found;
    }
    // Of a few words far apart each is met again where it was noted first.
    for (let at = heads[row]; at !== 0; at = words[at + 3]) {
      const from = words[at + 1], length = words[at + 2];
      for (let k = 0; k < length; k++) {
        if (places[from + k] === at + RECORD_HEAD + k) found[next++] = from + k;
      }
    }
    return found.sort();
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

  #take(program: FiringProgram): void {
    this.program = program;
    this.#image = program.image;
  }

  /** @ignore An output has words that may be noted twice. */
  tidyLater(): void {
    this.#attention = 1;
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
    const { at } = this, image = this.#image;
    const count = what === "input"
      ? image[at | 1]
      : what === "output"
      ? image[at | 3]
      : image[at | 9] >> 1;
    try {
      refuseIndex(what, index, count);
    } catch (error) {
      throw this.fault = error;
    }
  }

  /** What a tick is refused with after a run has thrown. */
  failed(thrown: unknown): unknown {
    const cause = this.fault ?? thrown, rule = this.at >> 4;
    this.#fault = undefined;
    this.#attention = 0;
    this.#changes.end();
    for (const cursor of this.#outputs) cursor.unordered = false;
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
