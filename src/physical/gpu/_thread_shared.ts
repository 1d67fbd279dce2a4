/**
 * Shared thread: the one GPU thread that all buses of a thread share, over its lives.
 *
 * It counts who uses it and knows what a new life has to be told: arenas, and questions that are to be asked again. A life
 * that does not answer is given up, and another is started, up to a number: a GPU that hangs again and again is
 * left alone. `close` waits for whatever is on its way, so that nothing is left behind.
 */

import { isMmsbError, MmsbError, type MmsbErrorJson, reasonOf } from "../../base/mod.ts";
import { monotonicNowMs } from "../../temporal/mod.ts";
import type { SharedArena } from "../arena.ts";
import { type JobReader, type JobWriter, STATE } from "./_channel.ts";
import { coreCount, runtimeGpu, threadUnavailable } from "./_platform.ts";
import { isSettled, type JobTicket, moduleOf, ThreadLife } from "./_thread_life.ts";
import { stateOf, waitFor } from "./_thread_wait.ts";
import { pauseMs } from "./_thread_turns.ts";
import type { ArenaNews, GpuAsk, ThreadTrial } from "./_thread_words.ts";
import type { GpuThreadStatus, GpuTotals } from "./gpu_thread.ts";

/** Milliseconds that a thread and its device may take to start: compilers of a busy machine are slow. */
const START_MS_MAX = 60_000;
/** Milliseconds that a question may take. */
const ASK_MS_MAX = 120_000;
/** Milliseconds after which an answer is not asked of every later device. */
const KEPT_MS_MAX = 10_000;
/** Threads that may be lost before the GPU is left alone. */
const THREADS_LOST_MAX = 8;
/** Looks at a result before the coordinator sleeps, where there are cores for both. */
const SPINS = 2000;

/** What differs in tests. */
export interface SharedThreadOptions {
  /** How the thread differs. */
  readonly trial?: ThreadTrial;
  /** Most milliseconds of a start. */
  readonly startMs?: number;
  /** Threads that may be lost before the GPU is left alone. */
  readonly lostMax?: number;
}

/** How something is asked. */
export interface AskOptions {
  /** Most milliseconds that the answer may take, counted from the call. Default two minutes. */
  readonly timeoutMs?: number;
}

/** The GPU thread of this thread. */
export class SharedThread {
  static #current: SharedThread | undefined;
  /** What was done, by all who share it. */
  readonly totals: GpuTotals = {
    batches: 0,
    rows: 0,
    rules: 0,
    steps: 0,
    uploadedBytes: 0,
    readBytes: 0,
    failures: 0,
  };
  readonly #trial: ThreadTrial;
  readonly #startMs: number;
  readonly #lostMax: number;
  readonly #spins = coreCount() > 2 ? SPINS : 0;
  readonly #arenas = new Map<number, ArenaNews>();
  readonly #kept = new Map<string, GpuAsk>();
  /** Threads that are on their way to their end. */
  readonly #ending = new Set<Promise<void>>();
  #life: ThreadLife | undefined;
  #starting: Promise<void> | undefined;
  #users = 0;
  #lastArena = 0;
  #generation = 0;
  #threadsLost = 0;
  /** Why there is no thread and will be none. */
  #missing: { readonly state: "none" | "failed"; readonly reason: string } | undefined;
  #isClosed = false;

  /** Starts its thread. */
  constructor(options: SharedThreadOptions = {}) {
    const { trial = {}, startMs = START_MS_MAX, lostMax = THREADS_LOST_MAX } = options;
    this.#trial = trial;
    this.#startMs = startMs;
    this.#lostMax = lostMax;
    const reason = threadUnavailable(moduleOf());
    if (reason !== undefined) this.#missing = { state: "failed", reason };
    else if (runtimeGpu() === undefined) {
      this.#missing = {
        state: "none",
        reason: "this runtime has no WebGPU; run Deno 2.9 or newer",
      };
    } else this.#start();
  }

  /** The present one, or a new one, with one user more. */
  static take(): SharedThread {
    return (SharedThread.#current ??= new SharedThread()).use();
  }

  /** One user more. */
  use(): this {
    this.#users++;
    return this;
  }

  /** One user less; the last one ends it. */
  async release(): Promise<void> {
    if (--this.#users > 0) return;
    if (SharedThread.#current === this) SharedThread.#current = undefined;
    await this.close();
  }

  /** Ends it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#generation = this.generation;
    const life = this.#life;
    this.#life = undefined;
    if (life !== undefined) this.#bury(life);
    await Promise.all([...this.#ending, this.#starting]);
  }

  /** Whether jobs can be begun. */
  get isReady(): boolean {
    return this.#life?.isReady ?? false;
  }

  /** Number of the present device. */
  get generation(): number {
    return this.#life?.generation ?? this.#generation;
  }

  /** What it is doing. */
  get status(): GpuThreadStatus {
    const life = this.#life, report = life?.report;
    return {
      ...this.#stateAndReason(life),
      adapter: report?.adapter,
      selfTest: report?.selfTest,
      generation: this.generation,
      openMs: report?.openMs ?? 0,
      devicesLost: report?.devicesLost ?? 0,
      threadsLost: this.#threadsLost,
    };
  }

  /** What is kept for jobs. */
  get memory(): ThreadLife["memory"] {
    return this.#life?.memory ?? { known: 0, stagingBytes: 0 };
  }

  /** Settles when a thread or device that is on its way is there; `undefined` where none is. */
  waitUntilStarted(): Promise<void> | undefined {
    return this.#pending() === undefined ? undefined : this.#started();
  }

  async #started(): Promise<void> {
    for (let pending = this.#pending(); pending !== undefined; pending = this.#pending()) {
      await pending;
    }
  }

  #pending(): Promise<void> | undefined {
    if (this.#starting !== undefined) return this.#starting;
    const life = this.#life,
      isStarting = life?.over === undefined && life?.state === STATE.starting;
    return isStarting ? this.#awaitStart(life!) : undefined;
  }

  /** Makes an arena known, now and to later threads. */
  register({ buffer, limitBytes }: SharedArena): number {
    const number = ++this.#lastArena, arena = { buffer, limitBytes };
    this.#arenas.set(number, arena);
    this.#life?.tell({ kind: "arena", number, arena });
    return number;
  }

  /** Takes an arena back. */
  unregister(number: number): void {
    this.#arenas.delete(number);
    this.#life?.forget();
    this.#life?.tell({ kind: "arena", number, arena: undefined });
  }

  /** Begins a job. */
  begin(op: number, write: (job: JobWriter) => void): JobTicket {
    const life = this.#life;
    if (life === undefined || !life.isReady) {
      if (life?.over !== undefined) this.#replace(life);
      throw this.#unready();
    }
    if (!life.hasRoom) {
      throw new MmsbError(
        "gpu",
        "Cannot begin a job of the GPU as too many are under way: end one",
      );
    }
    return life.begin(op, write);
  }

  /** Whether waiting would not sleep. */
  isDone(ticket: JobTicket): boolean {
    const { life } = ticket;
    return ticket.isOver || life.over !== undefined || isSettled(life.stateOf(ticket));
  }

  /** Sleeps until a job is done; gives its result. */
  wait(ticket: JobTicket, timeoutMs: number): JobReader {
    const { life } = ticket;
    switch (waitFor(ticket, timeoutMs, this.#spins)) {
      case "done":
        return life.resultOf(ticket);
      case "failed":
        this.totals.failures++;
        throw MmsbError.fromJSON(life.resultOf(ticket).json() as MmsbErrorJson);
      case "over":
        throw this.#lose(life, life.over!);
      case "still":
        throw this.#lose(life, `it did not end a job in ${timeoutMs} ms`);
    }
  }

  /** Nobody waits for a job any more. */
  free(ticket: JobTicket): void {
    ticket.life.free(ticket);
  }

  /** Asks something; with a key, each later device too. */
  async ask(
    message: GpuAsk,
    { timeoutMs = ASK_MS_MAX }: AskOptions,
    key?: string,
  ): Promise<unknown> {
    // It is kept from now on, so that it can be dropped before it is answered.
    if (key !== undefined) this.#kept.set(key, message);
    const isKept = () => key !== undefined && this.#kept.get(key) === message;
    try {
      await this.waitUntilStarted();
      const life = this.#life;
      // A lost device is opened again for who asks.
      if (life === undefined || life.over !== undefined || !isAlive(life.state)) {
        if (life?.over !== undefined) this.#replace(life);
        throw this.#unready();
      }
      const beganMs = monotonicNowMs();
      const answer = await this.#answered(life, message, timeoutMs, isKept() ? key : undefined);
      // Asked again, it would hold up the start of every device.
      if (isKept() && monotonicNowMs() - beganMs > KEPT_MS_MAX) this.drop(key!);
      return answer;
    } catch (error) {
      if (isKept()) this.drop(key!);
      throw error;
    }
  }

  /** Has a question not asked again. */
  drop(key: string): void {
    if (!this.#kept.delete(key)) return;
    this.#life?.tell({ kind: "drop", key });
  }

  /** Ends the thread, for tests of what comes then. */
  async kill(): Promise<void> {
    const life = this.#life;
    await life?.terminate();
    await life?.gone;
  }

  #stateAndReason(life: ThreadLife | undefined): Pick<GpuThreadStatus, "state" | "reason"> {
    if (this.#isClosed) return { state: "closed", reason: "it was closed" };
    if (this.#missing !== undefined) return this.#missing;
    return life === undefined ? { state: "starting", reason: "" } : stateOf(life);
  }

  #unready(): MmsbError {
    const { state, reason } = this.status;
    const why = reason === "" ? "it is being opened" : reason;
    return new MmsbError("gpu", `Cannot use the GPU now: ${why}`, { values: { state, reason } });
  }

  async #answered(
    life: ThreadLife,
    message: GpuAsk,
    timeoutMs: number,
    key: string | undefined,
  ): Promise<unknown> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(this.#lose(life, `it did not answer "${message.kind}" in ${timeoutMs} ms`));
      }, timeoutMs);
    });
    try {
      return await Promise.race([life.ask(message, key), late]);
    } catch (error) {
      if (isMmsbError(error)) throw error;
      throw new MmsbError("usage", `Cannot ask the GPU thread this: ${reasonOf(error)}`, {
        cause: error,
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Gives a thread up. */
  #lose(life: ThreadLife, reason: string): MmsbError {
    this.totals.failures++;
    this.#replace(life, reason);
    return new MmsbError(
      "gpu",
      `Cannot get a result from the GPU thread: ${reason}; do it on the CPU`,
      { values: { reason, threadsLost: this.#threadsLost } },
    );
  }

  /** Starts another thread in the place of one that is over, or is to be. */
  #replace(life: ThreadLife, reason?: string): void {
    if (reason !== undefined) life.end(reason);
    if (this.#life !== life || this.#isClosed) return;
    this.#generation = life.generation;
    this.#life = undefined;
    this.#threadsLost++;
    // It has had its time.
    this.#bury(life, 0);
    if (this.#threadsLost > this.#lostMax) {
      const why = `${this.#threadsLost} of its threads were lost, the last one as ${life.over}`;
      this.#missing = { state: "failed", reason: why };
      return;
    }
    this.#start();
  }

  #bury(life: ThreadLife, graceMs?: number): void {
    const ended = life.close(graceMs).finally(() => this.#ending.delete(ended));
    this.#ending.add(ended);
  }

  #start(): void {
    const starting = this.#startLife().finally(() => {
      if (this.#starting === starting) this.#starting = undefined;
    });
    this.#starting = starting;
  }

  /** Starts a thread, on the next turn: a tick that has lost one is not to be held up by that. */
  async #startLife(): Promise<void> {
    await pauseMs(0);
    if (this.#isClosed) return;
    try {
      const generation = ++this.#generation;
      const arenas = [...this.#arenas], kept = [...this.#kept], trial = this.#trial;
      this.#life = new ThreadLife(
        { generation, arenas, kept, trial },
        (life) => this.#exited(life),
      );
    } catch (error) {
      const reason = `no thread can be started (${reasonOf(error)})`;
      this.#missing = { state: "failed", reason };
      return;
    }
    await this.#awaitStart(this.#life);
  }

  async #awaitStart(life: ThreadLife): Promise<void> {
    const beganMs = monotonicNowMs();
    while (life.state === STATE.starting && life.over === undefined) {
      if (monotonicNowMs() - beganMs > this.#startMs) {
        this.#replace(life, `it did not start in ${this.#startMs} ms`);
        return;
      }
      await pauseMs(1);
    }
  }

  /** A thread has ended that was not to. */
  #exited(life: ThreadLife): void {
    const { none, failed } = STATE;
    if (life.state !== none && life.state !== failed) this.#replace(life);
  }
}

function isAlive(state: number): boolean {
  return state === STATE.ready || state === STATE.lost || state === STATE.starting;
}
