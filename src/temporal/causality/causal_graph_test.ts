/** CausalGraph beside a transitive closure made of plain sets, and with what it must refuse. */

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type CausalEventInput,
  CausalGraph,
  type CausalSet,
  type EventId,
  stableCut,
} from "./causal_graph.ts";

const id = (text: string): EventId => {
  const [node, sequence] = text.split(":").map(Number);
  return { node, sequence };
};
const name = ({ node, sequence }: EventId): string => `${node}:${sequence}`;
const names = (ids: Iterable<EventId>): string[] => Array.from(ids, name);
const event = (text: string, ...parents: string[]): CausalEventInput => ({
  ...id(text),
  parents: parents.map(id),
});

/** The obvious graph: for each event the names of its direct parents, and a search. */
class Model {
  readonly parents = new Map<string, string[]>();

  add(input: CausalEventInput): void {
    const parents = names(input.parents ?? []);
    if (input.sequence > 1) parents.push(name({ ...input, sequence: input.sequence - 1 }));
    this.parents.set(name(input), parents);
  }

  /** All that is before an event. */
  past(of: string): Set<string> {
    const past = new Set<string>();
    const walk = (at: string) => {
      for (const parent of this.parents.get(at)!) {
        if (!past.has(parent)) past.add(parent), walk(parent);
      }
    };
    walk(of);
    return past;
  }

  relation(a: string, b: string): string {
    if (a === b) return "equal";
    if (this.past(b).has(a)) return "before";
    return this.past(a).has(b) ? "after" : "concurrent";
  }

  depth(of: string): number {
    return Math.max(-1, ...this.parents.get(of)!.map((parent) => this.depth(parent))) + 1;
  }
}

/** Histories of up to 4 nodes: each step is an event on a node with parents among what is there. */
const histories = fc.array(
  fc.record({ node: fc.nat(3), parents: fc.array(fc.nat(), { maxLength: 3 }) }),
  { maxLength: 24 },
).map((steps) => {
  const events: CausalEventInput[] = [], counts = [0, 0, 0, 0];
  for (const { node, parents } of steps) {
    const of = events.length === 0 ? [] : parents.map((at) => id(name(events[at % events.length])));
    events.push({ node, sequence: ++counts[node], parents: of });
  }
  return events;
});

/** The events of a set, which must be in causal order and the model's. */
function sameSet(model: Model, set: CausalSet, wanted: Iterable<string>, what: string): void {
  const got = names(set);
  assert.deepEqual(got.toSorted(), [...wanted].sort(), what);
  assert.equal(set.count, got.length);
  const order = got.map((at) => [model.depth(at), id(at).node, id(at).sequence]);
  const sorted = order.toSorted((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
  assert.deepEqual(order, sorted, "sets are in order of depth, node and sequence");
  for (const at of got) assert.ok(set.has(id(at)));
}

Deno.test("CausalGraph answers as a transitive closure does", () => {
  fc.assert(
    fc.property(histories, (events) => {
      const graph = new CausalGraph(), model = new Model();
      for (const event of events) {
        assert.equal(graph.add(event), true);
        model.add(event);
        graph.checkInvariants();
      }
      const all = events.map(name), pasts = new Map(all.map((at) => [at, model.past(at)]));
      const filter = (keep: (at: string) => boolean) => all.filter(keep);
      for (const a of all) {
        const past = pasts.get(a)!;
        assert.equal(graph.depth(id(a)), model.depth(a));
        assert.deepEqual(
          names(graph.event(id(a)).parents).sort(),
          [...new Set(model.parents.get(a)!)].filter((parent) =>
            // Earlier ones of the same node need not be named.
            id(parent).node !== id(a).node || id(parent).sequence === id(a).sequence - 1
          ).sort(),
        );
        sameSet(model, graph.chain(id(a)), [...past, a], `chain of ${a}`);
        const after = filter((at) => pasts.get(at)!.has(a));
        sameSet(model, graph.dependents(id(a)), after, `dependents of ${a}`);
        const beside = filter((at) => model.relation(a, at) === "concurrent");
        sameSet(model, graph.concurrent(id(a)), beside, `concurrent with ${a}`);
        for (const b of all) {
          const relation = model.relation(a, b);
          assert.equal(graph.relation(id(a), id(b)), relation, `${a} and ${b}`);
          const other = pasts.get(b)!;
          const common = filter((at) => (at === a || past.has(at)) && (at === b || other.has(at)));
          sameSet(model, graph.commonAncestors(id(a), id(b)), common, `common of ${a}, ${b}`);
          const nearest = common.filter((at) => !common.some((to) => pasts.get(to)!.has(at)));
          assert.deepEqual(
            names(graph.nearestCommonAncestors(id(a), id(b))).sort(),
            nearest.sort(),
          );
          const path = graph.path(id(a), id(b));
          assert.equal(path !== undefined, relation === "before" || relation === "equal");
          path?.forEach((at, i) => {
            if (i > 0) assert.ok(model.parents.get(name(at))!.includes(name(path[i - 1])));
          });
          if (path) assert.deepEqual([name(path[0]), name(path.at(-1)!)], [a, b]);
        }
      }
      assert.deepEqual(
        names(graph.sources()).sort(),
        filter((at) => pasts.get(at)!.size === 0).sort(),
      );
      const needed = new Set(all.flatMap((at) => [...pasts.get(at)!]));
      assert.deepEqual(names(graph.sinks()).sort(), filter((at) => !needed.has(at)).sort());
    }),
    { numRuns: 60 },
  );
});

Deno.test("CausalGraph.addAll() gives the same graph in whatever order events come", () => {
  fc.assert(
    fc.property(
      histories.chain((events) =>
        fc.tuple(
          fc.constant(events),
          fc.shuffledSubarray(events, { minLength: events.length, maxLength: events.length }),
        )
      ),
      ([events, shuffled]) => {
        const one = new CausalGraph(), other = new CausalGraph();
        for (const event of events) one.add(event);
        assert.equal(other.addAll([...shuffled, ...shuffled.slice(0, 3)]), events.length);
        assert.equal(other.addAll(shuffled), 0);
        other.checkInvariants();
        for (const event of events) {
          assert.deepEqual(other.event(event), one.event(event));
          assert.deepEqual(other.vector(event), one.vector(event));
          assert.deepEqual(names(other.chain(event)), names(one.chain(event)));
        }
        // The same from vectors alone.
        const third = new CausalGraph();
        third.addAll(
          shuffled.map(({ node, sequence }) => ({
            node,
            sequence,
            vector: one.vector({ node, sequence }),
          })),
        );
        for (const event of events) assert.deepEqual(third.vector(event), one.vector(event));
        assert.equal(
          third.addAll(events.map((at) => ({ ...at, parents: undefined, vector: one.vector(at) }))),
          0,
        );
      },
    ),
    { numRuns: 100 },
  );
});

Deno.test("CausalGraph.prune() leaves all that is asked of kept events as it was", () => {
  fc.assert(
    fc.property(histories, fc.nat(), fc.nat(), (events, split, cutAt) => {
      const whole = new CausalGraph(), pruned = new CausalGraph();
      const before = events.slice(0, split % (events.length + 1));
      for (const event of before) whole.add(event), pruned.add(event);
      // Past of one event, or of two: closed in either case.
      const cut = before.length === 0 ? [] : whole.vector(before[cutAt % before.length]);
      const gone = new Map(cut);
      const count = cut.reduce((sum, [, sequence]) => sum + sequence, 0);
      assert.equal(pruned.prune(cut), count);
      assert.equal(pruned.prune(cut), 0);
      pruned.checkInvariants();
      for (const event of events.slice(before.length)) whole.add(event), pruned.add(event);
      pruned.checkInvariants();
      const kept = events.filter(({ node, sequence }) => sequence > (gone.get(node) ?? 0));
      assert.equal(pruned.size, kept.length);
      const keptNames = new Set(kept.map(name));
      const filtered = (set: CausalSet) => names(set).filter((at) => keptNames.has(at)).sort();
      for (const a of kept) {
        assert.deepEqual(names(pruned.chain(a)).sort(), filtered(whole.chain(a)));
        assert.deepEqual(names(pruned.dependents(a)).sort(), filtered(whole.dependents(a)));
        assert.deepEqual(names(pruned.concurrent(a)).sort(), filtered(whole.concurrent(a)));
        assert.deepEqual(pruned.event(a).parents, whole.event(a).parents);
        for (const b of kept) assert.equal(pruned.relation(a, b), whole.relation(a, b));
        for (const parent of pruned.event(a).parents) {
          if (keptNames.has(name(parent))) assert.ok(pruned.depth(parent) < pruned.depth(a));
        }
      }
      for (const a of events) {
        if (keptNames.has(name(a))) continue;
        assert.equal(pruned.has(a), false);
        assert.equal(pruned.add(a), false);
        assert.throws(() => pruned.relation(a, a), { code: "out-of-bounds", message: /pruned/ });
      }
    }),
    { numRuns: 100 },
  );
});

Deno.test("CausalGraph.add() refuses an event that would come before itself, and names the cycle", () => {
  const graph = new CausalGraph();
  graph.add(event("1:1"));
  graph.add(event("2:1", "1:1"));
  graph.add(event("1:2", "2:1"));
  const refused = (input: CausalEventInput, cycle: string[]) => {
    assert.throws(() => graph.add(input), (error: { code: string; values: unknown }) => {
      assert.equal(error.code, "cycle");
      assert.deepEqual((error.values as { cycle: string[] }).cycle, cycle);
      return true;
    });
    graph.checkInvariants();
    assert.equal(graph.size, 3);
  };
  refused(event("3:1", "3:1"), ["3:1"]);
  refused(event("3:1", "1:1", "3:2"), ["3:1", "3:2"]);
  refused(event("1:1", "1:1"), ["1:1"]);
  refused(event("1:1", "2:1"), ["1:1", "2:1"]);
  refused(event("1:1", "1:2"), ["1:1", "1:2"]);
  refused({ node: 1, sequence: 1, vector: [[1, 1], [2, 1]] }, ["1:1", "2:1"]);
});

Deno.test("CausalGraph.addAll() adds all or none, and names a cycle among what was given", () => {
  const graph = new CausalGraph();
  graph.add(event("1:1"));
  const refused = (code: string, events: CausalEventInput[], cycle?: string[]) => {
    assert.throws(() => graph.addAll(events), (error: { code: string; values: unknown }) => {
      assert.equal(error.code, code);
      if (cycle) assert.deepEqual((error.values as { cycle: string[] }).cycle, cycle);
      return true;
    });
    graph.checkInvariants();
    assert.deepEqual([graph.size, graph.vectorEntries, graph.nodes], [1, 0, [1]]);
  };
  refused("cycle", [event("2:1", "3:1"), event("3:1", "2:1"), event("4:1")], ["3:1", "2:1"]);
  refused("cycle", [event("2:1", "2:2"), event("2:2")], ["2:2", "2:1"]);
  refused("cycle", [event("2:1", "2:1")], ["2:1"]);
  refused("out-of-bounds", [event("2:1", "1:1"), event("3:1", "2:1"), event("4:1", "5:1")]);
  refused("usage", [event("2:1", "1:1"), event("3:2")]);
  refused("usage", [event("2:1", "1:1"), { ...event("2:1"), hlc: 5n }]);
  // A ring of a hundred nodes and more: named, and cut short in the message.
  const ring = Array.from({ length: 100_000 }, (_, at) => ({
    node: at % 1000,
    sequence: Math.floor(at / 1000) + 1,
    parents: at % 1000 === 0 ? [] : [{ node: at % 1000 - 1, sequence: 100 }],
  }));
  ring[0].parents = [{ node: 999, sequence: 100 }];
  assert.throws(() => new CausalGraph().addAll(ring), (error: Error & { code: string }) => {
    assert.equal(error.code, "cycle");
    assert.ok(error.message.length < 400, error.message);
    return true;
  });
});

Deno.test("CausalGraph takes a chain of a million events over two nodes without recursion", () => {
  const graph = new CausalGraph(), half = 500_000;
  for (let at = 1; at <= half; at++) {
    graph.add({ node: 1, sequence: at, parents: at > 1 ? [{ node: 2, sequence: at - 1 }] : [] });
    graph.add({ node: 2, sequence: at, parents: [{ node: 1, sequence: at }] });
  }
  const first = id("1:1"), last = { node: 2, sequence: half };
  assert.equal(graph.depth(last), 2 * half - 1);
  assert.equal(graph.relation(first, last), "before");
  assert.equal(graph.chain(last).count, 2 * half);
  assert.equal(graph.dependents(first).count, 2 * half - 1);
  assert.equal(graph.concurrent({ node: 1, sequence: 7 }).count, 0);
  assert.equal(graph.path(first, last)!.length, half + 1); // along one node, then across
  let walked = 0;
  for (const _ of graph.chain(last)) walked++;
  assert.equal(walked, 2 * half);
  assert.throws(() => graph.add({ ...first, parents: [last] }), { code: "cycle" });
  assert.throws(
    () =>
      graph.add(event(`3:1`)) && graph.addAll(Array.from({ length: 48_576 }, (_, at) => ({
        node: 3,
        sequence: at + 2,
      }))),
    { code: "limit" },
  );
  assert.equal(graph.size, 2 * half + 1);
  assert.equal(graph.prune([[1, half - 1], [2, half - 1]]), 2 * half - 2);
  graph.checkInvariants();
  assert.equal(graph.relation({ node: 1, sequence: half }, last), "before");
});

Deno.test("CausalGraph refuses what is not what it says", () => {
  const graph = new CausalGraph({ eventsMax: 3, vectorEntriesMax: 1 });
  graph.add({ ...event("1:1"), hlc: 10n });
  const bad: [string, unknown][] = [
    ["usage", undefined],
    ["usage", null],
    ["usage", {}],
    ["usage", { node: "1", sequence: 1 }],
    ["usage", { node: 1n, sequence: 1 }],
    ["usage", { node: NaN, sequence: 1 }],
    ["out-of-bounds", { node: 65_536, sequence: 1 }],
    ["out-of-bounds", { node: 1, sequence: 0 }],
    ["usage", { node: 1, sequence: 2 ** 53 }],
    ["usage", { node: 1, sequence: 3 }],
    ["usage", { node: 1, sequence: 1 }],
    ["usage", { node: 1, sequence: 2, hlc: 10n }],
    ["usage", { node: 1, sequence: 2, hlc: 11 }],
    ["usage", { node: 1, sequence: 2, hlc: -1n }],
    ["usage", { node: 1, sequence: 2, hlc: 1n << 64n }],
    ["usage", { node: 1, sequence: 2, parents: 7 }],
    ["usage", { node: 1, sequence: 2, parents: [7] }],
    ["usage", { node: 2, sequence: 1, hlc: 10n, parents: [id("1:1")] }],
    ["out-of-bounds", { node: 2, sequence: 1, parents: [id("3:1")] }],
    ["usage", { node: 2, sequence: 1, vector: 7 }],
    ["usage", { node: 2, sequence: 1, vector: [7] }],
    ["usage", { node: 2, sequence: 1, vector: [[2, 2]] }],
    ["usage", { node: 2, sequence: 1, vector: [[2, 1], [2, 1]] }],
    ["usage", { node: 2, sequence: 1, vector: [[2, 1], [1, NaN]] }],
    ["usage", { node: 2, sequence: 1, vector: [[2, 1]], parents: [id("1:1")] }],
    ["usage", { node: 2, sequence: 1, vector: [[2, 1], [1, 1]], parents: [] }],
    ["out-of-bounds", { node: 2, sequence: 1, vector: [[2, 1], [1, 2]] }],
  ];
  for (const [code, input] of bad) {
    assert.throws(
      () => graph.add(input as CausalEventInput),
      { code },
      String(JSON.stringify(input, (_, v) => typeof v === "bigint" ? `${v}n` : v)),
    );
    graph.checkInvariants();
    assert.equal(graph.size, 1);
  }
  assert.throws(() => graph.addAll(7 as unknown as []), { code: "usage" });
  assert.throws(() => graph.relation(id("1:1"), id("1:2")), { code: "out-of-bounds" });
  assert.throws(() => graph.prune([[1, 2]]), { code: "out-of-bounds" });
  assert.throws(() => graph.prune([[9, 1]]), { code: "out-of-bounds" });
  assert.throws(() => new CausalGraph({ eventsMax: 0 }), { code: "out-of-bounds" });
  assert.throws(() => new CausalGraph({ events: 1 } as object), { code: "usage" });
  assert.throws(() => stableCut(7 as unknown as []), { code: "usage" });
  graph.add({ ...event("2:1", "1:1"), hlc: 11n });
  assert.throws(() => graph.add(event("3:1", "2:1")), {
    code: "limit",
    message: /vectorEntriesMax/,
  });
  graph.add(event("3:1"));
  assert.throws(() => graph.add(event("3:2")), { code: "limit", message: /eventsMax/ });
  assert.throws(() => graph.prune([[2, 1]]), { code: "usage", message: /keep 1:1/ });
  const chain = graph.chain(id("2:1"));
  assert.deepEqual(names(chain.take(1)), ["1:1"]);
  assert.deepEqual([chain.take(0), chain.take(NaN)], [[], []]);
  graph.prune([[1, 1]]);
  assert.throws(() => [...chain], { code: "out-of-bounds", message: /pruned/ });
  assert.equal(graph.event(id("2:1")).hlc, 11n);
  assert.deepEqual(names(graph.sources()), ["2:1", "3:1"]);
});

Deno.test("stableCut() is what everybody has, and may be pruned", () => {
  fc.assert(
    fc.property(histories, fc.array(fc.nat(), { minLength: 1, maxLength: 3 }), (events, at) => {
      const graph = new CausalGraph();
      graph.addAll(events);
      if (events.length === 0) return;
      const views = at.map((i) => graph.vector(events[i % events.length]));
      const cut = stableCut(views);
      for (const event of events) {
        const isIn = event.sequence <= (new Map(cut).get(event.node) ?? 0);
        const all = views.every((view) => event.sequence <= (new Map(view).get(event.node) ?? 0));
        assert.equal(isIn, all);
      }
      graph.prune(cut);
      graph.checkInvariants();
    }),
    { numRuns: 50 },
  );
  assert.deepEqual(stableCut([]), []);
});
