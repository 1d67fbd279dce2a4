/**
 * Export to a file: the lines of a log in a new file, whole or not at all.
 *
 * @module
 */

import { resolve } from "node:path";
import { MmsbError } from "../base/mod.ts";
import * as platform from "./_platform.ts";
import { checkExport, checkPlace } from "./_transfer_options.ts";
import { exportLog, type ExportOptions } from "./export_log.ts";
import { temporaryPath } from "./storage.ts";

/** What was exported. */
export interface ExportReport {
  /** Whether it is the canonical form. */
  readonly canonical: boolean;
  /** Lines. */
  readonly lines: number;
  /** Bytes. */
  readonly bytes: number;
  /** Ticks. */
  readonly ticks: number;
  /** Rows: deltas, births and other changes of pages. */
  readonly rows: number;
}

/** Lines are handed on in pieces of at least this size. */
const PIECE_BYTES = 256 * 1024;

/**
 * Exports the log of a directory as pieces of text.
 *
 * @param directory The directory; it is only read.
 * @param write Takes a piece of whole lines; `false` ends the export.
 * @param options Which form, progress.
 * @returns What was exported.
 * @throws {MmsbError} as {@linkcode exportLog}, and what `write` throws.
 */
export async function exportText(
  directory: string,
  write: (bytes: Uint8Array) => boolean,
  options: ExportOptions = {},
): Promise<ExportReport> {
  const encoder = new TextEncoder();
  let text = "", lines = 0, bytes = 0, ticks = 0, rows = 0;
  const flush = (): boolean => {
    if (text === "") return true;
    const piece = encoder.encode(text);
    text = "";
    bytes += piece.length;
    return write(piece);
  };
  try {
    for await (const line of exportLog(directory, options)) {
      text += `${JSON.stringify(line)}\n`;
      lines++;
      if (line.type === "end") ({ ticks, rows } = line);
      if (text.length >= PIECE_BYTES && !flush()) break;
    }
  } catch (error) {
    // What is whole before damage is given.
    if (error instanceof MmsbError && error.code === "corrupt-log") flush();
    throw error;
  }
  flush();
  return { canonical: options.canonical ?? false, lines, bytes, ticks, rows };
}

/**
 * Exports the log of a directory to a file. It appears, or replaces one of its name, when all of it is
 * durable.
 *
 * @param directory The directory; it is only read.
 * @param path The file.
 * @param options Which form, progress.
 * @returns What was exported.
 * @throws {MmsbError} as {@linkcode exportLog}; `disk-full`, `read-only` or `io` where the file cannot
 * be written. There is no file then, or the old one.
 *
 * @example Two logs of the same inputs
 * ```ts
 * import assert from "node:assert/strict";
 * import { exportFile, StateBus } from "@mmsb/mmsb";
 *
 * const folder = await Deno.makeTempDir();
 * const texts: string[] = [];
 * for (const name of ["first", "second"]) {
 *   const dir = `${folder}/${name}`;
 *   {
 *     await using bus = await StateBus.open({ dir });
 *     const page = bus.createPage({ size: 8 });
 *     await bus.commit(() => page.write(0, Uint8Array.of(7)));
 *   }
 *   const { lines } = await exportFile(dir, `${dir}.jsonl`, { canonical: true });
 *   assert.equal(lines, 4);
 *   texts.push(await Deno.readTextFile(`${dir}.jsonl`));
 * }
 * assert.equal(texts[0], texts[1]);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function exportFile(
  directory: string,
  path: string,
  options: ExportOptions = {},
): Promise<ExportReport> {
  checkPlace("directory", directory);
  checkPlace("path", path);
  checkExport(options);
  const target = resolve(path), temporary = temporaryPath(target);
  const handle = platform.openHandle(temporary, "open-or-create");
  try {
    let report: ExportReport;
    try {
      platform.truncateHandle(handle, temporary, 0);
      let at = 0;
      report = await exportText(directory, (bytes) => {
        platform.writeAt(handle, temporary, bytes, at);
        at += bytes.length;
        return true;
      }, options);
      platform.syncHandle(handle, temporary);
    } finally {
      platform.closeHandle(handle);
    }
    platform.renameFile(temporary, target);
    return report;
  } catch (error) {
    try {
      platform.removeFile(temporary);
    } catch { /* The failure before this one is what must be heard of. */ }
    throw error;
  }
}
