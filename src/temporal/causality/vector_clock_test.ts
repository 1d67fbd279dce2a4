/** Vector clocks against a map, the laws of a join, what happened before what, pruning, and what is refused. */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { VectorClock, type VectorOrder, VectorTime } from "./vector_clock.ts";

type Model = Map<number, number>;

const nodes = fc.oneof(fc.nat(5), fc.constantFrom(0, 255, 256, 65_534, 65_535), fc.nat(65_535));
const counts = fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant(Number.MAX_SAFE_INTEGER));
const models: fc.Arbitrary<Model> = fc.array(fc.tuple(nodes, counts), { maxLength: 20 })
  .map((entries) => new Map(entries));

function sorted(model: Model): [number, number][] {
  return [...model].filter(([, count]) => count > 0).sort(([a], [b]) => a - b);
}

function joined(a: Model, b: Model): Model {
  const join = new Map(a);
  for (const [node, count] of b) join.set(node, Math.max(count, join.get(node) ?? 0));
  return join;
}

function isBelow(a: Model, b: Model): boolean {
  return [...a].every(([node, count]) => count <= (b.get(node) ?? 0));
}

function orderOf(a: Model, b: Model): VectorOrder {
  const below = isBelow(a, b), above = isBelow(b, a);
  if (below) return above ? "equal" : "before";
  return above ? "after" : "concurrent";
}

Deno.test("VectorClock and VectorTime do as a map does, step by step", () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ step: fc.constant("increment" as const), node: nodes }),
      fc.record({ step: fc.constant("raise" as const), node: nodes, count: fc.nat(9) }),
      fc.record({ step: fc.constant("merge" as const), other: models }),
    ),
    { maxLength: 60 },
  );
  fc.assert(fc.property(steps, (list) => {
    const clock = new VectorClock();
    let model: Model = new Map(), time = VectorTime.EMPTY;
    for (const step of list) {
      const before = time, beforeModel = model, held = time.entries();
      if (step.step === "merge") {
        const other = VectorTime.of(step.other);
        model = joined(model, step.other);
        equal(clock.merge(other), !isBelow(step.other, beforeModel));
        time = time.merge(other);
      } else if (step.step === "raise") {
        model = joined(model, new Map([[step.node, step.count]]));
        equal(clock.raise(step.node, step.count), step.count > (beforeModel.get(step.node) ?? 0));
        time = time.merge(VectorTime.of([[step.node, step.count]]));
      } else if ((model.get(step.node) ?? 0) === Number.MAX_SAFE_INTEGER) {
        throws(() => clock.increment(step.node), { code: "limit" });
        throws(() => time.increment(step.node), { code: "limit" });
      } else {
        model = new Map(model).set(step.node, (model.get(step.node) ?? 0) + 1);
        equal(clock.increment(step.node), model.get(step.node));
        time = time.increment(step.node);
      }
      clock.checkInvariants();
      time.checkInvariants();
      deepEqual(clock.entries(), sorted(model));
      deepEqual(time.entries(), sorted(model));
      deepEqual(clock.snapshot().entries(), sorted(model));
      deepEqual(before.entries(), held);
      equal(before.compare(clock), orderOf(beforeModel, model));
    }
  }));
});

Deno.test("VectorTime.merge() is a join: commutative, associative, idempotent, an upper bound, the least", () => {
  fc.assert(fc.property(models, models, models, (aModel, bModel, cModel) => {
    const [a, b, c] = [aModel, bModel, cModel].map((model) => VectorTime.of(model));
    equal(a.merge(b).compare(b.merge(a)), "equal");
    equal(a.merge(b).merge(c).compare(a.merge(b.merge(c))), "equal");
    equal(a.merge(a), a);
    ok(a.isDominatedBy(a.merge(b)) && b.isDominatedBy(a.merge(b)));
    if (a.isDominatedBy(c) && b.isDominatedBy(c)) ok(a.merge(b).isDominatedBy(c));
    equal(a.merge(VectorTime.EMPTY), a);
  }));
});

Deno.test("Vector.compare() and isDominatedBy() agree with a map, in both forms", () => {
  fc.assert(fc.property(models, models, (aModel, bModel) => {
    const a = VectorTime.of(aModel), b = new VectorClock(VectorTime.of(bModel));
    equal(a.compare(b), orderOf(aModel, bModel));
    equal(b.compare(a), orderOf(bModel, aModel));
    equal(a.isDominatedBy(b), isBelow(aModel, bModel));
    equal(b.isDominatedBy(a), isBelow(bModel, aModel));
    equal(a.size, sorted(aModel).length);
    for (const [node, count] of aModel) equal(a.get(node), count);
  }));
});

Deno.test("Vector.compare() says what happened before what", () => {
  // Events of processes that send to each other; what is true is kept as sets of events.
  const steps = fc.array(fc.tuple(fc.nat(3), fc.option(fc.nat(100))), { maxLength: 40 });
  fc.assert(fc.property(steps, (list) => {
    const clocks = [5, 17, 300, 65_535].map((node) => ({ node, clock: new VectorClock() }));
    const pasts = clocks.map(() => new Set<number>());
    const events: { time: VectorTime; past: Set<number> }[] = [];
    for (const [at, from] of list) {
      const { node, clock } = clocks[at];
      if (from !== null && events.length > 0) {
        const message = from % events.length;
        clock.merge(events[message].time);
        for (const event of events[message].past) pasts[at].add(event);
      }
      clock.increment(node);
      pasts[at].add(events.length);
      events.push({ time: clock.snapshot(), past: new Set(pasts[at]) });
    }
    for (const [i, a] of events.entries()) {
      for (const [j, b] of events.entries()) {
        const expected = i === j
          ? "equal"
          : b.past.has(i)
          ? "before"
          : a.past.has(j)
          ? "after"
          : "concurrent";
        equal(a.time.compare(b.time), expected);
      }
    }
  }));
});

Deno.test("VectorClock holds 65,535 nodes and refuses one more, changing nothing", () => {
  const clock = new VectorClock();
  for (let node = 65_534; node >= 0; node -= 2) clock.increment(node);
  const odd = VectorTime.of(Array.from({ length: 32_767 }, (_, i) => [2 * i + 1, 1] as const));
  equal(clock.merge(odd), true);
  equal(clock.size, 65_535);
  clock.checkInvariants();
  throws(() => clock.increment(65_535), { code: "limit" });
  throws(() => clock.raise(65_535, 1), { code: "limit" });
  const two = VectorTime.of([[0, 9], [65_535, 1]]);
  throws(() => clock.merge(two), { code: "limit" });
  throws(() => clock.snapshot().increment(65_535), { code: "limit" });
  throws(() => clock.snapshot().merge(two), { code: "limit" });
  equal(clock.get(0), 1);
  equal(clock.merge(VectorTime.of([[0, 9]])), true);
  equal(clock.increment(0), 10);
});

Deno.test("VectorTime keeps its value while thousands of others are made", () => {
  const times: VectorTime[] = [], clock = new VectorClock();
  for (let i = 0; i < 3000; i++) {
    clock.increment(i % 90);
    times.push(clock.snapshot());
  }
  for (const [i, time] of times.entries()) {
    equal(time.entries().reduce((sum, [, count]) => sum + count, 0), i + 1);
    time.checkInvariants();
  }
});

Deno.test("prune() takes out a node that all know alike, and nothing where one differs", () => {
  const clock = new VectorClock(VectorTime.of([[1, 3], [4, 2], [9, 40]]));
  const same = VectorTime.of([[1, 1], [4, 2], [9, 40]]);
  for (const other of [[[4, 2], [9, 39]], [[4, 2], [9, 41]], [[9, 40]]] as [number, number][][]) {
    throws(() => clock.prune([4, 9], [same, VectorTime.of(other)]), { code: "usage" });
    throws(() => clock.snapshot().prune([4, 9], [same, VectorTime.of(other)]), { code: "usage" });
    equal(clock.size, 3);
  }
  throws(() => clock.prune([9], []), { code: "usage" });
  throws(() => clock.prune([-1], [same]), { code: "usage" });
  throws(() => clock.prune(9 as never, [same]), { code: "usage" });
  throws(() => clock.prune([9], [new Map()] as never), { code: "usage" });
  deepEqual(clock.snapshot().prune([4, 9, 77], [same]).entries(), [[1, 3]]);
  equal(clock.prune([4, 9, 77], [same, clock]), 2);
  deepEqual(clock.entries(), [[1, 3]]);
  clock.checkInvariants();
});

Deno.test("Vectors refuse what is none", () => {
  const clock = new VectorClock();
  for (const node of [-1, 65_536, 0.5, NaN, "1", 1n, null, undefined] as number[]) {
    throws(() => clock.increment(node), { code: "usage" });
    throws(() => clock.get(node), { code: "usage" });
    throws(() => clock.raise(node, 1), { code: "usage" });
    throws(() => VectorTime.of([[node, 1]]), { code: "usage" });
    throws(() => VectorTime.EMPTY.increment(node), { code: "usage" });
  }
  for (const count of [-1, 0.5, NaN, Infinity, 2 ** 53, "1", 1n] as number[]) {
    throws(() => clock.raise(1, count), { code: "usage" });
    throws(() => VectorTime.of([[1, count]]), { code: "usage" });
  }
  for (const other of [null, undefined, 7, {}, new Map(), new Proxy(clock, {})] as VectorTime[]) {
    throws(() => clock.merge(other), { code: "usage" });
    throws(() => clock.compare(other), { code: "usage" });
    throws(() => clock.isDominatedBy(other), { code: "usage" });
    throws(() => VectorTime.EMPTY.merge(other), { code: "usage" });
    if (other !== undefined) throws(() => new VectorClock(other), { code: "usage" });
  }
  throws(() => VectorTime.of([[1, 1], [1, 2]]), { code: "usage" });
  throws(() => VectorTime.of(7 as never), { code: "usage" });
  throws(() => VectorTime.of([7] as never), { code: "usage" });
  equal(clock.size, 0);
  equal(VectorTime.of([[3, 0]]).size, 0);
  equal(JSON.stringify(VectorTime.of([[3, 5], [1, 2]])), "[[1,2],[3,5]]");
});
