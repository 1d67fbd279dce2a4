import assert from "node:assert/strict";
import fc from "fast-check";
import type { MessageOptions } from "./message.ts";
import { temporalMessage } from "./message.ts";
import { MessageBatch, PUSH_OUTCOMES } from "./message_batch.ts";
import { TemporalQueue } from "./temporal_queue.ts";
import { CLASSES_US, QueueModel } from "./testdata/queue_model.ts";

const CAPACITY = 12;
const TIMEOUT_US = 60;

/** Few ids, times and windows, so that they meet. */
const messageArbitrary = fc.record({
  id: fc.bigInt(0n, 40n),
  timestamp: fc.bigInt(0n, 12n),
  node: fc.integer({ min: 0, max: 2 }),
  sequence: fc.integer({ min: 0, max: 3 }),
  priority: fc.constantFrom(0, 1, 2, 3),
  dependencies: fc.oneof(
    { weight: 3, arbitrary: fc.constant<bigint[]>([]) },
    { weight: 2, arbitrary: fc.array(fc.bigInt(0n, 40n), { maxLength: 4 }) },
  ),
  fromUs: fc.oneof(fc.constant(-1), fc.integer({ min: -5, max: 300 })),
  lengthUs: fc.oneof(fc.constant(Infinity), fc.integer({ min: -4, max: 2000 })),
  bytes: fc.integer({ min: 0, max: 200 }),
});

const stepArbitrary = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("push" as const), message: messageArbitrary }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("batch" as const),
      messages: fc.array(messageArbitrary, { maxLength: 5 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("pop" as const),
      max: fc.integer({ min: 1, max: 40 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("time" as const),
      us: fc.oneof(
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 0, max: 5000 }),
        fc.constant(2 ** 33 + 7),
      ),
    }),
  },
);

type RandomMessage = typeof messageArbitrary extends fc.Arbitrary<infer T> ? T : never;

function messageAt(nowUs: number, random: RandomMessage): MessageOptions | undefined {
  const { fromUs, lengthUs, bytes, priority, dependencies, ...rest } = random;
  const validFromUs = fromUs < 0 ? 0 : nowUs + fromUs;
  const validUntilUs = Math.max(nowUs, validFromUs) + lengthUs;
  if (validUntilUs < validFromUs || dependencies.includes(rest.id)) return undefined;
  const payload = new Uint8Array(bytes).map((_, index) => index + Number(rest.id));
  return temporalMessage({
    ...rest,
    priority: priority as 0 | 1 | 2 | 3,
    dependencies,
    validFromUs,
    validUntilUs,
    payload,
    errorUs: bytes,
  });
}

Deno.test("TemporalQueue does what a sorted array does, through random steps", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 31 }),
      fc.array(stepArbitrary, { maxLength: 60 }),
      (startUs, steps) => {
        let nowUs = startUs;
        const queue = TemporalQueue.create({
          nowUs: () => nowUs,
          capacity: CAPACITY,
          remembered: 64,
          dependencies: 64,
          payloadBytes: 64 * CAPACITY * 4,
          dependencyTimeoutUs: TIMEOUT_US,
          classesUs: CLASSES_US,
        });
        const model = new QueueModel(CAPACITY, TIMEOUT_US);
        const out = new MessageBatch({ capacity: 40, payloadBytes: 40 * 200, dependencies: 200 });
        model.advance(nowUs);
        for (const step of steps) {
          switch (step.kind) {
            case "push": {
              const message = messageAt(nowUs, step.message);
              if (message === undefined) break;
              const wanted = model.push(temporalMessage(message));
              if (wanted !== undefined) assert.equal(queue.push(message), wanted);
              else assert.throws(() => queue.push(message), { code: "memory-pressure" });
              break;
            }
            case "batch":
              pushBatch(queue, model, step.messages.map((random) => messageAt(nowUs, random)));
              break;
            case "pop": {
              queue.popBatch(out, { max: step.max });
              for (let row = 0; row < out.count; row++) {
                assert.deepEqual(out.get(row), model.pop());
              }
              if (out.count < step.max) assert.equal(model.pop(), undefined);
              break;
            }
            case "time":
              nowUs += step.us;
              model.advance(nowUs);
          }
          compareCounts(queue, model);
        }
      },
    ),
    { numRuns: 400 },
  );
});

function pushBatch(
  queue: TemporalQueue,
  model: QueueModel,
  messages: (MessageOptions | undefined)[],
): void {
  const batch = new MessageBatch({ capacity: 8, payloadBytes: 2000, dependencies: 64 });
  for (const message of messages) if (message !== undefined) batch.add(message);
  if (batch.count > CAPACITY - model.entries.length) {
    assert.throws(() => queue.pushBatch(batch), { code: "memory-pressure" });
    return;
  }
  queue.pushBatch(batch);
  for (let row = 0; row < batch.count; row++) {
    assert.equal(PUSH_OUTCOMES[batch.outcome[row]], model.push(batch.get(row)));
  }
}

function compareCounts(queue: TemporalQueue, model: QueueModel): void {
  const stats = queue.stats(), states = model.entries.map((entry) => model.stateOf(entry));
  const count = (state: string): number => states.filter((one) => one === state).length;
  assert.deepEqual({ ...stats, refused: 0 }, {
    pushed: model.pushed,
    delivered: model.delivered.length,
    expired: model.expired,
    timedOut: model.timedOut,
    dropped: 0,
    held: count("held"),
    waiting: count("waiting"),
    ready: count("ready"),
    duplicates: model.duplicates,
    refused: 0,
  });
  const ended = queue.drainEnded().map(({ id, reason }) => `${id} ${reason}`);
  assert.deepEqual(ended.sort(), model.ended.splice(0).sort());
  assert.equal(queue.size, model.entries.length);
  queue.checkInvariants();
}

Deno.test("messages of one list come out in order, however they came in, and any of them can expire", () => {
  const word = fc.integer({ min: 0, max: 200 });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(word, fc.boolean()), { minLength: 50, maxLength: 200, size: "max" }),
      fc.nat(100),
      (all, taken) => {
        let nowUs = 0;
        const queue = TemporalQueue.create({ nowUs: () => nowUs, capacity: 200 });
        all.forEach(([time, ends], id) => {
          const validUntilUs = ends ? 1e9 + id : Infinity;
          queue.push({ id: BigInt(id), timestamp: BigInt(time), validUntilUs, sequence: id });
        });
        const wanted = all.map(([time, ends], id) => ({ time, ends, id }))
          .sort((a, b) => a.time - b.time || a.id - b.id);
        for (const { id } of wanted.splice(0, taken)) assert.equal(queue.pop()?.id, BigInt(id));
        nowUs = 2e9;
        queue.checkInvariants();
        for (const { id, ends } of wanted) if (!ends) assert.equal(queue.pop()?.id, BigInt(id));
        assert.equal(queue.size, 0);
        queue.checkInvariants();
      },
    ),
    { numRuns: 200 },
  );
});
