/**
 * A queue that gives messages in causal order: none before all that its sender had delivered when it was sent.
 *
 * A network delivers late, twice, in another order or not at all. This queue takes what comes, in any order, and gives each
 * message once, when the messages before it were given (Birman, Schiper, Stephenson, "Lightweight Causal and Atomic Group
 * Multicast", ACM TOCS 1991): it is the next of its sender, and no entry of its vector is above what is here.
 *
 * ```text
 * offer ──► next in order? ──yes──► settled ──► ready ──► take
 *                │                     ▲          │
 *                └──no──► waiting ─────┘◄─────────┘ wakes those that wait for (node, number)
 * ```
 *
 * - A message is *settled* when all that it depends on stands before it in the ready list; so a long run that one
 *   missing message held back costs one pass when it comes, in a loop, and `take` is a load.
 * - What is missing is known from what names it. {@linkcode CausalQueue.requests} says which of it to ask for now. The
 *   last message of a sender is named by nothing: let nodes tell each other their vectors now and then
 *   ({@linkcode CausalQueue.learn}).
 * - A message that never comes is overdue after a time; what then happens is stated by `onTimeout`.
 * - The hybrid clock moves when a message is offered, the vector when it is taken. So every later stamp of this node is after
 *   every message that came, and a time too far ahead is refused at the door, where nothing is changed yet.
 *
 * **What it trusts.** Members of the group. A message of a liar can wait for what never was, and hold a place; it cannot
 * grow memory past the bounds, nor deliver out of order. With `onTimeout: "skip"` it can have messages declared lost
 * that its sender has yet to send, at most `aheadMax` ahead.
 *
 * Cost: some 150 ns a message in order and twice that out of order, with 10 nodes; nothing is allocated but when a
 * column grows. Waking looks at each entry of a message's vector once. `deno task anchors causal`.
 */
import { assert } from "../../base/assert.ts";
import { CAUSAL_REQUEST_RANGES_MAX } from "../../base/limits.ts";
import { SORTABLE_BYTES } from "../wire.ts";
import type { Columns } from "./_causal_columns.ts";
import { requireNode, requireSequence } from "./_causal_check.ts";
import { NodeCounts } from "./_causal_counts.ts";
import { type Gap, Gaps, missingRanges } from "./_causal_gaps.ts";
import { type CausalSettings, causalSettings } from "./_causal_options.ts";
import { ReadyMessages } from "./_causal_ready.ts";
import {
  throwAhead,
  throwContradicts,
  throwOwn,
  throwOwnSkip,
  throwTooLarge,
} from "./_causal_refusals.ts";
import { NO_SLOT, WaitingMessages } from "./_causal_waiting.ts";
import type {
  CausalMessage,
  CausalOutcome,
  CausalQueueOptions,
  CausalQueueStats,
  MissingRange,
  OverdueRange,
} from "./causal_message.ts";
import { type HybridCausalClock, requireStamp } from "./hybrid_causal_clock.ts";
import { columnsOf, type Vector } from "./vector_clock.ts";
import { vectorBytes } from "./vector_clock_wire.ts";

/** Rounds of one `expire`: what a loss sets free may show the next one. What is left is for the next call. */
const EXPIRE_ROUNDS_MAX = 4;

/**
 * The causal queue of one node.
 *
 * @typeParam T What the messages carry.
 *
 * @example An answer that overtakes its question
 * ```ts
 * import { deepEqual, equal } from "node:assert/strict";
 * import { HybridLogicalClock } from "../hlc.ts";
 * import { HybridCausalClock } from "./hybrid_causal_clock.ts";
 *
 * const open = (node: number) =>
 *   new CausalQueue<string>({
 *     clock: new HybridCausalClock({ hlc: new HybridLogicalClock({ node, nowUs: () => 1_000_000 }) }),
 *   });
 * const alice = open(1), bob = open(2), carol = open(3);
 *
 * const question = alice.send("how much?");
 * bob.offer(question);
 * for (const { payload } of bob.deliverable()) equal(payload, "how much?");
 * const answer = bob.send("seven");
 *
 * equal(carol.offer(answer), "waiting");
 * deepEqual(carol.missing(), [{ node: 1, first: 1, last: 1 }]);
 * equal(carol.offer(question), "ready");
 * deepEqual([...carol.deliverable()].map(({ payload }) => payload), ["how much?", "seven"]);
 * equal(carol.offer(answer), "duplicate");
 * ```
 */
export class CausalQueue<T> {
  /** The clock of this node. */
  readonly clock: HybridCausalClock;
  readonly #settings: CausalSettings<T>;
  readonly #settled = new NodeCounts();
  readonly #ready = new ReadyMessages<T>();
  readonly #waiting = new WaitingMessages<T>();
  readonly #gaps: Gaps;
  #nowMs = 0;
  /** What the clock last said that this node has sent. */
  #sentBefore = 0;
  #sent = 0;
  #delivered = 0;
  #duplicates = 0;
  #full = 0;
  #lost = 0;

  /**
   * Opens the queue.
   *
   * @param options The clock, the bounds and the times.
   * @throws {MmsbError} `usage` if an option is unknown or out of its range.
   */
  constructor(options: CausalQueueOptions<T>) {
    this.#settings = causalSettings(options);
    this.clock = options.clock;
    this.#gaps = new Gaps(this.#settings.requestAfterMs, this.#settings.requestEveryMsMax);
    for (const [node, count] of this.clock.vector().entries()) this.#settled.set(node, count);
    this.#nowMs = this.#now();
  }

  /**
   * Sends a message to all others: stamps it. At this node it counts as delivered; `take` does not give it.
   *
   * @param payload What it says.
   * @returns The message, for the network. Keep it for those who will ask for it again.
   * @throws {MmsbError} `limit` at the end of timestamps or counts. Nothing is then changed.
   */
  send(payload: T): CausalMessage<T> {
    const { node, hi, lo, vector } = this.clock.send();
    this.#sent++;
    return { node, sequence: vector.get(node), hi, lo, vector, payload };
  }

  /**
   * Takes a message in that came.
   *
   * @param message The message. It is kept as it is, so nobody may change it.
   * @returns What became of it.
   * @throws {MmsbError} `usage` if it is no message, contradicts itself, or names a message of this node that was never sent;
   * `limit` if its time or a count is too far ahead, or it alone is larger than all room. Nothing is then changed.
   */
  offer(message: CausalMessage<T>): CausalOutcome {
    requireStamp(message);
    requireSequence(message.sequence);
    const { node, sequence } = message;
    const columns = columnsOf(message.vector), unmet = this.#examine(message, columns);
    if (this.#isKnown(node, sequence)) {
      this.#duplicates++;
      return "duplicate";
    }
    const bytes = this.#bytesOf(message);
    if (!this.#hasRoom(unmet === -1 ? this.#ready : this.#waiting, bytes)) {
      this.#noteMissing(columns);
      this.#full++;
      return "full";
    }
    this.clock.hlc.update(message.hi, message.lo);
    if (unmet === -1) {
      this.#settle(message, bytes);
      this.#cascade(this.#ready.count - 1);
      return "ready";
    }
    this.#hold(this.#waiting.add(message, bytes), message, columns, unmet);
    this.#noteMissing(columns);
    return "waiting";
  }

  /**
   * Takes the next message in causal order.
   *
   * @returns The message, or nothing where none is ready.
   */
  take(): CausalMessage<T> | undefined {
    if (this.#ready.count === 0) return undefined;
    const message = this.#ready.at(0);
    this.clock.deliver(message.node, message.sequence);
    // Only behind a loss can a message know more than the messages before it.
    if (this.#lost > 0) this.#deliverAll(message);
    this.#delivered++;
    return this.#ready.shift();
  }

  /**
   * Takes all that is ready, one after the other, and what becomes ready meanwhile.
   *
   * @returns An iterator; a loop that ends early leaves the rest.
   */
  *deliverable(): Generator<CausalMessage<T>, void, undefined> {
    for (let message = this.take(); message !== undefined; message = this.take()) yield message;
  }

  /**
   * Learns what another node has sent or delivered, so that what is missing here is noticed, also where nothing
   * that comes names it.
   *
   * @param vector The other's vector ({@linkcode HybridCausalClock.vector}).
   * @throws {MmsbError} `usage` if it is no vector, or names a message of this node that was never sent.
   */
  learn(vector: Vector): void {
    const columns = columnsOf(vector);
    this.#requireSent(columns.get(this.clock.node));
    this.#noteMissing(columns);
  }

  /**
   * The messages that are held back. It looks at all of them: for finding out what is wrong.
   *
   * @returns The messages, in no order.
   */
  waiting(): CausalMessage<T>[] {
    const held: CausalMessage<T>[] = [];
    this.#waiting.forEach((_, message) => held.push(message));
    return held;
  }

  /**
   * All that is known to be missing.
   *
   * @returns Ranges, of one sender by rising number.
   */
  missing(): MissingRange[] {
    return this.#missingOf([...this.#gaps.all()]);
  }

  /**
   * What to ask for now. A range is due some time after it was noticed, and then after twice that time each time.
   *
   * @returns Ranges, of a sender at most 64, the first ones; each sender that is due counts as asked.
   */
  requests(): MissingRange[] {
    if (this.#gaps.size === 0) return [];
    const now = this.#now();
    const due = [...this.#gaps.all()].filter((gap) => gap.nextRequestMs <= now);
    if (due.length === 0) return [];
    for (const gap of due) this.#gaps.asked(gap, now);
    return this.#missingOf(due, CAUSAL_REQUEST_RANGES_MAX);
  }

  /**
   * What is overdue now: known to be missing for longer than `timeoutMs`. By `onTimeout` it is only told, once, or declared lost,
   * in which case there may be messages to take.
   *
   * @returns Ranges that were not told before.
   */
  expire(): OverdueRange[] {
    const found: OverdueRange[] = [];
    if (this.#gaps.size === 0) return found;
    const now = this.#now();
    for (let round = 0; round < EXPIRE_ROUNDS_MAX; round++) {
      this.#renewWindows(now);
      const due = [...this.#gaps.all()].filter((gap) =>
        !gap.isReported && now - gap.sinceMs >= this.#settings.timeoutMs
      );
      const count = found.length;
      for (const gap of due) gap.triedMs = now;
      if (due.length > 0) this.#expireAll(due, found);
      if (found.length === count || this.#settings.onTimeout === "report") break;
    }
    return found;
  }

  /**
   * Declares messages lost: they are not waited for any longer, and are refused as duplicates if they come. Those of them that
   * wait here are dropped. For a sender that is known to be gone, and for messages that wait for each other,
   * which only a faulty sender makes.
   *
   * @param node The sender, not this node.
   * @param last The number up to which they are lost.
   * @returns How many messages were not settled before and are now lost.
   * @throws {MmsbError} `usage` if an argument is out of its range; `limit` if `last` is further ahead than `aheadMax`.
   */
  skip(node: number, last: number): number {
    requireNode(node);
    requireSequence(last);
    if (node === this.clock.node) throwOwnSkip(node);
    const settled = this.#settledOf(node), { aheadMax } = this.#settings;
    if (last <= settled) return 0;
    if (last - settled > aheadMax) throwAhead(node, last, settled, aheadMax);
    const waiting = this.#waiting, dropped: number[] = [];
    waiting.forEach((slot, message) => {
      if (message.node === node && message.sequence <= last) dropped.push(slot);
    });
    for (const slot of dropped) {
      waiting.unlink(slot);
      waiting.remove(slot);
    }
    this.#lose(node, last);
    return last - settled;
  }

  /**
   * When {@linkcode CausalQueue.requests} or {@linkcode CausalQueue.expire} next have something to say, for a timer.
   *
   * @returns A time of the steady clock, in ms; Infinity while nothing is missing.
   */
  nextDueMs(): number {
    let due = Infinity;
    for (const gap of this.#gaps.all()) {
      due = Math.min(due, gap.nextRequestMs);
      if (gap.isReported) continue;
      // Where nothing could be lost as it is another sender's turn, not at once again.
      const again = gap.triedMs + Math.max(1, this.#settings.requestEveryMsMax);
      due = Math.min(due, Math.max(gap.sinceMs + this.#settings.timeoutMs, again));
    }
    return due;
  }

  /**
   * What the queue did and holds.
   *
   * @returns Counts since it was opened, and what is here now.
   */
  stats(): CausalQueueStats {
    const ready = this.#ready, waiting = this.#waiting;
    return {
      sent: this.#sent,
      delivered: this.#delivered,
      duplicates: this.#duplicates,
      full: this.#full,
      lost: this.#lost,
      localEvents: this.clock.localEvents,
      waiting: waiting.count,
      ready: ready.count,
      bytes: ready.byteCount + waiting.byteCount,
      gaps: this.#gaps.size,
    };
  }

  /**
   * Checks what must always hold; tests call it after every step.
   *
   * @throws {MmsbAssertionError} If the queue contradicts itself.
   */
  checkInvariants(): void {
    const settledOf = (node: number) => this.#settledOf(node);
    this.clock.checkInvariants();
    this.#ready.checkInvariants();
    this.#waiting.checkInvariants((node, count) => count <= settledOf(node));
    this.#waiting.forEach((_, { node, sequence }) => {
      assert(sequence > settledOf(node), "A waiting message is not settled");
      assert((this.#gaps.of(node)?.highest ?? 0) >= sequence, "A waiting message is known of");
    });
    this.#gaps.checkInvariants(settledOf);
    for (const [node, count] of this.clock.vector().entries()) {
      assert(count <= settledOf(node), "What was delivered is settled");
    }
  }

  #settledOf(node: number): number {
    return node === this.clock.node ? this.clock.sent : this.#settled.get(node);
  }

  #isKnown(node: number, sequence: number): boolean {
    return sequence <= this.#settledOf(node) ||
      (this.#waiting.count > 0 && this.#waiting.has(node, sequence));
  }

  /** Looks at all entries, refuses what cannot be, and gives the place of the last that is not met, or −1. Which one is waited for does not matter. */
  #examine({ node: sender, sequence }: CausalMessage<T>, columns: Columns): number {
    const { nodes, counts, start, size } = columns, own = this.clock.node;
    const { aheadMax } = this.#settings;
    let unmet = -1, named = 0;
    for (let i = start + size - 1; i >= start; i--) {
      const node = nodes[i], count = counts[i];
      if (node === sender) named = count;
      if (node === own) {
        this.#requireSent(count);
        continue;
      }
      const ahead = count - this.#settled.get(node);
      if (ahead <= 0 || (ahead === 1 && node === sender)) continue;
      if (ahead > aheadMax) throwAhead(node, count, count - ahead, aheadMax);
      if (unmet === -1) unmet = i;
    }
    if (named !== sequence) throwContradicts(sender, sequence, named);
    return unmet;
  }

  #nextUnmet({ node: sender }: CausalMessage<T>, columns: Columns, place: number): number {
    const { nodes, counts, start } = columns, own = this.clock.node;
    for (let i = place; i >= start; i--) {
      const node = nodes[i], ahead = counts[i] - this.#settled.get(node);
      if (ahead > (node === sender ? 1 : 0) && node !== own) return i;
    }
    return -1;
  }

  #settle(message: CausalMessage<T>, bytes: number): void {
    const { node, sequence } = message;
    this.#settled.set(node, sequence);
    this.#ready.push(message, bytes);
    if (this.#gaps.size > 0) this.#gaps.settled(node, sequence);
  }

  /** Wakes what waits for the ready messages from a place on; those become ready messages themselves. */
  #cascade(start: number): void {
    const ready = this.#ready, waiting = this.#waiting;
    for (let i = start; i < ready.count && waiting.count > 0; i++) {
      const { node, sequence } = ready.at(i);
      this.#lookAgain(waiting.wake(node, sequence));
    }
    waiting.shrink();
  }

  #lookAgain(woken: number): void {
    const waiting = this.#waiting;
    for (let slot = woken; slot !== NO_SLOT;) {
      const next = waiting.next(slot), message = waiting.message(slot);
      const columns = columnsOf(message.vector);
      const unmet = this.#nextUnmet(message, columns, waiting.place(slot));
      if (unmet === -1) {
        const bytes = waiting.bytes(slot);
        waiting.remove(slot);
        this.#settle(message, bytes);
      } else {
        this.#hold(slot, message, columns, unmet);
      }
      slot = next;
    }
  }

  #hold(slot: number, { node: sender }: CausalMessage<T>, columns: Columns, place: number): void {
    const node = columns.nodes[place], count = columns.counts[place];
    this.#waiting.wait(slot, node, node === sender ? count - 1 : count, place);
  }

  /** Notes all that a vector says was sent and that is not settled. */
  #noteMissing({ nodes, counts, start, size }: Columns): void {
    const gaps = this.#gaps;
    for (let i = start; i < start + size; i++) {
      const node = nodes[i], count = counts[i];
      if (count <= gaps.noted(node)) continue;
      const settled = this.#settledOf(node);
      if (count <= settled) continue;
      gaps.note(node, Math.min(count, settled + this.#settings.aheadMax), this.#now());
    }
  }

  #missingOf(gaps: readonly Gap[], rangesMax?: number): MissingRange[] {
    return missingRanges(gaps, this.#waiting, (node) => this.#settledOf(node), rangesMax);
  }

  #renewWindows(now: number): void {
    for (const gap of this.#gaps.all()) {
      if (gap.windowLast <= this.#settledOf(gap.node)) this.#gaps.nextWindow(gap, now);
    }
  }

  #expireAll(due: readonly Gap[], found: OverdueRange[]): void {
    const skips = this.#settings.onTimeout === "skip";
    const gaps = new Map(due.map((gap) => [gap.node, gap]));
    if (!skips) { for (const gap of due) gap.isReported = true; }
    for (const { node, first, last } of this.#missingOf(due)) {
      const { windowLast, sinceMs } = gaps.get(node)!;
      const end = Math.min(last, windowLast);
      // Behind a message that waits for another sender nothing is lost yet: its turn comes when that is settled.
      if (first > end || (skips && first !== this.#settledOf(node) + 1)) continue;
      found.push({ node, first, last: end, sinceMs, lost: skips });
      if (skips) this.#lose(node, end);
    }
  }

  /** Takes all of a sender up to a number as settled; none of them waits here. */
  #lose(node: number, last: number): void {
    const settled = this.#settledOf(node), start = this.#ready.count;
    this.#lost += last - settled;
    this.#settled.set(node, last);
    this.#gaps.settled(node, last);
    const waiting = this.#waiting;
    if (last - settled <= waiting.count) {
      for (let count = settled + 1; count <= last; count++) {
        this.#lookAgain(waiting.wake(node, count));
      }
    } else {
      for (const count of waiting.countsBetween(node, settled, last)) {
        this.#lookAgain(waiting.wake(node, count));
      }
    }
    this.#cascade(start);
  }

  #deliverAll({ vector }: CausalMessage<T>): void {
    for (const [node, count] of vector.entries()) {
      if (node !== this.clock.node) this.clock.deliver(node, count);
    }
  }

  #hasRoom(place: { count: number; byteCount: number }, bytes: number): boolean {
    const { pendingMax, pendingBytesMax } = this.#settings;
    if (bytes <= pendingBytesMax) {
      return place.count < pendingMax && place.byteCount + bytes <= pendingBytesMax;
    }
    throwTooLarge(bytes, pendingBytesMax);
  }

  #bytesOf({ vector, payload }: CausalMessage<T>): number {
    return SORTABLE_BYTES + vectorBytes(vector) + this.#settings.bytesOf(payload);
  }

  #now(): number {
    const now = this.#settings.monotonicMs();
    // A clock that goes back or fails only makes a request come later.
    if (now > this.#nowMs) this.#nowMs = now;
    return this.#nowMs;
  }

  #requireSent(count: number): void {
    if (count <= this.#sentBefore) return;
    this.#sentBefore = this.clock.sent;
    if (count > this.#sentBefore) throwOwn(count, this.#sentBefore, this.clock.node);
  }
}
