/**
 * Rule merge: puts what runs on other threads have changed into the pages and the change log.
 *
 * Pages are touched in the order of the queue, whoever ran their rules, since the order of the next level follows
 * from it.
 *
 * Cost: some 10 ns a span and 1 ns a word.
 */

import type { PageStore } from "../../physical/mod.ts";
import { type ChangeLog, RECORD_HEAD } from "../change_log.ts";
import { RUN_HEAD, SPAN_HEAD } from "./_rule_tasks.ts";

/** Puts a part of what a thread has changed; the log has room for it. */
export function putRuns(
  { table, arena }: PageStore,
  log: ChangeLog,
  changes: Int32Array,
  start: number,
  end: number,
): void {
  const { words: old, heads, touched } = log, pages = arena.words;
  let used = log.used, count = log.count;
  for (let run = start; run < end; run += RUN_HEAD + changes[run + 1]) {
    const runEnd = run + RUN_HEAD + changes[run + 1];
    for (let at = run + RUN_HEAD; at < runEnd; at += SPAN_HEAD + changes[at + 2]) {
      const row = changes[at], word = changes[at + 1], length = changes[at + 2];
      const base = (table.slot(row) << 2) + word, before = heads[row];
      if (before === 0) touched[count++] = row;
      heads[row] = used;
      old[used] = row;
      old[used + 1] = word;
      old[used + 2] = length;
      old[used + 3] = before;
      used += RECORD_HEAD;
      for (let k = 0; k < length; k++) {
        old[used + k] = pages[base + k];
        pages[base + k] = changes[at + SPAN_HEAD + k];
      }
      used += length;
    }
  }
  log.used = used;
  log.count = count;
}

/** Pages that the rules of this thread have touched, which come in between those of others. */
export class OwnPages {
  readonly #log: ChangeLog;
  readonly #places: readonly number[];
  readonly #ends: readonly number[];
  readonly #touched: Int32Array;
  readonly #before: number;
  #run = 0;
  #page = 0;

  /** Takes the pages out of the list of those touched, from `before` on; `ends` says which are whose. */
  constructor(
    log: ChangeLog,
    places: readonly number[],
    ends: readonly number[],
    before: number,
  ) {
    this.#log = log;
    this.#places = places;
    this.#ends = ends;
    this.#touched = log.touched.slice(before, log.count);
    this.#before = before;
    log.count = before;
  }

  /** Puts the pages back of rules whose place in the queue is lower than one. */
  addBefore(place: number): void {
    const log = this.#log;
    for (; this.#run < this.#places.length && this.#places[this.#run] < place; this.#run++) {
      const end = this.#ends[this.#run] - this.#before;
      while (this.#page < end) log.touched[log.count++] = this.#touched[this.#page++];
    }
  }

  /** As {@linkcode putRuns}, with the pages of this thread's rules in their places. */
  putAmong(
    store: PageStore,
    changes: Int32Array,
    start: number,
    end: number,
    shared: readonly number[],
  ): void {
    for (let run = start; run < end;) {
      const next = run + RUN_HEAD + changes[run + 1];
      this.addBefore(shared[changes[run]]);
      putRuns(store, this.#log, changes, run, next);
      run = next;
    }
  }
}
