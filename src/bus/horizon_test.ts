/** The past of a log whose early ticks were dropped or merged, and of one that is damaged. */

import assert from "node:assert/strict";
import { MemoryStorage, readMeta } from "../log/mod.ts";
import { scanHistory } from "../model/history_scan.ts";
import { SMALL } from "./_past_test.ts";
import { type HistoryEntry, type OpenOptions, StateBus } from "./mod.ts";

/** A bus of two pages and 90 ticks, and what it was after each. */
async function lived(
  storage: MemoryStorage,
  options: OpenOptions,
  each?: (bus: StateBus) => unknown,
) {
  const bus = await StateBus.open({ ...SMALL, ...options, storage });
  const digests = [bus.digest()], bytes: number[][] = [[]];
  const page = bus.createPage({ size: 64, name: "old" });
  bus.createPage({ size: 16 });
  for (let tick = 1; tick <= 90; tick++) {
    page.write(tick % 60, Uint8Array.of(tick, tick), { source: `feed-${tick % 2}` });
    page.combine("u32", "add", 60, tick);
    if (tick === 50) bus.createPage({ size: 8, name: "young" });
    if (tick > 50) bus.find("young")!.write(0, Uint8Array.of(tick));
    await bus.commit();
    digests.push(bus.digest());
    bytes.push([...page.read()]);
    await each?.(bus);
  }
  return { bus, digests, bytes, page };
}

async function reopened(storage: MemoryStorage) {
  const bus = await StateBus.open({ ...SMALL, storage });
  return { bus, page: bus.find("old")! };
}

for (const how of ["dropped", "merged"] as const) {
  Deno.test(`history and at() of a log whose early ticks were ${how} begin at the horizon, and say so`, async () => {
    const storage = new MemoryStorage();
    const options: OpenOptions = how === "merged" ? {} : { checkpoints: { log: "drop", keep: 1 } };
    const { bus, digests, bytes, page } = await lived(storage, options, async (bus) => {
      if (how === "dropped" && bus.tickNumber % 20 === 0) await bus.checkpoint();
    });
    // What was indexed before must not be asked afterwards.
    const whole = await Array.fromAsync(bus.history(page));
    if (how === "merged") await bus.compact({ beforeTick: 70 });
    const { horizon } = bus;
    assert(horizon > 20 && horizon < 90, `${horizon}`);
    for (const opened of [bus, await StateBus.open({ ...SMALL, storage, readOnly: true })]) {
      for (const tick of [horizon, horizon + 1, 85, 90]) {
        await using past = await opened.at({ tick });
        assert.equal(past.digest(), digests[tick], `tick ${tick}`);
        assert.deepEqual([...opened.pageAt(page.id, { tick }).bytes], bytes[tick]);
      }
      for (const tick of [0, 1, horizon - 1]) {
        await assert.rejects(opened.at({ tick }), (error: Error & { code: string }) => {
          assert.equal(error.code, "out-of-bounds");
          assert.match(error.message, new RegExp(`before tick ${horizon} are gone`));
          return true;
        });
      }
      await assert.rejects(opened.at({ time: 0 }), { code: "out-of-bounds" });
      const history = opened.history(page.id, { lifetime: true });
      assert.equal(history.horizon, horizon);
      const found = await Array.fromAsync(history);
      const deltas = found.filter(({ kind }) => kind !== "image" && kind !== "create");
      const later = (entries: HistoryEntry[]) => entries.filter(({ tick }) => tick > horizon);
      const part = how === "dropped" ? whole.filter(({ tick }) => tick > horizon) : later(whole);
      assert.deepEqual(later(deltas), part);
      assert.deepEqual(
        await Array.fromAsync(opened.history(page.id, { lifetime: true, reverse: true })),
        found.toReversed(),
      );
      if (how === "dropped") {
        const [image] = found;
        assert.deepEqual([image.kind, image.tick], ["image", horizon]);
        assert.deepEqual([...image.after], bytes[horizon]);
        assert.equal(deltas.length, 2 * (90 - horizon));
      } else {
        const scanned = scanHistory(storage, readMeta(storage), page.id, 90);
        assert.deepEqual(deltas, scanned);
        assert(deltas.some(({ advance }) => advance > 1));
        assert.equal(deltas.reduce((sum, { advance }) => sum + advance, 0), 180);
      }
      const young = await Array.fromAsync(opened.history(opened.find("young")!));
      assert.equal(young.at(-1)!.after[0], 90);
      if (opened !== bus) await opened.close();
    }
    const follower = bus.follow({ fromTick: horizon + 1, page: page.id });
    assert.equal((await follower.next()).value!.tick, horizon + 1);
    await follower.return();
    if (how === "dropped") {
      assert.throws(() => bus.follow({ fromTick: 1 }), { code: "out-of-bounds" });
    }
    await bus.close();
  });
}

Deno.test("the past of a log that is damaged in the middle: what is whole is given, the rest is named", async () => {
  const storage = new MemoryStorage();
  const { bus, digests, page } = await lived(storage, {});
  await Array.fromAsync(bus.history(page));
  await bus.close();
  const image = storage.image(), path = "lane-00/0000000005.log";
  for (const how of ["flipped", "missing"] as const) {
    for (const indexed of [true, false]) {
      const copy = new Map([...image].map(([name, bytes]) => [name, bytes.slice()]));
      if (!indexed) {
        for (const name of copy.keys()) if (name.endsWith(".idx")) copy.delete(name);
      }
      if (how === "missing") copy.delete(path);
      else copy.get(path)![1000] ^= 8;
      const damaged = new MemoryStorage({ image: copy });
      // As a writer sees it that opened from a checkpoint behind the damage.
      const reader = await StateBus.open({ ...SMALL, storage: damaged, readOnly: true });
      assert.equal(reader.opened.state, "damaged");
      const last = reader.tickNumber;
      assert(last > 10 && last < 80);
      const found = await Array.fromAsync(reader.history(page.id));
      assert.deepEqual(found.at(-1)!.tick, last, `${how}, ${indexed}`);
      await using past = await reader.at({ tick: last - 3 });
      assert.equal(past.digest(), digests[last - 3]);
      const follower = reader.follow({ fromTick: last - 1, pollMs: 1 });
      const seen: number[] = [];
      await assert.rejects(async () => {
        for await (const { tick } of follower) seen.push(tick);
      }, (error: Error & { code: string; values: Record<string, unknown> }) => {
        assert.deepEqual([error.code, error.values.path, error.values.tick], [
          "corrupt-log",
          path,
          last + 1,
        ]);
        return true;
      });
      assert.deepEqual([...new Set(seen)], [last - 1, last]);
      await assert.rejects(reader.refresh(), { code: "corrupt-log" });
      assert.equal(reader.tickNumber, last);
      await reader.close();
    }
  }
});

Deno.test("history() of a bus under whose feet a segment is damaged names file, byte, tick and page", async () => {
  const storage = new MemoryStorage();
  let { bus, page } = await lived(storage, {});
  const path = "lane-00/0000000005.log";
  for (const indexed of [false, true]) {
    // First in a frame's header, then in a body.
    const file = storage.open(path, "write"), byte = new Uint8Array(1), at = indexed ? 1180 : 1000;
    file.read(byte, at);
    file.write(Uint8Array.of(byte[0] ^ 4), at);
    const seen: number[] = [];
    await assert.rejects(async () => {
      for await (const { tick } of bus.history(page)) seen.push(tick);
    }, (error: Error & { code: string; values: Record<string, unknown> }) => {
      assert.equal(error.code, "corrupt-log");
      assert.deepEqual([error.values.path, error.values.page], [path, page.id]);
      assert.equal(error.values.tick, seen.at(-1)! + 1);
      assert(Number(error.values.offset) <= at && Number(error.values.offset) > 0);
      return true;
    });
    assert(seen.length > 20 && seen.length < 170, `${seen.length}`);
    if (!indexed) await assert.rejects(bus.at({ tick: 88 }), { code: "corrupt-log" });
    file.write(byte, at);
    file.close();
    if (indexed) break;
    // Restored, and indexed, but forgotten: the next flip is found when the frame is read.
    assert.equal((await Array.fromAsync(bus.history(page))).length, 180);
    await bus.close();
    ({ bus, page } = await reopened(storage));
  }
  await bus.close();
});
