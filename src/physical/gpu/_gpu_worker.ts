/**
 * The GPU thread: owns the device, does jobs one after the other, and sleeps where there are none.
 *
 * It sleeps in `Atomics.wait`, which wakes it in 40 µs where `Atomics.waitAsync` takes 110, and looks at its event
 * loop now and then, where a lost device is heard of. Jobs and news reach it by shared memory and by a port that it
 * reads on the spot, so that a coordinator that sleeps itself, in the middle of a tick, is served.
 */

import process from "node:process";
import { workerData } from "node:worker_threads";
import { STATE, W_PROGRESS, W_STATE } from "./_channel.ts";
import { ThreadWork } from "./_thread_work.ts";
import type { ThreadStart } from "./_thread_words.ts";

const start = workerData as ThreadStart, control = new Int32Array(start.control);

/** Says that the thread has ended to coordinators that sleep: nothing else reaches them. */
function sayEnded(): void {
  const state = Atomics.load(control, W_STATE);
  if (state !== STATE.none && state !== STATE.failed) Atomics.store(control, W_STATE, STATE.ended);
  Atomics.add(control, W_PROGRESS, 1);
  Atomics.notify(control, W_PROGRESS);
}

process.on("exit", sayEnded);
try {
  if (start.trial.module !== undefined) await import(start.trial.module);
  await new ThreadWork(start).run();
} finally {
  sayEnded();
  start.port.close();
}
