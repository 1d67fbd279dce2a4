/**
 * What every source of time can do.
 *
 * A source says two things: what time it is, and how wrong that may be. The second is as much a part of
 * the answer as the first: true time lies between `time − errorNs` and `time + errorNs`, or the source is
 * broken. The bound grows while nobody confirms the time, as the oscillator of a machine runs fast or slow.
 *
 * A reading is left in an object of the caller's, in seconds and nanoseconds: 64 bits of ns do not fit a
 * number, and a bigint allocates. Time since the epoch in a number has steps of 0.25 µs, which is
 * enough for the hybrid logical clock (whole µs) and too coarse for a hardware clock (bounds of 50 ns).
 *
 * A source has `nowUs` and `errorUs`, so it fits where a bus wants a clock.
 */

import type { SntpServerStatus } from "./sntp_server_status.ts";

/** Where time comes from, best first: the order in which a selector prefers equals. */
export type ClockKind = "ptp" | "daemon" | "sntp" | "system" | "simulated";

/** One part of a bound, so that a reader can see where it comes from. */
export interface BoundPart {
  /** What it is, in a few words: `root delay / 2`. */
  readonly name: string;
  /** Its share of the bound, in ns. */
  readonly ns: number;
  /** What it means, in one sentence for somebody who knows no clocks. */
  readonly meaning: string;
}

/** How a source is doing. For people and monitors: it allocates. */
export interface ClockStatus {
  /** Name of the source. */
  readonly name: string;
  /** Where its time comes from. */
  readonly kind: ClockKind;
  /** Whether somebody vouches for its time now. */
  readonly synchronised: boolean;
  /** Why it is not synchronised, in one sentence; left out where it is. */
  readonly reason?: string;
  /** Its time when it was asked, in ns since the Unix epoch. */
  readonly nowNs: bigint;
  /** The bound at that moment, in ns; Infinity if it has no time at all. */
  readonly errorNs: number;
  /** What the bound is made of; the parts add up to `errorNs`. Empty where it is Infinity. */
  readonly bound: readonly BoundPart[];
  /** Its time less the system's clock, in ns; NaN where that is not known. */
  readonly offsetNs: number;
  /** How much faster than true time its oscillator is found to run, in parts per million; NaN if unknown. */
  readonly driftPpm: number;
  /** Seconds since its time was last confirmed; Infinity if it never was. */
  readonly lastSyncAgeS: number;
  /** Syncs that succeeded. */
  readonly syncs: number;
  /** Syncs that failed. */
  readonly failures: number;
  /** How each server does that it asks; left out where it asks none. */
  readonly servers?: readonly SntpServerStatus[];
  /** Further facts, by name, for `--json` and a detailed view. */
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

/**
 * One reading of a clock, used again and again: reading into it allocates nothing.
 *
 * @example Its forms
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const reading = new ClockReading();
 * reading.set(1_767_225_600, 123_456_789, 50);
 *
 * equal(reading.ns, 1_767_225_600_123_456_789n);
 * equal(reading.us, 1_767_225_600_123_456.75);
 * equal(reading.errorNs, 50);
 * ```
 */
export class ClockReading {
  /** An array, so that storing a number never allocates one on the heap. */
  readonly #values = new Float64Array(3);

  /** Whole seconds since the Unix epoch. */
  get seconds(): number {
    return this.#values[0];
  }

  /** Nanoseconds within the second, 0 to below 1,000,000,000; whole. */
  get nanoseconds(): number {
    return this.#values[1];
  }

  /** How far true time may be away, either way, in ns; Infinity if the source has no time. */
  get errorNs(): number {
    return this.#values[2];
  }

  /** The time in µs since the Unix epoch, rounded to steps of 0.25 µs. */
  get us(): number {
    return this.#values[0] * 1e6 + this.#values[1] * 1e-3;
  }

  /** The time in ns since the Unix epoch, exact. Allocates. */
  get ns(): bigint {
    return BigInt(this.#values[0]) * 1_000_000_000n + BigInt(this.#values[1]);
  }

  /**
   * Takes a reading. Not checked: a source calls it.
   *
   * @param seconds Whole seconds since the Unix epoch.
   * @param nanoseconds Whole ns within the second, 0 to below 1,000,000,000.
   * @param errorNs The bound in ns.
   */
  set(seconds: number, nanoseconds: number, errorNs: number): void {
    const values = this.#values;
    values[0] = seconds;
    values[1] = nanoseconds;
    values[2] = errorNs;
  }
}

/** A counter that never goes back and runs at about one second a second. */
export interface SteadyCounter {
  /**
   * Reads the counter.
   *
   * @returns ns since an arbitrary moment, less than 2^53; threads have the same only where `origin` says so.
   */
  nowNs(): number;
}

/** A source of time. */
export interface ClockSource {
  /** Its name, unique in a selector: `sntp pool.example`, `ptp0`. */
  readonly name: string;
  /** Where its time comes from. */
  readonly kind: ClockKind;
  /** Whether somebody vouches for its time now; cheap. */
  readonly isSynchronised: boolean;

  /**
   * Reads time and bound. Never throws and allocates nothing: a source that has no time
   * gives the system's with a bound of Infinity.
   *
   * @param out Takes the reading.
   */
  read(out: ClockReading): void;

  /**
   * The time for a hybrid logical clock or a bus.
   *
   * @returns µs since the Unix epoch, in steps of 0.25 µs.
   */
  nowUs(): number;

  /**
   * The bound for a bus.
   *
   * @returns µs; Infinity if the source has no time.
   */
  errorUs(): number;

  /**
   * Begins to keep the time: a first sync, and later ones by a timer that does not keep the process alive. A source that
   * needs none does nothing. Calling it again does nothing.
   *
   * @returns When the first sync is done, well or not: `isSynchronised` says which. Never rejects.
   */
  start(): Promise<void>;

  /**
   * Asks for the time once, now. One call at a time: a second one waits for the first's result.
   *
   * @throws {MmsbError} `clock` if nobody answered, or no answer could be trusted: why, in words. The source is then as before.
   */
  sync(): Promise<void>;

  /** How the source is doing. */
  status(): ClockStatus;

  /** Gives back sockets, files, timers and threads. A closed source has no time. Closing again does nothing. */
  close(): Promise<void>;
}
