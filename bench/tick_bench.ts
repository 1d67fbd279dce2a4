/** Whole ticks of a program that computes things all day, in memory and logged: `deno bench -A bench/tick_bench.ts`. */

import { MemoryStorage, type OpenOptions } from "../mod.ts";
import { bench, type Comparison, type OpenSide, type Place, type Side } from "./_comparison.ts";
import { numbers } from "./_harness.ts";
import { busOfPages, emptyBatch, filledBatch, SEED, stateHash, tickOf } from "./_work.ts";
import { addTo, batchOf, busOfSums, derive, PAGES, readsOf, renew, WORDS } from "./_work_tick.ts";

/** The place gives what the storage of a bus needs. */
type Options = (place: Place) => OpenOptions;

const IN_MEMORY: Options = () => ({});
const LOGGED: Options = ({ folder }) => ({ dir: `${folder()}/bus` });

function sums(options: Options): OpenSide {
  return async (place) => {
    const next = numbers(SEED), reads = readsOf(next);
    const { bus, pages } = await busOfSums(reads, options(place));
    const batch = batchOf(pages, next);
    let runs = 0;
    return {
      async run(watch) {
        renew(batch, runs++);
        watch.start();
        await tickOf(bus, batch);
        watch.end();
      },
      result: () => stateHash(bus),
      close: () => bus.close(),
    };
  };
}

function plainSums(): Side {
  const next = numbers(SEED), reads = readsOf(next), model = new Int32Array(PAGES * WORDS);
  const batch = batchOf(Array.from({ length: PAGES }, (_, i) => ({ id: i + 1 })), next);
  let runs = 0;
  return {
    run(watch) {
      renew(batch, runs++);
      watch.start();
      addTo(model, batch, 1);
      derive(model, reads);
      watch.end();
    },
    result: () => new Uint8Array(model.buffer),
  };
}

function deltas(options: Options): OpenSide {
  return async (place) => {
    const { size } = place, batch = filledBatch(64, SEED, emptyBatch(size), size);
    const bus = await busOfPages(size, 64, options(place));
    return {
      run: () => tickOf(bus, batch),
      result: () => `${stateHash(bus)} ${bus.tickNumber}`,
      close: () => bus.close(),
    };
  };
}

function small(options: Options): OpenSide {
  return async (place) => {
    const bus = await busOfPages(1, 64, options(place)), page = bus.page(1);
    let runs = 0;
    return {
      async run() {
        for (let i = 0; i < place.size; i++) {
          page.write(0, Uint8Array.of(++runs));
          await bus.tick();
        }
      },
      result: () => `${stateHash(bus)} ${bus.tickNumber}`,
      close: () => bus.close(),
    };
  };
}

const BY_DURABILITY = {
  "in memory": IN_MEMORY,
  "logged, buffered": (place) => ({ ...LOGGED(place), durability: "buffered" }),
  "logged, group commit": LOGGED,
} satisfies Record<string, Options>;

function sidesOf(side: (options: Options) => OpenSide): Record<string, OpenSide> {
  return Object.fromEntries(Object.entries(BY_DURABILITY).map(([name, of]) => [name, side(of)]));
}

const comparisons: readonly Comparison[] = [
  {
    unit: "one tick of 10,000 deltas over 10,000 pages, 1,000 of them derived",
    size: PAGES,
    smokeSize: PAGES,
    sides: { "plain arrays, all computed": plainSums, ...sidesOf(sums) },
  },
  {
    unit: "one tick of 65,536 deltas of 16 bytes, pages of 64 bytes",
    size: 65_536,
    smokeSize: 512,
    runs: 50,
    sides: {
      ...sidesOf(deltas),
      "logged into memory": deltas(() => ({
        storage: new MemoryStorage(),
        durability: "buffered",
        segmentBytesMax: 2 ** 20,
      })),
    },
  },
  {
    unit: "100 ticks of a single write",
    size: 100,
    smokeSize: 10,
    sides: sidesOf(small),
  },
];

export default bench(...comparisons);
