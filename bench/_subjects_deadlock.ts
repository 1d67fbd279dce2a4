/** Subjects of causality: the causal graph beside a whole vector an event, and looking for cycles among waits. */

import { CausalGraph, type EventId } from "../src/temporal/causality/causal_graph.ts";
import { WaitGraph } from "../src/temporal/causality/wait_graph.ts";
import { hash, interleave, median, numbers, type Row, seconds } from "./_harness.ts";
import { SEED } from "./_work.ts";

const EVENTS = 200_000, NODES = 10, ASKED = 200_000;
const WAITS = 100_000;

const text = (time: number): string =>
  time < 1e-6 ? `${(time * 1e9).toPrecision(3)} ns` : `${(time * 1e6).toPrecision(3)} µs`;

/** Events in columns: the node of each, and its parent's node and sequence, 0 for none. */
interface Events {
  readonly node: Uint32Array;
  readonly sequence: Uint32Array;
  readonly parentNode: Uint32Array;
  readonly parent: Uint32Array;
}

function randomEvents(): Events {
  const next = numbers(SEED), counts = new Uint32Array(NODES);
  const columns = () => new Uint32Array(EVENTS);
  const events = { node: columns(), sequence: columns(), parentNode: columns(), parent: columns() };
  for (let at = 0; at < EVENTS; at++) {
    const node = next() % NODES, other = next() % NODES;
    events.node[at] = node;
    events.sequence[at] = ++counts[node];
    events.parentNode[at] = other;
    events.parent[at] = next() % 4 === 0 && other !== node ? counts[other] : 0;
  }
  return events;
}

/** The other side: the whole vector of each event in one table, as large as events times nodes. */
class VectorTable {
  readonly #vectors = new Uint32Array(EVENTS * NODES);
  readonly #rows = Array.from({ length: NODES }, () => new Uint32Array(EVENTS + 1));
  #count = 0;

  add(node: number, sequence: number, parentNode: number, parent: number): void {
    const vectors = this.#vectors, row = this.#count++ * NODES;
    this.#rows[node][sequence] = row;
    if (sequence > 1) {
      const before = this.#rows[node][sequence - 1];
      vectors.copyWithin(row, before, before + NODES);
    }
    if (parent > 0) {
      const from = this.#rows[parentNode][parent];
      for (let i = 0; i < NODES; i++) {
        if (vectors[from + i] > vectors[row + i]) vectors[row + i] = vectors[from + i];
      }
    }
    vectors[row + node] = sequence;
  }

  relation(a: EventId, b: EventId): number {
    if (a.node === b.node) return Math.sign(a.sequence - b.sequence);
    if (this.#vectors[this.#rows[b.node][b.sequence] + a.node] >= a.sequence) return -1;
    return this.#vectors[this.#rows[a.node][a.sequence] + b.node] >= b.sequence ? 1 : 0;
  }
}

const RELATIONS = { before: -1, after: 1, equal: 0, concurrent: 0 };

/** The causal graph and the wait graph. */
export async function deadlock(rounds: number): Promise<Row[]> {
  return [...await causalGraph(rounds), waits(rounds)];
}

async function causalGraph(rounds: number): Promise<Row[]> {
  const { node, sequence, parentNode, parent } = randomEvents();
  let graph = new CausalGraph(), table = new VectorTable();
  const adding = await interleave(
    () => {
      graph = new CausalGraph();
      return seconds(() => {
        for (let at = 0; at < EVENTS; at++) {
          const parents = parent[at] === 0
            ? undefined
            : [{ node: parentNode[at], sequence: parent[at] }];
          graph.add({ node: node[at], sequence: sequence[at], parents });
        }
      });
    },
    () => {
      table = new VectorTable();
      return seconds(() => {
        for (let at = 0; at < EVENTS; at++) {
          table.add(node[at], sequence[at], parentNode[at], parent[at]);
        }
      });
    },
    rounds,
  );
  const next = numbers(SEED + 1), ours = new Int8Array(ASKED), peer = new Int8Array(ASKED);
  const pick = (): EventId => {
    const at = next() % EVENTS;
    return { node: node[at], sequence: sequence[at] };
  };
  const pairs = Array.from({ length: ASKED }, () => [pick(), pick()] as const);
  const asking = await interleave(
    () => seconds(() => pairs.forEach(([a, b], at) => ours[at] = RELATIONS[graph.relation(a, b)])),
    () => seconds(() => pairs.forEach(([a, b], at) => peer[at] = table.relation(a, b))),
    rounds,
  );
  if (ours.some((value, at) => value !== peer[at])) throw new Error("the two sides do not agree");
  const result = hash(new Uint8Array(ours.buffer));
  const row = (subject: string, measured: typeof adding, count: number, limit: number): Row => ({
    subject,
    ours: text(measured.ours / count),
    peer: `a whole vector an event ${text(measured.peer / count)}`,
    ratio: measured.ratio,
    spread: measured.spread,
    target: `< ${text(limit)}`,
    met: measured.ours / count < limit,
    hash: result,
  });
  return [
    row(`causal graph: an event, ${NODES} nodes`, adding, EVENTS, 2e-6),
    row(`causal graph: relation of two of ${EVENTS}`, asking, ASKED, 2e-6),
  ];
}

/** A look at many waits that have no cycle: twice as many must take twice as long. */
function waits(rounds: number): Row {
  const graphs = [WAITS, 2 * WAITS].map((count) => {
    const graph = new WaitGraph(), next = numbers(SEED);
    // Everybody waits for somebody of a lower number.
    for (let waiter = 1; waiter <= count; waiter++) {
      graph.add({ waiter, holder: next() % waiter, sinceUs: 0 });
    }
    return graph;
  });
  const times = graphs.map((): number[] => []);
  for (let round = -1; round < rounds; round++) {
    for (const at of [0, 1, 1, 0]) {
      const time = seconds(() => {
        if (graphs[at].detect({ nowUs: 0 }).cycles.length > 0) throw new Error("there is no cycle");
      });
      if (round >= 0) times[at].push(time);
    }
  }
  const [few, many] = times.map(median);
  const ratios = times[0].map((time, at) => times[1][at] / time / 2);
  return {
    subject: `wait graph: looking at ${WAITS} waits without a cycle, a wait`,
    ours: text(few / WAITS),
    peer: `of twice as many ${text(many / WAITS / 2)}`,
    ratio: many / few / 2,
    spread: [Math.min(...ratios), Math.max(...ratios)],
    target: "< 1 µs a wait, flat",
    met: few / WAITS < 1e-6 && many / few / 2 < 2,
    hash: hash(new Uint8Array(Float64Array.of(graphs[1].participants).buffer)),
  };
}
