/**
 * Graph operations: changes of the graph as a list, and a builder that writes such lists.
 *
 * A list is taken whole or not at all: `bus.changeGraph` stages its operations one after the other, each checked
 * against what the ones before it leave, and takes all back where one is refused. A page is named by its
 * id, by a handle, or by its name, which may be that of a page that an earlier operation adds.
 *
 * Cost: an object an operation.
 *
 * @module
 */

import { checkOneOf, checkType, MmsbError } from "../base/mod.ts";
import { EDGE_TYPES, type EdgeType, type MetadataInput } from "../physical/mod.ts";

/** A page that an operation speaks of: id, name, or a handle of a page, struct or table. */
export type OperationPage = number | string | { readonly id: number };

/** What a page is made with. */
export interface OperationBirth {
  /** Bytes. Default: 4096. */
  readonly size?: number;
  /** Shard. Default: dealt out by id. */
  readonly shard?: number;
  /** Metadata. */
  readonly metadata?: MetadataInput;
}

/** One change of the graph. */
export type GraphOperation =
  | ({
    /** A page is born; with `ifMissing` only where there is none of that name. */
    readonly do: "add-page";
    /** Its name. */
    readonly name: string;
    /** Whether a page of that name will do. */
    readonly ifMissing?: boolean;
  } & OperationBirth)
  | {
    /** A page is deleted. */
    readonly do: "remove-page";
    /** The page. */
    readonly page: OperationPage;
    /** Whether all that it leads to is deleted too. */
    readonly cascade?: boolean;
  }
  | {
    /** An edge is added or removed. */
    readonly do: "add-edge" | "remove-edge";
    /** Where it leads from. */
    readonly from: OperationPage;
    /** Where it leads to. */
    readonly to: OperationPage;
    /** What it means. */
    readonly type: EdgeType;
  };

interface PlannedEdge {
  readonly from: string;
  readonly to: string;
  readonly type: EdgeType;
}

/**
 * Builds a graph of named pages; pages of those names that the bus has already are used as they are.
 *
 * @example Pages and edges in one tick
 * ```ts
 * import assert from "node:assert/strict";
 * import { GraphBuilder, StateBus } from "@mmsb/mmsb";
 *
 * const graph = new GraphBuilder();
 * graph.page("quotes", { size: 64 }).feeds("mids").feeds("audit", "control");
 * graph.page("mids", { size: 8 }).feeds("index");
 *
 * await using bus = await StateBus.open();
 * await bus.commit(() => bus.changeGraph(graph));
 * const names = bus.graph.levels().map((level) => level.map((id) => bus.page(id).name));
 * assert.deepEqual(names, [["quotes"], ["mids", "audit"], ["index"]]);
 * ```
 */
export class GraphBuilder implements Iterable<GraphOperation> {
  readonly #pages = new Map<string, OperationBirth>();
  readonly #edges = new Map<string, PlannedEdge>();

  /**
   * A page of the graph.
   *
   * @param name Its name.
   * @param birth What it is made with where there is none of that name.
   * @throws {MmsbError} `usage` for what is no name, or where it was given another birth before.
   */
  page(name: string, birth?: OperationBirth): GraphBuilderPage {
    if (checkType("page name", name, "string") === "") {
      throw new MmsbError("usage", "Cannot build a page without a name: give it one");
    }
    const known = this.#pages.get(name);
    if (birth !== undefined && known !== undefined && Object.keys(known).length > 0) {
      throw new MmsbError("usage", `Cannot say twice what page "${name}" is made with`, {
        values: { name },
      });
    }
    if (known === undefined || birth !== undefined) {
      this.#pages.set(name, birth === undefined ? {} : { ...checkType("birth", birth, "object") });
    }
    return new GraphBuilderPage(this, name);
  }

  /**
   * An edge between two pages of the graph; said twice it is one.
   *
   * @throws {MmsbError} `usage` for what is no name or type.
   */
  edge(from: string, to: string, type: EdgeType = "data"): void {
    checkOneOf("edge type", type, EDGE_TYPES);
    this.page(from);
    this.page(to);
    this.#edges.set(JSON.stringify([from, to, type]), { from, to, type });
  }

  /** The operations: pages first, then edges. */
  *[Symbol.iterator](): Generator<GraphOperation> {
    for (const [name, birth] of this.#pages) {
      yield { ...birth, do: "add-page", name, ifMissing: true };
    }
    for (const edge of this.#edges.values()) yield { do: "add-edge", ...edge };
  }
}

/** A page of a {@linkcode GraphBuilder}. */
export class GraphBuilderPage {
  /** Its name. */
  readonly name: string;
  readonly #graph: GraphBuilder;

  /** @ignore Made by the builder. */
  constructor(graph: GraphBuilder, name: string) {
    this.#graph = graph;
    this.name = name;
  }

  /**
   * Adds an edge from this page to another one.
   *
   * @param target Name of the other page.
   * @param type What the edge means. Default: `data`.
   * @returns This page, so that more can be said of it.
   * @throws {MmsbError} `usage` for what is no name or type.
   */
  feeds(target: string, type: EdgeType = "data"): this {
    this.#graph.edge(this.name, target, type);
    return this;
  }
}
