/** What a tick puts into the log beside its rows, and what history says of a log that lost bytes. */

import assert from "node:assert/strict";
import { MemoryStorage } from "../log/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 20 };

Deno.test("StateBus.tick() writes only the strings that a reused batch's rows name", async () => {
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ ...SMALL, storage });
  const page = bus.createPage({ size: 64 });
  await bus.tick();
  const batch = new DeltaBatch({ rows: 4, payloadBytes: 64 });
  const sources = Array.from({ length: 5000 }, (_, i) => batch.source(`source ${i}`));
  const intent = batch.intent("why");
  const before = bus.stats().logBytes;
  batch.push(page.id, 0, Uint8Array.of(1), { source: sources[4321], intent });
  batch.push(page.id, 1, Uint8Array.of(2), sources[7]);
  batch.push(page.id, 2, Uint8Array.of(3));
  bus.submit(batch);
  await bus.commit();
  assert.ok(bus.stats().logBytes - before < 1000);
  const told = (await Array.fromAsync(bus.history(page))).map((one) => [one.source, one.intent]);
  assert.deepEqual(told, [["source 4321", "why"], ["source 7", ""], ["", ""]]);
  assert.equal(batch.at(0).source, "source 4321", "the batch keeps its own numbers");
});

Deno.test("StateBus.tick() takes more births than one frame holds", async () => {
  const storage = new MemoryStorage();
  const options = { memoryLimitBytes: 2 ** 23, storage };
  {
    await using bus = await StateBus.open(options);
    for (let i = 0; i < 70_000; i++) {
      bus.createPage({ size: 16, name: i % 1000 ? "" : `page ${i}` });
    }
    await bus.commit();
    assert.equal((await bus.verify()).ok, true);
  }
  await using bus = await StateBus.open(options);
  assert.equal(bus.stats().pages, 70_000);
  assert.equal(bus.find("page 69000")!.id, 69_001);
});

Deno.test("StateBus.history() says where the log is damaged instead of ending early", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ ...SMALL, storage });
  const page = bus.createPage({ size: 64 });
  for (let i = 1; i <= 20; i++) await bus.commit(() => page.write(0, Uint8Array.of(i)));
  const path = "lane-00/0000000001.log";
  const file = storage.open(path, "write"), byte = new Uint8Array(1);
  const at = Math.floor(bus.stats().logBytes / 2);
  file.read(byte, at);
  file.write(Uint8Array.of(byte[0] ^ 16), at);
  const seen: number[] = [];
  await assert.rejects(
    async () => {
      for await (const delta of bus.history(page)) seen.push(delta.tick);
    },
    { code: "corrupt-log" },
  );
  assert.ok(seen.length > 0 && seen.length < 20);
  await bus.close();
});
