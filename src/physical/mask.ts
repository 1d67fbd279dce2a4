/**
 * Masks: which bytes of a span count, one bit a byte, lowest bit first.
 *
 * A mask comes from what a page was and is to be, so that a delta carries just the bytes that differ;
 * merging unites masks; and what is stored for long is stored in the smallest of three forms. Bits
 * past the span are always zero.
 *
 * Stored form: u8 form, varint number of bits, then
 *
 * | form | name | bytes |
 * | --- | --- | --- |
 * | 0 | none | the mask as it is |
 * | 1 | runs | a varint a run: unset, set, unset …; the first may be 0, the last reaches the end |
 * | 2 | packed | varint number of set bits, u8 width, then the gap before each in so many bits |
 *
 * Varints have 7 bits a byte, lowest first, the high bit set on all but the last byte.
 *
 * Cost: comparing runs at the speed of memory where little differs (8 bytes a step); walking spans
 * costs a step for each 32 bits that are alike and one for each end of a run.
 *
 * @module
 */

import { checkBytes, checkInteger, MmsbError, PAGE_BYTES_MAX } from "../base/mod.ts";

/** The bytes of a mask with set bits in a row. */
export interface MaskSpan {
  /** First bit. */
  readonly offset: number;
  /** Number of bits. */
  readonly length: number;
}

/** Bytes of a mask for a span. */
export function maskBytes(length: number): number {
  return length + 7 >>> 3;
}

/**
 * The mask of the bytes in which two spans differ.
 *
 * @param before The old bytes.
 * @param after The new ones, as many.
 * @returns A bit a byte, set where they differ.
 * @throws {MmsbError} `usage` where the lengths differ or something is no Uint8Array.
 *
 * @example One byte of three
 * ```ts
 * import assert from "node:assert/strict";
 * import { maskOfChanges } from "./mask.ts";
 *
 * assert.deepEqual([...maskOfChanges(Uint8Array.of(1, 2, 3), Uint8Array.of(1, 9, 3))], [0b010]);
 * ```
 */
export function maskOfChanges(before: Uint8Array, after: Uint8Array): Uint8Array<ArrayBuffer> {
  const { length } = checkBytes("before", before);
  if (checkBytes("after", after).length !== length) {
    throw new MmsbError(
      "usage",
      `Cannot compare ${length} bytes with ${after.length}: give as many`,
      { values: { before: length, after: after.length } },
    );
  }
  const mask = new Uint8Array(maskBytes(length));
  const eights = (before.byteOffset | after.byteOffset) & 3 ? 0 : length >>> 3;
  const old = new Int32Array(before.buffer, eights === 0 ? 0 : before.byteOffset, 2 * eights);
  const now = new Int32Array(after.buffer, eights === 0 ? 0 : after.byteOffset, 2 * eights);
  for (let i = 0; i < eights; i++) {
    const low = old[2 * i] ^ now[2 * i], high = old[2 * i + 1] ^ now[2 * i + 1];
    if ((low | high) !== 0) mask[i] = bytesSet(low) | bytesSet(high) << 4;
  }
  for (let i = 8 * eights; i < length; i++) {
    if (before[i] !== after[i]) mask[i >>> 3] |= 1 << (i & 7);
  }
  return mask;
}

/** A bit for each of the four bytes of a word that is not zero. */
function bytesSet(word: number): number {
  const high = ((word & 0x7f7f_7f7f) + 0x7f7f_7f7f | word) & 0x8080_8080;
  return high >>> 7 & 1 | high >>> 14 & 2 | high >>> 21 & 4 | high >>> 28 & 8;
}

/**
 * Number of set bits of a mask.
 *
 * @throws {MmsbError} `usage` where it is no `Uint8Array`.
 */
export function maskPopulation(mask: Uint8Array): number {
  checkBytes("mask", mask);
  let set = 0, i = 0;
  if ((mask.byteOffset & 3) === 0) {
    const words = new Int32Array(mask.buffer, mask.byteOffset, mask.length >>> 2);
    for (let w = 0; w < words.length; w++) {
      let word = words[w];
      if (word === 0) continue;
      word -= word >>> 1 & 0x5555_5555;
      word = (word & 0x3333_3333) + (word >>> 2 & 0x3333_3333);
      set += Math.imul(word + (word >>> 4) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
    }
    i = 4 * words.length;
  }
  for (; i < mask.length; i++) for (let byte = mask[i]; byte !== 0; byte &= byte - 1) set++;
  return set;
}

/**
 * The next bit of a mask that has a value.
 *
 * @param mask The mask.
 * @param length Its bits.
 * @param from First bit looked at.
 * @param value What is looked for.
 * @returns The bit, `length` where there is none.
 */
export function nextBit(mask: Uint8Array, length: number, from: number, value: 0 | 1): number {
  if (from >= length) return length;
  const flip = value === 1 ? 0 : 0xff, bytes = maskBytes(length);
  let at = from >>> 3;
  let byte = (mask[at] ^ flip) & 0xff << (from & 7) & 0xff;
  while (byte === 0 && ++at < bytes) byte = mask[at] ^ flip;
  if (byte === 0) return length;
  return Math.min(length, 8 * at + 31 - Math.clz32(byte & -byte));
}

/**
 * The spans of set bits in a row, in order.
 *
 * @param mask The mask.
 * @param length Its bits.
 * @param gapMax Unset bits up to which two spans are given as one, as two would cost more.
 * @throws {MmsbError} `usage` for wrong types, `out-of-bounds` for more bits than the mask has.
 */
export function maskSpans(mask: Uint8Array, length: number, gapMax = 0): MaskSpan[] {
  checkInteger("length", length, 0, 8 * checkBytes("mask", mask).length);
  checkInteger("gapMax", gapMax, 0, Number.MAX_SAFE_INTEGER);
  const spans: MaskSpan[] = [];
  let first = nextBit(mask, length, 0, 1);
  while (first < length) {
    let end = nextBit(mask, length, first, 0);
    let next = nextBit(mask, length, end, 1);
    while (next < length && next - end <= gapMax) {
      end = nextBit(mask, length, next, 0);
      next = nextBit(mask, length, end, 1);
    }
    spans.push({ offset: first, length: end - first });
    first = next;
  }
  return spans;
}

/** Bytes of a row in the log beside its payload, roughly: what a row more must save to pay. */
export const ROW_COST_BYTES = 16;

/** Whether one masked row takes fewer bytes than a row for each of some spans, which are in order. */
export function isMaskSmaller(spans: readonly MaskSpan[]): boolean {
  const first = spans[0], last = spans[spans.length - 1];
  return maskBytes(last.offset + last.length - first.offset) < ROW_COST_BYTES * (spans.length - 1);
}

/** Sets bits of a mask in a row. */
export function setBits(mask: Uint8Array, offset: number, length: number): void {
  const end = offset + length;
  const first = Math.min(end, offset + 7 & ~7), last = Math.max(first, end & ~7);
  for (let bit = offset; bit < first; bit++) mask[bit >>> 3] |= 1 << (bit & 7);
  mask.fill(0xff, first >>> 3, last >>> 3);
  for (let bit = last; bit < end; bit++) mask[bit >>> 3] |= 1 << (bit & 7);
}

/**
 * The bytes whose bit is set, one after the other: the payload of a masked delta.
 *
 * @param bytes A span.
 * @param mask Its mask.
 * @returns As many bytes as the mask has set bits.
 * @throws {MmsbError} `usage` where they are no bytes or of different length.
 */
export function packMasked(bytes: Uint8Array, mask: Uint8Array): Uint8Array<ArrayBuffer> {
  checkFit(checkBytes("mask", mask), checkBytes("bytes", bytes).length);
  const packed = new Uint8Array(maskPopulation(mask));
  let at = 0;
  for (const { offset, length } of maskSpans(mask, bytes.length)) {
    packed.set(bytes.subarray(offset, offset + length), at);
    at += length;
  }
  return packed;
}

/** Form that a mask is stored in. */
export const MASK_FORM = {
  /** The mask as it is. */
  none: 0,
  /** Lengths of runs. */
  runs: 1,
  /** Gaps between set bits, in as many bits as the largest needs. */
  packed: 2,
} as const;

/**
 * The smallest stored form of a mask.
 *
 * @param mask A bit a byte; `ceil(length / 8)` bytes, no bits past the length.
 * @param length Its bits; at most 16,777,216.
 * @throws {MmsbError} `usage` where mask and length disagree, `out-of-bounds` for lengths that are
 * none.
 *
 * @example A run of 100,000 set bits takes eight bytes
 * ```ts
 * import assert from "node:assert/strict";
 * import { compressMask, decompressMask } from "./mask.ts";
 *
 * const mask = new Uint8Array(12_500).fill(0xff);
 * const stored = compressMask(mask, 100_000);
 * assert.equal(stored.length, 8);
 * assert.deepEqual(decompressMask(stored), { mask, length: 100_000 });
 * ```
 */
export function compressMask(mask: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  checkInteger("length", length, 0, PAGE_BYTES_MAX);
  checkFit(checkBytes("mask", mask), length);
  const { runs, gapMax, set } = measure(mask, length);
  const width = 32 - Math.clz32(gapMax);
  const packedBytes = varintBytes(set) + 1 + maskBytes(set * width);
  const smallest = Math.min(mask.length, runs, packedBytes);
  const out = new Uint8Array(1 + varintBytes(length) + smallest);
  let at = writeVarint(out, 1, length);
  if (smallest === mask.length) {
    out.set(mask, at);
  } else if (smallest === runs) {
    out[0] = MASK_FORM.runs;
    let value: 0 | 1 = 1;
    for (let from = 0; from < length; value = value === 1 ? 0 : 1) {
      const end = nextBit(mask, length, from, value);
      at = writeVarint(out, at, end - from);
      from = end;
    }
  } else {
    out[0] = MASK_FORM.packed;
    at = writeVarint(out, at, set);
    out[at++] = width;
    writeGaps(mask, length, width, out.subarray(at));
  }
  return out;
}

/** Bytes of the runs, number of set bits and the largest gap before one. */
function measure(mask: Uint8Array, length: number) {
  let runs = 0, set = 0, gapMax = 0, value: 0 | 1 = 1;
  for (let from = 0; from < length; value = value === 1 ? 0 : 1) {
    const end = nextBit(mask, length, from, value);
    runs += varintBytes(end - from);
    // The last unset run stands before no set bit.
    if (value === 0) set += end - from;
    else if (end < length && end - from > gapMax) gapMax = end - from;
    from = end;
  }
  return { runs, set, gapMax };
}

function writeGaps(mask: Uint8Array, length: number, width: number, out: Uint8Array): void {
  let at = 0, before = 0;
  for (
    let bit = nextBit(mask, length, 0, 1);
    bit < length;
    bit = nextBit(mask, length, before, 1)
  ) {
    const gap = bit - before;
    for (let i = 0; i < width; i++, at++) out[at >>> 3] |= (gap >>> i & 1) << (at & 7);
    before = bit + 1;
  }
}

/**
 * Reads a stored mask.
 *
 * @param stored What {@linkcode compressMask} gave, and nothing behind it.
 * @returns The mask and its number of bits.
 * @throws {MmsbError} `compression` where the bytes are no such form; nothing of it is returned.
 */
export function decompressMask(
  stored: Uint8Array,
): { mask: Uint8Array<ArrayBuffer>; length: number } {
  const reader = new Reader(checkBytes("stored mask", stored));
  const form = reader.byte();
  const length = reader.varint(PAGE_BYTES_MAX);
  const mask = new Uint8Array(maskBytes(length));
  if (form === MASK_FORM.none) {
    mask.set(reader.take(mask.length));
    if (hasBitsPast(mask, length)) reader.refuse("it has bits past its end");
  } else if (form === MASK_FORM.runs) {
    for (let at = 0, set = false; at < length; set = !set) {
      const run = reader.varint(length - at);
      if (run === 0 && at > 0) reader.refuse("a run is empty");
      if (set) setBits(mask, at, run);
      // An empty first run must be followed by a set one.
      if (run === 0 && set) reader.refuse("a run is empty");
      at += run;
    }
  } else if (form === MASK_FORM.packed) {
    readGaps(reader, mask, length);
  } else {
    reader.refuse(`there is no form ${form}`);
  }
  reader.end();
  return { mask, length };
}

function readGaps(reader: Reader, mask: Uint8Array, length: number): void {
  const set = reader.varint(length), width = reader.byte();
  if (width > 25) reader.refuse(`gaps have no ${width} bits`);
  const gaps = reader.take(maskBytes(set * width));
  if (hasBitsPast(gaps, set * width)) reader.refuse("it has bits past its gaps");
  let at = 0, bit = 0;
  for (let i = 0; i < set; i++, bit++) {
    let gap = 0;
    for (let k = 0; k < width; k++, at++) gap |= (gaps[at >>> 3] >>> (at & 7) & 1) << k;
    bit += gap;
    if (bit >= length) reader.refuse("a gap leads past its end");
    mask[bit >>> 3] |= 1 << (bit & 7);
  }
}

/** Refuses a mask that is not one of so many bits. */
function checkFit(mask: Uint8Array, length: number): void {
  if (mask.length === maskBytes(length) && !hasBitsPast(mask, length)) return;
  throw new MmsbError(
    "usage",
    `Cannot use a mask of ${mask.length} bytes for ${length} bits: give ${
      maskBytes(length)
    } bytes with no bits past the end`,
    { values: { maskBytes: mask.length, length } },
  );
}

/** Whether a mask has bits behind its length, which nothing may have. */
function hasBitsPast(mask: Uint8Array, length: number): boolean {
  return (length & 7) !== 0 && mask[mask.length - 1] >>> (length & 7) !== 0;
}

function varintBytes(value: number): number {
  return value < 128 ? 1 : Math.ceil((32 - Math.clz32(value)) / 7);
}

function writeVarint(out: Uint8Array, at: number, value: number): number {
  let rest = value;
  for (; rest >= 128; rest >>>= 7) out[at++] = rest & 127 | 128;
  out[at++] = rest;
  return at;
}

/** Reads a stored mask from its start; whatever does not fit is refused with its place. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  byte(): number {
    if (this.#at >= this.#bytes.length) this.refuse("it is cut");
    return this.#bytes[this.#at++];
  }

  varint(max: number): number {
    let value = 0;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) {
        if (byte === 0 && shift > 0) this.refuse("a number is longer than it need be");
        if (value > max) this.refuse(`${value} is more than ${max}`);
        return value;
      }
    }
    return this.refuse("a number is too long");
  }

  take(count: number): Uint8Array {
    if (count > this.#bytes.length - this.#at) this.refuse("it is cut");
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  end(): void {
    if (this.#at !== this.#bytes.length) this.refuse("bytes follow it");
  }

  refuse(reason: string): never {
    throw new MmsbError("compression", `Cannot read a stored mask as ${reason}: byte ${this.#at}`, {
      values: { offset: this.#at, length: this.#bytes.length, reason },
    });
  }
}
