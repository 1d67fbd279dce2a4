/**
 * One hardware clock, opened: compares it with the raw monotonic clock in the best way that device and kernel have.
 *
 * The counter is `CLOCK_MONOTONIC_RAW`, the machine's oscillator as it is: other counters are slewed by whoever keeps the
 * system's clock, by up to some 10 %, which would bend any line drawn over them. The kernel compares with the time of day instead, so that is
 * compared with the counter before and after; what moved between the two goes into the width.
 *
 * ```text
 * precise   device and counter, latched together by hardware                width 0
 * extended  time of day, device, time of day: the kernel reads close by     width of the best sample + that of the counter
 * offset    the same, as older kernels have it
 * gettime   counter, device, counter: two calls into the kernel             width of the best of five
 * ```
 *
 * What fails is said in words and never thrown. A device that has gone is closed and opened again at the next try.
 * Cost: some 10 µs for five samples of a card on the bus.
 */
import { runtimeSteadyNs } from "./_platform.ts";
import {
  deviceClockId,
  hasPrecise,
  PTP_BYTES_MAX,
  PTP_CAPABILITIES,
  PTP_EXTENDED,
  PTP_OFFSET,
  PTP_PRECISE,
  readExtended,
  readOffset,
  readPrecise,
  requestSamples,
} from "./_ptp_codec.ts";
import { directCall } from "./_chrony_realtime.ts";
import { type SystemCalls, timespecSeconds } from "./system_calls.ts";

/** The counter's number on Linux. */
const MONOTONIC_RAW = 4;
const NS_PER_S = 1_000_000_000;
const INTERRUPTED_TRIES = 3;
const PAIR_TRIES = 3;

const EPERM = 1,
  ENOENT = 2,
  EINTR = 4,
  ENXIO = 6,
  EAGAIN = 11,
  EACCES = 13,
  EBUSY = 16,
  ENODEV = 19;
const EINVAL = 22, ENOTTY = 25, ENOSYS = 38, EOPNOTSUPP = 95;

const WORDS: Readonly<Record<number, string>> = {
  [EPERM]: "this user may not read it: see mmsb clock setup",
  [EACCES]: "this user may not read it: see mmsb clock setup",
  [ENOENT]: "there is no such device",
  [ENXIO]: "the device is gone",
  [ENODEV]: "the device is gone",
  [EBUSY]: "the device is busy",
  [EAGAIN]: "the device is busy",
  [ENOTTY]: "it is no hardware clock",
};

/** How a clock is compared. */
export type PtpMethod = "precise" | "extended" | "offset" | "gettime";

/** One comparison. */
export interface PtpMeasure {
  /** The counter, in ns since its origin. */
  readonly rawNs: number;
  /** What the device showed then, whole seconds. */
  readonly seconds: number;
  /** And nanoseconds. */
  readonly nanoseconds: number;
  /** How far the two moments may be apart, either way, in ns. */
  readonly widthNs: number;
  /** The system's time of day less the device's, in ns. */
  readonly systemAheadNs: number;
  /** How it was compared. */
  readonly method: PtpMethod;
}

/** The counter and the time of day, compared. */
interface Pair {
  /** Counter less time of day, both since their origins, in ns. */
  readonly offset: number;
  readonly width: number;
}

/** A hardware clock and a counter. */
export class PtpReader {
  readonly #calls: SystemCalls;
  readonly #path: string;
  readonly #samples: number;
  readonly #bytes = new Uint8Array(new ArrayBuffer(PTP_BYTES_MAX));
  readonly #view = new DataView(this.#bytes.buffer);
  /** Seconds where counter and time of day begin, so that ns fit a number. */
  readonly #origins = new Float64Array(2);
  /** Lower word of the counter's. */
  readonly #originLo: number;
  readonly #hasRaw: boolean;
  readonly #gettime: (clock: number) => number;
  readonly #timespec: Uint32Array;
  readonly #coarse: number;
  #file = -1;
  #methods: PtpMethod[] = [];

  constructor(calls: SystemCalls, path: string, samples: number) {
    this.#calls = calls;
    this.#path = path;
    this.#samples = samples;
    this.#gettime = directCall(calls);
    this.#timespec = calls.timespec;
    this.#coarse = calls.clocks.realtimeCoarse ?? calls.clocks.realtime;
    this.#hasRaw = calls.clockGettime(MONOTONIC_RAW) === 0;
    this.#origins[0] = timespecSeconds(calls.timespec);
    this.#originLo = calls.timespec[0] | 0;
    calls.clockGettime(calls.clocks.realtime);
    this.#origins[1] = timespecSeconds(calls.timespec);
  }

  /** The counter in ns; allocates nothing. */
  rawNs(): number {
    if (!this.#hasRaw || this.#gettime(MONOTONIC_RAW) !== 0) return runtimeSteadyNs();
    const timespec = this.#timespec;
    // Seconds since the origin fit 31 bits, so their difference is exact in the lower words.
    return ((timespec[0] - this.#originLo) | 0) * NS_PER_S + timespec[2];
  }

  /** The time of day as of the last interrupt, in ns since its origin: cheap; NaN where there is none. Allocates nothing. */
  coarseNs(): number {
    const timespec = this.#timespec;
    if (this.#gettime(this.#coarse) !== 0) return NaN;
    return (timespecSeconds(timespec) - this.#origins[1]) * NS_PER_S + timespec[2];
  }

  /** Compares; gives why it cannot be done, to go on after `as`. */
  measure(): PtpMeasure | string {
    const refused = this.#file >= 0 ? undefined : this.#open();
    if (refused !== undefined) return refused;
    let reason = "";
    while (this.#methods.length > 0) {
      const [method] = this.#methods;
      const measured = this.#by(method);
      if (typeof measured === "object") return measured;
      if (typeof measured === "string") return measured;
      // A negative error number.
      reason = words(-measured);
      if (-measured === ENODEV || -measured === ENXIO) {
        this.close();
        return reason;
      }
      if (![ENOTTY, EINVAL, EOPNOTSUPP, ENOSYS].includes(-measured)) return reason;
      this.#methods.shift();
    }
    this.close();
    return reason;
  }

  /** Closes the device. */
  close(): void {
    if (this.#file < 0) return;
    this.#calls.close(this.#file);
    this.#file = -1;
  }

  #open(): string | undefined {
    const file = this.#again(() => this.#calls.open(this.#path, 0));
    if (file < 0) return words(-file);
    this.#file = file;
    this.#bytes.fill(0);
    const asked = this.#ask(PTP_CAPABILITIES);
    if (asked < 0) {
      this.close();
      return words(-asked);
    }
    this.#methods = ["extended", "offset", "gettime"];
    if (hasPrecise(this.#view)) this.#methods.unshift("precise");
    return undefined;
  }

  #by(method: PtpMethod): PtpMeasure | string | number {
    if (method === "gettime") return this.#byGettime();
    const before = this.#pair();
    requestSamples(this.#view, method === "precise" ? 0 : this.#samples);
    const asked = this.#ask(REQUESTS[method]);
    if (asked < 0) return asked;
    const after = this.#pair();
    const stamp = method === "precise"
      ? readPrecise(this.#view)
      : method === "extended"
      ? readExtended(this.#view, this.#samples)
      : readOffset(this.#view, this.#samples);
    if (typeof stamp === "string") return stamp;
    const [rawOrigin, realOrigin] = this.#origins;
    const offset = (before.offset + after.offset) / 2;
    const device = {
      seconds: stamp.deviceSeconds,
      nanoseconds: stamp.deviceNs,
      method,
    };
    if (method === "precise") {
      const rawNs = (stamp.systemSeconds - rawOrigin) * NS_PER_S + stamp.systemNs;
      return {
        ...device,
        rawNs,
        widthNs: 0,
        systemAheadNs: this.#ahead(rawNs - offset, stamp.deviceSeconds, stamp.deviceNs),
      };
    }
    const realNs = (stamp.systemSeconds - realOrigin) * NS_PER_S + stamp.systemNs;
    return {
      ...device,
      rawNs: realNs + offset,
      widthNs: stamp.widthNs + Math.max(before.width, after.width) +
        Math.abs(after.offset - before.offset) / 2,
      systemAheadNs: this.#ahead(realNs, stamp.deviceSeconds, stamp.deviceNs),
    };
  }

  #byGettime(): PtpMeasure | string | number {
    const calls = this.#calls;
    const clock = deviceClockId(this.#file);
    const { offset } = this.#pair();
    let found: PtpMeasure | undefined;
    for (let index = 0; index < this.#samples; index++) {
      const before = this.rawNs();
      const failed = this.#again(() => calls.clockGettime(clock));
      if (failed !== 0) return failed;
      const seconds = timespecSeconds(calls.timespec);
      const nanoseconds = calls.timespec[2];
      const widthNs = (this.rawNs() - before) / 2;
      if (nanoseconds >= NS_PER_S) return "it gives a time that cannot be";
      if (found !== undefined && widthNs >= found.widthNs) continue;
      const rawNs = before + widthNs;
      const systemAheadNs = this.#ahead(rawNs - offset, seconds, nanoseconds);
      found = { rawNs, seconds, nanoseconds, widthNs, systemAheadNs, method: "gettime" };
    }
    return found!;
  }

  /** Time of day, in ns since its origin, less the device's. */
  #ahead(realNs: number, seconds: number, nanoseconds: number): number {
    return realNs - ((seconds - this.#origins[1]) * NS_PER_S + nanoseconds);
  }

  #pair(): Pair {
    const calls = this.#calls;
    let found: Pair = { offset: 0, width: Infinity };
    for (let i = 0; i < PAIR_TRIES; i++) {
      const before = this.rawNs();
      calls.clockGettime(calls.clocks.realtime);
      const real = (timespecSeconds(calls.timespec) - this.#origins[1]) * NS_PER_S +
        calls.timespec[2];
      const width = (this.rawNs() - before) / 2;
      if (width < found.width) found = { offset: before + width - real, width };
    }
    return found;
  }

  #ask(request: number): number {
    return this.#again(() => this.#calls.ioctl(this.#file, request, this.#bytes));
  }

  /** A signal may interrupt a call. */
  #again(call: () => number): number {
    let result = call();
    for (let tries = 1; result === -EINTR && tries < INTERRUPTED_TRIES; tries++) result = call();
    return result;
  }
}

const REQUESTS = { precise: PTP_PRECISE, extended: PTP_EXTENDED, offset: PTP_OFFSET } as const;

function words(error: number): string {
  return WORDS[error] ?? `the device refuses (error ${error})`;
}
