/**
 * GPU thread: the thread that owns the GPU, as those see it who have something computed there.
 *
 * WebGPU answers by promises, and a tick is one call that cannot wait for any. So the device lives in a thread of its own: who
 * has a job writes it into shared memory, does other things, and sleeps until the result stands in shared memory too. The
 * thread only reads what it is given. So when it hangs, dies, or loses its device, nothing is half done:
 * the caller is told with an error of code `gpu`, computes on the CPU, and another thread or device is on its way.
 *
 * All buses of a thread share one GPU thread, which ends with the last of them.
 *
 * Cost: some 40 µs a job beside what the device takes; docs/gpu.md has figures of the start.
 *
 * @module
 */

import { checkInteger, checkKeys, checkType, MmsbError } from "../../base/mod.ts";
import type { SharedArena } from "../arena.ts";
import type { JobReader, JobWriter } from "./_channel.ts";
import { type AskOptions, SharedThread } from "./_thread_shared.ts";
import type { JobTicket } from "./_thread_life.ts";
import type { GpuAsk } from "./_thread_words.ts";
import type { GpuAdapterReport } from "./gpu_device.ts";
import type { SelfTestReport } from "./selftest.ts";

export type { JobReader, JobWriter } from "./_channel.ts";
export type { AskOptions } from "./_thread_shared.ts";
export type { JobTicket } from "./_thread_life.ts";
export type { GpuAsk } from "./_thread_words.ts";

/** Milliseconds that a job may stand still where nothing else was asked for. */
export const GPU_TIMEOUT_MS_DEFAULT = 10_000;
/** Timers go no further. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** Options of {@linkcode openGpuThread}. */
export interface GpuThreadOptions {
  /** Most milliseconds that a job may stand still. Default {@linkcode GPU_TIMEOUT_MS_DEFAULT}. */
  readonly timeoutMs?: number;
}

/** What a GPU thread is doing. */
export interface GpuThreadStatus {
  /**
   * `ready`: jobs can be begun. `starting`: a thread or a device is on its way. `none`: there is no adapter. `failed`: the
   * GPU is not used any more. `lost`: the device is gone, and another could not be opened yet. `closed`: by its owner.
   */
  readonly state: "ready" | "starting" | "none" | "failed" | "lost" | "closed";
  /** Why it is so, in words; empty where it is ready. */
  readonly reason: string;
  /** The adapter, once one was found. */
  readonly adapter?: GpuAdapterReport;
  /** What the self-test of the present device found. */
  readonly selfTest?: SelfTestReport;
  /** Number of the present device: another one for each. */
  readonly generation: number;
  /** Milliseconds that the opening of the present device took, in the thread. */
  readonly openMs: number;
  /** Devices that were lost. */
  readonly devicesLost: number;
  /** Threads that were lost. */
  readonly threadsLost: number;
}

/** What was done on the GPU since its first thread was started, over all who share it; plain numbers that users add to. */
export interface GpuTotals {
  /** Batches that were applied there. */
  batches: number;
  /** Their rows. */
  rows: number;
  /** Runs of rules. */
  rules: number;
  /** Steps of those. */
  steps: number;
  /** Bytes that went to the device. */
  uploadedBytes: number;
  /** Bytes that came back. */
  readBytes: number;
  /** Jobs that failed. */
  failures: number;
}

/** A counted handle on the GPU thread. */
export class GpuThread {
  readonly #shared: SharedThread;
  readonly #timeoutMs: number;
  readonly #tickets = new Set<JobTicket>();
  readonly #arenas = new Set<number>();
  #isClosed = false;

  /** Takes a handle; use {@linkcode openGpuThread}. */
  constructor(shared: SharedThread, timeoutMs: number) {
    this.#shared = shared;
    this.#timeoutMs = timeoutMs;
  }

  /** What the thread is doing; fresh within a tick, too. */
  get status(): GpuThreadStatus {
    if (!this.#isClosed) return this.#shared.status;
    return { ...this.#shared.status, state: "closed", reason: "it was closed" };
  }

  /** Whether jobs can be begun; costs a load. */
  get isReady(): boolean {
    return !this.#isClosed && this.#shared.isReady;
  }

  /** Number of the present device: what was on the one before is gone. */
  get generation(): number {
    return this.#shared.generation;
  }

  /** What was done, over all who share the thread. */
  get totals(): GpuTotals {
    return this.#shared.totals;
  }

  /** Settles when what is on its way (a thread, a device) is there; `undefined` where nothing is. */
  waitBeforeTick(): Promise<void> | undefined {
    return this.#isClosed ? undefined : this.#shared.waitUntilStarted();
  }

  /**
   * Makes an arena known.
   *
   * @param arena The arena; it may grow.
   * @returns Its number, for {@linkcode JobReader.arena}.
   * @throws {MmsbError} `closed`.
   */
  register(arena: SharedArena): number {
    this.#checkOpen();
    const number = this.#shared.register(arena);
    this.#arenas.add(number);
    return number;
  }

  /** Takes an arena back. */
  unregister(number: number): void {
    if (this.#arenas.delete(number)) this.#shared.unregister(number);
  }

  /**
   * Begins a job.
   *
   * @param op Its operation, of `job_ops.ts`.
   * @param write Writes what it says; what it throws is thrown, and there is no job then.
   * @returns What to wait for.
   * @throws {MmsbError} `gpu` where the thread is not ready or too many jobs are under way, `limit` where a job
   * takes more than 1 GiB, `allocation` where memory is short, `closed`.
   */
  begin(op: number, write: (job: JobWriter) => void): JobTicket {
    this.#checkOpen();
    const ticket = this.#shared.begin(op, write);
    this.#tickets.add(ticket);
    return ticket;
  }

  /** Whether a job is done, one way or the other, so that {@linkcode GpuThread.end} would not sleep. */
  isDone(ticket: JobTicket): boolean {
    return this.#shared.isDone(ticket);
  }

  /**
   * Waits for a job.
   *
   * @param ticket What was begun.
   * @param read Reads what it gave; views are good until it returns.
   * @returns What `read` gives.
   * @throws {MmsbError} What the handler threw; `gpu` where the device or the thread was lost, or nothing went on for so
   * long that it was given up; `usage` where the job was ended before; what `read` throws.
   */
  end<T>(ticket: JobTicket, read: (result: JobReader) => T): T {
    this.#checkOpen();
    if (!this.#tickets.delete(ticket)) {
      throw new MmsbError("usage", "Cannot end a job of the GPU twice: begin another");
    }
    try {
      return read(this.#shared.wait(ticket, this.#timeoutMs));
    } finally {
      this.#shared.free(ticket);
    }
  }

  /** Begins a job and waits for it: {@linkcode GpuThread.begin} and {@linkcode GpuThread.end}. */
  call<T>(op: number, write: (job: JobWriter) => void, read: (result: JobReader) => T): T {
    return this.end(this.begin(op, write), read);
  }

  /** Gives a job up whose result nobody wants; it may run nevertheless. */
  discard(ticket: JobTicket): void {
    if (this.#tickets.delete(ticket)) this.#shared.free(ticket);
  }

  /**
   * Asks for what is not part of a tick.
   *
   * @typeParam T What is answered.
   * @param message What is asked; it is cloned.
   * @param options How long the answer may take.
   * @returns The answer, when jobs begun before are done.
   * @throws {MmsbError} What the handler threw; `gpu` where there is no GPU, it was lost, or no answer came, so that the
   * thread was given up; `usage` where the message cannot
   * be cloned or nobody answers such questions; `closed`.
   */
  async ask<T = unknown>(message: GpuAsk, options: AskOptions = {}): Promise<T> {
    this.#checkOpen();
    return await this.#shared.ask(message, checkedOptions(options)) as T;
  }

  /**
   * Asks what each new device is to be asked again before jobs can be begun: a rule to be compiled, say.
   *
   * @typeParam T What is answered.
   * @param key By which it is dropped, or replaced.
   * @param message What is asked; it is cloned.
   * @param options How long the answer may take.
   * @returns The answer.
   * @throws {MmsbError} As {@linkcode GpuThread.ask}; it is not kept then.
   */
  async keep<T = unknown>(key: string, message: GpuAsk, options: AskOptions = {}): Promise<T> {
    this.#checkOpen();
    checkType("key", key, "string");
    return await this.#shared.ask(message, checkedOptions(options), key) as T;
  }

  /** Has nobody asked again what was kept. */
  drop(key: string): void {
    this.#shared.drop(key);
  }

  /** Gives the handle back; the thread ends with the last one. A second call does nothing more. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const ticket of this.#tickets) this.#shared.free(ticket);
    this.#tickets.clear();
    for (const number of this.#arenas) this.#shared.unregister(number);
    this.#arenas.clear();
    await this.#shared.release();
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new MmsbError("closed", "Cannot use the GPU thread: it was closed");
  }
}

/**
 * Opens the GPU thread of this thread, or takes part in the one that there is.
 *
 * @param options How long a job may stand still.
 * @returns A handle; its status says what became of it: not having a GPU is no error.
 * @throws {MmsbError} `usage` for options that are none.
 */
export async function openGpuThread(options: GpuThreadOptions = {}): Promise<GpuThread> {
  checkKeys("openGpuThread", options, ["timeoutMs"]);
  const { timeoutMs = GPU_TIMEOUT_MS_DEFAULT } = options;
  checkInteger("timeoutMs", timeoutMs, 1, TIMEOUT_MS_MAX);
  const shared = SharedThread.take();
  await shared.waitUntilStarted();
  return new GpuThread(shared, timeoutMs);
}

function checkedOptions(options: AskOptions): AskOptions {
  checkKeys("ask", options, ["timeoutMs"]);
  const { timeoutMs } = options;
  if (timeoutMs !== undefined) checkInteger("timeoutMs", timeoutMs, 1, TIMEOUT_MS_MAX);
  return options;
}
