/**
 * The probe of `mmsb doctor` for a GPU: it opens the GPU thread as a bus does, so that what it says is what a bus would
 * find: the adapter, the self-test of all kernels, and from how many rows on the GPU is faster.
 *
 * Cost: the loading of the driver and the compilation of the kernels, 0.2 to 3 s.
 */

import { formatBytes } from "../base/bytes.ts";
import type { GpuAdapterReport } from "../physical/gpu/gpu_device.ts";
import type { GpuThreadStatus } from "../physical/gpu/gpu_thread.ts";
import type { SelfTestReport } from "../physical/gpu/selftest.ts";
import { type Finding, messageOf, ms } from "./_finding.ts";
import { gpuAdvice, type GpuSystem, gpuSystem } from "./_gpu_advice.ts";

/** What was found of a GPU. */
export interface GpuFound {
  /** What became of the GPU thread. */
  readonly status: Pick<GpuThreadStatus, "state" | "reason" | "adapter" | "selfTest" | "openMs">;
  /** From how many rows on it is faster, in words; `undefined` where that was not measured. */
  readonly crossover?: string | undefined;
  /** What the system says. */
  readonly system: GpuSystem;
}

/** Looks for a GPU. */
export async function probeGpu(): Promise<Finding> {
  const system = await gpuSystem();
  try {
    // As in a bus: whoever never asks for a GPU loads nothing of it.
    const { crossoverOf, crossoverText, openGpuThread } = await import("../physical/gpu/mod.ts");
    await using thread = await openGpuThread();
    const { status } = thread;
    const crossover = thread.isReady ? crossoverText(crossoverOf(thread).crossover) : undefined;
    return gpuFinding({ status, crossover, system });
  } catch (error) {
    const status = { state: "failed", reason: messageOf(error), openMs: 0 } as const;
    return gpuFinding({ status, system });
  }
}

/** What the doctor says of it. */
export function gpuFinding({ status, crossover, system }: GpuFound): Finding {
  const { state, reason, adapter, selfTest, openMs } = status;
  const common = { id: "gpu", name: "GPU" };
  const figures = {
    adapter: adapter?.name ?? null,
    software: adapter?.isSoftware ?? null,
    bufferBytesMax: adapter?.limits.maxBufferSize ?? null,
    bindingBytesMax: adapter?.limits.maxStorageBufferBindingSize ?? null,
    invocationsMax: adapter?.limits.maxComputeInvocationsPerWorkgroup ?? null,
    workgroupsMax: adapter?.limits.maxComputeWorkgroupsPerDimension ?? null,
    features: adapter?.features.join(" ") ?? null,
    selfTest: selfTest?.passed ?? null,
    selfTestMs: selfTest?.ms ?? null,
    openMs: state === "ready" ? openMs : null,
    crossover: crossover ?? null,
    reason: reason === "" ? null : reason,
  };
  const advice = (text: string | undefined) => text === undefined ? {} : { advice: text };
  if (state !== "ready" || adapter === undefined) {
    return {
      ...common,
      status: "limited",
      found: adapter === undefined ? reason : `${nameOf(adapter)}: ${reason}`,
      meaning: 'All work is done by the CPU, with the same results, also with device: "gpu"',
      ...advice(adviceWithout(adapter, reason, system)),
      figures,
    };
  }
  return {
    ...common,
    status: adapter.isSoftware ? "limited" : "ok",
    found: [
      nameOf(adapter),
      limitsOf(adapter),
      testOf(selfTest),
      ...(crossover === undefined ? [] : [`faster than the CPU: ${crossover}`]),
    ].join("; "),
    meaning: adapter.isSoftware
      ? 'device: "gpu" works, on the processor: good for tests, no gain in speed; "auto" takes the CPU'
      : 'device: "gpu" and "auto" use it',
    ...advice(adapter.isSoftware ? gpuAdvice(system, true) : undefined),
    figures,
  };
}

/** What to do where no GPU is used: a driver helps only where that is what is missing. */
function adviceWithout(
  adapter: GpuAdapterReport | undefined,
  reason: string,
  system: GpuSystem,
): string | undefined {
  if (adapter !== undefined) return "update the driver; where that does not help, report this";
  if (reason.includes("--allow-read")) return "run with --allow-read if you want it";
  return /\badapter\b/.test(reason) ? gpuAdvice(system, false) : undefined;
}

function nameOf({ name, driver, isSoftware }: GpuAdapterReport): string {
  const named = driver === "" || /^\d+$/.test(driver) || driver === name
    ? name
    : `${name} (${driver})`;
  return isSoftware ? `${named}, a software driver` : named;
}

function limitsOf({ limits }: GpuAdapterReport): string {
  return `buffers to ${formatBytes(limits.maxBufferSize)}, bindings to ${
    formatBytes(limits.maxStorageBufferBindingSize)
  }`;
}

function testOf(report: SelfTestReport | undefined): string {
  if (report === undefined) return "no self-test";
  const time = report.ms === undefined ? "" : ` in ${ms(report.ms)}`;
  return report.passed
    ? `self-test: ${report.kernels.length} kernels give the CPU's bytes${time}`
    : `self-test: ${report.reason}`;
}
