/** The past asked: `deno bench -A bench/history_bench.ts`. */

import type { StateBus } from "../mod.ts";
import { FileStorage, readMeta } from "../src/log/mod.ts";
import { scanHistory } from "../src/model/history_scan.ts";
import { bench, type OpenSide } from "./_comparison.ts";
import { hash } from "./_harness.ts";
import { written } from "./_subjects_history.ts";

const TICKS = 16;
/** A page somewhere in the middle. */
const PAGE = 100;

type Ask = (bus: StateBus, dir: string) => Promise<string> | string;

/** A log of 16 ticks over as many pages as each has deltas, and a question; its answer is the result. */
function asking(ask: Ask): OpenSide {
  return async ({ size, folder }) => {
    const rows = size / TICKS, dir = folder(), bus = await written(dir, rows, TICKS, rows);
    let answer = "";
    return {
      run: async () => void (answer = await ask(bus, dir)),
      result: () => answer,
      close: () => bus.close(),
    };
  };
}

/** As the log tells it again from its beginning. */
async function replayed(bus: StateBus): Promise<string> {
  const bytes = new Uint8Array(256);
  for await (const { offset, after } of bus.history(PAGE, { toTick: bus.tickNumber - 1 })) {
    bytes.set(after, offset);
  }
  return hash(bytes);
}

export default bench({
  unit: "the history of one page among 1,048,576 deltas",
  size: 2 ** 20,
  smokeSize: 2 ** 13,
  runs: 10,
  sides: {
    "a scan of the log": asking((bus, dir) => {
      const storage = new FileStorage(dir);
      const found = scanHistory(storage, readMeta(storage), PAGE, bus.tickNumber);
      return hash(...found.flatMap(({ before, after }) => [before, after]));
    }),
    "bus.history": asking(async (bus) => {
      const parts: Uint8Array[] = [];
      for await (const { before, after } of bus.history(PAGE)) parts.push(before, after);
      return hash(...parts);
    }),
  },
}, {
  unit: "one page as it was a tick ago, after 1,048,576 deltas",
  size: 2 ** 20,
  smokeSize: 2 ** 13,
  runs: 10,
  sides: {
    "its history replayed": asking(replayed),
    "bus.pageAt": asking((bus) => {
      return hash(bus.pageAt(PAGE, { tick: bus.tickNumber - 1 }).bytes);
    }),
    "bus.at, the whole state": asking(async (bus) => {
      await using past = await bus.at({ tick: bus.tickNumber - 1 });
      return hash(past.page(PAGE).read());
    }),
  },
}, {
  unit: "the pages that the last two ticks of 16,384 deltas changed",
  size: 2 ** 18,
  smokeSize: 2 ** 13,
  runs: 5,
  sides: {
    "two whole states compared": asking(async (bus) => {
      const tick = bus.tickNumber;
      await using before = await bus.at({ tick: tick - 2 });
      await using after = await bus.at({ tick });
      let changed = 0;
      for (const page of after.pages()) {
        const bytes = page.read(), old = before.page(page.id).read();
        if (bytes.some((byte, at) => byte !== old[at])) changed++;
      }
      return `${changed}`;
    }),
    "bus.diff": asking(async (bus) => {
      const tick = bus.tickNumber;
      const changed = new Set<unknown>();
      for await (const difference of bus.diff({ tick: tick - 2 }, { tick })) {
        if ("page" in difference) changed.add(difference.page);
      }
      return `${changed.size}`;
    }),
  },
});
