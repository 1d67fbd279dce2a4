/** Validator 6 on small work, and on ticks that are slow, lose something or run rules wrongly. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { readsOf, type TickPlan } from "./_tick_work.ts";
import { measureTicks, tickMetrics } from "./tick.ts";

const SMALL: TickPlan = { pages: 200, derived: 100, rows: 50, warmUp: 3, ticks: 12, seed: 1 };

async function measure(seed = 1): Promise<Record<string, number>> {
  return tickMetrics(await measureTicks({ ...SMALL, seed }, () => {}));
}

async function planted<K extends "tick" | "submit" | "rule">(
  method: K,
  fault: (original: StateBus[K]) => StateBus[K],
): Promise<Record<string, number>> {
  const original = StateBus.prototype[method];
  StateBus.prototype[method] = fault(original);
  try {
    return await measure();
  } finally {
    StateBus.prototype[method] = original;
  }
}

Deno.test("measureTicks() finds bus, log and plain arrays alike, whatever the seed", async () => {
  for (const seed of [1, 2, 3]) {
    const { wrongPages, wrongRuns, ticks, meanMs, p50Ms, p99Ms, maxMs } = await measure(seed);
    assert.deepEqual([wrongPages, wrongRuns, ticks], [0, 0, 12]);
    assert(0 < p50Ms && p50Ms <= p99Ms && p99Ms <= maxMs && meanMs <= maxMs);
  }
});

Deno.test("readsOf() gives pages in three levels, with few and many inputs", () => {
  const reads = readsOf({ ...SMALL, pages: 10_000, derived: 1000 });
  assert.equal(reads.length, 1000);
  assert(reads.slice(0, 900).every((inputs) => inputs.every((input) => input < 9000)));
  assert(reads.slice(900, 990).flat().every((input) => input >= 9000 && input < 9900));
  assert(reads.slice(990).flat().every((input) => input >= 9900 && input < 9990));
  const sizes = new Set(reads.map(({ length }) => length));
  assert(sizes.has(1) && sizes.has(25));
});

Deno.test("measureTicks() finds bytes that are not those of the model", async () => {
  const { wrongPages } = await planted("submit", (submit) => {
    let count = 0;
    return function (this: StateBus, batch, options) {
      if (++count === 15) batch.payload[800 - 1] ^= 1;
      return submit.call(this, batch, options);
    };
  });
  // The page itself, live and opened again; and what is derived from it.
  assert(wrongPages >= 2 && wrongPages % 2 === 0, `${wrongPages}`);
});

Deno.test("measureTicks() finds a rule that is not there, and ticks that do not run theirs", async () => {
  const lost = await planted("rule", (rule) => {
    let count = 0;
    return function (this: StateBus, code, binding) {
      if (++count === 5) return { name: "none" } as never;
      return rule.call(this, code, binding);
    };
  });
  assert(lost.wrongPages >= 2 && lost.wrongRuns > 0);
});

Deno.test("measureTicks() times ticks whole", async () => {
  const { meanMs, p99Ms } = await planted("tick", (tick) =>
    async function (this: StateBus) {
      await new Promise((resolve) => setTimeout(resolve, 17));
      return await tick.call(this);
    });
  assert(meanMs > 16 && p99Ms > 16);
});
