/** Values of every type in every place: each is taken or refused by name, and none gets an error of the language. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { isMmsbError } from "../../base/errors.ts";
import { HybridLogicalClock } from "../hlc.ts";
import { CausalGraph } from "./causal_graph.ts";
import { CausalQueue } from "./causal_queue.ts";
import { endCausalDeadlocks, waitsOfCausalQueue, waitsOfQueue } from "./deadlock_queue.ts";
import { compareCausal, HybridCausalClock, timestampOfStamp } from "./hybrid_causal_clock.ts";
import {
  decodeCausalMessage,
  decodeCausalStamp,
  encodeCausalMessage,
  encodeCausalStamp,
} from "./hybrid_causal_clock_wire.ts";
import { VectorClock, VectorTime } from "./vector_clock.ts";
import { decodeVectorTime, encodeVector } from "./vector_clock_wire.ts";
import { WaitGraph } from "./wait_graph.ts";

/** `never`, as no parameter takes them. */
const VALUES = [
  undefined,
  null,
  -1,
  1.5,
  NaN,
  Infinity,
  2 ** 53,
  1n,
  -1n,
  2n ** 64n,
  "x",
  Symbol("s"),
  true,
  [],
  [[1]],
  [["a", 2]],
  [[1, -1]],
  {},
  Object.create(null),
  { toString: 5, valueOf: 5 },
  { length: 1e15 },
  () => 1,
  new Uint8Array(3),
] as never[];

const STAMP = { node: 1, sequence: 1, hi: 1, lo: 1, vector: VectorTime.of([[1, 1]]) };
const MESSAGE = { ...STAMP, payload: new Uint8Array(1) };

function clock(): HybridCausalClock {
  return new HybridCausalClock({
    hlc: new HybridLogicalClock({ node: 9, nowUs: () => 1_000_000 }),
  });
}

function queue(monotonicMs: () => number = () => 0): CausalQueue<Uint8Array> {
  return new CausalQueue({ clock: clock(), monotonicMs });
}

function waits(): WaitGraph {
  const graph = new WaitGraph();
  graph.add({ waiter: 1, holder: 2, sinceUs: 0 });
  return graph;
}

/** Calls, each with one value in one place. */
const CALLS: Record<string, (value: never) => unknown> = {
  of: (value) => VectorTime.of(value),
  compare: (value) => STAMP.vector.compare(value),
  merge: (value) => new VectorClock().merge(value),
  raise: (value) => new VectorClock().raise(1, value),
  prune: (value) => new VectorClock(STAMP.vector).prune(value, [STAMP.vector]),
  "participants of prune": (value) => new VectorClock(STAMP.vector).prune([1], [value]),
  encodeVector: (value) => encodeVector(value),
  decodeVectorTime: (value) => decodeVectorTime(value),
  nodesMax: (value) => decodeVectorTime(encodeVector(STAMP.vector), { nodesMax: value }),
  "options of a clock": (value) => new HybridCausalClock(value),
  "hlc of a clock": (value) => new HybridCausalClock({ hlc: value }),
  deliver: (value) => clock().deliver(1, value),
  receive: (value) => clock().receive(value),
  decodeCausalMessage: (value) => decodeCausalMessage(value),
  decodeCausalStamp: (value) => decodeCausalStamp(value),
  "options of a queue": (value) => new CausalQueue(value),
  learn: (value) => queue().learn(value),
  skip: (value) => queue().skip(value, value),
  "result of monotonicMs": (value) => {
    const late = queue(() => value);
    late.offer({ ...MESSAGE, sequence: 2, vector: VectorTime.of([[1, 2]]) });
    deepEqual([late.requests(), late.expire()], [[], []]);
    ok(late.nextDueMs() >= 0);
  },
  relation: (value) => new CausalGraph().relation(value, value),
  addAll: (value) => new CausalGraph().addAll(value),
  hlc: (value) => new CausalGraph().add({ node: 1, sequence: 1, hlc: value }),
  waiter: (value) => waits().add({ waiter: value, holder: 7, sinceUs: 0 }),
  sinceUs: (value) => waits().add({ waiter: 2, holder: 7, sinceUs: value }),
  isOrder: (value) => waits().isOrder(value),
  detect: (value) => waits().detect(value),
  resolve: (value) => waits().resolve(value),
  waitsOfQueue: (value) => waitsOfQueue({ waiting: () => [value] }),
  waitsOfCausalQueue: (value) => waitsOfCausalQueue({ waiting: () => [value] }),
  endCausalDeadlocks: (value) => endCausalDeadlocks(value, "wait"),
};

for (const key of ["node", "sequence", "hi", "lo", "vector", "payload"]) {
  CALLS[`${key} of a message`] = (value) => queue().offer({ ...MESSAGE, [key]: value });
  CALLS[`${key} to encode`] = (value) => encodeCausalMessage({ ...MESSAGE, [key]: value });
  if (key === "payload" || key === "sequence") continue;
  CALLS[`${key} received`] = (value) => clock().receive({ ...STAMP, [key]: value });
  CALLS[`${key} compared`] = (value) => compareCausal(STAMP, { ...STAMP, [key]: value });
  CALLS[`${key} of a stamp to encode`] = (value) => encodeCausalStamp({ ...STAMP, [key]: value });
  CALLS[`${key} as a timestamp`] = (value) => timestampOfStamp({ ...STAMP, [key]: value });
}

Deno.test("causality refuses what is of another type by an MmsbError, wherever it stands", () => {
  let refused = 0;
  for (const [name, call] of Object.entries(CALLS)) {
    for (const value of VALUES) {
      try {
        call(value);
      } catch (error) {
        ok(isMmsbError(error), `${name} with a ${typeof value}: ${error}`);
        equal(/^Cannot /.test(error.message), true, error.message);
        refused++;
      }
    }
  }
  ok(refused > 10 * Object.keys(CALLS).length);
});
