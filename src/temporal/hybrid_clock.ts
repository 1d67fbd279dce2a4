/**
 * What every hybrid logical clock can do.
 *
 * There are two: one a thread ({@linkcode HybridLogicalClock}, a few ns) and one that threads
 * share ({@linkcode SharedHybridLogicalClock}, one compare-and-swap). Both give the same answers
 * to the same calls and pass the same tests, so code that takes a `HybridClock` need not know
 * which one it has.
 *
 * A call leaves its result in fields of the clock and returns nothing, because a timestamp does
 * not fit a number and a bigint allocates. The fields hold until the next call on the same object;
 * the object belongs to one thread, also where the time behind it is shared.
 */

/** How to open a hybrid logical clock. */
export interface HybridClockOptions {
  /**
   * Node id, 0 to 65535; 0 if left out. Two clocks whose timestamps meet need different ids.
   */
  readonly node?: number;
  /**
   * The physical clock: µs since the Unix epoch. Fractions are dropped. NaN, an infinity or a
   * negative number mean "no answer": time then stands still at the last good reading and the
   * hybrid clock goes on counting. A finite reading of 2⁵² or more is refused with `limit`.
   */
  readonly nowUs: () => number;
  /** The last timestamp given before, as of {@linkcode HybridClock.restore}; 0 if left out. */
  readonly last?: bigint;
  /**
   * How far ahead of the physical clock a received timestamp may be, in ms; 500 if left out.
   */
  readonly aheadMsMax?: number;
}

/** A clock whose timestamps strictly rise and follow every timestamp it has seen. */
export interface HybridClock {
  /** Node id, 0 to 65535. */
  readonly node: number;
  /** Upper u32 of the last timestamp. */
  readonly hi: number;
  /** Lower u32 of the last timestamp. */
  readonly lo: number;
  /** Upper u32 of the first timestamp of the last {@linkcode HybridClock.reserve}. */
  readonly firstHi: number;
  /** Lower u32 of the first timestamp of the last {@linkcode HybridClock.reserve}. */
  readonly firstLo: number;
  /** Readings of the physical clock that were no time and were ignored. */
  readonly ignoredReadingCount: number;

  /**
   * Takes the next timestamp, max(last + 1, physical clock), and leaves it in `hi` and `lo`.
   *
   * @throws {MmsbError} `limit` at the end of 64 bits, or if the physical clock says 2⁵² µs or
   * more. The clock is then as before.
   */
  now(): void;

  /**
   * {@linkcode HybridClock.now} for edges.
   *
   * @returns The timestamp as one word.
   * @throws {MmsbError} As `now()`.
   */
  nowBigint(): bigint;

  /**
   * Takes `count` timestamps in a row, with no gap. The first is max(last + 1, physical clock),
   * in `firstHi` and `firstLo`; the last is in `hi` and `lo`. One call stamps a whole batch.
   *
   * @param count How many, 1 to 2²⁶.
   * @throws {MmsbError} `usage` if `count` is no whole number in that range; `limit` as `now()`.
   * The clock is then as before.
   */
  reserve(count: number): void;

  /**
   * Takes a timestamp after a received one, max(last, received, physical clock) + 1, and leaves
   * it in `hi` and `lo`.
   *
   * A received time that is later than `last` and more than `aheadMsMax` ahead of the physical
   * clock is refused: one poisoned message must not push the clock away. One that is not later
   * than `last` cannot push it and always passes.
   *
   * @param hi Upper u32 of the received timestamp.
   * @param lo Lower u32 of the received timestamp.
   * @throws {MmsbError} `limit` if it is too far ahead, or as `now()`; `usage` if a half is no
   * u32. The clock is then as before.
   */
  update(hi: number, lo: number): void;

  /**
   * {@linkcode HybridClock.update} for edges.
   *
   * @param received The received timestamp as one word.
   * @returns The new timestamp as one word.
   * @throws {MmsbError} As `update()`; `usage` if `received` does not fit 64 unsigned bits.
   */
  updateBigint(received: bigint): bigint;

  /**
   * Moves the clock up to a timestamp known to have been given before, for example the last one
   * in the log: the next timestamp is larger. Never moves it back. Not bounded by the physical
   * clock, since what was logged was true.
   *
   * @param last The timestamp as one word.
   * @throws {MmsbError} `usage` if `last` does not fit 64 unsigned bits.
   */
  restore(last: bigint): void;

  /**
   * The last timestamp, taking none.
   *
   * @returns The word; the next timestamp is larger.
   */
  peek(): bigint;

  /**
   * Checks what must always hold; tests call it after every step.
   *
   * @throws {MmsbError} If the clock's state contradicts itself.
   */
  checkInvariants(): void;
}
