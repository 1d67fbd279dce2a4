/** The same deltas with no worker and with several: `deno bench -A bench/workers_bench.ts`. */

import { bench, type OpenSide } from "./_comparison.ts";
import { PAGE_BYTES, sideOf, stateOf } from "./_subjects_workers.ts";
import { bareApply, bareMemory, filledBatch, ROWS, SEED, signed } from "./_work.ts";

function batchesOf(count: number) {
  return Array.from({ length: count }, (_, i) => filledBatch(PAGE_BYTES, SEED + i));
}

function threads(workers: number): OpenSide {
  return async ({ size }) => {
    const { bus, run } = await sideOf(batchesOf(size), workers, undefined);
    return {
      run: async () => void await run(),
      result: () => stateOf(bus),
      close: () => bus.close(),
    };
  };
}

export default bench({
  unit: "one tick of 1,048,576 deltas of 16 bytes into 65,536 pages of 64 bytes",
  size: 2 ** 20 / ROWS,
  smokeSize: 2,
  runs: 15,
  sides: {
    "bare loop, one thread": ({ size }) => {
      const views = batchesOf(size).map(signed), words = bareMemory(PAGE_BYTES);
      return {
        run() {
          for (const { page, offset, start, payload } of views) {
            bareApply(words, payload, page, offset, start, ROWS, PAGE_BYTES / 4);
          }
        },
        result: () => new Uint8Array(words.buffer),
      };
    },
    "no workers": threads(0),
    "2 workers": threads(2),
    "8 workers": threads(8),
  },
});
