/**
 * The hybrid logical timestamp: one 64-bit word.
 *
 * ```text
 *  63                                            12 11          0
 * ┌────────────────────────────────────────────────┬─────────────┐
 * │ physical: whole µs since the Unix epoch, 52 bits│ logical, 12 │
 * └────────────────────────────────────────────────┴─────────────┘
 *  hi: the upper u32               lo: the lower u32
 * ```
 *
 * Why one word: two timestamps compare as two unsigned integers, "the next one" is plus one, and a
 * clock that threads share is one compare-and-swap. When the logical counter is full, plus one
 * carries into the microsecond by itself; nothing needs to notice. Two separate words cannot do
 * this without a lock, and without one they give duplicates.
 *
 * Why two halves: JavaScript has no 64-bit integer that does not allocate. Hot paths hold the word
 * as two u32 numbers, `hi` and `lo`; a bigint is made at the edges only.
 *
 * The node id (16 bits) is no part of the word. It breaks the tie between equal words of two
 * clocks, so that the order physical, logical, node is total.
 *
 * 52 bits of microseconds last until the year 2112.
 *
 * Cost: a comparison of halves is a few ns; a conversion to bigint is tens of ns and allocates.
 */
import { checkInteger } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";
import { requireHalves, requireNode, requireTimestamp } from "./check.ts";

/** Bits of the logical counter, the low end of the word. */
export const LOGICAL_BITS = 12;

/** The largest logical counter: 4095. */
export const LOGICAL_MAX = 4095;

/** The largest physical part, in µs since the Unix epoch: 2⁵² − 1, in September 2112. */
export const PHYSICAL_US_MAX = 2 ** 52 - 1;

/** The largest timestamp, all 64 bits set. */
export const TIMESTAMP_MAX = 0xffff_ffff_ffff_ffffn;

/** The largest node id: 16 bits. */
export const NODE_MAX = 0xffff;

const U32_MAX = 0xffff_ffff;

/** How many µs one step of `hi` is worth: the 20 low bits of the µs live in `lo`. */
const US_PER_HI = 2 ** 20;

/**
 * Makes a timestamp from its two parts.
 *
 * @param physicalUs Whole µs since the Unix epoch, 0 to {@linkcode PHYSICAL_US_MAX}.
 * @param logical The counter, 0 to {@linkcode LOGICAL_MAX}.
 * @returns The 64-bit word.
 * @throws {MmsbError} `usage` if a part is not a whole number in its range.
 *
 * @example A timestamp and its parts
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const timestamp = timestampOf(1_767_225_600_000_000, 3);
 *
 * equal(timestamp, (1_767_225_600_000_000n << 12n) + 3n);
 * ```
 */
export function timestampOf(physicalUs: number, logical: number): bigint {
  checkInteger("physical part in µs", physicalUs, 0, PHYSICAL_US_MAX, "usage");
  checkInteger("logical counter", logical, 0, LOGICAL_MAX, "usage");
  return (BigInt(physicalUs) << 12n) | BigInt(logical);
}

/**
 * The physical part of a timestamp.
 *
 * @param timestamp A 64-bit word.
 * @returns Whole µs since the Unix epoch, exact.
 * @throws {MmsbError} `usage` if `timestamp` does not fit 64 unsigned bits.
 *
 * @example Read the microseconds
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(physicalUs(timestampOf(1_000_000, 7)), 1_000_000);
 * ```
 */
export function physicalUs(timestamp: bigint): number {
  requireTimestamp(timestamp);
  return Number(timestamp >> 12n);
}

/**
 * The logical part of a timestamp.
 *
 * @param timestamp A 64-bit word.
 * @returns The counter, 0 to {@linkcode LOGICAL_MAX}.
 * @throws {MmsbError} `usage` if `timestamp` does not fit 64 unsigned bits.
 *
 * @example Read the counter
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(logical(timestampOf(1_000_000, 7)), 7);
 * ```
 */
export function logical(timestamp: bigint): number {
  requireTimestamp(timestamp);
  return Number(timestamp & 0xfffn);
}

/**
 * The upper half of a timestamp.
 *
 * @param timestamp A 64-bit word.
 * @returns A u32.
 * @throws {MmsbError} `usage` if `timestamp` does not fit 64 unsigned bits.
 *
 * @example From bigint to halves and back
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const timestamp = 0x0123_4567_89ab_cdefn;
 *
 * equal(timestampHi(timestamp), 0x0123_4567);
 * equal(timestampLo(timestamp), 0x89ab_cdef);
 * equal(timestampFromHalves(timestampHi(timestamp), timestampLo(timestamp)), timestamp);
 * ```
 */
export function timestampHi(timestamp: bigint): number {
  requireTimestamp(timestamp);
  return Number(timestamp >> 32n);
}

/**
 * The lower half of a timestamp.
 *
 * @param timestamp A 64-bit word.
 * @returns A u32.
 * @throws {MmsbError} `usage` if `timestamp` does not fit 64 unsigned bits.
 *
 * @example The low 32 bits
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(timestampLo(0x0000_0001_0000_0002n), 2);
 * ```
 */
export function timestampLo(timestamp: bigint): number {
  requireTimestamp(timestamp);
  return Number(timestamp & 0xffff_ffffn);
}

/**
 * Joins two halves into one word. Not checked: halves come from clocks and batch columns, whose
 * arrays hold nothing but u32.
 *
 * @param hi The upper u32.
 * @param lo The lower u32.
 * @returns The 64-bit word.
 *
 * @example Join halves
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(timestampFromHalves(1, 2), 0x0000_0001_0000_0002n);
 * ```
 */
export function timestampFromHalves(hi: number, lo: number): bigint {
  return (BigInt(hi) << 32n) | BigInt(lo);
}

/**
 * The physical part of a timestamp held in halves; allocates nothing.
 *
 * @param hi The upper u32.
 * @param lo The lower u32.
 * @returns Whole µs since the Unix epoch, exact.
 *
 * @example Microseconds without a bigint
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const timestamp = timestampOf(1_767_225_600_000_000, 3);
 *
 * equal(
 *   physicalUsOfHalves(timestampHi(timestamp), timestampLo(timestamp)),
 *   1_767_225_600_000_000,
 * );
 * ```
 */
export function physicalUsOfHalves(hi: number, lo: number): number {
  return hi * US_PER_HI + (lo >>> LOGICAL_BITS);
}

/**
 * The timestamp `count` steps after one held in halves. This is how the row of a batch finds its
 * time: the batch keeps the first timestamp of its range, and row `i` adds `i`.
 *
 * Hot loops take {@linkcode addToHi} and {@linkcode addToLo}, which allocate nothing.
 *
 * @param hi The upper u32.
 * @param lo The lower u32.
 * @param count Steps, a u32.
 * @returns The 64-bit word.
 * @throws {MmsbError} `limit` if the sum does not fit 64 bits; `usage` if an argument is no u32.
 *
 * @example The time of row 5
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(addTo(7, 0xffff_ffff, 5), 0x0000_0008_0000_0004n);
 * ```
 */
export function addTo(hi: number, lo: number, count: number): bigint {
  requireHalves(hi, lo);
  checkInteger("count", count, 0, U32_MAX, "usage");
  const sumHi = addToHi(hi, lo, count);
  if (sumHi > U32_MAX) {
    throw new MmsbError(
      "limit",
      `Cannot add ${count} to timestamp ${timestampFromHalves(hi, lo)}: ` +
        "timestamps end at 2^64 - 1, in the year 2112",
      { values: { hi, lo, count } },
    );
  }
  return timestampFromHalves(sumHi, addToLo(lo, count));
}

/**
 * The upper half of {@linkcode addTo}. Not checked; a range that a clock reserved never overflows.
 *
 * @param hi The upper u32.
 * @param lo The lower u32.
 * @param count Steps, a u32.
 * @returns The upper half of the sum; 2³² if the sum does not fit 64 bits.
 *
 * @example The carry
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(addToHi(7, 0xffff_ffff, 1), 8);
 * ```
 */
export function addToHi(hi: number, lo: number, count: number): number {
  return lo + count > U32_MAX ? hi + 1 : hi;
}

/**
 * The lower half of {@linkcode addTo}. Not checked.
 *
 * @param lo The lower u32.
 * @param count Steps, a u32.
 * @returns The lower half of the sum, a u32.
 *
 * @example It wraps where the upper half takes the carry
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(addToLo(0xffff_ffff, 1), 0);
 * ```
 */
export function addToLo(lo: number, count: number): number {
  return (lo + count) >>> 0;
}

/**
 * Total order of timestamps held in halves: physical, logical, node. Allocates nothing. Not checked: halves are u32.
 *
 * @param aHi The upper u32 of the first timestamp.
 * @param aLo Its lower u32.
 * @param aNode Its node id.
 * @param bHi The upper u32 of the second timestamp.
 * @param bLo Its lower u32.
 * @param bNode Its node id.
 * @returns −1 if the first is earlier, 1 if it is later, 0 if all three parts are equal.
 *
 * @example Equal words are ordered by node
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(compare(1, 5, 0, 1, 6, 0), -1);
 * equal(compare(1, 5, 9, 1, 5, 2), 1);
 * equal(compare(1, 5, 2, 1, 5, 2), 0);
 * ```
 */
export function compare(
  aHi: number,
  aLo: number,
  aNode: number,
  bHi: number,
  bLo: number,
  bNode: number,
): -1 | 0 | 1 {
  if (aHi !== bHi) return orderOf(aHi, bHi);
  return orderOf(aLo, bLo) || orderOf(aNode, bNode);
}

/** The order of two numbers, without a branch: that would be guessed wrong half the time where messages come out of order. */
function orderOf(a: number, b: number): -1 | 0 | 1 {
  return (Number(a > b) - Number(a < b)) as -1 | 0 | 1;
}

/**
 * Total order of timestamps: physical, logical, node. Fits `Array.sort` where there is one node.
 *
 * @param a The first timestamp.
 * @param b The second timestamp.
 * @param aNode Node id of the first, 0 if left out.
 * @param bNode Node id of the second, 0 if left out.
 * @returns −1 if the first is earlier, 1 if it is later, 0 if all parts are equal.
 * @throws {MmsbError} `usage` if a timestamp or a node id is out of range.
 *
 * @example Sort
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 *
 * deepEqual([30n, 10n, 20n].sort((a, b) => compareTimestamps(a, b)), [10n, 20n, 30n]);
 * ```
 */
export function compareTimestamps(a: bigint, b: bigint, aNode = 0, bNode = 0): -1 | 0 | 1 {
  requireTimestamp(a);
  requireTimestamp(b);
  requireNode(aNode);
  requireNode(bNode);
  if (a !== b) return a < b ? -1 : 1;
  if (aNode !== bNode) return aNode < bNode ? -1 : 1;
  return 0;
}
