/**
 * Forward: takes the state of a bus that only reads on to the newest whole tick, reading only what
 * came since.
 *
 * @module
 */

import {
  damagedAt,
  type DirectoryMeta,
  type LogEnd,
  type LogPlace,
  LogTail,
  Replayer,
  type Storage,
} from "../log/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import type { RefreshReport } from "./reports.ts";

/** Takes one store forward. */
export class Forward {
  readonly #tail: LogTail;
  readonly #replayer: Replayer;
  #isBroken = false;

  /** Stands at the end that a reading of the log came to. */
  constructor(storage: Storage, meta: DirectoryMeta | undefined, store: PageStore, end: LogEnd) {
    this.#tail = new LogTail(storage, meta, placeOf(end));
    this.#replayer = new Replayer(store);
  }

  /** Where the last tick ends that was applied. */
  get place(): LogPlace {
    return this.#tail.place;
  }

  /** Whether a tick was applied in part: the store is good for nothing then. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /**
   * Applies the ticks that have come.
   *
   * @throws {MmsbError} `corrupt-log` where the log goes on and cannot be read.
   */
  run(): RefreshReport {
    const before = this.#replayer.rows;
    let ticks = 0;
    for (let tick = this.#tail.next(); tick !== undefined; tick = this.#tail.next()) {
      try {
        this.#replayer.apply(tick);
      } catch (error) {
        this.#isBroken = true;
        throw error;
      }
      ticks++;
    }
    this.#tail.release();
    const { tick, fault } = this.#tail;
    if (fault !== undefined && ticks === 0) throw damagedAt(fault, tick + 1);
    return { tick, ticks, rows: this.#replayer.rows - before };
  }
}

/** The place at which a reading of a log ended. */
export function placeOf(end: LogEnd | undefined): LogPlace {
  const lanes = (end?.lanes ?? []).filter(({ number }) => number > 0);
  return {
    tick: end?.tick ?? 0,
    lanes: lanes.map(({ lane, number, offset, position }) => (
      { lane, segment: number, offset, position }
    )),
  };
}
