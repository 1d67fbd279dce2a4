/**
 * Residency: which pages are in memory, and which stand in the spill file.
 *
 * A page that was spilled keeps its row: its slot is 0 and its limit negative, so that the checks of deltas refuse it
 * as they refuse a page that takes none, at no cost to them. Whoever reads a slot asks the table for it, and the
 * table asks here where it is 0. Pages that a tick works on are held until it is over, pages of rules and pages whose
 * live bytes were given out are pinned, and pages that no tick has made real stay where they are; any other may go.
 *
 * This file says what must stay and keeps the accounts. Who goes is chosen in _spill_choice.ts, written in
 * _spill_writer.ts and read in _spill_reader.ts; each page's bytes carry a checksum there, so that a damaged file is an
 * error that names the page and never wrong bytes.
 *
 * A pause is bounded: one call that needs room has a slice of pages go (256 KiB, or as much as the page needs), and
 * behind each tick another slice goes before its room is needed, so that a tick rarely waits for that.
 *
 * Cost: 9 bytes a row, and 8 for its age; of time see docs/performance.md, "Spilling".
 *
 * @module
 */

import { alignUp, assert, MmsbError } from "../base/mod.ts";
import { monotonicNowMs } from "../temporal/mod.ts";
import { ADDRESS_BYTES, type Arena } from "./arena.ts";
import { SpillChoice } from "./_spill_choice.ts";
import { HELD, RULE, SpillColumns, USED, VIEWED } from "./_spill_columns.ts";
import { SpillReader } from "./_spill_reader.ts";
import { SpillWriter } from "./_spill_writer.ts";
import type { PageAges } from "./page_ages.ts";
import { type PageTable, RECORD_SHIFT, RECORD_SLOT } from "./page_table.ts";
import type { ResidentSlots } from "./residency_slots.ts";
import { sizeOfClass } from "./size_class.ts";
import type { SpillFile } from "./spill_file.ts";

/** Is told how long each pause was. */
export interface PauseRecorder {
  /** A pause. */
  record(elapsedMs: number): void;
}

/** What a residency is over. */
export interface ResidencyParts {
  /** The pages. */
  readonly table: PageTable;
  /** Their slots. */
  readonly slots: ResidentSlots;
  /** Their bytes. */
  readonly arena: Arena;
  /** Where they go. */
  readonly file: SpillFile;
  /** Their ages. */
  readonly ages: PageAges;
  /** Ticks from which on a page that was not used goes before room is needed; never, where it is not given. */
  readonly coldAfterTicks?: number;
}

/** What was spilled and what came back. */
export interface SpillStatistics {
  /** Pages that are in the spill file now. */
  readonly pages: number;
  /** What they take there: their bytes, of each page rounded up to 16. */
  readonly bytes: number;
  /** Bytes of the file. */
  readonly fileBytes: number;
  /** Pages that went. */
  readonly evictions: number;
  /** Pages that came back. */
  readonly returns: number;
  /** Writes to the file. */
  readonly writes: number;
  /** Bytes written to it. */
  readonly bytesWritten: number;
  /** Pages that rules or live views keep in memory. */
  readonly pinnedPages: number;
}

/** Which pages of one store are in memory. */
export class Residency {
  /** The spill file. */
  readonly file: SpillFile;
  /** Is told of pauses, where somebody wants to know. */
  pauses: PauseRecorder | undefined;
  readonly #table: PageTable;
  readonly #slots: ResidentSlots;
  readonly #arena: Arena;
  readonly #ages: PageAges;
  readonly #coldAfterTicks: number | undefined;
  readonly #columns: SpillColumns;
  readonly #choice: SpillChoice;
  readonly #writer: SpillWriter;
  readonly #reader: SpillReader;
  /** Spilled pages that were removed or forgotten. */
  #gone = 0;
  #isTick = false;
  /** Rows of pages that rules use. */
  #ruleRows: Int32Array = new Int32Array(0);
  /** Whether a pause is being timed: what happens in it is part of it. */
  #isPausing = false;

  /** Begins with all pages in memory. */
  constructor(parts: ResidencyParts) {
    this.#table = parts.table;
    this.#slots = parts.slots;
    this.#arena = parts.arena;
    this.file = parts.file;
    this.#ages = parts.ages;
    this.#coldAfterTicks = parts.coldAfterTicks;
    const columns = this.#columns = new SpillColumns(parts.table), all = { ...parts, columns };
    const writer = this.#writer = new SpillWriter(all);
    this.#reader = new SpillReader(all);
    this.#choice = new SpillChoice({ ...all, writer });
    this.#table.absent = (row) => this.bring(row);
    this.#slots.makeRoom = (sizeClass) => this.#makeRoom(sizeClass);
  }

  /** Pages that are not in memory. */
  get spilled(): number {
    return this.#writer.evictions - this.#reader.returns - this.#gone;
  }

  /** A row has got a page. */
  begin(row: number, slot: number): void {
    if (row >= this.#columns.marks.length) this.#columns.grow();
    this.#columns.marks[row] = USED;
    this.#slots.own(slot, row);
  }

  /** A page in memory has got another slot. */
  moved(row: number, slot: number): void {
    this.#slots.own(slot, row);
  }

  /** The page of a row is about to be removed. */
  forget(row: number): void {
    if (this.#table.isSpilled(row)) {
      this.file.release(this.#columns.places[row], this.#storedBytes(row));
      this.#gone++;
    }
    this.#columns.marks[row] = 0;
  }

  /** The page of a row is used. */
  use(row: number): void {
    this.#columns.marks[row] |= USED;
    this.#ages.touch(row);
  }

  /**
   * Brings a page back, if it is not in memory.
   *
   * @returns Its slot, 0 where there is no page.
   * @throws {MmsbError} `memory-pressure` or `disk-full` where there is no room, `io` or `checksum` where its
   * bytes cannot be had. Nothing has changed then.
   */
  bring(row: number): number {
    if (!this.#table.isSpilled(row)) return this.#table.slotInMemory(row);
    const started = this.#pause();
    try {
      const slot = this.#reader.bring(row);
      this.use(row);
      if (this.#isTick && (this.#columns.marks[row] & HELD) === 0) this.#columns.hold(row);
      return slot;
    } finally {
      this.#paused(started);
    }
  }

  /**
   * The bytes of a spilled page, which stays where it is.
   *
   * @throws {MmsbError} `io` or `checksum` where they cannot be had.
   */
  copyOf(row: number): Uint8Array {
    return this.#reader.copyOf(row);
  }

  /** Has all pages that come back held from now on. */
  beginTick(): void {
    this.#isTick = true;
  }

  /** Has pages that come back in a tick go again as any other, while something only reads them. */
  reading<T>(read: () => T): T {
    const isTick = this.#isTick;
    this.#isTick = false;
    try {
      return read();
    } finally {
      this.#isTick = isTick;
    }
  }

  /** Lets go of all pages that were held. */
  endTick(): void {
    this.#columns.letGo(0);
    this.#isTick = false;
  }

  /**
   * Brings back the pages that some rows name and holds them; ids of no page are passed over.
   *
   * @throws {MmsbError} as {@linkcode Residency.bring}; none of these pages is held then that was not before.
   */
  holdPages(pages: ArrayLike<number>, count: number): void {
    this.#holdUpTo(pages, 0, count, Infinity);
  }

  /**
   * Holds the pages of some rows, as many as there is room for: at least one, or all of them.
   *
   * @param first Where in `pages` to begin.
   * @returns Behind the last row whose page is held.
   * @throws {MmsbError} as {@linkcode Residency.bring}.
   */
  holdSome(pages: ArrayLike<number>, first: number, count: number): number {
    // Half of it may be pinned, and what is free may be free in small pieces.
    for (let bytes = this.#arena.limitBytes / 2;; bytes /= 4) {
      try {
        return this.#holdUpTo(pages, first, count, bytes);
      } catch (error) {
        const isTooMuch = error instanceof MmsbError && error.code === "memory-pressure";
        if (!isTooMuch || bytes < ADDRESS_BYTES) throw error;
      }
    }
  }

  /** Holds the pages of some rows, up to so many bytes of them and one page at least; gives behind the last row. */
  #holdUpTo(
    pages: ArrayLike<number>,
    first: number,
    count: number,
    bytesMax: number,
  ): number {
    const columns = this.#columns, { marks } = columns, before = columns.heldCount;
    const { entries, blocks, records } = this.#table, absent: number[] = [];
    let bytes = 0, end = first;
    // All are held before any comes back, or it would have another one go that is named as well.
    for (; end < count; end++) {
      const id = pages[end], row = entries[blocks[id >>> 16] + (id & 0xffff)];
      if (row === 0 || (marks[row] & HELD) !== 0) continue;
      bytes += this.#storedBytes(row);
      if (bytes > bytesMax && end > first) break;
      columns.hold(row);
      if (records[row << RECORD_SHIFT | RECORD_SLOT] === 0) absent.push(row);
      else this.use(row);
    }
    if (absent.length === 0) return end;
    const started = this.#pause();
    try {
      this.#reader.bringAll(absent);
      for (const row of absent) this.use(row);
    } catch (error) {
      columns.letGo(before);
      throw error;
    } finally {
      this.#paused(started);
    }
    return end;
  }

  /** Brings back the page of a row and holds it until the tick is over. */
  holdRow(row: number): void {
    if (this.#table.isSpilled(row)) this.bring(row);
    if ((this.#columns.marks[row] & HELD) === 0) this.#columns.hold(row);
    this.use(row);
  }

  /** Brings back the page of a row; it stays in memory while it lives, as its live bytes are given out. */
  pinView(row: number): void {
    if (this.#table.isSpilled(row)) this.bring(row);
    this.#columns.marks[row] |= VIEWED;
  }

  /**
   * Keeps the pages of these rows, and of no others, in memory for rules.
   *
   * @throws {MmsbError} as {@linkcode Residency.bring}; those that were kept before are kept then.
   */
  pinRules(rows: Int32Array): void {
    const columns = this.#columns, { marks } = columns, held = columns.heldCount;
    try {
      for (const row of rows) {
        if (this.#table.isSpilled(row)) this.#table.moves++;
        this.holdRow(row);
      }
      for (const row of this.#ruleRows) marks[row] &= ~RULE;
      for (const row of rows) marks[row] |= RULE;
      this.#ruleRows = rows;
    } finally {
      if (!this.#isTick) columns.letGo(held);
    }
  }

  /**
   * A tick is over: where little room is left, a slice of pages goes that were not used for long.
   *
   * What the disk says against it is passed over: who needs the room hears of it.
   */
  maintain(): void {
    const started = this.#pause();
    try {
      const { evictions } = this.#writer;
      this.#choice.goAhead(this.#coldAfterTicks);
      if (this.#writer.evictions === evictions) this.#writer.tidy();
    } catch (error) {
      this.#choice.drop();
      if (!(error instanceof MmsbError)) throw error;
    } finally {
      this.#paused(started);
    }
  }

  /** Counts. */
  statistics(): SpillStatistics {
    const { marks } = this.#columns;
    let pinnedPages = 0;
    // Rows without a page have no marks.
    for (let row = this.#table.rowsEnd - 1; row > 0; row--) {
      if ((marks[row] & (VIEWED | RULE)) !== 0) pinnedPages++;
    }
    return {
      pages: this.spilled,
      bytes: this.file.liveBytes,
      fileBytes: this.file.bytes,
      evictions: this.#writer.evictions,
      returns: this.#reader.returns,
      writes: this.#writer.writes,
      bytesWritten: this.file.bytesWritten,
      pinnedPages,
    };
  }

  /** Forgets all pages. */
  clear(): void {
    this.#gone += this.spilled;
    this.file.clear();
    this.#columns.clear();
    this.#choice.clear();
    this.#ruleRows = new Int32Array(0);
  }

  /** Removes the spill file; spilled pages cannot be read any more. */
  close(): void {
    this.file.close();
  }

  /** Checks that each page is in memory or in the file, and that both know it. */
  checkInvariants(): void {
    this.file.checkInvariants();
    this.#ages.checkInvariants();
    let spilled = 0, bytes = 0;
    for (const row of this.#table.rows()) {
      if (!this.#table.isSpilled(row)) continue;
      spilled++;
      bytes += this.#storedBytes(row);
      assert(this.#table.isActive(row), `the spilled page of row ${row} is real`);
      assert(
        (this.#columns.marks[row] & (VIEWED | RULE)) === 0,
        `row ${row} is not pinned and spilled`,
      );
    }
    assert(spilled === this.spilled, "spilled pages agree");
    assert(bytes === this.file.liveBytes, "bytes of spilled pages agree");
    const slots = this.#slots;
    let owned = 0;
    for (let unit = 1; unit < slots.units; unit++) {
      if (slots.spanAt(unit) !== unit) continue;
      const slotUnits = sizeOfClass(slots.classAt(unit)) / ADDRESS_BYTES;
      slots.ownersAt(unit).forEach((row, index) => {
        if (row <= 0) return;
        owned++;
        const address = unit * slots.unitBytes / ADDRESS_BYTES + index * slotUnits;
        assert(this.#table.slotInMemory(row) === address, `slot ${address} is row ${row}'s`);
      });
    }
    assert(owned + spilled === this.#table.size, "each page is in memory or spilled");
  }

  #storedBytes(row: number): number {
    return alignUp(this.#table.sizeOf(row), ADDRESS_BYTES);
  }

  /** Has pages go until there is a slot of a size class. */
  #makeRoom(sizeClass: number): void {
    const started = this.#pause();
    try {
      if (!this.#choice.makeRoom(sizeClass)) this.#refuse(sizeClass);
    } catch (error) {
      this.#choice.drop();
      throw withoutRoom(error);
    } finally {
      this.#paused(started);
    }
  }

  /** When a pause began; negative in the middle of one, and where nobody wants to know. */
  #pause(): number {
    if (this.#isPausing || this.pauses === undefined) return -1;
    this.#isPausing = true;
    return monotonicNowMs();
  }

  #paused(started: number): void {
    if (started < 0) return;
    this.#isPausing = false;
    this.pauses?.record(monotonicNowMs() - started);
  }

  #refuse(sizeClass: number): never {
    let heldBytes = this.#reader.comingBytes, viewedBytes = 0, ruleBytes = 0, stagedBytes = 0;
    const table = this.#table;
    for (const row of table.rows()) {
      if (table.slotInMemory(row) === 0) continue;
      const mark = this.#columns.marks[row], size = table.sizeOf(row);
      if ((mark & RULE) !== 0) ruleBytes += size;
      else if ((mark & VIEWED) !== 0) viewedBytes += size;
      else if ((mark & HELD) !== 0) heldBytes += size;
      else if (!table.isActive(row)) stagedBytes += size;
    }
    const bytes = sizeOfClass(sizeClass), { limitBytes } = this.#arena;
    throw new MmsbError(
      "memory-pressure",
      `Cannot find room for a page of ${bytes} bytes as what is in memory cannot be spilled now: ${heldBytes} bytes are used by this tick, ${stagedBytes} by pages of no tick yet, ${ruleBytes} by rules and ${viewedBytes} are pages whose view() was given out, of ${limitBytes} in all; tick with less at a time, or open the bus with a larger memoryLimitBytes`,
      { values: { bytes, heldBytes, stagedBytes, ruleBytes, viewedBytes, limitBytes } },
    );
  }
}

/** What the disk said, with what it means here. */
function withoutRoom(error: unknown): unknown {
  if (!(error instanceof MmsbError) || error.code === "memory-pressure") return error;
  return new MmsbError(
    error.code,
    `Cannot make room in memory as the spill file cannot be written: ${error.message}; free some space and try again, nothing is lost`,
    { values: error.values, cause: error },
  );
}
