/**
 * Messages that stand in slots, and how they move on as time passes and others are delivered. All of it under the lock.
 *
 * ```text
 *          window not begun      a dependency is not delivered
 *  push ──▶ held ───────────────▶ waiting ─────────▶ ready ─────▶ delivered
 *             └──────── or at once, where nothing is in the way ──┘
 *          waiting, ready: expired after the last µs of the window; waiting: timed out
 * ```
 *
 * Plain messages, in lanes, are ready from the beginning and never move. Each call brings the queue to its time
 * first, so that at any decision nothing stands in it whose time has passed.
 *
 * Cost: see the parts; 100 ns and more a message with a window, as it is linked, compared and has a timer.
 */
import { assert } from "../../base/assert.ts";
import type { IdGroups } from "./_id_groups.ts";
import { blocksIn } from "./_long_words.ts";
import {
  BLOCK,
  DROPPED,
  EDGE,
  EDGE_COUNT,
  ENDED_AT,
  ENDED_KEPT,
  ENDED_WORDS,
  ENDED_WRITTEN,
  EXPIRED,
  FLAGS,
  FREE,
  FREE_COUNT,
  FREE_HEAD,
  FROM_US,
  HELD,
  HELD_COUNT,
  ID_HI,
  ID_LO,
  NEXT,
  READY,
  SLOT_WORDS,
  STATE,
  TIME_US,
  TIMED_OUT,
  TIMER_PLACE,
  UNTIL_US,
  WAITING,
  WAITING_COUNT,
} from "./_queue_layout.ts";
import type { QueueMemory } from "./_queue_memory.ts";
import { ReadyLists } from "./_ready_lists.ts";
import { freeBlocks, writeRecords, writeSlot } from "./_rows.ts";
import { TimerWheel } from "./_timer_wheel.ts";
import { Waits } from "./_waits.ts";
import { deadlineClass } from "./deadline_class.ts";
import type { MessageBatch } from "./message_batch.ts";

// Outcomes of a push, by their place in PUSH_OUTCOMES.
export const IS_READY = 0;
export const IS_HELD = 1;
export const IS_WAITING = 2;
export const IS_EXPIRED = 3;
export const IS_DUPLICATE = 4;

/** Why a message ended, by number: 0 expired, 1 timed out, 2 dropped. */
export const ENDED_EXPIRED = 0;
const ENDED_TIMED_OUT = 1;
export const ENDED_DROPPED = 2;

/** The messages in slots. */
export class SlotMessages {
  readonly ready: ReadyLists;
  readonly timers: TimerWheel;
  readonly waits: Waits;
  readonly #memory: QueueMemory;
  readonly #words: Int32Array;
  readonly #f64: Float64Array;
  readonly #ids: IdGroups;

  constructor(memory: QueueMemory, ids: IdGroups) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#f64 = memory.f64;
    this.#ids = ids;
    this.ready = new ReadyLists(memory);
    this.timers = new TimerWheel(memory);
    this.waits = new Waits(memory);
  }

  /** Brings the queue to a time; one before its own changes nothing. */
  advance(nowUs: number): void {
    const timers = this.timers;
    for (;;) {
      let slot = timers.next(nowUs);
      if (slot === 0) return;
      while (slot !== 0) {
        const rest = timers.after(slot);
        this.#fire(slot);
        slot = rest;
      }
    }
  }

  /** Puts a row of a batch, whose id is claimed and whose window is not over, into a slot at once; gives its outcome. */
  admit(batch: MessageBatch, row: number, records: Int32Array, producer: number): number {
    const words = this.#words, slot = words[FREE_HEAD];
    words[FREE_HEAD] = words[slot + NEXT];
    words[FREE_COUNT]--;
    words[slot + EDGE] = 0;
    records[row] = slot;
    writeRecords(this.#memory, records, row, row + 1, batch, (producer & 7) << 24);
    records[row] = 0;
    writeSlot(this.#memory, slot, batch, row);
    if (batch.dependencyCount[row] !== 0) this.#addWaits(slot, batch, row);
    return this.#enter(slot);
  }

  /** Takes a ready message out; its record stays as it is until the next push. */
  deliver(slot: number): void {
    this.ready.remove(slot);
    if (this.#words[slot + TIMER_PLACE] !== 0) this.timers.clear(slot);
    this.#giveBack(slot);
  }

  /** Notes an id as delivered; says whether others became ready by it. */
  delivered(idHi: number, idLo: number): boolean {
    this.#ids.deliver(idHi, idLo);
    return this.#words[EDGE_COUNT] !== this.#memory.edges && this.freeWaiting(idHi, idLo);
  }

  /** Address of the slot with an id, looked for in all of them; 0 where there is none. */
  find(idHi: number, idLo: number): number {
    const words = this.#words, { slotsAt } = this.#memory.layout;
    const end = slotsAt + this.#memory.capacity * SLOT_WORDS;
    for (let slot = slotsAt; slot < end; slot += SLOT_WORDS) {
      if (
        words[slot + ID_LO] === idLo && words[slot + ID_HI] === idHi && words[slot + STATE] !== FREE
      ) {
        return slot;
      }
    }
    return 0;
  }

  /** Calls `visit` with each message that waits for others, whether its window has begun or not. */
  eachWaiting(visit: (slot: number) => void): void {
    const words = this.#words, { slotsAt } = this.#memory.layout;
    const end = slotsAt + this.#memory.capacity * SLOT_WORDS;
    for (let slot = slotsAt; slot < end; slot += SLOT_WORDS) {
      if (words[slot + STATE] !== FREE && words[slot + EDGE] !== 0) visit(slot);
    }
  }

  /** Removes a message that is held, waits or is ready; what waits for it waits for it no longer. */
  drop(slot: number): void {
    const words = this.#words, state = words[slot + STATE];
    if (state === READY) this.ready.remove(slot);
    else words[state === HELD ? HELD_COUNT : WAITING_COUNT]--;
    if (words[slot + TIMER_PLACE] !== 0) this.timers.clear(slot);
    // First its own waits: it may wait for itself.
    this.waits.clear(slot);
    words[slot + STATE] = FREE;
    this.freeWaiting(words[slot + ID_HI], words[slot + ID_LO]);
    this.#end(slot, ENDED_DROPPED);
  }

  /** Notes that a message that is in no slot was dropped. */
  dropped(idHi: number, idLo: number): void {
    this.#f64[DROPPED]++;
    this.note(idHi, idLo, ENDED_DROPPED);
    this.#ids.remove(idHi, idLo);
    this.freeWaiting(idHi, idLo);
  }

  /** Has a message wait for nothing any more. */
  letGo(slot: number): void {
    const words = this.#words;
    this.waits.clear(slot);
    if (words[slot + STATE] !== WAITING) return;
    words[WAITING_COUNT]--;
    if (words[slot + TIMER_PLACE] !== 0) this.timers.clear(slot);
    this.#makeReady(slot);
  }

  /** Keeps an id for who asks which messages have ended. */
  note(idHi: number, idLo: number, why: number): void {
    const words = this.#words, number = words[ENDED_WRITTEN];
    const at = ENDED_AT + (number & (ENDED_KEPT - 1)) * ENDED_WORDS;
    words[at] = idHi;
    words[at + 1] = idLo;
    words[at + 2] = why;
    words[ENDED_WRITTEN] = (number + 1) | 0;
  }

  /** Checks what must hold of messages in slots; gives how many are ready, and how many blocks they have. */
  checkInvariants(): { ready: number; blocks: number } {
    const { words, layout, capacity } = this.#memory;
    const counts = [0, 0, 0, 0];
    let blocks = 0, timers = 0, edges = 0;
    for (let i = 0; i < capacity; i++) {
      const slot = layout.slotsAt + i * SLOT_WORDS, state = words[slot + STATE];
      counts[state]++;
      if (state === FREE) continue;
      this.#checkMessage(slot);
      if (words[slot + TIMER_PLACE] !== 0) timers++;
      edges += this.waits.countOf(slot);
      blocks += blocksIn(words, words[slot + BLOCK]);
    }
    assert(counts[HELD] === words[HELD_COUNT], "As many messages are held as are counted");
    assert(counts[WAITING] === words[WAITING_COUNT], "As many messages wait as are counted");
    assert(this.ready.checkInvariants() === counts[READY], "Each ready message is in a list");
    assert(this.timers.checkInvariants() === timers, "Each timer belongs to a message");
    assert(this.waits.checkInvariants() === edges, "Each edge belongs to a message");
    let free = 0;
    for (let slot = words[FREE_HEAD]; slot !== 0; slot = words[slot + NEXT]) {
      assert(words[slot + STATE] === FREE, "A free slot holds no message");
      free++;
    }
    assert(free === words[FREE_COUNT] && free === counts[FREE], "No slot is lost");
    return { ready: counts[READY], blocks };
  }

  #checkMessage(slot: number): void {
    const words = this.#words, f64 = this.#f64, half = slot >> 1, timeUs = f64[TIME_US];
    const untilUs = f64[half + UNTIL_US], state = words[slot + STATE];
    assert(untilUs >= timeUs, "Nothing stands in a queue after its window");
    assert((f64[half + FROM_US] > timeUs) === (state === HELD), "Held is what has not begun");
    if (state === WAITING) assert(words[slot + EDGE] !== 0, "What waits, waits for something");
    if (state !== READY) return;
    assert(words[slot + EDGE] === 0, "What is ready waits for nothing");
    const wanted = deadlineClass(untilUs, timeUs, this.#memory.classesUs);
    assert(((words[slot + FLAGS] >>> 18) & 3) === wanted, "A message stands in its class");
  }

  #addWaits(slot: number, batch: MessageBatch, row: number): void {
    const { dependencies } = batch, waits = this.waits;
    const first = batch.dependencyStart[row], end = first + batch.dependencyCount[row];
    for (let i = first; i < end; i++) {
      const idHi = dependencies[2 * i] | 0, idLo = dependencies[2 * i + 1] | 0;
      if (this.#ids.isDelivered(idHi, idLo)) continue;
      if (!waits.has(slot, idHi, idLo)) waits.add(slot, idHi, idLo);
    }
  }

  /** Puts a message, that stands nowhere and has no timer, where it belongs now. */
  #enter(slot: number): number {
    const words = this.#words, f64 = this.#f64, half = slot >> 1, timeUs = f64[TIME_US];
    const fromUs = f64[half + FROM_US];
    if (fromUs > timeUs) {
      words[slot + STATE] = HELD;
      words[HELD_COUNT]++;
      this.timers.set(slot, fromUs);
      return IS_HELD;
    }
    if (words[slot + EDGE] !== 0) {
      words[slot + STATE] = WAITING;
      words[WAITING_COUNT]++;
      const endUs = Math.min(f64[half + UNTIL_US] + 1, timeUs + this.#memory.dependencyTimeoutUs);
      if (endUs !== Infinity) this.timers.set(slot, endUs);
      return IS_WAITING;
    }
    this.#makeReady(slot);
    return IS_READY;
  }

  #makeReady(slot: number): void {
    const words = this.#words, untilUs = this.#f64[(slot >> 1) + UNTIL_US];
    let ofClass = 3;
    if (untilUs !== Infinity) {
      const { classesUs } = this.#memory;
      ofClass = deadlineClass(untilUs, this.#f64[TIME_US], classesUs);
      this.timers.set(slot, ofClass === 0 ? untilUs + 1 : untilUs - classesUs[ofClass - 1]);
    }
    words[slot + STATE] = READY;
    words[slot + FLAGS] = (words[slot + FLAGS] & ~(3 << 18)) | (ofClass << 18);
    this.ready.add(slot);
  }

  /** A timer has fired, and is not set any more. */
  #fire(slot: number): void {
    const words = this.#words, isOver = this.#f64[(slot >> 1) + UNTIL_US] < this.#f64[TIME_US];
    switch (words[slot + STATE]) {
      case HELD:
        words[HELD_COUNT]--;
        this.#enter(slot);
        break;
      case WAITING:
        words[WAITING_COUNT]--;
        this.#end(slot, isOver ? ENDED_EXPIRED : ENDED_TIMED_OUT);
        break;
      default:
        this.ready.remove(slot);
        if (isOver) this.#end(slot, ENDED_EXPIRED);
        else this.#makeReady(slot);
    }
  }

  /** Removes a message, that stands nowhere and has no timer, for good: its id may come again. */
  #end(slot: number, why: number): void {
    const words = this.#words;
    this.#f64[why === ENDED_EXPIRED ? EXPIRED : why === ENDED_TIMED_OUT ? TIMED_OUT : DROPPED]++;
    this.note(words[slot + ID_HI], words[slot + ID_LO], why);
    this.waits.clear(slot);
    this.#ids.remove(words[slot + ID_HI], words[slot + ID_LO]);
    freeBlocks(this.#memory, words[slot + BLOCK]);
    this.#giveBack(slot);
  }

  #giveBack(slot: number): void {
    const words = this.#words;
    words[slot + STATE] = FREE;
    words[slot + NEXT] = words[FREE_HEAD];
    words[FREE_HEAD] = slot;
    words[FREE_COUNT]++;
  }

  /** Has nothing wait for an id any more; says whether something became ready by it. */
  freeWaiting(idHi: number, idLo: number): boolean {
    const words = this.#words, waits = this.waits;
    let freed = false;
    for (;;) {
      const edge = waits.waitingFor(idHi, idLo);
      if (edge === 0) return freed;
      const owner = waits.ownerOf(edge);
      waits.remove(edge);
      if (words[owner + EDGE] !== 0 || words[owner + STATE] !== WAITING) continue;
      words[WAITING_COUNT]--;
      this.timers.clear(owner);
      this.#makeReady(owner);
      freed = true;
    }
  }
}
