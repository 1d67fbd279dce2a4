/**
 * Boundary checks of the temporal layer: is this a 64-bit word, a half of one, a node id?
 *
 * They stand alone because clocks, codecs and the timestamp functions all ask the same questions
 * and must refuse in the same words. Cost: a comparison or two, paid at edges and once a batch,
 * never once a delta.
 */
import { checkInteger } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";

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
    `Cannot take ${String(timestamp)} as a timestamp: give a bigint of 64 bits without sign`,
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
  if (hi >>> 0 === hi && lo >>> 0 === lo) return;
  throw new MmsbError(
    "usage",
    `Cannot take ${String(hi)} and ${
      String(lo)
    } as the halves of a timestamp: give two unsigned 32-bit numbers`,
    { values: { hi, lo } },
  );
}

/**
 * Refuses a number that is no node id.
 *
 * @param node The node id.
 * @throws {MmsbError} `usage` if it is not a whole number from 0 to 65535.
 */
export function requireNode(node: number): void {
  checkInteger("node id", node, 0, 0xffff, "usage");
}
