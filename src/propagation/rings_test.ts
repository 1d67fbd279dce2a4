/** What both rings and the queue do in one thread: spans, refusals, waiting, closing. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MpmcRing } from "./mpmc_ring.ts";
import { SharedQueue } from "./queue.ts";
import { SpscRing } from "./spsc_ring.ts";

const KINDS = { SpscRing, MpmcRing };

for (const [name, Ring] of Object.entries(KINDS)) {
  Deno.test(`${name} does what a list with a limit does`, () => {
    const action = fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 9 }));
    fc.assert(fc.property(
      fc.constantFrom(1, 3),
      fc.constantFrom(2, 8),
      fc.array(action, { maxLength: 60 }),
      (itemWords, capacity, actions) => {
        const ring = Ring.create({ capacity, itemWords }), list: number[][] = [];
        let value = 2 ** 31 - 20;
        for (const [isPush, count] of actions) {
          const words = new Uint32Array(1 + count * itemWords).map(() => value++);
          if (isPush) {
            const items = ring.tryPush(words, 1);
            assert.equal(items, Math.min(count, capacity - list.length));
            for (let i = 0; i < items; i++) {
              list.push([...words.subarray(1 + i * itemWords, 1 + (i + 1) * itemWords)]);
            }
          } else {
            const items = ring.tryPop(words, 1);
            const expected = list.splice(0, count);
            assert.equal(items, expected.length);
            assert.deepEqual([...words.subarray(1, 1 + items * itemWords)], expected.flat());
          }
          assert.equal(ring.length, list.length);
          ring.checkInvariants();
        }
      },
    ));
  });

  Deno.test(`${name} moves single words of all 32 bits`, () => {
    const ring = Ring.create({ capacity: 2 });
    for (const word of [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 2 ** 32 - 1]) {
      assert.equal(ring.tryPushWord(word), true);
      assert.equal(ring.tryPopWord(), word >>> 0);
    }
    assert.equal(ring.tryPopWord(), -1);
    ring.pushWord(1);
    ring.pushWord(2);
    assert.equal(ring.tryPushWord(3), false);
    assert.equal(ring.popWord(), 1);
  });

  Deno.test(`${name} refuses what cannot be`, () => {
    const bad = (options: unknown, code = "usage") =>
      assert.throws(() => Ring.create(options as { capacity: number }), { code });
    for (const capacity of [3, 1.5, NaN, "4", 4n, undefined, 2 ** 29 - 1]) {
      bad({ capacity }, capacity === 2 ** 29 - 1 ? "limit" : "usage");
    }
    bad({ capacity: 1 }, "limit");
    bad({ capacity: 4, itemWords: 0 }, "limit");
    bad({ capacity: 2 ** 28, itemWords: 2 }, "limit");
    bad({ capacity: 4, size: 3 });
    const ring = Ring.create({ capacity: 4 });
    for (const word of [1.5, NaN, 2 ** 32, -(2 ** 31) - 1, "1", 1n, undefined]) {
      assert.throws(() => ring.tryPushWord(word as number), { code: "usage" });
    }
    for (const words of [[1], new Float64Array(1), null, undefined, new Uint8Array(4)]) {
      assert.throws(() => ring.tryPush(words as unknown as Int32Array), { code: "usage" });
      assert.throws(() => ring.tryPop(words as unknown as Int32Array), { code: "usage" });
    }
    const words = new Int32Array(4);
    assert.throws(() => ring.tryPush(words, 5), { code: "out-of-bounds" });
    assert.throws(() => ring.tryPush(words, -1), { code: "out-of-bounds" });
    assert.throws(() => ring.tryPush(words, 0, 5), { code: "out-of-bounds" });
    assert.throws(() => ring.tryPop(words, 1, 4), { code: "out-of-bounds" });
    assert.throws(() => ring.tryPush(words, 0.5), { code: "usage" });
    assert.throws(() => ring.tryPush(words, 0, 1n as unknown as number), { code: "usage" });
    assert.throws(() => ring.pop(new Int32Array(0)), { code: "usage" });
    for (const timeoutMs of [-1, NaN, "1"]) {
      assert.throws(() => ring.pop(words, { timeoutMs: timeoutMs as number }), { code: "usage" });
    }
    for (
      const handle of [undefined, {}, { kind: "x" }, {
        ...ring.share(),
        memory: new ArrayBuffer(9),
      }]
    ) {
      assert.throws(() => Ring.attach(handle as ReturnType<typeof ring.share>), { code: "usage" });
    }
    const other = Ring === SpscRing ? MpmcRing : SpscRing;
    assert.throws(() => other.attach(ring.share()), { code: "usage" });
    const wide = Ring.create({ capacity: 2, itemWords: 2 });
    assert.throws(() => wide.tryPushWord(1), { code: "usage" });
    assert.throws(() => wide.tryPopWord(), { code: "usage" });
    assert.equal(ring.length, 0);
  });

  Deno.test(`${name} with a dead consumer refuses after the time, says what is in, and drops nothing`, async () => {
    const ring = Ring.create({ capacity: 2 });
    const words = Int32Array.of(1, 2, 3);
    assert.throws(() => ring.push(words, { timeoutMs: 2 }), (error: unknown) => {
      const { code, values } = error as { code: string; values: { pushed: number } };
      return code === "memory-pressure" && values.pushed === 2;
    });
    await assert.rejects(ring.pushAsync(words, { timeoutMs: 2 }), { code: "memory-pressure" });
    const target = new Int32Array(3);
    assert.equal(ring.tryPop(target), 2);
    assert.deepEqual([...target], [1, 2, 0]);
    assert.equal(ring.pop(target, { timeoutMs: 2 }), 0);
    assert.equal(await ring.popAsync(target, { timeoutMs: 2 }), 0);
    assert.equal(ring.popWord({ timeoutMs: 0 }), -1);
  });

  Deno.test(`${name}.close() wakes who waits, and lets what is in be popped`, async () => {
    const ring = Ring.create({ capacity: 2 });
    const there = Ring.attach(ring.share());
    const popping = there.popAsync(new Int32Array(1));
    ring.close();
    await assert.rejects(popping, { code: "closed" });

    const full = Ring.create({ capacity: 2 });
    full.push(Int32Array.of(1, 2));
    const pushing = full.pushAsync(Int32Array.of(3));
    full.close();
    full.close();
    await assert.rejects(pushing, { code: "closed" });
    assert.throws(() => full.tryPushWord(3), { code: "closed" });
    assert.throws(() => full.push(Int32Array.of(3)), { code: "closed" });
    const target = new Int32Array(2);
    assert.equal(full.pop(target), 2);
    assert.equal(full.tryPop(target), 0);
    assert.throws(() => full.pop(target), { code: "closed" });
    assert.equal(full.closed, true);
    full.checkInvariants();
  });

  Deno.test(`${name}.popAsync() is woken by a push, pushAsync() by a pop`, async () => {
    const ring = Ring.create({ capacity: 2 });
    const target = new Int32Array(2);
    const popping = ring.popAsync(target);
    ring.pushWord(7);
    assert.equal(await popping, 1);
    assert.equal(target[0], 7);
    ring.push(Int32Array.of(1, 2));
    const pushing = ring.pushAsync(Int32Array.of(3, 4));
    assert.equal(ring.tryPop(target), 2);
    await pushing;
    assert.equal(ring.length, 2);
  });
}

Deno.test("SpscRing holds one side for one call at a time, and one handle", async () => {
  const ring = SpscRing.create({ capacity: 2 });
  const other = SpscRing.attach(ring.share());
  const popping = ring.popAsync(new Int32Array(1));
  await assert.rejects(ring.popAsync(new Int32Array(1)), { code: "usage" });
  ring.pushWord(1);
  await popping;
  assert.throws(() => other.pushWord(2), { code: "usage" });
});

Deno.test("SpscRing.commit() and release() take no more than was found", () => {
  const ring = SpscRing.create({ capacity: 4, itemWords: 2 });
  assert.throws(() => ring.commit(1), { code: "out-of-bounds" });
  assert.equal(ring.reserve(3), 3);
  ring.data.set([1, 2, 3, 4], ring.reservedAt);
  ring.commit(2);
  assert.throws(() => ring.commit(1), { code: "out-of-bounds" });
  assert.equal(ring.peek(4), 2);
  assert.equal(ring.data[ring.peekedAt + 3], 4);
  assert.throws(() => ring.release(3), { code: "out-of-bounds" });
  ring.release(2);
  assert.equal(ring.reserve(4), 2, "to the end of the memory");
  assert.throws(() => ring.reserve(5), { code: "out-of-bounds" });
  assert.throws(() => ring.peek(0.5), { code: "usage" });
});

Deno.test("A process that only waits for a ring stays alive, and ends when the wait is over", async () => {
  const program = `import { SpscRing } from ${
    JSON.stringify(new URL("./spsc_ring.ts", import.meta.url))
  };
    const ring = SpscRing.create({ capacity: 2 });
    console.log(await ring.popAsync(new Int32Array(1), { timeoutMs: 50 }));`;
  const child = new Deno.Command(Deno.execPath(), { args: ["eval", program], stderr: "inherit" });
  const { code, stdout } = await child.output();
  assert.equal(code, 0);
  assert.equal(new TextDecoder().decode(stdout), "0\n");
});

Deno.test("SharedQueue refuses what is no item, and counts", async () => {
  const queue = SharedQueue.create({ capacity: 2, itemWords: 2, timeoutMs: 2 });
  assert.throws(() => queue.put(new Int32Array(1)), { code: "usage" });
  assert.throws(() => queue.put(undefined as unknown as Int32Array), { code: "usage" });
  assert.throws(() => SharedQueue.create({ capacity: 2, whenFull: "drop" as "wait" }), {
    code: "usage",
  });
  assert.throws(() => SharedQueue.attach(queue.share(), { timeoutMs: -1 }), { code: "usage" });
  await queue.putAsync(Int32Array.of(1, 2));
  queue.put(Int32Array.of(3, 4));
  assert.throws(() => queue.put(Int32Array.of(5, 6)), { code: "memory-pressure" });
  await assert.rejects(queue.putAsync(Int32Array.of(5, 6)), { code: "memory-pressure" });
  assert.deepEqual(queue.take(), Int32Array.of(1, 2));
  assert.deepEqual(queue.statistics, { put: 2, taken: 1, waited: 2, refused: 2 });
  queue.close();
  assert.deepEqual(await queue.takeAsync(), Int32Array.of(3, 4));
  await assert.rejects(queue.takeAsync(), { code: "closed" });
});
