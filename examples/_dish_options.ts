/** What the reaction in a dish is told on its command line. */

import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { numberOf } from "./_flags.ts";

/** What a bus may compute on. */
export type Device = "cpu" | "gpu" | "auto";

/** What the program is told. */
export interface DishOptions {
  /** Cells, about: the dish is a square. */
  readonly cells: number;
  /** Steps in all. */
  readonly steps: number;
  /** Steps of a tick. */
  readonly each: number;
  /** What computes. */
  readonly device: Device;
  /** Whether the twin computes a step of each tick, too. */
  readonly check: boolean;
  /** Where the picture goes. */
  readonly out: string;
}

const HELP = `Usage: deno run -A examples/reaction_diffusion.ts [FLAGS]

  --cells N        cells of the square dish, 64 to 4194304; 1000000 if left out
  --steps N        steps in all, 1 to 1000000; 2000 if left out
  --each N         steps of a tick, 1 to 1000; 20 if left out
  --device DEVICE  cpu, gpu (one in software, too) or auto; auto if left out
  --check          have the twin compute a step of each tick, too
  --out FILE       the picture; reaction_diffusion.png if left out`;

/** Reads the command line; ends the program with a line that says what cannot be used. */
export function dishOptions(args: readonly string[]): DishOptions {
  try {
    return optionsOf(args);
  } catch (error) {
    console.error(`${(error as Error).message}: --help shows what there is`);
    Deno.exit(2);
  }
}

function optionsOf(args: readonly string[]): DishOptions {
  const text = { type: "string" } as const, flag = { type: "boolean" } as const;
  const options = { cells: text, steps: text, each: text, device: text, out: text, check: flag };
  const { values } = parseArgs({ args: [...args], options: { ...options, help: flag } });
  if (values.help) {
    console.log(HELP);
    Deno.exit(0);
  }
  const { device = "auto" } = values;
  if (device !== "cpu" && device !== "gpu" && device !== "auto") {
    throw new Error(`Cannot use "${device}" as --device: give cpu, gpu or auto`);
  }
  const number = (name: "cells" | "steps" | "each", value: number, min: number, max: number) =>
    numberOf(name, { help: "", value, min, max, isWhole: true }, values[name]);
  const { out = "reaction_diffusion.png" } = values, folder = dirname(out);
  // What took minutes must not be lost at the end.
  if (!isFolder(folder)) throw new Error(`Cannot write ${out}: make ${folder} first`);
  return {
    cells: number("cells", 1_000_000, 64, 2 ** 22),
    steps: number("steps", 2000, 1, 1_000_000),
    each: number("each", 20, 1, 1000),
    device,
    check: values.check ?? false,
    out,
  };
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
