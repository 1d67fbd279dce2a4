/**
 * Followers: what wakes those of one bus that wait for a tick.
 *
 * A tick wakes them when it has the bus's durability. A bus that is not the writer hears of no tick,
 * so each of its followers is woken at its own interval.
 */

import type { MmsbError } from "../base/mod.ts";
import type { LaneSet } from "../log/mod.ts";
import type { FollowHost } from "./follow.ts";
import type { TickReport } from "./reports.ts";

/** What of their bus the followers need. */
export interface FollowedBus {
  /** The log, where the bus writes one. */
  readonly writer: LaneSet | undefined;
  /** Whether ticks are acknowledged when they are synced. */
  readonly isSynced: boolean;
  /** Whether the bus is closed. */
  isClosed(): boolean;
  /** What made the log unusable, if anything did. */
  failure(): MmsbError | undefined;
}

/** Followers of one bus that wait. */
export class Followers implements FollowHost {
  readonly #bus: FollowedBus;
  readonly #waiting = new Set<() => void>();

  /** Nobody waits yet. */
  constructor(bus: FollowedBus) {
    this.#bus = bus;
  }

  /** Whether the bus is closed. */
  isClosed(): boolean {
    return this.#bus.isClosed();
  }

  /** What made the log unusable, if anything did. */
  failure(): MmsbError | undefined {
    return this.#bus.failure();
  }

  /** Position up to which ticks may be given, by lane. */
  positionMax(): ((lane: number) => number) | undefined {
    const { writer, isSynced } = this.#bus;
    if (writer === undefined) return undefined;
    return (lane) => isSynced ? writer.syncedPositionOf(lane) : writer.positionOf(lane);
  }

  /** Calls back once there may be more. */
  whenMore(call: () => void, pollMs: number): () => void {
    const { writer } = this.#bus;
    this.#waiting.add(call);
    const timer = writer === undefined ? setTimeout(call, pollMs) : undefined;
    // A tick that is being synced since before anybody waited wakes nobody.
    if (this.#bus.isSynced && writer !== undefined && writer.position > writer.syncedPosition) {
      this.#wakeWhenSynced();
    }
    return () => {
      this.#waiting.delete(call);
      clearTimeout(timer);
    };
  }

  /** Runs a tick, and wakes who waits when it is durable. */
  run(tick: () => TickReport): TickReport {
    if (this.#waiting.size === 0) return tick();
    try {
      const report = tick();
      report.durable.then(this.wake, this.wake);
      return report;
    } catch (error) {
      // Other batches of the tick may be real.
      this.#wakeWhenSynced();
      throw error;
    }
  }

  /** Wakes all who wait. */
  readonly wake = (): void => {
    for (const call of [...this.#waiting]) call();
  };

  #wakeWhenSynced(): void {
    const { writer, isSynced } = this.#bus;
    const synced = isSynced && writer !== undefined ? writer.sync() : Promise.resolve();
    synced.then(this.wake, this.wake);
  }
}
