/** Subject `queue`: temporal messages between threads, single calls, allocations, and a heap of objects beside it. */

import { besidePeer } from "./_comparison.ts";
import { collect, hash, median, millions, type Row } from "./_harness.ts";
import { QueueThreads, SingleCalls } from "./_work_queue.ts";
import comparisons from "./queue_bench.ts";

const COUNT = 2_048_000;
const BATCH = 1024;

/** Two producers and two consumers; one call; bytes of the heap; beside a binary heap. */
export async function queue(rounds: number): Promise<Row[]> {
  const rows: Row[] = [], threads = new QueueThreads();
  try {
    for (const isTimed of [false, true]) rows.push(await throughThreads(threads, rounds, isTimed));
  } finally {
    threads.close();
  }
  rows.push(single(rounds), allocations());
  const compared = await besidePeer(comparisons[0], "TemporalQueue", "binary heap", rounds);
  const { size } = comparisons[0];
  rows.push({
    subject: `queue: ${size.toLocaleString("en")} messages in and out, one thread`,
    ours: millions(size, compared.ours),
    peer: `binary heap of objects ${millions(size, compared.peer)}`,
    ratio: compared.ratio,
    spread: compared.spread,
    target: "> 1",
    met: compared.same && compared.ratio > 1,
    hash: compared.hash,
  });
  return rows;
}

async function throughThreads(
  threads: QueueThreads,
  rounds: number,
  isTimed: boolean,
): Promise<Row> {
  const rates: number[] = [];
  for (let round = -2; round < rounds; round++) {
    const time = await threads.through(COUNT, BATCH, isTimed);
    if (round >= 0) rates.push(2 * COUNT / time / 1e6);
  }
  const rate = median(rates);
  return {
    subject: `queue: 2 producers, 2 consumers, ${BATCH} a call${
      isTimed ? ", with windows" : ""
    }, M/s`,
    ours: `${rate.toFixed(1)} M/s`,
    peer: "",
    ratio: rate,
    spread: [Math.min(...rates), Math.max(...rates)],
    target: isTimed ? "" : "≥ 10",
    met: isTimed || rate >= 10,
    hash: hash(new Uint8Array(Int32Array.of(2 * COUNT).buffer)),
  };
}

function single(rounds: number): Row {
  const calls = new SingleCalls(), times: number[] = [];
  let sum = 0;
  for (let round = -3; round < rounds; round++) {
    const start = performance.now();
    sum = (sum + calls.run(500_000)) | 0;
    if (round >= 0) times.push(performance.now() - start);
  }
  const ns = times.map((ms) => ms * 1e6 / 1e6);
  return {
    subject: "queue: one message a call, push or pop, ns",
    ours: `${median(ns).toFixed(0)} ns`,
    peer: "",
    ratio: median(ns),
    spread: [Math.min(...ns), Math.max(...ns)],
    target: "< 100",
    met: median(ns) < 100,
    hash: hash(new Uint8Array(Int32Array.of(sum).buffer)),
  };
}

/**
 * Growth of the heap over a million calls of each kind, without a collection between: the least of five rounds, as the engine
 * itself takes some when it compiles anew, and what a call allocates is in each round.
 */
function allocations(): Row {
  const calls = new SingleCalls();
  let sum = calls.run(1_000_000), bytes = Infinity;
  for (let round = 0; round < 5; round++) {
    collect();
    const before = Deno.memoryUsage().heapUsed;
    sum = (sum + calls.run(1_000_000)) | 0;
    bytes = Math.min(bytes, Math.max(0, Deno.memoryUsage().heapUsed - before) / 2e6);
  }
  return {
    subject: "queue: bytes of heap a call",
    ours: `${bytes.toFixed(3)} B`,
    peer: "",
    ratio: bytes,
    spread: [bytes, bytes],
    target: "< 0.1",
    met: bytes < 0.1,
    hash: hash(new Uint8Array(Int32Array.of(sum).buffer)),
  };
}
