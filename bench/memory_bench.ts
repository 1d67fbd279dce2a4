/** A state larger than the memory it may take: `deno bench -A bench/memory_bench.ts`. */

import { type OpenOptions, StateBus } from "../mod.ts";
import { bench, type Comparison, type OpenSide, type Place } from "./_comparison.ts";
import { emptyBatch, filledBatch, SEED, stateHash, tickOf } from "./_work.ts";

const PAGE_BYTES = 4096;
/** Pages made in a tick. */
const BIRTHS = 64;

/** Half of the pages may be in memory, the others stand in a file. */
function spilled({ size, folder }: Place): OpenOptions {
  return { memoryLimitBytes: size * PAGE_BYTES >> 1, spill: { dir: folder() } };
}

type Options = (place: Place) => OpenOptions;

/** Batches that only touch the first pages, or all of them. */
function ticking(options: Options, share: number): OpenSide {
  return async (place) => {
    const { size } = place, bus = await StateBus.open(options(place));
    // What is staged stays in memory until its tick, so not all at once.
    for (let made = 0; made < size; made += BIRTHS) {
      for (let i = 0; i < BIRTHS; i++) bus.createPage({ size: PAGE_BYTES });
      await bus.tick();
    }
    const pages = size / share, batch = filledBatch(PAGE_BYTES, SEED, emptyBatch(size >> 3), pages);
    return {
      run: () => tickOf(bus, batch),
      result: () => stateHash(bus),
      close: () => bus.close(),
    };
  };
}

function touching(what: string, share: number): Comparison {
  return {
    unit: `one tick of 512 deltas into 4,096 pages of 4 KiB, ${what}`,
    size: 4096,
    smokeSize: 512,
    runs: 20,
    sides: {
      "all in memory": ticking(({ size }) => ({ memoryLimitBytes: 2 * size * PAGE_BYTES }), share),
      "half of the memory, the rest spilled": ticking(spilled, share),
    },
  };
}

export default bench(touching("all of them", 1), touching("an eighth of them", 8));
