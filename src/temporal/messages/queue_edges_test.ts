/** Bad input, limits, waiting, closing, and many messages that wait. */

import assert from "node:assert/strict";
import { MmsbError } from "../../base/errors.ts";
import type { MessageOptions } from "./message.ts";
import { MessageBatch } from "./message_batch.ts";
import type { TemporalQueueOptions } from "./queue_types.ts";
import { TemporalQueue } from "./temporal_queue.ts";

const nowUs = (): number => 1_000_000;

Deno.test("TemporalQueue refuses options that cannot be", () => {
  const bad: unknown[] = [
    undefined,
    null,
    {},
    { nowUs: 5 },
    { nowUs, capacity: 0 },
    { nowUs, capacity: NaN },
    { nowUs, capacity: -1 },
    { nowUs, capacity: 1e12 },
    { nowUs, capacity: 4n },
    { nowUs, remembered: -1 },
    { nowUs, payloadBytes: Infinity },
    { nowUs, dependencyTimeoutUs: 0 },
    { nowUs, dependencyTimeoutUs: NaN },
    { nowUs, classesUs: [1, 2] },
    { nowUs, classesUs: [3, 2, 1] },
    { nowUs, classesUs: "123" },
    { nowUs, capasity: 4 },
  ];
  for (const options of bad) {
    assert.throws(() => TemporalQueue.create(options as TemporalQueueOptions), MmsbError);
  }
  const queue = TemporalQueue.create({ nowUs, capacity: 1, remembered: 0, payloadBytes: 0 });
  for (
    const handle of [undefined, {}, { kind: "temporal-queue" }, {
      kind: "ring",
      memory: queue.share().memory,
    }, {
      kind: "temporal-queue",
      memory: new SharedArrayBuffer(65_536),
    }]
  ) {
    assert.throws(() => TemporalQueue.attach(handle as never, { nowUs }), { code: "usage" });
  }
});

Deno.test("TemporalQueue refuses what is no message, and nothing of its batch is in", () => {
  const queue = TemporalQueue.create({ nowUs, capacity: 4 });
  const bad: unknown[] = [
    undefined,
    7,
    { id: 1n },
    { id: 1, timestamp: 1n },
    { id: -1n, timestamp: 1n },
    { id: 1n, timestamp: 2n ** 64n },
    { id: 1n, timestamp: 1n, node: 65_536 },
    { id: 1n, timestamp: 1n, sequence: -1 },
    { id: 1n, timestamp: 1n, sequence: 0.5 },
    { id: 1n, timestamp: 1n, priority: 4 },
    { id: 1n, timestamp: 1n, priority: NaN },
    { id: 1n, timestamp: 1n, errorUs: NaN },
    { id: 1n, timestamp: 1n, errorUs: -1 },
    { id: 1n, timestamp: 1n, validFromUs: NaN },
    { id: 1n, timestamp: 1n, validFromUs: 2, validUntilUs: 1 },
    { id: 1n, timestamp: 1n, validUntilUs: 2 ** 60 },
    { id: 1n, timestamp: 1n, dependencies: [1n] },
    { id: 1n, timestamp: 1n, dependencies: "ab" },
    { id: 1n, timestamp: 1n, dependencies: [5] },
    { id: 1n, timestamp: 1n, dependencies: new Array(256).fill(2n) },
    { id: 1n, timestamp: 1n, payload: "text" },
    { id: 1n, timestamp: 1n, payload: [1] },
    { id: 1n, timestamp: 1n, payload: { length: Symbol("length") } },
    { id: 1n, timestamp: 1n, dependencies: { length: Symbol("length") } },
    { id: 1n, timestamp: 1n, errorUs: Object.create(null) },
    { id: 1n, timestamp: 1n, validFromUs: { toString: () => assert.fail("asked for its text") } },
    { id: 1n, timestamp: 1n, colour: 1 },
  ];
  for (const message of bad) {
    assert.throws(
      () => queue.push(message as MessageOptions),
      MmsbError,
      JSON.stringify(message, (_, value) => typeof value === "bigint" ? `${value}n` : value),
    );
  }
  const faults: ((batch: MessageBatch) => void)[] = [
    (batch) => batch.priority[1] = 9,
    (batch) => batch.sequence[1] = NaN,
    (batch) => batch.sequence[1] = 2 ** 53,
    (batch) => batch.errorUs[1] = NaN,
    (batch) => batch.validFromUs[1] = -1,
    (batch) => batch.validFromUs[1] = 0.5,
    (batch) => batch.validUntilUs[1] = NaN,
    (batch) => batch.payloadBytes[1] = 2 ** 31,
    (batch) => (batch.payloadBytes[1] = 4, batch.payloadStart[1] = 2),
    (batch) => batch.dependencyCount[1] = 1,
    (batch) => batch.dependencyEnd = 1e9,
    (batch) => batch.count = 99,
    (batch) => batch.count = NaN,
    (batch) => batch.count = -1,
  ];
  for (const fault of faults) {
    const batch = new MessageBatch({ capacity: 2 });
    batch.add({ id: 1n, timestamp: 1n });
    batch.add({ id: 2n, timestamp: 2n });
    fault(batch);
    if (fault === faults[10]) batch.dependencyCount[1] = 1;
    assert.throws(() => queue.pushBatch(batch), MmsbError, String(fault));
  }
  assert.throws(() => queue.pushBatch({} as MessageBatch), { code: "usage" });
  assert.throws(() => queue.popBatch(undefined as never), { code: "usage" });
  assert.throws(() => queue.pop({ waitMs: NaN }), { code: "usage" });
  assert.throws(() => queue.pop({ waitMs: Object.create(null) }), { code: "usage" });
  assert.throws(() => queue.pushBatch(Object.create(MessageBatch.prototype)), { code: "usage" });
  assert.throws(() => queue.pop({ max: 2 }), { code: "limit" });
  assert.equal(queue.stats().pushed, 0);
  queue.checkInvariants();
});

Deno.test("TemporalQueue takes all of a batch or nothing, and counts what it refused", () => {
  const queue = TemporalQueue.create({ nowUs, capacity: 3, payloadBytes: 120, dependencies: 1 });
  const batch = new MessageBatch({ capacity: 4, payloadBytes: 4000 });
  for (const id of [1n, 2n]) batch.add({ id, timestamp: id });
  assert.equal(queue.pushBatch(batch), 2);
  batch.clear();
  for (const id of [3n, 4n]) batch.add({ id, timestamp: id });
  assert.throws(() => queue.pushBatch(batch), { code: "memory-pressure" });
  assert.equal(queue.size, 2);
  assert.throws(() => queue.push({ id: 3n, timestamp: 1n, payload: new Uint8Array(141) }), {
    code: "limit",
  });
  assert.throws(() => queue.push({ id: 3n, timestamp: 1n, dependencies: [8n, 9n] }), {
    code: "limit",
  });
  queue.push({ id: 3n, timestamp: 3n, payload: new Uint8Array(140) });
  batch.clear();
  for (let id = 1n; id < 5n; id++) batch.add({ id, timestamp: id });
  assert.throws(() => queue.pushBatch(batch), { code: "limit" });
  queue.pop();
  assert.throws(() => queue.push({ id: 5n, timestamp: 1n, payload: new Uint8Array(21) }), {
    code: "memory-pressure",
  });
  const small = new MessageBatch({ capacity: 4, payloadBytes: 8 });
  assert.equal(queue.popBatch(small), 1);
  assert.throws(() => queue.popBatch(small), { code: "out-of-bounds" });
  assert.equal(queue.pop()?.payload.length, 140);
  assert.deepEqual([queue.stats().refused, queue.stats().delivered], [3, 3]);
  queue.checkInvariants();
});

Deno.test("TemporalQueue remembers as many delivered ids as it says", () => {
  const queue = TemporalQueue.create({ nowUs, capacity: 2, remembered: 3 });
  const idOf = (index: bigint): bigint => index << 40n; // Far apart: ids of one 32 are remembered together.
  for (let index = 1n; index <= 10n; index++) {
    assert.equal(queue.push({ id: idOf(index), timestamp: index }), "ready");
    assert.equal(queue.pop()?.id, idOf(index));
    queue.checkInvariants();
  }
  for (const index of [8n, 9n, 10n]) {
    assert.equal(queue.push({ id: idOf(index), timestamp: index }), "duplicate");
  }
  const push = (id: bigint, on: bigint): string =>
    queue.push({ id, timestamp: 1n, dependencies: [idOf(on)] });
  assert.equal(push(1n, 10n), "ready");
  assert.equal(push(2n, 3n), "waiting");
  queue.checkInvariants();
});

Deno.test("a message expires after the last µs of its window, its id may come again", () => {
  let us = 100;
  const queue = TemporalQueue.create({ nowUs: () => us, capacity: 4, dependencyTimeoutUs: 50 });
  queue.push({ id: 1n, timestamp: 1n, validUntilUs: 200 });
  queue.push({ id: 2n, timestamp: 1n, dependencies: [99n] });
  us = 149;
  assert.equal(queue.stats().waiting, 1);
  us = 150;
  assert.equal(queue.stats().timedOut, 1);
  us = 200;
  assert.equal(queue.size, 1);
  us = 50; // The queue's time never goes back.
  assert.equal(queue.size, 1);
  us = 201;
  assert.equal(queue.pop(), undefined);
  assert.equal(queue.push({ id: 1n, timestamp: 1n, validUntilUs: 200 }), "expired");
  assert.equal(queue.push({ id: 1n, timestamp: 1n, validUntilUs: 300 }), "ready");
  us = NaN; // No time: as if it stood still.
  assert.equal(queue.pop()?.id, 1n);
  assert.equal(queue.stats().expired, 2);
  queue.checkInvariants();
});

Deno.test("a low message about to expire goes before a critical one; as time passes it moves up", () => {
  let us = 0;
  const queue = TemporalQueue.create({ nowUs: () => us, capacity: 4 });
  queue.push({ id: 1n, timestamp: 2n, priority: 0, validUntilUs: 70_000_000 });
  queue.push({ id: 2n, timestamp: 1n, priority: 3 });
  queue.push({ id: 3n, timestamp: 3n, priority: 3, validUntilUs: 90_000_000 });
  const first = (): bigint | undefined => {
    const { id, ...rest } = queue.pop()!;
    queue.push({ ...rest, id: id + 100n });
    return id % 100n;
  };
  assert.equal(first(), 2n);
  us = 10_000_000; // 60 s left: the class of this minute.
  assert.equal(first(), 1n);
  us = 30_000_000;
  assert.equal(first(), 3n);
});

Deno.test("a consumer that waits wakes for a push, for time and for the end", async () => {
  let us = 1000;
  const queue = TemporalQueue.create({ nowUs: () => us, capacity: 32 });
  const first = queue.popAsync();
  queue.push({ id: 1n, timestamp: 1n, payload: new Uint8Array(1000) });
  assert.equal((await first)?.payload.length, 1000);
  const later = queue.popAsync();
  queue.push({ id: 2n, timestamp: 1n, validFromUs: 2000 });
  setTimeout(() => us = 2000, 5);
  assert.equal((await later)?.id, 2n);
  assert.equal(await queue.popAsync({ waitMs: 3 }), undefined);
  assert.equal(queue.pop({ waitMs: 3 }), undefined);
  const end = assert.rejects(queue.popAsync(), { code: "closed" });
  queue.close();
  await end;
  assert.throws(() => queue.push({ id: 3n, timestamp: 1n }), { code: "closed" });
  assert.equal(queue.pop(), undefined);
  assert.throws(() => queue.pop({ waitMs: 1 }), { code: "closed" });
});

Deno.test("a producer waits for room, and is refused when time is up", async () => {
  const queue = TemporalQueue.create({ nowUs, capacity: 1 });
  const batch = new MessageBatch({ capacity: 1 });
  batch.add({ id: 1n, timestamp: 1n });
  queue.push({ id: 2n, timestamp: 1n });
  await assert.rejects(queue.pushBatchAsync(batch, { waitMs: 5 }), { code: "memory-pressure" });
  assert.throws(() => queue.pushBatch(batch, { waitMs: 5 }), { code: "memory-pressure" });
  const waiting = queue.pushBatchAsync(batch);
  assert.equal(queue.pop()?.id, 2n);
  assert.equal(await waiting, 1);
  const refused = assert.rejects(queue.pushBatchAsync(batch), { code: "closed" });
  queue.close();
  await refused;
  assert.equal(queue.stats().refused, 2);
});

Deno.test("100,000 messages wait for one that comes last, for each other, and for none that comes", () => {
  const count = 100_000;
  let us = 0;
  const queue = TemporalQueue.create({
    nowUs: () => us,
    capacity: count + 1,
    remembered: count,
    dependencyTimeoutUs: 1000,
  });
  const batch = new MessageBatch({ capacity: count });
  const push = (dependencyOf: (row: number) => number, from: number): void => {
    batch.clear();
    batch.reserve(count);
    for (let row = 0; row < count; row++) {
      batch.idLo[row] = from + row;
      batch.lo[row] = count - row;
      batch.dependencyStart[row] = row;
      batch.dependencyCount[row] = 1;
      batch.dependencies[2 * row] = 0;
      batch.dependencies[2 * row + 1] = dependencyOf(row);
    }
    batch.dependencyEnd = count;
    assert.equal(queue.pushBatch(batch), count);
    assert.equal(queue.stats().waiting, count);
  };
  push(() => 7, 100); // all for one
  queue.push({ id: 7n, timestamp: 0n });
  assert.equal(queue.popBatch(batch, { max: 1 }), 1);
  assert.equal(queue.popBatch(batch), count);
  push((row) => row === 0 ? 8 : 500_000 + row - 1, 500_000); // a chain
  queue.push({ id: 8n, timestamp: 0n });
  assert.equal(queue.popBatch(batch), count);
  assert.equal(queue.popBatch(batch), 1);
  assert.equal(batch.idLo[0], 500_000 + count - 1);
  push(() => 9, 1_000_000); // one that never comes
  us = 999;
  assert.equal(queue.size, count);
  us = 1000;
  assert.equal(queue.size, 0);
  assert.equal(queue.stats().timedOut, count);
  queue.checkInvariants();
});

Deno.test("a dropped message frees what waits for it, a released one waits no longer; ids may come again", () => {
  const queue = TemporalQueue.create({ nowUs, capacity: 8 });
  const drops = [{ id: 1n, validUntilUs: 2_000_000 }, { id: 2n, payload: new Uint8Array(200) }];
  for (const message of drops) {
    queue.push({ ...message, timestamp: 5n });
    assert.equal(queue.push({ id: 3n, timestamp: 6n, dependencies: [message.id] }), "waiting");
    assert.equal(queue.drop(message.id), true);
    assert.equal(queue.drop(message.id), false);
    assert.equal(queue.drop(3n), true);
    queue.checkInvariants();
  }
  assert.equal(queue.push({ id: 1n, timestamp: 1n, dependencies: [99n] }), "waiting");
  assert.equal(queue.pop(), undefined);
  assert.equal(queue.release(1n), true);
  assert.equal(queue.release(1n), false);
  assert.equal(queue.pop()?.id, 1n);
  assert.equal(queue.drop(1n), false);
  assert.equal(queue.stats().dropped, 4);
  queue.checkInvariants();
});

Deno.test("who waits at a closed queue is told when nothing will come", async () => {
  const queue = TemporalQueue.create({ nowUs, capacity: 4 });
  queue.push({ id: 1n, timestamp: 1n });
  queue.push({ id: 2n, timestamp: 1n, dependencies: [99n] });
  queue.close();
  assert.equal((await queue.popAsync())?.id, 1n);
  await assert.rejects(queue.popAsync(), { code: "closed" });
  assert.throws(() => queue.pop({ waitMs: Infinity }), { code: "closed" });
  queue.release(2n);
  assert.equal(queue.pop()?.id, 2n);
});

Deno.test("a batch that is changed while it waits for room is checked again", async () => {
  const queue = TemporalQueue.create({ nowUs, capacity: 2, payloadBytes: 0, dependencies: 0 });
  const batch = new MessageBatch({ capacity: 8 });
  const changes: [MessageOptions, string][] = [
    [{ id: 3n, timestamp: 1n, dependencies: [8n], payload: new Uint8Array(300) }, "limit"],
    [{ id: 3n, timestamp: 1n, sequence: 7 }, "usage"],
  ];
  let id = 10n;
  for (const [message, code] of changes) {
    while (queue.size < queue.capacity) queue.push({ id: id++, timestamp: 1n });
    batch.clear();
    batch.add({ id: 3n, timestamp: 1n });
    const waiting = assert.rejects(queue.pushBatchAsync(batch), { code });
    batch.clear();
    const row = batch.add(message);
    if (code === "usage") batch.sequence[row] = NaN;
    queue.pop();
    await waiting;
    queue.checkInvariants();
  }
  assert.equal(queue.size, 1);
});
