/** The queue against the obvious one, and each thing that it promises beside the order. */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { HybridLogicalClock } from "../hlc.ts";
import type { CausalMessage, CausalQueueOptions } from "./causal_message.ts";
import { CausalQueue } from "./causal_queue.ts";
import { HybridCausalClock } from "./hybrid_causal_clock.ts";
import { VectorTime } from "./vector_clock.ts";

const NOW_US = 1_767_225_600_000_000;

type Message = CausalMessage<unknown>;

function clockOf(node: number, vector?: VectorTime): HybridCausalClock {
  return new HybridCausalClock({
    hlc: new HybridLogicalClock({ node, nowUs: () => NOW_US }),
    vector,
  });
}

function open(
  node: number,
  options: Partial<CausalQueueOptions<unknown>> = {},
): CausalQueue<unknown> {
  return new CausalQueue<unknown>({ clock: clockOf(node), monotonicMs: () => 0, ...options });
}

function nameOf({ node, sequence }: Message): string {
  return `${node}:${sequence}`;
}

function taken(queue: CausalQueue<unknown>): string[] {
  return [...queue.deliverable()].map(nameOf);
}

function message(node: number, sequence: number, others: [number, number][] = []): Message {
  const vector = VectorTime.of([[node, sequence], ...others]);
  return { node, sequence, hi: 1, lo: sequence, vector, payload: `${node}:${sequence}` };
}

/** `count` messages of one sender. */
function inOrder(count: number, node = 1): Message[] {
  const queue = open(node);
  return Array.from({ length: count }, (_, i) => queue.send(i));
}

/** The obvious queue: looks at all that it holds until nothing more can be delivered. */
class ObviousQueue {
  readonly delivered = new Map<number, number>();
  held: Message[] = [];

  offer(message: Message): { outcome: string; freed: string[] } {
    const at = (node: number) => this.delivered.get(node) ?? 0;
    if (
      message.sequence <= at(message.node) ||
      this.held.some((other) => nameOf(other) === nameOf(message))
    ) return { outcome: "duplicate", freed: [] };
    this.held.push(message);
    const freed: string[] = [];
    for (let found: Message | undefined = message; found !== undefined;) {
      found = this.held.find(({ node: sender, vector }) =>
        vector.entries().every(([node, count]) =>
          node === sender ? count === at(node) + 1 : count <= at(node)
        )
      );
      if (found === undefined) break;
      this.delivered.set(found.node, found.sequence);
      freed.push(nameOf(found));
      this.held = this.held.filter((other) => other !== found);
    }
    return { outcome: this.held.includes(message) ? "waiting" : "ready", freed };
  }

  missing(): string[] {
    const named = new Map<number, number>();
    for (const { vector } of this.held) {
      for (const [node, count] of vector.entries()) {
        named.set(node, Math.max(count, named.get(node) ?? 0));
      }
    }
    const missing: string[] = [];
    for (const [node, last] of named) {
      for (let sequence = (this.delivered.get(node) ?? 0) + 1; sequence <= last; sequence++) {
        const name = `${node}:${sequence}`;
        if (!this.held.some((other) => nameOf(other) === name)) missing.push(name);
      }
    }
    return missing.sort();
  }
}

/** Some nodes that send, and take what others sent: what they sent, with true vectors. */
const histories: fc.Arbitrary<Message[]> = fc.array(
  fc.record({ node: fc.nat(3), takes: fc.array(fc.nat(200), { maxLength: 4 }) }),
  { minLength: 1, maxLength: 40 },
).map((steps) => {
  const queues = [1, 2, 500, 65_535].map((node) => open(node));
  const sent: Message[] = [];
  for (const { node, takes } of steps) {
    for (const take of takes) if (sent.length > 0) queues[node].offer(sent[take % sent.length]);
    for (const _ of queues[node].deliverable());
    sent.push(queues[node].send(sent.length));
  }
  return sent;
});

Deno.test("CausalQueue does as the obvious queue does, in any order, with duplicates", () => {
  const runs = histories.chain((sent) =>
    fc.tuple(
      fc.constant(sent),
      fc.array(fc.tuple(fc.nat(sent.length - 1), fc.nat(3)), { maxLength: 3 * sent.length }),
    )
  );
  fc.assert(
    fc.property(runs, ([sent, offers]) => {
      const queue = open(77), obvious = new ObviousQueue();
      const ready = new Set<string>(), order: string[] = [];
      const take = (most: number) => {
        for (let i = 0; i < most; i++) {
          const next = queue.take();
          if (next === undefined) return;
          order.push(nameOf(next));
        }
      };
      for (const [index, most] of offers) {
        const { outcome, freed } = obvious.offer(sent[index]);
        equal(queue.offer(sent[index]), outcome);
        for (const name of freed) ready.add(name);
        queue.checkInvariants();
        take(most);
        queue.checkInvariants();
        const { ready: left, waiting } = queue.stats();
        deepEqual([order.length + left, waiting], [ready.size, obvious.held.length]);
        const missing = queue.missing().flatMap(({ node, first, last }) =>
          Array.from({ length: last - first + 1 }, (_, i) => `${node}:${first + i}`)
        );
        deepEqual(missing.sort(), obvious.missing());
      }
      take(Infinity);
      deepEqual(new Set(order), ready);
      equal(order.length, ready.size);
      const seen = new Map<number, number>(), byName = new Map(sent.map((m) => [nameOf(m), m]));
      for (const name of order) {
        const { node: sender, vector } = byName.get(name)!;
        for (const [node, count] of vector.entries()) {
          ok((seen.get(node) ?? 0) >= (node === sender ? count - 1 : count), `${name} too early`);
        }
        seen.set(sender, (seen.get(sender) ?? 0) + 1);
      }
      deepEqual(queue.clock.vector().entries(), [...obvious.delivered].sort(([a], [b]) => a - b));
    }),
    { numRuns: 300 },
  );
});

Deno.test("CausalQueue delivers others' messages to a node that has no event of its own", () => {
  // One counter for local events and for deliveries would wait here for numbers that nobody sent.
  const alice = open(1), bob = open(2), carol = open(3);
  for (let round = 0; round < 100; round++) {
    for (let i = 0; i < 10; i++) alice.clock.localEvent();
    const first = alice.send(round);
    for (let i = 0; i < 7; i++) alice.clock.localEvent();
    const second = alice.send(round);
    bob.offer(first);
    deepEqual(taken(bob), [nameOf(first)]);
    bob.clock.localEvent();
    const answer = bob.send(round);
    bob.offer(second);
    deepEqual(taken(bob), [nameOf(second)]);
    for (const each of [answer, second, first]) carol.offer(each);
    equal(taken(carol).length, 3);
    alice.offer(answer);
    deepEqual(taken(alice), [nameOf(answer)]);
  }
  deepEqual([carol.stats().localEvents, carol.stats().delivered], [0, 300]);
  deepEqual([alice.stats().localEvents, alice.stats().sent], [1700, 200]);
});

Deno.test("CausalQueue delivers 100,000 messages that came fully reversed", () => {
  const messages = inOrder(100_000), queue = open(2);
  for (let i = messages.length - 1; i > 0; i--) equal(queue.offer(messages[i]), "waiting");
  deepEqual(queue.missing(), [{ node: 1, first: 1, last: 1 }]);
  equal(queue.stats().waiting, 99_999);
  equal(queue.offer(messages[0]), "ready");
  for (const each of messages) equal(queue.take(), each);
  equal(queue.take(), undefined);
  const { waiting, ready, bytes, gaps } = queue.stats();
  deepEqual({ waiting, ready, bytes, gaps }, { waiting: 0, ready: 0, bytes: 0, gaps: 0 });
  queue.checkInvariants();
});

Deno.test("CausalQueue.requests() asks for ranges, and less and less often", () => {
  let now = 1000;
  const queue = open(9, { monotonicMs: () => now, requestAfterMs: 50, requestEveryMsMax: 300 });
  const messages = inOrder(12);
  for (const i of [1, 4, 5, 9]) queue.offer(messages[i]);
  const gaps = [[1, 1], [3, 4], [7, 9]].map(([first, last]) => ({ node: 1, first, last }));
  deepEqual(queue.missing(), gaps);
  deepEqual(queue.requests(), []);
  equal(queue.nextDueMs(), 1050);
  const asked: number[] = [];
  for (; now < 2200; now += 10) if (queue.requests().length > 0) asked.push(now);
  deepEqual(asked, [1050, 1150, 1350, 1650, 1950]);
  // Something came: the other end is alive, so the time begins anew after the next request.
  queue.offer(messages[0]);
  now = 2250;
  deepEqual(queue.requests(), gaps.slice(1));
  equal(queue.nextDueMs(), 2350);
  now = 100;
  equal(queue.requests().length, 0);
  for (const each of messages) queue.offer(each);
  deepEqual([queue.missing(), queue.nextDueMs(), queue.stats().gaps], [[], Infinity, 0]);
});

Deno.test("CausalQueue.requests() names at most 64 ranges of a sender at a time, the first ones", () => {
  let now = 0;
  const queue = open(9, { monotonicMs: () => now });
  const messages = inOrder(1000);
  for (let i = 1; i < messages.length; i += 2) queue.offer(messages[i]);
  now = 50;
  const ranges = queue.requests();
  deepEqual([ranges.length, ranges[0].first, ranges[63].first], [64, 1, 127]);
  equal(queue.missing().length, 500);
});

Deno.test("CausalQueue.learn() notices a last message that nothing names", () => {
  const sender = open(1), queue = open(2, { aheadMax: 10 });
  const sent = sender.send("lost on the way");
  queue.learn(sender.clock.vector());
  deepEqual(queue.missing(), [{ node: 1, first: 1, last: 1 }]);
  queue.learn(VectorTime.of([[1, 1], [5, 1000]]));
  deepEqual(queue.missing()[1], { node: 5, first: 1, last: 10 });
  queue.offer(sent);
  deepEqual(taken(queue), ["1:1"]);
  deepEqual(queue.missing().map(({ node }) => node), [5]);
  throws(() => queue.learn(VectorTime.of([[2, 1]])), { code: "usage" });
  throws(() => queue.learn({} as VectorTime), { code: "usage" });
  queue.checkInvariants();
});

Deno.test("CausalQueue.expire() reports what is overdue once, and waits on", () => {
  let now = 0;
  const queue = open(9, { monotonicMs: () => now, timeoutMs: 1000 });
  queue.offer(message(1, 2, [[3, 4]]));
  now = 999;
  deepEqual(queue.expire(), []);
  now = 1000;
  deepEqual(queue.expire(), [
    { node: 1, first: 1, last: 1, sinceMs: 0, lost: false },
    { node: 3, first: 1, last: 4, sinceMs: 0, lost: false },
  ]);
  now = 9000;
  deepEqual(queue.expire(), []);
  queue.offer(message(1, 1));
  deepEqual(taken(queue), ["1:1"]);
  equal(queue.stats().waiting, 1);
});

Deno.test("CausalQueue.expire() declares lost by the policy, and what waited keeps its order", () => {
  let now = 0;
  const queue = open(9, { monotonicMs: () => now, timeoutMs: 1000, onTimeout: "skip" });
  queue.offer(message(2, 1, [[1, 3]]));
  queue.offer(message(1, 3));
  queue.offer(message(2, 2));
  now = 500;
  queue.offer(message(1, 6));
  queue.offer(message(3, 1, [[2, 2], [1, 6]]));
  now = 1000;
  deepEqual(queue.expire(), [{ node: 1, first: 1, last: 2, sinceMs: 0, lost: true }]);
  queue.checkInvariants();
  equal(queue.offer(message(1, 2)), "duplicate");
  deepEqual(taken(queue), ["1:3", "2:1", "2:2"]);
  // The others were noticed later, and count from then on.
  now = 2000;
  deepEqual(queue.expire(), [{ node: 1, first: 4, last: 5, sinceMs: 1000, lost: true }]);
  deepEqual(taken(queue), ["1:6", "3:1"]);
  deepEqual([queue.stats().lost, queue.stats().waiting, queue.stats().gaps], [4, 0, 0]);
  deepEqual(queue.clock.vector().entries(), [[1, 6], [2, 2], [3, 1]]);
  queue.checkInvariants();
});

Deno.test("CausalQueue.expire() goes on with what a loss sets free", () => {
  let now = 0;
  const queue = open(9, { monotonicMs: () => now, timeoutMs: 10, onTimeout: "skip" });
  // 2:2 waits for 2:1, and 1:2 for 2:2 and 1:1; 1:4 waits for 1:3.
  for (const each of [message(2, 2), message(1, 4), message(1, 2, [[2, 2]])]) queue.offer(each);
  now = 10;
  equal(queue.expire().every(({ lost }) => lost), true);
  deepEqual(taken(queue), ["2:2", "1:2", "1:4"]);
  queue.checkInvariants();
});

Deno.test("CausalQueue.expire() loses nothing behind a message that waits for another sender", () => {
  let now = 0;
  const queue = open(9, { monotonicMs: () => now, timeoutMs: 1000, onTimeout: "skip" });
  queue.offer(message(1, 4));
  queue.offer(message(1, 1));
  now = 900;
  queue.offer(message(1, 2, [[5, 1]]));
  now = 1000;
  equal(queue.requests().length, 2);
  deepEqual(queue.expire(), []);
  // A timer that goes by this does not spin.
  ok(queue.nextDueMs() > now);
  queue.checkInvariants();
  now = 1900;
  deepEqual(queue.expire().map(({ node, first, last }) => [node, first, last]), [[5, 1, 1], [
    1,
    3,
    3,
  ]]);
  queue.checkInvariants();
  deepEqual(taken(queue), ["1:1", "1:2", "1:4"]);
});

Deno.test("CausalQueue knows of a loss behind which nothing of its sender came", () => {
  let now = 0;
  const queue = open(9, { monotonicMs: () => now, timeoutMs: 1000, onTimeout: "skip" });
  queue.offer(message(2, 1, [[1, 3]]));
  // A steady clock that fails, or goes back, stands still.
  now = NaN;
  queue.offer(message(2, 2, [[3, 1]]));
  now = -5000;
  deepEqual(queue.expire(), []);
  now = 1000;
  equal(queue.expire().length, 2);
  deepEqual(taken(queue), ["2:1", "2:2"]);
  deepEqual(queue.send("mine").vector.entries(), [[1, 3], [2, 2], [3, 1], [9, 1]]);
});

Deno.test("CausalQueue.skip() ends waiting, also for messages that wait for each other", () => {
  const queue = open(9);
  queue.offer(message(1, 1, [[2, 1]]));
  queue.offer(message(2, 1, [[1, 1]]));
  queue.offer(message(3, 1, [[1, 1]]));
  deepEqual([queue.missing(), queue.stats().waiting], [[], 3]);
  equal(queue.skip(1, 1), 1);
  queue.checkInvariants();
  deepEqual(taken(queue).sort(), ["2:1", "3:1"]);
  equal(queue.skip(1, 1), 0);
  equal(queue.offer(message(1, 1)), "duplicate");
  throws(() => queue.skip(9, 1), { code: "usage" });
  throws(() => queue.skip(1, 2 ** 40), { code: "limit" });
  for (const bad of [0, -1, 1.5, NaN, "1"] as number[]) {
    throws(() => queue.skip(1, bad), { code: "usage" });
  }
  throws(() => queue.skip(-1, 1), { code: "usage" });
});

Deno.test("CausalQueue holds no more than it may, and still takes what it waits for", () => {
  const messages = inOrder(10);
  const queue = open(2, { pendingMax: 3 });
  deepEqual(messages.slice(1, 6).map((each) => queue.offer(each)), [
    "waiting",
    "waiting",
    "waiting",
    "full",
    "full",
  ]);
  equal(queue.stats().full, 2);
  // What was refused is known to be missing.
  deepEqual(queue.missing(), [{ node: 1, first: 1, last: 1 }, { node: 1, first: 5, last: 6 }]);
  equal(queue.offer(messages[0]), "ready");
  equal(queue.offer(messages[4]), "full");
  queue.checkInvariants();
  equal(taken(queue).length, 4);
  deepEqual(messages.slice(4, 7).map((each) => queue.offer(each)), ["ready", "ready", "ready"]);
  equal(queue.offer(messages[7]), "full");
});

Deno.test("CausalQueue counts bytes, and refuses what has no room at all", () => {
  const queue = open(2, { pendingBytesMax: 1000, bytesOf: (payload) => payload as number });
  const sized = (sequence: number, bytes: number) => ({ ...message(1, sequence), payload: bytes });
  equal(queue.offer(sized(2, 900)), "waiting");
  equal(queue.offer(sized(3, 900)), "full");
  ok(queue.stats().bytes > 900 && queue.stats().bytes < 1000);
  throws(() => queue.offer(sized(4, 1000)), { code: "limit" });
  throws(() => queue.offer(sized(4, NaN)), { code: "usage" });
  const bytes = open(3, { pendingBytesMax: 1000 });
  throws(() => bytes.offer({ ...message(1, 1), payload: new Uint8Array(1000) }), { code: "limit" });
  equal(bytes.offer({ ...message(1, 1), payload: new Uint8Array(900) }), "ready");
});

Deno.test("CausalQueue refuses what cannot be, and changes nothing", () => {
  const queue = open(9, { aheadMax: 100 }), good = message(1, 1);
  queue.send("mine");
  const anHourAhead = { ...good, hi: 0xffff_ffff };
  const refused: [unknown, string][] = [
    [anHourAhead, "limit"],
    [message(1, 101), "limit"],
    [message(1, 1, [[2, 2 ** 53 - 1]]), "limit"],
    [message(1, 1, [[9, 2]]), "usage"],
    [message(9, 2), "usage"],
    [{ ...good, sequence: 2 }, "usage"],
    [{ ...good, node: 2 }, "usage"],
    [{ ...good, sequence: 0 }, "usage"],
    [{ ...good, sequence: NaN }, "usage"],
    [{ ...good, sequence: 1n }, "usage"],
    [{ ...good, node: 65_536 }, "usage"],
    [{ ...good, hi: -1 }, "usage"],
    [{ ...good, vector: { 1: 1 } }, "usage"],
    [null, "usage"],
    ["text", "usage"],
    [undefined, "usage"],
  ];
  const before = queue.stats(), peeked = queue.clock.hlc.peek();
  for (const [bad, code] of refused) {
    throws(() => queue.offer(bad as Message), { code });
    deepEqual(queue.stats(), before);
    equal(queue.clock.hlc.peek(), peeked);
    queue.checkInvariants();
  }
  equal(queue.offer(message(9, 1)), "duplicate");
  equal(queue.offer(message(1, 100, [[9, 1]])), "waiting");
  equal(queue.offer(good), "ready");
});

Deno.test("CausalQueue goes on from the vector that a node had before", () => {
  const messages = inOrder(4), before = open(2);
  for (const each of messages.slice(0, 3)) before.offer(each);
  taken(before);
  before.send("mine");
  const clock = clockOf(2, before.clock.vector());
  const queue = new CausalQueue<unknown>({ clock });
  equal(queue.offer(messages[1]), "duplicate");
  equal(queue.offer(messages[3]), "ready");
  deepEqual(taken(queue), ["1:4"]);
  equal(queue.send("next").sequence, 2);
});

Deno.test("CausalQueue that has lost its state is told so by the first that names its old messages", () => {
  const before = open(2), other = open(1);
  for (const each of [before.send("one"), before.send("two")]) other.offer(each);
  taken(other);
  const answer = other.send("answer"), again = open(2);
  throws(() => again.offer(answer), { code: "usage", message: /vector that it had/ });
  throws(() => again.learn(other.clock.vector()), { code: "usage" });
  again.checkInvariants();
  // With what all others know of it, it goes on behind them.
  const queue = new CausalQueue<unknown>({ clock: clockOf(2, other.clock.vector()) });
  equal(queue.offer(answer), "duplicate");
  const third = queue.send("three");
  equal(other.offer(third), "ready");
  deepEqual(taken(other), ["2:3"]);
});

Deno.test("CausalQueue refuses options that it does not know or cannot use", () => {
  const clock = clockOf(1);
  const refused: unknown[] = [
    undefined,
    {},
    { clock: {} },
    { clock, max: 3 },
    { clock, pendingMax: 0 },
    { clock, pendingMax: 2 ** 21 },
    { clock, pendingBytesMax: NaN },
    { clock, aheadMax: 0 },
    { clock, timeoutMs: -1 },
    { clock, requestAfterMs: "50" },
    { clock, requestEveryMsMax: Infinity },
    { clock, onTimeout: "drop" },
    { clock, monotonicMs: 5 },
    { clock, bytesOf: 5 },
  ];
  for (const options of refused) {
    throws(() => new CausalQueue(options as CausalQueueOptions<unknown>), { code: "usage" });
  }
});
