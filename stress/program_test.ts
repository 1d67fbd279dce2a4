import assert from "node:assert/strict";
import { stressArguments, StressUsageError } from "./_program.ts";

Deno.test("stressArguments() refuses what makes no sense, and names it", () => {
  for (
    const args of [
      ["--scale", "0"],
      ["--scale", "x"],
      ["--seed", "1.5"],
      ["--seed", "-1"],
      ["--minutes", "NaN"],
      ["--kills", "0"],
      ["--json", ""],
      ["--json", "/nowhere/at/all.json"],
      ["--what"],
    ]
  ) {
    assert.throws(() => stressArguments(args), StressUsageError, args.join(" "));
  }
  const { names, scale, seed, minutes } = stressArguments([
    "kill",
    "--scale",
    "0.5",
    "--minutes",
    "2",
  ]);
  assert.deepEqual([names, scale, seed, minutes], [["kill"], 0.5, 1, 2]);
});

const STRESS = new URL("./main.ts", import.meta.url).pathname;

async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", STRESS, ...args],
  });
  const { code, stdout, stderr } = await command.output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

Deno.test("stress prints a table, writes JSON, and ends with 0; wrong usage with 2", async () => {
  const file = await Deno.makeTempFile();
  const done = await run("ring-interleavings", "--scale", "0.001", "--json", file);
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, /\| what was done .*\n.*\n\| MPMC_PRODUCERS: a part/);
  const { format, reports } = JSON.parse(await Deno.readTextFile(file));
  await Deno.remove(file);
  assert.deepEqual([format, reports.length, reports[0].suite], [1, 1, "ring-interleavings"]);
  const wrong = await run("no-such-suite");
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /Cannot run no-such-suite/);
});
