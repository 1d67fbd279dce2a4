/**
 * A graph as plain lists, against which that of a bus is checked: it shares no code with it.
 *
 * Vertices are page ids. Cost: that of sets and maps; some 100 ns an edge.
 */

/** Edges by their sources; several of different types between the same pages count as so many. */
export class ReferenceGraph {
  readonly #targets = new Map<number, Map<number, number>>();
  #edges = 0;

  /** Number of edges. */
  get edgeCount(): number {
    return this.#edges;
  }

  /** Adds an edge. */
  add(from: number, to: number): void {
    let targets = this.#targets.get(from);
    if (targets === undefined) this.#targets.set(from, targets = new Map());
    targets.set(to, (targets.get(to) ?? 0) + 1);
    this.#edges++;
  }

  /** Removes an edge. */
  remove(from: number, to: number): void {
    const targets = this.#targets.get(from), count = targets?.get(to) ?? 0;
    if (count === 0) return;
    if (count === 1) targets!.delete(to);
    else targets!.set(to, count - 1);
    this.#edges--;
  }

  /** Removes a vertex and its edges. */
  removeVertex(vertex: number): void {
    for (const count of this.#targets.get(vertex)?.values() ?? []) this.#edges -= count;
    this.#targets.delete(vertex);
    for (const targets of this.#targets.values()) {
      this.#edges -= targets.get(vertex) ?? 0;
      targets.delete(vertex);
    }
  }

  /** Whether there is an edge. */
  has(from: number, to: number): boolean {
    return this.#targets.get(from)?.has(to) ?? false;
  }

  /** What edges lead to from a vertex. */
  targets(vertex: number): Iterable<number> {
    return this.#targets.get(vertex)?.keys() ?? [];
  }

  /** The same graph with all edges turned round. */
  reversed(): ReferenceGraph {
    const reversed = new ReferenceGraph();
    for (const [from, targets] of this.#targets) {
      for (const [to, count] of targets) for (let i = 0; i < count; i++) reversed.add(to, from);
    }
    return reversed;
  }

  /** All that a vertex leads to, in no order. */
  reach(vertex: number): Set<number> {
    const found = new Set<number>(), stack = [vertex];
    while (stack.length > 0) {
      for (const target of this.targets(stack.pop()!)) {
        if (found.has(target)) continue;
        found.add(target);
        stack.push(target);
      }
    }
    return found;
  }

  /**
   * The level of each vertex that has edges: the number of edges on its longest way from one that nothing leads
   * to. `undefined` where there is a cycle. (Kahn, "Topological sorting of large networks", 1962.)
   */
  levels(): Map<number, number> | undefined {
    const waiting = new Map<number, number>(), levels = new Map<number, number>();
    for (const [from, targets] of this.#targets) {
      if (targets.size === 0) continue;
      if (!waiting.has(from)) waiting.set(from, 0);
      for (const to of targets.keys()) waiting.set(to, (waiting.get(to) ?? 0) + 1);
    }
    const ready: number[] = [];
    for (const [vertex, count] of waiting) {
      if (count > 0) continue;
      ready.push(vertex);
      levels.set(vertex, 0);
    }
    for (let at = 0; at < ready.length; at++) {
      const level = levels.get(ready[at])! + 1;
      for (const to of this.targets(ready[at])) {
        levels.set(to, Math.max(levels.get(to) ?? 0, level));
        const left = waiting.get(to)! - 1;
        waiting.set(to, left);
        if (left === 0) ready.push(to);
      }
    }
    return ready.length === waiting.size ? levels : undefined;
  }

  /** Whether a list of pages is a cycle of this graph, once an edge is added to it. */
  isCycle(pages: unknown, from: number, to: number): boolean {
    if (!Array.isArray(pages) || pages.length < 2 || new Set(pages).size < pages.length) {
      return false;
    }
    let isNewUsed = false;
    for (let i = 0; i < pages.length; i++) {
      const a = pages[i], b = pages[(i + 1) % pages.length], isNew = a === from && b === to;
      isNewUsed ||= isNew;
      if (!isNew && !this.has(a, b)) return false;
    }
    return isNewUsed;
  }
}
