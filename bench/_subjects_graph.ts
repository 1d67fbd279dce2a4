/** Subjects of the graph: cycle checks, inserting edges with the order kept up, validating lists of changes. */

import { type GraphOperation, StateBus } from "../mod.ts";
import { hash, median, numbers, type Row, seconds } from "./_harness.ts";
import { SEED } from "./_work.ts";
import { busOf, chain, deepTree, PAGE_BYTES, type Pair, random, shuffled } from "./_work_graph.ts";

const PAGES = 10_000;
const EDGES = 100_000;
const INSERTED = 10_000;
const CHAIN = 1_000_000;
/** Seconds that an edge of the long chain may take. */
const CHAIN_EDGE_SECONDS_MAX = 20e-6;

/** A figure without a peer: the median of some runs against a limit. */
function figure(
  subject: string,
  times: readonly number[],
  limit: number,
  text: (value: number) => string,
  result: string,
): Row {
  const sorted = times.toSorted((a, b) => a - b), middle = median(times);
  return {
    subject,
    ours: text(middle),
    peer: "",
    ratio: limit / middle,
    spread: [limit / sorted[sorted.length - 1], limit / sorted[0]],
    target: `< ${text(limit)} (ratio: the target through ours)`,
    met: middle < limit,
    hash: result,
  };
}

const milliseconds = (value: number): string => `${(value * 1e3).toPrecision(3)} ms`;
const microseconds = (value: number): string => `${(value * 1e6).toPrecision(3)} µs`;

/** Cycle checks, inserts, validation, and a chain of 1,000,000 pages. */
export async function graph(rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  const kinds: readonly (readonly [string, Iterable<Pair>])[] = [
    ["chain", chain(PAGES)],
    ["4 random edges a page", random(PAGES, 4 * PAGES, SEED)],
    ["deep tree", deepTree(PAGES)],
  ];
  for (const [name, pairs] of kinds) {
    const [bus] = await busOf(PAGES, pairs);
    rows.push(checked(`cycle check of ${PAGES} pages, ${name}`, bus, rounds));
    await bus.close();
  }
  rows.push(await inserted(rounds), await validated(rounds));
  for (const order of ["from its end", "at random"]) rows.push(await longChain(order));
  return rows;
}

function checked(subject: string, bus: StateBus, rounds: number): Row {
  const times: number[] = [];
  for (let round = -2; round < rounds; round++) {
    const time = seconds(() => {
      if (!bus.graph.check().ok) throw new Error("the graph has a cycle");
    });
    if (round >= 0) times.push(time);
  }
  return figure(subject, times, 0.01, milliseconds, bus.graph.digest().slice(0, 8));
}

/** 10,000 edges into a graph of 100,000, in no order that means anything. */
async function inserted(rounds: number): Promise<Row> {
  const all = [...random(EDGES / 4, EDGES + INSERTED, SEED)], times: number[] = [];
  let digest = "";
  for (let round = -1; round < Math.min(rounds, 5); round++) {
    const [bus, pages] = await busOf(EDGES / 4, all.slice(0, EDGES));
    const time = seconds(() => {
      for (let at = EDGES; at < all.length; at++) {
        bus.edge(pages[all[at][0]], pages[all[at][1]], "data");
      }
    });
    await bus.tick();
    digest = bus.graph.digest();
    if (round >= 0) times.push(time / INSERTED);
    await bus.close();
  }
  return figure(
    `edge into a graph of ${EDGES}, staged`,
    times,
    20e-6,
    microseconds,
    digest.slice(0, 8),
  );
}

/** A list of 10,000 pages with 4 edges each, applied and checked whole. */
async function validated(rounds: number): Promise<Row> {
  const operations: GraphOperation[] = [], times: number[] = [];
  for (let page = 0; page < PAGES; page++) {
    operations.push({ do: "add-page", name: `page ${page}`, size: PAGE_BYTES });
  }
  for (const [from, to] of random(PAGES, 4 * PAGES, SEED)) {
    operations.push({ do: "add-edge", from: `page ${from}`, to: `page ${to}`, type: "data" });
  }
  let digest = "";
  for (let round = -1; round < Math.min(rounds, 5); round++) {
    const bus = await StateBus.open();
    const time = seconds(() => void bus.changeGraph(operations));
    await bus.tick();
    digest = bus.graph.digest();
    if (round >= 0) times.push(time / PAGES);
    await bus.close();
  }
  return figure(
    "validation of a list of changes, a page with 4 edges",
    times,
    1e-3,
    microseconds,
    digest.slice(0, 8),
  );
}

/** A chain of 1,000,000 pages whose edges come in an order that is bad for keeping up a topological one. */
async function longChain(order: string): Promise<Row> {
  const bus = await StateBus.open();
  const pages = Array.from({ length: CHAIN }, () => bus.createPage({ size: PAGE_BYTES }));
  await bus.tick();
  const sources = order === "at random"
    ? shuffled(CHAIN - 1, numbers(SEED))
    : Uint32Array.from({ length: CHAIN - 1 }, (_, at) => CHAIN - 2 - at);
  let levels = 0;
  const building = seconds(() => {
    for (const page of sources) bus.edge(pages[page], pages[page + 1], "data");
  });
  await bus.tick();
  const looking = seconds(() => {
    levels = bus.graph.topologicalOrder().length + bus.graph.descendants(pages[0]).length;
    if (!bus.graph.check().ok) throw new Error("the graph has a cycle");
  });
  await bus.close();
  // Done once, as it takes seconds: the spread has one value.
  const ratio = CHAIN_EDGE_SECONDS_MAX * CHAIN / building;
  return {
    subject: `chain of ${CHAIN} pages built ${order}; its order, descendants and check`,
    ours: `${microseconds(building / CHAIN)} an edge; ${milliseconds(looking)}`,
    peer: "",
    ratio,
    spread: [ratio, ratio],
    target: `< ${microseconds(CHAIN_EDGE_SECONDS_MAX)} an edge (ratio: the target through ours)`,
    met: levels === 2 * CHAIN - 1 && ratio > 1,
    hash: hash(new Uint8Array(Float64Array.of(levels).buffer)),
  };
}
