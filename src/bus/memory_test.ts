/** The memory of a bus: the monitor against a model, slices of reclaiming, and what each kind of bus can tell. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryStorage } from "../log/mod.ts";
import { sizeClassOf, sizeOfClass } from "../physical/mod.ts";
import { table } from "../schema/mod.ts";
import { busAccess } from "./_inside.ts";
import { type MemoryReport, type Page, StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 24 };

/** What of a report must hold for any bus that knows its own slots. */
function assertAddsUp(report: MemoryReport): void {
  let live = 0, pageBytes = 0, slotBytes = 0, cut = 0;
  for (const one of report.classes) {
    assert.equal(one.live + one.pending! + one.free!, one.carved, "live, waiting and free slots");
    assert.ok(one.pageBytes <= one.live * one.slotBytes, "pages fit their slots");
    live += one.live;
    pageBytes += one.pageBytes;
    slotBytes += one.live * one.slotBytes;
    cut += one.carved! * one.slotBytes;
  }
  const { fragmentation, carvedBytes } = report;
  assert.equal(live, report.pages);
  assert.equal(pageBytes, report.pageBytes);
  assert.ok(cut <= carvedBytes! && carvedBytes! <= report.arenaBytes);
  assert.ok(report.arenaBytes <= report.limitBytes);
  const { share, internal, external } = fragmentation!;
  for (const one of [share, internal, external]) assert.ok(one >= 0 && one <= 1);
  if (carvedBytes! > 0) {
    assert.ok(Math.abs(share - (1 - pageBytes / carvedBytes!)) < 1e-12);
    assert.ok(Math.abs(internal + external - share) < 1e-12);
    assert.ok(Math.abs(external - (1 - slotBytes / carvedBytes!)) < 1e-12);
  }
  const { totalBytes, ...parts } = report.bookkeeping;
  assert.equal(totalBytes, Object.values(parts).reduce((sum, bytes) => sum + bytes, 0));
}

type Step =
  | { readonly kind: "create"; readonly size: number; readonly named: boolean }
  | { readonly kind: "delete" | "resize"; readonly at: number; readonly size: number }
  | { readonly kind: "edge"; readonly at: number; readonly to: number }
  | { readonly kind: "tick" | "throw" | "reset" }
  | { readonly kind: "reclaim"; readonly budgetMs: number };

const sizes = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(1024, 4096, 5000));
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({ kind: fc.constant("create"), size: sizes, named: fc.boolean() }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constantFrom("delete", "delete", "resize"),
        at: fc.nat(),
        size: sizes,
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("edge"), at: fc.nat(), to: fc.nat() }) },
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constantFrom("tick", "tick", "tick", "throw") }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("reset") }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant("reclaim"), budgetMs: fc.constantFrom(0.1, 5) }),
    },
  ) as fc.Arbitrary<Step>,
  { maxLength: 60 },
);

/** Does random steps and keeps the obvious account of them: what is there, and what is staged. */
async function play(
  bus: StateBus,
  program: readonly Step[],
  look: (report: MemoryReport, sizes: readonly number[]) => void,
): Promise<void> {
  let live: { page: Page; size: number }[] = [], resized = new Map<Page, number>();
  let dying = new Set<Page>(), names = 0;
  for (const step of program) {
    const one = "at" in step && live.length > 0 ? live[step.at % live.length] : undefined;
    if (step.kind === "create") {
      const { size, named } = step;
      const extras = named ? { name: `p${names++}`, metadata: { unit: Uint8Array.of(7) } } : {};
      live.push({ page: bus.createPage({ size, ...extras }), size });
    } else if (step.kind === "delete" && one !== undefined && !dying.has(one.page)) {
      try {
        one.page.delete();
        dying.add(one.page);
      } catch {
        // Others depend on it.
      }
    } else if (step.kind === "resize" && one !== undefined && !dying.has(one.page)) {
      one.page.resize(step.size);
      resized.set(one.page, step.size);
    } else if (step.kind === "edge" && one !== undefined) {
      try {
        bus.edge(one.page, live[step.to % live.length].page, "control");
      } catch {
        // A cycle, or one of them dies.
      }
    } else if (step.kind === "tick") {
      await bus.tick();
      for (const each of live) each.size = resized.get(each.page) ?? each.size;
      live = live.filter(({ page }) => !dying.has(page));
      [resized, dying] = [new Map(), new Set()];
    } else if (step.kind === "throw") {
      // What is staged and taken back leaves its slots as well.
      await bus.commit(() => {
        for (let i = 0; i < 3; i++) bus.createPage({ size: 64 });
        throw new Error("taken back");
      }).catch(() => {});
    } else if (step.kind === "reset") {
      bus.reset();
      [live, resized, dying] = [[], new Map(), new Set()];
    } else if (step.kind === "reclaim") {
      const { pendingSlots } = bus.reclaim({ budgetMs: step.budgetMs });
      assert.equal(bus.memory().pendingReclaim!.slots, pendingSlots);
    }
    look(bus.memory(), live.map(({ size }) => size));
  }
}

Deno.test("StateBus.memory() agrees with a model over random births, deaths, sizes, resets and slices", async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (program) => {
      await using bus = await StateBus.open({ ...SMALL, reclaimBudgetMs: 0.1 });
      const { store } = busAccess().inside(bus);
      await play(bus, program, (report, sizes) => {
        assertAddsUp(report);
        assert.equal(report.pages, sizes.length);
        assert.equal(report.pageBytes, sizes.reduce((sum, size) => sum + size, 0));
        const byClass = new Map<number, number>();
        for (const size of sizes) {
          const slotBytes = sizeOfClass(sizeClassOf(size));
          byClass.set(slotBytes, (byClass.get(slotBytes) ?? 0) + 1);
        }
        for (const { slotBytes, live } of report.classes) {
          assert.equal(live, byClass.get(slotBytes) ?? 0, `slots of ${slotBytes} B`);
        }
        store.checkInvariants();
      });
    }),
    { numRuns: 60 },
  );
});

Deno.test("StateBus: whatever is reclaimed when, ids, order, bytes and log stay the same", async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (program) => {
      const ends: unknown[] = [];
      for (const slots of [Infinity, 1, 0]) {
        const storage = new MemoryStorage();
        let nowUs = 1e15;
        const clock = { nowUs: () => nowUs += 10, errorUs: () => 1 };
        const bus = await StateBus.open({ ...SMALL, storage, clock });
        const { allocator } = busAccess().inside(bus).store, { reclaim } = allocator;
        allocator.reclaim = (most) => reclaim.call(allocator, Math.min(most, slots));
        await play(bus, program.filter(({ kind }) => kind !== "reset"), () => {});
        await bus.commit();
        const pages = [...bus.pages()].map(({ id, size, name }) => [id, size, name]);
        const stats = { ...bus.stats(), phases: 0, cost: 0, ticks: 0, events: 0 };
        const digest = bus.digest();
        await bus.close();
        const log = storage.list("lane-00").map((name) => storage.readAll(`lane-00/${name}`));
        ends.push({ pages, stats, digest, log });
      }
      assert.deepEqual(ends[1], ends[0]);
      assert.deepEqual(ends[2], ends[0]);
    }),
    { numRuns: 15 },
  );
});

Deno.test("StateBus reclaims in slices what one tick has deleted, and new pages need not wait for it", async () => {
  await using bus = await StateBus.open({ memoryLimitBytes: 2 ** 27, reclaimBudgetMs: 0.1 });
  const pages = Array.from({ length: 30_000 }, () => bus.createPage({ size: 1024 }));
  await bus.tick();
  const { carvedBytes } = bus.memory();
  await bus.commit(() => pages.forEach((page) => page.delete()));
  assert.equal([...bus.pages()].length, 0);
  const { pendingReclaim, pages: left } = bus.memory();
  assert.equal(left, 0);
  assert.ok(pendingReclaim!.slots > 1000, `${pendingReclaim!.slots}`);
  assert.equal(pendingReclaim!.bytes, 1024 * pendingReclaim!.slots);
  // The arena is as full as it was: what waits is as good as free.
  const again = Array.from({ length: 30_000 }, () => bus.createPage({ size: 1000 }));
  await bus.tick();
  assert.equal(bus.memory().carvedBytes, carvedBytes);
  assert.equal(bus.memory().pendingReclaim!.slots, 0);
  assert.ok(again.every((page, i) => i % 100 > 0 || page.read().every((byte) => byte === 0)));
  await bus.commit(() => again.forEach((page) => page.delete()));
  const before = bus.memory().pendingReclaim!.slots;
  await bus.commit(() => bus.createPage({ size: 16 }));
  assert.ok(bus.memory().pendingReclaim!.slots < before, "each tick is followed by a slice");
  let slots = 0, last = bus.reclaim({ budgetMs: 0.1 });
  for (slots = last.slots; last.pendingSlots > 0; slots += last.slots) {
    last = bus.reclaim({ budgetMs: 0.1 });
    assert.equal(last.bytes, 1024 * last.slots);
  }
  assert.ok(slots > 0 && bus.memory().pauses.reclaim.count > 1);
  const { elapsedMs, ...nothing } = bus.reclaim();
  assert.deepEqual(nothing, { slots: 0, bytes: 0, pendingSlots: 0, pendingBytes: 0 });
  assert.ok(elapsedMs >= 0);
});

Deno.test("StateBus.memory() counts deleted tables, names and metadata out again", async () => {
  await using bus = await StateBus.open(SMALL);
  const empty = bus.memory();
  const rows = bus.createTable(table({ price: "f64", size: "u32" }), { name: "trades" });
  rows.append({ price: new Float64Array(100_000), size: new Uint32Array(100_000) });
  for (let i = 0; i < 100; i++) {
    bus.createPage({ size: 32, name: `page ${i}`, metadata: { unit: new Uint8Array(i) } });
  }
  await bus.tick();
  const full = bus.memory();
  assertAddsUp(full);
  assert.ok(full.bookkeeping.namesBytes > 100 * 80 && full.bookkeeping.metadataBytes > 100 * 400);
  rows.delete();
  for (const page of bus.pages()) if (page.name.startsWith("page")) page.delete();
  await bus.tick();
  const after = bus.memory();
  assertAddsUp(after);
  assert.deepEqual([after.pages, after.pageBytes], [0, 0]);
  const { namesBytes, metadataBytes, marksBytes } = after.bookkeeping;
  assert.deepEqual([namesBytes, metadataBytes, marksBytes], [0, 0, 0]);
  assert.equal(empty.pages, 0);
});

Deno.test("StateBus.memory() tells what it knows of each kind of bus, and nothing of a closed one", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ ...SMALL, storage });
  const page = bus.createPage({ size: 1000, name: "board" });
  const rest = Array.from({ length: 9 }, () => bus.createPage({ size: 1000 }));
  await bus.commit(() => page.write(0, Uint8Array.of(1)));
  await bus.commit(() => rest[0].delete());
  const own = bus.memory();
  assertAddsUp(own);
  assert.ok(own.logBufferBytes > 0 && own.openBatchBytes > 0 && own.residentBytes! > 2 ** 20);
  assert.ok(own.heapUsedBytes! > 2 ** 20 && own.queuedBatchBytes === 0 && own.cold === undefined);

  // Before anything is attached: its threads look at the pages as they stand.
  await using memory = await StateBus.open(SMALL);
  for (let i = 0; i < 3; i++) memory.createPage({ size: 100 });
  await memory.tick();
  memory.createPage({ size: 100 });
  await using there = StateBus.attach(structuredClone(memory.share()));
  const seen = there.memory();
  assert.deepEqual([seen.pages, seen.pageBytes, seen.tick], [3, 300, 1]);
  assert.deepEqual(
    seen.classes.map(({ live, free, pending, carved }) => [live, free, pending, carved]),
    [
      [3, undefined, undefined, undefined],
    ],
  );
  assert.deepEqual(
    [seen.carvedBytes, seen.fragmentation, seen.pendingReclaim, seen.cold],
    [undefined, undefined, undefined, undefined],
  );
  assert.equal(there.reclaim().slots, 0);
  await assert.rejects(there.trackMemory({ ages: true }), { code: "usage" });

  await bus.close();
  await using reader = await StateBus.open({ ...SMALL, storage, readOnly: true });
  const read = reader.memory();
  assertAddsUp(read);
  assert.deepEqual([read.pages, read.pageBytes, read.logBufferBytes], [9, 9000, 0]);
  assert.throws(() => bus.memory(), { code: "closed" });
  assert.throws(() => bus.reclaim(), { code: "closed" });
  await assert.rejects(bus.trackMemory(), { code: "closed" });
});

Deno.test("StateBus.reclaim(), trackMemory() and reclaimBudgetMs refuse what they cannot use", async () => {
  await using bus = await StateBus.open(SMALL);
  for (const budgetMs of [NaN, "1", 1n, null, {}]) {
    assert.throws(() => bus.reclaim({ budgetMs: budgetMs as number }), { code: "usage" });
    await assert.rejects(StateBus.open({ reclaimBudgetMs: budgetMs as number }), { code: "usage" });
  }
  for (const budgetMs of [0, -1, 0.09, 1000.1]) {
    assert.throws(() => bus.reclaim({ budgetMs }), { code: "out-of-bounds" });
    await assert.rejects(StateBus.open({ reclaimBudgetMs: budgetMs }), { code: "out-of-bounds" });
  }
  assert.throws(() => bus.reclaim({ budget: 1 } as never), { code: "usage" });
  assert.throws(() => bus.reclaim(null as never), { code: "usage" });
  await assert.rejects(bus.trackMemory({ ages: 1 } as never), { code: "usage" });
  await assert.rejects(bus.trackMemory({ age: true } as never), { code: "usage" });
});

Deno.test("StateBus.trackMemory() tells pages by age, from the tick on at which it was asked for", async () => {
  await using bus = await StateBus.open(SMALL);
  const pages = Array.from({ length: 4 }, () => bus.createPage({ size: 100 }));
  for (let i = 0; i < 5; i++) await bus.commit(() => pages[0].write(0, Uint8Array.of(i)));
  await bus.trackMemory({ collections: false });
  const ages = () =>
    bus.memory().cold!.ages.map((one) => [one.fromTicks, one.toTicks, one.pages, one.bytes]);
  assert.deepEqual(ages(), [[0, 1, 4, 400]]);
  assert.equal(bus.memory().cold!.sinceTick, 5);
  // Page 0 in each tick, page 1 in every 4th; the others rest, and one is born on the way.
  for (let i = 1; i <= 8; i++) {
    await bus.commit(() => {
      pages[0].write(0, Uint8Array.of(i));
      if (i % 4 === 1) pages[1].write(0, Uint8Array.of(i));
      if (i === 6) bus.createPage({ size: 50 });
    });
  }
  assert.deepEqual(ages(), [[0, 1, 1, 100], [2, 4, 2, 150], [8, 16, 2, 200]]);
  assert.equal(bus.memory().pauses.collection, undefined);
  assert.ok(bus.memory().bookkeeping.agesBytes > 0);
  bus.reset();
  assert.equal(bus.memory().cold!.sinceTick, 0);
  bus.createPage({ size: 8 });
  await bus.tick();
  // As old as its birth was asked for: before that tick.
  assert.deepEqual(ages(), [[1, 2, 1, 8]]);
});

Deno.test("StateBus.trackMemory() counts collections as V8 prints them", async () => {
  const program = `
    import { StateBus } from ${JSON.stringify(new URL("./mod.ts", import.meta.url).href)};
    await using bus = await StateBus.open({ memoryLimitBytes: 2 ** 20 });
    await bus.trackMemory();
    await bus.trackMemory();
    bus.memory();
    let kept = [];
    for (let i = 0; i < 4e6; i++) {
      kept.push({ i });
      if (kept.length > 2e5) kept = [];
      if (i % 4e5 === 0) { bus.memory(); await bus.tick(); }
    }
    globalThis.gc();
    console.log(JSON.stringify(bus.memory().pauses.collection));`;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--v8-flags=--expose-gc,--trace-gc,--single-threaded", program],
    stderr: "inherit",
  }).output();
  const text = new TextDecoder().decode(stdout);
  // V8 keeps what it prints until the end, so its lines are all together, those from before the tracking first.
  const printed = [...text.matchAll(/(Scavenge|Mark-Compact)[^\n]*? MB, ([\d.]+) \/ [\d.]+ ms/g)];
  const { all, young, full } = JSON.parse(/^\{.*\}$/m.exec(text)![0]);
  const lastOf = (kind: string, count: number) =>
    printed.filter(([, one]) => one === kind).slice(-count).map(([, , ms]) => Number(ms));
  assert.equal(all.count, young.count + full.count);
  assert.ok(young.count > 5 && full.count > 0, text.slice(0, 1000));
  // One more may come when all is told.
  const told = lastOf("Scavenge", young.count), sum = told.reduce((sum, ms) => sum + ms, 0);
  assert.ok(told.length >= young.count - 1);
  assert.ok(young.totalMs > 0.7 * sum && young.totalMs < 1.4 * sum, `${young.totalMs}, ${told}`);
  assert.ok(full.totalMs > 0.9 * Math.min(...lastOf("Mark-Compact", full.count)));
});
