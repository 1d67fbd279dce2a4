/** Validator 3 on small graphs, on graphs that are wrong, and on a user's directory. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { MemoryStorage } from "../log/mod.ts";
import { GraphView } from "../graph/graph_view.ts";
import { withFolder } from "./_figures.ts";
import { putTogether, takeApart } from "./_forge.ts";
import { shapesOf } from "./_graph_shapes.ts";
import { ReferenceGraph } from "./_reference_graph.ts";
import { faultOf, graphMetrics, graphValidator, measureGraph } from "./graph.ts";

const SMALL = { pages: 60, resolved: 10, seed: 1 };

async function measure(seed = 1) {
  return graphMetrics(await measureGraph({ ...SMALL, seed }, () => {}));
}

/** Measures with a method replaced, and puts it back. */
async function planted<T extends object, K extends keyof T>(
  owner: T,
  method: K,
  fault: (original: T[K]) => T[K],
) {
  const original = owner[method];
  owner[method] = fault(original);
  try {
    return await measure();
  } finally {
    owner[method] = original;
  }
}

Deno.test("ReferenceGraph knows levels, ways and cycles", () => {
  const graph = new ReferenceGraph();
  for (const [from, to] of [[1, 2], [2, 3], [1, 3], [1, 3]]) graph.add(from, to);
  assert.deepEqual([...graph.levels()!], [[1, 0], [2, 1], [3, 2]]);
  assert.deepEqual([...graph.reach(1)].sort(), [2, 3]);
  assert.deepEqual([...graph.reversed().reach(3)].sort(), [1, 2]);
  assert.equal(graph.isCycle([1, 2, 3], 3, 1), true);
  assert.equal(graph.isCycle([1, 3], 3, 1), true);
  for (const named of [[1, 2], [3, 2, 1], [1], [], [1, 2, 3, 1], "123", undefined]) {
    assert.equal(graph.isCycle(named, 3, 1), false);
  }
  graph.add(3, 1);
  assert.equal(graph.levels(), undefined);
  graph.remove(1, 3);
  assert.equal(graph.has(1, 3), true);
  graph.removeVertex(1);
  assert.deepEqual([graph.edgeCount, [...graph.levels()!.keys()].sort()], [1, [2, 3]]);
});

Deno.test("shapesOf() gives graphs without a cycle of just so many pages", () => {
  for (const seed of [1, 2]) {
    for (const { pages, edges } of shapesOf(300, seed)) {
      const graph = new ReferenceGraph();
      for (const { from, to } of edges) graph.add(from, to);
      assert.equal(graph.levels()!.size, pages);
    }
  }
});

Deno.test("measureGraph() finds a graph that is right without fault, whatever the seed", async () => {
  for (const seed of [1, 2, 3]) {
    const { plantedFound, wrongAnswers, resolveMsPerPage, cycleCheckMs } = await measure(seed);
    assert.deepEqual([plantedFound, wrongAnswers], [100, 0]);
    assert(resolveMsPerPage > 0 && cycleCheckMs > 0);
  }
});

Deno.test("measureGraph() finds cycles that are not refused, and false names", async () => {
  const accepting = await planted(
    StateBus.prototype,
    "edge",
    (edge) =>
      function (this: StateBus, ...given) {
        try {
          edge.apply(this, given);
        } catch {
          // As if it were nothing.
        }
      },
  );
  assert(accepting.plantedFound < 60, `${accepting.plantedFound}`);
  const naming = await planted(
    StateBus.prototype,
    "edge",
    (edge) =>
      function (this: StateBus, ...given) {
        try {
          edge.apply(this, given);
        } catch (error) {
          (error as { values: { cycle: number[] } }).values.cycle.reverse().push(7);
          throw error;
        }
      },
  );
  assert(naming.plantedFound < 60, `${naming.plantedFound}`);
});

Deno.test("measureGraph() finds wrong answers and slow ones", async () => {
  const levels = await planted(
    GraphView.prototype,
    "levels",
    (levels) =>
      function (this: GraphView, ...given) {
        return levels.apply(this, given).slice(1);
      },
  );
  assert(levels.wrongAnswers > 60);
  const ancestors = await planted(
    GraphView.prototype,
    "ancestors",
    (ancestors) =>
      function (this: GraphView, ...given) {
        return ancestors.apply(this, given).slice(0, -1);
      },
  );
  assert(ancestors.wrongAnswers > 10);
  const lost = await planted(StateBus.prototype, "edge", (edge) => {
    let count = 0;
    return function (this: StateBus, ...given) {
      if (++count !== 20) edge.apply(this, given);
    };
  });
  assert(lost.wrongAnswers > 0);
  const slow = <T>(original: (this: GraphView, ...given: never[]) => T) =>
    function (this: GraphView, ...given: never[]) {
      const end = performance.now() + 12;
      while (performance.now() < end);
      return original.apply(this, given);
    };
  const check = await planted(GraphView.prototype, "check", slow as never);
  assert(check.cycleCheckMs > 10);
  const resolving = await planted(GraphView.prototype, "ancestors", slow as never);
  assert(resolving.resolveMsPerPage > 1);
});

Deno.test("faultOf() finds a cycle and an edge without an end", () => {
  const pages = new Set([1, 2, 3]), type = "data" as const;
  const chain = [{ from: 1, to: 2, type }, { from: 2, to: 3, type }];
  assert.equal(faultOf(chain, pages), undefined);
  assert.match(faultOf([...chain, { from: 3, to: 1, type }], pages)!, /has a cycle/);
  assert.match(faultOf([...chain, { from: 3, to: 4, type }], pages)!, /3 → 4 .* page 4/);
});

Deno.test("validator 3 checks the graph of a user's directory, and changes nothing", async () => {
  await withFolder("graph", async (directory) => {
    const context = { quick: true, seed: 1, progress: () => {}, directory };
    {
      await using bus = await StateBus.open({ dir: directory });
      const pages = Array.from({ length: 10 }, () => bus.createPage({ size: 8 }));
      await bus.commit();
      const none = await graphValidator.run(context);
      assert.equal(none.unmeasured!.resolveMsPerPage, "it has no edges");
      for (let i = 1; i < 10; i++) bus.edge(pages[i - 1], pages[i], "data");
      await bus.commit();
    }
    const { damage, metrics, unmeasured, samples } = await graphValidator.run(context);
    assert.deepEqual([damage, metrics.wrongAnswers, samples], [undefined, 0, 19]);
    assert.deepEqual(Object.keys(unmeasured!), ["plantedFound"]);

    const path = `${directory}/lane-00/0000000001.log`, bytes = await Deno.readFile(path);
    bytes[bytes.length >> 1] ^= 1;
    await Deno.writeFile(path, bytes);
    const whole = await graphValidator.run(context).catch((error) => ({ damage: error.message }));
    assert(whole.damage !== undefined);
  });
});

Deno.test("validator 3 finds a cycle in the log of a user's directory", async () => {
  const storage = new MemoryStorage(), shards = 24;
  {
    await using bus = await StateBus.open({ storage, shards });
    const pages = Array.from({ length: 3 }, () => bus.createPage({ size: 8 }));
    await bus.commit();
    await bus.commit(() => bus.edge(pages[0], pages[1], "data"));
    await bus.commit(() => bus.edge(pages[1], pages[2], "data"));
  }
  const ticks = takeApart(storage);
  // 2 → 3 becomes 2 → 1.
  ticks[2].frames[0].rows[0].page = 1;
  await withFolder("graph", async (directory) => {
    await Deno.mkdir(`${directory}/lane-00`);
    for (const [path, bytes] of putTogether(ticks, shards).storage.image()) {
      await Deno.writeFile(`${directory}/${path}`, bytes);
    }
    await assert.rejects(
      graphValidator.run({ quick: true, seed: 1, progress: () => {}, directory }),
      { code: "corrupt-log", message: /from page 2 to page 1 closes a cycle/ },
    );
  });
});
