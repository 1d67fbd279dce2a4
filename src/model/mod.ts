/**
 * The obvious bus, the oracle of the property tests and of the crash enumeration.
 *
 * @example Two ticks, and the state after the first
 * ```ts
 * import assert from "node:assert/strict";
 * import { difference, Model } from "./mod.ts";
 *
 * const model = new Model({ shards: 2 });
 * const page = model.createPage({ size: 4, name: "board" });
 * model.write(page, 0, Uint8Array.of(1, 2));
 * assert.deepEqual(model.tick(), { tick: 1, rows: 1, refused: [] });
 * const remembered = model.state();
 *
 * model.combine(page, "u32", "add", 0, 1, { source: "feed-a" });
 * model.tick();
 * assert.equal(difference(remembered, model.state()), "page 1: epoch 1, 2");
 * assert.equal(difference(remembered, Model.recover(model.ticks, 1).state()), undefined);
 * ```
 *
 * @module
 */

export { Model } from "./model.ts";
export type {
  Batch,
  Change,
  Create,
  CreatePageOptions,
  HistoryEntry,
  Refusal,
  TickRecord,
  TickReport,
} from "./records.ts";
export type { RefusalCode, Row, RowOptions } from "./row.ts";
export type { CombineOp, CombineType } from "./combine.ts";
export { difference, equals } from "./state.ts";
export type { PageState, State } from "./state.ts";
export { Structure } from "./structure.ts";
export type { ModelEdge, ModelRule, StructureStep } from "./structure.ts";
