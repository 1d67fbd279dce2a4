/**
 * The GPU, as a bus uses it: the thread that owns the device, batches and copies of pages handed to it, and from how many
 * rows on it pays. Loaded only where a bus is opened with `device: "gpu"` or `"auto"`, by one dynamic import; what
 * runs in that thread (device, kernels, buffers) is loaded there and not here.
 *
 * @module
 */

export { crossoverOf, crossoverText } from "./crossover.ts";
export { openGpuThread } from "./gpu_thread.ts";
export { evictPages, uploadPages } from "./page_job.ts";
export { PageLocations } from "./page_locations.ts";
export { ThreadApply } from "./thread_apply.ts";
