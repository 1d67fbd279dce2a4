/**
 * Dependencies and payloads that do not lie in one record, on their way out.
 *
 * Short chains of blocks are copied at once. Of long ones only the words in the record are copied under the lock; the rest follows when
 * it is free again, and then the blocks are given back. Up to 64 chains a call: what is more is copied at once too.
 *
 * Cost: about 1 ns a word.
 */
import { BLOCK, BLOCK_WORDS, BLOCKS_TAKEN, INLINE, INLINE_WORDS } from "./_queue_layout.ts";
import type { QueueMemory } from "./_queue_memory.ts";
import { freeBlocks } from "./_rows.ts";
import type { MessageBatch } from "./message_batch.ts";

/** Words up to which a chain is copied at once. */
const SHORT_WORDS = 64;
const CHAINS_MAX = 64;

/** Chains that a thread has taken and not copied yet. */
export class LongWords {
  readonly #memory: QueueMemory;
  readonly #blocks = new Int32Array(CHAINS_MAX);
  readonly #rows = new Int32Array(CHAINS_MAX);
  #count = 0;

  constructor(memory: QueueMemory) {
    this.#memory = memory;
  }

  /** Whether something is left to copy. */
  get isPending(): boolean {
    return this.#count !== 0;
  }

  /** Reads dependencies and payload of a record into a row that says how long they are and where they belong. Under the lock. */
  read(record: number, batch: MessageBatch, row: number): void {
    const { words } = this.#memory, block = words[record + BLOCK], total = totalOf(batch, row);
    this.#copy(record + INLINE, 0, Math.min(INLINE_WORDS, total), batch, row);
    if (block === 0) return;
    if (total > SHORT_WORDS && this.#count < CHAINS_MAX) {
      this.#blocks[this.#count] = block;
      this.#rows[this.#count++] = row;
      words[BLOCKS_TAKEN] += blocksIn(words, block);
      return;
    }
    this.#copyChain(block, batch, row);
    freeBlocks(this.#memory, block);
  }

  /** Copies what is left to copy; needs no lock. */
  copy(batch: MessageBatch): void {
    for (let i = 0; i < this.#count; i++) this.#copyChain(this.#blocks[i], batch, this.#rows[i]);
  }

  /** Gives the blocks back. Under the lock. */
  release(): void {
    const { words } = this.#memory;
    for (let i = 0; i < this.#count; i++) {
      words[BLOCKS_TAKEN] -= freeBlocks(this.#memory, this.#blocks[i]);
    }
    this.#count = 0;
  }

  #copyChain(first: number, batch: MessageBatch, row: number): void {
    const { words } = this.#memory, total = totalOf(batch, row);
    let block = first;
    for (let done = INLINE_WORDS; done < total; done += BLOCK_WORDS - 1, block = words[block]) {
      this.#copy(block + 1, done, Math.min(BLOCK_WORDS - 1, total - done), batch, row);
    }
  }

  /** Copies words to their place in a row, that begins with its dependencies. */
  #copy(from: number, place: number, count: number, batch: MessageBatch, row: number): void {
    const { words } = this.#memory, { dependencies, payloadWords } = batch;
    const idWords = 2 * batch.dependencyCount[row], firstId = 2 * batch.dependencyStart[row];
    const start = (batch.payloadStart[row] >>> 2) - idWords;
    for (let i = 0; i < count; i++) {
      const at = place + i;
      if (at < idWords) dependencies[firstId + at] = words[from + i];
      else payloadWords[start + at] = words[from + i];
    }
  }
}

function totalOf(batch: MessageBatch, row: number): number {
  return 2 * batch.dependencyCount[row] + ((batch.payloadBytes[row] + 3) >>> 2);
}

/** Blocks of a chain. */
export function blocksIn(words: Int32Array, first: number): number {
  let count = 0;
  for (let block = first; block !== 0; block = words[block]) count++;
  return count;
}
