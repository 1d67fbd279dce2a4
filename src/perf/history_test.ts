import assert from "node:assert/strict";
import fc from "fast-check";
import type { Measured } from "../validators/validator.ts";
import { baselineReport } from "./baseline.ts";
import { isComparable } from "./comparable.ts";
import { compareSides } from "./compare.ts";
import { readHistory } from "./history.ts";
import type { Machine } from "./machine.ts";
import { readSide } from "./read_side.ts";
import { jsonReport } from "./report_json.ts";
import { writeResults } from "./results.ts";
import { runBenchmarks, type RunReport } from "./runner.ts";
import { parseResult } from "./stored_result.ts";
import { loadTargets } from "./targets.ts";

const MACHINE: Machine = {
  versions: { mmsb: "0.1.0", deno: "2.9.6", v8: "15", typescript: "6" },
  os: "linux",
  arch: "x86_64",
  processor: "P",
  cores: 2,
};

const TICK = { ticks: 600, wrongRuns: 0, wrongPages: 0 };

/** A run of validator 6, whose mean time is given for each repeat, and of validator 3, which breaks off. */
async function runOf(meansMs: readonly number[], startedAt = new Date(0)): Promise<RunReport> {
  let repeat = 0;
  const tick = {
    id: 6,
    name: "Tick",
    run: async (): Promise<Measured> => ({
      metrics: { meanMs: meansMs[repeat++], p99Ms: 9, ...TICK },
      samples: 600,
      notes: ["all ticks"],
      durability: "group",
      planted: [{ id: "flipped-byte", found: true }],
    }),
  };
  const graph = {
    id: 3,
    name: "Graph",
    run: async (): Promise<Measured> => {
      throw new TypeError("x is undefined");
    },
  };
  return await runBenchmarks({
    validators: [tick, graph],
    targets: await loadTargets(),
    repeats: meansMs.length,
    startedAt,
  });
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-history-" });
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("parseResult() gives back what jsonReport() wrote, numbers that JSON lacks included", async () => {
  const report = await runOf([4, NaN, 5]);
  const result = parseResult(jsonReport(report, MACHINE), "x.json");
  assert.deepEqual(result, { ...report, path: "x.json", machine: MACHINE });
  assert(Number.isNaN(result.benchmarks.find(({ id }) => id === 6)?.runs[1].meanMs));
});

Deno.test("parseResult() reads results from before repeats", async () => {
  const json = JSON.parse(jsonReport(await runOf([4]), MACHINE));
  delete json.repeats;
  for (const benchmark of json.benchmarks) delete benchmark.runs;
  const { repeats, benchmarks } = parseResult(JSON.stringify(json), "x.json");
  assert.equal(repeats, 1);
  const [graph, tick] = [3, 6].map((id) => benchmarks.find((one) => one.id === id)!);
  assert.deepEqual([graph.runs, tick.runs], [[], [tick.metrics]]);
});

Deno.test("parseResult() tells another file, a newer one and a damaged one apart", async () => {
  const good = jsonReport(await runOf([4]), MACHINE);
  const spoilt = (change: (value: Record<string, unknown>) => void): string => {
    const value = JSON.parse(good);
    change(value);
    return JSON.stringify(value, null, 2);
  };
  const cases: [string, string, RegExp][] = [
    ["{}", "usage", /kind is missing/],
    ["[]", "usage", /the whole is \[\]/],
    [spoilt((value) => value.kind = "other"), "usage", /line 2, kind is "other": a result of mmsb/],
    [spoilt((value) => value.format = 2), "version", /line 3, format is 2: .* reads format 1, so/],
    [spoilt((value) => value.format = "1"), "corrupt-log", /format is "1"/],
    [good.slice(0, 200), "corrupt-log", /"x\.json" as it is no JSON from line \d+ on/],
    [
      spoilt((value) => value.startedAt = "x"),
      "corrupt-log",
      /startedAt is "x": it must be an ISO/,
    ],
    [spoilt((value) => delete value.machine), "corrupt-log", /machine is missing/],
    [spoilt((value) => value.exitCode = 7), "corrupt-log", /exitCode is 7/],
    [good.replace('"meanMs": 4', '"meanMs": "4"'), "corrupt-log", /line \d+, .*\.meanMs is "4"/],
    [good.replace('"unit": "ms"', '"unit": "s"'), "corrupt-log", /line \d+, .*\.unit is "s"/],
  ];
  for (const [text, code, message] of cases) {
    assert.throws(() => parseResult(text, "x.json"), { code, message });
  }
});

Deno.test("parseResult() refuses a cut or changed text with a code of ours, or reads it", async () => {
  const good = jsonReport(await runOf([4, 5]), MACHINE);
  fc.assert(fc.property(fc.nat(good.length - 1), fc.string(), fc.nat(20), (at, text, length) => {
    try {
      parseResult(good.slice(0, at) + text + good.slice(at + length), "x.json");
    } catch (error) {
      assert.equal((error as Error).name, "MmsbError", String(error));
    }
  }));
});

Deno.test("readHistory() gives the results oldest first, and names what it passes over", async () => {
  await withFolder(async (folder) => {
    for (const [time, mean] of [[2000, 5], [1000, 4], [3000, 6]]) {
      const report = await runOf([mean], new Date(time));
      await writeResults(folder, jsonReport(report, MACHINE), report.startedAt);
    }
    const history = `${folder}/history`;
    const newer = (await Deno.readTextFile(`${folder}/latest.json`)).replace(
      `"format": 1`,
      `"format": 2`,
    );
    await Deno.writeTextFile(`${history}/a-newer.json`, newer);
    await Deno.writeTextFile(`${history}/b-cut.json`, newer.slice(0, 99));
    await Deno.writeTextFile(`${history}/c-foreign.json`, `{"name": "x"}`);
    const oldest = jsonReport(await runOf([7], new Date(500)), MACHINE);
    await Deno.writeTextFile(`${history}/e-by-hand.json`, oldest);
    await Deno.writeTextFile(`${history}/1970.json.99.tmp`, "{");
    await Deno.mkdir(`${history}/d-folder.json`);

    const warnings: string[] = [];
    const warn = (warning: string) => warnings.push(warning);
    const results = await readHistory(history, { warn });
    assert.deepEqual(results.map(({ startedAt }) => startedAt.getTime()), [500, 1000, 2000, 3000]);
    assert.equal(warnings.length, 3);
    for (const [index, name] of ["a-newer", "b-cut", "c-foreign"].entries()) {
      assert(warnings[index].includes(`${name}.json`), warnings[index]);
    }
    const newest = await readHistory(history, { limit: 5 });
    assert.deepEqual(newest.map(({ startedAt }) => startedAt.getTime()), [500, 3000]);
    assert.deepEqual(await readHistory(`${folder}/none`), []);
    await assert.rejects(readHistory(`${folder}/latest.json`), { code: "io" });
  });
});

Deno.test("readSide() pools a folder of results, by their history where there is one", async () => {
  await withFolder(async (folder) => {
    for (const [time, means] of [[1, [4, 5]], [2, [6]]] as const) {
      const report = await runOf(means, new Date(time));
      await writeResults(folder, jsonReport(report, MACHINE), report.startedAt);
    }
    const other = jsonReport(await runOf([9], new Date(3)), { ...MACHINE, cores: 64 });
    await writeResults(folder, other, new Date(3));
    const { groups } = await readSide(folder);
    assert.deepEqual(groups.map(({ files }) => files), [1, 2]);
    assert.deepEqual(groups[1].series.get("6.meanMs")?.figures, [4, 5, 6]);
    assert.equal(groups[1].failures.get(3), "TypeError: x is undefined");
    const same = compareSides(await readSide(folder), await readSide(`${folder}/latest.json`));
    assert.equal(same.regressions, 0);
    assert.equal(same.a.filesLeftOut, 2);
  });
});

Deno.test("readSide() reads the baseline that baselineReport() wrote, with its rules", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/baseline.json`;
    const report = await runOf([4.0000001, 5, 6]);
    await Deno.writeTextFile(path, baselineReport(report, MACHINE));
    const side = await readSide(path);
    assert.deepEqual(side.rules, {
      everyFigure: true,
      thresholdPercent: 10,
      timesFactor: 2,
      othersPercentMax: 25,
    });
    const { series } = side.groups[0];
    assert.deepEqual(series.get("6.meanMs")?.figures, [4, 5, 6]);
    assert.deepEqual(series.get("6.ticks")?.figures, [600]);
    // Only what passed is in it.
    const slow = baselineReport(await runOf([90]), MACHINE);
    assert.deepEqual(JSON.parse(slow).benchmarks, []);
    assert(![...series.keys()].some((key) => key.startsWith("3.")));

    const text = await Deno.readTextFile(path);
    const wrong: [string, string, string][] = [
      [`"format": 1`, `"format": 2`, "version"],
      [`"timesFactor"`, `"timesFaktor"`, "corrupt-log"],
      [`"cores": 2`, `"cores": "2"`, "corrupt-log"],
      [`[600]`, `[]`, "corrupt-log"],
    ];
    for (const [part, replacement, code] of wrong) {
      assert(text.includes(part));
      await Deno.writeTextFile(path, text.replace(part, replacement));
      await assert.rejects(readSide(path), { code, message: /baseline\.json" as line \d+, / });
    }
  });
});

Deno.test("a run compared with its own baseline has no regression, and a broken one has", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/baseline.json`;
    await Deno.writeTextFile(path, baselineReport(await runOf([4, 5, 6]), MACHINE));
    const against = async (report: RunReport, machine = MACHINE): Promise<number> => {
      await Deno.writeTextFile(`${folder}/run.json`, jsonReport(report, machine));
      return compareSides(await readSide(path), await readSide(`${folder}/run.json`)).regressions;
    };
    const report = { ...await runOf([5]), othersPercent: 3 };
    // Validator 3 broke off in both, and stands in no baseline: that is news.
    assert.equal(await against(report), 1);
    const whole = { ...report, benchmarks: report.benchmarks.filter(({ id }) => id === 6) };
    assert.equal(await against(whole), 0);
    const [tick] = whole.benchmarks;
    const slow = { ...whole, benchmarks: [{ ...tick, runs: [{ ...tick.metrics, meanMs: 90 }] }] };
    assert.equal(await against(slow), 1);
    assert.equal(await against(slow, { ...MACHINE, cores: 64 }), 0);
    const wrong = {
      ...whole,
      benchmarks: [{ ...tick, runs: [{ ...tick.metrics, wrongPages: 1 }] }],
    };
    assert.equal(await against(wrong, { ...MACHINE, cores: 64 }), 1);
  });
});

Deno.test("readSide() reads anchors, pools them, and knows which way each gets better", async () => {
  const row = (subject: string, ratio: number, target: string, peer = "1 M/s") => ({
    subject,
    ours: "1 M/s",
    peer,
    ratio,
    spread: [ratio * 0.95, ratio * 1.05],
    target,
    met: true,
    hash: "00000000",
  });
  const file = (ratios: readonly number[], cores = 2) => ({
    machine: { deno: "2.9.6", v8: "15", os: "linux", arch: "x86_64", cores },
    rounds: 7,
    rows: [
      row("apply", ratios[0], ">= 0.9"),
      row("logged, time", ratios[1], "<= 1.25"),
      row("plain", ratios[2], ""),
      row("read", ratios[3], "< 60 ns", ""),
      row("edge", ratios[4], "< 1 µs an edge (ratio: the target through ours)", ""),
      row("alone", ratios[5], "", ""),
    ],
  });
  await withFolder(async (folder) => {
    const write = (name: string, value: unknown) =>
      Deno.writeTextFile(`${folder}/${name}.json`, JSON.stringify(value));
    await write("a", file([1, 1, 1, 1, 1, 1]));
    await write("b", file([0.8, 1.2, 1.2, 0.8, 0.8, 1.2]));
    await write("c", file([0.8, 1.2, 1.2, 1.2, 1.2, 1.2], 64));
    const verdicts = async (name: string) =>
      compareSides(await readSide(`${folder}/a.json`), await readSide(`${folder}/${name}.json`))
        .figures.map(({ verdict }) => verdict);
    assert.deepEqual(await verdicts("b"), [
      "worse",
      "worse",
      "better",
      "better",
      "worse",
      "changed",
    ]);
    // Ratios travel; figures without a peer do not.
    assert.deepEqual(await verdicts("c"), [
      "worse",
      "worse",
      "better",
      "not comparable",
      "better",
      "not comparable",
    ]);
    const { groups } = await readSide(folder);
    assert.deepEqual(groups.map(({ files }) => files), [1, 2]);
    await write("c", { ...file([1, 1, 1, 1, 1, 1]), rows: [{ subject: "x" }] });
    await assert.rejects(readSide(`${folder}/c.json`), {
      code: "corrupt-log",
      message: /rows\[0\]\.peer is missing/,
    });
  });
});

Deno.test("readSide() refuses a folder without results, and one that holds different kinds", async () => {
  await withFolder(async (folder) => {
    await assert.rejects(readSide(folder), {
      code: "usage",
      message: /no result that can be read/,
    });
    await assert.rejects(readSide(`${folder}/none`), { code: "usage", message: /no such file/ });
    await Deno.writeTextFile(`${folder}/a.json`, baselineReport(await runOf([4]), MACHINE));
    await Deno.writeTextFile(`${folder}/b.json`, jsonReport(await runOf([4]), MACHINE));
    await assert.rejects(readSide(folder), { code: "usage", message: /baseline and result/ });
  });
});

Deno.test("isComparable() wants one kind of machine and one kind of work", async () => {
  const result = parseResult(jsonReport(await runOf([4]), MACHINE), "x");
  assert(isComparable(result, result));
  assert(!isComparable(result, { ...result, machine: { ...MACHINE, processor: "Q" } }));
  assert(!isComparable(result, { ...result, directory: "./data" }));
});
