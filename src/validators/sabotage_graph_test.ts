/** No validator passes without its work: 3 (graph), 4 (purity) and 8 (invariants) over a bus and a graph that do something else. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { GraphView } from "../graph/graph_view.ts";
import { IncrementalOrder } from "../graph/incremental_order.ts";
import { SlotAllocator } from "../physical/allocator.ts";
import { PageTable } from "../physical/page_table.ts";
import { defineRule } from "../propagation/mod.ts";
import { type PlantedRule, plantedRules, PURE } from "./_purity_subjects.ts";
import { SideEffectWatch } from "./_purity_watch.ts";
import type { PuritySubject } from "./_purity_work.ts";
import { assertFails, sabotaged } from "./_sabotage_test.ts";
import { graphMetrics, measureGraph } from "./graph.ts";
import { invariantMetrics, measureInvariants } from "./invariants.ts";
import { measurePurity, purityMetrics } from "./purity.ts";

async function graph() {
  return {
    metrics: graphMetrics(await measureGraph({ pages: 45, resolved: 5, seed: 1 }, () => {})),
  };
}

/** Measures with a bus that refuses no edge. */
function withEveryEdge<T>(measure: () => Promise<T>): Promise<T> {
  return sabotaged(StateBus.prototype, "edge", (edge) =>
    function (this: StateBus, ...given) {
      try {
        edge.apply(this, given);
      } catch {
        // As if it were there.
      }
    }, measure);
}

Deno.test("validator 3 fails by planted cycles where edges are never refused, or falsely named", async () => {
  await assertFails(
    3,
    "plantedFound",
    () => withEveryEdge(graph),
  );
  await assertFails(
    3,
    "plantedFound",
    () => sabotaged(StateBus.prototype, "changeGraph", () => () => [], graph),
  );
});

Deno.test("validator 3 fails by wrong answers where a search forgets, or an edge is refused that closes nothing", async () => {
  await assertFails(
    3,
    "wrongAnswers",
    () =>
      sabotaged(
        GraphView.prototype,
        "ancestors",
        (ancestors) =>
          function (this: GraphView, ...given) {
            return ancestors.apply(this, given).slice(1);
          },
        graph,
      ),
  );
  let count = 0;
  await assertFails(
    3,
    "wrongAnswers",
    () =>
      sabotaged(
        IncrementalOrder.prototype,
        "add",
        (add) =>
          function (this: IncrementalOrder, ...given) {
            return ++count === 30 ? 0 : add.apply(this, given);
          },
        graph,
      ),
  );
});

Deno.test("validator 3 fails by its times where answers are slow", async () => {
  const slow = <K extends "check" | "ancestors">(method: K) =>
    sabotaged(
      GraphView.prototype,
      method,
      (original) =>
        function (this: GraphView, ...given: never[]) {
          const end = performance.now() + 12;
          while (performance.now() < end);
          return (original as (...given: never[]) => unknown).apply(this, given);
        } as GraphView[K],
      graph,
    );
  await assertFails(3, "cycleCheckMs", () => slow("check"));
  await assertFails(3, "resolveMsPerPage", () => slow("ancestors"));
});

/** Without a module: no workers are started for its forms. */
const SUM = { ...PURE.find(({ name }) => name === "sumOfPages")!, export: undefined };

async function purity(subjects: readonly PuritySubject[] = [SUM], faulty: PlantedRule[] = []) {
  const outcome = await measurePurity({ rounds: 6, seed: 1 }, () => {}, subjects, faulty);
  return { metrics: purityMetrics(outcome) };
}

Deno.test("validator 4 fails where changes are handed to rules in part, or twice", async () => {
  for (const times of [0, 2]) {
    await assertFails(
      4,
      "agreePercent",
      () =>
        sabotaged(StateBus.prototype, "rule", (rule) =>
          function (this: StateBus, code, binding) {
            if (typeof code === "string" || code instanceof URL || code.fromDeltas === undefined) {
              return rule.call(this, code, binding);
            }
            const { compute, fromDeltas, version } = code;
            const partly = defineRule({
              version,
              compute,
              fromDeltas(ctx, changes) {
                const next = changes.next.bind(changes);
                changes.next = () => {
                  if (times === 0) next();
                  return next();
                };
                const answer = fromDeltas(ctx, changes);
                if (times === 2) ctx.output(0).setInt32(0, ctx.output(0).getInt32(0) + 1);
                return answer;
              },
            });
            return rule.call(this, partly, binding);
          }, purity),
    );
  }
});

Deno.test("validator 4 fails by side effects where a rule leaks a write, and by planted faults where nobody watches", async () => {
  const leaking = plantedRules().find(({ id }) => id === "rule-writes-stranger")!;
  await assertFails(4, "sideEffects", () => purity([leaking], []));
  const drawing = plantedRules().filter(({ id }) => id === "rule-draws-unused");
  assert.equal((await purity([SUM], drawing)).metrics.plantedFound, 100);
  await assertFails(4, "plantedFound", () =>
    sabotaged(
      SideEffectWatch.prototype,
      "wrap",
      () => (rule) => rule,
      () => purity([], drawing),
    ));
});

async function invariants() {
  const plan = { cycles: 40, every: 20, seed: 1 };
  return { metrics: invariantMetrics(await measureInvariants(plan, () => {})) };
}

Deno.test("validator 8 fails where epochs jump, slots leak, or the log leads elsewhere", async () => {
  assert.equal((await invariants()).metrics.failures, 0);
  let calls = 0;
  await assertFails(
    8,
    "failures",
    () =>
      sabotaged(PageTable.prototype, "epoch", (epoch) =>
        function (this: PageTable, row) {
          return epoch.call(this, row) + (++calls % 97 === 0 ? 1 : 0);
        }, invariants),
  );
  await assertFails(
    8,
    "failures",
    () =>
      sabotaged(SlotAllocator.prototype, "allocate", (allocate) => {
        let last = 0, count = 0;
        return function (this: SlotAllocator, size) {
          // Two pages in one slot.
          return last = ++count === 30 ? last : allocate.call(this, size);
        };
      }, invariants),
  );
  await assertFails(
    8,
    "failures",
    () =>
      sabotaged(
        StateBus.prototype,
        "verify",
        () => async () => ({ ok: false }) as never,
        invariants,
      ),
  );
});

Deno.test("validator 8 fails where edges close cycles unhindered, or the work ends early", async () => {
  await assertFails(
    8,
    "closingEdges",
    () => withEveryEdge(invariants),
  );
  const ended = () => Promise.reject(new Error("no checkpoint today"));
  for (const metric of ["cycles", "checks", "failures"]) {
    await assertFails(
      8,
      metric,
      () => sabotaged(StateBus.prototype, "checkpoint", () => ended, invariants),
    );
  }
});
