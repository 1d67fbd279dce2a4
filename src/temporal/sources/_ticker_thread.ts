/**
 * The ticker's thread as its owner sees it: started once, ended with the clock, and what became of it in between.
 *
 * It sleeps in its own code and never in the runtime, so it is told to end by a word of the page, and does not keep
 * the process alive. A thread takes 50 ms to start and 20 MB.
 */
import { Worker } from "node:worker_threads";
import { workerMissing } from "./_platform.ts";
import { ALIVE, OVER, type TimePage, W_ALIVE, W_STATE } from "./_time_page.ts";

/** One thread that refreshes one page. */
export class TickerThread {
  /** Settles when it lives, or never will. */
  readonly answered: Promise<void>;
  readonly #words: Int32Array;
  readonly #worker: Worker | undefined;
  readonly #gone: Promise<void>;
  #missing: string | undefined;

  /** Starts it; where that cannot be, `missing` says why. */
  constructor(page: TimePage) {
    this.#words = page.words;
    const answered = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    this.answered = answered.promise;
    this.#gone = gone.promise;
    const over = (reason: string) => {
      this.#missing ??= reason;
      Atomics.store(this.#words, W_ALIVE, 2);
      answered.resolve();
      gone.resolve();
    };
    const module = new URL("./_ticker_worker.ts", import.meta.url);
    const missing = workerMissing(module);
    if (missing !== undefined) {
      over(missing);
      return;
    }
    try {
      this.#worker = new Worker(module, { workerData: page.memory });
    } catch (error) {
      over(`no thread can be started (${(error as Error).message})`);
      return;
    }
    this.#worker.on("message", (news: string) => {
      if (news !== ALIVE) this.#missing = `the ticker's thread failed: ${news}`;
      // Once it lives, it does not keep the process alive.
      this.#worker!.unref();
      answered.resolve();
    });
    // Unheard, an error would end the process.
    this.#worker.on("error", (error: Error) => {
      this.#missing = `the ticker's thread failed: ${error.message}`;
    });
    this.#worker.on("exit", () => over("the ticker's thread ended"));
  }

  /** Why it does not run, in words that go on after `because`; `undefined` while it does. */
  get missing(): string | undefined {
    return this.#missing;
  }

  /** Ends it; settles when the thread is gone. */
  async gone(): Promise<void> {
    Atomics.store(this.#words, W_STATE, OVER);
    Atomics.notify(this.#words, W_STATE);
    if (this.#worker === undefined) return;
    this.#worker.ref();
    void this.#worker.terminate();
    await this.#gone;
  }
}
