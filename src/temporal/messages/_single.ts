/**
 * One plain message in, one out: what the general way does, without its loops, for calls with batches of one row.
 *
 * Each says whether it applies; where it does not, nothing has changed and the general way is taken.
 *
 * Cost: half of the general way for a single row; most of a call is then the lock.
 */
import type { IdGroups } from "./_id_groups.ts";
import type { Lanes } from "./_lanes.ts";
import {
  BLOCK,
  DELIVERED,
  EDGE_COUNT,
  ERROR_US,
  FLAGS,
  HI,
  ID_HI,
  ID_LO,
  INLINE,
  INLINE_WORDS,
  LANE_MASK,
  LO,
  PAYLOAD_BYTES,
  PUSHED,
  READY_COUNT,
  READY_MASK,
  SEQUENCE,
} from "./_queue_layout.ts";
import type { QueueMemory } from "./_queue_memory.ts";
import { isBefore } from "./_record_order.ts";
import type { MessageBatch } from "./message_batch.ts";

/** Whether the first row of a batch is a plain message with a short payload, and what it says is no nonsense. */
export function isPlain(batch: MessageBatch): boolean {
  const number = batch.sequence[0], bytes = batch.payloadBytes[0];
  return batch.validUntilUs[0] === Infinity && batch.validFromUs[0] === 0 &&
    batch.dependencyCount[0] === 0 && batch.priority[0] <= 3 && batch.errorUs[0] >= 0 &&
    number >= 0 && number <= Number.MAX_SAFE_INTEGER && Math.floor(number) === number &&
    (bytes === 0 || bytes <= 4 * INLINE_WORDS && (batch.payloadStart[0] & 3) === 0 &&
        batch.payloadStart[0] + bytes <= batch.payload.length);
}

/** Puts a plain first row at the end of its producer's lane. */
export function pushSingle(
  memory: QueueMemory,
  ids: IdGroups,
  lanes: Lanes,
  batch: MessageBatch,
  producer: number,
): boolean {
  const { words, f64 } = memory;
  const hi = batch.hi[0], lo = batch.lo[0], priority = batch.priority[0];
  const record = lanes.next(((3 - priority) << 3) | (producer & 7), hi, lo);
  if (record === 0) return false;
  const idHi = batch.idHi[0] | 0, idLo = batch.idLo[0] | 0;
  if (!ids.claim(idHi, idLo)) return false;
  lanes.append(((3 - priority) << 3) | (producer & 7), record);
  const half = record >> 1, bytes = batch.payloadBytes[0];
  words[record + FLAGS] = batch.node[0] | (priority << 16) | (3 << 18) | ((producer & 7) << 24);
  words[record + HI] = hi;
  words[record + LO] = lo;
  words[record + ID_HI] = idHi;
  words[record + ID_LO] = idLo;
  words[record + PAYLOAD_BYTES] = bytes;
  f64[half + SEQUENCE] = batch.sequence[0];
  f64[half + ERROR_US] = batch.errorUs[0];
  words[record + BLOCK] = 0;
  if (bytes > 0) {
    const start = batch.payloadStart[0] >>> 2, count = (bytes + 3) >>> 2;
    for (let i = 0; i < count; i++) words[record + INLINE + i] = batch.payloadWords[start + i];
  }
  words[READY_COUNT]++;
  f64[PUSHED]++;
  batch.outcome[0] = 0;
  return true;
}

/** Takes the first message into an empty batch, where it is a short one in a lane, no slot holds a ready one and nobody waits. */
export function takeSingle(
  memory: QueueMemory,
  ids: IdGroups,
  lanes: Lanes,
  batch: MessageBatch,
): boolean {
  const { words, f64 } = memory, mask = words[LANE_MASK];
  if (mask === 0 || words[READY_MASK] !== 0 || words[EDGE_COUNT] !== memory.edges) return false;
  let lane = 31 - Math.clz32(mask & -mask), record = lanes.first(lane);
  const highest = lane;
  for (let left = (mask >>> lane) & (255 >>> (lane & 7)) & ~1; left !== 0; left &= left - 1) {
    const other = highest + 31 - Math.clz32(left & -left);
    if (!isBefore(memory, lanes.first(other), record)) continue;
    record = lanes.first(other);
    lane = other;
  }
  const half = record >> 1, bytes = words[record + PAYLOAD_BYTES], count = (bytes + 3) >>> 2;
  if (bytes > 4 * INLINE_WORDS || count > batch.payloadWords.length) return false;
  const flags = words[record + FLAGS], idHi = words[record + ID_HI], idLo = words[record + ID_LO];
  batch.idHi[0] = idHi;
  batch.idLo[0] = idLo;
  batch.hi[0] = words[record + HI];
  batch.lo[0] = words[record + LO];
  batch.node[0] = flags;
  batch.priority[0] = (flags >>> 16) & 3;
  batch.sequence[0] = f64[half + SEQUENCE];
  batch.errorUs[0] = f64[half + ERROR_US];
  batch.validFromUs[0] = 0;
  batch.validUntilUs[0] = Infinity;
  batch.dependencyStart[0] = batch.dependencyCount[0] = 0;
  batch.payloadStart[0] = 0;
  batch.payloadBytes[0] = bytes;
  for (let i = 0; i < count; i++) batch.payloadWords[i] = words[record + INLINE + i];
  batch.payloadEnd = count << 2;
  batch.count = 1;
  ids.deliver(idHi, idLo);
  lanes.cut(lane, record);
  words[READY_COUNT]--;
  f64[DELIVERED]++;
  return true;
}
