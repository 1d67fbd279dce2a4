/** Spilling: what a bus with spill does with more than its memory holds, piece by piece. */

import assert from "node:assert/strict";
import { testOnDisk } from "../log/small_disk_test.ts";
import { busAccess } from "./_inside.ts";
import { StateBusPool } from "./pool.ts";
import { StateBus } from "./state_bus.ts";

Deno.test("An invariant may read more pages than there is memory for, and takes a tick back whole", async () => {
  const dir = await Deno.makeTempDir();
  {
    await using bus = await StateBus.open({ memoryLimitBytes: 256 * 1024, spill: { dir } });
    const ids: number[] = [];
    for (let k = 0; k < 20; k++) {
      await bus.commit(() => {
        for (let i = 0; i < 10; i++) ids.push(bus.createPage({ size: 4096 }).id);
      });
    }
    let asked = 0;
    bus.invariant("no byte is above 9", (at) => {
      asked++;
      return ids.every((id) => at.read(bus.page(id), 0, 1)[0] <= 9);
    });
    for (let round = 0; round < 12; round++) {
      const some = ids.slice(13 * round, 13 * round + 20), isGood = round % 3 !== 0;
      const digest = bus.digest();
      const tick = bus.commit(() => {
        for (const id of some) bus.page(id).write(0, Uint8Array.of(isGood ? round % 10 : 10));
        bus.createPage({ size: 4096 });
      });
      if (isGood) await tick;
      else {
        await assert.rejects(tick, { code: "rule" });
        assert.equal(bus.digest(), digest);
      }
      busAccess().inside(bus).store.checkInvariants();
    }
    assert.equal(asked, 12);
    assert.equal(bus.tickNumber, 28);
    assert.ok(bus.memory().spilled!.returns > 1000);
  }
  await Deno.remove(dir, { recursive: true });
});

Deno.test("Ages of a bus with spill begin at the tick with which it was opened", async () => {
  const dir = await Deno.makeTempDir();
  {
    await using bus = await StateBus.open({ dir, durability: "buffered" });
    const page = bus.createPage({ size: 64 });
    for (let i = 0; i < 20; i++) await bus.commit(() => page.write(0, Uint8Array.of(i)));
    bus.createPage({ size: 64, name: "young" });
    await bus.commit(() => {});
  }
  {
    await using bus = await StateBus.open({ dir, durability: "buffered", spill: true });
    await bus.commit(() => bus.find("young")!.write(0, Uint8Array.of(1)));
    const { cold } = bus.memory();
    assert.equal(cold!.sinceTick, 21);
    assert.deepEqual(cold!.ages.map(({ fromTicks, pages }) => [fromTicks, pages]), [[0, 1], [
      1,
      1,
    ]]);
  }
  await Deno.remove(dir, { recursive: true });
});

Deno.test("A bus with spill has more pages than its memory has room for the smallest of them", async () => {
  const dir = await Deno.makeTempDir(), count = 10_000;
  {
    await using bus = await StateBus.open({ memoryLimitBytes: 128 * 1024, spill: { dir } });
    for (let made = 0; made < count;) {
      await bus.commit(() => {
        for (let i = 0; i < 1000; i++, made++) {
          const page = bus.createPage({ size: 16 });
          page.write(0, Uint8Array.of(page.id, page.id >> 8));
        }
      });
    }
    for (let id = 1; id <= count; id++) {
      const [low, high] = bus.page(id).read(0, 2);
      assert.equal(low + 256 * high, id);
    }
    busAccess().inside(bus).store.checkInvariants();
    assert.ok(bus.memory().spilled!.pages > 1000);
  }
  await Deno.remove(dir, { recursive: true });
});

Deno.test("Ages of a reader go on with what it refreshes", async () => {
  const dir = await Deno.makeTempDir();
  {
    await using bus = await StateBus.open({ dir, durability: "buffered" });
    const [cold, busy] = [bus.createPage({ size: 16 }), bus.createPage({ size: 16 })];
    await bus.commit(() => cold.write(0, Uint8Array.of(1)));
    await using reader = await StateBus.open({ dir, readOnly: true });
    await reader.trackMemory({ collections: false });
    for (let i = 0; i < 9; i++) await bus.commit(() => busy.write(0, Uint8Array.of(i)));
    await bus.commit(() => void bus.createPage({ size: 16 }));
    await reader.refresh();
    const { cold: report } = reader.memory();
    assert.equal(report!.sinceTick, 1);
    assert.deepEqual(report!.ages.map(({ fromTicks, pages }) => [fromTicks, pages]), [[0, 2], [
      8,
      1,
    ]]);
  }
  await Deno.remove(dir, { recursive: true });
});

testOnDisk(
  "StateBusPool closes a bus that it could not put back as the disk is full",
  async (path) => {
    const dir = `${path}/spill`, full = `${path}/full`;
    const prepare = async (bus: StateBus) => {
      for (let k = 0; k < 18; k++) {
        await bus.commit(() => {
          for (let i = 0; i < 10; i++) bus.createPage({ size: 4096 }).write(0, Uint8Array.of(k));
        });
      }
    };
    using pool = new StateBusPool({
      size: 2,
      open: { memoryLimitBytes: 640 * 1024, spill: { dir } },
      prepare,
    });
    using _first = await pool.acquire();
    // Whatever there is room for.
    const filling = await Deno.open(full, { write: true, create: true });
    try {
      for (;;) filling.writeSync(new Uint8Array(16_384));
    } catch {
      filling.close();
    }
    for (let k = 0; k < 3; k++) await assert.rejects(pool.acquire(), { code: "disk-full" });
    await Deno.remove(full);
    using lease = await pool.acquire();
    assert.equal(lease.bus.stats().pages, 180);
    // No file of those that were given up.
    assert.equal([...Deno.readDirSync(dir)].length, 2);
  },
);
