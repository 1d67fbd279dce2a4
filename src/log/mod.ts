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

export * from "./binding.ts";
export * from "./birth.ts";
export * from "./closed_end.ts";
export * from "./compaction.ts";
export * from "./compaction_lanes.ts";
export * from "./compaction_switch.ts";
export * from "./export_file.ts";
export * from "./export_line.ts";
export * from "./export_log.ts";
export * from "./checkpoint_audit.ts";
export * from "./checkpoint_format.ts";
export * from "./checkpoint_reader.ts";
export * from "./checkpoint_writer.ts";
export * from "./fault.ts";
export * from "./faulty_storage.ts";
export * from "./file_storage.ts";
export * from "./format.ts";
export * from "./frame_cache.ts";
export * from "./frame_rows.ts";
export * from "./frame_reader.ts";
export * from "./frame_body.ts";
export * from "./frame_writer.ts";
export * from "./import_log.ts";
export * from "./import_options.ts";
export * from "./import_source.ts";
export * from "./inspect.ts";
export * from "./lane_reader.ts";
export * from "./lane_set.ts";
export * from "./lane_writer.ts";
export * from "./log_index.ts";
export * from "./log_builder.ts";
export * from "./log_reader.ts";
export * from "./log_tail.ts";
export * from "./memory_storage.ts";
export * from "./meta.ts";
export * from "./query.ts";
export * from "./recovery.ts";
export * from "./replay.ts";
export * from "./retention.ts";
export * from "./segment_index.ts";
export * from "./segment_index_builder.ts";
export * from "./salvage.ts";
export * from "./salvage_report.ts";
export * from "./storage.ts";
export * from "./structure_image.ts";
export * from "./structure_rows.ts";
export * from "./tail.ts";
export * from "./turn.ts";
export * from "./verify.ts";
