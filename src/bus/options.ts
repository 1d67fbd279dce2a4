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
  MEMORY_LIMIT_BYTES_DEFAULT,
  MmsbError,
  SEGMENT_BYTES_MAX,
  SHARDS_DEFAULT,
  SHARDS_MAX,
  TICK_BUDGET_MS_DEFAULT,
} from "../base/mod.ts";
import { FileStorage, type Storage } from "../log/mod.ts";
import { ARENA_BYTES_MAX, SPAN_BYTES } from "../physical/mod.ts";
import { systemClockErrorUs, systemNowUs } from "../temporal/mod.ts";

/**
 * When a tick counts as acknowledged: `memory` when it is applied; `buffered` when the system has its
 * bytes; `group` when a sync that it shares with others is done; `always` when its own sync is.
 */
export type Durability = "memory" | "buffered" | "group" | "always";

/** The names of {@linkcode Durability}, weakest first. */
export const DURABILITIES: readonly Durability[] = ["memory", "buffered", "group", "always"];

/** A source of physical time. */
export interface BusClock {
  /** Time in µs since the Unix epoch. */
  nowUs(): number;
  /** How wrong it may be, in µs. */
  errorUs(): number;
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
  /** Threads that own shards; only 0 (everything in this thread) in this version. */
  readonly workers?: number;
  /** Where pages live; only `shared` in this version. */
  readonly arena?: "shared" | "mmap";
  /** Bytes that pages may take, 128 KiB to 8 GiB. Default 8 GiB. */
  readonly memoryLimitBytes?: number;
  /** Milliseconds a tick should stay below; `TickReport.overBudgetMs` says by how much it did not. Default 16. */
  readonly tickBudgetMs?: number;
  /** Where batches are applied; only `cpu` (which `auto` chooses) in this version. */
  readonly device?: "cpu" | "gpu" | "auto";
  /** Open without the right to write: needs no lock, and reads what is whole of a damaged log. */
  readonly readOnly?: boolean;
  /** Physical time, for tests. Default: the system's clock. */
  readonly clock?: BusClock;
  /** Bytes of the first log segment, at most 64 MiB. Default 256 KiB. */
  readonly segmentBytes?: number;
  /** Bytes up to which log segments grow, at most 64 MiB, which is the default. */
  readonly segmentBytesMax?: number;
}

/** Options with every default in place. */
export interface ResolvedOptions {
  /** Byte store of the log, `undefined` for a bus in memory only. */
  readonly storage: Storage | undefined;
  /** When ticks are acknowledged. */
  readonly durability: Durability;
  /** Shards asked for, `undefined` where the directory decides. */
  readonly shards: number | undefined;
  /** Bytes that pages may take. */
  readonly memoryLimitBytes: number;
  /** Milliseconds a tick should stay below. */
  readonly tickBudgetMs: number;
  /** Whether nothing may be written. */
  readonly readOnly: boolean;
  /** Physical time. */
  readonly clock: BusClock;
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
  "arena",
  "memoryLimitBytes",
  "tickBudgetMs",
  "device",
  "readOnly",
  "clock",
  "segmentBytes",
  "segmentBytesMax",
];

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
  "syncFolder",
  "lock",
];

const SYSTEM_CLOCK: BusClock = { nowUs: systemNowUs, errorUs: systemClockErrorUs };

/**
 * Checks options and fills in defaults.
 *
 * @throws {MmsbError} `usage` or `limit`, naming the option.
 */
export function resolveOptions(options: OpenOptions): ResolvedOptions {
  checkKeys("StateBus.open", options, KEYS);
  const { dir, workers = 0, arena = "shared", device = "cpu", clock = SYSTEM_CLOCK } = options;
  const { memoryLimitBytes = MEMORY_LIMIT_BYTES_DEFAULT, tickBudgetMs = TICK_BUDGET_MS_DEFAULT } =
    options;
  checkInteger("workers", workers, 0, SHARDS_MAX, "limit");
  checkOneOf("arena", arena, ["shared", "mmap"]);
  checkOneOf("device", device, ["cpu", "gpu", "auto"]);
  if (workers > 0) refuseLater("workers", workers, "0, everything in this thread");
  if (arena === "mmap") refuseLater("arena", arena, `"shared"`);
  if (device === "gpu") refuseLater("device", device, `"cpu" or "auto"`);
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
    memoryLimitBytes: checkInteger(
      "memoryLimitBytes",
      memoryLimitBytes,
      2 * SPAN_BYTES,
      ARENA_BYTES_MAX,
      "limit",
    ),
    tickBudgetMs: checkNumber("tickBudgetMs", tickBudgetMs, 0, 3_600_000),
    readOnly,
    clock: checkMethods("clock", clock, ["nowUs", "errorUs"]),
    segmentBytes: checkSegment("segmentBytes", options.segmentBytes),
    segmentBytesMax: checkSegment("segmentBytesMax", options.segmentBytesMax),
  };
}

/** Shards of a new directory or a bus in memory. */
export function shardsOf(options: ResolvedOptions): number {
  return options.shards ?? SHARDS_DEFAULT;
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

function checkMethods<T extends object>(name: string, value: T, methods: readonly string[]): T {
  const given = checkType(name, value, "object") as Readonly<Record<string, unknown>>;
  for (const method of methods) checkType(`${name}.${method}`, given[method], "function");
  return value;
}

function checkSegment(name: string, bytes: number | undefined): number | undefined {
  if (bytes === undefined) return undefined;
  return checkInteger(name, bytes, 1, SEGMENT_BYTES_MAX, "limit");
}

function refuseLater(name: string, value: unknown, instead: string): never {
  throw new MmsbError(
    "usage",
    `Cannot open with ${name} ${JSON.stringify(value)} as this version has it not: use ${instead}`,
    { values: { name, value } },
  );
}
