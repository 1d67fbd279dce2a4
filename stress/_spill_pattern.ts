/**
 * The pattern of the spill suite: pages of all sizes that come, are written and go, together many times what memory
 * holds. What a tick does follows from its number and what stood before, so any tick's state can be told from scratch:
 * beside a bus that goes on, for `bus.at`, and after a kill.
 *
 * The model is the pages' bytes themselves, in a map: it needs as much memory as the bus is denied.
 */

import assert from "node:assert/strict";
import type { MemoryReport, StateBus } from "../src/bus/mod.ts";
import { SeededRandom } from "../src/log/seeded_random.ts";
import { assertSameBytes } from "./_same.ts";

/** Pages together, as a multiple of the limit. */
export const SPILL_TIMES = 8;
/** Share of the limit that is born, and that the written pages of a tick take, at most. */
const TICK_SHARE = 1 / 16;
const SIZE_POWERS = 16;
const WRITES = 24;
const WRITE_BYTES_MAX = 2048;
const DEATHS_MAX = 12;
const SEED_FACTOR = 7919;

interface ModelPage {
  readonly name: string;
  readonly bytes: Uint8Array;
  epoch: number;
}

interface Write {
  readonly page: ModelPage;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Sizes, bytes and epochs after a tick, and how the next one changes them. */
export class SpillPattern {
  readonly limit: number;
  /** Ticks done. */
  tick = 0;
  /** Bytes of all pages. */
  bytes = 0;
  deaths = 0;
  writes = 0;
  readonly #seed: number;
  readonly #pages: ModelPage[] = [];
  #births = 0;

  /** Before the first tick, for a bus of so many bytes. */
  constructor(limit: number, seed: number) {
    this.limit = limit;
    this.#seed = seed;
  }

  /** The same after so many ticks. */
  static after(ticks: number, limit: number, seed: number): SpillPattern {
    const pattern = new SpillPattern(limit, seed);
    while (pattern.tick < ticks) pattern.step();
    return pattern;
  }

  /** Pages. */
  get pages(): number {
    return this.#pages.length;
  }

  /** Pages made so far. */
  get births(): number {
    return this.#births;
  }

  /** Whether all the room that is to be taken is taken. */
  get isFull(): boolean {
    return this.bytes >= SPILL_TIMES * this.limit;
  }

  /** Does the next tick: here, and if there is a bus, stages it there. */
  step(bus?: StateBus): void {
    const random = new SeededRandom(this.#seed * SEED_FACTOR + ++this.tick);
    const most = Math.floor(TICK_SHARE * this.limit);
    if (this.isFull) this.#die(1 + random.below(DEATHS_MAX), random, bus);
    const writes: Write[] = [];
    let taken = 0;
    for (let i = 0; i < WRITES && this.#pages.length > 0 && taken < most; i++) {
      const page = this.#pages[random.below(this.#pages.length)], { length } = page.bytes;
      const count = 1 + random.below(Math.min(length, WRITE_BYTES_MAX));
      const offset = random.below(length - count + 1);
      writes.push({ page, offset, bytes: noise(random, count) });
      taken += length;
    }
    for (let born = 0; born < most && !this.isFull;) {
      const size = Math.min(sizeOf(random), most);
      const page = { name: `s${this.#births++}`, bytes: new Uint8Array(size), epoch: 0 };
      bus?.createPage({ name: page.name, size });
      this.#pages.push(page);
      writes.push({ page, offset: 0, bytes: noise(random, size) });
      this.bytes += size;
      born += size;
    }
    for (const { page, offset, bytes } of writes) {
      page.bytes.set(bytes, offset);
      page.epoch++;
      if (bus !== undefined) bus.find(page.name)!.write(offset, bytes);
    }
    this.writes += writes.length;
  }

  #die(count: number, random: SeededRandom, bus?: StateBus): void {
    for (let i = 0; i < count && this.#pages.length > 1; i++) {
      const index = random.below(this.#pages.length), [page] = this.#pages.splice(index, 1);
      if (bus !== undefined) bus.find(page.name)!.delete();
      this.bytes -= page.bytes.length;
      this.deaths++;
    }
  }

  /** Compares some pages, drawn at random, or all of them. */
  check(bus: StateBus, random?: SeededRandom, count: number = this.pages): void {
    assert.equal(bus.tickNumber, this.tick, "ticks");
    assert.equal(bus.stats().pages, this.pages, "number of pages");
    for (let i = 0; i < count; i++) {
      const expected = this.#pages[random === undefined ? i : random.below(this.pages)];
      const page = bus.find(expected.name);
      assert(page !== undefined, `${expected.name} is there after tick ${this.tick}`);
      assert.equal(page.epoch, expected.epoch, `epoch of ${expected.name}`);
      assertSameBytes(page.read(), expected.bytes, `${expected.name} after tick ${this.tick}`);
    }
  }

  /** Holds what a memory report says against the pages, and its parts against each other. */
  checkReport(report: MemoryReport): void {
    const { classes, spilled, pages, pageBytes, limitBytes, arenaBytes } = report;
    assert(spilled !== undefined, "what is spilled is told");
    assert.equal(pages + spilled.pages, this.pages, "pages in memory and spilled");
    // In the file a page's bytes are rounded up to a multiple of 16.
    const over = pageBytes + spilled.bytes - this.bytes;
    assert(over >= 0 && over < 16 * (spilled.pages + 1), `${over} bytes too many are told`);
    assert.equal(limitBytes, this.limit);
    assert(arenaBytes <= this.limit, `an arena of ${arenaBytes} bytes`);
    assert(spilled.fileBytes >= spilled.bytes, `a file of ${spilled.fileBytes} bytes`);
    assert(spilled.evictions - spilled.returns >= spilled.pages, "pages that went and came back");
    checkClasses(report);
    let live = 0, own = 0;
    for (const one of classes) {
      live += one.live;
      own += one.pageBytes;
    }
    assert.equal(live, pages, "slots of pages");
    assert.equal(own, pageBytes, "bytes of pages by class");
  }
}

/** Adds up the parts of a memory report that any bus has. */
export function checkClasses({ classes, carvedBytes, fragmentation }: MemoryReport): void {
  let bytes = 0;
  for (const { slotBytes, live, pending, free, carved, pageBytes } of classes) {
    assert.equal(live + pending! + free!, carved!, `slots of ${slotBytes} B: all that were cut`);
    assert(pageBytes <= live * slotBytes, `${pageBytes} B in ${live} slots of ${slotBytes} B`);
    bytes += slotBytes * carved!;
  }
  assert(bytes <= carvedBytes!, `${bytes} B of slots in ${carvedBytes} B`);
  const { share, internal, external } = fragmentation!;
  assert(Math.abs(share - internal - external) < 1e-9, "what is lost, and its two parts");
  assert(internal >= 0 && external >= 0 && share <= 1, `lost: ${internal} and ${external}`);
}

/** A size from 1 B to 64 KiB, each power of two as often as another. */
function sizeOf(random: SeededRandom): number {
  return Math.min(65_536, 1 + random.below(2 ** (1 + random.below(SIZE_POWERS))));
}

function noise(random: SeededRandom, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let word = random.next() | 0;
  for (let i = 0; i < length; i++) {
    word = Math.imul(word, 1_664_525) + 1_013_904_223 | 0;
    bytes[i] = word >>> 24;
  }
  return bytes;
}
