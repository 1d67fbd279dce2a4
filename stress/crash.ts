/**
 * Crash: everything that a machine does to a directory. Nothing that was acknowledged may be lost without a word, and
 * nothing may ever be read that was not written.
 *
 * - Processes are killed with SIGKILL at random moments (kill.ts).
 * - The files of directories that were closed well are damaged at random: opened to read or to write, verified, and salvaged.
 *   What opens holds exactly what its last tick left; what is missing is told; a salvage names every page that it could not save whole.
 * - The disk is full, or fails, at every single write of a program, and at every so many bytes; and a real small disk is filled.
 * - The directory may not be written, or another process has it.
 *
 * `deno run -A stress/crash.ts --scale 0.1`
 */

import assert from "node:assert/strict";
import { statfsSync } from "node:fs";
import { isMmsbError } from "../src/base/mod.ts";
import { type OpenOptions, StateBus } from "../src/bus/mod.ts";
import {
  auditLog,
  FaultyStorage,
  MemoryStorage,
  salvageLog,
  salvageStorage,
  verifyLog,
} from "../src/log/mod.ts";
import { SeededRandom } from "../src/log/seeded_random.ts";
import { openLanes } from "../src/bus/open_lanes.ts";
import { damaged, type Image } from "./_damage.ts";
import { checkDamagePattern, checkSalvaged, writePattern, writeTick } from "./_damage_pattern.ts";
import type { OpeningAnswer } from "./_opening_child.ts";
import { isProgram, programOf, type StressSuite } from "./_program.ts";
import { mountSmallDisk, type SmallDisk } from "./_small_disk.ts";
import { killProcesses } from "./kill.ts";
import {
  count,
  inFolder,
  perSecond,
  scaled,
  StressLog,
  type StressOptions,
  type StressReport,
} from "./_report.ts";

const KILLS = 200;
const DAMAGES = 4000;
/** One damage in so many is done to real files. */
const REAL_EVERY = 40;
const TICKS = 120;
const SEGMENT_BYTES = 65_536;
/** Ticks of the program whose every write fails once. */
const FULL_TICKS = 14;
const MEMORY_BYTES = 4 * 2 ** 20;
const SMALL: OpenOptions = {
  memoryLimitBytes: MEMORY_BYTES,
  segmentBytes: SEGMENT_BYTES,
  segmentBytesMax: SEGMENT_BYTES,
};

/** Runs it. */
export async function runCrash(options: StressOptions): Promise<StressReport> {
  const log = new StressLog("crash", options);
  await runKills(options, log);
  await runDamage(options, log);
  await runFull(options, log);
  await runRealDisk(options, log);
  await runDenied(log);
  await runLocked(log);
  return log.report();
}

async function runKills({ scale, seed, progress }: StressOptions, log: StressLog): Promise<void> {
  const kills = scaled(KILLS, scale), start = performance.now();
  progress(`killing ${kills} processes …`);
  const counts = await killProcesses({ kills, seed });
  log.add({
    what: "processes killed with SIGKILL",
    amount: `${counts.kills} kills, ${count(counts.acknowledged)} ticks acknowledged`,
    rate: perSecond(counts.kills, (performance.now() - start) / 1000),
    checked:
      `none lost, none half there; ${counts.torn} torn tails, ${counts.checkpoints} openings from checkpoints, ${counts.past} earlier states`,
    figures: { ...counts },
  });
}

/** Directories as different histories leave them, closed well. */
async function images(): Promise<
  { readonly what: string; readonly image: Image; readonly tick: number }[]
> {
  const made = [];
  for (const what of ["log", "checkpoints", "merged", "dropped", "three lanes"]) {
    const storage = new MemoryStorage();
    const bus = await openLanes({
      ...SMALL,
      storage,
      ...what === "dropped" ? { checkpoints: { log: "drop", keep: 2 } } : {},
    }, what === "three lanes" ? 3 : 1);
    await writePattern(bus, TICKS / 2);
    if (what === "merged") await bus.compact();
    if (what === "checkpoints" || what === "dropped") await bus.checkpoint();
    await writePattern(bus, TICKS / 2);
    if (what === "checkpoints" || what === "dropped") await bus.checkpoint();
    await writePattern(bus, 5);
    checkDamagePattern(bus);
    const tick = bus.tickNumber;
    await bus.close();
    const image: Image = new Map(storage.image());
    image.delete("lock");
    made.push({ what, image, tick });
  }
  return made;
}

interface DamageCounts {
  damages: number;
  openedWhole: number;
  openedShorter: number;
  refused: number;
  salvaged: number;
  salvageRefused: number;
  pagesWhole: number;
  pagesNamed: number;
}

async function runDamage({ scale, seed, progress }: StressOptions, log: StressLog): Promise<void> {
  const random = new SeededRandom(seed), all = await images(), start = performance.now();
  const counts: DamageCounts = {
    damages: 0,
    openedWhole: 0,
    openedShorter: 0,
    refused: 0,
    salvaged: 0,
    salvageRefused: 0,
    pagesWhole: 0,
    pagesNamed: 0,
  };
  const wanted = scaled(DAMAGES, scale, 40), ways = new Map<string, number>();
  while (counts.damages < wanted) {
    const { what, image, tick } = all[counts.damages % all.length];
    const found = damaged(image, random);
    if (found === undefined) continue;
    counts.damages++;
    ways.set(found.way, (ways.get(found.way) ?? 0) + 1);
    // Now and then a second file is hurt as well.
    const second = random.chance(0.2) ? damaged(found.image, random) : undefined;
    const text = `${what}: ${
      [found.what, second?.what ?? ""].filter((each) => each !== "").join("; ")
    }`;
    try {
      const now = second?.image ?? found.image;
      await judge(now, tick, counts);
      if (counts.damages % REAL_EVERY === 0) await judgeFiles(now, tick);
    } catch (error) {
      throw new Error(`Damage ${counts.damages}, ${text}: ${error}`, { cause: error });
    }
    if (counts.damages % 500 === 0) progress(`${counts.damages} of ${wanted} damages`);
  }
  log.add({
    what: "files damaged after a clean close",
    amount: `${count(counts.damages)} damages of ${ways.size} kinds to ${all.length} directories`,
    rate: perSecond(counts.damages, (performance.now() - start) / 1000),
    checked: `never a wrong byte: opened whole ${count(counts.openedWhole)}, refused ${
      count(counts.refused)
    }, read as far as whole ${count(counts.openedShorter)}; salvaged ${count(counts.salvaged)} (${
      count(counts.pagesWhole)
    } pages whole, ${count(counts.pagesNamed)} named)`,
    figures: { ...counts },
  });
}

/** Opens, verifies and salvages a damaged directory, and looks at what comes of it. */
async function judge(image: Image, tick: number, counts: DamageCounts): Promise<void> {
  const copy = () => new MemoryStorage({ image });
  const audit = await outcomeOf(async () => auditLog(copy()));
  const isTold = "error" in audit || audit.value.problems.length > 0;
  const opened = await outcomeOf(async () => {
    await using bus = await StateBus.open({ ...SMALL, storage: copy() });
    checkDamagePattern(bus);
    return bus.tickNumber;
  });
  if ("error" in opened) counts.refused++;
  else {
    assert.equal(
      opened.value,
      tick,
      "ticks of a directory that was closed well and opens for writing",
    );
    counts.openedWhole++;
  }
  const read = await outcomeOf(async () => {
    await using bus = await StateBus.open({ ...SMALL, storage: copy(), readOnly: true });
    checkDamagePattern(bus);
    return bus.tickNumber;
  });
  if ("value" in read && read.value < tick) {
    assert(isTold, `reading shows tick ${read.value} of ${tick}, and verify finds nothing wrong`);
    assert("error" in opened, "what is not whole is not opened for writing");
    counts.openedShorter++;
  }
  if ("value" in read) assert(read.value <= tick, `tick ${read.value} was never written`);
  const target = new MemoryStorage();
  const salvaged = await outcomeOf(() => salvageStorage(copy(), target));
  if ("error" in salvaged) {
    counts.salvageRefused++;
    return;
  }
  counts.salvaged++;
  const report = salvaged.value;
  await using bus = await StateBus.open({ ...SMALL, storage: target, readOnly: true });
  counts.pagesWhole += checkSalvaged(bus, report);
  const named = report.pagesHurt.length + report.pagesLost.length;
  counts.pagesNamed += named;
  // Without meta.json a log that was cut between two ticks looks like a whole one; the report's notes say so.
  const isBlind = report.faults.some(({ fault }) => fault === "meta");
  if (bus.tickNumber < tick) {
    assert(
      !report.ok || isBlind,
      `a salvage that ends at tick ${bus.tickNumber} of ${tick} says that all is there`,
    );
  }
  if (report.ok && bus.tickNumber === tick) {
    assert.equal(named, 0, "pages named by a salvage that lost nothing");
  }
}

/** The same with real files, by the functions that take paths. */
async function judgeFiles(image: Image, tick: number): Promise<void> {
  await inFolder("crash", async (dir) => {
    const from = `${dir}/damaged`;
    for (const [path, bytes] of image) {
      await Deno.mkdir(`${from}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
      await Deno.writeFile(`${from}/${path}`, bytes);
    }
    await outcomeOf(() => verifyLog(from));
    await outcomeOf(async () => {
      await using bus = await StateBus.open({ ...SMALL, dir: from, readOnly: true });
      checkDamagePattern(bus);
    });
    const salvaged = await outcomeOf(() => salvageLog(from, `${dir}/saved`));
    if ("error" in salvaged) return;
    await using bus = await StateBus.open({ ...SMALL, dir: `${dir}/saved`, readOnly: true });
    checkSalvaged(bus, salvaged.value);
    assert(bus.tickNumber <= tick);
  });
}

/** What came of something: a value, or an error of ours; any other error is a failure. */
async function outcomeOf<T>(work: () => Promise<T>): Promise<{ value: T } | { error: string }> {
  try {
    return { value: await work() };
  } catch (error) {
    if (!isMmsbError(error)) throw error;
    return { error: error.code };
  }
}

/** A program with a checkpoint and old ticks merged, on a storage that fails at one of its writes, or has so much room. */
async function runFull({ scale, seed, progress }: StressOptions, log: StressLog): Promise<void> {
  const start = performance.now(), counts = { runs: 0, failures: 0, acknowledged: 0, unknown: 0 };
  for (const error of ["disk-full", "io"] as const) {
    for (const what of ["writes", "syncs"] as const) {
      const step = Math.max(1, Math.round(1 / Math.min(1, scale * 2)));
      for (let after = seed % step;; after += step) {
        const storage = new FaultyStorage({ seed });
        if (what === "writes") storage.failWrites({ after, times: 1, error });
        else storage.failSyncs({ after, times: 1, error: "io" });
        if (!await runFailing(storage, counts, `${error} at ${what.slice(0, -1)} ${after}`)) break;
      }
    }
  }
  const room = scaled(60, scale * 2, 6);
  for (let i = 0; i < room; i++) {
    const storage = new FaultyStorage({ seed });
    const bytesLeft = Math.round((i + 0.5) * 500_000 / room);
    storage.fillUp({ bytesLeft });
    await runFailing(storage, counts, `room for ${bytesLeft} bytes`);
    if (i % 20 === 19) progress(`${counts.runs} runs on failing storage`);
  }
  log.add({
    what: "the disk full, or failing, at each write and sync",
    amount: `${count(counts.runs)} runs, ${count(counts.acknowledged)} ticks acknowledged`,
    rate: perSecond(counts.runs, (performance.now() - start) / 1000),
    checked: `${
      count(counts.failures)
    } failures by type; nothing acknowledged lost; the bus goes on or says why not`,
    figures: { ...counts },
  });
}

/** Runs the program; gives whether anything failed. */
async function runFailing(
  storage: FaultyStorage,
  counts: { runs: number; failures: number; acknowledged: number; unknown: number },
  what: string,
): Promise<boolean> {
  let acknowledged = 0, hasFailed = false;
  const attempt = async (work: () => Promise<unknown>): Promise<boolean> => {
    const outcome = await outcomeOf(work);
    if (!("error" in outcome)) return true;
    assert(["disk-full", "io", "read-only", "closed"].includes(outcome.error), `${outcome.error}`);
    hasFailed = true;
    counts.failures++;
    return false;
  };
  try {
    counts.runs++;
    let bus: StateBus | undefined;
    const isOpen = await attempt(async () => bus = await StateBus.open({ ...SMALL, storage }));
    if (isOpen) {
      for (let i = 0; i < FULL_TICKS; i++) {
        const isThere = bus!.tickNumber;
        if (await attempt(() => writeTick(bus!))) acknowledged = bus!.tickNumber;
        else if (!bus!.readOnly) {
          assert.equal(bus!.tickNumber, isThere, "a tick that failed never was");
        }
        checkDamagePattern(bus!);
        if (i === FULL_TICKS >> 1) await attempt(() => bus!.checkpoint());
        if (i === FULL_TICKS - 3) await attempt(() => bus!.compact());
      }
      // There is room again, and the fault is over: a bus that can still write goes on.
      storage.fillUp({ bytesLeft: Infinity });
      storage.failWrites({ after: 0, times: 0, error: "io" });
      storage.failSyncs({ after: 0, times: 0, error: "io" });
      if (!bus!.readOnly) {
        await writeTick(bus!);
        acknowledged = bus!.tickNumber;
      }
      await attempt(() => bus!.close());
    } else {
      storage.fillUp({ bytesLeft: Infinity });
    }
    // Power fails: what was acknowledged is there, and at most one tick that was not.
    for (const keep of ["none", "all"] as const) {
      await using again = await StateBus.open({ ...SMALL, storage: storage.crash({ keep }) });
      checkDamagePattern(again);
      assert(
        again.tickNumber >= acknowledged,
        `tick ${again.tickNumber} of ${acknowledged} is there (${keep})`,
      );
      if (again.tickNumber > acknowledged) counts.unknown++;
      await writeTick(again);
    }
    counts.acknowledged += acknowledged;
  } catch (error) {
    throw new Error(`With ${what}: ${error}`, { cause: error });
  }
  return hasFailed;
}

/** A disk of 3 MiB that is filled, and gets room again; and one that may not be written any more. */
async function runRealDisk({ scale }: StressOptions, log: StressLog): Promise<void> {
  const disk = await mountSmallDisk(3);
  if (disk === undefined) {
    log.notes.push(
      "A real small disk was left out: only root on Linux may mount one. The faulty storage stood in.",
    );
    return;
  }
  await using _ = disk;
  const rounds = scaled(20, scale, 2);
  let ticks = 0, full = 0;
  const options: OpenOptions = { ...SMALL, dir: `${disk.path}/data` };
  for (let round = 0; round < rounds; round++) {
    const filler = `${disk.path}/filler`;
    const bus = await StateBus.open(options);
    checkDamagePattern(bus);
    let acknowledged = bus.tickNumber;
    try {
      // What else stands on the disk leaves a little room.
      await fillDisk(disk, filler, 100_000 + 30_000 * round);
      for (let left = 200; left > 0; left--) {
        const outcome = await outcomeOf(() => writeTick(bus));
        if (!("error" in outcome)) {
          acknowledged = bus.tickNumber;
          ticks++;
          continue;
        }
        assert.equal(outcome.error, "disk-full");
        full++;
        checkDamagePattern(bus);
        break;
      }
      await Deno.remove(filler);
      if (!bus.readOnly) {
        await writeTick(bus);
        acknowledged = bus.tickNumber;
        if (bus.stats().logBytes > 400_000) await bus.compact();
      }
    } finally {
      await bus.close();
    }
    await using again = await StateBus.open({ ...options, readOnly: true });
    checkDamagePattern(again);
    assert(again.tickNumber >= acknowledged);
    assert.equal((await again.verify()).ok, true);
  }
  assert(full > 0, "the disk was full at least once");
  log.add({
    what: "a real disk of 3 MiB filled",
    amount: `${rounds} times, ${count(ticks)} ticks, ${full} times full`,
    rate: "",
    checked: "disk-full by type, state as before, ticks go on with room; opened again; verify",
    figures: { rounds, ticks, full },
  });
  assert.equal(await disk.allowWriting(false), true);
  const outcome = await outcomeOf(() => StateBus.open(options));
  assert(
    "error" in outcome,
    "a directory on a disk that may not be written is not opened for writing",
  );
  await using reader = await StateBus.open({ ...options, readOnly: true });
  checkDamagePattern(reader);
  await disk.allowWriting(true);
  log.add({
    what: "a real disk that may not be written",
    amount: "once",
    rate: "",
    checked: `writing refused (${outcome.error}), reading works`,
    figures: {},
  });
}

/** Writes a file that leaves so many bytes free, some pages more or less. */
async function fillDisk(disk: SmallDisk, filler: string, bytesFree: number): Promise<void> {
  const { bsize, bavail } = statfsSync(disk.path);
  const bytes = bsize * bavail - bytesFree;
  if (bytes > 0) await Deno.writeFile(filler, new Uint8Array(bytes));
  else await Deno.writeFile(filler, new Uint8Array(0));
}

/** Processes without the right to read or write the directory. */
async function runDenied(log: StressLog): Promise<void> {
  await inFolder("crash", async (dir) => {
    const path = `${dir}/data`;
    {
      await using bus = await StateBus.open({ ...SMALL, dir: path });
      await writePattern(bus, 20);
    }
    const outcomes: string[] = [];
    const cases: [string, string[], string][] = [
      ["no right to write", [`--allow-read`], "write"],
      ["no right to read", [`--allow-write`], "write"],
      ["no right at all", [], "read"],
    ];
    for (const [what, rights, mode] of cases) {
      const { outcome, message } = await openElsewhere(path, mode, rights);
      assert(
        !["open", "TypeError", "NotCapable"].includes(outcome),
        `${what}: ${outcome}, ${message}`,
      );
      outcomes.push(`${what}: ${outcome}`);
    }
    const { outcome, message } = await openElsewhere(path, "read", ["--allow-read"]);
    assert.equal(outcome, "open", `reading with no right to write: ${message}`);
    if (Deno.build.os !== "windows" && Deno.uid() !== 0) {
      Deno.chmodSync(path, 0o500);
      const closed = await outcomeOf(() => StateBus.open({ ...SMALL, dir: path }));
      Deno.chmodSync(path, 0o700);
      assert("error" in closed, "a folder that may not be written is not opened for writing");
      outcomes.push(`folder read-only: ${closed.error}`);
    }
    await using again = await StateBus.open({ ...SMALL, dir: path });
    checkDamagePattern(again);
    log.add({
      what: "no permission",
      amount: `${outcomes.length + 1} openings`,
      rate: "",
      checked: `refused by type (${
        outcomes.join(", ")
      }); reading without the right to write works; nothing changed`,
      figures: {},
    });
  });
}

/** A directory that another process has, and that is free again when it is killed. */
async function runLocked(log: StressLog): Promise<void> {
  await inFolder("crash", async (dir) => {
    const path = `${dir}/data`;
    {
      await using bus = await StateBus.open({ ...SMALL, dir: path });
      await writePattern(bus, 20);
      assert.deepEqual(await outcomeOf(() => StateBus.open({ ...SMALL, dir: path })), {
        error: "locked",
      });
      assert.equal((await openElsewhere(path, "write", ["-A"])).outcome, "locked");
      assert.equal((await openElsewhere(path, "read", ["-A"])).outcome, "open");
      await writePattern(bus, 5);
    }
    const holder = childOf(path, "hold", ["-A"]);
    const reader = holder.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const { value } = await reader.read();
    assert.equal((JSON.parse(value!) as OpeningAnswer).outcome, "open");
    assert.deepEqual(await outcomeOf(() => StateBus.open({ ...SMALL, dir: path })), {
      error: "locked",
    });
    holder.kill("SIGKILL");
    await holder.status;
    await reader.cancel();
    await using again = await StateBus.open({ ...SMALL, dir: path });
    checkDamagePattern(again);
    await writeTick(again);
    log.add({
      what: "the directory of another writer",
      amount: "5 openings",
      rate: "",
      checked: "locked while it lives, here and elsewhere; readers get in; free when it is killed",
      figures: {},
    });
  });
}

function childOf(path: string, mode: string, rights: readonly string[]): Deno.ChildProcess {
  const child = new URL("./_opening_child.ts", import.meta.url).pathname;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-check", "--quiet", ...rights, child, path, mode],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

async function openElsewhere(
  path: string,
  mode: string,
  rights: readonly string[],
): Promise<OpeningAnswer> {
  const { stdout } = await childOf(path, mode, rights).output();
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** The suite. */
export const crashSuite: StressSuite = {
  name: "crash",
  summary:
    "kill -9, damaged files, full and failing disks, no permission, a held lock; nothing acknowledged lost",
  run: runCrash,
};

if (isProgram(import.meta)) Deno.exit(await programOf(crashSuite, Deno.args));
