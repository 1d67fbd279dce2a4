/** Deadlocks ended in real queues: what is dropped is gone, what is left is delivered. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { HybridLogicalClock } from "../hlc.ts";
import { type MessageOptions, PRIORITIES, TemporalQueue } from "../messages/mod.ts";
import type { CausalMessage } from "./causal_message.ts";
import { CausalQueue } from "./causal_queue.ts";
import type { DeadlockStrategy } from "./deadlock.ts";
import {
  endCausalDeadlocks,
  endDeadlocks,
  type HoldingQueue,
  waitsOfCausalQueue,
  waitsOfQueue,
} from "./deadlock_queue.ts";
import { HybridCausalClock } from "./hybrid_causal_clock.ts";
import { VectorTime } from "./vector_clock.ts";

function queueOf(messages: readonly MessageOptions[]): TemporalQueue {
  const queue = TemporalQueue.create({ nowUs: () => 1_000_000, capacity: 2048 });
  for (const message of messages) queue.push(message);
  return queue;
}

function popAll(queue: TemporalQueue): bigint[] {
  const ids: bigint[] = [];
  for (let message = queue.pop(); message; message = queue.pop()) ids.push(message.id);
  return ids;
}

const stamp = (us: number): bigint => BigInt(us) << 12n;

Deno.test("endDeadlocks() really drops a message from a TemporalQueue, and the rest is delivered", () => {
  const messages: MessageOptions[] = [
    { id: 1n, timestamp: stamp(5), priority: PRIORITIES.high, dependencies: [2n] },
    { id: 2n, timestamp: stamp(7), priority: PRIORITIES.low, dependencies: [3n] },
    { id: 3n, timestamp: stamp(6), priority: PRIORITIES.high, dependencies: [1n] },
    { id: 4n, timestamp: stamp(8), priority: PRIORITIES.low, dependencies: [2n, 3n] },
  ];
  const ended = (strategy: DeadlockStrategy) => {
    const queue = queueOf(messages);
    assert.deepEqual(popAll(queue), []);
    const { victims, isAcyclic } = endDeadlocks(queue, strategy);
    queue.checkInvariants();
    const gone = queue.drainEnded();
    return { ids: victims.map(({ id }) => id), isAcyclic, popped: popAll(queue), gone, queue };
  };
  for (
    const [strategy, victim, popped] of [
      ["drop-oldest", 1n, [3n, 2n, 4n]],
      ["drop-newest", 2n, [1n, 3n, 4n]],
      ["drop-lowest-priority", 2n, [1n, 3n, 4n]],
    ] as const
  ) {
    const result = ended(strategy);
    assert.deepEqual(result.ids, [victim]);
    assert.deepEqual(result.gone, [{ id: victim, reason: "dropped" }]);
    assert.deepEqual(result.popped, popped);
    assert.equal(result.isAcyclic, true);
    const { delivered, dropped, pushed } = result.queue.stats();
    assert.deepEqual([pushed, delivered, dropped], [4, 3, 1]);
    // It is gone for good: its id may come again.
    assert.equal(result.queue.push({ id: victim, timestamp: stamp(9) }), "ready");
  }
  const forced = ended("force-delivery");
  assert.deepEqual([forced.ids, forced.gone], [[1n], []]);
  assert.deepEqual(forced.popped, [1n, 3n, 2n, 4n]);
  const all = ended("drop-all");
  assert.deepEqual([all.ids, all.popped], [[1n, 2n, 3n], [4n]]);
  assert.deepEqual(all.gone.map(({ id }) => id), [1n, 2n, 3n]);
  const waited = ended("wait");
  assert.deepEqual([waited.ids, waited.isAcyclic, waited.popped], [[], false, []]);
});

Deno.test("endDeadlocks() ends circles of 2 to 1000 messages, and leaves those that wait for what is to come", () => {
  for (const length of [2, 3, 10, 1000]) {
    const messages = Array.from({ length }, (_, at): MessageOptions => ({
      id: BigInt(at + 1),
      timestamp: stamp(at),
      dependencies: [BigInt((at + 1) % length + 1)],
    }));
    const queue = queueOf([
      ...messages,
      { id: 5000n, timestamp: stamp(1), dependencies: [9999n, 1n] },
    ]);
    const { victims } = endDeadlocks(queue, "drop-newest");
    assert.deepEqual(victims.map(({ id }) => id), [BigInt(length)]);
    assert.equal(popAll(queue).length, length - 1);
    assert.deepEqual(queue.waiting().map(({ id, dependencies }) => [id, dependencies]), [
      [5000n, [9999n]],
    ]);
    queue.push({ id: 9999n, timestamp: stamp(2) });
    assert.deepEqual(popAll(queue), [9999n, 5000n]);
    queue.checkInvariants();
  }
});

Deno.test("endDeadlocks() on random queues: each message is delivered or dropped, none waits for itself", () => {
  const random = fc.array(fc.array(fc.nat(11), { maxLength: 3 }), { minLength: 1, maxLength: 12 });
  const strategies = fc.constantFrom<DeadlockStrategy>(
    "drop-oldest",
    "drop-newest",
    "drop-lowest-priority",
    "force-delivery",
    "drop-all",
  );
  fc.assert(
    fc.property(random, strategies, (needs, strategy) => {
      const queue = queueOf(needs.map((dependencies, at) => ({
        id: BigInt(at),
        timestamp: stamp(at % 4),
        priority: (at % 3) as 0 | 1 | 2,
        dependencies: dependencies.map((other) => other % needs.length)
          .filter((other) => other !== at).map(BigInt),
      })));
      const { victims, isAcyclic } = endDeadlocks(queue, strategy);
      assert.equal(isAcyclic, true);
      queue.checkInvariants();
      const dropped = victims.filter(({ action }) => action === "drop").map(({ id }) => id);
      const all = [...dropped, ...popAll(queue)].map(Number).sort((a, b) => a - b);
      assert.deepEqual(all, needs.map((_, at) => at));
      assert.deepEqual([...waitsOfQueue(queue).cycles()], []);
      queue.checkInvariants();
    }),
    { numRuns: 100 },
  );
});

function causalQueue(node: number): CausalQueue<string> {
  const hlc = new HybridLogicalClock({ node, nowUs: () => 1_000_000 });
  return new CausalQueue({ clock: new HybridCausalClock({ hlc }), monotonicMs: () => 0 });
}

/** A message as only a faulty sender makes it: it names what names it. */
function message(
  node: number,
  sequence: number,
  us: number,
  ...others: [number, number][]
): CausalMessage<string> {
  const vector = VectorTime.of([[node, sequence], ...others]);
  const { hi, lo } = { hi: Math.floor(us / 2 ** 20), lo: (us << 12) >>> 0 };
  return { node, sequence, hi, lo, vector, payload: `${node}:${sequence}` };
}

Deno.test("endCausalDeadlocks() really drops a message of a CausalQueue, and the rest is delivered", () => {
  const open = () => {
    const queue = causalQueue(1);
    assert.equal(queue.offer(message(2, 1, 10, [3, 2])), "waiting");
    assert.equal(queue.offer(message(3, 1, 20)), "ready");
    assert.equal(queue.offer(message(3, 2, 30, [4, 1])), "waiting");
    assert.equal(queue.offer(message(4, 1, 40, [2, 1])), "waiting");
    assert.equal(queue.offer(message(5, 1, 50, [4, 1])), "waiting");
    assert.equal(queue.offer(message(6, 2, 60)), "waiting"); // 6:1 is only late
    assert.deepEqual([...queue.deliverable()].map(({ payload }) => payload), ["3:1"]);
    return queue;
  };
  assert.deepEqual([...waitsOfCausalQueue(open()).cycles()], [["2:1", "3:2", "4:1"]]);
  for (
    const [strategy, victims, delivered] of [
      ["drop-oldest", ["2:1"], ["4:1", "3:2", "5:1"]],
      ["drop-newest", ["4:1"], ["3:2", "2:1", "5:1"]],
      ["drop-lowest-priority", ["4:1"], ["3:2", "2:1", "5:1"]],
      ["wait", [], []],
    ] as const
  ) {
    const queue = open(), result = endCausalDeadlocks(queue, strategy);
    queue.checkInvariants();
    assert.deepEqual(result.victims.map(({ id }) => id), victims);
    assert.equal(result.isAcyclic, strategy !== "wait");
    const payloads = [...queue.deliverable()].map(({ payload }) => payload);
    assert.deepEqual(payloads.toSorted(), delivered.toSorted(), strategy);
    assert.equal(queue.offer(message(6, 1, 55)), "ready");
    assert.deepEqual([...queue.deliverable()].map(({ payload }) => payload), ["6:1", "6:2"]);
    assert.deepEqual([...waitsOfCausalQueue(queue).cycles()].length, strategy === "wait" ? 1 : 0);
  }
  for (const strategy of ["force-delivery", "drop-all"] as const) {
    assert.throws(() => endCausalDeadlocks(open(), strategy), { code: "usage" });
  }
});

Deno.test("endDeadlocks() refuses what is no queue, and says what a queue refused", () => {
  for (const bad of [undefined, 7, {}, { waiting: () => 7 }]) {
    assert.throws(() => endDeadlocks(bad as unknown as HoldingQueue, "wait"), { code: "usage" });
  }
  const queue = queueOf([
    { id: 1n, timestamp: 1n, dependencies: [2n] },
    { id: 2n, timestamp: 2n, dependencies: [1n] },
  ]);
  const refusing: HoldingQueue = {
    waiting: () => queue.waiting(),
    release: () => true,
    drop() {
      throw new Error("not now");
    },
  };
  assert.throws(() => endDeadlocks(refusing, "drop-oldest"), {
    message: /Cannot drop 1 .*not now/,
  });
  assert.equal(queue.waiting().length, 2);
});
