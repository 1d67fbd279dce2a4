/** Checks of what callers give to export, import and salvage: paths, progress, and what is to be made. */

import {
  checkInteger,
  checkKeys,
  checkType,
  MmsbError,
  SEGMENT_BYTES_MAX,
  SHARDS_MAX,
} from "../base/mod.ts";
import { PHYSICAL_US_MAX } from "../temporal/mod.ts";
import type { ExportOptions } from "./export_log.ts";
import type { ImportOptions } from "./import_options.ts";
import type { SalvageOptions } from "./salvage_report.ts";

const IMPORT_KEYS = [
  "progress",
  "snapshot",
  "shards",
  "nowUs",
  "segmentBytes",
  "segmentBytesMax",
];

/**
 * Checks the path of a file or folder.
 *
 * @throws {MmsbError} `usage` for what can be none.
 */
export function checkPlace(name: string, path: unknown): string {
  const text = checkType(name, path, "string");
  if (text !== "" && !text.includes("\0")) return text;
  throw new MmsbError("usage", `Cannot use ${JSON.stringify(text)} as ${name}: give a path`, {
    values: { name, value: text },
  });
}

/**
 * Checks the options of an export.
 *
 * @throws {MmsbError} `usage` for wrong ones.
 */
export function checkExport(options: ExportOptions): void {
  checkKeys("an export", options, ["canonical", "progress"]);
  if (options.canonical !== undefined) checkType("canonical", options.canonical, "boolean");
  checkProgress(options);
}

/**
 * Checks the options of a salvage.
 *
 * @throws {MmsbError} `usage` for wrong ones.
 */
export function checkSalvage(options: SalvageOptions): void {
  checkKeys("salvageLog", options, ["progress"]);
  checkProgress(options);
}

/**
 * Checks the options of an import.
 *
 * @throws {MmsbError} `usage` for wrong ones, `out-of-bounds` or `limit` for numbers that can be none.
 */
export function checkImport(options: ImportOptions): void {
  checkKeys("importLog", options, IMPORT_KEYS);
  checkProgress(options);
  const { snapshot, shards, nowUs } = options;
  if (snapshot !== undefined) checkPlace("snapshot", snapshot);
  if (shards !== undefined) checkInteger("shards", shards, 1, SHARDS_MAX);
  if (nowUs !== undefined) checkInteger("nowUs", nowUs, 0, PHYSICAL_US_MAX);
  for (const name of ["segmentBytes", "segmentBytesMax"] as const) {
    const bytes = options[name];
    if (bytes !== undefined) checkInteger(name, bytes, 1, SEGMENT_BYTES_MAX, "limit");
  }
}

function checkProgress({ progress }: { readonly progress?: unknown }): void {
  if (progress !== undefined) checkType("progress", progress, "function");
}
