import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError } from "../base/mod.ts";
import {
  auditLog,
  closedEnd,
  compactDirectory,
  exportStorage,
  FaultyStorage,
  FileStorage,
  importLog,
  laneFolder,
  type LogEnd,
  LogReader,
  MemoryStorage,
  readMeta,
  ROW_KIND,
  salvageStorage,
  type Storage,
} from "../log/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { type Step, steps, use } from "./_random_use_test.ts";
import { commands, Twin } from "./_twin_test.ts";
import { compareStores, StateBus } from "./mod.ts";
import { busAccess } from "./_inside.ts";
import { openLanes } from "./open_lanes.ts";
import type { OpenOptions } from "./options.ts";

const LANES = [1, 2, 3, 8];

/** Options of a bus whose time depends on nothing. */
function optionsOf(storage: Storage, more: Partial<OpenOptions> = {}): OpenOptions {
  let now = 1_700_000_000_000_000;
  const clock = { nowUs: () => now += 10, errorUs: () => 5 };
  return { storage, clock, segmentBytes: 2048, segmentBytesMax: 4096, shards: 16, ...more };
}

/** What a bus holds, and what can be asked of its past. */
async function seenOf(bus: StateBus) {
  const pages = await Promise.all([...bus.pages()].map(async (page) => {
    const deltas = [];
    // Times follow the lanes' order within a batch.
    for await (const { hlc: _, ...delta } of bus.history(page)) deltas.push(delta);
    return [page.id, page.name, page.epoch, page.shard, page.read(), deltas];
  }));
  return { tick: bus.tickNumber, digest: bus.digest(), pages };
}

/** Random use of a bus with a log, which is not reset. */
const used = steps.map((taken: Step[]) => taken.filter((step) => step.do !== "reset"));

Deno.test("a log of several lanes does what the model does, with other numbers of lanes in between", async () => {
  await fc.assert(
    fc.asyncProperty(
      commands,
      fc.constantFrom("buffered", "group", "always"),
      fc.infiniteStream(fc.constantFrom(...LANES)),
      async (commands, durability, lanes) => {
        const next = () => lanes.next().value!;
        const twin = await Twin.open(new MemoryStorage(), durability, {}, next);
        for (const command of commands) await twin.run(command);
        await twin.tick(() => twin.bus.tick());
        await twin.verify();
        await twin.reopen();
        await twin.verify();
        await twin.compareHistories();
        await twin.bus.close();
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("1, 2, 3 and 8 lanes: the same state, digest, history and canonical export", async () => {
  let several = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(used, { minLength: 1, maxLength: 3 }), async (lives) => {
      const seen = await Promise.all(LANES.map(async (lanes, index) => {
        const storage = new MemoryStorage();
        for (const [life, taken] of lives.entries()) {
          // The last one with another number than the first.
          const count = life === 0 ? lanes : LANES[(index + life) % LANES.length];
          const bus = await openLanes(optionsOf(storage), lanes === 1 ? 1 : count);
          await use(bus, taken);
          await bus.tick().catch((error) => assert(isMmsbError(error)));
          if (life === 1) await bus.checkpoint();
          await bus.close();
        }
        const bus = await openLanes(optionsOf(storage), lanes);
        const found = await seenOf(bus);
        assert((await bus.verify()).ok);
        await bus.close();
        assert.deepEqual(auditLog(storage).problems, []);
        const reader = new LogReader(storage, readMeta(storage));
        for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
          if (tick.lanes.length > 1) several++;
        }
        return { ...found, lines: [...exportStorage(storage, { canonical: true })] };
      }));
      for (const other of seen.slice(1)) assert.deepEqual(other, seen[0]);
    }),
    { numRuns: 30 },
  );
  assert(several > 20, `${several} ticks took part in more than one lane`);
});

Deno.test("a batch is split by shard, each lane's part with its producer and sequence", async () => {
  const storage = new MemoryStorage();
  const bus = await openLanes(optionsOf(storage), 3);
  const pages = Array.from({ length: 6 }, (_, shard) => bus.createPage({ size: 64, shard }));
  await bus.tick();
  const batch = new DeltaBatch({ rows: 12, payloadBytes: 128 });
  for (const round of [1, 2]) {
    for (const page of pages) batch.push(page.id, 8 * round, Uint8Array.of(round, page.shard));
  }
  await Promise.all([bus.submit(batch, { producer: 7 }), bus.tick()]);
  const some = new DeltaBatch({ rows: 2, payloadBytes: 16 });
  some.push(pages[4].id, 0, Uint8Array.of(1));
  await Promise.all([bus.submit(some, { producer: 7 }), bus.tick()]);
  await bus.close();
  const reader = new LogReader(storage, readMeta(storage));
  assert.deepEqual(reader.next()!.lanes.map(({ lane }) => lane), [0], "births are on lane 0");
  const tick = reader.next()!;
  assert.deepEqual(tick.lanes.map(({ lane }) => lane), [0, 1, 2]);
  const times = new Set<bigint>();
  for (const { frames, commitFrame } of tick.lanes) {
    const [{ rowKind, rows, producer, sequence, hlcFirst }] = frames;
    assert.deepEqual([rowKind, rows, producer, sequence], [ROW_KIND.data, 4, 7, 1]);
    for (let row = 0; row < rows; row++) times.add(hlcFirst + BigInt(row));
    assert(hlcFirst + BigInt(rows) <= commitFrame.hlcFirst);
  }
  assert.equal(times.size, 12, "each row has a time of its own");
  assert.deepEqual(
    reader.next()!.lanes.map(({ lane }) => lane),
    [1],
    "only lanes with rows take part",
  );
});

Deno.test("payloads that rows share are split whole", async () => {
  const storage = new MemoryStorage();
  const bus = await openLanes(optionsOf(storage), 2);
  const pages = Array.from({ length: 4 }, (_, shard) => bus.createPage({ size: 512, shard }));
  await bus.tick();
  const batch = new DeltaBatch({ rows: 64, payloadBytes: 512 });
  batch.push(pages[0].id, 0, Uint8Array.from({ length: 500 }, (_, i) => i));
  const { columns } = batch;
  for (let row = 1; row < 64; row++) {
    columns.page[row] = pages[row % 4].id;
    columns.offset[row] = 4;
    columns.length[row] = 500;
    columns.payloadStart[row] = columns.payloadStart[0];
    columns.kind[row] = columns.kind[0];
  }
  batch.setLength(64, 504);
  await Promise.all([bus.submit(batch), bus.tick()]);
  const before = bus.digest();
  await bus.close();
  const again = await openLanes(optionsOf(storage), 2);
  assert.equal(again.digest(), before);
  await again.close();
});

Deno.test("checkpoints, dropped logs and compaction over several lanes keep state and history", async () => {
  for (const log of ["keep", "drop", "archive"] as const) {
    for (const lanes of [2, 8]) {
      const storage = new MemoryStorage();
      const plain = await StateBus.open({ ...optionsOf(new MemoryStorage()), storage: undefined });
      for (let life = 0; life < 3; life++) {
        const count = life === 1 ? 3 : lanes;
        const more = { checkpoints: { everyBytes: Infinity, keep: 1, log } };
        const bus = await openLanes(optionsOf(storage, more), count);
        for (const each of [bus, plain]) await write(each, life, 24);
        const made = await bus.checkpoint();
        assert.equal(made.tick, bus.tickNumber);
        for (const each of [bus, plain]) await write(each, life, 6);
        if (log === "keep") {
          const { merged, horizon, bytes } = await bus.compact();
          assert(merged && bytes.after < bytes.before, JSON.stringify({ life, lanes, bytes }));
          assert(horizon > 0 && bus.horizon === horizon);
          await using past = await bus.at({ tick: horizon });
          assert.equal(past.tickNumber, horizon);
        } else {
          await bus.checkpoint();
          assert(bus.stats().checkpoints!.logFirst > 1);
        }
        for (const each of [bus, plain]) await write(each, life, 3);
        await using at = await bus.at({ tick: bus.tickNumber - 1 });
        assert.equal(at.tickNumber, bus.tickNumber - 1);
        await bus.close();
      }
      const bus = await openLanes(optionsOf(storage), 1);
      const stores = [bus, plain].map((each) => busAccess().inside(each).store);
      const { same, ...difference } = compareStores(stores[0], stores[1]);
      assert(same, JSON.stringify(difference));
      assert((await bus.verify()).ok);
      assert.deepEqual(auditLog(storage).problems, []);
      await bus.close();
      await plain.close();
    }
  }
});

/** Ticks over many shards. */
async function write(bus: StateBus, life: number, ticks: number): Promise<void> {
  for (let i = 0; i < ticks; i++) {
    for (let shard = 0; shard < 12; shard++) {
      const name = `page ${shard}`;
      const page = bus.find(name) ?? bus.createPage({ name, size: 256, shard });
      if ((i + shard) % 3 === 0) page.write(16 * (i % 8), new Uint8Array(100).fill(life + i));
    }
    await bus.tick();
  }
}

Deno.test("a full disk refuses the tick in every lane, and the bus goes on", async () => {
  for (let bytesLeft = 0; bytesLeft < 6000; bytesLeft += 340) {
    const storage = new FaultyStorage();
    const bus = await openLanes(optionsOf(storage, { durability: "group" }), 4);
    await write(bus, 0, 2);
    await bus.commit();
    let refused = 0;
    storage.fillUp({ bytesLeft });
    for (let i = 0; i < 30; i++) {
      const before = bus.digest(), tick = bus.tickNumber;
      try {
        await write(bus, 9, 1);
      } catch (error) {
        assert(isMmsbError(error, "disk-full"), String(error));
        assert.deepEqual([bus.digest(), bus.tickNumber], [before, tick]);
        refused++;
      }
    }
    assert(refused > 0);
    const there = bus.readOnly;
    assert.equal(there, false);
    storage.fillUp({ bytesLeft: Infinity });
    await write(bus, 3, 2);
    await bus.commit();
    const digest = bus.digest(), crash = storage.crash({ keep: "none" });
    await bus.close();
    for (const left of [crash, storage.crash({ keep: "none" })]) {
      const again = await openLanes(optionsOf(left), 2);
      assert.equal(again.digest(), digest, `${bytesLeft} bytes left`);
      await again.close();
    }
  }
});

Deno.test("what is missing of any lane refuses writing, and reads as far as it is whole", async () => {
  const storage = new MemoryStorage();
  const bus = await openLanes(optionsOf(storage), 3);
  await write(bus, 0, 30);
  await bus.close();
  for (const lane of [0, 1, 2]) {
    const names = storage.list(laneFolder(lane));
    const segments = names.filter((name) => name.endsWith(".log"));
    for (const gone of [...segments.map((name) => [name]), names]) {
      const image = storage.image();
      for (const name of gone) image.delete(`${laneFolder(lane)}/${name}`);
      const left = new MemoryStorage({ image });
      await assert.rejects(openLanes(optionsOf(left), 3), { code: "corrupt-log" });
      const reader = await StateBus.open({ ...optionsOf(left), shards: undefined, readOnly: true });
      assert.equal(reader.opened.state, "damaged");
      assert(reader.tickNumber < 30);
      await reader.close();
    }
  }
});

Deno.test("a follower of several lanes gets each tick once, when all of it is durable", async () => {
  const storage = new FaultyStorage();
  const bus = await openLanes(optionsOf(storage), 4);
  const seen: number[] = [];
  const following = (async () => {
    for await (const { tick } of bus.follow({ fromTick: 1 })) {
      if (seen.at(-1) !== tick) seen.push(tick);
    }
  })();
  await write(bus, 1, 20);
  await bus.commit();
  const last = bus.tickNumber;
  for (let i = 0; i < 100 && seen.at(-1) !== last; i++) {
    await new Promise((done) => setTimeout(done));
  }
  await bus.close();
  await following;
  assert.deepEqual(seen, Array.from({ length: last }, (_, i) => i + 1));
});

Deno.test("salvage and JSON lines of several lanes give a log of one that is right", async () => {
  const storage = new MemoryStorage();
  const bus = await openLanes(optionsOf(storage), 3);
  await write(bus, 0, 6);
  const pages = [...bus.pages()], batch = new DeltaBatch({ rows: 12, payloadBytes: 96 });
  for (const page of pages) batch.push(page.id, 0, Uint8Array.of(page.shard));
  await Promise.all([bus.submit(batch, { producer: 7 }), bus.tick()]);
  await write(bus, 1, 6);
  await bus.close();
  const canonical = (from: Storage) => [...exportStorage(from, { canonical: true })];
  const target = new MemoryStorage();
  await salvageStorage(storage, target);
  assert.deepEqual(auditLog(target).problems, []);
  assert.deepEqual(canonical(target), canonical(storage));
  const dir = await Deno.makeTempDir();
  try {
    const lines = [...exportStorage(storage)].map((line) => JSON.stringify(line) + "\n");
    await Deno.writeTextFile(`${dir}/log.jsonl`, lines.join(""));
    await importLog(`${dir}/log.jsonl`, `${dir}/data`);
    const imported = new FileStorage(`${dir}/data`);
    assert.deepEqual(auditLog(imported).problems, []);
    assert.deepEqual(canonical(imported), canonical(storage));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("closedEnd() knows where several lanes end, those without a tick among them", async () => {
  const storage = new MemoryStorage();
  const bus = await openLanes(optionsOf(storage, { shards: 2 }), 4);
  const pages = [0, 1].map((shard) => bus.createPage({ size: 8, shard }));
  await bus.tick();
  await bus.commit(() => pages.forEach((page) => page.write(0, Uint8Array.of(1))));
  await bus.close();
  for (const lanes of [2, 3, 1]) {
    const meta = readMeta(storage)!, end = closedEnd(storage, meta);
    const reader = new LogReader(storage, meta);
    while (reader.next() !== undefined);
    const places = (of: LogEnd | undefined) =>
      of?.lanes.map(({ lane, number, position }) => [lane, number, position])
        .sort(([a], [b]) => a - b);
    assert.deepEqual(places(end), places(reader.end()));
    const again = await openLanes(optionsOf(storage, { shards: 2 }), lanes);
    await again.commit(() => again.page(pages[1].id).write(0, Uint8Array.of(lanes)));
    await again.close();
  }
});

Deno.test("a compaction of several lanes that is cut off leaves the old log or the new one", async () => {
  const written = new MemoryStorage();
  const bus = await openLanes(optionsOf(written), 3);
  await write(bus, 0, 60);
  const digest = bus.digest();
  await bus.close();
  const outcomes = new Set<number>();
  for (let after = 0;; after += 1) {
    const storage = new FaultyStorage({ image: written.image() });
    storage.stop({ after });
    const isDone = await compactDirectory(storage, { beforeTick: 50 }).then(
      () => true,
      () => false,
    );
    for (const keep of ["none", "all", "some"] as const) {
      const left = storage.crash({ keep, seed: after });
      const reader = await StateBus.open({ storage: left, readOnly: true });
      assert.deepEqual([reader.digest(), reader.opened.state], [digest, "whole"], `step ${after}`);
      await reader.close();
      const again = await openLanes(optionsOf(left), 2);
      assert.equal(again.digest(), digest, `step ${after}`);
      outcomes.add(again.horizon);
      await again.commit(() => again.find("page 0")!.write(0, Uint8Array.of(1)));
      await again.close();
      assert.deepEqual(auditLog(left).problems, [], `step ${after}, ${keep}`);
    }
    if (isDone) break;
  }
  assert.deepEqual([...outcomes].sort((a, b) => a - b), [0, 49]);
});
