/**
 * Random programs of ticks over pages, edges and rules, which come out the same on every bus: for tests that compare
 * numbers of workers, and a bus that was killed with one that was not.
 *
 * A program is made tick by tick from a seed and what it has done itself, never from what the bus says; so it can be
 * gone on with by another process that has only the seed and the number of the last tick.
 */

import { MmsbError } from "../../base/mod.ts";
import { SeededRandom } from "../../log/seeded_random.ts";
import { DeltaBatch, type EdgeType } from "../../physical/mod.ts";
import { defineRule } from "../../propagation/mod.ts";
import type { Page, StateBus } from "../mod.ts";

const MODULE = new URL("./rules_for_workers.ts", import.meta.url);
const SOURCES_START = 12;
const PAGES_MAX = 220;
const RULES_MAX = 70;
const LARGE_ROWS = 17_000;
/** Size of each page: the largest that a rule here needs. */
const PAGE_BYTES = 32;
/** A batch of all rows with one page that no rule writes. */
const BAD_PAGE = 4_000_000_000;

/** Closures: they stay on the thread of the bus, between rules that do not. */
const CLOSURES = {
  difference: defineRule({
    compute(ctx) {
      const { inputs } = ctx.params as { inputs: number };
      const last = ctx.input(inputs - 1);
      for (let at = 28; at >= 0; at -= 4) {
        ctx.output(0).setInt32(at, ctx.input(0).getInt32(at) - last.getInt32(28 - at));
      }
    },
  }),
  parity: defineRule({
    compute(ctx) {
      ctx.output(0).setUint8(5, ctx.input(0).getUint8(0) & 1);
    },
  }),
  /** Each word from its neighbours before the step, some of them left as they are, three times. */
  churn: defineRule({
    wgsl: {
      code: `@compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3u) {
        let at = id.x;
        let seed = (input0[(at + 1) & 7] ^ previous0[(at + 7) & 7]) + params.plus;
        if ((seed & 3) != 0) { output0[at] = seed * 1103515245 + i32(tick) + state0[at]; }
        state0[at]++;
      }`,
      threads: 8,
      inputs: ["i32"],
      outputs: ["i32"],
      state: ["i32"],
      params: { plus: "i32" },
      steps: 3,
    },
    compute(ctx) {
      const input = ctx.input(0), output = ctx.output(0), state = ctx.state(0);
      const before = new DataView(output.readInto(new Uint8Array(PAGE_BYTES)).buffer);
      const { plus } = ctx.params as { plus: number };
      for (let at = 0; at < 8; at++) {
        const left = before.getInt32(4 * (at + 7 & 7), true);
        const seed = (input.getInt32(4 * (at + 1 & 7)) ^ left) + plus | 0;
        const count = state.getInt32(4 * at);
        const now = Math.imul(seed, 1103515245) + ctx.tick + count;
        if ((seed & 3) !== 0) output.setInt32(4 * at, now);
        state.setInt32(4 * at, count + 1);
      }
    },
  }),
};

type Kind = "mix" | "growth" | "sum" | "moody" | "shade" | keyof typeof CLOSURES;
const KINDS: readonly Kind[] = [
  "mix",
  "growth",
  "sum",
  "moody",
  "difference",
  "parity",
  "mix",
  "churn",
  "shade",
];

interface BoundHere {
  readonly name: string;
  readonly kind: Kind;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly state: readonly number[];
  readonly mode: "immediate" | "deferred";
  readonly plus: number;
}

/** What one tick does. Pages are named by their index. */
interface Step {
  /** Whether a rule fails in it. */
  readonly fails: boolean;
  readonly births: readonly number[];
  readonly deaths: readonly number[];
  readonly binds: readonly BoundHere[];
  readonly unbinds: readonly string[];
  readonly edges: readonly (readonly [number, number, EdgeType])[];
  readonly cuts: readonly (readonly [number, number, EdgeType])[];
  /** Page, first word, words. */
  readonly writes: readonly (readonly [number, number, readonly number[]])[];
  readonly batches: readonly {
    readonly rows: number;
    readonly seed: number;
    readonly bad: boolean;
  }[];
}

const EMPTY: Step = {
  fails: false,
  births: [],
  deaths: [],
  binds: [],
  unbinds: [],
  edges: [],
  cuts: [],
  writes: [],
  batches: [],
};

/** A random program. */
export class RuleTicks {
  /** Ticks that counted. */
  ticks = 0;
  readonly #random: SeededRandom;
  #pages = 0;
  /** Pages that no rule writes, but for the moods. */
  readonly #sources: number[] = [];
  readonly #moods: number[] = [];
  readonly #outputs: number[] = [];
  readonly #rules: BoundHere[] = [];
  readonly #edges: (readonly [number, number, EdgeType])[] = [];
  #named = 0;

  /** Programs of one seed are the same. */
  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  /**
   * Does what has to be done to have a bus at tick `to`, of which it has some ticks already.
   *
   * @param done Called after each tick.
   */
  async run(bus: StateBus, to: number, done?: (tick: number) => Promise<void>): Promise<void> {
    while (this.ticks < bus.tickNumber) this.#next();
    if (bus.tickNumber > 0) {
      await Promise.all(this.#rules.map((rule) => bind(bus, rule, new Map())));
    }
    while (this.ticks < to) {
      await this.#do(bus, this.#next());
      await done?.(bus.tickNumber);
    }
  }

  async #do(bus: StateBus, step: Step): Promise<void> {
    const born = new Map<number, Page>();
    const page = (index: number) => born.get(index) ?? bus.find(`p${index}`)!;
    for (const index of step.births) {
      born.set(index, bus.createPage({ size: PAGE_BYTES, name: `p${index}` }));
    }
    for (const name of step.unbinds) handlesOf(bus).get(name)!.unbind();
    await Promise.all(step.binds.map((rule) => bind(bus, rule, born)));
    for (const [source, target, type] of step.cuts) {
      bus.removeEdge(page(source), page(target), type);
    }
    for (const [source, target, type] of step.edges) bus.edge(page(source), page(target), type);
    for (const [index, word, words] of step.writes) {
      page(index).write(4 * word, new Uint8Array(Int32Array.from(words).buffer));
    }
    for (const index of step.deaths) page(index).delete();
    const ids = this.#sources.filter((index) => !born.has(index)).map((index) => page(index).id);
    const receipts = step.batches.map((batch, index) =>
      bus.submit(batchOf(batch, ids), { producer: 1 + index }).catch((error: MmsbError) => error)
    );
    const before = bus.tickNumber;
    let failed = false;
    try {
      await bus.tick();
    } catch (error) {
      if (!(error instanceof MmsbError) || error.code !== "rule" || !step.fails) throw error;
      failed = true;
    }
    const answers = await Promise.all(receipts);
    answers.forEach((answer, index) => {
      const isRefused = answer instanceof MmsbError;
      if (isRefused !== (step.fails || step.batches[index].bad)) throw answer;
    });
    if (failed !== step.fails || bus.tickNumber !== before + (failed ? 0 : 1)) {
      throw new Error(`tick ${before + 1} did not go as it should`);
    }
  }

  /** The next tick. */
  #next(): Step {
    const random = this.#random;
    if (this.#sources.length === 0) return this.#first();
    if (this.#moods.length > 0 && random.chance(0.04)) return this.#failing();
    const births: number[] = [], binds: BoundHere[] = [], unbinds: string[] = [];
    const writes: [number, number, number[]][] = [[0, 0, [this.ticks + 100]]];
    const deaths: number[] = [];
    if (random.chance(0.25) && this.#pages < PAGES_MAX) births.push(this.#birth(this.#sources));
    for (let left = random.chance(0.4) ? 1 + random.below(4) : 0; left > 0; left--) {
      if (this.#rules.length >= RULES_MAX || this.#pages > PAGES_MAX) break;
      const { rule, born, mood } = this.#newRule();
      births.push(...born);
      if (mood !== undefined) writes.push([mood, 0, [this.#word() | 16]]);
      binds.push(rule);
    }
    if (random.chance(0.12) && this.#rules.length > binds.length + 8) {
      unbinds.push(this.#unbind(binds.length).name);
    }
    const edges: (readonly [number, number, EdgeType])[] = [], cuts: typeof edges = [];
    if (random.chance(0.2)) edges.push(...this.#newEdge(births));
    if (random.chance(0.1)) cuts.push(...this.#cut(edges));
    for (let left = random.below(12); left > 0; left--) {
      const index = this.#pick(this.#sources), word = random.below(8);
      const count = 1 + random.below(8 - word);
      writes.push([index, word, Array.from({ length: count }, () => this.#word())]);
    }
    for (const mood of this.#moods) {
      if (random.chance(0.2)) writes.push([mood, 0, [this.#word() | 16]]);
    }
    const batches = Array.from({ length: random.below(3) }, () => ({
      rows: random.chance(0.03) ? LARGE_ROWS : 1 + random.below(40),
      seed: random.next(),
      bad: random.chance(0.15),
    }));
    if (random.chance(0.1)) deaths.push(...this.#death(births, writes, edges));
    this.ticks++;
    return { ...EMPTY, births, deaths, binds, unbinds, edges, cuts, writes, batches };
  }

  #first(): Step {
    const births = Array.from({ length: SOURCES_START }, () => this.#birth(this.#sources));
    this.ticks++;
    return { ...EMPTY, births, writes: births.map((index) => [index, 0, [this.#word()]]) };
  }

  #failing(): Step {
    const mood = this.#pick(this.#moods);
    const writes = this.#sources.slice(0, 5).map((index) => [index, 1, [this.#word()]] as const);
    return { ...EMPTY, fails: true, writes: [...writes, [mood, 0, [1]]] };
  }

  #newRule() {
    const kind = this.#pick(KINDS), born: number[] = [];
    const isMoody = kind === "moody";
    const mood = isMoody ? this.#birth(this.#moods) : undefined;
    if (mood !== undefined) born.push(mood);
    const known = [...this.#sources, ...this.#outputs];
    const count = kind === "sum" || kind === "difference" ? 1 + this.#random.below(4) : 1;
    const inputs = isMoody ? [mood!] : [
      ...new Set(Array.from({ length: count }, () => this.#pick(known))),
    ];
    const outputs = Array.from(
      { length: kind === "mix" ? 2 : 1 },
      () => this.#birth(this.#outputs),
    );
    const hidden: number[] = [];
    const state = kind === "mix" || kind === "churn" ? [this.#birth(hidden)] : [];
    born.push(...outputs, ...state);
    const mode = isMoody || this.#random.chance(0.85) ? "immediate" : "deferred";
    const plus = this.#random.below(100);
    const rule: BoundHere = {
      name: `r${++this.#named}`,
      kind,
      inputs,
      outputs,
      state,
      mode,
      plus,
    };
    this.#rules.push(rule);
    return { rule, born, mood };
  }

  /** Ends one of the older rules; its outputs stay as pages that nobody writes. */
  #unbind(recent: number): BoundHere {
    const at = this.#random.below(this.#rules.length - recent);
    const [rule] = this.#rules.splice(at, 1);
    const mood = this.#moods.indexOf(rule.inputs[0]);
    if (mood >= 0) this.#moods.splice(mood, 1);
    return rule;
  }

  #newEdge(births: readonly number[]): (readonly [number, number, EdgeType])[] {
    const a = this.#pick(this.#sources), b = this.#pick([...this.#sources, ...this.#outputs]);
    // A rule whose output is stale by a control edge runs when it is bound again, and not before: a process that was
    // killed has one run more.
    const types: readonly EdgeType[] = ["compiler", "gpu", "control"];
    const type = this.#pick(this.#outputs.includes(b) ? types.slice(0, 2) : types);
    if (a >= b || births.includes(a) || this.#has(a, b)) return [];
    const edge = [a, b, type] as const;
    this.#edges.push(edge);
    return [edge];
  }

  #has(source: number, target: number): boolean {
    return this.#edges.some(([a, b]) => a === source && b === target) ||
      this.#rules.some(({ inputs, outputs }) =>
        inputs.includes(source) && outputs.includes(target)
      );
  }

  #cut(fresh: readonly (readonly [number, number, EdgeType])[]) {
    const old = this.#edges.filter((edge) => !fresh.includes(edge));
    if (old.length === 0) return [];
    const edge = this.#pick(old);
    this.#edges.splice(this.#edges.indexOf(edge), 1);
    return [edge];
  }

  /** A source that nothing has to do with. */
  #death(
    births: readonly number[],
    writes: readonly (readonly [number, number, readonly number[]])[],
    edges: readonly (readonly [number, number, EdgeType])[],
  ): number[] {
    const isFree = (page: number) =>
      page > 0 && !births.includes(page) &&
      !writes.some(([index]) => index === page) &&
      ![...edges, ...this.#edges].some(([a, b]) => a === page || b === page) &&
      !this.#rules.some(({ inputs }) => inputs.includes(page));
    const free = this.#sources.filter(isFree);
    if (free.length < 2) return [];
    const page = this.#pick(free);
    this.#sources.splice(this.#sources.indexOf(page), 1);
    return [page];
  }

  #birth(list: number[]): number {
    list.push(this.#pages);
    return this.#pages++;
  }

  /** Small and large numbers. */
  #word(): number {
    const value = this.#random.next() | 0;
    return this.#random.chance(0.5) ? value & 0xff : value;
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#random.below(list.length)];
  }
}

/** Handles by bus and name. */
const handles = new WeakMap<StateBus, Map<string, { unbind(): void }>>();

function handlesOf(bus: StateBus): Map<string, { unbind(): void }> {
  let known = handles.get(bus);
  if (known === undefined) handles.set(bus, known = new Map());
  return known;
}

async function bind(
  bus: StateBus,
  rule: BoundHere,
  born: ReadonlyMap<number, Page>,
): Promise<void> {
  const page = (index: number) => born.get(index) ?? bus.find(`p${index}`)!;
  const { name, kind, mode, plus } = rule;
  const inputs = rule.inputs.map(page), outputs = rule.outputs.map(page);
  const binding = { name, inputs, outputs, state: rule.state.map(page), mode };
  const params = { inputs: inputs.length, plus };
  const handle = kind in CLOSURES
    ? bus.rule(CLOSURES[kind as keyof typeof CLOSURES], { ...binding, params })
    : bus.rule(MODULE, { ...binding, export: kind, params });
  handlesOf(bus).set(name, handle);
  await handle.ready;
}

function batchOf(
  { rows, seed, bad }: { readonly rows: number; readonly seed: number; readonly bad: boolean },
  pages: readonly number[],
): DeltaBatch {
  const random = new SeededRandom(seed), batch = new DeltaBatch({ rows, payloadBytes: 8 * rows });
  for (let row = 0; row < rows; row++) {
    const page = bad && row === rows - 1 ? BAD_PAGE : pages[random.below(pages.length)];
    const offset = 4 * random.below(7);
    if (random.chance(0.3)) batch.combine(page, "u32", "add", offset, 1 + random.below(9));
    else batch.push(page, offset, new Uint8Array(Int32Array.of(random.below(50)).buffer));
  }
  return batch;
}
