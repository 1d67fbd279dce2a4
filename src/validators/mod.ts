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

import { graphValidator } from "./graph.ts";
import { integrityValidator } from "./integrity.ts";
import { invariantsValidator } from "./invariants.ts";
import { memoryValidator } from "./memory.ts";
import { provenanceValidator } from "./provenance.ts";
import { purityValidator } from "./purity.ts";
import { replayValidator } from "./replay.ts";
import { stabilityValidator } from "./stability.ts";
import { throughputValidator } from "./throughput.ts";
import { tickValidator } from "./tick.ts";
import type { Validator } from "./validator.ts";

/** What `mmsb validate` runs. */
export const validators: readonly Validator[] = [
  replayValidator,
  integrityValidator,
  graphValidator,
  purityValidator,
  throughputValidator,
  tickValidator,
  memoryValidator,
  invariantsValidator,
  stabilityValidator,
  provenanceValidator,
];

export * from "./flights.ts";
export * from "./graph.ts";
export * from "./integrity.ts";
export * from "./invariants.ts";
export * from "./memory.ts";
export * from "./provenance.ts";
export * from "./purity.ts";
export * from "./replay.ts";
export * from "./stability.ts";
export * from "./throughput.ts";
export * from "./tick.ts";
export * from "./validator.ts";
