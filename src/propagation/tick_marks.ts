/**
 * Tick marks: the marks that a tick sets on pages and takes off, until it counts.
 *
 * Cost: nothing while no page has a mark and none gets one.
 *
 * @module
 */

import { EDGE, MARK, type Mark, type PageMark, type PageStore } from "../physical/mod.ts";
import type { ChangeLog } from "./change_log.ts";

/** A mark that a tick sets or takes off. */
export interface MarkChange extends PageMark {
  /** Whether it is set. */
  readonly isSet: boolean;
}

/** What an edge that is not of type data does when its source has changed. */
export type EdgeEffect = "stale" | "invalidated" | "device";

/** The marks of one tick. */
export class TickMarks {
  readonly #store: PageStore;
  /** Page × 4 + mark → set or not. */
  #marks = new Map<number, boolean>();

  /** None yet. */
  constructor(store: PageStore) {
    this.#store = store;
  }

  /** Whether any page has a mark, or is to get one. */
  get isBusy(): boolean {
    return this.#store.marks.size > 0 || this.#marks.size > 0;
  }

  /** Marks a page as stale. */
  makeStale(page: number): void {
    this.#set(page, MARK.stale, true);
  }

  /** Takes the mark `stale` off a page. */
  confirm(page: number): void {
    this.#set(page, MARK.stale, false);
  }

  /** Does what an edge of a type asks for. */
  effect(target: number, type: number): EdgeEffect {
    if (type === EDGE.gpu) return "device";
    const isControl = type === EDGE.control;
    this.#set(target, isControl ? MARK.stale : MARK.invalidated, true);
    return isControl ? "stale" : "invalidated";
  }

  /** A page that somebody writes is what he wrote, unless the same tick says otherwise. */
  clearSources({ touched }: ChangeLog, count: number): void {
    const { marks, table } = this.#store;
    if (marks.size === 0) return;
    for (let i = 0; i < count; i++) {
      const page = table.ids[touched[i]];
      if (!marks.hasAny(page)) continue;
      for (const mark of [MARK.stale, MARK.invalidated]) {
        if (!this.#marks.has(4 * page + mark)) this.#set(page, mark, false);
      }
    }
  }

  /** The outputs of a rule that has run are new. */
  clearFired(pages: readonly number[]): void {
    for (const page of pages) {
      this.#set(page, MARK.stale, false);
      this.#set(page, MARK.invalidated, false);
    }
  }

  /** What is to change, by page and mark. */
  changes(): MarkChange[] {
    if (this.#marks.size === 0) return [];
    const { marks } = this.#store, changes: MarkChange[] = [];
    for (const [key, isSet] of [...this.#marks].sort((a, b) => a[0] - b[0])) {
      const page = Math.floor(key / 4), mark = key % 4 as Mark;
      if (marks.has(page, mark) !== isSet) changes.push({ page, mark, isSet });
    }
    return changes;
  }

  /** Makes all of it real. */
  commit(): void {
    if (this.#marks.size === 0) return;
    for (const { page, mark, isSet } of this.changes()) this.#store.marks.set(page, mark, isSet);
  }

  /** Forgets all of it. */
  clear(): void {
    if (this.#marks.size > 0) this.#marks = new Map();
  }

  #set(page: number, mark: Mark, isSet: boolean): void {
    this.#marks.set(4 * page + mark, isSet);
  }
}
