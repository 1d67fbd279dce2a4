/**
 * Twin run: one step of a rule's CPU twin over the pages as they are, into copies.
 *
 * The twin writes into copies of its outputs and state, as rules on other threads do, so nothing of it is in the
 * pages or in the change log: it says what the shader's bytes have to be, and is forgotten.
 *
 * Cost: a step of the twin, and a copy of the pages that it writes.
 */

import { ADDRESS_BYTES, SharedArena } from "../../physical/mod.ts";
import { ChangeLog } from "../change_log.ts";
import { Firing, type FiringPages, type FiringProgram } from "../firing.ts";
import { PLACE_WORDS, type RuleProgram } from "../program.ts";
import type { Rule, RuleContext } from "../rule.ts";

/** Bytes that copies of the outputs and the state of one rule may take. */
const COPIES_BYTES_MAX = 2 ** 30;

/** One step of one twin. */
export class TwinRun {
  readonly #copies = new SharedArena(COPIES_BYTES_MAX);
  readonly #slots: number[] = [];

  /**
   * Runs the step.
   *
   * @param store The pages; they are only read.
   * @param rule Index of the rule in the program.
   * @throws {MmsbError} `rule` where it fails, as any run.
   */
  constructor(
    store: FiringPages,
    program: RuleProgram,
    rule: number,
    step: (ctx: RuleContext) => void,
    tick: number,
  ) {
    const log = new ChangeLog(), firing = new Firing(store, log);
    log.reserveRows(store.table);
    firing.begin(tick, programOf(program, rule, step));
    this.#copyWritten(store, program, rule, firing);
    try {
      firing.run(Int32Array.of(rule), 0, 1);
    } finally {
      firing.end();
    }
  }

  /** Words of a page that it has written, by the page's place: outputs first, then state. */
  words(place: number, count: number): Int32Array {
    const first = this.#slots[place] << 2;
    return this.#copies.words.subarray(first, first + count);
  }

  #copyWritten(store: FiringPages, program: RuleProgram, rule: number, firing: Firing): void {
    const { image } = program, copies = this.#copies, from = store.arena.words;
    const start = program.writtenStart(rule), end = program.writtenEnd(rule);
    let next = 0;
    for (let at = start; at < end; at += PLACE_WORDS) {
      this.#slots.push(next);
      next += Math.ceil(image[at + 2] / ADDRESS_BYTES);
    }
    copies.grow(next * ADDRESS_BYTES);
    this.#slots.forEach((slot, place) => {
      const at = start + PLACE_WORDS * place, first = image[at + 1] << 2;
      const words = Math.ceil(image[at + 2] / 4);
      copies.words.set(from.subarray(first, first + words), slot << 2);
      firing.redirect(rule, place, copies, slot);
    });
  }
}

/** The program with one rule's code, a step of it. */
function programOf(
  { image, params, tables, rules }: RuleProgram,
  rule: number,
  step: (ctx: RuleContext) => void,
): FiringProgram {
  const code: (Rule | undefined)[] = [];
  code[rule] = { version: 0, compute: step };
  return { image, code, params, tables, rules };
}
