/**
 * Waiting for the GPU thread: what a coordinator that sleeps sees of it, all in shared memory, as no news of its event
 * loop reach it then.
 *
 * A job may take as long as it says that it goes on. Time counts only as far as this thread has looked, so that a
 * process that was stopped for a while gives nothing up when it goes on.
 *
 * Cost: 6 to 40 µs from the end of a job to the next line of who waits.
 */

import { monotonicNowMs } from "../../temporal/mod.ts";
import { JOB, STATE, W_PROGRESS } from "./_channel.ts";
import type { JobTicket, ThreadLife } from "./_thread_life.ts";
import type { GpuThreadStatus } from "./gpu_thread.ts";

/** A coordinator looks so often whether its thread goes on. */
const LOOK_MS = 20;
/** Milliseconds between two looks that count. */
const LOOK_MS_MAX = 200;

/**
 * Sleeps until a job is done or will not be.
 *
 * @param ticket The job.
 * @param timeoutMs Milliseconds that nothing may go on.
 * @param spins Looks before it sleeps.
 * @returns What has become of it; `still` where nothing went on.
 */
export function waitFor(
  ticket: JobTicket,
  timeoutMs: number,
  spins: number,
): "done" | "failed" | "over" | "still" {
  const { life } = ticket, { control } = life;
  let last = -1, stillMs = 0, lookedMs = monotonicNowMs();
  for (let looks = 0;; looks++) {
    const progress = Atomics.load(control, W_PROGRESS), state = life.stateOf(ticket);
    if (state === JOB.done) return "done";
    if (state === JOB.failed) return "failed";
    if (life.over !== undefined) return "over";
    if (looks < spins) continue;
    const nowMs = monotonicNowMs();
    stillMs = progress === last ? stillMs + Math.min(nowMs - lookedMs, LOOK_MS_MAX) : 0;
    last = progress;
    lookedMs = nowMs;
    if (stillMs > timeoutMs) return "still";
    Atomics.wait(control, W_PROGRESS, progress, LOOK_MS);
  }
}

/** What a thread is doing, in a word, and why. */
export function stateOf(life: ThreadLife): Pick<GpuThreadStatus, "state" | "reason"> {
  const { state, over, report: { reason } } = life;
  // A thread that has found no device has ended, too.
  if (state === STATE.none) return { state: "none", reason };
  if (state === STATE.failed) return { state: "failed", reason };
  if (over !== undefined) return { state: "lost", reason: over };
  if (state === STATE.ready) return { state: "ready", reason: "" };
  return { state: state === STATE.starting ? "starting" : "lost", reason };
}
