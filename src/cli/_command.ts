/**
 * What a command is, and how its arguments are read.
 *
 * A command is data (name, flags, examples) and one function; help and errors are made from the data,
 * so that they cannot lag behind. Reading is strict: a flag that nobody reads, a value that is
 * missing, a flag given twice are refused with the nearest thing that would be right, because a
 * misspelt flag that is ignored changes a result without a word.
 */

import { parseArgs } from "node:util";
import { MmsbError } from "../base/errors.ts";
import { type ExitCode, suggest } from "../perf/mod.ts";

/** One flag of a command. */
export interface Flag {
  /** What stands for its value in the help: `FILE`; none where it takes no value. */
  readonly value?: string;
  /** What it does. */
  readonly help: string;
  /** Whether it may be given more than once. */
  readonly repeats?: boolean;
}

/** One command. */
export interface Command {
  /** Its name: one word, or two of which the first is a group. */
  readonly name: string;
  /** What it does, in one line. */
  readonly summary: string;
  /** Names of its operands, in order; all must be given. */
  readonly operands: readonly string[];
  /** What stands for any number of operands behind those, in the help; none may be given if left out. */
  readonly rest?: string;
  /** Its flags by name, without dashes; every command has `--help` besides. */
  readonly flags: Readonly<Record<string, Flag>>;
  /** Paragraphs of the help. */
  readonly details: readonly string[];
  /** Examples, each a whole command line. */
  readonly examples: readonly string[];
  /** Does it; what it throws is shown in one line. */
  readonly run: (call: Call) => Promise<ExitCode>;
}

/** What a command was given. */
export interface Call {
  /** Its operands, as many as it names. */
  readonly operands: readonly string[];
  /** What was given behind them, where the command takes more. */
  readonly rest: readonly string[];
  /** Whether a flag without a value was given. */
  has(flag: string): boolean;
  /** The value of a flag, if it was given. */
  text(flag: string): string | undefined;
  /** All values of a flag that may be given more than once, in order. */
  texts(flag: string): readonly string[];
}

/** How a command is called, after its name. */
export type ParsedCall = Call | "help";

/**
 * Reads the arguments behind a command's name.
 *
 * @param command The command.
 * @param args The arguments.
 * @returns What was given, or that help was asked for.
 * @throws {MmsbError} `usage` where something is not as the command says.
 */
export function parseCall(command: Command, args: readonly string[]): ParsedCall {
  const { flags, operands: names } = command;
  const { tokens } = parseArgs({
    args: [...args],
    options: {
      ...Object.fromEntries(
        Object.entries(flags).map(([name, { value }]) => [
          name,
          { type: value === undefined ? "boolean" as const : "string" as const },
        ]),
      ),
      help: { type: "boolean", short: "h" },
    },
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  // Help wins over whatever else is wrong.
  if (tokens.some((token) => token.kind === "option" && token.name === "help")) return "help";
  const values = new Map<string, (string | undefined)[]>();
  const operands: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") operands.push(token.value);
    if (token.kind === "option") takeFlag(command, values, token);
  }
  if (operands.length < names.length) {
    throw usage(command, `Missing ${names[operands.length]}`);
  }
  if (operands.length > names.length && command.rest === undefined) {
    const hint = Object.hasOwn(command.flags, "data") ? ", or name a directory with --data" : "";
    throw usage(
      command,
      `Cannot use ${JSON.stringify(operands[names.length])}: too much is given${hint}`,
    );
  }
  return {
    operands: operands.slice(0, names.length),
    rest: operands.slice(names.length),
    has: (flag) => values.has(flag),
    text: (flag) => values.get(flag)?.[0],
    texts: (flag) => (values.get(flag) ?? []).filter((value) => value !== undefined),
  };
}

function takeFlag(
  command: Command,
  values: Map<string, (string | undefined)[]>,
  token: { name: string; rawName: string; value?: string; inlineValue?: boolean },
): void {
  const { name, rawName, value, inlineValue } = token;
  if (!Object.hasOwn(command.flags, name)) {
    const meant = suggest(name, [...Object.keys(command.flags), "help"]);
    const hint = meant === undefined ? "" : `: did you mean --${meant}?`;
    throw usage(command, `Unknown flag ${rawName}${hint}`);
  }
  const { value: placeholder, repeats } = command.flags[name];
  if (placeholder === undefined && inlineValue) {
    throw usage(command, `Cannot use a value for --${name}: it takes none`);
  }
  // `--json --quick` has most likely lost its file; a value of that form is written `--json=--quick`.
  const isNumber = placeholder === "N" && /^-\d/.test(value ?? "");
  const isFlagLike = value !== undefined && !inlineValue && /^-./.test(value) && !isNumber;
  if (placeholder !== undefined && (value === undefined || value === "" || isFlagLike)) {
    throw usage(command, `Missing value of --${name}: write --${name} ${placeholder}`);
  }
  const before = values.get(name) ?? [];
  if (before.length > 0 && !repeats) throw usage(command, `Cannot use --${name} twice`);
  values.set(name, [...before, value]);
}

/** An error of a call, with where to look. */
export function usage(command: Pick<Command, "name">, message: string): MmsbError {
  const sentence = /[?!]$/.test(message) ? `${message} See` : `${message}, see`;
  return new MmsbError("usage", `${sentence} mmsb ${command.name} --help`, {
    values: { command: command.name },
  });
}
