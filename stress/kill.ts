/**
 * Kill: a process is killed with SIGKILL at random moments while it writes in group mode; no tick that
 * it acknowledged is missing afterwards, none is half there, and the directory can be opened.
 *
 * A child process opens the directory, again each time, and goes on from the tick that it finds; so it
 * is killed while it recovers, too. Between rounds the directory is opened here, to read or to write,
 * or is left as it is for the next child; and sometimes the last tick is cut, as a torn write leaves
 * it. Several directories are worked on at once, because a child takes most of its time to start.
 *
 * Children make checkpoints and merge old ticks meanwhile, and each directory keeps, drops or archives the log before
 * its checkpoints, and writes the log in one lane or in several; so they are killed in the middle of that, too, and the states of earlier ticks are looked at as well.
 *
 * A killed process loses nothing that it gave to the system, so this shows that a tick is acknowledged
 * only when all of it was given away and that recovery copes with every state between two calls. Loss
 * of power is what the crash enumeration is for.
 *
 * Cost: some 100 ms a kill.
 */

import assert from "node:assert/strict";
import { StateBus } from "../src/bus/mod.ts";
import {
  auditLog,
  FileStorage,
  LaneReader,
  listCheckpoints,
  type LogRetention,
  readMeta,
  segmentPath,
} from "../src/log/mod.ts";
import { SeededRandom } from "../src/log/seeded_random.ts";
import { checkPattern } from "./_kill_pattern.ts";

/** How much is killed. */
export interface KillOptions {
  /** Kills, all directories together. */
  readonly kills: number;
  /** Of the moments and of what is done between them; the moments themselves cannot be had again. */
  readonly seed?: number;
  /** Directories at once. */
  readonly lines?: number;
}

/** What was seen. */
export interface KillCounts {
  /** Processes killed. */
  kills: number;
  /** Of these, killed before the directory was open. */
  beforeOpen: number;
  /** Ticks acknowledged. */
  acknowledged: number;
  /** Ticks found that had not been acknowledged. */
  unacknowledged: number;
  /** Directories found with a torn tail. */
  torn: number;
  /** Times that the last tick was cut. */
  cuts: number;
  /** Directories. */
  directories: number;
  /** Directories found with a checkpoint from which they were opened. */
  checkpoints: number;
  /** Directories found with ticks dropped or merged. */
  shortened: number;
  /** Of these, found with merged segments that had not got their names. */
  switches: number;
  /** States of earlier ticks that were looked at. */
  past: number;
}

/** A new directory after so many rounds, so that its log stays short. */
const ROUNDS_MAX = 10;
const SEGMENT_SIZES: readonly number[] = [4096, 65_536, 1_048_576];
/** What a child needs to start, at least; many kills are to come later than this. */
const START_MS = 100;
/** On a busy machine a child gets more time, but not more than this many times as much. */
const SLOWNESS_MAX = 10;
const RETENTIONS: readonly LogRetention[] = ["keep", "drop", "archive"];
/** A log whose beginning was dropped behind a checkpoint is not merged. */
const WORKS: Readonly<Record<LogRetention, readonly string[]>> = {
  keep: ["none", "checkpoint", "compact", "both", "both"],
  drop: ["none", "checkpoint", "checkpoint"],
  archive: ["none", "checkpoint", "checkpoint"],
};
/** In how many lanes a child writes, from one to the next on the same directory. */
const LANES: readonly number[] = [1, 2, 3, 8];
const RUN: readonly string[] = ["run", "--quiet", "--no-check", "--allow-all"];
const CHILD = new URL("./_kill_child.ts", import.meta.url).pathname;

/**
 * Kills processes.
 *
 * @throws {Error} at the first directory that is not as it must be; the message says where it is.
 */
export async function killProcesses(options: KillOptions): Promise<KillCounts> {
  const { kills, seed = 1, lines = 3 } = options;
  const counts: KillCounts = {
    kills: 0,
    beforeOpen: 0,
    acknowledged: 0,
    unacknowledged: 0,
    torn: 0,
    cuts: 0,
    directories: 0,
    checkpoints: 0,
    shortened: 0,
    switches: 0,
    past: 0,
  };
  const line = async (number: number) => {
    const random = new SeededRandom(seed * 1000 + number);
    while (counts.kills < kills) await killIn(random, counts, kills);
  };
  await Promise.all(Array.from({ length: Math.min(lines, kills) }, (_, number) => line(number)));
  return counts;
}

/** Some rounds on one directory. */
async function killIn(random: SeededRandom, counts: KillCounts, kills: number): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-kill-" });
  const log = RETENTIONS[counts.directories++ % RETENTIONS.length];
  const lanesMax = random.chance(0.4) ? 1 : Infinity;
  let acknowledged = 0;
  try {
    for (let round = 0; round < ROUNDS_MAX && counts.kills < kills; round++) {
      counts.kills++;
      const said = await killOne(dir, log, lanesMax, random);
      if (!said.open) counts.beforeOpen++;
      counts.acknowledged += Math.max(0, said.tick - acknowledged);
      acknowledged = Math.max(acknowledged, said.tick);
      acknowledged = await judge(dir, acknowledged, random, counts);
    }
  } catch (error) {
    throw new Error(`In ${dir}, after tick ${acknowledged} was acknowledged: ${error}`, {
      cause: error,
    });
  }
  await Deno.remove(dir, { recursive: true });
}

/** Starts a child and kills it; gives the last tick that it acknowledged. */
async function killOne(
  dir: string,
  log: LogRetention,
  lanesMax: number,
  random: SeededRandom,
): Promise<LastWords> {
  const segmentBytesMax = String(SEGMENT_SIZES[random.below(SEGMENT_SIZES.length)]);
  const work = WORKS[log][random.below(WORKS[log].length)];
  const lanes = lanesMax === 1 ? 1 : LANES[random.below(LANES.length)];
  return await killChild([CHILD, dir, segmentBytesMax, log, work, String(lanes)], random);
}

/** What a child said before it was killed. */
export interface LastWords {
  /** Whether it had opened its directory. */
  readonly open: boolean;
  /** The last tick that it acknowledged. */
  readonly tick: number;
}

/**
 * Starts a program that prints `open` and then the number of each acknowledged tick, and kills it with SIGKILL.
 *
 * @param args The program and its arguments.
 * @param random Of the moment.
 * @param within Milliseconds after it opened, before which it is killed; longer where it took long to open.
 * @throws {Error} where it ended by itself.
 */
export async function killChild(
  args: readonly string[],
  random: SeededRandom,
  within = 100,
): Promise<LastWords> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...RUN, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const kill = () => {
    try {
      child.kill("SIGKILL");
    } catch { /* It has ended by itself, and its status tells. */ }
  };
  // One in four is killed at any moment of its start, the others some time after they opened.
  const early = random.chance(0.25);
  const started = performance.now(), delay = random.below(early ? 1.5 * START_MS : within);
  let timer = early ? setTimeout(kill, delay) : undefined;
  const stderr = new Response(child.stderr).text();
  let text = "";
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (early || timer !== undefined || !text.startsWith("open\n")) continue;
    // Who is slow to start is slow to tick, and many are to be killed in the middle of a checkpoint or behind one.
    const slowness = (performance.now() - started) / START_MS;
    timer = setTimeout(kill, delay * Math.min(Math.max(1, slowness), SLOWNESS_MAX));
  }
  const status = await child.status;
  clearTimeout(timer);
  if (status.signal !== "SIGKILL") {
    throw new Error(`The child ended by itself with ${status.code}: ${await stderr}`);
  }
  await stderr;
  const lines = text.split("\n").slice(0, -1);
  const ticks = lines.filter((line) => line !== "open").map(Number);
  ticks.forEach((tick, i) => {
    assert(i === 0 || tick === ticks[i - 1] + 1, `acknowledged ${tick} after ${ticks[i - 1]}`);
  });
  return { open: lines.includes("open"), tick: ticks.at(-1) ?? 0 };
}

/** Looks at what a kill left; gives the tick that the next child must find at least. */
async function judge(
  dir: string,
  acknowledged: number,
  random: SeededRandom,
  counts: KillCounts,
): Promise<number> {
  // The lock dies with the process. A child that was killed early may not have made the directory.
  const storage = new FileStorage(dir);
  storage.lock()();
  if (!storage.exists("meta.json")) {
    assert.equal(acknowledged, 0, "the directory has no metadata");
    return 0;
  }
  if (readMeta(storage)?.pending !== undefined) counts.switches++;
  const { problems } = auditLog(storage);
  assert.deepEqual(problems.filter(({ kind }) => kind === "damage"), []);
  const found = await look(dir, true, counts, random);
  assert(found >= acknowledged, `tick ${found} is the last that was found`);
  counts.unacknowledged += found - acknowledged;
  const choice = random.below(4);
  if (choice === 0) return await look(dir, false, counts, random);
  if (choice !== 1 || found === 0) return found;
  if (!cutLastTick(storage, random)) return found;
  counts.cuts++;
  assert.equal(
    await look(dir, true, counts, random),
    found - 1,
    "the tick before the one that was cut",
  );
  return found - 1;
}

/** Opens a directory and checks everything in it; gives its last tick. */
async function look(
  dir: string,
  readOnly: boolean,
  counts: KillCounts,
  random: SeededRandom,
): Promise<number> {
  const bus = await StateBus.open({ dir, readOnly });
  assert.notEqual(bus.opened.state, "damaged", bus.opened.reason);
  if (bus.opened.state === "torn") counts.torn++;
  if (bus.opened.checkpoint !== undefined) counts.checkpoints++;
  // The next opening takes away those whose part of the log was merged.
  const bad = (bus.opened.passedOver ?? []).filter(({ reason }) => !reason?.includes("merged"));
  assert.deepEqual(bad, []);
  checkPattern(bus);
  const { horizon, tickNumber } = bus;
  if (horizon > 0) counts.shortened++;
  for (const tick of [horizon, horizon + random.below(tickNumber - horizon + 1)]) {
    await using past = await bus.at({ tick });
    checkPattern(past);
    counts.past++;
  }
  const { ok, compared } = await bus.verify();
  assert(ok, JSON.stringify(compared));
  await bus.close();
  return bus.opened.tick;
}

/** Cuts the last tick somewhere, where nothing behind it shows that it was synced. */
function cutLastTick(storage: FileStorage, random: SeededRandom): boolean {
  const { lanes, base, pending } = readMeta(storage)!;
  if (pending !== undefined) return false;
  // With several lanes another one may show that the tick was synced.
  if (lanes.length > 1) return false;
  const known = lanes.find(({ lane }) => lane === 0);
  const place = base?.lanes.find(({ lane }) => lane === 0);
  const begin = place && { ...place, tick: base!.tick };
  const reader = new LaneReader(storage, 0, known, begin);
  let start = 0, length = 0, number = 0, position = 0, lastTick = 0;
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    start = (tick.frames[0] ?? tick.commitFrame).at;
    length = tick.commitFrame.at + tick.commitFrame.length - start;
    number = tick.number;
    position = tick.position + start;
    lastTick = tick.tick;
  }
  // A checkpoint says that the log was durable up to its tick.
  if ((listCheckpoints(storage)[0] ?? 0) >= lastTick) return false;
  const { offset, number: last } = reader.end!;
  const hasEvidence = last !== number || offset !== start + length || known!.position > position;
  if (hasEvidence) return false;
  const file = storage.open(segmentPath(0, number), "write");
  file.truncate(start + random.below(length));
  file.close();
  return true;
}
