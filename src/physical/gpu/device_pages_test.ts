/**
 * Device pages and page locations: whatever is done to the pages of a store and to their copies, a job finds
 * copies that hold what the pages hold.
 *
 * The program works on a real store, with ticks as the engine makes them (epochs first, then bytes with or without
 * records), and on a device whose buffers are arrays, or a real one.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { alignUp, MmsbError } from "../../base/mod.ts";
import { PageStore, type StoreImage } from "../page_store.ts";
import type { SharedArena } from "../arena.ts";
import { BufferPool } from "./buffer_pool.ts";
import { DevicePages, type PageDevice, type PageLease } from "./device_pages.ts";
import type { GpuDevice } from "./gpu_device.ts";
import { HEAD_ROW, HEAD_WORDS, type PageList } from "./page_list.ts";
import { PageLocations, type TickRecords } from "./page_locations.ts";
import { testWithGpu } from "./testdata/gpu_test.ts";
import { MemoryDevice } from "./testdata/memory_device.ts";

const ARENA = 3;
const SIZES = [1, 16, 50, 52, 100, 4096, 10_000, 40_000];
const PAGES_MAX = 12;
const RECORD_HEAD = 4;

type MakeDevice = () => Promise<{ device: MemoryDevice | GpuDevice; limitBytes: number }>;

/** Records as the change log keeps them. */
class Records implements TickRecords {
  words = new Int32Array(1 << 16);
  used = 1;
  heads = new Int32Array(1024);
  touched = new Int32Array(1024);
  count = 0;

  add(row: number, word: number, old: Int32Array): void {
    const before = this.heads[row];
    if (before === 0) this.touched[this.count++] = row;
    this.words.set([row, word, old.length, before], this.used);
    this.words.set(old, this.used + RECORD_HEAD);
    this.heads[row] = this.used;
    this.used += RECORD_HEAD + old.length;
  }

  undo({ table, arena }: PageStore): void {
    for (const row of this.touched.subarray(0, this.count)) {
      for (let at = this.heads[row]; at !== 0; at = this.words[at + 3]) {
        const first = 4 * table.slot(row) + this.words[at + 1], from = at + RECORD_HEAD;
        arena.words.set(this.words.subarray(from, from + this.words[at + 2]), first);
      }
    }
  }
}

/** One step of a program, told by small numbers. */
interface Step {
  readonly kind: string;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

class Program {
  readonly store = new PageStore(2 ** 22);
  readonly locations = new PageLocations(this.store.table);
  readonly #make: MakeDevice;
  readonly #closed: (() => unknown)[] = [];
  #device!: PageDevice & (MemoryDevice | GpuDevice);
  #pool!: BufferPool;
  pages!: DevicePages;
  #nextId = 1;
  #ids: number[] = [];
  #image: StoreImage | undefined;
  #value = 1;

  constructor(make: MakeDevice) {
    this.#make = make;
  }

  async open(): Promise<void> {
    const { device, limitBytes } = await this.#make();
    this.#device = device;
    this.#pool = new BufferPool(device, { cachedBytesMax: 2 ** 16 });
    this.pages = new DevicePages(device, this.#pool, { limitBytes });
    const pool = this.#pool;
    this.#closed.push(() => pool.close());
  }

  async run({ kind, a, b, c }: Step): Promise<void> {
    if (kind === "birth" && this.#ids.length < PAGES_MAX) this.#birth(a);
    else if (kind === "tick") await this.#tick(a, b, c);
    else if (kind === "use") await this.#use(this.#some(a), undefined);
    else if (kind === "lostJob") this.locations.take(this.#some(a));
    else if (kind === "failedJob") await this.#failedJob(a, b);
    else if (kind === "otherDevice") await this.#otherDevice();
    else if (kind === "clear") this.locations.clear();
    else if (kind === "image") this.#image = this.store.image();
    else if (kind === "restore" && this.#image !== undefined) this.#restore(this.#image);
    else if (this.#ids.length > 0) this.#onPage(kind, this.#ids[a % this.#ids.length], b);
    this.locations.checkInvariants();
    this.pages.checkInvariants();
    this.#pool.checkInvariants();
  }

  async end(): Promise<void> {
    for (const id of this.#ids) await this.#use([this.store.table.rowOf(id)], undefined);
    for (const close of this.#closed) await close();
  }

  #birth(a: number): void {
    const id = this.#nextId++;
    const row = this.store.create(id, { size: SIZES[a % SIZES.length], shard: 0, name: "" });
    this.store.table.setActive(row, true);
    this.#ids.push(id);
  }

  #onPage(kind: string, id: number, b: number): void {
    const { store, locations } = this;
    if (kind === "death") {
      store.remove(id);
      this.#ids = this.#ids.filter((one) => one !== id);
    } else if (kind === "resize") {
      store.resize(id, SIZES[b % SIZES.length]);
    } else if (kind === "write") {
      // Nobody is told: its epoch says so.
      const row = store.table.rowOf(id);
      store.table.setEpoch(row, store.table.epoch(row) + 1);
      this.#change(row, b, b, undefined);
    } else if (kind === "keep") locations.keep(id);
    else if (kind === "share") locations.share(id);
    else if (kind === "drop") locations.drop(id);
    if (kind === "keep") assert.equal(locations.location(id), "gpu");
    if (kind === "drop") assert.equal(locations.location(id), "cpu");
  }

  /** A tick: some rows with records, a job in its middle, a job that writes, some rows without records; then its end. */
  async #tick(a: number, b: number, c: number): Promise<void> {
    const { store, locations } = this, { table } = store;
    if (this.#ids.length === 0) return;
    const rows = this.#ids.map((id) => table.rowOf(id));
    const captured = Array.from({ length: a % 5 }, (_, i) => rows[(b + i * i) % rows.length]);
    const plain = c % 3 === 0 ? [rows[c % rows.length]] : [], isTold = c % 2 === 0;
    const raised = [...captured, ...plain];
    locations.beginTick();
    for (const row of raised) table.setEpoch(row, table.epoch(row) + 1);
    const log = new Records();
    captured.forEach((row, i) => this.#change(row, b + i, c, log));
    if (a % 2 === 0) await this.#use(this.#some(b), log);
    if (captured.length > 1) this.#change(captured[0], c, b, log);
    if (b % 2 === 0) await this.#writingJob(rows, b, c, log);
    const isCommitted = c % 5 !== 0;
    if (isCommitted) {
      for (const row of plain) {
        const [offset, length] = this.#change(row, c, b, undefined);
        const columns = { record: [row << 1], offset: [offset], length: [length] };
        if (isTold) {
          locations.noteRows(columns as unknown as Parameters<typeof locations.noteRows>[0], 1);
        }
      }
    } else {
      log.undo(store);
    }
    const isComplete = plain.length === 0 || isTold;
    const lower = () => {
      for (const row of raised) table.setEpoch(row, table.epoch(row) - 1);
    };
    if (!isCommitted && a % 3 === 0) lower();
    locations.endTick({ log, isCommitted, isComplete });
    if (!isCommitted && a % 3 !== 0) lower();
  }

  /** A job that writes a page's copy; then the page, where all goes well. */
  async #writingJob(rows: number[], b: number, c: number, log: Records): Promise<void> {
    const { locations, store } = this, place = c % 2;
    const written = rows[b % rows.length], other = rows[c % rows.length];
    if (written === other) return;
    const list = locations.take(place === 0 ? [written, other] : [other, written], {
      log,
      writes: [place],
    });
    const lease = await this.#lend(list);
    if (lease === undefined) return;
    const copy = lease.copies[place], word = b % (copy.bytes / 4);
    const now = Int32Array.of(this.#value++);
    this.#device.write(copy.buffer, 4 * word, now);
    const fate = b % 7;
    // The job may end before it says so, and its result may be wanted by nobody.
    if (fate !== 0) lease.written();
    lease.release();
    if (fate < 2) return;
    const first = 4 * store.table.slot(written) + word, words = store.arena.words;
    if (words[first] !== now[0]) {
      log.add(written, word, words.slice(first, first + 1));
      words[first] = now[0];
    }
    locations.inStep(written, log);
  }

  async #failedJob(a: number, b: number): Promise<void> {
    if (!(this.#device instanceof MemoryDevice)) return;
    this.#device.writesLeft = b % 3;
    try {
      await this.#use(this.#some(a), undefined);
    } catch (error) {
      assert(error instanceof MmsbError && error.code === "gpu");
    } finally {
      this.#device.writesLeft = -1;
    }
  }

  async #otherDevice(): Promise<void> {
    await this.open();
    this.locations.deviceGone();
  }

  #restore(image: StoreImage): void {
    this.store.restore(image);
    this.#ids = [];
    for (const row of this.store.table.rows()) this.#ids.push(this.store.table.ids[row]);
    this.#nextId = Math.max(this.#nextId, this.store.nextPageId);
  }

  /** Changes a page: the first byte or more of a word, with a record or without. */
  #change(row: number, b: number, c: number, log: Records | undefined): [number, number] {
    const { table, arena } = this.store, size = table.sizeOf(row), value = this.#value++;
    const offset = b * 37 % size, length = 1 + c * 7 % Math.min(300, size - offset);
    const word = offset >> 2, words = (offset + length + 3 >> 2) - word;
    const first = 4 * table.slot(row) + word;
    log?.add(row, word, arena.words.slice(first, first + words));
    arena.bytes(table.slot(row), size).fill(value, offset, offset + length);
    return [offset, length];
  }

  #some(a: number): number[] {
    return this.#ids.filter((_, i) => (a >> i & 1) === 1).map((id) => this.store.table.rowOf(id));
  }

  /** Brings copies into step and compares them with their pages. */
  async #use(rows: number[], log: Records | undefined): Promise<void> {
    const list = this.locations.take(rows, { log });
    const lease = await this.#lend(list);
    if (lease === undefined) return;
    const found = await this.#readAll(lease, list);
    found.forEach((bytes, i) => {
      const row = list.heads[HEAD_WORDS * i + HEAD_ROW], { arena, table } = this.store;
      const page = arena.bytes(table.slot(row), alignUp(table.sizeOf(row), 4));
      assert.deepEqual([row, bytes.length], [rows[i], page.length]);
      for (let k = 0; k < page.length; k++) {
        if (bytes[k] !== page[k]) {
          assert.fail(
            `byte ${k} of the copy of page ${
              table.ids[row]
            } (row ${row}, ${page.length} bytes) is ${bytes[k]}, not ${page[k]}`,
          );
        }
      }
    });
    lease.release();
  }

  /** Copies, unless so many cannot be there at a time. */
  async #lend(list: PageList): Promise<PageLease | undefined> {
    try {
      return await this.pages.use(ARENA, this.store.arena as SharedArena, list);
    } catch (error) {
      assert(error instanceof MmsbError);
      if (error.code !== "limit" && error.code !== "allocation") throw error;
      return undefined;
    } finally {
      this.locations.evicted(this.pages.takeEvicted(ARENA));
    }
  }

  async #readAll({ copies }: PageLease, _list: PageList): Promise<Uint8Array[]> {
    const device = this.#device;
    if (device instanceof MemoryDevice) {
      return copies.map(({ buffer, bytes }) => device.buffers.get(buffer)!.subarray(0, bytes));
    }
    // One read for all.
    const total = copies.reduce((sum, { bytes }) => sum + bytes, 0);
    if (total === 0) return [];
    const all = device.createBuffer(
      total,
      GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
      "all",
    );
    const encoder = device.device.createCommandEncoder(), found = new Uint8Array(total);
    let at = 0;
    for (const { buffer, bytes } of copies) {
      encoder.copyBufferToBuffer(buffer, 0, all, at, bytes);
      at += bytes;
    }
    device.queue.submit([encoder.finish()]);
    await device.read(all, 0, found);
    device.destroyBuffer(all);
    at = 0;
    return copies.map(({ bytes }) => found.subarray(at, at += bytes));
  }
}

const STEPS = fc.array(
  fc.record({
    kind: fc.constantFrom(
      ...["birth", "birth", "birth", "tick", "tick", "tick", "tick", "use", "use", "use", "death"],
      ...["resize", "write", "keep", "share", "drop", "clear", "otherDevice", "lostJob"],
      ...["failedJob", "image", "restore"],
    ),
    a: fc.nat(4095),
    b: fc.nat(4095),
    c: fc.nat(4095),
  }),
  { minLength: 5, maxLength: 60, size: "max" },
);

async function runProgram(make: MakeDevice, steps: readonly Step[]): Promise<void> {
  const program = new Program(make);
  await program.open();
  for (const step of steps) await program.run(step);
  await program.end();
}

Deno.test("DevicePages hold what the pages hold, whatever is done to either", async () => {
  const limits = fc.constantFrom(40_000, 100_000, 2 ** 20),
    memories = fc.constantFrom(2 ** 17, 2 ** 22);
  await fc.assert(
    fc.asyncProperty(STEPS, limits, memories, async (steps, limitBytes, memoryBytes) => {
      const make = () => Promise.resolve({ device: new MemoryDevice(memoryBytes), limitBytes });
      await runProgram(make, steps);
    }),
    { numRuns: 250 },
  );
});

/** Pages of 4,096 bytes and a limit of so many. */
function smallPages(limit: number, memoryBytes = 2 ** 24) {
  const device = new MemoryDevice(memoryBytes), pool = new BufferPool(device);
  const pages = new DevicePages(device, pool, { limitBytes: limit * 4096 });
  const store = new PageStore(2 ** 20), locations = new PageLocations(store.table);
  const rows = Array.from(
    { length: 6 },
    (_, i) => store.create(i + 1, { size: 4096, shard: 0, name: "" }),
  );
  const use = (wanted: number[]) =>
    pages.use(ARENA, store.arena as SharedArena, locations.take(wanted));
  return { device, pages, store, locations, rows, use };
}

Deno.test("DevicePages send a page whole once, then what has changed, then nothing", async () => {
  const { pages, store, locations, rows, use } = smallPages(6);
  const first = await use(rows.slice(0, 2));
  assert.deepEqual(first.upload, { pages: 2, full: 2, ranges: 2, bytes: 8192 });
  first.release();
  const columns = { record: [rows[0] << 1], offset: [101], length: [6] };
  locations.noteRows(columns as unknown as Parameters<typeof locations.noteRows>[0], 1);
  store.table.setEpoch(rows[0], 1);
  locations.endTick({ isCommitted: true, isComplete: true });
  const second = await use([rows[0], rows[1], rows[0]]);
  assert.deepEqual(second.upload, { pages: 1, full: 0, ranges: 1, bytes: 8 });
  assert.equal(second.copies[0], second.copies[2]);
  second.release();
  second.release();
  assert.deepEqual((await use(rows.slice(0, 2))).upload, {
    pages: 0,
    full: 0,
    ranges: 0,
    bytes: 0,
  });
  const { hits, misses, uploads, uploadedRanges, fullUploads, inUse } = pages.statistics();
  assert.deepEqual([hits, misses, uploads, uploadedRanges, fullUploads, inUse], [5, 2, 3, 3, 2, 2]);
});

Deno.test("DevicePages evict what was used longest ago, and never what is in use or kept", async () => {
  const { pages, locations, rows, use } = smallPages(3);
  locations.keep(1);
  (await use([rows[0]])).release();
  const held = await use([rows[1]]);
  (await use([rows[2]])).release();
  (await use([rows[3]])).release();
  assert.deepEqual([...pages.takeEvicted(ARENA)], [rows[2]]);
  (await use([rows[4]])).release();
  (await use([rows[3]])).release();
  assert.deepEqual([...pages.takeEvicted(ARENA)], [rows[4]]);
  await assert.rejects(use([rows[4], rows[5]]), { code: "limit" });
  pages.checkInvariants();
  held.release();
  (await use([rows[4], rows[5]])).release();
  assert.deepEqual(pages.statistics().kept, 1);
  locations.share(1);
  (await use([rows[0]])).release();
  (await use([rows[1], rows[2], rows[3]])).release();
  assert.equal(pages.statistics().evictions, 8);
  pages.checkInvariants();
});

Deno.test("DevicePages evict where the device has no memory left", async () => {
  const { pages, rows, use } = smallPages(100, 3 * 4096);
  (await use([rows[0], rows[1], rows[2]])).release();
  (await use([rows[3], rows[1]])).release();
  assert.deepEqual([...pages.takeEvicted(ARENA)], [rows[0]]);
  await assert.rejects(use(rows), { code: "allocation" });
  pages.checkInvariants();
  (await use([rows[5], rows[4]])).release();
});

Deno.test("DevicePages give up what nobody wants any more", async () => {
  const { device, pages, locations, rows, use } = smallPages(6);
  (await use(rows)).release();
  locations.drop(1);
  locations.drop(2);
  (await use([rows[0]])).release();
  assert.equal(pages.statistics().pages, 5);
  const lease = await use([rows[2]]);
  pages.drop(ARENA, [rows[2], 99]);
  assert.equal(await pages.read(ARENA, rows[2]), undefined);
  pages.checkInvariants();
  lease.release();
  pages.dropArena(ARENA + 1);
  assert.equal(pages.statistics().pages, 4);
  pages.dropArena(ARENA);
  assert.deepEqual([pages.statistics().pages, pages.statistics().bytes], [0, 0]);
  pages.checkInvariants();
  assert.equal(device.usedBytes, 6 * 4096);
});

Deno.test("DevicePages know what a job wrote only when it says so", async () => {
  const { pages, store, locations, rows } = smallPages(6);
  const lend = () =>
    pages.use(ARENA, store.arena as SharedArena, locations.take([rows[0]], { writes: [0] }));
  const lease = await lend();
  assert.equal(await pages.read(ARENA, rows[0]), undefined);
  lease.written();
  assert.equal((await pages.read(ARENA, rows[0]))?.length, 4096);
  lease.release();
  (await lend()).release();
  assert.equal(await pages.read(ARENA, rows[0]), undefined);
});

Deno.test("DevicePages make one copy where several wait for the same page", async () => {
  const { pages, rows, use } = smallPages(6);
  const leases = await Promise.all([use([rows[0], rows[0]]), use([rows[0], rows[1]])]);
  assert.equal(leases[0].copies[0], leases[1].copies[0]);
  pages.checkInvariants();
  for (const lease of leases) lease.release();
  pages.checkInvariants();
  assert.equal(pages.statistics().pages, 2);
});

Deno.test("DevicePages refuse lists that would read or write elsewhere, before anything is sent", async () => {
  const { device, pages, store, rows } = smallPages(6);
  const heads = [rows[0], store.table.slot(rows[0]), 4096, 0, 1, 0, 1], ranges = [0, 4];
  const refused = async (head: number, value: number, code: string) => {
    const list = {
      count: 1,
      heads: Int32Array.from(heads),
      rangeCount: 1,
      ranges: Int32Array.from(ranges),
      gone: Int32Array.of(),
    };
    if (head < 0) list.ranges[-1 - head] = value;
    else list.heads[head] = value;
    const memory = store.arena as SharedArena;
    await assert.rejects(pages.use(ARENA, memory, list), { code }, `${head} ${value}`);
  };
  for (const value of [0, -1, 2 ** 26]) await refused(0, value, "out-of-bounds");
  for (const value of [0, -1, 2 ** 30]) await refused(1, value, "out-of-bounds");
  for (const value of [0, -4, 2 ** 30]) await refused(2, value, "out-of-bounds");
  await refused(2, 4097, "usage");
  for (const value of [0, -1]) await refused(4, value, "out-of-bounds");
  for (const value of [2, -1]) await refused(6, value, "out-of-bounds");
  for (const value of [-4, 4096]) await refused(-1, value, "out-of-bounds");
  for (const value of [0, 4100]) await refused(-2, value, "out-of-bounds");
  await refused(-2, 7, "usage");
  assert.deepEqual([device.made, pages.statistics().pages], [0, 0]);
});

testWithGpu("DevicePages hold what the pages hold, on a device", async (gpu) => {
  await fc.assert(
    fc.asyncProperty(STEPS, fc.constantFrom(100_000, 2 ** 20), async (steps, limitBytes) => {
      await runProgram(() => Promise.resolve({ device: gpu, limitBytes }), steps);
    }),
    { numRuns: 10 },
  );
});
