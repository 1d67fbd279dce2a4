/** The past of a bus: histories, earlier states, differences, found by index and compared with scans. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryStorage, readMeta } from "../log/mod.ts";
import { scanHistory } from "../model/history_scan.ts";
import { live, pasts, SMALL } from "./_past_test.ts";
import { type HistoryEntry, StateBus } from "./mod.ts";

const RUNS = { numRuns: 25 };

/** Ids that pages of a bus can have. */
function ids(bus: StateBus): number[] {
  const highest = Math.max(0, ...[...bus.pages()].map(({ id }) => id));
  return Array.from({ length: highest }, (_, i) => i + 1);
}

Deno.test("StateBus.history() by index is what a scan of the log finds, in any part and direction", async () => {
  await fc.assert(
    fc.asyncProperty(pasts, fc.nat(40), fc.nat(40), fc.nat(9), async (steps, a, b, limit) => {
      const { storage, bus } = await live(steps);
      try {
        for (const id of ids(bus)) {
          const scanned = scanHistory(storage, readMeta(storage), id, bus.tickNumber);
          const found = await Array.fromAsync(bus.history(id));
          assert.deepEqual(found, scanned);
          const back = await Array.fromAsync(bus.history(id, { reverse: true }));
          assert.deepEqual(back, scanned.toReversed());
          const [fromTick, toTick] = [Math.min(a, b), Math.max(a, b)];
          const within = scanned.filter(({ tick }) => tick >= fromTick && tick <= toTick);
          const part = await Array.fromAsync(bus.history(id, { fromTick, toTick, limit }));
          assert.deepEqual(part, within.slice(0, limit));
          const end = await Array.fromAsync(
            bus.history(id, { fromTick, toTick, limit, reverse: true }),
          );
          assert.deepEqual(end, within.toReversed().slice(0, limit));
        }
      } finally {
        await bus.close();
      }
    }),
    RUNS,
  );
});

Deno.test("StateBus.at() is the state that there was, by tick and by time, for writers and readers", async () => {
  await fc.assert(
    fc.asyncProperty(pasts, fc.nat(1000), async (steps, seed) => {
      const { storage, bus, digests, times } = await live(steps);
      const reader = await StateBus.open({ ...SMALL, storage, readOnly: true });
      try {
        for (let i = 0; i < 4; i++) {
          const tick = (seed * (i + 1) + i) % digests.length;
          await using past = await bus.at({ tick });
          assert.equal(past.digest(), digests[tick], `tick ${tick}`);
          assert.equal(past.tickNumber, tick);
          assert.equal((await past.verify()).ok, true);
          await using seen = await reader.at({ time: times[tick] });
          assert.equal(seen.tickNumber, tick);
          assert.equal(seen.digest(), digests[tick]);
          await using before = await bus.at({ time: Math.max(0, times[tick] - 1) });
          assert.equal(before.tickNumber, Math.max(0, tick - 1));
          for (const page of past.pages()) {
            const history = await Array.fromAsync(past.history(page));
            assert(history.every((entry) => entry.tick <= tick));
            assert.equal(history.reduce((sum, { advance }) => sum + advance, 0), page.epoch);
            const image = bus.pageAt(page.id, { tick });
            assert.deepEqual([...image.bytes], [...page.read()]);
            assert.deepEqual([image.epoch, image.tick], [page.epoch, tick]);
            const { epoch } = page;
            assert.equal(bus.pageAt(page.id, { page: page.id, epoch }).epoch, epoch);
          }
        }
      } finally {
        await reader.close();
        await bus.close();
      }
    }),
    RUNS,
  );
});

Deno.test("StateBus.diff() leads from one state to the other", async () => {
  await fc.assert(
    fc.asyncProperty(pasts, fc.nat(1000), async (steps, seed) => {
      const { bus, digests } = await live(steps);
      try {
        const first = seed % digests.length, second = seed * 7 % digests.length;
        await using a = await bus.at({ tick: first });
        await using b = await bus.at({ tick: second });
        const pages = new Map([...a.pages()].map((page) => [page.id, page.read()]));
        const facts = new Map([...a.pages()].map(({ id, epoch }) => [id, epoch]));
        for await (const one of bus.diff(a, { tick: second })) {
          if (one.kind === "bytes") {
            const bytes = pages.get(one.page)!;
            assert.notDeepEqual(one.before, one.after);
            assert(one.offset + one.after.length <= bytes.length);
            bytes.set(one.after, one.offset);
          } else if (one.kind === "deleted") {
            assert(pages.delete(one.page) && facts.delete(one.page));
          } else {
            assert(one.kind === "born" || one.kind === "changed");
            const bytes = new Uint8Array(one.after!.size);
            bytes.set((pages.get(one.page) ?? bytes).subarray(0, bytes.length));
            pages.set(one.page, bytes);
            facts.set(one.page, one.after!.epoch);
          }
        }
        for (const page of b.pages()) {
          assert.deepEqual([...pages.get(page.id)!], [...page.read()]);
          assert.equal(facts.get(page.id), page.epoch);
        }
        assert.equal(pages.size, [...b.pages()].length);
        assert.deepEqual(await Array.fromAsync(bus.diff(b, b)), []);
      } finally {
        await bus.close();
      }
    }),
    RUNS,
  );
});

Deno.test("StateBus.whatIf() with all deltas is the state, and with some what they alone lead to", async () => {
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ ...SMALL, storage });
  const total = bus.createPage({ size: 16, name: "total" });
  for (let i = 1; i <= 30; i++) {
    await bus.commit(() => {
      total.combine("u32", "add", 0, i, { source: i % 2 ? "odd" : "even" });
      if (i === 20) total.resize(24);
    });
  }
  const value = (of: StateBus) => new Uint32Array(of.find("total")!.read(0, 4).buffer)[0];
  await using all = await bus.whatIf(() => true);
  assert.equal(all.digest(), bus.digest());
  await using odd = await bus.whatIf(({ source }) => source === "odd", { tick: 10 });
  assert.deepEqual([value(odd), odd.find("total")!.epoch, odd.tickNumber], [25, 5, 10]);
  await assert.rejects(bus.whatIf("all" as unknown as () => boolean), { code: "usage" });
  await assert.rejects(
    bus.whatIf(() => {
      throw new RangeError("mine");
    }),
    RangeError,
  );
});

Deno.test("StateBus.at() refuses what is no moment, and moments that are not there", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const page = bus.createPage({ size: 8 });
  await bus.commit(() => page.write(0, Uint8Array.of(1)));
  const wrong = [
    {},
    null,
    3,
    { tick: 1, time: 1 },
    { tick: "1" },
    { tick: 1n },
    { tick: NaN },
    { tick: 1.5 },
    { time: NaN },
    { time: -1 },
    { time: "yesterday" },
    { time: "2026-01-31" },
    { time: new Date(NaN) },
    { time: 1n },
    { page: 1 },
    { epoch: 1 },
    { page: "1", epoch: 1 },
    { moment: 1 },
  ];
  for (const moment of wrong) {
    await assert.rejects(bus.at(moment as { tick: number }), { code: "usage" }, String(moment));
  }
  await assert.rejects(bus.at({ tick: 2 }), { code: "out-of-bounds" });
  await assert.rejects(bus.at({ tick: -1 }), { code: "out-of-bounds" });
  await assert.rejects(bus.at({ page: 1, epoch: 2 }), { code: "out-of-bounds" });
  await using future = await bus.at({ time: new Date("2100-01-01T00:00:00Z") });
  assert.equal(future.tickNumber, 1);
  await using text = await bus.at({ time: "2100-01-01T00:00:00.000001+01:00" });
  assert.equal(text.tickNumber, 1);
  // Later than any timestamp is later than the last tick.
  for (const time of ["2999-01-01T00:00:00Z", new Date(8.64e15), Number.MAX_SAFE_INTEGER]) {
    await using last = await bus.at({ time });
    assert.equal(last.tickNumber, 1);
  }
  await assert.rejects(bus.at({ time: Infinity }), { code: "usage" });
  await using first = await bus.at({ time: new Date(0) });
  assert.equal([...first.pages()].length, 0);
  assert.throws(() => future.page(1).write(0, Uint8Array.of(1)), { code: "read-only" });
  assert.throws(() => future.createPage(), { code: "read-only" });
  await assert.rejects(future.tick(), { code: "read-only" });
  await assert.rejects(future.refresh(), { code: "usage" });
  await using memory = await StateBus.open({ memoryLimitBytes: 2 ** 20 });
  await assert.rejects(memory.at({ tick: 0 }), { code: "usage" });
  await assert.rejects(Array.fromAsync(memory.history(1)), { code: "usage" });
  assert.throws(() => memory.follow(), { code: "usage" });
  assert.throws(() => memory.horizon, { code: "usage" });
  const closed = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  await closed.close();
  await assert.rejects(closed.at({ tick: 0 }), { code: "closed" });
  await assert.rejects(closed.refresh(), { code: "closed" });
  assert.throws(() => closed.follow(), { code: "closed" });
  assert.throws(() => closed.digest(), { code: "closed" });
});

Deno.test("StateBus.history() refuses wrong options", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  bus.createPage({ size: 8 });
  await bus.commit();
  const wrong = [{ fromTick: "1" }, { toTick: 1.5 }, { limit: NaN }, { reverse: 1 }, { from: 1 }];
  for (const options of wrong) {
    await assert.rejects(Array.fromAsync(bus.history(1, options as object)), { code: "usage" });
  }
  await assert.rejects(Array.fromAsync(bus.history(1, { limit: -1 })), { code: "out-of-bounds" });
  assert.equal((await bus.history(1, { limit: 0 }).next()).done, true);
});

Deno.test("StateBus.history() with lifetime tells of births, changes of size and deaths", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const page = bus.createPage({ size: 4, name: "page" });
  await bus.commit(() => page.write(0, Uint8Array.of(1, 2, 3, 4)));
  await bus.commit(() => page.resize(6));
  await bus.commit(() => page.resize(2));
  await bus.commit(() => page.setMetadata({ unit: Uint8Array.of(1) }));
  await bus.commit(() => page.delete());
  const told = (entry: HistoryEntry) => [
    entry.tick,
    entry.kind,
    entry.offset,
    [...entry.before],
    [...entry.after],
    entry.epoch,
  ];
  const found = await Array.fromAsync(bus.history(page.id, { lifetime: true }));
  assert.deepEqual(found.map(told), [
    [1, "create", 0, [], [0, 0, 0, 0], 0],
    [1, "set", 0, [0, 0, 0, 0], [1, 2, 3, 4], 1],
    [2, "resize", 4, [], [0, 0], 1],
    [3, "resize", 2, [3, 4, 0, 0], [], 1],
    [4, "metadata", 2, [], [], 1],
    [5, "delete", 0, [1, 2], [], 1],
  ]);
  const back = await Array.fromAsync(bus.history(page.id, { lifetime: true, reverse: true }));
  assert.deepEqual(back, found.toReversed());
  assert.throws(() => bus.pageAt(page.id, { tick: 5 }), { code: "invalid-handle" });
  assert.deepEqual([...bus.pageAt(page.id, { tick: 2 }).bytes], [1, 2, 3, 4, 0, 0]);
});
