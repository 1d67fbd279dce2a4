/**
 * Tick engine: queue, admission, checks, log and apply, one tick after the other, on one thread.
 *
 * A tick admits whole batches in the order (producer, sequence), checks each one against the pages as
 * the earlier ones leave their epochs, stamps them with one range of time, writes them to the log and
 * applies them. Whatever fails before the log has the tick leaves everything as it was; a log that
 * fails for good turns the engine read-only.
 *
 * @module
 */

import { MmsbError, QUEUE_BATCHES_MAX, TICK_ROWS_MAX, UNSYNCED_BYTES_MAX } from "../base/mod.ts";
import type { LaneSet } from "../log/mod.ts";
import {
  type ApplyBackend,
  type BatchShape,
  countEpochs,
  CPU_APPLY,
  type DeltaBatch,
  lowerEpochs,
  MARK,
  type PageStore,
  type PublishedTick,
  raiseEpochs,
  type Residency,
  resolve,
  ROW_BYTES,
} from "../physical/mod.ts";
import {
  captureRows,
  type LevelHelpers,
  noteRows,
  type RuleProgram,
  type RuleWorkers,
  TickBudget,
  TickMeter,
  Waves,
  type WorkerTeam,
} from "../propagation/mod.ts";
import { type HybridLogicalClock, physicalUsOfHalves } from "../temporal/mod.ts";
import type { BusTime } from "./_bus_time.ts";
import { DerivedRows } from "./_derived_rows.ts";
import type { TickDevice } from "./_device.ts";
import { graphVersionAfter } from "./_edges.ts";
import type { EventHub } from "./_events.ts";
import type { TickChecks } from "./_invariants.ts";
import { LaneFrames } from "./_lane_frames.ts";
import type { MemoryKeeping } from "./_memory_keeping.ts";
import { tickChannel } from "./_tick_channel.ts";
import type { ResolvedOptions } from "./options.ts";
import type {
  BatchReceipt,
  RefusedBatch,
  TickAcknowledgement,
  TickPhases,
  TickReport,
} from "./reports.ts";
import { Staging } from "./staging.ts";
import { batchBytesMax, INLINE_LANES, writeTick } from "./tick_log.ts";

interface QueuedBatch {
  readonly batch: DeltaBatch;
  readonly producer: number;
  readonly sequence: number;
  readonly resolve: (receipt: BatchReceipt | PromiseLike<BatchReceipt>) => void;
  readonly reject: (error: unknown) => void;
}

interface PendingResize {
  readonly page: number;
  readonly size: number;
  /** Slot that is waiting for it, 0 where its own will do. */
  readonly slot: number;
}

interface Accepted extends QueuedBatch {
  readonly shape: BatchShape;
  /** Whether anything depends on a page that it changes. */
  readonly isWatched: boolean;
  /** Whether workers have put it into the pages already. */
  readonly isApplied: boolean;
}

/** What workers did of a tick. */
interface SharedOut {
  /** Shapes of the good batches. */
  readonly shapes: readonly (BatchShape | undefined)[];
  /** Whether epochs are counted. */
  readonly counts: boolean;
  /** Whether the rows are in the pages. */
  readonly applies: boolean;
}

/** What the waves of a tick did, and when. */
interface WaveTick {
  /** Batches that are in the pages. */
  readonly applied: number;
  readonly derived: number;
  readonly fired: number;
  readonly applyMs: number;
  readonly propagateMs: number;
  readonly checkMs: number;
}

const NO_WAVE: WaveTick = {
  applied: 0,
  derived: 0,
  fired: 0,
  applyMs: 0,
  propagateMs: 0,
  checkMs: 0,
};

/** What a tick took. */
interface TimedTick {
  readonly rows: number;
  readonly structural: number;
  readonly bytes: number;
  readonly elapsedMs: number;
  readonly endedMs: number;
  readonly phasesMs: TickPhases;
  readonly fired: number;
}

/** What of a report is about time. */
type TickTiming = Pick<
  TickReport,
  "phasesMs" | "carriedOver" | "carriedOverRows" | "overBudgetMs"
>;

/** The producer of the caller's own open batch. */
const OPEN_PRODUCER = 0;
const TICK_BYTES = 1024;
const REFUSALS_KEPT = 64;
const NOTHING_QUEUED: QueuedBatch[] = [];

/** What an engine works on. */
export interface TickEngineParts {
  /** The pages. */
  readonly store: PageStore;
  /** The clock. */
  readonly clock: HybridLogicalClock;
  /** The time that it follows. */
  readonly time: BusTime;
  /** The bus's options. */
  readonly options: ResolvedOptions;
  /** The log, if there is one. */
  readonly writer: LaneSet | undefined;
  /** Number of this opening of the directory. */
  readonly incarnation: number;
  /** The last tick. */
  readonly tick: number;
  /** What was counted before, where the engine goes on for another one. */
  readonly counts?: EngineCounts;
  /** Where readers learn of ticks, if there are any. */
  readonly publication?: TickPublication;
  /** Who hears of what happens. */
  readonly events?: EventHub;
  /** What must hold after each tick. */
  readonly checks?: TickChecks;
  /** What is done for memory after each tick, if anything is. */
  readonly memory?: MemoryKeeping;
  /** Threads that large ticks are done with, if there are any. */
  readonly team?: WorkerTeam;
  /** Threads that run rules from modules, if there are any. */
  readonly ruleWorkers?: RuleWorkers;
  /** What runs rules of a level besides; those threads, where it is not given. */
  readonly helpers?: LevelHelpers;
  /** The GPU that batches are applied by, if there is one. */
  readonly device?: TickDevice;
}

/** Where readers in other processes learn of ticks. */
export interface TickPublication {
  /** Readers wait from here on. */
  begin(): void;
  /** Readers see how the tick left the pages; nothing happens where none began. */
  end(published: PublishedTick): void;
}

/** What an engine has counted. */
export interface EngineCounts {
  /** Rows applied. */
  readonly rows: number;
  /** Batches refused. */
  readonly refused: number;
  /** Last sequence number of each producer. */
  readonly sequences: ReadonlyMap<number, number>;
}

/** Makes what is staged and queued real. */
export class TickEngine {
  /** What is asked for and not real yet; during {@linkcode TickEngine.runAlone} what that was given. */
  staging: Staging = new Staging();
  /** What ticks take on, and what they took. */
  readonly budget: TickBudget;
  /** What the ticks took, phase by phase. */
  readonly meter: TickMeter = new TickMeter();
  /** What carries changes on to what is derived from them. */
  readonly waves: Waves;
  /** The last tick. */
  tick: number;
  /** Rows applied. */
  rows: number;
  /** Batches refused. */
  refused: number;
  /** Whether a tick is running: nothing may be staged by what it calls. */
  running = false;
  /** What made the log unusable, if anything did. */
  failure: MmsbError | undefined;

  readonly #store: PageStore;
  readonly #clock: HybridLogicalClock;
  readonly #options: ResolvedOptions;
  readonly #writer: LaneSet | undefined;
  readonly #incarnation: number;
  #publication: TickPublication | undefined;
  /** Queues what other threads have sent. */
  #intake: ((engine: TickEngine) => void) | undefined;
  readonly #events: EventHub | undefined;
  readonly #checks: TickChecks | undefined;
  readonly #memory: MemoryKeeping | undefined;
  readonly #team: WorkerTeam | undefined;
  readonly #ruleWorkers: RuleWorkers | undefined;
  readonly #device: TickDevice | undefined;
  /** What puts rows into pages. */
  readonly #apply: ApplyBackend;
  readonly #busTime: BusTime;
  /** Whether the tick has its timestamps. */
  #isStamped = false;
  /** How far they may be from true time, as a header holds it. */
  #clockErrorUs = 0xffff_ffff;
  /** The next page id as the last tick left it; ids of staged pages do not count. */
  #nextPageId: number;
  readonly #frames: LaneFrames;
  readonly #derived = new DerivedRows();
  /** Room for pages that the tick resizes, so that nothing can fail once the log has it. */
  #resizes: PendingResize[] = [];
  #queue: QueuedBatch[] = [];
  /** Why there is no room for the pages of the open batch, and of others, in the tick under way. */
  #openWithoutRoom: MmsbError | undefined;
  readonly #withoutRoom = new Map<DeltaBatch, MmsbError>();
  /** The rules whose pages stay in memory, and how many pages these were. */
  #pinned: { readonly program: RuleProgram; readonly places: number } | undefined;
  readonly #sequences: Map<number, number>;
  /** Refusals of the last few open batches, for ticks that waited meanwhile. */
  #refusals = new Map<number, MmsbError>();

  /** Begins after the last tick. */
  constructor(parts: TickEngineParts) {
    this.#store = parts.store;
    this.waves = new Waves(parts.store);
    this.#clock = parts.clock;
    this.#busTime = parts.time;
    this.#options = parts.options;
    this.#writer = parts.writer;
    this.#frames = new LaneFrames(parts.writer, parts.store, parts.team);
    this.#incarnation = parts.incarnation;
    this.#publication = parts.publication;
    this.#events = parts.events;
    this.#checks = parts.checks;
    this.#memory = parts.memory;
    this.#team = parts.team;
    this.#ruleWorkers = parts.ruleWorkers;
    this.#device = parts.device;
    this.#apply = parts.device ?? CPU_APPLY;
    this.waves.helpers = parts.helpers ?? parts.ruleWorkers;
    const { tickBudgetMs, tickRowsMax } = parts.options;
    this.budget = new TickBudget({ budgetMs: tickBudgetMs, rowsMax: tickRowsMax });
    this.#nextPageId = parts.store.nextPageId;
    this.tick = parts.tick;
    this.rows = parts.counts?.rows ?? 0;
    this.refused = parts.counts?.refused ?? 0;
    this.#sequences = new Map(parts.counts?.sequences);
  }

  /** Bytes of the room that its frames are built in; 0 without a log. */
  get frameBytes(): number {
    return this.#writer === undefined ? 0 : this.#frames.roomBytes;
  }

  /** Bytes of the rooms of the batches that wait for a tick. */
  get queuedBytes(): number {
    return this.#queue.reduce((sum, { batch }) => sum + roomOf(batch), 0);
  }

  /** What was counted so far. */
  get counts(): EngineCounts {
    return { rows: this.rows, refused: this.refused, sequences: new Map(this.#sequences) };
  }

  /** How readers in other processes see the last tick. */
  get published(): PublishedTick {
    const nextPageId = this.#nextPageId;
    return { tick: this.tick, hlc: this.#clock.peek(), nextPageId, rows: this.rows };
  }

  /** Shows ticks to other threads from now on, and takes in what they send. */
  share(publication: TickPublication, intake: (engine: TickEngine) => void): void {
    this.#publication = publication;
    this.#intake = intake;
  }

  /** Whether another batch may wait for a tick. */
  get hasRoom(): boolean {
    return this.#queue.length < QUEUE_BATCHES_MAX;
  }

  /** Batches waiting for a tick. */
  get queued(): number {
    return this.#queue.length;
  }

  /**
   * Queues a batch that was checked to be one.
   *
   * @throws {MmsbError} `limit` where too many wait.
   */
  submit(batch: DeltaBatch, producer: number): Promise<BatchReceipt> {
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
   * What a tick must wait for: room in the log, or the disk, if it is too far behind.
   *
   * @param alone An open batch that the tick takes besides.
   * @throws {MmsbError} where the log makes no room; all that waits is then refused.
   */
  waitBeforeTick(alone?: Staging): Promise<void> | undefined {
    this.#intake?.(this);
    const workers = this.#ruleWorkers?.waitBeforeTick();
    if (workers !== undefined) return workers;
    const writer = this.#writer;
    if (writer === undefined) return undefined;
    let bytes = batchBytesMax(this.staging.batch);
    if (alone !== undefined) bytes += batchBytesMax(alone.batch) + 64 * alone.structural;
    for (const { batch } of this.#queue) bytes += batchBytesMax(batch);
    const shares = this.#frames.shares(TICK_BYTES + 64 * this.staging.structural, bytes);
    let room: Promise<void> | undefined;
    try {
      room = writer.reserve(shares);
    } catch (error) {
      this.refuseAll(error);
    }
    if (room !== undefined) return room;
    const syncs = this.#options.durability === "group";
    if (syncs && writer.position - writer.syncedPosition > UNSYNCED_BYTES_MAX) return writer.sync();
    return undefined;
  }

  /**
   * Runs one tick.
   *
   * @throws {MmsbError} the refusal of the open batch, or what the log says.
   */
  run(): TickReport {
    const { residency } = this.#store;
    this.running = true;
    this.#publication?.begin();
    residency?.beginTick();
    try {
      if (residency !== undefined) this.#holdFirst(residency);
      return this.#run();
    } finally {
      this.#publication?.end(this.published);
      this.running = false;
      if (residency !== undefined) this.#letGo(residency);
      // Behind the tick, and for readers already outside of it.
      this.#memory?.afterTick(this.#store, this.tick);
    }
  }

  /**
   * Brings back and holds what the tick needs before it looks at batches: the pages of rules, and of the open batch.
   *
   * @throws {MmsbError} where there is no room for those of the rules; nothing has happened then.
   */
  #holdFirst(residency: Residency): void {
    this.#pinRules(residency);
    const { batch } = this.staging;
    this.#openWithoutRoom = batch.length > 0 ? this.#holdBatch(residency, batch) : undefined;
  }

  #letGo(residency: Residency): void {
    this.#withoutRoom.clear();
    residency.endTick();
    residency.maintain();
  }

  /** Brings back and holds the pages of a batch; gives what is against it. */
  #holdBatch(residency: Residency, batch: DeltaBatch): MmsbError | undefined {
    try {
      residency.holdPages(batch.kernel.page, batch.length);
      return undefined;
    } catch (error) {
      return asMmsbError(error);
    }
  }

  /** Keeps the pages of rules in memory: threads and columns read their slots, and no table is asked. */
  #pinRules(residency: Residency): void {
    const { waves } = this, { bindings } = this.#store;
    if (bindings.size === 0 && this.staging.rules.size === 0 && this.#pinned === undefined) return;
    // Where there is a program to be made, it reads the roots of tables.
    const { program } = waves, places = program.places();
    if (this.#pinned?.program === program && this.#pinned.places === places) return;
    residency.pinRules(program.rows());
    this.#pinned = { program, places };
  }

  /**
   * Runs one tick of another open batch and nothing else: what is staged and queued goes on waiting.
   *
   * @throws {MmsbError} as {@linkcode TickEngine.run}.
   */
  runAlone(staging: Staging): TickReport {
    const own = this.staging, queue = this.#queue, refusals = this.#refusals;
    this.staging = staging;
    this.#queue = [];
    // Its generations are its own.
    this.#refusals = new Map();
    try {
      return this.run();
    } finally {
      this.staging = own;
      this.#queue = queue;
      this.#refusals = refusals;
      // What else waits could not be refused while it was set aside.
      if (this.failure !== undefined) this.forgetWaiting(readOnlyError(this.failure));
    }
  }

  /** Settles when all ticks so far have the bus's durability. */
  durable(): Promise<TickAcknowledgement> {
    return this.#reached(this.tick);
  }

  /** Why the open batch of a generation was refused, if it was. */
  refusalOf(generation: number): MmsbError | undefined {
    return this.#refusals.get(generation);
  }

  #run(): TickReport {
    const started = this.#busTime.nowMs();
    const admitted = this.#admit();
    this.#device?.beginTick();
    const { accepted, refused, openAccepted, openError } = this.#check(admitted);
    const structural = openAccepted ? this.staging.structural : 0;
    let rows = 0, bytes = 0;
    for (const { batch } of accepted) {
      rows += batch.length;
      bytes += batch.payloadLength;
    }
    const checked = this.#busTime.nowMs();
    this.refused += refused.length;
    let logged = checked, applied = checked, wave = NO_WAVE;
    let durable: Promise<TickAcknowledgement>;
    const isWave = this.#hasWave(accepted, structural, openAccepted);
    if (accepted.length > 0 || structural > 0 || isWave) {
      try {
        if (isWave) wave = this.#runWaves(accepted, rows, structural, openAccepted, checked);
        else this.#write(accepted, rows, structural, openAccepted);
      } catch (error) {
        this.#device?.endTick(this.waves.log, false);
        this.#undo(accepted, openAccepted, error);
        throw error;
      }
      // A reading of the clock costs as much as a small tick's rows, so without a log there is none for it.
      const wavesMs = wave.applyMs + wave.propagateMs + wave.checkMs;
      logged = this.#writer === undefined ? checked + wavesMs : this.#busTime.nowMs();
      // The disk works while this thread applies: 0.47 → 0.61 of a raw write for a bulk append.
      const isGroup = this.#options.durability === "group";
      const reached = isGroup ? this.#reached(this.tick + 1) : undefined;
      const apply = this.#apply, store = this.#store;
      for (let i = wave.applied; i < accepted.length; i++) {
        const { batch, shape, isApplied } = accepted[i];
        if (!isApplied) apply.apply(batch.kernel, batch.length, shape, store);
      }
      applied = wave.applied === accepted.length ? logged : this.#busTime.nowMs();
      this.tick++;
      this.rows += rows;
      this.#nextPageId = this.#store.nextPageId;
      const staging = openAccepted ? this.staging : undefined;
      this.#events?.publish({ tick: this.tick, batches: accepted, staging, refused });
      const { devices } = this.waves;
      this.#device?.endTick(this.waves.log, true);
      if (isWave) this.waves.commit();
      if (openAccepted) this.#commitStructure();
      if (devices.length > 0) this.#device?.bringIntoStep(devices, this.#events);
      this.staging.clear();
      // Before a sync that this thread waits for.
      this.#publication?.end(this.published);
      durable = this.#acknowledge(accepted, reached);
    } else {
      this.#events?.publish({ tick: this.tick, batches: accepted, staging: undefined, refused });
      this.staging.clear();
      durable = this.#reached(this.tick);
    }
    this.#events?.settle(this.tick, durable);
    const ended = this.#busTime.nowMs();
    const phasesMs = {
      ingest: checked - started,
      log: logged - checked - wave.applyMs - wave.propagateMs - wave.checkMs,
      apply: applied - logged + wave.applyMs,
      propagate: wave.propagateMs,
      check: wave.checkMs,
      publish: ended - applied,
      maintain: this.budget.besideMs,
    };
    const timing = this.#time({
      rows,
      structural,
      bytes,
      elapsedMs: ended - started,
      endedMs: ended,
      phasesMs,
      fired: wave.fired,
    });
    if (openError !== undefined) throw openError;
    const hlc = this.#clock.peek();
    const { derived, fired } = wave, batches = accepted.length;
    const report = {
      tick: this.tick,
      rows,
      derived,
      fired,
      batches,
      refused,
      ...timing,
      hlc,
      clockErrorUs: this.#clockErrorUs,
      durable,
    };
    if (tickChannel.hasSubscribers) tickChannel.publish(report);
    return report;
  }

  /** Whether a tick has anything to carry on or to check before it is logged. */
  #hasWave(accepted: readonly Accepted[], structural: number, open: boolean): boolean {
    for (const { isWatched } of accepted) if (isWatched) return true;
    const { sizes } = this.staging;
    return this.waves.hasWork(this.tick + 1) ||
      open && sizes.size > 0 && this.waves.watches(sizes.keys()) ||
      (accepted.length > 0 || structural > 0) && this.#checks?.isDue(this.tick + 1) === true;
  }

  /** Tells of marks, and of devices that edges of type gpu lead to. */
  #noteEvents(): void {
    const events = this.#events, { waves } = this;
    if (events === undefined) return;
    for (const { page, mark, isSet } of waves.marks()) {
      if (!isSet) continue;
      if (mark === MARK.stale && events.wants("page-stale")) events.note("page-stale", page);
      if (mark !== MARK.invalidated) continue;
      if (events.wants("page-invalidated")) events.note("page-invalidated", page);
      if (events.wants("compiler-invalidated")) events.note("compiler-invalidated", page);
    }
    if (!events.wants("gpu-sync-needed")) return;
    for (const page of waves.devices) events.note("gpu-sync-needed", page);
  }

  /**
   * Applies, lets the rules run, and logs all of it; then the tick is real. What fails takes the pages back
   * to how they were.
   */
  #runWaves(
    accepted: readonly Accepted[],
    rows: number,
    structural: number,
    open: boolean,
    startedMs: number,
  ): WaveTick {
    const { waves } = this, tick = this.tick + 1;
    waves.begin(tick);
    const setsMetadata = open && this.staging.metadata.length > 0;
    waves.comingMetadata = setsMetadata ? (page) => this.staging.metadataOf(page) : undefined;
    try {
      const isDue = this.#checks?.isDue(tick) === true;
      // Behind the last batch that matters to rules the order of log and pages is free again.
      const all = isDue || open && this.staging.births.length > 0;
      const applied = all ? accepted.length : accepted.findLastIndex((one) => one.isWatched) + 1;
      for (let i = 0; i < applied; i++) {
        const { batch, shape } = accepted[i];
        this.#capture(batch, shape);
      }
      const captured = this.#busTime.nowMs();
      waves.propagate();
      if (open && this.staging.sizes.size > 0) {
        waves.resize(this.staging.living(this.staging.sizes).map(([page]) => page));
      }
      const { derived } = waves;
      const propagated = this.#busTime.nowMs();
      if (isDue) this.#runChecks(tick);
      const checked = isDue ? this.#busTime.nowMs() : propagated;
      this.#noteEvents();
      this.#write(accepted, rows, structural, open, derived);
      return {
        applied,
        derived,
        fired: waves.fired,
        applyMs: captured - startedMs,
        propagateMs: propagated - captured,
        checkMs: checked - propagated,
      };
    } catch (error) {
      waves.rollBack();
      throw error;
    }
  }

  /** Puts rows into pages, and keeps what stood there. */
  #capture({ kernel, length }: DeltaBatch, shape: BatchShape): void {
    const store = this.#store, device = this.#device, { log } = this.waves;
    if (device?.takes(length, shape) === true) {
      noteRows(kernel, length, shape, store.arena, log);
      device.apply(kernel, length, shape, store);
    } else {
      captureRows(kernel, length, shape, store.arena, log);
    }
  }

  /** Invariants may read more pages than there is memory for. */
  #runChecks(tick: number): void {
    const checks = this.#checks!, { residency } = this.#store;
    if (residency === undefined) checks.run(tick);
    else residency.reading(() => checks.run(tick));
  }

  /** Tells budget and meter what a tick took, and the report what it left. */
  #time(tick: TimedTick): TickTiming {
    const { rows, structural, bytes, elapsedMs, endedMs, phasesMs, fired } = tick;
    const ownMs = elapsedMs - phasesMs.propagate, { size: rules } = this.#store.bindings;
    this.budget.learn(
      { rows: rows + structural, bytes, ownMs, propagateMs: phasesMs.propagate, fired, rules },
      endedMs,
    );
    let carriedOverRows = 0;
    for (const { batch } of this.#queue) carriedOverRows += batch.length;
    const timing = {
      phasesMs,
      carriedOver: this.#queue.length,
      carriedOverRows,
      overBudgetMs: Math.max(0, elapsedMs - this.#options.tickBudgetMs),
    };
    this.meter.record({ ...timing, elapsedMs, rows });
    return timing;
  }

  /** Takes batches off the queue in order: as many as a tick may hold and the budget lets it, at least one. */
  #admit(): QueuedBatch[] {
    const queue = this.#queue, { batch: open, structural } = this.staging;
    if (queue.length === 0) return NOTHING_QUEUED;
    const { residency } = this.#store;
    queue.sort((a, b) => a.producer - b.producer || a.sequence - b.sequence);
    let rows = open.length + structural, bytes = open.payloadLength, count = 0;
    // One batch goes with every tick, beside what is staged: who submits one and ticks, finds it done.
    while (count < queue.length) {
      const { batch } = queue[count];
      rows += batch.length;
      bytes += batch.payloadLength;
      // One more for the commit row: each row has its own timestamp.
      if (count > 0 && (rows >= TICK_ROWS_MAX || !this.budget.fits(rows, bytes))) break;
      if (residency !== undefined) {
        const refusal = this.#holdBatch(residency, batch);
        const isForLater = refusal?.code === "memory-pressure" && (count > 0 || open.length > 0);
        if (isForLater) break;
        if (refusal !== undefined) this.#withoutRoom.set(batch, refusal);
      }
      count++;
    }
    return queue.splice(0, count);
  }

  /** Checks each batch against the pages as the earlier ones leave their epochs. */
  #check(admitted: readonly QueuedBatch[]) {
    const accepted: Accepted[] = [], refused: RefusedBatch[] = [];
    const { table } = this.#store;
    const staging = this.staging;
    let openAccepted = false, openError: MmsbError | undefined;
    if (!staging.isEmpty) {
      try {
        if (this.#openWithoutRoom !== undefined) throw this.#openWithoutRoom;
        staging.checkPages(this.#store);
        staging.edges.check(this.#store);
        const { residency } = this.#store, isOfRules = staging.rules.size + staging.edges.size > 0;
        if (residency !== undefined && isOfRules) {
          const pages = [...staging.rules.pages()];
          residency.holdPages(pages, pages.length);
        }
        staging.rules.begin(this.#store, this.waves, staging.deaths);
        staging.edges.begin(this.waves);
        if (residency !== undefined && isOfRules) this.#pinRules(residency);
        for (const page of staging.births) table.setActive(table.rowOf(page), true);
        if (staging.sizes.size > 0) {
          for (const [page, size] of staging.living(staging.sizes)) {
            this.#resizes.push({ page, size, slot: this.#store.reserveResize(page, size) });
          }
        }
        this.#store.reserveMetadata(staging.metadata);
        if (staging.batch.length > 0) accepted.push(this.#accept(this.#openBatch()));
        openAccepted = true;
      } catch (error) {
        this.#cancelResizes();
        staging.rules.takeBack(this.waves);
        staging.edges.takeBack(this.#store);
        for (const page of staging.births) this.#store.remove(page);
        openError = asMmsbError(error);
        this.#refusals.set(staging.generation, openError);
        this.#refusals.delete(staging.generation - REFUSALS_KEPT);
        refused.push({ producer: OPEN_PRODUCER, sequence: this.#openSequence(), error: openError });
      }
    }
    this.#isStamped = false;
    const shared = this.#shareOut(admitted, accepted, openAccepted);
    for (let index = 0; index < admitted.length; index++) {
      const queued = admitted[index];
      try {
        accepted.push(this.#accept(queued, shared?.shapes[index], shared));
      } catch (error) {
        const refusal = asMmsbError(error);
        refused.push({ producer: queued.producer, sequence: queued.sequence, error: refusal });
        settle(queued, () => queued.reject(refusal));
      }
    }
    return { accepted, refused, openAccepted, openError };
  }

  /**
   * Has the batches of a large tick checked by workers. Where nothing else has a say, they go on to the epochs
   * and, on a bus without a log, to the pages.
   *
   * @throws {MmsbError} `worker` where they failed at more than checking: the bus is read-only then, as what they
   * have done is not known.
   */
  #shareOut(
    admitted: readonly QueuedBatch[],
    open: readonly Accepted[],
    openAccepted: boolean,
  ): SharedOut | undefined {
    const team = this.#team;
    if (team === undefined || !team.isWorth(admitted)) return undefined;
    // They would look at all of them.
    if (this.#withoutRoom.size > 0) return undefined;
    const counts = !this.waves.isActive;
    // Rows of the open batch come first, and checks look at all of them.
    const applies = counts && this.#writer === undefined && this.#device === undefined &&
      open.length === 0 &&
      this.#checks?.isDue(this.tick + 1) !== true;
    try {
      // Nothing may fail once pages have changed, and a clock may.
      if (applies) this.#stamp(admitted);
      const epochs = this.#writer === undefined ? "count" : "note";
      const work = counts ? { epochs, apply: applies } as const : {};
      return { shapes: team.check(admitted, work), counts, applies };
    } catch (error) {
      const isOfWorkers = error instanceof MmsbError && error.code === "worker";
      // Who only checks has changed nothing.
      if (isOfWorkers && !counts) return undefined;
      for (const queued of admitted) settle(queued, () => queued.reject(error));
      this.#undo(open, openAccepted, error);
      if (isOfWorkers) this.#fail(error);
      throw error;
    }
  }

  /** Takes the timestamps of a tick before its rows are checked: of some more rows than it may have. */
  #stamp(admitted: readonly QueuedBatch[]): void {
    let rows = this.staging.structural + 1;
    for (const { batch } of admitted) rows += batch.length;
    this.#reserve(rows);
    this.#isStamped = true;
  }

  /** Takes timestamps, and the bound that goes with them. */
  #reserve(rows: number): void {
    const clock = this.#clock;
    clock.reserve(rows);
    this.#clockErrorUs = this.#busTime.boundUs(physicalUsOfHalves(clock.hi, clock.lo));
  }

  #accept(queued: QueuedBatch, checked?: BatchShape, shared?: SharedOut): Accepted {
    const { batch } = queued;
    const { table } = this.#store;
    const refusal = this.#withoutRoom.get(batch);
    if (refusal !== undefined) throw refusal;
    const shape = checked ?? resolve({
      columns: batch.kernel,
      rows: batch.length,
      payloadLength: batch.payloadLength,
      strings: batch.strings.length,
      expectedEpochs: batch.expectedEpochs,
    }, table);
    const isWatched = this.waves.admit(batch.kernel, batch.length);
    const isShared = checked !== undefined;
    if (!isShared || shared?.counts !== true) {
      if (this.#writer === undefined) countEpochs(batch.kernel, batch.length, table.epochs);
      else raiseEpochs(batch.kernel, batch.length, table.epochs);
    }
    const { producer, sequence, resolve: settled, reject } = queued;
    const isApplied = isShared && shared?.applies === true;
    return { batch, producer, sequence, resolve: settled, reject, shape, isWatched, isApplied };
  }

  #openBatch(): QueuedBatch {
    const ignore = () => {};
    return {
      batch: this.staging.batch,
      producer: OPEN_PRODUCER,
      sequence: this.#openSequence(),
      resolve: ignore,
      reject: ignore,
    };
  }

  #openSequence(): number {
    return (this.#sequences.get(OPEN_PRODUCER) ?? 0) + 1;
  }

  #write(
    accepted: readonly Accepted[],
    rows: number,
    structural: number,
    open: boolean,
    derived = 0,
  ): void {
    const marks = this.waves.marks();
    if (!this.#isStamped) this.#reserve(rows + structural + derived + marks.length + 1);
    const writer = this.#writer, wantsRows = derived > 0 && this.#events?.wantsRows === true;
    if (derived > 0 && (writer !== undefined || wantsRows)) {
      this.#derived.build(this.#store, this.waves);
      if (wantsRows) this.#events!.noteRows(this.#derived);
    }
    if (writer === undefined) return;
    writeTick(this.#frames, this.#store, {
      header: {
        tick: this.tick + 1,
        lane: 0,
        participants: INLINE_LANES,
        incarnation: this.#incarnation,
        graphVersion: graphVersionAfter(this.#store, open ? this.staging : undefined),
        clockErrorUs: this.#clockErrorUs,
        syncedPosition: writer.syncedPosition,
      },
      staging: open ? this.staging : undefined,
      batches: accepted,
      derived: derived > 0 ? this.#derived : undefined,
      marks,
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
    this.#cancelResizes();
    this.#events?.drop();
    if (openAccepted) {
      this.staging.rules.takeBack(this.waves);
      this.staging.edges.takeBack(this.#store);
      for (const page of this.staging.births) this.#store.remove(page);
    }
    this.staging.clear();
    for (const one of accepted) settle(one, () => one.reject(error));
    if (this.#writer?.failure !== undefined) this.#fail(this.#writer.failure);
  }

  /** Takes back all that waits for a tick, as the log cannot have it. */
  refuseAll(error: unknown): never {
    this.forgetWaiting(error);
    if (this.#writer?.failure !== undefined) this.#fail(this.#writer.failure);
    throw error;
  }

  /** Refuses all that waits for a tick. */
  forgetWaiting(error: unknown): void {
    this.staging.rules.takeBack(this.waves);
    this.staging.edges.takeBack(this.#store);
    for (const page of this.staging.births) this.#store.remove(page);
    this.staging.clear();
    for (const waiting of this.#queue.splice(0)) settle(waiting, () => waiting.reject(error));
  }

  /** Turns the bus read-only for good; no tick will ever take what waits for one. */
  #fail(failure: unknown): void {
    if (this.failure !== undefined) return;
    this.failure = asMmsbError(failure);
    this.#events?.fail(this.failure);
    this.forgetWaiting(readOnlyError(this.failure));
  }

  #cancelResizes(): void {
    for (const { size, slot } of this.#resizes.splice(0)) this.#store.cancelResize(size, slot);
  }

  #commitStructure(): void {
    const { staging } = this;
    if (staging.batch.length > 0) this.#sequences.set(OPEN_PRODUCER, this.#openSequence());
    for (const { page, metadata } of staging.metadata) this.#store.setMetadata(page, metadata);
    if (this.#resizes.length > 0) {
      for (const { page, size, slot } of this.#resizes.splice(0)) {
        this.#store.finishResize(page, size, slot);
      }
    }
    for (const [page, shard] of staging.living(staging.shards)) this.#store.migrate(page, shard);
    staging.edges.commit(this.#store.edges);
    staging.rules.commit(this.#store);
    if (staging.deaths.size > 0) this.#store.removeAll(staging.deaths);
  }

  #acknowledge(
    accepted: readonly Accepted[],
    reached: Promise<TickAcknowledgement> | undefined,
  ): Promise<TickAcknowledgement> {
    const { durability } = this.#options;
    const tick = this.tick;
    if (durability === "always") {
      try {
        this.#writer!.syncNow();
      } catch (error) {
        this.#fail(error);
        for (const one of accepted) settle(one, () => one.reject(error));
        throw error;
      }
    }
    const durable = reached ?? this.#reached(tick);
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
}

/** Bytes of a batch's columns and payload, used or not. */
export function roomOf(batch: DeltaBatch): number {
  return batch.rowsMax * ROW_BYTES + batch.payload.length;
}

function settle(queued: QueuedBatch, outcome: () => void): void {
  queued.batch.submitted = false;
  outcome();
}

function asMmsbError(error: unknown): MmsbError {
  if (error instanceof MmsbError) return error;
  throw error;
}

/** What a write is told after the log failed. */
export function readOnlyError(failure: MmsbError): MmsbError {
  return new MmsbError(
    "read-only",
    `Cannot write as the log failed and the bus is read-only now: ${failure.message}; close it and open it again`,
    { values: { code: failure.code }, cause: failure },
  );
}
