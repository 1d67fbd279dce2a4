/**
 * The calls into the system's C library that clocks need, as an interface.
 *
 * Whoever reads a clock, a kernel's report or a device does it through {@linkcode SystemCalls}, so that a test can put
 * another library in its place: one with a hardware clock, a kernel that steps the time, a device that disappears.
 *
 * A call that fails gives the negative error number, as the kernel itself does; nothing throws.
 * A time is left in `timespec`, so a reading allocates nothing.
 *
 * Cost: 27 ns a clock, 10 ns a coarse one, some 0.3 µs a report of the kernel.
 */
import { openLibrary, runtimeSteadyNs } from "./_platform.ts";
import type { SteadyCounter } from "./clock_source.ts";

const NS_PER_S = 1_000_000_000;
const TWO_32 = 2 ** 32;

/** Numbers of the clocks that a system has. */
export interface SystemClockNumbers {
  /** Time of day: it is stepped and slewed. */
  readonly realtime: number;
  /** Time since some start of the machine, sleep included: never set, only slewed. */
  readonly steady: number;
  /** As `realtime`, as of the last interrupt of the timer: cheaper and older. `undefined` where there is none. */
  readonly realtimeCoarse: number | undefined;
  /** Time since the machine's start without sleep, as of the last interrupt of the timer. `undefined` where there is none. */
  readonly steadyCoarse: number | undefined;
}

/** The C library, or what a test gives in its place. Not for several threads: each opens its own. */
export interface SystemCalls {
  /** Numbers of this system's clocks. */
  readonly clocks: SystemClockNumbers;
  /** Where `clockGettime` and `clockGetres` leave a time: seconds (lower, upper word), nanoseconds (lower, upper word). */
  readonly timespec: Uint32Array;
  /** Reads a clock into `timespec`; negative numbers are those of devices. Gives 0, or the negative error number. */
  clockGettime(clock: number): number;
  /** Puts the resolution of a clock into `timespec`. Gives 0, or the negative error number. */
  clockGetres(clock: number): number;
  /** Asks the kernel about its clock: 208 bytes of `struct timex`. Gives the clock's state, or the negative error number. */
  adjtimex(timex: Uint8Array<ArrayBuffer>): number;
  /** Opens a file or device, never waiting for it. Gives its number, or the negative error number. */
  open(path: string, flags: number): number;
  /** Asks a device. Gives what it says, or the negative error number. */
  ioctl(file: number, request: number, argument: Uint8Array<ArrayBuffer>): number;
  /** Closes a file. Gives 0, or the negative error number. */
  close(file: number): number;
}

let opened: SystemCalls | undefined;

/**
 * The C library of this machine, opened once a thread.
 *
 * @returns The library; `undefined` where FFI is not granted or there is none: see {@linkcode systemCallsMissing}.
 */
export function systemCalls(): SystemCalls | undefined {
  // Permission may be granted later, so only a success is remembered.
  if (opened !== undefined) return opened;
  const found = openLibrary();
  return "reason" in found ? undefined : opened = found;
}

/**
 * Why there is no C library.
 *
 * @returns The reason, to go on after `because`; `undefined` where there is one.
 */
export function systemCallsMissing(): string | undefined {
  if (systemCalls() !== undefined) return undefined;
  const found = openLibrary();
  return "reason" in found ? found.reason : undefined;
}

/**
 * The time that a call left behind.
 *
 * @param timespec {@linkcode SystemCalls.timespec}.
 * @returns Whole seconds.
 */
export function timespecSeconds(timespec: Uint32Array): number {
  const upper = timespec[1];
  // Until 2106 and from 1970 the lower word is all. The upper one is signed: a clock may stand before 1970.
  return upper === 0 ? timespec[0] : (upper | 0) * TWO_32 + timespec[0];
}

/**
 * A counter of ns that never goes back: the system's by FFI, else the runtime's.
 *
 * It counts from a whole second of the system's counter near its making, so that ns fit a number for as long as
 * a process lives. Two counters with the same `originS` over the same system count the same, in all threads.
 *
 * @example Durations
 * ```ts
 * import { ok } from "node:assert/strict";
 *
 * const steady = new SystemSteadyCounter();
 * const before = steady.nowNs();
 *
 * ok(steady.nowNs() >= before);
 * ```
 */
export class SystemSteadyCounter implements SteadyCounter {
  /** Second of the system's counter where this one is 0; `undefined` where it is the runtime's and another thread counts from elsewhere. */
  readonly originS: number | undefined;
  readonly #calls: SystemCalls | undefined;
  readonly #clock: number;
  readonly #timespec: Uint32Array;
  /** Lower word of the origin. */
  readonly #originLo: number;
  /** The last count; an array so that storing it never allocates. */
  readonly #last = new Float64Array(1);

  /**
   * Opens the counter.
   *
   * @param library The C library; `null` for the runtime's counter. Default: this machine's, if there is one.
   * @param originS Where it counts from, a whole second: another counter's `originS`. Default: now.
   */
  constructor(library?: SystemCalls | null, originS?: number) {
    const calls = library === undefined ? systemCalls() ?? null : library;
    const clock = calls?.clocks.steady ?? 0;
    if (calls === null || calls.clockGettime(clock) !== 0) {
      this.#calls = undefined;
      this.#clock = 0;
      this.#timespec = new Uint32Array(4);
      this.#originLo = 0;
      this.originS = undefined;
      return;
    }
    this.#calls = calls;
    this.#clock = clock;
    this.#timespec = calls.timespec;
    this.originS = originS ?? timespecSeconds(calls.timespec);
    this.#originLo = this.originS | 0;
  }

  /** Reads the counter; see {@linkcode SteadyCounter.nowNs}. */
  nowNs(): number {
    const calls = this.#calls;
    const last = this.#last;
    if (calls === undefined) return last[0] = runtimeSteadyNs();
    // A device of the system that stops answering holds the count: it must not go back.
    if (calls.clockGettime(this.#clock) !== 0) return last[0];
    const timespec = this.#timespec;
    // Seconds since the origin fit 31 bits, so their difference is exact in the lower words.
    return last[0] = ((timespec[0] - this.#originLo) | 0) * NS_PER_S + timespec[2];
  }
}

let steady: SystemSteadyCounter | undefined;

/**
 * The steady counter of this thread, made at its first use: all who use it count from the same moment.
 *
 * @returns The counter.
 */
export function steadyCounter(): SteadyCounter & { readonly originS: number | undefined } {
  return steady ??= new SystemSteadyCounter();
}
