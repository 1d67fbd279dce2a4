/**
 * Conformance suite of apply back-ends: whatever puts rows into pages, the same bytes stand there as after a fold of one
 * row after the other, and nothing else has changed.
 *
 * A function of the tests' runner, so that each back-end's own test file runs it; the random batches alone are another
 * one, which a long run calls with as many as it likes. What is compared is the whole arena: the pages, what lies
 * between them, and pages that no row is of. They are few and of all sizes from 16 bytes to 1 MiB, so that rows of a
 * batch collide.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import type { ApplyBackend } from "./apply_backend.ts";
import { DeltaBatch, type DeltaRow } from "./delta_batch.ts";
import { KIND_MASKED, KIND_SET } from "./kind.ts";
import { Pages } from "./_pages_test.ts";
import {
  COMBINE_KINDS,
  type Draft,
  fill,
  fit,
  type Flavour,
  flavours,
  fold,
  maskedPayload,
  poolBytes,
  repeated,
} from "./_rows_test.ts";

// For tests of other folders, which may not read what is private to this one.
export { COMBINE_KINDS, drafts, fill, fit, flavours, fold, poolBytes } from "./_rows_test.ts";
export { Pages } from "./_pages_test.ts";

/** What the suite needs to know of a back-end. */
export interface ApplySubject {
  /** Its name, for the names of the tests. */
  readonly name: string;
  /** Makes a back-end for some pages, hands it over, and disposes of it afterwards. */
  with(pages: Pages, check: (backend: ApplyBackend) => void): void | Promise<void>;
  /** Random batches of the suite, 0 for none. Default 100. */
  readonly runs?: number;
}

/** Random batches for a back-end. */
export interface RandomBatches {
  /** How many. */
  readonly runs: number;
  /** Where the random numbers begin; a failure prints its own. Default: anywhere. */
  readonly seed?: number;
}

/** Sizes of the pages of the suite, by id from 1 on. */
export const APPLY_SIZES: readonly number[] = [
  16,
  16,
  20,
  37,
  64,
  100,
  1024,
  4096,
  4099,
  65_536,
  2 ** 20,
];

/** The pages of the suite, filled with bytes that are no zeros. */
export function applyPages(): Pages {
  const pages = new Pages(APPLY_SIZES.map((size, index) => [index + 1, size] as const), 4 << 20);
  for (const id of pages.sizes.keys()) {
    const bytes = pages.bytes(id);
    for (let i = 0; i < bytes.length; i++) bytes[i] = i * 37 + id;
  }
  return pages;
}

/**
 * Hands all tests of the suite to a runner.
 *
 * @param subject The back-end.
 * @param test Takes a test's name and body.
 */
export function testApply(
  subject: ApplySubject,
  test: (name: string, body: () => void | Promise<void>) => void,
): void {
  const { name, runs = 100 } = subject;
  for (const [criterion, check] of Object.entries(CRITERIA)) {
    test(`${name} ${criterion}`, () => {
      const pages = applyPages();
      return subject.with(pages, (backend) => check(new Trial(pages, backend)));
    });
  }
  if (runs === 0) return;
  test(`${name} gives the bytes of the fold for ${runs} random batches`, () => {
    const pages = applyPages();
    return subject.with(pages, (backend) => applyRandomBatches(pages, backend, { runs }));
  });
}

/**
 * Applies random batches of all kinds, masks, lengths, alignments and layouts, and compares with the fold.
 *
 * @param pages From {@linkcode applyPages}; the batches go on from what they hold.
 * @param backend What applies.
 */
export function applyRandomBatches(
  pages: Pages,
  backend: ApplyBackend,
  { runs, seed }: RandomBatches,
): void {
  const trial = new Trial(pages, backend);
  fc.assert(
    fc.property(manyDrafts, ownFlavours, choices, layouts, (drafts, flavour, chosen, layout) => {
      const sizes = [...pages.sizes].filter(([id]) => chosen.includes(id));
      const rows = fit(drafts, sizes, short(flavour, sizes));
      const batch = new DeltaBatch({ rows: rows.length + 1, payloadBytes: poolBytes(rows) });
      if (layout === undefined) rows.forEach((row) => batch.append(row));
      else fill(batch, rows, layout);
      trial.apply(batch, rows);
    }),
    { numRuns: runs, ...(seed === undefined ? {} : { seed }) },
  );
}

/** Flavours, most of them without doubles, which not every back-end has kernels for: one such row is enough for it. */
const ownFlavours: fc.Arbitrary<Flavour> = fc.tuple(
  flavours,
  fc.constantFrom(true, true, true, true, false),
  fc.option(fc.constantFrom(...COMBINE_KINDS), { nil: undefined, freq: 3 }),
).map(([flavour, withoutDoubles, single]) => {
  if (single !== undefined) return { ...flavour, kinds: [single] };
  if (!withoutDoubles) return flavour;
  return { ...flavour, kinds: flavour.kinds.filter((kind) => kind >>> 4 !== 4) };
});

/** Rows of a page of a megabyte would take all the time there is. */
function short(flavour: Flavour, sizes: readonly (readonly [number, number])[]): Flavour {
  const isLarge = sizes.some(([, size]) => size > 2 ** 16);
  return { ...flavour, lengthMax: Math.min(flavour.lengthMax, isLarge ? 2 ** 18 : 2 ** 14) };
}

/** Operands that floats are odd about: −0, infinities, NaN of two kinds, the smallest numbers, the largest. */
const ODD_WORDS = [0x8000_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffa1_2345, 1, 0x8000_0001]
  .concat([0x007f_ffff, 0x0080_0000, 0x7f7f_ffff, 0xff7f_ffff, 0x3f80_0000, 0xffff_ffff, 0]);

const payloads: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 24, size: "max" }),
  fc.array(fc.constantFrom(...ODD_WORDS), { minLength: 2, maxLength: 6 })
    .map((words) => new Uint8Array(Uint32Array.from(words).buffer)),
);

/** Some rows, or many of small pages, which then collide. */
const manyDrafts: fc.Arbitrary<Draft[]> = fc.constantFrom(4, 40, 400).chain((maxLength) =>
  fc.array(
    fc.record({
      page: fc.nat(100),
      kind: fc.nat(100),
      offset: fc.nat(),
      length: fc.nat(),
      bytes: payloads,
    }),
    { maxLength, size: "max" },
  )
);

const choices: fc.Arbitrary<readonly number[]> = fc.oneof(
  fc.constantFrom([1], [1, 2], [3, 5], [8]),
  fc.uniqueArray(fc.integer({ min: 1, max: APPLY_SIZES.length - 1 }), {
    minLength: 1,
    maxLength: 6,
  }),
  fc.constant([2, APPLY_SIZES.length]),
);

const layouts: fc.Arbitrary<{ gaps: number[]; reversed: boolean } | undefined> = fc.option(
  fc.record({
    gaps: fc.array(fc.constantFrom(0, 1, 4, 8), { minLength: 1, maxLength: 4 }),
    reversed: fc.boolean(),
  }),
  { nil: undefined },
);

/** Pages with a back-end, and what they should hold. */
class Trial {
  readonly #pages: Pages;
  readonly #backend: ApplyBackend;
  /** The whole arena as it should be. */
  readonly #expected: Uint8Array;
  /** The pages in it. */
  readonly #model: Map<number, Uint8Array>;

  constructor(pages: Pages, backend: ApplyBackend) {
    this.#pages = pages;
    this.#backend = backend;
    this.#expected = pages.arena.region(0).slice();
    this.#model = new Map([...pages.sizes].map(([id, size]) => {
      const start = 16 * pages.table.slot(pages.table.rowOf(id));
      return [id, this.#expected.subarray(start, start + size)];
    }));
  }

  /** Applies rows, and compares all bytes. */
  rows(rows: readonly Partial<DeltaRow>[]): void {
    const whole = rows.map((row): DeltaRow => ({ ...NO_ROW, ...row }));
    this.apply(DeltaBatch.from(whole), whole);
  }

  /** Applies a batch of some rows, and compares all bytes. */
  apply(batch: DeltaBatch, rows: readonly DeltaRow[]): void {
    const pages = this.#pages, shape = pages.resolve(batch);
    this.#backend.apply(batch.kernel, batch.length, shape, pages);
    for (const row of rows) fold(this.#model, row);
    const found = pages.arena.region(0);
    const isSame = Buffer.compare(bufferOf(found), bufferOf(this.#expected)) === 0;
    if (isSame) return;
    const at = found.findIndex((byte, index) => byte !== this.#expected[index]);
    const [found1, expected] = [found[at], this.#expected[at]];
    // So that the next batch, a smaller one, begins with the right bytes.
    found.set(this.#expected);
    const page = [...pages.sizes.keys()].find((id) => {
      const start = 16 * pages.table.slot(pages.table.rowOf(id));
      return at >= start && at < start + pages.sizes.get(id)!;
    });
    const start = page === undefined ? 0 : 16 * pages.table.slot(pages.table.rowOf(page));
    assert.fail(
      `byte ${at - start} of ${page === undefined ? "the arena" : `page ${page}`} is ${found1}, ` +
        `expected ${expected}, after ${rows.length} rows (${this.#backend.name})`,
    );
  }
}

const NO_ROW: DeltaRow = {
  page: 1,
  offset: 0,
  length: 4,
  kind: KIND_SET,
  payload: new Uint8Array(4),
  source: "",
  intent: "",
};

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);
}

/** Many rows at one word, with payloads that differ. */
function colliding(kind: number, width: number, count: number): Partial<DeltaRow>[] {
  return Array.from({ length: count }, (_, i) => ({
    kind,
    length: width,
    payload: repeated(Uint8Array.of(i, i * 7, i >> 3, i * 3 + 1, 5, i, 9, 64), width),
  }));
}

const CRITERIA: Readonly<Record<string, (trial: Trial) => void>> = {
  "does nothing for a batch without rows": (trial) => trial.rows([]),

  "has the last of many rows at one word win": (trial) => {
    for (const count of [2, 65, 1000]) trial.rows(colliding(KIND_SET, 4, count));
    for (const width of [1, 3, 8, 16]) trial.rows(colliding(KIND_SET, width, 300));
  },

  "has the last of overlapping rows win, byte by byte": (trial) => {
    for (const step of [1, 4]) {
      const rows = Array.from({ length: 200 }, (_, i): Partial<DeltaRow> => {
        const length = step * (1 + i * 7 % 5), offset = step * (i * 13 % (16 / step));
        return {
          page: 7,
          offset,
          length,
          payload: repeated(Uint8Array.of(i, i + 1, i * 3), length),
        };
      });
      trial.rows(rows);
    }
  },

  "combines many operands at one element, with every kind": (trial) => {
    for (const kind of COMBINE_KINDS) {
      const width = kind >>> 4 === 4 ? 8 : 4;
      trial.rows(colliding(kind, width, 257));
      trial.rows(ODD_WORDS.flatMap((word) => {
        const payload = new Uint8Array(Uint32Array.of(word, word).buffer, 0, width);
        return [{ kind, length: width, payload }, { kind, offset: 8, length: width, payload }];
      }));
    }
  },

  "takes sets, masks and operands of one batch in their order": (trial) => {
    const rows = Array.from({ length: 300 }, (_, i): Partial<DeltaRow> => {
      const kind = [KIND_SET, KIND_MASKED, ...COMBINE_KINDS][i * 5 % (2 + COMBINE_KINDS.length)];
      const length = kind === KIND_MASKED ? 11 : 8, bytes = Uint8Array.of(i, i * 11, 1, i >> 2);
      const payload = kind === KIND_MASKED ? maskedPayload(length, bytes) : repeated(bytes, length);
      return {
        page: 1 + i % 2,
        offset: kind === KIND_MASKED ? i % 5 : 8 * (i & 1),
        length,
        kind,
        payload,
      };
    });
    trial.rows(rows);
  },

  "writes the first and the last bytes of each page, and none beside them": (trial) => {
    for (const length of [1, 4, 5, 16]) {
      trial.rows(APPLY_SIZES.flatMap((size, index) => {
        const payload = repeated(Uint8Array.of(index + 1, 2, 3), length);
        return [
          { page: index + 1, length, payload },
          { page: index + 1, offset: size - length, length, payload },
        ];
      }));
    }
  },

  "writes whole pages, up to 1 MiB": (trial) => {
    trial.rows(APPLY_SIZES.map((length, index) => {
      return { page: index + 1, length, payload: repeated(Uint8Array.of(index, 9, 4), length) };
    }));
    const length = 2 ** 20 - 3, payload = maskedPayload(length, Uint8Array.of(0xa5, 0, 0xff, 0x3c));
    trial.rows([{ page: APPLY_SIZES.length, offset: 1, length, kind: KIND_MASKED, payload }]);
  },

  "leaves what no bit of a mask names": (trial) => {
    for (let length = 1; length <= 9; length++) {
      const rows = Array.from({ length: 1 << length }, (_, mask): Partial<DeltaRow> => {
        const bytes = length > 8 ? [mask & 255, mask >> 8] : [mask];
        const bits = [...Array(length).keys()].filter((bit) => mask >> bit & 1);
        const payload = Uint8Array.of(...bytes, ...bits.map((bit) => mask * 5 + bit + 1));
        return { page: 5, offset: mask % 20, length, kind: KIND_MASKED, payload };
      });
      trial.rows(rows);
    }
  },
};
