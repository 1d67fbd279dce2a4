/** Flags of the examples: a directory and numbers. What cannot be used ends the program with a line that says so. */

import { parseArgs } from "node:util";

/** A number that can be given. */
export interface NumberFlag {
  /** What it is, for `--help`. */
  readonly help: string;
  /** Its value where it is not given. */
  readonly value: number;
  /** The smallest that makes sense. */
  readonly min: number;
  /** The largest. */
  readonly max: number;
  /** Whether it is whole. */
  readonly isWhole?: boolean;
}

/** Reads the command line of an example that has a directory of its own. */
export function flagsOf<Name extends string>(
  program: string,
  directory: string,
  numbers: Readonly<Record<Name, NumberFlag>>,
): { dir: string } & Record<Name, number> {
  const flags = Object.entries<NumberFlag>(numbers);
  const given = parsed(flags.map(([name]) => name));
  if (given.help !== undefined) {
    console.log(`Usage: deno run -A examples/${program} [FLAGS]\n`);
    const lines = [["--dir DIR", `made anew in each run; ${directory} if left out`]];
    for (const [name, { help, value, min, max }] of flags) {
      lines.push([`--${name} N`, `${help}, ${min} to ${max}; ${value} if left out`]);
    }
    const width = Math.max(...lines.map(([flag]) => flag.length));
    for (const [flag, help] of lines) console.log(`  ${flag.padEnd(width)}  ${help}`);
    Deno.exit(0);
  }
  const values = flags.map(([name, flag]) => [name, numberOf(name, flag, given[name])]);
  return { dir: given.dir ?? directory, ...Object.fromEntries(values) };
}

function parsed(names: readonly string[]): Record<string, string | undefined> {
  const texts = ["dir", ...names].map((name) => [name, { type: "string" }]);
  const options = Object.fromEntries([...texts, ["help", { type: "boolean", short: "h" }]]);
  try {
    return parseArgs({ args: Deno.args, options }).values as Record<string, string | undefined>;
  } catch (error) {
    console.error(`${(error as Error).message}: --help shows what there is`);
    Deno.exit(2);
  }
}

/** Reads a number; ends the program where it is none, or too small or large. */
export function numberOf(name: string, flag: NumberFlag, text: string | undefined): number {
  const { min, max, value, isWhole = false } = flag;
  if (text === undefined) return value;
  const number = text.trim() === "" ? NaN : Number(text);
  if (number >= min && number <= max && (!isWhole || Number.isInteger(number))) return number;
  console.error(
    `Cannot use "${text}" as --${name}: give a ${
      isWhole ? "whole " : ""
    }number from ${min} to ${max}`,
  );
  Deno.exit(2);
}
