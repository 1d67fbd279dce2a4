/**
 * The hybrid logical clock of one thread.
 *
 * A wall clock alone cannot order events: it stands still within its resolution, it is set back,
 * and two machines never agree. A counter alone orders them but says nothing about when. The
 * hybrid clock (Kulkarni et al., "Logical Physical Clocks", 2014) gives timestamps that stay close
 * to physical time and still rise strictly, and every timestamp taken after a message was received
 * is later than the message's. See `timestamp.ts` for the word it counts in.
 *
 * ```text
 * now()        last = max(last + 1, clock)
 * reserve(n)   first = max(last + 1, clock), last = first + n − 1
 * update(r)    last = max(last, r, clock) + 1, refused if r is too far ahead
 * restore(t)   last = max(last, t)
 * ```
 *
 * Each thread has its own clock with its own node id, so there is nothing to lock; where threads
 * must share one, see `shared_hlc.ts`.
 *
 * The state is four u32 in one typed array: plain fields above 2³¹ become heap numbers until the
 * compiler has seen enough of them, an array element never does.
 *
 * Cost: about 5 ns a call and the callback; nothing is allocated. `nowBigint`, `peek` and
 * `updateBigint` make one bigint. A batch of any size is one `reserve`.
 */
import { assert, checkInteger, checkKeys } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";
import { TICK_ROWS_MAX } from "../base/limits.ts";
import { requireHalves, requireNode, requireTimestamp } from "./check.ts";
import { ClockReader } from "./_clock_reader.ts";
import type { HybridClock, HybridClockOptions } from "./hybrid_clock.ts";
import { addToHi, addToLo, compare, timestampFromHalves } from "./timestamp.ts";

const U32_MAX = 0xffff_ffff;

/** Multiplying by it and dropping the fraction divides µs by 2²⁰: the upper half. Exact. */
const HI_PER_US = 2 ** -20;

// Places of the four words.
const LO = 0;
const HI = 1;
const FIRST_LO = 2;
const FIRST_HI = 3;

/**
 * A hybrid logical clock for one thread; see {@linkcode HybridClock} for what each member does.
 *
 * @example Strictly rising, also when the clock is set back
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * let us = 1_000_000;
 * const clock = new HybridLogicalClock({ node: 7, nowUs: () => us });
 *
 * equal(clock.nowBigint(), 1_000_000n << 12n);
 * us = 999_000;
 * equal(clock.nowBigint(), (1_000_000n << 12n) + 1n);
 * ```
 *
 * @example Stamp a batch of 1000 rows at once
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const clock = new HybridLogicalClock({ nowUs: () => 1_000_000 });
 * clock.reserve(1000);
 *
 * equal(clock.lo - clock.firstLo, 999);
 * ```
 *
 * @example A message from too far in the future
 * ```ts
 * import { equal, throws } from "node:assert/strict";
 *
 * const clock = new HybridLogicalClock({ nowUs: () => 1_000_000 });
 * const anHourAhead = 3_601_000_000n << 12n;
 *
 * throws(() => clock.updateBigint(anHourAhead), { code: "limit" });
 * equal(clock.peek(), 0n);
 * ```
 */
export class HybridLogicalClock implements HybridClock {
  /** Node id, 0 to 65535. */
  readonly node: number;
  readonly #reader: ClockReader;
  readonly #words = new Uint32Array(4);

  /**
   * Opens the clock.
   *
   * @param options The physical clock, the node id and the bounds.
   * @throws {MmsbError} `usage` if an option is unknown or out of its range.
   */
  constructor(options: HybridClockOptions) {
    checkKeys("HybridLogicalClock", options, ["node", "nowUs", "last", "aheadMsMax"]);
    const { node = 0, nowUs, last = 0n, aheadMsMax } = options;
    requireNode(node);
    this.node = node;
    this.#reader = new ClockReader(nowUs, aheadMsMax);
    this.restore(last);
  }

  /** Upper u32 of the last timestamp. */
  get hi(): number {
    return this.#words[HI];
  }

  /** Lower u32 of the last timestamp. */
  get lo(): number {
    return this.#words[LO];
  }

  /** Upper u32 of the first timestamp of the last `reserve`. */
  get firstHi(): number {
    return this.#words[FIRST_HI];
  }

  /** Lower u32 of the first timestamp of the last `reserve`. */
  get firstLo(): number {
    return this.#words[FIRST_LO];
  }

  /** Readings of the physical clock that were no time and were ignored. */
  get ignoredReadingCount(): number {
    return this.#reader.ignoredCount;
  }

  /** Takes the next timestamp; see {@linkcode HybridClock.now}. */
  now(): void {
    const us = this.#reader.read();
    const clockHi = (us * HI_PER_US) >>> 0;
    const clockLo = (us << 12) >>> 0;
    const words = this.#words;
    const hi = words[HI];
    const lo = words[LO];
    if (clockHi > hi || (clockHi === hi && clockLo > lo)) {
      words[HI] = clockHi;
      words[LO] = clockLo;
    } else {
      this.#setAfter(hi, lo);
    }
  }

  /** Takes the next timestamp as a bigint; see {@linkcode HybridClock.nowBigint}. */
  nowBigint(): bigint {
    this.now();
    return this.peek();
  }

  /** Takes many timestamps in a row; see {@linkcode HybridClock.reserve}. */
  reserve(count: number): void {
    checkInteger("count of timestamps", count, 1, TICK_ROWS_MAX, "usage");
    const us = this.#reader.read();
    const words = this.#words;
    let firstHi = (us * HI_PER_US) >>> 0;
    let firstLo = (us << 12) >>> 0;
    if (compare(firstHi, firstLo, 0, words[HI], words[LO], 0) <= 0) {
      firstHi = addToHi(words[HI], words[LO], 1);
      firstLo = addToLo(words[LO], 1);
    }
    const lastHi = addToHi(firstHi, firstLo, count - 1);
    if (lastHi > U32_MAX) throwEnd(words[HI], words[LO], count);
    words[FIRST_HI] = firstHi;
    words[FIRST_LO] = firstLo;
    words[HI] = lastHi;
    words[LO] = addToLo(firstLo, count - 1);
  }

  /** Takes a timestamp after a received one; see {@linkcode HybridClock.update}. */
  update(hi: number, lo: number): void {
    requireHalves(hi, lo);
    const us = this.#reader.read();
    const words = this.#words;
    let maxHi = words[HI];
    let maxLo = words[LO];
    if (hi > maxHi || (hi === maxHi && lo > maxLo)) {
      if (this.#reader.isTooFar(hi, lo, us)) this.#reader.throwTooFar(hi, lo, us);
      maxHi = hi;
      maxLo = lo;
    }
    const clockHi = (us * HI_PER_US) >>> 0;
    const clockLo = (us << 12) >>> 0;
    if (clockHi > maxHi || (clockHi === maxHi && clockLo > maxLo)) {
      maxHi = clockHi;
      maxLo = clockLo;
    }
    this.#setAfter(maxHi, maxLo);
  }

  /** Takes a timestamp after a received one; see {@linkcode HybridClock.updateBigint}. */
  updateBigint(received: bigint): bigint {
    requireTimestamp(received);
    this.update(Number(received >> 32n), Number(received & 0xffff_ffffn));
    return this.peek();
  }

  /** Moves the clock up to a logged timestamp; see {@linkcode HybridClock.restore}. */
  restore(last: bigint): void {
    requireTimestamp(last);
    if (last <= this.peek()) return;
    this.#words[HI] = Number(last >> 32n);
    this.#words[LO] = Number(last & 0xffff_ffffn);
  }

  /** The last timestamp, taking none; see {@linkcode HybridClock.peek}. */
  peek(): bigint {
    return timestampFromHalves(this.#words[HI], this.#words[LO]);
  }

  /** Checks what must always hold; see {@linkcode HybridClock.checkInvariants}. */
  checkInvariants(): void {
    const [lo, hi, firstLo, firstHi] = this.#words;
    assert(
      compare(firstHi, firstLo, 0, hi, lo, 0) <= 0,
      "The first timestamp of a range is not later than the last one given",
    );
  }

  #setAfter(hi: number, lo: number): void {
    const words = this.#words;
    if (lo !== U32_MAX) {
      words[HI] = hi;
      words[LO] = lo + 1;
      return;
    }
    if (hi === U32_MAX) throwEnd(hi, lo, 1);
    words[HI] = hi + 1;
    words[LO] = 0;
  }
}

function throwEnd(hi: number, lo: number, count: number): never {
  throw new MmsbError(
    "limit",
    `Cannot take ${count} timestamps after ${timestampFromHalves(hi, lo)} as timestamps end at ` +
      "2^64 - 1, in the year 2112: check the clock and what was restored",
    { values: { hi, lo, count } },
  );
}
