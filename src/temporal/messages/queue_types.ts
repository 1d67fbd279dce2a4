/**
 * What one gives to a temporal queue and gets from it: options, counts, and messages that wait or have ended.
 *
 * Types only; see `temporal_queue.ts` for what they mean together. They cost nothing.
 */
import type { DeadlineBounds } from "./deadline_class.ts";
import type { Priority } from "./message.ts";

/** How large a queue is, and what it is strict about. */
export interface TemporalQueueSizes {
  /** Most messages in the queue at a time: held, waiting and ready ones; 65,536 if left out. */
  readonly capacity?: number;
  /**
   * Room for payloads and dependencies past the first 20 bytes of a message, in bytes: in blocks of 60 bytes; 64 bytes a
   * message if left out.
   */
  readonly payloadBytes?: number;
  /** Dependencies of all messages that can be waited for at a time; as many as `capacity` if left out. */
  readonly dependencies?: number;
  /** Ids of delivered messages that are remembered at the least; as many as `capacity` if left out. */
  readonly remembered?: number;
  /** Most µs that a message waits for its dependencies; for ever (or till it expires) if left out. */
  readonly dependencyTimeoutUs?: number;
  /** Bounds of the deadline classes in µs; {@linkcode DEADLINE_CLASSES_US} if left out. */
  readonly classesUs?: DeadlineBounds;
  /** Looks at a lock that is held before a thread sleeps; 100 if left out. */
  readonly spins?: number;
}

/** What another thread needs to attach a queue, for `postMessage`. */
export interface TemporalQueueHandle {
  /** Always `"temporal-queue"`. */
  readonly kind: "temporal-queue";
  /** Its memory. */
  readonly memory: SharedArrayBuffer;
}

/** How a thread looks at a queue. */
export interface TemporalQueueAttachOptions {
  /** The time in µs since the Unix epoch; a reading that is no time is as if the clock stood still. */
  readonly nowUs: () => number;
}

/** How to make a queue. */
export interface TemporalQueueOptions extends TemporalQueueSizes, TemporalQueueAttachOptions {}

/** How long a push waits for room. */
export interface QueuePushOptions {
  /** Most ms to wait; 0 if left out, in the asynchronous form for ever. */
  readonly waitMs?: number;
}

/** How many messages a pop takes, and how long it waits for the first. */
export interface QueuePopOptions {
  /** Most ms to wait; 0 if left out, in the asynchronous forms for ever. */
  readonly waitMs?: number;
  /** Most messages; as many as the batch has room for if left out. */
  readonly max?: number;
}

/** Where the messages of a queue are, and what became of those that were in it. */
export interface TemporalQueueStats {
  /** Messages that came in: the sum of the next seven. */
  readonly pushed: number;
  /** Taken out by a consumer. */
  readonly delivered: number;
  /** Removed as their window was over, those that came too late included. */
  readonly expired: number;
  /** Removed as a dependency did not come in time. */
  readonly timedOut: number;
  /** Removed by {@linkcode TemporalQueue.drop}. */
  readonly dropped: number;
  /** In the queue, their window not begun. */
  readonly held: number;
  /** In the queue, waiting for a dependency. */
  readonly waiting: number;
  /** In the queue, to be delivered. */
  readonly ready: number;
  /** Messages refused as their id was there; not pushed. */
  readonly duplicates: number;
  /** Messages refused as there was no room; not pushed. */
  readonly refused: number;
}

/** A message that ended without being delivered. */
export interface EndedMessage {
  /** Its id. */
  readonly id: bigint;
  /** Why: its window was over, a dependency did not come in time, or it was dropped. */
  readonly reason: "expired" | "timed-out" | "dropped";
}

/** A message that waits for others. */
export interface WaitingMessage {
  /** Its id. */
  readonly id: bigint;
  /** Ids of the messages that it still waits for. */
  readonly dependencies: readonly bigint[];
  /** Hybrid logical timestamp of its sending. */
  readonly timestamp: bigint;
  /** How much it matters. */
  readonly priority: Priority;
}
