/**
 * Pages in a mapped file beside shared memory: a tick, opening after a clean close, reading from another
 * mapping: `deno bench -A bench/mapped_bench.ts`. Where the system has no such file, all sides are shared memory.
 */

import { type OpenOptions, StateBus } from "../mod.ts";
import { bench, type OpenSide } from "./_comparison.ts";
import { busOfPages, emptyBatch, filledBatch, SEED, stateHash, tickOf } from "./_work.ts";

const PAGE_BYTES = 1024;
const TICKS = 16;

type Arena = "shared" | "mmap";

function ticking(arena: Arena): OpenSide {
  return async ({ size }) => {
    const bus = await busOfPages(size, PAGE_BYTES, { arena });
    const batch = filledBatch(PAGE_BYTES, SEED, emptyBatch(size), size);
    return {
      run: () => tickOf(bus, batch),
      result: () => stateHash(bus),
      close: () => bus.close(),
    };
  };
}

function opening(arena: Arena): OpenSide {
  return async ({ size, folder }) => {
    const options: OpenOptions = {
      arena,
      dir: folder(),
      memoryLimitBytes: size * PAGE_BYTES + 2 ** 24,
    };
    const first = await busOfPages(size, PAGE_BYTES, options);
    const batch = filledBatch(PAGE_BYTES, SEED, emptyBatch(size), size);
    for (let tick = 0; tick < TICKS; tick++) await tickOf(first, batch);
    await first.close();
    let state = "";
    return {
      async run(watch) {
        watch.start();
        const bus = await StateBus.open(options);
        watch.end();
        if (state === "") state = stateHash(bus);
        await bus.close();
      },
      result: () => state,
    };
  };
}

/** Reads of one page, by its writer or by a reader that maps the writer's file. */
function reading(arena: Arena, attached: boolean): OpenSide {
  return async ({ size, folder }) => {
    const dir = folder(), writer = await busOfPages(64, PAGE_BYTES, { arena, dir });
    await writer.commit(() => writer.page(7).write(0, Uint8Array.of(7)));
    const bus = attached ? await StateBus.open({ arena, dir, readOnly: true }) : writer;
    const page = bus.page(7), target = new Uint8Array(64);
    let sum = 0;
    return {
      run() {
        for (let i = 0; i < size; i++) {
          page.readInto(target);
          sum += target[0];
        }
      },
      result: () => `${sum}`,
      async close() {
        if (attached) await bus.close();
        await writer.close();
      },
    };
  };
}

export default bench({
  unit: "one tick of 65,536 deltas of 16 bytes, pages of 1 KiB, in memory",
  size: 65_536,
  smokeSize: 256,
  sides: { "shared memory": ticking("shared"), "mapped file": ticking("mmap") },
}, {
  unit: "a directory opened after a clean close behind 1,048,576 deltas",
  size: 65_536,
  smokeSize: 256,
  runs: 6,
  sides: { "shared memory, from the log": opening("shared"), "mapped file": opening("mmap") },
}, {
  unit: "1,000 reads of 64 bytes with readInto",
  size: 1000,
  smokeSize: 100,
  sides: {
    "own page in shared memory": reading("shared", false),
    "own page in a mapped file": reading("mmap", false),
    "another bus's page in a mapped file": reading("mmap", true),
  },
});
