/**
 * A network of a few nodes from a seed, and what really happened in it.
 *
 * Each node has a causal queue over a hybrid clock whose physical clock is off, drifts and is set. Packets are encoded bytes; they
 * are delayed (so reordered), lost and duplicated, parts of the nodes are cut off from the rest for a while, two such cuts at a time
 * too, one node is paused, one comes late and knows nothing, and one is ended and opened again from what it had written down (its
 * vector, its last timestamp and the messages that it had taken). Nodes broadcast by themselves and in reaction to what they took, tell each other their vectors, and
 * ask for what is missing of whoever they choose at random. Everything is driven by one list of events in simulated time.
 *
 * The truth is kept apart from all vectors: of each node the set of messages that it has sent or taken so far, as bits. A
 * message's past is its sender's set when it was sent; taking it is right if its past is in the taker's set and it is not.
 * Beyond that: no stamp of a node is at or below that of what it took, stamps of sends and local events stand to each
 * other as the sets say, and at the end every node has everything.
 */
import assert from "node:assert/strict";
import type { CausalMessage } from "../causal_message.ts";
import { CausalQueue } from "../causal_queue.ts";
import {
  compareCausal,
  HybridCausalClock,
  type HybridCausalStamp,
} from "../hybrid_causal_clock.ts";
import { decodeCausalMessage, encodeCausalMessage } from "../hybrid_causal_clock_wire.ts";
import { HybridLogicalClock } from "../../hlc.ts";
import { compare } from "../../timestamp.ts";
import type { VectorTime } from "../vector_clock.ts";
import { decodeVectorTime, encodeVector } from "../vector_clock_wire.ts";

/** What a run did. */
export interface NetworkCounts {
  messages: number;
  deliveries: number;
  localEvents: number;
  packets: number;
  lostPackets: number;
  duplicatedPackets: number;
  duplicates: number;
  held: number;
  requests: number;
  restarts: number;
}

/** How a run goes. */
export interface NetworkOptions {
  readonly seed: number;
  /** Nodes; 5 if left out. */
  readonly nodes?: number;
  /** Messages that nodes send by themselves; the reactions come on top. */
  readonly broadcasts?: number;
  /** Checks the queues after every step. */
  readonly checks?: boolean;
  /** Planted faults, so that the tests see the oracle find them. */
  readonly fault?:
    | "deliver-early"
    | "deliver-twice"
    | "no-requests"
    | "no-causality-in-hlc"
    | "restart-without-vector";
}

interface SimulatedEvent {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

interface Peer {
  readonly index: number;
  readonly id: number;
  readonly clock: HybridCausalClock;
  readonly queue: CausalQueue<Uint8Array>;
  /** All that it has, encoded, by sender and sequence: whoever has a message can send it again. */
  readonly log: Map<string, Uint8Array>;
  /** What really happened before now at this node: a bit a message. */
  past: bigint;
  /** The largest timestamp of what it took, and of its own. */
  hi: number;
  lo: number;
  /** Messages that it took before it was opened again. */
  deliveredBefore: number;
  /** Messages that it sent before. */
  sentBefore: number;
}

/** A part of the nodes, as bits, that nobody else hears for a while. */
interface Partition {
  readonly fromMs: number;
  readonly toMs: number;
  readonly side: number;
}

interface TrueEvent {
  readonly stamp: HybridCausalStamp;
  /** Messages that happened before it. */
  readonly past: bigint;
  /** The message's number, or −1 where it is a local event. */
  readonly message: number;
}

const BEGIN_US = 1_767_225_600_000_000;

/** Events whose stamps are compared with each other, each with each. */
const COMPARED_MAX = 60;

/** Runs a network until all is quiet; throws where anything is not as it should be. */
export function runNetwork(options: NetworkOptions): NetworkCounts {
  return new Network(options).run();
}

class Network {
  readonly #options: NetworkOptions;
  readonly #random: () => number;
  readonly #events = new EventList();
  readonly #peers: Peer[];
  readonly #pasts: bigint[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #true: TrueEvent[] = [];
  readonly #counts: NetworkCounts = {
    messages: 0,
    deliveries: 0,
    localEvents: 0,
    packets: 0,
    lostPackets: 0,
    duplicatedPackets: 0,
    duplicates: 0,
    held: 0,
    requests: 0,
    restarts: 0,
  };
  readonly #lossRate: number;
  readonly #duplicateRate: number;
  readonly #delayMsMax: number;
  readonly #partitions: readonly Partition[];
  /** The node that comes late, and when. */
  readonly #late: { readonly toMs: number; readonly peer: number };
  readonly #pause: { readonly fromMs: number; readonly toMs: number; readonly peer: number };
  #nowMs = 0;
  #quietMs = 0;

  constructor(options: NetworkOptions) {
    this.#options = options;
    this.#random = randomOf(options.seed);
    const { nodes = 5, broadcasts = 40 } = options;
    this.#lossRate = this.#pick([0, 0.05, 0.2, 0.4]);
    this.#duplicateRate = this.#pick([0, 0.1, 0.3]);
    this.#delayMsMax = this.#pick([5, 50, 400]);
    const length = 2000;
    this.#partitions = [0, 1].map(() => ({
      ...this.#span(length),
      side: 1 + this.#below(2 ** nodes - 2),
    }));
    this.#pause = { ...this.#span(length), peer: this.#below(nodes) };
    this.#late = { toMs: this.#pick([0, 300, 1900]), peer: this.#below(nodes) };
    this.#peers = Array.from({ length: nodes }, (_, index) => this.#peer(index));
    for (let i = 0; i < broadcasts; i++) {
      this.#at(this.#below(length), this.#below(nodes), (peer) => this.#broadcast(peer));
      this.#at(this.#below(length), this.#below(nodes), (peer) => this.#localEvent(peer));
    }
    for (const { index } of this.#peers) this.#poll(index);
    this.#at(this.#below(length), this.#below(nodes), (peer) => this.#restart(peer));
  }

  run(): NetworkCounts {
    for (let steps = 0;; steps++) {
      const event = this.#events.shift();
      if (event === undefined) break;
      assert(steps < 1_000_000, "The network does not come to rest");
      this.#nowMs = event.atMs;
      event.run();
    }
    this.#checkEnd();
    return this.#counts;
  }

  /** Node ids far apart, so that vectors are sparse. */
  #peer(index: number, vector?: VectorTime): Peer {
    const id = [3, 700, 12, 65_535, 256, 0, 9, 40_000][index];
    const skewUs = 1000 * (this.#below(300) - 150), drift = (this.#below(200) - 100) / 1e6;
    // The clock is set once, and may go back by this.
    const setMs = this.#below(2000), setUs = 1000 * (this.#below(140) - 70);
    const nowUs = () =>
      BEGIN_US + skewUs + this.#nowMs * 1000 * (1 + drift) + (this.#nowMs >= setMs ? setUs : 0);
    const clock = new HybridCausalClock({
      hlc: new HybridLogicalClock({ node: id, nowUs }),
      vector,
    });
    const queue = new CausalQueue<Uint8Array>({
      clock,
      monotonicMs: () => this.#nowMs,
      requestAfterMs: 20,
      requestEveryMsMax: 200,
    });
    const before = { past: 0n, hi: 0, lo: 0, deliveredBefore: 0, sentBefore: 0 };
    return { index, id, clock, queue, log: new Map(), ...before };
  }

  /** A node is ended, with all that waited there and was ready, and opened again with a clock that may go wrong otherwise. */
  #restart(old: Peer): void {
    const isForgetful = this.#options.fault === "restart-without-vector";
    const saved = encodeVector(old.clock.vector()), last = old.clock.hlc.peek();
    const peer = this.#peer(old.index, isForgetful ? undefined : decodeVectorTime(saved));
    peer.clock.hlc.restore(last);
    const { delivered, sent } = old.queue.stats();
    this.#peers[old.index] = {
      ...peer,
      log: old.log,
      past: old.past,
      hi: old.hi,
      lo: old.lo,
      deliveredBefore: old.deliveredBefore + delivered,
      sentBefore: old.sentBefore + sent,
    };
    this.#counts.restarts++;
  }

  #broadcast(peer: Peer): void {
    const number = this.#pasts.length;
    const payload = new Uint8Array(4);
    new DataView(payload.buffer).setUint32(0, number);
    const message = peer.queue.send(payload), bytes = encodeCausalMessage(message);
    this.#checkLater(peer, message);
    this.#pasts.push(peer.past);
    this.#true.push({ stamp: message, past: peer.past, message: number });
    peer.past |= 1n << BigInt(number);
    this.#numbers.set(`${peer.id}:${message.sequence}`, number);
    peer.log.set(`${peer.id}:${message.sequence}`, bytes);
    this.#counts.messages++;
    this.#quietMs = this.#nowMs + 3000;
    for (const other of this.#peers) {
      if (other !== peer) this.#send(peer, other, (to) => this.#receive(to, bytes));
    }
    this.#check(peer);
  }

  #localEvent(peer: Peer): void {
    const stamp = peer.clock.localEvent();
    this.#checkLater(peer, stamp);
    this.#true.push({ stamp, past: peer.past, message: -1 });
    this.#counts.localEvents++;
  }

  #receive(peer: Peer, bytes: Uint8Array): void {
    const { queue } = peer, message = decodeCausalMessage(bytes);
    const fault = this.#options.fault;
    const outcome = queue.offer(message);
    if (outcome === "waiting") this.#counts.held++;
    if (outcome === "duplicate") this.#counts.duplicates++;
    if (fault === "deliver-early" && outcome === "waiting") this.#taken(peer, message);
    if (fault === "deliver-twice" && outcome === "duplicate") this.#taken(peer, message);
    this.#check(peer);
    for (const taken of queue.deliverable()) {
      this.#taken(peer, taken);
      // Some answer at once, between two messages that are ready.
      if (this.#chance(0.15) && this.#counts.messages < 400) this.#broadcast(peer);
    }
    this.#check(peer);
  }

  /** The oracle: is it right that this node now has this message? */
  #taken(peer: Peer, message: CausalMessage<Uint8Array>): void {
    const number = new DataView(message.payload.slice().buffer).getUint32(0);
    const what = `node ${peer.id} took message ${message.sequence} of node ${message.node}`;
    assert.equal(this.#numbers.get(`${message.node}:${message.sequence}`), number, what);
    assert.equal(peer.past >> BigInt(number) & 1n, 0n, `${what} twice`);
    assert.equal(this.#pasts[number] & ~peer.past, 0n, `${what} before what it depends on`);
    peer.past |= 1n << BigInt(number);
    peer.log.set(`${message.node}:${message.sequence}`, encodeCausalMessage(message));
    if (compare(message.hi, message.lo, 0, peer.hi, peer.lo, 0) > 0) {
      peer.hi = message.hi;
      peer.lo = message.lo;
    }
    this.#counts.deliveries++;
  }

  /** Stamps of a node are above each other and above all that it took. */
  #checkLater(peer: Peer, { hi, lo }: HybridCausalStamp): void {
    if (this.#options.fault === "no-causality-in-hlc") {
      peer.hi += this.#counts.deliveries === 50 ? 1e6 : 0;
    }
    assert(
      compare(hi, lo, 0, peer.hi, peer.lo, 0) > 0,
      `node ${peer.id} made a stamp that is not after what it took`,
    );
    peer.hi = hi;
    peer.lo = lo;
  }

  /** Asks for what is missing and tells its vector, now and then, for as long as anything may be on its way. */
  #poll(index: number): void {
    const afterMs = 10 + this.#below(40);
    this.#at(this.#nowMs + afterMs, index, (peer) => {
      if (this.#nowMs > this.#quietMs + 20_000) return;
      this.#ask(peer);
      if (this.#chance(0.2)) {
        const vector = encodeVector(peer.clock.vector());
        this.#send(peer, this.#other(peer), (to) => to.queue.learn(decodeVectorTime(vector)));
      }
      if (!this.#isDone()) this.#poll(index);
    });
  }

  #ask(peer: Peer): void {
    if (this.#options.fault === "no-requests") return;
    for (const { node, first, last } of peer.queue.requests()) {
      this.#counts.requests++;
      // Mostly the sender, sometimes another one that may have it.
      const sender = this.#peers.find(({ id }) => id === node)!;
      const asked = this.#chance(0.7) ? sender : this.#other(peer);
      this.#send(peer, asked, (to) => {
        for (let sequence = first; sequence <= Math.min(last, first + 20); sequence++) {
          const bytes = to.log.get(`${node}:${sequence}`);
          if (bytes !== undefined) this.#send(to, peer, (back) => this.#receive(back, bytes));
        }
      });
    }
  }

  #isDone(): boolean {
    const all = (1n << BigInt(this.#pasts.length)) - 1n;
    // A paused node sends what it was to send when it goes on.
    return this.#nowMs > Math.max(2000, this.#pause.toMs, this.#late.toMs) &&
      this.#peers.every(({ past }) => past === all);
  }

  /** A packet from one to another: lost, late, twice. */
  #send(from: Peer, to: Peer, arrive: (to: Peer) => void): void {
    if (from === to) return;
    this.#counts.packets++;
    const copies = this.#chance(this.#duplicateRate) ? 2 : 1;
    this.#counts.duplicatedPackets += copies - 1;
    for (let copy = 0; copy < copies; copy++) {
      if (this.#chance(this.#lossRate) || this.#isCut(from, to)) {
        this.#counts.lostPackets++;
      } else {
        const atMs = this.#nowMs + this.#below(this.#delayMsMax);
        // Nobody is there yet.
        if (to.index === this.#late.peer && atMs < this.#late.toMs) this.#counts.lostPackets++;
        else this.#at(atMs, to.index, arrive);
      }
    }
  }

  #isCut(from: Peer, to: Peer): boolean {
    return this.#partitions.some(({ fromMs, toMs, side }) =>
      this.#nowMs >= fromMs && this.#nowMs < toMs &&
      (side >> from.index & 1) !== (side >> to.index & 1)
    );
  }

  /** Something happens at a node; what comes while it is paused comes when it goes on. */
  #at(atMs: number, index: number, run: (peer: Peer) => void): void {
    const { fromMs, toMs, peer } = this.#pause;
    const fromLate = index === this.#late.peer ? Math.max(atMs, this.#late.toMs) : atMs;
    const isPaused = index === peer && fromLate >= fromMs && fromLate < toMs;
    this.#events.add(isPaused ? toMs : fromLate, () => run(this.#peers[index]));
  }

  #other(peer: Peer): Peer {
    const step = 1 + this.#below(this.#peers.length - 1);
    return this.#peers[(peer.index + step) % this.#peers.length];
  }

  #check(peer: Peer): void {
    if (this.#options.checks) peer.queue.checkInvariants();
  }

  #checkEnd(): void {
    const all = (1n << BigInt(this.#pasts.length)) - 1n;
    for (const { id, past, queue, deliveredBefore, sentBefore } of this.#peers) {
      queue.checkInvariants();
      assert.equal(past, all, `node ${id} does not have all messages at the end`);
      const { waiting, ready, gaps, bytes, delivered, sent } = queue.stats();
      assert.deepEqual({ waiting, ready, gaps, bytes }, {
        waiting: 0,
        ready: 0,
        gaps: 0,
        bytes: 0,
      });
      const before = deliveredBefore + sentBefore;
      assert.equal(before + delivered + sent, this.#pasts.length);
    }
    this.#compareStamps();
  }

  /** Stamps say what came first exactly as the sets of messages do. */
  #compareStamps(): void {
    const events = this.#true.filter((_, i) =>
      i % Math.ceil(this.#true.length / COMPARED_MAX) === 0
    );
    for (const [i, a] of events.entries()) {
      for (const b of events.slice(i + 1)) {
        assert.equal(compareCausal(a.stamp, b.stamp), this.#trueOrder(a, b));
      }
    }
  }

  /** `a` stands before `b` in the list, so it is never after it. */
  #trueOrder(a: TrueEvent, b: TrueEvent): string {
    if (a.stamp.node === b.stamp.node) return "before";
    if (a.message >= 0) return b.past >> BigInt(a.message) & 1n ? "before" : "concurrent";
    // A local event is known to all that know a message which its node sent later.
    const isKnown = this.#true.some(({ stamp, message }) =>
      message >= 0 && stamp.node === a.stamp.node && (b.past >> BigInt(message) & 1n) === 1n &&
      compare(stamp.hi, stamp.lo, 0, a.stamp.hi, a.stamp.lo, 0) > 0
    );
    return isKnown ? "before" : "concurrent";
  }

  #span(length: number): { fromMs: number; toMs: number } {
    const fromMs = this.#below(length);
    return { fromMs, toMs: fromMs + this.#below(length) };
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #chance(rate: number): boolean {
    return this.#random() < rate;
  }

  #pick(values: readonly number[]): number {
    return values[this.#below(values.length)];
  }
}

/** Events by time, then by the order in which they were added: a binary heap. */
class EventList {
  readonly #heap: SimulatedEvent[] = [];
  #added = 0;

  add(atMs: number, run: () => void): void {
    const heap = this.#heap, event = { atMs, order: this.#added++, run };
    let at = heap.push(event) - 1;
    while (at > 0 && isBefore(event, heap[(at - 1) >> 1])) {
      heap[at] = heap[(at - 1) >> 1];
      at = (at - 1) >> 1;
    }
    heap[at] = event;
  }

  shift(): SimulatedEvent | undefined {
    const heap = this.#heap, first = heap[0], last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
      if (isBefore(last, heap[child])) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: SimulatedEvent, b: SimulatedEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Numbers in [0, 1) from a seed: mulberry32, a Weyl sequence and a mix of 32 bits. */
function randomOf(seed: number): () => number {
  let state = Math.imul(seed, 0x9e37_79b1) ^ 0x5bd1_e995;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
