/** Tests of transactions: from the outside, against a serial model, and at every edge of their life. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryStorage } from "../log/mod.ts";
import { struct, table } from "../schema/mod.ts";
import { StateBus } from "./state_bus.ts";

const Account = struct({ cents: "i32" });
const Rows = table({ price: "f64", size: "u16" });

/** A pause of so many turns of the event loop. */
async function pause(turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setTimeout(resolve, 0));
}

Deno.test("StateBus.transaction(): transfers side by side keep the sum, and end as one after the other", async () => {
  const transfer = fc.record({
    from: fc.nat(4),
    to: fc.nat(4),
    cents: fc.integer({ min: 1, max: 50 }),
    turns: fc.nat(2),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(transfer, { minLength: 1, maxLength: 25 }), async (transfers) => {
      await using bus = await StateBus.open({ storage: new MemoryStorage() });
      const accounts = Array.from({ length: 5 }, () => bus.create(Account));
      await bus.commit(() => accounts.forEach((account) => account.set({ cents: 100 })));
      const outcomes = await Promise.all(
        transfers.map(({ from, to, cents, turns }) =>
          bus.transaction(async (tx) => {
            const left = tx.get(accounts[from], "cents");
            await pause(turns);
            if (left < cents) return { done: false, from, to, cents, tick: bus.tickNumber };
            tx.set(accounts[from], { cents: left - cents });
            tx.set(accounts[to], { cents: tx.get(accounts[to], "cents") + cents });
            return { done: true, from, to, cents, tick: 0 };
          }, { attempts: 1000, intent: "transfer" })
        ),
      );
      // The serial model: the order is that of the log.
      const model = accounts.map(() => 100);
      const steps = new Map<number, number[]>();
      for (const [index, { page }] of accounts.entries()) {
        for await (const { tick, after } of bus.history(page)) {
          const state = steps.get(tick) ?? [];
          state[index] = new DataView(after.slice().buffer).getInt32(0, true);
          steps.set(tick, state);
        }
      }
      for (const tick of [...steps.keys()].sort((a, b) => a - b)) {
        steps.get(tick)!.forEach((cents, index) => model[index] = cents);
        assert.equal(model.reduce((sum, cents) => sum + cents, 0), 500, `after tick ${tick}`);
        assert(model.every((cents) => cents >= 0));
      }
      assert.deepEqual(accounts.map((account) => account.get("cents")), model);
      const moved = accounts.map(() => 100);
      for (const { done, from, to, cents } of outcomes) {
        if (!done) continue;
        moved[from] -= cents;
        moved[to] += cents;
      }
      assert.deepEqual(model, moved, "each that committed counts once");
      assert.equal((await bus.verify()).ok, true);
    }),
    { numRuns: 30 },
  );
});

Deno.test("Transaction.commit() refuses write skew: two that read what the other writes do not both commit", async () => {
  await using bus = await StateBus.open();
  const [a, b] = [bus.create(Account), bus.create(Account)];
  await bus.commit(() => [a, b].forEach((account) => account.set({ cents: 60 })));
  const [first, second] = [bus.begin(), bus.begin()];
  for (const tx of [first, second]) assert(tx.get(a, "cents") + tx.get(b, "cents") >= 100);
  first.set(a, { cents: -40 });
  second.set(b, { cents: -40 });
  const results = await Promise.allSettled([first.commit(), second.commit()]);
  assert.deepEqual(results.map(({ status }) => status), ["fulfilled", "rejected"]);
  const { reason } = results[1] as PromiseRejectedResult;
  assert.equal(reason.code, "transaction-conflict");
  assert.deepEqual(reason.values, { page: a.id, readEpoch: 1, epoch: 2 });
  assert.deepEqual([a.get("cents"), b.get("cents")], [-40, 60]);
  const { committed, conflicts, open } = bus.stats().transactions;
  assert.deepEqual([committed, conflicts, open], [1, 1, 0]);
});

Deno.test("Transaction reads what it wrote: sets, masks, combinations, structs and rows of tables", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ size: 64 });
  const rows = bus.createTable(Rows, { name: "rows" });
  await bus.commit(() => {
    page.write(0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    rows.append({ price: [1, 2], size: [10, 20] });
  });
  const tx = bus.begin({ source: "test" });
  assert.deepEqual([...tx.read(page, 0, 4)], [1, 2, 3, 4]);
  tx.write(page, 2, Uint8Array.of(9, 9));
  assert.deepEqual([...tx.read(page, 0, 4)], [1, 2, 9, 9]);
  tx.writeMasked(page.id, 0, 4, Uint8Array.of(0b1001), Uint8Array.of(7, 8));
  tx.combine(page, "u32", "add", 4, 1);
  assert.deepEqual([...tx.readInto(page, new Uint8Array(6))], [7, 2, 9, 8, 6, 6]);
  assert.deepEqual([tx.epoch(page), page.epoch], [1, 1]);
  tx.setRow(rows, 0, { size: 11 });
  assert.equal(tx.append(rows, { price: Float64Array.of(3, 4), size: [30, 40] }), 2);
  assert.deepEqual([tx.length(rows), rows.length, rows.stagedLength], [4, 2, 2]);
  assert.deepEqual([0, 1, 3].map((row) => tx.row(rows, row)), [
    { price: 1, size: 11 },
    { price: 2, size: 20 },
    { price: 4, size: 40 },
  ]);
  const account = tx.create(Account, { name: "a" });
  tx.set(account, { cents: 5 });
  assert.deepEqual([tx.get(account), account.state], [{ cents: 5 }, "allocated"]);
  const { rows: count, tick } = await tx.commit();
  assert.deepEqual([tick, bus.tickNumber], [2, 2]);
  assert(count > 5);
  assert.deepEqual([...page.read(0, 6)], [7, 2, 9, 8, 6, 6]);
  assert.deepEqual([rows.length, rows.row(3), account.get("cents")], [
    4,
    { price: 4, size: 40 },
    5,
  ]);
  assert.equal(bus.find("a")?.id, account.id);
  account.set({ cents: 6 });
  await bus.tick();
  assert.equal(account.get("cents"), 6);
  rows.checkInvariants();
});

Deno.test("Transaction: what it reads of its own writes is what its tick leaves", async () => {
  const offset = fc.nat(7).map((element) => element * 8);
  const step = fc.oneof(
    fc.record({
      do: fc.constant("set" as const),
      offset,
      bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }),
    }),
    fc.record({
      do: fc.constant("combine" as const),
      offset,
      operation: fc.constantFrom("add" as const, "min" as const, "max" as const),
      type: fc.constantFrom("i32" as const, "u32" as const, "f64" as const),
      value: fc.integer({ min: -9, max: 9 }),
    }),
    fc.record({ do: fc.constant("read" as const) }),
  );
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
    await using bus = await StateBus.open();
    const page = bus.createPage({ size: 64 });
    await bus.commit(() => page.write(0, Uint8Array.from({ length: 64 }, (_, i) => 3 * i)));
    const tx = bus.begin();
    for (const one of steps) {
      if (one.do === "set") tx.write(page, one.offset, one.bytes);
      else if (one.do === "read") tx.read(page);
      else tx.combine(page, one.type, one.operation, one.offset, one.value);
    }
    const expected = tx.read(page);
    await tx.commit();
    assert.deepEqual(page.read(), expected);
  }));
});

Deno.test("Transaction leaves alone what others have staged and queued", async () => {
  await using bus = await StateBus.open({ storage: new MemoryStorage() });
  const [a, b] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
  await bus.tick();
  a.write(0, Uint8Array.of(1), { expectedEpoch: 0 });
  const born = bus.createPage({ size: 8, name: "staged" });
  await bus.transaction((tx) => {
    assert.equal(tx.find("staged"), undefined);
    assert.throws(() => tx.read(born), { code: "invalid-handle" });
    tx.write(b, 0, Uint8Array.of(2));
    tx.createPage({ name: "of the transaction", size: 16 });
  });
  assert.deepEqual([a.epoch, b.epoch, bus.stats().staged, born.state], [0, 1, 2, "allocated"]);
  assert.equal((await bus.verify()).ok, true);
  await bus.tick();
  assert.deepEqual([a.epoch, born.state], [1, "active"]);
  const open = bus.begin();
  open.createPage({ name: "not yet" });
  assert.equal((await bus.verify()).ok, true);
  await bus.checkpoint();
  open.rollback();
  assert.equal(bus.find("not yet"), undefined);
});

Deno.test("Transaction.commit(): pages created before older ones that are staged are there after a restart", async () => {
  const storage = new MemoryStorage();
  {
    await using bus = await StateBus.open({ storage });
    const staged = bus.createPage({ size: 8, name: "staged" });
    await bus.transaction((tx) => void tx.createPage({ size: 8, name: "first" }));
    await bus.checkpoint();
    assert(staged.id < bus.find("first")!.id);
  }
  await using bus = await StateBus.open({ storage });
  assert.equal(bus.find("staged"), undefined);
  const ids = ["x", "y", "z"].map((name) => bus.createPage({ size: 8, name }).id);
  await bus.tick();
  assert(!ids.includes(bus.find("first")!.id));
  assert.equal((await bus.verify()).ok, true);
});

Deno.test("Transaction sees one state: a read after another tick changed what was read before conflicts at once", async () => {
  await using bus = await StateBus.open();
  const [a, b] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
  await bus.tick();
  const tx = bus.begin();
  tx.read(a);
  await bus.commit(() => [a, b].forEach((page) => page.write(0, Uint8Array.of(1))));
  assert.throws(() => tx.read(b), { code: "transaction-conflict" });
  tx.rollback();
  const blind = bus.begin();
  blind.write(a, 0, Uint8Array.of(5));
  await bus.commit(() => a.write(0, Uint8Array.of(6)));
  await blind.commit();
  assert.equal(a.read(0, 1)[0], 5);
});

Deno.test("Transaction conflicts over pages that go, sizes and names, too", async () => {
  await using bus = await StateBus.open();
  const [a, b, c] = Array.from({ length: 3 }, () => bus.createPage({ size: 8 }));
  await bus.tick();
  const cases: [(tx: ReturnType<StateBus["begin"]>) => void, () => void][] = [
    [(tx) => tx.read(a), () => a.delete()],
    [(tx) => tx.read(b), () => b.resize(16)],
    [(tx) => tx.find("new"), () => void bus.createPage({ name: "new" })],
    [(tx) => tx.delete(c), () => c.delete()],
  ];
  for (const [read, change] of cases) {
    const tx = bus.begin();
    read(tx);
    tx.createPage({ size: 1 });
    await bus.commit(change);
    const pages = bus.stats().pages;
    await assert.rejects(tx.commit(), { code: "transaction-conflict" });
    assert.equal(bus.stats().pages, pages - 1);
  }
  const [first, second] = [bus.begin(), bus.begin()];
  first.createPage({ name: "both" });
  assert.throws(() => second.createPage({ name: "both" }), { code: "transaction-conflict" });
  await first.commit();
  second.rollback();
});

Deno.test("Transaction that deletes what the open batch changes refuses that batch, and nothing breaks", async () => {
  await using bus = await StateBus.open({ storage: new MemoryStorage() });
  for (
    const stage of [
      (page: ReturnType<StateBus["createPage"]>) => page.delete(),
      (page: ReturnType<StateBus["createPage"]>) => page.resize(32),
      (page: ReturnType<StateBus["createPage"]>) => page.migrate({ shard: 1 }),
      (page: ReturnType<StateBus["createPage"]>) => page.setMetadata({ a: Uint8Array.of(1) }),
    ]
  ) {
    const page = bus.createPage({ size: 8 });
    await bus.tick();
    stage(page);
    await bus.transaction((tx) => tx.delete(page));
    await assert.rejects(bus.tick(), { code: "invalid-handle" });
    assert.equal(page.state, "deleted");
  }
  assert.equal((await bus.verify()).ok, true);
});

Deno.test("StateBus.transaction() rolls back on a throw, and runs again on conflicts only", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  let runs = 0;
  await assert.rejects(
    bus.transaction((tx) => {
      runs++;
      tx.write(page, 0, Uint8Array.of(1));
      tx.createPage({ name: "gone" });
      throw new Error("no");
    }),
    /no/,
  );
  assert.deepEqual([runs, page.epoch, bus.find("gone"), bus.tickNumber], [1, 0, undefined, 1]);
  runs = 0;
  const value = await bus.transaction(async (tx) => {
    tx.read(page);
    if (++runs < 3) await bus.commit(() => page.write(0, Uint8Array.of(runs)));
    tx.write(page, 1, Uint8Array.of(7));
    return "done";
  });
  assert.deepEqual([runs, value, [...page.read(0, 2)]], [3, "done", [2, 7]]);
  runs = 0;
  await assert.rejects(
    bus.transaction(async (tx) => {
      tx.read(page);
      runs++;
      await bus.commit(() => page.write(0, Uint8Array.of(runs)));
    }, { attempts: 4 }),
    { code: "transaction-conflict" },
  );
  assert.equal(runs, 4);
});

Deno.test("StateBus.transaction() ends when its time is up, and what goes on in it is refused", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  const late = Promise.withResolvers<unknown>();
  await assert.rejects(
    bus.transaction(async (tx) => {
      await pause(30);
      try {
        tx.write(page, 0, Uint8Array.of(1));
      } catch (error) {
        late.resolve(error);
        throw error;
      }
    }, { timeoutMs: 1 }),
    { code: "limit" },
  );
  assert.equal((await late.promise as { code: string }).code, "limit");
  assert.deepEqual([page.epoch, bus.stats().transactions.open], [0, 0]);
});

Deno.test("Transaction.commit() of one that only read asks for no tick, and still conflicts", async () => {
  await using bus = await StateBus.open({ storage: new MemoryStorage() });
  const page = bus.createPage({ size: 8 });
  await bus.commit();
  const tx = bus.begin();
  tx.read(page);
  assert.deepEqual(await tx.commit(), { tick: 1, rows: 0, durability: "group" });
  assert.equal(bus.tickNumber, 1);
  const stale = bus.begin();
  stale.read(page);
  await bus.commit(() => page.write(0, Uint8Array.of(1)));
  await assert.rejects(stale.commit(), { code: "transaction-conflict" });
});

Deno.test("Transaction: bad input and wrong times are refused by name", async () => {
  const bus = await StateBus.open();
  await using other = await StateBus.open();
  const foreign = other.createPage({ size: 8 });
  const page = bus.createPage({ size: 8 }), account = bus.create(Account);
  await bus.tick();
  const tx = bus.begin();
  const bad = (value: unknown) => value as never;
  for (const value of [0, -1, NaN, 1.5, 1n, "1", null, undefined, {}, { id: 1 }]) {
    assert.throws(() => tx.read(bad(value)), { name: "MmsbError" }, String(value));
    assert.throws(() => tx.write(bad(value), 0, Uint8Array.of(1)), { name: "MmsbError" });
    assert.throws(() => tx.get(bad(value)), { code: "usage" });
    assert.throws(() => tx.row(bad(value), 0), { code: "usage" });
  }
  assert.throws(() => tx.read(foreign), { code: "usage" });
  assert.throws(() => tx.read(99), { code: "invalid-handle" });
  assert.throws(() => tx.read(page, 4, 5), { code: "out-of-bounds" });
  tx.write(page, 0, Uint8Array.of(1));
  assert.throws(() => tx.read(page, 4, 5), { code: "out-of-bounds" });
  assert.throws(() => tx.readInto(page, new Uint8Array(9)), { code: "out-of-bounds" });
  assert.throws(() => tx.readInto(page, bad([1])), { code: "usage" });
  assert.throws(() => tx.get(account, bad("euros")), { code: "usage" });
  assert.throws(() => tx.set(account, { cents: bad("1") }), { code: "usage" });
  assert.throws(() => tx.find(bad(7)), { code: "usage" });
  assert.throws(() => tx.write(page, 0, Uint8Array.of(1), bad({ sauce: "a" })), { code: "usage" });
  assert.throws(() => bus.begin(bad({ source: 7 })), { code: "usage" });
  await assert.rejects(bus.transaction(bad(7)), { code: "usage" });
  await assert.rejects(bus.transaction(() => {}, { attempts: 0 }), { code: "out-of-bounds" });
  await assert.rejects(bus.transaction(() => {}, bad({ tries: 1 })), { code: "usage" });
  const committing = tx.commit();
  assert.throws(() => tx.read(page), { code: "usage" });
  await committing;
  assert.throws(() => tx.read(page), { code: "usage" });
  await assert.rejects(tx.commit(), { code: "usage" });
  tx.rollback();
  const stale = bus.begin();
  stale.write(page, 0, Uint8Array.of(1), { expectedEpoch: 7 });
  await assert.rejects(stale.commit(), { code: "stale-epoch" });
  const left = bus.begin();
  await bus.close();
  assert.throws(() => left.read(page), { code: "closed" });
  await assert.rejects(left.commit(), { code: "closed" });
  assert.throws(() => bus.begin(), { code: "closed" });
  await assert.rejects(bus.transaction(() => {}), { code: "closed" });
});

Deno.test("Transaction is rolled back where it is left with `await using`, by reset and by close", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  {
    await using tx = bus.begin();
    tx.createPage({ name: "left" });
    tx.write(page, 0, Uint8Array.of(1));
  }
  assert.deepEqual([bus.find("left"), bus.stats().pages], [undefined, 1]);
  const tx = bus.begin();
  tx.createPage();
  bus.reset();
  assert.throws(() => tx.createPage(), { code: "closed" });
  const next = bus.createPage({ size: 8 });
  await bus.tick();
  await bus.transaction((tx) => tx.write(next, 0, Uint8Array.of(4)));
  assert.deepEqual([next.id, next.read(0, 1)[0]], [1, 4]);
});

Deno.test("StateBus.upsert() decides at the seal, and says so in the log", async () => {
  await using bus = await StateBus.open({ storage: new MemoryStorage() });
  const counter = bus.create(struct({ n: "u32" }), { name: "counter" });
  await bus.tick();
  const plan = (name: string) => ({
    name: "count names",
    source: "test",
    params: { name },
    where: () => bus.find(name)?.state === "active",
    update: (tx: ReturnType<StateBus["begin"]>) => {
      tx.set(counter, { n: tx.get(counter, "n") + 1 });
    },
    insert: (tx: ReturnType<StateBus["begin"]>) => {
      tx.write(tx.createPage({ name, size: 8 }), 0, Uint8Array.of(1));
    },
  });
  // No conflicts, however many at once.
  const receipts = await Promise.all(["a", "b", "a", "a"].map((name) => bus.upsert(plan(name))));
  assert.deepEqual(receipts.map(({ held }) => held), [false, false, true, true]);
  assert.equal(counter.get("n"), 2);
  const intents: string[] = [];
  for await (const { intent, source } of bus.history(counter.page)) {
    assert.equal(source, "test");
    intents.push(intent);
  }
  assert.deepEqual(intents.map((text) => JSON.parse(text)), [
    { upsert: "count names", held: true, params: { name: "a" } },
    { upsert: "count names", held: true, params: { name: "a" } },
  ]);
  const before = bus.tickNumber;
  const nothing = await bus.upsert({ name: "nothing", where: () => false });
  assert.deepEqual([nothing.held, nothing.rows, bus.tickNumber], [false, 0, before]);
  const bad = (value: unknown) => value as never;
  for (
    const wrong of [
      undefined,
      {},
      { name: "", where: () => true },
      { name: "x", where: 7 },
      { name: "x", where: () => 1 },
      { name: "x", where: async () => true },
      { name: "x", where: () => true, update: async () => {} },
      { name: "x", where: () => true, params: 1n },
      { name: "x", where: () => true, then: () => {} },
    ]
  ) {
    await assert.rejects(bus.upsert(bad(wrong)), { code: "usage" }, JSON.stringify(wrong?.name));
  }
  await assert.rejects(
    bus.upsert({
      name: "throws",
      where: () => true,
      update: (tx) => {
        tx.set(counter, { n: 99 });
        throw new Error("no");
      },
    }),
    /no/,
  );
  assert.deepEqual([counter.get("n"), bus.tickNumber, bus.stats().transactions.open], [
    2,
    before,
    0,
  ]);
});
