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
  MmsbError,
  PAGE_BYTES_DEFAULT,
  PAGE_BYTES_MAX,
  PAGE_BYTES_MIN,
  PAGE_ID_MAX,
} from "../base/mod.ts";
import {
  type CheckpointReport,
  type CompactionReport,
  compactLog,
  type DirectoryMeta,
  endWriting,
  hasStructure,
  type LanePlace,
  type LaneSet,
  type LogPlace,
  type Recovery,
  type Storage,
} from "../log/mod.ts";
import { type GraphOperation, GraphView, IncrementalOrder } from "../graph/mod.ts";
import {
  type DeltaBatch,
  type EdgeType,
  type PageStore,
  SharedImageReader,
} from "../physical/mod.ts";
import type { Fields, StructSchema, TableSchema } from "../schema/mod.ts";
import { DurationHistogram, RuleWorkers, WorkerTeam } from "../propagation/mod.ts";
import { HybridLogicalClock } from "../temporal/mod.ts";
import { attachedStatistics, copyAttached, verifyAttached } from "./_attached.ts";
import { type BirthOptions, checkBirth, stageBirth } from "./_births.ts";
import { Checkpoints } from "./_checkpoints.ts";
import { type Explainable, Explainer } from "./_explain.ts";
import { pageOfId, pageOfName, pagesOf } from "./_finding.ts";
import {
  refuseAttached,
  type Region,
  regionId,
  stageEdge,
  stageOperations,
  stageRemoval,
} from "./_edges.ts";
import { BusTime } from "./_bus_time.ts";
import { EventHub } from "./_events.ts";
import { Followers } from "./_followers.ts";
import { endHandles, type MutableHost, newHost } from "./_host.ts";
import { giveAccess } from "./_inside.ts";
import { coldPages, figuresOf } from "./_memory_figures.ts";
import { MemoryKeeping, type ReclaimReport } from "./_memory_keeping.ts";
import { type Invariant, type InvariantOptions, Invariants } from "./_invariants.ts";
import type { BusImage } from "./_mapped_image.ts";
import { type BusParts, openParts, openReport, releaseParts } from "./_opening.ts";
import { processMemory } from "./_platform.ts";
import { type BusRun, Running, type RunOptions, type RunReport } from "./_running.ts";
import { type RuleCode, type RuleHandle, type RuleOptions, Rules } from "./_rules.ts";
import { checkProducer, Sending } from "./_sending.ts";
import { checkShared, type SharedBus, Sharing } from "./_sharing.ts";
import { TickOrder } from "./_tick_order.ts";
import { type TransactionOptions, Transactions } from "./_transactions.ts";
import { runUpsert, type UpsertPlan, type UpsertReceipt } from "./_upsert.ts";
import { verifyAgainstLog } from "./_verifying.ts";
import { AttachedReader } from "./attached_reader.ts";
import type { OpenedDevice } from "./_device.ts";
import { BusDevice } from "./device.ts";
import { diffStores, type StateDifference } from "./diff.ts";
import { digestOfStore } from "./digest.ts";
import { recordEvents } from "./event_page.ts";
import { type BusEvent, type BusEventKind, type EventFilter, EventStream } from "./events.ts";
import type { ExplainOptions, Explanation } from "./explanation.ts";
import { checkFollow, type FollowedDelta, Follower, type FollowOptions } from "./follow.ts";
import { Forward, placeOf } from "./forward.ts";
import { type HistoryOptions, noLog, PageHistory } from "./history.ts";
import type { MemoryReport, MemoryTracking } from "./memory_report.ts";
import {
  checkReclaimBudget,
  type Durability,
  type OpenOptions,
  type ResolvedOptions,
  resolveOptions,
  shardsOf,
} from "./options.ts";
import { Page } from "./page.ts";
import type { PageMoment } from "./page_past.ts";
import { type Moment, Past, type PastState } from "./past.ts";
import type {
  BatchReceipt,
  BusStatistics,
  OpenReport,
  PageOptions,
  RefreshReport,
  TickReport,
  VerifyReport,
} from "./reports.ts";
import { runSnapshot, type Snapshot } from "./snapshot.ts";
import { createStruct, openStruct, type Struct } from "./struct.ts";
import { createTable, openTable, type Table, tablePages } from "./table.ts";
import { type EngineCounts, readOnlyError, roomOf, TickEngine } from "./tick_engine.ts";
import type { Transaction, TransactionDefaults } from "./transaction.ts";

const PAGE_KEYS = ["size", "name", "metadata", "shard"];
const NO_DEVICE = 'the bus was opened with device "cpu"';

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

  #store: PageStore;
  #time: BusTime;
  #clock: HybridLogicalClock;
  readonly #options: ResolvedOptions;
  readonly #storage: Storage | undefined;
  readonly #unlock: (() => void) | undefined;
  readonly #writer: LaneSet | undefined;
  #engine: TickEngine;
  #host: MutableHost;
  #meta: DirectoryMeta | undefined;
  #closed: Promise<void> | undefined;
  /** The mapped file that this bus writes to, if it has one. */
  readonly #image: BusImage | undefined;
  /** The mapped file of another process that this bus reads, if it does. */
  readonly #attached: AttachedReader | undefined;
  /** What a closed bus says, where it was not its user who closed it. */
  #endMessage: string | undefined;
  /** What the bus asks of its log; none in memory. */
  readonly #past: Past | undefined;
  /** Takes a bus that only reads forward; none otherwise. */
  readonly #forward: Forward | undefined;
  /** The checkpoints of a bus that writes to a directory. */
  readonly #checkpoints: Checkpoints | undefined;
  /** Where the log ended when the bus was opened. */
  readonly #opening: LogPlace;
  readonly #followers: Followers;
  /** Compactions under way, and those that wait. */
  readonly #compactions = new Set<Promise<unknown>>();
  readonly #ticks: TickOrder;
  /** The threads that the bus was shared with. */
  #sharing: Sharing | undefined;
  /** Sends batches to the bus of another thread, where this one is attached to it. */
  readonly #sending: Sending | undefined;
  /** Threads that large ticks are done with. */
  readonly #team: WorkerTeam | undefined;
  readonly #ruleWorkers: RuleWorkers | undefined;
  /** The GPU, or why there is none, where one was asked for. */
  readonly #opened: OpenedDevice | undefined;
  #device: BusDevice | undefined;
  #rules: Rules;
  #graph: GraphView | undefined;
  readonly #events: EventHub;
  readonly #invariants: Invariants;
  readonly #memory: MemoryKeeping;
  /** Whether the store ends with the bus; that of a pool does not. */
  readonly #ownsStore: boolean;
  /** How long pages and room for them were waited for, where pages are spilled. */
  readonly #spillPauses: DurationHistogram | undefined;
  readonly #running: Running;
  readonly #transactions: Transactions;
  readonly #explainer: Explainer;

  static {
    giveAccess({
      inside: (bus) => ({
        store: bus.#store,
        options: bus.#options,
        position: {
          tick: bus.#engine.tick,
          hlc: bus.#clock.peek(),
          ...bus.#engine.counts,
        },
        askInvariants: () => bus.#invariants.ask(bus.tickNumber),
        end: (message) => bus.#end(message),
      }),
      over: (store, options, position) => new StateBus({ store, options, position }),
      open: (options) => StateBus.#open(options),
    });
  }

  private constructor(parts: BusParts) {
    const { options, store, storage, meta, writer, unlock, recovery } = parts;
    this.#options = options;
    this.#store = store;
    this.#storage = storage;
    this.#meta = meta;
    this.#writer = writer;
    this.#unlock = unlock;
    this.#image = parts.opened?.image;
    this.#attached = parts.attached;
    this.#sending = parts.sending;
    this.shards = meta?.shards ?? shardsOf(options);
    this.#time = new BusTime(options.clock);
    const { position } = parts;
    const last = position?.hlc ?? recovery?.hlcLast;
    this.#clock = newClock(this.#time, last);
    const clock = options.readOnly ? undefined : this.#time.report(last ?? 0n);
    this.opened = { ...openReport(parts), ...(clock && { clock }) };
    this.#opened = parts.device;
    this.#team = parts.team instanceof WorkerTeam ? parts.team : undefined;
    if (this.#team !== undefined) {
      const { workers, ruleTimeoutMs: timeoutMs } = options;
      this.#ruleWorkers = new RuleWorkers(store, { workers, timeoutMs });
    }
    const tick = position?.tick ?? this.opened.tick;
    this.#events = new EventHub(store, tick, options.durability === "group");
    this.#invariants = this.#newInvariants();
    this.#memory = new MemoryKeeping(options.reclaimBudgetMs);
    this.#ownsStore = parts.position === undefined;
    if (store.residency !== undefined) {
      this.#spillPauses = store.residency.pauses = new DurationHistogram();
      // Pages were filled while ticks did not count.
      store.ages?.clear(tick);
    }
    this.#running = this.#newRunning();
    this.#transactions = this.#newTransactions();
    this.#engine = this.#newEngine(tick, position);
    this.#host = this.#newHost();
    this.#rules = this.#newRules();
    this.#past = this.#newPast(parts);
    this.#explainer = this.#newExplainer();
    this.#forward = this.#newForward(parts);
    this.#opening = placeOf(recovery?.end);
    this.#checkpoints = this.#newCheckpoints(recovery);
    this.#followers = this.#newFollowers();
    this.#ticks = this.#newTicks();
    this.#image?.show(meta?.incarnation ?? 0, this.#engine.published);
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
  static async open(options: OpenOptions = {}): Promise<StateBus> {
    return await StateBus.#open(resolveOptions(options));
  }

  static async #open(options: ResolvedOptions): Promise<StateBus> {
    const parts = await openParts(options);
    try {
      return new StateBus(parts);
    } catch (error) {
      releaseParts(parts);
      throw error;
    }
  }

  /**
   * Joins the bus of another thread: reads its pages, each reading at one tick, and sends it batches. Ticks,
   * and all that creates or deletes, stay with the thread of the bus.
   *
   * @param shared What {@linkcode StateBus.share} gave there, as it came by a message.
   * @param options `producer`: number under which batches are sent, 1 to 2^32−1; a number of its own, from
   * 65,536 on, where none is given. Ticks take batches in the order of these numbers.
   * @returns A bus that reads and sends; close it.
   * @throws {MmsbError} `usage` for what is no handle.
   */
  static attach(
    shared: SharedBus,
    options: { readonly producer?: number } = {},
  ): StateBus {
    const parts = checkShared(shared), { image } = parts;
    checkKeys("attach", options, ["producer"]);
    const sending = new Sending(parts, checkProducer(options.producer));
    const attached = AttachedReader.over(new SharedImageReader(image));
    const { limitBytes: memoryLimitBytes } = image.pages, { shards } = image;
    const own = { ...resolveOptions({ memoryLimitBytes, shards }), readOnly: true };
    return new StateBus({ options: own, store: attached.store, attached, sending });
  }

  /**
   * A handle for other threads of this process: post it to a worker, and call {@linkcode StateBus.attach}
   * there. It may be posted to several; each call lets 8 more threads send batches.
   *
   * @throws {MmsbError} `usage` where the pages stand in a mapped file (open the directory with `readOnly` and
   * `arena: "mmap"` there), or on a bus that only reads; `allocation`, `closed`.
   *
   * @example A reader; it would be in another thread
   * ```ts
   * import assert from "node:assert/strict";
   * import { DeltaBatch, StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const page = bus.createPage({ size: 16, name: "board" });
   * await bus.commit(() => page.write(0, Uint8Array.of(7)));
   *
   * await using there = StateBus.attach(structuredClone(bus.share()));
   * assert.equal(there.find("board")!.read(0, 1)[0], 7);
   * const batch = new DeltaBatch({ rows: 1, payloadBytes: 8 });
   * batch.push(page.id, 0, Uint8Array.of(8));
   * const receipt = there.submit(batch);
   * await bus.tick();
   * assert.equal((await receipt).tick, there.tickNumber);
   * ```
   */
  share(): SharedBus {
    this.#checkWritable();
    if (this.#store.residency !== undefined) {
      throw new MmsbError(
        "usage",
        "Cannot share a bus that spills pages, as other threads read them by themselves: open it without spill",
      );
    }
    if (this.#sharing === undefined) {
      this.#sharing = new Sharing({
        store: this.#store,
        shards: this.shards,
        incarnation: this.#meta?.incarnation ?? 0,
        published: this.#engine.published,
      });
      this.#shareEngine();
    }
    return this.#sharing.handle();
  }

  #shareEngine(): void {
    const sharing = this.#sharing;
    if (sharing !== undefined) {
      this.#engine.share(sharing.image, (engine) => sharing.takeIn(engine));
    }
  }

  /** Number of the last tick, 0 before the first. */
  get tickNumber(): number {
    const attached = this.#closed === undefined ? this.#attached : undefined;
    return attached === undefined ? this.#engine.tick : attached.tick;
  }

  /**
   * Whether a writer keeps up what this bus shows: itself, or the one that it is attached to. False for
   * a bus that read a log and stays at its tick, and where the writer closed or died.
   */
  get live(): boolean {
    if (this.#closed !== undefined) return false;
    return this.#attached === undefined ? !this.readOnly : this.#attached.isLive;
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
    const { size = PAGE_BYTES_DEFAULT } = options;
    checkInteger("size", size, PAGE_BYTES_MIN, PAGE_BYTES_MAX);
    return stageBirth(this.#host, size, checkBirth(this.#host, options));
  }

  /**
   * Creates a struct; the next tick makes it real. Where there is one of that name already it is opened,
   * and fields that the schema adds at the end are added to it.
   *
   * @typeParam F Names and types of the fields.
   * @param schema From {@linkcode struct}.
   * @param options Name, metadata, shard; the latter two count for a new struct only.
   * @returns Its handle; all fields are zero until they are set.
   * @throws {MmsbError} `usage` where the page of that name is no struct, or its fields differ in any
   * other way (the first that does is named); otherwise as {@linkcode StateBus.createPage}.
   *
   * @example Fields added in a later version of a program
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus, struct } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const old = bus.create(struct({ bid: "f64" }), { name: "AAPL" });
   * await bus.commit(() => old.set({ bid: 187.2 }));
   * const quote = bus.create(struct({ bid: "f64", ask: "f64" }), { name: "AAPL" });
   * await bus.tick();
   * assert.deepEqual(quote.get(), { bid: 187.2, ask: 0 });
   * assert.throws(() => bus.create(struct({ bid: "f32" }), { name: "AAPL" }), /"bid" is f64 there/);
   * ```
   */
  create<F extends Fields>(schema: StructSchema<F>, options: BirthOptions = {}): Struct<F> {
    return createStruct(this.#host, schema, options);
  }

  /**
   * Opens the struct of a name. Fields that the schema adds read as zero, and are added by the first
   * write to one of them, so a bus that is only read can be asked with a newer schema.
   *
   * @typeParam F Names and types of the fields.
   * @throws {MmsbError} `invalid-handle` where there is none; otherwise as {@linkcode StateBus.create}.
   */
  struct<F extends Fields>(schema: StructSchema<F>, name: string): Struct<F> {
    return openStruct(this.#host, schema, name);
  }

  /**
   * Creates a table; the next tick makes it real. Where there is one of that name already it is opened,
   * and columns that the schema adds at the end are added to it; older rows have zeros there.
   *
   * @typeParam F Names and types of the columns.
   * @param schema From {@linkcode table}.
   * @param options Name, metadata, shard (of all its pages); the latter two count for a new table only.
   * @returns Its handle.
   * @throws {MmsbError} as {@linkcode StateBus.create}.
   */
  createTable<F extends Fields>(schema: TableSchema<F>, options: BirthOptions = {}): Table<F> {
    return createTable(this.#host, schema, options);
  }

  /**
   * Opens the table of a name, as {@linkcode StateBus.struct} opens a struct.
   *
   * @typeParam F Names and types of the columns.
   * @throws {MmsbError} `invalid-handle` where there is none; otherwise as {@linkcode StateBus.create}.
   */
  table<F extends Fields>(schema: TableSchema<F>, name: string): Table<F> {
    return openTable(this.#host, schema, name);
  }

  /**
   * The handle of a page.
   *
   * @throws {MmsbError} `invalid-handle` where there is no such page.
   */
  page(id: number): Page {
    this.#checkOpen();
    return pageOfId(this.#host, id);
  }

  /** The page of a name, `undefined` where there is none. */
  find(name: string): Page | undefined {
    this.#checkOpen();
    return pageOfName(this.#host, name);
  }

  /** Handles of all pages, staged ones too, in no order that means anything. */
  *pages(): Generator<Page> {
    this.#checkOpen();
    yield* pagesOf(this.#host);
  }

  /**
   * Stages an edge: `target` depends on `source`. It counts in the next tick already, and is part of the graph when
   * that has taken it; a cycle is refused at once, counting what is staged.
   *
   * @param source A page, a struct, a table or a page's id.
   * @param target Another one.
   * @param type `data`: recompute; `control`: stale until read; `gpu`: device sync; `compiler`: invalidate.
   * @throws {MmsbError} `cycle` where it would close one (`values.cycle` has the ids of its pages), `usage` for an
   * edge that is there, from a page to itself, or to a page of another bus, `invalid-handle` for pages that are
   * not there or about to be deleted, `closed`, `read-only`. Nothing is staged then.
   *
   * @example Who depends on whom
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const [quote, mid] = [bus.createPage({ size: 16 }), bus.createPage({ size: 8 })];
   * bus.edge(quote, mid, "data");
   * await bus.tick();
   * assert.deepEqual(bus.graph.edgesOut(quote), [{ from: quote.id, to: mid.id, type: "data" }]);
   * assert.throws(() => bus.edge(mid, quote, "control"), { code: "cycle" });
   * ```
   */
  edge(source: Region, target: Region, type: EdgeType): void {
    stageEdge(this.#host, source, target, type);
  }

  /**
   * Binds a rule to pages: from the next tick on its outputs are what it makes of its inputs, brought up to
   * date in each tick that changes them. The binding is part of the directory and its log; the code is not.
   * After an opening the rule is detached until a program binds it again with the same name: with the
   * same version and pages it goes on where it was, otherwise its outputs are computed anew. See
   * docs/rules.md.
   *
   * @param code What {@linkcode defineRule} made, which runs on this thread; or the URL of a module that
   * exports it, which is loaded before the next tick and can run on workers. A rule with a shader (`wgsl`) can stand here as it
   * is; on a bus with a device that runs in place of `compute`, in the same tick, to the same integers and to floats
   * within its tolerance (docs/gpu.md).
   * @param binding Name, inputs, outputs; state, parameters, mode; `replace`, to put it in the place of the rule
   * of that name in one step.
   * @returns The rule's handle.
   * @throws {MmsbError} `usage` for wrong options, a page that another rule writes (`values.other` is its
   * name), a table as output, a name that is taken, parameters that JSON would not give back (`values.path`);
   * `cycle` where an output leads to an input, or is one;
   * `invalid-handle`, `limit`, `closed`, `read-only`. Nothing is staged then.
   *
   * @example A sum that is kept up to date
   * ```ts
   * import assert from "node:assert/strict";
   * import { defineRule, StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const [a, b, sum] = [8, 8, 8].map((size) => bus.createPage({ size }));
   * const add = defineRule({
   *   compute: (ctx) =>
   *     ctx.output(0).setFloat64(0, ctx.input(0).getFloat64(0) + ctx.input(1).getFloat64(0)),
   * });
   * const rule = bus.rule(add, { name: "sum", inputs: [a, b], outputs: [sum] });
   * await bus.commit(() => a.combine("f64", "add", 0, 2));
   * await bus.commit(() => b.combine("f64", "add", 0, 3));
   * assert.equal(new DataView(sum.read().buffer).getFloat64(0, true), 5);
   * assert.equal(rule.fired, 2);
   * ```
   */
  rule(code: RuleCode, binding: RuleOptions): RuleHandle {
    return this.#rules.bind(code, binding);
  }

  /**
   * Stages removing an edge; it is gone when the next tick has taken it. One that is only staged is taken back.
   *
   * @throws {MmsbError} `invalid-handle` where there is no such edge or page, `usage` where a rule needs it;
   * otherwise as {@linkcode StateBus.edge}.
   */
  removeEdge(source: Region, target: Region, type: EdgeType): void {
    stageRemoval(this.#host, source, target, type);
  }

  /**
   * Stages a list of changes of the graph, all or none: pages and edges added and removed, each checked against
   * what those before it leave.
   *
   * @param operations A list, or a {@linkcode GraphBuilder}.
   * @returns Handles of the pages that `add-page` operations speak of.
   * @throws {MmsbError} as {@linkcode StateBus.edge}, {@linkcode StateBus.createPage} and
   * {@linkcode Page.delete}; `values.index` is the operation's place in the list. Nothing is staged then.
   */
  changeGraph(operations: Iterable<GraphOperation>): Page[] {
    return stageOperations(this.#host, operations);
  }

  /** The GPU of the bus: what it is, whether it is used, and which pages have copies there. */
  get device(): BusDevice {
    return this.#device ??= new BusDevice({
      status: () =>
        this.#opened?.status() ?? { asked: "cpu", uses: "cpu", reason: NO_DEVICE, lost: 0 },
      pages: this.#opened?.pages,
      pagesOf: (region) => {
        const id = regionId(this.#host, "page", region);
        return this.#engine.waves.isTable(id) ? this.#host.tablePages(id) : [id];
      },
      checkWritable: () => this.#checkWritable(),
    });
  }

  /** The graph as the last tick left it: what depends on what, in which order, and drawn. */
  get graph(): GraphView {
    return this.#graph ??= new GraphView(() => {
      this.#checkOpen();
      refuseAttached(this.#host);
      return this.#store;
    });
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
    if (this.#sending === undefined) this.#checkWritable();
    else this.#checkOpen();
    return this.#ticks.submit(batch, options, this.#sending);
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
    return this.#ticks.tick();
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
    return await this.#ticks.commit(stage);
  }

  /**
   * Ticks at a steady pace until {@linkcode StateBus.stop} or `close`. The pace does not drift; a bus that falls
   * behind catches up one tick and leaves the others out. While it runs it keeps the process alive.
   *
   * @param options `intervalMs` between ticks; `onTick` gets their reports, `onError` what they throw. Ticks
   * that throw do not end the run, unless the bus cannot tick any more.
   * @returns The run: its counts, `done`, and an end with `await using`.
   * @throws {MmsbError} `usage` where it runs already, or for wrong options; `closed`, `read-only`.
   *
   * @example Three ticks
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const page = bus.createPage({ size: 8 });
   * const run = bus.run({
   *   intervalMs: 1,
   *   onTick: ({ tick }) => tick < 3 ? page.write(0, Uint8Array.of(tick)) : void bus.stop(),
   * });
   * const { errors } = await run.done;
   * assert.deepEqual([bus.tickNumber, errors], [3, 0]);
   * ```
   */
  run(options: RunOptions): BusRun {
    this.#checkWritable();
    return this.#running.start(options);
  }

  /**
   * Ends the run, if there is one.
   *
   * @returns What it did, when its last tick is done; `undefined` where the bus never ran.
   */
  stop(): Promise<RunReport | undefined> {
    return this.#running.stop();
  }

  /**
   * Begins a transaction: reads and writes that become real together, in a tick of their own.
   *
   * @param options Source and intent of writes that state none.
   * @throws {MmsbError} `usage` for wrong options, `limit` where too many are open, `closed`, `read-only`.
   *
   * @example Take it back, or lose against another
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const page = bus.createPage({ size: 8 });
   * await bus.tick();
   * const tx = bus.begin();
   * const [old] = tx.read(page, 0, 1);
   * tx.write(page, 0, Uint8Array.of(old + 1));
   * assert.equal(tx.read(page, 0, 1)[0], 1);
   * await bus.commit(() => page.write(0, Uint8Array.of(7)));
   * await assert.rejects(tx.commit(), { code: "transaction-conflict" });
   * assert.equal(page.read(0, 1)[0], 7);
   * ```
   */
  begin(options: TransactionDefaults = {}): Transaction {
    this.#checkWritable();
    return this.#transactions.begin(options);
  }

  /**
   * Runs a function in a transaction and commits it; where something that it read was changed meanwhile, it is
   * run again, after a wait that grows. What it throws rolls everything back.
   *
   * @typeParam T What the function gives.
   * @param work Reads and writes through `tx`. It may be run several times.
   * @param options `attempts`, `timeoutMs`, source and intent of writes that state none.
   * @returns What `work` gave in the run that committed, when its tick has the bus's durability.
   * @throws {MmsbError} `transaction-conflict` where it lost as often as it may, with the page and both epochs;
   * `limit` where its time is up; what `work` throws; otherwise as {@linkcode Transaction.commit}.
   *
   * @example Money from one account to another
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus, struct } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const Account = struct({ cents: "i32" });
   * const [a, b] = ["a", "b"].map((name) => bus.create(Account, { name }));
   * await bus.commit(() => a.set({ cents: 100 }));
   * const transfer = (cents: number) =>
   *   bus.transaction((tx) => {
   *     tx.set(a, { cents: tx.get(a, "cents") - cents });
   *     tx.set(b, { cents: tx.get(b, "cents") + cents });
   *   }, { source: "teller" });
   * await Promise.all([transfer(10), transfer(20), transfer(30)]);
   * assert.deepEqual([a.get("cents"), b.get("cents")], [40, 60]);
   * ```
   */
  async transaction<T>(
    work: (tx: Transaction) => T | Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    this.#checkWritable();
    return await this.#transactions.run(work, options);
  }

  /**
   * Runs an upsert plan: its predicate is asked when its tick is about to be sealed, and decides which writes that
   * tick makes. Name, answer and parameters are the intent of its deltas, as JSON.
   *
   * @typeParam P What the plan depends on beside the pages.
   * @returns What the predicate said and, where something was written, the tick, when that is durable.
   * @throws {MmsbError} `usage` for a wrong plan, one that waits, or a predicate that does not answer; what the
   * plan's functions throw; otherwise as {@linkcode StateBus.tick}. Nothing is written then.
   *
   * @example A high-water mark
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus, struct } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const high = bus.create(struct({ price: "f64" }), { name: "high" });
   * await bus.tick();
   * const raise = (price: number) =>
   *   bus.upsert({
   *     name: "raise the high-water mark",
   *     params: { price },
   *     where: () => high.get("price") < price,
   *     update: (tx) => tx.set(high, { price }),
   *   });
   * const held = (await Promise.all([raise(3), raise(5), raise(4)])).map(({ held }) => held);
   * assert.deepEqual([held, high.get("price")], [[true, true, false], 5]);
   * ```
   */
  async upsert<P>(plan: UpsertPlan<P>): Promise<UpsertReceipt> {
    this.#checkWritable();
    return await runUpsert({
      snapshot: (look) => this.snapshot(look),
      begin: (source) => this.#transactions.begin({ source }),
    }, plan);
  }

  /**
   * Says what must hold after every tick. It is asked before the tick is logged: one after which it does not hold
   * is taken back with all its batches, refused with `rule`, and the bus goes on. The next tick is the first that is asked about.
   *
   * @param name What must hold, for the error.
   * @param check Reads, and returns `true` where it holds; a text says why it does not.
   * @param options `every`: ask after ticks whose number is a multiple of this only.
   * @returns Counts, and `remove`.
   * @throws {MmsbError} `usage` for wrong arguments and a name that is taken, `limit`, `closed`, `read-only`.
   *
   * @example Never below zero
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus, struct } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const account = bus.create(struct({ cents: "i32" }));
   * bus.invariant("the account is not overdrawn", () => account.get("cents") >= 0);
   * await bus.commit(() => account.set({ cents: 5 }));
   * await assert.rejects(bus.commit(() => account.set({ cents: -1 })), { code: "rule" });
   * assert.deepEqual([account.get("cents"), account.epoch, bus.tickNumber], [5, 1, 1]);
   * ```
   */
  invariant(
    name: string,
    check: (at: Snapshot) => boolean | string,
    options: InvariantOptions = {},
  ): Invariant {
    this.#checkWritable();
    return this.#invariants.add(name, check, options);
  }

  /**
   * What happens on the bus, from now on. Ticks are shown when they have the bus's durability, or with `applied`
   * at once. Who reads too slowly loses events, never the bus time.
   *
   * @param filter Kinds, pages, places in the buffer and what a full one does.
   * @returns To be walked with `for await`; `lost` counts what the buffer had no place for.
   * @throws {MmsbError} `usage` or `out-of-bounds` for a wrong filter, `limit` where too many listen, `closed`, `read-only`.
   *
   * @example The next change of a page
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const page = bus.createPage({ size: 8 });
   * await using events = bus.events({ kinds: ["page-changed"], pages: [page] });
   * await bus.commit(() => page.write(0, Uint8Array.of(1)));
   * const { value } = await events.next();
   * assert.deepEqual([value?.kind, value?.page, value?.tick, value?.epoch], ["page-changed", page.id, 1, 1]);
   * ```
   */
  events(filter: EventFilter = {}): EventStream {
    this.#checkWritable();
    return new EventStream(this.#events, this.#events.add(filter));
  }

  /**
   * Calls back with each event, after its tick and outside of it. A callback that throws is counted in
   * `stats().events` and called again with the next event.
   *
   * @returns Ends it.
   * @throws {MmsbError} as {@linkcode StateBus.events}.
   */
  on(filter: EventFilter, callback: (event: BusEvent) => unknown): () => void {
    this.#checkWritable();
    return this.#events.on(filter, callback);
  }

  /**
   * Tells those who listen of something that the bus does not see by itself: a kind from `gpu-sync-needed` to
   * `optimisation-complete`.
   *
   * @param options `page` it is about, and `detail`, which is handed on as it is.
   * @throws {MmsbError} `usage` for another kind, `invalid-handle` for a page that is not there, `closed`, `read-only`.
   */
  emit(
    kind: BusEventKind,
    options: { readonly page?: number | { readonly id: number }; readonly detail?: unknown } = {},
  ): void {
    this.#checkWritable();
    this.#events.emit(kind, options);
  }

  /**
   * Keeps events in a page, as a ring of records of 32 bytes, written by the tick after theirs;
   * {@linkcode eventRecords} reads them. It goes on behind what the page keeps already.
   *
   * @param page A page of this bus for nothing else: 32 bytes, and 32 an event.
   * @param filter Which events.
   * @returns Ends it.
   * @throws {MmsbError} as {@linkcode StateBus.events}; `out-of-bounds` where the page is too small, `usage` where
   * it keeps something else.
   *
   * @example The last events, in the state itself
   * ```ts
   * import assert from "node:assert/strict";
   * import { eventRecords, StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const [page, events] = [bus.createPage({ size: 8 }), bus.createPage({ size: 1024 })];
   * await bus.tick();
   * bus.recordEvents(events, { kinds: ["page-changed"] });
   * await bus.commit(() => page.write(0, Uint8Array.of(1)));
   * await bus.tick();
   * const [record] = eventRecords(events);
   * assert.deepEqual([record.kind, record.page, record.tick], ["page-changed", page.id, 2]);
   * ```
   */
  recordEvents(page: Page, filter: EventFilter): () => void {
    this.#checkWritable();
    if (page instanceof Page && !page.isOf(this.#host)) {
      throw new MmsbError("usage", `Cannot keep events in page ${page.id} of another bus`);
    }
    const submit = (batch: DeltaBatch, producer: number) => {
      this.#checkWritable();
      return this.#engine.submit(batch, producer);
    };
    return recordEvents({ events: this.#events, submit }, page, filter);
  }

  /**
   * The deltas of a page from the log, oldest first, each with the bytes before and after. They are
   * found by an index of the log, so the cost is the page's and not the log's. Ticks that are applied and
   * not synced yet are in it.
   *
   * @param page Handle or id; deleted pages have a history too.
   * @param options `fromTick`, `toTick`, `reverse`, `limit`, and `lifetime` for births, changes of size,
   * metadata and shard, and deaths.
   * @returns To be walked with `for await`; its `horizon` says from which tick on it is complete.
   * Nothing is thrown before it is walked.
   * @throws {MmsbError} `usage` on a bus without a log, `invalid-handle` for an id that was never
   * given to a page, `corrupt-log` where the log is damaged (after what is whole before), `closed`.
   *
   * @example The last two changes of a page
   * ```ts
   * import assert from "node:assert/strict";
   * import { MemoryStorage, StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open({ storage: new MemoryStorage() });
   * const page = bus.createPage({ size: 8 });
   * for (const value of [1, 2, 3]) await bus.commit(() => page.write(0, Uint8Array.of(value)));
   * const newest = await Array.fromAsync(bus.history(page, { reverse: true, limit: 2 }));
   * assert.deepEqual(newest.map(({ before, after }) => [before[0], after[0]]), [[2, 3], [1, 2]]);
   * ```
   */
  history(page: Page | number, options: HistoryOptions = {}): PageHistory {
    const id = () => {
      this.#checkOpen();
      return page instanceof Page ? page.id : checkInteger("page id", page, 1, PAGE_ID_MAX);
    };
    const past = this.#past;
    if (past !== undefined) return past.history(id, options);
    return new PageHistory(() => {
      id();
      throw noLog("read history");
    });
  }

  /**
   * The first tick whose state `at` can give; 0 where all can. Earlier ones were dropped or merged.
   *
   * @throws {MmsbError} `usage` on a bus without a log, `closed`.
   */
  get horizon(): number {
    return this.#pastOf("go back").horizon;
  }

  /**
   * The state at an earlier moment, as a bus that only reads: everything but writing works on it, its
   * history ends at its tick, and this bus goes on meanwhile. It takes memory as this one does; close it.
   *
   * It is made from the newest checkpoint before the moment and the ticks after it. All applied ticks
   * can be asked for, also those whose sync is under way.
   *
   * @param moment `{ tick }`; `{ time }`, a Date, ISO text or µs since 1970: the last tick committed at
   * or before it, the last of all for a time that is still to come; or `{ page, epoch }`: the tick that
   * brought the page there.
   * @throws {MmsbError} `out-of-bounds` for a tick or epoch that is not there yet, a tick that was lost
   * before a salvage, or a moment before {@linkcode StateBus.horizon}; `usage` for what is no moment, or
   * on a bus without a log; `corrupt-log` where damage hides the state, with file, offset and tick;
   * `allocation`, `closed`.
   *
   * @example What a page was before a write
   * ```ts
   * import assert from "node:assert/strict";
   * import { MemoryStorage, StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open({ storage: new MemoryStorage() });
   * const board = bus.createPage({ size: 8, name: "board" });
   * for (const value of [1, 2, 3]) await bus.commit(() => board.write(0, Uint8Array.of(value)));
   * await using past = await bus.at({ tick: 2 });
   * assert.equal(past.find("board")!.read(0, 1)[0], 2);
   * assert.throws(() => past.find("board")!.write(0, Uint8Array.of(9)), { code: "read-only" });
   * ```
   */
  // deno-lint-ignore require-await
  async at(moment: Moment): Promise<StateBus> {
    const past = this.#pastOf("go back");
    return this.#overPast(past.stateAt(past.tickOf(moment)));
  }

  /**
   * What the state would be had only some deltas been made: every delta up to a moment is asked about,
   * and those that pass are applied as they are, combining ones too. Births, deaths and changes of size,
   * shard and metadata all count. Epochs count what was applied.
   *
   * Where early ticks were dropped or merged, it begins with the state at {@linkcode StateBus.horizon}.
   *
   * @param keep Whether a delta counts; called in the order in which they were applied.
   * @param moment As for {@linkcode StateBus.at}. Default: this bus's last tick.
   * @returns A bus that only reads; close it. Its history is that of the log, with which `verify` compares
   * it.
   * @throws {MmsbError} as {@linkcode StateBus.at}, and what `keep` throws.
   *
   * @example Without one source
   * ```ts
   * import assert from "node:assert/strict";
   * import { MemoryStorage, StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open({ storage: new MemoryStorage() });
   * const total = bus.createPage({ size: 8, name: "total" });
   * for (const source of ["a", "b", "a"]) {
   *   await bus.commit(() => total.combine("u32", "add", 0, 1, { source }));
   * }
   * await using without = await bus.whatIf(({ source }) => source !== "b");
   * assert.equal(without.find("total")!.read(0, 1)[0], 2);
   * ```
   */
  // deno-lint-ignore require-await
  async whatIf(keep: (delta: FollowedDelta) => boolean, moment?: Moment): Promise<StateBus> {
    const past = this.#pastOf("replay");
    checkType("keep", keep, "function");
    const tick = moment === undefined ? this.tickNumber : past.tickOf(moment);
    return this.#overPast(past.stateOf(tick, keep));
  }

  /**
   * One page as it was at an earlier moment, without the rest of the state.
   *
   * @param page Handle or id.
   * @param moment As for {@linkcode StateBus.at}; an epoch of the page itself is met exactly, also in
   * the middle of a tick.
   * @returns Its bytes, its epoch then, and the tick.
   * @throws {MmsbError} as {@linkcode StateBus.at}; `invalid-handle` where the page was not there.
   */
  pageAt(page: Page | number, moment: Moment): PageMoment & { readonly tick: number } {
    const past = this.#pastOf("read the past");
    const id = page instanceof Page ? page.id : checkInteger("page id", page, 1, PAGE_ID_MAX);
    return past.pageAt(id, moment);
  }

  /**
   * What the value of a page came from: the deltas that made it, with their sources, intents, times and
   * bytes; of a derived page its rule and all pages that it was made from, as they were then, and so on
   * down to the sources. Each page stands there as the last tick that changed it left it; its parents are
   * those of the rule that was bound then, as of that tick, whatever was bound, written or deleted since.
   *
   * It is found through the index of the log, and kept until the page changes. Where a branch ends before
   * a source, `end` of its last page says why; `truncated` and `complete` say it of the whole. Without a log
   * only what is bound now can be told, with the present epochs: no deltas, and no ticks.
   *
   * @param page A page, struct, table, or an id; a deleted page with a tick at which it was there.
   * @param options `depth`, `tick` or `time`, `offset` and `length`, `deltas`; `values` for the fields of structs.
   * @returns Shared by all who ask the same: do not write into its bytes.
   * @throws {MmsbError} `usage` for wrong options, or for a moment or a part of a page on a bus without a log;
   * `out-of-bounds` for a depth that is not 1 to 31, bytes that the page does not have, and moments as
   * {@linkcode StateBus.at}; `invalid-handle` where the page is not there; `corrupt-log` where damage hides the
   * answer; `closed`.
   *
   * @example Who made this value, and why
   * ```ts
   * import assert from "node:assert/strict";
   * import { MemoryStorage, StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open({ storage: new MemoryStorage() });
   * const board = bus.createPage({ size: 8, name: "board" });
   * await bus.commit(() => board.write(0, Uint8Array.of(7), { source: "feed-a", intent: "open" }));
   * const { root } = await bus.explain(board);
   * const [delta] = root.deltas;
   * assert.deepEqual([root.kind, root.tick, root.epoch], ["source", 1, 1]);
   * assert.deepEqual([delta.source, delta.intent, delta.before![0], delta.after![0]], ["feed-a", "open", 0, 7]);
   * ```
   */
  // deno-lint-ignore require-await
  async explain(page: Explainable, options: ExplainOptions = {}): Promise<Explanation> {
    this.#checkOpen();
    return this.#explainer.explain(page, options);
  }

  /**
   * What leads from one state to another: pages born, deleted and changed, and the spans of bytes that
   * differ, in order of page ids. It holds one span at a time. States that change while they are
   * compared give a mixture; states of the past do not.
   *
   * @param first A moment of this bus's log, or a bus.
   * @param second The same. Default: this bus.
   * @throws {MmsbError} as {@linkcode StateBus.at}.
   *
   * @example What a tick did
   * ```ts
   * import assert from "node:assert/strict";
   * import { MemoryStorage, StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open({ storage: new MemoryStorage() });
   * const page = bus.createPage({ size: 8 });
   * await bus.commit(() => page.write(0, Uint8Array.of(1)));
   * await bus.commit(() => page.write(4, Uint8Array.of(7, 8)));
   * const found = await Array.fromAsync(bus.diff({ tick: 1 }, { tick: 2 }));
   * assert.deepEqual(found.map(({ kind }) => kind), ["changed", "bytes"]);
   * ```
   */
  async *diff(
    first: Moment | StateBus,
    second: Moment | StateBus = this,
  ): AsyncGenerator<StateDifference> {
    this.#checkOpen();
    const opened: StateBus[] = [];
    const stateOf = async (side: Moment | StateBus) => {
      if (side instanceof StateBus) return side;
      const bus = await this.at(side);
      opened.push(bus);
      return bus;
    };
    try {
      const before = await stateOf(first), after = await stateOf(second);
      before.#checkOpen();
      after.#checkOpen();
      yield* diffStores(before.#wholeStore(), after.#wholeStore());
    } finally {
      for (const bus of opened) await bus.close();
    }
  }

  /**
   * SHA-256 over all pages with their ids, sizes, epochs, shards, names, metadata and bytes, and over
   * edges, bindings of rules and marks, as 64 hexadecimal digits: two buses with the same digest hold the same state.
   *
   * @throws {MmsbError} `closed`.
   */
  digest(): string {
    this.#checkOpen();
    return digestOfStore(this.#wholeStore());
  }

  /**
   * The deltas of the log as they come, from now or an earlier tick on, until the loop is left, the
   * signal fires or the bus is closed.
   *
   * On the bus that writes, a tick comes when it has the bus's durability. On a bus opened with
   * `readOnly` it comes when the writer's system has its bytes, which is looked for at intervals; the
   * bus itself stays at its tick, see {@linkcode StateBus.refresh}.
   *
   * @param options From where, of which page, source or intent, and what ends it.
   * @throws {MmsbError} `usage` for wrong options or on a bus without a log, `out-of-bounds` for ticks
   * that were dropped, `closed`; while it runs `corrupt-log` where the log is damaged and `read-only`
   * where it failed.
   *
   * @example Three ticks, as they come
   * ```ts
   * import assert from "node:assert/strict";
   * import { MemoryStorage, StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open({ storage: new MemoryStorage() });
   * const page = bus.createPage({ size: 8 });
   * const follower = bus.follow({ page });
   * for (const value of [1, 2, 3]) await bus.commit(() => page.write(0, Uint8Array.of(value)));
   * const seen: number[] = [];
   * for await (const delta of follower) {
   *   seen.push(delta.payload[0]);
   *   if (delta.tick === 3) break;
   * }
   * assert.deepEqual(seen, [1, 2, 3]);
   * ```
   */
  follow(options: FollowOptions = {}): Follower {
    const past = this.#pastOf("follow the log");
    const filter = checkFollow(options);
    return new Follower(this.#followers, past.tail(filter.fromTick, this.#endPlace()), filter);
  }

  /**
   * Takes a bus that was opened with `readOnly` forward to the newest whole tick of the log, reading
   * only what is new. Handles stay good. A bus that writes, and one that is attached to a writer, is
   * at its newest tick already.
   *
   * @returns The tick it is at now, and how many ticks and rows came.
   * @throws {MmsbError} `usage` on a state of the past or a bus in memory; `corrupt-log` where the log is
   * damaged behind the bus's tick, at which it then stays (a bus to which a tick could be applied in part
   * only is closed); `closed`.
   */
  // deno-lint-ignore require-await
  async refresh(): Promise<RefreshReport> {
    const { isPast } = this.#pastOf("refresh");
    if (isPast) {
      throw new MmsbError("usage", "Cannot refresh a state of the past: use the bus it came from");
    }
    const forward = this.#forward;
    if (forward === undefined) return { tick: this.tickNumber, ticks: 0, rows: 0 };
    try {
      const report = forward.run();
      this.#engine.tick = report.tick;
      this.#store.ages?.advance(report.tick);
      return report;
    } catch (error) {
      if (forward.isBroken) this.#end("Cannot use the bus: a tick could not be applied to it");
      throw error;
    }
  }

  /**
   * Checks every structure, replays the log up to this bus's last tick into fresh memory and compares all
   * bytes.
   *
   * @returns What was compared; `ok` is the verdict.
   * @throws {MmsbError} `corrupt-log` where the log cannot be replayed, `out-of-bounds` on a reader that
   * stays at a tick which was merged or dropped since, `closed`.
   */
  async verify(): Promise<VerifyReport> {
    this.#checkOpen();
    await this.#ticks.busy;
    if (this.#sending !== undefined) {
      return { tick: this.tickNumber, rows: 0, compared: undefined, state: "whole", ok: true };
    }
    if (this.#attached !== undefined) return verifyAttached(this.#attached, this.#storage!);
    this.#store.checkInvariants();
    this.#clock.checkInvariants();
    const { tick, staging: { births } } = this.#engine, { state } = this.opened;
    const storage = this.#storage, { memoryLimitBytes, spill } = this.#options;
    if (storage === undefined) return { tick, rows: 0, compared: undefined, state, ok: true };
    const meta = () => this.#past?.meta() ?? this.#meta;
    const staged = [...births, ...this.#transactions.births()];
    return verifyAgainstLog({
      store: this.#store,
      tick,
      staged,
      state,
      storage,
      meta,
      memoryLimitBytes,
      spill,
    });
  }

  /**
   * Reads many pages as one tick left them.
   *
   * @param look Reads, and returns what it likes. On a bus that is attached to a writer in another
   * process it runs again where a tick came between, so it must do nothing but read.
   * @returns What `look` returns.
   * @throws {MmsbError} what `look` throws; `usage` where it is asynchronous, `closed`; on an attached
   * bus `transaction-conflict` where ticks leave no time for all of it.
   *
   * @example Two pages of one tick
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const [a, b] = [bus.createPage({ size: 1 }), bus.createPage({ size: 1 })];
   * await bus.commit(() => [a, b].forEach((page) => page.write(0, Uint8Array.of(7))));
   * const sum = bus.snapshot((at) => at.read(a)[0] + at.read(b)[0]);
   * assert.equal(sum, 14);
   * ```
   */
  snapshot<T>(look: (at: Snapshot) => T): T {
    this.#checkOpen();
    checkType("look", look, "function");
    const run = (): T => runSnapshot(this, (page) => page.isOf(this.#host), look);
    return this.#attached === undefined ? run() : this.#attached.read(run);
  }

  /**
   * Takes a bus in memory back to how it was opened: all pages gone and forgotten, tick 0, ids from 1,
   * the clock as new. The memory is kept, and pages come back zeroed, so a reset costs a fraction of
   * opening another bus. Handles of the old pages refuse; what is staged is forgotten, and batches that
   * wait are refused with `closed`.
   *
   * @throws {MmsbError} `usage` on a bus with a directory; `closed`.
   *
   * @example A simulation, and another one
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * for (const seed of [1, 2]) {
   *   const page = bus.createPage({ size: 16, name: "state" });
   *   await bus.commit(() => page.write(0, new Uint8Array([seed])));
   *   assert.deepEqual([page.id, bus.tickNumber, page.read(0, 1)[0]], [1, 1, seed]);
   *   bus.reset();
   *   assert.equal(page.state, "deleted");
   * }
   * ```
   */
  reset(): void {
    this.#checkOpen();
    if (this.#storage !== undefined) {
      throw new MmsbError(
        "usage",
        "Cannot reset a bus with a directory as its log would still lead to the old pages: open a new directory, or a bus in memory",
        { values: { location: this.#storage.location } },
      );
    }
    this.#checkWritable();
    this.#engine.forgetWaiting(
      new MmsbError("closed", "Cannot apply the batch: the bus was reset before a tick took it"),
    );
    this.#transactions.endAll(
      new MmsbError("closed", "Cannot go on with the transaction: the bus was reset"),
    );
    this.#events.reset();
    endHandles(this.#host);
    this.#image?.begin();
    this.#sharing?.image.begin();
    this.#store.clear();
    this.#opened?.forget();
    this.#time = new BusTime(this.#options.clock);
    this.#clock = newClock(this.#time);
    this.#engine = this.#newEngine(0, undefined);
    this.#ticks.goOnWith(this.#engine);
    this.#host = this.#newHost();
    this.#rules = this.#newRules();
    this.#image?.end(this.#engine.published);
    this.#sharing?.image.end(this.#engine.published);
    this.#shareEngine();
  }

  /**
   * Makes a checkpoint: images of all pages in one file, copied while ticks go on, so that opening
   * replays the log from there only. The bus makes one by itself when the log has grown; the option
   * `checkpoints` says how often, how many are kept, and what becomes of the log before them.
   *
   * One is made at a time: a call waits for the one under way and then makes another, so that what is made
   * holds all that was ticked before the call. `close` waits for all of them.
   *
   * @returns What was made, when it is durable.
   * @throws {MmsbError} `usage` in memory; `disk-full`, `read-only` or `io` where it cannot be written:
   * nothing is left of it then, and the bus goes on; `closed`.
   *
   * @example A checkpoint, and what the next opening does with it
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * const dir = await Deno.makeTempDir();
   * const bus = await StateBus.open({ dir });
   * const page = bus.createPage({ size: 16 });
   * await bus.commit(() => page.write(0, Uint8Array.of(7)));
   * const made = await bus.checkpoint();
   * assert.deepEqual([made.tick, made.pages, page.dirty], [1, 1, false]);
   * await bus.close();
   * const again = await StateBus.open({ dir });
   * assert.deepEqual([again.opened.checkpoint?.tick, again.opened.rows], [1, 0]);
   * assert.equal(again.page(page.id).read(0, 1)[0], 7);
   * await again.close();
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  async checkpoint(): Promise<CheckpointReport> {
    this.#checkWritable();
    if (this.#checkpoints === undefined) {
      throw new MmsbError(
        "usage",
        "Cannot make a checkpoint of a bus in memory: open it with a dir",
      );
    }
    return await this.#checkpoints.make();
  }

  /**
   * Merges old ticks of the log into few that lead to the same state, so that the log becomes smaller:
   * each page that lives at the horizon keeps the rows that make its bytes, each of which says how many
   * it stands for. From {@linkcode StateBus.horizon} on every state and epoch is as it was; earlier
   * states, and pages that had died by then, cannot be had any more. Checkpoints that begin before it
   * are removed.
   *
   * Only whole segments that are not written to any more are merged, and only where that makes them
   * smaller. Ticks go on meanwhile; checkpoints wait. It needs the memory of all pages once more.
   *
   * @param options `beforeTick`: merge only ticks before this one. Default: all that can be.
   * @returns What was merged.
   * @throws {MmsbError} `usage` in memory, or where the log's beginning was dropped behind a
   * checkpoint; `corrupt-log` where the log is damaged; `allocation` where memory is short;
   * `disk-full` or `io` where it cannot be written; `closed` (also where the bus is closed before it
   * begins), `read-only`. The log is as it was then, or merged if that was durable already
   * ({@linkcode StateBus.horizon} tells): the next opening or compaction carries on.
   *
   * @example A counter, and a log that forgets its way
   * ```ts
   * import assert from "node:assert/strict";
   * import { MemoryStorage, StateBus } from "@mmsb/mmsb";
   *
   * const storage = new MemoryStorage();
   * await using bus = await StateBus.open({ storage, segmentBytes: 65536, segmentBytesMax: 65536 });
   * const page = bus.createPage({ size: 1024 });
   * for (let i = 0; i < 200; i++) {
   *   page.write(0, new Uint8Array(1024).fill(i));
   *   await bus.tick();
   * }
   * const { merged, bytes } = await bus.compact();
   * assert.ok(merged && bytes.before > 10 * bytes.after);
   * assert.ok(bus.horizon > 100);
   * assert.equal((await bus.verify()).ok, true);
   * ```
   */
  async compact(options: { readonly beforeTick?: number } = {}): Promise<CompactionReport> {
    this.#checkWritable();
    checkKeys("compact", options, ["beforeTick"]);
    const { beforeTick } = options;
    if (beforeTick !== undefined) {
      checkInteger("beforeTick", beforeTick, 1, Number.MAX_SAFE_INTEGER);
    }
    const checkpoints = this.#checkpoints, writer = this.#writer;
    if (checkpoints === undefined || writer === undefined) {
      throw new MmsbError("usage", "Cannot compact a bus in memory: open it with a dir");
    }
    const compaction = checkpoints.alone(async () => {
      // It may have waited for a checkpoint.
      this.#checkWritable();
      const tickLast = this.#engine.tick;
      await writer.sync();
      return await compactLog(this.#storage!, {
        meta: () => this.#meta!,
        stored: (meta) => void (this.#meta = meta),
        segmentOpen: (lane) => writer.segmentOf(lane),
        tickLast,
        spill: this.#options.spill,
      }, { beforeTick, memoryLimitBytes: this.#options.memoryLimitBytes });
    });
    const done = compaction.catch(() => {}).finally(() => this.#compactions.delete(done));
    this.#compactions.add(done);
    return await compaction;
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
      bookkeepingBytes: this.#store.table.bookkeepingBytes() + this.#store.edges.bookkeepingBytes(),
      allocator,
      rows: this.#engine.rows,
      refused: this.#engine.refused,
      queued: this.#engine.queued,
      staged: this.#engine.staging.batch.length + this.#engine.staging.structural,
      logBytes: writer?.position ?? 0,
      unsyncedBytes: writer === undefined ? 0 : writer.position - writer.syncedPosition,
      durability: this.#options.durability,
      incarnation: this.#meta?.incarnation ?? 0,
      checkpoints: this.#checkpoints?.statistics(),
      ...(this.#team === undefined ? {} : { workers: this.#team.statistics() }),
      ...(this.#ruleWorkers?.runs.length ? { ruleRuns: this.#ruleWorkers.runs } : {}),
      ...(this.#opened === undefined ? {} : { device: this.#opened.statistics() }),
      phases: this.#engine.meter.phases(),
      ticks: this.#engine.meter.statistics(),
      cost: this.#engine.budget.estimate,
      events: this.#events.statistics(),
      transactions: this.#transactions.statistics(),
      ...(this.#options.readOnly
        ? {}
        : { clock: this.#time.statistics(this.#clock.ignoredReadingCount) }),
      ...(this.#attached === undefined ? {} : attachedStatistics(this.#attached)),
    };
  }

  /**
   * Where the bytes of the bus are: by size class, beside the pages, waiting to be reclaimed, cold; and how long
   * the pauses were that looking after them took. It walks the page table: some 10 ms for a million
   * pages, twice that where ages are noted, and 50 to 100 ms more if all have names.
   *
   * @throws {MmsbError} `closed`; `usage` inside a reading of an attached bus.
   *
   * @example What a deleted page leaves
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const pages = Array.from({ length: 3 }, () => bus.createPage({ size: 1000 }));
   * await bus.tick();
   * pages[0].delete();
   * await bus.tick();
   *
   * const { classes, fragmentation, pauses } = bus.memory();
   * const [{ slotBytes, live, pageBytes, pending, free, carved }] = classes;
   * assert.deepEqual([slotBytes, live, pageBytes, carved], [1024, 2, 2000, 3]);
   * assert.equal(pending! + free!, 1); // as far as the slice after the tick has come
   * assert.equal(fragmentation!.share, fragmentation!.internal + fragmentation!.external);
   * assert.ok(pauses.reclaim.maxMs <= pauses.reclaim.totalMs);
   * assert.equal(pauses.collection, undefined); // nobody counts them, so nobody knows
   * ```
   */
  memory(): MemoryReport {
    this.#checkOpen();
    const attached = this.#attached, writer = this.#writer;
    const figures = attached === undefined
      ? figuresOf(this.#store, true)
      : attached.read((store) => {
        store.table.refresh();
        return figuresOf(store, false);
      });
    const memory = processMemory(), { collections, collectionsReason } = this.#memory;
    return {
      tick: this.tickNumber,
      ...figures,
      spilled: this.#store.residency?.statistics(),
      residentBytes: memory?.residentBytes,
      heapUsedBytes: memory?.heapUsedBytes,
      cold: attached === undefined ? coldPages(this.#store) : undefined,
      logBufferBytes: this.#engine.frameBytes,
      unsyncedBytes: writer === undefined ? 0 : writer.position - writer.syncedPosition,
      openBatchBytes: roomOf(this.#engine.staging.batch),
      queuedBatchBytes: this.#engine.queuedBytes,
      pauses: {
        reclaim: this.#memory.reclaimPauses,
        spill: this.#spillPauses?.summary(),
        collection: collections?.pauses(),
        collectionReason: collectionsReason,
      },
    };
  }

  /**
   * Has {@linkcode StateBus.memory} tell more from now on. What is tracked already goes on being tracked.
   *
   * @param options `ages`: pages by the ticks since they were written; `collections`: the pauses of V8's garbage
   * collector in this thread, whoever caused them. Both, where they are left out.
   * @returns Settles when both are tracked; `memory().pauses.collectionReason` says why collections are not, if so.
   * @throws {MmsbError} `usage` for wrong options, and for ages of an attached bus, whose writer has them; `closed`.
   *
   * @example Pages that nobody writes
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const [busy, cold] = [bus.createPage({ size: 16 }), bus.createPage({ size: 16 })];
   * await bus.tick();
   * await bus.trackMemory();
   * for (let i = 0; i < 8; i++) await bus.commit(() => busy.write(0, Uint8Array.of(i)));
   * const { cold: report, pauses } = bus.memory();
   * assert.deepEqual(report!.ages.map(({ fromTicks, pages }) => [fromTicks, pages]), [[0, 1], [8, 1]]);
   * assert.equal(pauses.collection!.sinceTick, 1);
   * assert.equal(cold.epoch, 0);
   * ```
   */
  async trackMemory(options: MemoryTracking = {}): Promise<void> {
    this.#checkOpen();
    checkKeys("trackMemory", options, ["ages", "collections"]);
    const { ages = this.#attached === undefined, collections = true } = options;
    checkType("ages", ages, "boolean");
    checkType("collections", collections, "boolean");
    if (ages && this.#attached !== undefined) {
      throw new MmsbError(
        "usage",
        "Cannot track ages of an attached bus: track them where it is written",
      );
    }
    if (ages) this.#store.trackAges(this.#engine.tick);
    if (!collections) return;
    await this.#memory.watchCollections(this.tickNumber);
    if (this.#closed !== undefined) this.#memory.close();
  }

  /**
   * Reclaims room of deleted pages now, as a slice after each tick does by itself. New pages get that room in any
   * case; it is for who wants it done before a moment at which nothing may wait.
   *
   * @param options `budgetMs`: milliseconds it may take, 0.1 to 1,000. Default: the bus's `reclaimBudgetMs`.
   * @returns What was done and what is left.
   * @throws {MmsbError} `usage` or `out-of-bounds` for wrong options, `closed`.
   *
   * @example All of it
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open({ reclaimBudgetMs: 0.1 });
   * const pages = Array.from({ length: 20_000 }, () => bus.createPage({ size: 64 }));
   * await bus.tick();
   * await bus.commit(() => pages.forEach((page) => page.delete()));
   * while (bus.reclaim({ budgetMs: 2 }).pendingSlots > 0);
   * assert.equal(bus.memory().classes[0].free, 20_000);
   * ```
   */
  reclaim(options: { readonly budgetMs?: number } = {}): ReclaimReport {
    this.#checkOpen();
    checkKeys("reclaim", options, ["budgetMs"]);
    const { budgetMs = this.#options.reclaimBudgetMs } = options;
    return this.#memory.reclaim(
      this.#store.allocator,
      checkReclaimBudget("budgetMs", budgetMs),
    );
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
    await this.#running.stop();
    await this.#ticks.busy?.catch(() => {});
    this.#transactions.endAll(
      new MmsbError("closed", "Cannot go on with the transaction: the bus was closed"),
    );
    await this.#checkpoints?.finish();
    await Promise.all(this.#compactions);
    const closed = new MmsbError(
      "closed",
      "Cannot apply the batch: the bus was closed before a tick took it",
    );
    this.#engine.forgetWaiting(closed);
    try {
      this.#attached?.close();
      await this.#past?.close();
      if (this.#writer === undefined) return;
      if (this.#engine.failure !== undefined) await this.#writer.abandon();
      else {await endWriting(
          this.#storage!,
          this.#meta!,
          this.#writer,
          this.#engine.tick,
          this.#clock.peek(),
        );}
      if (this.#writer.failure === undefined) {
        this.#image?.close(
          this.#engine.published,
          this.#store.allocator.save(),
          !hasStructure(this.#store),
        );
      }
    } finally {
      this.#sharing?.close();
      this.#sending?.close();
      await this.#team?.close();
      await this.#ruleWorkers?.close();
      await this.#opened?.close();
      this.#image?.abandon();
      if (this.#ownsStore) this.#store.close();
      this.#unlock?.();
      this.#followers.wake();
      this.#events.end();
      this.#memory.close();
    }
  }

  /** Ends a bus in memory for its pool. */
  #end(message: string): void {
    if (this.#engine.running) {
      throw new MmsbError("usage", "Cannot release a bus from inside its tick: do it after");
    }
    this.#endMessage = message;
    this.#closed ??= Promise.resolve();
    this.#running.stop();
    this.#transactions.endAll(closedError(message));
    this.#engine.forgetWaiting(closedError(message));
    this.#events.end();
    this.#memory.close();
  }

  #newEngine(tick: number, counts: EngineCounts | undefined): TickEngine {
    return new TickEngine({
      store: this.#store,
      clock: this.#clock,
      time: this.#time,
      options: this.#options,
      writer: this.#writer,
      incarnation: this.#meta?.incarnation ?? 0,
      tick,
      counts,
      publication: this.#image,
      events: this.#events,
      checks: this.#invariants,
      memory: this.#memory,
      team: this.#team,
      ruleWorkers: this.#ruleWorkers,
      helpers: this.#opened?.rules(this.#ruleWorkers),
      device: this.#opened?.forTicks,
    });
  }

  #newRules(): Rules {
    const { waves } = this.#engine;
    return new Rules({
      host: this.#host,
      waves,
      workers: this.#ruleWorkers,
      gpu: this.#opened?.rules(this.#ruleWorkers),
      gpuReason: this.#opened?.report.reason ?? NO_DEVICE,
    });
  }

  #newHost(): MutableHost {
    return newHost({
      store: this.#store,
      staging: this.#engine.staging,
      attached: this.#attached,
      shards: this.shards,
      order: new IncrementalOrder(this.#store.edges),
      tablePages: (root) => tablePages(this.#host, root),
      location: (page) => this.#opened?.pages?.location(page) ?? "cpu",
      fresh: (page) => this.#rules.fresh(page, () => this.tick()),
      canWrite: () => !this.readOnly,
      checkOpen: () => this.#checkOpen(),
      checkWritable: () => this.#checkWritable(),
    });
  }

  #newInvariants(): Invariants {
    return new Invariants({
      page: (id) => this.page(id),
      find: (name) => this.find(name),
      owns: (page) => page.isOf(this.#host),
    });
  }

  #newRunning(): Running {
    return new Running({
      tick: () => this.tick(),
      isOver: () => this.#closed !== undefined || this.readOnly,
      nowMs: () => this.#time.nowMs(),
    });
  }

  #newTransactions(): Transactions {
    const host = (): MutableHost => this.#host;
    return new Transactions({
      get host() {
        return host();
      },
      tick: () => this.#engine.tick,
      run: (staging, check) => this.#ticks.alone(staging, check),
      durable: () => this.#engine.durable(),
    });
  }

  #pastOf(what: string): Past {
    this.#checkOpen();
    if (this.#past === undefined) throw noLog(what);
    return this.#past;
  }

  /** The pages of one tick; of an attached bus a copy, as they change while they are looked at. */
  #wholeStore(): PageStore {
    return this.#attached === undefined ? this.#store : copyAttached(this.#attached).store;
  }

  #newPast(parts: BusParts): Past | undefined {
    const { storage, writer } = parts;
    return storage && new Past({
      storage,
      isWriter: writer !== undefined,
      memoryLimitBytes: this.#options.memoryLimitBytes,
      spill: this.#options.spill,
      meta: () => this.#meta,
      tick: () => this.tickNumber,
      nextPageId: () => this.#attached === undefined ? this.#store.nextPageId : Infinity,
    }, parts.past);
  }

  #newExplainer(): Explainer {
    return new Explainer({
      past: this.#past,
      store: () => this.#attached === undefined ? this.#store : undefined,
      tick: () => this.tickNumber,
      owns: (page) => page.isOf(this.#host),
    });
  }

  #newForward({ storage, meta, recovery, writer, past }: BusParts): Forward | undefined {
    const isFixed = writer !== undefined || past !== undefined || this.#attached !== undefined;
    if (storage === undefined || recovery === undefined || isFixed) return undefined;
    return new Forward(storage, meta, this.#store, recovery.end);
  }

  #newFollowers(): Followers {
    const { durability } = this.#options;
    return new Followers({
      writer: this.#writer,
      isSynced: durability === "group" || durability === "always",
      isClosed: () => this.#closed !== undefined,
      failure: () => this.#engine.failure,
    });
  }

  /** Where the newest tick ends. */
  #endPlace(): LogPlace {
    if (this.#writer === undefined) return this.#forward?.place ?? this.#opening;
    return { tick: this.#engine.tick, lanes: [...this.#writer.places, ...this.#lanesAtRest()] };
  }

  /** Bytes before places, of the lanes that this bus writes. */
  #bytesOf(places: readonly LanePlace[]): number {
    const written = places.filter(({ lane }) => lane < this.#writer!.size);
    return written.reduce((sum, { position }) => sum + position, 0);
  }

  /** Where the lanes end that this bus does not write, as it has fewer than an earlier one. */
  #lanesAtRest(): LanePlace[] {
    return this.#opening.lanes.filter(({ lane }) => lane >= this.#writer!.size);
  }

  #overPast(state: PastState): StateBus {
    const options = { ...this.#options, readOnly: true };
    return new StateBus({ options, storage: this.#storage, past: this.#past, ...state });
  }

  #newTicks(): TickOrder {
    return new TickOrder({
      store: this.#store,
      followers: this.#followers,
      checkpoints: this.#checkpoints,
      beforeTick: () => this.#rules.waitBeforeTick(),
      checkWritable: () => this.#checkWritable(),
    }, this.#engine);
  }

  #newCheckpoints(recovery: Recovery | undefined): Checkpoints | undefined {
    if (this.#writer === undefined || this.#storage === undefined) return undefined;
    return new Checkpoints({
      storage: this.#storage,
      store: this.#store,
      writer: this.#writer,
      options: this.#options.checkpoints,
      shards: this.shards,
      otherLanes: this.#lanesAtRest(),
      covered: this.#bytesOf(recovery?.checkpoint?.lanes ?? this.#meta!.base?.lanes ?? []),
      now: () => ({
        tick: this.#engine.tick,
        hlcLast: this.#clock.peek(),
        // A transaction's pages may be real before older ones that are still staged.
        nextPageId: Math.max(
          this.#engine.staging.births[0] ?? this.#store.nextPageId,
          this.#engine.published.nextPageId,
        ),
      }),
      budget: () => this.#engine.budget,
      failure: () => this.#engine.failure,
      meta: () => this.#meta!,
      setMeta: (meta) => void (this.#meta = meta),
    });
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw closedError(this.#endMessage);
    if (this.#attached !== undefined) this.#store = this.#attached.caughtUp();
  }

  #checkWritable(): void {
    if (this.#closed !== undefined) throw closedError(this.#endMessage);
    if (this.#engine.failure !== undefined) throw readOnlyError(this.#engine.failure);
    if (this.#engine.running) {
      throw new MmsbError(
        "usage",
        "Cannot write from inside a tick, as a rule, an invariant or the clock was asked there: write before it, or after",
      );
    }
    if (this.#options.readOnly) {
      throw new MmsbError("read-only", "Cannot write to a bus that was opened with readOnly");
    }
  }
}

function closedError(message = "Cannot use a bus that was closed: open it again"): MmsbError {
  return new MmsbError("closed", message);
}

function newClock(time: BusTime, last = 0n): HybridLogicalClock {
  return new HybridLogicalClock({ nowUs: () => time.nowUs(), last });
}
