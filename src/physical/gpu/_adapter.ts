/**
 * The search for an adapter: what the runtime has, what that is, and what it can.
 *
 * A driver may be missing, broken or slow: `requestAdapter` gives `null`, rejects, or never answers, and each
 * becomes an error with a reason in words. A software adapter computes on the CPU; it runs the same shaders
 * and is no gain in speed, so it is told apart: by `isFallbackAdapter`, or by its name where a driver does not
 * set that.
 *
 * Cost: 50 to 300 ms, the loading of the driver; Deno holds the thread meanwhile, whatever the limit on waiting.
 */

import { isMmsbError, MmsbError } from "../../base/mod.ts";
import { clip, noDevice, textOf } from "./gpu_errors.ts";

/** What an adapter is and can. */
export interface GpuAdapterReport {
  /** Its name, as people say it. */
  readonly name: string;
  /** Its maker; empty where the driver does not say. */
  readonly vendor: string;
  /** Its family; empty where the driver does not say. */
  readonly architecture: string;
  /** What the driver says of itself besides; empty where it says nothing. */
  readonly driver: string;
  /** Whether it computes on the CPU: right for tests, no gain in speed. */
  readonly isSoftware: boolean;
  /** Its limits, by the names of WebGPU. */
  readonly limits: Readonly<Record<string, number>>;
  /** Its features, by the names of WebGPU, sorted. */
  readonly features: readonly string[];
}

/** An adapter and what it is. */
export interface FoundAdapter {
  readonly adapter: GPUAdapter;
  readonly report: GpuAdapterReport;
}

/** Names of adapters that compute on the CPU: Mesa's, Google's, Microsoft's, Apple's. */
const SOFTWARE_NAMES =
  /llvmpipe|lavapipe|softpipe|swiftshader|software|basic render|warp\b|paravirtual/i;

/** Makers by the numbers that Deno gives in the place of names: those of PCI, and of Khronos for Mesa's software. */
const MAKERS: Readonly<Record<string, string>> = {
  "4098": "AMD",
  "4203": "Apple",
  "4318": "NVIDIA",
  "5045": "Arm",
  "5140": "Microsoft",
  "20803": "Qualcomm",
  "32902": "Intel",
  "65541": "Mesa",
};

/** Limits that a batch, a rule or the doctor looks at; a device is asked for all that the adapter has. */
export const LIMIT_NAMES = [
  "maxBindGroups",
  "maxBindingsPerBindGroup",
  "maxStorageBuffersPerShaderStage",
  "maxUniformBufferBindingSize",
  "maxStorageBufferBindingSize",
  "minUniformBufferOffsetAlignment",
  "minStorageBufferOffsetAlignment",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const;

/** Finds the adapter that WebGPU prefers. */
export async function findAdapter(
  gpu: GPU | null | undefined,
  timeoutMs: number,
): Promise<FoundAdapter> {
  if (gpu === undefined || gpu === null) {
    throw noDevice("this runtime has no WebGPU; run Deno 2.9 or newer");
  }
  if (typeof gpu !== "object" || typeof gpu.requestAdapter !== "function") {
    throw new MmsbError("usage", "Cannot use that as gpu: give `navigator.gpu`, or null for none");
  }
  const adapter = await answered(
    "an adapter",
    timeoutMs,
    () => gpu.requestAdapter({ powerPreference: "high-performance" }),
  );
  if (adapter === null || adapter === undefined) {
    throw noDevice("no adapter was found");
  }
  try {
    return { adapter, report: reportOf(adapter) };
  } catch (error) {
    throw noDevice(`the adapter does not say what it is: ${textOf(error)}`, error);
  }
}

/** A device of an adapter, with all limits that the adapter has. */
export async function requestDevice(
  { adapter, report }: FoundAdapter,
  timeoutMs: number,
): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name of LIMIT_NAMES) {
    if (Number.isSafeInteger(report.limits[name])) requiredLimits[name] = report.limits[name];
  }
  const requiredFeatures = report.features.includes("timestamp-query")
    ? ["timestamp-query" as GPUFeatureName]
    : [];
  const device = await answered(
    `a device of ${report.name}`,
    timeoutMs,
    () => adapter.requestDevice({ label: "mmsb", requiredLimits, requiredFeatures }),
    (late) => late?.destroy(),
  );
  if (device === null || device === undefined) throw noDevice(`${report.name} gives no device`);
  return device;
}

function reportOf(adapter: GPUAdapter): GpuAdapterReport {
  const { vendor: maker = "", architecture, device = "", description } = adapter.info;
  const vendor = Object.hasOwn(MAKERS, maker) ? MAKERS[maker] : maker;
  const name = clip(description || device || vendor) || "unnamed adapter";
  const limits: Record<string, number> = {};
  for (const limit of LIMIT_NAMES) limits[limit] = limitOf(adapter, limit);
  return Object.freeze({
    name,
    vendor: clip(vendor),
    architecture: clip(architecture ?? ""),
    // Deno 2.9 gives the number of the card there, and says nothing of the driver.
    driver: /^\d+$/.test(device) ? "" : clip(device),
    isSoftware: saysFallback(adapter) || SOFTWARE_NAMES.test(name),
    limits: Object.freeze(limits),
    features: Object.freeze([...adapter.features].map(String).sort()),
  });
}

/** A limit as the adapter has it: some engines give those that do not fit in 32 bits as larger than any integer. */
function limitOf(adapter: GPUAdapter, name: typeof LIMIT_NAMES[number]): number {
  const limit: unknown = adapter.limits[name];
  if (typeof limit !== "number" || !(limit >= 1)) {
    throw new TypeError(`${name} is ${String(limit)}`);
  }
  return Math.min(limit, Number.MAX_SAFE_INTEGER);
}

/** `isFallbackAdapter` has stood on the adapter and stands on its info now. */
function saysFallback(adapter: GPUAdapter): boolean {
  const { isFallbackAdapter } = adapter.info as { isFallbackAdapter?: unknown };
  return isFallbackAdapter === true ||
    (adapter as { isFallbackAdapter?: unknown }).isFallbackAdapter === true;
}

/** What a driver answers, or an error with the reason; one that never answers is given up, and what comes late is given back. */
async function answered<T>(
  what: string,
  timeoutMs: number,
  ask: () => Promise<T>,
  discard: (late: T) => void = () => {},
): Promise<T> {
  const late = Promise.withResolvers<never>();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    late.reject(noDevice(`asking for ${what} got no answer within ${timeoutMs} ms`));
  }, timeoutMs);
  try {
    const answer = ask();
    answer.then((value) => isLate && discard(value), () => {});
    return await Promise.race([answer, late.promise]);
  } catch (error) {
    if (isMmsbError(error)) throw error;
    throw noDevice(`asking for ${what} failed: ${textOf(error)}`, error);
  } finally {
    clearTimeout(timer);
  }
}
