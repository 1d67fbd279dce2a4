/**
 * Which of two records comes first, within a deadline class and a priority: by timestamp, sequence, node and id.
 *
 * Cost: two loads each where the timestamps differ, some 2 ns.
 */
import { FLAGS, HI, ID_HI, ID_LO, LO, SEQUENCE } from "./_queue_layout.ts";
import type { QueueMemory } from "./_queue_memory.ts";
import type { MessageBatch } from "./message_batch.ts";

/** Whether a record comes before another one. */
export function isBefore(memory: QueueMemory, a: number, b: number): boolean {
  const u32 = memory.u32;
  const aHi = u32[a + HI], bHi = u32[b + HI];
  if (aHi !== bHi) return aHi < bHi;
  const aLo = u32[a + LO], bLo = u32[b + LO];
  if (aLo !== bLo) return aLo < bLo;
  return isBeforeAtOnce(memory, a, b);
}

/** The same of two records with one timestamp. */
export function isBeforeAtOnce({ u32, f64 }: QueueMemory, a: number, b: number): boolean {
  const aSequence = f64[(a >> 1) + SEQUENCE], bSequence = f64[(b >> 1) + SEQUENCE];
  if (aSequence !== bSequence) return aSequence < bSequence;
  const aNode = u32[a + FLAGS] & 0xffff, bNode = u32[b + FLAGS] & 0xffff;
  if (aNode !== bNode) return aNode < bNode;
  if (u32[a + ID_HI] !== u32[b + ID_HI]) return u32[a + ID_HI] < u32[b + ID_HI];
  return u32[a + ID_LO] < u32[b + ID_LO];
}

/** Whether a row of a batch comes after a record. */
export function isRowAfter(
  { u32, f64 }: QueueMemory,
  batch: MessageBatch,
  row: number,
  record: number,
): boolean {
  const hi = batch.hi[row], lo = batch.lo[row];
  if (hi !== u32[record + HI]) return hi > u32[record + HI];
  if (lo !== u32[record + LO]) return lo > u32[record + LO];
  const sequence = batch.sequence[row], other = f64[(record >> 1) + SEQUENCE];
  if (sequence !== other) return sequence > other;
  const node = batch.node[row], otherNode = u32[record + FLAGS] & 0xffff;
  if (node !== otherNode) return node > otherNode;
  const idHi = batch.idHi[row];
  if (idHi !== u32[record + ID_HI]) return idHi > u32[record + ID_HI];
  return batch.idLo[row] > u32[record + ID_LO];
}
