/**
 * Staged rules: bindings that the next tick makes or ends.
 *
 * A rule runs for the first time in the tick that binds it, so it is handed to the waves when the tick begins
 * and taken back if the tick never was; the store has its binding once the tick counts.
 */

import { MmsbError } from "../base/mod.ts";
import { bindRow, ROW_KIND, type StructureRow, unbindRow } from "../log/mod.ts";
import type { PageStore, RuleBinding } from "../physical/mod.ts";
import type { BoundRule, Waves } from "../propagation/mod.ts";

/** A rule that is to be bound. */
export interface StagedBinding {
  /** What the log will say. */
  readonly binding: RuleBinding;
  /** The rule with its code. */
  readonly bound: BoundRule;
}

const NONE: readonly RuleBinding[] = [];

function pagesOf({ inputs, outputs, state }: RuleBinding): readonly number[] {
  return [...inputs, ...outputs, ...state];
}

/** What an open batch does to rules. */
export class StagedRules {
  readonly #binds = new Map<number, StagedBinding>();
  readonly #unbinds = new Map<number, RuleBinding>();
  readonly #byName = new Map<string, RuleBinding>();
  /** The staged bindings that name a page. */
  readonly #byPage = new Map<number, Set<RuleBinding>>();
  /** The one that writes a page, or keeps state there. */
  readonly #writers = new Map<number, RuleBinding>();

  /** Rules bound and unbound. */
  get size(): number {
    return this.#binds.size + this.#unbinds.size;
  }

  /** The next number of a rule when all of it is real. */
  nextRule({ nextRule }: PageStore): number {
    let next = nextRule;
    for (const number of this.#binds.keys()) next = Math.max(next, number + 1);
    return next;
  }

  /** Row kind of {@linkcode StagedRules.rows}. */
  get rowKind(): number {
    return ROW_KIND.rule;
  }

  /** Stages a binding. */
  bind(staged: StagedBinding): void {
    const { binding } = staged;
    this.#binds.set(binding.number, staged);
    this.#byName.set(binding.name, binding);
    for (const page of pagesOf(binding)) {
      const known = this.#byPage.get(page);
      if (known === undefined) this.#byPage.set(page, new Set([binding]));
      else known.add(binding);
    }
    for (const page of [...binding.outputs, ...binding.state]) this.#writers.set(page, binding);
  }

  /** Takes a staged binding back; gives whether there was one. */
  cancel(number: number): boolean {
    const staged = this.#binds.get(number);
    if (staged === undefined) return false;
    this.#binds.delete(number);
    this.#byName.delete(staged.binding.name);
    for (const page of pagesOf(staged.binding)) {
      this.#byPage.get(page)!.delete(staged.binding);
      if (this.#writers.get(page) === staged.binding) this.#writers.delete(page);
    }
    return true;
  }

  /** Takes a staged binding out. */
  take(number: number): StagedBinding {
    const staged = this.#binds.get(number)!;
    this.cancel(number);
    return staged;
  }

  /** Stages ending a binding. */
  unbind(binding: RuleBinding): void {
    this.#unbinds.set(binding.number, binding);
  }

  /** Lets a binding stay. */
  keep(number: number): void {
    this.#unbinds.delete(number);
  }

  /** Whether the end of a binding is staged. */
  isLeaving(number: number): boolean {
    return this.#unbinds.has(number);
  }

  /** The staged binding with a name. */
  find(name: string): RuleBinding | undefined {
    return this.#byName.get(name);
  }

  /** The staged bindings that name a page. */
  of(page: number): Iterable<RuleBinding> {
    return this.#byPage.get(page) ?? NONE;
  }

  /** The staged binding that writes a page, as an output or as its state. */
  writerOf(page: number): RuleBinding | undefined {
    return this.#writers.get(page);
  }

  /** The pages that the bindings name. */
  *pages(): Generator<number> {
    for (const { binding } of this.#binds.values()) yield* pagesOf(binding);
  }

  /** The rows for the log. */
  rows(): StructureRow[] {
    return [
      ...[...this.#unbinds.values()].map(unbindRow),
      ...[...this.#binds.values()].map(({ binding }) => bindRow(binding)),
    ];
  }

  /**
   * Hands the rules to the waves.
   *
   * @throws {MmsbError} `invalid-handle` where a page is gone, or about to be.
   */
  begin(store: PageStore, waves: Waves, deaths: ReadonlySet<number>): void {
    if (this.size === 0) return;
    for (const { binding: { name, inputs, outputs, state } } of this.#binds.values()) {
      for (const page of [...inputs, ...outputs, ...state]) {
        if (store.table.rowOf(page) !== 0 && !deaths.has(page)) continue;
        throw new MmsbError(
          "invalid-handle",
          `Cannot bind rule "${name}" as page ${page} is not there, or about to be deleted`,
          { values: { rule: name, page } },
        );
      }
    }
    for (const number of this.#unbinds.keys()) waves.remove(number);
    for (const { bound } of this.#binds.values()) {
      waves.add(bound);
      waves.request(bound);
    }
  }

  /** Takes back what {@linkcode StagedRules.begin} did, if it did, and all that is staged. */
  takeBack(waves: Waves): void {
    if (this.size === 0) return;
    for (const number of this.#binds.keys()) waves.remove(number);
    for (const number of this.#unbinds.keys()) waves.restore(number);
    this.clear();
  }

  /** Makes all of it real. */
  commit(store: PageStore): void {
    if (this.size === 0) return;
    store.nextRule = this.nextRule(store);
    for (const number of this.#unbinds.keys()) store.bindings.remove(number);
    for (const { binding, bound } of this.#binds.values()) {
      store.bindings.add(binding);
      bound.isStaged = false;
    }
    this.clear();
  }

  /** Forgets all of it. */
  clear(): void {
    if (this.#binds.size > 0) {
      this.#binds.clear();
      this.#byName.clear();
      this.#byPage.clear();
      this.#writers.clear();
    }
    if (this.#unbinds.size > 0) this.#unbinds.clear();
  }
}
