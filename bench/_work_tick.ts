/**
 * Ticks as a program has them that computes things all day: 10,000 pages of 64 bytes, a tenth of them derived in
 * three levels from 1 to 25 others each, 10,000 rows of 16 bytes a tick; and the same with plain arrays.
 */

import {
  defineRule,
  DeltaBatch,
  type OpenOptions,
  type Page,
  type Rule,
  StateBus,
} from "../mod.ts";

/** Pages. */
export const PAGES = 10_000;
/** Derived pages. */
export const DERIVED = 1000;
/** Pages that are not derived. */
export const SOURCES: number = PAGES - DERIVED;
/** Rows of a tick. */
export const ROWS = 10_000;
/** Words of a page. */
export const WORDS = 16;
const ROW_WORDS = 4;
/** Batches that take turns. */
export const BATCHES = 16;
/** Where the levels of derived pages begin, by index of the page. */
const LEVELS: readonly number[] = [0, SOURCES, SOURCES + 900, SOURCES + 990, PAGES];
const FAN_INS: readonly number[] = [1, 1, 2, 2, 4, 4, 8, 25];

/** The sum of the inputs, word by word. */
export const sum: Rule = defineRule({
  compute(ctx) {
    const output = ctx.output(0), count = ctx.params as number;
    for (let at = 0; at < 4 * WORDS; at += 4) {
      let sum = 0;
      for (let i = 0; i < count; i++) sum = sum + ctx.input(i).getInt32(at) | 0;
      output.setInt32(at, sum);
    }
  },
});

/** A bus with all pages and rules. */
export async function busOfSums(
  reads: readonly (readonly number[])[],
  options: OpenOptions,
): Promise<{ bus: StateBus; pages: Page[] }> {
  const bus = await StateBus.open({ tickBudgetMs: 1000, ...options });
  const pages = Array.from({ length: PAGES }, () => bus.createPage({ size: 4 * WORDS }));
  reads.forEach((inputs, i) => {
    bus.rule(sum, {
      name: `sum ${i}`,
      inputs: inputs.map((input) => pages[input]),
      outputs: [pages[SOURCES + i]],
      params: inputs.length,
    });
  });
  await bus.commit();
  return { bus, pages };
}

/** For each derived page the pages that it is the sum of, by index: others of the level before. */
export function readsOf(next: () => number): number[][] {
  return Array.from({ length: DERIVED }, (_, i) => {
    const page = SOURCES + i, level = LEVELS.findIndex((start) => start > page) - 1;
    const first = LEVELS[level - 1], count = LEVELS[level] - first;
    const wanted = Math.min(count, FAN_INS[next() % FAN_INS.length]), inputs = new Set<number>();
    while (inputs.size < wanted) inputs.add(first + next() % count);
    return [...inputs];
  });
}

/** A batch of rows at random pages and places. */
export function batchOf(pages: readonly { readonly id: number }[], next: () => number): DeltaBatch {
  const batch = new DeltaBatch({ rows: ROWS, payloadBytes: 4 * ROW_WORDS * ROWS });
  const { page, offset, length, payloadStart } = batch.columns;
  for (let i = 0; i < ROWS; i++) {
    page[i] = pages[next() % SOURCES].id;
    offset[i] = 4 * ROW_WORDS * (next() % (WORDS / ROW_WORDS));
    payloadStart[i] = 4 * ROW_WORDS * i;
  }
  length.fill(4 * ROW_WORDS);
  batch.setLength(ROWS, 4 * ROW_WORDS * ROWS);
  return batch;
}

function payloadOf({ payload }: DeltaBatch): Int32Array {
  return new Int32Array(payload.buffer, payload.byteOffset, ROW_WORDS * ROWS);
}

/** Other values for the rows: rows that come again and change nothing would wake nobody. */
export function renew(batch: DeltaBatch, tick: number): void {
  const words = payloadOf(batch);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, tick + 1000);
}

/** The same work with plain arrays. */
export function addTo(model: Int32Array, batch: DeltaBatch, idOfFirst: number): void {
  const { page, offset } = batch.columns, words = payloadOf(batch);
  for (let i = 0; i < ROWS; i++) {
    const to = (page[i] - idOfFirst) * WORDS + (offset[i] >>> 2);
    for (let k = 0; k < ROW_WORDS; k++) model[to + k] = words[ROW_WORDS * i + k];
  }
}

/** The derived pages of plain arrays. */
export function derive(model: Int32Array, reads: readonly (readonly number[])[]): void {
  reads.forEach((inputs, i) => {
    for (let word = 0; word < WORDS; word++) {
      let sum = 0;
      for (const input of inputs) sum = sum + model[input * WORDS + word] | 0;
      model[(SOURCES + i) * WORDS + word] = sum;
    }
  });
}

/** Throws where a page is not as in the plain arrays. */
export function compare(model: Int32Array, pages: readonly Page[]): void {
  const bytes = new Uint8Array(4 * WORDS), words = new Int32Array(bytes.buffer);
  pages.forEach((page, index) => {
    page.readInto(bytes);
    for (let word = 0; word < WORDS; word++) {
      if (words[word] !== model[index * WORDS + word]) throw new Error(`page ${index} differs`);
    }
  });
}
