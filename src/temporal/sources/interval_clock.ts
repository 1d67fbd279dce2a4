/**
 * Time as an interval: not what time it is, but between which moments it certainly is.
 *
 * Two events can be ordered by their intervals alone, without a message between them, if the intervals do not touch. Who wants
 * that for an event of his own takes its latest time as the timestamp and waits until that has certainly passed, before
 * anybody hears of the event: whatever happens elsewhere afterwards gets a later timestamp. This is the
 * interface of TrueTime, and the wait is Spanner's commit wait (Corbett et al., "Spanner: Google's
 * Globally-Distributed Database", OSDI 2012, sections 3 and 4.1.2).
 *
 * It is as true as the source's bound. A source that nobody keeps has a guess for a bound, and then the order is one too.
 *
 * Cost: a reading, and two bigints; a wait takes about twice the bound, in steps of a timer, 1 ms.
 */
import { clearTimeout, setTimeout } from "node:timers";
import {
  checkKeys,
  checkNumber,
  checkType,
  COMMIT_WAIT_MS_MAX,
  MmsbError,
} from "../../base/mod.ts";
import { ClockReading, type ClockSource, type SteadyCounter } from "./clock_source.ts";
import { steadyCounter } from "./system_calls.ts";

const NS_PER_MS = 1e6;
/** Longest sleep before the clock is looked at again, in ms: it may have been synced, set or lost meanwhile. */
const SLEEP_MS_MAX = 250;

/** An interval that contains true time, both ends inclusive, in ns since the Unix epoch. */
export interface TimeInterval {
  /** The earliest time that it can be. */
  readonly earliest: bigint;
  /** The latest time that it can be. */
  readonly latest: bigint;
}

/** Order of two intervals: `uncertain` where they touch, as then either may have been first. */
export type IntervalOrder = "before" | "after" | "uncertain";

/** What a wait may be told. */
export interface CommitWaitOptions {
  /** Ends the wait. */
  readonly signal?: AbortSignal;
  /** Longest wait in ms, 0 to 60,000, which is the default. */
  readonly limitMs?: number;
}

/** Options of {@linkcode IntervalClock}, for tests. */
export interface IntervalClockOptions {
  /** By what the length of a wait is measured. Default: the system's steady counter. */
  readonly steady?: SteadyCounter;
  /** Sleeps for some ms, or until the signal aborts. Default: a timer. */
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

/**
 * Orders two intervals.
 *
 * @param a One interval.
 * @param b Another interval.
 * @returns `before` if all of `a` is before all of `b`, `after` if it is the other way round, else `uncertain`.
 *
 * @example Two that touch
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(compareIntervals({ earliest: 1n, latest: 4n }, { earliest: 5n, latest: 9n }), "before");
 * equal(compareIntervals({ earliest: 1n, latest: 5n }, { earliest: 5n, latest: 9n }), "uncertain");
 * ```
 */
export function compareIntervals(a: TimeInterval, b: TimeInterval): IntervalOrder {
  if (a.latest < b.earliest) return "before";
  return b.latest < a.earliest ? "after" : "uncertain";
}

/**
 * Tells intervals of time from a source.
 *
 * @example A timestamp that is certainly past when others hear of it
 * ```ts
 * import { ok } from "node:assert/strict";
 * import { SimulatedClock } from "./simulated_clock.ts";
 *
 * const source = new SimulatedClock({ syncErrorNs: 500_000 });
 * const clock = new IntervalClock(source, {
 *   steady: source.steady,
 *   sleep: async (ms) => source.advance(ms * 1e6),
 * });
 * const timestamp = clock.now().latest;
 * await clock.commitWait(timestamp);
 *
 * ok(clock.after(timestamp));
 * ok(source.trueNs > timestamp);
 * ```
 */
export class IntervalClock {
  readonly #source: ClockSource;
  readonly #steady: SteadyCounter;
  readonly #sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
  readonly #reading = new ClockReading();

  /**
   * Takes intervals from a source; whoever made the source starts and closes it.
   *
   * @param source Where time comes from.
   * @param options How a wait sleeps, for tests.
   * @throws {MmsbError} `usage` if that is no source, or an option is unknown.
   */
  constructor(source: ClockSource, options: IntervalClockOptions = {}) {
    checkKeys("IntervalClock", options, ["steady", "sleep"]);
    if (typeof source?.read !== "function") {
      throw new MmsbError("usage", "Cannot tell time by this: give a ClockSource");
    }
    this.#source = source;
    this.#steady = options.steady ?? steadyCounter();
    this.#sleep = options.sleep === undefined
      ? sleepByTimer
      : checkType("sleep", options.sleep, "function") as typeof sleepByTimer;
  }

  /**
   * The interval that true time is in.
   *
   * @returns The interval.
   * @throws {MmsbError} `clock` if the source has no time now.
   */
  now(): TimeInterval {
    const reading = this.#read();
    if (!hasTime(reading)) {
      throw new MmsbError("clock", `Cannot tell the time as ${this.#source.name} has none now`);
    }
    const ns = reading.ns;
    const errorNs = BigInt(Math.ceil(reading.errorNs));
    return { earliest: ns - errorNs, latest: ns + errorNs };
  }

  /**
   * Whether a moment has certainly passed.
   *
   * @param t The moment, in ns since the Unix epoch.
   * @returns True if it has; false if it has not, or nobody knows, also because the source has no time.
   * @throws {MmsbError} `usage` if `t` is no bigint.
   */
  after(t: bigint): boolean {
    checkType("t", t, "bigint");
    const reading = this.#read();
    return hasTime(reading) && reading.ns - BigInt(Math.ceil(reading.errorNs)) > t;
  }

  /**
   * Whether a moment has certainly not come yet.
   *
   * @param t The moment, in ns since the Unix epoch.
   * @returns True if it has not; false if it has, or nobody knows, also because the source has no time.
   * @throws {MmsbError} `usage` if `t` is no bigint.
   */
  before(t: bigint): boolean {
    checkType("t", t, "bigint");
    const reading = this.#read();
    return hasTime(reading) && reading.ns + BigInt(Math.ceil(reading.errorNs)) < t;
  }

  /**
   * Waits until a moment has certainly passed. A source that loses its time, or a clock that is set back, only makes it wait
   * longer, as both may come right again, but never longer than the limit.
   *
   * @param t The moment, in ns since the Unix epoch: the latest time of an interval, as a rule.
   * @param options How long at most, and what ends it before.
   * @returns When `after(t)` holds.
   * @throws {MmsbError} `limit` at once if `t` is further ahead of the clock than the limit, `clock` if the limit passed and
   * `after(t)` still does not hold, `usage` for a wrong argument.
   * @throws The signal's reason if it aborts.
   */
  async commitWait(t: bigint, options: CommitWaitOptions = {}): Promise<void> {
    checkType("t", t, "bigint");
    checkKeys("commitWait", options, ["signal", "limitMs"]);
    const { signal, limitMs = COMMIT_WAIT_MS_MAX } = options;
    checkNumber("limitMs", limitMs, 0, COMMIT_WAIT_MS_MAX);
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      throw new MmsbError("usage", "Cannot use that as signal: give an AbortSignal");
    }
    signal?.throwIfAborted();
    this.#requireNear(t, limitMs);
    const end = this.#steady.nowNs() + limitMs * NS_PER_MS;
    while (!this.after(t)) {
      const leftMs = (end - this.#steady.nowNs()) / NS_PER_MS;
      if (!(leftMs > 0)) this.#giveUp(t, limitMs);
      await this.#sleep(Math.min(this.#waitMs(t), leftMs), signal);
      signal?.throwIfAborted();
    }
  }

  /** How long to sleep: as long as it takes at least, if the clock runs right. */
  #waitMs(t: bigint): number {
    const reading = this.#read();
    if (!hasTime(reading)) return SLEEP_MS_MAX;
    const { ns, errorNs } = reading;
    const ms = (Number(t - ns) + errorNs) / NS_PER_MS;
    return Math.min(Math.max(ms, 0) + 1e-3, SLEEP_MS_MAX);
  }

  #requireNear(t: bigint, limitMs: number): void {
    const reading = this.#read();
    if (!hasTime(reading)) return;
    const aheadMs = Number(t - reading.ns) / NS_PER_MS;
    if (aheadMs <= limitMs) return;
    throw new MmsbError(
      "limit",
      `Cannot wait until ${t} ns has passed as that is ${aheadMs} ms ahead: at most ${limitMs} ms are waited, so give ns since 1970 (of a hybrid timestamp take physicalUs) and check the clock`,
      { values: { t, aheadMs, limitMs } },
    );
  }

  #giveUp(t: bigint, limitMs: number): never {
    const reading = this.#read(), { errorNs } = reading;
    const isKnown = hasTime(reading);
    const nowNs = isKnown ? reading.ns : undefined;
    const state = isKnown
      ? `it says ${nowNs} ns, give or take ${Math.ceil(errorNs)}`
      : "it has no time now";
    throw new MmsbError(
      "clock",
      `Cannot be sure that ${t} ns has passed after waiting ${limitMs} ms by ${this.#source.name}: ${state}`,
      { values: { t, limitMs, nowNs, errorNs, source: this.#source.name } },
    );
  }

  #read(): ClockReading {
    try {
      this.#source.read(this.#reading);
    } catch {
      // It breaks its word: that is no time either.
      this.#reading.set(0, 0, Infinity);
    }
    return this.#reading;
  }
}

/** Whether a source gave a time: one of somebody else's making may give what is none. */
function hasTime({ seconds, nanoseconds, errorNs }: ClockReading): boolean {
  return errorNs >= 0 && errorNs < Infinity && Number.isInteger(seconds) &&
    Number.isInteger(nanoseconds);
}

function sleepByTimer(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
