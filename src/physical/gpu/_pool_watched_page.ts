/** Watched page: what is known, on the side of the host, of one page that has a copy on the device. */

import { assert } from "../../base/mod.ts";
import { DirtyRanges } from "./dirty_ranges.ts";
import type { TickRecords } from "./page_tick.ts";

/** One page and what its copy lacks. */
export class WatchedPage {
  /** Its row. */
  readonly row: number;
  /** Its id: another one says that the row has another page. */
  readonly page: number;
  /** Bytes of the copy. */
  readonly bytes: number;
  /** Whether its copy stays. */
  isKept: boolean;
  /** Whether the copy is to be sent whole. */
  isWhole = true;
  /** Whether a job writes the copy, and nobody has said yet that the page says the same. */
  isPending = false;
  /** What its copy lacks besides. */
  readonly ranges: DirtyRanges = new DirtyRanges();
  /** Version of the copy when the last list was done. */
  version = 0;
  /** Low half of the page's epoch up to which all changes are noted; NaN where that is not known. */
  epoch = NaN;
  /** The same within a tick, whose changes may be taken back. */
  tickEpoch = 0;
  /** Records of the tick below this are noted; 0 where none is. */
  noted = 0;

  /** A page whose copy is not there yet. */
  constructor(row: number, page: number, bytes: number, isKept: boolean) {
    this.row = row;
    this.page = page;
    this.bytes = bytes;
    this.isKept = isKept;
  }

  /** Whether no ranges are enough to bring the copy into step. */
  get isUnknown(): boolean {
    return this.isWhole || this.isPending;
  }

  /** Notes a span that has changed. */
  add(start: number, end: number): void {
    if (this.isWhole) return;
    // Records have the words of the slot, which may be longer than the page.
    this.ranges.add(start, Math.min(end, this.bytes));
  }

  /** Notes what records say, from one on. */
  addRecords({ words, heads }: TickRecords, from: number): void {
    const { row } = this;
    for (let at = heads[row]; at !== 0 && at >= from; at = words[at + 3]) {
      assert(words[at] === row, `record ${at} is of row ${row}`);
      this.add(4 * words[at + 1], 4 * (words[at + 1] + words[at + 2]));
    }
  }

  /** The records are gone. The copy has what the tick did so far, which never was where the tick does not count. */
  endTick(isCommitted: boolean): void {
    this.noted = 0;
    if (!isCommitted) this.isWhole = true;
    this.tickEpoch = this.epoch;
  }

  /** Checks that what it lacks lies in the page. */
  checkInvariants(): void {
    const { ranges, bytes } = this;
    ranges.checkInvariants();
    assert(ranges.count === 0 || ranges.end(ranges.count - 1) <= bytes, "ranges lie in the page");
  }
}
