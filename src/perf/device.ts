/**
 * The device of a run, judged: with `gpu` asked for and an adapter there, a run in which nothing ran on it has
 * checked something else than it was asked to, and fails; where there is no adapter it says so and is a run of the CPU.
 *
 * Times of a software adapter, which computes on the CPU, say nothing of a GPU and are not judged.
 */

import type { RunDevice } from "../validators/validator.ts";

/**
 * Whether a GPU was asked for, is there, and had nothing to do.
 *
 * @param device The device of a run; `undefined` where none was asked for.
 * @returns Whether the run is no check of the GPU though it should be.
 *
 * @example Ten batches
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const device = { asked: "gpu", state: "ready", reason: "" } as const;
 * assert(isDeviceIdle({ ...device, counts: { batches: 0, rows: 0, rules: 0 } }));
 * assert(!isDeviceIdle({ ...device, counts: { batches: 10, rows: 100, rules: 0 } }));
 * ```
 */
export function isDeviceIdle(device: RunDevice | undefined): boolean {
  if (device === undefined || device.asked !== "gpu" || device.state === "none") return false;
  return device.counts.batches === 0 && device.counts.rules === 0;
}

/**
 * Why times of a run are not judged.
 *
 * @param device The device of a run; `undefined` where none was asked for.
 * @returns The reason; `undefined` where they are judged.
 */
export function untimedReason(device: RunDevice | undefined): string | undefined {
  if (device?.asked !== "gpu" || device.adapter?.isSoftware !== true) return undefined;
  return `${device.adapter.name} computes on the CPU: its times say nothing of a GPU`;
}
