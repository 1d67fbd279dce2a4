/**
 * Events that came in any order, put into one in which every event stands behind its parents.
 *
 * Who collects events from many nodes gets them as the network brings them. Kahn's algorithm ("Topological
 * sorting of large networks", Communications of the ACM 5(11), 1962) finds an order, or leaves over a set in
 * which everybody waits for somebody: walking from one to the next in it ends in a cycle, and that is named.
 *
 * Cost: O(events + parents), without recursion.
 */

import type { EventId } from "./_graph_input.ts";

/** An event with what must come before it. */
export interface PendingEvent extends EventId {
  /** What must come before it, but for the event before it on its own node. */
  readonly needs: readonly EventId[];
}

/** An order of pending events, or a cycle of them. */
export interface BatchOrder {
  /** Places in the list, each behind all that it needs of the list. */
  readonly order: readonly number[];
  /** Places of a cycle, each needed by the next one and the last one by the first; `undefined` for none. */
  readonly cycle: readonly number[] | undefined;
}

/**
 * Puts events into an order.
 *
 * @param events The events; what they need and is not among them counts as there.
 * @returns The order, or a cycle.
 */
export function orderOf(events: readonly PendingEvent[]): BatchOrder {
  const placeOf = placesOf(events);
  const needs = events.map((event, at) => {
    const own = placeOf(event);
    // A second one of the same id is looked at behind the first.
    const before = own === at ? placeOf({ ...event, sequence: event.sequence - 1 }) : own;
    const places = event.needs.map(placeOf);
    return [before, ...places].filter((place) => place !== undefined);
  });
  const open = new Uint32Array(events.length);
  const first = new Int32Array(events.length).fill(-1);
  const next: number[] = [], target: number[] = [];
  needs.forEach((places, at) => {
    open[at] = places.length;
    for (const place of places) {
      next.push(first[place]);
      first[place] = target.push(at) - 1;
    }
  });
  const order: number[] = [];
  for (let at = 0; at < events.length; at++) if (open[at] === 0) order.push(at);
  for (let i = 0; i < order.length; i++) {
    for (let edge = first[order[i]]; edge >= 0; edge = next[edge]) {
      if (--open[target[edge]] === 0) order.push(target[edge]);
    }
  }
  if (order.length === events.length) return { order, cycle: undefined };
  return { order, cycle: cycleOf(needs, open) };
}

function placesOf(events: readonly PendingEvent[]): (id: EventId) => number | undefined {
  const places = new Map<number, Map<number, number>>();
  events.forEach(({ node, sequence }, at) => {
    let ofNode = places.get(node);
    if (ofNode === undefined) places.set(node, ofNode = new Map());
    if (!ofNode.has(sequence)) ofNode.set(sequence, at);
  });
  return ({ node, sequence }) => places.get(node)?.get(sequence);
}

/** A cycle among those that are still open; each of them needs another one that is. */
function cycleOf(needs: readonly (readonly number[])[], open: Uint32Array): number[] {
  const seenAt = new Map<number, number>(), walk: number[] = [];
  let at = open.findIndex((count) => count > 0);
  while (!seenAt.has(at)) {
    seenAt.set(at, walk.push(at) - 1);
    at = needs[at].find((place) => open[place] > 0)!;
  }
  return walk.slice(seenAt.get(at)).reverse();
}
