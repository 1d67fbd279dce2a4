/**
 * What waiting messages wait for, by node and by rising count: for losses, which may meet many counts at once.
 *
 * A message waits in a hash table for one count of a node. When a range of that node is lost, the counts in it that
 * somebody waits for must be found, and a look at all that wait, or at each lost count, for each range would make an
 * expiry cost the square of what is held. So an expiry gathers the counts once, in a heap a node, and adds those that come to be
 * waited for meanwhile. A count that nobody waits for any longer does no harm.
 *
 * Cost: 8 bytes a waiting message while an expiry runs, and O(log n) a count.
 */
import type { WaitingMessages } from "./_causal_waiting.ts";

/** Counts that are waited for. */
export class AwaitedCounts {
  readonly #heaps = new Map<number, number[]>();

  /** Gathers them, of one node or of all. */
  constructor(waiting: WaitingMessages<unknown>, only?: number) {
    waiting.forEachAwaited((node, count) => {
      if (only === undefined || node === only) this.#heapOf(node).push(count);
    });
    // What is sorted is a heap.
    for (const heap of this.#heaps.values()) heap.sort((a, b) => a - b);
  }

  /** Adds one. */
  add(node: number, count: number): void {
    const heap = this.#heapOf(node);
    let at = heap.push(count) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent] <= count) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = count;
  }

  /** Takes the smallest of a node out, each once, where it is not above `last`; 0 where there is none. */
  shift(node: number, last: number): number {
    const heap = this.#heaps.get(node);
    if (heap === undefined || heap.length === 0 || heap[0] > last) return 0;
    const count = heap[0];
    while (heap.length > 0 && heap[0] === count) removeFirst(heap);
    return count;
  }

  #heapOf(node: number): number[] {
    let heap = this.#heaps.get(node);
    if (heap === undefined) this.#heaps.set(node, heap = []);
    return heap;
  }
}

function removeFirst(heap: number[]): void {
  const last = heap.pop()!;
  if (heap.length === 0) return;
  let at = 0;
  for (let child = 1; child < heap.length; child = 2 * at + 1) {
    if (child + 1 < heap.length && heap[child + 1] < heap[child]) child++;
    if (heap[child] >= last) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = last;
}
