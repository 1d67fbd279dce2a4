/**
 * How fast the oscillator runs, how sure that is, and how often to ask.
 *
 * The rate is that of the server whose line is surest. Its uncertainty is six times the standard deviation of the line's
 * slope, and 1 ppm for what the oscillator wanders until the next sync (chrony's `maxclockerror` assumes the same). Until a
 * rate is known it is taken as 0 with an uncertainty of 50 ppm: cheap oscillators are that wrong. RFC 5905 has 15 ppm
 * there, for a clock that is disciplined already; somebody who knows his oscillator sets it.
 *
 * The poll interval follows RFC 5905 section 13 in its idea: it doubles when four syncs in a row found what the line
 * foretold, within the jitter, and halves when one did not.
 *
 * Cost: some comparisons a sync.
 */
import type { FilterRate } from "./clock_filter.ts";
import type { RobustLine } from "./robust_line.ts";

/** What an oscillator's rate may change by between two syncs, ppm. */
export const WANDER_PPM = 1;

/** No oscillator is further off (the kernel corrects no more than this either), ppm. */
const RATE_PPM_MAX = 500;

/** Standard deviations of the slope that its uncertainty covers: points are few, so their scatter is not well known. */
const SLOPE_DEVIATIONS = 6;

/** Expected syncs in a row before the interval doubles. */
const CALM_SYNCS = 4;

/**
 * The rate that some servers' lines show.
 *
 * @param fits Their lines, ns over seconds of the counter.
 * @param unknownPpm The uncertainty while nothing is known.
 * @returns Rate and uncertainty.
 */
export function rateOf(fits: readonly (RobustLine | undefined)[], unknownPpm: number): FilterRate {
  let ratePpm = 0, growthPpm = unknownPpm;
  for (const fit of fits) {
    if (fit === undefined || Math.abs(fit.slope) > RATE_PPM_MAX * 1e3) continue;
    const uncertainPpm = WANDER_PPM + SLOPE_DEVIATIONS * fit.slopeError * 1e-3;
    if (uncertainPpm >= growthPpm) continue;
    ratePpm = fit.slope * 1e-3;
    growthPpm = uncertainPpm;
  }
  return { ratePpm, growthPpm };
}

/** When to ask next. */
export class PollInterval {
  readonly #minS: number;
  readonly #maxS: number;
  #seconds: number;
  #calm = 0;

  /**
   * Begins at the shortest interval.
   *
   * @param minS The shortest, s.
   * @param maxS The longest, s.
   */
  constructor(minS: number, maxS: number) {
    this.#minS = minS;
    this.#maxS = maxS;
    this.#seconds = minS;
  }

  /** The interval, s. */
  get seconds(): number {
    return this.#seconds;
  }

  /**
   * After a sync.
   *
   * @param stepNs By how much it moved the time.
   * @param expectedNs What it may move it by without telling anything new.
   */
  synced(stepNs: number, expectedNs: number): void {
    if (Math.abs(stepNs) > expectedNs) {
      this.#calm = 0;
      this.#seconds = Math.max(this.#minS, this.#seconds / 2);
    } else if (++this.#calm >= CALM_SYNCS) {
      this.#calm = 0;
      this.#seconds = Math.min(this.#maxS, this.#seconds * 2);
    }
  }

  /** After a sync that failed: servers that do not answer are asked less and less. */
  failed(): void {
    this.#calm = 0;
    this.#seconds = Math.min(this.#maxS, this.#seconds * 2);
  }

  /** After a start over. */
  restart(): void {
    this.#calm = 0;
    this.#seconds = this.#minS;
  }
}
