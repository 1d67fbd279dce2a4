/**
 * GPU: the same work on the CPU and on a GPU must leave the same bytes and the same log.
 *
 * Random batches go through the back-end of the GPU and are compared with a fold. Random programs (all kinds of rows,
 * pages of 16 bytes to 1 MiB, batches that collide, rules in WGSL over several levels) run on a bus with `device: "cpu"`, on one with
 * `"gpu"`, on one whose device is destroyed, whose jobs fail and whose thread ends on the way, and in a directory
 * whose process is killed and goes on now with a GPU and now without. A program of births, deaths, edges and rules in
 * TypeScript runs on both, too.
 *
 * Where there is no adapter nothing can be compared, and the report says that. On a software adapter it is as good a test as on any;
 * how fast it was says nothing.
 *
 * Cost: some milliseconds a batch or a tick.
 */

import { createHash } from "node:crypto";
import { type OpenOptions, StateBus } from "../src/bus/mod.ts";
import { RuleTicks } from "../src/bus/testdata/random_rule_ticks.ts";
import { exportStorage, FileStorage, MemoryStorage, type Storage } from "../src/log/mod.ts";
import { SeededRandom } from "../src/log/seeded_random.ts";
import { type ApplyBackend, CPU_APPLY } from "../src/physical/apply_backend.ts";
import { applyPages, applyRandomBatches } from "../src/physical/apply_conformance.ts";
import { type GpuThread, openGpuThread } from "../src/physical/gpu/gpu_thread.ts";
import { ThreadApply } from "../src/physical/gpu/thread_apply.ts";
import { GpuProgram } from "./_gpu_program.ts";
import { isProgram, programOf, type StressSuite } from "./_program.ts";
import {
  count,
  inFolder,
  scaled,
  StressLog,
  type StressOptions,
  type StressReport,
} from "./_report.ts";

const BATCHES = 1000;
const PROGRAMS = 20;
const TICKS = 60;
const RULE_TICKS = 300;
const KILLED_PROGRAMS = 3;
const KILLS = 4;
/** Part of the ticks in which something happens to the device. */
const FAULT_CHANCE = 0.15;
/** More threads than these are not started again. */
const FAULTS_MAX = 7;
/** The first tick in which it does, in any case: rules are bound by then. */
const FAULT_TICK = 4;
/** Most milliseconds that a device may take to come back. */
const BACK_MS_MAX = 60_000;

/** Options of all buses here: what a tick takes on does not depend on time. */
export function gpuProgramOptions(device: "cpu" | "gpu"): OpenOptions {
  return { device, durability: "group", tickBudgetMs: 3_600_000 };
}

/** The suite. */
export const gpuSuite: StressSuite = {
  name: "gpu",
  summary:
    "random batches and programs with rules in WGSL on CPU and GPU, devices lost, processes killed",
  run: runGpu,
};

/**
 * Runs the suite.
 *
 * @throws {Error} where CPU and GPU come to different ends.
 */
export async function runGpu(options: StressOptions): Promise<StressReport> {
  const log = new StressLog("gpu", options), held = await HeldThread.open();
  try {
    const { state, adapter, reason } = held.thread.status;
    if (state !== "ready" || adapter === undefined) {
      log.notes.push(`Nothing was compared: ${reason || state}.`);
      return log.report();
    }
    const kind = adapter.isSoftware ? "a software adapter: no figures of a GPU" : "hardware";
    log.notes.push(`On ${adapter.name} (${kind}).`);
    const run = new GpuRun(held, log, options);
    await run.batches();
    await run.programs();
    await run.ruleTicks();
    await run.killed();
    return log.report();
  } finally {
    await held.thread.close();
  }
}

/** A handle on the GPU thread, which gives up after some losses: another one is started then, and all are counted. */
class HeldThread {
  thread: GpuThread;
  readonly #former = { batches: 0, rows: 0, rules: 0 };

  private constructor(thread: GpuThread) {
    this.thread = thread;
  }

  static async open(): Promise<HeldThread> {
    return new HeldThread(await openGpuThread());
  }

  /** What ran so far. */
  get counts(): { readonly batches: number; readonly rows: number; readonly rules: number } {
    const { batches, rows, rules } = this.thread.totals, former = this.#former;
    return {
      batches: former.batches + batches,
      rows: former.rows + rows,
      rules: former.rules + rules,
    };
  }

  /** Ends it and starts another; no bus may use it meanwhile. */
  async renew(): Promise<void> {
    Object.assign(this.#former, this.counts);
    await this.thread.close();
    this.thread = await openGpuThread();
  }
}

/** What a program came to. */
interface End {
  readonly digest: string;
  readonly log: string;
  readonly lines: number;
}

class GpuRun {
  readonly #held: HeldThread;
  readonly #log: StressLog;
  readonly #options: StressOptions;

  constructor(held: HeldThread, log: StressLog, options: StressOptions) {
    this.#held = held;
    this.#log = log;
    this.#options = options;
  }

  /** Random batches through the back-end, beside a fold. */
  async batches(): Promise<void> {
    const { scale, seed } = this.#options, runs = scaled(BATCHES, scale, 5);
    await this.#step("random batches of all kinds", "bytes as those of a fold", () => {
      const pages = applyPages(), gpu = new ThreadApply(this.#held.thread, pages.arena);
      let refused = 0;
      // As a bus does: what the device has no kernel for (f64) is the CPU's.
      const backend: ApplyBackend = {
        name: "gpu",
        apply(columns, rows, shape, all) {
          const isRefused = gpu.refusal(shape) !== undefined;
          if (isRefused) refused++;
          (isRefused ? CPU_APPLY : gpu).apply(columns, rows, shape, all);
        },
      };
      const before = this.#held.counts.batches;
      try {
        applyRandomBatches(pages, backend, { runs, seed });
      } finally {
        gpu.end();
      }
      if (this.#held.counts.batches === before) throw new Error("no batch was applied on the GPU");
      return Promise.resolve({ batches: runs, onCpu: refused });
    });
  }

  /** Random programs on the CPU, on the GPU, and on one that is lost again and again. */
  async programs(): Promise<void> {
    const { scale, seed, progress } = this.#options, programs = scaled(PROGRAMS, scale);
    const ticks = scaled(TICKS, Math.min(1, 4 * scale), 8);
    const done = { programs, ticks: 0, faults: 0, devicesLost: 0 };
    await this.#step("programs with rules in WGSL", "bytes and logs as on the CPU", async () => {
      for (let program = 0; program < programs; program++) {
        const own = { seed: seed + program, hasLateRules: true };
        progress(`program ${program + 1} of ${programs}, seed ${own.seed}`);
        const run = async (device: "cpu" | "gpu", before?: (tick: number) => Promise<void>) => {
          done.ticks += ticks;
          return await endOn(device, (bus) => new GpuProgram(own).run(bus, ticks, { before }));
        };
        const expected = await run("cpu"), counted = this.#held.counts.rules;
        assertSame(await run("gpu"), expected, `the GPU, program of seed ${own.seed}`);
        const { thread } = this.#held;
        if (this.#held.counts.rules === counted) {
          const { state, reason } = thread.status;
          throw new Error(`no rule of program ${own.seed} ran on the GPU: ${state} ${reason}`);
        }
        const before = thread.generation, faults = new Faults(thread, own.seed);
        const end = await run("gpu", (tick) => faults.strike(tick));
        assertSame(end, expected, `a GPU that is lost, program of seed ${own.seed}`);
        await faults.recover();
        done.faults += faults.strikes;
        done.devicesLost += thread.generation - before;
        await this.#held.renew();
      }
      return done;
    });
    if (done.devicesLost < programs) {
      throw new Error("a program kept its device: nothing was tried");
    }
  }

  /** A program of births, deaths, edges and rules in TypeScript. */
  async ruleTicks(): Promise<void> {
    const { scale, seed } = this.#options, ticks = scaled(RULE_TICKS, scale, 10);
    const what = "births, deaths, edges, rules in TypeScript, refusals";
    await this.#step(what, "bytes and logs as on the CPU", async () => {
      const run = (device: "cpu" | "gpu") =>
        endOn(device, (bus) => new RuleTicks(seed).run(bus, ticks));
      const expected = await run("cpu");
      assertSame(await run("gpu"), expected, `the GPU, seed ${seed}`);
      return { ticks };
    });
  }

  /** Programs whose process is killed and goes on, now with a GPU and now without. */
  async killed(): Promise<void> {
    const { scale, seed, progress } = this.#options, programs = scaled(KILLED_PROGRAMS, scale);
    const ticks = scaled(TICKS, Math.min(1, 4 * scale), 8);
    const killsMax = scaled(KILLS, Math.min(1, 10 * scale));
    await this.#step("processes killed and gone on with", "bytes and logs as of one", async () => {
      let kills = 0;
      for (let program = 0; program < programs; program++) {
        const own = { seed: ~(seed + program) >>> 0, hasLateRules: false };
        const expected = await endOn("cpu", (bus) => new GpuProgram(own).run(bus, ticks));
        await inFolder("gpu", async (dir) => {
          kills += await runKilled({ dir, ticks, kills: killsMax, seed: own.seed }, progress);
          const bus = await StateBus.open({ dir, readOnly: true }), digest = bus.digest();
          await bus.close();
          const who = `processes that are killed, program of seed ${own.seed}`;
          assertSame(endOf(new FileStorage(dir), digest), expected, who);
        });
      }
      return { programs, kills };
    });
  }

  async #step(
    what: string,
    checked: string,
    work: () => Promise<Record<string, number>>,
  ): Promise<void> {
    const start = performance.now(), before = this.#held.counts;
    const figures = await work(), after = this.#held.counts;
    const gpu = {
      gpuBatches: after.batches - before.batches,
      gpuRows: after.rows - before.rows,
      gpuRules: after.rules - before.rules,
    };
    const entries = Object.entries({ ...figures, ...gpu }).filter(([, value]) => value > 0);
    this.#log.add({
      what,
      amount: entries.map(([name, value]) => `${words(name)} ${count(value)}`).join(", "),
      rate: `${((performance.now() - start) / 1000).toFixed(1)} s`,
      checked,
      figures: { ...figures, ...gpu },
    });
  }
}

/** What happens to a device on the way. */
class Faults {
  /** How often something happened. */
  strikes = 0;
  readonly #thread: GpuThread;
  readonly #random: SeededRandom;

  constructor(thread: GpuThread, seed: number) {
    this.#thread = thread;
    this.#random = new SeededRandom(~seed);
  }

  /** Now and then has something happen in the next job: the device goes at one of its submissions, or the thread. */
  async strike(tick: number): Promise<void> {
    const isFirst = tick === FAULT_TICK;
    if (this.strikes === FAULTS_MAX) return;
    if (!isFirst && (tick < FAULT_TICK || !this.#random.chance(FAULT_CHANCE))) return;
    await this.recover();
    this.strikes++;
    const kind = isFirst ? 0 : this.#random.below(4), submits = this.#random.below(3);
    if (kind === 0) await this.#thread.ask({ kind: "destroy", submits });
    else if (kind === 1) await this.#thread.ask({ kind: "destroy", submits, raw: true });
    else await this.#thread.ask({ kind: kind === 2 ? "throw" : "exit" });
  }

  /** Waits until there is a device again. */
  async recover(): Promise<void> {
    for (const start = performance.now(); !this.#thread.isReady;) {
      await this.#thread.waitBeforeTick();
      if (performance.now() - start > BACK_MS_MAX) {
        throw new Error(`the device does not come back: ${this.#thread.status.reason}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

/** Runs a program on a bus of its own. */
async function endOn(
  device: "cpu" | "gpu",
  run: (bus: StateBus) => Promise<void>,
): Promise<End> {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ storage, ...gpuProgramOptions(device) });
  let digest: string;
  try {
    await run(bus);
    digest = bus.digest();
  } finally {
    await bus.close();
  }
  return endOf(storage, digest);
}

function endOf(storage: Storage, digest: string): End {
  const hash = createHash("sha256");
  let lines = 0;
  for (const line of exportStorage(storage, { canonical: true })) {
    lines++;
    hash.update(JSON.stringify(line));
  }
  return { digest, log: hash.digest("hex"), lines };
}

function assertSame(end: End, expected: End, who: string): void {
  if (end.digest === expected.digest && end.log === expected.log) return;
  const what = end.digest === expected.digest ? "log" : "bytes";
  throw new Error(`the ${what} of ${who} are not those of the CPU`);
}

/** Has processes go on with a program until it is done, and kills all but the last; gives how many. */
async function runKilled(
  { dir, ticks, kills: killsMax, seed }: {
    readonly dir: string;
    readonly ticks: number;
    readonly kills: number;
    readonly seed: number;
  },
  progress: (text: string) => void,
): Promise<number> {
  const random = new SeededRandom(seed);
  let kills = 0;
  for (let round = 0;; round++) {
    const device = round % 3 === 2 ? "cpu" : "gpu";
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-check", new URL("./_gpu_child.ts", import.meta.url).pathname],
        ...[dir, device, `${seed}`, `${ticks}`],
      ],
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const said = new Response(child.stderr).text();
    const left = kills < killsMax ? random.below(Math.ceil(2 * ticks / KILLS)) : Infinity;
    let seen = 0, hasEnded = false, rest = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      seen += lines.length;
      hasEnded ||= lines.includes("end");
      if (seen > left && !hasEnded) {
        try {
          child.kill("SIGKILL");
        } catch {
          // It has ended by itself.
        }
      }
    }
    const { success } = await child.status, errors = await said;
    if (success) return kills;
    if (seen <= left) throw new Error(`a process ended before it was killed: ${errors.trim()}`);
    progress(`${++kills} processes killed`);
  }
}

function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).replace("gpu", "GPU");
}

if (isProgram(import.meta)) Deno.exit(await programOf(gpuSuite, Deno.args));
