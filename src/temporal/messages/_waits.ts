/**
 * Messages that wait for others: an edge for each dependency that is not delivered yet.
 *
 * The edges to one id hang together in a ring, and one of them, the leader, stands in a hash table by that id. So a
 * delivery looks up its id once and frees all that waited for it; 100,000 messages that wait for one id
 * make a long ring and no long chain. A message that ends in another way takes its edges out one by one.
 *
 * Cost: 32 bytes an edge; one look at a bucket a delivery while anybody waits, none otherwise.
 */
import { assert } from "../../base/assert.ts";
import { bucketOf } from "./_bucket.ts";
import { DEPENDENCIES, EDGE, EDGE_COUNT, EDGE_HEAD } from "./_queue_layout.ts";
import type { QueueMemory } from "./_queue_memory.ts";

// Words of an edge; the first is the link of a free one.
/** The next edge of the same message. */
const OWN_NEXT = 0;
const OWNER = 1;
const ID_HI = 2;
const ID_LO = 3;
/** The next leader in the bucket; −1 for an edge that leads nothing. */
const CHAIN = 4;
const RING_PREVIOUS = 5;
const RING_NEXT = 6;

/** The edges. */
export class Waits {
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #bits: number;
  readonly #buckets: number;
  readonly #edges: number;

  constructor({ words, layout, edges }: QueueMemory) {
    this.#words = words;
    this.#at = layout.awaitedAt;
    this.#buckets = layout.awaitedBuckets;
    this.#bits = Math.log2(layout.awaitedBuckets);
    this.#edges = edges;
  }

  /** Makes a message wait for an id. There is room. */
  add(slot: number, idHi: number, idLo: number): void {
    const words = this.#words, edge = words[EDGE_HEAD];
    words[EDGE_HEAD] = words[edge];
    words[EDGE_COUNT]--;
    words[edge + OWN_NEXT] = words[slot + EDGE];
    words[slot + EDGE] = edge;
    words[edge + OWNER] = slot;
    words[edge + ID_HI] = idHi;
    words[edge + ID_LO] = idLo;
    const bucket = this.#bucketOf(idHi, idLo), leader = this.#leaderOf(bucket, idHi, idLo);
    if (leader === 0) {
      words[edge + CHAIN] = words[bucket];
      words[edge + RING_PREVIOUS] = words[edge + RING_NEXT] = edge;
      words[bucket] = edge;
    } else {
      const next = words[leader + RING_NEXT];
      words[edge + CHAIN] = -1;
      words[edge + RING_PREVIOUS] = leader;
      words[edge + RING_NEXT] = next;
      words[leader + RING_NEXT] = edge;
      words[next + RING_PREVIOUS] = edge;
    }
  }

  /** Whether a message waits for an id already: a dependency may be named twice. */
  has(slot: number, idHi: number, idLo: number): boolean {
    const words = this.#words;
    for (let edge = words[slot + EDGE]; edge !== 0; edge = words[edge + OWN_NEXT]) {
      if (words[edge + ID_LO] === idLo && words[edge + ID_HI] === idHi) return true;
    }
    return false;
  }

  /** An edge of a message that waits for an id; 0 where nobody does. */
  waitingFor(idHi: number, idLo: number): number {
    return this.#leaderOf(this.#bucketOf(idHi, idLo), idHi, idLo);
  }

  /** Calls `visit` with each id for which a message waits. */
  eachOf(slot: number, visit: (idHi: number, idLo: number) => void): void {
    const words = this.#words;
    for (let edge = words[slot + EDGE]; edge !== 0; edge = words[edge + OWN_NEXT]) {
      visit(words[edge + ID_HI] >>> 0, words[edge + ID_LO] >>> 0);
    }
  }

  /** The message of an edge. */
  ownerOf(edge: number): number {
    return this.#words[edge + OWNER];
  }

  /** Takes one edge of a message out. */
  remove(edge: number): void {
    const words = this.#words, slot = words[edge + OWNER];
    if (words[slot + EDGE] === edge) {
      words[slot + EDGE] = words[edge + OWN_NEXT];
    } else {
      let before = words[slot + EDGE];
      while (words[before + OWN_NEXT] !== edge) before = words[before + OWN_NEXT];
      words[before + OWN_NEXT] = words[edge + OWN_NEXT];
    }
    this.#free(edge);
  }

  /** Takes all edges of a message out. */
  clear(slot: number): void {
    const words = this.#words;
    for (let edge = words[slot + EDGE]; edge !== 0;) {
      const rest = words[edge + OWN_NEXT];
      this.#free(edge);
      edge = rest;
    }
    words[slot + EDGE] = 0;
  }

  /** Counts the edges, and sees that they hang together. */
  checkInvariants(): number {
    const words = this.#words;
    let count = 0;
    for (let bucket = this.#at; bucket < this.#at + this.#buckets; bucket++) {
      for (let leader = words[bucket]; leader !== 0; leader = words[leader + CHAIN]) {
        const idHi = words[leader + ID_HI], idLo = words[leader + ID_LO];
        assert(this.#leaderOf(bucket, idHi, idLo) === leader, "One edge leads those to an id");
        let edge = leader;
        do {
          const next = words[edge + RING_NEXT], slot = words[edge + OWNER];
          assert(words[next + RING_PREVIOUS] === edge, "Edges to an id are linked both ways");
          assert(this.has(slot, idHi, idLo), "A message knows its edges");
          assert(edge === leader || words[edge + CHAIN] === -1, "Only a leader leads");
          count++;
          edge = next;
        } while (edge !== leader);
      }
    }
    let free = 0;
    for (let edge = words[EDGE_HEAD]; edge !== 0; edge = words[edge]) free++;
    assert(free === words[EDGE_COUNT], "As many edges are free as are counted");
    assert(count + free === this.#edges, "Each edge is free or waits");
    return count;
  }

  /** How many edges a message has. */
  countOf(slot: number): number {
    let count = 0;
    const words = this.#words;
    for (let edge = words[slot + EDGE]; edge !== 0; edge = words[edge + OWN_NEXT]) count++;
    assert(words[slot + DEPENDENCIES] >= count, "A message waits for no more than it depends on");
    return count;
  }

  #bucketOf(idHi: number, idLo: number): number {
    return this.#at + bucketOf(idHi, idLo, this.#bits);
  }

  #leaderOf(bucket: number, idHi: number, idLo: number): number {
    const words = this.#words;
    let edge = words[bucket];
    while (edge !== 0 && (words[edge + ID_LO] !== idLo || words[edge + ID_HI] !== idHi)) {
      edge = words[edge + CHAIN];
    }
    return edge;
  }

  /** Takes an edge out of its ring and, where it leads, puts the next one in its place. */
  #free(edge: number): void {
    const words = this.#words;
    const next = words[edge + RING_NEXT], previous = words[edge + RING_PREVIOUS];
    words[previous + RING_NEXT] = next;
    words[next + RING_PREVIOUS] = previous;
    if (words[edge + CHAIN] !== -1) {
      let at = this.#bucketOf(words[edge + ID_HI], words[edge + ID_LO]);
      while (words[at] !== edge) at = words[at] + CHAIN;
      if (next === edge) {
        words[at] = words[edge + CHAIN];
      } else {
        words[at] = next;
        words[next + CHAIN] = words[edge + CHAIN];
      }
    }
    words[edge] = words[EDGE_HEAD];
    words[EDGE_HEAD] = edge;
    words[EDGE_COUNT]++;
  }
}
