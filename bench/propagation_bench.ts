/** Rules beside signals on the same graphs: `deno bench -A bench/propagation_bench.ts`. */

import { bench, type Comparison, type Place, type Side } from "./_comparison.ts";
import {
  busGraph,
  chains,
  diamond,
  type Graph,
  layers,
  RuleGraph,
  SignalGraph,
} from "./_work_propagation.ts";

const PAGE_BYTES = 16;

/** Shapes by size, so that the smoke test has small ones. */
type Shape = (size: number) => Graph;

/** Counts steps up from 1. */
function stepping(side: RuleGraph | SignalGraph, steps: number): Side {
  let value = 0;
  return {
    run() {
      for (let i = 0; i < steps; i++) side.step(++value);
    },
    result: () => `${side.sum()} after ${side.fired}`,
  };
}

async function ticking({ size }: Place, shape: Shape, steps: number): Promise<Side> {
  const graph = shape(size), { bus, sources, ends } = await busGraph(graph, PAGE_BYTES);
  const bytes = new Uint8Array(4), word = new Int32Array(bytes.buffer);
  let value = 0, fired = 0;
  return {
    async run() {
      for (let i = 0; i < steps; i++) {
        word[0] = ++value;
        for (const source of sources) source.write(0, bytes);
        fired += (await bus.tick()).fired;
      }
    },
    result() {
      const sum = ends.reduce((sum, end) => sum + new Int32Array(end.read(0, 4).buffer)[0] | 0, 0);
      return `${sum} after ${fired}`;
    },
    close: () => bus.close(),
  };
}

function change(what: string, shape: Shape, size: number, steps: number): Comparison {
  const times = steps === 1 ? "" : `${steps} times `;
  return {
    unit: `${times}a source changes, ${what}`,
    size,
    smokeSize: Math.min(size, 10),
    sides: {
      "alien-signals": ({ size }) => stepping(new SignalGraph(shape(size)), steps),
      "rules, the wave alone": ({ size }) =>
        stepping(new RuleGraph(shape(size), PAGE_BYTES), steps),
      "rules, whole ticks": (place) => ticking(place, shape, steps),
    },
  };
}

export default bench(
  change("one rule reads it", (size) => chains(size, size), 1, 100),
  change("a diamond of 10 rules reads it", diamond, 10, 100),
  change("1,000 rules read it", (size) => chains(size, 1), 1000, 1),
  change("a chain of 1,000 rules behind it", (size) => chains(1, size), 1000, 1),
  change("100 chains of 100 rules behind it", (size) => chains(size, size), 100, 1),
  {
    ...change("5 layers of 1,000 rules, 25 inputs each", (size) => layers(size, 5, 25), 1000, 1),
    unit: "1,000 sources change, 5 layers of 1,000 rules read 25 inputs each",
    smokeSize: 30,
  },
);
