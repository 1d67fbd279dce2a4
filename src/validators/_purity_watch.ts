/**
 * Watches a rule while it runs: what changes that is none of its outputs, and what it asks that is none of its
 * inputs.
 *
 * A rule that is wrapped runs as it is. Before and after each run the bytes of all other pages are compared, its inputs
 * among them; its parameters; the names of global things, and what those hold that a program has set. Clocks and sources of chance are replaced while it runs
 * by ones that are counted and answer as ever.
 */

import process from "node:process";
import { defineRule, type Rule } from "../propagation/mod.ts";

/** Bytes of a page, as far as they are compared. */
interface WatchedBytes {
  readonly [index: number]: number;
  slice(): Uint8Array;
}

/** Pages that are watched: those of a bus, or of a state. */
export interface WatchedPages {
  /** The pages. */
  pages(): Iterable<{ readonly id: number; view(): WatchedBytes }>;
}

/** A rule and what it did beside its work. */
export class SideEffectWatch {
  /** Effects in words, each once a run. */
  readonly effects: string[] = [];
  /** Runs. */
  runs = 0;
  /** Runs from changes that did with them. */
  incremental = 0;

  /**
   * Wraps a rule.
   *
   * @param own Ids of the pages that it may write.
   */
  wrap(rule: Rule, bus: WatchedPages, own: ReadonlySet<number>): Rule {
    const { version, compute, fromDeltas } = rule;
    const watched = <T>(params: unknown, run: () => T): T => this.#watch(bus, own, params, run);
    return defineRule({
      version,
      compute: (ctx) => watched(ctx.params, () => compute(ctx)),
      ...(fromDeltas === undefined ? {} : {
        fromDeltas: (ctx, changes) => {
          const answer = watched(ctx.params, () => fromDeltas(ctx, changes));
          if (answer !== "full") this.incremental++;
          return answer;
        },
      }),
    });
  }

  #watch<T>(bus: WatchedPages, own: ReadonlySet<number>, params: unknown, run: () => T): T {
    this.runs++;
    const pages = [...bus.pages()].filter(({ id }) => !own.has(id));
    const before = pages.map((page) => page.view().slice());
    const parameters = JSON.stringify(params), names = Reflect.ownKeys(globalThis).length;
    const globals = globalValues();
    const answer = this.#listen(run);
    pages.forEach((page, index) => {
      const now = page.view();
      if (before[index].some((byte, i) => byte !== now[i])) {
        this.effects.push(`page ${page.id} was written, which is no output`);
      }
    });
    if (JSON.stringify(params) !== parameters) this.effects.push("its parameters were changed");
    if (Reflect.ownKeys(globalThis).length !== names) this.effects.push("a global was set");
    for (const [name, value] of globals) {
      if (Reflect.get(globalThis, name) === value) continue;
      this.effects.push(`the global ${String(name)} was changed`);
    }
    return answer;
  }

  /** Runs with clocks and chance that are listened to. */
  #listen<T>(run: () => T): T {
    const heard = (what: string) => this.effects.push(`${what} was asked`);
    const { Date: clock } = globalThis, { random } = Math;
    const now = performance.now.bind(performance);
    const fill = crypto.getRandomValues.bind(crypto), uuid = crypto.randomUUID.bind(crypto);
    const { hrtime } = process;
    Math.random = () => (heard("Math.random"), random());
    performance.now = () => (heard("performance.now"), now());
    crypto.getRandomValues = (array) => (heard("crypto.getRandomValues"), fill(array));
    crypto.randomUUID = () => (heard("crypto.randomUUID"), uuid());
    process.hrtime = Object.assign(
      (before?: [number, number]) => (heard("process.hrtime"), hrtime(before)),
      { bigint: () => (heard("process.hrtime"), hrtime.bigint()) },
    );
    globalThis.Date = new Proxy(clock, {
      construct: (target, given) => (heard("Date"), Reflect.construct(target, given)),
      apply: (target, that, given) => (heard("Date"), Reflect.apply(target, that, given)),
      get: (target, key) =>
        key === "now" ? () => (heard("Date.now"), target.now()) : Reflect.get(target, key),
    });
    try {
      return run();
    } finally {
      globalThis.Date = clock;
      Math.random = random;
      process.hrtime = hrtime;
      // The prototypes have the real ones.
      Reflect.deleteProperty(performance, "now");
      Reflect.deleteProperty(crypto, "getRandomValues");
      Reflect.deleteProperty(crypto, "randomUUID");
    }
  }
}

/** Globals that hold a value; asking one that is computed could have an effect of its own. */
function globalValues(): [PropertyKey, unknown][] {
  const values: [PropertyKey, unknown][] = [];
  for (const name of Object.keys(globalThis)) {
    const found = Reflect.getOwnPropertyDescriptor(globalThis, name);
    if (found !== undefined && "value" in found) values.push([name, found.value]);
  }
  return values;
}
