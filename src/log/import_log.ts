/**
 * Import: a file from elsewhere becomes a new directory, whole or not at all. What it is, is told by
 * its first bytes: a log or checkpoint of the older system, or JSON lines of an export.
 *
 * @module
 */

import { equalBytes, MmsbError } from "../base/mod.ts";
import { systemNowUs } from "../temporal/mod.ts";
import { checkImport, checkPlace } from "./_transfer_options.ts";
import { importJson } from "./import_json.ts";
import { OLD_LOG_MAGIC } from "./import_mmsblog.ts";
import { OLD_SNAPSHOT_MAGIC } from "./import_mmsbsnap.ts";
import { importOld, type OldFiles, surveyOld } from "./import_old.ts";
import type { ImportOptions, ImportReport } from "./import_options.ts";
import { fileSource, type ImportSource } from "./import_source.ts";
import { buildDirectory, checkTarget } from "./import_target.ts";
import { LogBuilder } from "./log_builder.ts";
import type { Storage } from "./storage.ts";
import { auditLog } from "./verify.ts";

/** What a file can be. */
export type ImportForm = "MMSBLOG1" | "MMSBSNAP" | "JSON lines";

/**
 * Imports a file into a new directory.
 *
 * @param path The file: an older log (MMSBLOG1, versions 1 and 2), an older checkpoint (MMSBSNAP,
 * version 2), or JSON lines.
 * @param directory The directory, which is not there yet or is empty. It appears when all is durable.
 * @param options Progress, a checkpoint beside an older log, sizes.
 * @returns What was imported.
 * @throws {MmsbError} `corrupt-log` or `limit` where the file is wrong, with `offset`, `field`,
 * `reason` and the number of the `frame`, `page` or `line` in `values`, `version` where it is newer,
 * `usage` where it is none of these forms, the directory is not empty or options are wrong,
 * `disk-full`, `read-only` or `io` where the system refuses. Nothing is there then.
 *
 * @example A log as lines, and a log from them
 * ```ts
 * import assert from "node:assert/strict";
 * import { exportFile, importLog, StateBus } from "@mmsb/mmsb";
 *
 * const folder = await Deno.makeTempDir();
 * {
 *   await using bus = await StateBus.open({ dir: `${folder}/data` });
 *   const board = bus.createPage({ size: 8, name: "board" });
 *   await bus.commit(() => board.write(0, Uint8Array.of(7)));
 * }
 * await exportFile(`${folder}/data`, `${folder}/data.jsonl`);
 * const { pages, deltas } = await importLog(`${folder}/data.jsonl`, `${folder}/copy`);
 * assert.deepEqual([pages, deltas], [1, 1]);
 * const copy = await StateBus.open({ dir: `${folder}/copy`, readOnly: true });
 * assert.equal(copy.find("board")!.read(0, 1)[0], 7);
 * await copy.close();
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function importLog(
  path: string,
  directory: string,
  options: ImportOptions = {},
): Promise<ImportReport> {
  checkPlace("path", path);
  checkPlace("directory", directory);
  checkImport(options);
  checkTarget(directory);
  const source = fileSource(path);
  let snapshot: ImportSource | undefined;
  try {
    if (options.snapshot !== undefined) snapshot = fileSource(options.snapshot);
    const write = prepareImport(source, snapshot, options);
    return await buildDirectory(directory, write);
  } finally {
    source.close();
    snapshot?.close();
  }
}

/**
 * Checks a source as far as that needs no place to write to: older files whole, JSON lines not yet.
 *
 * @param source The source.
 * @param snapshot A checkpoint beside an older log.
 * @param options Progress, sizes.
 * @returns Writes the import to an empty storage; if it throws, nobody should open that.
 */
export function prepareImport(
  source: ImportSource,
  snapshot: ImportSource | undefined,
  options: ImportOptions = {},
): (storage: Storage) => Promise<ImportReport> {
  const form = formOf(source);
  if (snapshot !== undefined && form !== "MMSBLOG1") {
    throw new MmsbError(
      "usage",
      `Cannot use a checkpoint beside ${
        JSON.stringify(source.name)
      }: only an older log can have one`,
      { values: { path: source.name, form } },
    );
  }
  const { nowUs = systemNowUs() } = options;
  const stamped = { ...options, nowUs };
  if (form === "JSON lines") {
    return async (storage) => {
      const report = await importJson(source, storage, stamped);
      checkSound(source, storage);
      return report;
    };
  }
  const files: OldFiles = form === "MMSBLOG1" ? { log: source, snapshot } : { snapshot: source };
  const pages = surveyOld(files, stamped);
  return async (storage) => {
    const { shards, segmentBytes, segmentBytesMax } = options;
    const builder = new LogBuilder(storage, { shards, segmentBytes, segmentBytesMax });
    try {
      const report = await importOld(files, pages, builder, stamped);
      await builder.close();
      return report;
    } catch (error) {
      await builder.abandon();
      throw error;
    }
  };
}

/**
 * Lines have no checksums, and each may be right by itself: what they make together is read back and
 * checked as any log is, before it counts.
 */
function checkSound(source: ImportSource, storage: Storage): void {
  const problem = auditLog(storage).problems.at(0);
  if (problem === undefined) return;
  throw new MmsbError(
    "corrupt-log",
    `Cannot import ${JSON.stringify(source.name)} as its lines make no sound log: ${
      problem.tick === undefined ? "" : `tick ${problem.tick}: `
    }${problem.message}`,
    { values: { path: source.name, tick: problem.tick, reason: problem.message } },
  );
}

/**
 * What a source is, by its first bytes.
 *
 * @throws {MmsbError} `usage` where it is nothing that can be imported.
 */
export function formOf(source: ImportSource): ImportForm {
  const head = new Uint8Array(OLD_LOG_MAGIC.length);
  const read = head.subarray(0, source.read(head, 0));
  if (equalBytes(read, OLD_LOG_MAGIC)) return "MMSBLOG1";
  if (equalBytes(read, OLD_SNAPSHOT_MAGIC)) return "MMSBSNAP";
  if (read[0] === "{".charCodeAt(0)) return "JSON lines";
  throw new MmsbError(
    "usage",
    `Cannot import ${
      JSON.stringify(source.name)
    } as it is none of MMSBLOG1, MMSBSNAP and JSON lines: give a file that begins as one`,
    { values: { path: source.name } },
  );
}
