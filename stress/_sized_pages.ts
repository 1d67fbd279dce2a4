/**
 * Pages of any sizes whose bytes follow from their ids alone, born, written whole, read back and deleted through a
 * bus: what the memory suite works with. No copy of the bytes is kept, so a gigabyte of them can be checked.
 */

import assert from "node:assert/strict";
import type { StateBus } from "../src/bus/mod.ts";
import { DeltaBatch, KIND_SET } from "../src/physical/mod.ts";

/** Pages that one tick makes. */
const PAGES_A_TICK = 4096;
/** Bytes that one batch writes. */
const BATCH_BYTES = 16 * 2 ** 20;

/** The pages of one bus. */
export class SizedPages {
  /** Sizes by id. */
  readonly sizes = new Map<number, number>();
  /** Bytes of all pages. */
  bytes = 0;
  created = 0;
  deleted = 0;
  readonly #bus: StateBus;
  #lastId = 0;
  readonly #batch = new DeltaBatch({ rows: PAGES_A_TICK, payloadBytes: BATCH_BYTES });
  readonly #scratch: Uint8Array;
  readonly #words: Int32Array;

  /** Of a bus; no page is larger than `sizeMax`. */
  constructor(bus: StateBus, sizeMax: number) {
    this.#bus = bus;
    this.#scratch = new Uint8Array(sizeMax + 3 & ~3);
    this.#words = new Int32Array(this.#scratch.buffer);
  }

  /**
   * Creates pages, sees that they begin with zeros, and writes every byte of them.
   *
   * @throws what the bus throws where there is no room: of the pages some thousands at a time are made, or none of them.
   */
  async create(sizes: readonly number[]): Promise<void> {
    for (let first = 0; first < sizes.length;) {
      let bytes = 0, end = first;
      while (
        end < sizes.length && end - first < PAGES_A_TICK &&
        bytes + (sizes[end] + 3 & ~3) <= BATCH_BYTES
      ) bytes += sizes[end++] + 3 & ~3;
      await this.#createSome(sizes.slice(first, end));
      first = end;
    }
  }

  async #createSome(sizes: readonly number[]): Promise<void> {
    const made: [number, number][] = [];
    await this.#bus.commit(() => {
      for (const size of sizes) {
        const { id } = this.#bus.createPage({ size });
        assert(id > this.#lastId, `page ${id} has an id above all before, ${this.#lastId}`);
        this.#lastId = id;
        made.push([id, size]);
      }
    });
    for (const [id, size] of made) {
      const page = this.#bus.page(id), bytes = this.#scratch.subarray(0, size);
      page.readInto(bytes);
      assert(bytes.every((byte) => byte === 0), `page ${id} begins with zeros`);
      assert.equal(page.epoch, 0, `epoch of the new page ${id}`);
      assert.equal(page.size, size, `size of page ${id}`);
      this.sizes.set(id, size);
      this.bytes += size;
      this.created++;
    }
    await this.#write(made);
  }

  /** Writes all bytes of pages, in one batch. */
  async #write(pages: readonly (readonly [number, number])[]): Promise<void> {
    const batch = this.#batch;
    batch.clear();
    const { columns: { page, offset, length, payloadStart, kind }, payload } = batch;
    let at = 0;
    pages.forEach(([id, size], row) => {
      page[row] = id;
      offset[row] = 0;
      length[row] = size;
      kind[row] = KIND_SET;
      payloadStart[row] = at;
      payload.set(this.#expected(id, size), at);
      at += size + 3 & ~3;
    });
    batch.setLength(pages.length, at);
    const receipt = this.#bus.submit(batch);
    await this.#bus.tick();
    assert.equal((await receipt).rows, pages.length, "rows acknowledged");
  }

  /** The bytes of a page. */
  #expected(id: number, size: number): Uint8Array {
    const words = this.#words;
    let word = Math.imul(id, 0x9e37_79b1);
    for (let i = 0; i < (size + 3 >>> 2); i++) {
      words[i] = word = Math.imul(word, 1_664_525) + 1_013_904_223 | 0;
    }
    return this.#scratch.subarray(0, size);
  }

  /** Deletes pages, so many in one tick. */
  async delete(ids: readonly number[], each = PAGES_A_TICK): Promise<void> {
    for (let first = 0; first < ids.length; first += each) {
      for (const id of ids.slice(first, first + each)) {
        this.#bus.page(id).delete();
        this.bytes -= this.sizes.get(id)!;
        this.sizes.delete(id);
        this.deleted++;
      }
      await this.#bus.commit();
    }
  }

  /** Compares all pages of a bus with what was written to them; gives how many there are. */
  check(bus: StateBus = this.#bus, others = 0): number {
    assert.equal(bus.stats().pages, this.sizes.size + others, "number of pages");
    for (const [id, size] of this.sizes) {
      const page = bus.page(id);
      assert.equal(page.epoch, 1, `epoch of page ${id}`);
      assert.equal(page.size, size, `size of page ${id}`);
      const found = page.read(), expected = this.#expected(id, size);
      for (let i = 0; i < size; i++) {
        if (found[i] !== expected[i]) {
          assert.fail(`byte ${i} of page ${id} is ${found[i]}, not ${expected[i]}`);
        }
      }
    }
    return this.sizes.size;
  }
}
