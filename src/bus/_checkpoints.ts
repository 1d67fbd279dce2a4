/**
 * Checkpoints of one bus: one at a time, asked for or by themselves when the log has grown, and what is
 * dropped behind them.
 *
 * A checkpoint shares the thread with ticks. Where ticks run, its slices take at most a quarter of the time; where
 * they do not, it goes on at once. A program that ticks without a pause would never let the other threads'
 * results in, so while a checkpoint is under way a tick now and then waits for a turn of the event loop.
 */

import { MmsbError } from "../base/mod.ts";
import {
  type CheckpointReport,
  type DirectoryMeta,
  type LanePlace,
  type LaneSet,
  laterBase,
  listCheckpoints,
  nextTurn,
  removeBefore,
  removeCheckpoints,
  removeUnfinished,
  sleep,
  type Storage,
  storeBase,
  writeCheckpoint,
} from "../log/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import type { TickBudget } from "../propagation/mod.ts";
import { monotonicNowMs } from "../temporal/mod.ts";
import type { ResolvedCheckpoints } from "./options.ts";
import type { CheckpointStatistics } from "./reports.ts";

/** What the checkpoints of a bus are made of. */
export interface CheckpointHost {
  /** The directory. */
  readonly storage: Storage;
  /** The pages. */
  readonly store: PageStore;
  /** The log. */
  readonly writer: LaneSet;
  /** Options. */
  readonly options: ResolvedCheckpoints;
  /** Shards of the directory. */
  readonly shards: number;
  /** Where lanes end that are not written. */
  readonly otherLanes: readonly LanePlace[];
  /** Position in the log that the last checkpoint covers. */
  readonly covered: number;
  /** The last tick, its largest HLC, and the next page id after it. */
  now(): { readonly tick: number; readonly hlcLast: bigint; readonly nextPageId: number };
  /** What ticks leave of their time, if they have a budget. */
  budget?(): TickBudget;
  /** What made the log unusable, if anything did. */
  failure(): MmsbError | undefined;
  /** Metadata as it stands. */
  meta(): DirectoryMeta;
  /** Takes new metadata, which is stored. */
  setMeta(meta: DirectoryMeta): void;
}

/** While ticks run, a slice waits this many times as long as the one before it took. */
const WAIT_FACTOR = 3;
/** Longest such wait, in milliseconds. */
const WAIT_MAX_MS = 8;
/** The thread is idle when no tick ran for this long, in milliseconds. */
const IDLE_MS = 100;
/** A tick lets the event loop turn this often while a checkpoint is under way, in milliseconds. */
const TURN_MS = 2;

/** Makes the checkpoints of one bus. */
export class Checkpoints {
  readonly #host: CheckpointHost;
  #running: Promise<CheckpointReport> | undefined;
  #next: Promise<CheckpointReport> | undefined;
  #tidying: Promise<void>;
  /** Position of the log at which the next one begins by itself. */
  #dueAt: number;
  #turnAt = 0;
  #sliceTick = 0;
  #sliceMs = 0;
  /** When a tick was last seen. */
  #tickMs = -Infinity;
  #ticks: readonly number[];
  #last: CheckpointReport | undefined;
  #failure: MmsbError | undefined;

  /** Begins with a directory that was just opened to write; takes away what a crash left there. */
  constructor(host: CheckpointHost) {
    this.#host = host;
    this.#dueAt = host.covered + host.options.everyBytes;
    this.#ticks = listCheckpoints(host.storage).reverse();
    this.#tidying = this.#tidy();
  }

  /**
   * Makes a checkpoint, after the one under way; calls that wait for the same one share it.
   *
   * @throws {MmsbError} as `StateBus.checkpoint`.
   */
  make(): Promise<CheckpointReport> {
    if (!this.#isUnderWay) return this.#start();
    this.#next ??= this.#running!.catch(() => {}).then(() => {
      this.#next = undefined;
      return this.#start();
    });
    return this.#next;
  }

  /** What a tick must wait for while a checkpoint is under way; begins one where it is due. */
  beforeTick(): Promise<void> | undefined {
    if (!this.#isUnderWay) {
      if (this.#host.writer.position < this.#dueAt) return undefined;
      this.#start().catch(() => {});
    }
    const nowMs = monotonicNowMs();
    this.#tickMs = nowMs;
    if (nowMs < this.#turnAt) return undefined;
    this.#turnAt = nowMs + TURN_MS;
    return nextTurn();
  }

  /** What there is, and how the last one ended. */
  statistics(): CheckpointStatistics {
    const { base } = this.#host.meta();
    return {
      ticks: this.#ticks,
      running: this.#isUnderWay,
      last: this.#last,
      failure: this.#failure?.message,
      logFirst: (base?.tick ?? 0) + 1,
      horizon: base?.horizon ?? 0,
    };
  }

  /** Does something else with the log while no checkpoint is under way; others wait until it has ended. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    while (this.#isUnderWay) await (this.#next ?? this.#running!).catch(() => {});
    const done = this.#tidying.then(work).finally(() => {
      this.#ticks = listCheckpoints(this.#host.storage).reverse();
    });
    this.#tidying = done.then(() => {}, () => {});
    return await done;
  }

  /** Settles when no checkpoint is under way or waits. */
  async finish(): Promise<void> {
    await this.#tidying;
    while (this.#isUnderWay) await (this.#next ?? this.#running!).catch(() => {});
  }

  /** One runs, or one has ended of which the next has heard, and nobody else yet. */
  get #isUnderWay(): boolean {
    return this.#running !== undefined || this.#next !== undefined;
  }

  #start(): Promise<CheckpointReport> {
    const running = this.#run().finally(() => void (this.#running = undefined));
    this.#running = running;
    return running;
  }

  async #run(): Promise<CheckpointReport> {
    await this.#tidying;
    const { storage, store, writer, options } = this.#host;
    const { tick, hlcLast, nextPageId } = this.#host.now();
    const { incarnation } = this.#host.meta();
    const place = { tick, lanes: [...writer.places, ...this.#host.otherLanes] };
    const begun = writer.position;
    this.#dueAt = begun + options.everyBytes;
    this.#sliceTick = tick;
    this.#sliceMs = this.#tickMs = monotonicNowMs();
    try {
      const report = await writeCheckpoint(storage, {
        store,
        pack: options.pack,
        header: { place, hlcLast, nextPageId, shards: this.#host.shards, incarnation },
        tick: () => this.#host.now().tick,
        turn: () => this.#turn(),
        isIdle: () => monotonicNowMs() - this.#tickMs >= IDLE_MS,
        syncLog: () => writer.sync(),
      });
      this.#last = report;
      this.#failure = undefined;
      // At least as much log as the checkpoint is large, so that both together at most double what is written.
      if (!options.isGiven) {
        this.#dueAt = begun + Math.max(options.everyBytes, report.storedBytes);
      }
      await this.#retain();
      return report;
    } catch (error) {
      if (error instanceof MmsbError) this.#failure = error;
      throw error;
    }
  }

  /** Waits until the next slice may run. */
  async #turn(): Promise<void> {
    const ended = monotonicNowMs();
    this.#host.budget?.().noteBeside(ended - this.#sliceMs);
    const dueMs = ended + WAIT_FACTOR * (ended - this.#sliceMs);
    await nextTurn();
    if (this.#host.now().tick !== this.#sliceTick) {
      // A slice during which the system ran others looks longer than it was.
      const leftMs = Math.min(dueMs - monotonicNowMs(), WAIT_MAX_MS);
      if (leftMs > 0) await sleep(leftMs);
      // Ticks that use up their budget leave no time for this one's work.
      while (this.#host.budget?.().hasRoomBeside(monotonicNowMs()) === false) await sleep(1);
    }
    const failure = this.#host.failure();
    if (failure !== undefined) throw failure;
    this.#sliceTick = this.#host.now().tick;
    this.#sliceMs = monotonicNowMs();
  }

  async #retain(): Promise<void> {
    const { storage, options } = this.#host;
    const meta = this.#host.meta();
    // A log that was dropped before needs the checkpoint that it begins with, even if it is kept now.
    if (options.log !== "keep" || (meta.base?.tick ?? 0) > 0) {
      const base = laterBase(storage, meta, options.keep);
      if (base !== undefined) this.#host.setMeta(storeBase(storage, meta, base));
    }
    await removeCheckpoints(storage, options.keep);
    this.#ticks = listCheckpoints(storage).reverse();
    await removeBefore(storage, this.#host.meta().base, options);
  }

  /** What cannot be taken away now is tried again at the next opening. */
  async #tidy(): Promise<void> {
    const { storage, options } = this.#host;
    try {
      await removeUnfinished(storage);
      await removeBefore(storage, this.#host.meta().base, options);
    } catch (error) {
      if (!(error instanceof MmsbError)) throw error;
      this.#failure = error;
    }
  }
}
