/**
 * Edges of rules: which of them a binding needs, and which go with it.
 *
 * A binding implies a data or control edge from each of its inputs to each of its outputs; they are edges as any
 * others, in the graph and in the log. A page has one writer, so another rule needs such an edge only while it
 * takes the place of the first: nothing has to be looked for among all rules that read a page.
 */

import { EDGE, type EdgeType, type RuleBinding } from "../physical/mod.ts";
import { stageEdge, stageRemoval } from "./_edges.ts";
import type { PageHost } from "./page.ts";

/** The binding that writes a page and the staged one: one of them is about to end, if there are two. */
export function writersOf({ store, staging }: PageHost, page: number): RuleBinding[] {
  const writers = [store.bindings.writerOf(page), staging.rules.writerOf(page)];
  return writers.filter((binding) => binding !== undefined);
}

/** Stages ending a binding, with the edges that nobody else needs. */
export function unstage(host: PageHost, binding: RuleBinding): void {
  const { staging } = host;
  staging.rules.unbind(binding);
  staging.effects.push({ undo: () => staging.rules.keep(binding.number) });
  removeEdges(host, binding);
}

/** Takes a staged binding back. */
export function unbindStaged(host: PageHost, number: number): void {
  const { staging } = host, staged = staging.rules.take(number);
  removeEdges(host, staged.binding);
  staging.effects.push({ undo: () => staging.rules.bind(staged) });
}

/** Stages removing the edges of a binding, but for those that another one has too. */
function removeEdges(host: PageHost, binding: RuleBinding): void {
  const { store, staging } = host, { table, edges } = store;
  const inputs = new Set(binding.inputs);
  for (const output of binding.outputs) {
    const others = writersOf(host, output).filter((other) =>
      other.number !== binding.number && !staging.rules.isLeaving(other.number) &&
      other.outputs.includes(output)
    );
    for (const input of inputs) {
      if (others.some((other) => other.inputs.includes(input))) continue;
      for (const type of ["data", "control"] satisfies EdgeType[]) {
        const edge = edges.find(table.rowOf(input), table.rowOf(output), EDGE[type]);
        if (edge !== 0 && !edges.isLeaving(edge)) stageRemoval(host, input, output, type);
      }
    }
  }
}

/** Stages an edge of a binding, if it is not there. */
export function stageMissingEdge(host: PageHost, from: number, to: number, type: EdgeType): void {
  const { table, edges } = host.store;
  const edge = edges.find(table.rowOf(from), table.rowOf(to), EDGE[type]);
  if (edge === 0 || edges.isLeaving(edge)) stageEdge(host, from, to, type);
}
