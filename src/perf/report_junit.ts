/**
 * The report as JUnit XML, which CI systems show. A benchmark is a test case; a failed one carries
 * its missed figures, one that is not built or skipped is `<skipped>`, so that no CI counts it as
 * passed. There is no standard; elements and attributes are those that the schemas of Ant's
 * `JUnitResultFormatter` and of Jenkins' xUnit plugin share: times in seconds, a timestamp without a
 * zone (it is UTC).
 */

import {
  deviceText,
  faultsText,
  goalText,
  measuredText,
  outcomeText,
  QUICK_TEXT,
  resultText,
  targetText,
} from "./_words.ts";
import { isFailure } from "./judge.ts";
import type { BenchmarkResult, RunReport } from "./runner.ts";

/**
 * Writes the report as JUnit XML.
 *
 * @param report The run.
 * @returns An XML document in UTF-8.
 */
export function junitReport(report: RunReport): string {
  const { counts, benchmarks, startedAt, durationMs, quick, seed, repeats, directory } = report;
  const totals = {
    name: "MMSB Benchmark Validation",
    tests: benchmarks.length,
    failures: counts.failed,
    errors: 0,
  };
  const time = seconds(durationMs);
  const suite = {
    ...totals,
    skipped: counts["not built"] + counts.skipped,
    time,
    timestamp: startedAt.toISOString().slice(0, 19),
  };
  const device = deviceText(report);
  const properties = {
    quick,
    seed,
    repeats,
    ...(directory === undefined ? {} : { directory }),
    ...(device === undefined ? {} : { device }),
  };
  const closing = [faultsText(report), resultText(report), quick ? QUICK_TEXT : undefined]
    .filter((line) => line !== undefined);
  return [
    `<?xml version="1.0" encoding="UTF-8"?>`,
    `<testsuites${attributes({ ...totals, time })}>`,
    `  <testsuite${attributes(suite)}>`,
    "    <properties>",
    ...Object.entries(properties).map(([name, value]) =>
      `      <property${attributes({ name, value: String(value) })}/>`
    ),
    "    </properties>",
    ...benchmarks.map(testCase),
    `    <system-out>${escape(closing.join("\n"))}</system-out>`,
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
    failed: [
      `      <failure${message}${attributes({ type: failureType(result) })}>${
        escape(details(result))
      }</failure>`,
    ],
    "not built": [`      <skipped${message}/>`],
    skipped: [`      <skipped${message}/>`],
  }[result.status];
  const hasFigures = result.verdicts.length > 0 || result.notes.length > 0;
  const figures = result.status === "passed" || (result.status === "skipped" && hasFigures)
    ? [`      <system-out>${escape(details(result))}</system-out>`]
    : [];
  return [open, ...outcome, ...figures, "    </testcase>"].join("\n");
}

/** What kind of failure it is, for readers that group them. */
function failureType({ damaged, verdicts }: BenchmarkResult): string {
  if (damaged) return "damaged data";
  return verdicts.some(isFailure) ? "missed target" : "error";
}

function details({ description, verdicts, notes, reason }: BenchmarkResult): string {
  return [
    description,
    ...(reason === undefined ? [] : [reason]),
    ...verdicts.map((verdict) =>
      `${verdict.label}: ${measuredText(verdict)}, target: ${verdict.comparison} ${
        targetText(verdict)
      }, goal: ${verdict.goal.comparison} ${goalText(verdict)}, ${verdict.verdict}${
        verdict.goalMet ? ", goal too" : ""
      }${verdict.reason === undefined ? "" : `: ${verdict.reason}`}`
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
