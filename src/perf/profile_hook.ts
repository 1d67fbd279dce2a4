/**
 * What a profiled program loads before its first module: starts the engine's own samplers of time and of
 * allocation, listens to ticks, and writes what they saw when the program ends.
 *
 * The program stays the main module, with its own arguments, and ends as it would have ended. The engine hands
 * a profile over only while the event loop turns, so `Deno.exit` and `process.exit` cannot leave at once here: they
 * unwind the program by throwing (a `catch` around the call sees that), and the process ends when the profile is
 * written.
 *
 * It imports nothing of this package, as the program may bring a copy of its own: ticks come over the channel
 * `mmsb:tick` of `node:diagnostics_channel`. Only the main thread is seen.
 *
 * Cost: a sample of the stack each 0.2 ms, and one of the allocations each 8 KiB: a few per cent.
 */

import { subscribe } from "node:diagnostics_channel";
import { Session } from "node:inspector/promises";
import process from "node:process";
import { GCProfiler } from "node:v8";
import type { ProfileTask, RawProfile, TickTally } from "./profile.ts";

type Post = (method: string, params?: object) => Promise<unknown>;

const task = JSON.parse(Deno.env.get("MMSB_PROFILE")!) as ProfileTask;
// Programs that this one starts are not profiled.
Deno.env.delete("MMSB_PROFILE");

/** Stands for a wish to end the process. */
class Exit {
  readonly code: number | undefined;

  constructor(code: number | undefined) {
    this.code = code;
  }
}

const session = new Session();
session.connect();
const post = session.post.bind(session) as unknown as Post;
const startedMs = performance.now();
const collections = new GCProfiler();
const tally: TickTally = { ticks: 0, rows: 0, derived: 0, phasesMs: {} };

async function start(): Promise<void> {
  await post("Profiler.enable");
  await post("Profiler.setSamplingInterval", { interval: task.intervalUs });
  await post("HeapProfiler.startSampling", {
    samplingInterval: task.allocationBytes,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  });
  await post("Profiler.start");
  collections.start();
  subscribe("mmsb:tick", (message) => {
    const { rows, derived, phasesMs } = message as TickTally;
    tally.ticks++;
    tally.rows += rows;
    tally.derived += derived;
    for (const phase in phasesMs) {
      tally.phasesMs[phase] = (tally.phasesMs[phase] ?? 0) + phasesMs[phase];
    }
  });
}

let isStopped = false;

/** Ends sampling and writes the profile, once. */
async function stop(reason: RawProfile["reason"]): Promise<void> {
  if (isStopped) return;
  isStopped = true;
  const elapsedMs = performance.now() - startedMs;
  // Node.js would give microseconds here, Deno gives nanoseconds.
  const gcMs = collections.stop().statistics.map(({ cost }) => cost / 1e6);
  const { profile: cpu } = await post("Profiler.stop") as Pick<RawProfile, "cpu"> & {
    profile: RawProfile["cpu"];
  };
  const { profile: heap } = await post("HeapProfiler.stopSampling") as {
    profile: RawProfile["heap"];
  };
  const maps: Record<string, string> = {};
  session.on("Debugger.scriptParsed", (message) => {
    const { url, sourceMapURL } =
      (message as unknown as { params: { url: string; sourceMapURL: string } }).params;
    if (sourceMapURL !== "") maps[url] = sourceMapURL;
  });
  await post("Debugger.enable");
  await post("Debugger.disable");
  session.disconnect();
  const raw: RawProfile = { reason, elapsedMs, cpu, heap, maps, tally, gcMs };
  Deno.writeTextFileSync(task.file, JSON.stringify(raw));
}

const realExit = Deno.exit;
Deno.exit = unwind;
process.exit = unwind as typeof process.exit;

function unwind(code?: number): never {
  throw new Exit(code);
}

async function leave(code: number | undefined): Promise<never> {
  await stop("exit");
  return realExit(code);
}

globalThis.addEventListener("error", (event) => {
  if (!(event.error instanceof Exit)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  leave(event.error.code);
});
globalThis.addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof Exit)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  leave(event.reason.code);
});
globalThis.addEventListener("beforeunload", (event) => {
  if (isStopped) return;
  // Turns the event loop once more; the program sees the next event only, as it would see this one.
  event.preventDefault();
  event.stopImmediatePropagation();
  stop("end");
});

/** Ends the program from outside. */
async function interrupt(reason: RawProfile["reason"]): Promise<void> {
  await stop(reason);
  realExit(0);
}

if (task.seconds !== undefined) {
  Deno.unrefTimer(setTimeout(() => interrupt("time"), 1000 * task.seconds));
}
if (Deno.build.os !== "windows") Deno.addSignalListener("SIGINT", () => interrupt("signal"));

await start();
