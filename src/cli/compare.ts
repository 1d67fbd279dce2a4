/**
 * `mmsb compare A B`: what got better and what got worse between two runs, past noise.
 *
 * Reads what `mmsb validate` and `deno task anchors --json` wrote, and a baseline; see
 * `src/perf/read_side.ts`.
 */

import { MmsbError } from "../base/errors.ts";
import {
  compareSides,
  comparisonJson,
  comparisonText,
  EXIT,
  type ExitCode,
  readSide,
} from "../perf/mod.ts";
import { type Call, type Command, usage } from "./_command.ts";
import { stdoutTakesColour, writeStderr, writeStdout } from "./_platform.ts";

/**
 * The command `compare`.
 *
 * @returns The command.
 */
export function compareCommand(): Command {
  const command: Command = {
    name: "compare",
    summary: "compare two results, or two folders of them, noise considered",
    operands: ["A", "B"],
    flags: {
      threshold: {
        value: "PERCENT",
        help: "change for the worse past which it fails, 10 if left out",
      },
      json: { help: "write JSON in place of text" },
    },
    details: [
      "A and B are files: a result of mmsb validate (results/latest.json), a baseline, or what\n" +
      "deno task anchors --json FILE wrote. A folder (results/history) pools all runs in it that are of\n" +
      "one kind; the more runs, the smaller the change that can be told from noise.",
      "Times, rates and sizes in memory count as changed past the noise of both sides (Student's t over\n" +
      "the median absolute deviation, at 99.9 %; with one run on a side noise is unknown, and a change\n" +
      "counts past 25 %, of a size past 5 %). Counts are compared exactly. Times of another kind of machine are not\n" +
      "compared, and nothing of other work is (a quick run against a full one, another seed).",
      "Exit code 2 where nothing could be compared.",
      "Exit code 1 where a figure is worse past noise and past the threshold, or a count that must be\n" +
      "exact is off, or a validator that passed broke off. A baseline has thresholds of its own, which\n" +
      "--threshold overrides.",
    ],
    examples: [
      "mmsb compare benchmarks_baseline.json results/latest.json",
      "mmsb compare runs-before runs-after --threshold 5",
      "mmsb compare benchmarks_baseline.json results/latest.json --json",
    ],
    run: (call) => run(command, call),
  };
  return command;
}

async function run(command: Command, call: Call): Promise<ExitCode> {
  const thresholdPercent = percentOf(command, call.text("threshold"));
  const warn = (warning: string) => writeStderr(`mmsb: warning: ${warning}\n`);
  const [pathA, pathB] = call.operands;
  const a = await readSide(pathA, { warn });
  const b = await readSide(pathB, { warn });
  if (a.kind !== b.kind) {
    throw new MmsbError(
      "usage",
      `Cannot compare ${JSON.stringify(pathA)} with ${
        JSON.stringify(pathB)
      } as one holds anchors ` +
        `and the other results of validators: give two of one kind`,
      { values: { a: pathA, b: pathB } },
    );
  }
  const report = compareSides(
    a,
    b,
    thresholdPercent === undefined ? undefined : { thresholdPercent },
  );
  if (call.has("json")) writeStdout(comparisonJson(report));
  else writeStdout(comparisonText(report, { colour: stdoutTakesColour() }));
  if (report.regressions > 0) return EXIT.failed;
  if (report.compared > 0) return EXIT.done;
  throw usage(
    command,
    `Cannot compare ${JSON.stringify(pathA)} with ${
      JSON.stringify(pathB)
    }: they have no figure of the same work, so nothing is known`,
  );
}

function percentOf(command: Command, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,6}(\.\d{1,6})?%?$/.test(text)) {
    throw usage(
      command,
      `Cannot use ${JSON.stringify(text)} as --threshold: give percent, such as 10`,
    );
  }
  return Number(text.replace("%", ""));
}
