/**
 * Buffer pool: device buffers that are used again, in slabs of a few sizes.
 *
 * Making a device buffer costs a call into the driver, zeroing, and now and then a wait; work that comes every
 * tick asks for the same few sizes each time. So a buffer that is released stays here and serves the next
 * one who asks for its slab and its usage. Slabs are 4 K, 16 K, 64 K, 256 K, 1 M and 4 M; a larger buffer is
 * rounded up to an eighth of the power of two below it, so that what grows slowly asks for few sizes and wastes at most an eighth.
 *
 * Cached buffers are memory like any other: there is a bound on them, the one that was released longest ago goes first, and
 * where the device or the pool's own limit has no room, cached buffers are destroyed and the buffer is asked for once more.
 *
 * Cost: a hit is two look-ups in maps; a miss some 10 µs on top of the driver's own work, as it waits for the device's verdict.
 *
 * @module
 */

import { assert, checkInteger, isMmsbError, MmsbError } from "../../base/mod.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Sizes of slabs, in bytes; larger buffers have slabs of their own size. */
export const SLAB_BYTES: readonly number[] = [
  4 * KIB,
  16 * KIB,
  64 * KIB,
  256 * KIB,
  MIB,
  4 * MIB,
];

/** Most bytes that the buffers of one pool may have where no number is given. */
export const POOL_LIMIT_BYTES_DEFAULT: number = 2048 * MIB;
/** Most bytes of buffers that wait for reuse where no number is given. */
export const POOL_CACHED_BYTES_DEFAULT: number = 256 * MIB;
/** Most buffers that wait for reuse: a pool of many small ones keeps its bookkeeping small. */
const CACHED_BUFFERS_MAX = 4096;
/** `GPUBufferUsage.STORAGE`, which is not there where there is no WebGPU. */
const USAGE_STORAGE = 0x80;
/** Sizes past this are no buffers of any device; up to here a sum of two is exact. */
const BUFFER_BYTES_MAX = 2 ** 50;

/** What the pool needs of a device; `GpuDevice` has it. */
export interface BufferMaker {
  /** What the device can. */
  readonly adapter: { readonly limits: Readonly<Record<string, number>> };
  /** Makes a buffer; `allocation` where the device has no memory for it. */
  allocate(bytes: number, usage: number, label: string): Promise<GPUBuffer>;
  /** Frees a buffer. */
  destroyBuffer(buffer: GPUBuffer): void;
}

/** Bounds of a {@linkcode BufferPool}. */
export interface BufferPoolOptions {
  /** Most bytes of all its buffers, in use and cached. */
  readonly limitBytes?: number;
  /** Most bytes of cached ones. */
  readonly cachedBytesMax?: number;
}

/** Figures of one size of slab. */
export interface SlabStatistics {
  /** Bytes of each buffer; 0 stands for all that are larger than the largest slab. */
  readonly slabBytes: number;
  /** Buffers that were there when they were asked for. */
  readonly hits: number;
  /** Buffers that had to be made. */
  readonly misses: number;
  /** Buffers in use. */
  readonly live: number;
  /** Bytes of those in use. */
  readonly liveBytes: number;
  /** Buffers that wait for reuse. */
  readonly cached: number;
  /** Bytes of those. */
  readonly cachedBytes: number;
}

/** Figures of a pool: sums over its slabs, and the slabs. */
export interface BufferPoolStatistics extends Omit<SlabStatistics, "slabBytes"> {
  /** Most bytes that it had at one time. */
  readonly bytesMax: number;
  /** Cached buffers that were destroyed, to keep the bounds or because memory was short. */
  readonly destroyed: number;
  /** Times that memory was short and cached buffers were given back for it. */
  readonly shortages: number;
  /** By slab, smallest first; the last one stands for all that are larger. */
  readonly slabs: readonly SlabStatistics[];
}

interface SlabCounts {
  hits: number;
  misses: number;
  live: number;
  liveBytes: number;
  cached: number;
  cachedBytes: number;
}

/** Buffers that can stand for each other. */
interface Shelf {
  readonly usage: number;
  readonly bytes: number;
  readonly counts: SlabCounts;
  /** Those that wait, the one released last at the end. */
  readonly cached: GPUBuffer[];
}

/**
 * Bytes of the buffer that serves a request.
 *
 * @param bytes Bytes wanted, 1 or more.
 * @param bytesMax Bytes of the largest buffer of the device.
 * @returns The slab that it comes from, or the size that it is rounded up to; never more than `bytesMax`.
 */
export function slabBytesOf(bytes: number, bytesMax: number): number {
  for (const slab of SLAB_BYTES) if (bytes <= slab) return Math.min(slab, bytesMax);
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3);
  return Math.min(Math.ceil(bytes / step) * step, bytesMax);
}

/**
 * Device buffers that are used again.
 *
 * A buffer may be larger than what was asked for, and holds what it held before: bind and copy with explicit
 * sizes, and zero what must be zero. Release it when the commands that use it are submitted, not before.
 */
export class BufferPool {
  /** Most bytes of all buffers. */
  readonly limitBytes: number;
  /** Most bytes of cached ones. */
  readonly cachedBytesMax: number;
  readonly #device: BufferMaker;
  readonly #bufferBytesMax: number;
  readonly #storageBytesMax: number;
  readonly #shelves = new Map<string, Shelf>();
  /** By slab; the last one counts all that are larger. */
  readonly #counts: SlabCounts[] = [...SLAB_BYTES, 0].map(() => ({
    hits: 0,
    misses: 0,
    live: 0,
    liveBytes: 0,
    cached: 0,
    cachedBytes: 0,
  }));
  readonly #live = new Map<GPUBuffer, Shelf>();
  /** Those that wait, released longest ago first. */
  readonly #waiting = new Map<GPUBuffer, Shelf>();
  #liveBytes = 0;
  #cachedBytes = 0;
  /** Bytes of buffers that are being made. */
  #pendingBytes = 0;
  #bytesMax = 0;
  #destroyed = 0;
  #shortages = 0;
  #isClosed = false;

  /**
   * Makes an empty pool.
   *
   * @param device Makes the buffers.
   * @param options Bounds.
   * @throws {MmsbError} `usage` or `limit` for bounds that are no counts of bytes.
   */
  constructor(device: BufferMaker, options: BufferPoolOptions = {}) {
    const { limitBytes = POOL_LIMIT_BYTES_DEFAULT, cachedBytesMax = POOL_CACHED_BYTES_DEFAULT } =
      options;
    this.limitBytes = checkInteger("limitBytes", limitBytes, 0, BUFFER_BYTES_MAX, "limit");
    this.cachedBytesMax = checkInteger(
      "cachedBytesMax",
      cachedBytesMax,
      0,
      BUFFER_BYTES_MAX,
      "limit",
    );
    this.#device = device;
    const { maxBufferSize, maxStorageBufferBindingSize } = device.adapter.limits;
    // A buffer's size is a multiple of 4, and the largest one of some drivers is not.
    this.#bufferBytesMax = maxBufferSize - maxBufferSize % 4;
    this.#storageBytesMax = Math.min(
      this.#bufferBytesMax,
      maxStorageBufferBindingSize - maxStorageBufferBindingSize % 4,
    );
  }

  /** Bytes of buffers in use. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Bytes of buffers that wait for reuse. */
  get cachedBytes(): number {
    return this.#cachedBytes;
  }

  /**
   * A cached buffer, if there is one.
   *
   * @param bytes Bytes wanted, 1 or more.
   * @param usage Flags of `GPUBufferUsage`.
   * @returns The buffer; none where {@linkcode BufferPool.acquire} would have to make one.
   * @throws {MmsbError} as {@linkcode BufferPool.acquire}.
   */
  take(bytes: number, usage: number): GPUBuffer | undefined {
    const shelf = this.#shelfOf(bytes, usage), buffer = shelf.cached.pop();
    if (buffer === undefined) return undefined;
    const { counts } = shelf;
    this.#waiting.delete(buffer);
    this.#cachedBytes -= shelf.bytes;
    counts.cached--;
    counts.cachedBytes -= shelf.bytes;
    counts.hits++;
    this.#lend(buffer, shelf);
    return buffer;
  }

  /**
   * A buffer of at least so many bytes: a cached one, or a new one.
   *
   * @param bytes Bytes wanted, 1 or more.
   * @param usage Flags of `GPUBufferUsage`.
   * @param label What a new buffer is for, for the messages of the device.
   * @returns The buffer; its `size` may be larger.
   * @throws {MmsbError} `usage` for sizes and flags that are none, `limit` for a size that no buffer of the device can have, or
   * past the pool's limit; `allocation` where the device has no memory left, though all cached buffers
   * were given back; `gpu` where the device fails; `closed` after {@linkcode BufferPool.close}.
   */
  async acquire(bytes: number, usage: number, label = "pool"): Promise<GPUBuffer> {
    const found = this.take(bytes, usage);
    if (found !== undefined) return found;
    const shelf = this.#shelfOf(bytes, usage);
    this.#makeRoom(shelf.bytes);
    this.#pendingBytes += shelf.bytes;
    let buffer: GPUBuffer;
    try {
      buffer = await this.#make(shelf, label);
    } finally {
      this.#pendingBytes -= shelf.bytes;
    }
    if (this.#isClosed) {
      this.#device.destroyBuffer(buffer);
      this.#refuseClosed();
    }
    shelf.counts.misses++;
    this.#lend(buffer, shelf);
    return buffer;
  }

  /**
   * Takes a buffer back. The commands that use it have been submitted; what comes next in the queue comes after them.
   *
   * @param buffer A buffer of this pool that was not released since.
   */
  release(buffer: GPUBuffer): void {
    const shelf = this.#live.get(buffer);
    // All were forgotten when the pool was closed, and those who had some may still say so.
    if (shelf === undefined && this.#isClosed) return;
    assert(shelf !== undefined, "a buffer is released once, to the pool that it came from");
    const { counts, bytes } = shelf;
    this.#live.delete(buffer);
    this.#liveBytes -= bytes;
    counts.live--;
    counts.liveBytes -= bytes;
    shelf.cached.push(buffer);
    this.#waiting.set(buffer, shelf);
    this.#cachedBytes += bytes;
    counts.cached++;
    counts.cachedBytes += bytes;
    if (this.#cachedBytes > this.cachedBytesMax) this.trim(this.cachedBytesMax);
    if (this.#waiting.size > CACHED_BUFFERS_MAX) this.#destroyOldest();
  }

  /**
   * Destroys cached buffers, the one released longest ago first.
   *
   * @param bytesKept Bytes of them that may stay. Default: none.
   * @returns Bytes that were given back.
   */
  trim(bytesKept = 0): number {
    const before = this.#cachedBytes;
    while (this.#cachedBytes > bytesKept) this.#destroyOldest();
    return before - this.#cachedBytes;
  }

  /** Figures since the pool was made. */
  statistics(): BufferPoolStatistics {
    const slabs = this.#counts.map((counts, at) => ({ slabBytes: SLAB_BYTES[at] ?? 0, ...counts }));
    const sum = (key: keyof SlabCounts): number =>
      this.#counts.reduce((total, counts) => total + counts[key], 0);
    return {
      hits: sum("hits"),
      misses: sum("misses"),
      live: sum("live"),
      liveBytes: this.#liveBytes,
      cached: sum("cached"),
      cachedBytes: this.#cachedBytes,
      bytesMax: this.#bytesMax,
      destroyed: this.#destroyed,
      shortages: this.#shortages,
      slabs,
    };
  }

  /** Destroys all buffers, those in use too: whoever has one must not use it any more. */
  close(): void {
    this.#isClosed = true;
    this.trim();
    for (const buffer of this.#live.keys()) this.#device.destroyBuffer(buffer);
    this.#live.clear();
    this.#shelves.clear();
    this.#liveBytes = 0;
    for (const counts of this.#counts) counts.live = counts.liveBytes = 0;
  }

  /** Checks that sums are sums and bounds are kept. */
  checkInvariants(): void {
    let live = 0, cached = 0, waiting = 0;
    for (const shelf of this.#live.values()) live += shelf.bytes;
    for (const [buffer, shelf] of this.#waiting) {
      assert(!this.#live.has(buffer), "a buffer is lent or waits");
      assert(shelf.cached.includes(buffer), "a buffer waits on its shelf");
      cached += shelf.bytes;
    }
    for (const shelf of this.#shelves.values()) waiting += shelf.cached.length;
    assert(waiting === this.#waiting.size, "each buffer waits once");
    assert(live === this.#liveBytes && cached === this.#cachedBytes, "bytes are counted");
    assert(cached <= this.cachedBytesMax, "cached bytes keep their bound");
    assert(live + cached <= this.limitBytes, "the pool keeps its limit");
    assert(
      this.#counts.reduce((sum, counts) => sum + counts.liveBytes, 0) === live &&
        this.#counts.reduce((sum, counts) => sum + counts.cachedBytes, 0) === cached,
      "slabs add up",
    );
  }

  #shelfOf(bytes: number, usage: number): Shelf {
    if (this.#isClosed) this.#refuseClosed();
    checkInteger("usage of a device buffer", usage, 1, 0xffff, "usage");
    const bytesMax = (usage & USAGE_STORAGE) === 0 ? this.#bufferBytesMax : this.#storageBytesMax;
    checkInteger("bytes of a device buffer", bytes, 1, Number.MAX_SAFE_INTEGER, "usage");
    checkInteger("bytes of a device buffer", bytes, 1, bytesMax, "limit");
    const slab = slabBytesOf(bytes, bytesMax), key = `${usage} ${slab}`;
    let shelf = this.#shelves.get(key);
    if (shelf === undefined) {
      const place = SLAB_BYTES.indexOf(slab);
      const counts = this.#counts[place < 0 ? SLAB_BYTES.length : place];
      this.#shelves.set(key, shelf = { usage, bytes: slab, counts, cached: [] });
    }
    return shelf;
  }

  #lend(buffer: GPUBuffer, shelf: Shelf): void {
    this.#live.set(buffer, shelf);
    this.#liveBytes += shelf.bytes;
    shelf.counts.live++;
    shelf.counts.liveBytes += shelf.bytes;
    this.#bytesMax = Math.max(this.#bytesMax, this.#liveBytes + this.#cachedBytes);
  }

  /** Keeps the pool's own limit. */
  #makeRoom(bytes: number): void {
    const taken = this.#liveBytes + this.#pendingBytes, { limitBytes } = this;
    if (taken + bytes > limitBytes) {
      throw new MmsbError(
        "limit",
        `Cannot take ${bytes} bytes of device memory as ${taken} of ${limitBytes} are in use: raise the limit of the pool, or do less at a time`,
        { values: { bytes, liveBytes: taken, limitBytes } },
      );
    }
    if (taken + this.#cachedBytes + bytes <= limitBytes) return;
    this.#shortages++;
    this.trim(limitBytes - taken - bytes);
  }

  async #make(shelf: Shelf, label: string): Promise<GPUBuffer> {
    try {
      return await this.#device.allocate(shelf.bytes, shelf.usage, label);
    } catch (error) {
      if (!isMmsbError(error, "allocation") || this.#waiting.size === 0) throw error;
      this.#shortages++;
      this.trim();
      return await this.#device.allocate(shelf.bytes, shelf.usage, label);
    }
  }

  #destroyOldest(): void {
    for (const [buffer, shelf] of this.#waiting) {
      // Released first, so it lies at the bottom of its shelf.
      shelf.cached.shift();
      this.#waiting.delete(buffer);
      this.#cachedBytes -= shelf.bytes;
      shelf.counts.cached--;
      shelf.counts.cachedBytes -= shelf.bytes;
      this.#device.destroyBuffer(buffer);
      this.#destroyed++;
      return;
    }
  }

  #refuseClosed(): never {
    throw new MmsbError("closed", "Cannot take a device buffer: the device was closed or lost");
  }
}
