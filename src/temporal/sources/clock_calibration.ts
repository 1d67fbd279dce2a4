/**
 * The relation between two clocks of one machine that nobody sets: a device's (a GPU's timestamps) and the CPU's steady counter.
 *
 * Both are read at about the same moment now and then. A robust line through the pairs says where a moment of the device is on the
 * CPU's axis, and how far that may be off:
 *
 * ```text
 * cpu   = device + ahead + drift · (device − first device)
 * bound = the larger of  what two pairs far apart allow: the true line passes each within half its width, so it is no further from
 *                        the fitted one than half its width and the pair's own distance, and between or beyond the two in proportion
 *                   and  half the median width + 3 · scatter about the line + 3 · standard deviation of the drift · distance
 *         + 0.1 ppm · distance from the middle of the pairs
 * ```
 *
 * The first of the two is certain if the widths are, whatever the pairs' scatter looks like; the second is there for widths that were not told.
 *
 * It is stale 5 minutes after its last pair: the oscillators' temperatures have moved on. A drift beyond 1000 ppm is no oscillator's:
 * the device's unit is not what was said, or it was reset; then there is no relation until it is reset here as well.
 *
 * Cost: the last 64 pairs are kept, 2 KB; the line is fitted when it is asked for after a new pair, some 0.2 ms; a conversion is some ns.
 */
import { checkInteger, checkKeys, checkNumber } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { fitRobustLine } from "./robust_line.ts";

/** Pairs that are kept if nobody says how many. */
const PAIRS_DEFAULT = 64;
/** Fewer show no scatter. */
const PAIRS_MIN = 3;
const STALE_NS_DEFAULT = 300e9;
const DRIFT_PPM_MAX_DEFAULT = 1000;
/** How far the two oscillators' rates may move apart meanwhile, in ppm. */
const WANDER_PPM = 0.1;
const DEVIATIONS = 3;

/** Options of {@linkcode ClockCalibration}. */
export interface ClockCalibrationOptions {
  /** Pairs that are kept, 3 to 1024; the oldest goes. Default 64. */
  readonly pairs?: number;
  /** After so long since the last pair the relation is stale, in ns. Default 5 minutes. */
  readonly staleNs?: number;
  /** Largest drift that is believed, in ppm. Default 1000. */
  readonly driftPpmMax?: number;
}

/** How a calibration is doing. */
export interface ClockCalibrationState {
  /** Whether the relation can be used now. */
  readonly usable: boolean;
  /** Why not, in one sentence; left out where it can. */
  readonly reason?: string;
  /** Pairs that are kept. */
  readonly pairs: number;
  /** The CPU's clock less the device's at the newest pair, in ns; NaN before there are enough. */
  readonly offsetNs: number;
  /** How much faster than the CPU's the device's clock runs, in ppm; NaN before there are enough. */
  readonly driftPpm: number;
  /** The bound at the newest pair, in ns; Infinity before there are enough. */
  readonly errorNs: number;
  /** Time since the newest pair, in ns; Infinity before the first. */
  readonly ageNs: number;
}

/**
 * Places a device's times on the CPU's axis.
 *
 * @example A device whose clock runs 20 ppm fast
 * ```ts
 * import { equal, ok } from "node:assert/strict";
 *
 * const calibration = new ClockCalibration();
 * for (let i = 0; i < 10; i++) {
 *   calibration.add(i * 1e9, 5_000 + i * 1e9 * 1.00002, 200);
 * }
 *
 * const cpuNs = calibration.toCpuNs(5_000 + 4.5e9 * 1.00002);
 * ok(Math.abs(cpuNs - 4.5e9) <= calibration.errorNs(5_000 + 4.5e9 * 1.00002));
 * equal(calibration.state(9e9).usable, true);
 * equal(calibration.state(400e9).usable, false);
 * ```
 */
export class ClockCalibration {
  readonly #cpu: Float64Array;
  readonly #device: Float64Array;
  readonly #width: Float64Array;
  /** Device since the first, and CPU less device since the first: small numbers for the fit. */
  readonly #x: Float64Array;
  readonly #y: Float64Array;
  readonly #staleNs: number;
  readonly #driftPpmMax: number;
  #count = 0;
  #isFitted = false;
  #ahead = NaN;
  #slope = NaN;
  #errorBase = Infinity;
  #errorSlope = 0;
  #middle = 0;
  /** The two pairs far apart by which the bound goes: device's time, and how far the fitted line may be from the true one there, ns. */
  readonly #early = Float64Array.of(0, Infinity);
  readonly #late = Float64Array.of(0, Infinity);

  /**
   * Makes an empty calibration.
   *
   * @param options How much is kept, and when it no longer counts.
   * @throws {MmsbError} `usage` or `out-of-bounds` if an option is none or is out of range.
   */
  constructor(options: ClockCalibrationOptions = {}) {
    checkKeys("ClockCalibration", options, ["pairs", "staleNs", "driftPpmMax"]);
    const pairs = checkInteger("pairs", options.pairs ?? PAIRS_DEFAULT, PAIRS_MIN, 1024);
    this.#staleNs = checkNumber("staleNs", options.staleNs ?? STALE_NS_DEFAULT, 1, 1e15);
    this.#driftPpmMax = checkNumber(
      "driftPpmMax",
      options.driftPpmMax ?? DRIFT_PPM_MAX_DEFAULT,
      0.001,
      1e6,
    );
    const array = () => new Float64Array(pairs);
    this.#cpu = array();
    this.#device = array();
    this.#width = array();
    this.#x = array();
    this.#y = array();
  }

  /** Pairs that are kept. */
  get pairs(): number {
    return this.#count;
  }

  /**
   * Adds a pair: what both clocks said at about the same moment.
   *
   * @param cpuNs The CPU's steady counter in ns, larger than that of the pair before.
   * @param deviceNs The device's clock in ns, not less than that of the pair before.
   * @param widthNs How long reading both took, in ns: the moments differ by half of it at most. 0 if left out.
   * @throws {MmsbError} `usage` if a number is none or too large, or a clock went back: nothing is added; after a reset of the device call `reset`.
   */
  add(cpuNs: number, deviceNs: number, widthNs = 0): void {
    const limit = Number.MAX_SAFE_INTEGER;
    checkNumber("cpuNs", cpuNs, -limit, limit, "usage");
    checkNumber("deviceNs", deviceNs, -limit, limit, "usage");
    checkNumber("widthNs", widthNs, 0, limit, "usage");
    const last = this.#count - 1;
    if (last >= 0 && !(cpuNs > this.#cpu[last] && deviceNs >= this.#device[last])) {
      const which = cpuNs > this.#cpu[last] ? "device's" : "CPU's";
      throw new MmsbError(
        "usage",
        `Cannot add a pair as the ${which} clock went back: call reset() if the device was reset`,
        { values: { cpuNs, deviceNs } },
      );
    }
    if (this.#count === this.#cpu.length) this.#forgetOldest();
    this.#cpu[this.#count] = cpuNs;
    this.#device[this.#count] = deviceNs;
    this.#width[this.#count] = widthNs;
    this.#count++;
    this.#isFitted = false;
  }

  /** Forgets all pairs. */
  reset(): void {
    this.#count = 0;
    this.#isFitted = false;
  }

  /**
   * Places a time of the device on the CPU's axis.
   *
   * @param deviceNs A time of the device in ns.
   * @returns The CPU's steady counter at that moment, in ns.
   * @throws {MmsbError} `clock` if there are fewer than three pairs or the drift cannot be; `usage` if it is no number.
   */
  toCpuNs(deviceNs: number): number {
    this.#require(deviceNs);
    const x = deviceNs - this.#device[0];
    return deviceNs + (this.#cpu[0] - this.#device[0]) + this.#ahead + this.#slope * x;
  }

  /**
   * The other way round.
   *
   * @param cpuNs The CPU's steady counter in ns.
   * @returns The device's time at that moment, in ns.
   * @throws {MmsbError} As {@linkcode ClockCalibration.toCpuNs}.
   */
  toDeviceNs(cpuNs: number): number {
    this.#require(cpuNs);
    return this.#device[0] + (cpuNs - this.#cpu[0] - this.#ahead) / (1 + this.#slope);
  }

  /**
   * How far {@linkcode ClockCalibration.toCpuNs} may be off, either way.
   *
   * @param deviceNs A time of the device in ns.
   * @returns ns.
   * @throws {MmsbError} As {@linkcode ClockCalibration.toCpuNs}.
   */
  errorNs(deviceNs: number): number {
    this.#require(deviceNs);
    return this.#errorAt(deviceNs);
  }

  /**
   * How the calibration is doing. Does not throw for want of pairs: it says so.
   *
   * @param nowNs The CPU's steady counter now, in ns.
   * @returns Whether it can be used, and what was found.
   * @throws {MmsbError} `usage` if it is no number.
   */
  state(nowNs: number): ClockCalibrationState {
    checkNumber("nowNs", nowNs, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, "usage");
    this.#fit();
    const last = this.#count - 1;
    const isReady = this.#count >= PAIRS_MIN && !Number.isNaN(this.#slope);
    const ageNs = last < 0 ? Infinity : nowNs - this.#cpu[last];
    const reason = this.#unusable() ??
      (ageNs > this.#staleNs ? `The newest pair is ${Math.round(ageNs / 1e9)} s old` : undefined);
    return {
      usable: reason === undefined,
      ...(reason === undefined ? {} : { reason }),
      pairs: this.#count,
      offsetNs: isReady
        ? this.#cpu[0] - this.#device[0] + this.#ahead +
          this.#slope * (this.#device[last] - this.#device[0])
        : NaN,
      driftPpm: isReady ? (1 / (1 + this.#slope) - 1) * 1e6 : NaN,
      errorNs: isReady ? this.#errorAt(this.#device[last]) : Infinity,
      ageNs,
    };
  }

  #errorAt(deviceNs: number): number {
    const away = Math.abs(deviceNs - this.#middle);
    const [earlyNs, earlyError] = this.#early, [lateNs, lateError] = this.#late;
    const certain = (earlyError * Math.abs(deviceNs - lateNs) +
      lateError * Math.abs(deviceNs - earlyNs)) / (lateNs - earlyNs);
    return Math.max(certain, this.#errorBase + this.#errorSlope * away) + WANDER_PPM * 1e-6 * away +
      1;
  }

  #require(ns: number): void {
    checkNumber("ns", ns, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, "usage");
    this.#fit();
    const reason = this.#unusable();
    if (reason === undefined) return;
    throw new MmsbError(
      "clock",
      `Cannot place a time on the other clock: ${reason[0].toLowerCase()}${reason.slice(1)}`,
      { values: { pairs: this.#count } },
    );
  }

  #unusable(): string | undefined {
    if (this.#count < PAIRS_MIN) return `There are ${this.#count} pairs, and it takes ${PAIRS_MIN}`;
    if (Number.isNaN(this.#slope)) return "The device's clock stands still";
    // Pairs that are wide and close together say little about the drift: that is no reason to refuse them.
    const unsure = (this.#early[1] + this.#late[1]) / (this.#late[0] - this.#early[0]);
    const ppm = (Math.abs(this.#slope) - unsure) * 1e6;
    return ppm <= this.#driftPpmMax
      ? undefined
      : `The clocks drift apart by ${
        Math.round(ppm)
      } ppm or more, which no oscillator does: is it in ns?`;
  }

  #fit(): void {
    if (this.#isFitted) return;
    this.#isFitted = true;
    this.#ahead = this.#slope = NaN;
    const count = this.#count, last = count - 1;
    if (count < PAIRS_MIN || this.#device[0] === this.#device[last]) return;
    const cpu0 = this.#cpu[0], device0 = this.#device[0];
    for (let i = 0; i < count; i++) {
      this.#x[i] = this.#device[i] - device0;
      this.#y[i] = this.#cpu[i] - cpu0 - this.#x[i];
    }
    const { slope, intercept, slopeError, residual } = fitRobustLine(this.#x, this.#y, count);
    this.#slope = slope;
    this.#ahead = intercept;
    this.#middle = (device0 + this.#device[last]) / 2;
    this.#errorBase = this.#medianWidth() / 2 + DEVIATIONS * residual;
    this.#errorSlope = DEVIATIONS * slopeError;
    this.#choose();
  }

  /** Takes the pair that is nearest to the line, its half width included, of the first third of the time and of the last. */
  #choose(): void {
    const last = this.#count - 1, span = this.#x[last];
    this.#early[1] = this.#late[1] = Infinity;
    for (let i = 0; i <= last; i++) {
      const x = this.#x[i];
      if (x > span / 3 && x < 2 * span / 3) continue;
      const place = x <= span / 3 ? this.#early : this.#late;
      const error = Math.abs(this.#y[i] - this.#ahead - this.#slope * x) + this.#width[i] / 2;
      if (error >= place[1]) continue;
      place[0] = this.#device[i];
      place[1] = error;
    }
  }

  /** The line goes by the middle of the pairs: one that was interrupted does not widen it. */
  #medianWidth(): number {
    const sorted = this.#width.slice(0, this.#count).sort();
    return sorted[this.#count >> 1];
  }

  #forgetOldest(): void {
    for (const column of [this.#cpu, this.#device, this.#width]) column.copyWithin(0, 1);
    this.#count--;
  }
}
