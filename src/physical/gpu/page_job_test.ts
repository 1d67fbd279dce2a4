/** Page jobs: what the thread of a bus asks of the GPU thread, and what comes of it when a device is lost. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { alignUp } from "../../base/mod.ts";
import type { SharedArena } from "../arena.ts";
import { PageStore } from "../page_store.ts";
import { type JobMemory, JobReader, JobWriter } from "./_channel.ts";
import { Staging } from "./_staging.ts";
import { BufferPool } from "./buffer_pool.ts";
import { DevicePages } from "./device_pages.ts";
import { type GpuThread, openGpuThread } from "./gpu_thread.ts";
import { PAGE_JOB } from "./job_ops.ts";
import {
  beginUpload,
  endUpload,
  evictPages,
  pageJob,
  readCopies,
  uploadPages,
} from "./page_job.ts";
import { PageLocations } from "./page_locations.ts";
import { MemoryDevice } from "./testdata/memory_device.ts";
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

/** A job that is done when somebody has waited for it. */
interface SpotTicket {
  readonly done: Promise<void>;
  readonly result: () => JobReader;
}

/** Does jobs on the spot, with so much room for copies. */
class Spot {
  readonly pages: DevicePages;
  readonly #arena: SharedArena;
  readonly #job = new Staging();
  readonly #result = new Staging();

  constructor(arena: SharedArena, limitBytes: number) {
    const device = new MemoryDevice(2 ** 26);
    this.pages = new DevicePages(device, new BufferPool(device), { limitBytes });
    this.#arena = arena;
  }

  begin(op: number, write: (job: JobWriter) => void): SpotTicket {
    assert.equal(op, PAGE_JOB);
    const job = new JobWriter(this.#job), result = new JobWriter(this.#result);
    write(job);
    const reader = new JobReader(this.#job, job.length, this.#memory());
    const done = pageJob(this, reader, result);
    return { done, result: () => new JobReader(this.#result, result.length) };
  }

  end<R>(ticket: SpotTicket, read: (result: JobReader) => R): R {
    return read(ticket.result());
  }

  #memory(): JobMemory {
    const arenaOf = () => this.#arena, goesOn = () => {};
    const bufferOf = () => {
      throw new Error("no memory is named");
    };
    return { arenaOf, bufferOf, goesOn };
  }
}

Deno.test("page jobs tell what was evicted, and give up what nobody wants", async () => {
  const store = new PageStore(2 ** 20), locations = new PageLocations(store.table);
  const spot = new Spot(store.arena as SharedArena, 3 * 4096), { pages } = spot;
  for (let id = 1; id <= 5; id++) store.create(id, { size: 64, shard: 0, name: "" });
  const upload = async (rows: number[]) => {
    const ticket = beginUpload(spot, 1, locations, rows);
    await ticket.done;
    return endUpload(spot, ticket, locations);
  };
  const where = () => [1, 2, 3, 4, 5].map((id) => locations.location(id)[0]).join("");
  locations.keep(1);
  await upload([1, 2, 3]);
  assert.equal(where(), "guucc");
  await upload([4]);
  assert.equal(where(), "gcuuc");
  locations.drop(1);
  assert.deepEqual(await upload([3]), { pages: 1, uploads: 0, fullUploads: 0, bytes: 0 });
  assert.deepEqual([where(), pages.statistics().pages, pages.statistics().kept], ["ccuuc", 2, 0]);
  assert.equal((await upload([2, 5])).fullUploads, 2);
  assert.equal(where(), "cuucu");
  pages.checkInvariants();
});

Deno.test("page jobs of more pages than one part has send to each what it lacks", async () => {
  const store = new PageStore(2 ** 25), locations = new PageLocations(store.table);
  const arena = store.arena as SharedArena, spot = new Spot(arena, 2 ** 26);
  const rows = Array.from(
    { length: 4200 },
    (_, i) => store.create(i + 1, { size: 64, shard: 0, name: "" }),
  );
  const upload = async () => {
    const ticket = beginUpload(spot, 1, locations, rows);
    await ticket.done;
    return endUpload(spot, ticket, locations);
  };
  assert.equal((await upload()).fullUploads, rows.length);
  const changed = [0, 1, 4095, 4096, 4097, 4199].map((i) => rows[i]);
  changed.forEach((row, i) => {
    arena.bytes(store.table.slot(row), 64).fill(i + 1, 8 * i, 8 * i + 4);
    locations.noteRows({
      record: Int32Array.of(row << 1),
      offset: Int32Array.of(8 * i),
      length: Int32Array.of(4),
    }, 1);
  });
  assert.equal((await upload()).bytes, 24);
  for (const row of [...changed, rows[2000]]) {
    const page = arena.bytes(store.table.slot(row), 64).slice();
    assert.deepEqual(await spot.pages.read(1, row), page);
  }
});

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

  await step("leave copies in step, whatever is done to pages", () => {
    const bench = new Bench(thread), rows = bench.births(8, 20_000);
    const write = fc.record({
      row: fc.constantFrom(...rows),
      offset: fc.nat(19_999),
      length: fc.nat(9000),
      isSent: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(write, { minLength: 1, maxLength: 20, size: "max" }), (writes) => {
        for (const { row, offset, length, isSent } of writes) {
          bench.write(row, offset, Math.min(length, 20_000 - offset));
          if (isSent) bench.upload([row, rows[0]]);
        }
        bench.upload(rows);
        bench.check(rows);
      }),
      { numRuns: 4 },
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
