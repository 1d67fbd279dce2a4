/**
 * One source as a selector sees it: its reading, moved to a moment that all sources share.
 *
 * Sources are read one after another, each at its own moment. The steady counter says when, so each interval is moved
 * by the time between, and made wider by as much as the reading itself took: a pause of the machine in the middle
 * of a reading makes the interval wide, and nobody is called a falseticker for it.
 */
import type { Candidate } from "./_selector_vote.ts";
import {
  type ClockKind,
  ClockReading,
  type ClockSource,
  type SteadyCounter,
} from "./clock_source.ts";

/** How much faster or slower than time a steady counter may run: the kernel slews it by up to 500 ppm. */
const COUNTER_PPM = 600;

/** Pairs of readings of which the narrowest counts. */
const PAIR_TRIES = 4;

/** One source's time less another's, in ns; nothing where one has none. */
export function offsetBetween(
  source: ClockSource,
  other: ClockSource,
  steady: SteadyCounter,
): number | undefined {
  const one = new Sight(source), two = new Sight(other);
  let offsetNs: number | undefined, narrowestNs = Infinity;
  for (let tries = 0; tries < PAIR_TRIES; tries++) {
    const momentNs = steady.nowNs();
    one.read(steady);
    two.read(steady);
    if (!one.hasTime || !two.hasTime) return undefined;
    one.place(momentNs, two.seconds);
    two.place(momentNs, two.seconds);
    const widthNs = one.widthNs + two.widthNs;
    if (widthNs >= narrowestNs) continue;
    narrowestNs = widthNs;
    offsetNs = Math.round(one.middleNs - two.middleNs);
  }
  return offsetNs;
}

/** A source, and what was seen of it last. */
export class Sight implements Candidate {
  /** The source. */
  readonly source: ClockSource;
  readonly kind: ClockKind;
  hasTime = false;
  isSynchronised = false;
  isHeard = false;
  low = 0;
  high = 0;
  errorNs = Infinity;
  /** Its time at the shared moment, in ns from the shared base. */
  middleNs = 0;
  /** By how much its own time jumped since it was seen before, in ns; 0 where its bounds explain the difference. */
  jumpNs = 0;
  readonly #reading = new ClockReading();
  /** Moment of the reading, its width; then seconds, ns, moment, bound with width of the one before. */
  readonly #values = new Float64Array(6);
  #hadTime = false;

  /** Nothing is seen yet. */
  constructor(source: ClockSource) {
    this.source = source;
    this.kind = source.kind;
  }

  /** Whole seconds of the reading. */
  get seconds(): number {
    return this.#reading.seconds;
  }

  /** By how much the moment of the reading is not known, either way, in ns. */
  get widthNs(): number {
    return this.#values[1];
  }

  /** The reading in ns since the Unix epoch; 0 where it is none. */
  get timeNs(): bigint {
    return Number.isFinite(this.#reading.seconds) ? this.#reading.ns : 0n;
  }

  /** Reads the source. One that breaks its word and throws has no time. */
  read(steady: SteadyCounter): void {
    const values = this.#values, reading = this.#reading;
    const beforeNs = steady.nowNs();
    let isRead = true;
    try {
      this.source.read(reading);
      this.isSynchronised = this.source.isSynchronised === true;
    } catch {
      isRead = false;
    }
    const afterNs = steady.nowNs();
    values[0] = (beforeNs + afterNs) / 2;
    values[1] = (afterNs - beforeNs) / 2;
    this.errorNs = isRead ? reading.errorNs : Infinity;
    this.hasTime = this.errorNs >= 0 && this.errorNs < Infinity &&
      Number.isFinite(reading.seconds) && Number.isFinite(reading.nanoseconds);
    if (!this.hasTime) this.isSynchronised = false;
  }

  /** Moves the reading to a moment, and compares it with the one before. */
  place(momentNs: number, baseS: number): void {
    const values = this.#values, reading = this.#reading;
    this.jumpNs = 0;
    if (this.hasTime) {
      const away = this.errorNs + values[1];
      this.middleNs = (reading.seconds - baseS) * 1e9 + reading.nanoseconds -
        (values[0] - momentNs);
      this.low = this.middleNs - away;
      this.high = this.middleNs + away;
      const passedNs = values[0] - values[4];
      const movedNs = (reading.seconds - values[2]) * 1e9 + reading.nanoseconds - values[3];
      const allowedNs = away + values[5] + Math.abs(passedNs) * COUNTER_PPM * 1e-6;
      if (this.#hadTime && Math.abs(movedNs - passedNs) > allowedNs) {
        this.jumpNs = movedNs - passedNs;
      }
      values[2] = reading.seconds;
      values[3] = reading.nanoseconds;
      values[4] = values[0];
      values[5] = away;
    }
    this.#hadTime = this.hasTime;
  }
}
