/**
 * The device of a run of the validators: what their buses are opened with, one reference to the GPU thread that all of
 * them share, and the count of what really ran on it.
 *
 * A validator opens its buses with {@linkcode openBus}, which asks the run around it, so that no plan and no helper has to
 * carry a device that it does not use, and two runs in one thread do not mix (`AsyncLocalStorage` follows each
 * call through its awaits). Processes and threads that a validator starts are told the device, have a run of their own
 * and tell what they counted.
 *
 * Cost: a GPU thread, once; without a device nothing, and nothing of the GPU is loaded.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import { type OpenOptions, StateBus } from "../bus/mod.ts";
import type { GpuThread } from "../physical/gpu/gpu_thread.ts";
import type { DeviceCounts, MeasuredDevice, RunDevice } from "./validator.ts";

const NONE: DeviceCounts = { batches: 0, rows: 0, rules: 0 };
const RUNNING: AsyncLocalStorage<DeviceRun> = new AsyncLocalStorage<DeviceRun>();

/** Adds counts. */
function sum(a: DeviceCounts, b: DeviceCounts): DeviceCounts {
  return { batches: a.batches + b.batches, rows: a.rows + b.rows, rules: a.rules + b.rules };
}

/** A run whose buses have a device. */
export class DeviceRun {
  /** What was asked for. */
  readonly asked: RunDevice["asked"];
  readonly #thread: GpuThread;
  readonly #first: DeviceCounts;
  #elsewhere = NONE;

  private constructor(asked: RunDevice["asked"], thread: GpuThread) {
    this.asked = asked;
    this.#thread = thread;
    this.#first = countsOf(thread);
  }

  /** Begins a run: takes a reference to the GPU thread, or starts it. */
  static async open(asked: RunDevice["asked"]): Promise<DeviceRun> {
    const { openGpuThread } = await import("../physical/gpu/gpu_thread.ts");
    return new DeviceRun(asked, await openGpuThread());
  }

  /** Does work in whose buses the device is. */
  run<T>(work: () => Promise<T>): Promise<T> {
    return RUNNING.run(this, work);
  }

  /** What ran on the GPU so far. */
  get counts(): DeviceCounts {
    const { batches, rows, rules } = this.#first;
    return sum(
      sum(countsOf(this.#thread), { batches: -batches, rows: -rows, rules: -rules }),
      this.#elsewhere,
    );
  }

  /** Adds what ran in another process or thread. */
  add(counts: DeviceCounts): void {
    this.#elsewhere = sum(this.#elsewhere, counts);
  }

  /** Whether rules and batches run on a GPU whatever their size: it was asked for, and is there. */
  get isCertain(): boolean {
    return this.asked === "gpu" && this.#thread.isReady;
  }

  /** What there is, and what ran on it. */
  report(): RunDevice {
    const { state, reason, adapter } = this.#thread.status;
    return {
      asked: this.asked,
      state,
      reason,
      ...(adapter === undefined ? {} : {
        adapter: {
          name: adapter.name,
          vendor: adapter.vendor,
          driver: adapter.driver,
          isSoftware: adapter.isSoftware,
        },
      }),
      counts: this.counts,
    };
  }

  /** Ends it: the reference is given back. */
  async close(): Promise<void> {
    await this.#thread.close();
  }
}

function countsOf({ totals: { batches, rows, rules } }: GpuThread): DeviceCounts {
  return { batches, rows, rules };
}

/** Opens a bus with the device of the run around it, if that has one. */
export function openBus(options: OpenOptions): Promise<StateBus> {
  const run = RUNNING.getStore();
  return StateBus.open(run === undefined ? options : { device: run.asked, ...options });
}

/** The run around the caller; `undefined` where no device was asked for. */
export function runAround(): DeviceRun | undefined {
  return RUNNING.getStore();
}

/** The device of the run around the caller, to be told to a process or a thread. */
export function deviceOfRun(): MeasuredDevice {
  return RUNNING.getStore()?.asked ?? "cpu";
}

/** Tells the run around the caller what ran on the GPU in a process or a thread of its own. */
export function addToRun(counts: DeviceCounts | undefined): void {
  if (counts !== undefined) RUNNING.getStore()?.add(counts);
}

/**
 * Does work in a process or thread that was told a device; the work can ask for what ran on the GPU so far.
 *
 * @returns What the work gave, and what ran on the GPU in all.
 */
export async function onDevice<T>(
  device: MeasuredDevice,
  work: (count: () => DeviceCounts) => Promise<T>,
): Promise<{ readonly value: T; readonly counts: DeviceCounts }> {
  if (device === "cpu") return { value: await work(() => NONE), counts: NONE };
  const run = await DeviceRun.open(device);
  try {
    const value = await run.run(() => work(() => run.counts));
    return { value, counts: run.counts };
  } finally {
    await run.close();
  }
}
