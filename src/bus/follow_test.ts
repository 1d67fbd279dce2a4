/** Following a log: on the bus that writes it, from another one, and over whatever happens to its writer. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryStorage, type StorageFile } from "../log/mod.ts";
import { live, pasts, SMALL } from "./_past_test.ts";
import { type FollowedDelta, StateBus } from "./mod.ts";

/** Everything that a follower gives until a tick. */
async function until(follower: AsyncIterable<FollowedDelta>, tick: number) {
  const found: FollowedDelta[] = [];
  for await (const delta of follower) {
    found.push(delta);
    if (delta.tick >= tick) break;
  }
  return found;
}

Deno.test("StateBus.follow() from tick 1 gives the whole log, in order, each delta once", async () => {
  await fc.assert(
    fc.asyncProperty(pasts, fc.nat(40), async (steps, from) => {
      const { storage, bus } = await live(steps);
      const reader = await StateBus.open({ ...SMALL, storage, readOnly: true });
      const signal = AbortSignal.abort();
      const controller = new AbortController();
      const all = bus.follow({ fromTick: 1, lifetime: true, signal: controller.signal });
      const found: FollowedDelta[] = [];
      const done = (async () => {
        for await (const delta of all) found.push(delta);
      })();
      await bus.close();
      await done;
      controller.abort();
      const deltas = found.filter(({ epoch }) => epoch > 0);
      for (let id = 1; id < 200; id++) {
        const mine = deltas.filter(({ page }) => page === id);
        if (mine.length === 0) continue;
        const history = await Array.fromAsync(reader.history(id));
        const told = (
          { tick, hlc, epoch, kind, offset, source, intent, timeUs }: typeof mine[0],
        ) => [
          tick,
          hlc,
          epoch,
          kind,
          offset,
          source,
          intent,
          timeUs,
        ];
        assert.deepEqual(
          mine.map(told),
          history.map((entry) => told({ ...entry, page: id, length: 0, payload: entry.after })),
        );
      }
      const ticks = found.map(({ tick }) => tick);
      assert.deepEqual(ticks, ticks.toSorted((a, b) => a - b));
      const births = found.filter(({ kind }) => kind === "create").map(({ page }) => page);
      assert.equal(new Set(births).size, births.length);
      // From a tick in the middle, by another process.
      const later = found.filter(({ tick }) => tick >= from);
      const last = later.at(-1);
      if (last !== undefined) {
        const seen: FollowedDelta[] = [];
        const follower = reader.follow({ fromTick: from, lifetime: true, pollMs: 1 });
        for (let i = 0; i < later.length; i++) seen.push((await follower.next()).value!);
        await follower.return();
        assert.deepEqual(seen, later);
      }
      assert.equal((await reader.follow({ signal }).next()).done, true);
      await reader.close();
    }),
    { numRuns: 20 },
  );
});

Deno.test("StateBus.follow() gives each tick once, to the writer's own and to another's, over restarts", async () => {
  const storage = new MemoryStorage();
  let bus = await StateBus.open({ ...SMALL, storage });
  const id = bus.createPage({ size: 600 }).id;
  await bus.commit();
  const reader = await StateBus.open({ ...SMALL, storage, readOnly: true });
  const other = until(reader.follow({ pollMs: 1 }), 61);
  for (let opening = 0; opening < 3; opening++) {
    const first = bus.tickNumber + 1;
    const own = until(bus.follow({ page: id }), first + 19);
    for (let i = 0; i < 20; i++) {
      await bus.commit(() => bus.page(id).write(0, new Uint8Array(600).fill(i)));
      if (i % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const ticks = (await own).map(({ tick }) => tick);
    assert.deepEqual(ticks, Array.from({ length: 20 }, (_, i) => first + i));
    await bus.close();
    if (opening < 2) bus = await StateBus.open({ ...SMALL, storage });
  }
  const ticks = (await other).map(({ tick }) => tick);
  assert.deepEqual(ticks, Array.from({ length: 60 }, (_, i) => 2 + i));
  assert.equal(reader.tickNumber, 1);
  assert.deepEqual(await reader.refresh(), { tick: 61, ticks: 60, rows: 60 });
  assert.equal(reader.page(id).read(0, 1)[0], 19);
  assert.deepEqual(await reader.refresh(), { tick: 61, ticks: 0, rows: 0 });
  assert.equal((await reader.verify()).ok, true);
  await reader.close();
});

Deno.test("StateBus.follow() goes on behind ticks that a killed writer left half written", async () => {
  const storage = new MemoryStorage();
  // One segment, so that the last tick is in it.
  const options = { memoryLimitBytes: 2 ** 20 };
  const bus = await StateBus.open({ ...options, storage, durability: "buffered" });
  const page = bus.createPage({ size: 64 });
  for (let i = 1; i <= 6; i++) await bus.commit(() => page.write(0, Uint8Array.of(i)));
  // Killed in the middle of the last tick: what another process sees is the file so far.
  const image = storage.image(), path = "lane-00/0000000001.log";
  await bus.close();
  const bytes = image.get(path)!;
  const used = bytes.findLastIndex((byte) => byte !== 0);
  for (const cut of [40, 150, 300]) {
    const copy = new Map(image);
    copy.set(path, bytes.slice().fill(0, used - cut));
    const killed = new MemoryStorage({ image: copy });
    const reader = await StateBus.open({ ...options, storage: killed, readOnly: true });
    const { tickNumber } = reader;
    assert(tickNumber === 5 || tickNumber === 4, `${tickNumber}`);
    const following = until(reader.follow({ fromTick: 2, pollMs: 1 }), 9);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await reader.refresh();
    const again = await StateBus.open({ ...options, storage: killed });
    for (let i = 0; i < 5; i++) {
      await again.commit(() => again.page(1).write(1, Uint8Array.of(100 + i)));
    }
    const seen = (await following).map(({ tick, payload }) => [tick, payload[0]]);
    const old = Array.from({ length: tickNumber - 1 }, (_, i) => [2 + i, 2 + i]);
    const added = Array.from({ length: 9 - tickNumber }, (_, i) => [tickNumber + 1 + i, 100 + i]);
    assert.deepEqual(seen, [...old, ...added]);
    await reader.refresh();
    assert.equal(reader.digest(), again.digest());
    await again.close();
    await reader.close();
  }
});

Deno.test("StateBus.refresh() takes a reader forward at any time, tick by tick", async () => {
  await fc.assert(
    fc.asyncProperty(pasts, async (steps) => {
      const storage = new MemoryStorage();
      const half = steps.length >> 1;
      const first = await live(steps.slice(0, half), storage);
      await first.bus.close();
      const reader = await StateBus.open({ ...SMALL, storage, readOnly: true });
      const second = await live(steps.slice(half), storage);
      const { tick } = await reader.refresh();
      assert.equal(tick, second.bus.tickNumber);
      assert.equal(reader.digest(), second.bus.digest());
      await second.bus.close();
      await reader.close();
    }),
    { numRuns: 15 },
  );
});

Deno.test("StateBus.follow() ends when the bus is closed, the loop left, or the signal fires", async () => {
  for (const end of ["close", "return", "signal"] as const) {
    for (const readOnly of [false, true]) {
      const storage = new MemoryStorage();
      const writer = await StateBus.open({ ...SMALL, storage });
      writer.createPage({ size: 8 });
      await writer.commit();
      const bus = readOnly ? await StateBus.open({ ...SMALL, storage, readOnly }) : writer;
      const controller = new AbortController();
      const follower = bus.follow({ signal: controller.signal, pollMs: 60_000 });
      const waiting = follower.next();
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (end === "signal") controller.abort();
      if (end === "return") await follower.return();
      if (end === "close") await bus.close();
      assert.deepEqual(await waiting, { done: true, value: undefined }, end);
      assert.equal((await follower.next()).done, true);
      await bus.close();
      await writer.close();
    }
  }
});

Deno.test("StateBus.follow() gives only durable ticks, also of a tick whose open batch was refused", async () => {
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ ...SMALL, storage });
  const page = bus.createPage({ size: 8 });
  await bus.commit();
  const follower = bus.follow({ source: "a" });
  const next = follower.next();
  page.write(0, Uint8Array.of(1), { source: "b" });
  await bus.tick();
  page.write(0, Uint8Array.of(2), { source: "a", expectedEpoch: 1 });
  await bus.tick();
  page.write(0, Uint8Array.of(3), { source: "a", expectedEpoch: 7 });
  await assert.rejects(bus.tick(), { code: "stale-epoch" });
  const { value } = await next;
  assert.deepEqual([value!.tick, value!.payload[0], value!.epoch], [3, 2, 2]);
  assert.equal(bus.stats().unsyncedBytes, 0);
  await follower.return();
});

Deno.test("StateBus.follow() refuses wrong options", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const wrong = [
    { fromTick: "1" },
    { page: "x" },
    { source: 1 },
    { signal: {} },
    { pollMs: NaN },
    { other: 1 },
  ];
  for (const options of wrong) {
    assert.throws(() => bus.follow(options as object), { code: "usage" });
  }
  assert.throws(() => bus.follow({ pollMs: 0 }), { code: "out-of-bounds" });
});

Deno.test("StateBus.follow() waits for the sync that makes a tick durable", async () => {
  const gates: (() => void)[] = [];
  let isHeld = false;
  class Gated extends MemoryStorage {
    override open(path: string, mode: "read" | "write" | "create"): StorageFile {
      const file = super.open(path, mode), syncAsync = file.syncAsync.bind(file);
      file.syncAsync = async () => {
        if (isHeld) await new Promise<void>((resolve) => void gates.push(resolve));
        await syncAsync();
      };
      return file;
    }
  }
  const bus = await StateBus.open({ ...SMALL, storage: new Gated() });
  const page = bus.createPage({ size: 8 });
  await bus.commit();
  isHeld = true;
  let given = 0;
  const follower = bus.follow();
  page.write(0, Uint8Array.of(1));
  const { durable } = await bus.tick();
  const next = follower.next().then((result) => {
    given++;
    return result;
  });
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.deepEqual([given, gates.length > 0], [0, true], "applied, and not durable");
  isHeld = false;
  for (const open of gates) open();
  await durable;
  assert.equal((await next).value!.tick, 2);
  await follower.return();
  await bus.close();
});
