/** Shapes of graphs, and a bus with one of them. */

import { type Page, StateBus } from "../mod.ts";
import { numbers } from "./_harness.ts";

/** Bytes of a page, which do not matter. */
export const PAGE_BYTES = 16;

/** An edge by the pages' numbers from 0. */
export type Pair = readonly [from: number, to: number];

/** A bus with pages and edges between them, by the pages' numbers from 0. */
export async function busOf(pages: number, pairs: Iterable<Pair>): Promise<[StateBus, Page[]]> {
  const bus = await StateBus.open();
  const handles = Array.from({ length: pages }, () => bus.createPage({ size: PAGE_BYTES }));
  for (const [from, to] of pairs) bus.edge(handles[from], handles[to], "data");
  await bus.tick();
  return [bus, handles];
}

/** A chain through all pages. */
export function* chain(pages: number): Generator<Pair> {
  for (let page = 1; page < pages; page++) yield [page - 1, page];
}

/** 0 to n − 1 in an order from a seed. */
export function shuffled(count: number, next: () => number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, at) => at);
  for (let at = count - 1; at > 0; at--) {
    const other = next() % (at + 1), kept = order[at];
    order[at] = order[other];
    order[other] = kept;
  }
  return order;
}

/** Different edges of a graph without cycles whose order has nothing to do with the pages' numbers. */
export function* random(pages: number, edges: number, seed: number): Generator<Pair> {
  const next = numbers(seed), order = shuffled(pages, next), seen = new Set<number>();
  while (seen.size < edges) {
    const a = next() % pages, b = next() % pages, low = Math.min(a, b), high = Math.max(a, b);
    const key = low * pages + high;
    if (a === b || seen.has(key)) continue;
    seen.add(key);
    yield [order[low], order[high]];
  }
}

/** A tree of three children a page up to level 6, and long chains at its leaves. */
export function* deepTree(pages: number): Generator<Pair> {
  const bushy = 3280;
  for (let page = 1; page < pages; page++) {
    yield [page < bushy ? Math.floor((page - 1) / 3) : page - 2187, page];
  }
}
