/**
 * A queue's messages: how they come in and go out. All of it under the lock.
 *
 * A message that has no window and waits for nothing goes to a lane, where its place is the next one; all others go to a slot
 * (`_slot_messages.ts`). What comes first is the first of all lanes and ready lists, and as long as nothing else comes before, the
 * same lane or run is read on.
 *
 * A message is counted once when it comes in and once when it ends; where it stands between is counted too, so that the
 * sum can be checked.
 *
 * Cost: a plain message in order some 20 ns in and as many out, copying included.
 */
import { assert } from "../../base/assert.ts";
import { IdGroups } from "./_id_groups.ts";
import { Lanes } from "./_lanes.ts";
import { blocksIn, LongWords } from "./_long_words.ts";
import {
  BLOCK,
  BLOCK_COUNT,
  BLOCK_HEAD,
  BLOCKS_TAKEN,
  DELIVERED,
  DEPENDENCIES,
  DROPPED,
  DUPLICATES,
  EDGE,
  EDGE_COUNT,
  EXPIRED,
  FREE_COUNT,
  HELD_COUNT,
  PAYLOAD_BYTES,
  PUSHED,
  READY_COUNT,
  TIME_US,
  TIMED_OUT,
  WAITING_COUNT,
} from "./_queue_layout.ts";
import type { QueueMemory } from "./_queue_memory.ts";
import { freeBlocks, readRecords } from "./_rows.ts";
import { pushSingle, takeSingle } from "./_single.ts";
import {
  ENDED_EXPIRED,
  IS_DUPLICATE,
  IS_EXPIRED,
  IS_READY,
  SlotMessages,
} from "./_slot_messages.ts";
import { Taking } from "./_taking.ts";
import type { MessageBatch } from "./message_batch.ts";

/** A queue's messages, as one thread sees them. */
export class QueueCore {
  /** Words of long messages that are to be copied out after a {@linkcode take}, without the lock. */
  readonly long: LongWords;
  readonly slots: SlotMessages;
  readonly #memory: QueueMemory;
  readonly #words: Int32Array;
  readonly #f64: Float64Array;
  readonly #ids: IdGroups;
  readonly #lanes: Lanes;
  readonly #taking: Taking;

  constructor(memory: QueueMemory) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#f64 = memory.f64;
    this.#ids = new IdGroups(memory);
    this.#lanes = new Lanes(memory);
    this.slots = new SlotMessages(memory, this.#ids);
    this.long = new LongWords(memory);
    this.#taking = new Taking(memory, this.#ids, this.#lanes, this.slots);
  }

  /** Messages that are held, wait or are ready. */
  get size(): number {
    const words = this.#words;
    return words[HELD_COUNT] + words[WAITING_COUNT] + words[READY_COUNT];
  }

  /** When something may happen next. */
  nextUs(): number {
    return this.slots.timers.nextUs();
  }

  /** Brings the queue to a time; one before its own changes nothing. */
  advance(nowUs: number): void {
    if (nowUs >= this.#f64[TIME_US]) this.slots.advance(nowUs); // NaN: no time was read
  }

  /** Whether there is room for so many messages, blocks and edges. */
  hasRoom(messages: number, blocks: number, edges: number): boolean {
    const words = this.#words;
    return messages <= this.#memory.capacity - this.size && blocks <= words[BLOCK_COUNT] &&
      edges <= words[EDGE_COUNT];
  }

  /**
   * Whether those who wait for room are to be woken: at a quarter of it, so that they do not wake for each batch that is
   * taken, or where nothing more can be taken now. They look themselves from time to time.
   */
  isWorthWaking(): boolean {
    return this.#words[READY_COUNT] === 0 || this.size * 4 <= this.#memory.capacity * 3;
  }

  /** Takes all rows of a batch, for which there is room; gives the number that is in. */
  push(batch: MessageBatch, producer: number): number {
    const { count, outcome, idHi, idLo, validFromUs, validUntilUs, dependencyCount } = batch;
    const ids = this.#ids, lanes = this.#lanes;
    let duplicates = 0, expired = 0, inLanes = 0;
    lanes.begin(batch, producer);
    const { records } = lanes;
    for (let row = 0; row < count; row++) {
      const isPlain = validUntilUs[row] === Infinity && validFromUs[row] === 0 &&
        dependencyCount[row] === 0;
      let became = IS_READY;
      if (!isPlain && this.#isOver(batch, row)) {
        became = IS_EXPIRED;
        expired++;
        records[row] = 0;
      } else if (!ids.claim(idHi[row] | 0, idLo[row] | 0)) {
        became = IS_DUPLICATE;
        duplicates++;
        records[row] = 0;
      } else if (isPlain && lanes.place(batch, row)) {
        inLanes++;
      } else {
        became = this.slots.admit(batch, row, records, producer);
      }
      outcome[row] = became;
    }
    if (inLanes > 0) lanes.write(batch, count);
    this.#words[READY_COUNT] += inLanes;
    this.#f64[DUPLICATES] += duplicates;
    this.#f64[PUSHED] += count - duplicates;
    return count - duplicates - expired;
  }

  /** Takes the only row of a batch, where it is plain and simply the next one; false where nothing was done. */
  pushSingle(batch: MessageBatch, producer: number): boolean {
    if (this.size >= this.#memory.capacity) return false;
    return pushSingle(this.#memory, this.#ids, this.#lanes, batch, producer);
  }

  /** Delivers messages, the first first, as many as an empty batch has room for. */
  take(batch: MessageBatch, max: number): void {
    if (max === 1 && takeSingle(this.#memory, this.#ids, this.#lanes, batch)) return;
    const count = this.#taking.take(batch, max);
    if (count > 0) readRecords(this.#memory, this.#taking.records, count, batch, this.long);
  }

  /** Words of payload and dependencies of the message that comes first; undefined where none is ready. */
  firstSize(): { payloadBytes: number; dependencies: number } | undefined {
    const words = this.#words, record = this.#taking.first(), { slotsAt } = this.#memory.layout;
    if (record === 0) return undefined;
    const dependencies = record >= slotsAt ? words[record + DEPENDENCIES] : 0;
    return { payloadBytes: words[record + PAYLOAD_BYTES], dependencies };
  }

  /** Removes a message that is not delivered yet; what waits for it waits for it no longer. */
  drop(idHi: number, idLo: number): boolean {
    if (!this.#isInQueue(idHi, idLo)) return false;
    const slot = this.slots.find(idHi, idLo);
    if (slot !== 0) {
      this.slots.drop(slot);
      return true;
    }
    const found = this.#lanes.find(idHi, idLo);
    assert(found !== undefined, "What is in the queue stands in a slot or in a lane");
    freeBlocks(this.#memory, this.#words[found.record + BLOCK]);
    this.#lanes.remove(found.lane, found.record);
    this.#words[READY_COUNT]--;
    this.slots.dropped(idHi, idLo);
    return true;
  }

  /** Has a message wait for nothing any more. */
  letGo(idHi: number, idLo: number): boolean {
    const slot = this.#isInQueue(idHi, idLo) ? this.slots.find(idHi, idLo) : 0;
    if (slot === 0 || this.#words[slot + EDGE] === 0) return false;
    this.slots.letGo(slot);
    return true;
  }

  /** Checks what must hold of the whole queue. */
  checkInvariants(): void {
    const { words, f64, layout, capacity, blocks } = this.#memory;
    const inSlots = this.slots.checkInvariants(), inLanes = this.#lanes.checkInvariants();
    assert(inSlots.ready + inLanes === words[READY_COUNT], "As many are ready as are counted");
    assert(this.#ids.checkInvariants(layout.groups) === this.size, "Each id is in the table");
    assert(this.size <= capacity, "A queue holds no more messages than it has room for");
    assert(words[FREE_COUNT] === capacity - this.size + inLanes, "A message in a lane has no slot");
    const ended = f64[DELIVERED] + f64[EXPIRED] + f64[TIMED_OUT] + f64[DROPPED];
    assert(f64[PUSHED] === ended + this.size, "Each message is in the queue or has one end");
    const free = blocksIn(words, words[BLOCK_HEAD]);
    assert(free === words[BLOCK_COUNT], "As many blocks are free as are counted");
    const used = inSlots.blocks + this.#lanes.countBlocks() + words[BLOCKS_TAKEN];
    assert(free + used === blocks, "No block is lost");
  }

  #isInQueue(idHi: number, idLo: number): boolean {
    return this.#ids.isKnown(idHi, idLo) && !this.#ids.isDelivered(idHi, idLo);
  }

  /** Whether a row that is no duplicate comes after its window; it is counted. */
  #isOver(batch: MessageBatch, row: number): boolean {
    if (!(batch.validUntilUs[row] < this.#f64[TIME_US])) return false;
    const idHi = batch.idHi[row] | 0, idLo = batch.idLo[row] | 0;
    if (this.#ids.isKnown(idHi, idLo)) return false;
    this.#f64[EXPIRED]++;
    this.slots.note(idHi, idLo, ENDED_EXPIRED);
    return true;
  }
}
