/**
 * Worker team: threads that check batches, count epochs and put rows into pages, for one bus.
 *
 * The thread of the bus, the coordinator, writes a plan of the tick's batches into shared memory, wakes as many
 * workers as there are cores, and sleeps until all is done; so a tick is one call with workers as without. Which
 * thread does what is left to chance, what comes out is not: each page gets its rows in the order of the
 * batches. Workers are helpers: where none comes to a plan, the coordinator does it itself.
 *
 * Cost: a worker takes 40 to 60 ms to start and 14 MB; a plan 20 to 100 µs beside the work in it, so small ticks are
 * better done inline ({@linkcode WorkerTeam.isWorth}).
 *
 * @module
 */

import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { assert, MmsbError, SHARDS_MAX } from "../../base/mod.ts";
import {
  type BatchShape,
  type DeltaBatch,
  type PageStore,
  type SharedPages,
  sharedPages,
} from "../../physical/mod.ts";
import { monotonicNowMs } from "../../temporal/mod.ts";
import { coreCount, pinningUnavailable, workerUnavailable } from "./_platform.ts";
import { TeamTasks } from "./_team_tasks.ts";
import * as words from "./_team_words.ts";

const { WORK, BATCH_STATE, BLOCK_ROWS } = words;

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
/** Plans after which a buffer that none of them named is taken back. */
const PLANS_KEPT = 64;
const RESTARTS_MAX = 16;

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
  /** Pieces of work that this was done in. */
  readonly tasks: number;
  /** Ticks that it has taken part in. */
  readonly ticks: number;
  /** Milliseconds that it has worked. */
  readonly busyMs: number;
  /** Rows checked and applied a second of its work; 0 before the first. */
  readonly rowsPerSecond: number;
}

interface Member {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly gone: Promise<void>;
  hasEnded: boolean;
}

/** The workers of one bus. */
export class WorkerTeam {
  /** Why workers are not pinned, where that was asked for and cannot be had. */
  readonly pinning: string | undefined;
  readonly #pages: SharedPages;
  readonly #control: Int32Array;
  readonly #counts: Float64Array;
  readonly #own: TeamTasks;
  readonly #members: Member[] = [];
  readonly #size: number;
  readonly #parts: number;
  readonly #active: number;
  readonly #timeoutMs: number;
  readonly #isPinned: boolean;
  readonly #numbers = new Map<SharedArrayBuffer, { readonly number: number; plan: number }>();
  readonly #buffers = new Map<number, SharedArrayBuffer>();
  #lastBuffer = 0;
  #order: SharedArrayBuffer | undefined;
  #plan = 0;
  #planned = 0;
  #blocks = 0;
  #restarts = 0;
  #isClosed = false;

  private constructor(store: PageStore, options: TeamOptions) {
    const { workers, active = Math.min(workers, coreCount()), timeoutMs = 10_000 } = options;
    assert(workers >= 1 && workers <= SHARDS_MAX, "a team has workers");
    this.#pages = sharedPages(store);
    this.#control = new Int32Array(new SharedArrayBuffer(4 * words.teamWords(workers)));
    this.#size = workers;
    this.#active = active;
    this.#parts = Math.min(
      words.PARTS_MAX,
      options.parts ?? (active < PART_THREADS_MIN ? 1 : active),
    );
    this.#timeoutMs = timeoutMs;
    this.#isPinned = options.pin === true;
    this.pinning = this.#isPinned ? pinningUnavailable() : undefined;
    this.#counts = new Float64Array(new SharedArrayBuffer(8 * words.COUNT_DOUBLES * workers));
    this.#own = new TeamTasks(
      workers,
      this.#control,
      this.#pages,
      (number) => this.#buffers.get(number)!,
    );
    this.#control[words.W_CURSOR] = words.CURSOR_PARKED;
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
      team.#start(worker);
      // Starting one stops this thread for a while; others are let in between.
      await nextTurn();
    }
    const started = monotonicNowMs();
    while (team.#join() < options.workers) {
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
    this.#write(batches.map(({ batch }) => batch));
    const noted = epochs === "note" ? WORK.noteEpochs : 0;
    this.#run(
      WORK.check | (epochs === undefined ? 0 : WORK.epochs) | noted | (apply ? WORK.apply : 0),
    );
    return batches.map((_, batch) => {
      const state = this.#control[words.batchAt(batch) + words.B_STATE];
      return state === BATCH_STATE.accepted ? this.#own.shapeOf(batch) : undefined;
    });
  }

  /** What the workers have done so far. */
  statistics(): WorkerStatistics[] {
    return Array.from({ length: this.#size }, (_, worker) => {
      const at = worker * words.COUNT_DOUBLES, counts = this.#counts;
      const checked = counts[at + words.C_CHECKED], applied = counts[at + words.C_APPLIED];
      const busyMs = counts[at + words.C_BUSY_MS];
      return {
        worker,
        checked,
        applied,
        tasks: counts[at + words.C_TASKS],
        ticks: counts[at + words.C_PLANS],
        busyMs,
        rowsPerSecond: busyMs > 0 ? 1000 * (checked + applied) / busyMs : 0,
      };
    });
  }

  /** Ends a worker, for tests of what comes then; settles when its thread is gone. */
  async kill(worker: number): Promise<void> {
    const member = this.#members[worker];
    await member.worker.terminate();
    await member.gone;
  }

  /** Ends all workers. A second call does nothing more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    Atomics.store(this.#control, words.W_STOP, 1);
    Atomics.add(this.#control, words.W_BELL, 1);
    Atomics.notify(this.#control, words.W_BELL);
    await Promise.all(this.#members.map(async ({ worker, port, gone, hasEnded }) => {
      if (!hasEnded) void worker.terminate();
      await gone;
      port.close();
    }));
    this.#members.length = 0;
    this.#numbers.clear();
    this.#buffers.clear();
  }

  get #fault(): string | undefined {
    const fault = this.#control[words.W_FAULT];
    return fault === 0 ? undefined : `worker ${fault - 1} failed`;
  }

  #start(number: number): void {
    const { port1, port2 } = new MessageChannel();
    const at = words.memberAt(number);
    Atomics.store(this.#control, at, words.MEMBER.starting);
    const life = Atomics.add(this.#control, at + words.M_LIFE, 1) + 1;
    const start: words.WorkerStart = {
      worker: number,
      life,
      control: this.#control.buffer as SharedArrayBuffer,
      counts: this.#counts.buffer as SharedArrayBuffer,
      pages: this.#pages,
      port: port2,
      core: this.#isPinned && this.pinning === undefined ? number % coreCount() : undefined,
    };
    const worker = new Worker(moduleOf(), { workerData: start, transferList: [port2] });
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    const member: Member = { worker, port: port1, gone, hasEnded: false };
    // Unheard, it would end the process; W_FAULT has it, and the exit comes after it.
    worker.on("error", () => {});
    worker.on("exit", () => {
      member.hasEnded = true;
      resolve();
      this.#replace(number, member);
    });
    this.#members[number] = member;
  }

  /**
   * Lets workers take part that have started since.
   *
   * @returns How many take part now.
   */
  #join(): number {
    const control = this.#control;
    let joined = 0;
    this.#members.forEach(({ port, hasEnded }, worker) => {
      if (hasEnded) return;
      const at = words.memberAt(worker), state = Atomics.load(control, at);
      if (state !== words.MEMBER.starting) joined++;
      if (state !== words.MEMBER.ready) return;
      for (const [number, buffer] of this.#buffers) port.postMessage({ number, buffer });
      Atomics.store(control, at, words.MEMBER.joined);
    });
    return joined;
  }

  /** Starts another worker where one has ended that was not to. */
  #replace(number: number, member: Member): void {
    if (this.#isClosed || this.#members[number] !== member) return;
    member.port.close();
    if (this.#restarts++ < RESTARTS_MAX) this.#start(number);
  }

  /** Writes a plan of batches. */
  #write(batches: readonly DeltaBatch[]): void {
    const control = this.#control;
    this.#join();
    let block = 0;
    batches.forEach((batch, index) => {
      const { kernel } = batch, at = words.batchAt(index), blocks = blocksOf(batch.length);
      Atomics.store(control, at + words.B_STATE, BATCH_STATE.waiting);
      control[at + words.B_BUFFER] = this.#numberOf(kernel.page.buffer as SharedArrayBuffer);
      control[at + words.B_CAPACITY] = kernel.page.length;
      control[at + words.B_ROWS] = batch.length;
      control[at + words.B_PAYLOAD] = batch.payloadLength;
      control[at + words.B_STRINGS] = batch.strings.length;
      control[at + words.B_FIRST] = block;
      control[at + words.B_BLOCKS] = blocks;
      control[at + words.B_CHECKED] = 0;
      control[at + words.B_KINDS] = 0;
      control[at + words.B_SOURCES] = 0;
      control[at + words.B_DIFFERS] = 0;
      control[at + words.B_FINDINGS] = 0;
      control[at + words.B_POOL] = kernel.payloadBytes.byteOffset;
      control[at + words.B_POOL_BYTES] = kernel.payloadBytes.byteLength;
      block += blocks;
    });
    this.#planned = batches.length;
    this.#blocks = block;
    control[words.W_ORDER] = this.#parts === 1 ? 0 : this.#orderFor(block);
    this.#forget();
  }

  /** Has the plan done. */
  #run(work: number): void {
    const control = this.#control, plan = ++this.#plan;
    control[words.W_WORK] = work;
    control[words.W_PARTS_DONE] = 0;
    control[words.W_BLOCKS] = this.#blocks;
    Atomics.store(control, words.W_PLAN, plan);
    // From here on late threads see that all batches wait.
    Atomics.store(control, words.W_BATCHES, this.#planned);
    for (let part = 0; part < this.#parts; part++) {
      control[words.partAt(part) + words.P_OWNER] = 0;
      Atomics.store(control, words.partAt(part) + words.P_NEXT, 0);
    }
    Atomics.store(control, words.W_CURSOR, 0);
    Atomics.store(control, words.W_BELL, plan);
    Atomics.notify(control, words.W_BELL, this.#active);
    this.#await(plan);
    Atomics.store(control, words.W_CURSOR, words.CURSOR_PARKED);
    // Who sleeps on the progress of this plan is to sleep on the next one.
    Atomics.add(control, words.W_PROGRESS, 1);
    Atomics.notify(control, words.W_PROGRESS);
  }

  /** Sleeps until a plan is done; takes part where nothing goes on. */
  #await(plan: number): void {
    const control = this.#control;
    let progress = NaN, changedMs = monotonicNowMs();
    for (;;) {
      const finished = Atomics.load(control, words.W_FINISHED);
      if (finished === plan) return;
      const state = Atomics.load(control, words.W_PROGRESS) + Atomics.load(control, words.W_CURSOR);
      const nowMs = monotonicNowMs();
      if (state !== progress) {
        progress = state;
        changedMs = nowMs;
      } else {
        while (this.#own.step());
        if (Atomics.load(control, words.W_FINISHED) === plan) return;
      }
      if (this.#fault !== undefined || nowMs - changedMs > this.#timeoutMs) this.#fail();
      Atomics.wait(control, words.W_FINISHED, finished, LOOK_MS);
    }
  }

  #fail(): never {
    const fault = this.#fault ?? `nothing went on for ${this.#timeoutMs} ms`;
    this.#isClosed = true;
    throw new MmsbError("worker", `Cannot go on with the tick as its workers failed: ${fault}`, {
      values: { workers: this.#size, timeoutMs: this.#timeoutMs },
    });
  }

  /** The number by which workers know a buffer. */
  #numberOf(buffer: SharedArrayBuffer): number {
    const known = this.#numbers.get(buffer);
    if (known !== undefined) {
      known.plan = this.#plan;
      return known.number;
    }
    const number = ++this.#lastBuffer;
    this.#numbers.set(buffer, { number, plan: this.#plan });
    this.#buffers.set(number, buffer);
    this.#post({ number, buffer });
    return number;
  }

  /** Takes buffers back that have not been named for long: their batches may be gone. */
  #forget(): void {
    if (this.#numbers.size <= PLANS_KEPT || this.#plan % PLANS_KEPT !== 0) return;
    for (const [buffer, { number, plan }] of this.#numbers) {
      if (plan > this.#plan - PLANS_KEPT || buffer === this.#order) continue;
      this.#numbers.delete(buffer);
      this.#buffers.delete(number);
      this.#post({ number, buffer: undefined });
    }
  }

  #post(news: words.BufferNews): void {
    this.#members.forEach(({ port, hasEnded }, worker) => {
      const state = Atomics.load(this.#control, words.memberAt(worker));
      if (!hasEnded && state === words.MEMBER.joined) port.postMessage(news);
    });
  }

  #orderFor(blocks: number): number {
    const bytes = 4 * words.orderWords(blocks, this.#parts);
    if (this.#order === undefined || this.#order.byteLength < bytes) {
      this.#order = new SharedArrayBuffer(2 ** Math.ceil(Math.log2(bytes)));
    }
    return this.#numberOf(this.#order);
  }
}

function moduleOf(): URL {
  return new URL("./_worker.ts", import.meta.url);
}

function blocksOf(rows: number): number {
  return Math.ceil(rows / BLOCK_ROWS);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
