/**
 * What validator 3 does with one shape: builds it on a bus edge by edge, opens the log again, asks the graph what
 * it knows and times that, plants cycles. All answers are compared with the {@linkcode ReferenceGraph}.
 */

import { isMmsbError } from "../base/mod.ts";
import type { StateBus } from "../bus/mod.ts";
import { MemoryStorage } from "../log/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";
import { quantile, text } from "./_figures.ts";
import type { Shape } from "./_graph_shapes.ts";
import { ReferenceGraph } from "./_reference_graph.ts";
import { openBus } from "./device_run.ts";
import type { PlantedResult } from "./validator.ts";

/** What was found. */
export interface GraphOutcome {
  /** The shape. */
  readonly shape: string;
  /** Its pages. */
  readonly pages: number;
  /** Its edges. */
  readonly edges: number;
  /** Levels that it has. */
  readonly levels: number;
  /** Microseconds that an edge took to be staged, by the clock. */
  readonly edgeUs: number;
  /** Milliseconds for the levels of all pages. */
  readonly levelsMs: number;
  /** Milliseconds for all that one page is made from: the median over some pages. */
  readonly ancestorsMs: number;
  /** Milliseconds of a check for cycles: the median of some. */
  readonly checkMs: number;
  /** Answers that were compared. */
  readonly answers: number;
  /** Answers unlike the reference's, in words. */
  readonly wrong: readonly string[];
  /** What was planted, and whether it was refused and named, or told. */
  readonly planted: readonly PlantedResult[];
  /** What was not, in words. */
  readonly missed: readonly string[];
}

/** How much is done. */
export interface GraphPlan {
  /** Pages of a shape. */
  readonly pages: number;
  /** Pages of each shape that are resolved one by one. */
  readonly resolved: number;
  /** Seed of everything random. */
  readonly seed: number;
}

const EDGES_A_TICK = 2000;
const CHECKS = 9;
const MEMORY_BYTES = 64 * 2 ** 20;

/** Does the work of one shape. */
export async function measureShape(
  shape: Shape,
  plan: GraphPlan,
  progress: (text: string) => void,
): Promise<GraphOutcome> {
  const storage = new MemoryStorage(), random = new SeededRandom(plan.seed);
  const built = await build(storage, shape, progress);
  progress(`${shape.name}: asking`);
  await using bus = await openBus({ storage, memoryLimitBytes: MEMORY_BYTES });
  const asked = new ShapeQuestions(bus, shape, built.ids, random);
  asked.compare("the graph after opening again", bus.graph.digest(), built.digest);
  const times = asked.run(plan.resolved);
  progress(`${shape.name}: planting wrong answers`);
  await asked.plantAnswers();
  progress(`${shape.name}: planting cycles`);
  await asked.plant();
  return {
    shape: shape.name,
    pages: shape.pages,
    edges: shape.edges.length,
    edgeUs: built.edgeUs,
    ...times,
    answers: asked.answers,
    wrong: [...built.refused, ...asked.wrong],
    planted: asked.planted,
    missed: asked.missed,
  };
}

/** Adds a shape to an empty log, in ticks. */
async function build(storage: MemoryStorage, shape: Shape, progress: (text: string) => void) {
  await using bus = await openBus({ storage, memoryLimitBytes: MEMORY_BYTES });
  const ids = Array.from({ length: shape.pages }, () => bus.createPage({ size: 16 }).id);
  await bus.tick();
  const refused: string[] = [];
  let ms = 0;
  for (let first = 0; first < shape.edges.length; first += EDGES_A_TICK) {
    const started = performance.now();
    for (const { from, to, type } of shape.edges.slice(first, first + EDGES_A_TICK)) {
      try {
        bus.edge(ids[from], ids[to], type);
      } catch (error) {
        refused.push(`edge ${ids[from]} → ${ids[to]} was refused: ${error}`);
      }
    }
    ms += performance.now() - started;
    await bus.tick();
    progress(`${shape.name}: ${text(Math.min(shape.edges.length, first + EDGES_A_TICK))} edges`);
  }
  return { ids, refused, digest: bus.graph.digest(), edgeUs: 1000 * ms / shape.edges.length };
}

/** Asks the graph of a bus, and compares. */
class ShapeQuestions {
  answers = 0;
  readonly wrong: string[] = [];
  readonly planted: PlantedResult[] = [];
  readonly missed: string[] = [];
  readonly #bus: StateBus;
  readonly #shape: Shape;
  readonly #ids: readonly number[];
  readonly #random: SeededRandom;
  readonly #reference = new ReferenceGraph();
  readonly #levels: ReadonlyMap<number, number>;

  constructor(bus: StateBus, shape: Shape, ids: readonly number[], random: SeededRandom) {
    this.#bus = bus;
    this.#shape = shape;
    this.#ids = ids;
    this.#random = random;
    for (const { from, to } of shape.edges) this.#reference.add(ids[from], ids[to]);
    this.#levels = this.#reference.levels()!;
  }

  /** Counts an answer, and keeps a wrong one. */
  compare(what: string, actual: unknown, expected: unknown): void {
    this.answers++;
    if (actual !== expected) this.wrong.push(`${what}: ${actual} in place of ${expected}`);
  }

  run(resolved: number) {
    const { graph } = this.#bus;
    this.#compareEdges();
    const started = performance.now();
    const levels = graph.levels();
    const levelsMs = performance.now() - started;
    this.#compareLevels(levels);
    const ancestorsMs = this.#resolve(resolved);
    const times: number[] = [];
    for (let i = 0; i < CHECKS; i++) {
      const started = performance.now();
      const { ok, edges } = graph.check();
      times.push(performance.now() - started);
      this.compare("the check", ok, true);
      this.compare("edges", edges, this.#reference.edgeCount);
    }
    return { levels: levels.length, levelsMs, ancestorsMs, checkMs: quantile(times, 0.5) };
  }

  #compareLevels(levels: readonly (readonly number[])[]): void {
    levels.forEach((pages, level) => {
      for (const page of pages) {
        this.compare(`level of page ${page}`, level, this.#levels.get(page));
      }
    });
    this.compare("pages with a level", levels.flat().length, this.#levels.size);
  }

  /** Gives a page's ancestors, and the milliseconds that it took to ask. */
  #compareAncestors(
    page: number,
    reversed: ReferenceGraph,
  ): { ancestors: readonly number[]; ms: number } {
    const started = performance.now();
    const ancestors = this.#bus.graph.ancestors(page);
    const ms = performance.now() - started;
    const expected = reversed.reach(page);
    this.compare(`ancestors of page ${page}`, ancestors.length, expected.size);
    const others = ancestors.filter((ancestor) => !expected.has(ancestor)).length;
    this.compare(`false ancestors of page ${page}`, others, 0);
    return { ancestors, ms };
  }

  /** The bus's edges are just the reference's, which has no cycle: it has levels. */
  #compareEdges(): void {
    const edges = this.#bus.graph.edges();
    this.compare("edges", edges.length, this.#shape.edges.length);
    const unknown = edges.filter(({ from, to }) => !this.#reference.has(from, to)).length;
    this.compare("edges that were not added", unknown, 0);
  }

  /** Resolves pages one by one; gives the milliseconds of the median page. */
  #resolve(count: number): number {
    const { graph } = this.#bus, reversed = this.#reference.reversed();
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      // The last one has the most behind it.
      const page = i === 0 ? this.#deepest() : this.#ids[this.#random.below(this.#ids.length)];
      const { ancestors, ms } = this.#compareAncestors(page, reversed);
      times.push(ms);
      if (i >= 20 || ancestors.length === 0) continue;
      const way = graph.path(ancestors[0], page);
      this.compare(`way to page ${page}`, this.#isWay(way, ancestors[0], page), true);
    }
    return quantile(times, 0.5);
  }

  #isWay(way: readonly number[], from: number, to: number): boolean {
    return way[0] === from && way.at(-1) === to &&
      way.every((page, i) => i === 0 || this.#reference.has(way[i - 1], page));
  }

  /** A page of the highest level. */
  #deepest(): number {
    let deepest = 0, level = -1;
    for (const [page, its] of this.#levels) {
      if (its <= level) continue;
      deepest = page;
      level = its;
    }
    return deepest;
  }

  /** Plants cycles, each of which must be refused and named, and leave no trace. */
  async plant(): Promise<void> {
    const bus = this.#bus, before = bus.graph.digest(), { name, edges } = this.#shape;
    const ids = this.#ids, random = this.#random;
    for (let i = 0; i < 5; i++) {
      const { from, to } = edges[random.below(edges.length)];
      this.#close("cycle-of-two", `an edge turned round in ${name}`, ids[to], ids[from]);
    }
    const first = this.#ids[0], deepest = this.#deepest();
    const source = this.#sourceOf(deepest);
    const longest = `from the deepest page of ${name} to where its way begins`;
    this.#close("cycle-longest", longest, deepest, source);
    for (const target of this.#reference.targets(source)) {
      const [next] = this.#reference.targets(target);
      if (next !== undefined) this.#close("cycle-of-three", `three pages of ${name}`, next, source);
    }
    const last = ids.findLast((id) => this.#reference.reach(first).has(id));
    if (last !== undefined) {
      this.#close("cycle-across", `from the last to the first page of ${name}`, last, first);
    }
    this.#plantStaged();
    this.#plantList();
    await bus.tick();
    this.compare("the graph after all planted cycles", bus.graph.digest(), before);
    this.compare("the check after all planted cycles", bus.graph.check().ok, true);
    this.#reverseOne();
  }

  /** A page of level 0 that leads to another one by a longest way. */
  #sourceOf(deepest: number): number {
    const reversed = this.#reference.reversed();
    let page = deepest;
    for (let level = this.#levels.get(deepest)!; level > 0; level--) {
      for (const before of reversed.targets(page)) {
        if (this.#levels.get(before) !== level - 1) continue;
        page = before;
        break;
      }
    }
    return page;
  }

  /** An edge that must be refused, with the cycle that it would close. */
  #close(id: string, what: string, from: number, to: number): void {
    const error = thrownBy(() => this.#bus.edge(from, to, "data"));
    if (!isMmsbError(error) || error.code !== "cycle") {
      this.#note(id, `${what}: not refused`);
      // What follows speaks of the graph without it.
      if (error === undefined) thrownBy(() => this.#bus.removeEdge(from, to, "data"));
    } else if (!this.#reference.isCycle(error.values.cycle, from, to)) {
      this.#note(id, `${what}: what was named is no cycle`);
    } else this.#note(id);
  }

  /** Notes what became of a planted fault: found, or why not. */
  #note(id: string, missed?: string): void {
    this.planted.push({ id, found: missed === undefined });
    if (missed !== undefined) this.missed.push(missed);
  }

  /** Plants answers that are wrong: what compares them must tell. */
  async plantAnswers(): Promise<void> {
    const bus = this.#bus, { name, edges } = this.#shape, reversed = this.#reference.reversed();
    // Without it the target stands on another level, and has no ancestors.
    const lost = edges.find(({ to }) => [...reversed.targets(this.#ids[to])].length === 1);
    if (lost === undefined) return;
    const from = this.#ids[lost.from], to = this.#ids[lost.to];
    if (thrownBy(() => bus.removeEdge(from, to, lost.type)) !== undefined) {
      return this.#note("graph-edge-lost", `${from} → ${to} in ${name}: it cannot be removed`);
    }
    await bus.tick();
    const mustTell = (id: string, ask: () => void) => {
      const before = this.wrong.length;
      ask();
      const told = this.wrong.splice(before);
      this.#note(id, told.length > 0 ? undefined : `${id} in ${name}: not told`);
    };
    mustTell("graph-edge-lost", () => this.#compareEdges());
    mustTell("graph-ancestor-lost", () => this.#compareAncestors(to, reversed));
    mustTell("graph-level-wrong", () => this.#compareLevels(bus.graph.levels()));
    bus.edge(from, to, lost.type);
    await bus.tick();
    this.#compareEdges();
  }

  /** A cycle of which all but the last edge is staged only. */
  #plantStaged(): void {
    const what = `staged edges in ${this.#shape.name}`, [first] = this.#ids;
    const last = this.#deepest(), bus = this.#bus;
    const page = bus.createPage({ size: 16 });
    const other = this.#sourceOf(last) === first ? first : this.#sourceOf(last);
    bus.edge(last, page, "control");
    this.#reference.add(last, page.id);
    this.#close("cycle-staged", what, page.id, other);
    this.#reference.remove(last, page.id);
    bus.removeEdge(last, page, "control");
    page.delete();
  }

  /** A list of changes whose last one closes a cycle: none of it may stay. */
  #plantList(): void {
    const what = `a list of changes in ${this.#shape.name}`, { graph } = this.#bus;
    const { from, to } = this.#shape.edges[0], source = this.#ids[from], target = this.#ids[to];
    const free = (["data", "control", "gpu", "compiler"] as const)
      .find((type) => !graph.has(source, target, type))!;
    const error = thrownBy(() =>
      this.#bus.changeGraph([
        { do: "add-edge", from: source, to: target, type: free },
        { do: "add-edge", from: target, to: source, type: "data" },
      ])
    );
    const isRefused = isMmsbError(error) && error.code === "cycle" && error.values.index === 1;
    this.#note("cycle-in-list", isRefused ? undefined : `${what}: not refused`);
  }

  /** What closes no cycle must not be refused: an edge turned round, where no other way leads the same way. */
  #reverseOne(): void {
    const bus = this.#bus, ids = this.#ids;
    const bridge = this.#shape.edges.find(({ from, to }) => {
      this.#reference.remove(ids[from], ids[to]);
      const isOnly = !this.#reference.reach(ids[from]).has(ids[to]);
      this.#reference.add(ids[from], ids[to]);
      return isOnly;
    })!;
    const from = ids[bridge.from], to = ids[bridge.to];
    const error = thrownBy(() => {
      bus.removeEdge(from, to, bridge.type);
      bus.edge(to, from, bridge.type);
    });
    this.compare("an edge turned round, which closes no cycle", error, undefined);
  }
}

function thrownBy(call: () => void): unknown {
  try {
    call();
    return undefined;
  } catch (error) {
    return error;
  }
}
