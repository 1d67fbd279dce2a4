/**
 * Residency: which pages are in memory, and which stand in the spill file.
 *
 * A page that was spilled keeps its row: its slot is 0 and its limit negative, so that the checks of deltas refuse it
 * as they refuse a page that takes none, at no cost to them. Whoever reads a slot asks the table for it, and the
 * table asks here where it is 0. Pages that a tick works on are held until it is over, pages of rules and pages whose
 * live bytes were given out are pinned, and pages that no tick has made real stay where they are; any other may go.
 *
 * Who goes is chosen span by span of memory, by the second-chance rule: a hand goes round, a page that was used since
 * it came by last stays, one that was not goes. Where room of another size class is wanted, a span is emptied as a
 * whole, as only that gives its room away. Pages that go together are written together.
 *
 * Each page's bytes carry a checksum there, so that a damaged file is an error that names the page and never wrong bytes.
 *
 * Cost: 9 bytes a row, and 8 for its age; of time see docs/performance.md, "Spilling".
 *
 * @module
 */

import { alignUp, assert, crc32, MmsbError } from "../base/mod.ts";
import { monotonicNowMs } from "../temporal/mod.ts";
import { ADDRESS_BYTES, type Arena } from "./arena.ts";
import type { PageAges } from "./page_ages.ts";
import { type PageTable, RECORD_LIMIT, RECORD_SHIFT, RECORD_SLOT } from "./page_table.ts";
import type { ResidentSlots } from "./residency_slots.ts";
import { sizeOfClass } from "./size_class.ts";
import type { SpillFile } from "./spill_file.ts";

/** Bytes that are written together, unless one page is larger. */
const FLUSH_BYTES = 256 * 1024;
/** Pages from which on no more are looked for: each costs about a microsecond. */
const FLUSH_PAGES = 512;
/** Runs of the file that are moved together after each write, while most of what it holds has left. */
const CLEANED_RUNS = 4;
/** Share of the memory that is freed at least, where room is needed. */
const FREED_SHARE = 1 / 16;
/** Pages that get a second chance in one go; looking at more would be a pause. */
const CHANCES_MAX = 16_384;
/** Share of the memory from which on cold pages go before room is needed. */
const HIGH_WATER_SHARE = 7 / 8;
/** Copies of this many bytes and less are done word by word. */
const SHORT_BYTES = 256;

const USED = 1, HELD = 2, VIEWED = 4, RULE = 8;
const PINNED: number = HELD | VIEWED | RULE;

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
  /** Their bytes. */
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
  /** By row: where a spilled page stands, its checksum, and what keeps it in memory. */
  #places = new Uint32Array(0);
  #checks = new Int32Array(0);
  #marks = new Uint8Array(0);
  /** Rows held for the tick. */
  #held = new Int32Array(1024);
  #heldCount = 0;
  #isTick = false;
  /** Rows of pages that rules use. */
  #ruleRows: Int32Array = new Int32Array(0);
  /** Unit at which the next search for cold pages begins. */
  #hand = 1;
  /** Pages that go together. */
  #batch: number[] = [];
  #batchBytes = 0;
  #buffer = new Uint8Array(FLUSH_BYTES);
  #bufferWords = new Int32Array(this.#buffer.buffer);
  #spilled = 0;
  #evictions = 0;
  #returns = 0;
  #writes = 0;
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
    this.#table.absent = (row) => this.bring(row);
    this.#slots.makeRoom = (sizeClass) => this.#makeRoom(sizeClass);
    this.#grow();
  }

  /** Pages that are not in memory. */
  get spilled(): number {
    return this.#spilled;
  }

  /** A row has got a page. */
  begin(row: number, slot: number): void {
    if (row >= this.#marks.length) this.#grow();
    this.#marks[row] = USED;
    this.#slots.own(slot, row);
  }

  /** A page in memory has got another slot. */
  moved(row: number, slot: number): void {
    this.#slots.own(slot, row);
  }

  /** The page of a row is about to be removed. */
  forget(row: number): void {
    if (this.#table.isSpilled(row)) {
      this.file.release(this.#places[row], this.#storedBytes(row));
      this.#spilled--;
    }
    this.#marks[row] = 0;
  }

  /** The page of a row is used. */
  use(row: number): void {
    this.#marks[row] |= USED;
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
    const table = this.#table;
    if (!table.isSpilled(row)) return table.slotInMemory(row);
    const started = this.#pause();
    try {
      return this.#return(row);
    } finally {
      this.#paused(started);
    }
  }

  #return(row: number): number {
    // This may write other pages, and so move this one in the file.
    const size = this.#table.sizeOf(row), slot = this.#slots.allocateUnset(size);
    const bytes = this.#arena.bytes(slot, this.#storedBytes(row));
    try {
      this.#read(row, bytes);
    } catch (error) {
      this.#slots.free(slot, size);
      throw error;
    }
    this.file.release(this.#places[row], bytes.length);
    this.#table.setReturned(row, slot);
    this.#slots.own(slot, row);
    this.#spilled--;
    this.#returns++;
    this.use(row);
    if (this.#isTick) this.#hold(row);
    return slot;
  }

  /**
   * The bytes of a spilled page, which stays where it is.
   *
   * @throws {MmsbError} `io` or `checksum` where they cannot be had.
   */
  copyOf(row: number): Uint8Array {
    const bytes = new Uint8Array(this.#storedBytes(row));
    this.#read(row, bytes);
    return bytes.subarray(0, this.#table.sizeOf(row));
  }

  /** Has all pages that come back held from now on. */
  beginTick(): void {
    this.#isTick = true;
  }

  /** Lets go of all pages that were held. */
  endTick(): void {
    const marks = this.#marks, held = this.#held;
    for (let i = 0; i < this.#heldCount; i++) marks[held[i]] &= ~HELD;
    this.#heldCount = 0;
    this.#isTick = false;
  }

  /**
   * Brings back the pages that some rows name and holds them; ids of no page are passed over.
   *
   * @throws {MmsbError} as {@linkcode Residency.bring}; none of these pages is held then that was not before.
   */
  holdPages(pages: ArrayLike<number>, count: number): void {
    const { entries, blocks } = this.#table, before = this.#heldCount;
    try {
      for (let i = 0; i < count; i++) {
        const id = pages[i];
        const row = entries[blocks[id >>> 16] + (id & 0xffff)];
        if (row !== 0 && (this.#marks[row] & HELD) === 0) this.holdRow(row);
      }
    } catch (error) {
      for (let i = before; i < this.#heldCount; i++) this.#marks[this.#held[i]] &= ~HELD;
      this.#heldCount = before;
      throw error;
    }
  }

  /**
   * Holds the pages of some rows, as many as there is room for: at least one, or all of them.
   *
   * @param first Where in `pages` to begin.
   * @returns Behind the last row whose page is held.
   * @throws {MmsbError} as {@linkcode Residency.bring}.
   */
  holdSome(pages: ArrayLike<number>, first: number, count: number): number {
    const { entries, blocks } = this.#table, bytesMax = this.#arena.limitBytes / 2;
    let bytes = 0;
    for (let i = first; i < count; i++) {
      const id = pages[i];
      const row = entries[blocks[id >>> 16] + (id & 0xffff)];
      if (row === 0 || (this.#marks[row] & HELD) !== 0) continue;
      bytes += this.#storedBytes(row);
      if (bytes > bytesMax && i > first) return i;
      try {
        this.holdRow(row);
      } catch (error) {
        if (i > first && error instanceof MmsbError && error.code === "memory-pressure") return i;
        throw error;
      }
    }
    return count;
  }

  /** Brings back the page of a row and holds it until the tick is over. */
  holdRow(row: number): void {
    if (this.#table.records[row << RECORD_SHIFT | RECORD_SLOT] === 0) this.bring(row);
    if ((this.#marks[row] & HELD) === 0) this.#hold(row);
    this.use(row);
  }

  /** Brings back the page of a row; it stays in memory while it lives, as its live bytes are given out. */
  pinView(row: number): void {
    if (this.#table.isSpilled(row)) this.bring(row);
    this.#marks[row] |= VIEWED;
  }

  /** Keeps the pages of these rows, and of no others, in memory for rules. */
  pinRules(rows: Int32Array): void {
    const held = this.#heldCount;
    for (const row of rows) {
      if (this.#table.isSpilled(row)) this.#table.moves++;
      this.holdRow(row);
    }
    for (const row of this.#ruleRows) this.#marks[row] &= ~RULE;
    for (const row of rows) this.#marks[row] |= RULE;
    this.#ruleRows = rows;
    if (this.#isTick) return;
    for (let i = held; i < this.#heldCount; i++) this.#marks[this.#held[i]] &= ~HELD;
    this.#heldCount = held;
  }

  /**
   * A tick is over: where memory is nearly full, some pages go that were not used for long.
   *
   * What the disk says against it is passed over: who needs the room hears of it.
   */
  maintain(): void {
    const cold = this.#coldAfterTicks;
    if (cold === undefined) return;
    const { units, freeUnits } = this.#slots;
    if (units - freeUnits < units * HIGH_WATER_SHARE) return;
    const started = this.#pause();
    try {
      this.#sweepCold(cold);
    } catch (error) {
      this.#dropBatch();
      if (!(error instanceof MmsbError)) throw error;
    } finally {
      this.#paused(started);
    }
  }

  /** Counts. */
  statistics(): SpillStatistics {
    let pinnedPages = 0;
    for (const row of this.#table.rows()) {
      if ((this.#marks[row] & (VIEWED | RULE)) !== 0) pinnedPages++;
    }
    return {
      pages: this.#spilled,
      bytes: this.file.liveBytes,
      fileBytes: this.file.bytes,
      evictions: this.#evictions,
      returns: this.#returns,
      writes: this.#writes,
      bytesWritten: this.file.bytesWritten,
      pinnedPages,
    };
  }

  /** Forgets all pages. */
  clear(): void {
    this.file.clear();
    this.#marks.fill(0);
    this.#heldCount = this.#spilled = 0;
    this.#ruleRows = new Int32Array(0);
    this.#dropBatch();
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
      assert((this.#marks[row] & (VIEWED | RULE)) === 0, `row ${row} is not pinned and spilled`);
    }
    assert(spilled === this.#spilled, "spilled pages agree");
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

  #hold(row: number): void {
    if (this.#heldCount === this.#held.length) {
      const longer = new Int32Array(2 * this.#held.length);
      longer.set(this.#held);
      this.#held = longer;
    }
    this.#held[this.#heldCount++] = row;
    this.#marks[row] |= HELD;
  }

  #read(row: number, target: Uint8Array): void {
    const page = this.#table.ids[row], place = this.#places[row], { path } = this.file;
    const values = { page, path, offset: place * ADDRESS_BYTES, bytes: target.length };
    let isWhole: boolean;
    try {
      isWhole = this.file.read(place, target);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new MmsbError(
        "io",
        `Cannot bring page ${page} back from the spill file: ${reason}; try again`,
        { values, cause },
      );
    }
    if (isWhole && (crc32(target) | 0) === this.#checks[row]) return;
    throw new MmsbError(
      "checksum",
      `Cannot bring page ${page} back as its bytes in the spill file "${path}" are damaged: close the bus and open it again, its log is not concerned`,
      { values },
    );
  }

  /** Has pages go until there is a slot of a size class. */
  #makeRoom(sizeClass: number): void {
    const started = this.#pause(), units = this.#slots.unitsOf(sizeClass);
    try {
      if (units > 1 && this.#evictWindow(units, sizeClass, true)) return;
      if (this.#sweep(sizeClass, true)) return;
      if (units > 1 && this.#evictWindow(units, sizeClass, false)) return;
      if (this.#sweep(sizeClass, false)) return;
      this.#refuse(sizeClass);
    } catch (error) {
      this.#dropBatch();
      throw withoutRoom(error);
    } finally {
      this.#paused(started);
    }
  }

  /** Goes round the spans; whether there is room then. */
  #sweep(sizeClass: number, onlyUnused: boolean): boolean {
    const slots = this.#slots, { units } = slots, wanted = slots.unitsOf(sizeClass);
    const target = Math.min(
      FLUSH_BYTES,
      Math.max(sizeOfClass(sizeClass), this.#arena.limitBytes * FREED_SHARE),
    );
    let chances = onlyUnused ? CHANCES_MAX : Infinity;
    this.#toSpanStart();
    for (let left = units - 1; left > 0 && chances > 0;) {
      const unit = this.#hand, span = slots.spanAt(unit);
      const spanUnits = span < 0 ? 1 : slots.unitsOf(slots.classAt(span)) - (unit - span);
      this.#hand = unit + spanUnits >= units ? 1 : unit + spanUnits;
      left -= spanUnits;
      if (span < 0) continue;
      const owners = slots.ownersAt(span), isSame = slots.classAt(span) === sizeClass;
      chances -= owners.length;
      if (!isSame && slots.unitsOf(slots.classAt(span)) < wanted) continue;
      this.#collect(owners, onlyUnused, isSame);
      if (this.#batchBytes < target && this.#batch.length < FLUSH_PAGES) continue;
      this.#flush();
      if (slots.hasRoom(sizeClass)) return true;
    }
    this.#flush();
    return slots.hasRoom(sizeClass);
  }

  /** Takes pages of a span along: those that may go, or all, or none. */
  #collect(owners: Int32Array, onlyUnused: boolean, isSome: boolean): void {
    const marks = this.#marks, { records } = this.#table, first = this.#batch.length;
    let stays = false, bytes = 0;
    for (let i = 0; i < owners.length; i++) {
      const row = owners[i];
      if (row < 0) continue;
      const mark = marks[row];
      if (onlyUnused) marks[row] = mark & ~USED;
      const isBlocked = row === 0 || (mark & PINNED) !== 0 ||
        records[row << RECORD_SHIFT | RECORD_LIMIT] <= 0;
      if (isBlocked || onlyUnused && (mark & USED) !== 0) {
        stays = true;
      } else {
        this.#batch.push(row);
        bytes += this.#storedBytes(row);
      }
    }
    if (stays && !isSome) this.#batch.length = first;
    else this.#batchBytes += bytes;
  }

  /** Empties the first stretch of units from the hand on that can be; whether there is room then. */
  #evictWindow(count: number, sizeClass: number, onlyUnused: boolean): boolean {
    this.#toSpanStart();
    const slots = this.#slots, { units } = slots, first = this.#hand;
    let chances = onlyUnused ? CHANCES_MAX : Infinity, start = first, isRound = false;
    for (let unit = first; chances > 0;) {
      if (unit >= units) {
        if (isRound) break;
        isRound = true;
        unit = start = 1;
      }
      if (isRound && start >= first) break;
      const span = slots.spanAt(unit);
      if (span < 0) {
        unit++;
      } else {
        const owners = slots.ownersAt(span);
        chances -= owners.length;
        unit = span + slots.unitsOf(slots.classAt(span));
        if (!this.#mayGo(owners, onlyUnused)) start = unit;
      }
      if (unit - start < count) continue;
      for (let at = start; at < unit;) {
        const each = slots.spanAt(at);
        if (each >= 0) this.#collect(slots.ownersAt(each), false, false);
        at = each < 0 ? at + 1 : each + slots.unitsOf(slots.classAt(each));
      }
      this.#flush();
      this.#hand = unit >= units ? 1 : unit;
      if (slots.hasRoom(sizeClass)) return true;
      // It reaches into the next region.
      start = unit;
    }
    return false;
  }

  /** Spans are gone through whole, each once in a round. */
  #toSpanStart(): void {
    const span = this.#slots.spanAt(this.#hand);
    if (span >= 0) this.#hand = span;
  }

  #mayGo(owners: Int32Array, onlyUnused: boolean): boolean {
    const { records } = this.#table, stays = onlyUnused ? PINNED | USED : PINNED;
    for (let i = 0; i < owners.length; i++) {
      const row = owners[i];
      if (row < 0) continue;
      if (row === 0 || (this.#marks[row] & stays) !== 0) return false;
      if (records[row << RECORD_SHIFT | RECORD_LIMIT] <= 0) return false;
    }
    return true;
  }

  /** Has pages go that were not used for some ticks, as many as are written together. */
  #sweepCold(ticks: number): void {
    const slots = this.#slots, { records } = this.#table;
    let chances = CHANCES_MAX;
    this.#toSpanStart();
    for (let left = slots.units - 1; left > 0 && chances > 0 && !this.#isBatchFull();) {
      const unit = this.#hand, span = slots.spanAt(unit);
      const spanUnits = span < 0 ? 1 : slots.unitsOf(slots.classAt(span)) - (unit - span);
      this.#hand = unit + spanUnits >= slots.units ? 1 : unit + spanUnits;
      left -= spanUnits;
      if (span < 0) continue;
      const owners = slots.ownersAt(span);
      chances -= owners.length;
      for (let i = 0; i < owners.length; i++) {
        const row = owners[i];
        const isBlocked = row <= 0 || (this.#marks[row] & PINNED) !== 0 ||
          records[row << RECORD_SHIFT | RECORD_LIMIT] <= 0;
        if (isBlocked || this.#ages.ageOf(row) < ticks) continue;
        this.#batch.push(row);
        this.#batchBytes += this.#storedBytes(row);
      }
    }
    this.#flush();
  }

  #isBatchFull(): boolean {
    return this.#batchBytes >= FLUSH_BYTES || this.#batch.length >= FLUSH_PAGES;
  }

  #dropBatch(): void {
    this.#batch = [];
    this.#batchBytes = 0;
  }

  /** Writes the pages that go together; then, and not before, their slots are free. */
  #flush(): void {
    const batch = this.#batch;
    for (let first = 0; first < batch.length;) {
      let bytes = 0, end = first;
      do bytes += this.#storedBytes(batch[end++]); while (
        end < batch.length && bytes + this.#storedBytes(batch[end]) <= FLUSH_BYTES
      );
      this.#writeOut(batch, first, end, bytes);
      first = end;
    }
    this.#dropBatch();
    for (let k = 0; k < CLEANED_RUNS && this.#clean(); k++);
  }

  #writeOut(batch: readonly number[], first: number, end: number, bytes: number): void {
    this.#reserve(bytes);
    const table = this.#table,
      rows = new Int32Array(end - first),
      checks = new Int32Array(end - first);
    const { words } = this.#arena, to = this.#bufferWords;
    let at = 0;
    for (let i = first; i < end; i++) {
      const row = batch[i], length = this.#storedBytes(row), slot = table.slotInMemory(row);
      rows[i - first] = row;
      if (length <= SHORT_BYTES) {
        const from = slot << 2, target = at >>> 2;
        for (let k = 0; k < length >>> 2; k++) to[target + k] = words[from + k];
      } else {
        this.#buffer.set(this.#arena.bytes(slot, length), at);
      }
      checks[i - first] = crc32(this.#buffer.subarray(at, at + length));
      at += length;
    }
    let place = this.file.write(this.#buffer.subarray(0, bytes), rows);
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i], length = this.#storedBytes(row);
      this.#places[row] = place;
      this.#checks[row] = checks[i];
      this.#slots.free(table.slotInMemory(row), table.sizeOf(row));
      table.setSpilled(row);
      place += length / ADDRESS_BYTES;
    }
    this.#spilled += rows.length;
    this.#evictions += rows.length;
    this.#writes++;
  }

  /** Moves what is left of a run that most has left to a run of its own; gives whether there was one. */
  #clean(): boolean {
    const { file } = this, run = file.sparsest(FLUSH_BYTES);
    if (run === undefined) return false;
    const rows = run.rows.filter((row) =>
      this.#table.isSpilled(row) && file.isIn(this.#places[row], run)
    );
    this.#reserve(run.live);
    let at = 0;
    try {
      for (const row of rows) {
        const length = this.#storedBytes(row);
        if (!file.read(this.#places[row], this.#buffer.subarray(at, at + length))) return false;
        at += length;
      }
      let place = file.write(this.#buffer.subarray(0, at), rows);
      // Their checksums go with them: what was damaged before is damaged there.
      for (const row of rows) {
        const length = this.#storedBytes(row);
        file.release(this.#places[row], length);
        this.#places[row] = place;
        place += length / ADDRESS_BYTES;
      }
      return true;
    } catch (error) {
      // They stay where they are.
      if (!(error instanceof MmsbError)) throw error;
      return false;
    }
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#buffer.length) return;
    this.#buffer = new Uint8Array(alignUp(bytes, FLUSH_BYTES));
    this.#bufferWords = new Int32Array(this.#buffer.buffer);
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
    let heldBytes = 0, viewedBytes = 0, ruleBytes = 0, stagedBytes = 0;
    const table = this.#table;
    for (const row of table.rows()) {
      if (table.slotInMemory(row) === 0) continue;
      const mark = this.#marks[row], size = table.sizeOf(row);
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

  #grow(): void {
    const rows = this.#table.ids.length;
    if (rows <= this.#marks.length) return;
    const places = new Uint32Array(rows),
      checks = new Int32Array(rows),
      marks = new Uint8Array(rows);
    places.set(this.#places);
    checks.set(this.#checks);
    marks.set(this.#marks);
    this.#places = places;
    this.#checks = checks;
    this.#marks = marks;
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
