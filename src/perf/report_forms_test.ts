/** All forms of the report over the same run: each says what the others say, in its own way. */

import assert from "node:assert/strict";
import { MmsbError } from "../base/errors.ts";
import { CATALOGUE } from "../validators/catalogue.ts";
import { sampleRun } from "./_sample_runs_test.ts";
import { htmlReport } from "./report_html.ts";
import { junitReport } from "./report_junit.ts";
import { markdownReport } from "./report_markdown.ts";
import { terminalReport } from "./report_terminal.ts";
import type { RunReport } from "./runner.ts";

/** A run in which every way of ending occurs. */
async function mixedRun(): Promise<RunReport> {
  const run = await sampleRun({
    hour: 1,
    quick: true,
    repeats: 2,
    change: (id, measured) => {
      if (id === 1) throw new MmsbError("corrupt-log", "Cannot read frame 7 of lane-00 | <torn>");
      if (id === 6) return { ...measured, metrics: { ...measured.metrics, meanMs: 21 } };
      const planted = [{ id: `fault-${id}`, found: id !== 4 }, { id: "fault-2", found: true }];
      return id % 2 === 0 ? { ...measured, planted } : measured;
    },
  });
  return {
    ...run,
    directory: "/srv/a|b",
    benchmarks: run.benchmarks.map((benchmark) => ({
      ...benchmark,
      ...(benchmark.id === 1 ? { damaged: true } : {}),
      ...(benchmark.id === 7
        ? { status: "skipped" as const, reason: "it needs a workload", verdicts: [], notes: [] }
        : {}),
    })),
    counts: { passed: 6, failed: 3, "not built": 0, skipped: 1 },
    exitCode: 3,
  };
}

/** Text as a reader sees it: without markup and escapes. */
function readAs(form: string, text: string): string {
  // In JUnit, texts stand in attributes too.
  const bare = form === "html" ? text.replace(/<style>[^]*?<\/style>|<[^>]*>/g, "") : text;
  return bare.replace(/\\([|_*~[\]\\`])/g, "$1")
    .replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'").replaceAll("&#10;", "\n").replaceAll("&amp;", "&");
}

Deno.test("all reports of a run say the same", async () => {
  const run = await mixedRun();
  const { machine, path } = await sampleRun({ hour: 1 });
  const forms = {
    terminal: terminalReport(run),
    markdown: markdownReport(run),
    junit: junitReport(run),
    html: await htmlReport({ ...run, machine, path }),
  };
  const found = `Faults: 3 of 4 planted and found (the catalogue has ${CATALOGUE.length})`;
  for (const [form, text] of Object.entries(forms)) {
    const read = readAs(form, text);
    for (
      const said of [
        "corrupt-log: Cannot read frame 7 of lane-00 | <torn>",
        "21 ms",
        "16 ms",
        "planted and not found: fault-4",
        "it needs a workload",
        "a remark on Provenance",
        `${found}; not found: fault-4`,
        "Result: 6/10 PASS – 3 failed, 1 skipped (not counted as passed)",
        "Quick run: less work, and lower targets where it cannot reach the full ones",
      ]
    ) assert(read.includes(said), `${form} lacks ${said}:\n${read}`);
  }
});

Deno.test("reports count the whole catalogue where all of it was planted", async () => {
  const run = await sampleRun({
    hour: 1,
    change: (_, measured) => ({
      ...measured,
      planted: CATALOGUE.map(({ id }) => ({ id, found: true })),
    }),
  });
  const count = CATALOGUE.length;
  const lines = terminalReport(run).trimEnd().split("\n");
  assert.equal(lines.at(-2), `Faults: ${count} of ${count} of the catalogue planted and found`);
  assert.equal(lines.at(-1), "Result: 10/10 PASS");
  assert.doesNotMatch(terminalReport(await sampleRun({ hour: 1 })), /Faults/);
});

Deno.test("terminalReport() breaks remarks at the terminal's edge, and nothing else", async () => {
  const run = await mixedRun();
  const long = { ...run.benchmarks[1], notes: [`${"word ".repeat(30)}${"x".repeat(70)} end`] };
  const text = terminalReport({ ...run, benchmarks: [long] }, { columns: 60 });
  const remarks = text.split("\n").filter((line) => line.startsWith("       "));
  assert.deepEqual(remarks.map((line) => line.trim()).join(" "), long.notes[0]);
  for (const line of remarks) assert(line.length <= 60 || /^ {7}x{70}$/.test(line), line);
  assert.match(terminalReport(run), /^✗ #1: {2}Replay \(corrupt-log: .*\) {2}← DAMAGED$/m);
  assert.match(terminalReport(run), /^✗ #6: {2}Tick \(21 ms, target: 16 ms\) {2}← NEEDS WORK$/m);
});

Deno.test("junitReport() has only the elements and attributes that readers share", async () => {
  const allowed: Readonly<Record<string, string>> = {
    testsuites: "name tests failures errors time",
    testsuite: "name tests failures errors skipped time timestamp",
    properties: "",
    property: "name value",
    testcase: "classname name time",
    failure: "message type",
    skipped: "message",
    "system-out": "",
  };
  const xml = junitReport(await mixedRun());
  const counts = new Map<string, number>();
  for (const [, name, rest] of xml.matchAll(/<([a-z][\w-]*)((?:\s[\w-]+="[^"]*")*)\s*\/?>/g)) {
    counts.set(name, (counts.get(name) ?? 0) + 1);
    const attributes = [...rest.matchAll(/\s([\w-]+)=/g)].map(([, attribute]) => attribute);
    assert.equal(attributes.join(" "), allowed[name], name);
  }
  assert.deepEqual(
    ["testsuites", "testsuite", "testcase", "failure", "skipped"].map((name) => counts.get(name)),
    [1, 1, 10, 3, 1],
  );
  assert.match(xml, /<testsuite [^>]*failures="3" errors="0" skipped="1" time="\d+\.\d{3}"/);
  assert.match(xml, /timestamp="2026-01-01T01:00:00">/);
  assert.match(xml, /<failure message="[^"]*" type="damaged data">/);
  assert.match(xml, /<failure message="[^"]*" type="missed target">/);
});

Deno.test("markdownReport() is one table of seven columns, a row a metric", async () => {
  const run = await mixedRun();
  const rows = markdownReport(run).split("\n").filter((line) => line.startsWith("|"));
  for (const row of rows) assert.equal(row.match(/(?<!\\)\|/g)?.length, 8, row);
  const metrics = run.benchmarks.reduce((sum, { verdicts }) => sum + verdicts.length, 0);
  const reasons = run.benchmarks.filter(({ reason }) => reason !== undefined).length;
  assert.equal(rows.length, 2 + metrics + reasons);
});
