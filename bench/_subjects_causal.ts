/** Subject `causal`: vector clocks and delivery in causal order, beside the same with plain maps. */

import {
  type CausalMessage,
  CausalQueue,
  HybridCausalClock,
  VectorClock,
  type VectorOrder,
  VectorTime,
} from "../src/temporal/causality/mod.ts";
import { HybridLogicalClock } from "../src/temporal/hlc.ts";
import { besidePeer, type Comparison, type Side } from "./_comparison.ts";
import { numbers, type Row } from "./_harness.ts";

/** Nodes of every vector; ids far apart, so that vectors are sparse. */
const NODES: readonly number[] = Array.from({ length: 10 }, (_, i) => 1 + 6007 * i);
const NOW_US = 1_767_225_600_000_000;

export const OURS = "columns";
export const PEER = "a Map";

type Counts = Map<number, number>;

/** Vectors that grow, each with something that the one before lacks. */
function vectors(count: number): Counts[] {
  const random = numbers(7), all: Counts[] = [];
  const last: Counts = new Map(NODES.map((node) => [node, 1]));
  for (let i = 0; i < count; i++) {
    const node = NODES[random() % NODES.length];
    last.set(node, last.get(node)! + 1 + random() % 3);
    const behind = NODES[random() % NODES.length];
    all.push(new Map(last).set(behind, Math.max(1, last.get(behind)! - random() % 4)));
  }
  return all;
}

function textOf(counts: Counts): string {
  return [...counts].sort(([a], [b]) => a - b).join(" ");
}

export const increments: Comparison = {
  unit: "10,000 increments of a vector clock of 10 nodes",
  size: 10_000,
  smokeSize: 500,
  sides: {
    [PEER]({ size }) {
      const counts: Counts = new Map(NODES.map((node) => [node, 1]));
      return {
        run() {
          for (let i = 0; i < size; i++) {
            const node = NODES[i % 10];
            counts.set(node, counts.get(node)! + 1);
          }
        },
        result: () => textOf(counts),
      };
    },
    [OURS]({ size }) {
      const clock = new VectorClock(VectorTime.of(NODES.map((node) => [node, 1])));
      return {
        run() {
          for (let i = 0; i < size; i++) clock.increment(NODES[i % 10]);
        },
        result: () => textOf(new Map(clock.entries())),
      };
    },
  },
};

export const merges: Comparison = {
  unit: "10,000 merges of vectors of 10 nodes",
  size: 10_000,
  smokeSize: 500,
  sides: {
    [PEER]({ size }) {
      const all = vectors(size);
      let counts: Counts = new Map();
      return {
        run() {
          counts = new Map();
          for (const other of all) {
            for (const [node, count] of other) {
              if (count > (counts.get(node) ?? 0)) counts.set(node, count);
            }
          }
        },
        result: () => textOf(counts),
      };
    },
    [OURS]({ size }) {
      const all = vectors(size).map((counts) => VectorTime.of(counts));
      let clock = new VectorClock();
      return {
        run() {
          clock = new VectorClock();
          for (let i = 0; i < all.length; i++) clock.merge(all[i]);
        },
        result: () => textOf(new Map(clock.entries())),
      };
    },
  },
};

function compareMaps(a: Counts, b: Counts): VectorOrder {
  let less = false, more = false;
  for (const [node, count] of a) {
    const other = b.get(node) ?? 0;
    if (count > other) more = true;
    else if (count < other) less = true;
  }
  for (const node of b.keys()) if (!a.has(node)) less = true;
  if (less) return more ? "concurrent" : "before";
  return more ? "after" : "equal";
}

function comparing<V>(all: readonly V[], compare: (a: V, b: V) => VectorOrder): Side {
  const found = { equal: 0, before: 0, after: 0, concurrent: 0 };
  return {
    run() {
      // Neighbours differ late, those far apart early.
      const half = all.length >> 1;
      for (let i = 0; i < half; i++) {
        found[compare(all[i + 1], all[i])]++;
        found[compare(all[i], all[half + i])]++;
      }
    },
    result: () => JSON.stringify(found),
  };
}

export const comparisons: Comparison = {
  unit: "10,000 comparisons of vectors of 10 nodes",
  size: 10_000,
  smokeSize: 500,
  sides: {
    [PEER]: ({ size }) => comparing(vectors(size), compareMaps),
    [OURS]: ({ size }) =>
      comparing(vectors(size).map((counts) => VectorTime.of(counts)), (a, b) => a.compare(b)),
  },
};

type Message = CausalMessage<number>;

function queueOf(node: number): CausalQueue<number> {
  const hlc = new HybridLogicalClock({ node, nowUs: () => NOW_US });
  return new CausalQueue({ clock: new HybridCausalClock({ hlc }), monotonicMs: () => 0 });
}

/** Messages of 10 senders in an order in which they can be delivered; each sender has taken all before. */
function conversation(count: number): Message[] {
  const clocks = NODES.map((node) =>
    new HybridCausalClock({ hlc: new HybridLogicalClock({ node, nowUs: () => NOW_US }) })
  );
  return Array.from({ length: count }, (_, payload) => {
    const clock = clocks[payload % 10], stamp = clock.send();
    for (const other of clocks) if (other !== clock) other.receive(stamp);
    return { ...stamp, sequence: stamp.vector.get(stamp.node), payload };
  });
}

/** The same delivery over maps: what waits, by what it waits for. */
class MapQueue {
  readonly #delivered: Counts = new Map();
  readonly #waiting = new Map<string, { message: Message; vector: Counts }[]>();

  offer(message: Message, vector: Counts, take: (message: Message) => void): void {
    for (const work = [{ message, vector }]; work.length > 0;) {
      const next = work.pop()!, unmet = this.#unmet(next.message.node, next.vector);
      if (unmet !== undefined) {
        const waiting = this.#waiting.get(unmet);
        if (waiting === undefined) this.#waiting.set(unmet, [next]);
        else waiting.push(next);
        continue;
      }
      const { node, sequence } = next.message;
      this.#delivered.set(node, sequence);
      take(next.message);
      const key = `${node}:${sequence}`, woken = this.#waiting.get(key);
      if (woken === undefined) continue;
      this.#waiting.delete(key);
      work.push(...woken);
    }
  }

  #unmet(sender: number, vector: Counts): string | undefined {
    for (const [node, count] of vector) {
      const needed = node === sender ? count - 1 : count;
      if (needed > (this.#delivered.get(node) ?? 0)) return `${node}:${needed}`;
    }
    return undefined;
  }
}

/** What was taken, in its order. */
class Taken {
  #hash = 0;
  #count = 0;

  readonly add = (message: Message): void => {
    this.#hash = Math.imul(this.#hash ^ message.payload, 0x0100_0193);
    this.#count++;
  };

  toString(): string {
    return `${this.#count} ${this.#hash}`;
  }
}

function delivering(unit: string, order: (messages: Message[]) => Message[]): Comparison {
  return {
    unit,
    size: 100_000,
    smokeSize: 500,
    sides: {
      [PEER]({ size }) {
        const messages = order(conversation(size));
        const maps = messages.map(({ vector }) => new Map(vector.entries()));
        const taken = new Taken();
        return {
          run() {
            const queue = new MapQueue();
            for (let i = 0; i < size; i++) queue.offer(messages[i], maps[i], taken.add);
          },
          result: () => `${taken}`,
        };
      },
      [OURS]({ size }) {
        const messages = order(conversation(size)), taken = new Taken();
        return {
          run() {
            const queue = queueOf(65_535);
            for (let i = 0; i < size; i++) {
              queue.offer(messages[i]);
              for (let next = queue.take(); next !== undefined; next = queue.take()) {
                taken.add(next);
              }
            }
          },
          result: () => `${taken}`,
        };
      },
    },
  };
}

export const inOrder: Comparison = delivering(
  "100,000 messages of 10 senders delivered as they come, in order",
  (messages) => messages,
);

export const reversed: Comparison = delivering(
  "100,000 messages of 10 senders delivered when the first comes last",
  (messages) => messages.reverse(),
);

/** Vector clocks of 10 nodes, and causal queues, against their figures. */
export async function causal(rounds: number): Promise<Row[]> {
  return [
    await operation("increment", increments, 100, rounds),
    await operation("merge", merges, 200, rounds),
    await operation("compare", comparisons, 200, rounds),
    await delivery("in order", inOrder, 1e6, rounds),
    await delivery("fully reversed", reversed, 2e5, rounds),
  ];
}

async function operation(
  name: string,
  comparison: Comparison,
  nsMax: number,
  rounds: number,
): Promise<Row> {
  const measured = await besidePeer(comparison, OURS, PEER, rounds);
  const ns = (seconds: number): number => seconds * 1e9 / comparison.size;
  return {
    subject: `vector clock of 10 nodes: ${name}`,
    ours: `${ns(measured.ours).toFixed(1)} ns`,
    peer: `${ns(measured.peer).toFixed(1)} ns (${PEER})`,
    ratio: measured.ratio,
    spread: measured.spread,
    target: `< ${nsMax} ns`,
    met: ns(measured.ours) < nsMax && measured.same,
    hash: measured.hash,
  };
}

async function delivery(
  name: string,
  comparison: Comparison,
  rateMin: number,
  rounds: number,
): Promise<Row> {
  const measured = await besidePeer(comparison, OURS, PEER, rounds);
  const rate = (seconds: number): number => comparison.size / seconds;
  const text = (seconds: number): string => `${(rate(seconds) / 1e3).toFixed(0)} k/s`;
  return {
    subject: `causal queue, 10 senders, ${name}`,
    ours: text(measured.ours),
    peer: `${text(measured.peer)} (Maps, no bounds, no clock)`,
    ratio: measured.ratio,
    spread: measured.spread,
    target: `≥ ${rateMin / 1e3} k/s`,
    met: rate(measured.ours) >= rateMin && measured.same,
    hash: measured.hash,
  };
}
