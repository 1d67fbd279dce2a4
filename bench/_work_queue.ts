/**
 * Temporal messages through a queue: between threads, and in one thread beside a binary heap of objects, which is what one
 * would write by hand: it orders alike, and knows neither time nor ids, windows, dependencies or threads.
 */

import { MessageBatch, TemporalQueue } from "../src/temporal/messages/mod.ts";
import { fill, NOW_US, type QueueWork } from "./_queue_worker.ts";

export { fill, NOW_US };

/** Two producers and two consumers. */
export class QueueThreads {
  readonly #workers = Array.from(
    { length: 4 },
    () => new Worker(new URL("./_queue_worker.ts", import.meta.url), { type: "module" }),
  );

  /** Pushes so many messages a producer through a new queue; gives the seconds, and checks the sums. */
  async through(count: number, batch: number, isTimed: boolean): Promise<number> {
    const queue = TemporalQueue.create({ nowUs: () => NOW_US, capacity: 8192, payloadBytes: 0 });
    const control = new Int32Array(new SharedArrayBuffer(8));
    const sums = this.#workers.map((worker, index) =>
      this.#send(worker, {
        handle: queue.share(),
        control: control.buffer,
        role: index < 2 ? "push" : "pop",
        node: index,
        count,
        batch,
        isTimed,
      })
    );
    while (Atomics.load(control, 0) < 4) await new Promise((resolve) => setTimeout(resolve, 1));
    const start = performance.now();
    Atomics.store(control, 1, 1);
    Atomics.notify(control, 1);
    const pushed = await Promise.all(sums.slice(0, 2));
    queue.close();
    const popped = await Promise.all(sums.slice(2));
    const seconds = (performance.now() - start) / 1000;
    const { delivered } = queue.stats();
    if (
      delivered !== 2 * count || ((pushed[0] + pushed[1]) | 0) !== ((popped[0] + popped[1]) | 0)
    ) {
      throw new Error(`Other messages came out: ${delivered} of ${2 * count}, or changed ones`);
    }
    return seconds;
  }

  close(): void {
    for (const worker of this.#workers) worker.terminate();
  }

  #send(worker: Worker, work: QueueWork): Promise<number> {
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage(work);
    });
  }
}

/** A message of the other side. */
export interface HeapMessage {
  readonly id: number;
  readonly time: number;
  readonly sequence: number;
  readonly priority: number;
  readonly payload: Uint8Array;
}

/** A binary heap of objects, the first by priority, time and sequence at its root. */
export class BinaryHeap {
  readonly #items: HeapMessage[] = [];

  get size(): number {
    return this.#items.length;
  }

  push(message: HeapMessage): void {
    const items = this.#items;
    let at = items.length;
    items.push(message);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(message, items[parent])) break;
      items[at] = items[parent];
      at = parent;
    }
    items[at] = message;
  }

  pop(): HeapMessage {
    const items = this.#items, first = items[0], last = items.pop()!, { length } = items;
    if (length === 0) return first;
    let at = 0;
    for (let child = 1; child < length; child = 2 * at + 1) {
      if (child + 1 < length && isBefore(items[child + 1], items[child])) child++;
      if (!isBefore(items[child], last)) break;
      items[at] = items[child];
      at = child;
    }
    items[at] = last;
    return first;
  }
}

function isBefore(a: HeapMessage, b: HeapMessage): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.time !== b.time) return a.time < b.time;
  return a.sequence < b.sequence;
}

/** Single calls of our queue: pushes and pops one row each time, over some that stand in it. */
export class SingleCalls {
  readonly #queue = TemporalQueue.create({ nowUs: () => NOW_US, capacity: 4096 });
  readonly #in = new MessageBatch({ capacity: 1 });
  readonly #out = new MessageBatch({ capacity: 1 });
  #id = 0;

  constructor() {
    for (let i = 0; i < 1024; i++) this.#push();
  }

  /** So many pushes and as many pops; gives the sum of ids popped. */
  run(count: number): number {
    let sum = 0;
    for (let i = 0; i < count; i++) {
      this.#push();
      this.#queue.popBatch(this.#out);
      sum = (sum + this.#out.idLo[0]) | 0;
    }
    return sum;
  }

  #push(): void {
    const batch = this.#in, id = this.#id++;
    if (batch.count === 0) batch.reserve(1);
    batch.idLo[0] = id;
    batch.lo[0] = id << 2;
    batch.sequence[0] = id;
    this.#queue.pushBatch(batch);
  }
}
