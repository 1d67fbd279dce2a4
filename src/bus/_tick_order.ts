/**
 * Order of ticks: who ticks or commits waits for those who did before, for room in the log, and for a
 * checkpoint that needs a turn; whoever stages in a commit is taken back where it throws.
 *
 * A tick that need not wait runs before its caller goes on.
 */

import { checkInteger, checkKeys, checkType, MmsbError } from "../base/mod.ts";
import { DeltaBatch, type PageStore } from "../physical/mod.ts";
import type { Checkpoints } from "./_checkpoints.ts";
import type { Followers } from "./_followers.ts";
import type { Sending } from "./_sending.ts";
import type { BatchReceipt, TickReport } from "./reports.ts";
import { atomically, type Staging } from "./staging.ts";
import type { TickEngine } from "./tick_engine.ts";

const DEFAULT_PRODUCER = 1;
const PRODUCER_MAX = 0xffff_ffff;

/** What of its bus the order of ticks needs. */
export interface TickedBus {
  /** The pages. */
  readonly store: PageStore;
  /** Who hears of ticks. */
  readonly followers: Followers;
  /** Its checkpoints, if it makes any. */
  readonly checkpoints: Checkpoints | undefined;
  /** What a tick must wait for besides: the modules of rules. */
  beforeTick(): Promise<void> | undefined;
  /** Throws where the bus is closed or cannot write. */
  checkWritable(): void;
}

/** The ticks of one bus, one after the other. */
export class TickOrder {
  readonly #bus: TickedBus;
  #engine: TickEngine;
  #busy: Promise<unknown> | undefined;

  /** Nothing waits yet. */
  constructor(bus: TickedBus, engine: TickEngine) {
    this.#bus = bus;
    this.#engine = engine;
  }

  /** Settles after the last tick that waits; `undefined` where none does. */
  get busy(): Promise<unknown> | undefined {
    return this.#busy;
  }

  /** Goes on with another engine. */
  goOnWith(engine: TickEngine): void {
    this.#engine = engine;
  }

  /**
   * Queues a batch.
   *
   * @throws {MmsbError} as `StateBus.submit`.
   */
  submit(
    batch: DeltaBatch,
    options: { readonly producer?: number },
    sending?: Sending,
  ): Promise<BatchReceipt> {
    if (!(batch instanceof DeltaBatch)) {
      throw new MmsbError("usage", "Cannot submit: give a DeltaBatch");
    }
    checkKeys("submit", options, ["producer"]);
    const { producer = DEFAULT_PRODUCER } = options;
    checkInteger("producer", producer, DEFAULT_PRODUCER, PRODUCER_MAX);
    if (batch.submitted) {
      throw new MmsbError("usage", "Cannot submit a batch twice: await its receipt first");
    }
    if (batch.length === 0) {
      throw new MmsbError("usage", "Cannot submit an empty batch: add rows first");
    }
    if (sending !== undefined) return sending.submit(batch, options.producer);
    return this.#engine.submit(batch, producer);
  }

  /**
   * Runs a tick after those that wait.
   *
   * @throws {MmsbError} as `StateBus.tick`.
   */
  tick(): Promise<TickReport> {
    try {
      const before = this.#busy ?? this.#waitBeforeTick();
      return before === undefined ? Promise.resolve(this.#run()) : this.#enqueue(before);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Stages, ticks after those that wait, and waits until the tick is durable.
   *
   * @throws {MmsbError} as `StateBus.commit`.
   */
  async commit(stage: (() => void) | undefined): Promise<TickReport> {
    if (stage !== undefined) checkType("stage", stage, "function");
    const before = this.#busy ?? this.#waitBeforeTick();
    const report = before === undefined
      ? this.#stageAndRun(stage)
      : await this.#enqueue(before, stage);
    await report.durable;
    return report;
  }

  /**
   * Runs a tick of another open batch and nothing else, after those that wait.
   *
   * @param staging The open batch.
   * @param check Called right before the tick; it may still stage there, or throw so that no tick comes.
   * @throws {MmsbError} as `StateBus.tick`, and what `check` throws.
   */
  async alone(staging: Staging, check: () => void): Promise<TickReport> {
    const run = (): TickReport => {
      check();
      return this.#bus.followers.run(() => this.#engine.runAlone(staging));
    };
    const before = this.#busy ?? this.#waitBeforeTick(staging);
    return before === undefined ? run() : await this.#inTurn(before, run, staging);
  }

  /** Runs a tick; followers hear of it. */
  #run(): TickReport {
    return this.#bus.followers.run(() => this.#engine.run());
  }

  /** Stages and ticks in one go, so that nobody else stages in between. */
  #stageAndRun(stage: (() => unknown) | undefined): TickReport {
    if (stage === undefined) return this.#run();
    const { staging } = this.#engine, { store } = this.#bus;
    atomically({ staging, store }, () => {
      const result = stage();
      if (!(result instanceof Promise)) return;
      result.catch(() => {});
      throw new MmsbError(
        "usage",
        "Cannot commit an asynchronous stage as others could stage beside it: await first, then commit",
      );
    });
    return this.#run();
  }

  #enqueue(before: Promise<unknown>, stage?: () => unknown): Promise<TickReport> {
    const { staging } = this.#engine;
    const generation = staging.isEmpty || stage !== undefined ? -1 : staging.generation;
    return this.#inTurn(before, () => {
      const report = this.#stageAndRun(stage);
      // An earlier tick may have taken what was staged when this one was asked for, and refused it.
      const refusal = this.#engine.refusalOf(generation);
      if (refusal !== undefined) throw refusal;
      return report;
    });
  }

  /** Runs a tick once those before it are done and the log has room. */
  #inTurn(
    before: Promise<unknown>,
    tick: () => TickReport,
    alone?: Staging,
  ): Promise<TickReport> {
    const run = before.catch(() => {}).then(async () => {
      this.#bus.checkWritable();
      for (
        let wait = this.#waitBeforeTick(alone);
        wait !== undefined;
        wait = this.#waitBeforeTick(alone)
      ) {
        await wait.catch((error) => this.#engine.refuseAll(error));
      }
      return tick();
    });
    const busy = run.catch(() => {}).finally(() => {
      if (this.#busy === busy) this.#busy = undefined;
    });
    this.#busy = busy;
    return run;
  }

  /** What a tick must wait for. */
  #waitBeforeTick(alone?: Staging): Promise<void> | undefined {
    return (alone === undefined ? this.#bus.beforeTick() : undefined) ??
      this.#engine.waitBeforeTick(alone) ?? this.#bus.checkpoints?.beforeTick();
  }
}
