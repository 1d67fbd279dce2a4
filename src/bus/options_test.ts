import assert from "node:assert/strict";
import { MemoryStorage } from "../log/mod.ts";
import { isRefusal, NO_INTEGERS, NO_OPTIONS, NO_STRINGS } from "./_seen_test.ts";
import { type OpenOptions, StateBus } from "./mod.ts";
import type { MmsbErrorCode } from "../base/mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 20 };

/** Opening so is refused, and the storage, if any, is untouched and unlocked. */
async function assertNotOpened(code: MmsbErrorCode, options: unknown): Promise<void> {
  const what = JSON.stringify(
    options,
    (_, value) => typeof value === "object" ? value : String(value),
  );
  const storage = (options as OpenOptions | null)?.storage;
  const before = storage instanceof MemoryStorage ? storage.image() : undefined;
  await assert.rejects(
    StateBus.open(options as OpenOptions),
    (error) => isRefusal(error, code, what),
    what,
  );
  if (storage instanceof MemoryStorage) {
    assert.deepEqual(storage.image(), before, what);
    storage.lock()();
  }
}

Deno.test("StateBus.open() refuses options of wrong types, and unknown ones", async () => {
  for (const wrong of NO_OPTIONS) await assertNotOpened("usage", wrong);
  const storage = new MemoryStorage();
  for (
    const name of [
      "shards",
      "workers",
      "memoryLimitBytes",
      "tickBudgetMs",
      "segmentBytes",
      "segmentBytesMax",
    ]
  ) {
    for (const wrong of NO_INTEGERS) {
      if (name === "tickBudgetMs" && wrong === 1.5) continue;
      await assertNotOpened("usage", { ...SMALL, storage, [name]: wrong });
    }
  }
  for (const wrong of NO_STRINGS) {
    await assertNotOpened("usage", { ...SMALL, dir: wrong });
    await assertNotOpened("usage", { ...SMALL, storage, durability: wrong });
    await assertNotOpened("usage", { ...SMALL, storage, arena: wrong });
    await assertNotOpened("usage", { ...SMALL, storage, device: wrong });
  }
  for (const wrong of [null, 0, "true", {}]) {
    await assertNotOpened("usage", { ...SMALL, storage, readOnly: wrong });
  }
  for (const wrong of [null, 1, "memory", {}, { lock: () => {} }, () => {}]) {
    await assertNotOpened("usage", { ...SMALL, storage: wrong });
  }
  const nowUs = () => 0, errorUs = () => 0;
  for (const wrong of [null, 1, nowUs, {}, { nowUs }, { errorUs }, { nowUs: 1, errorUs }]) {
    await assertNotOpened("usage", { ...SMALL, storage, clock: wrong });
  }
});

Deno.test("StateBus.open() refuses numbers past its limits", async () => {
  const storage = new MemoryStorage();
  for (
    const wrong of [
      { shards: 0 },
      { shards: 257 },
      { shards: -1 },
      { workers: -1 },
      { workers: 257 },
      { memoryLimitBytes: 65_536 },
      { memoryLimitBytes: 8 * 2 ** 30 + 1 },
      { segmentBytes: 0 },
      { segmentBytes: 2 ** 26 + 1 },
      { segmentBytesMax: 0 },
      { segmentBytesMax: 2 ** 32 },
    ]
  ) await assertNotOpened("limit", { ...SMALL, storage, ...wrong });
  await assertNotOpened("out-of-bounds", { ...SMALL, storage, tickBudgetMs: -1 });
  await assertNotOpened("out-of-bounds", { ...SMALL, storage, tickBudgetMs: 3_600_001 });
});

Deno.test("StateBus.open() takes every device, whatever there is on the machine", async () => {
  for (const device of ["cpu", "auto"] as const) {
    const bus = await StateBus.open({ ...SMALL, workers: 0, arena: "shared", device });
    await bus.close();
  }
});

Deno.test("StateBus.open() refuses options that contradict each other", async () => {
  for (const durability of ["buffered", "group", "always"]) {
    await assertNotOpened("usage", { ...SMALL, durability });
  }
  await assertNotOpened("usage", { ...SMALL, readOnly: true });
  await assertNotOpened("usage", { ...SMALL, dir: "" });
  await assertNotOpened("usage", { ...SMALL, dir: "a", storage: new MemoryStorage() });
});

Deno.test("StateBus.open() chooses group with a log, memory without", async () => {
  await using inMemory = await StateBus.open(SMALL);
  await using logged = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  assert.deepEqual([inMemory.durability, inMemory.shards], ["memory", 24]);
  assert.deepEqual([logged.durability, logged.shards], ["group", 24]);
  assert.equal(inMemory.stats().incarnation, 0);
  assert.equal(logged.stats().incarnation, 1);
});

Deno.test("StateBus.open() calls a clock that is an object with a state of its own", async () => {
  class Clock {
    us = 1e12;
    nowUs(): number {
      return this.us += 1000;
    }
    errorUs(): number {
      return this.us * 0 + 5;
    }
  }
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ ...SMALL, storage, clock: new Clock() });
  const page = bus.createPage({ size: 8 });
  const first = await bus.commit(() => page.write(0, Uint8Array.of(1)));
  const second = await bus.commit(() => page.write(0, Uint8Array.of(2)));
  assert.equal(first.hlc >> 12n, 1_000_000_001_000n);
  assert.equal(second.hlc >> 12n, 1_000_000_002_000n);
});

Deno.test("StateBus.open() refuses other shards than the directory's, to write and to read", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ ...SMALL, storage, shards: 3 });
  await bus.close();
  const before = storage.image();
  await assertNotOpened("usage", { ...SMALL, storage, shards: 4 });
  await assertNotOpened("usage", { ...SMALL, storage, shards: 24, readOnly: true });
  assert.deepEqual(storage.image(), before);
  await using again = await StateBus.open({ ...SMALL, storage });
  assert.equal(again.shards, 3);
});

Deno.test("StateBus.open() refuses a second writer, and lets readers in", async () => {
  const dir = await Deno.makeTempDir({ prefix: "bus-tests-" });
  const locations: OpenOptions[] = [{ dir }, { storage: new MemoryStorage() }];
  for (const location of locations) {
    const options = { ...SMALL, ...location };
    const bus = await StateBus.open(options);
    const page = bus.createPage({ size: 8, name: "page" });
    await bus.commit(() => page.write(0, Uint8Array.of(7)));
    await assert.rejects(
      StateBus.open(options),
      (error) => isRefusal(error, "locked", "second writer"),
    );
    const reader = await StateBus.open({ ...options, readOnly: true });
    assert.equal(reader.find("page")?.read(0, 1)[0], 7);
    await reader.close();
    await bus.commit(() => page.write(0, Uint8Array.of(8)));
    await bus.close();
    const next = await StateBus.open(options);
    assert.equal(next.find("page")?.read(0, 1)[0], 8);
    await next.close();
  }
  await Deno.remove(dir, { recursive: true });
});

Deno.test("StateBus.open() with readOnly needs a directory that is there", async () => {
  await assertNotOpened("io", { ...SMALL, storage: new MemoryStorage(), readOnly: true });
  const dir = await Deno.makeTempDir({ prefix: "bus-tests-" });
  await assertNotOpened("io", { ...SMALL, dir: `${dir}/absent`, readOnly: true });
  assert.deepEqual([...Deno.readDirSync(dir)], []);
  await Deno.remove(dir);
});

Deno.test("StateBus.open() does not make a new directory of one that has lost its metadata", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ ...SMALL, storage });
  bus.createPage({ size: 8 });
  await bus.commit();
  await bus.close();
  storage.remove("meta.json");
  await assertNotOpened("corrupt-log", { ...SMALL, storage });
});
