/**
 * The bus: pages, batches, ticks and the log behind one class.
 *
 * ```ts
 * import { StateBus } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * await using bus = await StateBus.open();
 * const page = bus.createPage({ size: 16 });
 * await bus.commit(() => page.write(0, new Uint8Array([7])));
 * assert.equal(page.read(0, 1)[0], 7);
 * ```
 *
 * @module
 */

export type { BirthOptions } from "./_births.ts";
export type { SharedBus } from "./_sharing.ts";
export type { Region } from "./_edges.ts";
export type { ControlInput, RuleCode, RuleHandle, RuleOptions, ShaderRule } from "./_rules.ts";
export * from "./compare.ts";
export * from "./device.ts";
export type { EventStatistics } from "./_events.ts";
export * from "./inside_checks.ts";
export type { AskedInvariant, Invariant, InvariantOptions } from "./_invariants.ts";
export type { BusRun, RunOptions, RunReport } from "./_running.ts";
export type { TransactionOptions, TransactionStatistics } from "./_transactions.ts";
export type { UpsertPlan, UpsertReceipt } from "./_upsert.ts";
export * from "./diff.ts";
export { type EventRecord, eventRecords } from "./event_page.ts";
export {
  type BusEvent,
  type BusEventKind,
  EVENT_KINDS,
  type EventFilter,
  type EventOverflow,
  EventStream,
} from "./events.ts";
export type { Explainable } from "./_explain.ts";
export * from "./explanation.ts";
export { type FollowedDelta, Follower, type FollowOptions } from "./follow.ts";
export { type HistoryEntry, type HistoryOptions, PageHistory } from "./history.ts";
export type { CollectionPauses } from "./_memory_collections.ts";
export type { ReclaimReport } from "./_memory_keeping.ts";
export * from "./memory_report.ts";
export * from "./options.ts";
export * from "./page.ts";
export type { PageMoment } from "./page_past.ts";
export * from "./page_snapshot.ts";
export type { Moment } from "./past.ts";
export * from "./pool.ts";
export * from "./reports.ts";
export * from "./snapshot.ts";
export * from "./state_bus.ts";
export { type CombinableKey, Struct } from "./struct.ts";
export { Table, type TableSetOptions } from "./table.ts";
export {
  type PageLike,
  Transaction,
  type TransactionDefaults,
  type TransactionReceipt,
} from "./transaction.ts";
