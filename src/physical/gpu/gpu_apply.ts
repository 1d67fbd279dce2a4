/**
 * Apply on the GPU: a whole batch into packed memory, to the same bytes as `applyRows` of apply.ts.
 *
 * Three orders, chosen by what the rows have in common (kernels/sparse.ts, combine.ts and grouped.ts say how each works):
 *
 * | scheme | rows | order |
 * | --- | --- | --- |
 * | `resolve` | all set whole words | the last row of each word is found first, then written |
 * | `atomic` | all fold by one operation on i32 or u32, or by min or max on f32 | any order gives the same bytes |
 * | `grouped` | all others: masked, odd bytes, float add, mixed kinds | a block's rows one after the other |
 *
 * Bytes are the same for all of them, float add too: it is done with integers, as WGSL leaves the rounding of its own open.
 * Rows of f64 are refused, since WGSL has none.
 *
 * What is larger than a chunk is cut: rows with their payloads into chunks in row order, packed memory into
 * windows. There are two sets of buffers of each, so that while a chunk is computed the next goes up, and while a window
 * is read back the next is computed. What a window takes from a row is clipped by the kernel.
 *
 * Cost: for whole words and one operation nothing a row on this side; for the rest two passes over the rows. Each window awaits one read-back.
 * Kept on the device between two batches: two windows to read back with, and owners for one.
 */

import { checkInteger, MmsbError } from "../../base/mod.ts";
import { headOf, PoolBuffer, RowSet } from "./_apply_buffers.ts";
import { groupRows, type PackedWindow } from "./_apply_groups.ts";
import {
  type ApplyRows,
  type ApplyScheme,
  cutRows,
  laneShiftOf,
  type RowChunk,
  schemeOf,
} from "./_apply_plan.ts";
import { type BufferPool, slabBytesOf } from "./buffer_pool.ts";
import type { GpuDevice } from "./gpu_device.ts";
import type { GpuKernels } from "./gpu_kernels.ts";
import type { ReadBack } from "./read_back.ts";
import { BATCH_HEAD_WORDS, writeHead } from "./kernels/rows.ts";

export type { ApplyRows, ApplyScheme } from "./_apply_plan.ts";

/** Bytes of a chunk of rows, and of a window, where no number is given. */
export const APPLY_CHUNK_BYTES = 32 * 2 ** 20;
/** Smallest buffer for what comes back. */
const BACK_BYTES_MIN = 65_536;
/** Bytes of columns a row at most. */
const COLUMN_BYTES = 20;
/** Rows of a chunk that is grouped, at most: should they all hit one word, one lane goes through them before a driver loses patience. */
const GROUPED_ROWS_MAX = 2 ** 18;
/** The same for software: llvmpipe leaves the loops of a shader after 65,535 rounds, and says nothing. */
const GROUPED_ROWS_SOFTWARE_MAX = 256;

/** A batch, and the packed memory that it goes to. */
export interface ApplyWork extends ApplyRows {
  /** The packed memory as it is. */
  readonly words: Int32Array;
  /** Takes it as it is afterwards; may be `words`. After a failure it holds anything. */
  readonly results: Int32Array;
}

/** What an apply did. */
export interface ApplyFigures {
  /** How the order of rows was kept. */
  readonly scheme: ApplyScheme;
  /** Chunks of rows that were run, over all windows. */
  readonly chunks: number;
  /** Bytes that went to the device. */
  readonly uploadedBytes: number;
  /** Bytes that came back. */
  readonly readBytes: number;
}

/** Options of {@linkcode GpuApply}. */
export interface GpuApplyOptions {
  /** Bytes of a chunk of rows, and of a window: 64 to 1 GiB. */
  readonly chunkBytes?: number;
}

/** Options of one apply. */
export interface ApplyOptions {
  /** Called behind each chunk, for somebody who waits with a deadline. */
  readonly goesOn?: () => void;
}

/** A window that is on its way back. */
interface Reading {
  readonly back: ReadBack;
  readonly target: Uint8Array;
}

/** Applies batches on one device, one at a time. */
export class GpuApply {
  readonly #device: GpuDevice;
  readonly #kernels: GpuKernels;
  readonly #chunkBytes: number;
  readonly #bindingBytes: number;
  readonly #rowSets: readonly [RowSet, RowSet];
  readonly #pages: readonly [PoolBuffer, PoolBuffer];
  readonly #backs: (ReadBack | undefined)[] = [undefined, undefined];
  readonly #headWords = new Uint32Array(BATCH_HEAD_WORDS);
  #head: GPUBuffer | undefined;
  /** A word for each of the window: zeros between two batches. */
  #owners: GPUBuffer | undefined;
  #isBusy = false;

  /**
   * Takes what it works with.
   *
   * @param device The device.
   * @param pool Buffers of the device.
   * @param kernels Its kernels, prepared.
   * @param options Bounds.
   * @throws {MmsbError} `usage` or `out-of-bounds` for bounds that are none.
   */
  constructor(
    device: GpuDevice,
    pool: BufferPool,
    kernels: GpuKernels,
    options: GpuApplyOptions = {},
  ) {
    const { chunkBytes = APPLY_CHUNK_BYTES } = options;
    checkInteger("chunkBytes", chunkBytes, 64, 2 ** 30);
    const { maxStorageBufferBindingSize, maxBufferSize } = device.device.limits;
    this.#device = device;
    this.#kernels = kernels;
    this.#bindingBytes = Math.min(maxStorageBufferBindingSize, maxBufferSize, 2 ** 31) & ~255;
    this.#chunkBytes = Math.min(chunkBytes, this.#bindingBytes / 4);
    this.#rowSets = [new RowSet(pool), new RowSet(pool)];
    this.#pages = [new PoolBuffer(pool, "pages"), new PoolBuffer(pool, "pages")];
  }

  /**
   * Makes ready to read back what small batches come to, so that the first one need not wait.
   *
   * @throws {MmsbError} `allocation` where the device has no memory, `gpu` where it fails or is lost.
   */
  async prepare(): Promise<void> {
    await Promise.all([this.#backOf(0, BACK_BYTES_MIN), this.#backOf(1, BACK_BYTES_MIN)]);
  }

  /**
   * Applies a batch to packed memory.
   *
   * @param work The batch and the memory.
   * @param options Who waits.
   * @returns What was done, when the results stand in `work.results`.
   * @throws {MmsbError} `usage` for a batch that is one for the CPU (f64) or columns that disagree, `limit` for one that
   * the device cannot hold, `allocation` where its memory is short, `gpu` where it fails or is lost.
   */
  async apply(work: ApplyWork, options: ApplyOptions = {}): Promise<ApplyFigures> {
    checkRows(work);
    if (work.words.length !== work.results.length) {
      throw new MmsbError(
        "usage",
        "Cannot apply a batch: give as many words of results as of pages",
      );
    }
    const scheme = schemeOf(work);
    return await this.#alone(() => this.#applyPacked(work, scheme, options));
  }

  /**
   * Applies a batch to pages that stay on the device; nothing is read back. After a failure they hold anything.
   *
   * @param target A storage buffer; `rows.target` counts its words.
   * @param words Words of it that rows may reach.
   * @param rows The batch.
   * @param options Who waits.
   * @returns What was done, when all is submitted.
   * @throws {MmsbError} as {@linkcode GpuApply.apply}.
   */
  async applyOn(
    target: GPUBuffer,
    words: number,
    rows: ApplyRows,
    options: ApplyOptions = {},
  ): Promise<ApplyFigures> {
    checkRows(rows);
    checkInteger("words", words, 1, this.#bindingBytes / 4);
    this.#device.checkRange(target, 0, 4 * words);
    const scheme = schemeOf(rows);
    return await this.#alone(async () => {
      const run = new Run(rows, scheme, this.#chunksOf(rows, scheme), options);
      const window = { from: 0, words };
      for (let chunk = 0; chunk < run.chunks.length; chunk++) {
        await this.#runChunk(run, chunk, window, target);
      }
      return run.figures();
    });
  }

  /** Frees the buffers of its own. */
  close(): void {
    for (const back of this.#backs) back?.destroy();
    this.#backs.fill(undefined);
    this.#dropOwners();
    if (this.#head !== undefined) this.#device.destroyBuffer(this.#head);
    this.#head = undefined;
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isBusy) {
      throw new MmsbError("usage", "Cannot apply two batches at a time: await the first");
    }
    this.#isBusy = true;
    let isDone = false;
    try {
      const result = await work();
      isDone = true;
      return result;
    } finally {
      this.#isBusy = false;
      // What was cut short may have left numbers in them.
      if (!isDone) this.#dropOwners();
      for (const set of this.#rowSets) set.release();
      for (const pages of this.#pages) pages.release();
    }
  }

  async #applyPacked(
    work: ApplyWork,
    scheme: ApplyScheme,
    options: ApplyOptions,
  ): Promise<ApplyFigures> {
    const run = new Run(work, scheme, this.#chunksOf(work, scheme), options);
    if (work.rows === 0) work.results.set(work.words);
    let reading: Reading | undefined;
    for (const [number, window] of this.#windowsOf(work, run.chunks.length).entries()) {
      const next = await this.#runWindow(run, work, window, number % 2);
      if (reading !== undefined) await reading.back.read(reading.target);
      reading = next;
      run.readBytes += next.target.length;
    }
    if (reading !== undefined) await reading.back.read(reading.target);
    this.#device.checkAlive("apply a batch");
    return run.figures();
  }

  #chunksOf(rows: ApplyRows, scheme: ApplyScheme): RowChunk[] {
    const rowsMax = Math.max(4, Math.floor(this.#chunkBytes / COLUMN_BYTES) & ~3);
    const { isSoftware } = this.#device.adapter;
    const groupedMax = isSoftware ? GROUPED_ROWS_SOFTWARE_MAX : GROUPED_ROWS_MAX;
    return cutRows(rows, {
      rowsMax: scheme === "grouped" ? Math.min(rowsMax, groupedMax) : rowsMax,
      payloadBytes: this.#chunkBytes,
      bindingBytes: this.#bindingBytes - 8,
    });
  }

  /** Windows as small as chunks where the rows stay on the device over all of them, else as large as can be. */
  #windowsOf({ rows, words }: ApplyWork, chunks: number): PackedWindow[] {
    if (rows === 0) return [];
    const most = (chunks <= 2 ? this.#chunkBytes : this.#bindingBytes) >>> 2;
    const windows: PackedWindow[] = [];
    for (let from = 0; from < words.length; from += most) {
      windows.push({ from, words: Math.min(most, words.length - from) });
    }
    return windows;
  }

  /** Brings a window up, runs all rows on it and has it copied for reading. */
  async #runWindow(
    run: Run,
    work: ApplyWork,
    window: PackedWindow,
    set: number,
  ): Promise<Reading> {
    const { from, words } = window, bytes = 4 * words;
    const pages = await this.#pages[set].atLeast(bytes);
    const back = await this.#backOf(set, bytes);
    this.#device.write(pages, 0, work.words.subarray(from, from + words));
    run.uploadedBytes += bytes;
    for (let chunk = 0; chunk < run.chunks.length; chunk++) {
      const isLast = chunk + 1 === run.chunks.length;
      await this.#runChunk(run, chunk, window, pages, isLast ? back.buffer : undefined);
    }
    const { results } = work;
    const target = new Uint8Array(results.buffer, results.byteOffset + 4 * from, bytes);
    return { back, target };
  }

  async #runChunk(
    run: Run,
    number: number,
    window: PackedWindow,
    pages: GPUBuffer,
    back?: GPUBuffer,
  ): Promise<void> {
    const { rows, scheme } = run, gpu = this.#device;
    const chunk = run.chunks[number], set = this.#rowSets[number % 2];
    const { columns, payload, at, bytes } = await set.load(gpu, rows, chunk, scheme);
    run.uploadedBytes += bytes;
    const grouped = scheme === "grouped" ? await this.#group(run, set, chunk, window) : undefined;
    const owners = scheme === "resolve" ? await this.#ownersOf(4 * window.words) : undefined;
    const count = grouped === undefined ? chunk.to - chunk.from : grouped.count;
    const laneShift = grouped === undefined ? laneShiftOf(rows) : grouped.laneShift;
    const about = { count, laneShift, window: window.from, windowWords: window.words };
    const head = await this.#headBuffer(), threads = count * 2 ** laneShift;
    const buffers = { head, columns, payload, pages };
    await gpu.checked(`apply ${chunk.to - chunk.from} rows`, () => {
      writeHead(headOf(rows, chunk, at, about), this.#headWords);
      gpu.write(head, 0, this.#headWords);
      const encoder = gpu.device.createCommandEncoder({ label: "apply" });
      if (owners !== undefined) this.#kernels.sparse(encoder, buffers, owners, threads);
      else if (grouped === undefined) {
        this.#kernels.combine(encoder, buffers, rows.kind[chunk.from], threads);
      } else if (count > 0) {
        this.#kernels.grouped(encoder, buffers, grouped.entries, grouped.blocks, threads);
      }
      if (back !== undefined) encoder.copyBufferToBuffer(pages, 0, back, 0, 4 * window.words);
      gpu.queue.submit([encoder.finish()]);
    });
    run.done++;
    run.goesOn?.();
  }

  async #group(
    run: Run,
    set: RowSet,
    chunk: RowChunk,
    window: PackedWindow,
  ): Promise<{ entries: GPUBuffer; blocks: GPUBuffer; count: number; laneShift: number }> {
    const lists = groupRows(run.rows, chunk.from, chunk.to, window, this.#bindingBytes / 8);
    const entries = await set.entries.atLeast(Math.max(8, lists.entries.byteLength));
    const blocks = await set.blocks.atLeast(Math.max(16, lists.blocks.byteLength));
    this.#device.write(entries, 0, lists.entries);
    this.#device.write(blocks, 0, lists.blocks);
    run.uploadedBytes += lists.entries.byteLength + lists.blocks.byteLength;
    return { entries, blocks, count: lists.blocks.length / 4, laneShift: lists.laneShift };
  }

  async #headBuffer(): Promise<GPUBuffer> {
    const { UNIFORM, COPY_DST } = GPUBufferUsage;
    return this.#head ??= await this.#device.checked(
      "make the head of a batch",
      () => this.#device.createBuffer(4 * BATCH_HEAD_WORDS, UNIFORM | COPY_DST, "head"),
    );
  }

  async #ownersOf(bytes: number): Promise<GPUBuffer> {
    if (this.#owners !== undefined && this.#owners.size >= bytes) return this.#owners;
    this.#dropOwners();
    return this.#owners = await this.#device.checked(
      `make owners of ${bytes} bytes`,
      () =>
        this.#device.createBuffer(
          slabBytesOf(bytes, this.#bindingBytes),
          GPUBufferUsage.STORAGE,
          "owners",
        ),
    );
  }

  #dropOwners(): void {
    if (this.#owners !== undefined) this.#device.destroyBuffer(this.#owners);
    this.#owners = undefined;
  }

  async #backOf(set: number, bytes: number): Promise<ReadBack> {
    const found = this.#backs[set];
    if (found !== undefined && found.bytes >= bytes) return found;
    found?.destroy();
    this.#backs[set] = undefined;
    const slab = slabBytesOf(Math.max(bytes, BACK_BYTES_MIN), this.#bindingBytes);
    return this.#backs[set] = await this.#device.readBack(slab, "results");
  }
}

/** One apply on its way. */
class Run {
  readonly rows: ApplyRows;
  readonly scheme: ApplyScheme;
  readonly chunks: readonly RowChunk[];
  readonly goesOn: (() => void) | undefined;
  done = 0;
  uploadedBytes = 0;
  readBytes = 0;

  constructor(
    rows: ApplyRows,
    scheme: ApplyScheme,
    chunks: readonly RowChunk[],
    { goesOn }: ApplyOptions,
  ) {
    this.rows = rows;
    this.scheme = scheme;
    this.chunks = chunks;
    this.goesOn = goesOn;
  }

  figures(): ApplyFigures {
    const { scheme, done, uploadedBytes, readBytes } = this;
    return { scheme, chunks: done, uploadedBytes, readBytes };
  }
}

function checkRows({ rows, target, offset, length, start, kind }: ApplyRows): void {
  const most = Math.min(
    target.length,
    offset.length,
    length.length,
    start.length,
    kind.length,
    2 ** 31,
  );
  checkInteger("rows", rows, 0, most);
}
