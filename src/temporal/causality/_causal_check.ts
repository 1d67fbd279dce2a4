/**
 * Boundary checks of this folder: is this a node id, a half of a timestamp, a message's number?
 *
 * Cost: a comparison or two; they stand in the way of every message.
 */
import { checkInteger } from "../../base/assert.ts";
import { NODE_MAX } from "../timestamp.ts";

const U32_MAX = 0xffff_ffff;

/** Refuses what is no node id. */
export function requireNode(node: number): void {
  if (typeof node === "number" && (node & NODE_MAX) === node) return;
  checkInteger("node id", node, 0, NODE_MAX, "usage");
}

/** Refuses what are no halves of a timestamp. */
export function requireHalves(hi: number, lo: number): void {
  if (hi >>> 0 === hi && lo >>> 0 === lo) return;
  checkInteger("upper half of a timestamp", hi, 0, U32_MAX, "usage");
  checkInteger("lower half of a timestamp", lo, 0, U32_MAX, "usage");
}

/** Refuses what is no number of a message, from 1. */
export function requireSequence(sequence: number): void {
  checkInteger("sequence", sequence, 1, Number.MAX_SAFE_INTEGER, "usage");
}
