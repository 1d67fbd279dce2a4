/**
 * The work of validator 7: fill a bus with pages, delete and create them, and look at what memory does.
 *
 * Everything goes through the bus as a user's work does: pages are created and deleted in ticks, and
 * every byte is written by a delta. Every page is read back and compared with what was written to it,
 * so a page that is not really there, shares bytes with another or comes back with old ones is seen.
 * A page's words follow from its id alone: no copy of them is kept beside the bus.
 */

import { cpuUsage } from "node:process";
import { alignUp } from "../base/mod.ts";
import type { StateBus } from "../bus/mod.ts";
import type { SeededRandom } from "../log/seeded_random.ts";
import { DeltaBatch, KIND_SET } from "../physical/mod.ts";

/** Pages born in one tick. */
export const BIRTHS_A_TICK = 4096;
/** Pages deleted in one tick: a pause is the whole of it. */
export const DEATHS_A_TICK = 128;

/** A tick that deleted pages. */
export interface Pause {
  /** Milliseconds by the clock: what other processes did meanwhile counts too. */
  readonly clockMs: number;
  /** Of these, at most what this process spent on a processor, all its threads together. */
  readonly ownMs: number;
}

/** What was found wrong. */
export class MemoryFindings {
  /** Pages whose bytes, size or epoch are not what was written. */
  wrongPages = 0;
  /** New pages that did not begin with zeros, epoch 0, their own size and an id above all before. */
  wrongReuses = 0;
  /** Pages created. */
  created = 0;
  /** Pages deleted. */
  deleted = 0;
}

/** What of a bus the work needs. */
export type MemoryBus = Pick<StateBus, "createPage" | "page" | "submit" | "tick">;

/** Creates and deletes pages of one bus, and keeps an eye on them. */
export class MemoryWork {
  /** What was found. */
  readonly findings: MemoryFindings;
  readonly #bus: MemoryBus;
  readonly #scratch: Uint8Array;
  readonly #words: Int32Array;
  readonly #batch: DeltaBatch;
  #lastId = 0;

  /**
   * Begins.
   *
   * @param bus An empty bus.
   * @param sizeMax The largest page to come.
   * @param payloadBytes Room for the bytes of one tick's births.
   */
  constructor(
    bus: MemoryBus,
    sizeMax: number,
    payloadBytes: number,
    findings = new MemoryFindings(),
  ) {
    this.#bus = bus;
    this.findings = findings;
    this.#words = new Int32Array(sizeMax + 7 >> 3 << 1);
    this.#scratch = new Uint8Array(this.#words.buffer);
    this.#batch = new DeltaBatch({ rows: BIRTHS_A_TICK, payloadBytes });
  }

  /**
   * Creates pages, looks whether each begins as it should, and writes every byte of them, in ticks of
   * up to {@linkcode BIRTHS_A_TICK} pages.
   *
   * @param sizes Their sizes.
   * @param told Told how many there are so far.
   * @param ids Where their ids go.
   * @returns Their ids.
   */
  async create(
    sizes: ArrayLike<number>,
    told?: (pages: number) => void,
    ids: Uint32Array = new Uint32Array(sizes.length),
  ): Promise<Uint32Array> {
    const batch = this.#batch;
    for (let from = 0; from < sizes.length;) {
      batch.clear();
      let rows = 0, payload = 0;
      for (; rows < BIRTHS_A_TICK && from + rows < sizes.length; rows++) {
        const size = sizes[from + rows], end = payload + alignUp(size, 8);
        if (end > batch.payload.length) break;
        ids[from + rows] = this.#createOne(size, rows, payload);
        payload = end;
      }
      batch.setLength(rows, payload);
      const receipt = this.#bus.submit(batch);
      await this.#bus.tick();
      await receipt;
      from += rows;
      this.findings.created += rows;
      told?.(from);
    }
    return ids;
  }

  #createOne(size: number, row: number, payloadStart: number): number {
    const page = this.#bus.createPage({ size }), { id } = page, span = this.#span(size);
    const isNew = id > this.#lastId && page.size === size && page.epoch === 0 &&
      this.#isZero(page.readInto(span));
    if (!isNew) this.findings.wrongReuses++;
    this.#lastId = id;
    this.#fill(id, size);
    const { columns, payload } = this.#batch;
    payload.set(span, payloadStart);
    columns.page[row] = id;
    columns.offset[row] = 0;
    columns.length[row] = size;
    columns.payloadStart[row] = payloadStart;
    columns.kind[row] = KIND_SET;
    return id;
  }

  /** Reads a page back: its size, its epoch and all its bytes. */
  check(id: number, size: number): void {
    const page = this.#bus.page(id), span = this.#span(size);
    const isRight = page.size === size && page.epoch === 1 &&
      this.#isFilled(page.readInto(span), id);
    if (!isRight) this.findings.wrongPages++;
  }

  /**
   * Deletes pages, some a tick.
   *
   * @returns How long each of these ticks took, from the first `page.delete()` to its end.
   */
  async delete(ids: ArrayLike<number>): Promise<Pause[]> {
    const pauses: Pause[] = [];
    for (let from = 0; from < ids.length; from += DEATHS_A_TICK) {
      const to = Math.min(ids.length, from + DEATHS_A_TICK);
      const used = cpuUsage(), started = performance.now();
      for (let i = from; i < to; i++) this.#bus.page(ids[i]).delete();
      await this.#bus.tick();
      const clockMs = performance.now() - started, { user, system } = cpuUsage(used);
      pauses.push({ clockMs, ownMs: Math.min(clockMs, (user + system) / 1000) });
    }
    this.findings.deleted += ids.length;
    return pauses;
  }

  #span(size: number): Uint8Array {
    return size === this.#scratch.length ? this.#scratch : this.#scratch.subarray(0, size);
  }

  #isZero(span: Uint8Array): boolean {
    // The scratch bytes past the span are those of another page.
    const whole = span.length >> 2;
    let bits = 0;
    for (let i = 0; i < whole; i++) bits |= this.#words[i];
    for (let i = 4 * whole; i < span.length; i++) bits |= span[i];
    return bits === 0;
  }

  #fill(id: number, size: number): void {
    const words = this.#words, count = size + 3 >> 2;
    for (let i = 0; i < count; i++) words[i] = wordOf(id, i);
  }

  #isFilled(span: Uint8Array, id: number): boolean {
    const words = this.#words, whole = span.length >> 2;
    let bits = 0;
    for (let i = 0; i < whole; i++) bits |= words[i] ^ wordOf(id, i);
    const last = wordOf(id, whole);
    for (let i = 4 * whole; i < span.length; i++) bits |= span[i] ^ (last >>> 8 * (i & 3) & 0xff);
    return bits === 0;
  }
}

/** Word `index` of a page: never zero in its low byte, and another in each page and place. */
function wordOf(id: number, index: number): number {
  return Math.imul(id, 0x9e37_79b1) + Math.imul(index, 0x85eb_ca6b) << 8 | (id + index & 0x7f) + 1;
}

/** What {@linkcode mixedSizes} gives, in words. */
export const MIXED_SIZES_TEXT = "16 B to 96 KiB";

/** Largest page of {@linkcode mixedSizes}, in bytes. */
export const MIXED_BYTES_MAX: number = 3 * 2 ** 15;

/** Sizes of pages for mixed churn: from 16 B to 96 KiB, small ones more often. */
export function mixedSizes(random: SeededRandom, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, () => {
    const exponent = 4 + random.below(random.chance(0.05) ? 13 : 8);
    return 2 ** exponent + random.below(2 ** exponent >> 1);
  });
}

/** Puts numbers in a random order, in place. */
export function shuffle(random: SeededRandom, items: Uint32Array): Uint32Array {
  for (let i = items.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}
