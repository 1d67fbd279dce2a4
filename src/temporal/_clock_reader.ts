/**
 * What a hybrid clock does with the readings of its physical clock.
 *
 * A physical clock can fail in two ways that must not be treated alike:
 *
 * - It has no answer: NaN, an infinity, a negative number, no number at all. Then physical time *stands still* at the
 *   last good reading, the hybrid clock goes on counting, and the reading is counted so that a
 *   monitor can see it. A broken clock must not stop writes.
 * - It answers with a finite time beyond 52 bits of microseconds. That is almost always a unit
 *   mistake (nanoseconds where microseconds belong). Adopting it would push time to the year 2112
 *   for good, ignoring it would hide the mistake; so it is refused with an error.
 *
 * Fractions of a microsecond are dropped.
 *
 * Cost: the callback, two comparisons and a store; nothing is allocated.
 */
import { checkNumber, checkType } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";
import { HLC_AHEAD_MS_MAX } from "../base/limits.ts";
import { physicalUsOfHalves, timestampFromHalves } from "./timestamp.ts";

/** 2⁵² µs, the first reading that does not fit. */
const READING_US_LIMIT = 2 ** 52;

/** A bound this long lets every timestamp pass. */
const AHEAD_MS_LIMIT = READING_US_LIMIT / 1000;

/** Reads the physical clock and judges what it and other nodes say. */
export class ClockReader {
  readonly #nowUs: () => number;
  readonly #aheadUsMax: number;
  /** The last good reading; an array so that storing it never allocates a heap number. */
  readonly #lastUs = new Float64Array(1);
  #ignoredCount = 0;

  /**
   * Keeps the clock; does not read it yet.
   *
   * @param nowUs The physical clock, µs since the Unix epoch.
   * @param aheadMsMax How far ahead of it a received timestamp may be, ms.
   * @throws {MmsbError} `usage` if `nowUs` is no function or `aheadMsMax` no number from 0 to 2⁵² µs.
   */
  constructor(nowUs: () => number, aheadMsMax: number = HLC_AHEAD_MS_MAX) {
    checkType("nowUs", nowUs, "function");
    checkNumber("aheadMsMax", aheadMsMax, 0, AHEAD_MS_LIMIT, "usage");
    this.#nowUs = nowUs;
    this.#aheadUsMax = aheadMsMax * 1000;
  }

  /** How many readings were no time and were ignored. */
  get ignoredCount(): number {
    return this.#ignoredCount;
  }

  /**
   * Reads the clock.
   *
   * @returns µs since the Unix epoch, 0 ≤ reading < 2⁵²; the last good reading (0 if there was
   * none) where the clock has no answer. May have a fraction, which the caller drops.
   * @throws {MmsbError} `limit` if the clock says a finite time of 2⁵² µs or more.
   */
  read(): number {
    const us = this.#nowUs();
    // The type, too: a bigint passes comparisons and fails at the first multiplication.
    if (typeof us === "number" && us >= 0 && us < READING_US_LIMIT) {
      this.#lastUs[0] = us;
      return us;
    }
    // The sign tells the compiler that this is a number, too: else it allocates one for each result.
    return +this.#standStill(us);
  }

  /**
   * Whether a received timestamp is further ahead of a reading than the bound allows.
   *
   * @param hi The upper half received.
   * @param lo The lower half received.
   * @param us A result of {@linkcode ClockReader.read}.
   * @returns True if it is.
   */
  isTooFar(hi: number, lo: number, us: number): boolean {
    return physicalUsOfHalves(hi, lo) - Math.floor(us) > this.#aheadUsMax;
  }

  /**
   * Refuses a received timestamp for which {@linkcode ClockReader.isTooFar} is true.
   *
   * @param hi The upper half received.
   * @param lo The lower half received.
   * @param us A result of {@linkcode ClockReader.read}.
   * @throws {MmsbError} Always: `limit`.
   */
  throwTooFar(hi: number, lo: number, us: number): never {
    const received = timestampFromHalves(hi, lo);
    const aheadMs = (physicalUsOfHalves(hi, lo) - Math.floor(us)) / 1000;
    const aheadMsMax = this.#aheadUsMax / 1000;
    throw new MmsbError(
      "limit",
      `Cannot adopt received timestamp ${received} as it is ${aheadMs} ms ahead of this clock: ` +
        `at most ${aheadMsMax} ms are allowed, so check the sender's clock and this one`,
      { values: { received, aheadMs, aheadMsMax } },
    );
  }

  #standStill(us: number): number {
    if (Number.isFinite(us) && us > 0) {
      throw new MmsbError(
        "limit",
        `Cannot take ${us} µs from the clock as timestamps end at 2^52 µs, in the year 2112: ` +
          "check that it counts microseconds since 1970",
        { values: { nowUs: us } },
      );
    }
    this.#ignoredCount++;
    return this.#lastUs[0];
  }
}
