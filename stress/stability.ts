/**
 * Stability: 10,000 cycles of a mixed program, or as many minutes as asked for, and nothing that creeps.
 *
 * Two directories are worked on in turn: one lets go of the log behind its checkpoints, the other, with a worker, merges its old
 * ticks. Every 100 cycles of a directory a model is compared, the log replayed and the directory made small; every 250 it is closed and
 * opened again. What the process holds is sampled at even steps: memory after a full collection while the buses are
 * open, and files, workers and timers while they are closed, when there must be as few as at the beginning.
 *
 * A tick is timed by the clock and by what the thread spent on a processor, each beside a fixed loop that is timed so,
 * too. The second is judged always; the first, which other programs lengthen, only where they left the machine alone at both
 * ends of the run. Verdicts are on what stands above the noise of the samples (`_trend.ts`); the first fifth of them, in
 * which code is compiled and caches fill, does not count. The bounds are on the whole run, however long it is: a run of a day
 * must be as flat as one of a minute. A short run could hide a leak below them, so the second half of the samples, in which
 * little code is compiled any more, is judged by the cycle, too.
 *
 * `deno run -A stress/stability.ts --minutes 30 --csv soak.csv`
 */

import { isProgram, programOf, type StressSuite } from "./_program.ts";
import {
  collector,
  folderBytes,
  machineTime,
  othersPercent,
  type ProcessState,
  processState,
  ThreadClock,
  TimerCount,
} from "./_process_state.ts";
import {
  count,
  inFolder,
  mebibytes,
  scaled,
  StressFailure,
  StressLog,
  type StressOptions,
  type StressReport,
} from "./_report.ts";
import { MixedProgram, type TickTime } from "./_mixed_program.ts";
import { driftOf, median, quantile, trendOf } from "./_trend.ts";

const CYCLES = 10_000;
/** Cycles of a directory from one check to the next, and from one opening to the next. */
const CHECK_EVERY = 100;
const OPEN_EVERY = 250;
/** Samples of a run of a fixed number of cycles. */
const SAMPLES = 50;
/** Samples of a run of some minutes, at most one in three seconds and at least one a minute. */
const SAMPLES_OF_TIME = 150;
/** Cycles between two measurements of the fixed loop. */
const LOOP_EVERY = 4;
/** Share of the samples, the first ones, that do not count. */
const WARM_UP = 0.2;
/** How often a look at a thread that ends is repeated, each 50 ms later. */
const ENDING_MAX = 100;
/** Fewer samples than this tell of no trend. */
const SAMPLES_MIN = 12;

const MIB = 2 ** 20;

interface Sample extends Record<string, number> {
  minutes: number;
  cycles: number;
  residentBytes: number;
  heapBytes: number;
  externalBytes: number;
  arenaBytes: number;
  bookkeepingBytes: number;
  droppedLogBytes: number;
  mergedLogBytes: number;
  files: number;
  workers: number;
  timers: number;
  tickMsP50: number;
  tickMsP99: number;
  loopMsP50: number;
  tickOwnMsP50: number;
  tickOwnMsP99: number;
  loopOwnMsP50: number;
  /** Percent of all cores' time since the last sample that other programs took; NaN where nobody tells. */
  othersPercent: number;
}

/** Something that must not grow: by more than a share of its median and so many bytes, in the whole run. */
interface Flat {
  readonly name: keyof Sample;
  readonly what: string;
  readonly share: number;
  readonly bytes: number;
}

const FLAT: readonly Flat[] = [
  { name: "residentBytes", what: "resident set", share: 0.1, bytes: 16 * MIB },
  // The engine goes on compiling code for a long time: of what a heap gained from cycle 4,000 to 12,000 (1.3 MiB) nearly all
  // was code, its feedback, and sources of its own modules.
  { name: "heapBytes", what: "heap after collection", share: 0.1, bytes: 8 * MIB },
  { name: "externalBytes", what: "buffers outside the heap", share: 0.1, bytes: 4 * MIB },
  { name: "arenaBytes", what: "arena in use", share: 0.1, bytes: MIB },
  { name: "bookkeepingBytes", what: "page table and edges", share: 0.1, bytes: MIB },
  { name: "droppedLogBytes", what: "folder, log dropped", share: 0.25, bytes: 2 * MIB },
  { name: "mergedLogBytes", what: "folder, log merged", share: 0.25, bytes: 2 * MIB },
];

/**
 * What may not grow in the second half of the samples by so many bytes a cycle. From cycle 4,000 to 12,000 code took 170;
 * an object of 1 KiB that is kept in each cycle shows.
 */
const STEADY: readonly { readonly name: keyof Sample; readonly what: string }[] = [
  { name: "heapBytes", what: "heap, a cycle" },
  { name: "externalBytes", what: "buffers, a cycle" },
];
const CYCLE_BYTES_MAX = 512;
/** By less than this nothing is judged so, and not before so many cycles: much code is compiled in the first ones. */
const STEADY_BYTES_MIN = MIB;
const STEADY_CYCLES_MIN = 1000;

/** What a folder may hold at any time: some checkpoints of a state below 1 MiB, and the log between two. */
const FOLDER_BYTES_MAX = 24 * MIB;

/** How much slower the ticks of the last third may be than those of the first, beside the fixed loop. */
const SLOWER: readonly {
  readonly name: keyof Sample;
  readonly beside: keyof Sample;
  readonly what: string;
  readonly bound: number;
  /** Whether other programs make it longer. */
  readonly isClock: boolean;
}[] = [
  {
    name: "tickOwnMsP50",
    beside: "loopOwnMsP50",
    what: "tick on a processor, median",
    bound: 0.25,
    isClock: false,
  },
  {
    name: "tickOwnMsP99",
    beside: "loopOwnMsP50",
    what: "tick on a processor, 99th percentile",
    bound: 0.75,
    isClock: false,
  },
  {
    name: "tickMsP50",
    beside: "loopMsP50",
    what: "tick by the clock, median",
    bound: 0.25,
    isClock: true,
  },
  {
    name: "tickMsP99",
    beside: "loopMsP50",
    what: "tick by the clock, 99th percentile",
    bound: 0.75,
    isClock: true,
  },
];
/** Percent of the machine that others may take while a tick's time by the clock is judged. */
const OTHERS_MAX = 25;

/** Runs it. */
export async function runStability(options: StressOptions): Promise<StressReport> {
  return await inFolder("stability", async (dir) => {
    using timers = new TimerCount(), clock = new ThreadClock();
    return await new Soak(dir, options, timers, clock).run();
  });
}

class Soak {
  readonly #dir: string;
  readonly #options: StressOptions;
  readonly #timers: TimerCount;
  readonly #collect = collector();
  readonly #log: StressLog;
  readonly #samples: Sample[] = [];
  readonly #clock: ThreadClock;
  readonly #ticks: TickTime[] = [];
  readonly #loops: TickTime[] = [];
  readonly #programs: MixedProgram[] = [];
  readonly #start = performance.now();
  #cycles = 0;
  #toldAt = 0;
  #machine = machineTime();

  constructor(dir: string, options: StressOptions, timers: TimerCount, clock: ThreadClock) {
    this.#dir = dir;
    this.#options = options;
    this.#timers = timers;
    this.#clock = clock;
    this.#log = new StressLog("stability", options);
  }

  async run(): Promise<StressReport> {
    const { scale, seed, minutes } = this.#options, dir = this.#dir;
    const cycles = scaled(CYCLES, scale, 20);
    const samples = minutes > 0
      ? Math.ceil(Math.max(SAMPLES_MIN, Math.min(20 * minutes, Math.max(SAMPLES_OF_TIME, minutes))))
      : Math.min(SAMPLES, Math.max(2, Math.floor(cycles / 50)));
    this.#programs.push(
      await MixedProgram.open(`${dir}/dropped`, {
        checkpoints: { everyBytes: Infinity, keep: 2, log: "drop" },
      }, seed),
      await MixedProgram.open(`${dir}/merged`, {
        checkpoints: { everyBytes: Infinity, keep: 2 },
        workers: 1,
      }, seed + 1),
    );
    for (let sample = 1; sample <= samples; sample++) {
      const share = sample / samples;
      const isOver = minutes > 0
        ? () => performance.now() - this.#start >= 60_000 * minutes * share
        : () => this.#cycles >= cycles * share;
      for (let i = 0; i < LOOP_EVERY || !isOver(); i++) await this.#cycle();
      await this.#sample();
    }
    for (const program of this.#programs) {
      await program.check();
      await program.close();
    }
    return this.#judge();
  }

  async #cycle(): Promise<void> {
    const program = this.#programs[this.#cycles++ % 2], isDropped = program === this.#programs[0];
    this.#ticks.push(await program.cycle(this.#clock.usedMs));
    if (this.#cycles % LOOP_EVERY === 0) this.#loops.push(loopTime(this.#clock.usedMs));
    const own = program.counts.cycles;
    if (own % CHECK_EVERY === 0) {
      await program.check();
      await program.maintain(isDropped ? "checkpoint" : "compact");
    }
    if (own % OPEN_EVERY === 0) await program.reopen();
  }

  async #sample(): Promise<void> {
    const open = processState(this.#collect, this.#timers);
    const stats = this.#programs.map(({ bus }) => bus.stats());
    const sum = (of: (one: typeof stats[number]) => number) =>
      stats.reduce((all, one) => all + of(one), 0);
    for (const program of this.#programs) await program.pause();
    const closed = await this.#closedState();
    const folders = ["dropped", "merged"].map((name) => folderBytes(`${this.#dir}/${name}`));
    for (const program of this.#programs) await program.resume();
    const machine = machineTime(), clockMs = this.#ticks.map((tick) => tick.clockMs);
    const ownMs = this.#ticks.map((tick) => tick.ownMs);
    const sample: Sample = {
      minutes: (performance.now() - this.#start) / 60_000,
      cycles: this.#cycles,
      residentBytes: open.residentBytes,
      heapBytes: open.heapBytes,
      externalBytes: open.externalBytes,
      arenaBytes: sum(({ allocator }) => allocator.carvedBytes),
      bookkeepingBytes: sum(({ bookkeepingBytes }) => bookkeepingBytes),
      droppedLogBytes: folders[0],
      mergedLogBytes: folders[1],
      files: closed.files,
      workers: closed.workers,
      timers: closed.timers,
      tickMsP50: quantile(clockMs, 0.5),
      tickMsP99: quantile(clockMs, 0.99),
      loopMsP50: median(this.#loops.map((loop) => loop.clockMs)),
      tickOwnMsP50: quantile(ownMs, 0.5),
      tickOwnMsP99: quantile(ownMs, 0.99),
      loopOwnMsP50: median(this.#loops.map((loop) => loop.ownMs)),
      othersPercent: othersPercent(this.#machine, machine),
    };
    this.#machine = machine;
    this.#ticks.length = this.#loops.length = 0;
    this.#samples.push(sample);
    const minute = Math.floor(sample.minutes);
    const isFirst = this.#samples.length === 1;
    if (minute === this.#toldAt && !isFirst && sample.cycles % 2000 !== 0) return;
    this.#toldAt = minute;
    this.#options.progress(
      `cycle ${count(sample.cycles)}: resident ${mebibytes(sample.residentBytes)}, heap ${
        mebibytes(sample.heapBytes)
      }, folders ${mebibytes(folders[0])} and ${mebibytes(folders[1])}, tick ${
        sample.tickMsP50.toFixed(2)
      } ms (p99 ${sample.tickMsP99.toFixed(2)}), others ${
        sample.othersPercent.toFixed(0)
      } % of the machine`,
    );
  }

  /** What is held while the buses are closed, when threads that were told to end have had time to. */
  async #closedState(): Promise<ProcessState> {
    const [first] = this.#samples;
    for (let attempt = 0;; attempt++) {
      const state = processState(this.#collect, this.#timers);
      const isDown = state.workers === 0 && (first === undefined || state.files <= first.files);
      if (isDown || Number.isNaN(state.workers) || attempt === ENDING_MAX) return state;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  #judge(): StressReport {
    const counts = this.#programs.map((program) => program.counts);
    const all: Record<string, number> = {};
    for (const [name, value] of counts.flatMap((each) => Object.entries(each))) {
      all[name] = (all[name] ?? 0) + value;
    }
    const did = Object.entries(all).map(([name, value]) =>
      `${name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)} ${count(value)}`
    );
    this.#log.add({
      what: "cycles of the mixed program",
      amount: count(all.cycles),
      rate: "",
      checked: "pages, epochs, edges, rules, table, struct, money beside a model; log replayed",
      figures: all,
    });
    const samples = this.#samples, { table, failures } = verdicts(samples);
    this.#log.notes.push(
      `Done, in both directories, and equal to the model in every check: ${did.join(", ")}.`,
      `${samples.length} samples, of which the first ${
        Math.floor(WARM_UP * samples.length)
      } do not count; ${
        samples[samples.length - 1].minutes.toFixed(1)
      } min. "Noise" is three standard errors; what counts is the change less its noise.`,
    );
    const report = this.#log.report({ samples, table });
    if (failures.length > 0) throw new StressFailure(failures.join("\n"), report);
    return report;
  }
}

/** Judges samples: the table, and what is wrong. */
export function verdicts(
  all: readonly Sample[],
): { readonly table: readonly (readonly string[])[]; readonly failures: readonly string[] } {
  const samples = all.slice(Math.floor(WARM_UP * all.length));
  const isShort = samples.length < SAMPLES_MIN;
  const rows: string[][] = [[
    "what",
    "first third",
    "last third",
    "change in the run",
    "noise",
    "bound",
    "verdict",
  ]];
  const failures: string[] = [];
  const tooShort = isShort ? "too short" : "";
  const add = (what: string, cells: readonly string[], isBad: boolean, reason = "") => {
    rows.push([what, ...cells, reason !== "" ? `not judged: ${reason}` : isBad ? "GROWS" : "flat"]);
    if (isBad && reason === "") {
      failures.push(`${what}: ${cells.slice(2).join(", ")} (change, noise, bound)`);
    }
  };
  const times = samples.map(({ minutes }) => minutes);
  for (const { name, what, share, bytes } of FLAT) {
    const values = samples.map((sample) => sample[name]);
    const { growth, noise, median: middle } = trendOf(times, values);
    const { first, last } = driftOf(values), bound = share * middle + bytes;
    const cells = [first, last, growth, noise, bound].map(mebibytes);
    add(what, cells, growth - noise > bound, tooShort);
  }
  const half = samples.slice(Math.floor(samples.length / 2));
  for (const { name, what } of STEADY) {
    const values = half.map((sample) => sample[name]), { first, last } = driftOf(values);
    const cycles = half.map((sample) => sample.cycles);
    const { growth, noise, slope } = trendOf(cycles, values);
    const span = cycles[cycles.length - 1] - cycles[0];
    const cells = [
      mebibytes(first),
      mebibytes(last),
      `${slope.toFixed(0)} B`,
      `${(noise / span).toFixed(0)} B`,
      `${CYCLE_BYTES_MAX} B, from ${mebibytes(STEADY_BYTES_MIN)} on`,
    ];
    const bound = Math.max(STEADY_BYTES_MIN, CYCLE_BYTES_MAX * span);
    const isEarly = cycles[0] < STEADY_CYCLES_MIN;
    const reason = tooShort || (isEarly ? `it begins at cycle ${count(cycles[0])}` : "");
    add(`${what} of the second half`, cells, growth - noise > bound, reason);
  }
  const { first: othersFirst, last: othersLast } = driftOf(samples.map((one) => one.othersPercent));
  const isBusy = Math.max(othersFirst, othersLast) > OTHERS_MAX;
  const busy = `others took ${othersFirst.toFixed(0)} and ${
    othersLast.toFixed(0)
  } % of the machine`;
  for (const { name, beside, what, bound, isClock } of SLOWER) {
    const values = samples.map((sample) => sample[name] / sample[beside]);
    const times = driftOf(samples.map((sample) => sample[name]));
    const { drift, noise } = driftOf(values);
    const cells = [
      `${times.first.toFixed(3)} ms`,
      `${times.last.toFixed(3)} ms`,
      `${percent(drift)} beside a fixed loop`,
      percent(noise),
      percent(bound),
    ];
    add(what, cells, drift - noise > bound, tooShort || (isClock && isBusy ? busy : ""));
  }
  for (
    const [name, what] of [["files", "open files"], ["workers", "threads"], ["timers", "timers"]]
  ) {
    const values = samples.map((sample) => sample[name]).filter((value) => !Number.isNaN(value));
    if (values.length === 0) continue;
    const half = Math.ceil(values.length / 2);
    const first = Math.max(...values.slice(0, half)), last = Math.max(...values.slice(-half));
    const cells = [`${first}`, `${last}`, `${last - first}`, "0", "0"];
    // The runtime opens some files of its own when it needs them first, which a short run meets late.
    add(`${what}, buses closed`, cells, last > first, name === "files" ? tooShort : "");
  }
  for (const name of ["droppedLogBytes", "mergedLogBytes"] as const) {
    const most = Math.max(...all.map((sample) => sample[name]));
    if (most > FOLDER_BYTES_MAX) {
      failures.push(`${name} came to ${mebibytes(most)}, above ${mebibytes(FOLDER_BYTES_MAX)}`);
    }
  }
  return { table: rows, failures };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

const LOOP = new Int32Array(16_384);

/** The time that a fixed piece of work takes. */
function loopTime(usedMs: () => number): TickTime {
  const used = usedMs(), start = performance.now();
  let sum = 0;
  for (let round = 0; round < 8; round++) {
    for (let i = 0; i < LOOP.length; i++) sum = Math.imul(sum ^ LOOP[i], 0x85eb_ca6b) + i | 0;
  }
  LOOP[0] = sum;
  return { clockMs: performance.now() - start, ownMs: usedMs() - used };
}

/** The suite. */
export const stabilitySuite: StressSuite = {
  name: "stability",
  summary:
    "10,000 cycles of a mixed program beside a model, or --minutes N; nothing grows, nothing slows down",
  goesOn: true,
  run: runStability,
};

if (isProgram(import.meta)) Deno.exit(await programOf(stabilitySuite, Deno.args));
