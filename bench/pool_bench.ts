/**
 * A bus from a pool beside opening and preparing another one: 100 pages of 4 KiB with names, each
 * written once, of which the work then changes ten: `deno bench -A bench/pool_bench.ts`.
 */

import { StateBus, StateBusPool } from "../mod.ts";
import { bench } from "./_comparison.ts";
import { hash } from "./_harness.ts";
import { stateHash } from "./_work.ts";

const CHANGED = 10;
const BYTES = new Uint8Array(64).fill(7);

async function prepare(bus: StateBus, pages: number): Promise<void> {
  for (let i = 0; i < pages; i++) bus.createPage({ name: `page ${i}` }).write(0, BYTES);
  await bus.tick();
}

async function work(bus: StateBus): Promise<void> {
  for (let i = 0; i < CHANGED; i++) bus.find(`page ${i}`)!.write(8, BYTES);
  await bus.tick();
}

/** Hash over the states that the runs came to. */
class Ends {
  #text = "";

  /** Adds the state of a bus, of the first runs only: it is no part of what is timed. */
  add(bus: StateBus): void {
    if (this.#text.length < 24) this.#text += stateHash(bus);
  }

  /** All of them. */
  hash(): string {
    return hash(new TextEncoder().encode(this.#text));
  }
}

export default bench({
  unit: "a bus with 100 prepared pages, of which 10 are changed",
  size: 100,
  smokeSize: 20,
  sides: {
    "open, prepare, work, close": ({ size }) => {
      const ends = new Ends();
      return {
        async run(watch) {
          watch.start();
          const bus = await StateBus.open();
          await prepare(bus, size);
          await work(bus);
          watch.end();
          ends.add(bus);
          await bus.close();
        },
        result: () => ends.hash(),
      };
    },
    "reset, prepare, work": async ({ size }) => {
      const bus = await StateBus.open(), ends = new Ends();
      return {
        async run(watch) {
          watch.start();
          bus.reset();
          await prepare(bus, size);
          await work(bus);
          watch.end();
          ends.add(bus);
        },
        result: () => ends.hash(),
        close: () => bus.close(),
      };
    },
    "acquire from a pool, work, release": ({ size }) => {
      const pool = new StateBusPool({ size: 1, prepare: (bus) => prepare(bus, size) });
      const ends = new Ends();
      return {
        async run(watch) {
          watch.start();
          const lease = await pool.acquire();
          await work(lease.bus);
          watch.end();
          ends.add(lease.bus);
          lease.release();
        },
        result: () => ends.hash(),
        close: () => pool.close(),
      };
    },
  },
});
