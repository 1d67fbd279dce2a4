/**
 * Old pages: a page as it was before the tick, for rules that are told what has changed.
 *
 * Nothing is copied: an index says for each word of the page which word of the change log held it, and a
 * word that has none is as it was.
 *
 * Cost: 4 bytes a word of the largest page seen, some 5 ns a word changed, 10 ns a number read.
 *
 * @module
 */

import { checkBytes, MmsbError } from "../base/mod.ts";
import { type ChangeLog, RECORD_HEAD } from "./change_log.ts";
import type { InputCursor } from "./page_cursor.ts";
import type { Fields, StructSchema } from "../schema/mod.ts";
import type { RulePage, RuleStruct } from "./rule.ts";
import { RuleStructs } from "./rule_struct.ts";

const cell = new ArrayBuffer(8);
const cellBytes = new Uint8Array(cell);
const cellInt = new Int32Array(cell);
const cellFloat = new Float32Array(cell);
const cellDouble = new Float64Array(cell);
const cellBig = new BigInt64Array(cell);
const cellBigUnsigned = new BigUint64Array(cell);
const WORDS_START = 64;

/** A page as it was. */
export class OldPage implements RulePage {
  /** Words that have changed, rising. */
  changed: Int32Array = new Int32Array(WORDS_START);
  /** Number of them. */
  count = 0;
  /** Whether it stands for a page. */
  isReady = false;
  readonly #page: InputCursor;
  /** For each word of the page where its old value stands in the log, 0 where it has not changed. */
  #places = new Int32Array(WORDS_START);
  #log: ChangeLog | undefined;
  #structs: RuleStructs | undefined;

  /** Of the page that a cursor points at. */
  constructor(page: InputCursor) {
    this.#page = page;
  }

  /** Reads the records of the page that the cursor points at. */
  begin(log: ChangeLog): void {
    const { words, heads } = log, page = this.#page;
    const size = page.size + 3 >>> 2;
    if (size > this.#places.length) this.#places = new Int32Array(2 ** Math.ceil(Math.log2(size)));
    this.#log = log;
    const places = this.#places;
    let count = 0, last = -1, isSorted = true;
    for (let at = heads[page.row]; at !== 0; at = words[at + 3]) {
      const length = words[at + 2], first = words[at + 1];
      if (count + length > this.changed.length) this.#grow(count + length, count);
      for (let k = 0; k < length; k++) {
        const word = first + k;
        if (places[word] === 0) {
          this.changed[count++] = word;
          if (word < last) isSorted = false;
          last = word;
        }
        places[word] = at + RECORD_HEAD + k;
      }
    }
    this.count = count;
    this.isReady = true;
    if (!isSorted) this.changed.subarray(0, count).sort();
  }

  /** Makes ready for the next page. */
  end(): void {
    for (let i = 0; i < this.count; i++) this.#places[this.changed[i]] = 0;
    this.count = 0;
    this.isReady = false;
    this.#log = undefined;
  }

  /** Whether a word that has records has other bits now. */
  differs(word: number): boolean {
    return this.#word(word) !== this.#page.words[(this.#page.slot << 2) + word];
  }

  /** Id of the page. */
  get id(): number {
    return this.#page.id;
  }

  /** Bytes of the page. */
  get byteLength(): number {
    return this.#page.size;
  }

  /** The page's fields as a schema lays them out. */
  struct<F extends Fields>(schema: StructSchema<F>): RuleStruct<F> {
    return (this.#structs ??= new RuleStructs(this)).of(schema);
  }

  /** A signed byte. */
  getInt8(offset: number): number {
    return this.getUint8(offset) << 24 >> 24;
  }

  /** A byte. */
  getUint8(offset: number): number {
    this.#cut(offset, 1);
    return cellBytes[0];
  }

  /** 16 bits, signed. */
  getInt16(offset: number): number {
    return this.getUint16(offset) << 16 >> 16;
  }

  /** 16 bits. */
  getUint16(offset: number): number {
    this.#cut(offset, 2);
    return cellBytes[0] | cellBytes[1] << 8;
  }

  /** 32 bits, signed. */
  getInt32(offset: number): number {
    this.#cut(offset, 4);
    return cellInt[0];
  }

  /** 32 bits. */
  getUint32(offset: number): number {
    return this.getInt32(offset) >>> 0;
  }

  /** A single. */
  getFloat32(offset: number): number {
    this.#cut(offset, 4);
    return cellFloat[0];
  }

  /** A double. */
  getFloat64(offset: number): number {
    this.#cut(offset, 8);
    return cellDouble[0];
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
    this.#check(offset, length);
    for (let i = 0; i < length; i++) {
      const at = offset + i;
      target[i] = this.#word(at >>> 2) >>> ((at & 3) << 3);
    }
    return target;
  }

  #word(word: number): number {
    const place = this.#places[word];
    return place === 0 ? this.#page.words[(this.#page.slot << 2) + word] : this.#log!.words[place];
  }

  #cut(offset: number, length: number): void {
    this.#check(offset, length);
    if ((offset & 3) === 0 && length >= 4) {
      cellInt[0] = this.#word(offset >>> 2);
      if (length === 8) cellInt[1] = this.#word((offset >>> 2) + 1);
      return;
    }
    for (let i = 0; i < length; i++) {
      const at = offset + i;
      cellBytes[i] = this.#word(at >>> 2) >>> ((at & 3) << 3);
    }
  }

  #check(offset: number, length: number): void {
    if (!this.isReady) {
      throw new MmsbError(
        "usage",
        "Cannot use the old bytes of a rule that does not run: ask for them in each run",
      );
    }
    this.#page.checkSpan(offset, length);
  }

  #grow(words: number, used: number): void {
    const longer = new Int32Array(2 ** Math.ceil(Math.log2(words)));
    longer.set(this.changed.subarray(0, used));
    this.changed = longer;
  }
}
