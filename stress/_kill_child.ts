/**
 * The process that is killed: opens a directory and ticks as fast as it can, some ticks ahead of their
 * acknowledgements, and prints the number of each acknowledged tick, in one system call each.
 *
 * `deno run -A stress/_kill_child.ts DIRECTORY SEGMENT_BYTES_MAX`
 */

import { StateBus } from "../src/bus/mod.ts";
import { PatternWriter } from "./_kill_pattern.ts";

/** Ticks that may wait for their acknowledgement. */
const AHEAD_MAX = 8;

const [dir, segmentBytesMax] = Deno.args;
const encoder = new TextEncoder();

function say(word: string | number): void {
  const line = encoder.encode(`${word}\n`);
  if (Deno.stdout.writeSync(line) !== line.length) Deno.exit(3);
}

const bus = await StateBus.open({
  dir,
  durability: "group",
  segmentBytesMax: Number(segmentBytesMax),
});
say("open");
const writer = new PatternWriter(bus);
const ahead: Promise<void>[] = [];
for (;;) {
  writer.stage();
  const { durable } = await bus.tick();
  ahead.push(durable.then(({ tick }) => say(tick)));
  if (ahead.length >= AHEAD_MAX) await ahead.shift();
}
