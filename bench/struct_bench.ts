/** Fields of structs: `deno bench -A bench/struct_bench.ts`. */

import { StateBus, struct } from "../mod.ts";
import { bench, type Place, type Side } from "./_comparison.ts";

const Quote = struct({ bid: "f64", ask: "f64", size: "u32" });
const QUOTES = 64;

interface Plain {
  bid: number;
  ask: number;
  size: number;
}

function plainQuotes(): Plain[] {
  return Array.from({ length: QUOTES }, (_, i) => ({ bid: i, ask: i + 1, size: i }));
}

async function quotesOnBus() {
  const bus = await StateBus.open();
  const quotes = Array.from({ length: QUOTES }, () => bus.create(Quote));
  await bus.commit(() => quotes.forEach((quote, i) => quote.set({ bid: i, ask: i + 1, size: i })));
  return { bus, quotes };
}

async function reading({ size }: Place, whole: boolean): Promise<Side> {
  const { bus, quotes } = await quotesOnBus();
  let sum = 0;
  const fields = () => {
    for (let i = 0; i < size; i++) sum += quotes[i & QUOTES - 1].get("ask");
  };
  const rows = () => {
    for (let i = 0; i < size; i++) sum += quotes[i & QUOTES - 1].get().ask;
  };
  return { run: whole ? rows : fields, result: () => `${sum}`, close: () => bus.close() };
}

export default bench({
  unit: "10,000 fields of structs read",
  size: 10_000,
  smokeSize: 1000,
  sides: {
    "plain objects": ({ size }) => {
      const quotes = plainQuotes();
      let sum = 0;
      return {
        run() {
          for (let i = 0; i < size; i++) sum += quotes[i & QUOTES - 1].ask;
        },
        result: () => `${sum}`,
      };
    },
    "struct.get of the field": (place) => reading(place, false),
    "struct.get of all fields": (place) => reading(place, true),
  },
}, {
  unit: "1,000 fields of structs set, and a tick",
  size: 1000,
  smokeSize: 100,
  sides: {
    "plain objects, no tick": ({ size }) => {
      const quotes = plainQuotes();
      let runs = 0;
      return {
        run() {
          runs++;
          for (let i = 0; i < size; i++) quotes[i & QUOTES - 1].bid = i + runs;
        },
        result: () => quotes.map(({ bid, ask }) => `${bid} ${ask}`).join(),
      };
    },
    "struct.set": async ({ size }) => {
      const { bus, quotes } = await quotesOnBus();
      let runs = 0;
      return {
        async run() {
          runs++;
          for (let i = 0; i < size; i++) quotes[i & QUOTES - 1].set({ bid: i + runs });
          await bus.tick();
        },
        result: () => quotes.map((q) => `${q.get("bid")} ${q.get("ask")}`).join(),
        close: () => bus.close(),
      };
    },
  },
});
