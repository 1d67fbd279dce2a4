/**
 * The system's clock, and what the kernel says about how wrong it is.
 *
 * ```text
 * bound = the kernel's maximum error + the correction still being slewed in + precision + growth since it was asked
 *       = 100 ms, if the kernel says that nobody keeps its clock, or if it cannot be asked
 * ```
 *
 * The kernel is asked each second, by the read that finds its answer a second old. Then it is also seen whether the
 * clock was set meanwhile: against a steady counter, which is slewed with it and never set.
 *
 * Without FFI the time is the runtime's, counted from the start of the thread and put right where it no longer
 * agrees with the system's (a set clock, a machine that slept); nobody can be asked, so the bound is 100 ms.
 *
 * Cost: one `clock_gettime` by FFI and arithmetic, some 30 ns; without FFI 100 ns. Once a second 2 µs more.
 */
import { checkKeys, checkType, MmsbError } from "../../base/mod.ts";
import { runtimeNowUs, runtimeWallMs } from "./_platform.ts";
import {
  type BoundPart,
  ClockReading,
  type ClockSource,
  type ClockStatus,
} from "./clock_source.ts";
import { KernelReport } from "./kernel_report.ts";
import {
  type SystemCalls,
  systemCalls,
  systemCallsMissing,
  SystemSteadyCounter,
  timespecSeconds,
} from "./system_calls.ts";

/** The bound of a clock for which nobody vouches, in ns. */
export const UNSYNCHRONISED_ERROR_NS = 100_000_000;

const NS_PER_S = 1_000_000_000;

/** Seconds after which the kernel is asked again. */
const ASK_AFTER_S = 1;
/** The kernel adds its growth once a second, so its answer may lack one second's. */
const KERNEL_LAG_S = 1;
/** Changes of time against the steady counter that count as a step, in ns; less is the width of a reading. */
const STEP_NS_MIN = 1_000_000;
/** Readings of both clocks of which the narrowest counts, so that an interruption between them is no step. */
const PAIR_TRIES = 4;
/** The runtime's clock and the system's, which gives whole ms, disagree by this without a step. */
const RUNTIME_STEP_MS_MIN = 3;

// Places of the numbers.
/** Time when the kernel was asked, s with a fraction. */
const ASKED = 0;
/** The bound at that moment, ns. */
const BASE = 1;
/** Its growth, ns a second. */
const GROWTH = 2;
/** System's time less the steady counter when last looked at, ns; NaN before. */
const OFFSET = 3;
/** The last step, ns. */
const STEP = 4;
/** What is added to the runtime's time, µs. */
const RUNTIME_SHIFT = 5;
/** Steady time of the kernel's last good word, ns; NaN before. */
const VOUCHED = 6;
/** Second from which the system's time is counted for `OFFSET`; 0 before. */
const ORIGIN = 7;

/** Options of {@linkcode SystemClock}. */
export interface SystemClockOptions {
  /** The C library; `null` for the runtime's clock. Default: this machine's, where FFI is granted. */
  readonly calls?: SystemCalls | null;
  /** The name in statuses and selectors. Default `system`. */
  readonly name?: string;
}

/**
 * The system's clock as a source of time.
 *
 * @example Read it, with its bound
 * ```ts
 * import { ok } from "node:assert/strict";
 * import { ClockReading } from "./clock_source.ts";
 *
 * const clock = new SystemClock();
 * const reading = new ClockReading();
 * clock.read(reading);
 *
 * ok(reading.ns > 1_700_000_000_000_000_000n);
 * ok(reading.errorNs > 0);
 * ```
 */
export class SystemClock implements ClockSource {
  /** Its name. */
  readonly name: string;
  /** Always `system`. */
  readonly kind = "system";
  readonly #calls: SystemCalls | null;
  readonly #timespec: Uint32Array;
  readonly #gettime: (clock: number) => number;
  readonly #realtime: number;
  readonly #steady: SystemSteadyCounter;
  readonly #report = new KernelReport();
  readonly #reading = new ClockReading();
  readonly #values = Float64Array.of(-Infinity, Infinity, 0, NaN, 0, 0, NaN, 0);
  #isSynchronised = false;
  #isClosed = false;
  #syncs = 0;
  #failures = 0;
  #steps = 0;

  /**
   * Opens the clock; nothing needs to be started.
   *
   * @param options The C library, for tests.
   * @throws {MmsbError} `usage` if an option is unknown.
   */
  constructor(options: SystemClockOptions = {}) {
    checkKeys("SystemClock", options, ["calls", "name"]);
    const calls = options.calls === undefined ? systemCalls() ?? null : options.calls;
    this.name = checkType("name", options.name ?? "system", "string");
    // A library that cannot even tell the time is none.
    this.#calls = calls !== null && calls.clockGettime(calls.clocks.realtime) === 0 ? calls : null;
    this.#timespec = calls?.timespec ?? new Uint32Array(4);
    this.#gettime = (clock) => calls === null ? 0 : calls.clockGettime(clock);
    this.#realtime = calls?.clocks.realtime ?? 0;
    this.#steady = new SystemSteadyCounter(this.#calls);
    this.#ask();
  }

  /** Whether the kernel says that somebody keeps its clock. */
  get isSynchronised(): boolean {
    return this.#isSynchronised;
  }

  /** Reads time and bound; see {@linkcode ClockSource.read}. */
  read(out: ClockReading): void {
    if (this.#calls === null) return this.#readRuntime(out);
    const timespec = this.#timespec;
    if (this.#gettime(this.#realtime) !== 0) return this.#readRuntime(out);
    const seconds = timespecSeconds(timespec);
    const nanoseconds = timespec[2];
    const values = this.#values;
    const ageS = seconds + nanoseconds * 1e-9 - values[ASKED];
    // Also where the clock was set back.
    if (!(ageS >= 0 && ageS < ASK_AFTER_S)) return this.#readAnew(out);
    out.set(seconds, nanoseconds, values[BASE] + ageS * values[GROWTH]);
  }

  /** The time in µs; see {@linkcode ClockSource.nowUs}. */
  nowUs(): number {
    if (this.#calls === null || this.#gettime(this.#realtime) !== 0) {
      this.read(this.#reading);
      return this.#reading.us;
    }
    const timespec = this.#timespec;
    // A product is cheaper than a quotient; where they differ, the sum's steps of 0.25 µs swallow it.
    return timespecSeconds(timespec) * 1e6 + timespec[2] * 1e-3;
  }

  /** The bound in µs; see {@linkcode ClockSource.errorUs}. */
  errorUs(): number {
    this.read(this.#reading);
    return this.#reading.errorNs / 1e3;
  }

  /** Does nothing but ask the kernel; see {@linkcode ClockSource.start}. */
  async start(): Promise<void> {
    if (!this.#isClosed) this.#ask();
  }

  /**
   * Asks the kernel; see {@linkcode ClockSource.sync}.
   *
   * @throws {MmsbError} `clock` if nobody vouches for the clock; `closed` after {@linkcode SystemClock.close}.
   */
  async sync(): Promise<void> {
    if (this.#isClosed) {
      throw new MmsbError("closed", "Cannot ask for the system's time as the clock is closed");
    }
    this.#ask();
    if (this.#isSynchronised) return;
    throw new MmsbError("clock", `Cannot trust the system's time: ${this.#reason()}`);
  }

  /** How the clock is doing; see {@linkcode ClockSource.status}. */
  status(): ClockStatus {
    const reading = this.#reading;
    this.read(reading);
    const vouched = this.#values[VOUCHED];
    const reason = this.#isSynchronised ? {} : { reason: this.#reason() };
    return {
      name: this.name,
      kind: this.kind,
      synchronised: this.#isSynchronised,
      ...reason,
      nowNs: reading.ns,
      errorNs: reading.errorNs,
      bound: this.#bound(reading.errorNs),
      offsetNs: 0,
      driftPpm: this.#isSynchronised ? this.#report.driftPpm : NaN,
      lastSyncAgeS: vouched >= 0 ? (this.#steady.nowNs() - vouched) / NS_PER_S : Infinity,
      syncs: this.#syncs,
      failures: this.#failures,
      details: this.#details(),
    };
  }

  /** Closes the clock; see {@linkcode ClockSource.close}. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#isSynchronised = false;
    this.#values[BASE] = Infinity;
    this.#values[GROWTH] = 0;
  }

  #readAnew(out: ClockReading): void {
    if (!this.#isClosed) this.#ask();
    const { timespec } = this.#calls!;
    if (this.#gettime(this.#realtime) !== 0) return this.#readRuntime(out);
    out.set(timespecSeconds(timespec), timespec[2], this.#values[BASE]);
  }

  #readRuntime(out: ClockReading): void {
    const values = this.#values;
    let us = runtimeNowUs() + values[RUNTIME_SHIFT];
    if (!(Math.abs(us / 1e6 - values[ASKED]) < ASK_AFTER_S)) {
      this.#askRuntime();
      us = runtimeNowUs() + values[RUNTIME_SHIFT];
    }
    const seconds = Math.floor(us / 1e6);
    out.set(seconds, Math.round(us - seconds * 1e6) * 1000, values[BASE]);
  }

  /** Asks whoever knows how wrong the clock is, and whether it was set meanwhile. */
  #ask(): void {
    if (this.#calls === null) return this.#askRuntime();
    const values = this.#values;
    const report = this.#report;
    if (report.ask(this.#calls) && report.isSynchronised) {
      this.#isSynchronised = true;
      this.#syncs++;
      values[VOUCHED] = this.#steady.nowNs();
      values[GROWTH] = report.tolerancePpm * 1e3;
      values[BASE] = report.maxErrorNs + Math.abs(report.offsetNs) + report.precisionNs +
        KERNEL_LAG_S * values[GROWTH];
    } else {
      this.#isSynchronised = false;
      this.#failures++;
      values[BASE] = UNSYNCHRONISED_ERROR_NS;
      values[GROWTH] = 0;
    }
    this.#lookForStep(this.#calls);
  }

  /** Finds what the clock is ahead of the steady counter by; where that changes, somebody set the clock. */
  #lookForStep(calls: SystemCalls): void {
    const values = this.#values;
    let width = Infinity;
    let offset = NaN;
    for (let i = 0; i < PAIR_TRIES; i++) {
      const before = this.#steady.nowNs();
      if (calls.clockGettime(calls.clocks.realtime) !== 0) return;
      const seconds = timespecSeconds(calls.timespec);
      const nanoseconds = calls.timespec[2];
      const after = this.#steady.nowNs();
      values[ASKED] = seconds + nanoseconds * 1e-9;
      if (after - before >= width) continue;
      width = after - before;
      // From a second near by, so that ns fit a number.
      if (values[ORIGIN] === 0) values[ORIGIN] = seconds;
      offset = (seconds - values[ORIGIN]) * NS_PER_S + nanoseconds - (before + after) / 2;
    }
    const step = offset - values[OFFSET];
    if (Math.abs(step) > STEP_NS_MIN + width) {
      this.#steps++;
      values[STEP] = step;
    }
    values[OFFSET] = offset;
  }

  #askRuntime(): void {
    const values = this.#values;
    if (this.#isClosed) return;
    const awayMs = runtimeWallMs() - (runtimeNowUs() + values[RUNTIME_SHIFT]) / 1e3;
    if (Math.abs(awayMs) > RUNTIME_STEP_MS_MIN) {
      // The wall clock drops the fraction of its ms; the first look is no step, the thread is only older than the set clock.
      values[RUNTIME_SHIFT] += Math.round(awayMs * 1e3);
      if (values[ASKED] > 0) {
        this.#steps++;
        values[STEP] = awayMs * 1e6;
      }
    }
    values[ASKED] = (runtimeNowUs() + values[RUNTIME_SHIFT]) / 1e6;
    values[BASE] = UNSYNCHRONISED_ERROR_NS;
    this.#failures++;
  }

  #reason(): string {
    if (this.#isClosed) return "it is closed";
    if (this.#calls === null) {
      return `the kernel cannot be asked how wrong its clock is, because ${
        systemCallsMissing() ?? "the C library is not used"
      }`;
    }
    const { error } = this.#report;
    return error === 0
      ? "the kernel says that nobody keeps its clock: no time service runs here, or it has no server"
      : `the kernel does not tell how wrong its clock is (error ${error}), as in some containers`;
  }

  #bound(errorNs: number): BoundPart[] {
    if (errorNs === Infinity) return [];
    if (!this.#isSynchronised) {
      return [{
        name: "unsynchronised clock",
        ns: errorNs,
        meaning: "Nobody vouches for the clock, so 100 ms are assumed, which is a guess",
      }];
    }
    const report = this.#report;
    const parts = [
      {
        name: "kernel's maximum error",
        ns: report.maxErrorNs,
        meaning:
          "What the machine's time service told the kernel, and 500 ppm of the time since then",
      },
      {
        name: "correction under way",
        ns: Math.abs(report.offsetNs),
        meaning: "What the kernel is still slewing into the clock, so as not to set it",
      },
      {
        name: "precision",
        ns: report.precisionNs,
        meaning: "The smallest difference that the clock can show",
      },
    ];
    const rest = errorNs - parts.reduce((sum, { ns }) => sum + ns, 0);
    return [...parts, {
      name: "growth since the kernel was asked",
      ns: rest,
      meaning: "What the clock may have run fast or slow by since then",
    }];
  }

  #details(): Record<string, string | number | boolean> {
    const report = this.#report;
    const steps = {
      steps: this.#steps,
      lastStepMs: Math.round(this.#values[STEP] / 1e3) / 1e3,
      reader: this.#calls === null ? "performance.timeOrigin + now" : "clock_gettime by FFI",
    };
    if (this.#calls === null || report.error !== 0) return steps;
    return {
      ...steps,
      estimatedErrorNs: report.estimatedErrorNs,
      taiOffsetS: report.taiOffsetS,
      leap: report.leap,
    };
  }
}
