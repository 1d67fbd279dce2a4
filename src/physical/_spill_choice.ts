/**
 * Spill choice: which pages go.
 *
 * Memory is gone through span by span, by the second-chance rule: a hand goes round, a page that was used since it came
 * by last stays, one that was not goes. Where room of another size class is wanted, a span is emptied as a whole, as
 * only that gives its room away; for a page of more than one unit, a stretch of spans side by side. If all that one call
 * may look at was used, any page goes that may: a page that is used and goes comes back, a longer look would be a pause.
 *
 * Cost: some ns a slot looked at, for at most 8,192 of them; all of memory only where nearly all of it is pinned.
 */

import { alignUp } from "../base/mod.ts";
import { ADDRESS_BYTES, type Arena } from "./arena.ts";
import { PINNED, type SpillColumns, USED } from "./_spill_columns.ts";
import { SLICE_BYTES, type SpillWriter } from "./_spill_writer.ts";
import type { PageAges } from "./page_ages.ts";
import { type PageTable, RECORD_LIMIT, RECORD_SHIFT } from "./page_table.ts";
import type { ResidentSlots } from "./residency_slots.ts";
import { sizeOfClass } from "./size_class.ts";

/** Pages from which on no more are looked for: each costs up to a microsecond. */
const SLICE_PAGES = 512;
/** Pages of the very first slice; each further one may have twice as many, while V8 compiles what it runs through. */
const FIRST_SLICE_PAGES = 64;
/** Share of the memory that is freed at least, where room is needed, and that is kept free where it may be. */
const FREED_SHARE = 1 / 16;
/** Slots that are looked at in one go. */
const CHANCES_MAX = 8192;
/** Share of the memory from which on cold pages go before room is needed. */
const HIGH_WATER_SHARE = 7 / 8;
const NO_CLASS = -1;

/** What a choice is made from. */
export interface ChoiceParts {
  /** The pages. */
  readonly table: PageTable;
  /** Their slots. */
  readonly slots: ResidentSlots;
  /** Their bytes. */
  readonly arena: Arena;
  /** Their ages. */
  readonly ages: PageAges;
  /** What keeps them in memory. */
  readonly columns: SpillColumns;
  /** Takes those that go. */
  readonly writer: SpillWriter;
}

/** Chooses who goes, and has it go. */
export class SpillChoice {
  readonly #table: PageTable;
  readonly #slots: ResidentSlots;
  readonly #ages: PageAges;
  readonly #columns: SpillColumns;
  readonly #writer: SpillWriter;
  /** Bytes that go where one page more is wanted. */
  readonly #sliceBytes: number;
  /** Unit at which the next search begins, and the slot in its span. */
  #hand = 1;
  #handSlot = 0;
  /** Pages that go together. */
  #batch: number[] = [];
  #batchBytes = 0;
  #pagesMax = FIRST_SLICE_PAGES;
  /** The size class that there was no room for last. */
  #wanted = NO_CLASS;

  /** Begins at the start of memory. */
  constructor({ table, slots, arena, ages, columns, writer }: ChoiceParts) {
    this.#table = table;
    this.#slots = slots;
    this.#ages = ages;
    this.#columns = columns;
    this.#writer = writer;
    this.#sliceBytes = Math.min(SLICE_BYTES, arena.limitBytes * FREED_SHARE);
  }

  /**
   * Has pages go until there is a slot of a size class.
   *
   * @returns Whether there is one.
   * @throws {MmsbError} what the file says; what had not gone stays.
   */
  makeRoom(sizeClass: number): boolean {
    const units = this.#slots.unitsOf(sizeClass);
    this.#wanted = sizeClass;
    if (units > 1 && this.#emptyStretch(units, sizeClass, true)) return true;
    if (this.#sweep(sizeClass, true)) return true;
    if (units > 1 && this.#emptyStretch(units, sizeClass, false)) return true;
    return this.#sweep(sizeClass, false);
  }

  /**
   * Has a slice of pages go before room is needed, where there was none for their size before and little is left, or
   * where memory is nearly full of pages that were not used for some ticks.
   */
  goAhead(coldAfterTicks: number | undefined): void {
    const slots = this.#slots, { units, freeUnits } = slots, wanted = this.#wanted;
    if (coldAfterTicks !== undefined && units - freeUnits >= units * HIGH_WATER_SHARE) {
      this.#sweepCold(coldAfterTicks);
    }
    if (wanted === NO_CLASS || slots.freeBytesFor(wanted) >= this.#sliceBytes) return;
    const wantedUnits = slots.unitsOf(wanted);
    if (wantedUnits === 1) this.#sweep(wanted, true, true);
    else if (!slots.hasRoom(wanted)) this.#emptyStretch(wantedUnits, wanted, true);
  }

  /** Forgets what it had in mind, after a failure. */
  drop(): void {
    this.#batch = [];
    this.#batchBytes = 0;
  }

  /** Begins anew. */
  clear(): void {
    this.drop();
    this.#wanted = NO_CLASS;
  }

  /** Goes round the spans, a slice at a time; whether there is room then. */
  #sweep(sizeClass: number, onlyUnused: boolean, onlyOne = false): boolean {
    const slots = this.#slots, wanted = slots.unitsOf(sizeClass);
    const target = Math.max(sizeOfClass(sizeClass), this.#sliceBytes);
    let chances = onlyUnused ? CHANCES_MAX : Infinity;
    this.#toSpanStart();
    for (let left = slots.units - 1; left > 0 && chances > 0;) {
      const unit = this.#hand, span = slots.spanAt(unit);
      const isSame = span >= 0 && slots.classAt(span) === sizeClass;
      if (span >= 0 && (isSame || slots.unitsOf(slots.classAt(span)) >= wanted)) {
        const owners = slots.ownersAt(span), first = isSame ? this.#handSlot : 0;
        const end = this.#collect(owners, first, onlyUnused, isSame);
        chances -= end - first;
        this.#handSlot = end < owners.length ? end : 0;
      }
      // What is left of a span is looked at next.
      if (this.#handSlot === 0) left -= this.#advance(unit, span);
      if (this.#batchBytes < target && this.#batch.length < this.#pagesMax) continue;
      this.#flush();
      if (onlyOne || slots.hasRoom(sizeClass)) return true;
    }
    this.#flush();
    return slots.hasRoom(sizeClass);
  }

  /**
   * Takes pages of a span along: those that may go, as many as make a slice, or all, or none.
   *
   * @returns Behind the last slot that was looked at.
   */
  #collect(owners: Int32Array, first: number, onlyUnused: boolean, isSome: boolean): number {
    const { marks } = this.#columns, { records } = this.#table, batch = this.#batch;
    const before = batch.length, pagesMax = isSome ? this.#pagesMax : Infinity;
    let stays = false, bytes = 0, slot = first;
    for (; slot < owners.length && batch.length < pagesMax; slot++) {
      const row = owners[slot];
      if (row < 0) continue;
      const mark = marks[row];
      if (onlyUnused) marks[row] = mark & ~USED;
      const limit = records[row << RECORD_SHIFT | RECORD_LIMIT];
      const isBlocked = row === 0 || (mark & PINNED) !== 0 || limit <= 0;
      if (isBlocked || onlyUnused && (mark & USED) !== 0) {
        stays = true;
      } else {
        batch.push(row);
        bytes += alignUp(limit, ADDRESS_BYTES);
      }
    }
    if (stays && !isSome) batch.length = before;
    else this.#batchBytes += bytes;
    return slot;
  }

  /** Empties the first stretch of units from the hand on that can be; whether there is room then. */
  #emptyStretch(count: number, sizeClass: number, onlyUnused: boolean): boolean {
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
        if (each >= 0) this.#collect(slots.ownersAt(each), 0, false, false);
        at = each < 0 ? at + 1 : each + slots.unitsOf(slots.classAt(each));
      }
      this.#flush();
      this.#hand = unit >= units ? 1 : unit;
      this.#handSlot = 0;
      if (slots.hasRoom(sizeClass)) return true;
      // It reaches into the next region.
      start = unit;
    }
    return false;
  }

  #mayGo(owners: Int32Array, onlyUnused: boolean): boolean {
    const { marks } = this.#columns, { records } = this.#table;
    const stays = onlyUnused ? PINNED | USED : PINNED;
    for (let i = 0; i < owners.length; i++) {
      const row = owners[i];
      if (row < 0) continue;
      if (row === 0 || (marks[row] & stays) !== 0) return false;
      if (records[row << RECORD_SHIFT | RECORD_LIMIT] <= 0) return false;
    }
    return true;
  }

  /** Has pages go that were not used for some ticks, a slice of them. */
  #sweepCold(ticks: number): void {
    const slots = this.#slots, { records } = this.#table, { marks } = this.#columns;
    let chances = CHANCES_MAX;
    this.#toSpanStart();
    for (let left = slots.units - 1; left > 0 && chances > 0 && !this.#isFull();) {
      const unit = this.#hand, span = slots.spanAt(unit);
      left -= this.#advance(unit, span);
      if (span < 0) continue;
      const owners = slots.ownersAt(span);
      chances -= owners.length;
      for (let i = 0; i < owners.length; i++) {
        const row = owners[i];
        if (row <= 0 || (marks[row] & PINNED) !== 0 || this.#ages.ageOf(row) < ticks) continue;
        const limit = records[row << RECORD_SHIFT | RECORD_LIMIT];
        if (limit <= 0) continue;
        this.#batch.push(row);
        this.#batchBytes += alignUp(limit, ADDRESS_BYTES);
      }
    }
    this.#flush();
  }

  #isFull(): boolean {
    return this.#batchBytes >= this.#sliceBytes || this.#batch.length >= this.#pagesMax;
  }

  /** Spans are gone through whole, each once in a round. */
  #toSpanStart(): void {
    const span = this.#slots.spanAt(this.#hand);
    if (span < 0 || span !== this.#hand) this.#handSlot = 0;
    if (span >= 0) this.#hand = span;
  }

  /** Moves the hand behind a span; gives by how many units. */
  #advance(unit: number, span: number): number {
    const slots = this.#slots;
    const passed = span < 0 ? 1 : slots.unitsOf(slots.classAt(span)) - (unit - span);
    this.#hand = unit + passed >= slots.units ? 1 : unit + passed;
    this.#handSlot = 0;
    return passed;
  }

  #flush(): void {
    const batch = this.#batch;
    this.drop();
    if (batch.length === 0) return;
    this.#writer.write(batch);
    this.#pagesMax = Math.min(SLICE_PAGES, 2 * this.#pagesMax);
  }
}
