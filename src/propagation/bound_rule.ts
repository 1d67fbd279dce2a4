/**
 * Bound rules: one rule with its pages.
 *
 * What a wave touches of a rule stands in the columns of its {@linkcode RuleProgram}; this is what is asked
 * for seldom, and what outlives a program.
 *
 * @module
 */

import type { Rule } from "./rule.ts";

/** When a rule runs. */
export type RuleMode = "immediate" | "deferred" | "batch";

/** Its next run computes in full. */
export const NEEDS_FULL = 1;
/** An input has changed since its last run. */
export const CHANGED = 2;
/** Its outputs are older than what they depend on. */
export const STALE = 4;
/** Somebody asked for a run. */
export const REQUESTED = 8;

/** What binds a rule to its pages. */
export interface BoundRuleParts {
  /** Number of the rule in its directory. */
  readonly number: number;
  /** Its name. */
  readonly name: string;
  /** Ids of its inputs. */
  readonly inputIds: readonly number[];
  /** Ids of its outputs. */
  readonly outputIds: readonly number[];
  /** Ids of the pages of its state. */
  readonly stateIds: readonly number[];
  /** Its parameters. */
  readonly params: unknown;
  /** When it runs. */
  readonly mode: RuleMode;
  /** In mode `batch`: it runs in ticks that are multiples of it. */
  readonly every: number;
  /** Whether it may write finite numbers only. */
  readonly finite: boolean;
  /** URL of the module that its code is from, if it is. */
  readonly module?: string | null;
  /** Name under which the module exports it. */
  readonly export?: string;
}

/** The columns in which a program keeps what changes of its rules. */
export interface RuleColumns {
  /** {@linkcode NEEDS_FULL}, {@linkcode CHANGED}, {@linkcode STALE} and {@linkcode REQUESTED} of a rule. */
  flagsOf(index: number): number;
  /** Sets them. */
  setFlags(index: number, flags: number): void;
  /** Runs of a rule since the columns were made. */
  runsOf(index: number): number;
  /** Levels. */
  readonly level: Int32Array;
}

/** A rule with its pages. */
export class BoundRule {
  /** What binds it. */
  readonly parts: BoundRuleParts;
  /** Whether no tick has bound it yet. */
  isStaged = true;
  #rule: Rule | undefined;
  #columns: RuleColumns | undefined;
  #index = 0;
  #flags = NEEDS_FULL;
  #fired = 0;

  /** With its code, or without for a detached one. */
  constructor(parts: BoundRuleParts, rule: Rule | undefined) {
    this.parts = parts;
    this.#rule = rule;
  }

  /** The code; none while the rule is detached. */
  get rule(): Rule | undefined {
    return this.#rule;
  }

  /** Gives a detached rule its code; the waves are to be told. */
  attach(rule: Rule): void {
    this.#rule = rule;
  }

  /** Number of the rule in its directory. */
  get number(): number {
    return this.parts.number;
  }

  /** Its name. */
  get name(): string {
    return this.parts.name;
  }

  /** What is to be done with it; bits. */
  get flags(): number {
    return this.#columns === undefined ? this.#flags : this.#columns.flagsOf(this.#index);
  }

  /** Sets what is to be done with it. */
  set flags(flags: number) {
    if (this.#columns === undefined) this.#flags = flags;
    else this.#columns.setFlags(this.#index, flags);
  }

  /** Runs that counted. */
  get fired(): number {
    return this.#fired + (this.#columns?.runsOf(this.#index) ?? 0);
  }

  /** Longest way to it from a page that no rule writes. */
  get level(): number {
    return this.#columns === undefined ? 0 : this.#columns.level[this.#index];
  }

  /** Its place in the columns. */
  get index(): number {
    return this.#index;
  }

  /** Moves what changes into the columns of a program. */
  enter(columns: RuleColumns, index: number): void {
    this.leave();
    columns.setFlags(index, this.#flags);
    this.#columns = columns;
    this.#index = index;
  }

  /** Moves it back. */
  leave(): void {
    this.#flags = this.flags;
    this.#fired = this.fired;
    this.#columns = undefined;
    this.#index = 0;
  }

  /** Whether a tick is one that it runs in when its inputs change. */
  runsIn(tick: number): boolean {
    const { mode, every } = this.parts;
    return mode === "immediate" || mode === "batch" && tick % every === 0;
  }

  /** Whether it is to run in a tick if it waits. */
  isDue(tick: number): boolean {
    if (this.#rule === undefined) return false;
    return (this.flags & REQUESTED) !== 0 || this.parts.mode === "deferred" || this.runsIn(tick);
  }
}
