/**
 * Spill file: where the bytes of pages stand that were taken out of memory.
 *
 * It is no part of durability: log and checkpoints are. It is made when a store is opened and removed when that is
 * closed, and nothing in it outlives its process. Pages are written in runs, as many as were evicted together, in
 * one write each; a run is a stretch of blocks, and its place is free again when the last of its pages has left. Runs
 * of which most has left are emptied (`sparsest`) before the file grows, so that it stays below twice of what it holds and
 * one run; what is free at its end is cut off.
 *
 * Cost: 4 bytes a block of 4 KiB, and 4 bytes a page that was written, until its run is free.
 *
 * @module
 */

import { alignUp, assert, MmsbError } from "../base/mod.ts";
import { makeOwnFile, type OwnFile } from "./_platform.ts";

/** Bytes of a block. */
export const SPILL_BLOCK_BYTES = 4096;
/** Places count words of this many bytes; 32 bits of them reach 64 GiB. */
const PLACE_BYTES = 16;
/** Most bytes of a spill file. */
export const SPILL_BYTES_MAX: number = 2 ** 32 * PLACE_BYTES;
/** A file that is shorter is not worth cutting or cleaning. */
const SMALL_FILE_BYTES = 1024 * 1024;
const NAME_PREFIX = "spill-";
const NAME_SUFFIX = ".pages";
const FREE = 0;

/** What a spill file is written to. */
export type SpillDisk = OwnFile;

/** Pages that were written together. */
export interface SpillRun {
  /** First block. */
  readonly block: number;
  /** Blocks. */
  readonly blocks: number;
  /** Bytes of it that pages had. */
  readonly bytes: number;
  /** Rows of the pages that were written, in order. */
  readonly rows: Int32Array;
  /** Bytes whose pages have not left. */
  live: number;
}

/** Makes a spill file in a folder, and removes there what processes that ended left. */
export function openSpillDisk(folder: string): SpillDisk {
  return makeOwnFile(folder, NAME_PREFIX, NAME_SUFFIX);
}

/** A file of runs. */
export class SpillFile {
  /** Most bytes that it may have. */
  readonly limitBytes: number;
  /** Bytes of the pages in it. */
  liveBytes = 0;
  /** Bytes ever written. */
  bytesWritten = 0;
  readonly #disk: SpillDisk;
  /** For each block the number of its run, {@linkcode FREE} for none. */
  #runOf = new Int32Array(256);
  #blocks = 0;
  #freeBlocks = 0;
  #runs = new Map<number, SpillRun>();
  #nextRun = 1;
  #isClosed = false;

  /** Begins with an empty file. */
  constructor(disk: SpillDisk, limitBytes: number = SPILL_BYTES_MAX) {
    this.#disk = disk;
    this.limitBytes = Math.min(limitBytes, SPILL_BYTES_MAX);
  }

  /** Its path. */
  get path(): string {
    return this.#disk.path;
  }

  /** Bytes that it takes on the disk, at most. */
  get bytes(): number {
    return this.#blocks * SPILL_BLOCK_BYTES;
  }

  /**
   * Writes pages in one go.
   *
   * @param bytes The pages one after the other, each from a multiple of 16 on.
   * @param rows Their rows.
   * @returns The place of the first page; the others follow as in `bytes`.
   * @throws {MmsbError} `memory-pressure` where the file would pass its limit, `disk-full`, `io`. Nothing has
   * changed then.
   */
  write(bytes: Uint8Array, rows: Int32Array): number {
    const blocks = alignUp(bytes.length, SPILL_BLOCK_BYTES) / SPILL_BLOCK_BYTES;
    const block = this.#find(blocks);
    if ((block + blocks) * SPILL_BLOCK_BYTES > this.limitBytes) {
      throw new MmsbError(
        "memory-pressure",
        `Cannot spill ${bytes.length} bytes as the spill file would pass its limit of ${this.limitBytes} bytes: delete pages, or open the bus with a larger spill.limitBytes`,
        {
          values: {
            bytes: bytes.length,
            spilledBytes: this.liveBytes,
            limitBytes: this.limitBytes,
          },
        },
      );
    }
    this.#disk.write(bytes, block * SPILL_BLOCK_BYTES);
    const end = block + blocks, run = this.#nextRun++;
    if (end > this.#runOf.length) {
      const longer = new Int32Array(Math.max(end, 2 * this.#runOf.length));
      longer.set(this.#runOf);
      this.#runOf = longer;
    }
    if (end > this.#blocks) {
      this.#freeBlocks += end - this.#blocks;
      this.#blocks = end;
    }
    this.#freeBlocks -= blocks;
    this.#runOf.fill(run, block, end);
    this.#runs.set(run, { block, blocks, bytes: bytes.length, rows, live: bytes.length });
    this.liveBytes += bytes.length;
    this.bytesWritten += bytes.length;
    return block * SPILL_BLOCK_BYTES / PLACE_BYTES;
  }

  /**
   * Reads bytes of a page.
   *
   * @returns Whether all of them are there.
   * @throws {MmsbError} `io`.
   */
  read(place: number, target: Uint8Array): boolean {
    return this.#disk.read(target, place * PLACE_BYTES) === target.length;
  }

  /** A page has left. */
  release(place: number, bytes: number): void {
    const block = Math.floor(place * PLACE_BYTES / SPILL_BLOCK_BYTES);
    const number = this.#runOf[block], run = this.#runs.get(number);
    assert(run !== undefined, `block ${block} of the spill file is in use`);
    run.live -= bytes;
    this.liveBytes -= bytes;
    if (run.live > 0) return;
    this.#runs.delete(number);
    this.#runOf.fill(FREE, run.block, run.block + run.blocks);
    this.#freeBlocks += run.blocks;
    this.#cut();
  }

  /**
   * A run of which most has left, where the file holds more that has left than is worth keeping.
   *
   * @param bytesMax Most bytes of its pages that are still there.
   */
  sparsest(bytesMax: number): SpillRun | undefined {
    const used = this.bytes - this.#freeBlocks * SPILL_BLOCK_BYTES;
    if (used < SMALL_FILE_BYTES || this.liveBytes * 2 > used) return undefined;
    let best: SpillRun | undefined;
    // The last in the file, so that its end can be cut off.
    for (const run of this.#runs.values()) {
      const isSparse = run.live <= bytesMax && run.live * 2 <= run.bytes;
      if (isSparse && (best === undefined || run.block > best.block)) best = run;
    }
    return best;
  }

  /** Whether a place is in a run. */
  isIn(place: number, { block, blocks }: SpillRun): boolean {
    const at = place * PLACE_BYTES / SPILL_BLOCK_BYTES;
    return at >= block && at < block + blocks;
  }

  /** All pages have left. */
  clear(): void {
    this.#runs.clear();
    this.#runOf.fill(FREE);
    this.liveBytes = 0;
    this.#freeBlocks = this.#blocks;
    this.#cut();
  }

  /** Closes and removes the file. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#disk.close();
  }

  /** Walks all runs and blocks. */
  checkInvariants(): void {
    let live = 0, used = 0;
    for (const [number, run] of this.#runs) {
      assert(run.live > 0 && run.live <= run.bytes, `run ${number} holds pages`);
      assert(run.block + run.blocks <= this.#blocks, `run ${number} is in the file`);
      for (let k = 0; k < run.blocks; k++) {
        assert(this.#runOf[run.block + k] === number, `block ${run.block + k} is run ${number}'s`);
      }
      live += run.live;
      used += run.blocks;
    }
    assert(live === this.liveBytes, "bytes in the spill file agree");
    assert(used + this.#freeBlocks === this.#blocks, "each block is used or free");
    for (let block = this.#blocks; block < this.#runOf.length; block++) {
      assert(this.#runOf[block] === FREE, `block ${block} behind the end is free`);
    }
  }

  /** The first of so many free blocks that follow each other, behind the end where there are none. */
  #find(count: number): number {
    let run = 0;
    if (this.#freeBlocks >= count) {
      for (let block = 0; block < this.#blocks; block++) {
        run = this.#runOf[block] === FREE ? run + 1 : 0;
        if (run === count) return block - count + 1;
      }
    }
    let end = this.#blocks;
    while (end > 0 && this.#runOf[end - 1] === FREE) end--;
    return end;
  }

  /** Cuts off what is free at the end, where it is much. */
  #cut(): void {
    let end = this.#blocks;
    while (end > 0 && this.#runOf[end - 1] === FREE) end--;
    const cut = this.#blocks - end;
    if (cut * SPILL_BLOCK_BYTES < SMALL_FILE_BYTES || cut * 8 < this.#blocks) return;
    try {
      this.#disk.truncate(end * SPILL_BLOCK_BYTES);
    } catch {
      // It stays as long as it is, which does no harm.
      return;
    }
    this.#freeBlocks -= cut;
    this.#blocks = end;
  }
}
