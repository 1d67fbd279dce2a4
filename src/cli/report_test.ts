import assert from "node:assert/strict";
import {
  describeMachine,
  jsonReport,
  loadTargets,
  runBenchmarks,
  writeResults,
} from "../perf/mod.ts";
import { mmsbIn, testFolder } from "./_mmsb_test.ts";

const folder = testFolder("mmsb-report-");

/** Writes two runs of one validator, the second into `latest.json`. */
async function writeRuns(): Promise<void> {
  const stability = {
    id: 9,
    name: "Stability",
    run: async () =>
      await Promise.resolve({
        metrics: { nonFinite: 0, errorGrowth: 1.5, secondDifferenceGrowth: 1.2, wrongSteps: 7 },
        samples: 10,
      }),
  };
  const targets = await loadTargets();
  for (const hour of [1, 2]) {
    const startedAt = new Date(Date.UTC(2026, 0, 1, hour));
    const report = await runBenchmarks({ validators: [stability], targets, only: [9], startedAt });
    await writeResults(`${folder}/results`, jsonReport(report, describeMachine()), startedAt);
  }
}

await writeRuns();

Deno.test("mmsb report prints a stored run and ends with 0, though the run failed", async () => {
  const { code, out } = await mmsbIn(folder, "report results/latest.json");
  assert.equal(code, 0);
  assert.match(out, /✗ #9: {2}Stability \(steps unlike plain arrays: 7, target: 0\)/);
  assert.match(out, /Result: 0\/1 PASS – 1 failed\n$/);
});

Deno.test("mmsb report writes every form, the page with the history beside the result", async () => {
  await Deno.writeTextFile(`${folder}/results/history/torn.json`, "{");
  const forms = "--html a.html --junit a.xml --markdown a.md --json a.json";
  const { code } = await mmsbIn(folder, `report results/latest.json ${forms}`);
  assert.equal(code, 0);
  const page = await Deno.readTextFile(`${folder}/a.html`);
  assert.match(page, /this run and 1 earlier one/);
  assert.match(page, /Passed over: [^<]*torn\.json/);
  assert.match(await Deno.readTextFile(`${folder}/a.xml`), /<failure /);
  assert.match(await Deno.readTextFile(`${folder}/a.md`), /\*\*Result: 0\/1 PASS/);
  assert.deepEqual(
    JSON.parse(await Deno.readTextFile(`${folder}/a.json`)),
    JSON.parse(await Deno.readTextFile(`${folder}/results/latest.json`)),
  );

  const older = "report results/history/2026-01-01T01-00-00.000Z.json --html -";
  const { out, err } = await mmsbIn(folder, older);
  assert.match(out, /^<!doctype html>\n[^]*1 later than this run/);
  assert.match(err, /^=== MMSB/);
});

Deno.test("mmsb report refuses what it cannot read or write, before it writes", async () => {
  const wrong: [string, number, RegExp][] = [
    ["report", 2, /Missing RESULT/],
    ["report none.json", 2, /none\.json/],
    ["report results/history/torn.json", 3, /torn\.json/],
    ["report results/latest.json --html none/a.html", 2, /Cannot use "none" as --html/],
    ["report results/latest.json --history none", 2, /--history/],
    ["report results/latest.json --html b --junit b", 2, /two reports to one file/],
  ];
  await Deno.writeTextFile(`${folder}/results/history/torn.json`, "{");
  for (const [line, code, message] of wrong) {
    const outcome = await mmsbIn(folder, line);
    assert.equal(outcome.code, code, line);
    assert.match(outcome.err, message);
  }
  await assert.rejects(Deno.stat(`${folder}/b`), Deno.errors.NotFound);
});
