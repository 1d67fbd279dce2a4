/** GPU apply and kernels against the CPU's: the same bytes, whatever the batch. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MmsbError } from "../../base/mod.ts";
import { applyRows } from "../apply.ts";
import {
  COMBINE_KINDS,
  drafts,
  fill,
  fit,
  flavours,
  Pages,
  poolBytes,
} from "../apply_conformance.ts";
import { DeltaBatch } from "../delta_batch.ts";
import { combineKind, kindName } from "../kind.ts";
import { BufferPool } from "./buffer_pool.ts";
import { type ApplyFigures, type ApplyWork, GpuApply, type GpuApplyOptions } from "./gpu_apply.ts";
import type { GpuDevice } from "./gpu_device.ts";
import { GpuKernels } from "./gpu_kernels.ts";
import { KERNEL_TESTS } from "./kernel_tests.ts";
import { selfTest } from "./selftest.ts";
import { testWithGpu } from "./testdata/gpu_test.ts";

/** All kinds that the GPU takes. */
const GPU_KINDS = COMBINE_KINDS.filter((kind) => kind < 0x40);

/** An apply on a device, with all that it takes. */
class Engine {
  readonly device: GpuDevice;
  readonly pool: BufferPool;
  readonly kernels: GpuKernels;
  readonly apply: GpuApply;

  constructor(device: GpuDevice, kernels: GpuKernels, options: GpuApplyOptions = {}) {
    this.device = device;
    this.kernels = kernels;
    this.pool = new BufferPool(device);
    this.apply = new GpuApply(device, this.pool, kernels, options);
  }

  close(): void {
    assert.equal(this.pool.liveBytes, 0, "all buffers went back to the pool");
    this.apply.close();
    this.pool.close();
  }
}

/** A batch over whole pages, packed one behind the other, in shared memory as jobs have it. */
function packed(pages: Pages, batch: DeltaBatch): ApplyWork & { readonly ids: readonly number[] } {
  const shape = pages.resolve(batch), { kernel } = batch;
  const ids = [...pages.sizes.keys()], starts = new Map<number, number>();
  let words = 0;
  for (const id of ids) {
    starts.set(id, words);
    words += Math.ceil(pages.sizes.get(id)! / 4);
  }
  const target = Int32Array.from({ length: batch.length }, (_, row) => {
    const slot = pages.table.slot(pages.table.rowOf(kernel.page[row] >>> 0));
    return kernel.target[row] - 4 * slot + starts.get(kernel.page[row] >>> 0)!;
  });
  return {
    ...kernel,
    target,
    rows: batch.length,
    payload: kernel.payloadBytes.subarray(0, batch.payloadLength),
    shape,
    words: wordsOf(pages, ids, words),
    results: new Int32Array(new SharedArrayBuffer(4 * words)),
    ids,
  };
}

/** The words of pages, one behind the other. */
function wordsOf(pages: Pages, ids: readonly number[], words: number): Int32Array {
  const all = new Int32Array(new SharedArrayBuffer(4 * words));
  let at = 0;
  for (const id of ids) {
    const count = Math.ceil(pages.sizes.get(id)! / 4);
    const first = 4 * pages.table.slot(pages.table.rowOf(id));
    all.set(pages.arena.words.subarray(first, first + count), at);
    at += count;
  }
  return all;
}

/** Applies a batch on both, and compares all words of all pages. */
async function applyBoth(
  engine: Engine,
  pages: Pages,
  batch: DeltaBatch,
  isInPlace = false,
): Promise<ApplyFigures> {
  const given = packed(pages, batch), before = given.words.slice();
  const work = isInPlace ? { ...given, results: given.words } : given;
  const figures = await engine.apply.apply(work);
  applyRows(batch.kernel, batch.length, work.shape, pages.arena);
  const expected = wordsOf(pages, work.ids, before.length);
  const at = work.results.findIndex((word, index) => word !== expected[index]);
  assert.equal(at, -1, `word ${at} is ${work.results[at]}, not ${expected[at]}`);
  if (!isInPlace) assert.deepEqual(work.words.slice(), before, "what went in is as it was");
  return figures;
}

/** Random bytes on a page, so that masks and operations meet something. */
function scribble(pages: Pages): void {
  for (const id of pages.sizes.keys()) {
    const bytes = pages.bytes(id);
    for (let k = 0; k < bytes.length; k++) bytes[k] = id * 31 + k * 7 + (k >> 5) * 13;
  }
}

function pagesOf(size: fc.Arbitrary<number>): fc.Arbitrary<[number, number][]> {
  const page = fc.tuple(fc.integer({ min: 1, max: 2 ** 32 - 1 }), size);
  return fc.uniqueArray(page, { minLength: 1, maxLength: 5, selector: ([id]) => id });
}

const smallPages = pagesOf(fc.integer({ min: 1, max: 300 }));
const anyPages = pagesOf(fc.oneof(
  fc.integer({ min: 1, max: 64 }),
  fc.integer({ min: 1, max: 300 }),
  fc.constantFrom(16, 4096, 20_000, 70_001),
));
const layout = fc.oneof(
  fc.constant(undefined),
  fc.record({
    gaps: fc.constantFrom([0], [4], [0, 8, 4], [0, 1, 2, 3], [3]),
    reversed: fc.boolean(),
  }),
);

/** Random batches of all kinds on random pages. */
async function randomBatches(
  engine: Engine,
  pageSizes: typeof anyPages,
  numRuns: number,
): Promise<Set<string>> {
  const schemes = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      pageSizes,
      drafts,
      flavours,
      layout,
      fc.boolean(),
      async (sizes, drafts, flavour, layout, isInPlace) => {
        const pages = new Pages(sizes), kinds = flavour.kinds.filter((kind) => kind < 0x40);
        scribble(pages);
        const rows = fit(drafts, sizes, { ...flavour, kinds });
        let batch = DeltaBatch.from(rows);
        if (layout !== undefined) {
          batch = new DeltaBatch({ rows: rows.length + 1, payloadBytes: poolBytes(rows) });
          fill(batch, rows, layout);
        }
        schemes.add((await applyBoth(engine, pages, batch, isInPlace)).scheme);
      },
    ),
    { numRuns },
  );
  return schemes;
}

testWithGpu("GpuApply gives the bytes of applyRows()", async (gpu, step) => {
  const kernels = new GpuKernels(gpu);
  await kernels.prepare();
  const engine = new Engine(gpu, kernels);

  await step.step("in the self-test of each kernel", async () => {
    for (const seed of [1, 2, 3]) {
      const { passed, reason } = await selfTest(engine, KERNEL_TESTS, { seed });
      assert(passed, reason);
    }
  });

  await step.step("for random batches of all kinds, in all three orders", async () => {
    assert.deepEqual([...await randomBatches(engine, anyPages, 300)].sort(), [
      "atomic",
      "grouped",
      "resolve",
    ]);
  });

  await step.step("in many small chunks and windows, with few workgroups a dimension", async () => {
    const few = new GpuKernels(gpu, { workgroupsMax: 200 });
    await few.prepare();
    for (
      const [chunkBytes, pages] of [[64, smallPages], [260, smallPages], [9000, anyPages]] as const
    ) {
      const small = new Engine(gpu, few, { chunkBytes });
      await randomBatches(small, pages, 40);
      small.close();
    }
  });

  await step.step("for one combining kind on a few words, thousands of times", async () => {
    for (const kind of GPU_KINDS) {
      const pages = new Pages([[1, 16]]), batch = collisions(kind, 4000);
      scribble(pages);
      const { scheme } = await applyBoth(engine, pages, batch);
      assert.equal(
        scheme,
        kind === combineKind("f32", "add") ? "grouped" : "atomic",
        kindName(kind),
      );
    }
  });

  await step.step("for sets that hit one word thousands of times, the last one wins", async () => {
    for (const length of [4, 8, 16, 12]) {
      const pages = new Pages([[1, 32]]),
        batch = new DeltaBatch({ rows: 5000, payloadBytes: 80_000 });
      for (let row = 0; row < 5000; row++) {
        batch.push(1, 4 * (row * 7 % 5), new Uint8Array(length).fill(row * 31 + row / 255));
      }
      assert.equal((await applyBoth(engine, pages, batch)).scheme, "resolve");
    }
  });

  await step.step("for odd spans over each other on one page", async () => {
    const pages = new Pages([[1, 4099]]);
    const batch = new DeltaBatch({ rows: 3000, payloadBytes: 1 << 20, growable: true });
    for (let row = 0; row < 3000; row++) {
      const length = 1 + row * 37 % 203, offset = row * 1009 % (4100 - length);
      const bytes = Uint8Array.from({ length }, (_, k) => row * 13 + k);
      if (row % 3 === 0) batch.push(1, offset, bytes);
      else batch.append(maskedRow(offset, length, row));
    }
    assert.equal((await applyBoth(engine, pages, batch)).scheme, "grouped");
  });

  await step.step("for 10,000 pages from 16 bytes on", async () => {
    const pages = new Pages(Array.from({ length: 10_000 }, (_, i) => [i + 1, 16 + i % 40]));
    for (const step of [4, 1]) {
      const batch = new DeltaBatch({ rows: 30_000, payloadBytes: 30_000 * 8 });
      for (let row = 0; row < 30_000; row++) {
        const bytes = Uint8Array.of(row, row >> 8, 3, 4, 5, 6, 7, row >> 4).subarray(
          0,
          4 + step % 4,
        );
        batch.push(1 + row * 7919 % 10_000, step * (row % 3), bytes);
      }
      await applyBoth(engine, pages, batch);
    }
  });

  await step.step("for pages of 1 MiB, whole and masked, in windows", async () => {
    const MIB = 2 ** 20, sizes = [[1, MIB], [2, MIB], [3, MIB - 3]] as const;
    const small = new Engine(gpu, kernels, { chunkBytes: 400_000 });
    for (const engine_ of [engine, small]) {
      const pages = new Pages(sizes);
      const batch = new DeltaBatch({ rows: 8, payloadBytes: 4 * MIB, growable: true });
      batch.push(1, 0, Uint8Array.from({ length: MIB }, (_, k) => k * 7 + (k >> 8)));
      batch.append({ ...maskedRow(5, MIB - 11, 3), page: 2 });
      batch.push(1, 1, Uint8Array.from({ length: MIB - 1 }, (_, k) => k * 5 + (k >> 9)));
      batch.append({ ...maskedRow(1, MIB - 5, 4), page: 3 });
      batch.combine(2, "u32", "add", 400, 77);
      const { chunks } = await applyBoth(engine_, pages, batch);
      assert(engine_ === engine || chunks > 4, "it was cut");
      const words = new DeltaBatch({ rows: 2, payloadBytes: 2 * MIB });
      words.push(2, 0, Uint8Array.from({ length: MIB }, (_, k) => k * 3 + (k >> 7)));
      words.push(2, 4096, Uint8Array.from({ length: MIB / 2 }, (_, k) => k * 11 + (k >> 6)));
      assert.equal((await applyBoth(engine_, pages, words)).scheme, "resolve");
    }
    small.close();
  });

  await step.step("where a dispatch has more workgroups than one dimension holds", async () => {
    const rows = 2 ** 20 + 100, pages = new Pages([[1, 4096]]);
    const batch = new DeltaBatch({ rows, payloadBytes: 16 * rows });
    const { columns, payload } = batch, words = new Uint32Array(payload.buffer, payload.byteOffset);
    for (let row = 0; row < rows; row++) {
      columns.page[row] = 1;
      columns.offset[row] = Math.imul(row, 40) % 4080;
      columns.length[row] = 16;
      columns.payloadStart[row] = 16 * row;
      for (let k = 0; k < 4; k++) words[4 * row + k] = row ^ k << 28;
    }
    batch.setLength(rows, 16 * rows);
    const { chunks, scheme } = await applyBoth(engine, pages, batch);
    assert.deepEqual([chunks, scheme], [1, "resolve"]);
    assert(4 * rows / 64 > kernels.workgroupsMax);
  });

  await step.step("on pages that stay on the device", () => staysOnDevice(engine));
  await step.step("and refuses what it cannot do, by code", () => refusals(engine));
  engine.close();
});

/** Rows of one combining kind on the three words behind the first. */
function collisions(kind: number, rows: number): DeltaBatch {
  const batch = new DeltaBatch({ rows, payloadBytes: 12 * rows });
  const floats = [0, -0, 1e-45, -1e-45, 1.5, -3e38, 3e38, Infinity, 1.1754943508222875e-38, 0.1];
  for (let row = 0; row < rows; row++) {
    const payload = new DataView(new ArrayBuffer(4 * (1 + row % 3)));
    for (let at = 0; at < payload.byteLength; at += 4) {
      if (kind >> 4 === 3 && row % 5 > 0) payload.setFloat32(at, floats[row * 7 % 10], true);
      else payload.setInt32(at, Math.imul(row + at, 0x9e37_79b1), true);
    }
    const bytes = new Uint8Array(payload.buffer), { length } = bytes;
    const offset = 4 + 4 * (row % (4 - length / 4));
    batch.append({ page: 1, kind, offset, length, payload: bytes, source: "", intent: "" });
  }
  return batch;
}

/** A masked row of page 1 with every so many-th byte set. */
function maskedRow(offset: number, length: number, seed: number) {
  const mask = new Uint8Array(length + 7 >> 3), values: number[] = [];
  for (let k = 0; k < length; k++) {
    if ((k * 7 + seed >> 2) % (2 + seed % 3) !== 0) continue;
    mask[k >> 3] |= 1 << (k & 7);
    values.push(k * 5 + seed & 255);
  }
  const payload = new Uint8Array(mask.length + values.length);
  payload.set(mask);
  payload.set(values, mask.length);
  return { page: 1, kind: 1, offset, length, payload, source: "", intent: "" };
}

/** Batches one after the other on a buffer; it is read at the end. */
async function staysOnDevice(engine: Engine): Promise<void> {
  const { device, apply } = engine, pages = new Pages([[1, 64], [2, 5000]]);
  scribble(pages);
  const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
  let buffer: GPUBuffer | undefined;
  for (let round = 0; round < 4; round++) {
    const batch = new DeltaBatch({ rows: 100, payloadBytes: 2000 });
    for (let row = 0; row < 100; row++) {
      const page = 1 + row % 2, offset = row * 52 % 60;
      if (round === 1) batch.combine(page, "f32", "add", offset, row / 3);
      else if (round === 2) batch.combine(page, "i32", "min", offset, Math.imul(row, 0x7654321));
      else batch.push(page, offset, Uint8Array.of(row, 2, 3, round));
    }
    const { ids: _ids, results: _results, words, ...rows } = packed(pages, batch);
    if (buffer === undefined) {
      buffer = device.createBuffer(words.byteLength, STORAGE | COPY_DST | COPY_SRC, "resident");
      device.write(buffer, 0, words);
    }
    const figures = await apply.applyOn(buffer, words.length, rows);
    assert.deepEqual([figures.readBytes, figures.chunks], [0, 1]);
    applyRows(batch.kernel, batch.length, rows.shape, pages.arena);
  }
  const found = new Int32Array(buffer!.size / 4);
  await device.read(buffer!, 0, new Uint8Array(found.buffer));
  assert.deepEqual([...found], [...wordsOf(pages, [1, 2], found.length)]);
  device.destroyBuffer(buffer!);
}

async function refusals(engine: Engine): Promise<void> {
  const { apply, device } = engine, pages = new Pages([[1, 64]]);
  const batch = new DeltaBatch({ rows: 2, payloadBytes: 64 });
  batch.combine(1, "f64", "add", 0, 1);
  await assert.rejects(apply.apply(packed(pages, batch)), { code: "usage", message: /f64/ });
  const good = DeltaBatch.from([maskedRow(0, 20, 2)]), work = packed(pages, good);
  await assert.rejects(apply.apply({ ...work, results: new Int32Array(3) }), { code: "usage" });
  for (const rows of [-1, work.target.length + 1]) {
    await assert.rejects(apply.apply({ ...work, rows }), { code: "out-of-bounds" });
  }
  await assert.rejects(apply.apply({ ...work, rows: NaN }), { code: "usage" });
  const other = { size: 64 } as GPUBuffer;
  await assert.rejects(apply.applyOn(other, 16, work), { code: "usage" });
  const both = [apply.apply(work), apply.apply(work)];
  const settled = await Promise.allSettled(both);
  assert.equal(settled[0].status, "fulfilled");
  assert.equal((settled[1] as PromiseRejectedResult).reason.code, "usage");
  assert.throws(() => new GpuApply(device, engine.pool, engine.kernels, { chunkBytes: 3 }), {
    code: "out-of-bounds",
  });
  const unprepared = new GpuApply(device, engine.pool, new GpuKernels(device));
  await assert.rejects(unprepared.apply(work), { code: "usage", message: /prepare/ });
  unprepared.close();
  // After a failure the next batch is right again, and so is an empty one.
  await applyBoth(engine, pages, good);
  const empty = await applyBoth(engine, pages, new DeltaBatch({ rows: 8, payloadBytes: 8 }));
  assert.deepEqual([empty.chunks, empty.uploadedBytes], [0, 0]);
}

testWithGpu("GpuKernels refuses what would leave a buffer, by code", async (gpu) => {
  const kernels = new GpuKernels(gpu), { STORAGE, COPY_DST } = GPUBufferUsage;
  const make = (bytes: number): GPUBuffer => gpu.createBuffer(bytes, STORAGE | COPY_DST, "test");
  const small = make(64), large = make(256), other = make(256);
  const table = await kernels.ranges([{ source: 0, target: 10, words: 30 }]);
  const empty = await kernels.ranges([]);
  const encoder = gpu.device.createCommandEncoder();
  assert.throws(() => kernels.copy(encoder, large, other, table), { code: "usage" }, "unprepared");
  await kernels.prepare();
  const outside = { code: "out-of-bounds" }, one = { code: "usage", message: /two buffers/ };
  assert.throws(() => kernels.copy(encoder, small, large, table), outside);
  assert.throws(() => kernels.copy(encoder, large, small, table), outside);
  assert.throws(() => kernels.copy(encoder, large, large, table), one);
  assert.throws(() => kernels.zero(encoder, small, table), outside);
  assert.throws(() => kernels.compare(encoder, large, small, other, table), outside);
  assert.throws(() => kernels.compare(encoder, large, other, large, table), one);
  assert.throws(() => kernels.maskedMerge(encoder, large, other, other, table), one);
  assert.throws(() => kernels.maskedMerge(encoder, large, other, make(8), table), outside);
  await gpu.checked("run what is allowed", () => {
    for (const ranges of [table, empty]) {
      kernels.copy(encoder, large, other, ranges);
      kernels.zero(encoder, other, ranges);
      kernels.compare(encoder, large, large, other, ranges);
      kernels.maskedMerge(encoder, large, other, large, ranges);
    }
    gpu.queue.submit([encoder.finish()]);
  });
  table.destroy();
  gpu.destroyBuffer(large);
  assert.throws(() => kernels.zero(encoder, large, empty), { code: "usage" });
  assert.throws(() => new GpuKernels(gpu, { workgroupsMax: 0 }), { code: "out-of-bounds" });
});

testWithGpu("GpuApply says that the device is gone, whenever that is", async (gpu) => {
  const kernels = new GpuKernels(gpu);
  await kernels.prepare();
  const pool = new BufferPool(gpu), pages = new Pages([[1, 4096]]);
  const batch = DeltaBatch.from([maskedRow(0, 4000, 2), maskedRow(1, 4000, 3)]);
  for (const destroyAt of [1, 2]) {
    const apply = new GpuApply(gpu, pool, kernels, { chunkBytes: 1024 });
    let chunks = 0;
    const goesOn = (): void => {
      if (++chunks === destroyAt) void gpu.destroy();
    };
    await assert.rejects(
      apply.apply(packed(pages, batch), { goesOn }),
      (error) => error instanceof MmsbError && error.code === "gpu",
    );
  }
});
