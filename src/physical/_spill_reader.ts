/**
 * Spill reader: pages come back, one by one or many together.
 *
 * A page that somebody reads is read straight into its new slot. Pages that a batch names are known before any of them
 * is looked at, so they come in the order in which they stand in the file, neighbours with one read, slots first: nothing
 * that has come back goes for those that follow. Each page's checksum is looked at before it counts as back.
 *
 * Cost: 4 to 6 µs a page alone, half of it for the two calls of the system; 2 µs together where they stand side by side.
 */

import { alignUp, crc32, MmsbError } from "../base/mod.ts";
import { ADDRESS_BYTES, type Arena } from "./arena.ts";
import type { SpillColumns } from "./_spill_columns.ts";
import { SLICE_BYTES } from "./_spill_writer.ts";
import type { PageTable } from "./page_table.ts";
import type { ResidentSlots } from "./residency_slots.ts";
import type { SpillFile } from "./spill_file.ts";

/** Pages whose slots are taken in one go. */
const TOGETHER_PAGES = 1024;
/** Bytes between two pages that are read along, as a second read would cost more. */
const GAP_BYTES = 16_384;
/** Copies of this many bytes and less are done word by word. */
const SHORT_BYTES = 1024;

/** What a reader works on. */
export interface ReaderParts {
  /** The pages. */
  readonly table: PageTable;
  /** Their slots. */
  readonly slots: ResidentSlots;
  /** Their bytes. */
  readonly arena: Arena;
  /** Where they stand. */
  readonly file: SpillFile;
  /** Where that is noted. */
  readonly columns: SpillColumns;
}

/** Brings pages back. */
export class SpillReader {
  /** Pages that came back. */
  returns = 0;
  /** Bytes of the slots that were taken for pages on their way. */
  comingBytes = 0;
  readonly #table: PageTable;
  readonly #slots: ResidentSlots;
  readonly #arena: Arena;
  readonly #file: SpillFile;
  readonly #columns: SpillColumns;
  /** Made when pages come back together for the first time. */
  #buffer = new Uint8Array(0);
  #words = new Int32Array(0);

  /** Begins with nothing read. */
  constructor({ table, slots, arena, file, columns }: ReaderParts) {
    this.#table = table;
    this.#slots = slots;
    this.#arena = arena;
    this.#file = file;
    this.#columns = columns;
  }

  /**
   * Brings a spilled page back.
   *
   * @returns Its slot.
   * @throws {MmsbError} what making room throws, `io`, `checksum`; nothing has changed then.
   */
  bring(row: number): number {
    // This may have other pages go, and so move this one in the file.
    const size = this.#table.sizeOf(row), slot = this.#slots.allocateUnset(size);
    try {
      this.#read(row, this.#arena.bytes(slot, this.#storedBytes(row)));
    } catch (error) {
      this.#slots.free(slot, size);
      throw error;
    }
    this.#settle(row, slot);
    return slot;
  }

  /**
   * Brings many spilled pages back.
   *
   * @param rows Their rows, each once, in any order; sorted by place afterwards.
   * @throws {MmsbError} as {@linkcode SpillReader.bring}; some may be back then, and stay.
   */
  bringAll(rows: number[]): void {
    if (rows.length === 1) return void this.bring(rows[0]);
    const { places } = this.#columns;
    rows.sort((a, b) => places[a] - places[b]);
    for (let first = 0; first < rows.length;) {
      let bytes = 0, end = first;
      do bytes += this.#storedBytes(rows[end++]); while (
        end < rows.length && end - first < TOGETHER_PAGES &&
        bytes + this.#storedBytes(rows[end]) <= SLICE_BYTES
      );
      this.#bringSome(rows.slice(first, end));
      first = end;
    }
  }

  /**
   * The bytes of a spilled page, which stays where it is.
   *
   * @throws {MmsbError} `io` or `checksum`.
   */
  copyOf(row: number): Uint8Array {
    const bytes = new Uint8Array(this.#storedBytes(row));
    this.#read(row, bytes);
    return bytes.subarray(0, this.#table.sizeOf(row));
  }

  #bringSome(rows: number[]): void {
    const table = this.#table, slots = new Int32Array(rows.length);
    let taken = 0, settled = 0;
    try {
      for (; taken < rows.length; taken++) {
        const size = table.sizeOf(rows[taken]);
        slots[taken] = this.#slots.allocateUnset(size);
        this.comingBytes += size;
      }
      // Making room may have moved some of them; those of one size are one as good as the other.
      for (let first = 0; first < rows.length;) {
        const end = this.#neighbours(rows, first);
        if (end === first + 1) this.#readAlone(rows[first], slots[first]);
        else this.#readTogether(rows, slots, first, end);
        for (; settled < end; settled++) this.#settle(rows[settled], slots[settled]);
        first = end;
      }
    } catch (error) {
      for (let i = settled; i < taken; i++) this.#slots.free(slots[i], table.sizeOf(rows[i]));
      throw error;
    } finally {
      this.comingBytes = 0;
    }
  }

  /** Behind the last page that is worth reading together with the first one. */
  #neighbours(rows: readonly number[], first: number): number {
    const { places } = this.#columns, start = places[rows[first]] * ADDRESS_BYTES;
    let end = start + this.#storedBytes(rows[first]), next = first + 1;
    for (; next < rows.length; next++) {
      const at = places[rows[next]] * ADDRESS_BYTES, nextEnd = at + this.#storedBytes(rows[next]);
      if (at < end || at - end > GAP_BYTES || nextEnd - start > SLICE_BYTES) break;
      end = nextEnd;
    }
    return next;
  }

  #readAlone(row: number, slot: number): void {
    this.#read(row, this.#arena.bytes(slot, this.#storedBytes(row)));
  }

  /** Reads neighbours at once and puts each into its slot. */
  #readTogether(rows: readonly number[], slots: Int32Array, first: number, end: number): void {
    const { places } = this.#columns, place = places[rows[first]], { words } = this.#arena;
    const spanEnd = places[rows[end - 1]] * ADDRESS_BYTES + this.#storedBytes(rows[end - 1]);
    const buffer = this.#span(spanEnd - place * ADDRESS_BYTES), from = this.#words;
    const count = this.#guarded(rows[first], () => this.#file.readSpan(place, buffer));
    for (let i = first; i < end; i++) {
      const row = rows[i], length = this.#storedBytes(row);
      const at = (places[row] - place) * ADDRESS_BYTES, bytes = buffer.subarray(at, at + length);
      this.#check(row, bytes, at + length <= count);
      if (length <= SHORT_BYTES) {
        const source = at >>> 2, target = slots[i] << 2;
        for (let k = 0; k < length >>> 2; k++) words[target + k] = from[source + k];
      } else {
        this.#arena.bytes(slots[i], length).set(bytes);
      }
    }
  }

  #span(bytes: number): Uint8Array {
    if (this.#buffer.length === 0) {
      this.#buffer = new Uint8Array(SLICE_BYTES);
      this.#words = new Int32Array(this.#buffer.buffer);
    }
    return this.#buffer.subarray(0, bytes);
  }

  /** A page's bytes stand in its slot. */
  #settle(row: number, slot: number): void {
    this.#file.release(this.#columns.places[row], this.#storedBytes(row));
    this.#table.setReturned(row, slot);
    this.#slots.own(slot, row);
    this.returns++;
  }

  #read(row: number, target: Uint8Array): void {
    const place = this.#columns.places[row];
    this.#check(row, target, this.#guarded(row, () => this.#file.read(place, target)));
  }

  #guarded<T>(row: number, read: () => T): T {
    try {
      return read();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new MmsbError(
        "io",
        `Cannot bring page ${this.#table.ids[row]} back from the spill file: ${reason}; try again`,
        { values: this.#whereabouts(row), cause },
      );
    }
  }

  #check(row: number, bytes: Uint8Array, isWhole: boolean): void {
    if (isWhole && (crc32(bytes) | 0) === this.#columns.checks[row]) return;
    // Who tries again shall see the file.
    this.#file.forgetAhead();
    throw new MmsbError(
      "checksum",
      `Cannot bring page ${
        this.#table.ids[row]
      } back as its bytes in the spill file "${this.#file.path}" are damaged: close the bus and open it again, its log is not concerned`,
      { values: this.#whereabouts(row) },
    );
  }

  #whereabouts(row: number) {
    return {
      page: this.#table.ids[row],
      path: this.#file.path,
      offset: this.#columns.places[row] * ADDRESS_BYTES,
      bytes: this.#storedBytes(row),
    };
  }

  #storedBytes(row: number): number {
    return alignUp(this.#table.sizeOf(row), ADDRESS_BYTES);
  }
}
