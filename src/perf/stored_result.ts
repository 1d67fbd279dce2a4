/**
 * Results read back: the text of `latest.json` or of a file in the history, as {@linkcode jsonReport}
 * wrote it, checked field by field and turned into types. Charts and comparisons stand on it, so a
 * figure that was damaged on the way must never come through as another figure.
 *
 * Three things can be wrong and are told apart by code: a file that is something else (`usage`), one
 * of a newer MMSB (`version`), and one that is damaged (`corrupt-log`). Fields that this version does
 * not know are left alone, as fields are added under the same format number; fields that older
 * results lack have the values that they stood for.
 */

import type {
  MeasuredDurability,
  PlantedResult,
  RunDevice,
  ValidatorStatus,
} from "../validators/validator.ts";
import type { ExitCode } from "./exit_codes.ts";
import { fields, integer, list, number, oneOf, type Origin } from "./_fields.ts";
import { parseJson, text, truth, wrong } from "./_fields.ts";
import type { MetricVerdict, Verdict } from "./judge.ts";
import type { Machine } from "./machine.ts";
import { readText } from "./_read_text.ts";
import { RESULT_FORMAT, RESULT_KIND } from "./report_json.ts";
import { type BenchmarkResult, countStatuses, type RunReport } from "./runner.ts";
import { type Comparison, COMPARISONS, UNITS } from "./targets.ts";

/** A stored result: a run as it was reported, where it was read from, and what it ran on. */
export interface StoredResult extends RunReport {
  /** The file it was read from. */
  readonly path: string;
  /** What it ran on. */
  readonly machine: Machine;
}

const STATUSES: readonly ValidatorStatus[] = ["passed", "failed", "not built", "skipped"];
const DURABILITIES: readonly MeasuredDurability[] = ["memory", "buffered", "group", "always"];
const VERDICTS: readonly Verdict[] = ["met", "missed", "not measured"];

/** Numbers that JSON cannot say, as {@linkcode jsonReport} writes them. */
const NAMED_NUMBERS: ReadonlyMap<unknown, number> = new Map([
  ["NaN", NaN],
  ["Infinity", Infinity],
  ["-Infinity", -Infinity],
]);

/** Largest result file, in bytes: a run repeated a hundred times has 1 MiB. */
export const RESULT_BYTES_MAX: number = 16 * 2 ** 20;

/**
 * Reads a result from a file, such as `results/latest.json`.
 *
 * @param path The file.
 * @returns The result.
 * @throws {MmsbError} `usage` where the file cannot be read or is no result at all, `version` where a
 * newer MMSB wrote it, `corrupt-log` where it is damaged.
 */
export async function readResult(path: string): Promise<StoredResult> {
  return parseResult(await readText("a result", path, RESULT_BYTES_MAX), path);
}

/**
 * Reads a result from its text.
 *
 * @param json The text of the file.
 * @param path The file's name, for messages.
 * @returns The result.
 * @throws {MmsbError} `usage` where it is no result at all, `version` where a newer MMSB wrote it,
 * `corrupt-log` where it is damaged; the message names file, line and JSON path.
 *
 * @example There and back
 * ```ts
 * import assert from "node:assert/strict";
 * import { describeMachine, jsonReport, loadTargets, runBenchmarks } from "./mod.ts";
 *
 * const report = await runBenchmarks({
 *   validators: [],
 *   targets: await loadTargets(),
 *   startedAt: new Date(0),
 * });
 * const result = parseResult(jsonReport(report, describeMachine()), "latest.json");
 * assert.deepEqual(result.startedAt, new Date(0));
 * assert.equal(result.benchmarks.length, 10);
 * ```
 */
export function parseResult(json: string, path: string): StoredResult {
  const origin = { file: path, deed: "read the result", code: "corrupt-log", text: json } as const;
  const value = parseJson(origin);
  const { kind, format } = fields(value, "", ["kind", "format"], "any", {
    ...origin,
    code: "usage",
  });
  if (kind !== RESULT_KIND) {
    const advice = `a result of mmsb validate has ${JSON.stringify(RESULT_KIND)}, give such a file`;
    throw wrong(origin, "kind", kind, advice, "usage");
  }
  if (format !== RESULT_FORMAT) {
    const isNewer = typeof format === "number" && format > RESULT_FORMAT;
    const advice = isNewer
      ? `this version of MMSB reads format ${RESULT_FORMAT}, so use a newer one`
      : `the only format there is is ${RESULT_FORMAT}`;
    throw wrong(origin, "format", format, advice, isNewer ? "version" : "corrupt-log");
  }
  return checkResult(value, path, origin);
}

function checkResult(value: unknown, path: string, origin: Origin): StoredResult {
  const required = [
    "startedAt",
    "durationMs",
    "machine",
    "quick",
    "seed",
    "exitCode",
    "benchmarks",
  ];
  const root = fields(value, "", required, "any", origin);
  const startedAt = new Date(text(root.startedAt, "startedAt", origin));
  if (Number.isNaN(startedAt.getTime())) {
    throw wrong(origin, "startedAt", root.startedAt, "it must be an ISO time");
  }
  if (![0, 1, 2, 3].includes(root.exitCode as number)) {
    throw wrong(origin, "exitCode", root.exitCode, "it must be an integer from 0 to 3");
  }
  const benchmarks = list(root.benchmarks, "benchmarks", origin, 0)
    .map((item, index) => checkBenchmark(item, `benchmarks[${index}]`, origin));
  return {
    path,
    startedAt,
    durationMs: number(root.durationMs, "durationMs", origin),
    machine: checkMachine(root.machine, origin),
    quick: truth(root.quick, "quick", origin),
    seed: integer(root.seed, "seed", origin, 0),
    repeats: root.repeats === undefined ? 1 : integer(root.repeats, "repeats", origin, 1),
    ...(root.othersPercent === undefined
      ? {}
      : { othersPercent: number(root.othersPercent, "othersPercent", origin) }),
    ...(root.directory === undefined
      ? {}
      : { directory: text(root.directory, "directory", origin) }),
    ...(root.device === undefined ? {} : { device: checkDevice(root.device, origin) }),
    benchmarks,
    counts: countStatuses(benchmarks),
    exitCode: root.exitCode as ExitCode,
  };
}

function checkDevice(value: unknown, origin: Origin): RunDevice {
  const required = ["asked", "state", "reason", "counts"];
  const device = fields(value, "device", required, "any", origin);
  const counts = fields(
    device.counts,
    "device.counts",
    ["batches", "rows", "rules"],
    "any",
    origin,
  );
  const count = (name: string) => integer(counts[name], `device.counts.${name}`, origin, 0);
  return {
    asked: oneOf(device.asked, "device.asked", origin, ["gpu", "auto"] as const),
    state: text(device.state, "device.state", origin),
    reason: maybeEmpty(device.reason, "device.reason", origin),
    ...(device.adapter === undefined ? {} : { adapter: checkAdapter(device.adapter, origin) }),
    counts: { batches: count("batches"), rows: count("rows"), rules: count("rules") },
  };
}

function maybeEmpty(value: unknown, path: string, origin: Origin): string {
  return value === "" ? "" : text(value, path, origin);
}

function checkAdapter(value: unknown, origin: Origin): NonNullable<RunDevice["adapter"]> {
  const required = ["name", "vendor", "driver", "isSoftware"];
  const adapter = fields(value, "device.adapter", required, "any", origin);
  const said = (name: string) => maybeEmpty(adapter[name], `device.adapter.${name}`, origin);
  return {
    name: said("name"),
    vendor: said("vendor"),
    driver: said("driver"),
    isSoftware: truth(adapter.isSoftware, "device.adapter.isSoftware", origin),
  };
}

/** A machine, checked; what older results lack is empty. */
export function checkMachine(value: unknown, origin: Origin): Machine {
  const machine = fields(value, "machine", ["versions", "os", "arch", "cores"], "any", origin);
  const said = fields(machine.versions, "machine.versions", ["mmsb", "deno"], "any", origin);
  const version = (key: string) =>
    said[key] === undefined ? "" : text(said[key], `machine.versions.${key}`, origin);
  const optional = <T>(key: string, check: (value: unknown, path: string, origin: Origin) => T) =>
    machine[key] === undefined ? {} : { [key]: check(machine[key], `machine.${key}`, origin) };
  return {
    versions: {
      mmsb: version("mmsb"),
      deno: version("deno"),
      v8: version("v8"),
      typescript: version("typescript"),
    },
    os: text(machine.os, "machine.os", origin),
    arch: text(machine.arch, "machine.arch", origin),
    cores: integer(machine.cores, "machine.cores", origin, 1),
    ...optional("osRelease", text),
    ...optional("processor", text),
    ...optional("memoryBytes", number),
  };
}

function checkBenchmark(value: unknown, path: string, origin: Origin): BenchmarkResult {
  const required = [
    "id",
    "name",
    "description",
    "status",
    "metrics",
    "samples",
    "durationMs",
    "damaged",
  ];
  const found = fields(value, path, required, "any", origin);
  const at = (key: string) => [found[key], `${path}.${key}`, origin] as const;
  const metrics = checkFigures(...at("metrics"));
  const notes = found.notes === undefined ? [] : list(...at("notes"), 0);
  const verdicts = found.verdicts === undefined ? [] : list(...at("verdicts"), 0);
  return {
    id: integer(...at("id"), 1),
    name: text(...at("name")),
    description: text(...at("description")),
    status: oneOf(...at("status"), STATUSES),
    ...(found.reason === undefined ? {} : { reason: text(...at("reason")) }),
    metrics,
    runs: found.runs === undefined
      ? Object.keys(metrics).length === 0 ? [] : [metrics]
      : list(...at("runs"), 0)
        .map((run, index) => checkFigures(run, `${path}.runs[${index}]`, origin)),
    notes: notes.map((note, index) => text(note, `${path}.notes[${index}]`, origin)),
    samples: figure(...at("samples")),
    durationMs: number(...at("durationMs")),
    verdicts: verdicts
      .map((item, index) => checkVerdict(item, `${path}.verdicts[${index}]`, origin)),
    ...(found.durability === undefined
      ? {}
      : { durability: oneOf(...at("durability"), DURABILITIES) }),
    ...(found.planted === undefined ? {} : {
      planted: list(...at("planted"), 0)
        .map((item, index) => checkPlanted(item, `${path}.planted[${index}]`, origin)),
    }),
    damaged: truth(...at("damaged")),
  };
}

function checkPlanted(value: unknown, path: string, origin: Origin): PlantedResult {
  const { id, found } = fields(value, path, ["id", "found"], "any", origin);
  return { id: text(id, `${path}.id`, origin), found: truth(found, `${path}.found`, origin) };
}

function checkFigures(value: unknown, path: string, origin: Origin): Record<string, number> {
  const found = fields(value, path, [], "any", origin);
  return Object.fromEntries(
    Object.entries(found).map(([name, item]) => [name, figure(item, `${path}.${name}`, origin)]),
  );
}

function checkVerdict(value: unknown, path: string, origin: Origin): MetricVerdict {
  const required = ["name", "label", "unit", "comparison", "target", "goal", "verdict", "goalMet"];
  const found = fields(value, path, required, "any", origin);
  const at = (key: string) => [found[key], `${path}.${key}`, origin] as const;
  const goal = fields(
    ...at("goal").slice(0, 2) as [unknown, string],
    [
      "comparison",
      "value",
    ],
    "any",
    origin,
  );
  return {
    name: text(...at("name")),
    label: text(...at("label")),
    unit: oneOf(...at("unit"), UNITS),
    comparison: comparison(...at("comparison")),
    target: number(...at("target")),
    goal: {
      comparison: comparison(goal.comparison, `${path}.goal.comparison`, origin),
      value: number(goal.value, `${path}.goal.value`, origin),
    },
    ...(found.value === undefined ? {} : { value: figure(...at("value")) }),
    verdict: oneOf(...at("verdict"), VERDICTS),
    goalMet: truth(...at("goalMet")),
    ...(found.reason === undefined ? {} : { reason: text(...at("reason")) }),
  };
}

function comparison(value: unknown, path: string, origin: Origin): Comparison {
  return oneOf(value, path, origin, COMPARISONS);
}

/** A measured figure: any number, and those that JSON cannot say by their names. */
function figure(value: unknown, path: string, origin: Origin): number {
  return NAMED_NUMBERS.get(value) ?? number(value, path, origin);
}
