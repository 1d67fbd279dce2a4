import assert from "node:assert/strict";
import { type GpuThreadStatus, openGpuThread } from "../src/physical/gpu/gpu_thread.ts";
import { runGpu } from "./gpu.ts";

const SEED = 7, SCALE = 0.015;

async function statusHere(): Promise<GpuThreadStatus> {
  const thread = await openGpuThread();
  const { status } = thread;
  await thread.close();
  return status;
}

Deno.test(`stress gpu, short form, seed ${SEED}: bytes and logs are those of the CPU`, async () => {
  const report = await runGpu({ scale: SCALE, seed: SEED, minutes: 0, progress: () => {} });
  if ((await statusHere()).state !== "ready") {
    assert.notEqual(Deno.env.get("MMSB_TEST_GPU"), "required", report.notes[0]);
    assert.match(report.notes[0], /^Nothing was compared: /);
    assert.equal(report.steps.length, 0);
    return;
  }
  const [batches, programs, ticks, killed] = report.steps.map(({ figures }) => figures);
  assert(batches.gpuBatches > 0 && batches.gpuRows > 0);
  assert(programs.gpuRules > 0 && programs.devicesLost > 0, "a device was lost on the way");
  assert(ticks.gpuBatches > 0 && killed.programs === 1);
});
