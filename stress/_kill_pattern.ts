/**
 * The pattern that killed processes write: whether a directory holds a whole tick can be read off it.
 *
 * Every word of every page follows from the tick's number, one page counts the ticks by adding, and
 * one holds the number and the sum of all other words. So a page that was left out, a row that was
 * done twice and half a row all show. Rules make a chain of two pages of these, and one page that is late; an edge
 * comes and goes; and every fifth tick is a transaction's.
 */

import assert from "node:assert/strict";
import type { Page, StateBus } from "../src/bus/mod.ts";
import { DeltaBatch } from "../src/physical/mod.ts";
import { defineRule } from "../src/propagation/mod.ts";

/** Sizes of the pages, in bytes: less than a row's header up to many sectors. */
const SIZES: readonly number[] = [4, 64, 1000, 4096, 12_000];
const COUNTER = "counter";
const TOTAL = "total";
/** Made of the counter and the total. */
const DERIVED = "derived";
/** Made of what was derived. */
const SECOND = "second";
/** Made of the total in every fourth tick. */
const LATE = "late";
const LATE_EVERY = 4;
const TRANSACTION_EVERY = 5;

const derive = defineRule({
  compute(ctx) {
    ctx.output(0).setUint32(0, ctx.input(0).getUint32(0) * 3);
    ctx.output(0).setUint32(4, ctx.input(1).getUint32(4) ^ 0x5555_5555);
  },
});

const copyFirst = defineRule({
  compute(ctx) {
    ctx.output(0).setUint32(0, ctx.input(0).getUint32(0) + 1);
  },
  fromDeltas(ctx, changes) {
    const before = changes.before(0).getUint32(0), now = ctx.input(0).getUint32(0);
    ctx.output(0).setUint32(0, ctx.output(0).getUint32(0) + now - before);
  },
});

const copyTick = defineRule({
  compute(ctx) {
    ctx.output(0).setUint32(0, ctx.input(0).getUint32(0));
  },
});

/** Whether the edge that comes and goes is there after a tick; transactions leave it. */
function hasEdge(tick: number): boolean {
  return (tick % TRANSACTION_EVERY === 0 ? tick - 1 : tick) % 2 === 1;
}

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
    const derived = find(DERIVED, 8), counter = this.#counter, total = this.#total;
    const second = find(SECOND, 4), late = find(LATE, 4);
    bus.rule(derive, { name: DERIVED, inputs: [counter, total], outputs: [derived] });
    bus.rule(copyFirst, { name: SECOND, inputs: [derived], outputs: [second] });
    const mode = { mode: "batch", every: LATE_EVERY } as const;
    bus.rule(copyTick, { name: LATE, inputs: [total], outputs: [late], ...mode });
  }

  /**
   * Makes the next tick.
   *
   * @returns Settles with its number when it is durable, which those of transactions are at once.
   */
  async tick(): Promise<{ readonly durable: Promise<number> }> {
    const next = this.#bus.tickNumber + 1;
    if (next % TRANSACTION_EVERY === 0) {
      return { durable: Promise.resolve(await this.#transact(next)) };
    }
    this.#stage(next);
    const { durable } = await this.#bus.tick();
    return { durable: durable.then(({ tick }) => tick) };
  }

  /** The same by a transaction. */
  async #transact(tick: number): Promise<number> {
    const transaction = this.#bus.begin({ source: "transaction" });
    assert.equal(new Uint32Array(transaction.read(this.#counter).buffer)[0], tick - 1);
    for (const { page, offset, bytes } of this.#rows(tick)) transaction.write(page, offset, bytes);
    transaction.write(this.#total, 0, totalBytes(tick));
    transaction.combine(this.#counter, "u32", "add", 0, 1);
    return (await transaction.commit()).tick;
  }

  /** Stages and queues all that a tick is to hold. */
  #stage(tick: number): void {
    const [first, second] = this.#pages;
    if (hasEdge(tick) && !hasEdge(tick - 1)) this.#bus.edge(first, second, "gpu");
    if (!hasEdge(tick) && hasEdge(tick - 1)) this.#bus.removeEdge(first, second, "gpu");
    for (const { page, offset, bytes } of this.#rows(tick)) {
      page.write(offset, bytes, offset > 0 ? { intent: `tick ${tick}` } : { source: "first half" });
    }
    const total = new DeltaBatch({ rows: 2, payloadBytes: 16 });
    total.push(this.#total.id, 0, totalBytes(tick));
    total.combine(this.#counter.id, "u32", "add", 0, 1, { source: total.source("counter") });
    this.#bus.submit(total);
  }

  /** What is written to the pages; odd ones are written in two rows. */
  *#rows(tick: number): Generator<{ page: Page; offset: number; bytes: Uint8Array }> {
    for (const [index, page] of this.#pages.entries()) {
      const bytes = new Uint8Array(wordsOf(tick, index).buffer);
      const half = index % 2 === 0 ? 0 : 4 * Math.floor(bytes.length / 8);
      if (half > 0) yield { page, offset: 0, bytes: bytes.subarray(0, half) };
      yield { page, offset: half, bytes: bytes.subarray(half) };
    }
  }
}

function totalBytes(tick: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(tick, totalOf(tick)).buffer);
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
  checkDerived(bus, tick);
}

/** Checks what rules have made of it, and the edge. */
function checkDerived(bus: StateBus, tick: number): void {
  const derived = bus.find(DERIVED)!, second = bus.find(SECOND)!, late = bus.find(LATE)!;
  const words = [...new Uint32Array(derived.read().buffer)];
  assert.deepEqual(words, [3 * tick, (totalOf(tick) ^ 0x5555_5555) >>> 0], "what was derived");
  assert.equal(new Uint32Array(second.read().buffer)[0], 3 * tick + 1, "what was derived of that");
  assert.deepEqual([derived.epoch, second.epoch], [tick, tick], "epochs of what was derived");
  // After a kill it runs in the next tick, if it is behind.
  const [made] = new Uint32Array(late.read().buffer);
  assert(made <= tick && made >= tick - tick % LATE_EVERY, `late is at ${made} in tick ${tick}`);
  assert.equal(late.stale, made < tick, "what is late is stale");
  const types = [...bus.graph.edgesOut(bus.find(nameOf(0))!)].map(({ type }) => type);
  assert.deepEqual(types, hasEdge(tick) ? ["gpu"] : [], `the edge after tick ${tick}`);
  assert.equal(bus.graph.check().ok, true);
}
