/**
 * Running: ticks at a steady pace until they are stopped.
 *
 * Ticks are due at `start + n × interval` and not an interval after the last one ended, so the pace does not
 * drift, and a timer that comes late makes the next wait shorter. Who falls behind catches up at most one tick;
 * the others are left out and counted, and the pace goes on where it would be.
 *
 * A tick that throws is told to `onError` and the next one comes all the same, unless the bus cannot tick any more.
 * The timer keeps the process alive while it runs, and nothing else does.
 */

import { checkKeys, checkNumber, checkType, MmsbError } from "../base/mod.ts";
import type { TickReport } from "./reports.ts";

/** How a bus is run. */
export interface RunOptions {
  /** Milliseconds from one tick to the next, 0.1 to 3,600,000. */
  readonly intervalMs: number;
  /** Called with the report of each tick. What it throws goes to `onError`. */
  readonly onTick?: (report: TickReport) => unknown;
  /** Called with what a tick, or `onTick`, threw. Without it the last error is in the run's report. */
  readonly onError?: (error: unknown) => unknown;
}

/** What a run did. */
export interface RunReport {
  /** Ticks that were run, failed ones included. */
  readonly ticks: number;
  /** Ticks that were left out, because those before them took too long. */
  readonly skipped: number;
  /** Ticks and callbacks that threw. */
  readonly errors: number;
  /** What the last of them threw, `undefined` for none. */
  readonly lastError: unknown;
}

/** A run under way; stopped where it is left with `await using`. */
export interface BusRun extends AsyncDisposable, RunReport {
  /** Whether ticks go on. */
  readonly isRunning: boolean;
  /** Settles when the last tick is done: after a stop, or where the bus cannot tick any more. */
  readonly done: Promise<RunReport>;
}

/** What runs. */
export interface RunHost {
  /** Runs a tick. */
  tick(): Promise<TickReport>;
  /** Whether no tick can come any more. */
  isOver(): boolean;
  /** Time that never goes back. */
  nowMs(): number;
  /** Calls back after some time; gives what takes that back. Default: the system's timer. */
  after?(delayMs: number, call: () => void): () => void;
}

const KEYS = ["intervalMs", "onTick", "onError"];
const INTERVAL_MS_MIN = 0.1;
const INTERVAL_MS_MAX = 3_600_000;

/** The runs of one bus, one at a time. */
export class Running {
  readonly #host: RunHost;
  #run: Run | undefined;

  /** Nothing runs yet. */
  constructor(host: RunHost) {
    this.#host = host;
  }

  /**
   * Begins to tick.
   *
   * @throws {MmsbError} `usage` where it runs already, or for wrong options.
   */
  start(options: RunOptions): BusRun {
    checkType("options", options, "object");
    checkKeys("run", options, KEYS);
    const { intervalMs, onTick, onError } = options;
    checkNumber("intervalMs", intervalMs, INTERVAL_MS_MIN, INTERVAL_MS_MAX);
    if (onTick !== undefined) checkType("onTick", onTick, "function");
    if (onError !== undefined) checkType("onError", onError, "function");
    if (this.#run?.isRunning) {
      throw new MmsbError("usage", "Cannot run a bus that runs already: stop it first");
    }
    return this.#run = new Run(this.#host, options);
  }

  /** Ends the run; gives what it did, `undefined` where there was none. */
  async stop(): Promise<RunReport | undefined> {
    return await this.#run?.stop();
  }
}

class Run implements BusRun {
  ticks = 0;
  skipped = 0;
  errors = 0;
  lastError: unknown;
  isRunning = true;
  readonly done: Promise<RunReport>;
  readonly #host: RunHost;
  readonly #options: RunOptions;
  readonly #ended = Promise.withResolvers<RunReport>();
  #dueMs: number;
  #cancel: (() => void) | undefined;
  /** Whether a tick is under way, so that the end must wait for it. */
  #isTicking = false;

  constructor(host: RunHost, options: RunOptions) {
    this.#host = host;
    this.#options = options;
    this.done = this.#ended.promise;
    this.#dueMs = host.nowMs();
    this.#schedule();
  }

  stop(): Promise<RunReport> {
    this.isRunning = false;
    this.#cancel?.();
    if (!this.#isTicking) this.#end();
    return this.done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #schedule(): void {
    const { intervalMs } = this.#options, nowMs = this.#host.nowMs();
    this.#dueMs += intervalMs;
    const late = Math.floor((nowMs - this.#dueMs) / intervalMs);
    if (late > 0) {
      this.skipped += late;
      this.#dueMs += late * intervalMs;
    }
    const delayMs = Math.max(0, this.#dueMs - nowMs), tick = () => void this.#tick();
    this.#cancel = this.#host.after === undefined
      ? afterTimer(delayMs, tick)
      : this.#host.after(delayMs, tick);
  }

  async #tick(): Promise<void> {
    this.#isTicking = true;
    this.ticks++;
    try {
      const report = await this.#host.tick();
      this.#call(() => this.#options.onTick?.(report));
    } catch (error) {
      this.#fail(error);
    }
    this.#isTicking = false;
    if (this.isRunning && !this.#host.isOver()) this.#schedule();
    else this.#end();
  }

  #call(call: () => unknown): void {
    try {
      const result = call();
      if (result instanceof Promise) result.catch((error) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.errors++;
    this.lastError = error;
    try {
      const result = this.#options.onError?.(error);
      if (result instanceof Promise) result.catch((more) => this.#count(more));
    } catch (more) {
      this.#count(more);
    }
  }

  #count(error: unknown): void {
    this.errors++;
    this.lastError = error;
  }

  #end(): void {
    this.isRunning = false;
    const { ticks, skipped, errors, lastError } = this;
    this.#ended.resolve({ ticks, skipped, errors, lastError });
  }
}

function afterTimer(delayMs: number, call: () => void): () => void {
  const timer = setTimeout(call, delayMs);
  return () => clearTimeout(timer);
}
