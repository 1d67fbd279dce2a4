/** `mmsb compare`, and `mmsb validate` with repeats, baselines and targets of one's own, from the outside. */

import assert from "node:assert/strict";
import { mmsbIn, type Outcome, runIn, testFolder } from "./_mmsb_test.ts";

const FOLDER = testFolder("mmsb-compare-");

/** A command line with one validator whose rate is given by the seed's file, so that a run takes no time. */
const PROGRAM = `
import { runCommandLine } from ${JSON.stringify(new URL("./_cli.ts", import.meta.url).href)};
const rates = Deno.readTextFileSync("rates.txt").split(" ").map(Number);
const throughput = {
  id: 5,
  name: "Throughput",
  run: async ({ progress }) => {
    progress("one thread");
    return {
      metrics: {
        oneThread: rates.shift(), workers: 2e7, oneThreadLogged: 2e6, workersLogged: 2e7,
        wrongPages: 0, deltas: 1e7,
      },
      samples: 1e7,
    };
  },
};
Deno.exit(await runCommandLine(Deno.args, {
  validators: async () => [throughput],
  logTools: async () => ({}),
  transferTools: async () => ({}),
}));
`;
Deno.writeTextFileSync(`${FOLDER}/program.ts`, PROGRAM);

async function validate(rates: string, line: string): Promise<Outcome> {
  Deno.writeTextFileSync(`${FOLDER}/rates.txt`, rates);
  const words = line === "" ? [] : line.split(" ");
  return await runIn(FOLDER, ["run", "-A", "program.ts", "validate", "--only", "5", ...words]);
}

Deno.test("`mmsb validate --repeat 5`, twice, and `mmsb compare` of both: -20 % is a regression", async () => {
  const before = await validate("6e6 6.1e6 5.9e6 6e6 6.2e6", "--repeat 5 --json before.json");
  assert.equal(before.code, 0, before.err);
  assert.match(before.out, /^✓ #5: {2}Throughput \(one thread: 6M\/sec/m);
  assert.match(before.out, /5 repeats: medians .*one thread 5\.9M\/sec to 6\.2M\/sec/);
  await validate("4.8e6 4.9e6 4.7e6 4.8e6 4.9e6", "--repeat 5 --json after.json");

  const worse = await mmsbIn(FOLDER, "compare before.json after.json");
  assert.equal(worse.code, 1, worse.err);
  assert.equal(worse.err, "");
  assert.match(worse.out, /^✗ one thread +6M\/sec +4\.8M\/sec +-20% +±[\d.]+% {2}worse$/m);
  assert.match(worse.out, /^Result: 1 regression – /m);
  assert(!worse.out.includes("\x1b"));
  const allowed = await mmsbIn(FOLDER, "compare before.json after.json --threshold 25");
  assert.equal(allowed.code, 0);
  assert.match(allowed.out, /worse, not past 25%/);
  const better = await mmsbIn(FOLDER, "compare after.json before.json --json");
  assert.equal(better.code, 0);
  const json = JSON.parse(better.out);
  assert.equal(json.figures[0].verdict, "better");
  assert.deepEqual(json.figures[0].a, { figure: 4.8e6, least: 4.7e6, most: 4.9e6, runs: 5 });
  assert.equal(json.rules.thresholdPercent, 10);

  await validate("6e6", "--seed 2 --json other.json");
  const other = await mmsbIn(FOLDER, "compare before.json other.json");
  assert.equal(other.code, 2);
  assert.match(other.out, /^Result: nothing could be compared – 6 not comparable$/m);
  assert.match(other.err, /^mmsb: usage: Cannot compare .* no figure of the same work/);
});

Deno.test("`mmsb validate --baseline` writes what `mmsb compare` takes, only where all passed", async () => {
  const written = await validate("6e6 6.1e6 5.9e6 6e6 6e6", "--repeat 5 --baseline baseline.json");
  assert.equal(written.code, 0, written.err);
  await validate("3.1e6", "--results now");
  const near = await mmsbIn(FOLDER, "compare baseline.json now/latest.json");
  assert.equal(near.code, 0, near.out);
  assert.match(near.out, /^ {2}one thread .* worse, does not fail/m);
  await validate("2.5e6", "--results now");
  // How busy the machine is, is the machine's: here it decides nothing.
  const latest = JSON.parse(Deno.readTextFileSync(`${FOLDER}/now/latest.json`));
  Deno.writeTextFileSync(`${FOLDER}/quiet.json`, JSON.stringify({ ...latest, othersPercent: 0 }));
  assert.equal((await mmsbIn(FOLDER, "compare baseline.json quiet.json")).code, 1);

  const text = Deno.readTextFileSync(`${FOLDER}/baseline.json`);
  const failed = await validate("1", "--baseline baseline.json");
  assert.equal(failed.code, 1);
  assert.match(failed.err, /^mmsb: warning: .*no baseline is written as not all that ran/im);
  assert.equal(Deno.readTextFileSync(`${FOLDER}/baseline.json`), text);
});

Deno.test("`mmsb compare` ends with 2 where it is called wrongly and 3 where a file is damaged", async () => {
  const cases: [string, number, RegExp][] = [
    ["compare before.json", 2, /^mmsb: usage: Missing B, see mmsb compare --help\n$/],
    ["compare before.json none.json", 2, /^mmsb: usage: Cannot read a result from "none\.json"/],
    ["compare before.json before.json --threshold x", 2, /"x" as --threshold: give percent/],
    ["compare before.json cut.json", 3, /^mmsb: corrupt-log: .*"cut\.json" .* line \d+ on/],
  ];
  await validate("6e6", "--json before.json");
  const text = Deno.readTextFileSync(`${FOLDER}/before.json`);
  Deno.writeTextFileSync(`${FOLDER}/cut.json`, text.slice(0, 500));
  for (const [line, code, message] of cases) {
    const outcome = await mmsbIn(FOLDER, line);
    assert.deepEqual([outcome.code, outcome.out], [code, ""], line);
    assert.match(outcome.err, message);
    assert.equal(outcome.err.split("\n").length, 2, outcome.err);
  }
  const help = await mmsbIn(FOLDER, "compare --help");
  assert.equal(help.code, 0);
  assert.match(help.out, /Usage: mmsb compare A B/);
  assert.match(help.out, /Examples:\n {2}mmsb compare /);
});

Deno.test("`mmsb validate --targets` refuses a wrong file with its line, before anything runs", async () => {
  Deno.writeTextFileSync(
    `${FOLDER}/mine.json`,
    `{
  "format": 1,
  "benchmarks": [{
    "id": 5, "name": "Throughput", "description": "Mine",
    "metrics": [{
      "name": "oneThread", "label": "one thread", "unit": "/sec", "comparison": ">=",
      "targett": 1000000, "goal": { "comparison": ">=", "value": 5000000 }
    }]
  }]
}`,
  );
  const wrong = await mmsbIn(FOLDER, "validate --targets mine.json");
  assert.deepEqual([wrong.code, wrong.out], [2, ""]);
  assert.equal(
    wrong.err,
    'mmsb: usage: Cannot use targets of "mine.json" as line 7, benchmarks[0].metrics[0].targett ' +
      'is a field that nobody reads: write "target"\n',
  );
  const text = Deno.readTextFileSync(`${FOLDER}/mine.json`);
  Deno.writeTextFileSync(`${FOLDER}/mine.json`, text.replace("targett", "target"));
  const right = await validate("2e6", "--targets mine.json");
  assert.equal(right.code, 0, right.err);
  assert.match(right.out, /^✓ #5: {2}Throughput \(one thread: 2M\/sec\)/m);
  const repeats = await mmsbIn(FOLDER, "validate --repeat 0");
  assert.equal(repeats.code, 2);
  assert.match(repeats.err, /Cannot use "0" as --repeat: give an integer from 1 to 1000/);
});
