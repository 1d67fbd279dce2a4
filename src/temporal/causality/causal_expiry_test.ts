/** What a causal queue gives up: against the obvious loop, to the end in one call, and at a price that grows with what is held. */
import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { HybridLogicalClock } from "../hlc.ts";
import { CausalCore } from "./_causal_core.ts";
import { Gaps } from "./_causal_gaps.ts";
import { loseOverdue } from "./_causal_losses.ts";
import type { CausalMessage, CausalQueueOptions } from "./causal_message.ts";
import { CausalQueue } from "./causal_queue.ts";
import { HybridCausalClock } from "./hybrid_causal_clock.ts";
import { columnsOf, VectorTime } from "./vector_clock.ts";

type Message = CausalMessage<number>;

const OWN = 9;

function open(options: Partial<CausalQueueOptions<number>>): CausalQueue<number> {
  const hlc = new HybridLogicalClock({ node: OWN, nowUs: () => 1_767_225_600_000_000 });
  return new CausalQueue<number>({
    clock: new HybridCausalClock({ hlc }),
    onTimeout: "skip",
    timeoutMs: 0,
    ...options,
  });
}

function message(node: number, sequence: number, others: [number, number][] = []): Message {
  const vector = VectorTime.of([[node, sequence], ...others]);
  return { node, sequence, hi: 1, lo: 0, vector, payload: 0 };
}

/** The obvious way: one message after the other is settled or lost, as long as there is one. */
function obviousLoss(held: Message[]): { lost: number; left: number } {
  const at = new Map<number, number>(), known = new Map<number, number>();
  for (const { vector } of held) {
    for (const [node, count] of vector.entries()) {
      known.set(node, Math.max(count, known.get(node) ?? 0));
    }
  }
  let left = held, lost = 0;
  for (;;) {
    const ready = left.find(({ node: sender, vector }) =>
      vector.entries().every(([node, count]) =>
        count - Number(node === sender) <= (at.get(node) ?? 0)
      )
    );
    if (ready !== undefined) {
      at.set(ready.node, ready.sequence);
      left = left.filter((other) => other !== ready);
      continue;
    }
    const gap = [...known].find(([node, count]) => {
      const next = (at.get(node) ?? 0) + 1;
      return next <= count && !left.some((each) => each.node === node && each.sequence === next);
    });
    if (gap === undefined) return { lost, left: left.length };
    at.set(gap[0], (at.get(gap[0]) ?? 0) + 1);
    lost++;
  }
}

Deno.test("CausalQueue.expire() loses what the obvious loop loses, whatever vectors say", () => {
  const lies = fc.array(
    fc.record({
      node: fc.nat(3),
      sequence: fc.integer({ min: 1, max: 12 }),
      others: fc.array(fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 12 })), { maxLength: 3 }),
    }),
    { maxLength: 25 },
  ).map((all) => {
    const byName = new Map<string, Message>();
    for (const { node, sequence, others } of all) {
      const counts = new Map(others).set(node, sequence);
      const vector = VectorTime.of([...counts].sort(([a], [b]) => a - b));
      byName.set(`${node}:${sequence}`, { node, sequence, hi: 1, lo: 0, vector, payload: 0 });
    }
    return [...byName.values()];
  });
  let losses = 0, stuck = 0;
  fc.assert(
    fc.property(lies, (messages) => {
      // None is taken, so all that is settled is still held here.
      const queue = open({ monotonicMs: () => 0 });
      for (const each of messages) queue.offer(each);
      const found = queue.expire();
      queue.checkInvariants();
      const { lost, left } = obviousLoss(messages);
      deepEqual([queue.stats().lost, queue.stats().waiting], [lost, left]);
      equal(found.reduce((sum, { first, last }) => sum + last - first + 1, 0), lost);
      deepEqual(queue.expire(), []);
      losses += lost;
      stuck += left;
    }),
    { numRuns: 500 },
  );
  ok(losses > 500 && stuck > 20);
});

Deno.test("CausalQueue.expire() goes on in one call till nothing more is lost", () => {
  // Each of two senders' next message waits for the other's one before: 100 losses, each at the front only after the last.
  const queue = open({ monotonicMs: () => 0 });
  for (let i = 1; i <= 100; i++) {
    for (const [node, other] of [[1, 2], [2, 1]]) {
      queue.offer(message(node, 2 * i, i === 1 ? [] : [[other, 2 * i - 3 + node]]));
    }
  }
  equal(queue.stats().waiting, 200);
  equal(queue.expire().length, 200);
  deepEqual([queue.stats().ready, queue.stats().waiting, queue.nextDueMs()], [200, 0, Infinity]);
  queue.checkInvariants();
});

Deno.test("An expiry looks at all that waits a few times, and not once for each of its losses", () => {
  const clock = open({}).clock, core = new CausalCore<number>(clock, 2 ** 50, new Gaps(0, 0));
  const count = 4000;
  for (let i = 0; i < count; i++) {
    const each = message(10 + i % 16, (1 + (i >> 4)) * 1e6, [[7, 5]]);
    const columns = columnsOf(each.vector);
    core.hold(each, columns, core.examine(each, columns), 1);
    core.noteMissing(columns, () => 0);
  }
  const { waiting } = core, { forEach, wake } = waiting;
  let passes = 0, looks = 0;
  waiting.forEach = (visit) => (passes++, forEach.call(waiting, visit));
  waiting.wake = (node, last) => (looks++, wake.call(waiting, node, last));
  const found = loseOverdue(core, [...core.gaps.all()], ({ highest }) => highest);
  deepEqual([found.length, core.ready.count, core.waiting.count], [count + 1, count, 0]);
  core.checkInvariants();
  ok(passes <= 4 && looks <= 3 * count, `${passes} passes, ${looks} looks`);
});

Deno.test("CausalQueue.skip() drops what waits, however many wait for the same", () => {
  const count = 50_000, queue = open({ timeoutMs: 1000, aheadMax: 2 ** 30 });
  for (let i = 1; i <= count; i++) queue.offer(message(1, i, [[2, 1]]));
  for (let i = 1; i <= 100; i++) queue.offer(message(3, i, [[1, i]]));
  const bytes = queue.stats().bytes;
  equal(queue.skip(1, count), count);
  queue.checkInvariants();
  deepEqual([queue.stats().lost, queue.stats().waiting, queue.stats().ready], [count, 0, 100]);
  ok(queue.stats().bytes * 400 < bytes);
  equal(queue.offer(message(1, count)), "duplicate");
  equal(queue.offer(message(1, count + 1)), "ready");
});
