/**
 * What must come out of rows: a fold of the same rows over plain memory, written apart from the library's kernel,
 * row by row and kind by kind. Its time is also what the bus's time is compared with: a bare loop over
 * the same rows, without checks, ticks, log, or threads.
 */

import assert from "node:assert/strict";
import type { StateBus } from "../src/bus/mod.ts";
import type { DeltaBatch } from "../src/physical/mod.ts";

/** Type codes of combining kinds, in their high four bits. */
const I32 = 1, U32 = 2, F32 = 3;
/** Words that are copied one by one; more are copied in one call. */
const WORDS_MAX = 32;

/** Pages of one size, with ids from 1 on, and their epochs. */
export class Fold {
  readonly pages: number;
  readonly pageBytes: number;
  /** Rows folded in. */
  rows = 0;
  /** Seconds that it took. */
  seconds = 0;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #unsigned: Uint32Array;
  readonly #floats: Float32Array;
  readonly #doubles: Float64Array;
  readonly #epochs: Uint32Array;

  /** Pages of zeros; a page has a multiple of 8 bytes. */
  constructor(pages: number, pageBytes: number) {
    assert.equal(pageBytes % 8, 0);
    this.pages = pages;
    this.pageBytes = pageBytes;
    const memory = new ArrayBuffer(pages * pageBytes);
    this.#bytes = new Uint8Array(memory);
    this.#words = new Int32Array(memory);
    this.#unsigned = new Uint32Array(memory);
    this.#floats = new Float32Array(memory);
    this.#doubles = new Float64Array(memory);
    this.#epochs = new Uint32Array(pages);
  }

  /** Folds a batch in. */
  add(batch: DeltaBatch): void {
    const start = performance.now();
    const { columns: { page, offset, length, payloadStart, kind }, payload } = batch;
    const words = new Int32Array(payload.buffer, payload.byteOffset, payload.byteLength >>> 2);
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const rows = batch.length, target = this.#words;
    for (let i = 0; i < rows; i++) {
      const index = page[i] - 1, at = index * this.pageBytes + offset[i], from = payloadStart[i];
      const bytes = length[i];
      this.#epochs[index]++;
      if (kind[i] === 0) {
        if (((at | bytes) & 3) === 0 && bytes <= 4 * WORDS_MAX) {
          for (let k = 0; k < bytes >>> 2; k++) target[(at >>> 2) + k] = words[(from >>> 2) + k];
        } else this.#bytes.set(payload.subarray(from, from + bytes), at);
      } else if (kind[i] === 1) this.#set(payload, from, at, bytes);
      else this.#combine(view, from, at, bytes, kind[i] >>> 4, kind[i] & 15);
    }
    this.rows += rows;
    this.seconds += (performance.now() - start) / 1000;
  }

  /** The bytes whose bit in the mask is set. */
  #set(payload: Uint8Array, from: number, at: number, bytes: number): void {
    let packed = from + Math.ceil(bytes / 8);
    for (let k = 0; k < bytes; k++) {
      if ((payload[from + (k >>> 3)] >>> (k & 7) & 1) === 1) {
        this.#bytes[at + k] = payload[packed++];
      }
    }
  }

  #combine(
    view: DataView,
    from: number,
    at: number,
    bytes: number,
    type: number,
    op: number,
  ): void {
    const width = type > F32 ? 8 : 4;
    for (let k = 0; k < bytes; k += width) {
      const here = (at + k) / width;
      if (type === I32) {
        this.#words[here] = integer(op, this.#words[here], view.getInt32(from + k, true));
      } else if (type === U32) {
        this.#unsigned[here] = integer(op, this.#unsigned[here], view.getUint32(from + k, true));
      } else if (type === F32) {
        const value = float(op, this.#floats[here], view.getFloat32(from + k, true));
        if (Number.isNaN(value)) this.#unsigned[here] = 0x7fc0_0000;
        else this.#floats[here] = value;
      } else {
        const value = float(op, this.#doubles[here], view.getFloat64(from + k, true));
        if (!Number.isNaN(value)) this.#doubles[here] = value;
        else {
          this.#unsigned[2 * here] = 0;
          this.#unsigned[2 * here + 1] = 0x7ff8_0000;
        }
      }
    }
  }

  /**
   * Compares a bus: the number of its pages, all bytes, all epochs, and with them the number of rows.
   *
   * @throws {Error} at the first page that is not as it must be.
   */
  check(bus: StateBus, who: string): void {
    assert.equal(bus.stats().pages, this.pages, `pages of ${who}`);
    const found = new Uint8Array(this.pageBytes);
    let rows = 0;
    for (let index = 0; index < this.pages; index++) {
      const page = bus.page(index + 1);
      page.readInto(found);
      rows += page.epoch;
      if (page.epoch !== this.#epochs[index]) {
        assert.fail(
          `epoch of page ${index + 1} of ${who} is ${page.epoch}, not ${this.#epochs[index]}`,
        );
      }
      const base = index * this.pageBytes;
      for (let k = 0; k < found.length; k++) {
        if (found[k] !== this.#bytes[base + k]) {
          assert.fail(
            `byte ${k} of page ${index + 1} of ${who} is ${found[k]}, not ${this.#bytes[base + k]}`,
          );
        }
      }
    }
    assert.equal(rows, this.rows, `rows in the epochs of ${who}`);
  }
}

function integer(op: number, a: number, b: number): number {
  if (op === 1) return a + b;
  if (op === 2) return Math.min(a, b);
  if (op === 3) return Math.max(a, b);
  return op === 4 ? a | b : op === 5 ? a & b : a ^ b;
}

function float(op: number, a: number, b: number): number {
  if (op === 1) return a + b;
  if (Number.isNaN(a)) return b;
  if (Number.isNaN(b)) return a;
  return op === 2 ? Math.min(a, b) : Math.max(a, b);
}
