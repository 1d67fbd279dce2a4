/**
 * Worker team: threads that check batches, count epochs, put rows into pages and build frames, for one bus.
 *
 * The thread of the bus, the coordinator, writes a plan of the tick's batches into shared memory, wakes as many
 * workers as there are cores, and sleeps until all is done; so a tick is one call with workers as without. Which
 * thread does what is left to chance, what comes out is not: each page gets its rows in the order of the
 * batches. Workers are helpers: where none comes to a plan, the coordinator does it itself.
 *
 * Cost: a plan 20 to 100 µs beside the work in it, so small ticks are better done inline
 * ({@linkcode WorkerTeam.isWorth}).
 *
 * @module
 */

import { alignUp, assert, MmsbError, SHARDS_MAX } from "../../base/mod.ts";
import {
  type BodyRoom,
  bodyRoom,
  type BuiltFrame,
  encodeStrings,
  PAYLOAD_DIRECT_MIN,
  ROW_KIND,
  type RowFrame,
} from "../../log/mod.ts";
import {
  type BatchShape,
  type DeltaBatch,
  type KernelColumns,
  type PageStore,
  sharedPages,
} from "../../physical/mod.ts";
import { monotonicNowMs } from "../../temporal/mod.ts";
import { coreCount, pinningUnavailable, workerUnavailable } from "./_platform.ts";
import { moduleOf, TeamMembers } from "./_team_members.ts";
import { TeamTasks } from "./_team_tasks.ts";
import * as words from "./_team_words.ts";

const { WORK, BATCH_STATE, BODY_STATE, BLOCK_ROWS } = words;

/** Rows below which a tick is faster without workers. */
const WORTH_ROWS_MIN = 16_384;
/** Most rows of a plan: order columns and block numbers stay small. */
const PLAN_ROWS_MAX = 2 ** 26;
/** Parts pay from so many threads on. */
const PART_THREADS_MIN = 4;
const SPINS = 2000;
/** The coordinator looks so often whether its workers go on. */
const LOOK_MS = 20;
const START_MS_MAX = 30_000;
/** Bytes that the columns of a row take in a frame, at most, and what else a body has. */
const BODY_ROW_BYTES = 25, BODY_BYTES = 1024;

/** What a team is made of. */
export interface TeamOptions {
  /** Threads, 1 to 256. */
  readonly workers: number;
  /** Parts that pages go through side by side. Default: by threads and cores. */
  readonly parts?: number;
  /** Threads that work at one time. Default: as many as there are cores. */
  readonly active?: number;
  /** Most milliseconds that a plan may stand still. Default 10,000. */
  readonly timeoutMs?: number;
  /** Whether each worker is to stay on a core of its own. Default false. */
  readonly pin?: boolean;
}

/** What is to be done with batches. */
export interface TeamWork {
  /** Count the epochs of their rows; `note` also notes the new ones, as the log needs them. */
  readonly epochs?: "count" | "note";
  /** Put their rows into the pages. */
  readonly apply?: boolean;
}

/** What one worker has done. */
export interface WorkerStatistics {
  /** Its number. */
  readonly worker: number;
  /** Rows that it has checked. */
  readonly checked: number;
  /** Rows that it has put into pages. */
  readonly applied: number;
  /** Rows whose frames of the log it has built. */
  readonly logged: number;
  /** Pieces of work that this was done in. */
  readonly tasks: number;
  /** Ticks that it has taken part in. */
  readonly ticks: number;
  /** Milliseconds that it has worked. */
  readonly busyMs: number;
  /** Rows checked, applied and logged a second of its work; 0 before the first. */
  readonly rowsPerSecond: number;
}

/** Bodies of frames that are being built; see {@linkcode WorkerTeam.build}. */
export interface BodyBuilding {
  /** Waits for the body of a frame; `undefined` where there is none, and the caller has to build it. */
  take(index: number): BuiltFrame | undefined;
  /** Waits until no worker has to do with it any more. To be called in any case. */
  end(): void;
}

/** What a plan says of a batch. */
interface Planned {
  readonly columns: KernelColumns;
  readonly rows: number;
  readonly payloadLength: number;
  readonly strings: number;
}

/** The workers of one bus. */
export class WorkerTeam {
  /** Why workers are not pinned, where that was asked for and cannot be had. */
  readonly pinning: string | undefined;
  readonly #control: Int32Array;
  readonly #members: TeamMembers;
  readonly #counts: Float64Array;
  readonly #own: TeamTasks;
  readonly #size: number;
  readonly #parts: number;
  readonly #timeoutMs: number;
  #order: SharedArrayBuffer | undefined;
  #room: BodyRoom | undefined;
  #plan = 0;
  #planned = 0;
  #blocks = 0;
  #isClosed = false;

  private constructor(store: PageStore, options: TeamOptions) {
    const { workers, active = Math.min(workers, coreCount()), timeoutMs = 10_000 } = options;
    assert(workers >= 1 && workers <= SHARDS_MAX, "a team has workers");
    const pages = sharedPages(store);
    this.#control = new Int32Array(new SharedArrayBuffer(4 * words.teamWords(workers)));
    this.#size = workers;
    this.#parts = Math.min(
      words.PARTS_MAX,
      options.parts ?? (active < PART_THREADS_MIN ? 1 : active),
    );
    this.#timeoutMs = timeoutMs;
    const wantsPins = options.pin === true;
    this.pinning = wantsPins ? pinningUnavailable() : undefined;
    this.#counts = new Float64Array(new SharedArrayBuffer(8 * words.COUNT_DOUBLES * workers));
    const control = this.#control, counts = this.#counts;
    const isPinned = wantsPins && this.pinning === undefined;
    const members = new TeamMembers({ control, counts, pages, active, isPinned });
    this.#members = members;
    this.#own = new TeamTasks(workers, control, pages, (number) => members.bufferOf(number));
    this.#control[words.W_CURSOR] = words.CURSOR_PARKED;
    this.#control[words.W_BUILD] = words.CURSOR_PARKED;
    this.#control[words.W_PARTS] = this.#parts;
    this.#control[words.W_SPINS] = active < coreCount() + 1 ? SPINS : 0;
  }

  /**
   * Starts the workers of a store, and waits until all are there.
   *
   * @returns Why not, where there can be none.
   * @throws {MmsbError} `usage` where the pages stand in a mapped file, `worker` where a worker does not start.
   */
  static async start(
    store: PageStore,
    options: TeamOptions,
  ): Promise<WorkerTeam | { readonly reason: string }> {
    const reason = workerUnavailable(moduleOf());
    if (reason !== undefined) return { reason };
    const team = new WorkerTeam(store, options);
    for (let worker = 0; worker < options.workers; worker++) {
      team.#members.start(worker);
      // Starting one stops this thread for a while; others are let in between.
      await nextTurn();
    }
    const started = monotonicNowMs();
    while (team.#members.join() < options.workers) {
      if (monotonicNowMs() - started > START_MS_MAX || team.#fault !== undefined) {
        await team.close();
        throw new MmsbError("worker", "Cannot start the workers: they do not answer", {
          values: { workers: options.workers, cause: team.#fault },
        });
      }
      await nextTurn();
    }
    return team;
  }

  /** Workers. */
  get size(): number {
    return this.#size;
  }

  /** Whether batches are better done by the team than inline. */
  isWorth(batches: readonly { readonly batch: DeltaBatch }[]): boolean {
    if (batches.length > words.PLAN_BATCHES_MAX || this.#isClosed) return false;
    let rows = 0;
    for (const { batch } of batches) {
      // Who expects epochs sees those that earlier batches leave.
      if (batch.expectedEpochs !== undefined || batch.length === 0) return false;
      rows += batch.length;
    }
    return rows >= WORTH_ROWS_MIN && rows <= PLAN_ROWS_MAX;
  }

  /**
   * Checks batches, each by itself; and does with the good ones, in their order, what is asked for.
   *
   * @returns The shape of each good batch; `undefined` for bad ones, of which nothing is done.
   * @throws {MmsbError} `worker` where a worker ended in the middle or does not answer: what has been done
   * is then unknown if more was asked for than to check.
   */
  check(
    batches: readonly { readonly batch: DeltaBatch }[],
    { epochs, apply = false }: TeamWork = {},
  ): (BatchShape | undefined)[] {
    this.#write(batches.map(({ batch }) => ({
      columns: batch.kernel,
      rows: batch.length,
      payloadLength: batch.payloadLength,
      strings: batch.strings.length,
    })));
    const noted = epochs === "note" ? WORK.noteEpochs : 0;
    this.#run(
      WORK.check | (epochs === undefined ? 0 : WORK.epochs) | noted | (apply ? WORK.apply : 0),
    );
    return batches.map((_, batch) => {
      const state = this.#control[words.batchAt(batch) + words.B_STATE];
      return state === BATCH_STATE.accepted ? this.#own.shapeOf(batch) : undefined;
    });
  }

  /** Whether other threads can build the body of a frame: it must stand in shared memory, all of it. */
  canBuild({ rowKind, columns, epochs, timesUs }: RowFrame): boolean {
    const { page, source, payloadBytes } = columns, { buffer } = page;
    return rowKind === ROW_KIND.data && epochs && timesUs === undefined &&
      buffer instanceof SharedArrayBuffer && source.buffer === buffer &&
      payloadBytes.buffer === buffer;
  }

  /** Whether the bodies of such frames are better built by the team than inline. */
  isWorthBuilding(frames: readonly RowFrame[]): boolean {
    // One frame keeps one thread busy, and that may be this one.
    if (frames.length < 2 || frames.length > words.PLAN_BATCHES_MAX || this.#isClosed) return false;
    const rows = frames.reduce((sum, frame) => sum + frame.rows, 0);
    return rows >= WORTH_ROWS_MIN && rows <= PLAN_ROWS_MAX;
  }

  /**
   * Begins to build the bodies of frames that it can build, side by side and the first ones first. Their columns must stay as they are
   * until the end.
   *
   * @returns Where to get them; `undefined` where memory is short.
   */
  build(frames: readonly RowFrame[]): BodyBuilding | undefined {
    const control = this.#control;
    const texts = frames.map(({ strings, stringBytes }) => stringBytes ?? encodeStrings(strings));
    if (!this.#reserveRoom(frames, texts)) return undefined;
    const room = this.#room!;
    this.#write(frames.map(({ columns, rows, payloadLength, strings }) => {
      return { columns, rows, payloadLength, strings: strings.length };
    }));
    let unit = 0;
    texts.forEach((text, index) => {
      const at = words.batchAt(index);
      control[at + words.B_BODY] = BODY_STATE.waiting;
      control[at + words.B_TEXT] = unit;
      control[at + words.B_TEXT_BYTES] = text?.length ?? 0;
      if (text === undefined) return;
      room.bytes.set(text, 8 * unit);
      unit += alignUp(text.length, 8) >>> 3;
    });
    control[words.W_ROOM] = this.#numberOf(room.buffer);
    control[words.W_ROOM_UNITS] = room.bytes.length / 8;
    control[words.W_ROOM_USED] = unit;
    control[words.W_BUILT] = 0;
    this.#begin(WORK.build, words.W_BUILD);
    const isBuilt = (index: number) =>
      Atomics.load(control, words.batchAt(index) + words.B_BODY) !== BODY_STATE.waiting;
    const waitUntil = (isDone: () => boolean) => {
      // Who does not answer may still write into the room, so there is no other plan with these workers.
      if (!this.#isClosed && !this.#await(words.W_BUILT, isDone)) this.#isClosed = true;
      return isDone();
    };
    return {
      take: (index) =>
        waitUntil(() => isBuilt(index)) ? this.#bodyOf(index, frames[index], room) : undefined,
      end: () => {
        waitUntil(() => Atomics.load(control, words.W_BUILT) === frames.length);
        this.#end(words.W_BUILD);
      },
    };
  }

  /** What the workers have done so far. */
  statistics(): WorkerStatistics[] {
    return Array.from({ length: this.#size }, (_, worker) => {
      const at = worker * words.COUNT_DOUBLES, counts = this.#counts;
      const checked = counts[at + words.C_CHECKED], applied = counts[at + words.C_APPLIED];
      const busyMs = counts[at + words.C_BUSY_MS], logged = counts[at + words.C_BUILT];
      return {
        worker,
        checked,
        applied,
        logged,
        tasks: counts[at + words.C_TASKS],
        ticks: counts[at + words.C_PLANS],
        busyMs,
        rowsPerSecond: busyMs > 0 ? 1000 * (checked + applied + logged) / busyMs : 0,
      };
    });
  }

  /** Ends a worker, for tests of what comes then; settles when its thread is gone. */
  async kill(worker: number): Promise<void> {
    await this.#members.kill(worker);
  }

  /** Ends all workers. A second call does nothing more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#members.close();
  }

  get #fault(): string | undefined {
    const fault = this.#control[words.W_FAULT];
    return fault === 0 ? undefined : `worker ${fault - 1} failed`;
  }

  /** Writes a plan of batches. */
  #write(batches: readonly Planned[]): void {
    const control = this.#control;
    this.#members.join();
    let block = 0;
    batches.forEach((batch, index) => {
      const { columns, rows, payloadLength, strings } = batch;
      const at = words.batchAt(index), blocks = blocksOf(rows);
      Atomics.store(control, at + words.B_STATE, BATCH_STATE.waiting);
      control[at + words.B_BUFFER] = this.#numberOf(columns.page.buffer);
      control[at + words.B_CAPACITY] = columns.page.length;
      control[at + words.B_ROWS] = rows;
      control[at + words.B_PAYLOAD] = payloadLength;
      control[at + words.B_STRINGS] = strings;
      control[at + words.B_FIRST] = block;
      control[at + words.B_BLOCKS] = blocks;
      control[at + words.B_CHECKED] = 0;
      control[at + words.B_KINDS] = 0;
      control[at + words.B_SOURCES] = 0;
      control[at + words.B_DIFFERS] = 0;
      control[at + words.B_FINDINGS] = 0;
      control[at + words.B_POOL] = columns.payloadBytes.byteOffset;
      control[at + words.B_POOL_BYTES] = columns.payloadBytes.byteLength;
      block += blocks;
    });
    this.#planned = batches.length;
    this.#blocks = block;
    control[words.W_ORDER] = this.#parts === 1 ? 0 : this.#orderFor(block);
    this.#members.forget(this.#plan, [this.#order, this.#room?.buffer]);
  }

  /** Has the plan done. */
  #run(work: number): void {
    const control = this.#control;
    control[words.W_PARTS_DONE] = 0;
    control[words.W_BLOCKS] = this.#blocks;
    control[words.W_ROOM] = 0;
    this.#begin(work, words.W_CURSOR);
    const plan = this.#plan;
    const isDone = () => Atomics.load(control, words.W_FINISHED) === plan;
    if (!this.#await(words.W_FINISHED, isDone)) this.#fail();
    this.#end(words.W_CURSOR);
  }

  /** Lets workers begin with the plan, at a cursor. */
  #begin(work: number, cursor: number): void {
    const control = this.#control, plan = ++this.#plan;
    control[words.W_WORK] = work;
    Atomics.store(control, words.W_PLAN, plan);
    const hasParts = work !== WORK.build;
    if (!hasParts) this.#setParts(words.CURSOR_PARKED);
    // From here on late threads see that all batches wait.
    Atomics.store(control, words.W_BATCHES, this.#planned);
    if (hasParts) this.#setParts(0);
    Atomics.store(control, cursor, 0);
    Atomics.store(control, words.W_BELL, plan);
    Atomics.notify(control, words.W_BELL);
  }

  #setParts(next: number): void {
    const control = this.#control;
    for (let part = 0; part < this.#parts; part++) {
      control[words.partAt(part) + words.P_OWNER] = 0;
      Atomics.store(control, words.partAt(part) + words.P_NEXT, next);
    }
  }

  /** Ends a plan of which everything is done. */
  #end(cursor: number): void {
    const control = this.#control;
    Atomics.store(control, cursor, words.CURSOR_PARKED);
    // Who sleeps on the progress of this plan is to sleep on the next one.
    Atomics.add(control, words.W_PROGRESS, 1);
    Atomics.notify(control, words.W_PROGRESS);
  }

  /**
   * Sleeps on a word until what it waits for is so; takes part where nothing goes on.
   *
   * @returns Whether it is; not where workers failed.
   */
  #await(word: number, isDone: () => boolean): boolean {
    const control = this.#control;
    let progress = NaN, changedMs = monotonicNowMs();
    for (;;) {
      const seen = Atomics.load(control, word);
      if (isDone()) return true;
      const state = Atomics.load(control, words.W_PROGRESS) +
        Atomics.load(control, words.W_CURSOR) + Atomics.load(control, words.W_BUILD) +
        Atomics.load(control, words.W_BUILT);
      const nowMs = monotonicNowMs();
      if (state !== progress) {
        progress = state;
        changedMs = nowMs;
      } else {
        while (this.#own.step());
        if (isDone()) return true;
      }
      if (this.#fault !== undefined || nowMs - changedMs > this.#timeoutMs) return false;
      Atomics.wait(control, word, seen, LOOK_MS);
    }
  }

  /** The body of a frame, if it was built. */
  #bodyOf(index: number, frame: RowFrame, room: BodyRoom): BuiltFrame | undefined {
    const control = this.#control, at = words.batchAt(index);
    if (control[at + words.B_BODY] !== BODY_STATE.built) return undefined;
    const { columns: { payloadBytes }, payloadLength } = frame;
    const isDirect = payloadLength >= PAYLOAD_DIRECT_MIN;
    return {
      room,
      at: 8 * control[at + words.B_BODY_AT],
      bytes: control[at + words.B_BODY_BYTES],
      direct: isDirect ? payloadBytes.subarray(0, payloadLength) : undefined,
      sections: control[at + words.B_BODY_SECTIONS],
      check: control[at + words.B_BODY_CHECK] >>> 0,
    };
  }

  /** Makes room for bodies in their longest form; what is not written to takes no memory. */
  #reserveRoom(frames: readonly RowFrame[], texts: readonly (Uint8Array | undefined)[]): boolean {
    let bytes = 0;
    frames.forEach(({ rows, payloadLength }, index) => {
      bytes += BODY_BYTES + BODY_ROW_BYTES * rows + 2 * (texts[index]?.length ?? 0);
      if (payloadLength < PAYLOAD_DIRECT_MIN) bytes += payloadLength;
    });
    if (this.#room !== undefined && this.#room.bytes.length >= bytes) return true;
    try {
      this.#room = bodyRoom(new SharedArrayBuffer(2 ** Math.ceil(Math.log2(bytes))));
      return true;
    } catch {
      return false;
    }
  }

  #fail(): never {
    const fault = this.#fault ?? `nothing went on for ${this.#timeoutMs} ms`;
    this.#isClosed = true;
    throw new MmsbError("worker", `Cannot go on with the tick as its workers failed: ${fault}`, {
      values: { workers: this.#size, timeoutMs: this.#timeoutMs },
    });
  }

  #numberOf(buffer: ArrayBufferLike): number {
    return this.#members.numberOf(buffer as SharedArrayBuffer, this.#plan);
  }

  #orderFor(blocks: number): number {
    const bytes = 4 * words.orderWords(blocks, this.#parts);
    if (this.#order === undefined || this.#order.byteLength < bytes) {
      this.#order = new SharedArrayBuffer(2 ** Math.ceil(Math.log2(bytes)));
    }
    return this.#numberOf(this.#order);
  }
}

function blocksOf(rows: number): number {
  return Math.ceil(rows / BLOCK_ROWS);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
