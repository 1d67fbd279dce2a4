/**
 * The process that is killed: opens a directory and ticks as fast as it can, some ticks ahead of their
 * acknowledgements, and prints the number of each acknowledged tick, in one system call each. Meanwhile it
 * makes checkpoints, drops or archives the log before them, or merges old ticks, whichever it is told.
 *
 * `deno run -A stress/_kill_child.ts DIRECTORY SEGMENT_BYTES_MAX LOG WORK LANES`, where LOG is keep, drop or
 * archive, WORK is none, checkpoint, compact or both, and LANES is in how many lanes the log is written.
 */

import { openLanes } from "../src/bus/open_lanes.ts";
import type { LogRetention } from "../src/log/mod.ts";
import { PatternWriter } from "./_kill_pattern.ts";

/** Ticks that may wait for their acknowledgement. */
const AHEAD_MAX = 8;

/** Bytes of log between two checkpoints: some ten ticks. */
const CHECKPOINT_BYTES = 200_000;
/** Ticks between two compactions. */
const COMPACT_TICKS = 16;

const [dir, segmentBytesMax, log, work, lanes] = Deno.args;
const encoder = new TextEncoder();

function say(word: string | number): void {
  const line = encoder.encode(`${word}\n`);
  if (Deno.stdout.writeSync(line) !== line.length) Deno.exit(3);
}

const bus = await openLanes({
  dir,
  durability: "group",
  segmentBytesMax: Number(segmentBytesMax),
  checkpoints: {
    everyBytes: work === "checkpoint" || work === "both" ? CHECKPOINT_BYTES : Infinity,
    keep: 2,
    log: log as LogRetention,
  },
}, Number(lanes));
say("open");
const writer = new PatternWriter(bus);
const ahead: Promise<void>[] = [];
const compacts = work === "compact" || work === "both";
let compaction: Promise<unknown> | undefined;
for (let count = 1;; count++) {
  if (compacts && compaction === undefined && count % COMPACT_TICKS === 0) {
    // An error ends the process, and that is told.
    compaction = bus.compact().finally(() => compaction = undefined);
  }
  const { durable } = await writer.tick();
  ahead.push(durable.then(say));
  if (ahead.length >= AHEAD_MAX) await ahead.shift();
}
