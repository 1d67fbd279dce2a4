/** Reads and writes through page handles, a thousand at a time: `deno bench -A bench/handle_bench.ts`. */

import { type Page, StateBus } from "../mod.ts";
import { bench, type OpenSide } from "./_comparison.ts";

const PAGES = 64;
const PAGE_BYTES = 4096;
const LENGTH = 64;

/** What a side does with one page; a read gives a byte of what it read. */
type Call = (page: Page, offset: number) => number;

async function busOfHandles(): Promise<{ bus: StateBus; pages: Page[] }> {
  const bus = await StateBus.open({ memoryLimitBytes: 2 ** 22 });
  const pages = Array.from({ length: PAGES }, () => bus.createPage({ size: PAGE_BYTES }));
  await bus.commit(() => {
    pages.forEach((page, i) => page.write(0, new Uint8Array(PAGE_BYTES).fill(i + 1)));
  });
  return { bus, pages };
}

function reads(call: Call): OpenSide {
  return async ({ size }) => {
    const { bus, pages } = await busOfHandles();
    let sum = 0;
    return {
      run() {
        for (let i = 0; i < size; i++) sum += call(pages[i & PAGES - 1], (i & 31) << 4);
      },
      result: () => `${sum}`,
      close: () => bus.close(),
    };
  };
}

const bytes = new Uint8Array(8).fill(7), SOURCE = { source: "feed-a" };

function writes(write: (page: Page, offset: number) => void): OpenSide {
  return async ({ size }) => {
    const { bus, pages } = await busOfHandles();
    return {
      async run() {
        for (let i = 0; i < size; i++) write(pages[i & PAGES - 1], i << 3 & PAGE_BYTES - 8);
        await bus.tick();
      },
      result: () => bus.page(1).read(),
      close: () => bus.close(),
    };
  };
}

const target = new Uint8Array(LENGTH);

export default bench({
  unit: "1,000 reads of 64 bytes",
  size: 1000,
  smokeSize: 1000,
  sides: {
    "copy from a plain array": ({ size }) => {
      const arrays = Array.from(
        { length: PAGES },
        (_, i) => new Uint8Array(PAGE_BYTES).fill(i + 1),
      );
      let sum = 0;
      return {
        run() {
          for (let i = 0; i < size; i++) {
            const at = (i & 31) << 4;
            target.set(arrays[i & PAGES - 1].subarray(at, at + LENGTH));
            sum += target[0];
          }
        },
        result: () => `${sum}`,
      };
    },
    "page.readInto": reads((page, offset) => page.readInto(target, offset)[0]),
    "page.view, one byte of it": reads((page, offset) => page.view()[offset]),
    "page.read": reads((page, offset) => page.read(offset, LENGTH)[0]),
  },
}, {
  unit: "1,000 writes of 8 bytes",
  size: 1000,
  smokeSize: 1000,
  sides: {
    "set in a plain array": ({ size }) => {
      const arrays = Array.from(
        { length: PAGES },
        (_, i) => new Uint8Array(PAGE_BYTES).fill(i + 1),
      );
      return {
        run() {
          for (let i = 0; i < size; i++) arrays[i & PAGES - 1].set(bytes, i << 3 & PAGE_BYTES - 8);
        },
        result: () => arrays[0],
      };
    },
    "page.write, one tick": writes((page, offset) => page.write(offset, bytes)),
    "page.write with a source, one tick": writes((page, at) => page.write(at, bytes, SOURCE)),
    "page.combine u32 or, one tick": writes((page, offset) => {
      page.combine("u32", "or", offset, 0x07070707);
      page.combine("u32", "or", offset + 4, 0x07070707);
    }),
  },
  others: ["page.combine u32 or, one tick"],
});
