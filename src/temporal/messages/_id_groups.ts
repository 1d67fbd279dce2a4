/**
 * Which ids are in the queue, and which were delivered: a hash table with an entry for each 32 ids that differ in their lower
 * five bits only, of which two words say bit by bit what is known of them.
 *
 * Ids that are given in a row share an entry, so that a look is mostly a comparison with the entry of the look
 * before. Ids at random have an entry each, and cost what any hash table costs.
 *
 * Entries with delivered ids stand in a list by their last delivery. There are as many entries as messages fit into the queue and ids are
 * to be remembered together. Where all are in use and one more is wanted, the oldest of the list forget
 * what was delivered until one is free. That is safe: more entries than are to be remembered have no message in the queue, and
 * all those stand in the list, so that after the one that forgets come at least as many, each with a later delivery.
 *
 * Cost: some 3 ns an id given in a row, 30 ns one at random in a large table; 32 bytes an entry.
 */
import { assert } from "../../base/assert.ts";
import { bucketOf } from "./_bucket.ts";
import { GROUP_HEAD, NEWEST_GROUP, OLDEST_GROUP } from "./_queue_layout.ts";
import type { QueueMemory } from "./_queue_memory.ts";

// Words of an entry.
/** The next entry in the bucket, or the next free one. */
const CHAIN = 0;
const KEY_HI = 1;
/** Lower half of the ids, without the bits in which they differ. */
const KEY_LO = 2;
/** Bit by bit: in the queue or delivered. Not 0 in an entry that is in use. */
const KNOWN = 3;
const WAS_DELIVERED = 4;
/** The next older and the next newer entry with delivered ids. */
const OLDER = 5;
const NEWER = 6;

/** The table. */
export class IdGroups {
  readonly #words: Int32Array;
  readonly #bucketsAt: number;
  readonly #buckets: number;
  readonly #bits: number;
  readonly #unused: number;
  /** Entries that a push and a pop looked at last; others may have changed what is in them. */
  #pushed: number;
  #popped: number;

  constructor({ words, layout }: QueueMemory) {
    this.#words = words;
    this.#bucketsAt = layout.groupBucketsAt;
    this.#buckets = layout.groupBuckets;
    this.#bits = Math.log2(layout.groupBuckets);
    this.#unused = this.#pushed = this.#popped = layout.groupsAt;
  }

  /** Notes an id as in the queue; false where it is known already. The halves as signed words. */
  claim(idHi: number, idLo: number): boolean {
    const words = this.#words, bit = 1 << (idLo & 31), keyLo = idLo & ~31;
    let entry = this.#pushed;
    if (
      words[entry + KEY_LO] !== keyLo || words[entry + KEY_HI] !== idHi ||
      words[entry + KNOWN] === 0
    ) {
      entry = this.#pushed = this.#findOrAdd(idHi, keyLo);
    }
    const known = words[entry + KNOWN];
    words[entry + KNOWN] = known | bit;
    return (known & bit) === 0;
  }

  /** Whether an id is in the queue, or delivered and remembered. */
  isKnown(idHi: number, idLo: number): boolean {
    return (this.#words[this.#find(idHi, idLo & ~31) + KNOWN] & (1 << (idLo & 31))) !== 0;
  }

  /** Whether an id was delivered and is remembered. */
  isDelivered(idHi: number, idLo: number): boolean {
    return (this.#words[this.#find(idHi, idLo & ~31) + WAS_DELIVERED] & (1 << (idLo & 31))) !== 0;
  }

  /** Notes an id that is in the queue as delivered. */
  deliver(idHi: number, idLo: number): void {
    const words = this.#words, keyLo = idLo & ~31;
    let entry = this.#popped;
    if (
      words[entry + KEY_LO] !== keyLo || words[entry + KEY_HI] !== idHi ||
      words[entry + KNOWN] === 0
    ) {
      entry = this.#popped = this.#find(idHi, keyLo);
    }
    const delivered = words[entry + WAS_DELIVERED];
    words[entry + WAS_DELIVERED] = delivered | (1 << (idLo & 31));
    if (words[NEWEST_GROUP] === entry) return;
    if (delivered !== 0) this.#unlink(entry);
    this.#link(entry);
  }

  /** Forgets an id that is in the queue. */
  remove(idHi: number, idLo: number): void {
    const words = this.#words, entry = this.#find(idHi, idLo & ~31);
    words[entry + KNOWN] &= ~(1 << (idLo & 31));
    if (words[entry + KNOWN] === 0) this.#free(entry);
  }

  /** Counts the ids that are in the queue, and sees that each entry stands where it belongs. */
  checkInvariants(groups: number): number {
    const words = this.#words;
    let inQueue = 0, used = 0, withDelivered = 0;
    for (let bucket = 0; bucket < this.#buckets; bucket++) {
      for (let entry = words[this.#bucketsAt + bucket]; entry !== 0; entry = words[entry + CHAIN]) {
        const hi = words[entry + KEY_HI], lo = words[entry + KEY_LO];
        const known = words[entry + KNOWN], delivered = words[entry + WAS_DELIVERED];
        assert(
          this.#bucketOf(hi, lo) === this.#bucketsAt + bucket,
          "An id stands in its own chain",
        );
        assert(this.#find(hi, lo) === entry, "An id stands in the table once");
        assert(known !== 0 && (delivered & ~known) === 0, "What was delivered is known");
        inQueue += bitsOf(known & ~delivered);
        if (delivered !== 0) withDelivered++;
        used++;
      }
    }
    let previous = 0, listed = 0;
    for (let entry = words[OLDEST_GROUP]; entry !== 0; entry = words[entry + NEWER]) {
      assert(words[entry + OLDER] === previous, "Delivered ids are linked both ways");
      assert(words[entry + WAS_DELIVERED] !== 0, "The list holds delivered ids");
      previous = entry;
      listed++;
    }
    assert(previous === words[NEWEST_GROUP], "The list of delivered ids ends at its newest");
    assert(listed === withDelivered, "All delivered ids are in the list");
    let free = 0;
    for (let entry = words[GROUP_HEAD]; entry !== 0; entry = words[entry + CHAIN]) free++;
    assert(free + used === groups, "No entry of the table of ids is lost");
    return inQueue;
  }

  /** The entry of a group; one without any ids where it has none. */
  #find(idHi: number, keyLo: number): number {
    const words = this.#words;
    let entry = words[this.#bucketOf(idHi, keyLo)];
    while (entry !== 0 && (words[entry + KEY_LO] !== keyLo || words[entry + KEY_HI] !== idHi)) {
      entry = words[entry + CHAIN];
    }
    return entry === 0 ? this.#unused : entry;
  }

  #findOrAdd(idHi: number, keyLo: number): number {
    const words = this.#words, found = this.#find(idHi, keyLo);
    if (found !== this.#unused) return found;
    if (words[GROUP_HEAD] === 0) this.#forget();
    const entry = words[GROUP_HEAD], bucket = this.#bucketOf(idHi, keyLo);
    words[GROUP_HEAD] = words[entry + CHAIN];
    words[entry + KEY_HI] = idHi;
    words[entry + KEY_LO] = keyLo;
    words[entry + CHAIN] = words[bucket];
    words[bucket] = entry;
    return entry;
  }

  /** Forgets the oldest delivered ids, until an entry is free. */
  #forget(): void {
    const words = this.#words;
    while (words[GROUP_HEAD] === 0) {
      const entry = words[OLDEST_GROUP];
      this.#unlink(entry);
      words[entry + KNOWN] &= ~words[entry + WAS_DELIVERED];
      words[entry + WAS_DELIVERED] = 0;
      if (words[entry + KNOWN] === 0) this.#free(entry);
    }
  }

  /** Gives an entry back that knows no id. */
  #free(entry: number): void {
    const words = this.#words;
    let at = this.#bucketOf(words[entry + KEY_HI], words[entry + KEY_LO]);
    while (words[at] !== entry) at = words[at] + CHAIN;
    words[at] = words[entry + CHAIN];
    words[entry + CHAIN] = words[GROUP_HEAD];
    words[GROUP_HEAD] = entry;
  }

  /** Puts an entry at the newest end of the list. */
  #link(entry: number): void {
    const words = this.#words, newest = words[NEWEST_GROUP];
    words[entry + OLDER] = newest;
    words[entry + NEWER] = 0;
    words[newest === 0 ? OLDEST_GROUP : newest + NEWER] = entry;
    words[NEWEST_GROUP] = entry;
  }

  #unlink(entry: number): void {
    const words = this.#words, older = words[entry + OLDER], newer = words[entry + NEWER];
    words[older === 0 ? OLDEST_GROUP : older + NEWER] = newer;
    words[newer === 0 ? NEWEST_GROUP : newer + OLDER] = older;
  }

  #bucketOf(idHi: number, keyLo: number): number {
    return this.#bucketsAt + bucketOf(idHi, keyLo >>> 5, this.#bits);
  }
}

function bitsOf(word: number): number {
  let count = 0;
  for (let left = word; left !== 0; left &= left - 1) count++;
  return count;
}
