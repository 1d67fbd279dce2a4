/**
 * The work of validator 6: 10,000 pages, a tenth of them derived, and the same work done with plain arrays.
 *
 * The derived pages stand in three levels: most are sums of sources, some sums of those, a few sums of these; with
 * one to 25 inputs. Every second rule can do with changes, the others compute in full. All values are 32-bit integers,
 * so the sums are exact in any order.
 */

import { SeededRandom } from "../log/seeded_random.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { defineRule, type Rule, type RuleContext } from "../propagation/mod.ts";

/** How much is done. */
export interface TickPlan {
  /** Pages. */
  readonly pages: number;
  /** Those that are derived. */
  readonly derived: number;
  /** Rows of a tick. */
  readonly rows: number;
  /** Ticks that are not measured, in which the code is compiled. */
  readonly warmUp: number;
  /** Ticks that are. */
  readonly ticks: number;
  /** Seed of everything random. */
  readonly seed: number;
}

/** Bytes of a page. */
export const PAGE_BYTES = 64;
/** 32-bit integers of a page. */
export const WORDS = 16;
/** Integers of a row. */
const ROW_WORDS = 4;
const FAN_INS = [1, 1, 2, 2, 4, 4, 8, 25];

/** Sums of all inputs, integer by integer. */
export const sumInFull: Rule = defineRule({ compute });

/** The same, from changes where there are any. */
export const sumOfChanges: Rule = defineRule({
  compute,
  fromDeltas(ctx, changes) {
    const output = ctx.output(0);
    while (changes.next()) {
      const { input, offset, length } = changes;
      const now = ctx.input(input), before = changes.before(input);
      for (let at = offset; at < offset + length; at += 4) {
        const sum = output.getInt32(at) - before.getInt32(at) + now.getInt32(at);
        output.setInt32(at, sum | 0);
      }
    }
  },
});

function compute(ctx: RuleContext): void {
  const output = ctx.output(0), count = ctx.params as number;
  for (let word = 0; word < WORDS; word++) {
    let sum = 0;
    for (let i = 0; i < count; i++) sum = sum + ctx.input(i).getInt32(4 * word) | 0;
    output.setInt32(4 * word, sum);
  }
}

/** For each derived page the pages that it is the sum of, by index; sources come first. */
export function readsOf({ pages, derived, seed }: TickPlan): number[][] {
  const random = new SeededRandom(seed), sources = pages - derived;
  const firsts = [
    0,
    sources,
    sources + Math.ceil(0.9 * derived),
    sources + Math.ceil(0.99 * derived),
  ];
  const reads: number[][] = [];
  for (let page = sources; page < pages; page++) {
    const level = page < firsts[2] ? 0 : page < firsts[3] ? 1 : 2;
    const count = firsts[level + 1] - firsts[level];
    const wanted = Math.min(count, FAN_INS[random.below(FAN_INS.length)]),
      inputs = new Set<number>();
    while (inputs.size < wanted) inputs.add(firsts[level] + random.below(count));
    reads.push([...inputs]);
  }
  return reads;
}

/** The same work with plain arrays. */
export class TickModel {
  /** Integers of all pages. */
  readonly words: Int32Array;
  /** Rows of each source page. */
  readonly epochs: Uint32Array;
  /** Runs of all rules. */
  fired = 0;
  readonly #reads: readonly (readonly number[])[];
  readonly #sources: number;
  /** Last tick in which each page was touched. */
  readonly #touched: Uint32Array;
  #tick = 0;

  constructor({ pages, derived }: TickPlan, reads: readonly (readonly number[])[]) {
    this.words = new Int32Array(pages * WORDS);
    this.epochs = new Uint32Array(pages);
    this.#touched = new Uint32Array(pages);
    this.#sources = pages - derived;
    this.#reads = reads;
  }

  /** Takes the rows of a tick, and counts the rules that they wake. */
  add({ columns: { page, offset }, payload, length }: DeltaBatch, idOfFirst: number): void {
    const from = new Int32Array(payload.buffer, payload.byteOffset, ROW_WORDS * length);
    const tick = ++this.#tick, touched = this.#touched;
    for (let i = 0; i < length; i++) {
      const index = page[i] - idOfFirst, to = index * WORDS + (offset[i] >>> 2);
      for (let k = 0; k < ROW_WORDS; k++) this.words[to + k] = from[ROW_WORDS * i + k];
      this.epochs[index]++;
      touched[index] = tick;
    }
    this.#reads.forEach((inputs, i) => {
      if (!inputs.some((input) => touched[input] === tick)) return;
      touched[this.#sources + i] = tick;
      this.fired++;
    });
  }

  /** Computes all derived pages. */
  derive(): void {
    this.#reads.forEach((inputs, i) => {
      const to = (this.#sources + i) * WORDS;
      for (let word = 0; word < WORDS; word++) {
        let sum = 0;
        for (const input of inputs) sum = sum + this.words[input * WORDS + word] | 0;
        this.words[to + word] = sum;
      }
    });
  }
}

/** A batch that is filled with random rows for the sources. */
export class TickBatch {
  readonly batch: DeltaBatch;
  readonly #random: SeededRandom;
  readonly #sources: number;
  readonly #words: Int32Array;

  /** Batches that take turns share a source of numbers: rows that come twice change nothing. */
  constructor({ pages, derived, rows }: TickPlan, random: SeededRandom) {
    this.#sources = pages - derived;
    this.#random = random;
    this.batch = new DeltaBatch({ rows, payloadBytes: 4 * ROW_WORDS * rows });
    const { batch } = this, { length, payloadStart, source } = batch.columns;
    length.fill(4 * ROW_WORDS);
    source.fill(batch.source("validate"));
    for (let i = 0; i < rows; i++) payloadStart[i] = 4 * ROW_WORDS * i;
    batch.setLength(rows, 4 * ROW_WORDS * rows);
    this.#words = new Int32Array(batch.payload.buffer, batch.payload.byteOffset, ROW_WORDS * rows);
  }

  /** Fills it anew. */
  fill(idOfFirst: number): void {
    const random = this.#random, words = this.#words, { page, offset } = this.batch.columns;
    for (let i = 0; i < page.length; i++) {
      page[i] = idOfFirst + random.below(this.#sources);
      offset[i] = 4 * ROW_WORDS * random.below(WORDS / ROW_WORDS);
      for (let k = 0; k < ROW_WORDS; k++) words[ROW_WORDS * i + k] = random.next();
    }
  }
}
