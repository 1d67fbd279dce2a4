/**
 * The thread of a worker: sleeps until there is a plan, does what it can of it, and sleeps again.
 *
 * It never returns to its event loop, so buffers reach it by a port that is read on the spot. What throws here
 * is a fault of ours: it is noted, and the coordinator ends the team.
 */

import { receiveMessageOnPort, workerData } from "node:worker_threads";
import { MmsbError } from "../../base/mod.ts";
import { monotonicNowMs } from "../../temporal/mod.ts";
import { pinThread } from "./_platform.ts";
import { TeamTasks } from "./_team_tasks.ts";
import * as words from "./_team_words.ts";

/** A buffer was posted before a plan names it, but may still be on its way: milliseconds to wait for it. */
const ARRIVAL_WAITS_MAX = 5000;
/** Nobody changes this word. */
const NEVER = new Int32Array(new SharedArrayBuffer(4));

/** Waits for work until the coordinator says that it is over. */
function work(start: words.WorkerStart): void {
  const control = new Int32Array(start.control);
  const counts = new Float64Array(
    start.counts,
    8 * words.COUNT_DOUBLES * start.worker,
    words.COUNT_DOUBLES,
  );
  if (start.core !== undefined) pinThread(start.core);
  const buffers = new Map<number, SharedArrayBuffer>();
  const tasks = new TeamTasks(start.worker, control, start.pages, (number) => {
    for (let waits = 0; waits < ARRIVAL_WAITS_MAX; waits++) {
      for (
        let news = receiveMessageOnPort(start.port)?.message as words.BufferNews | undefined;
        news !== undefined;
        news = receiveMessageOnPort(start.port)?.message as words.BufferNews | undefined
      ) {
        if (news.buffer === undefined) buffers.delete(news.number);
        else buffers.set(news.number, news.buffer);
      }
      const buffer = buffers.get(number);
      if (buffer !== undefined) return buffer;
      Atomics.wait(NEVER, 0, 0, 1);
    }
    throw new MmsbError("worker", `Cannot take part in a tick as buffer ${number} never came`);
  });
  const own = words.memberAt(start.worker);
  const isOver = () =>
    Atomics.load(control, words.W_STOP) !== 0 ||
    Atomics.load(control, own + words.M_LIFE) !== start.life;
  let seen = Atomics.load(control, words.W_BELL);
  Atomics.store(control, own, words.MEMBER.ready);
  while (Atomics.wait(control, own, words.MEMBER.ready) !== "not-equal") if (isOver()) return;
  for (;;) {
    Atomics.wait(control, words.W_BELL, seen);
    if (isOver()) return;
    seen = Atomics.load(control, words.W_BELL);
    counts[words.C_PLANS]++;
    doPlan(control, tasks, counts, seen);
  }
}

/** Does tasks until the plan is done. */
function doPlan(
  control: Int32Array,
  tasks: TeamTasks,
  counts: Float64Array,
  plan: number,
): void {
  while (Atomics.load(control, words.W_FINISHED) < plan) {
    const progress = Atomics.load(control, words.W_PROGRESS);
    const started = monotonicNowMs();
    let worked = false;
    while (tasks.step()) worked = true;
    if (worked) {
      counts[words.C_BUSY_MS] += monotonicNowMs() - started;
      counts[words.C_CHECKED] = tasks.counts.checked;
      counts[words.C_APPLIED] = tasks.counts.applied;
      counts[words.C_BUILT] = tasks.counts.built;
      counts[words.C_TASKS] = tasks.counts.tasks;
      continue;
    }
    for (let spin = control[words.W_SPINS]; spin > 0; spin--) {
      if (Atomics.load(control, words.W_PROGRESS) !== progress) break;
    }
    if (Atomics.load(control, words.W_FINISHED) >= plan) return;
    Atomics.wait(control, words.W_PROGRESS, progress);
  }
}

const start = workerData as words.WorkerStart;
try {
  work(start);
} catch (error) {
  const control = new Int32Array(start.control);
  Atomics.store(control, words.W_FAULT, 1 + start.worker);
  Atomics.notify(control, words.W_FINISHED);
  throw error;
} finally {
  start.port.close();
}
