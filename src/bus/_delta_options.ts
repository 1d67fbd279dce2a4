/**
 * Options of a write as a batch takes them: strings interned, unknown keys refused.
 *
 * A write that names only its source needs no object, just the source's number.
 *
 * @module
 */

import { checkKeys } from "../base/mod.ts";
import type { DeltaBatch, DeltaOptions } from "../physical/mod.ts";
import type { WriteOptions } from "./page.ts";

const WRITE_KEYS = ["source", "intent", "expectedEpoch", "timeUs"];

/**
 * Takes the options of a write for rows of a batch.
 *
 * @throws {MmsbError} `usage` for unknown keys and wrong types, `limit` for strings too long.
 */
export function deltaOptions(batch: DeltaBatch, options: WriteOptions): DeltaOptions | number {
  if (typeof options !== "object" || options === null) checkKeys("write", options, WRITE_KEYS);
  for (const key in options) {
    if (!WRITE_KEYS.includes(key)) checkKeys("write", options, WRITE_KEYS);
  }
  const { source, intent, expectedEpoch, timeUs } = options;
  const sourceNumber = source === undefined ? 0 : batch.source(source);
  if (intent === undefined && expectedEpoch === undefined && timeUs === undefined) {
    return sourceNumber;
  }
  const intentNumber = intent === undefined ? 0 : batch.intent(intent);
  return { source: sourceNumber, intent: intentNumber, expectedEpoch, timeUs };
}
