/**
 * Validating a live bus: its directory in another thread, and in this one what only it can tell: whether its memory
 * is what its log leads to, whether its invariants hold, and the rules that a program gives as they are.
 *
 * Cost: in this thread a replay of the log (`bus.verify`) and a look at all pages, between two ticks each.
 */

import { isMmsbError, MmsbError } from "../base/mod.ts";
import { insideOf, type StateBus } from "../bus/mod.ts";
import { type GivenRules, type RunDevice, validators } from "../validators/mod.ts";
import type { ValidateMessage, ValidateTask } from "./_validate_worker.ts";
import {
  type BenchmarkResult,
  countStatuses,
  exitCodeOfRun,
  runBenchmarks,
  type RunReport,
} from "./runner.ts";
import { loadTargets } from "./targets.ts";

/** What is given beside the task. */
export interface LiveParts {
  /** The bus, where one is validated. */
  readonly bus?: StateBus;
  /** Rules by name, which run in this thread. */
  readonly givenRules?: GivenRules;
  /** Told how far it is. */
  readonly progress?: (text: string) => void;
}

/** What to run, of a bus in memory without a directory. */
export type LiveTask = Omit<ValidateTask, "directory"> & { readonly directory?: string };

const REPLAY = 1, PURITY = 4, INVARIANTS = 8;

/** Runs all of it. */
export async function validateAll(task: LiveTask, parts: LiveParts): Promise<RunReport> {
  const { bus, givenRules, progress } = parts;
  const targets = await loadTargets(task.targets);
  const chosen = task.only ?? targets.benchmarks.map(({ id }) => id);
  const { directory } = task, started = performance.now();
  // Numbers that are not there are refused by whoever runs them.
  const isHere = (id: number) =>
    directory === undefined || id === PURITY && givenRules !== undefined;
  const there = chosen.filter((id) => !isHere(id)), here = chosen.filter(isHere);
  const reports: RunReport[] = [];
  if (there.length > 0) {
    reports.push(await inThread({ ...task, directory: directory!, only: there }, progress));
  }
  if (here.length > 0) {
    const { quick, seed, repeats, startedAt, device } = task;
    const run = { quick, seed, repeats, startedAt, device };
    const own = { bus, givenRules };
    reports.push(
      await runBenchmarks({ ...run, validators, targets, only: here, directory, own, progress }),
    );
  }
  let benchmarks = reports.flatMap((report) => report.benchmarks).sort((a, b) => a.id - b.id);
  if (bus !== undefined && directory !== undefined) {
    progress?.("the bus's own memory");
    benchmarks = await withMemory(benchmarks, bus);
  }
  const counts = countStatuses(benchmarks), ran = deviceOf(reports);
  return {
    ...reports[0],
    durationMs: performance.now() - started,
    ...(ran === undefined ? {} : { device: ran }),
    benchmarks,
    counts,
    exitCode: exitCodeOfRun(benchmarks, counts, ran),
  };
}

/** The device of both parts, and what ran on it in either. */
function deviceOf(reports: readonly RunReport[]): RunDevice | undefined {
  const devices = reports.flatMap(({ device }) => device ?? []);
  if (devices.length < 2) return devices[0];
  const sum = (name: keyof RunDevice["counts"]) =>
    devices.reduce((total, { counts }) => total + counts[name], 0);
  return {
    ...devices[0],
    counts: { batches: sum("batches"), rows: sum("rows"), rules: sum("rules") },
  };
}

/** Has another thread validate a directory. */
async function inThread(
  task: ValidateTask,
  progress: ((text: string) => void) | undefined,
): Promise<RunReport> {
  const worker = new Worker(new URL("./_validate_worker.ts", import.meta.url), { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<RunReport>();
  worker.onmessage = ({ data }: MessageEvent<ValidateMessage>) => {
    if ("progress" in data) progress?.(data.progress);
    else if ("report" in data) resolve(data.report);
    else {
      const { error } = data;
      reject(typeof error === "string" ? new MmsbError("io", error) : MmsbError.fromJSON(error));
    }
  };
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new MmsbError("worker", `Cannot validate in another thread: ${event.message}`));
  };
  try {
    worker.postMessage(task);
    return await promise;
  } finally {
    worker.terminate();
  }
}

/** What the directory says, and what the bus has in memory. */
async function withMemory(
  benchmarks: readonly BenchmarkResult[],
  bus: StateBus,
): Promise<BenchmarkResult[]> {
  const results: BenchmarkResult[] = [];
  for (const result of benchmarks) {
    if (result.id === REPLAY) results.push(await withVerify(result, bus));
    else if (result.id === INVARIANTS) results.push(withInvariants(result, bus));
    else results.push(result);
  }
  return results;
}

async function withVerify(result: BenchmarkResult, bus: StateBus): Promise<BenchmarkResult> {
  try {
    const { tick, ok, compared } = await bus.verify();
    const { different = [], missing = [], extra = [] } = compared ?? {};
    const note = `the bus's memory after tick ${tick} ${
      ok ? "is what its log leads to" : "is NOT what its log leads to"
    }`;
    const notes = [...result.notes, note];
    if (ok) return { ...result, notes };
    const pages = [...different, ...missing, ...extra].slice(0, 8);
    return { ...result, notes, status: "failed", reason: `${note}: pages ${pages.join(", ")}` };
  } catch (error) {
    if (!isMmsbError(error)) throw error;
    const { code, message } = error as MmsbError;
    return { ...result, status: "failed", reason: `${code}: ${message}` };
  }
}

function withInvariants(result: BenchmarkResult, bus: StateBus): BenchmarkResult {
  const asked = insideOf(bus).askInvariants();
  if (asked.length === 0) return result;
  const broken = asked.flatMap(({ name, fault }) => {
    return fault === undefined ? [] : [`invariant "${name}" does not hold: ${fault}`];
  });
  const names = asked.map(({ name }) => JSON.stringify(name)).join(", ");
  const note = `${asked.length} invariant${
    asked.length === 1 ? "" : "s"
  } of the bus asked after tick ${bus.tickNumber}: ${names}`;
  const notes = [...result.notes, note, ...broken];
  return broken.length === 0
    ? { ...result, notes }
    : { ...result, notes, status: "failed", reason: broken[0] };
}
