/**
 * The pattern that killed processes write: whether a directory holds a whole tick can be read off it.
 *
 * Every word of every page follows from the tick's number, one page counts the ticks by adding, and
 * one holds the number and the sum of all other words. So a page that was left out, a row that was
 * done twice and half a row all show.
 */

import assert from "node:assert/strict";
import type { Page, StateBus } from "../src/bus/mod.ts";
import { DeltaBatch } from "../src/physical/mod.ts";

/** Sizes of the pages, in bytes: less than a row's header up to many sectors. */
const SIZES: readonly number[] = [4, 64, 1000, 4096, 12_000];
const COUNTER = "counter";
const TOTAL = "total";

function nameOf(index: number): string {
  return `page ${index}`;
}

/** The words of a page after a tick. */
function wordsOf(tick: number, index: number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(
    { length: SIZES[index] / 4 },
    (_, word) => Math.imul(tick, 0x9e37_79b1) + 977 * index + word,
  );
}

function totalOf(tick: number): number {
  let total = tick;
  for (let index = 0; index < SIZES.length; index++) {
    for (const word of wordsOf(tick, index)) total = (total + word) >>> 0;
  }
  return total;
}

/** Writes the pattern, tick by tick. */
export class PatternWriter {
  readonly #bus: StateBus;
  readonly #pages: readonly Page[];
  readonly #counter: Page;
  readonly #total: Page;

  /** Finds the pages; in an empty directory it creates them, with the first tick. */
  constructor(bus: StateBus) {
    const find = (name: string, size: number) => bus.find(name) ?? bus.createPage({ name, size });
    this.#bus = bus;
    this.#pages = SIZES.map((size, index) => find(nameOf(index), size));
    this.#counter = find(COUNTER, 8);
    this.#total = find(TOTAL, 8);
  }

  /** Stages and queues all that the next tick is to hold. */
  stage(): void {
    const tick = this.#bus.tickNumber + 1;
    this.#pages.forEach((page, index) => {
      const bytes = new Uint8Array(wordsOf(tick, index).buffer);
      // Odd pages are written in two rows.
      const half = index % 2 === 0 ? 0 : 4 * Math.floor(bytes.length / 8);
      if (half > 0) page.write(0, bytes.subarray(0, half), { source: "first half" });
      page.write(half, bytes.subarray(half), { intent: `tick ${tick}` });
    });
    const total = new DeltaBatch({ rows: 2, payloadBytes: 16 });
    total.push(this.#total.id, 0, new Uint8Array(Uint32Array.of(tick, totalOf(tick)).buffer));
    total.combine(this.#counter.id, "u32", "add", 0, 1, { source: total.source("counter") });
    this.#bus.submit(total);
  }
}

/** Checks that a bus holds just what its last tick wrote. */
export function checkPattern(bus: StateBus): void {
  const tick = bus.tickNumber;
  if (tick === 0) {
    assert.equal([...bus.pages()].length, 0, "no page before the first tick");
    return;
  }
  for (let index = 0; index < SIZES.length; index++) {
    const page = bus.find(nameOf(index));
    assert(page !== undefined, `${nameOf(index)} is there after tick ${tick}`);
    const expected = new Uint8Array(wordsOf(tick, index).buffer);
    assert.deepEqual(page.read(), expected, `${nameOf(index)} after tick ${tick}`);
    assert.equal(page.epoch, tick * (index % 2 === 0 ? 1 : 2), `epoch of ${nameOf(index)}`);
  }
  const total = new Uint32Array(bus.find(TOTAL)!.read().buffer);
  assert.deepEqual([...total], [tick, totalOf(tick)], `the total after tick ${tick}`);
  const [count] = new Uint32Array(bus.find(COUNTER)!.read().buffer);
  assert.equal(count, tick, "ticks counted by adding");
}
