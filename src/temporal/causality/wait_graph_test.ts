/** WaitGraph beside a search of all sequences of participants, and with what it must refuse and really do. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { DEADLOCK_STRATEGIES, type DeadlockStrategy, type DeadlockVictim } from "./deadlock.ts";
import { WaitGraph, type WaitId, type WaitInput } from "./wait_graph.ts";

const wait = (waiter: WaitId, holder: WaitId, sinceUs = 0, priority = 1): WaitInput => ({
  waiter,
  holder,
  sinceUs,
  priority,
});

function graphOf(waits: Iterable<WaitInput>): WaitGraph {
  const graph = new WaitGraph();
  for (const one of waits) graph.add(one);
  graph.checkInvariants();
  return graph;
}

/** Every elementary cycle, by trying every way from each participant over larger ones. */
function allCycles(waits: readonly WaitInput[]): string[] {
  const edges = new Set(waits.map(({ waiter, holder }) => `${waiter} ${holder}`));
  const ids = [...new Set(waits.flatMap(({ waiter, holder }) => [waiter, holder]))] as number[];
  const cycles: string[] = [];
  const walk = (way: number[]) => {
    const last = way[way.length - 1];
    if (edges.has(`${last} ${way[0]}`)) cycles.push(way.join(" "));
    for (const id of ids) {
      if (id > way[0] && !way.includes(id) && edges.has(`${last} ${id}`)) walk([...way, id]);
    }
  };
  for (const id of ids) walk([id]);
  return cycles.sort();
}

const randomWaits = fc.array(
  fc.record({
    waiter: fc.nat(6),
    holder: fc.nat(6),
    resource: fc.option(fc.nat(1), { nil: undefined }),
    sinceUs: fc.nat(5),
    priority: fc.nat(3),
  }),
  { maxLength: 20 },
);

/** Waits where each pair and resource comes once, as the graph keeps the first of several. */
const distinctWaits = randomWaits.map((waits) => [
  ...new Map(waits.map((one) => [`${one.waiter} ${one.holder} ${one.resource}`, one])).values(),
]);

const shuffles = distinctWaits.chain((waits) =>
  fc.tuple(
    fc.constant(waits),
    fc.shuffledSubarray(waits, { minLength: waits.length, maxLength: waits.length }),
  )
);

Deno.test("WaitGraph.cycles() gives every elementary cycle once and nothing else, in one order", () => {
  fc.assert(
    fc.property(shuffles, ([waits, shuffled]) => {
      const cycles = [...graphOf(waits).cycles()].map((cycle) => cycle.join(" "));
      assert.deepEqual(cycles.toSorted(), allCycles(waits));
      assert.deepEqual([...graphOf(shuffled).cycles()].map((cycle) => cycle.join(" ")), cycles);
    }),
    { numRuns: 400 },
  );
});

Deno.test("WaitGraph.cycles() misses none where there are many ways into a dead end", () => {
  // Many waits among few, so that Johnson's search blocks participants and must let them in again.
  const edge = fc.record({ waiter: fc.nat(6), holder: fc.nat(6) });
  const dense = fc.uniqueArray(edge, {
    minLength: 14,
    maxLength: 24,
    selector: ({ waiter, holder }) => 7 * waiter + holder,
  });
  fc.assert(
    fc.property(dense, (edges) => {
      const waits = edges.map(({ waiter, holder }) => wait(waiter, holder));
      const cycles = [...graphOf(waits).cycles()].map((cycle) => cycle.join(" "));
      assert.deepEqual(cycles.sort(), allCycles(waits));
    }),
    { numRuns: 300 },
  );
});

Deno.test("WaitGraph.detect() names the cycles, the most severe first, up to the limit", () => {
  fc.assert(
    fc.property(shuffles, fc.integer({ min: 1, max: 40 }), ([waits, shuffled], limit) => {
      const wanted = allCycles(waits), options = { nowUs: 10, ageHalfUs: 5 };
      const { cycles, truncated, deadlocked } = graphOf(waits).detect(options);
      assert.equal(truncated, false);
      assert.deepEqual(cycles.map(({ participants }) => participants.join(" ")).sort(), wanted);
      assert.equal(deadlocked, new Set(wanted.flatMap((cycle) => cycle.split(" "))).size);
      for (let i = 1; i < cycles.length; i++) {
        assert.ok(cycles[i].severity.score <= cycles[i - 1].severity.score);
      }
      const some = graphOf(shuffled).detect({ ...options, limit });
      assert.equal(some.truncated, wanted.length > limit);
      assert.equal(some.cycles.length, Math.min(limit, wanted.length));
      assert.equal(some.deadlocked, deadlocked);
      if (!some.truncated) assert.deepEqual(some.cycles, cycles);
      // Everything that a cycle says, from the list of waits.
      for (const { participants, waits: named, sinceUs, severity } of cycles) {
        const steps = participants.map((id, at) => {
          const next = participants[(at + 1) % participants.length];
          return waits.filter(({ waiter, holder }) => waiter === id && holder === next);
        });
        assert.deepEqual(named.length, steps.flat().length);
        const since = Math.max(...steps.map((step) => Math.min(...step.map((one) => one.sinceUs))));
        assert.equal(sinceUs, since);
        const stuck = new Set<WaitId>(participants);
        for (let size = -1; size < stuck.size;) {
          size = stuck.size;
          for (const { waiter, holder } of waits) if (stuck.has(holder)) stuck.add(waiter);
        }
        const { length } = participants, age = 10 - since;
        const score = 0.2 * length / (length + 8) + 0.5 * age / (age + 5) +
          0.3 * stuck.size / (stuck.size + 16);
        assert.ok(Math.abs(severity.score - score) < 1e-12);
        assert.deepEqual([severity.ageUs, severity.stuck], [age, stuck.size]);
      }
    }),
    { numRuns: 200 },
  );
});

/** Resolves, and checks that what the actions were told is what happened. */
function resolved(waits: Iterable<WaitInput>, strategy: DeadlockStrategy) {
  const graph = graphOf(waits), told: DeadlockVictim[] = [];
  const tell = (victim: DeadlockVictim) => void told.push(victim);
  const size = graph.size;
  const resolution = graph.resolve(strategy, { drop: tell, deliver: tell });
  graph.checkInvariants();
  assert.deepEqual(told, resolution.victims);
  assert.equal(graph.size, size - resolution.waitsRemoved);
  return { graph, resolution };
}

Deno.test("WaitGraph.resolve() leaves no cycle, proves it, and chooses the same in whatever order waits came", () => {
  fc.assert(
    fc.property(
      shuffles,
      fc.constantFrom(...DEADLOCK_STRATEGIES),
      ([waits, shuffled], strategy) => {
        const { graph, resolution } = resolved(waits, strategy);
        const left = waits.filter(({ waiter, holder, resource }) =>
          graph.has(waiter, holder, resource)
        );
        const gone = new Set(resolution.victims.map(({ id }) => id));
        const kept = waits.filter(({ waiter, holder }) => !gone.has(waiter) && !gone.has(holder));
        assert.deepEqual(left, kept);
        const isAcyclic = allCycles(left).length === 0;
        assert.equal(resolution.isAcyclic, isAcyclic);
        assert.ok(isAcyclic || strategy === "wait");
        assert.equal(resolution.order !== undefined, isAcyclic);
        // The proof holds by the list of waits too, and no other order passes for one.
        const { order } = resolution;
        if (order !== undefined) {
          for (const { waiter, holder } of left) {
            assert.ok(order.indexOf(holder) < order.indexOf(waiter));
          }
          assert.equal(graph.isOrder(order), true);
          assert.equal(graph.isOrder([...order, 99]), false);
          if (order.length > 0) {
            assert.equal(graph.isOrder(order.slice(1)), false);
            assert.equal(graph.isOrder(order.with(0, order[order.length - 1])), order.length === 1);
          }
          if (left.length > 0) assert.equal(graph.isOrder(order.toReversed()), false);
        }
        // Everybody was in a cycle when it was chosen.
        let before = waits;
        for (const { id, cycle } of strategy === "drop-all" ? [] : resolution.victims) {
          assert.ok(cycle.includes(id));
          assert.ok(allCycles(before).includes(cycle.join(" ")), `${cycle} was a cycle`);
          before = before.filter(({ waiter, holder }) => waiter !== id && holder !== id);
        }
        assert.deepEqual(resolved(shuffled, strategy).resolution, resolution);
      },
    ),
    { numRuns: 400 },
  );
});

Deno.test("WaitGraph.resolve() chooses the victim that the strategy names; the least id where two are equal", () => {
  const ring = [
    wait("a", "b", 3, 2),
    wait("b", "c", 1, 2),
    wait("c", "d", 9, 0),
    wait("d", "a", 1, 3),
  ];
  const victims = (strategy: DeadlockStrategy, waits = ring) =>
    resolved(waits, strategy).resolution.victims.map(({ id, action }) => `${action} ${id}`);
  assert.deepEqual(victims("drop-oldest"), ["drop b"]);
  assert.deepEqual(victims("drop-newest"), ["drop c"]);
  assert.deepEqual(victims("drop-lowest-priority"), ["drop c"]);
  assert.deepEqual(victims("force-delivery"), ["deliver d"]);
  assert.deepEqual(victims("wait"), []);
  assert.deepEqual(victims("drop-all"), ["drop a", "drop b", "drop c", "drop d"]);
  const equal = [wait(10n, 9), wait(9, "8"), wait("8", 10n)];
  assert.deepEqual(victims("drop-oldest", equal), ["drop 9"]);
  assert.deepEqual(victims("drop-lowest-priority", equal), ["drop 9"]);
  // The two that came last are not in the order of their ids around the circle.
  assert.deepEqual(victims("drop-newest", [wait(1, 3), wait(3, 2, 5), wait(2, 1, 5)]), ["drop 2"]);
  // Between the same two the earliest wait and the highest priority count.
  const parallel = [...ring, { ...wait("c", "d", 0, 3), resource: "x" }];
  assert.deepEqual(victims("drop-oldest", parallel), ["drop c"]);
  assert.deepEqual(victims("drop-lowest-priority", parallel), ["drop a"]);
});

Deno.test("WaitGraph ends cycles of every length from 1 to 1000, each by one victim", () => {
  for (let length = 1; length <= 1000; length += length < 50 ? 1 : 50) {
    const waits = Array.from({ length }, (_, at) => wait(at, (at + 1) % length, at));
    const graph = graphOf(waits);
    const { cycles, truncated } = graph.detect({ nowUs: length });
    assert.deepEqual([cycles.length, truncated], [1, false]);
    assert.deepEqual(cycles[0].participants, waits.map(({ waiter }) => waiter));
    const { victims, order } = graph.resolve("drop-newest", { drop() {} });
    assert.deepEqual(victims.map(({ id }) => id), [length - 1]);
    assert.equal(order?.length, length <= 2 ? 0 : length - 1);
  }
});

Deno.test("WaitGraph takes 100,000 waits: a chain, and a bundle of cycles", () => {
  const count = 100_000;
  const chain = graphOf(Array.from({ length: count }, (_, at) => wait(at, at + 1)));
  assert.deepEqual(chain.detect({ nowUs: 0 }), { cycles: [], truncated: false, deadlocked: 0 });
  assert.deepEqual(chain.closing(count, 0), [count, ...Array.from({ length: count }, (_, i) => i)]);
  assert.equal(chain.resolve("drop-oldest", { drop() {} }).order!.length, count + 1);
  chain.clear();
  assert.deepEqual([chain.size, chain.participants], [0, 0]);
  chain.checkInvariants();
  const pairs = graphOf(
    Array.from({ length: count }, (_, at) => wait(at, at ^ 1)),
  );
  const { cycles, truncated, deadlocked } = pairs.detect({ nowUs: 0 });
  assert.deepEqual([cycles.length, truncated, deadlocked], [1024, true, count]);
  assert.equal(pairs.resolve("drop-oldest", { drop() {} }).victims.length, count / 2);
});

Deno.test("WaitGraph stops at the limit where there are more cycles than atoms", () => {
  const size = 60, all: WaitInput[] = [];
  for (let a = 0; a < size; a++) for (let b = 0; b < size; b++) if (a !== b) all.push(wait(a, b));
  const graph = graphOf([...all, wait(98, 99), wait(99, 98)]);
  const { cycles, truncated } = graph.detect({ nowUs: 0, limit: 100 });
  assert.deepEqual([cycles.length, truncated], [100, true]);
  // The small deadlock is named beside the one with very many cycles.
  assert.ok(cycles.some(({ participants }) => participants[0] === 98));
  assert.equal(new Set(cycles.map(({ participants }) => participants.join())).size, 100);
  assert.equal(graph.resolve("drop-oldest", { drop() {} }).victims.length, size);
});

Deno.test("WaitGraph takes a cycle out only when its action has returned", () => {
  const graph = graphOf([wait(1, 2), wait(2, 1), wait(3, 4), wait(4, 3), wait(5, 1)]);
  const dropped: WaitId[] = [];
  assert.throws(
    () =>
      graph.resolve("drop-oldest", {
        drop({ id }) {
          if (id === 3) throw new TypeError("it is locked");
          dropped.push(id);
        },
      }),
    (error: Error & { code: string; values: { victim: unknown; done: unknown } }) => {
      assert.equal(error.code, "usage");
      assert.match(error.message, /Cannot drop 3 .*: it is locked/);
      assert.deepEqual([error.values.victim, error.values.done], [3, [1]]);
      assert.ok(error.cause instanceof TypeError);
      return true;
    },
  );
  assert.deepEqual(dropped, [1]);
  graph.checkInvariants();
  assert.deepEqual([...graph.cycles()], [[3, 4]]);
  assert.equal(graph.size, 2);
  assert.throws(
    () => graph.resolve("drop-oldest", { drop: async () => {} }),
    { code: "usage", message: /promise/ },
  );
  assert.throws(
    () => graph.resolve("drop-oldest", { drop: () => void graph.resolve("wait") }),
    { code: "usage", message: /while they are being resolved/ },
  );
  assert.equal(graph.size, 2);
  assert.equal(graph.resolve("drop-oldest", { drop() {} }).victims.length, 1);
});

Deno.test("WaitGraph.resolve() goes on with what its actions change", () => {
  const graph = graphOf([wait(1, 2), wait(2, 1), wait(3, 4), wait(4, 3)]);
  // The owner takes the victim out itself, ends the other deadlock, and begins a third one.
  const { victims, waitsRemoved } = graph.resolve("drop-oldest", {
    drop({ id }) {
      graph.complete(id);
      if (id !== 1) return;
      graph.complete(4);
      graph.add(wait(5, 6));
      graph.add(wait(6, 5));
    },
  });
  assert.deepEqual(victims.map(({ id }) => id), [1, 5]);
  assert.equal(waitsRemoved, 4);
  graph.checkInvariants();
  assert.equal(graph.size, 0);
});

Deno.test("WaitGraph.cycles() keeps giving what was there while waits are removed", () => {
  const graph = graphOf([wait(1, 2), wait(2, 1), wait(2, 3), wait(3, 2), wait(4, 5), wait(5, 4)]);
  const seen: string[] = [];
  for (const cycle of graph.cycles()) {
    seen.push(cycle.join(" "));
    for (const id of [1, 2, 3, 4, 5]) graph.complete(id);
    graph.add(wait(7, 7));
  }
  assert.deepEqual(seen, ["1 2", "2 3", "4 5"]);
  assert.deepEqual([...graph.cycles()], [[7]]);
});

Deno.test("WaitGraph keeps waits as a set does", () => {
  const step = fc.record({ do: fc.nat(3), a: fc.nat(4), b: fc.nat(4), r: fc.nat(2) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const graph = new WaitGraph(), model = new Set<string>();
      for (const { do: what, a, b, r } of steps) {
        const resource = r === 0 ? undefined : r, key = `${a} ${b} ${resource}`;
        if (what < 2) {
          const isNew = graph.add({ waiter: a, holder: b, resource, sinceUs: 0 });
          assert.equal(isNew, !model.has(key));
          model.add(key);
        } else if (what === 2) {
          assert.equal(graph.remove(a, b, resource), model.delete(key));
        } else {
          const own = [...model].filter((one) => one.split(" ", 2).includes(`${a}`));
          assert.equal(graph.complete(a), own.length);
          for (const one of own) model.delete(one);
        }
        graph.checkInvariants();
        assert.equal(graph.size, model.size);
        const ids = new Set([...model].flatMap((one) => one.split(" ", 2)));
        assert.equal(graph.participants, ids.size);
        for (const id of ids) {
          const of = graph.waitsOf(Number(id)).map((one) =>
            `${one.waiter} ${one.holder} ${one.resource}`
          );
          assert.deepEqual(of.sort(), [...model].filter((one) => one.startsWith(`${id} `)).sort());
        }
        const closes = graph.closing(a, b);
        const reached = new Set([b]);
        for (const id of reached) {
          for (const one of graph.waitsOf(id)) reached.add(Number(one.holder));
        }
        assert.equal(closes !== undefined, a === b || reached.has(a));
      }
    }),
    { numRuns: 100 },
  );
});

Deno.test("WaitGraph refuses what is not what it says", () => {
  const graph = new WaitGraph({ waitsMax: 2 });
  graph.add(wait(1, 2));
  const bad: [string, unknown][] = [
    ["usage", undefined],
    ["usage", 7],
    ["usage", {}],
    ["usage", { waiter: 1, holder: 2 }],
    ["usage", { ...wait(3, 4), sinceUs: NaN }],
    ["usage", { ...wait(3, 4), sinceUs: Infinity }],
    ["usage", { ...wait(3, 4), sinceUs: 5n }],
    ["usage", { ...wait(3, 4), priority: "high" }],
    ["out-of-bounds", { ...wait(3, 4), priority: -1 }],
    ["usage", { ...wait(3, 4), waiter: NaN }],
    ["usage", { ...wait(3, 4), waiter: 1.5 }],
    ["usage", { ...wait(3, 4), holder: null }],
    ["usage", { ...wait(3, 4), holder: {} }],
    ["usage", { ...wait(3, 4), resource: Symbol("x") }],
    ["usage", { ...wait(3, 4), age: 5 }],
  ];
  for (const [code, input] of bad) assert.throws(() => graph.add(input as WaitInput), { code });
  assert.equal(graph.add(wait(1, 2, 99, 3)), false);
  assert.deepEqual(graph.waitsOf(1), [{ ...wait(1, 2), resource: undefined }]);
  graph.add(wait(2, 1));
  assert.throws(() => graph.add(wait(3, 4)), { code: "limit" });
  graph.checkInvariants();
  assert.equal(graph.size, 2);
  assert.equal(graph.remove(7, 8), false);
  assert.equal(graph.complete(7), 0);
  assert.throws(() => graph.complete(undefined as unknown as number), { code: "usage" });
  for (const options of [undefined, {}, { nowUs: NaN }, { nowUs: 0, ageHalfUs: NaN }]) {
    assert.throws(() => graph.detect(options as { nowUs: number }), { code: "usage" });
  }
  assert.throws(() => graph.detect({ nowUs: 0, limit: 0 }), { code: "out-of-bounds" });
  // A clock that went back: no age.
  assert.equal(graph.detect({ nowUs: -50 }).cycles[0].severity.ageUs, 0);
  for (const strategy of ["drop", undefined, 7]) {
    assert.throws(() => graph.resolve(strategy as DeadlockStrategy), { code: "usage" });
  }
  assert.throws(() => graph.resolve("drop-oldest"), { code: "usage", message: /action drop/ });
  assert.throws(() => graph.resolve("force-delivery", { drop() {} }), { code: "usage" });
  assert.throws(() => graph.resolve("drop-all", { drop: 7 as never }), { code: "usage" });
  assert.throws(() => graph.resolve("drop-all", { dorp() {} } as never), { code: "usage" });
  assert.throws(() => new WaitGraph({ waitsMax: 1e9 }), { code: "out-of-bounds" });
  assert.equal(graph.size, 2);
  const { isAcyclic, order } = graph.resolve("wait");
  assert.deepEqual([isAcyclic, order], [false, undefined]);
  assert.equal(graph.isOrder([1, 2]), false);
});
