/**
 * Jobs of the GPU thread: which handler does what, by number, and which one answers what, by word.
 *
 * A handler reads its job, has the device work, and writes its result. Nothing else of it may be seen: it never
 * writes into an arena, since a thread that was given up may still be running. What throws becomes the
 * error of who waits.
 */

import { MmsbError } from "../../base/mod.ts";
import type { JobReader, JobWriter } from "./_channel.ts";
import { applyJob } from "./apply_job.ts";
import { armFault, destroyDevice } from "./_thread_faults.ts";
import type { GpuAsk } from "./_thread_words.ts";
import type { GpuEngine } from "./gpu_engine.ts";
import { APPLY_JOB, PAGE_JOB, RULE_JOB } from "./job_ops.ts";
import { pageJob, pagesGone } from "./page_job.ts";
import { compileRule, endRules, forgetRuleArena, ruleJob } from "./rule_job.ts";

/** Does jobs of one kind. Jobs are done one after the other. */
export type JobHandler = (
  engine: GpuEngine,
  job: JobReader,
  result: JobWriter,
) => void | Promise<void>;

/** Answers questions of one kind; the answer is cloned. */
export type AskHandler = (engine: GpuEngine, message: GpuAsk) => unknown;

/** Frees what an engine keeps for an arena that is gone. */
export type ArenaHandler = (engine: GpuEngine, arena: number) => void;

/** Handlers by the numbers of `job_ops.ts`. */
const JOBS = new Map<number, JobHandler>([
  [APPLY_JOB, applyJob],
  [RULE_JOB, ruleJob],
  [PAGE_JOB, pageJob],
]);

/** Handlers by the kind of a question. */
const ASKS = new Map<string, AskHandler>([
  ["statistics", ({ device, pool, pages }) => ({
    buffers: device.buffers,
    bufferBytes: device.bufferBytes,
    unsettled: device.unsettled,
    pool: pool.statistics(),
    pages: pages.statistics(),
  })],
  ["rule", compileRule as AskHandler],
  ["rule-end", endRules as AskHandler],
  ["destroy", destroyDevice],
  ...["hang", "spin", "throw", "exit"].map((kind): [string, AskHandler] => [
    kind,
    (_, message) => armFault(message),
  ]),
]);

/** Those who keep something for an arena. */
const ARENAS: readonly ArenaHandler[] = [forgetRuleArena, pagesGone];

/** Adds handlers, for tests. */
export function addHandlers(
  jobs: Iterable<readonly [number, JobHandler]>,
  asks: Iterable<readonly [string, AskHandler]>,
): void {
  for (const [op, handler] of jobs) JOBS.set(op, handler);
  for (const [kind, handler] of asks) ASKS.set(kind, handler);
}

/** Does a job. */
export function doJob(
  op: number,
  engine: GpuEngine,
  job: JobReader,
  result: JobWriter,
): void | Promise<void> {
  const handler = JOBS.get(op);
  if (handler === undefined) throw unknown("job", op);
  return handler(engine, job, result);
}

/** Answers a question. */
export async function askEngine(engine: GpuEngine, message: GpuAsk): Promise<unknown> {
  const handler = ASKS.get(message.kind);
  if (handler === undefined) throw unknown("question", message.kind);
  return await handler(engine, message);
}

/** Frees what an engine keeps for an arena that is gone. */
export function forgetArena(engine: GpuEngine, arena: number): void {
  for (const forget of ARENAS) forget(engine, arena);
}

function unknown(what: string, name: number | string): MmsbError {
  return new MmsbError(
    "usage",
    `Cannot do ${what} ${JSON.stringify(name)} on the GPU: nothing does that`,
    { values: { name } },
  );
}
