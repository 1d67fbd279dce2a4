/** Checks of what a selector is given. */
import { checkKeys, checkNumber, checkType, MmsbError } from "../../base/mod.ts";
import type {
  ClockSelectorOptions,
  ClockSelectorSettings,
  RepeatingTimer,
} from "./clock_selector_status.ts";
import type { ClockSource, SteadyCounter } from "./clock_source.ts";
import type { RuleSettings } from "./_selector_rule.ts";
import { runtimeTimer } from "./_selector_timer.ts";
import { steadyCounter } from "./system_calls.ts";

/** Names of the settings. */
export const SETTING_KEYS: readonly (keyof ClockSelectorSettings)[] = [
  "checkMs",
  "betterFactor",
  "holdMs",
  "failBackMs",
  "startMsMax",
  "steady",
  "timer",
];
const SOURCES_MAX = 32;
const DAY_MS = 86_400_000;
const METHODS = ["read", "nowUs", "errorUs", "start", "sync", "status", "close"] as const;

/** Options that are as they should be. */
export interface CheckedOptions {
  /** The sources. */
  readonly sources: readonly ClockSource[];
  /** What could not be had. */
  readonly notes: readonly string[];
  /** Milliseconds between two looks. */
  readonly checkMs: number;
  /** Longest wait for first syncs. */
  readonly startMsMax: number;
  /** What the rule goes by. */
  readonly rule: RuleSettings;
  /** What time is measured with. */
  readonly steady: SteadyCounter;
  /** What calls the looks. */
  readonly timer: RepeatingTimer;
}

/** Checks the options of a selector; throws `usage`, `out-of-bounds` or `limit`. */
export function checkOptions(options: ClockSelectorOptions): CheckedOptions {
  checkType("options of ClockSelector", options, "object");
  checkKeys("ClockSelector", options, [...SETTING_KEYS, "sources", "notes"]);
  const { sources, notes = [], checkMs = 500, startMsMax = 3000 } = options;
  const { betterFactor = 2, holdMs = 10_000, failBackMs = 30_000 } = options;
  const { steady = steadyCounter(), timer = runtimeTimer } = options;
  checkType("steady", steady, "object");
  checkType("steady.nowNs", steady.nowNs, "function");
  checkType("timer", timer, "object");
  checkType("timer.every", timer.every, "function");
  if (!Array.isArray(notes)) {
    throw new MmsbError("usage", "Cannot use these notes: give an array of sentences");
  }
  return {
    sources: checkSources(sources),
    notes: notes.map((note) => checkType("note", note, "string")),
    checkMs: checkNumber("checkMs", checkMs, 10, 60_000),
    startMsMax: checkNumber("startMsMax", startMsMax, 0, 60_000),
    rule: {
      betterFactor: checkNumber("betterFactor", betterFactor, 1, 1000),
      holdNs: checkNumber("holdMs", holdMs, 0, DAY_MS) * 1e6,
      failBackNs: checkNumber("failBackMs", failBackMs, 0, DAY_MS) * 1e6,
    },
    steady,
    timer,
  };
}

function checkSources(sources: readonly ClockSource[]): readonly ClockSource[] {
  if (!Array.isArray(sources) || sources.length < 1 || sources.length > SOURCES_MAX) {
    throw new MmsbError(
      "usage",
      `Cannot use these sources: give an array of 1 to ${SOURCES_MAX} sources of time`,
    );
  }
  const names = new Set<string>();
  for (const source of sources as readonly ClockSource[]) {
    checkType("source", source, "object");
    const name = checkType("name of a source", source.name, "string");
    for (const key of METHODS) {
      checkType(`${key} of source ${JSON.stringify(name)}`, source[key], "function");
    }
    if (names.has(name)) {
      throw new MmsbError(
        "usage",
        `Cannot use two sources with the name ${JSON.stringify(name)}: give each its own`,
        { values: { name } },
      );
    }
    names.add(name);
  }
  return [...sources];
}
