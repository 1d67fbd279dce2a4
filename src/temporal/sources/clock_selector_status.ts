/** What a selector is given, and what it says of itself and of its sources. */
import type { ClockStep } from "./clock_event.ts";
import type { ClockKind, ClockSource, ClockStatus, SteadyCounter } from "./clock_source.ts";

/** How to call back again and again; tests give their own. */
export interface RepeatingTimer {
  /**
   * Calls back every so often, and does not keep the process alive.
   *
   * @param ms Milliseconds between two calls.
   * @param call What is called; it does not throw.
   * @returns Ends it.
   */
  every(ms: number, call: () => void): () => void;
}

/** The rule of a selector, and what it measures time with. */
export interface ClockSelectorSettings {
  /** Milliseconds between two looks at the sources, 10 to 60,000. Default 500. */
  readonly checkMs?: number;
  /** By how much smaller the bound of another source must be to take over from one that is good, 1 to 1000. Default 2. */
  readonly betterFactor?: number;
  /** For how long it must be so, in ms. Default 10,000. */
  readonly holdMs?: number;
  /** For how long a source that was lost must be good before it is preferred again, in ms. Default 30,000. */
  readonly failBackMs?: number;
  /** Longest wait of `start()` for first syncs, in ms; those that come later count as well. Default 3000. */
  readonly startMsMax?: number;
  /** What time is measured with. Default: the system's steady counter. */
  readonly steady?: SteadyCounter;
  /** What calls the looks. Default: the runtime's timer. */
  readonly timer?: RepeatingTimer;
}

/** How to make a selector. */
export interface ClockSelectorOptions extends ClockSelectorSettings {
  /** The sources, 1 to 32, each with a name of its own. The selector starts and closes them. */
  readonly sources: readonly ClockSource[];
  /** What could not be had, each in a sentence; `status()` shows it. Default: none. */
  readonly notes?: readonly string[];
}

/** How to open a selector over what this machine has. */
export interface ClockSelectorOpenOptions extends ClockSelectorSettings {
  /** The sources. Default: the hardware clocks found, chrony, SNTP if servers are named, the system. */
  readonly sources?: readonly ClockSource[];
  /** NTP servers to ask, `host` or `host:port`; only where `sources` is left out. Default: none is asked. */
  readonly sntp?: readonly string[];
  /** Kinds to look for; only where `sources` is left out. Default: all. */
  readonly kinds?: readonly Exclude<ClockKind, "simulated">[];
  /** Port of chronyd's command protocol, `cmdport` of its settings; only where `sources` is left out. Default 323. */
  readonly chronyPort?: number;
  /**
   * Milliseconds between two looks for a daemon or device that was not there before, 100 to 86,400,000; only where `sources`
   * is left out. Default 60,000.
   */
  readonly findMs?: number;
}

/**
 * How a source stands in a selector.
 *
 * `selected` gives the time; `ready` could; `waiting` was lost and has not been good for long enough; `false` is
 * contradicted by most others; `unsynchronised` has a time that nobody vouches for; `silent` has no time.
 */
export type SourceState =
  | "selected"
  | "ready"
  | "waiting"
  | "false"
  | "unsynchronised"
  | "silent";

/** One source of a selector. */
export interface SourceStanding {
  /** Its name. */
  readonly name: string;
  /** Where its time comes from. */
  readonly kind: ClockKind;
  /** How it stands. */
  readonly state: SourceState;
  /** Why it is selected, or why not, in one sentence. */
  readonly why: string;
  /** What it says of itself. */
  readonly status: ClockStatus;
}

/** How a selector is doing: the selected source's status, and the others. */
export interface SelectorStatus extends ClockStatus {
  /** Name of the source that gives the time. */
  readonly selected: string;
  /** Whether it was chosen by the rule or by hand. */
  readonly mode: "auto" | "manual";
  /** Whether the sources contradict each other and no majority says who is right. */
  readonly isDisputed: boolean;
  /** All sources, in the order given. */
  readonly sources: readonly SourceStanding[];
  /** The last steps of time, newest last. */
  readonly steps: readonly ClockStep[];
  /** What could not be had, each in a sentence. */
  readonly notes: readonly string[];
}
