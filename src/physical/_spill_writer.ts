/**
 * Spill writer: pages go to the file, together, and are moved there so that it does not grow for ever.
 *
 * A page's slot is free when its bytes are written and not before, so a full disk loses nothing. After each write some
 * runs of which most has left are written anew, and some of what is free at the file's end is cut off: as much as keeps
 * the file below twice of what it holds, and no more, as it is part of somebody's pause.
 *
 * Cost: 0.1 to 0.4 ms for each 256 KiB, a third of it for the checksums; a microsecond a page besides.
 */

import { alignUp, crc32, MmsbError } from "../base/mod.ts";
import { ADDRESS_BYTES, type Arena } from "./arena.ts";
import type { SpillColumns } from "./_spill_columns.ts";
import type { PageTable } from "./page_table.ts";
import type { ResidentSlots } from "./residency_slots.ts";
import type { SpillFile } from "./spill_file.ts";

/** Bytes that go together, unless one page is larger. */
export const SLICE_BYTES: number = 256 * 1024;
/** Runs of the file that are moved after each write, while most of what it holds has left. */
const CLEANED_RUNS = 4;
/** Bytes that are moved after each write. */
const CLEANED_BYTES: number = 2 * SLICE_BYTES;
/** Copies of this many bytes and less are done word by word. */
const SHORT_BYTES = 1024;

/** What a writer works on. */
export interface WriterParts {
  /** The pages. */
  readonly table: PageTable;
  /** Their slots. */
  readonly slots: ResidentSlots;
  /** Their bytes. */
  readonly arena: Arena;
  /** Where they go. */
  readonly file: SpillFile;
  /** Where it is noted. */
  readonly columns: SpillColumns;
}

/** Writes pages out. */
export class SpillWriter {
  /** Pages that went. */
  evictions = 0;
  /** Writes of pages that went. */
  writes = 0;
  readonly #table: PageTable;
  readonly #slots: ResidentSlots;
  readonly #arena: Arena;
  readonly #file: SpillFile;
  readonly #columns: SpillColumns;
  readonly #buffer = new Uint8Array(SLICE_BYTES);
  readonly #words = new Int32Array(this.#buffer.buffer);

  /** Begins with nothing written. */
  constructor({ table, slots, arena, file, columns }: WriterParts) {
    this.#table = table;
    this.#slots = slots;
    this.#arena = arena;
    this.#file = file;
    this.#columns = columns;
  }

  /**
   * Has pages go, which are real and in memory.
   *
   * @throws {MmsbError} `memory-pressure`, `disk-full` or `io`; those that were not written are in memory as before.
   */
  write(rows: readonly number[]): void {
    for (let first = 0; first < rows.length;) {
      let bytes = 0, end = first;
      do bytes += this.#storedBytes(rows[end++]); while (
        end < rows.length && bytes + this.#storedBytes(rows[end]) <= SLICE_BYTES
      );
      this.#writeRun(Int32Array.from(rows.slice(first, end)), bytes);
      first = end;
    }
    this.tidy();
  }

  /** Moves some of what is left of runs that most has left, and cuts some of what is free at the end. */
  tidy(): void {
    for (let k = 0, bytes = 0; k < CLEANED_RUNS && bytes < CLEANED_BYTES; k++) {
      const moved = this.#clean();
      if (moved === 0) break;
      bytes += moved;
    }
    this.#file.trim();
  }

  #writeRun(rows: Int32Array, bytes: number): void {
    const table = this.#table, sums = new Int32Array(rows.length);
    // A page that is larger than the buffer is alone, and needs no copy.
    const isLarge = bytes > SLICE_BYTES, slot = table.slotInMemory(rows[0]);
    const all = isLarge ? this.#arena.bytes(slot, bytes) : this.#buffer.subarray(0, bytes);
    if (!isLarge) this.#gather(rows);
    for (let i = 0, at = 0; i < rows.length; i++) {
      const length = this.#storedBytes(rows[i]);
      sums[i] = crc32(all.subarray(at, at + length));
      at += length;
    }
    let place = this.#file.write(all, rows);
    const { places, checks } = this.#columns;
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i];
      places[row] = place;
      checks[row] = sums[i];
      place += this.#storedBytes(row) / ADDRESS_BYTES;
      this.#slots.free(table.slotInMemory(row), table.sizeOf(row));
      table.setSpilled(row);
    }
    this.evictions += rows.length;
    this.writes++;
  }

  /** Copies pages one behind the other. */
  #gather(rows: Int32Array): void {
    const { words } = this.#arena, to = this.#words;
    for (let i = 0, at = 0; i < rows.length; i++) {
      const length = this.#storedBytes(rows[i]), slot = this.#table.slotInMemory(rows[i]);
      if (length <= SHORT_BYTES) {
        const from = slot << 2, target = at >>> 2;
        for (let k = 0; k < length >>> 2; k++) to[target + k] = words[from + k];
      } else {
        this.#buffer.set(this.#arena.bytes(slot, length), at);
      }
      at += length;
    }
  }

  /** Moves what is left of a run that most has left to a run of its own; gives how many bytes, 0 where there is none. */
  #clean(): number {
    const file = this.#file, run = file.sparsest(SLICE_BYTES);
    if (run === undefined) return 0;
    const { places } = this.#columns;
    const rows = run.rows.filter((row) =>
      this.#table.isSpilled(row) && file.isIn(places[row], run)
    );
    let at = 0;
    try {
      for (const row of rows) {
        const length = this.#storedBytes(row);
        if (!file.read(places[row], this.#buffer.subarray(at, at + length))) return 0;
        at += length;
      }
      let place = file.write(this.#buffer.subarray(0, at), rows);
      // Their checksums go with them: what was damaged before is damaged there.
      for (const row of rows) {
        const length = this.#storedBytes(row);
        file.release(places[row], length);
        places[row] = place;
        place += length / ADDRESS_BYTES;
      }
      return at;
    } catch (error) {
      // They stay where they are.
      if (!(error instanceof MmsbError)) throw error;
      return 0;
    }
  }

  #storedBytes(row: number): number {
    return alignUp(this.#table.sizeOf(row), ADDRESS_BYTES);
  }
}
