/**
 * No validator passes without its work: 5 (throughput), 6 (tick), 7 (memory), 9 (stability) and 10 (provenance) over a bus
 * that loses, changes or delays something. What else each of them finds stands in its own test.
 */

import assert from "node:assert/strict";
import { cpuUsage } from "node:process";
import { Page, StateBus } from "../bus/mod.ts";
import type { DeltaBatch } from "../physical/mod.ts";
import { SlotAllocator } from "../physical/allocator.ts";
import { PageStore } from "../physical/page_store.ts";
import { Firing } from "../propagation/firing.ts";
import { Waves } from "../propagation/waves.ts";
import { WorkerTeam } from "../propagation/workers/worker_team.ts";
import { withFolder } from "./_figures.ts";
import { measureMemory } from "./_memory_measure.ts";
import { assertFails, sabotaged } from "./_sabotage_test.ts";
import { STABLE } from "./_stability_system.ts";
import { metricsOf } from "./memory.ts";
import { measureProvenance } from "./provenance.ts";
import { measureStability, stabilityMetrics } from "./stability.ts";
import { measureThroughput, throughputMetrics } from "./throughput.ts";
import { measureTicks, tickMetrics } from "./tick.ts";

async function throughput() {
  // As many rows as workers begin to take a part of.
  const plan = { pages: 100, batches: 2, rows: 20_000, warmUp: 0, rounds: 2, seed: 1 };
  return { metrics: throughputMetrics(await measureThroughput(plan, () => {})) };
}

Deno.test("validator 5 fails by wrong pages where a row goes to another page, or its last byte is another", async () => {
  const faults: ((batch: DeltaBatch) => void)[] = [
    ({ columns: { page } }) => void (page[7] = page[7] % 100 + 1),
    ({ payload, length }) => void (payload[16 * length - 1] ^= 1),
  ];
  for (const fault of faults) {
    let count = 0;
    await assertFails(
      5,
      "wrongPages",
      () =>
        sabotaged(
          StateBus.prototype,
          "submit",
          (submit) =>
            function (this: StateBus, batch, options) {
              if (++count === 4) {
                fault(batch);
              }
              return submit.call(this, batch, options);
            },
          throughput,
        ),
    );
  }
});

Deno.test("validator 5 fails by each of its rates where ticks take long", async () => {
  const { metrics } = await sabotaged(
    StateBus.prototype,
    "tick",
    (tick) =>
      async function (this: StateBus) {
        const report = await tick.call(this);
        if (report.rows > 0) await new Promise((resolve) => setTimeout(resolve, 40));
        return report;
      },
    throughput,
  );
  for (const metric of ["oneThread", "workers", "oneThreadLogged", "workersLogged", "deltas"]) {
    await assertFails(5, metric, () => Promise.resolve({ metrics }));
  }
});

Deno.test("validator 5 fails where workers are there and do nothing", async () => {
  const idle = () => sabotaged(WorkerTeam.prototype, "isWorth", () => () => false, throughput);
  await assert.rejects(idle, /workers that checked none of the rows/);
});

async function ticks() {
  const plan = { pages: 200, derived: 100, rows: 50, warmUp: 2, ticks: 8, seed: 1 };
  return { metrics: tickMetrics(await measureTicks(plan, () => {})) };
}

Deno.test("validator 6 fails where a tick skips its propagation, or a rule its run", async () => {
  let waves = 0;
  const skipped = () =>
    sabotaged(Waves.prototype, "propagate", (propagate) =>
      function (this: Waves) {
        if (++waves % 4 !== 0) propagate.call(this);
      }, ticks);
  await assertFails(6, "wrongRuns", skipped);
  const idle = () =>
    sabotaged(Firing.prototype, "fire", (fire) =>
      function (this: Firing, rule) {
        if (rule !== 7) fire.call(this, rule);
      }, ticks);
  await assertFails(6, "wrongPages", idle);
});

Deno.test("validator 6 fails by its times where ticks are late", async () => {
  const late = () =>
    sabotaged(StateBus.prototype, "tick", (tick) =>
      async function (this: StateBus) {
        await new Promise((resolve) => setTimeout(resolve, 17));
        return await tick.call(this);
      }, ticks);
  for (const metric of ["meanMs", "p99Ms", "ticks"]) await assertFails(6, metric, late);
});

async function memory() {
  const plan = { pages: 1000, mixedPages: 100, rounds: 2, seed: 1 };
  const probe = { residentBytes: () => 0, collect: () => {}, progress: () => {} };
  return { metrics: metricsOf(await measureMemory(plan, probe)) };
}

Deno.test("validator 7 fails where slots leak, are shared, or come back dirty", async () => {
  const { metrics } = await memory();
  assert.deepEqual([metrics.wrongPages, metrics.wrongReuses, metrics.regrownBytes], [0, 0, 0]);
  await assertFails(7, "wrongPages", () => {
    let last = 0, count = 0;
    return sabotaged(
      SlotAllocator.prototype,
      "allocate",
      (allocate) =>
        function (this: SlotAllocator, size) {
          return last = ++count === 100 ? last : allocate.call(this, size);
        },
      memory,
    );
  });
  await assertFails(
    7,
    "wrongReuses",
    () =>
      sabotaged(PageStore.prototype, "create", (create) =>
        function (this: PageStore, id, birth) {
          const row = create.call(this, id, birth);
          if (id === 1050) this.view(row)[birth.size - 1] = 1;
          return row;
        }, memory),
  );
});

async function stability(plan = {}) {
  const small = { ...STABLE, width: 8, rows: 3, strips: 3, steps: 40, seed: 1, ...plan };
  return { metrics: stabilityMetrics(await measureStability(small, () => {})) };
}

Deno.test("validator 9 fails where the system is none of a stable one", async () => {
  await assertFails(9, "errorGrowth", () => stability({ diffusion: 0.4 }));
  await assertFails(9, "secondDifferenceGrowth", () => stability({ diffusion: 0.4 }));
  await assertFails(9, "nonFinite", () => stability({ diffusion: 1e9, steps: 80 }));
  // An oscillator that gains speed where it should lose it.
  await assertFails(9, "errorGrowth", () => stability({ damping: -8, coupling: 0.5, steps: 80 }));
});

Deno.test("validator 9 fails where the bus hands out other bytes, or runs a step twice", async () => {
  await assertFails(
    9,
    "wrongSteps",
    () =>
      sabotaged(Page.prototype, "read", (read) =>
        function (this: Page, offset, length) {
          const bytes = read.call(this, offset, length);
          if (bytes.length === 8 * 24) bytes[5] ^= 1;
          return bytes;
        }, stability),
  );
  await assertFails(9, "wrongSteps", () => {
    let count = 0;
    return sabotaged(StateBus.prototype, "tick", (tick) =>
      function (this: StateBus) {
        // Every twentieth tick is late: nothing is there yet when it is looked at.
        return ++count % 20 === 0 ? Promise.resolve() as never : tick.call(this);
      }, stability);
  });
});

async function provenance() {
  const plan = { sources: 32, layers: 4, width: 4, rows: 30, deltas: 1000, seed: 3 };
  let metrics: Readonly<Record<string, number>> = {};
  await withFolder("sabotage", async (dir) => {
    ({ metrics } = await measureProvenance(dir, plan, () => {}));
  });
  return { metrics };
}

Deno.test("validator 10 fails where an explanation misses a parent, or tells of another tick", async () => {
  assert.equal((await provenance()).metrics.resolvedPercent, 100);
  await assertFails(
    10,
    "resolvedPercent",
    () =>
      sabotaged(
        StateBus.prototype,
        "explain",
        (explain) =>
          async function (this: StateBus, ...given) {
            const explanation = await explain.apply(this, given);
            const { root } = explanation;
            Object.assign(root, { parents: root.parents.slice(0, -1) });
            return explanation;
          },
        provenance,
      ),
  );
  await assertFails(10, "resolvedPercent", () => {
    let last: ReturnType<StateBus["explain"]>;
    return sabotaged(
      StateBus.prototype,
      "explain",
      (explain) =>
        function (this: StateBus, ...given) {
          // Once it has told of one tick, it tells of it for ever.
          return last ??= explain.apply(this, given);
        },
      provenance,
    );
  });
});

/** The first page of the last layer: behind the sources and the layers before. */
const SLOW_PAGE = 32 + 3 * 4 + 1;

function spin(ms: number): void {
  const used = cpuUsage(), started = performance.now();
  for (let spentMs = 0; spentMs < ms;) {
    // Asking costs more than some work does.
    for (let i = 0; i < 100_000; i++) Math.imul(i, i);
    const { user, system } = cpuUsage(used);
    // The lesser of both counts where it is measured.
    spentMs = Math.min(performance.now() - started, (user + system) / 1000);
  }
}

Deno.test("validator 10 fails by its times where answers are slow, and by a depth that is none", async () => {
  const slow = () =>
    sabotaged(
      StateBus.prototype,
      "explain",
      (explain) =>
        async function (this: StateBus, ...given) {
          // Of the process's own time, as that is what counts on a busy machine.
          if (given[0] === SLOW_PAGE) spin(60);
          const explanation = await explain.apply(this, given);
          Object.defineProperty(explanation, "depth", { value: 40 });
          return explanation;
        },
      provenance,
    );
  const { metrics } = await slow();
  for (const metric of ["coldMsMax", "cachedMsMax", "pastMsMax", "depthMax"]) {
    await assertFails(10, metric, () => Promise.resolve({ metrics }));
  }
});
