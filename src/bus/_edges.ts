/**
 * Edges: adding and removing them, deleting pages that others depend on, and lists of such changes.
 *
 * All of it is staged. Bad input is refused by the call, with nothing changed; a cycle is named page by
 * page, which costs a search that only this error pays for.
 */

import {
  checkInteger,
  checkIterable,
  checkKeys,
  checkOneOf,
  checkType,
  MmsbError,
  PAGE_BYTES_DEFAULT,
  PAGE_BYTES_MAX,
  PAGE_BYTES_MIN,
  PAGE_ID_MAX,
} from "../base/mod.ts";
import {
  COMING_EDGES,
  cycleOf,
  type GraphOperation,
  type OperationPage,
  reachedFrom,
  wayBetween,
} from "../graph/mod.ts";
import { EDGE, EDGE_TYPES, type EdgeType, type PageStore } from "../physical/mod.ts";
import { decodeSchema, SCHEMA_KEY } from "../schema/mod.ts";
import { checkBirth, stageBirth } from "./_births.ts";
import { Page, type PageHost } from "./page.ts";
import { atomically, type Staging } from "./staging.ts";

/** A page, a struct, a table or a page's id: what an edge can begin or end at. */
export type Region = number | Page | { readonly page: Page };

/** Pages of a cycle that a message names. */
const CYCLE_NAMED_MAX = 6;
/** Characters of a text in place of a region that a message repeats. */
const REGION_TEXT_MAX = 40;
/** Dependents that a message names. */
const DEPENDENTS_NAMED_MAX = 4;

/**
 * The id of a region's page.
 *
 * @throws {MmsbError} `usage` for what is none and for handles of another bus, `invalid-handle` where the page is
 * not there.
 */
export function regionId(host: PageHost, name: string, region: Region): number {
  const page = region instanceof Page ? region : (region as { page?: unknown } | null)?.page;
  if (page instanceof Page) {
    if (!page.isOf(host)) {
      throw new MmsbError(
        "usage",
        `Cannot use page ${page.id} as ${name}: it is a page of another bus`,
        { values: { name, page: page.id } },
      );
    }
    // A handle whose page went, or which is from before a reset, says so.
    void page.size;
    return page.id;
  }
  if (typeof region !== "number") {
    throw new MmsbError(
      "usage",
      `Cannot use ${
        regionText(region)
      } as ${name}: give a page, a struct, a table or the id of one`,
      { values: { name, value: region } },
    );
  }
  const id = checkInteger(name, region, 1, PAGE_ID_MAX);
  if (host.store.table.rowOf(id) === 0) {
    throw new MmsbError(
      "invalid-handle",
      `Cannot use page ${id} as ${name}: it never was, or was deleted`,
      { values: { name, page: id } },
    );
  }
  return id;
}

/** What was given in place of a region, for messages. */
function regionText(region: unknown): string {
  if (typeof region === "string") return JSON.stringify(region.slice(0, REGION_TEXT_MAX));
  if (typeof region === "object" && region !== null) return "an object that is none of them";
  if (typeof region === "bigint") return `${region}n`;
  return region === null || region === undefined ? String(region) : `a ${typeof region}`;
}

/**
 * Stages adding an edge.
 *
 * @throws {MmsbError} `cycle`, `usage`, `invalid-handle`, `limit`; nothing is changed then.
 */
export function stageEdge(host: PageHost, source: Region, target: Region, type: EdgeType): void {
  const { from, to, number, fromRow, toRow } = endsOf(host, source, target, type);
  const { store: { edges }, staging } = host;
  refuseDying(staging, from);
  refuseDying(staging, to);
  if (from === to) {
    throw new MmsbError("usage", `Cannot add an edge from page ${from} to itself: give two pages`, {
      values: { from, to, type },
    });
  }
  const found = edges.find(fromRow, toRow, number);
  if (found !== 0 && !edges.isLeaving(found)) {
    throw new MmsbError("usage", `Cannot add the ${type} edge ${from} → ${to} twice: it is there`, {
      values: { from, to, type },
    });
  }
  if (found !== 0) {
    if (!host.order.keep(found)) refuseCycle(host.store, fromRow, toRow);
    const removed = staging.edges.removedAs(found)!;
    staging.edges.keep(edges, removed);
    staging.effects.push({ undo: () => staging.edges.remove(edges, removed) });
    return;
  }
  const edge = host.order.add(fromRow, toRow, number, true);
  if (edge === 0) refuseCycle(host.store, fromRow, toRow);
  const added = staging.edges.add(edge, from, to, number);
  staging.effects.push({ undo: () => staging.edges.cancel(edges, added) });
}

/**
 * Stages removing an edge.
 *
 * @throws {MmsbError} `usage`, also where a rule needs it, or `invalid-handle` where there is no such edge
 * or page.
 */
export function stageRemoval(host: PageHost, source: Region, target: Region, type: EdgeType): void {
  const { from, to, number, fromRow, toRow } = endsOf(host, source, target, type);
  const { store, staging } = host, { edges } = store;
  const edge = edges.find(fromRow, toRow, number);
  if (edge === 0 || edges.isLeaving(edge)) {
    throw new MmsbError(
      "invalid-handle",
      `Cannot remove the ${type} edge ${from} → ${to}: ${
        edge === 0 ? "there is none" : "its removal is staged"
      }`,
      { values: { from, to, type } },
    );
  }
  refuseNeeded(host, from, to, type);
  const added = staging.edges.addedAs(edge);
  if (added !== undefined) {
    staging.edges.cancel(edges, added);
    staging.effects.push({ undo: () => staging.edges.renew(store, added) });
    return;
  }
  const removed = { edge, from, to, type: number };
  staging.edges.remove(edges, removed);
  staging.effects.push({ undo: () => staging.edges.keep(edges, removed) });
}

/**
 * Stages a list of changes, all or none.
 *
 * @returns The pages that `add-page` speaks of, in that order.
 * @throws {MmsbError} what the first operation that cannot be done says, with its `index` among the values.
 */
export function stageOperations(host: PageHost, operations: Iterable<GraphOperation>): Page[] {
  host.checkWritable();
  checkIterable("operations", operations);
  const pages: Page[] = [];
  let index = 0;
  try {
    atomically(host, () => {
      for (const operation of operations) {
        const page = stageOperation(host, operation);
        if (page !== undefined) pages.push(page);
        index++;
      }
    });
  } catch (error) {
    if (!(error instanceof MmsbError)) throw error;
    const { code, message, values } = error;
    throw new MmsbError(code, `${message} (operation ${index})`, {
      values: { ...values, index },
      cause: error,
    });
  }
  return pages;
}

function stageOperation(host: PageHost, operation: GraphOperation): Page | undefined {
  checkType("operation", operation, "object");
  checkOneOf("operation", operation.do, ["add-page", "remove-page", "add-edge", "remove-edge"]);
  if (operation.do === "add-page") {
    checkKeys("add-page", operation, ["do", "name", "ifMissing", "size", "shard", "metadata"]);
    const { name, ifMissing = false, size = PAGE_BYTES_DEFAULT, shard, metadata } = operation;
    if (checkType("page name", name, "string") === "") {
      throw new MmsbError("usage", "Cannot add a page without a name by an operation: give it one");
    }
    const known = checkType("ifMissing", ifMissing, "boolean") ? host.store.find(name) : 0;
    if (known !== 0) return new Page(host, known, host.store.table.rowOf(known));
    checkInteger("size", size, PAGE_BYTES_MIN, PAGE_BYTES_MAX);
    return stageBirth(host, size, checkBirth(host, { name, shard, metadata }));
  }
  if (operation.do === "remove-page") {
    checkKeys("remove-page", operation, ["do", "page", "cascade"]);
    const { page, cascade = false } = operation;
    checkType("cascade", cascade, "boolean");
    const id = operationPage(host, page);
    refuseDying(host.staging, id);
    const whole = isTable(host.store, id) ? host.tablePages(id) : [id];
    for (const death of deathsWith(host, id, whole, cascade)) host.staging.deaths.add(death);
    return undefined;
  }
  checkKeys(operation.do, operation, ["do", "from", "to", "type"]);
  const from = operationPage(host, operation.from), to = operationPage(host, operation.to);
  const stage = operation.do === "add-edge" ? stageEdge : stageRemoval;
  stage(host, from, to, operation.type);
  return undefined;
}

function operationPage(host: PageHost, page: OperationPage): number {
  if (typeof page !== "string") return regionId(host, "page", page as Region);
  const id = host.store.find(page);
  if (id !== 0) return id;
  throw new MmsbError(
    "invalid-handle",
    `Cannot find a page named ${regionText(page)}: add it first`,
    {
      values: { name: page },
    },
  );
}

/**
 * The pages that go with a page: itself and, with `cascade`, all that is derived from it.
 *
 * @param whole The pages of the region itself: one, or all of a table.
 * @throws {MmsbError} `usage` where others depend on it and `cascade` is not set.
 */
export function deathsWith(
  host: PageHost,
  id: number,
  whole: readonly number[],
  cascade: boolean,
): number[] {
  const { store, staging } = host, { table, edges } = store;
  const row = table.rowOf(id);
  if (edges.firstOut(row) === 0) return [...whole];
  const dependents = reachedFrom(edges, [row], "out", COMING_EDGES, cascade ? Infinity : 1)
    .map((row) => table.ids[row]).filter((page) => !staging.deaths.has(page))
    .sort((a, b) => a - b);
  if (dependents.length > 0 && !cascade) {
    const some = dependents.slice(0, DEPENDENTS_NAMED_MAX).join(", ");
    const rest = dependents.length - DEPENDENTS_NAMED_MAX;
    throw new MmsbError(
      "usage",
      `Cannot delete page ${id} as others depend on it (${some}${
        rest > 0 ? ` and ${rest} more` : ""
      }): remove the edges, or set cascade to delete them too`,
      { values: { page: id, dependents } },
    );
  }
  const deaths = [...whole];
  for (const page of dependents) {
    for (const one of isTable(store, page) ? host.tablePages(page) : [page]) deaths.push(one);
  }
  return deaths;
}

/**
 * How the graph's version will stand when a tick has taken an open batch.
 *
 * @param staging The open batch, if the tick takes it.
 */
export function graphVersionAfter(store: PageStore, staging: Staging | undefined): number {
  if (staging === undefined) return store.graphVersion;
  const { table, edges, bindings } = store, { deaths } = staging;
  let version = store.graphVersion + staging.edges.size + staging.rules.size;
  if (deaths.size === 0 || edges.size + bindings.size === 0) return version;
  const unbound = new Set<number>();
  // Another open batch may be about to add or to remove some of them, which has not happened then.
  const goes = (edge: number): boolean =>
    staging.edges.removedAs(edge) === undefined &&
    (!edges.isStaged(edge) || staging.edges.addedAs(edge) !== undefined);
  for (const page of deaths) {
    const row = table.rowOf(page);
    for (const { number } of bindings.of(page)) {
      if (!staging.rules.isLeaving(number)) unbound.add(number);
    }
    for (let edge = edges.firstOut(row); edge !== 0; edge = edges.nextOut(edge)) {
      if (goes(edge)) version++;
    }
    for (let edge = edges.firstIn(row); edge !== 0; edge = edges.nextIn(edge)) {
      // Those between two pages that go are counted from their source.
      if (goes(edge) && !deaths.has(table.ids[edges.from(edge)])) version++;
    }
  }
  return version + unbound.size;
}

/** Refuses what the mapped file of a writer does not have. */
export function refuseAttached(host: PageHost): void {
  if (host.attached === undefined) return;
  throw new MmsbError(
    "usage",
    "Cannot look at the graph or marks of an attached bus, which has the writer's pages only: open it without arena",
  );
}

function endsOf(host: PageHost, source: Region, target: Region, type: EdgeType) {
  host.checkWritable();
  checkOneOf("edge type", type, EDGE_TYPES);
  const from = regionId(host, "source", source), to = regionId(host, "target", target);
  const { table } = host.store;
  return { from, to, number: EDGE[type], fromRow: table.rowOf(from), toRow: table.rowOf(to) };
}

/** Refuses to remove an edge along which a rule reads what it writes from. */
function refuseNeeded(
  { store, staging }: PageHost,
  from: number,
  to: number,
  type: EdgeType,
): void {
  if (type !== "data" && type !== "control") return;
  // A page has one writer that stays, so nothing has to be looked for among all that read a page.
  for (const binding of [store.bindings.writerOf(to), staging.rules.writerOf(to)]) {
    if (binding === undefined || staging.rules.isLeaving(binding.number)) continue;
    const { name, inputs, outputs } = binding;
    if (!inputs.includes(from) || !outputs.includes(to)) continue;
    throw new MmsbError(
      "usage",
      `Cannot remove the ${type} edge ${from} → ${to} as rule "${name}" needs it: unbind the rule`,
      { values: { from, to, type, rule: name } },
    );
  }
}

function refuseDying(staging: Staging, page: number): void {
  if (!staging.deaths.has(page)) return;
  throw new MmsbError("invalid-handle", `Cannot use page ${page}: its deletion is staged`, {
    values: { page },
  });
}

/** Names the cycle that an edge would close, from its target round to its target. */
function refuseCycle({ table, edges }: PageStore, fromRow: number, toRow: number): never {
  const way = wayBetween(edges, toRow, fromRow, COMING_EDGES);
  const isNew = way.length > 0;
  const cycle = Array.from(isNew ? way : cycleOf(edges, COMING_EDGES), (row) => table.ids[row]);
  const from = table.ids[fromRow], to = table.ids[toRow];
  const named = cycle.length <= CYCLE_NAMED_MAX
    ? [...cycle, cycle[0]].join(" → ")
    : `${cycle.slice(0, CYCLE_NAMED_MAX).join(" → ")} → … → ${cycle[0]}`;
  throw new MmsbError(
    "cycle",
    isNew
      ? `Cannot add an edge ${from} → ${to} as it would close a cycle of ${cycle.length} pages: ${named}`
      : `Cannot add an edge ${from} → ${to} as the graph has a cycle of ${cycle.length} pages already: ${named}; remove one of its edges`,
    { values: { from, to, cycle } },
  );
}

function isTable(store: PageStore, page: number): boolean {
  const schema = store.metadataOf(page).get(SCHEMA_KEY);
  return schema !== undefined && decodeSchema(schema).kind === "table";
}
