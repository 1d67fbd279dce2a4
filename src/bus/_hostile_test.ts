/** What tests of hostile use share: a plain rule, and the look whether a log is still whole. */

import assert from "node:assert/strict";
import type { MemoryStorage } from "../log/mod.ts";
import { defineRule, type Rule } from "../propagation/mod.ts";
import { StateBus } from "./mod.ts";

/** The first byte of its input, plus one. */
export const plusOne: Rule = defineRule({
  compute(ctx) {
    ctx.output(0).setUint8(0, ctx.input(0).getUint8(0) + 1);
  },
});

/** Closes a bus and opens its log again: the state must be the same, and its log whole. */
export async function assertReopens(bus: StateBus, storage: MemoryStorage): Promise<void> {
  assert.equal((await bus.verify()).ok, true);
  const digest = bus.digest();
  await bus.close();
  await using again = await StateBus.open({ storage });
  assert.equal(again.digest(), digest);
}
