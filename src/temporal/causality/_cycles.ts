/**
 * Cycles of a graph of waits: its strongly connected components, then all elementary cycles in each.
 *
 * Components: Tarjan, "Depth-first search and linear graph algorithms", SIAM Journal on Computing 1(2), 1972. Cycles:
 * Johnson, "Finding all the elementary circuits of a directed graph", SIAM Journal on Computing 4(1), 1975: from
 * the least participant of a component all cycles through it, by a search that does not enter again what led
 * nowhere until something has changed (`blocked`); then the same without that participant. Both with their recursion as
 * arrays, as a cycle may have as many participants as there are.
 *
 * Participants are numbered by the order of their ids first, so that cycles come in the same order whatever order
 * the waits came in; each begins with its least participant. A wait for oneself is a cycle of one.
 *
 * Cost: O(participants + waits) where there is no cycle; as much again for each cycle that is given (Johnson's bound).
 */

import { MmsbAssertionError } from "../../base/assert.ts";
import { compareIds, type WaitTable } from "./_graph_waits.ts";
import type { WaitId } from "./wait_graph.ts";

/** Edges of some vertices, as one list cut into pieces. */
export interface Adjacency {
  /** Vertices. */
  readonly count: number;
  /** Where the targets of a vertex begin, one more than there are vertices. */
  readonly start: Int32Array;
  /** Targets, ascending for each vertex, each once. */
  readonly target: Int32Array;
}

/**
 * The strongly connected components of a graph.
 *
 * @param graph The graph.
 * @param isIn Which vertices count.
 * @param starts Where to begin: all vertices of which components are wanted.
 * @returns Components with a cycle, in no order, each with its vertices ascending.
 */
export function componentsOf(graph: Adjacency, isIn: Uint8Array, starts: Int32Array): Int32Array[] {
  const { count, start, target } = graph, components: Int32Array[] = [];
  const index = new Int32Array(count), low = new Int32Array(count), next = new Int32Array(count);
  const open: number[] = [], walk: number[] = [], isOpen = new Uint8Array(count);
  let seen = 0;
  const enter = (vertex: number) => {
    index[vertex] = low[vertex] = ++seen;
    next[vertex] = start[vertex];
    isOpen[vertex] = 1;
    open.push(vertex);
    walk.push(vertex);
  };
  for (const from of starts) {
    if (index[from] !== 0 || isIn[from] === 0) continue;
    enter(from);
    while (walk.length > 0) {
      const vertex = walk[walk.length - 1];
      if (next[vertex] < start[vertex + 1]) {
        const to = target[next[vertex]++];
        if (isIn[to] === 0) continue;
        if (index[to] === 0) enter(to);
        else if (isOpen[to] === 1 && index[to] < low[vertex]) low[vertex] = index[to];
        continue;
      }
      walk.pop();
      if (walk.length > 0) {
        const parent = walk[walk.length - 1];
        if (low[vertex] < low[parent]) low[parent] = low[vertex];
      }
      if (low[vertex] !== index[vertex]) continue;
      const members = open.splice(open.lastIndexOf(vertex));
      for (const member of members) isOpen[member] = 0;
      if (members.length > 1 || hasEdge(graph, vertex, vertex)) {
        components.push(Int32Array.from(members).sort());
      }
    }
  }
  return components;
}

function hasEdge({ start, target }: Adjacency, from: number, to: number): boolean {
  for (let at = start[from]; at < start[from + 1]; at++) if (target[at] === to) return true;
  return false;
}

/** A strongly connected part of the waits as they were, its participants numbered by the order of their ids. */
export interface WaitComponent {
  /** Slots of the participants, by id. */
  readonly slots: Int32Array;
  /** Their ids, which stay when the table changes. */
  readonly ids: readonly WaitId[];
  /** Who waits for whom among them, by places in `slots`. */
  readonly graph: Adjacency;
}

/** The components of a table of waits that have a cycle, by their least ids. */
export function cyclicComponents(table: WaitTable): WaitComponent[] {
  const whole = adjacencyOf(table), all = new Uint8Array(whole.count).fill(1);
  const starts = Int32Array.from({ length: whole.count }, (_, slot) => slot);
  const place = new Int32Array(whole.count).fill(-1);
  const compare = (a: number, b: number) => compareIds(table.idOf(a)!, table.idOf(b)!);
  const components = componentsOf(whole, all, starts).map((members): WaitComponent => {
    const slots = Int32Array.from(Array.from(members).sort(compare));
    slots.forEach((slot, at) => place[slot] = at);
    const graph = narrowed(whole, slots, place);
    for (const slot of slots) place[slot] = -1;
    return { slots, ids: Array.from(slots, (slot) => table.idOf(slot)!), graph };
  });
  return components.sort((a, b) => compare(a.slots[0], b.slots[0]));
}

/** All waits by slots; targets in no order, and repeated where there are several resources. */
function adjacencyOf(table: WaitTable): Adjacency {
  const count = table.slotsMax, start = new Int32Array(count + 1);
  const target = new Int32Array(table.waitCount);
  let end = 0;
  for (let slot = 0; slot < count; slot++) {
    start[slot] = end;
    if (table.idOf(slot) === undefined) continue;
    for (let wait = table.firstOut(slot); wait >= 0; wait = table.nextOut(wait)) {
      target[end++] = table.holder(wait);
    }
  }
  start[count] = end;
  return { count, start, target };
}

/** The edges among some vertices, by their places: ascending and each once. */
function narrowed(whole: Adjacency, slots: Int32Array, place: Int32Array): Adjacency {
  const start = new Int32Array(slots.length + 1), target: number[] = [];
  slots.forEach((slot, at) => {
    const own = whole.target.subarray(whole.start[slot], whole.start[slot + 1]);
    const places = Int32Array.from(own, (to) => place[to]).sort();
    let before = -1;
    for (const to of places) if (to > before) target.push(before = to);
    start[at + 1] = target.length;
  });
  return { count: slots.length, start, target: Int32Array.from(target) };
}

/** The elementary cycles of a component, as places in its `slots`, each from its least one on. */
export function* cyclesOf({ graph }: WaitComponent): Generator<Int32Array> {
  const isIn = new Uint8Array(graph.count);
  const search = new CircuitSearch(graph, isIn);
  // Parts that are still to be searched, the one with the least vertex on top.
  const parts: Int32Array[] = [Int32Array.from({ length: graph.count }, (_, at) => at)];
  for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
    for (const vertex of part) isIn[vertex] = 1;
    yield* search.through(part);
    isIn[part[0]] = 0;
    const rest = part.length > 1 ? componentsOf(graph, isIn, part.subarray(1)) : [];
    for (const vertex of part) isIn[vertex] = 0;
    for (const one of rest.sort((a, b) => b[0] - a[0])) parts.push(one);
  }
}

/** Johnson's search for the cycles through one vertex. */
class CircuitSearch {
  readonly #graph: Adjacency;
  readonly #isIn: Uint8Array;
  readonly #blocked: Uint8Array;
  readonly #closed: Uint8Array;
  readonly #next: Int32Array;
  /** For each vertex those that are to be let in again when it is. */
  readonly #waiting: (Set<number> | undefined)[];

  constructor(graph: Adjacency, isIn: Uint8Array) {
    this.#graph = graph;
    this.#isIn = isIn;
    this.#blocked = new Uint8Array(graph.count);
    this.#closed = new Uint8Array(graph.count);
    this.#next = new Int32Array(graph.count);
    this.#waiting = new Array(graph.count);
  }

  /** Cycles through the first vertex of a part, which is its least. */
  *through(part: Int32Array): Generator<Int32Array> {
    const { start, target } = this.#graph, least = part[0], walk: number[] = [];
    const blocked = this.#blocked, closed = this.#closed, next = this.#next;
    for (const vertex of part) {
      blocked[vertex] = 0;
      this.#waiting[vertex] = undefined;
    }
    const enter = (vertex: number) => {
      walk.push(vertex);
      blocked[vertex] = 1;
      closed[vertex] = 0;
      next[vertex] = start[vertex];
    };
    enter(least);
    while (walk.length > 0) {
      const vertex = walk[walk.length - 1];
      if (next[vertex] < start[vertex + 1]) {
        const to = target[next[vertex]++];
        if (this.#isIn[to] === 0) continue;
        if (to === least) {
          yield Int32Array.from(walk);
          closed[vertex] = 1;
        } else if (blocked[to] === 0) {
          enter(to);
        }
        continue;
      }
      walk.pop();
      if (closed[vertex] === 1) this.#unblock(vertex);
      else this.#block(vertex);
      if (walk.length > 0 && closed[vertex] === 1) closed[walk[walk.length - 1]] = 1;
    }
  }

  #block(vertex: number): void {
    const { start, target } = this.#graph;
    for (let at = start[vertex]; at < start[vertex + 1]; at++) {
      const to = target[at];
      if (this.#isIn[to] === 1) (this.#waiting[to] ??= new Set()).add(vertex);
    }
  }

  #unblock(from: number): void {
    const open = [from];
    for (let vertex = open.pop(); vertex !== undefined; vertex = open.pop()) {
      if (this.#blocked[vertex] === 0) continue;
      this.#blocked[vertex] = 0;
      const waiting = this.#waiting[vertex];
      this.#waiting[vertex] = undefined;
      for (const other of waiting ?? []) open.push(other);
    }
  }
}

/**
 * A shortest cycle through a vertex; of several the one that goes over the least vertices. One pass.
 *
 * @param graph The graph.
 * @param isIn Which vertices count.
 * @param through The vertex, which is on a cycle.
 * @returns The vertices, this one first.
 */
export function shortestCycle(graph: Adjacency, isIn: Uint8Array, through: number): number[] {
  const { start, target } = graph, from = new Map<number, number>(), queue = [through];
  for (let at = 0; at < queue.length; at++) {
    const vertex = queue[at];
    for (let edge = start[vertex]; edge < start[vertex + 1]; edge++) {
      const to = target[edge];
      if (to === through) return wayBack(from, vertex, through);
      if (isIn[to] === 0 || from.has(to)) continue;
      from.set(to, vertex);
      queue.push(to);
    }
  }
  throw new MmsbAssertionError("a vertex of a component is on a cycle");
}

function wayBack(from: ReadonlyMap<number, number>, last: number, first: number): number[] {
  const way: number[] = [];
  for (let at = last; at !== first; at = from.get(at)!) way.push(at);
  return [...way, first].reverse();
}
