/**
 * Deadlocks among messages: what a queue holds back because messages wait for one another.
 *
 * Messages that name each other as dependencies wait for ever, or until a timeout ends them all. Here a queue
 * tells what it holds back, the cycles are found, and by the strategy messages are really dropped from the queue or
 * really delivered, until no cycle is left.
 *
 * A dropped message never comes, so those that waited for it wait for it no longer. One that is delivered in spite of what
 * it waits for frees those that wait for it by its delivery.
 *
 * The queues are any objects with the methods that are named here; `TemporalQueue` and `CausalQueue` are such. In a causal
 * queue only a faulty sender makes such messages: vectors that contradict each other.
 *
 * Cost: what the queue's `waiting` costs, and that of {@linkcode WaitGraph.resolve}; in a causal queue also a search in
 * the messages of each sender that a vector names.
 */

import { checkIterable, checkType } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { requireHalves, requireNode } from "../check.ts";
import { physicalUs, physicalUsOfHalves } from "../timestamp.ts";
import { requireSequence } from "./_causal_refusals.ts";
import type { DeadlockStrategy } from "./deadlock.ts";
import { type DeadlockResolution, WaitGraph } from "./wait_graph.ts";

/** A message that a queue holds back. */
export interface HeldMessage {
  /** Its id. */
  readonly id: bigint;
  /** Ids of the messages that it still waits for. */
  readonly dependencies: readonly bigint[];
  /** Hybrid logical timestamp of its sending; it counts as waiting since then. */
  readonly timestamp: bigint;
  /** How much it matters, higher is more. */
  readonly priority: number;
}

/** A queue whose messages name others by id. */
export interface HoldingQueue {
  /** The messages that wait for others. */
  waiting(): Iterable<HeldMessage>;
  /** Removes a message; what waits for it waits for it no longer. */
  drop(id: bigint): boolean;
  /** Lets a message go on as if what it waits for had come. */
  release(id: bigint): boolean;
}

/** A message that a causal queue holds back. */
export interface HeldCausalMessage {
  /** Its sender. */
  readonly node: number;
  /** Its number among the messages of its sender. */
  readonly sequence: number;
  /** Upper u32 of its timestamp. */
  readonly hi: number;
  /** Lower u32 of its timestamp. */
  readonly lo: number;
  /** What its sender had delivered. */
  readonly vector: { entries(): Iterable<readonly [node: number, count: number]> };
}

/** A queue whose messages name others by vectors. */
export interface HoldingCausalQueue {
  /** The messages that wait for others. */
  waiting(): Iterable<HeldCausalMessage>;
  /** Declares the messages of a sender lost up to a number. */
  skip(node: number, last: number): number;
}

/**
 * Who waits for whom in a queue, as a graph of the messages' ids. It does not change with the queue.
 *
 * @param queue The queue.
 * @returns The graph.
 * @throws {MmsbError} `usage` where the queue is none; `limit` where there are more waits than a graph holds.
 */
export function waitsOfQueue(queue: Pick<HoldingQueue, "waiting">): WaitGraph {
  const graph = new WaitGraph();
  for (const message of heldBy<HeldMessage>(queue)) {
    checkType("waiting message", message, "object");
    const { id, dependencies, timestamp, priority } = message;
    const sinceUs = physicalUs(timestamp);
    for (const holder of checkIterable("dependencies", dependencies)) {
      graph.add({ waiter: id, holder, sinceUs, priority });
    }
  }
  return graph;
}

/**
 * Who waits for whom in a causal queue, as a graph of texts `node:sequence`. It has what the queue holds back and
 * not what is only missing: each message waits for the latest held one of every sender that must come before it.
 *
 * @param queue The queue.
 * @returns The graph.
 * @throws {MmsbError} `usage` where the queue is none; `limit` where there are more waits than a graph holds.
 */
export function waitsOfCausalQueue(queue: Pick<HoldingCausalQueue, "waiting">): WaitGraph {
  const graph = new WaitGraph();
  const messages = Array.from(heldBy<HeldCausalMessage>(queue), checkHeld);
  const held = new Map<number, number[]>();
  for (const { node, sequence } of messages) {
    const ofNode = held.get(node);
    if (ofNode === undefined) held.set(node, [sequence]);
    else ofNode.push(sequence);
  }
  for (const sequences of held.values()) sequences.sort((a, b) => a - b);
  for (const { node, sequence, hi, lo, vector } of messages) {
    const sinceUs = physicalUsOfHalves(hi, lo), waiter = `${node}:${sequence}`;
    for (const [other, count] of checkIterable("entries of a vector", vector.entries())) {
      const last = lastUpTo(held.get(other) ?? [], other === node ? sequence - 1 : count);
      if (last > 0) graph.add({ waiter, holder: `${other}:${last}`, sinceUs });
    }
  }
  return graph;
}

/**
 * Ends the deadlocks of a queue: drops or delivers messages until none waits for itself.
 *
 * @param queue The queue.
 * @param strategy What to do; see `deadlock.ts`.
 * @returns Which messages were dropped or delivered, by id, and the proof that no cycle is left. Where another thread takes
 * messages meanwhile, one of `drop-all` may be delivered before it can be dropped.
 * @throws {MmsbError} As {@linkcode WaitGraph.resolve}: what the queue refuses is named, and so is what was done before.
 */
export function endDeadlocks(queue: HoldingQueue, strategy: DeadlockStrategy): DeadlockResolution {
  return waitsOfQueue(queue).resolve(strategy, {
    drop: ({ id }) => void queue.drop(id as bigint),
    deliver: ({ id }) => void queue.release(id as bigint),
  });
}

/**
 * Ends the deadlocks of a causal queue: declares messages lost until none waits for itself. With a message, those of its
 * sender before it that have not come are lost as well, as it cannot be told from them.
 *
 * @param queue The queue.
 * @param strategy `drop-oldest`, `drop-newest` or `wait`; `drop-lowest-priority` is as `drop-newest`, as all priorities are
 * equal. A causal queue delivers nothing before its time, and what the loss of one message has freed cannot be dropped.
 * @returns Which messages were dropped, as texts `node:sequence`, and the proof that no cycle is left.
 * @throws {MmsbError} `usage` for `force-delivery` and `drop-all`; else as {@linkcode WaitGraph.resolve}.
 */
export function endCausalDeadlocks(
  queue: HoldingCausalQueue,
  strategy: DeadlockStrategy,
): DeadlockResolution {
  if (strategy === "force-delivery" || strategy === "drop-all") {
    throw new MmsbError(
      "usage",
      `Cannot use ${strategy} on a causal queue, which frees the others when one message is lost: drop ` +
        "the oldest or the newest",
      { values: { strategy } },
    );
  }
  return waitsOfCausalQueue(queue).resolve(strategy, {
    drop({ id }) {
      const [node, sequence] = String(id).split(":").map(Number);
      queue.skip(node, sequence);
    },
  });
}

function heldBy<T>(queue: { waiting(): Iterable<T> }): Iterable<T> {
  checkType("waiting of queue", checkType("queue", queue, "object") && queue.waiting, "function");
  return checkIterable("waiting messages", queue.waiting());
}

/** Refuses what is no message that a causal queue holds back. */
function checkHeld(message: HeldCausalMessage): HeldCausalMessage {
  const { node, sequence, hi, lo, vector } = checkType(
    "waiting message",
    message,
    "object",
  ) as HeldCausalMessage;
  requireNode(node);
  requireSequence(sequence);
  requireHalves(hi, lo);
  checkType(
    "entries of a vector",
    checkType("vector", vector, "object") && vector.entries,
    "function",
  );
  return message;
}

/** The largest of some rising numbers that is not above a bound; 0 for none. */
function lastUpTo(numbers: readonly number[], bound: number): number {
  let low = 0, high = numbers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (numbers[middle] <= bound) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? 0 : numbers[low - 1];
}
