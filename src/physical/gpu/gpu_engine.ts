/**
 * GPU engine: a device and all that works on it, as one.
 *
 * It is what the GPU thread holds, and needs no thread: tests and tools open one where they are. All of it ends
 * with its device; what comes after a lost device is another engine, with pipelines compiled again and no pages on it.
 * A device whose kernels give other bytes than the CPU is none.
 *
 * Cost: the loading of the driver, a compilation a kernel and the self-test; docs/gpu.md has figures.
 */

import { checkKeys, MmsbError } from "../../base/mod.ts";
import { monotonicNowMs } from "../../temporal/mod.ts";
import { BufferPool } from "./buffer_pool.ts";
import { DevicePages } from "./device_pages.ts";
import { GpuApply } from "./gpu_apply.ts";
import { GpuDevice } from "./gpu_device.ts";
import { GpuKernels } from "./gpu_kernels.ts";
import { KERNEL_TESTS } from "./kernel_tests.ts";
import { selfTest, type SelfTestReport } from "./selftest.ts";

/** How an engine is opened. */
export interface GpuEngineOptions {
  /** The runtime's WebGPU. Default: its own; `null` is a runtime that has none. */
  readonly gpu?: GPU | null;
  /** Whether the kernels are tried against their twins first. Default true. */
  readonly selfTest?: boolean;
}

/** A device, its buffers, its kernels and the copies of pages on it. */
export class GpuEngine {
  /** The device. */
  readonly device: GpuDevice;
  /** Its buffers. */
  readonly pool: BufferPool;
  /** Its kernels, compiled. */
  readonly kernels: GpuKernels;
  /** Applies batches. */
  readonly apply: GpuApply;
  /** Copies of pages on it. */
  readonly pages: DevicePages;
  /** What handlers of jobs keep for the life of this device, by name. */
  readonly kept: Map<string, unknown> = new Map<string, unknown>();
  #selfTest: SelfTestReport | undefined;

  private constructor(device: GpuDevice) {
    this.device = device;
    this.pool = new BufferPool(device);
    this.kernels = new GpuKernels(device);
    this.apply = new GpuApply(device, this.pool, this.kernels);
    this.pages = new DevicePages(device, this.pool);
  }

  /**
   * Opens a device and makes it ready for work.
   *
   * @param options Which WebGPU, and whether the kernels are tried first.
   * @returns The engine.
   * @throws {MmsbError} `gpu` where there is no adapter, or the self-test found that it computes something else
   * than the CPU does; `usage` for options that are none.
   */
  static async open(options: GpuEngineOptions = {}): Promise<GpuEngine> {
    checkKeys("GpuEngine.open", options, ["gpu", "selfTest"]);
    const { gpu, selfTest } = options;
    const device = await GpuDevice.open(gpu === undefined ? {} : { gpu });
    try {
      return await GpuEngine.over(device, { selfTest });
    } catch (error) {
      await device.destroy();
      throw error;
    }
  }

  /**
   * Makes a device ready for work; it belongs to the engine then, unless this throws.
   *
   * @param device The device.
   * @param options Whether the kernels are tried first.
   * @returns The engine.
   * @throws {MmsbError} `gpu` as {@linkcode GpuEngine.open}.
   */
  static async over(
    device: GpuDevice,
    { selfTest = true }: Pick<GpuEngineOptions, "selfTest"> = {},
  ): Promise<GpuEngine> {
    const engine = new GpuEngine(device);
    // What waits for promises of the driver waits while kernels are compiled.
    await Promise.all([engine.apply.prepare(), device.prepareReads(), engine.kernels.prepare()]);
    if (selfTest) await engine.#test();
    return engine;
  }

  /** What the self-test found; `undefined` where there was none. */
  get selfTest(): SelfTestReport | undefined {
    return this.#selfTest;
  }

  /** Whether the device is gone. */
  get isLost(): boolean {
    return this.device.isLost;
  }

  /** Gives the device back. */
  async destroy(): Promise<void> {
    this.kept.clear();
    this.apply.close();
    this.pool.close();
    await this.device.destroy();
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }

  async #test(): Promise<void> {
    const report = await selfTest(this, KERNEL_TESTS, { nowMs: monotonicNowMs });
    this.#selfTest = report;
    if (report.passed) return;
    const { name: adapter } = this.device.adapter;
    const reason = `${adapter} computes something else than the CPU: ${report.reason}`;
    throw new MmsbError("gpu", `Cannot use the GPU: ${reason}`, {
      values: { adapter, reason, selfTest: report },
    });
  }
}
