import assert from "node:assert/strict";
import type { MmsbError } from "../base/mod.ts";
import { FaultyStorage } from "../log/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { assertRefused, isRefusal, seen } from "./_seen_test.ts";
import { type BatchReceipt, type Page, StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 22, segmentBytesMax: 65_536 };

function batchOf(page: number, ...bytes: number[]): DeltaBatch {
  const batch = new DeltaBatch({ rows: 8, payloadBytes: 128 });
  batch.push(page, 0, Uint8Array.from(bytes));
  return batch;
}

interface Scene {
  readonly storage: FaultyStorage;
  readonly bus: StateBus;
  /** A page with the byte 1, acknowledged. */
  readonly page: Page;
}

async function scene(durability: "group" | "always"): Promise<Scene> {
  const storage = new FaultyStorage({ seed: 5 });
  const bus = await StateBus.open({ ...SMALL, storage, durability });
  const page = bus.createPage({ size: 8, name: "page", metadata: { a: Uint8Array.of(1) } });
  await bus.commit(() => page.write(0, Uint8Array.of(1)));
  return { storage, bus, page };
}

/** A bus whose log failed: it refuses to write, says so, and reads on. */
async function assertReadOnly({ bus, page }: Scene): Promise<void> {
  assert.equal(bus.readOnly, true);
  const bytes = Uint8Array.of(1), batch = batchOf(page.id, 1);
  for (
    const write of [
      () => bus.createPage(),
      () => bus.submit(batch),
      () => bus.tick(),
      () => bus.commit(),
      () => page.write(0, bytes),
      () => page.writeMasked(0, 1, bytes, bytes),
      () => page.combine("i32", "add", 0, 1),
      () => page.setMetadata({}),
      () => page.delete(),
    ]
  ) await assertRefused(bus, "read-only", write);
  assert.equal(bus.find("page")?.read().length, 8);
  assert((await Array.fromAsync(bus.history(page))).length > 0);
  assert.equal((await bus.verify()).tick, bus.tickNumber);
}

/** Opens what is there and finds at least what was acknowledged. */
async function assertRecovers({ storage }: Scene, values: readonly number[]): Promise<void> {
  for (const left of [storage, storage.crash({ keep: "none" }), storage.crash()]) {
    const bus = await StateBus.open({ ...SMALL, storage: left });
    const page = bus.find("page")!;
    assert(values.includes(page.read(0, 1)[0]), `found ${page.read(0, 1)[0]}`);
    await bus.commit(() => page.write(1, Uint8Array.of(77)));
    assert.equal((await bus.verify()).ok, true);
    // What is acknowledged now must not stand on bytes that the failure left undecided.
    const lost = left === storage ? [storage.crash({ keep: "none" }), storage.crash()] : [];
    await bus.close();
    for (const one of [left, ...lost]) {
      const again = await StateBus.open({ ...SMALL, storage: one });
      assert.equal(again.find("page")?.read(1, 1)[0], 77);
      await again.close();
    }
  }
}

Deno.test("StateBus turns read-only where a group's sync fails, and all that waits is refused", async () => {
  const set = await scene("group");
  const { storage, bus, page } = set;
  storage.failSyncs({ after: 0 });
  page.write(0, Uint8Array.of(2));
  const taken = bus.submit(batchOf(page.id, 3));
  const report = await bus.tick();
  page.write(0, Uint8Array.of(4));
  const next = await bus.tick();
  const queued = bus.submit(batchOf(page.id, 5));
  const born = bus.createPage({ size: 8, name: "born" });
  for (const promise of [report.durable, taken, next.durable]) {
    await assert.rejects(promise, (error) => isRefusal(error, "io", "unsynced"));
  }
  await assert.rejects(queued, (error) => isRefusal(error, "read-only", "queued"));
  assert.equal(born.state, "deleted");
  assert.equal(bus.stats().staged, 0);
  assert.equal(page.read(0, 1)[0], 4, "what was applied is still read");
  await assertReadOnly(set);
  await bus.close();
  await assertRecovers(set, [1, 3, 4]);
});

Deno.test("StateBus turns read-only where its own sync fails under always", async () => {
  const set = await scene("always");
  const { storage, bus, page } = set;
  storage.failSyncs({ after: 0, times: Infinity });
  page.write(0, Uint8Array.of(2));
  const receipt = bus.submit(batchOf(page.id, 3));
  await assert.rejects(bus.tick(), (error) => isRefusal(error, "io", "tick"));
  await assert.rejects(receipt, (error) => isRefusal(error, "io", "receipt"));
  await assertReadOnly(set);
  await bus.close();
  storage.failSyncs({ after: Infinity });
  await assertRecovers(set, [1, 3]);
});

Deno.test("StateBus refuses the ticks that wait behind a failed sync", async () => {
  const storage = new FaultyStorage();
  await using bus = await StateBus.open({
    ...SMALL,
    storage,
    durability: "group",
    segmentBytesMax: 4096,
  });
  const page = bus.createPage({ size: 4096 });
  storage.failSyncs({ after: 0, times: Infinity });
  const outcomes: Promise<unknown>[] = [];
  for (let i = 0; i < 5; i++) {
    page.write(0, new Uint8Array(3000).fill(i));
    outcomes.push(bus.tick().then((report) => report.durable));
  }
  for (const outcome of await Promise.allSettled(outcomes)) {
    assert(outcome.status === "rejected");
    assert(["io", "read-only"].includes(outcome.reason.code), outcome.reason.stack);
  }
  assert.equal(bus.stats().staged, 0);
});

Deno.test("StateBus.tick() that cannot be written never was, and the next one can be", async () => {
  for (const prefix of [0, 1, 100, 500]) {
    const set = await scene("always");
    const { storage, bus, page } = set;
    const doomed = bus.createPage({ size: 8, name: "doomed" });
    await bus.tick();
    const before = seen(bus);
    storage.failWrites({ after: 0, prefix });
    const born = bus.createPage({ size: 16, name: "born" });
    born.write(0, Uint8Array.of(1));
    page.write(0, Uint8Array.of(2), { source: "feed" });
    page.setMetadata({ a: Uint8Array.of(2) });
    doomed.delete();
    const batch = batchOf(page.id, 3), bad = batchOf(99, 3);
    const receipts = [bus.submit(batch), bus.submit(batchOf(born.id, 4), { producer: 2 })];
    const refused = bus.submit(bad);
    await assert.rejects(bus.tick(), (error) => isRefusal(error, "io", "tick"));
    for (const receipt of receipts) {
      await assert.rejects(receipt, (error) => isRefusal(error, "io", "receipt"));
    }
    await assert.rejects(refused, { code: "invalid-handle" });
    assert.deepEqual(withoutCounts(seen(bus)), withoutCounts(before));
    assert.equal(bus.stats().staged + bus.stats().queued, 0);
    assert.equal(born.state, "deleted");

    const again = bus.createPage({ size: 16, name: "born" });
    again.write(15, Uint8Array.of(9));
    const receipt = bus.submit(batch);
    assert.equal((await bus.tick()).tick, 3);
    assert.equal((await receipt).tick, 3);
    assert.deepEqual([page.epoch, page.read(0, 1)[0], again.read(15)[0]], [2, 3, 9]);
    assert.equal((await bus.verify()).ok, true);
    await bus.close();
    await assertRecovers(set, [3]);
  }
});

/** Without what a refused tick may leave: slots and rows to be used again, a mark in the log. */
function withoutCounts(state: unknown): unknown {
  const { stats, ...rest } = state as { stats: ReturnType<StateBus["stats"]> };
  const { tick, pages, pageBytes, rows, queued, staged } = stats;
  return { ...rest, tick, pages, pageBytes, rows, queued, staged, live: stats.allocator.live };
}

Deno.test("StateBus turns read-only where a failed write cannot be taken back", async () => {
  const set = await scene("group");
  const { storage, bus, page } = set;
  storage.failWrites({ after: 0, times: Infinity, prefix: 300 });
  page.write(0, Uint8Array.of(2));
  const receipt = bus.submit(batchOf(page.id, 3));
  await assert.rejects(bus.tick(), (error) => isRefusal(error, "io", "tick"));
  await assert.rejects(receipt, { code: "io" });
  assert.equal(page.read(0, 1)[0], 1);
  await assertReadOnly(set);
  storage.failWrites({ after: Infinity });
  await bus.close();
  await assertRecovers(set, [1]);
});

Deno.test("StateBus.tick() on a full disk is refused, and works again when there is room", async () => {
  const storage = new FaultyStorage();
  const options = { ...SMALL, storage, durability: "always" as const, segmentBytesMax: 16_384 };
  const bus = await StateBus.open(options);
  const page = bus.createPage({ size: 1024, name: "page" });
  await bus.tick();
  storage.fillUp({ bytesLeft: 0 });
  let written = 0, refused = 0;
  for (let i = 1; i <= 30; i++) {
    const before = withoutCounts(seen(bus));
    page.write(0, new Uint8Array(700).fill(i));
    const receipt = bus.submit(batchOf(page.id, i));
    try {
      await bus.tick();
      written = i;
    } catch (error) {
      refused++;
      isRefusal(error, "disk-full", "tick");
      await assert.rejects(receipt, (error) => isRefusal(error, "disk-full", "receipt"));
      assert.deepEqual(withoutCounts(seen(bus)), before);
    }
    assert.equal(page.read(0, 1)[0], written);
  }
  assert(written > 0 && refused > 0, `${written} ${refused}`);
  assert.equal(bus.readOnly, false);
  assert.equal((await bus.verify()).ok, true);
  storage.fillUp({ bytesLeft: Infinity });
  await bus.commit(() => page.write(0, Uint8Array.of(200)));
  await bus.close();
  const again = await StateBus.open(options);
  assert.deepEqual([...again.find("page")!.read(0, 2)], [200, written]);
  await again.close();
});

/** Opens with a fault, which may or may not be met, and then without. */
async function assertOpensAfter(fault: (storage: FaultyStorage) => void): Promise<string> {
  let outcome = "";
  for (const isNew of [true, false]) {
    const storage = new FaultyStorage();
    const options = { ...SMALL, storage, shards: 3 };
    if (!isNew) {
      const bus = await StateBus.open(options);
      const page = bus.createPage({ size: 8, name: "page" });
      await bus.commit(() => page.write(0, Uint8Array.of(1)));
      await bus.close();
    }
    fault(storage);
    let bus: StateBus | undefined;
    try {
      bus = await StateBus.open(options);
      outcome += "opened ";
    } catch (error) {
      const { code } = error as MmsbError;
      isRefusal(error, code === "disk-full" ? code : "io", "open");
      outcome += `${code} `;
    }
    storage.fillUp({ bytesLeft: Infinity });
    storage.failWrites({ after: Infinity });
    storage.failSyncs({ after: Infinity });
    await bus?.close();
    for (const left of [storage, storage.crash(), storage.crash({ keep: "none" })]) {
      await using again = await StateBus.open({ ...options, storage: left });
      const page = again.find("page") ?? again.createPage({ size: 8, name: "page" });
      assert.equal(page.state, isNew ? "allocated" : "active", outcome);
      assert.equal(page.read(0, 1)[0], isNew ? 0 : 1);
      await again.commit(() => page.write(1, Uint8Array.of(2)));
      assert.equal((await again.verify()).ok, true);
    }
  }
  return outcome;
}

Deno.test("StateBus.open() on a full disk is refused or works, and nothing is in the way later", async () => {
  const outcomes = new Set<string>();
  for (let bytesLeft = 0; bytesLeft < 500; bytesLeft += 31) {
    outcomes.add(await assertOpensAfter((storage) => storage.fillUp({ bytesLeft })));
  }
  assert(outcomes.has("disk-full disk-full "), [...outcomes].join());
});

Deno.test("StateBus.open() over failing writes and syncs is refused or works, and works later", async () => {
  const outcomes = new Set<string>();
  for (let after = 0; after < 12; after++) {
    outcomes.add(await assertOpensAfter((storage) => storage.failWrites({ after })));
    outcomes.add(await assertOpensAfter((storage) => storage.failSyncs({ after })));
  }
  assert(outcomes.has("io io ") && outcomes.has("opened opened "), [...outcomes].join());
});

Deno.test("StateBus.close() says that the last sync failed, and gives the directory free", async () => {
  const set = await scene("group");
  const { storage, bus } = set;
  storage.failSyncs({ after: 0 });
  await assert.rejects(bus.close(), (error) => isRefusal(error, "io", "close"));
  await assert.rejects(bus.close(), { code: "io" }, "the same again");
  await assertRecovers(set, [1]);
});

Deno.test("StateBus.tick() is refused where the clock has no time, and changes nothing", async () => {
  for (
    const failure of [() => 2 ** 53, () => {
      throw new Error("no clock");
    }]
  ) {
    let read: () => number = () => 1e12;
    const storage = new FaultyStorage();
    const clock = { nowUs: () => read(), errorUs: () => NaN };
    await using bus = await StateBus.open({ ...SMALL, storage, clock });
    const page = bus.createPage({ size: 8 });
    await bus.tick();
    const before = withoutCounts(seen(bus));
    read = failure;
    page.write(0, Uint8Array.of(1));
    bus.createPage({ size: 8, name: "born" });
    const receipt: Promise<BatchReceipt> = bus.submit(batchOf(page.id, 2));
    await assert.rejects(bus.tick());
    await assert.rejects(receipt);
    read = () => 1e12;
    assert.deepEqual(withoutCounts(seen(bus)), before);
    await bus.commit(() => page.write(0, Uint8Array.of(3)));
    assert.equal((await bus.verify()).ok, true);
  }
});
