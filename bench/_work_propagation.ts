/**
 * Graphs of rules over small pages, and the same graphs of signals.
 *
 * Each node is the sum of what it reads and 1, as a 32-bit integer, so every change of a source reaches all
 * nodes behind it and the exact number of runs is known.
 */

import { computed, effect, endBatch, signal, startBatch } from "alien-signals";
import { defineRule, DeltaBatch, type Page, type Rule, StateBus } from "../mod.ts";
import { PageStore, raiseEpochs, resolve } from "../src/physical/mod.ts";
import { BoundRule, captureRows, Waves } from "../src/propagation/mod.ts";

/** A graph: for each node what it reads; nodes come after what they read. */
export interface Graph {
  /** Its name. */
  readonly name: string;
  /** Number of sources, which are the first nodes. */
  readonly sources: number;
  /** For each other node the nodes that it reads. */
  readonly reads: readonly (readonly number[])[];
  /** Nodes that nobody reads. */
  readonly ends: readonly number[];
}

/** Chains of rules over one source. */
export function chains(width: number, height: number): Graph {
  const reads: number[][] = [], ends: number[] = [];
  for (let chain = 0; chain < width; chain++) {
    for (let at = 0; at < height; at++) reads.push([at === 0 ? 0 : reads.length]);
    ends.push(reads.length);
  }
  return { name: `${width} × ${height}`, sources: 1, reads, ends };
}

/** One source, some that read it, one that reads all of those. */
export function diamond(width: number): Graph {
  const reads = [...Array.from({ length: width }, () => [0])];
  reads.push(Array.from({ length: width }, (_, i) => i + 1));
  return { name: `diamond of ${width}`, sources: 1, reads, ends: [width + 1] };
}

/** Layers of nodes that each read some nodes of the layer before. */
export function layers(width: number, height: number, inputs: number): Graph {
  const reads: number[][] = [];
  for (let layer = 0; layer < height; layer++) {
    for (let at = 0; at < width; at++) {
      reads.push(Array.from({ length: inputs }, (_, k) => layer * width + (at + k) % width));
    }
  }
  const ends = Array.from({ length: width }, (_, at) => height * width + at);
  return { name: `${inputs} inputs × ${width} × ${height}`, sources: width, reads, ends };
}

const one: Rule = defineRule({
  compute: (ctx) => ctx.output(0).setInt32(0, ctx.input(0).getInt32(0) + 1),
});
const many: Rule = defineRule({
  compute(ctx) {
    const count = ctx.params as number;
    let sum = 1;
    for (let i = 0; i < count; i++) sum += ctx.input(i).getInt32(0);
    ctx.output(0).setInt32(0, sum | 0);
  },
});

/** The rule of a node, with a closure of its own. */
export function ruleOf(inputs: number): Rule {
  return inputs === 1 ? one : many;
}

/** A graph of rules below the bus: pages, waves and a log of changes, no ticks. */
export class RuleGraph {
  /** Rules run so far. */
  fired = 0;
  /** Derived rows so far. */
  rows = 0;
  readonly #store = new PageStore(2 ** 28);
  readonly #waves = new Waves(this.#store);
  readonly #batch: DeltaBatch;
  readonly #graph: Graph;
  #tick = 0;

  /** Binds all rules; each has run once. */
  constructor(graph: Graph, pageBytes: number) {
    this.#graph = graph;
    const nodes = graph.sources + graph.reads.length;
    for (let id = 1; id <= nodes; id++) {
      const row = this.#store.create(id, { size: pageBytes, shard: 0, name: "" });
      this.#store.table.setActive(row, true);
    }
    graph.reads.forEach((inputs, i) => {
      const page = graph.sources + i + 1;
      const bound = new BoundRule({
        number: i + 1,
        name: `rule ${i}`,
        inputIds: inputs.map((input) => input + 1),
        outputIds: [page],
        stateIds: [],
        params: inputs.length,
        mode: "immediate",
        every: 1,
        finite: false,
      }, ruleOf(inputs.length));
      this.#waves.add(bound);
      this.#waves.request(bound);
    });
    this.#batch = new DeltaBatch({ rows: graph.sources, payloadBytes: 4 * graph.sources });
    for (let i = 0; i < graph.sources; i++) this.#batch.push(i + 1, 0, new Uint8Array(4));
    this.step(0);
    this.fired = 0;
  }

  /** Sets all sources and lets the rules run. */
  step(value: number): void {
    const batch = this.#batch, store = this.#store, waves = this.#waves;
    const words = batch.kernel.payloadWords;
    for (let i = 0; i < batch.length; i++) words[i] = value;
    const shape = resolve({
      columns: batch.kernel,
      rows: batch.length,
      payloadLength: batch.payloadLength,
      strings: 1,
    }, store.table);
    waves.admit(batch.kernel, batch.length);
    raiseEpochs(batch.kernel, batch.length, store.table.epochs);
    waves.begin(++this.#tick);
    captureRows(batch.kernel, batch.length, shape, store.arena, waves.log);
    waves.propagate();
    this.rows += waves.derived;
    this.fired += waves.fired;
    waves.commit();
  }

  /** Value of a node. */
  value(node: number): number {
    const { table, arena } = this.#store;
    return arena.words[table.slot(table.rowOf(node + 1)) << 2];
  }

  /** Sum of the ends. */
  sum(): number {
    return this.#graph.ends.reduce((sum, end) => sum + this.value(end) | 0, 0);
  }
}

/** The same graph on a bus in memory. */
export async function busGraph(
  graph: Graph,
  pageBytes: number,
): Promise<{ bus: StateBus; sources: Page[]; ends: Page[]; end: Page }> {
  const bus = await StateBus.open({ memoryLimitBytes: 2 ** 28, tickBudgetMs: 10_000 });
  const nodes = graph.sources + graph.reads.length;
  const pages = Array.from({ length: nodes }, () => bus.createPage({ size: pageBytes }));
  graph.reads.forEach((inputs, i) => {
    bus.rule(ruleOf(inputs.length), {
      name: `rule ${i}`,
      inputs: inputs.map((input) => pages[input]),
      outputs: [pages[graph.sources + i]],
      params: inputs.length,
    });
  });
  await bus.tick();
  const ends = graph.ends.map((end) => pages[end]), end = ends[ends.length - 1];
  return { bus, sources: pages.slice(0, graph.sources), ends, end };
}

/** The same graph of signals. */
export class SignalGraph {
  /** Computations run so far. */
  fired = 0;
  readonly #sources: ReturnType<typeof signal<number>>[] = [];
  readonly #ends: (() => number)[];

  constructor(graph: Graph) {
    const nodes: (() => number)[] = [];
    for (let i = 0; i < graph.sources; i++) {
      const source = signal(0);
      this.#sources.push(source);
      nodes.push(source);
    }
    for (const reads of graph.reads) {
      if (reads.length === 1) {
        const before = nodes[reads[0]];
        nodes.push(computed(() => (this.fired++, before() + 1)));
      } else {
        const inputs = reads.map((read) => nodes[read]);
        nodes.push(computed(() => {
          this.fired++;
          let sum = 1;
          for (let i = 0; i < inputs.length; i++) sum += inputs[i]();
          return sum | 0;
        }));
      }
    }
    this.#ends = graph.ends.map((end) => nodes[end]);
    // As in the library's own benchmark: something hears of each end, so that all are computed.
    for (const end of this.#ends) effect(() => void end());
    this.fired = 0;
  }

  /** Sets all sources. */
  step(value: number): void {
    if (this.#sources.length === 1) {
      this.#sources[0](value);
      return;
    }
    startBatch();
    for (const source of this.#sources) source(value);
    endBatch();
  }

  /** Value of the last end. */
  last(): number {
    return this.#ends[this.#ends.length - 1]();
  }

  /** Sum of the ends. */
  sum(): number {
    let sum = 0;
    for (let i = 0; i < this.#ends.length; i++) sum = sum + this.#ends[i]() | 0;
    return sum;
  }
}
