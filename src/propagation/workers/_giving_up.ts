/**
 * Giving up: has a rule that takes too long end at its next use of a page.
 *
 * Deno 2.9 settles `terminate()` of a thread that computes and lets it go on until the process ends. So in threads
 * that run rules, and nowhere else, each call of a page looks whether the thread was given up. A loop that uses
 * no page is not ended by that: it keeps its core.
 *
 * Cost: a load of shared memory a call, 1 ns.
 */

import { MmsbError } from "../../base/mod.ts";
import { Firing } from "../firing.ts";
import { InputCursor, OutputCursor } from "../page_cursor.ts";
import { A_ENDED } from "./_rule_words.ts";

type Method = (this: unknown, ...values: unknown[]) => unknown;

/** Has this thread's rules look at a word of its area. */
export function endWhenGivenUp(area: Int32Array): void {
  for (const { prototype } of [InputCursor, OutputCursor]) {
    const names = Object.getOwnPropertyNames(prototype);
    watch(prototype, names.filter((name) => /^[gs]et|^read|^fill/.test(name)), area);
  }
  watch(Firing.prototype, ["input", "output", "state"], area);
}

function watch(prototype: object, names: readonly string[], area: Int32Array): void {
  const methods = prototype as Record<string, Method>;
  for (const name of names) {
    const method = methods[name];
    methods[name] = function (...values) {
      if (Atomics.load(area, A_ENDED) !== 0) refuse();
      return method.apply(this, values);
    };
  }
}

function refuse(): never {
  throw new MmsbError("worker", "Cannot go on with a rule whose worker was given up");
}
