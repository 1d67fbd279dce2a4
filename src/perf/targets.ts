/**
 * Targets: what each benchmark must reach, read from a file and checked before anything runs.
 *
 * A target that is wrong makes a validator that proves nothing, so the file is checked by hand, field
 * by field: a misspelt key, a goal weaker than its target or a number in quotes is refused with the
 * JSON path and the line. The built-in targets are a JSON module, so that they travel with the
 * package; a user's file (`mmsb validate --targets FILE`) replaces them whole, and may list fewer.
 *
 * Order means something: a report on the terminal shows the first two metrics of a benchmark, and
 * the first needs no label where it is missed.
 */

import { readText } from "./_read_text.ts";
import builtIn from "../../benchmarks_targets.json" with { type: "json" };
import {
  fields,
  integer,
  list,
  number,
  oneOf,
  type Origin,
  parseJson,
  refuseRepeatedFields,
  text,
  wrong,
} from "./_fields.ts";

/** How a figure is compared with a target: figure on the left, target on the right. */
export type Comparison = "<" | "<=" | "==" | ">=" | ">";

/** What a figure counts; decides how it is printed. `number` is a plain one. */
export type Unit = "number" | "%" | "/sec" | "ms" | "bytes";

/** The stricter aim of the project itself; missing it fails nothing. */
export interface Goal {
  /** How the figure is compared. */
  readonly comparison: Comparison;
  /** With what. */
  readonly value: number;
}

/** One metric of a benchmark, and what it must reach. */
export interface MetricTarget {
  /** Key of the figure in what the validator measured. */
  readonly name: string;
  /** The metric in words, for reports. */
  readonly label: string;
  /** What the figure counts. */
  readonly unit: Unit;
  /** How the figure is compared with the target. */
  readonly comparison: Comparison;
  /** What must be reached. */
  readonly target: number;
  /** Target of a quick run, where its shorter work cannot reach the other one. */
  readonly quickTarget?: number;
  /** The project's own aim: whatever meets it meets the target. */
  readonly goal: Goal;
}

/** One benchmark and its metrics. */
export interface BenchmarkTarget {
  /** Number, from 1; the validator with this number measures it. */
  readonly id: number;
  /** Name, as reports show it. */
  readonly name: string;
  /** What must hold, and over what work. */
  readonly description: string;
  /** The metrics, the telling ones first; at least one. */
  readonly metrics: readonly MetricTarget[];
}

/** The targets of a file. */
export interface Targets {
  /** Version of the file's form. */
  readonly format: 1;
  /** The benchmarks, by rising number. */
  readonly benchmarks: readonly BenchmarkTarget[];
}

/** Every comparison. */
export const COMPARISONS: readonly Comparison[] = ["<", "<=", "==", ">=", ">"];
/** Every unit. */
export const UNITS: readonly Unit[] = ["number", "%", "/sec", "ms", "bytes"];

/** Units of what a machine's other work changes. */
const TIMED_UNITS: readonly Unit[] = ["/sec", "ms", "bytes"];

/**
 * Whether a metric is timed, or another figure that differs from run to run with the machine's other
 * work: times, rates and sizes in memory. A figure that must be exactly something never is.
 *
 * @param metric The metric.
 * @returns Whether the median of its repeats is judged, and not the worst of them.
 */
export function isTimed(metric: Pick<MetricTarget, "unit" | "comparison">): boolean {
  return metric.comparison !== "==" && TIMED_UNITS.includes(metric.unit);
}

/** Version of the form of a targets file. */
const TARGETS_FORMAT = 1;

/** Largest targets file, in bytes: ten benchmarks need 10 KiB. */
const TARGETS_BYTES_MAX = 1_048_576;

/**
 * Loads and checks targets.
 *
 * @param path A file; the built-in targets if left out.
 * @returns The targets.
 * @throws {MmsbError} `usage` where there is no such file, or where a field of it is wrong; the
 * message names file, line, JSON path and what to write.
 *
 * @example The built-in targets
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const { benchmarks } = await loadTargets();
 * assert.equal(benchmarks.length, 10);
 * assert.equal(benchmarks[0].metrics[0].name, "divergence");
 * ```
 */
export async function loadTargets(path?: string): Promise<Targets> {
  if (path === undefined) return checkTargets(builtIn, originOf("benchmarks_targets.json"));
  return parseTargets(await readText("targets", path, TARGETS_BYTES_MAX), path);
}

/**
 * Parses and checks the text of a targets file.
 *
 * @param text The text.
 * @param file The file's name, for messages.
 * @returns The targets.
 * @throws {MmsbError} `usage` where the text is no JSON or a field is wrong.
 */
export function parseTargets(text: string, file: string): Targets {
  const origin = { ...originOf(file), text };
  const value = parseJson(origin);
  refuseRepeatedFields(origin);
  return checkTargets(value, origin);
}

function originOf(file: string): Origin {
  return { file, deed: "use targets of", code: "usage" };
}

function checkTargets(value: unknown, origin: Origin): Targets {
  // The format comes first: what else stands in a file of another one means nothing here.
  const { format } = (value ?? {}) as { format?: unknown };
  if (format !== undefined && format !== TARGETS_FORMAT) {
    throw wrong(origin, "format", format, formatAdvice(format));
  }
  const root = fields(value, "", ["format", "benchmarks"], ["$schema"], origin);
  if (root.$schema !== undefined) text(root.$schema, "$schema", origin);
  const benchmarks = list(root.benchmarks, "benchmarks", origin)
    .map((item, index) => checkBenchmark(item, `benchmarks[${index}]`, origin));
  for (let index = 1; index < benchmarks.length; index++) {
    if (benchmarks[index].id <= benchmarks[index - 1].id) {
      const path = `benchmarks[${index}].id`;
      throw wrong(origin, path, benchmarks[index].id, "give each benchmark a higher id");
    }
  }
  return { format: 1, benchmarks };
}

function formatAdvice(format: unknown): string {
  return Number.isSafeInteger(format) && (format as number) > TARGETS_FORMAT
    ? `this version of MMSB reads format ${TARGETS_FORMAT}, so use a newer one`
    : `write ${TARGETS_FORMAT}, the only format there is`;
}

function checkBenchmark(value: unknown, path: string, origin: Origin): BenchmarkTarget {
  const keys = ["id", "name", "description", "metrics"];
  const { id, ...rest } = fields(value, path, keys, [], origin);
  const metrics = list(rest.metrics, `${path}.metrics`, origin)
    .map((item, index) => checkMetric(item, `${path}.metrics[${index}]`, origin));
  metrics.forEach(({ name }, index) => {
    if (metrics.findIndex((other) => other.name === name) !== index) {
      throw wrong(origin, `${path}.metrics[${index}].name`, name, "give each metric another name");
    }
  });
  return {
    id: integer(id, `${path}.id`, origin, 1),
    name: text(rest.name, `${path}.name`, origin),
    description: text(rest.description, `${path}.description`, origin),
    metrics,
  };
}

function checkMetric(value: unknown, path: string, origin: Origin): MetricTarget {
  const keys = ["name", "label", "unit", "comparison", "target", "goal"];
  const metric = fields(value, path, keys, ["quickTarget"], origin);
  const at = (key: string) => [metric[key], `${path}.${key}`, origin] as const;
  const checked: MetricTarget = {
    name: text(...at("name")),
    label: text(...at("label")),
    unit: oneOf(...at("unit"), UNITS),
    comparison: oneOf(...at("comparison"), COMPARISONS),
    target: number(...at("target")),
    ...(metric.quickTarget === undefined ? {} : { quickTarget: number(...at("quickTarget")) }),
    goal: checkGoal(...at("goal")),
  };
  const { comparison, target, goal } = checked;
  if (!isAsStrict(goal, { comparison, value: target })) {
    const aim = `${goal.comparison} ${goal.value}`;
    throw wrong(
      origin,
      `${path}.goal`,
      aim,
      `give one that is at least as strict as the target, ${comparison} ${target}`,
    );
  }
  return checked;
}

function checkGoal(value: unknown, path: string, origin: Origin): Goal {
  const goal = fields(value, path, ["comparison", "value"], [], origin);
  return {
    comparison: oneOf(goal.comparison, `${path}.comparison`, origin, COMPARISONS),
    value: number(goal.value, `${path}.value`, origin),
  };
}

/** Whether every figure that meets `goal` meets `target`. */
function isAsStrict(goal: Goal, target: Goal): boolean {
  const [a, b] = [goal.value, target.value];
  const strict = goal.comparison.length === 1 || target.comparison.length === 2;
  switch (target.comparison) {
    case "==":
      return goal.comparison === "==" && a === b;
    case "<":
    case "<=":
      return !goal.comparison.startsWith(">") && (a < b || (a === b && strict));
    case ">":
    case ">=":
      return !goal.comparison.startsWith("<") && (a > b || (a === b && strict));
  }
}
