/** A bus on real disks: one that is full, one that turns read-only. */

import assert from "node:assert/strict";
import { succeeds, testOnDisk } from "../log/small_disk_test.ts";
import { StateBus } from "./mod.ts";

const OPTIONS = { memoryLimitBytes: 2 ** 22 };

testOnDisk(
  "StateBus.tick() refuses a tick that the disk has no room for, and goes on",
  async (path) => {
    const dir = `${path}/bus`;
    const bytes = (value: number) => new Uint8Array(60_000).fill(value);
    let tick = 0;
    {
      await using bus = await StateBus.open({ dir, ...OPTIONS });
      const page = bus.createPage({ size: 60_000, name: "page" });
      await bus.commit(() => page.write(0, bytes(1)));
      tick = bus.tickNumber;
      for (let value = 2; value < 40; value++) {
        page.write(0, bytes(value));
        try {
          await (await bus.tick()).durable;
          tick = bus.tickNumber;
        } catch (error) {
          assert.equal((error as { code: string }).code, "disk-full");
          assert.match((error as Error).message, /free|room|space/i);
          break;
        }
      }
      assert.ok(tick > 1 && tick < 39, `full after tick ${tick}`);
      assert.deepEqual([bus.tickNumber, page.epoch, page.read(0, 1)[0]], [tick, tick, tick]);
      assert.equal(bus.stats().staged, 0);
      // A page that was never logged is gone again too.
      const lost = bus.createPage({ size: 16, metadata: { a: new Uint8Array(60_000) } });
      await assert.rejects(bus.commit(), { code: "disk-full" });
      assert.equal(lost.state, "deleted");
      assert.equal((await bus.verify()).ok, true);
    }
    await using bus = await StateBus.open({ dir, ...OPTIONS, readOnly: true });
    assert.equal(bus.opened.state, "whole");
    assert.deepEqual([bus.opened.tick, bus.find("page")!.read(59_999)[0]], [tick, tick]);
  },
);

testOnDisk("StateBus.open() on a full disk says so, and changes nothing", async (path) => {
  const dir = `${path}/bus`;
  {
    await using bus = await StateBus.open({ dir, ...OPTIONS });
    const page = bus.createPage({ size: 64, name: "page" });
    await bus.commit(() => page.write(0, Uint8Array.of(7)));
  }
  fill(`${path}/filler`);
  await assert.rejects(StateBus.open({ dir, ...OPTIONS }), { code: "disk-full" });
  Deno.removeSync(`${path}/filler`);
  await using bus = await StateBus.open({ dir, ...OPTIONS });
  assert.equal(bus.find("page")!.read(0, 1)[0], 7);
  await bus.commit(() => bus.find("page")!.write(0, Uint8Array.of(8)));
  assert.equal((await bus.verify()).ok, true);
});

testOnDisk("StateBus.open() on a read-only disk says so; readOnly reads it", async (path) => {
  const dir = `${path}/bus`;
  {
    await using bus = await StateBus.open({ dir, ...OPTIONS });
    const page = bus.createPage({ size: 64, name: "page" });
    await bus.commit(() => page.write(0, Uint8Array.of(7)));
  }
  assert.ok(await succeeds("mount", "-o", "remount,ro", path));
  await assert.rejects(StateBus.open({ dir, ...OPTIONS }), { code: "read-only" });
  await using bus = await StateBus.open({ dir, ...OPTIONS, readOnly: true });
  assert.equal(bus.find("page")!.read(0, 1)[0], 7);
  assert.throws(() => bus.createPage(), { code: "read-only" });
});

function fill(path: string): void {
  using file = Deno.openSync(path, { write: true, create: true });
  for (let size = 65_536; size >= 1; size = Math.floor(size / 2)) {
    try {
      for (;;) if (file.writeSync(new Uint8Array(size)) < size) break;
    } catch { /* Full for this size; try a smaller one. */ }
  }
}
