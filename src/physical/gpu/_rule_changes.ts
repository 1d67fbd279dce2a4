/**
 * Rule changes: has of a page that a rule's shader writes only the blocks that changed brought back.
 *
 * The page is put aside on the device before the first step; behind the last one a kernel compares the two and packs
 * what differs. How many blocks there is room for is said with each run, from what changed in the one before: so
 * one read is enough, unless suddenly more changes, and then the page comes back whole in a second one.
 *
 * Cost: on the device a copy and a comparison of the page; a buffer as large as the page, one for the blocks.
 */

import type { GpuEngine } from "./gpu_engine.ts";
import { BLOCK_HEAD_WORDS, BLOCK_WORDS, blockCount } from "./kernels/changed_blocks.ts";
import { type BufferPart, RecordedSequence } from "./recorded_sequence.ts";

/** What it works with. */
type ChangeEngine = Pick<GpuEngine, "device" | "pool" | "kernels">;

/** Finds what changed in one page. */
export class ChangeFinder {
  /** The list of blocks, and its bytes. */
  readonly list: BufferPart;
  /** The blocks. */
  readonly packed: BufferPart;
  /** Puts the page aside. */
  readonly keep: RecordedSequence;
  /** Finds what differs. */
  readonly find: RecordedSequence;
  /** Buffers of the pool. */
  readonly own: readonly GPUBuffer[];
  /** Blocks that there can be room for. */
  readonly room: number;
  #capacity = 0;

  private constructor(parts: Pick<ChangeFinder, "list" | "packed" | "keep" | "find" | "own">) {
    this.list = parts.list;
    this.packed = parts.packed;
    this.keep = parts.keep;
    this.find = parts.find;
    this.own = parts.own;
    this.room = Math.floor(parts.packed.bytes / (4 * BLOCK_WORDS));
  }

  /** Of a page, with room for some blocks. */
  static async of(
    { device, pool, kernels }: ChangeEngine,
    page: BufferPart,
    capacity: number,
    label: string,
  ): Promise<ChangeFinder> {
    const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage, own: GPUBuffer[] = [];
    const take = async (bytes: number): Promise<BufferPart> => {
      const buffer = await pool.acquire(bytes, STORAGE | COPY_SRC | COPY_DST, label);
      own.push(buffer);
      return { buffer, bytes };
    };
    try {
      const words = page.bytes / 4, { pipeline, groups } = kernels.blocks(words);
      const before = await take(page.bytes);
      const list = await take(4 * (BLOCK_HEAD_WORDS + blockCount(words)));
      const packed = await take(4 * BLOCK_WORDS * capacity);
      device.write(list.buffer, 0, Int32Array.of(0, words, 0, 0));
      const keep = await RecordedSequence.record(device, [
        { kind: "copy", source: page, target: before },
      ], label);
      const find = await RecordedSequence.record(device, [
        { kind: "clear", target: { buffer: list.buffer, bytes: 4 } },
        { kind: "dispatch", pipeline, bindings: [before, page, list, packed], groups },
      ], label);
      return new ChangeFinder({ list, packed, keep, find, own });
    } catch (error) {
      for (const buffer of own) pool.release(buffer);
      throw error;
    }
  }

  /** Says how many blocks there is room for in the next run. */
  setCapacity({ device }: ChangeEngine, capacity: number): void {
    if (capacity === this.#capacity) return;
    device.write(this.list.buffer, 8, Int32Array.of(capacity));
    this.#capacity = capacity;
  }
}
