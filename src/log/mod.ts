/**
 * Durability: byte stores, frames in segments, lanes with group commit, recovery and replay.
 *
 * ```ts
 * import { MemoryStorage } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const storage = new MemoryStorage();
 * storage.replace("a", Uint8Array.of(1, 2));
 * assert.deepEqual([...storage.readAll("a")!], [1, 2]);
 * ```
 *
 * @module
 */

export * from "./birth.ts";
export * from "./fault.ts";
export * from "./faulty_storage.ts";
export * from "./file_storage.ts";
export * from "./format.ts";
export * from "./frame_reader.ts";
export * from "./frame_writer.ts";
export * from "./inspect.ts";
export * from "./lane_reader.ts";
export * from "./lane_writer.ts";
export * from "./log_reader.ts";
export * from "./memory_storage.ts";
export * from "./meta.ts";
export * from "./query.ts";
export * from "./recovery.ts";
export * from "./replay.ts";
export * from "./storage.ts";
export * from "./verify.ts";
