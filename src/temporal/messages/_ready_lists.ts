/**
 * Messages in slots that may be delivered: 16 lists, one for each deadline class and priority, each in order of timestamp,
 * sequence, node and id. Messages without a window that come in order are in lanes (`_lanes.ts`), not here.
 *
 * Timestamps of one producer rise, so what comes from a few producers is a few sorted sequences. A list
 * is eight sorted runs and a heap. A message goes to the end of its producer's run if it belongs there, else to the end of
 * any run where it does, else into the heap. Taking the first one looks at the heads of the runs that hold
 * something, and goes on with the run that has it as long as no other head comes before.
 *
 * The heap is a pairing heap (Fredman et al., 1986): linked through the records, no room of its own, and any
 * message can be taken out, as expiry and the change of classes must.
 *
 * Cost: O(1) for producers in order, a comparison of two records being some 2 ns; O(log n) amortised in the heap.
 */
import { assert } from "../../base/assert.ts";
import {
  CHILD,
  FLAGS,
  NEXT,
  PREVIOUS,
  READY_AT,
  READY_COUNT,
  READY_LIST_WORDS,
  READY_LISTS,
  READY_MASK,
  RUNS,
} from "./_queue_layout.ts";
import type { QueueMemory } from "./_queue_memory.ts";
import { isBefore } from "./_record_order.ts";

const ROOT = 2 * RUNS;
const RUN_MASK = ROOT + 1;
/** What stands for the heap where a run is named. */
const HEAP = RUNS;
const ALL_RUNS = (1 << RUNS) - 1;

/** The lists. */
export class ReadyLists {
  readonly #memory: QueueMemory;
  readonly #words: Int32Array;

  constructor(memory: QueueMemory) {
    this.#memory = memory;
    this.#words = memory.words;
  }

  /** Adds a record to the list that its flags name. */
  add(slot: number): void {
    const words = this.#words;
    const flags = words[slot + FLAGS], number = listOf(flags);
    const list = READY_AT + number * READY_LIST_WORDS;
    words[READY_COUNT]++;
    words[READY_MASK] |= 1 << number;
    let run = (flags >>> 24) & (RUNS - 1);
    let tail = words[list + RUNS + run];
    if (tail !== 0 && isBefore(this.#memory, slot, tail)) {
      run = this.#otherRun(list, run, slot);
      if (run === HEAP) return this.#addToHeap(list, slot);
      tail = words[list + RUNS + run];
    }
    words[slot + FLAGS] = (flags & ~(15 << 20)) | (run << 20);
    words[slot + PREVIOUS] = tail;
    words[slot + NEXT] = 0;
    words[list + RUNS + run] = slot;
    if (tail !== 0) {
      words[tail + NEXT] = slot;
    } else {
      words[list + run] = slot;
      words[list + RUN_MASK] |= 1 << run;
    }
  }

  /** Removes a record, wherever it stands. */
  remove(slot: number): void {
    const words = this.#words;
    const flags = words[slot + FLAGS], number = listOf(flags);
    const list = READY_AT + number * READY_LIST_WORDS, run = (flags >>> 20) & 15;
    words[READY_COUNT]--;
    if (run === HEAP) {
      this.#removeFromHeap(list, slot);
    } else {
      const previous = words[slot + PREVIOUS], next = words[slot + NEXT];
      if (previous === 0) words[list + run] = next;
      else words[previous + NEXT] = next;
      if (next === 0) words[list + RUNS + run] = previous;
      else words[next + PREVIOUS] = previous;
      if (words[list + run] === 0) words[list + RUN_MASK] &= ~(1 << run);
    }
    if ((words[list + RUN_MASK] | words[list + ROOT]) === 0) words[READY_MASK] &= ~(1 << number);
  }

  /** The record that comes first of all; 0 where there is none. */
  first(): number {
    const words = this.#words, mask = words[READY_MASK];
    if (mask === 0) return 0;
    const list = READY_AT + (31 - Math.clz32(mask & -mask)) * READY_LIST_WORDS;
    let best = words[list + ROOT];
    for (let left = words[list + RUN_MASK]; left !== 0; left &= left - 1) {
      const head = words[list + 31 - Math.clz32(left & -left)];
      if (best === 0 || isBefore(this.#memory, head, best)) best = head;
    }
    return best;
  }

  /**
   * Looks, after the first record was found, up to which other record the run that holds it may be read on.
   *
   * @returns The second of the heads of the list; 0 where the run may be read to its end.
   */
  second(first: number): number {
    const words = this.#words, list = READY_AT + listOf(words[first + FLAGS]) * READY_LIST_WORDS;
    let best = words[list + ROOT];
    if (best === first) best = 0;
    for (let left = words[list + RUN_MASK]; left !== 0; left &= left - 1) {
      const head = words[list + 31 - Math.clz32(left & -left)];
      if (head !== first && (best === 0 || isBefore(this.#memory, head, best))) best = head;
    }
    return best;
  }

  /** Whether a record comes after another in its own run, and before a third (0: any). */
  nextBefore(slot: number, limit: number): number {
    const words = this.#words;
    if (((words[slot + FLAGS] >>> 20) & 15) === HEAP) return 0;
    const next = words[slot + NEXT];
    return next !== 0 && (limit === 0 || isBefore(this.#memory, next, limit)) ? next : 0;
  }

  /** Counts the records, and sees that they are in order. */
  checkInvariants(): number {
    const words = this.#words;
    let count = 0, mask = 0;
    for (let number = 0; number < READY_LISTS; number++) {
      const list = READY_AT + number * READY_LIST_WORDS;
      const inList = this.#checkRuns(list, number) + this.#checkHeap(list, number);
      if (inList > 0) mask |= 1 << number;
      count += inList;
    }
    assert(words[READY_MASK] === mask, "The mask says which ready lists hold something");
    return count;
  }

  #checkRuns(list: number, number: number): number {
    const words = this.#words;
    let count = 0;
    for (let run = 0; run < RUNS; run++) {
      let previous = 0;
      for (let slot = words[list + run]; slot !== 0; slot = words[slot + NEXT]) {
        assert(words[slot + PREVIOUS] === previous, "A run is linked both ways");
        assert(previous === 0 || isBefore(this.#memory, previous, slot), "A run is in order");
        const flags = words[slot + FLAGS];
        assert(listOf(flags) === number && ((flags >>> 20) & 15) === run, "A record names its run");
        previous = slot;
        count++;
      }
      assert(words[list + RUNS + run] === previous, "A run ends at its tail");
      const isMarked = (words[list + RUN_MASK] & (1 << run)) !== 0;
      assert(isMarked === (previous !== 0), "The mask says which runs hold something");
    }
    return count;
  }

  #checkHeap(list: number, number: number): number {
    const words = this.#words, stack: number[] = [];
    if (words[list + ROOT] !== 0) stack.push(words[list + ROOT]);
    let count = 0;
    for (let slot = stack.pop(); slot !== undefined; slot = stack.pop()) {
      const flags = words[slot + FLAGS];
      assert(listOf(flags) === number && ((flags >>> 20) & 15) === HEAP, "A record names its heap");
      count++;
      let previous = slot;
      for (let child = words[slot + CHILD]; child !== 0; child = words[child + NEXT]) {
        assert(words[child + PREVIOUS] === previous, "Siblings are linked both ways");
        assert(isBefore(this.#memory, slot, child), "A parent comes before its children");
        stack.push(child);
        previous = child;
      }
    }
    return count;
  }

  /** A run, other than the one given, at whose end a record belongs; `HEAP` where there is none. */
  #otherRun(list: number, not: number, slot: number): number {
    const words = this.#words, used = words[list + RUN_MASK];
    for (let left = used & ~(1 << not); left !== 0; left &= left - 1) {
      const run = 31 - Math.clz32(left & -left);
      if (!isBefore(this.#memory, slot, words[list + RUNS + run])) return run;
    }
    const empty = ~used & ALL_RUNS;
    return empty === 0 ? HEAP : 31 - Math.clz32(empty);
  }

  #addToHeap(list: number, slot: number): void {
    const words = this.#words, root = words[list + ROOT];
    words[slot + FLAGS] = (words[slot + FLAGS] & ~(15 << 20)) | (HEAP << 20);
    words[slot + CHILD] = words[slot + PREVIOUS] = words[slot + NEXT] = 0;
    words[list + ROOT] = root === 0 ? slot : this.#joined(root, slot);
  }

  #removeFromHeap(list: number, slot: number): void {
    const words = this.#words;
    const orphans = this.#paired(words[slot + CHILD]);
    if (words[list + ROOT] === slot) {
      words[list + ROOT] = orphans;
      return;
    }
    const previous = words[slot + PREVIOUS], next = words[slot + NEXT];
    if (words[previous + CHILD] === slot) words[previous + CHILD] = next;
    else words[previous + NEXT] = next;
    if (next !== 0) words[next + PREVIOUS] = previous;
    if (orphans !== 0) words[list + ROOT] = this.#joined(words[list + ROOT], orphans);
  }

  /** Joins two trees without siblings; gives the root. */
  #joined(a: number, b: number): number {
    const words = this.#words;
    const parent = isBefore(this.#memory, a, b) ? a : b, child = parent === a ? b : a;
    const sibling = words[parent + CHILD];
    words[child + PREVIOUS] = parent;
    words[child + NEXT] = sibling;
    if (sibling !== 0) words[sibling + PREVIOUS] = child;
    words[parent + CHILD] = child;
    return parent;
  }

  /** Joins siblings to one tree: in pairs from the left, then the pairs from the right. */
  #paired(first: number): number {
    const words = this.#words;
    let pairs = 0;
    for (let a = first; a !== 0;) {
      const b = words[a + NEXT], rest = b === 0 ? 0 : words[b + NEXT];
      words[a + PREVIOUS] = words[a + NEXT] = 0;
      let tree = a;
      if (b !== 0) {
        words[b + PREVIOUS] = words[b + NEXT] = 0;
        tree = this.#joined(a, b);
      }
      words[tree + NEXT] = pairs;
      pairs = tree;
      a = rest;
    }
    let root = 0;
    while (pairs !== 0) {
      const rest = words[pairs + NEXT];
      words[pairs + NEXT] = 0;
      root = root === 0 ? pairs : this.#joined(root, pairs);
      pairs = rest;
    }
    return root;
  }
}

/** Number of the ready list: the most urgent class first, the highest priority first. */
function listOf(flags: number): number {
  return ((flags >>> 16) & 15) ^ 3;
}
