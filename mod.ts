/**
 * MMSB, a memory-mapped state bus: shared state in pages of shared memory, changed only by deltas in
 * columns, made real in ticks, written to a crash-safe log before it counts.
 *
 * @example Thirty seconds
 * ```ts
 * import assert from "node:assert/strict";
 * import { StateBus } from "@mmsb/mmsb";
 *
 * await using bus = await StateBus.open();
 * const board = bus.createPage({ size: 4096, name: "board" });
 * board.combine("f64", "add", 0, 1.5, { source: "feed-a" });
 * await bus.tick();
 * assert.equal(new DataView(board.read(0, 8).buffer).getFloat64(0, true), 1.5);
 * ```
 *
 * @module
 */

export {
  isMmsbError,
  MMSB_ERROR_CODES,
  MmsbError,
  type MmsbErrorCode,
  type MmsbErrorCodeInfo,
  type MmsbErrorJson,
  type MmsbErrorOptions,
  retry,
  type RetryOptions,
} from "./src/base/mod.ts";
export {
  accumulate,
  type Accumulated,
  type AllocatorStatistics,
  boolean,
  checkSemiring,
  combineKind,
  type CombineOperation,
  type CombineType,
  DeltaBatch,
  type DeltaBatchOptions,
  type DeltaColumns,
  type DeltaOptions,
  type DeltaRow,
  foldProduct,
  foldSum,
  KIND_MASKED,
  KIND_SET,
  kindName,
  type Metadata,
  type MetadataInput,
  type PageState,
  registerSemiring,
  type Semiring,
  semiring,
  tropical,
} from "./src/physical/mod.ts";
export {
  FileStorage,
  MemoryStorage,
  type MemoryStorageOptions,
  type Storage,
  type StorageFile,
} from "./src/log/mod.ts";
export { encodeText, logical, physicalUs, timestampOf } from "./src/temporal/mod.ts";
export {
  type BatchReceipt,
  type BusClock,
  type BusStatistics,
  type Durability,
  type HistoryEntry,
  type OpenOptions,
  type OpenReport,
  Page,
  type PageOptions,
  type ReadonlyBytes,
  type RefusedBatch,
  StateBus,
  type StoreDifference,
  type TickAcknowledgement,
  type TickPhases,
  type TickReport,
  type VerifyReport,
  type WriteOptions,
} from "./src/bus/mod.ts";
