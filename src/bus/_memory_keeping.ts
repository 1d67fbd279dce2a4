/**
 * Memory keeping: what a bus does for its memory beside the ticks, and how long each of these pauses was.
 *
 * After each tick slots of deleted pages go back to the allocator, for a millisecond at most, and no more until the next
 * one: a tick that deletes a million pages is followed by some hundred such slices. They are timed whole, by the
 * system's clock and not by that of the bus: what they do changes nothing that anybody sees, so it need not be
 * the same in every run.
 *
 * Cost: nothing where no slot waits; 50 to 100 ns a slot.
 */

import type { DurationSummary } from "../propagation/mod.ts";
import { DurationHistogram } from "../propagation/mod.ts";
import type { PageStore, SlotAllocator } from "../physical/mod.ts";
import { monotonicNowMs } from "../temporal/mod.ts";
import { CollectionWatch } from "./_memory_collections.ts";

/** What a slice of reclaiming did. */
export interface ReclaimReport {
  /** Slots that are free now. */
  readonly slots: number;
  /** Their bytes. */
  readonly bytes: number;
  /** Slots that still wait. */
  readonly pendingSlots: number;
  /** Their bytes. */
  readonly pendingBytes: number;
  /** Milliseconds it took. */
  readonly elapsedMs: number;
}

/** Slots between two looks at the clock: some 10 µs. */
const SLOTS_A_LOOK = 128;

/** Looks after the memory of one bus. */
export class MemoryKeeping {
  readonly #budgetMs: number;
  readonly #reclaimPauses = new DurationHistogram();
  #collections: CollectionWatch | undefined;
  /** Why collections cannot be counted, where that was tried. */
  #reason = "";

  /** Begins with nothing to do. */
  constructor(budgetMs: number) {
    this.#budgetMs = budgetMs;
  }

  /** Does its part after a tick. */
  afterTick({ allocator, ages }: PageStore, tick: number): void {
    if (allocator.pendingSlots > 0) this.reclaim(allocator);
    ages?.advance(tick);
    this.#collections?.afterTick();
  }

  /**
   * Reclaims slots until the time is up or none waits.
   *
   * @param budgetMs Milliseconds; what was given when the bus was opened, where it is left out.
   */
  reclaim(allocator: SlotAllocator, budgetMs: number = this.#budgetMs): ReclaimReport {
    const started = monotonicNowMs(), before = allocator.pendingBytes;
    let slots = 0, now = started;
    while (allocator.pendingSlots > 0 && now - started < budgetMs) {
      slots += allocator.reclaim(SLOTS_A_LOOK);
      now = monotonicNowMs();
    }
    const elapsedMs = now - started;
    if (slots > 0) this.#reclaimPauses.record(elapsedMs);
    const { pendingSlots, pendingBytes } = allocator;
    return { slots, bytes: before - pendingBytes, pendingSlots, pendingBytes, elapsedMs };
  }

  /** How long slices took. */
  get reclaimPauses(): DurationSummary {
    return this.#reclaimPauses.summary();
  }

  /** Who counts the pauses of garbage collection, if anybody does. */
  get collections(): CollectionWatch | undefined {
    return this.#collections;
  }

  /** Why nobody counts them. */
  get collectionsReason(): string {
    return this.#reason;
  }

  /** Counts the pauses of garbage collection from now on. */
  async watchCollections(tick: number): Promise<void> {
    if (this.#collections !== undefined) return;
    const watch = await CollectionWatch.start(tick);
    if (!(watch instanceof CollectionWatch)) this.#reason = watch.reason;
    // Two may have been asked for at once.
    else if (this.#collections !== undefined) watch.stop();
    else this.#collections = watch;
  }

  /** Ends what it began. */
  close(): void {
    this.#collections?.stop();
    this.#collections = undefined;
  }
}
