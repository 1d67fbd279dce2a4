/**
 * Plain messages in order: those without a window and without dependencies, whose producers send them with rising timestamps.
 *
 * A lane is a sorted sequence of records that lie behind each other in chunks. There are eight a priority, and a producer keeps
 * to one of them while its messages come in order; one that does not belong at its end goes to the end of another lane where it does,
 * or else to a slot and the ready lists (`_ready_lists.ts`). Nothing in a lane has a timer, so it is only ever taken from its head: no
 * links, no free list a message, and memory that is written and read from end to end, which is what caches are good at.
 *
 * Cost: a message is 64 bytes, one cache line; a chunk is linked once in up to 64 messages.
 */
import { assert } from "../../base/assert.ts";
import { blocksIn } from "./_long_words.ts";
import {
  BLOCK,
  CHUNK_HEAD,
  FLAGS,
  HI,
  ID_HI,
  ID_LO,
  LANE_MASK,
  LANE_WORDS,
  LANES,
  LANES_AT,
  LO,
  RECORD_WORDS,
} from "./_queue_layout.ts";
import type { QueueMemory } from "./_queue_memory.ts";
import { isBefore, isRowAfter } from "./_record_order.ts";
import { writeRecords } from "./_rows.ts";
import type { MessageBatch } from "./message_batch.ts";

/** The lanes. */
export class Lanes {
  /** Addresses of the records that rows of the batch have got; 0 for a row without one. */
  records = new Int32Array(16);
  readonly #memory: QueueMemory;
  readonly #words: Int32Array;
  readonly #u32: Uint32Array;
  /** One less than the words of a chunk: an address is in the first record of a chunk where it has none of these bits. */
  readonly #chunkMask: number;
  #producer = 0;
  /** Rows whose records are written. */
  #written = 0;

  constructor(memory: QueueMemory) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#u32 = memory.u32;
    this.#chunkMask = memory.layout.chunkWords - 1;
  }

  /** Begins with a batch, of which no row has a record yet. */
  begin(batch: MessageBatch, producer: number): void {
    if (this.records.length < batch.count) this.records = new Int32Array(batch.capacity);
    this.#producer = producer & 7;
    this.#written = 0;
  }

  /**
   * Makes room for a row at the end of a lane of its priority. The record is written by {@linkcode write}; only its timestamp is at once.
   *
   * @returns Whether there is room.
   */
  place(batch: MessageBatch, row: number): boolean {
    const words = this.#words, u32 = this.#u32;
    const number = ((3 - batch.priority[row]) << 3) | this.#producer;
    const lane = LANES_AT + number * LANE_WORDS, last = words[lane + 1];
    const hi = batch.hi[row], lo = batch.lo[row];
    let at = last + RECORD_WORDS;
    if (last === 0) {
      at = this.#begin(number);
    } else {
      const lastHi = u32[last + HI];
      if (hi < lastHi || hi === lastHi && lo <= u32[last + LO]) {
        at = this.#placeElsewhere(batch, row, number);
      } else if ((at & this.#chunkMask) === 0) at = this.#extend(lane, last);
      else words[lane + 1] = at;
    }
    this.records[row] = at;
    if (at === 0) return false;
    words[at + HI] = hi;
    words[at + LO] = lo;
    return true;
  }

  /** Where a message goes that is simply the next one of a lane, in the same chunk; else 0. */
  next(number: number, hi: number, lo: number): number {
    const u32 = this.#u32, last = this.#words[LANES_AT + number * LANE_WORDS + 1];
    const at = last + RECORD_WORDS;
    if (last === 0 || (at & this.#chunkMask) === 0) return 0;
    const lastHi = u32[last + HI];
    return hi > lastHi || hi === lastHi && lo > u32[last + LO] ? at : 0;
  }

  /** Ends a lane at the record that {@linkcode next} gave. */
  append(number: number, record: number): void {
    this.#words[LANES_AT + number * LANE_WORDS + 1] = record;
  }

  /** Writes the records of all rows up to one. */
  write(batch: MessageBatch, end: number): void {
    const flags = (3 << 18) | (this.#producer << 24);
    writeRecords(this.#memory, this.records, this.#written, end, batch, flags);
    this.#written = end;
  }

  /** The first record of a lane; 0 where it is empty. */
  first(lane: number): number {
    return this.#words[LANES_AT + lane * LANE_WORDS];
  }

  /** The last record that lies behind one of a lane in the same chunk. */
  endOf(lane: number, record: number): number {
    const last = this.#words[LANES_AT + lane * LANE_WORDS + 1];
    const end = (record | this.#chunkMask) + 1 - RECORD_WORDS;
    return last >= record && last < end ? last : end;
  }

  /**
   * Takes records out, from the first of a lane to one in the same chunk.
   *
   * @returns The first that is left; 0 where none is. What the others held stays there until a push.
   */
  cut(lane: number, record: number): number {
    const words = this.#words, at = LANES_AT + lane * LANE_WORDS;
    if (record === words[at + 1]) {
      this.#freeChunk(record & ~this.#chunkMask);
      words[LANE_MASK] &= ~(1 << lane);
      words[at + 1] = 0;
      return words[at] = 0;
    }
    const next = record + RECORD_WORDS;
    if ((next & this.#chunkMask) !== 0) return words[at] = next;
    const chunk = record & ~this.#chunkMask, nextChunk = words[this.#linkOf(chunk)];
    this.#freeChunk(chunk);
    return words[at] = nextChunk;
  }

  /** Finds the record with an id; gives its lane and its address. It looks at all of them. */
  find(idHi: number, idLo: number): { lane: number; record: number } | undefined {
    const words = this.#words;
    for (let lane = 0; lane < LANES; lane++) {
      for (let record = this.first(lane); record !== 0; record = this.#next(lane, record)) {
        if (words[record + ID_LO] === idLo && words[record + ID_HI] === idHi) {
          return { lane, record };
        }
      }
    }
    return undefined;
  }

  /** Takes a record out of the middle of its lane: those before it move up. */
  remove(lane: number, record: number): void {
    const words = this.#words;
    let hole = record;
    while (hole !== this.first(lane)) {
      const before = this.#previous(lane, hole);
      words.copyWithin(hole, before, before + RECORD_WORDS);
      hole = before;
    }
    this.cut(lane, hole);
  }

  /** Counts the records, and sees that they are in order. */
  checkInvariants(): number {
    const words = this.#words, { layout } = this.#memory;
    let count = 0, mask = 0, chunks = 0;
    for (let lane = 0; lane < LANES; lane++) {
      let previous = 0;
      for (let record = this.first(lane); record !== 0; record = this.#next(lane, record)) {
        assert(previous === 0 || isBefore(this.#memory, previous, record), "A lane is in order");
        const priority = (words[record + FLAGS] >>> 16) & 3;
        assert(priority === 3 - (lane >> 3), "A message stands in a lane of its priority");
        if (previous === 0 || (record & this.#chunkMask) === 0) chunks++;
        previous = record;
        count++;
      }
      assert(
        words[LANES_AT + lane * LANE_WORDS + 1] === previous,
        "A lane ends at its last record",
      );
      if (previous !== 0) mask |= 1 << lane;
    }
    assert(words[LANE_MASK] === mask, "The mask says which lanes hold something");
    for (let chunk = words[CHUNK_HEAD]; chunk !== 0; chunk = words[this.#linkOf(chunk)]) chunks++;
    assert(chunks === layout.chunks, "No chunk is lost");
    return count;
  }

  /** Blocks of all records. */
  countBlocks(): number {
    const words = this.#words;
    let count = 0;
    for (let lane = 0; lane < LANES; lane++) {
      for (let record = this.first(lane); record !== 0; record = this.#next(lane, record)) {
        count += blocksIn(words, words[record + BLOCK]);
      }
    }
    return count;
  }

  #next(lane: number, record: number): number {
    const words = this.#words, next = record + RECORD_WORDS;
    if (record === words[LANES_AT + lane * LANE_WORDS + 1]) return 0;
    return (next & this.#chunkMask) !== 0 ? next : words[this.#linkOf(record & ~this.#chunkMask)];
  }

  /** The record before one that is not the first of its lane. */
  #previous(lane: number, record: number): number {
    if ((record & this.#chunkMask) !== 0) return record - RECORD_WORDS;
    let chunk = this.first(lane) & ~this.#chunkMask;
    for (;;) {
      const next = this.#words[this.#linkOf(chunk)];
      if (next === record) return chunk + this.#chunkMask + 1 - RECORD_WORDS;
      chunk = next;
    }
  }

  /** The same for a row whose timestamp is not after that of the last one of its lane. */
  #placeElsewhere(batch: MessageBatch, row: number, number: number): number {
    const words = this.#words;
    // What is compared must be there.
    this.write(batch, row);
    let empty = -1;
    for (let i = 0; i < 8; i++) {
      const other = (number & ~7) | ((number + i) & 7);
      const lane = LANES_AT + other * LANE_WORDS, last = words[lane + 1];
      if (last === 0) {
        empty = other;
      } else if (isRowAfter(this.#memory, batch, row, last)) {
        const at = last + RECORD_WORDS;
        if ((at & this.#chunkMask) === 0) return this.#extend(lane, last);
        return words[lane + 1] = at;
      }
    }
    return empty < 0 ? 0 : this.#begin(empty);
  }

  /** Begins an empty lane. */
  #begin(number: number): number {
    const words = this.#words, chunk = this.#takeChunk(), lane = LANES_AT + number * LANE_WORDS;
    if (chunk === 0) return 0;
    words[LANE_MASK] |= 1 << number;
    words[lane] = chunk;
    return words[lane + 1] = chunk;
  }

  /** Goes on with another chunk. */
  #extend(lane: number, last: number): number {
    const words = this.#words, chunk = this.#takeChunk();
    if (chunk === 0) return 0;
    words[this.#linkOf(last & ~this.#chunkMask)] = chunk;
    return words[lane + 1] = chunk;
  }

  #takeChunk(): number {
    const words = this.#words, chunk = words[CHUNK_HEAD];
    if (chunk !== 0) words[CHUNK_HEAD] = words[this.#linkOf(chunk)];
    return chunk;
  }

  #freeChunk(chunk: number): void {
    const words = this.#words;
    words[this.#linkOf(chunk)] = words[CHUNK_HEAD];
    words[CHUNK_HEAD] = chunk;
  }

  #linkOf(chunk: number): number {
    const { layout } = this.#memory;
    return layout.chunkLinksAt + (chunk - layout.chunksAt) / layout.chunkWords;
  }
}
