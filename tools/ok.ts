/**
 * The one gate: everything that must hold before a change lands, the same on a laptop and in CI.
 *
 * Steps run in order, cheapest first, and stop at the first that fails. A step that passes prints
 * one line; a step that fails prints what its command said, less the lines of tests that passed.
 *
 * ```
 * deno task ok [--without-tests]
 * ```
 */

import config from "../deno.json" with { type: "json" };

interface Step {
  readonly name: string;
  /** Arguments of `deno`. */
  readonly args: readonly string[];
}

const STEPS: readonly Step[] = [
  { name: "format", args: ["fmt", "--check"] },
  { name: "lint", args: ["lint"] },
  { name: "types, examples too", args: ["check", "--doc", "."] },
  { name: "doc comments", args: ["doc", "--lint", ...Object.values(config.exports)] },
  { name: "publish dry run", args: ["publish", "--dry-run", "--allow-dirty"] },
];

// Doc comments' examples are part of the tests: the task passes `--doc`. It leaves types out, which are checked
// above: Deno would check each worker's modules anew when it starts, for seconds in which the test waits.
const TESTS: Step = { name: "tests and examples", args: ["task", "test"] };

const HELP = `deno task ok [--without-tests]

Runs ${[...STEPS, TESTS].map((step) => step.name).join(", ")}; stops at the first that fails.

  --without-tests   leave out the tests and examples

Example: deno task ok --without-tests`;

/** Runs one step and prints its line; gives whether it passed. */
async function run(step: Step): Promise<boolean> {
  const start = performance.now();
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...step.args],
    cwd: new URL("..", import.meta.url),
    stdin: "null",
    env: Deno.stdout.isTerminal() ? {} : { NO_COLOR: "1" },
  }).output();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${success ? "ok    " : "FAILED"}  ${step.name.padEnd(20)}${seconds.padStart(6)} s`);
  if (!success) {
    const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    const lines = said.split("\n").filter((line) => !/ \.\.\. \S*ok\b.*\(\S+\)\S*$/.test(line));
    console.error(`\n$ deno ${step.args.join(" ")}\n${lines.join("\n")}`);
  }
  return success;
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help")) {
    console.log(HELP);
    return 0;
  }
  const unknown = args.filter((arg) => arg !== "--without-tests");
  if (unknown.length > 0) {
    console.error(`Cannot use ${unknown.join(" ")}: see deno task ok --help`);
    return 2;
  }
  const steps = args.includes("--without-tests") ? STEPS : [...STEPS, TESTS];
  for (const step of steps) {
    if (!await run(step)) return 1;
  }
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
