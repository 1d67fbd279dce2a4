/**
 * The process that is killed: goes on with a random program for a GPU from where a directory is, and prints the number of
 * each tick, and "end" at the end.
 *
 * `deno run -A stress/_gpu_child.ts DIRECTORY DEVICE SEED TICKS`
 */

import { StateBus } from "../src/bus/mod.ts";
import { GpuProgram } from "./_gpu_program.ts";
import { gpuProgramOptions } from "./gpu.ts";

const [dir, device, seed, ticks] = Deno.args;
const encoder = new TextEncoder();

function say(word: string | number): void {
  const line = encoder.encode(`${word}\n`);
  if (Deno.stdout.writeSync(line) !== line.length) Deno.exit(3);
}

const bus = await StateBus.open({ dir, ...gpuProgramOptions(device as "cpu" | "gpu") });
say("open");
await new GpuProgram({ seed: Number(seed), hasLateRules: false })
  .run(bus, Number(ticks), { after: say });
await bus.close();
say("end");
