/**
 * The GPU: a device of WebGPU with all failures typed, and what runs on it. Loaded only where a bus is opened
 * with `device: "gpu"` or `"auto"`, by one dynamic import.
 *
 * @module
 */

export {
  type GpuAdapterReport,
  GpuDevice,
  type GpuDeviceOptions,
  type GpuLoss,
  type PipelineOptions,
} from "./gpu_device.ts";
export { deviceLost, gpuFailure, noDevice, shaderRefused } from "./gpu_errors.ts";
export type { ShaderMessage } from "./gpu_errors.ts";
export { EARLY_READ_VERSIONS, ReadBack } from "./read_back.ts";
export {
  type KernelTest,
  type KernelVerdict,
  selfTest,
  type SelfTestOptions,
  type SelfTestReport,
} from "./selftest.ts";
export {
  type Crossover,
  crossoverOf,
  type CrossoverPoint,
  crossoverText,
  forgetCrossovers,
  measureCrossover,
  type MeasureOptions,
} from "./crossover.ts";
export { GpuThread, openGpuThread } from "./gpu_thread.ts";
export { evictPages, uploadPages } from "./page_job.ts";
export { PageLocations } from "./page_locations.ts";
export { ThreadApply } from "./thread_apply.ts";
export {
  type ApplyFigures,
  type ApplyOptions,
  type ApplyRows,
  type ApplyScheme,
  type ApplyWork,
  GpuApply,
  type GpuApplyOptions,
} from "./gpu_apply.ts";
export { GpuKernels, type GpuKernelsOptions, type RangeTable } from "./gpu_kernels.ts";
export { KERNEL_TESTS, type KernelEngine } from "./kernel_tests.ts";
export { type ChangedRange, changedRange, COMPARE_WORDS } from "./kernels/compare.ts";
export type { WordRange } from "./kernels/ranges.ts";
export { applyRefusal } from "./kernels/refusal.ts";
