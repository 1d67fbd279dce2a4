/**
 * The time of a bus: what its clock says, how wrong that may be, and what it has been doing.
 *
 * A clock is asked once a tick, before its frames are built. A source of time gives time and bound in one reading, so
 * that they belong together even where a selector goes over to another source in between.
 *
 * Timestamps never go back, and a clock may: after it was set back by an hour the bus counts on from its last timestamp,
 * an hour ahead of the clock. The bound of a tick says so, too: true time lies within it of each of the tick's timestamps.
 *
 * A jump is a step of the clock that the thread's steady time did not take. Between two looks at the steady time the
 * clock was read at some moment nobody knows, as the thread may have been stopped, so the difference of the two is known as an
 * interval; only what two intervals cannot explain is counted. That costs no look at any clock beside those that ticks are
 * measured by. Of a clock that is no source and has no steady time of its own only readings that go back are known to be jumps.
 *
 * Cost: some ns beside the clock's own reading; nothing is allocated.
 */

import { MmsbError } from "../base/mod.ts";
import {
  type ClockKind,
  ClockReading,
  type ClockSource,
  type ClockStatus,
} from "../temporal/sources/clock_source.ts";
import { type BusClock, steadyMs } from "./options.ts";
import type { BusClockStatistics, ClockReport } from "./reports.ts";

/** What a header holds where the bound is not known, or larger. */
const UNKNOWN_US = 0xffff_ffff;

/** The first reading that timestamps cannot hold. */
const READING_US_LIMIT = 2 ** 52;

/** Steps of the clock that are jumps, beside what its rate may be off by. */
const FORWARD_MS = 100;
const BACKWARD_MS = 1;
/** The fastest that a kernel slews its clock. */
const RATE_MAX = 500e-6;

// Places of the numbers.
const READING_US = 0;
const ERROR_US = 1;
/** Last look at the steady time, ms. */
const STEADY_MS = 2;
/** Steady time when the difference was known last. */
const KNOWN_MS = 3;
/** The clock less the steady time, ms: at least, and at most (without a steady time the last reading). */
const LOW_MS = 4;
const HIGH_MS = 5;
/** The same of a reading behind which nobody has looked at the steady time yet: at most; NaN where there is none. */
const PENDING_MS = 6;
/** By how much the timestamps of the last tick were ahead of the clock, µs. */
const AHEAD_US = 7;
const LAST_JUMP_MS = 8;

/** Reads a bus's clock. */
export class BusTime {
  readonly #clock: BusClock;
  /** The clock, where it is a source. */
  readonly #source: ClockSource | undefined;
  readonly #reading = new ClockReading();
  readonly #steadyMs: () => number;
  /** Whether the steady time runs as the clock should. */
  readonly #hasSteady: boolean;
  readonly #values = Float64Array.of(0, Infinity, 0, 0, -Infinity, Infinity, NaN, 0, 0);
  #forward = 0;
  #backward = 0;

  /** Over a checked clock; does not read it yet. */
  constructor(clock: BusClock) {
    this.#clock = clock;
    this.#source = isSource(clock) ? clock : undefined;
    this.#steadyMs = steadyMs(clock);
    this.#hasSteady = this.#source !== undefined || clock.monotonicMs !== undefined;
    this.#values[STEADY_MS] = this.#steadyMs();
  }

  /** The time that ticks are measured and paced by, ms. */
  nowMs(): number {
    const values = this.#values, nowMs = this.#steadyMs();
    values[STEADY_MS] = nowMs;
    if (!Number.isNaN(values[PENDING_MS])) this.#compare(nowMs);
    return nowMs;
  }

  /**
   * Reads the clock, for timestamps.
   *
   * @throws {MmsbError} `clock` where it throws; its own error, if that is one of ours.
   */
  nowUs(): number {
    const values = this.#values, source = this.#source;
    let us: number;
    try {
      if (source === undefined) {
        us = this.#clock.nowUs();
        values[ERROR_US] = this.#boundUs();
      } else {
        source.read(this.#reading);
        us = this.#reading.us;
        values[ERROR_US] = this.#reading.errorNs / 1000;
      }
    } catch (error) {
      throw clockError(error);
    }
    return values[READING_US] = typeof us === "number" ? us : NaN;
  }

  /**
   * The bound of a tick that was stamped by the last reading: true time is at most so far from each of its timestamps.
   *
   * @param lastUs Physical part of its last timestamp.
   * @returns Whole µs; 2^32 − 1 where it is unknown, or as large.
   */
  boundUs(lastUs: number): number {
    const values = this.#values, readUs = values[READING_US];
    if (!(readUs >= 0 && readUs < READING_US_LIMIT)) {
      values[ERROR_US] = Infinity;
      return UNKNOWN_US;
    }
    if (this.#hasSteady) values[PENDING_MS] = readUs / 1000 - values[STEADY_MS];
    else this.#compareAlone(readUs);
    const aheadUs = values[AHEAD_US] = Math.max(0, lastUs - Math.floor(readUs));
    const boundUs = Math.ceil(values[ERROR_US] + aheadUs);
    return boundUs >= 0 && boundUs < UNKNOWN_US ? boundUs : UNKNOWN_US;
  }

  /**
   * What stands at opening; `undefined` for a clock that can tell nothing of itself.
   *
   * @throws {MmsbError} `clock` where it fails at that.
   */
  report(last: bigint): ClockReport | undefined {
    const source = this.#source;
    if (source === undefined) return undefined;
    let status: ClockStatus;
    try {
      status = source.status();
    } catch (error) {
      throw clockError(error);
    }
    const { kind, synchronised, reason = "", errorNs, nowNs } = status;
    const aheadMs = Math.max(0, Number((last >> 12n) - nowNs / 1000n) / 1000);
    const errorUs = errorNs / 1000;
    return { source: nameOf(source), kind, synchronised, errorUs, aheadMs, reason };
  }

  /** What the clock did so far. */
  statistics(ignoredReadings: number): BusClockStatistics {
    const values = this.#values, source = this.#source, errorUs = this.#boundUs();
    const kind: ClockKind | "given" = source?.kind ?? "given";
    return {
      source: source === undefined ? "given" : nameOf(source),
      kind,
      errorUs: errorUs >= 0 ? errorUs : Infinity,
      aheadMs: values[AHEAD_US] / 1000,
      ignoredReadings,
      jumps: { forward: this.#forward, backward: this.#backward, lastMs: values[LAST_JUMP_MS] },
    };
  }

  /** The clock's bound; NaN where it has no answer. */
  #boundUs(): number {
    try {
      const boundUs = this.#clock.errorUs();
      return typeof boundUs === "number" ? boundUs : NaN;
    } catch {
      // Timestamps can do without it.
      return NaN;
    }
  }

  /** Looks for a jump of a clock whose steady time nobody knows. */
  #compareAlone(readUs: number): void {
    const values = this.#values, stepMs = readUs / 1000 - values[HIGH_MS];
    values[HIGH_MS] = readUs / 1000;
    if (!(stepMs < -BACKWARD_MS) || stepMs === -Infinity) return;
    this.#backward++;
    values[LAST_JUMP_MS] = stepMs;
  }

  /** Looks for a jump, now that the steady time behind the last reading is known. */
  #compare(nowMs: number): void {
    const values = this.#values;
    const lowMs = values[READING_US] / 1000 - nowMs, highMs = values[PENDING_MS];
    const driftMs = Math.abs(nowMs - values[KNOWN_MS]) * RATE_MAX;
    const forwardMs = lowMs - values[HIGH_MS], backwardMs = values[LOW_MS] - highMs;
    if (forwardMs > FORWARD_MS + driftMs) {
      this.#forward++;
      values[LAST_JUMP_MS] = forwardMs;
    } else if (backwardMs > BACKWARD_MS + driftMs) {
      this.#backward++;
      values[LAST_JUMP_MS] = -backwardMs;
    }
    values[LOW_MS] = lowMs;
    values[HIGH_MS] = highMs;
    values[KNOWN_MS] = nowMs;
    values[PENDING_MS] = NaN;
  }
}

function isSource(clock: BusClock): clock is BusClock & ClockSource {
  const { read, status, name } = clock as Partial<ClockSource>;
  return typeof read === "function" && typeof status === "function" && typeof name === "string";
}

/** Its name; of a selector that of the source that it has selected. */
function nameOf(source: ClockSource): string {
  const { selected } = source as { readonly selected?: unknown };
  return typeof selected === "string" ? selected : source.name;
}

function clockError(error: unknown): MmsbError {
  if (error instanceof MmsbError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new MmsbError(
    "clock",
    `Cannot tell the time as the clock failed: ${message}; what a tick had staged must be written again`,
    { cause: error },
  );
}
