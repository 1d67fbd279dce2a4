/**
 * Spill: a bus whose pages take eight times the memory that it may have. Pages are born, written, read and deleted at
 * random, checkpoints made and the directory opened again, and every byte compared with a plain map of arrays; the
 * memory report is held against that map, too. Then processes are killed with SIGKILL while pages go to the file and
 * come back.
 *
 * Part of the memory suite: `deno run -A stress/memory.ts --scale 0.1`
 */

import assert from "node:assert/strict";
import { isMmsbError } from "../src/base/mod.ts";
import { type MemoryReport, type OpenOptions, StateBus } from "../src/bus/mod.ts";
import { SeededRandom } from "../src/log/seeded_random.ts";
import {
  count,
  inFolder,
  mebibytes,
  perSecond,
  scaled,
  type StressLog,
  type StressOptions,
} from "./_report.ts";
import { SPILL_TIMES, SpillPattern } from "./_spill_pattern.ts";
import { killChild } from "./kill.ts";

const MIB = 2 ** 20;
const SPAN_BYTES = 65_536;
const LIMIT_SPANS = 128;
/** Ticks after all the room is taken. */
const CHURN_TICKS = 600;
const READS_A_TICK = 8;
const REPORT_EVERY = 16;
const CHECK_EVERY = 128;
const CHECKPOINT_EVERY = 70;
const OPEN_EVERY = 180;

const KILLS = 40;
/** Kills of one directory. */
const ROUNDS = 8;
const KILL_LIMIT_BYTES = MIB / 2;
const KILL_WITHIN_MS = 600;
const CHECKPOINT_BYTES: readonly string[] = ["Infinity", "300000"];
const CHILD = new URL("./_spill_child.ts", import.meta.url).pathname;

/** Runs both. */
export async function runSpill(options: StressOptions, log: StressLog): Promise<void> {
  await inFolder("spill", (dir) => new Churn(dir, options, log).run());
  await runKills(options, log);
}

/** Pages of eight times the limit, in one directory. */
class Churn {
  readonly #dir: string;
  readonly #options: StressOptions;
  readonly #log: StressLog;
  readonly #open: OpenOptions;
  readonly #random: SeededRandom;
  readonly #counts = { reports: 0, reads: 0, openings: 1, evictions: 0, returns: 0, maxMs: 0 };
  #p99Ms = 0;

  constructor(dir: string, options: StressOptions, log: StressLog) {
    // Arenas are of whole spans.
    const memoryLimitBytes = SPAN_BYTES * scaled(LIMIT_SPANS, Math.sqrt(options.scale), 6);
    this.#dir = dir;
    this.#options = options;
    this.#log = log;
    this.#open = { dir, memoryLimitBytes, spill: true };
    this.#random = new SeededRandom(options.seed + 3);
  }

  async run(): Promise<void> {
    const { scale, seed, progress } = this.#options, limit = this.#open.memoryLimitBytes!;
    const start = performance.now(), pattern = new SpillPattern(limit, seed);
    const counts = this.#counts;
    let bus = await StateBus.open(this.#open), left = scaled(CHURN_TICKS, scale, 24);
    try {
      while (left > 0) {
        if (pattern.isFull) left--;
        await this.#tick(bus, pattern);
        if (pattern.tick % CHECKPOINT_EVERY === 0) await bus.checkpoint();
        if (pattern.tick % OPEN_EVERY === 0) {
          this.#close(bus.memory());
          const digest = bus.digest();
          await bus.close();
          bus = await StateBus.open(this.#open);
          counts.openings++;
          assert.equal(bus.digest(), digest, "the directory opened again");
        }
        if (pattern.tick % CHECK_EVERY !== 0) continue;
        pattern.check(bus);
        const { spilled, pauses } = bus.memory();
        progress(
          `tick ${count(pattern.tick)}: ${count(pattern.pages)} pages, ${
            mebibytes(pattern.bytes)
          }, ${mebibytes(spilled!.bytes)} spilled, longest pause ${
            pauses.spill!.maxMs.toFixed(2)
          } ms`,
        );
      }
      await this.#end(bus, pattern);
    } finally {
      await bus.close();
    }
    await this.#openOtherwise(pattern);
    const seconds = (performance.now() - start) / 1000, moved = counts.evictions + counts.returns;
    this.#log.add({
      what: `pages of ${SPILL_TIMES} times the memory, spilled`,
      amount: `${mebibytes(limit)}, ${count(pattern.tick)} ticks, ${count(pattern.births)} born, ${
        count(pattern.deaths)
      } deleted, ${count(pattern.writes)} writes, ${count(moved)} went or came back`,
      rate: `${perSecond(moved, seconds)}; pauses: 99 % below ${
        this.#p99Ms.toFixed(2)
      } ms, longest ${counts.maxMs.toFixed(2)} ms`,
      checked: `every byte and epoch; ${
        count(counts.reports)
      } memory reports; opened ${counts.openings} times, to be read, without spilling (refused), in the past, verified`,
      figures: {
        ...counts,
        seconds,
        pages: pattern.pages,
        bytes: pattern.bytes,
        p99Ms: this.#p99Ms,
      },
    });
  }

  async #tick(bus: StateBus, pattern: SpillPattern): Promise<void> {
    pattern.step(bus);
    const { refused } = await bus.tick();
    assert.deepEqual(refused, [], "batches refused");
    pattern.check(bus, this.#random, READS_A_TICK);
    this.#counts.reads += READS_A_TICK;
    if (pattern.tick % REPORT_EVERY !== 0) return;
    pattern.checkReport(bus.memory());
    // Spilled or not, slots of deleted pages are free at once here.
    assert.equal(bus.reclaim().pendingSlots, 0);
    this.#counts.reports++;
  }

  /** Notes what a bus did before it is closed. */
  #close({ spilled, pauses }: MemoryReport): void {
    const counts = this.#counts, { maxMs, p99Ms } = pauses.spill!;
    counts.evictions += spilled!.evictions;
    counts.returns += spilled!.returns;
    counts.maxMs = Math.max(counts.maxMs, maxMs);
    this.#p99Ms = Math.max(this.#p99Ms, p99Ms);
  }

  /** All of it, now and in the past. */
  async #end(bus: StateBus, pattern: SpillPattern): Promise<void> {
    const { limit } = pattern, { seed } = this.#options;
    pattern.check(bus);
    pattern.checkReport(bus.memory());
    const least = (SPILL_TIMES - 2) * limit;
    const { spilled } = bus.memory();
    assert(spilled!.bytes >= least, `only ${spilled!.bytes} bytes are spilled`);
    assert.equal((await bus.verify()).ok, true);
    for (const tick of [pattern.tick >>> 1, pattern.tick - 1]) {
      await using past = await bus.at({ tick });
      SpillPattern.after(tick, limit, seed).check(past);
    }
    this.#close(bus.memory());
  }

  /** To be read, with a spill file elsewhere; and with neither room nor a spill file, which is refused. */
  async #openOtherwise(pattern: SpillPattern): Promise<void> {
    const { spill: _, ...without } = this.#open;
    assert.deepEqual(spillFiles(this.#dir), [], "files that a closed bus left");
    await inFolder("spill-read", async (dir) => {
      await using bus = await StateBus.open({ ...without, readOnly: true, spill: { dir } });
      pattern.check(bus);
      pattern.checkReport(bus.memory());
    });
    await assert.rejects(
      async () => await (await StateBus.open(without)).close(),
      (error) => isMmsbError(error, "allocation"),
      "opened without room for its pages",
    );
  }
}

/** Processes that are killed while they spill. */
async function runKills(
  { scale, seed, progress }: StressOptions,
  log: StressLog,
): Promise<void> {
  const kills = scaled(KILLS, scale, 2), random = new SeededRandom(seed + 4);
  const start = performance.now(), limit = KILL_LIMIT_BYTES;
  const counts = { kills: 0, beforeOpen: 0, whileSpilling: 0, acknowledged: 0, torn: 0 };
  while (counts.kills < kills) {
    await inFolder("spill-kill", async (dir) => {
      // Pages take all their room before the first kill, or a child that is killed soon spills nothing.
      let acknowledged = await fill(dir, limit, seed);
      for (let round = 0; round < ROUNDS && counts.kills < kills; round++) {
        counts.kills++;
        const every = CHECKPOINT_BYTES[random.below(CHECKPOINT_BYTES.length)];
        const args = [CHILD, dir, String(limit), String(seed), every];
        const said = await killChild(args, random, KILL_WITHIN_MS);
        if (!said.open) counts.beforeOpen++;
        acknowledged = Math.max(acknowledged, said.tick);
        counts.acknowledged = Math.max(counts.acknowledged, acknowledged);
        const files = spillFiles(dir);
        if (said.open) assert.equal(files.length, 1, "files that a killed process left");
        if (files.some((file) => Deno.statSync(file).size > limit)) counts.whileSpilling++;
        const found = await judge(dir, limit, seed);
        assert(found.tick >= acknowledged, `tick ${found.tick} is the last, not ${acknowledged}`);
        if (found.torn) counts.torn++;
        acknowledged = found.tick;
        progress(`${counts.kills} of ${kills} processes killed, the last at tick ${found.tick}`);
      }
    });
  }
  assert(kills < ROUNDS || counts.whileSpilling > 0, "no process was killed while it spilled");
  log.add({
    what: "processes killed while they spill",
    amount:
      `${counts.kills} kills, ${counts.whileSpilling} with more in the file than in memory, ${counts.beforeOpen} before they had opened`,
    rate: perSecond(counts.kills, (performance.now() - start) / 1000),
    checked:
      "no acknowledged tick missing; every byte and epoch; memory report; old files gone; verified",
    figures: counts,
  });
}

/** Makes a directory in which all pages are born; gives its last tick. */
async function fill(dir: string, memoryLimitBytes: number, seed: number): Promise<number> {
  await using bus = await StateBus.open({ dir, memoryLimitBytes, spill: true });
  const pattern = new SpillPattern(memoryLimitBytes, seed);
  while (!pattern.isFull) {
    pattern.step(bus);
    await bus.tick();
  }
  return pattern.tick;
}

/** Looks at what a kill left. */
async function judge(
  dir: string,
  memoryLimitBytes: number,
  seed: number,
): Promise<{ readonly tick: number; readonly torn: boolean }> {
  const bus = await StateBus.open({ dir, memoryLimitBytes, spill: true });
  try {
    const { tick, state, reason } = bus.opened;
    assert.notEqual(state, "damaged", reason);
    assert.equal(spillFiles(dir).length, 1, "files after the opening: the one of this bus");
    const pattern = SpillPattern.after(tick, memoryLimitBytes, seed);
    pattern.check(bus);
    pattern.checkReport(bus.memory());
    assert.equal((await bus.verify()).ok, true);
    return { tick, torn: state === "torn" };
  } finally {
    await bus.close();
  }
}

/** Spill files of a directory. */
function spillFiles(dir: string): string[] {
  try {
    return [...Deno.readDirSync(`${dir}/spill`)].map(({ name }) => `${dir}/spill/${name}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
