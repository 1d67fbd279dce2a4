/**
 * Explaining without a log: what the bindings say now. Pages, their epochs and the rules between them are
 * known; which deltas made them, and when, is not kept anywhere.
 */

import { EXPLAIN_PAGES_MAX } from "../base/mod.ts";
import { decodeBinding } from "../log/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import { type MadeExplanation, madeOf } from "./_explain_extent.ts";
import type { ExplainedPage } from "./explanation.ts";

type Draft = { -readonly [key in keyof ExplainedPage]: ExplainedPage[key] } & {
  parents: ExplainedPage[];
};

/** A page of a bus in memory with all that it is made from, as they are now. */
export function explainPresent(store: PageStore, root: number, depthMax: number): MadeExplanation {
  const drafts = new Map<number, Draft>();
  const add = (id: number, depth: number): Draft => {
    const draft = draftOf(store, id, depth);
    drafts.set(id, draft);
    return draft;
  };
  const all = [add(root, 0)];
  for (let at = 0; at < all.length; at++) {
    const page = all[at], binding = store.bindings.writerOf(page.id);
    if (binding === undefined) continue;
    const { number, name } = binding, { version, module, inputs } = decodeBinding(binding.payload);
    page.kind = "derived";
    page.rule = { number, name, version, module: module ?? undefined, inputs };
    page.graphVersion = store.graphVersion;
    const parents = new Set(inputs);
    parents.delete(page.id);
    page.end = parents.size === 0 || page.depth < depthMax ? undefined : "depth";
    if (page.end !== undefined) continue;
    for (const id of parents) {
      let parent = drafts.get(id);
      if (parent === undefined && drafts.size < EXPLAIN_PAGES_MAX) {
        all.push(parent = add(id, page.depth + 1));
      }
      if (parent === undefined) page.end = "pages";
      else page.parents.push(parent);
    }
  }
  return madeOf(all);
}

function draftOf(store: PageStore, id: number, depth: number): Draft {
  const epoch = store.table.epoch(store.table.rowOf(id));
  return {
    id,
    name: store.nameOf(id),
    kind: epoch > 0 ? "source" : "unwritten",
    epoch,
    tick: undefined,
    depth,
    pages: 1,
    deltas: [],
    more: epoch > 0,
    rule: undefined,
    graphVersion: undefined,
    parents: [],
    end: epoch > 0 ? "log" : undefined,
  };
}
