/**
 * The system's time of day, and what has happened to it since it was marked.
 *
 * A bound that a daemon gave holds for the clock as it ran then. It grows with the time that passes on a steady counter, and
 * by every step since: somebody sets the clock, the counter does not follow. Slewing moves both alike and is no step.
 * The counter is looked at once the time of day has gone back, or on by 0.1 ms. So a larger step is seen by the first reading behind
 * it; a smaller one may be seen 0.1 ms late.
 *
 * Without FFI the runtime's counter goes on from the mark, and stands still while the machine sleeps. The runtime's wall clock, in whole ms,
 * says whether the two still agree: where they do not, somebody set the clock or the machine slept, and that is a step.
 *
 * Cost: one call of `clock_gettime` by FFI and arithmetic, some 33 ns, and one call more each 0.1 ms; without FFI 90 ns. Nothing is allocated but at a mark.
 */
import { runtimeWallMs } from "./_platform.ts";
import { type SystemCalls, SystemSteadyCounter, timespecSeconds } from "./system_calls.ts";

const NS_PER_S = 1_000_000_000;
/** While the time of day has gone on by less than this, the counter is not looked at again, in ns. */
const LOOK_NS = 100_000;
/** Without FFI: by so much the wall clock and the counter may differ, in ns, and by this part of the time. */
const APART_NS = 3_000_000, APART_PART = 1e-3;
/** Pairs of readings of which the narrowest is taken, so that an interruption between the two does not count. */
const MARK_TRIES = 5;

// Places of the numbers.
const MARK_SECONDS = 0, MARK_NS = 1, MARK_STEADY = 2, WIDTH = 3;
const SECONDS = 4, NS = 5, PASSED = 6, STEPPED = 7;
/** Time of day since the mark when the counter was looked at last, and by how much it was ahead of the counter. */
const LOOKED = 8, AHEAD = 9;

/** The time of day with a mark. */
export class MarkedRealtime {
  readonly #calls: SystemCalls | null;
  readonly #gettime: (clock: number) => number;
  readonly #timespec: Uint32Array;
  readonly #realtime: number;
  readonly #steady: SystemSteadyCounter;
  readonly #values = new Float64Array(10);

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

  /** Whether steps below 3 ms are seen, too, for which the C library is needed. */
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

  /**
   * Marks it: what has passed and stepped begins anew.
   *
   * @returns What the clock was set by since the mark before, in ns: ahead, or below 0 back. An interruption is no part of it.
   */
  mark(): number {
    const values = this.#values;
    const seconds = values[MARK_SECONDS], ns = values[MARK_NS], steady = values[MARK_STEADY];
    values[WIDTH] = Infinity;
    values[LOOKED] = NaN;
    for (let i = 0; i < MARK_TRIES; i++) this.#tryMark();
    return (values[MARK_SECONDS] - seconds) * NS_PER_S + (values[MARK_NS] - ns) -
      (values[MARK_STEADY] - steady);
  }

  /** Whether the clock was set by more than so much since the mark: an interruption in the middle of a reading is no step. */
  isSteppedBy(ns: number): boolean {
    const values = this.#values;
    for (let i = 0; i < MARK_TRIES; i++) {
      this.read();
      if (!(values[STEPPED] > ns)) return false;
      values[LOOKED] = NaN;
    }
    return true;
  }

  /** Reads it. */
  read(): void {
    const values = this.#values;
    if (this.#gettime(this.#realtime) !== 0) {
      this.#readOn();
      return;
    }
    const timespec = this.#timespec;
    const seconds = timespecSeconds(timespec);
    const nanoseconds = timespec[2];
    values[SECONDS] = seconds;
    values[NS] = nanoseconds;
    const since = (seconds - values[MARK_SECONDS]) * NS_PER_S + (nanoseconds - values[MARK_NS]);
    const more = since - values[LOOKED];
    if (more >= 0 && more < LOOK_NS) values[PASSED] = since - values[AHEAD];
    else this.#look(since);
  }

  /** Looks at the steady counter as well. */
  #look(since: number): void {
    const values = this.#values;
    const passed = this.#steady.nowNs() - values[MARK_STEADY];
    values[PASSED] = passed;
    values[LOOKED] = since;
    values[AHEAD] = since - passed;
    values[STEPPED] = Math.abs(since - passed);
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
    const wallNs = (runtimeWallMs() - values[MARK_SECONDS] * 1e3) * 1e6 - values[MARK_NS];
    const apart = Math.abs(wallNs - passed);
    values[STEPPED] = apart > APART_NS + passed * APART_PART ? apart : 0;
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
