/**
 * The operating system's NTP daemon as a source of time: chronyd, asked how wrong the system's clock may be.
 *
 * The time is the system's own, `CLOCK_REALTIME`, as every program on the machine has it: chronyd is already slewing it to
 * where it belongs, so what it states as still to be corrected is not added to the time but to the bound. (Added to the time it
 * would count twice as soon as the kernel has slewed it away.)
 *
 * ```text
 * bound = |correction under way| + |last offset| + root dispersion + root delay / 2
 *       + growth · time since the answer + steps of the clock since then + width of reading both clocks
 * growth = skew + |residual frequency| + 1 ppm + drift that nobody corrects   (+ 15 ppm once the daemon is silent)
 * ```
 *
 * The first line is chrony's own statement of the most that its clock is wrong by, and the last offset besides; 1 ppm is what
 * chrony allows an oscillator (`maxclockerror`), and it does the same to its root dispersion. A daemon that only watches (`-x`, in a
 * container) lets the clock drift: the correction that it states grows from answer to answer, at most at the frequency that it states.
 *
 * Somebody else may set the clock, of which chronyd learns by its next measurement only: it goes on to state small numbers. So a step that
 * chronyd's words do not explain stays a part of the bound, and nobody vouches for the time, until it has measured again.
 *
 * Under another daemon (systemd-timesyncd, ntpd, ptp4l with phc2sys) nothing answers here; those tell the kernel, whom
 * `SystemClock` asks.
 *
 * Cost: a reading some 35 ns; a question 0.3 ms over the loopback interface, 5 ms by `chronyc`.
 */
import { clearTimeout, setTimeout } from "node:timers";
import { checkInteger, checkKeys, checkNumber, checkOneOf, checkType } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { askChrony, CHRONY_PORT, type ChronyAddress, type ChronyAnswer } from "./_chrony_ask.ts";
import { type ChronyTracking, LOCAL_REFERENCE_ID } from "./_chrony_packet.ts";
import { MarkedRealtime } from "./_chrony_realtime.ts";
import {
  type BoundPart,
  ClockReading,
  type ClockSource,
  type ClockStatus,
} from "./clock_source.ts";
import { type SystemCalls, systemCalls } from "./system_calls.ts";

const NS_PER_S = 1e9;
/** What chrony allows an oscillator besides what it knows of it: the default of its `maxclockerror`. */
const MAX_CLOCK_ERROR_PPM = 1;
/** What RFC 5905 allows an oscillator that nobody watches (its PHI). */
const UNWATCHED_PPM = 15;
/** The second question comes soon, as two answers show whether the daemon steers the clock or only watches it. */
const SECOND_QUESTION_MS = 200;
/** chronyd measures at least each 1024 s unless told otherwise; without a measurement for so many it has lost its servers. */
const MEASUREMENTS_MISSED_MAX = 8, MEASUREMENT_INTERVAL_S = 1024;
const LEAP_UNSYNCHRONISED = 3;
/** A step that status names, in ns. */
const STEP_SHOWN_NS = 100_000;
/** A change of the clock against the counter that is a step, in ns: more than reading both takes, and a whole ms without FFI. */
const STEP_NS_MIN = 3_000_000;

// Places of the numbers.
/** The bound at the answer, without the width of reading, ns; Infinity before the first. */
const BASE = 0;
/** ns of bound a ns of time. */
const GROWTH = 1;
/** After so many ns without an answer the daemon counts as silent. */
const STALE = 2;
/** Steps that chronyd did not know of at its last measurement, ns. */
const CARRIED = 3;

/** Options of {@linkcode ChronyClock}. */
export interface ChronyClockOptions {
  /** Name of the source. Default `chrony`. */
  readonly name?: string;
  /** UDP port of chronyd's command protocol on 127.0.0.1; `cmdport` of its settings. Default 323. */
  readonly port?: number;
  /** chrony's program, where the port does not answer. Default `chronyc`. */
  readonly chronyc?: string;
  /** How to ask: `auto` (default) tries the port, then the program. */
  readonly via?: "auto" | "socket" | "chronyc";
  /** Time between two questions, in ms. Default 4000. */
  readonly pollMs?: number;
  /** How long to wait for an answer, in ms. Default 250. */
  readonly timeoutMs?: number;
  /** After so long without an answer nobody vouches for the time, in ms. Default 15,000. */
  readonly staleMs?: number;
  /** The C library; `null` for none. Default: this machine's, where FFI is granted. */
  readonly calls?: SystemCalls | null;
}

const OPTIONS = ["name", "port", "chronyc", "via", "pollMs", "timeoutMs", "staleMs", "calls"];

/**
 * The time of chronyd on this machine.
 *
 * @example On any machine: with a chronyd it is synchronised, without one it says why it is not
 * ```ts
 * import { equal, match } from "node:assert/strict";
 *
 * const clock = new ChronyClock({ port: 9, via: "socket", timeoutMs: 20 });
 * await clock.start();
 *
 * equal(clock.isSynchronised, false);
 * equal(clock.status().errorNs, Infinity);
 * match(clock.status().reason ?? "", /nothing answers|not granted/);
 * await clock.close();
 * ```
 */
export class ChronyClock implements ClockSource {
  /** Name of the source. */
  readonly name: string;
  /** Always `daemon`. */
  readonly kind = "daemon";
  readonly #address: ChronyAddress;
  readonly #pollMs: number;
  readonly #realtime: MarkedRealtime;
  readonly #reading = new ClockReading();
  readonly #values = Float64Array.of(Infinity, 0, 0, 0);
  #tracking: ChronyTracking | undefined;
  #via: ChronyAnswer["via"] = "none";
  /** Why nobody vouches for the time, to go on after `as`; empty where somebody does. */
  #refusal = "it was never asked";
  /** Why the last question failed, likewise. */
  #failure = "";
  #driftPpm = 0;
  #syncs = 0;
  #failures = 0;
  #pending: Promise<void> | undefined;
  #started: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /**
   * Makes the source; nobody is asked before `start` or `sync`.
   *
   * @param options Where the daemon is, and how often to ask it.
   * @throws {MmsbError} `usage` or `out-of-bounds` if an option is none or is out of range.
   */
  constructor(options: ChronyClockOptions = {}) {
    checkKeys("ChronyClock", options, OPTIONS);
    this.name = checkType("name", options.name ?? "chrony", "string");
    this.#address = {
      port: checkInteger("port", options.port ?? CHRONY_PORT, 1, 65_535),
      chronyc: checkType("chronyc", options.chronyc ?? "chronyc", "string"),
      via: checkOneOf("via", options.via ?? "auto", ["auto", "socket", "chronyc"]),
      timeoutMs: checkNumber("timeoutMs", options.timeoutMs ?? 250, 1, 60_000),
    };
    this.#pollMs = checkNumber("pollMs", options.pollMs ?? 4000, 10, 3_600_000);
    const staleMs = checkNumber("staleMs", options.staleMs ?? 15_000, 10, 86_400_000);
    this.#values[STALE] = staleMs * 1e6;
    const { calls = systemCalls() ?? null } = options;
    this.#realtime = new MarkedRealtime(calls);
  }

  /** Whether chronyd answered lately and said that it is synchronised to somebody. */
  get isSynchronised(): boolean {
    if (this.#refusal !== "" || this.#isStepped) return false;
    this.#realtime.read();
    return this.#realtime.passedNs <= this.#values[STALE];
  }

  /** Reads time and bound; see {@linkcode ClockSource.read}. */
  read(out: ClockReading): void {
    const realtime = this.#realtime;
    const values = this.#values;
    realtime.read();
    const passed = realtime.passedNs;
    const silent = Math.max(0, passed - values[STALE]);
    const errorNs = values[BASE] + realtime.widthNs + realtime.steppedNs +
      passed * values[GROWTH] + silent * UNWATCHED_PPM * 1e-6;
    out.set(realtime.seconds, realtime.nanoseconds, errorNs);
  }

  /** The time in µs; see {@linkcode ClockSource.nowUs}. */
  nowUs(): number {
    this.read(this.#reading);
    return this.#reading.us;
  }

  /** The bound in µs; see {@linkcode ClockSource.errorUs}. */
  errorUs(): number {
    this.read(this.#reading);
    return this.#reading.errorNs / 1e3;
  }

  /** Asks now and then at intervals; see {@linkcode ClockSource.start}. */
  start(): Promise<void> {
    return this.#started ??= this.#isClosed ? Promise.resolve() : this.#poll(SECOND_QUESTION_MS);
  }

  /**
   * Asks the daemon once.
   *
   * @throws {MmsbError} `clock` if it does not answer, is not synchronised or says what cannot be; `closed` if the source is closed.
   */
  sync(): Promise<void> {
    if (this.#isClosed) {
      return Promise.reject(new MmsbError("closed", `Cannot ask ${this.name} as it is closed`));
    }
    return this.#pending ??= this.#ask().finally(() => this.#pending = undefined);
  }

  /** How the source is doing; see {@linkcode ClockSource.status}. */
  status(): ClockStatus {
    const synchronised = this.isSynchronised;
    const reading = this.#reading;
    this.read(reading);
    const tracking = this.#tracking;
    return {
      name: this.name,
      kind: this.kind,
      synchronised,
      ...(synchronised ? {} : { reason: this.#reason() }),
      nowNs: reading.ns,
      errorNs: reading.errorNs,
      bound: tracking === undefined || reading.errorNs === Infinity ? [] : this.#bound(tracking),
      // The time is the system's own.
      offsetNs: 0,
      driftPpm: tracking?.frequencyPpm ?? NaN,
      lastSyncAgeS: tracking === undefined ? Infinity : this.#realtime.passedNs / NS_PER_S,
      syncs: this.#syncs,
      failures: this.#failures,
      details: this.#details(tracking),
    };
  }

  /** Ends the questions; see {@linkcode ClockSource.close}. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#values[BASE] = Infinity;
    this.#refusal = "it is closed";
    await this.#pending?.catch(() => {});
  }

  async #poll(nextMs: number): Promise<void> {
    await this.sync().catch(() => {});
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.#poll(this.#pollMs), nextMs);
    this.#timer.unref();
  }

  async #ask(): Promise<void> {
    const { tracking, via } = await askChrony(this.#address);
    if (this.#isClosed) throw new MmsbError("closed", `Cannot ask ${this.name} as it is closed`);
    this.#failure = typeof tracking === "string" ? tracking : refusalOf(tracking);
    if (typeof tracking !== "string" && this.#failure === "") {
      this.#take(tracking, via);
      return;
    }
    this.#failures++;
    // Who does not answer may do so in a moment; who says that it has no time has none.
    if (typeof tracking !== "string" || this.#tracking === undefined) this.#refusal = this.#failure;
    throw new MmsbError("clock", `Cannot take the time from chronyd as ${this.#failure}`, {
      values: { name: this.name, port: this.#address.port },
    });
  }

  #take(tracking: ChronyTracking, via: ChronyAnswer["via"]): void {
    const values = this.#values;
    const realtime = this.#realtime;
    const before = this.#tracking;
    realtime.read();
    const passedS = realtime.passedNs / NS_PER_S;
    const frequencyPpm = Math.abs(tracking.frequencyPpm);
    this.#driftPpm = before === undefined || passedS <= 0 ? frequencyPpm : Math.min(
      frequencyPpm,
      Math.abs(tracking.correctionS - before.correctionS) / passedS * 1e6,
    );
    this.#carry(realtime.mark(), tracking);
    this.#tracking = tracking;
    this.#via = via;
    this.#refusal = "";
    this.#syncs++;
    const { correctionS, lastOffsetS, rootDispersionS, rootDelayS } = tracking;
    values[BASE] = values[CARRIED] + NS_PER_S * (Math.abs(correctionS) + Math.abs(lastOffsetS) +
          rootDispersionS + Math.abs(rootDelayS) / 2);
    values[GROWTH] = 1e-6 * (tracking.skewPpm + Math.abs(tracking.residualPpm) +
      MAX_CLOCK_ERROR_PPM + this.#driftPpm);
  }

  /** Keeps a step until chronyd has measured behind it. */
  #carry(stepNs: number, tracking: ChronyTracking): void {
    const values = this.#values, before = this.#tracking;
    if (before !== undefined && Math.abs(stepNs) > STEP_NS_MIN) {
      // chronyd's own step takes away what it had stated, or found, as wrong.
      const corrected = (before.correctionS - tracking.correctionS) * NS_PER_S;
      const foreign = Math.min(Math.abs(stepNs), Math.abs(stepNs - corrected));
      values[CARRIED] += Math.max(0, foreign - Math.abs(tracking.lastOffsetS) * NS_PER_S);
    } else if (before?.referenceTimeS !== tracking.referenceTimeS) values[CARRIED] = 0;
  }

  /** Whether the clock was set behind chronyd's last measurement. */
  get #isStepped(): boolean {
    return this.#values[CARRIED] > STEP_NS_MIN || this.#realtime.isSteppedBy(STEP_NS_MIN);
  }

  #reason(): string {
    const why = this.#refusal !== ""
      ? this.#refusal
      : this.#isStepped
      ? "somebody has set the system's clock since it measured"
      : this.#failure !== ""
      ? this.#failure
      : "it was not asked for too long";
    if (this.#isClosed) return "The source is closed";
    const hint = this.#tracking === undefined
      ? "; another time service (systemd-timesyncd, ntpd) tells the kernel, and the source of the system's clock says it"
      : "";
    return `chronyd does not vouch for the time as ${why}${hint}`;
  }

  /** Also of an answer that has got old: what it said, and the growth since. */
  #bound(tracking: ChronyTracking): BoundPart[] {
    const realtime = this.#realtime;
    const ofStart = (name: string, seconds: number, meaning: string): BoundPart => ({
      name,
      ns: Math.abs(seconds) * NS_PER_S,
      meaning,
    });
    const parts: BoundPart[] = [
      ofStart(
        "correction under way",
        tracking.correctionS,
        "What chronyd is still slewing into the system's clock, so as not to set it",
      ),
      ofStart(
        "last offset",
        tracking.lastOffsetS,
        "By how much chronyd found the clock wrong at its last measurement",
      ),
      ofStart(
        "root dispersion",
        tracking.rootDispersionS,
        "What all clocks from the reference clock down to this one may have drifted since they were set",
      ),
      ofStart(
        "root delay / 2",
        tracking.rootDelayS / 2,
        "Half the way to the reference clock: nobody knows how it is shared between there and back",
      ),
      {
        name: "width of reading",
        ns: realtime.widthNs,
        meaning: "How long it took to read two clocks one after the other",
      },
    ];
    // Less is the time between reading two clocks, which goes with the growth.
    const steppedNs = realtime.steppedNs + this.#values[CARRIED];
    if (steppedNs > STEP_SHOWN_NS) {
      parts.push({
        name: "steps",
        ns: steppedNs,
        meaning: "By how much somebody has set the clock since chronyd measured",
      });
    }
    const rest = this.#reading.errorNs - parts.reduce((sum, { ns }) => sum + ns, 0);
    return [...parts, {
      name: "growth since the answer",
      ns: Math.max(0, rest),
      meaning: "What the clock may have run fast or slow by since chronyd was asked",
    }];
  }

  #details(tracking: ChronyTracking | undefined): Record<string, string | number | boolean> {
    const { port } = this.#address;
    const common = {
      reader: this.#realtime.seesSteps ? "clock_gettime by FFI" : "the runtime's clock",
      port,
      via: this.#via,
    };
    if (tracking === undefined) return common;
    return {
      ...common,
      reference: tracking.reference,
      stratum: tracking.stratum,
      leap: ["none", "insert", "delete", "unknown"][tracking.leap],
      updateIntervalS: tracking.updateIntervalS,
      residualPpm: tracking.residualPpm,
      skewPpm: tracking.skewPpm,
      uncorrectedDriftPpm: this.#driftPpm,
      ...(this.#failure === "" ? {} : { lastFailure: this.#failure }),
    };
  }
}

/** Why an answer's time cannot be trusted, to go on after `as`; empty where it can. */
function refusalOf(tracking: ChronyTracking): string {
  const { referenceId, leap, stratum, referenceTimeS, updateIntervalS } = tracking;
  if (leap === LEAP_UNSYNCHRONISED || referenceId === 0 || stratum === 0 || stratum >= 16) {
    return "it is not synchronised to any server";
  }
  if (referenceId === LOCAL_REFERENCE_ID) {
    return "it follows nobody but its own clock (`local` in its settings)";
  }
  const nowS = Number(Temporal.Now.instant().epochMilliseconds) / 1e3;
  const ageS = nowS - referenceTimeS;
  const ageMaxS = MEASUREMENTS_MISSED_MAX * Math.max(updateIntervalS, MEASUREMENT_INTERVAL_S);
  if (ageS > ageMaxS) return `its last measurement is ${Math.round(ageS)} s old`;
  return "";
}
