/**
 * Time: hybrid logical timestamps, the clocks that give them, and their encodings.
 *
 * ```ts
 * import { compareTimestamps, encodeText, HybridLogicalClock } from "./mod.ts";
 * import { equal } from "node:assert/strict";
 *
 * const clock = new HybridLogicalClock({ node: 1, nowUs: () => 1_767_225_600_000_000 });
 * const first = clock.nowBigint();
 * const second = clock.nowBigint();
 *
 * equal(compareTimestamps(first, second), -1);
 * equal(encodeText(second, clock.node), "2026-01-01T00:00:00.000000Z-001-0001");
 * ```
 *
 * @module
 */

export * from "./hlc.ts";
export * from "./hybrid_clock.ts";
export * from "./shared_hlc.ts";
export * from "./timestamp.ts";
export * from "./wire.ts";
export { monotonicNowMs, systemClockErrorUs, systemNowUs } from "./_platform.ts";
