/**
 * Rule changes: what an incremental rule is told, input by input.
 *
 * Inputs are looked at only when the rule asks for them. One object serves all rules of a thread.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import type { Fields, TableSchema } from "../schema/mod.ts";
import type { ChangeLog } from "./change_log.ts";
import type { FindTable, Firing, FiringPages } from "./firing.ts";
import { OldPage } from "./old_page.ts";
import { InputCursor } from "./page_cursor.ts";
import { refuseIndex, type RuleChanges, type RulePage, type RuleTableChanges } from "./rule.ts";
import type { TableChanges } from "./table_changes.ts";

/** What has changed in the inputs of the rule that runs. */
export class Changes implements RuleChanges {
  /** Input of the span. */
  input = -1;
  /** First byte of the span. */
  offset = 0;
  /** Bytes of the span. */
  length = 0;
  readonly #firing: Firing;
  readonly #store: FiringPages;
  readonly #log: ChangeLog;
  readonly #findTable: FindTable;
  readonly #cursors: InputCursor[] = [];
  readonly #pages: OldPage[] = [];
  readonly #tables: TableChanges[] = [];
  /** Place of the next word among the changed ones of the input. */
  #next = 0;
  #isOpen = false;

  /** Of the rules that a firing runs. */
  constructor(firing: Firing, store: FiringPages, log: ChangeLog, findTable: FindTable) {
    this.#firing = firing;
    this.#store = store;
    this.#log = log;
    this.#findTable = findTable;
  }

  /** Begins the changes of the rule that runs. */
  begin(): void {
    this.#isOpen = true;
    this.rewind();
  }

  /** Ends them. */
  end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const page of this.#pages) if (page.isReady) page.end();
    for (const table of this.#tables.splice(0)) table.end();
  }

  /** Calls back for each cursor. */
  lay(call: (cursor: InputCursor) => void): void {
    for (const cursor of this.#cursors) call(cursor);
  }

  /** {@inheritDoc RuleChanges.rewind} */
  rewind(): void {
    this.input = -1;
    this.#next = 0;
  }

  /** {@inheritDoc RuleChanges.next} */
  next(): boolean {
    const { inputs } = this.#firing;
    for (;;) {
      if (this.input >= 0 && this.input < inputs && this.#findSpan()) return true;
      if (this.input + 1 >= inputs) {
        this.input = inputs;
        return false;
      }
      this.input++;
      this.#next = 0;
    }
  }

  /** {@inheritDoc RuleChanges.has} */
  has(input: number): boolean {
    const row = this.#rowOf(input), table = this.#findTable(row);
    return this.#log.heads[row] !== 0 || table !== undefined && table.dirty.length > 0;
  }

  /** {@inheritDoc RuleChanges.before} */
  before(input: number): RulePage {
    this.#rowOf(input);
    return this.#old(input);
  }

  /** {@inheritDoc RuleChanges.table} */
  table<F extends Fields = Fields>(input: number, schema?: TableSchema<F>): RuleTableChanges<F> {
    const row = this.#rowOf(input), table = this.#findTable(row);
    if (table === undefined) {
      const page = this.#store.table.ids[row];
      throw this.#firing.fault = new MmsbError(
        "usage",
        `Cannot give the changed rows of page ${page}: it is no table`,
        { values: { page } },
      );
    }
    const { changes, dirty, region } = table;
    if (schema !== undefined) region.checkSchema(schema as unknown as TableSchema);
    if (!this.#tables.includes(changes)) {
      changes.begin(dirty, this.#log);
      this.#tables.push(changes);
    }
    return changes as unknown as RuleTableChanges<F>;
  }

  /** Finds the next span of the present input. */
  #findSpan(): boolean {
    const { input } = this, row = this.#firing.inputRow(input);
    if (this.#log.heads[row] === 0 || this.#findTable(row) !== undefined) return false;
    const page = this.#old(input), { changed, count } = page;
    let at = this.#next;
    while (at < count && !page.differs(changed[at])) at++;
    if (at === count) {
      this.#next = at;
      return false;
    }
    const first = changed[at];
    let end = first;
    for (; at < count && changed[at] === end && page.differs(end); at++) end++;
    this.#next = at;
    this.offset = 4 * first;
    this.length = Math.min(4 * end, page.byteLength) - this.offset;
    return true;
  }

  #old(input: number): OldPage {
    while (this.#pages.length <= input) {
      const cursor = new InputCursor(this.#firing);
      const { arena, table } = this.#store;
      cursor.arena = arena;
      cursor.words = arena.words;
      cursor.doubles = arena.doubles;
      cursor.ids = table.ids;
      this.#cursors.push(cursor);
      this.#pages.push(new OldPage(cursor));
    }
    const page = this.#pages[input];
    if (!page.isReady) {
      this.#firing.point(this.#cursors[input], input);
      page.begin(this.#log);
    }
    return page;
  }

  #rowOf(input: number): number {
    const { inputs } = this.#firing;
    if (Number.isInteger(input) && input >= 0 && input < inputs) {
      return this.#firing.inputRow(input);
    }
    return refuseIndex("input", input, inputs);
  }
}
