/**
 * Rule bindings: which rule reads and writes which pages, as it was logged.
 *
 * A binding is data, not code: a number that is given out once and never again, a name that no other
 * binding has, the pages that the rule reads, writes and keeps its state in, and the payload that
 * the log carries, kept as it came so that it is written again byte by byte. Whoever runs rules finds
 * their code by it.
 *
 * A binding lives as long as all its pages: when one of them is removed (an input, an output or a
 * page of its state), the rule could not run any more, and its binding goes with the page.
 *
 * Cost: nothing while there is none; then some 300 bytes a binding and 100 a page that it names.
 *
 * @module
 */

import { assert } from "../base/mod.ts";

/** A rule bound to its pages. */
export interface RuleBinding {
  /** Number of the rule, given out once in a directory's life. */
  readonly number: number;
  /** Its name; no other binding has it. */
  readonly name: string;
  /** Its first output. */
  readonly page: number;
  /** Pages that it reads. */
  readonly inputs: readonly number[];
  /** Pages that it writes, the first of which is `page`. */
  readonly outputs: readonly number[];
  /** Pages that it keeps its state in. */
  readonly state: readonly number[];
  /** Version of its code. */
  readonly version: number;
  /** Module that its code is in, `null` for a closure. */
  readonly module: string | null;
  /** What the log carries: UTF-8 JSON. */
  readonly payload: Uint8Array;
}

/** The bindings of one store. */
export class RuleBindings {
  /** Rules bound and unbound so far. */
  changes = 0;
  #byNumber = new Map<number, RuleBinding>();
  #byName = new Map<string, RuleBinding>();
  /** Numbers of the bindings that name a page. */
  #byPage = new Map<number, Set<number>>();
  /** Number of the one that writes a page or keeps state there. */
  #writers = new Map<number, number>();

  /** Number of bindings. */
  get size(): number {
    return this.#byNumber.size;
  }

  /** Adds a binding whose number and name no other one has. */
  add(binding: RuleBinding): void {
    assert(!this.#byNumber.has(binding.number), `rule ${binding.number} is not bound`);
    assert(!this.#byName.has(binding.name), `no rule is named "${binding.name}"`);
    this.#byNumber.set(binding.number, binding);
    this.#byName.set(binding.name, binding);
    this.changes++;
    for (const page of pagesOf(binding)) {
      const numbers = this.#byPage.get(page);
      if (numbers === undefined) this.#byPage.set(page, new Set([binding.number]));
      else numbers.add(binding.number);
    }
    for (const page of writtenBy(binding)) this.#writers.set(page, binding.number);
  }

  /** Removes a binding; gives it, or `undefined` where there is none with that number. */
  remove(number: number): RuleBinding | undefined {
    const binding = this.#byNumber.get(number);
    if (binding === undefined) return undefined;
    this.#byNumber.delete(number);
    this.#byName.delete(binding.name);
    this.changes++;
    for (const page of pagesOf(binding)) {
      const numbers = this.#byPage.get(page);
      numbers?.delete(number);
      if (numbers?.size === 0) this.#byPage.delete(page);
    }
    for (const page of writtenBy(binding)) {
      if (this.#writers.get(page) === number) this.#writers.delete(page);
    }
    return binding;
  }

  /** Removes all bindings that name a page; gives how many. */
  removePage(page: number): number {
    const numbers = this.#byPage.get(page);
    if (numbers === undefined) return 0;
    const all = [...numbers];
    for (const number of all) this.remove(number);
    return all.length;
  }

  /** The binding with a number. */
  get(number: number): RuleBinding | undefined {
    return this.#byNumber.get(number);
  }

  /** The binding with a name. */
  find(name: string): RuleBinding | undefined {
    return this.#byName.get(name);
  }

  /** The bindings that name a page, in no order, as they are now: one that is asked for costs no more than itself. */
  *of(page: number): Generator<RuleBinding> {
    for (const number of this.#byPage.get(page) ?? NO_NUMBERS) yield this.#byNumber.get(number)!;
  }

  /** The binding that writes a page, as an output or as its state, if any. */
  writerOf(page: number): RuleBinding | undefined {
    const number = this.#writers.get(page);
    return number === undefined ? undefined : this.#byNumber.get(number);
  }

  /** All bindings, by number. */
  list(): RuleBinding[] {
    return [...this.#byNumber.values()].sort((a, b) => a.number - b.number);
  }

  /** Removes all. */
  clear(): void {
    if (this.#byNumber.size === 0) return;
    this.#byNumber = new Map();
    this.#byName = new Map();
    this.#byPage = new Map();
    this.#writers = new Map();
  }

  /** All bindings, to be given to {@linkcode RuleBindings.restore}. */
  image(): readonly RuleBinding[] {
    return this.#byNumber.size === 0 ? NONE : this.list();
  }

  /** Puts the bindings back to an image. */
  restore(image: readonly RuleBinding[]): void {
    this.clear();
    for (const binding of image) this.add(binding);
  }

  /** Checks that all ways to a binding agree, and that its pages are there. */
  checkInvariants(hasPage: (page: number) => boolean): void {
    assert(this.#byName.size === this.#byNumber.size, "each binding has one name");
    let named = 0, written = 0;
    for (const [number, binding] of this.#byNumber) {
      assert(binding.number === number, `binding ${number} has its number`);
      assert(this.#byName.get(binding.name) === binding, `binding ${number} has its name`);
      assert(binding.outputs[0] === binding.page, `binding ${number} is at its first output`);
      for (const page of pagesOf(binding)) {
        assert(hasPage(page), `page ${page} of rule "${binding.name}" is there`);
        assert(this.#byPage.get(page)?.has(number) === true, `page ${page} knows rule ${number}`);
        named++;
      }
      for (const page of writtenBy(binding)) {
        assert(this.writerOf(page) === binding, `page ${page} has one writer`);
        written++;
      }
    }
    assert(this.#writers.size === written, "only pages that rules write have a writer");
    for (const numbers of this.#byPage.values()) named -= numbers.size;
    assert(named === 0, "pages know only rules that name them");
  }
}

const NONE: readonly RuleBinding[] = [];
const NO_NUMBERS: ReadonlySet<number> = new Set();

function writtenBy({ outputs, state }: RuleBinding): readonly number[] {
  return state.length === 0 ? outputs : [...outputs, ...state];
}

/** The pages that a binding names, each once. */
function pagesOf({ inputs, outputs, state }: RuleBinding): Set<number> {
  return new Set([...inputs, ...outputs, ...state]);
}
