/**
 * Results for the tests of the reports: runs of all ten benchmarks with figures that vary by a seed,
 * made by the runner itself, so that they are what a real run gives.
 */

import type { Measured } from "../validators/validator.ts";
import { isTimed, loadTargets, type MetricTarget } from "./targets.ts";
import { jsonReport } from "./report_json.ts";
import { runBenchmarks } from "./runner.ts";
import { parseResult, type StoredResult } from "./stored_result.ts";
import type { Machine } from "./machine.ts";

/** The machine of all sample runs. */
export const MACHINE: Machine = {
  versions: { mmsb: "0.1.0", deno: "2.9.6", v8: "15.0", typescript: "6.0.3" },
  os: "linux",
  osRelease: "6.18",
  arch: "x86_64",
  processor: "Sample Processor",
  cores: 2,
  memoryBytes: 2 ** 34,
};

/** What a sample run changes. */
export interface SampleOptions {
  /** When it began, in hours. */
  readonly hour: number;
  /** What it ran on; {@linkcode MACHINE} if left out. */
  readonly machine?: Machine;
  /** How many times each validator ran. */
  readonly repeats?: number;
  /** Whether it was quick. */
  readonly quick?: boolean;
  /** Changes what a validator measured, or throws in its place. */
  readonly change?: (id: number, measured: Measured) => Measured;
}

/** A generator of Lehmer's kind (MINSTD): the same seed, the same figures. */
function generator(seed: number): () => number {
  let state = seed * 7919 + 1;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

/** A figure that reaches its goal, and varies where it is timed. */
function figure(metric: MetricTarget, random: () => number): number {
  const { comparison, value } = metric.goal;
  if (comparison === "<" && value > 0 && !isTimed(metric)) return Math.floor(value / 2);
  if (comparison === "==" || !isTimed(metric)) return value;
  const noise = 0.7 + 0.25 * random();
  return comparison.startsWith(">") ? value / noise : value * noise;
}

/** Runs ten sample validators. */
export async function sampleRun(options: SampleOptions): Promise<StoredResult> {
  const targets = await loadTargets();
  const random = generator(options.hour + 1);
  const { change = (_, measured) => measured, repeats = 1, quick = false } = options;
  const report = await runBenchmarks({
    targets,
    repeats,
    quick,
    startedAt: new Date(Date.UTC(2026, 0, 1, options.hour)),
    validators: targets.benchmarks.map(({ id, name, metrics }) => ({
      id,
      name,
      run: async () => {
        const figures = metrics.map((metric) => [metric.name, figure(metric, random)] as const);
        const measured = {
          metrics: Object.fromEntries(figures),
          samples: 1000 + id,
          notes: [`a remark on ${name}`, "another, of two parts: a and b"],
        };
        return await Promise.resolve(change(id, measured));
      },
    })),
  });
  return parseResult(jsonReport(report, options.machine ?? MACHINE), `${options.hour}.json`);
}
