/**
 * `validate`: the validators on a program's own data, a directory or a live bus.
 *
 * A program that only wants a bus does not load them: they come when this is called, and work in another thread, so
 * that the program's own goes on.
 *
 * Cost: as long as a few passes over the log take, in another thread; of a live bus with a log a replay in this one
 * (`bus.verify`), during which no tick runs.
 *
 * @module
 */

import {
  checkInteger,
  checkKeys,
  checkOneOf,
  checkType,
  isMmsbError,
  MmsbError,
} from "../base/mod.ts";
import { insideOf, StateBus } from "../bus/mod.ts";
import { requireDirectory, type Storage } from "../log/mod.ts";
import { isRule, type Rule } from "../propagation/mod.ts";
import type { LiveTask } from "./_validate_live.ts";
import type { RunReport } from "./runner.ts";

/** Options of {@linkcode validate}. */
export interface ValidateOptions {
  /** Numbers of the validators to run, such as `[1, 2]`. Default: all. */
  readonly only?: readonly number[];
  /** Whether to look at less: fewer ticks, pages and questions. Default false. */
  readonly quick?: boolean;
  /** Seed of what is chosen by chance, 0 to 2³² − 1. Default 1. */
  readonly seed?: number;
  /** Path of a file with targets of your own. Default: the built-in ones. */
  readonly targets?: string;
  /**
   * The code of the rules, which no log holds: a module (its URL, or a path) that exports rules, `rules` or `invariants`, which
   * runs in a thread of its own; or the rules themselves by the names that they are bound by, which run in
   * this thread.
   */
  readonly rules?: URL | string | Readonly<Record<string, Rule>>;
  /** Milliseconds that a rule or an invariant of a module may take, 1 to 3,600,000. Default 10,000. */
  readonly ruleTimeoutMs?: number;
  /** Told how far the work is, several times a second. */
  readonly progress?: (text: string) => void;
  /** How often each validator runs, 1 to 1,000: medians of what is timed, the worst of all else. Default 1. */
  readonly repeat?: number;
  /**
   * Where rules and batches that are done again run, as `StateBus.open` has it. With `gpu` a run in which nothing ran on an adapter
   * that is there fails. Default `cpu`.
   */
  readonly device?: "cpu" | "gpu" | "auto";
}

const KEYS = [
  "only",
  "quick",
  "seed",
  "targets",
  "rules",
  "ruleTimeoutMs",
  "progress",
  "repeat",
  "device",
];
const DEVICES = ["cpu", "gpu", "auto"] as const;
const SEED_MAX = 2 ** 32 - 1;
const TIMEOUT_MS_MAX = 3_600_000;
const REPEAT_MAX = 1000;

/**
 * Validates a directory, or a bus that goes on meanwhile.
 *
 * @param target The directory of a bus, which may be in use and is only read; or a bus. Of a bus in memory only its
 * pages, graph and invariants can be looked at; what is left out is in the report by name.
 * @param options What to run, and the rules.
 * @returns The report: `exitCode` 0 where everything that ran has passed, 1 where something failed, 2 where nothing could
 * be checked, 3 where data is damaged.
 * @throws {MmsbError} `usage` for wrong arguments, no directory of a bus or a module that cannot be used; `closed` for a
 * closed bus; `version` where a newer MMSB wrote the directory; `io` where it cannot be read. What is found wrong is not thrown
 * but reported.
 *
 * @example A bus that is being written
 * ```ts
 * import assert from "node:assert/strict";
 * import { MemoryStorage, StateBus, validate } from "@mmsb/mmsb";
 *
 * await using bus = await StateBus.open({ storage: new MemoryStorage() }); // or { dir }
 * const board = bus.createPage({ size: 8, name: "board" });
 * bus.invariant("the board is never full", (at) => at.read(board).some((byte) => byte === 0));
 * await bus.commit(() => board.write(0, Uint8Array.of(1, 2)));
 *
 * const report = await validate(bus, { only: [2, 8] });
 * assert.equal(report.exitCode, 0);
 * assert.deepEqual(report.benchmarks.map(({ name, status }) => `${name} ${status}`), [
 *   "Integrity passed",
 *   "Invariants passed",
 * ]);
 * ```
 */
export async function validate(
  target: StateBus | string | URL,
  options: ValidateOptions = {},
): Promise<RunReport> {
  const task = taskOf(options), { progress } = options, given = rulesOf(options.rules);
  const parts = { progress, givenRules: given.rules };
  const asked = { ...task, rules: given.url };
  if (!(target instanceof StateBus)) {
    const directory = await directoryOf(target);
    const { validateAll } = await import("./_validate_live.ts");
    return await validateAll({ ...asked, directory }, parts);
  }
  if (target.closed) {
    throw new MmsbError("closed", "Cannot validate a bus that is closed: give its directory");
  }
  const { storage } = insideOf(target), { validateAll } = await import("./_validate_live.ts");
  if (storage === undefined) {
    if (given.url !== undefined) {
      throw new MmsbError(
        "usage",
        "Cannot check the rules of a bus in memory: it keeps no log of what they computed; leave out rules",
      );
    }
    return await validateAll(asked, { ...parts, bus: target });
  }
  if (storage.kind === "files") {
    return await validateAll({ ...asked, directory: storage.location }, { ...parts, bus: target });
  }
  const directory = await copyOf(storage);
  try {
    return await validateAll({ ...asked, directory }, { ...parts, bus: target });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function taskOf(options: ValidateOptions): Omit<LiveTask, "directory" | "rules"> {
  checkType("options", options, "object");
  checkKeys("validate", options, KEYS);
  const { only, quick = false, seed = 1, repeat = 1, targets, ruleTimeoutMs, progress } = options;
  const { device = "cpu" } = options;
  checkType("quick", quick, "boolean");
  checkInteger("seed", seed, 0, SEED_MAX);
  checkInteger("repeat", repeat, 1, REPEAT_MAX);
  checkOneOf("device", device, DEVICES);
  if (targets !== undefined) checkType("targets", targets, "string");
  if (progress !== undefined) checkType("progress", progress, "function");
  if (ruleTimeoutMs !== undefined) {
    checkInteger("ruleTimeoutMs", ruleTimeoutMs, 1, TIMEOUT_MS_MAX);
  }
  if (only !== undefined && !Array.isArray(only)) {
    throw new MmsbError("usage", "Cannot run only these: give numbers of validators, [1, 2]");
  }
  only?.forEach((id) => checkInteger("only", id, 1, Number.MAX_SAFE_INTEGER));
  return {
    ...(only === undefined ? {} : { only: [...only] }),
    quick,
    seed,
    repeats: repeat,
    device,
    ...(targets === undefined ? {} : { targets }),
    ...(ruleTimeoutMs === undefined ? {} : { ruleTimeoutMs }),
    startedAt: new Date(),
  };
}

/** A module, or rules as they are. */
function rulesOf(
  rules: ValidateOptions["rules"],
): { readonly url?: string; readonly rules?: Readonly<Record<string, Rule>> } {
  if (rules === undefined) return {};
  if (rules instanceof URL) return { url: rules.href };
  if (typeof rules === "string") {
    const isUrl = /^[a-z][a-z0-9+.-]+:/i.test(rules);
    return { url: isUrl ? rules : new URL(encodeURI(rules), `file://${Deno.cwd()}/`).href };
  }
  const isAll = typeof rules === "object" && rules !== null &&
    Object.values(rules).every((rule) => isRule(rule));
  if (isAll) return { rules };
  throw new MmsbError(
    "usage",
    "Cannot use these rules: give a module's URL, or { name: rule } with what defineRule gives",
  );
}

/** The path of a directory that is one of a bus. */
async function directoryOf(target: unknown): Promise<string> {
  const { fileURLToPath } = await import("node:url");
  if (!(typeof target === "string" && target !== "") && !(target instanceof URL)) {
    throw new MmsbError("usage", "Cannot validate this: give a bus, or the directory of one");
  }
  let path: string;
  try {
    path = target instanceof URL ? fileURLToPath(target) : target as string;
  } catch (cause) {
    throw new MmsbError("usage", `Cannot validate ${target}: give a file: URL, or a path`, {
      cause,
    });
  }
  try {
    requireDirectory(path);
  } catch (cause) {
    if (isMmsbError(cause)) throw cause;
    throw new MmsbError("io", `Cannot read ${JSON.stringify(path)}`, { cause });
  }
  return path;
}

/** A file's bytes, nothing for a folder. */
function bytesOf(storage: Storage, path: string): Uint8Array | undefined {
  try {
    return storage.readAll(path);
  } catch (error) {
    if (isMmsbError(error)) return undefined;
    throw error;
  }
}

/** The files of a log in memory, in a folder for a while: all of one moment, as nothing is awaited in between. */
async function copyOf(storage: Storage): Promise<string> {
  const files: [string, Uint8Array][] = [], folders = [""];
  for (const folder of folders) {
    for (const name of storage.list(folder)) {
      const path = folder === "" ? name : `${folder}/${name}`;
      const bytes = bytesOf(storage, path);
      if (bytes === undefined) folders.push(path);
      else files.push([path, bytes]);
    }
  }
  const directory = await Deno.makeTempDir({ prefix: "mmsb-validate-" });
  for (const folder of folders.slice(1)) {
    await Deno.mkdir(`${directory}/${folder}`, { recursive: true });
  }
  for (const [path, bytes] of files) await Deno.writeFile(`${directory}/${path}`, bytes);
  return directory;
}
