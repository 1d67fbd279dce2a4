/**
 * Graph snapshot: the pages and edges of one moment in their canonical form.
 *
 * The form does not depend on where pages lie or in which order edges came: page ids rising, then
 * edges by source, target and type. Its digest is SHA-256 over u32 the number of pages, their ids, u32 the number of
 * edges, and for each u32 source, target, type; little endian. Two graphs are equal where their digests are.
 *
 * Cost: a sort of pages and edges; 4 bytes a page, 12 an edge.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { EDGE_TYPES, type EdgeType, type PageStore } from "../physical/mod.ts";
import type { GraphOperation } from "./graph_operations.ts";

/** An edge between two pages. */
export interface GraphEdge {
  /** Page that it leads from. */
  readonly from: number;
  /** Page that it leads to. */
  readonly to: number;
  /** What it means. */
  readonly type: EdgeType;
}

const WORDS = 3;

/** The graph of one moment. */
export class GraphSnapshot {
  /** The graph's version then. */
  readonly version: number;
  readonly #pages: Uint32Array;
  /** Source, target and type of each edge. */
  readonly #edges: Uint32Array;
  #digest: string | undefined;

  /** @ignore Made by {@linkcode snapshotOf}. */
  constructor(version: number, pages: Uint32Array, edges: Uint32Array) {
    this.version = version;
    this.#pages = pages;
    this.#edges = edges;
  }

  /** Number of pages. */
  get pageCount(): number {
    return this.#pages.length;
  }

  /** Number of edges. */
  get edgeCount(): number {
    return this.#edges.length / WORDS;
  }

  /** Ids of the pages, rising; a copy. */
  pages(): Uint32Array {
    return this.#pages.slice();
  }

  /** The edges by source, target and type. */
  *edges(): Generator<GraphEdge> {
    for (let at = 0; at < this.#edges.length; at += WORDS) {
      const [from, to, type] = this.#edges.subarray(at, at + WORDS);
      yield { from, to, type: EDGE_TYPES[type] };
    }
  }

  /**
   * The operations that lead from the edges of this graph to those of another one, removals first; pages
   * stay as they are. `bus.changeGraph(bus.graph.snapshot().changesTo(before))` puts edges back.
   *
   * @param target The graph that is wanted.
   */
  changesTo(target: GraphSnapshot): GraphOperation[] {
    const own = this.#edges, other = target.#edges, operations: GraphOperation[] = [];
    const added: GraphOperation[] = [];
    const edgeAt = (words: Uint32Array, at: number) => ({
      from: words[at],
      to: words[at + 1],
      type: EDGE_TYPES[words[at + 2]],
    });
    for (let at = 0, to = 0; at < own.length || to < other.length;) {
      const order = at >= own.length ? 1 : to >= other.length ? -1 : compare(own, at, other, to);
      if (order < 0) operations.push({ do: "remove-edge", ...edgeAt(own, at) });
      if (order > 0) added.push({ do: "add-edge", ...edgeAt(other, to) });
      if (order <= 0) at += WORDS;
      if (order >= 0) to += WORDS;
    }
    for (const operation of added) operations.push(operation);
    return operations;
  }

  /** SHA-256 of the canonical form, as 64 hexadecimal digits. */
  digest(): string {
    return this.#digest ??= createHash("sha256")
      .update(bytesOf(Uint32Array.of(this.pageCount))).update(bytesOf(this.#pages))
      .update(bytesOf(Uint32Array.of(this.edgeCount))).update(bytesOf(this.#edges))
      .digest("hex");
  }
}

/** The graph as the last tick left it: pages and edges that are only staged are no part of it. */
export function snapshotOf({ table, edges, graphVersion }: PageStore): GraphSnapshot {
  const ids = new Uint32Array(table.size);
  let pages = 0;
  for (const row of table.rows()) if (table.isActive(row)) ids[pages++] = table.ids[row];
  const numbers: number[] = [];
  for (const edge of edges.edges()) if (!edges.isStaged(edge)) numbers.push(edge);
  const from = (edge: number) => table.ids[edges.from(edge)];
  const to = (edge: number) => table.ids[edges.to(edge)];
  numbers.sort((a, b) => from(a) - from(b) || to(a) - to(b) || edges.type(a) - edges.type(b));
  const words = new Uint32Array(WORDS * numbers.length);
  numbers.forEach((edge, at) => words.set([from(edge), to(edge), edges.type(edge)], WORDS * at));
  return new GraphSnapshot(graphVersion, ids.slice(0, pages).sort(), words);
}

function compare(a: Uint32Array, at: number, b: Uint32Array, to: number): number {
  return a[at] - b[to] || a[at + 1] - b[to + 1] || a[at + 2] - b[to + 2];
}

/** The bytes of words; this machine is little endian, as every one is that this runs on. */
function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}
