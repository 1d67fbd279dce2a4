/**
 * The wait graph: who waits for whom, its deadlocks, and their end.
 *
 * A deadlock is a cycle of waits: nobody in it goes on before the next one does. Waits come and go one by one; what cycles
 * there are is asked when somebody wants to know, and a cycle is ended by dropping one of its participants, or by
 * delivering it although what it waits for has not come. Either way the participant is done: its own waits and those
 * for it are gone.
 *
 * Ending is real: the graph calls its owner for each victim, and takes the victim out once that call has returned. An owner
 * who throws keeps the victim in the graph.
 *
 * Severity, strategies and victims: see `deadlock.ts`. How cycles are found: `_cycles.ts`.
 *
 * | asked                | steps, for n participants and e waits                              |
 * | -------------------- | ------------------------------------------------------------------ |
 * | `add`, `remove`      | 1                                                                  |
 * | `complete`           | its waits                                                          |
 * | `closing`            | what can be reached                                                |
 * | `detect`             | n + e where there is no cycle, and as much again for each cycle    |
 * | `resolve`            | n + e, and what hangs together in cycles once for each victim      |
 *
 * Memory: some 150 bytes a wait.
 */

import {
  assert,
  checkInteger,
  checkIterable,
  checkKeys,
  checkNumber,
  checkOneOf,
  checkType,
} from "../../base/assert.ts";
import { isMmsbError, MmsbError, reasonOf } from "../../base/errors.ts";
import {
  WAIT_CYCLES_DEFAULT,
  WAIT_CYCLES_MAX,
  WAIT_PARTICIPANTS_NAMED_MAX,
  WAITS_MAX,
} from "../../base/limits.ts";
import {
  componentsOf,
  cyclesOf,
  cyclicComponents,
  shortestCycle,
  type WaitComponent,
} from "./_cycles.ts";
import { compareIds, WaitTable } from "./_graph_waits.ts";
import {
  AGE_HALF_US_DEFAULT,
  type Candidate,
  DEADLOCK_STRATEGIES,
  type DeadlockStrategy,
  type DeadlockVictim,
  severityOf,
  victimsOf,
  type Wait,
  type WaitCycle,
} from "./deadlock.ts";

/** Names a participant or a resource: a text, a whole number or a bigint. 1, 1n and "1" are three. */
export type WaitId = string | number | bigint;

/** A wait that is added. */
export interface WaitInput {
  /** Who waits. */
  readonly waiter: WaitId;
  /** For whom; oneself is a cycle of one. */
  readonly holder: WaitId;
  /** For what: a message, a lock. Two waits of the same two for different resources are two. */
  readonly resource?: WaitId;
  /** Since when, in µs; any clock that all waits of a graph are told by. */
  readonly sinceUs: number;
  /** Priority, 0 to 65535, higher is more urgent; 1 if left out. */
  readonly priority?: number;
}

/** Limits of a {@linkcode WaitGraph}. */
export interface WaitGraphOptions {
  /** Most waits that it holds; 1,048,576 if left out, which is the most there can be. */
  readonly waitsMax?: number;
}

/** How deadlocks are looked for. */
export interface DetectOptions {
  /** The time, in µs, on the clock of the waits: cycles are as old as it says. */
  readonly nowUs: number;
  /** Most cycles that are named, 1 to 1,048,576; 1024 if left out. */
  readonly limit?: number;
  /** Age at which a cycle has half of the severity that age can give; 10 s if left out. */
  readonly ageHalfUs?: number;
}

/** The deadlocks of a graph. */
export interface DeadlockReport {
  /** The cycles, the most severe first; of equal ones those of lesser ids. */
  readonly cycles: readonly WaitCycle[];
  /**
   * Whether there are more than were named: more than `limit`, or with more than 4,194,304 participants together. Those that are named
   * are dealt over what hangs together by turns, so that each deadlock is named before one is named again.
   */
  readonly truncated: boolean;
  /** Participants that are in a cycle, of all cycles whether named or not. */
  readonly deadlocked: number;
}

/** What is really done to those on whom a cycle is ended. Not asynchronous: a call that returns has done it. */
export interface DeadlockActions {
  /** Drops a participant: removes the message, ends the transaction. */
  drop?(victim: DeadlockVictim): void;
  /** Delivers a participant although what it waits for has not come. */
  deliver?(victim: DeadlockVictim): void;
}

/** What a resolution has done. */
export interface DeadlockResolution {
  /** The strategy. */
  readonly strategy: DeadlockStrategy;
  /** Those on whom cycles were ended, in this order. */
  readonly victims: readonly DeadlockVictim[];
  /** Waits that went with them. */
  readonly waitsRemoved: number;
  /** Whether no cycle is left. */
  readonly isAcyclic: boolean;
  /**
   * The proof: all that still wait or are waited for, each behind all that it waits for, so that they can go on in
   * this order. `undefined` where a cycle is left. {@linkcode WaitGraph.isOrder} checks it.
   */
  readonly order: readonly WaitId[] | undefined;
}

/**
 * Who waits for whom.
 *
 * @example Three messages that wait for one another in a circle
 * ```ts
 * import { deepEqual, equal } from "node:assert/strict";
 *
 * const graph = new WaitGraph();
 * graph.add({ waiter: "a", holder: "b", sinceUs: 0, priority: 2 });
 * graph.add({ waiter: "b", holder: "c", sinceUs: 5 });
 * graph.add({ waiter: "c", holder: "a", sinceUs: 9 });
 * graph.add({ waiter: "d", holder: "a", sinceUs: 9 });
 *
 * const { cycles: [cycle] } = graph.detect({ nowUs: 30_000_000 });
 * deepEqual(cycle.participants, ["a", "b", "c"]);
 * equal(cycle.severity.stuck, 4);
 *
 * const dropped: unknown[] = [];
 * const { isAcyclic, order } = graph.resolve("drop-newest", {
 *   drop: ({ id }) => dropped.push(id),
 * });
 * deepEqual(dropped, ["c"]);
 * equal(isAcyclic, true);
 * deepEqual(order, ["a", "b", "d"].sort((x, y) => order!.indexOf(x) - order!.indexOf(y)));
 * ```
 */
export class WaitGraph {
  /** Most waits that it holds. */
  readonly waitsMax: number;
  readonly #table: WaitTable = new WaitTable();
  /** Counts changes, so that a resolution notices those that its actions make. */
  #version = 0;
  #isResolving = false;
  /** On whom an action is at work, and the waits that it has removed of it. */
  #victim: WaitId | undefined;
  #victimWaits = 0;

  /**
   * Makes an empty graph.
   *
   * @param options Its limit.
   * @throws {MmsbError} `usage` for an unknown option, `out-of-bounds` for a limit that is too large.
   */
  constructor(options: WaitGraphOptions = {}) {
    checkKeys("WaitGraph", options, ["waitsMax"]);
    this.waitsMax = checkInteger("waitsMax", options.waitsMax ?? WAITS_MAX, 1, WAITS_MAX);
  }

  /** Waits that it holds. */
  get size(): number {
    return this.#table.waitCount;
  }

  /** Participants: all that wait or are waited for. */
  get participants(): number {
    return this.#table.participantCount;
  }

  /**
   * Adds a wait.
   *
   * @param wait Who waits for whom, since when.
   * @returns Whether it is new; `false` where the same two have a wait for the same resource: it stays as it was.
   * @throws {MmsbError} `usage` for what is no id, a time that is no finite number; `out-of-bounds` for a
   * priority out of its range; `limit` where the graph is full. Nothing has changed then.
   */
  add(wait: WaitInput): boolean {
    checkKeys("WaitGraph.add", checkType("wait", wait, "object"), [
      "waiter",
      "holder",
      "resource",
      "sinceUs",
      "priority",
    ]);
    const { resource, sinceUs, priority = 1 } = wait;
    const waiter = checkWaitId("waiter", wait.waiter), holder = checkWaitId("holder", wait.holder);
    if (resource !== undefined) checkWaitId("resource", resource);
    checkNumber("sinceUs", sinceUs, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
    checkInteger("priority", priority, 0, 65_535);
    if (this.#table.find(waiter, holder, resource) >= 0) return false;
    if (this.size >= this.waitsMax) {
      throw new MmsbError(
        "limit",
        `Cannot add a wait of ${waiter} for ${holder} as there are ${this.waitsMax}: complete or ` +
          "remove some, or raise waitsMax",
        { values: { waiter, holder, waitsMax: this.waitsMax } },
      );
    }
    this.#table.add(waiter, holder, resource, sinceUs, priority);
    this.#version++;
    return true;
  }

  /**
   * Removes a wait that has ended.
   *
   * @param waiter Who waited.
   * @param holder For whom.
   * @param resource For what, as it was given to {@linkcode WaitGraph.add}.
   * @returns Whether it was there.
   * @throws {MmsbError} `usage` for what is no id.
   */
  remove(waiter: WaitId, holder: WaitId, resource?: WaitId): boolean {
    if (resource !== undefined) checkWaitId("resource", resource);
    const wait = this.#table.find(
      checkWaitId("waiter", waiter),
      checkWaitId("holder", holder),
      resource,
    );
    if (wait < 0) return false;
    this.#table.remove(wait);
    this.#version++;
    return true;
  }

  /**
   * Notes that a participant is done, or was dropped: its waits are gone, and all waits for it.
   *
   * @param id The participant.
   * @returns How many waits went.
   * @throws {MmsbError} `usage` for what is no id.
   */
  complete(id: WaitId): number {
    const count = this.#complete(checkWaitId("participant", id));
    // That the owner says so of the victim while it is being dropped is no change of its own.
    if (this.#victim === id) this.#victimWaits += count;
    else if (count > 0) this.#version++;
    return count;
  }

  /** Removes all waits. */
  clear(): void {
    for (const slot of [...this.#table.slots()]) {
      const id = this.#table.idOf(slot);
      if (id !== undefined) this.complete(id);
    }
  }

  /**
   * Whether there is a wait.
   *
   * @param waiter Who waits.
   * @param holder For whom.
   * @param resource For what.
   * @returns Whether it is there.
   * @throws {MmsbError} `usage` for what is no id.
   */
  has(waiter: WaitId, holder: WaitId, resource?: WaitId): boolean {
    if (resource !== undefined) checkWaitId("resource", resource);
    const from = checkWaitId("waiter", waiter), to = checkWaitId("holder", holder);
    return this.#table.find(from, to, resource) >= 0;
  }

  /**
   * The waits of a participant for others.
   *
   * @param waiter The participant.
   * @returns The waits, by the ids of the others and of the resources.
   * @throws {MmsbError} `usage` for what is no id.
   */
  waitsOf(waiter: WaitId): Wait[] {
    const slot = this.#table.slotOf(checkWaitId("waiter", waiter)), waits: Wait[] = [];
    if (slot < 0) return waits;
    for (let at = this.#table.firstOut(slot); at >= 0; at = this.#table.nextOut(at)) {
      waits.push(this.#waitAt(at));
    }
    return waits.sort((a, b) => compareIds(a.holder, b.holder) || compareResources(a, b));
  }

  /**
   * The cycle that a wait would close, so that one may not begin it.
   *
   * @param waiter Who would wait.
   * @param holder For whom.
   * @returns A shortest such cycle, the waiter first; `undefined` where there would be none.
   * @throws {MmsbError} `usage` for what is no id.
   */
  closing(waiter: WaitId, holder: WaitId): WaitId[] | undefined {
    if (checkWaitId("waiter", waiter) === checkWaitId("holder", holder)) return [waiter];
    const table = this.#table, from = table.slotOf(holder), to = table.slotOf(waiter);
    if (from < 0 || to < 0) return undefined;
    const before = new Map<number, number>([[from, -1]]), queue = [from];
    for (let at = 0; at < queue.length && !before.has(to); at++) {
      const next: number[] = [];
      for (let wait = table.firstOut(queue[at]); wait >= 0; wait = table.nextOut(wait)) {
        next.push(table.holder(wait));
      }
      next.sort((a, b) => compareIds(table.idOf(a)!, table.idOf(b)!));
      for (const slot of next) {
        if (before.has(slot)) continue;
        before.set(slot, queue[at]);
        queue.push(slot);
      }
    }
    if (!before.has(to)) return undefined;
    const way: WaitId[] = [];
    for (let slot = to; slot >= 0; slot = before.get(slot)!) way.push(table.idOf(slot)!);
    return [way[0], ...way.slice(1).reverse()];
  }

  /**
   * The elementary cycles as they are now, one by one: who wants a few need not pay for all, of which there may be
   * more than anybody can wait for. Changes to the graph meanwhile do not change what is given.
   *
   * @returns The participants of each cycle, the least id first.
   */
  cycles(): IterableIterator<WaitId[]> {
    return eachCycle(cyclicComponents(this.#table));
  }

  /**
   * The deadlocks: elementary cycles up to a limit, each with its severity.
   *
   * @param options The time, and the limit.
   * @returns The cycles, and whether there are more.
   * @throws {MmsbError} `usage` where the time is no finite number; `out-of-bounds` for a limit out of its range.
   */
  detect(options: DetectOptions): DeadlockReport {
    const { nowUs, limit, ageHalfUs } = checkedDetection(options);
    const components = cyclicComponents(this.#table), cycles: WaitCycle[] = [];
    const seenBy = new Int32Array(this.#table.slotsMax);
    let truncated = false, named = 0;
    // By turns, so that a component with very many cycles does not hide the others.
    let searches = components.map((component) => ({
      component,
      cycles: cyclesOf(component),
      stuck: 0,
    }));
    let asked = 0;
    while (searches.length > 0 && !truncated) {
      const more: typeof searches = [];
      for (const search of searches) {
        const { component } = search, next = search.cycles.next();
        if (next.done) continue;
        named += next.value.length;
        if (cycles.length === limit || named > WAIT_PARTICIPANTS_NAMED_MAX) {
          truncated = true;
          break;
        }
        search.stuck ||= this.#stuckBehind(component.slots, seenBy, ++asked);
        cycles.push(this.#cycleOf(component, next.value, nowUs, search.stuck, ageHalfUs));
        more.push(search);
      }
      searches = more;
    }
    // A stable sort keeps the order of ids among equals.
    cycles.sort((a, b) => b.severity.score - a.severity.score);
    const deadlocked = components.reduce((sum, { slots }) => sum + slots.length, 0);
    return { cycles, truncated, deadlocked };
  }

  /**
   * Ends deadlocks, until none is left where the strategy promises it. For each of them a shortest cycle through the
   * least participant is ended on the victim that the strategy chooses; what is left of it is looked at
   * again. The victim is taken out of the graph when the action for it has returned.
   *
   * @param strategy What to do.
   * @param actions What is really done; `drop` for the strategies that drop, `deliver` for `force-delivery`.
   * @returns Who was dropped or delivered, and the proof that no cycle is left.
   * @throws {MmsbError} `usage` where the strategy is unknown, its action is missing or not a function, gives a promise,
   * or resolves itself; `limit` where actions keep adding cycles. Where an action throws, its error's code (`usage` for
   * other errors) with the error as cause: the victim is in the graph as before then, and `values.done` names the victims before it, for
   * which the action has returned and which are gone.
   */
  resolve(strategy: DeadlockStrategy, actions: DeadlockActions = {}): DeadlockResolution {
    checkOneOf("strategy", strategy, DEADLOCK_STRATEGIES);
    const action = actionOf(strategy, actions);
    if (this.#isResolving) {
      throw new MmsbError(
        "usage",
        "Cannot resolve deadlocks while they are being resolved: do it when the call has returned",
      );
    }
    const victims: DeadlockVictim[] = [], before = this.participants;
    let waitsRemoved = 0;
    const end = (victim: DeadlockVictim) => {
      if (victims.length > before + WAITS_MAX) throwEndless(victims.length);
      this.#victim = victim.id;
      this.#victimWaits = 0;
      act(action, victim, victims);
      victims.push(victim);
      waitsRemoved += this.#victimWaits + this.#complete(victim.id);
      this.#victim = undefined;
    };
    this.#isResolving = true;
    try {
      if (strategy !== "wait") { while (!this.#endAll(strategy, end)); }
    } finally {
      this.#isResolving = false;
      this.#victim = undefined;
    }
    const order = this.#order();
    assert(order === undefined || this.isOrder(order), "a resolution gives an order");
    const isAcyclic = order !== undefined;
    return { strategy, victims, waitsRemoved, isAcyclic, order };
  }

  /**
   * Checks a proof: whether an order names all participants once, each behind all that it waits for. Then there
   * is no cycle.
   *
   * @param order The participants.
   * @returns Whether it is such an order.
   * @throws {MmsbError} `usage` if it is no list.
   */
  isOrder(order: Iterable<WaitId>): boolean {
    const table = this.#table, place = new Map<number, number>(), { participants } = this;
    let count = 0;
    for (const id of checkIterable("order", order)) {
      place.set(table.slotOf(id), place.size);
      if (++count > participants) return false;
    }
    if (place.size !== count || count !== participants || place.has(-1)) {
      return false;
    }
    for (const [slot, at] of place) {
      for (let wait = table.firstOut(slot); wait >= 0; wait = table.nextOut(wait)) {
        if (place.get(table.holder(wait))! >= at) return false;
      }
    }
    return true;
  }

  /**
   * Checks what must always hold; tests call it after every step.
   *
   * @throws {MmsbAssertionError} Where a rule is broken.
   */
  checkInvariants(): void {
    const fault = this.#table.fault();
    assert(fault === undefined, `table of waits: ${fault}`);
    assert(this.size <= this.waitsMax, "waits have a limit");
  }

  /** Ends the cycles that there are; `false` where an action has changed the graph, so that there may be others. */
  #endAll(strategy: DeadlockStrategy, end: (victim: DeadlockVictim) => void): boolean {
    const version = this.#version;
    for (const { graph, ids } of cyclicComponents(this.#table)) {
      const isIn = new Uint8Array(graph.count);
      const parts: Int32Array[] = [Int32Array.from(ids, (_, at) => at)];
      for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
        for (const vertex of part) isIn[vertex] = 1;
        const cycle = shortestCycle(graph, isIn, part[0]);
        const victims = victimsOf(strategy, this.#candidates(cycle.map((vertex) => ids[vertex])));
        for (const victim of victims) {
          end(victim);
          isIn[cycle.find((vertex) => ids[vertex] === victim.id)!] = 0;
        }
        if (this.#version !== version) return false;
        const rest = componentsOf(graph, isIn, part).sort((a, b) => b[0] - a[0]);
        for (const vertex of part) isIn[vertex] = 0;
        for (const one of rest) parts.push(one);
      }
    }
    return true;
  }

  #complete(id: WaitId): number {
    const table = this.#table;
    let count = 0;
    for (let slot = table.slotOf(id); slot >= 0; slot = table.slotOf(id)) {
      const out = table.firstOut(slot);
      table.remove(out >= 0 ? out : table.firstIn(slot));
      count++;
    }
    return count;
  }

  #waitAt(wait: number): Wait {
    const table = this.#table;
    return {
      waiter: table.idOf(table.waiter(wait))!,
      holder: table.idOf(table.holder(wait))!,
      resource: table.resource(wait),
      sinceUs: table.since(wait),
      priority: table.priority(wait),
    };
  }

  /** All waits of one participant for another, the oldest first. */
  #between(waiter: number, holder: number): Wait[] {
    const table = this.#table, waits: Wait[] = [];
    for (let wait = table.firstOut(waiter); wait >= 0; wait = table.nextOut(wait)) {
      if (table.holder(wait) === holder) waits.push(this.#waitAt(wait));
    }
    return waits.sort((a, b) => a.sinceUs - b.sinceUs || compareResources(a, b));
  }

  #candidates(cycle: readonly WaitId[]): Candidate[] {
    return cycle.map((id, at) => {
      const next = cycle[(at + 1) % cycle.length];
      const waits = this.#between(this.#table.slotOf(id), this.#table.slotOf(next));
      const priority = waits.reduce((most, { priority }) => Math.max(most, priority), 0);
      return { id, sinceUs: waits[0].sinceUs, priority };
    });
  }

  #cycleOf(
    { slots, ids }: WaitComponent,
    places: Int32Array,
    nowUs: number,
    stuck: number,
    ageHalfUs: number,
  ): WaitCycle {
    const waits: Wait[] = [];
    let sinceUs = -Infinity;
    places.forEach((place, at) => {
      const next = places[(at + 1) % places.length];
      const step = this.#between(slots[place], slots[next]);
      sinceUs = Math.max(sinceUs, step[0].sinceUs);
      for (const wait of step) waits.push(wait);
    });
    const ageUs = Math.max(0, nowUs - sinceUs);
    return {
      participants: Array.from(places, (place) => ids[place]),
      waits,
      sinceUs,
      severity: severityOf(places.length, ageUs, stuck, ageHalfUs),
    };
  }

  /** How many cannot go on before one of some does, they included. `seenBy` says who was counted by which question. */
  #stuckBehind(slots: Int32Array, seenBy: Int32Array, question: number): number {
    const table = this.#table, queue = Array.from(slots);
    for (const slot of queue) seenBy[slot] = question;
    for (let at = 0; at < queue.length; at++) {
      for (let wait = table.firstIn(queue[at]); wait >= 0; wait = table.nextIn(wait)) {
        const waiter = table.waiter(wait);
        if (seenBy[waiter] === question) continue;
        seenBy[waiter] = question;
        queue.push(waiter);
      }
    }
    return queue.length;
  }

  /** All participants, by how many have to go on one behind the other before them, then by id. */
  #order(): WaitId[] | undefined {
    const table = this.#table, open = new Int32Array(table.slotsMax);
    let level: number[] = [];
    for (const slot of table.slots()) {
      for (let wait = table.firstOut(slot); wait >= 0; wait = table.nextOut(wait)) open[slot]++;
      if (open[slot] === 0) level.push(slot);
    }
    const order: WaitId[] = [];
    while (level.length > 0) {
      const next: number[] = [];
      level.sort((a, b) => compareIds(table.idOf(a)!, table.idOf(b)!));
      for (const slot of level) {
        order.push(table.idOf(slot)!);
        for (let wait = table.firstIn(slot); wait >= 0; wait = table.nextIn(wait)) {
          if (--open[table.waiter(wait)] === 0) next.push(table.waiter(wait));
        }
      }
      level = next;
    }
    return order.length === this.participants ? order : undefined;
  }
}

function* eachCycle(components: readonly WaitComponent[]): IterableIterator<WaitId[]> {
  for (const component of components) {
    for (const places of cyclesOf(component)) {
      yield Array.from(places, (place) => component.ids[place]);
    }
  }
}

function checkWaitId(name: string, id: unknown): WaitId {
  if (typeof id === "string" || typeof id === "bigint") return id;
  if (typeof id === "number") return checkInteger(name, id, -(2 ** 53 - 1), 2 ** 53 - 1, "usage");
  throw new MmsbError(
    "usage",
    `Cannot use a value of type ${id === null ? "null" : typeof id} as ${name}: give a text, an ` +
      "integer or a bigint",
    { values: { name } },
  );
}

function checkedDetection(options: DetectOptions): Required<DetectOptions> {
  checkKeys("WaitGraph.detect", checkType("options", options, "object"), [
    "nowUs",
    "limit",
    "ageHalfUs",
  ]);
  const { nowUs, limit = WAIT_CYCLES_DEFAULT, ageHalfUs = AGE_HALF_US_DEFAULT } = options;
  checkNumber("nowUs", nowUs, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  checkInteger("limit", limit, 1, WAIT_CYCLES_MAX);
  checkNumber("ageHalfUs", ageHalfUs, 1, Number.MAX_SAFE_INTEGER);
  return { nowUs, limit, ageHalfUs };
}

function compareResources(a: Wait, b: Wait): number {
  if (a.resource === undefined || b.resource === undefined) {
    return Number(a.resource !== undefined) - Number(b.resource !== undefined);
  }
  return compareIds(a.resource, b.resource);
}

type Action = (victim: DeadlockVictim) => unknown;

function actionOf(strategy: DeadlockStrategy, actions: DeadlockActions): Action | undefined {
  checkKeys("WaitGraph.resolve", actions, ["drop", "deliver"]);
  if (strategy === "wait") return undefined;
  const name = strategy === "force-delivery" ? "deliver" : "drop";
  if (actions[name] === undefined) {
    throw new MmsbError(
      "usage",
      `Cannot resolve deadlocks by ${strategy} without the action ${name}: give what really does it`,
      { values: { strategy, action: name } },
    );
  }
  checkType(`action ${name}`, actions[name], "function");
  return (victim) => actions[name]!(victim);
}

/** Has an action done. What it throws names those that are done already. */
function act(
  action: Action | undefined,
  victim: DeadlockVictim,
  done: readonly DeadlockVictim[],
): void {
  let cause: unknown;
  try {
    const result = action!(victim);
    if (typeof (result as { then?: unknown } | undefined)?.then !== "function") return;
    cause = new MmsbError("usage", "The action gives a promise: it must be done when it returns");
  } catch (error) {
    cause = error;
  }
  throw new MmsbError(
    isMmsbError(cause) ? cause.code : "usage",
    `Cannot ${victim.action} ${victim.id} to end a deadlock: ${reasonOf(cause)}`,
    { values: { victim: victim.id, done: done.map(({ id }) => id) }, cause },
  );
}

function throwEndless(count: number): never {
  throw new MmsbError(
    "limit",
    `Cannot end deadlocks as new ones came up with ${count} victims: let the actions add no waits`,
    { values: { count } },
  );
}
