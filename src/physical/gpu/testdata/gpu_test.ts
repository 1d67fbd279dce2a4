/**
 * Tests that need a GPU device, real or software: they skip by name where there is no adapter, and fail instead
 * where the environment variable `MMSB_TEST_GPU` is `required`.
 */

import { reasonOf } from "../../../base/mod.ts";
import { GpuDevice } from "../gpu_device.ts";

let probed: Promise<string | undefined> | undefined;

/** Why there is no device here; `undefined` where there is one. Asked once a test file. */
export function gpuMissing(): Promise<string | undefined> {
  return probed ??= probe();
}

async function probe(): Promise<string | undefined> {
  try {
    await (await GpuDevice.open()).destroy();
    return undefined;
  } catch (error) {
    return reasonOf(error);
  }
}

const missing = await gpuMissing();
const isRequired = Deno.env.get("MMSB_TEST_GPU") === "required";

/**
 * A test with a device of its own.
 *
 * @param name Name of the test.
 * @param body What is tested; the device is destroyed behind it.
 */
export function testWithGpu(
  name: string,
  body: (gpu: GpuDevice, step: Deno.TestContext) => void | Promise<void>,
): void {
  Deno.test({
    name,
    ignore: missing !== undefined && !isRequired,
    fn: async (context) => {
      await using gpu = await GpuDevice.open();
      await body(gpu, context);
      const error = gpu.takeError();
      if (error !== undefined) throw error;
    },
  });
}
