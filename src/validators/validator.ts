/**
 * What a validator is: something that measures, and says how much it looked at.
 *
 * A validator does not know its targets. It gives figures, the runner in `src/perf` compares them
 * with the targets of a file and prints the very figures that it compared, so a validator cannot
 * call itself passed, and a user can set other targets without touching code. What went wrong inside
 * (an error thrown, a figure left out, a figure that is no number) is a failure, never a gap.
 *
 * Cost: these are types.
 */

import type { StateBus } from "../bus/mod.ts";
import type { Rule } from "../propagation/mod.ts";

/** Rules of a program by the names that they are bound by. */
export type GivenRules = Readonly<Record<string, Rule>>;

/**
 * How a benchmark ended. `not built` (no validator has its id) and `skipped` (it needs a workload of
 * its own and was pointed at a user's directory) are said aloud and never count as passed.
 */
export type ValidatorStatus = "passed" | "failed" | "not built" | "skipped";

/** When a write counts as done: the mode in which a validator ran the bus that it measured. */
export type MeasuredDurability = "memory" | "buffered" | "group" | "always";

/** Where the validators' buses apply batches and run rules, as `StateBus.open` has it; `cpu` where nothing is said. */
export type MeasuredDevice = "cpu" | "gpu" | "auto";

/** What really ran on a GPU. */
export interface DeviceCounts {
  /** Batches that were applied there. */
  readonly batches: number;
  /** Their rows. */
  readonly rows: number;
  /** Runs of rules in WGSL. */
  readonly rules: number;
}

/** The device of a run that asked for one, and what ran on it. */
export interface RunDevice {
  /** What was asked for. */
  readonly asked: Exclude<MeasuredDevice, "cpu">;
  /** Whether there is one: `ready`, `none` where there is no adapter, otherwise what became of it. */
  readonly state: string;
  /** Why there is none, or why it is not used; empty where all is well. */
  readonly reason: string;
  /** What it is; absent where there is none. */
  readonly adapter?: {
    readonly name: string;
    readonly vendor: string;
    readonly driver: string;
    /** Whether it computes on the CPU: what comes out is right, times say nothing of a GPU. */
    readonly isSoftware: boolean;
  };
  /** What ran on it, in all processes and threads of the run. */
  readonly counts: DeviceCounts;
}

/** What a validator is given. */
export interface ValidatorContext {
  /** Whether to do a short form of the work; figures count against the `quickTarget` of a metric. */
  readonly quick: boolean;
  /** Seed of everything random, from 0 to 2³² − 1: the same seed does the same work. */
  readonly seed: number;
  /**
   * A user's data directory to validate, instead of a workload of the validator's own. It is read,
   * never written.
   */
  readonly directory?: string;
  /**
   * The live bus of a program that is validated. Where it has a log, `directory` is that of the log, which the bus
   * goes on writing; a bus in memory has no directory.
   */
  readonly bus?: StateBus;
  /** URL of a user's module with rules and invariants for the directory. */
  readonly rules?: string;
  /** Rules by name that a program gives in place of a module. */
  readonly givenRules?: GivenRules;
  /** How often each rule of a user is run on the same inputs; 3 if left out. */
  readonly ruleRuns?: number;
  /** Milliseconds that one rule, or the loading of a user's module, may take. */
  readonly ruleTimeoutMs?: number;
  /**
   * Says how far the work is, for a person who waits: `cycle 120 of 1000`. Cheap enough to call
   * several times a second, too dear for every row.
   */
  progress(text: string): void;
}

/** What a validator gives back. */
export interface Measured {
  /** Figures by the name of their metric, in the unit that the targets give. More may be given. */
  readonly metrics: Readonly<Record<string, number>>;
  /** How many things were looked at (deltas, ticks, pages); below 1 nothing was measured. */
  readonly samples: number;
  /** One-line remarks for the reader of the report: sizes, sources of data, what was left out. */
  readonly notes?: readonly string[];
  /** The durability at which the figures were taken; left out where nothing was written. */
  readonly durability?: MeasuredDurability;
  /**
   * Metrics that mean nothing for a user's directory, each with the reason. Read only where the
   * context has a `directory`: on its own workload a validator measures every metric.
   */
  readonly unmeasured?: Readonly<Record<string, string>>;
  /**
   * Why there was nothing to validate, in words that help: the benchmark is then skipped, whatever else
   * this says. Read only where a user's directory or bus is validated.
   */
  readonly leftOut?: string;
  /** What is damaged in the user's directory, in one sentence; the command then ends with exit 3. */
  readonly damage?: string;
  /**
   * Faults of the catalogue (`catalogue.ts`) that were planted in the validator's own work, and whether
   * each was found; one that was not is a failure, whatever the figures say. Left out where nothing
   * was planted.
   */
  readonly planted?: readonly PlantedResult[];
}

/** What became of a fault that a validator planted. */
export interface PlantedResult {
  /** The fault, by its id in the catalogue. */
  readonly id: string;
  /** Whether the check found it, by its name and at its place. */
  readonly found: boolean;
}

/** One of the ten validators. */
export interface Validator {
  /** Its number in the targets file, from 1. */
  readonly id: number;
  /** Its name, for messages; a report shows the name that the targets file gives. */
  readonly name: string;
  /**
   * Why it needs a workload of its own, which a user's data cannot replace: it is skipped there, with this
   * reason. Left out of those that validate a user's data.
   */
  readonly needsWorkload?: string;
  /**
   * Does the work and measures it.
   *
   * @param context What to do it on.
   * @returns The figures.
   * @throws {unknown} Anything; the runner reports it as a failure with its code and message.
   */
  run(context: ValidatorContext): Promise<Measured>;
}

/** How one benchmark ended: what was measured, and the status that the runner gave it. */
export interface ValidatorResult {
  /** Number in the targets file. */
  readonly id: number;
  /** Name in the targets file. */
  readonly name: string;
  /** How it ended. */
  readonly status: ValidatorStatus;
  /** Figures by name; empty where nothing ran. */
  readonly metrics: Readonly<Record<string, number>>;
  /** One-line remarks. */
  readonly notes: readonly string[];
  /** How many things were looked at. */
  readonly samples: number;
  /** Time it took, in milliseconds. */
  readonly durationMs: number;
  /** Why it failed or did not run, where no metric says so. */
  readonly reason?: string;
}
