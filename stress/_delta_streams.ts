/**
 * Streams of deltas for the throughput suite, each from a seed: small sets, all kinds, all sizes, hot pages.
 *
 * A batch is filled in its columns, again and again, so that making rows costs as little as it can and the same
 * rows can be made twice: for the bus and for the fold beside it.
 */

import {
  COMBINE_OPERATIONS,
  COMBINE_TYPES,
  combineKind,
  DeltaBatch,
  elementBytes,
  KIND_MASKED,
  KIND_SET,
} from "../src/physical/mod.ts";

/** Rows of one sort. */
export interface DeltaStream {
  readonly what: string;
  readonly pages: number;
  readonly pageBytes: number;
  /** Rows of a batch. */
  readonly rows: number;
  /** Room for payloads in a batch. */
  readonly payloadBytes: number;
  /** Fills an empty batch with so many rows. */
  readonly fill: (batch: DeltaBatch, rows: number, random: Xorshift) => void;
}

/** Random words (Marsaglia, "Xorshift RNGs", 2003): quick, and good enough to scatter. */
export class Xorshift {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e37_79b1) ^ 0x85eb_ca6b;
    if (this.#state === 0) this.#state = 1;
  }

  /** The next 32 bits, 0 to 2^32 − 1. */
  next(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state >>> 0;
  }
}

/** A batch for a stream. */
export function batchFor({ rows, payloadBytes }: DeltaStream, rowsMax = rows): DeltaBatch {
  const share = Math.ceil(payloadBytes * rowsMax / rows / 4) * 4;
  return new DeltaBatch({ rows: rowsMax, payloadBytes: Math.max(1024, share) });
}

const ROWS = 62_500;

/** Sets of 16 bytes; `pageOf` says which page. */
function sets16(
  what: string,
  pages: number,
  pageOf: (random: number, next: Xorshift) => number,
): DeltaStream {
  return {
    what,
    pages,
    pageBytes: 64,
    rows: ROWS,
    payloadBytes: 16 * ROWS,
    fill(batch, rows, random): void {
      const { columns: { page, offset, length, payloadStart, kind }, payload } = batch;
      const words = new Int32Array(payload.buffer, payload.byteOffset, 4 * rows);
      for (let i = 0; i < rows; i++) {
        const word = random.next();
        page[i] = pageOf(word, random);
        offset[i] = (word >>> 28 & 3) * 16;
        length[i] = 16;
        kind[i] = KIND_SET;
        payloadStart[i] = 16 * i;
        words[4 * i] = word;
        words[4 * i + 1] = ~word;
        words[4 * i + 2] = i;
        words[4 * i + 3] = word >>> 3;
      }
      batch.setLength(rows, 16 * rows);
    },
  };
}

/** Sets of 16 bytes all over the pages. */
export function small(pages: number): DeltaStream {
  return sets16("sets of 16 B", pages, (word) => 1 + word % pages);
}

/** All on one page. */
export const ONE_PAGE: DeltaStream = sets16("all on one page", 1, () => 1);
/** 90 % of the rows on 1 % of the pages. */
export function hot(pages: number): DeltaStream {
  return sets16(
    "90 % on 1 % of the pages",
    pages,
    (word, random) => 1 + random.next() % (word % 10 === 0 ? pages : Math.ceil(pages / 100)),
  );
}

/** Every operation on every type that has it. */
const COMBINING: readonly number[] = COMBINE_TYPES.flatMap((type) =>
  COMBINE_OPERATIONS
    .filter((operation) => type === "i32" || type === "u32" || !/or|and/.test(operation))
    .map((operation) => combineKind(type, operation))
);
/** Operands that a float's operation may stumble over. */
const ODD: readonly number[] = [NaN, 0, -0, Infinity, -Infinity, 1e-310, 2 ** 53, -1.5];

/** Sets, masked sets, and every combining operation with one to four elements. */
export const KINDS: DeltaStream = {
  what: `set, masked and ${COMBINING.length} combining kinds`,
  pages: 4096,
  pageBytes: 256,
  rows: 50_000,
  payloadBytes: 64 * 50_000,
  fill(batch, rows, random): void {
    const { columns: { page, offset, length, payloadStart, kind }, payload } = batch;
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    let at = 0;
    for (let i = 0; i < rows; i++) {
      const word = random.next(), choice = word % 100;
      page[i] = 1 + random.next() % 4096;
      payloadStart[i] = at;
      if (choice < 30) {
        const bytes = 1 + (word >>> 8) % 40;
        kind[i] = KIND_SET;
        length[i] = bytes;
        offset[i] = (word >>> 16) % (257 - bytes);
        for (let k = 0; k < bytes; k++) payload[at + k] = word >>> (k & 7) ^ k;
        at += bytes + 3 & ~3;
      } else if (choice < 50) {
        const bytes = 1 + (word >>> 8) % 32, mask = bytes + 7 >>> 3;
        kind[i] = KIND_MASKED;
        length[i] = bytes;
        offset[i] = (word >>> 16) % (257 - bytes);
        // Bits behind the span stay 0.
        const bits = (random.next() & (bytes === 32 ? -1 : 2 ** bytes - 1)) | 1;
        for (let k = 0; k < mask; k++) payload[at + k] = bits >>> 8 * k;
        let packed = at + mask;
        for (let k = 0; k < bytes; k++) if ((bits >>> k & 1) === 1) payload[packed++] = word >>> k;
        at = packed + 3 & ~3;
      } else {
        const code = COMBINING[(word >>> 8) % COMBINING.length], width = elementBytes(code);
        const elements = 1 + (word >>> 16 & 3), bytes = elements * width;
        kind[i] = code;
        length[i] = bytes;
        offset[i] = width * ((word >>> 18) % ((256 - bytes) / width + 1));
        for (let k = 0; k < bytes; k += width) {
          const value = random.next(), type = code >>> 4;
          const operand = (value & 31) < ODD.length ? ODD[value & 31] : (value - 2 ** 31) / 1024;
          if (type <= 2) view.setUint32(at + k, value, true);
          else if (type === 3) view.setFloat32(at + k, operand, true);
          else view.setFloat64(at + k, operand, true);
        }
        at += bytes;
      }
    }
    batch.setLength(rows, at);
  },
};

const LARGE_BYTES = 65_536;

/** Sets of 1 B to 64 KiB, each power of two six tenths as often as the one before: 63 B on average. */
export const SIZES: DeltaStream = {
  what: "sets of 1 B to 64 KiB",
  pages: 512,
  pageBytes: LARGE_BYTES,
  rows: 16_384,
  payloadBytes: 4 * 2 ** 20,
  fill(batch, rows, random): void {
    const { columns: { page, offset, length, payloadStart, kind }, payload } = batch;
    let at = 0;
    for (let i = 0; i < rows; i++) {
      const word = random.next();
      let bytes = 1;
      while (bytes < LARGE_BYTES && random.next() < 0.6 * 2 ** 32) bytes *= 2;
      bytes = Math.min(LARGE_BYTES, bytes + random.next() % bytes);
      // A batch that has no room for a large one gets a small one.
      if (at + bytes + 8 * (rows - i) > payload.length) bytes = 1 + bytes % 8;
      page[i] = 1 + word % 512;
      offset[i] = random.next() % (LARGE_BYTES - bytes + 1);
      length[i] = bytes;
      kind[i] = KIND_SET;
      payloadStart[i] = at;
      if (bytes > 64) payload.fill(word, at, at + bytes);
      for (let k = 0; k < Math.min(bytes, 64); k++) payload[at + k] = word >>> (k & 15) ^ i;
      at += bytes + 3 & ~3;
    }
    batch.setLength(rows, at);
  },
};

const SHARED_PAGES = 64;
/** Pages that one of several producers writes alone. */
const OWN_PAGES = 4096;

/**
 * Rows of one of several producers, whose order among each other does not matter: sets on pages of its own, and
 * integer additions to pages of all.
 */
export function producerStream(producer: number, producers: number): DeltaStream {
  return {
    what: `producer ${producer} of ${producers}`,
    pages: SHARED_PAGES + producers * OWN_PAGES,
    pageBytes: 64,
    rows: 16_384,
    payloadBytes: 16 * 16_384,
    fill(batch, rows, random): void {
      const { columns: { page, offset, length, payloadStart, kind }, payload } = batch;
      const words = new Int32Array(payload.buffer, payload.byteOffset, 4 * rows);
      const adding = combineKind("u32", "add");
      for (let i = 0; i < rows; i++) {
        const word = random.next(), isShared = word % 8 === 0;
        page[i] = isShared
          ? 1 + (word >>> 8) % SHARED_PAGES
          : 1 + SHARED_PAGES + producer * OWN_PAGES + (word >>> 8) % OWN_PAGES;
        offset[i] = (word >>> 28 & 3) * 16;
        length[i] = 16;
        kind[i] = isShared ? adding : KIND_SET;
        payloadStart[i] = 16 * i;
        words.fill(word, 4 * i, 4 * i + 4);
      }
      batch.setLength(rows, 16 * rows);
    },
  };
}
