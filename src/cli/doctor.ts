/**
 * `mmsb doctor`: what this machine offers to MMSB, in words: what was found, what that means, and
 * what to do where it is less than it could be.
 *
 * Everything is tried, not looked up: a worker is started, memory is reserved, a file is synced.
 * What is missing has one of two weights: MMSB cannot work without it (`✗`, exit 1), or does the
 * same another way or slower (`!`, exit 0).
 *
 * Cost: 2 to 5 s, most of it the search for a GPU and the test of its kernels; 200 KiB in the folder given, for a moment.
 */

import { EXIT, type ExitCode } from "../perf/mod.ts";
import { wrapped } from "./_columns.ts";
import type { Call, Command } from "./_command.ts";
import { requireFolder, stdoutTakesColour, writeStdout } from "./_platform.ts";
import type { Finding, FindingStatus } from "./_finding.ts";
import { PROBES } from "./_probes.ts";

/** Version of the form of `mmsb doctor --json`. */
const DOCTOR_FORMAT = 1;

/** Sign and colour ("Select Graphic Rendition", ECMA-48 8.3.117) of a status. */
const SIGNS: Readonly<Record<FindingStatus, readonly [string, number]>> = {
  ok: ["✓", 32],
  limited: ["!", 33],
  missing: ["✗", 31],
};

/**
 * The command `doctor`.
 *
 * @returns The command.
 */
export function doctorCommand(): Command {
  return {
    name: "doctor",
    summary: "say what this machine offers: threads, FFI, GPU, clock, memory, disk",
    operands: [],
    flags: {
      dir: { value: "DIR", help: "the folder whose disk is tried, . if left out" },
      json: { help: "write JSON in place of text" },
    },
    details: [
      "✓ is as it should be; ! is done another way or slower; ✗ is needed and missing (exit 1).",
    ],
    examples: ["mmsb doctor", "mmsb doctor --dir ./data --json"],
    run: doctor,
  };
}

async function doctor(call: Call): Promise<ExitCode> {
  const folder = call.text("dir") ?? ".";
  await requireFolder("--dir", folder);
  const findings: Finding[] = [];
  for (const probe of PROBES) findings.push(await probe(folder));
  const isFit = findings.every(({ status }) => status !== "missing");
  writeStdout(
    call.has("json")
      ? `${
        JSON.stringify({ kind: "mmsb-doctor", format: DOCTOR_FORMAT, ok: isFit, findings }, null, 2)
      }\n`
      : textOf(findings, stdoutTakesColour()),
  );
  return isFit ? EXIT.done : EXIT.failed;
}

function textOf(findings: readonly Finding[], colour: boolean): string {
  const lines = findings.flatMap(({ name, status, found, meaning, advice }) => {
    const [sign, code] = SIGNS[status];
    const [first, ...others] = wrapped(`${sign} ${name.padEnd(10)}`, found, 12);
    return [
      colour ? first.replace(sign, `\x1b[${code}m${sign}\x1b[0m`) : first,
      ...others,
      ...wrapped(" ".repeat(12), meaning, 12),
      ...(advice === undefined ? [] : wrapped(`${" ".repeat(12)}→ `, advice, 14)),
    ];
  });
  const count = (wanted: FindingStatus) =>
    findings.filter(({ status }) => status === wanted).length;
  const missing = count("missing");
  lines.push(
    "",
    missing > 0
      ? `Result: MMSB cannot work here as it should: ${missing} missing`
      : `Result: MMSB works here: ${count("ok")} as they should be, ${count("limited")} limited`,
  );
  return lines.map((line) => `${line}\n`).join("");
}
