/** Edges between pages and questions about them: `deno bench -A bench/graph_bench.ts`. */

import { StateBus } from "../mod.ts";
import { bench, type OpenSide } from "./_comparison.ts";
import { SEED } from "./_work.ts";
import { busOf, PAGE_BYTES, type Pair, random } from "./_work_graph.ts";

/** Edges of a page. */
const EDGES = 4;

/** Plain arrays: an order of all pages by taking away those that nothing leads to, and how many it holds. */
function orderOf(pages: number, pairs: readonly Pair[]): number[] {
  const next = Array.from({ length: pages }, (): number[] => []), open = new Uint32Array(pages);
  for (const [from, to] of pairs) {
    next[from].push(to);
    open[to]++;
  }
  const order: number[] = [];
  for (let page = 0; page < pages; page++) if (open[page] === 0) order.push(page);
  for (let at = 0; at < order.length; at++) {
    for (const to of next[order[at]]) if (--open[to] === 0) order.push(to);
  }
  return order;
}

function pairsOf(pages: number): Pair[] {
  return [...random(pages, EDGES * pages, SEED)];
}

function asking(ask: (bus: StateBus) => number): OpenSide {
  return async ({ size }) => {
    const [bus] = await busOf(size, pairsOf(size));
    let sum = 0;
    return {
      run: () => void (sum += ask(bus)),
      result: () => `${sum}`,
      close: () => bus.close(),
    };
  };
}

function plain(): OpenSide {
  return ({ size }) => {
    const pairs = pairsOf(size);
    let sum = 0;
    return { run: () => void (sum += orderOf(size, pairs).length), result: () => `${sum}` };
  };
}

export default bench({
  unit: "10,000 pages with 4 edges each checked for cycles",
  size: 10_000,
  smokeSize: 100,
  sides: {
    "plain arrays": plain(),
    "bus.graph.check": asking((bus) => bus.graph.check().ok ? [...bus.pages()].length : NaN),
    "bus.graph.topologicalOrder": asking((bus) => bus.graph.topologicalOrder().length),
  },
}, {
  unit: "1,000 pages and 4,000 edges added, refusing what would close a cycle, and a tick",
  size: 1000,
  smokeSize: 50,
  runs: 20,
  sides: {
    "plain arrays, checked once at the end": plain(),
    "bus.edge": ({ size }) => {
      const pairs = pairsOf(size);
      let sum = 0;
      return {
        async run(watch) {
          const bus = await StateBus.open();
          watch.start();
          const pages = Array.from({ length: size }, () => bus.createPage({ size: PAGE_BYTES }));
          for (const [from, to] of pairs) bus.edge(pages[from], pages[to], "data");
          await bus.tick();
          watch.end();
          sum += bus.graph.topologicalOrder().length;
          await bus.close();
        },
        result: () => `${sum}`,
      };
    },
  },
});
