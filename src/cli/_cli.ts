/**
 * The command line as a function: finds the command, runs it, and turns whatever it throws into one
 * line and an exit code. Kept apart from the entry, so that a test can bind other validators to it.
 */

import { isMmsbError, MmsbError } from "../base/errors.ts";
import { EXIT, type ExitCode, exitCodeOf, suggest, type Validator, VERSION } from "../perf/mod.ts";
import { type Command, parseCall } from "./_command.ts";
import { helpOf, overview } from "./_help.ts";
import { writeStderr, writeStdout } from "./_platform.ts";
import { clockCommands } from "./clock.ts";
import { compareCommand } from "./compare.ts";
import { doctorCommand } from "./doctor.ts";
import { explainCommand } from "./explain.ts";
import { graphCommand } from "./graph.ts";
import { logCommands } from "./log.ts";
import type { LogTools } from "./log_tools.ts";
import { transferCommands, type TransferTools } from "./log_transfer.ts";
import { profileCommand } from "./profile.ts";
import { replayCommand } from "./replay.ts";
import { reportCommand } from "./report.ts";
import { validateCommand } from "./validate.ts";

/** What the commands work with, loaded only when one needs it. */
export interface Bindings {
  /** The validators that are built. */
  readonly validators: () => Promise<readonly Validator[]>;
  /** What reads a log. */
  readonly logTools: () => Promise<LogTools>;
  /** What moves logs. */
  readonly transferTools: () => Promise<TransferTools>;
}

/**
 * Runs one command line.
 *
 * @param args The arguments, without the program.
 * @param bindings What the commands work with.
 * @returns How to end the process; nothing is thrown.
 */
export async function runCommandLine(
  args: readonly string[],
  bindings: Bindings,
): Promise<ExitCode> {
  try {
    return await dispatch(args, [
      validateCommand(bindings.validators, bindings.logTools),
      ...logCommands(bindings.logTools),
      ...transferCommands(bindings.transferTools),
      replayCommand(),
      explainCommand(),
      graphCommand(),
      profileCommand(),
      compareCommand(),
      reportCommand(),
      ...clockCommands(),
      doctorCommand(),
    ]);
  } catch (error) {
    writeStderr(`mmsb: ${errorLine(error)}\n`);
    return exitCodeOf(error);
  }
}

async function dispatch(
  args: readonly string[],
  commands: readonly Command[],
): Promise<ExitCode> {
  if (args[0] === "help") return await dispatch([...args.slice(1), "--help"], commands);
  const [first, second] = args;
  if (first === "--help" || first === "-h") return print(overview(commands));
  if (first === "--version") return print(`mmsb ${VERSION}\n`);
  if (first === undefined) throw unknown("Missing command", undefined, commands);

  const command = commands.find(({ name }) => name === first || name === `${first} ${second}`);
  const words = command?.name.split(" ").length ?? 0;
  if (command === undefined) {
    const isGroup = commands.some(({ name }) => name.startsWith(`${first} `));
    if (isGroup && (second === "--help" || second === "-h")) {
      return print(overview(commands, first));
    }
    if (isGroup && second === undefined) {
      throw unknown(`Missing command after "${first}"`, undefined, commands, first);
    }
    const written = isGroup ? `${first} ${second}` : first;
    const what = first.startsWith("-") ? "flag" : "command";
    const group = isGroup ? `${first} ` : "";
    throw unknown(`Unknown ${what} ${JSON.stringify(written)}`, written, commands, group);
  }
  const call = parseCall(command, args.slice(words));
  if (call === "help") return print(helpOf(command));
  return await command.run(call);
}

function unknown(
  message: string,
  written: string | undefined,
  commands: readonly Command[],
  group = "",
): MmsbError {
  const names = commands.map(({ name }) => name);
  const meant = written === undefined ? undefined : suggest(written, [
    ...names,
    ...names.map((name) => name.split(" ")[0]),
    "--help",
    "--version",
  ]);
  const hint = meant === undefined
    ? `: give one of ${names.filter((name) => name.startsWith(group)).join(", ")}, see mmsb --help`
    : `: did you mean "${meant}"? See mmsb --help`;
  return new MmsbError("usage", message + hint, { values: { written } });
}

function print(text: string): ExitCode {
  writeStdout(text);
  return EXIT.done;
}

/** Code and message on one line; what no code of ours names is a fault of ours. */
function errorLine(error: unknown): string {
  const text = isMmsbError(error)
    ? `${error.code}: ${error.message}`
    : `internal: ${
      error instanceof Error ? `${error.name}: ${error.message}` : String(error)
    }, please report it`;
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]+/g, " ");
}
