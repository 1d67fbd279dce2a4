/**
 * Page cursors: the one page that a rule reads or writes at the moment, as numbers.
 *
 * One cursor for each place in a binding serves all rules of a thread, so a firing allocates nothing and
 * stays in the processor's cache however many rules there are. A cursor points at a page only while
 * a rule runs; afterwards its page has no bytes, so a rule that kept one is refused.
 *
 * An output notes the old words of what it changes in the change log, joined where they follow one
 * another. Words that are written in any order but upwards may be noted twice; the firing puts
 * that right.
 *
 * Cost: an aligned number 1 to 3 ns, one that is not some 20 ns; a note 5 ns.
 *
 * @module
 */

import { checkBytes, checkInteger, MmsbError } from "../base/mod.ts";
import { type Arena, REGION_SHIFT } from "../physical/mod.ts";
import { type ChangeLog, RECORD_HEAD } from "./change_log.ts";
import type { Fields, StructSchema, TableSchema } from "../schema/mod.ts";
import type { RuleInput, RuleOutput, RuleStructOutput, RuleTable } from "./rule.ts";
import { RuleStructs } from "./rule_struct.ts";
import { tableBySchema } from "./table_region.ts";

const cell = new ArrayBuffer(8);
const cellBytes = new Uint8Array(cell);
const cellInt = new Int32Array(cell);
const cellFloat = new Float32Array(cell);
const cellDouble = new Float64Array(cell);
const cellBig = new BigInt64Array(cell);
const cellBigUnsigned = new BigUint64Array(cell);

const NO_IDS = new Uint32Array(1);

/** Bytes up to which a loop copies faster than a call. */
const LOOP_BYTES_MAX = 96;

/** Where a cursor is used, for messages. */
export interface CursorOwner {
  /** What a fault in a rule's use of a page was, for rules that catch it themselves. */
  fault: unknown;
  /** The table whose root the page in a row is. */
  tableOf(row: number): RuleTable;
  /** Called where words of an output may be noted twice. */
  tidyLater(): void;
  /** Whether numbers that are not finite are refused. */
  readonly isFinite: boolean;
}

/** A page that a rule reads. */
export class InputCursor implements RuleInput {
  /** Row of the page. */
  row = 0;
  /** Its slot. */
  slot = 0;
  /** Its bytes; 0 while the cursor points at none. */
  size = 0;
  /** Ids of pages by row. */
  ids: Uint32Array = NO_IDS;
  /** The arena's words. */
  words: Int32Array = cellInt;
  /** The arena's doubles. */
  doubles: Float64Array = cellDouble;
  /** The arena. */
  arena: Arena | undefined;
  /** Who uses it. */
  readonly owner: CursorOwner;
  #structs: RuleStructs | undefined;

  /** Points at no page. */
  constructor(owner: CursorOwner) {
    this.owner = owner;
  }

  /** Id of the page. */
  get id(): number {
    return this.ids[this.row];
  }

  /** Bytes of the page. */
  get byteLength(): number {
    return this.size;
  }

  /** The table that this page is the root of. */
  get table(): RuleTable {
    this.checkSpan(0, 1);
    return this.owner.tableOf(this.row);
  }

  /** The same, typed by its schema. */
  tableOf<F extends Fields>(schema: TableSchema<F>): RuleTable<F> {
    return tableBySchema(this.table, schema);
  }

  /** The page's fields as a schema lays them out; an input has no use of `set`. */
  struct<F extends Fields>(schema: StructSchema<F>): RuleStructOutput<F> {
    return (this.#structs ??= new RuleStructs(this)).of(schema);
  }

  /** A signed byte. */
  getInt8(offset: number): number {
    return this.getUint8(offset) << 24 >> 24;
  }

  /** A byte. */
  getUint8(offset: number): number {
    this.checkSpan(offset, 1);
    return this.words[(this.slot << 2) + (offset >>> 2)] >>> ((offset & 3) << 3) & 0xff;
  }

  /** 16 bits, signed. */
  getInt16(offset: number): number {
    return this.getUint16(offset) << 16 >> 16;
  }

  /** 16 bits. */
  getUint16(offset: number): number {
    this.checkSpan(offset, 2);
    if ((offset & 3) === 3) return this.getUint8(offset) | this.getUint8(offset + 1) << 8;
    return this.words[(this.slot << 2) + (offset >>> 2)] >>> ((offset & 3) << 3) & 0xffff;
  }

  /** 32 bits, signed. */
  getInt32(offset: number): number {
    const at = offset >>> 0;
    if (at !== offset || (at & 3) !== 0 || at + 4 > this.size) {
      return this.#cut(offset, 4), cellInt[0];
    }
    return this.words[(this.slot << 2) + (at >>> 2)];
  }

  /** 32 bits. */
  getUint32(offset: number): number {
    return this.getInt32(offset) >>> 0;
  }

  /** A single. */
  getFloat32(offset: number): number {
    const word = this.getInt32(offset);
    cellInt[0] = word;
    return cellFloat[0];
  }

  /** A double. */
  getFloat64(offset: number): number {
    const at = offset >>> 0;
    if (at !== offset || (at & 7) !== 0 || at + 8 > this.size) {
      return this.#cut(offset, 8), cellDouble[0];
    }
    return this.doubles[(this.slot << 1) + (at >>> 3)];
  }

  /** 64 bits, signed. */
  getBigInt64(offset: number): bigint {
    this.#cut(offset, 8);
    return cellBig[0];
  }

  /** 64 bits. */
  getBigUint64(offset: number): bigint {
    this.#cut(offset, 8);
    return cellBigUnsigned[0];
  }

  /** Copies bytes. */
  readInto<T extends Uint8Array>(target: T, offset = 0): T {
    const { length } = checkBytes("target", target);
    this.checkSpan(offset, length);
    const region = this.arena!.region(this.slot >>> REGION_SHIFT);
    const from = (this.slot & (1 << REGION_SHIFT) - 1) * 16 + offset;
    if (length <= LOOP_BYTES_MAX) {
      for (let i = 0; i < length; i++) target[i] = region[from + i];
    } else {
      target.set(region.subarray(from, from + length));
    }
    return target;
  }

  /** Throws where a span is none of the page. */
  checkSpan(offset: number, length: number): void {
    if (offset >>> 0 === offset && offset + length <= this.size) return;
    refuseSpan(this, offset, length);
  }

  /** Copies a number's bytes to the cell; few rules have numbers that are not aligned. */
  #cut(offset: number, length: number): void {
    this.checkSpan(offset, length);
    const base = this.slot << 2;
    for (let i = 0; i < length; i++) {
      const at = offset + i;
      cellBytes[i] = this.words[base + (at >>> 2)] >>> ((at & 3) << 3);
    }
  }
}

/** A page that a rule writes. */
export class OutputCursor extends InputCursor implements RuleOutput {
  /** Where old words go. */
  log: ChangeLog | undefined;
  /** Number of the firing that it points at a page for. */
  firing = -1;
  /** Whether words were written in any order but upwards, so that some may be noted twice. */
  unordered = false;
  /** The last record of this page. */
  #last = 0;
  /** Where the next record would join it: word of the page, and end of the log. */
  end = -1;
  #tail = 0;

  /** Sets a signed byte. */
  setInt8(offset: number, value: number): void {
    this.#setPart(offset, value, 1);
  }

  /** Sets a byte. */
  setUint8(offset: number, value: number): void {
    this.#setPart(offset, value, 1);
  }

  /** Sets 16 bits, signed. */
  setInt16(offset: number, value: number): void {
    this.#setPart(offset, value, 2);
  }

  /** Sets 16 bits. */
  setUint16(offset: number, value: number): void {
    this.#setPart(offset, value, 2);
  }

  /** Sets 32 bits, signed. */
  setInt32(offset: number, value: number): void {
    const at = offset >>> 0;
    if (at !== offset || (at & 3) !== 0 || at + 4 > this.size || typeof value !== "number") {
      this.#setPart(offset, value, 4);
      return;
    }
    const word = (this.slot << 2) + (at >>> 2), old = this.words[word], now = value | 0;
    if (old === now) return;
    this.words[word] = now;
    this.#note(at >>> 2, old);
  }

  /** Sets 32 bits. */
  setUint32(offset: number, value: number): void {
    this.setInt32(offset, value);
  }

  /** Sets a single. */
  setFloat32(offset: number, value: number): void {
    this.#checkNumber(value);
    cellFloat[0] = value;
    // A finite double may be no finite single.
    if (cellFloat[0] - cellFloat[0] !== 0 && this.owner.isFinite) this.#refuseNumber(value);
    this.setInt32(offset, cellInt[0]);
  }

  /** Sets a double. */
  setFloat64(offset: number, value: number): void {
    const at = offset >>> 0;
    if (
      at !== offset || (at & 7) !== 0 || at + 8 > this.size || typeof value !== "number" ||
      value - value !== 0
    ) {
      this.#setDouble(offset, value);
      return;
    }
    const { words } = this, word = (this.slot << 2) + (at >>> 2);
    const old0 = words[word], old1 = words[word + 1];
    this.doubles[word >>> 1] = value;
    if (((old0 ^ words[word]) | (old1 ^ words[word + 1])) !== 0) this.#note2(at >>> 2, old0, old1);
  }

  /** Sets 64 bits, signed. */
  setBigInt64(offset: number, value: bigint): void {
    if (typeof value !== "bigint") this.#refuseType(value, "a bigint");
    cellBig[0] = value;
    this.#setCell(offset);
  }

  /** Sets 64 bits. */
  setBigUint64(offset: number, value: bigint): void {
    this.setBigInt64(offset, value);
  }

  /** Sets bytes. */
  set(offset: number, bytes: Uint8Array): void {
    const { length } = checkBytes("bytes", bytes);
    this.checkSpan(offset, length);
    if (length === 0) return;
    this.#write(offset, length, (region, at) => {
      if (length > LOOP_BYTES_MAX) region.set(bytes, at);
      else for (let i = 0; i < length; i++) region[at + i] = bytes[i];
    });
  }

  /** Sets bytes to one value. */
  fill(value: number, offset = 0, length: number = this.size - offset): void {
    checkInteger("value", value, 0, 255);
    this.checkSpan(offset, length);
    if (length > 0) {
      this.#write(offset, length, (region, at) => region.fill(value, at, at + length));
    }
  }

  /** Sets a few bytes of one or two words. */
  #setPart(offset: number, value: number, width: number): void {
    if (typeof value !== "number") this.#refuseType(value, "a number");
    this.checkSpan(offset, width);
    for (let i = 0; i < width; i++) {
      const at = offset + i, word = (this.slot << 2) + (at >>> 2), shift = (at & 3) << 3;
      const old = this.words[word];
      const now = old & ~(0xff << shift) | (value >>> (i << 3) & 0xff) << shift;
      if (old === now) continue;
      this.words[word] = now;
      this.#note(at >>> 2, old);
    }
  }

  /** Doubles that are not finite, or not aligned, or none. */
  #setDouble(offset: number, value: number): void {
    this.#checkNumber(value);
    // One pattern of bits for all that are no number, so that the bytes do not depend on the engine.
    cellDouble[0] = Number.isNaN(value) ? NaN : value;
    this.#setCell(offset);
  }

  /** Sets eight bytes from the cell. */
  #setCell(offset: number): void {
    const low = cellInt[0], high = cellInt[1];
    this.checkSpan(offset, 8);
    this.#setPart(offset, low, 4);
    this.#setPart(offset + 4, high, 4);
  }

  #checkNumber(value: number): void {
    if (typeof value !== "number") this.#refuseType(value, "a number");
    if (value - value !== 0 && this.owner.isFinite) this.#refuseNumber(value);
  }

  /** Notes all words of a span, writes, and takes those back from both ends that did not change. */
  #write(offset: number, length: number, write: (region: Uint8Array, at: number) => void): void {
    const first = offset >>> 2, count = (offset + length + 3 >>> 2) - first;
    const { words } = this, base = (this.slot << 2) + first, log = this.log!;
    log.reserve(RECORD_HEAD + count);
    const at = log.used + RECORD_HEAD, old = log.words;
    for (let k = 0; k < count; k++) old[at + k] = words[base + k];
    const region = this.arena!.region(this.slot >>> REGION_SHIFT);
    write(region, (this.slot & (1 << REGION_SHIFT) - 1) * 16 + offset);
    let low = 0, high = count;
    while (low < high && old[at + low] === words[base + low]) low++;
    while (high > low && old[at + high - 1] === words[base + high - 1]) high--;
    if (low === high) return;
    old.copyWithin(at, at + low, at + high);
    this.#begin(log, old, log.used, first + low, high - low);
    log.used = at + high - low;
    this.#tail = log.used;
  }

  /** Notes one old word. */
  #note(word: number, old: number): void {
    const log = this.log!, at = log.used;
    if (at + 5 > log.words.length) log.reserve(5);
    const { words } = log;
    if (word === this.end && this.#tail === at) {
      words[at] = old;
      words[this.#last + 2]++;
      this.end = word + 1 | 0;
      this.#tail = log.used = at + 1 | 0;
      return;
    }
    this.#begin(log, words, at, word, 1);
    words[at + 4] = old;
    this.#tail = log.used = at + 5 | 0;
  }

  /** Notes two old words that follow each other. */
  #note2(word: number, old0: number, old1: number): void {
    const log = this.log!, at = log.used;
    if (at + 6 > log.words.length) log.reserve(6);
    const { words } = log;
    if (word === this.end && this.#tail === at) {
      words[at] = old0;
      words[at + 1] = old1;
      words[this.#last + 2] += 2;
      this.end = word + 2 | 0;
      this.#tail = log.used = at + 2 | 0;
      return;
    }
    this.#begin(log, words, at, word, 2);
    words[at + 4] = old0;
    words[at + 5] = old1;
    this.#tail = log.used = at + 6 | 0;
  }

  /** Writes a record's head at the end of the log. */
  #begin(log: ChangeLog, words: Int32Array, at: number, word: number, count: number): void {
    const { row } = this, { heads } = log, before = heads[row];
    if (before === 0) {
      log.touched[log.count] = row;
      log.count = log.count + 1 | 0;
    }
    heads[row] = at;
    words[at] = row;
    words[at + 1] = word;
    words[at + 2] = count;
    words[at + 3] = before;
    if (word < this.end) {
      this.unordered = true;
      this.owner.tidyLater();
    }
    this.#last = at;
    this.end = word + count | 0;
  }

  #refuseType(value: unknown, wanted: string): never {
    throw this.owner.fault = new MmsbError(
      "usage",
      `Cannot write a value of type ${typeof value}: give ${wanted}`,
      { values: { page: this.id } },
    );
  }

  #refuseNumber(value: number): never {
    throw this.owner.fault = new MmsbError(
      "usage",
      `Cannot write ${value}: the binding of the rule asks for finite numbers`,
      { values: { page: this.id, value } },
    );
  }
}

function refuseSpan(cursor: InputCursor, offset: unknown, length: number): never {
  const { id, size } = cursor;
  const message = size === 0
    ? "Cannot use a page of a rule that does not run: ask the context for it in each run"
    : `Cannot use ${length} bytes from byte ${String(offset)} of page ${id}: its size is ${size}`;
  const code = size === 0 ? "usage" : "out-of-bounds";
  throw cursor.owner.fault = new MmsbError(code, message, {
    values: { page: id, offset, length, size },
  });
}
