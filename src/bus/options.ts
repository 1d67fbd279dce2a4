/**
 * Options: what `StateBus.open` may be told, checked and completed with defaults.
 *
 * @module
 */

import {
  checkInteger,
  checkKeys,
  checkNumber,
  checkOneOf,
  checkType,
  LANES_MAX,
  MEMORY_LIMIT_BYTES_DEFAULT,
  MmsbError,
  SEGMENT_BYTES_MAX,
  SHARDS_DEFAULT,
  SHARDS_MAX,
  TICK_BUDGET_MS_DEFAULT,
  TICK_ROWS_MAX,
} from "../base/mod.ts";
import {
  checkFolder,
  type CheckpointPacking,
  FileStorage,
  type LogRetention,
  type Storage,
} from "../log/mod.ts";
import {
  ARENA_BYTES_MAX,
  SPAN_BYTES,
  SPILL_BYTES_MAX,
  type SpillPlan,
  spillTo,
} from "../physical/mod.ts";
import { monotonicNowMs } from "../temporal/mod.ts";
import type { ClockSource } from "../temporal/sources/clock_source.ts";
import { SystemClock } from "../temporal/sources/system_clock.ts";

/**
 * When a tick counts as acknowledged: `memory` when it is applied; `buffered` when the system has its
 * bytes; `group` when a sync that it shares with others is done; `always` when its own sync is.
 */
export type Durability = "memory" | "buffered" | "group" | "always";

/** The names of {@linkcode Durability}, weakest first. */
export const DURABILITIES: readonly Durability[] = ["memory", "buffered", "group", "always"];

/** Physical time; every `ClockSource` is one. */
export interface BusClock {
  /** Time in µs since the Unix epoch. Where it is none (NaN, negative), timestamps go on counting from the last one. */
  nowUs(): number;
  /** How wrong it may be, either way, in µs; Infinity where that is unknown. */
  errorUs(): number;
  /** Time that never goes back, in ms from anywhere: what phases and budgets are measured by. Default: the system's. */
  monotonicMs?(): number;
}

/** Where pages go for which there is no room in memory, and when. */
export interface SpillOptions {
  /** Folder of the file; it is made where it is absent, and several buses may have one folder. Default: `dir/spill`. */
  readonly dir?: string;
  /**
   * Ticks from which on a page that nobody used goes before its room is needed, 1 to 2^31: when seven eighths of the
   * memory are taken, some go after each tick, so that later ticks need not wait. Default: they go when room is needed.
   */
  readonly coldAfterTicks?: number;
  /** Most bytes of the file, 64 KiB to 64 GiB. Default 64 GiB. */
  readonly limitBytes?: number;
}

/** Options of `StateBus.open`. */
export interface OpenOptions {
  /** Directory of the log. Without it, and without `storage`, the bus is in memory only. */
  readonly dir?: string;
  /** A byte store in place of a directory, for tests and embedding. */
  readonly storage?: Storage;
  /** When ticks are acknowledged. Default `group` with a directory, `memory` without. */
  readonly durability?: Durability;
  /** Shards, 1 to 256, fixed when the directory is made. Default 24. */
  readonly shards?: number;
  /**
   * Threads that check batches and put them into pages, 0 to 255. Default 0: everything in this thread. What
   * comes out, the log too, is the same with any number. Where no threads can be had the bus works without, and `bus.opened.workers` says why.
   */
  readonly workers?: number;
  /** Whether each worker stays on a core of its own (Linux, needs `--allow-ffi`). Default false. */
  readonly pinWorkers?: boolean;
  /**
   * Most milliseconds that a rule from a module may run, 1 to 3,600,000: a tick whose rule takes longer fails
   * with code `worker`, and the bus goes on. Needs `workers`; all rules from modules (but for those that read tables)
   * then run on threads of their own, also where that is slower. Default: 5,000 for rules that run there
   * because it is faster, no limit for others. Shaders of rules from modules are not used then, as their twins need the
   * limit, too.
   */
  readonly ruleTimeoutMs?: number;
  /**
   * Where pages live: `shared`, memory of this process, or `mmap`, a mapped file that other processes
   * read while it changes and that the next writer takes over after a clean close. `mmap` is for Linux
   * and needs `--allow-ffi`; without, `shared` serves and `bus.opened.arena` says why. With `readOnly`:
   * follow the mapped file of the directory's writer, if it has one.
   */
  readonly arena?: "shared" | "mmap";
  /** Folder for the mapped file. Default: the directory itself; `/dev/shm` for a bus in memory. */
  readonly arenaDir?: string;
  /** Bytes that pages may take in memory, 128 KiB to 8 GiB. Default 8 GiB. */
  readonly memoryLimitBytes?: number;
  /**
   * Has pages for which there is no room in memory go to a file, those first that were not used for longest, and come
   * back when they are used. `true`: to a file in `dir/spill`; or see {@linkcode SpillOptions}. Default: none go, and a
   * page for which there is no room is refused. Not for a bus that is shared with other threads or processes.
   */
  readonly spill?: true | SpillOptions;
  /**
   * Milliseconds that a tick may take, 0 to 3,600,000. Default 16. A tick admits as many waiting batches as
   * it expects to get through in that time, at least one; the others wait for the next tick
   * (`TickReport.carriedOver`).
   */
  readonly tickBudgetMs?: number;
  /**
   * Milliseconds that may be spent after each tick on reclaiming the room of deleted pages, 0.1 to 1,000.
   * Default 1. New pages get that room at once, reclaimed or not.
   */
  readonly reclaimBudgetMs?: number;
  /**
   * Rows that a tick admits from batches, in place of what would keep the budget: ticks then take the
   * same batches in every run, however fast the machine is.
   */
  readonly tickRowsMax?: number;
  /**
   * What applies batches and runs rules in WGSL: `cpu`, the default; `gpu`, a GPU wherever it has a kernel, a software one
   * too; `auto`, a hardware GPU for batches from the size on that was measured to be faster there. What comes out, the
   * log too, is the same but for floats of those rules. Where no GPU can be had the bus works without, and `bus.opened.device` says why. Needs
   * `--allow-read` for the module of its thread; not for `arena: "mmap"`.
   */
  readonly device?: "cpu" | "gpu" | "auto";
  /** Open without the right to write: needs no lock, and reads what is whole of a damaged log. */
  readonly readOnly?: boolean;
  /**
   * Where ticks take their time from: a source of time (`SystemClock`, `SntpClock`, …), a `ClockSelector` over several, or
   * any object that gives time and bound. Default: the system's clock with what the kernel says of it, where FFI is granted
   * (`bus.opened.clock` tells). The bus neither starts nor closes it; it may serve several buses.
   */
  readonly clock?: BusClock | ClockSource;
  /** When checkpoints are made by themselves, and what is kept. */
  readonly checkpoints?: CheckpointOptions;
  /** Bytes of the first log segment, at most 64 MiB. Default 256 KiB. */
  readonly segmentBytes?: number;
  /** Bytes up to which log segments grow, at most 64 MiB, which is the default. */
  readonly segmentBytesMax?: number;
}

/** When checkpoints are made, and what is kept. */
export interface CheckpointOptions {
  /**
   * Bytes by which the log grows until one is made by itself; `Infinity` for never. Default 1 GiB, and
   * then at least as many as the last one took.
   */
  readonly everyBytes?: number;
  /** Checkpoints that are kept, 1 to 1,024. Default 4. */
  readonly keep?: number;
  /**
   * What becomes of log segments that no kept checkpoint needs: `keep`, the default, `drop`, or `archive`
   * (moved to `archiveDir`). What is dropped or archived can no longer be asked for by `history` or `at`.
   */
  readonly log?: LogRetention;
  /** Folder for archived segments, a path inside the directory. Default `archive`. */
  readonly archiveDir?: string;
  /**
   * Which parts of a checkpoint are compressed. `auto`, the default, compresses as much as takes no
   * longer than the disk would without: on a slow disk all that shrinks, on a fast one a part of it
   * only, so a checkpoint may take nearly the bytes of its pages there. `always` compresses all that
   * shrinks, which may take several times as long and keeps another core busy meanwhile; `never`
   * nothing. Checkpoints of less than 16 MiB of pages are compressed with `auto` too.
   */
  readonly pack?: CheckpointPacking;
}

/** The same with every default in place. */
export interface ResolvedCheckpoints extends Required<CheckpointOptions> {
  /** Whether `everyBytes` was given. */
  readonly isGiven: boolean;
}

/** Options with every default in place. */
export interface ResolvedOptions {
  /** Byte store of the log, `undefined` for a bus in memory only. */
  readonly storage: Storage | undefined;
  /** When ticks are acknowledged. */
  readonly durability: Durability;
  /** Shards asked for, `undefined` where the directory decides. */
  readonly shards: number | undefined;
  /** Where pages live. */
  readonly arena: "shared" | "mmap";
  /** Folder for the mapped file, `undefined` where it goes where it belongs. */
  readonly arenaDir: string | undefined;
  /** Bytes that pages may take. */
  readonly memoryLimitBytes: number;
  /** Where pages go for which there is no room, if any do. */
  readonly spill: SpillPlan | undefined;
  /** Milliseconds that a tick may take. */
  readonly tickBudgetMs: number;
  /** Milliseconds of reclaiming after each tick. */
  readonly reclaimBudgetMs: number;
  /** Rows that a tick admits, `undefined` where the budget decides. */
  readonly tickRowsMax: number | undefined;
  /** What applies batches. */
  readonly device: "cpu" | "gpu" | "auto";
  /** Whether nothing may be written. */
  readonly readOnly: boolean;
  /** Physical time. */
  readonly clock: BusClock;
  /** When checkpoints are made, and what is kept. */
  readonly checkpoints: ResolvedCheckpoints;
  /** Lanes of the log that are written. */
  readonly lanes: number;
  /** Threads beside this one. */
  readonly workers: number;
  /** Whether they stay on a core each. */
  readonly pinWorkers: boolean;
  /** Most milliseconds that a rule may run on a thread of its own, if that was asked for. */
  readonly ruleTimeoutMs: number | undefined;
  /** Bytes of the first log segment. */
  readonly segmentBytes: number | undefined;
  /** Bytes up to which log segments grow. */
  readonly segmentBytesMax: number | undefined;
}

const KEYS: readonly (keyof OpenOptions)[] = [
  "dir",
  "storage",
  "durability",
  "shards",
  "workers",
  "pinWorkers",
  "ruleTimeoutMs",
  "arena",
  "arenaDir",
  "memoryLimitBytes",
  "spill",
  "tickBudgetMs",
  "reclaimBudgetMs",
  "tickRowsMax",
  "device",
  "readOnly",
  "clock",
  "checkpoints",
  "segmentBytes",
  "segmentBytesMax",
];

const CHECKPOINT_KEYS: readonly (keyof CheckpointOptions)[] = [
  "everyBytes",
  "keep",
  "log",
  "archiveDir",
  "pack",
];
const RECLAIM_BUDGET_MS_DEFAULT = 1;
const RECLAIM_BUDGET_MS_MIN = 0.1;
const RECLAIM_BUDGET_MS_MAX = 1000;
const CHECKPOINT_BYTES_DEFAULT = 2 ** 30;
const CHECKPOINTS_KEPT_DEFAULT = 4;
const CHECKPOINTS_KEPT_MAX = 1024;

/** What the log calls on a store of bytes. */
const STORAGE_METHODS = [
  "list",
  "makeFolder",
  "exists",
  "open",
  "allocate",
  "allocateNow",
  "readAll",
  "replace",
  "remove",
  "removeAsync",
  "rename",
  "syncFolder",
  "syncFolderAsync",
  "lock",
];

/**
 * Checks options and fills in defaults.
 *
 * @throws {MmsbError} `usage` or `limit`, naming the option.
 */
export function resolveOptions(options: OpenOptions): ResolvedOptions {
  checkKeys("StateBus.open", options, KEYS);
  const { dir, workers = 0, arena = "shared", device = "cpu" } = options;
  const { reclaimBudgetMs = RECLAIM_BUDGET_MS_DEFAULT } = options;
  const { memoryLimitBytes = MEMORY_LIMIT_BYTES_DEFAULT, tickBudgetMs = TICK_BUDGET_MS_DEFAULT } =
    options;
  checkInteger("workers", workers, 0, LANES_MAX - 1, "limit");
  if (workers > 0 && arena === "mmap") {
    throw new MmsbError(
      "usage",
      'Cannot use workers with arena "mmap" as they share memory of this process: use arena "shared"',
      { values: { workers } },
    );
  }
  checkOneOf("arena", arena, ["shared", "mmap"]);
  checkOneOf("device", device, ["cpu", "gpu", "auto"]);
  if (device === "gpu" && arena === "mmap") {
    throw new MmsbError(
      "usage",
      'Cannot use device "gpu" with arena "mmap" as its thread shares memory of this process: use arena "shared"',
      { values: { device, arena } },
    );
  }
  if (dir !== undefined && checkType("dir", dir, "string") === "") {
    throw new MmsbError("usage", "Cannot use an empty dir: give a path, or leave it out");
  }
  const storage = storageOf(options);
  const { durability = storage === undefined ? "memory" : "group", readOnly = false } = options;
  checkOneOf("durability", durability, DURABILITIES);
  if (storage === undefined && durability !== "memory") {
    throw new MmsbError("usage", `Cannot be durable ("${durability}") without a dir: give one`, {
      values: { durability },
    });
  }
  if (checkType("readOnly", readOnly, "boolean") && storage === undefined) {
    throw new MmsbError("usage", "Cannot open a bus in memory with readOnly: give a dir");
  }
  return {
    storage,
    durability,
    shards: options.shards === undefined
      ? undefined
      : checkInteger("shards", options.shards, 1, SHARDS_MAX, "limit"),
    arena,
    arenaDir: checkArenaDir(options),
    memoryLimitBytes: checkInteger(
      "memoryLimitBytes",
      memoryLimitBytes,
      2 * SPAN_BYTES,
      ARENA_BYTES_MAX,
      "limit",
    ),
    spill: checkSpill(options, readOnly),
    tickBudgetMs: checkNumber("tickBudgetMs", tickBudgetMs, 0, 3_600_000),
    reclaimBudgetMs: checkReclaimBudget("reclaimBudgetMs", reclaimBudgetMs),
    tickRowsMax: options.tickRowsMax === undefined
      ? undefined
      : checkInteger("tickRowsMax", options.tickRowsMax, 1, TICK_ROWS_MAX, "limit"),
    device,
    readOnly,
    clock: checkClock(options.clock),
    checkpoints: resolveCheckpoints(options.checkpoints),
    // Only this thread writes, whoever builds the frames.
    lanes: 1,
    workers: readOnly ? 0 : workers,
    pinWorkers: checkType("pinWorkers", options.pinWorkers ?? false, "boolean"),
    ruleTimeoutMs: checkRuleTimeout(options.ruleTimeoutMs, workers),
    segmentBytes: checkSegment("segmentBytes", options.segmentBytes),
    segmentBytesMax: checkSegment("segmentBytesMax", options.segmentBytesMax),
  };
}

function checkRuleTimeout(timeoutMs: unknown, workers: number): number | undefined {
  if (timeoutMs === undefined) return undefined;
  checkNumber("ruleTimeoutMs", timeoutMs, 1, 3_600_000);
  if (workers > 0) return timeoutMs as number;
  throw new MmsbError(
    "usage",
    "Cannot end rules after ruleTimeoutMs on the thread of the bus: give workers, too",
    { values: { timeoutMs } },
  );
}

/** Checks the milliseconds of a slice of reclaiming. */
export function checkReclaimBudget(name: string, budgetMs: number): number {
  return checkNumber(name, budgetMs, RECLAIM_BUDGET_MS_MIN, RECLAIM_BUDGET_MS_MAX);
}

/** Shards of a new directory or a bus in memory. */
export function shardsOf(options: ResolvedOptions): number {
  return options.shards ?? SHARDS_DEFAULT;
}

function checkArenaDir({ arenaDir, arena }: OpenOptions): string | undefined {
  if (arenaDir === undefined) return undefined;
  if (checkType("arenaDir", arenaDir, "string") === "" || arenaDir.includes("\0")) {
    throw new MmsbError("usage", "Cannot use an empty arenaDir: give a path, or leave it out");
  }
  if (arena !== "mmap") {
    throw new MmsbError("usage", 'Cannot use arenaDir without arena "mmap": give both', {
      values: { arenaDir },
    });
  }
  return arenaDir;
}

const SPILL_KEYS: readonly (keyof SpillOptions)[] = ["dir", "coldAfterTicks", "limitBytes"];
const SPILL_FOLDER = "spill";

function checkSpill({ spill, dir, arena }: OpenOptions, readOnly: boolean): SpillPlan | undefined {
  if (spill === undefined) return undefined;
  if (spill !== true) checkKeys("spill", checkType("spill", spill, "object"), SPILL_KEYS);
  const given: SpillOptions = spill === true ? {} : spill;
  if (arena === "mmap") {
    throw new MmsbError(
      "usage",
      'Cannot spill pages of arena "mmap" as other processes read them by themselves: use arena "shared"',
    );
  }
  let folder = given.dir;
  if (folder === undefined) {
    if (dir === undefined || readOnly) {
      throw new MmsbError(
        "usage",
        readOnly
          ? "Cannot spill to the directory of a bus that is opened with readOnly: give spill.dir, a folder that may be written"
          : "Cannot spill pages without a dir: give spill.dir, a folder for them",
      );
    }
    folder = `${dir}/${SPILL_FOLDER}`;
  } else if (checkType("spill.dir", folder, "string") === "" || folder.includes("\0")) {
    throw new MmsbError("usage", "Cannot use an empty spill.dir: give a path, or leave it out");
  }
  const { coldAfterTicks, limitBytes } = given;
  if (coldAfterTicks !== undefined) {
    checkInteger("spill.coldAfterTicks", coldAfterTicks, 1, 2 ** 31, "limit");
  }
  if (limitBytes !== undefined) {
    checkInteger("spill.limitBytes", limitBytes, SPAN_BYTES, SPILL_BYTES_MAX, "limit");
  }
  return spillTo(folder, { coldAfterTicks, limitBytes });
}

function storageOf({ dir, storage }: OpenOptions): Storage | undefined {
  if (dir !== undefined && storage !== undefined) {
    throw new MmsbError("usage", "Cannot use both dir and storage: give one of them", {
      values: { dir },
    });
  }
  if (storage !== undefined) return checkMethods("storage", storage, STORAGE_METHODS);
  return dir === undefined ? undefined : new FileStorage(dir);
}

function checkClock(clock?: BusClock): BusClock {
  if (clock === undefined) return new SystemClock();
  checkMethods("clock", clock, ["nowUs", "errorUs"]);
  return clock.monotonicMs === undefined ? clock : checkMethods("clock", clock, ["monotonicMs"]);
}

function checkMethods<T extends object>(name: string, value: T, methods: readonly string[]): T {
  const given = checkType(name, value, "object") as Readonly<Record<string, unknown>>;
  for (const method of methods) checkType(`${name}.${method}`, given[method], "function");
  return value;
}

function resolveCheckpoints(options: CheckpointOptions = {}): ResolvedCheckpoints {
  checkKeys("checkpoints", checkType("checkpoints", options, "object"), CHECKPOINT_KEYS);
  const { everyBytes = CHECKPOINT_BYTES_DEFAULT, keep = CHECKPOINTS_KEPT_DEFAULT } = options;
  const { log = "keep", archiveDir = "archive", pack = "auto" } = options;
  checkFolder(archiveDir);
  const [first] = archiveDir.split("/");
  if (first === "" || first === "checkpoints" || first.startsWith("lane-")) {
    throw new MmsbError(
      "usage",
      `Cannot archive segments in "${archiveDir}": name a folder of its own inside the directory`,
      { values: { archiveDir } },
    );
  }
  return {
    everyBytes: everyBytes === Infinity
      ? everyBytes
      : checkInteger("everyBytes", everyBytes, 1, Number.MAX_SAFE_INTEGER, "limit"),
    keep: checkInteger("keep", keep, 1, CHECKPOINTS_KEPT_MAX, "limit"),
    log: checkOneOf("log", log, ["keep", "drop", "archive"]),
    archiveDir,
    pack: checkOneOf("pack", pack, ["auto", "always", "never"]),
    isGiven: options.everyBytes !== undefined,
  };
}

function checkSegment(name: string, bytes: number | undefined): number | undefined {
  if (bytes === undefined) return undefined;
  return checkInteger(name, bytes, 1, SEGMENT_BYTES_MAX, "limit");
}

/**
 * The time that ticks are measured and paced by. A clock of the caller's that goes back, answers with no number or
 * throws stands still meanwhile: it is asked when the log has the tick already, where nothing may fail.
 */
export function steadyMs(clock: BusClock): () => number {
  if (clock.monotonicMs === undefined) return monotonicNowMs;
  let last = NaN;
  return () => {
    try {
      const nowMs: unknown = clock.monotonicMs!();
      if (typeof nowMs === "number" && Number.isFinite(nowMs) && !(nowMs <= last)) last = nowMs;
    } catch {
      // As one that stands still.
    }
    return Number.isNaN(last) ? 0 : last;
  };
}
