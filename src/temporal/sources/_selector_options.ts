/** Checks of what a selector is given. */
import {
  checkInteger,
  checkIterable,
  checkKeys,
  checkNumber,
  checkOneOf,
  checkType,
  MmsbError,
} from "../../base/mod.ts";
import type {
  ClockSelectorOpenOptions,
  ClockSelectorOptions,
  ClockSelectorSettings,
  RepeatingTimer,
} from "./clock_selector_status.ts";
import type { ClockSource, SteadyCounter } from "./clock_source.ts";
import type { MachineChainOptions } from "./_selector_chain.ts";
import type { RuleSettings } from "./_selector_rule.ts";
import { runtimeTimer } from "./_selector_timer.ts";
import { requireNoText } from "./sntp_options.ts";
import { steadyCounter } from "./system_calls.ts";

/** Names of the settings. */
const SETTING_KEYS: readonly (keyof ClockSelectorSettings)[] = [
  "checkMs",
  "betterFactor",
  "holdMs",
  "failBackMs",
  "startMsMax",
  "steady",
  "timer",
];
/** Options of `open` that say what to look for. */
const MACHINE_KEYS = ["sntp", "kinds", "chronyPort", "findMs"] as const;
const KINDS = ["ptp", "daemon", "sntp", "system"] as const;
/** Time between two looks for further sources of the machine: a daemon that is started later is found within a minute. */
const FIND_MS = 60_000;
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

/** What `open` is to do. */
export interface CheckedOpenOptions {
  /** The rule, not checked yet. */
  readonly settings: ClockSelectorSettings;
  /** The sources; `undefined` where the machine's are to be found. */
  readonly sources: readonly ClockSource[] | undefined;
  /** What to look for. */
  readonly machine: MachineChainOptions;
  /** Milliseconds between two looks for more. */
  readonly findMs: number;
}

/** Checks what `open` is given; throws `usage`, `out-of-bounds` or `limit`. */
export function checkOpenOptions(options: ClockSelectorOpenOptions): CheckedOpenOptions {
  checkKeys("ClockSelector.open", options, [...SETTING_KEYS, "sources", ...MACHINE_KEYS]);
  const { sources, sntp = [], kinds = KINDS, chronyPort, findMs = FIND_MS, ...settings } = options;
  if (sources !== undefined && MACHINE_KEYS.some((key) => options[key] !== undefined)) {
    throw new MmsbError(
      "usage",
      "Cannot look for sources where sources are given: give one or the other",
    );
  }
  requireNoText("sntp", sntp);
  return {
    settings,
    sources,
    machine: {
      servers: [...checkIterable("sntp", sntp)],
      kinds: [...checkIterable("kinds", kinds)].map((kind) => checkOneOf("kind", kind, KINDS)),
      chronyPort: chronyPort === undefined
        ? undefined
        : checkInteger("chronyPort", chronyPort, 1, 65_535),
    },
    findMs: checkNumber("findMs", findMs, 100, 86_400_000),
  };
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
