/** A device whose buffers are arrays, for tests of what is done with buffers: fast, and as small as wanted. */

import assert from "node:assert/strict";
import { MmsbError } from "../../../base/mod.ts";
import type { BufferMaker } from "../buffer_pool.ts";
import type { PageDevice } from "../device_pages.ts";

/** Buffers in memory; `memoryBytes` says how much there is. */
export class MemoryDevice implements BufferMaker, PageDevice {
  readonly adapter: { readonly limits: Readonly<Record<string, number>> };
  /** Buffers that stand. */
  readonly buffers = new Map<GPUBuffer, Uint8Array>();
  /** Bytes of them. */
  usedBytes = 0;
  /** Buffers made so far. */
  made = 0;
  /** Writes that go well before one fails; none fails while it is negative. */
  writesLeft = -1;
  readonly #memoryBytes: number;

  constructor(memoryBytes: number, storageBytesMax = memoryBytes, bufferBytesMax = memoryBytes) {
    this.#memoryBytes = memoryBytes;
    this.adapter = {
      limits: { maxBufferSize: bufferBytesMax, maxStorageBufferBindingSize: storageBytesMax },
    };
  }

  async allocate(size: number, usage: number): Promise<GPUBuffer> {
    this.made++;
    await Promise.resolve();
    if (this.usedBytes + size > this.#memoryBytes) {
      throw new MmsbError("allocation", "Cannot make a buffer: no memory");
    }
    const buffer = { size, usage } as unknown as GPUBuffer;
    this.buffers.set(buffer, new Uint8Array(size));
    this.usedBytes += size;
    return buffer;
  }

  destroyBuffer(buffer: GPUBuffer): void {
    assert(this.buffers.delete(buffer), "a buffer is destroyed once");
    this.usedBytes -= buffer.size;
  }

  write(buffer: GPUBuffer, offset: number, view: ArrayBufferView): void {
    const { buffer: memory, byteOffset, byteLength } = view;
    assert(offset % 4 === 0 && byteLength % 4 === 0 && byteLength > 0, "whole words are written");
    if (this.writesLeft === 0) throw new MmsbError("gpu", "Cannot write: the device is lost");
    this.writesLeft--;
    this.#bytes(buffer).set(new Uint8Array(memory, byteOffset, byteLength), offset);
  }

  async read(buffer: GPUBuffer, offset: number, target: Uint8Array): Promise<void> {
    await Promise.resolve();
    target.set(this.#bytes(buffer).subarray(offset, offset + target.length));
  }

  async checked<T>(_what: string, work: () => T): Promise<T> {
    const result = work();
    await Promise.resolve();
    return result;
  }

  #bytes(buffer: GPUBuffer): Uint8Array {
    const bytes = this.buffers.get(buffer);
    assert(bytes !== undefined, "a buffer that is used stands");
    return bytes;
  }
}
