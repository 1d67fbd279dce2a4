/** What a salvage tells: what was wrong, what was saved, and what is lost, by file, tick and page. */

import type { LogFault } from "./fault.ts";

/** Numbers from one to another, both counted in. */
export interface SalvageRange {
  /** First. */
  readonly first: number;
  /** Last. */
  readonly last: number;
}

/** A page that lost deltas. */
export interface SalvagedPage {
  /** Its id. */
  readonly page: number;
  /** Its name, if it has one. */
  readonly name?: string;
  /** Epochs of the deltas that are lost. */
  readonly epochs: SalvageRange;
  /** Ticks between which they were made. */
  readonly ticks: SalvageRange;
  /** Tick at which a checkpoint brings its bytes and epoch back to what they were, if one does. */
  readonly repaired?: number;
}

/** A page of which nothing could be saved: its birth is lost, and so its size. */
export interface LostPage {
  /** Its id. */
  readonly page: number;
  /** Deltas of it that were found. */
  readonly rows: number;
  /** Ticks in which they stand. */
  readonly ticks: SalvageRange;
}

/** What was done. */
export interface SalvageReport {
  /** Whether all that was acknowledged could be read. */
  readonly ok: boolean;
  /** All that is wrong with the directory, in the order of the log. */
  readonly faults: readonly LogFault[];
  /** Ticks written. */
  readonly ticks: number;
  /** Last of them, 0 for none. */
  readonly lastTick: number;
  /** Deltas written. */
  readonly deltas: number;
  /** Pages that live after the last tick. */
  readonly pages: number;
  /** Ticks that are lost. */
  readonly ticksLost: readonly SalvageRange[];
  /** Deltas of them that are known of; of frames that cannot be found, nobody knows how many. */
  readonly deltasLost: number;
  /** Pages that lost deltas, by id. */
  readonly pagesHurt: readonly SalvagedPage[];
  /** Pages of which nothing could be saved, by id. */
  readonly pagesLost: readonly LostPage[];
  /** What had to be guessed, in words. */
  readonly notes: readonly string[];
}

/** Options of a salvage. */
export interface SalvageOptions {
  /** Told how far the work is, in words. */
  readonly progress?: (text: string) => void;
}
