/** Edges through the bus: staging, cycles, deletions, refusals, lists of changes, snapshots, drawings. */

import assert from "node:assert/strict";
import { MmsbError } from "../base/mod.ts";
import { GraphBuilder } from "../graph/mod.ts";
import { FaultyStorage } from "../log/mod.ts";
import type { EdgeType } from "../physical/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import { struct, table } from "../schema/mod.ts";
import type { Page } from "./page.ts";
import { StateBus } from "./state_bus.ts";

function pagesOf(bus: StateBus, count: number): Page[] {
  return Array.from({ length: count }, () => bus.createPage({ size: 16 }));
}

function errorOf(run: () => unknown): MmsbError {
  try {
    run();
  } catch (error) {
    assert(error instanceof MmsbError, String(error));
    return error;
  }
  throw new Error("nothing was refused");
}

Deno.test("StateBus.edge() is part of the graph once a tick has taken it", async () => {
  await using bus = await StateBus.open();
  const [a, b] = pagesOf(bus, 2);
  bus.edge(a, b, "data");
  assert.equal(bus.graph.edgeCount, 0);
  assert.equal(bus.graph.version, 0);
  assert.equal(bus.stats().staged, 3);
  await bus.tick();
  assert.deepEqual(bus.graph.edges(), [{ from: 1, to: 2, type: "data" }]);
  assert.equal(bus.graph.version, 1);
  assert(
    bus.graph.has(a, b, "data") && !bus.graph.has(a, b, "gpu") && !bus.graph.has(b, a, "data"),
  );
  bus.removeEdge(a, b, "data");
  assert.equal(bus.graph.edgeCount, 1, "removed by the tick");
  await bus.tick();
  assert.equal(bus.graph.edgeCount, 0);
  assert.equal(bus.graph.version, 2);
});

Deno.test("StateBus.edge() refuses a cycle with its pages named, counting what is staged", async () => {
  await using bus = await StateBus.open();
  const [a, b, c] = pagesOf(bus, 3);
  bus.edge(a, b, "data");
  await bus.tick();
  bus.edge(b, c, "control");
  const error = errorOf(() => bus.edge(c, a, "gpu"));
  assert.equal(error.code, "cycle");
  assert.deepEqual(error.values, { from: 3, to: 1, cycle: [1, 2, 3] });
  assert.match(error.message, /3 → 1 as it would close a cycle of 3 pages: 1 → 2 → 3 → 1$/);
  await bus.tick();
  assert.equal(bus.graph.edgeCount, 2);
  // What leaves is not in the way of what comes.
  bus.removeEdge(a, b, "data");
  bus.edge(c, a, "gpu");
  assert.throws(() => bus.edge(a, b, "data"), { code: "cycle" });
  await bus.tick();
  assert.deepEqual(bus.graph.levels(), [[2], [3], [1]]);
  assert(bus.graph.check().ok);
});

Deno.test("StateBus.edge() names a cycle through 10,000 pages", async () => {
  await using bus = await StateBus.open();
  const pages = pagesOf(bus, 10_000);
  for (let i = 1; i < pages.length; i++) bus.edge(pages[i - 1], pages[i], "data");
  await bus.tick();
  const error = errorOf(() => bus.edge(pages[9999], pages[0], "data"));
  assert.equal(error.code, "cycle");
  assert.deepEqual(error.values.cycle, pages.map(({ id }) => id));
  assert.match(error.message, /a cycle of 10000 pages: 1 → 2 → 3 → 4 → 5 → 6 → … → 1$/);
  assert.equal(bus.graph.edgeCount, 9999);
});

Deno.test("StateBus.edge() and removeEdge() refuse bad input with nothing staged", async () => {
  await using bus = await StateBus.open();
  await using other = await StateBus.open();
  const [a, b, gone] = pagesOf(bus, 3), [foreign] = pagesOf(other, 1);
  await bus.tick();
  gone.delete();
  await bus.tick();
  const [dying] = pagesOf(bus, 1);
  await bus.tick();
  dying.delete();
  bus.edge(a, b, "data");
  const staged = bus.stats().staged;
  const bad: [unknown, unknown, unknown, string, RegExp][] = [
    [a, b, "data", "usage", /twice: it is there/],
    [a, a, "data", "usage", /from page 1 to itself/],
    [a, b, "DATA", "usage", /"DATA" as edge type: give one of "data", "control"/],
    [a, b, 0, "usage", /0 as edge type/],
    [a, b, undefined, "usage", /edge type/],
    [a, 99, "data", "invalid-handle", /page 99 as target: it never was/],
    [99, a, "data", "invalid-handle", /page 99 as source/],
    [a, gone, "data", "invalid-handle", /page 3/],
    [a, gone.id, "data", "invalid-handle", /page 3 as target/],
    [a, dying, "data", "invalid-handle", /page 4: its deletion is staged/],
    [dying, a, "data", "invalid-handle", /page 4: its deletion is staged/],
    [a, foreign, "data", "usage", /page of another bus/],
    [a, 0, "data", "out-of-bounds", /0 as target/],
    [a, NaN, "data", "usage", /NaN as target/],
    [a, 2n, "data", "usage", /2n as target/],
    [a, "b", "data", "usage", /"b" as target/],
    [a, null, "data", "usage", /target: give a page/],
    [a, {}, "data", "usage", /target: give a page/],
    [undefined, a, "data", "usage", /undefined as source/],
    [a, Symbol("b"), "data", "usage", /target/],
  ];
  for (const [from, to, type, code, message] of bad) {
    const error = errorOf(() => bus.edge(from as Page, to as Page, type as EdgeType));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    if (message.source.includes("twice") || message.source.includes("itself")) continue;
    if (message.source.includes("staged")) continue;
    assert.throws(() => bus.removeEdge(from as Page, to as Page, type as EdgeType), { code });
  }
  assert.throws(
    () => bus.removeEdge(b, a, "data"),
    /Cannot remove the data edge 2 → 1: there is none/,
  );
  assert.throws(() => bus.removeEdge(a, b, "gpu"), { code: "invalid-handle" });
  assert.equal(bus.stats().staged, staged);
  await bus.tick();
  bus.removeEdge(a, b, "data");
  assert.throws(() => bus.removeEdge(a, b, "data"), /its removal is staged/);
  await bus.close();
  assert.throws(() => bus.edge(a, b, "data"), { code: "closed" });
  assert.throws(() => bus.removeEdge(a, b, "data"), { code: "closed" });
  assert.throws(() => bus.graph.edges(), { code: "closed" });
});

Deno.test("StateBus.edge() takes structs, tables and ids", async () => {
  await using bus = await StateBus.open();
  const one = bus.create(struct({ x: "f64" })), many = bus.createTable(table({ x: "f64" }));
  bus.edge(one, many, "data");
  bus.edge(one.page.id, many.page.id, "gpu");
  await bus.tick();
  assert.deepEqual(bus.graph.edgesIn(many).map(({ type }) => type), ["data", "gpu"]);
  assert.deepEqual(bus.graph.descendants(one.page), [many.id]);
});

Deno.test("an open batch that is refused takes its edges back, those it adds and those it removes", async () => {
  const storage = new FaultyStorage();
  await using bus = await StateBus.open({ storage });
  const [a, b, c] = pagesOf(bus, 3);
  bus.edge(a, b, "data");
  await bus.tick();
  const stage = (): Page => {
    const born = bus.createPage({ size: 8 });
    bus.removeEdge(a, b, "data");
    bus.edge(b, a, "data");
    bus.edge(b, c, "data");
    bus.edge(c, born, "data");
    return born;
  };
  const isAsBefore = () => {
    assert.deepEqual(bus.graph.edges(), [{ from: 1, to: 2, type: "data" }]);
    assert.equal(bus.graph.version, 1);
    assert.equal(bus.stats().staged, 0);
    assert.throws(() => bus.edge(b, a, "data"), { code: "cycle" });
  };
  // A bad row.
  stage();
  a.write(0, new Uint8Array(1), { expectedEpoch: 7 });
  await assert.rejects(bus.tick(), { code: "stale-epoch" });
  isAsBefore();
  // An error in what `commit` stages.
  await assert.rejects(
    bus.commit(() => {
      stage();
      throw new Error("no");
    }),
    /no/,
  );
  isAsBefore();
  // A log that refuses the tick and goes on.
  stage();
  storage.failWrites({ after: 0, prefix: 100 });
  await assert.rejects(bus.tick(), { code: "io" });
  isAsBefore();
  // And after all that it works.
  stage();
  await bus.tick();
  assert.deepEqual(bus.graph.levels(), [[2], [1, 3], [7]]);
  assert(bus.graph.check().ok);
});

Deno.test("an edge that is staged and taken back, or removed and kept, leaves no row in the tick", async () => {
  await using bus = await StateBus.open();
  const [a, b] = pagesOf(bus, 2);
  bus.edge(a, b, "data");
  await bus.tick();
  bus.edge(a, b, "gpu");
  bus.removeEdge(a, b, "gpu");
  bus.removeEdge(a, b, "data");
  bus.edge(a, b, "data");
  assert.equal(bus.stats().staged, 0);
  await assert.rejects(
    bus.commit(() => {
      bus.removeEdge(a, b, "data");
      bus.edge(b, a, "gpu");
      bus.removeEdge(b, a, "gpu");
      bus.edge(a, b, "data");
      throw new Error("no");
    }),
    /no/,
  );
  assert.equal(bus.stats().staged, 0);
  await bus.tick();
  assert.equal(bus.graph.version, 1);
  assert.deepEqual(bus.graph.edges(), [{ from: 1, to: 2, type: "data" }]);
});

Deno.test("Page.delete() refuses a page that others depend on, unless cascade", async () => {
  await using bus = await StateBus.open();
  const [a, b, c, d, e] = pagesOf(bus, 5);
  for (const [from, to] of [[a, b], [b, c], [d, c], [a, e]]) bus.edge(from, to, "data");
  assert.throws(() => a.delete(), {
    code: "usage",
    message:
      "Cannot delete page 1 as others depend on it (2, 5): remove the edges, or set cascade to delete them too",
  });
  await bus.tick();
  assert.throws(() => b.delete({ cascade: false }), /others depend on it \(3\)/);
  assert.equal(bus.stats().staged, 0);
  // What goes in the same tick is no obstacle.
  c.delete();
  b.delete();
  await bus.tick();
  assert.deepEqual(bus.graph.edges(), [{ from: 1, to: 5, type: "data" }]);
  assert.equal(bus.graph.version, 7);
  bus.removeEdge(a, e, "data");
  a.delete();
  await bus.tick();
  assert.deepEqual([...bus.pages()].map(({ id }) => id), [4, 5]);
  assert.equal(bus.graph.version, 8);
  d.delete();
  await bus.tick();
});

Deno.test("Page.delete() with cascade deletes all that is derived from it, tables with all their pages", async () => {
  await using bus = await StateBus.open();
  const Rows = table({ x: "f64" });
  const [a, b, kept] = pagesOf(bus, 3), rows = bus.createTable(Rows), sums = bus.createTable(Rows);
  rows.append({ x: [1, 2, 3] });
  sums.append({ x: [1] });
  bus.edge(a, b, "data");
  bus.edge(b, rows, "data");
  bus.edge(rows, sums, "compiler");
  bus.edge(kept, sums, "data");
  await bus.tick();
  assert.throws(() => rows.delete(), { code: "usage" });
  await assert.rejects(
    bus.commit(() => {
      a.delete({ cascade: true });
      throw new Error("no");
    }),
    /no/,
  );
  assert.equal(bus.stats().staged, 0);
  a.delete({ cascade: true });
  await bus.tick();
  assert.deepEqual([...bus.pages()].map(({ id }) => id), [kept.id]);
  assert.deepEqual(bus.graph.edges(), []);
  assert.equal(bus.graph.version, 8);
  const again = bus.createTable(Rows), copy = bus.createTable(Rows);
  bus.edge(again, copy, "data");
  await bus.tick();
  again.delete({ cascade: true });
  await bus.tick();
  assert.deepEqual([...bus.pages()].map(({ id }) => id), [kept.id]);
});

Deno.test("StateBus.changeGraph() takes a list whole or not at all", async () => {
  await using bus = await StateBus.open();
  const [x] = bus.changeGraph([
    { do: "add-page", name: "x", size: 8 },
    { do: "add-page", name: "y" },
    { do: "add-edge", from: "x", to: "y", type: "data" },
  ]);
  await bus.tick();
  assert.equal(x.size, 8);
  const before = bus.graph.snapshot(), y = bus.find("y")!;
  const error = errorOf(() =>
    bus.changeGraph([
      { do: "add-page", name: "z" },
      { do: "remove-edge", from: x, to: "y", type: "data" },
      { do: "add-edge", from: y.id, to: "z", type: "gpu" },
      { do: "add-edge", from: "z", to: y, type: "data" },
    ])
  );
  assert.deepEqual([error.code, error.values.index], ["cycle", 3]);
  assert.equal(bus.find("z"), undefined);
  assert.equal(bus.stats().staged, 0);
  bus.changeGraph([
    { do: "remove-edge", from: "x", to: "y", type: "data" },
    { do: "add-edge", from: "y", to: "x", type: "data" },
    { do: "add-page", name: "z" },
    { do: "add-edge", from: "x", to: "z", type: "data" },
    { do: "remove-page", page: "y", cascade: true },
  ]);
  assert.deepEqual([...bus.pages()].map(({ name }) => name), ["x", "y", "z"]);
  await bus.tick();
  assert.deepEqual([...bus.pages()].map(({ name }) => name), []);
  assert.equal(before.edgeCount, 1, "a snapshot stays what it was");
  for (
    const bad of [
      [{ do: "jump" }],
      [null],
      [{ do: "add-page" }],
      [{ do: "add-page", name: "" }],
      [{ do: "add-page", name: "a", size: -1 }],
      [{ do: "add-page", name: "a", colour: 1 }],
      [{ do: "remove-page", page: "nobody" }],
      [{ do: "remove-page", page: 1n }],
      [{ do: "add-edge", from: "a", to: "b", type: "data" }],
      [{ do: "add-page", name: "a" }, { do: "add-edge", from: "a", to: "a", type: "data" }],
      [{ do: "add-page", name: "a" }, { do: "add-page", name: "a" }],
      7,
    ]
  ) {
    errorOf(() => bus.changeGraph(bad as never));
    assert.equal(bus.stats().staged, 0, JSON.stringify(bad, (_, value) => String(value)));
  }
});

Deno.test("GraphBuilder builds what is missing and takes what is there", async () => {
  await using bus = await StateBus.open();
  const old = bus.createPage({ name: "old", size: 32 });
  const graph = new GraphBuilder();
  graph.page("new", { size: 8 }).feeds("old").feeds("late", "gpu").feeds("old");
  graph.page("late", { size: 24 });
  const pages = bus.changeGraph(graph);
  await bus.tick();
  assert.deepEqual(pages.map(({ name, size }) => [name, size]), [["new", 8], ["old", 32], [
    "late",
    24,
  ]]);
  assert.equal(pages[1].id, old.id);
  assert.deepEqual(bus.graph.edges().map(({ to, type }) => [bus.page(to).name, type]), [[
    "old",
    "data",
  ], ["late", "gpu"]]);
  errorOf(() => graph.page("new", { size: 9 }));
  errorOf(() => graph.page(""));
  errorOf(() => graph.page("new").feeds("x", "wrong" as EdgeType));
  errorOf(() => graph.page(7 as unknown as string));
});

Deno.test("GraphView.digest() tells graphs apart, and not how they came to be", async () => {
  await using one = await StateBus.open();
  await using two = await StateBus.open();
  const [a, b, c] = pagesOf(one, 3), [d, e, f, g] = pagesOf(two, 4);
  one.edge(a, b, "data");
  one.edge(a, c, "gpu");
  two.edge(d, f, "gpu");
  two.edge(e, g, "data");
  const staged = one.graph.digest();
  await one.tick();
  await two.tick();
  assert.notEqual(one.graph.digest(), staged);
  two.edge(d, e, "data");
  two.removeEdge(e, g, "data");
  g.delete();
  await two.tick();
  assert.equal(one.graph.digest(), two.graph.digest());
  assert.notEqual(one.graph.version, two.graph.version);
  const before = two.graph.snapshot();
  two.changeGraph([
    { do: "add-edge", from: e, to: f, type: "compiler" },
    { do: "remove-edge", from: d, to: e, type: "data" },
  ]);
  await two.tick();
  assert.notEqual(two.graph.digest(), before.digest());
  two.changeGraph(two.graph.snapshot().changesTo(before));
  await two.tick();
  assert.equal(two.graph.digest(), before.digest());
  assert.deepEqual([...before.edges()], two.graph.edges());
  assert.deepEqual([...before.pages()], [1, 2, 3]);
});

Deno.test("GraphView refuses what is no page, no option and no type", async () => {
  await using bus = await StateBus.open();
  const { graph } = bus;
  const [a] = pagesOf(bus, 1);
  await bus.tick();
  assert.deepEqual([graph.levels(), graph.edges(), graph.components(), graph.reversePostOrder()], [
    [],
    [],
    [],
    [],
  ]);
  assert.deepEqual(graph.descendants(a), []);
  assert.deepEqual(graph.check(), { ok: true, pages: 1, edges: 0, cycle: [], dangling: 0 });
  for (
    const ask of [
      () => graph.descendants(7),
      () => graph.ancestors(undefined as never),
      () => graph.edgesOut({} as never),
      () => graph.edgesIn(1n as never),
      () => graph.path(a, "b" as never),
      () => graph.has(a, 7, "data"),
      () => graph.has(a, a, "no" as never),
      () => graph.levels({ types: ["no" as never] }),
      () => graph.levels({ types: 7 as never }),
      () => graph.levels(null as never),
      () => graph.closure({ kinds: [] } as never),
      () => graph.closure().has(a, null as never),
      () => graph.descendants(a, { depth: -1 }),
      () => graph.descendants(a, { depth: "1" as never }),
      () => graph.toDot({ color: 1 } as never),
    ]
  ) errorOf(ask);
});

Deno.test("StateBus.removeEdge() refuses an edge that a rule needs, and lets it go with the rule", async () => {
  await using bus = await StateBus.open();
  const [a, b, c] = pagesOf(bus, 3);
  const copy = defineRule({
    version: 1,
    compute: (ctx) => ctx.output(0).setFloat64(0, ctx.input(0).getFloat64(0)),
  });
  const rule = bus.rule(copy, { name: "copy", inputs: [a], outputs: [b] });
  bus.edge(a, c, "data");
  assert.throws(() => bus.removeEdge(a, b, "data"), { code: "usage" });
  await bus.tick();
  assert.deepEqual(bus.graph.edgesOut(a).map(({ to }) => to), [b.id, c.id]);
  assert.throws(() => bus.edge(b, a, "data"), { code: "cycle" });
  assert.throws(() => bus.removeEdge(a, b, "data"), /as rule "copy" needs it/);
  bus.removeEdge(a, c, "data");
  rule.unbind();
  await bus.tick();
  assert.deepEqual(bus.graph.edges(), []);
});
