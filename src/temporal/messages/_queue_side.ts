/**
 * A queue as one thread sees it: its calls under the lock, its clock, and who is woken after.
 *
 * Each call takes the lock once; only what pops a long payload takes it again, to give its room back after copying. The clock is read
 * before the lock is taken, as it is code of the caller.
 *
 * Cost: 20 to 30 ns a call besides what it does, for the lock; more where threads fight over it.
 */
import { MmsbError } from "../../base/errors.ts";
import { checkBatch, checkRows, HAS_DEPENDENCIES, HAS_LONG, HAS_WINDOWS } from "./_batch_checks.ts";
import { lock, LOCK_WAIT_MS, unlock } from "./_lock.ts";
import { addNeed, type PushNeed, refuseClosed, refuseLong, refuseNever } from "./_queue_calls.ts";
import { QueueCore } from "./_queue_core.ts";
import {
  CLOSED,
  HANDLES,
  ITEM_SIGNAL,
  ITEM_SLEEPERS,
  READY_COUNT,
  REFUSED,
  ROOM_SIGNAL,
  ROOM_SLEEPERS,
  TIMER_COUNT,
} from "./_queue_layout.ts";
import type { QueueMemory } from "./_queue_memory.ts";
import { type SleepPlace, wake } from "./_queue_waiting.ts";
import { isPlain } from "./_single.ts";
import type { MessageBatch } from "./message_batch.ts";

/** Longest sleep for room, in ms: the wake-up comes only with a quarter of it. */
const ROOM_LOOK_MS = 10;

/** What a plain message with a short payload needs. */
const NO_NEED: PushNeed = { blocks: 0, edges: 0, isTimed: false };

/** A thread's side of a queue. */
export class QueueSide {
  readonly memory: QueueMemory;
  readonly core: QueueCore;
  /** Where one sleeps for messages, and for room. */
  readonly items: SleepPlace;
  readonly room: SleepPlace;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #nowUs: () => number;
  readonly #handle: number;
  readonly #spins: number;
  readonly #need: PushNeed = { blocks: 0, edges: 0, isTimed: false };

  constructor(memory: QueueMemory, nowUs: () => number) {
    const { words } = memory;
    this.memory = memory;
    this.#words = words;
    this.core = new QueueCore(memory);
    this.#nowUs = nowUs;
    this.#handle = Atomics.add(words, HANDLES, 1) + 1;
    this.#spins = memory.spins;
    // Who holds the lock may die: a sleeper finds that out only when it looks.
    const lookMs = LOCK_WAIT_MS;
    this.items = { words, signalAt: ITEM_SIGNAL, sleepersAt: ITEM_SLEEPERS, lookMs };
    this.room = {
      words,
      signalAt: ROOM_SIGNAL,
      sleepersAt: ROOM_SLEEPERS,
      lookMs: ROOM_LOOK_MS,
    };
  }

  /** Pushes a batch, which is checked; gives how many are in, −1 where there is no room. */
  push(batch: MessageBatch): number {
    checkBatch(batch);
    const isSingle = batch.count === 1 && isPlain(batch);
    const need = isSingle ? NO_NEED : this.#needOf(batch);
    const nowUs = this.#readTime(need.isTimed), core = this.core, words = this.#words;
    lock(words, this.#handle, this.#spins, LOCK_WAIT_MS);
    let taken = -1, hasSleepers = false;
    try {
      if (words[CLOSED] !== 0) refuseClosed("push");
      core.advance(nowUs);
      if (isSingle && core.pushSingle(batch, this.#handle)) taken = 1;
      else if (core.hasRoom(batch.count, need.blocks, need.edges)) {
        taken = core.push(batch, this.#handle);
      }
      hasSleepers = taken > 0 && words[ITEM_SLEEPERS] > 0;
    } finally {
      unlock(words);
    }
    if (hasSleepers) wake(this.items, taken);
    return taken;
  }

  /** Pops into a batch; gives how many. */
  pop(batch: MessageBatch, max: number): number {
    const nowUs = this.#readTime(false), core = this.core, words = this.#words;
    batch.clear();
    lock(words, this.#handle, this.#spins, LOCK_WAIT_MS);
    let isStuck = false, forRoom = false, forItems = false;
    try {
      core.advance(nowUs);
      core.take(batch, max);
      isStuck = batch.count === 0 && max > 0 && words[READY_COUNT] > 0;
      forRoom = words[ROOM_SLEEPERS] > 0 && core.isWorthWaking();
      forItems = words[ITEM_SLEEPERS] > 0 && words[READY_COUNT] > 0;
    } finally {
      unlock(words);
    }
    if (isStuck) refuseLong(batch);
    if (core.long.isPending) this.#copyLong(batch);
    if (batch.count === 0) return 0;
    if (forRoom) wake(this.room, Infinity);
    if (forItems) wake(this.items, 1);
    return batch.count;
  }

  /** An attempt to push by one who waits for room. The batch is checked again: meanwhile the caller may have changed it. */
  pushAttempt(batch: MessageBatch): number {
    const taken = this.push(batch);
    return taken >= 0 ? taken : this.#msUntilNext();
  }

  /** An attempt to pop by one who waits for messages. */
  popAttempt(batch: MessageBatch, max: number, waitMs: number): number {
    const taken = this.pop(batch, max);
    return taken > 0 ? taken : this.untilDue(waitMs);
  }

  /** What an attempt to pop says where there was nothing. */
  untilDue(waitMs: number): number {
    const words = this.#words;
    // What waits without a timer, waits for what cannot come any more.
    const isOver = waitMs > 0 &&
      this.locked(
        true,
        () => words[CLOSED] !== 0 && words[READY_COUNT] === 0 && words[TIMER_COUNT] === 0,
      );
    if (isOver) refuseClosed("pop");
    return this.#msUntilNext();
  }

  /** Does something under the lock, at the present where wanted. */
  locked<T>(atPresent: boolean, work: () => T): T {
    const nowUs = atPresent ? this.#readTime(false) : NaN;
    lock(this.#words, this.#handle, this.#spins, LOCK_WAIT_MS);
    try {
      this.core.advance(nowUs);
      return work();
    } finally {
      unlock(this.#words);
    }
  }

  /** Changes a message; others may be ready then, or there may be room. */
  change(work: () => boolean): boolean {
    const words = this.#words, isDone = this.locked(true, work);
    if (isDone && Atomics.load(words, ITEM_SLEEPERS) > 0) wake(this.items, Infinity);
    if (isDone && Atomics.load(words, ROOM_SLEEPERS) > 0) wake(this.room, Infinity);
    return isDone;
  }

  /** Closes the queue, and wakes all. */
  close(): void {
    // Under the lock: when it is over, no push that began before is still under way.
    this.locked(false, () => Atomics.store(this.#words, CLOSED, 1));
    wake(this.items, Infinity);
    wake(this.room, Infinity);
  }

  /** Says that there was no room, and counts it. */
  refuseFull(count: number, waitMs: number): never {
    const { capacity, f64 } = this.memory;
    const size = this.locked(true, () => {
      f64[REFUSED] += count;
      return this.core.size;
    });
    throw new MmsbError(
      "memory-pressure",
      `Cannot push ${count} messages as the queue holds ${size} of ${capacity} and had no room for ${waitMs} ms: ` +
        "take some out, or wait longer",
      { values: { count, size, capacity, waitMs } },
    );
  }

  /** Copies long payloads out, and gives their room back. */
  #copyLong(batch: MessageBatch): void {
    this.core.long.copy(batch);
    this.locked(false, () => this.core.long.release());
  }

  /** −1 less the ms until the next timer is due. */
  #msUntilNext(): number {
    const nowUs = this.#readTime(true);
    const nextUs = this.locked(false, () => this.core.nextUs());
    return nextUs === Infinity ? -Infinity : -1 - Math.max(0, (nextUs - nowUs) / 1000 || 0);
  }

  /** Reads the clock, where the time matters: a timer is set, or is to be. */
  #readTime(isTimed: boolean): number {
    if (!isTimed && this.#words[TIMER_COUNT] === 0) return NaN;
    const us = this.#nowUs();
    return typeof us === "number" && us >= 0 && us < 2 ** 52 ? Math.floor(us) : NaN;
  }

  /** Checks a batch, and adds up what it needs. */
  #needOf(batch: MessageBatch): PushNeed {
    const need = this.#need, rows = checkRows(batch), { count } = batch;
    need.blocks = need.edges = 0;
    if ((rows & (HAS_DEPENDENCIES | HAS_LONG)) !== 0) addNeed(need, batch);
    need.isTimed = (rows & HAS_WINDOWS) !== 0 ||
      need.edges > 0 && this.memory.dependencyTimeoutUs !== Infinity;
    const { capacity, blocks, edges } = this.memory;
    if (count > capacity || need.blocks > blocks || need.edges > edges) {
      refuseNever(this.memory, count, need);
    }
    return need;
  }
}
