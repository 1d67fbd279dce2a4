import assert from "node:assert/strict";
import { MemoryStorage } from "../log/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { StateBus } from "./state_bus.ts";
import type { AttachedResult, AttachedTask } from "./testdata/attached_worker.ts";

const SMALL = { memoryLimitBytes: 1 << 24 };

/** A thread that is attached to a bus. */
class Attached {
  readonly #worker = new Worker(new URL("./testdata/attached_worker.ts", import.meta.url), {
    type: "module",
  });
  readonly stop = new Int32Array(new SharedArrayBuffer(4));
  readonly ready: Promise<void>;
  readonly result: Promise<AttachedResult>;

  constructor(task: Omit<AttachedTask, "stop">) {
    const ready = Promise.withResolvers<void>(), result = Promise.withResolvers<AttachedResult>();
    this.ready = ready.promise;
    this.result = result.promise;
    this.#worker.onmessage = ({ data }: MessageEvent<AttachedResult | "ready">) => {
      if (data === "ready") return ready.resolve();
      this.#worker.terminate();
      result.resolve(data);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      result.reject(new Error(event.message));
    };
    this.#worker.postMessage({ ...task, stop: this.stop.buffer as SharedArrayBuffer });
  }

  end(): Promise<AttachedResult> {
    Atomics.store(this.stop, 0, 1);
    return this.result;
  }
}

function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

Deno.test("another thread reads whole ticks only, while pages come, grow in number, and go", async () => {
  await using bus = await StateBus.open({ memoryLimitBytes: 1 << 26 });
  const count = bus.createPage({ size: 4, name: "count" });
  await bus.commit(() => count.write(0, u32(0)));
  const readers = [1, 2].map(() => new Attached({ kind: "read", shared: bus.share() }));
  await Promise.all(readers.map(({ ready }) => ready));
  let pages = 0;
  for (let round = 1; round <= 400; round++) {
    const size = round % 3 === 0 ? 4096 : 64;
    if (round % 10 === 9) {
      while (pages > 2) bus.find(`page ${--pages}`)!.delete();
    } else {
      bus.createPage({ size, name: `page ${pages++}` });
    }
    for (let i = 0; i < pages; i++) {
      const page = bus.find(`page ${i}`)!;
      page.write(0, new Uint8Array(page.size).fill(round));
    }
    count.write(0, u32(pages));
    await bus.tick();
    if (round % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  for (const result of await Promise.all(readers.map((reader) => reader.end()))) {
    assert.deepEqual(result.faults, []);
    assert(result.readings! > 0);
  }
});

Deno.test("other threads send batches, each in its own order, and hear what became of them", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const page = bus.createPage({ size: 16 });
  await bus.commit();
  const shared = bus.share(), batches = 40;
  const senders = [70, 71].map((producer) =>
    new Attached({ kind: "send", shared, page: page.id, batches, rows: 500, producer })
  );
  const ended = Promise.all(senders.map(({ result }) => result));
  let isOver = false;
  void ended.finally(() => isOver = true);
  while (!isOver) {
    await bus.tick();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  for (const { sequences, faults } of await ended) {
    assert.deepEqual(faults, []);
    assert.deepEqual(sequences, Array.from({ length: batches }, (_, i) => i + 1));
  }
  assert.equal(new DataView(page.read().buffer).getUint32(0, true), 2 * batches * 500);
  const sources = new Set<string>();
  for await (const { source } of bus.history(page)) sources.add(source);
  assert.deepEqual([...sources].sort(), ["producer 70", "producer 71"]);
});

Deno.test("a thread that sends is told of refusals, and of the end of its bus", async () => {
  const bus = await StateBus.open(SMALL);
  const page = bus.createPage({ size: 16 });
  await bus.commit();
  const there = StateBus.attach(bus.share());
  const bad = new DeltaBatch({ rows: 1, payloadBytes: 8 });
  bad.push(page.id, 14, new Uint8Array(4));
  const refused = there.submit(bad);
  assert.throws(() => there.submit(bad), { code: "usage" });
  await bus.tick();
  await assert.rejects(refused, { code: "out-of-bounds" });
  const large = new DeltaBatch({ rows: 100_000, payloadBytes: 800_000 });
  for (let i = 0; i < 100_000; i++) large.push(page.id, 0, Uint8Array.of(i & 0xff));
  const taken = there.submit(large), waits = there.submit(bad);
  await bus.tick();
  assert.equal((await taken).rows, 100_000);
  await assert.rejects(
    async () => {
      await bus.tick();
      await waits;
    },
    { code: "out-of-bounds" },
  );
  const late = there.submit(large);
  await bus.close();
  await assert.rejects(late, { code: "closed" });
  assert.equal(there.live, false);
  assert.equal(there.page(page.id).read(0, 1)[0], 99_999 & 0xff);
  assert.throws(() => there.submit(large), { code: "closed" });
  await there.close();
  assert.throws(() => there.submit(large), { code: "closed" });
});

Deno.test("an attached bus reads as the other does, and neither ticks nor creates", async () => {
  await using bus = await StateBus.open(SMALL);
  const board = bus.createPage({ size: 32, name: "board", metadata: { unit: Uint8Array.of(1) } });
  await bus.commit(() => board.write(4, Uint8Array.of(1, 2, 3)));
  await using there = StateBus.attach(bus.share());
  const page = there.find("board")!;
  assert.deepEqual(page.read(), board.read());
  assert.deepEqual([page.epoch, page.size, page.shard], [board.epoch, board.size, board.shard]);
  assert.deepEqual(page.metadata, board.metadata);
  assert.deepEqual([...page.readInto(new Uint8Array(3), 4)], [1, 2, 3]);
  assert.equal(there.digest(), bus.digest());
  assert.equal(there.tickNumber, bus.tickNumber);
  assert.equal(there.live, true);
  assert.equal((await there.verify()).ok, true);
  assert.equal(there.find("late"), undefined);
  bus.createPage({ size: 16, name: "late" });
  assert.equal(there.find("late"), undefined);
  await bus.tick();
  assert.equal(there.find("late")!.size, 16);
  await bus.commit(() => bus.find("late")!.delete());
  assert.equal(there.find("late"), undefined);
  assert.throws(() => there.createPage(), { code: "read-only" });
  await assert.rejects(there.tick(), { code: "read-only" });
  assert.throws(() => page.write(0, Uint8Array.of(1)), { code: "read-only" });
});

Deno.test("StateBus.attach() refuses what is no handle", async () => {
  for (const wrong of [undefined, null, 1, {}, { kind: "mmsb-shared-bus" }]) {
    assert.throws(() => StateBus.attach(wrong as never), { code: "usage" });
  }
  const bus = await StateBus.open(SMALL);
  const shared = bus.share();
  assert.throws(() => StateBus.attach(shared, { producer: 0 }), { code: "out-of-bounds" });
  assert.throws(() => StateBus.attach(shared, { producers: 1 } as never), { code: "usage" });
  await bus.close();
  assert.throws(() => bus.share(), { code: "closed" });
});

Deno.test("a ninth thread needs another handle to send batches", async () => {
  await using bus = await StateBus.open(SMALL);
  const page = bus.createPage({ size: 16 });
  await bus.commit();
  const shared = bus.share();
  const send = (handle: typeof shared) => {
    const there = StateBus.attach(handle);
    const batch = new DeltaBatch({ rows: 1, payloadBytes: 8 });
    batch.push(page.id, 0, Uint8Array.of(1));
    return there.submit(batch);
  };
  const receipts = Array.from({ length: 8 }, () => send(shared));
  assert.throws(() => send(shared), { code: "limit" });
  receipts.push(send(bus.share()));
  await bus.tick();
  const producers = (await Promise.all(receipts)).map(({ producer }) => producer);
  assert.equal(new Set(producers).size, 9);
});
