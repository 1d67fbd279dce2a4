/** Leases of a pool: as freshly prepared, whatever the lease before has done, and never shared. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { DeltaBatch } from "../physical/mod.ts";
import { assertSamePlace, steps, use } from "./_random_use_test.ts";
import { type BusClock, StateBus, StateBusPool } from "./mod.ts";

const clock: BusClock = { nowUs: () => 1_000_000, errorUs: () => 1 };
const open = { clock, memoryLimitBytes: 2 ** 24, shards: 4 };

Deno.test("StateBusPool.acquire() gives a bus as freshly prepared, byte for byte, whatever was done before", async () => {
  await fc.assert(
    fc.asyncProperty(
      steps,
      fc.array(fc.tuple(steps, steps), { minLength: 1, maxLength: 4 }),
      async (preparation, leases) => {
        const prepare = async (bus: StateBus) => {
          await use(bus, preparation);
          await bus.tick().catch(() => {});
        };
        using pool = new StateBusPool({ size: 2, open, prepare });
        for (const [before, after] of leases) {
          await using fresh = await StateBus.open(open);
          await prepare(fresh);
          using lease = await pool.acquire();
          assertSamePlace(lease.bus, fresh);
          // What comes next is the same too: free slots are zero, ids and timestamps go on alike.
          await use(lease.bus, after);
          await use(fresh, after);
          assertSamePlace(lease.bus, fresh);
          using other = await pool.acquire();
          await use(other.bus, before);
        }
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("StateBusPool copies only what changed", async () => {
  const prepare = (bus: StateBus) => {
    for (let i = 0; i < 50; i++) bus.createPage({ size: 100, name: `${i}` });
  };
  using pool = new StateBusPool({ size: 1, prepare });
  for (let round = 0; round < 3; round++) {
    using lease = await pool.acquire();
    const { bus } = lease;
    bus.find("7")!.write(3, Uint8Array.of(1));
    bus.find("8")!.delete();
    bus.createPage({ size: 100, name: "another" });
    await bus.tick();
  }
  (await pool.acquire()).release();
  const { acquisitions, opened, pagesRestored, bytesRestored } = pool.stats();
  assert.deepEqual({ acquisitions, opened, pagesRestored, bytesRestored }, {
    acquisitions: 4,
    opened: 1,
    pagesRestored: 6,
    bytesRestored: 600,
  });
});

Deno.test("StateBusPool trusts no epoch after a reset in a lease: other pages may have the same ids", async () => {
  const prepare = async (bus: StateBus) => {
    const page = bus.createPage({ size: 16 });
    await bus.commit(() => page.write(0, Uint8Array.of(7)));
  };
  using pool = new StateBusPool({ size: 1, prepare });
  for (let round = 0; round < 2; round++) {
    using lease = await pool.acquire();
    assert.equal(lease.bus.page(1).read(0, 1)[0], 7);
    lease.bus.reset();
    const page = lease.bus.createPage({ size: 16 });
    await lease.bus.commit(() => page.write(0, Uint8Array.of(9)));
    assert.deepEqual([page.id, page.epoch], [1, 1]);
  }
});

Deno.test("StateBusPool prepares once, and its buses share nothing", async () => {
  let times = 0;
  const prepare = async (bus: StateBus) => {
    times++;
    const page = bus.createPage({ size: 16, name: "state" });
    await bus.commit(() => page.write(0, Uint8Array.of(5)));
    // Left staged: ticked for it.
    page.write(1, Uint8Array.of(6));
  };
  using pool = new StateBusPool({ size: 3, prepare });
  const leases = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
  assert.equal(times, 1);
  for (const [index, { bus }] of leases.entries()) {
    assert.deepEqual([...bus.find("state")!.read(0, 2)], [5, 6]);
    await bus.commit(() => bus.find("state")!.write(0, Uint8Array.of(index)));
    assert.equal(bus.tickNumber, 3);
  }
  assert.deepEqual(leases.map(({ bus }) => bus.find("state")!.read(0, 1)[0]), [0, 1, 2]);
  assert.deepEqual([pool.stats().leased, pool.stats().opened], [3, 3]);
});

Deno.test("BusLease: after the release, bus, pages and waiting batches refuse, and reach no other lease", async () => {
  using pool = new StateBusPool({ size: 1, prepare: (bus) => void bus.createPage({ name: "p" }) });
  const lease = await pool.acquire();
  const { bus } = lease, page = bus.find("p")!;
  const batch = new DeltaBatch({ rows: 1, payloadBytes: 8 });
  batch.push(page.id, 0, Uint8Array.of(1));
  const waiting = bus.submit(batch);
  assert.equal(lease.released, false);
  lease.release();
  assert.equal(lease.released, true);
  await assert.rejects(waiting, { code: "closed", message: /lease was released/ });
  using next = await pool.acquire();
  const refused = { code: "closed", message: /lease was released/ };
  assert.throws(() => bus.find("p"), refused);
  assert.throws(() => bus.createPage(), refused);
  assert.throws(() => page.read(), refused);
  assert.throws(() => page.write(0, Uint8Array.of(9)), refused);
  assert.throws(() => bus.reset(), refused);
  await assert.rejects(bus.tick(), refused);
  await bus.close();
  assert.throws(() => lease.bus, { code: "closed", message: /acquire another one/ });
  assert.throws(() => lease.release(), { code: "usage", message: /twice/ });
  lease[Symbol.dispose]();
  assert.equal(next.bus.find("p")!.epoch, 0);
  assert.deepEqual([pool.stats().leased, pool.stats().idle], [1, 0]);
});

Deno.test("BusLease: a bus that its user closes comes back all the same", async () => {
  using pool = new StateBusPool({ size: 1 });
  for (let round = 0; round < 2; round++) {
    await using lease = await pool.acquire();
    lease.bus.createPage();
    await lease.bus.close();
  }
  assert.deepEqual([pool.stats().leased, pool.stats().idle], [0, 1]);
});

Deno.test("BusLease.release() is refused from inside a tick", async () => {
  let inTick = () => {};
  const asked: BusClock = { nowUs: () => (inTick(), 1), errorUs: () => 1 };
  using pool = new StateBusPool({ size: 1, open: { clock: asked } });
  const lease = await pool.acquire();
  lease.bus.createPage();
  inTick = () => {
    inTick = () => {};
    assert.throws(() => lease.release(), { code: "usage", message: /inside its tick/ });
  };
  await lease.bus.tick();
  lease.release();
});

Deno.test("StateBusPool.acquire() waits in order where all are out", async () => {
  using pool = new StateBusPool({ size: 2 });
  const [first, second] = [await pool.acquire(), await pool.acquire()];
  const order: number[] = [];
  const waiting = [1, 2, 3].map(async (number) => {
    using _lease = await pool.acquire();
    order.push(number);
  });
  await Promise.resolve();
  assert.deepEqual([pool.stats().leased, pool.stats().waiting, order], [2, 3, []]);
  first.release();
  await Promise.all(waiting);
  assert.deepEqual(order, [1, 2, 3]);
  second.release();
  assert.deepEqual([pool.stats().leased, pool.stats().idle], [0, 2]);
});

Deno.test("StateBusPool.close() ends leases, refuses who waits, and what comes after", async () => {
  const pool = new StateBusPool({ size: 1 });
  const lease = await pool.acquire(), { bus } = lease;
  const waiting = pool.acquire();
  pool.close();
  pool.close();
  await assert.rejects(waiting, { code: "closed", message: /pool that was closed/ });
  await assert.rejects(pool.acquire(), { code: "closed" });
  assert(lease.released);
  assert.throws(() => bus.createPage(), { code: "closed" });
  assert.deepEqual([pool.stats().leased, pool.stats().idle], [0, 0]);

  const { promise, resolve } = Promise.withResolvers<void>();
  const slow = new StateBusPool({ size: 1, prepare: () => promise });
  const asked = slow.acquire();
  slow.close();
  resolve();
  await assert.rejects(asked, { code: "closed" });
  assert.equal(slow.stats().idle, 0);
});

Deno.test("StateBusPool.acquire() hands on what preparing throws, and prepares again", async () => {
  let times = 0, held: StateBus | undefined;
  using pool = new StateBusPool({
    size: 1,
    prepare(bus) {
      held = bus;
      bus.createPage({ name: "p" });
      if (++times === 1) throw new Error("not today");
      if (times === 2) bus.find("p")!.write(0, Uint8Array.of(1), { expectedEpoch: 3 });
    },
  });
  await assert.rejects(pool.acquire(), { message: "not today" });
  await assert.rejects(pool.acquire(), { code: "stale-epoch" });
  assert.equal(pool.stats().leased, 0);
  using lease = await pool.acquire();
  assert.equal(lease.bus.find("p")!.state, "active");
  assert.throws(() => held!.find("p"), {
    code: "closed",
    message: /that a pool was prepared with/,
  });
});

Deno.test("StateBusPool lets memory go that has grown too large", async () => {
  const prepare = (bus: StateBus) => void bus.createPage({ size: 16, name: "small" });
  using pool = new StateBusPool({ size: 1, prepare, keptBytesMax: 2 ** 20 });
  for (const size of [2 ** 24, 16]) {
    using lease = await pool.acquire();
    lease.bus.createPage({ size });
    await lease.bus.tick();
  }
  const { dropped, opened, idle } = pool.stats();
  assert.deepEqual({ dropped, opened, idle }, { dropped: 1, opened: 2, idle: 1 });
});

Deno.test("StateBusPool refuses wrong options", () => {
  const make = (options: unknown) => () => new StateBusPool(options as { size: number });
  for (const size of [0, 1025, 1.5, NaN, "1", 1n, undefined, null]) {
    assert.throws(make({ size }), { name: "MmsbError" });
  }
  for (const options of [null, undefined, 1, { size: 1, other: 1 }]) {
    assert.throws(make(options), { code: "usage" });
  }
  const wrong = [
    { open: null },
    { open: { dir: "./data" } },
    { open: { readOnly: true } },
    { open: { durability: "memory" } },
    { open: { arena: "mmap" } },
    { open: { checkpoints: {} } },
    { prepare: 1 },
    { keptBytesMax: 1n },
  ];
  for (const options of wrong) assert.throws(make({ size: 1, ...options }), { code: "usage" });
  for (const keptBytesMax of [-1, 2 ** 40]) {
    assert.throws(make({ size: 1, keptBytesMax }), { code: "limit" });
  }
});

Deno.test("StateBusPool.acquire() rejects with what opening says", async () => {
  using pool = new StateBusPool({ size: 1, open: { shards: 1000 } });
  await assert.rejects(pool.acquire(), { code: "limit" });
  assert.equal(pool.stats().leased, 0);
});
