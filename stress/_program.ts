/**
 * The command line that all stress programs share: options, progress, the table at the end, `--json`, the exit code
 * (0 all was right, 1 something was wrong, 2 wrong usage), and on failure the command that repeats it.
 */

import { parseArgs } from "node:util";
import { reportText, StressFailure, type StressOptions, type StressReport } from "./_report.ts";

/** One suite. */
export interface StressSuite {
  readonly name: string;
  /** What it does, in a line. */
  readonly summary: string;
  /** Whether `--minutes` is the length of one run; otherwise runs with the next seeds follow until then. */
  readonly goesOn?: boolean;
  /** Does it once; throws where something is wrong. */
  readonly run: (options: StressOptions) => Promise<StressReport>;
}

/** Options of the command line. */
export interface StressArguments {
  readonly names: readonly string[];
  readonly scale: number;
  readonly seed: number;
  readonly minutes: number;
  readonly kills: number | undefined;
  readonly json: string | undefined;
  readonly csv: string | undefined;
  readonly help: boolean;
}

/** What is wrong with a command line, in words. */
export class StressUsageError extends Error {
  override readonly name = "StressUsageError";
}

/** The options, as help lists them. */
export const OPTIONS_HELP =
  `  --scale N     part of a suite's work, above 0; 1 (all of it) if left out
  --seed N      of all that is left to chance; 1 if left out
  --minutes N   repeats each suite with the next seeds until N minutes have passed for it;
                stability does one run of N minutes
  --json FILE   writes the reports there
  --csv FILE    writes the measurements over time there (stability)`;

/**
 * Reads a command line.
 *
 * @throws {StressUsageError} where it is wrong.
 */
export function stressArguments(args: readonly string[]): StressArguments {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        scale: { type: "string", default: "1" },
        seed: { type: "string", default: "1" },
        minutes: { type: "string", default: "0" },
        kills: { type: "string" },
        json: { type: "string" },
        csv: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    throw new StressUsageError((error as Error).message);
  }
  const { values, positionals } = parsed;
  return {
    names: positionals,
    scale: numberOf("scale", values.scale, 1e-6, 1000),
    seed: numberOf("seed", values.seed, 0, 2 ** 32 - 1, true),
    minutes: numberOf("minutes", values.minutes, 0, 1e6),
    kills: values.kills === undefined ? undefined : numberOf("kills", values.kills, 1, 1e6, true),
    json: fileOf("json", values.json),
    csv: fileOf("csv", values.csv),
    help: values.help,
  };
}

function numberOf(name: string, text: string, min: number, max: number, whole = false): number {
  const value = Number(text);
  const isGood = text.trim() !== "" && value >= min && value <= max &&
    (!whole || Number.isInteger(value));
  if (isGood) return value;
  const kind = whole ? "a whole number" : "a number";
  throw new StressUsageError(`Cannot take --${name} ${text}: give ${kind} from ${min} to ${max}`);
}

function fileOf(name: string, path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  if (path === "") throw new StressUsageError(`Cannot write --${name} to a file without a name`);
  try {
    // Now and not after an hour's work.
    Deno.writeTextFileSync(path, "");
  } catch (error) {
    throw new StressUsageError(`Cannot write --${name} ${path}: ${(error as Error).message}`);
  }
  return path;
}

/** What came of a suite. */
export interface SuiteOutcome {
  readonly ok: boolean;
  readonly reports: readonly StressReport[];
}

/** Runs one suite, again and again while there is time and nothing is wrong. */
export async function runSuite(
  suite: StressSuite,
  { scale, seed, minutes }: StressArguments,
): Promise<SuiteOutcome> {
  const start = performance.now(), reports: StressReport[] = [];
  const progress = (text: string) => {
    const seconds = (performance.now() - start) / 1000;
    console.log(`  ${seconds.toFixed(0).padStart(5)} s  ${text}`);
  };
  for (let next = seed;; next++) {
    console.log(`${suite.name}, seed ${next}, scale ${scale}: ${suite.summary}`);
    try {
      const report = await suite.run({ scale, seed: next, minutes, progress });
      reports.push(report);
      const outcome = report.steps.length > 0 ? "ok     " : "skipped";
      console.log(`${reportText(report)}\n${outcome} ${suite.name}\n`);
    } catch (error) {
      if (error instanceof StressFailure) {
        reports.push(error.report);
        console.log(reportText(error.report));
      }
      const length = suite.goesOn && minutes > 0 ? ` --minutes ${minutes}` : "";
      console.error(
        `FAILED  ${suite.name}: deno task stress ${suite.name} --seed ${next} --scale ${scale}${length}`,
      );
      const isTold = error instanceof StressFailure || !(error instanceof Error);
      console.error(isTold ? `${error}` : error.stack ?? error.message);
      return { ok: false, reports };
    }
    if (suite.goesOn || performance.now() - start >= 60_000 * minutes) return { ok: true, reports };
  }
}

/** Writes what was asked for to files. */
export function writeReports(args: StressArguments, reports: readonly StressReport[]): void {
  if (args.json !== undefined) {
    Deno.writeTextFileSync(args.json, `${JSON.stringify({ format: 1, reports }, undefined, 2)}\n`);
  }
  if (args.csv !== undefined) {
    const samples = reports.flatMap((report) => report.samples ?? []);
    const names = Object.keys(samples[0] ?? {});
    const lines = samples.map((sample) => names.map((name) => sample[name]).join(","));
    Deno.writeTextFileSync(args.csv, `${[names.join(","), ...lines].join("\n")}\n`);
  }
}

/** A program that is one suite; gives the exit code. */
export async function programOf(suite: StressSuite, args: readonly string[]): Promise<number> {
  try {
    const parsed = stressArguments(args);
    if (parsed.help) {
      const usage = `deno run -A stress/${suite.name}.ts [options]`;
      console.log(`${usage}\n\n${suite.summary}\n\n${OPTIONS_HELP}`);
      return 0;
    }
    if (parsed.names.length > 0) {
      throw new StressUsageError(`Cannot take ${parsed.names[0]}: this program is one suite`);
    }
    const { ok, reports } = await runSuite(suite, parsed);
    writeReports(parsed, reports);
    return ok ? 0 : 1;
  } catch (error) {
    if (!(error instanceof StressUsageError)) throw error;
    console.error(`${error.message}: see --help`);
    return 2;
  }
}

/** Whether a module was started as the program, and not as a worker's: `import.meta.main` holds in both. */
export function isProgram(meta: ImportMeta): boolean {
  return meta.main && !("DedicatedWorkerGlobalScope" in globalThis);
}
