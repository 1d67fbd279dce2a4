/**
 * Bus pool: buses in memory that begin in a prepared state, for tests and short simulations.
 *
 * Pages and values are built once. What they are then is kept as an image, and each lease begins
 * there again: its bus has the ids, epochs, ticks, counters and free slots of a bus that was just
 * prepared, so that the same steps lead to the same bytes. A lease has a `StateBus` of its own over
 * memory that the pool keeps, so a bus or a page that somebody held on to refuses after the release
 * and never reaches into the next lease.
 *
 * Cost: a lease and its release take some 30 µs, 10 ns a page, and the copying of pages that the lease
 * before has changed; opening a bus takes some 200 µs and what its preparation takes (`deno bench
 * bench/pool_bench.ts`).
 *
 * @module
 */

import {
  checkInteger,
  checkKeys,
  checkType,
  MEMORY_LIMIT_BYTES_MAX,
  MmsbError,
  POOL_BUSES_MAX,
  POOL_KEPT_BYTES_DEFAULT,
  POOL_WAITING_MAX,
} from "../base/mod.ts";
import { PageStore, type StoreImage } from "../physical/mod.ts";
import { busAccess, type BusPosition } from "./_inside.ts";
import type { OpenOptions, ResolvedOptions } from "./options.ts";
import { StateBus } from "./state_bus.ts";

/** How the buses of a pool are opened: always in memory of this process. */
export type PoolOpenOptions = Omit<
  OpenOptions,
  "dir" | "storage" | "durability" | "readOnly" | "arena" | "arenaDir" | "checkpoints"
>;

/** Options of {@linkcode StateBusPool}. */
export interface PoolOptions {
  /** Buses that may be out at one time, 1 to 1024; who asks for more waits for a release. */
  readonly size: number;
  /** How they are opened. */
  readonly open?: PoolOpenOptions;
  /**
   * Builds the state that every lease begins with: runs once, on a bus that is empty. What it leaves
   * staged is ticked.
   */
  readonly prepare?: (bus: StateBus) => void | Promise<void>;
  /**
   * Bytes of memory up to which a returned bus keeps what it has grown to, if that is more than the
   * prepared state needs. Default 256 MiB.
   */
  readonly keptBytesMax?: number;
}

/** Counts of a pool. */
export interface PoolStatistics {
  /** Buses that may be out at one time. */
  readonly size: number;
  /** Leases that are out, those being made among them. */
  readonly leased: number;
  /** Returned buses whose memory waits for the next lease. */
  readonly idle: number;
  /** Callers that wait. */
  readonly waiting: number;
  /** Leases given since the start. */
  readonly acquisitions: number;
  /** Memories made since the start; each further lease found one that was there. */
  readonly opened: number;
  /** Returned buses that had grown too large to be kept. */
  readonly dropped: number;
  /** Pages copied from the image since the start. */
  readonly pagesRestored: number;
  /** Their bytes. */
  readonly bytesRestored: number;
}

/** What every lease begins with. */
interface Prepared {
  readonly image: StoreImage;
  readonly position: BusPosition;
  readonly options: ResolvedOptions;
  readonly arenaBytes: number;
}

/** A bus that is yours until you release it. */
export class BusLease implements Disposable {
  #bus: StateBus | undefined;
  readonly #release: () => void;

  /** @ignore Made by the pool. */
  constructor(bus: StateBus, release: () => void) {
    this.#bus = bus;
    this.#release = release;
  }

  /**
   * The bus, in the prepared state until you change it.
   *
   * @throws {MmsbError} `closed` after the release.
   */
  get bus(): StateBus {
    if (this.#bus === undefined) {
      throw new MmsbError("closed", "Cannot use a lease that was released: acquire another one");
    }
    return this.#bus;
  }

  /** Whether it was released. */
  get released(): boolean {
    return this.#bus === undefined;
  }

  /**
   * Gives the bus back: it, its pages and its views are not yours any more, and refuse. What waits for
   * a tick is refused with `closed`.
   *
   * @throws {MmsbError} `usage` the second time, and from inside a tick.
   */
  release(): void {
    if (this.#bus === undefined) {
      throw new MmsbError("usage", "Cannot release a lease twice: it may be another one's by now");
    }
    busAccess().inside(this.#bus).end(RELEASED);
    this.#bus = undefined;
    this.#release();
  }

  /** Gives the bus back at the end of a `using`, if {@linkcode BusLease.release} has not. */
  [Symbol.dispose](): void {
    if (this.#bus !== undefined) this.release();
  }
}

const RELEASED = "Cannot use a bus whose lease was released: acquire another one";
const PREPARED = "Cannot use the bus that a pool was prepared with: acquire a lease";
const POOL_KEYS = ["size", "open", "prepare", "keptBytesMax"];
const REFUSED_KEYS = [
  "dir",
  "storage",
  "durability",
  "readOnly",
  "arena",
  "arenaDir",
  "checkpoints",
  "workers",
  "ruleTimeoutMs",
  "device",
];

/**
 * A pool of buses in memory.
 *
 * @example Two tests, one preparation
 * ```ts
 * import assert from "node:assert/strict";
 * import { StateBusPool } from "@mmsb/mmsb";
 *
 * using pool = new StateBusPool({
 *   size: 4,
 *   prepare(bus) {
 *     bus.createPage({ size: 64, name: "board" }).write(0, new Uint8Array([7]));
 *   },
 * });
 * for (let test = 0; test < 2; test++) {
 *   using lease = await pool.acquire();
 *   const board = lease.bus.find("board")!;
 *   assert.deepEqual([board.epoch, board.read(0, 1)[0]], [1, 7]);
 *   await lease.bus.commit(() => board.write(0, new Uint8Array([9])));
 * }
 * ```
 */
export class StateBusPool implements Disposable {
  readonly #size: number;
  readonly #open: PoolOpenOptions;
  readonly #prepare: PoolOptions["prepare"];
  readonly #keptBytesMax: number;
  readonly #leases = new Set<BusLease>();
  #prepared: Promise<Prepared> | undefined;
  #idle: PageStore[] = [];
  #waiting: { readonly resolve: () => void; readonly reject: (error: MmsbError) => void }[] = [];
  #out = 0;
  #closed = false;
  #acquisitions = 0;
  #opened = 0;
  #dropped = 0;
  #pagesRestored = 0;
  #bytesRestored = 0;

  /**
   * Makes a pool; nothing is opened before the first lease.
   *
   * @param options Its size, and what each bus begins with.
   * @throws {MmsbError} `usage` or `limit` for wrong options.
   */
  constructor(options: PoolOptions) {
    checkKeys("StateBusPool", checkType("options", options, "object"), POOL_KEYS);
    const { size, open = {}, prepare, keptBytesMax = POOL_KEPT_BYTES_DEFAULT } = options;
    this.#size = checkInteger("size", size, 1, POOL_BUSES_MAX, "limit");
    checkType("open", open, "object");
    const refused = REFUSED_KEYS.find((key) => Object.hasOwn(open, key));
    if (refused !== undefined) {
      throw new MmsbError(
        "usage",
        `Cannot pool buses with ${refused}: they are in memory of this process`,
        {
          values: { option: refused },
        },
      );
    }
    this.#open = open;
    if (prepare !== undefined) checkType("prepare", prepare, "function");
    this.#prepare = prepare;
    this.#keptBytesMax = checkInteger(
      "keptBytesMax",
      keptBytesMax,
      0,
      MEMORY_LIMIT_BYTES_MAX,
      "limit",
    );
  }

  /**
   * A bus in the prepared state; waits, in order, where all are out.
   *
   * @returns The lease; release it, or hold it with `using`.
   * @throws {MmsbError} `closed` where the pool is, `limit` where too many wait, and what opening and
   * preparing throws: then nothing is out, and the next call prepares again.
   */
  async acquire(): Promise<BusLease> {
    this.#checkOpen();
    if (this.#out < this.#size) this.#out++;
    else await this.#wait();
    try {
      return await this.#lease();
    } catch (error) {
      this.#passOn();
      throw error;
    }
  }

  /** Counts. */
  stats(): PoolStatistics {
    return {
      size: this.#size,
      leased: this.#out,
      idle: this.#idle.length,
      waiting: this.#waiting.length,
      acquisitions: this.#acquisitions,
      opened: this.#opened,
      dropped: this.#dropped,
      pagesRestored: this.#pagesRestored,
      bytesRestored: this.#bytesRestored,
    };
  }

  /** Releases what is out, refuses who waits, and lets all memory go. A second call does nothing. */
  close(): void {
    this.#closed = true;
    for (const lease of [...this.#leases]) lease.release();
    for (const { reject } of this.#waiting.splice(0)) reject(poolClosed());
    for (const store of this.#idle) store.close();
    this.#idle = [];
    this.#prepared = undefined;
  }

  /** Closes the pool, as {@linkcode StateBusPool.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  async #lease(): Promise<BusLease> {
    this.#checkOpen();
    const { image, position, options, arenaBytes } = await this.#whenPrepared();
    this.#checkOpen();
    const store = this.#idle.pop() ?? this.#newStore(options);
    this.#restore(store, image);
    this.#acquisitions++;
    const lease = new BusLease(busAccess().over(store, options, position), () => {
      this.#leases.delete(lease);
      const isKept = store.arena.byteLength <= Math.max(this.#keptBytesMax, arenaBytes);
      if (!isKept) this.#dropped++;
      if (isKept && !this.#closed) this.#idle.push(store);
      else store.close();
      this.#passOn();
    });
    this.#leases.add(lease);
    return lease;
  }

  /** Puts a store to the prepared state; one that could not be is half restored, and of no use to anybody. */
  #restore(store: PageStore, image: StoreImage): void {
    try {
      const { pages, bytes } = store.restore(image);
      this.#pagesRestored += pages;
      this.#bytesRestored += bytes;
    } catch (error) {
      this.#dropped++;
      store.close();
      throw error;
    }
  }

  #whenPrepared(): Promise<Prepared> {
    const prepared = this.#prepared ??= this.#build();
    prepared.catch(() => {
      if (this.#prepared === prepared) this.#prepared = undefined;
    });
    return prepared;
  }

  /** Prepares a bus, and keeps its memory for the first lease. */
  async #build(): Promise<Prepared> {
    const bus = await StateBus.open(this.#open);
    this.#opened++;
    try {
      await this.#prepare?.(bus);
      while (isWaiting(bus)) await bus.tick();
      const { store, options, position } = busAccess().inside(bus);
      const image = store.image();
      if (this.#closed) store.close();
      else this.#idle.push(store);
      return { image, position, options, arenaBytes: store.arena.byteLength };
    } finally {
      busAccess().inside(bus).end(PREPARED);
    }
  }

  #newStore({ memoryLimitBytes, spill }: ResolvedOptions): PageStore {
    this.#opened++;
    return new PageStore(memoryLimitBytes, undefined, spill);
  }

  #wait(): Promise<void> {
    if (this.#waiting.length >= POOL_WAITING_MAX) {
      throw new MmsbError("limit", `Cannot wait beside ${POOL_WAITING_MAX} others: release first`, {
        values: { waiting: this.#waiting.length },
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ resolve, reject });
    return promise;
  }

  /** Gives a place to who has waited longest, or frees it. */
  #passOn(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#out--;
    else next.resolve();
  }

  #checkOpen(): void {
    if (this.#closed) throw poolClosed();
  }
}

/** Whether something waits for a tick. */
function isWaiting(bus: StateBus): boolean {
  const { staged, queued } = bus.stats();
  return staged + queued > 0;
}

function poolClosed(): MmsbError {
  return new MmsbError("closed", "Cannot use a pool that was closed: make another one");
}
