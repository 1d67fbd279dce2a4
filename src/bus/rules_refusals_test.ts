/**
 * What hostile rules and invariants must not be able to do: break the log, leave half a tick, or answer with an
 * error of the language.
 */

import assert from "node:assert/strict";
import { isMmsbError } from "../base/mod.ts";
import { MemoryStorage, verifyLog } from "../log/mod.ts";
import { defineRule, type RuleOutput } from "../propagation/mod.ts";
import { table } from "../schema/mod.ts";
import { StateBus } from "./mod.ts";
import { assertReopens, plusOne } from "./_hostile_test.ts";

Deno.test("a rule or an invariant may throw what cannot be printed: the tick is refused with its name", async () => {
  const evil: unknown[] = [
    undefined,
    Symbol("x"),
    Object.create(null),
    Object.freeze(new Error("frozen")),
    Object.defineProperty(new Error(), "message", {
      get: () => {
        throw new TypeError("no message");
      },
    }),
    new Proxy({}, {
      getPrototypeOf: () => {
        throw new TypeError("no prototype");
      },
    }),
  ];
  for (const thrown of evil) {
    await using bus = await StateBus.open();
    const [a, b] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
    let isBad = false;
    const fail = () => {
      if (isBad) throw thrown;
    };
    const failing = defineRule({ compute: (ctx) => (fail(), plusOne.compute(ctx)) });
    const handle = bus.rule(failing, { name: "bad", inputs: [a], outputs: [b] });
    await bus.commit(() => a.write(0, Uint8Array.of(1)));
    const digest = bus.digest();
    isBad = true;
    await assert.rejects(bus.commit(() => a.write(0, Uint8Array.of(2))), (error) => {
      assert(isMmsbError(error, "rule"));
      assert.deepEqual(error.values, { rule: "bad", page: b.id, tick: 2 });
      return true;
    });
    assert.equal(bus.digest(), digest);
    handle.unbind();
    await bus.tick();
    bus.invariant("bad", () => (fail(), true));
    await assert.rejects(bus.commit(() => a.write(0, Uint8Array.of(2))), { code: "rule" });
    bus.invariant("returns", () => thrown as boolean);
    await assert.rejects(bus.commit(() => a.write(0, Uint8Array.of(2))), { code: "rule" });
  }
});

Deno.test("a rule cannot write the output of another one through what that one kept", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ storage });
  const [a, b, c] = [8, 64, 8].map((size) => bus.createPage({ size }));
  let kept: RuleOutput | undefined, isHostile = false;
  const keeping = defineRule({
    compute(ctx) {
      kept = ctx.output(0);
      plusOne.compute(ctx);
    },
  });
  const stealing = defineRule({
    compute(ctx) {
      if (isHostile) kept!.setUint8(40, 1);
      plusOne.compute(ctx);
    },
  });
  bus.rule(keeping, { name: "keeps", inputs: [a], outputs: [b] });
  bus.rule(stealing, { name: "steals", inputs: [b], outputs: [c] });
  await bus.tick();
  isHostile = true;
  await assert.rejects(
    bus.commit(() => a.write(0, Uint8Array.of(1))),
    /"steals" of page 3 failed: Cannot use a page of a rule that does not run/,
  );
  isHostile = false;
  bus.invariant("steals, too", () => (kept!.setUint8(40, 1), true)).remove();
  const steals = bus.invariant("steals", () => (kept!.setUint8(40, 1), true));
  await assert.rejects(bus.commit(() => a.write(0, Uint8Array.of(1))), { code: "rule" });
  steals.remove();
  await bus.commit(() => a.write(0, Uint8Array.of(1)));
  await assertReopens(bus, storage);
});

Deno.test("numbers of rules that no tick has bound are nowhere but in their handles", async () => {
  const dir = await Deno.makeTempDir();
  const bus = await StateBus.open({ dir });
  const [a, b] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
  await bus.tick();
  const refused = bus.rule(plusOne, { name: "r", inputs: [a], outputs: [b] });
  assert.equal((await bus.verify()).ok, true);
  a.write(0, Uint8Array.of(1));
  b.write(0, Uint8Array.of(1));
  await assert.rejects(bus.tick(), { code: "usage" });
  assert.equal((await bus.verify()).ok, true);
  await bus.checkpoint();
  assert.deepEqual((await verifyLog(dir)).problems, []);
  const bound = bus.rule(plusOne, { name: "r", inputs: [a], outputs: [b] });
  await bus.tick();
  assert.notEqual(bound.number, refused.number);
  assert.throws(() => refused.unbind(), { code: "invalid-handle" });
  assert.equal((await bus.verify()).ok, true);
  await bus.close();
  await Deno.remove(dir, { recursive: true });
});

Deno.test("what a rule makes from a page that gets another size, or keeps in one, is stale", async () => {
  for (const resized of [0, 1]) {
    const storage = new MemoryStorage();
    const bus = await StateBus.open({ storage });
    const pages = [bus.createPage({ size: 16 }), bus.createPage({ size: 16 })];
    const sum = defineRule({
      compute(ctx) {
        let sum = 0;
        const input = ctx.input(0), output = ctx.output(0);
        for (let i = 0; i < input.byteLength; i++) sum += input.getUint8(i);
        output.fill(sum);
      },
      // Not from scratch: it would be wrong where something was missed.
      fromDeltas: (_ctx, changes) => void changes.rewind(),
    });
    bus.rule(sum, { name: "sum", inputs: [pages[0]], outputs: [pages[1]] });
    await bus.commit(() => pages[0].write(0, new Uint8Array(16).fill(1)));
    const expected = async (size: number, value: number) => {
      assert.equal(pages[1].stale, true);
      await pages[1].fresh();
      assert.equal(pages[1].stale, false);
      assert.deepEqual([...pages[1].read()], Array(size).fill(value));
    };
    await bus.commit(() => pages[resized].resize(8));
    await (resized === 0 ? expected(16, 8) : expected(8, 16));
    await bus.commit(() => pages[resized].resize(24));
    await (resized === 0 ? expected(16, 8) : expected(24, 16));
    await bus.commit(() => pages[resized].resize(12));
    assert.equal(pages[1].stale, true);
    await assertReopens(bus, storage);
    await using again = await StateBus.open({ storage });
    again.rule(sum, { name: "sum", inputs: [1], outputs: [2] });
    await again.tick();
    assert.equal(again.page(2).stale, false);
    assert.equal(again.page(2).read()[0], resized === 0 ? 8 : 16);
  }
});

Deno.test("a rule is another one where its inputs are to wake it and were not", async () => {
  const storage = new MemoryStorage();
  const first = await StateBus.open({ storage });
  const [a, b] = [first.createPage({ size: 8 }), first.createPage({ size: 8 })];
  const old = first.rule(plusOne, {
    name: "r",
    inputs: [{ region: a, edge: "control" }],
    outputs: [b],
  });
  await first.commit();
  await first.commit(() => a.write(0, Uint8Array.of(4)));
  assert.deepEqual([b.read()[0], b.stale], [1, true]);
  await first.close();
  await using bus = await StateBus.open({ storage });
  const rule = bus.rule(plusOne, { name: "r", inputs: [1], outputs: [2] });
  await bus.tick();
  assert.equal(rule.number, old.number + 1);
  await bus.commit(() => bus.page(1).write(0, Uint8Array.of(9)));
  assert.equal(bus.page(2).read()[0], 10);
});

Deno.test("a rule cannot keep anything in its parameters", async () => {
  await using bus = await StateBus.open();
  const [a, b] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
  const counting = defineRule({
    compute(ctx) {
      ctx.output(0).setUint8(0, ++(ctx.params as { deep: { runs: number }[] }).deep[0].runs);
    },
  });
  bus.rule(counting, { name: "r", inputs: [a], outputs: [b], params: { deep: [{ runs: 0 }] } });
  await assert.rejects(bus.tick(), { code: "rule" });
});

Deno.test("a rule's name is refused when it is bound and not by the tick", async () => {
  await using bus = await StateBus.open();
  const [a, b] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
  await bus.tick();
  for (const [name, code] of [["", "usage"], ["\ud800", "usage"], ["x".repeat(65_536), "limit"]]) {
    assert.throws(() => bus.rule(plusOne, { name, inputs: [a], outputs: [b] }), (error) => {
      assert(isMmsbError(error));
      assert.equal(error.code, code);
      assert(error.message.length < 300);
      return true;
    });
  }
});

Deno.test("a table that a rule reads may get columns in the tick that writes them, or not get them", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ storage });
  bus.createTable(table({ x: "f64" }), { name: "t" });
  const [sum, guarded] = [bus.createPage({ size: 16 }), bus.createPage({ size: 8 })];
  const total = defineRule({
    compute(ctx) {
      const rows = ctx.input(0).table;
      const names = rows.length > 1 ? ["x", "y"] : ["x"];
      names.forEach((name, index) => {
        let sum = 0;
        for (let row = 0; row < rows.length; row++) sum += rows.get(row, name) as number;
        ctx.output(0).setFloat64(8 * index, sum);
      });
    },
  });
  const xOnly = bus.table(table({ x: "f64" }), "t");
  await bus.commit(() => xOnly.append({ x: [1] }));
  bus.rule(total, { name: "total", inputs: [xOnly], outputs: [sum] });
  await bus.tick();
  // Refused: the column never was, and another one comes in its place.
  await assert.rejects(
    bus.commit(() => {
      bus.table(table({ x: "f64", y: "u8" }), "t").append({ x: [2], y: [3] });
      guarded.write(0, Uint8Array.of(1), { expectedEpoch: 9 });
    }),
    { code: "stale-epoch" },
  );
  const isFine = bus.invariant("no", () => false);
  await assert.rejects(
    bus.commit(() => bus.table(table({ x: "f64", y: "u8" }), "t").append({ x: [2], y: [3] })),
    { code: "rule" },
  );
  isFine.remove();
  await bus.commit(() =>
    bus.table(table({ x: "f64", y: "f64" }), "t").append({ x: [2], y: [0.5] })
  );
  assert.deepEqual([...new Float64Array(sum.read().buffer)], [3, 0.5]);
  await bus.commit(() => bus.table(table({ x: "f64", y: "f64" }), "t").set(0, { y: 4 }));
  assert.deepEqual([...new Float64Array(sum.read().buffer)], [3, 4.5]);
  await assertReopens(bus, storage);
});
