/**
 * Stress: long and hostile runs, by name.
 *
 * `deno task stress [NAME…] [--scale N] [--seed N] [--minutes N] [--kills N] [--json FILE]`
 *
 * A suite that finds something says what, with the command that repeats it, and the exit code is 1. What each does
 * is told in docs/stress.md.
 */

import {
  isProgram,
  OPTIONS_HELP,
  runSuite,
  type StressArguments,
  stressArguments,
  type StressSuite,
  StressUsageError,
  writeReports,
} from "./_program.ts";
import { count, scaled, StressLog, type StressOptions, type StressReport } from "./_report.ts";
import { fuzzClock } from "./clock_fuzz.ts";
import { runNetworks } from "./causal.ts";
import { crashSuite } from "./crash.ts";
import { memorySuite } from "./memory.ts";
import { stabilitySuite } from "./stability.ts";
import { throughputSuite } from "./throughput.ts";
import type { EnumerationResult } from "./_enumeration_worker.ts";
import type { EnumerationCounts, EnumerationOptions } from "./crash_enumeration.ts";
import { gpuSuite } from "./gpu.ts";
import { killProcesses } from "./kill.ts";
import { exploreRings, runRings } from "./rings.ts";
import { runRuleWorkers } from "./rule_workers.ts";

const KILLS = 200;

/** All suites, in the order in which they run. */
function suitesOf({ kills }: StressArguments): StressSuite[] {
  return [
    throughputSuite,
    stabilitySuite,
    memorySuite,
    crashSuite,
    counted(
      "crash-enumeration",
      "every crash and every damage of all workloads of up to 3 operations",
      (options) => enumerateOnThreads(options),
    ),
    counted(
      "crash-enumeration-lanes",
      "the same of logs in three lanes",
      (options) => enumerateOnThreads(options, 3),
    ),
    counted(
      "kill",
      "kill -9 at random moments: ticks, checkpoints, compaction, dropped logs",
      ({ scale, seed }) => killProcesses({ kills: kills ?? scaled(KILLS, scale), seed }),
    ),
    counted(
      "clock-fuzz",
      "1,000,000 random, cut and mutated datagrams against the SNTP client, and its memory",
      (options) => Promise.resolve(fuzzClock(options)),
    ),
    counted(
      "rings",
      "rings between 1x1, 2x2 and 4x4 threads, random capacities and batches, checksums",
      ({ scale, seed }) => runRings({ scale, seed }),
    ),
    counted(
      "rule-workers",
      "a random program of 1,000 ticks with 0, 1, 2 and 8 workers, and killed on its way",
      ({ scale, seed }) => runRuleWorkers({ scale, seed }),
    ),
    counted(
      "causal",
      "1,000 simulated networks of 5 nodes: all messages in causal order, none twice, none lost",
      (options) => runNetworks(options),
    ),
    gpuSuite,
    {
      name: "ring-interleavings",
      summary:
        "orders of steps of rings and sleepers, up to a bound, in scenarios too large for the tests",
      run: exploreRings,
    },
  ];
}

function help(suites: readonly StressSuite[]): string {
  return `deno task stress [NAME…] [--scale N] [--seed N] [--minutes N] [--json FILE]

Runs the named suites, or all of them:
${suites.map(({ name, summary }) => `  ${name.padEnd(26)}${summary}`).join("\n")}

${OPTIONS_HELP}
  --kills N     processes that the suite kill kills; ${KILLS} times the scale if left out

Exit code: 0 all was right, 1 something was not (with the command that repeats it), 2 wrong usage.
Example: deno task stress kill --scale 0.1 --seed 7`;
}

/** The crash enumeration in as many parts as there are cores. */
async function enumerateOnThreads(
  { scale, seed }: StressOptions,
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

function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** A suite whose result is counts of what was tried. */
function counted(
  name: string,
  summary: string,
  run: (options: StressOptions) => Promise<object>,
): StressSuite {
  return {
    name,
    summary,
    async run(options): Promise<StressReport> {
      const log = new StressLog(name, options), begin = performance.now();
      const counts = await run(options);
      const entries = Object.entries(counts);
      log.add({
        what: name,
        amount: entries.map(([what, value]) => `${words(what)} ${count(value)}`).join(", "),
        rate: `${((performance.now() - begin) / 1000).toFixed(1)} s`,
        checked: "what it says above",
        figures: Object.fromEntries(entries),
      });
      return log.report();
    },
  };
}

async function main(args: readonly string[]): Promise<number> {
  try {
    const parsed = stressArguments(args);
    const suites = suitesOf(parsed);
    if (parsed.help) {
      console.log(help(suites));
      return 0;
    }
    const unknown = parsed.names.find((name) => !suites.some((suite) => suite.name === name));
    if (unknown !== undefined) throw new StressUsageError(`Cannot run ${unknown}: it is no suite`);
    const chosen = parsed.names.length === 0
      ? suites
      : suites.filter(({ name }) => parsed.names.includes(name));
    const reports: StressReport[] = [];
    let ok = true;
    for (const suite of chosen) {
      const found = await runSuite(suite, parsed);
      reports.push(...found.reports);
      ok &&= found.ok;
    }
    writeReports(parsed, reports);
    return ok ? 0 : 1;
  } catch (error) {
    if (!(error instanceof StressUsageError)) throw error;
    console.error(`${error.message}: see deno task stress --help`);
    return 2;
  }
}

if (isProgram(import.meta)) Deno.exit(await main(Deno.args));
