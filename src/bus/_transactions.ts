/**
 * Transactions of one bus: those that are open, and the running of a function until it commits.
 *
 * A conflict runs the function again, after a wait that grows and is drawn from a small generator seeded by the
 * transaction's number: those that lost together come back apart, and every run of a program waits the same.
 */

import {
  checkInteger,
  checkKeys,
  checkNumber,
  checkType,
  MmsbError,
  retry,
  RETRY_ATTEMPTS_MAX,
  RETRY_DELAY_MS_MAX,
  TRANSACTIONS_MAX,
} from "../base/mod.ts";
import { Staging } from "./staging.ts";
import { Transaction, type TransactionBus, type TransactionDefaults } from "./transaction.ts";

/** How a transaction is run. */
export interface TransactionOptions extends TransactionDefaults {
  /** Most runs of the function, the first included, 1 to 1000. Default 20. */
  readonly attempts?: number;
  /** Milliseconds after which it is given up, unless its tick has run by then. Default: never. */
  readonly timeoutMs?: number;
}

/** Transactions of a bus since it was opened. */
export interface TransactionStatistics {
  /** Those that are open. */
  readonly open: number;
  /** Those that committed. */
  readonly committed: number;
  /** Those that lost: something that they had read had changed. */
  readonly conflicts: number;
  /** Those that were rolled back or refused for another reason. */
  readonly rolledBack: number;
}

/** What of its bus a transaction needs, but for what it gets from here. */
type TransactionHost = Omit<TransactionBus, "ended" | "staging">;

/** Empty open batches that are kept. */
const SPARE_MAX = 16;
const DEFAULT_KEYS = ["source", "intent"];
const KEYS = [...DEFAULT_KEYS, "attempts", "timeoutMs"];
const ATTEMPTS_DEFAULT = 20;
const DELAY_MS_MIN = 0.5;
const DELAY_MS_MAX = 50;

/** The transactions of one bus. */
export class Transactions {
  readonly #bus: TransactionHost;
  /** Empty open batches of transactions that have ended: making one costs more than a small transaction. */
  readonly #spare: Staging[] = [];
  readonly #open = new Set<Transaction>();
  #begun = 0;
  #committed = 0;
  #conflicts = 0;
  #rolledBack = 0;

  /** None is open yet. */
  constructor(bus: TransactionHost) {
    this.#bus = bus;
  }

  /**
   * Begins one.
   *
   * @throws {MmsbError} `usage` for wrong options, `limit` where too many are open.
   */
  begin(options: TransactionDefaults = {}): Transaction {
    checkKeys("begin", options, DEFAULT_KEYS);
    const { source, intent } = options;
    if (source !== undefined) checkType("source", source, "string");
    if (intent !== undefined) checkType("intent", intent, "string");
    if (this.#open.size >= TRANSACTIONS_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot have more than ${TRANSACTIONS_MAX} transactions open: commit some, or roll them back`,
        { values: { open: this.#open.size } },
      );
    }
    const bus = this.#bus, staging = this.#spare.pop() ?? new Staging();
    this.#begun++;
    const transaction = new Transaction({
      // A bus that was reset has another one.
      host: bus.host,
      staging,
      tick: () => bus.tick(),
      run: (staging, check) => bus.run(staging, check),
      durable: () => bus.durable(),
      ended: (ended, outcome) => {
        this.#open.delete(ended);
        if (this.#spare.length < SPARE_MAX) this.#spare.push(staging);
        if (outcome === "committed") this.#committed++;
        else if (outcome === "conflict") this.#conflicts++;
        else this.#rolledBack++;
      },
    }, { source, intent });
    this.#open.add(transaction);
    return transaction;
  }

  /**
   * Runs a function until it commits.
   *
   * @throws {MmsbError} as `StateBus.transaction`.
   */
  async run<T>(
    work: (tx: Transaction) => T | Promise<T>,
    options: TransactionOptions,
  ): Promise<T> {
    checkType("work", work, "function");
    checkKeys("transaction", options, KEYS);
    const { source, intent, timeoutMs } = options;
    const attempts = checkInteger(
      "attempts",
      options.attempts ?? ATTEMPTS_DEFAULT,
      1,
      RETRY_ATTEMPTS_MAX,
    );
    if (timeoutMs !== undefined) checkNumber("timeoutMs", timeoutMs, 0, RETRY_DELAY_MS_MAX);
    const controller = new AbortController(), { signal } = controller;
    let current: Transaction | undefined, last: unknown;
    const once = async (): Promise<T> => {
      signal.throwIfAborted();
      const transaction = current = this.begin({ source, intent });
      try {
        const value = await work(transaction);
        await transaction.commit();
        return value;
      } catch (error) {
        last = error;
        transaction.rollback();
        throw error;
      }
    };
    const random = generator(this.#begun);
    const delays = { delayMsMin: DELAY_MS_MIN, delayMsMax: DELAY_MS_MAX };
    const done = retry(once, { attempts, ...delays, random, signal });
    if (timeoutMs === undefined) return await done;
    const timedOut = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      const error = timeoutError(timeoutMs, last);
      controller.abort(error);
      // One that commits may be past its tick: its own outcome counts then.
      if (current === undefined || current.isOpen) timedOut.reject(error);
      current?.end(error);
    }, timeoutMs);
    done.catch(() => {});
    try {
      return await Promise.race([done, timedOut.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Pages that open transactions have created and no tick has made real. */
  births(): number[] {
    return [...this.#open].flatMap(({ births }) => births);
  }

  /** Ends all that are open. */
  endAll(reason: MmsbError): void {
    for (const transaction of [...this.#open]) transaction.end(reason);
  }

  /** How they went. */
  statistics(): TransactionStatistics {
    return {
      open: this.#open.size,
      committed: this.#committed,
      conflicts: this.#conflicts,
      rolledBack: this.#rolledBack,
    };
  }
}

/** Marsaglia's xorshift (2003), from 0 up to 1. */
function generator(seed: number): () => number {
  let x = Math.imul(seed, 0x9e37_79b1) || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

function timeoutError(timeoutMs: number, cause: unknown): MmsbError {
  return new MmsbError(
    "limit",
    `Cannot commit within ${timeoutMs} ms: give the transaction more time, or less to do`,
    { values: { timeoutMs }, cause },
  );
}
