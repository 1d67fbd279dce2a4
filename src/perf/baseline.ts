/**
 * The baseline: figures that a project commits beside its code, so that CI can tell that a change made
 * something worse. It is small, and carries the machine it was recorded on and the
 * rules by which a comparison with it fails, so that both are reviewed with the figures.
 *
 * Only what passed is recorded; figures that vary keep every repeat, as their spread decides what is
 * noise later; exact ones keep the worst.
 */

import type { MetricTarget } from "./targets.ts";
import { COMPARISONS, isTimed, UNITS } from "./targets.ts";
import { fields, integer, list, number, oneOf, type Origin, text, truth } from "./_fields.ts";
import { checkMachine } from "./stored_result.ts";
import { machineKind, workText } from "./comparable.ts";
import type { Machine } from "./machine.ts";
import type { MetricVerdict } from "./judge.ts";
import type { BenchmarkResult, RunReport } from "./runner.ts";
import { type FailRules, type RunGroup, type Series, seriesOf, type Side } from "./series.ts";

/** Tells a baseline from other JSON. */
export const BASELINE_KIND = "mmsb-baseline";

/** Version of the form of a baseline. */
export const BASELINE_FORMAT = 1;

/** Digits that a noisy figure keeps: the next ones are noise. */
const DIGITS = 6;

/** What fails against a new baseline; a maintainer may change it in the file. */
const RULES: FailRules = { thresholdPercent: 10, timesFactor: 2, othersPercentMax: 25 };

/** What the file says of itself. */
const ABOUT: readonly string[] = [
  "What `mmsb compare benchmarks_baseline.json RESULT` compares with. It fails where a figure that",
  "must be exactly something is further from it, a validator that passed breaks off, or any other",
  "count, share or size in bytes is worse past noise and past thresholdPercent. Times and rates fail",
  "only on the kind of machine named here, past noise, where they are more than timesFactor times as",
  "bad and miss the project's goal as well, and only if other processes took at most othersPercentMax",
  "of the cores' time meanwhile; on other machines they are not compared. A figure that is no longer",
  "measured fails too, so that none is lost unseen.",
  "Renew it on a quiet machine: deno task validate --repeat 5 --baseline benchmarks_baseline.json",
];

/**
 * Writes a run as a baseline.
 *
 * @param report The run; repeated, so that its noise is known.
 * @param machine What it ran on.
 * @returns JSON, indented as `deno fmt` does, with a line break at its end.
 *
 * @example Nothing ran
 * ```ts
 * import assert from "node:assert/strict";
 * import { describeMachine, runBenchmarks } from "./mod.ts";
 *
 * const targets = { format: 1, benchmarks: [] } as const;
 * const report = await runBenchmarks({ validators: [], targets, startedAt: new Date(0) });
 * assert.equal(JSON.parse(baselineReport(report, describeMachine())).kind, "mmsb-baseline");
 * ```
 */
export function baselineReport(report: RunReport, machine: Machine): string {
  const { startedAt, quick, seed, repeats, othersPercent, directory } = report;
  const { processor, cores, os, arch, versions } = machine;
  const baseline = {
    about: ABOUT,
    kind: BASELINE_KIND,
    format: BASELINE_FORMAT,
    recordedAt: startedAt.toISOString(),
    machine: { versions, os, arch, processor, cores },
    quick,
    seed,
    repeats,
    othersPercent,
    directory,
    rules: RULES,
    benchmarks: report.benchmarks.filter(({ status }) => status === "passed")
      .map(({ id, name, verdicts, runs }) => ({
        id,
        name,
        metrics: verdicts.filter(({ value }) => value !== undefined)
          .map((verdict) => metricOf(verdict, runs)),
      })),
  };
  const text = JSON.stringify(baseline, null, 2)
    .replace(/\{\s*("comparison": "[<>=]+"),\s*("value": [-\d.e+]+)\s*\}/g, "{ $1, $2 }")
    .replace(/\[[-\d\s.,e+]*\]/g, (list) => list.replace(/\s+/g, "").replaceAll(",", ", "));
  return `${text}\n`;
}

function metricOf(verdict: MetricVerdict, runs: BenchmarkResult["runs"]): unknown {
  const { name, label, unit, comparison, target, goal, value } = verdict;
  const figures = isTimed(verdict)
    ? runs.map((run) => Number(run[name].toPrecision(DIGITS)))
    : [value];
  return { name, label, unit, comparison, target, goal, figures };
}

/** A baseline as a side; its kind and format have been checked. */
export function sideOfBaseline(value: unknown, path: string, origin: Origin): Side {
  const required = ["machine", "quick", "seed", "rules", "benchmarks"];
  const root = fields(value, "", required, "any", origin);
  const rules = fields(root.rules, "rules", ["thresholdPercent"], [
    "timesFactor",
    "othersPercentMax",
  ], origin);
  const series: Series[] = [];
  list(root.benchmarks, "benchmarks", origin, 0).forEach((item, index) => {
    const at = `benchmarks[${index}]`;
    const benchmark = fields(item, at, ["id", "name", "metrics"], "any", origin);
    const id = integer(benchmark.id, `${at}.id`, origin, 1);
    const group = `#${id} ${text(benchmark.name, `${at}.name`, origin)}`;
    list(benchmark.metrics, `${at}.metrics`, origin, 0).forEach((metric, position) => {
      series.push(checkSeries(metric, `${at}.metrics[${position}]`, { group, id }, origin));
    });
  });
  const group: RunGroup = {
    machine: machineKind(checkMachine(root.machine, origin)),
    work: workText({
      quick: truth(root.quick, "quick", origin),
      seed: integer(root.seed, "seed", origin, 0),
      ...(root.directory === undefined
        ? {}
        : { directory: text(root.directory, "directory", origin) }),
    }),
    files: 1,
    series: new Map(series.map((one) => [one.key, one])),
    failures: new Map(),
  };
  return {
    path,
    kind: "validation",
    rules: {
      everyFigure: true,
      thresholdPercent: number(rules.thresholdPercent, "rules.thresholdPercent", origin),
      ...(rules.timesFactor === undefined
        ? {}
        : { timesFactor: number(rules.timesFactor, "rules.timesFactor", origin) }),
      ...(rules.othersPercentMax === undefined
        ? {}
        : { othersPercentMax: number(rules.othersPercentMax, "rules.othersPercentMax", origin) }),
    },
    groups: [group],
  };
}

function checkSeries(
  value: unknown,
  path: string,
  { group, id }: { readonly group: string; readonly id: number },
  origin: Origin,
): Series {
  const required = ["name", "label", "unit", "comparison", "target", "goal", "figures"];
  const found = fields(value, path, required, "any", origin);
  const at = (key: string) => [found[key], `${path}.${key}`, origin] as const;
  const goal = fields(found.goal, `${path}.goal`, ["comparison", "value"], "any", origin);
  const metric: Omit<MetricTarget, "quickTarget"> = {
    name: text(...at("name")),
    label: text(...at("label")),
    unit: oneOf(...at("unit"), UNITS),
    comparison: oneOf(...at("comparison"), COMPARISONS),
    target: number(...at("target")),
    goal: {
      comparison: oneOf(goal.comparison, `${path}.goal.comparison`, origin, COMPARISONS),
      value: number(goal.value, `${path}.goal.value`, origin),
    },
  };
  const figures = list(...at("figures"))
    .map((figure, index) => number(figure, `${path}.figures[${index}]`, origin));
  return seriesOf(group, id, metric, figures);
}
