/**
 * Random programs of pages and edges against a naive model: sets of texts, reachability by search. After each
 * tick the bus must show what the model holds, and after each opening what the last tick left.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MmsbError } from "../base/mod.ts";
import { exportStorage, MemoryStorage } from "../log/mod.ts";
import type { EdgeType } from "../physical/mod.ts";
import { StateBus } from "./state_bus.ts";

const TYPES = ["data", "control", "gpu", "compiler"] as const;
/** Pages that a program speaks of: the n-th that was created, if it was. */
const PAGES = 12;

type Step =
  | { readonly do: "create" | "tick" | "refused" | "reopen" | "checkpoint" }
  | {
    readonly do: "edge" | "remove";
    readonly from: number;
    readonly to: number;
    readonly type: EdgeType;
  }
  | { readonly do: "delete"; readonly page: number; readonly cascade: boolean };

const page = fc.integer({ min: 1, max: PAGES });
const edge = fc.record({ from: page, to: page, type: fc.constantFrom(...TYPES) });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 14, arbitrary: edge.map((edge): Step => ({ do: "edge", ...edge })) },
  { weight: 6, arbitrary: edge.map((edge): Step => ({ do: "remove", ...edge })) },
  { weight: 4, arbitrary: fc.constant<Step>({ do: "create" }) },
  { weight: 3, arbitrary: fc.constant<Step>({ do: "tick" }) },
  {
    weight: 2,
    arbitrary: fc.record({ page, cascade: fc.boolean() }).map((death): Step => ({
      do: "delete",
      ...death,
    })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Step>({ do: "refused" }, { do: "reopen" }, { do: "checkpoint" }),
  },
);

/** The obvious graph. */
class Model {
  pages = new Set<number>();
  dying = new Set<number>();
  /** "from to type" */
  edges = new Set<string>();

  copy(): Model {
    const copy = new Model();
    copy.pages = new Set(this.pages);
    copy.dying = new Set(this.dying);
    copy.edges = new Set(this.edges);
    return copy;
  }

  reachable(from: number): Set<number> {
    const found = new Set<number>();
    for (let before = -1; before !== found.size;) {
      before = found.size;
      for (const edge of this.edges) {
        const [a, b] = edge.split(" ").map(Number);
        if (a === from || found.has(a)) found.add(b);
      }
    }
    return found;
  }

  /** What a call does: the code of its refusal, or "" where it is taken. */
  take(step: Step): string {
    if (step.do === "edge" || step.do === "remove") {
      const { from, to, type } = step, key = `${from} ${to} ${TYPES.indexOf(type)}`;
      if (!this.pages.has(from) || !this.pages.has(to)) return "invalid-handle";
      if (step.do === "remove") return this.edges.delete(key) ? "" : "invalid-handle";
      if (this.dying.has(from) || this.dying.has(to)) return "invalid-handle";
      if (from === to || this.edges.has(key)) return "usage";
      if (this.reachable(to).has(from)) return "cycle";
      this.edges.add(key);
    } else if (step.do === "delete") {
      const { page, cascade } = step;
      if (!this.pages.has(page) || this.dying.has(page)) return "invalid-handle";
      const dependents = [...this.reachable(page)].filter((other) => !this.dying.has(other));
      const near = [...this.edges].map((edge) => edge.split(" ").map(Number))
        .filter(([from, to]) => from === page && !this.dying.has(to));
      if (near.length > 0 && !cascade) return "usage";
      this.dying.add(page);
      if (cascade) { for (const other of dependents) this.dying.add(other); }
    }
    return "";
  }

  commit(): void {
    for (const page of this.dying) this.pages.delete(page);
    for (const edge of this.edges) {
      const [from, to] = edge.split(" ").map(Number);
      if (this.dying.has(from) || this.dying.has(to)) this.edges.delete(edge);
    }
    this.dying.clear();
  }
}

function shows(bus: StateBus, model: Model): void {
  const edges = bus.graph.edges().map(({ from, to, type }) =>
    `${from} ${to} ${TYPES.indexOf(type)}`
  );
  assert.deepEqual(edges.toSorted(), [...model.edges].toSorted());
  const { ok, pages } = bus.graph.check();
  assert(ok && pages === model.pages.size);
  for (const page of model.pages) {
    assert.deepEqual(bus.graph.descendants(page), [...model.reachable(page)].sort((a, b) => a - b));
  }
}

async function play(steps: readonly Step[]): Promise<void> {
  const storage = new MemoryStorage(), options = { storage, durability: "buffered" } as const;
  let bus = await StateBus.open(options), last = new Model(), next = new Model();
  /** Digest and version of the graph after each tick. */
  const seen: [digest: string, version: number][] = [[bus.graph.digest(), 0]];
  let pages = 0;
  const tick = async () => {
    const { tick } = await bus.tick();
    next.commit();
    last = next.copy();
    shows(bus, last);
    seen[tick] = [bus.graph.digest(), bus.graph.version];
  };
  for (const step of steps) {
    if (step.do === "create" && pages < PAGES) {
      next.pages.add(bus.createPage({ size: 8 }).id), pages++;
    } else if (step.do === "tick") await tick();
    else if (step.do === "checkpoint") await bus.checkpoint();
    else if (step.do === "refused" && last.pages.size > 0) {
      bus.page([...last.pages][0]).write(0, new Uint8Array(1), { expectedEpoch: 77 });
      await assert.rejects(bus.tick(), { code: "stale-epoch" });
      // Ids of pages that never were are not given out again while the bus is open.
      for (const page of next.pages) if (!last.pages.has(page)) pages = PAGES;
      next = last.copy();
      shows(bus, last);
      assert.equal(bus.graph.version, seen[bus.tickNumber][1]);
    } else if (step.do === "reopen") {
      const { tickNumber } = bus;
      await bus.close();
      bus = await StateBus.open(options);
      for (const page of next.pages) if (!last.pages.has(page)) pages = PAGES;
      next = last.copy();
      shows(bus, last);
      assert.deepEqual([bus.tickNumber, bus.graph.digest(), bus.graph.version], [
        tickNumber,
        ...seen[tickNumber],
      ]);
    } else if (step.do === "edge" || step.do === "remove" || step.do === "delete") {
      const before = next.copy(), expected = next.take(step);
      if (expected !== "") next = before;
      let code = "";
      try {
        if (step.do === "edge") bus.edge(step.from, step.to, step.type);
        else if (step.do === "remove") bus.removeEdge(step.from, step.to, step.type);
        else if (step.do === "delete") bus.page(step.page).delete({ cascade: step.cascade });
      } catch (error) {
        if (!(error instanceof MmsbError)) throw error;
        code = error.code;
      }
      assert.equal(code, expected, JSON.stringify(step));
    }
  }
  await tick();
  assert((await bus.verify()).ok);
  for (let tick = bus.horizon; tick <= bus.tickNumber; tick++) {
    if (seen[tick] === undefined) continue;
    await using past = await bus.at({ tick });
    assert.deepEqual([past.graph.digest(), past.graph.version], seen[tick], `tick ${tick}`);
  }
  await bus.close();
  for (const line of exportStorage(storage)) {
    if (line.type === "commit") assert.equal(line.graphVersion ?? 0, seen[line.tick][1]);
  }
}

Deno.test("the graph of a bus is what a naive model says, whatever is done, and after each opening", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 120, size: "max" }), (steps) => {
      const births = Array.from({ length: 6 }, (): Step => ({ do: "create" }));
      return play([...births, ...steps]);
    }),
    { numRuns: 60 },
  );
});
