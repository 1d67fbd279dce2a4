/**
 * Device pages: copies of pages in device memory, kept from tick to tick.
 *
 * A copy is made when a job wants the page, and stays. The next job sends only what has changed since: the list of pages
 * that it comes with says from which version on its ranges are enough ({@linkcode PageList}). Where the copy has
 * another version, or is not there, the whole page is sent; so a job that failed half way, a device that was
 * lost or a copy that was evicted needs no word between the two sides.
 *
 * The host's page is the truth: a copy can be given up at any time without loss. Where there is no room, the one that was used longest ago goes;
 * those that a job uses, and those that are kept by wish, never do.
 *
 * Cost: a call of some 10 µs for each range that is sent, and the bytes; a page that is in step costs some 100 ns.
 */

import { assert, checkInteger, isMmsbError, MmsbError } from "../../base/mod.ts";
import { NOTHING_SENT, type PageBytes, type PageDevice, sendPages } from "./_pool_sending.ts";
import type { BufferPool } from "./buffer_pool.ts";
import { type DeviceCopy, PageLease, type PageUpload, setWritten } from "./page_lease.ts";
import {
  checkPages,
  HEAD_BYTES,
  HEAD_FLAGS,
  HEAD_ROW,
  HEAD_VERSION,
  HEAD_WORDS,
  PAGE_KEPT,
  PAGE_ROWS_MAX,
  type PageList,
} from "./page_list.ts";

export type { PageBytes, PageDevice } from "./_pool_sending.ts";
export { type PageCopy, PageLease, type PageUpload } from "./page_lease.ts";

/** Most bytes of all copies where no number is given. */
export const PAGES_LIMIT_BYTES_DEFAULT: number = 2 ** 30;
/** STORAGE, COPY_SRC and COPY_DST of `GPUBufferUsage`, which is not there where there is no WebGPU. */
const COPY_USAGE = 0x80 | 0x04 | 0x08;
/** Numbers of arenas are below this: a key is a safe integer. */
const ARENAS_MAX = 2 ** 26;

/** Figures of {@linkcode DevicePages}. */
export interface DevicePagesStatistics {
  /** Copies. */
  readonly pages: number;
  /** Device memory that they take, in bytes. */
  readonly bytes: number;
  /** Copies that are not evicted. */
  readonly kept: number;
  /** Copies that jobs use now. */
  readonly inUse: number;
  /** Pages that jobs wanted and whose copy was there. */
  readonly hits: number;
  /** Pages that jobs wanted and whose copy had to be made. */
  readonly misses: number;
  /** Pages that something was sent for. */
  readonly uploads: number;
  /** Bytes sent. */
  readonly uploadedBytes: number;
  /** Ranges sent, whole pages among them. */
  readonly uploadedRanges: number;
  /** Pages that were sent whole. */
  readonly fullUploads: number;
  /** Copies given up for want of room. */
  readonly evictions: number;
}

/** The copies on one device. */
export class DevicePages {
  /** Most bytes of all copies. */
  readonly limitBytes: number;
  readonly #device: PageDevice;
  readonly #pool: BufferPool;
  readonly #copies = new Map<number, DeviceCopy>();
  /** Those that may be evicted, the one used longest ago first. */
  readonly #idle = new Set<DeviceCopy>();
  /** Copies that are in use and have no place any more. */
  readonly #gone = new Set<DeviceCopy>();
  /** Rows by arena whose copies were evicted, until somebody asks. */
  readonly #evicted = new Map<number, Set<number>>();
  #bytes = 0;
  #kept = 0;
  #hits = 0;
  #misses = 0;
  #uploads = 0;
  #uploadedBytes = 0;
  #uploadedRanges = 0;
  #fullUploads = 0;
  #evictions = 0;

  /**
   * No copies yet.
   *
   * @param device Sends and reads.
   * @param pool Gives the buffers.
   * @param options Most bytes of all copies.
   * @throws {MmsbError} `usage` or `limit` for a bound that is no count of bytes.
   */
  constructor(
    device: PageDevice,
    pool: BufferPool,
    { limitBytes = PAGES_LIMIT_BYTES_DEFAULT }: { readonly limitBytes?: number } = {},
  ) {
    this.limitBytes = checkInteger("limitBytes", limitBytes, 0, 2 ** 50, "limit");
    this.#device = device;
    this.#pool = pool;
  }

  /**
   * Brings copies of pages into step and lends them.
   *
   * Jobs come one after the other: what a list says follows from what the lists before it said.
   *
   * @param arena Number of the arena.
   * @param memory The arena; it is only read, and nobody writes these pages meanwhile.
   * @param list The pages.
   * @returns The copies, in the order of the list; release them.
   * @throws {MmsbError} `limit` where so many cannot be there at a time, `allocation` where the device has no memory left, though all that may be
   * evicted was; `out-of-bounds` for a list that is none; `gpu` where the device fails. Copies may be
   * in step or not then, and are known for it.
   */
  async use(arena: number, memory: PageBytes, list: PageList): Promise<PageLease> {
    checkInteger("arena", arena, 0, ARENAS_MAX - 1);
    checkPages(memory.byteLength, list);
    for (const row of list.gone) this.#drop(this.#copies.get(keyOf(arena, row)));
    const copies = this.#holdFound(arena, list), { heads } = list;
    try {
      for (let i = 0; i < list.count; i++) {
        copies[i] ??= await this.#make(
          arena,
          heads[HEAD_WORDS * i + HEAD_ROW],
          heads[HEAD_WORDS * i + HEAD_BYTES],
        );
      }
      const held = copies as DeviceCopy[];
      const upload = await this.#bringUp(held, memory, list);
      return new PageLease(
        held,
        upload,
        () => setWritten(held, list, true),
        () => this.#release(held),
      );
    } catch (error) {
      this.#release(copies);
      throw error;
    }
  }

  /** Gives copies up, whoever wanted them kept. */
  drop(arena: number, rows: Iterable<number>): void {
    for (const row of rows) this.#drop(this.#copies.get(keyOf(arena, row)));
  }

  /** Gives all copies of an arena up. */
  dropArena(arena: number): void {
    for (const copy of [...this.#copies.values()]) if (copy.arena === arena) this.#drop(copy);
    this.#evicted.delete(arena);
  }

  /** Rows of an arena whose copies were evicted since the last call, and not made again. */
  takeEvicted(arena: number): Int32Array {
    const rows = Int32Array.from(this.#evicted.get(arena) ?? []);
    this.#evicted.delete(arena);
    return rows;
  }

  /**
   * Reads a copy, to compare it with its page.
   *
   * @returns Its bytes, as many as the page has, rounded up to a multiple of 4; none where there is no copy whose bytes are known.
   * @throws {MmsbError} `gpu` where the device fails.
   */
  async read(arena: number, row: number): Promise<Uint8Array | undefined> {
    const copy = this.#copies.get(keyOf(arena, row));
    if (copy === undefined || copy.version === 0) return undefined;
    const bytes = new Uint8Array(copy.bytes);
    this.#hold(copy);
    try {
      await this.#device.read(copy.buffer, 0, bytes);
    } finally {
      this.#release([copy]);
    }
    return bytes;
  }

  /** Figures since the device was opened. */
  statistics(): DevicePagesStatistics {
    let inUse = this.#gone.size;
    for (const { users } of this.#copies.values()) if (users > 0) inUse++;
    return {
      pages: this.#copies.size,
      bytes: this.#bytes,
      kept: this.#kept,
      inUse,
      hits: this.#hits,
      misses: this.#misses,
      uploads: this.#uploads,
      uploadedBytes: this.#uploadedBytes,
      uploadedRanges: this.#uploadedRanges,
      fullUploads: this.#fullUploads,
      evictions: this.#evictions,
    };
  }

  /** Checks that copies are counted, and that those that may be evicted are those that nobody uses or wants kept. */
  checkInvariants(): void {
    let bytes = 0, kept = 0, idle = 0;
    for (const [key, copy] of this.#copies) {
      assert(copy.key === key && !copy.isGone, "a copy stands in its place");
      assert(this.#idle.has(copy) === (copy.users === 0 && !copy.isKept), "idle copies are idle");
      bytes += copy.buffer.size;
      if (copy.isKept) kept++;
      if (copy.users === 0 && !copy.isKept) idle++;
      assert(this.#evicted.get(copy.arena)?.has(copy.row) !== true, "what is there is not evicted");
    }
    for (const copy of this.#gone) {
      assert(copy.isGone && copy.users > 0, "who uses a copy that is gone still has it");
      bytes += copy.buffer.size;
    }
    assert(bytes === this.#bytes && kept === this.#kept, "copies are counted");
    assert(idle === this.#idle.size, "all idle copies may be evicted");
    assert(bytes <= this.limitBytes, "copies keep their limit");
  }

  /** Holds the copies that are there, before anything is made or awaited: none of them is evicted for another. */
  #holdFound(arena: number, list: PageList): (DeviceCopy | undefined)[] {
    const copies = new Array<DeviceCopy | undefined>(list.count);
    for (let i = 0; i < list.count; i++) {
      const at = HEAD_WORDS * i, row = list.heads[at + HEAD_ROW];
      const copy = this.#copies.get(keyOf(arena, row));
      if (copy === undefined) continue;
      if (copy.bytes !== list.heads[at + HEAD_BYTES]) {
        this.#drop(copy);
        continue;
      }
      this.#hits++;
      this.#hold(copy);
      copies[i] = copy;
    }
    return copies;
  }

  async #make(arena: number, row: number, bytes: number): Promise<DeviceCopy> {
    const key = keyOf(arena, row);
    let buffer: GPUBuffer | undefined;
    // Named twice in the list, or made by somebody else while this one waited.
    for (;;) {
      const found = this.#copies.get(key);
      if (found !== undefined && found.bytes === bytes) {
        if (buffer !== undefined) this.#give(buffer);
        this.#hold(found);
        return found;
      }
      if (buffer !== undefined) break;
      buffer = await this.#buffer(bytes);
    }
    this.#drop(this.#copies.get(key));
    this.#misses++;
    const made: DeviceCopy = {
      ...{ key, arena, row, bytes, buffer },
      ...{ version: 0, users: 1, isKept: false, isGone: false },
    };
    this.#copies.set(key, made);
    this.#evicted.get(arena)?.delete(row);
    return made;
  }

  /** A buffer, with copies evicted for it as long as that helps; its bytes are counted. */
  async #buffer(bytes: number): Promise<GPUBuffer> {
    for (;;) {
      let buffer: GPUBuffer;
      try {
        buffer = await this.#pool.acquire(bytes, COPY_USAGE, "page");
      } catch (error) {
        const isFull = isMmsbError(error, "allocation") || isMmsbError(error, "limit");
        if (!isFull || !this.#evict()) throw error;
        continue;
      }
      this.#bytes += buffer.size;
      while (this.#bytes > this.limitBytes) {
        if (this.#evict()) continue;
        this.#give(buffer);
        throw new MmsbError(
          "limit",
          `Cannot keep ${bytes} bytes more on the device as ${this.#bytes} of ${this.limitBytes} are in use or kept: let pages go, or raise the limit`,
          { values: { bytes, heldBytes: this.#bytes, limitBytes: this.limitBytes } },
        );
      }
      return buffer;
    }
  }

  #give(buffer: GPUBuffer): void {
    this.#bytes -= buffer.size;
    this.#pool.release(buffer);
  }

  #hold(copy: DeviceCopy): void {
    copy.users++;
    this.#idle.delete(copy);
  }

  #release(copies: readonly (DeviceCopy | undefined)[]): void {
    for (const copy of copies) {
      if (copy === undefined || --copy.users > 0) continue;
      if (copy.isGone) {
        this.#gone.delete(copy);
        this.#give(copy.buffer);
      } else if (!copy.isKept) {
        this.#idle.add(copy);
      }
    }
  }

  #evict(): boolean {
    for (const copy of this.#idle) {
      this.#drop(copy);
      this.#evictions++;
      const rows = this.#evicted.get(copy.arena);
      if (rows === undefined) this.#evicted.set(copy.arena, new Set([copy.row]));
      else rows.add(copy.row);
      return true;
    }
    return false;
  }

  #drop(copy: DeviceCopy | undefined): void {
    if (copy === undefined) return;
    this.#copies.delete(copy.key);
    this.#idle.delete(copy);
    if (copy.isKept) this.#kept--;
    copy.isKept = false;
    copy.isGone = true;
    if (copy.users > 0) this.#gone.add(copy);
    else this.#give(copy.buffer);
  }

  async #bringUp(
    copies: readonly DeviceCopy[],
    memory: PageBytes,
    list: PageList,
  ): Promise<PageUpload> {
    const { heads } = list;
    let isInStep = true, upload = NOTHING_SENT;
    for (let i = 0; i < copies.length; i++) {
      const at = HEAD_WORDS * i, copy = copies[i];
      this.#setKept(copy, (heads[at + HEAD_FLAGS] & PAGE_KEPT) !== 0);
      if (copy.version !== heads[at + HEAD_VERSION]) isInStep = false;
    }
    try {
      if (!isInStep) {
        upload = await this.#device.checked(
          "send pages",
          () => sendPages(this.#device, copies, memory, list),
        );
      }
    } catch (error) {
      for (const copy of copies) copy.version = 0;
      throw error;
    }
    // What a job writes is not known until it says that it has written it.
    setWritten(copies, list, false);
    this.#uploads += upload.pages;
    this.#fullUploads += upload.full;
    this.#uploadedRanges += upload.ranges;
    this.#uploadedBytes += upload.bytes;
    return upload;
  }

  #setKept(copy: DeviceCopy, isKept: boolean): void {
    if (copy.isKept === isKept || copy.isGone) return;
    copy.isKept = isKept;
    this.#kept += isKept ? 1 : -1;
  }
}

function keyOf(arena: number, row: number): number {
  return arena * PAGE_ROWS_MAX + row;
}
