/**
 * The `mmsb` command: validates the bus, looks into logs, and says what a machine offers.
 *
 * ```sh
 * deno run -A jsr:@mmsb/mmsb/cli validate
 * deno run -A jsr:@mmsb/mmsb/cli doctor --dir ./data
 * ```
 *
 * Parts are loaded when a command needs them, so that `--help` is quick.
 *
 * @module
 */

import { type Bindings, runCommandLine } from "./_cli.ts";

const BINDINGS: Bindings = {
  validators: async () => (await import("../validators/mod.ts")).validators,
  logTools: async () => await import("../log/mod.ts"),
  transferTools: async () => await import("../log/mod.ts"),
};

/**
 * Runs one command line: reads the arguments, writes to standard output and error.
 *
 * @param args The arguments, without the program: `["validate", "--only", "1,5"]`.
 * @returns The exit code: 0 done, 1 a check failed, 2 wrong usage, 3 damaged data. Nothing is
 * thrown.
 */
export async function main(args: readonly string[]): Promise<number> {
  return await runCommandLine(args, BINDINGS);
}

// In a worker that has this module as its first, `import.meta.main` is true as well.
if (import.meta.main && !("WorkerGlobalScope" in globalThis)) Deno.exit(await main(Deno.args));
