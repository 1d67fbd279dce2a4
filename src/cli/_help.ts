/** Help texts, made from the table of commands, so that they say what the commands read. */

import { VERSION } from "../perf/mod.ts";
import type { Command } from "./_command.ts";

const EXIT_CODES =
  "Exit code: 0 done, 1 a check failed or the system refused, 2 wrong usage, 3 damaged data.";

/** Help of the whole command, or of a group of commands. */
export function overview(commands: readonly Command[], group?: string): string {
  const shown = group === undefined
    ? commands
    : commands.filter(({ name }) => name.startsWith(`${group} `));
  return lines([
    group === undefined
      ? `mmsb ${VERSION}: shared state in pages, changed by deltas, logged and provable`
      : `mmsb ${group}: the commands of this group`,
    "",
    `Usage: mmsb ${group === undefined ? "" : `${group} `}COMMAND [FLAGS]`,
    "",
    "Commands:",
    ...columns(shown.map((command) => [synopsis(command), command.summary])),
    "",
    ...(group === undefined
      ? ["Flags:", ...columns([["--help", "this text"], ["--version", "the version"]]), ""]
      : []),
    "Examples:",
    ...shown.map(({ examples }) => `  ${examples[0]}`),
    "",
    EXIT_CODES,
    "mmsb COMMAND --help tells more of one command.",
  ]);
}

/** Help of one command. */
export function helpOf(command: Command): string {
  const flags = Object.entries(command.flags).map(([name, { value, help }]) => [
    `--${name}${value === undefined ? "" : ` ${value}`}`,
    help,
  ]);
  return lines([
    `mmsb ${command.name}: ${command.summary}`,
    "",
    `Usage: mmsb ${usageOf(command)}`,
    "",
    "Flags:",
    ...columns([...flags, ["--help", "this text"]]),
    "",
    ...command.details.flatMap((paragraph) => [paragraph, ""]),
    "Examples:",
    ...command.examples.map((example) => `  ${example}`),
    "",
    EXIT_CODES,
  ]);
}

function synopsis({ name, operands, rest }: Command): string {
  return [name, ...operands, ...(rest === undefined ? [] : [rest])].join(" ");
}

function usageOf({ name, operands, rest }: Command): string {
  return [name, ...operands, "[FLAGS]", ...(rest === undefined ? [] : [rest])].join(" ");
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const width = Math.max(...rows.map(([first]) => first.length));
  return rows.map(([first, second]) => `  ${first.padEnd(width)}  ${second}`);
}

function lines(texts: readonly string[]): string {
  return `${texts.join("\n")}\n`;
}
