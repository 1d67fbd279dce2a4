import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryStorage } from "../log/mod.ts";
import { type Command, commands, type Draft, drafts, Twin } from "./_twin_test.ts";
import { DURABILITIES, StateBus } from "./mod.ts";

Deno.test("StateBus in memory does what the model does", async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (commands) => {
      const twin = await Twin.open();
      for (const command of commands) await twin.run(command);
      await twin.tick(() => twin.bus.tick());
      await twin.verify();
      await twin.bus.close();
    }),
    { numRuns: 150 },
  );
});

Deno.test("StateBus with a log does what the model does, and reopened it is the same", async () => {
  await fc.assert(
    fc.asyncProperty(
      commands,
      fc.constantFrom(...DURABILITIES),
      async (commands, durability) => {
        const twin = await Twin.open(new MemoryStorage(), durability);
        for (const command of commands) await twin.run(command);
        await twin.tick(() => twin.bus.tick());
        await twin.verify();
        await twin.reopen();
        await twin.verify();
        await twin.compareHistories();
        await twin.bus.close();
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test("StateBus.tick() gives the same pages and the same log in whatever order producers submit", async () => {
  const submissions = fc.array(
    fc.record({ producer: fc.integer({ min: 1, max: 4 }), drafts: fc.array(drafts, ROWS) }),
    { minLength: 2, maxLength: 8 },
  );
  await fc.assert(
    fc.asyncProperty(submissions, fc.infiniteStream(fc.nat(7)), async (submissions, chance) => {
      const orders = [submissions, interleave(submissions, chance)];
      const [first, second] = await Promise.all(orders.map(async (order) => {
        const storage = new MemoryStorage();
        const twin = await Twin.open(storage);
        for (const command of PAGES) await twin.run(command);
        for (const one of order) await twin.run({ do: "submit", ...one });
        await twin.run({ do: "tick" });
        await twin.bus.close();
        return storage.image();
      }));
      assert.deepEqual(first, second);
    }),
    { numRuns: 60 },
  );
});

const ROWS = { minLength: 1, maxLength: 3 };

const PAGES: readonly Command[] = [1, 20, 300].map((size) => ({
  do: "create",
  size,
  name: undefined,
  shard: undefined,
  metadata: undefined,
}));

interface Submission {
  readonly producer: number;
  readonly drafts: readonly Draft[];
}

/** Another order of the same submissions, in which each producer's own order is kept. */
function interleave(submissions: readonly Submission[], chance: Iterator<number>): Submission[] {
  const queues = [...Map.groupBy(submissions, ({ producer }) => producer).values()];
  const order: Submission[] = [];
  while (order.length < submissions.length) {
    const waiting = queues.filter((queue) => queue.length > 0);
    order.push(waiting[chance.next().value % waiting.length].shift()!);
  }
  return order;
}

Deno.test("StateBus.verify() finds a page whose bytes are not those of the log", async () => {
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ memoryLimitBytes: 2 ** 20, storage });
  const page = bus.createPage({ size: 8, metadata: { a: Uint8Array.of(1) } });
  await bus.commit(() => page.write(0, Uint8Array.of(1)));
  const staged = bus.createPage({ size: 8, name: "staged" });
  assert.equal((await bus.verify()).ok, true, "what is staged is not missing");
  const view = page.view() as Uint8Array;
  view[3] = 4;
  const { ok, compared } = await bus.verify();
  assert.equal(ok, false);
  assert.deepEqual(
    { divergence: compared?.divergence, same: compared?.same, pages: compared?.pages },
    { divergence: 4, same: false, pages: 1 },
  );
  view[3] = 0;
  assert.equal((await bus.verify()).ok, true);
  assert.equal(staged.state, "allocated");
});

Deno.test("StateBus.stats() counts what there is", async () => {
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ memoryLimitBytes: 2 ** 20, storage });
  const page = bus.createPage({ size: 100 });
  page.write(0, Uint8Array.of(1));
  page.setMetadata({ a: Uint8Array.of(1) });
  const before = bus.stats();
  assert.deepEqual([before.pages, before.staged, before.pageBytes, before.tick], [1, 3, 112, 0]);
  await bus.commit();
  const { tick, rows, staged, refused, queued, logBytes, unsyncedBytes, durability, incarnation } =
    bus.stats();
  assert.deepEqual(
    { tick, rows, staged, refused, queued, unsyncedBytes, durability, incarnation },
    {
      tick: 1,
      rows: 1,
      staged: 0,
      refused: 0,
      queued: 0,
      unsyncedBytes: 0,
      durability: "group",
      incarnation: 1,
    },
  );
  assert(logBytes > 0);
  await bus.commit(() => page.delete());
  assert.deepEqual([bus.stats().pages, bus.stats().pageBytes], [0, 0]);
});
