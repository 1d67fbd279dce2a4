/**
 * Faults: what a GPU thread does on request that nobody wants of it, so that tests and stress runs see what comes of it.
 *
 * A device that is lost, a shader that hangs, a thread that ends: none of that can be had from a driver when it is
 * needed. A fault is armed by a question and strikes in the next job, so that it does in the middle of a tick.
 */

import { exit } from "node:process";
import { MmsbError } from "../../base/mod.ts";
import { W_STOP } from "./_channel.ts";
import type { GpuAsk } from "./_thread_words.ts";
import type { GpuEngine } from "./gpu_engine.ts";

/** What is armed. */
type Fault = "hang" | "spin" | "throw" | "exit";

let armed: Fault | undefined;

/** Has the next job hang, keep its core, throw, or end the thread. */
export function armFault({ kind }: GpuAsk): void {
  armed = kind as Fault;
}

/** What is armed strikes; nothing where nothing is. */
export function strike(control: Int32Array): Promise<void> | undefined {
  const fault = armed;
  if (fault === undefined) return undefined;
  armed = undefined;
  switch (fault) {
    case "hang":
      // Its timer keeps the event loop alive, as the GPU would.
      return new Promise(() => setInterval(() => {}, 1000));
    case "spin":
      // As long as somebody waits for it: what would never end would slow down all else that is tested.
      while (Atomics.load(control, W_STOP) === 0);
      return undefined;
    case "throw":
      throw new MmsbError("gpu", "Cannot do the job: this is a trial", { values: { trial: true } });
    case "exit":
      return exit(1);
  }
}

/**
 * Destroys the device: at once, or behind the n-th time from now on that commands are submitted.
 *
 * With `raw` nobody is told of it but by the driver, as it is with a device that is lost.
 */
export async function destroyDevice(engine: GpuEngine, message: GpuAsk): Promise<void> {
  const { submits = 0, raw = false } = message as { submits?: number; raw?: boolean };
  const { device } = engine;
  const destroy = () => raw ? device.device.destroy() : void device.destroy();
  if (submits === 0) return destroy();
  const { queue } = device, submit = queue.submit;
  let left = submits;
  queue.submit = (commands) => {
    submit.call(queue, commands);
    if (--left === 0) destroy();
  };
}
