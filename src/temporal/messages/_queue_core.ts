/**
 * What happens to messages in a queue: how they come in, move on as time passes, and end. All of it under the lock.
 *
 * ```text
 *          window not begun      a dependency is not delivered
 *  push ──▶ held ───────────────▶ waiting ─────────▶ ready ─────▶ delivered
 *             └──────── or at once, where nothing is in the way ──┘
 *          waiting, ready: expired after the last µs of the window; waiting: timed out
 * ```
 *
 * Each call brings the queue to its time first, so that at any decision nothing stands in it whose time has passed. A message is counted
 * once when it comes in and once when it ends; where it stands between is counted too, so that the sum can be checked.
 *
 * Cost: see the parts; a message without window and dependencies touches the id table and one ready list.
 */
import { assert } from "../../base/assert.ts";
import { IdTable } from "./_id_table.ts";
import {
  BLOCK,
  BLOCK_COUNT,
  BLOCK_HEAD,
  DELIVERED,
  DEPENDENCIES,
  DROPPED,
  DUPLICATES,
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
  FREE_TAIL,
  FROM_US,
  HELD,
  HELD_COUNT,
  ID_HI,
  ID_LO,
  NEXT,
  PAYLOAD_BYTES,
  PUSHED,
  type QueueMemory,
  READY,
  READY_COUNT,
  REMEMBERED,
  SLOT_WORDS,
  STATE,
  TAKEN_COUNT,
  TIME_US,
  TIMED_OUT,
  TIMER_PLACE,
  UNTIL_US,
  WAITING,
  WAITING_COUNT,
} from "./_queue_memory.ts";
import { ReadyLists } from "./_ready_lists.ts";
import { freeBlocks, readRow, writeRow } from "./_rows.ts";
import { TimerWheel } from "./_timer_wheel.ts";
import { Waits } from "./_waits.ts";
import { deadlineClass } from "./deadline_class.ts";
import type { MessageBatch } from "./message_batch.ts";

// Outcomes of a push, by their place in PUSH_OUTCOMES.
const IS_READY = 0;
const IS_HELD = 1;
const IS_WAITING = 2;
const IS_EXPIRED = 3;
const IS_DUPLICATE = 4;

/** Why a message ended, by number: 0 expired, 1 timed out, 2 dropped. */
export const ENDED_EXPIRED = 0;
export const ENDED_TIMED_OUT = 1;
export const ENDED_DROPPED = 2;

/** A queue's messages. */
export class QueueCore {
  readonly #memory: QueueMemory;
  readonly #words: Int32Array;
  readonly #f64: Float64Array;
  readonly #ids: IdTable;
  readonly #ready: ReadyLists;
  readonly #timers: TimerWheel;
  readonly #waits: Waits;

  constructor(memory: QueueMemory) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#f64 = memory.f64;
    this.#ids = new IdTable(memory);
    this.#ready = new ReadyLists(memory);
    this.#timers = new TimerWheel(memory);
    this.#waits = new Waits(memory);
  }

  /** Messages that are held, wait or are ready. */
  get size(): number {
    const words = this.#words;
    return words[HELD_COUNT] + words[WAITING_COUNT] + words[READY_COUNT];
  }

  /** When something may happen next. */
  nextUs(): number {
    return this.#timers.nextUs();
  }

  /** Brings the queue to a time; one before its own changes nothing. */
  advance(nowUs: number): void {
    if (!(nowUs >= this.#f64[TIME_US])) return; // NaN: no time was read
    for (;;) {
      let slot = this.#timers.next(nowUs);
      if (slot === 0) return;
      while (slot !== 0) {
        const rest = this.#timers.after(slot);
        this.#fire(slot);
        slot = rest;
      }
    }
  }

  /** Whether there is room for so many messages, blocks and edges. */
  hasRoom(messages: number, blocks: number, edges: number): boolean {
    const words = this.#words;
    return messages <= this.#memory.capacity - this.size && messages <= words[FREE_COUNT] &&
      blocks <= words[BLOCK_COUNT] && edges <= words[EDGE_COUNT];
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
    const { count, outcome } = batch;
    let taken = 0, duplicates = 0;
    for (let row = 0; row < count; row++) {
      const became = this.#pushRow(batch, row, producer);
      outcome[row] = became;
      if (became === IS_DUPLICATE) duplicates++;
      else if (became !== IS_EXPIRED) taken++;
    }
    this.#f64[DUPLICATES] += duplicates;
    this.#f64[PUSHED] += count - duplicates;
    return taken;
  }

  /**
   * Delivers messages, the first first, as many as a batch has room for.
   *
   * @returns The first of their records, linked by `NEXT`; they are out of everything but the table of ids.
   */
  take(batch: MessageBatch, max: number): number {
    const words = this.#words, ready = this.#ready;
    let room = batch.payloadWords.length, idRoom = batch.dependencies.length >> 1;
    let first = 0, last = 0, count = 0;
    for (let slot = ready.first(); slot !== 0 && count < max; slot = ready.first()) {
      // The last one of a call needs no look at what comes after it.
      const limit = max - count > 1 ? ready.second(slot) : 0;
      for (let isAlone = false; slot !== 0 && !isAlone;) {
        room -= (words[slot + PAYLOAD_BYTES] + 3) >>> 2;
        idRoom -= words[slot + DEPENDENCIES];
        if (room < 0 || idRoom < 0) return this.#taken(first, count);
        const next = max - count > 1 ? ready.nextBefore(slot, limit) : 0;
        // What became ready by it may come before the next.
        isAlone = this.#deliver(slot);
        if (first === 0) first = slot;
        else words[last + NEXT] = slot;
        words[slot + NEXT] = 0;
        last = slot;
        if (++count === max) return this.#taken(first, count);
        slot = next;
      }
    }
    return this.#taken(first, count);
  }

  /** Copies delivered messages into a batch; the lock is not needed, as nobody else knows the records. */
  read(first: number, batch: MessageBatch): void {
    const words = this.#words;
    for (let slot = first; slot !== 0; slot = words[slot + NEXT]) {
      readRow(this.#memory, slot, batch);
    }
  }

  /** Gives the records of delivered messages back; they remember their ids. */
  release(first: number): void {
    const words = this.#words;
    let last = first, count = 0;
    for (let slot = first; slot !== 0; slot = words[slot + NEXT]) {
      freeBlocks(this.#memory, slot);
      last = slot;
      count++;
    }
    if (words[FREE_TAIL] === 0) words[FREE_HEAD] = first;
    else words[words[FREE_TAIL] + NEXT] = first;
    words[FREE_TAIL] = last;
    words[FREE_COUNT] += count;
    words[TAKEN_COUNT] -= count;
  }

  /** Words of payload and dependencies of the message that comes first; −1 where none is ready. */
  firstSize(): { payloadBytes: number; dependencies: number } | undefined {
    const slot = this.#ready.first(), words = this.#words;
    if (slot === 0) return undefined;
    return { payloadBytes: words[slot + PAYLOAD_BYTES], dependencies: words[slot + DEPENDENCIES] };
  }

  /** Calls `visit` with each message that waits for others, whether its window has begun or not. */
  eachWaiting(visit: (slot: number) => void): void {
    const words = this.#words, { slotsAt, slots } = this.#memory.layout;
    for (let slot = slotsAt; slot < slotsAt + slots * SLOT_WORDS; slot += SLOT_WORDS) {
      if (words[slot + STATE] > REMEMBERED && words[slot + EDGE] !== 0) visit(slot);
    }
  }

  /** Calls `visit` with each id for which a message waits. */
  eachNeed(slot: number, visit: (idHi: number, idLo: number) => void): void {
    this.#waits.eachOf(slot, visit);
  }

  /** Removes a message that is held, waits or is ready; what waits for it waits for it no longer. */
  drop(idHi: number, idLo: number): boolean {
    const words = this.#words, slot = this.#ids.find(idHi, idLo);
    if (slot === 0 || words[slot + STATE] <= REMEMBERED) return false;
    if (words[slot + STATE] === READY) this.#ready.remove(slot);
    else words[words[slot + STATE] === HELD ? HELD_COUNT : WAITING_COUNT]--;
    if (words[slot + TIMER_PLACE] !== 0) this.#timers.clear(slot);
    // First its own waits: it may wait for itself.
    this.#waits.clear(slot);
    words[slot + STATE] = FREE;
    this.#free(slot);
    this.#end(slot, ENDED_DROPPED);
    return true;
  }

  /** Has a message wait for nothing any more. */
  letGo(idHi: number, idLo: number): boolean {
    const words = this.#words, slot = this.#ids.find(idHi, idLo);
    if (slot === 0 || words[slot + STATE] <= REMEMBERED || words[slot + EDGE] === 0) return false;
    this.#waits.clear(slot);
    if (words[slot + STATE] !== WAITING) return true;
    words[WAITING_COUNT]--;
    if (words[slot + TIMER_PLACE] !== 0) this.#timers.clear(slot);
    this.#makeReady(slot);
    return true;
  }

  /** Checks what must hold of the whole queue. */
  checkInvariants(): void {
    const { words, layout, capacity, blocks } = this.#memory, f64 = this.#f64;
    const counts = [0, 0, 0, 0, 0];
    let withBlocks = 0, timers = 0, edges = 0;
    for (let i = 0; i < layout.slots; i++) {
      const slot = layout.slotsAt + i * SLOT_WORDS, state = words[slot + STATE];
      counts[state]++;
      if (state <= REMEMBERED) continue;
      this.#checkMessage(slot);
      if (words[slot + TIMER_PLACE] !== 0) timers++;
      edges += this.#waits.countOf(slot);
      withBlocks += blocksIn(words, slot);
    }
    assert(counts[HELD] === words[HELD_COUNT], "As many messages are held as are counted");
    assert(counts[WAITING] === words[WAITING_COUNT], "As many messages wait as are counted");
    assert(this.#ready.checkInvariants() === counts[READY], "Each ready message is in a list");
    assert(this.#timers.checkInvariants() === timers, "Each timer belongs to a message");
    assert(this.#waits.checkInvariants() === edges, "Each edge belongs to a message");
    assert(this.#ids.checkInvariants() === layout.slots - counts[FREE], "Each id is in the table");
    assert(this.size <= capacity, "A queue holds no more messages than it has room for");
    const ended = f64[DELIVERED] + f64[EXPIRED] + f64[TIMED_OUT] + f64[DROPPED];
    assert(f64[PUSHED] === ended + this.size, "Each message is in the queue or has one end");
    let free = 0, last = 0;
    for (let slot = words[FREE_HEAD]; slot !== 0; slot = words[slot + NEXT]) {
      assert(words[slot + STATE] <= REMEMBERED, "A free record holds no message");
      last = slot;
      free++;
    }
    assert(free === words[FREE_COUNT] && last === words[FREE_TAIL], "Free records are linked");
    assert(free + this.size + words[TAKEN_COUNT] === layout.slots, "No record is lost");
    let freeBlockCount = 0;
    for (let block = words[BLOCK_HEAD]; block !== 0; block = words[block]) freeBlockCount++;
    assert(freeBlockCount === words[BLOCK_COUNT], "As many blocks are free as are counted");
    assert(words[TAKEN_COUNT] > 0 || freeBlockCount + withBlocks === blocks, "No block is lost");
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

  #pushRow(batch: MessageBatch, row: number, producer: number): number {
    const words = this.#words, f64 = this.#f64, ids = this.#ids;
    const idHi = batch.idHi[row] | 0, idLo = batch.idLo[row] | 0;
    if (ids.find(idHi, idLo) !== 0) return IS_DUPLICATE;
    if (batch.validUntilUs[row] < f64[TIME_US]) {
      f64[EXPIRED]++;
      this.#note(idHi, idLo, ENDED_EXPIRED);
      return IS_EXPIRED;
    }
    const slot = words[FREE_HEAD], rest = words[slot + NEXT];
    words[FREE_HEAD] = rest;
    if (rest === 0) words[FREE_TAIL] = 0;
    words[FREE_COUNT]--;
    if (words[slot + STATE] === REMEMBERED) ids.remove(slot);
    words[slot + ID_HI] = idHi;
    words[slot + ID_LO] = idLo;
    words[slot + EDGE] = 0;
    writeRow(this.#memory, slot, batch, row, producer);
    ids.add(slot);
    if (batch.dependencyCount[row] !== 0) this.#addWaits(slot, batch, row);
    return this.#enter(slot);
  }

  #addWaits(slot: number, batch: MessageBatch, row: number): void {
    const words = this.#words, { dependencies } = batch;
    const first = batch.dependencyStart[row], end = first + batch.dependencyCount[row];
    for (let i = first; i < end; i++) {
      const idHi = dependencies[2 * i] | 0, idLo = dependencies[2 * i + 1] | 0;
      const known = this.#ids.find(idHi, idLo);
      if (known !== 0 && words[known + STATE] === REMEMBERED) continue;
      if (!this.#waits.has(slot, idHi, idLo)) this.#waits.add(slot, idHi, idLo);
    }
  }

  /** Puts a message, that stands nowhere and has no timer, where it belongs now. */
  #enter(slot: number): number {
    const words = this.#words, f64 = this.#f64, half = slot >> 1, timeUs = f64[TIME_US];
    const fromUs = f64[half + FROM_US];
    if (fromUs > timeUs) {
      words[slot + STATE] = HELD;
      words[HELD_COUNT]++;
      this.#timers.set(slot, fromUs);
      return IS_HELD;
    }
    if (words[slot + EDGE] !== 0) {
      words[slot + STATE] = WAITING;
      words[WAITING_COUNT]++;
      const endUs = Math.min(f64[half + UNTIL_US] + 1, timeUs + this.#memory.dependencyTimeoutUs);
      if (endUs !== Infinity) this.#timers.set(slot, endUs);
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
      this.#timers.set(slot, ofClass === 0 ? untilUs + 1 : untilUs - classesUs[ofClass - 1]);
    }
    words[slot + STATE] = READY;
    words[slot + FLAGS] = (words[slot + FLAGS] & ~(3 << 18)) | (ofClass << 18);
    this.#ready.add(slot);
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
        this.#ready.remove(slot);
        if (isOver) this.#end(slot, ENDED_EXPIRED);
        else this.#makeReady(slot);
    }
  }

  /** Removes a message, that stands nowhere and has no timer, for good: its id may come again. */
  #end(slot: number, why: number): void {
    const words = this.#words;
    this.#f64[why === ENDED_EXPIRED ? EXPIRED : why === ENDED_TIMED_OUT ? TIMED_OUT : DROPPED]++;
    this.#note(words[slot + ID_HI], words[slot + ID_LO], why);
    this.#waits.clear(slot);
    this.#ids.remove(slot);
    freeBlocks(this.#memory, slot);
    words[slot + STATE] = FREE;
    // Taken again first: it remembers nothing.
    words[slot + NEXT] = words[FREE_HEAD];
    words[FREE_HEAD] = slot;
    if (words[FREE_TAIL] === 0) words[FREE_TAIL] = slot;
    words[FREE_COUNT]++;
  }

  #note(idHi: number, idLo: number, why: number): void {
    const words = this.#words, number = words[ENDED_WRITTEN];
    const at = ENDED_AT + (number & (ENDED_KEPT - 1)) * ENDED_WORDS;
    words[at] = idHi;
    words[at + 1] = idLo;
    words[at + 2] = why;
    words[ENDED_WRITTEN] = (number + 1) | 0;
  }

  /** Takes a ready message out; says whether others became ready by it. */
  #deliver(slot: number): boolean {
    const words = this.#words;
    this.#ready.remove(slot);
    if (words[slot + TIMER_PLACE] !== 0) this.#timers.clear(slot);
    words[slot + STATE] = REMEMBERED;
    return words[EDGE_COUNT] !== this.#memory.edges && this.#free(slot);
  }

  /** Frees what waited for a message. */
  #free(slot: number): boolean {
    const words = this.#words, waits = this.#waits;
    const idHi = words[slot + ID_HI], idLo = words[slot + ID_LO];
    let freed = false;
    for (;;) {
      const edge = waits.waitingFor(idHi, idLo);
      if (edge === 0) return freed;
      const owner = waits.ownerOf(edge);
      waits.remove(edge);
      if (words[owner + EDGE] !== 0 || words[owner + STATE] !== WAITING) continue;
      words[WAITING_COUNT]--;
      this.#timers.clear(owner);
      this.#makeReady(owner);
      freed = true;
    }
  }

  #taken(first: number, count: number): number {
    this.#words[TAKEN_COUNT] += count;
    this.#f64[DELIVERED] += count;
    return first;
  }
}

function blocksIn(words: Int32Array, slot: number): number {
  let count = 0;
  for (let block = words[slot + BLOCK]; block !== 0; block = words[block]) count++;
  return count;
}
