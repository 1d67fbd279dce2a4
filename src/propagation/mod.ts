/**
 * Motion: what a tick takes on and what it took; the rings, rules and waves that carry changes.
 *
 * ```ts
 * import { TickBudget } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const budget = new TickBudget({ budgetMs: 16 });
 * assert.equal(budget.fits(1000, 16_000), true);
 * assert.equal(budget.fits(100_000_000, 0), false);
 * ```
 *
 * @module
 */

export * from "./bound_rule.ts";
export * from "./budget.ts";
export * from "./capture.ts";
export * from "./change_log.ts";
export * from "./firing.ts";
export * from "./histogram.ts";
export * from "./program.ts";
export * from "./mail_ring.ts";
export * from "./note_rows.ts";
export * from "./rule.ts";
export * from "./rule_params.ts";
export type { GpuRulesStatistics } from "./gpu/gpu_rules.ts";
export type { RuleDevice, RuleShader, ShaderElement, ShaderTolerance } from "./gpu/rule_shader.ts";
export { checkShaderBinding } from "./gpu/shader_layout.ts";
export * from "./tick_marks.ts";
export * from "./tick_meter.ts";
export * from "./waves.ts";
export type { PopOptions, PushOptions, RingWords } from "./_ring_calls.ts";
export type { RingHandle, RingKind, RingOptions } from "./ring_memory.ts";
export type { WaitOptions } from "./_waiting.ts";
export * from "./collectives.ts";
export * from "./mpmc_ring.ts";
export * from "./queue.ts";
export * from "./shared_barrier.ts";
export * from "./spsc_ring.ts";
export { type WorkerStatistics, WorkerTeam } from "./workers/worker_team.ts";
export { RULE_TIMEOUT_MS_DEFAULT, RuleWorkers } from "./workers/rule_workers.ts";
