import assert from "node:assert/strict";
import fc from "fast-check";
import { compareSides } from "./compare.ts";
import type { FigureComparison } from "./compare_figure.ts";
import { noiseOf, noiseOfRanges } from "./noise.ts";
import { comparisonJson, comparisonText } from "./report_compare.ts";
import type { Direction, RunGroup, Series, Side } from "./series.ts";
import { medianOf } from "./statistics.ts";

/** Uniform numbers in [0, 1) from a seed: xorshift of 32 bits (Marsaglia, 2003). */
function uniform(seed: number): () => number {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Runs of a figure around 100: normal noise, and now and then a run that was disturbed. */
function runs(count: number, noise: number, random: () => number, factor = 1): number[] {
  return Array.from({ length: count }, () => {
    // Box and Muller.
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    const disturbed = random() < 0.05 ? 30 * random() : 0;
    return factor * (100 + 100 * noise * normal + disturbed);
  });
}

function series(figures: readonly number[], more: Partial<Series> = {}): Series {
  return {
    key: "5.x",
    group: "#5 Throughput",
    label: "x",
    unit: "ms",
    direction: "less",
    steadiness: "noisy",
    machineBound: true,
    figures,
    ...more,
  };
}

function group(all: readonly Series[], more: Partial<RunGroup> = {}): RunGroup {
  return {
    machine: "P, 2 cores, linux x86_64",
    work: "full run",
    files: 1,
    series: new Map(all.map((one) => [one.key, one])),
    failures: new Map(),
    ...more,
  };
}

function side(groups: readonly RunGroup[], more: Partial<Side> = {}): Side {
  return { path: "x.json", kind: "validation", groups, ...more };
}

function compareOne(a: Series, b: Series): FigureComparison {
  return compareSides(side([group([a])]), side([group([b])])).figures[0];
}

Deno.test("compareSides() finds no regression in the same distribution, trial after trial", () => {
  for (const [count, noise] of [[2, 0.1], [3, 0.1], [5, 0.03], [5, 0.1], [10, 0.2], [2, 0.3]]) {
    for (let seed = 1; seed <= 200; seed++) {
      const random = uniform(seed);
      const [a, b] = [runs(count, noise, random), runs(count, noise, random)];
      const { isRegression } = compareOne(series(a), series(b));
      assert(!isRegression, `seed ${seed}, ${count} runs of ${100 * noise} %: ${a} | ${b}`);
    }
  }
});

Deno.test("compareSides() finds a shift of 20 % past small noise, in both directions", () => {
  for (const [count, noise] of [[3, 0.005], [5, 0.02], [10, 0.04]]) {
    let found = 0;
    for (let seed = 1; seed <= 100; seed++) {
      const random = uniform(seed);
      const before = runs(count, noise, random);
      const after = runs(count, noise, random, 1.2);
      const worse = compareOne(series(before), series(after));
      const better = compareOne(series(before, { direction: "more" }), {
        ...series(after),
        direction: "more",
      });
      assert.notEqual(worse.verdict, "better");
      assert.equal(worse.verdict === "worse", better.verdict === "better");
      if (worse.isRegression) found++;
    }
    assert(found >= 85, `${found} of 100 with ${count} runs of ${100 * noise} %`);
  }
});

Deno.test("compareSides() takes a shift of 20 % for noise where the noise is wide", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = uniform(seed);
    const b = series(runs(5, 0.2, random, 1.2));
    const { isRegression } = compareOne(series(runs(5, 0.2, random)), b);
    assert(!isRegression, `seed ${seed}`);
  }
});

Deno.test("compareSides() says so of one run, and counts its change past the tolerance only", () => {
  const near = compareOne(series([100]), series([124]));
  assert.deepEqual([near.verdict, near.reason], ["within noise", "one run: noise unknown"]);
  assert.equal(near.noisePercent, 25);
  const far = compareOne(series([100]), series([126]));
  assert.deepEqual([far.verdict, far.isRegression, far.changePercent], ["worse", true, 26]);
  // A size in memory hardly varies.
  const size = { unit: "bytes", machineBound: false } as const;
  assert.equal(compareOne(series([1000], size), series([1049], size)).verdict, "within noise");
  assert.equal(compareOne(series([1000], size), series([1051], size)).verdict, "worse");
});

Deno.test("compareSides() compares counts exactly, by the worst of the runs", () => {
  const exact = (figures: number[], direction: Direction): Series =>
    series(figures, { unit: "number", steadiness: "exact", machineBound: false, direction });
  const zero = { exactly: 0 };
  const cases: [Series, Series, string, boolean][] = [
    [exact([0, 0], zero), exact([0], zero), "equal", false],
    [exact([0], zero), exact([0, 0, 1], zero), "worse", true],
    [exact([100], zero), exact([101], zero), "worse", true],
    [exact([2], zero), exact([1], zero), "better", false],
    [exact([0], zero), exact([NaN], zero), "worse", true],
    [exact([1000], "more"), exact([950], "more"), "worse", false],
    [exact([1000], "more"), exact([899], "more"), "worse", true],
    [exact([1000], "more"), exact([1000, 800], "more"), "worse", true],
    [exact([31], "less"), exact([30], "less"), "better", false],
    [exact([0], "less"), exact([1], "less"), "worse", true],
    [exact([5], "unknown"), exact([9], "unknown"), "changed", false],
  ];
  for (const [a, b, verdict, isRegression] of cases) {
    const figure = compareOne(a, b);
    assert.deepEqual(
      [figure.verdict, figure.isRegression],
      [verdict, isRegression],
      `${b.figures}`,
    );
  }
});

Deno.test("compareSides() does not compare times of another machine, nor other work, and says why", () => {
  const time = series([100]);
  const count = series([0], {
    key: "5.count",
    unit: "number",
    steadiness: "exact",
    machineBound: false,
    direction: { exactly: 0 },
  });
  const other = group([series([900]), { ...count, figures: [3] }], { machine: "Q, 64 cores" });
  const machines = compareSides(side([group([time, count])]), side([other]));
  assert.deepEqual(
    machines.figures.map(({ verdict, reason }) => [verdict, reason]),
    [["not comparable", "another kind of machine"], ["worse", undefined]],
  );
  assert.equal(machines.regressions, 1);
  const quick = group([series([900]), count], { work: "quick run" });
  const works = compareSides(side([group([time, count])]), side([quick]));
  for (const { verdict, reason } of works.figures) {
    assert.deepEqual([verdict, reason], ["not comparable", "full run against quick run"]);
  }
  assert.equal(works.regressions, 0);
});

Deno.test("compareSides() takes the runs of one kind out of a folder, and counts what it left out", () => {
  const mixed = side([
    group([series([1])], { work: "quick run", files: 3 }),
    group([series([100])], { machine: "Q", files: 2 }),
    group([series([100, 101, 102])], { files: 3 }),
  ]);
  const { a, figures: [figure] } = compareSides(mixed, side([group([series([100])])]));
  assert.deepEqual([a.files, a.filesLeftOut], [3, 5]);
  assert.deepEqual(figure.a, { figure: 101, least: 100, most: 102, runs: 3 });
});

Deno.test("compareSides() reports a validator that broke off, and new figures that miss", () => {
  const b = group(
    [series([1], { key: "5.new", steadiness: "exact", isMissed: true, label: "new" })],
    { failures: new Map([[5, "TypeError: x is undefined"]]) },
  );
  const { figures, regressions } = compareSides(side([group([series([100])])]), side([b]));
  assert.deepEqual(figures.map(({ verdict, isRegression }) => [verdict, isRegression]), [
    ["only in A", false],
    ["only in B", true],
    ["worse", true],
  ]);
  assert.equal(regressions, 2);
  const already = group([], { failures: new Map([[5, "TypeError: x is undefined"]]) });
  assert.equal(compareSides(side([already]), side([already])).regressions, 0);
});

Deno.test("compareSides() with a baseline's rules fails a time only by its factor and past its goal", () => {
  const rules = { thresholdPercent: 10, timesFactor: 2, everyFigure: true };
  const goal = { comparison: "<", value: 250 } as const;
  const fails = (b: Series): boolean =>
    compareSides(side([group([series([100])])], { rules }), side([group([b])])).regressions > 0;
  assert(!fails(series([190])));
  assert(fails(series([210])));
  assert(!fails(series([210], { goal })));
  assert(fails(series([260], { goal })));
  const isBusy = (othersPercent?: number): boolean =>
    compareSides(
      side([group([series([100])])], { rules: { ...rules, othersPercentMax: 10 } }),
      side([group([series([900])], { othersPercent })]),
    ).regressions === 0;
  assert.deepEqual([isBusy(9), isBusy(11), isBusy(undefined)], [false, true, true]);
  assert(fails(series([100], { key: "5.y" })), "a figure that is no longer measured");
});

Deno.test("noiseOfRanges() is what lies between ranges that overlap", () => {
  const at = (median: number, least: number, most: number, rounds = 7) => ({
    median,
    least,
    most,
    rounds,
  });
  assert(!noiseOfRanges(at(1, 0.9, 1.1), at(0.8, 0.75, 0.85, 4)).isKnown);
  const apart = noiseOfRanges(at(1, 0.9, 1.1), at(0.8, 0.75, 0.85));
  assert(apart.isKnown && apart.distance < 0.2);
  assert(noiseOfRanges(at(1, 0.8, 1.1), at(0.8, 0.75, 0.85)).distance > 0.2);
  assert.equal(noiseOfRanges(at(1, 1, 1), at(0.8, 0.8, 0.8)).isKnown, false);
});

Deno.test("noiseOf() grows with the figures and is the same from both sides", () => {
  const figures = fc.array(fc.double({ min: 1, max: 1e6, noNaN: true }), {
    minLength: 2,
    maxLength: 12,
  });
  fc.assert(fc.property(figures, figures, (a, b) => {
    const { distance } = noiseOf(a, b);
    assert(distance >= 0 && Number.isFinite(distance));
    assert.equal(noiseOf(b, a).distance, distance);
    const doubled = noiseOf(a.map((x) => 2 * x), b.map((x) => 2 * x)).distance;
    assert(Math.abs(doubled - 2 * distance) <= 1e-9 * doubled);
  }));
});

Deno.test("medianOf() is the middle of the sorted figures", () => {
  fc.assert(fc.property(fc.array(fc.integer(), { minLength: 1 }), (figures) => {
    const median = medianOf(figures);
    assert(figures.filter((x) => x < median).length <= figures.length / 2);
    assert(figures.filter((x) => x > median).length <= figures.length / 2);
  }));
  assert(Number.isNaN(medianOf([1, NaN, 3])));
});

Deno.test("comparisonText() is a table by benchmark with a closing line", () => {
  const a = group([
    series([100, 101, 99, 100, 102], { label: "workers", unit: "/sec", direction: "more" }),
    series([1, 1.01, 0.99], { key: "5.y", label: "one\nthread" }),
    series([0], { key: "5.z", steadiness: "exact", direction: { exactly: 0 } }),
    series([7], { key: "6.z", group: "#6 Tick", steadiness: "exact" }),
  ]);
  const b = group([
    series([80, 81, 79, 80, 82], { label: "workers", unit: "/sec", direction: "more" }),
    series([1, 1.02, 0.98], { key: "5.y", label: "one\nthread" }),
    series([0], { key: "5.z", steadiness: "exact", direction: { exactly: 0 } }),
  ]);
  const report = compareSides(side([a], { path: "before.json" }), side([b], { path: "b.json" }));
  assert.equal(
    comparisonText(report),
    `A  before.json  full run on P, 2 cores, linux x86_64
B  b.json       full run on P, 2 cores, linux x86_64

#5 Throughput            A           B   change    noise
✗ workers          100/sec      80/sec     -20%    ±5.9%  worse
  one thread          1 ms        1 ms       0%     ±20%  within noise
  1 equal
#6 Tick
  all 1 only in A

Result: 1 regression – 1 worse, 1 within noise, 1 equal, 1 only in A
`,
  );
  assert(comparisonText(report, { colour: true }).includes("\x1b[31m✗ workers"));
  const json = JSON.parse(comparisonJson(report));
  assert.equal(json.kind, "mmsb-comparison");
  assert.deepEqual(json.counts, { worse: 1, "within noise": 1, equal: 1, "only in A": 1 });
  assert.equal(json.figures[0].changePercent, -20);
});
