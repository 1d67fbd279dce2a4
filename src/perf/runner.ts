/**
 * The runner: runs validators in order, judges what they measured, and says how the whole ended.
 *
 * The targets file drives it: a benchmark without a validator is `not built`, and stands in the
 * report as such, so that "2/10 PASS" never looks like "all pass". A validator that throws, measures
 * nothing or leaves a metric out has failed; none of that ends the run.
 *
 * Exit code: 3 where a validator found a user's directory damaged; else 1 where one failed; else 2
 * where nothing at all was checked (every benchmark chosen is not built or skipped, so there is
 * nothing to call passed); else 0. A GPU that was asked for and had nothing to do is a failure, see `device.ts`. So 0 means that every built validator that was chosen and not
 * skipped has passed; those not built are not counted as passed, and the report says how many.
 */

import { checkInteger } from "../base/assert.ts";
import { isMmsbError, MmsbError } from "../base/errors.ts";
import type { DeviceRun } from "../validators/device_run.ts";
import type {
  DeviceCounts,
  Measured,
  MeasuredDevice,
  MeasuredDurability,
  PlantedResult,
  RunDevice,
  Validator,
  ValidatorContext,
  ValidatorResult,
  ValidatorStatus,
} from "../validators/validator.ts";
import { EXIT, type ExitCode, exitCodeOf } from "./exit_codes.ts";
import { isDeviceIdle, untimedReason } from "./device.ts";
import { isFailure, judge, type MetricVerdict } from "./judge.ts";
import { FilesSeen } from "./_moved_on.ts";
import { othersPercent, readBusyCounts } from "./_others.ts";
import { poolRepeats } from "./_repeats.ts";
import { withStrays } from "./_strays.ts";
import { countsText } from "./_words.ts";
import { type BenchmarkTarget, isTimed, type Targets } from "./targets.ts";

/** What to run, and how. */
export interface RunOptions {
  /** The validators that are built; those whose id the targets lack do not run. */
  readonly validators: readonly Validator[];
  /** The benchmarks and what they must reach. */
  readonly targets: Targets;
  /** Ids to run; all if left out. */
  readonly only?: readonly number[];
  /** Whether to do the short form; no if left out. */
  readonly quick?: boolean;
  /** Seed of everything random; 1 if left out. */
  readonly seed?: number;
  /** How many times each validator runs, from 1 to 1000; 1 if left out. */
  readonly repeats?: number;
  /** A user's directory to validate; workloads of the validators' own if left out. */
  readonly directory?: string;
  /** What else is known of a user's data: the live bus, its rules, how they are to be run. */
  readonly own?: Pick<
    ValidatorContext,
    "bus" | "rules" | "givenRules" | "ruleRuns" | "ruleTimeoutMs"
  >;
  /** Where the validators' buses apply batches and run rules; `cpu` if left out. */
  readonly device?: MeasuredDevice;
  /** When the run began, for the report. */
  readonly startedAt: Date;
  /** Told how far the work is. */
  readonly progress?: (text: string) => void;
}

/** Most repeats: the figures of each are kept. */
export const REPEATS_MAX = 1000;

/** How one benchmark ended, with its verdicts. */
export interface BenchmarkResult extends ValidatorResult {
  /** What must hold, from the targets. */
  readonly description: string;
  /** One verdict a metric of the targets, in their order; empty where nothing was measured. */
  readonly verdicts: readonly MetricVerdict[];
  /** The figures of each repeat, in order; `metrics` is what they come to. */
  readonly runs: readonly Readonly<Record<string, number>>[];
  /** The durability at which it was measured; absent where nothing was written. */
  readonly durability?: MeasuredDurability;
  /** The faults of the catalogue that it planted in its own work; absent where there were none. */
  readonly planted?: readonly PlantedResult[];
  /** Whether it found the user's data damaged. */
  readonly damaged: boolean;
}

/** How a run ended. */
export interface RunReport {
  /** When it began. */
  readonly startedAt: Date;
  /** How long it took, in milliseconds. */
  readonly durationMs: number;
  /** Whether it was a quick run. */
  readonly quick: boolean;
  /** Seed of everything random. */
  readonly seed: number;
  /** How many times each validator ran. */
  readonly repeats: number;
  /** Percent of all cores' time that other processes took meanwhile; absent where it is not known. */
  readonly othersPercent?: number;
  /** The user's directory, where one was validated. */
  readonly directory?: string;
  /** The device, and what ran on it; absent where none was asked for. */
  readonly device?: RunDevice;
  /** The benchmarks that were chosen, by rising id. */
  readonly benchmarks: readonly BenchmarkResult[];
  /** How many benchmarks ended how. */
  readonly counts: Readonly<Record<ValidatorStatus, number>>;
  /** How the command ends; see the head of this file. */
  readonly exitCode: ExitCode;
}

/**
 * Runs validators and judges them. With repeats, each validator runs so many times: the median of a
 * timed figure and the worst of any other are judged.
 *
 * @param options What to run.
 * @returns The report.
 * @throws {MmsbError} `usage` where `only` has an id that the targets lack, or `repeats` is no number
 * of repeats. What a validator throws
 * is not thrown but reported.
 *
 * @example One validator, of ten benchmarks
 * ```ts
 * import assert from "node:assert/strict";
 * import { loadTargets } from "./targets.ts";
 *
 * const purity = {
 *   id: 4,
 *   name: "Purity",
 *   run: async () => ({
 *     metrics: { sideEffects: 0, agreePercent: 100, plantedFound: 100 },
 *     samples: 30,
 *   }),
 * };
 * const report = await runBenchmarks({
 *   validators: [purity],
 *   targets: await loadTargets(),
 *   startedAt: new Date(0),
 * });
 * assert.deepEqual(report.counts, { passed: 1, failed: 0, "not built": 9, skipped: 0 });
 * assert.equal(report.exitCode, 0);
 * ```
 */
export async function runBenchmarks(options: RunOptions): Promise<RunReport> {
  const { repeats = 1, device = "cpu" } = options;
  checkInteger("repeats", repeats, 1, REPEATS_MAX);
  const selected = select(options.targets, options.only);
  if (device === "cpu") return await runSelected(options, selected);
  // What opens buses is loaded only where a device must be held for them.
  const { DeviceRun } = await import("../validators/device_run.ts");
  const run = await DeviceRun.open(device);
  try {
    return await runSelected(options, selected, run);
  } finally {
    await run.close();
  }
}

async function runSelected(
  options: RunOptions,
  selected: readonly BenchmarkTarget[],
  device?: DeviceRun,
): Promise<RunReport> {
  const { validators, quick = false, seed = 1, repeats = 1, directory, startedAt } = options;
  const isOwn = directory !== undefined || options.own?.bus !== undefined;
  const started = performance.now();
  const busyAtStart = readBusyCounts();
  const benchmarks: BenchmarkResult[] = [];
  for (const benchmark of selected) {
    const title = `#${benchmark.id} ${benchmark.name}`;
    const validator = validators.find(({ id }) => id === benchmark.id);
    if (validator === undefined) {
      benchmarks.push(idle(benchmark, "not built", "no validator measures it yet"));
    } else if (validator.needsWorkload !== undefined && isOwn) {
      benchmarks.push(idle(benchmark, "skipped", validator.needsWorkload));
    } else {
      options.progress?.(`${title} …`);
      benchmarks.push(
        await runSettled(benchmark, validator, repeats, {
          quick,
          seed,
          ...(directory === undefined ? {} : { directory }),
          ...options.own,
          progress: (text) => options.progress?.(`${title}: ${text}`),
        }, device),
      );
    }
  }
  const counts = countStatuses(benchmarks), report = device?.report();
  const others = othersPercent(busyAtStart, readBusyCounts());
  return {
    startedAt,
    durationMs: performance.now() - started,
    quick,
    seed,
    repeats,
    ...(others === undefined ? {} : { othersPercent: others }),
    ...(directory === undefined ? {} : { directory }),
    ...(report === undefined ? {} : { device: report }),
    benchmarks,
    counts,
    exitCode: exitCodeOfRun(benchmarks, counts, report),
  };
}

function select(
  { benchmarks }: Targets,
  only: readonly number[] | undefined,
): readonly BenchmarkTarget[] {
  if (only === undefined) return benchmarks;
  const known = benchmarks.map(({ id }) => id);
  const unknown = only.find((id) => !known.includes(id));
  if (unknown !== undefined) {
    throw new MmsbError(
      "usage",
      `Cannot run validator ${unknown} as there is none of that number: the numbers are ${
        known.join(", ")
      }`,
      { values: { id: unknown, known } },
    );
  }
  return benchmarks.filter(({ id }) => only.includes(id));
}

/** How often a validator begins again where the directory lost files while it looked. */
const TRIES_MAX = 5;

/** Runs a validator; of a directory that is written meanwhile only what it finds in files that stay counts. */
async function runSettled(
  benchmark: BenchmarkTarget,
  validator: Validator,
  repeats: number,
  context: ValidatorContext,
  device: DeviceRun | undefined,
): Promise<BenchmarkResult> {
  const { directory } = context;
  for (let tries = 1;; tries++) {
    const seen = directory === undefined ? undefined : new FilesSeen(directory);
    const result = await runOne(benchmark, validator, repeats, context, device);
    if (seen === undefined || !(result.status === "failed" || result.damaged)) return result;
    if (!seen.areGone) return result;
    if (tries < TRIES_MAX) continue;
    const reason = `files of the directory were merged or dropped whenever it was looked at, ` +
      `${TRIES_MAX} times: validate it while less goes on, or a copy of it`;
    return { ...idle(benchmark, "skipped", reason), durationMs: result.durationMs };
  }
}

async function runOne(
  benchmark: BenchmarkTarget,
  validator: Validator,
  repeats: number,
  context: ValidatorContext,
  device: DeviceRun | undefined,
): Promise<BenchmarkResult> {
  const started = performance.now(), before = device?.counts;
  const measured: Measured[] = [];
  const runs = () => measured.map(({ metrics }) => metrics);
  try {
    while (measured.length < repeats) {
      const repeat = repeats === 1 ? "" : `repeat ${measured.length + 1} of ${repeats}, `;
      const progress = (text: string) => context.progress(`${repeat}${text}`);
      const work = () => validator.run({ ...context, progress });
      measured.push(await withStrays(device === undefined ? work : () => device.run(work)));
    }
    const pooled = withCounts(poolRepeats(benchmark, measured), before, device?.counts);
    return {
      ...judgeAll(benchmark, pooled, context, device?.report()),
      durationMs: performance.now() - started,
      runs: runs(),
    };
  } catch (error) {
    return {
      ...idle(benchmark, "failed", reasonOf(error)),
      runs: runs(),
      durationMs: performance.now() - started,
      // On a workload of its own, damage is a fault of ours: a failed check.
      damaged: context.directory !== undefined && exitCodeOf(error) === EXIT.damaged,
    };
  }
}

/** The same with a note of what ran on the GPU meanwhile. */
function withCounts(
  measured: Measured,
  before: DeviceCounts | undefined,
  after: DeviceCounts | undefined,
): Measured {
  if (before === undefined || after === undefined) return measured;
  const counts = {
    batches: after.batches - before.batches,
    rows: after.rows - before.rows,
    rules: after.rules - before.rules,
  };
  return { ...measured, notes: [...measured.notes ?? [], `on the GPU: ${countsText(counts)}`] };
}

function judgeAll(
  benchmark: BenchmarkTarget,
  measured: Measured,
  { quick, directory, bus }: ValidatorContext,
  device: RunDevice | undefined,
): BenchmarkResult {
  const { metrics, samples, notes = [], durability, planted, damage } = measured;
  const isOwn = directory !== undefined || bus !== undefined;
  const unmeasured = isOwn ? measured.unmeasured ?? {} : {};
  const untimed = untimedReason(device);
  const verdicts = benchmark.metrics.map((metric) => {
    return untimed !== undefined && isTimed(metric) && Number.isFinite(metrics[metric.name])
      ? judge(metric, undefined, { quick, unmeasured: untimed })
      : judge(metric, metrics[metric.name], { quick, unmeasured: unmeasured[metric.name] });
  });
  const result = {
    ...idle(benchmark, "passed", undefined),
    metrics,
    notes,
    samples,
    verdicts,
    ...(durability === undefined ? {} : { durability }),
    ...(planted === undefined ? {} : { planted }),
    damaged: damage !== undefined,
  };
  if (isOwn && measured.leftOut !== undefined) {
    return { ...result, status: "skipped", reason: measured.leftOut };
  }
  if (damage !== undefined) return { ...result, status: "failed", reason: damage };
  if (!(Number.isSafeInteger(samples) && samples >= 1)) {
    return { ...result, status: "failed", reason: `it measured nothing: ${samples} samples` };
  }
  const missed = (planted ?? []).filter(({ found }) => !found).map(({ id }) => id);
  if (missed.length > 0) {
    return { ...result, status: "failed", reason: `planted and not found: ${missed.join(", ")}` };
  }
  if (verdicts.every(({ verdict }) => verdict === "not measured") && !verdicts.some(isFailure)) {
    return { ...result, status: "skipped", reason: verdicts[0].reason };
  }
  return verdicts.some(isFailure) ? { ...result, status: "failed" } : result;
}

function idle(
  { id, name, description }: BenchmarkTarget,
  status: ValidatorStatus,
  reason: string | undefined,
): BenchmarkResult {
  return {
    id,
    name,
    description,
    status,
    metrics: {},
    runs: [],
    notes: [],
    samples: 0,
    durationMs: 0,
    verdicts: [],
    damaged: false,
    ...(reason === undefined ? {} : { reason }),
  };
}

function reasonOf(error: unknown): string {
  if (isMmsbError(error)) return `${error.code}: ${error.message}`;
  return error instanceof Error ? `${error.name}: ${error.message}` : `threw ${String(error)}`;
}

/**
 * Counts benchmarks by how they ended.
 *
 * @param benchmarks The benchmarks.
 * @returns How many ended how.
 */
export function countStatuses(
  benchmarks: readonly BenchmarkResult[],
): Record<ValidatorStatus, number> {
  const counts = { passed: 0, failed: 0, "not built": 0, skipped: 0 };
  for (const { status } of benchmarks) counts[status]++;
  return counts;
}

/**
 * The exit code of a run; see the head of this file.
 *
 * @param benchmarks How each ended.
 * @param counts The same, counted.
 * @param device The device of the run, where one was asked for.
 * @returns The code.
 */
export function exitCodeOfRun(
  benchmarks: readonly BenchmarkResult[],
  counts: Readonly<Record<ValidatorStatus, number>>,
  device?: RunDevice,
): ExitCode {
  if (benchmarks.some(({ damaged }) => damaged)) return EXIT.damaged;
  if (counts.failed > 0 || counts.passed > 0 && isDeviceIdle(device)) return EXIT.failed;
  return counts.passed === 0 ? EXIT.usage : EXIT.done;
}
