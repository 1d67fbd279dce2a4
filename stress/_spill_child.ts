/**
 * The process that is killed while pages go to its spill file and come back: opens a directory and goes on from the tick
 * that it finds, as fast as it can, and prints the number of each acknowledged tick.
 *
 * `deno run -A stress/_spill_child.ts DIRECTORY LIMIT_BYTES SEED CHECKPOINT_BYTES`
 */

import { StateBus } from "../src/bus/mod.ts";
import { SpillPattern } from "./_spill_pattern.ts";

/** Ticks that may wait for their acknowledgement. */
const AHEAD_MAX = 4;

const [dir, limit, seed, everyBytes] = Deno.args;
const encoder = new TextEncoder();

function say(word: string | number): void {
  const line = encoder.encode(`${word}\n`);
  if (Deno.stdout.writeSync(line) !== line.length) Deno.exit(3);
}

const bus = await StateBus.open({
  dir,
  memoryLimitBytes: Number(limit),
  spill: true,
  durability: "group",
  checkpoints: { everyBytes: Number(everyBytes), keep: 2 },
});
const pattern = SpillPattern.after(bus.tickNumber, Number(limit), Number(seed));
say("open");
const ahead: Promise<void>[] = [];
for (;;) {
  pattern.step(bus);
  const { durable } = await bus.tick();
  ahead.push(durable.then(({ tick }) => say(tick)));
  if (ahead.length >= AHEAD_MAX) await ahead.shift();
}
