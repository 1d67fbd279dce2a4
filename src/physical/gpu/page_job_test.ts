/** Page jobs: what the thread of a bus asks of the GPU thread, and what comes of it when a device is lost. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { alignUp } from "../../base/mod.ts";
import type { SharedArena } from "../arena.ts";
import { PageStore } from "../page_store.ts";
import { type GpuThread, openGpuThread } from "./gpu_thread.ts";
import { beginUpload, endUpload, evictPages, readCopies, uploadPages } from "./page_job.ts";
import { PageLocations } from "./page_locations.ts";
import { testWithGpu } from "./testdata/gpu_test.ts";

class Bench {
  readonly thread: GpuThread;
  readonly store = new PageStore(2 ** 27);
  readonly locations = new PageLocations(this.store.table);
  readonly arena: number;
  #value = 1;

  constructor(thread: GpuThread) {
    this.thread = thread;
    this.arena = thread.register(this.store.arena as SharedArena);
  }

  births(count: number, size: number): number[] {
    const { store } = this;
    return Array.from({ length: count }, () => {
      const row = store.create(store.nextPageId, { size, shard: 0, name: "" });
      this.write(row, 0, size);
      return row;
    });
  }

  write(row: number, offset: number, length: number): void {
    const { table, arena } = this.store;
    arena.bytes(table.slot(row), table.sizeOf(row)).fill(this.#value++, offset, offset + length);
    const columns = { record: [row << 1], offset: [offset], length: [length] };
    table.setEpoch(row, table.epoch(row) + 1);
    this.locations.noteRows(columns as unknown as Parameters<PageLocations["noteRows"]>[0], 1);
    this.locations.endTick({ isCommitted: true, isComplete: true });
  }

  upload(rows: number[]) {
    return uploadPages(this.thread, this.arena, this.locations, rows);
  }

  /** Compares copies with their pages. */
  check(rows: number[]): void {
    const { table, arena } = this.store;
    readCopies(this.thread, this.arena, rows).forEach((copy, i) => {
      const bytes = alignUp(table.sizeOf(rows[i]), 4);
      assert.deepEqual(copy, arena.bytes(table.slot(rows[i]), bytes).slice(), `row ${rows[i]}`);
    });
  }
}

testWithGpu("page jobs", async (_, { step }) => {
  await using thread = await openGpuThread();
  assert.equal(thread.status.state, "ready", thread.status.reason);

  await step("send pages whole once, then what changed, then nothing", () => {
    const bench = new Bench(thread), rows = bench.births(20, 5001);
    const bytes = 5004;
    const none = { pages: 20, uploads: 0, fullUploads: 0, bytes: 0 };
    assert.deepEqual(bench.upload(rows), {
      ...none,
      uploads: 20,
      fullUploads: 20,
      bytes: 20 * bytes,
    });
    bench.check(rows);
    bench.write(rows[3], 4090, 100);
    bench.write(rows[7], 0, 3);
    assert.deepEqual(bench.upload(rows), { ...none, uploads: 2, bytes: 108 });
    bench.check(rows);
    assert.deepEqual(bench.upload(rows), none);
    assert.deepEqual(bench.upload([]), { ...none, pages: 0 });
  });

  await step("run while the thread of the bus does something else", () => {
    const bench = new Bench(thread), [one, other] = bench.births(2, 100_000);
    const begin = (row: number) => {
      bench.write(row, 8, 90_000);
      return beginUpload(thread, bench.arena, bench.locations, [row]);
    };
    const end = (ticket: ReturnType<typeof begin>) => {
      const { fullUploads, bytes } = endUpload(thread, ticket, bench.locations);
      return [fullUploads, bytes];
    };
    const first = begin(one), second = begin(other);
    assert.deepEqual(end(first), [1, 100_000]);
    const third = begin(one);
    assert.deepEqual([end(second), end(third)], [[1, 100_000], [0, 90_000]]);
    bench.check([one, other]);
  });

  await step("give up what nobody wants, and tell what is not there", () => {
    const bench = new Bench(thread), rows = bench.births(3, 64);
    bench.upload(rows);
    bench.locations.drop(1);
    bench.store.remove(2);
    bench.locations.endTick({ isCommitted: true, isComplete: true });
    evictPages(thread, bench.arena, bench.locations);
    const copies = readCopies(thread, bench.arena, rows);
    assert.deepEqual(copies.map((copy) => copy?.length), [undefined, undefined, 64]);
    assert.equal(bench.upload([rows[0]]).fullUploads, 1);
    bench.check([rows[0], rows[2]]);
  });

  await step("keep copies of arenas apart, and forget those of one that is gone", () => {
    const bench = new Bench(thread), other = new Bench(thread);
    const rows = bench.births(2, 16);
    assert.deepEqual(other.births(2, 16), rows);
    other.write(rows[0], 0, 9);
    bench.upload(rows);
    other.upload(rows);
    bench.check(rows);
    other.check(rows);
    thread.unregister(bench.arena);
    assert.throws(() => bench.upload(rows), { code: "gpu" });
    other.check(rows);
  });

  await step("take more pages than one part has", () => {
    const bench = new Bench(thread), rows = bench.births(4100, 16);
    const large = bench.births(5, 2 ** 24 - 8), all = [...large, ...rows];
    assert.equal(bench.upload(all).fullUploads, all.length);
    for (const row of [large[4], rows[4099], rows[0]]) bench.write(row, 4, 8);
    assert.deepEqual(bench.upload(all).bytes, 24);
    bench.check([large[4], rows[0], rows[4099], rows[2500]]);
    thread.unregister(bench.arena);
  });

  await step("leave copies in step, whatever is done to pages", () => {
    const bench = new Bench(thread), rows = bench.births(8, 20_000);
    const write = fc.record({
      row: fc.constantFrom(...rows),
      offset: fc.nat(19_999),
      length: fc.nat(9000),
      isSent: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(write, { minLength: 1, maxLength: 30 }), (writes) => {
        for (const { row, offset, length, isSent } of writes) {
          bench.write(row, offset, Math.min(length, 20_000 - offset));
          if (isSent) bench.upload([row, rows[0]]);
        }
        bench.upload(rows);
        bench.check(rows);
      }),
      { numRuns: 8 },
    );
  });

  await step("go on with another device, which has no copies", async () => {
    const bench = new Bench(thread), rows = bench.births(4, 300);
    bench.locations.keep(1);
    bench.upload(rows);
    const { generation } = thread;
    await thread.ask({ kind: "destroy" });
    await thread.waitBeforeTick();
    assert.equal(thread.isReady, true, thread.status.reason);
    assert.notEqual(thread.generation, generation);
    // Nobody has been told so far: versions say that nothing is there.
    assert.equal(bench.upload([rows[1]]).fullUploads, 1);
    bench.check([rows[1]]);
    bench.locations.deviceGone();
    assert.deepEqual(bench.locations.rows(), [rows[0]]);
    assert.equal(bench.upload(rows).fullUploads, 4);
    bench.check(rows);
  });
});
