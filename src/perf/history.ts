/**
 * The history: every result that a folder holds, oldest first, for charts and comparisons.
 *
 * A folder of results is written over years by many versions, copied between machines and cut short
 * by full disks. One file that cannot be used must not take the others with it, so each such file is
 * named in a warning and passed over; only a folder that cannot be listed is an error.
 *
 * Cost: each file is read and checked whole, some 30 KiB and a millisecond for a run of ten validators.
 */

import { MmsbError } from "../base/errors.ts";
import { readResult, type StoredResult } from "./stored_result.ts";

/** Options of {@linkcode readHistory}. */
export interface HistoryOptions {
  /** Reads only so many, the newest; 10,000 if left out. */
  readonly limit?: number;
  /** Told of each file that was passed over and why, in one sentence. */
  readonly warn?: (warning: string) => void;
}

/** Most files of a folder that are read. */
export const HISTORY_FILES_MAX = 10_000;

/**
 * Reads all results of a folder, such as `results/history`.
 *
 * @param folder The folder; one that does not exist has no results.
 * @param options How many, and whom to tell what was passed over.
 * @returns The results, oldest first. Files that are damaged, no results, or of a newer MMSB are
 * passed over.
 * @throws {MmsbError} `io` where the folder cannot be listed.
 *
 * @example A folder with one run and one file that is damaged
 * ```ts
 * import assert from "node:assert/strict";
 * import { describeMachine, jsonReport, runBenchmarks, writeResults } from "./mod.ts";
 *
 * const folder = await Deno.makeTempDir();
 * const targets = { format: 1, benchmarks: [] } as const;
 * const report = await runBenchmarks({ validators: [], targets, startedAt: new Date(0) });
 * await writeResults(folder, jsonReport(report, describeMachine()), report.startedAt);
 * await Deno.writeTextFile(`${folder}/history/2026.json`, "{");
 *
 * const warnings: string[] = [];
 * const results = await readHistory(`${folder}/history`, {
 *   warn: (warning) => warnings.push(warning),
 * });
 * assert.deepEqual(results.map(({ startedAt }) => startedAt), [new Date(0)]);
 * assert.match(warnings[0], /2026\.json/);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function readHistory(
  folder: string,
  options: HistoryOptions = {},
): Promise<readonly StoredResult[]> {
  const { limit = HISTORY_FILES_MAX, warn = () => {} } = options;
  const names = await jsonFilesOf(folder);
  const results: StoredResult[] = [];
  // Names are times, so the newest come last; those of other names come where they come.
  for (const name of names.slice(-limit)) {
    const path = `${folder}/${name}`;
    try {
      results.push(await readResult(path));
    } catch (error) {
      if (!(error instanceof MmsbError)) throw error;
      warn(error.message);
    }
  }
  return results.sort((a, b) =>
    a.startedAt.getTime() - b.startedAt.getTime() || (a.path < b.path ? -1 : 1)
  );
}

/**
 * Lists the JSON files of a folder.
 *
 * @param folder The folder; one that does not exist has none.
 * @returns Their names, in order.
 * @throws {MmsbError} `io` where the folder cannot be listed.
 */
export async function jsonFilesOf(folder: string): Promise<readonly string[]> {
  const names: string[] = [];
  try {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      if (!isDirectory && name.endsWith(".json")) names.push(name);
    }
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return [];
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MmsbError("io", `Cannot list ${JSON.stringify(folder)}: ${reason}`, {
      values: { folder },
      cause,
    });
  }
  return names.sort();
}
