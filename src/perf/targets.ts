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

import { MmsbError } from "../base/errors.ts";
import builtIn from "../../benchmarks_targets.json" with { type: "json" };
import { linesOfPaths } from "./_json_lines.ts";
import { suggest } from "./suggest.ts";

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

const COMPARISONS: readonly Comparison[] = ["<", "<=", "==", ">=", ">"];
const UNITS: readonly Unit[] = ["number", "%", "/sec", "ms", "bytes"];

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
  if (path === undefined) {
    return checkTargets(builtIn, { file: "benchmarks_targets.json", lines: new Map() });
  }
  let text: string;
  try {
    const { size } = await Deno.stat(path);
    if (size > TARGETS_BYTES_MAX) {
      throw new MmsbError(
        "usage",
        `Cannot read targets from ${
          JSON.stringify(path)
        }: it has ${size} bytes, a targets file has at most ${TARGETS_BYTES_MAX}`,
        { values: { path, size } },
      );
    }
    text = await Deno.readTextFile(path);
  } catch (cause) {
    if (cause instanceof MmsbError) throw cause;
    throw new MmsbError(
      "usage",
      `Cannot read targets from ${JSON.stringify(path)}: ${messageOf(cause)}`,
      { values: { path }, cause },
    );
  }
  return parseTargets(text, path);
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
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MmsbError(
      "usage",
      `Cannot use targets of ${JSON.stringify(file)} as it is no JSON: ${messageOf(cause)}`,
      { values: { file }, cause },
    );
  }
  return checkTargets(value, { file, lines: linesOfPaths(text) });
}

/** Where a value came from: the file, and the line of each JSON path where the text is known. */
interface Origin {
  readonly file: string;
  readonly lines: ReadonlyMap<string, number>;
}

function checkTargets(value: unknown, origin: Origin): Targets {
  const root = fields(value, "", ["format", "benchmarks"], [], origin);
  if (root.format !== 1) {
    throw wrong(origin, "format", root.format, "write 1, the only format there is");
  }
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

function checkBenchmark(value: unknown, path: string, origin: Origin): BenchmarkTarget {
  const keys = ["id", "name", "description", "metrics"];
  const { id, ...rest } = fields(value, path, keys, [], origin);
  if (!Number.isSafeInteger(id) || (id as number) < 1) {
    throw wrong(origin, `${path}.id`, id, "give an integer from 1");
  }
  const metrics = list(rest.metrics, `${path}.metrics`, origin)
    .map((item, index) => checkMetric(item, `${path}.metrics[${index}]`, origin));
  metrics.forEach(({ name }, index) => {
    if (metrics.findIndex((other) => other.name === name) !== index) {
      throw wrong(origin, `${path}.metrics[${index}].name`, name, "give each metric another name");
    }
  });
  return {
    id: id as number,
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

function fields(
  value: unknown,
  path: string,
  required: readonly string[],
  optional: readonly string[],
  origin: Origin,
): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(origin, path, value, `give an object with ${required.join(", ")}`);
  }
  const known = [...required, ...optional];
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    const meant = suggest(key, known);
    const advice = meant === undefined
      ? `leave it out, the fields here are ${known.join(", ")}`
      : `write ${JSON.stringify(meant)}`;
    throw fault(origin, join(path, key), `is a field that nobody reads: ${advice}`);
  }
  for (const key of required) {
    if (!Object.hasOwn(value, key)) {
      throw fault(origin, join(path, key), "is missing: add it", path);
    }
  }
  return value as Record<string, unknown>;
}

function list(value: unknown, path: string, origin: Origin): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw wrong(origin, path, value, "give a list with at least one entry");
  }
  return value;
}

function text(value: unknown, path: string, origin: Origin): string {
  if (typeof value !== "string" || value.trim() === "") {
    throw wrong(origin, path, value, "give a text that is not empty");
  }
  return value;
}

function number(value: unknown, path: string, origin: Origin): number {
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw wrong(origin, path, value, "give a number, without quotes");
  }
  return value;
}

function oneOf<T extends string>(
  value: unknown,
  path: string,
  origin: Origin,
  choices: readonly T[],
): T {
  if (!choices.includes(value as T)) {
    const quoted = choices.map((choice) => JSON.stringify(choice)).join(", ");
    throw wrong(origin, path, value, `give one of ${quoted}`);
  }
  return value as T;
}

function wrong(origin: Origin, path: string, value: unknown, advice: string): MmsbError {
  const shown = JSON.stringify(value) ?? String(value);
  const short = shown.length > 40 ? `${shown.slice(0, 40)}…` : shown;
  return fault(origin, path, `is ${short}: ${advice}`);
}

/** `linePath` is the path whose line to name, where the field itself stands on none. */
function fault(origin: Origin, path: string, what: string, linePath: string = path): MmsbError {
  const line = origin.lines.get(linePath);
  const place = line === undefined ? "" : `line ${line}, `;
  return new MmsbError(
    "usage",
    `Cannot use targets of ${JSON.stringify(origin.file)} as ${place}${
      path === "" ? "the whole" : path
    } ${what}`,
    { values: { file: origin.file, path, line } },
  );
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
