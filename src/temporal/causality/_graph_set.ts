/**
 * A set of events of a causal graph: of each node those from one sequence to another.
 *
 * The past of an event, what depends on it, and what is concurrent with it are all of this form, since the events of a
 * node are a chain. So a set is found and counted in a few steps a node, and only who walks it pays for its events.
 *
 * Order of the walk: depth (edges on the longest way to an event), node, sequence. Depth rises along every
 * edge, so what came before is walked before; and none of the three depends on the order in which events were added.
 *
 * Cost: O(nodes) for the set; O(log nodes) an event walked, by a heap of the nodes.
 */

import { MmsbError } from "../../base/errors.ts";
import type { EventId } from "./_graph_input.ts";

/** The events of one node from one sequence to another. */
export interface EventRange {
  /** The node. */
  readonly node: number;
  /** Sequence of the first. */
  readonly first: number;
  /** Sequence of the last, which is not less. */
  readonly last: number;
}

/** What a set asks of its graph. */
export interface DepthSource {
  /** Edges on the longest way to an event; `undefined` where it was pruned. */
  depthAt(node: number, sequence: number): number | undefined;
}

/** Events of a causal graph, in causal order. Later additions to the graph do not change it. */
export class CausalSet implements Iterable<EventId> {
  /** Of each node that has any the events of it, by node. */
  readonly ranges: readonly EventRange[];
  /** How many events there are. */
  readonly count: number;
  readonly #graph: DepthSource;

  /** Made by a {@linkcode CausalGraph}. */
  constructor(graph: DepthSource, ranges: Iterable<EventRange>) {
    this.#graph = graph;
    this.ranges = [...ranges].filter(({ first, last }) => last >= first)
      .sort((a, b) => a.node - b.node);
    this.count = this.ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  }

  /**
   * Whether an event is in it.
   *
   * @param id The event.
   * @returns Whether it is.
   */
  has(id: EventId): boolean {
    return this.ranges.some(({ node, first, last }) =>
      node === id.node && first <= id.sequence && id.sequence <= last
    );
  }

  /**
   * Walks the events, each behind all of its past that is in the set.
   *
   * @returns The events.
   * @throws {MmsbError} `out-of-bounds` where one of them was pruned since the set was made.
   */
  *[Symbol.iterator](): IterableIterator<EventId> {
    const { ranges } = this;
    const sequence = Float64Array.from(ranges, ({ first }) => first);
    const depth = Float64Array.from(ranges, ({ node, first }) => this.#depth(node, first));
    // Places of the ranges, the one whose next event comes first on top.
    const heap = Int32Array.from(ranges, (_, at) => at);
    let length = heap.length;
    // Ranges are sorted by node, so the place tells the node's order.
    const isBefore = (a: number, b: number) =>
      depth[a] < depth[b] || (depth[a] === depth[b] && a < b);
    const sink = (from: number) => {
      const place = heap[from];
      let at = from;
      for (;;) {
        let down = 2 * at + 1;
        if (down >= length) break;
        if (down + 1 < length && isBefore(heap[down + 1], heap[down])) down++;
        if (!isBefore(heap[down], place)) break;
        heap[at] = heap[down];
        at = down;
      }
      heap[at] = place;
    };
    for (let at = (length >> 1) - 1; at >= 0; at--) sink(at);
    while (length > 0) {
      const place = heap[0], { node, last } = ranges[place];
      yield { node, sequence: sequence[place] };
      if (sequence[place] === last) heap[0] = heap[--length];
      else depth[place] = this.#depth(node, ++sequence[place]);
      if (length > 0) sink(0);
    }
  }

  /**
   * The first events of the walk.
   *
   * @param limit How many at most.
   * @returns The events.
   */
  take(limit: number): EventId[] {
    const taken: EventId[] = [];
    if (!(limit > 0)) return taken;
    for (const id of this) if (taken.push(id) >= limit) break;
    return taken;
  }

  #depth(node: number, sequence: number): number {
    const depth = this.#graph.depthAt(node, sequence);
    if (depth !== undefined) return depth;
    throw new MmsbError(
      "out-of-bounds",
      `Cannot walk event ${node}:${sequence} as it was pruned: walk a set before its events are`,
      { values: { node, sequence } },
    );
  }
}
