/**
 * Page locations: which pages have copies on the device, and what of each has changed since its copy was last brought into step.
 *
 * It stands on the thread of the bus. What changes pages in a tick is told to it: the records of the change log,
 * and the rows of batches that were applied without records. A page that changed in another way is noticed by
 * its epoch, its id or its size, and counts as changed whole; so does every page where the table was put back
 * to an image. What the device really holds is not known here, and need not be: each list of pages carries versions
 * ({@linkcode PageList}).
 *
 * A page is at one of three places. `cpu`: it has no copy. `unified`: it has one, which the device
 * may evict. `gpu`: it has one that stays until somebody says otherwise. The bytes of the host are the truth in all three.
 *
 * Cost: some 200 bytes a page that has a copy, and 16 a row of the page table; a tick costs some 5 ns for each of
 * them, 10 to 100 ns a record of one, and 2 to 10 ns a row that it is told of.
 */

import { alignUp, assert, checkInteger } from "../../base/mod.ts";
import type { KernelColumns } from "../kernel_columns.ts";
import { type PageTable, RECORD_SHIFT } from "../page_table.ts";
import { PageListWriter } from "./_pool_list_writer.ts";
import { WatchedPage } from "./_pool_watched_page.ts";
import { GAP_BYTES_DEFAULT } from "./dirty_ranges.ts";
import type { PageList } from "./page_list.ts";
import type { TakeOptions, TickEnd, TickRecords } from "./page_tick.ts";

export type { TakeOptions, TickEnd, TickRecords } from "./page_tick.ts";

/** Where a page is: `gpu` and `unified` say that the device has a copy, which in the first case stays there. */
export type PageLocation = "cpu" | "gpu" | "unified";

/** Figures of {@linkcode PageLocations}. */
export interface PageLocationsStatistics {
  /** Pages with copies. */
  readonly pages: number;
  /** Their bytes. */
  readonly bytes: number;
  /** Pages whose copies stay. */
  readonly kept: number;
  /** Bytes that their copies lack. */
  readonly dirtyBytes: number;
}

/** Versions count to here and begin anew: the copies of an earlier round are long gone. */
const VERSION_MAX = 2 ** 31 - 1;

/** Words of a row. */
const ROW_WORDS = 4, ROW_SHIFT = 2;
/** Of a row: 1 + the place of its page in the list, 0 where the page has no copy. */
const ROW_PLACE = 0;
/** Of a row whose page has at most one range: the span that batches have changed since it was last listed; its end is 0 where there is none. */
const ROW_START = 1, ROW_END = 2;
/** Of a row: 1 where its page is so small that it has one range at most. */
const ROW_SMALL = 3;

/** Locations of the pages of one store. */
export class PageLocations {
  readonly #table: PageTable;
  /** {@linkcode ROW_WORDS} words a row, so that noting a row of a batch costs one cache line. */
  #columns = new Int32Array(0);
  readonly #pages: WatchedPage[] = [];
  /** Rows whose copies are to be given up, which the next list says. */
  readonly #gone = new Set<number>();
  /** Pages of which some of this tick's records are taken. */
  #inTick: WatchedPage[] = [];
  readonly #list = new PageListWriter();
  #version = 0;
  #moves: number;

  /** No page has a copy. */
  constructor(table: PageTable) {
    this.#table = table;
    this.#moves = table.moves;
  }

  /** Number of pages with copies. */
  get size(): number {
    return this.#pages.length;
  }

  /** Where a page is. */
  location(page: number): PageLocation {
    const watched = this.#watched(this.#table.rowOf(page));
    if (watched === undefined || watched.page !== page) return "cpu";
    return watched.isKept ? "gpu" : "unified";
  }

  /** Has a page's copy stay once it is there; the next list that names the page says so. */
  keep(page: number): void {
    this.#watch(this.#rowOf(page)).isKept = true;
  }

  /** Lets a page have a copy, which may be evicted. */
  share(page: number): void {
    this.#watch(this.#rowOf(page)).isKept = false;
  }

  /** Has a page's copy given up; the next list says so. */
  drop(page: number): void {
    const watched = this.#watched(this.#rowOf(page));
    if (watched !== undefined) this.#remove(watched);
  }

  /** The device has evicted copies of pages; those that were made again since come whole. */
  evicted(rows: Iterable<number>): void {
    for (const row of rows) {
      const watched = this.#watched(row);
      if (watched === undefined) continue;
      if (watched.isKept) watched.isWhole = true;
      else this.#forget(watched);
    }
  }

  /** Another device has come, which has no copies: those that are to stay are made again when a list names them. */
  deviceGone(): void {
    this.#gone.clear();
    for (const watched of [...this.#pages]) {
      if (watched.isKept) watched.isWhole = true;
      else this.#forget(watched);
    }
  }

  /** Forgets all pages: the store was emptied or put somewhere else. */
  clear(): void {
    for (const watched of [...this.#pages]) this.#remove(watched);
    this.#moves = this.#table.moves;
    this.#inTick = [];
  }

  /** Rows of all pages with copies, those alone that stay, or those alone that lack something. */
  rows(which: "all" | "kept" | "dirty" = "all"): number[] {
    this.#noticeMoves();
    const rows: number[] = [];
    for (const watched of this.#pages) {
      if (this.#table.ids[watched.row] !== watched.page) continue;
      if (which === "kept" && !watched.isKept) continue;
      if (which === "dirty" && !this.#isDirty(watched)) continue;
      rows.push(watched.row);
    }
    return rows;
  }

  /**
   * Lists pages for a job, which brings their copies into step; from here on they count as being so.
   *
   * @param rows Rows of pages that are there; a page that was spilled is brought back.
   * @param options The records of a tick that runs, and which pages the job writes.
   * @returns The list, good until the next one is asked for.
   * @throws {MmsbError} where the bytes of a spilled page cannot be had.
   */
  take(rows: ArrayLike<number>, { log, writes }: TakeOptions = {}): PageList {
    this.#noticeMoves();
    const list = this.#list, count = rows.length;
    list.begin(count, this.#gone);
    this.#gone.clear();
    if (writes !== undefined) {
      for (const place of writes) list.setWritten(checkInteger("place", place, 0, count - 1));
    }
    for (let i = 0; i < count; i++) {
      const slot = this.#table.slot(rows[i]), watched = this.#watch(rows[i]);
      this.#notice(watched, log);
      const isWritten = list.isWritten(i);
      const base = watched.isUnknown ? 0 : watched.version;
      if (base === 0 || watched.ranges.count > 0 || isWritten) watched.version = this.#next();
      list.add(i, slot, watched, base);
      watched.ranges.clear();
      watched.isWhole = false;
      // Until it is told otherwise, a job that writes a copy has left it in another state.
      watched.isPending = isWritten;
    }
    return list.end();
  }

  /**
   * What a job has written into a page's copy stands in the page, too, as records of the tick.
   *
   * @param row The page's row, which the last list with it had as written.
   * @param log The records.
   */
  inStep(row: number, log: TickRecords): void {
    const watched = this.#watched(row);
    if (watched === undefined) return;
    watched.isPending = false;
    this.#noteUntil(watched, log.used);
  }

  /** Rows of a batch are in the pages, without records. */
  noteRows(columns: Pick<KernelColumns, "record" | "offset" | "length">, rows: number): void {
    if (this.#pages.length === 0) return;
    this.#reserveRows();
    const { record, offset, length } = columns, own = this.#columns;
    for (let i = 0; i < rows; i++) {
      const at = record[i] >> RECORD_SHIFT << ROW_SHIFT, place = own[at];
      if (place === 0) continue;
      const start = offset[i], end = start + length[i];
      if (own[at + ROW_SMALL] === 0) {
        this.#pages[place - 1].add(start, end);
      } else if (own[at + ROW_END] === 0) {
        own[at + ROW_START] = start;
        own[at + ROW_END] = end;
      } else {
        if (start < own[at + ROW_START]) own[at + ROW_START] = start;
        if (end > own[at + ROW_END]) own[at + ROW_END] = end;
      }
    }
  }

  /** A tick begins, and no epoch has been raised for it yet: what changed since the last one changed in another way. */
  beginTick(): void {
    this.#lookAtEpochs(false);
  }

  /**
   * A tick is over: what it changed is noted. Told once a tick, while its records are there and the pages are as they say.
   */
  endTick({ log, isCommitted, isComplete }: TickEnd): void {
    if (isCommitted && log !== undefined && this.#pages.length > 0) {
      for (let i = 0; i < log.count; i++) {
        const watched = this.#watched(log.touched[i]);
        if (watched !== undefined) watched.addRecords(log, watched.noted);
      }
    }
    if (this.#inTick.length > 0) {
      for (const watched of this.#inTick) watched.endTick(isCommitted);
      this.#inTick = [];
    }
    if (isCommitted) this.#lookAtEpochs(isComplete);
  }

  /** Figures of now. */
  statistics(): PageLocationsStatistics {
    let bytes = 0, kept = 0, dirtyBytes = 0;
    for (const watched of this.#pages) {
      this.#takeSpan(watched);
      bytes += watched.bytes;
      if (watched.isKept) kept++;
      dirtyBytes += watched.isUnknown ? watched.bytes : watched.ranges.bytes;
    }
    return { pages: this.#pages.length, bytes, kept, dirtyBytes };
  }

  /** Checks that rows and pages lead to each other. */
  checkInvariants(): void {
    let found = 0;
    for (let at = 0; at < this.#columns.length; at += ROW_WORDS) {
      if (this.#columns[at] !== 0) found++;
      else assert(this.#columns[at + ROW_END] === 0, "what has no copy lacks nothing");
    }
    assert(found === this.#pages.length, "each page has a row");
    this.#pages.forEach((watched, place) => {
      assert(
        this.#columns[watched.row << ROW_SHIFT] === place + 1,
        `row ${watched.row} leads to its page`,
      );
      watched.checkInvariants();
    });
  }

  #rowOf(page: number): number {
    const row = this.#table.rowOf(page);
    assert(row !== 0, `page ${page} is in the table`);
    return row;
  }

  #watched(row: number): WatchedPage | undefined {
    const at = row << ROW_SHIFT;
    return at < this.#columns.length ? this.#pages[this.#columns[at] - 1] : undefined;
  }

  /** What is known of the page of a row; another page than before, or one of another size, is a new one. */
  #watch(row: number): WatchedPage {
    const { ids } = this.#table, page = ids[row], bytes = alignUp(this.#table.sizeOf(row), 4);
    assert(page !== 0 && page !== undefined, `row ${row} has a page`);
    const found = this.#watched(row);
    if (found !== undefined) {
      if (found.page === page && found.bytes === bytes) return found;
      const isKept = found.isKept && found.page === page;
      this.#forget(found);
      if (isKept) return this.#add(new WatchedPage(row, page, bytes, isKept));
    }
    return this.#add(new WatchedPage(row, page, bytes, false));
  }

  #add(watched: WatchedPage): WatchedPage {
    this.#reserveRows();
    watched.tickEpoch = this.#table.epochs.low[watched.row];
    const at = watched.row << ROW_SHIFT;
    this.#columns[at + ROW_PLACE] = this.#pages.push(watched);
    this.#columns[at + ROW_SMALL] = watched.bytes <= GAP_BYTES_DEFAULT ? 1 : 0;
    return watched;
  }

  #remove(watched: WatchedPage): void {
    this.#forget(watched);
    this.#gone.add(watched.row);
  }

  #forget(watched: WatchedPage): void {
    const at = watched.row << ROW_SHIFT, own = this.#columns;
    const place = own[at], last = this.#pages.pop()!;
    if (last !== watched) {
      this.#pages[place - 1] = last;
      own[last.row << ROW_SHIFT] = place;
    }
    own[at] = own[at + ROW_END] = 0;
  }

  /** Moves what batches have changed of a small page to what its copy lacks. */
  #takeSpan(watched: WatchedPage): void {
    const at = watched.row << ROW_SHIFT, own = this.#columns;
    if (own[at + ROW_END] === 0) return;
    watched.add(own[at + ROW_START], own[at + ROW_END]);
    own[at + ROW_END] = 0;
  }

  #reserveRows(): void {
    const words = this.#table.ids.length << ROW_SHIFT;
    if (words <= this.#columns.length) return;
    const columns = new Int32Array(words);
    columns.set(this.#columns);
    this.#columns = columns;
  }

  #next(): number {
    return this.#version = this.#version % VERSION_MAX + 1;
  }

  /** Where slots or sizes may have become others, or the table was put back to an image, nothing is known any more. */
  #noticeMoves(): void {
    if (this.#table.moves === this.#moves) return;
    this.#moves = this.#table.moves;
    for (const watched of this.#pages) watched.isWhole = true;
  }

  /** Notes what is known of a page up to now. */
  #notice(watched: WatchedPage, log: TickRecords | undefined): void {
    const epoch = this.#table.epochs.low[watched.row];
    this.#takeSpan(watched);
    if (log === undefined) {
      if (epoch !== watched.epoch) watched.isWhole = true;
      watched.epoch = watched.tickEpoch = epoch;
      return;
    }
    const { row } = watched, hasRecords = row < log.heads.length && log.heads[row] !== 0;
    if (hasRecords) {
      watched.addRecords(log, watched.noted);
    } else if (epoch !== watched.epoch && epoch !== watched.tickEpoch) {
      // Epochs rise before pages change: this one was written with what stood there, or by somebody else.
      watched.isWhole = true;
      watched.tickEpoch = epoch;
    }
    this.#noteUntil(watched, log.used);
  }

  #noteUntil(watched: WatchedPage, used: number): void {
    if (watched.noted === 0) this.#inTick.push(watched);
    watched.noted = used;
  }

  #lookAtEpochs(isExplained: boolean): void {
    const { ids, epochs: { low } } = this.#table;
    for (let i = this.#pages.length - 1; i >= 0; i--) {
      const watched = this.#pages[i], { row } = watched;
      if (ids[row] !== watched.page) {
        this.#remove(watched);
        continue;
      }
      if (low[row] === watched.epoch) continue;
      if (!isExplained) watched.isWhole = true;
      watched.epoch = watched.tickEpoch = low[row];
    }
  }

  #isDirty(watched: WatchedPage): boolean {
    const { row, page, bytes } = watched, { epochs, ids } = this.#table;
    this.#takeSpan(watched);
    return watched.isUnknown || watched.ranges.count > 0 || epochs.low[row] !== watched.epoch ||
      ids[row] !== page || alignUp(this.#table.sizeOf(row), 4) !== bytes;
  }
}
