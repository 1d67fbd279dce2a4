/**
 * The same deltas and the same rule on the CPU and on the GPU: `deno bench -A bench/gpu_bench.ts`.
 *
 * Where there is no adapter, the GPU's sides are skipped by name. On a software adapter their times say nothing of a GPU.
 */

import { GpuDevice } from "../src/physical/gpu/gpu_device.ts";
import { bench, type Comparison, type OpenSide } from "./_comparison.ts";
import { busOfPages, emptyBatch, filledBatch, SEED, stateHash, tickOf } from "./_work.ts";
import { Field } from "./_work_gpu.ts";

const PAGE_BYTES = 64;
const STEPS = 16;

/** Why there is no GPU here; `undefined` where there is one. */
async function missing(): Promise<string | undefined> {
  try {
    await using _device = await GpuDevice.open();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

type Where = "cpu" | "gpu";

function ticks(device: Where): OpenSide {
  return async ({ size }) => {
    const bus = await busOfPages(size, PAGE_BYTES, { device });
    const batch = filledBatch(PAGE_BYTES, SEED, emptyBatch(size), size);
    return {
      run: () => tickOf(bus, batch),
      result: () => stateHash(bus),
      close: () => bus.close(),
    };
  };
}

/** Steps of a field, so many of them in a tick. */
function steps(device: Where, inTick: number): OpenSide {
  return async ({ size }) => {
    const field = await Field.open(size, STEPS, STEPS / inTick, { device });
    return {
      run: async () => void await field.run(),
      result: () => field.hash(),
      close: () => field.close(),
    };
  };
}

const reason = await missing();
const onGpu = (sides: Record<string, OpenSide>): Record<string, OpenSide> =>
  reason === undefined ? sides : {};

const comparisons: readonly Comparison[] = [
  {
    unit: "65,536 deltas of 16 bytes into as many pages of 64 bytes, and a tick, by device",
    size: 65_536,
    smokeSize: 512,
    sides: { CPU: ticks("cpu"), ...onGpu({ GPU: ticks("gpu") }) },
  },
  {
    unit: `${STEPS} steps of a field of 65,536 words, by device`,
    size: 65_536,
    smokeSize: 1024,
    sides: {
      "CPU, a tick a step": steps("cpu", 1),
      ...onGpu({
        "GPU, a tick and a read-back a step": steps("gpu", 1),
        "GPU, all steps in one recorded sequence": steps("gpu", STEPS),
      }),
    },
  },
];

if (reason !== undefined) {
  // Deno does not tell of benchmarks that are ignored.
  console.log(`gpu_bench.ts: the GPU's sides are skipped: ${reason}`);
}

export default bench(...comparisons);
