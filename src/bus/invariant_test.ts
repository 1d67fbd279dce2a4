/** Tests of invariants: a tick that would break one never was, whatever was in it. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryStorage } from "../log/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import { struct } from "../schema/mod.ts";
import { StateBus } from "./state_bus.ts";

const Account = struct({ cents: "i32" });

Deno.test("StateBus.invariant(): a tick that would break one is taken back whole, log and all", async () => {
  await using bus = await StateBus.open({ storage: new MemoryStorage() });
  const [a, b] = [bus.create(Account, { name: "a" }), bus.create(Account, { name: "b" })];
  await bus.commit(() => a.set({ cents: 10 }));
  const sum = bus.invariant("cents are kept", () => a.get("cents") + b.get("cents") === 10);
  await bus.commit(() => {
    a.set({ cents: 4 });
    b.set({ cents: 6 });
  });
  const before = bus.digest(), tick = bus.tickNumber;
  const batch = new DeltaBatch({ rows: 2, payloadBytes: 64 });
  batch.push(b.id, 0, Uint8Array.of(9, 9, 9, 9));
  const receipt = bus.submit(batch);
  const born = bus.createPage({ size: 8, name: "born" });
  a.set({ cents: 5 });
  await assert.rejects(bus.tick(), (error: Error & { values: Record<string, unknown> }) => {
    assert.match(error.message, /"cents are kept" does not hold after it: it returned false/);
    assert.deepEqual(error.values, { invariant: "cents are kept", tick: 3, result: false });
    return true;
  });
  await assert.rejects(receipt, { code: "rule" });
  assert.deepEqual([bus.digest(), bus.tickNumber, born.state], [before, tick, "deleted"]);
  assert.deepEqual([sum.checked, sum.violated], [2, 1]);
  await bus.commit(() => a.combine("cents", "add", 0));
  assert.equal((await bus.verify()).ok, true);
  sum.remove();
  sum.remove();
  await bus.commit(() => a.set({ cents: 99 }));
});

Deno.test("StateBus.invariant() sees the tick that is to be: births, rows, and what rules made of them", async () => {
  await using bus = await StateBus.open();
  const source = bus.create(Account), doubled = bus.create(Account);
  bus.rule(
    defineRule({
      version: 1,
      compute(ctx) {
        ctx.output(0).setInt32(0, 2 * ctx.input(0).getInt32(0));
      },
    }),
    { name: "doubled", inputs: [source], outputs: [doubled] },
  );
  const ticks: number[] = [];
  bus.invariant("doubled is twice the source", (at) => {
    ticks.push(at.tick);
    const cents = (page: number) => new DataView(at.read(page).buffer).getInt32(0, true);
    if (at.find("none") !== undefined) return "there is a page that must not be";
    return cents(doubled.id) === 2 * cents(source.id) && cents(doubled.id) < 100;
  });
  await bus.commit(() => source.set({ cents: 21 }));
  await assert.rejects(bus.commit(() => source.set({ cents: 50 })), { code: "rule" });
  assert.deepEqual([source.get("cents"), doubled.get("cents")], [21, 42]);
  await assert.rejects(bus.commit(() => void bus.createPage({ name: "none" })), /must not be/);
  await bus.commit(() => source.set({ cents: 3 }));
  assert.deepEqual([doubled.get("cents"), ticks], [6, [1, 2, 2, 2]]);
});

Deno.test("StateBus.invariant(): random writes under one keep it, as a model that tries each tick", async () => {
  const write = fc.record({ page: fc.nat(2), value: fc.integer({ min: -5, max: 5 }) });
  const ticks = fc.array(fc.array(write, { minLength: 1, maxLength: 4 }), { maxLength: 15 });
  await fc.assert(
    fc.asyncProperty(ticks, async (all) => {
      await using bus = await StateBus.open({ storage: new MemoryStorage() });
      const accounts = [0, 1, 2].map(() => bus.create(Account));
      await bus.commit();
      bus.invariant("sum is not negative", () => {
        return accounts.reduce((sum, account) => sum + account.get("cents"), 0) >= 0;
      });
      let model = [0, 0, 0];
      for (const writes of all) {
        const next = [...model];
        for (const { page, value } of writes) next[page] += value;
        const holds = next.reduce((sum, cents) => sum + cents, 0) >= 0;
        const done = bus.commit(() => {
          for (const { page, value } of writes) accounts[page].combine("cents", "add", value);
        });
        if (holds) {
          await done;
          model = next;
        } else await assert.rejects(done, { code: "rule" });
        assert.deepEqual(accounts.map((account) => account.get("cents")), model);
      }
      assert.equal((await bus.verify()).ok, true);
    }),
    { numRuns: 40 },
  );
});

Deno.test("StateBus.invariant(): every, wrong answers, throws, and transactions", async () => {
  await using bus = await StateBus.open();
  const account = bus.create(Account);
  await bus.tick();
  const rare = bus.invariant("rarely asked", () => true, { every: 3 });
  for (let i = 0; i < 7; i++) await bus.commit(() => account.set({ cents: i }));
  assert.deepEqual([bus.tickNumber, rare.checked], [8, 2]);
  const wrong: [unknown, RegExp][] = [
    [undefined, /returned undefined/],
    [1, /returned 1/],
    ["too few", /too few/],
    [Symbol("s"), /Symbol\(s\)/],
    [null, /returned null/],
    [Promise.resolve(true), /asynchronous/],
  ];
  for (const [answer, message] of wrong) {
    const kept = bus.invariant("answers", () => answer as boolean);
    await assert.rejects(bus.commit(() => account.set({ cents: 1 })), message);
    kept.remove();
  }
  const kept = bus.invariant("throws", () => {
    throw new TypeError("broken");
  });
  await assert.rejects(
    bus.commit(() => account.set({ cents: 1 })),
    (error: Error) => error.cause instanceof TypeError && /broken/.test(error.message),
  );
  kept.remove();
  bus.invariant("small", () => account.get("cents") < 10);
  await assert.rejects(bus.transaction((tx) => tx.set(account, { cents: 10 })), { code: "rule" });
  account.set({ cents: 9 });
  await bus.transaction((tx) => void tx.createPage());
  await bus.tick();
  assert.equal(account.get("cents"), 9);
  const writes = bus.invariant("writes", () => {
    account.set({ cents: 0 });
    return true;
  });
  await assert.rejects(bus.commit(() => account.set({ cents: 1 })), { code: "rule" });
  writes.remove();
});

Deno.test("StateBus.invariant() refuses wrong arguments by name", async () => {
  const bus = await StateBus.open();
  const bad = (value: unknown) => value as never;
  assert.throws(() => bus.invariant(bad(7), () => true), { code: "usage" });
  assert.throws(() => bus.invariant("", () => true), { code: "usage" });
  assert.throws(() => bus.invariant("x".repeat(2000), () => true), { code: "limit" });
  assert.throws(() => bus.invariant("x", bad(true)), { code: "usage" });
  assert.throws(() => bus.invariant("x", () => true, { every: 0 }), { code: "out-of-bounds" });
  assert.throws(() => bus.invariant("x", () => true, bad({ each: 1 })), { code: "usage" });
  bus.invariant("x", () => true);
  assert.throws(() => bus.invariant("x", () => true), { code: "usage" });
  await bus.close();
  assert.throws(() => bus.invariant("y", () => true), { code: "closed" });
});
