/**
 * A queue of temporal messages between any number of threads: ordered by how soon a message's time is over, by
 * priority and by when it was sent; never early, never late, and never before what it depends on.
 *
 * ## Order
 *
 * Of the messages that may be delivered, the first is the one with
 * 1. the most urgent deadline class (`deadline_class.ts`: coarse steps of the time left, so that priorities matter),
 * 2. the highest priority,
 * 3. the earliest timestamp,
 * 4. the lowest sequence, then node, then id: a total order.
 *
 * ## Time
 *
 * The queue's time is the largest that any thread's clock has shown it; it never goes back. The clock is read
 * once a call, and only where a message in the queue or the batch has a window or a dependency timeout. A message whose window
 * has not begun is held; one whose window is over is removed, wherever it stands, and counted as expired once. Both
 * happen at their µs: a call first brings the queue to the present.
 *
 * ## Dependencies
 *
 * A message waits until each message it names was delivered: taken out of this queue. Ids of delivered messages are
 * remembered, at least the last `remembered` of them (more where ids differ in their lower five bits only); a dependency that was forgotten counts as not
 * delivered. One that never comes is waited for till the window is over (expired) or `dependencyTimeoutUs` after the message
 * could have been delivered (timed out). An id is refused as a duplicate while its message is in the queue, or delivered and
 * remembered; the id of a message that expired or timed out may come again.
 *
 * ## Bounds
 *
 * All memory is taken when the queue is made. A batch goes in whole, or nothing of it: where there is no room for its
 * messages, payloads or dependencies, the push waits or throws `memory-pressure`.
 *
 * ## Threads
 *
 * One lock, taken once a call; only payloads of more than 256 bytes are copied out after it, and it is then taken again. A thread that is
 * ended in the middle of a call may hold it: the others throw `worker` after 10 to 20 s and the queue is lost.
 *
 * Cost: see the figures of `deno task anchors queue`. Nothing is allocated a message.
 */
import { assert, checkKeys, checkType } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { timestampFromHalves } from "../timestamp.ts";
import { checkBatch } from "./_batch_checks.ts";
import { popWait, pushWait } from "./_queue_calls.ts";
import {
  CLOSED,
  DELIVERED,
  DROPPED,
  DUPLICATES,
  ENDED_AT,
  ENDED_KEPT,
  ENDED_READ,
  ENDED_WORDS,
  ENDED_WRITTEN,
  EXPIRED,
  FLAGS,
  HELD_COUNT,
  HI,
  ID_HI,
  ID_LO,
  ITEM_SLEEPERS,
  LO,
  PUSHED,
  READY_COUNT,
  REFUSED,
  ROOM_SLEEPERS,
  TIMED_OUT,
  WAITING_COUNT,
} from "./_queue_layout.ts";
import { checkSizes, QueueMemory } from "./_queue_memory.ts";
import { QueueSide } from "./_queue_side.ts";
import { sleepUntil, sleepUntilAsync } from "./_queue_waiting.ts";
import { type MessageOptions, type Priority, requireId, type TemporalMessage } from "./message.ts";
import type {
  EndedMessage,
  QueuePopOptions,
  QueuePushOptions,
  TemporalQueueAttachOptions,
  TemporalQueueHandle,
  TemporalQueueOptions,
  TemporalQueueStats,
  WaitingMessage,
} from "./queue_types.ts";
import { MessageBatch, type PushOutcome } from "./message_batch.ts";

const REASONS: readonly EndedMessage["reason"][] = ["expired", "timed-out", "dropped"];

/**
 * A queue of temporal messages, as one thread sees it.
 *
 * @example Urgent before important before early
 * ```ts
 * import assert from "node:assert/strict";
 *
 * let us = 1_000_000;
 * const queue = TemporalQueue.create({ nowUs: () => us, capacity: 16 });
 * queue.push({ id: 1n, timestamp: 1n, priority: 0 });
 * queue.push({ id: 2n, timestamp: 2n, priority: 3 });
 * queue.push({ id: 3n, timestamp: 3n, priority: 0, validUntilUs: 1_050_000 }); // 50 ms left
 *
 * assert.equal(queue.pop()?.id, 3n);
 * assert.equal(queue.pop()?.id, 2n);
 * assert.equal(queue.pop()?.id, 1n);
 * ```
 *
 * @example Held, waiting, expired
 * ```ts
 * import assert from "node:assert/strict";
 *
 * let us = 1_000_000;
 * const queue = TemporalQueue.create({ nowUs: () => us, capacity: 16 });
 * assert.equal(queue.push({ id: 1n, timestamp: 1n, validFromUs: 2_000_000 }), "held");
 * assert.equal(queue.push({ id: 2n, timestamp: 2n, dependencies: [1n] }), "waiting");
 * assert.equal(queue.push({ id: 3n, timestamp: 3n, validUntilUs: 1_999_999 }), "ready");
 * us = 2_000_000;
 * assert.equal(queue.pop()?.id, 1n);
 * assert.equal(queue.pop()?.id, 2n);
 * assert.equal(queue.pop(), undefined);
 * assert.deepEqual(queue.drainEnded(), [{ id: 3n, reason: "expired" }]);
 * ```
 *
 * @example Threads and batches
 * ```ts
 * import assert from "node:assert/strict";
 * import { MessageBatch } from "./message_batch.ts";
 *
 * const nowUs = () => 0;
 * const queue = TemporalQueue.create({ nowUs });
 * const there = TemporalQueue.attach(queue.share(), { nowUs }); // in another thread: postMessage(queue.share())
 *
 * const batch = new MessageBatch({ capacity: 1000 });
 * batch.reserve(1000);
 * for (let row = 0; row < 1000; row++) batch.idLo[row] = batch.lo[row] = row;
 * assert.equal(there.pushBatch(batch), 1000);
 * assert.equal(queue.popBatch(batch, { max: 10 }), 10);
 * assert.equal(batch.lo[9], 9);
 * ```
 */
export class TemporalQueue {
  readonly #side: QueueSide;
  #single = new MessageBatch({ capacity: 1, payloadBytes: 256, dependencies: 8 });

  private constructor(memory: QueueMemory, nowUs: () => number) {
    this.#side = new QueueSide(memory, nowUs);
  }

  /**
   * Makes an empty queue.
   *
   * @param options The clock, and how large it is.
   * @returns The queue.
   * @throws {MmsbError} `usage` or `limit` for options that cannot be, `allocation` where there is no memory.
   */
  static create(options: TemporalQueueOptions): TemporalQueue {
    checkType("options of TemporalQueue", options, "object");
    checkSizes("TemporalQueue", options, ["nowUs"]);
    checkType("nowUs", options.nowUs, "function");
    return new TemporalQueue(QueueMemory.create(options), options.nowUs);
  }

  /**
   * Attaches a queue of another thread.
   *
   * @param handle What {@linkcode share} gave.
   * @param options The clock of this thread.
   * @returns The queue, as this thread sees it.
   * @throws {MmsbError} `usage` where it is no such handle, or without a clock.
   */
  static attach(handle: TemporalQueueHandle, options: TemporalQueueAttachOptions): TemporalQueue {
    checkType("options of TemporalQueue.attach", options, "object");
    checkKeys("TemporalQueue.attach", options, ["nowUs"]);
    checkType("nowUs", options.nowUs, "function");
    return new TemporalQueue(new QueueMemory(handle), options.nowUs);
  }

  /** Gives what another thread attaches, for `postMessage`. */
  share(): TemporalQueueHandle {
    return { kind: "temporal-queue", memory: this.#side.memory.memory };
  }

  /** Most messages in the queue at a time. */
  get capacity(): number {
    return this.#side.memory.capacity;
  }

  /** Messages in the queue now: held, waiting and ready. */
  get size(): number {
    return this.#side.locked(true, () => this.#side.core.size);
  }

  /** Whether {@linkcode close} was called, in any thread. */
  get closed(): boolean {
    return Atomics.load(this.#side.memory.words, CLOSED) !== 0;
  }

  /**
   * Pushes one message.
   *
   * @param message The message.
   * @param options How long to wait for room, blocking this thread.
   * @returns What became of it: `ready`, `held` or `waiting` where it is in; `expired` where it came after its window, and
   * `duplicate` where its id is known, in which cases it is not.
   * @throws {MmsbError} `memory-pressure` where there is no room, `closed`, `limit` where it can never fit; as
   * {@linkcode temporalMessage} for what is no message.
   */
  push(message: MessageOptions, options?: QueuePushOptions): PushOutcome {
    const batch = this.#singleFor(message);
    this.pushBatch(batch, options);
    return batch.outcomeOf(0);
  }

  /**
   * Pushes all messages of a batch, or none.
   *
   * @param batch The messages; {@linkcode MessageBatch.outcome} then says what became of each.
   * @param options How long to wait for room, blocking this thread.
   * @returns How many are in: those that were neither expired nor duplicates.
   * @throws {MmsbError} `memory-pressure` where there is no room for all, `closed`, `limit` where they can never fit,
   * `usage` where a row is no message. Nothing is in then.
   */
  pushBatch(batch: MessageBatch, options?: QueuePushOptions): number {
    const side = this.#side, waitMs = options === undefined ? 0 : pushWait(options, 0);
    let taken = side.push(batch);
    if (taken >= 0) return taken;
    if (waitMs > 0) taken = sleepUntil(side.room, () => side.pushAttempt(batch), waitMs);
    return taken >= 0 ? taken : side.refuseFull(batch.count, waitMs);
  }

  /**
   * Pushes all messages of a batch, or none, and waits without blocking while there is no room.
   *
   * @param batch The messages; it must stay as it is until the promise settles.
   * @param options How long to wait; for ever if left out.
   * @returns As {@linkcode pushBatch}; rejects as that throws.
   */
  async pushBatchAsync(batch: MessageBatch, options?: QueuePushOptions): Promise<number> {
    const side = this.#side, waitMs = pushWait(options ?? {}, Infinity);
    const attempt = (): number => side.pushAttempt(batch);
    const taken = await sleepUntilAsync(side.room, attempt, waitMs);
    return taken >= 0 ? taken : side.refuseFull(batch.count, waitMs);
  }

  /**
   * Takes the message that comes first.
   *
   * @param options How long to wait for one, blocking this thread.
   * @returns The message; undefined where none may be delivered.
   * @throws {MmsbError} `closed` where it would wait for a queue that is closed and has nothing to come.
   */
  pop(options?: QueuePopOptions): TemporalMessage | undefined {
    const batch = this.#singleForFirst();
    try {
      return this.popBatch(batch, options) === 0 ? undefined : batch.get(0);
    } catch (error) {
      // Another message came first meanwhile, and is longer.
      if (!(error instanceof MmsbError) || error.code !== "out-of-bounds") throw error;
      return this.pop(options);
    }
  }

  /**
   * Takes the message that comes first, and waits without blocking while there is none.
   *
   * @param options How long to wait; for ever if left out.
   * @returns The message; undefined where time is up. Rejects with `closed` where the queue is closed and has
   * nothing to come.
   */
  async popAsync(options?: QueuePopOptions): Promise<TemporalMessage | undefined> {
    const batch = new MessageBatch({ capacity: 1, payloadBytes: 0, dependencies: 0 });
    const { waitMs } = popWait(options ?? {}, batch, Infinity);
    // The batch only says that there is something: its message may need more room than any guess.
    let message: TemporalMessage | undefined;
    const attempt = (): number => {
      message = this.pop();
      return message === undefined ? this.#side.untilDue(waitMs) : 1;
    };
    await sleepUntilAsync(this.#side.items, attempt, waitMs);
    return message;
  }

  /**
   * Takes messages in their order.
   *
   * @param batch Takes them; what it held is dropped first.
   * @param options How many at most, and how long to wait for the first, blocking this thread.
   * @returns How many were taken; fewer than there are where the batch has no room for the next one.
   * @throws {MmsbError} `closed` where it would wait for a queue that is closed and has nothing to come, `out-of-bounds` where the first
   * message is longer than the whole batch; it stays in the queue.
   */
  popBatch(batch: MessageBatch, options?: QueuePopOptions): number {
    checkBatch(batch);
    const side = this.#side;
    if (options === undefined) return side.pop(batch, batch.capacity);
    const { waitMs, max } = popWait(options, batch, 0);
    const taken = side.pop(batch, max);
    if (taken > 0 || waitMs === 0 || max === 0) return taken;
    return Math.max(0, sleepUntil(side.items, () => side.popAttempt(batch, max, waitMs), waitMs));
  }

  /**
   * Takes messages in their order, and waits without blocking while there is none.
   *
   * @param batch Takes them; it must not be used until the promise settles.
   * @param options How many at most, and how long to wait; for ever if left out.
   * @returns As {@linkcode popBatch}; rejects as that throws.
   */
  async popBatchAsync(batch: MessageBatch, options?: QueuePopOptions): Promise<number> {
    checkBatch(batch);
    const { waitMs, max } = popWait(options ?? {}, batch, Infinity);
    if (max === 0) return 0;
    const side = this.#side;
    const attempt = (): number => side.popAttempt(batch, max, waitMs);
    return Math.max(0, await sleepUntilAsync(side.items, attempt, waitMs));
  }

  /**
   * Tells which messages ended without being delivered since this was last asked, in any thread; the last 256 of them are
   * kept, {@linkcode stats} counts all.
   *
   * @returns Ids and reasons, the oldest first.
   */
  drainEnded(): EndedMessage[] {
    const { words, u32 } = this.#side.memory;
    return this.#side.locked(true, () => {
      const written = words[ENDED_WRITTEN];
      const count = Math.min(ENDED_KEPT, (written - words[ENDED_READ]) >>> 0);
      const ended: EndedMessage[] = [];
      for (let i = written - count; i < written; i++) {
        const at = ENDED_AT + (i & (ENDED_KEPT - 1)) * ENDED_WORDS;
        const id = timestampFromHalves(u32[at], u32[at + 1]);
        ended.push({ id, reason: REASONS[words[at + 2]] });
      }
      words[ENDED_READ] = written;
      return ended;
    });
  }

  /**
   * The messages that wait for others, at the present. It looks at every record, under the lock: for finding out what
   * is wrong.
   *
   * @returns What each of them still waits for, in no order.
   */
  waiting(): WaitingMessage[] {
    const { u32 } = this.#side.memory, { core } = this.#side, found: WaitingMessage[] = [];
    return this.#side.locked(true, () => {
      core.slots.eachWaiting((slot) => {
        const dependencies: bigint[] = [];
        core.slots.waits.eachOf(slot, (hi, lo) => dependencies.push(timestampFromHalves(hi, lo)));
        found.push({
          id: timestampFromHalves(u32[slot + ID_HI], u32[slot + ID_LO]),
          dependencies: dependencies.reverse(),
          timestamp: timestampFromHalves(u32[slot + HI], u32[slot + LO]),
          priority: ((u32[slot + FLAGS] >>> 16) & 3) as Priority,
        });
      });
      return found;
    });
  }

  /**
   * Removes a message that was not delivered yet. What waits for it waits for it no longer; its id may come again.
   *
   * @param id The message.
   * @returns Whether it was in the queue.
   * @throws {MmsbError} `usage` if `id` does not fit 64 unsigned bits.
   */
  drop(id: bigint): boolean {
    const [hi, lo] = halvesOf(id);
    return this.#side.change(() => this.#side.core.drop(hi, lo));
  }

  /**
   * Has a message wait for no other one any more: it is ready when its window has begun, whether what it depends on
   * was delivered or not.
   *
   * @param id The message.
   * @returns Whether it was in the queue and waited.
   * @throws {MmsbError} `usage` if `id` does not fit 64 unsigned bits.
   */
  release(id: bigint): boolean {
    const [hi, lo] = halvesOf(id);
    return this.#side.change(() => this.#side.core.letGo(hi, lo));
  }

  /**
   * Counts, at the present.
   *
   * @returns Where the messages are, and what became of the others.
   */
  stats(): TemporalQueueStats {
    const { words, f64 } = this.#side.memory;
    return this.#side.locked(true, () => ({
      pushed: f64[PUSHED],
      delivered: f64[DELIVERED],
      expired: f64[EXPIRED],
      timedOut: f64[TIMED_OUT],
      dropped: f64[DROPPED],
      held: words[HELD_COUNT],
      waiting: words[WAITING_COUNT],
      ready: words[READY_COUNT],
      duplicates: f64[DUPLICATES],
      refused: f64[REFUSED],
    }));
  }

  /**
   * Closes the queue for all, from any thread: pushes throw `closed` from now on, what is in can still be taken, and whoever
   * sleeps wakes. Who waits for a message gets `closed` when none is ready and time alone makes none ready: what then waits for
   * others waits in vain, and leaves only by {@linkcode drop} or {@linkcode release}. Again: nothing.
   */
  close(): void {
    this.#side.close();
  }

  /** Checks what must always hold; takes the lock, and looks at every record. */
  checkInvariants(): void {
    const { words } = this.#side.memory;
    this.#side.locked(false, () => this.#side.core.checkInvariants());
    for (const at of [ITEM_SLEEPERS, ROOM_SLEEPERS]) {
      assert(Atomics.load(words, at) >= 0, "No fewer than none sleep");
    }
  }

  /** A batch with one message. */
  #singleFor(message: MessageOptions): MessageBatch {
    this.#growSingle(lengthOf(message?.payload), lengthOf(message?.dependencies));
    this.#single.clear();
    this.#single.add(message);
    return this.#single;
  }

  /** A batch with room for the message that comes first. */
  #singleForFirst(): MessageBatch {
    const side = this.#side, size = side.locked(true, () => side.core.firstSize());
    if (size !== undefined) this.#growSingle(size.payloadBytes, size.dependencies);
    return this.#single;
  }

  #growSingle(payloadBytes: number, dependencies: number): void {
    const { payload, dependencies: ids } = this.#single;
    if (!(payloadBytes > payload.length || 2 * dependencies > ids.length)) return;
    this.#single = new MessageBatch({ capacity: 1, payloadBytes, dependencies });
  }
}

/** The length of what may be an array; what else it is, is refused later. */
function lengthOf(value: unknown): number {
  const length = (value as { length?: unknown } | null | undefined)?.length;
  return typeof length === "number" ? length : 0;
}

/** The halves of an id, as signed words. */
function halvesOf(id: bigint): [hi: number, lo: number] {
  requireId("id of a message", id);
  return [Number(id >> 32n) | 0, Number(id & 0xffff_ffffn) | 0];
}
