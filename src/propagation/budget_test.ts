/** Tests of the budget: what it learns from ticks of a known cost, and what it lets through then. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { TickBudget, type TickCost } from "./budget.ts";

function costOf(rows: number, ownMs: number, more: Partial<TickCost> = {}): TickCost {
  return { rows, bytes: 0, ownMs, propagateMs: 0, fired: 0, rules: 0, ...more };
}

/** The most rows that a budget lets into one tick. */
function rowsOf(budget: TickBudget): number {
  let low = 0, high = 1e9;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (budget.fits(middle, 0)) low = middle;
    else high = middle;
  }
  return low;
}

Deno.test("TickBudget learns what rows cost, whatever their number was", () => {
  const sizes = fc.array(fc.integer({ min: 20_000, max: 500_000 }), {
    minLength: 40,
    maxLength: 60,
  });
  const nsPerRow = fc.integer({ min: 20, max: 20_000 }), fixedMs = fc.integer({ min: 0, max: 4 });
  fc.assert(fc.property(sizes, nsPerRow, fixedMs, (rows, ns, fixed) => {
    const budget = new TickBudget({ budgetMs: 16 });
    for (const count of rows) budget.learn(costOf(count, fixed + count * ns / 1e6), 0);
    const tick = rows[rows.length - 1], real = fixed + tick * ns / 1e6;
    const expected = budget.expectedMs(tick, 0);
    assert(expected > 0.7 * real && expected < 1.4 * real, `${expected} for ${real}`);
  }));
});

Deno.test("TickBudget: tiny ticks, and one that the system held up, say little about a row", () => {
  const budget = new TickBudget({ budgetMs: 16 });
  const before = rowsOf(budget);
  for (let i = 0; i < 1000; i++) budget.learn(costOf(1 + i % 3, 0.03), 0);
  assert(rowsOf(budget) > 0.8 * before);
  budget.learn(costOf(1, 500), 0);
  assert(rowsOf(budget) > 0.8 * before);
});

Deno.test("TickBudget sees a lasting change within a few ticks", () => {
  const budget = new TickBudget({ budgetMs: 16 });
  for (let i = 0; i < 50; i++) budget.learn(costOf(100_000, 3), 0);
  const fast = rowsOf(budget);
  for (let i = 0; i < 8; i++) budget.learn(costOf(100_000, 300), 0);
  assert(rowsOf(budget) < fast / 20, `${rowsOf(budget)} of ${fast}`);
});

Deno.test("TickBudget foresees firings by the row, at most one of each rule", () => {
  const budget = new TickBudget({ budgetMs: 16 });
  for (let i = 0; i < 50; i++) {
    budget.learn(costOf(3, 0.01, { propagateMs: 3, fired: 3, rules: 1000 }), 0);
  }
  const rows = rowsOf(budget);
  assert(rows >= 12 && rows <= 18, `${rows}`);
  for (let i = 0; i < 50; i++) {
    budget.learn(costOf(3, 0.01, { propagateMs: 3, fired: 3, rules: 5 }), 0);
  }
  assert(rowsOf(budget) > 10_000);
});

Deno.test("TickBudget counts payload beside rows", () => {
  const budget = new TickBudget({ budgetMs: 16 });
  assert(budget.expectedMs(1, 64 * 1000) > 500 * budget.expectedMs(1, 0));
});

Deno.test("TickBudget with rowsMax does not look at time", () => {
  const budget = new TickBudget({ budgetMs: 0, rowsMax: 10 });
  for (let i = 0; i < 10; i++) budget.learn(costOf(10, 1000), 0);
  assert.equal(rowsOf(budget), 10);
});

Deno.test("TickBudget.hasRoomBeside() yields to the next tick, but not for ever", () => {
  const budget = new TickBudget({ budgetMs: 16 });
  assert.equal(budget.hasRoomBeside(0), true);
  budget.learn(costOf(10, 10), 1000);
  assert.equal(budget.hasRoomBeside(1000), true);
  budget.noteBeside(4);
  assert.deepEqual([budget.hasRoomBeside(1001), budget.besideMs], [true, 4]);
  budget.noteBeside(4);
  assert.equal(budget.hasRoomBeside(1002), false);
  assert.equal(budget.hasRoomBeside(1200), true, "nothing waits where no tick comes");
  const seen: boolean[] = [];
  for (let i = 0; i < 6; i++) {
    budget.learn(costOf(10, 20), 2000 + i);
    seen.push(budget.hasRoomBeside(2000 + i));
  }
  assert.deepEqual(seen, [false, false, false, false, true, true]);
  budget.noteBeside(1);
  budget.learn(costOf(10, 20), 2010);
  assert.equal(budget.hasRoomBeside(2010), false);
});
