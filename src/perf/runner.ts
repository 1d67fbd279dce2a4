/**
 * The runner: runs validators in order, judges what they measured, and says how the whole ended.
 *
 * The targets file drives it: a benchmark without a validator is `not built`, and stands in the
 * report as such, so that "2/10 PASS" never looks like "all pass". A validator that throws, measures
 * nothing or leaves a metric out has failed; none of that ends the run.
 *
 * Exit code: 3 where a validator found a user's directory damaged; else 1 where one failed; else 2
 * where nothing at all was checked (every benchmark chosen is not built or skipped, so there is
 * nothing to call passed); else 0. So 0 means that every built validator that was chosen and not
 * skipped has passed; those not built are not counted as passed, and the report says how many.
 */

import { isMmsbError, MmsbError } from "../base/errors.ts";
import type {
  Measured,
  MeasuredDurability,
  Validator,
  ValidatorContext,
  ValidatorResult,
  ValidatorStatus,
} from "../validators/validator.ts";
import { EXIT, type ExitCode, exitCodeOf } from "./exit_codes.ts";
import { isFailure, judge, type MetricVerdict } from "./judge.ts";
import { withStrays } from "./_strays.ts";
import type { BenchmarkTarget, Targets } from "./targets.ts";

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
  /** A user's directory to validate; workloads of the validators' own if left out. */
  readonly directory?: string;
  /** When the run began, for the report. */
  readonly startedAt: Date;
  /** Told how far the work is. */
  readonly progress?: (text: string) => void;
}

/** How one benchmark ended, with its verdicts. */
export interface BenchmarkResult extends ValidatorResult {
  /** What must hold, from the targets. */
  readonly description: string;
  /** One verdict a metric of the targets, in their order; empty where nothing was measured. */
  readonly verdicts: readonly MetricVerdict[];
  /** The durability at which it was measured; absent where nothing was written. */
  readonly durability?: MeasuredDurability;
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
  /** The user's directory, where one was validated. */
  readonly directory?: string;
  /** The benchmarks that were chosen, by rising id. */
  readonly benchmarks: readonly BenchmarkResult[];
  /** How many benchmarks ended how. */
  readonly counts: Readonly<Record<ValidatorStatus, number>>;
  /** How the command ends; see the head of this file. */
  readonly exitCode: ExitCode;
}

/**
 * Runs validators and judges them.
 *
 * @param options What to run.
 * @returns The report.
 * @throws {MmsbError} `usage` where `only` has an id that the targets lack. What a validator throws
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
  const { validators, quick = false, seed = 1, directory, startedAt } = options;
  const selected = select(options.targets, options.only);
  const started = performance.now();
  const benchmarks: BenchmarkResult[] = [];
  for (const benchmark of selected) {
    const title = `#${benchmark.id} ${benchmark.name}`;
    const validator = validators.find(({ id }) => id === benchmark.id);
    if (validator === undefined) {
      benchmarks.push(idle(benchmark, "not built", "no validator measures it yet"));
    } else if (validator.needsWorkload && directory !== undefined) {
      benchmarks.push(idle(benchmark, "skipped", "it needs a workload of its own"));
    } else {
      options.progress?.(`${title} …`);
      benchmarks.push(
        await runOne(benchmark, validator, {
          quick,
          seed,
          ...(directory === undefined ? {} : { directory }),
          progress: (text) => options.progress?.(`${title}: ${text}`),
        }),
      );
    }
  }
  const counts = countStatuses(benchmarks);
  return {
    startedAt,
    durationMs: performance.now() - started,
    quick,
    seed,
    ...(directory === undefined ? {} : { directory }),
    benchmarks,
    counts,
    exitCode: exitCodeOfRun(benchmarks, counts),
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

async function runOne(
  benchmark: BenchmarkTarget,
  validator: Validator,
  context: ValidatorContext,
): Promise<BenchmarkResult> {
  const started = performance.now();
  try {
    const measured = await withStrays(() => validator.run(context));
    return judgeAll(benchmark, measured, context, performance.now() - started);
  } catch (error) {
    return {
      ...idle(benchmark, "failed", reasonOf(error)),
      durationMs: performance.now() - started,
      // On a workload of its own, damage is a fault of ours: a failed check.
      damaged: context.directory !== undefined && exitCodeOf(error) === EXIT.damaged,
    };
  }
}

function judgeAll(
  benchmark: BenchmarkTarget,
  measured: Measured,
  { quick, directory }: ValidatorContext,
  durationMs: number,
): BenchmarkResult {
  const { metrics, samples, notes = [], durability, damage } = measured;
  const unmeasured = directory === undefined ? {} : measured.unmeasured ?? {};
  const verdicts = benchmark.metrics.map((metric) =>
    judge(metric, metrics[metric.name], { quick, unmeasured: unmeasured[metric.name] })
  );
  const result = {
    ...idle(benchmark, "passed", undefined),
    metrics,
    notes,
    samples,
    durationMs,
    verdicts,
    ...(durability === undefined ? {} : { durability }),
    damaged: damage !== undefined,
  };
  if (damage !== undefined) return { ...result, status: "failed", reason: damage };
  if (!(Number.isSafeInteger(samples) && samples >= 1)) {
    return { ...result, status: "failed", reason: `it measured nothing: ${samples} samples` };
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

function countStatuses(
  benchmarks: readonly BenchmarkResult[],
): Record<ValidatorStatus, number> {
  const counts = { passed: 0, failed: 0, "not built": 0, skipped: 0 };
  for (const { status } of benchmarks) counts[status]++;
  return counts;
}

function exitCodeOfRun(
  benchmarks: readonly BenchmarkResult[],
  counts: Readonly<Record<ValidatorStatus, number>>,
): ExitCode {
  if (benchmarks.some(({ damaged }) => damaged)) return EXIT.damaged;
  if (counts.failed > 0) return EXIT.failed;
  return counts.passed === 0 ? EXIT.usage : EXIT.done;
}
