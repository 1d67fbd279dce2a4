/**
 * Spill file: where the bytes of pages stand that were taken out of memory.
 *
 * It is no part of durability: log and checkpoints are. It is made when a store is opened and removed when that is
 * closed, and nothing in it outlives its process. Pages are written in runs, as many as were evicted together, in
 * one write each; a run is a stretch of blocks, and its place is free again when the last of its pages has left. Runs
 * of which most has left are emptied (`sparsest`) before the file grows, so that it stays below twice of what it holds and
 * one run; what is free at its end is cut off (`trim`).
 *
 * Every call is part of a pause, so none walks the file: the search for free blocks goes on where the last one ended and
 * gives up after some thousand steps, runs to be emptied are noted when they become so, and a cut takes
 * 4 MiB. Pages that are read in the order in which they stand are read 64 KiB ahead.
 *
 * Cost: 4 bytes a block of 4 KiB, and 4 bytes a page that was written, until its run is free. A read takes 3 µs, one that
 * was read ahead 0.2.
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
const SMALL_FILE_BYTES = 128 * 1024;
const NAME_PREFIX = "spill-";
const NAME_SUFFIX = ".pages";
const FREE = 0;
/** Blocks or runs that a search for free blocks passes. */
const SEARCH_STEPS = 4096;
/** Runs of which most has left that are compared with each other. */
const SPARSE_COMPARED = 32;
/** Blocks cut off at a time: the system takes 0.1 ms to forget a MiB. */
const CUT_BLOCKS: number = 4 * 1024 * 1024 / SPILL_BLOCK_BYTES;
/** Bytes read ahead. */
const AHEAD_BYTES = 65_536;
/** Bytes that a page may stand behind the one read before it, to count as the next one. */
const NEAR_BYTES = 4096;

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
  /** Behind the last block in use. */
  #usedEnd = 0;
  /** Where the next search for free blocks begins. */
  #hand = 0;
  readonly #runs = new Map<number, SpillRun>();
  /** Numbers of runs of which half and more has left. */
  readonly #sparse = new Set<number>();
  #nextRun = 1;
  /** What was read ahead: the bytes of the file from a position on. */
  readonly #ahead = new Uint8Array(AHEAD_BYTES);
  #aheadStart = 0;
  #aheadEnd = 0;
  /** Where the last read ended. */
  #readEnd = -1;
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
    // Also where it fails: some of it may be there.
    this.#aheadEnd = 0;
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
    this.#usedEnd = Math.max(this.#usedEnd, end);
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
    const start = place * PLACE_BYTES, end = start + target.length;
    if (start >= this.#aheadStart && end <= this.#aheadEnd) {
      const at = start - this.#aheadStart;
      target.set(this.#ahead.subarray(at, at + target.length));
      this.#readEnd = end;
      return true;
    }
    const isNext = start >= this.#readEnd && start - this.#readEnd < NEAR_BYTES;
    this.#readEnd = end;
    if (!isNext || target.length > AHEAD_BYTES / 4) {
      return this.readSpan(place, target) === target.length;
    }
    this.#aheadEnd = 0;
    this.#aheadStart = start;
    this.#aheadEnd = start + this.#disk.read(this.#ahead, start);
    target.set(this.#ahead.subarray(0, target.length));
    return end <= this.#aheadEnd;
  }

  /**
   * Reads whatever stands from a place on.
   *
   * @returns Bytes that are there.
   * @throws {MmsbError} `io`.
   */
  readSpan(place: number, target: Uint8Array): number {
    return this.#disk.read(target, place * PLACE_BYTES);
  }

  /** Forgets what was read ahead. */
  forgetAhead(): void {
    this.#aheadEnd = 0;
  }

  /** A page has left. */
  release(place: number, bytes: number): void {
    const block = Math.floor(place * PLACE_BYTES / SPILL_BLOCK_BYTES);
    const number = this.#runOf[block], run = this.#runs.get(number);
    assert(run !== undefined, `block ${block} of the spill file is in use`);
    run.live -= bytes;
    this.liveBytes -= bytes;
    if (run.live > 0) {
      if (run.live * 2 <= run.bytes) this.#sparse.add(number);
      return;
    }
    this.#runs.delete(number);
    this.#sparse.delete(number);
    const end = run.block + run.blocks;
    this.#runOf.fill(FREE, run.block, end);
    this.#freeBlocks += run.blocks;
    if (end === this.#usedEnd) this.#findUsedEnd();
    // From the front, where much is free: so the end becomes free.
    if (this.#freeBlocks * 2 > this.#blocks) this.#hand = 0;
  }

  /**
   * A run of which most has left, where the file holds more that has left than is worth keeping.
   *
   * @param bytesMax Most bytes of its pages that are still there.
   */
  sparsest(bytesMax: number): SpillRun | undefined {
    const used = this.bytes - this.#freeBlocks * SPILL_BLOCK_BYTES;
    if (used < SMALL_FILE_BYTES || this.liveBytes * 2 > used) return undefined;
    let best: SpillRun | undefined, compared = 0;
    // The last in the file, so that its end can be cut off.
    for (const number of this.#sparse) {
      const run = this.#runs.get(number)!;
      if (run.live <= bytesMax && (best === undefined || run.block > best.block)) best = run;
      if (++compared === SPARSE_COMPARED) break;
    }
    return best;
  }

  /** Cuts off some of what is free at the end, where it is much. */
  trim(): void {
    const free = this.#blocks - this.#usedEnd, cut = Math.min(free, CUT_BLOCKS);
    if (free * SPILL_BLOCK_BYTES < SMALL_FILE_BYTES || free * 8 < this.#blocks) return;
    try {
      this.#disk.truncate((this.#blocks - cut) * SPILL_BLOCK_BYTES);
    } catch {
      // It stays as long as it is, which does no harm.
      return;
    }
    this.#aheadEnd = 0;
    this.#freeBlocks -= cut;
    this.#blocks -= cut;
  }

  /** Whether a place is in a run. */
  isIn(place: number, { block, blocks }: SpillRun): boolean {
    const at = place * PLACE_BYTES / SPILL_BLOCK_BYTES;
    return at >= block && at < block + blocks;
  }

  /** All pages have left. */
  clear(): void {
    this.#runs.clear();
    this.#sparse.clear();
    this.#runOf.fill(FREE);
    this.liveBytes =
      this.#usedEnd =
      this.#hand =
      this.#aheadEnd =
        0;
    this.#freeBlocks = this.#blocks;
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
      assert(run.block + run.blocks <= this.#usedEnd, `run ${number} is in the file`);
      assert(
        this.#sparse.has(number) === run.live * 2 <= run.bytes,
        `run ${number} is noted where most of it has left`,
      );
      for (let k = 0; k < run.blocks; k++) {
        assert(this.#runOf[run.block + k] === number, `block ${run.block + k} is run ${number}'s`);
      }
      live += run.live;
      used += run.blocks;
    }
    assert(this.#usedEnd <= this.#blocks, "the end in use is in the file");
    assert(live === this.liveBytes, "bytes in the spill file agree");
    assert(used + this.#freeBlocks === this.#blocks, "each block is used or free");
    for (let block = this.#usedEnd; block < this.#runOf.length; block++) {
      assert(this.#runOf[block] === FREE, `block ${block} behind the end is free`);
    }
  }

  /** So many free blocks that follow each other, behind the last one in use where none were found. */
  #find(count: number): number {
    const runOf = this.#runOf, end = this.#usedEnd;
    if (this.#freeBlocks < count) return end;
    let block = this.#hand, free = 0, isRound = false;
    for (let steps = 0; steps < SEARCH_STEPS; steps++) {
      if (block >= end) {
        if (isRound) break;
        isRound = true;
        block = free = 0;
        if (end === 0) break;
      }
      const number = runOf[block];
      if (number === FREE) {
        block++;
        if (++free < count) continue;
        this.#hand = block;
        return block - count;
      } else {
        const run = this.#runs.get(number)!;
        block = run.block + run.blocks;
        free = 0;
      }
    }
    this.#hand = block - free;
    return end;
  }

  #findUsedEnd(): void {
    let end = this.#usedEnd;
    while (end > 0 && this.#runOf[end - 1] === FREE) end--;
    this.#usedEnd = end;
  }
}
