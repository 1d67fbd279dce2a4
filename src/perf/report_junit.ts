/**
 * The report as JUnit XML, which CI systems show. A benchmark is a test case; a failed one carries
 * its missed figures, one that is not built or skipped is `<skipped>`, so that no CI counts it as
 * passed. There is no standard; the elements are those of Ant's `JUnitResultFormatter` that all
 * readers share.
 */

import { measuredText, outcomeText, resultText, targetText } from "./_words.ts";
import type { BenchmarkResult, RunReport } from "./runner.ts";

/**
 * Writes the report as JUnit XML.
 *
 * @param report The run.
 * @returns An XML document in UTF-8.
 */
export function junitReport(report: RunReport): string {
  const { counts, benchmarks, startedAt, durationMs } = report;
  const totals = attributes({
    name: "MMSB Benchmark Validation",
    tests: benchmarks.length,
    failures: counts.failed,
    errors: 0,
    skipped: counts["not built"] + counts.skipped,
    time: seconds(durationMs),
  });
  return [
    `<?xml version="1.0" encoding="UTF-8"?>`,
    `<testsuites${totals}>`,
    `  <testsuite${totals}${attributes({ timestamp: startedAt.toISOString() })}>`,
    ...benchmarks.map(testCase),
    `    <system-out>${escape(resultText(report))}</system-out>`,
    `  </testsuite>`,
    `</testsuites>`,
    "",
  ].join("\n");
}

function testCase(result: BenchmarkResult): string {
  const open = `    <testcase${
    attributes({
      classname: "mmsb.validate",
      name: `#${result.id} ${result.name}`,
      time: seconds(result.durationMs),
    })
  }>`;
  const message = attributes({ message: outcomeText(result) });
  const outcome = {
    passed: [],
    failed: [`      <failure${message}>${escape(details(result))}</failure>`],
    "not built": [`      <skipped${message}/>`],
    skipped: [`      <skipped${message}/>`],
  }[result.status];
  const figures = result.status === "passed"
    ? [`      <system-out>${escape(details(result))}</system-out>`]
    : [];
  return [open, ...outcome, ...figures, "    </testcase>"].join("\n");
}

function details({ description, verdicts, notes, reason }: BenchmarkResult): string {
  return [
    description,
    ...(reason === undefined ? [] : [reason]),
    ...verdicts.map((verdict) =>
      `${verdict.label}: ${measuredText(verdict)}, target: ${verdict.comparison} ${
        targetText(verdict)
      }, ${verdict.verdict}`
    ),
    ...notes,
  ].join("\n");
}

function attributes(values: Readonly<Record<string, string | number>>): string {
  return Object.entries(values).map(([name, value]) => ` ${name}="${escape(String(value))}"`)
    .join("");
}

function seconds(durationMs: number): string {
  return (durationMs / 1000).toFixed(3);
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  // In an attribute a bare line break would be read as a space.
  "\n": "&#10;",
  "\r": "&#13;",
  "\t": "&#9;",
};

/** Escapes for attributes and text; what XML 1.0 cannot hold at all (section 2.2) becomes U+FFFD. */
function escape(text: string): string {
  return text.toWellFormed()
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, "\ufffd")
    .replace(/[&<>"\n\r\t]/g, (character) => ENTITIES[character]);
}
