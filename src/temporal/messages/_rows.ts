/**
 * A row of a batch into a record of the queue, and back.
 *
 * Dependencies come first, then the payload, as words: five lie in the record, the rest in a chain of blocks. The words of long
 * chains are copied out later, when the lock is free again (`_long_words.ts`).
 *
 * Cost: some 10 ns a row with a short payload, about 1 ns a word of a long one.
 */
import {
  BLOCK,
  BLOCK_COUNT,
  BLOCK_HEAD,
  BLOCK_WORDS,
  DEPENDENCIES,
  ERROR_US,
  FLAGS,
  FROM_US,
  HI,
  ID_HI,
  ID_LO,
  INLINE,
  INLINE_WORDS,
  LO,
  PAYLOAD_BYTES,
  SEQUENCE,
  UNTIL_US,
} from "./_queue_layout.ts";
import type { LongWords } from "./_long_words.ts";
import type { QueueMemory } from "./_queue_memory.ts";
import type { MessageBatch } from "./message_batch.ts";

/** Words of dependencies and payload. */
export function wordsOf(dependencies: number, payloadBytes: number): number {
  return 2 * dependencies + ((payloadBytes + 3) >>> 2);
}

/** Blocks for so many words. */
export function blocksOf(words: number): number {
  return words <= INLINE_WORDS ? 0 : Math.ceil((words - INLINE_WORDS) / (BLOCK_WORDS - 1));
}

/**
 * Writes rows of a batch into records, as far as they have one (0: none). There are blocks enough.
 *
 * One loop without a call, as in {@linkcode readRecords}.
 *
 * @param flags What is added to node and priority.
 */
export function writeRecords(
  memory: QueueMemory,
  records: Int32Array,
  from: number,
  end: number,
  batch: MessageBatch,
  flags: number,
): void {
  const { words, f64 } = memory;
  const { idHi, idLo, hi, lo, node, priority, sequence, errorUs, payloadWords } = batch;
  const { payloadStart, payloadBytes, dependencyCount } = batch;
  let isLong = false;
  for (let row = from; row < end; row++) {
    const record = records[row], half = record >> 1, at = record + INLINE;
    if (record === 0) continue;
    const bytes = payloadBytes[row], start = payloadStart[row] >>> 2;
    words[record + FLAGS] = node[row] | (priority[row] << 16) | flags;
    words[record + HI] = hi[row];
    words[record + LO] = lo[row];
    words[record + ID_HI] = idHi[row];
    words[record + ID_LO] = idLo[row];
    words[record + PAYLOAD_BYTES] = bytes;
    f64[half + SEQUENCE] = sequence[row];
    f64[half + ERROR_US] = errorUs[row];
    words[record + BLOCK] = 0;
    if (bytes > 4 * INLINE_WORDS || dependencyCount[row] !== 0) isLong = true;
    else {
      if (bytes > 0) words[at] = payloadWords[start];
      if (bytes > 4) words[at + 1] = payloadWords[start + 1];
      if (bytes > 8) words[at + 2] = payloadWords[start + 2];
      if (bytes > 12) words[at + 3] = payloadWords[start + 3];
      if (bytes > 16) words[at + 4] = payloadWords[start + 4];
    }
  }
  for (let row = from; isLong && row < end; row++) {
    if (payloadBytes[row] > 4 * INLINE_WORDS || dependencyCount[row] !== 0) {
      if (records[row] !== 0) writeLong(memory, records[row], batch, row);
    }
  }
}

/** Writes what only slots have. */
export function writeSlot(
  { words, f64 }: QueueMemory,
  slot: number,
  batch: MessageBatch,
  row: number,
): void {
  const half = slot >> 1;
  f64[half + FROM_US] = batch.validFromUs[row];
  f64[half + UNTIL_US] = batch.validUntilUs[row];
  words[slot + DEPENDENCIES] = batch.dependencyCount[row];
}

/**
 * Reads records into the rows of an empty batch, that has room for them; blocks are given back, now or later.
 *
 * One loop without a call, so that the engine looks once at what the columns are, and not in each row.
 */
export function readRecords(
  memory: QueueMemory,
  records: Int32Array,
  count: number,
  batch: MessageBatch,
  long: LongWords,
): void {
  const { words, f64 } = memory, { slotsAt } = memory.layout;
  const { idHi, idLo, hi, lo, node, priority, sequence, errorUs, payloadWords } = batch;
  const { validFromUs, validUntilUs, payloadStart, payloadBytes } = batch;
  const { dependencyStart, dependencyCount } = batch;
  let end = 0, dependencyEnd = 0, isLong = false;
  for (let row = 0; row < count; row++) {
    const record = records[row], half = record >> 1, at = record + INLINE;
    const flags = words[record + FLAGS], bytes = words[record + PAYLOAD_BYTES];
    idHi[row] = words[record + ID_HI];
    idLo[row] = words[record + ID_LO];
    hi[row] = words[record + HI];
    lo[row] = words[record + LO];
    node[row] = flags;
    priority[row] = (flags >>> 16) & 3;
    sequence[row] = f64[half + SEQUENCE];
    errorUs[row] = f64[half + ERROR_US];
    let fromUs = 0, untilUs = Infinity, dependencies = 0;
    if (record >= slotsAt) {
      fromUs = f64[half + FROM_US];
      untilUs = f64[half + UNTIL_US];
      dependencies = words[record + DEPENDENCIES];
    }
    validFromUs[row] = fromUs;
    validUntilUs[row] = untilUs;
    dependencyStart[row] = dependencyEnd;
    dependencyCount[row] = dependencies;
    payloadStart[row] = end << 2;
    payloadBytes[row] = bytes;
    if (dependencies !== 0 || bytes > 4 * INLINE_WORDS) isLong = true;
    else {
      if (bytes > 0) payloadWords[end] = words[at];
      if (bytes > 4) payloadWords[end + 1] = words[at + 1];
      if (bytes > 8) payloadWords[end + 2] = words[at + 2];
      if (bytes > 12) payloadWords[end + 3] = words[at + 3];
      if (bytes > 16) payloadWords[end + 4] = words[at + 4];
    }
    dependencyEnd += dependencies;
    end += (bytes + 3) >>> 2;
  }
  batch.count = count;
  batch.dependencyEnd = dependencyEnd;
  batch.payloadEnd = end << 2;
  for (let row = 0; isLong && row < count; row++) {
    if (dependencyCount[row] !== 0 || payloadBytes[row] > 4 * INLINE_WORDS) {
      long.read(records[row], batch, row);
    }
  }
}

/** Gives a chain of blocks back. */
export function freeBlocks({ words }: QueueMemory, first: number): number {
  if (first === 0) return 0;
  let last = first, count = 1;
  for (; words[last] !== 0; last = words[last]) count++;
  words[last] = words[BLOCK_HEAD];
  words[BLOCK_HEAD] = first;
  words[BLOCK_COUNT] += count;
  return count;
}

/** Writes dependencies and payload where they do not all fit, or there are both. There are blocks enough. */
function writeLong({ words }: QueueMemory, record: number, batch: MessageBatch, row: number): void {
  const idWords = 2 * batch.dependencyCount[row], firstId = 2 * batch.dependencyStart[row];
  const total = idWords + ((batch.payloadBytes[row] + 3) >>> 2);
  const start = (batch.payloadStart[row] >>> 2) - idWords;
  const { dependencies, payloadWords } = batch;
  let at = record + INLINE, left = INLINE_WORDS, link = record + BLOCK;
  for (let i = 0; i < total; i++) {
    if (left-- === 0) {
      const block = words[BLOCK_HEAD];
      words[BLOCK_HEAD] = words[block];
      words[BLOCK_COUNT]--;
      words[block] = 0;
      words[link] = block;
      link = block;
      at = block + 1;
      left = BLOCK_WORDS - 2;
    }
    words[at++] = i < idWords ? dependencies[firstId + i] : payloadWords[start + i];
  }
}
