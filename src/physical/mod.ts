/**
 * Bytes: the arena that pages live in, their table and slots, batches of deltas in columns, and
 * the kernels that check and apply them.
 *
 * ```ts
 * import { DeltaBatch } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const batch = new DeltaBatch({ rows: 8, payloadBytes: 64 });
 * batch.push(1, 0, new Uint8Array([1, 2, 3, 4]));
 * assert.equal(batch.length, 1);
 * ```
 *
 * @module
 */

export * from "./allocator.ts";
export * from "./apply.ts";
export * from "./apply_backend.ts";
export * from "./arena.ts";
export { combineElement } from "./combine.ts";
export * from "./attached_image.ts";
export * from "./delta_batch.ts";
export * from "./edge_table.ts";
export { EDGE, EDGE_TYPES, type EdgeChoice, edgeMask, type EdgeType } from "./edge_type.ts";
export * from "./epochs.ts";
export * from "./kernel_columns.ts";
export * from "./kind.ts";
export * from "./mask.ts";
export * from "./materialized_view.ts";
export * from "./merge.ts";
export * from "./mapped_arena.ts";
export * from "./mapped_control.ts";
export * from "./mapped_directory.ts";
export * from "./mapped_file.ts";
export * from "./mapped_image.ts";
export * from "./mapped_layout.ts";
export * from "./mapped_parts.ts";
export * from "./metadata.ts";
export * from "./page_marks.ts";
export * from "./page_ages.ts";
export * from "./page_census.ts";
export * from "./page_memory.ts";
export * from "./page_store.ts";
export * from "./page_table.ts";
export * from "./residency.ts";
export * from "./resolve.ts";
export * from "./rule_bindings.ts";
export * from "./semiring.ts";
export * from "./shared_image.ts";
export * from "./shared_memory.ts";
export * from "./size_class.ts";
export * from "./spill_file.ts";
export * from "./table_memory.ts";
