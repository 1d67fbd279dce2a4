/**
 * `mmsb validate`: runs the validators, prints the report, writes the files asked for.
 *
 * All that can be wrong about the call is found before the first validator starts: a run takes a
 * minute, and its end is no moment to learn that a folder does not exist. A result file that cannot
 * be written after all is an error, results that cannot be kept in a read-only folder a warning.
 */

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { MmsbError } from "../base/errors.ts";
import {
  describeMachine,
  EXIT,
  type ExitCode,
  jsonReport,
  loadTargets,
  type MeasuredDevice,
  Progress,
  REPEATS_MAX,
  runBenchmarks,
  type RunOptions,
  type RunReport,
  terminalReport,
  type Validator,
  writeResults,
} from "../perf/mod.ts";
import { type Call, type Command, usage } from "./_command.ts";
import {
  requireFile,
  requireFolder,
  requireNoFile,
  stderrIsTerminal,
  stdoutColumns,
  stdoutTakesColour,
  terminalColumns,
  writeStderr,
  writeStdout,
} from "./_platform.ts";
import { isPiped, REPORT_FLAGS, reportFilesOf, writeReports } from "./_reports.ts";
import { idsOf, integerOf } from "./_values.ts";
import type { LogTools } from "./log_tools.ts";

/** Seeds are 32 bits, the state of the small generators that tests use. */
const SEED_MAX = 2 ** 32 - 1;
const DEVICES: readonly MeasuredDevice[] = ["cpu", "gpu", "auto"];
/** An hour. */
const RULE_TIMEOUT_MS_MAX = 3_600_000;

/**
 * The command `validate`.
 *
 * @param load Gives the validators that are built; called once the call is known to be right.
 * @param loadTools Gives what knows a data directory; called where one is to be validated.
 * @returns The command.
 */
export function validateCommand(
  load: () => Promise<readonly Validator[]>,
  loadTools: () => Promise<LogTools>,
): Command {
  const command: Command = {
    name: "validate",
    summary: "run the ten validators and print the report",
    operands: [],
    flags: {
      only: { value: "IDS", help: "only these, such as 1,5" },
      data: {
        value: "DIR",
        help:
          "validate this directory, and change nothing in it; what needs work of its own is skipped",
      },
      rules: {
        value: "MODULE",
        help: "with --data: the module that has its rules and invariants",
      },
      "rule-timeout-ms": {
        value: "N",
        help: "with --rules: most milliseconds for one of them, 10000 if left out",
      },
      targets: { value: "FILE", help: "targets of your own in place of the built-in ones" },
      device: {
        value: "WHERE",
        help: "where buses apply batches and run rules: cpu (if left out), gpu or auto",
      },
      quick: { help: "less work, and lower targets where it cannot reach the full ones" },
      seed: { value: "N", help: "seed of everything random, 1 if left out" },
      repeat: {
        value: "N",
        help: "run each validator N times: medians of what is timed, the worst of all else",
      },
      ...REPORT_FLAGS,
      baseline: {
        value: "FILE",
        help: "write a baseline for mmsb compare; only where all that ran has passed",
      },
      results: { value: "DIR", help: "keep latest.json and history/ here, results if left out" },
    },
    details: [
      "Passed are only validators that ran and met every target. Those skipped are named and\n" +
      "never count as passed; the exit code is 0 if every one that ran has passed, and 2 if none ran.",
      "A damaged directory gives exit code 3, with file, byte, ticks, pages and what to do.",
      "Some targets are times and rates: on a machine that is busy with other things they can be missed.",
      "With --device gpu the report says what ran on which adapter; where nothing did, though there is one,\n" +
      "the exit code is 1. Times of a software adapter are not judged.",
    ],
    examples: [
      "mmsb validate",
      "mmsb validate --data data/board",
      "mmsb validate --data data/board --rules rules.ts",
      "mmsb validate --quick --only 1,2,8 --junit report.xml",
      "mmsb validate --html report.html",
      "mmsb validate --device gpu",
      "mmsb validate --repeat 5 --baseline benchmarks_baseline.json",
    ],
    run: (call) => run(command, call, load, loadTools),
  };
  return command;
}

async function run(
  command: Command,
  call: Call,
  load: () => Promise<readonly Validator[]>,
  loadTools: () => Promise<LogTools>,
): Promise<ExitCode> {
  const only = idsOf("only", call.text("only"));
  const seed = integerOf("seed", call.text("seed"), 0, SEED_MAX) ?? 1;
  const repeats = integerOf("repeat", call.text("repeat"), 1, REPEATS_MAX) ?? 1;
  const device = deviceOf(call);
  const directory = call.text("data");
  if (directory !== undefined) {
    await requireFolder("--data", directory);
    (await loadTools()).requireDirectory(directory);
  }
  const own = await ownOf(call, directory);
  const files = await reportFilesOf(command, call);
  const results = call.text("results") ?? "results";
  await requireNoFile("--results", results);
  const targets = await loadTargets(call.text("targets"));
  const validators = await load();

  const progress = new Progress({
    write: writeStderr,
    terminal: stderrIsTerminal(),
    columns: terminalColumns,
  });
  const startedAt = new Date();
  const report = await runBenchmarks({
    validators,
    targets,
    only,
    quick: call.has("quick"),
    seed,
    repeats,
    directory,
    own,
    device,
    startedAt,
    progress: (text) => progress.update(text),
  });
  progress.clear();

  if (isPiped(files)) writeStderr(terminalReport(report));
  else {writeStdout(
      terminalReport(report, { colour: stdoutTakesColour(), columns: stdoutColumns() }),
    );}
  const machine = describeMachine();
  await writeReports(files, { report, machine, history: `${results}/history` });
  const { warning } = directory !== undefined && isInside(results, directory)
    ? {
      warning:
        "Results are not kept, as their folder would be in the data: name one with --results",
    }
    : await writeResults(results, jsonReport(report, machine), startedAt);
  if (warning !== undefined) writeStderr(`mmsb: warning: ${warning}\n`);
  if (report.exitCode === EXIT.usage) {
    throw usage(command, nothingChecked(report, validators));
  }
  return report.exitCode;
}

/** The device that was asked for. */
function deviceOf(call: Call): MeasuredDevice {
  const asked = call.text("device") ?? "cpu";
  const device = DEVICES.find((name) => name === asked);
  if (device === undefined) {
    throw new MmsbError(
      "usage",
      `Cannot use --device ${JSON.stringify(asked)}: give one of ${DEVICES.join(", ")}`,
      { values: { flag: "--device", value: asked } },
    );
  }
  if (device !== "cpu" && call.text("baseline") !== undefined) {
    throw new MmsbError(
      "usage",
      "Cannot use --baseline with --device: a baseline has figures of the CPU; leave out one",
      { values: { flag: "--baseline" } },
    );
  }
  return device;
}

/** The rules of the user's directory, as they are given. */
async function ownOf(call: Call, directory: string | undefined): Promise<RunOptions["own"]> {
  const rules = call.text("rules");
  const timeout = call.text("rule-timeout-ms");
  const ruleTimeoutMs = integerOf("rule-timeout-ms", timeout, 1, RULE_TIMEOUT_MS_MAX);
  const without = rules !== undefined && directory === undefined
    ? ["--rules", "--data DIR"]
    : timeout !== undefined && rules === undefined
    ? ["--rule-timeout-ms", "--rules MODULE"]
    : undefined;
  if (without !== undefined) {
    const [flag, needed] = without;
    throw new MmsbError("usage", `Cannot use ${flag} without ${needed}: give both`, {
      values: { flag },
    });
  }
  if (rules === undefined) return undefined;
  await requireFile("--rules", rules);
  const url = pathToFileURL(resolve(rules)).href;
  return { rules: url, ...(ruleTimeoutMs === undefined ? {} : { ruleTimeoutMs }) };
}

/** Whether a folder is another one, or is in it. */
function isInside(folder: string, directory: string): boolean {
  return `${resolve(folder)}/`.startsWith(`${resolve(directory)}/`);
}

function nothingChecked(report: RunReport, validators: readonly Validator[]): string {
  const skipped = report.benchmarks.find(({ status }) => status === "skipped");
  if (skipped?.reason !== undefined && report.directory !== undefined) {
    const only = report.benchmarks.length === 1 ? "" : `all are left out, first `;
    return `Cannot validate: ${only}#${skipped.id} ${skipped.name}, as ${skipped.reason}`;
  }
  const ids = report.benchmarks.map(({ id }) => id).join(", ");
  const built = validators.map(({ id }) => id).join(", ") || "none";
  return `Cannot validate as none of ${ids} can run here: built are ${built}`;
}
