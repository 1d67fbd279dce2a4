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

export * from "./compare.ts";
export * from "./history.ts";
export * from "./options.ts";
export * from "./page.ts";
export * from "./reports.ts";
export * from "./state_bus.ts";
