/**
 * A bounded ring between any number of threads, each of which may push and pop.
 *
 * It is Dmitry Vyukov's bounded queue ("Bounded MPMC queue", 1024cores.net, 2010): each slot has a sequence number,
 * which says whose turn it is: `p` when the slot waits for the item of position `p`, `p + 1` when that item is in, and
 * `p + capacity` when it is out again. A thread claims positions by one compare-and-swap on the tail or the
 * head, and then has their slots to itself; threads meet only in that one step. Claiming many positions is the
 * same step after looking at as many sequence numbers.
 *
 * What is ours: the closed bit in the tail, so that no item can be claimed behind the close; sleeping; and the handing on
 * of wake-ups. Slots are filled out of order, so the item for which a thread was woken may be hidden behind one that is
 * still being written; therefore whoever takes something and sees more wakes the next.
 *
 * A thread that dies between claiming and publishing (a few dozen instructions) leaves a slot that nobody can pass: use a ring for two
 * threads where threads are killed. A position comes again after 2³¹ items; a thread that is stopped in the one step
 * for exactly that many would be fooled.
 *
 * Cost: a compare-and-swap a call and an atomic store an item on each side, which is some 30 ns singly and 10 ns an item in
 * batches; more with contention.
 */

import { assert } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";
import {
  type Call,
  checkSpan,
  copyIn,
  copyOut,
  type PopOptions,
  type PushOptions,
  refuseClosed,
  refuseFull,
  refuseWord,
  type RingWords,
  withPushed,
} from "./_ring_calls.ts";
import {
  CLOSED,
  createRingMemory,
  HEAD,
  ITEM_SIGNAL,
  ITEM_WANTED,
  POSITION,
  type RingHandle,
  ringMemoryOf,
  type RingOptions,
  ROOM_SIGNAL,
  ROOM_WANTED,
  TAIL,
} from "./ring_memory.ts";
import {
  checkTimeout,
  ManySleepers,
  type WaitOptions,
  waitUntil,
  waitUntilAsync,
  wakeMany,
} from "./_waiting.ts";

/**
 * A bounded ring of items of a fixed number of 32-bit words, between any number of threads.
 *
 * Items of one producer are popped in its order. Between two threads a {@linkcode SpscRing} is several times as fast.
 *
 * @example Two producers, one ring
 * ```ts
 * import assert from "node:assert/strict";
 * import { MpmcRing } from "@mmsb/mmsb";
 *
 * const ring = MpmcRing.create({ capacity: 4 });
 * const other = MpmcRing.attach(ring.share()); // in another thread: postMessage(ring.share())
 * ring.tryPushWord(1);
 * other.tryPushWord(2);
 *
 * const words = new Int32Array(4);
 * assert.equal(ring.tryPop(words), 2);
 * assert.deepEqual([...words.subarray(0, 2)], [1, 2]);
 * ```
 *
 * @example A full ring refuses, and drops nothing
 * ```ts
 * import assert from "node:assert/strict";
 * import { MpmcRing } from "@mmsb/mmsb";
 *
 * const ring = MpmcRing.create({ capacity: 2 });
 * await ring.pushAsync(Int32Array.of(1, 2));
 * await assert.rejects(ring.pushAsync(Int32Array.of(3), { timeoutMs: 5 }), { code: "memory-pressure" });
 * assert.equal(ring.length, 2);
 * ```
 */
export class MpmcRing {
  /** Most items that the ring holds. */
  readonly capacity: number;
  /** 32-bit words of an item. */
  readonly itemWords: number;
  readonly #memory: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #sequences: Int32Array<SharedArrayBuffer>;
  readonly #data: Int32Array<SharedArrayBuffer>;
  readonly #mask: number;
  readonly #spins: number;
  readonly #forItems: ManySleepers;
  readonly #forRoom: ManySleepers;

  private constructor(handle: RingHandle) {
    const ring = ringMemoryOf("mpmc-ring", handle);
    this.capacity = ring.capacity;
    this.itemWords = ring.itemWords;
    this.#memory = ring.memory;
    this.#words = ring.words;
    this.#sequences = ring.sequences;
    this.#data = ring.data;
    this.#mask = ring.capacity - 1;
    this.#spins = ring.spins;
    this.#forItems = new ManySleepers(ring.words, ITEM_WANTED, ITEM_SIGNAL);
    this.#forRoom = new ManySleepers(ring.words, ROOM_WANTED, ROOM_SIGNAL);
  }

  /**
   * Makes an empty ring.
   *
   * @param options Items that it holds (a power of two, at least 2), words of an item, spins before a sleep.
   * @returns The ring.
   * @throws {MmsbError} `usage` or `limit` for options that cannot be, `allocation` where there is no memory.
   */
  static create(options: RingOptions): MpmcRing {
    return new MpmcRing({ kind: "mpmc-ring", memory: createRingMemory("mpmc-ring", options) });
  }

  /**
   * Attaches a ring of another thread.
   *
   * @param handle What {@linkcode share} gave.
   * @returns The ring, as this thread sees it.
   * @throws {MmsbError} `usage` where it is no such handle.
   */
  static attach(handle: RingHandle): MpmcRing {
    return new MpmcRing(handle);
  }

  /** Gives what another thread attaches, for `postMessage`. */
  share(): RingHandle {
    return { kind: "mpmc-ring", memory: this.#memory };
  }

  /** Items in the ring or being pushed now; other threads may change that at once. */
  get length(): number {
    const head = Atomics.load(this.#words, HEAD);
    return ((Atomics.load(this.#words, TAIL) & POSITION) - head) & POSITION;
  }

  /** Whether {@linkcode close} was called, in any thread. */
  get closed(): boolean {
    return Atomics.load(this.#words, TAIL) < 0;
  }

  /**
   * Pushes an item of one word, if there is room.
   *
   * @param value An integer of 32 bits, signed or not.
   * @returns Whether there was room.
   * @throws {MmsbError} `closed`; `usage` for another value, or where items have more words.
   */
  tryPushWord(value: number): boolean {
    if (typeof value !== "number" || (value | 0) !== value && (value >>> 0) !== value) {
      refuseWord(value);
    }
    if (this.itemWords !== 1) refuseWord(value, this.itemWords);
    for (;;) {
      const tail = Atomics.load(this.#words, TAIL);
      if (tail < 0) refuseClosed("push");
      const slot = tail & this.#mask;
      const next = (tail + 1) & POSITION;
      if (Atomics.load(this.#sequences, slot) === tail) {
        if (Atomics.compareExchange(this.#words, TAIL, tail, next) !== tail) continue;
        this.#data[slot] = value;
        Atomics.store(this.#sequences, slot, next);
        this.#wakeForItems(1);
        this.#passOnRoom(next);
        return true;
      }
      // Where nobody moved the tail meanwhile, the slot's last item has not been popped yet.
      if (Atomics.load(this.#words, TAIL) === tail) return false;
    }
  }

  /**
   * Pops an item of one word, if there is one.
   *
   * @returns The word, from 0 to 2³² − 1; −1 where the ring is empty.
   * @throws {MmsbError} `usage` where items have more words.
   */
  tryPopWord(): number {
    if (this.itemWords !== 1) refuseWord(-1, this.itemWords);
    for (;;) {
      const head = Atomics.load(this.#words, HEAD);
      const slot = head & this.#mask;
      const next = (head + 1) & POSITION;
      if (Atomics.load(this.#sequences, slot) === next) {
        if (Atomics.compareExchange(this.#words, HEAD, head, next) !== head) continue;
        const value = this.#data[slot] >>> 0;
        Atomics.store(this.#sequences, slot, (head + this.capacity) & POSITION);
        this.#wakeForRoom(1);
        this.#passOnItems(next);
        return value;
      }
      if (Atomics.load(this.#words, HEAD) === head) return -1;
    }
  }

  /**
   * Pushes as many items as there is room for; they stand together.
   *
   * @param source Their words.
   * @param start First word of the first one; 0 if left out.
   * @param count Items; all whole ones behind `start` if left out.
   * @returns Items pushed, the first ones; 0 where the ring is full.
   * @throws {MmsbError} `closed`; `usage` or `out-of-bounds` for a span that cannot be.
   */
  tryPush(source: RingWords, start?: number, count?: number): number {
    const from = start ?? 0;
    const wanted = checkSpan("push", source, from, count, this.itemWords);
    if (wanted === 0) return 0;
    for (;;) {
      const tail = Atomics.load(this.#words, TAIL);
      if (tail < 0) refuseClosed("push");
      const items = this.#turns(tail, 0, wanted);
      if (items === 0) {
        if (Atomics.load(this.#words, TAIL) === tail) return 0;
        continue;
      }
      const next = (tail + items) & POSITION;
      if (Atomics.compareExchange(this.#words, TAIL, tail, next) !== tail) continue;
      const slot = tail & this.#mask;
      copyIn(source, from, this.#data, slot, items, this.itemWords, this.capacity);
      this.#pass(tail, 1, items);
      this.#wakeForItems(items);
      this.#passOnRoom(next);
      return items;
    }
  }

  /**
   * Pops as many items as are there.
   *
   * @param target Takes their words.
   * @param start Where the first one goes; 0 if left out.
   * @param count Most items; as many as fit behind `start` if left out.
   * @returns Items popped; 0 where the ring is empty.
   * @throws {MmsbError} `usage` or `out-of-bounds` for a span that cannot be.
   */
  tryPop(target: RingWords, start?: number, count?: number): number {
    const to = start ?? 0;
    const wanted = checkSpan("pop", target, to, count, this.itemWords);
    if (wanted === 0) return 0;
    for (;;) {
      const head = Atomics.load(this.#words, HEAD);
      const items = this.#turns(head, 1, wanted);
      if (items === 0) {
        if (Atomics.load(this.#words, HEAD) === head) return 0;
        continue;
      }
      const next = (head + items) & POSITION;
      if (Atomics.compareExchange(this.#words, HEAD, head, next) !== head) continue;
      const slot = head & this.#mask;
      copyOut(this.#data, slot, target, to, items, this.itemWords, this.capacity);
      this.#pass(head, this.capacity, items);
      this.#wakeForRoom(items);
      this.#passOnItems(next);
      return items;
    }
  }

  /**
   * Pushes all items, and blocks this thread while there is no room. Items of other producers may come between.
   *
   * @param source Their words.
   * @param options Span and time.
   * @throws {MmsbError} `memory-pressure` where time is up (`values.pushed` items are in, the others are not);
   * `closed`, with the same value; `usage` or `out-of-bounds` for a span that cannot be.
   */
  push(source: RingWords, options: PushOptions = {}): void {
    const call = this.#pushCall(source, options);
    if (waitUntil(this.#forRoom, call.attempt, call.timeoutMs, this.#spins)) return;
    refuseFull(this.capacity, call.timeoutMs, call.done());
  }

  /**
   * Pushes all items, and waits without blocking while there is no room.
   *
   * @param source Their words, which must stay as they are until the promise settles.
   * @param options Span and time.
   * @returns Settles when all are in; rejects as {@linkcode push} throws.
   */
  async pushAsync(source: RingWords, options: PushOptions = {}): Promise<void> {
    const call = this.#pushCall(source, options);
    if (await waitUntilAsync(this.#forRoom, call.attempt, call.timeoutMs)) return;
    refuseFull(this.capacity, call.timeoutMs, call.done());
  }

  /**
   * Pops at least one item, and blocks this thread while there is none.
   *
   * @param target Takes their words.
   * @param options Span and time.
   * @returns Items popped; 0 where time is up.
   * @throws {MmsbError} `closed` where the ring is closed and empty; `usage` or `out-of-bounds` for a span that
   * cannot be.
   */
  pop(target: RingWords, options: PopOptions = {}): number {
    const call = this.#popCall(target, options);
    waitUntil(this.#forItems, call.attempt, call.timeoutMs, this.#spins);
    return call.done();
  }

  /**
   * Pops at least one item, and waits without blocking while there is none. The process stays alive meanwhile.
   *
   * @param target Takes their words.
   * @param options Span and time.
   * @returns Items popped; 0 where time is up. Rejects as {@linkcode pop} throws.
   */
  async popAsync(target: RingWords, options: PopOptions = {}): Promise<number> {
    const call = this.#popCall(target, options);
    await waitUntilAsync(this.#forItems, call.attempt, call.timeoutMs);
    return call.done();
  }

  /**
   * Pushes an item of one word, and blocks this thread while there is no room.
   *
   * @param value An integer of 32 bits, signed or not.
   * @param options How long to wait.
   * @throws {MmsbError} As {@linkcode push} and {@linkcode tryPushWord}.
   */
  pushWord(value: number, options: WaitOptions = {}): void {
    if (this.tryPushWord(value)) return;
    this.push(Int32Array.of(value), options);
  }

  /**
   * Pops an item of one word, and blocks this thread while there is none.
   *
   * @param options How long to wait.
   * @returns The word, from 0 to 2³² − 1; −1 where time is up.
   * @throws {MmsbError} As {@linkcode pop} and {@linkcode tryPopWord}.
   */
  popWord(options: WaitOptions = {}): number {
    const value = this.tryPopWord();
    if (value >= 0) return value;
    const target = new Uint32Array(1);
    return this.pop(target, options) === 0 ? -1 : target[0];
  }

  /**
   * Closes the ring for all, from any thread: pushes throw `closed` from now on, what is in can still be popped,
   * and whoever sleeps wakes. Again: nothing.
   */
  close(): void {
    Atomics.or(this.#words, TAIL, CLOSED);
    wakeMany(this.#words, ITEM_SIGNAL, Infinity);
    wakeMany(this.#words, ROOM_SIGNAL, Infinity);
  }

  /** Checks what must hold of the shared words while no thread is inside a call. */
  checkInvariants(): void {
    const head = Atomics.load(this.#words, HEAD), { length } = this;
    assert(length <= this.capacity, "A ring holds no more items than it has room for");
    for (let i = 0; i < this.capacity; i++) {
      const turn = i < length ? 1 : 0;
      const sequence = Atomics.load(this.#sequences, (head + i) & this.#mask);
      assert(
        sequence === ((head + i + turn) & POSITION),
        "A slot's sequence says whose turn it is",
      );
    }
    for (const at of [ITEM_WANTED, ROOM_WANTED]) {
      assert(Atomics.load(this.#words, at) >= 0, "No fewer than none sleep");
    }
  }

  /** How many slots from a position on have come to their turn. */
  #turns(position: number, turn: number, max: number): number {
    const most = max < this.capacity ? max : this.capacity;
    let items = 0;
    while (
      items < most &&
      Atomics.load(this.#sequences, (position + items) & this.#mask) ===
        ((position + items + turn) & POSITION)
    ) items++;
    return items;
  }

  /** Passes claimed slots on to the next turn, in order. */
  #pass(position: number, turn: number, items: number): void {
    for (let i = 0; i < items; i++) {
      const at = position + i;
      Atomics.store(this.#sequences, at & this.#mask, (at + turn) & POSITION);
    }
  }

  #wakeForItems(items: number): void {
    if (Atomics.load(this.#words, ITEM_WANTED) !== 0) wakeMany(this.#words, ITEM_SIGNAL, items);
  }

  #wakeForRoom(items: number): void {
    if (Atomics.load(this.#words, ROOM_WANTED) !== 0) wakeMany(this.#words, ROOM_SIGNAL, items);
  }

  /**
   * After a pop: a wake-up that was ours alone may have been for the items behind, too. And where that was the last
   * item of a closed ring, those who waited for it wait for nothing now.
   */
  #passOnItems(position: number): void {
    if (Atomics.load(this.#words, ITEM_WANTED) === 0) return;
    if (this.#turns(position, 1, 1) === 1) wakeMany(this.#words, ITEM_SIGNAL, 1);
    else if (this.#drained()) wakeMany(this.#words, ITEM_SIGNAL, Infinity);
  }

  /** After a push, the same for room. */
  #passOnRoom(position: number): void {
    if (Atomics.load(this.#words, ROOM_WANTED) !== 0 && this.#turns(position, 0, 1) === 1) {
      wakeMany(this.#words, ROOM_SIGNAL, 1);
    }
  }

  #pushCall(source: RingWords, options: PushOptions): Call {
    const { start = 0, count, timeoutMs } = options;
    const wanted = checkSpan("push", source, start, count, this.itemWords);
    let done = 0;
    return {
      timeoutMs: checkTimeout(timeoutMs),
      done: () => done,
      attempt: () => {
        try {
          done += this.tryPush(source, start + done * this.itemWords, wanted - done);
        } catch (error) {
          throw withPushed(error, done);
        }
        return done === wanted;
      },
    };
  }

  #popCall(target: RingWords, options: PopOptions): Call {
    const { start = 0, count, timeoutMs } = options;
    const wanted = checkSpan("pop", target, start, count, this.itemWords);
    if (wanted === 0) throw new MmsbError("usage", "Cannot wait for no items: give room for one");
    let done = 0;
    return {
      timeoutMs: checkTimeout(timeoutMs),
      done: () => done,
      attempt: () => {
        done = this.tryPop(target, start, wanted);
        // Closed with an item that is still being written: it comes, and its producer wakes us.
        if (done === 0 && this.#drained()) refuseClosed("pop");
        return done > 0;
      },
    };
  }

  /** Whether the ring is closed and all that was claimed before has been popped. */
  #drained(): boolean {
    const tail = Atomics.load(this.#words, TAIL);
    return tail < 0 && (tail & POSITION) === Atomics.load(this.#words, HEAD);
  }
}
