/**
 * A hardware clock as a source of time: `/dev/ptpN`, which a network card, a time card or the host of a virtual machine gives.
 *
 * A device takes a microsecond to read (and 10 µs to leave a virtual machine), so it is not read for each question: four times a
 * second it is compared with the machine's raw counter, and a reading goes on from the last comparison on a line whose rate is
 * fitted to the last sixteen.
 *
 * ```text
 * bound = error of the kind of device + half the width of the comparison + what the host states of itself
 *       + growth · time since the comparison + time that the counter missed
 * growth = 1 ppm + the larger of 3 · standard deviation of the fitted rate, and 2 · bound / time between the first comparison and the last
 *          + what the rate between these two differs by   (before there is one: 100 ppm; + 15 ppm once comparisons fail)
 * ```
 *
 * A virtual machine's clock of its host is vouched for by the host. A network card's is the time only if a PTP daemon
 * keeps it, of which the device says nothing: it counts as unsynchronised until somebody says `disciplined: true`. Such clocks
 * count in TAI, without leap seconds; the kernel knows the difference if the daemon told it, and else there is no time from them.
 *
 * Cost: a reading some 35 ns, nothing is allocated; a comparison some 10 µs, and 0.1 ms for the rate.
 */
import { clearTimeout, setTimeout } from "node:timers";
import { checkInteger, checkKeys, checkNumber, checkOneOf, checkType } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { ClockLine } from "./clock_line.ts";
import {
  type BoundPart,
  ClockReading,
  type ClockSource,
  type ClockStatus,
} from "./clock_source.ts";
import { KernelReport } from "./kernel_report.ts";
import { type PtpMeasure, PtpReader } from "./_ptp_reader.ts";
import { PTP_SAMPLES_MAX } from "./_ptp_codec.ts";
import { linkOf, textOf } from "./_setup_files.ts";
import { type PtpKind, ptpKindOf } from "./ptp_devices.ts";
import { fitRobustLine } from "./robust_line.ts";
import { MarkedRealtime } from "./_chrony_realtime.ts";
import {
  type SystemCalls,
  systemCalls,
  systemCallsMissing,
  SystemSteadyCounter,
} from "./system_calls.ts";

const NS_PER_S = 1_000_000_000;
/** Comparisons from which the rate is fitted. */
const HISTORY = 16;
const SAMPLES = 5;
/** An oscillator of which nothing is known yet, in ppm. */
const UNKNOWN_PPM = 100;
/** How far an oscillator's rate may move within some seconds, and a daemon may steer the device, in ppm. */
const WANDER_PPM = 1;
/** What RFC 5905 allows an oscillator that nobody watches (its PHI). */
const UNWATCHED_PPM = 15;
/** Of a fitted rate, in standard deviations. */
const RATE_DEVIATIONS = 3;
/** The second comparison comes soon, as there is no rate before. */
const SECOND_COMPARISON_MS = 20;
/** Counters that are slewed differ from the raw one by less than this; more is sleep. */
const SLEW_MAX = 1e-3;
/** The time of day moves against the counter when the machine sleeps or somebody sets it; less is its coarseness, in ns. */
const MOVED_NS = 50_000_000;
/** The counter goes on by more than this before a machine has fallen asleep: so long nothing else is looked at, in ns. */
const LOOK_NS = 100_000;
/** A device that shows less was never set: it counts from 1970. */
const SET_FROM_S = 1_000_000_000;
/** TAI less UTC since 2017, to recognise a clock in the other scale where the kernel does not know. */
const TAI_OFFSET_S = 37;
/** A clock that is a whole TAI offset away, to this, is in the other scale. */
const SCALE_NS = 0.5e9;

/** Options of {@linkcode PtpClock}. */
export interface PtpClockOptions {
  /** The device. Default `/dev/ptp0`. */
  readonly device?: string;
  /** Name of the source. Default: the device's, `ptp0`. */
  readonly name?: string;
  /** Whether a PTP daemon or the host keeps the device. Default: true of a host's clock, false of a card's. */
  readonly disciplined?: boolean;
  /** What the device counts in. Default: UTC of a host's clock, TAI of a card's. */
  readonly timescale?: "tai" | "utc";
  /** TAI less UTC in s, where the kernel was not told. */
  readonly taiOffsetS?: number;
  /** Time between two comparisons, in ms. Default 250. */
  readonly pollMs?: number;
  /** After so long without a comparison nobody vouches for the time, in ms. Default 2000. */
  readonly staleMs?: number;
  /** Samples of a comparison, of which the narrowest counts: 1 to 25. Default 5. */
  readonly samples?: number;
  /** Folder that stands for `/` where the kind of device is looked up, for tests. Default `/`. */
  readonly root?: string;
  /** The C library; `null` for none. Default: this machine's, where FFI is granted. */
  readonly calls?: SystemCalls | null;
}

const OPTIONS = [
  ...["device", "name", "disciplined", "timescale", "taiOffsetS", "pollMs", "staleMs", "samples"],
  ...["root", "calls"],
];

/**
 * The time of a hardware clock.
 *
 * @example A device that is not there
 * ```ts
 * import { equal, rejects } from "node:assert/strict";
 *
 * const clock = new PtpClock({ device: "/dev/ptp-none" });
 *
 * await rejects(clock.sync(), { code: "clock" });
 * equal(clock.isSynchronised, false);
 * equal(clock.errorUs(), Infinity);
 * await clock.close();
 * ```
 */
export class PtpClock implements ClockSource {
  /** Name of the source. */
  readonly name: string;
  /** Always `ptp`. */
  readonly kind = "ptp";
  /** What is known of the device. */
  readonly deviceKind: PtpKind;
  readonly #device: string;
  readonly #clockName: string;
  readonly #statedErrorPath: string;
  readonly #isDisciplined: boolean;
  readonly #timescale: "tai" | "utc";
  readonly #taiOffsetS: number | undefined;
  readonly #pollMs: number;
  readonly #staleNs: number;
  readonly #calls: SystemCalls | null;
  readonly #reader: PtpReader | undefined;
  readonly #boot: SystemSteadyCounter;
  readonly #system: MarkedRealtime;
  readonly #line = new ClockLine();
  readonly #reading = new ClockReading();
  readonly #kernel = new KernelReport();
  /** The last comparisons: counter, and device less counter; both since the first of all, in ns. */
  readonly #historyRaw = new Float64Array(HISTORY);
  readonly #historyAhead = new Float64Array(HISTORY);
  #historyCount = 0;
  /** Counter, counter with sleep and coarse time of day at the last comparison, and counter at the last look for sleep, ns. */
  readonly #marks = Float64Array.of(0, 0, 0, NaN);
  #last: PtpMeasure | undefined;
  #origin: PtpMeasure | undefined;
  #statedErrorNs = 0;
  #offsetNs = NaN;
  #ratePpm = NaN;
  #refusal = "it was never asked";
  #failure = "";
  #syncs = 0;
  #failures = 0;
  #steps = 0;
  #started: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /**
   * Makes the source; the device is opened by `start` or `sync`.
   *
   * @param options Which device, and what is known of it.
   * @throws {MmsbError} `usage` or `out-of-bounds` if an option is none or is out of range.
   */
  constructor(options: PtpClockOptions = {}) {
    checkKeys("PtpClock", options, OPTIONS);
    const { calls = systemCalls() ?? null } = options;
    this.#device = checkType("device", options.device ?? "/dev/ptp0", "string");
    const deviceName = this.#device.split("/").at(-1) ?? "";
    this.name = checkType("name", options.name ?? deviceName, "string");
    const root = checkType("root", options.root ?? "/", "string").replace(/\/+$/, "");
    const folder = `${root}/sys/class/ptp/${deviceName}`;
    this.#clockName = textOf(`${folder}/clock_name`);
    this.#statedErrorPath = `${folder}/device/phc_error_bound`;
    this.deviceKind = ptpKindOf(this.#clockName, linkOf(`${folder}/device/driver`));
    this.#isDisciplined = options.disciplined === undefined
      ? this.deviceKind.isHostKept
      : checkType("disciplined", options.disciplined, "boolean");
    this.#timescale = checkOneOf("timescale", options.timescale ?? this.deviceKind.timescale, [
      "tai",
      "utc",
    ]);
    this.#taiOffsetS = options.taiOffsetS === undefined
      ? undefined
      : checkInteger("taiOffsetS", options.taiOffsetS, 0, 1000);
    this.#pollMs = checkNumber("pollMs", options.pollMs ?? 250, 10, 3_600_000);
    this.#staleNs = checkNumber("staleMs", options.staleMs ?? 2000, 10, 86_400_000) * 1e6;
    const samples = checkInteger("samples", options.samples ?? SAMPLES, 1, PTP_SAMPLES_MAX);
    this.#calls = calls;
    this.#reader = calls === null ? undefined : new PtpReader(calls, this.#device, samples);
    this.#boot = new SystemSteadyCounter(calls);
    this.#system = new MarkedRealtime(calls);
  }

  /** Whether the device was compared lately, and host or daemon vouch for it. */
  get isSynchronised(): boolean {
    return this.#refusal === "" && this.#ageNs() <= this.#staleNs;
  }

  /** Reads time and bound; see {@linkcode ClockSource.read}. */
  read(out: ClockReading): void {
    const reader = this.#reader;
    if (reader === undefined || !this.#line.isSet) {
      this.#system.read();
      out.set(this.#system.seconds, this.#system.nanoseconds, Infinity);
      return;
    }
    const raw = reader.rawNs();
    this.#line.read(raw, out);
    const marks = this.#marks;
    const looked = raw - marks[3];
    if (looked >= 0 && looked < LOOK_NS) return;
    const passed = raw - marks[0];
    const moved = Math.abs(reader.coarseNs() - marks[2] - passed);
    if (!(moved > MOVED_NS + passed * SLEW_MAX) && passed <= this.#staleNs) {
      marks[3] = raw;
      return;
    }
    const missed = Math.abs(this.#boot.nowNs() - marks[1] - passed) - passed * SLEW_MAX;
    const silent = passed - this.#staleNs;
    const more = Math.max(missed, 0) + Math.max(silent, 0) * UNWATCHED_PPM * 1e-6;
    out.set(out.seconds, out.nanoseconds, out.errorNs + more);
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

  /** Compares now and then at intervals; see {@linkcode ClockSource.start}. */
  start(): Promise<void> {
    return this.#started ??= this.#isClosed ? Promise.resolve() : this.#poll(SECOND_COMPARISON_MS);
  }

  /**
   * Compares the device with the machine's counter once.
   *
   * @throws {MmsbError} `clock` if the device cannot be read or shows what cannot be; `closed` if the source is closed.
   */
  async sync(): Promise<void> {
    if (this.#isClosed) throw new MmsbError("closed", `Cannot ask ${this.name} as it is closed`);
    const failure = this.#compare();
    this.#failure = failure;
    if (failure !== "") {
      this.#failures++;
      this.#refusal = failure;
      throw new MmsbError("clock", `Cannot take the time from ${this.#device} as ${failure}`, {
        values: { name: this.name, device: this.#device },
      });
    }
    this.#syncs++;
    this.#refusal = this.#isDisciplined
      ? ""
      : "nothing at the device tells whether a PTP daemon keeps it: where ptp4l does, say so with `disciplined: true`";
  }

  /** How the source is doing; see {@linkcode ClockSource.status}. */
  status(): ClockStatus {
    const synchronised = this.isSynchronised;
    const reading = this.#reading;
    this.read(reading);
    return {
      name: this.name,
      kind: this.kind,
      synchronised,
      ...(synchronised ? {} : { reason: this.#reason() }),
      nowNs: reading.ns,
      errorNs: reading.errorNs,
      bound: this.#bound(reading.errorNs),
      offsetNs: this.#offsetNs,
      driftPpm: -this.#ratePpm,
      lastSyncAgeS: this.#last === undefined ? Infinity : this.#ageNs() / NS_PER_S,
      syncs: this.#syncs,
      failures: this.#failures,
      details: this.#details(),
    };
  }

  /** Ends the comparisons and closes the device; see {@linkcode ClockSource.close}. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#reader?.close();
    this.#line.clear();
    this.#refusal = "it is closed";
  }

  async #poll(nextMs: number): Promise<void> {
    await this.sync().catch(() => {});
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.#poll(this.#pollMs), nextMs);
    this.#timer.unref();
  }

  #ageNs(): number {
    return this.#reader === undefined || this.#last === undefined
      ? Infinity
      : this.#reader.rawNs() - this.#marks[0];
  }

  /** Compares and begins the line anew; why it cannot be done, empty where it was. */
  #compare(): string {
    if (this.#reader === undefined) {
      return `calls into the system are not to be had: ${
        systemCallsMissing() ?? "none were given"
      }`;
    }
    const measure = this.#reader.measure();
    if (typeof measure === "string") return measure;
    const behindS = this.#behindUtc();
    if (typeof behindS === "string") return behindS;
    const utc = { ...measure, seconds: measure.seconds - behindS };
    const offsetNs = -(measure.systemAheadNs + behindS * NS_PER_S);
    const refused = refusalOf(utc, offsetNs);
    if (refused !== "") return refused;
    this.#offsetNs = offsetNs;
    this.#lookForStep(utc);
    this.#remember(utc);
    this.#beginLine(utc);
    return "";
  }

  /** What is to be taken off the device's seconds. */
  #behindUtc(): number | string {
    if (this.#timescale === "utc") return 0;
    if (this.#taiOffsetS !== undefined) return this.#taiOffsetS;
    const known = this.#kernel.ask(this.#calls!) ? this.#kernel.taiOffsetS : 0;
    return known > 0
      ? known
      : "it counts in TAI and nobody told the kernel by how much that differs from UTC: let ptp4l or chrony (leapsectz) do it, or give `taiOffsetS`";
  }

  /** A device that is not where it was going was set: the rate so far means nothing. */
  #lookForStep(measure: PtpMeasure): void {
    if (!this.#line.isSet) return;
    const expected = this.#reading;
    this.#line.read(measure.rawNs, expected);
    const away = (measure.seconds - expected.seconds) * NS_PER_S +
      (measure.nanoseconds - expected.nanoseconds);
    if (Math.abs(away) <= expected.errorNs + this.#errorOf(measure)) return;
    this.#steps++;
    this.#historyCount = 0;
    this.#origin = undefined;
  }

  #remember(measure: PtpMeasure): void {
    const origin = this.#origin ??= measure;
    const raw = measure.rawNs - origin.rawNs;
    const device = (measure.seconds - origin.seconds) * NS_PER_S +
      (measure.nanoseconds - origin.nanoseconds);
    if (this.#historyCount === HISTORY) {
      this.#historyRaw.copyWithin(0, 1);
      this.#historyAhead.copyWithin(0, 1);
      this.#historyCount--;
    }
    this.#historyRaw[this.#historyCount] = raw;
    this.#historyAhead[this.#historyCount] = device - raw;
    this.#historyCount++;
  }

  #beginLine(measure: PtpMeasure): void {
    this.#statedErrorNs = statedError(textOf(this.#statedErrorPath));
    const count = this.#historyCount;
    const span = this.#historyRaw[count - 1] - this.#historyRaw[0];
    let ratePpm = 0, growthPpm = UNKNOWN_PPM;
    if (count > 1 && span > 0) {
      const fit = fitRobustLine(this.#historyRaw, this.#historyAhead, count);
      const error = Number.isFinite(fit.slopeError) ? RATE_DEVIATIONS * fit.slopeError : 0;
      // Two points show no scatter, and a few may hide it. Certain is that the first and the last are each wrong by their bound at most.
      const ends = (this.#historyAhead[count - 1] - this.#historyAhead[0]) / span;
      const certain = Math.abs(fit.slope - ends) + 2 * this.#errorOf(measure) / span;
      const unsurePpm = WANDER_PPM + 1e6 * Math.max(error, certain);
      // A rate that is less sure than an oscillator of which nothing is known says nothing.
      if (unsurePpm < UNKNOWN_PPM) {
        ratePpm = this.#ratePpm = fit.slope * 1e6;
        growthPpm = unsurePpm;
      }
    }
    this.#last = measure;
    this.#marks[0] = this.#reader!.rawNs();
    this.#marks[1] = this.#boot.nowNs();
    this.#marks[2] = this.#reader!.coarseNs();
    this.#marks[3] = NaN;
    this.#system.mark();
    this.#line.set({
      steadyNs: measure.rawNs,
      seconds: measure.seconds,
      nanoseconds: measure.nanoseconds,
      errorNs: this.#errorOf(measure),
      ratePpm,
      growthPpm,
    });
  }

  #errorOf(measure: PtpMeasure): number {
    return this.deviceKind.errorNs + measure.widthNs + this.#statedErrorNs;
  }

  #reason(): string {
    if (this.#isClosed) return "The source is closed";
    const why = this.#refusal !== "" ? this.#refusal : "it was not read for too long";
    return `${this.#device} is not to be trusted as ${why}`;
  }

  #bound(errorNs: number): BoundPart[] {
    const last = this.#last;
    if (last === undefined || errorNs === Infinity) return [];
    const parts: BoundPart[] = [
      {
        name: "kind of device",
        ns: this.deviceKind.errorNs,
        meaning: `How far the reading of such a device may be off: ${this.deviceKind.title}`,
      },
      {
        name: "width of comparison / 2",
        ns: last.widthNs,
        meaning:
          "How long it took to read the device and the machine's counter one after the other",
      },
    ];
    if (this.#statedErrorNs > 0) {
      parts.push({
        name: "stated by the host",
        ns: this.#statedErrorNs,
        meaning: "What the host says of its own clock",
      });
    }
    const rest = errorNs - parts.reduce((sum, { ns }) => sum + ns, 0);
    return [...parts, {
      name: "growth since the comparison",
      ns: Math.max(0, rest),
      meaning: "What the machine's counter may have run fast or slow by since then",
    }];
  }

  #details(): Record<string, string | number | boolean> {
    return {
      device: this.#device,
      clockName: this.#clockName,
      deviceKind: this.deviceKind.title,
      timescale: this.#timescale,
      disciplined: this.#isDisciplined,
      method: this.#last?.method ?? "none",
      steps: this.#steps,
      ...(this.#failure === "" ? {} : { lastFailure: this.#failure }),
    };
  }
}

/** Why what a device shows cannot be the time, to go on after `as`; empty where it can. */
function refusalOf(measure: PtpMeasure, offsetNs: number): string {
  if (measure.seconds < SET_FROM_S) return "nobody has set it: it shows the time since some start";
  if (Math.abs(Math.abs(offsetNs) - TAI_OFFSET_S * NS_PER_S) < SCALE_NS) {
    return `it is ${TAI_OFFSET_S} s away from the system's clock, as far as TAI is from UTC: say with \`timescale\` in which it counts`;
  }
  return "";
}

/** A number of ns in a file of the host's; 0 where there is none. */
function statedError(text: string): number {
  return /^\d{1,15}$/.test(text) ? Number(text) : 0;
}
