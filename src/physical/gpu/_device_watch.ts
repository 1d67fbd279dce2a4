/**
 * What a device says of itself: that it is lost, that something was wrong, that it is done.
 *
 * All of it comes late. The word of a loss comes with the event loop, behind calls that did nothing already; an error goes
 * to the scope that was open when it was made, or to an event some time later; the promise of a mapping settles after
 * the bytes were used. It is kept here in one place, so that whoever asks gets the true reason of a failure.
 *
 * Cost: the scopes of a checked call take some 3 µs.
 */

import { isMmsbError, type MmsbError, reasonOf } from "../../base/mod.ts";
import { clip, deviceLost, gpuFailure } from "./gpu_errors.ts";

/** Why a device is gone. */
export interface GpuLoss {
  /** Whether it was destroyed by us, or its driver gave it up. */
  readonly reason: "destroyed" | "lost";
  /** What the driver says. */
  readonly message: string;
}

/** Longest wait for the word that a device is lost, behind a call that failed, in milliseconds. */
const LOSS_MS_MAX = 50;

/** Listens to one device. */
export class DeviceWatch {
  readonly device: GPUDevice;
  /** Settles when the device is gone, never rejects. */
  readonly loss: Promise<GpuLoss>;
  readonly #settling = new Set<Promise<unknown>>();
  readonly #listener: EventListener;
  readonly #destroyed = Promise.withResolvers<GpuLoss>();
  #lost: GpuLoss | undefined;
  #error: MmsbError | undefined;
  #readsEarly: boolean;

  constructor(device: GPUDevice, readsEarly: boolean) {
    this.device = device;
    this.#readsEarly = readsEarly;
    const lost = device.lost.then(
      ({ reason, message }) => this.#gone(reason === "destroyed" ? "destroyed" : "lost", message),
      (error) => this.#gone("lost", reasonOf(error)),
    );
    this.loss = Promise.race([lost, this.#destroyed.promise]);
    this.#listener = (event) => {
      event.preventDefault();
      const { error } = event as unknown as GPUUncapturedErrorEvent;
      this.#error ??= gpuFailure("do what was submitted", error);
    };
    device.addEventListener("uncapturederror", this.#listener);
  }

  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** Why the device is gone, in words; empty while it is there. */
  get lossReason(): string {
    if (this.#lost === undefined) return "";
    const { reason, message } = this.#lost;
    return reason === "destroyed" ? "it was destroyed" : message || "its driver gave it up";
  }

  /** Whether bytes may be read before the promise of their mapping settles. */
  get readsEarly(): boolean {
    return this.#readsEarly;
  }

  /** From here on every read-back is awaited. */
  refuseEarlyReads(): void {
    this.#readsEarly = false;
  }

  /** Refuses to go on where the device is gone. */
  checkAlive(what: string): void {
    if (this.#lost !== undefined) throw deviceLost(what, this.lossReason);
  }

  /** Whether the device is gone; waits a moment for the word of it, which comes behind the call that failed. */
  async lostSoon(waitMs: number = LOSS_MS_MAX): Promise<boolean> {
    if (this.isLost) return true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, waitMs));
    await Promise.race([this.loss, late]);
    clearTimeout(timer);
    return this.isLost;
  }

  /** The error of what failed: that the device is gone, where that is the reason. */
  async failure(what: string, thrown: unknown): Promise<MmsbError> {
    if (isMmsbError(thrown)) return thrown;
    return await this.lostSoon() ? deviceLost(what, this.lossReason) : gpuFailure(what, thrown);
  }

  /** Does something, and asks the driver whether it was right; see `GpuDevice.checked`. */
  async checked<T>(what: string, work: () => T): Promise<T> {
    this.checkAlive(what);
    const { device } = this;
    device.pushErrorScope("internal");
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    const outcome = attempt(work);
    // Popped before anything is awaited: scopes are a stack, and another call may push its own meanwhile.
    const scopes = [device.popErrorScope(), device.popErrorScope(), device.popErrorScope()];
    const reports = await Promise.allSettled(scopes);
    if (!outcome.done) throw await this.failure(what, outcome.thrown);
    for (const report of reports) {
      if (report.status === "rejected") throw await this.failure(what, report.reason);
      if (report.value !== null) throw await this.failure(what, report.value);
    }
    this.checkAlive(what);
    return outcome.value;
  }

  /** The first error outside of a checked call since the last time. */
  takeError(): MmsbError | undefined {
    const error = this.#error;
    this.#error = undefined;
    return error;
  }

  /** Promises whose outcome nobody needs and that have not settled. */
  get unsettled(): number {
    return this.#settling.size;
  }

  /** Takes a promise whose outcome nobody needs; closing waits for it. */
  settleLater(promise: Promise<unknown>): void {
    const settled = promise.then(() => {}, () => {}).finally(() => this.#settling.delete(settled));
    this.#settling.add(settled);
  }

  /** Destroys the device, and waits for what is on its way. */
  async close(): Promise<void> {
    this.#destroyed.resolve(this.#gone("destroyed", ""));
    this.device.destroy();
    await Promise.all(this.#settling);
    this.device.removeEventListener("uncapturederror", this.#listener);
  }

  #gone(reason: GpuLoss["reason"], message: unknown): GpuLoss {
    return this.#lost ??= Object.freeze({ reason, message: clip(String(message ?? "")) });
  }
}

type Outcome<T> = { readonly done: true; readonly value: T } | {
  readonly done: false;
  readonly thrown: unknown;
};

function attempt<T>(work: () => T): Outcome<T> {
  try {
    return { done: true, value: work() };
  } catch (thrown) {
    return { done: false, thrown };
  }
}
