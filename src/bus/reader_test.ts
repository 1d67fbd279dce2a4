/** A bus that only reads: what it shows of a log that another one writes, and of a damaged one. */

import assert from "node:assert/strict";
import { MemoryStorage, META_PATH } from "../log/mod.ts";
import { StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 20 };

async function written(storage: MemoryStorage, ticks: number): Promise<StateBus> {
  const bus = await StateBus.open({ ...SMALL, storage });
  const page = bus.createPage({ size: 64, name: "page" });
  for (let tick = 1; tick <= ticks; tick++) {
    await bus.commit(() => page.write(0, Uint8Array.of(tick), { intent: String(tick) }));
  }
  return bus;
}

Deno.test("StateBus opened readOnly stays at its tick while another one writes on", async () => {
  const storage = new MemoryStorage();
  await using writer = await written(storage, 3);
  await using reader = await StateBus.open({ ...SMALL, storage, readOnly: true });
  await writer.commit(() => writer.find("page")!.write(0, Uint8Array.of(9)));
  const page = reader.find("page")!;
  assert.equal(reader.tickNumber, 3);
  assert.equal(page.read(0, 1)[0], 3);
  assert.deepEqual((await Array.fromAsync(reader.history(page))).map(({ tick }) => tick), [
    1,
    2,
    3,
  ]);
  const report = await reader.verify();
  assert.deepEqual([report.ok, report.tick, report.state], [true, 3, "whole"]);
});

Deno.test("StateBus.verify() of a damaged log is never ok", async () => {
  const storage = new MemoryStorage();
  await (await written(storage, 5)).close();
  const image = storage.image(), path = "lane-00/0000000001.log";
  const bytes = image.get(path)!;
  bytes[bytes.length - 20] ^= 4;
  const damaged = new MemoryStorage({ image });
  await assert.rejects(StateBus.open({ ...SMALL, storage: damaged }), { code: "corrupt-log" });
  await using reader = await StateBus.open({ ...SMALL, storage: damaged, readOnly: true });
  assert.equal(reader.opened.state, "damaged");
  assert.deepEqual([reader.tickNumber, reader.find("page")!.read(0, 1)[0]], [4, 4]);
  const report = await reader.verify();
  assert.deepEqual([report.ok, report.state, report.compared!.same], [false, "damaged", true]);
});

Deno.test("StateBus opened readOnly reads the segments where the metadata is lost or spoilt", async () => {
  const storage = new MemoryStorage();
  await (await written(storage, 5)).close();
  for (const spoil of ["missing", "cut", "flipped"] as const) {
    const image = storage.image(), meta = image.get(META_PATH)!;
    if (spoil === "missing") image.delete(META_PATH);
    if (spoil === "cut") image.set(META_PATH, meta.slice(0, meta.length / 2));
    if (spoil === "flipped") meta[30] ^= 1;
    const spoilt = new MemoryStorage({ image });
    await assert.rejects(StateBus.open({ ...SMALL, storage: spoilt }), { code: "corrupt-log" });
    await using reader = await StateBus.open({ ...SMALL, storage: spoilt, readOnly: true });
    assert.deepEqual([reader.opened.state, reader.tickNumber], ["damaged", 5], spoil);
    assert.match(reader.opened.reason, /meta\.json/);
    assert.equal(reader.find("page")!.read(0, 1)[0], 5);
    assert.equal((await reader.verify()).ok, false);
  }
});
