/**
 * Open batches, transactions, events and clocks that come in each other's way: what one of them does must not
 * break the log for another, or be lost.
 */

import assert from "node:assert/strict";
import { isMmsbError } from "../base/mod.ts";
import { MemoryStorage } from "../log/mod.ts";
import { table } from "../schema/mod.ts";
import { type Page, StateBus } from "./mod.ts";
import { assertReopens, plusOne } from "./_hostile_test.ts";

Deno.test("a page that a transaction has created is nobody else's before it commits", async () => {
  const uses: ((bus: StateBus, known: Page, born: Page) => unknown)[] = [
    (bus, known, born) => bus.rule(plusOne, { name: "r", inputs: [known], outputs: [born] }),
    (bus, known, born) => bus.rule(plusOne, { name: "r", inputs: [born], outputs: [known] }),
    (bus, known, born) => bus.edge(known, born, "control"),
    (_bus, _known, born) => born.delete(),
    (_bus, _known, born) => born.resize(64),
    (_bus, _known, born) => born.write(0, Uint8Array.of(1)),
  ];
  for (const use of uses) {
    const storage = new MemoryStorage();
    const bus = await StateBus.open({ storage });
    const known = bus.createPage({ size: 8 });
    await bus.tick();
    const transaction = bus.begin(), born = transaction.createPage({ size: 8 });
    use(bus, known, born);
    const digest = bus.digest();
    await assert.rejects(bus.tick(), { code: "invalid-handle" });
    assert.equal(bus.digest(), digest);
    await transaction.commit();
    use(bus, known, born);
    await bus.tick();
    await assertReopens(bus, storage);
  }
});

Deno.test("a transaction that deletes takes nothing along that another open batch creates", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ storage });
  const known = bus.createPage({ size: 8 });
  await bus.tick();
  const staged = bus.createPage({ size: 8 });
  bus.edge(known, staged, "data");
  await assert.rejects(
    bus.transaction((tx) => tx.delete(known, { cascade: true })),
    { code: "invalid-handle" },
  );
  await bus.tick();
  assert.deepEqual([known.state, staged.state], ["active", "active"]);
  await bus.transaction((tx) => tx.delete(known, { cascade: true }));
  assert.deepEqual([known.state, staged.state], ["deleted", "deleted"]);
  await assertReopens(bus, storage);
});

Deno.test("an open batch that appends to a table is refused where a transaction was faster", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ storage });
  const log = bus.createTable(table({ x: "i32" }));
  await bus.commit(() => log.append({ x: [1] }));
  for (const count of [1, 300, 1000]) {
    const before = log.length;
    log.append({ x: new Int32Array(count).fill(2) });
    await bus.transaction((tx) => tx.append(log, { x: new Int32Array(count).fill(3) }));
    await assert.rejects(bus.tick(), { code: "stale-epoch" });
    assert.equal(log.length, before + count);
    await bus.commit(() => log.append({ x: [4] }));
    assert.deepEqual([log.row(before).x, log.row(before + count).x], [3, 4]);
  }
  await assertReopens(bus, storage);
});

Deno.test("a transaction that lost is counted as a conflict wherever it learnt of it", async () => {
  await using bus = await StateBus.open();
  const [a, b] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
  await bus.tick();
  let runs = 0;
  await bus.transaction(async (tx) => {
    tx.read(a);
    if (++runs < 3) await bus.commit(() => a.write(0, Uint8Array.of(runs)));
    tx.write(b, 0, Uint8Array.of(1));
  });
  const { conflicts, rolledBack, committed } = bus.stats().transactions;
  assert.deepEqual([conflicts, rolledBack, committed], [2, 0, 1]);
  const resized = bus.begin();
  resized.read(a);
  await bus.commit(() => a.resize(64));
  await assert.rejects(resized.commit(), /had 8 bytes when it was read/);
  assert.throws(() => bus.begin().createPage(null as never), { code: "usage" });
});

Deno.test("a clock that ticks are measured by may fail at any moment of a tick", async () => {
  for (let failsAt = 1; failsAt < 12; failsAt++) {
    for (const withRule of [false, true]) {
      const storage = new MemoryStorage();
      let asked = -Infinity;
      const monotonicMs = (): number => {
        if (++asked === failsAt) throw new Error("no time");
        return asked === failsAt + 1 ? 5n as unknown as number : asked;
      };
      const clock = { nowUs: () => 1_000_000, errorUs: () => 0, monotonicMs };
      const bus = await StateBus.open({ storage, clock });
      const [a, b] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
      if (withRule) bus.rule(plusOne, { name: "r", inputs: [a], outputs: [b] });
      await bus.tick();
      asked = 0;
      await bus.commit(() => a.write(0, Uint8Array.of(1)));
      await bus.commit(() => a.write(0, Uint8Array.of(2)));
      assert.deepEqual([a.read()[0], b.read()[0], bus.tickNumber], [2, withRule ? 3 : 0, 3]);
      await assertReopens(bus, storage);
    }
  }
});

Deno.test("callbacks that lead to events take turns", async () => {
  await using bus = await StateBus.open();
  let others = 0;
  const kinds = ["inference-start"] as const;
  bus.on({ kinds }, () => {
    if (others < 3) bus.emit("inference-start", {});
  });
  bus.on({ kinds }, () => void others++);
  bus.emit("inference-start", {});
  await new Promise((resolve) => setTimeout(resolve, 1));
  assert(others >= 3);
  assert.throws(() => bus.emit("inference-start", { page: { id: 1.5 } as never }), {
    code: "invalid-handle",
  });
});

Deno.test("whatever stands in the place of a region, a time or a module is answered shortly", async () => {
  await using bus = await StateBus.open({ storage: new MemoryStorage() });
  const [a, b] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
  await bus.tick();
  const ring: { self?: unknown } = {};
  ring.self = ring;
  let deep: unknown[] = [];
  for (let i = 0; i < 20_000; i++) deep = [deep];
  for (const value of [ring, deep, "x".repeat(70_000), Symbol("x"), () => {}, 5n, null]) {
    const binding = { name: "r", inputs: [a], outputs: [b] };
    const calls: (() => unknown)[] = [
      () => bus.changeGraph([{ do: "remove-page", page: value as string }]),
      () => bus.edge(a, value as Page, "data"),
      () => bus.rule(plusOne, { ...binding, inputs: [value as Page] }),
      () => bus.rule(value as string, binding),
      () => bus.at({ time: value as string }),
    ];
    for (const call of calls) {
      await assert.rejects(async () => await call(), (error) => {
        assert(isMmsbError(error), String(error));
        assert(/^Cannot /.test(error.message) && error.message.length < 300);
        return true;
      });
    }
  }
  const missing = bus.rule("file:///no/such/module.ts", { name: "r", inputs: [a], outputs: [b] });
  await assert.rejects(missing.ready, { code: "rule" });
  await assert.rejects(bus.tick(), { code: "rule" });
  await bus.tick();
});

Deno.test("a transaction that deletes counts only the edges that were there, whatever is staged", async () => {
  for (const stages of ["adds", "removes"]) {
    const storage = new MemoryStorage();
    const bus = await StateBus.open({ storage });
    const [a, b] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
    if (stages === "removes") bus.edge(a, b, "gpu");
    await bus.tick();
    if (stages === "removes") bus.removeEdge(a, b, "gpu");
    else bus.edge(a, b, "gpu");
    await bus.transaction((tx) => tx.delete(b));
    await assert.rejects(bus.tick(), { code: "invalid-handle" });
    await assertReopens(bus, storage);
  }
});

Deno.test("an attached bus says what it does not have: graph, marks, explanations", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  await using there = StateBus.attach(structuredClone(bus.share()));
  const own = there.page(page.id);
  const calls = [
    () => there.graph.version,
    () => own.stale,
    () => own.invalidated,
    () => own.fresh(),
    () => there.explain(own),
    () => there.explain(page.id),
  ];
  for (const call of calls) {
    await assert.rejects(async () => await call(), { code: "usage", message: /attached bus/ });
  }
});
