/**
 * Boundary checks of the temporal layer: is this a 64-bit word, a half of one, a node id?
 *
 * They stand alone because clocks, codecs and the timestamp functions all ask the same questions
 * and must refuse in the same words. Cost: a comparison or two, paid at edges and once a batch,
 * never once a delta.
 */
import { checkInteger } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";

const U32_MAX = 0xffff_ffff;

/**
 * Refuses what is no timestamp.
 *
 * @param timestamp The word.
 * @throws {MmsbError} `usage` if it is no bigint or does not fit 64 unsigned bits.
 */
export function requireTimestamp(timestamp: bigint): void {
  if (typeof timestamp === "bigint" && BigInt.asUintN(64, timestamp) === timestamp) return;
  throw new MmsbError(
    "usage",
    `Cannot take ${
      typeof timestamp === "bigint" ? timestamp : typeof timestamp
    } as a timestamp: give a bigint of 64 bits without sign`,
    { values: { timestamp } },
  );
}

/**
 * Refuses two numbers that are no halves of a timestamp.
 *
 * @param hi The upper half.
 * @param lo The lower half.
 * @throws {MmsbError} `usage` if one is not a whole number from 0 to 2³² − 1.
 */
export function requireHalves(hi: number, lo: number): void {
  // A bigint cannot be shifted with a number.
  if (
    typeof hi === "number" && typeof lo === "number" && hi >>> 0 === hi && lo >>> 0 === lo
  ) return;
  checkInteger("upper half of a timestamp", hi, 0, U32_MAX, "usage");
  checkInteger("lower half of a timestamp", lo, 0, U32_MAX, "usage");
}

/**
 * Refuses a number that is no node id.
 *
 * @param node The node id.
 * @throws {MmsbError} `usage` if it is not a whole number from 0 to 65535.
 */
export function requireNode(node: number): void {
  // In the way of every message, so the common case is one comparison.
  if (typeof node === "number" && (node & 0xffff) === node) return;
  checkInteger("node id", node, 0, 0xffff, "usage");
}
