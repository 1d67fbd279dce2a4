/** Subjects of rules: waves over graphs beside signals, and incremental rules beside a view library. */

import { besidePeer } from "./_comparison.ts";
import { hash, interleave, median, type Row } from "./_harness.ts";
import {
  busGroups,
  CHANGES,
  changesOf,
  groupsBeside,
  OURS,
  PEER,
  ROWS,
} from "./_work_incremental.ts";
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

/** Incremental rules beside @tanstack/db-ivm, and at ten times the history. */
export async function incremental(rounds: number): Promise<Row[]> {
  return [await beside(rounds), await history(rounds)];
}

async function beside(rounds: number): Promise<Row> {
  const measured = await besidePeer(groupsBeside, OURS, PEER, rounds);
  const us = (seconds: number) => `${(seconds * 1e9 / CHANGES).toFixed(0)} ns a change`;
  return {
    subject: `filter, count and sum by key of ${ROWS} rows, ${CHANGES} changed a tick`,
    ours: `${us(measured.ours)} (set, tick, rule)`,
    peer: `${us(measured.peer)} (@tanstack/db-ivm)`,
    ratio: measured.ratio,
    spread: measured.spread,
    target: "≥ 3",
    met: measured.ratio >= 3 && measured.same,
    hash: measured.hash,
  };
}

/** The same changes over a table ten times as long. */
async function history(rounds: number): Promise<Row> {
  const short = await busGroups(), long = await busGroups(10 * ROWS);
  const run = ({ bus, items }: Awaited<ReturnType<typeof busGroups>>) => {
    const changes = changesOf();
    return async () => {
      const { rows, values } = changes.next().value;
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
