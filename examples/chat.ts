#!/usr/bin/env -S deno run -A
/**
 * A chat without a server: everybody sends to everybody over a network that delays, loses, doubles and overtakes, and nobody
 * reads an answer before its question.
 *
 * What it shows: a `CausalQueue` for each node over a `HybridCausalClock`, what is missing asked for again, clocks that
 * are wrong, and the `CausalGraph` of who had read what when they wrote.
 *
 * ```text
 *  Ada ──question──► Ben              Cyd hears the answer first, as the question is late:
 *     └───────────── … ────► Cyd      her queue holds the answer back, asks for the question,
 *  Ben ──answer────────────► Cyd      and gives both in the order in which they were meant.
 * ```
 *
 * ```sh
 * deno run -A examples/chat.ts                                # five people, 200 messages, into ./data/chat
 * deno run -A examples/chat.ts --loss 50 --seed 7             # half of everything is lost
 * deno task mmsb log query data/chat --source Ben --limit 5   # what Ben said, as it was read everywhere
 * ```
 *
 * To try: `requestAfterMs` of 1, a clock that is a minute ahead (who refuses it, and where?), a node that falls silent
 * (`onTimeout: "skip"`).
 */

import {
  CausalGraph,
  type CausalMessage,
  CausalQueue,
  HybridCausalClock,
  HybridLogicalClock,
  type MissingRange,
  stableCut,
  StateBus,
  table,
  timestampOfStamp,
  type VectorTime,
} from "@mmsb/mmsb";
import { flagsOf } from "./_flags.ts";
import { removeOldRun } from "./_fresh_directory.ts";

const NAMES = ["Ada", "Ben", "Cyd", "Dan", "Eve", "Fay", "Gus", "Hal"];
/** What somebody has read: whose message it was and the how manieth of theirs. */
const Read = table({ sender: "u16", sequence: "u32" });
/** Where the simulated time begins, and a day on which nobody stays up so long. */
const START_US = Date.UTC(2026, 0, 1) * 1000, LONGEST_MS = 1_000_000;

/** What is said: a text, and which message it answers. */
export interface Said {
  readonly text: string;
  readonly answers?: { readonly node: number; readonly sequence: number };
}

/** What the network carries: a message, a vector of what was read, or a request for what is missing. */
type Packet =
  | { readonly kind: "message"; readonly message: CausalMessage<Said> }
  | { readonly kind: "vector"; readonly vector: VectorTime }
  | { readonly kind: "request"; readonly asker: number; readonly missing: MissingRange };

/** Numbers from 0 to 1 that look random and are the same in every run. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = Math.imul(state, 1664525) + 1013904223 | 0;
    return (state >>> 8) / 2 ** 24;
  };
}

/** A network in simulated time: each packet is lost, or comes after 1 to 80 ms, and at times comes again. */
class Network {
  nowMs = 0;
  readonly #random: () => number;
  readonly #loss: number;
  readonly #due = new Map<number, [to: number, packet: Packet][]>();

  constructor(random: () => number, loss: number) {
    this.#random = random;
    this.#loss = loss;
  }

  send(to: number, packet: Packet): void {
    for (let copies = this.#random() < 0.1 ? 2 : 1; copies > 0; copies--) {
      if (this.#random() < this.#loss) continue;
      const atMs = this.nowMs + 1 + Math.floor(80 * this.#random() ** 2);
      const due = this.#due.get(atMs) ?? [];
      due.push([to, packet]);
      this.#due.set(atMs, due);
    }
  }

  /** Goes on by a millisecond; what arrives then. */
  next(): [to: number, packet: Packet][] {
    const arrived = this.#due.get(++this.nowMs) ?? [];
    this.#due.delete(this.nowMs);
    return arrived;
  }
}

/** Somebody who chats. */
class Person {
  readonly node: number;
  readonly name: string;
  readonly queue: CausalQueue<Said>;
  /** Messages of others as they came, for comparison: what a chat without a queue would show. */
  readonly arrived: CausalMessage<Said>[] = [];
  /** All messages in the order in which they were read; one's own when they were written. */
  readonly read: CausalMessage<Said>[] = [];
  readonly #own: CausalMessage<Said>[] = [];
  readonly #network: Network;
  readonly #others: number;

  constructor(node: number, people: number, network: Network, aheadMs: number) {
    this.node = node;
    this.name = NAMES[node];
    this.#network = network;
    this.#others = people;
    const nowUs = () => START_US + 1000 * (network.nowMs + aheadMs);
    const clock = new HybridCausalClock({ hlc: new HybridLogicalClock({ node, nowUs }) });
    this.queue = new CausalQueue({ clock, monotonicMs: () => network.nowMs });
  }

  say(said: Said): void {
    const message = this.queue.send(said);
    this.#own.push(message);
    this.read.push(message);
    this.#toAll({ kind: "message", message });
  }

  hear(packet: Packet): void {
    if (packet.kind === "vector") {
      this.queue.learn(packet.vector);
    } else if (packet.kind === "request") {
      const { asker, missing: { first, last } } = packet;
      for (const message of this.#own.slice(first - 1, last)) {
        this.#network.send(asker, { kind: "message", message });
      }
    } else if (this.queue.offer(packet.message) !== "duplicate") {
      this.arrived.push(packet.message);
    }
  }

  /** Reads what can be read, and asks for what is missing. */
  catchUp(): CausalMessage<Said>[] {
    const messages = [...this.queue.deliverable()];
    this.read.push(...messages);
    for (const missing of this.queue.requests()) {
      this.#network.send(missing.node, { kind: "request", asker: this.node, missing });
    }
    return messages;
  }

  /** Tells everybody what it has read, so that they notice when the last message of somebody was lost. */
  gossip(): void {
    this.#toAll({ kind: "vector", vector: this.queue.clock.vector() });
  }

  #toAll(packet: Packet): void {
    for (let node = 0; node < this.#others; node++) {
      if (node !== this.node) this.#network.send(node, packet);
    }
  }
}

/** What a run of the chat is. */
export interface ChatOptions {
  /** How many people chat. */
  readonly people: number;
  /** How many messages they send in all. */
  readonly messages: number;
  /** How much of what is sent is lost, in per cent. */
  readonly loss: number;
  /** Same seed, same chat. */
  readonly seed: number;
}

/** Lets people chat until everybody has read everything; `onRead` hears of each message that somebody reads. */
export async function chat(
  { people, messages, loss, seed }: ChatOptions,
  onRead: (reader: Person, message: CausalMessage<Said>) => Promise<void> | void = () => {},
): Promise<{ everybody: Person[]; ms: number }> {
  const random = randomOf(seed), network = new Network(random, loss / 100);
  // Clocks that are wrong by up to 200 ms: what comes after what does not depend on them.
  const everybody = Array.from(
    { length: people },
    (_, node) => new Person(node, people, network, Math.floor(400 * random()) - 200),
  );
  let said = 0;
  const say = (person: Person, what: Said) => {
    if (said++ < messages) person.say(what);
  };
  const isDone = () => said >= messages && everybody.every(({ read }) => read.length === messages);
  while (!isDone()) {
    if (network.nowMs > LONGEST_MS) throw new Error(`Nobody gets any further: seed ${seed}`);
    for (const [to, packet] of network.next()) everybody[to].hear(packet);
    for (const person of everybody) {
      for (const message of person.catchUp()) {
        await onRead(person, message);
        const { node, sequence } = message;
        if (random() < 0.3) {
          const text = `to "${message.payload.text.slice(0, 24)}": ${person.name} agrees`;
          say(person, { text, answers: { node, sequence } });
        }
      }
      if (random() < 0.01) say(person, { text: `${person.name} has idea ${said}` });
      if (network.nowMs % 100 === person.node) person.gossip();
    }
  }
  return { everybody, ms: network.nowMs };
}

/** How many answers stand before what they answer. */
export function answersTooEarly(messages: readonly CausalMessage<Said>[]): number {
  const seen = new Set<string>();
  let early = 0;
  for (const { node, sequence, payload: { answers } } of messages) {
    if (answers !== undefined && !seen.has(`${answers.node}:${answers.sequence}`)) early++;
    seen.add(`${node}:${sequence}`);
  }
  return early;
}

/** All messages as a causal graph: each comes behind what its sender had read. */
export function graphOf(messages: readonly CausalMessage<Said>[]): CausalGraph {
  const graph = new CausalGraph();
  graph.addAll(messages.map((message) => ({
    node: message.node,
    sequence: message.sequence,
    hlc: timestampOfStamp(message),
    vector: message.vector.entries(),
  })));
  return graph;
}

/** The program. Gives whether all that was checked is right. */
export async function main(
  options: ChatOptions & { dir: string },
  print: (line: string) => void = console.log,
): Promise<boolean> {
  const { dir, people, messages } = options;
  await removeOldRun(dir);
  await using bus = await StateBus.open({ dir });
  const transcripts = NAMES.slice(0, people).map((name) =>
    bus.createTable(Read, { name: `read by ${name}` })
  );
  const { everybody, ms } = await chat(options, (reader, { node, sequence, payload }) => {
    transcripts[reader.node].append(
      { sender: [node], sequence: [sequence] },
      { source: NAMES[node], intent: payload.text },
    );
  });
  await bus.commit(() => {});

  const early = everybody.map(({ arrived }) => answersTooEarly(arrived));
  print(`Chat      ${messages} messages of ${people} people in ${ms} simulated ms, into ${dir}`);
  print(`Arrived   ${early.join(" + ")} answers before what they answer: without a queue`);
  const graph = graphOf(everybody[0].read), ids = everybody[0].read;
  const deepest = ids.reduce((a, b) => graph.depth(a) >= graph.depth(b) ? a : b);
  const beside = ids.reduce((sum, id) => sum + graph.concurrent(id).count, 0) / ids.length;
  const depth = graph.depth(deepest) + 1, past = graph.chain(deepest).count - 1;
  print(
    `Graph     longest chain ${depth} messages, its last depends on ${past}; ` +
      `${beside.toFixed(1)} written beside each`,
  );
  const read = (person: Person) => person.read.map((id) => `${id.node}:${id.sequence}`);
  const all = read(everybody[0]).sort().join();
  const check = (isRight: boolean, what: string) => {
    print(`${isRight ? "✓" : "✗"} ${what}`);
    return isRight;
  };
  const inOrder = everybody.every((person) =>
    answersTooEarly(person.read) === 0 && readsInOrder(graph, person)
  );
  const isOnce = everybody.every((person) =>
    read(person).sort().join() === all && new Set(read(person)).size === messages
  );
  const cut = stableCut(everybody.map(({ queue }) => queue.clock.vector().entries()));
  return [
    check(inOrder, "Everybody read each message behind all that its sender had read"),
    check(isOnce, "Everybody read every message, and none twice"),
    check(
      transcripts.every(({ length }, at) => length === messages - everybody[at].queue.stats().sent),
      "The log has what everybody read of others",
    ),
    check(graph.prune(cut) === messages, "Nobody waits for anything: the graph can be let go of"),
  ].every((isRight) => isRight);
}

/** Whether somebody read every message behind its whole past: the vector of what was read says so at each step. */
function readsInOrder(graph: CausalGraph, person: Person): boolean {
  const counts = new Map<number, number>();
  for (const id of person.read) {
    for (const [node, sequence] of graph.vector(id)) {
      const isOwn = node === id.node;
      if ((counts.get(node) ?? 0) < (isOwn ? sequence - 1 : sequence)) return false;
    }
    counts.set(id.node, id.sequence);
  }
  return true;
}

if (import.meta.main) {
  const flags = flagsOf("chat.ts", "./data/chat", {
    people: { help: "who chat", value: 5, min: 2, max: NAMES.length, isWhole: true },
    messages: { help: "messages in all", value: 200, min: 1, max: 10_000, isWhole: true },
    loss: { help: "per cent of packets that are lost", value: 20, min: 0, max: 90 },
    seed: { help: "another seed is another chat", value: 1, min: 0, max: 1e9, isWhole: true },
  });
  if (!await main(flags)) Deno.exit(1);
}
