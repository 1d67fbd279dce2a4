/**
 * Runs a user's rules over stored states, apart from any bus: the pages of a tick, one rule at a time, on inputs that
 * stand in the log.
 *
 * Two kinds of runs. *Now*: the rule computes in full over the pages as they are; a rule that reads nothing but its
 * inputs must write what stands there already. *Once more*: a tick of the log is done again for one rule: its
 * inputs are those after the tick, its outputs and state those before it, and it must come to the outputs that the
 * log has, in full and, where it takes changes, from the changes of that tick. Afterwards all bytes are put back.
 *
 * Cost: a run, and a copy of the pages that the rule reads and writes.
 */

import { equalBytes, reasonOf } from "../base/mod.ts";
import { partsOf } from "../bus/mod.ts";
import { MARK, type PageStore, type RuleBinding } from "../physical/mod.ts";
import {
  BoundRule,
  ChangeLog,
  Firing,
  NEEDS_FULL,
  RECORD_HEAD,
  type Rule,
  RuleProgram,
} from "../propagation/mod.ts";
import { isAsStored } from "./_own_shaders.ts";
import { SideEffectWatch } from "./_purity_watch.ts";

/** A rule of the user's with its stored binding. */
export interface OwnRule {
  /** The binding. */
  readonly binding: RuleBinding;
  /** The code. */
  readonly code: Rule;
}

/** What a run came to. */
export interface OwnRun {
  /** The outputs one behind the other; `undefined` where it failed. */
  readonly outputs: Uint8Array | undefined;
  /** What it failed with. */
  readonly failure?: string;
}

/** Bytes of pages that are watched around each run. */
const WATCHED_BYTES_MAX = 2 ** 20;
const WATCHED_PAGES_MAX = 64;

/** The rules of a user over one state. */
export class OwnFiring {
  /** What rules did beside their work. */
  readonly watch: SideEffectWatch = new SideEffectWatch();
  readonly #store: PageStore;
  readonly #log = new ChangeLog();
  readonly #firing: Firing;
  readonly #program: RuleProgram;
  readonly #rules: readonly OwnRule[];
  readonly #tick: number;

  /** Rules that are bound in a state, after a tick. */
  constructor(store: PageStore, rules: readonly OwnRule[], tick: number) {
    this.#store = store;
    this.#rules = rules;
    this.#tick = tick;
    const bound = rules.map(({ binding, code }) =>
      new BoundRule(askedParts(binding), this.#wrap(binding, code))
    );
    this.#program = new RuleProgram(store, bound);
    this.#program.lay();
    this.#log.reserveRows(store.table);
    this.#firing = new Firing(store, this.#log);
  }

  /** The outputs of a rule as the state has them. */
  stored(index: number): Uint8Array {
    return outputsOf(this.#store, this.#rules[index].binding);
  }

  /** The same of a rule that is bound in it. */
  storedBy({ binding }: OwnRule): Uint8Array {
    return outputsOf(this.#store, binding);
  }

  /** Whether outputs of a rule are those that the state has, but for what floats of a device may differ by. */
  isStored(rule: OwnRule, outputs: Uint8Array): boolean {
    const { table } = this.#store, sizeOf = (page: number) => table.sizeOf(table.rowOf(page));
    return isAsStored(rule, sizeOf, outputs, this.storedBy(rule));
  }

  /** Whether the outputs of a rule are older than its inputs, as the log says itself. */
  isStale(index: number): boolean {
    const { marks } = this.#store;
    return this.#rules[index].binding.outputs.some((page) =>
      marks.has(page, MARK.stale) || marks.has(page, MARK.invalidated)
    );
  }

  /** Computes in full over the pages as they are. */
  now(index: number): OwnRun {
    const written = this.#written(index),
      kept = written.map((row) => this.#store.view(row).slice());
    const run = this.#fire(index, NEEDS_FULL);
    written.forEach((row, i) => this.#store.view(row).set(kept[i]));
    return run;
  }

  /**
   * Does the tick again for one rule; nothing where that cannot be done, as a page of it has another size than before.
   *
   * @param before The state before the tick.
   * @param isFull Whether it computes in full; else from the changes of the tick.
   */
  again(index: number, before: PageStore, isFull: boolean): OwnRun | undefined {
    const store = this.#store, written = this.#written(index), inputs = this.#inputs(index);
    const isSame = (row: number) => {
      const old = before.table.rowOf(store.table.ids[row]);
      return old === 0 || before.table.sizeOf(old) === store.table.sizeOf(row);
    };
    if (![...written, ...inputs].every(isSame)) return undefined;
    const kept = written.map((row) => store.view(row).slice());
    for (const row of written) put(store.view(row), oldBytes(before, store, row));
    if (!isFull) { for (const row of inputs) this.#record(row, before, index); }
    const run = this.#fire(index, isFull ? NEEDS_FULL : 0);
    written.forEach((row, i) => store.view(row).set(kept[i]));
    return run;
  }

  /** Whether any input of a rule was changed by the tick. */
  hasChanges(index: number, before: PageStore): boolean {
    const store = this.#store;
    return this.#inputs(index).some((row) =>
      !equalBytes(store.view(row), oldBytes(before, store, row))
    );
  }

  /** Whether a rule can do with changes. */
  isIncremental(index: number): boolean {
    return this.#rules[index].code.fromDeltas !== undefined;
  }

  #fire(index: number, flags: number): OwnRun {
    const rule = index + 1, log = this.#log, firing = this.#firing;
    this.#program.setFlags(rule, flags);
    firing.begin(this.#tick, this.#program);
    try {
      firing.fire(rule);
      return { outputs: this.stored(index) };
    } catch (thrown) {
      const error = firing.failed(thrown), { cause } = error as { cause?: unknown };
      return { outputs: undefined, failure: reasonOf(cause ?? error) };
    } finally {
      firing.end();
      log.clear();
      this.#program.tables.forEach(({ dirty }) => dirty.length = 0);
    }
  }

  /** Has the change log say what a page held before, word by word. */
  #record(row: number, before: PageStore, index: number): void {
    const store = this.#store, log = this.#log;
    const old = wordsOf(oldBytes(before, store, row)), now = wordsOf(store.view(row));
    log.reserve(now.length * (RECORD_HEAD + 1));
    const first = log.used;
    for (let word = 0; word < now.length; word++) {
      if (old[word] === now[word]) continue;
      const start = word;
      while (word + 1 < now.length && old[word + 1] !== now[word + 1]) word++;
      const at = log.used, count = word - start + 1;
      log.words.set([row, start, count, log.heads[row]], at);
      log.words.set(old.subarray(start, word + 1), at + RECORD_HEAD);
      log.heads[row] = at;
      log.used = at + RECORD_HEAD + count;
    }
    if (log.used === first) return;
    log.touched[log.count++] = row;
    for (const table of this.#tablesOf(index)) {
      if (table.region.rootRow === row || table.region.chunkAt(row) !== undefined) {
        table.dirty.push(row);
      }
    }
  }

  #tablesOf(index: number) {
    const { tables } = this.#program, { table } = this.#store;
    return this.#rules[index].binding.inputs.flatMap((page) => {
      return tables.get(table.rowOf(page)) ?? [];
    });
  }

  /** Rows of the page table that a rule reads: its inputs, and the pages of those that are tables. */
  #inputs(index: number): number[] {
    const { vertexOf } = this.#program, { table } = this.#store, rows = new Set<number>();
    const roots = new Set<number>();
    for (const page of this.#rules[index].binding.inputs) {
      const row = table.rowOf(page);
      rows.add(row);
      if (this.#program.tables.has(row)) roots.add(Math.abs(vertexOf[row]));
    }
    if (roots.size > 0) {
      for (const row of table.rows()) if (roots.has(Math.abs(vertexOf[row]))) rows.add(row);
    }
    return [...rows];
  }

  #written(index: number): number[] {
    const { outputs, state } = this.#rules[index].binding;
    return [...outputs, ...state].map((page) => this.#store.table.rowOf(page));
  }

  #wrap(binding: RuleBinding, code: Rule): Rule {
    const own = new Set([...binding.outputs, ...binding.state]);
    return this.watch.wrap(code, { pages: () => this.#watched(binding) }, own);
  }

  /** The inputs of a rule and some other pages. */
  *#watched(binding: RuleBinding) {
    const store = this.#store;
    let bytes = 0, pages = 0;
    const view = (id: number, row: number) => ({ id, view: () => store.view(row) });
    for (const id of binding.inputs) {
      const row = store.table.rowOf(id);
      bytes += store.table.sizeOf(row);
      if (bytes > WATCHED_BYTES_MAX) return;
      yield view(id, row);
    }
    for (const row of store.table.rows()) {
      bytes += store.table.sizeOf(row);
      if (bytes > WATCHED_BYTES_MAX || ++pages > WATCHED_PAGES_MAX) return;
      yield view(store.table.ids[row], row);
    }
  }
}

/** What a run of a rule needs of its binding. */
function askedParts(binding: RuleBinding): ReturnType<typeof partsOf> {
  // Each run is asked for, whatever the rule's own mode.
  return { ...partsOf(binding), mode: "immediate", every: 1 };
}

/** The outputs of a binding one behind the other. */
function outputsOf(store: PageStore, { outputs }: RuleBinding): Uint8Array {
  const parts = outputs.map((page) => store.view(store.table.rowOf(page)));
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A page of a state as it was in an earlier one; zeros where it was not there. */
function oldBytes(before: PageStore, store: PageStore, row: number): Uint8Array {
  const old = before.table.rowOf(store.table.ids[row]);
  return old === 0 ? new Uint8Array(store.table.sizeOf(row)) : before.view(old);
}

function put(target: Uint8Array, bytes: Uint8Array): void {
  target.fill(0);
  target.set(bytes.subarray(0, target.length));
}

/** Bytes as whole words, the last filled up with zeros. */
function wordsOf(bytes: Uint8Array): Int32Array {
  const words = new Int32Array(bytes.length + 3 >>> 2);
  new Uint8Array(words.buffer).set(bytes);
  return words;
}
