/**
 * Table of waits: who waits for whom, as a graph in columns that grows and shrinks.
 *
 * Participants and waits have slots that are used again. Each wait is in two lists, those of its waiter and those of its
 * holder, linked both ways, so that it comes and goes in a few steps; a participant is there as long as it
 * has a wait on either side.
 *
 * Cost: 44 bytes a wait and some 100 for the map that finds one again; 16 bytes a participant and its name.
 */

import type { WaitId } from "./wait_graph.ts";

/** Numbers that grow. */
function grown<A extends Int32Array | Float64Array>(values: A, length: number): A {
  if (length < values.length) return values;
  const more = new (values.constructor as new (length: number) => A)(2 * values.length);
  more.set(values);
  return more;
}

/** Key by which equal ids are found: 1, 1n and "1" are three. */
export function keyOf(id: WaitId | undefined): string {
  return id === undefined ? "" : `${(typeof id)[0]}${id}`;
}

/** Order of ids: numbers and bigints by value, then texts by their characters. */
export function compareIds(a: WaitId, b: WaitId): number {
  const isText = typeof a === "string";
  if (isText !== (typeof b === "string")) return isText ? 1 : -1;
  if (a < b) return -1;
  if (a > b) return 1;
  // 1 and 1n are two ids.
  return Number(typeof a === "bigint") - Number(typeof b === "bigint");
}

/** The waits of a graph. Slots of participants and of waits are numbers; −1 ends a list. */
export class WaitTable {
  readonly #slots = new Map<WaitId, number>();
  readonly #waits = new Map<string, number>();
  readonly #ids: (WaitId | undefined)[] = [];
  readonly #resources: (WaitId | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  readonly #freeWaits: number[] = [];
  #firstOut = new Int32Array(64);
  #firstIn = new Int32Array(64);
  #waiter = new Int32Array(64);
  #holder = new Int32Array(64);
  #nextOut = new Int32Array(64);
  #previousOut = new Int32Array(64);
  #nextIn = new Int32Array(64);
  #previousIn = new Int32Array(64);
  #since = new Float64Array(64);
  #priority = new Int32Array(64);

  /** Waits. */
  get waitCount(): number {
    return this.#waits.size;
  }

  /** Participants. */
  get participantCount(): number {
    return this.#slots.size;
  }

  /** Slots of participants that were ever used: a number above all of them. */
  get slotsMax(): number {
    return this.#ids.length;
  }

  /** Slot of a participant, −1 where it has no waits. */
  slotOf(id: WaitId): number {
    return this.#slots.get(id) ?? -1;
  }

  /** Id of the participant in a slot, `undefined` for a free one. */
  idOf(slot: number): WaitId | undefined {
    return this.#ids[slot];
  }

  /** Slots of all participants. */
  slots(): Iterable<number> {
    return this.#slots.values();
  }

  /** The first wait of a participant for others. */
  firstOut(slot: number): number {
    return this.#firstOut[slot];
  }

  /** The next one. */
  nextOut(wait: number): number {
    return this.#nextOut[wait];
  }

  /** The first wait of others for a participant. */
  firstIn(slot: number): number {
    return this.#firstIn[slot];
  }

  /** The next one. */
  nextIn(wait: number): number {
    return this.#nextIn[wait];
  }

  /** Slot of who waits. */
  waiter(wait: number): number {
    return this.#waiter[wait];
  }

  /** Slot of who is waited for. */
  holder(wait: number): number {
    return this.#holder[wait];
  }

  /** What is waited for. */
  resource(wait: number): WaitId | undefined {
    return this.#resources[wait];
  }

  /** Since when. */
  since(wait: number): number {
    return this.#since[wait];
  }

  /** Its priority. */
  priority(wait: number): number {
    return this.#priority[wait];
  }

  /** The wait of one for another and a resource; −1 where there is none. */
  find(waiter: WaitId, holder: WaitId, resource: WaitId | undefined): number {
    const from = this.slotOf(waiter), to = this.slotOf(holder);
    if (from < 0 || to < 0) return -1;
    return this.#waits.get(`${from} ${to} ${keyOf(resource)}`) ?? -1;
  }

  /** Adds a wait that is not there. */
  add(
    waiter: WaitId,
    holder: WaitId,
    resource: WaitId | undefined,
    since: number,
    priority: number,
  ): void {
    const from = this.#enter(waiter), to = this.#enter(holder);
    const wait = this.#freeWaits.pop() ?? this.#resources.length;
    this.#reserveWaits(wait);
    this.#waits.set(`${from} ${to} ${keyOf(resource)}`, wait);
    this.#resources[wait] = resource;
    this.#waiter[wait] = from;
    this.#holder[wait] = to;
    this.#since[wait] = since;
    this.#priority[wait] = priority;
    const out = this.#firstOut[from], into = this.#firstIn[to];
    this.#nextOut[wait] = out;
    this.#nextIn[wait] = into;
    this.#previousOut[wait] = this.#previousIn[wait] = -1;
    if (out >= 0) this.#previousOut[out] = wait;
    if (into >= 0) this.#previousIn[into] = wait;
    this.#firstOut[from] = wait;
    this.#firstIn[to] = wait;
  }

  /** Removes a wait; participants that have none any more go with it. */
  remove(wait: number): void {
    const from = this.#waiter[wait], to = this.#holder[wait];
    this.#waits.delete(`${from} ${to} ${keyOf(this.#resources[wait])}`);
    const nextOut = this.#nextOut[wait], previousOut = this.#previousOut[wait];
    if (previousOut >= 0) this.#nextOut[previousOut] = nextOut;
    else this.#firstOut[from] = nextOut;
    if (nextOut >= 0) this.#previousOut[nextOut] = previousOut;
    const nextIn = this.#nextIn[wait], previousIn = this.#previousIn[wait];
    if (previousIn >= 0) this.#nextIn[previousIn] = nextIn;
    else this.#firstIn[to] = nextIn;
    if (nextIn >= 0) this.#previousIn[nextIn] = previousIn;
    this.#resources[wait] = undefined;
    this.#waiter[wait] = this.#holder[wait] = -1;
    this.#freeWaits.push(wait);
    this.#leave(from);
    if (to !== from) this.#leave(to);
  }

  #enter(id: WaitId): number {
    const known = this.#slots.get(id);
    if (known !== undefined) return known;
    const slot = this.#freeSlots.pop() ?? this.#ids.length;
    this.#firstOut = grown(this.#firstOut, slot);
    this.#firstIn = grown(this.#firstIn, slot);
    this.#firstOut[slot] = this.#firstIn[slot] = -1;
    this.#ids[slot] = id;
    this.#slots.set(id, slot);
    return slot;
  }

  #leave(slot: number): void {
    if (this.#firstOut[slot] >= 0 || this.#firstIn[slot] >= 0) return;
    this.#slots.delete(this.#ids[slot]!);
    this.#ids[slot] = undefined;
    this.#freeSlots.push(slot);
  }

  #reserveWaits(wait: number): void {
    if (wait < this.#waiter.length) return;
    this.#waiter = grown(this.#waiter, wait);
    this.#holder = grown(this.#holder, wait);
    this.#nextOut = grown(this.#nextOut, wait);
    this.#previousOut = grown(this.#previousOut, wait);
    this.#nextIn = grown(this.#nextIn, wait);
    this.#previousIn = grown(this.#previousIn, wait);
    this.#since = grown(this.#since, wait);
    this.#priority = grown(this.#priority, wait);
  }

  /** The rule that is broken, in words; `undefined` where all hold. */
  fault(): string | undefined {
    let out = 0, into = 0;
    for (const [id, slot] of this.#slots) {
      if (this.#ids[slot] !== id) return "a slot has the id that finds it";
      if (this.#firstOut[slot] < 0 && this.#firstIn[slot] < 0) return "a participant has a wait";
      for (let wait = this.#firstOut[slot], before = -1; wait >= 0; wait = this.#nextOut[wait]) {
        if (this.#waiter[wait] !== slot || this.#previousOut[wait] !== before) return "lists out";
        before = wait;
        out++;
      }
      for (let wait = this.#firstIn[slot], before = -1; wait >= 0; wait = this.#nextIn[wait]) {
        if (this.#holder[wait] !== slot || this.#previousIn[wait] !== before) return "lists in";
        before = wait;
        into++;
      }
    }
    if (out !== this.#waits.size || into !== out) return "every wait is in two lists";
    const free = this.#freeWaits.length + out === this.#resources.length &&
      this.#freeSlots.length + this.#slots.size === this.#ids.length;
    return free ? undefined : "a slot is used or free";
  }
}
