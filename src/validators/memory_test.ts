/** Validator 7 on small work, and on a bus whose memory is wrong: each thing it looks for is planted once. */

import assert from "node:assert/strict";
import { SlotAllocator } from "../physical/allocator.ts";
import { PageAges } from "../physical/page_ages.ts";
import { PageStore } from "../physical/page_store.ts";
import { measureMemory, type MemoryOutcome, type MemoryPlan } from "./_memory_measure.ts";
import { measureElsewhere, metricsOf } from "./memory.ts";

const SMALL: MemoryPlan = { pages: 3000, mixedPages: 300, rounds: 2, seed: 1 };
const NO_PROBE = { residentBytes: () => 0, collect: () => {}, progress: () => {} };

/** Measures with a method replaced, and puts it back. */
async function planted<T extends object, K extends keyof T>(
  owner: T,
  method: K,
  fault: (original: T[K]) => T[K],
): Promise<MemoryOutcome> {
  const original = owner[method];
  owner[method] = fault(original);
  try {
    return await measureMemory(SMALL, NO_PROBE);
  } finally {
    owner[method] = original;
  }
}

Deno.test("measureMemory() finds nothing wrong with a bus that is right, whatever the seed", async () => {
  for (const seed of [1, 2, 3]) {
    const outcome = await measureMemory({ ...SMALL, seed }, NO_PROBE);
    const { pages, wrongPages, wrongReuses, regrownBytes, dataBytes } = outcome;
    assert.deepEqual({ pages, wrongPages, wrongReuses, regrownBytes, dataBytes }, {
      pages: 3000,
      wrongPages: 0,
      wrongReuses: 0,
      regrownBytes: 0,
      dataBytes: 3000 * 1024,
    });
    assert(outcome.bookkeepingBytes > 29 * 3000 && outcome.fragmentation < 1);
    assert.equal(outcome.pauses.length, 5);
    // 375 pages in ticks of 128.
    assert(outcome.pauses.every((times) => times.length === 3));
    assert.equal(outcome.created, 3000 + 5 * 375 + 2 * 300 + 2 * 150);
    const { slotsUnknown, coldPagesWrong, collections } = outcome.reclaim;
    assert.deepEqual([slotsUnknown, coldPagesWrong], [0, 0]);
    assert(collections !== undefined && collections.all.count < 1000);
    assert.equal(outcome.deleted, 5 * 375 + 2 * 150 + 300);
  }
});

Deno.test("measureMemory() finds a reused slot that was not zeroed", async () => {
  const outcome = await planted(
    PageStore.prototype,
    "create",
    (create) =>
      function (this: PageStore, id, birth) {
        const row = create.call(this, id, birth);
        if (id === 3100) this.view(row)[birth.size - 1] = 1;
        return row;
      },
  );
  assert.deepEqual([outcome.wrongReuses, outcome.wrongPages], [1, 0]);
});

Deno.test("measureMemory() finds pages that hold other bytes than were written", async () => {
  const outcome = await planted(
    PageStore.prototype,
    "create",
    (create) =>
      function (this: PageStore, id, birth) {
        const row = create.call(this, id, birth);
        if (id === 3100) {
          for (const live of this.table.rows()) {
            if (live % 100 === 0 && this.table.isActive(live)) this.view(live)[1023] ^= 1;
          }
        }
        return row;
      },
  );
  // Some of them are deleted before all are read back.
  assert(outcome.wrongPages >= 1 && outcome.wrongPages <= 30, `${outcome.wrongPages}`);
  assert.equal(outcome.wrongReuses, 0);
});

Deno.test("measureMemory() finds two pages in one slot", async () => {
  let last = 0, count = 0;
  const outcome = await planted(
    SlotAllocator.prototype,
    "allocate",
    (allocate) =>
      function (this: SlotAllocator, size) {
        last = ++count === 100 ? last : allocate.call(this, size);
        return last;
      },
  );
  assert(outcome.wrongPages >= 1);
});

Deno.test("measureMemory() finds slots that are lost when pages are deleted", async () => {
  const outcome = await planted(SlotAllocator.prototype, "retire", () => () => {});
  assert(outcome.regrownBytes >= 1024 * 375, `${outcome.regrownBytes}`);
  assert(outcome.fragmentation < 1);
});

Deno.test("measureMemory() times the ticks that delete, whole", async () => {
  const outcome = await planted(
    PageStore.prototype,
    "removeAll",
    (removeAll) =>
      function (this: PageStore, ids) {
        const end = performance.now() + 0.05 * ids.size;
        while (performance.now() < end);
        removeAll.call(this, ids);
      },
  );
  // 128 pages of 0.05 ms each; on a busy machine the processor may be another's meanwhile.
  const { pauseMsMax, pauseMsMedian } = metricsOf(outcome);
  assert(pauseMsMedian >= 5 && pauseMsMax >= 1, `${pauseMsMedian}, ${pauseMsMax}`);
});

Deno.test("measureMemory() finds ticks that wait while they delete", async () => {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  const outcome = await planted(
    PageStore.prototype,
    "removeAll",
    (removeAll) =>
      function (this: PageStore, ids) {
        Atomics.wait(cell, 0, 0, ids.size / 16);
        removeAll.call(this, ids);
      },
  );
  assert(metricsOf(outcome).pauseMsMedian > 3);
});

Deno.test("measureMemory() times every slice of reclaiming, whole, and counts slots that do not come back", async () => {
  const slow = await planted(
    SlotAllocator.prototype,
    "reclaim",
    (reclaim) =>
      function (this: SlotAllocator, slots) {
        const end = performance.now() + 4;
        while (performance.now() < end);
        return reclaim.call(this, slots);
      },
  );
  // On a busy machine the processor may be another's meanwhile.
  assert(metricsOf(slow).reclaimMsMax > 1.5 && slow.reclaim.slices.length > 3);
  assert.equal(slow.reclaim.slotsUnknown, 0);
  const lost = await planted(SlotAllocator.prototype, "reclaim", () => () => 0);
  assert(metricsOf(lost).slotsUnknown >= 3000, `${lost.reclaim.slotsUnknown}`);
});

Deno.test("measureMemory() finds a monitor that tells warm pages as cold", async () => {
  const outcome = await planted(
    PageAges.prototype,
    "advance",
    (advance) =>
      function (this: PageAges, tick) {
        // Looks at no row: all pages seem to rest.
        return advance.call(this, tick, 0);
      },
  );
  assert(metricsOf(outcome).coldPagesWrong > 0);
});

Deno.test("measureElsewhere() finds memory that is kept beside the pages", async () => {
  const plan = { ...SMALL, pages: 50_000 };
  const folder = await Deno.makeTempDir({ prefix: "mmsb-memory-" });
  try {
    const at = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
    const leak = `${folder}/leak.ts`;
    await Deno.writeTextFile(
      leak,
      `import { PageStore } from ${at("../physical/page_store.ts")};
import { main } from ${at("./_memory_process.ts")};
const kept = [], create = PageStore.prototype.create;
PageStore.prototype.create = function (...given) {
  kept.push(new Uint8Array(4096).fill(1));
  return create.apply(this, given);
};
await main();
`,
    );
    const told: string[] = [];
    const clean = await measureElsewhere(plan, (text) => told.push(text));
    assert(told.some((text) => /^[\d,]+ pages created and written$/.test(text)), told.join("; "));
    assert(clean.residentBytes > 1024 * plan.pages);
    const leaking = await measureElsewhere(plan, () => {}, new URL(`file://${leak}`).href);
    const { bytesPerPage } = metricsOf(leaking);
    assert(bytesPerPage > 1024 + 4096, `${bytesPerPage} B a page`);
    assert(bytesPerPage > metricsOf(clean).bytesPerPage + 3000);
    assert.equal(metricsOf(leaking).wrongPages, 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("measureElsewhere() says what ended its process", async () => {
  const entry = `data:text/javascript,${encodeURIComponent("throw new Error('no memory today')")}`;
  await assert.rejects(measureElsewhere(SMALL, () => {}, entry), {
    message: /ended with 1: .*no memory today/s,
  });
});
