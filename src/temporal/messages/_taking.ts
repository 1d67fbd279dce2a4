/**
 * Which messages go out next: the first of all lanes and ready lists, and as long as nothing else comes before, those that
 * follow it there. Under the lock.
 *
 * A call first gathers addresses of records, then all are copied in one loop (`_rows.ts`). Nothing is written over a record that was taken
 * before the next push, so that its room can be given back at once.
 *
 * Cost: some 5 ns a message of a lane; what follows a message for which others waited is looked for anew.
 */
import type { IdGroups } from "./_id_groups.ts";
import type { Lanes } from "./_lanes.ts";
import {
  DELIVERED,
  DEPENDENCIES,
  EDGE_COUNT,
  HI,
  ID_HI,
  ID_LO,
  LANE_MASK,
  LANES,
  LO,
  PAYLOAD_BYTES,
  READY_COUNT,
  READY_MASK,
  RECORD_WORDS,
} from "./_queue_layout.ts";
import type { QueueMemory } from "./_queue_memory.ts";
import { isBefore, isBeforeAtOnce } from "./_record_order.ts";
import type { SlotMessages } from "./_slot_messages.ts";
import type { MessageBatch } from "./message_batch.ts";

/** Of ready lists, those of lanes are the last four: without a window, by priority. */
const LANE_LISTS = 12;
const NO_LIST = 16;

/** Takes messages out. */
export class Taking {
  /** Addresses of the records that were taken, in order. */
  records = new Int32Array(16);
  readonly #memory: QueueMemory;
  readonly #words: Int32Array;
  readonly #ids: IdGroups;
  readonly #lanes: Lanes;
  readonly #slots: SlotMessages;
  #count = 0;
  #max = 0;
  /** Words of payload and ids for which there is room left; below 0 where the next message had none. */
  #wordsLeft = 0;
  #idsLeft = 0;

  constructor(memory: QueueMemory, ids: IdGroups, lanes: Lanes, slots: SlotMessages) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#ids = ids;
    this.#lanes = lanes;
    this.#slots = slots;
  }

  /** Delivers messages, at most so many and as many as a batch has room for; gives their number. */
  take(batch: MessageBatch, max: number): number {
    const words = this.#words;
    if (this.records.length < max) this.records = new Int32Array(batch.capacity);
    this.#count = 0;
    this.#max = max;
    this.#wordsLeft = batch.payloadWords.length;
    this.#idsLeft = batch.dependencies.length >> 1;
    while (this.#count < max && this.#wordsLeft >= 0 && this.#idsLeft >= 0) {
      const slowList = words[READY_MASK] === 0 ? NO_LIST : lowestBit(words[READY_MASK]);
      const lane = words[LANE_MASK] === 0 ? LANES : lowestBit(words[LANE_MASK]);
      const laneList = LANE_LISTS + (lane >>> 3);
      if (slowList === NO_LIST && lane === LANES) break;
      if (slowList < laneList) this.#takeSlots(0);
      else this.#takeFirst(lane, slowList === laneList);
    }
    this.#memory.f64[DELIVERED] += this.#count;
    return this.#count;
  }

  /** The record that comes first; 0 where none is ready. */
  first(): number {
    const words = this.#words, slot = this.#slots.ready.first();
    if (words[LANE_MASK] === 0) return slot;
    const lane = lowestBit(words[LANE_MASK]);
    let best = 0;
    for (let i = lane; i <= (lane | 7); i++) {
      const record = this.#lanes.first(i);
      if (record !== 0 && (best === 0 || isBefore(this.#memory, record, best))) best = record;
    }
    if (slot === 0) return best;
    const slowList = lowestBit(words[READY_MASK]), laneList = LANE_LISTS + (lane >>> 3);
    if (slowList !== laneList) return slowList < laneList ? slot : best;
    return isBefore(this.#memory, slot, best) ? slot : best;
  }

  /** Takes from the lane, or the ready list of its priority, that has what comes first. */
  #takeFirst(firstLane: number, withSlots: boolean): void {
    const lanes = this.#lanes, memory = this.#memory;
    let best = lanes.first(firstLane), bestLane = firstLane, second = 0;
    const others = (this.#words[LANE_MASK] >>> firstLane) & (255 >>> (firstLane & 7)) & ~1;
    for (let left = others; left !== 0; left &= left - 1) {
      const lane = firstLane + lowestBit(left), record = lanes.first(lane);
      if (isBefore(memory, record, best)) {
        second = best;
        best = record;
        bestLane = lane;
      } else if (second === 0 || isBefore(memory, record, second)) {
        second = record;
      }
    }
    if (withSlots) {
      const slot = this.#slots.ready.first();
      if (isBefore(memory, slot, best)) return this.#takeSlots(best);
      if (second === 0 || isBefore(memory, slot, second)) second = slot;
    }
    this.#takeLane(bestLane, second);
  }

  /** Takes from a lane, up to another record; to its end where that is 0. */
  #takeLane(lane: number, limit: number): void {
    const lanes = this.#lanes, words = this.#words;
    const isWaitedFor = words[EDGE_COUNT] !== this.#memory.edges;
    for (let record = lanes.first(lane); record !== 0;) {
      const begun = this.#count, wordsLeft = this.#wordsLeft, end = lanes.endOf(lane, record);
      let count = this.#gather(record, end, limit) - begun;
      if (count === 0) return;
      const freed = this.#deliver(begun, count, isWaitedFor);
      if (freed > 0) {
        // What became ready may come before the rest, which is not taken now.
        count = freed;
        this.#wordsLeft = wordsLeft - this.#wordsOf(begun, begun + count);
      }
      this.#count = begun + count;
      words[READY_COUNT] -= count;
      const last = record + (count - 1) * RECORD_WORDS;
      record = lanes.cut(lane, last);
      if (freed > 0 || last !== end) return;
    }
  }

  /** Notes records from one to another that come before a third (0: all), as long as there is room. */
  #gather(from: number, end: number, limit: number): number {
    const memory = this.#memory, { words, u32 } = memory, records = this.records;
    const limitHi = limit === 0 ? 2 ** 32 : u32[limit + HI];
    const limitLo = limit === 0 ? 0 : u32[limit + LO];
    const max = this.#max;
    let count = this.#count, left = this.#wordsLeft;
    for (let record = from; record <= end && count < max; record += RECORD_WORDS) {
      const hi = u32[record + HI];
      if (hi >= limitHi) {
        const lo = u32[record + LO];
        if (hi > limitHi || lo > limitLo) break;
        if (lo === limitLo && !isBeforeAtOnce(memory, record, limit)) break;
      }
      left -= (words[record + PAYLOAD_BYTES] + 3) >>> 2;
      if (left < 0) break;
      records[count++] = record;
    }
    this.#wordsLeft = left;
    return count;
  }

  /** Notes records as delivered. Where others wait for messages: up to the first that frees some, then it gives how many these are. */
  #deliver(from: number, count: number, isWaitedFor: boolean): number {
    const words = this.#words, records = this.records, ids = this.#ids;
    for (let i = from; i < from + count; i++) {
      const record = records[i], idHi = words[record + ID_HI], idLo = words[record + ID_LO];
      ids.deliver(idHi, idLo);
      if (isWaitedFor && this.#slots.freeWaiting(idHi, idLo)) {
        return i + 1 - from;
      }
    }
    return 0;
  }

  /** Words of payload of records. */
  #wordsOf(from: number, end: number): number {
    let count = 0;
    for (let i = from; i < end; i++) {
      count += (this.#words[this.records[i] + PAYLOAD_BYTES] + 3) >>> 2;
    }
    return count;
  }

  /** Takes from the ready lists: the first one, and those after it in its run, up to another record. */
  #takeSlots(otherLimit: number): void {
    const memory = this.#memory, words = this.#words, slots = this.#slots, { ready } = slots;
    let slot = ready.first();
    let limit = this.#max - this.#count > 1 ? ready.second(slot) : 0;
    if (otherLimit !== 0 && (limit === 0 || isBefore(memory, otherLimit, limit))) {
      limit = otherLimit;
    }
    while (slot !== 0) {
      this.#wordsLeft -= (words[slot + PAYLOAD_BYTES] + 3) >>> 2;
      this.#idsLeft -= words[slot + DEPENDENCIES];
      if (this.#wordsLeft < 0 || this.#idsLeft < 0) return;
      const next = this.#max - this.#count > 1 ? ready.nextBefore(slot, limit) : 0;
      slots.deliver(slot);
      this.records[this.#count++] = slot;
      if (slots.delivered(words[slot + ID_HI], words[slot + ID_LO])) return;
      slot = next;
    }
  }
}

function lowestBit(mask: number): number {
  return 31 - Math.clz32(mask & -mask);
}
