/**
 * State bus: pages, batches, ticks and the log behind one class.
 *
 * It opens and closes directories, checks what callers give, and keeps ticks in order; the work of a
 * tick is the engine's. Acknowledgements come when the bus's durability is reached; ticks go on
 * meanwhile.
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
} from "../base/mod.ts";
import {
  beginWriting,
  checkUndamaged,
  type DirectoryMeta,
  endWriting,
  FORMAT,
  type LaneWriter,
  META_PATH,
  readMeta,
  recover,
  type Recovery,
  type Storage,
  writeMeta,
} from "../log/mod.ts";
import {
  decodeMetadata,
  DeltaBatch,
  encodeMetadata,
  type Metadata,
  type MetadataInput,
  PageStore,
} from "../physical/mod.ts";
import { HybridLogicalClock } from "../temporal/mod.ts";
import { compareStores } from "./compare.ts";
import { type HistoryEntry, pageHistory } from "./history.ts";
import {
  type Durability,
  type OpenOptions,
  type ResolvedOptions,
  resolveOptions,
  shardsOf,
} from "./options.ts";
import { Page, type PageHost } from "./page.ts";
import type {
  BatchReceipt,
  BusStatistics,
  OpenReport,
  PageOptions,
  TickReport,
  VerifyReport,
} from "./reports.ts";
import { readOnlyError, TickEngine } from "./tick_engine.ts";

const DEFAULT_PRODUCER = 1;
const PRODUCER_MAX = 0xffff_ffff;
/** Readings of a directory that seems to change under the reader. */
const READINGS_MAX = 3;

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
  readonly #clock: HybridLogicalClock;
  readonly #options: ResolvedOptions;
  readonly #storage: Storage | undefined;
  readonly #unlock: (() => void) | undefined;
  readonly #writer: LaneWriter | undefined;
  readonly #engine: TickEngine;
  readonly #host: PageHost;
  #meta: DirectoryMeta | undefined;
  #busy: Promise<unknown> | undefined;
  #closed: Promise<void> | undefined;

  private constructor(parts: BusParts) {
    const { options, store, storage, meta, writer, unlock, recovery, fault } = parts;
    this.#options = options;
    this.#store = store;
    this.#storage = storage;
    this.#meta = meta;
    this.#writer = writer;
    this.#unlock = unlock;
    this.shards = meta?.shards ?? shardsOf(options);
    this.opened = {
      tick: recovery?.tick ?? 0,
      rows: recovery?.rows ?? 0,
      state: fault === undefined ? recovery?.end.state ?? "whole" : "damaged",
      reason: fault ?? recovery?.end.reason ?? "",
    };
    this.#clock = new HybridLogicalClock({
      nowUs: () => options.clock.nowUs(),
      last: recovery?.hlcLast ?? 0n,
    });
    this.#engine = new TickEngine({
      store,
      clock: this.#clock,
      options,
      writer,
      incarnation: meta?.incarnation ?? 0,
      tick: this.opened.tick,
    });
    this.#host = {
      store,
      staging: this.#engine.staging,
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
    const { storage } = resolved;
    if (storage !== undefined && resolved.readOnly) {
      return new StateBus({ options: resolved, ...readStable(storage, resolved) });
    }
    const store = new PageStore(resolved.memoryLimitBytes);
    if (storage === undefined) return new StateBus({ options: resolved, store });
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
    return this.#engine.tick;
  }

  /** When ticks are acknowledged. */
  get durability(): Durability {
    return this.#options.durability;
  }

  /** Whether writes are refused: opened so, or after a failed sync. */
  get readOnly(): boolean {
    return this.#options.readOnly || this.#engine.failure !== undefined;
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
    this.#engine.staging.births.push(id);
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
    return this.#engine.submit(batch, producer);
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
      const wait = this.#engine.waitBeforeTick();
      return wait === undefined ? Promise.resolve(this.#engine.run()) : this.#enqueueTick(wait);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Stages, ticks, and waits until the tick is durable. Commits that run at the same time come one after
   * the other, each with its own tick.
   *
   * @param stage Stages writes, without waiting for anything. If it throws, what it staged is taken
   * back and nothing is ticked.
   * @throws {MmsbError} as {@linkcode StateBus.tick}, and what `stage` throws; `usage` where it is
   * asynchronous, because others could stage beside it.
   */
  async commit(stage?: () => void): Promise<TickReport> {
    this.#checkWritable();
    if (stage !== undefined) checkType("stage", stage, "function");
    const before = this.#busy ?? this.#engine.waitBeforeTick();
    const report = before === undefined
      ? this.#stageAndRun(stage)
      : await this.#enqueueTick(before, stage);
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
    yield* pageHistory(this.#storage, this.#meta, id, this.#engine.tick);
  }

  /**
   * Checks every structure, replays the log up to this bus's last tick into fresh memory and compares all
   * bytes.
   *
   * @returns What was compared; `ok` is the verdict.
   * @throws {MmsbError} `corrupt-log` where the log cannot be replayed, `closed`.
   */
  async verify(): Promise<VerifyReport> {
    this.#checkOpen();
    await this.#busy;
    this.#store.checkInvariants();
    this.#clock.checkInvariants();
    const { tick } = this.#engine, { state } = this.opened;
    if (this.#storage === undefined) {
      return { tick, rows: 0, compared: undefined, state, ok: true };
    }
    const replayed = new PageStore(this.#options.memoryLimitBytes);
    const recovery = recover(this.#storage, this.#meta, replayed, tick);
    replayed.checkInvariants();
    const staged = new Set(this.#engine.staging.births);
    const compared = compareStores(this.#store, replayed);
    const missing = compared.missing.filter((page) => !staged.has(page));
    const same = recovery.tick === tick && compared.divergence === 0 && missing.length === 0 &&
      compared.extra.length === 0 && compared.different.length === 0;
    const ok = same && state !== "damaged";
    return { tick, rows: recovery.rows, compared: { ...compared, missing, same }, state, ok };
  }

  /** Counts. */
  stats(): BusStatistics {
    this.#checkOpen();
    const allocator = this.#store.allocator.statistics();
    const writer = this.#writer;
    return {
      tick: this.#engine.tick,
      pages: this.#store.table.size,
      pageBytes: allocator.liveBytes,
      bookkeepingBytes: this.#store.table.bookkeepingBytes(),
      allocator,
      rows: this.#engine.rows,
      refused: this.#engine.refused,
      queued: this.#engine.queued,
      staged: this.#engine.staging.batch.length + this.#engine.staging.structural,
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
    this.#engine.forgetWaiting(closed);
    try {
      if (this.#writer === undefined) return;
      if (this.#engine.failure !== undefined) await this.#writer.abandon();
      else {await endWriting(
          this.#storage!,
          this.#meta!,
          this.#writer,
          this.#engine.tick,
          this.#clock.peek(),
        );}
    } finally {
      this.#unlock?.();
    }
  }

  /** Stages and ticks in one go, so that nobody else stages in between. */
  #stageAndRun(stage: (() => unknown) | undefined): TickReport {
    if (stage === undefined) return this.#engine.run();
    const mark = this.#engine.staging.mark();
    try {
      const result = stage();
      if (result instanceof Promise) {
        result.catch(() => {});
        throw new MmsbError(
          "usage",
          "Cannot commit an asynchronous stage as others could stage beside it: await first, then commit",
        );
      }
    } catch (error) {
      for (const page of this.#engine.staging.rollBack(mark)) this.#store.remove(page);
      throw error;
    }
    return this.#engine.run();
  }

  #enqueueTick(before: Promise<unknown>, stage?: () => unknown): Promise<TickReport> {
    const { staging } = this.#engine;
    const generation = staging.isEmpty || stage !== undefined ? -1 : staging.generation;
    const run = before.catch(() => {}).then(async () => {
      if (this.#closed !== undefined) throw closedError();
      this.#checkWritable();
      for (
        let wait = this.#engine.waitBeforeTick();
        wait !== undefined;
        wait = this.#engine.waitBeforeTick()
      ) {
        await wait.catch((error) => this.#engine.refuseAll(error));
      }
      const report = this.#stageAndRun(stage);
      // An earlier tick may have taken what was staged when this one was asked for, and refused it.
      const refusal = this.#engine.refusalOf(generation);
      if (refusal !== undefined) throw refusal;
      return report;
    });
    const busy = run.catch(() => {}).finally(() => {
      if (this.#busy === busy) this.#busy = undefined;
    });
    this.#busy = busy;
    return run;
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw closedError();
  }

  #checkWritable(): void {
    if (this.#closed !== undefined) throw closedError();
    if (this.#engine.failure !== undefined) throw readOnlyError(this.#engine.failure);
    if (this.#engine.running) {
      throw new MmsbError(
        "usage",
        "Cannot write from inside a tick, as the clock was asked there: write before it, or after",
      );
    }
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
  /** What is wrong with the metadata of a directory that is only read. */
  readonly fault?: string;
}

/**
 * Reads a directory that another process may be writing: segments grow and appear while they are read,
 * which can look like damage. Damage stays where it is, so it counts if a second reading ends at the same
 * tick; a reading that gets further shows that the end was only being written.
 */
function readStable(storage: Storage, options: ResolvedOptions): Omit<BusParts, "options"> {
  let tickBefore = -1;
  for (let attempt = 1;; attempt++) {
    try {
      const { meta, fault } = readMetaToRead(storage);
      if (meta !== undefined) checkShards(storage, options, meta);
      const store = new PageStore(options.memoryLimitBytes);
      const found = recover(storage, meta, store);
      const { state, tick } = found.end;
      if (state !== "damaged" || tick === tickBefore) {
        return { store, storage, meta, recovery: found, fault };
      }
      if (attempt >= READINGS_MAX && tickBefore >= 0) {
        const end = { ...found.end, state: "torn" as const, reason: "the log is being written" };
        return { store, storage, meta, recovery: { ...found, end }, fault };
      }
      tickBefore = tick;
    } catch (error) {
      // A prepared segment may be gone between the listing and the opening.
      const isGone = error instanceof MmsbError && error.values.systemCode === "ENOENT";
      if (!isGone || attempt >= 4 * READINGS_MAX) throw error;
    }
  }
}

/** Metadata for reading only: where it is lost or damaged the segments speak for themselves. */
function readMetaToRead(storage: Storage): { meta?: DirectoryMeta; fault?: string } {
  try {
    const meta = readMeta(storage);
    if (meta !== undefined) return { meta };
  } catch (error) {
    if (!(error instanceof MmsbError) || error.code !== "corrupt-log") throw error;
    return { fault: error.message };
  }
  const hasLanes = storage.list("").some((name) => name.startsWith("lane-"));
  if (!hasLanes) refuseNoDirectory(storage);
  return { fault: `"${META_PATH}" is missing in ${storage.location}` };
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
