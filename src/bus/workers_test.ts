import assert from "node:assert/strict";
import {
  exportStorage,
  FaultyStorage,
  laneFolder,
  MemoryStorage,
  segmentPath,
  type Storage,
} from "../log/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import type { OpenOptions } from "./options.ts";
import { StateBus } from "./state_bus.ts";

const SMALL = { memoryLimitBytes: 1 << 24 };
/** Rows of a batch that workers are asked for. */
const ROWS = 18_000;

/** Numbers from a seed. */
function numbersOf(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

function batchOf(pages: readonly number[], next: () => number, rows: number): DeltaBatch {
  const batch = new DeltaBatch({ rows, payloadBytes: 16 * rows });
  const sources = [batch.source("a"), batch.source("b")];
  const { page, offset, length, payloadStart, kind, source } = batch.columns;
  const isUniform = next() % 2 === 0;
  for (let row = 0; row < rows; row++) {
    page[row] = pages[next() % pages.length];
    length[row] = isUniform ? 16 : 1 + next() % 8;
    offset[row] = isUniform ? next() % 2 * 16 : next() % 24;
    kind[row] = 0;
    payloadStart[row] = 16 * row;
    source[row] = sources[next() % 2];
  }
  for (let i = 0; i < 4 * rows; i++) batch.kernel.payloadWords[i] = next();
  batch.setLength(rows, 16 * rows);
  return batch;
}

/** A program of ticks that only its seed decides: births, deaths, single writes, small, large and bad batches. */
async function run(bus: StateBus, seed: number, ticks: number): Promise<string[]> {
  const next = numbersOf(seed), outcomes: string[] = [];
  for (let tick = 0; tick < ticks; tick++) {
    for (let births = next() % 9; births >= 0; births--) bus.createPage({ size: 32 });
    await bus.tick();
    const pages = [...bus.pages()].map(({ id }) => id).sort((a, b) => a - b);
    const receipts: Promise<string>[] = [];
    const submit = (batch: DeltaBatch) => {
      const receipt = bus.submit(batch, { producer: 1 + next() % 3 });
      receipts.push(receipt.then(({ sequence }) => `taken ${sequence}`, ({ code }) => code));
    };
    submit(batchOf(pages, next, ROWS));
    submit(batchOf(pages, next, 1 + next() % 50));
    const bad = batchOf(pages, next, ROWS);
    if (tick % 2 === 0) bad.columns.offset[next() % ROWS] = 64;
    submit(bad);
    if (tick % 3 === 0) bus.page(pages[0]).write(3, Uint8Array.of(tick));
    if (pages.length > 4) bus.page(pages[next() % pages.length]).delete();
    await (await bus.tick()).durable;
    outcomes.push(...await Promise.all(receipts));
  }
  return outcomes;
}

/** A bus whose ticks do not depend on how fast the machine is. */
function open(options: OpenOptions): Promise<StateBus> {
  const clock = { nowUs: () => 1_700_000_000_000_000, errorUs: () => 0 };
  return StateBus.open({ ...SMALL, tickRowsMax: 1_000_000, clock, ...options });
}

/** Gives workers more to do until they have done some of it: on a busy machine they may come too late for a few ticks. */
async function untilTheyTakePart(bus: StateBus): Promise<void> {
  const hasSome = () => bus.stats().workers!.some(({ checked }) => checked > 0);
  const pages = [...bus.pages()].map(({ id }) => id), next = numbersOf(3);
  for (let look = 0; look < 200 && !hasSome(); look++) {
    const receipts = [1, 2].map(() => bus.submit(batchOf(pages, next, ROWS)));
    await Promise.all([...receipts, bus.tick()]);
  }
  assert(hasSome(), "workers take part");
}

function canonical(storage: MemoryStorage): string {
  return [...exportStorage(storage, { canonical: true })].join("\n");
}

Deno.test("a bus with workers comes to the same state as one without", async () => {
  const expected = await open({});
  const outcomes = await run(expected, 7, 4);
  assert(outcomes.some((outcome) => outcome === "out-of-bounds"));
  const digest = expected.digest();
  await expected.close();
  for (const workers of [1, 2, 8]) {
    const bus = await open({ workers });
    assert.deepEqual(bus.opened.workers, { count: workers, reason: "" });
    assert.deepEqual(await run(bus, 7, 4), outcomes);
    assert.equal(bus.digest(), digest, `${workers} workers`);
    await untilTheyTakePart(bus);
    assert.equal((await bus.verify()).ok, true);
    await bus.close();
  }
});

Deno.test("a log says the same with any number of workers, also after a crash and another number", async () => {
  const storageOf = async (first: number, second: number) => {
    const faulty = new FaultyStorage();
    const bus = await open({ storage: faulty, workers: first });
    await run(bus, 11, 2);
    const storage = faulty.crash({ keep: "none" });
    await bus.close();
    const again = await open({ storage, workers: second });
    await run(again, 12, 2);
    assert.equal((await again.verify()).ok, true);
    const digest = again.digest();
    await again.close();
    return { digest, text: canonical(storage) };
  };
  const expected = await storageOf(0, 0);
  for (const [first, second] of [[2, 1], [8, 2]]) {
    const found = await storageOf(first, second);
    assert.equal(found.digest, expected.digest);
    assert.equal(found.text, expected.text);
  }
});

/** Bytes of all segments, by their paths. */
function segmentsOf(storage: Storage): Map<string, Uint8Array> {
  const folder = laneFolder(0);
  return new Map(
    storage.list(folder).filter((name) => name.endsWith(".log")).map((name) => {
      const file = storage.open(`${folder}/${name}`, "read");
      try {
        const bytes = new Uint8Array(file.size());
        file.read(bytes, 0);
        return [name, bytes];
      } finally {
        file.close();
      }
    }),
  );
}

Deno.test("a log has the same bytes with any number of workers", async () => {
  const write = async (workers: number) => {
    const storage = new MemoryStorage();
    // What a header says of syncs depends on time, unless each tick waits for its own.
    const bus = await open({ storage, workers, durability: "always" });
    await run(bus, 31, 3);
    const logged = bus.stats().workers?.reduce((sum, worker) => sum + worker.logged, 0) ?? 0;
    await bus.close();
    return { segments: segmentsOf(storage), logged };
  };
  const { segments: expected } = await write(0);
  assert(expected.size > 0);
  for (const workers of [1, 2, 8]) {
    // On a busy machine workers may come too late for a few ticks.
    for (let tries = 0, logged = 0; logged === 0; tries++) {
      assert(tries < 50, "workers take part");
      const found = await write(workers);
      assert.deepEqual(found.segments, expected, `${workers} workers`);
      logged = found.logged;
    }
  }
});

Deno.test("a log that fails while workers still build its frames loses nothing", async () => {
  const faulty = new FaultyStorage();
  // One segment takes all ticks.
  const segments = { segmentBytes: 1 << 25, segmentBytesMax: 1 << 25 };
  const bus = await open({ storage: faulty, workers: 2, durability: "always", ...segments });
  const page = bus.createPage({ size: 32 });
  await bus.commit();
  const submit = (seed: number) => {
    const next = numbersOf(seed);
    return [1, 2, 3, 4].map(() => bus.submit(batchOf([page.id], next, ROWS)));
  };
  await Promise.all([...submit(1), bus.tick()]);
  // The next segment is prepared beside ticks, and must not take the failures that are meant for them.
  while (!faulty.exists(segmentPath(0, 2))) await new Promise((done) => setTimeout(done, 0));
  for (const after of [0, 1, 2, 5, 8]) {
    const before = bus.digest();
    const receipts = submit(2 + after);
    faulty.failWrites({ after, prefix: 100 });
    await assert.rejects(bus.tick(), { code: "io" }, `after ${after} writes`);
    for (const receipt of receipts) await assert.rejects(receipt, { code: "io" });
    assert.equal(bus.digest(), before);
    await Promise.all([...submit(2 + after), bus.tick()]);
    assert.notEqual(bus.digest(), before);
  }
  assert.equal(bus.page(page.id).epoch, 6 * 4 * ROWS);
  assert.equal((await bus.verify()).ok, true);
  await bus.close();
});

Deno.test("rules come to the same with workers, which then only check", async () => {
  const digests = [];
  for (const workers of [0, 2]) {
    const bus = await open({ workers, storage: new MemoryStorage() });
    const inputs = [1, 2, 3].map(() => bus.createPage({ size: 32 }));
    const sum = bus.createPage({ size: 8, name: "sum" });
    bus.rule(
      defineRule({
        compute(ctx) {
          let total = 0;
          for (let i = 0; i < 3; i++) total = total + ctx.input(i).getUint32(0) >>> 0;
          ctx.output(0).setUint32(0, total);
        },
      }),
      { name: "sum", inputs, outputs: [sum] },
    );
    await bus.commit();
    const next = numbersOf(21), ids = inputs.map(({ id }) => id);
    for (let tick = 0; tick < 3; tick++) {
      const receipt = bus.submit(batchOf(ids, next, ROWS));
      const onOutput = bus.submit(batchOf([sum.id, ...ids], next, ROWS), { producer: 2 });
      const { fired } = await bus.tick();
      await receipt;
      await assert.rejects(onOutput);
      assert.equal(fired, 1);
    }
    const bytes = inputs.map((page) => new DataView(page.read().buffer).getUint32(0, true));
    const expected = bytes.reduce((total, value) => total + value >>> 0, 0);
    assert.equal(new DataView(sum.read().buffer).getUint32(0, true), expected);
    assert.equal((await bus.verify()).ok, true);
    digests.push(bus.digest());
    await bus.close();
  }
  assert.equal(digests[0], digests[1]);
});

Deno.test("a log that cannot be written takes a tick of workers back", async () => {
  const faulty = new FaultyStorage();
  const segments = { segmentBytes: 1 << 23, segmentBytesMax: 1 << 23 };
  const bus = await open({ storage: faulty, workers: 2, durability: "always", ...segments });
  const page = bus.createPage({ size: 32 });
  await bus.commit();
  await Promise.all([bus.submit(batchOf([page.id], numbersOf(2), ROWS)), bus.tick()]);
  const before = bus.digest();
  const receipt = bus.submit(batchOf([page.id], numbersOf(3), ROWS));
  faulty.failWrites({ after: 0, prefix: 100 });
  await assert.rejects(bus.tick(), { code: "io" });
  await assert.rejects(receipt, { code: "io" });
  assert.equal(bus.digest(), before);
  await Promise.all([bus.submit(batchOf([page.id], numbersOf(3), ROWS)), bus.tick()]);
  assert.notEqual(bus.digest(), before);
  assert.equal((await bus.verify()).ok, true);
  await bus.close();
});

Deno.test("StateBus.open() refuses workers where pages stand in a mapped file", async () => {
  await assert.rejects(StateBus.open({ ...SMALL, arena: "mmap", workers: 2 }), { code: "usage" });
  await assert.rejects(StateBus.open({ ...SMALL, workers: 256 }), { code: "limit" });
  await assert.rejects(StateBus.open({ ...SMALL, pinWorkers: 1 } as unknown as OpenOptions), {
    code: "usage",
  });
});

Deno.test("workers stay on their cores where that is asked for", async () => {
  const bus = await StateBus.open({ ...SMALL, workers: 2, pinWorkers: true });
  assert.equal(bus.opened.workers!.count, 2);
  await bus.close();
});

Deno.test("a bus with workers can be reset", async () => {
  const bus = await open({ workers: 2 });
  await run(bus, 5, 2);
  const digest = bus.digest();
  bus.reset();
  await run(bus, 5, 2);
  assert.equal(bus.digest(), digest);
  await bus.close();
});
