/** Changes told to those who listen: `deno bench -A bench/events_bench.ts`. */

import { EventEmitter } from "node:events";
import { DeltaBatch, type StateBus } from "../mod.ts";
import { bench, type OpenSide } from "./_comparison.ts";
import { busOfPages, tickOf } from "./_work.ts";

/** How a side learns of changes: it counts them by `heard`, and gives what ends it. */
type Listen = (bus: StateBus, heard: () => void) => () => void;

function listening(listen: Listen, wait = false): OpenSide {
  return async ({ size }) => {
    const bus = await busOfPages(size, 64),
      batch = new DeltaBatch({ rows: size, payloadBytes: 4 * size });
    let count = 0;
    const stop = listen(bus, () => void count++);
    let runs = 0;
    return {
      async run() {
        batch.clear();
        const bytes = new Uint8Array(4).fill(++runs);
        for (let page = 1; page <= size; page++) batch.push(page, 0, bytes);
        await tickOf(bus, batch);
        while (wait && count < runs * size) await Promise.resolve();
      },
      result: () => `${runs} ${count} ${bus.page(1).read(0, 1)[0]}`,
      async close() {
        stop();
        await bus.close();
      },
    };
  };
}

/** Reads a stream to its end beside the work. */
function streamed(bus: StateBus, heard: () => void): () => void {
  const stream = bus.events({ kinds: ["page-changed"], buffer: 65_536 });
  const reading = (async () => {
    for await (const _ of stream) heard();
  })();
  return () => {
    void stream.return();
    void reading;
  };
}

export default bench({
  unit: "one tick of 1,000 changed pages, each told to one listener",
  size: 1000,
  smokeSize: 50,
  sides: {
    "node:events, no bus": ({ size }) => {
      const emitter = new EventEmitter(),
        pages = Array.from({ length: size }, () => new Uint8Array(64));
      let runs = 0, count = 0;
      emitter.on("changed", () => void count++);
      return {
        run() {
          runs++;
          for (let page = 0; page < size; page++) {
            pages[page].fill(runs, 0, 4);
            emitter.emit("changed", { page, tick: runs });
          }
        },
        result: () => `${runs} ${count} ${pages[0][0]}`,
      };
    },
    "bus.on": listening(
      (bus, heard) => bus.on({ kinds: ["page-changed"], buffer: 65_536 }, heard),
      true,
    ),
    "bus.events": listening(streamed, true),
    "the same tick, nobody listens": listening(() => () => {}),
  },
  others: ["the same tick, nobody listens"],
});
