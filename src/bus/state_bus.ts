/**
 * State bus: pages, batches and the log put together, one tick after the other.
 *
 * A tick admits whole batches in the order (producer, sequence), checks each one against the pages,
 * stamps them with one range of time, writes them to the log, applies them and publishes. Whatever
 * fails before the log has the tick leaves everything as it was. Acknowledgements come when the
 * bus's durability is reached; ticks go on meanwhile.
 *
 * @module
 */

import {
  checkInteger,
  checkKeys,
  checkType,
  encodeUtf8,
  MmsbError,
  NAME_BYTES_MAX,
  PAGE_BYTES_DEFAULT,
  PAGE_BYTES_MAX,
  PAGE_BYTES_MIN,
  PAGE_ID_MAX,
  QUEUE_BATCHES_MAX,
  TICK_ROWS_MAX,
  UNSYNCED_BYTES_MAX,
} from "../base/mod.ts";
import {
  beginWriting,
  checkUndamaged,
  type DirectoryMeta,
  endWriting,
  FORMAT,
  FrameWriter,
  type LaneWriter,
  readMeta,
  recover,
  type Recovery,
  type Storage,
  writeMeta,
} from "../log/mod.ts";
import {
  type AllocatorStatistics,
  applyRows,
  type BatchShape,
  countEpochs,
  decodeMetadata,
  DeltaBatch,
  encodeMetadata,
  lowerEpochs,
  type Metadata,
  type MetadataInput,
  PageStore,
  raiseEpochs,
  resolve,
} from "../physical/mod.ts";
import { HybridLogicalClock, monotonicNowMs } from "../temporal/mod.ts";
import { compareStores, type StoreDifference } from "./compare.ts";
import { type HistoryEntry, pageHistory } from "./history.ts";
import {
  type BusClock,
  type Durability,
  type OpenOptions,
  type ResolvedOptions,
  resolveOptions,
  shardsOf,
} from "./options.ts";
import { Page, type PageHost } from "./page.ts";
import { Staging } from "./staging.ts";
import { batchBytesMax, INLINE_LANES, writeTick } from "./tick_log.ts";

/** What a page is created with. */
export interface PageOptions {
  /** Bytes, 1 to 16 MiB. Default 4096. */
  readonly size?: number;
  /** Name, by which {@linkcode StateBus.find} finds it; unique among live pages. */
  readonly name?: string;
  /** Metadata: short strings to bytes. */
  readonly metadata?: MetadataInput;
  /** Shard. Default: by id, round robin. */
  readonly shard?: number;
}

/** Acknowledgement of a tick. */
export interface TickAcknowledgement {
  /** Tick. */
  readonly tick: number;
  /** How durable it is. */
  readonly durability: Durability;
}

/** Acknowledgement of a submitted batch. */
export interface BatchReceipt extends TickAcknowledgement {
  /** Rows applied. */
  readonly rows: number;
  /** Producer. */
  readonly producer: number;
  /** The producer's sequence number. */
  readonly sequence: number;
}

/** A batch that a tick refused. */
export interface RefusedBatch {
  /** Producer; 0 is the caller's own open batch. */
  readonly producer: number;
  /** The producer's sequence number. */
  readonly sequence: number;
  /** Why. */
  readonly error: MmsbError;
}

/** Milliseconds of each phase of a tick. */
export interface TickPhases {
  /** Admitting and checking batches, assigning epochs. */
  readonly check: number;
  /** Building frames and writing them. */
  readonly log: number;
  /** Writing rows into pages. */
  readonly apply: number;
  /** The rest: structural changes, acknowledgements. */
  readonly publish: number;
}

/** What a tick did. */
export interface TickReport {
  /** Its number; the last tick's where nothing was accepted. */
  readonly tick: number;
  /** Rows applied. */
  readonly rows: number;
  /** Batches applied. */
  readonly batches: number;
  /** Batches refused; their receipts say the same. */
  readonly refused: readonly RefusedBatch[];
  /** Where the time went. */
  readonly phasesMs: TickPhases;
  /** Batches left for the next tick, because this one had its fill of rows. */
  readonly carriedOver: number;
  /** Milliseconds above the tick's budget, 0 if it was kept. */
  readonly overBudgetMs: number;
  /** Hybrid logical timestamp of the commit. */
  readonly hlc: bigint;
  /** Settles when the tick has the bus's durability; rejects if it cannot get it. */
  readonly durable: Promise<TickAcknowledgement>;
}

/** Counts of a bus. */
export interface BusStatistics {
  /** Last tick. */
  readonly tick: number;
  /** Pages. */
  readonly pages: number;
  /** Bytes of the pages' slots. */
  readonly pageBytes: number;
  /** Bytes of bookkeeping: the page table's columns. */
  readonly bookkeepingBytes: number;
  /** The slots. */
  readonly allocator: AllocatorStatistics;
  /** Rows applied since the bus was opened. */
  readonly rows: number;
  /** Batches refused since the bus was opened. */
  readonly refused: number;
  /** Batches waiting for a tick. */
  readonly queued: number;
  /** Rows staged for the next tick. */
  readonly staged: number;
  /** Bytes of the log, 0 in memory. */
  readonly logBytes: number;
  /** Bytes of the log that are not known to be durable. */
  readonly unsyncedBytes: number;
  /** When ticks are acknowledged. */
  readonly durability: Durability;
  /** Number of this opening of the directory; 0 in memory. */
  readonly incarnation: number;
}

/** What opening found in the directory. */
export interface OpenReport {
  /** Last whole tick. */
  readonly tick: number;
  /** Rows replayed. */
  readonly rows: number;
  /** `whole`; `torn`: an unsynced tail was cut; `damaged`: read-only, what is whole was read. */
  readonly state: "whole" | "torn" | "damaged";
  /** What was found, in words. */
  readonly reason: string;
}

/** What {@linkcode StateBus.verify} found. */
export interface VerifyReport {
  /** Last tick. */
  readonly tick: number;
  /** Rows of the log that were replayed; 0 in memory. */
  readonly rows: number;
  /** Pages whose bytes were compared with the replayed log's; in memory 0. */
  readonly compared: StoreDifference | undefined;
  /** Whether all structures keep their rules and the log leads to just these bytes. */
  readonly ok: boolean;
}

interface QueuedBatch {
  readonly batch: DeltaBatch;
  readonly producer: number;
  readonly sequence: number;
  readonly resolve: (receipt: BatchReceipt | PromiseLike<BatchReceipt>) => void;
  readonly reject: (error: unknown) => void;
}

interface Accepted extends QueuedBatch {
  readonly shape: BatchShape;
}

const OPEN_PRODUCER = 0;
const DEFAULT_PRODUCER = 1;
const PRODUCER_MAX = 0xffff_ffff;
const TICK_BYTES = 1024;

/**
 * A memory-mapped state bus.
 *
 * @example Write, commit, read, look back
 * ```ts
 * import assert from "node:assert/strict";
 * import { StateBus } from "@mmsb/mmsb";
 *
 * const dir = await Deno.makeTempDir();
 * {
 *   await using bus = await StateBus.open({ dir });
 *   const board = bus.createPage({ size: 64, name: "board" });
 *   await bus.commit(() => board.write(0, new Uint8Array([1, 2]), { source: "feed-a" }));
 * }
 * const bus = await StateBus.open({ dir });
 * assert.deepEqual([...bus.find("board")!.read(0, 2)], [1, 2]);
 * for await (const delta of bus.history(bus.find("board")!)) assert.equal(delta.source, "feed-a");
 * await bus.close();
 * await Deno.remove(dir, { recursive: true });
 * ```
 */
export class StateBus implements AsyncDisposable {
  /** What opening found. */
  readonly opened: OpenReport;
  /** Shards of the directory. */
  readonly shards: number;

  readonly #store: PageStore;
  readonly #staging = new Staging();
  readonly #clock: HybridLogicalClock;
  readonly #options: ResolvedOptions;
  readonly #storage: Storage | undefined;
  readonly #unlock: (() => void) | undefined;
  readonly #writer: LaneWriter | undefined;
  readonly #frames = new FrameWriter();
  readonly #host: PageHost;
  #meta: DirectoryMeta | undefined;
  #queue: QueuedBatch[] = [];
  #sequences = new Map<number, number>();
  #tick: number;
  #rows = 0;
  #refused = 0;
  #busy: Promise<unknown> | undefined;
  #failure: MmsbError | undefined;
  #closed: Promise<void> | undefined;

  private constructor(parts: BusParts) {
    const { options, store, storage, meta, writer, unlock, recovery } = parts;
    this.#options = options;
    this.#store = store;
    this.#storage = storage;
    this.#meta = meta;
    this.#writer = writer;
    this.#unlock = unlock;
    this.#tick = recovery?.tick ?? 0;
    this.shards = meta?.shards ?? shardsOf(options);
    this.opened = {
      tick: this.#tick,
      rows: recovery?.rows ?? 0,
      state: recovery?.end.state ?? "whole",
      reason: recovery?.end.reason ?? "",
    };
    this.#clock = new HybridLogicalClock({
      nowUs: () => options.clock.nowUs(),
      last: recovery?.hlcLast ?? 0n,
    });
    this.#host = {
      store,
      staging: this.#staging,
      checkOpen: () => this.#checkOpen(),
      checkWritable: () => this.#checkWritable(),
    };
  }

  /**
   * Opens a bus.
   *
   * @param options Where and how; nothing for a bus in memory.
   * @returns The bus, with the state of the last whole tick.
   * @throws {MmsbError} `usage` or `limit` for wrong options, `locked` where another writer has the
   * directory, `corrupt-log` where synced bytes are lost, `version` for a newer format, `read-only`,
   * `disk-full` or `io` where the directory cannot be used, `allocation` where memory is short.
   */
  // deno-lint-ignore require-await
  static async open(options: OpenOptions = {}): Promise<StateBus> {
    const resolved = resolveOptions(options);
    const store = new PageStore(resolved.memoryLimitBytes);
    const { storage } = resolved;
    if (storage === undefined) return new StateBus({ options: resolved, store });
    if (resolved.readOnly) {
      const meta = readMeta(storage);
      if (meta === undefined) refuseNoDirectory(storage);
      checkShards(storage, resolved, meta);
      return new StateBus({
        options: resolved,
        store,
        storage,
        meta,
        recovery: recover(storage, meta, store),
      });
    }
    storage.makeFolder("");
    const unlock = storage.lock();
    try {
      const meta = readMeta(storage) ?? newDirectory(storage, resolved);
      checkShards(storage, resolved, meta);
      const recovery = recover(storage, meta, store);
      checkUndamaged(storage, recovery.end);
      const begun = beginWriting(storage, meta, recovery.end, resolved);
      return new StateBus({ options: resolved, store, storage, unlock, recovery, ...begun });
    } catch (error) {
      unlock();
      throw error;
    }
  }

  /** Number of the last tick, 0 before the first. */
  get tickNumber(): number {
    return this.#tick;
  }

  /** When ticks are acknowledged. */
  get durability(): Durability {
    return this.#options.durability;
  }

  /** Whether writes are refused: opened so, or after a failed sync. */
  get readOnly(): boolean {
    return this.#options.readOnly || this.#failure !== undefined;
  }

  /** Whether the bus was closed. */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /**
   * Stages the birth of a page; the next tick makes it real.
   *
   * @param options Size, name, metadata, shard.
   * @returns Its handle; reads give zeros until then.
   * @throws {MmsbError} `usage` for wrong options or a name that is taken, `out-of-bounds` for sizes
   * that are none, `allocation` where memory is short, `closed`, `read-only`.
   */
  createPage(options: PageOptions = {}): Page {
    this.#checkWritable();
    checkKeys("createPage", options, PAGE_KEYS);
    const { size = PAGE_BYTES_DEFAULT, name = "", metadata, shard } = options;
    checkInteger("size", size, PAGE_BYTES_MIN, PAGE_BYTES_MAX);
    if (name !== "") encodeUtf8("page name", checkType("name", name, "string"), NAME_BYTES_MAX);
    if (shard !== undefined) checkInteger("shard", shard, 0, this.shards - 1);
    const copied: Metadata | undefined = metadata === undefined
      ? undefined
      : decodeMetadata(encodeMetadata(checkType("metadata", metadata, "object") as MetadataInput));
    const store = this.#store;
    const id = store.nextPageId;
    const birth = { size, name, metadata: copied, shard: shard ?? (id - 1) % this.shards };
    const row = store.create(id, birth);
    this.#staging.births.push(id);
    return new Page(this.#host, id, row);
  }

  /**
   * The handle of a page.
   *
   * @throws {MmsbError} `invalid-handle` where there is no such page.
   */
  page(id: number): Page {
    this.#checkOpen();
    checkInteger("page id", id, 1, PAGE_ID_MAX);
    const row = this.#store.table.rowOf(id);
    if (row === 0) {
      throw new MmsbError(
        "invalid-handle",
        `Cannot find page ${id}: it never was, or was deleted`,
        {
          values: { page: id },
        },
      );
    }
    return new Page(this.#host, id, row);
  }

  /** The page of a name, `undefined` where there is none. */
  find(name: string): Page | undefined {
    this.#checkOpen();
    const id = this.#store.find(checkType("name", name, "string"));
    return id === 0 ? undefined : this.page(id);
  }

  /** Handles of all pages, staged ones too, in no order that means anything. */
  *pages(): Generator<Page> {
    this.#checkOpen();
    for (const row of this.#store.table.rows()) {
      yield new Page(this.#host, this.#store.table.ids[row], row);
    }
  }

  /**
   * Queues a batch for the next tick. It belongs to the bus until the receipt settles.
   *
   * @param batch Rows; none is applied if one is bad.
   * @param options `producer`: who submits, 1 to 2^32−1, default 1; a tick takes batches in the order
   * of producers, and each producer's in the order it submitted them.
   * @returns Settles at the bus's durability, or rejects with the refusal; with `read-only` where the
   * log failed, or `closed` where the bus was closed, before a tick took the batch. A rejection that
   * nobody awaits does not end the process: the tick's report has it too.
   * @throws {MmsbError} `usage` for what is no batch or is empty or submitted already, `limit` where
   * too many wait, `closed`, `read-only`.
   */
  submit(batch: DeltaBatch, options: { readonly producer?: number } = {}): Promise<BatchReceipt> {
    this.#checkWritable();
    if (!(batch instanceof DeltaBatch)) {
      throw new MmsbError("usage", "Cannot submit: give a DeltaBatch");
    }
    checkKeys("submit", options, ["producer"]);
    const { producer = DEFAULT_PRODUCER } = options;
    checkInteger("producer", producer, DEFAULT_PRODUCER, PRODUCER_MAX);
    if (batch.submitted) {
      throw new MmsbError("usage", "Cannot submit a batch twice: await its receipt first");
    }
    if (batch.length === 0) {
      throw new MmsbError("usage", "Cannot submit an empty batch: add rows first");
    }
    if (this.#queue.length >= QUEUE_BATCHES_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot queue more than ${QUEUE_BATCHES_MAX} batches: tick first`,
        { values: { queued: this.#queue.length } },
      );
    }
    const sequence = (this.#sequences.get(producer) ?? 0) + 1;
    this.#sequences.set(producer, sequence);
    batch.submitted = true;
    const { promise, resolve, reject } = Promise.withResolvers<BatchReceipt>();
    promise.catch(() => {});
    this.#queue.push({ batch, producer, sequence, resolve, reject });
    return promise;
  }

  /**
   * Makes what is staged and queued real.
   *
   * @returns What was done, when it is applied; `report.durable` settles when it is durable.
   * @throws {MmsbError} the refusal of the caller's own open batch (other batches of the tick went
   * on; nothing of the open one stays staged); `disk-full` or `io` where the log cannot be written
   * (the tick never was, and all its batches are refused); `closed`, `read-only`.
   */
  tick(): Promise<TickReport> {
    try {
      this.#checkWritable();
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#busy !== undefined) return this.#enqueueTick(this.#busy);
    try {
      const wait = this.#waitBeforeTick();
      return wait === undefined ? Promise.resolve(this.#runTick()) : this.#enqueueTick(wait);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Stages, ticks, and waits until the tick is durable.
   *
   * @param stage Stages writes. If it throws, what it staged is taken back and nothing is ticked.
   * @throws {MmsbError} as {@linkcode StateBus.tick}, and what `stage` throws.
   */
  async commit(stage?: () => void | Promise<void>): Promise<TickReport> {
    this.#checkWritable();
    if (stage !== undefined) {
      checkType("stage", stage, "function");
      const mark = this.#staging.mark();
      try {
        await stage();
      } catch (error) {
        for (const page of this.#staging.rollBack(mark)) this.#store.remove(page);
        throw error;
      }
    }
    const report = await this.tick();
    await report.durable;
    return report;
  }

  /**
   * The deltas of a page from the log, oldest first, each with the bytes before and after.
   *
   * @param page Handle or id; deleted pages have a history too.
   * @throws {MmsbError} `usage` on a bus without a log, `invalid-handle` for an id that was never
   * given to a page, `closed`.
   */
  async *history(page: Page | number): AsyncGenerator<HistoryEntry> {
    this.#checkOpen();
    const id = page instanceof Page ? page.id : checkInteger("page id", page, 1, PAGE_ID_MAX);
    if (this.#storage === undefined) {
      throw new MmsbError("usage", "Cannot read history in memory: open the bus with a dir");
    }
    if (id >= this.#store.nextPageId) {
      throw new MmsbError("invalid-handle", `Cannot read the history of page ${id}: it never was`, {
        values: { page: id },
      });
    }
    yield* pageHistory(this.#storage, this.#meta, id);
  }

  /**
   * Checks every structure, replays the whole log into fresh memory and compares all bytes.
   *
   * @returns What was compared; `ok` is the verdict.
   * @throws {MmsbError} `corrupt-log` where the log cannot be replayed, `closed`.
   */
  async verify(): Promise<VerifyReport> {
    this.#checkOpen();
    await this.#busy;
    this.#store.checkInvariants();
    this.#clock.checkInvariants();
    if (this.#storage === undefined) {
      return { tick: this.#tick, rows: 0, compared: undefined, ok: true };
    }
    const replayed = new PageStore(this.#options.memoryLimitBytes);
    const recovery = recover(this.#storage, this.#meta, replayed);
    replayed.checkInvariants();
    const staged = new Set(this.#staging.births);
    const compared = compareStores(this.#store, replayed);
    const missing = compared.missing.filter((page) => !staged.has(page));
    const ok = recovery.tick === this.#tick && compared.divergence === 0 && missing.length === 0 &&
      compared.extra.length === 0 && compared.different.length === 0;
    return {
      tick: this.#tick,
      rows: recovery.rows,
      compared: { ...compared, missing, same: ok },
      ok,
    };
  }

  /** Counts. */
  stats(): BusStatistics {
    this.#checkOpen();
    const allocator = this.#store.allocator.statistics();
    const writer = this.#writer;
    return {
      tick: this.#tick,
      pages: this.#store.table.size,
      pageBytes: allocator.liveBytes,
      bookkeepingBytes: this.#store.table.bookkeepingBytes(),
      allocator,
      rows: this.#rows,
      refused: this.#refused,
      queued: this.#queue.length,
      staged: this.#staging.batch.length + this.#staging.structural,
      logBytes: writer?.position ?? 0,
      unsyncedBytes: writer === undefined ? 0 : writer.position - writer.syncedPosition,
      durability: this.#options.durability,
      incarnation: this.#meta?.incarnation ?? 0,
    };
  }

  /**
   * Closes the bus: waits for ticks under way, makes the log durable and records its end. What is
   * staged and was never ticked is forgotten; batches still queued, and ticks that wait for room in
   * the log, are refused with `closed`. A second call does nothing more.
   *
   * @throws {MmsbError} where the last sync fails.
   */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  /** Closes the bus, as {@linkcode StateBus.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await this.#busy?.catch(() => {});
    const closed = new MmsbError(
      "closed",
      "Cannot apply the batch: the bus was closed before a tick took it",
    );
    for (const waiting of this.#queue.splice(0)) settle(waiting, () => waiting.reject(closed));
    try {
      if (this.#writer === undefined) return;
      if (this.#failure !== undefined) this.#writer.abandon();
      else {await endWriting(
          this.#storage!,
          this.#meta!,
          this.#writer,
          this.#tick,
          this.#clock.peek(),
        );}
    } finally {
      this.#unlock?.();
    }
  }

  #enqueueTick(before: Promise<unknown>): Promise<TickReport> {
    const run = before.catch(() => {}).then(async () => {
      if (this.#closed !== undefined) throw closedError();
      this.#checkWritable();
      for (let wait = this.#waitBeforeTick(); wait !== undefined; wait = this.#waitBeforeTick()) {
        await wait.catch((error) => this.#refuseAll(error));
      }
      return this.#runTick();
    });
    const busy = run.catch(() => {}).finally(() => {
      if (this.#busy === busy) this.#busy = undefined;
    });
    this.#busy = busy;
    return run;
  }

  /**
   * What a tick must wait for: room in the log, or the disk, if it is too far behind.
   *
   * @throws {MmsbError} where the log makes no room; all that waits is then refused.
   */
  #waitBeforeTick(): Promise<void> | undefined {
    const writer = this.#writer;
    if (writer === undefined) return undefined;
    let bytes = TICK_BYTES + batchBytesMax(this.#staging.batch) + 64 * this.#staging.structural;
    for (const { batch } of this.#queue) bytes += batchBytesMax(batch);
    let room: Promise<void> | undefined;
    try {
      room = writer.reserve(bytes);
    } catch (error) {
      this.#refuseAll(error);
    }
    if (room !== undefined) return room;
    const syncs = this.#options.durability === "group";
    if (syncs && writer.position - writer.syncedPosition > UNSYNCED_BYTES_MAX) return writer.sync();
    return undefined;
  }

  #runTick(): TickReport {
    const started = monotonicNowMs();
    const admitted = this.#admit();
    const { accepted, refused, openAccepted, openError } = this.#check(admitted);
    const rows = accepted.reduce((sum, { batch }) => sum + batch.length, 0);
    const structural = openAccepted ? this.#staging.structural : 0;
    const checked = monotonicNowMs();
    this.#refused += refused.length;
    let logged = checked, applied = checked;
    let durable: Promise<TickAcknowledgement>;
    if (accepted.length > 0 || structural > 0) {
      try {
        this.#write(accepted, rows, structural, openAccepted);
      } catch (error) {
        this.#undo(accepted, openAccepted, error);
        throw error;
      }
      logged = monotonicNowMs();
      const { arena } = this.#store;
      for (const { batch, shape } of accepted) applyRows(batch.kernel, batch.length, shape, arena);
      applied = monotonicNowMs();
      this.#tick++;
      this.#rows += rows;
      if (openAccepted) this.#commitStructure();
      this.#staging.clear();
      durable = this.#acknowledge(accepted);
    } else {
      this.#staging.clear();
      durable = this.#reached(this.#tick);
    }
    if (openError !== undefined) throw openError;
    const ended = monotonicNowMs();
    const elapsed = ended - started;
    return {
      tick: this.#tick,
      rows,
      batches: accepted.length,
      refused,
      phasesMs: {
        check: checked - started,
        log: logged - checked,
        apply: applied - logged,
        publish: ended - applied,
      },
      carriedOver: this.#queue.length,
      overBudgetMs: Math.max(0, elapsed - this.#options.tickBudgetMs),
      hlc: this.#clock.peek(),
      durable,
    };
  }

  /** Takes batches off the queue in order, as many as a tick may hold. */
  #admit(): QueuedBatch[] {
    this.#queue.sort((a, b) => a.producer - b.producer || a.sequence - b.sequence);
    // One more for the commit row: each row has its own timestamp.
    let rows = this.#staging.batch.length + this.#staging.structural + 1, count = 0;
    while (count < this.#queue.length) {
      rows += this.#queue[count].batch.length;
      if (rows > TICK_ROWS_MAX && count > 0) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  /** Checks each batch against the pages as the earlier ones leave their epochs. */
  #check(admitted: readonly QueuedBatch[]) {
    const accepted: Accepted[] = [], refused: RefusedBatch[] = [];
    const { table } = this.#store;
    const staging = this.#staging;
    let openAccepted = false, openError: MmsbError | undefined;
    if (!staging.isEmpty) {
      try {
        for (const page of staging.births) table.setActive(table.rowOf(page), true);
        if (staging.batch.length > 0) accepted.push(this.#accept(this.#openBatch()));
        openAccepted = true;
      } catch (error) {
        for (const page of staging.births) this.#store.remove(page);
        openError = asMmsbError(error);
        refused.push({ producer: OPEN_PRODUCER, sequence: this.#openSequence(), error: openError });
      }
    }
    for (const queued of admitted) {
      try {
        accepted.push(this.#accept(queued));
      } catch (error) {
        const refusal = asMmsbError(error);
        refused.push({ producer: queued.producer, sequence: queued.sequence, error: refusal });
        settle(queued, () => queued.reject(refusal));
      }
    }
    return { accepted, refused, openAccepted, openError };
  }

  #accept(queued: QueuedBatch): Accepted {
    const { batch } = queued;
    const { table } = this.#store;
    const shape = resolve({
      columns: batch.kernel,
      rows: batch.length,
      payloadLength: batch.payloadLength,
      strings: batch.strings.length,
      expectedEpochs: batch.expectedEpochs,
    }, table);
    if (this.#writer === undefined) countEpochs(batch.kernel, batch.length, table.epochs);
    else raiseEpochs(batch.kernel, batch.length, table.epochs);
    return { ...queued, shape };
  }

  #openBatch(): QueuedBatch {
    const ignore = () => {};
    return {
      batch: this.#staging.batch,
      producer: OPEN_PRODUCER,
      sequence: this.#openSequence(),
      resolve: ignore,
      reject: ignore,
    };
  }

  #openSequence(): number {
    return (this.#sequences.get(OPEN_PRODUCER) ?? 0) + 1;
  }

  #write(accepted: readonly Accepted[], rows: number, structural: number, open: boolean): void {
    this.#clock.reserve(rows + structural + 1);
    const writer = this.#writer;
    if (writer === undefined || this.#meta === undefined) return;
    writeTick(this.#frames, this.#store, {
      header: {
        tick: this.#tick + 1,
        lane: 0,
        participants: INLINE_LANES,
        incarnation: this.#meta.incarnation,
        graphVersion: 0,
        clockErrorUs: clockErrorUs(this.#options.clock),
        syncedPosition: writer.syncedPosition,
      },
      staging: open ? this.#staging : undefined,
      batches: accepted,
      hlcHi: this.#clock.firstHi,
      hlcLo: this.#clock.firstLo,
    });
    writer.append(this.#frames.finish());
  }

  /** Takes a tick back that the log does not have. */
  #undo(accepted: readonly Accepted[], openAccepted: boolean, error: unknown): void {
    for (const { batch } of accepted) {
      lowerEpochs(batch.kernel, batch.length, this.#store.table.epochs);
    }
    if (openAccepted) { for (const page of this.#staging.births) this.#store.remove(page); }
    this.#staging.clear();
    for (const one of accepted) settle(one, () => one.reject(error));
    if (this.#writer?.failure !== undefined) this.#fail(this.#writer.failure);
  }

  /** Takes back all that waits for a tick, as the log cannot have it. */
  #refuseAll(error: unknown): never {
    this.#forgetWaiting(error);
    if (this.#writer?.failure !== undefined) this.#fail(this.#writer.failure);
    throw error;
  }

  #forgetWaiting(error: unknown): void {
    for (const page of this.#staging.births) this.#store.remove(page);
    this.#staging.clear();
    for (const waiting of this.#queue.splice(0)) settle(waiting, () => waiting.reject(error));
  }

  /** Turns the bus read-only for good; no tick will ever take what waits for one. */
  #fail(failure: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = asMmsbError(failure);
    this.#forgetWaiting(readOnlyError(this.#failure));
  }

  #commitStructure(): void {
    const { staging } = this.#host;
    if (staging.batch.length > 0) this.#sequences.set(OPEN_PRODUCER, this.#openSequence());
    for (const { page, metadata } of staging.metadata) this.#store.setMetadata(page, metadata);
    for (const page of staging.deaths) this.#store.remove(page);
  }

  #acknowledge(accepted: readonly Accepted[]): Promise<TickAcknowledgement> {
    const { durability } = this.#options;
    const tick = this.#tick;
    if (durability === "always") {
      try {
        this.#writer!.syncNow();
      } catch (error) {
        this.#fail(error);
        for (const one of accepted) settle(one, () => one.reject(error));
        throw error;
      }
    }
    const durable = this.#reached(tick);
    for (const one of accepted) {
      if (one.producer === OPEN_PRODUCER) continue;
      const { producer, sequence, batch } = one;
      const receipt = { tick, durability, rows: batch.length, producer, sequence };
      if (durability === "group") {
        // The batch's rows are in the log and in the pages: it is the caller's again.
        one.batch.submitted = false;
        durable.then(() => one.resolve(receipt), one.reject);
      } else {
        settle(one, () => one.resolve(receipt));
      }
    }
    return durable;
  }

  /** Settles when `tick` and all before it have the bus's durability. */
  #reached(tick: number): Promise<TickAcknowledgement> {
    const acknowledgement = { tick, durability: this.#options.durability };
    if (this.#options.durability !== "group") return Promise.resolve(acknowledgement);
    const durable = this.#writer!.sync().then(() => acknowledgement, (error) => {
      this.#fail(error);
      throw error;
    });
    durable.catch(() => {});
    return durable;
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw closedError();
  }

  #checkWritable(): void {
    if (this.#closed !== undefined) throw closedError();
    if (this.#failure !== undefined) throw readOnlyError(this.#failure);
    if (this.#options.readOnly) {
      throw new MmsbError("read-only", "Cannot write to a bus that was opened with readOnly");
    }
  }
}

const PAGE_KEYS = ["size", "name", "metadata", "shard"];

interface BusParts {
  readonly options: ResolvedOptions;
  readonly store: PageStore;
  readonly storage?: Storage;
  readonly meta?: DirectoryMeta;
  readonly writer?: LaneWriter;
  readonly unlock?: () => void;
  readonly recovery?: Recovery;
}

function settle(queued: QueuedBatch, outcome: () => void): void {
  queued.batch.submitted = false;
  outcome();
}

/** The clock's error bound as a header holds it; the largest where the clock has no answer. */
function clockErrorUs(clock: BusClock): number {
  const bound = Math.round(clock.errorUs());
  return bound >= 0 && bound <= 0xffff_ffff ? bound : 0xffff_ffff;
}

function asMmsbError(error: unknown): MmsbError {
  if (error instanceof MmsbError) return error;
  throw error;
}

function readOnlyError(failure: MmsbError): MmsbError {
  return new MmsbError(
    "read-only",
    `Cannot write as the log failed and the bus is read-only now: ${failure.message}; close it and open it again`,
    { values: { code: failure.code }, cause: failure },
  );
}

function closedError(): MmsbError {
  return new MmsbError("closed", "Cannot use a bus that was closed: open it again");
}

function refuseNoDirectory(storage: Storage): never {
  throw new MmsbError("io", `Cannot open ${storage.location} to read: there is no MMSB directory`, {
    values: { location: storage.location },
  });
}

function checkShards(storage: Storage, { shards }: ResolvedOptions, meta: DirectoryMeta): void {
  if (shards === undefined || shards === meta.shards) return;
  throw new MmsbError(
    "usage",
    `Cannot open ${storage.location} with ${shards} shards: it was made with ${meta.shards}`,
    { values: { shards, directoryShards: meta.shards } },
  );
}

function newDirectory(storage: Storage, options: ResolvedOptions): DirectoryMeta {
  const foreign = storage.list("").filter((name) => name.startsWith("lane-"));
  if (foreign.length > 0) {
    throw new MmsbError(
      "corrupt-log",
      `Cannot open ${storage.location} as "meta.json" is missing beside ${
        foreign[0]
      }: restore it from a copy`,
      { values: { location: storage.location, path: "meta.json" } },
    );
  }
  const meta: DirectoryMeta = {
    format: FORMAT,
    shards: shardsOf(options),
    incarnation: 0,
    lanes: [],
    closed: null,
  };
  writeMeta(storage, meta);
  return meta;
}
