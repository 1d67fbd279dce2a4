/**
 * Which ids are in the queue or were delivered: a hash table whose entries are the records themselves.
 *
 * A record keeps its id after delivery until it is taken for a new message; free records are taken oldest first,
 * so the records that wait to be used again are the memory of delivered ids, and no second structure is
 * kept. Chains are linked through the records; the buckets are at least twice as many as they.
 *
 * Cost: one bucket and the few records of its chain, some 10 ns where they are not in the cache.
 */
import { assert } from "../../base/assert.ts";
import { HASH_NEXT, ID_HI, ID_LO, type QueueMemory } from "./_queue_memory.ts";

/** The table. */
export class IdTable {
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #bits: number;
  readonly #buckets: number;

  constructor({ words, layout }: QueueMemory) {
    this.#words = words;
    this.#at = layout.idsAt;
    this.#buckets = layout.idBuckets;
    this.#bits = Math.log2(layout.idBuckets);
  }

  /** Address of the record with an id; 0 where there is none. The halves as signed words. */
  find(idHi: number, idLo: number): number {
    const words = this.#words;
    let slot = words[this.#at + bucketOf(idHi, idLo, this.#bits)];
    while (slot !== 0 && (words[slot + ID_LO] !== idLo || words[slot + ID_HI] !== idHi)) {
      slot = words[slot + HASH_NEXT];
    }
    return slot;
  }

  /** Adds a record whose id is in no other one. */
  add(slot: number): void {
    const words = this.#words;
    const bucket = this.#at + bucketOf(words[slot + ID_HI], words[slot + ID_LO], this.#bits);
    words[slot + HASH_NEXT] = words[bucket];
    words[bucket] = slot;
  }

  /** Removes a record that is in the table. */
  remove(slot: number): void {
    const words = this.#words;
    let at = this.#at + bucketOf(words[slot + ID_HI], words[slot + ID_LO], this.#bits);
    while (words[at] !== slot) at = words[at] + HASH_NEXT;
    words[at] = words[slot + HASH_NEXT];
  }

  /** Counts the records in the table, and sees that each stands in its own chain. */
  checkInvariants(): number {
    const words = this.#words;
    let count = 0;
    for (let bucket = 0; bucket < this.#buckets; bucket++) {
      for (let slot = words[this.#at + bucket]; slot !== 0; slot = words[slot + HASH_NEXT]) {
        const idHi = words[slot + ID_HI], idLo = words[slot + ID_LO];
        assert(bucketOf(idHi, idLo, this.#bits) === bucket, "An id stands in its own chain");
        assert(this.find(idHi, idLo) === slot, "An id stands in the table once");
        count++;
      }
    }
    return count;
  }
}

/**
 * Spreads an id over 32 bits, of which the upper ones are used. The upper 60 bits of the id choose a line of 16 buckets
 * (Fibonacci hashing, Knuth 6.4), the lower four the bucket in it, so that ids given in a row lie beside each other in
 * the cache; which is which within a line differs from line to line, so that ids with equal lower bits spread too.
 */
export function bucketOf(idHi: number, idLo: number, bits: number): number {
  const line = Math.imul((idLo >>> 4) ^ Math.imul(idHi, 0x85ebca6b), 0x9e3779b1);
  const shifted = line >>> (32 - bits);
  return (shifted & ~15) | ((idLo ^ shifted ^ (line >>> 4)) & 15);
}
