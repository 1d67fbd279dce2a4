/**
 * What a group sends each other, and what its queue says about it.
 *
 * A message names its sender, its number and, in a vector, all messages that its sender had delivered before. The
 * vector's entry of the sender is the number itself, as in Birman, Schiper and Stephenson (1991), so there is one place
 * that can be wrong, and the queue refuses it where it is. Cost: none; these are types.
 */
import type { HybridCausalClock, HybridCausalStamp } from "./hybrid_causal_clock.ts";

/** A message of a group. */
export interface CausalMessage<T> extends HybridCausalStamp {
  /** Its number among the messages of its sender `node`, from 1. */
  readonly sequence: number;
  /** What it says; the queue does not look at it. */
  readonly payload: T;
}

/**
 * What became of a message that was offered:
 *
 * - `"ready"`: it can be taken now, and so can what waited for it.
 * - `"waiting"`: something that it depends on is missing; it is held back.
 * - `"duplicate"`: it was here before, or was declared lost. Nothing is kept.
 * - `"full"`: there is no room for it. Nothing is kept but that it is missing, so it will be asked for again.
 */
export type CausalOutcome = "duplicate" | "full" | "ready" | "waiting";

/** Messages of one sender that are missing, from the first to the last. */
export interface MissingRange {
  /** The sender. */
  readonly node: number;
  /** Number of the first. */
  readonly first: number;
  /** Number of the last. */
  readonly last: number;
}

/** Messages that did not come in time. */
export interface OverdueRange extends MissingRange {
  /** When the queue first knew of them, by its steady clock in ms. */
  readonly sinceMs: number;
  /** Whether they are now declared lost: what waited for them can be delivered without them. */
  readonly lost: boolean;
}

/** How to open a causal queue. */
export interface CausalQueueOptions<T> {
  /** The clock of this node. What it says was delivered counts as delivered. */
  readonly clock: HybridCausalClock;
  /** A clock that never goes back, in ms; that of the process if left out. */
  readonly monotonicMs?: () => number;
  /** Messages that may wait, 1 to 1,048,576; 131,072 if left out. As many again may be ready to be taken. */
  readonly pendingMax?: number;
  /** Bytes of messages that may wait; 64 MiB if left out. As many again may be ready to be taken. */
  readonly pendingBytesMax?: number;
  /** Bytes of a payload; if left out, the length of a `Uint8Array`, and 0 of all else. */
  readonly bytesOf?: (payload: T) => number;
  /** How far a count may be ahead of what was delivered; 1,048,576 if left out. A message further ahead is refused. */
  readonly aheadMax?: number;
  /** How long a missing message is waited for before it is first asked for, in ms; 50 if left out. */
  readonly requestAfterMs?: number;
  /** Longest time between two requests for the same, in ms; 5000 if left out. The time doubles up to it. */
  readonly requestEveryMsMax?: number;
  /**
   * After how long a missing message is overdue, in ms; 30,000 if left out. One that was noticed while others of its sender were
   * missing already counts from when those came or were lost.
   */
  readonly timeoutMs?: number;
  /**
   * What then happens, in {@linkcode CausalQueue.expire}. `"report"` (if left out): it is told, once, and waited for on.
   * `"skip"`: it is told and declared lost, and what waited for it is delivered without it.
   */
  readonly onTimeout?: "report" | "skip";
}

/** What a causal queue did, and holds. */
export interface CausalQueueStats {
  /** Messages that this node sent through the queue. */
  readonly sent: number;
  /** Messages of others that were taken. */
  readonly delivered: number;
  /** Messages that were refused as they had been here, or were declared lost. */
  readonly duplicates: number;
  /** Messages that were refused for want of room. */
  readonly full: number;
  /** Messages that were declared lost. */
  readonly lost: number;
  /** Local events of the clock, which have no part in delivery. */
  readonly localEvents: number;
  /** Messages held back now. */
  readonly waiting: number;
  /** Messages that can be taken now. */
  readonly ready: number;
  /** Bytes of those held back and those that can be taken. */
  readonly bytes: number;
  /** Senders of which a message is missing now. */
  readonly gaps: number;
}
