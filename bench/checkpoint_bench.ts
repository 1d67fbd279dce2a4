/** A checkpoint of the whole state, and opening from one: `deno bench -A bench/checkpoint_bench.ts`. */

import { DeltaBatch, type OpenOptions, StateBus } from "../mod.ts";
import { bench, type OpenSide, type Place } from "./_comparison.ts";
import { numbers } from "./_harness.ts";
import { busOfPages, SEED, stateHash, tickOf } from "./_work.ts";

const PAGE_BYTES = 4096;
const OPTIONS: OpenOptions = { checkpoints: { everyBytes: Infinity, keep: 1 } };

function randomState(pages: number): Uint8Array {
  const next = numbers(SEED);
  return new Uint8Array(Uint32Array.from({ length: pages * PAGE_BYTES / 4 }, next).buffer);
}

/** A bus whose pages are full of random bytes. */
async function fullBus({ size }: Place, dir: string): Promise<StateBus> {
  const bus = await busOfPages(size, PAGE_BYTES, { dir, ...OPTIONS }), state = randomState(size);
  const batch = new DeltaBatch({ rows: size, payloadBytes: state.length });
  for (let page = 0; page < size; page++) {
    batch.push(page + 1, 0, state.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
  }
  await tickOf(bus, batch);
  return bus;
}

function writeFile(path: string, bytes: Uint8Array): void {
  const file = Deno.openSync(path, { write: true, create: true, truncate: true });
  for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
  file.syncDataSync();
  file.close();
}

function opening(withCheckpoint: boolean): OpenSide {
  return async (place) => {
    const dir = place.folder(), first = await fullBus(place, dir);
    if (withCheckpoint) await first.checkpoint();
    await first.close();
    let state = "";
    return {
      async run(watch) {
        watch.start();
        const bus = await StateBus.open({ dir, ...OPTIONS, readOnly: true });
        watch.end();
        if (state === "") state = stateHash(bus);
        await bus.close();
      },
      result: () => state,
    };
  };
}

export default bench({
  unit: "16 MiB of state made durable",
  size: 4096,
  smokeSize: 16,
  runs: 10,
  sides: {
    "raw write and sync": ({ size, folder }) => {
      const path = `${folder()}/raw`, state = randomState(size);
      return { run: () => writeFile(path, state), result: () => Deno.readFileSync(path) };
    },
    "bus.checkpoint": async (place) => {
      const dir = place.folder(), bus = await fullBus(place, dir);
      let made = 0;
      return {
        async run() {
          const { pages } = await bus.checkpoint();
          made = pages;
        },
        result: () => made === place.size ? stateHash(bus) : `${made} pages`,
        close: () => bus.close(),
      };
    },
  },
}, {
  unit: "16 MiB of state opened",
  size: 4096,
  smokeSize: 16,
  runs: 10,
  sides: {
    "file read": ({ size, folder }) => {
      const path = `${folder()}/raw`;
      writeFile(path, randomState(size));
      let state = new Uint8Array();
      return { run: () => void (state = Deno.readFileSync(path)), result: () => state };
    },
    "from a checkpoint": opening(true),
    "from the log": opening(false),
  },
});
