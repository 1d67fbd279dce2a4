/**
 * A hybrid logical clock that threads really share.
 *
 * The whole state is one 64-bit word in a `SharedArrayBuffer`, and every call is one successful
 * compare-and-swap on it. That is why the timestamp is one word: with physical and logical parts
 * in two words, a thread that reads between two stores gives a timestamp that another thread has
 * given too.
 *
 * Lock-free: a thread that loses the swap has lost it to a thread that went forward, nobody waits,
 * and a thread that is stopped holds up no one. The loser goes on from the word it saw, with the
 * physical clock read once a call. The number of tries has a bound that no fair machine reaches.
 *
 * Each thread makes its own object over the same memory; the object's `hi`, `lo`, `firstHi` and
 * `firstLo` are what *this thread* got last. All objects have one node id, since the words alone
 * are unique. Each thread reads its own physical clock; those may disagree, the shared word decides.
 *
 * Cost: some tens of ns without contention, against a few for a clock a thread, and the more the
 * more threads contend; one `reserve` a batch makes that rare. `BigUint64Array` is the only way to
 * a 64-bit swap, so a call makes a few short-lived bigints.
 */
import { assert, checkInteger, checkKeys } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";
import { TICK_ROWS_MAX } from "../base/limits.ts";
import { requireHalves, requireNode, requireTimestamp } from "./check.ts";
import { ClockReader } from "./_clock_reader.ts";
import type { HybridClock, HybridClockOptions } from "./hybrid_clock.ts";
import { compare, LOGICAL_MAX } from "./timestamp.ts";

/** Bytes of shared memory that a {@linkcode SharedHybridLogicalClock} needs. */
export const SHARED_CLOCK_BYTES = 8;

/** Tries of one call before it gives up: with fair scheduling even ten in a row are rare. */
const ATTEMPTS_MAX = 1 << 20;

const HI_PER_US = 2 ** -20;

/** How to open a {@linkcode SharedHybridLogicalClock}. */
export interface SharedHybridClockOptions extends HybridClockOptions {
  /** Where the word lies in the memory, in bytes, a multiple of 8; 0 if left out. */
  readonly byteOffset?: number;
}

/**
 * One thread's handle on a clock in shared memory; see {@linkcode HybridClock} for what each
 * member does. Memory of zeros is a new clock.
 *
 * @example Two handles, one clock
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const memory = new SharedArrayBuffer(SHARED_CLOCK_BYTES);
 * const nowUs = () => 1_000_000;
 * const one = new SharedHybridLogicalClock(memory, { nowUs });
 * const other = new SharedHybridLogicalClock(memory, { nowUs });
 *
 * equal(one.nowBigint(), 1_000_000n << 12n);
 * equal(other.nowBigint(), (1_000_000n << 12n) + 1n);
 * equal(one.nowBigint(), (1_000_000n << 12n) + 2n);
 * ```
 */
export class SharedHybridLogicalClock implements HybridClock {
  /** Node id, 0 to 65535, the same in every thread. */
  readonly node: number;
  readonly #reader: ClockReader;
  readonly #shared: BigUint64Array<SharedArrayBuffer>;

  /** What this thread got: last in `[0]`, first of a range in `[1]`, scratch in `[2]`. */
  readonly #own = new BigUint64Array(3);
  /** The same as halves: place `2i + LO` and `2i + HI`. */
  readonly #halves: Uint32Array = new Uint32Array(this.#own.buffer);

  /**
   * Opens a handle on the clock.
   *
   * @param memory Shared memory that holds the word.
   * @param options The physical clock, the node id, the bounds and the place in the memory.
   * @throws {MmsbError} `usage` if an option is unknown or out of its range, if `memory` is not
   * shared, or if the word does not lie in it.
   */
  constructor(memory: SharedArrayBuffer, options: SharedHybridClockOptions) {
    checkKeys(
      "SharedHybridLogicalClock",
      options,
      ["node", "nowUs", "last", "aheadMsMax", "byteOffset"],
    );
    const { node = 0, nowUs, last = 0n, aheadMsMax, byteOffset = 0 } = options;
    requireNode(node);
    this.node = node;
    this.#reader = new ClockReader(nowUs, aheadMsMax);
    this.#shared = wordOf(memory, byteOffset);
    this.restore(last);
  }

  /** Upper u32 of this thread's last timestamp. */
  get hi(): number {
    return this.#halves[HI];
  }

  /** Lower u32 of this thread's last timestamp. */
  get lo(): number {
    return this.#halves[LO];
  }

  /** Upper u32 of the first timestamp of this thread's last `reserve`. */
  get firstHi(): number {
    return this.#halves[2 + HI];
  }

  /** Lower u32 of the first timestamp of this thread's last `reserve`. */
  get firstLo(): number {
    return this.#halves[2 + LO];
  }

  /** Readings of this thread's physical clock that were no time and were ignored. */
  get ignoredReadingCount(): number {
    return this.#reader.ignoredCount;
  }

  /** Takes the next timestamp; see {@linkcode HybridClock.now}. */
  now(): void {
    this.#own[0] = this.#advance(this.#wordBeforeClock(), 1n);
  }

  /** Takes the next timestamp as a bigint; see {@linkcode HybridClock.nowBigint}. */
  nowBigint(): bigint {
    this.now();
    return this.#own[0];
  }

  /** Takes many timestamps in a row; see {@linkcode HybridClock.reserve}. */
  reserve(count: number): void {
    checkInteger("count of timestamps", count, 1, TICK_ROWS_MAX, "usage");
    const steps = BigInt(count);
    const last = this.#advance(this.#wordBeforeClock(), steps);
    this.#own[1] = last - steps + 1n;
    this.#own[0] = last;
  }

  /** Takes a timestamp after a received one; see {@linkcode HybridClock.update}. */
  update(hi: number, lo: number): void {
    requireHalves(hi, lo);
    const us = this.#reader.read();
    // The word only grows, so a received time that is not later now will not be later at the swap.
    if (this.#reader.isTooFar(hi, lo, us) && this.#word(hi, lo) > this.peek()) {
      this.#reader.throwTooFar(hi, lo, us);
    }
    const clockHi = (us * HI_PER_US) >>> 0;
    const clockLo = (us << 12) >>> 0;
    const clockIsLater = clockHi > hi || (clockHi === hi && clockLo > lo);
    const floor = clockIsLater ? this.#word(clockHi, clockLo) : this.#word(hi, lo);
    this.#own[0] = this.#advance(floor, 1n);
  }

  /** Takes a timestamp after a received one; see {@linkcode HybridClock.updateBigint}. */
  updateBigint(received: bigint): bigint {
    requireTimestamp(received);
    this.update(Number(received >> 32n), Number(received & 0xffff_ffffn));
    return this.#own[0];
  }

  /** Moves the clock up to a logged timestamp; see {@linkcode HybridClock.restore}. */
  restore(last: bigint): void {
    requireTimestamp(last);
    let seen = Atomics.load(this.#shared, 0);
    for (let attempt = 0; last > seen; attempt++) {
      if (attempt === ATTEMPTS_MAX) throwContended();
      const found = Atomics.compareExchange(this.#shared, 0, seen, last);
      if (found === seen) seen = last;
      else seen = found;
    }
    this.#own[0] = seen;
  }

  /**
   * The last timestamp that any thread took, taking none; see {@linkcode HybridClock.peek}.
   */
  peek(): bigint {
    return Atomics.load(this.#shared, 0);
  }

  /** Checks what must always hold; see {@linkcode HybridClock.checkInvariants}. */
  checkInvariants(): void {
    assert(this.#own[0] <= this.peek(), "The shared word is not behind what a thread was given");
    assert(
      compare(this.firstHi, this.firstLo, 0, this.hi, this.lo, 0) <= 0,
      "The first timestamp of a range is not later than the last one given",
    );
  }

  /** Moves the word to max(word, floor) + steps and returns what it moved it to. */
  #advance(floor: bigint, steps: bigint): bigint {
    let seen = Atomics.load(this.#shared, 0);
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      // With asUintN the compiler adds machine words; a sum past 64 bits wraps to below `steps`.
      const next = BigInt.asUintN(64, (seen > floor ? seen : floor) + steps);
      if (next < steps) throwEnd(seen, steps);
      const found = Atomics.compareExchange(this.#shared, 0, seen, next);
      if (found === seen) return next;
      seen = found;
    }
    throwContended();
  }

  /**
   * The word before the clock's: the last one of the microsecond before, so that one step after it
   * is the clock's. 0 has none, and needs none: the shared word is never below 0.
   */
  #wordBeforeClock(): bigint {
    const us = this.#reader.read() - 1;
    if (us < 0) return 0n;
    return this.#word((us * HI_PER_US) >>> 0, ((us << 12) | LOGICAL_MAX) >>> 0);
  }

  /** Joins two halves by way of memory: much cheaper than `BigInt()` and a shift. */
  #word(hi: number, lo: number): bigint {
    this.#halves[4 + HI] = hi;
    this.#halves[4 + LO] = lo;
    return this.#own[2];
  }
}

/** Which of the two halves of a `BigUint64Array` element is the lower one on this machine. */
const LO = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 0 : 1;
const HI = 1 - LO;

function wordOf(memory: SharedArrayBuffer, byteOffset: number): BigUint64Array<SharedArrayBuffer> {
  if (!(memory instanceof SharedArrayBuffer)) {
    throw new MmsbError("usage", "Cannot share a clock: give a SharedArrayBuffer as memory");
  }
  const offsetMax = memory.byteLength - SHARED_CLOCK_BYTES;
  checkInteger("byteOffset", byteOffset, 0, offsetMax, "usage");
  if (byteOffset % 8 !== 0) {
    throw new MmsbError(
      "usage",
      `Cannot place a clock at byte ${byteOffset}: give a multiple of 8`,
      { values: { byteOffset } },
    );
  }
  return new BigUint64Array(memory, byteOffset, 1);
}

function throwEnd(last: bigint, steps: bigint): never {
  throw new MmsbError(
    "limit",
    `Cannot take ${steps} timestamps after ${last} as timestamps end at 2^64 - 1, ` +
      "in the year 2112: check the clock and what was restored",
    { values: { last, count: steps } },
  );
}

function throwContended(): never {
  throw new MmsbError(
    "limit",
    `Cannot take a timestamp as ${ATTEMPTS_MAX} tries lost against other threads: ` +
      "use a clock a thread, or reserve ranges",
    { values: { attempts: ATTEMPTS_MAX } },
  );
}
