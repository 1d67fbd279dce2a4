/**
 * Waves: carry the changes of a tick from source pages to all that is derived from them.
 *
 * A rule's level is the longest way to it, so rules of one level do not depend on each other, and when a
 * level's turn comes all its inputs are as they will be: each rule runs at most once a tick. A rule is put
 * into its level's list when one of its inputs has records in the change log, and an output without
 * records wakes nobody (early cutoff). What must survive (bindings, marks) stands in the store; the rest
 * is made from that whenever the graph has changed ({@linkcode RuleProgram}).
 *
 * What a tick changes here counts only when the tick does: `commit` or `rollBack` ends it.
 *
 * Cost: a tick that touches no vertex pays a byte looked up a row; a wave some 100 ns, and 20 ns for each rule
 * that is woken and each page that changed, beside the runs themselves.
 *
 * @module
 */

import { assert, MmsbError } from "../base/mod.ts";
import {
  type EpochColumns,
  type KernelColumns,
  type Metadata,
  type PageStore,
  RECORD_SHIFT,
} from "../physical/mod.ts";
import { type BoundRule, CHANGED, NEEDS_FULL, REQUESTED, STALE } from "./bound_rule.ts";
import { SCHEMA_KEY } from "../schema/mod.ts";
import { ChangeLog } from "./change_log.ts";
import { Firing, type TableVertex } from "./firing.ts";
import { type MarkChange, TickMarks } from "./tick_marks.ts";
import {
  type ComingEdges,
  PLACE_WORDS,
  RuleProgram,
  type SpecialVertex,
  WRITTEN,
} from "./program.ts";
import type { Rule } from "./rule.ts";
import { isTableRoot } from "./table_region.ts";

/** Waves that one program serves, a power of 2 less 1. */
const WAVES_MAX = 2 ** 28 - 1;

/** Others that run rules. */
export interface LevelHelpers {
  /**
   * Runs the rules of a level, in the order of the queue for all that can be seen of it.
   *
   * @param start First of them in the program's image.
   * @param end One behind the last.
   * @returns Whether it did.
   * @throws {MmsbError} `rule`, `worker` where that failed; the tick is then to be rolled back.
   */
  run(
    program: RuleProgram,
    log: ChangeLog,
    firing: Firing,
    start: number,
    end: number,
  ): boolean;
}

/** The waves of one store. */
export class Waves {
  /** Others that run rules, if there are any. */
  helpers: LevelHelpers | undefined;
  /** What the pages of this tick held before it. */
  readonly log: ChangeLog = new ChangeLog();
  /** From here on the touched rows of the log are of pages that rules wrote. */
  sources = 0;
  /** Targets of the gpu edges whose sources this tick has changed: ids of pages. */
  devices: number[] = [];
  /** The metadata that this tick sets for a page, which the store has when the tick counts. */
  comingMetadata: ((page: number) => Metadata | undefined) | undefined;
  readonly #store: PageStore;
  readonly #firing: Firing;
  readonly #marks: TickMarks;
  /** The rules that are bound, detached ones too, by number. */
  readonly #rules = new Map<number, BoundRule>();
  /** Rules taken out since the last tick. */
  readonly #removed = new Map<number, BoundRule>();
  #program: RuleProgram;
  /** Levels with rules to be run in this tick. */
  #lowest = 1;
  #highest = 0;
  /** Rules run in this tick. */
  #fired = 0;
  /** Derived rows of this tick: records of pages that rules wrote, whose epochs are raised. */
  #derived = 0;
  /** Pages whose epochs are raised, in the list of touched rows. */
  #raised = 0;
  /** Rules that wait for a later tick. */
  readonly #waiting = new Set<BoundRule>();
  /** Those of them that are due in this tick. */
  #due: BoundRule[] = [];
  /** Pages whose mark is to go. */
  readonly #toConfirm = new Set<number>();
  #tick = 0;
  /** Number of the wave: a tick that never was is tried again under its number, a wave is not. */
  #wave = 0;
  /** Rules that became stale in this tick, by index. */
  #staled: number[] = [];
  /** Tables that this tick made longer, with the chunks that they had. */
  #known: (readonly [TableVertex, number])[] = [];
  /** Edges of the tick that is about to run, or runs. */
  #coming: ComingEdges | undefined;
  #seenBindings = -1;
  #seenEdges = -1;
  #isBuilt = true;

  /** Over the pages of a store. */
  constructor(store: PageStore) {
    this.#store = store;
    this.#program = new RuleProgram(store, []);
    this.#marks = new TickMarks(store);
    this.#firing = new Firing(store, this.log);
  }

  /** Whether any page is a vertex. */
  get isActive(): boolean {
    this.#refresh();
    return this.#program.vertices > 0;
  }

  /** Rules run in this tick. */
  get fired(): number {
    return this.#fired;
  }

  /** Derived rows of this tick: spans of outputs that have changed. */
  get derived(): number {
    return this.#derived;
  }

  /** The rules in columns, as the next tick will run them. */
  get program(): RuleProgram {
    this.#refresh();
    return this.#program;
  }

  /** The rules that are bound, detached ones too. */
  rules(): IterableIterator<BoundRule> {
    return this.#rules.values();
  }

  /** The rule of a number. */
  rule(number: number): BoundRule | undefined {
    return this.#rules.get(number);
  }

  /** The rule that writes the page in a row. */
  writerOf(row: number): BoundRule | undefined {
    this.#refresh();
    return this.#program.writerOf(row);
  }

  /** Whether a page is the root of a table. */
  isTable(page: number): boolean {
    return isTableRoot(this.#store, page);
  }

  /** Adds a rule whose pages are there; it runs in the next tick if it has to. */
  add(rule: BoundRule): void {
    assert(!this.#rules.has(rule.number), `rule ${rule.number} is new`);
    this.#rules.set(rule.number, rule);
    this.#isBuilt = false;
  }

  /** Gives a detached rule its code. */
  attach(rule: BoundRule, code: Rule): void {
    rule.attach(code);
    this.#isBuilt = false;
  }

  /** Takes a rule out. */
  remove(number: number): void {
    const rule = this.#rules.get(number);
    if (rule === undefined) return;
    this.#rules.delete(number);
    this.#removed.set(number, rule);
    this.#waiting.delete(rule);
    this.#isBuilt = false;
  }

  /** Has the edges that the next tick brings count in it, and those that it takes away not. */
  expect(coming: ComingEdges): void {
    this.#coming = coming;
    this.#isBuilt = false;
  }

  /** Takes back {@linkcode Waves.remove}. */
  restore(number: number): void {
    const rule = this.#removed.get(number);
    if (rule === undefined) return;
    this.#removed.delete(number);
    this.#rules.set(number, rule);
    if ((rule.flags & (STALE | REQUESTED)) !== 0) this.#waiting.add(rule);
    this.#isBuilt = false;
  }

  /** Has a rule run in the next tick, whatever its mode. */
  request(rule: BoundRule): void {
    rule.flags |= REQUESTED;
    this.#waiting.add(rule);
  }

  /** Has the next tick take the mark `stale` off a page that no rule writes. */
  confirm(page: number): void {
    this.#toConfirm.add(page);
  }

  /** Whether a tick has something to do even if nobody writes. */
  hasWork(tick: number): boolean {
    for (const rule of this.#waiting) if (rule.isDue(tick)) return true;
    return this.#toConfirm.size > 0;
  }

  /**
   * Looks at the rows of a batch before any of them counts.
   *
   * @param columns Resolved columns.
   * @returns Whether any row is of a vertex.
   * @throws {MmsbError} `usage` where a row is of a page that a rule writes.
   */
  admit(columns: KernelColumns, rows: number): boolean {
    if (!this.isActive) return false;
    const { record } = columns, flags = this.#program.pageFlags;
    let or = 0;
    for (let i = 0; i < rows; i++) or |= flags[record[i] >> RECORD_SHIFT];
    if ((or & WRITTEN) !== 0) this.#refuseWritten(columns, rows);
    return or !== 0;
  }

  /** Whether any of some pages is a vertex. */
  watches(pages: Iterable<number>): boolean {
    if (!this.isActive) return false;
    const { vertexOf } = this.#program, { table } = this.#store;
    for (const page of pages) {
      if (vertexOf[table.rowOf(page)] !== 0) return true;
    }
    return false;
  }

  /** Begins a tick. */
  begin(tick: number): void {
    this.#wave = this.#wave + 1 | 0;
    // A new program begins to count anew, so that no count of waves or runs leaves its word.
    if ((this.#wave & WAVES_MAX) === 0) this.#isBuilt = false;
    this.#refresh();
    this.#tick = tick;
    this.log.reserveRows(this.#store.table);
    this.#program.lay();
    this.#firing.begin(tick, this.#program);
    this.sources =
      this.#derived =
      this.#raised =
      this.#fired =
        0;
    this.#lowest = this.#program.levels + 1;
    this.#highest = 0;
  }

  /**
   * Runs all rules that the records so far, and earlier ticks, ask for.
   *
   * @throws {MmsbError} `rule` where one fails; the tick is then to be rolled back.
   */
  propagate(): void {
    const { log } = this;
    if (this.#program.tables.size > 0) this.#syncTables();
    this.sources = this.#raised = log.count;
    if (this.#waiting.size > 0) this.#wakeWaiting();
    if (this.#toConfirm.size > 0) {
      this.#toConfirm.forEach((page) => this.#marks.confirm(page));
    }
    this.#wakeFrom(0);
    if (this.#marks.isBusy) this.#marks.clearSources(log, this.sources);
    this.#sweep();
    this.#raise();
    if (this.#marks.isBusy) this.#clearFired();
  }

  /**
   * Makes stale what is made from pages, or stands in them, that get another size when the tick is done: no
   * rule can have seen that. They are not run by themselves, as one that fails with the new size would have
   * all later ticks fail.
   */
  resize(pages: Iterable<number>): void {
    const { vertexOf, readerStart, image, special } = this.#program;
    const { table } = this.#store;
    const rules = new Set<number>();
    for (const page of pages) {
      const row = table.rowOf(page), vertex = Math.abs(vertexOf[row]);
      if (vertex === 0) continue;
      for (let i = readerStart[vertex]; image[i] !== 0; i++) {
        rules.add(image[i]);
      }
      special.get(vertex)?.lazy.forEach((rule) => rules.add(rule));
      rules.add(this.#program.writerAt(row));
    }
    rules.delete(0);
    for (const rule of rules) {
      this.#program.rules[rule].flags |= CHANGED;
      this.#makeStale(rule);
    }
  }

  /** Marks that the tick changes, by page and mark. */
  marks(): MarkChange[] {
    return this.#marks.changes();
  }

  /** Ends a tick that counts: its marks are set, its rules have run. */
  commit(): void {
    this.#marks.commit();
    // All that were due have run, or had nothing to do.
    for (let i = 0; i < this.#due.length; i++) {
      this.#due[i].flags &= ~(STALE | REQUESTED);
      this.#waiting.delete(this.#due[i]);
    }
    if (this.#staled.length > 0) this.#commitStale();
    if (this.#known.length > 0) this.#known = [];
    if (this.#toConfirm.size > 0) this.#toConfirm.clear();
    if (this.#removed.size > 0) this.#removed.clear();
    this.#end();
  }

  /** Ends a tick that never was: pages and tables are as before. */
  rollBack(): void {
    this.log.undo(this.#store);
    const { log } = this, { epochs } = this.#store.table;
    for (let i = this.sources; i < this.#raised; i++) {
      lowerEpoch(epochs, log.touched[i], log.records(log.touched[i]));
    }
    const program = this.#program;
    this.#forgetRuns();
    this.#firing.taken.forEach((taken, rule) =>
      program.setFlags(rule, program.flagsOf(rule) | taken)
    );
    for (const [table, known] of this.#known) {
      this.#program.forgetChunks(table, known);
    }
    this.#known = [];
    this.#end();
  }

  /** Bytes that it takes beside the pages. */
  bookkeepingBytes(): number {
    return this.log.bookkeepingBytes() + 5 * this.#program.vertexOf.length;
  }

  /** Checks what can be checked between ticks. */
  checkInvariants(): void {
    this.#refresh();
    this.log.checkInvariants();
    assert(this.log.count === 0, "nothing is left of a tick");
    const program = this.#program,
      { rules, levels, levelStart, level } = program;
    const { image, endsAt } = program;
    for (let l = 1; l <= levels; l++) {
      assert(
        image[endsAt + l] === levelStart[l],
        `no rule of level ${l} is left to run`,
      );
    }
    for (let rule = 1; rule < rules.length; rule++) {
      for (
        let i = program.writtenStart(rule);
        i < program.writtenEnd(rule);
        i += PLACE_WORDS
      ) {
        assert(
          program.writerAt(image[i]) === rule,
          `rule ${rule} writes its pages`,
        );
      }
      for (
        let i = program.inputStart(rule);
        i < program.inputEnd(rule);
        i += PLACE_WORDS
      ) {
        const before = program.writerAt(image[i]);
        assert(
          before === 0 || level[before] < level[rule],
          `rule ${rule} comes late enough`,
        );
      }
    }
  }

  #end(): void {
    this.#firing.end();
    this.log.clear();
    this.sources = 0;
    this.#marks.clear();
    const { levelStart, image, endsAt, tables } = this.#program;
    for (let level = this.#lowest; level <= this.#highest; level++) {
      image[endsAt + level] = levelStart[level];
    }
    if (this.#staled.length > 0) this.#staled = [];
    if (this.#due.length > 0) this.#due = [];
    if (this.devices.length > 0) this.devices = [];
    if (tables.size > 0) {
      tables.forEach(({ dirty, region }) => {
        dirty.length = 0;
        region.coming = undefined;
      });
    }
  }

  #commitStale(): void {
    for (const rule of this.#staled) {
      const bound = this.#program.rules[rule];
      // What changed in this tick will be gone from the log by then.
      bound.flags |= STALE | ((bound.flags & CHANGED) !== 0 ? NEEDS_FULL : 0);
      if (bound.rule !== undefined && bound.parts.mode !== "immediate") {
        this.#waiting.add(bound);
      }
    }
  }

  /** Runs the rules level by level; each wakes its readers, whose levels come later, as soon as it has run. */
  #sweep(): void {
    const { log, helpers } = this, firing = this.#firing, wave = this.#wave;
    const { image, levelStart, endsAt } = this.#program;
    let level = this.#lowest, i = 0;
    try {
      for (; level <= this.#highest; level++) {
        const end = image[endsAt + level];
        const start = levelStart[level];
        // Where it throws, none of them counts.
        i = start - 1;
        if (helpers !== undefined && this.#shareOut(helpers, start, end)) {
          continue;
        }
        for (i = start; i < end; i++) {
          const rule = image[i], at = rule << 4, count = log.count;
          image[at | 7]++;
          firing.fire(rule);
          // Early cutoff: nothing of what it wrote is new.
          if (log.count === count) continue;
          let list = image[at | 6];
          if (list < 0) {
            this.#wakeFrom(count);
            continue;
          }
          // As `#wake`, in place: calls cost as much as what they do here.
          for (let reader = image[list]; reader !== 0; reader = image[++list]) {
            const readerAt = reader << 4;
            if (image[readerAt | 5] === wave) continue;
            image[readerAt | 5] = wave;
            const readerLevel = image[readerAt | 4];
            if (readerLevel === 0) {
              this.#wakeOther(reader);
              continue;
            }
            const place = image[endsAt + readerLevel];
            image[place] = reader;
            image[endsAt + readerLevel] = place + 1;
            if (readerLevel > this.#highest) this.#highest = readerLevel;
          }
        }
      }
    } catch (cause) {
      // Those that have not run need not have their counts put back.
      for (let l = level + 1; l <= this.#highest; l++) {
        image[endsAt + l] = levelStart[l];
      }
      this.#highest = level;
      image[endsAt + level] = i + 1;
      throw firing.failed(cause);
    }
  }

  /** Puts back the counts of runs. */
  #forgetRuns(): void {
    const { levelStart, image, endsAt } = this.#program;
    for (let level = this.#lowest; level <= this.#highest; level++) {
      for (let i = levelStart[level]; i < image[endsAt + level]; i++) {
        image[image[i] << 4 | 7]--;
      }
    }
  }

  /** Has others run a level, if they want to. */
  #shareOut(helpers: LevelHelpers, start: number, end: number): boolean {
    const { log } = this, { count } = log;
    if (
      start === end ||
      !helpers.run(this.#program, log, this.#firing, start, end)
    ) return false;
    const { image } = this.#program;
    for (let i = start; i < end; i++) image[image[i] << 4 | 7]++;
    this.#wakeFrom(count);
    return true;
  }

  /** Raises the epochs of what the rules have changed, a row for each record, and counts the runs. */
  #raise(): void {
    const { touched, heads, words, count } = this.log,
      { low, high } = this.#store.table.epochs;
    const { levelStart, image, endsAt } = this.#program;
    let rows = 0, fired = 0;
    for (let i = this.sources; i < count; i++) {
      const row = touched[i];
      let own = 1;
      for (let at = words[heads[row] + 3]; at !== 0; at = words[at + 3]) own++;
      rows += own;
      const raised = low[row] + own | 0;
      low[row] = raised;
      if (raised >= 0 && raised < own) high[row]++;
    }
    for (let l = this.#lowest; l <= this.#highest; l++) {
      fired += image[endsAt + l] - levelStart[l];
    }
    this.#raised = count;
    this.#derived = rows;
    this.#fired = fired;
  }

  /** Wakes what depends on the pages that have records, from one of the list of them on. */
  #wakeFrom(start: number): void {
    const { touched, count } = this.log,
      { vertexOf, readerStart, image } = this.#program;
    for (let i = start; i < count; i++) {
      const row = touched[i];
      let vertex = vertexOf[row];
      if (vertex <= 0) {
        vertex = -vertex;
        if (vertex === 0 || this.#wakeSpecial(row, vertex)) continue;
      }
      this.#wake(image, readerStart[vertex], this.#wave);
    }
  }

  /** Wakes the rules of a list in the program's image, where they are not awake yet. */
  #wake(image: Int32Array, list: number, wave: number): void {
    for (let rule = image[list]; rule !== 0; rule = image[++list]) {
      const at = rule << 4;
      if (image[at | 5] === wave) continue;
      image[at | 5] = wave;
      const level = image[at | 4];
      if (level !== 0) this.#enqueue(rule, level);
      else this.#wakeOther(rule);
    }
  }

  /** Runs a rule of another mode, or leaves it for later. */
  #wakeOther(rule: number): void {
    const { rules, level } = this.#program;
    rules[rule].flags |= CHANGED;
    if (rules[rule].rule !== undefined && rules[rule].runsIn(this.#tick)) {
      this.#enqueue(rule, level[rule]);
    } else {
      this.#makeStale(rule);
    }
  }

  #enqueue(rule: number, level: number): void {
    const { image, endsAt } = this.#program, end = image[endsAt + level];
    image[end] = rule;
    image[endsAt + level] = end + 1;
    if (level < this.#lowest) this.#lowest = level;
    if (level > this.#highest) this.#highest = level;
  }

  /** Runs rules that wait and are due, or calls them fresh where nothing that they read has changed. */
  #wakeWaiting(): void {
    const { image, level } = this.#program;
    for (const rule of this.#waiting) {
      if (!rule.isDue(this.#tick)) continue;
      this.#due.push(rule);
      if ((rule.flags & (CHANGED | NEEDS_FULL)) !== 0) {
        image[(rule.index << 4) + 5] = this.#wave;
        this.#enqueue(rule.index, level[rule.index]);
      } else {
        for (const page of rule.parts.outputIds) this.#marks.confirm(page);
      }
    }
  }

  /** What is rare about a vertex; gives whether its readers are awake already. */
  #wakeSpecial(row: number, vertex: number): boolean {
    const { special: all, seen } = this.#program, special = all.get(vertex)!;
    special.table?.dirty.push(row);
    if (seen[vertex] === this.#wave) return true;
    seen[vertex] = this.#wave;
    for (const rule of special.lazy) {
      this.#program.rules[rule].flags |= CHANGED;
      this.#makeStale(rule);
    }
    this.#effects(special);
    return false;
  }

  #effects({ effects }: SpecialVertex): void {
    const program = this.#program, { ids } = this.#store.table;
    for (let i = 0; i < effects.length; i += 2) {
      const target = effects[i],
        effect = this.#marks.effect(ids[target], effects[i + 1]);
      if (effect === "device") this.devices.push(ids[target]);
      const writer = program.writerAt(target);
      if (effect === "stale" && writer !== 0) this.#staled.push(writer);
    }
  }

  #makeStale(rule: number): void {
    this.#staled.push(rule);
    for (const page of this.#program.rules[rule].parts.outputIds) {
      this.#marks.makeStale(page);
    }
  }

  /** The outputs of rules that have run are new. */
  #clearFired(): void {
    const { rules, levelStart, image, endsAt } = this.#program;
    const run = new Set<number>();
    for (let level = this.#lowest; level <= this.#highest; level++) {
      for (let i = levelStart[level]; i < image[endsAt + level]; i++) {
        run.add(image[i]);
        this.#marks.clearFired(rules[image[i]].parts.outputIds);
      }
    }
    this.#staled = this.#staled.filter((rule) => !run.has(rule));
  }

  /** Learns of the chunks that this tick adds to tables. */
  #syncTables(): void {
    for (const table of this.#program.tables.values()) {
      if (this.log.heads[table.region.rootRow] === 0) continue;
      table.region.coming = this.comingMetadata?.(table.region.id)?.get(SCHEMA_KEY);
      this.#known.push([table, this.#program.syncTable(table)]);
    }
  }

  /** Makes the program anew where rules or edges have changed. */
  #refresh(): void {
    const { bindings, edges, table } = this.#store;
    if (this.#coming?.isTaken === false) {
      this.#coming = undefined;
      this.#isBuilt = false;
    }
    if (
      !this.#isBuilt || this.#seenBindings !== bindings.changes ||
      this.#seenEdges !== edges.changes
    ) this.#build();
    this.#program.reserveRows(table.ids.length);
  }

  #build(): void {
    const { bindings, edges } = this.#store;
    for (const rule of this.#rules.values()) {
      // A binding goes with its pages.
      if (!rule.isStaged && bindings.get(rule.number) === undefined) {
        this.remove(rule.number);
      }
    }
    this.#program.end();
    this.#program = new RuleProgram(
      this.#store,
      [...this.#rules.values()],
      this.#coming,
    );
    this.#seenBindings = bindings.changes;
    this.#seenEdges = edges.changes;
    this.#isBuilt = true;
  }

  #refuseWritten({ record, page }: KernelColumns, rows: number): void {
    const { pageFlags } = this.#program;
    for (let row = 0; row < rows; row++) {
      const at = record[row] >> RECORD_SHIFT;
      if ((pageFlags[at] & WRITTEN) === 0) continue;
      const { name } = this.#program.writerOf(at)!;
      throw new MmsbError(
        "usage",
        `Cannot apply row ${row} to page ${
          page[row] >>> 0
        } as rule "${name}" writes it: write to its inputs`,
        { values: { row, page: page[row] >>> 0, rule: name } },
      );
    }
  }
}

function lowerEpoch(
  { low, high }: EpochColumns,
  row: number,
  rows: number,
): void {
  const lowered = (low[row] >>> 0) - rows;
  low[row] = lowered;
  if (lowered < 0) high[row]--;
}
