/**
 * `mmsb validate`: runs the validators, prints the report, writes the files asked for.
 *
 * All that can be wrong about the call is found before the first validator starts: a run takes a
 * minute, and its end is no moment to learn that a folder does not exist. A result file that cannot
 * be written after all is an error, results that cannot be kept in a read-only folder a warning.
 */

import {
  describeMachine,
  EXIT,
  type ExitCode,
  jsonReport,
  junitReport,
  loadTargets,
  markdownReport,
  Progress,
  runBenchmarks,
  type RunReport,
  terminalReport,
  type Validator,
  writeResults,
} from "../perf/mod.ts";
import { type Call, type Command, usage } from "./_command.ts";
import {
  requireFolder,
  requireFolderOf,
  stderrIsTerminal,
  stdoutTakesColour,
  terminalColumns,
  writeFile,
  writeStderr,
  writeStdout,
} from "./_platform.ts";
import { idsOf, integerOf } from "./_values.ts";
import type { LogTools } from "./log_tools.ts";

/** Seeds are 32 bits, the state of the small generators that tests use. */
const SEED_MAX = 2 ** 32 - 1;

/** Stands for standard output in place of a file. */
const STDOUT = "-";

/** Result files by flag. */
const WRITERS: Readonly<Record<string, (report: RunReport) => string>> = {
  json: (report) => jsonReport(report, describeMachine()),
  junit: junitReport,
  markdown: markdownReport,
};

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
        help: "validate this data directory; validators that need a workload skip",
      },
      targets: { value: "FILE", help: "targets of your own in place of the built-in ones" },
      quick: { help: "less work, and lower targets where it cannot reach the full ones" },
      seed: { value: "N", help: "seed of everything random, 1 if left out" },
      json: { value: "FILE", help: "write the report as JSON; - is standard output" },
      junit: { value: "FILE", help: "write the report as JUnit XML; - is standard output" },
      markdown: { value: "FILE", help: "write the report as Markdown; - is standard output" },
      results: { value: "DIR", help: "keep latest.json and history/ here, results if left out" },
    },
    details: [
      "Passed are only validators that ran and met every target. Those skipped are named and\n" +
      "never count as passed; the exit code is 0 if every one that ran has passed, and 2 if none ran.",
      "Some targets are times and rates: on a machine that is busy with other things they can be missed.",
    ],
    examples: [
      "mmsb validate",
      "mmsb validate --only 1,2 --data ./data",
      "mmsb validate --quick --json report.json --junit report.xml",
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
  const directory = call.text("data");
  if (directory !== undefined) {
    await requireFolder("--data", directory);
    (await loadTools()).requireDirectory(directory);
  }
  const files = Object.keys(WRITERS).flatMap((flag) => {
    const path = call.text(flag);
    return path === undefined ? [] : [{ flag, path }];
  });
  const isPiped = files.some(({ path }) => path === STDOUT);
  if (new Set(files.map(({ path }) => path)).size < files.length) {
    throw usage(command, "Cannot write two reports to one file");
  }
  for (const { flag, path } of files) {
    if (path !== STDOUT) await requireFolderOf(`--${flag}`, path);
  }
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
    directory,
    startedAt,
    progress: (text) => progress.update(text),
  });
  progress.clear();

  if (isPiped) writeStderr(terminalReport(report));
  else writeStdout(terminalReport(report, { colour: stdoutTakesColour() }));
  for (const { flag, path } of files) {
    const text = WRITERS[flag](report);
    if (path === STDOUT) writeStdout(text);
    else await writeFile(path, text);
  }
  const results = call.text("results") ?? "results";
  const { warning } = await writeResults(results, WRITERS.json(report), startedAt);
  if (warning !== undefined) writeStderr(`mmsb: warning: ${warning}\n`);
  if (report.exitCode === EXIT.usage) {
    throw usage(command, nothingChecked(report, validators));
  }
  return report.exitCode;
}

function nothingChecked(report: RunReport, validators: readonly Validator[]): string {
  const ids = report.benchmarks.map(({ id }) => id).join(", ");
  const built = validators.map(({ id }) => id).join(", ") || "none";
  return `Cannot validate as none of ${ids} can run here: built are ${built}`;
}
