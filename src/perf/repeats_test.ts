import assert from "node:assert/strict";
import fc from "fast-check";
import type { Measured, Validator } from "../validators/validator.ts";
import { holds, isFailure } from "./judge.ts";
import { runBenchmarks, type RunReport } from "./runner.ts";
import { isTimed, loadTargets, type Targets } from "./targets.ts";

const TARGETS: Targets = {
  format: 1,
  benchmarks: [{
    id: 1,
    name: "One",
    description: "All kinds of metrics",
    metrics: [
      { name: "ms", label: "time", unit: "ms", comparison: "<" },
      { name: "rate", label: "rate", unit: "/sec", comparison: ">=" },
      { name: "count", label: "count", unit: "number", comparison: "==" },
      { name: "share", label: "share", unit: "%", comparison: ">=" },
      { name: "grown", label: "grown", unit: "bytes", comparison: "==" },
      { name: "depth", label: "depth", unit: "number", comparison: "<" },
    ].map((metric) => ({
      ...metric,
      target: 50,
      goal: { comparison: metric.comparison, value: 50 },
    })) as unknown as Targets["benchmarks"][0]["metrics"],
  }],
};

/** Runs a validator that gives these figures, one after another. */
async function repeat(
  figures: readonly Record<string, number>[],
  more?: (repeat: number) => Partial<Measured>,
  progress?: (text: string) => void,
): Promise<RunReport> {
  let next = 0;
  const one: Validator = {
    id: 1,
    name: "One",
    run: async (context) => {
      context.progress("half");
      const index = next++;
      return { metrics: figures[index], samples: 10, notes: [`note ${index}`], ...more?.(index) };
    },
  };
  return await runBenchmarks({
    validators: [one],
    targets: TARGETS,
    repeats: figures.length,
    startedAt: new Date(0),
    progress,
  });
}

const figure = fc.integer({ min: 0, max: 100 });
const run = fc.record({
  ms: figure,
  rate: figure,
  count: fc.constantFrom(50, 50, 49, 52),
  share: figure,
  grown: fc.constantFrom(50, 50, 48),
  depth: figure,
});

Deno.test("runBenchmarks() judges the median of timed figures and the worst of all else", async () => {
  const { metrics } = TARGETS.benchmarks[0];
  await fc.assert(fc.asyncProperty(
    fc.array(run, { minLength: 2, maxLength: 7 }),
    async (runs) => {
      const { benchmarks: [result], repeats } = await repeat(runs);
      assert.equal(repeats, runs.length);
      assert.deepEqual(result.runs, runs);
      assert.equal(result.samples, 10 * runs.length);
      for (const [index, metric] of metrics.entries()) {
        const figures = runs.map((one) => one[metric.name as keyof typeof one]);
        const met = figures.filter((value) => holds(value, metric.comparison, metric.target));
        const verdict = result.verdicts[index];
        assert.equal(verdict.value, result.metrics[metric.name]);
        // All else: one bad run fails. Timed: the lesser part never decides.
        if (!isTimed(metric)) assert.equal(isFailure(verdict), met.length < runs.length);
        else if (met.length * 2 > runs.length) assert(!isFailure(verdict));
        else if (met.length * 2 < runs.length) assert(isFailure(verdict));
      }
    },
  ));
});

Deno.test("runBenchmarks() says which repeat runs, and how far the runs lie apart", async () => {
  const good = { ms: 10, rate: 60, count: 50, share: 50, grown: 50, depth: 4 };
  const said: string[] = [];
  const report = await repeat(
    [good, { ...good, ms: 30 }, { ...good, ms: 11 }],
    undefined,
    (text) => said.push(text),
  );
  assert(said.includes("#1 One: repeat 2 of 3, half"), said.join("|"));
  const [{ metrics, notes }] = report.benchmarks;
  assert.equal(metrics.ms, 11);
  assert.deepEqual(notes, [
    "3 repeats: medians of what is timed, the worst of all else; time 10 ms to 30 ms, " +
    "rate 60/sec to 60/sec",
    "note 2",
  ]);
  const once: string[] = [];
  await repeat([good], undefined, (text) => once.push(text));
  assert(once.includes("#1 One: half"), once.join("|"));
});

Deno.test("runBenchmarks() fails where one repeat breaks off, measures nothing or leaves a figure out", async () => {
  const good = { ms: 10, rate: 60, count: 50, share: 50, grown: 50, depth: 4 };
  const broken = await repeat([good, good, good], (index) => {
    if (index === 1) throw new TypeError("x is undefined");
    return {};
  });
  assert.equal(broken.benchmarks[0].reason, "TypeError: x is undefined");
  assert.deepEqual(broken.benchmarks[0].runs, [good]);
  const empty = await repeat([good, good], (index) => ({ samples: index }));
  assert.match(empty.benchmarks[0].reason ?? "", /measured nothing: 0 samples/);
  const { depth: _, ...less } = good;
  const [{ verdicts, status }] = (await repeat([good, less])).benchmarks;
  assert.deepEqual([verdicts[5].verdict, status], ["not measured", "failed"]);
  const [{ metrics }] = (await repeat([good, { ...good, depth: NaN }])).benchmarks;
  assert(Number.isNaN(metrics.depth));
});

Deno.test("runBenchmarks() fails where a planted fault is not found in one repeat", async () => {
  const good = { ms: 10, rate: 60, count: 50, share: 50, grown: 50, depth: 4 };
  const planted = (found: (repeat: number) => boolean) => (index: number) => ({
    planted: [{ id: "flipped-byte", found: true }, { id: "cut-frame", found: found(index) }],
  });
  const missed = (await repeat([good, good], planted((index) => index === 1))).benchmarks[0];
  assert.equal(missed.status, "failed");
  assert.equal(missed.reason, "planted and not found: cut-frame");
  assert.deepEqual(missed.planted, [
    { id: "flipped-byte", found: true },
    { id: "cut-frame", found: false },
  ]);
  const found = (await repeat([good, good], planted(() => true))).benchmarks[0];
  assert.equal(found.status, "passed");
  assert.equal((await repeat([good])).benchmarks[0].planted, undefined);
});

Deno.test("runBenchmarks() refuses what is no number of repeats", async () => {
  const targets = await loadTargets();
  for (const repeats of [0, -1, 1.5, NaN, 1001, "2" as unknown as number]) {
    await assert.rejects(
      runBenchmarks({ validators: [], targets, repeats, startedAt: new Date(0) }),
      { name: "MmsbError", message: /repeats/ },
    );
  }
});
