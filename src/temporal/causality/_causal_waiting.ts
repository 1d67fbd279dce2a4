/**
 * The messages that wait, each for one other message: the first that it depends on and that is not here.
 *
 * Two hash tables over the same slots, chained through columns: one finds those that wait for (node, count), so that
 * a delivery costs what it sets free and not a look at all that wait; the other finds a message by
 * (sender, sequence), for duplicates. A woken message goes on looking where it stopped, so each entry of its vector is
 * looked at once, however often it is woken.
 *
 * Cost: some 50 bytes a slot and no object; slots double, and go back to the smallest size when the last message has left.
 */
import { assert } from "../../base/assert.ts";
import type { CausalMessage } from "./causal_message.ts";

/** No slot. */
export const NO_SLOT = -1;

const CAPACITY_MIN = 64;
const CAPACITY_KEPT = 4096;

/** Messages by what they wait for and by what they are. */
export class WaitingMessages<T> {
  #messages: (CausalMessage<T> | undefined)[] = [];
  /** What a slot holds; beside the message, so that looking for one does not touch those of its bucket. */
  #senders = new Uint16Array(0);
  #sequences = new Float64Array(0);
  /** What a slot waits for. */
  #nodes = new Uint16Array(0);
  #counts = new Float64Array(0);
  /** Where in its vector that stands. */
  #places = new Uint16Array(0);
  #bytes = new Float64Array(0);
  /** Next that waits in the same chain, next free slot, or next of those just woken. */
  #nextWaiting = new Int32Array(0);
  #nextTwin = new Int32Array(0);
  #waitingHeads = new Int32Array(0);
  #twinHeads = new Int32Array(0);
  #free = NO_SLOT;
  #count = 0;
  #byteCount = 0;

  constructor() {
    this.#reset();
  }

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** Their bytes. */
  get byteCount(): number {
    return this.#byteCount;
  }

  /** The message in a slot. */
  message(slot: number): CausalMessage<T> {
    return this.#messages[slot]!;
  }

  /** Its bytes. */
  bytes(slot: number): number {
    return this.#bytes[slot];
  }

  /** Where in its vector it stopped. */
  place(slot: number): number {
    return this.#places[slot];
  }

  /** The next of those that {@linkcode WaitingMessages.wake} gave. */
  next(slot: number): number {
    return this.#nextWaiting[slot];
  }

  /** Whether a message waits. */
  has(sender: number, sequence: number): boolean {
    for (
      let slot = this.#twinHeads[this.#bucket(sender, sequence)];
      slot !== NO_SLOT;
      slot = this.#nextTwin[slot]
    ) {
      if (this.#sequences[slot] === sequence && this.#senders[slot] === sender) return true;
    }
    return false;
  }

  /** Adds a message; {@linkcode WaitingMessages.wait} says for what. */
  add(message: CausalMessage<T>, bytes: number): number {
    if (this.#free === NO_SLOT) this.#grow();
    const slot = this.#free;
    this.#free = this.#nextWaiting[slot];
    this.#messages[slot] = message;
    this.#bytes[slot] = bytes;
    this.#byteCount += bytes;
    this.#count++;
    this.#addTwin(slot, message.node, message.sequence);
    return slot;
  }

  /** Says what a slot waits for, and where in its vector that stands. */
  wait(slot: number, node: number, count: number, place: number): void {
    this.#nodes[slot] = node;
    this.#counts[slot] = count;
    this.#places[slot] = place;
    const bucket = this.#bucket(node, count);
    this.#nextWaiting[slot] = this.#waitingHeads[bucket];
    this.#waitingHeads[bucket] = slot;
  }

  /** Takes out of their chain those that wait for this; gives the first, see {@linkcode WaitingMessages.next}. */
  wake(node: number, count: number): number {
    const next = this.#nextWaiting, bucket = this.#bucket(node, count);
    let woken = NO_SLOT, before = NO_SLOT;
    for (let slot = this.#waitingHeads[bucket]; slot !== NO_SLOT;) {
      const after = next[slot];
      if (this.#counts[slot] === count && this.#nodes[slot] === node) {
        if (before === NO_SLOT) this.#waitingHeads[bucket] = after;
        else next[before] = after;
        next[slot] = woken;
        woken = slot;
      } else {
        before = slot;
      }
      slot = after;
    }
    return woken;
  }

  /** Takes a message out that is in no chain: it was woken. */
  remove(slot: number): void {
    const bucket = this.#bucket(this.#senders[slot], this.#sequences[slot]), next = this.#nextTwin;
    let at = this.#twinHeads[bucket], before = NO_SLOT;
    while (at !== slot) {
      before = at;
      at = next[at];
    }
    if (before === NO_SLOT) this.#twinHeads[bucket] = next[slot];
    else next[before] = next[slot];
    this.#messages[slot] = undefined;
    this.#byteCount -= this.#bytes[slot];
    this.#nextWaiting[slot] = this.#free;
    this.#free = slot;
    this.#count--;
  }

  /** Gives memory back where nothing waits. Not part of `remove`, behind which woken slots are still looked at. */
  shrink(): void {
    if (this.#count === 0 && this.#messages.length > CAPACITY_KEPT) this.#reset();
  }

  /** Calls back with every slot in use. */
  forEach(visit: (slot: number, message: CausalMessage<T>) => void): void {
    if (this.#count === 0) return;
    for (let slot = 0; slot < this.#messages.length; slot++) {
      const message = this.#messages[slot];
      if (message !== undefined) visit(slot, message);
    }
  }

  /** Calls back with what each slot in use waits for. */
  forEachAwaited(visit: (node: number, count: number) => void): void {
    this.forEach((slot) => visit(this.#nodes[slot], this.#counts[slot]));
  }

  /** Removes messages. All chains are made anew: taking out one by one would look at each long chain many times. */
  removeWhere(isOut: (sender: number, sequence: number) => boolean): void {
    this.#waitingHeads.fill(NO_SLOT);
    this.#twinHeads.fill(NO_SLOT);
    for (let slot = 0; slot < this.#messages.length; slot++) {
      if (this.#messages[slot] === undefined) continue;
      const sender = this.#senders[slot], sequence = this.#sequences[slot];
      if (isOut(sender, sequence)) {
        this.#messages[slot] = undefined;
        this.#byteCount -= this.#bytes[slot];
        this.#release(slot);
        this.#count--;
      } else {
        this.wait(slot, this.#nodes[slot], this.#counts[slot], this.#places[slot]);
        this.#addTwin(slot, sender, sequence);
      }
    }
  }

  /** Every message is in both tables, once, and the counts agree; `isMet` says what is no longer to be waited for. */
  checkInvariants(isMet: (node: number, count: number) => boolean): void {
    let count = 0, bytes = 0, chained = 0;
    this.forEach((slot, message) => {
      count++;
      bytes += this.#bytes[slot];
      assert(this.has(message.node, message.sequence), "A waiting message is found");
      assert(!isMet(this.#nodes[slot], this.#counts[slot]), "What is waited for is missing");
      let at = this.#waitingHeads[this.#bucket(this.#nodes[slot], this.#counts[slot])];
      while (at !== slot && at !== NO_SLOT) at = this.#nextWaiting[at];
      assert(at === slot, "A waiting message can be woken");
    });
    for (const head of this.#twinHeads) {
      for (let slot = head; slot !== NO_SLOT; slot = this.#nextTwin[slot]) chained++;
    }
    let free = 0;
    for (let slot = this.#free; slot !== NO_SLOT; slot = this.#nextWaiting[slot]) free++;
    assert(count === this.#count && chained === count, "Waiting messages are counted");
    assert(free + count === this.#messages.length, "Each slot is free or in use");
    assert(bytes === this.#byteCount, "The bytes of waiting messages are counted");
  }

  #addTwin(slot: number, sender: number, sequence: number): void {
    this.#senders[slot] = sender;
    this.#sequences[slot] = sequence;
    const bucket = this.#bucket(sender, sequence);
    this.#nextTwin[slot] = this.#twinHeads[bucket];
    this.#twinHeads[bucket] = slot;
  }

  #bucket(node: number, count: number): number {
    const mixed = Math.imul(count ^ Math.imul(node, 0x9e37_79b1), 0x85eb_ca6b);
    return (mixed ^ (mixed >>> 15)) & (this.#waitingHeads.length - 1);
  }

  #reset(): void {
    this.#allocate(CAPACITY_MIN);
    this.#messages = new Array(CAPACITY_MIN).fill(undefined);
    this.#free = NO_SLOT;
    for (let slot = CAPACITY_MIN - 1; slot >= 0; slot--) this.#release(slot);
  }

  #release(slot: number): void {
    this.#nextWaiting[slot] = this.#free;
    this.#free = slot;
  }

  #allocate(capacity: number): void {
    this.#senders = new Uint16Array(capacity);
    this.#sequences = new Float64Array(capacity);
    this.#nodes = new Uint16Array(capacity);
    this.#counts = new Float64Array(capacity);
    this.#places = new Uint16Array(capacity);
    this.#bytes = new Float64Array(capacity);
    this.#nextWaiting = new Int32Array(capacity);
    this.#nextTwin = new Int32Array(capacity);
    this.#waitingHeads = new Int32Array(capacity).fill(NO_SLOT);
    this.#twinHeads = new Int32Array(capacity).fill(NO_SLOT);
  }

  /** Doubles. Called where no slot is free and none is woken, so each is in both tables and is put into the new ones. */
  #grow(): void {
    const size = this.#messages.length, capacity = 2 * size;
    const senders = this.#senders, sequences = this.#sequences;
    const nodes = this.#nodes, counts = this.#counts, places = this.#places, bytes = this.#bytes;
    this.#allocate(capacity);
    this.#bytes.set(bytes);
    for (let slot = 0; slot < size; slot++) {
      this.wait(slot, nodes[slot], counts[slot], places[slot]);
      this.#addTwin(slot, senders[slot], sequences[slot]);
    }
    for (let slot = size; slot < capacity; slot++) this.#messages.push(undefined);
    for (let slot = capacity - 1; slot >= size; slot--) this.#release(slot);
  }
}
