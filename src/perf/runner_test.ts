import assert from "node:assert/strict";
import { MmsbError } from "../base/errors.ts";
import type { Measured, Validator, ValidatorContext } from "../validators/validator.ts";
import { formatFigure } from "./figures.ts";
import { holds, judge } from "./judge.ts";
import { describeMachine } from "./machine.ts";
import { Progress } from "./progress.ts";
import { jsonReport } from "./report_json.ts";
import { junitReport } from "./report_junit.ts";
import { markdownReport } from "./report_markdown.ts";
import { terminalReport } from "./report_terminal.ts";
import { writeResults } from "./results.ts";
import { runBenchmarks, type RunOptions, type RunReport } from "./runner.ts";
import { loadTargets } from "./targets.ts";

const REPLAY = {
  metrics: {
    divergence: 0,
    cycles: 1000,
    formsAgreed: 5,
    lostTicks: 0,
    wrongTotals: 0,
    wrongSums: 0,
    wrongRows: 0,
  },
  samples: 1000,
};
const PURE = { sideEffects: 0, agreePercent: 100, plantedFound: 100 };
const FAST = { deltas: 1e7, oneThreadLogged: 2e6, workersLogged: 2e7, workers: 2e7, wrongPages: 0 };

function validator(
  id: number,
  run: (context: ValidatorContext) => Measured | Promise<Measured>,
  needsWorkload?: string,
): Validator {
  return { id, name: `validator ${id}`, needsWorkload, run: async (context) => await run(context) };
}

async function report(
  validators: readonly Validator[],
  options: Partial<RunOptions> = {},
): Promise<RunReport> {
  const targets = await loadTargets();
  return await runBenchmarks({ validators, targets, startedAt: new Date(0), ...options });
}

function lineOf(run: RunReport, id: number): string {
  return terminalReport(run).split("\n").find((line) => line.includes(`#${id}:`)) ?? "";
}

Deno.test("terminalReport() has the fixed form", async () => {
  const run = await report([
    validator(1, () => ({ ...REPLAY, notes: ["made of\n\x1b[31m200,000 flights"] })),
    validator(5, () => ({ metrics: { oneThread: 782_345, ...FAST }, samples: 1e7 })),
  ], { only: [1, 3, 5, 10] });
  assert.equal(
    terminalReport(run),
    `=== MMSB Benchmark Validation ===
✓ #1:  Replay (divergence: 0, cycles: 1000)
       made of [31m200,000 flights
– #3:  Graph – not built
✗ #5:  Throughput (782K/sec, target: 1M/sec)  ← NEEDS WORK
– #10: Provenance – not built
Result: 1/4 PASS – 1 failed, 2 not built (not counted as passed)
`,
  );
  assert.equal(run.exitCode, 1);
  assert(terminalReport(run, { colour: true }).includes("\x1b[32m✓\x1b[0m #1:"));
});

Deno.test("terminalReport() names the metrics behind the first that are missed", async () => {
  const metrics = { ...FAST, oneThread: 2e6, workers: 8.2e6, wrongPages: 3 };
  const run = await report([validator(5, () => ({ metrics, samples: 1 }))], { only: [5] });
  assert.equal(
    lineOf(run, 5),
    "✗ #5:  Throughput (workers: 8.2M/sec, target: 10M/sec; " +
      "pages unlike the reference fold: 3, target: 0)  ← NEEDS WORK",
  );
});

Deno.test("runBenchmarks() ends with 0 where all that is built passes, and says what is not", async () => {
  const run = await report([validator(1, () => REPLAY)]);
  assert.equal(run.exitCode, 0);
  assert.match(terminalReport(run), /^Result: 1\/10 PASS – 9 not built .*exit code 0$/m);
});

Deno.test("runBenchmarks() ends with 2 where nothing was checked", async () => {
  const run = await report([validator(1, () => REPLAY)], { only: [3] });
  assert.equal(run.exitCode, 2);
  assert.match(terminalReport(run), /^Result: 0\/1 PASS – 1 not built .*nothing was checked$/m);
});

Deno.test("runBenchmarks() refuses an id that the targets lack", async () => {
  await assert.rejects(report([], { only: [1, 11] }), { code: "usage", message: /validator 11/ });
});

Deno.test("runBenchmarks() fails a figure that is missing, NaN or infinite, and an empty measurement", async () => {
  const wrong: [Measured, RegExp][] = [
    [
      { ...REPLAY, metrics: { ...REPLAY.metrics, formsAgreed: undefined! } },
      /forms that agreed: not measured/,
    ],
    [{ ...REPLAY, metrics: { ...REPLAY.metrics, divergence: NaN } }, /\(NaN, target: 1e-9\)/],
    [
      { ...REPLAY, metrics: { ...REPLAY.metrics, cycles: Infinity } },
      /cycles: Infinity, target: 1000/,
    ],
    [{ ...REPLAY, samples: 0 }, /it measured nothing: 0 samples/],
    // A reason counts for a user's directory only.
    [
      {
        metrics: {},
        samples: 1,
        unmeasured: Object.fromEntries(Object.keys(REPLAY.metrics).map((name) => [name, "x"])),
      },
      /not/,
    ],
  ];
  for (const [measured, message] of wrong) {
    const run = await report([validator(1, () => measured)], { only: [1] });
    assert.equal(run.exitCode, 1);
    assert.match(lineOf(run, 1), message);
  }
});

Deno.test("runBenchmarks() fails a validator that throws, or has an error on the side, and goes on", async () => {
  const run = await report([
    validator(1, () => {
      throw new MmsbError("corrupt-log", "Cannot read frame 7:\n\x1b[31mits checksum differs");
    }),
    validator(2, async () => {
      Promise.reject(new TypeError("x is undefined"));
      return await Promise.resolve({ ...REPLAY });
    }),
    validator(3, () => {
      setTimeout(() => {
        throw new Error("in a timer");
      });
      return new Promise(() => {});
    }),
    validator(4, () => ({ metrics: PURE, samples: 1 })),
  ], { only: [1, 2, 3, 4] });
  assert.match(lineOf(run, 1), /\(corrupt-log: Cannot read frame 7: \[31mits checksum differs\)/);
  assert.match(lineOf(run, 2), /\(TypeError: x is undefined\)/);
  assert.match(lineOf(run, 3), /\(Error: in a timer\)/);
  assert.match(lineOf(run, 4), /^✓ #4: {2}Purity \(side effects: 0, results that agree: 100%\)$/);
  // Damage of a workload of its own is a failed check, not damaged data.
  assert.equal(run.exitCode, 1);
});

Deno.test("runBenchmarks() on a user's directory skips, excuses, and ends with 3 on damage", async () => {
  const directory = "/data";
  const metrics = { validPercent: 100, orphans: 0 };
  const unmeasured = { plantedFound: "nothing is planted in a user's data" };
  const integrity = validator(2, () => ({ metrics, samples: 10, unmeasured }));
  const skipped = validator(
    5,
    () => assert.fail("not to be run"),
    "it needs a workload of its own",
  );
  const run = await report([integrity, skipped], { directory, only: [2, 5] });
  assert.equal(run.exitCode, 0);
  assert.match(lineOf(run, 2), /^✓ #2: {2}Integrity \(valid: 100%, orphans: 0\)$/);
  assert.match(lineOf(run, 5), /^– #5: {2}Throughput – skipped: it needs a workload of its own$/);

  const thrown = validator(1, () => {
    throw new MmsbError("corrupt-log", "Cannot read lane-00/00000001.log");
  });
  const told = validator(2, () => ({ metrics, samples: 10, damage: "a frame is torn" }));
  for (const damaged of [thrown, told]) {
    assert.equal((await report([damaged], { directory })).exitCode, 3);
  }
});

Deno.test("runBenchmarks() begins again where files of the directory were dropped meanwhile", async () => {
  const directory = await Deno.makeTempDir(), damage = "a segment is missing";
  const pathOf = (segment: number) => `${directory}/lane-00/000000000${segment}.log`;
  const clean = {
    metrics: { validPercent: 100, orphans: 0 },
    samples: 1,
    unmeasured: { plantedFound: "nothing is planted" },
  };
  /** Runs a validator under which so many first segments are dropped, the next one standing there. */
  const run = async (drops: number) => {
    let tries = 0;
    await Deno.mkdir(`${directory}/lane-00`, { recursive: true });
    Deno.writeTextFileSync(pathOf(1), "");
    const looking = validator(2, () => {
      if (++tries > drops) return drops < 0 ? { ...clean, damage } : clean;
      Deno.removeSync(pathOf(tries));
      Deno.writeTextFileSync(pathOf(tries + 1), "");
      if (tries % 2 === 0) throw new MmsbError("corrupt-log", damage);
      return { ...clean, damage };
    });
    const result = await report([looking], { directory, only: [2] });
    await Deno.remove(`${directory}/lane-00`, { recursive: true });
    return { ...result, tries };
  };
  try {
    // Where nothing is dropped, damage is damage at once.
    assert.deepEqual(await run(-1).then(({ exitCode, tries }) => [exitCode, tries]), [3, 1]);
    assert.deepEqual(await run(0).then(({ exitCode, tries }) => [exitCode, tries]), [0, 1]);
    assert.deepEqual(await run(3).then(({ exitCode, tries }) => [exitCode, tries]), [0, 4]);
    const { benchmarks: [never], exitCode } = await run(8);
    assert.deepEqual([never.status, exitCode], ["skipped", 2]);
    assert.match(never.reason!, /validate it while less goes on/);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("runBenchmarks() compares a quick run with its quick targets", async () => {
  const metrics = { ...REPLAY.metrics, cycles: 50 };
  const run = await report([validator(1, ({ quick }) => ({ metrics, samples: quick ? 50 : 0 }))], {
    quick: true,
    only: [1],
  });
  assert.equal(run.exitCode, 0);
  assert.equal(run.benchmarks[0].verdicts[1].target, 50);
  assert.equal(run.benchmarks[0].verdicts[1].goalMet, false);
  assert.match(terminalReport(run), /Quick run/);
});

Deno.test("runBenchmarks() tells its progress with the benchmark's name", async () => {
  const texts: string[] = [];
  const talker = validator(1, (context) => {
    context.progress(`seed ${context.seed}`);
    return REPLAY;
  });
  await report([talker], { seed: 7, progress: (text) => texts.push(text) });
  assert.deepEqual(texts, ["#1 Replay …", "#1 Replay: seed 7"]);
});

Deno.test("holds() holds for no figure that is not finite", () => {
  for (const value of [NaN, Infinity, -Infinity]) {
    for (const comparison of ["<", "<=", "==", ">=", ">"] as const) {
      assert.equal(holds(value, comparison, value), false);
      assert.equal(holds(value, comparison, 0), false);
    }
  }
  assert.deepEqual([holds(1, "<", 1), holds(1, "<=", 1), holds(1, "==", 1)], [false, true, true]);
  assert.deepEqual([holds(1, ">", 1), holds(1, ">=", 1), holds(2, "==", 1)], [false, true, false]);
});

Deno.test("formatFigure() writes figures for people", () => {
  const cases = [
    [0, "number", "0"],
    [1e-9, "number", "1e-9"],
    [1000, "number", "1000"],
    [10_000_000, "number", "10,000,000"],
    [3.14159, "number", "3.14"],
    [99.96, "%", "100%"],
    [1e6, "/sec", "1M/sec"],
    [12_345_678, "/sec", "12.3M/sec"],
    [999_600, "/sec", "1M/sec"],
    [12, "/sec", "12/sec"],
    [0.00412, "ms", "0.00412 ms"],
    [1072.6, "bytes", "1073 B"],
    [1040, "bytes", "1040 B"],
    [2 ** 30, "bytes", "1 GiB"],
    [NaN, "ms", "NaN"],
  ] as const;
  for (const [value, unit, text] of cases) assert.equal(formatFigure(value, unit), text);
});

Deno.test("reports print no figure on the other side of its target", async () => {
  const near: [number, number, string][] = [
    [5, 999_999.6, "999.9996K/sec, target: 1M/sec"],
    [6, 15.9999, "mean: 15.9999 ms"],
    [7, 1073.4, "1073.4 B, target: 1073 B"],
    [2, 99.9999, "99.9999%, target: 100%"],
  ];
  const { benchmarks } = await loadTargets();
  for (const [id, value, text] of near) {
    const { metrics } = benchmarks[id - 1];
    const measured = Object.fromEntries(
      metrics.map((metric, index) => [metric.name, index === 0 ? value : metric.goal.value]),
    );
    const run = await report([validator(id, () => ({ metrics: measured, samples: 1 }))], {
      only: [id],
    });
    assert(lineOf(run, id).includes(text), lineOf(run, id));
  }
});

Deno.test("judge() keeps the figure that it compared", async () => {
  const { benchmarks: [{ metrics: [divergence] }] } = await loadTargets();
  const verdict = judge(divergence, 5e-10);
  assert.deepEqual(
    [verdict.value, verdict.verdict, verdict.goalMet, verdict.target],
    [5e-10, "met", false, 1e-9],
  );
});

Deno.test("jsonReport() has everything, and NaN by its name", async () => {
  const measured = { ...REPLAY, metrics: { ...REPLAY.metrics, divergence: NaN, extra: 1 } };
  const run = await report([
    validator(1, () => ({ ...measured, notes: ["small log"], durability: "group" })),
  ], { seed: 7 });
  const result = JSON.parse(jsonReport(run, describeMachine()));
  assert.equal(result.format, 1);
  assert.equal(result.machine.versions.deno, Deno.version.deno);
  assert.equal(result.machine.cores, navigator.hardwareConcurrency);
  assert.deepEqual(result.durability, ["group"]);
  assert.equal(result.seed, 7);
  assert.deepEqual(result.counts, { total: 10, passed: 0, failed: 1, notBuilt: 9, skipped: 0 });
  const [replay, integrity] = result.benchmarks;
  assert.equal(replay.status, "failed");
  assert.deepEqual(replay.metrics, { ...REPLAY.metrics, divergence: "NaN", extra: 1 });
  assert.deepEqual([replay.samples, replay.notes], [1000, ["small log"]]);
  assert.equal(replay.verdicts[0].value, "NaN");
  assert.equal(integrity.status, "not built");
});

Deno.test("junitReport() escapes, and counts what did not run as skipped", async () => {
  const run = await report([
    validator(1, () => {
      throw new Error(`<a & "b">\x00\n]]>`);
    }),
    validator(4, () => ({ metrics: PURE, samples: 1 })),
  ]);
  const xml = junitReport(run);
  assert.match(xml, /tests="10" failures="1" errors="0" skipped="8"/);
  assert.match(
    xml,
    /<failure message="Error: &lt;a &amp; &quot;b&quot;&gt; \]\]&gt;" type="error">/,
  );
  assert.match(xml, /name="#3 Graph" time="0\.000">\n\s+<skipped message="not built"\/>/);
  assert.equal(xml.match(/<testcase/g)?.length, 10);
  // What is left once tags are taken away has no bare markup.
  assert.doesNotMatch(xml.replace(/<[?/]?\w[^<>]*>/g, ""), /[<>]|&(?!\w+;|#\d+;)/);
});

Deno.test("markdownReport() keeps every cell in its column", async () => {
  const { benchmarks: [replay, ...rest] } = await loadTargets();
  const run = await report([validator(1, () => ({ ...REPLAY, notes: ["<b>\n| x"] }))], {
    targets: { format: 1, benchmarks: [{ ...replay, name: "Re|play <b>\nx" }, ...rest] },
    only: [1, 3],
  });
  const rows = markdownReport(run).split("\n").filter((line) => line.startsWith("|"));
  assert.match(markdownReport(run), /^- #1: &lt;b&gt; \\\| x$/m);
  assert.equal(rows.length, 2 + 7 + 1);
  for (const row of rows) assert.equal(row.match(/(?<!\\)\|/g)?.length, 8, row);
  assert.match(
    rows[2],
    /✓ 1 \| Re\\\|play &lt;b&gt;<br>x \| divergence \| 0 \| &lt; 1e-9 \| == 0 \|/,
  );
});

Deno.test("writeResults() writes the latest and the history, and warns on a read-only folder", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const written = await writeResults(`${folder}/results`, "{}\n", new Date(0));
    assert.deepEqual(written.paths, [
      `${folder}/results/history/1970-01-01T00-00-00.000Z.json`,
      `${folder}/results/latest.json`,
    ]);
    for (const path of written.paths) assert.equal(await Deno.readTextFile(path), "{}\n");

    await Deno.writeTextFile(`${folder}/file`, "");
    await assert.rejects(writeResults(`${folder}/file`, "{}", new Date(0)), { code: "io" });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test({
  name: "writeResults() warns where there is no permission to write",
  permissions: { read: true, write: false },
  fn: async () => {
    const { paths, warning } = await writeResults("/nowhere", "{}", new Date(0));
    assert.deepEqual(paths, []);
    assert.match(warning ?? "", /^Results are not kept as "\/nowhere" cannot be written: /);
  },
});

Deno.test("Progress writes over one line on a terminal, cut to its width", () => {
  let [time, shown] = [0, ""];
  const progress = new Progress({
    write: (text) => shown += text,
    terminal: true,
    columns: () => 12,
    now: () => time,
  });
  progress.update("one\ntwo");
  progress.update("dropped");
  time = 1000;
  progress.update("a text that is too long");
  progress.clear();
  progress.clear();
  assert.equal(shown, "\r\x1b[Kone two\r\x1b[Ka text tha…\r\x1b[K");
});
