import assert from "node:assert/strict";
import fc from "fast-check";
import type { MessageOptions, TemporalMessage } from "./message.ts";
import { temporalMessage } from "./message.ts";
import { MessageBatch, PUSH_OUTCOMES } from "./message_batch.ts";
import { TemporalQueue } from "./temporal_queue.ts";
import { CLASSES_US, QueueModel } from "./testdata/queue_model.ts";

const TIMEOUT_US = 60;
/** Threads' views of one queue, more than it has lanes a priority. */
const SIDES = 10;

/** Longer than what is copied under the lock. */
const BYTES_MAX = 400;
/** Ids of bursts begin there. */
const BURSTS = 1000n;
const anyId = fc.oneof(fc.bigInt(0n, 24n), fc.bigInt(BURSTS, BURSTS + 24n));

/** Few ids, times and windows, so that they meet. */
const messageArbitrary = fc.record({
  id: fc.bigInt(0n, 24n),
  timestamp: fc.bigInt(0n, 6n),
  node: fc.integer({ min: 0, max: 2 }),
  sequence: fc.integer({ min: 0, max: 3 }),
  priority: fc.constantFrom(0, 1, 1, 1, 2, 3),
  dependencies: fc.oneof(
    { weight: 3, arbitrary: fc.constant<bigint[]>([]) },
    { weight: 2, arbitrary: fc.array(anyId, { maxLength: 3 }) },
  ),
  fromUs: fc.oneof({ weight: 2, arbitrary: fc.constant(-1) }, fc.integer({ min: -5, max: 300 })),
  lengthUs: fc.oneof(
    { weight: 2, arbitrary: fc.constant(Infinity) },
    fc.integer({ min: -4, max: 2000 }),
  ),
  bytes: fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: BYTES_MAX })),
});

/** Mostly one: its messages are in one lane. */
const by = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.nat(SIDES - 1));

const stepArbitrary = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("push" as const), by, message: messageArbitrary }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("batch" as const),
      by,
      messages: fc.array(messageArbitrary, { maxLength: 5 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("burst" as const),
      by,
      count: fc.integer({ min: 1, max: 20 }),
      timestamp: fc.bigInt(0n, 12n),
      priorities: fc.constantFrom(1, 4),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("pop" as const),
      by,
      max: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 40 })),
      isTight: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("drop" as const, "release" as const),
      by,
      id: anyId,
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

/** A queue as several threads see it, and what it must do. */
class Pair {
  nowUs: number;
  readonly sides: TemporalQueue[];
  readonly model: QueueModel;
  readonly #capacity: number;
  readonly #wide = new MessageBatch({
    capacity: 40,
    payloadBytes: 40 * BYTES_MAX,
    dependencies: 200,
  });
  readonly #tight = new MessageBatch({ capacity: 40, payloadBytes: 120, dependencies: 4 });
  #fresh = BURSTS;

  constructor(startUs: number, capacity: number) {
    this.nowUs = startUs;
    const nowUs = (): number => this.nowUs;
    const first = TemporalQueue.create({
      nowUs,
      capacity,
      remembered: 4096,
      dependencies: 64,
      payloadBytes: (BYTES_MAX + 64) * capacity,
      dependencyTimeoutUs: TIMEOUT_US,
      classesUs: CLASSES_US,
    });
    this.#capacity = capacity;
    this.sides = [first];
    while (this.sides.length < SIDES) {
      this.sides.push(TemporalQueue.attach(first.share(), { nowUs }));
    }
    this.model = new QueueModel(capacity, TIMEOUT_US);
    this.model.advance(startUs);
  }

  push(by: number, random: RandomMessage): void {
    const message = messageAt(this.nowUs, random);
    if (message === undefined) return;
    const wanted = this.model.push(temporalMessage(message)), queue = this.sides[by];
    if (wanted !== undefined) assert.equal(queue.push(message), wanted);
    else assert.throws(() => queue.push(message), { code: "memory-pressure" });
  }

  pushAll(by: number, messages: readonly (MessageOptions | undefined)[]): void {
    const batch = new MessageBatch({
      capacity: 20,
      payloadBytes: 20 * BYTES_MAX,
      dependencies: 64,
    });
    for (const message of messages) if (message !== undefined) batch.add(message);
    if (batch.count > this.#capacity - this.model.entries.length) {
      const code = batch.count > this.#capacity ? "limit" : "memory-pressure";
      assert.throws(() => this.sides[by].pushBatch(batch), { code });
      return;
    }
    this.sides[by].pushBatch(batch);
    for (let row = 0; row < batch.count; row++) {
      assert.equal(PUSH_OUTCOMES[batch.outcome[row]], this.model.push(batch.get(row)));
    }
  }

  /** Plain messages in order, whose payloads are of all lengths. */
  burst(by: number, count: number, timestamp: bigint, priorities: number): void {
    this.pushAll(
      by,
      Array.from({ length: count }, (_, index) => ({
        id: this.#fresh++,
        timestamp: timestamp + BigInt(index >> 1),
        sequence: index,
        priority: (index % priorities) as 0 | 1 | 2 | 3,
        payload: new Uint8Array((index * 7) % 33).fill(index),
      })),
    );
  }

  pop(by: number, max: number, isTight: boolean): void {
    const out = isTight ? this.#tight : this.#wide, first = this.model.first();
    if (first !== undefined && !hasRoom(out, 0, 0, first)) {
      assert.throws(() => this.sides[by].popBatch(out, { max }), { code: "out-of-bounds" });
      return;
    }
    this.sides[by].popBatch(out, { max });
    for (let row = 0; row < out.count; row++) {
      assert.deepEqual(out.get(row), this.model.first());
      this.model.pop();
    }
    const next = this.model.first();
    if (out.count === max || next === undefined) return;
    assert.ok(
      !hasRoom(out, out.payloadEnd, out.dependencyEnd, next),
      "There was room for one more",
    );
  }

  compare(): void {
    const [queue] = this.sides;
    compareCounts(queue, this.model);
    const waiting = queue.waiting().map(({ id, dependencies }) =>
      `${id} for ${[...dependencies].sort()}`
    );
    assert.deepEqual(waiting.sort(), this.model.waiting().sort());
  }
}

function hasRoom(
  batch: MessageBatch,
  payloadEnd: number,
  dependencyEnd: number,
  { payload, dependencies }: TemporalMessage,
): boolean {
  return payloadEnd + 4 * Math.ceil(payload.length / 4) <= batch.payload.length &&
    2 * (dependencyEnd + dependencies.length) <= batch.dependencies.length;
}

Deno.test("TemporalQueue does what a sorted array does, through random steps", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 31 }),
      fc.constantFrom(12, 60),
      fc.array(stepArbitrary, { maxLength: 60, size: "max" }),
      (startUs, capacity, steps) => {
        const pair = new Pair(startUs, capacity), { model } = pair;
        for (const step of steps) {
          switch (step.kind) {
            case "push":
              pair.push(step.by, step.message);
              break;
            case "batch":
              pair.pushAll(step.by, step.messages.map((random) => messageAt(pair.nowUs, random)));
              break;
            case "burst":
              pair.burst(step.by, step.count, step.timestamp, step.priorities);
              break;
            case "pop":
              pair.pop(step.by, step.max, step.isTight);
              break;
            case "drop":
              assert.equal(pair.sides[step.by].drop(step.id), model.drop(step.id));
              break;
            case "release":
              assert.equal(pair.sides[step.by].release(step.id), model.release(step.id));
              break;
            case "time":
              pair.nowUs += step.us;
              model.advance(pair.nowUs);
          }
          pair.compare();
        }
      },
    ),
    { numRuns: 400 },
  );
});

function compareCounts(queue: TemporalQueue, model: QueueModel): void {
  const stats = queue.stats(), states = model.entries.map((entry) => model.stateOf(entry));
  const count = (state: string): number => states.filter((one) => one === state).length;
  assert.deepEqual({ ...stats, refused: 0 }, {
    pushed: model.pushed,
    delivered: model.delivered.length,
    expired: model.expired,
    timedOut: model.timedOut,
    dropped: model.dropped,
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
