import assert from "node:assert/strict";
import { MmsbError } from "../base/mod.ts";
import { MemoryStorage, type StorageFile } from "../log/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { DURABILITIES, StateBus, type TickReport } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 22 };

function batchOf(page: number, ...bytes: number[]): DeltaBatch {
  const batch = new DeltaBatch({ rows: 8, payloadBytes: 4096 });
  batch.push(page, 0, Uint8Array.from(bytes));
  return batch;
}

/** Notes in which order promises settle. */
function noteOrder(notes: string[], promises: Readonly<Record<string, Promise<unknown>>>): void {
  for (const [name, promise] of Object.entries(promises)) {
    promise.then(() => notes.push(name), (error) => notes.push(`${name}: ${error.code}`));
  }
}

/** Lets everything run that can run. */
async function turn(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
}

/** A store whose background work waits until the test lets it go. */
class HeldStorage extends MemoryStorage {
  readonly syncs: PromiseWithResolvers<void>[] = [];
  readonly allocations: PromiseWithResolvers<void>[] = [];
  /** Whether no file can be made. */
  broken = false;
  holdsSyncs = true;
  holdsAllocations = true;

  override open(path: string, mode: "read" | "write" | "create"): StorageFile {
    const file = super.open(path, mode);
    file.syncAsync = () => this.holdsSyncs ? hold(this.syncs) : Promise.resolve();
    return file;
  }

  override async allocate(path: string, size: number): Promise<void> {
    if (this.holdsAllocations) await hold(this.allocations);
    this.allocateNow(path, size);
  }

  override allocateNow(path: string, size: number): void {
    if (this.broken) throw new MmsbError("io", "Cannot allocate: a test says so");
    super.allocateNow(path, size);
  }
}

function hold(list: PromiseWithResolvers<void>[]): Promise<void> {
  const held = Promise.withResolvers<void>();
  list.push(held);
  return held.promise;
}

Deno.test("StateBus.submit() gives a receipt that settles with the tick, at the bus's durability", async () => {
  for (const durability of DURABILITIES) {
    await using bus = await StateBus.open({ ...SMALL, durability, storage: new MemoryStorage() });
    const page = bus.createPage({ size: 8 });
    const first = bus.submit(batchOf(page.id, 1)), second = bus.submit(batchOf(page.id, 2, 3));
    const other = bus.submit(batchOf(page.id, 9), { producer: 2 ** 32 - 1 });
    await turn();
    assert.equal(bus.stats().queued, 3, "nothing settles before a tick");
    const report = await bus.tick();
    const about = { tick: 1, durability, rows: 1 };
    assert.deepEqual(await first, { ...about, producer: 1, sequence: 1 });
    assert.deepEqual(await second, { ...about, producer: 1, sequence: 2 });
    assert.deepEqual(await other, { ...about, producer: 2 ** 32 - 1, sequence: 1 });
    assert.deepEqual(await report.durable, { tick: 1, durability });
    assert.deepEqual([...page.read(0, 2)], [9, 3]);
    assert.deepEqual(
      [report.rows, report.batches, report.refused.length, report.carriedOver],
      [3, 3, 0, 0],
    );
  }
});

Deno.test("StateBus.submit() gives a receipt that rejects with the refusal, which nobody need await", async () => {
  const unhandled: unknown[] = [];
  const note = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    unhandled.push(event.reason);
  };
  globalThis.addEventListener("unhandledrejection", note);
  try {
    await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
    const page = bus.createPage({ size: 2 });
    bus.submit(batchOf(99, 1));
    bus.submit(batchOf(page.id, 1, 2, 3));
    const report = await bus.tick();
    await turn();
    assert.deepEqual(unhandled, []);
    assert.deepEqual(
      report.refused.map(({ error, ...rest }) => ({ ...rest, code: error.code })),
      [
        { producer: 1, sequence: 1, code: "invalid-handle" },
        { producer: 1, sequence: 2, code: "out-of-bounds" },
      ],
    );
    bus.submit(batchOf(page.id, 1));
    await bus.close();
    await turn();
    assert.deepEqual(unhandled, [], "refused by close");
    const storage = new HeldStorage();
    await using failing = await StateBus.open({ ...SMALL, storage });
    failing.createPage({ size: 2 });
    await failing.tick();
    storage.syncs[0].reject(new MmsbError("io", "Cannot sync: a test says so"));
    await turn();
    assert.equal(failing.readOnly, true);
    assert.deepEqual(unhandled, [], "an acknowledgement that nobody awaits");
  } finally {
    globalThis.removeEventListener("unhandledrejection", note);
  }
});

Deno.test("StateBus.submit() keeps the batch until it is taken or refused, then it is the caller's", async () => {
  for (const durability of DURABILITIES) {
    await using bus = await StateBus.open({ ...SMALL, durability, storage: new MemoryStorage() });
    const page = bus.createPage({ size: 8 });
    const good = batchOf(page.id, 1), bad = batchOf(99, 1);
    for (let round = 1; round <= 3; round++) {
      const receipts = Promise.allSettled([bus.submit(good), bus.submit(bad)]);
      for (const batch of [good, bad]) {
        assert.throws(() => batch.clear(), { code: "usage" });
        assert.throws(() => batch.setLength(0, 0), { code: "usage" });
        assert.throws(() => batch.push(1, 0, Uint8Array.of(1)), { code: "usage" });
        assert.throws(() => batch.source("new"), { code: "usage" });
        assert.throws(() => bus.submit(batch), { code: "usage" });
      }
      await bus.tick();
      assert.deepEqual((await receipts).map(({ status }) => status), ["fulfilled", "rejected"]);
      good.clear();
      good.push(page.id, 0, Uint8Array.of(round));
      bad.push(page.id, 0, Uint8Array.of(1));
    }
    assert.equal(page.epoch, 3);
  }
});

Deno.test("StateBus.tick() says where the time went, and by how much it was over its budget", async () => {
  for (const tickBudgetMs of [0, 3_600_000]) {
    await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage(), tickBudgetMs });
    const page = bus.createPage({ size: 2 ** 20 });
    page.write(0, new Uint8Array(2 ** 20).fill(1));
    const { phasesMs, overBudgetMs } = await bus.tick();
    const { maintain, ...own } = phasesMs, phases = Object.values(own);
    assert.deepEqual([phases.length, maintain], [6, 0]);
    assert(phases.every((ms) => ms >= 0 && ms < 10_000), phases.join());
    const sum = phases.reduce((sum, ms) => sum + ms, 0);
    assert(sum > 0);
    if (tickBudgetMs === 0) assert(Math.abs(overBudgetMs - sum) < 1e-6, `${overBudgetMs} ${sum}`);
    else assert.equal(overBudgetMs, 0);
  }
});

Deno.test("StateBus.tick() waits for the disk where more than 64 MiB are not durable", async () => {
  const storage = new HeldStorage();
  const bus = await StateBus.open({ ...SMALL, memoryLimitBytes: 2 ** 25, storage });
  const page = bus.createPage({ size: 2 ** 24 });
  const batch = new DeltaBatch({ rows: 1, payloadBytes: 2 ** 24 });
  batch.push(page.id, 0, new Uint8Array(2 ** 24).fill(7));
  storage.holdsAllocations = false;
  for (let i = 0; i < 4; i++) {
    bus.submit(batch);
    await bus.tick();
  }
  assert(bus.stats().unsyncedBytes > 2 ** 26);
  const receipt = bus.submit(batch);
  let done = false;
  const ticking = bus.tick().then(() => done = true);
  await turn();
  assert.deepEqual([done, page.epoch], [false, 4]);
  storage.holdsSyncs = false;
  for (const sync of storage.syncs) sync.resolve();
  await ticking;
  assert.equal(page.epoch, 5);
  assert.equal((await receipt).tick, 5);
  await bus.close();
});

Deno.test("StateBus.tick() of nothing is no tick", async () => {
  for (const storage of [undefined, new MemoryStorage()]) {
    await using bus = await StateBus.open({ ...SMALL, storage });
    for (let i = 0; i < 2; i++) {
      const { tick, rows, batches, refused, durable } = await bus.tick();
      assert.deepEqual({ tick, rows, batches, refused }, {
        tick: 0,
        rows: 0,
        batches: 0,
        refused: [],
      });
      assert.equal((await durable).tick, 0);
    }
    bus.submit(batchOf(7, 1));
    assert.equal((await bus.tick()).tick, 0, "a tick in which all is refused is none either");
    assert.equal(bus.stats().logBytes, 0);
    await assert.doesNotReject(bus.commit());
  }
});

Deno.test("StateBus.tick() called many times at once ticks in order of the calls", async () => {
  for (const storage of [undefined, new MemoryStorage()]) {
    await using bus = await StateBus.open({ ...SMALL, storage, segmentBytesMax: 4096 });
    const page = bus.createPage({ size: 2048 });
    const reports: Promise<TickReport>[] = [];
    for (let i = 1; i <= 20; i++) {
      page.write(0, new Uint8Array(1500).fill(i), { intent: String(i) });
      reports.push(bus.tick());
    }
    const ticks = (await Promise.all(reports)).map(({ tick }) => tick);
    assert.deepEqual(ticks, ticks.toSorted((a, b) => a - b));
    assert.equal((await Promise.all(reports)).reduce((sum, { rows }) => sum + rows, 0), 20);
    assert.deepEqual(page.read(0, 2), Uint8Array.of(20, 20));
    assert.equal((await bus.verify()).ok, true);
    if (storage === undefined) continue;
    const history = await Array.fromAsync(bus.history(page));
    assert.deepEqual(history.map(({ intent }) => intent), ticks.map((_, i) => String(i + 1)));
  }
});

Deno.test("StateBus.tick() waits for room in the log, and later ones wait behind it", async () => {
  const storage = new HeldStorage();
  const bus = await StateBus.open({
    ...SMALL,
    storage,
    durability: "memory",
    segmentBytesMax: 4096,
  });
  const page = bus.createPage({ size: 4096 });
  const write = (value: number) => page.write(0, new Uint8Array(3000).fill(value));
  const notes: string[] = [];
  write(1);
  await bus.tick();
  write(2);
  const second = bus.tick();
  page.write(4095, Uint8Array.of(22));
  const third = bus.tick();
  noteOrder(notes, { second, third });
  await turn();
  assert.equal(bus.tickNumber, 1);
  assert.equal(page.read(0, 1)[0], 1, "reads show the last tick");
  const receipt = bus.submit(batchOf(page.id, 33));
  storage.allocations[0].resolve();
  assert.deepEqual((await second).rows, 3, "a waiting tick takes what comes until it runs");
  assert.equal((await receipt).tick, 2);
  assert.deepEqual([(await third).tick, (await third).rows], [2, 0]);
  assert.deepEqual(notes, ["second", "third"]);
  assert.deepEqual([page.read(0, 1)[0], page.read(4095)[0]], [33, 22]);
  assert.equal((await bus.verify()).ok, true);

  write(4);
  const fourth = bus.tick();
  const late = bus.submit(batchOf(page.id, 44));
  const closing = bus.close();
  storage.allocations[1].resolve();
  await assert.rejects(fourth, { code: "closed" });
  await assert.rejects(late, { code: "closed" });
  await closing;
  await using again = await StateBus.open({ ...SMALL, storage });
  assert.equal(again.page(page.id).read(0, 1)[0], 33);
});

Deno.test("StateBus.tick() makes its own segment where preparing one failed", async () => {
  const storage = new HeldStorage();
  await using bus = await StateBus.open({
    ...SMALL,
    storage,
    durability: "buffered",
    segmentBytesMax: 4096,
  });
  const page = bus.createPage({ size: 4096 });
  await bus.commit(() => page.write(0, new Uint8Array(3000).fill(1)));
  page.write(0, new Uint8Array(3000).fill(2));
  const waiting = bus.tick();
  storage.allocations[0].reject(new MmsbError("disk-full", "Cannot allocate: a test says so"));
  assert.equal((await waiting).tick, 2);
  assert.equal((await bus.verify()).ok, true);
  for (const held of storage.allocations) held.resolve();
});

Deno.test("StateBus.tick() is refused where the log gets no room, and the next one may get it", async () => {
  const storage = new HeldStorage();
  await using bus = await StateBus.open({
    ...SMALL,
    storage,
    durability: "buffered",
    segmentBytesMax: 4096,
  });
  const page = bus.createPage({ size: 4096 });
  await bus.commit(() => page.write(0, new Uint8Array(3000).fill(1)));
  storage.broken = true;
  for (const waits of [true, false]) {
    page.write(0, new Uint8Array(3000).fill(2));
    const born = bus.createPage({ size: 8, name: "born" });
    const ticking = bus.tick(), receipt = bus.submit(batchOf(page.id, 3));
    if (waits) {
      storage.allocations[0].reject(new MmsbError("io", "Cannot allocate: a test says so"));
    }
    await assert.rejects(ticking, { code: "io" });
    await assert.rejects(receipt, { code: "io" });
    assert.equal(born.state, "deleted");
    assert.deepEqual([bus.stats().staged, bus.stats().queued, bus.readOnly], [0, 0, false]);
    assert.deepEqual([page.read(0, 1)[0], page.epoch], [1, 1]);
  }
  storage.broken = false;
  await bus.commit(() => page.write(0, new Uint8Array(3000).fill(4)));
  assert.equal(page.read(0, 1)[0], 4);
  assert.equal((await bus.verify()).ok, true);
  for (const held of storage.allocations) held.resolve();
});

Deno.test("StateBus in group mode ticks on while a sync is under way, and acknowledges in order", async () => {
  const storage = new HeldStorage();
  const bus = await StateBus.open({ ...SMALL, storage, durability: "group" });
  const page = bus.createPage({ size: 8 });
  const notes: string[] = [];
  const tick = async (number: number) => {
    const receipt = bus.submit(batchOf(page.id, number));
    const report = await bus.tick();
    assert.equal(page.read(0, 1)[0], number, "applied at once");
    assert.equal(report.tick, number);
    noteOrder(notes, { [`receipt ${number}`]: receipt, [`tick ${number}`]: report.durable });
  };
  for (const number of [1, 2, 3]) await tick(number);
  await turn();
  assert.equal(notes.length, 0, "nothing is durable yet");
  assert.equal(storage.syncs.length, 1);
  assert(bus.stats().unsyncedBytes === bus.stats().logBytes);
  storage.syncs[0].resolve();
  await turn();
  assert.deepEqual(notes.toSorted(), ["receipt 1", "tick 1"]);
  assert.equal(storage.syncs.length, 2);
  await tick(4);
  storage.syncs[1].resolve();
  await turn();
  assert.equal(notes.length, 6, "one sync serves all ticks before it");
  storage.syncs[2].resolve();
  await turn();
  const order = (kind: string) => notes.filter((note) => note.startsWith(kind));
  assert.deepEqual(order("tick"), ["tick 1", "tick 2", "tick 3", "tick 4"]);
  assert.deepEqual(order("receipt"), ["receipt 1", "receipt 2", "receipt 3", "receipt 4"]);
  assert.equal(bus.stats().unsyncedBytes, 0);
  assert.equal(storage.syncs.length, 3, "a sync for each tick would be four");
  await bus.close();
});

Deno.test("StateBus.commit() in group mode waits until the tick is durable", async () => {
  const storage = new HeldStorage();
  const bus = await StateBus.open({ ...SMALL, storage });
  const page = bus.createPage({ size: 8 });
  let done = false;
  const committed = bus.commit(() => page.write(0, Uint8Array.of(1))).then(() => done = true);
  await turn();
  assert.deepEqual([done, page.read(0, 1)[0]], [false, 1]);
  storage.syncs[0].resolve();
  await committed;
  await bus.close();
});

Deno.test("StateBus.commit() takes back all of a callback that throws, and nothing else", async () => {
  {
    await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
    const page = bus.createPage({ size: 8, name: "page", metadata: { a: Uint8Array.of(1) } });
    const other = bus.createPage({ size: 8 });
    await bus.tick();
    page.write(0, Uint8Array.of(1), { expectedEpoch: 0, timeUs: 5 });
    page.setMetadata({ a: Uint8Array.of(2) });
    const before = bus.stats();
    const reason = new Error("no");
    await assert.rejects(
      bus.commit(() => {
        const born = bus.createPage({ size: 8, name: "born" });
        born.write(0, Uint8Array.of(1));
        page.write(0, Uint8Array.of(9), { expectedEpoch: 99 });
        page.setMetadata({ a: Uint8Array.of(3), b: Uint8Array.of(4) });
        page.delete();
        other.delete();
        throw reason;
      }),
      (error) => error === reason,
    );
    assert.equal(bus.stats().staged, before.staged);
    assert.equal(bus.stats().pages, 2);
    assert.equal(bus.find("born"), undefined);
    page.write(1, Uint8Array.of(2));
    await bus.commit();
    assert.deepEqual([...page.read(0, 2)], [1, 2]);
    assert.deepEqual([...page.metadata], [["a", Uint8Array.of(2)]]);
    assert.equal(other.state, "active");
    assert.equal(bus.tickNumber, 2);
    assert.equal((await bus.verify()).ok, true);
    const times = (await Array.fromAsync(bus.history(page))).map(({ timeUs }) => timeUs);
    assert.deepEqual(times, [5, undefined]);
  }
});

Deno.test("StateBus.commit() that throws after a tick came between takes back what is left", async () => {
  await using bus = await StateBus.open(SMALL);
  const page = bus.createPage({ size: 8 });
  page.write(0, Uint8Array.of(1));
  page.write(1, Uint8Array.of(2));
  await assert.rejects(bus.commit(() => {
    page.write(2, Uint8Array.of(3));
    void bus.tick();
    page.write(3, Uint8Array.of(4));
    bus.createPage({ size: 8, name: "born" });
    page.setMetadata({ a: Uint8Array.of(1) });
    page.delete();
    throw new Error("no");
  }));
  assert.equal(bus.stats().staged, 0);
  assert.equal(bus.stats().pages, 1);
  assert.equal((await bus.tick()).tick, 1);
  assert.deepEqual([...page.read(0, 4)], [1, 2, 3, 0]);
});

Deno.test("StateBus.commit() refuses an asynchronous stage and takes its writes back", async () => {
  await using bus = await StateBus.open(SMALL);
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  const stage = async () => {
    page.write(0, Uint8Array.of(1));
    await turn();
    throw new Error("nobody waits for this");
  };
  await assert.rejects(bus.commit(stage as () => void), { code: "usage" });
  assert.equal(bus.stats().staged, 0);
  await turn();
  await bus.commit();
  assert.equal(page.read(0, 1)[0], 0);
});

Deno.test("StateBus.commit() called many times at once acknowledges just what it made real", async () => {
  for (const held of [false, true]) {
    const storage = held ? new HeldStorage() : new MemoryStorage();
    if (storage instanceof HeldStorage) storage.holdsSyncs = false;
    await using bus = await StateBus.open({ ...SMALL, storage, segmentBytesMax: 4096 });
    const pages = Array.from({ length: 6 }, () => bus.createPage({ size: 4096 }));
    pages[0].write(0, new Uint8Array(3000));
    await bus.tick();
    const outcomes = Promise.allSettled(pages.map((page, index) =>
      bus.commit(() => {
        page.write(0, new Uint8Array(2000).fill(7), { expectedEpoch: index % 2 ? 99 : undefined });
      })
    ));
    if (storage instanceof HeldStorage) {
      await releaseAll(storage, outcomes);
      storage.holdsAllocations = false;
      for (const { resolve } of storage.allocations) resolve();
    }
    const statuses = (await outcomes).map(({ status }) => status);
    assert.deepEqual(statuses, pages.map((_, index) => index % 2 ? "rejected" : "fulfilled"));
    assert.deepEqual(pages.map((page) => page.read(0, 1)[0]), [7, 0, 7, 0, 7, 0]);
    assert.equal((await bus.verify()).ok, true);
  }
});

Deno.test("StateBus.tick() that waited tells of rows that an earlier tick took and refused", async () => {
  const storage = new HeldStorage();
  const bus = await StateBus.open({ ...SMALL, storage, segmentBytesMax: 4096 });
  const page = bus.createPage({ size: 4096 });
  page.write(0, new Uint8Array(3000));
  await bus.tick();
  page.write(0, new Uint8Array(3000).fill(1), { expectedEpoch: 99 });
  const first = bus.tick();
  page.write(4000, Uint8Array.of(2));
  const second = bus.tick();
  const outcomes = Promise.allSettled([first, second]);
  await releaseAll(storage, outcomes);
  for (const { status } of await outcomes) assert.equal(status, "rejected");
  assert.deepEqual([page.epoch, page.read(4000, 1)[0]], [1, 0]);
  await releaseAll(storage, bus.close());
});

Deno.test("StateBus refuses to be written from inside a tick, by its clock", async () => {
  let inside: (() => void) | undefined;
  const caught: unknown[] = [];
  const clock = {
    nowUs: () => {
      try {
        inside?.();
      } catch (error) {
        caught.push((error as { code: string }).code);
      }
      return 1;
    },
    errorUs: () => 1,
  };
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage(), clock });
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  inside = () => page.write(1, Uint8Array.of(9));
  await bus.commit(() => page.write(0, Uint8Array.of(1)));
  inside = () => void bus.createPage();
  await bus.commit(() => page.write(0, Uint8Array.of(2)));
  inside = undefined;
  assert.deepEqual([...new Set(caught)], ["usage"]);
  assert.deepEqual([page.epoch, ...page.read(0, 2)], [2, 2, 0]);
  assert.equal((await bus.verify()).ok, true);
});

/** Lets every held allocation go until a promise has settled. */
async function releaseAll(storage: HeldStorage, settled: Promise<unknown>): Promise<void> {
  let done = false;
  settled.finally(() => done = true);
  while (!done) {
    for (const { resolve } of [...storage.allocations, ...storage.syncs]) resolve();
    await turn();
  }
}
