/**
 * The causal graph: which event happened before which.
 *
 * Events happen on nodes, one after the other, and know of events on other nodes by messages (Lamport, "Time,
 * clocks, and the ordering of events in a distributed system", Communications of the ACM 21(7), 1978). An
 * event is named by its node and its sequence there, and says its parents on other nodes; the event before it on
 * its own node always is one.
 *
 * ```text
 *  node 1   1:1 ──► 1:2 ──────────► 1:3        1:1 is before 2:2; 1:2 and 2:2 are concurrent
 *             └──────────┐           ▲         past of 1:3: 1:1 … 1:2 and 2:1 … 2:2
 *  node 2            2:1 ─► 2:2 ─────┘         depends on 2:1: 2:2 and 1:3
 * ```
 *
 * Since a node's events are a chain, past, future and what is concurrent are ranges a node, found by binary search
 * in what changed of the nodes' vectors (see `_graph_history.ts`): no walk over edges, no recursion, no vector an
 * event. A chain of a million events is a chain of one node, or of many, at the same cost.
 *
 * | asked                                            | steps, for k nodes and n events                   |
 * | ------------------------------------------------ | ------------------------------------------------- |
 * | `add`                                            | what the parents know that this node did not      |
 * | `relation`, `depth`                              | log n; 1                                          |
 * | `chain`, `dependents`, `concurrent`, common ones | k log n, and log k an event that is walked        |
 * | `nearestCommonAncestors`                         | k² log n                                          |
 * | `sources`, `sinks`                               | pairs of nodes of which one knows the other       |
 * | `path`                                           | its length times the parents of an event          |
 * | `prune`                                          | 1 amortised an event                              |
 *
 * Memory: 20 bytes an event, 10 a parent on another node and 18 an entry of a vector that changed, at most doubled by
 * growth; 1.5 KB a node.
 */

import { assert, checkInteger, checkIterable, checkKeys } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import {
  CAUSAL_EVENTS_DEFAULT,
  CAUSAL_EVENTS_MAX,
  CAUSAL_VECTOR_ENTRIES_MAX,
} from "../../base/limits.ts";
import { compare, timestampFromHalves } from "../timestamp.ts";
import { orderOf } from "./_graph_batch.ts";
import { NodeHistory } from "./_graph_history.ts";
import {
  type CausalEventInput,
  type CheckedEvent,
  checkEntries,
  checkEvent,
  checkId,
  type EventId,
  textOf,
  type VectorEntries,
} from "./_graph_input.ts";
import { CausalSet, type EventRange } from "./_graph_set.ts";

export type { CausalEventInput, EventId, VectorEntries } from "./_graph_input.ts";
export { CausalSet, type DepthSource, type EventRange } from "./_graph_set.ts";

/** How two events stand to each other: the first is … the second. */
export type CausalRelation = "before" | "after" | "equal" | "concurrent";

/** Limits of a {@linkcode CausalGraph}. */
export interface CausalGraphOptions {
  /** Most events that it holds; 1,048,576 if left out. */
  readonly eventsMax?: number;
  /** Most changed entries of vectors that it holds; 8 times `eventsMax` if left out. */
  readonly vectorEntriesMax?: number;
}

/** An event of a causal graph. */
export interface CausalEvent extends EventId {
  /** Its hybrid logical timestamp, 0n for none. */
  readonly hlc: bigint;
  /** What came directly before it, sorted by node: the event before it on its node, and those that were given. */
  readonly parents: readonly EventId[];
  /** Edges on the longest way to it; 0 for an event without parents. */
  readonly depth: number;
}

/** What an event without parents learns. */
const NOTHING: ReadonlyMap<number, number> = new Map();

/** How many events of a cycle or a path a message names. */
const NAMED_MAX = 8;

/**
 * Events and what happened before what.
 *
 * @example Two nodes, a message each way
 * ```ts
 * import { deepEqual, equal, throws } from "node:assert/strict";
 *
 * const graph = new CausalGraph();
 * graph.addAll([
 *   { node: 1, sequence: 1 },
 *   { node: 1, sequence: 2 },
 *   { node: 2, sequence: 1 },
 *   { node: 2, sequence: 2, parents: [{ node: 1, sequence: 1 }] },
 *   { node: 1, sequence: 3, parents: [{ node: 2, sequence: 2 }] },
 * ]);
 * const sent = { node: 1, sequence: 1 }, received = { node: 2, sequence: 2 };
 *
 * equal(graph.relation(sent, received), "before");
 * equal(graph.relation({ node: 1, sequence: 2 }, received), "concurrent");
 * deepEqual([...graph.chain(received)].map((id) => `${id.node}:${id.sequence}`), [
 *   "1:1",
 *   "2:1",
 *   "2:2",
 * ]);
 * equal(graph.dependents(sent).count, 3);
 * throws(() => graph.add({ node: 1, sequence: 1, parents: [received] }), { code: "cycle" });
 * ```
 */
export class CausalGraph {
  /** Most events that it holds. */
  readonly eventsMax: number;
  /** Most changed entries of vectors that it holds. */
  readonly vectorEntriesMax: number;
  readonly #histories = new Map<number, NodeHistory>();
  /** Of each node the last event that was pruned. */
  readonly #cut = new Map<number, number>();
  /** Depth of the deepest event that was pruned; −1 where none was. */
  #prunedDepth = -1;
  #count = 0;
  #entries = 0;

  /**
   * Makes an empty graph.
   *
   * @param options Its limits.
   * @throws {MmsbError} `usage` for an unknown option, `out-of-bounds` for a limit that is too large.
   */
  constructor(options: CausalGraphOptions = {}) {
    checkKeys("CausalGraph", options, ["eventsMax", "vectorEntriesMax"]);
    const { eventsMax = CAUSAL_EVENTS_DEFAULT } = options;
    this.eventsMax = checkInteger("eventsMax", eventsMax, 1, CAUSAL_EVENTS_MAX);
    const { vectorEntriesMax = Math.min(8 * eventsMax, CAUSAL_VECTOR_ENTRIES_MAX) } = options;
    this.vectorEntriesMax = checkInteger(
      "vectorEntriesMax",
      vectorEntriesMax,
      1,
      CAUSAL_VECTOR_ENTRIES_MAX,
    );
  }

  /** Events that it holds. */
  get size(): number {
    return this.#count;
  }

  /** Changed entries of vectors that it holds. */
  get vectorEntries(): number {
    return this.#entries;
  }

  /** Nodes with events, ascending. */
  get nodes(): number[] {
    const nodes: number[] = [];
    for (const { node, first, last } of this.#histories.values()) {
      if (last >= first) nodes.push(node);
    }
    return nodes.sort((a, b) => a - b);
  }

  /**
   * Adds an event whose parents are there.
   *
   * @param event Its id, and its parents or its vector.
   * @returns Whether it is new; `false` where the same event is there already, or was pruned.
   * @throws {MmsbError} `cycle` where it would come before one of its own parents: the message and
   * `values.cycle` name the cycle; `out-of-bounds` where a parent is not there; `usage` where an event
   * before it on its node is missing, where another event of this id is there, where its vector is not that
   * of its parents, or its timestamp is not later than theirs; `limit` where the graph is full. Nothing
   * has changed then.
   */
  add(event: CausalEventInput): boolean {
    return this.#add(checkEvent(event));
  }

  /**
   * Adds events that come in any order, all or none.
   *
   * @param events The events; their parents are among them or in the graph.
   * @returns How many are new.
   * @throws {MmsbError} As {@linkcode CausalGraph.add}; `cycle` also where the given events are before
   * one another in a circle.
   */
  addAll(events: Iterable<CausalEventInput>): number {
    const checked = Array.from(checkIterable("events", events), checkEvent);
    const { order, cycle } = orderOf(checked);
    if (cycle !== undefined) throwCycle(checked[cycle[0]], cycle.map((at) => checked[at]));
    const added: number[] = [];
    try {
      for (const at of order) if (this.#add(checked[at])) added.push(checked[at].node);
    } catch (error) {
      for (const node of added.reverse()) {
        this.#entries -= this.#histories.get(node)!.pop();
        this.#count--;
      }
      throw error;
    }
    return added.length;
  }

  /**
   * Whether an event is there and was not pruned.
   *
   * @param id The event.
   * @returns Whether it is there.
   * @throws {MmsbError} `usage` or `out-of-bounds` for what is no id.
   */
  has(id: EventId): boolean {
    const { node, sequence } = checkId("event", id);
    const history = this.#histories.get(node);
    return history !== undefined && history.first <= sequence && sequence <= history.last;
  }

  /**
   * All that is known of an event.
   *
   * @param id The event.
   * @returns Timestamp, parents, depth. Parents that were pruned are named still.
   * @throws {MmsbError} `out-of-bounds` where it is not there or was pruned.
   */
  event(id: EventId): CausalEvent {
    const { node, sequence, history } = this.#find(id);
    const hlc = timestampFromHalves(history.hiOf(sequence), history.loOf(sequence));
    const parents = this.#parentsOf(history, sequence);
    return { node, sequence, hlc, parents, depth: history.depthOf(sequence) };
  }

  /**
   * Edges on the longest way from a source to an event.
   *
   * @param id The event.
   * @returns Its depth; what was pruned counts with the depth of the deepest of it.
   * @throws {MmsbError} `out-of-bounds` where it is not there or was pruned.
   */
  depth(id: EventId): number {
    const { sequence, history } = this.#find(id);
    return history.depthOf(sequence);
  }

  /**
   * The vector clock of an event: how many events of each node are before it or itself.
   *
   * @param id The event.
   * @returns Pairs of node and sequence, by node. What was pruned counts as known to all.
   * @throws {MmsbError} `out-of-bounds` where it is not there or was pruned.
   */
  vector(id: EventId): [node: number, sequence: number][] {
    const { node, sequence, history } = this.#find(id);
    return [...this.#vectorOf(history, sequence).set(node, sequence)].sort((a, b) => a[0] - b[0]);
  }

  /**
   * How two events stand to each other.
   *
   * @param a The first.
   * @param b The second.
   * @returns `before` where the first is in the past of the second, `after` the other way round.
   * @throws {MmsbError} `out-of-bounds` where one is not there or was pruned.
   */
  relation(a: EventId, b: EventId): CausalRelation {
    const first = this.#historyOf(a), second = this.#historyOf(b);
    if (first === second) {
      if (a.sequence === b.sequence) return "equal";
      return a.sequence < b.sequence ? "before" : "after";
    }
    if (second.knownAt(b.sequence, first.node) >= a.sequence) return "before";
    if (first.knownAt(a.sequence, second.node) >= b.sequence) return "after";
    return "concurrent";
  }

  /**
   * The causal chain of an event: its whole past in causal order, and itself as the last.
   *
   * @param id The event.
   * @returns The events, but for those that were pruned.
   * @throws {MmsbError} `out-of-bounds` where it is not there or was pruned.
   */
  chain(id: EventId): CausalSet {
    const { node, sequence, history } = this.#find(id);
    return this.#prefixes(this.#vectorOf(history, sequence).set(node, sequence));
  }

  /**
   * What depends on an event: all events that it is before.
   *
   * @param id The event.
   * @returns The events, in causal order.
   * @throws {MmsbError} `out-of-bounds` where it is not there or was pruned.
   */
  dependents(id: EventId): CausalSet {
    const { node, sequence } = this.#find(id);
    const ranges: EventRange[] = [];
    for (const history of this.#histories.values()) {
      const first = history.node === node ? sequence + 1 : history.firstKnowing(node, sequence);
      ranges.push({ node: history.node, first, last: history.last });
    }
    return new CausalSet(this.#depths, ranges);
  }

  /**
   * What is concurrent with an event: neither before nor after it.
   *
   * @param id The event.
   * @returns The events, in causal order.
   * @throws {MmsbError} `out-of-bounds` where it is not there or was pruned.
   */
  concurrent(id: EventId): CausalSet {
    const { node, sequence, history } = this.#find(id);
    const ranges: EventRange[] = [];
    for (const other of this.#histories.values()) {
      if (other.node === node) continue;
      const first = Math.max(other.first, history.knownAt(sequence, other.node) + 1);
      ranges.push({ node: other.node, first, last: other.firstKnowing(node, sequence) - 1 });
    }
    return new CausalSet(this.#depths, ranges);
  }

  /**
   * What two events have in common: all that is before both. An event counts as before itself here.
   *
   * @param a The first.
   * @param b The second.
   * @returns The events, in causal order, but for those that were pruned.
   * @throws {MmsbError} `out-of-bounds` where one is not there or was pruned.
   */
  commonAncestors(a: EventId, b: EventId): CausalSet {
    return this.#prefixes(this.#common(a, b));
  }

  /**
   * The common ancestors of two events that are before no other one: concurrent among themselves. Of two
   * events of which one is before the other, it is that one.
   *
   * @param a The first.
   * @param b The second.
   * @returns The events, by node.
   * @throws {MmsbError} `out-of-bounds` where one is not there or was pruned.
   */
  nearestCommonAncestors(a: EventId, b: EventId): EventId[] {
    const last = this.#prefixes(this.#common(a, b)).ranges
      .map(({ node, last }) => ({ node, sequence: last }));
    return last.filter((id) =>
      !last.some(({ node, sequence }) =>
        node !== id.node &&
        this.#histories.get(node)!.knownAt(sequence, id.node) >= id.sequence
      )
    );
  }

  /**
   * A way from one event to a later one, each a parent of the next: why the one is before the other.
   *
   * @param from The earlier one.
   * @param to The later one.
   * @returns The events with both ends; `undefined` where `from` is not before `to`.
   * @throws {MmsbError} `out-of-bounds` where one is not there or was pruned.
   */
  path(from: EventId, to: EventId): EventId[] | undefined {
    const relation = this.relation(from, to);
    if (relation === "after" || relation === "concurrent") return undefined;
    const way: EventId[] = [{ node: to.node, sequence: to.sequence }];
    for (let at = way[0]; at.node !== from.node || at.sequence !== from.sequence;) {
      const parents = this.#parentsOf(this.#histories.get(at.node)!, at.sequence);
      at = parents.find((parent) => this.#leads(from, parent))!;
      way.push(at);
    }
    return way.reverse();
  }

  /**
   * Events without parents, as far as events are kept.
   *
   * @returns The events, by node.
   */
  sources(): EventId[] {
    const sources: EventId[] = [];
    for (const history of this.#histories.values()) {
      const { node, first, last } = history;
      if (first > last) continue;
      const parents = this.#parentsOf(history, first);
      if (parents.every((parent) => parent.sequence <= this.#cutOf(parent.node))) {
        sources.push({ node, sequence: first });
      }
    }
    return sources.sort((a, b) => a.node - b.node);
  }

  /**
   * Events on which nothing depends.
   *
   * @returns The events, by node.
   */
  sinks(): EventId[] {
    const known = new Map<number, number>();
    for (const history of this.#histories.values()) {
      for (const other of history.others) {
        known.set(other, Math.max(known.get(other) ?? 0, history.known(other)));
      }
    }
    const sinks: EventId[] = [];
    for (const { node, first, last } of this.#histories.values()) {
      if (first <= last && (known.get(node) ?? 0) < last) sinks.push({ node, sequence: last });
    }
    return sinks.sort((a, b) => a.node - b.node);
  }

  /**
   * Lets go of all events up to a cut, that is of what everybody has delivered: see {@linkcode stableCut}. Their ids
   * stay known, so that they can be parents still, and what is asked about kept events stays as it was.
   *
   * @param cut Of each node the last event to let go of; nodes that are not named keep theirs.
   * @returns How many events it let go of.
   * @throws {MmsbError} `out-of-bounds` where the cut names an event that was never there; `usage` where it
   * keeps an event that is before one which it lets go of. Nothing has changed then.
   */
  prune(cut: VectorEntries): number {
    const entries = checkEntries("cut", cut);
    for (const [node, sequence] of entries) this.#checkCut(node, sequence, entries);
    let count = 0;
    for (const [node, sequence] of entries) {
      const history = this.#histories.get(node)!;
      if (sequence < history.first) continue;
      count += sequence - history.first + 1;
      this.#prunedDepth = Math.max(this.#prunedDepth, history.depthOf(sequence));
      this.#cut.set(node, sequence);
      this.#entries -= history.prune(sequence);
    }
    this.#count -= count;
    return count;
  }

  /**
   * Checks what must always hold; tests call it after every step.
   *
   * @throws {MmsbAssertionError} Where a rule is broken.
   */
  checkInvariants(): void {
    let count = 0, entries = 0;
    for (const [node, history] of this.#histories) {
      entries += history.changeCount;
      const fault = history.fault();
      assert(fault === undefined, `history of node ${node}: ${fault}`);
      assert(history.node === node, "a history is kept under its node");
      assert(history.first === this.#cutOf(node) + 1, "a history begins behind the cut");
      count += history.last - history.first + 1;
      for (const other of history.others) {
        assert(other !== node, "a node has no entry for itself in its log");
        const last = this.#histories.get(other)?.last ?? 0;
        assert(history.known(other) <= last, "nobody knows an event that is not there");
      }
    }
    assert(count === this.#count && entries === this.#entries, "events and entries are counted");
  }

  readonly #depths = {
    depthAt: (node: number, sequence: number): number | undefined => {
      const history = this.#histories.get(node);
      return history === undefined || sequence < history.first
        ? undefined
        : history.depthOf(sequence);
    },
  };

  #add(event: CheckedEvent): boolean {
    const { node, sequence, hi, lo } = event;
    const last = this.#histories.get(node)?.last ?? 0;
    if (sequence <= last) return this.#again(event);
    const parents = this.#parentsFrom(event);
    if (sequence !== last + 1) {
      throw new MmsbError(
        "usage",
        `Cannot add event ${
          textOf(event)
        } as node ${node} ends at ${node}:${last}: add the events ` +
          "between first, or all of them together",
        { values: { node, sequence, last } },
      );
    }
    const history = this.#histories.get(node) ?? new NodeHistory(node, 1);
    const { changes, depth } = this.#learned(event, history, parents);
    if (event.vector !== undefined) this.#checkVector(event, history, changes);
    if ((hi | lo) !== 0) this.#checkTime(event, history, parents);
    this.#checkRoom(event, changes.size);
    history.push({ hi, lo, depth, parents, changes });
    this.#histories.set(node, history);
    this.#count++;
    this.#entries += changes.size;
    return true;
  }

  /** Parents of an event that is to come, on other nodes: node and sequence by turns, sorted, each once. */
  #parentsFrom(event: CheckedEvent): number[] {
    if (event.needs.length === 0) return [];
    const parents: EventId[] = [];
    for (const parent of event.parents ?? event.needs) {
      const { node, sequence } = parent;
      if (node === event.node) {
        if (sequence === event.sequence) throwCycle(event, [event]);
        // What comes later on the same node is behind the event.
        if (sequence > event.sequence) throwCycle(event, [event, parent]);
        continue;
      }
      const last = this.#histories.get(node)?.last ?? 0;
      if (sequence > last) {
        throw new MmsbError(
          "out-of-bounds",
          `Cannot add event ${textOf(event)} as its parent ${
            textOf(parent)
          } is not there: add the ` +
            "parent first, or both together",
          { values: { node: event.node, sequence: event.sequence, parent: textOf(parent) } },
        );
      }
      parents.push(parent);
    }
    if (event.parents === undefined) return flat(this.#nearest(event, parents));
    return flat(parents.sort((a, b) => a.node - b.node || a.sequence - b.sequence));
  }

  /** Of what a vector names, what the event before on the node did not know and no other entry includes. */
  #nearest(event: CheckedEvent, entries: readonly EventId[]): EventId[] {
    const history = this.#histories.get(event.node), before = event.sequence - 1;
    const isKept = history !== undefined && history.first <= before && before <= history.last;
    const fresh = entries.filter(({ node, sequence }) =>
      sequence > this.#cutOf(node) && !(isKept && history.knownAt(before, node) >= sequence)
    );
    return fresh.filter((id) =>
      !fresh.some(({ node, sequence }) =>
        node !== id.node && this.#histories.get(node)!.knownAt(sequence, id.node) >= id.sequence
      )
    ).sort((a, b) => a.node - b.node);
  }

  /** What an event learns from its parents, and its depth. */
  #learned(
    event: CheckedEvent,
    history: NodeHistory,
    parents: readonly number[],
  ): { changes: ReadonlyMap<number, number>; depth: number } {
    let depth = event.sequence - 1 >= history.first
      ? history.depthOf(event.sequence - 1)
      : this.#prunedDepth;
    if (parents.length === 0) return { changes: NOTHING, depth: depth + 1 };
    const changes = new Map<number, number>();
    const known = (node: number) =>
      changes.get(node) ?? Math.max(history.known(node), this.#cutOf(node));
    const learn = (node: number, value: number) => {
      if (node !== event.node && value > known(node)) changes.set(node, value);
    };
    for (let i = 0; i < parents.length; i += 2) {
      const node = parents[i], sequence = parents[i + 1];
      const other = this.#histories.get(node)!;
      depth = Math.max(depth, sequence < other.first ? this.#prunedDepth : other.depthOf(sequence));
      const before = known(node);
      if (before >= sequence) continue;
      // What the parent knew up to `before` came with that event.
      other.eachChange(before, sequence, learn);
      changes.set(node, sequence);
    }
    return { changes, depth: depth + 1 };
  }

  #checkVector(
    event: CheckedEvent,
    history: NodeHistory,
    changes: ReadonlyMap<number, number>,
  ): void {
    const vector = event.vector!;
    const own = new Map(this.#cut);
    for (const node of history.others) {
      own.set(node, Math.max(own.get(node) ?? 0, history.known(node)));
    }
    for (const [node, value] of changes) own.set(node, value);
    this.#compareVectors(event, own.set(event.node, event.sequence), vector);
  }

  #compareVectors(
    event: EventId,
    own: ReadonlyMap<number, number>,
    vector: ReadonlyMap<number, number>,
  ): void {
    for (const node of new Set([...own.keys(), ...vector.keys()])) {
      // What was pruned is known to all, whether a vector says so or not.
      const said = Math.max(vector.get(node) ?? 0, this.#cutOf(node)), is = own.get(node) ?? 0;
      if (said === is) continue;
      throw new MmsbError(
        "usage",
        `Cannot add event ${textOf(event)} as its vector says ${said} for node ${node}: by its ` +
          `parents it is ${is}`,
        { values: { ...textValues(event), other: node, said, is } },
      );
    }
  }

  /** A timestamp is later than those of all parents: that is what a hybrid logical clock promises. */
  #checkTime(event: CheckedEvent, history: NodeHistory, parents: readonly number[]): void {
    const check = (of: NodeHistory, sequence: number) => {
      if (sequence < of.first) return;
      const hi = of.hiOf(sequence), lo = of.loOf(sequence);
      if ((hi | lo) === 0 || compare(hi, lo, 0, event.hi, event.lo, 0) < 0) return;
      throw new MmsbError(
        "usage",
        `Cannot add event ${textOf(event)} as its timestamp is not later than that of ` +
          `${of.node}:${sequence}, which is before it: stamp an event behind its parents`,
        { values: { ...textValues(event), parent: `${of.node}:${sequence}` } },
      );
    };
    check(history, event.sequence - 1);
    for (let i = 0; i < parents.length; i += 2) {
      check(this.#histories.get(parents[i])!, parents[i + 1]);
    }
  }

  #checkRoom(event: EventId, changes: number): void {
    const isFull = this.#count >= this.eventsMax;
    if (!isFull && this.#entries + changes <= this.vectorEntriesMax) return;
    const limit = isFull ? this.eventsMax : this.vectorEntriesMax;
    throw new MmsbError(
      "limit",
      `Cannot add event ${textOf(event)} as the graph holds ${limit} ${
        isFull ? "events" : "entries of vectors"
      }: prune what everybody has delivered, or raise ${isFull ? "eventsMax" : "vectorEntriesMax"}`,
      { values: { ...textValues(event), limit } },
    );
  }

  /** An event whose id is there: the same one, one that is before itself, or another. */
  #again(event: CheckedEvent): boolean {
    const { node, sequence } = event, history = this.#histories.get(node)!;
    if (sequence < history.first) return false;
    for (const parent of event.needs) {
      const other = this.#histories.get(parent.node);
      if (parent.node === node && parent.sequence === sequence) {
        if (event.parents !== undefined) throwCycle(event, [event]);
        continue;
      }
      if (other === undefined || parent.sequence > other.last || parent.sequence < other.first) {
        continue;
      }
      const way = this.path(event, parent);
      if (way !== undefined) throwCycle(event, way);
    }
    const isSame = this.#isSame(event, history);
    if (isSame) return false;
    throw new MmsbError(
      "usage",
      `Cannot add event ${textOf(event)} as another event of this id is there: give each event a ` +
        "sequence of its own",
      { values: { node, sequence } },
    );
  }

  #isSame(event: CheckedEvent, history: NodeHistory): boolean {
    const { node, sequence, hi, lo } = event;
    if (history.hiOf(sequence) !== hi || history.loOf(sequence) !== lo) return false;
    if (event.parents !== undefined) {
      const others = event.parents.filter((parent) => parent.node !== node)
        .sort((a, b) => a.node - b.node || a.sequence - b.sequence);
      return String(flat(others)) === String(history.parentsOf(sequence));
    }
    if (event.vector === undefined) return history.parentsOf(sequence).length === 0;
    const own = this.#vectorOf(history, sequence).set(node, sequence);
    const said = (other: number) => Math.max(event.vector!.get(other) ?? 0, this.#cutOf(other));
    return [...own].every(([other, value]) => said(other) === value) &&
      [...event.vector.keys()].every((other) => own.has(other));
  }

  #find(id: EventId): { node: number; sequence: number; history: NodeHistory } {
    const history = this.#historyOf(id);
    return { node: history.node, sequence: id.sequence, history };
  }

  /** The history that has an event. */
  #historyOf(id: EventId): NodeHistory {
    const found = this.#histories.get(id?.node), asked = id?.sequence;
    if (
      found !== undefined && Number.isInteger(asked) && found.first <= asked && asked <= found.last
    ) return found;
    const { node, sequence } = checkId("event", id), history = this.#histories.get(node);
    const why = sequence <= this.#cutOf(node)
      ? "it was pruned"
      : history === undefined
      ? `node ${node} has no events`
      : `node ${node} ends at ${node}:${history.last}`;
    throw new MmsbError(
      "out-of-bounds",
      `Cannot find event ${node}:${sequence} as ${why}: ask for one that the graph holds`,
      { values: { node, sequence } },
    );
  }

  #cutOf(node: number): number {
    return this.#cut.get(node) ?? 0;
  }

  /** Entries of an event's vector, its own node's left out. */
  #vectorOf(history: NodeHistory, sequence: number): Map<number, number> {
    const vector = new Map(this.#cut);
    for (const other of history.others) {
      const known = Math.max(history.knownAt(sequence, other), this.#cutOf(other));
      if (known > 0) vector.set(other, known);
    }
    return vector;
  }

  #common(a: EventId, b: EventId): Map<number, number> {
    const first = new Map(this.vector(a)), common = new Map<number, number>();
    for (const [node, sequence] of this.vector(b)) {
      const least = Math.min(sequence, first.get(node) ?? 0);
      if (least > 0) common.set(node, least);
    }
    return common;
  }

  /** Of each node the kept events up to one. */
  #prefixes(vector: ReadonlyMap<number, number>): CausalSet {
    const ranges = [...vector].map(([node, last]) => ({
      node,
      first: this.#cutOf(node) + 1,
      last,
    }));
    return new CausalSet(this.#depths, ranges);
  }

  #parentsOf(history: NodeHistory, sequence: number): EventId[] {
    const parents: EventId[] = [], flatParents = history.parentsOf(sequence);
    if (sequence > 1) parents.push({ node: history.node, sequence: sequence - 1 });
    for (let i = 0; i < flatParents.length; i += 2) {
      parents.push({ node: flatParents[i], sequence: flatParents[i + 1] });
    }
    return parents.sort((a, b) => a.node - b.node || a.sequence - b.sequence);
  }

  /** Whether an event is before another one, or is it; none is before one that was pruned. */
  #leads(from: EventId, to: EventId): boolean {
    if (from.node === to.node) return from.sequence <= to.sequence;
    const history = this.#histories.get(to.node)!;
    return to.sequence >= history.first &&
      history.knownAt(to.sequence, from.node) >= from.sequence;
  }

  #checkCut(node: number, sequence: number, cut: ReadonlyMap<number, number>): void {
    const history = this.#histories.get(node), last = history?.last ?? 0;
    if (history === undefined || sequence > last) {
      throw new MmsbError(
        "out-of-bounds",
        `Cannot prune up to ${node}:${sequence} as node ${node} ends at ${node}:${last}: cut at ` +
          "events that are there",
        { values: { node, sequence, last } },
      );
    }
    if (sequence < history.first) return;
    for (const other of history.others) {
      const known = history.knownAt(sequence, other);
      if (known <= Math.max(cut.get(other) ?? 0, this.#cutOf(other))) continue;
      throw new MmsbError(
        "usage",
        `Cannot prune ${node}:${sequence} and keep ${other}:${known}, which is before it: a cut holds ` +
          "the past of all that it holds",
        { values: { node, sequence, kept: `${other}:${known}` } },
      );
    }
  }
}

/**
 * What everybody has delivered: of each node the last event that all of them have.
 *
 * @param delivered Of each participant its vector: how many events of each node it has delivered.
 * @returns The cut, for {@linkcode CausalGraph.prune}; empty where nobody is given.
 * @throws {MmsbError} `usage` or `out-of-bounds` for what is no vector.
 *
 * @example Two participants
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 *
 * deepEqual(stableCut([[[1, 5], [2, 3]], [[1, 4], [2, 7], [3, 1]]]), [[1, 4], [2, 3]]);
 * ```
 */
export function stableCut(delivered: Iterable<VectorEntries>): [node: number, sequence: number][] {
  let cut: Map<number, number> | undefined;
  for (const entries of checkIterable("vectors", delivered)) {
    const vector = checkEntries("vector", entries);
    if (cut === undefined) {
      cut = vector;
      continue;
    }
    for (const [node, sequence] of cut) {
      const least = Math.min(sequence, vector.get(node) ?? 0);
      if (least === 0) cut.delete(node);
      else cut.set(node, least);
    }
  }
  return [...cut ?? []].sort((a, b) => a[0] - b[0]);
}

/** Node and sequence by turns, each event once; the list is sorted. */
function flat(ids: readonly EventId[]): number[] {
  const numbers: number[] = [];
  ids.forEach(({ node, sequence }, at) => {
    const before = ids[at - 1];
    if (before?.node !== node || before.sequence !== sequence) numbers.push(node, sequence);
  });
  return numbers;
}

function textValues({ node, sequence }: EventId): { node: number; sequence: number } {
  return { node, sequence };
}

function throwCycle(event: EventId, cycle: readonly EventId[]): never {
  const names = cycle.map(textOf);
  const shown = names.length <= NAMED_MAX
    ? names
    : [...names.slice(0, NAMED_MAX), `(${names.length - NAMED_MAX} more)`];
  throw new MmsbError(
    "cycle",
    `Cannot add event ${textOf(event)} as it would be before itself: ${
      [...shown, names[0]].join(" → ")
    }; give it parents that are not behind it`,
    { values: { ...textValues(event), cycle: names } },
  );
}
