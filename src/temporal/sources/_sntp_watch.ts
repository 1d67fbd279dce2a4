/**
 * What can make the time of an SNTP clock wrong between two syncs, beside its oscillator: a leap second that was announced, and a
 * machine that slept while the counter stood still. Both are only noticed here, and make the bound wider until the next sync.
 *
 * Cost: two comparisons a reading, and one of the system's clock where the counter stands still in sleep.
 */
import type { ClockReading } from "./clock_source.ts";

const DAY_S = 86_400, LEAP_NS = 1e9;

/** The system's clock and a counter may differ by this without sleep, ms, and by this part of the time. */
const APART_MS = 3, APART_PART = 1e-3;

// Places of the numbers.
/** The second from which on the leap second has moved the servers' time; Infinity where none was announced. */
const LEAP_S = 0;
/** The counter at the last sync, ns, and the system's clock less the counter then, ms: NaN where the counter goes on in sleep. */
const SYNCED = 1, APART = 2;

/** Watches one clock. */
export class SntpWatch {
  readonly #wallMs: () => number;
  readonly #countsSleep: boolean;
  readonly #values = Float64Array.of(Infinity, 0, NaN);

  /** Over the system's clock, in ms; `countsSleep`: the counter goes on while the machine sleeps. */
  constructor(wallMs: () => number, countsSleep: boolean) {
    this.#wallMs = wallMs;
    this.#countsSleep = countsSleep;
  }

  /** A sync at a moment of the counter found this second, and whether a leap second is announced. */
  synced(steadyNs: number, seconds: number, hasLeap: boolean): void {
    const values = this.#values;
    // The next midnight, or this second if it is one.
    values[LEAP_S] = hasLeap ? seconds + DAY_S - 1 - (seconds - 1) % DAY_S : Infinity;
    values[SYNCED] = steadyNs;
    if (!this.#countsSleep) values[APART] = this.#wallMs() - steadyNs / 1e6;
  }

  /** Widens the bound of a reading by what may have happened. */
  widen(steadyNs: number, out: ClockReading): void {
    const values = this.#values;
    if (out.seconds >= values[LEAP_S]) {
      out.set(out.seconds, out.nanoseconds, out.errorNs + LEAP_NS);
    }
    if (Number.isNaN(values[APART])) return;
    // The system's clock went on while the machine slept, or somebody set it: nobody knows.
    const apartMs = Math.abs(this.#wallMs() - steadyNs / 1e6 - values[APART]);
    const allowedMs = APART_MS + Math.abs(steadyNs - values[SYNCED]) * 1e-6 * APART_PART;
    if (apartMs > allowedMs) out.set(out.seconds, out.nanoseconds, out.errorNs + apartMs * 1e6);
  }
}
