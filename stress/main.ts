/**
 * Stress: long and hostile runs, by name.
 *
 * `deno task stress [NAME…] [--scale N] [--seed N] [--minutes N] [--kills N]`
 *
 * A suite that finds something says what, with its seed, and the exit code is 1.
 */

import { parseArgs } from "node:util";
import type { EnumerationResult } from "./_enumeration_worker.ts";
import type { EnumerationCounts, EnumerationOptions } from "./crash_enumeration.ts";
import { killProcesses } from "./kill.ts";
import { exploreRings, runRings } from "./rings.ts";
import { runRuleWorkers } from "./rule_workers.ts";

interface SuiteOptions {
  /** 1 for all of it. */
  readonly scale: number;
  readonly seed: number;
  /** Processes to be killed. */
  readonly kills: number;
}

interface Suite {
  readonly summary: string;
  /** Runs once; gives what was tried. */
  readonly run: (options: SuiteOptions) => Promise<object>;
}

const SUITES: Readonly<Record<string, Suite>> = {
  "crash-enumeration": {
    summary: "every crash and every damage of all workloads of up to 3 operations",
    run: (options) => enumerateOnThreads(options),
  },
  "crash-enumeration-lanes": {
    summary: "the same of logs in three lanes",
    run: (options) => enumerateOnThreads(options, 3),
  },
  "kill": {
    summary: "kill -9 at random moments: ticks, checkpoints, compaction, dropped logs",
    run: ({ kills, seed }) => killProcesses({ kills, seed }),
  },
  "rings": {
    summary: "rings between 1x1, 2x2 and 4x4 threads, random capacities and batches, checksums",
    run: ({ scale, seed }) => runRings({ scale, seed }),
  },
  "rule-workers": {
    summary: "a random program of 1,000 ticks with 0, 1, 2 and 8 workers, and killed on its way",
    run: ({ scale, seed }) => runRuleWorkers({ scale, seed }),
  },
  "ring-interleavings": {
    summary: "every order of steps of rings and sleepers in the scenarios too large for the tests",
    run: async () => exploreRings(),
  },
};

const KILLS = 200;

const HELP = `deno task stress [NAME…] [--scale N] [--seed N] [--minutes N] [--kills N]

Runs the named suites, or all of them:
${Object.entries(SUITES).map(([name, { summary }]) => `  ${name.padEnd(26)}${summary}`).join("\n")}

  --scale N     part of a suite's work, above 0; 1 (all of it) if left out
  --seed N      of all that is left to chance; 1 if left out
  --minutes N   repeats each suite with the next seeds until N minutes have passed for it
  --kills N     processes that the suite kill kills; ${KILLS} times the scale if left out

Example: deno task stress kill --scale 0.1 --seed 7`;

/** The crash enumeration in as many parts as there are cores. */
async function enumerateOnThreads(
  { scale, seed }: SuiteOptions,
  lanes = 1,
): Promise<EnumerationCounts> {
  const count = Math.max(1, Math.min(16, navigator.hardwareConcurrency));
  const parts = await Promise.all(
    Array.from(
      { length: count },
      (_, index) => enumeratePart({ scale, seed, lanes, part: [index, count] }),
    ),
  );
  const sum = { ...parts[0] };
  for (const part of parts.slice(1)) {
    for (const key of Object.keys(sum) as (keyof EnumerationCounts)[]) sum[key] += part[key];
  }
  return sum;
}

function enumeratePart(options: EnumerationOptions): Promise<EnumerationCounts> {
  const worker = new Worker(new URL("./_enumeration_worker.ts", import.meta.url), {
    type: "module",
  });
  const { promise, resolve, reject } = Promise.withResolvers<EnumerationCounts>();
  worker.onmessage = ({ data }: MessageEvent<EnumerationResult>) => {
    if ("counts" in data) resolve(data.counts);
    else reject(new Error(data.error));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  worker.postMessage(options);
  return promise.finally(() => worker.terminate());
}

/** Runs one suite, again and again while there is time; gives whether nothing was found. */
async function runSuite(name: string, options: SuiteOptions, minutes: number): Promise<boolean> {
  const start = performance.now();
  for (let seed = options.seed;; seed++) {
    const begin = performance.now();
    try {
      const counts = await SUITES[name].run({ ...options, seed });
      const seconds = ((performance.now() - begin) / 1000).toFixed(1);
      const text = Object.entries(counts).map(([what, count]) => `${words(what)} ${count}`);
      console.log(`ok      ${name}, seed ${seed}, ${seconds} s: ${text.join(", ")}`);
    } catch (error) {
      const { scale, kills } = options;
      const rest = `--seed ${seed} --scale ${scale}${name === "kill" ? ` --kills ${kills}` : ""}`;
      console.error(`FAILED  ${name}: deno task stress ${name} ${rest}`);
      console.error(error instanceof Error ? error.message : error);
      return false;
    }
    if (performance.now() - start >= 60_000 * minutes) return true;
  }
}

function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** A number of the command line; `undefined` where it is none. */
function numberOf(text: string, min: number): number | undefined {
  const value = Number(text);
  return text.trim() !== "" && Number.isFinite(value) && value >= min ? value : undefined;
}

async function main(args: readonly string[]): Promise<number> {
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
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    console.error(`${(error as Error).message}: see deno task stress --help`);
    return 2;
  }
  const { values, positionals } = parsed;
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const scale = numberOf(values.scale, 1e-6), seed = numberOf(values.seed, 0);
  const minutes = numberOf(values.minutes, 0);
  const kills = numberOf(values.kills ?? `${Math.max(1, Math.round(KILLS * (scale ?? 1)))}`, 1);
  const unknown = positionals.find((name) => !Object.hasOwn(SUITES, name));
  if (
    scale === undefined || seed === undefined || minutes === undefined || kills === undefined ||
    unknown !== undefined
  ) {
    const wrong = unknown ?? args.join(" ");
    console.error(`Cannot run ${wrong}: see deno task stress --help`);
    return 2;
  }
  let ok = true;
  for (const name of positionals.length > 0 ? positionals : Object.keys(SUITES)) {
    ok = await runSuite(name, { scale, seed, kills }, minutes) && ok;
  }
  return ok ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
