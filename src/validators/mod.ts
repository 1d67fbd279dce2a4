/**
 * The validators that are built, by number.
 *
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const { validators } = await import("./mod.ts");
 * assert.equal(validators[0].name, "Replay");
 * ```
 *
 * @module
 */

import { integrityValidator } from "./integrity.ts";
import { memoryValidator } from "./memory.ts";
import { provenanceValidator } from "./provenance.ts";
import { replayValidator } from "./replay.ts";
import type { Validator } from "./validator.ts";

/** What `mmsb validate` runs. */
export const validators: readonly Validator[] = [
  replayValidator,
  integrityValidator,
  memoryValidator,
  provenanceValidator,
];

export * from "./flights.ts";
export * from "./integrity.ts";
export * from "./memory.ts";
export * from "./provenance.ts";
export * from "./replay.ts";
export * from "./validator.ts";
