/**
 * Tests the code itself: what a reviewer would otherwise have to look for in every change.
 *
 * Each rule is a function of one file's path and text, working on the syntax tree that `deno lint`
 * gives to plugins, so that a comment or a string is never taken for code. Each rule is shown bad
 * and good texts first: a check that cannot fail proves nothing.
 */

import assert from "node:assert/strict";
import { dirname, join, normalize } from "node:path/posix";
import config from "./deno.json" with { type: "json" };

/** Folders of `src/`, lowest first: a file imports only from its own layer and from lower ones. */
const LAYERS = [
  "base",
  "temporal",
  "physical",
  "schema",
  "log",
  "graph",
  "propagation",
  "bus",
  "store",
  "timeline",
  "adaptive",
  "observe",
  "cluster",
  "validators",
  "perf",
  "evaluation",
  "cli",
];

/** The oracle of tests: stands below the validators and is seen by nothing that ships but them. */
const MODEL = "model";

/** Layers at the edge, which talk to the system themselves. */
const EDGE_LAYERS = ["cli", "perf", "validators"];

/** Where chance and the wall clock may be read; everywhere else they come in as parameters. */
const CLOCK_LAYERS = [...EDGE_LAYERS, "temporal"];

const CLOCK_READS = [
  "Date.now",
  "performance.now",
  "performance.timeOrigin",
  "process.hrtime",
  "Temporal.Now",
];
const CHANCE_READS = ["Math.random", "crypto.getRandomValues", "crypto.randomUUID"];

type Rule =
  | "any"
  | "chance"
  | "clock"
  | "console"
  | "deno"
  | "header"
  | "layer"
  | "model"
  | "package"
  | "private"
  | "remote"
  | "todo"
  | "ts-ignore";

interface Finding {
  readonly rule: Rule;
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

/** What the rules ask about a file, read off its path. */
interface FilePlace {
  readonly path: string;
  /** First folder under `src/`; none for a file elsewhere. */
  readonly layer: string | undefined;
  readonly isSource: boolean;
  readonly isTest: boolean;
  readonly isPlatform: boolean;
}

function placeOf(path: string): FilePlace {
  const parts = path.split("/");
  const name = parts[parts.length - 1];
  const isSource = parts[0] === "src";
  return {
    path,
    layer: isSource && parts.length > 2 ? parts[1] : undefined,
    isSource,
    isTest: name.endsWith("_test.ts") || parts.includes("testdata"),
    isPlatform: name === "_platform.ts",
  };
}

/** Checks one file; `path` is relative to the root, with forward slashes. */
function tidy(path: string, source: string): Finding[] {
  const place = placeOf(path);
  const findings: Finding[] = [];
  function report(rule: Rule, offset: number, message: string): void {
    findings.push({ rule, path, line: source.slice(0, offset).split("\n").length, message });
  }
  const specifier = (node: { value: unknown; range: [number, number] }): void => {
    for (const [rule, message] of specifierFaults(place, String(node.value))) {
      report(rule, node.range[0], message);
    }
  };
  const plugin: Deno.lint.Plugin = {
    name: "tidy",
    rules: {
      all: {
        create(context): Deno.lint.LintVisitor {
          checkHeader(place, source, report);
          checkComments(context.sourceCode.getAllComments(), report);
          return {
            ImportDeclaration: (node) => specifier(node.source),
            ExportAllDeclaration: (node) => specifier(node.source),
            ExportNamedDeclaration: (node) => {
              if (node.source) specifier(node.source);
            },
            ImportExpression: (node) => {
              if (node.source.type === "Literal") specifier(node.source);
            },
            NewExpression: (node) => {
              const [first, second] = node.arguments;
              // A worker or a rule module is reached by its URL, which is an import all the same.
              if (
                nameOf(node.callee) === "URL" && first?.type === "Literal" &&
                String(first.value).endsWith(".ts") && second?.type === "MemberExpression"
              ) specifier(first);
              if (nameOf(node.callee) === "Date" && node.arguments.length === 0) {
                checkRead(place, "new Date()", node.range[0], report);
              }
            },
            MemberExpression: (node) => {
              checkRead(place, `${nameOf(node.object)}.${nameOf(node)}`, node.range[0], report);
            },
            Identifier: (node) => {
              checkIdentifier(place, node.name, node.range[0], report);
            },
            TSAnyKeyword: (node) => {
              report(
                "any",
                node.range[0],
                "`any` switches the compiler off: use unknown or a type",
              );
            },
          };
        },
      },
    },
  };
  Deno.lint.runPlugin(plugin, path.endsWith(".ts") ? path : "file.ts", source);
  return findings;
}

type Report = (rule: Rule, offset: number, message: string) => void;

/** Last name of an expression: `random` of `globalThis.Math.random`, `x` of `x`. */
function nameOf(node: Deno.lint.Node): string {
  if (node.type === "Identifier") return node.name;
  if (node.type !== "MemberExpression") return "";
  if (node.computed && node.property.type !== "Literal") return "";
  return node.property.type === "Literal" ? String(node.property.value) : nameOf(node.property);
}

function checkHeader(place: FilePlace, source: string, report: Report): void {
  if (!place.isSource || place.isTest) return;
  const start = source.replace(/^#!.*\n/, "").replace(/^(\s*\/\/ deno-.*\n)+/, "").trimStart();
  const comment = /^(\/\*[^]*?\*\/|(\/\/.*\n)+)/.exec(start)?.[0] ?? "";
  if ((comment.match(/\p{L}{2,}/gu) ?? []).length < 5) {
    report("header", 0, "Open the file with a comment: what it is, why it is so, what it costs");
  }
}

function checkComments(comments: readonly Deno.lint.Node[], report: Report): void {
  for (const comment of comments) {
    if (comment.type !== "Line" && comment.type !== "Block") continue;
    for (const line of comment.value.split("\n")) {
      if (/\b(TODO|FIXME|XXX|HACK)\b/.test(line) && !/#\d+/.test(line)) {
        report("todo", comment.range[0], "Name the issue of what is to be done: TODO(#12)");
      }
      if (/@ts-(ignore|nocheck)\b/.test(line)) {
        report("ts-ignore", comment.range[0], "Use @ts-expect-error with the reason");
      }
    }
  }
}

function checkRead(place: FilePlace, read: string, offset: number, report: Report): void {
  if (!place.isSource || place.isPlatform || CLOCK_LAYERS.includes(place.layer ?? "")) return;
  if (CHANCE_READS.includes(read)) {
    report(
      "chance",
      offset,
      `Take chance as a parameter in place of ${read}: a seed replays a run`,
    );
  }
  if (!place.isTest && (CLOCK_READS.includes(read) || read === "new Date()")) {
    report("clock", offset, `Take time as a parameter in place of ${read}: a test steers it`);
  }
}

function checkIdentifier(place: FilePlace, name: string, offset: number, report: Report): void {
  if (!place.isSource || place.isTest || place.layer === "cli") return;
  if (name === "console") {
    report("console", offset, "A library does not print: return it, or throw an MmsbError");
  }
  if (name === "Deno" && !place.isPlatform && !EDGE_LAYERS.includes(place.layer ?? "")) {
    report(
      "deno",
      offset,
      "Call Deno in a _platform.ts, so that the layer can move to Node and Bun",
    );
  }
}

function specifierFaults(place: FilePlace, specifier: string): [Rule, string][] {
  if (specifier.startsWith(".")) return pathFaults(place, specifier);
  if (specifier.startsWith("node:")) return [];
  if (/^[a-z]+:/.test(specifier)) {
    return [["remote", `Import ${specifier} by a name that deno.json maps to an npm: version`]];
  }
  const name = specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
  if (name === config.name) {
    if (!place.isSource) return [];
    return [["layer", `Import the file in place of ${name}: the whole package is no layer`]];
  }
  if (Object.hasOwn(config.imports, name)) return [];
  return [["package", `Add ${name} with an exact version to the imports of deno.json`]];
}

function pathFaults(place: FilePlace, specifier: string): [Rule, string][] {
  const target = placeOf(normalize(join(dirname(place.path), specifier)));
  const faults: [Rule, string][] = [];
  const targetName = target.path.slice(target.path.lastIndexOf("/") + 1);
  if (targetName.startsWith("_") && dirname(target.path) !== dirname(place.path)) {
    faults.push(["private", `Import ${target.path} only in its own folder: a _ makes it private`]);
  }
  if (target.layer === MODEL && !mayUseModel(place)) {
    faults.push(["model", "Import the model in tests, stress, bench and validators only"]);
  } else if (place.isSource) {
    faults.push(...layerFaults(place, target));
  }
  return faults;
}

function mayUseModel(place: FilePlace): boolean {
  return place.isTest || place.layer === MODEL || place.layer === "validators" ||
    /^(bench|stress)\//.test(place.path);
}

function layerFaults(place: FilePlace, target: FilePlace): [Rule, string][] {
  if (!target.isSource) {
    // Data at the root, as `benchmarks_targets.json`, belongs to nobody.
    if (target.path.endsWith(".json")) return [];
    return [["layer", `Import ${target.path} nowhere in src/: it stands above every layer`]];
  }
  if (target.layer === place.layer || (target.layer === MODEL && place.isTest)) return [];
  const own = layerLevel(place.layer);
  const other = layerLevel(target.layer);
  if (own < 0 || other < 0) {
    return [["layer", `Put the file in a layer: ${(own < 0 ? place : target).path} is in none`]];
  }
  if (other < own) return [];
  return [["layer", `Import nothing of ${target.layer} in ${place.layer}: it is the higher layer`]];
}

function layerLevel(layer: string | undefined): number {
  return layer === MODEL ? LAYERS.indexOf("validators") - 0.5 : LAYERS.indexOf(layer ?? "");
}

// The rules, each on planted texts.

const HEAD = "/** A file for a test: what it is and why it is so. */\n";

interface Planted {
  readonly rule: Rule;
  /** Path and text pairs that the rule must find. */
  readonly bad: readonly (readonly [string, string])[];
  /** Path and text pairs that no rule may find anything in. */
  readonly good: readonly (readonly [string, string])[];
}

const PLANTED: readonly Planted[] = [
  {
    rule: "layer",
    bad: [
      ["src/base/a.ts", `${HEAD}import { now } from "../temporal/clock.ts";`],
      ["src/log/a.ts", `${HEAD}import type { Bus } from "../bus/bus.ts";`],
      ["src/log/a.ts", `${HEAD}export * from "../graph/mod.ts";`],
      ["src/log/a.ts", `${HEAD}export { x } from "../graph/mod.ts";`],
      ["src/log/a.ts", `${HEAD}const graph = await import("../graph/mod.ts");`],
      ["src/log/a.ts", `${HEAD}new URL("../propagation/worker.ts", import.meta.url);`],
      ["src/log/a_test.ts", `import { Bus } from "../bus/bus.ts";`],
      ["src/bus/a.ts", `${HEAD}import { StateBus } from "@mmsb/mmsb";`],
      ["src/bus/a.ts", `${HEAD}import { StateBus } from "../../mod.ts";`],
      ["src/model/a.ts", `${HEAD}import { check } from "../validators/mod.ts";`],
      ["src/misc/a.ts", `${HEAD}import { crc32 } from "../base/mod.ts";`],
      ["src/bus/a.ts", `${HEAD}import { x } from "../misc/mod.ts";`],
      ["src/a.ts", `${HEAD}import { crc32 } from "./base/mod.ts";`],
    ],
    good: [
      ["src/cli/a.ts", `${HEAD}import { crc32 } from "../base/mod.ts";`],
      ["src/log/a.ts", `${HEAD}import { b } from "./b.ts"; import { c } from "./deep/c.ts";`],
      ["src/log/deep/c.ts", `${HEAD}import { b } from "../b.ts"; import "../../base/mod.ts";`],
      [
        "src/perf/a.ts",
        `${HEAD}import t from "../../benchmarks_targets.json" with { type: "json" };`,
      ],
      ["src/base/a.ts", `${HEAD}// import "../bus/mod.ts"\nconst s = 'import "../bus/mod.ts"';`],
      ["mod.ts", `export { StateBus } from "./src/bus/mod.ts";`],
      ["bench/a.ts", `import { StateBus } from "@mmsb/mmsb";`],
    ],
  },
  {
    rule: "model",
    bad: [
      ["src/bus/a.ts", `${HEAD}import { Model } from "../model/mod.ts";`],
      ["src/cli/a.ts", `${HEAD}import { Model } from "../model/mod.ts";`],
      ["mod.ts", `export * from "./src/model/mod.ts";`],
      ["examples/a.ts", `import { Model } from "../src/model/mod.ts";`],
    ],
    good: [
      ["src/base/a_test.ts", `import { Model } from "../model/mod.ts";`],
      ["src/log/a_test.ts", `import { Model } from "../model/mod.ts";`],
      ["src/bus/_a_test.ts", `import { Model } from "../model/mod.ts";`],
      ["src/validators/a.ts", `${HEAD}import { Model } from "../model/mod.ts";`],
      ["src/model/a.ts", `${HEAD}import { combine } from "./combine.ts"; import "../base/mod.ts";`],
      ["stress/a.ts", `import { Model } from "../src/model/mod.ts";`],
      ["bench/a.ts", `import { Model } from "../src/model/mod.ts";`],
    ],
  },
  {
    rule: "private",
    bad: [
      ["src/bus/a.ts", `${HEAD}import { open } from "../log/_platform.ts";`],
      ["src/log/deep/a.ts", `${HEAD}import { open } from "../_platform.ts";`],
      ["src/bus/a_test.ts", `import { open } from "../log/_platform.ts";`],
      ["mod.ts", `export * from "./src/log/_frame.ts";`],
      ["src/bus/a.ts", `${HEAD}new URL("../log/_worker.ts", import.meta.url);`],
    ],
    good: [
      ["src/log/a.ts", `${HEAD}import { open } from "./_platform.ts";`],
      ["src/log/a_test.ts", `import { open } from "./_platform.ts";`],
      ["src/log/a.ts", `${HEAD}import { open } from "./_private/open.ts";`],
    ],
  },
  {
    rule: "header",
    bad: [
      ["src/base/a.ts", `export const a = 1;`],
      ["src/base/a.ts", `import "./b.ts";\n${HEAD}`],
      [
        "src/base/a.ts",
        `// deno-lint-ignore-file no-console prefer-const no-var no-eval ban-types\n`,
      ],
      ["src/base/a.ts", `/** Module. */\nexport const a = 1;`],
      ["src/base/a.ts", ``],
    ],
    good: [
      ["src/base/a.ts", `${HEAD}export const a = 1;`],
      ["src/base/a.ts", `// A file for a test:\n// what it is and why.\n\nexport const a = 1;`],
      ["src/cli/main.ts", `#!/usr/bin/env -S deno run -A\n// deno-lint-ignore-file\n${HEAD}`],
      ["src/base/a_test.ts", `export const a = 1;`],
      ["bench/a.ts", `export const a = 1;`],
    ],
  },
  {
    rule: "console",
    bad: [
      ["src/base/a.ts", `${HEAD}console.log(1);`],
      ["src/base/a.ts", `${HEAD}globalThis.console.error(1);`],
      ["src/perf/a.ts", `${HEAD}const { log } = console;`],
    ],
    good: [
      ["src/cli/a.ts", `${HEAD}console.log(1);`],
      ["src/base/a_test.ts", `console.log(1);`],
      ["src/base/a.ts", `${HEAD}// console.log(1)\nconst s = "console.log";`],
      ["tools/a.ts", `console.log(1);`],
    ],
  },
  {
    rule: "any",
    bad: [
      ["src/base/a.ts", `${HEAD}export const a: any = 1;`],
      ["src/base/a.ts", `${HEAD}export const a = 1 as any;`],
      ["src/base/a_test.ts", `const list: Array<any> = [];`],
      ["bench/a.ts", `function f(...args: any[]) {}`],
    ],
    good: [
      ["src/base/a.ts", `${HEAD}// any: any as any\nexport const any = "as any" as unknown;`],
    ],
  },
  {
    rule: "todo",
    bad: [
      ["src/base/a.ts", `${HEAD}// TODO: later`],
      ["src/base/a.ts", `${HEAD}/*\n * FIXME(ada) it breaks\n * #12 is another matter\n */`],
      ["bench/a.ts", `// XXX`],
      ["tools/a.ts", `// HACK around it`],
    ],
    good: [
      ["src/base/a.ts", `${HEAD}// TODO(#12): later`],
      ["src/base/a.ts", `${HEAD}/* FIXME it breaks, see #34 */ const s = "TODO";`],
      ["src/base/a.ts", `${HEAD}// toDoList and TODOS are words`],
    ],
  },
  {
    rule: "ts-ignore",
    bad: [
      ["src/base/a.ts", `${HEAD}// @ts-ignore it works\nexport const a = 1;`],
      ["bench/a.ts", `// @ts-nocheck\n`],
    ],
    good: [["src/base/a_test.ts", `// @ts-expect-error a string is refused\ncheck("x");`]],
  },
  {
    rule: "chance",
    bad: [
      ["src/base/a.ts", `${HEAD}const r = Math.random();`],
      ["src/base/a.ts", `${HEAD}const r = globalThis.Math["random"];`],
      ["src/bus/a.ts", `${HEAD}const id = crypto.randomUUID();`],
      ["src/bus/a.ts", `${HEAD}const s = \`\${Math.random()}\`;`],
      ["src/base/a_test.ts", `const r = Math.random();`],
    ],
    good: [
      ["src/temporal/a.ts", `${HEAD}const r = Math.random();`],
      ["src/validators/a.ts", `${HEAD}const r = Math.random();`],
      ["src/log/_platform.ts", `${HEAD}const id = crypto.randomUUID();`],
      ["src/base/a.ts", `${HEAD}// Math.random()\nconst s = "Math.random()"; Math.max(1, 2);`],
      ["stress/a.ts", `const r = Math.random();`],
    ],
  },
  {
    rule: "clock",
    bad: [
      ["src/bus/a.ts", `${HEAD}const t = Date.now();`],
      ["src/bus/a.ts", `${HEAD}const now = performance.now;`],
      ["src/bus/a.ts", `${HEAD}const t = new Date();`],
      ["src/evaluation/a.ts", `${HEAD}const t = globalThis.performance.now();`],
    ],
    good: [
      ["src/bus/a_test.ts", `const t = performance.now();`],
      ["src/temporal/a.ts", `${HEAD}const t = Date.now();`],
      ["src/perf/a.ts", `${HEAD}const t = new Date();`],
      ["src/log/_platform.ts", `${HEAD}const t = Date.now();`],
      ["src/bus/a.ts", `${HEAD}const t = new Date(0); const u = clock.now();`],
      ["bench/a.ts", `const t = performance.now();`],
    ],
  },
  {
    rule: "deno",
    bad: [
      ["src/bus/a.ts", `${HEAD}const text = await Deno.readTextFile("x");`],
      ["src/bus/a.ts", `${HEAD}export let file: Deno.FsFile;`],
      ["src/observe/a.ts", `${HEAD}const { serve } = globalThis.Deno;`],
    ],
    good: [
      ["src/log/_platform.ts", `${HEAD}await Deno.readTextFile("x");`],
      ["src/cli/a.ts", `${HEAD}Deno.exit(1);`],
      ["src/perf/a.ts", `${HEAD}Deno.memoryUsage();`],
      ["src/validators/a.ts", `${HEAD}Deno.memoryUsage();`],
      ["src/base/a_test.ts", `Deno.test("x", () => {});`],
      ["src/base/a.ts", `${HEAD}// Deno.exit()\nconst runtime = "Deno";`],
    ],
  },
  {
    rule: "remote",
    bad: [
      ["src/base/a.ts", `${HEAD}import { assert } from "jsr:@std/assert@1";`],
      ["bench/a.ts", `import fc from "npm:fast-check@4";`],
      ["examples/a.ts", `const m = await import("https://example.com/mod.ts");`],
      ["mod.ts", `export * from "http://example.com/mod.ts";`],
    ],
    good: [["src/base/a.ts", `${HEAD}import { crc32 } from "node:zlib"; const u = "https://x";`]],
  },
  {
    rule: "package",
    bad: [
      ["src/base/a.ts", `${HEAD}import { LRUCache } from "not-in-deno-json";`],
      ["bench/a.ts", `import x from "@scope/not-in-deno-json/deep.js";`],
      ["src/base/a.ts", `${HEAD}import { readFile } from "fs";`],
    ],
    good: [["src/base/a_test.ts", `import fc from "fast-check";`]],
  },
];

for (const { rule, bad, good } of PLANTED) {
  Deno.test(`tidy rule "${rule}" finds what is planted, and nothing in what is right`, () => {
    for (const [path, source] of bad) {
      const found = tidy(path, source).map((finding) => finding.rule);
      assert.deepEqual([...new Set(found)], [rule], `${path}:\n${source}`);
    }
    for (const [path, source] of good) assert.deepEqual(tidy(path, source), [], path);
  });
}

Deno.test("tidy findings name the line", () => {
  const source = `${HEAD}\n// 😀\nconst a = 1;\nconst b: any = Math.random();\n`;
  const found = tidy("src/base/a.ts", source).map(({ rule, line }) => `${rule}:${line}`);
  assert.deepEqual(found.toSorted(), ["any:5", "chance:5"]);
});

Deno.test("tidy rules are all shown a bad text", () => {
  const shown = PLANTED.map(({ rule }) => rule);
  assert.equal(new Set(shown).size, shown.length);
  for (const { bad, good } of PLANTED) assert(bad.length > 0 && good.length > 0);
});

// The rules, on the code.

/** Folders that hold nothing written by hand. */
const SKIPPED_FOLDERS = [...config.exclude.map((path) => path.replace("/", "")), "node_modules"];

async function sourcePaths(folder: string): Promise<string[]> {
  const paths: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder, import.meta.url))) {
    if (name.startsWith(".") || SKIPPED_FOLDERS.includes(name)) continue;
    if (isDirectory) paths.push(...await sourcePaths(`${folder}${name}/`));
    else if (name.endsWith(".ts")) paths.push(`${folder}${name}`.slice(2));
  }
  return paths.toSorted();
}

Deno.test("the code is tidy", async () => {
  const paths = await sourcePaths("./");
  assert(paths.includes("tidy_test.ts") && paths.includes("src/base/errors.ts"));
  const findings: Finding[] = [];
  for (const path of paths) {
    findings.push(...tidy(path, await Deno.readTextFile(new URL(path, import.meta.url))));
  }
  const lines = findings.map(({ path, line, rule, message }) =>
    `${path}:${line} [${rule}] ${message}`
  );
  assert.equal(lines.join("\n"), "");
});

Deno.test("imports of deno.json are npm packages of an exact version", () => {
  for (const [name, target] of Object.entries(config.imports)) {
    assert.match(target, /^npm:(@[\w.-]+\/)?[\w.-]+@\d+\.\d+\.\d+[\w.-]*$/, name);
  }
});

Deno.test("the Deno version is the same in CI and in every workflow", async () => {
  const read = (path: string) => Deno.readTextFile(new URL(path, import.meta.url));
  const version = /^deno_version=(\S+)$/m.exec(await read(".ci/run"))?.[1];
  assert.match(version ?? "", /^\d+\.\d+\.\d+$/);
  for await (const { name } of Deno.readDir(new URL(".github/workflows/", import.meta.url))) {
    const workflow = await read(`.github/workflows/${name}`);
    assert.equal(/deno-version: (\S+)/.exec(workflow)?.[1], version, name);
  }
});
