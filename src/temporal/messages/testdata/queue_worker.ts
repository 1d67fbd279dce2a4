/** A thread that pushes into a queue or pops from it, and tells what it did. */

import { MessageBatch } from "../message_batch.ts";
import type { TemporalQueueHandle } from "../queue_types.ts";
import { TemporalQueue } from "../temporal_queue.ts";

/** What to do. */
export interface QueueTask {
  readonly handle: TemporalQueueHandle;
  readonly role: "push" | "pop";
  /** Number of the producer, its node. */
  readonly node: number;
  /** Messages of a producer. */
  readonly count: number;
  readonly batchMax: number;
  /** Priorities that are used, from 0. */
  readonly priorities: number;
  /** Whether each 16th message waits for its producer's one before, and each 8th has a window. */
  readonly isMixed: boolean;
}

/** What was done. */
export interface QueueReport {
  readonly count: number;
  /** Sum of a mix of node, sequence and payload of all messages, modulo 2³². */
  readonly sum: number;
  /** Messages that came before one of their sender with equal priority and a smaller sequence. */
  readonly disorders: number;
  readonly error?: string;
}

const thread = globalThis as unknown as {
  onmessage: (event: MessageEvent<QueueTask>) => void;
  postMessage: (report: QueueReport) => void;
};

thread.onmessage = ({ data }): void => {
  try {
    const queue = TemporalQueue.attach(data.handle, { nowUs: () => 1_000_000 });
    thread.postMessage(data.role === "push" ? push(queue, data) : pop(queue, data));
  } catch (error) {
    thread.postMessage({ count: 0, sum: 0, disorders: 0, error: String(error) });
  }
};

function mixOf(node: number, sequence: number, payload: number): number {
  return Math.imul(sequence * 31 + node, 0x9e3779b1) ^ payload;
}

function push(queue: TemporalQueue, task: QueueTask): QueueReport {
  const { node, count, batchMax, priorities, isMixed } = task;
  const batch = new MessageBatch({ capacity: batchMax });
  let sum = 0, size = 1;
  for (let i = 0; i < count;) {
    size = Math.min(count - i, 1 + (size * 7 + node) % batchMax);
    batch.clear();
    batch.reserve(size);
    for (let row = 0; row < size; row++) {
      const sequence = i + row;
      batch.idHi[row] = node;
      batch.idLo[row] = sequence;
      batch.hi[row] = 1;
      batch.lo[row] = sequence;
      batch.node[row] = node;
      batch.sequence[row] = sequence;
      batch.priority[row] = sequence % priorities;
      batch.payloadStart[row] = 4 * row;
      batch.payloadBytes[row] = 4;
      batch.payloadWords[row] = sequence ^ 0x5555;
      sum = (sum + mixOf(node, sequence, sequence ^ 0x5555)) | 0;
      if (!isMixed) continue;
      if (sequence % 8 === 7) batch.validUntilUs[row] = 1_000_000 + sequence % 5000;
      if (sequence % 16 === 15) {
        batch.dependencies[2 * row] = node;
        batch.dependencies[2 * row + 1] = sequence - 1;
        batch.dependencyStart[row] = row;
        batch.dependencyCount[row] = 1;
      }
    }
    batch.payloadEnd = 4 * size;
    batch.dependencyEnd = isMixed ? size : 0;
    const taken = queue.pushBatch(batch, { waitMs: 20_000 });
    if (taken !== size) throw new Error(`${size - taken} messages were not taken`);
    i += size;
  }
  return { count, sum, disorders: 0 };
}

function pop(queue: TemporalQueue, { batchMax, priorities, isMixed }: QueueTask): QueueReport {
  const batch = new MessageBatch({ capacity: batchMax });
  const last = new Map<number, number>();
  let count = 0, sum = 0, disorders = 0;
  for (;;) {
    let taken = 0;
    try {
      taken = queue.popBatch(batch, { waitMs: 20_000 });
    } catch (error) {
      if ((error as { code?: string }).code === "closed") return { count, sum, disorders };
      throw error;
    }
    count += taken;
    for (let row = 0; row < taken; row++) {
      const node = batch.node[row], sequence = batch.sequence[row];
      const word = batch.payloadWords[batch.payloadStart[row] >> 2];
      sum = (sum + mixOf(node, sequence, word)) | 0;
      const key = node * 4 + sequence % priorities;
      if (!isMixed && (last.get(key) ?? -1) >= sequence) disorders++;
      last.set(key, sequence);
    }
  }
}
