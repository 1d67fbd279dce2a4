/**
 * Device life: the device that a GPU thread has, from the first one over lost ones to the last.
 *
 * A device that was lost is opened again at once, and where that fails after a pause that doubles each time; in between
 * whoever begins a job is refused on the spot and uses the CPU. A new device has another number, compiled
 * pipelines and what questions were to be asked again before it counts as ready, and nothing else.
 *
 * Cost: an opening holds the thread for as long as the first one did.
 */

import { isMmsbError, MmsbError, reasonOf } from "../../base/mod.ts";
import { monotonicNowMs } from "../../temporal/mod.ts";
import * as channel from "./_channel.ts";
import { askEngine } from "./_gpu_jobs.ts";
import { nextTurn, pauseMs } from "./_thread_turns.ts";
import type { GpuAsk, ThreadReport, ThreadTrial } from "./_thread_words.ts";
import type { GpuAdapterReport } from "./_adapter.ts";
import { GpuDevice } from "./gpu_device.ts";
import { GpuEngine } from "./gpu_engine.ts";
import { deviceLost } from "./gpu_errors.ts";
import type { SelfTestReport } from "./selftest.ts";

const { STATE } = channel;

/** Devices that may be lost before the GPU is left alone. */
const DEVICES_LOST_MAX = 16;
/** Milliseconds before a second try to open a device, and at most. */
const PAUSE_MS_MIN = 1000, PAUSE_MS_MAX = 60_000;

/** An opening that came to nothing. */
interface FailedOpening {
  readonly reason: string;
  /** Whether there was a device, which could not be used. */
  readonly hasDevice: boolean;
}

/** The devices of one thread, one after the other. */
export class DeviceLife {
  readonly #control: Int32Array;
  readonly #trial: ThreadTrial;
  readonly #kept: Map<string, GpuAsk>;
  #engine: GpuEngine | undefined;
  #adapter: GpuAdapterReport | undefined;
  #selfTest: SelfTestReport | undefined;
  #openings = 0;
  #openMs = 0;
  #lost = 0;
  #reason = "";
  #pauseMs = PAUSE_MS_MIN;
  #nextTryMs = 0;

  /** Of no device yet; `kept` is asked of each. */
  constructor(control: Int32Array, trial: ThreadTrial, kept: Map<string, GpuAsk>) {
    this.#control = control;
    this.#trial = trial;
    this.#kept = kept;
  }

  /** Whether there is no device. */
  get isLost(): boolean {
    return this.#engine === undefined || this.#engine.isLost;
  }

  /**
   * The present engine.
   *
   * @throws {MmsbError} `gpu` where there is none.
   */
  get engine(): GpuEngine {
    if (this.#engine === undefined || this.#engine.isLost) throw deviceLost("go on", this.#reason);
    return this.#engine;
  }

  /**
   * The engine that a job was written for.
   *
   * @throws {MmsbError} `gpu` where it is gone.
   */
  engineFor(generation: number): GpuEngine {
    const { engine } = this;
    if (this.#control[channel.W_GENERATION] === generation) return engine;
    throw deviceLost("do a job", "the job was written for the device before this one");
  }

  /** Opens the first device; gives whether there is one. */
  async open(): Promise<boolean> {
    const failed = await this.#tryWithKept();
    if (failed === undefined) return true;
    this.#become(failed.hasDevice ? STATE.failed : STATE.none, failed.reason);
    return false;
  }

  /**
   * Opens a device where one was lost, if it is time for that.
   *
   * @param isUrgent Whether it is, whatever failed before.
   * @returns Whether to go on: not where too many were lost.
   */
  async reopen(isUrgent = false): Promise<boolean> {
    await this.#bury();
    if (this.#lost > DEVICES_LOST_MAX) {
      this.#become(
        STATE.failed,
        `${this.#lost} devices were lost, the last one as ${this.#reason}`,
      );
      return false;
    }
    if (!isUrgent && monotonicNowMs() < this.#nextTryMs) return true;
    const { reason } = this;
    this.#become(STATE.starting, reason);
    const failed = await this.#tryWithKept();
    if (failed === undefined) return true;
    this.#nextTryMs = monotonicNowMs() + this.#pauseMs;
    this.#pauseMs = Math.min(PAUSE_MS_MAX, 2 * this.#pauseMs);
    this.#become(STATE.lost, `${reason}; another one cannot be opened: ${failed.reason}`);
    return true;
  }

  /** Why it is in its state, in words. */
  get reason(): string {
    return this.#reason;
  }

  /** What was thrown, or the loss of the device where that is the reason; lets it be heard of first. */
  async causeOf(what: string, thrown: unknown): Promise<unknown> {
    // Whether a device is gone is said by the event loop.
    await nextTurn();
    const engine = this.#engine;
    if (engine === undefined || !engine.isLost) return thrown;
    this.#note(engine);
    const isOfLoss = isMmsbError(thrown) && thrown.values.isLost === true;
    return isOfLoss ? thrown : deviceLost(what, engine.device.lossReason);
  }

  /**
   * Refuses what was done where the device was lost meanwhile, or has said that something was wrong.
   *
   * @throws {MmsbError} `gpu` where it was, what the device said.
   */
  check(what: string): void {
    const engine = this.#engine;
    if (engine === undefined) throw deviceLost(what, this.#reason);
    if (engine.isLost) {
      this.#note(engine);
      throw deviceLost(what, engine.device.lossReason);
    }
    // What the driver refused, and nobody asked about, may have been part of the job.
    const error = engine.device.takeError();
    if (error !== undefined) throw error;
  }

  /** Promises of the device that have not settled, though what they are of is done. */
  get unsettled(): number {
    return this.#engine?.device.unsettled ?? 0;
  }

  /** Tells coordinators where the device is gone. */
  notice(): void {
    const engine = this.#engine;
    if (engine?.isLost) this.#note(engine);
  }

  /** Gives the device back. */
  async close(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    await engine?.destroy();
  }

  /** Tells coordinators of a loss, once. */
  #note(engine: GpuEngine): void {
    if (Atomics.load(this.#control, channel.W_STATE) !== STATE.ready) return;
    this.#lost++;
    this.#nextTryMs = 0;
    // Another one is opened at once.
    this.#become(STATE.starting, engine.device.lossReason);
  }

  async #bury(): Promise<void> {
    const engine = this.#engine;
    if (engine === undefined) return;
    this.#note(engine);
    this.#engine = undefined;
    try {
      await engine.destroy();
    } catch {
      // It is gone in any case.
    }
  }

  /** Opens a device, with all that is kept but what a device is lost by; gives why not where it cannot. */
  async #tryWithKept(): Promise<FailedOpening | undefined> {
    for (;;) {
      const { size } = this.#kept, failed = await this.#tryToOpen();
      if (failed === undefined || this.#kept.size === size) return failed;
    }
  }

  /** Opens a device; gives why not where it cannot. */
  async #tryToOpen(): Promise<FailedOpening | undefined> {
    const startedMs = monotonicNowMs();
    const { hasNoGpu = false, hasNoSelfTest = false, slowMs = 0 } = this.#trial;
    let device: GpuDevice | undefined;
    try {
      if (slowMs > 0) await pauseMs(slowMs);
      this.#failOnTrial();
      device = await GpuDevice.open(hasNoGpu ? { gpu: null } : {});
      this.#adapter = device.adapter;
      this.#selfTest = undefined;
      const engine = await GpuEngine.over(device, { selfTest: !hasNoSelfTest });
      for (const [key, message] of [...this.#kept]) {
        // What a device is lost by would be the end of the next one, too.
        this.#kept.delete(key);
        await askAgain(engine, message);
        this.#kept.set(key, message);
      }
      this.#openMs = monotonicNowMs() - startedMs;
      if (this.#openings++ > 0) Atomics.add(this.#control, channel.W_GENERATION, 1);
      this.#engine = engine;
      this.#selfTest = engine.selfTest;
      this.#pauseMs = PAUSE_MS_MIN;
      this.#become(STATE.ready, "");
      return undefined;
    } catch (error) {
      await device?.destroy();
      const { reason, selfTest } = isMmsbError(error) ? error.values : {};
      if (selfTest !== undefined) this.#selfTest = selfTest as SelfTestReport;
      return {
        reason: typeof reason === "string" ? reason : reasonOf(error),
        hasDevice: device !== undefined,
      };
    }
  }

  #failOnTrial(): void {
    const { failedOpenings = 0 } = this.#trial;
    if (this.#openings > 0 && this.#openings <= failedOpenings) {
      this.#openings++;
      throw new MmsbError("gpu", "Cannot open a device: this is a trial");
    }
  }

  /** Says what it is, and wakes who waits for that. */
  #become(state: number, reason: string): void {
    const control = this.#control;
    this.#reason = reason;
    const report: ThreadReport = {
      reason,
      adapter: this.#adapter,
      selfTest: this.#selfTest,
      openMs: this.#openMs,
      devicesLost: this.#lost,
    };
    const bytes = new TextEncoder().encode(JSON.stringify(report));
    Atomics.add(control, channel.W_REPORT, 1);
    if (bytes.length <= channel.REPORT_BYTES_MAX) {
      channel.reportOf(control).set(bytes);
      control[channel.W_REPORT_BYTES] = bytes.length;
    }
    Atomics.add(control, channel.W_REPORT, 1);
    Atomics.store(control, channel.W_STATE, state);
    Atomics.add(control, channel.W_PROGRESS, 1);
    Atomics.notify(control, channel.W_PROGRESS);
  }
}

/** A question that fails now has been answered once: who relies on it finds that it is not so when it is used. */
async function askAgain(engine: GpuEngine, message: GpuAsk): Promise<void> {
  try {
    await askEngine(engine, message);
  } catch (error) {
    if (engine.isLost) throw error;
  }
}
