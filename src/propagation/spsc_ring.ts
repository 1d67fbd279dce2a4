/**
 * A bounded ring between two threads: one pushes, one pops. The write path of the bus.
 *
 * Each side keeps its own position in a field and remembers what it last saw of the other's, so that it reads
 * the other's line only where the ring looks full or empty by what it remembers. An item is published by the
 * one atomic step that moves the tail, behind its words; many items by one step as well. That step is a
 * compare-and-swap: it costs what a store costs, and finds out that the ring was closed, or that somebody else
 * pushes.
 *
 * Nothing is ever dropped: a push waits, gives the number of items that had room, or throws.
 *
 * Cost: some 10 ns an item pushed or popped singly, below 1 ns a word in batches of 64 and more; a load more to see
 * whether the other side sleeps. Room is given back with every pop, so that a ring is full only with `capacity` items.
 */

import { assert } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";
import {
  CLOSED,
  createRingMemory,
  HEAD,
  ITEM_WANTED,
  POSITION,
  type RingHandle,
  ringMemoryOf,
  type RingOptions,
  ROOM_WANTED,
  TAIL,
} from "./ring_memory.ts";
import {
  type Call,
  checkCount,
  checkSpan,
  copyIn,
  copyOut,
  type PopOptions,
  type PushOptions,
  refuseClosed,
  refuseFull,
  refuseSecond,
  refuseWord,
  type RingWords,
  withPushed,
} from "./_ring_calls.ts";
import {
  checkTimeout,
  OneSleeper,
  type WaitOptions,
  waitUntil,
  waitUntilAsync,
  wakeOne,
} from "./_waiting.ts";

/**
 * A bounded ring of items of a fixed number of 32-bit words, between one thread that pushes and one that pops.
 *
 * Make it in one thread, send `share()` to the other and attach it there. Calls of one thread: `tryPush`, `push`,
 * `pushAsync`, `tryPushWord`, `pushWord`, `reserve` and `commit`; of the other: `tryPop`, `pop`, `popAsync`,
 * `tryPopWord`, `popWord`, `peek` and `release`. Blocking calls belong in workers, asynchronous ones in the main thread.
 *
 * @example Through a ring
 * ```ts
 * import assert from "node:assert/strict";
 * import { SpscRing } from "@mmsb/mmsb";
 *
 * const ring = SpscRing.create({ capacity: 4, itemWords: 2 });
 * const there = SpscRing.attach(ring.share()); // in another thread: postMessage(ring.share())
 *
 * ring.push(Int32Array.of(1, 10, 2, 20, 3, 30));
 * const items = new Int32Array(8);
 * assert.equal(there.tryPop(items), 3);
 * assert.deepEqual([...items.subarray(0, 6)], [1, 10, 2, 20, 3, 30]);
 * ```
 *
 * @example Without copying
 * ```ts
 * import assert from "node:assert/strict";
 * import { SpscRing } from "@mmsb/mmsb";
 *
 * const ring = SpscRing.create({ capacity: 8 });
 * const room = ring.reserve(3); // as many of 3 items as lie in one piece
 * for (let i = 0; i < room; i++) ring.data[ring.reservedAt + i] = i;
 * ring.commit(room);
 *
 * const ready = ring.peek(8);
 * let sum = 0;
 * for (let i = 0; i < ready; i++) sum += ring.data[ring.peekedAt + i];
 * ring.release(ready);
 * assert.equal(sum, 3);
 * ```
 */
export class SpscRing {
  /** Most items that the ring holds. */
  readonly capacity: number;
  /** 32-bit words of an item. */
  readonly itemWords: number;
  /** The items' words in shared memory, for {@linkcode reserve} and {@linkcode peek}. */
  readonly data: Int32Array<SharedArrayBuffer>;
  readonly #memory: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #mask: number;
  readonly #spins: number;
  readonly #forItems: OneSleeper;
  readonly #forRoom: OneSleeper;
  /** The pusher's position, and what it last saw of the other's. */
  #tail: number;
  #headSeen: number;
  /** The popper's position, and what it last saw of the other's. */
  #head: number;
  #tailSeen: number;
  #reserved = 0;
  #peeked = 0;
  #pushing = false;
  #popping = false;

  private constructor(handle: RingHandle) {
    const { memory, capacity, itemWords, words, data, spins } = ringMemoryOf("spsc-ring", handle);
    this.capacity = capacity;
    this.itemWords = itemWords;
    this.data = data;
    this.#memory = memory;
    this.#words = words;
    this.#mask = capacity - 1;
    this.#spins = spins;
    this.#forItems = new OneSleeper(words, ITEM_WANTED);
    this.#forRoom = new OneSleeper(words, ROOM_WANTED);
    this.#head = this.#headSeen = Atomics.load(words, HEAD);
    this.#tail = this.#tailSeen = Atomics.load(words, TAIL) & POSITION;
  }

  /**
   * Makes an empty ring.
   *
   * @param options Items that it holds (a power of two, at least 2), words of an item, spins before a sleep.
   * @returns The ring.
   * @throws {MmsbError} `usage` or `limit` for options that cannot be, `allocation` where there is no memory.
   */
  static create(options: RingOptions): SpscRing {
    return new SpscRing({ kind: "spsc-ring", memory: createRingMemory("spsc-ring", options) });
  }

  /**
   * Attaches a ring of another thread. Attach before the first item is pushed or popped here: a thread takes a side over
   * where the ring stands then.
   *
   * @param handle What {@linkcode share} gave.
   * @returns The ring, as this thread sees it.
   * @throws {MmsbError} `usage` where it is no such handle.
   */
  static attach(handle: RingHandle): SpscRing {
    return new SpscRing(handle);
  }

  /** Gives what another thread attaches, for `postMessage`. */
  share(): RingHandle {
    return { kind: "spsc-ring", memory: this.#memory };
  }

  /** Items in the ring now; another thread may change that at once. */
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
    const tail = this.#tail;
    if (((tail - this.#headSeen) & POSITION) >= this.capacity && this.#room() === 0) return false;
    this.data[tail & this.#mask] = value;
    this.#publish(1);
    return true;
  }

  /**
   * Pops an item of one word, if there is one.
   *
   * @returns The word, from 0 to 2³² − 1; −1 where the ring is empty.
   * @throws {MmsbError} `usage` where items have more words.
   */
  tryPopWord(): number {
    if (this.itemWords !== 1) refuseWord(-1, this.itemWords);
    const head = this.#head;
    if (this.#tailSeen === head && this.#ready() === 0) return -1;
    const value = this.data[head & this.#mask] >>> 0;
    this.#free(1);
    return value;
  }

  /**
   * Pushes as many items as there is room for, in one step.
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
    let room = this.capacity - ((this.#tail - this.#headSeen) & POSITION);
    if (room < wanted) room = this.#room();
    const items = room < wanted ? room : wanted;
    if (items === 0) return 0;
    copyIn(source, from, this.data, this.#tail & this.#mask, items, this.itemWords, this.capacity);
    this.#publish(items);
    return items;
  }

  /**
   * Pops as many items as are there, in one step.
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
    let ready = (this.#tailSeen - this.#head) & POSITION;
    if (ready < wanted) ready = this.#ready();
    const items = ready < wanted ? ready : wanted;
    if (items === 0) return 0;
    copyOut(
      this.data,
      this.#head & this.#mask,
      target,
      to,
      items,
      this.itemWords,
      this.capacity,
    );
    this.#free(items);
    return items;
  }

  /**
   * Pushes all items, and blocks this thread while there is no room. More than the ring holds go in parts.
   *
   * @param source Their words.
   * @param options Span and time.
   * @throws {MmsbError} `memory-pressure` where time is up (`values.pushed` items are in, the others are not);
   * `closed`, with the same value; `usage` or `out-of-bounds` for a span that cannot be.
   */
  push(source: RingWords, options: PushOptions = {}): void {
    const call = this.#pushCall(source, options);
    this.#pushing = true;
    try {
      if (!waitUntil(this.#forRoom, call.attempt, call.timeoutMs, this.#spins)) {
        refuseFull(this.capacity, call.timeoutMs, call.done());
      }
    } finally {
      this.#pushing = false;
    }
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
    this.#pushing = true;
    try {
      if (!await waitUntilAsync(this.#forRoom, call.attempt, call.timeoutMs)) {
        refuseFull(this.capacity, call.timeoutMs, call.done());
      }
    } finally {
      this.#pushing = false;
    }
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
    this.#popping = true;
    try {
      waitUntil(this.#forItems, call.attempt, call.timeoutMs, this.#spins);
      return call.done();
    } finally {
      this.#popping = false;
    }
  }

  /**
   * Pops at least one item, and waits without blocking while there is none. The process stays
   * alive meanwhile.
   *
   * @param target Takes their words.
   * @param options Span and time.
   * @returns Items popped; 0 where time is up. Rejects as {@linkcode pop} throws.
   */
  async popAsync(target: RingWords, options: PopOptions = {}): Promise<number> {
    const call = this.#popCall(target, options);
    this.#popping = true;
    try {
      await waitUntilAsync(this.#forItems, call.attempt, call.timeoutMs);
      return call.done();
    } finally {
      this.#popping = false;
    }
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
   * Finds room for items that the caller writes in place: `data`, from word `reservedAt` on. Nobody sees them before
   * {@linkcode commit}.
   *
   * @param count Items wanted.
   * @returns Items that there is room for in one piece, at most `count`: 0 where the ring is full, fewer at its end.
   * @throws {MmsbError} `closed`; `usage` or `out-of-bounds` for a number that cannot be.
   */
  reserve(count: number): number {
    checkCount(count, this.capacity);
    let room = this.capacity - ((this.#tail - this.#headSeen) & POSITION);
    if (room < count) room = this.#room();
    this.#reserved = Math.min(count, room, this.capacity - (this.#tail & this.#mask));
    return this.#reserved;
  }

  /** First word of what {@linkcode reserve} found. */
  get reservedAt(): number {
    return (this.#tail & this.#mask) * this.itemWords;
  }

  /**
   * Publishes items written in place, all in one step.
   *
   * @param count Items, at most what was reserved.
   * @throws {MmsbError} `closed`: none of them is in; `usage` or `out-of-bounds` for more than was reserved.
   */
  commit(count: number): void {
    checkCount(count, this.#reserved);
    this.#reserved = 0;
    if (count > 0) this.#publish(count);
  }

  /**
   * Finds items to be read in place: `data`, from word `peekedAt` on. They stay until {@linkcode release}.
   *
   * @param count Items wanted.
   * @returns Items that lie there in one piece, at most `count`: 0 where the ring is empty, fewer at its end.
   * @throws {MmsbError} `usage` or `out-of-bounds` for a number that cannot be.
   */
  peek(count: number): number {
    checkCount(count, this.capacity);
    let ready = (this.#tailSeen - this.#head) & POSITION;
    if (ready < count) ready = this.#ready();
    this.#peeked = Math.min(count, ready, this.capacity - (this.#head & this.#mask));
    return this.#peeked;
  }

  /** First word of what {@linkcode peek} found. */
  get peekedAt(): number {
    return (this.#head & this.#mask) * this.itemWords;
  }

  /**
   * Gives the room of items back that were read in place.
   *
   * @param count Items, at most what was peeked.
   * @throws {MmsbError} `usage` or `out-of-bounds` for more.
   */
  release(count: number): void {
    checkCount(count, this.#peeked);
    this.#peeked = 0;
    if (count > 0) this.#free(count);
  }

  /**
   * Closes the ring for both sides, from any thread: pushes throw `closed` from now on, what is in can still be
   * popped, and whoever sleeps wakes. Again: nothing.
   */
  close(): void {
    Atomics.or(this.#words, TAIL, CLOSED);
    wakeOne(this.#words, ITEM_WANTED);
    wakeOne(this.#words, ROOM_WANTED);
  }

  /** Checks what must always hold of the shared words. */
  checkInvariants(): void {
    assert(this.length <= this.capacity, "A ring holds no more items than it has room for");
    for (const at of [ITEM_WANTED, ROOM_WANTED]) {
      const flag = Atomics.load(this.#words, at);
      assert(flag === 0 || flag === 1, "A side of a ring between two threads sleeps or does not");
    }
  }

  /** Looks at the popper's position; gives the items that there is room for. */
  #room(): number {
    this.#headSeen = Atomics.load(this.#words, HEAD);
    const room = this.capacity - ((this.#tail - this.#headSeen) & POSITION);
    if (room === 0 && this.closed) refuseClosed("push");
    return room;
  }

  /** Looks at the pusher's position; gives the items that are there. */
  #ready(): number {
    this.#tailSeen = Atomics.load(this.#words, TAIL) & POSITION;
    return (this.#tailSeen - this.#head) & POSITION;
  }

  /** Makes items seen, behind their words. */
  #publish(items: number): void {
    const tail = this.#tail, next = (tail + items) & POSITION;
    const found = Atomics.compareExchange(this.#words, TAIL, tail, next);
    if (found !== tail) refusePublish(found);
    this.#tail = next;
    if (Atomics.load(this.#words, ITEM_WANTED) !== 0) wakeOne(this.#words, ITEM_WANTED);
  }

  /** Gives room back, behind the reading of the words. */
  #free(items: number): void {
    const next = (this.#head + items) & POSITION;
    Atomics.store(this.#words, HEAD, next);
    this.#head = next;
    if (Atomics.load(this.#words, ROOM_WANTED) !== 0) wakeOne(this.#words, ROOM_WANTED);
  }

  #pushCall(source: RingWords, options: PushOptions): Call {
    const { start = 0, count, timeoutMs } = options;
    const wanted = checkSpan("push", source, start, count, this.itemWords);
    if (this.#pushing) refuseSecond("push");
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
    if (this.#popping) refuseSecond("pop");
    let done = 0;
    return {
      timeoutMs: checkTimeout(timeoutMs),
      done: () => done,
      attempt: () => {
        // Closed is read first: what was pushed before the close is seen by a look after it.
        const closed = this.closed;
        done = this.tryPop(target, start, wanted);
        if (done === 0 && closed) refuseClosed("pop");
        return done > 0;
      },
    };
  }
}

/** The tail moved without us: the ring is closed, or another handle pushes too. */
function refusePublish(found: number): never {
  if (found < 0) refuseClosed("push");
  throw new MmsbError("usage", "Cannot push as another handle has pushed: attach after its last");
}
