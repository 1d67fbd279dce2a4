/** Pages made, named, found and deleted: `deno bench -A bench/page_bench.ts`. */

import { StateBus } from "../mod.ts";
import { bench, type OpenSide } from "./_comparison.ts";

const PAGE_BYTES = 1024;

function lives(name: ((index: number) => string) | undefined): OpenSide {
  return async ({ size }) => {
    const bus = await StateBus.open({ memoryLimitBytes: 2 ** 26 });
    let made = 0;
    return {
      async run() {
        const pages = Array.from({ length: size }, (_, i) => {
          return bus.createPage({ size: PAGE_BYTES, ...(name && { name: name(i) }) });
        });
        await bus.tick();
        made += [...bus.pages()].length;
        for (const page of pages) page.delete();
        await bus.tick();
      },
      result: () => `${made} made, ${[...bus.pages()].length} left`,
      close: () => bus.close(),
    };
  };
}

export default bench({
  unit: "1,000 pages of 1 KiB made in one tick and deleted in the next",
  size: 1000,
  smokeSize: 100,
  sides: {
    "arrays in a Map": ({ size }) => {
      const pages = new Map<number, Uint8Array>();
      let made = 0;
      return {
        run() {
          for (let i = 0; i < size; i++) pages.set(i, new Uint8Array(PAGE_BYTES));
          made += pages.size;
          for (let i = 0; i < size; i++) pages.delete(i);
        },
        result: () => `${made} made, ${pages.size} left`,
      };
    },
    "without names": lives(undefined),
    "with names": lives((index) => `page ${index}`),
  },
}, {
  unit: "1,000 pages found by name",
  size: 1000,
  smokeSize: 100,
  sides: {
    "a Map of strings": ({ size }) => {
      const pages = new Map(Array.from({ length: size }, (_, i) => [`page ${i}`, i + 1]));
      let sum = 0;
      return {
        run() {
          for (let i = 0; i < size; i++) sum += pages.get(`page ${i}`)!;
        },
        result: () => `${sum}`,
      };
    },
    "bus.find": async ({ size }) => {
      const bus = await StateBus.open();
      for (let i = 0; i < size; i++) bus.createPage({ size: 16, name: `page ${i}` });
      await bus.tick();
      let sum = 0;
      return {
        run() {
          for (let i = 0; i < size; i++) sum += bus.find(`page ${i}`)!.id;
        },
        result: () => `${sum}`,
        close: () => bus.close(),
      };
    },
  },
});
