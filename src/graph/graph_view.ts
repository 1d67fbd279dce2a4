/**
 * Graph view: what can be asked of the graph, by page ids.
 *
 * It shows the graph as the last tick left it; what is staged is no part of it. Answers are worked out when
 * they are asked for, by loops, so a chain of a million pages is a graph like any other.
 *
 * @module
 */

import {
  checkInteger,
  checkIterable,
  checkKeys,
  checkOneOf,
  MmsbError,
  PAGE_ID_MAX,
} from "../base/mod.ts";
import {
  EDGE_TYPES,
  type EdgeChoice,
  edgeMask,
  type EdgeType,
  type PageStore,
} from "../physical/mod.ts";
import { type Closure, closureOf } from "./closure.ts";
import { cyclicComponents } from "./components.ts";
import { toDot, toMermaid } from "./graph_drawing.ts";
import { type GraphEdge, type GraphSnapshot, snapshotOf } from "./graph_snapshot.ts";
import { cycleOf, topologyOf } from "./topology.ts";
import { type Direction, reachedFrom, reversePostOrder, wayBetween } from "./traversal.ts";

/** A page's id, or a handle that has one. */
export type GraphPage = number | { readonly id: number };

/** Which edges are walked. */
export interface GraphOptions {
  /** Types. Default: all. */
  readonly types?: readonly EdgeType[];
}

/** Which edges are walked, and how far. */
export interface ReachOptions extends GraphOptions {
  /** Edges on the way, at most. Default: any number. */
  readonly depth?: number;
}

/** What {@linkcode GraphView.check} found. */
export interface GraphCheck {
  /** Whether edges are between pages that are there, and close no cycle. */
  readonly ok: boolean;
  /** Pages. */
  readonly pages: number;
  /** Edges. */
  readonly edges: number;
  /** The pages of one cycle in the order of its edges; empty where there is none. */
  readonly cycle: readonly number[];
  /** Edges with an end that is no page. */
  readonly dangling: number;
}

/** All pairs of a page and one that it leads to. */
export interface GraphClosure {
  /** Whether a way of one edge or more leads from one page to another. */
  has(from: GraphPage, to: GraphPage): boolean;
  /** The pairs, sources in topological order. */
  pairs(): Generator<readonly [from: number, to: number]>;
}

const ALL: GraphOptions = {};

/**
 * The graph of a bus.
 *
 * @example Ask
 * ```ts
 * import assert from "node:assert/strict";
 * import { StateBus } from "@mmsb/mmsb";
 *
 * await using bus = await StateBus.open();
 * const [quote, mid, alert] = ["quote", "mid", "alert"].map((name) => bus.createPage({ name, size: 8 }));
 * bus.edge(quote, mid, "data");
 * bus.edge(mid, alert, "control");
 * await bus.tick();
 * assert.deepEqual([...bus.graph.descendants(quote)], [mid.id, alert.id]);
 * assert.deepEqual([...bus.graph.descendants(quote, { types: ["data"] })], [mid.id]);
 * assert.throws(() => bus.edge(alert, quote, "data"), { code: "cycle" });
 * ```
 */
export class GraphView {
  readonly #store: () => PageStore;

  /** @ignore Made by the bus; `store` throws where it is closed. */
  constructor(store: () => PageStore) {
    this.#store = store;
  }

  /** Version of the graph: grows by 1 for every edge added or removed and rule bound or unbound. */
  get version(): number {
    return this.#store().graphVersion;
  }

  /** Number of edges. */
  get edgeCount(): number {
    const { edges } = this.#store();
    return edges.size - edges.staged;
  }

  /** All edges, by source, target and type. */
  edges(options: GraphOptions = ALL): GraphEdge[] {
    const types = checkTypes("edges", options) ?? EDGE_TYPES;
    return [...this.snapshot().edges()].filter(({ type }) => types.includes(type));
  }

  /** The edges out of a page, by target and type. */
  edgesOut(page: GraphPage, options: GraphOptions = ALL): GraphEdge[] {
    return this.#edgesOf("edgesOut", page, "out", options);
  }

  /** The edges into a page, by source and type. */
  edgesIn(page: GraphPage, options: GraphOptions = ALL): GraphEdge[] {
    return this.#edgesOf("edgesIn", page, "in", options);
  }

  /**
   * Whether there is an edge.
   *
   * @throws {MmsbError} `usage` for wrong types, `invalid-handle` for a page that is not there.
   */
  has(from: GraphPage, to: GraphPage, type: EdgeType): boolean {
    checkOneOf("edge type", type, EDGE_TYPES);
    const store = this.#store(), { edges } = store;
    const edge = edges.find(rowOf(store, from), rowOf(store, to), EDGE_TYPES.indexOf(type));
    return edge !== 0 && !edges.isStaged(edge);
  }

  /**
   * The pages level by level, each level by id: a page's level is the number of edges on its longest way
   * from a page that nothing leads to. Pages without edges are in no level.
   *
   * @throws {MmsbError} `cycle` where a damaged log left one.
   */
  levels(options: GraphOptions = ALL): number[][] {
    const store = this.#store(), { table, edges } = store;
    const { rows, levels, isAcyclic } = topologyOf(edges, maskOf("levels", options));
    if (!isAcyclic) refuseCyclic(this.check().cycle);
    const pages: number[][] = [];
    for (let level = 0; level + 1 < levels.length; level++) {
      pages.push(sortedIds(table.ids, rows.subarray(levels[level], levels[level + 1])));
    }
    return pages;
  }

  /**
   * The pages that have edges, each behind all that lead to it: level by level, each by id.
   *
   * @throws {MmsbError} as {@linkcode GraphView.levels}.
   */
  topologicalOrder(options: GraphOptions = ALL): number[] {
    return this.levels(options).flat();
  }

  /**
   * The pages that have edges in the reverse post-order of a depth-first walk: another topological order,
   * which keeps what is derived from one page together.
   */
  reversePostOrder(options: GraphOptions = ALL): number[] {
    const mask = maskOf("reversePostOrder", options), { table, edges } = this.#store();
    const rows: number[] = [];
    for (let row = 1; row < edges.rowsMax; row++) {
      if (
        walks(edges.firstOut(row), mask, edges, "out") ||
        walks(edges.firstIn(row), mask, edges, "in")
      ) rows.push(row);
    }
    rows.sort((a, b) => table.ids[b] - table.ids[a]);
    return reversePostOrder(edges, rows, mask).map((row) => table.ids[row]);
  }

  /**
   * All that a page leads to; ids rising.
   *
   * @throws {MmsbError} `usage` for wrong types, `invalid-handle` for a page that is not there.
   */
  descendants(page: GraphPage, options: ReachOptions = ALL): number[] {
    return this.#reached("descendants", page, "out", options);
  }

  /** All that leads to a page; otherwise as {@linkcode GraphView.descendants}. */
  ancestors(page: GraphPage, options: ReachOptions = ALL): number[] {
    return this.#reached("ancestors", page, "in", options);
  }

  /** The pages on a shortest way from one page to another, both among them; empty where there is none. */
  path(from: GraphPage, to: GraphPage, options: GraphOptions = ALL): number[] {
    const mask = maskOf("path", options), store = this.#store(), { ids } = store.table;
    const way = wayBetween(store.edges, rowOf(store, from), rowOf(store, to), mask);
    return way.map((row) => ids[row]);
  }

  /**
   * The transitive closure, as the graph is now.
   *
   * @throws {MmsbError} `limit` where it would take more than 256 MiB (some 46,000 pages with edges), `cycle`.
   */
  closure(options: GraphOptions = ALL): GraphClosure {
    const mask = maskOf("closure", options), store = this.#store(), ids = store.table.ids.slice();
    const closure: Closure = closureOf(store.edges, mask);
    const rows = new Map(Array.from(closure.rows, (row) => [ids[row], row]));
    return {
      has: (from, to) => closure.has(rows.get(idOf(from)) ?? 0, rows.get(idOf(to)) ?? 0),
      *pairs() {
        for (const [from, to] of closure.pairs()) yield [ids[from], ids[to]] as const;
      },
    };
  }

  /**
   * Pages that lie on common cycles, a list of ids for each strongly connected component; empty for every graph
   * that a bus made.
   */
  components(options: GraphOptions = ALL): number[][] {
    const mask = maskOf("components", options), { table, edges } = this.#store();
    const components = cyclicComponents(edges, mask).map((rows) => sortedIds(table.ids, rows));
    return components.sort((a, b) => a[0] - b[0]);
  }

  /** Checks the whole graph: all edges are between pages, and no cycle. */
  check(): GraphCheck {
    const { table, edges } = this.#store();
    const { ids } = table;
    let dangling = 0;
    for (let edge = 1; edge < edges.numbersMax; edge++) {
      const from = edges.from(edge);
      if (from === 0 || edges.isStaged(edge)) continue;
      if (ids[from] === 0 || ids[edges.to(edge)] === 0) dangling++;
    }
    const cycle = Array.from(cycleOf(edges), (row) => ids[row]);
    const ok = dangling === 0 && cycle.length === 0;
    return { ok, pages: table.size, edges: this.edgeCount, cycle, dangling };
  }

  /** Pages and edges as they are now, which nothing changes any more. */
  snapshot(): GraphSnapshot {
    return snapshotOf(this.#store());
  }

  /**
   * SHA-256 of the graph's canonical form, as 64 hexadecimal digits: equal for graphs of the same pages and
   * edges, however they came to be.
   */
  digest(): string {
    return this.snapshot().digest();
  }

  /** The graph in the DOT language, for Graphviz. */
  toDot(options: GraphOptions = ALL): string {
    return toDot({ edges: this.edges(options), nameOf: (page) => this.#store().nameOf(page) });
  }

  /** The graph as a Mermaid flowchart. */
  toMermaid(options: GraphOptions = ALL): string {
    return toMermaid({ edges: this.edges(options), nameOf: (page) => this.#store().nameOf(page) });
  }

  #reached(method: string, page: GraphPage, direction: Direction, options: ReachOptions): number[] {
    checkKeys(method, options, ["types", "depth"]);
    const { types, depth = Infinity } = options;
    if (depth !== Infinity) checkInteger("depth", depth, 0, Number.MAX_SAFE_INTEGER);
    const mask = maskOf(method, { types }), store = this.#store(), { ids } = store.table;
    const rows = reachedFrom(store.edges, [rowOf(store, page)], direction, mask, depth);
    return sortedIds(ids, rows);
  }

  #edgesOf(
    method: string,
    page: GraphPage,
    direction: Direction,
    options: GraphOptions,
  ): GraphEdge[] {
    const mask = maskOf(method, options), store = this.#store(), { table: { ids }, edges } = store;
    const row = rowOf(store, page), found: GraphEdge[] = [], isOut = direction === "out";
    for (
      let edge = isOut ? edges.firstOut(row) : edges.firstIn(row);
      edge !== 0;
      edge = isOut ? edges.nextOut(edge) : edges.nextIn(edge)
    ) {
      if ((mask >>> edges.kind(edge) & 1) === 0) continue;
      const type = EDGE_TYPES[edges.type(edge)];
      found.push({ from: ids[edges.from(edge)], to: ids[edges.to(edge)], type });
    }
    const rank = ({ type }: GraphEdge) => EDGE_TYPES.indexOf(type);
    return found.sort((a, b) => a.from - b.from || a.to - b.to || rank(a) - rank(b));
  }
}

function walks(
  first: number,
  mask: number,
  edges: PageStore["edges"],
  direction: Direction,
): boolean {
  for (
    let edge = first;
    edge !== 0;
    edge = direction === "out" ? edges.nextOut(edge) : edges.nextIn(edge)
  ) {
    if ((mask >>> edges.kind(edge) & 1) !== 0) return true;
  }
  return false;
}

/** Typed arrays sort numbers several times as fast as lists do. */
function sortedIds(ids: Uint32Array, rows: ArrayLike<number>): number[] {
  const sorted = new Uint32Array(rows.length);
  for (let i = 0; i < rows.length; i++) sorted[i] = ids[rows[i]];
  return Array.from(sorted.sort());
}

function checkTypes(method: string, options: GraphOptions): readonly EdgeType[] | undefined {
  checkKeys(method, options, ["types"]);
  const { types } = options;
  if (types === undefined) return undefined;
  for (const type of checkIterable("types", types)) checkOneOf("edge type", type, EDGE_TYPES);
  return [...types];
}

function maskOf(method: string, options: GraphOptions): number {
  const types = checkTypes(method, options), choice: EdgeChoice = { types };
  return edgeMask(choice);
}

function idOf(page: GraphPage): number {
  const id = typeof page === "object" && page !== null ? page.id : page;
  return checkInteger("page id", id, 1, PAGE_ID_MAX);
}

function rowOf(store: PageStore, page: GraphPage): number {
  const id = idOf(page), row = store.table.rowOf(id);
  if (row !== 0) return row;
  throw new MmsbError("invalid-handle", `Cannot find page ${id}: it never was, or was deleted`, {
    values: { page: id },
  });
}

function refuseCyclic(cycle: readonly number[]): never {
  throw new MmsbError(
    "cycle",
    `Cannot order the graph as it has a cycle of ${cycle.length} pages: remove one of its edges (check() names them)`,
    { values: { cycle } },
  );
}
