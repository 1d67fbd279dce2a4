/**
 * A row of a batch into a record of the queue, and back.
 *
 * Dependencies come first, then the payload, as words: five lie in the record, the rest in a chain of blocks.
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
  type QueueMemory,
  SEQUENCE,
  UNTIL_US,
} from "./_queue_memory.ts";
import type { MessageBatch } from "./message_batch.ts";

/** Words of dependencies and payload. */
export function wordsOf(dependencies: number, payloadBytes: number): number {
  return 2 * dependencies + ((payloadBytes + 3) >>> 2);
}

/** Blocks for so many words. */
export function blocksOf(words: number): number {
  return words <= INLINE_WORDS ? 0 : Math.ceil((words - INLINE_WORDS) / (BLOCK_WORDS - 1));
}

/** Writes a row into a record, all but its id and its links. There are blocks enough. */
export function writeRow(
  memory: QueueMemory,
  slot: number,
  batch: MessageBatch,
  row: number,
  producer: number,
): void {
  const { words, f64 } = memory, half = slot >> 1;
  words[slot + HI] = batch.hi[row];
  words[slot + LO] = batch.lo[row];
  words[slot + FLAGS] = batch.node[row] | (batch.priority[row] << 16) | (producer << 24);
  f64[half + SEQUENCE] = batch.sequence[row];
  f64[half + FROM_US] = batch.validFromUs[row];
  f64[half + UNTIL_US] = batch.validUntilUs[row];
  f64[half + ERROR_US] = batch.errorUs[row];
  const dependencies = batch.dependencyCount[row], bytes = batch.payloadBytes[row];
  words[slot + DEPENDENCIES] = dependencies;
  words[slot + PAYLOAD_BYTES] = bytes;
  words[slot + BLOCK] = 0;
  const payloadWords = (bytes + 3) >>> 2, { payloadWords: payload } = batch;
  const start = batch.payloadStart[row] >>> 2;
  if (dependencies === 0 && payloadWords <= INLINE_WORDS) {
    for (let i = 0; i < payloadWords; i++) words[slot + INLINE + i] = payload[start + i];
    return;
  }
  const cursor = new WordCursor(memory, slot);
  const first = 2 * batch.dependencyStart[row];
  for (let i = 0; i < 2 * dependencies; i++) words[cursor.grow()] = batch.dependencies[first + i];
  for (let i = 0; i < payloadWords; i++) words[cursor.grow()] = payload[start + i];
}

/** Reads a record into the next row of a batch that has room for it. */
export function readRow(memory: QueueMemory, slot: number, batch: MessageBatch): void {
  const { words, f64 } = memory, half = slot >> 1, row = batch.count;
  const flags = words[slot + FLAGS];
  batch.idHi[row] = words[slot + ID_HI];
  batch.idLo[row] = words[slot + ID_LO];
  batch.hi[row] = words[slot + HI];
  batch.lo[row] = words[slot + LO];
  batch.node[row] = flags & 0xffff;
  batch.priority[row] = (flags >>> 16) & 3;
  batch.sequence[row] = f64[half + SEQUENCE];
  batch.validFromUs[row] = f64[half + FROM_US];
  batch.validUntilUs[row] = f64[half + UNTIL_US];
  batch.errorUs[row] = f64[half + ERROR_US];
  const dependencies = words[slot + DEPENDENCIES], bytes = words[slot + PAYLOAD_BYTES];
  const payloadWords = (bytes + 3) >>> 2, { payloadWords: payload } = batch;
  const start = batch.payloadEnd >>> 2;
  batch.dependencyStart[row] = batch.dependencyEnd;
  batch.dependencyCount[row] = dependencies;
  batch.payloadStart[row] = batch.payloadEnd;
  batch.payloadBytes[row] = bytes;
  batch.payloadEnd += payloadWords << 2;
  batch.count = row + 1;
  if (dependencies === 0 && payloadWords <= INLINE_WORDS) {
    for (let i = 0; i < payloadWords; i++) payload[start + i] = words[slot + INLINE + i];
    return;
  }
  const cursor = new WordCursor(memory, slot);
  const first = 2 * batch.dependencyEnd;
  batch.dependencyEnd += dependencies;
  for (let i = 0; i < 2 * dependencies; i++) batch.dependencies[first + i] = words[cursor.step()];
  for (let i = 0; i < payloadWords; i++) payload[start + i] = words[cursor.step()];
}

/** Gives the blocks of a record back. */
export function freeBlocks(memory: QueueMemory, slot: number): void {
  const { words } = memory, first = words[slot + BLOCK];
  if (first === 0) return;
  let last = first, count = 1;
  for (; words[last] !== 0; last = words[last]) count++;
  words[last] = words[BLOCK_HEAD];
  words[BLOCK_HEAD] = first;
  words[BLOCK_COUNT] += count;
  words[slot + BLOCK] = 0;
}

/** Goes through the words of a record: in the record, then from block to block. */
class WordCursor {
  readonly #words: Int32Array;
  readonly #slot: number;
  #block = 0;
  /** Words left where it stands. */
  #left = INLINE_WORDS;
  #at: number;

  constructor({ words }: QueueMemory, slot: number) {
    this.#words = words;
    this.#slot = slot;
    this.#at = slot + INLINE;
  }

  /** Address of the next word of a record that is read. */
  step(): number {
    if (this.#left === 0) {
      const words = this.#words;
      this.#enter(this.#block === 0 ? words[this.#slot + BLOCK] : words[this.#block]);
    }
    this.#left--;
    return this.#at++;
  }

  /** Address of the next word of a record that is written: takes a block where one is needed. */
  grow(): number {
    if (this.#left === 0) {
      const words = this.#words, block = words[BLOCK_HEAD];
      words[BLOCK_HEAD] = words[block];
      words[BLOCK_COUNT]--;
      words[block] = 0;
      if (this.#block === 0) words[this.#slot + BLOCK] = block;
      else words[this.#block] = block;
      this.#enter(block);
    }
    this.#left--;
    return this.#at++;
  }

  #enter(block: number): void {
    this.#block = block;
    this.#at = block + 1;
    this.#left = BLOCK_WORDS - 1;
  }
}
