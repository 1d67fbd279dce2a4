/**
 * Around the calls of a temporal queue: what their options say, what a batch needs, and the words of refusals.
 *
 * Apart from the queue, as it is long enough. Cost: a few comparisons a call that has options.
 */
import { checkInteger, checkKeys } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import type { QueueMemory } from "./_queue_memory.ts";
import { blocksOf, wordsOf } from "./_rows.ts";
import { checkWait } from "./_queue_waiting.ts";
import type { MessageBatch } from "./message_batch.ts";
import type { QueuePopOptions, QueuePushOptions } from "./queue_types.ts";

/** What a batch needs. */
export interface PushNeed {
  blocks: number;
  edges: number;
  isTimed: boolean;
}

/** Adds up what the rows of a batch need. */
export function addNeed(need: PushNeed, batch: MessageBatch): void {
  const { count, dependencyCount, payloadBytes } = batch;
  for (let row = 0; row < count; row++) {
    need.edges += dependencyCount[row];
    need.blocks += blocksOf(wordsOf(dependencyCount[row], payloadBytes[row]));
  }
}

/** Checks how long a push waits. */
export function pushWait(options: QueuePushOptions, otherwise: number): number {
  checkKeys("a push", options, ["waitMs"]);
  return checkWait(options.waitMs, otherwise);
}

/** Checks how long a pop waits and how many it takes. */
export function popWait(
  options: QueuePopOptions,
  batch: MessageBatch,
  otherwise: number,
): { waitMs: number; max: number } {
  checkKeys("a pop", options, ["waitMs", "max"]);
  const max = options.max === undefined
    ? batch.capacity
    : checkInteger("max", options.max, 0, batch.capacity, "limit");
  return { waitMs: checkWait(options.waitMs, otherwise), max };
}

/** Says that the queue is closed. */
export function refuseClosed(what: "push" | "pop"): never {
  throw new MmsbError(
    "closed",
    what === "push"
      ? "Cannot push as the queue is closed: nothing of this call is in"
      : "Cannot wait for a message as the queue is closed and nothing in it will be ready: drop or release what waits in vain",
  );
}

/** Says that a message is longer than the whole batch. */
export function refuseLong(batch: MessageBatch): never {
  const payloadBytes = batch.payload.length, dependencies = batch.dependencies.length / 2;
  throw new MmsbError(
    "out-of-bounds",
    `Cannot pop into a batch of ${payloadBytes} bytes and ${dependencies} dependencies as the next message has more: ` +
      "use a larger one",
    { values: { payloadBytes, dependencies } },
  );
}

/** Says that a batch can never fit. */
export function refuseNever(memory: QueueMemory, count: number, need: PushNeed): never {
  const { capacity, blocks, edges } = memory;
  throw new MmsbError(
    "limit",
    `Cannot push ${count} messages with ${need.blocks} blocks of payload and ${need.edges} dependencies as the queue ` +
      `holds at most ${capacity}, ${blocks} and ${edges}: split the batch or make a larger queue`,
    { values: { count, capacity, blocks: need.blocks, edges: need.edges } },
  );
}
