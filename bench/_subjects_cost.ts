/**
 * Subject `cost`: what one of each thing takes, in time, memory and log: the table of docs/performance.md.
 *
 * Many are made at once in a directory, and what they took is divided by their number. Memory is the
 * JavaScript heap after a collection and the bookkeeping beside it, without the pages' own bytes.
 */

import { defineRule, DeltaBatch, type Page, StateBus } from "../mod.ts";
import { collect, hash, median, numbers, type Row } from "./_harness.ts";
import { SEED, stateHash } from "./_work.ts";

const COUNT = 20_000;
const PAGE_BYTES = 64;
const OPTIONS = { memoryLimitBytes: 2 ** 26, tickBudgetMs: 60_000 } as const;

/** A thing to be made, on a bus with pages that stand already. */
interface Thing {
  readonly name: string;
  /** Makes all; what it returns is kept until memory has been read. */
  readonly make: (bus: StateBus, pages: readonly Page[]) => unknown;
}

const copying = defineRule({
  compute: (ctx) => ctx.output(0).setInt32(0, ctx.input(0).getInt32(0) + 1),
});

/** Pages and places at random: in order, the columns of the log would shrink to nothing. */
function written(): { readonly index: () => number; readonly offset: () => number } {
  const next = numbers(SEED);
  return { index: () => next() % COUNT, offset: () => next() % (PAGE_BYTES / 8) * 8 };
}

const numbersTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const value = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

const THINGS: readonly Thing[] = [
  {
    name: "page of 64 bytes, no handle kept",
    make(bus) {
      for (let i = 0; i < COUNT; i++) bus.createPage({ size: PAGE_BYTES });
    },
  },
  {
    name: "page of 64 bytes and its handle",
    make: (bus) => numbersTo(COUNT).map(() => bus.createPage({ size: PAGE_BYTES })),
  },
  {
    name: "page of 64 bytes with a name of 10 letters",
    make(bus) {
      for (let i = 0; i < COUNT; i++) bus.createPage({ size: PAGE_BYTES, name: nameOf(i) });
    },
  },
  {
    name: "page of 64 bytes with metadata of 8 bytes",
    make(bus) {
      for (let i = 0; i < COUNT; i++) {
        bus.createPage({ size: PAGE_BYTES, metadata: { unit: value } });
      }
    },
  },
  {
    name: "edge",
    make(bus, pages) {
      const next = numbers(SEED);
      for (let i = 1; i < COUNT; i++) bus.edge(pages[next() % i], pages[i], "data");
    },
  },
  {
    name: "rule of one input and one output",
    make(bus, pages) {
      for (let i = 1; i < COUNT; i += 2) {
        const binding = { name: nameOf(i), inputs: [pages[i - 1]], outputs: [pages[i]] };
        bus.rule(copying, binding);
      }
    },
  },
  {
    name: "write of 8 bytes through a handle",
    make(_, pages) {
      const write = written();
      for (let i = 0; i < COUNT; i++) pages[write.index()].write(write.offset(), value);
    },
  },
  {
    name: "write of 8 bytes with source and intent",
    make(_, pages) {
      const write = written(), options = { source: "feed-a", intent: "open" };
      for (let i = 0; i < COUNT; i++) pages[write.index()].write(write.offset(), value, options);
    },
  },
  {
    name: "delta of 8 bytes in a batch",
    make(bus, pages) {
      const batch = new DeltaBatch({ rows: COUNT, payloadBytes: 8 * COUNT });
      const write = written();
      for (let i = 0; i < COUNT; i++) batch.push(pages[write.index()].id, write.offset(), value);
      bus.submit(batch);
    },
  },
];

function nameOf(index: number): string {
  return `cell ${String(index).padStart(5, "0")}`;
}

interface Cost {
  readonly ns: number;
  readonly memoryBytes: number;
  readonly logBytes: number;
  readonly hash: string;
}

async function costOf({ name, make }: Thing): Promise<Cost> {
  const dir = Deno.makeTempDirSync({ prefix: "mmsb-anchors-" });
  try {
    await using bus = await StateBus.open({ dir, ...OPTIONS });
    const needsPages = !name.startsWith("page");
    const pages = needsPages
      ? numbersTo(COUNT).map(() => bus.createPage({ size: PAGE_BYTES }))
      : [];
    await bus.commit();
    collect();
    const before = bus.stats(), heap = Deno.memoryUsage().heapUsed;
    const start = performance.now();
    let kept = make(bus, pages);
    await bus.commit();
    const ns = (performance.now() - start) * 1e6;
    collect();
    const after = bus.stats(), grown = Deno.memoryUsage().heapUsed - heap;
    if (kept !== undefined) kept = (kept as unknown[]).length;
    const count = name.startsWith("rule") ? COUNT / 2 : COUNT;
    const bookkeeping = after.bookkeepingBytes - before.bookkeepingBytes;
    return {
      ns: ns / count,
      memoryBytes: (grown + bookkeeping) / count,
      logBytes: (after.logBytes - before.logBytes) / count,
      hash: hash(new TextEncoder().encode(`${stateHash(bus)} ${kept}`)),
    };
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

/** Each thing some times. */
export async function cost(rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const thing of THINGS) {
    const costs: Cost[] = [];
    for (let round = -1; round < Math.min(rounds, 5); round++) {
      const cost = await costOf(thing);
      if (round >= 0) costs.push(cost);
    }
    const of = (figure: (cost: Cost) => number) => median(costs.map(figure));
    const ns = of(({ ns }) => ns), times = costs.map(({ ns }) => ns);
    rows.push({
      subject: `cost: ${thing.name}, made durable in one tick of ${COUNT}`,
      ours: `${ns.toFixed(0)} ns, ${of(({ memoryBytes }) => memoryBytes).toFixed(0)} B memory, ` +
        `${of(({ logBytes }) => logBytes).toFixed(1)} B log`,
      peer: "",
      ratio: ns,
      spread: [Math.min(...times), Math.max(...times)],
      target: "",
      met: true,
      hash: costs[0].hash,
    });
  }
  return rows;
}
