/**
 * The kernels on a device: their pipelines, and functions that put them into an encoder.
 *
 * What goes through memory word by word (copy, zero, compare, masked merge) takes a {@linkcode RangeTable}, made once and
 * used each tick; what applies the rows of a batch (sparse, combine, grouped) takes the buffers that
 * `GpuApply` fills. Each has its twin in TypeScript beside its WGSL (folder kernels), and the self-test of a device
 * compares them.
 *
 * All buffers are whole bindings, so none is larger than the device binds (`GpuDevice.createBuffer` sees to it). More
 * workgroups than fit one dimension of a dispatch go over two.
 *
 * Cost: ten pipelines, compiled once a device; encoding makes a bind group a call.
 */

import { assert, checkInteger, MmsbError } from "../../base/mod.ts";
import type { GpuDevice } from "./gpu_device.ts";
import { blockCount, CHANGED_BLOCKS_WGSL } from "./kernels/changed_blocks.ts";
import { COMBINE_SIGNED_WGSL, COMBINE_UNSIGNED_WGSL, isSignedAtomic } from "./kernels/combine.ts";
import { COMPARE_WGSL, COMPARE_WORDS } from "./kernels/compare.ts";
import { COPY_WGSL } from "./kernels/copy.ts";
import { GROUPED_WGSL } from "./kernels/grouped.ts";
import { MASKED_MERGE_WGSL } from "./kernels/masked_merge.ts";
import { cutRanges, type WordRange } from "./kernels/ranges.ts";
import { WORKGROUP_LANES } from "./kernels/rows.ts";
import { SPARSE_RESOLVE_WGSL, SPARSE_WRITE_WGSL } from "./kernels/sparse.ts";
import { ZERO_WGSL } from "./kernels/zero.ts";

const SHADERS = {
  copy: COPY_WGSL,
  zero: ZERO_WGSL,
  compare: COMPARE_WGSL,
  changedBlocks: CHANGED_BLOCKS_WGSL,
  maskedMerge: MASKED_MERGE_WGSL,
  sparseResolve: SPARSE_RESOLVE_WGSL,
  sparseWrite: SPARSE_WRITE_WGSL,
  combineSigned: COMBINE_SIGNED_WGSL,
  combineUnsigned: COMBINE_UNSIGNED_WGSL,
  grouped: GROUPED_WGSL,
} as const;

type KernelName = keyof typeof SHADERS;

/** Options of {@linkcode GpuKernels}. */
export interface GpuKernelsOptions {
  /** Most workgroups in one dimension of a dispatch; the device's limit if left out, which tests make smaller. */
  readonly workgroupsMax?: number;
}

/** Ranges on the device, for any number of dispatches. */
export interface RangeTable {
  /** The tiles. */
  readonly buffer: GPUBuffer;
  /** Tiles, one workgroup each. */
  readonly tiles: number;
  /** Ranges. */
  readonly ranges: number;
  /** Bytes that the source must have. */
  readonly sourceBytes: number;
  /** Bytes that the target must have. */
  readonly targetBytes: number;
  /** Frees the buffer, when all that uses it is submitted. */
  destroy(): void;
}

/** The buffers of a chunk of rows, and of the window of packed memory that they go to. */
export interface RowBuffers {
  /** The head, a uniform buffer. */
  readonly head: GPUBuffer;
  /** Sections of columns. */
  readonly columns: GPUBuffer;
  /** Payloads. */
  readonly payload: GPUBuffer;
  /** The packed words. */
  readonly pages: GPUBuffer;
}

/** Pipelines and encoders of all kernels on one device. */
export class GpuKernels {
  /** Most workgroups in one dimension of a dispatch. */
  readonly workgroupsMax: number;
  readonly #device: GpuDevice;
  readonly #pipelines = new Map<KernelName, GPUComputePipeline>();

  /**
   * Takes a device; {@linkcode GpuKernels.prepare} compiles.
   *
   * @param device The device.
   * @param options Bounds for tests.
   * @throws {MmsbError} `usage` or `out-of-bounds` for bounds that are none.
   */
  constructor(device: GpuDevice, options: GpuKernelsOptions = {}) {
    const limit = device.device.limits.maxComputeWorkgroupsPerDimension;
    this.workgroupsMax = checkInteger("workgroupsMax", options.workgroupsMax ?? limit, 1, limit);
    this.#device = device;
  }

  /**
   * Compiles all kernels; a second call does nothing.
   *
   * @returns When they are ready.
   * @throws {MmsbError} `gpu` where the device is lost, `usage` where its compiler refuses one.
   */
  async prepare(): Promise<void> {
    const shaders = Object.entries(SHADERS) as [KernelName, string][];
    await Promise.all(shaders.map(async ([name, code]) => {
      if (this.#pipelines.has(name)) return;
      this.#pipelines.set(name, await this.#device.pipeline(code, { label: name }));
    }));
  }

  /**
   * Puts ranges on the device.
   *
   * @param ranges Ranges of words, of any lengths.
   * @returns Their table; destroy it in the end.
   * @throws {MmsbError} `usage`, `out-of-bounds` or `limit` for ranges that are none or too many, `allocation` where the
   * device has no memory, `gpu` where it is lost.
   */
  async ranges(ranges: readonly WordRange[]): Promise<RangeTable> {
    const device = this.#device;
    const { table, count, sourceEnd, targetEnd } = cutRanges(ranges);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
    const buffer = await device.checked(`put ${ranges.length} ranges on the device`, () => {
      const buffer = device.createBuffer(table.byteLength, usage, "ranges");
      device.write(buffer, 0, table);
      return buffer;
    });
    return {
      buffer,
      tiles: count,
      ranges: ranges.length,
      sourceBytes: 4 * sourceEnd,
      targetBytes: 4 * targetEnd,
      destroy: () => device.destroyBuffer(buffer),
    };
  }

  /**
   * Encodes: each range of the target becomes that of the source.
   *
   * @param encoder Takes the commands.
   * @param source A storage buffer.
   * @param target Another one.
   * @param table The ranges.
   * @throws {MmsbError} `usage` where the two are one, `out-of-bounds` where a range leaves its buffer.
   */
  copy(encoder: GPUCommandEncoder, source: GPUBuffer, target: GPUBuffer, table: RangeTable): void {
    this.#checkTwo(source, target);
    this.#device.checkRange(source, 0, table.sourceBytes);
    this.#device.checkRange(target, 0, table.targetBytes);
    this.#tiles(encoder, "copy", table, { 1: source, 2: target });
  }

  /**
   * Encodes: each range of the target becomes zero.
   *
   * @param encoder Takes the commands.
   * @param target A storage buffer.
   * @param table The ranges; their sources do not count.
   * @throws {MmsbError} `out-of-bounds` where a range leaves the buffer.
   */
  zero(encoder: GPUCommandEncoder, target: GPUBuffer, table: RangeTable): void {
    this.#device.checkRange(target, 0, table.targetBytes);
    this.#tiles(encoder, "zero", table, { 2: target });
  }

  /**
   * Encodes: what differs in each range, read with `changedRange`.
   *
   * @param encoder Takes the commands.
   * @param before A storage buffer, with the sources of the ranges.
   * @param after Another one or the same, with the targets.
   * @param result A storage buffer with COPY_DST for 16 bytes a range; it is cleared first.
   * @param table The ranges.
   * @throws {MmsbError} `usage` where the result is one of the two, `out-of-bounds` where something leaves its buffer.
   */
  compare(
    encoder: GPUCommandEncoder,
    before: GPUBuffer,
    after: GPUBuffer,
    result: GPUBuffer,
    table: RangeTable,
  ): void {
    this.#checkTwo(before, result);
    this.#checkTwo(after, result);
    const bytes = 4 * COMPARE_WORDS * table.ranges;
    this.#device.checkRange(before, 0, table.sourceBytes);
    this.#device.checkRange(after, 0, table.targetBytes);
    this.#device.checkRange(result, 0, bytes);
    if (bytes > 0) encoder.clearBuffer(result, 0, bytes);
    this.#tiles(encoder, "compare", table, { 1: before, 2: after, 3: result });
  }

  /**
   * Encodes: bytes of the source whose bit in the mask is set go into the target.
   *
   * @param encoder Takes the commands.
   * @param source A storage buffer.
   * @param target Another one.
   * @param mask A storage buffer with one bit for each byte of the source, from its first byte on.
   * @param table The ranges.
   * @throws {MmsbError} `usage` where the target is one of the others, `out-of-bounds` where a range leaves its buffer.
   */
  maskedMerge(
    encoder: GPUCommandEncoder,
    source: GPUBuffer,
    target: GPUBuffer,
    mask: GPUBuffer,
    table: RangeTable,
  ): void {
    this.#checkTwo(source, target);
    this.#checkTwo(mask, target);
    this.#device.checkRange(source, 0, table.sourceBytes);
    this.#device.checkRange(target, 0, table.targetBytes);
    this.#device.checkRange(mask, 0, 4 * Math.ceil(table.sourceBytes / 32));
    this.#tiles(encoder, "maskedMerge", table, { 1: source, 2: target, 3: mask });
  }

  /**
   * Encodes rows that set whole words.
   *
   * @param encoder Takes the commands.
   * @param rows Their buffers.
   * @param owners As many zero words as the window has; zero again behind it.
   * @param threads Rows times lanes.
   */
  sparse(encoder: GPUCommandEncoder, rows: RowBuffers, owners: GPUBuffer, threads: number): void {
    const { head, columns, payload, pages } = rows;
    this.#rows(encoder, "sparseResolve", threads, { 0: head, 1: columns, 3: owners });
    this.#rows(encoder, "sparseWrite", threads, {
      0: head,
      1: columns,
      2: payload,
      3: owners,
      4: pages,
    });
  }

  /**
   * Encodes rows of one combining kind of which any order gives the same bytes.
   *
   * @param encoder Takes the commands.
   * @param rows Their buffers.
   * @param kind The kind.
   * @param threads Rows times lanes.
   */
  combine(encoder: GPUCommandEncoder, rows: RowBuffers, kind: number, threads: number): void {
    const { head, columns, payload, pages } = rows;
    const name = isSignedAtomic(kind) ? "combineSigned" : "combineUnsigned";
    this.#rows(encoder, name, threads, { 0: head, 1: columns, 2: payload, 4: pages });
  }

  /**
   * Encodes rows of any kinds, grouped by block.
   *
   * @param encoder Takes the commands.
   * @param rows Their buffers.
   * @param entries Lists of rows.
   * @param blocks The blocks.
   * @param threads Blocks times lanes.
   */
  grouped(
    encoder: GPUCommandEncoder,
    rows: RowBuffers,
    entries: GPUBuffer,
    blocks: GPUBuffer,
    threads: number,
  ): void {
    const { head, columns, payload, pages } = rows;
    this.#rows(encoder, "grouped", threads, {
      0: head,
      1: columns,
      2: payload,
      4: pages,
      5: entries,
      6: blocks,
    });
  }

  /**
   * The kernel that finds changed blocks of a page, for a recorded sequence: bindings before, after, list, packed.
   *
   * @param words Words of the page.
   * @returns The pipeline, and how many workgroups it takes.
   * @throws {MmsbError} `usage` before the kernels are prepared.
   */
  blocks(
    words: number,
  ): { readonly pipeline: GPUComputePipeline; readonly groups: readonly [number, number] } {
    return {
      pipeline: this.#pipeline("changedBlocks"),
      groups: this.#groups(blockCount(words)),
    };
  }

  #tiles(
    encoder: GPUCommandEncoder,
    name: KernelName,
    table: RangeTable,
    buffers: Readonly<Record<number, GPUBuffer>>,
  ): void {
    this.#dispatch(encoder, name, table.tiles, { 0: table.buffer, ...buffers });
  }

  #rows(
    encoder: GPUCommandEncoder,
    name: KernelName,
    threads: number,
    buffers: Readonly<Record<number, GPUBuffer>>,
  ): void {
    this.#dispatch(encoder, name, Math.ceil(threads / WORKGROUP_LANES), buffers);
  }

  #dispatch(
    encoder: GPUCommandEncoder,
    name: KernelName,
    groups: number,
    buffers: Readonly<Record<number, GPUBuffer>>,
  ): void {
    const pipeline = this.#pipeline(name);
    if (groups === 0) return;
    const [x, y] = this.#groups(groups);
    const entries = Object.entries(buffers)
      .map(([binding, buffer]) => ({ binding: Number(binding), resource: { buffer } }));
    const pass = encoder.beginComputePass({ label: name });
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      this.#device.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }),
    );
    pass.dispatchWorkgroups(x, y);
    pass.end();
  }

  #pipeline(name: KernelName): GPUComputePipeline {
    const pipeline = this.#pipelines.get(name);
    if (pipeline !== undefined) return pipeline;
    throw new MmsbError("usage", `Cannot run kernel ${name}: call prepare() and await it first`);
  }

  #groups(groups: number): readonly [number, number] {
    const x = Math.min(groups, this.workgroupsMax), y = Math.ceil(groups / x);
    assert(y <= this.workgroupsMax, "a dispatch fits two dimensions");
    return [x, y];
  }

  #checkTwo(one: GPUBuffer, other: GPUBuffer): void {
    if (one !== other) return;
    throw new MmsbError("usage", "Cannot write to the buffer that is read: give two buffers");
  }
}
