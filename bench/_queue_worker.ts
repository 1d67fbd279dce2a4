/** A producer or a consumer of the queue benchmark: waits for the start, works, and answers with the sum of ids. */

// Not from mod.ts: a thread starts with what it needs.
import {
  MessageBatch,
  TemporalQueue,
  type TemporalQueueHandle,
} from "../src/temporal/messages/mod.ts";

/** What to do. */
export interface QueueWork {
  readonly handle: TemporalQueueHandle;
  /** Word 0: threads that are ready; word 1: the start. */
  readonly control: SharedArrayBuffer;
  readonly role: "push" | "pop";
  /** Number of the producer. */
  readonly node: number;
  /** Messages of a producer. */
  readonly count: number;
  /** Messages a call. */
  readonly batch: number;
  /** Whether each message has a window, and so a timer. */
  readonly isTimed: boolean;
}

/** The benchmark's clock stands still: what is measured is the queue. */
export const NOW_US = 1_767_225_600_000_000;

const thread = globalThis as unknown as {
  onmessage: (event: MessageEvent<QueueWork>) => void;
  postMessage: (sum: number) => void;
};

thread.onmessage = ({ data }): void => {
  const queue = TemporalQueue.attach(data.handle, { nowUs: () => NOW_US });
  const batch = new MessageBatch({ capacity: data.batch });
  const control = new Int32Array(data.control);
  Atomics.add(control, 0, 1);
  Atomics.notify(control, 0);
  Atomics.wait(control, 1, 0);
  thread.postMessage(data.role === "push" ? push(queue, batch, data) : pop(queue, batch));
};

/** Fills a batch with messages of a producer: 8 bytes of payload, all priorities. */
export function fill(batch: MessageBatch, from: number, node: number, isTimed: boolean): number {
  const { capacity } = batch;
  let sum = 0;
  batch.clear();
  batch.reserve(capacity);
  for (let row = 0; row < capacity; row++) {
    const id = from + row;
    batch.idHi[row] = node;
    batch.idLo[row] = id;
    batch.hi[row] = 1;
    batch.lo[row] = id << 2;
    batch.node[row] = node;
    batch.sequence[row] = id;
    batch.priority[row] = id & 3;
    batch.payloadStart[row] = 8 * row;
    batch.payloadBytes[row] = 8;
    batch.payloadWords[2 * row] = id;
    if (isTimed) batch.validUntilUs[row] = NOW_US + 5_000_000 + id;
    sum = (sum + id) | 0;
  }
  batch.payloadEnd = 8 * capacity;
  return sum;
}

function push(queue: TemporalQueue, batch: MessageBatch, work: QueueWork): number {
  let sum = 0;
  for (let i = 0; i < work.count; i += work.batch) {
    sum = (sum + fill(batch, i, work.node, work.isTimed)) | 0;
    queue.pushBatch(batch, { waitMs: 60_000 });
  }
  return sum;
}

function pop(queue: TemporalQueue, batch: MessageBatch): number {
  let sum = 0;
  for (;;) {
    let count = queue.popBatch(batch);
    if (count === 0) {
      if (queue.closed && queue.size === 0) return sum;
      // The close comes when all is pushed; wait a little, and look again.
      count = waitFor(queue, batch);
    }
    for (let row = 0; row < count; row++) {
      sum = (sum + batch.payloadWords[batch.payloadStart[row] >> 2]) | 0;
    }
  }
}

function waitFor(queue: TemporalQueue, batch: MessageBatch): number {
  try {
    return queue.popBatch(batch, { waitMs: 5 });
  } catch (error) {
    if (queue.closed) return 0;
    throw error;
  }
}
