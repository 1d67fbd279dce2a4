/**
 * The system's time of day, and what has happened to it since it was marked.
 *
 * A bound that a daemon gave holds for the clock as it ran then. It grows with the time that passes on a steady counter, and
 * by every step since: somebody sets the clock, the counter does not follow. Slewing moves both alike and is no step.
 *
 * Without FFI the runtime's counter goes on from the mark; a step is then seen at the next mark only.
 *
 * Cost: two calls of `clock_gettime` by FFI, some 60 ns; without FFI 90 ns. Nothing is allocated but at a mark.
 */
import { type SystemCalls, SystemSteadyCounter, timespecSeconds } from "./system_calls.ts";

const NS_PER_S = 1_000_000_000;
/** Pairs of readings of which the narrowest is taken, so that an interruption between the two does not count. */
const MARK_TRIES = 5;

// Places of the numbers.
const MARK_SECONDS = 0, MARK_NS = 1, MARK_STEADY = 2, WIDTH = 3;
const SECONDS = 4, NS = 5, PASSED = 6, STEPPED = 7;

/** The time of day with a mark. */
export class MarkedRealtime {
  readonly #calls: SystemCalls | null;
  readonly #gettime: (clock: number) => number;
  readonly #timespec: Uint32Array;
  readonly #realtime: number;
  readonly #steady: SystemSteadyCounter;
  readonly #values = new Float64Array(8);

  /** Marks it for the first time. */
  constructor(calls: SystemCalls | null) {
    // A library that cannot tell the time is none.
    this.#calls = calls?.clockGettime(calls.clocks.realtime) === 0 ? calls : null;
    this.#gettime = this.#calls === null ? () => -1 : directCall(this.#calls);
    this.#timespec = calls?.timespec ?? new Uint32Array(4);
    this.#realtime = calls?.clocks.realtime ?? 0;
    this.#steady = new SystemSteadyCounter(this.#calls);
    this.mark();
  }

  /** Whether steps are seen at once. */
  get seesSteps(): boolean {
    return this.#calls !== null;
  }

  /** Half the time that the mark took, in ns: its own error. */
  get widthNs(): number {
    return this.#values[WIDTH];
  }

  /** Whole seconds of the last reading. */
  get seconds(): number {
    return this.#values[SECONDS];
  }

  /** Its nanoseconds. */
  get nanoseconds(): number {
    return this.#values[NS];
  }

  /** Steady time from the mark to the last reading, in ns. */
  get passedNs(): number {
    return this.#values[PASSED];
  }

  /** What the clock was set by between the two, in ns, not below 0. */
  get steppedNs(): number {
    return this.#values[STEPPED];
  }

  /** Marks it: what has passed and stepped begins anew. */
  mark(): void {
    const values = this.#values;
    values[WIDTH] = Infinity;
    for (let i = 0; i < MARK_TRIES; i++) this.#tryMark();
  }

  /** Reads it. */
  read(): void {
    const values = this.#values;
    if (this.#gettime(this.#realtime) !== 0) {
      this.#readOn();
      return;
    }
    const timespec = this.#timespec;
    const seconds = (timespec[1] | 0) * 2 ** 32 + timespec[0];
    const nanoseconds = timespec[2];
    const passed = this.#steady.nowNs() - values[MARK_STEADY];
    values[SECONDS] = seconds;
    values[NS] = nanoseconds;
    values[PASSED] = passed;
    values[STEPPED] = Math.abs(
      (seconds - values[MARK_SECONDS]) * NS_PER_S + (nanoseconds - values[MARK_NS]) - passed,
    );
  }

  /** Goes on from the mark by the steady counter alone. */
  #readOn(): void {
    const values = this.#values;
    const passed = this.#steady.nowNs() - values[MARK_STEADY];
    const ns = Math.floor(values[MARK_NS] + passed);
    const carry = Math.floor(ns / NS_PER_S);
    values[SECONDS] = values[MARK_SECONDS] + carry;
    values[NS] = ns - carry * NS_PER_S;
    values[PASSED] = passed;
    values[STEPPED] = 0;
  }

  #tryMark(): void {
    const values = this.#values;
    const calls = this.#calls;
    const before = this.#steady.nowNs();
    let seconds: number, nanoseconds: number;
    if (calls === null) {
      const ns = Temporal.Now.instant().epochNanoseconds;
      seconds = Number(ns / 1_000_000_000n);
      nanoseconds = Number(ns % 1_000_000_000n);
    } else {
      if (calls.clockGettime(calls.clocks.realtime) !== 0) return;
      seconds = timespecSeconds(calls.timespec);
      nanoseconds = calls.timespec[2];
    }
    const width = (this.#steady.nowNs() - before) / 2;
    if (width >= values[WIDTH]) return;
    values[WIDTH] = width;
    values[MARK_SECONDS] = seconds;
    values[MARK_NS] = nanoseconds;
    values[MARK_STEADY] = before + width;
  }
}

/** The call alone, without the object on the way to it. */
export function directCall(calls: SystemCalls): (clock: number) => number {
  const { clockGettime } = calls;
  return Object.hasOwn(calls, "clockGettime") ? clockGettime : (clock) => calls.clockGettime(clock);
}
