/**
 * Lane set: appends ticks to several lanes and makes them durable as one log.
 *
 * A bus has one lane: its workers build frames side by side, and one thread writes them. The format knows
 * several, for writers that share nothing; they too are written from here, by one thread. A tick takes part only in the lanes that have rows of it, and
 * its frames name them all. Where one lane cannot have its part, the others lose theirs again, durably,
 * before the tick is refused; where that fails too, the whole set is unusable, as nobody can tell any
 * more what a reader would find.
 *
 * All lanes are synced together, and what is known to be synced moves on in all of them at once. So
 * one lane's frame that knows its lane to be durable up to some tick proves the same of every lane,
 * which is how a reader tells a lost tick from a torn tail.
 *
 * Cost: with one lane, nothing but a call; with several, one sync a lane that has something to sync, all
 * at the same time, so an acknowledgement takes as long as the slowest.
 *
 * @module
 */

import { assert, type MmsbError } from "../base/mod.ts";
import { type LaneStart, LaneWriter } from "./lane_writer.ts";
import type { LanePlace } from "./meta.ts";
import type { Storage } from "./storage.ts";

/** The parts of a tick by lane, each one's bytes one after the other; nothing for a lane without. */
export type LaneParts = readonly (Iterable<Uint8Array> | undefined)[];

/** Appends to lanes 0, 1, 2 … */
export class LaneSet {
  readonly #writers: readonly LaneWriter[];
  readonly #first: LaneWriter;
  /** Positions up to which all lanes are known to be durable together. */
  readonly #synced: number[];
  #syncing: Promise<void> | undefined;
  #nextSync: Promise<void> | undefined;
  #failure: MmsbError | undefined;

  /**
   * Begins a segment in each lane.
   *
   * @param storage Where the lanes are.
   * @param starts Where each begins; its index is its lane. At least one.
   * @throws {MmsbError} `disk-full`, `read-only` or `io` where one cannot be made; none is open then.
   */
  constructor(storage: Storage, starts: readonly LaneStart[]) {
    const writers: LaneWriter[] = [];
    try {
      for (const start of starts) {
        assert(start.lane === writers.length, "lanes are in order");
        writers.push(new LaneWriter(storage, start));
      }
    } catch (error) {
      for (const writer of writers) writer.abandon();
      throw error;
    }
    this.#writers = writers;
    this.#first = writers[0];
    this.#synced = writers.map((writer) => writer.syncedPosition);
  }

  /** How many lanes are written. */
  get size(): number {
    return this.#writers.length;
  }

  /** Bytes of all lanes: where their next bytes go, summed up. */
  get position(): number {
    if (this.#writers.length === 1) return this.#first.position;
    return this.#writers.reduce((sum, { position }) => sum + position, 0);
  }

  /** Bytes of all lanes that are known to be durable. */
  get syncedPosition(): number {
    if (this.#writers.length === 1) return this.#first.syncedPosition;
    return this.#synced.reduce((sum, position) => sum + position, 0);
  }

  /** Position of a lane's next byte; infinite for a lane that is not written. */
  positionOf(lane: number): number {
    return this.#writers[lane]?.position ?? Infinity;
  }

  /** Position up to which a lane is durable, and every other one up to the same tick. */
  syncedPositionOf(lane: number): number {
    if (this.#writers.length === 1 && lane === 0) return this.#first.syncedPosition;
    return this.#synced[lane] ?? Infinity;
  }

  /** Number of the segment that is being written in a lane. */
  segmentOf(lane: number): number {
    return this.#writers[lane]?.segment ?? Infinity;
  }

  /** Where the last tick ends in each lane; a lane without ticks has no place, but the first. */
  get places(): LanePlace[] {
    return this.#writers
      .filter((writer, lane) => lane === 0 || writer.hasTicks)
      .map((writer) => writer.place);
  }

  /** What made the set unusable, if anything did. */
  get failure(): MmsbError | undefined {
    if (this.#failure !== undefined) return this.#failure;
    for (const writer of this.#writers) {
      if (writer.failure !== undefined) return this.#failure = writer.failure;
    }
    return undefined;
  }

  /**
   * Makes sure that a tick can be appended without waiting.
   *
   * @param bytes What the tick takes in each lane, about; 0 or nothing for a lane without a part.
   * @returns `undefined` if it can; otherwise a promise of the next segments.
   * @throws {MmsbError} what made the set unusable, or what the storage says.
   */
  reserve(bytes: readonly number[]): Promise<void> | undefined {
    if (this.#writers.length === 1) return this.#first.reserve(bytes[0]);
    this.#checkUsable();
    const waits: Promise<void>[] = [];
    for (let lane = 0; lane < this.#writers.length; lane++) {
      if (!bytes[lane]) continue;
      const wait = this.#writers[lane].reserve(bytes[lane]);
      if (wait !== undefined) waits.push(wait);
    }
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => {});
  }

  /**
   * Appends one tick.
   *
   * @param parts Its bytes by lane. The lanes with parts are those that its frames name.
   * @throws {MmsbError} what the storage says; the tick is then in no lane, or the set unusable.
   */
  append(parts: LaneParts): void {
    if (this.#writers.length === 1) return this.#first.append(parts[0]!);
    this.#checkUsable();
    let lane = 0;
    try {
      for (; lane < this.#writers.length; lane++) {
        const own = parts[lane];
        if (own !== undefined) this.#writers[lane].append(own);
      }
    } catch (error) {
      for (lane--; lane >= 0; lane--) {
        if (parts[lane] !== undefined) this.#writers[lane].takeBack(error);
      }
      throw error;
    }
  }

  /** Promises that all that was appended is durable in every lane; one sync serves many calls. */
  sync(): Promise<void> {
    if (this.#writers.length === 1) return this.#first.sync();
    const { failure } = this;
    if (failure !== undefined) return Promise.reject(failure);
    if (this.#nextSync !== undefined) return this.#nextSync;
    if (this.#syncing === undefined) return this.#syncing = this.#runSync();
    this.#nextSync = this.#syncing.then(() => {
      this.#nextSync = undefined;
      return this.#syncing = this.#runSync();
    });
    return this.#nextSync;
  }

  /** Makes all that was appended durable before it returns. */
  syncNow(): void {
    this.#checkUsable();
    for (const writer of this.#writers) writer.syncNow();
    this.#settle(this.#writers.map(({ position }) => position));
  }

  /**
   * Ends all lanes, each as {@linkcode LaneWriter.close} does.
   *
   * @throws {MmsbError} where the last sync of one fails; the others are ended all the same.
   */
  async close(): Promise<void> {
    await this.#nextSync?.catch(() => {});
    await this.#syncing?.catch(() => {});
    const ends = await Promise.allSettled(this.#writers.map((writer) => writer.close()));
    const failed = ends.find((end) => end.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    if (this.failure === undefined) this.#settle(this.#writers.map(({ position }) => position));
  }

  /** Lets go of all files without syncing, as {@linkcode LaneWriter.abandon} does. */
  async abandon(): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.abandon()));
  }

  async #runSync(): Promise<void> {
    const positions = this.#writers.map(({ position }) => position);
    try {
      // All of them end before anybody is told, so that nothing runs on behind a failure.
      const ends = await Promise.allSettled(this.#writers.map((writer) => writer.sync()));
      const failed = ends.find((end) => end.status === "rejected");
      if (failed !== undefined) throw failed.reason;
    } finally {
      this.#syncing = undefined;
    }
    if (this.failure !== undefined) throw this.failure;
    this.#settle(positions);
  }

  /** Notes that all lanes are durable up to positions that they had between the same two ticks. */
  #settle(positions: readonly number[]): void {
    positions.forEach((position, lane) => {
      this.#synced[lane] = Math.max(this.#synced[lane], position);
    });
  }

  #checkUsable(): void {
    if (this.failure !== undefined) throw this.failure;
  }
}
