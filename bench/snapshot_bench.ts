/** Many pages read as of one tick: `deno bench -A bench/snapshot_bench.ts`. */

import type { Snapshot, StateBus } from "../mod.ts";
import { bench, type OpenSide } from "./_comparison.ts";
import { busOfPages } from "./_work.ts";

const PAGE_BYTES = 256;

async function numbered(pages: number): Promise<StateBus> {
  const bus = await busOfPages(pages, PAGE_BYTES);
  await bus.commit(() => {
    for (const page of bus.pages()) page.write(0, Uint8Array.of(page.id));
  });
  return bus;
}

function reading(look: (bus: StateBus, pages: number) => number): OpenSide {
  return async ({ size }) => {
    const bus = await numbered(size);
    let sum = 0;
    return {
      run: () => void (sum += look(bus, size)),
      result: () => `${sum}`,
      close: () => bus.close(),
    };
  };
}

function sumOf(at: Snapshot, pages: number): number {
  let sum = 0;
  for (let id = 1; id <= pages; id++) sum += at.read(id)[0];
  return sum;
}

export default bench({
  unit: "1,000 pages of 256 bytes read as of one tick",
  size: 1000,
  smokeSize: 50,
  sides: {
    "structuredClone of a Map": ({ size }) => {
      const pages = new Map(Array.from({ length: size }, (_, i) => {
        const bytes = new Uint8Array(PAGE_BYTES);
        bytes[0] = i + 1;
        return [i, bytes] as const;
      }));
      let sum = 0;
      return {
        run() {
          for (const bytes of structuredClone(pages).values()) sum += bytes[0];
        },
        result: () => `${sum}`,
      };
    },
    "bus.snapshot, at.read": reading((bus, pages) => bus.snapshot((at) => sumOf(at, pages))),
    "bus.snapshot, readInto": reading((bus, pages) => {
      const target = new Uint8Array(PAGE_BYTES);
      return bus.snapshot(() => {
        let sum = 0;
        for (let id = 1; id <= pages; id++) sum += bus.page(id).readInto(target)[0];
        return sum;
      });
    }),
  },
});
