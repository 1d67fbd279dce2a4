/**
 * The faults that a simulated clock can have, and the checks of what a test asks for.
 *
 * Each is a plain number, and left out it does not happen, so that a property test can draw them at random.
 */
import { checkKeys, checkNumber } from "../../base/mod.ts";

/** Most true time that one call moves, in ns: ten years. */
export const ADVANCE_NS_MAX = 315_576_000e9;

/** What comes at random moments. */
export interface SimulatedEvents {
  /** Mean seconds of true time from one to the next; each wait is between 0 and twice that. */
  readonly everyS: number;
  /** Largest size: ns of a jump, either way; seconds of an outage. */
  readonly max: number;
}

/** Options of `SimulatedClock`; what is left out does not happen. */
export interface SimulatedClockOptions {
  /** Where all chance comes from, 0 to 2³² − 1. Default 1. */
  readonly seed?: number;
  /** Name in statuses and selectors. Default `simulated`. */
  readonly name?: string;
  /** True time at the beginning, ns since the Unix epoch. Default: the first moment of 2026. */
  readonly startNs?: bigint;
  /** How fast the oscillator runs, in parts per million; negative: slow. */
  readonly skewPpm?: number;
  /** By how much that changes, in parts per million an hour. */
  readonly driftPpmPerHour?: number;
  /** How far its rate wanders at random besides, at most, in parts per million. */
  readonly wanderPpm?: number;
  /** How much a reading is off by chance, at most, in ns. */
  readonly jitterNs?: number;
  /** How wrong the clock may be after a sync, in ns; how wrong it is, chance says. Default 1,000. */
  readonly syncErrorNs?: number;
  /** Seconds of true time between syncs that the clock makes by itself. Default: none. */
  readonly syncEveryS?: number;
  /** By how much the stated bound grows, in parts per million. Default 100. */
  readonly growthPpm?: number;
  /** Bound from which on nobody vouches for the clock, in ns. Default 100 ms. */
  readonly errorNsMax?: number;
  /** When the clock is set by mistake. */
  readonly jumps?: SimulatedEvents;
  /** Whether the clock notices jumps and states them in its bound until the next sync. Default true. */
  readonly noticesJumps?: boolean;
  /** When syncs fail. */
  readonly outages?: SimulatedEvents;
}

/** The names of all options. */
export const SIMULATED_CLOCK_OPTIONS: readonly (keyof SimulatedClockOptions)[] = [
  "seed",
  "name",
  "startNs",
  "skewPpm",
  "driftPpmPerHour",
  "wanderPpm",
  "jitterNs",
  "syncErrorNs",
  "syncEveryS",
  "growthPpm",
  "errorNsMax",
  "jumps",
  "noticesJumps",
  "outages",
];

/** A rate in parts per million, checked; 0 where none is given. */
export function ppmOf(name: string, value: number | undefined): number {
  return checkNumber(name, value ?? 0, -1e6, 1e6);
}

/** Events, checked; none where none are given. */
export function eventsOf(name: string, events: SimulatedEvents | undefined): SimulatedEvents {
  if (events === undefined) return { everyS: Infinity, max: 0 };
  checkKeys(name, events, ["everyS", "max"]);
  return {
    everyS: checkNumber(`${name}.everyS`, events.everyS, 1e-3, 1e9),
    max: checkNumber(`${name}.max`, events.max, 0, ADVANCE_NS_MAX),
  };
}
