/**
 * Time as a line over a steady counter: what a source knows between two syncs.
 *
 * ```text
 * time(s)  = time₀ + (s − s₀) · rate
 * error(s) = error₀ + |s − s₀| · growth
 * ```
 *
 * A sync finds time₀ and error₀ at the counter's s₀, and, with some history, the rate: true seconds a second of the
 * counter. The error grows by what the rate may be wrong by.
 *
 * Cost of a reading: some multiplications; nothing is allocated.
 */
import type { ClockReading } from "./clock_source.ts";

const NS_PER_S = 1_000_000_000;

// Places of the numbers.
const STEADY = 0;
const SECONDS = 1;
const NANOSECONDS = 2;
const RATE = 3;
const ERROR = 4;
const GROWTH = 5;
/** Whole seconds from the start of the first second to that of the last reading, as ns, and that second. */
const CARRIED_NS = 6, CARRIED_S = 7;

/** Where a line begins and how it goes on. */
export interface ClockLineStart {
  /** The counter at that moment, ns. */
  readonly steadyNs: number;
  /** Whole seconds since the Unix epoch at that moment. */
  readonly seconds: number;
  /** ns within the second, 0 to below 1,000,000,000; may have a fraction. */
  readonly nanoseconds: number;
  /** The bound at that moment, ns. */
  readonly errorNs: number;
  /** By how much the counter runs slow, in parts per million of true time: 20 means that 1,000,020 µs pass while it counts 1,000,000. */
  readonly ratePpm: number;
  /** By how much the bound grows, in parts per million of the time that passes. */
  readonly growthPpm: number;
}

/** A line; before the first `set` it has no time: its bound is Infinity. */
export class ClockLine {
  readonly #values = Float64Array.of(0, 0, 0, 1, Infinity, 0, 0, 0);

  /** Whether it has a time. */
  get isSet(): boolean {
    return this.#values[ERROR] < Infinity;
  }

  /** The counter where the line begins, ns. */
  get steadyNs(): number {
    return this.#values[STEADY];
  }

  /**
   * Begins the line anew.
   *
   * @param start Where it begins and how it goes on.
   */
  set(start: ClockLineStart): void {
    const values = this.#values;
    values[STEADY] = start.steadyNs;
    values[SECONDS] = start.seconds;
    values[NANOSECONDS] = start.nanoseconds;
    values[RATE] = 1 + start.ratePpm * 1e-6;
    values[ERROR] = start.errorNs;
    values[GROWTH] = start.growthPpm * 1e-6;
    values[CARRIED_NS] = 0;
    values[CARRIED_S] = start.seconds;
  }

  /** Forgets the time. */
  clear(): void {
    this.#values[ERROR] = Infinity;
  }

  /**
   * Reads the line.
   *
   * @param steadyNs The counter, ns; also before the line's beginning.
   * @param out Takes time and bound.
   */
  read(steadyNs: number, out: ClockReading): void {
    const values = this.#values;
    const passedNs = steadyNs - values[STEADY];
    const ns = Math.floor(values[NANOSECONDS] + passedNs * values[RATE]);
    const errorNs = values[ERROR] + Math.abs(passedNs) * values[GROWTH];
    const rest = ns - values[CARRIED_NS];
    if (rest >= 0 && rest < NS_PER_S) out.set(values[CARRIED_S], rest, errorNs);
    else this.#carry(ns, errorNs, out);
  }

  /** A reading in another second than the one before. */
  #carry(ns: number, errorNs: number, out: ClockReading): void {
    const values = this.#values;
    const carry = Math.floor(ns / NS_PER_S);
    values[CARRIED_NS] = carry * NS_PER_S;
    values[CARRIED_S] = values[SECONDS] + carry;
    out.set(values[CARRIED_S], ns - values[CARRIED_NS], errorNs);
  }
}
