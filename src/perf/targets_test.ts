import assert from "node:assert/strict";
import { lineOfSyntaxFault, linesOfPaths } from "./_json_lines.ts";
import { suggest } from "./suggest.ts";
import { loadTargets, parseTargets } from "./targets.ts";

const GOOD = `{
  "format": 1,
  "benchmarks": [
    {
      "id": 1, "name": "Replay", "description": "Same log, same bytes",
      "metrics": [
        {
          "name": "divergence", "label": "divergence", "unit": "number",
          "comparison": "<",
          "target": 1e-9,
          "goal": { "comparison": "==", "value": 0 }
        }
      ]
    }
  ]
}`;

/** Texts that replace another in the good file, and what the refusal must say. */
const WRONG: readonly (readonly [string, string, RegExp])[] = [
  [`"format": 1`, `"format": 2`, /line 2, format is 2: this version .* reads format 1, so use a/],
  [`"format": 1`, `"format": 0`, /line 2, format is 0: write 1, the only format there is/],
  [`"comparison": "<",`, `"comparison": "≥",`, /line 9, benchmarks\[0\]\.metrics\[0\]\.comparison/],
  [`"target": 1e-9`, `"target": "1e-9"`, /line 10, .*\.target is "1e-9": give a number/],
  [`"target": 1e-9,`, ``, /line 7, .*\.target is missing/],
  [`"target": 1e-9`, `"taget": 1, "target": 1e-9`, /line 10, .*\.taget .*: write "target"/],
  [`"target": 1e-9`, `"ok": 1, "target": 1e-9`, /\.ok .*: leave it out, the fields here are name,/],
  [`"unit": "number"`, `"unit": "hours"`, /\.unit is "hours": give one of "number", "%"/],
  [`"value": 0`, `"value": 1e-9`, /line 11, .*\.goal is "== 1e-9": .* as strict as .*< 1e-9/],
  [`"comparison": "==", "value": 0`, `"comparison": ">", "value": 0`, /\.goal is "> 0"/],
  [`"value": 0`, `"value": null`, /\.goal\.value is null/],
  [`"id": 1`, `"id": 0`, /line 5, benchmarks\[0\]\.id is 0: give an integer from 1/],
  [`"name": "Replay"`, `"name": " "`, /\.name is " ": give a text that is not empty/],
  [`"format": 1,`, `"format": 1`, /is no JSON from line 3 on: /],
  [`"metrics": [`, `"metrics": [,`, /is no JSON from line 6 on: /],
  [`"label": "divergence"`, `"label": "divergence`, /is no JSON from line 8 on: /],
  [`"target": 1e-9`, `"target": NaN`, /is no JSON from line 10 on: /],
  [`"target": 1e-9`, `"target": 1e999`, /line 10, .*\.target is null: give a number/],
  [`"target": 1e-9`, `"target": 1e-9, "target": 2`, /line 10, .*\.target is given twice/],
  [`"id": 1`, `"id": 1, "id": 2`, /line 5, benchmarks\[0\]\.id is given twice: leave one out/],
  [`"format": 1`, `"$schema": 7, "format": 1`, /line 2, \$schema is 7: give a text/],
  [`"format": 1,`, ``, /line 1, format is missing: add it/],
];

Deno.test("parseTargets() takes a good file", () => {
  const { benchmarks: [replay] } = parseTargets(GOOD, "mine.json");
  assert.equal(replay.metrics[0].target, 1e-9);
  assert.deepEqual(replay.metrics[0].goal, { comparison: "==", value: 0 });
});

for (const [part, replacement, message] of WRONG) {
  Deno.test(`parseTargets() refuses ${replacement || `a file without ${part}`}`, () => {
    const text = GOOD.replace(part, replacement);
    assert.notEqual(text, GOOD);
    assert.throws(() => parseTargets(text, "mine.json"), { code: "usage", message });
    assert.throws(() => parseTargets(text, "mine.json"), { message: /"mine\.json"/ });
  });
}

Deno.test("parseTargets() refuses lists, empty lists, and ids and names given twice", () => {
  const parsed = JSON.parse(GOOD);
  const [benchmark] = parsed.benchmarks;
  const [metric] = benchmark.metrics;
  const cases: [unknown, RegExp][] = [
    [[], /the whole is \[\]: give an object with format, benchmarks/],
    [{ format: 1, benchmarks: [] }, /benchmarks is \[\]: give a list/],
    [{ format: 1, benchmarks: [benchmark, benchmark] }, /benchmarks\[1\]\.id is 1: .*higher/],
    [
      { format: 1, benchmarks: [{ ...benchmark, metrics: [metric, metric] }] },
      /metrics\[1\]\.name is "divergence": give each metric another name/,
    ],
  ];
  for (const [value, message] of cases) {
    assert.throws(() => parseTargets(JSON.stringify(value), "x"), { code: "usage", message });
  }
});

Deno.test("loadTargets() gives the ten built-in benchmarks, and the same from their file", async () => {
  const targets = await loadTargets();
  assert.deepEqual(targets.benchmarks.map(({ id }) => id), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  const path = new URL("../../benchmarks_targets.json", import.meta.url).pathname;
  assert.deepEqual(await loadTargets(path), targets);
});

Deno.test("loadTargets() names a file that does not exist", async () => {
  await assert.rejects(loadTargets("no/such.json"), {
    code: "usage",
    message: /Cannot read targets from "no\/such\.json"/,
  });
});

Deno.test("lineOfSyntaxFault() gives the line of the first token that cannot stand there", () => {
  const cases: [string, number][] = [
    [`{\n"a": 1,\n}`, 3],
    [`{\n"a" 1}`, 2],
    [`{\n"a": "\nb"}`, 2],
    [`[1,\n2\n3]`, 3],
    [`[1,\n'x']`, 2],
    [`{\n\n"a": [1}\n}`, 3],
    [`{\n"a": 01}`, 2],
    [`{\n"a": "\\x"}`, 2],
    [`{"a": {\n"b": 1\n\n`, 2],
    [`{}\n{}`, 2],
    [`# Targets\n`, 1],
    [``, 1],
  ];
  for (const [text, line] of cases) {
    assert.throws(() => JSON.parse(text), SyntaxError);
    assert.equal(lineOfSyntaxFault(text), line, text);
  }
});

Deno.test("loadTargets() refuses a folder and a file that is too large", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await assert.rejects(loadTargets(folder), { code: "usage", message: /it is a folder/ });
    await Deno.writeTextFile(`${folder}/large.json`, " ".repeat(2 ** 20 + 1));
    await assert.rejects(loadTargets(`${folder}/large.json`), { message: /has at most 1048576/ });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("linesOfPaths() follows brackets, commas and text with brackets in it", () => {
  const lines = linesOfPaths(`{"a": "x]},\\"",\n "b": [1,\n{"c": null}, []],\n\n"d": true}`);
  assert.deepEqual([...lines], [
    ["", 1],
    ["a", 1],
    ["b", 2],
    ["b[0]", 2],
    ["b[1]", 3],
    ["b[1].c", 3],
    ["b[2]", 3],
    ["d", 5],
  ]);
});

Deno.test("suggest() gives the nearest word, and none where none is near", () => {
  const known = ["validate", "doctor", "log", "log inspect"];
  assert.equal(suggest("valdiate", known), "validate");
  assert.equal(suggest("Doktor", known), "doctor");
  assert.equal(suggest("lgo", known), "log");
  assert.equal(suggest("compare", known), undefined);
});
