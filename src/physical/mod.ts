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
export * from "./arena.ts";
export * from "./delta_batch.ts";
export * from "./epochs.ts";
export * from "./kind.ts";
export * from "./metadata.ts";
export * from "./page_store.ts";
export * from "./page_table.ts";
export * from "./resolve.ts";
export * from "./semiring.ts";
export * from "./size_class.ts";
