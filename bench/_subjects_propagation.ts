/** Subjects of rules: waves over graphs beside signals, and incremental rules beside a view library. */

import { D2, filter, groupBy, groupByOperators, MultiSet, output } from "@tanstack/db-ivm";
import { defineRule, type Page, type Rule, StateBus, type Table, table } from "../mod.ts";
import { hash, interleave, median, numbers, type Row } from "./_harness.ts";
import { SEED } from "./_work.ts";
import {
  busGraph,
  chains,
  diamond,
  type Graph,
  layers,
  RuleGraph,
  SignalGraph,
} from "./_work_propagation.ts";

const GRAPHS: readonly Graph[] = [
  chains(1, 1),
  chains(10, 10),
  chains(100, 100),
  chains(1000, 1),
  chains(1, 1000),
  diamond(10),
  layers(1000, 5, 25),
];
const PAGE_BYTES = 16;
/** Inputs read in one round, roughly. */
const READS = 400_000;

/** Waves, and whole ticks, beside alien-signals on the same graphs. */
export async function propagation(rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const graph of GRAPHS) rows.push(await wave(graph, rounds));
  for (const graph of GRAPHS) rows.push(await ticks(graph, rounds));
  rows.push(await largeOutputs(rounds));
  return rows;
}

function stepsOf(graph: Graph): number {
  const reads = graph.reads.reduce((sum, inputs) => sum + inputs.length, 0);
  return Math.max(2, Math.ceil(READS / reads));
}

function checkRuns(graph: Graph, ours: number, theirs: number, steps: number): void {
  const expected = graph.reads.length * steps;
  if (ours === expected && theirs === expected) return;
  throw new Error(`${graph.name}: ${ours} and ${theirs} runs where ${expected} were to be`);
}

/** The bare wave: check, epochs, capture, rules, derived epochs; no log and no promise. */
async function wave(graph: Graph, rounds: number): Promise<Row> {
  const ours = new RuleGraph(graph, PAGE_BYTES), theirs = new SignalGraph(graph);
  const steps = stepsOf(graph), nodes = graph.reads.length;
  const run = (side: RuleGraph | SignalGraph) => {
    let value = 0;
    return () => {
      const before = side.fired, start = performance.now();
      for (let i = 0; i < steps; i++) side.step(++value);
      const seconds = (performance.now() - start) / 1000;
      checkRuns(graph, side.fired - before, side.fired - before, steps);
      return seconds;
    };
  };
  const measured = await interleave(run(ours), run(theirs), rounds);
  if (ours.sum() !== theirs.sum()) throw new Error(`${graph.name}: other results`);
  const ns = (seconds: number) => `${(seconds * 1e9 / steps / nodes).toFixed(0)} ns a rule`;
  return {
    subject: `wave of ${graph.name} rules over pages of ${PAGE_BYTES} bytes`,
    ours: ns(measured.ours),
    peer: `${ns(measured.peer)} (alien-signals)`,
    ratio: measured.ratio,
    spread: measured.spread,
    target: "≥ 1, goal 1.43",
    met: measured.ratio >= 1,
    hash: hash(new Uint8Array(Int32Array.of(ours.sum()).buffer)),
  };
}

/** Whole ticks of a bus in memory: write, tick, promise. */
async function ticks(graph: Graph, rounds: number): Promise<Row> {
  const { bus, sources, end } = await busGraph(graph, PAGE_BYTES);
  const theirs = new SignalGraph(graph);
  const steps = Math.max(2, stepsOf(graph) >> 3), nodes = graph.reads.length;
  const bytes = new Uint8Array(4), word = new Int32Array(bytes.buffer);
  let value = 0, peerValue = 0;
  const ours = async () => {
    const start = performance.now();
    let fired = 0;
    for (let i = 0; i < steps; i++) {
      word[0] = ++value;
      for (const source of sources) source.write(0, bytes);
      fired += (await bus.tick()).fired;
    }
    checkRuns(graph, fired, fired, steps);
    return (performance.now() - start) / 1000;
  };
  const peer = () => {
    const start = performance.now();
    for (let i = 0; i < steps; i++) theirs.step(++peerValue);
    return (performance.now() - start) / 1000;
  };
  const measured = await interleave(ours, peer, rounds);
  const result = new Int32Array(end.read(0, 4).buffer)[0];
  if (result !== theirs.last()) throw new Error(`${graph.name}: other results`);
  await bus.close();
  const ns = (seconds: number) => `${(seconds * 1e9 / steps / nodes).toFixed(0)} ns a rule`;
  return {
    subject: `whole ticks of ${graph.name} rules, in memory`,
    ours: ns(measured.ours),
    peer: `${ns(measured.peer)} (alien-signals, no ticks)`,
    ratio: measured.ratio,
    spread: measured.spread,
    target: "",
    met: true,
    hash: hash(new Uint8Array(Int32Array.of(result).buffer)),
  };
}

/** One word changed of outputs of 4 KiB against one of 16 bytes: the cost is that of the bytes written. */
async function largeOutputs(rounds: number): Promise<Row> {
  const graph = chains(100, 1), steps = stepsOf(graph);
  const small = new RuleGraph(graph, 16), large = new RuleGraph(graph, 4096);
  let a = 0, b = 0;
  const run = (side: RuleGraph, next: () => number) => () => {
    const start = performance.now();
    for (let i = 0; i < steps; i++) side.step(next());
    return (performance.now() - start) / 1000;
  };
  const measured = await interleave(run(large, () => ++a), run(small, () => ++b), rounds);
  if (large.sum() !== small.sum()) throw new Error("other results");
  const ns = (seconds: number) => `${(seconds * 1e9 / steps / 100).toFixed(0)} ns a rule`;
  return {
    subject: "wave of 100 rules that change 4 bytes of 4 KiB outputs",
    ours: ns(measured.ours),
    peer: `${ns(measured.peer)} (of outputs of 16 bytes)`,
    ratio: measured.ratio,
    spread: measured.spread,
    target: "≥ 0.5",
    met: measured.ratio >= 0.5,
    hash: hash(new Uint8Array(Int32Array.of(large.sum()).buffer)),
  };
}

const ROWS = 200_000;
const CHANGES = 1000;
const KEYS = 1024;
const LEAST = 100;

interface Item {
  id: number;
  key: number;
  value: number;
}

/** Values that batches of changes give to rows. */
function* changesOf(): Generator<{ rows: Uint32Array; values: Int32Array }> {
  const next = numbers(SEED);
  for (;;) {
    yield {
      rows: Uint32Array.from({ length: CHANGES }, () => next() % ROWS),
      values: Int32Array.from({ length: CHANGES }, () => next() % 1000),
    };
  }
}

function firstValues(): { key: Uint16Array; value: Int32Array } {
  const next = numbers(SEED + 1);
  return {
    key: Uint16Array.from({ length: ROWS }, () => next() % KEYS),
    value: Int32Array.from({ length: ROWS }, () => next() % 1000),
  };
}

/** Filter, count and sum by key, of rows that change: what `fromDeltas` is for. */
export const groupRule: Rule = defineRule({
  compute(ctx) {
    const { table } = ctx.input(0), out = ctx.output(0);
    const counts = new Float64Array(KEYS), sums = new Float64Array(KEYS);
    const keys = table.chunks("key") as Uint16Array[];
    const values = table.chunks("value") as Int32Array[];
    for (let c = 0; c < keys.length; c++) {
      for (let i = 0; i < keys[c].length; i++) {
        if (values[c][i] < LEAST) continue;
        counts[keys[c][i]]++;
        sums[keys[c][i]] += values[c][i];
      }
    }
    for (let key = 0; key < KEYS; key++) {
      out.setFloat64(16 * key, counts[key]);
      out.setFloat64(16 * key + 8, sums[key]);
    }
  },
  fromDeltas(ctx, changes) {
    const rows = changes.table(0), out = ctx.output(0);
    const keyBefore = rows.before("key") as Uint16Array, key = rows.after("key") as Uint16Array;
    const before = rows.before("value") as Int32Array, after = rows.after("value") as Int32Array;
    for (let i = 0; i < rows.count; i++) {
      if (rows.rows[i] < rows.lengthBefore && before[i] >= LEAST) {
        const at = 16 * keyBefore[i];
        out.setFloat64(at, out.getFloat64(at) - 1);
        out.setFloat64(at + 8, out.getFloat64(at + 8) - before[i]);
      }
      if (after[i] >= LEAST) {
        const at = 16 * key[i];
        out.setFloat64(at, out.getFloat64(at) + 1);
        out.setFloat64(at + 8, out.getFloat64(at + 8) + after[i]);
      }
    }
  },
});

const Items = table({ key: "u16", value: "i32" });

/** A bus with a group-by. */
export interface Groups {
  /** The bus. */
  readonly bus: StateBus;
  /** The rows. */
  readonly items: Table<typeof Items.definition>;
  /** Count and sum of each key. */
  readonly groups: Page;
}

/** The group-by over a table, on a bus in memory. */
export async function busGroups(rows = ROWS): Promise<Groups> {
  const bus = await StateBus.open({ memoryLimitBytes: 2 ** 30 });
  const items = bus.createTable(Items, { name: "items" });
  const groups = bus.createPage({ size: 16 * KEYS, name: "groups" });
  const { key, value } = firstValues();
  for (let done = 0; done < rows; done += ROWS) {
    await bus.commit(() => items.append({ key, value }));
  }
  bus.rule(groupRule, { name: "groups", inputs: [items], outputs: [groups] });
  await bus.tick();
  return { bus, items, groups };
}

/** Incremental rules beside @tanstack/db-ivm, and at ten times the history. */
export async function incremental(rounds: number): Promise<Row[]> {
  return [await beside(rounds), await history(rounds)];
}

async function beside(rounds: number): Promise<Row> {
  const { bus, items, groups } = await busGroups();
  const { key, value } = firstValues();
  const peerGroups = new Map<number, { n: number; total: number }>();
  const graph = new D2(), input = graph.newInput<Item>();
  input.pipe(
    filter((item: Item) => item.value >= LEAST),
    groupBy((item: Item) => ({ key: item.key }), {
      n: groupByOperators.count(),
      total: groupByOperators.sum((item: Item) => item.value),
    }),
    output((message) => {
      for (const [[, group], multiplicity] of message.getInner()) {
        const { key, n, total } = group as unknown as { key: number; n: number; total: number };
        if (multiplicity > 0) peerGroups.set(key, { n, total });
      }
    }),
  );
  graph.finalize();
  const state: Item[] = Array.from(
    { length: ROWS },
    (_, id) => ({ id, key: key[id], value: value[id] }),
  );
  input.sendData(new MultiSet(state.map((item): [Item, number] => [item, 1])));
  graph.run();
  const ourChanges = changesOf(), theirChanges = changesOf();
  const ours = async () => {
    const { rows, values } = ourChanges.next().value!;
    const start = performance.now();
    for (let i = 0; i < CHANGES; i++) items.set(rows[i], { value: values[i] });
    await bus.tick();
    return (performance.now() - start) / 1000;
  };
  const peer = () => {
    const { rows, values } = theirChanges.next().value!;
    const start = performance.now();
    const changes: [Item, number][] = [];
    for (let i = 0; i < CHANGES; i++) {
      const old = state[rows[i]], now = { ...old, value: values[i] };
      state[rows[i]] = now;
      changes.push([old, -1], [now, 1]);
    }
    input.sendData(new MultiSet(changes));
    graph.run();
    return (performance.now() - start) / 1000;
  };
  const measured = await interleave(ours, peer, rounds);
  const own = new Float64Array(groups.read().buffer);
  for (const [key, { n, total }] of peerGroups) {
    if (own[2 * key] !== n || own[2 * key + 1] !== total) throw new Error(`group ${key} differs`);
  }
  await bus.close();
  const us = (seconds: number) => `${(seconds * 1e9 / CHANGES).toFixed(0)} ns a change`;
  return {
    subject: `filter, count and sum by key of ${ROWS} rows, ${CHANGES} changed a tick`,
    ours: `${us(measured.ours)} (set, tick, rule)`,
    peer: `${us(measured.peer)} (@tanstack/db-ivm)`,
    ratio: measured.ratio,
    spread: measured.spread,
    target: "≥ 3",
    met: measured.ratio >= 3,
    hash: hash(new Uint8Array(own.buffer)),
  };
}

/** The same changes over a table ten times as long. */
async function history(rounds: number): Promise<Row> {
  const short = await busGroups(), long = await busGroups(10 * ROWS);
  const run = ({ bus, items }: Awaited<ReturnType<typeof busGroups>>) => {
    const changes = changesOf();
    return async () => {
      const { rows, values } = changes.next().value!;
      const start = performance.now();
      for (let i = 0; i < CHANGES; i++) items.set(rows[i], { value: values[i] });
      await bus.tick();
      return (performance.now() - start) / 1000;
    };
  };
  const measured = await interleave(run(long), run(short), Math.max(rounds, 15), 8);
  const result = long.groups.read();
  await short.bus.close();
  await long.bus.close();
  const ns = (seconds: number) => `${(seconds * 1e9 / CHANGES).toFixed(0)} ns a change`;
  return {
    subject: `the same over ${10 * ROWS} rows`,
    ours: ns(measured.ours),
    peer: `${ns(measured.peer)} (over ${ROWS})`,
    ratio: median([measured.ratio]),
    spread: measured.spread,
    target: "≥ 0.8 (flat)",
    met: measured.ratio >= 0.8,
    hash: hash(result),
  };
}
