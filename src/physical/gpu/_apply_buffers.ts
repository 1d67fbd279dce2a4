/**
 * The device buffers of an apply: one set for each of two chunks, so that a chunk goes up while the one before it is
 * computed or read.
 *
 * They are the pool's, and grow; what they hold from before does not matter. Cost: none where a chunk is no larger
 * than the one before.
 */

import { alignUp } from "../../base/mod.ts";
import type { ApplyRows, ApplyScheme, RowChunk } from "./_apply_plan.ts";
import { strideOf } from "./_apply_plan.ts";
import type { BufferPool } from "./buffer_pool.ts";
import type { GpuDevice } from "./gpu_device.ts";
import type { BatchHead } from "./kernels/rows.ts";

/** Sections of columns that a kernel reads by row. */
type Columns = Pick<BatchHead, "lengthAt" | "startAt" | "offsetAt" | "kindAt">;

const tail = new Uint8Array(4);

/** Writes bytes of any number; up to three that follow them in the buffer become zeros. Gives the bytes that went up. */
export function writeBytes(
  gpu: GpuDevice,
  buffer: GPUBuffer,
  at: number,
  bytes: Uint8Array,
): number {
  const whole = bytes.length & ~3;
  gpu.write(buffer, at, bytes.subarray(0, whole));
  if (whole === bytes.length) return whole;
  tail.fill(0);
  tail.set(bytes.subarray(whole));
  gpu.write(buffer, at + whole, tail);
  return whole + 4;
}

/** A buffer of the pool that grows. */
export class PoolBuffer {
  readonly #pool: BufferPool;
  readonly #label: string;
  #buffer: GPUBuffer | undefined;

  constructor(pool: BufferPool, label: string) {
    this.#pool = pool;
    this.#label = label;
  }

  /** The buffer, with at least so many bytes; another one may hold nothing of it. */
  async atLeast(bytes: number): Promise<GPUBuffer> {
    if (this.#buffer !== undefined && this.#buffer.size >= bytes) return this.#buffer;
    this.release();
    const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    return this.#buffer = await this.#pool.acquire(
      bytes,
      STORAGE | COPY_DST | COPY_SRC,
      this.#label,
    );
  }

  /** Gives it back, when what uses it is submitted. */
  release(): void {
    if (this.#buffer !== undefined) this.#pool.release(this.#buffer);
    this.#buffer = undefined;
  }
}

/** Where one chunk of rows stands on the device. */
export class RowSet {
  /** Lists of rows by block. */
  readonly entries: PoolBuffer;
  /** The blocks. */
  readonly blocks: PoolBuffer;
  readonly #columns: PoolBuffer;
  readonly #payload: PoolBuffer;
  #loaded: { chunk: RowChunk; columns: GPUBuffer; payload: GPUBuffer; at: Columns } | undefined;
  #payloadRange = "";

  constructor(pool: BufferPool) {
    this.#columns = new PoolBuffer(pool, "columns");
    this.#payload = new PoolBuffer(pool, "payload");
    this.entries = new PoolBuffer(pool, "entries");
    this.blocks = new PoolBuffer(pool, "blocks");
  }

  /** Brings a chunk here, unless it is here; gives its buffers, where its columns stand and the bytes that went up. */
  async load(
    gpu: GpuDevice,
    rows: ApplyRows,
    chunk: RowChunk,
    scheme: ApplyScheme,
  ): Promise<{ columns: GPUBuffer; payload: GPUBuffer; at: Columns; bytes: number }> {
    if (this.#loaded?.chunk === chunk) return { ...this.#loaded, bytes: 0 };
    this.#loaded = undefined;
    const { shape } = rows, count = chunk.to - chunk.from;
    const views: Uint8Array[] = [];
    let end = 0;
    const section = (column: Int32Array | Uint8Array, isNeeded: boolean): number => {
      if (!isNeeded) return 0;
      const part = column.subarray(chunk.from, chunk.to), at = end;
      views.push(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
      end += alignUp(part.byteLength, 4);
      return at >>> 2;
    };
    section(rows.target, true);
    const at = {
      lengthAt: section(rows.length, shape.uniformLength === 0),
      startAt: section(rows.start, !shape.sequential),
      offsetAt: section(rows.offset, scheme === "grouped"),
      kindAt: section(rows.kind, scheme === "grouped"),
    };
    const columns = await this.#columns.atLeast(4 * (5 * count + 1));
    let place = 0, bytes = 0;
    for (const view of views) {
      bytes += writeBytes(gpu, columns, place, view);
      place += alignUp(view.byteLength, 4);
    }
    const payload = await this.#loadPayload(gpu, rows, chunk);
    this.#loaded = { chunk, columns, payload: payload.buffer, at };
    return { ...this.#loaded, bytes: bytes + payload.bytes };
  }

  /** Gives all buffers back. */
  release(): void {
    for (const buffer of [this.#columns, this.#payload, this.entries, this.blocks]) {
      buffer.release();
    }
    this.#loaded = undefined;
    this.#payloadRange = "";
  }

  async #loadPayload(
    gpu: GpuDevice,
    { payload }: ApplyRows,
    { payloadFrom, payloadTo }: RowChunk,
  ): Promise<{ buffer: GPUBuffer; bytes: number }> {
    // A word more: four bytes from any byte on are read as two words.
    const buffer = await this.#payload.atLeast(alignUp(payloadTo - payloadFrom, 4) + 4);
    const range = `${payloadFrom} ${payloadTo}`;
    if (range === this.#payloadRange) return { buffer, bytes: 0 };
    const bytes = writeBytes(gpu, buffer, 0, payload.subarray(payloadFrom, payloadTo));
    this.#payloadRange = range;
    return { buffer, bytes };
  }
}

/** What the rows of a chunk have in common, as the kernels are told. */
export function headOf(
  rows: ApplyRows,
  chunk: RowChunk,
  at: Columns,
  about: Pick<BatchHead, "count" | "laneShift" | "window" | "windowWords">,
): BatchHead {
  const { shape } = rows, stride = shape.sequential ? strideOf(shape) : 0;
  return {
    ...about,
    ...at,
    length: shape.uniformLength,
    start: shape.sequential ? rows.start[chunk.from] - chunk.payloadFrom : chunk.payloadFrom,
    stride,
    kind: rows.kind[chunk.from],
  };
}
