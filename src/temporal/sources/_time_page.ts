/**
 * The page of the cached clock: shared memory where a thread leaves the time for all who read it.
 *
 * Two rings stand in it. A number is written into the next place of a ring, and then the ring's counter, by an atomic store, says that
 * it is there; so a reader that has loaded the counter finds a whole entry, without a lock. An entry is written again
 * after a full round, so who has read one sees by the counter that it was not that long on the way.
 *
 * - **Ticks**, by the ticker: time, bound, the steady counter at that moment, and for how long the time is good. A round is 256 ticks.
 * - **Anchors**, by the owner of the source: what the source said at which count of the steady counter. The ticker and
 *   attached threads go on from there. An anchor that is torn would be a wrong time, so its reader looks twice.
 *
 * Cost: 10.5 KB; an atomic load takes 8 ns, as V8 calls a function for it, and a plain load 1 ns.
 */
import type { ClockKind } from "./clock_source.ts";

/** Words: the counters, and what threads tell each other. */
export const W_TICK = 0, W_ANCHOR = 1, W_STATE = 2, W_READS = 3, W_SYNCED = 4, W_KIND = 5;
/** 1 as long as a ticker lives, 2 when one died by a fault. */
export const W_ALIVE = 6;
/** What the ticker does: rests until somebody wants it, runs, or ends. */
export const RESTING = 0, RUNNING = 1, OVER = 2;
/** What stands in the counter of ticks of a page that is closed. */
export const NO_TICK = -1;

/** What a ticker's thread posts when it lives; anything else is why it does not. */
export const ALIVE = "alive";

const WORDS = 16;
const MAGIC = 0x6d74_7031;
const W_MAGIC = 15;

/** Places of the page's own numbers. */
const D_ORIGIN = 0, D_REFRESH = 1;
const HEAD_DOUBLES = 2;

/** Ticks of a round; a power of two. */
const TICKS = 256;
const TICK_MASK = TICKS - 1;
/** Doubles of a tick, and their places: the middle of the interval, µs; its half, µs; the steady counter, ns; how long it is good, ns. */
const TICK_DOUBLES = 4;
const T_US = 0, T_ERROR_US = 1, T_STEADY = 2, T_GOOD_NS = 3;

/** Places of a copy of a tick, as readers want it: µs; the same as whole seconds and nanoseconds; the bound, ns; how
 * long it is good, ns, and until which count of the steady counter. */
export const S_US = 0, S_SECONDS = 1, S_NANOSECONDS = 2, S_ERROR_NS = 3;
export const S_GOOD_NS = 4, S_UNTIL_NS = 5;
export const SIGHT_DOUBLES = 6;

const ANCHORS = 64;
const ANCHOR_DOUBLES = 3;
const A_STEADY = 0, A_US = 1, A_ERROR_US = 2;

const FIRST_TICK = HEAD_DOUBLES;
const FIRST_ANCHOR = FIRST_TICK + TICKS * TICK_DOUBLES;
const DOUBLES = FIRST_ANCHOR + ANCHORS * ANCHOR_DOUBLES;

/** Counters go round here, so that they stay small integers. */
const COUNTER_MASK = 0x1fff_ffff;

/** Bytes of a page. */
export const TIME_PAGE_BYTES: number = 4 * WORDS + 8 * DOUBLES;

/** By how much time may run away from the steady counter: what the kernel believes at most, plus what it slews at most. */
const LINE_GROWTH = 1000e-6;

const KINDS: readonly ClockKind[] = ["ptp", "daemon", "sntp", "system", "simulated"];

/** A time page; each thread has its own object over the same memory. */
export class TimePage {
  /** The memory. */
  readonly memory: SharedArrayBuffer;
  /** Its counters. */
  readonly words: Int32Array;
  /** Its numbers. */
  readonly doubles: Float64Array;

  /** Lays the page over memory. */
  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.words = new Int32Array(memory, 0, WORDS);
    this.doubles = new Float64Array(memory, 4 * WORDS, DOUBLES);
  }

  /** Makes a page without a time. */
  static make(originS: number, refreshMs: number, kind: ClockKind): TimePage {
    const page = new TimePage(new SharedArrayBuffer(TIME_PAGE_BYTES));
    page.doubles[D_ORIGIN] = originS;
    page.doubles[D_REFRESH] = refreshMs;
    page.words[W_KIND] = KINDS.indexOf(kind);
    page.words[W_TICK] = NO_TICK;
    page.words[W_ANCHOR] = 0;
    page.words[W_MAGIC] = MAGIC;
    return page;
  }

  /** Whether some memory is a time page. */
  static isPage(memory: unknown): memory is SharedArrayBuffer {
    return memory instanceof SharedArrayBuffer && memory.byteLength === TIME_PAGE_BYTES &&
      new Int32Array(memory)[W_MAGIC] === MAGIC;
  }

  /** Second of the system's steady counter from which all counts of this page are. */
  get originS(): number {
    return this.doubles[D_ORIGIN];
  }

  /** Milliseconds from tick to tick. */
  get refreshMs(): number {
    return this.doubles[D_REFRESH];
  }

  /** Where the source's time comes from. */
  get kind(): ClockKind {
    return KINDS[this.words[W_KIND]];
  }

  /** Notes what the source says. Only the owner calls it. */
  anchor(steadyNs: number, us: number, errorUs: number, isSynchronised: boolean): void {
    const next = (this.words[W_ANCHOR] + 1) & COUNTER_MASK;
    const at = FIRST_ANCHOR + (next & (ANCHORS - 1)) * ANCHOR_DOUBLES;
    this.doubles[at + A_STEADY] = steadyNs;
    this.doubles[at + A_US] = us;
    this.doubles[at + A_ERROR_US] = errorUs;
    Atomics.store(this.words, W_SYNCED, isSynchronised ? 1 : 0);
    Atomics.store(this.words, W_ANCHOR, next === 0 ? ANCHORS : next);
  }

  /** The time at a moment of the steady counter, and its bound, in µs, into the first two places of `out`. */
  line(steadyNs: number, out: Float64Array): void {
    const { words, doubles } = this;
    for (;;) {
      const anchor = Atomics.load(words, W_ANCHOR);
      const at = FIRST_ANCHOR + (anchor & (ANCHORS - 1)) * ANCHOR_DOUBLES;
      const passedUs = (steadyNs - doubles[at + A_STEADY]) / 1e3;
      out[0] = doubles[at + A_US] + passedUs;
      out[1] = doubles[at + A_ERROR_US] + Math.abs(passedUs) * LINE_GROWTH;
      const since = (Atomics.load(words, W_ANCHOR) - anchor) & COUNTER_MASK;
      if (since < ANCHORS - 1) break;
    }
    if (Atomics.load(words, W_STATE) === OVER || Atomics.load(words, W_ANCHOR) === 0) {
      out[1] = Infinity;
    }
  }

  /** Leaves a time for the readers. Only the ticker calls it. */
  tick(us: number, errorUs: number, steadyNs: number, goodNs: number): void {
    const next = (this.words[W_TICK] + 1) & COUNTER_MASK;
    const at = this.tickAt(next);
    const { doubles } = this;
    doubles[at + T_US] = us;
    doubles[at + T_ERROR_US] = errorUs;
    doubles[at + T_STEADY] = steadyNs;
    doubles[at + T_GOOD_NS] = goodNs;
    Atomics.store(this.words, W_TICK, next);
  }

  /** Copies a tick; gives whether it is good at a moment of the steady counter. Else the copy is all NaN. */
  see(tick: number, steadyNs: number, out: Float64Array): boolean {
    const { doubles } = this;
    const at = this.tickAt(tick);
    const us = doubles[at + T_US];
    const seconds = Math.floor(us / 1e6);
    const goodNs = doubles[at + T_GOOD_NS];
    const untilNs = doubles[at + T_STEADY] + goodNs;
    out[S_US] = us;
    out[S_SECONDS] = seconds;
    out[S_NANOSECONDS] = Math.floor((us - seconds * 1e6) * 1e3);
    out[S_ERROR_NS] = doubles[at + T_ERROR_US] * 1e3;
    out[S_GOOD_NS] = goodNs;
    out[S_UNTIL_NS] = untilNs;
    // Written again meanwhile? Only if this thread stood still for half a round, which the age shows as well.
    const since = (Atomics.load(this.words, W_TICK) - tick) & COUNTER_MASK;
    if (tick >= 0 && steadyNs <= untilNs && since < TICKS / 2) return true;
    out.fill(NaN);
    return false;
  }

  /** Leaves a tick that is good for nothing, so that no reader trusts the one before. */
  expire(): void {
    this.tick(0, Infinity, 0, -1);
  }

  /** Where a tick's numbers begin. */
  tickAt(tick: number): number {
    return FIRST_TICK + (tick & TICK_MASK) * TICK_DOUBLES;
  }
}
