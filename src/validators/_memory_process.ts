/**
 * Measures memory in a process of its own, in which nothing else was done: `_memory_process.ts PLAN DEVICE`, run
 * with `--v8-flags=--expose-gc`. It writes lines of JSON: `{"progress": …}` on its way, `{"outcome": …,
 * "counts": …}` at the end, counts being what ran on a GPU.
 */

import { measureMemory, type MemoryPlan } from "./_memory_measure.ts";
import { onDevice } from "./device_run.ts";
import type { MeasuredDevice } from "./validator.ts";

type Collect = (options: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void;

/** V8's collector, which also gives back what the young generation keeps. */
const collect = (globalThis as { gc?: Collect }).gc;

function say(line: unknown): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(line)}\n`));
}

/** Does what the command line says. */
export async function main(): Promise<void> {
  if (collect === undefined) throw new Error("run it with --v8-flags=--expose-gc");
  const plan: MemoryPlan = JSON.parse(Deno.args[0]);
  const device = (Deno.args[1] ?? "cpu") as MeasuredDevice;
  // A GPU thread is there before anything is measured.
  const { value: outcome, counts } = await onDevice(device, () =>
    measureMemory(plan, {
      residentBytes: () => Deno.memoryUsage().rss,
      collect: () => collect({ type: "major", execution: "sync", flavor: "last-resort" }),
      progress: (progress) => say({ progress }),
    }));
  say({ outcome, counts });
}

if (import.meta.main) await main();
