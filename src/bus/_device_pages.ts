/**
 * Device pages of a bus: which pages have copies on the device, and bringing those into step.
 *
 * A copy is brought into step by a job between ticks, or behind one, which the thread of the bus waits for: nothing
 * writes a page while the GPU reads it. Where pages are spilled, those that are sent are brought back and held meanwhile.
 *
 * Cost: a pass over the rows of a tick where there are copies; a job, and the bytes that have changed, where copies are
 * brought into step.
 */

import { isMmsbError } from "../base/mod.ts";
import type { GpuThread } from "../physical/gpu/gpu_thread.ts";
import type { PageLocations } from "../physical/gpu/page_locations.ts";
import type { KernelColumns, PageStore } from "../physical/mod.ts";
import type { ChangeLog } from "../propagation/mod.ts";
import type { EventHub } from "./_events.ts";
import type { DeviceTransfer, PageLocation } from "./device.ts";

/** What the copies of a bus are made with. */
export interface DevicePagesParts {
  /** The jobs for pages. */
  readonly jobs: Pick<typeof import("../physical/gpu/mod.ts"), "evictPages" | "uploadPages">;
  /** The thread of the device. */
  readonly thread: GpuThread;
  /** The number under which it knows the pages. */
  readonly arena: number;
  /** Which pages have copies. */
  readonly locations: PageLocations;
  /** The pages. */
  readonly store: PageStore;
}

/** Pages of one job at most, so that it never needs much room. */
const PAGES_TOGETHER = 4096;

/** The copies of a bus's pages. */
export class DevicePages {
  /** Times that copies were brought into step. */
  syncs = 0;
  /** Bytes sent. */
  uploadedBytes = 0;
  /** Jobs behind a tick that failed. */
  failures = 0;
  readonly #parts: DevicePagesParts;
  /** The device that the copies are on. */
  #generation: number;

  /** No page has a copy. */
  constructor(parts: DevicePagesParts) {
    this.#parts = parts;
    this.#generation = parts.thread.generation;
  }

  /** Which pages have copies, on the device that there is now. */
  get locations(): PageLocations {
    const { locations, thread: { generation } } = this.#parts;
    if (generation !== this.#generation) {
      this.#generation = generation;
      locations.deviceGone();
    }
    return locations;
  }

  /** Where a page is. */
  location(page: number): PageLocation {
    return this.locations.location(page);
  }

  /** How many there are. */
  resident(): { readonly pages: number; readonly kept: number; readonly bytes: number } {
    const { locations } = this, { table } = this.#parts.store, rows = locations.rows();
    const bytes = rows.reduce((sum, row) => sum + table.sizeOf(row), 0);
    return { pages: rows.length, kept: locations.rows("kept").length, bytes };
  }

  /** Notes rows of a tick that are in the pages. */
  noteRows(columns: KernelColumns, rows: number): void {
    this.#parts.locations.noteRows(columns, rows);
  }

  /** Ends a tick: all that it changed is in the log, or was noted. */
  endTick(log: ChangeLog, isCommitted: boolean): void {
    this.#parts.locations.endTick({ log, isCommitted, isComplete: true });
  }

  /** Forgets all copies. */
  forget(): void {
    this.#parts.locations.clear();
  }

  /**
   * Gives pages copies that are in step.
   *
   * @throws {MmsbError} `gpu`, `allocation`; `memory-pressure` where spilled pages find no room.
   */
  upload(pages: readonly number[]): DeviceTransfer {
    const { residency } = this.#parts.store;
    if (residency === undefined) return this.#uploadAll(pages);
    residency.beginTick();
    try {
      let sent = 0, bytes = 0;
      for (let first = 0; first < pages.length;) {
        const end = residency.holdSome(
          pages,
          first,
          Math.min(pages.length, first + PAGES_TOGETHER),
        );
        const transfer = this.#uploadAll(pages.slice(first, end));
        sent += transfer.pages;
        bytes += transfer.bytes;
        first = end;
        residency.endTick();
        residency.beginTick();
      }
      return { pages: sent, bytes };
    } finally {
      residency.endTick();
    }
  }

  /** Brings those of some pages that have copies into step, or all. */
  sync(pages?: readonly number[]): DeviceTransfer {
    const { locations } = this, { ids } = this.#parts.store.table;
    const all = pages ?? locations.rows("dirty").map((row) => ids[row]);
    const copies = all.filter((page) => locations.location(page) !== "cpu");
    return copies.length === 0 ? { pages: 0, bytes: 0 } : this.upload(copies);
  }

  /** Gives pages copies that stay or may go, or takes them. */
  migrate(pages: readonly number[], location: PageLocation): void {
    const { locations } = this;
    if (location === "cpu") {
      for (const page of pages) locations.drop(page);
      this.#evict();
      return;
    }
    for (const page of pages) {
      if (location === "gpu") locations.keep(page);
      else locations.share(page);
    }
    try {
      this.upload(pages);
    } catch (error) {
      for (const page of pages) locations.drop(page);
      throw error;
    }
  }

  /**
   * Brings the copies of pages into step behind a tick, and tells of each. What fails is no failure of the tick: the copies
   * go up whole when they are next used.
   */
  bringIntoStep(pages: readonly number[], events: EventHub | undefined): void {
    const { table, residency } = this.#parts.store;
    const there = [...new Set(pages)].filter((page) => table.rowOf(page) !== 0);
    if (there.length === 0) return;
    try {
      // They are held until the tick is over.
      residency?.holdPages(there, there.length);
      this.#uploadAll(there);
    } catch (error) {
      if (!isMmsbError(error)) throw error;
      this.failures++;
      return;
    }
    if (events?.wants("gpu-sync-complete") !== true) return;
    for (const page of there) events.emit("gpu-sync-complete", { page });
  }

  #uploadAll(pages: readonly number[]): DeviceTransfer {
    const { jobs, thread, arena, store: { table } } = this.#parts, { locations } = this;
    const rows = pages.map((page) => table.rowOf(page));
    const { uploads, bytes } = jobs.uploadPages(thread, arena, locations, rows);
    this.syncs++;
    this.uploadedBytes += bytes;
    thread.totals.uploadedBytes += bytes;
    return { pages: uploads, bytes };
  }

  /** Has the device give up the copies that were dropped; one that is gone has none. */
  #evict(): void {
    const { jobs, thread, arena, locations } = this.#parts;
    try {
      jobs.evictPages(thread, arena, locations);
    } catch (error) {
      if (!isMmsbError(error)) throw error;
    }
  }
}
